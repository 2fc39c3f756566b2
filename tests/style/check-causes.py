#!/usr/bin/env python3
"""Each word of base/cause.h is tried: some test has it as a job's or an attempt's cause, and each has its remedy."""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tap  # noqa: E402
import unittest  # noqa: E402

SOURCE = pathlib.Path(__file__).resolve().parents[2]
HEADER = SOURCE / "daemons/base/cause.h"


def causes():
    """Constant -> word."""
    return dict(re.findall(r'(?m)^#define (CAUSE_\w+) "([a-z-]+)"', HEADER.read_text()))


def untried(words, texts):
    return sorted(w for w in words if not any(re.search(rf"""["']{w}["']""", t) for t in texts))


class Causes(unittest.TestCase):
    def test_each_is_tried(self):
        """each word is what a test of living daemons expects"""
        texts = [p.read_text() for room in ("bus", "local", "cluster") for p in (SOURCE / "tests" / room).iterdir() if p.suffix in (".py", ".c")]
        self.assertGreater(len(causes()), 20)
        self.assertEqual(untried(causes().values(), texts), [])

    def test_each_has_a_remedy(self):
        """mrctl why has a way out for each"""
        text = (SOURCE / "cli/mrctl-why.c").read_text()
        self.assertEqual([c for c in causes() if f"{{{c}," not in text], [])

    def test_a_new_word_would_be_seen(self):
        """a word that only a comment has counts for nothing"""
        self.assertEqual(untried(["ate-it", "seen"], ["# ate-it\nself.assertEqual(why, 'seen')"]), ["ate-it"])


tap.main()
