#!/usr/bin/env python3
"""Holds README.md, docs/ and the examples' pages against the tree: what they tell a reader to type is there, and somebody runs it.

A block of commands is run by a test from the text itself, or says why not (tests/lib/pages.py). What is in no block, a command
or a file in the middle of a sentence, is looked up: programs and files in the tree, verbs in mrctl, tests in meson.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import pages  # noqa: E402
import tap  # noqa: E402

SOURCE = pages.SOURCE
BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", "build")).resolve()
TOP = {p.name for p in SOURCE.iterdir()}
# A language says what a block is, and who looks at it.
LANGUAGES = {
    "text": "a picture",
    "c": "interop-rpc-docs compiles it",
    "proto": "the example's .proto, of which those pages' C is made",
    "ini": "lines of a configuration file",
}


def meson_tests():
    """name → its entry in what meson knows."""
    return {t["name"]: t for t in json.loads((BUILD / "meson-info/intro-tests.json").read_text())}


def words_of(command):
    """The words of one simple command, without assignments before it and sudo."""
    words = command.split()
    while words and (re.fullmatch(r"[A-Z_]+=\S*", words[0]) or words[0] == "sudo"):
        words.pop(0)
    return words


def simple_commands(text):
    for line in text.split("\n"):
        yield from re.split(r"\s*(?:&&|\|\||;|\|)\s*", re.sub(r"(^|\s)#.*", "", line).strip())


def cases_of(test):
    """What one may call a case of this test: methods of a Python program, paths of a C one."""
    names = set()
    for word in test["cmd"]:
        path = pathlib.Path(word)
        if path.suffix == ".py":
            names |= set(re.findall(r"(?m)^    def test_(\w+)\(", path.read_text()))
        elif path.is_relative_to(BUILD):
            source = SOURCE / path.relative_to(BUILD).with_suffix(".c")
            names |= set(re.findall(r'"([\w/-]+)"', source.read_text())) if source.exists() else set()
    return names


class Docs(unittest.TestCase):
    def test_every_block_is_marked(self):
        """each block of commands says who runs it, or why nobody does"""
        count = 0
        for page in pages.PAGES:
            for language, _, _, line in pages.fences(page):
                self.assertIn(language, ("", *LANGUAGES), f"{page}:{line}")
            for where, name, commands, line in pages.blocks(page):
                self.assertIsNotNone(where, f"{page}:{line}: no comment before these commands:\n{commands}")
                count += 1
        self.assertGreaterEqual(count, 30)

    def test_an_unmarked_block_would_be_seen(self):
        """a block without a comment, or with one that gives no reason, is found"""
        with tempfile.TemporaryDirectory() as d:
            page = pathlib.Path(d) / "page.md"
            page.write_text("".join(f"{before}\n```\nls\n```\n\n" for before in
                                    ("words", "<!-- by hand: -->", "<!-- by hand: why -->", "<!-- run: it -->")))
            self.assertEqual([where for where, *_ in pages.blocks(page)], [None, None, "by hand", "run"])

    def test_no_block_hides(self):
        """no block is made by indenting it, which nobody would see"""
        for page in pages.PAGES:
            lines = pages.prose(page).split("\n")
            for number, (before, line) in enumerate(zip(lines, lines[1:]), 2):
                if not before.strip() and line.startswith("    "):
                    self.fail(f"{page}:{number}: a block without a fence: {line}")

    def commands(self):
        """(place, command) of each that a test does not run anyway."""
        for page in pages.PAGES:
            for where, _, commands, line in pages.blocks(page):
                if where == "by hand":
                    yield from ((f"{page}:{line}", c) for c in simple_commands(commands))
            for span in re.findall(r"`([^`\n]+)`", pages.prose(page)):
                yield from ((f"{page}: `{span}`", c) for c in simple_commands(span))

    def test_programs(self):
        """a program of this tree that a page names is there, and one that it starts can be started"""
        count = 0
        for place, command in self.commands():
            words = words_of(command)
            name = words[0].rstrip("/*") if words else ""
            here = BUILD / name[6:] if name.startswith("build/") else SOURCE / name
            if "/" not in name or name.split("/")[0] not in {"build", *TOP}:
                continue
            count += 1
            if len(words) > 1:
                self.assertTrue(os.access(here, os.X_OK), f"{place}: {name} cannot be started")
            elif name.startswith("build/"):
                continue  # where something comes to
            else:
                self.assertTrue([*here.parent.glob(f"{here.name}*")], f"{place}: there is no {name}")
        self.assertGreater(count, 60)

    def test_scripts_can_be_started(self):
        """a file that says what runs it is executable, and the other way round"""
        git = shutil.which("git")
        p = git and subprocess.run([git, "-C", SOURCE, "ls-files", "-z"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        if not git or p.returncode != 0:
            self.skipTest("no git, which says what belongs to the tree")
        for name in filter(None, p.stdout.decode().split("\0")):
            path = SOURCE / name
            if path.is_symlink() or not path.is_file() or path.match("packaging/debian/*.p*"):  # maintainer scripts: debhelper
                continue
            with path.open("rb") as f:
                self.assertEqual(f.read(2) == b"#!", os.access(path, os.X_OK), f"{name}: #! and the mode disagree")

    def test_tests(self):
        """a test or a suite that a page starts by meson is there"""
        tests = meson_tests()
        suites = {s.split(":")[-1] for t in tests.values() for s in t["suite"]}
        count = 0
        for place, command in self.commands():
            words = words_of(command)
            if words[:2] != ["meson", "test"]:
                continue
            rest = iter(words[2:])
            for word in rest:
                if word == "-C":
                    next(rest)
                elif word in ("--suite", "--no-suite"):
                    self.assertIn(next(rest), suites, place)
                    count += 1
                elif not word.startswith("-"):
                    self.assertIn(word, tests, place)
                    count += 1
        self.assertGreaterEqual(count, 8)

    def test_verbs(self):
        """a verb of mrctl that a page names is one, and so is each option beside it"""
        def output(*args):
            return subprocess.run([BUILD / "cli/mrctl", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  check=True, timeout=60).stdout.decode()
        verbs = set(output("__complete", "verbs").split())
        options = set(re.findall(r"--[a-z][a-z-]*", output("--help")))
        count = 0
        for place, command in self.commands():
            words = words_of(command)
            if words[:1] != ["mrctl"]:
                continue
            verb = next((w for w in words[1:] if not w.startswith("-")), None)
            if verb:
                self.assertIn(verb, verbs, place)
                count += 1
            for option in words[1:words.index("--")] if "--" in words else words[1:]:
                if m := re.match("--[a-z][a-z-]*", option):
                    self.assertIn(m.group(), options, place)
        self.assertGreaterEqual(count, 20)

    def test_what_shows_it(self):
        """each test and each case that a table's column "shown by" names is there"""
        tests, count = meson_tests(), 0
        for page in pages.PAGES:
            ours = False  # within such a table
            for line in pages.prose(page).split("\n"):
                row = [c.strip() for c in line.strip("| ").split(" | ")]
                if not line.startswith("|"):
                    ours = False
                elif row[-1] == "shown by":
                    ours = True
                elif ours and not line.startswith("|--"):
                    count += self.look_up(tests, page, row)
        self.assertGreater(count, 40)

    def look_up(self, tests, page, row):
        """`TEST` `case` `case`, `TEST` …: each case belongs to the test before it."""
        test = None
        names = re.findall("`([^`]+)`", row[-1])
        self.assertTrue(names, f"{page}: {row}")
        for name in names:
            if name in tests:
                test = name
                continue
            self.assertIsNotNone(test, f"{page}: {name} is no test, in: {row}")
            self.assertIn(name, cases_of(tests[test]), f"{page}: no case of {test}, in: {row}")
        return len(names)


tap.main()
