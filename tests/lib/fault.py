"""Jobs on which faults are made to happen, and what must be true after each: the ground of the tests of faults.

A job counts words of files of known length by commands; mappers that wait for a file (the *hold*) stop it where the test wants it, so
that the number of attempts is exact. What breaks is timed, too: each case says when it broke something, and the times until the master
noticed and until the job was over are printed, for tests/bench/faults.py.
"""

import ctypes
import glob
import json
import os
import pathlib
import subprocess
import time

import mr

WORDS = "tr -s '[:space:]' '\\n' | grep -av '^$' | sed 's/$/\\t1/'"
NAP = str(86400 + os.getpid())  # seconds: what sleeps so long is known by it among other programs that run tests
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
    """Jobs over files of known length, and what must be true of each of them at the end.

    No job goes unseen: after each case all that the master knows must be over, and the case must have said of each what it
    answers, how many records it read, and how many attempts its maps and its reduces took (assertRight, assertOver).
    """

    BACKUPS = False  # a mapper that the test holds is no straggler, and attempts are counted here
    want = lines = None

    def setUp(self):
        self.submitted, self.reckoned = {}, set()
        super().setUp()

    def tearDown(self):
        """What is true after every fault."""
        for job, state in self.states().items():
            self.assertIn(state, ("done", "failed", "cancelled"), f"job {job} is not over")
            self.assertIn(job, self.reckoned, f"nobody looked at job {job}")
        self.assertNothingIsLeft()
        super().tearDown()

    def states(self):
        p = self.ctl("list", "--json=short")
        self.assertOk(p)
        return {str(j["Id"]): j["State"] for j in json.loads(p.stdout)}

    def submit(self, *args):
        args = list(map(str, args))
        job = super().submit(*([] if self.BACKUPS else ["--backups=no"]), *args)
        self.expect(job, pathlib.Path(args[args.index("--output") + 1]) if "--output" in args else None)
        return job

    def expect(self, job, out=None):
        """What the job answers, into which directory (None: it is streamed), of how many records: as self has it now."""
        self.submitted[job] = (self.want, out, self.lines)
        self.reckoned.discard(job)

    def job_input(self, files=12, lines=300):
        self.lines = 0
        for i in range(files):
            self.file(f"in/f{i:03}", text(lines + i))
            self.lines += lines + i
        self.files = files
        tree = str(self.dir / "in")
        self.want = mr.coreutils_wordcount(mr.text_files([tree]))
        return tree

    def holding(self, pattern, command, variable="mapreduce_map_input_file", meanwhile="sleep 0.02"):
        """The command, for whose tasks the variable matches only after the hold is lifted."""
        self.hold = self.dir / "hold"
        return f"case ${variable} in {pattern}) while [ ! -e {self.hold} ]; do {meanwhile}; done;; esac; {command}"

    def count_job(self, *args, mapper=WORDS, reducer=SUM, reduces=2):
        """Submits the word count as a Hadoop Streaming job with an output directory."""
        self.out = self.dir / "out"
        return self.submit("--mapper", mapper, "--reducer", reducer, "--input", self.dir / "in", "--reduces", reduces,
                           "--output", self.out, *args)

    def half_mapped(self, submit=None):
        """A count job of twelve maps, of which six are done and six run until the hold is lifted."""
        self.job_input(12)
        job = (submit or self.count_job)(mapper=self.holding("*f00[6-9]|*f01*", WORDS))
        self.wait_maps(job, 6, 6)
        return job

    def in_hand(self, job, worker):
        """How many maps, and how many reduces, run on it."""
        return tuple(len(self.on(job, kind, "running", worker)) for kind in ("map", "reduce"))

    def attempts(self, job, kind):
        return sum(t["AttemptsStarted"] for t in self.tasks(job, kind))

    def lost(self, job, kind):
        """Attempts of which the master says that they were lost."""
        return sum(t["AttemptsLost"] for t in self.tasks(job, kind))

    def wait_maps(self, job, done, running=None):
        """@running: so many others run, and are known to their workers: whom the master's end finds so goes on."""
        mr.wait_for(f"{done} maps", lambda: self.job_get(job, "MapsDone") == done
                    and (running is None or self.job_get(job, "MapsRunning") == self.tasks_at_work(job) == running))

    def wait_registered(self, *indices):
        """Until workers that were started anew are: as long as a lease lasts the master counts those that were there before."""
        for i in indices:
            mr.wait_for(f"w{i} to register", lambda i=i: self.get(
                "State", "/org/mapreduced/Worker1", "org.mapreduced.Worker1.Manager", fail=False,
                service=f"org.mapreduced.Worker1.w{i}") == "registered")

    def worker_that(self, condition):
        """The first worker, by name, of which it is true; and its daemon."""
        for i, w in enumerate(self.workers):
            if condition(f"w{i}"):
                return f"w{i}", w
        self.fail("no worker is as this case needs it")

    def rows(self, job):
        """The job's answer, sorted by lines; of its directory, in which there is nothing else."""
        _, out, _ = self.submitted[job]
        if not out:
            p = self.ctl("cat", job)
            self.assertOk(p)
            return b"".join(sorted(p.stdout.splitlines(True)))
        parts = [f"part-{i:05}" for i in range(self.job_get(job, "Reduces"))]
        self.assertEqual(sorted(os.listdir(out)), ["_SUCCESS", *parts])
        return b"".join(sorted(b"".join((out / p).read_bytes() for p in parts).splitlines(True)))

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

    def assertRight(self, job, *, maps, reduces):
        """The job ends well, its answer is coreutils', its records were read once, and it took as many attempts as given.

        @maps, @reduces: a number, or the least and the most.
        """
        self.assertOk(self.ctl("wait", "-q", job))
        self.ends(job)
        self.assertAnswer(job)
        self.assertAttempts(job, maps, reduces)
        self.assertNothingIsLeft()

    def assertAnswer(self, job):
        want, _, lines = self.submitted[job]
        self.assertSameLines(self.rows(job), want)
        self.assertEqual(self.job_get(job, "Counters")["map_input_records"], lines)

    def assertOver(self, job, state, *, maps, reduces):
        """The job has failed or was cancelled: it leaves no output, and took as many attempts as given."""
        # Whoever cancels a job does not wait for its attempts to have ended.
        mr.wait_for(f"the end of job {job}", lambda: self.job_get(job, "State") not in ("planning", "running", "committing"))
        self.assertEqual(self.job_get(job, "State"), state)
        self.ends(job, state)
        _, out, _ = self.submitted[job]
        if out:
            self.assertFalse(out.exists(), f"{out} is left")
        self.assertAttempts(job, maps, reduces)
        self.assertNothingIsLeft()

    def assertAttempts(self, job, maps, reduces):
        for kind, wanted in (("map", maps), ("reduce", reduces)):
            low, high = wanted if isinstance(wanted, tuple) else (wanted, wanted)
            got = self.attempts(job, kind)
            self.assertTrue(low <= got <= high, f"{got} attempts of {kind}s, not {low} to {high}: {self.events(job)}")
        self.reckoned.add(job)

    def other_job(self):
        """Another job ends well beside those that are held."""
        other = self.dir / "in/f000"
        kept, self.want, self.lines = (self.want, self.lines), mr.coreutils_wordcount([str(other)]), other.read_bytes().count(b"\n")
        job = self.submit("--app", "wordcount", "--input", other, "--reduces", 1)
        self.want, self.lines = kept
        self.assertOk(self.ctl("wait", "-q", job))
        self.assertAnswer(job)
        self.assertAttempts(job, 1, 1)

    def assertNothingIsLeft(self):
        """No file of a job that is over in any living worker's spool, or in the master's state; no temporary file.

        But the files that a job shipped and failed with: `mrctl retry` submits them again.
        """
        living = [w for w in self.workers if w.alive()]
        def left():
            states = self.states()
            running = tuple(f"{job}-" for job, state in states.items() if state not in ("done", "failed", "cancelled"))
            found = []
            for w in living:
                spool = pathlib.Path(next(a for a in w.args if a.startswith("--spool=")).removeprefix("--spool="))
                found += [p for part in ("tmp", "jobs") for p in (spool / part).iterdir() if not p.name.startswith(running)]
            for p in map(pathlib.Path, glob.glob(f"{self.dir}/master/jobs/*/*", include_hidden=True)):  # pathlib's does not bear what goes meanwhile
                state = states.get(p.parent.name, "forgotten")
                if state in ("done", "cancelled", "forgotten") or (state == "failed" and p.name != "files"):
                    found.append(p)
            return found + list(self.tmp.iterdir())
        try:
            mr.wait_for("the spools to be empty", lambda: not left(), 20)
        except AssertionError:
            self.fail(f"left behind: {left()}")

    def slots_used(self):
        p = self.ctl("workers", "--json=short")
        self.assertOk(p)
        return sum(r["SlotsUsed"] for r in json.loads(p.stdout))

    def kill_master(self, *extra):
        self.breaks()
        self.master.kill()
        self.start_master(*extra)
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


def sleepers():
    return commands(f"sleep\0{NAP}\0".encode())


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
