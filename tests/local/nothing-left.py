"""`mrctl --local` leaves nothing behind: no process, no file, however it ends; and it opens no TCP port."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402


class NothingLeft(mr.Scratch):
    def start_long_job(self, *program):
        """A job whose mappers sleep, or do not return otherwise; returns when one of them runs."""
        flag = self.dir / "started"
        self.input = self.file("in", "a\n")
        program = program or ("--mapper", f"touch {flag}; sleep 600")
        p = subprocess.Popen(
            [mr.MRCTL, "--local", "run", *program, "--input", self.input],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env, cwd=self.dir,
            start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))  # these tests may run under nohup
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.stderr.close)
        mr.wait_for("the mapper", flag.exists)
        self.assertTrue(os.listdir(self.tmp))
        return p

    def session_members(self, leader):
        """Processes of the session that the test made for mrctl."""
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as f:
                    fields = f.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry))
        return found

    def has_sweeper(self, leader):
        for pid in self.session_members(leader):
            try:
                if pathlib.Path(f"/proc/{pid}/comm").read_text("utf-8") == "mr-sweep\n":
                    return True
            except OSError:
                pass  # it has just ended
        return False

    def kill(self, p):
        """As a system does that is out of memory; mr-sweep starts when the job has run for a twentieth of a second."""
        mr.wait_for("mr-sweep", lambda: self.has_sweeper(p.pid), 20)
        os.kill(p.pid, signal.SIGKILL)
        p.wait(20)

    def assertGone(self, p):
        mr.wait_for("every process of the session to end", lambda: not self.session_members(p.pid), 15)
        self.assertNothingLeft()

    def test_interrupt(self):
        """after ^C"""
        p = self.start_long_job()
        os.killpg(p.pid, signal.SIGINT)  # as a terminal does: the foreground group
        self.assertEqual(p.wait(20 * mr.SLOW), 130)
        self.assertGone(p)

    def test_terminate(self):
        """after SIGTERM"""
        p = self.start_long_job()
        os.kill(p.pid, signal.SIGTERM)
        p.wait(20 * mr.SLOW)
        self.assertGone(p)

    def test_kill(self):
        """after kill -9 of mrctl"""
        p = self.start_long_job()
        self.kill(p)
        self.assertGone(p)

    def test_kill_of_an_app(self):
        """after kill -9 of mrctl in a job of a built-in program"""
        self.input = self.file("in", b"some words to count\n" * 100000)
        p = subprocess.Popen([mr.MRCTL, "--local", "run", "--app", "wordcount", "--split-size", "4K", "--slots", "1", "--input", self.input],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self.env, start_new_session=True)
        self.addCleanup(p.stderr.close)
        self.kill(p)
        self.assertGone(p)

    def test_kill_while_nobody_reads(self):
        """after kill -9 of mrctl that waits for a reader of its result, however soon the job was over"""
        path = self.file("in", "".join(f"word{i}\n" for i in range(40000)))
        p = subprocess.Popen([mr.MRCTL, "--local", "run", "-q", "--app", "wordcount", "--input", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=self.env, start_new_session=True)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.stderr.close)
        self.assertEqual(os.read(p.stdout.fileno(), 4), b"word")
        os.kill(p.pid, signal.SIGKILL)
        p.wait(20)
        self.assertGone(p)

    def test_hangup(self):
        """after SIGHUP, as of a terminal that was closed; nohup is respected"""
        p = self.start_long_job()
        os.kill(p.pid, signal.SIGHUP)
        self.assertEqual(p.wait(20 * mr.SLOW), 129)
        self.assertGone(p)
        p = subprocess.Popen(["nohup", mr.MRCTL, "--local", "run", "-q", "--mapper", f"touch {self.dir}/second; sleep 1; cat",
                              "--input", self.input], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             env=self.env, cwd=self.dir)
        mr.wait_for("the mapper", (self.dir / "second").exists)
        os.kill(p.pid, signal.SIGHUP)
        self.assertEqual(p.communicate(timeout=20 * mr.SLOW)[0], b"a\n")
        self.assertEqual(p.returncode, 0)

    def test_kill_with_an_output(self):
        """after kill -9 of mrctl, when a part was in its place: an output is whole or not there"""
        out = self.dir / "out"
        reducer = self.script("reduce", f"""#!/bin/sh
if mkdir {self.dir}/first; then exec cat; fi
touch {self.dir}/started
sleep 600
""")
        p = self.start_long_job("--mapper", "seq 100", "--reducer", reducer, "--reduces", "2", "--slots", "2", "--output", out)
        mr.wait_for("the first part", lambda: list(out.glob("part-*")), 20)
        self.kill(p)
        self.assertGone(p)
        self.assertEqual(os.listdir(out), [])

    def test_sweeps_its_own(self):
        """mr-sweep touches no output that is marked as another job's, or as nobody's"""
        for mark, left in (("job-1-17", set()), ("job-1-18", {"_temporary", "part-00000", "mine"}), (None, {"part-00000", "mine"})):
            out, private = self.dir / "out", self.tmp / "mrctl-x"
            private.mkdir()
            self.file("out/part-00000", "a\n")
            if left:
                self.file("out/mine", "b\n")
            if mark:
                self.file(f"out/_temporary/{mark}")
            subprocess.run([mr.BUILD / "cli/mr-sweep", private], input=f"job-1-17 {out}".encode(), check=True)
            self.assertEqual(set(os.listdir(out)), left)
            self.assertNothingLeft()
            shutil.rmtree(out)

    def test_kill_with_a_stuck_plugin(self):
        """after kill -9 of mrctl, when a plugin in the task process itself does not return"""
        so = self.dir / "stuck.so"
        source = self.file("stuck.c", f"""
#include <fcntl.h>
#include <unistd.h>
#include <mapreduce.h>
static int map(MrTask *t, void *state, const void *line, size_t size)
{{
        close(open("{self.dir}/started", O_CREAT | O_WRONLY, 0600));
        while (pause() < 0)
                ;
        return 0;
}}
const MrPlugin mapreduce_plugin = {{MR_PLUGIN_HEADER, .name = "stuck", .map = map}};
""")
        subprocess.run(["cc", "-Wall", "-Werror", "-shared", "-fPIC", f"-I{mr.SOURCE}/include", "-o", str(so), source], check=True)
        p = self.start_long_job("--app", str(so))
        self.kill(p)
        self.assertGone(p)

    def test_kill_after_a_lost_task_process(self):
        """after kill -9 of mrctl, when the worker had to hunt what a killed task process left: mr-sweep is not its prey"""
        mapper = self.script("map", f"""#!/bin/sh
if mkdir {self.dir}/first; then
        sleep 601 >/dev/null 2>&1 &
        kill -9 $PPID
        exit 1
fi
touch {self.dir}/started
sleep 600
""")
        p = self.start_long_job("--mapper", mapper)
        mr.wait_for("the first attempt's orphan to be gone", lambda: "601" not in self.arguments(p.pid), 20)
        self.kill(p)
        self.assertGone(p)

    def arguments(self, leader):
        """Of all processes of the session, the last argument."""
        found = []
        for pid in self.session_members(leader):
            try:
                found.append(pathlib.Path(f"/proc/{pid}/cmdline").read_text("utf-8").rstrip("\0").rpartition("\0")[2])
            except OSError:
                pass  # it has just ended
        return found

    def test_kill_in_a_pipe(self):
        """after a job whose command left a process in the background"""
        p = self.mrctl("--local", "run", "--mapper", "sleep 600 >/dev/null 2>&1 & cat", "--input", self.file("in", "a\n"), "-q")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"a\n")
        self.assertNothingLeft()

    def test_no_open_port(self):
        """no TCP socket listens while it runs"""
        p = self.start_long_job()
        for pid in self.session_members(p.pid):
            inodes = set()
            try:
                fds = os.listdir(f"/proc/{pid}/fd")
                tables = [pathlib.Path(f"/proc/{pid}/net/{t}").read_text("ascii") for t in ("tcp", "tcp6", "udp", "udp6")]
            except OSError:
                continue  # a task process that has just ended
            for fd in fds:
                try:
                    target = os.readlink(f"/proc/{pid}/fd/{fd}")
                except OSError:
                    continue
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
            for table in tables:
                for row in table.splitlines()[1:]:
                    self.assertNotIn(row.split()[9], inodes)
        os.kill(p.pid, signal.SIGTERM)
        p.wait(20 * mr.SLOW)
        self.assertGone(p)

    def test_private_directory(self):
        """its directory is closed to other users"""
        p = self.start_long_job()
        for name in os.listdir(self.tmp):
            self.assertEqual(os.stat(self.tmp / name).st_mode & 0o077, 0)
        os.kill(p.pid, signal.SIGTERM)
        p.wait(20 * mr.SLOW)
        self.assertGone(p)

    def test_quick_to_start(self):
        """what a local job starts links none of OpenSSL, SQLite, libarchive and what compresses, most of what their loading would cost"""
        for room, name, not_one_of in (("../cli", "mrctl", ("libsmartcols", "libjansson")), ("mr-masterd", "mr-masterd-local.so", ("libcrypto", "libssl", "libsqlite3", "libz.", "libbz2")),
                                       ("mr-workerd", "mr-workerd-local.so", ("libcrypto", "libssl")),
                                       ("mr-task", "mr-task", ("libarchive", "libxml2", "libcrypto", "libz.", "libbz2", "liblzma", "libzstd", "liblz4"))):
            p = subprocess.run(["ldd", str(mr.BUILD / "daemons" / room / name)], stdout=subprocess.PIPE, check=True)
            self.assertIn(b"libc.so", p.stdout)
            for library in not_one_of:
                self.assertNotIn(library.encode(), p.stdout)


tap.main()
