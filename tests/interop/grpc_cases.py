"""gRPC's interoperability cases with grpcio: a client and a server of grpc-testing.proto, as
doc/interop-test-descriptions.md of grpc/grpc describes them. Messages are lists of (field number, value)."""

import threading
import time

import grpc

SERVICE = "grpc.testing.TestService"
REQUESTS = (27182, 8, 1828, 45904)
RESPONSES = (31415, 9, 2653, 58979)
LARGE_REQUEST, LARGE_RESPONSE = 271828, 314159
INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
METADATA = ((INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab"))
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def pack(*fields):
    """Bytes, text and packed messages are length-delimited, numbers are varints."""
    out = b""
    for number, value in fields:
        if isinstance(value, str):
            value = value.encode()
        if isinstance(value, bytes):
            out += varint(number << 3 | 2) + varint(len(value)) + value
        else:
            out += varint(number << 3) + varint(value)
    return out


def unpack(data):
    """{field number: [values]}"""
    fields, at = {}, 0

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
        key, value = number(), number()
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        fields.setdefault(key >> 3, []).append(value)
    return fields


def first(fields, number, default):
    return fields.get(number, [default])[0]


def payload(size):
    return pack((2, bytes(size)))


def body_of(fields, number):
    return first(unpack(first(fields, number, b"")), 2, b"")


def simple_request(**status):
    fields = [(2, LARGE_RESPONSE), (3, payload(LARGE_REQUEST))] if not status else []
    return pack(*fields, *([(7, pack((1, status["code"]), (2, status["message"])))] if status else []))


def output_request(responses, size):
    return pack(*((2, pack((1, n))) for n in responses), (3, payload(size)))


class Client:
    """Each method is the case of its name; what breaks a rule raises."""

    def __init__(self, target, credentials=None, name=None):
        options = [("grpc.ssl_target_name_override", name)] if name else []
        self.channel = (grpc.secure_channel(target, credentials, options) if credentials
                        else grpc.insecure_channel(target))
        self.timeout = 30

    def method(self, kind, name, service=SERVICE):
        return getattr(self.channel, kind)(f"/{service}/{name}")

    def large(self, **options):
        response, call = self.method("unary_unary", "UnaryCall").with_call(
            simple_request(), timeout=self.timeout, **options)
        assert body_of(unpack(response), 1) == bytes(LARGE_RESPONSE)
        return call

    def status_of(self, call):
        try:
            call()
        except grpc.RpcError as e:
            return e.code(), e.details()
        return grpc.StatusCode.OK, ""

    def check_metadata(self, call):
        assert (INITIAL, METADATA[0][1]) in [tuple(m) for m in call.initial_metadata()]
        assert (TRAILING, METADATA[1][1]) in [tuple(m) for m in call.trailing_metadata()]

    def empty_unary(self):
        assert self.method("unary_unary", "EmptyCall")(b"", timeout=self.timeout) == b""

    def large_unary(self):
        self.large()

    def client_streaming(self):
        requests = iter([pack((1, payload(n))) for n in REQUESTS])
        response = self.method("stream_unary", "StreamingInputCall")(requests, timeout=self.timeout)
        assert first(unpack(response), 1, 0) == 74922

    def server_streaming(self):
        request = pack(*((2, pack((1, n))) for n in RESPONSES))
        got = list(self.method("unary_stream", "StreamingOutputCall")(request, timeout=self.timeout))
        assert [body_of(unpack(m), 1) for m in got] == [bytes(n) for n in RESPONSES]

    def ping_pong(self):
        turn = threading.Semaphore(1)

        def requests():
            for response, request in zip(RESPONSES, REQUESTS):
                turn.acquire()
                yield output_request([response], request)
            turn.acquire()
        got = []
        for m in self.method("stream_stream", "FullDuplexCall")(requests(), timeout=self.timeout):
            got.append(len(body_of(unpack(m), 1)))
            turn.release()
        assert tuple(got) == RESPONSES

    def empty_stream(self):
        assert list(self.method("stream_stream", "FullDuplexCall")(iter(()), timeout=self.timeout)) == []

    def custom_metadata(self):
        self.check_metadata(self.large(metadata=METADATA))
        call = self.method("stream_stream", "FullDuplexCall")(
            iter([output_request([LARGE_RESPONSE], LARGE_REQUEST)]), metadata=METADATA, timeout=self.timeout)
        assert len(list(call)) == 1
        self.check_metadata(call)

    def status_code_and_message(self):
        text = "test status message"
        request = simple_request(code=2, message=text)
        unary = self.method("unary_unary", "UnaryCall")
        duplex = self.method("stream_stream", "FullDuplexCall")
        assert self.status_of(lambda: unary(request)) == (grpc.StatusCode.UNKNOWN, text)
        assert self.status_of(lambda: list(duplex(iter([request])))) == (grpc.StatusCode.UNKNOWN, text)

    def special_status_message(self):
        unary = self.method("unary_unary", "UnaryCall")
        got = self.status_of(lambda: unary(simple_request(code=2, message=SPECIAL)))
        assert got == (grpc.StatusCode.UNKNOWN, SPECIAL), got

    def unimplemented_method(self):
        call = self.method("unary_unary", "UnimplementedCall")
        assert self.status_of(lambda: call(b""))[0] == grpc.StatusCode.UNIMPLEMENTED

    def unimplemented_service(self):
        call = self.method("unary_unary", "UnimplementedCall", "grpc.testing.UnimplementedService")
        assert self.status_of(lambda: call(b""))[0] == grpc.StatusCode.UNIMPLEMENTED

    def cancel_after_begin(self):
        stop = threading.Event()
        call = self.method("stream_unary", "StreamingInputCall").future(iter(lambda: stop.wait() and b"", b""))
        call.cancel()
        stop.set()
        assert call.code() == grpc.StatusCode.CANCELLED

    def cancel_after_first_response(self):
        stop = threading.Event()

        def requests():
            yield output_request(RESPONSES[:1], REQUESTS[0])
            stop.wait()
        call = self.method("stream_stream", "FullDuplexCall")(requests())
        assert len(body_of(unpack(next(call)), 1)) == RESPONSES[0]
        call.cancel()
        stop.set()
        assert call.code() == grpc.StatusCode.CANCELLED

    def timeout_on_sleeping_server(self):
        def requests():
            yield output_request([], REQUESTS[0])
            time.sleep(1)
        call = self.method("stream_stream", "FullDuplexCall")(requests(), timeout=0.001)
        assert self.status_of(lambda: list(call))[0] == grpc.StatusCode.DEADLINE_EXCEEDED

    def rpc_soak(self, count=20):
        for _ in range(count):
            self.large()


CASES = ("empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
         "custom_metadata", "status_code_and_message", "special_status_message", "unimplemented_method",
         "unimplemented_service", "cancel_after_begin", "cancel_after_first_response",
         "timeout_on_sleeping_server", "rpc_soak")


class Handler(grpc.GenericRpcHandler):
    """The service, as grpcio serves it."""

    def service(self, details):
        service, _, name = details.method[1:].partition("/")
        if service != SERVICE:
            return None
        return {"EmptyCall": grpc.unary_unary_rpc_method_handler(self.empty),
                "UnaryCall": grpc.unary_unary_rpc_method_handler(self.unary),
                "StreamingOutputCall": grpc.unary_stream_rpc_method_handler(self.output),
                "StreamingInputCall": grpc.stream_unary_rpc_method_handler(self.input),
                "FullDuplexCall": grpc.stream_stream_rpc_method_handler(self.duplex)}.get(name)

    def echo(self, context):
        sent = dict(context.invocation_metadata())
        if INITIAL in sent:
            context.send_initial_metadata(((INITIAL, sent[INITIAL]),))
        if TRAILING in sent:
            context.set_trailing_metadata(((TRAILING, sent[TRAILING]),))

    def end_with_status(self, fields, context):
        if 7 in fields:
            status = unpack(fields[7][0])
            code = next(c for c in grpc.StatusCode if c.value[0] == first(status, 1, 0))
            context.abort(code, first(status, 2, b"").decode())

    def empty(self, data, context):
        self.echo(context)
        return b""

    def unary(self, data, context):
        fields = unpack(data)
        self.echo(context)
        self.end_with_status(fields, context)
        return pack((1, payload(first(fields, 2, 0))))

    def output(self, data, context):
        fields = unpack(data)
        self.end_with_status(fields, context)
        for each in fields.get(2, []):
            parameters = unpack(each)
            time.sleep(first(parameters, 2, 0) / 1e6)
            yield pack((1, payload(first(parameters, 1, 0))))

    def input(self, requests, context):
        return pack((1, sum(len(body_of(unpack(r), 1)) for r in requests)))

    def duplex(self, requests, context):
        self.echo(context)
        for request in requests:
            yield from self.output(request, context)
