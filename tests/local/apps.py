"""The built-in programs by `mrctl --local run`, each compared with another program: awk, sort, uniq, grep, join."""

import bisect
import functools
import gzip
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402


def shell(script, *files):
    return subprocess.run(["bash", "-c", script, "bash", *files], stdout=subprocess.PIPE, check=True,
                          env=dict(os.environ, LC_ALL="C")).stdout


def in_key_order(text):
    return b"".join(sorted(text.splitlines(True), key=lambda row: row.rstrip(b"\n").split(b"\t")[0]))


class Apps(mr.Scratch):
    def setUp(self):
        super().setUp()
        rng = random.Random(5)
        rows = []
        for _ in range(6000):
            client = f"10.0.{rng.randrange(4)}.{int(rng.expovariate(0.05)) % 256}"
            size = rng.choice(["-", str(rng.randrange(10**6)), str(rng.randrange(10)), ""])
            rows.append(rng.choice([" ", "", "\t "]) + f"{client}  GET\t/{rng.randrange(50)} " + size + rng.choice(["", " ", " x"]))
        rows += ["", "   ", "x" * 200 + " " + "y" * 200 + " /z 18446744073709551615", "big a b 18446744073709551616",
                 "over a b 18446744073709551615", "over a b 7", "é ü ö 3"]
        self.log = self.file("log", "\n".join(rows) + "\n")

    def run_app(self, app, *args, inputs=None, options=()):
        p = self.local("--app", app, "-q", "--split-size", "32K", "--reduces", "3", *options,
                       *(a for i in inputs or [self.log] for a in ("--input", i)), "--", *args)
        self.assertOk(p)
        return p.stdout

    def test_count(self):
        """count: as awk and uniq -c count a field"""
        want = shell("""awk 'NF>=3 {n[$3]++} END {for (k in n) print k "\\t" n[k]}' "$1" | sort""", self.log)
        self.assertSameLines(self.run_app("count", "key=3"), in_key_order(want))

    def test_count_lines(self):
        """count: whole lines, empty ones too"""
        rows = open(self.log, "rb").read().splitlines(True)
        path = self.file("twice", b"".join(rows[:50] * 3 + [b"\n\n"]))
        want = shell("""sort "$1" | uniq -c | sed -E 's/^ *([0-9]+) (.*)$/\\2\\t\\1/'""", path)
        self.assertEqual(sorted(self.run_app("count", inputs=[path]).splitlines()), sorted(want.splitlines()))

    def test_delimiter(self):
        """count: one byte as delimiter, as cut has it"""
        want = shell("""grep -a , "$1" | cut -d, -f2 | sort | uniq -c | sed -E 's/^ *([0-9]+) (.*)$/\\2\\t\\1/'""",
                     self.file("csv", "a,b,c\n,x,\nq,,\nno\nz,b\nz,\n"))
        self.assertEqual(sorted(self.run_app("count", "2", "delimiter=,", inputs=[self.dir / "csv"]).splitlines()),
                         sorted(want.splitlines()))

    def test_delimiter_of_others(self):
        """sum, min, max, distinct, top: fields between commas with blanks in them, as awk, cut and sort have them"""
        rng = random.Random(6)
        csv = self.file("csv", "".join(f"{rng.choice(['', 'x', 'x y'])},{rng.choice(['a b', 'a', ' a', '', 'c  d'])},"
                                       f"{rng.choice(['7', '12', '100', 'no', '', ' 5'])}{rng.choice(['', ', 1 2'])}\n" for _ in range(900))
                        + "no comma at all 1 2 3\none,comma 7\n")
        for app, how in (("sum", "n[$2] += $3"), ("min", "if (!($2 in n) || $3 + 0 < n[$2]) n[$2] = $3 + 0"),
                         ("max", "if (!($2 in n) || $3 + 0 > n[$2]) n[$2] = $3 + 0")):
            want = shell("""awk -F, 'NF >= 3 && $3 ~ /^[0-9]+$/ {""" + how + """} END {for (k in n) print k "\t" n[k]}' "$1" | sort""", csv)
            self.assertGreater(len(want.splitlines()), 4)
            self.assertSameLines(self.run_app(app, "3", "key=2", "delimiter=,", inputs=[csv]), in_key_order(want))
        want = shell("""cut -s -d, -f2 "$1" | sort -u""", csv)
        self.assertSameLines(self.run_app("distinct", "2", "delimiter=,", inputs=[csv]), want)
        want = shell("""cut -s -d, -f2 "$1" | sort | uniq -c | sort -s -k1,1rn | sed -E 's/^ *([0-9]+) (.*)$/\\2\\t\\1/' | head -n 4""", csv)
        self.assertSameLines(self.run_app("top", "4", "key=2", "delimiter=,", inputs=[csv]), want)

    def test_sum_min_max(self):
        """sum, min, max: as awk over the lines that have a number there; a sum stops at 2^64 - 1"""
        numbers = {}
        for row in open(self.log, "rb").read().split(b"\n"):
            fields = row.split()
            if len(fields) >= 4 and fields[3].isdigit() and int(fields[3]) < 2**64:
                numbers.setdefault(fields[0], []).append(int(fields[3]))
        awk = shell("""awk 'NF>=4 && $4 ~ /^[0-9]+$/ && length($4) < 10 {n[$1]+=$4} END {for (k in n) print k "\\t" n[k]}' "$1" | sort""",
                    self.log)
        small = {k: v for k, v in numbers.items() if max(v) < 10**9}
        self.assertEqual(dict(row.split(b"\t") for row in awk.splitlines() if row.split(b"\t")[0] in small),
                         {k: b"%d" % sum(v) for k, v in small.items()})
        for name, f in (("sum", lambda v: min(sum(v), 2**64 - 1)), ("min", min), ("max", max)):
            want = b"".join(b"%s\t%d\n" % (k, f(v)) for k, v in sorted(numbers.items()))
            self.assertSameLines(self.run_app(name, "4", "key=1"), want)

    def test_distinct(self):
        """distinct: as sort -u"""
        got = self.run_app("distinct").splitlines()
        self.assertEqual(sorted(got), shell("""sort -u "$1" """, self.log).splitlines())
        want = shell("""awk 'NF>=1 {print $1}' "$1" | sort -u""", self.log)
        self.assertSameLines(self.run_app("distinct", "1"), want)

    def check_sort(self, path, options, *args):
        want = shell(f"""sort {options} "$1" """, path)
        for reduces in (1, 7):
            out = self.dir / f"out-{reduces}"
            got = self.run_app("sort", *args, inputs=[path], options=("--reduces", str(reduces), "--split-size", "16K"))
            self.assertSameLines(got, want)
            p = self.local("--app", "sort", "-q", "--reduces", str(reduces), "--output", out, "--input", path, "--", *args)
            self.assertOk(p)
            self.assertSameLines(b"".join((out / f"part-{i:05}").read_bytes() for i in range(reduces)), want)
            sizes = [(out / f"part-{i:05}").stat().st_size for i in range(reduces)]
            shutil.rmtree(out)
        return sizes

    def test_sort(self):
        """sort: as sort(1), by lines, fields and numbers, both ways, in one part and in seven"""
        rng = random.Random(8)
        numbers = ["0", "-0", "00.50", "0.5", ".5", "-.5", "12", "9", "-9", "-12", "-9.25", "-9.2", "x", "", "1e3", "18446744073709551616",
                   "-18446744073709551616", "3.14159265358979323846264338", "3.141592653589793238462643383", " 7", "- 7", "+7"]
        rows = [f"{rng.choice(['', 'a', 'ab', 'b', 'zz'])}{rng.randrange(100)}," +
                (rng.choice(numbers) if rng.random() < .4 else f"{rng.uniform(-1000, 1000):.{rng.randrange(4)}f}") +
                rng.choice(["", ",tail"]) for _ in range(3000)]
        path = self.file("in.csv", "\n".join(rows + ["", "", "a\x01b", "a\tb", "a"]) + "\n")
        sizes = self.check_sort(path, "")
        self.assertLess(max(sizes), 3 * min(sizes), sizes)
        self.check_sort(path, "-r", "reverse=yes")
        self.check_sort(path, "-t, -k2,2", "2", "delimiter=,")
        self.check_sort(path, "-t, -k2,2n", "2", "delimiter=,", "numeric=yes")
        self.check_sort(path, "-t, -k2,2nr -r", "2", "delimiter=,", "numeric=yes", "reverse=yes")
        self.check_sort(self.file("one", "b\nb\nb\n"), "")
        self.check_sort(self.file("unended", "b\na"), "")

    def test_sort_records(self):
        """sort record=: fixed-length binary records, all of them or their first bytes"""
        rng = random.Random(4)
        records = [bytes(rng.choice(b"\0\n\xffa") for _ in range(5)) + rng.randbytes(12) for _ in range(5000)]
        path = self.file("records", b"".join(records))
        options = ("--reduces", "5", "--split-size", "4K")
        self.assertEqual(self.run_app("sort", "record=17", inputs=[path], options=options), b"".join(sorted(records)))
        got = self.run_app("sort", "record=17", "key-bytes=3", inputs=[path], options=options)
        rows = [got[i:i + 17] for i in range(0, len(got), 17)]
        self.assertEqual(sorted(rows), sorted(records))
        self.assertEqual([r[:3] for r in rows], sorted(r[:3] for r in records))
        p = self.local("--json=short", "--app", "sort", "--input", path, "--output", str(self.dir / "out"), *options, "--", "record=17",
                       "key-bytes=3")
        self.assertOk(p)
        counters = json.loads(p.stdout)["Counters"]
        self.assertEqual(counters["reduce_input_groups"], len({r[:3] for r in records}))
        self.assertEqual(counters["reduce_output_records"], len(records))
        self.assertFails(self.local("--app", "sort", "--input", path, "--max-attempts", "1", "--", "record=16"), "no whole number of records")

    def test_sort_of_long(self):
        """sort over several reduces: each has its share of records and of lines that are longer than what is sampled at a place"""
        rng = random.Random(5)
        for size, parameters in ((60000, ["record=60000", "key-bytes=50000"]), (60000, []), (60000, ["numeric=yes"])):
            records = [b"%09d" % rng.randrange(10**9) + b" " * (size - 10) + b"\n" for _ in range(60)]
            path = self.file(f"long-{size}", b"".join(records))
            out = self.dir / "-".join(["out", *parameters])
            self.assertOk(self.local("-q", "--app", "sort", "--reduces", "3", "--input", path, "--output", str(out), "--", *parameters))
            parts = [(out / f"part-0000{i}").read_bytes() for i in range(3)]
            self.assertTrue(b"".join(parts) == b"".join(sorted(records)), parameters)
            self.assertGreater(min(map(len, parts)), 6 * size, parameters)

    def test_sort_of_long_by_a_field(self):
        """sort over several reduces: a field behind what is sampled of a line makes no bound of an empty one"""
        rng = random.Random(7)
        lines = [b"x" * 19000 + b" %06d y\n" % rng.randrange(10**6) for _ in range(300)]
        out = self.dir / "out"
        self.assertOk(self.local("-q", "--app", "sort", "--reduces", "4", "--input", self.file("fields", b"".join(lines)), "--output", str(out),
                                 "--", "key=2"))
        parts = [(out / f"part-0000{i}").read_bytes() for i in range(4)]
        self.assertTrue(b"".join(parts) == b"".join(sorted(lines)))
        self.assertGreater(min(p.count(b"\n") for p in parts), 20)

    def test_sort_of_few_keys(self):
        """sort over several reduces: a line that fills more than a reduce's share has one of its own, and its neighbours theirs"""
        rng = random.Random(6)
        lines = [b"m\n"] * 6000 + [b"%c%d\n" % (rng.choice(b"aflqz"), rng.randrange(10**6)) for _ in range(4000)]
        rng.shuffle(lines)
        path = self.file("skewed", b"".join(lines))
        out = self.dir / "out"
        self.assertOk(self.local("-q", "--app", "sort", "--reduces", "4", "--input", path, "--output", str(out)))
        parts = [(out / f"part-0000{i}").read_bytes() for i in range(4)]
        self.assertSameLines(b"".join(parts), b"".join(sorted(lines)))
        self.assertEqual([len({line[:1] for line in p.splitlines()}) for p in parts], [3, 1, 2, 0], [p[:20] for p in parts])

    def test_compressed(self):
        """inputs by gzip, bzip2, zstd, lz4, xz, of one stream and of two, count as their text does; commands see text"""
        want = self.run_app("count", "3")
        data = open(self.log, "rb").read()
        (self.dir / "z").mkdir()
        tools = {"gz": "gzip", "bz2": "bzip2", "zst": "zstd", "lz4": "lz4", "xz": "xz"}
        there = {k: v for k, v in tools.items() if shutil.which(v)}
        self.assertIn("gz", there)
        for ending, tool in there.items():
            half = data.index(b"\n", len(data) // 2) - 3  # within a line
            one, two = self.file("a", data[:half]), self.file("b", data[half:])
            path = str(self.dir / "z" / f"log.{ending}")
            shell(f"({tool} -c < \"$1\"; {tool} -c < \"$2\") > \"$3\"", one, two, path)
            self.assertSameLines(self.run_app("count", "3", inputs=[path]), want)
            p = self.local("--mapper", "grep -c ''", "--input", path, "-q", "--split-size", "4K")
            self.assertOk(p)
            self.assertEqual(int(p.stdout), data.count(b"\n"))
            whole = open(path, "rb").read()
            for bad in (whole[:-5], whole[:len(whole) // 3], b"plain text\n" * 9):
                broken = self.file(f"broken.{ending}", bad)
                self.assertFails(self.local("--app", "count", "--max-attempts", "1", "--input", broken), broken, "compressed data")
        n = len(there)
        got = self.run_app("count", "3", inputs=[self.dir / "z"])
        self.assertSameLines(got, b"".join(b"%s\t%d\n" % (k, int(v) * n) for k, v in (row.split(b"\t") for row in want.splitlines())))
        self.check_sort_packed()

    def check_sort_packed(self):
        rows = sorted(f"{i * 7919 % 10007:05}".encode() for i in range(9000))
        paths = []
        for i in range(3):
            path = self.file(f"part{i}", b"\n".join(rows[i::3]) + b"\n")
            shell('gzip "$1"', path)
            paths.append(path + ".gz")
        self.assertEqual(self.run_app("sort", inputs=paths, options=("--reduces", "4")), b"\n".join(rows) + b"\n")

    def test_top(self):
        """top: the first lines of sort | uniq -c | sort -rn"""
        for k in (1, 7, 100000):
            want = shell(f"""awk 'NF>=3 {{print $3}}' "$1" | sort | uniq -c | sort -k1,1rn -k2,2 |
                             awk '{{print $2 "\\t" $1}}' | head -n {k}""", self.log)
            self.assertSameLines(self.run_app("top", str(k), "key=3"), want)

    def test_grep(self):
        """grep: lines, count, inverted and without case, as grep says"""
        for pattern in ("GET\t/4[0-9]", "^$", "0$", "x* y", r"\s+x$", "1.*9.*9", "ü", r"[^0-9]+\b7\b"):
            want = sorted(shell("""grep -aP -- "$2" "$1" || true""", self.log, pattern).splitlines())
            self.assertEqual(sorted(self.run_app("grep", pattern).splitlines()), want, pattern)
            count = self.run_app("grep", pattern, "output=count")
            self.assertEqual(count, pattern.encode() + b"\t%d\n" % len(want))
        want = shell("""grep -aciP 'get' "$1" """, self.log).strip()
        self.assertEqual(self.run_app("grep", "get", "ignore-case=yes", "output=count"), b"get\t" + want + b"\n")
        want = sorted(shell("""grep -avP '[0-4]' "$1" """, self.log).splitlines())
        self.assertEqual(sorted(self.run_app("grep", "[0-4]", "invert=yes").splitlines()), want)

    def test_grep_matches(self):
        """grep: matches counted, as grep -o | uniq -c"""
        want = shell("""grep -aoP '/[0-9]' "$1" | sort | uniq -c | awk '{print $2 "\\t" $1}'""", self.log)
        self.assertSameLines(self.run_app("grep", "/[0-9]", "output=matches"), want)

    def test_words_of_letters(self):
        """wordcount words=letters: as tr -cs A-Za-z"""
        want = shell("""tr -cs A-Za-z '\\n' < "$1" | grep -v '^$' | sort | uniq -c | awk '{print $2 "\\t" $1}'""", self.log)
        self.assertSameLines(self.run_app("wordcount", "letters"), want)

    @unittest.skipUnless(mr.TEXT_DIRS, "no text under /usr/share")
    def test_index(self):
        """index: each word with its files, as grep -l would find them"""
        files = mr.text_files(mr.TEXT_DIRS[:1])
        want = {}
        for f in files:
            for word in set(open(f, "rb").read().split()):
                want.setdefault(word, []).append(os.fsencode(f))
        if any(b >= 0x80 for f in files for b in open(f, "rb").read()):
            want = {w: v for w, v in want.items() if all(b < 0x80 for b in w)}
        got = self.index_of(files)
        for word, paths in want.items():
            self.assertEqual(got.get(word), sorted(paths), word)

    def index_of(self, files, *args):
        got = {}
        for row in self.run_app("index", *args, inputs=files, options=("--split-size", "16K")).splitlines():
            word, *paths = row.split(b"\t")
            self.assertNotIn(word, got)
            got[word] = paths
        return got

    def test_index_of_letters(self):
        """index words=letters: each run of letters with its files, as tr -cs A-Za-z finds them, and no others"""
        want = {}
        files = [self.file(name, text) for name, text in
                 (("a", "x-1, y;Z\n" * 4000), ("b", "don't x\u00e9z\n"), ("c", "\n12 34\n"), ("d", "z2Z x\0q"))]
        for f in files:
            for word in shell("""tr -cs A-Za-z '\\n' < "$1" | grep -v '^$' | sort -u || true""", f).splitlines():
                want.setdefault(word, []).append(os.fsencode(f))
        self.assertIn(b"don", want)
        self.assertEqual(self.index_of(files, "letters"), want)

    def test_join(self):
        """join: as join(1) over sorted inputs, inner and left"""
        rng = random.Random(9)
        left = [f"{rng.randrange(500):03}\tl{i}\tm" for i in range(3000)]
        right = [f"{rng.randrange(700):03}\tr{i}" for i in range(1000)] + ["lonely\tr"]
        l, r = self.file("in/left.tsv", "\n".join(left)), self.file("in/right.tsv", "\n".join(right))
        for extra, options in (((), ""), (("outer=left",), "-a 1")):
            want = shell(f"""join -t $'\\t' {options} <(sort -t $'\\t' -k1,1 "$1") <(sort -t $'\\t' -k1,1 "$2")""", l, r)
            got = self.run_app("join", "right.*", "delimiter=\\t", *extra, inputs=[self.dir / "in"])
            self.assertEqual(sorted(got.splitlines()), sorted(want.splitlines()))

    def test_join_by_other_fields(self):
        """join key= and right-key=: as join -1 and -2"""
        rng = random.Random(10)
        l = self.file("in/left.tsv", "".join(f"l{i}\t{rng.randrange(300)}\tm\n" for i in range(900)) + "one field\n")
        r = self.file("in/right.tsv", "".join(f"r{i}\ts\t{rng.randrange(400)}\n" for i in range(500)) + "two\tfields\n")
        for args, options, left, right in ((("key=2", "right-key=3"), "-1 2 -2 3", 2, 3), (("key=1", "right-key=2"), "-1 1 -2 2", 1, 2),
                                           (("key=2", "right-key=3", "outer=left"), "-a 1 -1 2 -2 3", 2, 3)):
            # Lines without the field are nobody's here; join(1) has them as an empty key.
            want = shell(f"""join -t $'\\t' {options} <(awk -F '\\t' 'NF >= {left}' "$1" | sort -t $'\\t' -k{left},{left}) \
                             <(awk -F '\\t' 'NF >= {right}' "$2" | sort -t $'\\t' -k{right},{right})""", l, r)
            got = self.run_app("join", "right.*", "delimiter=\\t", *args, inputs=[self.dir / "in"])
            self.assertEqual(sorted(got.splitlines()), sorted(want.splitlines()), args)

    def test_join_by_relative_paths(self):
        """join right=: with ./ before it, slashes twice, directories before the name, and whole; ones of another directory are left"""
        l, r = self.file("in/a/x", "1 left\n"), self.file("in/b/x", "1 right\n")
        for right in ("b/x", "./b/x", ".//b//x", "././b/x", "in/b/*", "*/b/x", "[!a]/x", r, r.replace("/b/", "//b///")):
            self.assertEqual(self.run_app("join", f"right={right}", inputs=[l, r]), b"1\tleft\tright\n", right)
        for right in ("./y", "/b/x", "c/x", "x/b", "*" + "/*" * 9):
            self.assertEqual(self.run_app("join", f"right={right}", inputs=[l, r]), b"", right)
        self.assertEqual(self.run_app("join", "right=./x", "outer=left", inputs=[l, r]), b"")

    def test_wrong_parameters(self):
        """a parameter that is unknown, twice, missing or out of range is named"""
        for app, args, needle in (("top", ["n=3"], 'no parameter "n=3" (known: k=, key=, delimiter=)'), ("grep", [], "pattern="), ("grep", ["("], "pattern"),
                                  ("count", ["1", "2"], "no parameter \"2\""), ("sum", ["1", "value=2"], "twice"),
                                  ("join", ["x", "key=0"], "key=0"), ("join", ["right=./"], "right= must not be empty"), ("wordcount", ["ALL"], "words=")):
            p = self.local("--app", app, "--input", self.log, "--", *args)
            self.assertEqual(p.returncode, 1, (app, args))
            self.assertIn(needle, p.stderr.decode())

    def test_misspelt_parameters(self):
        """a name that no parameter has is refused, rather than be the first one's value; where any text may be that, only one near a name"""
        for app, arg, *needles in (("wordcount", "foo=1", 'no parameter "foo=1"', "words="), ("top", "n=5", "k="), ("count", "kye=1", "key="),
                                   ("sort", "numerc=yes", "numeric="), ("grep", "patern=a", "did you mean pattern=?", "pattern=patern=a"),
                                   ("grep", "ignore-cas=yes", "did you mean ignore-case=?"), ("join", "rigth=*", "did you mean right=?"),
                                   ("sum", "vlaue=3", "did you mean value=?"), ("grep", "ignore_case=yes", "did you mean ignore-case=?"),
                                   ("sort", "record_bytes=5", "record="), ("join", "right_key=2", "did you mean right-key=?"), ("top", "k1=3", "k=")):
            p = self.local("--app", app, "--input", self.log, "--", arg)
            self.assertFails(p, "no parameter", *needles)
            self.assertEqual(p.stdout, b"")
        data = self.file("in", "user=root\npatern=a\na=b=c\nPATTERN=x\n")
        for arg in ("user=root", "PATTERN=x", "a=b", "patern", "pattern=patern=a", "=root", "pattern=a=b"):
            want = arg.removeprefix("pattern=").encode()
            self.assertEqual([row for row in open(data, "rb").read().split(b"\n") if want in row],
                             self.run_app("grep", arg, inputs=[data]).splitlines(), arg)

    # Of each app, what it needs, and of each parameter its default and what makes another result than base.
    KEYS = {"key": ("0", [], "key=2"), "delimiter": ("", ["key=1"], "delimiter=,")}
    NUMBERS = {"value": (None, ["value=3"], "value=4"), "key": ("0", ["3"], "key=2"), "delimiter": ("", ["3", "key=1"], "delimiter=,")}
    LIST = {
        "count": KEYS,
        "distinct": KEYS,
        "grep": {"pattern": (None, ["pattern=a"], "pattern=x"), "output": ("lines", ["a"], "output=count"),
                 "ignore-case": ("no", ["a"], "ignore-case=yes"), "invert": ("no", ["a"], "invert=yes")},
        "index": {"words": ("all", [], "words=letters")},
        "join": {"right": (None, ["right=right"], "right=*"), "key": ("1", ["right"], "key=2"), "right-key": ("1", ["right"], "right-key=2"),
                 "delimiter": ("", ["right"], "delimiter=,"), "outer": ("no", ["right"], "outer=left")},
        "max": NUMBERS,
        "min": NUMBERS,
        "sort": {"key": ("0", [], "key=3"), "delimiter": ("", ["key=2"], "delimiter=,"), "numeric": ("no", ["key=3"], "numeric=yes"),
                 "reverse": ("no", [], "reverse=yes"), "record": ("0", [], "record=1"), "key-bytes": ("0", ["record=4"], "key-bytes=1")},
        "sum": NUMBERS,
        "top": {"k": ("10", [], "k=1"), "key": ("0", [], "key=2"), "delimiter": ("", ["key=1"], "delimiter=,")},
        "wordcount": {"words": ("all", [], "words=letters")},
    }

    def test_list(self):
        """mrctl apps: every app with its parameters and their defaults; each is taken by its app and makes another result"""
        p = self.mrctl("apps", "--json=short")
        self.assertOk(p)
        rows = [(row["App"], row["Parameter"], row["Default"]) for row in json.loads(p.stdout)]
        self.assertEqual(rows, [row for app, parameters in self.LIST.items() for row in
                                [(app, "", ""), *((app, name, "(must be given)" if default is None else default)
                                                  for name, (default, _, _) in parameters.items())]])
        text = self.mrctl("apps").stdout.decode()
        for app, name, _ in rows:
            self.assertRegex(text, f"(?m)^{app} +{name}")
        self.assertIn("regular expression (PCRE2)", text)
        inputs = [self.file("left", "b,2 a 5 1\nb,2 a 30 2\nA,1 y 30 1\nc,0 x 4 7  \n"), self.file("right", "b,2 y 70 3\na b 10 4    \n")]
        for app, parameters in self.LIST.items():
            some = self.list_parameters(app, inputs, parameters)
            self.assertEqual(self.run_app(app, *some, inputs=inputs),
                             self.run_app(app, *some, *(f"{name}={d}" for name, (d, _, _) in parameters.items() if d is not None), inputs=inputs))

    def list_parameters(self, app, inputs, parameters):
        """Those that must be given."""
        result = functools.cache(lambda *args: self.run_app(app, *args, inputs=inputs, options=("--reduces", "1")))
        for default, base, other in parameters.values():
            given = [other] if default is None else [*base, other]
            self.assertNotEqual(result(*base), result(*given), f"{app}: {given}")
        return [base[0] for default, base, _ in parameters.values() if default is None]


class Plugins(mr.Scratch):
    def build(self, source, name, *flags):
        path = self.dir / name
        p = subprocess.run(["cc", "-Wall", "-Werror", "-shared", "-fPIC", "-Wl,-z,defs", f"-I{mr.SOURCE}/include", *flags,
                            "-o", str(path), str(source)], stderr=subprocess.PIPE, check=False)
        self.assertEqual(p.returncode, 0, p.stderr.decode())
        return path

    def test_example(self):
        """the example plugin, built as a stranger builds it, against a few lines of Python"""
        so = self.build(mr.SOURCE / "examples/plugin/longest.c", "longest.so")
        rng = random.Random(3)
        rows = [f"{rng.choice('abcdef')} " + "w" * rng.randrange(90) + rng.choice("xyz") for _ in range(5000)]
        path = self.file("in", "\n".join(rows))
        best = {}
        for row in rows:
            if len(row) >= 10:
                word = row.split(" ")[0]
                best[word] = min(best.get(word, row), row, key=lambda s: (-len(s), s))
        for reduces in ("1", "3"):
            p = self.local("--app", so, "--input", path, "-q", "--split-size", "16K", "--reduces", reduces, "--", "min=10")
            self.assertOk(p)
            self.assertEqual(p.stdout.decode(), "".join(f"{k}\t{v}\n" for k, v in sorted(best.items())))

    def test_other_keys(self):
        """what a reduce() writes under other keys than its own is printed in their order, and stays in its own in an output directory"""
        so = self.build(self.file("i.c", """
#include <mapreduce.h>
#include <stdio.h>
#include <stdlib.h>
static int map(MrTask *t, void *s, const void *l, size_t n) { return mr_emit_number(t, l, n, 1); }
static int reduce(MrTask *t, void *s, const void *k, size_t n)
{
        char text[8] = "";
        return mr_emit(t, text, snprintf(text, sizeof(text), "%d", 999 - atoi(k)), "x", 1);
}
static int reduce_end(MrTask *t, void *s) { return mr_write(t, "0\\ty", 3); }
const MrPlugin mapreduce_plugin = {MR_PLUGIN_HEADER, .name = "i", .map = map, OP .reduce = reduce, .reduce_end = reduce_end};
"""), "i.so", "-DOP=")
        sums = self.build(self.dir / "i.c", "sums.so", "-DOP=.op=MR_OP_SUM,")
        path = self.file("in", "".join(f"{n:03}\n" for n in range(300)))
        rows = [f"{999 - n}\tx\n" for n in range(300)]
        for plugin in (so, sums):
            p = self.local("--app", plugin, "--input", path, "-q", "--reduces", "2")
            self.assertOk(p)
            self.assertEqual(p.stdout.decode(), "".join(["0\ty\n"] * 2 + rows[::-1]))
            out = self.dir / f"out-{plugin.stem}"
            self.assertOk(self.local("--app", plugin, "--input", path, "-q", "--output", out))
            self.assertEqual((out / "part-00000").read_text(), "".join(rows) + "0\ty")

    def test_faults(self):
        """plugins that fail, crash, or are none end in a sentence"""
        head = "#include <mapreduce.h>\n#include <stdlib.h>\n"
        plugin = "const MrPlugin mapreduce_plugin = {%s .name = \"p\", .map = map};\n"
        fine = "static int map(MrTask *t, void *s, const void *l, size_t n) { return mr_emit(t, l, n, l, n); }\n"
        cases = {
            "crash": (head + "static int map(MrTask *t, void *s, const void *l, size_t n) { abort(); }\n" + plugin % "MR_PLUGIN_HEADER,",
                      "SIGABRT"),
            "says": (head + "static int map(MrTask *t, void *s, const void *l, size_t n) { return mr_fail(t, \"no \\xff luck\"); }\n"
                     + plugin % "MR_PLUGIN_HEADER,", "luck"),
            "code": (head + "static int map(MrTask *t, void *s, const void *l, size_t n) { return -42; }\n" + plugin % "MR_PLUGIN_HEADER,",
                     "returned -42"),
            "numbers": (head + "static int map(MrTask *t, void *s, const void *l, size_t n) { return mr_emit(t, l, n, l, n); }\n"
                        + plugin % "MR_PLUGIN_HEADER, .op = MR_OP_SUM,", "numbers"),
            "range": (head + fine + "static uint32_t part(MrTask *t, void *s, const void *k, size_t n, uint32_t p) { return p; }\n"
                      + plugin % "MR_PLUGIN_HEADER, .partition = part,", "sent a key to reduce 1"),
            "old": (head + fine + plugin % ".abi = 99, .size = sizeof(MrPlugin),", "version 99"),
            "small": (head + fine + plugin % ".abi = MR_ABI, .size = sizeof(MrPlugin) - 1,", "a table of 103 bytes"),
            "other": ("int x;\n", "mapreduce_plugin"),
            # Begins as the attempt's name does, and is none.
            "named": (head + "static int map(MrTask *t, void *s, const void *l, size_t n) { return mr_fail(t, \"map-01 is lost\"); }\n"
                      + plugin % "MR_PLUGIN_HEADER,", f"map-0: {self.dir}/in: map-01 is lost, on the record at byte 0"),
        }
        data = self.file("in", "a\nb\n")
        for name, (source, needle) in cases.items():
            so = self.build(self.file(f"{name}.c", source), f"{name}.so")
            p = self.local("--app", so, "--input", data, "--max-attempts", "1")
            self.assertFails(p, needle)
        # Of a header with more members at the end: they are not looked at.
        so = self.build(self.file("new.c", head + fine + plugin % ".abi = MR_ABI, .size = sizeof(MrPlugin) + 8,"), "new.so")
        p = self.local("--app", so, "--input", data, "-q")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"a\ta\nb\tb\n")
        self.assertFails(self.local("--app", self.file("text.so", "not an object"), "--input", data, "--max-attempts", "1"), "text.so")
        self.assertNothingLeft()

    def test_every_function(self):
        """setup, teardown, combine, partition, parameters and what a task is told, against a few lines of Python"""
        so = self.build(self.file("e.c", r"""
#include <mapreduce.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef struct State { unsigned long modulus; } State;
static int setup(MrTask *t, void **ret)
{
        State *s = malloc(sizeof(*s));
        if (!s)
                return mr_fail(t, "no memory");
        s->modulus = strtoul(mr_parameter(t, "modulus"), NULL, 10);
        *ret = s;
        mr_count(t, "calls", "setup", 1);
        return 0;
}
static void teardown(MrTask *t, void *state) { free(state); mr_count(t, "calls", "teardown", 1); }
static int map(MrTask *t, void *state, const void *line, size_t n)
{
        char number[32], key[32];
        unsigned long x, modulus = ((State *) state)->modulus;
        if (n >= sizeof(number))
                return mr_fail(t, "a line too long");
        memcpy(number, line, n);
        number[n] = 0;
        x = strtoul(number, NULL, 10);
        return mr_emit(t, key, snprintf(key, sizeof(key), "%lu", x % modulus), number, n);
}
static int add(MrTask *t, const void *k, size_t n)
{
        unsigned long sum = 0;
        char text[32];
        const void *v;
        size_t vn;
        int r;
        while ((r = mr_next(t, &v, &vn)) > 0) {
                memcpy(text, v, vn);
                text[vn] = 0;
                sum += strtoul(text, NULL, 10);
        }
        return r < 0 ? r : mr_emit(t, k, n, text, snprintf(text, sizeof(text), "%lu", sum));
}
static int combine(MrTask *t, void *state, const void *k, size_t n) { mr_count(t, "calls", "combine", 1); return add(t, k, n); }
static int reduce(MrTask *t, void *state, const void *k, size_t n) { return add(t, k, n); }
static int reduce_end(MrTask *t, void *state)
{
        char text[200];
        const MrInfo *i = mr_info(t);
        int n = snprintf(text, sizeof(text), "~%u of %u, %s, map %d, input %s\n", i->task, i->partitions, i->job_name, i->is_map,
                         i->input ? i->input : "none");
        return mr_write(t, text, n);
}
static uint32_t partition(MrTask *t, void *state, const void *k, size_t n, uint32_t partitions)
{
        return ((const char *) k)[n - 1] % partitions;
}
static const MrParameter parameters[] = {{"modulus", NULL, "what keys are the rest of"}, {}};
const MrPlugin mapreduce_plugin = {MR_PLUGIN_HEADER, .name = "e", .parameters = parameters, .setup = setup, .teardown = teardown,
                                   .map = map, .combine = combine, .reduce = reduce, .reduce_end = reduce_end, .partition = partition};
"""), "e.so")
        numbers = [i * 7919 % 100003 for i in range(5000)]
        path, out = self.file("in", "".join(f"{n}\n" for n in numbers)), self.dir / "out"
        p = self.local("--app", so, "--input", path, "--split-size", "4K", "--reduces", "2", "--name", "calls", "--output", out, "-q",
                       "--json=short", "--", "modulus=37")
        self.assertOk(p)
        want = {}
        for n in numbers:
            want[str(n % 37)] = want.get(str(n % 37), 0) + n
        for i in range(2):
            rows = sorted((k, v) for k, v in want.items() if ord(k[-1]) % 2 == i)
            self.assertEqual((out / f"part-{i:05}").read_text(),
                             "".join(f"{k}\t{v}\n" for k, v in rows) + f"~{i} of 2, calls, map 0, input none\n")
        job = json.loads(p.stdout)
        counters = job["Counters"]
        self.assertEqual(counters["calls:setup"], job["Maps"] + 2)
        self.assertEqual(counters["calls:teardown"], job["Maps"] + 2)
        self.assertGreater(counters["calls:combine"], 0)
        self.assertFails(self.local("--app", so, "--input", path), "modulus")

    def test_ordered(self):
        """values in the order that was asked for, whatever the splits; counters; status; map_end; reduce_end"""
        so = self.build(self.file("o.c", """
#include <mapreduce.h>
#include <stdio.h>
#include <string.h>
static int map(MrTask *t, void *s, const void *l, size_t n)
{
        const char *p = l, *tab = memchr(l, '\\t', n);
        mr_count(t, "seen", "lines", 1);
        return mr_emit_ordered(t, p, tab - p, tab + 1, n - (tab + 1 - p), "v", 1);
}
static int map_end(MrTask *t, void *s)
{
        char at[16];
        mr_count(t, "seen", "pieces", 1);
        mr_status(t, "done");
        return mr_emit_ordered(t, "~piece", 6, at, snprintf(at, sizeof(at), "%08d", (int) mr_info(t)->offset), "", 0);
}
static int reduce(MrTask *t, void *s, const void *k, size_t n)
{
        const void *v, *o;
        size_t vn, on;
        int r = mr_write(t, k, n);
        while (r >= 0 && (r = mr_next(t, &v, &vn)) > 0) {
                mr_write(t, ":", 1);
                r = mr_order(t, &o, &on);
                if (r >= 0)
                        r = mr_write(t, o, on);
        }
        return r < 0 ? r : mr_write(t, "\\n", 1);
}
static int reduce_end(MrTask *t, void *s) { return mr_emit(t, "~end", 4, "", 0); }
const MrPlugin mapreduce_plugin = {MR_PLUGIN_HEADER, .name = "o", .ordered = 1, .map = map, .map_end = map_end,
                                   .reduce = reduce, .reduce_end = reduce_end};
"""), "o.so")
        rng = random.Random(1)
        keys = ["", "a", "a\0", "a\0\0", "a\0b", "a\xff", "b", "ab", "\0", "\0\xff"]
        rows = [(rng.choice(keys), "".join(rng.choice("\0a\xff") for _ in range(rng.randrange(4)))) for _ in range(4000)]
        path = self.file("in", "\n".join(k + "\t" + o for k, o in rows).encode("latin-1"))
        want = {}
        for k, o in rows:
            want.setdefault(k.encode("latin-1"), []).append(o.encode("latin-1"))
        want = b"".join(b":".join([k, *sorted(v)]) + b"\n" for k, v in sorted(want.items()))
        out = self.dir / "out"
        p = self.local("--app", so, "--input", path, "--split-size", "4K", "--output", out, "-q", "--json=short")
        self.assertOk(p)
        *got, pieces, end = (out / "part-00000").read_bytes().splitlines(True)
        self.assertSameLines(b"".join([*got, end]), want + b"~end\n")
        count = -(-os.path.getsize(path) // 4096)
        self.assertGreater(count, 2)
        self.assertRegex(pieces, rb"\A~piece:00000000(:[0-9]{8}){%d}\n\Z" % (count - 1))
        self.assertEqual(pieces.split(b":")[1:], sorted(set(pieces.split(b":")[1:])))
        counters = json.loads(p.stdout)["Counters"]
        self.assertEqual((counters["seen:lines"], counters["seen:pieces"]), (4000, count))

    def test_records(self):
        """record=: map() has so many bytes at a time, whatever is in them, also of more than a block; sort has longer ones than 64 KiB"""
        so = self.build(self.file("r.c", """
#include <mapreduce.h>
#include <stdio.h>
static int map(MrTask *t, void *s, const void *record, size_t n)
{
        const unsigned char *p = record;
        char value[64];
        unsigned sum = 0;
        for (size_t i = 0; i < n; i++)
                sum = sum * 31 + p[i];
        return mr_emit(t, p, 4, value, snprintf(value, sizeof(value), "%zu %u", n, sum));
}
static const MrParameter parameters[] = {{"record", "0", "bytes of a record; 0: lines"}, {}};
const MrPlugin mapreduce_plugin = {MR_PLUGIN_HEADER, .name = "r", .parameters = parameters, .map = map};
"""), "r.so")

        def value(record):
            n = 0
            for b in record:
                n = (n * 31 + b) % 2**32
            return n

        rng = random.Random(12)
        for size, count in ((1000, 300), (70001, 8), (300000, 3)):
            records = [b"%04d" % i + rng.randbytes(7) + b"\n\0\r\n" * (size // 4) for i in range(count)]
            records = [r[:size - 1] + bytes([rng.randrange(256)]) for r in records]
            rng.shuffle(records)
            path = self.file(f"records-{size}", b"".join(records))
            p = self.local("--json=short", "--app", so, "--input", path, "--split-size", "50000", "--reduces", "1", "--output",
                           self.dir / f"out-{size}", "--", f"record={size}")
            self.assertOk(p)
            self.assertSameLines((self.dir / f"out-{size}/part-00000").read_bytes(),
                                 b"".join(b"%s\t%d %d\n" % (r[:4], size, value(r)) for r in sorted(records)))
            job = json.loads(p.stdout)
            self.assertEqual((job["Counters"]["map_input_records"], job["Counters"]["map_input_bytes"]), (count, count * size))
            self.assertEqual(job["Maps"], -(-count * size // 50000))
            for args, key in (([], None), (["key-bytes=4"], 4)):
                p = self.local("--app", "sort", "-q", "--reduces", "3", "--split-size", "100K", "--input", path, "--", f"record={size}", *args)
                self.assertOk(p)
                self.assertEqual(p.stdout, b"".join(sorted(records, key=lambda r: r[:key])), (size, args))
        self.assertFails(self.local("--app", so, "--input", path, "--max-attempts", "1", "--", "record=299999"), "no whole number of records")
        packed = self.file("z.gz", gzip.compress(b"x" * 100))
        self.assertFails(self.local("--app", so, "--input", packed, "--max-attempts", "1", "--", "record=10"), "record= takes plain files")

    @unittest.skipIf(mr.SANITIZED, "sanitizers have memory of their own")
    def test_little_memory(self):
        """a result of 96 MiB in three parts is merged and printed while none of our processes ever holds half of it"""
        so = self.build(self.file("m.c", """
#include <mapreduce.h>
#include <stdio.h>
#define ROWS 98304
static int map(MrTask *t, void *s, const void *line, size_t n) { return mr_emit(t, line, n, "", 0); }
static int reduce(MrTask *t, void *s, const void *key, size_t n)
{
        char row[1100];
        int r = 0;
        for (int i = *(const char *) key - '0'; i < ROWS && r >= 0; i += 3)
                r = mr_write(t, row, snprintf(row, sizeof(row), "%06d\\t%01000d\\n", i, i));
        return r;
}
static uint32_t partition(MrTask *t, void *s, const void *k, size_t n, uint32_t partitions) { return *(const char *) k % partitions; }
const MrPlugin mapreduce_plugin = {MR_PLUGIN_HEADER, .name = "m", .map = map, .reduce = reduce, .partition = partition};
"""), "m.so")
        out = self.dir / "printed"
        with open(out, "wb") as f:
            p = subprocess.Popen([mr.MRCTL, "--local", "run", "-q", "--app", so, "--reduces", "3", "--input", self.file("in", "0\n1\n2\n")],
                                 stdin=subprocess.DEVNULL, stdout=f, env=self.env, cwd=self.dir)
            _, p.returncode, usage = os.wait4(p.pid, 0)
        self.assertEqual(p.returncode, 0)
        shell("""seq -f '%06.0f' 0 98303 | awk '{printf "%s\\t%01000d\\n", $1, $1}' | cmp - "$1" """, out)
        # Of mrctl and of all that it waited for: the most that one of them had.
        print(f"# {usage.ru_maxrss} KiB")
        self.assertLess(usage.ru_maxrss, 48 << 10, "KiB")

    def test_no_reduce(self):
        """--reduces 0: what map() and map_end() emit are the lines of the parts, as they come"""
        so = self.build(self.file("n.c", """
#include <mapreduce.h>
#include <stdio.h>
#include <string.h>
static int map(MrTask *t, void *s, const void *line, size_t n)
{
        const char *p = line, *blank = memchr(p, ' ', n);
        int r = blank ? mr_emit(t, blank + 1, n - (blank + 1 - p), p, blank - p) : mr_emit(t, p, n, "", 0);
        return r < 0 ? r : mr_emit_number(t, "size", 4, n);
}
static int map_end(MrTask *t, void *s)
{
        char text[64];
        const MrInfo *i = mr_info(t);
        return mr_emit(t, "end", 3, text, snprintf(text, sizeof(text), "%d of %d, %d", (int) i->offset, (int) i->length, (int) i->partitions));
}
const MrPlugin mapreduce_plugin = {MR_PLUGIN_HEADER, .name = "n", .map = map, .map_end = map_end};
"""), "n.so")
        rng = random.Random(13)
        rows = [rng.choice(["z", "a b", "x  y", " q", ""]) + "c" * rng.randrange(50) for _ in range(900)]
        data = "".join(r + "\n" for r in rows)
        path, out = self.file("in", data), self.dir / "out"
        p = self.local("--json=short", "--app", so, "--input", path, "--reduces", "0", "--split-size", "4096", "--output", out)
        self.assertOk(p)
        parts = [(out / f"part-{i:05}").read_text() for i in range(-(-len(data) // 4096))]
        self.assertGreater(len(parts), 2)
        self.assertEqual(sorted(os.listdir(out)), ["_SUCCESS", *(f"part-{i:05}" for i in range(len(parts)))])
        ends = [re.search(r"(?<=\n)end\t(\d+) of (\d+), 0\n\Z", part) for part in parts]
        begins = [int(m.group(1)) for m in ends]
        self.assertEqual([0, *(b + int(m.group(2)) for b, m in zip(begins, ends))], [*begins, len(data)])
        want, offset = ["" for _ in parts], 0
        for row in rows:
            key, value = row.split(" ", 1)[::-1] if " " in row else (row, "")
            # A line is of the piece that has the newline before it.
            piece = bisect.bisect_right(begins, max(offset - 1, 0)) - 1
            want[piece] += (f"{key}\t{value}\n" if value else f"{key}\n") + f"size\t{len(row)}\n"
            offset += len(row) + 1
        self.assertEqual(parts, [lines + m.group() for lines, m in zip(want, ends)])
        job = json.loads(p.stdout)
        self.assertEqual(job["Counters"]["map_output_records"], 2 * len(rows) + len(parts))
        p = self.local("-q", "--app", so, "--input", path, "--reduces", "0", "--split-size", "4096")
        self.assertOk(p)
        self.assertEqual(p.stdout.decode(), "".join(parts))


tap.main(at_once=2)
