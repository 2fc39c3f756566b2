"""Stragglers, the blacklist, limits and priorities: who gets which task when, with real processes."""

import collections
import json
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fault  # noqa: E402
import mr  # noqa: E402
import tap  # noqa: E402
from fault import SUM, WORDS  # noqa: E402



class Sharing(fault.FaultCase):
    """With backup attempts, unless the case says otherwise."""

    BACKUPS = True

    def happened(self, job):
        return [(kind, text) for _, kind, text in self.stories(job)]

    def event(self, job, kind):
        """The text of the only event of that kind."""
        texts = [t for k, t in self.happened(job) if k == kind]
        self.assertEqual(len(texts), 1, self.happened(job))
        return texts[0]

    def hang(self, what):
        """A command that stops its own mr-task, and so itself, in the first attempt of a task, and the file with the pid."""
        pid = self.dir / "hung"
        return (f"case $mapreduce_task_attempt_id in *_{what}_0) echo $PPID > {pid}.new; mv {pid}.new {pid};"
                " kill -STOP $PPID; kill -STOP $$;; esac; "), pid

    def hangs(self, pid_file):
        """From when it was written on, however late we see it."""
        mr.wait_for("the hang", pid_file.exists)
        self.breaks()
        self.broke = pid_file.stat().st_mtime

    def assertGone(self, pid_file):
        """The stopped process was killed, though it could not be asked."""
        pid = int(pid_file.read_text())
        def ended():
            try:
                return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
            except OSError:
                return True
        mr.wait_for("the stopped mr-task to end", ended)

    def test_hung_map_is_overtaken(self):
        """a map whose mr-task is stopped, on a live worker, is overtaken by one backup attempt"""
        self.job_input()
        stop, pid = self.hang("m_000003")
        job = self.submit("--mapper", stop + WORDS, "--reducer", SUM, "--input", self.dir / "in", "--reduces", "2")
        self.hangs(pid)
        self.assertRight(job, maps=12 + 1, reduces=2)
        self.notices(job, "backup-started")
        self.assertEqual(self.job_get(job, "AttemptsFailed"), 0)
        self.assertEqual(self.job_get(job, "AttemptsLost"), 0)
        first, second = self.event(job, "backup-started").split(": ")[0], self.event(job, "attempt-overtaken")
        self.assertRegex(first, "attempt 0 of map 3 on w[012] has done")
        self.assertIn("attempt 0 of map 3 on", second)
        self.assertIn("by attempt 1 on", second)
        self.assertNotEqual(first.split(" on ")[1][:2], second.split("by attempt 1 on ")[1][:2], "the same worker")
        self.assertGone(pid)

    def test_hung_reduce_is_overtaken(self):
        """a reduce whose mr-task is stopped is overtaken by one backup attempt, and has one part"""
        self.job_input()
        stop, pid = self.hang("r_000002")
        job = self.count_job(reducer=stop + SUM, reduces=6)
        self.hangs(pid)
        self.assertRight(job, maps=12, reduces=6 + 1)
        self.notices(job, "backup-started")
        self.assertIn("attempt 0 of reduce 2", self.event(job, "attempt-overtaken"))
        self.assertGone(pid)

    def test_no_backups_on_request(self):
        """with --backups=no a hung map is waited for, and its end counts"""
        self.job_input()
        stop, pid = self.hang("m_000003")
        stop = stop.replace("kill -STOP $$;; ", ":;; ")
        job = self.submit("--mapper", stop + WORDS, "--reducer", SUM, "--input", self.dir / "in", "--backups=no")
        self.wait_maps(job, 11)
        time.sleep(4)  # with backups it took one to two seconds
        self.assertEqual(self.job_get(job, "MapsDone"), 11)
        self.assertEqual(self.attempts(job, "map"), 12)
        os.kill(int(pid.read_text()), signal.SIGCONT)
        self.assertRight(job, maps=12, reduces=1)

    def test_even_job_has_no_backups(self):
        """a job whose tasks do alike starts nothing twice"""
        self.job_input(24)
        job = self.submit("--mapper", "sleep 1.5; " + WORDS, "--reducer", SUM, "--input", self.dir / "in", "--reduces", "4")
        self.assertRight(job, maps=24, reduces=4)

    def test_random_mapper_is_never_mixed(self):
        """a mapper that writes other values each time: each reduce reads one attempt of each map"""
        self.job_input(12)
        stop, _ = self.hang("m_000005")
        mapper = self.script("random.sh", "#!/bin/sh\n" + stop +
                             "n=$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')\ncat >/dev/null\n"
                             "for k in $(seq 60); do printf 'k%s\\t%s %s\\n' $k $mapreduce_task_partition $n; done\nsleep 0.2\n")
        out, hold = self.dir / "out", self.dir / "hold"
        reducer = f"case $mapreduce_task_partition in 0|1) ;; *) while [ ! -e {hold} ]; do sleep 0.02; done;; esac; cat"
        job = self.submit("--mapper", mapper, "--reducer", reducer, "--input", self.dir / "in", "--reduces", "8", "--output", out)
        mr.wait_for("the first reduces", lambda: self.job_get(job, "ReducesDone") >= 2)
        mr.wait_for("a reduce on the worker that dies", lambda: self.on(job, "reduce", "running", "w1"))
        self.breaks()
        self.workers[1].kill()
        hold.touch()
        self.assertOk(self.ctl("wait", "-q", job))
        self.notices(job, "attempt-lost")
        seen = collections.Counter()
        for part in sorted(out.glob("part-*")):
            nonces = collections.defaultdict(set)
            for row in part.read_text().splitlines():
                key, value = row.split("\t")
                task, nonce = value.split()
                nonces[task].add(nonce)
                seen[key, task] += 1
            for task, different in nonces.items():
                self.assertEqual(len(different), 1, f"{part.name} has records of two attempts of map {task}")
        # No other program knows what is random: that it is whole, and of which attempts, is what coreutils' answer is elsewhere.
        self.assertEqual(seen, dict.fromkeys(((f"k{k}", str(m)) for k in range(1, 61) for m in range(12)), 1))
        self.submitted[job] = (self.rows(job), out, self.lines)
        lost, overtaken = self.lost(job, "map"), sum(kind == "attempt-overtaken" for kind, _ in self.happened(job))
        self.assertGreaterEqual(self.job_get(job, "MapOutputsLost"), 1)
        self.assertRight(job, maps=(12 + 1 + lost, 12 + overtaken + lost + self.job_get(job, "MapOutputsLost")),
                         reduces=(8 + self.lost(job, "reduce"), 8 + self.lost(job, "reduce") + overtaken))

    def test_bad_worker_is_blacklisted(self):
        """a worker that fails everything gets no tasks for a while, and everybody can read why"""
        self.job_input(60)
        mapper = "case $(pwd -P) in */spool-w1/*) echo no such library >&2; exit 9;; esac; sleep 0.2; " + WORDS
        job = self.submit("--mapper", mapper, "--reducer", SUM, "--input", self.dir / "in", "--max-attempts", "10", "--backups=no")
        def state():
            rows = json.loads(self.ctl("workers", "--json=short").stdout)
            return next((r["State"], r["StateReason"]) for r in rows if r["Name"] == "w1")
        self.breaks(job)
        mr.wait_for("w1 to be blacklisted", lambda: state()[0] == "blacklisted")
        self.assertRegex(state()[1], r"until \d\d:\d\d:\d\d: tasks that failed here succeeded elsewhere; .*status 9")
        self.assertRegex(self.ctl("workers").stdout.decode(), r"w1\s+blacklisted")
        failed = self.job_get(job, "AttemptsFailed")
        self.assertOk(self.ctl("wait", "-q", job))
        self.assertLessEqual(self.job_get(job, "AttemptsFailed"), failed + 1)
        self.assertRight(job, maps=60 + self.job_get(job, "AttemptsFailed"), reduces=1)
        self.assertRegex(self.event(job, "worker-blacklisted"), "w1 gets no tasks until .*status 9")
        self.notices(job, "worker-blacklisted")
        w1 = self.workers[1]
        w1.kill(signal.SIGTERM)
        self.workers[1] = self.start_worker(1)
        mr.wait_for("the restarted worker to be trusted", lambda: state() == ("alive", ""))

    def test_too_many_attempts(self):
        """the attempt that was one too many is named, with its worker"""
        self.job_input(1)
        job = self.submit("--mapper", "cat > /dev/null; exit 7", "--input", self.dir / "in", "--max-attempts", "3")
        self.breaks(job)
        p = self.ctl("wait", job)
        self.assertFails(p, "status 7", "the last of 3 that failed)")
        self.assertRegex(p.stderr.decode(), r"\(attempt 2, on w[012], the last of 3 that failed\)")
        self.assertOver(job, "failed", maps=3, reduces=(0, 1))

    def test_below_min_free(self):
        """a job whose workers are all short of disk waits, and says which and how short"""
        for w in self.workers:
            w.kill(signal.SIGTERM)
        mr.wait_for("the workers to go", lambda: self.get("WorkersAlive") == 0)
        conf = self.file("full.conf", "[Worker]\nMinFree=900T\n")
        self.workers = [self.start_worker(7, f"--config={conf}")]
        self.wait_for_workers(1)
        self.want, self.lines = b"a\t2\nb\t1\n", 1
        job = self.submit("--app", "wordcount", "--input", self.file("in/x", "a b a"))
        self.broke = self.since(job, "started")
        # Each time that it is asked again, and until it has refused, the job does not wait.
        def waits():
            reason = self.job_get(job, "StateReason")
            return "less than MinFree=900" in reason and reason
        reason = mr.wait_for("the reason", waits)
        self.notices()
        self.assertRegex(reason, "^waiting for a worker that takes its tasks: worker w7 has .* free")
        def why():
            return json.loads(self.ctl("why", "--json=short", job).stdout)["CauseWord"]
        mr.wait_for("the cause", lambda: why() == "no-willing-worker")
        self.workers[0].kill(signal.SIGTERM)
        self.workers = [self.start_worker(7)]
        self.assertOk(self.ctl("wait", "-q", job))
        refused = [text for kind, text in self.happened(job) if kind == "attempt-rejected"]
        # One may have been on its way to the worker when that was ended.
        self.assertRight(job, maps=1 + sum("map 0" in text for text in refused) + self.lost(job, "map"),
                         reduces=1 + sum("reduce 0" in text for text in refused) + self.lost(job, "reduce"))

    def test_stalled_master(self):
        """a master that was stopped for longer than a lease takes no healthy worker for lost"""
        self.job_input(40)
        job = self.submit("--mapper", "sleep 0.3; " + WORDS, "--reducer", SUM, "--input", self.dir / "in", "--backups=no")
        mr.wait_for("some maps", lambda: self.job_get(job, "MapsDone") >= 4)
        os.kill(self.master.pid, signal.SIGSTOP)
        time.sleep(4.5)  # the lease is 3 s
        self.breaks()
        os.kill(self.master.pid, signal.SIGCONT)
        self.assertRight(job, maps=40, reduces=1)
        self.assertEqual([e for e in self.happened(job) if e[0] == "worker-lost"], [])
        self.assertEqual(self.job_get(job, "AttemptsLost"), 0)


class Limits(fault.FaultCase):
    workers_wanted = 1
    slots = 4

    def start_master(self, *extra):
        conf = self.file("master.conf", "[Master]\nUserRunningJobsMax=1\nUserJobsMax=3\nUserMapsMax=2\n")
        return super().start_master(f"--config={conf}", *extra)

    def test_limits_of_a_user(self):
        """limits of a user's jobs and tasks: further ones wait and say so, or are refused; priorities order them"""
        go = self.dir / "go"
        for i in range(6):
            self.file(f"in/{i}", "x\n")
        hold = f"while [ ! -e {go} ]; do sleep 0.05; done; cat"
        args = ["--mapper", hold, "--reducer", "cat", "--input", str(self.dir / "in")]
        self.want, self.lines = b"x\t\n" * 6, 6
        first = self.submit(*args)
        mr.wait_for("two maps", lambda: self.job_get(first, "MapsRunning") == 2)
        second, third = self.submit(*args), self.submit(*args, "--priority=high")
        for job in (second, third):
            mr.wait_for("the reason", lambda job=job: "UserRunningJobsMax=" in self.job_get(job, "StateReason"))
            self.assertEqual(json.loads(self.ctl("why", "--json=short", job).stdout)["CauseWord"], "user-limit")
        self.assertFails(self.ctl("submit", *args), "3 jobs of user", "UserJobsMax=")
        self.assertEqual(self.job_get(first, "MapsRunning"), 2)
        self.assertEqual(self.get("SlotsUsed"), 2)
        self.assertFails(self.ctl("submit", *args, "--priority=urgent"), "very-low, low, normal, high, very-high")
        go.touch()
        for job in (first, second, third):
            self.assertOk(self.ctl("wait", "-q", job))
        for job in (first, second, third):
            self.assertRight(job, maps=6, reduces=1)
        began = {j: self.job_get(j, "FinishedUSec") for j in (first, second, third)}
        self.assertLess(began[first], began[third])
        self.assertLess(began[third], began[second], "the higher priority came last")


tap.main()
