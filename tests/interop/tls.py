"""Mutual TLS between Python's grpcio and evgrpc: every case of grpcio.py once more, and who is turned away."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
from concurrent import futures

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import grpcio as plain  # noqa: E402
import tap  # noqa: E402

grpc = plain.grpc
MAKER = str(plain.BUILD / "tests/interop/make-certificates")
directory = None


def setUpModule():
    global directory
    directory = tempfile.TemporaryDirectory()
    subprocess.run([MAKER, directory.name], check=True)


def tearDownModule():
    directory.cleanup()


def end(name):
    """Where the certificates of an end lie."""
    return pathlib.Path(directory.name) / name


def pem(name, file):
    return (end(name) / f"{file}.pem").read_bytes()


def channel_credentials(name):
    if name is None:
        return grpc.ssl_channel_credentials(pem("client", "ca"))
    return grpc.ssl_channel_credentials(pem(name, "ca"), pem(name, "key"), pem(name, "certificate"))


def environment(name):
    return dict(os.environ, ECHO_TLS=str(end(name)))


class OurServer(plain.OurServer):
    own = "server"

    def setUp(self):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([plain.SERVER, self.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log, text=True, env=environment(self.own))
        self.target = self.process.stdout.readline().strip()
        self.channel = self.connect("client")

    def tearDown(self):
        super().tearDown()
        self.log.close()

    def connect(self, name):
        return grpc.secure_channel(self.target, channel_credentials(name))


@plain.NEED
class TurnedAway(unittest.TestCase):
    """By our server: grpcio's client ends UNAVAILABLE, and the server says why."""

    own = "server"
    address = OurServer.address
    setUp, connect = OurServer.setUp, OurServer.connect

    def tearDown(self):
        self.channel.close()
        out, _ = self.process.communicate("", timeout=20)
        self.assertEqual(self.process.returncode, 0, out)
        self.log.close()

    def server_says(self, channel, sentence):
        with self.assertRaises(grpc.RpcError) as caught:
            channel.unary_unary(f"/{plain.SERVICE}/Unary")(b"", timeout=20)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        channel.close()
        until = time.monotonic() + 20
        while True:
            self.log.seek(0)
            said = self.log.read()
            if sentence in said or time.monotonic() > until:
                break
            time.sleep(0.05)
        self.assertIn(sentence, said)
        # Others are served as before.
        self.channel.unary_unary(f"/{plain.SERVICE}/Unary")(b"", timeout=20)

    def test_stranger(self):
        self.server_says(self.connect("stranger"), "not from a CA that we trust")

    def test_expired(self):
        self.server_says(self.connect("expired"), "The client's certificate expired on ")

    def test_without_certificate(self):
        self.server_says(self.connect(None), "The client sent no certificate")

    def test_plain_text(self):
        self.server_says(grpc.insecure_channel(self.target), "The client does not speak TLS")


class OurClient(plain.OurClient):
    own = "server"

    def setUp(self):
        self.handler = plain.Handler()
        self.server = grpc.server(futures.ThreadPoolExecutor(8), handlers=(self.handler,))
        credentials = grpc.ssl_server_credentials([(pem(self.own, "key"), pem(self.own, "certificate"))],
                                                  pem(self.own, "ca"), require_client_auth=True)
        self.target = f"127.0.0.1:{self.server.add_secure_port('127.0.0.1:0', credentials)}"
        self.server.start()
        os.environ["ECHO_TLS"] = str(end("client"))

    def tearDown(self):
        del os.environ["ECHO_TLS"]
        super().tearDown()


@plain.NEED
class ClientSays(unittest.TestCase):
    """Our client against a grpcio server that it, or that, must turn away."""

    def client_says(self, server, client, sentence):
        handler = plain.Handler()
        theirs = grpc.server(futures.ThreadPoolExecutor(2), handlers=(handler,))
        if server is None:
            port = theirs.add_insecure_port("127.0.0.1:0")
        else:
            port = theirs.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(
                [(pem(server, "key"), pem(server, "certificate"))], pem(server, "ca"), require_client_auth=True))
        theirs.start()
        env = environment(client) if client else dict(os.environ)
        done = subprocess.run([plain.CLIENT, f"127.0.0.1:{port}", "unary"], capture_output=True, text=True, timeout=30,
                              env=env)
        theirs.stop(None).wait()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("UNAVAILABLE", done.stderr + done.stdout)
        self.assertIn(sentence, done.stderr + done.stdout)

    def test_stranger_as_server(self):
        self.client_says("stranger", "client", "not from a CA that we trust")

    def test_expired_server(self):
        self.client_says("expired", "client", "The server's certificate expired on ")

    def test_wrong_name(self):
        self.client_says("elsewhere", "client", "The server's certificate is for elsewhere, not for 127.0.0.1")

    def test_stranger_as_client(self):
        # grpcio sends no alert: it closes.
        self.client_says("server", "stranger", "the server may have refused our certificate")

    def test_server_is_plain(self):
        self.client_says(None, "client", "The server does not speak TLS")


if __name__ == "__main__":
    tap.main()
