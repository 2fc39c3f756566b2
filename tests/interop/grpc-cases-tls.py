"""gRPC's interoperability cases under TLS: each of our programs against grpcio's, and against each other."""

import importlib
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from concurrent import futures

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tap  # noqa: E402

plain = importlib.import_module("grpc-cases")
grpc = plain.grpc
MAKER = str(plain.BUILD / "tests/interop/make-certificates")
CASES = plain.CASES
directory = None


def setUpModule():
    global directory
    directory = tempfile.TemporaryDirectory()
    subprocess.run([MAKER, directory.name], check=True)


def tearDownModule():
    directory.cleanup()


def path(end, file):
    return os.path.join(directory.name, end, file + ".pem")


def pem(end, file):
    return pathlib.Path(path(end, file)).read_bytes()


def options(end, certificate=True):
    own = [f"--tls_cert_file={path(end, 'certificate')}", f"--tls_key_file={path(end, 'key')}"]
    return ["--use_tls=true", f"--ca_file={path(end, 'ca')}", *(own if certificate else [])]


def run_client(target, *arguments):
    return plain.run_client(target, "--soak_per_iteration_max_acceptable_latency_ms=20000", *arguments)


class WithOurServer(unittest.TestCase):
    end = "server"

    @classmethod
    def setUpClass(cls):
        cls.process = subprocess.Popen([plain.SERVER, "--port", "0", *options(cls.end)], stdout=subprocess.PIPE, text=True)
        cls.target = cls.process.stdout.readline().strip()

    @classmethod
    def tearDownClass(cls):
        cls.process.terminate()
        cls.process.communicate(timeout=30)
        if cls.process.returncode != 0:
            raise AssertionError(f"the server ended with {cls.process.returncode}")


class OurClientOurServer(WithOurServer):
    def test_all_cases(self):
        self.assertEqual(run_client(self.target, "--test_case=" + ",".join(CASES), *options("client")),
                         [f"ok {c}" for c in CASES])

    def test_without_a_certificate(self):
        """as the official clients come"""
        run_client(self.target, "--test_case=large_unary", *options("client", certificate=False))

    def test_server_of_another_ca(self):
        with self.assertRaisesRegex(AssertionError, "not from a CA that we trust"):
            run_client(self.target, "--test_case=empty_unary", *options("outside", certificate=False))


class ServerOfAnotherName(WithOurServer):
    end = "elsewhere"

    def test_is_refused(self):
        with self.assertRaisesRegex(AssertionError, "is for elsewhere, not for 127.0.0.1"):
            run_client(self.target, "--test_case=empty_unary", *options("client"))

    def test_may_be_told(self):
        run_client(self.target, "--test_case=empty_unary", "--server_host_override=elsewhere", *options("client"))


@plain.NEED
class PythonClientOurServer(WithOurServer):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Like the official client: it shows no certificate, and is told the server's name.
        cls.client = plain.grpc_cases.Client(cls.target, grpc.ssl_channel_credentials(pem("client", "ca")), "localhost")

    @classmethod
    def tearDownClass(cls):
        cls.client.channel.close()
        super().tearDownClass()


@plain.NEED
class OurClientPythonServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = grpc.server(futures.ThreadPoolExecutor(8), handlers=(plain.grpc_cases.Handler(),))
        credentials = grpc.ssl_server_credentials([(pem("server", "key"), pem("server", "certificate"))])
        cls.target = f"127.0.0.1:{cls.server.add_secure_port('127.0.0.1:0', credentials)}"
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop(None).wait()


def our_client(case):
    return lambda self: run_client(self.target, f"--test_case={case}", "--server_host_override=localhost",
                                   *options("client", certificate=False))


def python_client(case):
    return lambda self: getattr(self.client, case)()


for case in CASES:
    setattr(OurClientPythonServer, "test_" + case, our_client(case))
    setattr(PythonClientOurServer, "test_" + case, python_client(case))


if __name__ == "__main__":
    tap.main()
