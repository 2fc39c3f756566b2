"""The verbs of mrctl that ask or change a running cluster, with real daemons on a private bus."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

JOURNAL_REMOTE = "/lib/systemd/systemd-journal-remote"


class Verbs(mr.ClusterCase):
    workers_wanted = 2
    slots = 1

    def finish(self, job):
        mr.wait_for("the end of the job", lambda: self.job_is_over(job))

    def rows(self, *args):
        p = self.ctl(*args, "--json=short")
        self.assertOk(p)
        return json.loads(p.stdout)

    def gate(self):
        """A mapper that waits until it is opened."""
        go = self.dir / "go"
        return go, f"while [ ! -e {go} ]; do sleep 0.05; done; cat"

    def background(self, *args, **kwargs):
        p = subprocess.Popen([mr.MRCTL, f"--bus={self.bus}", *map(str, args)], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.dir, env=self.env, **kwargs)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.stderr.close)
        self.addCleanup(lambda: p.poll() is None and p.kill())
        return p

    def failing_job(self):
        self.script("m.sh", "#!/bin/sh\n[ -e %s/good ] && exec cat\nprintf 'no \\033[31mgood\\n' >&2\nexit 3\n" % self.dir)
        self.file("in/a", b"b\t1\n")
        job = self.submit("--mapper", "./m.sh", "--max-attempts", "2", "--input", "in")
        self.finish(job)
        return job

    def test_cat_of_a_reducers_order(self):
        """what a reducer wrote into an output directory is in no order to be merged by: cat prints the parts as they are"""
        self.file("in/a", "".join(f"{c}\n" for c in "abcdef"))
        job = ("--mapper", "cat", "--reducer", "tac", "--reduces", "2", "--input", "in")
        p = self.ctl("run", "-q", *job)
        self.assertOk(p)
        self.assertEqual(p.stdout.split(), [b"a", b"b", b"c", b"d", b"e", b"f"])
        self.assertOk(self.ctl("run", "-q", *job, "--output", self.dir / "out"))
        parts = [(self.dir / f"out/part-0000{i}").read_bytes() for i in range(2)]
        self.assertEqual(self.ctl("cat", "2").stdout, b"".join(parts))
        self.assertGreater(min(map(len, parts)), 2)
        kept = ("run", "-q", "--mapper", "cat", "--reduces", "2", "--input", "in", "--output", self.dir / "kept")
        self.assertOk(self.ctl(*kept))
        self.assertEqual(self.ctl("cat", "3").stdout.split(), p.stdout.split())

    def test_why_a_failed_job(self):
        """why names the cause, the attempt, its stderr and the way out; retry goes it"""
        job = self.failing_job()
        p = self.ctl("why", job)
        self.assertOk(p)
        text = p.stdout.decode()
        self.assertRegex(text, rf"^Job {job} failed\n   Cause: map-0: .*exited with status 3.*{self.dir}/in/a")
        self.assertRegex(text, r"\n Attempt: map-0/1 on w[01], failed after .*; 2 attempts of this task failed\n")
        self.assertIn("\n  Stderr: no \\x1b[31mgood\n", text)
        self.assertIn(f"'mrctl retry {job}'", text)
        why = self.rows("why", job)
        self.assertEqual((why["State"], why["Attempt"]["Task"], why["Attempt"]["Attempt"]), ("failed", 0, 1))
        self.assertEqual(why["ErrorOutput"], "no \x1b[31mgood\n")

        self.file("good")
        p = self.ctl("retry", job)
        self.assertOk(p)
        again = p.stdout.decode().strip()
        self.assertOk(self.ctl("wait", "-q", again))
        self.assertEqual(self.ctl("cat", again).stdout, b"b\t1\n")
        self.assertFails(self.ctl("retry", again, "--json=short"), f"Job {again} is done", code=1)
        self.assertIn(b"is done: nothing is wrong", self.ctl("why", again).stdout)

    def test_why_goes_by_words(self):
        """each way to fail has a word, by which why finds the way out; the sentence may say what it likes"""
        self.file("in/a", b"b\t1\n")
        self.file("plain", b"not a program\n")
        self.file("full/file")
        once = ("--max-attempts=1", "--input", "in")
        jobs = {
            "command-failed": ((*once, "--mapper", "exit 3"), "mend the command"),
            # Words of other causes in what the command says, and in its name, lead nobody astray.
            "command-failed ": ((*once, "--mapper", ": No space left, status 127, memory; exit 9"), "mend the command"),
            "command-not-found": ((*once, "--mapper", "no-such-command-here"), "ship it"),
            "command-not-executable": ((*once, "--mapper", f"true; {self.dir}/plain"), "chmod"),
            "command-killed": ((*once, "--mapper", "kill -KILL $$"), "out of memory"),
            "command-crashed": ((*once, "--mapper", "kill -SEGV $$"), "crashed"),
            "time-limit": ((*once, "--mapper", "sleep 60", "--task-timeout=500ms"), "raise the time limit"),
            "memory": ((*once, "--mapper", "python3 -c 'import time; x = bytearray(200 << 20); time.sleep(60)'", "--memory-limit=64M"), "more memory"),
            "output-exists": ((*once, "--app", "wordcount", "--output", "full"), "missing or empty"),
            "file-missing": (("--app", "wordcount", "--input", "nowhere"), "not mounted"),
            "not-permitted": (("--app", "wordcount", "--input", "in", "--output", "/sys/mr-result"), "allowed"),
            "input-changed": (("--app", "wordcount", "--input", "growing"), "when it is still"),
        }
        grows = pathlib.Path(self.file("growing", b"x\n"))
        self.assertOk(self.ctl("drain", "w0", "w1"))
        ids = {"input-changed": self.submit(*jobs["input-changed"][0])}
        mr.wait_for("its plan", lambda: self.job_get(ids["input-changed"], "Maps") == 1)
        grows.write_bytes(b"x\ny\n")
        self.assertOk(self.ctl("resume", "w0", "w1"))
        ids |= {word: self.submit(*args) for word, (args, _) in jobs.items() if word not in ids}
        for word, job in ids.items():
            with self.subTest(word):
                self.finish(job)
                why = self.rows("why", job)
                self.assertEqual((why["State"], why["CauseWord"]), ("failed", word.strip()), why)
                self.assertEqual(self.job_get(job, "Cause"), word.strip())
                self.assertIn(jobs[word][1], why["Remedy"])
                ours = word not in ("output-exists", "file-missing", "not-permitted")  # those are nobody's attempt
                self.assertEqual(self.job_get(job, "CauseAttempt"), "map-0/0" if ours else "")
                self.assertEqual(why["Attempt"]["Cause"] if ours else why["Attempt"], word.strip() if ours else None)
        self.master.kill()
        self.start_master()
        self.assertEqual({w: self.rows("why", j)["CauseWord"] for w, j in ids.items()}, {w: w.strip() for w in ids})

    def test_why_a_lost_worker(self):
        """an attempt that is lost has a word, too: and so has what the job waits for then"""
        self.file("in/a", b"x\n")
        go, mapper = self.gate()
        job = self.submit("--mapper", mapper, "--input", "in")
        mr.wait_for("it to run", lambda: self.job_get(job, "MapsRunning") == 1)
        busy = next(i for i in (0, 1) if f"on w{i}" in self.ctl("why", job).stdout.decode())
        self.assertOk(self.ctl("drain", f"w{1 - busy}"))
        self.workers[busy].kill()
        mr.wait_for("nobody to be left", lambda: self.job_get(job, "Cause") == "all-drained")
        p = self.busctl("call", "org.mapreduced.Master1", f"/org/mapreduced/Master1/job/{job}", "org.mapreduced.Master1.Job", "ListFailedAttempts", "u", "0")
        self.assertIn(json.loads(p.stdout)["data"][0][0][9], ("worker-unreachable", "worker-silent"))
        self.workers[1 - busy].kill()
        mr.wait_for("nobody to be there", lambda: self.job_get(job, "Cause") == "no-worker")
        self.assertIn("start mr-workerd", self.rows("why", job)["Remedy"])
        self.assertOk(self.ctl("cancel", job))
        go.touch()

    def failed_attempts(self, job):
        """Causes of attempts that failed or were lost, the newest first."""
        p = self.busctl("call", "org.mapreduced.Master1", f"/org/mapreduced/Master1/job/{job}", "org.mapreduced.Master1.Job", "ListFailedAttempts", "u", "0")
        return [row[9] for row in json.loads(p.stdout)["data"][0]]

    def test_why_a_restarted_worker(self):
        """a worker that comes back without the attempts that the master knew on it was restarted, and why says so"""
        self.file("in/a", b"x\n")
        go, mapper = self.gate()
        job = self.submit("--mapper", mapper, "--input", "in")
        mr.wait_for("it to run", lambda: self.job_get(job, "MapsRunning") == 1)
        busy = next(i for i in (0, 1) if f"on w{i}" in self.ctl("why", job).stdout.decode())
        self.master.kill()  # else it sees the worker's end, and has lost the attempt by that
        self.workers[busy].kill()
        self.start_master("--lease=1min")  # nor is it lost by that, however long the worker takes
        self.workers[busy] = self.start_worker(busy)
        mr.wait_for("it to be lost", lambda: self.job_get(job, "AttemptsLost") == 2)
        mr.wait_for("it to run again", lambda: self.job_get(job, "MapsRunning") == 1)
        self.assertEqual(self.failed_attempts(job), ["worker-restarted"] * 2)  # its map, and its reduce
        why = self.rows("why", job)
        self.assertEqual((why["CauseWord"], why["Remedy"]), ("worker-restarted", "nothing: what ran there runs again"))
        go.touch()
        self.finish(job)
        self.assertEqual(self.job_get(job, "State"), "done")

    def test_why_a_restarted_master(self):
        """a master that died while it ended a job ends it, and the attempts that its state still has open"""
        job = self.failing_job()
        self.assertEqual(self.failed_attempts(job), ["command-failed"] * 2)
        self.master.kill()
        with contextlib.closing(sqlite3.connect(self.dir / "master/state.db")) as db, db:
            # Running, and to fail: as it is between the failure and the end of what is removed after it.
            db.execute("UPDATE jobs SET state = 1, ending = state WHERE number = ?", (int(job),))
            db.execute("UPDATE attempts SET finished = 0, ending = '', reason = '', cause = '' WHERE job = ? AND attempt = 1", (int(job),))
        self.start_master()
        self.finish(job)
        self.assertEqual(self.failed_attempts(job), ["master-restarted", "command-failed"])
        why = self.rows("why", job)
        self.assertEqual((why["State"], why["CauseWord"], why["Attempt"]["Cause"]), ("failed", "command-failed", "master-restarted"))

    def test_why_a_job_that_waits(self):
        """why says what a job waits for: workers that are all drained, a slot, or its longest attempt"""
        self.file("in/a", b"x\n")
        go, mapper = self.gate()
        self.assertOk(self.ctl("drain", "w0", "w1"))
        self.assertEqual([w["State"] for w in self.rows("workers")], ["drained", "drained"])
        job = self.submit("--mapper", mapper, "--input", "in")
        mr.wait_for("it to wait", lambda: self.job_get(job, "StateReason"))
        self.assertIn("mrctl resume WORKER", self.ctl("why", job).stdout.decode())
        self.assertEqual(self.job_get(job, "Cause"), "all-drained")
        self.assertFails(self.ctl("resume", "w9", "w1"), "There is no worker w9", code=1)
        self.wait_for_running(job)
        self.assertRegex(self.ctl("why", job).stdout.decode(), "nothing holds it up\n Attempt: map-0/0 on w1, running for")
        second = self.submit("--mapper", mapper, "--input", "in")
        mr.wait_for("it to wait", lambda: self.job_get(second, "StateReason"))
        self.assertIn("waiting for a slot: all 2 are taken", self.ctl("why", second).stdout.decode())
        self.assertEqual(self.rows("why", second)["CauseWord"], "no-slot")
        go.touch()
        self.finish(second)

    def test_timeline(self):
        """timeline shows each attempt as a bar"""
        job = self.failing_job()
        text = self.ctl("timeline", job).stdout.decode()
        self.assertRegex(text, r"(?m)^map-0/0 +w[01] +failed +\S+ +\S+ +x+$")
        self.assertRegex(text, r"(?m)^map-0/1 +w[01] +failed +\S+ +\S+ +x+$")
        self.assertRegex(text, r"\n[23] attempts listed\.\n")
        rows = self.rows("timeline", job, "map-0")
        self.assertEqual([(r["Kind"], r["Task"], r["Attempt"], r["State"]) for r in rows],
                         [("map", 0, 0, "failed"), ("map", 0, 1, "failed")])
        self.assertLessEqual(rows[0]["FinishedUSec"], rows[1]["StartedUSec"])
        self.assertFails(self.ctl("timeline", job, "map-7"), f"job {job} has no task map-7", code=1)
        self.assertFails(self.ctl("timeline", job, "7"), "a task is called map-0 or reduce-0", code=2)

    def test_explain_and_counters(self):
        """explain says from what each task was made and who made it; counters what it counted"""
        self.file("in/a", b"x y\n" * 100)
        self.file("in/b", b"z\n")
        job = self.submit("--mapper", "cat", "--input", "in")
        self.finish(job)
        rows = self.rows("explain", job)
        self.assertEqual([r["Task"] for r in rows], ["map-0", "map-1", "reduce-0"])
        self.assertEqual(rows[0]["Lineage"]["Input"], [[f"{self.dir}/in/a", 0, 400]])
        self.assertRegex(self.ctl("explain", job, "reduce-0").stdout.decode(),
                         r"reduce-0 +run +0 +w[01] +partition 0 of the outputs of 2 maps")
        self.assertRegex(self.ctl("explain", job, "map").stdout.decode(), rf"map-1 +run +0 +w[01] +{self.dir}/in/b 0\+2")
        whole = {r["Name"]: r["Value"] for r in self.rows("counters", job)}
        self.assertEqual(whole["map_input_records"], 101)
        self.assertEqual(whole, self.job_get(job, "Counters"))
        one = {r["Name"]: r["Value"] for r in self.rows("counters", job, "map-1")}
        self.assertEqual(one["map_input_records"], 1)
        self.assertRegex(self.ctl("counters", job).stdout.decode(), r"(?m)^map_input_records +101$")

    def test_history(self):
        """history lists jobs that are over, by state, name, user and time, page by page"""
        self.file("in/a", b"x\n")
        first = self.submit("--mapper", "cat", "--name", "good one", "--input", "in")
        self.finish(first)
        bad = self.failing_job()
        go, mapper = self.gate()
        self.submit("--mapper", mapper, "--input", "in")
        self.assertEqual([j["Id"] for j in self.rows("history")], [bad, first])
        self.assertEqual([j["Id"] for j in self.rows("history", "--state=failed")], [bad])
        self.assertEqual([j["Id"] for j in self.rows("history", "--name=good*")], [first])
        self.assertEqual([j["Id"] for j in self.rows("history", "-n1")], [bad])
        self.assertEqual([j["Id"] for j in self.rows("history", "--user", os.geteuid())], [bad, first])
        self.assertEqual(self.rows("history", "--user", os.geteuid() + 1), [])
        self.assertEqual(len(self.rows("history", "--since=1h ago", "--until=now")), 2)
        self.assertEqual(self.rows("history", "--until=2h ago"), [])
        self.assertEqual([j["Id"] for j in self.rows("list", "--state=failed,done")], [bad, first])
        self.assertEqual([(t["Kind"], t["State"]) for t in self.rows("tasks", first, "--state=done")],
                         [("map", "done"), ("reduce", "done")])
        self.assertEqual(self.rows("tasks", first, "--state=idle", "--state=running"), [])
        self.assertEqual([t["Kind"] for t in self.rows("tasks", first, "--state=done", "-n1")], ["map"])
        self.assertFails(self.ctl("tasks", first, "--state=failed"), "idle, running or done")
        self.assertFails(self.ctl("history", "--state=fialed"), "did you mean 'failed'?", code=2)
        self.assertFails(self.ctl("history", "--since=soon"), "--since must be a time", code=2)
        self.assertFails(self.ctl("history", "--colour=x"), "unknown option", code=2)
        go.touch()

    def test_watch(self):
        """watch tells what happens as it happens, and ends with the job"""
        for i in range(3):
            self.file(f"in/{i}", b"x\n")
        go, mapper = self.gate()
        job = self.submit("--mapper", mapper, "--input", "in")
        p = self.background("watch", job)
        line = p.stdout.readline().decode()
        self.assertRegex(line, r"^[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d submitted by user")
        mr.wait_for("both at work", lambda: self.job_get(job, "MapsRunning") == 2)
        self.workers[0].kill()
        seen = b""
        while b"worker-lost" not in seen:
            line = p.stdout.readline()
            self.assertTrue(line, "watch ended before the worker was lost")
            seen += line
        go.touch()
        out, err = p.communicate(timeout=60 * mr.SLOW)
        self.assertEqual((p.returncode, err), (0, b""))
        self.assertRegex(out.decode().splitlines()[-1], " done: 3 maps, 1 reduces$")
        got = [json.loads(x)["Kind"] for x in self.ctl("watch", job, "--json=short").stdout.splitlines()]
        self.assertEqual((got[0], got[-1]), ("submitted", "done"))
        bad = self.failing_job()
        self.assertFails(self.ctl("watch", bad), f"job {bad} failed", code=1)

    def test_master_goes_away(self):
        """wait outlives a master that is killed and comes back; without it other verbs say so"""
        self.file("in/a", b"x\n")
        go, mapper = self.gate()
        job = self.submit("--mapper", mapper, "--input", "in")
        p = self.background("wait", job)
        mr.wait_for("it to run", lambda: self.job_get(job, "MapsRunning") == 1)
        mr.wait_for_loop(p)
        self.master.kill()
        mr.wait_for("the bus to notice", lambda: self.ctl("list").returncode == 1)
        self.assertFails(self.ctl("list"), "no mr-masterd on this bus", code=1)
        self.start_master()
        go.touch()
        out, err = p.communicate(timeout=60 * mr.SLOW)
        self.assertEqual(p.returncode, 0, err)
        self.assertIn(b"waiting for its return", err)

    @unittest.skipUnless(os.path.exists(JOURNAL_REMOTE), "needs systemd-journal-remote to write a journal")
    def test_logs(self):
        """logs puts events, stderr and the journal in order; a task's or an attempt's alone"""
        job = self.failing_job()
        (self.dir / "journal").mkdir()
        now = int(time.time() * 1e6)
        entries = "".join(f"__REALTIME_TIMESTAMP={now + i}\n__MONOTONIC_TIMESTAMP={i + 1}\n_BOOT_ID={'1' * 32}\n"
                          f"_HOSTNAME=alpha\n_PID=12\nSYSLOG_IDENTIFIER=mr-workerd\nMESSAGE={message}\n{fields}\n"
                          for i, (message, fields) in enumerate([
                              ("of the attempt", f"MR_JOB={job}\nMR_TASK=map-0\nMR_ATTEMPT=map-0/1\n"),
                              ("of another job", f"MR_JOB={job}0\nMR_TASK=map-0\n"),
                              ("of the job", f"MR_JOB={job}\n")]))
        subprocess.run([JOURNAL_REMOTE, "-o", self.dir / "journal/x.journal", "-"], input=entries.encode(), check=True,
                       stderr=subprocess.DEVNULL, timeout=60)
        where = f"--directory={self.dir}/journal"
        text = self.ctl("logs", job, where).stdout.decode()
        self.assertRegex(text, r"(?m)^\w{3} \d\d \S+ mr-masterd: submitted by user")
        self.assertRegex(text, r"(?m)^\w{3} \d\d \S+ w[01] map-0/0: no \\x1b\[31mgood$")
        self.assertRegex(text, r"(?m)^\w{3} \d\d \S+ alpha mr-workerd\[12\]: of the attempt$")
        self.assertIn("of the job", text)
        self.assertNotIn("another", text)
        times = [r["USec"] for r in self.rows_of_lines(self.ctl("logs", job, where, "--json=short"))]
        self.assertEqual(times, sorted(times))
        task = self.ctl("logs", job, "map-0", where).stdout.decode()
        self.assertEqual(len(re.findall("no .*good", task)), 2)
        self.assertNotIn("of the job", task)
        attempt = self.ctl("logs", job, "map-0/1", where).stdout.decode()
        self.assertEqual(len(re.findall("no .*good", attempt)), 1)
        self.assertIn("of the attempt", attempt)
        self.assertEqual(len(self.ctl("logs", job, where, "-n2").stdout.splitlines()), 2)
        self.assertEqual(self.ctl("logs", job, where, "--until=1h ago").stdout, b"")
        self.assertFails(self.ctl("logs", job, f"--directory={self.dir}/nowhere"), "No such file or directory", code=1)
        self.assertFails(self.ctl("logs", job, "map-0/x"), "a task is called", code=2)

    def rows_of_lines(self, p):
        self.assertOk(p)
        return [json.loads(line) for line in p.stdout.splitlines()]

    def test_logs_follow(self):
        """logs --follow shows what comes, and ends with the job"""
        self.file("in/a", b"x\n")
        go, mapper = self.gate()
        job = self.submit("--mapper", mapper + "; echo late words >&2", "--input", "in")
        p = self.background("logs", "-fq", job)
        self.assertIn(b"submitted", p.stdout.readline())
        go.touch()
        out, err = p.communicate(timeout=60 * mr.SLOW)
        self.assertEqual((p.returncode, err), (0, b""))
        self.assertIn(b"map-0/0: late words\n", out)
        self.assertIn(b" done: 1 maps", out)

    def test_reader_goes_away(self):
        """a reader that has seen enough is no error, for any verb"""
        job = self.failing_job()
        for verb in (("list",), ("history",), ("status", job), ("tasks", job), ("timeline", job), ("explain", job),
                     ("counters", job), ("logs", "-q", job), ("why", job), ("workers",), ("--help",)):
            with self.subTest(verb=verb):
                read, write = os.pipe()
                os.close(read)
                p = subprocess.run([mr.MRCTL, f"--bus={self.bus}", *verb], stdin=subprocess.DEVNULL, stdout=write,
                                   stderr=subprocess.PIPE, env=self.env, timeout=60 * mr.SLOW, check=False)
                os.close(write)
                self.assertEqual((p.returncode, p.stderr), (0, b""))

    def test_json_everywhere(self):
        """every verb that prints tables prints JSON, and nothing else on stdout"""
        job = self.failing_job()
        for verb in (("list",), ("history",), ("status", job), ("tasks", job), ("timeline", job), ("explain", job),
                     ("counters", job), ("why", job), ("workers",)):
            for mode in ("short", "pretty"):
                with self.subTest(verb=verb, mode=mode):
                    p = self.ctl(*verb, f"--json={mode}")
                    self.assertOk(p)
                    json.loads(p.stdout)

    def test_over_ssh(self):
        """-H speaks to the master of another host as systemctl does: files go there, results come back"""
        if not shutil.which("systemd-stdio-bridge"):
            self.skipTest("needs systemd-stdio-bridge")
        self.script("bin/ssh", f"""#!/bin/sh
echo "$@" >>{self.dir}/ssh.log
while [ "$1" != -- ]; do shift || exit 255; done
shift 2
case $1 in
mrctl) shift; exec {mr.MRCTL} --bus={self.bus} "$@";;
esac
exec "$@" --bus-path={self.bus}
""")
        env = dict(self.env, PATH=f"{self.dir}/bin:{os.environ['PATH']}")
        self.file("in/a", b"x\n")
        def far(*args):
            return self.mrctl("-H", "me@far", *args, env=env)
        p = far("run", "--mapper", "cat", "--input", self.dir / "in", "--output", self.dir / "out", "-q")
        self.assertOk(p)
        self.assertEqual((self.dir / "out/part-00000").read_bytes(), b"x\n")
        self.assertIn("me@far", (self.dir / "ssh.log").read_text())
        self.assertEqual([j["State"] for j in json.loads(far("list", "--json=short").stdout)], ["done"])
        self.assertOk(far("drain", "w0"))
        self.assertEqual({w["Name"]: w["State"] for w in self.rows("workers")}, {"w0": "drained", "w1": "alive"})
        self.script("m.sh", "#!/bin/sh\ncat\n")
        self.file("table.txt", b"y\n")
        shipped = ("--mapper", "./m.sh", "--reducer", "cat - table.txt", "--file", "table.txt", "--input", "in")
        p = far("run", "-q", *shipped)
        self.assertOk(p)
        self.assertEqual(p.stdout, b"x\t\ny\n")
        job = far("submit", *shipped).stdout.decode().strip()
        self.assertOk(far("wait", job))
        self.assertEqual(far("cat", job).stdout, p.stdout)
        self.assertEqual(far("cat", "1").stdout, b"x\n")
        p = far("logs", "-q", "1", "map-0/0", "--since=1h ago", "-n", "5", "--json=short")  # by the mrctl there, which has the journal
        self.assertOk(p)
        last = (self.dir / "ssh.log").read_text().splitlines()[-1]
        self.assertRegex(last, r"^-xT -- me@far mrctl logs --json=short -q -n5 --since=@\d+ 1 map-0/0$")
        self.assertEqual(p.stdout, self.ctl("logs", "-q", "1", "map-0/0", "--since=1h ago", "-n", "5", "--json=short").stdout)
        self.assertFails(far("logs", "99"), "no job 99")
        self.assertFails(far("logs", "1; true"), "is not a word")
        self.assertFails(far("cat", "99"), "no job 99")
        with open(self.dir / "large", "wb") as f:
            f.truncate(17 << 20)
        self.assertFails(far("submit", *shipped, "--file", "large"), "large cannot be shipped over ssh", "16 MiB")
        p = self.busctl("call", "org.mapreduced.Master1", "/org/mapreduced/Master1", "org.mapreduced.Master1.Manager",
                        "SubmitJobWithContents", "a{sv}a(sbay)", "1", "Mapper", "s", "cat", "1", "a/b", "false", "1", "65",
                        check=False)
        self.assertIn(b"a/b", p.stderr)
        self.assertFails(far("list", "--bus=session"), "--bus cannot be given with it", code=2)
        self.script("bin/ssh", "#!/bin/sh\nexit 255\n")
        self.assertFails(far("list"), "does 'ssh me@far' work", code=1)

    def test_interrupt(self):
        """wait and watch that are interrupted leave the job alone and end with 130"""
        self.file("in/a", b"x\n")
        go, mapper = self.gate()
        job = self.submit("--mapper", mapper, "--input", "in")
        for verb in (("wait",), ("watch",), ("logs", "-f")):
            with self.subTest(verb=verb):
                p = self.background(*verb, job)
                mr.wait_for_loop(p)
                p.send_signal(signal.SIGINT)
                p.communicate(timeout=30 * mr.SLOW)
                self.assertEqual(p.returncode, 130)
        self.assertEqual(self.job_get(job, "State"), "running")
        go.touch()
        self.finish(job)


tap.main()
