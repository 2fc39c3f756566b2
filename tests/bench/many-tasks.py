#!/usr/bin/env python3
"""What a job of ten thousand maps, or of ten thousand reduces, costs beside one of a tenth of them: one run, interleaved.

    many-tasks.py [--tasks N] [--rounds N]

The work of each task is next to nothing, so what is measured is ours: assigning it, its call, its process's turn, its output, its commit
and its rows. Prints seconds and milliseconds a task, with the ratio to those of the small job (1.0: the cost of a task does not grow with
their number), how much the memory of master and workers peaked above that before the job, a task, and the most descriptors that were open.
Time passes no judgement; but a wrong answer does, and descriptors that grow with the number of tasks.
"""

import argparse
import os
import pathlib
import re
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402

LINE = b"%011d words\n"
SPLIT_BYTES = 4096
FILES_MAX = 400  # of one daemon: connections, slots, threads and what SQLite has; never of tasks


def status_kib(pid, what):
    m = re.search(rf"{what}:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())
    return int(m.group(1))


class Watch(threading.Thread):
    """The most descriptors that any of the processes has open; and how far the memory of each has grown."""

    def __init__(self, daemons):
        super().__init__()
        self.daemons = daemons
        self.files = {d.pid: 0 for d in daemons}
        self.over = threading.Event()
        self.before = {}
        for d in daemons:
            pathlib.Path(f"/proc/{d.pid}/clear_refs").write_text("5")  # the peak begins anew
            self.before[d.pid] = status_kib(d.pid, "VmRSS")
        self.start()

    def run(self):
        while not self.over.wait(0.05):
            for d in self.daemons:
                self.files[d.pid] = max(self.files[d.pid], len(os.listdir(f"/proc/{d.pid}/fd")))

    def end(self):
        self.over.set()
        self.join()

    def grown_kib(self, d):
        return status_kib(d.pid, "VmHWM") - self.before[d.pid]


class Bench(mr.ClusterCase):
    secure = False  # what is measured is not TLS
    workers_wanted = 2

    def runTest(self):
        """set up, and left to main()"""

    def start_master(self, *extra):
        return super().start_master("--lease=30", "--heartbeat=1", *extra)

    def job(self, maps, reduces):
        """One word count into an output directory, and the result looked at."""
        lines = maps * SPLIT_BYTES // len(LINE % 0)
        data = self.file("in", b"".join(LINE % i for i in range(lines)))
        out = self.dir / "out"
        daemons = [self.master, *self.workers]
        watch = Watch(daemons)
        begin = time.monotonic()
        job = self.submit("--app", "wordcount", "--reuse", "no", "--backups=no", "--split-size", SPLIT_BYTES, "--reduces", reduces, "--input", data,
                          "--output", out)
        self.assertOk(self.ctl("wait", "-q", job, timeout=600))
        seconds = time.monotonic() - begin
        watch.end()
        parts = sorted(out.glob("part-*"))
        assert len(parts) == reduces
        rows = sorted(row for p in parts for row in p.read_bytes().splitlines(True))
        want = [b"%011d\t1\n" % i for i in range(lines)] + [b"words\t%d\n" % lines]
        assert rows == want, f"{len(rows)} rows, {len(want)} expected"
        done = self.job_get(job, "MapsDone"), self.job_get(job, "ReducesDone"), self.job_get(job, "AttemptsFailed")
        assert abs(done[0] - maps) <= 2 and done[1:] == (reduces, 0), done
        mr.call("rm", "-rf", out)
        most = max(watch.files.values())
        assert most <= FILES_MAX, f"a daemon has {most} files open"
        return {"seconds": seconds, "master": watch.grown_kib(self.master), "worker": max(watch.grown_kib(w) for w in self.workers),
                "files": most}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("kinds", nargs="*", default=("maps", "reduces"))
    args = parser.parse_args()
    sizes = (args.tasks // 10, args.tasks)
    bench = Bench()
    bench.setUp()
    found = {(kind, n): [] for kind in args.kinds for n in sizes}
    try:
        bench.job(8, 8)
        for _ in range(args.rounds):
            for (kind, n), results in found.items():
                results.append(bench.job(*((n, 2) if kind == "maps" else (8, n))))
    finally:
        bench.doCleanups()
    print(f"two workers with two slots; median of {args.rounds}")
    print("| tasks | seconds | ms a task | to the small job | master, KiB a task | worker, KiB a task | open files |")
    print("|---|---|---|---|---|---|---|")
    for kind in args.kinds:
        each = {n: statistics.median(r["seconds"] for r in found[kind, n]) * 1000 / n for n in sizes}
        for n in sizes:
            m, w, f = (max(r[what] for r in found[kind, n]) for what in ("master", "worker", "files"))
            print(f"| {n} {kind} | {each[n] * n / 1000:.1f} | {each[n]:.2f} | {each[n] / each[sizes[0]]:.2f} | {m / n:.2f} | {w / n:.2f} | {f} |", flush=True)


main()
