"""What the master knows of attempts, tasks and workers, asked over the bus of real daemons."""

import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

JOB = "org.mapreduced.Master1.Job"
WORKER = "org.mapreduced.Master1.Worker"
MANAGER = "org.mapreduced.Master1.Manager"


class History(mr.ClusterCase):
    workers_wanted = 2
    slots = 1

    def call(self, path, interface, method, *args):
        p = self.busctl("call", "org.mapreduced.Master1", path, interface, method, *args)
        return json.loads(p.stdout)["data"] if p.stdout.strip() else None

    def of_job(self, job, method, *args):
        return self.call(f"/org/mapreduced/Master1/job/{job}", JOB, method, *args)

    def manager(self, method, *args):
        return self.call("/org/mapreduced/Master1", MANAGER, method, *args)

    def finish(self, job):
        mr.wait_for("the end of the job", lambda: self.job_is_over(job))

    def worker_path(self, name):
        return self.manager("GetWorker", "s", name)[0]

    def worker_state(self, name):
        return self.get("State", self.worker_path(name), WORKER)

    def test_attempts(self):
        """each attempt has its worker, its times and its end; each task its input and its counters"""
        self.file("in/a", b"x y\n" * 100)
        self.file("in/b", b"z\n" * 50)
        job = self.submit("--mapper", "cat; echo note >&2", "--reducer", "cat", "--reduces", "2", "--input", "in/a",
                          "--input", "in/b")
        self.finish(job)
        rows = self.of_job(job, "ListAttempts", "suu", "map", 0, 0)[0]
        self.assertEqual([r[:3] for r in rows], [["map", 0, 0], ["map", 1, 0]])
        for kind, task, attempt, worker, started, finished, state, fraction, reason, cause in rows:
            self.assertIn(worker, ("w0", "w1"))
            self.assertLessEqual(self.job_get(job, "SubmittedUSec"), started)
            self.assertLess(started, finished)
            self.assertLessEqual(finished, self.job_get(job, "FinishedUSec"))
            self.assertEqual((state, fraction, reason, cause), ("succeeded", 1, "", ""))
        self.assertEqual(len(self.of_job(job, "ListAttempts", "suu", "reduce", 1, 5)[0]), 1)
        self.assertEqual(self.of_job(job, "ListFailedAttempts", "u", 0)[0], [])
        self.assertEqual(sorted(t[1:4] + t[5:] for t in self.of_job(job, "ListErrorOutput")[0]),
                         [["map", 0, 0, "note\n"], ["map", 1, 0, "note\n"]])

        def plain(tasks):
            return [{k: v["data"] for k, v in t.items()} for t in tasks]
        maps = plain(self.of_job(job, "ExplainTasks", "suu", "map", 0, 0)[0])
        self.assertEqual([m["Input"] for m in maps], [[[f"{self.dir}/in/a", 0, 400]], [[f"{self.dir}/in/b", 0, 100]]])
        self.assertEqual([(m["Done"], m["Attempt"], m["Worker"]) for m in maps], [(True, 0, r[3]) for r in rows])
        reduces = plain(self.of_job(job, "ExplainTasks", "suu", "reduce", 0, 0)[0])
        self.assertEqual([(r["Partition"], r["Maps"]) for r in reduces], [(0, 2), (1, 2)])

        counters = dict(self.of_job(job, "ListTaskCounters", "suu", "map", 0, 0)[0])
        self.assertEqual([counters[i]["map_input_records"] for i in (0, 1)], [100, 50])
        seen = self.of_job(job, "ListEventsSince", "t", 0)[0]
        self.assertEqual([e[0] for e in seen], list(range(self.job_get(job, "EventCount"))))
        self.assertEqual(self.of_job(job, "ListEventsSince", "t", len(seen) - 1)[0], seen[-1:])

    def test_failed_and_retried(self):
        """a failed job tells its attempts and their stderr, and runs again as a new job with its files"""
        self.script("m.sh", "#!/bin/sh\n[ -e %s/good ] && exec cat\necho no good file >&2\nexit 3\n" % self.dir)
        self.file("in/a", b"b\t1\n")
        job = self.submit("--mapper", "./m.sh", "--max-attempts", "2", "--input", "in")
        self.finish(job)
        rows = self.of_job(job, "ListFailedAttempts", "u", 0)[0]
        self.assertEqual([(r[:3], r[6]) for r in rows], [(["map", 0, 1], "failed"), (["map", 0, 0], "failed")])
        self.assertIn("exited with status 3", rows[0][8])
        self.assertEqual([t[-1] for t in self.of_job(job, "ListErrorOutput")[0]], ["no good file\n"] * 2)

        self.file("good")
        (self.dir / "m.sh").unlink()
        again, path = self.of_job(job, "Retry")
        self.assertNotEqual(again, job)
        self.finish(again)
        self.assertEqual(self.job_get(again, "State"), "done")
        self.assertEqual(self.ctl("cat", again).stdout, b"b\t1\n")
        p = self.busctl("call", "org.mapreduced.Master1", path, JOB, "Retry", check=False)
        self.assertFails(p, f"Job {again} is done")

        found = self.manager("ListJobsFiltered", "a{sv}u", 1, "State", "as", 1, "failed", 0)[0]
        self.assertEqual([(j[0], j[3], j[11]) for j in found], [(job, "failed", 2)])
        found = self.manager("ListJobsFiltered", "a{sv}u", 2, "Name", "s", "*m.sh*", "Before", "s", again, 0)[0]
        self.assertEqual([j[0] for j in found], [job])
        p = self.busctl("call", "org.mapreduced.Master1", "/org/mapreduced/Master1", MANAGER, "ListJobsFiltered",
                        "a{sv}u", 1, "Colour", "s", "red", 0, check=False)
        self.assertFails(p, "unknown criterion Colour")

    def test_drain(self):
        """a drained worker ends what it runs and gets nothing new, also after a restart of the master"""
        for i in range(6):
            self.file(f"in/{i}", b"x\n")
        go = self.dir / "go"
        job = self.submit("--mapper", f"while [ ! -e {go} ]; do sleep 0.05; done; cat", "--input", "in")
        mr.wait_for("both workers at work", lambda: self.job_get(job, "MapsRunning") == 2)
        self.call(self.worker_path("w0"), WORKER, "Drain")
        self.assertEqual(self.worker_state("w0"), "draining")
        go.touch()
        self.finish(job)
        self.assertEqual(self.job_get(job, "State"), "done")
        where = [r[3] for kind in ("map", "reduce") for r in self.of_job(job, "ListAttempts", "suu", kind, 0, 0)[0]]
        self.assertEqual(where.count("w0"), 1, where)
        mr.wait_for("w0 to be drained", lambda: self.worker_state("w0") == "drained")

        self.master.kill()
        self.start_master()
        mr.wait_for("w0 to be back", lambda: self.worker_state("w0") == "drained")
        mr.wait_for("w1 to be back", lambda: self.worker_state("w1") == "alive")
        job = self.submit("--mapper", "cat", "--input", "in")
        self.finish(job)
        rows = self.of_job(job, "ListAttempts", "suu", "map", 0, 0)[0]
        self.assertEqual({r[3] for r in rows}, {"w1"})

        self.call(self.worker_path("w1"), WORKER, "Drain")
        job = self.submit("--mapper", "cat", "--input", "in")
        mr.wait_for("the job to wait", lambda: "all are drained" in self.job_get(job, "StateReason"))
        self.call(self.worker_path("w0"), WORKER, "Resume")
        self.finish(job)
        self.assertEqual(self.worker_state("w0"), "alive")
        rows = self.of_job(job, "ListAttempts", "suu", "map", 0, 0)[0]
        self.assertEqual({r[3] for r in rows}, {"w0"})
        p = self.busctl("call", "org.mapreduced.Master1", "/org/mapreduced/Master1", MANAGER, "GetWorker", "s", "w7",
                        check=False)
        self.assertFails(p, "There is no worker w7")

    def run_over_restart(self, between, *options):
        """A job of one map that waits while the master is killed and BETWEEN happens; its attempts."""
        go = self.dir / "go"
        self.file("in/a", b"x\n")
        job = self.submit("--mapper", f"while [ ! -e {go} ]; do sleep 0.05; done; cat", "--input", "in")
        self.wait_for_running(job)
        rows = self.of_job(job, "ListAttempts", "suu", "map", 0, 0)[0]
        self.master.kill()
        between(rows[0][3])
        self.start_master(*options)
        go.touch()
        self.finish(job)
        return self.of_job(job, "ListAttempts", "suu", "map", 0, 0)[0]

    def test_master_killed(self):
        """an attempt that runs while the master is killed goes on, and is one attempt"""
        rows = self.run_over_restart(lambda worker: None, "--lease=1min")
        self.assertEqual([r[6] for r in rows], ["succeeded"])

    def test_master_and_worker_killed(self):
        """an attempt whose worker died while the master was away is lost, and another one succeeds"""
        rows = self.run_over_restart(lambda worker: self.workers[int(worker[1:])].kill())
        self.assertEqual([r[6] for r in rows], ["lost", "succeeded"])
        self.assertIn("not heard of for", rows[0][8])


tap.main()
