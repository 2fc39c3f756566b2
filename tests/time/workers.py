"""What the master knows of its workers' clocks: they are its own here, so whatever it is told must hold zero."""

import json
import pathlib
import re
import shutil
import signal
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "lib"), str(TESTS / "cluster")]
import mr  # noqa: E402
import security  # noqa: E402
import tap  # noqa: E402
import timed  # noqa: E402

WRONG_CLOCK = mr.BUILD / "tests/time/libwrong-clock.so"


class Workers(mr.ClusterCase):
    workers_wanted = 2

    def test_clocks(self):
        """each heartbeat measures the worker's clock; the offset's bound holds the true one, 0"""
        def measured():
            rows = json.loads(self.ctl("workers", "--json=short").stdout)
            return len(rows) == 2 and all((r["ClockOffsetBoundUSec"] or 10**6) < 10**6 for r in rows) and rows
        for row in mr.wait_for("the clocks to be measured", measured):
            self.assertLessEqual(abs(row["ClockOffsetUSec"]), row["ClockOffsetBoundUSec"])
            self.assertIsInstance(row["ClockSynchronised"], bool)
        self.assertIn("CLOCK", self.ctl("workers").stdout.decode())


class Skew(mr.ClusterCase):
    """Workers whose clocks are wrong, by a library that is loaded before them."""

    workers_wanted = 0

    def setUp(self):
        if mr.SANITIZED:
            self.skipTest("a sanitizer wants to be loaded first, and so does the wrong clock")
        super().setUp()

    def start_skewed(self, index, seconds):
        return self.start_worker(index, before=["env", f"LD_PRELOAD={WRONG_CLOCK}", f"WRONG_CLOCK_SEC={seconds}"])

    def reason(self, name):
        return {r["Name"]: r["StateReason"] for r in json.loads(self.ctl("workers", "--json=short").stdout)}.get(name, "")

    def test_skew(self):
        """a clock 2 s ahead and one 3 s behind are warned of, once; job events have the master's time all the same"""
        self.start_worker(0)
        ahead = self.start_skewed(1, 2)
        self.start_skewed(2, -3)
        # The offset is known to some ms: "2s", "1.999s", "2.001s".
        for name, words in (("w1", r"its clock is (2|1\.9\d*|2\.0\d*)s ahead of the master's"),
                            ("w2", r"its clock is (3|2\.9\d*|3\.0\d*)s behind the master's")):
            mr.wait_for(f"the warning of {name}", lambda n=name, w=words: re.search(w, self.reason(n)))
        self.wait_for_workers(3)
        self.assertEqual(self.reason("w0"), "")

        before = time.time_ns() // 1000
        for i in range(6):
            self.file(f"in/{i}", b"one two two\n" * 300)
        # All slots are taken, so that each worker has a part in it.
        hold = self.dir / "hold"
        job = self.submit("--mapper", f"while [ ! -e {hold} ]; do sleep 0.02; done; cat", "--reducer=cat", "--reduces=3",
                          "--backups=no", "--input", self.dir / "in")
        mr.wait_for("six maps", lambda: self.job_get(job, "MapsRunning") == 6)
        hold.touch()
        mr.wait_for("the job", lambda: self.job_is_over(job))
        self.assertEqual(self.job_get(job, "State"), "done")
        after = time.time_ns() // 1000
        attempts = json.loads(self.ctl("timeline", "--json=short", job).stdout)
        self.assertEqual({a["Worker"] for a in attempts}, {"w0", "w1", "w2"})
        for a in attempts:
            self.assertTrue(before <= a["StartedUSec"] <= a["FinishedUSec"] <= after, (before, a, after))

        self.assertTrue(ahead.alive())
        ahead.kill(signal.SIGTERM)
        mr.wait_for("it to go", lambda: self.get("WorkersAlive") == 2)
        self.start_worker(1)
        mr.wait_for("its clock to be right", lambda: "The clock of worker w1 is right again" in self.master.text())
        self.assertEqual(self.reason("w1"), "")
        warnings = re.findall(r"Worker (\w+): its clock is .* times in its logs do not compare", self.master.text())
        self.assertEqual(sorted(warnings), ["w1", "w2"])


class Keys(security.Secure):
    """The keys that a host got when it joined the cluster are those of its clock, too."""

    workers_wanted = 1

    def credentials(self, name, source):
        """As LoadCredential= of a unit makes them."""
        d = self.dir / name
        d.mkdir()
        for copy, original in (("ca.pem", "ca.pem"), ("certificate.pem", "identity.pem"), ("key.pem", "identity.pem")):
            shutil.copy(source / "tls" / original, d / copy)
        return str(d)

    def daemon(self, name, credentials, *args, conf=""):
        path = self.file(f"{name}.conf", conf)
        d = mr.Daemon([timed.DAEMON, f"--config={path}", f"--state-dir={self.dir}/{name}", "--bus=none",
                       f"--clock-id={len(name):x}", *args], str(self.dir / f"{name}.log"),
                      dict(self.env, CREDENTIALS_DIRECTORY=credentials, MR_LOG_LEVEL="debug"))
        self.addCleanup(d.kill)
        return d

    def test_cluster_keys(self):
        """a joined host follows the master's by the cluster's keys and name; without the name it follows nobody"""
        masters = self.credentials("masters", self.dir / "master")
        workers = self.credentials("workers", self.spool(0))
        server = self.daemon("server", masters, "--role=server", "--listen=127.0.0.1:0", conf="[Server]\nLocalStratum=1\n")
        mr.wait_for("the server", lambda: "Telling the time on " in server.text())
        address = server.text().split("Telling the time on ")[1].split("\n")[0]
        name = f"[TLS]\nServerName={security.MASTER_NAME}\n"
        client = self.daemon("the-client", workers, "--dry-run", f"--server={address}", conf=name)
        nameless = self.daemon("a-nameless", workers, "--dry-run", f"--server={address}")
        plain = self.daemon("plain", str(self.dir), "--dry-run", f"--server={address}")
        mr.wait_for(f"the client: {client.text()}", lambda: f"Following {address}" in client.text())
        mr.wait_for(f"the refusal: {nameless.text()}", lambda: "ertificate" in nameless.text())
        mr.wait_for(f"the refusal: {plain.text()}", lambda: f"{address}: " in plain.text())
        for d in nameless, plain:
            self.assertNotIn("Following", d.text())


if __name__ == "__main__":
    tap.main()
