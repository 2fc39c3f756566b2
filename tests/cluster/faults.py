"""Each fault that docs/fault-tolerance.md names, made to happen to real processes: one case each, by its name.

After each of them: the answer is byte for byte what coreutils says, no temporary file is left, every map's records
are counted once, and the number of attempts is what the theory says. Mappers that wait for a file (the *hold*) stop a
job where the test wants it, so these numbers are exact.
"""

import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

WORDS = "tr -s '[:space:]' '\\n' | grep -av '^$' | sed 's/$/\\t1/'"
SUM = "awk -F '\\t' '{n[$1] += $2} END {for (w in n) printf \"%s\\t%d\\n\", w, n[w]}'"


def text(lines):
    return b"".join(b"word%d of line %d\n" % (i * 7919 % 997, i % 50) for i in range(lines))


class FaultCase(mr.ClusterCase):
    """A job over files of known length, and what must be true after it."""

    def submit(self, *args):
        """Without backup attempts: a mapper that the test holds is no straggler, and attempts are counted here."""
        return super().submit("--backups=no", *args)

    def job_input(self, files=12, lines=300):
        self.lines = 0
        for i in range(files):
            self.file(f"in/f{i:03}", text(lines + i))
            self.lines += lines + i
        self.files = files
        tree = str(self.dir / "in")
        self.want = mr.coreutils_wordcount(mr.text_files([tree]))
        return tree

    def holding(self, pattern, command, variable="mapreduce_map_input_file"):
        """The command, for whose tasks the variable matches only after the hold is lifted."""
        self.hold = self.dir / "hold"
        return f"case ${variable} in {pattern}) while [ ! -e {self.hold} ]; do sleep 0.02; done;; esac; {command}"

    def count_job(self, *args, mapper=WORDS, reducer=SUM, reduces=2):
        """Submits the word count as a Hadoop Streaming job with an output directory."""
        self.out = self.dir / "out"
        self.reduces = reduces
        return self.submit("--mapper", mapper, "--reducer", reducer, "--input", self.dir / "in", "--reduces", reduces,
                           "--output", self.out, *args)

    def tasks(self, job, kind):
        p = self.ctl("tasks", "--json=short", job)
        self.assertOk(p)
        return [t for t in json.loads(p.stdout) if t["Kind"] == kind]

    def on(self, job, kind, state, worker):
        return [t["Index"] for t in self.tasks(job, kind) if t["State"] == state and t["Worker"] == worker]

    def attempts(self, job, kind):
        return sum(t["AttemptsStarted"] for t in self.tasks(job, kind))

    def wait_maps(self, job, done, running=None):
        mr.wait_for(f"{done} maps", lambda: self.job_get(job, "MapsDone") == done
                    and (running is None or self.job_get(job, "MapsRunning") == running))

    def worker_that(self, condition):
        """The first worker, by name, of which it is true; and its daemon."""
        for i, w in enumerate(self.workers):
            if condition(f"w{i}"):
                return f"w{i}", w
        self.fail("no worker is as this case needs it")

    def rows(self):
        return b"".join(sorted(b"".join((self.out / f"part-{i:05}").read_bytes()
                                        for i in range(self.reduces)).splitlines(True)))

    def events(self, job):
        p = self.ctl("status", "--json=pretty", job)
        self.assertOk(p)
        return p.stdout.decode()

    def assertSkipped(self, job, count):
        """The side file holds the records of self.places, and goes, so that the result is alone."""
        side = (self.out / "_skipped-records").read_bytes()
        want = b"".join(b"%s\t%d\t%d\t%s" % (p.encode(), o, n, row) for p, o, n, row in self.places)
        self.assertSameLines(side, want)
        self.assertEqual(self.job_get(job, "Counters")["map_skipped_records"], count)
        (self.out / "_skipped-records").unlink()

    def assertRight(self, job, maps=None, reduces=None):
        """The job ends well, its answer is coreutils', and it took as many attempts as given (an interval, or a number)."""
        self.assertOk(self.ctl("wait", "-q", job))
        self.assertSameLines(self.rows(), self.want)
        self.assertEqual(self.job_get(job, "Counters")["map_input_records"], self.lines)
        self.assertEqual(sorted(os.listdir(self.out)), ["_SUCCESS"] + [f"part-{i:05}" for i in range(self.reduces)])
        for kind, wanted in (("map", maps), ("reduce", reduces)):
            if wanted is not None:
                low, high = wanted if isinstance(wanted, tuple) else (wanted, wanted)
                got = self.attempts(job, kind)
                self.assertTrue(low <= got <= high, f"{got} attempts of {kind}s, not {low} to {high}: {self.events(job)}")
        self.assertNothingIsLeft()

    def assertNothingIsLeft(self, shipped=False):
        """No job's file in any living worker's spool, none in the master's state, no temporary file.

        @shipped: but the files of a job that failed, which `mrctl retry` submits again.
        """
        living = [i for i, w in enumerate(self.workers) if w.alive()]
        def left():
            found = []
            for i in living:
                spool = self.dir / f"spool-w{i}"
                for part in ("tmp", "jobs"):
                    found += [p for p in (spool / part).iterdir()]
            found += [p for p in (self.dir / "master" / "jobs").glob("*/*") if not (shipped and p.name == "files")]
            return found + list(self.tmp.iterdir())
        try:
            mr.wait_for("the spools to be empty", lambda: not left(), 20)
        except AssertionError:
            self.fail(f"left behind: {left()}")

    def slots_used(self):
        p = self.ctl("workers", "--json=short")
        self.assertOk(p)
        return sum(r["SlotsUsed"] for r in json.loads(p.stdout))

    def kill_master(self):
        self.master.kill()
        self.start_master()


class WorkerLost(FaultCase):
    def test_worker_dies_in_the_maps(self):
        """kill -9 of a worker in the maps: its running maps run again, and its finished ones, which a reduce needs"""
        self.job_input(12)
        job = self.count_job(mapper=self.holding("*f00[6-9]|*f01*", WORDS))
        self.wait_maps(job, 6, 6)
        name, worker = self.worker_that(lambda n: self.on(job, "map", "done", n))
        again = len(self.on(job, "map", "done", name)) + len(self.on(job, "map", "running", name))
        worker.kill()
        mr.wait_for("the loss", lambda: self.job_get(job, "MapOutputsLost") > 0)
        self.hold.touch()
        self.assertRight(job, maps=12 + again)
        self.assertRegex(self.events(job), f"{name} is lost")

    def test_worker_dies_when_nobody_needs_its_maps(self):
        """kill -9 of a worker that holds finished maps and runs no reduce, when every reduce has its input: none runs again"""
        self.job_input(12)
        job = self.count_job(reducer=self.holding("*", SUM, "mapreduce_task_partition"))
        self.wait_maps(job, 12)
        def reducing():
            return all(t["State"] == "running" for t in self.tasks(job, "reduce"))
        mr.wait_for("the reduces", reducing)
        mr.wait_for("their commands", lambda: self.job_get(job, "ReducesRunning") == 2 and self.slots_used() == 2)
        busy = {t["Worker"] for t in self.tasks(job, "reduce")}
        name, worker = self.worker_that(lambda n: n not in busy)
        held = len(self.on(job, "map", "done", name))
        self.assertGreater(held, 0)
        worker.kill()
        mr.wait_for("the loss", lambda: self.job_get(job, "MapOutputsLost") == held)
        self.hold.touch()
        self.assertRight(job, maps=12, reduces=2)

    def test_unneeded_maps_outlive_the_master(self):
        """maps that are lost and that nobody needs do not run again either when the master is killed and started again"""
        self.job_input(12)
        job = self.count_job(reducer=self.holding("*", SUM, "mapreduce_task_partition"))
        self.wait_maps(job, 12)
        mr.wait_for("the reduces", lambda: self.job_get(job, "ReducesRunning") == 2 and self.slots_used() == 2)
        busy = {t["Worker"] for t in self.tasks(job, "reduce")}
        name, worker = self.worker_that(lambda n: n not in busy)
        held = len(self.on(job, "map", "done", name))
        worker.kill()
        mr.wait_for("the loss", lambda: self.job_get(job, "MapOutputsLost") == held)
        self.kill_master()
        mr.wait_for("the reduces again", lambda: self.slots_used() == 2)
        time.sleep(1)  # as long as an assignment takes that must not be
        self.assertEqual(self.job_get(job, "MapsDone"), 12)
        self.hold.touch()
        self.assertRight(job, maps=12, reduces=2)

    def test_worker_dies_in_the_reduces(self):
        """kill -9 of a worker in the reduces: finished reduces never run again, its running ones do, and its maps for them"""
        self.job_input(12)
        # Reduces 0 to 5 end at once; 6 to 11 wait.
        job = self.count_job(reducer=self.holding("[6-9]|1?", SUM, "mapreduce_task_partition"), reduces=12)
        mr.wait_for("six reduces", lambda: self.job_get(job, "ReducesDone") == 6 and self.slots_used() == 6)
        name, worker = self.worker_that(lambda n: self.on(job, "reduce", "running", n))
        running = len(self.on(job, "reduce", "running", name))
        finished = {t["Index"] for t in self.tasks(job, "reduce") if t["State"] == "done"}
        maps = len(self.on(job, "map", "done", name))
        worker.kill()
        mr.wait_for("the loss", lambda: self.job_get(job, "AttemptsLost") == running)
        self.hold.touch()
        self.assertRight(job, maps=12 + maps, reduces=12 + running)
        self.assertEqual({t["AttemptsStarted"] for t in self.tasks(job, "reduce") if t["Index"] in finished}, {1})

    def test_worker_restarts(self):
        """a worker killed and started again on its spool: its finished maps are as good as before, only what ran is lost"""
        self.job_input(12)
        job = self.count_job(mapper=self.holding("*f00[6-9]|*f01*", WORDS))
        self.wait_maps(job, 6, 6)
        name, worker = self.worker_that(lambda n: self.on(job, "map", "done", n))
        running = len(self.on(job, "map", "running", name))
        shuffling = len(self.on(job, "reduce", "running", name))
        worker.kill()
        i = int(name[1:])
        self.workers[i] = self.start_worker(i)
        mr.wait_for("the loss", lambda: self.job_get(job, "AttemptsLost") == running + shuffling)
        self.wait_for_workers(3)
        self.hold.touch()
        self.assertRight(job, maps=12 + running)
        self.assertEqual(self.job_get(job, "MapOutputsLost"), 0)

    def test_builtin_loses_a_worker(self):
        """kill -9 of a worker during a built-in word count of many splits"""
        self.file("in/big", text(60000))
        self.want = mr.coreutils_wordcount([str(self.dir / "in/big")])
        self.lines = 60000
        self.out = self.dir / "out"
        self.reduces = 4
        job = self.submit("--app", "wordcount", "--input", self.dir / "in", "--split-size", "16K", "--reduces", "4",
                          "--output", self.out)
        mr.wait_for("some maps", lambda: self.job_get(job, "MapsDone") >= 20)
        self.workers[1].kill()
        self.assertRight(job)


class OutputLost(FaultCase):
    def test_map_output_is_gone(self):
        """a run file deleted under a worker: the reducers report it, fetch the rest meanwhile, and that map alone runs again"""
        self.job_input(10)
        job = self.count_job(mapper=self.holding("*f009", WORDS))
        self.wait_maps(job, 9, 1)
        # Those reduces that shuffle already have their copies: a reduce on the file's own host reads it in place.
        runs = sorted(self.dir.glob(f"spool-w*/jobs/{job}-*/map-*.run"))
        self.assertEqual(len(runs), 9)
        shuffling = {t["Worker"] for t in self.tasks(job, "reduce") if t["State"] == "running"}
        victims = [r for r in runs if r.parents[2].name[len("spool-"):] in shuffling][:1]
        self.assertTrue(victims)
        victims[0].unlink()
        self.hold.touch()
        self.assertRight(job, maps=11, reduces=2)
        self.assertEqual(self.job_get(job, "MapOutputsLost"), 1)

    def test_map_output_is_corrupt(self):
        """flipped bits in map outputs on disk: the checksum finds them, those maps run again, and the answer is right"""
        self.job_input(10)
        job = self.count_job(mapper=self.holding("*f009", WORDS))
        self.wait_maps(job, 9, 1)
        runs = sorted(self.dir.glob(f"spool-w*/jobs/{job}-*/map-*.run"))
        self.assertEqual(len(runs), 9)
        # One on each worker, in both partitions: a reduce reads those of its own host in place.
        for run in {r.parents[2]: r for r in runs}.values():
            size = run.stat().st_size
            flip_bit(run, size // 4)
            flip_bit(run, size * 3 // 4)
        self.hold.touch()
        self.assertRight(job, maps=(11, 13), reduces=2)
        self.assertRegex(self.events(job), "(?i)checksum|damaged|corrupt")


def flip_bit(path, offset):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)[0]
        f.seek(offset)
        f.write(bytes([byte ^ 0x10]))


class MasterLost(FaultCase):
    def test_finished_maps_outlive_the_master(self):
        """kill -9 of the master between two maps: the job goes on, finished maps are not run again"""
        self.job_input(12)
        job = self.count_job(mapper=self.holding("*f00[6-9]|*f01*", WORDS))
        self.wait_maps(job, 6, 6)
        self.kill_master()
        self.hold.touch()
        self.assertRight(job, maps=12, reduces=2)

    def test_running_attempts_outlive_the_master(self):
        """workers go on without the master: attempts that run and results that nobody heard are taken up by the next one"""
        self.job_input(12)
        job = self.count_job(mapper=self.holding("*f00[6-9]|*f01*", WORDS))
        self.wait_maps(job, 6, 6)
        self.master.kill()
        self.hold.touch()
        def outputs():
            return len(list(self.dir.glob(f"spool-w*/jobs/{job}-*/map-*.run")))
        mr.wait_for("the maps to end without a master", lambda: outputs() == 12)
        self.start_master()
        self.assertRight(job, maps=12, reduces=2)
        self.assertIn("goes on with", self.events(job))

    def test_reduces_outlive_the_master(self):
        """reduces that run while the master is away, with their parts in an output directory and on the way to the master"""
        self.job_input(6)
        shared = self.count_job(reducer=self.holding("*", SUM, "mapreduce_task_partition"))
        sent = self.submit("--mapper", WORDS, "--reducer", self.holding("*", SUM, "mapreduce_task_partition"),
                           "--input", self.dir / "in", "--reduces", 2)
        for job in (shared, sent):
            mr.wait_for("the reduces", lambda: all(t["State"] == "running" for t in self.tasks(job, "reduce")))
        mr.wait_for("their commands", lambda: self.slots_used() == 4)
        self.master.kill()
        self.hold.touch()
        mr.wait_for("the parts", lambda: len([p for p in self.out.glob("_temporary/*/part-*") if p.stat().st_size]) == 2)
        self.start_master()
        self.assertOk(self.ctl("wait", "-q", sent))
        p = self.ctl("cat", sent)
        self.assertOk(p)
        self.assertSameLines(p.stdout, self.want)
        self.assertEqual(self.attempts(sent, "reduce"), 2)
        self.assertRight(shared, maps=6, reduces=2)

    def test_master_is_stopped_and_started(self):
        """a master stopped in order, as by an upgrade, costs no attempt either"""
        self.job_input(12)
        job = self.count_job(mapper=self.holding("*f00[6-9]|*f01*", WORDS))
        self.wait_maps(job, 6, 6)
        self.assertEqual(self.master.kill(signal.SIGTERM), 0)
        self.start_master()
        self.hold.touch()
        self.assertRight(job, maps=12, reduces=2)

    def test_rejoin_grace_ends(self):
        """attempts whose master does not come back within RejoinGrace= end, with their commands; finished maps are kept"""
        conf = self.file("workerd.conf", "[Worker]\nRejoinGrace=700ms\n")
        for i, w in enumerate(self.workers):
            w.kill(signal.SIGTERM)
            self.workers[i] = self.start_worker(i, f"--config={conf}")
        self.wait_for_workers(3)
        self.job_input(12)
        job = self.count_job(mapper=self.holding("*f00[6-9]|*f01*", "head -c 0; sleep 4322 & wait; " + WORDS))
        self.hold.touch()  # all maps wait for ever
        mr.wait_for("the mappers", lambda: len(commands(b"sleep\x004322\x00")) == 6)
        self.master.kill()
        mr.wait_for("the commands to end", lambda: not commands(b"sleep\x004322\x00"), 10)
        self.start_master()
        mr.wait_for("the mappers again", lambda: len(commands(b"sleep\x004322\x00")) == 6)
        self.assertEqual(self.attempts(job, "map"), 12)
        self.assertEqual(self.job_get(job, "AttemptsLost"), 6)
        self.assertOk(self.ctl("cancel", job))
        self.assertNothingIsLeft()

    def test_retried_submission_over_a_restart(self):
        """a submission repeated with its RequestId after the master was killed and restarted is the same job"""
        path = self.file("in", "a\n")
        call = ("call", "org.mapreduced.Master1", "/org/mapreduced/Master1", "org.mapreduced.Master1.Manager", "SubmitJob",
                "a{sv}a{sh}", "3", "App", "s", "wordcount", "Input", "as", "1", path,
                "RequestId", "s", "0123456789abcdef0123456789abcdef", "0")
        ids = set()
        for _ in range(2):
            ids.add(json.loads(self.busctl(*call).stdout)["data"][0])
            self.kill_master()
            ids.add(json.loads(self.busctl(*call).stdout)["data"][0])
        self.assertEqual(len(ids), 1)
        self.assertOk(self.ctl("wait", "-q", *ids))
        self.assertEqual(len(json.loads(self.ctl("list", "--json=short").stdout)), 1)

    def test_second_master_is_refused(self):
        """a second master on one state directory, and a second worker on one spool, refuse and name it"""
        for program, place, extra in ((mr.MASTERD, "master", ["--state"]), (mr.WORKERD, "spool-w0", ["--master=127.0.0.1:1", "--spool"])):
            p = subprocess.run([program, "--bus=none", "--listen=127.0.0.1:0", *extra[:-1], f"{extra[-1]}={self.dir}/{place}"],
                               stderr=subprocess.PIPE, timeout=30, check=False, env=self.env)
            self.assertNotEqual(p.returncode, 0)
            self.assertIn(f"{self.dir}/{place}".encode(), p.stderr)
        self.assertTrue(self.master.alive())

    def test_new_state_meets_old_spools(self):
        """a master with a new, empty state, whose job has the number of an old one: old outputs are not taken for its own"""
        self.job_input(4)
        job = self.count_job(mapper=self.holding("*f003", WORDS))
        self.wait_maps(job, 3, 1)
        self.master.kill()
        subprocess.run(["rm", "-rf", self.dir / "master", self.out], check=True)
        for i in range(4):  # the same names, another content
            self.file(f"in/f{i:03}", b"other " * (i + 1) + b"\n")
        self.lines = 4
        self.want = mr.coreutils_wordcount(mr.text_files([str(self.dir / "in")]))
        self.start_master()
        self.hold.touch()
        self.wait_for_workers(3)
        again = self.count_job(mapper=WORDS)
        self.assertEqual(again, job)
        self.assertRight(again, maps=4, reduces=2)


class Cancelled(FaultCase):
    def test_cancelled_job_leaves_nothing(self):
        """a cancelled job ends with its commands, and leaves neither output nor intermediate files"""
        self.job_input(8)
        job = self.count_job(mapper=self.holding("*f00[4-7]", WORDS + "; sleep 4321"))
        mr.wait_for("the mappers", lambda: commands(b"sleep\x004321\x00"))
        self.assertOk(self.ctl("cancel", job))
        self.assertEqual(self.job_get(job, "State"), "cancelled")
        mr.wait_for("the commands to end", lambda: not commands(b"sleep\x004321\x00"))
        self.assertFalse(self.out.exists())
        self.assertNothingIsLeft()
        self.assertFails(self.ctl("wait", job), "cancelled")
        self.assertFails(self.ctl("cancel", job), "over")


class BadRecords(FaultCase):
    """A mapper that dies on some records, wherever they stand in its input."""

    MAPPER = "awk '/poison/ {print \"at: \" $0 > \"/dev/stderr\"; exit 7} {for (i = 1; i <= NF; i++) print $i \"\\t1\"}'"

    def bad_input(self, bad):
        """Four files; @bad: {file: line numbers}. The wanted answer is that without those lines."""
        good = []
        self.lines = self.skipped = 0
        self.places = []
        for i in range(4):
            rows = text(250 + i).splitlines(True)
            for n in bad.get(i, ()):
                rows.insert(n, b"some poison in line %d\n" % n)
            path = self.file(f"in/f{i}", b"".join(rows))
            offset = 0
            for row in rows:
                if b"poison" in row:
                    self.places.append((path, offset, len(row), row))
                offset += len(row)
            good.append(self.file(f"good/f{i}", b"".join(r for r in rows if b"poison" not in r)))
            self.lines += sum(b"poison" not in r for r in rows)
        self.want = mr.coreutils_wordcount(good)

    def test_bad_records_are_skipped(self):
        """records that kill the mapper are found by their offset, skipped, counted, and kept in a side file"""
        self.bad_input({1: [0, 100, 101], 3: [250]})
        job = self.count_job("--skip-bad-records", 3, "--split-size", "4K", mapper=self.MAPPER)
        self.assertOk(self.ctl("wait", "-q", job))
        self.assertSkipped(job, 4)
        failed = self.job_get(job, "AttemptsFailed")
        self.assertIn(failed, (2, 3))  # of each map that has a bad one, the first attempt
        self.assertRight(job, maps=self.maps(job) + failed)
        self.assertRegex(self.events(job), f"f1 byte {self.places[0][1]} .*exited with status 7")

    def maps(self, job):
        return self.job_get(job, "Maps")

    def test_bad_record_fails_the_job(self):
        """without SkipBadRecords= the job fails and names task, input, offset and what the mapper said"""
        self.bad_input({2: [40]})
        job = self.count_job(mapper=self.MAPPER)
        self.assertFails(self.ctl("wait", job), "map-2", "exited with status 7", f"{self.dir}/in/f2 bytes 0-",
                         "poison in line 40")
        self.assertEqual(self.job_get(job, "AttemptsFailed"), 4)
        self.assertFalse(self.out.exists())
        self.assertNothingIsLeft()

    def test_more_bad_records_than_allowed(self):
        """one bad record more than SkipBadRecords= allows fails the job, and says where it is"""
        self.bad_input({0: [10, 20, 30]})
        job = self.count_job("--skip-bad-records", 2, "--max-attempts", 2, mapper=self.MAPPER)
        self.assertFails(self.ctl("wait", job), f"f0 byte {self.places[2][1]}", "SkipBadRecords=2")
        self.assertNothingIsLeft()

    def test_broken_mapper_blames_no_record(self):
        """a mapper that fails without any input is broken: no record is blamed"""
        self.bad_input({})
        job = self.count_job("--skip-bad-records", 5, "--max-attempts", 2, mapper="exit 3")
        self.assertFails(self.ctl("wait", job), "no input at all", "exited with status 3")
        self.assertNothingIsLeft()


class BadRecordsOfPlugins(FaultCase):
    """A plugin that dies on some records: by a signal, by exit(), by an error of its own."""

    PLUGIN = """
#include <mapreduce.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int map(MrTask *t, void *state, const void *line, size_t size)
{
        const char *l = line;
        size_t begin = 0;

        for (size_t i = 0; i <= size; i++) {
                if (i < size && l[i] != ' ')
                        continue;
                if (i - begin == 6 && memcmp(l + begin, "poison", 6) == 0) {
                        fprintf(stderr, "at: %.*s\\n", (int) size, l);
                        *(volatile int *) 8 = 0;
                }
                if (i - begin == 4 && memcmp(l + begin, "exit", 4) == 0)
                        exit(3);
                if (i - begin == 4 && memcmp(l + begin, "fail", 4) == 0)
                        return mr_fail(t, "this is no word");
                if (i > begin) {
                        int r = mr_emit_number(t, l + begin, i - begin, 1);

                        if (r < 0)
                                return r;
                }
                begin = i + 1;
        }
        return 0;
}

const MrPlugin mapreduce_plugin = {MR_PLUGIN_HEADER, .name = "words", .op = MR_OP_SUM, .map = map};
"""

    def setUp(self):
        options = "detect_leaks=1:abort_on_error=0:exitcode=99:handle_segv=0"  # a crash is a crash in a sanitized build, too
        with unittest.mock.patch.dict(os.environ, ASAN_OPTIONS=options):
            super().setUp()

    def plugin_job(self, bad, *args):
        """@bad: {file: {line number: word}}. The wanted answer is that without those lines."""
        so = self.dir / "words.so"
        p = subprocess.run(["cc", "-O1", "-shared", "-fPIC", f"-I{mr.SOURCE}/include", "-o", so, self.file("words.c", self.PLUGIN)],
                           stderr=subprocess.PIPE, check=False)
        self.assertEqual(p.returncode, 0, p.stderr)
        good = []
        self.places = []
        self.lines = 0
        for i in range(3):
            rows = text(700 + i).splitlines(True)
            for n, word in bad.get(i, {}).items():
                rows.insert(n, b"some %s in line %d\n" % (word.encode(), n))
            path = self.file(f"in/f{i}", b"".join(rows))
            marks = [b"some %s in" % w.encode() for w in bad.get(i, {}).values()]
            offset = 0
            for row in rows:
                if any(m in row for m in marks):
                    self.places.append((path, offset, len(row), row))
                offset += len(row)
            kept = [r for r in rows if not any(m in r for m in marks)]
            good.append(self.file(f"good/f{i}", b"".join(kept)))
            self.lines += len(kept)
        self.want = mr.coreutils_wordcount(good)
        self.out = self.dir / "out"
        self.reduces = 2
        return self.submit("--app", so, "--input", self.dir / "in", "--reduces", 2, "--output", self.out, *args)

    def test_plugin_bad_records_are_skipped(self):
        """records that kill a plugin are known by their offset, skipped, counted, and kept in a side file"""
        job = self.plugin_job({0: {0: "poison", 300: "exit", 699: "poison"}, 2: {20: "fail"}},
                              "--skip-bad-records", 3, "--split-size", "8K")
        self.assertOk(self.ctl("wait", "-q", job))
        self.assertSkipped(job, 4)
        failed = self.job_get(job, "AttemptsFailed")
        self.assertIn(failed, (2, 3, 4))  # of each map that has a bad one, the first attempt
        self.assertRight(job, maps=self.job_get(job, "Maps") + failed)
        for how in ("killed by SIGSEGV", "exited with status 3", "this is no word"):
            self.assertRegex(self.events(job), f"byte [0-9]+ .*{how}")

    def test_plugin_crash_names_its_record(self):
        """without SkipBadRecords= a plugin that crashes fails the job, which names task, input, offset and what it said"""
        job = self.plugin_job({1: {350: "poison"}}, "--max-attempts", 2)
        self.assertFails(self.ctl("wait", job), "killed by SIGSEGV", f"in map() on the record at {self.dir}/in/f1 byte {self.places[0][1]}",
                         "map task", "at: some poison in line 350")
        self.assertEqual(self.job_get(job, "AttemptsFailed"), 2)
        self.assertFalse(self.out.exists())
        self.assertNothingIsLeft(shipped=True)

    def test_plugin_more_bad_records_than_allowed(self):
        """one record more that kills a plugin than SkipBadRecords= allows fails the job, and says where it is"""
        job = self.plugin_job({0: {10: "poison", 20: "exit", 30: "fail"}}, "--skip-bad-records", 2, "--max-attempts", 2)
        self.assertFails(self.ctl("wait", job), f"on the record at byte {self.places[2][1]}", "SkipBadRecords=2")
        self.assertNothingIsLeft(shipped=True)


class Limits(FaultCase):
    def test_time_limit(self):
        """a mapper that hangs is ended after TaskTimeout=, runs elsewhere, and the job ends well"""
        self.job_input(6)
        flag = self.dir / "hung"
        job = self.count_job("--task-timeout", "1s", mapper=f"if mkdir {flag} 2>/dev/null; then sleep 4323; fi; {WORDS}")
        self.assertRight(job, maps=7, reduces=2)
        self.assertEqual(self.job_get(job, "AttemptsFailed"), 1)
        self.assertRegex(self.events(job), "time limit: .*TaskTimeout=")
        self.assertFalse(commands(b"sleep\x004323\x00"))

    def test_signs_of_life(self):
        """a mapper that is slow but shows life, by output or by status, is not ended"""
        self.job_input(2, lines=40)
        slow = f"for i in 1 2 3 4 5 6 7 8; do sleep 0.3; echo reporter:status:$i >&2; done; {WORDS}"
        job = self.count_job("--task-timeout", "1s", mapper=slow)
        self.assertRight(job, maps=2, reduces=2)

    def test_memory_limit(self):
        """a mapper that takes more than MemoryLimit= is ended with that word; the next attempt, content with less, counts"""
        self.job_input(4)
        flag = self.dir / "large"
        eat = "python3 -c 'import time; x = bytearray(200 << 20); time.sleep(60)'"
        job = self.count_job("--memory-limit", "64M", mapper=f"if mkdir {flag} 2>/dev/null; then {eat}; fi; {WORDS}")
        self.assertRight(job, maps=5, reduces=2)
        self.assertRegex(self.events(job), "memory limit: its commands use .*MemoryLimit=64")

    @unittest.skipUnless(os.geteuid() == 0 and os.path.exists("/dev/fuse"), "only root can mount a file system that hangs")
    def test_input_hangs(self):
        """an input on a file system that hangs: its attempt alone waits, until TaskTimeout=; the worker goes on, and so does the job"""
        self.job_input(12)
        job = self.count_job("--task-timeout", "2s", "--max-attempts", 50, mapper=self.holding("*f00[0-5]", WORDS))
        self.wait_maps(job, 0, 6)
        late, aside = self.dir / "in/f011", self.dir / "aside"
        os.rename(late, aside)  # the same file when it comes back: as planned
        hang = Hang(self.dir / "hang")
        self.addCleanup(hang.end)
        late.symlink_to(self.dir / "hang/file")
        self.hold.touch()
        mr.wait_for("all maps but one", lambda: self.job_get(job, "MapsDone") == 11, 20)
        mr.wait_for("the time limit", lambda: "time limit" in self.events(job), 20)
        self.assertEqual(self.get("WorkersAlive"), 3)
        p = self.ctl("run", "-q", "--app", "wordcount", "--input", self.dir / "in/f000")
        self.assertOk(p)
        self.assertEqual(self.get("WorkersAlive"), 3)
        self.assertEqual(self.job_get(job, "AttemptsLost"), 0)
        os.rename(aside, late)
        hang.end()
        self.assertRight(job)

    def test_plugin_memory_limit(self):
        """a plugin that takes more than MemoryLimit= is ended with that word and names its record; on a cluster and with --local"""
        source = """
#include <mapreduce.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int map(MrTask *t, void *state, const void *line, size_t size)
{
        if (size > 3 && memcmp(line, "eat", 3) == 0)
                for (int i = 0; i < 1000; i++) {
                        memset(malloc(1 << 20), 1, 1 << 20);
                        usleep(2000);
                }
        return mr_emit_number(t, line, size, 1);
}

const MrPlugin mapreduce_plugin = {MR_PLUGIN_HEADER, .name = "eater", .op = MR_OP_SUM, .map = map};
"""
        so = self.dir / "eater.so"
        p = subprocess.run(["cc", "-shared", "-fPIC", f"-I{mr.SOURCE}/include", "-o", so, self.file("eater.c", source)],
                           stderr=subprocess.PIPE, check=False)
        self.assertEqual(p.returncode, 0, p.stderr)
        data = self.file("in/data", "little\n" * 100 + "eat much\n" + "little\n")
        args = ["--app", so, "--input", data, "--memory-limit", "32M", "--max-attempts", 1]
        for p in (self.ctl("run", "-q", *args), self.local("-q", *args)):
            self.assertFails(p, "memory limit: ", "MemoryLimit=32", f"on the record at {data} byte 700")
        with open(data, "w") as f:
            f.write("little\n" * 100)
        p = self.local("-q", *args)
        self.assertOk(p)
        self.assertEqual(p.stdout, b"little\t100\n")

    @unittest.skipUnless(os.geteuid() == 0 and os.path.exists("/dev/fuse"), "only root can mount a file system that hangs")
    def test_output_hangs(self):
        """an output directory on a file system that hangs: its attempts alone wait; workers and other jobs go on, and so does the job"""
        self.job_input(6)
        job = self.count_job("--task-timeout", "2s", "--max-attempts", 50, mapper=self.holding("*", WORDS))
        self.wait_maps(job, 0, 6)
        temporary, aside = self.out / "_temporary", self.dir / "aside"
        os.rename(temporary, aside)
        hang = Hang(self.dir / "hang")
        self.addCleanup(hang.end)
        temporary.symlink_to(self.dir / "hang")
        self.hold.touch()
        mr.wait_for("the maps", lambda: self.job_get(job, "MapsDone") == 6)
        mr.wait_for("the time limit", lambda: re.search("time limit: its output .* could not be opened", self.events(job)), 20)
        p = self.ctl("run", "-q", "--app", "wordcount", "--input", self.dir / "in/f000", "--output", self.dir / "other")
        self.assertOk(p)
        self.assertEqual(self.get("WorkersAlive"), 3)
        self.assertEqual(self.job_get(job, "AttemptsLost"), 0)
        temporary.unlink()
        os.rename(aside, temporary)
        hang.end()
        self.assertRight(job)

    @unittest.skipUnless(os.geteuid() == 0, "only root can mount the small file system")
    def test_disk_full(self):
        """a worker whose spool fills up: its attempts fail with that word, leave nothing, and run elsewhere"""
        self.workers[0].kill(signal.SIGTERM)
        spool = self.dir / "spool-w0"
        shutil.rmtree(spool)
        spool.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "none", spool], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", str(spool)], check=False)
        conf = self.file("workerd.conf", "[Worker]\nMinFree=0\n")
        self.workers[0] = self.start_worker(0, f"--config={conf}")
        self.wait_for_workers(3)
        self.job_input(6, lines=20000)
        job = self.count_job()
        self.assertRight(job)
        self.assertGreaterEqual(self.job_get(job, "AttemptsFailed"), 1)
        self.assertRegex(self.events(job), "disk full|No space left")
        self.workers[0].kill(signal.SIGTERM)  # before its file system goes


class Reuse(FaultCase):
    """Outputs of maps are used again by later jobs, as far as what made them is the same."""

    FILES = 6

    def reuse_input(self):
        """Files larger than half a split, so that each is a map of its own, and old enough to be trusted."""
        self.job_input(self.FILES, lines=600)
        time.sleep(2.1)

    def job(self, *args, app=True, combine=None):
        """Runs a job over the input; its answer must be right. Returns (maps run, maps reused, what is said of each)."""
        out = self.dir / f"out{len(list(self.dir.glob('out*')))}"
        self.out, self.reduces = out, 2
        program = ["--app", "wordcount"] if app else ["--mapper", WORDS, "--reducer", SUM]
        if combine:
            program += ["--combiner", combine]
        if "--reduces" not in args:
            args = ("--reduces", 2, *args)
        self.reduces = args[args.index("--reduces") + 1]
        job = self.submit(*program, "--split-size", "16K", "--input", self.dir / "in", "--output", out, *args)
        self.assertRight(job)
        self.last = job
        rows = self.explain(job)
        how = [r["How"]["data"] for r in rows]
        run = [i for i, h in enumerate(how) if h == "run"]
        reused = [i for i, h in enumerate(how) if h == "reused"]
        self.assertEqual(len(run) + len(reused), self.job_get(job, "Maps"))
        self.assertEqual(self.job_get(job, "Counters").get("maps_reused", 0), len(reused))
        return run, reused, [r["Why"]["data"] for r in rows]

    def explain(self, job):
        return json.loads(self.busctl("call", "org.mapreduced.Master1", f"/org/mapreduced/Master1/job/{job}",
                                      "org.mapreduced.Master1.Job", "ExplainTasks", "suu", "map", "0", "0").stdout)["data"][0]

    def whys(self, job):
        """Of each map; None of one that is not done."""
        return [r["Why"]["data"] if "Why" in r else None for r in self.explain(job)]

    def touch(self, path, content):
        """Another content, and time enough to be trusted."""
        self.lines += content.count(b"\n") - (pathlib.Path(path).read_bytes().count(b"\n") if os.path.exists(path) else 0)
        pathlib.Path(path).write_bytes(content)
        self.want = mr.coreutils_wordcount(mr.text_files([str(self.dir / "in")]))
        time.sleep(2.1)

    def test_reuse_same_job(self):
        """the same job again: nothing is mapped, and the answer and the counters are the same"""
        self.reuse_input()
        run, reused, why = self.job()
        self.assertEqual((len(run), reused), (self.FILES, []))
        self.assertEqual(set(why), {"this piece of input was not seen before"})
        first, counters = self.last, self.job_get(self.last, "Counters")
        run, reused, why = self.job()
        self.assertEqual((run, len(reused)), ([], self.FILES))
        self.assertRegex(why[3], rf"^job {first} \(wordcount\), map 3, attempt 0$")
        again = self.job_get(self.last, "Counters")
        self.assertEqual(again.pop("maps_reused"), self.FILES)
        self.assertEqual(again, counters)

    def test_reuse_new_file(self):
        """one new file: it alone is mapped"""
        self.reuse_input()
        self.job()
        self.touch(self.dir / "in" / "f002b", text(700))
        run, reused, why = self.job()
        self.assertEqual((run, len(reused)), ([3], self.FILES))
        self.assertIn("not seen before", why[3])

    def test_reuse_new_small_file(self):
        """one new file among many small ones, which share splits: of the maps that were, one at most is another"""
        for i in range(60):
            self.file(f"in/s{i:02}", text(40 + i))
        self.lines = sum(40 + i for i in range(60))
        self.want = mr.coreutils_wordcount(mr.text_files([str(self.dir / "in")]))
        time.sleep(2.1)
        run, reused, _ = self.job()
        self.assertGreater(len(run), 3)
        self.assertLess(len(run), 20)
        self.touch(self.dir / "in" / "s29b", text(35))
        again, reused, _ = self.job()
        self.assertGreaterEqual(len(reused), len(run) - 1)
        self.assertIn(len(again), (1, 2, 3))  # its split, or what that fell into

    def test_explain_outlives_the_master(self):
        """why maps are run is known to a master that was killed and started again: of jobs that are over, that run, and to come"""
        self.reuse_input()
        self.job()
        first = self.last
        self.touch(self.dir / "in" / "f004", text(650))
        self.kill_master()
        self.wait_for_workers(3)
        self.assertEqual(set(self.whys(first)), {"this piece of input was not seen before"})
        run, _, why = self.job("--reduces", 3)  # to come
        self.assertEqual(len(run), self.FILES)
        self.assertIn("its input has changed", why[4])
        self.assertIn("the program, its files", why[3])
        self.out, self.reduces = self.dir / "held", 2
        held = self.submit("--mapper", self.holding("*f00[1-5]", WORDS), "--reducer", SUM, "--reuse=yes", "--split-size", "16K",
                           "--reduces", 2, "--input", self.dir / "in", "--output", self.out)
        mr.wait_for("the first map", lambda: self.job_get(held, "MapsDone") == 1)
        before = self.whys(held)
        self.assertIn("the program, its files", before[0])
        self.assertEqual(set(before[1:]), {None})
        self.kill_master()
        self.wait_for_workers(3)
        self.hold.touch()
        self.assertRight(held)
        self.assertEqual(set(self.whys(held)), {before[0]})  # also of those that were run by the new master

    def test_reuse_changed_byte(self):
        """one byte of one file changed in place, its size and even its time of change put back: that file alone is mapped"""
        self.reuse_input()
        self.job()
        path = self.dir / "in" / "f004"
        before = path.stat()
        data = path.read_bytes()
        self.touch(path, data[:100] + (b"x" if data[100:101] != b"x" else b"y") + data[101:])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        time.sleep(2.1)
        run, reused, why = self.job()
        self.assertEqual((run, len(reused)), ([4], self.FILES - 1))
        self.assertIn("input has changed", why[4])

    def test_reuse_fresh_input_is_not_trusted(self):
        """an input written within the last two seconds has no lineage: it may change again unseen"""
        self.job_input(self.FILES, lines=600)
        run, _, why = self.job()
        self.assertEqual(len(run), self.FILES)
        self.assertIn("less than 2 s", why[0])
        run, _, _ = self.job()
        self.assertEqual(len(run), self.FILES)

    def test_reuse_other_program(self):
        """another number of reduces, combiner, mapper or shipped file: everything is mapped; the same ones again: nothing"""
        self.reuse_input()
        ship = self.file("table", "1")
        self.job()
        for args, options in ((("--reduces", 3), {}),
                              (("--reuse", "yes"), {"app": False}),
                              (("--reuse", "yes"), {"app": False, "combine": SUM}),
                              (("--reuse", "yes", "--env", "X=1"), {"app": False}),
                              (("--reuse", "yes", "--file", ship), {"app": False})):
            run, reused, why = self.job(*args, **options)
            self.assertEqual((len(run), reused), (self.FILES, []), f"{args} {options}")
            self.assertIn("is another than when", why[0])
            run, reused, _ = self.job(*args, **options)
            self.assertEqual((run, len(reused)), ([], self.FILES), f"{args} {options}")
        self.file("table", "2")
        run, _, _ = self.job("--reuse", "yes", "--file", ship, app=False)
        self.assertEqual(len(run), self.FILES)

    def test_reuse_is_declared(self):
        """commands are run each time unless the job says Reuse=yes; Reuse=no runs apps, too"""
        self.reuse_input()
        for args, options, says in (((), {"app": False}, "Reuse=yes"), (("--reuse", "no"), {}, "Reuse=no")):
            for _ in range(2):
                run, reused, why = self.job(*args, **options)
                self.assertEqual((len(run), reused), (self.FILES, []))
                self.assertIn(says, why[0])

    def test_reuse_over_restarts(self):
        """outputs are used again after master and workers were started anew; those of a worker that is gone are made again"""
        self.reuse_input()
        self.job()
        self.kill_master()
        for w in self.workers:
            w.kill()
        mr.wait_for("the loss of all", lambda: self.get("WorkersAlive") == 0)
        self.workers = [self.start_worker(i) for i in range(3)]
        self.wait_for_workers(3)
        run, _, _ = self.job()
        self.assertEqual(run, [])
        held = len(list((self.dir / "spool-w1" / "cache").glob("*.run")))
        self.workers[1].kill()
        mr.wait_for("the loss", lambda: self.get("WorkersAlive") == 2)
        run, _, _ = self.job()
        self.assertEqual(len(run), held)

    def test_reuse_corrupt_output(self):
        """a kept output that has gone bad is found by its checksum and made again, and the bad one is dropped"""
        self.reuse_input()
        self.job()
        bad = sorted(self.dir.glob("spool-w*/cache/*.run"))[0]
        size, inode = bad.stat().st_size, bad.stat().st_ino
        flip_bit(bad, size // 4)
        flip_bit(bad, size * 3 // 4)
        run, reused, _ = self.job()
        self.assertEqual((len(run), len(reused)), (1, self.FILES - 1))
        self.assertEqual(self.job_get(self.last, "MapOutputsLost"), 1)
        mr.wait_for("the bad one to be dropped", lambda: not bad.exists() or bad.stat().st_ino != inode, 10)
        run, _, _ = self.job()
        self.assertEqual(run, [])

    def test_reuse_lost_output(self):
        """a kept output deleted under its worker is made again"""
        self.reuse_input()
        self.job()
        sorted(self.dir.glob("spool-w*/cache/*.run"))[0].unlink()
        run, reused, _ = self.job()
        self.assertEqual((len(run), len(reused)), (1, self.FILES - 1))

    def test_reuse_cache_is_bounded(self):
        """the cache keeps what was used last, within ReuseCache= bytes"""
        for w in self.workers[1:]:
            w.kill(signal.SIGTERM)
        self.workers[0].kill(signal.SIGTERM)
        mr.wait_for("their loss", lambda: self.get("WorkersAlive") == 0)
        self.reuse_input()
        conf = self.file("workerd.conf", "[Worker]\nReuseCache=1G\n")
        self.workers = [self.start_worker(0, f"--config={conf}")]
        mr.wait_for("the worker", lambda: self.get("WorkersAlive") == 1)
        self.job()
        cache = self.dir / "spool-w0" / "cache"
        sizes = {p.name: p.stat().st_size for p in cache.glob("*.run")}
        self.assertEqual(len(sizes), self.FILES)
        newest = max(cache.glob("*.meta"), key=lambda p: p.stat().st_mtime_ns).name.replace(".meta", ".run")
        self.workers[0].kill(signal.SIGTERM)
        mr.wait_for("its loss", lambda: self.get("WorkersAlive") == 0)
        bound = max(sizes.values()) * 2 + 100
        self.file("workerd.conf", f"[Worker]\nReuseCache={bound}\n")
        self.workers = [self.start_worker(0, f"--config={conf}")]
        mr.wait_for("the worker", lambda: self.get("WorkersAlive") == 1)
        kept = {p.name: p.stat().st_size for p in cache.glob("*.run")}
        self.assertEqual(len(kept), 2)
        self.assertIn(newest, kept)
        run, reused, why = self.job()
        self.assertEqual((len(run), len(reused)), (self.FILES - 2, 2))
        self.assertLessEqual(sum(p.stat().st_size for p in cache.glob("*.run")), bound)


class Stable(FaultCase):
    """Map outputs in a directory that all share."""

    def setUp(self):
        super().setUp()
        self.shared = self.dir / "shared"
        self.shared.mkdir()

    def stable_job(self, **kwargs):
        return self.count_job("--intermediate", f"stable:{self.shared}", **kwargs)

    def assertRight(self, job, **kwargs):
        super().assertRight(job, **kwargs)
        self.assertEqual(os.listdir(self.shared), [])

    def test_stable_worker_dies(self):
        """with Intermediate=stable: a worker that dies costs no finished map, not even while reduces need them"""
        self.job_input(12)
        job = self.stable_job(mapper=self.holding("*f00[6-9]|*f01*", WORDS))
        self.wait_maps(job, 6, 6)
        name, worker = self.worker_that(lambda n: self.on(job, "map", "done", n))
        running = len(self.on(job, "map", "running", name))
        shuffling = len(self.on(job, "reduce", "running", name))
        worker.kill()
        mr.wait_for("the loss", lambda: self.job_get(job, "AttemptsLost") == running + shuffling)
        self.hold.touch()
        self.assertRight(job, maps=12 + running)
        self.assertEqual(self.job_get(job, "MapOutputsLost"), 0)

    def test_stable_output_is_corrupt(self):
        """a bad block on stable storage is a lost output all the same"""
        self.job_input(10)
        job = self.stable_job(mapper=self.holding("*f009", WORDS))
        self.wait_maps(job, 9, 1)
        run = sorted(self.shared.glob("*/map-*.run"))[4]
        size = run.stat().st_size
        flip_bit(run, size // 4)
        flip_bit(run, size * 3 // 4)
        self.hold.touch()
        self.assertRight(job, maps=11, reduces=2)
        self.assertEqual(self.job_get(job, "MapOutputsLost"), 1)

    def test_stable_directory_is_not_shared(self):
        """a worker that does not see the master's directory says so, and what is asked of it"""
        self.job_input(2)
        hold = self.holding("*", WORDS)
        job = self.stable_job(mapper=hold)
        self.wait_maps(job, 0, 2)
        self.assertOk(self.ctl("cancel", job))
        blocker = self.file("not-a-directory")
        p = self.ctl("submit", "--mapper", WORDS, "--input", self.dir / "in", "--intermediate", f"stable:{blocker}/x")
        self.assertOk(p)
        job = p.stdout.decode().split()[-1]
        self.assertFails(self.ctl("wait", job), "Intermediate=stable", blocker)

    def test_stable_master_restarts(self):
        """a master killed over a job on stable storage goes on with all that is there"""
        self.job_input(12)
        job = self.stable_job(mapper=self.holding("*f00[6-9]|*f01*", WORDS))
        self.wait_maps(job, 6, 6)
        self.kill_master()
        self.hold.touch()
        self.assertRight(job, maps=12, reduces=2)


class Hang:
    """A file system whose server never answers: whoever looks into it waits."""

    def __init__(self, place):
        self.place = place
        place.mkdir()
        self.fd = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"hang", os.fsencode(place), b"fuse.hang", 0, options) != 0:
            raise OSError(ctypes.get_errno(), "cannot mount")

    def end(self):
        """Everybody who waits is told that the file system is gone."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            subprocess.run(["umount", "-l", str(self.place)], check=False)


def commands(line):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if f.read() == line:
                    found.append(int(pid))
        except OSError:
            pass
    return found


if __name__ == "__main__":
    tap.main()
