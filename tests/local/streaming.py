"""Commands in the Hadoop Streaming way: the same counts, its environment, its stderr lines, its failures."""

import io
import json
import os
import pathlib
import random
import resource
import subprocess
import sys
import tarfile
import time
import unittest
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

MAPPER = """#!/usr/bin/python3
import sys
for line in sys.stdin.buffer:
    for word in line.split():
        sys.stdout.buffer.write(word + b"\\t1\\n")
"""
REDUCER = """#!/usr/bin/python3
import sys
last, total = None, 0
for line in sys.stdin.buffer:
    key, value = line.rstrip(b"\\n").split(b"\\t", 1)
    if key != last:
        if last is not None:
            sys.stdout.buffer.write(last + b"\\t%d\\n" % total)
        last, total = key, 0
    total += int(value)
if last is not None:
    sys.stdout.buffer.write(last + b"\\t%d\\n" % total)
"""




def shell(script, *args):
    """What a pipeline of coreutils and awk says, in byte order."""
    return subprocess.run(["bash", "-ec", script, "-", *map(str, args)], stdout=subprocess.PIPE, check=True,
                          env=dict(os.environ, LC_ALL="C")).stdout


class Python(mr.Scratch):
    def setUp(self):
        super().setUp()
        self.script("m.py", MAPPER)
        self.script("r.py", REDUCER)
        self.data = b"".join(b"the %d quick brown fox of line %d\n" % (i % 7, i % 100) for i in range(5000))
        self.input = self.file("in.txt", self.data)
        self.want = mr.coreutils_wordcount([self.input])

    def test_counts(self):
        """a Python mapper and reducer give the same counts"""
        p = self.local("--mapper", "./m.py", "--reducer", "./r.py", "--input", self.input, "-q")
        self.assertOk(p)
        self.assertSameLines(p.stdout, self.want)
        self.assertNothingLeft()

    def test_counts_many(self):
        """the same with a combiner, three reduces and small splits"""
        p = self.local("--mapper", "./m.py", "--combiner", "./r.py", "--reducer", "./r.py", "--reduces", "3",
                       "--split-size", "20K", "--input", self.input, "-q")
        self.assertOk(p)
        self.assertSameLines(p.stdout, self.want)

    def test_examples(self):
        """the example to copy gives the same counts"""
        example = mr.SOURCE / "examples/streaming-python"
        p = self.local("--mapper", "./m.py", "--reducer", "./r.py", "--input", self.input, "-q", cwd=example)
        self.assertOk(p)
        self.assertSameLines(p.stdout, self.want)


class BuiltInReduce(mr.Scratch):
    def setUp(self):
        super().setUp()
        rows = [(f"{random.choice('abcdef')}{random.randrange(300)}", random.randrange(10 ** random.randrange(1, 12))) for _ in range(20000)]
        self.input = self.file("in.txt", "".join(f"{k} {n}\n" for k, n in rows))

    def reduced(self, name, *more, mapper="tr ' ' '\\t'"):
        return self.local("-q", "--mapper", mapper, "--reducer-app", name, "--input", self.input, "--split-size", "64K", "--reduces", "3", *more)

    def test_built_in_reduces(self):
        """sum, max, min, count and distinct of a command's lines are what sort, uniq and awk say"""
        largest = "sort -k1,1 -k2,2nr \"$1\" | sort -s -u -k1,1 | tr ' ' '\\t'"
        for name, script in (("sum", "awk '{n[$1] += $2} END {for (k in n) printf \"%s\\t%d\\n\", k, n[k]}' \"$1\" | sort"),
                             ("max", largest), ("min", largest.replace("2nr", "2n")),
                             ("count", "cut -d' ' -f1 \"$1\" | sort | uniq -c | awk '{print $2 \"\\t\" $1}'"),
                             ("distinct", "cut -d' ' -f1 \"$1\" | sort -u")):
            with self.subTest(app=name):
                p = self.reduced(name)
                self.assertOk(p)
                self.assertEqual(p.stdout, shell(script, self.input))

    def test_combined_in_the_maps(self):
        """what the reduces are sent is each key about once a map, and not every line"""
        p = self.reduced("sum", "--output=out", "--json=short")
        self.assertOk(p)
        job = json.loads(p.stdout)
        keys = len({line.split(b" ")[0] for line in pathlib.Path(self.input).read_bytes().splitlines()})
        self.assertEqual(job["Counters"]["map_output_records"], 20000)
        self.assertEqual(job["Counters"]["reduce_input_groups"], keys)
        self.assertLess(job["Counters"]["reduce_input_records"], 1.5 * keys * job["Maps"])

    def test_built_in_reduce_by_part_of_the_key(self):
        """the first field of the key chooses the reduce: a part has all keys that begin with it"""
        p = self.reduced("count", "--map-field-separator=,", "--map-key-fields=2", "--partition-key-fields=1", "--output=out",
                         mapper="sed 's/^\\(.\\)\\([0-9]*\\) /\\1,\\2,/'")
        self.assertOk(p)
        parts = [(self.dir / f"out/part-{i:05}").read_text().splitlines() for i in range(3)]
        first = [{line[0] for line in part} for part in parts]
        self.assertEqual(sum(map(len, first)), len(set().union(*first)))
        self.assertEqual("".join(f"{line}\n" for line in sorted(sum(parts, []))),
                         shell("sed 's/^\\(.\\)/\\1,/' \"$1\" | cut -d' ' -f1 | sort | uniq -c | awk '{print $2 \"\\t\" $1}'", self.input).decode())

    def test_no_number(self):
        """a value that is no number fails the attempt by name, where one is needed; a sum stops at the end of its range"""
        for value in ("1.5", "-1", "", "18446744073709551616", "many"):
            for name in ("sum", "min", "max"):
                with self.subTest(value=value, app=name):
                    p = self.local("-q", "--mapper", "cat", "--reducer-app", name, "--max-attempts=1", "--input", self.file("in", f"k\t{value}\n"))
                    self.assertFails(p, f'map-0: the mapper wrote "{value}" for the key "k": {name} takes whole numbers', code=1)
        path = self.file("in", "k\t18446744073709551615\nk\t18446744073709551615\n\t1\n")
        for name, want in (("sum", b"\t1\nk\t18446744073709551615\n"), ("count", b"\t1\nk\t2\n"), ("distinct", b"\nk\n")):
            p = self.local("-q", "--reducer-app", name, "--input", path)
            self.assertOk(p)
            self.assertEqual(p.stdout, want)


class Commands(mr.Scratch):
    def test_identity(self):
        """without a reducer the mapper's lines come out sorted by key"""
        p = self.local("--mapper", "cat", "--input", self.file("in", "b\t2\na\t1\nc\nb\t1\n"), "-q")
        self.assertOk(p)
        rows = p.stdout.split(b"\n")
        self.assertEqual(rows[0], b"a\t1")
        self.assertEqual(sorted(rows[1:3]), [b"b\t1", b"b\t2"])
        self.assertEqual(rows[3:], [b"c", b""])

    def test_reducer_sees_sorted_keys(self):
        """the reducer's input is sorted by key in byte order"""
        data = b"".join(b"%d\tx\n" % (i * 7919 % 1000) for i in range(1000))
        p = self.local("--mapper", "cat", "--reducer", "cut -f1", "--split-size", "4K", "--input", self.file("in", data), "-q")
        self.assertOk(p)
        self.assertEqual(p.stdout.split(), sorted(b"%d" % i for i in range(1000)))

    def test_unsorted_result(self):
        """a reducer whose output is in no order still prints sorted by key"""
        data = b"".join(b"%d\n" % i for i in range(100))
        p = self.local("--mapper", "cat", "--reducer", "cut -f1 | shuf", "--reduces", "3", "--input", self.file("in", data), "-q")
        self.assertOk(p)
        self.assertEqual(p.stdout.split(), sorted(b"%d" % i for i in range(100)))

    def test_environment(self):
        """Hadoop's environment variables are there, and the job's own"""
        path = self.file("in", "x\n")
        p = self.local("--mapper", 'cat >/dev/null; printf "file\\t%s\\n" "$mapreduce_map_input_file"; '
                       'printf "start\\t%s\\n" "$mapreduce_map_input_start"; printf "own\\t%s\\n" "$OWN"',
                       "--env", "OWN=value with spaces", "--input", path, "-q")
        self.assertOk(p)
        self.assertEqual(p.stdout.decode(), f"file\t{path}\nown\tvalue with spaces\nstart\t0\n")

    def test_shipped_file(self):
        """a shipped file lies in the working directory"""
        self.file("sub/words.txt", "x\n")
        p = self.local("--mapper", "grep -c -f words.txt", "--file", "sub/words.txt", "--input", self.file("in", "x\ny\nx\n"), "-q")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"2\n")

    def test_shipped_under_another_name(self):
        """--file FILE#NAME: two files of one name, one file twice, and a file whose own name has a #; what is no name is refused"""
        for name, text in (("a/list", "x\n"), ("b/list", "x\ny\n"), ("hash#tag", "hash\n"), ("c#d", "c\n"), ("empty", "")):
            self.file(name, text)
        base = ("--input", self.file("in", "x\ny\nx\n"), "-q", "--mapper", "cat >/dev/null; ls; cat list other again 'hash#tag' name", "--reduces", "0")
        ship = ("--file", "a/list", "--file", "b/list#other", "--file", "b/list#again", "--file", "hash#tag", "--file", "c#d#name", "--file", "a/list#list")
        want = b"again\nhash#tag\nlist\nname\nother\nx\nx\ny\nx\ny\nhash\nc\n"
        p = self.local(*base, *ship)
        self.assertOk(p)
        self.assertEqual(p.stdout, want)
        p = self.mrctl("run", "--print-job", *base, *ship)
        self.assertOk(p)
        p = self.local("-q", self.file("elsewhere/copy.job", p.stdout), cwd="/")
        self.assertOk(p)
        self.assertEqual(p.stdout, want)
        for bad in ("a/list#", "a/list#.", "a/list#..", "a/list#x/y", "a#/list"):
            self.assertFails(self.local(*base, "--file", bad), f"cannot ship {bad}: not a plain name behind the #")
        for both in (("a/list", "b/list"), ("a/list#one", "b/list#one"), ("a/list#empty", "empty")):
            self.assertFails(self.local(*base, "--file", both[0], "--file", both[1]), "cannot ship both", "both would be called")
        self.assertFails(self.local(*base, "--file", "nothing#name"), "cannot ship nothing: No such file")

    def test_mapper_that_does_not_read(self):
        """a mapper that does not read its input may still succeed"""
        p = self.local("--mapper", "echo done", "--input", self.file("in", b"x\n" * 500000), "-q")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"done\n")

    def test_words(self):
        """a path and plain words, which need no shell, a script that says no interpreter, and what only a shell understands"""
        self.script("words.py", "#!/usr/bin/python3\nimport sys\nprint('|'.join(sys.argv[1:]))\n")
        self.script("bare", "cat >/dev/null; echo \"bare $1\"\n")
        self.file("in", "x\n")
        for mapper, want in (("./words.py one a=b --c=d,e f/g", "one|a=b|--c=d,e|f/g"), ("./words.py 'o n e' \"t$((1 + 1))\"", "o n e|t2"),
                             ("./words.py  two", "two"), ("./bare arg", "bare arg"), ("V=1 ./words.py x", "x"),
                             ("/bin/echo a -n", "a -n"), ("echo b | /usr/bin/tr a-z A-Z", "B")):
            p = self.local("--mapper", mapper, "--file", "words.py", "--reduces", "0", "--input", "in", "-q")
            self.assertOk(p)
            self.assertEqual(p.stdout.decode(), want + "\n", mapper)

    def test_few_wake_ups(self):
        """a command that moves small blocks is looked after from time to time, not at each of them"""
        data = self.dir / "in"
        with open(data, "wb") as f:
            for i in range(64):
                f.write((b"%07d\n" % i) * (1 << 17))
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_nvcsw, time.monotonic()
        p = self.local("--mapper", "tr 0-9 a-j", "--reduces", "0", "--slots", "1", "--input", data, "--output", self.dir / "out", "-q")
        seconds = time.monotonic() - start
        self.assertOk(p)
        # 8,192 blocks of 8 KiB, each of which might wake us twice. A nap is as long as 2 ms.
        self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_nvcsw - before, 700 + seconds / 0.002)

    def test_splits_by_slots(self):
        """a command's splits become smaller to the end; those of outputs that are to be known again are equally long"""
        data = self.dir / "in"
        with open(data, "wb") as f:
            f.truncate(190 << 20)
        tell = "echo $mapreduce_map_input_start $mapreduce_map_input_length"
        for slots, options, mib in (("1", (), [95, 47.5, 47.5]), ("2", (), [64, 63, 63]), ("1", ("--reuse", "yes"), [190 / 3] * 3)):
            p = self.local("--mapper", tell, "--reduces", "0", "--slots", slots, *options, "--input", data, "-q")
            self.assertOk(p)
            at = 0
            for line, want in zip(p.stdout.splitlines(), mib, strict=True):
                start, length = (int(n) for n in line.split())
                self.assertEqual(start, at)
                self.assertAlmostEqual(length / (1 << 20), want, places=5)
                at += length
            self.assertEqual(at, 190 << 20)

    def test_batch(self):
        """what tasks run is scheduled as batch jobs are, and does as whoever starts them says otherwise"""
        policy = ("--mapper", "cut -d ' ' -f 41 /proc/self/stat", "--reduces", "0", "--input", self.file("in", "x\n"), "-q")
        for how, want in (((), b"3\n"), (("chrt", "--idle", "0"), b"5\n")): # SCHED_BATCH and SCHED_IDLE of sched(7)
            p = subprocess.run([*how, mr.MRCTL, "--local", "run", *policy], env=self.env, capture_output=True, timeout=60, check=False)
            self.assertOk(p)
            self.assertEqual(p.stdout, want)

    def test_much_output_before_reading(self):
        """a mapper that writes much before it reads does not hang"""
        p = self.local("--mapper", "head -c 3000000 /dev/zero | tr '\\0' 'a' | fold -w 99; echo; cat", "--reducer", "wc -l",
                       "--input", self.file("in", b"x\n" * 300000), "-q")
        self.assertOk(p)
        self.assertEqual(int(p.stdout), 30304 + 300000)


class Fields(mr.Scratch):
    """Separators and numbers of key fields, against awk, sort and cut."""

    def setUp(self):
        super().setUp()
        rng = random.Random(7)
        rows = [",".join([f"{rng.randrange(2000, 2020)}", f"{rng.randrange(1, 13):02}", rng.choice(["a", "b", "", "c,c"]), str(i)])
                for i in range(3000)] + ["2001", "", ",", "2003,", ",05,x"]
        rng.shuffle(rows)
        self.input = self.file("in.csv", "\n".join(rows) + "\n")

    def run_job(self, *args):
        p = self.local("--input", self.input, "-q", "--split-size", "16K", *args)
        self.assertOk(p)
        return p.stdout

    def parts(self, reduces, *args):
        out = self.dir / f"out-{len(os.listdir(self.dir))}"
        self.run_job("--reduces", reduces, "--output", out, *args)
        return [(out / f"part-{i:05}").read_bytes() for i in range(reduces)]

    def test_map_separator(self):
        """--map-field-separator: the key is what stands before the first one; the reducer sees a TAB"""
        got = self.run_job("--mapper", "cat", "--map-field-separator", ",", "--reducer", "cat")
        want = shell("""awk '{i = index($0, ","); if (i) print substr($0, 1, i - 1) "\\t" substr($0, i + 1); else print $0 "\\t"}' "$1" """, self.input)
        self.assertEqual(sorted(got.splitlines()), sorted(want.splitlines()))
        keys = [row.split(b"\t")[0] for row in got.splitlines()]
        self.assertEqual(keys, sorted(keys))

    def test_key_fields(self):
        """--map-key-fields, --reduce-field-separator: lines with two key fields, counted as cut | sort | uniq -c"""
        got = self.run_job("--mapper", "cat", "--map-field-separator", ",", "--map-key-fields", "2", "--reduce-field-separator", "|",
                           "--reducer", "cut -d'|' -f1 | uniq -c | awk '{n = $1; sub(/^ *[0-9]+ /, \"\"); print $0 \"\\t\" n}'")
        want = shell("""awk -F, '{if (NF > 2) print $1 "," $2; else print $0}' "$1" | sort | uniq -c |
                        awk '{n = $1; sub(/^ *[0-9]+ /, ""); print $0 "\\t" n}'""", self.input)
        self.assertEqual(sorted(got.splitlines()), sorted(want.splitlines()))

    def test_partition_fields(self):
        """--partition-key-fields: equal first fields meet in one part, there in the order of both fields"""
        parts = self.parts(4, "--mapper", "cat", "--map-field-separator", ",", "--map-key-fields", "2",
                           "--partition-key-fields", "1", "--reduce-field-separator", ",", "--reducer", "cat")
        seen = {}
        for i, part in enumerate(parts):
            keys = []
            for row in part.splitlines():
                fields = row.split(b",")
                self.assertEqual(seen.setdefault(fields[0], i), i, "one year, two parts")
                keys.append(b",".join(fields[:2]))
            self.assertEqual(keys, sorted(keys))
        self.assertGreater(len(set(seen.values())), 1)
        want = shell("""awk -F, '{if (NF > 2) print; else print $0 ","}' "$1" """, self.input)
        self.assertEqual(sorted(b"".join(parts).splitlines()), sorted(want.splitlines()))

    def test_separators(self):
        """separators of several bytes and of control bytes; the combiner reads what mappers write"""
        for typed, raw in ((r"\x01", "\x01"), (r"\0", "\0"), ("::", "::"), (r"\\", "\\")):
            data = self.file("sep", "".join(f"k{i % 7}{raw}{i % 5}{raw}x\n" for i in range(500)))
            p = self.local("--input", data, "-q", "--mapper", "cat", "--map-field-separator", typed, "--map-key-fields", "2",
                           "--combiner", "cat", "--reduce-field-separator", "=", "--reducer", "uniq -c | awk '{print $2 \"\\t\" $1}'",
                           "--split-size", "4K")
            self.assertOk(p)
            want = "".join(sorted(f"k{i % 7}{raw}{i % 5}=x\t{500 // 35 + (i < 500 % 35)}\n" for i in range(35)))
            if raw != "\0": # awk's lines end there
                self.assertEqual(p.stdout.decode(), want)
            else:
                self.assertEqual(len(p.stdout.splitlines()), 35)

    def test_wrong(self):
        """what cannot be meant is refused with the name of the setting"""
        base = ["--input", self.input, "--mapper", "cat"]
        for args, needle in ((["--map-field-separator", r"\q"], "MapFieldSeparator"),
                             (["--reduce-field-separator", "a\nb"], "ReduceFieldSeparator"),
                             (["--partition-key-fields", "2"], "MapKeyFields=1"),
                             (["--reduces", "0", "--reducer", "cat"], "Reduces=0"),
                             (["--sort-key-fields", "2"], "MapKeyFields=1"),
                             (["--sort-key-fields", "1x"], "SortKeyFields=1x"),
                             (["--sort-key-fields", "1", "--reduces", "0"], "Reduces=0"),
                             (["--sort-key-fields", "1", "--reducer-app", "sum"], "ReducerApp=sum"),
                             (["--archive", __file__ + "#a/b"], "not a plain name")):
            self.assertFails(self.local(*base, *args), needle)
        self.assertFails(self.local("--input", self.input, "--app", "wordcount", "--reduces", "0"), "Reduces=0")
        self.assertFails(self.local("--input", self.input, "--app", "wordcount", "--map-key-fields", "2"), "App=wordcount")
        self.assertFails(self.local("--input", self.input, "--app", "wordcount", "--sort-key-fields", "1"), "App=wordcount")


class Order(mr.Scratch):
    """--sort-key-fields, against sort -k. ORDER_SEED=N in the environment makes the same input again."""

    SEED = int(os.environ.get("ORDER_SEED", random.SystemRandom().randrange(1 << 32)))
    MANY = ("--map-field-separator", ",", "--reduce-field-separator", ",", "--split-size", "16K", "--reduces", "3")

    @classmethod
    def setUpClass(cls):
        print(f"# ORDER_SEED={cls.SEED}", flush=True)

    def setUp(self):
        super().setUp()
        r = random.Random(self.SEED)
        numbers = ["", "0", "-0", "-", "0007", "7.0", "7.10", "-7.1", "-7.10", ".5", "-.5", "+3", "1e3", " 12", "12 ", "\t-3", "x1", "--1",
                   "123456789012345678901234567890", "-123456789012345678901234567890", "0.00000000000000000001", "\0", "\xff", "1\xff"]
        rows = [",".join([r.choice(["a", "b", "ab", "", "\0", "\xff", "a\0"]), r.choice(numbers + [str(r.randrange(-99, 99))]),
                          r.choice(["x", "y"])][:r.choice([1, 2, 3, 3, 3])]) for _ in range(6000)]
        self.input = self.file("in", "".join(f"{row}\n" for row in rows).encode("latin-1"))

    def test_sort_key_fields(self):
        """keys come as sort -k has them: by text and by number, both ways; to a command, and where there is no reducer"""
        for fields, keys in (("2n", "-k2,2n"), ("2nr", "-k2,2nr"), ("1,2rn", "-k1,1 -k2,2nr"), ("1r,3,2n", "-k1,1r -k3,3 -k2,2n"), ("2r", "-k2,2r")):
            want = shell(f'sort -t, {keys} "$1"', self.input)
            for reducer in ("sed 's/\\t$//'", "identity"):
                p = self.local("--input", self.input, "-q", "--mapper", "cat", "--map-field-separator", ",", "--map-key-fields", "3",
                               "--split-size", "16K", "--sort-key-fields", fields, "--reducer", reducer)
                self.assertOk(p)
                self.assertEqual(p.stdout, want, (fields, reducer))

    def test_secondary_sort(self):
        """the first field of the key chooses the part, and the second one is the order in it; equal keys stand together"""
        out = self.dir / "out"
        self.assertOk(self.local("--input", self.input, "-q", "--mapper", "cat", *self.MANY, "--map-key-fields", "2", "--partition-key-fields", "1",
                                 "--sort-key-fields", "1,2nr", "--output", out, "--reducer", "cat"))
        rows, seen = [], {}
        for part in range(3):
            path = out / f"part-{part:05}"
            shell('sort -s -c -t, -k1,1 -k2,2nr "$1"', path)
            keys = [b",".join(row.split(b",")[:2]) for row in path.read_bytes().splitlines()]
            self.assertEqual(sum(a != b for a, b in zip(keys, keys[1:])), len(set(keys)) - 1)
            for key in keys:
                self.assertEqual(seen.setdefault(key.split(b",")[0], part), part, "one first field, two parts")
            rows += path.read_bytes().splitlines()
        self.assertEqual(len(set(seen.values())), 3)
        # A key without a value is followed by a separator, too.
        self.assertEqual(sorted(row.rstrip(b",") for row in rows),
                         sorted(row.rstrip(b",") for row in pathlib.Path(self.input).read_bytes().splitlines()))

    def test_combiner(self):
        """a combiner sees the keys as they are, in that order, and what it writes is sorted so again"""
        combiner = self.script("sees.sh", """#!/bin/sh
cat >"$TMPDIR/$MR_TASK"
LC_ALL=C sort -s -c -t, -k2,2nr -k1,1 "$TMPDIR/$MR_TASK" && exec shuf "$TMPDIR/$MR_TASK"
""")
        p = self.local("--input", self.input, "-q", "--mapper", "cat", "--map-field-separator", ",", "--map-key-fields", "3", "--split-size", "16K",
                       "--sort-key-fields", "2nr,1", "--combiner", combiner, "--env", f"TMPDIR={self.dir}", "--reducer", "sed 's/\t$//'")
        self.assertOk(p)
        # A key without a value goes to the combiner with a separator behind it, which then is the key's if there is room.
        self.assertEqual(p.stdout, shell("sed '/,.*,/!s/$/,/' \"$1\" | sort -t, -k2,2nr -k1,1", self.input))

    def test_printed(self):
        """a result of several parts is printed part after part, as --output has it"""
        job = ("--input", self.input, "-q", "--mapper", "cat", *self.MANY, "--map-key-fields", "3", "--sort-key-fields", "2nr", "--reducer", "cat")
        self.assertOk(self.local(*job, "--output", "out"))
        p = self.local(*job)
        self.assertOk(p)
        self.assertEqual(p.stdout, b"".join((self.dir / f"out/part-{i:05}").read_bytes() for i in range(3)))


class MapOnly(mr.Scratch):
    """--reduces 0: what the mappers write is the result."""

    def setUp(self):
        super().setUp()
        self.data = b"".join(b"%d line %d\n" % (i * 7919 % 10007, i) for i in range(20000)) + b"unended"
        self.input = self.file("in.txt", self.data)

    def test_order(self):
        """the parts, one a split, are the mapper's output in the order of the input; without --output they are printed so"""
        want = shell("""sed 's/line/LINE/' "$1"; echo""", self.input)
        p = self.local("--input", self.input, "-q", "--mapper", "sed s/line/LINE/", "--reduces", "0", "--split-size", "32K")
        self.assertOk(p)
        self.assertSameLines(p.stdout, want)
        out = self.dir / "out"
        p = self.local("--input", self.input, "--json=short", "-q", "--mapper", "sed s/line/LINE/", "--reducer", "none", "--split-size", "32K",
                       "--output", out)
        self.assertOk(p)
        names = sorted(os.listdir(out))
        self.assertEqual(names, ["_SUCCESS"] + [f"part-{i:05}" for i in range(len(names) - 1)])
        self.assertGreater(len(names), 10)
        self.assertSameLines(b"".join((out / n).read_bytes() for n in names[1:]), want)
        self.assertNothingLeft()

    def test_identity(self):
        """the identity mapper, by name and for want of a mapper, with and without reduces"""
        want = self.data + b"\n"
        p = self.local("--input", self.input, "-q", "--mapper", "identity", "--reduces", "0", "--split-size", "32K")
        self.assertOk(p)
        self.assertSameLines(p.stdout, want)
        p = self.local("--input", self.input, "-q", "--reducer", "cut -f1", "--reduces", "3", "--split-size", "32K")
        self.assertOk(p)
        self.assertSameLines(p.stdout, shell('sort "$1"', self.input))
        p = self.local("--input", self.input, "-q", "--mapper", "identity", "--reducer", "identity", "--split-size", "32K")
        self.assertOk(p)
        self.assertSameLines(p.stdout, shell('sort "$1"', self.input))

    def test_no_output(self):
        """mappers that write nothing, and an empty input, make empty parts"""
        out = self.dir / "out"
        self.assertOk(self.local("--input", self.input, "-q", "--mapper", "cat >/dev/null", "--reduces", "0", "--output", out))
        self.assertEqual((out / "part-00000").read_bytes(), b"")
        p = self.local("--input", self.file("empty"), "-q", "--mapper", "cat", "--reduces", "0")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"")

    def test_failure(self):
        """a mapper that fails leaves no part, and its sentence"""
        out = self.dir / "out"
        p = self.local("--input", self.input, "--mapper", "head -n 1; exit 4", "--reduces", "0", "--max-attempts", "2", "--output", out)
        self.assertFails(p, "map-0", "exited with status 4")
        self.assertFalse(os.path.exists(out) and os.listdir(out), "parts or temporary files are left")
        self.assertNothingLeft()

    def test_second_attempt(self):
        """a mapper that fails once: its part is there once, from the attempt that succeeded"""
        flag = self.dir / "flag"
        p = self.local("--input", self.input, "-q", "--reduces", "0", "--split-size", "64K",
                       "--mapper", f"if mkdir {flag} 2>/dev/null; then head -n 5; exit 1; fi; cat")
        self.assertOk(p)
        self.assertSameLines(p.stdout, self.data + b"\n")


class Much(mr.Scratch):
    def test_reads_part_of_its_input(self):
        """a mapper and a reducer that read only the beginning of their input succeed"""
        path = self.file("in", b"".join(b"%06d\tx\n" % i for i in range(200000)))
        p = self.local("--input", path, "-q", "--mapper", "head -n 3", "--reducer", "head -n 2")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"000000\tx\n000001\tx\n")

    def test_writes_much(self):
        """a mapper that writes far more than it reads, through a sort and into a part (MR_LONG=1: 3 GB)"""
        mib = 3000 if os.environ.get("MR_LONG") == "1" else 96
        mapper = f"cat >/dev/null; seq -f %08.0f {mib * 1024 * 1024 // 9}"
        out = self.dir / "out"
        for args, script in ((["--reduces", "0"], "cat"), (["--reduces", "2", "--reducer", "wc -c"], "awk '{n += $1} END {print n}'")):
            p = self.local("--input", self.file("in", "x\n"), "-q", "--mapper", mapper, "--output", out, *args, timeout=600)
            self.assertOk(p)
            got = shell(f"cat \"$1\"/part-* | {script} | md5sum", out)
            tabs = mib * 1024 * 1024 // 9 # the reducer's lines have a TAB behind the key
            want = shell(f"seq -f %08.0f {mib * 1024 * 1024 // 9} | md5sum" if script == "cat" else f"echo {tabs * 10} | md5sum")
            self.assertEqual(got, want)
            shell('rm -r "$1"', out)

    def test_more_than_four_gib(self):
        """a mapper that writes 5 GiB, of which nothing is kept but how many lines there were"""
        mapper = self.script("w.py", """#!/usr/bin/python3
import os, sys
sys.stdin.read()
line = b"k\\t" + b"v" * ((1 << 20) - 3) + b"\\n"
for _ in range(5 << 10):
    at = 0
    while at < len(line):
        at += os.write(1, line[at:] if at else line)
""")
        p = self.local("--input", self.file("in", "x\n"), "-q", "--mapper", mapper, "--reducer-app", "count", "--output", "out", "--json=short")
        self.assertOk(p)
        self.assertEqual((self.dir / "out/part-00000").read_bytes(), b"k\t5120\n")
        self.assertEqual(json.loads(p.stdout)["Counters"]["map_output_records"], 5120)

    def test_both_ways(self):
        """counters, a status and text on stderr, line by line among each other: each is taken for what it is"""
        mapper = self.script("m.sh", r"""#!/bin/sh
echo 'reporter:counter:g,lines,40' >&2
awk '{print; if (NR % 1000 == 0) print "reporter:counter:g,lines,2" > "/dev/stderr"; if (NR % 5000 == 0) print "noise " NR > "/dev/stderr"}'
echo 'reporter:status:nearly done' >&2
echo 'reporter:counter:g,broken' >&2
echo 'reporter:counter:g,neg,-1' >&2
printf 'reporter:counter:g,last,7' >&2
exit $STATUS
""")
        job = ("--input", self.file("in", b"x\n" * 20000), "-q", "--mapper", mapper, "--reduces", "0", "--output", "out", "--max-attempts", "1")
        p = self.local(*job, "--json=short", "--env", "STATUS=0")
        self.assertOk(p)
        counters = json.loads(p.stdout)["Counters"]
        self.assertEqual({k: v for k, v in counters.items() if k.startswith("g:")}, {"g:lines": 80, "g:last": 7})
        self.assertEqual(counters["map_output_records"], 20000)
        # What it said to people is shown when it fails: neither the status nor a counter is among that, but reports that are none are.
        p = self.local(*job, "--env", "STATUS=5", "--output", "other")
        self.assertFails(p, "exited with status 5")
        self.assertEqual([row.strip() for row in p.stderr.decode().splitlines()[1:]],
                         [f"noise {n}" for n in (5000, 10000, 15000, 20000)] + ["reporter:counter:g,broken", "reporter:counter:g,neg,-1"])


class Results(mr.Scratch):
    @unittest.skipIf(os.environ.get("MR_SANITIZED") == "1", "sanitizers have memory of their own")
    def test_little_memory(self):
        """a result of 96 MiB is printed as it lies, and none of our processes ever holds half of it"""
        size = 96 << 20
        mapper = f"cat >/dev/null; head -c {size} /dev/zero | tr '\\0' x | fold -w 127"
        out = self.dir / "printed"
        with open(out, "wb") as f:
            p = subprocess.Popen([mr.MRCTL, "--local", "run", "-q", "--mapper", mapper, "--reduces", "0", "--input", self.file("in", "x\n")],
                                 stdin=subprocess.DEVNULL, stdout=f, env=self.env, cwd=self.dir)
            _, status, usage = os.wait4(p.pid, 0)
        self.assertEqual(status, 0)
        self.assertEqual(out.stat().st_size, size + (size + 126) // 127)
        self.assertEqual(shell("tr -d x < \"$1\" | wc -l", out).split(), [b"%d" % ((size + 126) // 127)])
        # Of mrctl and of all that it and its daemons waited for: the most that one of them had.
        self.assertLess(usage.ru_maxrss, size // 2 // 1024, "KiB")


class Environment(mr.Scratch):
    NAMES = ["mapreduce_job_id", "mapreduce_job_name", "mapreduce_task_id", "mapreduce_task_attempt_id", "mapreduce_task_ismap",
             "mapreduce_task_partition", "mapreduce_map_input_file", "mapreduce_map_input_start", "mapreduce_map_input_length",
             "mapreduce_job_reduces", "mapreduce_job_maps", "mapred_job_id", "mapred_job_name", "mapred_map_tasks", "mapred_reduce_tasks",
             "mapred_tip_id", "mapred_task_id", "mapred_task_is_map", "mapred_task_partition", "map_input_file", "map_input_start", "map_input_length",
             "stream_num_map_output_key_fields", "stream_map_output_field_separator", "stream_reduce_input_field_separator",
             "MR_JOB", "MR_JOB_NAME", "MR_TASK", "MR_ATTEMPT", "MR_INPUT", "MR_INPUT_OFFSET", "MR_INPUT_LENGTH", "MR_REDUCES", "MR_MAPS", "OWN"]

    def show(self, options, data=b"x\n" * 5000):
        command = "cat >/dev/null; " + "; ".join(f'printf "%s\\t%s\\n" {n} "${{{n}-none}}"' for n in self.NAMES)
        self.input = self.file("in", data)
        p = self.local("--input", self.input, "-q", "--name", "the name", "--env", "OWN=1 2", "--split-size", "4K", *options(command))
        self.assertOk(p)
        values = {}
        for row in p.stdout.decode().splitlines():
            name, _, value = row.partition("\t")
            values.setdefault(name, []).append(value)
        return values

    def test_mapper(self):
        """a mapper's variables: Hadoop's of two ages, and ours"""
        v = self.show(lambda c: ["--mapper", c, "--reduces", "0", "--map-field-separator", ";", "--map-key-fields", "3"])
        n = len(v["MR_TASK"])
        self.assertEqual(n, 3)
        job = v["MR_JOB"][0]
        for name, want in (("mapreduce_job_name", "the name"), ("mapred_job_name", "the name"), ("MR_JOB_NAME", "the name"), ("mapreduce_task_ismap", "true"),
                           ("mapred_map_tasks", "3"), ("mapred_reduce_tasks", "0"), ("MR_REDUCES", "0"), ("stream_reduce_input_field_separator", "\t"),
                           ("mapreduce_map_input_file", self.input),
                           ("mapreduce_job_reduces", "0"), ("mapreduce_job_maps", "3"), ("mapred_job_id", job), ("mapreduce_job_id", job),
                           ("mapred_task_is_map", "true"), ("map_input_file", self.input), ("stream_num_map_output_key_fields", "3"),
                           ("stream_map_output_field_separator", ";"), ("MR_INPUT", self.input), ("MR_ATTEMPT", "0"), ("MR_MAPS", "3"), ("OWN", "1 2")):
            self.assertEqual(v[name], [want] * n, name)
        self.assertEqual(v["MR_TASK"], [f"map-{i}" for i in range(n)])
        self.assertEqual(v["mapreduce_task_partition"], [str(i) for i in range(n)])
        self.assertEqual(v["mapred_task_partition"], v["mapreduce_task_partition"])
        self.assertEqual(v["mapreduce_task_id"], [f"task_{job}_m_{i:06}" for i in range(n)])
        self.assertEqual(v["mapred_tip_id"], v["mapreduce_task_id"])
        self.assertEqual(v["mapred_task_id"], [f"attempt_{job}_m_{i:06}_0" for i in range(n)])
        self.assertEqual(v["mapreduce_task_attempt_id"], v["mapred_task_id"])
        for names in (("mapreduce_map_input_start", "map_input_start", "MR_INPUT_OFFSET"), ("mapreduce_map_input_length", "map_input_length", "MR_INPUT_LENGTH")):
            self.assertEqual(len({tuple(v[x]) for x in names}), 1, names)
        begin = [int(x) for x in v["MR_INPUT_OFFSET"]]
        length = [int(x) for x in v["MR_INPUT_LENGTH"]]
        self.assertEqual([a + b for a, b in zip(begin, length)], begin[1:] + [10000])

    def test_separator_with_nul(self):
        """a separator with a NUL in it is no variable, rather than what stands before the NUL"""
        for separator in (r"\0", r"a\0b", r"a\x00"):
            v = self.show(lambda c, s=separator: ["--mapper", c, "--reduces", "0", "--map-field-separator", s, "--reduce-field-separator", s])
            for name in ("stream_map_output_field_separator", "stream_reduce_input_field_separator"):
                self.assertEqual(set(v[name]), {"none"}, (name, separator))

    def test_reducer(self):
        """a reducer's variables; it has no input file"""
        v = self.show(lambda c: ["--mapper", "cat", "--reducer", c, "--reduce-field-separator", ":", "--map-field-separator", ";"])
        for name, want in (("mapreduce_task_ismap", "false"), ("MR_TASK", "reduce-0"), ("mapreduce_job_reduces", "1"), ("MR_INPUT", "none"),
                           ("map_input_file", "none"), ("map_input_length", "none"), ("mapreduce_task_partition", "0"), ("mapred_task_partition", "0"),
                           ("stream_reduce_input_field_separator", ":"), ("stream_map_output_field_separator", ";"), ("mapred_reduce_tasks", "1"),
                           ("mapred_map_tasks", "3"), ("MR_REDUCES", "1"), ("mapred_job_name", "the name"), ("mapred_task_is_map", "false"), ("OWN", "1 2")):
            self.assertEqual(v[name], [want], name)
        self.assertRegex(v["mapreduce_task_id"][0], r"^task_.*_r_000000$")
        self.assertEqual(v["mapred_tip_id"], v["mapreduce_task_id"])


class Archives(mr.Scratch):
    def pack(self, name, entries, mode="w:gz"):
        path = self.dir / name
        with tarfile.open(path, mode) as t:
            for info, data in entries:
                if isinstance(info, str):
                    info = tarfile.TarInfo(info)
                    info.mode = 0o755
                info.size = len(data)
                t.addfile(info, io.BytesIO(data))
        return path

    @staticmethod
    def link(name, target, kind=tarfile.SYMTYPE):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        return info

    def test_unpacked(self):
        """--archive: tar.gz, tar.xz and zip lie unpacked under their name, or the one behind #; programs in them run"""
        program = b"#!/bin/sh\nexec grep -c -f tools/words\n"
        entries = [("bin/count", program), ("words", b"x\n"), (self.link("other", "words"), b"")]
        data = self.file("in", "x\ny\nx\n")
        for name, mode in (("tools.tgz", "w:gz"), ("tools.tar.xz", "w:xz")):
            self.pack(f"a/{name}" if (self.dir / "a").mkdir(exist_ok=True) is None else name, entries, mode)
            p = self.local("--input", data, "-q", "--archive", f"a/{name}#tools", "--mapper", "tools/bin/count; cmp tools/other tools/words && ls",
                           "--reduces", "0")
            self.assertOk(p)
            self.assertEqual(p.stdout, b"2\ntools\n")
        with zipfile.ZipFile(self.dir / "z.zip", "w") as z:
            z.writestr("deep/er/words", "y\n")
        p = self.local("--input", data, "-q", "--archive", "z.zip", "--mapper", "cat", "--reducer", "grep -c -f z.zip/deep/er/words")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"1\n")
        self.assertNothingLeft()

    def test_unpacked_twice(self):
        """--archive: one file in several directories, one of which has its name; it stays as a file under another name"""
        path = self.pack("a.tgz", [("words", b"x\n")])
        data = self.file("in", "x\n")
        for archives in ((f"{path}#one", f"{path}#two"), (f"{path}#one", path), (path, f"{path}#one")):
            names = sorted(str(a).rpartition("/")[2].rpartition("#")[2] for a in archives)
            p = self.local("--input", data, "-q", *(x for a in archives for x in ("--archive", a)), "--file", f"{path}#copy", "--mapper",
                           "cat >/dev/null; cat */words; tar -xzOf copy words; ls", "--reduces", "0")
            self.assertOk(p)
            self.assertEqual(p.stdout.decode().split(), ["x"] * 3 + sorted([*names, "copy"]))
        self.assertNothingLeft()

    def test_hostile(self):
        """names and links that lead out, devices, damage and what is no archive are refused, and nothing is written outside"""
        (self.dir / "outside").mkdir()
        out = str(self.dir / "outside")
        fifo = self.link("fifo", "")
        fifo.type = tarfile.FIFOTYPE
        good = self.pack("good.tgz", [("file", b"data" * 100000)])
        cases = {
            "dots": ([("../evil", b"x")], "evil"),
            "middle": ([("a/../../evil", b"x")], "evil"),
            "absolute": ([(f"{out}/evil", b"x")], "evil"),
            "symlink": ([(self.link("l", out), b""), ("l/evil", b"x")], "leads out"),
            "climbing": ([(self.link("d/l", "../../.."), b"")], "leads out"),
            "through": ([("d/x", b""), (self.link("l", "d"), b""), ("l/evil", b"x")], "l/evil"),
            "hardlink": ([(self.link("h", "../../../../../../etc/passwd", tarfile.LNKTYPE), b"")], "h:"),
            "fifo": ([(fifo, b"")], "neither"),
        }
        data = self.file("in", "x\n")
        for name, (entries, needle) in cases.items():
            path = self.pack(f"{name}.tgz", entries)
            p = self.local("--input", data, "--archive", path, "--mapper", "cat", "--reduces", "0")
            self.assertFails(p, f"{name}.tgz", needle)
        for name, bytes_ in (("cut.tgz", good.read_bytes()[:-200]), ("text.tgz", b"this is no archive\n" * 50)):
            self.assertFails(self.local("--input", data, "--archive", self.file(name, bytes_), "--mapper", "cat"), name)
        self.assertEqual(os.listdir(out), [])
        self.assertFails(self.local("--input", data, "--archive", "nothing.tgz", "--mapper", "cat"), "nothing.tgz")
        self.assertNothingLeft()


class Failures(mr.Scratch):
    def tearDown(self):
        self.assertNothingLeft()

    def test_mapper_exits_3(self):
        """a mapper that exits 3: task, input, offset, exit status and its last lines of stderr"""
        path = self.file("in.txt", "a\nb\n")
        mapper = self.script("m.sh", "#!/bin/sh\necho first words >&2\necho last words >&2\nexit 3\n")
        p = self.local("--mapper", mapper, "--input", path, "--max-attempts", "2")
        self.assertFails(p, "map-0", path, "bytes 0-4", "exited with status 3", "last words")
        self.assertEqual(p.stdout, b"")

    def test_reducer_exits(self):
        """a reducer that fails is named with its exit status and stderr"""
        p = self.local("--mapper", "cat", "--reducer", "echo broken >&2; exit 7", "--input", self.file("in", "a\n"),
                       "--max-attempts", "1")
        self.assertFails(p, "reduce-0", "exited with status 7", "broken")

    def test_long_stderr(self):
        """the last 16 KiB of stderr are kept, beside as many counters with long names as there may be and a long sentence"""
        counters = "for i in $(seq 200); do printf 'reporter:counter:%080d,%080d,1\\n' $i $i; done >&2; "
        words = "".join(f"{i:07}\n" for i in range(5000))
        p = self.local("--mapper", f"cat >/dev/null; {counters} seq -f %07.0f 0 4999 >&2; exit 3 # {'x' * 4000}", "--input", self.file("in", "a\n"),
                       "--max-attempts", "1", "--json=short", "--output", self.dir / "out")
        self.assertFails(p, "exited with status 3")
        job = json.loads(p.stdout)
        self.assertEqual(job["ErrorOutput"], words[-16384:])

    def test_combiner_exits(self):
        """a combiner that fails is named with its exit status, stderr and how far it came"""
        p = self.local("--mapper", "cat", "--combiner", "cat; echo broken >&2; exit 9", "--reducer", "cat", "--input", self.file("in", "a\nb\n"),
                       "--max-attempts", "1")
        self.assertFails(p, "map-0: the combiner (cat; echo broken >&2; exit 9) exited with status 9 after it was given 2 records", "broken")

    def test_ignored_exit_status(self):
        """--ignore-exit-status: of mapper, combiner and reducer alike, 1 to 125; not a program that is not there, nor a signal"""
        data = self.file("in", "".join(f"{i} {'needle' if i < 500 else 'hay'}\n" for i in range(1000)))
        job = ("-q", "--input", data, "--split-size", "4K", "--max-attempts", "1")
        searching = ("--mapper", "grep needle") # finds nothing in the second map
        self.assertFails(self.local(*job, *searching), "exited with status 1")
        self.assertFails(self.local(*job, *searching, "--ignore-exit-status=no"), "exited with status 1")
        want = shell('grep needle "$1" | sort', data)
        for more in ((), ("--reduces", "0"), ("--reducer", "sed 's/\t$//'; exit 125"), ("--combiner", "tr -d '\t'; exit 3")):
            p = self.local(*job, *searching, "--ignore-exit-status=yes", *more)
            self.assertOk(p)
            self.assertEqual(b"".join(sorted(p.stdout.splitlines(keepends=True))), want, more)
        for mapper, says in (("nothing-of-this-name", "exited with status 127"), ("exit 126", "exited with status 126"), ("exit 137", "exited with status 137"),
                             ("kill -TERM $$", "SIGTERM")):
            self.assertFails(self.local(*job, "--mapper", mapper, "--ignore-exit-status=yes"), says)
        # As of one that ended well, what it left behind is waited for.
        p = self.local(*job, "--mapper", "cat >/dev/null; (sleep 0.2; echo late) & exit 1", "--split-size", "1M", "--ignore-exit-status=yes")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"late\n")
        self.assertFails(self.local(*job, "--app", "wordcount", "--ignore-exit-status=yes"), "App=wordcount")
        self.assertFails(self.local(*job, *searching, "--ignore-exit-status=maybe"), "yes or no", code=2)

    def test_escaped_once(self):
        """what a sentence quotes is escaped once: a carriage return of a number, a backslash of a path, the one in our own words"""
        p = self.local("--mapper", "cat", "--reducer-app", "sum", "--max-attempts", "1", "--input", self.file("crlf", "a\t5\r\n"))
        self.assertFails(p, r'wrote "5\x0d" for the key "a"')
        p = self.local("--mapper", "exit 3", "--max-attempts", "1", "--input", self.file(r"back\slash", "a\n"))
        self.assertFails(p, r"/back\\slash bytes 0-2")
        p = self.local("--app", "count", "--input", self.file("in", "a\n"), "--", "delimiter=ab")
        self.assertFails(p, r"delimiter= takes one byte, or \t")

    def test_mapper_killed(self):
        """a mapper that dies of a signal is named with it"""
        p = self.local("--mapper", "kill -SEGV $$", "--input", self.file("in", "a\n"), "--max-attempts", "1")
        self.assertFails(p, "map-0", "SIGSEGV")

    def test_mapper_not_found(self):
        """a mapper that is not there"""
        p = self.local("--mapper", "./nothing-here.py", "--input", self.file("in", "a\n"), "--max-attempts", "1")
        self.assertIn(p.returncode, (1, 2))
        self.assertIn("nothing-here.py", p.stderr.decode())

    def test_second_attempt_succeeds(self):
        """a mapper that fails once and then succeeds"""
        flag = self.dir / "flag"
        p = self.local("--mapper", f"if mkdir {flag}; then exit 1; fi 2>/dev/null; cat", "--input", self.file("in", "a\n"), "-q")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"a\n")

    def test_failed_job_leaves_no_output(self):
        """a failed job leaves nothing in its output directory"""
        out = self.dir / "out"
        p = self.local("--mapper", "cat", "--reducer", "exit 1", "--reduces", "2", "--max-attempts", "1",
                       "--input", self.file("in", "a\nb\nc\n"), "--output", out)
        self.assertFails(p, "reduce-")
        self.assertFalse(os.path.exists(out) and os.listdir(out), "parts or temporary files are left")


tap.main(at_once=2)
