#!/usr/bin/env python3
"""docs/fault-tolerance.md against the tests: every row names a case that meson lists, and every case of a fault is named by a row."""

import json
import os
import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tap  # noqa: E402

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PAGE = SOURCE / "docs/fault-tolerance.md"
TESTS = pathlib.Path(os.environ.get("BUILD_ROOT", "build")) / "meson-info/intro-tests.json"


def fault_cases():
    """As tests/cluster/meson.build lists them, and as the files have them: {file: names}."""
    text = (SOURCE / "tests/cluster/meson.build").read_text()
    block = text[text.index("fault_cases = {"):text.index("foreach file, names : fault_cases")]
    listed = {}
    for word in re.findall(r"'([^']+)'", block):
        if word.endswith(".py"):
            names = listed.setdefault(word, [])
        else:
            names.append(word)
    return listed


def meson_tests():
    """Names of all tests, as meson says them."""
    return {t["name"] for t in json.loads(TESTS.read_text())}


def tables(text):
    """Rows of every table: (its heading cells, the row's cells)."""
    head = None
    for row in text.split("\n"):
        if not row.startswith("|"):
            head = None
            continue
        cells = [c.strip() for c in row.strip("|").split("|")]
        if head is None:
            head = cells
        elif not set(row) <= set("|-"):
            yield head, cells


class Faults(unittest.TestCase):
    def test_meson_lists_every_case(self):
        """meson lists every case of the files that hold faults, once"""
        for file, names in fault_cases().items():
            have = re.findall(r"^    def test_(\w+)\(", (SOURCE / "tests/cluster" / file).read_text(), re.M)
            self.assertEqual(names, have, file)
        every = [n for names in fault_cases().values() for n in names]
        self.assertEqual(len(every), len(set(every)))

    def rows(self):
        for head, cells in tables(PAGE.read_text()):
            if "test" in head:
                self.assertEqual(len(cells), len(head), cells)
                yield dict(zip(head, cells))

    def test_every_row_names_a_test(self):
        """every row of a table with the column "test" names tests that exist"""
        known = meson_tests()
        rows = 0
        for row in self.rows():
            named = re.findall(r"`([\w-]+)`", row["test"])
            self.assertTrue(named, f"no test: {row}")
            self.assertEqual(set(named) - known, set(), row)
            rows += 1
        self.assertGreater(rows, 80)

    def test_every_fault_is_in_the_page(self):
        """every case of a fault is named by a row that has columns for its times"""
        seen = {n for row in self.rows() if "noticed" in row and "over" in row for n in re.findall(r"`(fault-[\w-]+)`", row["test"])}
        self.assertEqual({"fault-" + n.replace("_", "-") for names in fault_cases().values() for n in names} - seen, set())


tap.main()
