"""nghttp2's h2load makes unary calls as fast as it can: each is answered, and none with an error."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tap  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", "build")).resolve()
SERVER = str(BUILD / "tests/interop/interop-server")
SECONDS = os.environ.get("H2LOAD_SECONDS", "2")
# SimpleRequest {response_size: 128}, and what comes back: SimpleResponse {payload {body: 128 zeros}}.
REQUEST = b"\0\0\0\0\x03\x10\x80\x01"
RESPONSE_BYTES = 5 + 3 + 3 + 128


@unittest.skipUnless(shutil.which("h2load"), "h2load (nghttp2-client) is not installed")
class Load(unittest.TestCase):
    def setUp(self):
        self.server = subprocess.Popen([SERVER, "--port", "0"], stdout=subprocess.PIPE, text=True)
        self.target = self.server.stdout.readline().strip()

    def tearDown(self):
        self.server.terminate()
        self.server.communicate(timeout=30)
        self.assertEqual(self.server.returncode, 0)

    def load(self, clients, streams):
        with tempfile.NamedTemporaryFile() as request:
            request.write(REQUEST)
            request.flush()
            done = subprocess.run(
                ["h2load", "-D", SECONDS, "-c", clients, "-m", streams, "-d", request.name,
                 "-H", "content-type: application/grpc", "-H", "te: trailers",
                 f"http://{self.target}/grpc.testing.TestService/UnaryCall"],
                capture_output=True, text=True, timeout=60 + int(SECONDS))
        found = re.search(r"requests: .* (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout",
                          done.stdout)
        self.assertTrue(found, done.stdout + done.stderr)
        count, succeeded, *bad = map(int, found.groups())
        print(f"# {count} calls")
        self.assertEqual(bad, [0, 0, 0])
        self.assertGreater(succeeded, 100)
        self.assertEqual(count, succeeded)
        data = int(re.search(r"headers \(.*\), \S+ \((\d+)\) data", done.stdout)[1])
        self.assertGreaterEqual(data, succeeded * RESPONSE_BYTES)  # replies, not statuses alone

    def test_one_connection(self):
        self.load("1", "100")

    def test_many_connections(self):
        self.load("16", "10")


if __name__ == "__main__":
    tap.main()
