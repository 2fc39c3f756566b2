"""Hosts that vanish without a word: each worker in a network namespace of its own, whose link the test cuts."""

import os
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fault  # noqa: E402
import mr  # noqa: E402
import tap  # noqa: E402
from fault import SUM, WORDS  # noqa: E402

LEASE_SEC = 3.0
HEARTBEAT_SEC = 0.3


def ip(*args):
    return subprocess.run(["ip", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def why_not():
    if os.geteuid() != 0 or not shutil.which("ip"):
        return "needs root and iproute2 for network namespaces"
    name = f"mrtry{os.getpid()}"
    p = ip("netns", "add", name)
    ip("netns", "del", name)
    return None if p.returncode == 0 else "network namespaces cannot be made here: " + p.stderr.decode().strip()


class Network(fault.FaultCase):
    """The master's namespace has a bridge; worker i is 10.77.0.(i + 2) behind a link of its own."""

    reason = why_not()

    def setUp(self):
        if self.reason:
            self.skipTest(self.reason)
        self.names = [f"mr{os.getpid()}m"] + [f"mr{os.getpid()}w{i}" for i in range(3)]
        for n in self.names:
            self.run_ip("netns", "add", n)
            self.addCleanup(ip, "netns", "del", n)
            self.run_ip("-n", n, "link", "set", "lo", "up")
        hub = self.names[0]
        self.run_ip("-n", hub, "link", "add", "br0", "type", "bridge")
        self.run_ip("-n", hub, "addr", "add", "10.77.0.1/24", "dev", "br0")
        self.run_ip("-n", hub, "link", "set", "br0", "up")
        for i, n in enumerate(self.names[1:]):
            self.run_ip("-n", hub, "link", "add", f"w{i}", "type", "veth", "peer", "name", "eth0", "netns", n)
            self.run_ip("-n", hub, "link", "set", f"w{i}", "master", "br0", "up")
            self.run_ip("-n", n, "addr", "add", f"10.77.0.{i + 2}/24", "dev", "eth0")
            self.run_ip("-n", n, "link", "set", "eth0", "up")
        super().setUp()

    def run_ip(self, *args):
        p = ip(*args)
        self.assertEqual(p.returncode, 0, f"ip {' '.join(args)}: {p.stderr.decode()}")

    def link(self, worker, state):
        self.run_ip("-n", self.names[0], "link", "set", f"w{worker}", state)

    def start_master(self, *extra):
        conf = self.file("masterd.conf", f"[Master]\nLeaseSec={LEASE_SEC:.0f}\nHeartbeatSec={HEARTBEAT_SEC * 1000:.0f}ms\n")
        self.master = self.start("master", [
            "ip", "netns", "exec", self.names[0], mr.MASTERD, f"--config={conf}", f"--bus={self.bus}",
            f"--listen=10.77.0.1:{self.port}", f"--state={self.dir}/master", *extra])
        mr.wait_for("the master on the bus", lambda: self.get("Version", fail=False))
        return self.master

    def start_worker(self, index, *extra):
        name = f"w{index}"
        inside = ["ip", "netns", "exec", self.names[index + 1]]
        token = self.ctl("-q", "cluster", "token")
        self.assertOk(token)
        joined = subprocess.run([*inside, mr.MRCTL, "cluster", "join", token.stdout.decode().strip(), f"--spool={self.dir}/spool-{name}",
                                 f"--name={name}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, env=self.env)
        self.assertOk(joined)
        return self.start(name, [
            *inside, mr.WORKERD, f"--bus={self.bus}", f"--master=10.77.0.1:{self.port}", f"--listen=10.77.0.{index + 2}:7000",
            f"--spool={self.dir}/spool-{name}", f"--slots={self.slots}", f"--name={name}", f"--instance={name}", *extra])

    def cut(self, worker):
        """Cuts a link, and returns how long the master believed in the worker behind it."""
        self.breaks()
        began = time.monotonic()
        self.link(worker, "down")
        mr.wait_for("the lease to end", lambda: self.get("WorkersAlive") == 2)
        return time.monotonic() - began

    def test_host_vanishes(self):
        """a host whose link goes down in the maps: noticed within a lease, only what was lost is run again"""
        self.job_input(40)
        job = self.submit("--mapper", "sleep 0.3; " + WORDS, "--reducer", SUM, "--input", self.dir / "in")
        mr.wait_for("some maps", lambda: self.job_get(job, "MapsDone") >= 8)
        took = self.cut(1)
        print(f"# noticed after {took:.1f} s; the lease is {LEASE_SEC} s")
        self.assertOk(self.ctl("wait", "-q", job))
        self.notices(job, "worker-lost")
        lost = [t for _, k, t in self.stories(job) if k == "worker-lost"]
        self.assertEqual(len(lost), 1, lost)
        self.assertRegex(lost[0], r"^w1 is lost: not heard of for 3\.\d s, its lease was 3 s$")
        self.link(1, "up")  # it hears that nobody wants what it did, and removes it
        self.wait_for_workers(3)
        self.assertRight(job, maps=40 + self.lost(job, "map") + self.job_get(job, "MapOutputsLost"), reduces=1 + self.lost(job, "reduce"))

    def test_zombie_is_refused(self):
        """a worker cut off and back: what its attempts finished meanwhile is refused, and the part is another's"""
        self.job_input(6)
        out, hold = self.dir / "out", self.dir / "hold"
        # The reduce waits in its first attempts until the job is done without them; then they end, too, and well.
        wait = f"case $mapreduce_task_attempt_id in *_0) echo > {hold}.$mapreduce_task_partition; while [ ! -e {hold} ]; do sleep 0.05; done;; esac; "
        job = self.submit("--mapper", WORDS, "--reducer", wait + SUM, "--input", self.dir / "in", "--output", out)
        mr.wait_for("the reduce", lambda: (self.dir / "hold.0").exists())
        worker = int(self.tasks(job, "reduce")[0]["Worker"][1:])
        again = len(self.on(job, "map", "done", f"w{worker}"))
        self.cut(worker)
        self.assertOk(self.ctl("wait", "-q", job))
        part = out / "part-00000"
        before = (part.read_bytes(), part.stat().st_ino, part.stat().st_mtime_ns)
        hold.touch()  # the zombie goes on, and ends
        time.sleep(1)
        self.breaks()
        self.link(worker, "up")
        self.wait_for_workers(3)
        self.notices()
        jobs = self.dir / f"spool-w{worker}/jobs"
        mr.wait_for("the zombie's files to go", lambda: not os.listdir(jobs))
        self.took("over")
        self.assertEqual((part.read_bytes(), part.stat().st_ino, part.stat().st_mtime_ns), before)
        self.assertRight(job, maps=6 + again, reduces=2)
        self.assertEqual(self.lost(job, "reduce"), 1)
        self.other_job()

    def test_holder_out_of_reach(self):
        """a worker whom the master hears and no other worker reaches: two of them report it, and each of its maps runs again, once"""
        self.job_input(9)
        for name in (self.names[1], self.names[3]):
            self.run_ip("-n", name, "route", "add", "unreachable", "10.77.0.3/32")
        job = self.submit("--mapper", self.holding("*", WORDS), "--reducer", SUM, "--input", self.dir / "in", "--reduces", "4")
        mr.wait_for("the maps", lambda: self.job_get(job, "MapsRunning") == 6)
        self.assertOk(self.ctl("drain", "w1"))  # what runs there goes on; what runs again does so where it can be read
        self.breaks()
        self.hold.touch()
        self.notices(job, "map-output-lost")
        self.assertRight(job, maps=9 + 2, reduces=4)
        self.assertEqual(self.get("WorkersAlive"), 3)
        self.assertEqual(self.job_get(job, "MapOutputsLost"), 2)
        self.assertEqual(self.job_get(job, "AttemptsLost"), 0)


tap.main()
