#!/usr/bin/env python3
"""evgrpc beside its peers on this machine: interleaved rounds, medians, ratios.

    run.py [--rounds N] [--seconds S] [--connections N] [--bulk MIB] [--only WORD] PROGRAM_FOLDER

Peers that were not built are left out, with a note. Nothing passes or fails by time; it fails when a call does.
All is loopback. Each number is the median of the rounds; within a round every program runs once, one at a time. Where other
work shares the machine, calls per second say little; the CPU time that client and server spend on a call says the same thing then.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

SPARE_FILES = 100  # of a program beside its connections
OURS, GO, CPP, PLAIN = "evgrpc", "Go net/rpc", "gRPC C++", "sendfile"


class Server:
    """A server of the benchmark. It ends with its standard input."""

    def __init__(self, *command):
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip().removeprefix("listening on ")
        if not self.address:
            sys.exit(f"{command[0]} does not listen")

    def rss_kib(self):
        return rss_kib(self.process.pid)

    def cpu_sec(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def rss_kib(pid):
    for row in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if row.startswith("VmRSS:"):
            return int(row.split()[1])
    raise ValueError(pid)


def children_cpu_sec():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def client(*command):
    p = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=120,
                       check=False, text=True)
    if p.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {p.returncode}")
    return json.loads(p.stdout)


class Bench:
    def __init__(self, args):
        self.args = args
        self.folder = pathlib.Path(args.folder).resolve()
        self.results = {}  # (measure, program) -> values of the rounds

    def has(self, name):
        return (self.folder / name).exists()

    def program(self, name):
        return self.folder / name

    def record(self, measure, who, value):
        self.results.setdefault((measure, who), []).append(value)

    def median(self, measure, who):
        values = self.results.get((measure, who))
        return statistics.median(values) if values else None

    def small_calls(self):
        servers = {OURS: (Server(self.program("ours-server"), "127.0.0.1:0"), [self.program("ours-client")])}
        if self.has("gonet"):
            servers[GO] = (Server(self.program("gonet"), "server", "127.0.0.1:0"), [self.program("gonet"), "client"])
        if self.has("cpp-server"):
            servers[CPP] = (Server(self.program("cpp-server"), "127.0.0.1:0"), [self.program("cpp-client")])
        for _ in range(self.args.rounds):
            for who, (server, command) in servers.items():
                got = client(*command, server.address, "latency", self.args.seconds)
                self.record("latency p50, us", who, got["p50_us"])
                self.record("latency p99, us", who, got["p99_us"])
            for count in (64, 256):
                for who, (server, command) in servers.items():
                    before = server.cpu_sec() + children_cpu_sec()
                    got = client(*command, server.address, "calls", self.args.seconds, count)
                    spent = server.cpu_sec() + children_cpu_sec() - before
                    self.record(f"calls/s, {count} under way", who, got["per_s"])
                    self.record(f"... CPU of a call, us ({count})", who, 1e6 * spent / got["calls"])
        for server, _ in servers.values():
            server.close()

    def bulk(self):
        size = self.args.bulk << 20
        with tempfile.NamedTemporaryFile(prefix="mr-bench-") as f:
            for _ in range(64):
                f.write(os.urandom(1 << 20))
            f.flush()
            ours = Server(self.program("ours-server"), "127.0.0.1:0", f.name)
            plain = Server(self.program("plain"), "server", f.name)
            for _ in range(self.args.rounds):
                for message in (256 << 10, 1 << 20):
                    got = client(self.program("ours-client"), ours.address, "bulk", size, message)
                    self.record(f"bulk MB/s, {message >> 10} KiB messages", OURS, got["mb_per_s"])
                got = client(self.program("plain"), "client", plain.address, size)
                for message in (256 << 10, 1 << 20):
                    self.record(f"bulk MB/s, {message >> 10} KiB messages", PLAIN, got["mb_per_s"])
            ours.close()
            plain.close()

    def idle(self):
        count = self.args.connections
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < count + SPARE_FILES:
            sys.exit(f"{count} connections need a limit of {count + SPARE_FILES} open files, it is {hard} (ulimit -Hn)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + SPARE_FILES), hard))
        peers = [(OURS, [self.program("ours-server"), "127.0.0.1:0"], [self.program("ours-client")])]
        if self.has("gonet"):
            peers.append((GO, [self.program("gonet"), "server", "127.0.0.1:0"], [self.program("gonet"), "client"]))
        for who, command, asking in peers:
            server = Server(*command)
            before = server.rss_kib()
            p = subprocess.Popen([*map(str, asking), server.address, "idle", str(count)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            made = json.loads(p.stdout.readline())["connections"]
            if made != count:
                sys.exit(f"{who}: {made} of {count} connections")
            name = f"idle connection, KiB ({count} of them)"
            self.record(name, who, (server.rss_kib() - before) / count)
            self.record("... and at the client", who, rss_kib(p.pid) / count)
            p.stdin.close()
            p.wait()
            server.close()

    def hold(self):
        server = Server(self.program("ours-server"), "127.0.0.1:0")
        before = server.rss_kib()
        count = 100000
        got = client(self.program("ours-client"), server.address, "hold", count)
        if got["completed"] != count:
            sys.exit(f"{got['completed']} of {count} calls completed")
        self.record(f"{count} calls at once, s", OURS, got["sec"])
        self.record("... server's KiB of each", OURS, (server.rss_kib() - before) / count)
        server.close()

    def report(self):
        peers = [w for w in (OURS, GO, CPP, PLAIN) if any(who == w for _, who in self.results)]
        print(f"{'':34s}" + "".join(f"{w:>14s}" for w in peers) + "   evgrpc : peer")
        for measure in dict.fromkeys(m for m, _ in self.results):
            ours = self.median(measure, OURS)
            cells, ratios = [], []
            for who in peers:
                value = self.median(measure, who)
                cells.append(f"{value:14.4g}" if value is not None and value < 1000 else
                             f"{value:14.0f}" if value is not None else f"{'-':>14s}")
                if who != OURS and value:
                    ratios.append(f"{ours / value:.2f} {who}")
            print(f"{measure:34s}" + "".join(cells) + "   " + ", ".join(ratios))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--connections", type=int, default=10000)
    parser.add_argument("--bulk", type=int, default=4096, help="MiB of a stream")
    parser.add_argument("--only", default="", help="small, bulk, idle or hold")
    parser.add_argument("folder")
    args = parser.parse_args()
    os.environ.pop("MALLOC_PERTURB_", None)  # meson sets it; it would fill, and so use, memory that is only reserved
    bench = Bench(args)
    for name, why in (("gonet", "the Go tool (golang-go)"), ("cpp-server", "gRPC C++ (libgrpc++-dev, protobuf-compiler-grpc)")):
        if not bench.has(name):
            print(f"note: without {why} when this was built; its column is missing")
    for name, measure in (("small", bench.small_calls), ("bulk", bench.bulk), ("idle", bench.idle), ("hold", bench.hold)):
        if args.only in name:
            measure()
    bench.report()


main()
