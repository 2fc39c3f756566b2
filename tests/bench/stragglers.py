#!/usr/bin/env python3
"""One worker of six ten times slower: what it costs a job with backup attempts, and without; interleaved rounds.

    stragglers.py [--rounds N] [--maps N] [--reduces N] [--bar RATIO] [--results FILE] [--quick]

The slow worker is slowed from outside: its processes, the daemon with its task processes and commands, run for a tenth of each
0.4 s and are stopped (SIGSTOP) for the rest, as on a host whose processor is taken. So it computes, answers its master
and serves map outputs ten times slower. The tasks wait in steps of 4 ms, each for some lines read, so that one
machine can be six and whoever is stopped does not get on; how much slower the slow worker was is measured by them.

Prints medians and ratios to the same job without the slow worker; with --bar it fails when the job with backups takes more
than that. --results keeps the numbers of several short runs together; --quick leaves the job without backups out. Dean & Ghemawat, OSDI 2004, §5.4, found
a sort 44 % longer with backup tasks disabled.
"""

import argparse
import json
import os
import pathlib
import signal
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402

PERIOD_S, RUNS_S = 0.4, 0.036  # 9 steps of 4 ms and the one that ends while it is stopped, of 98
LINES, LINE_BYTES = 240, 4000
KINDS = {"no slow worker": (False, "yes"), "slow, backups": (True, "yes"), "slow, no backups": (True, "no")}

MAPPER = """#!/usr/bin/perl
use Cwd;
use Time::HiRes qw(time sleep);
my ($begin, $steps) = (time, 0);
while (<STDIN>) { sleep 0.004; $steps++; print; }
open my $f, '>>', $ENV{PACE}; syswrite $f, sprintf("%s %.6f\\n", getcwd(), (time - $begin) / $steps);
"""
REDUCER = """#!/usr/bin/perl
use Time::HiRes qw(sleep);
my $n = 0;
while (<STDIN>) { sleep 0.004 unless $n++ % STRIDE; }
print "lines\\t$n\\n";
"""


def children(pid):
    try:
        below = [int(p) for t in os.listdir(f"/proc/{pid}/task")
                 for p in pathlib.Path(f"/proc/{pid}/task/{t}/children").read_text().split()]
    except OSError:
        return []
    return below + [c for p in below for c in children(p)]


class Brake(threading.Thread):
    """Lets a process and all below it run for a part of the time only, until it is released."""

    def __init__(self, pid):
        super().__init__()
        self.pid = pid
        self.over = threading.Event()
        self.start()

    def signal(self, sig, pids):
        for p in pids:
            try:
                os.kill(p, sig)
            except ProcessLookupError:
                pass

    def run(self):
        while not self.over.wait(RUNS_S):
            self.signal(signal.SIGSTOP, [self.pid])  # it starts no more of them
            stopped = []
            while set(below := children(self.pid)) - set(stopped):
                self.signal(signal.SIGSTOP, below)
                stopped = below
            self.over.wait(PERIOD_S - RUNS_S)
            self.signal(signal.SIGCONT, [*stopped, self.pid])

    def release(self):
        self.over.set()
        self.join()


class Bench(mr.ClusterCase):
    secure = False  # what is measured is not TLS
    workers_wanted = 6

    def runTest(self):
        """set up, and left to main()"""

    def job(self, maps, reduces, slow, backups):
        """One job; returns its seconds and how many attempts it took."""
        brake = Brake(self.workers[0].pid) if slow else None
        try:
            start = time.perf_counter()
            p = self.ctl("run", "-q", "--mapper", self.mapper, "--reducer", self.reducer, "--reduces", reduces,
                         f"--backups={backups}", "--env", f"PACE={self.pace}", "--input", self.dir / "in")
            taken = time.perf_counter() - start
        finally:
            if brake:
                brake.release()
        self.assertOk(p)
        lines = [int(row.split(b"\t")[1]) for row in p.stdout.splitlines()]
        assert len(lines) == reduces and sum(lines) == maps * LINES, p.stdout
        newest = max(int(p.name) for p in (self.dir / "master" / "results").iterdir())
        attempts = sum(t["AttemptsStarted"] for t in json.loads(self.ctl("tasks", "--json=short", str(newest)).stdout))
        return taken, attempts

    def slowness(self):
        """How many times longer a step took on the slow worker than on the others, from the maps' own clocks."""
        paces = {True: [], False: []}
        for row in self.pace.read_text().splitlines():
            where, pace = row.rsplit(" ", 1)
            paces["/spool-w0/" in where].append(float(pace))
        self.pace.write_text("")
        assert paces[True], "no map ran on the slow worker"
        return max(paces[True]) / statistics.median(paces[False])

    def measure(self, rounds, maps, reduces, results, kinds):
        rows = "".join(f"{i:04}\t{'x' * LINE_BYTES}\n" for i in range(LINES))
        for i in range(maps):
            self.file(f"in/{i:03}", "".join(f"{i:03}{row}" for row in rows.splitlines(True)))
        self.mapper = self.script("mapper", MAPPER)
        self.reducer = self.script("reducer", REDUCER.replace("STRIDE", str(max(1, maps // reduces))))
        self.pace = self.dir / "pace"
        self.pace.touch()
        for _ in range(rounds):
            for kind in kinds:
                how = KINDS[kind]
                seconds, count = self.job(maps, reduces, *how)
                results.append({"kind": kind, "seconds": seconds, "attempts": count})
                if how == (True, "no"):
                    results[-1]["slowness"] = self.slowness()
                else:
                    self.pace.write_text("")


def report(results, maps, reduces):
    """Prints the table; returns the ratio of the job with backups to that without a slow worker."""
    def median(kind, what):
        return statistics.median(r[what] for r in results if r["kind"] == kind)
    base = median("no slow worker", "seconds")
    rounds = sum(r["kind"] == "no slow worker" for r in results)
    print(f"{maps} maps and {reduces} reduces on six workers with two slots; median of {rounds}")
    for kind in dict.fromkeys(r["kind"] for r in results):
        m = median(kind, "seconds")
        print(f"  {kind:18s} median {m:6.2f} s   x {m / base:5.2f}   attempts {median(kind, 'attempts'):.0f}")
    if any(r["kind"] == "slow, no backups" for r in results):
        ratio = median("slow, no backups", "seconds") / median("slow, backups", "seconds")
        slowness = statistics.median(r["slowness"] for r in results if "slowness" in r)
        print(f"  without backups it takes {100 * (ratio - 1):.0f} % longer than with them; the slow worker was {slowness:.1f} times slower")
    return median("slow, backups", "seconds") / base


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--maps", type=int, default=60)
    parser.add_argument("--reduces", type=int, default=10)
    parser.add_argument("--bar", type=float)
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    results = json.loads(args.results.read_text()) if args.results and args.results.exists() else []
    bench = Bench()
    bench.setUp()
    try:
        bench.measure(args.rounds, args.maps, args.reduces, results, [k for k in KINDS if not args.quick or k != "slow, no backups"])
    finally:
        bench.doCleanups()
    if args.results:
        args.results.write_text(json.dumps(results))
    ratio = report(results, args.maps, args.reduces)
    if args.bar and ratio > args.bar:
        sys.exit(f"with backups it takes {ratio:.2f} times as long as without a slow worker: more than {args.bar}")


main()
