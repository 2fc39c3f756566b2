"""What the master knows of its workers' clocks: they are its own here, so whatever it is told must hold zero."""

import json
import sys
import pathlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402


class Workers(mr.ClusterCase):
    workers_wanted = 2

    def test_clocks(self):
        """each heartbeat measures the worker's clock; the offset's bound holds the true one, 0"""
        def measured():
            rows = json.loads(self.ctl("workers", "--json=short").stdout)
            return len(rows) == 2 and all(r["ClockOffsetBoundUSec"] for r in rows) and rows
        for row in mr.wait_for("the clocks to be measured", measured):
            self.assertLessEqual(abs(row["ClockOffsetUSec"]), row["ClockOffsetBoundUSec"])
            self.assertLess(row["ClockOffsetBoundUSec"], 10**6)
            self.assertIsInstance(row["ClockSynchronised"], bool)
        self.assertIn("CLOCK", self.ctl("workers").stdout.decode())


if __name__ == "__main__":
    tap.main()
