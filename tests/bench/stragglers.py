#!/usr/bin/env python3
"""One worker of six ten times slower: what it costs a job with backup attempts, and without; interleaved rounds.

    stragglers.py [--rounds N] [--maps N]

The tasks are sleeps, so that one machine can be six; on the slow worker every command sleeps ten times as long. Prints
medians and ratios to the same job without the slow worker's being slow. Nothing passes or fails by time. (Dean &
Ghemawat, OSDI 2004, §5.4: a sort took 44 % longer with backup tasks disabled.)
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402

SLOW = "*/spool-w0/*"


class Bench(mr.ClusterCase):
    workers_wanted = 6

    def runTest(self):
        """set up, and left to main()"""

    def job(self, maps, reduces, slow, backups):
        """One job; returns its seconds and how many attempts it took."""
        def work(seconds):
            return f"case $(pwd -P) in {SLOW if slow else '-'}) n=10;; *) n=1;; esac; i=0; while [ $i -lt $n ]; do sleep {seconds}; i=$((i+1)); done; cat"
        start = time.perf_counter()
        p = self.ctl("run", "-q", "--mapper", work(0.8), "--reducer", work(0.8), "--reduces", reduces, f"--backups={backups}",
                     "--input", self.dir / "in")
        taken = time.perf_counter() - start
        self.assertOk(p)
        assert len(p.stdout.splitlines()) == maps, p.stdout
        newest = max(int(p.name) for p in (self.dir / "master" / "results").iterdir())
        attempts = sum(t["AttemptsStarted"] for t in mr.json.loads(self.ctl("tasks", "--json=short", str(newest)).stdout))
        return taken, attempts

    def measure(self, rounds, maps, reduces):
        for i in range(maps):
            self.file(f"in/{i:03}", f"line {i}\n")
        kinds = {"no slow worker": (False, "yes"), "slow, backups": (True, "yes"), "slow, no backups": (True, "no")}
        taken = {k: [] for k in kinds}
        attempts = {k: [] for k in kinds}
        for _ in range(rounds):
            for kind, how in kinds.items():
                seconds, count = self.job(maps, reduces, *how)
                taken[kind].append(seconds)
                attempts[kind].append(count)
        base = statistics.median(taken["no slow worker"])
        print(f"{maps} maps and {reduces} reduces on six workers with two slots, one of them ten times slower")
        for kind in kinds:
            m = statistics.median(taken[kind])
            print(f"  {kind:18s} median {m:6.2f} s   x {m / base:5.2f}   attempts {statistics.median(attempts[kind]):.0f}")
        ratio = statistics.median(taken["slow, no backups"]) / statistics.median(taken["slow, backups"])
        print(f"  without backups it takes {100 * (ratio - 1):.0f} % longer than with them")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--maps", type=int, default=48)
    parser.add_argument("--reduces", type=int, default=12)
    args = parser.parse_args()
    bench = Bench()
    bench.setUp()
    try:
        bench.measure(args.rounds, args.maps, args.reduces)
    finally:
        bench.doCleanups()


main()
