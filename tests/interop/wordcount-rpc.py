"""The word count example: its two programs with each other, with Python's grpcio, and when things break."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from concurrent import futures

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

try:
    import grpc
except ImportError:
    grpc = None

BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", "build")).resolve()
SERVER = str(BUILD / "examples/wordcount-rpc/wordcount-server")
CLIENT = str(BUILD / "examples/wordcount-rpc/wordcount-client")
SLOW = 4 if os.environ.get("MR_SANITIZED") == "1" else 1
MODES = ("sync", "callback", "future")
METHOD = "/wordcount.WordCountServer/Compute"

SENTENCE = "hello I am good hello bye bye bye good night hello"
COUNTS = {"hello": 3, "bye": 3, "good": 2, "I": 1, "am": 1, "night": 1}
LINES = "I\t1\nam\t1\nbye\t3\ngood\t2\nhello\t3\nnight\t1\n"

# The White_Space property of Unicode, which is Go's unicode.IsSpace.
SPACES = ("\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
          "\u2028\u2029\u202f\u205f\u3000")


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def read_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def read_fields(data):
    """number -> value of a message whose fields are varints and byte strings, each as (number, value)."""
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        value, at = read_varint(data, at)
        if tag & 7 == 2:
            value, at = data[at:at + value], at + value
        yield tag >> 3, value


def pack_request(text):
    return field(1, text if isinstance(text, bytes) else text.encode())


def unpack_reply(data):
    counts = {}
    for _, entry in read_fields(data):
        pair = dict(read_fields(entry))
        counts[pair[1].decode()] = pair.get(2, 0)
    return counts


def pack_reply(counts):
    return b"".join(field(1, field(1, w.encode()) + b"\x10" + varint(n)) for w, n in counts.items())


def unpack_request(data):
    return dict(read_fields(data)).get(1, b"").decode()


class Server:
    def __init__(self, *args):
        self.process = subprocess.Popen([SERVER, "--listen", "127.0.0.1:0", *args], stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip().removeprefix("listening on ")

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10 * SLOW)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def client(address, *texts, mode="sync", timeout=None):
    more = [] if timeout is None else ["--timeout", str(timeout)]
    return subprocess.run([CLIENT, "--connect", address, "--mode", mode, *more, *texts], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False, timeout=30 * SLOW)


class Example(unittest.TestCase):
    def assertCounts(self, p, lines=LINES):
        self.assertEqual((p.returncode, p.stderr), (0, ""))
        self.assertEqual(p.stdout, lines)

    def assertRefused(self, p, pattern, code=1):
        self.assertEqual((p.returncode, p.stdout), (code, ""), p.stderr)
        self.assertRegex(p.stderr, pattern)
        self.assertEqual(len(p.stderr.strip().split("\n")), 1, "one sentence")


class Modes(Example):
    def test_lecture(self):
        """the lecture's sentence has the same true counts in each of the three modes"""
        with Server() as server:
            for mode in MODES:
                self.assertCounts(client(server.address, SENTENCE, mode=mode))
            self.assertEqual(server.close(), 0)

    def test_many_texts(self):
        """each text is a call of its own and the sum is printed, in each mode"""
        with Server() as server:
            for mode in MODES:
                self.assertCounts(client(server.address, *SENTENCE.split(" "), mode=mode))
                p = client(server.address, *[f"all {i}" for i in range(500)], mode=mode)
                self.assertEqual(p.returncode, 0, p.stderr)
                self.assertIn("all\t500\n", p.stdout)
                self.assertEqual(p.stdout.count("\n"), 501)

    def test_unix_socket(self):
        """a unix socket serves as well as an address"""
        with tempfile.TemporaryDirectory() as d:
            with subprocess.Popen([SERVER, "--listen", f"unix:{d}/s"], stdout=subprocess.PIPE, text=True) as server:
                server.stdout.readline()
                self.assertCounts(client(f"unix:{d}/s", SENTENCE))
                server.terminate()

    def test_spaces(self):
        """words end where strings.Fields of Go ends them"""
        odd = "a\u200bb c\u180ed e\ufefff g\x1ch"
        with Server() as server:
            p = client(server.address, "word".join(SPACES), SPACES, "", odd)
            self.assertCounts(p, "".join(sorted(f"{w}\t1\n" for w in odd.split(" ")) +
                                         [f"word\t{len(SPACES) - 1}\n"]))

    def test_order(self):
        """words are printed in the order of their bytes"""
        with Server() as server:
            self.assertCounts(client(server.address, "é z a ab Z a"), "Z\t1\na\t2\nab\t1\nz\t1\né\t1\n")


class Refusals(Example):
    def test_not_utf8(self):
        """a text that is not UTF-8 is refused by name"""
        with Server() as server:
            for bad in (b"\xff", b"\xc0\x80", b"a \xed\xa0\x80", b"\xf4\x90\x80\x80", b"caf\xc3"):
                p = subprocess.run([CLIENT.encode(), b"--connect", server.address.encode(), bad],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
                self.assertEqual(p.returncode, 1)
                self.assertIn(b"INVALID_ARGUMENT: the input is not UTF-8", p.stderr)
            self.assertCounts(client(server.address, SENTENCE))

    def test_no_server(self):
        """a server that is not there is named, with the reason, in each mode"""
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{s.getsockname()[1]}"
        for mode in MODES:
            p = client(address, SENTENCE, "again", mode=mode)
            self.assertRefused(p, f"no counts from {re.escape(address)}: UNAVAILABLE: .*refused")

    def test_no_socket(self):
        """a unix socket that is not there is named"""
        p = client("unix:/nowhere/wordcount.sock", SENTENCE)
        self.assertRefused(p, "unix:/nowhere/wordcount.sock: UNAVAILABLE: .*No such file")

    def test_addresses(self):
        """what is no address is called so, by both programs"""
        for bad in ("nonsense", "127.0.0.1:99999", ":", "unix:"):
            self.assertRefused(client(bad, SENTENCE), "is no address: give HOST:PORT")
            p = subprocess.run([SERVER, "--allow-remote", "--listen", bad], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, check=False, timeout=10 * SLOW)
            self.assertRefused(p, "is no address: give HOST:PORT")

    def test_remote(self):
        """an address that other machines can reach needs --allow-remote"""
        for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:80", "127.example.org:1", ":0", "*:0"):
            p = subprocess.run([SERVER, "--listen", address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               check=False, timeout=10 * SLOW)
            self.assertEqual((p.returncode, p.stdout), (2, ""))
            self.assertIn(f"other machines could reach {address}", p.stderr)
            self.assertIn("--allow-remote", p.stderr)
        with subprocess.Popen([SERVER, "--listen", "0.0.0.0:0", "--allow-remote"], stdout=subprocess.PIPE, text=True) as p:
            port = p.stdout.readline().strip().rpartition(":")[2]
            self.assertCounts(client(f"127.0.0.1:{port}", SENTENCE))
            p.terminate()

    def test_address_in_use(self):
        """a second server on the same address says why it cannot"""
        with Server() as server:
            p = subprocess.run([SERVER, "--listen", server.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               check=False, timeout=10 * SLOW)
            self.assertRefused(p, f"cannot listen on {server.address}: Address already in use")

    def test_usage(self):
        """wrong arguments end with 2 and a sentence"""
        for args in ((), ("--connect", "127.0.0.1:1"), ("--connect", "127.0.0.1:1", "--mode", "x", "t"),
                     ("--connect", "127.0.0.1:1", "--timeout", "0", "t"), ("--connect", "127.0.0.1:1", "--timeout", "1x", "t"),
                     ("--connect", "127.0.0.1:1", "--timeout", "nan", "t"), ("--bad",)):
            p = subprocess.run([CLIENT, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            self.assertEqual((p.returncode, p.stdout), (2, b""))
            self.assertTrue(p.stderr)


class Faults(Example):
    def start_client(self, address, mode):
        return subprocess.Popen([CLIENT, "--connect", address, "--mode", mode, SENTENCE, SENTENCE],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_killed(self):
        """a server killed during the call ends it with UNAVAILABLE at once, in each mode"""
        for mode in MODES:
            with Server() as server:
                self.assertCounts(client(server.address, SENTENCE))
                server.process.send_signal(signal.SIGSTOP)
                with self.start_client(server.address, mode) as p:
                    mr.wait_for_loop(p)
                    self.assertIsNone(p.poll(), "the client waits")
                    start = time.monotonic()
                    server.process.kill()
                    out, err = p.communicate(timeout=10 * SLOW)
                    self.assertLess(time.monotonic() - start, 2 * SLOW)
                    self.assertEqual((p.returncode, out), (1, ""))
                    self.assertRegex(err, "UNAVAILABLE: ")

    def test_deadline(self):
        """a server that does not answer ends the call at its deadline, in each mode"""
        with Server() as server:
            server.process.send_signal(signal.SIGSTOP)
            for mode in MODES:
                start = time.monotonic()
                p = client(server.address, SENTENCE, mode=mode, timeout=0.3)
                self.assertRefused(p, "DEADLINE_EXCEEDED: ")
                self.assertGreater(time.monotonic() - start, 0.29)
                self.assertLess(time.monotonic() - start, 10)  # what it is unless it is given

    def test_not_grpc(self):
        """a peer that speaks something else ends the call with a status"""
        for answer in (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"\0" * 100, b""):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                def serve(listener=listener, answer=answer):
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(answer)

                thread = threading.Thread(target=serve)
                thread.start()
                p = client(f"127.0.0.1:{listener.getsockname()[1]}", SENTENCE)
                thread.join()
                self.assertRefused(p, "(UNAVAILABLE|INTERNAL): ")


@unittest.skipUnless(grpc, "python3-grpcio is not installed")
class Python(Example):
    def setUp(self):
        self.server = Server()
        self.channel = grpc.insecure_channel(self.server.address, [("grpc.max_receive_message_length", 64 << 20)])
        self.compute = self.channel.unary_unary(METHOD, pack_request, unpack_reply)

    def tearDown(self):
        self.channel.close()
        self.server.__exit__()

    def assertCode(self, code, text, **options):
        with self.assertRaises(grpc.RpcError) as caught:
            self.compute(text, timeout=10 * SLOW, **options)
        self.assertEqual(caught.exception.code(), code)
        return caught.exception.details()

    def test_client(self):
        """Python's client gets the lecture's counts"""
        self.assertEqual(self.compute(SENTENCE, timeout=10 * SLOW), COUNTS)
        self.assertEqual(self.compute("", timeout=10 * SLOW), {})
        self.assertEqual(self.compute("\u00e9t\u00e9\u3000\U0001f600", timeout=10 * SLOW), {"été": 1, "\U0001f600": 1})

    def test_client_futures(self):
        """Python's client has many calls under way"""
        calls = [self.compute.future(f"{SENTENCE} {i}", timeout=30 * SLOW) for i in range(200)]
        for i, call in enumerate(calls):
            self.assertEqual(call.result(), {**COUNTS, str(i): 1})

    def test_large(self):
        """an input of nearly 1 MiB is counted, one above it refused, and the connection lives"""
        words = [f"w{i:06}" for i in range(131000)]
        self.assertEqual(self.compute(" ".join(words), timeout=30 * SLOW), dict.fromkeys(words, 1))
        self.assertCode(grpc.StatusCode.RESOURCE_EXHAUSTED, "x" * (1 << 20))
        self.assertEqual(self.compute("x" * ((1 << 20) - 8), timeout=10 * SLOW), {"x" * ((1 << 20) - 8): 1})
        self.assertEqual(self.compute(SENTENCE, timeout=10 * SLOW), COUNTS)

    def test_refusals(self):
        """Python's client gets the codes of what is refused"""
        self.assertEqual(self.assertCode(grpc.StatusCode.INVALID_ARGUMENT, b"\xff"), "the input is not UTF-8")
        for method in ("/wordcount.WordCountServer/Nothing", "/wordcount.Nobody/Compute"):
            self.compute = self.channel.unary_unary(method, pack_request, unpack_reply)
            self.assertCode(grpc.StatusCode.UNIMPLEMENTED, SENTENCE)

    def test_garbage(self):
        """a request that is no message is refused, and the server lives"""
        raw = self.channel.unary_unary(METHOD, lambda data: data, unpack_reply)
        with self.assertRaises(grpc.RpcError) as caught:
            raw(b"\x0a\xff\xff\xff\xff\x0f", timeout=10 * SLOW)
        self.assertIn(caught.exception.code(), (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL))
        self.assertEqual(self.compute(SENTENCE, timeout=10 * SLOW), COUNTS)

    def test_server(self):
        """our client calls Python's server, in each mode, and hears its refusals"""
        def compute(request, context):
            if request == "no":
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "niet, 100 % zeker: €")
            counts = {}
            for word in request.split():
                counts[word] = counts.get(word, 0) + 1
            return counts

        server = grpc.server(futures.ThreadPoolExecutor(2))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("wordcount.WordCountServer", {
            "Compute": grpc.unary_unary_rpc_method_handler(compute, unpack_request, pack_reply)}),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            for mode in MODES:
                self.assertCounts(client(f"127.0.0.1:{port}", SENTENCE, mode=mode))
                self.assertRefused(client(f"127.0.0.1:{port}", "no", mode=mode), "FAILED_PRECONDITION: niet, 100 % zeker: €")
        finally:
            server.stop(None).wait()


tap.main()
