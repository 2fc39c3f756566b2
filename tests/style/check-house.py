#!/usr/bin/env python3
"""The house rules that a machine can hold: format, banned calls, scripts, and words that belong elsewhere."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tap  # noqa: E402
import unittest  # noqa: E402

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def tracked(*endings):
    """Never into a build folder: what other tests make there comes and goes; so does what Python compiles."""
    found = []
    for here, dirs, names in os.walk(SOURCE):
        dirs[:] = [d for d in dirs if d not in (".git", "__pycache__") and not (pathlib.Path(here) == SOURCE and d.startswith("build"))]
        found += [pathlib.Path(here, n) for n in names if not endings or n.endswith(endings)]
    return [p for p in sorted(found) if p.is_file()]


class House(unittest.TestCase):
    def test_format(self):
        """clang-format changes nothing"""
        if not shutil.which("clang-format"):
            self.skipTest("clang-format is not installed")
        files = [str(p) for p in tracked(".c", ".h")]
        self.assertGreater(len(files), 20)
        p = subprocess.run(["clang-format", "--dry-run", "--Werror", *files], cwd=SOURCE,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual(p.returncode, 0, p.stdout[-2000:])

    def test_comments(self):
        """comments are as narrow as the code, which clang-format does not see to"""
        is_comment = re.compile(r"^\s*(/\*|\*)")
        wide = [f"{p.relative_to(SOURCE)}:{n}" for p in tracked(".c", ".h") for n, row in enumerate(p.read_text().split("\n"), 1)
                if len(row) > 100 and (is_comment.match(row) or '"' not in row)]
        self.assertEqual(wide, [])

    def test_banned_calls(self):
        """a banned call does not compile"""
        cc = shutil.which("cc")
        if not cc:
            self.skipTest("no C compiler")
        calls = {
            "strcpy": "char b[4]; strcpy(b, s);",
            "sprintf": "char b[4]; sprintf(b, \"%s\", s);",
            "atoi": "(void) atoi(s);",
            "strtok": "(void) strtok(s, \" \");",
            "usleep": "usleep(1); (void) s;",
            "mktemp": "(void) mktemp(s);",
        }
        with tempfile.TemporaryDirectory() as d:
            for name, body in {"nothing": "(void) s;", **calls}.items():
                source = pathlib.Path(d) / f"{name}.c"
                source.write_text(f"void f(char *s);\nvoid f(char *s)\n{{\n{body}\n}}\n")
                p = subprocess.run(
                    [cc, "-D_GNU_SOURCE", "-include", str(SOURCE / "daemons/base/banned.h"), "-fsyntax-only", str(source)],
                    stderr=subprocess.PIPE, text=True, check=False)
                if name == "nothing":
                    self.assertEqual(p.returncode, 0, p.stderr)
                else:
                    self.assertNotEqual(p.returncode, 0, f"{name} compiled")
                    self.assertIn("poisoned", p.stderr)

    def test_scripts(self):
        """shellcheck finds nothing in the scripts"""
        if not shutil.which("shellcheck"):
            self.skipTest("shellcheck is not installed")
        scripts = [p for p in tracked() if p.read_bytes()[:64].split(b"\n")[0] in
                   (b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash", b"#!/usr/bin/env sh")]
        self.assertGreaterEqual(len(scripts), 2)
        p = subprocess.run(["shellcheck", *map(str, scripts)], stdout=subprocess.PIPE, text=True, check=False)
        self.assertEqual(p.returncode, 0, p.stdout[-3000:])

    def test_unfinished_work(self):
        """no line promises work for later"""
        words = re.compile(r"\b(TO" + "DO|FIX" + "ME|X" + "XX:|not impl" + "emented yet)")
        found = [f"{p.relative_to(SOURCE)}:{n}" for p in tracked(".c", ".h", ".py", ".md", ".proto", ".xml", ".build")
                 for n, row in enumerate(p.read_text(errors="replace").split("\n"), 1) if words.search(row)]
        self.assertEqual(found, [])

    def test_man_pages(self):
        """scdoc accepts every man page"""
        if not shutil.which("scdoc"):
            self.skipTest("scdoc is not installed")
        for page in tracked(".scd"):
            p = subprocess.run(["scdoc"], stdin=page.open("rb"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               text=True, check=False)
            self.assertEqual(p.returncode, 0, f"{page}: {p.stderr}")


tap.main()
