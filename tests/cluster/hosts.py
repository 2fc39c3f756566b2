#!/usr/bin/env python3
"""Four hosts with a real systemd and the built packages: what an administrator does, and what befalls them."""

import json
import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import container  # noqa: E402
import mr  # noqa: E402
import tap  # noqa: E402

MASTER = "mr-masterd.service"
WORKER = "mr-workerd.service"
PORT = 7077


class Hosts(unittest.TestCase):
    """One cluster for all cases: master (which works, too), one, two and three."""

    maxDiff = 2000
    cluster = None

    @classmethod
    def setUpClass(cls):
        reason = "sanitized programs are not packaged" if mr.SANITIZED else container.why_not()
        if reason:
            raise unittest.SkipTest(reason)
        cls.cluster = container.Cluster()
        cls.addClassCleanup(cls.cluster.close)
        cls.master, cls.one, cls.two, cls.three = (cls.cluster.add(n) for n in ("master", "one", "two", "three"))
        cls.workers = [cls.master, cls.one, cls.two, cls.three]
        cls.shared = cls.cluster.share("/srv/shared")
        os.chmod(cls.shared, 0o777)
        cls.text = cls.make_text()
        for host in cls.workers:
            cls.configure(host)
            host.boot(wait=False)
        for host in cls.workers:
            host.wait_booted()
        cls.master.up(MASTER)
        for host in cls.workers:
            cls.join(host)
        cls.wait_for_workers(4)

    @classmethod
    def make_text(cls):
        (cls.shared / "text").mkdir()
        for number, path in enumerate(mr.text_files(mr.TEXT_DIRS)[:40]):
            (cls.shared / "text" / f"{number}.txt").write_bytes(pathlib.Path(path).read_bytes())
        return sorted(map(str, (cls.shared / "text").iterdir()))

    @classmethod
    def configure(cls, host):
        if host is cls.master:
            host.write("/etc/mapreduced/masterd.conf.d/test.conf",
                       f"[Master]\nListen={host.address}:{PORT}\nLeaseSec=3\n"
                       "HeartbeatSec=300ms\n")
        host.write("/etc/mapreduced/workerd.conf.d/test.conf",
                   "[Worker]\nSlots=2\n")

    @classmethod
    def join(cls, host):
        """What an administrator types: on the master, then on the new host."""
        token = cls.master.output("mrctl", "-q", "cluster", "token").strip()
        return host.run("mrctl", "cluster", "join", token)

    @classmethod
    def mrctl(cls, *args, **kwargs):
        return cls.master.run("mrctl", *args, **kwargs)

    @classmethod
    def json(cls, *args):
        return json.loads(cls.master.output("mrctl", "--json=short", *args))

    @classmethod
    def wait_for_workers(cls, count, seconds=40):
        def there():
            p = cls.master.run("busctl", "get-property", "org.mapreduced.Master1", "/org/mapreduced/Master1",
                               "org.mapreduced.Master1.Manager", "WorkersAlive", check=False)
            return p.stdout.strip() == f"u {count}"

        try:
            cls.master.wait_until(f"{count} workers", there, seconds)
        except AssertionError as e:
            logs = "".join(f"--- {h.name}\n" + h.journal("-n", "15", "-u", "mr-*") for h in cls.workers if h.pid)
            raise AssertionError(f"{e}\n{logs}") from None

    def count_words(self, name, *options):
        p = self.mrctl("run", "--app", "wordcount", "--input", "/srv/shared/text", "--reduces", "4",
                       "--output", f"/srv/shared/{name}", *options, timeout=120)
        return p

    def assertCounted(self, name):
        got = b"".join(p.read_bytes() for p in sorted((self.shared / name).glob("part-*")))
        want = mr.coreutils_wordcount(self.text)
        self.assertEqual(sorted(got.splitlines()), sorted(want.splitlines()))

    def test_units_run(self):
        """the units run, each as its own user, and say how they are"""
        for host in self.workers:
            self.assertEqual(host.show(WORKER, "ActiveState"), "active")
            self.assertIn("Registered with 10.99.0.1:7077", host.show(WORKER, "StatusText"))
            pid = host.show(WORKER, "MainPID")
            user = host.run("stat", "-c", "%U:%G", f"/proc/{pid}").stdout.strip()
            self.assertEqual(user, "mr-worker:mapreduced")
        self.assertIn("4 workers alive", self.master.show(MASTER, "StatusText"))

    def test_job(self):
        """a job over all workers has coreutils' answer"""
        self.count_words("counts")
        self.assertCounted("counts")


if __name__ == "__main__":
    tap.main()
