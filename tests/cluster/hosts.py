#!/usr/bin/env python3
"""Four hosts with a real systemd: what an administrator does, and what befalls them.

    hosts.py           every case, with the built packages installed; it runs where MR_CONTAINERS=1 gives it the time
    hosts.py --short   the cases that matter most, with what `meson install` puts in place: a minute or two
"""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ET

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import container  # noqa: E402
import mr  # noqa: E402
import pages  # noqa: E402
import tap  # noqa: E402
import units  # noqa: E402

MASTER = "mr-masterd.service"
WORKER = "mr-workerd.service"
PORT = 7077
SHORT = "--short" in sys.argv
if SHORT:
    sys.argv.remove("--short")


def long_form(case):
    """Only with the packages, and the time for them."""
    return unittest.skipIf(SHORT, "only in the long form")(case)


class Hosts(unittest.TestCase):
    """One cluster for all cases: master (which works, too), one, two and three."""

    maxDiff = 2000
    cluster = None

    @classmethod
    def setUpClass(cls):
        reason = "sanitized programs are not installed" if mr.SANITIZED else container.why_not(packages=not SHORT)
        if reason:
            raise unittest.SkipTest(reason)
        cls.cluster = container.Cluster("build" if SHORT else "packages")
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
        cls.side_by_side(cls.join, cls.workers)
        cls.wait_for_workers(4)

    @staticmethod
    def side_by_side(what, hosts):
        with concurrent.futures.ThreadPoolExecutor(len(hosts)) as pool:
            return list(pool.map(what, hosts))

    @classmethod
    def make_text(cls):
        (cls.shared / "text").mkdir()
        for number, path in enumerate(mr.text_files(mr.TEXT_DIRS)[:24]):
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

    # ---- the units ----

    def test_units_run(self):
        """the units run, each as its own user, and say how they are"""
        for host in self.workers:
            self.assertEqual(host.show(WORKER, "ActiveState"), "active")
            host.wait_until("its status", lambda h=host: "Registered with 10.99.0.1:7077" in h.show(WORKER, "StatusText"), 10)
            pid = host.show(WORKER, "MainPID")
            user = host.run("stat", "-c", "%U:%G", f"/proc/{pid}").stdout.strip()
            self.assertEqual(user, "mr-worker:mapreduced")
        self.master.wait_until("its status", lambda: "4 workers alive" in self.master.show(MASTER, "StatusText"), 10)
        for unit in (MASTER, WORKER):
            text = self.master.run("systemctl", "status", "--no-pager", unit).stdout
            self.assertIn("active (running)", text)
            self.assertIn("Status: ", text)

    def test_exposure(self):
        """systemd finds no mistake in the units of a host that runs, and each service below its bar"""
        names = [f"{n}.service" for n in units.EXPOSURE_MAX] + ["mr-task.socket", "mapreduced-tasks.slice"]
        said = self.one.run("systemd-analyze", "verify", "--man=no", *names, check=False).stdout
        self.assertEqual([line for line in said.splitlines() if "mr-" in line or "timesyncd-lite" in line or "mapreduced" in line], [])
        for name, most in units.EXPOSURE_MAX.items():
            with self.subTest(name):
                instance = f"{name}1" if name.endswith("@") else name
                said = self.one.output("systemd-analyze", "security", "--no-pager", f"{instance}.service")
                self.assertLessEqual(units.exposure(said), most)

    @long_form
    def test_boot_order(self):
        """the socket is there before the worker, the master before a worker of the same host, the network before both"""
        def at(unit, what):
            return int(self.master.show(unit, f"{what}TimestampMonotonic"))

        self.master.reboot()
        self.wait_for_workers(4)
        self.assertLess(at("mr-task.socket", "ActiveEnter"), at(WORKER, "InactiveExit"))
        self.assertLess(at(MASTER, "ActiveEnter"), at(WORKER, "InactiveExit"))
        self.assertLess(at("network-online.target", "ActiveEnter"), at(MASTER, "InactiveExit"))

    @long_form
    def test_stop_start_restart(self):
        """stop, start and restart of each unit; nothing of it is left when it is stopped"""
        one = self.one
        one.run("systemctl", "stop", WORKER)
        self.assertEqual(one.show(WORKER, "Result"), "success")
        one.wait_until("the task processes to go", lambda: not self.task_units(one), 10)
        self.wait_for_workers(3)
        one.run("systemctl", "start", WORKER)
        self.wait_for_workers(4)
        before = one.show(WORKER, "MainPID")
        one.run("systemctl", "restart", WORKER)
        self.assertNotEqual(one.show(WORKER, "MainPID"), before)
        self.master.run("systemctl", "stop", MASTER)
        self.assertEqual(self.master.show(MASTER, "Result"), "success")
        self.master.run("systemctl", "start", MASTER)
        self.wait_for_workers(4)
        self.master.run("systemctl", "restart", MASTER)
        self.wait_for_workers(4)
        server = "timesyncd-lite-server.service"
        self.addCleanup(one.run, "rm", "-f", "/etc/mapreduced/timesyncd-lite.conf.d/units.conf")
        one.write("/etc/mapreduced/timesyncd-lite.conf.d/units.conf", "[Server]\nListen=127.0.0.1:7076\nLocalStratum=10\n")
        for verb, state in (("start", "active"), ("restart", "active"), ("reload", "active"), ("stop", "inactive")):
            one.run("systemctl", verb, server)
            self.assertEqual(one.show(server, "ActiveState"), state)
        one.run("systemctl", "restart", "mr-task.socket")
        self.assertEqual(one.show("mr-task.socket", "ActiveState"), "active")
        self.assertIn("Listen: /run/mapreduced/task", one.run("systemctl", "status", "--no-pager", "mr-task.socket").stdout)
        one.run("systemctl", "restart", WORKER)
        self.wait_for_workers(4)
        self.count_words("restarted")
        self.assertCounted("restarted")

    @long_form
    def test_reload(self):
        """reload takes new settings without a new process; a mistake in them leaves the old ones, and is said"""
        conf = "/etc/mapreduced/masterd.conf.d/zz-reload.conf"
        pid = self.master.show(MASTER, "MainPID")
        self.addCleanup(self.master.run, "rm", "-f", conf)
        self.master.write(conf, "[Master]\nKeepJobs=77\n")
        self.master.run("systemctl", "reload", MASTER)
        self.master.wait_until("the reload", lambda: "77 kept" in self.master.journal("-n", "20", "-u", MASTER), 10)
        self.master.write(conf, "[Master]\nKeepJobs=many\n")
        self.master.run("systemctl", "reload", MASTER)
        self.master.wait_until("the complaint", lambda: "zz-reload.conf:2" in self.master.journal("-n", "20", "-u", MASTER), 10)
        self.assertEqual(self.master.show(MASTER, "MainPID"), pid)
        self.assertEqual(self.master.show(MASTER, "ActiveState"), "active")
        pid = self.one.show(WORKER, "MainPID")
        slots = "/etc/mapreduced/workerd.conf.d/zz-slots.conf"
        self.one.write(slots, "[Worker]\nSlots=5\n")
        p = self.one.run("systemctl", "reload", WORKER, check=False)
        self.assertEqual(p.returncode, 0, p.stdout + self.one.journal("-n", "20", "-u", WORKER))
        self.one.wait_until("the reload", lambda: "was read again" in self.one.journal("-n", "20", "-u", WORKER), 10)
        total = lambda: self.master.output("busctl", "get-property", "org.mapreduced.Master1",  # noqa: E731
                                           "/org/mapreduced/Master1", "org.mapreduced.Master1.Manager", "Slots").strip()
        self.one.wait_until("the master to know of 5 slots", lambda: total() == "u 11", 10)
        self.one.run("rm", slots)
        self.one.run("systemctl", "reload", WORKER)
        self.one.wait_until("the master to know of 2 slots", lambda: total() == "u 8", 10)
        self.assertEqual(self.one.show(WORKER, "MainPID"), pid)

    @long_form
    def test_watchdog(self):
        """a daemon that hangs is killed by the watchdog and started again, and the cluster goes on"""
        for host, unit in ((self.two, WORKER), (self.master, MASTER)):
            drop = f"/run/systemd/system/{unit}.d/watchdog.conf"
            host.shell(f"mkdir -p $(dirname {drop}) && printf '[Service]\nWatchdogSec=2s\n' > {drop}"
                       f" && systemctl daemon-reload && systemctl restart {unit}")
            self.wait_for_workers(4)
            pid = host.show(unit, "MainPID")
            host.run("kill", "-STOP", pid)
            host.wait_until("a new process", lambda h=host, u=unit, p=pid: h.show(u, "MainPID") not in (p, "0")
                            and h.show(u, "ActiveState") == "active", 30)
            self.assertIn("Watchdog timeout", host.journal("-n", "50"))
            host.shell(f"rm {drop} && systemctl daemon-reload && systemctl restart {unit}")
        self.wait_for_workers(4)

    @long_form
    def test_failed_start(self):
        """a start that fails says why in the status"""
        conf = "/etc/mapreduced/workerd.conf.d/zz-bad.conf"
        self.addCleanup(self.three.shell, f"rm -f {conf}; systemctl reset-failed {WORKER}; systemctl restart {WORKER}")
        self.three.write(conf, "[Worker]\nSlots=none\n")
        self.three.run("systemctl", "restart", WORKER, check=False)
        self.three.wait_until("the failure", lambda: "zz-bad.conf:2" in self.three.show(WORKER, "StatusText"), 10)

    # ---- task processes ----

    def task_units(self, host):
        return host.run("systemctl", "list-units", "--plain", "--no-legend", "mr-task@*").stdout.split("\n")[:-1]

    def probe(self, command, reducer="cat"):
        """What a mapper's command prints, on whichever host it ran."""
        (self.shared / "probe").mkdir(exist_ok=True)
        (self.shared / "probe/in.txt").write_text("x\n")
        return self.mrctl("run", "--input", "/srv/shared/probe", "--mapper", command, "--reducer", reducer).stdout

    @long_form
    def test_sandbox(self):
        """a task process has a user, a cgroup and a namespace of its own, and reaches neither keys nor network nor others"""
        text = self.probe("id -un; cat /proc/self/cgroup; ls /sys/class/net; ip -o addr 2>&1 | wc -l; echo policy $(cut -d ' ' -f 41 /proc/self/stat)")
        self.assertRegex(text, r"mapreduced.*tasks\.slice/mr-task@.*\.service")
        self.assertIn("policy 3\n", text.replace("\t", "")) # SCHED_BATCH, which the unit's filters let through
        self.assertNotIn("mr-worker\n", text)
        self.assertNotIn("host0", text)
        for path in ("/var/lib/mapreduced/worker", "/var/lib/mapreduced/master", "/etc/mapreduced", "/run/dbus/system_bus_socket",
                     "/run/mapreduced/task", "/etc/shadow"):
            self.assertIn("closed", self.probe(f"if cat {path} 2>/dev/null || ls {path}/ 2>/dev/null; then echo open; "
                                               "else echo closed; fi"), path)
        for command in ("touch /srv/shared/stolen", "touch /usr/stolen", "nc -z -w1 10.99.0.1 7077", "nc -z -w1 127.0.0.1 7077",
                        "unshare -U true", "mount -t tmpfs none /tmp", "kill -0 1"):
            self.assertIn("refused", self.probe(f"if {command} 2>/dev/null; then echo done; else echo refused; fi"), command)
        self.assertFalse((self.shared / "stolen").exists())
        self.assertIn("wrote", self.probe("mkdir -p a/b && echo wrote > a/b/c && cat a/b/c"))
        for host in self.workers:  # and the worker could remove what another user had made
            left = host.shell("find /var/lib/mapreduced/worker -name b -path '*a/b'").stdout
            self.assertEqual(left, "")

    @long_form
    def test_cancel_ends_units(self):
        """a cancelled job's processes are gone, and so are their units, whatever they do"""
        job = self.mrctl("submit", "--quiet", "--input", "/srv/shared/text", "--mapper",
                         "trap '' TERM HUP INT; setsid sleep 4321 & sleep 4321", "--reducer", "cat",
                         stderr=None).stdout.split()[-1].strip(".")
        running = lambda: sum(h.run("pgrep", "-fc", "sleep 4321", check=False).stdout.strip() not in ("", "0")  # noqa: E731
                              for h in self.workers)
        self.master.wait_until("the sleepers", running, 20)
        self.mrctl("cancel", job)
        self.master.wait_until("their end", lambda: not running(), 20)

    # ---- jobs ----

    def test_job(self):
        """a job over all workers has coreutils' answer, and every worker had a part in it"""
        self.count_words("counts")
        self.assertCounted("counts")
        self.finish_long(self.start_long("over-all"), "over-all")
        attempts = self.master.output("busctl", "--json=short", "call", "org.mapreduced.Master1",
                                      f"/org/mapreduced/Master1/job/{self.newest_job()}", "org.mapreduced.Master1.Job",
                                      "ListAttempts", "suu", "map", "0", "0")
        self.assertEqual({row[3] for row in json.loads(attempts)["data"][0]}, {h.name for h in self.workers})

    def test_journal(self):
        """journalctl MR_JOB= shows a job's story over the daemons, with ids that the catalog explains"""
        p = self.mrctl("run", "--input", "/srv/shared/text", "--mapper", "exit 3", "--reducer", "cat", check=False)
        self.assertEqual(p.returncode, 1)
        job = self.newest_job()
        # What a daemon has said is in the journal a little later.
        explained = lambda: self.master.run("journalctl", "-q", "-x", f"MR_JOB={job}").stdout  # noqa: E731
        self.master.wait_until("the explanation", lambda: f"Subject: Job {job} failed" in explained(), 10)
        story = self.master.journal(f"MR_JOB={job}", "SYSLOG_IDENTIFIER=mr-masterd")
        for word in ("submitted", "failed"):
            self.assertIn(word, story)
        def told():
            found = []
            for host in self.workers:
                out = host.output("journalctl", "-q", "-o", "json", f"MR_JOB={job}", "SYSLOG_IDENTIFIER=mr-workerd")
                found += [json.loads(line) for line in out.splitlines()]
            return found
        rows = self.master.wait_until("what the workers say", told, 10)
        for row in rows:
            self.assertIn(row["MR_WORKER"], ("master", "one", "two", "three"))
            self.assertTrue(row["MR_TASK"].startswith("map-"))
            self.assertIn("MR_ATTEMPT", row)

    def newest_job(self):
        return self.master.run("busctl", "call", "org.mapreduced.Master1", "/org/mapreduced/Master1",
                               "org.mapreduced.Master1.Manager", "ListJobs", "u", "1").stdout.split()[2].strip('"')

    def start_long(self, name):
        """A job that takes some seconds, started; its answer is still coreutils'."""
        return self.master.start("mrctl", "run", "--input", "/srv/shared/text", "--reduces", "2", "--output",
                                 f"/srv/shared/{name}", "--mapper", "sleep 1; tr -s '[:space:]' '\\n' | grep -av '^$'",
                                 "--reducer", "LC_ALL=C uniq -c | awk '{n=$1; sub(/^ *[0-9]+ /, \"\"); print $0 \"\\t\" n}'")

    def finish_long(self, process, name):
        out, _ = process.communicate(timeout=180)
        job = self.newest_job()
        self.master.wait_until("the job", lambda: self.job_state(job) in ("done", "failed", "cancelled"), 120)
        self.assertEqual(self.job_state(job), "done", out[-2000:])
        got = b"".join(p.read_bytes() for p in sorted((self.shared / name).glob("part-*")))
        counted = sum(int(line.rsplit(b"\t", 1)[1]) for line in got.splitlines())
        want = subprocess.run(f"cat /dev/null {' '.join(self.text)} | tr -s '[:space:]' '\\n' | grep -acv '^$'", shell=True,
                              stdout=subprocess.PIPE, check=True, env=dict(os.environ, LC_ALL="C")).stdout
        self.assertEqual(counted, int(want))

    def job_state(self, job):
        p = self.master.run("busctl", "get-property", "org.mapreduced.Master1", f"/org/mapreduced/Master1/job/{job}",
                            "org.mapreduced.Master1.Job", "State", check=False)
        return p.stdout.split()[-1].strip('"') if p.returncode == 0 else ""

    def wait_running(self):
        def running():
            p = self.master.run("busctl", "get-property", "org.mapreduced.Master1", "/org/mapreduced/Master1",
                                "org.mapreduced.Master1.Manager", "SlotsUsed", check=False)
            return p.returncode == 0 and p.stdout.split()[-1] not in ("0", "1", "2")

        self.master.wait_until("a running job", running, 30)

    def test_worker_reboots(self):
        """a worker is rebooted in the middle of a job, another loses its power"""
        job = self.start_long("reboot-worker")
        self.wait_running()
        self.three.shutdown()
        self.two.kill()
        self.side_by_side(container.Host.boot, [self.two, self.three])
        self.finish_long(job, "reboot-worker")
        self.wait_for_workers(4)

    def test_master_reboots(self):
        """the master's host loses its power in the middle of a job, which goes on"""
        job = self.start_long("reboot-master")
        self.wait_running()
        self.master.kill()
        self.master.boot()
        job.wait(30)
        job = self.master.start("true")
        self.wait_for_workers(4)
        self.finish_long(job, "reboot-master")

    @long_form
    def test_cut_off(self):
        """a host that falls silent is lost after its lease, and comes back by itself"""
        self.one.cut()
        self.wait_for_workers(3)
        self.one.mend()
        self.wait_for_workers(4)

    @long_form
    def test_upgrade(self):
        """the packages are upgraded in the middle of a job; it goes on, and state is kept"""
        job = self.start_long("upgrade")
        self.wait_running()
        before = self.newest_job()
        for host in (self.master, self.one):
            for deb in self.cluster.wanted:
                host.write(f"/var/cache/{deb.name}", deb.read_bytes())
            host.run("dpkg", "--force-unsafe-io", "-i", *[f"/var/cache/{d.name}" for d in self.cluster.wanted], timeout=120)
        self.assertEqual(self.newest_job(), before)
        job.wait(60)
        job = self.master.start("true")
        self.wait_for_workers(4)
        self.finish_long(job, "upgrade")

    # ---- the bus ----

    def test_bus(self):
        """busctl sees the interfaces that the XML documents, of master and worker, and members alone submit"""
        self.compare_interface(self.master, "Master1")
        self.compare_interface(self.master, "Worker1")
        get = ("get-property", "org.mapreduced.Worker1", "/org/mapreduced/Worker1", "org.mapreduced.Worker1.Manager", "Version")
        self.assertRegex(self.one.output("busctl", *get), r'^s "[0-9.]+"')

    def compare_interface(self, host, name):
        """The living object's introspection against the XML that documents it."""
        bus, path = f"org.mapreduced.{name}", f"/org/mapreduced/{name}"
        tree = ET.fromstring(host.output("busctl", "introspect", "--xml-interface", bus, path))
        want = ET.parse(container.SOURCE / f"dbus/{bus}.xml").getroot()
        compared = 0
        for interface in want.iter("interface"):
            live = next((i for i in tree.iter("interface") if i.get("name") == interface.get("name")), None)
            if live is None:  # of another object
                continue
            compared += 1
            for kind in ("method", "property", "signal"):
                self.assertEqual(sorted(e.get("name") for e in live.iter(kind)),
                                 sorted(e.get("name") for e in interface.iter(kind)))
        self.assertGreaterEqual(compared, 1)

    def test_polkit(self):
        """a member of the group mapreduce submits, a stranger does not, an owner cancels, others do not"""
        self.master.shell("id alice >/dev/null 2>&1 || useradd -G mapreduce alice; id bob >/dev/null 2>&1 || useradd bob")
        words = ["run", "--app", "wordcount", "--input", "/srv/shared/text/0.txt"]
        self.assertIn("\t", self.mrctl(*words, user="alice").stdout)
        p = self.mrctl(*words, user="bob", check=False)
        self.assertNotEqual(p.returncode, 0)
        self.assertRegex(p.stdout, "(?i)not allowed|access denied|authori[sz]|authentication")
        p = self.mrctl("submit", "--input", "/srv/shared/text", "--mapper", "sleep 1000", "--reducer", "cat", user="alice")
        job = self.newest_job()
        self.master.wait_until("its plan", lambda: self.job_state(job) == "running")
        self.assertNotEqual(self.mrctl("cancel", job, user="bob", check=False).returncode, 0)
        self.assertEqual(self.job_state(job), "running")
        self.mrctl("cancel", job, user="alice")
        self.master.wait_until("its end", lambda: self.job_state(job) == "cancelled")
        self.assertEqual(self.mrctl("list", user="bob").returncode, 0)

    @long_form
    def test_activation(self):
        """a call to the bus name starts the enabled unit; a disabled one stays off"""
        self.master.run("systemctl", "stop", MASTER)
        self.assertEqual(self.mrctl("list").returncode, 0)
        self.assertEqual(self.master.show(MASTER, "ActiveState"), "active")
        self.wait_for_workers(4)
        p = self.one.run("busctl", "call", "org.mapreduced.Master1", "/org/mapreduced/Master1",
                         "org.mapreduced.Master1.Manager", "ListJobs", "u", "0", check=False)
        self.assertNotEqual(p.returncode, 0)

    # ---- the clock ----

    def test_timedatectl(self):
        """timedatectl shows, starts and stops timesyncd-lite, and what it follows: another host's server unit"""
        unit, server = "timesyncd-lite.service", "timesyncd-lite-server.service"
        self.one.write("/etc/mapreduced/timesyncd-lite.conf.d/test.conf",
                       f"[Time]\nAllowPlaintext=yes\n[Server]\nListen={self.one.address}:7076\nLocalStratum=10\n")
        self.one.up(server)
        self.addCleanup(self.one.shell, f"systemctl disable -q --now {server}; rm /etc/mapreduced/timesyncd-lite.conf.d/test.conf")
        self.two.write("/etc/mapreduced/timesyncd-lite.conf.d/test.conf",
                       f"[Time]\nAllowPlaintext=yes\nServer={self.one.address}\n")
        # A container has no clock of its own: the daemon disciplines a virtual one, which needs no privilege.
        drop = f"/etc/systemd/system/{unit}.d/test.conf"
        self.two.write(drop, "[Unit]\nConditionCapability=\nConditionVirtualization=\n[Service]\nAmbientCapabilities=\n"
                       "CapabilityBoundingSet=\nExecStart=\n"
                       "ExecStart=/usr/libexec/mapreduced/timesyncd-lite --dry-run=0.5 --clock-id=1\n")
        self.addCleanup(self.two.shell, f"systemctl disable -q --now {unit}; rm {drop}; systemctl daemon-reload")
        self.two.run("systemctl", "daemon-reload")
        shown = lambda p: self.two.output("timedatectl", "show", "--value", "-p", p).strip()  # noqa: E731
        self.assertEqual((shown("CanNTP"), shown("NTP")), ("yes", "no"))
        self.two.run("timedatectl", "set-ntp", "true")
        self.two.wait_until("the unit", lambda: self.two.show(unit, "ActiveState") == "active", 20)
        self.assertEqual((shown("NTP"), self.two.show(unit, "UnitFileState")), ("yes", "enabled"))
        self.assertIn("NTP service: active", self.two.output("timedatectl"))
        status = lambda: self.two.output("timedatectl", "timesync-status", check=False)  # noqa: E731
        self.two.wait_until("an answer", lambda: "Server: n/a" not in status() and "Packet count" in status(), 30)
        self.assertRegex(status(), rf"Server: .*{self.one.address}")
        self.assertRegex(status(), r"Stratum: \d+")
        self.assertIn(self.one.address, self.two.output("timedatectl", "show-timesync", "-p", "SystemNTPServers"))
        self.assertIn(self.one.address, self.two.output("mrctl", "time", "servers"))
        self.compare_interface(self.two, "TimeSync1")
        self.two.run("timedatectl", "set-ntp", "false")
        self.two.wait_until("its end", lambda: self.two.show(unit, "ActiveState") == "inactive", 20)
        self.assertEqual(shown("NTP"), "no")

    # ---- hostile neighbours ----

    def test_garbage(self):
        """scans and garbage on every port do no harm"""
        ports = []
        for h in self.workers:
            rows = h.output("ss", "-Hltn").splitlines()
            ports += [(h.address, int(row.split()[3].rsplit(":", 1)[1])) for row in rows]
        self.assertGreaterEqual(len(ports), 5)
        pids = [(h, WORKER, h.show(WORKER, "MainPID")) for h in self.workers]
        pids.append((self.master, MASTER, self.master.show(MASTER, "MainPID")))
        self.cluster.outside(sys.executable, "-c", GARBAGE, json.dumps(ports), timeout=90)
        self.count_words("after-garbage")
        self.assertCounted("after-garbage")
        for host, unit, pid in pids:
            self.assertEqual(host.show(unit, "MainPID"), pid)

    def test_revoked(self):
        """a revoked worker is out at once and stays out, until it is let in again by a token"""
        self.mrctl("cluster", "revoke", "three")
        self.wait_for_workers(3)
        self.three.run("systemctl", "restart", WORKER)
        self.three.wait_until("its refusal", lambda: "Registered" not in self.three.show(WORKER, "StatusText"), 10)
        self.count_words("without-three")
        self.assertCounted("without-three")
        self.wait_for_workers(3)
        self.three.run("systemctl", "stop", WORKER)
        self.join(self.three)
        self.wait_for_workers(4)

    def test_strangers_on_the_network(self):
        """plain text, TLS without a certificate and one of another CA get nowhere"""
        make = ("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 "
                f"-subj /CN=x -keyout {self.cluster.dir}/k -out {self.cluster.dir}/c")
        container.call("bash", "-c", f"{make} 2>/dev/null")
        target = f"{self.master.address}:{PORT}"
        for options in ((), ("-cert", f"{self.cluster.dir}/c", "-key", f"{self.cluster.dir}/k")):
            p = self.cluster.outside("bash", "-c", 'coproc sleep 30; "$@" <&"${COPROC[0]}"; kill "$COPROC_PID"', "sh", "openssl",
                                     "s_client", "-connect", target, "-alpn", "h2", *options)
            self.assertRegex(p.stdout.decode(errors="replace"), "alert|error")
        p = self.cluster.outside("bash", "-c", f"printf 'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' | timeout 5 nc -q 2 "
                                 f"{self.master.address} {PORT} | xxd -p")
        self.assertNotIn(b"000000040000000000", p.stdout)  # no SETTINGS frame: nobody speaks HTTP/2 here
        self.assertEqual(self.master.show(MASTER, "ActiveState"), "active")

    # ---- the packages ----

    @long_form
    def test_remove_and_purge(self):
        """remove keeps the state, purge leaves nothing but the users"""
        host = self.cluster.add("four")
        host.boot()
        host.up(MASTER)
        names = ["mrctl", "mr-worker", "mr-master", "timesyncd-lite", "mapreduced-common"]
        host.run("dpkg", "--force-unsafe-io", "-r", *names, timeout=120)
        self.assertTrue(host.path("/var/lib/mapreduced/master").exists())
        self.assertNotEqual(host.show(MASTER, "ActiveState"), "active")
        host.run("dpkg", "--force-unsafe-io", "-P", *names, timeout=120)
        left = host.shell("find / -xdev \\( -name '*mapreduce*' -o -name 'mr-*d*' -o -name 'mrctl*' -o -name 'timesyncd-lite*' \\) "
                          "-not -path '/proc/*' -not -path '/sys/*' -not -path '/var/log/*' -not -path '/run/systemd/*' "
                          "-not -path '/srv/*'").stdout
        self.assertEqual(left, "")


# Blocks of the pages that are no host's, and what runs them instead.
ELSEWHERE = {
    "bootstrap": ("packaging/bootstrap run", "packaging/bootstrap test"),  # by packaging/check-fresh, in an empty Debian
    "build": ("packaging/build-deb",),  # by container.build_debs()
}


class Pages(unittest.TestCase):
    """What README.md and docs/ tell an administrator to type, typed: on two fresh hosts, from the text."""

    maxDiff = 2000

    @classmethod
    def setUpClass(cls):
        reason = "sanitized programs are not installed" if mr.SANITIZED else container.why_not(packages=not SHORT)
        if reason:
            raise unittest.SkipTest(reason)
        cls.cluster = container.Cluster("build" if SHORT else None)
        cls.addClassCleanup(cls.cluster.close)
        cls.hosts = {name: cls.cluster.add(name) for name in ("master", "worker")}
        for host in cls.hosts.values():
            if not SHORT:
                container.build_debs()
                host.binds.append(f"{container.DEBS}:/root/build/deb")
            host.boot(wait=False)
        for host in cls.hosts.values():
            host.wait_booted()
        cls.token = None

    def test_commands(self):
        """every command that is a host's succeeds, in the order of the pages"""
        count = 0
        for page in pages.PAGES:
            for where, name, commands, line in pages.blocks(page):
                if where != "container":
                    continue
                host, _, condition = name.partition(", once ")
                lines = [c for c in commands.splitlines() if c.strip() and not c.startswith("#")]
                if host in ELSEWHERE:
                    typed = tuple(c.split("#")[0].replace("sudo ", "").strip() for c in lines)
                    self.assertEqual(typed, ELSEWHERE[host], f"{page}:{line}")
                    continue
                if condition:
                    self.wait_until(condition)
                for command in lines:
                    self.type(self.hosts[host], command, f"{page}:{line}")
                    count += 1
        self.assertGreaterEqual(count, 15)

    def wait_until(self, condition):
        self.assertEqual(condition, "the worker is there")
        self.hosts["master"].wait_until(condition, lambda: "alive" in self.hosts["master"].run(
            "mrctl", "workers", "--no-legend", check=False).stdout, 30)

    def type(self, host, command, where):
        if SHORT and command.startswith("apt-get"):  # what they install is there
            return
        if "TOKEN" in command:
            self.assertTrue(self.token, f"{where}: no token yet")
            command = command.replace("TOKEN", self.token)
        p = host.shell(f"cd /root; {command}", check=False)
        self.assertEqual(p.returncode, 0, f"{where}: {command}\n{p.stdout}")
        found = re.search(r"mrjoin1_\S+", p.stdout)
        self.token = found.group() if found else self.token

    @long_form
    def test_installed_tests(self):
        """the packages' own tests pass where the packages are installed"""
        host = self.hosts["master"]
        host.shell("systemctl disable -q --now mr-masterd.service; cd /root; apt-get install -y ./build/deb/mr-worker_*.deb")
        for name in ("local", "services"):
            host.write(f"/root/{name}", (container.SOURCE / "packaging/debian/tests" / name).read_text(), 0o755)
            p = host.run(f"/root/{name}", check=False, timeout=120)
            self.assertEqual(p.returncode, 0, p.stdout)
            self.assertIn("expected", p.stdout)


GARBAGE = """
import concurrent.futures, json, os, socket, sys
def pour(target):
    (host, port), data = target
    try:
        with socket.create_connection((host, port), 2) as s:
            s.sendall(data)
            s.settimeout(0.2)
            s.recv(100)
    except OSError:
        pass
ports = json.loads(sys.argv[1])
garbage = (b"", b"GET / HTTP/1.1\\r\\n\\r\\n", b"SSH-2.0-x\\r\\n", b"\\x16\\x03\\x01" + os.urandom(200), os.urandom(4096),
           b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + os.urandom(4096), b"\\0" * 65536)
with concurrent.futures.ThreadPoolExecutor(5 * len(ports)) as pool:
    list(pool.map(pour, [(port, data) for data in garbage for _ in range(5) for port in ports]))
"""


if __name__ == "__main__":
    tap.main()
