#!/usr/bin/env python3
"""What lib/count.py says of tests that fail in each way there is, by meson itself over programs made here."""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "lib"))

import tap  # noqa: E402

PROJECT = "project('counted')\n"
ENTRY = "test('{name}', find_program('{name}'), protocol : '{protocol}', timeout : {timeout})\n"


class Count(unittest.TestCase):
    def count(self, protocol="tap", timeout=30, **programs):
        """(exit status of meson test, the rows that count.py prints) of shell programs, each by its name."""
        with tempfile.TemporaryDirectory(prefix="check-count-") as name:
            top = pathlib.Path(name)
            text = PROJECT
            for program, script in programs.items():
                (top / program).write_text("#!/bin/sh\n" + script, encoding="utf-8")
                (top / program).chmod(0o755)
                text += ENTRY.format(name=program, protocol=protocol, timeout=timeout)
            (top / "meson.build").write_text(text, encoding="utf-8")
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            made = subprocess.run(["meson", "setup", top / "build", top], check=False, **quiet)
            self.assertEqual(made.returncode, 0, made.stdout)
            ran = subprocess.run(["meson", "test", "-C", top / "build"], check=False, **quiet)
            said = subprocess.run([sys.executable, TESTS / "lib/count.py",
                                   top / "build/meson-logs/testlog.junit.xml"], check=True, **quiet)
        rows = said.stdout.splitlines()
        self.assertRegex(rows[-1], r"^\d+ passed, \d+ failed, \d+ skipped$")
        failed = int(re.search(r"(\d+) failed", rows[-1])[1])
        self.assertEqual(failed > 0, ran.returncode != 0, f"{rows}\n{ran.stdout}")
        self.assertEqual(len([r for r in rows if r.startswith("FAILED ")]), failed)
        return rows

    def test_cases(self):
        """passed and skipped cases are added up over programs"""
        rows = self.count(one="echo 1..2\necho ok 1 a\necho ok 2 b\n",
                          two="echo 1..2\necho ok 1 a\necho 'ok 2 b # SKIP not here'\n")
        self.assertEqual(rows, ["3 passed, 0 failed, 1 skipped"])

    def test_failed_case(self):
        """a failed case is named, with what was said of it alone"""
        rows = self.count(one="echo 1..3\necho '# of a'\necho ok 1 a\necho '# of b'\necho not ok 2 b\n"
                              "echo '# of c'\necho ok 3 c\nexit 1\n")
        self.assertEqual(rows, ["FAILED counted.one: 2 b", "    # of b", "2 passed, 1 failed, 0 skipped"])

    def test_killed(self):
        """a program killed between two cases has failed, although no case did"""
        rows = self.count(one="echo 1..2\necho ok 1 a\necho last words >&2\nkill -9 $$\n")
        self.assertEqual(rows[0], "FAILED counted.one: 1 of 2 cases, then an end")
        self.assertIn("    last words", rows)
        self.assertEqual(rows[-1], "1 passed, 1 failed, 0 skipped")

    def test_timeout(self):
        """a program out of time has failed"""
        rows = self.count(timeout=1, one="echo 1..2\necho ok 1 a\nexec sleep 60\n")
        self.assertEqual(rows[0], "FAILED counted.one: 1 of 2 cases, then an end")
        self.assertEqual(rows[-1], "1 passed, 1 failed, 0 skipped")

    def test_bad_end(self):
        """a program with a bad status after its last case, as of a leak, has failed"""
        rows = self.count(one="echo 1..1\necho ok 1 a\necho leaked >&2\nexit 23\n")
        self.assertEqual(rows[0], "FAILED counted.one: every case well, and a bad end")
        self.assertIn("    leaked", rows)
        self.assertEqual(rows[-1], "1 passed, 1 failed, 0 skipped")

    def test_nothing_said(self):
        """a program that says nothing has failed"""
        rows = self.count(one="exit 1\n")
        self.assertEqual(rows, ["FAILED counted: one", "    (test program exited with status code 1)",
                                "0 passed, 1 failed, 0 skipped"])

    def test_no_tap(self):
        """programs that know no TAP are a case each, with their last words"""
        rows = self.count(protocol="exitcode", good="exit 0\n", poor="echo the reason\nexit 3\n")
        self.assertEqual(rows, ["FAILED counted: poor", "    the reason", "1 passed, 1 failed, 0 skipped"])


tap.main()
