#!/usr/bin/env python3
"""How long a fault takes to be noticed and to be mended: real processes, medians.

    faults.py [--rounds N]

Noticed: from the fault to the master's event (or to the answer, where it is the master that was away). Mended: to the moment when what was
lost runs again, or its output is there again. The lease is 3 s and heartbeats come every 0.3 s, as in all tests of faults; defaults are 10 and 1.
Prints a table; nothing passes or fails by time, but a fault that is never noticed is an error.
"""

import argparse
import json
import os
import pathlib
import signal
import statistics
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "lib"), str(TESTS / "cluster")]
import faults  # noqa: E402
import mr  # noqa: E402


class Bench(faults.FaultCase):
    def runTest(self):
        """set up, and left to main()"""

    def stories(self, job):
        p = self.busctl("call", "org.mapreduced.Master1", f"/org/mapreduced/Master1/job/{job}",
                        "org.mapreduced.Master1.Job", "ListEvents")
        return [(usec / 1e6, kind, text) for usec, kind, text in json.loads(p.stdout)["data"][0]]

    def event_after(self, job, begin, kind):
        """Seconds until the first event of that kind."""
        def find():
            return [at - begin for at, k, _ in self.stories(job) if k == kind and at >= begin]
        return mr.wait_for(f"the event {kind}", find, 60)[0]

    def until(self, begin, what, predicate):
        mr.wait_for(what, predicate, 60)
        return time.time() - begin

    def held_job(self, *args):
        """Half of twelve maps done, half running; the reduces in their shuffle."""
        self.job_input(12)
        job = self.count_job(*args, mapper=self.holding("*f00[6-9]|*f01*", faults.WORDS))
        self.wait_maps(job, 6, 6)
        return job

    def victim(self, job):
        return self.worker_that(lambda n: self.on(job, "map", "done", n) and self.on(job, "map", "running", n))[1]

    def finish(self, job):
        self.hold.touch()
        self.assertRight(job)

    def worker_is_killed(self):
        """a worker's process is killed"""
        job = self.held_job()
        victim = self.victim(job)
        begin = time.time()
        victim.kill()
        noticed = self.event_after(job, begin, "attempt-lost")
        mended = self.event_after(job, begin, "task-rerun")
        self.finish(job)
        return noticed, mended

    def worker_is_silent(self):
        """a worker stands still: no word, no end of its connections"""
        job = self.held_job()
        victim = self.victim(job)
        begin = time.time()
        os.kill(victim.pid, signal.SIGSTOP)
        noticed = self.event_after(job, begin, "worker-lost")
        mended = self.event_after(job, begin, "task-rerun")
        os.kill(victim.pid, signal.SIGCONT)
        self.finish(job)
        return noticed, mended

    def run_file(self, job):
        runs = sorted(self.dir.glob("spool-w*/jobs/*/map-*.run"))
        assert runs
        return runs[0]

    def output_is_gone(self):
        """a map's output is removed before a reduce asks for it"""
        self.job_input(12)
        self.out, self.reduces = self.dir / "out", 2
        job = self.submit("--mapper", faults.WORDS, "--reducer", faults.SUM, "--input", self.dir / "in", "--reduces", 2, "--output", self.out)
        path = mr.wait_for("an output", lambda: sorted(self.dir.glob("spool-w*/jobs/*/map-*.run")))[0]
        begin = time.time()
        path.unlink(missing_ok=True)
        lost = mr.wait_for("the loss, or the end", lambda: self.job_get(job, "MapOutputsLost") or self.job_is_over(job))
        if lost is True:
            return None  # the reduces were faster
        noticed = self.event_after(job, begin, "map-output-lost")
        self.assertOk(self.ctl("wait", "-q", job))
        return noticed, self.stories(job)[-1][0] - begin

    def master_is_killed(self):
        """the master is killed and started again while attempts run"""
        job = self.held_job()
        begin = time.time()
        self.kill_master()
        noticed = time.time() - begin
        mended = self.until(begin, "the workers and their attempts", lambda: self.get("WorkersAlive") == 3
                            and self.job_get(job, "MapsRunning") == 6 and self.slots_used() == 6)
        self.finish(job)
        return noticed, mended

    def attempt_hangs(self):
        """a map hangs on a live worker: a backup overtakes it"""
        self.job_input(12)
        self.out, self.reduces = self.dir / "out", 2
        flag = self.dir / "hung"
        mapper = f"case $mapreduce_task_attempt_id in *_m_000003_0) touch {flag}; sleep 4322;; esac; {faults.WORDS}"
        job = mr.ClusterCase.submit(self, "--mapper", mapper, "--reducer", faults.SUM, "--input", self.dir / "in", "--reduces", 2,
                                    "--output", self.out)
        mr.wait_for("the hang", flag.exists)
        begin = time.time()
        noticed = self.event_after(job, begin, "backup-started")
        mended = self.event_after(job, begin, "attempt-overtaken")
        self.assertRight(job)
        return noticed, mended

    def time_limit(self):
        """a map hangs, no backups, TaskTimeout=1s"""
        self.job_input(6)
        flag = self.dir / "hung"
        job = self.count_job("--task-timeout", "1s", mapper=f"if mkdir {flag} 2>/dev/null; then sleep 4324; fi; {faults.WORDS}")
        mr.wait_for("the hang", flag.exists)
        begin = time.time()
        noticed = self.event_after(job, begin, "attempt-failed")
        self.assertRight(job)
        return noticed, self.stories(job)[-1][0] - begin


CASES = ("worker_is_killed", "worker_is_silent", "output_is_gone", "master_is_killed", "attempt_hangs", "time_limit")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("cases", nargs="*", default=CASES)
    args = parser.parse_args()
    print(f"median of {args.rounds} rounds; lease 3 s, heartbeat 0.3 s")
    for case in args.cases:
        found = []
        for _ in range(args.rounds):
            bench = Bench()
            bench.setUp()
            try:
                found.append(getattr(bench, case)())
            finally:
                bench.doCleanups()
        found = [f for f in found if f]
        what = getattr(Bench, case).__doc__
        if found:
            noticed, mended = (statistics.median(f[i] for f in found) for i in (0, 1))
            print(f"  {what:75s} noticed {noticed:6.2f} s   mended {mended:6.2f} s", flush=True)
        else:
            print(f"  {what:75s} did not happen in time", flush=True)


main()
