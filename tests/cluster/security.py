#!/usr/bin/env python3
"""Who may talk to whom: master and workers over mutual TLS, tokens, roles, revocation, renewal, an own PKI.

The strangers here are grpcio and openssl: programs that know nothing of us.
"""

import base64
import hashlib
import json
import os
import pathlib
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

try:
    import grpc
except ImportError:
    grpc = None

MASTER_NAME = "master.mapreduced.internal"
SUFFIX = ".worker.mapreduced.internal"
PREFIX = "mrjoin1_"


def token_parts(token):
    raw = token[len(PREFIX):]
    data = base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))
    return {"fingerprint": data[:32], "id": data[32:40], "secret": data[40:56], "address": data[56:-4].decode()}


def token_make(p):
    data = p["fingerprint"] + p["id"] + p["secret"] + p["address"].encode()
    return PREFIX + base64.urlsafe_b64encode(data + hashlib.sha256(data).digest()[:4]).decode().rstrip("=")


def field(number, value):
    """One length-delimited field of a protobuf message; the values here are short."""
    data = value if isinstance(value, bytes) else value.encode()
    return bytes([number << 3 | 2, len(data)]) + data


class Secure(mr.ClusterCase):
    workers_wanted = 2
    settings = ""  # of the master

    def start_master(self, *extra):
        conf = self.file("masterd.conf", f"[Master]\nLeaseSec=3\nHeartbeatSec=200ms\n{self.settings}")
        self.master = self.start("master", [mr.MASTERD, f"--config={conf}", f"--bus={self.bus}", f"--listen=127.0.0.1:{self.port}",
                                            f"--join-listen=127.0.0.1:{self.join_port}", f"--state={self.dir}/master", *extra])
        mr.wait_for("the master on the bus", lambda: self.get("Version", fail=False) or not self.master.alive())
        self.assertTrue(self.master.alive(), self.master.text())
        return self.master

    def setUp(self):
        self.join_port = mr.free_port()
        super().setUp()

    def spool(self, index):
        return self.dir / f"spool-w{index}"

    def token(self, *args):
        p = self.ctl("-q", "cluster", "token", *args)
        self.assertOk(p)
        return p.stdout.decode().strip()

    def join(self, index, token, **kwargs):
        return self.mrctl("cluster", "join", token, f"--spool={self.spool(index)}", f"--name=w{index}", **kwargs)

    def run_worker(self, index, *extra):
        name = f"w{index}"
        return self.start(name, [mr.WORKERD, "--config=/dev/null", f"--bus={self.bus}", f"--master=127.0.0.1:{self.port}",
                                 f"--listen=127.0.0.{index + 2}:0", f"--spool={self.spool(index)}", "--slots=2",
                                 f"--name={name}", f"--instance={name}", *extra])

    def start_worker(self, index, *extra):
        self.assertOk(self.join(index, self.token()))
        return self.run_worker(index, *extra)

    def worker(self, index, prop):
        return self.get(prop, "/org/mapreduced/Worker1", "org.mapreduced.Worker1.Manager",
                        service=f"org.mapreduced.Worker1.w{index}", fail=False) or ""

    def assertNothingLost(self, job):
        """Each task was attempted once."""
        self.assertEqual([self.job_get(job, p) for p in ("AttemptsFailed", "AttemptsLost", "MapOutputsLost")], [0, 0, 0])
        tasks = json.loads(self.ctl("--json=short", "tasks", job).stdout)
        self.assertEqual({t["AttemptsStarted"] for t in tasks}, {1}, tasks)

    def certificates(self, role="worker"):
        rows = json.loads(self.ctl("--json=short", "cluster", "list").stdout)
        return [r for r in rows if r["Role"] == role]

    def assertCounts(self):
        path = self.file("in/x", "a b a\n" * 2000)
        p = self.ctl("run", "-q", "--app", "wordcount", "--input", path, "--reduces", "2", "--split-size", "4K")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"a\t4000\nb\t2000\n")

    # ---- strangers

    def credentials(self, directory=None, ca=None):
        """Of grpcio, from a key directory; without one: no certificate."""
        ca = pathlib.Path(ca or self.dir / "master/tls/ca.pem").read_bytes()
        if directory is None:
            return grpc.ssl_channel_credentials(ca)
        both = (pathlib.Path(directory) / "identity.pem").read_bytes()
        return grpc.ssl_channel_credentials(ca, both, both)

    def rpc(self, address, name, method, request, credentials, stream=False):
        """Return: the status code and its words."""
        options = [("grpc.ssl_target_name_override", name), ("grpc.enable_retries", 0)]
        with grpc.secure_channel(address, credentials, options) as channel:
            call = (channel.unary_stream if stream else channel.unary_unary)(f"/mapreduced.v1.{method}")
            try:
                reply = call(request, timeout=10)
                if stream:
                    list(reply)
                return grpc.StatusCode.OK, ""
            except grpc.RpcError as e:
                return e.code(), e.details()

    def to_master(self, method, request, credentials, **kwargs):
        return self.rpc(f"127.0.0.1:{self.port}", MASTER_NAME, method, request, credentials, **kwargs)


class Cluster(Secure):
    def test_job(self):
        """a job over mutual TLS has the right answer, and keys are private"""
        self.assertCounts()
        self.assertEqual(len(self.certificates()), 2)
        for path, mode in (("master/tls", 0o700), ("master/tls/ca.key", 0o600), ("master/tls/identity.pem", 0o600),
                           ("spool-w0/tls", 0o700), ("spool-w0/tls/identity.pem", 0o600)):
            self.assertEqual((self.dir / path).stat().st_mode & 0o7777, mode, path)
        self.assertNotIn("PRIVATE", (self.dir / "spool-w0/tls/ca.pem").read_text())

    def test_master_restarted(self):
        """a restarted master has the same CA, and workers come back"""
        before = self.get("CAFingerprint", interface="org.mapreduced.Master1.Cluster")
        self.master.kill()
        self.start_master()
        self.assertEqual(self.get("CAFingerprint", interface="org.mapreduced.Master1.Cluster"), before)
        self.wait_for_workers(2)
        self.assertCounts()

    @unittest.skipUnless(grpc, "python3-grpcio is not installed")
    def test_roles(self):
        """a certificate's name decides: each call that is not its holder's is refused"""
        worker, master = self.credentials(self.spool(0) / "tls"), self.credentials(self.dir / "master/tls")
        own, other = ((self.spool(i) / "worker-id").read_text().strip() for i in (0, 1))
        denied = grpc.StatusCode.PERMISSION_DENIED
        register = field(1, other) + field(2, "0" * 32) + field(3, "x") + field(4, "127.0.0.1:9") + b"\x28\x01"
        code, words = self.to_master("Master/RegisterWorker", register, worker)
        self.assertEqual(code, denied)
        self.assertIn(own, words)
        self.assertEqual(self.to_master("Master/Heartbeat", field(1, other), worker)[0], denied)
        self.assertEqual(self.to_master("Master/ReportLostOutput", field(5, other), worker)[0], denied)
        for method, stream in (("RegisterWorker", False), ("Heartbeat", False), ("ReportLostOutput", False), ("RenewCertificate", False),
                               ("WatchMapOutputs", True), ("ReadJobFile", True)):
            code, words = self.to_master(f"Master/{method}", b"", master, stream=stream)
            self.assertEqual(code, denied, method)
            self.assertIn(MASTER_NAME, words)
        address = self.worker(1, "Address")
        code, words = self.rpc(address, other + SUFFIX, "Worker/RunTask", b"", worker, stream=True)
        self.assertEqual(code, denied)
        self.assertIn("only the master", words)
        # A member reads; what it names is not there.
        read = field(1, "1") + b"\x20\x00\x28\x01"
        self.assertEqual(self.rpc(address, other + SUFFIX, "Worker/ReadMapOutput", read, worker, stream=True)[0],
                         grpc.StatusCode.NOT_FOUND)
        # Who says another's address does not get another's tasks: the master demands the name.
        unix = field(1, own) + field(2, "0" * 32) + field(3, "x") + field(4, "unix:/run/x") + b"\x28\x01"
        self.assertEqual(self.to_master("Master/RegisterWorker", unix, worker)[0], grpc.StatusCode.INVALID_ARGUMENT)
        self.assertCounts()

    @unittest.skipUnless(grpc, "python3-grpcio is not installed")
    def test_strangers(self):
        """no certificate, a foreign CA, plain text: nobody gets in, and the log says why"""
        unavailable = grpc.StatusCode.UNAVAILABLE
        self.assertEqual(self.to_master("Master/Heartbeat", b"", self.credentials())[0], unavailable)
        foreign = self.foreign_identity()
        self.assertEqual(self.to_master("Master/Heartbeat", b"", self.credentials(foreign))[0], unavailable)
        self.assertEqual(self.rpc(self.worker(0, "Address"), (self.spool(0) / "worker-id").read_text().strip() + SUFFIX,
                                  "Worker/ReadMapOutput", b"", self.credentials(foreign), stream=True)[0], unavailable)
        with socket.create_connection(("127.0.0.1", self.port), 5) as s:
            s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 64)
            s.settimeout(10)
            try:
                while s.recv(4096):
                    pass
            except OSError:
                pass
        for words in ("sent no certificate", "not from a CA that we trust", "does not speak TLS"):
            mr.wait_for(words, lambda w=words: w in self.master.text(), 10)
        # Where strangers may come, nothing but Join is served.
        self.token()
        self.assertEqual(self.rpc(f"127.0.0.1:{self.join_port}", MASTER_NAME, "Master/Heartbeat", b"", self.credentials())[0],
                         grpc.StatusCode.UNIMPLEMENTED)
        self.assertCounts()

    def foreign_identity(self):
        """A worker's certificate with all the right names, from another CA."""
        d = self.dir / "foreign"
        make_pki(d, {"identity": (self.spool(0) / "worker-id").read_text().strip() + SUFFIX})
        (d / "identity.pem").write_bytes((d / "identity.crt").read_bytes() + (d / "identity.key").read_bytes())
        return d

    def test_revoke(self):
        """a revoked worker is out at once, everywhere, and says so; with a new token it comes back"""
        self.assertCounts()
        go = self.dir / "go"
        self.assertOk(self.ctl("drain", "w1"))
        job = self.submit("--backups=no", "--mapper", f"while [ ! -e {go} ]; do sleep 0.05; done; cat", "--input", self.file("held", "x\n"))
        mr.wait_for("an attempt", lambda: self.job_get(job, "MapsRunning") == 1)
        self.assertOk(self.ctl("resume", "w1"))
        self.assertOk(self.ctl("cluster", "revoke", "w0"))
        mr.wait_for("another one", lambda: self.job_get(job, "AttemptsLost") == 2 and self.job_get(job, "MapsRunning") == 1)
        why = json.loads(self.ctl("why", "--json=short", job).stdout)
        self.assertEqual((why["CauseWord"], why["Attempt"]["Worker"]), ("worker-revoked", "w0"))
        self.assertIn("mrctl cluster token", why["Remedy"])
        go.touch()
        self.assertOk(self.ctl("wait", "-q", job))
        self.wait_for_state(0, "it is revoked")
        self.assertEqual(self.get("WorkersAlive"), 1)
        self.assertEqual([c["State"] for c in self.certificates() if c["Name"] == "w0"], ["revoked"])
        mr.wait_for("the other worker to hear of it", lambda: (self.spool(1) / "tls/crl.pem").exists(), 10)
        if grpc:
            other = (self.spool(1) / "worker-id").read_text().strip()
            code, _ = self.rpc(self.worker(1, "Address"), other + SUFFIX, "Worker/ReadMapOutput", field(1, "1"),
                               self.credentials(self.spool(0) / "tls"), stream=True)
            self.assertEqual(code, grpc.StatusCode.UNAVAILABLE)
        p = subprocess.run(["openssl", "verify", "-crl_check", "-CAfile", self.spool(1) / "tls/ca.pem", "-CRLfile",
                            self.spool(1) / "tls/crl.pem", self.spool(0) / "tls/identity.pem"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertIn(b"certificate revoked", p.stdout)
        self.assertCounts()
        # It stays out over a restart of the master.
        self.master.kill()
        self.start_master()
        mr.wait_for("the other worker", lambda: self.get("WorkersAlive") == 1)
        self.wait_for_state(0, "it is revoked")
        self.assertFails(self.ctl("cluster", "revoke", "w0"), "w0")
        self.workers[0].kill(signal.SIGTERM)
        self.assertOk(self.join(0, self.token()))
        self.run_worker(0)
        mr.wait_for("both workers", lambda: self.get("WorkersAlive") == 2)

    def wait_for_state(self, index, words):
        mr.wait_for(f"w{index} to say: {words}", lambda: words in self.worker(index, "StateReason"), 20)


class Tokens(Secure):
    workers_wanted = 0

    def is_open(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.join_port)) == 0

    def test_single_use(self):
        """a token lets one host in, once; nothing listens for hosts before there is one"""
        self.assertFalse(self.is_open())
        token = self.token()
        self.assertTrue(self.is_open())
        self.assertOk(self.join(0, token))
        self.assertFails(self.join(1, token), "not valid")
        self.assertFalse((self.spool(1) / "tls/identity.pem").exists())
        before, again = (self.spool(0) / "tls/identity.pem").read_bytes(), self.token()
        self.assertFails(self.join(0, again), "has a valid certificate already")
        self.assertEqual((self.spool(0) / "tls/identity.pem").read_bytes(), before)
        self.assertOk(self.join(1, again))  # which was not used up
        text = (self.dir / "master").glob("state.db*")
        secret = token_parts(token)["secret"]
        for path in text:
            self.assertNotIn(secret, path.read_bytes(), f"{path} holds the secret")

    def test_lifetime(self):
        """a token that has expired, or was forgotten, is worth nothing; and a lifetime has bounds"""
        short = self.token("--ttl=1")
        mr.time.sleep(2.1)
        self.assertFails(self.join(0, short), "not valid")
        forgotten = self.token()
        self.assertOk(self.ctl("cluster", "forget-tokens"))
        self.assertFails(self.join(0, forgotten), "not valid")
        self.assertFails(self.ctl("cluster", "token", "--ttl=8d"), "7 days")

    def test_wrong_secrets(self):
        """five wrong secrets are the end of a token"""
        token = self.token()
        guess = token_parts(token)
        guess["secret"] = bytes(16)
        for _ in range(5):
            self.assertFails(self.join(0, token_make(guess)), "not valid")
        self.assertFails(self.join(0, token), "not valid")

    def test_other_ca(self):
        """a master whose CA is not the token's gets no secret"""
        wrong = token_parts(self.token())
        wrong["fingerprint"] = bytes(32)
        self.assertFails(self.join(0, token_make(wrong)), "not the one that the token names")
        self.assertNotIn("wants to join", self.master.text())

    def test_damaged(self):
        """what is no token, or half of one, is told from one that is refused"""
        token = self.token()
        self.assertFails(self.join(0, token[:-3]), "damaged")
        self.assertFails(self.join(0, "hello"), "begin with mrjoin1_")
        gone = token_parts(token)
        gone["address"] = f"127.0.0.1:{mr.free_port()}"
        self.assertFails(self.join(0, token_make(gone)), "cannot reach the master", gone["address"])

    def test_token_by_pipe(self):
        """a token may come by standard input"""
        p = subprocess.run([mr.MRCTL, "cluster", "join", "-", f"--spool={self.spool(0)}"], input=self.token().encode(),
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env, timeout=60, check=False)
        self.assertOk(p)

    def test_without_certificate(self):
        """a worker that is in no cluster idles, and says what to type"""
        worker = self.run_worker(0)
        mr.wait_for("the reason", lambda: "mrctl cluster join TOKEN" in self.worker(0, "StateReason"))
        self.assertTrue(worker.alive())
        self.assertEqual(self.worker(0, "Address"), "")

    def test_copied_key(self):
        """a key beside another worker's spool is refused"""
        self.assertOk(self.join(0, self.token()))
        (self.spool(0) / "worker-id").write_text("f" * 32 + "\n")
        p = subprocess.run([mr.WORKERD, "--config=/dev/null", "--bus=none", f"--spool={self.spool(0)}"],
                           stderr=subprocess.PIPE, timeout=30, check=False, env=self.env)
        self.assertNotEqual(p.returncode, 0)
        self.assertIn(b"was a spool or a key copied", p.stderr)


class Relay(threading.Thread):
    """Hands bytes on to the master's join address, until told to keep its answers to itself."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.withhold_after = None  # so many bytes of the second connection's answers
        self.connections = 0
        self.cut = threading.Event()
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.carry, args=(client, self.connections), daemon=True).start()

    def carry(self, client, number):
        try:
            with client, socket.create_connection(("127.0.0.1", self.port), 10) as server:
                sent = 0
                while True:
                    readable, _, _ = select.select([client, server], [], [], 0.05)
                    if number == 2 and self.cut.is_set():
                        return
                    for s in readable:
                        data = s.recv(65536)
                        if not data:
                            return
                        if s is client:
                            server.sendall(data)
                            continue
                        if number == 2 and self.withhold_after is not None and self.withhold_after():
                            continue  # swallowed: the effect is there, its reply is not
                        client.sendall(data)
                        sent += len(data)
        except OSError:
            pass


class Once(Secure):
    """The connection is cut between the effect of a Join and its reply."""

    workers_wanted = 0

    def issued(self):
        with sqlite3.connect(f"file:{self.dir}/master/state.db?mode=ro", uri=True, timeout=10) as db:
            return db.execute("SELECT count(*) FROM certificates WHERE role = 2").fetchone()[0]

    def run_join(self, restart):
        relay = Relay(self.join_port)
        self.addCleanup(relay.listener.close)
        relay.withhold_after = lambda: self.issued() > 0
        token = token_parts(self.token())
        token["address"] = relay.address
        result = []
        thread = threading.Thread(target=lambda: result.append(self.join(0, token_make(token))))
        thread.start()
        mr.wait_for("the certificate in the database", lambda: self.issued() == 1)
        if restart:
            self.master.kill()
            self.start_master()
        relay.cut.set()
        thread.join(60 * mr.SLOW)
        self.assertOk(result[0])
        self.assertGreaterEqual(relay.connections, 3, "it was not tried again")
        rows = self.certificates()
        self.assertEqual(len(rows), 1, "the effect happened twice")
        serial = subprocess.run(["openssl", "x509", "-noout", "-serial", "-in", self.spool(0) / "tls/identity.pem"],
                                stdout=subprocess.PIPE, check=True).stdout.decode().strip().split("=")[1]
        self.assertEqual(serial.lower(), rows[0]["Serial"])
        self.workers = [self.run_worker(0)]
        self.wait_for_workers(1)

    def test_cut_connection(self):
        """the connection is cut: the retry gets the reply of the one execution"""
        self.run_join(False)

    def test_killed_master(self):
        """the master is killed, too: the reply was stored with the effect"""
        self.run_join(True)


class Lifetimes(Secure):
    workers_wanted = 1
    settings = "CertificateLifetimeSec=9\n"

    def test_renewal(self):
        """worker and master renew their certificates over living connections; attempts move to new ones, and none is lost"""
        first, own = self.certificates()[0], self.certificates("master")[0]
        hold = self.dir / "hold"
        self.file("in/held", "b\na\n")
        held = f"while [ ! -e {hold} ]; do sleep 0.05; done; cat"
        jobs = [self.submit("--backups=no", "--input", self.dir / "in/held", *options) for options in
                (("--mapper", held, "--reducer", "cat"), ("--mapper", "cat", "--reducer", held))]
        mr.wait_for("an attempt of each", lambda: self.job_get(jobs[0], "MapsRunning") == self.job_get(jobs[1], "ReducesRunning") == 1)
        mr.wait_for("both to be renewed twice", lambda: len(self.certificates()) >= 3 and len(self.certificates("master")) >= 3, 40)
        mr.wait_for("the first to end", lambda: mr.time.time() * 1e6 > max(first["NotAfterUSec"], own["NotAfterUSec"]) + 1e6, 30)
        self.assertEqual(self.get("WorkersAlive"), 1)
        hold.touch()
        for job in jobs:
            self.assertOk(self.ctl("wait", "-q", job))
            self.assertEqual(self.ctl("cat", job).stdout, b"a\t\nb\t\n")
            self.assertNothingLost(job)
        self.assertNotIn("goes on without the master", self.workers[0].text())
        self.assertCounts()
        p = subprocess.run(["openssl", "verify", "-CAfile", self.spool(0) / "tls/ca.pem", self.spool(0) / "tls/identity.pem"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(p.returncode, 0, p.stdout)

    def test_expired(self):
        """a worker that was off until its certificate had ended says so, and may join again"""
        self.workers[0].kill(signal.SIGTERM)
        mr.wait_for("the end", lambda: self.certificates()[-1]["State"] == "expired", 40)
        self.run_worker(0)
        mr.wait_for("the reason", lambda: "it has expired" in self.worker(0, "StateReason"), 20)
        self.daemons[-1].kill(signal.SIGTERM)
        self.assertOk(self.join(0, self.token()))
        self.workers = [self.run_worker(0)]
        self.wait_for_workers(1)


class Rotation(Secure):
    """Another CA takes the place of the cluster's, and nobody joins anew but who was left out on purpose."""

    CLUSTER = "org.mapreduced.Master1.Cluster"

    def ca(self, prop):
        return self.get(prop, interface=self.CLUSTER)

    def wait_for_phase(self, phase, seconds=30):
        mr.wait_for(f"the phase {phase}", lambda: self.ca("CARotation") == phase, seconds)

    def rotate(self):
        p = self.ctl("-q", "cluster", "rotate-ca")
        self.assertOk(p)
        return p.stdout.decode().strip()

    def issuer(self, directory, file="ca.pem"):
        """Whether the CA alone in a file verifies an identity, by openssl."""
        p = subprocess.run(["openssl", "verify", "-CAfile", file, directory / "tls/identity.pem"], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, check=False)
        return p.returncode == 0

    def copy(self, directory, name):
        """The identity as it is now, for later."""
        to = self.dir / name
        to.mkdir()
        (to / "identity.pem").write_bytes((directory / "tls/identity.pem").read_bytes())
        (to / "ca.pem").write_bytes((directory / "tls/ca.pem").read_bytes())
        return to

    def stop_worker(self, index):
        self.workers[index].kill(signal.SIGTERM)
        mr.wait_for("it to be gone", lambda: self.get("WorkersAlive") == 1)

    def test_in_a_job(self):
        """the CA is changed in the middle of a job: workers renew, the job goes on, old certificates are refused after it"""
        old_worker, old_master = self.copy(self.spool(0), "old-worker"), self.copy(self.dir / "master", "old-master")
        first, hold = self.ca("CAFingerprint"), self.dir / "hold"
        for i in range(6):
            self.file(f"in/f{i}", "key\tvalue\n" * 100)
        job = self.submit("--backups=no", "--input", self.dir / "in", "--reduces", "2", "--reducer", "cat", "--mapper",
                          f"case $mapreduce_map_input_file in *[3-5]) while [ ! -e {hold} ]; do sleep 0.02; done;; esac; cat")
        mr.wait_for("three maps", lambda: self.job_get(job, "MapsDone") == 3 and self.job_get(job, "MapsRunning") == 3)
        fingerprint = self.rotate()
        self.assertNotEqual(fingerprint, first)
        self.wait_for_phase("none")
        self.assertEqual(self.ca("CAFingerprint"), fingerprint)
        mr.wait_for("workers to drop the old one", lambda: all((self.spool(i) / "tls/ca.pem").read_text().count("BEGIN") == 1 for i in (0, 1)))
        for directory in (self.dir / "master", self.spool(0), self.spool(1)):
            self.assertTrue(self.issuer(directory, self.dir / "master/tls/ca.pem"), directory)
            self.assertFalse(self.issuer(directory, old_master / "ca.pem"), directory)
        self.assertEqual((self.dir / "master/tls/ca.key").read_text().count("BEGIN"), 1)
        mr.wait_for("both workers", lambda: self.get("WorkersAlive") == 2)
        hold.touch()
        self.assertOk(self.ctl("wait", "-q", job))
        self.assertEqual(self.ctl("cat", job).stdout, b"key\tvalue\n" * 600)
        self.assertNothingLost(job)
        for w in self.workers:
            self.assertTrue(w.alive())
            self.assertNotIn("Joined", w.text())
        if grpc:
            now = self.dir / "master/tls/ca.pem"
            code, _ = self.to_master("Master/Heartbeat", b"", self.credentials(old_worker, ca=now))
            self.assertEqual(code, grpc.StatusCode.UNAVAILABLE)
            mr.wait_for("why", lambda: "not from a CA that we trust" in self.master.text(), 10)
            other = (self.spool(1) / "worker-id").read_text().strip()
            code, _ = self.rpc(self.worker(1, "Address"), other + SUFFIX, "Worker/RunTask", b"",
                               self.credentials(old_master, ca=now), stream=True)
            self.assertEqual(code, grpc.StatusCode.UNAVAILABLE)
        self.restart_all()
        self.assertEqual(self.ca("CAFingerprint"), fingerprint)
        self.assertCounts()

    def restart_all(self):
        self.master.kill()
        for i, w in enumerate(self.workers):
            w.kill(signal.SIGTERM)
        self.start_master()
        self.workers = [self.run_worker(i) for i in (0, 1)]
        self.wait_for_workers(2)

    def test_worker_is_off(self):
        """a worker that is off is waited for, over restarts; a host that joins meanwhile, and one that is put out, change nothing of it"""
        self.stop_worker(1)
        first = self.ca("CAFingerprint")
        self.rotate()
        self.wait_for_phase("renewing")
        self.assertFails(self.ctl("cluster", "rotate-ca"), "already")
        mr.wait_for("the other one", lambda: self.ca("CAPending") == ["w1"])
        self.assertIn(b"  w1\n", self.ctl("cluster", "ca").stdout)
        self.assertEqual(self.ca("CAFingerprint"), first)  # which tokens name, and the master's certificate is of
        self.master.kill()
        self.start_master()
        self.assertEqual(self.ca("CARotation"), "renewing")
        self.assertOk(self.join(2, self.token()))
        self.workers.append(self.run_worker(2))
        mr.wait_for("three workers but one", lambda: self.get("WorkersAlive") == 2)
        self.assertCounts()
        self.assertOk(self.ctl("cluster", "revoke", "w2"))
        mr.wait_for("it to be out", lambda: "it is revoked" in self.worker(2, "StateReason"), 20)
        self.workers.pop().kill(signal.SIGTERM)
        mr.wait_for("the other one alone", lambda: self.ca("CAPending") == ["w1"])
        self.workers[1] = self.run_worker(1)
        self.wait_for_phase("none")
        self.assertNotEqual(self.ca("CAFingerprint"), first)
        mr.wait_for("both workers", lambda: self.get("WorkersAlive") == 2)
        self.assertCounts()
        if grpc:  # who was revoked by the old CA's list is so by the new one's
            code, _ = self.to_master("Master/Heartbeat", b"", self.credentials(self.spool(2) / "tls", ca=self.dir / "master/tls/ca.pem"))
            self.assertEqual(code, grpc.StatusCode.UNAVAILABLE)

    def test_drop(self):
        """the old CA is dropped at once: who has no certificate of the new one is named, is out, says so, and joins again"""
        self.assertFails(self.ctl("cluster", "drop-ca"), "one CA only")
        self.stop_worker(1)
        self.master.kill()
        self.start_master("--lease=60")  # a worker that is stopped lives as long as this takes
        mr.wait_for("the worker", lambda: self.get("WorkersAlive") == 1)
        os.kill(self.workers[0].pid, signal.SIGSTOP)  # alive by its lease, and about to renew
        self.rotate()
        self.assertFails(self.ctl("cluster", "drop-ca"), "w0", "in a moment")
        os.kill(self.workers[0].pid, signal.SIGCONT)
        mr.wait_for("the other one", lambda: self.ca("CARotation") == "renewing" and self.ca("CAPending") == ["w1"])
        token = self.token()
        p = self.ctl("cluster", "drop-ca")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"w1 must join again\n")
        self.assertFails(self.join(3, token))
        self.workers[1] = self.run_worker(1)
        mr.wait_for("the reason", lambda: "not from a CA that we trust" in self.worker(1, "StateReason"), 20)
        self.workers[1].kill(signal.SIGTERM)
        self.assertOk(self.ctl("cluster", "revoke", "w1"))
        self.assertOk(self.join(1, self.token()))
        self.workers[1] = self.run_worker(1)
        mr.wait_for("both workers", lambda: self.get("WorkersAlive") == 2)
        self.assertCounts()


class RotationInTime(Secure):
    """A CA that ends in 200 days: as one of ours would be after nine years and a half."""

    workers_wanted = 1

    def start_master(self, *extra):
        tls = self.dir / "master/tls"
        tls.mkdir(parents=True, mode=0o700)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tls / "ca.key",
                        "-out", tls / "ca.pem", "-days", "200", "-subj", "/O=mapreduced/CN=mapreduced cluster CA 0"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.old = (tls / "ca.pem").read_bytes()
        self.settings = "CertificateLifetimeSec=60\n"  # the master looks at a twentieth of it
        return super().start_master(*extra)

    def test_by_itself(self):
        """the master makes a new CA a year before the end of the old one, without being asked"""
        interface = "org.mapreduced.Master1.Cluster"
        mr.wait_for("the new CA", lambda: self.get("CAExpiresUSec", interface=interface) > (mr.time.time() + 9 * 365 * 86400) * 1e6, 40)
        self.assertEqual(self.get("CARotation", interface=interface), "none")
        self.assertNotIn(self.old, (self.dir / "master/tls/ca.pem").read_bytes())
        mr.wait_for("the worker", lambda: self.get("WorkersAlive") == 1)
        self.assertCounts()


def make_pki(directory, names):
    """A CA and certificates as an administrator's own PKI has them, by openssl."""
    directory.mkdir()
    run = lambda *a: subprocess.run(["openssl", *map(str, a)], cwd=directory, check=True, stdout=subprocess.DEVNULL,  # noqa: E731
                                    stderr=subprocess.DEVNULL)
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=An own CA")
    for file, name in names.items():
        run("req", *ec, "-keyout", f"{file}.key", "-out", f"{file}.csr", "-subj", f"/CN={file}")
        (directory / "ext").write_text(f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth,clientAuth\n")
        run("x509", "-req", "-in", f"{file}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
            "-extfile", "ext", "-out", f"{file}.crt")


class OwnPki(Secure):
    workers_wanted = 1

    def setUp(self):
        self.id = "0123456789abcdef" * 2
        self.pki = None
        super().setUp()

    def start_master(self, *extra):
        if not self.pki:
            self.pki = self.dir / "pki"
            make_pki(self.pki, {"master": MASTER_NAME, "worker": self.id + SUFFIX})
            self.first = {f: (self.pki / f).read_bytes() for f in ("worker.key", "worker.crt")}
            self.settings = (f"CACertificate={self.pki}/ca.pem\nCertificate={self.pki}/master.crt\n"
                             f"PrivateKey={self.pki}/master.key\n")
        return super().start_master(*extra)

    def start_worker(self, index, *extra):
        credentials = self.dir / "credentials"  # as LoadCredential= makes it
        credentials.mkdir()
        for name, file in (("ca.pem", "ca.pem"), ("certificate.pem", "worker.crt"), ("key.pem", "worker.key")):
            (credentials / name).write_bytes((self.pki / file).read_bytes())
        self.env["CREDENTIALS_DIRECTORY"] = str(credentials)
        try:
            return self.run_worker(index, *extra)
        finally:
            del self.env["CREDENTIALS_DIRECTORY"]

    def test_job(self):
        """certificates of an own PKI, by path and by credential, carry a job; the id is the certificate's"""
        self.assertCounts()
        self.assertEqual(self.worker(0, "Id"), self.id)
        for verb in ("token", "rotate-ca", "drop-ca"):
            self.assertFails(self.ctl("cluster", verb), "PKI of its own")
        self.assertFalse((self.dir / "master/tls").exists())

    def test_another_ca(self):
        """the CA of an own PKI is changed in three reloads: both are believed, certificates of the new one, the new one alone"""
        old, new = self.pki, self.dir / "pki2"
        make_pki(new, {"master": MASTER_NAME, "worker": self.id + SUFFIX})
        both, alone = (old / "ca.pem").read_bytes() + (new / "ca.pem").read_bytes(), (new / "ca.pem").read_bytes()
        credentials = self.dir / "credentials"
        for ca, source in ((both, None), (both, new), (alone, None)):
            for to in (old, credentials):
                (to / "ca.pem").write_bytes(ca)
            if source:
                for file in ("master.crt", "master.key"):
                    (old / file).write_bytes((source / file).read_bytes())
                for name, file in (("certificate.pem", "worker.crt"), ("key.pem", "worker.key")):
                    (credentials / name).write_bytes((source / file).read_bytes())
            for daemon in (self.master, *self.workers):
                os.kill(daemon.pid, signal.SIGHUP)
            for _ in range(3):  # each of them has gone round its loop, so it has seen the signal
                self.get("Version")
                self.worker(0, "Address")
        mr.wait_for("the worker", lambda: self.get("WorkersAlive") == 1)
        self.assertCounts()
        if grpc:
            self.assertEqual(self.to_master("Master/Heartbeat", b"", grpc.ssl_channel_credentials(
                alone, self.first["worker.key"], self.first["worker.crt"]))[0], grpc.StatusCode.UNAVAILABLE)


if __name__ == "__main__":
    tap.main()
