"""gRPC's interoperability cases: our client against our server, and each against grpcio's."""

import os
import pathlib
import subprocess
import sys
import unittest
from concurrent import futures

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tap  # noqa: E402

try:
    import grpc
    import grpc_cases
except ImportError:
    grpc = None

BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", "build")).resolve()
SERVER = str(BUILD / "tests/interop/interop-server")
CLIENT = str(BUILD / "tests/interop/interop-client")
NEED = unittest.skipUnless(grpc, "python3-grpcio is not installed")
CASES = ("empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
         "custom_metadata", "status_code_and_message", "special_status_message", "unimplemented_method",
         "unimplemented_service", "cancel_after_begin", "cancel_after_first_response",
         "timeout_on_sleeping_server", "rpc_soak")


class WithOurServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.process = subprocess.Popen([SERVER, "--port", "0"], stdout=subprocess.PIPE, text=True)
        cls.target = cls.process.stdout.readline().strip()

    @classmethod
    def tearDownClass(cls):
        cls.process.terminate()
        cls.process.communicate(timeout=30)
        if cls.process.returncode != 0:
            raise AssertionError(f"the server ended with {cls.process.returncode}")


def run_client(target, *arguments):
    done = subprocess.run([CLIENT, f"--server_port={target.rpartition(':')[2]}", *arguments],
                          capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return done.stdout.split("\n")[:-1]


class OurClientOurServer(WithOurServer):
    def test_channel_soak(self):
        run_client(self.target, "--test_case=channel_soak", "--soak_iterations=10",
                   "--soak_per_iteration_max_acceptable_latency_ms=20000")

    def test_all_on_one_connection(self):
        """The cases one after another leave the connection fit for the next."""
        self.assertEqual(run_client(self.target, "--test_case=" + ",".join(CASES[:-1])),
                         [f"ok {c}" for c in CASES[:-1]])


@NEED
class PythonClientOurServer(WithOurServer):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = grpc_cases.Client(cls.target)

    @classmethod
    def tearDownClass(cls):
        cls.client.channel.close()
        super().tearDownClass()


@NEED
class OurClientPythonServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = grpc.server(futures.ThreadPoolExecutor(8), handlers=(grpc_cases.Handler(),))
        cls.target = f"127.0.0.1:{cls.server.add_insecure_port('127.0.0.1:0')}"
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop(None).wait()


def our_client(case):
    return lambda self: run_client(self.target, f"--test_case={case}",
                                   "--soak_per_iteration_max_acceptable_latency_ms=20000")


def python_client(case):
    return lambda self: getattr(self.client, case)()


for case in CASES:
    setattr(OurClientOurServer, "test_" + case, our_client(case))
    setattr(OurClientPythonServer, "test_" + case, our_client(case))
    setattr(PythonClientOurServer, "test_" + case, python_client(case))


if __name__ == "__main__":
    tap.main()
