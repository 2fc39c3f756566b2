"""What data looks like on its way: compressed map outputs, compressed parts, files that are one record."""

import gzip
import json
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

TOOLS = {"gzip": ("gz", "gzip"), "bzip2": ("bz2", "bzip2"), "zstd": ("zst", "zstd"), "lz4": ("lz4", "lz4"), "xz": ("xz", "xz")}


def unpack(tool, path):
    return subprocess.run([tool, "-dc", path], stdout=subprocess.PIPE, check=True).stdout


class Compression(mr.Scratch):
    def setUp(self):
        super().setUp()
        self.data = b"".join(b"%d some words of line %d, some of them again\n" % (i * 7919 % 997, i) for i in range(8000))
        self.input = self.file("in", self.data)
        self.want = mr.coreutils_wordcount([self.input])

    def test_intermediate(self):
        """--intermediate-compression: the same answers, of commands and of apps, and less is written"""
        big = b"".join(b"%d\t" % (i % 50) + b"x" * 300 + b"\n" for i in range(4000)) + b"big\t" + os.urandom(600000).replace(b"\n", b"") + b"\n"
        path = self.file("big", big)
        sizes = {}
        for codec in ("none", "lz4", "zstd"):
            options = ["--intermediate-compression", codec, "--reduces", "3", "-q"]
            p = self.local("--app", "wordcount", "--input", self.input, "--split-size", "64K", *options)
            self.assertOk(p)
            self.assertSameLines(p.stdout, self.want)
            out = self.dir / codec
            p = self.local("--mapper", "cat", "--reducer", "cat", "--input", path, "--split-size", "512K", "--json=short", "--output", out, *options)
            self.assertOk(p)
            got = b"".join((out / f"part-{i:05}").read_bytes() for i in range(3))
            self.assertEqual(sorted(got.splitlines()), sorted(big.splitlines()))
            sizes[codec] = json.loads(p.stdout)["Counters"]["map_output_bytes"]
        self.assertLess(sizes["lz4"], sizes["none"] * 0.7)
        self.assertLess(sizes["zstd"], sizes["lz4"])

    def test_output(self):
        """--output-compression: the programs of these names unpack what plain parts hold; such parts are inputs again"""
        there = {k: v for k, v in TOOLS.items() if shutil.which(v[1])}
        self.assertIn("gzip", there)
        for codec, (ending, tool) in there.items():
            out = self.dir / codec
            p = self.local("--app", "wordcount", "--input", self.input, "--reduces", "2", "-q", "--output-compression", codec, "--output", out)
            self.assertOk(p)
            names = [f"part-{i:05}.{ending}" for i in range(2)]
            self.assertEqual(sorted(os.listdir(out)), ["_SUCCESS", *names])
            got = b"".join(unpack(tool, out / n) for n in names)
            self.assertSameLines(b"".join(sorted(got.splitlines(True))), self.want)
            again = self.local("--mapper", "cat", "--input", out, "-q")
            self.assertOk(again)
            self.assertSameLines(again.stdout, self.want)
        out = self.dir / "maps"
        p = self.local("--mapper", "cat", "--reduces", "0", "--input", self.input, "-q", "--output-compression", "gzip", "--output", out,
                       "--split-size", "100K")
        self.assertOk(p)
        parts = sorted(out.glob("part-*.gz"))
        self.assertGreater(len(parts), 2)
        self.assertSameLines(b"".join(gzip.decompress(x.read_bytes()) for x in parts), self.data)
        self.assertNothingLeft()

    def test_empty_output(self):
        """a part with nothing in it is a whole compressed stream of nothing"""
        out = self.dir / "out"
        self.assertOk(self.local("--app", "grep", "--input", self.input, "-q", "--output-compression", "gzip", "--output", out, "--", "zebra"))
        self.assertEqual(unpack("gzip", out / "part-00000.gz"), b"")

    def test_wrong(self):
        """what cannot be is refused by name, and what failed leaves nothing"""
        base = ["--app", "wordcount", "--input", self.input]
        out = self.dir / "out"
        for args, needle in ((["--output-compression", "gzip"], "needs an Output"), (["--output-compression", "rar", "--output", out], "OutputCompression=rar"),
                             (["--intermediate-compression", "gzip"], "IntermediateCompression=gzip"), (["--input-format", "whole"], "InputFormat=whole"),
                             (["--input-format", "csv"], "InputFormat=csv")):
            self.assertFails(self.local(*base, *args), needle)
        p = self.local("--mapper", "cat", "--reducer", "exit 1", "--max-attempts", "1", "--input", self.input, "--output-compression", "xz", "--output", out)
        self.assertFails(p, "reduce-0")
        self.assertFalse(os.path.exists(out) and os.listdir(out), "parts or temporary files are left")

    def test_without_the_module(self):
        """what compresses is a module, and what prints tables: without them plain jobs run, and others say what is missing and what to do"""
        programs = [mr.MRCTL, mr.BUILD / "cli/mr-sweep", *(mr.BUILD / "daemons" / d for d in (
            "mr-masterd/mr-masterd-local.so", "mr-workerd/mr-workerd-local.so", "mr-task/mr-task"))]
        (self.dir / "bin").mkdir()
        for p in programs:
            shutil.copy(p, self.dir / "bin")
        packed = self.file("in.gz", gzip.compress(self.data))

        def run(*args):
            return subprocess.run([self.dir / "bin/mrctl", "--local", "run", "-q", "--max-attempts", "1", *map(str, args)], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env, timeout=60 * mr.SLOW, check=False)

        p = run("--app", "wordcount", "--input", self.input)
        self.assertOk(p)
        self.assertSameLines(p.stdout, self.want)
        for args in (["--app", "wordcount", "--input", packed], ["--mapper", "cat", "--input", packed],
                     ["--app", "sort", "--reduces", "2", "--input", packed],  # whose bounds the master samples
                     ["--app", "wordcount", "--input", self.input, "--intermediate-compression", "lz4"],
                     ["--mapper", "cat", "--input", self.input, "--intermediate-compression", "zstd"]):
            self.assertFails(run(*args), str(self.dir / "bin/mr-codecs.so"), "install it again")
        out = ["--output", self.dir / "o"]
        self.assertFails(run("--app", "wordcount", "--input", self.input, *out, "--output-compression", "gzip"), "mr-archive.so", "install it again")
        self.assertFails(run("--app", "wordcount", "--input", self.input, *out, "--json=short"), "mrctl-verbs.so", "install mrctl again")

    @unittest.skipUnless(shutil.which("zstd"), "no zstd")
    def test_wide_windows(self):
        """zstd --long: windows up to the limit of 256 MiB, and beyond it the sentence that says so"""
        noise = os.urandom(1 << 16)

        def pack(window):
            path = self.dir / f"{window}.zst"
            # Of unknown size, or the window would be no larger than the text.
            with subprocess.Popen(["zstd", "-q", "-1", f"--long={window}", "-o", path], stdin=subprocess.PIPE) as p:
                p.stdin.write(b"".join(b"%d\n" % i for i in range(1000)) + noise.replace(b"\n", b"") + b"\n")
            return path

        for window in (27, 28):
            p = self.local("--mapper", "wc -l", "--input", pack(window), "-q")
            self.assertOk(p)
            self.assertEqual(p.stdout.split(), [b"1001"])
        for window in (29, 31):
            self.assertFails(self.local("--mapper", "wc -l", "--input", pack(window)), f"{window}.zst", "needs more than 256 MiB of memory")

    def test_padding(self):
        """zeros behind what gzip wrote are padding, as gzip(1) has it; zeros alone and all else are damage"""
        text = b"line\n" * 1000
        packed = gzip.compress(text)
        for zeros in (1, 511, 200000):
            padded = self.file("padded.gz", packed + packed + bytes(zeros))
            self.assertEqual(unpack("gzip", padded), text * 2)
            p = self.local("--mapper", "wc -l", "--input", padded, "-q")
            self.assertOk(p)
            self.assertEqual(p.stdout.split(), [b"2000"])
        for damaged in (bytes(512), packed + b"garbage", packed + bytes(512) + b"garbage", packed + bytes(512) + packed):
            self.assertFails(self.local("--mapper", "wc -l", "--input", self.file("damaged.gz", damaged)), "damaged.gz", "compressed data is damaged")

    def test_damage_is_tried_once(self):
        """what cannot be unpacked is not read again: neither of another kind, nor cut off"""
        for name, data in (("other.gz", b"plain text\n"), ("cut.gz", gzip.compress(self.data)[:-100])):
            for program in (("--mapper", "cat"), ("--app", "wordcount")):
                p = self.local(*program, "--input", self.file(name, data), "--json=short", "--output", self.dir / "out")
                self.assertFails(p, name, "the compressed data")
                self.assertEqual(json.loads(p.stdout)["AttemptsFailed"], 1, (name, program))


class Whole(mr.Scratch):
    def test_commands(self):
        """--input-format whole: a mapper has each file alone and uncut, however small the splits"""
        files = {f"f{i}": bytes([65 + i]) * (i * 3000) + b"\nend" for i in range(6)}
        for name, data in files.items():
            self.file(f"in/{name}", data)
        p = self.local("--mapper", 'printf "%s\\t%s\\n" "$(basename "$MR_INPUT")" "$(cksum)"', "--input", self.dir / "in", "-q", "--split-size", "4K",
                       "--input-format", "whole")
        self.assertOk(p)
        want = subprocess.run("cd in; for f in f*; do printf '%s\\t%s\\n' $f \"$(cksum < $f)\"; done", shell=True, stdout=subprocess.PIPE, cwd=self.dir,
                              check=True).stdout
        self.assertSameLines(p.stdout, want)
        # As many lines as there may be, each file is one record; a compressed one without content, too.
        self.file("in/g.gz", gzip.compress(b""))
        self.file("in/h.gz", gzip.compress(b"two\nlines\n"))
        for mapper in ("cat", "identity"):
            p = self.local("--mapper", mapper, "--input", self.dir / "in", "--json=short", "--input-format", "whole", "--output", self.dir / mapper)
            self.assertOk(p)
            counters = json.loads(p.stdout)["Counters"]
            self.assertEqual((counters["map_input_records"], counters["map_output_records"]), (8, 2 * 6 + 2), mapper)

    def assertSkips(self, *program):
        """@program, which counts the lines of a file, fails on the second of five."""
        for i in range(5):
            self.file(f"in/f{i}", f"begin {i}\n" + f"line of {i}\n" * (i * 700) + f"end {i}\n")
        out = self.dir / "out"
        p = self.local(*program, "--input", self.dir / "in", "--input-format", "whole", "--output", out, "--json=short", "--skip-bad-records", "1")
        self.assertOk(p)
        self.assertEqual((out / "part-00000").read_text(), "1402\n2\n2102\n2802\n")
        bad = self.dir / "in/f1"
        self.assertEqual((out / "_skipped-records").read_bytes(), b"%s\t0\t%d\t%s" % (os.fsencode(bad), bad.stat().st_size, bad.read_bytes()))
        counters = json.loads(p.stdout)["Counters"]
        self.assertEqual((counters["map_input_records"], counters["map_skipped_records"]), (4, 1))
        self.assertEqual(counters["map_input_bytes"], sum((self.dir / f"in/f{i}").stat().st_size for i in (0, 2, 3, 4)))
        self.assertEqual(counters["g:runs"], 4)

    def test_skipped(self):
        """a file that a mapper fails on is skipped as a whole, though it would succeed on either half"""
        mapper = self.script("m.sh", """#!/bin/sh
awk '/^begin 1$/ {b = 1} /^end 1$/ && b {exit 3} END {print FNR}' || exit
echo reporter:counter:g,runs,1 >&2
""")
        self.assertSkips("--mapper", mapper)

    def plugin(self, name, source):
        so = self.dir / f"{name}.so"
        subprocess.run(["cc", "-shared", "-fPIC", f"-I{mr.SOURCE}/include", "-o", str(so), self.file(f"{name}.c", source)], check=True)
        return so

    @unittest.skipUnless(shutil.which("cc"), "no C compiler")
    def test_skipped_by_plugin(self):
        """a file that a plugin fails on is skipped likewise"""
        self.assertSkips("--app", self.plugin("fails", """
#include <mapreduce.h>
#include <stdio.h>
#include <string.h>
static int map(MrTask *t, void *s, const void *record, size_t size)
{
        char text[32];
        size_t lines = 0;
        if (memcmp(record, "begin 1", 7) == 0)
                return -1;
        for (size_t i = 0; i < size; i++)
                lines += ((const char *) record)[i] == '\\n';
        mr_count(t, "g", "runs", 1);
        return mr_emit(t, text, snprintf(text, sizeof(text), "%zu", lines), "", 0);
}
const MrPlugin mapreduce_plugin = {MR_PLUGIN_HEADER, .name = "fails", .map = map};
"""))

    @unittest.skipUnless(shutil.which("cc"), "no C compiler")
    def test_plugin(self):
        """a plugin's map gets a file at a time, many small ones in one split, compressed ones unpacked"""
        so = self.plugin("whole", """
#include <mapreduce.h>
#include <stdio.h>
#include <string.h>
static int map(MrTask *t, void *s, const void *record, size_t size)
{
        char text[32];
        const char *name = strrchr(mr_info(t)->input, '/') + 1;
        size_t lines = 0;
        for (size_t i = 0; i < size; i++)
                lines += ((const char *) record)[i] == '\\n';
        return mr_emit(t, name, strlen(name), text, snprintf(text, sizeof(text), "%zu %zu", size, lines));
}
const MrPlugin mapreduce_plugin = {MR_PLUGIN_HEADER, .name = "whole", .map = map};
""")
        want = []
        for i in range(40):
            data = b"line\n" * i + b"x" * (i % 3)
            name = f"n{i:02}" + (".gz" if i % 5 == 0 else "")
            self.file(f"in/{name}", gzip.compress(data) if i % 5 == 0 else data)
            if data or i % 5 == 0: # an empty file has no piece
                want.append(f"{name}\t{len(data)} {i}\n")
        p = self.local("--app", so, "--input", self.dir / "in", "-q", "--input-format", "whole")
        self.assertOk(p)
        self.assertEqual(p.stdout.decode(), "".join(want))
        p = self.local("--app", so, "--input", self.dir / "in", "--json=short", "--input-format", "whole", "--output", self.dir / "out")
        self.assertOk(p)
        self.assertEqual((self.dir / "out/part-00000").read_text(), "".join(want))
        job = json.loads(p.stdout)
        # Compressed ones too: together they are far below a split, of 32 MiB.
        self.assertEqual((job["Maps"], job["Counters"]["map_input_records"]), (1, len(want)))


tap.main()
