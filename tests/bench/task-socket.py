#!/usr/bin/env python3
"""What isolation costs: a task process from mr-task.socket, in a unit of its own, against a plain child of the worker.

Measured in a container with the built packages, both ways in turn. Nothing passes or fails by time. MR_BENCH=long repeats more.
"""

import os
import pathlib
import statistics
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import container  # noqa: E402
import mr  # noqa: E402
import tap  # noqa: E402

LONG = os.environ.get("MR_BENCH") == "long"
TASKS = 200
WORKER = "mr-workerd.service"
DROP_IN = f"/run/systemd/system/{WORKER}.d/child.conf"

# From nothing to a process that has read its first packet (which makes no sense, so it ends) and is gone.
SPAWN = """
import os, socket, subprocess, sys, time
way, count = sys.argv[1], int(sys.argv[2])
for _ in range(count):
    began = time.monotonic()
    if way == "unit":
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.connect("/run/mapreduced/task")
        child = None
    else:
        s, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        child = subprocess.Popen(["/usr/libexec/mapreduced/mr-task"], pass_fds=[3], stderr=subprocess.DEVNULL,
                                 preexec_fn=lambda: os.dup2(theirs.fileno(), 3))
        theirs.close()
    s.send(b"no message at all")
    s.recv(1)
    if child:
        child.wait()
    s.close()
    print(time.monotonic() - began)
"""


class Cost(unittest.TestCase):
    def test_cost(self):
        """a task by mr-task.socket against a plain child"""
        reason = "sanitized programs are not packaged" if mr.SANITIZED else container.why_not(packages=True)
        if reason:
            self.skipTest(reason)
        with container.Cluster() as cluster:
            self.measure(cluster.add("alone"))

    def measure(self, host):
        host.write("/etc/mapreduced/masterd.conf.d/bench.conf", f"[Master]\nListen={host.address}:7077\n")
        host.write("/etc/mapreduced/workerd.conf.d/bench.conf", "[Worker]\nSlots=2\n")
        for i in range(TASKS):
            host.write(f"/srv/small/{i}", f"word {i}\n")
        host.boot()
        host.up("mr-masterd.service")
        host.run("mrctl", "cluster", "join", host.output("mrctl", "-q", "cluster", "token").strip())
        rounds = 9 if LONG else 3
        spawn, job = {"unit": [], "child": []}, {"unit": [], "child": []}
        for _ in range(rounds):
            for way in ("unit", "child"):
                spawn[way] += map(float, host.output("python3", "-c", SPAWN, way, "5").split())
                self.use(host, way)
                began = time.monotonic()
                host.run("mrctl", "run", "--mapper", "cat", "--reducer", "cat", "--input", "/srv/small", timeout=300)
                job[way].append(time.monotonic() - began)
        print(f"# {'':34}{'unit':>10}{'child':>10}{'ratio':>8}")
        for name, values in (("one process, started and ended", spawn), (f"a job of {TASKS} short tasks, 2 slots", job)):
            unit, child = statistics.median(values["unit"]), statistics.median(values["child"])
            print(f"# {name:34}{unit * 1000:7.1f} ms{child * 1000:7.1f} ms{unit / child:8.2f}")

    def use(self, host, way):
        if way == "child":
            host.shell(f"mkdir -p $(dirname {DROP_IN}) && printf '[Service]\\nExecStart=\\n"
                       f"ExecStart=/usr/libexec/mapreduced/mr-workerd\\n' > {DROP_IN}")
        else:
            host.run("rm", "-f", DROP_IN)
        host.shell(f"systemctl daemon-reload && systemctl restart {WORKER}")
        host.wait_until("the worker", lambda: "Registered" in host.show(WORKER, "StatusText"), 20)


if __name__ == "__main__":
    tap.main()
