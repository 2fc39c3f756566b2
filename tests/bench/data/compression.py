#!/usr/bin/env python3
"""What IntermediateCompression= costs and saves: one host, and two workers with a network of a known rate between them.

    compression.py                BENCH_ROUNDS=3 BENCH_MIB=64

The network is the loopback of a namespace of our own, with a token bucket (tc, tbf) on it; each worker fetches the other's
map outputs over it, half of them all. The job is a shuffle and little else: the identity mapper, and a reducer that counts
lines. Every round runs all codecs at all rates, in an order that is shuffled anew. Answers are compared, times are
printed, and nothing fails by time.
"""

import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "1"))
BYTES = int(os.environ.get("BENCH_MIB", "4")) << 20
CODECS = ["none", "lz4", "zstd"]
RATES = [0, 1000, 200]  # Mbit/s; 0: as fast as it goes
IN_NAMESPACE = "MR_BENCH_NAMESPACE"


def enter_namespace():
    """Starts this program again where the loopback is ours, if that can be had."""
    if os.environ.get(IN_NAMESPACE):
        return
    flags = ["-n"] if os.geteuid() == 0 else ["-Urn"]
    probe = "ip link set lo up && tc qdisc add dev lo root tbf rate 1gbit burst 1mb latency 50ms"
    can = all(shutil.which(x) for x in ("unshare", "tc", "ip")) and \
        subprocess.run(["unshare", *flags, "sh", "-c", probe], stderr=subprocess.DEVNULL, check=False).returncode == 0
    os.environ[IN_NAMESPACE] = "yes" if can else "no"
    if can:
        os.execvp("unshare", ["unshare", *flags, sys.executable, *sys.argv])


def set_rate(mbit):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["tc", "qdisc", "del", "dev", "lo", "root"], stderr=subprocess.DEVNULL, check=False)
    if mbit:
        subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", f"{mbit}mbit", "burst", "256kb",
                        "latency", "50ms"], check=True)


def make_log(to):
    """Lines as a web server writes them: what is shuffled in earnest."""
    rng = random.Random(2)
    with open(to, "w", encoding="ascii") as f:
        while f.tell() < BYTES:
            f.writelines(f"10.{rng.randrange(4)}.{rng.randrange(256)}.{int(rng.expovariate(.05)) % 256}\t"
                         f"[26/Nov/2026:10:{rng.randrange(60):02}:{rng.randrange(60):02}] \"GET /{rng.randrange(10**6)}/index.html\" "
                         f"200 {rng.randrange(10**5)}\n" for _ in range(1000))


def report(title, found):
    base = statistics.median(found["none"])
    print(f"# {title}: " + ", ".join(f"{c} {statistics.median(t):.2f} s ({statistics.median(t) / base:.2f})" for c, t in found.items()), flush=True)


class OneHost(mr.Scratch):
    def test_local(self):
        """mrctl --local: map outputs stay in the page cache"""
        data = self.dir / "log"
        make_log(data)
        found = {c: [] for c in CODECS}
        rng = random.Random(1)
        for _ in range(ROUNDS):
            for codec in rng.sample(CODECS, len(CODECS)):
                begin = time.monotonic()
                p = self.local("-q", "--mapper", "identity", "--reducer", "wc -l", "--reduces", "2", "--intermediate-compression", codec,
                               "--input", data)
                found[codec].append(time.monotonic() - begin)
                self.assertOk(p)
                self.assertEqual(sum(int(n) for n in p.stdout.split()), data.read_bytes().count(b"\n"))
        report("one host", found)


class Network(mr.ClusterCase):
    secure = False  # what is measured is not TLS
    workers_wanted = 2
    slots = 1

    def setUp(self):
        if os.environ[IN_NAMESPACE] == "no":
            self.skipTest("no network namespace with a token bucket (tc tbf) can be had here")
        set_rate(0)
        super().setUp()
        make_log(self.dir / "log")

    def one(self, codec):
        begin = time.monotonic()
        job = self.submit("--mapper", "identity", "--reducer", "wc -l", "--reduces", 2, "--reuse", "no", "--intermediate-compression", codec,
                          "--input", self.dir / "log", "--split-size", BYTES // 8)
        self.assertOk(self.ctl("wait", "-q", job))
        seconds = time.monotonic() - begin
        lines = sum(int(n) for n in self.ctl("cat", job).stdout.split())
        self.assertEqual(lines, (self.dir / "log").read_bytes().count(b"\n"))
        return seconds

    def test_rates(self):
        """two workers, with the network between them as fast as it goes, at 1 Gbit/s and at 200 Mbit/s"""
        todo = [(rate, codec) for rate in RATES for codec in CODECS]
        found = {rate: {c: [] for c in CODECS} for rate in RATES}
        rng = random.Random(3)
        for _ in range(ROUNDS):
            for rate, codec in rng.sample(todo, len(todo)):
                set_rate(rate)
                found[rate][codec].append(self.one(codec))
        set_rate(0)
        for rate in RATES:
            report(f"{rate} Mbit/s" if rate else "no limit", found[rate])


if __name__ == "__main__":
    enter_namespace()
    print(f"# {BYTES >> 20} MiB shuffled, median of {ROUNDS}, ratio to none", flush=True)
    tap.main()
