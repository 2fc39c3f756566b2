"""Chaos: real daemons in network namespaces of their own, and faults at random moments, round after round.

Each round runs one job while workers are killed and stopped, links cut, disks filled, bits flipped in run files, and the
master killed and started again. However it comes, the job must end well, its answer be coreutils', each map's records be
counted once, and nothing be left: no file of the job, no process, no descriptor, no memory.

A seed chooses everything but the machine's own timing. It is printed; it and the round's number give the schedule again:

    CHAOS_SEED=4711 CHAOS_ROUND=3 BUILD_ROOT=build python3 tests/cluster/chaos.py
    CHAOS_ROUNDS=1000 BUILD_ROOT=build python3 tests/cluster/chaos.py          # by hand; 20 rounds otherwise
    CHAOS_SEED=4711 CHAOS_PLANS=20 python3 tests/cluster/chaos.py              # the schedules alone
"""

import glob
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

SEED = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(1 << 32)))
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "20"))
ONLY = os.environ.get("CHAOS_ROUND")
PLANS = int(os.environ.get("CHAOS_PLANS", "0"))
WORKERS = 3
LEASE_S = 1.0
SUBNET = "198.18.77"  # of the range for benchmarks (RFC 2544); inside the namespaces alone
MAPPER = "sleep 0.0{0}; tr -s '[:space:]' '\\n' | grep -av '^$' | sed 's/$/\\t1/'"
REDUCER = "sleep 0.{0}; awk -F '\\t' '{{n[$1] += $2}} END {{for (w in n) printf \"%s\\t%d\\n\", w, n[w]}}'"
FDS_MORE = 12  # at rest, than when it began: a connection or two that is about to go
RSS_MORE_KIB = 24 * 1024


def ip(*args):
    subprocess.run(["ip", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def can_make_namespaces():
    if os.geteuid() != 0 or not shutil.which("ip"):
        return False
    name = f"mrc{os.getpid()}probe"
    if subprocess.run(["ip", "netns", "add", name], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        return False
    subprocess.run(["ip", "netns", "del", name], check=False)
    return True


class Network:
    """A hub with a bridge, and a namespace with one cable to it for each host."""

    def __init__(self, hosts):
        self.hub = f"mrc{os.getpid()}"
        self.names = []
        self.add(self.hub)
        ip("-n", self.hub, "link", "add", "hub", "type", "bridge")
        ip("-n", self.hub, "link", "set", "hub", "up")
        for i, host in enumerate(hosts):
            ns = self.ns(host)
            self.add(ns)
            ip("-n", self.hub, "link", "add", f"c-{host}", "type", "veth", "peer", "name", "eth0", "netns", ns)
            ip("-n", self.hub, "link", "set", f"c-{host}", "master", "hub", "up")
            ip("-n", ns, "link", "set", "lo", "up")
            ip("-n", ns, "addr", "add", f"{SUBNET}.{i + 1}/24", "dev", "eth0")
            ip("-n", ns, "link", "set", "eth0", "up")

    def add(self, name):
        ip("netns", "add", name)
        self.names.append(name)

    def ns(self, host):
        return f"{self.hub}{host}"

    def cable(self, host, state):
        ip("-n", self.hub, "link", "set", f"c-{host}", state)

    def remove(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False)


class Plan:
    """What a round does, from the seed and its number alone."""

    KINDS = ("kill", "stop", "cut", "fill", "flip", "master")

    def __init__(self, number):
        r = random.Random(f"{SEED}/{number}")
        self.number = number
        self.builtin = r.random() < 0.3
        self.directory = r.random() < 0.5
        self.reduces = r.randint(1, 4)
        self.map_pause, self.reduce_pause = r.randint(2, 9), r.randint(1, 3)
        self.reuse = r.choice(("auto", "no"))
        self.stable = r.random() < 0.25
        self.events = []
        for _ in range(r.randint(1, 4)):
            at = r.uniform(0, 1.5)
            kind = r.choice(self.KINDS)
            target = r.randrange(WORKERS)
            # Half the times shorter than a lease, which must cost little, and half longer.
            lasts = r.uniform(0.05, 2.0) * LEASE_S
            self.events.append((at, kind, target, lasts, r.random()))
        self.events.sort()

    def __str__(self):
        what = "app" if self.builtin else "commands"
        where = "directory" if self.directory else "streamed"
        events = ", ".join(f"{kind}{'' if kind == 'master' else f' w{target}'} at {at:.2f} s for {lasts:.2f} s"
                           for at, kind, target, lasts, _ in self.events)
        how = f"pauses {self.map_pause} and {self.reduce_pause}, reuse={self.reuse}{', stable' if self.stable else ''}"
        return f"round {self.number}: {what}, {self.reduces} reduces, {where}, {how}: {events}"


class Schedule(unittest.TestCase):
    def plans(self, seed, rounds, only=None):
        env = dict(os.environ, CHAOS_SEED=str(seed), CHAOS_PLANS=str(rounds), PYTHONHASHSEED="random")
        if only is not None:
            env["CHAOS_ROUND"] = str(only)
        p = subprocess.run([sys.executable, __file__], env=env, stdout=subprocess.PIPE, check=True)
        return p.stdout.decode().splitlines()

    def test_seed_gives_the_schedule_again(self):
        """a seed gives the same rounds each time, each of them also by itself, and another seed others"""
        first = self.plans(4711, 30)
        self.assertEqual(len(first), 30)
        self.assertEqual(self.plans(4711, 30), first)
        self.assertEqual(self.plans(4711, 30, only=17), [first[17]])
        self.assertEqual(len(set(first) & set(self.plans(4712, 30))), 0)
        for kind in Plan.KINDS:
            self.assertTrue(any(f"{kind} " in row for row in first), f"no round has the fault {kind}")


@unittest.skipUnless(can_make_namespaces(), "makes network namespaces and small file systems: root only")
class Chaos(mr.ClusterCase):
    workers_wanted = WORKERS

    def setUp(self):
        print(f"# seed {SEED}", flush=True)
        self.network = Network(["m"] + [f"w{i}" for i in range(WORKERS)])
        self.addCleanup(self.network.remove)
        self.conf = None
        self.mounts = []
        super().setUp()
        self.addCleanup(self.unmount)  # runs before the folder is removed
        self.shared = self.dir / "shared"
        self.shared.mkdir()
        self.lines = 0
        for i in range(12):
            rows = [b"word%d of line %d in file %d\n" % (k * 7919 % 997, k % 50, i) for k in range(400 + 10 * i)]
            self.file(f"in/f{i:02}", b"".join(rows))
            self.lines += len(rows)
        self.want = mr.coreutils_wordcount(mr.text_files([str(self.dir / "in")]))

    def unmount(self):
        for w in self.workers:
            if w.alive():
                os.kill(w.pid, signal.SIGCONT)
                w.kill(signal.SIGTERM)
        for path in self.mounts:
            subprocess.run(["umount", "-l", str(path)], check=False)

    # ---- daemons in their namespaces ----

    def start_in(self, host, name, args):
        return self.start(name, ["ip", "netns", "exec", self.network.ns(host), *args])

    def start_master(self, *extra):
        conf = self.file("masterd.conf", "[Master]\n")
        self.master = self.start_in("m", "master", [
            mr.MASTERD, f"--config={conf}", f"--bus={self.bus}", f"--listen={SUBNET}.1:7077",
            f"--advertise={SUBNET}.1", f"--state={self.dir}/master",
            f"--lease={int(LEASE_S * 1000)}ms", "--heartbeat=200ms", *extra])
        mr.wait_for("the master on the bus", lambda: self.get("Version", fail=False))
        return self.master

    def start_worker(self, index, *extra):
        spool = self.dir / f"spool-w{index}"
        if not spool.exists():
            spool.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24M", "none", spool], check=True)
            self.mounts.append(spool)
            self.join(index, spool)
        conf = self.file("workerd.conf", "[Worker]\nMinFree=256K\n")
        return self.start_in(f"w{index}", f"w{index}", [
            mr.WORKERD, f"--config={conf}", "--bus=none", f"--master={SUBNET}.1:7077", f"--listen={SUBNET}.{index + 2}:0",
            f"--spool={spool}", "--slots=2", f"--name=w{index}", *extra])

    def join(self, index, spool):
        """What an administrator types, on the master and on the new host."""
        p = self.ctl("-q", "cluster", "token")
        self.assertOk(p)
        conf = self.file("join.conf", "[Worker]\n")
        p = subprocess.run(["ip", "netns", "exec", self.network.ns(f"w{index}"), mr.WORKERD, f"--config={conf}", "--bus=none",
                            f"--spool={spool}", "--join=-"], input=p.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=30,
                           check=False, env=self.env)
        self.assertOk(p)

    # ---- faults: each returns what mends it ----

    def fault(self, kind, target, choice):
        return getattr(self, f"do_{kind}")(target, choice)

    def do_kill(self, target, _):
        self.workers[target].kill()
        def mend():
            self.workers[target] = self.start_worker(target)
        return mend

    def do_stop(self, target, _):
        worker = self.workers[target]
        if not worker.alive():
            return lambda: None
        os.kill(worker.pid, signal.SIGSTOP)
        return lambda: worker.alive() and os.kill(worker.pid, signal.SIGCONT)

    def do_cut(self, target, _):
        self.network.cable(f"w{target}", "down")
        return lambda: self.network.cable(f"w{target}", "up")

    def do_fill(self, target, _):
        path = self.dir / f"spool-w{target}" / "filler"
        try:
            with open(path, "wb", buffering=0) as f:
                while f.write(b"\0" * 65536):
                    pass
        except OSError:
            pass  # full
        return lambda: path.unlink(missing_ok=True)

    def do_flip(self, target, choice):
        runs = sorted([*glob.glob(f"{self.dir}/spool-w*/jobs/*/map-*.run"), *glob.glob(f"{self.shared}/*/map-*.run")])
        try:
            path = runs[int(choice * len(runs))]
            with open(path, "r+b") as f:
                offset = int(choice * 1000003) % os.path.getsize(path)
                f.seek(offset)
                byte = f.read(1)[0]
                f.seek(offset)
                f.write(bytes([byte ^ (1 << int(choice * 8))]))
        except (OSError, IndexError, ZeroDivisionError):
            pass  # there is none, or it is gone meanwhile
        return lambda: None

    def do_master(self, _, __):
        self.master.kill()
        return self.start_master

    # ---- a round ----

    def submit_round(self, plan):
        args = ["--input", self.dir / "in", "--reduces", plan.reduces, "--max-attempts", 50, "--reuse", plan.reuse]
        if plan.stable:
            args += ["--intermediate", f"stable:{self.shared}"]
        if plan.directory:
            args += ["--output", self.dir / "out"]
        if plan.builtin:
            args += ["--app", "wordcount", "--split-size", "4K"]
        else:
            args += ["--mapper", MAPPER.format(plan.map_pause), "--reducer", REDUCER.format(plan.reduce_pause)]
        return self.submit(*args)

    def play(self, plan):
        """All faults at their times, each mended at its own; a thing is broken once at a time."""
        begin = time.monotonic()
        pending = [(at, "break", kind, target, lasts, choice) for at, kind, target, lasts, choice in plan.events]
        broken = {}
        while pending:
            pending.sort(key=lambda e: e[0])
            at, what, kind, target, lasts, choice = pending.pop(0)
            time.sleep(max(0, begin + at - time.monotonic()))
            thing = "master" if kind == "master" else (kind if kind in ("cut", "fill", "flip") else "process", target)
            if what == "mend":
                broken.pop(thing)()
            elif thing not in broken:
                broken[thing] = self.fault(kind, target, choice)
                pending.append((at + lasts, "mend", kind, target, 0, 0))

    def answer(self, job, plan):
        if plan.directory:
            parts = [f"part-{i:05}" for i in range(plan.reduces)]
            self.assertEqual(sorted(os.listdir(self.dir / "out")), ["_SUCCESS", *parts])
            rows = b"".join((self.dir / "out" / p).read_bytes() for p in parts).splitlines(True)
            shutil.rmtree(self.dir / "out")
            return b"".join(sorted(rows))
        p = self.ctl("cat", job)
        self.assertOk(p)
        return p.stdout

    def left_behind(self):
        found = []
        for i in range(WORKERS):
            for part in ("tmp", "jobs"):
                found += list((self.dir / f"spool-w{i}" / part).iterdir())
        return found + list(self.shared.iterdir()) + glob.glob(f"{self.dir}/master/jobs/*/*", include_hidden=True)

    def one_round(self, plan):
        job = self.submit_round(plan)
        self.play(plan)
        try:
            mr.wait_for("the job to end", lambda: self.job_is_over(job), 60)
            self.assertEqual(self.job_get(job, "State"), "done", self.job_get(job, "StateReason"))
            self.assertSameLines(self.answer(job, plan), self.want)
            counters = self.job_get(job, "Counters")
            self.assertEqual(counters["map_input_records"], self.lines)
            self.wait_for_workers(WORKERS)
            mr.wait_for("the spools to be empty", lambda: not self.left_behind(), 20)
        except AssertionError as e:
            events = self.ctl("status", "--json=pretty", job).stdout.decode(errors="replace")
            raise AssertionError(f"seed {SEED}, {plan}\n{e}\nleft: {self.left_behind()}\n{events[-6000:]}") from e

    def at_rest(self):
        """Descriptors and memory of each daemon, by its pid."""
        found = {}
        for d in (self.master, *self.workers):
            found[d.pid] = (len(os.listdir(f"/proc/{d.pid}/fd")), d.rss_kib(), d.args[4].rsplit("/", 1)[-1])
        return found

    def test_rounds(self):
        """faults at random moments: no wrong answer, no hang, no leak"""
        numbers = [int(ONLY)] if ONLY else range(ROUNDS)
        first = {}
        for number in numbers:
            plan = Plan(number)
            print(f"# {plan}", flush=True)
            self.one_round(plan)
            for pid, (fds, rss, name) in self.at_rest().items():
                fds0, rss0, _ = first.setdefault(pid, (fds, rss, name))
                if fds > fds0 + FDS_MORE:  # what is being closed is gone in a moment; a leak stays
                    mr.wait_for(f"seed {SEED}, {plan}: {name} to close descriptors: {fds} are open, {fds0} were",
                                lambda pid=pid, fds0=fds0: len(os.listdir(f"/proc/{pid}/fd")) <= fds0 + FDS_MORE, 15)
                if not mr.SANITIZED:
                    self.assertLessEqual(rss, rss0 + RSS_MORE_KIB, f"seed {SEED}, {plan}: {name} keeps memory")
        own = {d.pid for d in self.daemons}
        def strays():
            return [p for p in mr.processes_below(self.dir) if p not in own and parent(p) not in own]
        mr.wait_for("no stray process", lambda: not strays(), 10)

    def job_get(self, job, prop):
        """The master may be away for a moment."""
        return mr.wait_for(f"{prop} of job {job}", lambda: self.try_get(job, prop), 20)[0]

    def try_get(self, job, prop):
        p = self.busctl("get-property", "org.mapreduced.Master1", f"/org/mapreduced/Master1/job/{job}",
                        "org.mapreduced.Master1.Job", prop, check=False)
        return [json.loads(p.stdout)["data"]] if p.returncode == 0 else None


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return int(f.read().rsplit(b")", 1)[1].split()[1])
    except OSError:
        return 0


if __name__ == "__main__":
    if PLANS:
        print("\n".join(str(Plan(n)) for n in ([int(ONLY)] if ONLY else range(PLANS))))
        sys.exit()
    tap.main()
