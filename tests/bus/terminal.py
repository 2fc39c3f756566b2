"""mrctl on a terminal: progress on one line, widths, colours, the pager, and names that are no text."""

import fcntl
import os
import pathlib
import pty
import re
import select
import struct
import subprocess
import sys
import termios

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402


class Terminal(mr.ClusterCase):
    workers_wanted = 1
    slots = 2

    def setUp(self):
        super().setUp()
        self.env = dict(self.env, TERM="xterm-256color")
        self.env.pop("NO_COLOR", None)

    def on_terminal(self, *args, columns=100, env=None):
        """Everything that mrctl writes to a terminal of that width, and its exit status."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        p = subprocess.Popen([mr.MRCTL, f"--bus={self.bus}", *map(str, args)], stdin=theirs, stdout=theirs,
                             stderr=theirs, env=env or self.env, cwd=self.dir, start_new_session=True)
        os.close(theirs)
        seen = b""
        while True:
            ready, _, _ = select.select([ours], [], [], 60 * mr.SLOW)
            self.assertTrue(ready, seen)
            try:
                more = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not more:
                break
            seen += more
        os.close(ours)
        return seen.decode(errors="replace").replace("\r\n", "\n"), p.wait(60 * mr.SLOW)

    def quick_job(self, **names):
        self.file("in/a", b"x\n")
        job = self.submit("--mapper", "cat", "--input", "in", "--name", names.get("name", "quick"))
        mr.wait_for("its end", lambda: self.job_is_over(job))
        return job

    def test_progress(self):
        """run redraws one line with maps, shuffle, reduces, rate and time left, and leaves none behind"""
        for i in range(8):
            self.file(f"in/{i}", b"some words\n" * 10000)
        text, code = self.on_terminal("run", "--mapper", "sleep 0.6; cat", "--input", "in", "--output", "out", columns=150)
        self.assertEqual(code, 0, text)
        drawn = [line for line in text.split("\r\x1b[K") if line.startswith("job ")]
        self.assertGreater(len(drawn), 3)
        self.assertNotIn("\n", "".join(drawn).strip("\n"))
        self.assertTrue(any(re.search(r"maps [1-7]/8, shuffle \d+%, reduces 0/1, \d+ running, [\d.]+[KM]/s", d)
                            for d in drawn), drawn)
        self.assertTrue(any(re.search(r"about \d+s left", d) for d in drawn), drawn)
        self.assertTrue(text.endswith(f"\r\x1b[KThe result of job 1 is in {self.dir}/out\n"), text[-300:])
        # Signals are brought together: a job of 18 task states must not draw at each.
        self.assertLess(len(drawn), 120)

    def test_narrow(self):
        """on a narrow terminal no line is longer than it"""
        job = self.quick_job(name="a rather long name of a job that does not fit")
        for columns in (20, 60, 80):
            for verb in (("list",), ("workers",), ("tasks", job), ("history",)):
                with self.subTest(verb=verb, columns=columns):
                    text, code = self.on_terminal(*verb, "--no-pager", columns=columns)
                    self.assertEqual(code, 0)
                    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
                    if columns >= (80 if verb == ("history",) else 60):  # headings take so much
                        self.assertLessEqual(max(map(len, plain.split("\n"))), columns, plain)
        text, code = self.on_terminal("run", "--mapper", "sleep 0.5; cat", "--input", "in", "--output", "out", columns=20)
        self.assertEqual(code, 0)
        drawn = [re.sub(r"\n.*", "", d, flags=re.S) for d in text.split("\r\x1b[K") if d.startswith("job ")]
        self.assertLessEqual(max(map(len, drawn)), 19)

    def test_colours(self):
        """colours on a terminal, none with NO_COLOR, TERM=dumb or in a pipe"""
        self.quick_job()
        self.assertIn("\x1b[0;1;32mdone", self.on_terminal("list", "--no-pager")[0])
        for env in (dict(self.env, NO_COLOR="1"), dict(self.env, TERM="dumb")):
            self.assertNotIn("\x1b", self.on_terminal("list", "--no-pager", env=env)[0])
        self.assertNotIn(b"\x1b", self.ctl("list").stdout)

    def test_pager(self):
        """long output goes through $SYSTEMD_PAGER, then $PAGER; not with --no-pager, for JSON or where it is empty"""
        self.quick_job()
        env = dict(self.env, PAGER="sed s/^/P:/", SYSTEMD_PAGER="sed s/^/S:/")
        self.assertIn("S:JOB", self.on_terminal("list", env=env)[0])
        env.pop("SYSTEMD_PAGER")
        self.assertIn("P:JOB", self.on_terminal("list", env=env)[0])
        self.assertNotIn("P:", self.on_terminal("list", "--no-pager", env=env)[0])
        self.assertNotIn("P:", self.on_terminal("list", "--json=short", env=env)[0])
        self.assertNotIn("P:", self.on_terminal("list", env=dict(env, SYSTEMD_PAGER=""))[0])
        env = dict(env, SYSTEMD_PAGER="echo \"$LESS\"")
        self.assertIn("FRSXMK", self.on_terminal("list", env=env)[0])
        self.assertIn("-R", self.on_terminal("list", env=dict(env, SYSTEMD_LESS="-R"))[0])

    def test_names_that_are_no_text(self):
        """an input whose name is not UTF-8 is read by its directory, shown safely, and refused when typed"""
        path = os.fsencode(self.dir) + b"/in/bad\xff\x1b[31mname"
        os.makedirs(self.dir / "in")
        with open(path, "wb") as f:
            f.write(b"x\n")
        job = self.submit("--mapper", "cat", "--input", "in")
        mr.wait_for("its end", lambda: self.job_is_over(job))
        self.assertEqual(self.job_get(job, "State"), "done")
        p = self.ctl("explain", job)
        self.assertOk(p)
        self.assertNotIn(b"\x1b[31m", p.stdout)
        p = subprocess.run([mr.MRCTL, f"--bus={self.bus}", "submit", "--app", "wordcount", path], env=self.env,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertFails(p, "is not UTF-8 and cannot be sent over the bus", code=1)

    def test_locale(self):
        """in the C locale, and in none that exists, tables are printed all the same"""
        self.quick_job(name="näme")
        for locale in ("C", "C.UTF-8", "xx_YY.UTF-8"):
            with self.subTest(locale=locale):
                p = self.ctl("list", env=dict(self.env, LC_ALL=locale))
                self.assertOk(p)
                self.assertRegex(p.stdout.decode(errors="replace"), r"(?m)^ *1 n.*me +done")


tap.main()
