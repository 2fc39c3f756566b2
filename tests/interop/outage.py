"""A link that goes down: no packet says so, and keepalive ends the connection at both ends. When the link is back, so is the channel.

Client and server run in network namespaces of their own with a cable (veth) between them, which this test makes and removes."""

import os
import pathlib
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tap  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", "build")).resolve()
SERVER = str(BUILD / "tests/interop/echo-server")
CLIENT = str(BUILD / "tests/interop/echo-client")
KEEPALIVE_MS = 1000  # either end may stand still for a while, on a machine with much else to do
LOST = "Keepalive: no answer from the peer"
END_A, END_B = "10.213.7.1", "10.213.7.2"


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def why_not():
    if os.geteuid() != 0 or not shutil.which("ip"):
        return "network namespaces take root and iproute2"
    name = f"mr-try-{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if tried.returncode == 0:
        ip("netns", "delete", name)
        return None
    return f"no network namespace here: {tried.stderr.strip()}"


WHY_NOT = why_not()


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Outage(unittest.TestCase):
    def setUp(self):
        self.a, self.b = (f"mr-outage-{os.getpid()}-{end}" for end in "ab")
        self.processes = []
        self.addCleanup(self.remove)
        for name in (self.a, self.b):
            ip("netns", "add", name)
        ip("link", "add", "cable", "netns", self.a, "type", "veth", "peer", "name", "cable", "netns", self.b)
        for name, address in ((self.a, END_A), (self.b, END_B)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")

    def remove(self):
        for p in self.processes:
            if p.poll() is None:
                p.kill()
            p.communicate()
        for name in (self.a, self.b):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    def start(self, namespace, *command):
        p = subprocess.Popen(["ip", "netns", "exec", namespace, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, env=dict(os.environ, ECHO_KEEPALIVE_MS=str(KEEPALIVE_MS)))
        self.processes.append(p)
        return p

    def test_link_down_and_up(self):
        server = self.start(self.a, SERVER, f"{END_A}:0")
        address = server.stdout.readline().strip()
        client = self.start(self.b, CLIENT, address, "outage")
        self.assertEqual(client.stdout.readline().strip(), "waiting")
        time.sleep(3 * KEEPALIVE_MS / 1000)  # answered PINGs keep it
        self.assertIsNone(client.poll())
        ip("-n", self.a, "link", "set", "cable", "down")
        begin = time.monotonic()
        self.assertEqual(client.stdout.readline().strip(), LOST)
        took = time.monotonic() - begin
        self.assertIn(LOST, server.stderr.readline())
        print(f"# both ends noticed; the client after {1000 * took:.0f} ms, a PING every {KEEPALIVE_MS} ms")
        self.assertLess(took, 30)
        ip("-n", self.a, "link", "set", "cable", "up")
        self.assertEqual(client.stdout.readline().strip(), "ok outage")
        out, errors = client.communicate(timeout=30)
        self.assertEqual(client.returncode, 0, out + errors)
        out, _ = server.communicate(timeout=30)
        self.assertEqual(out.strip(), "calls 3 cancelled 1 living 0")
        self.assertEqual(server.returncode, 0)


if __name__ == "__main__":
    tap.main()
