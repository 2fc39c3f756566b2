"""mrctl against a master that only speaks the bus contract: every verb, every way a job can end."""

import hashlib
import json
import os
import pathlib
import pty
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

FAKE = str(mr.BUILD / "tests/bus/fake-master")
RUN = ("run", "--app", "wordcount", "/in/a")


def plain(shown):
    """What a terminal was told, without its escape sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x07", "", shown.decode(errors="replace"))


class FakeMaster(mr.Scratch):
    def setUp(self):
        super().setUp()
        self.bus = f"unix:path={self.dir}/bus"
        conf = self.file(
            "bus.conf",
            f"""<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>{self.bus}</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>""",
        )
        self.daemon = mr.Daemon(["dbus-daemon", "--nofork", "--nopidfile", f"--config-file={conf}"],
                                str(self.dir / "bus.log"), self.env)
        self.addCleanup(self.daemon.kill)
        mr.wait_for_socket(self.dir / "bus")
        self.part(0, b"b\t1\n")

    def part(self, index, content):
        (self.dir / f"part-{index:05}").write_bytes(content)

    def start_master(self, *extra):
        self.master = mr.Daemon([FAKE, self.bus, str(self.dir), *extra], str(self.dir / "master.log"), self.env)
        self.addCleanup(self.master.kill)
        mr.wait_for("the master", lambda: self.ctl("list").returncode == 0)

    def ctl(self, *args, **kwargs):
        return self.mrctl(f"--bus={self.bus}", *args, **kwargs)

    def background(self, *args, **kwargs):
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        p = subprocess.Popen([mr.MRCTL, f"--bus={self.bus}", *args], stdout=subprocess.PIPE, cwd=self.dir,
                             env=self.env, **{"stderr": subprocess.PIPE, **kwargs})
        self.addCleanup(p.stdout.close)
        if p.stderr:
            self.addCleanup(p.stderr.close)
        self.addCleanup(lambda: p.poll() is None and p.kill())
        return p

    def submitted(self):
        text = (self.dir / "submitted").read_text()
        return dict(line.split("=", 1) for line in text.splitlines())

    def states(self):
        return [j["State"] for j in json.loads(self.ctl("list", "--json=short").stdout)]

    def wait_until_submitted(self, count=1):
        mr.wait_for("the job", lambda: len(self.states()) >= count)


class Verbs(FakeMaster):
    def setUp(self):
        super().setUp()
        self.start_master()

    def test_run(self):
        """run prints the result, and nothing else on stdout"""
        self.part(0, b"b\t1\nd\t1\n")
        self.part(1, b"a\t7\nc\t1")
        p = self.ctl(*RUN)
        self.assertOk(p)
        self.assertEqual(p.stdout, b"a\t7\nb\t1\nc\t1\nd\t1\n")
        self.assertEqual(p.stderr, b"")

    def test_description(self):
        """everything given is submitted as the contract names it"""
        self.script("m.py", "mapper")
        self.file("data", "data")
        p = self.ctl("run", "--name=done", "--mapper", "./m.py -x", "--combiner", "sort", "--reducer", "./m.py",
                     "--reduces=3", "--split-size=1M", "--max-attempts=2", "--backups=no", "--priority=high", "--env", "A=b=c", "--file=data",
                     "--input=x/../y", "z*", "--output", "out", "-q")
        self.assertOk(p)
        got = self.submitted()
        self.assertRegex(got.pop("RequestId"), "^[0-9a-f]{32}$")
        self.assertEqual(got, {
            "Name": "done", "Output": f"{self.dir}/out", "Mapper": "./m.py -x", "Combiner": "sort",
            "Reducer": "./m.py", "Input": f"{self.dir}/y;{self.dir}/z*;", "Env": "A=b=c;", "Reduces": "3",
            "MaxAttempts": "2", "Backups": "no", "Priority": "high", "SplitSize": "1048576", "file data": "data", "file m.py": "mapper"})

    def test_app_arguments(self):
        """what follows -- are the app's arguments"""
        self.assertOk(self.ctl("run", "--app=grep", "/in", "-q", "--", "-i", "--local"))
        self.assertEqual(self.submitted()["Args"], "-i;--local;")

    def test_defaults_are_the_masters(self):
        """what was not given is not sent"""
        self.assertOk(self.ctl(*RUN))
        self.assertEqual(sorted(self.submitted()), ["App", "Input", "RequestId"])

    def test_failed_job(self):
        """a failed job: the reason and its stderr, made safe, and status 1"""
        p = self.ctl(*RUN, "--name=fail")
        self.assertFails(p, "mrctl: job 1 failed: map-0 failed 4 times: exit status 3\n",
                         "    Traceback:\n      bad \\x1b[31mline\n", code=1)
        self.assertEqual(p.stdout, b"")

    def test_refused_job(self):
        """a job that the master refuses says why"""
        for verb in ("run", "submit"):
            p = self.ctl(verb, *RUN[1:], "--name=refuse")
            self.assertFails(p, "mrctl: no such file: /in/missing\n", code=1)

    def test_submit_and_wait(self):
        """submit prints the id, wait ends as run would"""
        p = self.ctl("submit", *RUN[1:], "--name=fail")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"1\n")
        p = self.ctl("submit", *RUN[1:], "--json=short")
        self.assertEqual(json.loads(p.stdout), {"Id": "2"})
        self.assertFails(self.ctl("wait", "1"), "exit status 3", code=1)
        p = self.ctl("wait", "2", "--json=short")
        self.assertOk(p)
        self.assertEqual([j["State"] for j in json.loads(p.stdout)], ["done"])
        self.assertFails(self.ctl("wait", "2", "1"), "job 1 failed", code=1)

    def test_wait_is_woken(self):
        """wait ends with the job, by its signal"""
        self.ctl("submit", *RUN[1:], "--name=hang")
        p = self.background("wait", "1")
        mr.wait_for_loop(p)
        os.kill(self.master.pid, signal.SIGUSR1)
        self.assertEqual(p.wait(20), 0)

    def test_no_such_job(self):
        """an unknown job is named by every verb"""
        for verb in ("status", "wait", "cancel", "tasks", "cat"):
            self.assertFails(self.ctl(verb, "77"), "mrctl: there is no job 77\n", code=1)

    def test_cancel(self):
        """cancel stops a job; one that is over is said; the others are still cancelled"""
        self.ctl("submit", *RUN[1:], "--name=hang")
        self.ctl("submit", *RUN[1:], "--name=hang")
        self.assertOk(self.ctl("cancel", "1"))
        self.assertFails(self.ctl("cancel", "1", "2"), "job 1 is over", code=1)
        self.assertEqual(self.states(), ["cancelled", "cancelled"])
        self.assertFails(self.ctl("wait", "1"), "job 1 was cancelled", code=1)

    def test_cat(self):
        """cat prints a finished job's result, and refuses an unfinished one"""
        self.ctl("submit", *RUN[1:], "--name=hang")
        self.assertFails(self.ctl("cat", "1"), "job 1 is running", code=1)
        os.kill(self.master.pid, signal.SIGUSR1)
        self.ctl("wait", "1")
        p = self.ctl("cat", "1")
        self.assertEqual((p.returncode, p.stdout), (0, b"b\t1\n"))

    def test_many_parts(self):
        """2000 parts with 96 open files"""
        for i in range(2000):
            self.part(i, b"%06d\t%d\n" % (i * 7919 % 2000, i))
        want = b"".join(b"%06d\t%d\n" % (i * 7919 % 2000, i) for i in sorted(range(2000), key=lambda i: i * 7919 % 2000))
        p = self.ctl(*RUN, "-q", preexec_fn=lambda: __import__("resource").setrlimit(7, (96, 96)))
        self.assertOk(p)
        self.assertSameLines(p.stdout, want)

    @unittest.skipIf(mr.SANITIZED, "sanitizers have memory of their own")
    def test_cat_in_little_memory(self):
        """cat and run print 24 parts that are merged, of 160 MiB, and one value of 64 MiB, in less than 48 MiB, also by way of a temporary file"""
        parts, lines, value = 24, 96 << 10, 64 << 20
        want = hashlib.sha256(b"000000\t")
        files = [open(self.dir / f"part-{i:05}", "wb") for i in range(parts)]
        files[0].write(b"000000\t")
        files[0].seek(value, os.SEEK_CUR)  # a hole: NULs
        files[0].write(b"\n")
        for _ in range(64):
            want.update(bytes(value // 64))
        want.update(b"\n")
        for i in range(1, lines):
            row = b"%06d\t%01000d\n" % (i, i)
            want.update(row)
            files[i * 7919 % parts].write(row)
        for f in files:
            f.close()
        for args, limit in ((RUN + ("-q",), 1024), (("cat", "1"), 80)):
            out = self.dir / "printed"
            with open(out, "wb") as f:
                p = subprocess.Popen([mr.MRCTL, f"--bus={self.bus}", *args], stdin=subprocess.DEVNULL, stdout=f, env=self.env, cwd=self.dir,
                                     preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
                _, status, usage = os.wait4(p.pid, 0)
            p.returncode = status
            self.assertEqual(status, 0)
            with open(out, "rb") as f:
                self.assertEqual(hashlib.file_digest(f, "sha256").hexdigest(), want.hexdigest())
            print(f"# {args[0]}: {usage.ru_maxrss} KiB")
            # Before it was mrctl, this process was a copy of this one, which must be small for that.
            self.assertLess(usage.ru_maxrss, 48 << 10, "KiB")

    def test_list(self):
        """list as a table and as JSON"""
        self.ctl("wait", self.ctl("submit", *RUN[1:]).stdout.decode().strip())
        p = self.ctl("list", env=dict(self.env, TZ="UTC"))
        self.assertEqual(p.stdout.decode().split("\n")[0].split(),
                         ["JOB", "NAME", "STATE", "MAPS", "REDUCES", "SUBMITTED", "TIME"])
        self.assertEqual(p.stdout.decode().split("\n")[1].split(),
                         ["1", "done", "done", "3/3", "1/1", "Tue", "2023-11-14", "22:13:20", "UTC", "1.204s"])
        self.assertIn("\n1 jobs listed.\n", p.stdout.decode())
        p = self.ctl("list", "--no-legend")
        self.assertEqual(len(p.stdout.splitlines()), 1)
        self.assertEqual(json.loads(self.ctl("list", "--json=pretty").stdout), [{
            "Id": "1", "Name": "done", "State": "done", "Maps": 3, "MapsDone": 3, "Reduces": 1, "ReducesDone": 1,
            "SubmittedUSec": 1700000000000000, "FinishedUSec": 1700000001204000}])

    def test_workers(self):
        """workers as a table and as JSON"""
        p = self.ctl("workers")
        self.assertIn("w1", p.stdout.decode())
        self.assertIn("3.0G", p.stdout.decode())
        self.assertIn("2 workers listed.", p.stdout.decode())
        self.assertIn("not heard of for 10 s", p.stdout.decode())
        rows = json.loads(self.ctl("workers", "--json=short").stdout)
        self.assertEqual(rows[0], {
            "Name": "w1", "State": "alive", "Address": "127.0.0.2:4000", "Slots": 2, "SlotsUsed": 1,
            "FreeBytes": 3221225472, "LastHeardUSec": 1700000000000000, "StateReason": "",
            "Id": "0123456789abcdef0123456789abcdef",
            "ClockOffsetUSec": -1500, "ClockSynchronised": True, "ClockOffsetBoundUSec": 200})
        self.assertIn("+1.500ms", p.stdout.decode())  # ahead of the master's
        self.assertEqual((rows[1]["ClockOffsetUSec"], rows[1]["ClockSynchronised"]), (None, False))

    def test_tasks(self):
        """tasks come page by page until there are no more"""
        self.ctl("submit", *RUN[1:], "--name=hang")
        rows = json.loads(self.ctl("tasks", "1", "--json=short").stdout)
        self.assertEqual([r["Index"] for r in rows if r["Kind"] == "map"], list(range(1203)))
        self.assertEqual(rows[-1], {
            "Kind": "reduce", "Index": 0, "State": "running", "AttemptsStarted": 2, "AttemptsFailed": 1,
            "AttemptsLost": 0, "Worker": "w1", "Fraction": 0.5, "Status": "half way\tthere"})
        self.assertIn("1204 tasks listed.", self.ctl("tasks", "1").stdout.decode())

    def test_status(self):
        """status says what happened, at the end"""
        self.ctl("submit", *RUN[1:], "--name=hang")
        text = self.ctl("status", "1").stdout.decode()
        for needle in ("● 1 - hang\n", "State: running since", "Input: /in/a and 1 more (1.5K)\n",
                       "Maps: 0 of 3 done, 2 running\n", "my:own=1099511627776\n"):
            self.assertIn(needle, text)
        self.assertRegex(text, "\nNov 1[45] ..:..:.. worker-lost: Worker w2 was lost with 1 attempt\n$")
        got = json.loads(self.ctl("status", "1", "--json=short").stdout)
        self.assertEqual(got["Counters"], {"map-input-records": 12, "my:own": 1099511627776})
        self.assertEqual(got["Events"], [{"USec": 1700000001000000, "Kind": "worker-lost",
                                          "Message": "Worker w2 was lost with 1 attempt"}])
        introspected = mr.SOURCE / "dbus/org.mapreduced.Master1.xml"
        job = introspected.read_text().split('<interface name="org.mapreduced.Master1.Job">')[1].split("</interface>")[0]
        names = {line.split('"')[1] for line in job.split("\n") if "<property" in line}
        self.assertEqual(set(got) - {"Events"}, names)

    def test_no_colour_but_on_terminals(self):
        """no escape sequence in a pipe"""
        self.ctl("wait", self.ctl("submit", *RUN[1:]).stdout.decode().strip())
        env = dict(self.env, TERM="xterm-256color")
        del env["NO_COLOR"]
        for verb in (("list",), ("status", "1"), ("workers",)):
            self.assertNotIn(b"\x1b", self.ctl(*verb, env=env).stdout)

    def complete(self, *words):
        """What TAB offers behind these words, cut as bash cuts them."""
        script = 'source "$1"; shift; COMP_LINE="$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mrctl; ' \
                 'printf "%s\\n" "${COMPREPLY[@]}"'
        line = " ".join(words).replace(" = ", "=").replace(" : ", ":")
        p = subprocess.run(["bash", "-c", script, "bash", mr.SOURCE / "cli/completion/mrctl", line, *words],
                           env=dict(self.env, PATH=f"{mr.BUILD}/cli:{os.environ['PATH']}"), stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, timeout=60 * mr.SLOW, check=False)
        return p.stdout.decode().split()

    def test_completion(self):
        """completion offers verbs, values, and the jobs of the bus that was named"""
        self.ctl("submit", *RUN[1:], "--name=hang")
        self.ctl("wait", self.ctl("submit", *RUN[1:]).stdout.decode().strip())
        bus = ["mrctl", "--bus", "=", "unix", ":", "path", "=", f"{self.dir}/bus"]
        self.assertEqual(sorted(self.complete(*bus, "status", "")), ["1", "2"])
        self.assertEqual(self.complete(*bus, "cancel", ""), ["1"])
        self.assertEqual(self.complete(*bus, "cat", ""), ["2"])
        self.assertEqual(self.complete("mrctl", "ca"), ["cat", "cancel"])
        self.assertEqual(self.complete(*bus, "drain", ""), ["w1", "w2"])
        self.assertEqual(self.complete(*bus, "logs", "1", "m"), ["map", "map-0"])
        self.assertEqual(self.complete("mrctl", "history", "--s"), ["--state=", "--since="])
        self.assertEqual(self.complete("mrctl", "list", "--json", "=", "p"), ["pretty"])

    def test_completion_knows_everything(self):
        """bash and zsh offer every verb and option of the help, and each verb its own options only"""
        text = self.mrctl("--help").stdout.decode()
        verbs = set(re.findall(r"(?m)^  ([a-z]+)[ :]", text.split("\nOptions:")[0]))
        options = {o for line in text.splitlines() if (m := re.match(r"\s+(?:-\w )?\s*(--[a-z][a-z-]*)", line))
                   for o in m.groups()}
        self.assertGreater(len(verbs), 18)
        self.assertEqual(set(self.complete("mrctl", "")), verbs)
        self.assertEqual({o.rstrip("=") for o in self.complete("mrctl", "--")}, options)
        own = {verb: self.complete("mrctl", verb, "--") for verb in verbs}
        self.assertEqual({o.rstrip("=") for each in own.values() for o in each}, options)
        values = {"--json=": "off",
                  "--since=": "now", "--until=": "now", "--state=": "done", "--env=": "A=b",
                  "--memory-limit=": "1G", "--reuse=": "no", "--intermediate=": "local", "--split-size=": "1M"}
        for verb, offered in own.items():  # and takes them
            p = self.mrctl(verb, *(o + values.get(o, "1") if o.endswith("=") else o for o in offered), "--version")
            self.assertEqual((verb, p.returncode), (verb, 0), p.stderr)

    @unittest.skipUnless(shutil.which("zsh"), "needs zsh")
    def test_zsh_completion(self):
        """in a real zsh, TAB offers verbs, options, and the jobs and workers of the master that was named"""
        self.ctl("submit", *RUN[1:], "--name=hang")
        for typed, wanted in (("mrctl timel", "mrctl timeline "), ("mrctl history --fo", None),
                              ("mrctl history --sta", "mrctl history --state="),
                              ("mrctl list --json=pre", "mrctl list --json=pretty"),
                              (f"mrctl --bus={self.bus} drain ", "drain w"),
                              (f"mrctl --bus={self.bus} cancel ", "cancel 1 ")):
            with self.subTest(typed=typed):
                got = self.zsh_tab(typed, wanted)
                if not wanted:
                    self.assertNotIn("--follow", got)

    def zsh_tab(self, typed, wanted):
        """What the line looks like after TAB, in a zsh on a terminal of its own; it must come to be @wanted."""
        rc = self.file("zdot/.zshrc", f"""fpath=({mr.SOURCE}/cli/completion $fpath)
autoload -Uz compinit; compinit -u -D
unsetopt zle_bracketed_paste; PS1='ready> '; LISTMAX=0
zstyle ':completion:*' list-colors ''
""")
        env = dict(self.env, ZDOTDIR=os.path.dirname(rc), TERM="dumb", PATH=f"{mr.BUILD}/cli:{os.environ['PATH']}",
                   COLUMNS="200", HOME=str(self.dir))
        pid, fd = pty.fork()
        if pid == 0:
            os.execvpe("zsh", ["zsh", "-i"], env)
        try:
            self.until(fd, "ready> ")
            os.write(fd, typed.encode() + b"\t")
            return self.until(fd, wanted) if wanted else self.quiet(fd)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(fd)

    def until(self, fd, needle):
        seen = b""
        while needle not in plain(seen):
            ready, _, _ = select.select([fd], [], [], 30 * mr.SLOW)
            self.assertTrue(ready, f"{needle!r} does not come after {plain(seen)!r}")
            seen += os.read(fd, 4096)
        return plain(seen)

    def quiet(self, fd):
        """Everything until nothing comes for a while."""
        seen = b""
        while select.select([fd], [], [], 0.7 * mr.SLOW)[0]:
            seen += os.read(fd, 4096)
        return plain(seen)

    def test_no_bus(self):
        """a bus that is not there is named, with what needs none"""
        env = {k: v for k, v in self.env.items() if k not in ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR")}
        for bus, needle in ((f"unix:path={self.dir}/no", f"{self.dir}/no"), ("session", "$DBUS_SESSION_BUS_ADDRESS"),
                            ("", "--bus must be"), ("nonsense", "not a bus: nonsense")):
            self.assertFails(self.mrctl(f"--bus={bus}", "list", env=env), needle, code=1)

    @unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_bus_of_another_user(self):
        """a bus that does not admit us is said to be one"""
        os.chmod(self.dir, 0o755)
        reach = ["setpriv", "--reuid=65534", "--clear-groups", "test", "-x", mr.MRCTL]
        if subprocess.run(reach, check=False).returncode:
            self.skipTest("the build folder is closed to other users")
        for verb in (("list",), RUN):
            p = self.ctl(*verb, user=65534, group=65534, extra_groups=[])
            self.assertFails(p, "the bus does not admit user 65534", code=1)

    def test_full_disk(self):
        """a table that does not fit the disk is an error"""
        for args in (("workers",), ("--help",)):  # the second is longer than a buffer
            with open("/dev/full", "wb") as full:
                p = subprocess.run([mr.MRCTL, f"--bus={self.bus}", *args], stdout=full, stderr=subprocess.PIPE,
                                   env=self.env, check=False)
            self.assertEqual(p.returncode, 1)
            self.assertIn(b"No space left", p.stderr)

    def test_usage_error_sends_nothing(self):
        """after a usage error nothing was sent"""
        for args in (["--reduces=-1"], ["--reduces=10001"], ["--foo"], ["--reducer=x"], ["--json=short"], [""], ["--input="]):
            self.assertEqual(self.ctl(*RUN, *args).returncode, 2)
        self.assertEqual(self.states(), [])


class Interrupts(FakeMaster):
    def setUp(self):
        super().setUp()
        self.start_master()

    def test_interrupt_cancels(self):
        """^C without a terminal cancels the job"""
        p = self.background(*RUN, "--name=hang")
        self.wait_until_submitted()
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(20), 130)
        self.assertEqual(self.states(), ["cancelled"])

    def test_terminate_cancels(self):
        """so does SIGTERM, with its own status"""
        p = self.background(*RUN, "--name=hang")
        self.wait_until_submitted()
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(20), 143)
        self.assertEqual(self.states(), ["cancelled"])

    def test_second_interrupt_leaves(self):
        """a second ^C does not wait for a job that will not end"""
        p = self.background(*RUN, "--name=stubborn")
        self.wait_until_submitted()
        p.send_signal(signal.SIGINT)
        self.assertRaises(subprocess.TimeoutExpired, p.wait, 0.5)
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(20), 130)

    def test_interrupted_wait_leaves_the_job(self):
        """^C in wait does not touch the job"""
        self.ctl("submit", *RUN[1:], "--name=hang")
        p = self.background("wait", "1")
        mr.wait_for_loop(p)
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(20), 130)
        self.assertEqual(self.states(), ["running"])

    def on_terminal(self):
        """run on a terminal, asked by its first ^C; returns the process and the terminal."""
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        self.env["TERM"] = "xterm"
        p = self.background(*RUN, "--name=hang", stdin=theirs, stderr=theirs, start_new_session=True,
                            preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0))
        os.close(theirs)
        self.wait_until_submitted()
        self.read_until(ours, b"maps 0/3")
        os.write(ours, b"\x03")
        self.read_until(ours, b"[d/c/Enter]")
        return p, ours

    def read_until(self, fd, needle):
        text = b""
        while needle not in text:
            ready, _, _ = select.select([fd], [], [], 20)
            self.assertTrue(ready, text)
            text += os.read(fd, 4096)
        return text

    def test_detach(self):
        """on a terminal ^C asks; 'd' leaves the job alone"""
        p, tty = self.on_terminal()
        os.write(tty, b"d\n")
        self.assertEqual(p.wait(20), 130)
        self.assertEqual(self.states(), ["running"])

    def test_cancel_when_asked(self):
        """'c' cancels it"""
        p, tty = self.on_terminal()
        os.write(tty, b"c\n")
        self.assertEqual(p.wait(20), 130)
        self.assertEqual(self.states(), ["cancelled"])

    def test_go_on_when_asked(self):
        """Enter goes on, and the next ^C asks again"""
        p, tty = self.on_terminal()
        os.write(tty, b"\n")
        self.read_until(tty, b"maps 0/3")
        os.write(tty, b"\x03")
        self.read_until(tty, b"[d/c/Enter]")
        os.kill(self.master.pid, signal.SIGUSR1)
        self.assertEqual(p.wait(20), 0)
        self.assertEqual(p.stdout.read(), b"b\t1\n")

    def test_second_interrupt_cancels(self):
        """a second ^C cancels"""
        p, tty = self.on_terminal()
        os.write(tty, b"\x03")
        self.assertEqual(p.wait(20), 130)
        self.assertEqual(self.states(), ["cancelled"])


class Trouble(FakeMaster):
    def test_no_master(self):
        """without a master it is said what to do"""
        self.assertFails(self.ctl("list"), "no mr-masterd on this bus", "systemctl start", code=1)
        self.assertFails(self.ctl(*RUN), "no mr-masterd on this bus", code=1)

    def test_master_returns(self):
        """a master that dies and returns costs a waiting client nothing"""
        self.start_master("running")
        p = self.background("wait", "1")
        mr.wait_for_loop(p)
        self.master.kill()
        self.assertRaises(subprocess.TimeoutExpired, p.wait, 0.3)
        self.start_master("running")
        os.kill(self.master.pid, signal.SIGUSR1)
        self.assertEqual(p.wait(20), 0)
        self.assertIn(b"waiting for its return", p.stderr.read())

    def test_bus_dies(self):
        """a bus that dies ends it"""
        self.start_master()
        p = self.background(*RUN, "--name=hang")
        self.wait_until_submitted()
        mr.wait_for_loop(p)  # it has read the job
        self.daemon.kill()
        self.assertEqual(p.wait(20), 1)
        self.assertIn(b"connection to the bus was lost", p.stderr.read())


tap.main()
