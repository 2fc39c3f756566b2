#!/usr/bin/env python3
"""Who may change what: the three daemons on a system bus of their own, with a real polkitd, asked by several users.

The users are uids that the bus and polkitd alone know, from a passwd and group file in a mount namespace:
alice and carol are members of the group mapreduce, bob is not.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import unittest
import xml.etree.ElementTree as ET

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

POLKITD = "/usr/lib/polkit-1/polkitd"
ROOT, ALICE, BOB, CAROL = 0, 54321, 54322, 54323
BUS_NAME = "org.mapreduced.Master1"
MANAGER = "/org/mapreduced/Master1"
REFUSED = ("Access denied", "AccessDenied", "InteractiveAuthorizationRequired", "Interactive authentication required",
           "Not allowed")
JOB = ["SubmitJob", "a{sv}a{sh}", "3", "App", "s", "wordcount", "Input", "as", "1", "/usr/share/common-licenses",
       "Name", "s", "counted", "0"]

# The arguments with which bob tries each method that changes something, of whichever daemon. A new method of the XML belongs here,
# or begins like the methods that only read.
CHANGING = {
    "Master1.Manager.SubmitJob": JOB[1:],
    "Master1.Manager.SubmitJobWithContents": ["a{sv}a(sbay)", *JOB[2:]],
    "Master1.Job.Cancel": [],
    "Master1.Job.Retry": [],
    "Master1.Job.OpenPart": ["u", "0"],
    "Master1.Worker.Drain": [],
    "Master1.Worker.Resume": [],
    "Master1.Cluster.CreateToken": ["ts", "0", ""],
    "Master1.Cluster.ForgetTokens": [],
    "Master1.Cluster.RevokeWorker": ["s", "one"],
    "Master1.Cluster.RotateCA": [],
    "Master1.Cluster.DropCA": [],
    "TimeSync1.Manager.SyncNow": [],
    "TimeSync1.Manager.SetServers": ["as", "1", "127.0.0.1"],
    "TimeSync1.Manager.Step": [],
}
READING = ("Get", "List", "Explain")

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="*"/><allow receive_type="*"/>
<allow send_destination="*"/></policy></busconfig>
"""


class SeveralUsers(mr.Scratch):
    """The bus, polkitd, a master and workers, and ways to ask the master as somebody."""

    master_settings = ""
    workers_wanted = 1
    workers_bus = "none"
    slots = 1

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("only root can be several users")
        for need in ("dbus-daemon", "busctl", "setpriv", "unshare", POLKITD):
            if not shutil.which(need):
                self.skipTest(f"{need} is not installed")
        if subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0:
            self.skipTest("mount namespaces cannot be made here")
        super().setUp()
        self.daemons = []
        self.addCleanup(self.end_all)
        os.chmod(self.dir, 0o755)
        self.env["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={self.dir}/bus"
        self.file("bus.conf", BUS_CONFIG.format(path=f"{self.dir}/bus"))
        self.make_files()
        self.inside("bus", f"dbus-daemon --nofork --nopidfile --config-file={self.dir}/bus.conf")
        mr.wait_for_socket(self.dir / "bus")
        self.polkit = self.inside("polkit", f"{POLKITD} --no-debug")
        mr.wait_for("polkitd", lambda: "org.freedesktop.PolicyKit1" in self.busctl(ROOT, "list", "--acquired").stdout)
        conf = self.file("master.conf", "[Master]\n" + self.master_settings)
        self.daemon("master", mr.MASTERD, f"--config={conf}", "--bus=system", f"--listen=unix:{self.dir}/rpc", f"--state={self.dir}/state",
                    "--lease=3", "--heartbeat=500ms")
        mr.wait_for("the master", lambda: self.call(ROOT, "", "ListJobs", "u", "0").returncode == 0)
        for i in range(self.workers_wanted):
            self.daemon(f"worker{i}", mr.WORKERD, f"--bus={self.workers_bus}", f"--instance=w{i}", f"--master=unix:{self.dir}/rpc",
                        f"--listen=unix:{self.dir}/w{i}", f"--spool={self.dir}/spool{i}", f"--slots={self.slots}")
        self.worker = mr.wait_for("the workers", self.find_worker)

    def daemon(self, name, *args):
        self.daemons.append(mr.Daemon(list(args), self.dir / f"{name}.log", self.env))
        return self.daemons[-1]

    def end_all(self):
        for d in reversed(self.daemons):
            if d.alive():
                os.kill(d.pid, signal.SIGCONT)
                d.kill(signal.SIGTERM)

    def make_files(self):
        """Our actions and rules, and two users more than this machine has."""
        passwd = pathlib.Path("/etc/passwd").read_text()
        self.file("passwd", f"{passwd}alice:x:{ALICE}:{ALICE}::/:/bin/sh\nbob:x:{BOB}:{BOB}::/:/bin/sh\n"
                            f"carol:x:{CAROL}:{CAROL}::/:/bin/sh\n")
        groups = [g for g in pathlib.Path("/etc/group").read_text().splitlines() if not g.startswith("mapreduce:")]
        self.file("group", "\n".join(groups) + f"\nmapreduce:x:54320:alice,carol\nalice:x:{ALICE}:\nbob:x:{BOB}:\ncarol:x:{CAROL}:\n")
        for kind, name in (("actions", "org.mapreduced.master1.policy"), ("actions", "org.mapreduced.timesync1.policy"),
                           ("rules.d", "mapreduced.rules")):
            (self.dir / kind).mkdir(exist_ok=True)
            shutil.copy(mr.SOURCE / "dbus" / name, self.dir / kind)
            os.chmod(self.dir / kind, 0o755)
            os.chmod(self.dir / kind / name, 0o644)

    def inside(self, name, command):
        """A daemon that sees these files in place of the machine's."""
        mounts = {"passwd": "/etc/passwd", "group": "/etc/group", "actions": "/usr/share/polkit-1/actions",
                  "rules.d": "/usr/share/polkit-1/rules.d"}
        script = " && ".join(f"mount --bind {self.dir}/{a} {b}" for a, b in mounts.items())
        return self.daemon(name, "unshare", "--mount", "sh", "-c", f"{script} && exec {command}")

    def busctl(self, uid, *args, **kwargs):
        p = subprocess.run(
            ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "busctl", "--system", *map(str, args)],
            env=self.env, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=60 * mr.SLOW, **kwargs)
        return p

    def call(self, uid, where, method, *args):
        interface = {"": "Manager", "job": "Job", "worker": "Worker", "cluster": "Cluster"}[where.split("/")[0]]
        path = f"{MANAGER}/{where}" if "/" in where else MANAGER
        return self.busctl(uid, "call", BUS_NAME, path, f"{BUS_NAME}.{interface}", method, *args)

    def find_worker(self):
        words = self.call(ROOT, "", "ListWorkers").stdout.split()
        return words[2].strip('"') if len(words) > 2 and words[1] == str(self.workers_wanted) else None

    def submit(self, uid):
        p = self.call(uid, "", *JOB)
        self.assertEqual(p.returncode, 0, p.stdout)
        return p.stdout.split()[1].strip('"')

    def state(self, job):
        return self.busctl(ROOT, "get-property", BUS_NAME, f"{MANAGER}/job/{job}", f"{BUS_NAME}.Job",
                           "State").stdout.split()[-1].strip('"')

    def assertRefused(self, p):
        self.assertNotEqual(p.returncode, 0, p.stdout)
        self.assertTrue(any(r in p.stdout for r in REFUSED), p.stdout)


class Strangers(SeveralUsers):
    workers_bus = "system"

    def test_strangers(self):
        """each method of each daemon that changes something refuses a user whom nobody allowed it"""
        job = self.submit(ROOT)
        mr.wait_for("the job", lambda: self.state(job) == "done")
        conf = self.file("time.conf", "[Time]\n")
        self.daemon("time", mr.BUILD / "daemons/timesyncd-lite/timesyncd-lite", f"--config={conf}", f"--state-dir={self.dir}/time",
                    "--bus=system", "--dry-run=0.05,30")
        services = {"Master1": BUS_NAME, "Worker1": "org.mapreduced.Worker1.w0", "TimeSync1": "org.mapreduced.TimeSync1"}
        for service in services.values():
            mr.wait_for(service, lambda s=service: s in self.busctl(ROOT, "list", "--acquired").stdout)
        objects = {"Master1.Job": f"/job/{job}", "Master1.Worker": f"/worker/{self.worker}"}
        tried, files = set(), sorted((mr.SOURCE / "dbus").glob("org.mapreduced.*.xml"))
        self.assertEqual({f.name.split(".")[2] for f in files}, set(services))
        for file in files:
            daemon = file.name.split(".")[2]
            for interface in ET.parse(file).getroot().iter("interface"):
                short = interface.get("name").removeprefix("org.mapreduced.")
                path = f"/org/mapreduced/{daemon}{objects.get(short, '')}"
                for method in interface.iter("method"):
                    name = f"{short}.{method.get('name')}"
                    if method.get("name").startswith(READING):
                        continue
                    self.assertIn(name, CHANGING, "does it change something? then this test must try it")
                    with self.subTest(name):
                        self.assertRefused(self.busctl(BOB, "call", services[daemon], path, interface.get("name"), method.get("name"),
                                                       *CHANGING[name]))
                    tried.add(name)
        self.assertEqual(tried, set(CHANGING))
        self.assertIn(" 1 ", self.call(BOB, "", "ListJobs", "u", "0").stdout)  # reading is open, and nothing was added
        self.assertEqual(self.state(job), "done")


class Polkit(SeveralUsers):
    def test_members_and_owners(self):
        """a member submits, an owner cancels and reads; others do neither"""
        job = self.submit(ALICE)
        mr.wait_for("the job", lambda: self.state(job) == "done")
        p = self.call(ALICE, f"job/{job}", "OpenPart", "u", "0")
        self.assertEqual(p.returncode, 0, p.stdout)
        self.assertRefused(self.call(BOB, f"job/{job}", "OpenPart", "u", "0"))

        self.assertEqual(self.call(ROOT, f"worker/{self.worker}", "Drain").returncode, 0)
        job = self.submit(ALICE)  # it waits
        self.assertRefused(self.call(BOB, f"job/{job}", "Cancel"))
        self.assertRefused(self.call(ALICE, f"worker/{self.worker}", "Resume"))
        mr.wait_for("its plan", lambda: self.state(job) == "running")
        p = self.call(ALICE, f"job/{job}", "Cancel")
        self.assertEqual(p.returncode, 0, p.stdout)
        mr.wait_for("its end", lambda: self.state(job) == "cancelled")

        job = self.submit(ROOT)
        self.assertRefused(self.call(ALICE, f"job/{job}", "Cancel"))
        self.assertEqual(self.call(ROOT, f"job/{job}", "Cancel").returncode, 0)

    def test_patience(self):
        """while polkit thinks, others are served; without polkit the answer is no"""
        os.kill(self.polkit.pid, signal.SIGSTOP)
        waiting = [subprocess.Popen(
            ["setpriv", f"--reuid={BOB}", "--clear-groups", "busctl", "--system", "call", BUS_NAME, MANAGER,
             f"{BUS_NAME}.Manager", *JOB], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(3)]
        time.sleep(0.5)
        self.assertEqual([p.poll() for p in waiting], [None] * 3)
        self.assertEqual(self.call(ROOT, "", "ListJobs", "u", "0").stdout.strip(), "a(sossuuuutt) 0")
        self.assertEqual([p.poll() for p in waiting], [None] * 3)
        os.kill(self.polkit.pid, signal.SIGCONT)
        for p in waiting:
            out, _ = p.communicate(timeout=30 * mr.SLOW)
            self.assertNotEqual(p.returncode, 0)
            self.assertTrue(any(r in out for r in REFUSED), out)
        self.polkit.kill(signal.SIGTERM)
        p = self.call(ALICE, "", *JOB)
        self.assertRefused(p)
        self.submit(ROOT)


if __name__ == "__main__":
    tap.main()
