"""Python's grpcio against evgrpc: its client calls our server, our client calls its server."""

import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from concurrent import futures

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tap  # noqa: E402

try:
    import grpc
except ImportError:
    grpc = None

BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", "build")).resolve()
SERVER = str(BUILD / "tests/interop/echo-server")
CLIENT = str(BUILD / "tests/interop/echo-client")
SERVICE = "evgrpc.test.Echo"
NEED = unittest.skipUnless(grpc, "python3-grpcio is not installed")

# A few lines of protobuf's wire format, so that no generated code is needed.
ORDER = {"body": 1, "reply_size": 2, "count": 3, "delay_ms": 4, "code": 5, "message": 6, "hang": 7, "metadata": 8}
ANSWER = {"body": 1, "number": 2, "sum": 3, "time_left_usec": 4, "peer": 5}
TEXT = {"message", "peer"}


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def pack(fields, values):
    out = b""
    for name, value in values.items():
        if isinstance(value, str):
            value = value.encode()
        if isinstance(value, bytes):
            out += varint(fields[name] << 3 | 2) + varint(len(value)) + value
        else:
            out += varint(fields[name] << 3) + varint(int(value))
    return out


def unpack(fields, data):
    names = {number: name for name, number in fields.items()}
    values = {name: 0 for name in fields}
    values.update(body=b"", **{name: "" for name in TEXT if name in fields})
    at = 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return n

    while at < len(data):
        key = number()
        value = number()
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        name = names[key >> 3]
        values[name] = value.decode() if name in TEXT else value
    return values


def order(**values):
    return pack(ORDER, values)


def answer_of(data):
    return unpack(ANSWER, data)


@NEED
class OurServer(unittest.TestCase):
    address = "127.0.0.1:0"

    def setUp(self):
        self.process = subprocess.Popen([SERVER, self.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.target = self.process.stdout.readline().strip()
        self.channel = grpc.insecure_channel(self.target)

    def tearDown(self):
        self.channel.close()
        out, _ = self.process.communicate("", timeout=20)
        self.assertEqual(self.process.returncode, 0, out)

    def method(self, kind, name):
        return getattr(self.channel, kind)(f"/{SERVICE}/{name}")

    def unary(self, request, **kw):
        return answer_of(self.method("unary_unary", "Unary")(request, timeout=kw.pop("timeout", 20), **kw))

    def fails(self, code, call):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        self.assertEqual(caught.exception.code(), code)
        return caught.exception

    def hang(self):
        """A call that the server has: what comes on one connection is served in turn."""
        self.unary(order())
        call = self.method("unary_unary", "Unary").future(order(hang=True))
        self.unary(order())
        return call

    def test_unary(self):
        begin = time.monotonic()
        answer = self.unary(order(body=b"hello"))
        took_usec = (time.monotonic() - begin) * 1_000_000
        self.assertEqual(answer["body"], b"hello")
        # grpcio rounds the time it sends up, to three digits.
        self.assertLessEqual(answer["time_left_usec"], 20_200_000)
        self.assertGreater(answer["time_left_usec"], 20_000_000 - took_usec)

    def test_without_deadline(self):
        self.assertEqual(self.unary(order(), timeout=None)["time_left_usec"], 2**64 - 1)

    def test_unary_with_empty_messages(self):
        self.assertEqual(self.unary(b"")["body"], b"")

    def test_server_streaming(self):
        answers = [answer_of(a) for a in self.method("unary_stream", "List")(order(count=500, reply_size=20000))]
        self.assertEqual([a["number"] for a in answers], list(range(500)))
        self.assertTrue(all(a["body"] == b"x" * 20000 for a in answers))

    def test_server_streaming_of_nothing(self):
        self.assertEqual(list(self.method("unary_stream", "List")(order())), [])

    def test_deadline(self):
        begin = time.monotonic()
        self.fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: self.unary(order(hang=True), timeout=0.2))
        self.assertLess(time.monotonic() - begin, 5)

    def test_cancellation(self):
        call = self.hang()
        call.cancel()
        self.assertEqual(call.code(), grpc.StatusCode.CANCELLED)
        self.unary(order())
        self.channel.close()
        out, _ = self.process.communicate("", timeout=20)
        self.assertIn("cancelled 1 living 0", out)

    def test_cancellation_of_a_stream(self):
        call = self.method("unary_stream", "List")(order(count=1000000, reply_size=1000))
        self.assertEqual(answer_of(next(call))["number"], 0)
        call.cancel()
        self.assertEqual(call.code(), grpc.StatusCode.CANCELLED)
        self.unary(order())

    def test_status_with_a_message_beyond_ascii(self):
        text = "nicht möglich: 100 %\n日本"
        error = self.fails(grpc.StatusCode.FAILED_PRECONDITION, lambda: self.unary(order(code=9, message=text)))
        self.assertEqual(error.details(), text)

    def test_every_status(self):
        for code in grpc.StatusCode:
            if code is not grpc.StatusCode.OK:
                self.fails(code, lambda: self.unary(order(code=code.value[0], message=code.name)))

    def test_status_after_messages(self):
        call = self.method("unary_stream", "List")(order(count=3, code=10, message="late"))
        got = []
        with self.assertRaises(grpc.RpcError):
            for a in call:
                got.append(a)
        self.assertEqual((len(got), call.code(), call.details()), (3, grpc.StatusCode.ABORTED, "late"))

    def test_large_message(self):
        body = os.urandom(3 << 20)
        self.assertEqual(self.unary(order(body=body))["body"], body)

    def test_too_large_message(self):
        self.fails(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: self.unary(order(body=bytes(5 << 20))))
        self.unary(order())

    def test_metadata(self):
        binary = bytes(range(256))
        sent = (("x-text", "a, b"), ("x-data-bin", binary), ("x-empty-bin", b""))
        call = self.method("unary_unary", "Unary")
        _, call = call.with_call(order(metadata=True), metadata=sent)
        for got in (call.initial_metadata(), call.trailing_metadata()):
            self.assertEqual([(k, v) for k, v in got if k.startswith("x-")], list(sent))

    def test_unknown_method_and_service(self):
        for path in (f"/{SERVICE}/Nothing", "/no.Service/Unary", f"/{SERVICE}/Missing"):
            self.fails(grpc.StatusCode.UNIMPLEMENTED, lambda: self.channel.unary_unary(path)(b""))

    def test_compression_is_unimplemented(self):
        self.fails(grpc.StatusCode.UNIMPLEMENTED,
                   lambda: self.unary(order(body=bytes(100000)), compression=grpc.Compression.Gzip))

    def test_client_streaming(self):
        answer = answer_of(self.method("stream_unary", "Collect")(iter([order(body=bytes(1000))] * 1000)))
        self.assertEqual((answer["sum"], answer["number"]), (1000000, 1000))

    def test_client_streaming_ended_by_the_server(self):
        def orders():
            yield order(code=8, message="full")
            while True:
                yield order(body=bytes(1000))
        error = self.fails(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: self.method("stream_unary", "Collect")(orders()))
        self.assertEqual(error.details(), "full")

    def test_bidirectional_streaming(self):
        turn = threading.Semaphore(1)

        def orders():
            for i in range(100):
                turn.acquire()
                yield order(body=b"%d" % i)
        for i, data in enumerate(self.method("stream_stream", "Chat")(orders())):
            self.assertEqual(answer_of(data)["body"], b"%d" % i)
            turn.release()
        self.assertEqual(i, 99)

    def test_many_at_once(self):
        calls = [self.method("unary_unary", "Unary").future(order(body=b"%d" % i, delay_ms=20)) for i in range(1000)]
        for i, call in enumerate(calls):
            self.assertEqual(answer_of(call.result(timeout=60))["body"], b"%d" % i)

    def test_killed_server_is_unavailable(self):
        call = self.hang()
        self.process.kill()
        self.process.wait()
        self.assertEqual(call.code(), grpc.StatusCode.UNAVAILABLE)
        self.process.returncode = 0


@NEED
class OurServerOnAUnixSocket(OurServer):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.address = f"unix:{self.dir.name}/socket"
        super().setUp()

    def tearDown(self):
        super().tearDown()
        self.dir.cleanup()


class Handler(grpc.GenericRpcHandler if grpc else object):
    """The echo service as grpcio serves it."""

    def __init__(self):
        self.ended = threading.Semaphore(0)

    def service(self, details):
        name = details.method.rpartition("/")[2]
        return {"Unary": grpc.unary_unary_rpc_method_handler(self.unary),
                "List": grpc.unary_stream_rpc_method_handler(self.list),
                "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
                "Chat": grpc.stream_stream_rpc_method_handler(self.chat)}.get(name)

    def unary(self, data, context):
        o = unpack(ORDER, data)
        if o["hang"]:
            gone = threading.Event()
            context.add_callback(gone.set)
            gone.wait()
            self.ended.release()
        if o["metadata"]:
            own = [(k, v) for k, v in context.invocation_metadata() if k.startswith("x-")]
            context.send_initial_metadata(own)
            context.set_trailing_metadata(own)
        if o["code"]:
            context.abort(next(c for c in grpc.StatusCode if c.value[0] == o["code"]), o["message"])
        return pack(ANSWER, {"body": o["body"] + b"x" * o["reply_size"]})

    def list(self, data, context):
        o = unpack(ORDER, data)
        context.add_callback(self.ended.release)
        for i in range(o["count"]):
            yield pack(ANSWER, {"body": b"x" * o["reply_size"], "number": i})

    def collect(self, orders, context):
        sizes = [len(unpack(ORDER, o)["body"]) for o in orders]
        return pack(ANSWER, {"sum": sum(sizes), "number": len(sizes)})

    def chat(self, orders, context):
        for i, _ in enumerate(orders):
            yield pack(ANSWER, {"number": i})


@NEED
class OurClient(unittest.TestCase):
    def setUp(self):
        self.handler = Handler()
        self.server = grpc.server(futures.ThreadPoolExecutor(8), handlers=(self.handler,))
        self.target = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def tearDown(self):
        self.server.stop(None).wait()

    def run_cases(self, *names):
        done = subprocess.run([CLIENT, self.target, *names], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.split("\n")[:-1], [f"ok {n}" for n in names])

    def test_all_on_one_connection(self):
        self.run_cases("unary", "large", "list", "status", "metadata", "unknown", "collect", "chat", "too-large",
                       "many", "cancel", "deadline", "unary")

    def test_server_hears_of_cancellation(self):
        self.run_cases("cancel")
        self.assertTrue(self.handler.ended.acquire(timeout=20))

    def test_server_hears_of_the_deadline(self):
        self.run_cases("deadline")
        self.assertTrue(self.handler.ended.acquire(timeout=20))


def make_case(name):
    def test(self):
        self.run_cases(name)
    return test


for case in ("unary", "large", "too-large", "list", "status", "metadata", "unknown", "collect", "chat", "many"):
    setattr(OurClient, "test_" + case.replace("-", "_"), make_case(case))


if __name__ == "__main__":
    tap.main()
