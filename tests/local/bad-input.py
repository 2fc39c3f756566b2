"""Bad input, one case each: the right answer or a clear error, never a crash, a hang or something left behind."""

import os
import pathlib
import pwd
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402


class Inputs(mr.Scratch):
    def count(self, *inputs, **kwargs):
        return self.local("--app", "wordcount", *(a for i in inputs for a in ("--input", i)), **kwargs)

    def tearDown(self):
        self.assertNothingLeft()

    def test_missing_file(self):
        """a missing file is named"""
        self.assertFails(self.count(self.dir / "nothing.txt"), str(self.dir / "nothing.txt"), "does not exist")

    def test_one_missing_of_two(self):
        """one missing file of two is named, and nothing is counted"""
        p = self.count(self.file("good", "a b"), self.dir / "gone")
        self.assertFails(p, str(self.dir / "gone"))
        self.assertEqual(p.stdout, b"")

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to become somebody who may not read")
    def test_unreadable_file(self):
        """an unreadable file is named"""
        path = self.file("secret.txt", "a b c")
        os.chmod(path, 0o600)
        os.chmod(self.dir, 0o755)
        os.chmod(self.tmp, 0o777)
        if subprocess.run(["setpriv", "--reuid=nobody", "--clear-groups", "test", "-x", mr.MRCTL], check=False).returncode:
            self.skipTest("the build folder is closed to other users")
        nobody = pwd.getpwnam("nobody")
        p = self.count(path, user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[], cwd="/")
        self.assertFails(p, path, "permission denied")

    def test_empty_file(self):
        """an empty file is an empty answer"""
        p = self.count(self.file("empty"))
        self.assertOk(p)
        self.assertEqual(p.stdout, b"")

    def test_empty_file_to_directory(self):
        """an empty file makes empty parts and _SUCCESS"""
        out = self.dir / "out"
        self.assertOk(self.local("--app", "wordcount", "--input", self.file("empty"), "--reduces", "2", "--output", out))
        self.assertEqual({n: (out / n).stat().st_size for n in os.listdir(out)},
                         {"_SUCCESS": 0, "part-00000": 0, "part-00001": 0})

    def test_directory(self):
        """a directory means every file below it"""
        self.file("tree/a", "x y")
        self.file("tree/deep/er/b", "y z")
        self.file("tree/.hidden", "h")
        self.file("tree/_tmp/c", "t")
        p = self.count(self.dir / "tree")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"x\t1\ny\t2\nz\t1\n")

    def test_empty_directory(self):
        """an empty directory is an empty answer"""
        (self.dir / "void").mkdir()
        p = self.count(self.dir / "void")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"")

    def test_link_loop(self):
        """a directory that links to itself ends"""
        self.file("tree/a", "x")
        os.symlink("..", self.dir / "tree/up")
        os.symlink("self", self.dir / "tree/self")
        p = self.count(self.dir / "tree")
        self.assertIn(p.returncode, (0, 1))
        if p.returncode == 0:
            self.assertEqual(p.stdout, b"x\t1\n")
        else:
            self.assertFails(p, str(self.dir / "tree"))

    def test_glob(self):
        """a glob means what it matches"""
        self.file("g/a.txt", "x")
        self.file("g/b.txt", "x y")
        self.file("g/c.log", "z")
        p = self.count(f"{self.dir}/g/*.txt")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"x\t2\ny\t1\n")

    def test_glob_of_nothing(self):
        """a glob that matches nothing is named"""
        self.assertFails(self.count(f"{self.dir}/*.none"), f"{self.dir}/*.none", "match")

    def test_fifo(self):
        """a fifo is refused, not waited for"""
        os.mkfifo(self.dir / "fifo")
        self.assertFails(self.count(self.dir / "fifo"), str(self.dir / "fifo"), "is a fifo")

    def test_odd_names(self):
        """names with spaces, newlines and bytes that are no UTF-8"""
        name = os.fsencode(str(self.dir)) + b"/odd \n\xff*name"
        with open(name, "wb") as f:
            f.write(b"x")
        p = self.mrctl("--local", "run", "--app", "wordcount", "--input", str(self.dir) + "/odd*")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"x\t1\n")

    def test_line_of_100_mb(self):
        """a line of 100 MB"""
        path = self.file("long")
        with open(path, "wb") as f:
            f.write(b"word " * (20 << 20))
        p = self.count(path)
        self.assertOk(p)
        self.assertEqual(p.stdout, b"word\t%d\n" % (20 << 20))

    def test_word_longer_than_any_buffer(self):
        """a word of 40 MB beside short ones"""
        word = b"w" * (40 << 20)
        p = self.count(self.file("word", b"a " + word + b" a\n" + word), timeout=240)
        self.assertOk(p)
        self.assertSameLines(p.stdout, b"a\t2\n" + word + b"\t2\n")

    def test_nul_bytes(self):
        """NUL bytes belong to words"""
        p = self.count(self.file("nul", b"a\0b\0 \0\0 a\0b\0\n"))
        self.assertOk(p)
        self.assertEqual(p.stdout, b"\0\0\t1\na\0b\0\t2\n")

    def test_no_trailing_newline(self):
        """no newline at the end"""
        p = self.count(self.file("a", b"x y"), self.file("b", b"y z"))
        self.assertOk(p)
        self.assertEqual(p.stdout, b"x\t1\ny\t2\nz\t1\n")


class Options(mr.Scratch):
    def setUp(self):
        super().setUp()
        self.input = self.file("in", "a b a")

    def run_with(self, *args):
        return self.local("--input", self.input, *args)

    def tearDown(self):
        self.assertNothingLeft()

    def test_populated_output(self):
        """a non-empty output directory is refused by name, and left as it is"""
        self.file("out/precious", "data")
        p = self.run_with("--app", "wordcount", "--output", self.dir / "out")
        self.assertFails(p, str(self.dir / "out"), "not empty")
        self.assertEqual(os.listdir(self.dir / "out"), ["precious"])

    def test_output_is_a_file(self):
        """an output that is a file is refused by name"""
        p = self.run_with("--app", "wordcount", "--output", self.input)
        self.assertFails(p, self.input)

    def test_empty_output_directory_is_taken(self):
        """an empty output directory is used"""
        (self.dir / "out").mkdir()
        self.assertOk(self.run_with("--app", "wordcount", "--output", self.dir / "out"))
        self.assertEqual((self.dir / "out/part-00000").read_bytes(), b"a\t2\nb\t1\n")

    def test_reduces_out_of_range(self):
        """reduces of 10^9 and words are refused with the range; of 0, for an app that has a reduce"""
        self.assertFails(self.run_with("--app", "wordcount", "--reduces=0"), "App=wordcount has a reduce")
        for value in ("10001", "1000000000", "-1", "many", "", "1x"):
            with self.subTest(value):
                p = self.run_with("--app", "wordcount", f"--reduces={value}")
                self.assertIn(p.returncode, (1, 2))
                self.assertIn("10000", p.stderr.decode())

    def test_most_reduces(self):
        """more reduces than words"""
        p = self.run_with("--app", "wordcount", "--reduces", "50")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"a\t2\nb\t1\n")

    def test_split_size_out_of_range(self):
        """a split size of 0 or nonsense is refused"""
        for value in ("0", "1", "x", "99999999T"):
            with self.subTest(value):
                p = self.run_with("--app", "wordcount", f"--split-size={value}")
                self.assertIn(p.returncode, (1, 2))
                self.assertIn("split", p.stderr.decode().lower())

    def test_unknown_app(self):
        """an unknown app is named, with those there are"""
        p = self.run_with("--app", "wordcuont")
        self.assertIn(p.returncode, (1, 2))
        self.assertIn("wordcuont", p.stderr.decode())
        self.assertIn("wordcount", p.stderr.decode())

    def test_unknown_option(self):
        """an unknown option is named"""
        self.assertFails(self.run_with("--app", "wordcount", "--frobnicate"), "--frobnicate", code=2)

    def test_unknown_verb(self):
        """an unknown verb is named"""
        self.assertFails(self.mrctl("--local", "rnu"), "rnu", code=2)

    def test_nothing_to_run(self):
        """neither an app nor a mapper is said"""
        p = self.run_with()
        self.assertIn(p.returncode, (1, 2))
        self.assertIn("--app", p.stderr.decode())

    def test_app_and_mapper(self):
        """an app and a mapper together are refused"""
        p = self.run_with("--app", "wordcount", "--mapper", "cat")
        self.assertIn(p.returncode, (1, 2))
        self.assertIn("mapper", p.stderr.decode().lower())

    def test_no_input(self):
        """no input is said"""
        p = self.local("--app", "wordcount")
        self.assertIn(p.returncode, (1, 2))
        self.assertIn("input", p.stderr.decode().lower())

    def test_stable_directory_missing(self):
        """a directory for map outputs that is not there is named, and not made"""
        self.assertFails(self.run_with("--app", "wordcount", f"--intermediate=stable:{self.dir}/no/st"),
                         f"cannot use {self.dir}/no/st for Intermediate=stable: No such file or directory; make it first")
        self.assertFalse((self.dir / "no").exists())
        self.assertOk(self.run_with("--app", "wordcount", f"--intermediate=stable:{self.tmp}"))

    def test_stdout_full(self):
        """a full disk under stdout is an error"""
        with open("/dev/full", "wb") as full:
            p = subprocess.run([mr.MRCTL, "--local", "run", "--app", "wordcount", "-q", "--input", self.input],
                               stdout=full, stderr=subprocess.PIPE, env=self.env, timeout=60, check=False)
        self.assertEqual(p.returncode, 1)
        self.assertIn(b"No space left", p.stderr)

    def test_stdout_closed(self):
        """a reader of stdout that goes away is no crash"""
        p = subprocess.run(["bash", "-c", f"set -o pipefail; '{mr.MRCTL}' --local run --app wordcount -q --input '{self.input}' | true"],
                           stderr=subprocess.PIPE, env=self.env, timeout=60, check=False)
        self.assertNotIn(b"Sanitizer", p.stderr)
        self.assertNotIn(p.returncode, (134, 139))


class Unshipped(mr.Scratch):
    def test_told(self):
        """a job that failed names the script that its command does not find, and how it is shipped"""
        self.file("in", "a\n")
        self.file("m.sh", "cat\n")
        run = ("--mapper", "sh m.sh", "--max-attempts=1", "in")
        self.assertFails(self.local(*run), "A command names m.sh, which is a file here, and not where commands run: if it is meant, add --file m.sh, and call it m.sh\n")
        p = self.local(*run, "--file", "m.sh")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"a\n")
        self.assertNotIn(b"--file", p.stderr)


class SkippedRecords(mr.Scratch):
    def test_told(self):
        """that records were skipped is said, and where they are; not with -q"""
        self.file("in", "good\nbad\nfine\n")
        mapper = self.script("m.sh", "#!/bin/sh\nawk '/bad/ {exit 3} {print}'\n")
        run = ("--mapper", mapper, "--skip-bad-records=2", "in")
        p = self.local(*run)
        self.assertOk(p)
        self.assertEqual(p.stdout, b"fine\ngood\n")
        self.assertIn(b"\n1 record was skipped; --output=DIR keeps such records in DIR/_skipped-records\n", b"\n" + p.stderr)
        p = self.local(*run, "--output", "out", "--input", "in")
        self.assertOk(p)
        self.assertIn(f"\n2 records were skipped, see {self.dir}/out/_skipped-records\n", p.stderr.decode())
        self.assertEqual((self.dir / "out/_skipped-records").read_bytes().count(b"bad\n"), 2)
        p = self.local("-q", *run)
        self.assertOk(p)
        self.assertEqual(p.stderr, b"")


tap.main()
