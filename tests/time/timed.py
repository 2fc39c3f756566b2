"""timesyncd-lite as tests run it: always with a virtual clock, so this machine's is never touched.

A server is a timesyncd-lite that tells this machine's time as a reference, or one made of grpcio that says whatever a
test wants. As all of them run on one kernel, each is given a clock number of its own.
"""

import json
import pathlib
import signal
import socket
import struct
import sys
import time
from concurrent import futures

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402

try:
    import grpc
except ImportError:
    grpc = None

DAEMON = str(mr.BUILD / "daemons/timesyncd-lite/timesyncd-lite")
METHOD = "/mapreduced.time.v1.Time/SyncTime"
SECOND = 10**9
SO_TIMESTAMPING, SOF_TIMESTAMPING_RX_SOFTWARE, SOF_TIMESTAMPING_SOFTWARE = 37, 1 << 3, 1 << 4  # <linux/net_tstamp.h>

# ---- The messages, in protobuf's wire format, so that no generated code is needed --------------------------------

REPLY = {1: "t1", 2: "t2", 3: "t3", 4: "synchronised", 5: "leap", 6: "stratum", 7: "root_delay", 8: "root_dispersion",
         9: "server_id", 10: "references", 11: "t2_from_kernel",
         12: "t3_follows", 13: "previous_t1", 14: "previous_t3"}
NUMBER = {name: number for number, name in REPLY.items()}
FIXED64 = {"t1": "<q", "t2": "<q", "t3": "<q", "root_delay": "<q", "root_dispersion": "<q", "server_id": "<Q",
           "previous_t1": "<q", "previous_t3": "<q"}


def request(t1, client_id=0):
    return b"\x09" + struct.pack("<q", t1) + (b"\x11" + struct.pack("<Q", client_id) if client_id else b"")


def read_request(data):
    values = {"t1": 0, "client_id": 0}
    for at in range(0, len(data), 9):
        name = {0x09: "t1", 0x11: "client_id"}[data[at]]
        values[name] = struct.unpack_from("<q", data, at + 1)[0]
    return values


def reply(**values):
    out = b""
    for name, value in values.items():
        number = NUMBER[name]
        if name in FIXED64:
            out += bytes([number << 3 | 1]) + struct.pack(FIXED64[name], value)
        elif name == "stratum":
            out += bytes([number << 3 | 5]) + struct.pack("<I", value)
        elif name == "references":
            body = b"".join(struct.pack("<Q", v) for v in value)
            out += bytes([number << 3 | 2, len(body)]) + body
        else:
            out += bytes([number << 3, int(value)])
    return out


def read_reply(data):
    values, at = {name: 0 for name in NUMBER}, 0
    values["references"] = []
    while at < len(data):
        name, kind = REPLY[data[at] >> 3], data[at] & 7
        at += 1
        if kind == 1:
            values[name] = struct.unpack_from(FIXED64[name], data, at)[0]
            at += 8
        elif kind == 5:
            values[name] = struct.unpack_from("<I", data, at)[0]
            at += 4
        elif kind == 2:
            values[name] = [v[0] for v in struct.iter_unpack("<Q", data[at + 1:at + 1 + data[at]])]
            at += 1 + data[at]
        else:
            values[name] = data[at]
            at += 1
    return values


# ---- Programs ---------------------------------------------------------------------------------------------------


class Time(mr.Scratch):
    """A private bus, servers and clients."""

    def setUp(self):
        super().setUp()
        self.ids = 0xa0
        self.bus = None

    def start_bus(self):
        self.bus = f"unix:path={self.dir}/bus"
        conf = self.file("bus.conf", f"""<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>{self.bus}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>""")
        daemon = mr.Daemon(["dbus-daemon", "--nofork", "--nopidfile", f"--config-file={conf}"],
                           str(self.dir / "bus.log"), self.env)
        self.addCleanup(daemon.kill)
        mr.wait_for_socket(self.dir / "bus")
        self.env["DBUS_SYSTEM_BUS_ADDRESS"] = self.bus

    def kernel_tells(self):
        """It begins to note when packets come some moments after a socket asks, and stops with the last one: here is one that asks."""
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(s.close)
        s.bind(("127.0.0.1", 0))
        s.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE)

        def is_told():
            s.sendto(b"x", s.getsockname())
            return s.recvmsg(1, 256)[1]
        mr.wait_for("the kernel's times", is_told)

    def daemon(self, name, *args, conf="", bus="none", log_level="debug"):
        self.ids += 1
        path = self.file(f"{name}.conf", conf)
        command = [DAEMON, f"--config={path}", f"--state-dir={self.dir}/{name}", f"--bus={bus}",
                   f"--clock-id={self.ids:x}", *args]
        if "--role=server" not in args:
            assert any(a.startswith("--dry-run") for a in args), "a test never touches the clock"
        d = mr.Daemon(command, str(self.dir / f"{name}.log"), dict(self.env, MR_LOG_LEVEL=log_level))
        d.name, d.conf, d.log_path, d.clock_id = name, path, self.dir / f"{name}.log", self.ids
        d.stop = lambda: d.kill(signal.SIGTERM)
        self.addCleanup(self.end, d)
        return d

    def end(self, d):
        d.stop()
        log = self.log_of(d)
        self.assertNotIn("Sanitizer", log, log[-3000:])
        self.assertNotIn("Assertion", log, log[-3000:])

    def log_of(self, d):
        return d.log_path.read_text() if d.log_path.exists() else ""

    def wait_log(self, d, text, seconds=30):
        mr.wait_for(f"'{text}' in the log of {d.name}: {self.log_of(d)[-1500:]}", lambda: text in self.log_of(d), seconds)

    def server(self, name="server", stratum=1, listen="127.0.0.1:0", extra="", args=()):
        """Tells this machine's time as a reference clock; returns where."""
        d = self.daemon(name, "--role=server", f"--listen={listen}", *args,
                        conf=f"[Server]\nLocalStratum={stratum}\n{extra}")
        self.wait_log(d, "Telling the time on ")
        d.address = self.log_of(d).split("Telling the time on ")[1].split("\n")[0]
        return d

    def client(self, *servers, name="client", dry_run="--dry-run", conf="", bus=None, args=(), polls="2s"):
        text = f"[Time]\nPollIntervalMin={polls}\nPollIntervalMax={polls}\n{conf}"
        d = self.daemon(name, dry_run, *[f"--server={s}" for s in servers], *args, conf=text,
                        bus=bus or self.bus or "none")
        if self.bus and not bus:
            self.wait_bus()
        return d

    def wait_bus(self):
        mr.wait_for("timesyncd-lite on the bus", lambda: self.ctl("time", "status").returncode == 0)

    def ctl(self, *args):
        return self.mrctl(f"--bus={self.bus}", *args)

    def show(self, *args):
        p = self.ctl("--json=short", "time", *args)
        self.assertEqual(p.returncode, 0, p.stderr)
        return json.loads(p.stdout)

    def wait_state(self, state, seconds=30):
        def there():
            p = self.ctl("--json=short", "time", "status")
            return p.returncode == 0 and json.loads(p.stdout)["State"] == state
        mr.wait_for(f"the state {state}: {self.ctl('time', 'servers').stdout.decode()}", there, seconds)

    def query(self, address):
        return self.mrctl("--json=short", "time", "query", address)

    def fake_server(self, answer):
        """Serves as serve_fake() says, until the end of the case; returns where."""
        server, port = serve_fake(answer)
        self.addCleanup(server.stop, None)
        return f"127.0.0.1:{port}"


def serve_fake(answer, port=0):
    """A gRPC server on loopback, whose answer(request, true time) gives the bytes of a reply; and its port."""
    def handler(data, context):
        return answer(read_request(data), time.time_ns())

    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
        "mapreduced.time.v1.Time", {"SyncTime": grpc.unary_unary_rpc_method_handler(handler)})])
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


def honest(r, now, **changes):
    """What an exact server says, but for what is changed."""
    values = {"t1": r["t1"], "t2": now, "t3": now + 20000, "synchronised": 1, "stratum": 1, "root_delay": 1000,
              "root_dispersion": 1000, "server_id": 0xfee}
    values.update(changes)
    return reply(**values)
