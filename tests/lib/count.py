#!/usr/bin/env python3
"""Adds up what meson wrote of its tests (JUnit XML files), and prints `N passed, N failed, N skipped`.

Every TAP line is a case. A program that ended badly without one (a crash, a timeout) is a failure, too.
"""

import sys
import xml.etree.ElementTree as ET


def count(path):
    passed = failed = skipped = 0
    for suite in ET.parse(path).getroot().iter("testsuite"):
        cases = suite.findall("testcase")
        bad = 0
        for case in cases:
            if case.find("skipped") is not None:
                skipped += 1
            elif case.find("failure") is not None or case.find("error") is not None:
                bad += 1
            else:
                passed += 1
        said = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        failed += max(bad, said)
        if not cases:
            failed += 1
    return passed, failed, skipped


totals = [sum(column) for column in zip(*map(count, sys.argv[1:]))] or [0, 1, 0]
print("{} passed, {} failed, {} skipped".format(*totals))
