#!/usr/bin/env python3
"""Adds up what meson wrote of its tests (JUnit XML files): which cases failed and why, and, last, the line
`N passed, N failed, N skipped`.

Every TAP line is a case. A program that was killed, ran out of time or said fewer cases than its plan (1..N) is a
failure too, and so is one that ended badly after its cases were all well, as by a leak found at its exit.
"""

import re
import sys
import xml.etree.ElementTree as ET

WHY_ROWS = 30  # of what was said before a case failed, the last
PLAN = re.compile(r"^1\.\.(\d+)", re.MULTILINE)
BAD_END = re.compile(r"^\(test program exited with status code (?!0\))", re.MULTILINE)


def both(element):
    """What a program said on its output and then, as meson keeps them apart, on its errors."""
    said = [(element.findtext(stream) or "").strip("\n") for stream in ("system-out", "system-err")]
    return "\n".join(filter(None, said))


def why(said, case):
    """The comments in front of the case's `not ok`, or all of what a program said that knows no TAP."""
    rows = said.rstrip("\n").split("\n")
    at = next((n for n, row in enumerate(rows) if row.startswith(f"not ok {case}")), None)
    if at is None:
        return rows[-WHY_ROWS:]
    start = at
    while start > 0 and rows[start - 1].startswith("#"):
        start -= 1
    return rows[max(start, at - WHY_ROWS):at]


def count(suite):
    """(passed, skipped, [(what failed, rows that say why)]) of one program, or of all that know no TAP."""
    passed = skipped = 0
    bad = []
    said, complaint = suite.findtext("system-out") or "", suite.findtext("system-err") or ""
    cases = suite.findall("testcase")
    for case in cases:
        name = case.get("name")
        if case.find("skipped") is not None:
            skipped += 1
        elif case.find("failure") is not None or case.find("error") is not None:
            bad.append((f"{suite.get('name')}: {name}", why(said or both(case), name)))
        else:
            passed += 1
    plan = PLAN.search(said)
    rows = both(suite).split("\n")[-WHY_ROWS:]
    if plan and len(cases) < int(plan[1]):
        bad.append((f"{suite.get('name')}: {len(cases)} of {plan[1]} cases, then an end", rows))
    elif not cases:
        bad.append((f"{suite.get('name')}: no case", rows))
    elif not bad and (BAD_END.search(complaint) or int(suite.get("failures", 0)) + int(suite.get("errors", 0)) > 0):
        bad.append((f"{suite.get('name')}: every case well, and a bad end", rows))
    return passed, skipped, bad


def main(paths):
    passed = skipped = 0
    bad = [] if paths else [("no tests ran", [])]
    for path in paths:
        for suite in ET.parse(path).getroot().iter("testsuite"):
            p, s, b = count(suite)
            passed, skipped, bad = passed + p, skipped + s, bad + b
    for name, rows in bad:
        print(f"FAILED {name}")
        for row in rows:
            print(f"    {row}")
    print(f"{passed} passed, {len(bad)} failed, {skipped} skipped")


main(sys.argv[1:])
