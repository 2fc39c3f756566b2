"""What breaks under a job, made to happen to real processes: workers, disks, the master. One case each, by the name in docs/fault-tolerance.md.

After each of them: the answer is byte for byte what coreutils says, no temporary file is left, every map's records
are counted once, and the number of attempts is what the theory says. See tests/lib/fault.py.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fault  # noqa: E402
import mr  # noqa: E402
import tap  # noqa: E402
from fault import SUM, WORDS  # noqa: E402


# Who is about to write this directory to disk ends there.
DIE_BEFORE_SYNC = """
#include <dlfcn.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int fsync(int fd)
{
        char link[64], path[PATH_MAX + 1] = "";

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        if (readlink(link, path, PATH_MAX) > 0 && strcmp(path, PLACE) == 0)
                kill(getpid(), SIGKILL);
        return ((int (*)(int)) dlsym(RTLD_NEXT, "fsync"))(fd);
}
"""

# A worker that is about to put its second map output in place ends there.
DIE_AT_THE_SECOND = """
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
        static int outputs;

        if (strncmp(to, "map-", 4) == 0 && ++outputs == 2)
                kill(getpid(), SIGKILL);
        return ((int (*)(int, const char *, int, const char *)) dlsym(RTLD_NEXT, "renameat"))(from_fd, from, to_fd, to);
}
"""


class Relay:
    """A way to @to through another address, with the same port, that can be cut while both ends live."""

    def __init__(self, to, here):
        self.pairs, self.to = [], to
        self.listener = socket.create_server((here, 0), backlog=50)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
                far = socket.create_connection((self.to, self.port), 5)
            except OSError:
                return
            far.settimeout(None)
            self.pairs.append((near, far))
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.pass_on, args=(a, b), daemon=True).start()

    @staticmethod
    def pass_on(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        """Ends what goes through it now; who comes anew is let through."""
        for pair in list(self.pairs):
            for s in pair:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def end(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()


class Dying(fault.FaultCase):
    def preload(self, source, *flags):
        """What the daemons started within are loaded with."""
        library = self.dir / "die.so"
        mr.call("cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", library, self.file("die.c", source), *flags)
        return unittest.mock.patch.dict(self.env, LD_PRELOAD=str(library),
                                        ASAN_OPTIONS=self.env["ASAN_OPTIONS"] + ":verify_asan_link_order=0")


class WorkerLost(Dying):
    def test_worker_dies_in_the_maps(self):
        """kill -9 of a worker in the maps: its running maps run again, and its finished ones, which a reduce needs"""
        job = self.half_mapped()
        name, worker = self.worker_that(lambda n: self.on(job, "map", "done", n))
        again = len(self.on(job, "map", "done", name)) + len(self.on(job, "map", "running", name))
        shuffling, held = len(self.on(job, "reduce", "running", name)), len(self.on(job, "map", "done", name))
        self.breaks()
        worker.kill()
        mr.wait_for("the loss", lambda: self.job_get(job, "MapOutputsLost") == held)
        self.notices(job, "attempt-lost")
        self.hold.touch()
        self.assertRight(job, maps=12 + again, reduces=2 + shuffling)
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
        self.breaks()
        worker.kill()
        mr.wait_for("the loss", lambda: self.job_get(job, "MapOutputsLost") == held)
        self.notices(job, "worker-lost")
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
        self.kill_master("--lease=60")
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
        self.breaks()
        worker.kill()
        mr.wait_for("the loss", lambda: self.job_get(job, "AttemptsLost") == running)
        self.notices(job, "attempt-lost")
        self.hold.touch()
        self.assertRight(job, maps=12 + maps, reduces=12 + running)
        self.assertEqual({t["AttemptsStarted"] for t in self.tasks(job, "reduce") if t["Index"] in finished}, {1})

    def test_worker_stands_still(self):
        """a worker that stops, with its connections open: lost by its lease, as if it had died; then it comes back, for the next job"""
        job = self.half_mapped()
        name, worker = self.worker_that(lambda n: self.on(job, "map", "done", n))
        again = len(self.on(job, "map", "done", name)) + len(self.on(job, "map", "running", name))
        shuffling = len(self.on(job, "reduce", "running", name))
        self.breaks()
        os.kill(worker.pid, signal.SIGSTOP)
        self.notices(job, "worker-lost")
        self.hold.touch()
        self.assertOk(self.ctl("wait", "-q", job))
        os.kill(worker.pid, signal.SIGCONT)
        self.wait_for_workers(3)
        self.assertRight(job, maps=12 + again, reduces=2 + shuffling)

    def test_connection_breaks(self):
        """the master's connection to a worker breaks, and both live: its running attempts are lost and run again, its finished maps are not"""
        for w in self.workers:
            w.kill(signal.SIGTERM)
        relays = [Relay(f"127.0.0.{i + 2}", f"127.0.0.{i + 12}") for i in range(3)]
        for r in relays:
            self.addCleanup(r.end)
        self.workers = [self.start_worker(i, f"--listen=127.0.0.{i + 2}:{r.port}", f"--advertise=127.0.0.{i + 12}") for i, r in enumerate(relays)]
        self.wait_registered(0, 1, 2)
        job = self.half_mapped()
        name, _ = self.worker_that(lambda n: self.on(job, "map", "done", n))
        maps, reduces = self.in_hand(job, name)
        self.breaks()
        relays[int(name[1:])].cut()
        self.notices(job, "attempt-lost")
        mr.wait_for("the loss", lambda: self.job_get(job, "AttemptsLost") == maps + reduces)
        self.hold.touch()
        self.assertRight(job, maps=12 + maps, reduces=2 + reduces)
        self.assertEqual(self.job_get(job, "MapOutputsLost"), 0)
        self.assertEqual(self.get("WorkersAlive"), 3)

    def test_no_worker(self):
        """a job without any worker waits, says so, and runs when one comes"""
        for w in self.workers:
            w.kill(signal.SIGTERM)
        mr.wait_for("their end", lambda: self.get("WorkersAlive") == 0)
        self.job_input(4)
        job = self.count_job()
        self.breaks(job)
        mr.wait_for("the reason", lambda: "waiting for a worker" in self.job_get(job, "StateReason"))
        self.notices()
        self.workers = [self.start_worker(0)]
        self.assertRight(job, maps=4, reduces=2)

    def test_builtin_loses_a_worker(self):
        """kill -9 of a worker during a built-in word count of many splits"""
        self.workers[1].kill(signal.SIGTERM)
        with self.preload(DIE_AT_THE_SECOND):
            self.workers[1] = self.start_worker(1)
        self.wait_registered(1)
        self.file("in/big", fault.text(60000))
        self.want = mr.coreutils_wordcount([str(self.dir / "in/big")])
        self.lines = 60000
        job = self.submit("--app", "wordcount", "--input", self.dir / "in", "--split-size", "16K", "--reduces", "4",
                          "--output", self.dir / "out")
        mr.wait_for("its end", lambda: not self.workers[1].alive())
        self.broke = self.since(job, "attempt-lost")
        self.assertOk(self.ctl("wait", "-q", job))
        maps = self.job_get(job, "Maps") + self.lost(job, "map")
        # Those of the dead worker's finished maps run again that a reduce had not read.
        self.assertRight(job, maps=(maps, maps + self.job_get(job, "MapOutputsLost")), reduces=4 + self.lost(job, "reduce"))


class WorkerBack(fault.FaultCase):
    """Within its lease, which is long here: a slow machine takes its time to start a worker again."""

    def start_master(self, *extra):
        return super().start_master("--lease=60", *extra)

    def test_worker_restarts(self):
        """a worker killed and started again on its spool: its finished maps are as good as before, only what ran is lost"""
        job = self.half_mapped()
        name, worker = self.worker_that(lambda n: self.on(job, "map", "done", n))
        running, shuffling = self.in_hand(job, name)
        self.breaks()
        worker.kill()
        i = int(name[1:])
        self.workers[i] = self.start_worker(i)
        mr.wait_for("the loss", lambda: self.job_get(job, "AttemptsLost") == running + shuffling)
        self.wait_registered(i)
        self.notices(job, "attempt-lost")
        self.hold.touch()
        self.assertRight(job, maps=12 + running, reduces=2 + shuffling)
        self.assertEqual(self.job_get(job, "MapOutputsLost"), 0)

    def test_power_cut(self):
        """a host without power for a moment: what its disk did not get yet of finished maps is cut short, and these alone run again"""
        job = self.half_mapped()
        name, worker = self.worker_that(lambda n: len(self.on(job, "map", "done", n)) >= 2)
        running, shuffling = self.in_hand(job, name)
        self.breaks()
        worker.kill()
        runs = sorted(self.dir.glob(f"spool-{name}/jobs/{job}-*/map-*.run"))
        os.truncate(runs[0], 0)
        os.truncate(runs[1], runs[1].stat().st_size // 2)
        i = int(name[1:])
        self.workers[i] = self.start_worker(i)
        self.wait_registered(i)
        self.hold.touch()
        self.assertRight(job, maps=(12 + running, 12 + running + 2), reduces=2 + shuffling)
        self.notices(job, "attempt-lost")
        # A reduce on another host may have had them in hand before.
        self.assertLessEqual(self.job_get(job, "MapOutputsLost"), 2)


class OutputLost(fault.FaultCase):
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
        self.breaks()
        victims[0].unlink()
        self.hold.touch()
        self.assertRight(job, maps=11, reduces=2)
        self.notices(job, "map-output-lost")
        self.assertEqual(self.job_get(job, "MapOutputsLost"), 1)

    def test_map_output_is_corrupt(self):
        """flipped bits in map outputs on disk: the checksum finds them, those maps run again, and the answer is right"""
        self.job_input(10)
        job = self.count_job(mapper=self.holding("*f009", WORDS))
        self.wait_maps(job, 9, 1)
        runs = sorted(self.dir.glob(f"spool-w*/jobs/{job}-*/map-*.run"))
        self.assertEqual(len(runs), 9)
        self.breaks()
        # One on each worker, in both partitions: a reduce reads those of its own host in place.
        for run in {r.parents[2]: r for r in runs}.values():
            size = run.stat().st_size
            fault.flip_bit(run, size // 4)
            fault.flip_bit(run, size * 3 // 4)
        self.hold.touch()
        self.assertRight(job, maps=(11, 13), reduces=2)
        self.notices(job, "map-output-lost")
        self.assertRegex(self.events(job), "(?i)checksum|damaged|corrupt")


class MasterLost(Dying):
    """It is expected back, and so are its workers, within their lease, which is long here: they ask for it ever more seldom."""

    def start_master(self, *extra):
        return super().start_master("--lease=60", *extra)

    def test_finished_maps_outlive_the_master(self):
        """kill -9 of the master between two maps: the job goes on, finished maps are not run again"""
        job = self.half_mapped()
        self.kill_master()
        self.hold.touch()
        self.assertRight(job, maps=12, reduces=2)

    def test_running_attempts_outlive_the_master(self):
        """workers go on without the master: attempts that run and results that nobody heard are taken up by the next one"""
        job = self.half_mapped()
        self.master.kill()
        self.hold.touch()
        def outputs():
            return len(list(self.dir.glob(f"spool-w*/jobs/{job}-*/map-*.run")))
        mr.wait_for("the maps to end without a master", lambda: outputs() == 12)
        self.breaks()
        self.start_master()
        self.notices(job, "attempt-resumed")
        self.assertRight(job, maps=12, reduces=2)
        self.assertIn("goes on with", self.events(job))

    def test_results_on_their_way_outlive_the_master(self):
        """a master killed with results in its socket that it has not read: their workers tell the next one, no map runs again"""
        job = self.half_mapped()
        os.kill(self.master.pid, signal.SIGSTOP)
        self.hold.touch()
        def told():
            return sum(self.get("AttemptsFinished", "/org/mapreduced/Worker1", "org.mapreduced.Worker1.Manager",
                                service=f"org.mapreduced.Worker1.w{i}") for i in range(3))
        mr.wait_for("the maps to end", lambda: told() == 12)
        self.kill_master()
        self.assertRight(job, maps=12, reduces=2)
        self.assertEqual(self.job_get(job, "AttemptsLost"), 0)

    def test_commits_outlive_the_master(self):
        """a master killed when a part is in place and before it has written so down: the part stays, its reduce does not run again"""
        self.job_input(6)
        job = self.count_job(reducer=self.holding("*", SUM, "mapreduce_task_partition"))
        self.wait_maps(job, 6)
        mr.wait_for("the reduces", lambda: self.slots_used() == 2)
        self.assertEqual(self.master.kill(signal.SIGTERM), 0)
        with self.preload(DIE_BEFORE_SYNC, f'-DPLACE="{self.out}"'):
            self.start_master()
        self.hold.touch()
        self.breaks()
        mr.wait_for("the master's end", lambda: not self.master.alive())
        placed = {p.name: (p.stat().st_ino, p.read_bytes()) for p in self.out.glob("part-*")}
        self.assertTrue(placed)
        self.start_master()
        self.notices()
        self.assertRight(job, maps=6, reduces=2)
        self.assertEqual(self.job_get(job, "AttemptsFailed"), 0)
        self.assertEqual({name: ((self.out / name).stat().st_ino, (self.out / name).read_bytes()) for name in placed}, placed)

    def test_reduces_outlive_the_master(self):
        """reduces that run while the master is away, with their parts in an output directory and on the way to the master"""
        self.job_input(6)
        shared = self.count_job(reducer=self.holding("*", SUM, "mapreduce_task_partition"))
        sent = self.submit("--mapper", WORDS, "--reducer", self.holding("*", SUM, "mapreduce_task_partition"),
                           "--input", self.dir / "in", "--reduces", 2)
        for job in (shared, sent):
            self.wait_maps(job, 6)
        mr.wait_for("their commands", lambda: self.slots_used() == 4)
        self.master.kill()
        self.hold.touch()
        mr.wait_for("the parts", lambda: len([p for p in self.out.glob("_temporary/*/part-*") if p.stat().st_size]) == 2)
        self.breaks()
        self.start_master()
        self.notices(shared, "attempt-resumed")
        self.assertOk(self.ctl("wait", "-q", sent))
        self.assertRight(shared, maps=6, reduces=2)
        self.assertRight(sent, maps=6, reduces=2)

    def test_master_is_stopped_and_started(self):
        """a master stopped in order, as by an upgrade, costs no attempt either"""
        job = self.half_mapped()
        self.breaks()
        self.assertEqual(self.master.kill(signal.SIGTERM), 0)
        self.start_master()
        self.notices(job, "attempt-resumed")
        self.hold.touch()
        self.assertRight(job, maps=12, reduces=2)

    def test_rejoin_grace_ends(self):
        """attempts whose master does not come back within RejoinGrace= end, with their commands; finished maps are kept"""
        conf = self.file("workerd.conf", "[Worker]\nRejoinGrace=700ms\n")
        for i, w in enumerate(self.workers):
            w.kill(signal.SIGTERM)
            self.workers[i] = self.start_worker(i, f"--config={conf}")
        self.wait_registered(0, 1, 2)
        self.job_input(12)
        job = self.count_job(mapper=self.holding("*f00[6-9]|*f01*", f"head -c 0; sleep {fault.NAP} & wait; {WORDS}"))
        self.hold.touch()  # all maps wait for ever
        mr.wait_for("the mappers", lambda: len(fault.sleepers()) == 6)
        self.breaks()
        self.master.kill()
        mr.wait_for("the commands to end", lambda: not fault.sleepers(), 10)
        self.notices()
        self.start_master()
        mr.wait_for("the mappers again", lambda: len(fault.sleepers()) == 6)
        self.took("over")
        self.assertEqual(self.job_get(job, "AttemptsLost"), 6)
        self.assertOk(self.ctl("cancel", job))
        self.assertOver(job, "cancelled", maps=12, reduces=(0, 4))

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
        self.assertEqual(set(self.states()), {str(i) for i in ids})
        self.assertOk(self.ctl("wait", "-q", *ids))
        self.took("over")
        self.want, self.lines = b"a\t1\n", 1
        for job in self.states():
            self.expect(job)
            self.assertRight(job, maps=(1, 3), reduces=(1, 3))  # an attempt may have been on its way when the master died, twice

    def test_second_master_is_refused(self):
        """a second master on one state directory, and a second worker on one spool, refuse and name it"""
        for program, place, extra in ((mr.MASTERD, "master", ["--state"]), (mr.WORKERD, "spool-w0", ["--master=127.0.0.1:1", "--spool"])):
            self.breaks()
            p = subprocess.run([program, "--bus=none", "--listen=127.0.0.1:0", *extra[:-1], f"{extra[-1]}={self.dir}/{place}"],
                               stderr=subprocess.PIPE, timeout=30, check=False, env=self.env)
            self.notices()
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
        self.breaks()
        self.start_master()
        self.hold.touch()
        self.wait_for_workers(3)
        self.notices()
        again = self.count_job(mapper=WORDS)
        self.assertEqual(again, job)
        self.assertRight(again, maps=4, reduces=2)


class Stable(fault.FaultCase):
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
        job = self.half_mapped(self.stable_job)
        name, worker = self.worker_that(lambda n: self.on(job, "map", "done", n))
        running, shuffling = self.in_hand(job, name)
        self.breaks()
        worker.kill()
        mr.wait_for("the loss", lambda: self.job_get(job, "AttemptsLost") == running + shuffling)
        self.notices(job, "attempt-lost")
        self.hold.touch()
        self.assertRight(job, maps=12 + running, reduces=2 + shuffling)
        self.assertEqual(self.job_get(job, "MapOutputsLost"), 0)

    def test_stable_output_is_corrupt(self):
        """a bad block on stable storage is a lost output all the same"""
        self.job_input(10)
        job = self.stable_job(mapper=self.holding("*f009", WORDS))
        self.wait_maps(job, 9, 1)
        run = sorted(self.shared.glob("*/map-*.run"))[4]
        size = run.stat().st_size
        fault.flip_bit(run, size // 4)
        fault.flip_bit(run, size * 3 // 4)
        self.breaks()
        self.hold.touch()
        self.assertRight(job, maps=11, reduces=2)
        self.notices(job, "map-output-lost")
        self.assertEqual(self.job_get(job, "MapOutputsLost"), 1)

    def test_stable_directory_is_not_shared(self):
        """a worker that does not see the master's directory says so, and what is asked of it"""
        self.job_input(2)
        hold = self.holding("*", WORDS)
        job = self.stable_job(mapper=hold)
        self.wait_maps(job, 0, 2)
        self.assertOk(self.ctl("cancel", job))
        self.assertOver(job, "cancelled", maps=2, reduces=(0, 2))
        self.times.clear()
        blocker = self.file("not-a-directory")
        job = self.submit("--mapper", WORDS, "--input", self.dir / "in", "--intermediate", f"stable:{blocker}/x")
        self.broke = self.since(job, "submitted")
        self.assertFails(self.ctl("wait", job), "Intermediate=stable", blocker)
        self.assertOver(job, "failed", maps=0, reduces=0)

    def test_stable_master_restarts(self):
        """a master killed over a job on stable storage goes on with all that is there"""
        job = self.half_mapped(self.stable_job)
        self.kill_master("--lease=60")
        self.hold.touch()
        self.assertRight(job, maps=12, reduces=2)


class FileSystems(fault.FaultCase):
    ALIVE = "echo reporter:status:held >&2; sleep 0.02"  # no time limit ends a mapper that the test holds

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
        self.wait_registered(0)  # with a new id, for its spool is new
        self.job_input(6, lines=20000)
        job = self.count_job()
        self.breaks(job)
        self.assertOk(self.ctl("wait", "-q", job))
        failed = self.job_get(job, "AttemptsFailed")
        self.assertGreaterEqual(failed, 1)
        elsewhere = failed + self.events(job).count('"attempt-rejected"')  # that one was not even begun there
        self.assertRight(job, maps=(6, 6 + elsewhere), reduces=(2, 2 + elsewhere))
        self.assertEqual(self.attempts(job, "map") + self.attempts(job, "reduce"), 6 + 2 + elsewhere)
        self.notices(job, "attempt-failed")
        self.assertRegex(self.events(job), "disk full|No space left")
        p = self.busctl("call", "org.mapreduced.Master1", f"/org/mapreduced/Master1/job/{job}", "org.mapreduced.Master1.Job", "ListFailedAttempts", "u", "0")
        self.assertEqual({row[9] for row in json.loads(p.stdout)["data"][0]}, {"disk-full"})
        self.workers[0].kill(signal.SIGTERM)  # before its file system goes

    @unittest.skipUnless(os.geteuid() == 0 and os.path.exists("/dev/fuse"), "only root can mount a file system that hangs")
    def test_input_hangs(self):
        """an input on a file system that hangs: its attempt alone waits, until TaskTimeout=; the worker goes on, and so does the job"""
        self.job_input(12)
        job = self.count_job("--task-timeout", "2s", "--max-attempts", 50, mapper=self.holding("*f00[0-5]", WORDS, meanwhile=self.ALIVE))
        self.wait_maps(job, 0, 6)
        late, aside = self.dir / "in/f011", self.dir / "aside"
        os.rename(late, aside)  # the same file when it comes back: as planned
        hang = fault.Hang(self.dir / "hang")
        self.addCleanup(hang.end)
        late.symlink_to(self.dir / "hang/file")
        self.breaks()
        self.hold.touch()
        mr.wait_for("all maps but one", lambda: self.job_get(job, "MapsDone") == 11, 20)
        mr.wait_for("the time limit", lambda: "time limit" in self.events(job), 20)
        self.notices(job, "attempt-failed")
        self.assertEqual(self.get("WorkersAlive"), 3)
        self.other_job()
        self.assertEqual(self.get("WorkersAlive"), 3)
        self.assertEqual(self.job_get(job, "AttemptsLost"), 0)
        os.rename(aside, late)
        hang.end()
        self.assertOk(self.ctl("wait", "-q", job))
        self.assertRight(job, maps=12 + self.job_get(job, "AttemptsFailed"), reduces=2)

    @unittest.skipUnless(os.geteuid() == 0 and os.path.exists("/dev/fuse"), "only root can mount a file system that hangs")
    def test_output_hangs(self):
        """an output directory on a file system that hangs: its attempts alone wait; workers and other jobs go on, and so does the job"""
        self.job_input(6)
        job = self.count_job("--task-timeout", "2s", "--max-attempts", 50, mapper=self.holding("*", WORDS, meanwhile=self.ALIVE))
        self.wait_maps(job, 0, 6)
        temporary, aside = self.out / "_temporary", self.dir / "aside"
        os.rename(temporary, aside)
        hang = fault.Hang(self.dir / "hang")
        self.addCleanup(hang.end)
        temporary.symlink_to(self.dir / "hang")
        self.breaks()
        self.hold.touch()
        mr.wait_for("the maps", lambda: self.job_get(job, "MapsDone") == 6)
        mr.wait_for("the time limit", lambda: re.search("time limit: its output .* could not be opened", self.events(job)), 20)
        self.notices(job, "attempt-failed")
        self.other_job()
        self.assertEqual(self.get("WorkersAlive"), 3)
        self.assertEqual(self.job_get(job, "AttemptsLost"), 0)
        temporary.unlink()
        os.rename(aside, temporary)
        hang.end()
        self.assertOk(self.ctl("wait", "-q", job))
        self.assertRight(job, maps=6, reduces=2 + self.job_get(job, "AttemptsFailed"))


tap.main()
