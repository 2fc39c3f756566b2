#!/usr/bin/env python3
"""Task processes that somebody else starts: the worker connects to a socket, systemd-socket-activate is there.

As with mr-task.socket each connection is a process that is not the worker's child; here without a user, a cgroup and a
sandbox of its own, which tests/cluster/hosts.py has.
"""

import json
import os
import pathlib
import shutil
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

ACTIVATE = "systemd-socket-activate"


@unittest.skipUnless(shutil.which(ACTIVATE), f"{ACTIVATE} is not installed")
class TaskSocket(mr.ClusterCase):
    workers_wanted = 1

    def start_worker(self, index, *extra):
        self.socket = f"{self.dir}/task"
        self.activator = self.start("activator", [ACTIVATE, "--listen", self.socket, "--seqpacket", "--accept",
                                                  "-E", "ASAN_OPTIONS", mr.TASK])
        mr.wait_for("the socket", lambda: os.path.exists(self.socket))
        return super().start_worker(index, f"--task-socket={self.socket}", *extra)

    def tasks(self):
        """Children of the activator, each an mr-task."""
        return [p for p in self.children(self.activator.pid) if b"mr-task" in self.cmdline(p)]

    @staticmethod
    def children(pid):
        try:
            return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:  # it has ended
            return []

    def test_answer(self):
        """jobs of a built-in and of commands have coreutils' answer"""
        files = mr.text_files(mr.TEXT_DIRS[:1])
        p = self.ctl("run", "--app", "wordcount", "--reduces", "2", "--input", mr.TEXT_DIRS[0])
        self.assertOk(p)
        self.assertSameLines(p.stdout, mr.coreutils_wordcount(files))
        script = self.script("m.sh", "#!/bin/sh\ntr -s '[:space:]' '\\n' | grep -v '^$'\n")
        p = self.ctl("run", "--mapper", "./m.sh", "--reducer", "uniq -c | awk '{print $2 \"\\t\" $1}'", "--file", script,
                     "--input", files[0])
        self.assertOk(p)
        self.assertSameLines(p.stdout, mr.coreutils_wordcount(files[:1]))
        self.assertEqual(self.children(self.workers[0].pid), [])

    def test_environment(self):
        """what the service manager told mr-task does not reach the commands"""
        p = self.ctl("run", "--mapper", "env", "--reducer", "cat", "--input", self.file("in", "x\n"))
        self.assertOk(p)
        self.assertIn(b"mapreduce_job_id=", p.stdout)
        for name in (b"LISTEN_FDS", b"LISTEN_PID"):
            self.assertNotIn(name, p.stdout)

    def test_cancel(self):
        """a cancelled job's commands end, though the worker could not kill them"""
        job = self.submit("--mapper", "echo $$ >&2; trap '' TERM; sleep 1000", "--reducer", "cat",
                          "--input", self.file("in", "x\n"))
        mr.wait_for("the command", lambda: any(b"sleep" in self.cmdline(p) for p in self.everything()))
        self.assertOk(self.ctl("cancel", job))
        mr.wait_for("its end", lambda: not any(b"sleep" in self.cmdline(p) for p in self.everything()))
        mr.wait_for("fresh processes", lambda: len(self.tasks()) == 2)

    def everything(self):
        """Processes below the activator, at any depth."""
        todo, found = [self.activator.pid], []
        while todo:
            pid = todo.pop()
            todo += self.children(pid)
            found.append(pid)
        return found

    @staticmethod
    def cmdline(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return b""

    def test_killed(self):
        """a task process that is killed costs an attempt, not the job"""
        flag = self.dir / "once"
        job = self.submit("--mapper", f"if mkdir {flag}; then sleep 1000; else cat; fi", "--reducer", "cat",
                          "--input", self.file("in", "x\n"))
        mr.wait_for("the command", flag.exists)
        victim = next(p for p in self.tasks() if self.children(p))
        os.kill(victim, signal.SIGKILL)
        mr.wait_for("the job", lambda: self.job_is_over(job))
        self.assertEqual(self.job_get(job, "State"), "done")
        self.assertEqual(self.job_get(job, "AttemptsFailed"), 1)

    def test_why(self):
        """how a task process ended that is nobody's child is its unit's to know, and why says where to look"""
        mapper = "echo $$ > pid; sleep 1000"
        job = self.submit("--mapper", mapper, "--max-attempts=1", "--input", self.file("in", "x\n"))
        mr.wait_for("the command", lambda: any(b"sleep" in self.cmdline(p) for p in self.everything()))
        os.kill(next(p for p in self.tasks() if self.children(p)), signal.SIGKILL)
        mr.wait_for("the job", lambda: self.job_is_over(job))
        why = json.loads(self.ctl("why", "--json=short", job).stdout)
        self.assertEqual((why["State"], why["CauseWord"], why["Attempt"]["Cause"]), ("failed", "task-process-ended", "task-process-ended"))
        self.assertIn("journalctl -t mr-task", why["Remedy"])

    def test_nobody_listens(self):
        """without the socket attempts go elsewhere, with the reason; they come back with it"""
        self.activator.kill(signal.SIGTERM)
        os.unlink(self.socket)
        job = self.submit("--app", "wordcount", "--input", mr.TEXT_DIRS[0])
        mr.wait_for("an event", lambda: "cannot start mr-task" in self.ctl("status", job).stdout.decode()
                    or b"cannot start" in self.busctl(
                        "call", "org.mapreduced.Master1", f"/org/mapreduced/Master1/job/{job}",
                        "org.mapreduced.Master1.Job", "ListEvents").stdout)
        self.assertFalse(self.job_is_over(job))
        self.activator = self.start("again", [ACTIVATE, "--listen", self.socket, "--seqpacket", "--accept", mr.TASK])
        mr.wait_for("the job", lambda: self.job_is_over(job), 60)
        self.assertEqual(self.job_get(job, "State"), "done")


if __name__ == "__main__":
    tap.main()
