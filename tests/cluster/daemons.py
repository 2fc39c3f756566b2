"""One master and three workers as processes of their own over loopback TCP, driven over a private bus."""

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest.mock
import xml.etree.ElementTree as ET

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

SLOW_MAPPER = "sleep 0.15; tr -s '[:space:]' '\\n' | grep -av '^$' | sed 's/$/\\t1/'"
SUM = "awk -F '\\t' '{n[$1] += $2} END {for (w in n) printf \"%s\\t%d\\n\", w, n[w]}'"


def text(words=20000):
    return b"".join(b"word%d of line %d\n" % (i * 7919 % 997, i % 50) for i in range(words))


class Cluster(mr.ClusterCase):
    def job_input(self, files=24):
        for i in range(files):
            self.file(f"in/f{i:03}", text(500 + i))
        return str(self.dir / "in"), mr.coreutils_wordcount(mr.text_files([str(self.dir / "in")]))

    def result(self, job):
        p = self.ctl("wait", "-q", job)
        self.assertOk(p)
        p = self.ctl("cat", job)
        self.assertOk(p)
        return p.stdout

    def status(self, job):
        """What status prints, and all events: the plain form ends with the newest few and says so."""
        plain, whole = self.ctl("status", job), self.ctl("status", "--json=pretty", job)
        self.assertOk(plain)
        self.assertOk(whole)
        return (plain.stdout + whole.stdout).decode()

    @unittest.skipUnless(mr.TEXT_DIRS, "no text under /usr/share to count")
    def test_real_text(self):
        """real text, the same lines as coreutils"""
        p = self.ctl("run", "--app", "wordcount", "-q", "--reduces", "3", "--split-size", "256K",
                     *(a for d in mr.TEXT_DIRS for a in ("--input", d)))
        self.assertOk(p)
        self.assertSameLines(p.stdout, mr.coreutils_wordcount(mr.text_files(mr.TEXT_DIRS)))

    def test_output_directory(self):
        """an output directory holds parts, _SUCCESS and nothing else; a second job is refused it"""
        tree, want = self.job_input(4)
        out = self.dir / "out"
        p = self.ctl("run", "--app", "wordcount", "--input", tree, "--reduces", "2", "--output", out)
        self.assertOk(p)
        self.assertEqual(sorted(os.listdir(out)), ["_SUCCESS", "part-00000", "part-00001"])
        rows = b"".join((out / n).read_bytes() for n in ("part-00000", "part-00001")).splitlines(True)
        self.assertSameLines(b"".join(sorted(rows)), want)
        self.assertFails(self.ctl("run", "--app", "wordcount", "--input", tree, "--output", out), str(out), "not empty")

    def test_failing_mapper(self):
        """a mapper that exits 3 makes the job fail with the cause"""
        tree, _ = self.job_input(2)
        p = self.ctl("run", "--mapper", "echo the reason >&2; exit 3", "--input", tree)
        self.assertFails(p, "map-", f"{tree}/f00", "exited with status 3", "the reason")

    def test_list_and_workers(self):
        """list and workers as tables and as JSON"""
        tree, _ = self.job_input(2)
        job = self.submit("--app", "wordcount", "--input", tree, "--name", "my count")
        self.assertOk(self.ctl("wait", "-q", job))
        table = self.ctl("list").stdout.decode()
        self.assertRegex(table, rf"(?m)^\s*{job}\s.*my count.*done")
        rows = json.loads(self.ctl("list", "--json=pretty").stdout)
        self.assertEqual([(r["Id"], r["State"], r["Name"]) for r in rows], [(job, "done", "my count")])
        names = [r["Name"] for r in json.loads(self.ctl("workers", "--json=short").stdout)]
        self.assertEqual(sorted(names), ["w0", "w1", "w2"])
        self.assertRegex(self.ctl("workers", "--no-legend").stdout.decode(), r"(?m)^\s*w1\s")
        self.assertFails(self.ctl("status", "999"), "999")

    def test_plain_text_is_refused(self):
        """plain TCP on an address that others reach is refused"""
        for program, extra in ((mr.MASTERD, [f"--state={self.dir}/m2"]), (mr.WORKERD, [f"--spool={self.dir}/s2", "--master=127.0.0.1:1"])):
            p = subprocess.run([program, "--bus=none", "--listen=0.0.0.0:0", "--insecure-plain-tcp", *extra], stderr=subprocess.PIPE, timeout=30,
                               check=False, env=self.env)
            self.assertNotEqual(p.returncode, 0)
            self.assertIn(b"--insecure-plain-tcp is for", p.stderr)

    def test_garbage_on_the_ports(self):
        """garbage on every port changes nothing"""
        tree, want = self.job_input(2)
        address = self.get("Address", "/org/mapreduced/Worker1", "org.mapreduced.Worker1.Manager",
                           service="org.mapreduced.Worker1.w0")
        ports = [("127.0.0.1", self.port), (address.rsplit(":", 1)[0], int(address.rsplit(":", 1)[1]))]
        for host, port in ports:
            for junk in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(10000), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 5000):
                with mr.socket.create_connection((host, port), 5) as s:
                    s.settimeout(5)
                    try:
                        s.sendall(junk)
                        s.shutdown(mr.socket.SHUT_WR)
                        while s.recv(65536):
                            pass
                    except OSError:
                        pass
        p = self.ctl("run", "-q", "--app", "wordcount", "--input", tree)
        self.assertOk(p)
        self.assertSameLines(p.stdout, want)


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read()
    except OSError:
        return b""


class Contract(mr.ClusterCase):
    """The living daemons' introspection against dbus/*.xml, which is the contract."""

    workers_wanted = 1

    @staticmethod
    def shape(root, names):
        """Every interface as a set of comparable rows."""
        rows = set()
        for i in root.iter("interface"):
            if i.get("name") not in names:
                continue
            for m in i.findall("method"):
                args = tuple((a.get("direction", "in"), a.get("type")) for a in m.findall("arg"))
                rows.add((i.get("name"), "method", m.get("name"), args))
            for s in i.findall("signal"):
                rows.add((i.get("name"), "signal", s.get("name"), tuple(a.get("type") for a in s.findall("arg"))))
            for p in i.findall("property"):
                changes = [a.get("value") for a in p.findall("annotation")
                           if a.get("name") == "org.freedesktop.DBus.Property.EmitsChangedSignal"]
                rows.add((i.get("name"), "property", p.get("name"), p.get("type"), p.get("access"), (changes or ["true"])[0]))
        return rows

    def live(self, service, path):
        p = subprocess.run(["busctl", f"--address={self.bus}", "introspect", "--xml-interface", service, path],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, env=self.env)
        self.assertOk(p)
        return ET.fromstring(p.stdout)

    def hold(self, service, path, name):
        contract = ET.parse(mr.SOURCE / f"dbus/{name}.xml").getroot()
        every = {i.get("name") for i in contract.iter("interface")}
        root = self.live(service, path)
        here = {i.get("name") for i in root.iter("interface")} & every
        self.assertTrue(here, f"none of {every} at {path}")
        self.assertEqual(self.shape(root, here), self.shape(contract, here))
        strange = {i.get("name") for i in root.iter("interface") if i.get("name").startswith("org.mapreduced")} - every
        self.assertEqual(strange, set())
        return here

    def test_introspection_is_the_contract(self):
        """live introspection equals the XML, on every kind of object"""
        job = self.submit("--app", "wordcount", "--input", self.file("in", "a"))
        self.assertOk(self.ctl("wait", "-q", job))
        base = "/org/mapreduced/Master1"
        worker = json.loads(self.ctl("workers", "--json=short").stdout)[0]["Id"]
        seen = self.hold("org.mapreduced.Master1", base, "org.mapreduced.Master1")
        seen |= self.hold("org.mapreduced.Master1", f"{base}/job/{job}", "org.mapreduced.Master1")
        seen |= self.hold("org.mapreduced.Master1", f"{base}/worker/{worker}", "org.mapreduced.Master1")
        self.assertEqual(seen, {f"org.mapreduced.Master1.{i}" for i in ("Manager", "Cluster", "Job", "Worker")})
        self.hold("org.mapreduced.Worker1.w0", "/org/mapreduced/Worker1", "org.mapreduced.Worker1")

    def test_object_manager(self):
        """jobs and workers are objects under an ObjectManager"""
        job = self.submit("--app", "wordcount", "--input", self.file("in", "a"))
        self.assertOk(self.ctl("wait", "-q", job))
        p = self.busctl("call", "org.mapreduced.Master1", "/org/mapreduced/Master1",
                        "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        objects = json.loads(p.stdout)["data"][0]
        self.assertIn(f"/org/mapreduced/Master1/job/{job}", objects)
        self.assertEqual(len([o for o in objects if "/worker/" in o]), 1)
        self.assertEqual(objects[f"/org/mapreduced/Master1/job/{job}"]["org.mapreduced.Master1.Job"]["State"]["data"], "done")

    def test_changes_are_announced(self):
        """a job's properties announce their changes"""
        monitor = subprocess.Popen(
            ["busctl", f"--address={self.bus}", "monitor", "--json=short", "org.mapreduced.Master1"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.env)
        try:
            mr.wait_for("the monitor", lambda: b"busctl" in command_line(monitor.pid), 5)
            os.set_blocking(monitor.stdout.fileno(), False)
            seen = b""
            def states():
                nonlocal seen
                seen += monitor.stdout.read() or b""
                found = []
                for row in seen.split(b"\n")[:-1]:  # what follows the last newline is half a row
                    if b"PropertiesChanged" in row:
                        body = json.loads(row)["payload"]["data"]
                        if body[0] == "org.mapreduced.Master1.Job" and "State" in body[1]:
                            found.append(body[1]["State"]["data"])
                return found
            # The monitor may need a moment to be one: jobs run until it has seen a job end.
            def job_and_look():
                self.assertOk(self.ctl("run", "-q", "--app", "wordcount", "--input", self.file("in", "a")))
                return "done" in states()
            mr.wait_for("a job's end on the bus", job_and_look)
        finally:
            monitor.kill()
            monitor.wait()
            monitor.stdout.close()

    def test_bad_calls_have_named_errors(self):
        """bad calls are answered with named errors"""
        manager = ("org.mapreduced.Master1", "/org/mapreduced/Master1", "org.mapreduced.Master1.Manager")
        p = self.busctl("call", *manager, "SubmitJob", "a{sv}a{sh}", "1", "Colour", "s", "red", "0", check=False)
        self.assertIn(b"Colour", p.stderr)
        p = self.busctl("call", *manager, "GetJob", "s", "no/such", check=False)
        self.assertNotEqual(p.returncode, 0)
        self.assertTrue(self.master.alive())


class Memory(mr.ClusterCase):
    workers_wanted = 1
    slots = 4
    KEEP, AT_ONCE = 20, 4
    PLACE = "/dev/shm"  # where nothing waits for a disk, which 280 jobs would do most of their time

    def setUp(self):
        there = os.access(self.PLACE, os.W_OK) and shutil.disk_usage(self.PLACE).free > 32 << 20
        with unittest.mock.patch.object(tempfile, "tempdir", self.PLACE if there else None):
            super().setUp()

    def start_master(self, *extra):
        conf = self.file("master.conf", f"[Master]\nKeepJobs={self.KEEP}\n")
        return super().start_master(f"--config={conf}", *extra)

    def test_memory_is_flat(self):
        """memory of the daemons stays flat over 200 jobs, four at a time"""
        if mr.SANITIZED:
            self.skipTest("AddressSanitizer keeps freed memory; the leak check at exit stands for this there")
        path = self.file("in", text(2000))
        want = mr.coreutils_wordcount([path])
        def job(_):
            return self.ctl("run", "-q", "--app", "wordcount", "--input", path, "--reduces", "2")
        def run(count):
            with concurrent.futures.ThreadPoolExecutor(self.AT_ONCE) as pool:
                for p in pool.map(job, range(count)):
                    self.assertOk(p)
                    self.assertEqual(p.stdout, want)
        run(self.KEEP + 60)  # past every cache and KeepJobs=
        before = (self.master.rss_kib(), self.workers[0].rss_kib())
        run(200)
        after = (self.master.rss_kib(), self.workers[0].rss_kib())
        print(f"# master {before[0]} -> {after[0]} KiB, worker {before[1]} -> {after[1]} KiB over 200 jobs")
        for b, a in zip(before, after):
            self.assertLess(a - b, 1024, "more than 1 MiB in 200 jobs")


tap.main(at_once=3)
