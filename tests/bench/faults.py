#!/usr/bin/env python3
"""How long each fault takes to be noticed and to be over: the tests of faults, run for their times. Prints the table of docs/fault-tolerance.md.

    faults.py [--rounds N] [--at-once N] [--results FILE] [--share I/N] [--page] [case...]

Each case of tests/cluster says when it broke something, when the master noticed (its event of it), and when the job was over, its answer
there; all else that it holds is tested, too. Medians of the rounds; --at-once runs so many cases side by side, for they mostly wait. --share 2/5 runs the second fifth of the cases, --results keeps the
numbers of several such runs together; --page fills the page's columns with them. A case that fails is an error; no time is.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys

CLUSTER = pathlib.Path(__file__).resolve().parents[1] / "cluster"
PAGE = CLUSTER.parents[1] / "docs/fault-tolerance.md"
FILES = ("faults.py", "user-code.py", "network.py", "scheduling.py", "reuse.py")


def all_cases():
    return [(f, name) for f in FILES for name in re.findall(r"^    def test_(\w+)\(", (CLUSTER / f).read_text(), re.M)]


def run(case):
    """The case's name and {what: seconds}; nothing for one that was skipped or times nothing."""
    file, name = case
    p = subprocess.run([sys.executable, str(CLUSTER / file), f"={name}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, check=False, env=os.environ)
    verdict = re.search(r"^ok 1 (.*)$", p.stdout, re.M)
    if not verdict:
        sys.exit(f"{file} {name} fails:\n{p.stdout[-3000:]}")
    took = re.search(r"^# took (.*)$", p.stdout, re.M)
    words = took.group(1).split() if took and "# SKIP" not in verdict.group(1) else []
    return name, dict(zip(words[::2], map(float, words[1::2])))


def medians(results):
    """{test as meson names it: {what: seconds}}"""
    found = {}
    for _, name in all_cases():
        rounds = [r for r in results.get(name, []) if r]
        found[f"fault-{name.replace('_', '-')}"] = {what: max(statistics.median(r[what] for r in rounds if what in r), 0)
                                                    for what in ("noticed", "over") if any(what in r for r in rounds)}
    return found


def report(found):
    print("| test | noticed | over |")
    print("|---|---|---|")
    for name, times in found.items():
        print(f"| `{name}` | {' | '.join(f'{times[w]:.2f} s' if w in times else '–' for w in ('noticed', 'over'))} |")


def fill(found):
    """The columns of every row of the page that names measured tests."""
    rows = PAGE.read_text().split("\n")
    for i, row in enumerate(rows):
        cells = row.split("|")
        names = re.findall(r"`(fault-[\w-]+)`", cells[-2]) if len(cells) == 7 else []
        if any(found[n] for n in names):
            for column, what in ((3, "noticed"), (4, "over")):
                times = [f"{found[n][what]:.1f} s" for n in names if what in found[n]]
                cells[column] = f" {', '.join(dict.fromkeys(times)) or '–'} "
            rows[i] = "|".join(cells)
    PAGE.write_text("\n".join(rows))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--share", default="1/1")
    parser.add_argument("--page", action="store_true")
    parser.add_argument("cases", nargs="*")
    args = parser.parse_args()
    results = json.loads(args.results.read_text()) if args.results and args.results.exists() else {}
    share, shares = map(int, args.share.split("/"))
    cases = [c for c in all_cases() if not args.cases or c[1] in args.cases][share - 1::shares]
    with concurrent.futures.ThreadPoolExecutor(args.at_once) as pool:
        for name, times in pool.map(run, [] if args.page else cases * args.rounds):
            results.setdefault(name, []).append(times)
            if args.results:
                args.results.write_text(json.dumps(results))
    found = medians(results)
    if args.page:
        fill(found)
    else:
        report(found)


main()
