#!/usr/bin/env python3
"""Whole jobs by `mrctl --local run`, beside peers in the same run: interleaved rounds, medians, ratios.

    local.py [--rounds N] [--text FILE] [--yardstick PROGRAM]

Prints one line a program and job. Nothing passes or fails by time. The peer of the word count is coreutils
(tr | sort | uniq -c); the job of one line stands beside a shell that starts /bin/true, too. --yardstick adds a program that is
run as `PROGRAM -s -o DIR FILE`.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402

ONE_LINE_BAR_MS = 20  # what is aimed at; beside the peers, since machines differ


def measure(jobs, rounds, env):
    """Runs every command once a round, in turn; returns name -> list of seconds."""
    taken = {name: [] for name, _ in jobs}
    for _ in range(rounds):
        for name, command in jobs:
            start = time.perf_counter()
            p = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, env=env, check=False)
            taken[name].append(time.perf_counter() - start)
            if p.returncode:
                sys.exit(f"{name} failed: {p.stderr.decode(errors='replace')[-1000:]}")
    return taken


def report(title, taken, base):
    print(title)
    reference = statistics.median(taken[base])
    for name, times in taken.items():
        m = statistics.median(times)
        print(f"  {name:24s} median {m * 1000:9.1f} ms   min {min(times) * 1000:9.1f} ms   x {m / reference:6.2f} of {base}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--text")
    parser.add_argument("--yardstick")
    args = parser.parse_args()

    scratch = pathlib.Path(tempfile.mkdtemp(prefix="mr-bench-"))
    env = dict(os.environ, LC_ALL="C", TMPDIR=str(scratch))
    try:
        line = scratch / "line.txt"
        line.write_text("hello I am good hello bye bye bye good night hello\n")
        taken = measure(
            [("mrctl --local", f"'{mr.MRCTL}' --local run -q --app wordcount --input {line}"),
             ("coreutils", f"tr -s '[:space:]' '\\n' < {line} | sort | uniq -c"),
             ("bash and true", "/bin/true")], 4 * args.rounds + 1, env)
        report(f"a job over one line of text (the bar: {ONE_LINE_BAR_MS} ms)", taken, "coreutils")

        text = args.text
        if not text:
            text = str(scratch / "text")
            with open(text, "wb") as out:
                while out.tell() < 100 << 20:
                    for name in mr.text_files(mr.TEXT_DIRS):
                        out.write(pathlib.Path(name).read_bytes())
        jobs = [("mrctl --local", f"rm -rf {scratch}/o; '{mr.MRCTL}' --local run -q --app wordcount --reduces 2 --input '{text}' --output {scratch}/o"),
                ("coreutils", f"tr -s '[:space:]' '\\n' < '{text}' | sort | uniq -c > {scratch}/c")]
        base = "coreutils"
        if args.yardstick:
            base = "yardstick"
            jobs.append((base, f"rm -rf {scratch}/y; mkdir {scratch}/y; '{args.yardstick}' -s -o {scratch}/y '{text}'"))
        report(f"word count of {os.path.getsize(text) >> 20} MiB", measure(jobs, args.rounds, env), base)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


main()
