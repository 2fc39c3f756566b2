"""Commands in the Hadoop Streaming way: the same counts, its environment, its stderr lines, its failures."""

import os
import pathlib
import sys

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

    def test_mapper_that_does_not_read(self):
        """a mapper that does not read its input may still succeed"""
        p = self.local("--mapper", "echo done", "--input", self.file("in", b"x\n" * 500000), "-q")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"done\n")

    def test_much_output_before_reading(self):
        """a mapper that writes much before it reads does not hang"""
        p = self.local("--mapper", "head -c 3000000 /dev/zero | tr '\\0' 'a' | fold -w 99; echo; cat", "--reducer", "wc -l",
                       "--input", self.file("in", b"x\n" * 300000), "-q")
        self.assertOk(p)
        self.assertEqual(int(p.stdout), 30304 + 300000)


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


tap.main()
