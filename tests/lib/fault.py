"""Jobs on which faults are made to happen, and what must be true after each: the ground of the tests of faults.

A job counts words of files of known length by commands; mappers that wait for a file (the *hold*) stop it where the test wants it, so
that the number of attempts is exact. What breaks is timed, too: each case says when it broke something, and the times until the master
noticed and until the job was over are printed, for tests/bench/faults.py.
"""

import ctypes
import json
import os
import subprocess
import time

import mr

WORDS = "tr -s '[:space:]' '\\n' | grep -av '^$' | sed 's/$/\\t1/'"
SUM = "awk -F '\\t' '{n[$1] += $2} END {for (w in n) printf \"%s\\t%d\\n\", w, n[w]}'"


def text(lines):
    return b"".join(b"word%d of line %d\n" % (i * 7919 % 997, i % 50) for i in range(lines))


class Timed(mr.ClusterCase):
    """Says how long what it broke took to be noticed, and until the job was over: a line that tests/bench/faults.py reads."""

    def setUp(self):
        self.broke = None
        self.times = {}
        self.addCleanup(self.print_times)  # the last of all
        super().setUp()

    def print_times(self):
        if self.times:
            print("# took", *(f"{what} {seconds:.3f}" for what, seconds in self.times.items()), flush=True)

    def breaks(self, job=None):
        """Now; or, where the job itself is what is wrong, when it began."""
        self.broke, self.times = None, {}
        self.broke = self.since(job, "started") if job else time.time()

    def stories(self, job):
        p = self.busctl("call", "org.mapreduced.Master1", f"/org/mapreduced/Master1/job/{job}",
                        "org.mapreduced.Master1.Job", "ListEvents")
        return [(usec / 1e6, kind, text) for usec, kind, text in json.loads(p.stdout)["data"][0]]

    def since(self, job, kind):
        """When the first event of that kind was, not before the fault."""
        def find():
            return [at for at, k, _ in self.stories(job) if k == kind and at >= (self.broke or 0)]
        return mr.wait_for(f"the event {kind}", find, 60)[0]

    def took(self, what, job=None, kind=None):
        """@kind of event of the job that it lasted until; without, it is now."""
        self.times[what] = (self.since(job, kind) if kind else time.time()) - self.broke

    def notices(self, job=None, kind=None):
        self.took("noticed", job, kind)

    def ends(self, job, kind="done"):
        if self.broke and "over" not in self.times:
            self.took("over", job, kind)

    def tasks(self, job, kind):
        p = self.ctl("tasks", "--json=short", job)
        self.assertOk(p)
        return [t for t in json.loads(p.stdout) if t["Kind"] == kind]

    def on(self, job, kind, state, worker):
        return [t["Index"] for t in self.tasks(job, kind) if t["State"] == state and t["Worker"] == worker]


class FaultCase(Timed):
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
        self.ends(job)
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
        self.breaks()
        self.master.kill()
        self.start_master()
        self.notices()


def flip_bit(path, offset):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)[0]
        f.seek(offset)
        f.write(bytes([byte ^ 0x10]))


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
