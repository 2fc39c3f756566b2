"""The real programs, started, driven and ended by tests.

Everything here runs what was built (BUILD_ROOT, set by meson), in a folder of its own that is removed at the
end, and ends only processes it started, by the pid it kept.
"""

import fcntl
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", "build")).resolve()
SOURCE = pathlib.Path(os.environ.get("SOURCE_ROOT", pathlib.Path(__file__).resolve().parents[2]))
MRCTL = str(BUILD / "cli/mrctl")
MASTERD = str(BUILD / "daemons/mr-masterd/mr-masterd")
WORKERD = str(BUILD / "daemons/mr-workerd/mr-workerd")
TASK = str(BUILD / "daemons/mr-task/mr-task")
SANITIZED = os.environ.get("MR_SANITIZED") == "1"
SLOW = 4 if SANITIZED else 1  # factor for the limits of waiting, never for a measurement

TEXT_DIRS = [d for d in ("/usr/share/common-licenses", "/usr/share/perl") if os.path.isdir(d)]


def wait_for(what, predicate, seconds=30):
    """Polls until predicate() is true, and returns its value."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds * SLOW} s for {what}")
        time.sleep(0.02)


def call(*args, timeout=300, **kwargs):
    """A command that must succeed; what it said is in the error otherwise."""
    p = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=timeout, check=False, **kwargs)
    if p.returncode != 0:
        raise AssertionError(f"{shlex.join(map(str, args))}: {p.stdout.decode(errors='replace')[-2000:]}")
    return p.stdout.decode(errors="replace")


def why_not_there(*tools, namespaces=("--mount",)):
    """Why a test that needs root, programs and namespaces cannot run here, or None."""
    if os.geteuid() != 0:
        return "it needs root"
    for tool in tools:
        if not shutil.which(tool):
            return f"{tool} is not installed"
    if subprocess.run(["unshare", *namespaces, "true"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
        return "namespaces cannot be made here"
    return None


class Lock:
    """One maker of a thing at a time, among all test programs: what it makes is kept in that directory."""

    def __init__(self, directory, name):
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / f"{name}.lock"

    def __enter__(self):
        self.file = open(self.path, "w")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()


def wait_for_loop(p):
    """Until the program waits in its event loop: it has connected, asked what it wanted to know, and takes signals."""
    def is_there():
        with open(f"/proc/{p.pid}/wchan", encoding="ascii") as f:
            return "epoll" in f.read() or p.poll() is not None
    wait_for("an event loop", is_there)


def wait_for_socket(path):
    """Until somebody listens at it: the file is there a little before that."""
    def listens():
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(os.fspath(path)) == 0
    wait_for(f"somebody at {path}", listens)


def text_files(roots):
    """The files that a job over these roots reads: names that begin with '.' or '_' are not input."""
    found = []
    for root in roots:
        if os.path.isfile(root):
            found.append(root)
            continue
        for here, dirs, files in os.walk(root):
            dirs[:] = [d for d in dirs if d[0] not in "._"]
            for name in files:
                path = os.path.join(here, name)
                if name[0] not in "._" and os.path.isfile(path):
                    found.append(path)
    return sorted(found)


def coreutils_wordcount(files):
    """`word TAB count` lines as tr, sort and uniq know them. Each file is ended with a newline.

    tr knows ASCII's white space only; sed makes blanks of Unicode's first (the bytes of U+0085, 00A0, 1680, 2000-200A,
    2028, 2029, 202F, 205F, 3000), as word count has the words of Go's strings.Fields.
    """
    unicode_space = (
        r"\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80"
    )
    script = (
        "while IFS= read -r -d '' f; do cat -- \"$f\"; echo; done"
        f" | LC_ALL=C sed -E 's/{unicode_space}/ /g'"
        " | tr -s '[:space:]' '\\n' | grep -av '^$' | LC_ALL=C sort | uniq -c"
    )
    names = b"".join(os.fsencode(f) + b"\0" for f in files)
    out = subprocess.run(["bash", "-c", script], input=names, stdout=subprocess.PIPE, check=False).stdout
    lines = []
    for row in out.split(b"\n"):
        if row:
            count, word = row.lstrip(b" ").split(b" ", 1)
            lines.append(word + b"\t" + count + b"\n")
    return b"".join(lines)


def processes_below(directory):
    """Pids whose command line or working directory names this directory."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as f:
                if os.fsencode(str(directory)) in f.read():
                    found.append(int(entry))
                    continue
            if os.readlink(f"/proc/{entry}/cwd").startswith(str(directory)):
                found.append(int(entry))
        except OSError:
            continue
    return found


class Scratch(unittest.TestCase):
    """A test with a folder of its own, $TMPDIR of all it starts."""

    maxDiff = 2000

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="mr-test-"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.tmp = self.dir / "tmp"
        self.tmp.mkdir()
        self.env = dict(os.environ, TMPDIR=str(self.tmp), LC_ALL="C.UTF-8", NO_COLOR="1")
        self.env.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99")

    def file(self, name, content=b""):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def script(self, name, content):
        path = self.file(name, content)
        os.chmod(path, 0o755)
        return path

    def mrctl(self, *args, timeout=120, **kwargs):
        kwargs.setdefault("env", self.env)
        kwargs.setdefault("cwd", self.dir)
        return subprocess.run(
            [MRCTL, *map(str, args)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout * SLOW,
            check=False,
            **kwargs,
        )

    def local(self, *args, **kwargs):
        return self.mrctl("--local", "run", *args, **kwargs)

    def assertOk(self, p):
        text = p.stderr.decode(errors="replace")
        self.assertEqual(p.returncode, 0, text[-3000:])
        self.assertNotIn("Sanitizer", text)

    def assertFails(self, p, *needles, code=1):
        text = p.stderr.decode(errors="replace")
        self.assertEqual(p.returncode, code, text[-3000:])
        for needle in needles:
            self.assertIn(needle, text)
        self.assertNotIn("Sanitizer", text)

    def assertSameLines(self, got, want):
        """Like assertEqual for long outputs, but names the first line that differs."""
        if got == want:
            return
        g, w = got.split(b"\n"), want.split(b"\n")
        for i, (a, b) in enumerate(zip(g, w)):
            if a != b:
                self.fail(f"line {i + 1}: got {a[:200]!r}, expected {b[:200]!r} ({len(g)} and {len(w)} lines)")
        self.fail(f"got {len(g)} lines, expected {len(w)}")

    def assertNothingLeft(self):
        wait_for("the private directory to go", lambda: not os.listdir(self.tmp), 10)
        wait_for("the processes to end", lambda: not processes_below(self.dir), 10)


class Daemon:
    """A process that a test started, with its output in a file."""

    def __init__(self, args, log, env, pass_fds=()):
        self.log = log
        self.args = args
        with open(log, "ab") as out:
            self.process = subprocess.Popen(
                args, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, pass_fds=pass_fds,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def alive(self):
        return self.process.poll() is None

    def kill(self, sig=signal.SIGKILL):
        if self.alive():
            os.kill(self.pid, sig)
        return self.process.wait(30 * SLOW)

    def text(self):
        return pathlib.Path(self.log).read_text(errors="replace")

    def rss_kib(self):
        m = re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.pid}/status").read_text())
        return int(m.group(1))


class Keys:
    """The CA of the tests' clusters, and who has joined it: made once for a build, by a real master and real joins.

    Each case begins with copies of these, for a join by token costs more than most of the small cases. Tokens, joining,
    renewal and revocation are tests/cluster/security.py's, which makes all of it anew.
    """

    def __init__(self):
        self.dir = BUILD / "test-keys" / str(max(os.stat(p).st_mtime_ns for p in (MASTERD, WORKERD)))

    def give_master(self, state):
        """Before its first start."""
        made = self.dir / "master"
        with Lock(self.dir.parent, "keys"):
            if not made.exists():
                shutil.rmtree(self.dir, ignore_errors=True)
                for old in self.dir.parent.glob("[0-9]*"):
                    if time.time() - old.stat().st_mtime > 3600:  # nobody's who runs now
                        shutil.rmtree(old, ignore_errors=True)
                self.make_master(made)
        self.copy(made, state / "tls")

    def make_master(self, made):
        with tempfile.TemporaryDirectory(prefix="mr-keys-") as d:
            tls = pathlib.Path(d) / "state/tls"
            p = subprocess.Popen([MASTERD, "--bus=none", "--listen=127.0.0.1:0", f"--state={d}/state", "--join-listen=127.0.0.1:0"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                wait_for("the keys of a first start", lambda: (tls / "identity.pem").exists())
            finally:
                p.terminate()
                p.wait(30 * SLOW)
            self.copy(tls, made)

    def give_worker(self, name, spool, join):
        """A spool that has none: by the first who asks, join() has it joined."""
        made = self.dir / name
        with Lock(self.dir.parent, "keys"):
            if not made.exists():
                join()
                self.copy(spool / "tls", made)
                return
        self.copy(made, spool / "tls")

    @staticmethod
    def copy(tls, to):
        """Whole or not at all."""
        to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = to.with_name(f"{to.name}.new")
        shutil.copytree(tls, new)
        os.chmod(new, 0o700)
        os.rename(new, to)


class ClusterCase(Scratch):
    """A private bus, one master and some workers over loopback TCP: mutual TLS, as ever."""

    workers_wanted = 3
    slots = 2
    secure = True  # False: plain TCP, for those who mean that

    def setUp(self):
        super().setUp()
        self.daemons = []
        self.addCleanup(self.end_all)
        self.workers = []
        self.bus = f"unix:path={self.dir}/bus"
        self.env["DBUS_SESSION_BUS_ADDRESS"] = self.bus
        self.start_bus()
        self.port, self.join_port = free_port(), free_port()
        self.start_master()
        self.workers = [self.start_worker(i) for i in range(self.workers_wanted)]
        self.wait_for_workers(self.workers_wanted)

    def end_all(self):
        """All of them, also when one ends badly; one that a case stopped could not end."""
        badly = []
        for d in reversed(self.daemons):
            if d.alive():
                os.kill(d.pid, signal.SIGCONT)
            code = d.kill(signal.SIGTERM) if d.alive() else d.process.returncode
            text = d.text()
            if "Sanitizer" in text or code not in (0, -signal.SIGKILL, -signal.SIGTERM):
                print("# " + text[-4000:].replace("\n", "\n# "))
                badly.append(f"{d.args[0]} ended with {code}")
        self.assertEqual(badly, [])

    def start(self, name, args, **kwargs):
        d = Daemon(list(map(str, args)), str(self.dir / f"{name}.log"), self.env, **kwargs)
        self.daemons.append(d)
        return d

    def start_bus(self):
        conf = self.file(
            "bus.conf",
            f"""<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>{self.bus}</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>""",
        )
        self.start("bus", ["dbus-daemon", "--nofork", "--nopidfile", f"--config-file={conf}"])
        wait_for_socket(self.dir / "bus")

    def start_master(self, *extra):
        if self.secure and not (self.dir / "master").exists():
            Keys().give_master(self.dir / "master")
        how = [f"--join-listen=127.0.0.1:{self.join_port}"] if self.secure else ["--insecure-plain-tcp"]
        self.master = self.start(
            "master",
            [MASTERD, f"--bus={self.bus}", f"--listen=127.0.0.1:{self.port}", f"--state={self.dir}/master",
             *how, "--lease=3", "--heartbeat=300ms", *extra],
        )
        def ready():
            self.assertTrue(self.master.alive(), self.master.text())
            return self.get("Version", fail=False)
        wait_for("the master on the bus", ready)
        return self.master

    def start_worker(self, index, *extra, before=()):
        """@before: a command that becomes the worker, as env does."""
        name = f"w{index}"
        spool = self.dir / f"spool-{name}"
        if self.secure and not (spool / "tls").exists():
            Keys().give_worker(name, spool, lambda: self.join(name, spool))
        return self.start(
            name,
            [*before, WORKERD, f"--bus={self.bus}", f"--master=127.0.0.1:{self.port}", f"--listen=127.0.0.{index + 2}:0",
             f"--spool={spool}", f"--slots={self.slots}", f"--name={name}", f"--instance={name}",
             *([] if self.secure else ["--insecure-plain-tcp"]), *extra],
        )

    def join(self, name, spool):
        """What an administrator types, on the master and on the new host."""
        token = self.ctl("-q", "cluster", "token")
        self.assertOk(token)
        self.assertOk(self.mrctl("cluster", "join", token.stdout.decode().strip(), f"--spool={spool}", f"--name={name}"))

    def wait_for_workers(self, count):
        def ready():
            for w in self.workers:
                self.assertTrue(w.alive(), w.text())
            return self.get("WorkersAlive") == count
        wait_for(f"{count} workers", ready)

    def busctl(self, *args, check=True):
        p = subprocess.run(
            ["busctl", f"--address={self.bus}", "--json=short", *map(str, args)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env, timeout=30 * SLOW, check=False,
        )
        if check:
            self.assertOk(p)
        return p

    def get(self, prop, path="/org/mapreduced/Master1", interface="org.mapreduced.Master1.Manager", fail=True,
            service="org.mapreduced.Master1"):
        p = self.busctl("get-property", service, path, interface, prop, check=fail)
        return json.loads(p.stdout)["data"] if p.returncode == 0 else None

    def job_get(self, job, prop):
        return self.get(prop, f"/org/mapreduced/Master1/job/{job}", "org.mapreduced.Master1.Job")

    def ctl(self, *args, **kwargs):
        return self.mrctl(f"--bus={self.bus}", *args, **kwargs)

    def submit(self, *args):
        """Returns the job's id."""
        p = self.ctl("submit", "--json=short", *args)
        self.assertOk(p)
        return str(json.loads(p.stdout)["Id"])

    def tasks_at_work(self, job, kind="map"):
        """How many tasks have an attempt of which its worker has said that it runs: MapsRunning counts those that start, too."""
        p = self.busctl("call", "org.mapreduced.Master1", f"/org/mapreduced/Master1/job/{job}", "org.mapreduced.Master1.Job",
                        "ListAttempts", "suu", kind, 0, 0)
        return len({row[1] for row in json.loads(p.stdout)["data"][0] if row[6] == "running"})

    def wait_for_running(self, job, count=1, kind="map"):
        wait_for(f"{count} {kind}s to run", lambda: self.tasks_at_work(job, kind) == count)

    def job_is_over(self, job):
        return self.job_get(job, "State") in ("done", "failed", "cancelled")


our_ports = []  # sockets whose names say so, for as long as we live


def free_port():
    """A port that the kernel gives to no client, and we to no other test: also while nobody listens at it."""
    clients_from = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    for port in random.sample(range(10000, max(clients_from, 20000)), 1000):
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0mr-test-port-{port}")
            with socket.socket() as s:
                s.bind(("127.0.0.1", port))
        except OSError:
            name.close()
            continue
        our_ports.append(name)
        return port
    raise AssertionError("no port is free")
