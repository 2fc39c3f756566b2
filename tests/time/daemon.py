"""timesyncd-lite, whole: with honest servers, with lying ones, over the bus, and asked by a plain gRPC client."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import unittest

import timed
from timed import SECOND, grpc, honest, mr

import tap

NEED_GRPC = unittest.skipUnless(grpc, "python3-grpcio is not installed")
MAKER = str(mr.BUILD / "tests/interop/make-certificates")


class Exchange(timed.Time):
    """The lecture's exchange, by whoever asks."""

    @NEED_GRPC
    def test_plain_grpc_client(self):
        """a plain gRPC client gets the time: T2, T3, stratum, leap, root distance, ids"""
        self.kernel_tells()
        server = self.server(stratum=3)
        with grpc.insecure_channel(server.address) as channel:
            call = channel.unary_unary(timed.METHOD)
            for _ in range(3):
                t1 = time.time_ns()
                reply = timed.read_reply(call(timed.request(t1, 0x77), timeout=5))
                t4 = time.time_ns()
                self.assertEqual(reply["t1"], t1)
                self.assertTrue(t1 <= reply["t2"] <= reply["t3"] <= t4, (t1, reply, t4))  # one clock tells all four
        self.assertEqual((reply["synchronised"], reply["stratum"], reply["leap"]), (1, 3, 0))
        self.assertEqual(reply["server_id"], server.clock_id)
        self.assertEqual(reply["references"], [])
        self.assertEqual(reply["t2_from_kernel"], 1)

    @NEED_GRPC
    def test_interleaved(self):
        """the next reply of a connection tells when the one before it left, by the kernel"""
        server = self.server()
        with grpc.insecure_channel(server.address) as channel:
            call = channel.unary_unary(timed.METHOD)
            before, t4 = None, 0
            for _ in range(4):
                reply = timed.read_reply(call(timed.request(time.time_ns(), 0x77), timeout=5))
                if before is None:
                    self.assertEqual((reply["previous_t1"], reply["previous_t3"]), (0, 0))  # of this connection
                else:
                    self.assertEqual(reply["previous_t1"], before["t1"])
                    self.assertTrue(before["t3"] <= reply["previous_t3"] <= t4, (before, reply, t4))
                before, t4 = reply, time.time_ns()
                self.assertEqual(reply["t3_follows"], 1)

    def test_local_socket(self):
        """over a local socket no kernel tells a time: the programs' are used, and that is said"""
        self.start_bus()
        server = self.server(listen=f"unix:{self.dir}/time")
        self.client(server.address)
        self.wait_state("synchronised")
        self.assertEqual(self.show("status")["KernelStamps"], [])
        self.assertIn("Kernel stamps: none, the times are the programs'", self.ctl("time", "status").stdout.decode())
        q = json.loads(self.query(server.address).stdout)
        self.assertEqual([q[f"T{i}FromKernel"] for i in (1, 2, 3, 4)], [False] * 4)

    @NEED_GRPC
    def test_rate_limit(self):
        """who asks too often is told so, and served again later"""
        server = self.server(extra="RateLimit=2\n")
        with grpc.insecure_channel(server.address) as channel:
            call = channel.unary_unary(timed.METHOD)

            def code():
                try:
                    call(timed.request(time.time_ns()), timeout=5)
                    return None
                except grpc.RpcError as e:
                    return e.code()
            begin, answers = time.monotonic(), []
            while grpc.StatusCode.RESOURCE_EXHAUSTED not in answers:
                self.assertLess(len(answers), 1000)
                answers.append(code())
            self.assertEqual(set(answers[:-1]), {None})
            self.assertGreaterEqual(len(answers) - 1, 8)  # of four seconds, and what came since then
            self.assertLessEqual(len(answers) - 1, 8 + 2 * (time.monotonic() - begin))
            mr.wait_for("the limit to pass", lambda: code() is None, 5)
        self.wait_log(server, "asks more often than RateLimit= allows")

    @NEED_GRPC
    def test_no_server_of_itself(self):
        """a clock that asks itself is refused"""
        server = self.server()
        with grpc.insecure_channel(server.address) as channel:
            call = channel.unary_unary(timed.METHOD)
            with self.assertRaises(grpc.RpcError) as caught:
                call(timed.request(time.time_ns(), server.clock_id), timeout=5)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)
        self.assertIn("loop", caught.exception.details())

    def test_query(self):
        """mrctl time query prints one exchange, and its numbers fit together"""
        self.kernel_tells()
        server = self.server(stratum=2)
        p = self.query(server.address)
        self.assertEqual(p.returncode, 0, p.stderr)
        q = json.loads(p.stdout)
        t1, t2, t3, t4 = (q[f"T{i}NSec"] for i in (1, 2, 3, 4))
        self.assertEqual(q["RTTNSec"], (t4 - t1) - (t3 - t2))
        self.assertAlmostEqual(q["OffsetNSec"], ((t2 - t1) + (t3 - t4)) / 2, delta=1)
        self.assertEqual(q["TimeToSetNSec"], t3 + q["RTTNSec"] // 2)
        self.assertGreaterEqual(q["BoundNSec"], q["RTTNSec"] / 2)
        self.assertLessEqual(abs(q["OffsetNSec"]), q["BoundNSec"])  # the true offset is 0
        self.assertEqual((q["Synchronised"], q["Stratum"], q["Leap"]), (True, 2, "none"))
        self.assertEqual([q[f"T{i}FromKernel"] for i in (1, 2, 3, 4)], [True] * 4)
        text = self.mrctl("time", "query", server.address).stdout.decode()
        for word in ("T1:", "T2:", "T3:", "T4:", "Round trip:", "Offset:", "Bound:", "Time to set:", "stratum 2"):
            self.assertIn(word, text)

    def test_query_failures(self):
        """a query that nobody answers says why, and bad usage is told from it"""
        p = self.query("127.0.0.1:1")
        self.assertEqual(p.returncode, 1)
        self.assertIn(b"Connection refused", p.stderr)
        self.assertEqual(p.stdout, b"")
        self.assertEqual(self.mrctl("time", "query").returncode, 2)
        self.assertEqual(self.mrctl("time", "qery", "x").returncode, 2)
        self.assertIn(b"127.0.0.1:99999", self.query("127.0.0.1:99999").stderr)

    @NEED_GRPC
    def test_query_contradiction(self):
        """times that contradict each other are shown, and nothing is concluded"""
        address = self.fake_server(lambda r, now: honest(r, now, t2=now, t3=now - 1))
        p = self.query(address)
        self.assertEqual(p.returncode, 1)
        self.assertIn(b"contradict", p.stderr)
        self.assertNotIn(b"OffsetNSec", p.stdout)


class Clock(timed.Time):
    """A virtual clock is made right, and what is said of it is true."""

    def test_wrong_and_drifting(self):
        """3 s fast and 80 ppm: one step, then slewed; drift file, saved time, flag and lock are there"""
        server = self.server()
        self.start_bus()
        client = self.client(server.address, dry_run="--dry-run=3,80", args=(f"--run-dir={self.dir}/run",))
        self.wait_state("synchronised")

        def is_right():
            """The last exchange, too: it was off by 3 s."""
            s = self.show("status")
            last = [x for x in self.show("samples") if x["Outcome"] == "accepted"][-1]
            return abs(s["Frequency"] + 80) < 20 and s["BoundNSec"] < SECOND // 100 and abs(last["OffsetNSec"]) < 200 * 1000
        mr.wait_for("the clock to be right, and its frequency", is_right, 60)
        s = self.show("status")
        self.assertEqual(s["Steps"], 1)
        self.assertEqual(s["SelectedServer"], server.address)
        self.assertEqual(s["Stratum"], 2)
        self.assertTrue(s["DryRun"])
        samples = self.show("samples")
        self.assertEqual([x["KernelStamps"] for x in samples if x["Outcome"] == "accepted"][-1], ["T1", "T2", "T3", "T4"])
        self.assertEqual(s["KernelStamps"], ["T1", "T2", "T3", "T4"])
        self.assertIn("Kernel stamps: T1 T2 T3 T4", self.ctl("time", "status").stdout.decode())
        self.assertTrue((self.dir / "run/systemd/timesync/synchronized").exists())
        second = self.client(server.address, name="second", bus="none", args=(f"--run-dir={self.dir}/run",))
        self.assertEqual(second.process.wait(30), 1)
        self.assertIn("another timesyncd-lite disciplines the clock", self.log_of(second))
        client.stop()
        frequency, sd = map(float, (self.dir / "client/drift").read_text().split())
        self.assertLess(abs(frequency + 80), 20)
        self.assertGreater(sd, 0)
        self.assertLess(abs((self.dir / "client/clock").stat().st_mtime - time.time()), 60)
        again = self.client(server.address, dry_run="--dry-run=0,80", bus="none")
        self.wait_log(again, f"frequency was {frequency:+.3f}")

    def test_saved_time(self):
        """a clock that starts before the time of the last run is set forward to it"""
        self.file("client/clock")
        os.utime(self.dir / "client/clock", (time.time() - 1000, time.time() - 1000))
        client = self.client(dry_run="--dry-run=-86400")
        self.wait_log(client, "before the time of the last run")

    def test_chain_and_loop(self):
        """a client of a client has its path; a loop of three is seen by its reason"""
        self.start_bus()
        top = self.server()
        middle = self.client(top.address, name="middle", bus="none", args=("--listen=127.0.0.1:0",))
        self.wait_log(middle, "Telling the time on ")
        address = self.log_of(middle).split("Telling the time on ")[1].split("\n")[0]
        self.wait_log(middle, "Following ")
        leaf = self.client(address, name="leaf")
        self.wait_state("synchronised")
        self.assertEqual(self.show("status")["Stratum"], 3)
        p = json.loads(self.query(address).stdout)
        self.assertEqual(p["ReferenceId"], f"{top.clock_id:016x}")
        leaf.stop()
        # Now with the number of the clock at the top: it would follow itself by way of another.
        self.client(address, name="looped", args=(f"--clock-id={top.clock_id:x}",))
        mr.wait_for("the loop", lambda: self.show("servers")[0]["Reason"] == "loop")
        self.assertEqual(self.show("status")["State"], "starting")

    def test_silence(self):
        """polls do not grow while the server is away; its return is noticed, the drift was kept"""
        self.start_bus()
        server = self.server(listen=f"127.0.0.1:{mr.free_port()}")  # which is free again when it comes back
        client = self.daemon("client", "--dry-run=0,50", f"--server={server.address}", bus=self.bus,
                             conf="[Time]\nPollIntervalMin=2s\nPollIntervalMax=36h\n")
        self.wait_state("synchronised")
        server.kill()
        mr.wait_for("the failure", lambda: "refused" in self.show("servers")[0]["Explanation"] or
                    self.show("servers")[0]["Reason"] == "timeout" or self.show("servers")[0]["Reach"] & 1 == 0)
        poll = self.show("servers")[0]["PollIntervalUSec"]
        exchanges = self.show("servers")[0]["Exchanges"]
        mr.wait_for("polls", lambda: self.show("servers")[0]["Exchanges"] >= exchanges + 3)
        s = self.show("servers")[0]
        self.assertEqual(s["PollIntervalUSec"], poll)
        self.wait_log(client, "Connection refused")
        told = [line for line in self.log_of(client).splitlines() if "Connection refused" in line]
        unused = [line for line in told if "is not used" in line]  # comes when its answers have become too old
        self.assertLessEqual(len(unused), 1, told)
        self.assertEqual(len(told) - len(unused), 1, told)  # of the connection: once, not with each poll
        answers = s["Answers"]
        self.server("again", listen=server.address)
        mr.wait_for("the answer", lambda: self.show("servers")[0]["Answers"] > answers)

    def test_reload(self):
        """SIGHUP: other servers, and a file that is wrong changes nothing"""
        self.start_bus()
        one, two = self.server("one"), self.server("two")
        conf = f"[Time]\nPollIntervalMin=2s\nPollIntervalMax=2s\nServer={one.address}\n"
        client = self.daemon("client", "--dry-run", bus=self.bus, conf=conf)
        self.wait_state("synchronised")
        self.file("client.conf", conf + f"Server={two.address}\n")
        client.process.send_signal(signal.SIGHUP)
        mr.wait_for("two servers", lambda: len(self.show("servers")) == 2)
        self.file("client.conf", conf + "PollIntervalMin=nonsense\n")
        client.process.send_signal(signal.SIGHUP)
        self.wait_log(client, "Not reloaded: ")
        self.assertIn("PollIntervalMin=", self.log_of(client))
        self.assertEqual(len(self.show("servers")), 2)
        self.assertEqual(self.show("status")["State"], "synchronised")

    def test_unsynchronised_server(self):
        """a server whose own clock nobody keeps says so, and is not followed"""
        self.start_bus()
        server = self.server(stratum=0)
        if json.loads(self.query(server.address).stdout)["Synchronised"]:
            self.skipTest("this machine's clock is disciplined by another program")
        self.client(server.address)
        mr.wait_for("the reason", lambda: self.show("servers")[0]["Reason"] == "unsynchronised")
        self.assertEqual(self.show("status")["State"], "starting")


@NEED_GRPC
class Malicious(timed.Time):
    """Servers that lie: refused, with the reason on the bus and in the log."""

    def setUp(self):
        super().setUp()
        self.start_bus()

    def reject(self, answer, reason, log):
        """A client that has this server alone follows nobody, and says why."""
        client = self.client(self.fake_server(answer))
        mr.wait_for(f"the reason {reason}: {self.log_of(client)}",
                    lambda: any(s["Reason"] == reason for s in self.servers()))
        self.wait_log(client, log)
        s = self.show("status")
        self.assertEqual((s["State"], s["SelectedServer"], s["Steps"]), ("starting", "", 0))
        return client

    def servers(self):
        p = self.ctl("--json=short", "time", "servers")
        return json.loads(p.stdout) if p.returncode == 0 else []

    def test_1900(self):
        """a time of 1900"""
        self.reject(lambda r, now: honest(r, now, t2=-2208988800 * SECOND, t3=-2208988800 * SECOND), "range",
                    "The server's time cannot be the present")

    def test_2300(self):
        """a time beyond what 64 bits of nanoseconds hold, and just before"""
        latest = 2**63 - 1
        self.reject(lambda r, now: honest(r, now, t2=latest - 1, t3=latest), "range",
                    "The server's time cannot be the present")

    def test_reply_before_request(self):
        """T3 before T2"""
        self.reject(lambda r, now: honest(r, now, t2=now, t3=now - 1000), "bad-times", "contradict each other")

    def test_negative_rtt(self):
        """a stay at the server longer than the whole exchange: RTT < 0"""
        self.reject(lambda r, now: honest(r, now, t2=now, t3=now + 10 * SECOND), "bad-times", "contradict each other")

    def test_other_question(self):
        """an answer to another question"""
        client = self.client(self.fake_server(lambda r, now: honest(r, now, t1=r["t1"] + 1)))
        self.wait_log(client, "the answer does not belong to the question")
        mr.wait_for("the bus", lambda: "does not belong" in self.servers()[0]["Explanation"])

    def test_no_message(self):
        """bytes that are no reply"""
        client = self.client(self.fake_server(lambda r, now: b"\xff\xff\xff\xff"))
        mr.wait_for(f"the bus {self.log_of(client)}", lambda: self.servers() and self.servers()[0]["Reason"] == "timeout")
        self.assertEqual(self.show("status")["State"], "starting")

    def test_strata_and_distance(self):
        """stratum 0, a stratum of 16, a root distance of minutes, a negative one"""
        for changes, reason in (({"stratum": 0}, "stratum"), ({"stratum": 16}, "stratum"),
                                ({"root_dispersion": 200 * SECOND}, "root-distance"),
                                ({"root_delay": -5}, "root-distance")):
            with self.subTest(reason=reason, **changes):
                self.reject(lambda r, now, c=changes: honest(r, now, **c), reason, f"({reason})").kill()

    def test_changing_offsets(self):
        """offsets that change with every answer: the clock is set once at most, and then not moved"""
        state = {"n": 0}

        def answer(r, now):
            state["n"] += 1
            lie = state["n"] * SECOND if state["n"] > 6 else 0
            return honest(r, now, t2=now + lie, t3=now + lie)
        client = self.client(self.fake_server(answer))
        self.wait_state("synchronised")
        steps = self.show("status")["Steps"]  # a busy machine's first answers may be off by more than StepAtStart=
        self.assertLessEqual(steps, 1)
        self.wait_log(client, "(jump)")
        self.assertIn("contradicts the server's earlier answers", self.log_of(client))
        mr.wait_for("jumps", lambda: sum(s["Outcome"] == "jump" for s in self.show("samples")) >= 4)
        s = self.show("status")
        self.assertEqual(s["Steps"], steps)
        self.assertGreater(s["BoundNSec"] or 2**63, SECOND // 2)  # it can be trusted no more, and that is said

    def test_follow_up(self):
        """who promises to tell when its answer left, and then lies or does not: its answers stand as they were"""
        def nothing(r, now, before):
            return {}

        def long_ago(r, now, before):
            return {"previous_t1": before, "previous_t3": -2208988800 * SECOND}

        def of_another(r, now, before):
            return {"previous_t1": before + 1, "previous_t3": now}

        def hanging(r, now, before):
            time.sleep(3)
            return {}

        for lie in (nothing, long_ago, of_another, hanging):
            with self.subTest(lie.__name__):
                state = {"n": 0, "t1": 0}

                def answer(r, now, lie=lie, state=state):
                    state["n"] += 1
                    more = lie(r, now, state["t1"]) if state["n"] % 2 == 0 else {}
                    state["t1"] = r["t1"]
                    return honest(r, now, t3_follows=1, **more)
                client = self.client(self.fake_server(answer), name=lie.__name__)
                self.wait_state("synchronised")
                s = self.show("samples")[0]
                self.assertNotIn("T3", s["KernelStamps"])
                self.assertLessEqual(abs(s["OffsetNSec"]), s["BoundNSec"])  # the true one is 0
                client.stop()

    def test_liar_among_honest(self):
        """one liar of three is named a falseticker and does not move the clock"""
        liar = self.fake_server(lambda r, now: honest(r, now, t2=now + SECOND // 2, t3=now + SECOND // 2))
        client = self.client(self.server("a").address, self.server("b").address, liar)
        self.wait_state("synchronised")
        mr.wait_for("the falseticker", lambda: [s["Reason"] for s in self.servers()] ==
                    ["accepted", "accepted", "falseticker"])
        self.wait_log(client, f"{liar} is not used (falseticker)")
        self.assertEqual(self.show("status")["Steps"], 0)

    def test_half_open(self):
        """a server that takes the connection and never speaks, and one that speaks and never answers"""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            client = self.client(f"127.0.0.1:{silent.getsockname()[1]}")
            self.wait_log(client, "no connection within 5s")
            mr.wait_for("the bus", lambda: "no connection" in self.servers()[0]["Explanation"])
            client.stop()

        def hang(r, now):
            time.sleep(6)
            return honest(r, now)
        client = self.client(self.fake_server(hang), name="hung")
        self.wait_log(client, "no answer within 2s")
        mr.wait_for("the bus", lambda: "no answer" in self.servers()[0]["Explanation"])


class Tls(timed.Time):
    """Mutual TLS: whoever cannot prove who he is, is not believed."""

    def setUp(self):
        super().setUp()
        self.start_bus()
        (self.dir / "pki").mkdir()
        subprocess.run([MAKER, str(self.dir / "pki")], check=True)

    def tls(self, name):
        return "[TLS]\n" + "".join(f"{key}={self.dir}/pki/{name}/{file}.pem\n"
                                   for key, file in (("CA", "ca"), ("Certificate", "certificate"), ("Key", "key")))

    def start(self, server, client):
        s = self.server(server, extra=self.tls(server))
        return s, self.client(s.address, name=f"{client}-of-{server}", conf=self.tls(client))

    def test_right_certificates(self):
        """with certificates of one CA it is as without"""
        self.start("server", "client")
        self.wait_state("synchronised")

    def test_wrong_certificate(self):
        """a server of another CA, an expired one: refused, and the reason told"""
        others = sorted(p.name for p in (self.dir / "pki").iterdir() if p.name not in ("server", "client"))
        self.assertTrue(others)
        for name in others:
            with self.subTest(name):
                server, client = self.start(name, "client")
                mr.wait_for(f"the reason: {self.log_of(client)}",
                            lambda: "ertificate" in self.show("servers")[0]["Explanation"] or
                            "TLS" in self.show("servers")[0]["Explanation"])
                self.assertEqual(self.show("status")["State"], "starting")
                self.assertRegex(self.log_of(client), f"{re.escape(server.address)}: .*(ertificate|TLS)")
                client.stop()
                server.stop()

    def test_no_tls(self):
        """a client without TLS gets nothing from a server with it"""
        server = self.server(extra=self.tls("server"))
        client = self.client(server.address)
        mr.wait_for("the failure", lambda: self.show("servers")[0]["Reason"] == "timeout")
        self.assertEqual(self.show("status")["State"], "starting")
        client.stop()


if __name__ == "__main__":
    tap.main(at_once=4)
