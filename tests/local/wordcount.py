"""Word count over real text by `mrctl --local run`, compared with coreutils' answer."""

import os
import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

# What Go's unicode.IsSpace calls white space; words are what strings.Fields makes of it.
GO_SPACE = re.compile(
    "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
)


def merged_parts(directory, key=lambda row: row.split(b"\t")[0]):
    rows = []
    for name in sorted(os.listdir(directory)):
        if name.startswith("part-"):
            with open(os.path.join(directory, name), "rb") as f:
                rows += f.read().splitlines(True)
    return b"".join(sorted(rows, key=key))


@unittest.skipUnless(mr.TEXT_DIRS, "no text under /usr/share to count")
class RealText(mr.Scratch):
    """Once over all there is; what splits and reduces do is seen as well over less of it."""

    SOME = mr.TEXT_DIRS[:1]

    def check(self, dirs, *args):
        want = mr.coreutils_wordcount(mr.text_files(dirs))
        assert want.count(b"\n") > 1000
        p = self.local("--app", "wordcount", *(a for d in dirs for a in ("--input", d)), "-q", *args)
        self.assertOk(p)
        self.assertSameLines(p.stdout, want)

    def test_1_one_reduce(self):
        """the same lines as coreutils, one reduce"""
        self.check(mr.TEXT_DIRS)
        self.assertNothingLeft()

    def test_2_two_reduces(self):
        """the same lines, two reduces"""
        self.check(self.SOME, "--reduces", "2")

    def test_3_seven_reduces(self):
        """the same lines, seven reduces"""
        self.check(self.SOME, "--reduces", "7")

    def test_4_small_splits(self):
        """the same lines, splits of 8 KiB"""
        self.check(self.SOME, "--reduces", "2", "--split-size", "8K")

    def test_5_large_splits(self):
        """the same lines, a split larger than the input"""
        self.check(self.SOME, "--reduces", "2", "--split-size", "64G")

    def test_6_one_slot(self):
        """the same lines, one slot for all tasks"""
        self.check(self.SOME, "--reduces", "3", "--split-size", "64K", "--slots", "1")

    def test_7_output_directory(self):
        """with --output: part files that hold the same, sorted, and _SUCCESS"""
        out = self.dir / "out"
        p = self.local("--app", "wordcount", *(a for d in self.SOME for a in ("--input", d)), "--reduces", "3",
                       "--output", out)
        self.assertOk(p)
        self.assertEqual(p.stdout, b"")
        self.assertEqual(sorted(os.listdir(out)), ["_SUCCESS", "part-00000", "part-00001", "part-00002"])
        for i in range(3):
            rows = (out / f"part-0000{i}").read_bytes().splitlines()
            keys = [r.split(b"\t")[0] for r in rows]
            self.assertEqual(keys, sorted(keys))
            self.assertGreater(len(keys), 100)
        self.assertSameLines(merged_parts(out), mr.coreutils_wordcount(mr.text_files(self.SOME)))
        self.assertNothingLeft()


class Words(mr.Scratch):
    def count(self, content, *args):
        p = self.local("--app", "wordcount", "-q", "--input", self.file("in.txt", content), *args)
        self.assertOk(p)
        return p.stdout

    def reference(self, content):
        counts = {}
        # Bytes that are no UTF-8 pass through: surrogateescape keeps each as itself.
        for word in GO_SPACE.split(content.decode("utf-8", "surrogateescape")):
            if word:
                raw = word.encode("utf-8", "surrogateescape")
                counts[raw] = counts.get(raw, 0) + 1
        return b"".join(w + b"\t%d\n" % counts[w] for w in sorted(counts))

    def test_lecture(self):
        """the lecture's sentence"""
        got = self.count("hello I am good hello bye bye bye good night hello")
        self.assertEqual(got, b"I\t1\nam\t1\nbye\t3\ngood\t2\nhello\t3\nnight\t1\n")

    def test_unicode_space(self):
        """words end at every white space that Go knows, and only there"""
        text = "a\u3000b\u00a0c\u2003d\u200be\u0085f\vg\u1680h\u180ei\ufeffj\x1ck \u2028\u2029l"
        want = self.reference(text.encode())
        self.assertEqual(want.count(b"\n"), 8)
        self.assertEqual(self.count(text), want)

    def test_bytes(self):
        """NUL bytes and invalid UTF-8 are parts of words"""
        data = b"a\0b a\0b \xff\xfe \xe3\x80 x\xe3\x80\x80y \xc2 \x01a a \xc2\xa0 \xf0\x9f\x98\x80"
        self.assertEqual(self.count(data), self.reference(data))

    def test_order(self):
        """the order is that of the word's bytes, also for bytes below TAB"""
        data = b"a\x01 a a! a\x00 a\x08b ab \xff b"
        self.assertEqual(self.count(data, "--reduces", "3"), self.reference(data))

    def test_no_trailing_newline(self):
        """the last line needs no newline, at any split size"""
        data = b"\n".join(b"line %d of text" % i for i in range(3000))
        for split in ("4K", "5000", "1G"):
            self.assertSameLines(self.count(data, "--split-size", split), self.reference(data))


tap.main(at_once=2)
