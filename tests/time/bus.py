"""timesyncd-lite on the bus: the contract, what may be changed and by whom, and timedatectl."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ET

import timed
from timed import SECOND, mr

import tap

NAME, PATH = "org.mapreduced.TimeSync1", "/org/mapreduced/TimeSync1"


def interface_of(xml, name):
    """Methods with their arguments, properties with access and annotations, as something to compare."""
    node = next(i for i in ET.fromstring(xml).iter("interface") if i.get("name") == name)
    found = {}
    for m in node.findall("method"):
        found["method", m.get("name")] = [(a.get("name"), a.get("type"), a.get("direction")) for a in m.findall("arg")]
    for p in node.findall("property"):
        notes = {a.get("name"): a.get("value") for a in p.findall("annotation")}
        found["property", p.get("name")] = (p.get("type"), p.get("access"),
                                            notes.get("org.freedesktop.DBus.Property.EmitsChangedSignal", "true"))
    return found


class Bus(timed.Time):
    def setUp(self):
        super().setUp()
        self.start_bus()

    def busctl(self, *args):
        return subprocess.run(["busctl", f"--address={self.bus}", *args], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=self.env, check=False, timeout=60)

    def call(self, method, *args):
        return self.busctl("call", NAME, PATH, f"{NAME}.Manager", method, *args)

    def test_introspection(self):
        """the daemon's introspection is the contract's"""
        self.client(self.server().address)
        self.wait_state("synchronised")
        p = self.busctl("call", NAME, PATH, "org.freedesktop.DBus.Introspectable", "Introspect", "--json=short")
        live = interface_of(json.loads(p.stdout)["data"][0], f"{NAME}.Manager")
        written = interface_of((mr.SOURCE / "dbus/org.mapreduced.TimeSync1.xml").read_text(), f"{NAME}.Manager")
        self.assertEqual(live, written)

    def test_set_servers(self):
        """SetServers follows others; what is no address is refused by name"""
        one, two = self.server("one"), self.server("two")
        self.client(one.address)
        self.wait_state("synchronised")
        self.assertEqual(self.ctl("time", "set-servers", two.address).returncode, 0)
        mr.wait_for("the other server", lambda: self.show("status")["SelectedServer"] == two.address)
        self.assertEqual([s["Address"] for s in self.show("servers")], [two.address])
        p = self.ctl("time", "set-servers", "localhost:99999")
        self.assertEqual(p.returncode, 1)
        self.assertIn(b"localhost:99999", p.stderr)
        p = self.ctl("time", "set-servers", "time.example.org")
        self.assertIn(b"AllowPlaintext", p.stderr)
        self.assertEqual(self.ctl("time", "set-servers", *[f"localhost:{7000 + i}" for i in range(17)]).returncode, 1)
        self.assertEqual([s["Address"] for s in self.show("servers")], [two.address])

    def test_sync_now(self):
        """SyncNow asks at once"""
        self.client(self.server().address, polls="64s")
        # Four polls come in quick succession; the next one, of itself, a minute later.
        mr.wait_for("the first polls", lambda: self.show("servers")[0]["Reach"] == 0b1111)
        before = self.show("servers")[0]["Exchanges"]
        self.assertEqual(self.ctl("time", "sync").returncode, 0)
        mr.wait_for("an exchange", lambda: self.show("servers")[0]["Exchanges"] >= before + 4, 5)

    def test_step(self):
        """Step steps what would have been slewed, and is refused while nothing is known"""
        server = self.server()
        client = self.client()
        mr.wait_for("the bus", lambda: self.ctl("time", "status").returncode == 0)
        p = self.ctl("time", "step")
        self.assertEqual(p.returncode, 1)
        self.assertIn(b"not synchronised", p.stderr)
        client.stop()
        self.client(server.address, dry_run="--dry-run=5", conf="StepAtStart=0\n")
        self.wait_state("unsynchronised")  # it follows the server, but is farther off than RootDistanceMax=
        self.assertEqual(self.show("status")["Steps"], 0)  # 5 s would be slewed in hours
        self.assertLess(self.show("status")["OffsetNSec"], -4 * SECOND)
        p = self.ctl("time", "step")
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertRegex(p.stdout.decode(), r"stepped by -(4\.9|5\.0)")
        s = self.show("status")
        self.assertEqual(s["Steps"], 1)
        self.assertLess(abs(s["OffsetNSec"]), SECOND // 100)

    def test_server_role(self):
        """a server tells what the kernel says, and changes nothing"""
        server = self.daemon("server", "--role=server", "--listen=127.0.0.1:0", bus=self.bus)
        self.wait_log(server, "Telling the time on ")
        s = mr.wait_for("the bus", lambda: self.ctl("time", "status").returncode == 0 and self.show("status"))
        self.assertEqual(s["Role"], "server")
        self.assertEqual(len(s["Listening"]), 1)
        self.assertEqual(self.show("servers"), [])
        for method in ("SyncNow", "Step"):
            p = self.call(method)
            self.assertIn(b"another program keeps the clock", p.stderr)
        self.query(s["Listening"][0])
        self.assertEqual(self.show("status")["RequestsAnswered"], 2)  # the second tells when the first answer left

    @unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
    def test_strangers_only_read(self):
        """another user may read, and changes nothing"""
        self.client(self.server().address)
        self.wait_state("synchronised")
        for p in (self.dir, self.dir / "bus"):
            p.chmod(0o777)
        env = dict(self.env, HOME="/")

        def stranger(*args):
            return subprocess.run([mr.MRCTL, f"--bus={self.bus}", *args], user=65534, group=65534, extra_groups=[],
                                  env=env, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                                  timeout=60)
        if not all(p.stat().st_mode & 1 for p in pathlib.Path(mr.MRCTL).resolve().parents):
            self.skipTest("the build folder is not open to other users")
        self.assertEqual(stranger("time", "status").returncode, 0)
        for verb in (("sync",), ("step",), ("set-servers", "localhost")):
            p = stranger("time", *verb)
            self.assertEqual(p.returncode, 1, verb)
            self.assertIn(b"not allowed", p.stderr)
        self.assertEqual(len(self.show("servers")), 1)

    def test_no_daemon(self):
        """without a daemon mrctl says which unit to start"""
        p = self.ctl("time", "status")
        self.assertEqual(p.returncode, 1)
        self.assertIn(b"systemctl start timesyncd-lite", p.stderr)


@unittest.skipUnless(shutil.which("timedatectl"), "timedatectl is not installed")
@unittest.skipUnless(os.geteuid() == 0, "only root can make a /run in which systemd seems to be there")
class Timedatectl(timed.Time):
    def setUp(self):
        super().setUp()
        self.start_bus()

    def timedatectl(self, *args):
        # It looks for /run/systemd/system, and asks only the bus.
        run = "mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec timedatectl --no-pager \"$@\""
        return subprocess.run(["unshare", "-m", "sh", "-c", run, "sh", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=self.env, text=True, check=False, timeout=60)

    def test_timesync_status(self):
        """timedatectl timesync-status and show-timesync print our state"""
        server = self.server(stratum=3)
        self.client(server.address, dry_run="--dry-run=1,100")
        self.wait_state("synchronised")

        def status():
            """Once it was off by little, and its frequency is known."""
            p = self.timedatectl("timesync-status")
            self.assertEqual(p.returncode, 0, p.stderr)
            known = all(re.search(r, p.stdout) for r in (r"Offset: [+-](0\n|[\d.]+(us|ms))", r"Frequency: -\d+\.\d+ppm"))
            return known and p.stdout
        said = mr.wait_for("timedatectl to tell how far and how fast the clock is off", status)
        self.assertRegex(said, rf"Server: 127\.0\.0\.1 \({re.escape(server.address)}\)")
        for pattern in (r"Poll interval: 2s", r"Leap: normal", r"Version: 4", r"Stratum: 3", r"Root distance: \S+ \(max: 1\.5",
                        r"Delay: [\d.]+(us|ms)", r"Packet count: \d+"):
            self.assertRegex(said, pattern)
        p = self.timedatectl("show-timesync", "--all")
        self.assertEqual(p.returncode, 0, p.stderr)
        shown = dict(line.split("=", 1) for line in p.stdout.splitlines())
        self.assertEqual(shown["SystemNTPServers"], server.address)
        self.assertEqual(shown["ServerName"], server.address)
        self.assertEqual(shown["ServerAddress"], "127.0.0.1")
        self.assertIn("Stratum=3", shown["NTPMessage"])

    def test_without_server(self):
        """with nobody to follow it does not fail"""
        self.client("127.0.0.1:1")
        mr.wait_for("the bus", lambda: self.ctl("time", "status").returncode == 0)
        p = self.timedatectl("timesync-status")
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertIn("Packet count: 0", p.stdout)
        self.assertNotIn("Stratum", p.stdout)


if __name__ == "__main__":
    tap.main(at_once=4)
