#!/usr/bin/env python3
"""Holds the keeper to its promises in simulated time: seven fixed seeds, and seven that nobody has seen before.

Bars are medians over the seeds of a set, in microseconds. Those of chronyd in the same set-ups (polling every
64 s) are 27, 22, 235 and 26. Fresh seeds are printed; TIME_SIM_SEED=N in the environment makes them N, N+1, ….
"""

import os
import pathlib
import random
import statistics
import subprocess
import sys
import unittest
from concurrent import futures

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tap  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", "build"))
SIM = BUILD / "tests/sim/time-sim"
SETS = 7 if os.environ.get("MR_SANITIZED", "0") == "0" else 2
FRESH = int(os.environ.get("TIME_SIM_SEED") or random.SystemRandom().randrange(10**6, 10**9))
HELD = 0.999
POOL = futures.ThreadPoolExecutor(os.cpu_count())

LAN = "--duration 10000 --settle 210 --freq-ppm 100 --offset 0.1 --delay-ms 0.1 --jitter-ms 0.1"
NEAR = "--duration 40000 --settle 4000 --freq-ppm 10 --delay-ms 1 --jitter-ms 0.1"
FAR = "--duration 40000 --settle 4000 --freq-ppm 10 --delay-ms 20 --jitter-ms 1 --wander 1e-8"
SPIKES = NEAR + " --spike-prob 0.05 --spike-ms 200"


def simulate(options, seed):
    p = subprocess.run([SIM, *options.split(), "--seed", str(seed)], stdout=subprocess.PIPE, text=True, check=True)
    return {k: float(v) for k, v in (pair.split("=") for pair in p.stdout.split())}


class Scenarios(unittest.TestCase):
    def each(self, options):
        """Both sets of runs, each with the bounds held, and a line that says how they went."""
        sets = {"fixed": range(1, 1 + SETS), "fresh": range(FRESH, FRESH + SETS)}
        for name, seeds in sets.items():
            runs = list(POOL.map(lambda seed: simulate(options, seed), seeds))

            def line(key):
                return f"{statistics.median(r[key] for r in runs):.1f}"

            print(f"# {name} seeds {seeds[0]}..{seeds[-1]}: rms {line('rms_us')} us, max {max(r['max_us'] for r in runs):.0f} us, "
                  f"bound {line('bound_us')} us, held {min(r['bound_held'] for r in runs):.5f}, polls {line('polls')}",
                  flush=True)
            for seed, run in zip(seeds, runs):
                self.assertGreaterEqual(run["bound_held"], HELD, (seed, run))
                self.assertGreaterEqual(run["samples_held"], HELD, (seed, run))
            yield runs

    def bar(self, options, rms_us, max_us=None):
        for runs in self.each(options):
            self.assertLessEqual(statistics.median(r["rms_us"] for r in runs), rms_us)
            if max_us:
                self.assertLessEqual(max(r["max_us"] for r in runs), max_us)

    def every(self, options, **limits):
        """Limits for each run: name_least= and name_most=."""
        for runs in self.each(options):
            for run in runs:
                for limit, value in limits.items():
                    key, _, kind = limit.rpartition("_")
                    (self.assertLessEqual if kind == "most" else self.assertGreaterEqual)(run[key], value, (key, run))

    def test_lan(self):
        """100 ppm, 0.1 s off, 0.1+0.1 ms: rms <= 30 us, max <= 1 ms"""
        self.bar(LAN, 30, 1000)

    def test_near(self):
        """1+0.1 ms: rms <= 30 us"""
        self.bar(NEAR, 30)

    def test_far(self):
        """20+1 ms, wander 1e-8: rms <= 300 us"""
        self.bar(FAR, 300)

    def test_spikes(self):
        """1+0.1 ms, 5 % spikes of 200 ms: rms <= 35 us"""
        self.bar(SPIKES, 35)

    def test_lan_burst(self):
        """100 ppm, 0.1+0.1 ms, bursts of 8: rms <= 20 us"""
        self.bar(LAN + " --burst 8", 20, 1000)

    def test_near_burst(self):
        """1+0.1 ms, bursts of 8: rms <= 20 us"""
        self.bar(NEAR + " --burst 8", 20)

    def test_far_burst(self):
        """20+1 ms, wander 1e-8, bursts of 8: rms <= 220 us"""
        self.bar(FAR + " --burst 8", 220)

    def test_spikes_burst(self):
        """5 % spikes of 200 ms, bursts of 8: rms <= 25 us"""
        self.bar(SPIKES + " --burst 8", 25)

    def test_liar(self):
        """one liar of four, by half a second or by 3 ms, does not move the clock"""
        self.every(NEAR + " --servers 4 --liars 1 --liar 0.5", rms_us_most=50, max_us_most=300, steps_most=1)
        self.every(NEAR + " --servers 4 --liars 1 --liar 0.003", rms_us_most=50, max_us_most=300, steps_most=1)

    def test_liar_within_the_error(self):
        """one liar of three whose lie is within what the others may be wrong by: the bound holds all the same"""
        options = "--duration 10000 --settle 2000 --servers 3 --liars 1 --delay-ms 1.7 --jitter-ms 0.06"
        self.every(options + " --liar 0.0024 --burst 4")  # held in 0.4 % when the narrowest intersection was the bound
        self.every(options + " --liar 0.001 --loss 0.3")

    def test_liar_alone_after_an_outage(self):
        """the first to answer after a long silence is the liar: the others are asked at once, and the bound covers both"""
        self.every("--duration 12000 --settle 2000 --servers 4 --liars 1 --liar 0.0018 --delay-ms 0.1 --jitter-ms 6.5 "
                   "--outage 3300:2800 --min-poll 6 --max-poll 8")

    def test_liars_last_to_go(self):
        """the network goes, and the liars last: for a while they are all that is heard, and the bound covers what was known before"""
        self.every("--duration 8000 --settle 2000 --servers 7 --liars 3 --liar 0.04 --delay-ms 1.9 --jitter-ms 0.04 --loss 0.3 "
                   "--queue-ms 11 --spike-prob 0.05 --spike-ms 200 --min-poll 1 --max-poll 6 --outage 3465:3671")
        self.every("--duration 8000 --settle 2000 --servers 5 --liars 2 --liar -0.31 --delay-ms 7.8 --jitter-ms 20 --min-poll 6 "
                   "--max-poll 6 --outage 2787:2566")

    def any_options(self, r):
        o = {"duration": 8000, "freq-ppm": r.uniform(-200, 200), "wander": 10 ** r.uniform(-10, -8),
             "offset": r.uniform(-1, 1), "delay-ms": 10 ** r.uniform(-1, 1.7), "jitter-ms": 10 ** r.uniform(-1.5, 1.3),
             "servers": r.choice((3, 3, 4, 4, 5, 7)), "burst": r.choice((1, 1, 2, 8)), "min-poll": r.choice((1, 4, 6)),
             "max-poll": r.choice((6, 8, 10)), "loss": r.choice((0, r.uniform(0, 0.5))),
             "queue-ms": r.choice((0, r.uniform(0, 20))), "spike-prob": r.choice((0, 0.05)), "spike-ms": 200}
        o["liars"] = r.randint(1, (o["servers"] - 1) // 2)
        o["liar"] = r.choice((1, -1)) * (o["delay-ms"] + o["jitter-ms"]) * 1e-3 * 10 ** r.uniform(-1, 1.5)
        for name in "suspend", "outage":
            if r.random() < 0.2:
                o[name] = f"{r.randint(2000, 5000)}:{r.randint(100, 4000)}"
        return " ".join(f"--{k} {v}" for k, v in o.items())

    def test_anything_goes(self):
        """set-ups drawn at random, with a minority of liars: losses, queues, sleeps, silences, spikes, long polls"""
        r = random.Random(FRESH)
        options = [self.any_options(r) for _ in range(SETS * 3)]
        for o, run in zip(options, POOL.map(lambda o: simulate(o, FRESH), options)):
            self.assertGreaterEqual(run["bound_held"], HELD, (o, run))
            self.assertGreaterEqual(run["samples_held"], HELD, (o, run))

    def test_no_majority(self):
        """two liars of four: nobody is followed, and the clock is not said to be right"""
        for runs in self.each(NEAR + " --servers 4 --liars 2 --liar 3"):
            for run in runs:
                self.assertEqual(run["steps"], 0)
                self.assertGreater(run["unsync_s"], 39990)

    def test_server_steps_among_others(self):
        """a server that steps by 1 s, of four and of two, does not move the clock"""
        for servers in 4, 2:
            self.every(NEAR + f" --servers {servers} --server-step 10000", rms_us_most=50, max_us_most=300, steps_most=1)

    def test_only_server_steps(self):
        """the only server steps by 1 s: its time is followed by slewing, and the bound says so from the next poll on"""
        self.every("--duration 100000 --settle 20000 --server-step 10000", rms_us_most=50, steps_most=1)

    def test_loss(self):
        """30 % of the packets lost"""
        self.every(NEAR + " --loss 0.3", rms_us_most=60, unsync_s_most=60)

    def test_outage(self):
        """an hour without network: the clock runs on at the learnt frequency"""
        self.every(NEAR + " --outage 20000:3600", max_us_most=2000, unsync_s_most=5, steps_most=1)
        self.every(FAR + " --outage 20000:3600", unsync_s_most=5, steps_most=1)

    def test_suspend(self):
        """8 h asleep, awake with an RTC wrong by up to 0.5 s: unsynchronised for seconds only"""
        options = "--duration 70000 --settle 60000 --suspend 20000:28800"
        self.every(options, rms_us_most=50, unsync_s_most=5, steps_most=2)

    def test_leap(self):
        """a leap second passes without a step of ours and without an error"""
        self.every(NEAR + " --leap 20000.5", rms_us_most=50, max_us_most=300, steps_most=1)

    def test_queue(self):
        """a queue to 5 ms on one way that comes and goes: a fifth of it reaches the clock at most"""
        self.every(NEAR + " --queue-ms 5", rms_us_most=1000)

    def test_asymmetry(self):
        """10 ms more on one way: 5 ms of error, which nobody can see, and the bound holds"""
        self.every(NEAR + " --asymmetry 10", rms_us_least=4900, rms_us_most=5100)

    def test_the_same_seed_is_the_same_run(self):
        """a seed repeats its run, another does not"""
        self.assertEqual(simulate(NEAR, FRESH), simulate(NEAR, FRESH))
        self.assertNotEqual(simulate(NEAR, FRESH), simulate(NEAR, FRESH + 1))

    def test_a_wrong_claim_would_be_seen(self):
        """the measure itself: liars in the majority are followed, and the bound is seen to fail"""
        run = simulate(NEAR + " --servers 4 --liars 3", 1)
        self.assertLess(run["bound_held"], 0.01)
        self.assertGreater(run["rms_us"], 490000)


if __name__ == "__main__":
    print(f"# fresh seeds from {FRESH}", flush=True)
    tap.main()
