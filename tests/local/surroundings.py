"""mrctl --local from odd places: other directories, no directory, no room, closed descriptors, an ordinary user."""

import os
import pathlib
import pwd
import random
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

COUNT = ("--app", "wordcount")
WANT = b"a\t2\nb\t1\n"


class Surroundings(mr.Scratch):
    def setUp(self):
        super().setUp()
        self.input = self.file("in/text", "a b a\n")

    def tearDown(self):
        self.assertNothingLeft()

    def assertCounts(self, p, want=WANT):
        self.assertOk(p)
        self.assertEqual(p.stdout, want)

    def shell(self, script):
        return subprocess.run(["bash", "-c", script, "bash", mr.MRCTL, self.input], cwd=self.dir, env=self.env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60 * mr.SLOW, check=False)

    def test_parent_directory(self):
        """paths with .. and . and // are read and written"""
        (self.dir / "deep").mkdir()
        p = self.local(*COUNT, "..//./in/../in/", "--output", "../deep/./x/../out", cwd=self.dir / "deep")
        self.assertOk(p)
        self.assertEqual((self.dir / "deep/out/part-00000").read_bytes(), WANT)
        self.assertCounts(self.local(*COUNT, "../in/t*", cwd=self.dir / "deep"))

    def test_deleted_directory(self):
        """in a deleted directory absolute paths work, and relative ones are refused"""
        script = 'mkdir gone && cd gone && rmdir ../gone && "$1" --local run --app wordcount '
        self.assertCounts(self.shell(script + '"$2"'))
        for what in (".", "x", "/ --output x"):
            self.assertFails(self.shell(script + what), "cannot tell the working directory")

    def test_empty_input(self):
        """an empty input is an unset variable, not the working directory"""
        self.assertFails(self.local(*COUNT, ""), "an input is empty", code=2)
        self.assertFails(self.local(*COUNT, "--input="), "an input is empty", code=2)

    def test_missing_tmpdir(self):
        """a $TMPDIR that is not there is named"""
        self.assertFails(self.local(*COUNT, self.input, env=dict(self.env, TMPDIR=f"{self.dir}/no")),
                         f"{self.dir}/no", "No such file")
        self.assertFails(self.local(*COUNT, self.input, env=dict(self.env, TMPDIR="rel")), "absolute")

    def test_empty_tmpdir(self):
        """an empty $TMPDIR is as one that is not set"""
        self.assertCounts(self.local(*COUNT, self.input, env=dict(self.env, TMPDIR="")))

    def test_few_descriptors(self):
        """a limit of open files below what a job needs is named, and the least one is enough"""
        run = '"$1" --local run --mapper "cat | cat" --reducer "cut -f1 | uniq" --reduces 3 --slots 4 "$2"'
        self.assertFails(self.shell(f"ulimit -n 64; {run}"), "only 64 files may be open, and a job needs 128: raise the limit (ulimit -n)")
        self.assertCounts(self.shell(f"ulimit -n 128; {run}"), b"a b a\n")

    def test_soft_limit_of_descriptors(self):
        """a soft limit of open files is raised as far as the hard one allows"""
        self.assertCounts(self.shell('ulimit -S -n 64; "$1" --local run --app wordcount "$2"'))

    def test_tmpdir_of_any_name(self):
        """a $TMPDIR may have blanks, letters of any alphabet, and bytes that are no text"""
        for name in (b"a b", "t\u00e9".encode(), b"a\nb", b"\xe9"):
            tmp = self.tmp / os.fsdecode(name)
            tmp.mkdir()
            p = self.local(*COUNT, self.input, env=dict(self.env, TMPDIR=str(tmp)), timeout=30)
            self.assertCounts(p)
            self.assertEqual(p.stderr.count(b"mr-"), 0)
            tmp.rmdir()

    def local_in(self, size, *args):
        """A run whose $TMPDIR is a file system of that size."""
        mount = f'mount -t tmpfs -o size={size} tmpfs "$TMPDIR" && exec "$0" --local run "$@"'
        p = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", mount, mr.MRCTL, *args],
                           env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60 * mr.SLOW, check=False)
        if b"unshare" in p.stderr or b"mount:" in p.stderr:
            self.skipTest("no mount namespace: " + p.stderr.decode(errors="replace").strip())
        return p

    def test_small_tmpdir(self):
        """a $TMPDIR too small for any task is named at once"""
        p = self.local_in("1m", *COUNT, self.input)
        self.assertFails(p, "M free, and a job needs 64M", str(self.tmp))

    def test_tmpdir_that_fills(self):
        """a $TMPDIR that the job itself fills fails it, and the way out is named"""
        words = self.file("words", "".join(f"{random.Random(i).getrandbits(256):x}\n" for i in range(1 << 20)))
        p = self.local_in("70m", "-q", "--app", "sort", "--input", words, "--input", words)
        self.assertFails(p, "disk full: cannot write", f"{self.tmp}: make room there, or set $TMPDIR")

    def lines(self):
        """Enough for runs of many pages in each of four partitions."""
        rng = random.Random(5)
        rows = [rng.randbytes(200).hex() for _ in range(40000)]
        self.input = self.file("in/text", "".join(row + "\n" for row in rows))
        return sorted(rows)

    def result(self, out):
        return sorted(row.rstrip("\t") for part in out.glob("part-*") for row in part.read_text().splitlines())

    def test_input_of_reduces_is_given_back(self):
        """what a reduce that is done has read takes no space any more; the last one's is there"""
        want, out = self.lines(), self.dir / "out"
        reducer = self.script("reduce", f"""#!/bin/sh
while [ "$mapreduce_task_partition" = 3 ] && [ ! -e {self.dir}/go ]; do sleep 0.05; done
exec cat
""")
        p = subprocess.Popen([mr.MRCTL, "--local", "run", "-q", "--mapper", "cat", "--reducer", reducer, "--reduces", "4", "--slots", "1",
                              "--split-size", "8M", "--input", self.input, "--output", out], stdin=subprocess.DEVNULL, env=self.env)
        self.addCleanup(p.wait)
        self.addCleanup((self.dir / "go").touch)

        def share():
            runs = [r.stat() for r in self.tmp.glob("mrctl-*/worker/jobs/*/map-*.run")]
            return runs and sum(r.st_blocks for r in runs) * 512 / sum(r.st_size for r in runs)
        mr.wait_for("three parts", lambda: len(list(out.glob("part-*"))) == 3)
        mr.wait_for("the space of three parts", lambda: share() < 0.3)
        self.assertGreater(share(), 0.2)
        (self.dir / "go").touch()
        self.assertEqual(p.wait(30 * mr.SLOW), 0)
        self.assertEqual(self.result(out), want)

    def test_input_that_was_given_back_too_early(self):
        """a part that cannot be put in place: its reduce finds its input given back, and the maps run again"""
        want, out = self.lines(), self.dir / "out"
        reducer = self.script("reduce", f"""#!/bin/sh
cat
if [ "$mapreduce_task_partition" = 0 ] && mkdir {self.dir}/first; then rm -r {out}/_temporary/attempt-*-r-00000-0; fi
""")
        p = self.local("--mapper", f"echo >>{self.dir}/maps; cat", "--reducer", reducer, "--reduces", "4", "--slots", "1", "--split-size", "8M",
                       "--input", self.input, "--output", out, "-q")
        self.assertOk(p)
        self.assertEqual(self.result(out), want)
        self.assertEqual(len((self.dir / "maps").read_text()), 4)  # each of two maps a second time

    def test_bare_environment(self):
        """no variable at all is needed"""
        self.assertCounts(self.local(*COUNT, self.input, env={"TMPDIR": str(self.tmp)}))

    def test_closed_descriptors(self):
        """standard input and standard error may be closed"""
        for closed in ("<&-", "2>&-", "<&- 2>&-"):
            self.assertCounts(self.shell(f'"$1" --local run --app wordcount "$2" {closed}'))

    def test_closed_output(self):
        """a result that cannot be printed is not lost with status 0, and one in a directory needs no standard output"""
        run = '"$1" --local run --app wordcount "$2"'
        for closed in (">&-", "<&- >&-"):
            self.assertFails(self.shell(f"{run} {closed}"), "cannot print the result: standard output is closed", "--output")
        p = self.shell(f'{run} --output out >&-')
        self.assertOk(p)
        self.assertEqual((self.dir / "out/part-00000").read_bytes(), WANT)
        self.assertFails(self.shell(f"{run} --output json --json=short >&-"), "cannot write to standard output")

    def test_input_twice(self):
        """an input that is given twice is counted twice"""
        self.assertCounts(self.local(*COUNT, self.input, self.input), b"a\t4\nb\t2\n")

    def test_output_inside_input(self):
        """an output below the input does not become input"""
        for i in range(2):
            self.assertOk(self.local(*COUNT, self.dir / "in/text", "--output", self.dir / f"in/_out{i}"))
            self.assertEqual((self.dir / f"in/_out{i}/part-00000").read_bytes(), WANT)
        self.assertOk(self.local(*COUNT, self.dir / "in", "--output", self.dir / "in/_out2"))
        self.assertEqual((self.dir / "in/_out2/part-00000").read_bytes(), WANT)

    @unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_ordinary_user(self):
        """an ordinary user without a home, in a directory he cannot write to"""
        os.chmod(self.dir, 0o755)
        os.chmod(self.tmp, 0o1777)
        nobody = pwd.getpwnam("nobody")
        env = {k: v for k, v in self.env.items() if k != "HOME"}
        task = pathlib.Path(mr.MRCTL)
        if any(not os.stat(d).st_mode & 0o001 for d in task.parents):
            self.skipTest(f"{task} is not for every user")
        p = self.local(*COUNT, "in", env=env, user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
        self.assertCounts(p)


tap.main()
