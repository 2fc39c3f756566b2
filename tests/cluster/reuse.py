"""Lineage: what is mapped again when a job comes again, and what is not. One case each, by the name in docs/fault-tolerance.md.
"""

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


class Reuse(fault.FaultCase):
    """Outputs of maps are used again by later jobs, as far as what made them is the same."""

    FILES = 6

    def reuse_input(self):
        """Files larger than half a split, so that each is a map of its own, and old enough to be trusted."""
        self.job_input(self.FILES, lines=600)
        time.sleep(2.1)

    def job(self, *args, app=True, combine=None):
        """Runs a job over the input; its answer must be right. Returns (maps run, maps reused, what is said of each)."""
        out = self.dir / f"out{len(list(self.dir.glob('out*')))}"
        program = ["--app", "wordcount"] if app else ["--mapper", WORDS, "--reducer", SUM]
        if combine:
            program += ["--combiner", combine]
        if "--reduces" not in args:
            args = ("--reduces", 2, *args)
        reduces = args[args.index("--reduces") + 1]
        job = self.submit(*program, "--split-size", "16K", "--input", self.dir / "in", "--output", out, *args)
        if "noticed" not in self.times:
            self.breaks(job)
        self.assertOk(self.ctl("wait", "-q", job))
        rows = self.explain(job)
        how = [r["How"]["data"] for r in rows]
        run = [i for i, h in enumerate(how) if h == "run"]
        reused = [i for i, h in enumerate(how) if h == "reused"]
        # One of each, also of those that are given an output that is there; and one more where that turns out lost.
        self.assertRight(job, maps=len(rows) + self.job_get(job, "MapOutputsLost"), reduces=reduces)
        if self.job_get(job, "MapOutputsLost") and "noticed" not in self.times:
            self.notices(job, "map-output-lost")
        self.last = job
        self.assertEqual(len(run) + len(reused), self.job_get(job, "Maps"))
        self.assertEqual(self.job_get(job, "Counters").get("maps_reused", 0), len(reused))
        return run, reused, [r["Why"]["data"] for r in rows]

    def explain(self, job):
        return json.loads(self.busctl("call", "org.mapreduced.Master1", f"/org/mapreduced/Master1/job/{job}",
                                      "org.mapreduced.Master1.Job", "ExplainTasks", "suu", "map", "0", "0").stdout)["data"][0]

    def whys(self, job):
        """Of each map; None of one that is not done."""
        return [r["Why"]["data"] if "Why" in r else None for r in self.explain(job)]

    def touch(self, path, content):
        """Another content, and time enough to be trusted."""
        self.lines += content.count(b"\n") - (pathlib.Path(path).read_bytes().count(b"\n") if os.path.exists(path) else 0)
        pathlib.Path(path).write_bytes(content)
        self.want = mr.coreutils_wordcount(mr.text_files([str(self.dir / "in")]))
        time.sleep(2.1)

    def test_reuse_same_job(self):
        """the same job again: nothing is mapped, and the answer and the counters are the same"""
        self.reuse_input()
        run, reused, why = self.job()
        self.assertEqual((len(run), reused), (self.FILES, []))
        self.assertEqual(set(why), {"this piece of input was not seen before"})
        first, counters = self.last, self.job_get(self.last, "Counters")
        run, reused, why = self.job()
        self.assertEqual((run, len(reused)), ([], self.FILES))
        self.assertRegex(why[3], rf"^job {first} \(wordcount\), map 3, attempt 0$")
        again = self.job_get(self.last, "Counters")
        self.assertEqual(again.pop("maps_reused"), self.FILES)
        self.assertEqual(again, counters)

    def test_reuse_new_file(self):
        """one new file: it alone is mapped"""
        self.reuse_input()
        self.job()
        self.touch(self.dir / "in" / "f002b", fault.text(700))
        run, reused, why = self.job()
        self.assertEqual((run, len(reused)), ([3], self.FILES))
        self.assertIn("not seen before", why[3])

    def test_reuse_new_small_file(self):
        """one new file among many small ones, which share splits: of the maps that were, one at most is another"""
        for i in range(60):
            self.file(f"in/s{i:02}", fault.text(40 + i))
        self.lines = sum(40 + i for i in range(60))
        self.want = mr.coreutils_wordcount(mr.text_files([str(self.dir / "in")]))
        time.sleep(2.1)
        run, reused, _ = self.job()
        self.assertGreater(len(run), 3)
        self.assertLess(len(run), 20)
        self.touch(self.dir / "in" / "s29b", fault.text(35))
        again, reused, _ = self.job()
        self.assertGreaterEqual(len(reused), len(run) - 1)
        self.assertIn(len(again), (1, 2, 3))  # its split, or what that fell into

    def test_explain_outlives_the_master(self):
        """why maps are run is known to a master that was killed and started again: of jobs that are over, that run, and to come"""
        self.reuse_input()
        self.job()
        first = self.last
        self.touch(self.dir / "in" / "f004", fault.text(650))
        self.kill_master("--lease=60")
        self.wait_for_workers(3)
        self.assertEqual(set(self.whys(first)), {"this piece of input was not seen before"})
        run, _, why = self.job("--reduces", 3)  # to come
        self.assertEqual(len(run), self.FILES)
        self.assertIn("its input has changed", why[4])
        self.assertIn("the program, its files", why[3])
        held = self.submit("--mapper", self.holding("*f00[1-5]", WORDS), "--reducer", SUM, "--reuse=yes", "--split-size", "16K",
                           "--reduces", 2, "--input", self.dir / "in", "--output", self.dir / "held")
        mr.wait_for("the first map", lambda: self.job_get(held, "MapsDone") == 1)
        before = self.whys(held)
        self.assertIn("the program, its files", before[0])
        self.assertEqual(set(before[1:]), {None})
        self.wait_for_running(held, self.FILES - 1)
        self.kill_master("--lease=60")
        self.wait_for_workers(3)
        self.hold.touch()
        self.assertRight(held, maps=self.FILES, reduces=2)
        self.assertEqual(set(self.whys(held)), {before[0]})  # also of those that were run by the new master

    def test_reuse_changed_byte(self):
        """one byte of one file changed in place, its size and even its time of change put back: that file alone is mapped"""
        self.reuse_input()
        self.job()
        path = self.dir / "in" / "f004"
        before = path.stat()
        data = path.read_bytes()
        self.touch(path, data[:100] + (b"x" if data[100:101] != b"x" else b"y") + data[101:])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        time.sleep(2.1)
        run, reused, why = self.job()
        self.assertEqual((run, len(reused)), ([4], self.FILES - 1))
        self.assertIn("input has changed", why[4])

    def test_reuse_fresh_input_is_not_trusted(self):
        """an input written within the last two seconds has no lineage: it may change again unseen"""
        self.job_input(self.FILES, lines=600)
        for path in (self.dir / "in").iterdir():  # a slow machine may take its time from here to the job
            os.utime(path, (time.time() + 60,) * 2)
        run, _, why = self.job()
        self.assertEqual(len(run), self.FILES)
        self.assertIn("less than 2 s", why[0])
        run, _, _ = self.job()
        self.assertEqual(len(run), self.FILES)

    def test_reuse_other_program(self):
        """another number of reduces, combiner, mapper or shipped file: everything is mapped; the same ones again: nothing"""
        self.reuse_input()
        ship = self.file("table", "1")
        self.job()
        for args, options in ((("--reduces", 3), {}),
                              (("--reuse", "yes"), {"app": False}),
                              (("--reuse", "yes"), {"app": False, "combine": SUM}),
                              (("--reuse", "yes", "--env", "X=1"), {"app": False}),
                              (("--reuse", "yes", "--sort-key-fields", "1r"), {"app": False}),
                              (("--reuse", "yes", "--ignore-exit-status", "yes"), {"app": False}),
                              (("--reuse", "yes", "--file", ship), {"app": False})):
            run, reused, why = self.job(*args, **options)
            self.assertEqual((len(run), reused), (self.FILES, []), f"{args} {options}")
            self.assertIn("is another than when", why[0])
            run, reused, _ = self.job(*args, **options)
            self.assertEqual((run, len(reused)), ([], self.FILES), f"{args} {options}")
        self.file("table", "2")
        run, _, _ = self.job("--reuse", "yes", "--file", ship, app=False)
        self.assertEqual(len(run), self.FILES)

    def test_reuse_is_declared(self):
        """commands are run each time unless the job says Reuse=yes; Reuse=no runs apps, too"""
        self.reuse_input()
        for args, options, says in (((), {"app": False}, "Reuse=yes"), (("--reuse", "no"), {}, "Reuse=no")):
            for _ in range(2):
                run, reused, why = self.job(*args, **options)
                self.assertEqual((len(run), reused), (self.FILES, []))
                self.assertIn(says, why[0])

    def test_reuse_over_restarts(self):
        """outputs are used again after master and workers were started anew; those of a worker that is gone are made again"""
        self.reuse_input()
        self.job()
        self.kill_master()
        for w in self.workers:
            w.kill()
        mr.wait_for("the loss of all", lambda: self.get("WorkersAlive") == 0)
        self.workers = [self.start_worker(i) for i in range(3)]
        self.wait_registered(0, 1, 2)
        run, _, _ = self.job()
        self.assertEqual(run, [])
        held = len(list((self.dir / "spool-w1" / "cache").glob("*.run")))
        self.workers[1].kill()
        mr.wait_for("the loss", lambda: self.get("WorkersAlive") == 2)
        run, _, _ = self.job()
        self.assertEqual(len(run), held)

    def test_reuse_corrupt_output(self):
        """a kept output that has gone bad is found by its checksum and made again, and the bad one is dropped"""
        self.reuse_input()
        self.job()
        bad = sorted(self.dir.glob("spool-w*/cache/*.run"))[0]
        size, inode = bad.stat().st_size, bad.stat().st_ino
        fault.flip_bit(bad, size // 4)
        fault.flip_bit(bad, size * 3 // 4)
        run, reused, _ = self.job()
        self.assertEqual((len(run), len(reused)), (1, self.FILES - 1))
        self.assertEqual(self.job_get(self.last, "MapOutputsLost"), 1)
        def is_dropped():
            try:
                return bad.stat().st_ino != inode
            except FileNotFoundError:
                return True
        mr.wait_for("the bad one to be dropped", is_dropped, 10)
        run, _, _ = self.job()
        self.assertEqual(run, [])

    def test_reuse_lost_output(self):
        """a kept output deleted under its worker is made again"""
        self.reuse_input()
        self.job()
        sorted(self.dir.glob("spool-w*/cache/*.run"))[0].unlink()
        run, reused, _ = self.job()
        self.assertEqual((len(run), len(reused)), (1, self.FILES - 1))

    def test_reuse_cache_is_bounded(self):
        """the cache keeps what was used last, within ReuseCache= bytes"""
        for w in self.workers[1:]:
            w.kill(signal.SIGTERM)
        self.workers[0].kill(signal.SIGTERM)
        mr.wait_for("their loss", lambda: self.get("WorkersAlive") == 0)
        self.reuse_input()
        conf = self.file("workerd.conf", "[Worker]\nReuseCache=1G\n")
        self.workers = [self.start_worker(0, f"--config={conf}")]
        mr.wait_for("the worker", lambda: self.get("WorkersAlive") == 1)
        self.job()
        cache = self.dir / "spool-w0" / "cache"
        sizes = {p.name: p.stat().st_size for p in cache.glob("*.run")}
        self.assertEqual(len(sizes), self.FILES)
        newest = max(cache.glob("*.meta"), key=lambda p: p.stat().st_mtime_ns).name.replace(".meta", ".run")
        self.workers[0].kill(signal.SIGTERM)
        mr.wait_for("its loss", lambda: self.get("WorkersAlive") == 0)
        bound = max(sizes.values()) * 2 + 100
        self.file("workerd.conf", f"[Worker]\nReuseCache={bound}\n")
        self.workers = [self.start_worker(0, f"--config={conf}")]
        mr.wait_for("the worker", lambda: self.get("WorkersAlive") == 1)
        kept = {p.name: p.stat().st_size for p in cache.glob("*.run")}
        self.assertEqual(len(kept), 2)
        self.assertIn(newest, kept)
        run, reused, why = self.job()
        self.assertEqual((len(run), len(reused)), (self.FILES - 2, 2))
        self.assertLessEqual(sum(p.stat().st_size for p in cache.glob("*.run")), bound)


tap.main()
