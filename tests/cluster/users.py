"""Several users on one cluster: shares, limits, priorities, and whose job is whose.

Real users of a real system bus, with polkitd (tests/bus/polkit.py): a job belongs to the uid that the bus says. Maps wait for
tokens, one each, which the test gives to a user's job; so it is the test that says when a slot becomes free.
"""

import os
import pathlib
import sys
import unittest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "lib"), str(TESTS / "bus")]
import mr  # noqa: E402
import polkit  # noqa: E402
import tap  # noqa: E402
from polkit import ALICE, BOB, CAROL, ROOT  # noqa: E402


class Users(polkit.SeveralUsers):
    workers_wanted = 2
    slots = 2
    MAPS = 12

    def setUp(self):
        super().setUp()
        for i in range(self.MAPS):
            self.file(f"in/{i:02}", "x\n")
        self.jobs = 0

    def try_submit(self, uid, priority="normal"):
        """One whose maps wait for tokens of their own; returns what busctl said, and the folder of tokens."""
        self.jobs += 1
        tokens = self.dir / f"tokens{self.jobs}"
        tokens.mkdir()
        mapper = f"until t=$(ls {tokens} | head -n 1) && [ -n \"$t\" ] && rmdir {tokens}/$t 2>/dev/null; do sleep 0.05; done; cat"
        p = self.call(uid, "", "SubmitJob", "a{sv}a{sh}", "6", "Mapper", "s", mapper, "Reducer", "s", "cat",
                      "Input", "as", "1", self.dir / "in", "Name", "s", f"job{self.jobs}", "Priority", "s", priority,
                      "Backups", "b", "false", "0")
        return p, tokens

    def submit(self, uid, priority="normal"):
        p, tokens = self.try_submit(uid, priority)
        self.assertEqual(p.returncode, 0, p.stdout)
        job = p.stdout.split()[1].strip('"')
        mr.wait_for(f"the plan of job {job}", lambda: self.state(job) != "planning")  # a slot that becomes free before is another's
        return job, tokens

    def give(self, tokens, count, name="t"):
        for i in range(count):
            (tokens / f"{name}{i:03}").mkdir()

    def prop(self, job, name):
        out = self.busctl(ROOT, "get-property", polkit.BUS_NAME, f"{polkit.MANAGER}/job/{job}", f"{polkit.BUS_NAME}.Job", name).stdout
        return out.split(None, 1)[1].strip().strip('"')

    def running(self, *jobs):
        return [int(self.prop(j, "MapsRunning")) for j in jobs]

    def wait_running(self, jobs, want):
        try:
            mr.wait_for("the maps", lambda: self.running(*jobs) == want)
        except AssertionError:
            self.fail(f"{self.running(*jobs)} maps run of {jobs}, not {want}")

    def finish(self, *pairs):
        for job, tokens in pairs:
            self.give(tokens, self.MAPS, "last")
        for job, _ in pairs:
            mr.wait_for(f"job {job}", lambda job=job: self.state(job) == "done")


class Shares(Users):
    def test_shares_and_priorities(self):
        """a newcomer gets his share as tasks end and nothing is taken away; a priority moves nobody else's jobs"""
        first, a = self.submit(ALICE)
        self.wait_running([first], [4])
        second, b = self.submit(CAROL)
        self.assertEqual(self.prop(second, "UID"), str(CAROL))
        self.give(a, 1)
        self.wait_running([first, second], [3, 1])
        self.give(a, 1)
        self.wait_running([first, second], [2, 2])
        self.give(a, 2)  # from here on whoever ends one gets the next one
        mr.wait_for("alice's maps", lambda: int(self.prop(first, "MapsDone")) == 4)
        self.wait_running([first, second], [2, 2])
        third, c = self.submit(CAROL, "very-high")
        self.give(a, 1, "u")
        mr.wait_for("alice's map", lambda: int(self.prop(first, "MapsDone")) == 5)
        self.wait_running([first, second, third], [2, 2, 0])
        self.give(b, 1)
        self.wait_running([first, second, third], [2, 1, 1])
        self.give(b, 1)
        self.wait_running([first, second, third], [2, 0, 2])
        self.finish((first, a), (third, c), (second, b))

    def test_jobs_have_owners(self):
        """a user cannot cancel, retry or read another user's job; its owner and root can"""
        job, tokens = self.submit(ALICE)
        self.wait_running([job], [4])
        for uid in (CAROL, BOB):
            self.assertRefused(self.call(uid, f"job/{job}", "Cancel"))
            self.assertRefused(self.call(uid, f"job/{job}", "OpenPart", "u", "0"))
        self.assertEqual(self.state(job), "running")
        self.finish((job, tokens))
        self.assertRefused(self.call(CAROL, f"job/{job}", "OpenPart", "u", "0"))
        self.assertEqual(self.call(ALICE, f"job/{job}", "OpenPart", "u", "0").returncode, 0)
        mine, _ = self.submit(ALICE)
        his, _ = self.submit(CAROL)
        self.assertEqual(self.call(ALICE, f"job/{mine}", "Cancel").returncode, 0)
        self.assertEqual(self.call(ROOT, f"job/{his}", "Cancel").returncode, 0)
        for j in (mine, his):
            mr.wait_for(f"job {j}", lambda j=j: self.state(j) == "cancelled")
        for uid in (CAROL, BOB):
            self.assertRefused(self.call(uid, f"job/{mine}", "Retry"))


class Limits(Users):
    master_settings = "UserRunningJobsMax=1\nUserMapsMax=1\nUserJobsMax=2\n"

    def test_limits_are_each_users_own(self):
        """limits of running jobs, of tasks and of jobs hold for each user by himself, and say so"""
        first, a = self.submit(ALICE)
        second, b = self.submit(ALICE)
        self.wait_running([first, second], [1, 0])
        mr.wait_for("the reason", lambda: "UserRunningJobsMax=" in self.prop(second, "StateReason"))
        p, _ = self.try_submit(ALICE)
        self.assertNotEqual(p.returncode, 0)
        self.assertIn("UserJobsMax=", p.stdout)
        third, c = self.submit(CAROL)
        self.wait_running([first, second, third], [1, 0, 1])  # of four slots two are free
        self.give(a, 3)
        mr.wait_for("alice's maps", lambda: int(self.prop(first, "MapsDone")) == 3)
        self.wait_running([first, second, third], [1, 0, 1])
        self.finish((first, a), (second, b), (third, c))


tap.main(at_once=3)
