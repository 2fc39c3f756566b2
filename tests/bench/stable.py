"""What Intermediate=stable costs when nothing fails, and saves when a worker is lost: medians, interleaved in one run.

The shared directory is on the disk that the spools are on, too: what is measured is our own part, not a network's.
"""

import json
import os
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "1"))
MAPS = 36
MAPPER = "sleep 0.3; tr -s '[:space:]' '\\n' | grep -av '^$' | sed 's/$/\\t1/'"
SUM = "awk -F '\\t' '{n[$1] += $2} END {for (w in n) printf \"%s\\t%d\\n\", w, n[w]}'"


class StableStorage(mr.ClusterCase):
    secure = False  # what is measured is not TLS
    def start_master(self, *extra):
        return super().start_master("--lease=1", "--heartbeat=200ms", *extra)

    def setUp(self):
        super().setUp()
        self.shared = self.dir / "shared"
        self.shared.mkdir()
        for i in range(MAPS):
            self.file(f"in/f{i:03}", b"".join(b"word%d and word%d\n" % (k * 7919 % 9973, k % 50) for k in range(20000)))
        self.want = mr.coreutils_wordcount(mr.text_files([str(self.dir / "in")]))

    def attempts(self, job):
        return sum(t["AttemptsStarted"] for t in json.loads(self.ctl("tasks", "--json=short", job).stdout)
                   if t["Kind"] == "map")

    def one(self, place, lose):
        """Seconds from submission to the end, and map attempts."""
        begin = time.monotonic()
        job = self.submit("--mapper", MAPPER, "--combiner", SUM, "--reducer", SUM, "--input", self.dir / "in", "--reduces", 2,
                          "--intermediate", place)
        if lose:
            mr.wait_for("most maps", lambda: self.job_get(job, "MapsDone") >= MAPS - 4)
            self.workers[0].kill()
        self.assertOk(self.ctl("wait", "-q", job))
        seconds = time.monotonic() - begin
        self.assertSameLines(self.ctl("cat", job).stdout, self.want)
        if lose:
            mr.wait_for("the lease", lambda: self.get("WorkersAlive") == 2)
            self.workers[0] = self.start_worker(0)
            self.wait_for_workers(3)
        return seconds, self.attempts(job)

    def test_stable(self):
        """local disks against stable storage, with and without the loss of a worker"""
        places = {"local": "local", "stable": f"stable:{self.shared}"}
        found = {(p, lose): [] for lose in (False, True) for p in places}
        for _ in range(ROUNDS):
            for (p, lose), times in found.items():
                times.append(self.one(places[p], lose))
        print(f"# {MAPS} maps, 2 reduces, 3 workers with 2 slots, lease 1 s, median of {ROUNDS}")
        print("# | | local | stable | stable / local |\n# |---|---|---|---|")
        for lose, what in ((False, "nothing fails"), (True, "a worker is lost near the end of the maps")):
            t = {p: statistics.median(s for s, _ in found[p, lose]) for p in places}
            n = {p: statistics.median(a for _, a in found[p, lose]) for p in places}
            print(f"# | {what}: seconds | {t['local']:.2f} | {t['stable']:.2f} | {t['stable'] / t['local']:.2f} |")
            print(f"# | {what}: map attempts | {n['local']:g} | {n['stable']:g} | {n['stable'] / n['local']:.2f} |")


if __name__ == "__main__":
    tap.main()
