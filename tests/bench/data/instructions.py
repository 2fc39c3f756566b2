#!/usr/bin/env python3
"""Instructions of fixed jobs, as valgrind's callgrind counts them, against the table in instructions.txt.

A count more than a tenth above the table fails: something on the way of every record has become dearer. After a change
that is meant (or another compiler), `instructions.py --write` makes the table anew; the commit says why.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

TABLE = pathlib.Path(__file__).resolve().parent / "instructions.txt"
PROGRAM = mr.BUILD / "tests/bench/data/instructions"
JOBS = ("count", "sort", "resort", "sum", "lines", "grep")
MARGIN = 1.10


def count(job):
    with tempfile.TemporaryDirectory() as scratch:
        p = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch}/out", str(PROGRAM), job],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                           env={**os.environ, "MALLOC_PERTURB_": "0",  # meson's choice fills what is allocated
                            "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512VL,-AVX2_Usable"})
    if p.returncode == 77:
        raise unittest.SkipTest("PCRE2 makes no machine code here")
    p.check_returncode()
    return int(re.search(r"Collected : (\d+)", p.stderr).group(1))


def table():
    return {row.split()[0]: int(row.split()[1]) for row in TABLE.read_text().splitlines() if row and row[0] != "#"}


class Instructions(unittest.TestCase):
    def check(self, job):
        if not shutil.which("valgrind"):
            self.skipTest("valgrind is not installed")
        if mr.SANITIZED:
            self.skipTest("a sanitizer adds instructions of its own")
        now, before = count(job), table()[job]
        print(f"# {job}: {now} instructions, {now / before:.3f} of the table")
        self.assertLess(now, before * MARGIN)

    def test_count(self):
        """counting words: combine, run file, combine, sort"""
        self.check("count")

    def test_sort(self):
        """sorting records: sort, run files, merge"""
        self.check("sort")

    def test_resort(self):
        """sorting records in many runs: sort, run files, sort again"""
        self.check("resort")

    def test_lines(self):
        """sorting lines of long equal beginnings in many runs: as resort"""
        self.check("lines")

    def test_lines_merged(self):
        """sorting them again is no dearer than merging, which would mispredict more, too"""
        if not shutil.which("valgrind") or mr.SANITIZED:
            self.skipTest("valgrind is not installed, or a sanitizer adds instructions of its own")
        again, merged = count("lines"), count("lines-merged")
        print(f"# lines: {again} instructions, {again / merged:.3f} of what merging takes")
        self.assertLess(again, merged * MARGIN)

    def test_sum(self):
        """sums by key: fields, combine, run file, combine"""
        self.check("sum")

    def test_grep(self):
        """a regular expression over lines: PCRE2's machine code, without which it takes many times as many"""
        self.check("grep")


if sys.argv[1:] == ["--write"]:
    TABLE.write_text("# job  instructions (gcc 12, -O2 -g)\n" + "".join(f"{job} {count(job)}\n" for job in JOBS))
else:
    tap.main()
