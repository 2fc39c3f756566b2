"""Hosts with a real systemd, on a network of their own: containers by systemd-nspawn, for tests.

    with container.Cluster() as cluster:            # a bridge in a network namespace
            host = cluster.add("master")            # a root by overlayfs, an address, a veth pair
            host.boot()
            host.run("systemctl", "start", "mr-masterd")

A root is made once with mmdebstrap and kept in the build directory (BUILD_ROOT/containers); what is to be tested is
installed once on top of it; each host writes in a layer of its own. Each container has cgroups of its own, for two
instances of systemd in one cgroup would end each other's processes.

What is tested is either the packages, which are built for it (minutes), or what `meson install` puts in place, with what
their scripts do done by hand (seconds). MR_CONTAINERS=1 says that the time for the former is there.

    network   10.99.0.0/24, only in the namespaces made here; nothing leaves them
    cut()     takes the host's link down without a word, as a pulled cable does
    kill()    ends the host at once, as a power cut does; boot() starts it again on the disk as it was
    reboot()  shuts down in order, and boots again

While developing, MR_DEBS=DIRECTORY takes packages from there as they are.

Everything made is removed at the end, each by the name or id that was kept. No more than MAX_HOSTS at a time.
"""

import atexit
import functools
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from mr import Lock, call, why_not_there

BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", "build")).resolve()
SOURCE = pathlib.Path(os.environ.get("SOURCE_ROOT", pathlib.Path(__file__).resolve().parents[2]))
CACHE = BUILD / "containers"
DEBS = pathlib.Path(os.environ.get("MR_DEBS", CACHE / "deb")).resolve()

MAX_HOSTS = 16
NO_MIRROR = re.compile("Could not resolve|Failed to fetch|Could not connect|Unable to connect")
BASE_PACKAGES = sorted("""
    dbus iproute2 netcat-openbsd openssl polkitd procps python3-minimal systemd systemd-sysv util-linux
    libarchive13 libevent-2.1-7 libevent-openssl-2.1-7 libglib2.0-0 libinih1 libjansson4 libnghttp2-14 libprotobuf-c1
    libsmartcols1 libsqlite3-0 libssl3 libxxhash0 libcurl4 liblz4-1 libzstd1 libbz2-1.0 zlib1g
""".split())
# In this order dpkg needs no second look.
PACKAGES = ["mapreduced-common", "mr-master", "mr-worker", "timesyncd-lite", "mrctl"]
CGROUPS = [p for p in map(pathlib.Path, ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"))
           if (p / "cgroup.procs").exists()] or [pathlib.Path("/sys/fs/cgroup")]


def why_not(packages):
    """Why containers cannot run here, or None. @packages: those that need the packages."""
    if packages and os.environ.get("MR_CONTAINERS") != "1":
        return "it builds the packages, which takes minutes: MR_CONTAINERS=1 runs it"
    reason = why_not_there("systemd-nspawn", "mmdebstrap", "ip", "nsenter", *(("dpkg-buildpackage", "dh") if packages else ()),
                           namespaces=("--mount", "--net", "--pid", "--fork"))
    if reason:
        return reason
    if "overlay" not in pathlib.Path("/proc/filesystems").read_text():
        return "this kernel has no overlayfs"
    if any(not os.access(p, os.W_OK) for p in CGROUPS):
        return "cgroups cannot be made here"
    return None


def base_root():
    """Debian 12 with systemd and the libraries we use, made once."""
    name = hashlib.sha256(" ".join(BASE_PACKAGES).encode()).hexdigest()[:12]
    root = CACHE / f"base-{name}"
    with Lock(CACHE, "base"):
        if not root.exists():
            new = CACHE / f"base-{name}.new"
            shutil.rmtree(new, ignore_errors=True)
            # What dpkg writes need not survive a power cut: the root is renamed into place when it is whole.
            # In a mount namespace of its own: interrupted, it must not leave /proc and /sys mounted where rm -r goes.
            try:
                call("unshare", "--mount", "--propagation=private", "--fork", "--kill-child",
                     "mmdebstrap", "--variant=minbase", "--dpkgopt=force-unsafe-io", "--include=" + ",".join(BASE_PACKAGES),
                     "--essential-hook=mkdir -p $1/etc/dpkg/dpkg.cfg.d",
                     "bookworm", new, timeout=900)
            except AssertionError as e:
                if NO_MIRROR.search(str(e)):
                    raise unittest.SkipTest("Debian's packages cannot be fetched from here") from None
                raise
            (new / "etc/machine-id").write_text("")
            (new / "etc/resolv.conf").unlink(missing_ok=True)
            os.rename(new, root)
    return root


def build_debs():
    """The packages of this tree as paths, built when a source is newer than they are."""
    if "MR_DEBS" in os.environ:
        return sorted(DEBS.glob("*.deb"))
    with Lock(CACHE, "deb"):
        debs, stamp = sorted(DEBS.glob("*.deb")), DEBS / "begun"
        if not debs or not stamp.exists() or newest_source() > stamp.stat().st_mtime:
            DEBS.mkdir(parents=True, exist_ok=True)
            stamp.touch()  # a source that changes while they are built is newer than they are
            env = dict(os.environ, DEB_BUILD_OPTIONS=f"nocheck noautodbgsym parallel={os.cpu_count()}")
            call(SOURCE / "packaging/build-deb", DEBS, env=env, timeout=1200)
            debs = sorted(DEBS.glob("*.deb"))
    return debs


def newest_source():
    """When something that goes into a package was last changed."""
    newest = 0
    for top in ("daemons", "cli", "dbus", "units", "man", "packaging", "examples", "include", "meson.build"):
        for path in [SOURCE / top, *(SOURCE / top).rglob("*")]:
            if path.exists():
                newest = max(newest, path.lstat().st_mtime)
    return newest


def mount_overlay(lower, upper, work, where):
    for p in (upper, work, where):
        p.mkdir(parents=True, exist_ok=True)
    call("mount", "-t", "overlay", "overlay", "-o",
         f"lowerdir={':'.join(map(str, lower))},upperdir={upper},workdir={work}", where)


def installed_layer(wanted, base):
    """A layer over the base in which the packages are installed, made once for each set of packages."""
    digest = hashlib.sha256()
    for d in wanted:
        digest.update(d.read_bytes())
    layer = CACHE / f"{base.name}-{digest.hexdigest()[:12]}"
    with Lock(CACHE, "layer"):
        if not layer.exists():
            for old in CACHE.glob("base-*-*"):
                if not in_use(old):
                    shutil.rmtree(old, ignore_errors=True)
            new, work, root = (CACHE / f"layer.{x}" for x in ("new", "work", "root"))
            for p in (new, work):
                shutil.rmtree(p, ignore_errors=True)
            mount_overlay([base], new, work, root)
            try:
                for d in wanted:
                    shutil.copy(d, root / "tmp")
                call("chroot", root, "dpkg", "--force-unsafe-io", "-i", *[f"/tmp/{d.name}" for d in wanted],
                     env=dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C"))
                for d in wanted:
                    (root / "tmp" / d.name).unlink()
            finally:
                call("umount", root)
                root.rmdir()
            shutil.rmtree(work, ignore_errors=True)
            os.rename(new, layer)
    return layer


# Where `meson install` puts things with the prefix /usr/local, and where Debian has them.
PLACES = {"usr/local/etc": "etc", "usr/local": "usr"}


def place_build(root):
    """What the build directory installs, and what the packages' scripts would do, in a mounted root."""
    with tempfile.TemporaryDirectory(dir=CACHE) as dest:
        call("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", dest)
        for path in sorted(pathlib.Path(dest).rglob("*")):
            name = str(path.relative_to(dest))
            inside = next((f"{there}{name[len(here):]}" for here, there in PLACES.items() if name.startswith(f"{here}/")), None)
            if not inside or path.is_dir():
                continue
            (root / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, root / inside, follow_symlinks=False)
            if path.suffix in (".service", ".socket"):
                (root / inside).write_text(path.read_text().replace("/usr/local/", "/usr/"))
    for name in ("etc", "libexec"):  # where programs of that prefix look
        (root / "usr/local" / name).mkdir(parents=True, exist_ok=True)
    os.symlink("/etc/mapreduced", root / "usr/local/etc/mapreduced")
    os.symlink("/usr/libexec/mapreduced", root / "usr/local/libexec/mapreduced")
    call("systemd-sysusers", f"--root={root}", root / "usr/lib/sysusers.d/mapreduced.conf")
    call("journalctl", f"--root={root}", "--update-catalog")
    call("systemctl", f"--root={root}", "enable", "mr-task.socket")


@functools.cache
def built_layer(base):
    """A layer over the base with what was built, made anew for each program that runs tests with it, and removed at its end."""
    layer, work, root = (pathlib.Path(tempfile.mkdtemp(prefix=f"built-{x}-", dir=CACHE)) for x in ("layer", "work", "root"))
    mount_overlay([base], layer, work, root)
    try:
        place_build(root)
    finally:
        call("umount", root)
        root.rmdir()
        shutil.rmtree(work, ignore_errors=True)
    atexit.register(shutil.rmtree, layer, ignore_errors=True)  # before the first cluster's, so it is called after that
    return layer


def in_use(layer):
    return f"{layer}" in pathlib.Path("/proc/self/mounts").read_text()


def kill_members(cgroup):
    try:
        pids = [int(pid) for pid in pathlib.Path(cgroup, "cgroup.procs").read_text().split()]
    except OSError:
        return
    for pid in pids:
        if pid > 1:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def interrupt(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


class Cluster:
    """A network of hosts. @what: "packages", "build" (what is built, as it is), or None: as a fresh Debian is."""

    def __init__(self, what="packages"):
        base = base_root()
        self.lower = [base]
        if what == "build":
            self.lower.insert(0, built_layer(base))
        elif what:
            debs = build_debs()
            self.wanted = [d for name in PACKAGES for d in debs if d.name.startswith(f"{name}_")]
            self.lower.insert(0, installed_layer(self.wanted, base))
        # Whoever ends a test by SIGTERM, as a time limit does, must not leave hosts that run.
        signal.signal(signal.SIGTERM, interrupt)
        atexit.register(self.close)
        self.hosts = []
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="mr-hosts-"))
        self.tag = f"mr{os.getpid() % 100000}{os.urandom(1).hex()}"
        self.lan = f"{self.tag}-lan"
        try:
            call("ip", "netns", "add", self.lan)
            call("ip", "-n", self.lan, "link", "add", "lan", "type", "bridge")
            call("ip", "-n", self.lan, "addr", "add", "10.99.0.254/24", "dev", "lan")
            for link in ("lan", "lo"):
                call("ip", "-n", self.lan, "link", "set", link, "up")
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def add(self, name):
        assert len(self.hosts) < MAX_HOSTS
        host = Host(self, name, len(self.hosts) + 1)
        self.hosts.append(host)
        host.make()
        for h in self.hosts:  # everybody knows everybody
            h.write_hosts()
        return host

    def outside(self, *args, **kwargs):
        """A command in the network, but on none of the hosts: where an intruder sits."""
        return subprocess.run(["ip", "netns", "exec", self.lan, *map(str, args)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              timeout=kwargs.pop("timeout", 60), **kwargs)

    def share(self, path):
        """A directory that all hosts see at @path, as a mounted file system is. Before they boot."""
        ours = self.dir / "shared" / path.strip("/").replace("/", "-")
        ours.mkdir(parents=True, exist_ok=True)
        for h in self.hosts:
            h.binds.append(f"{ours}:{path}")
        return ours

    def close(self):
        atexit.unregister(self.close)
        for host in reversed(self.hosts):
            host.remove()
        self.hosts = []
        subprocess.run(["ip", "netns", "del", self.lan], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)


class Host:
    def __init__(self, cluster, name, number):
        self.cluster, self.name, self.number = cluster, name, number
        self.address = f"10.99.0.{number}"
        self.netns = f"{cluster.tag}-{number}"
        self.link = f"v{number}"
        self.dir = cluster.dir / name
        self.root = self.dir / "root"
        self.binds = []
        self.nspawn = None
        self.pid = 0  # of its init
        self.cgroups = [c / self.netns for c in CGROUPS]

    # ---- what it is made of ----

    def make(self):
        self.make_link()
        mount_overlay(self.cluster.lower, self.dir / "disk", self.dir / "work", self.root)
        (self.root / "etc/hostname").write_text(f"{self.name}\n")
        machine = hashlib.sha256(f"{self.dir}".encode()).hexdigest()[:32]
        (self.root / "etc/machine-id").write_text(f"{machine}\n")

    def make_link(self):
        lan, peer = self.cluster.lan, f"p{self.number}"
        call("ip", "netns", "add", self.netns)
        call("ip", "-n", lan, "link", "add", self.link, "type", "veth", "peer", "name", peer, "netns", self.netns)
        call("ip", "-n", lan, "link", "set", self.link, "master", "lan", "up")
        call("ip", "-n", self.netns, "link", "set", peer, "name", "host0")
        call("ip", "-n", self.netns, "addr", "add", f"{self.address}/24", "dev", "host0")
        for link in ("host0", "lo"):
            call("ip", "-n", self.netns, "link", "set", link, "up")

    def write_hosts(self):
        rows = ["127.0.0.1 localhost", *(f"{h.address} {h.name}" for h in self.cluster.hosts)]
        self.write("/etc/hosts", "\n".join(rows) + "\n")

    def path(self, inside):
        return self.root / str(inside).lstrip("/")

    def write(self, inside, text, mode=0o644):
        """A file on its disk, also while it is off."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        os.chmod(path, mode)

    def remove(self):
        self.kill()
        subprocess.run(["umount", self.root], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "netns", "del", self.netns], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- power ----

    def boot(self, wait=True, timeout=60):
        assert not self.nspawn
        for c in self.cgroups:
            c.mkdir(exist_ok=True)

        def join():
            for c in self.cgroups:
                (c / "cgroup.procs").write_text(str(os.getpid()))

        env = dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1", SYSTEMD_LOG_LEVEL="err")
        with open(self.dir / "console", "ab") as console:
            self.nspawn = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", f"--machine={self.netns}",
                 f"--hostname={self.name}", f"--directory={self.root}", "--console=pipe", "--link-journal=no",
                 # To read the clock's state; nobody in there has CAP_SYS_TIME, which setting it would need.
                 "--system-call-filter=adjtimex clock_adjtime",
                 "--resolv-conf=off", "--timezone=off", f"--network-namespace-path=/run/netns/{self.netns}",
                 *[f"--bind={b}" for b in self.binds]],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=env, preexec_fn=join,
                start_new_session=True)
        self.pid = self.wait_until("its init", self.find_init, timeout)
        if wait:
            self.wait_booted(timeout)
        return self

    def find_init(self):
        """The descendant of systemd-nspawn that is process 1 of its own namespace."""
        if self.nspawn.poll() is not None:
            raise AssertionError(f"{self.name} did not boot: {self.console()[-2000:]}")
        todo = [self.nspawn.pid]
        while todo:
            pid = todo.pop()
            try:
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                todo += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except OSError:
                continue
            ids = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(ids) > 1 and ids[-1] == "1" and "\nName:\tsystemd\n" in f"\n{status}":
                return pid
        return 0

    def wait_booted(self, timeout=60):
        def state():
            p = self.run("systemctl", "is-system-running", check=False)
            return p.stdout.strip() in ("running", "degraded") and p.stdout.strip()

        return self.wait_until("it to boot", state, timeout)

    def wait_until(self, what, predicate, seconds=30):
        """Asks seldomer as time goes on: each question is some processes, which what is waited for must share the processor with."""
        end, pause = time.monotonic() + seconds, 0.05
        while True:
            value = predicate()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"{self.name}: waited {seconds} s for {what}")
            time.sleep(pause)
            pause = min(pause * 1.25, 0.4)

    def console(self):
        return (self.dir / "console").read_text(errors="replace")

    def kill(self):
        """Power off, this instant: nothing is written any more."""
        if not self.nspawn:
            self.gone()
            return
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            self.nspawn.wait(10)
        except subprocess.TimeoutExpired:
            self.nspawn.kill()
            self.nspawn.wait(10)
        self.gone()

    def shutdown(self, timeout=60):
        """As `poweroff` does: every unit is stopped in its order."""
        os.kill(self.pid, signal.SIGRTMIN + 4)
        self.nspawn.wait(timeout)
        self.gone()

    def reboot(self, timeout=60):
        self.shutdown(timeout)
        return self.boot(timeout=timeout)

    def gone(self):
        self.nspawn, self.pid = None, 0
        for c in self.cgroups:
            for path, _, _ in os.walk(c, topdown=False):
                kill_members(path)  # of one that was interrupted while it began
                try:
                    os.rmdir(path)
                except OSError:
                    pass

    # ---- the cable ----

    def cut(self):
        """No packet goes in or out, and nobody is told."""
        call("ip", "-n", self.cluster.lan, "link", "set", self.link, "down")

    def mend(self):
        call("ip", "-n", self.cluster.lan, "link", "set", self.link, "up")

    # ---- commands ----

    def argv(self, *args, user=None):
        who = ["runuser", "-u", user, "--"] if user else []
        return ["nsenter", "-t", str(self.pid), "-a", "--", "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME=/root", "LC_ALL=C.UTF-8", "NO_COLOR=1", *who, *map(str, args)]

    def run(self, *args, user=None, check=True, timeout=60, **kwargs):
        """A command on this host, its standard error in its output."""
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        kwargs.setdefault("stderr", subprocess.STDOUT)
        p = subprocess.run(self.argv(*args, user=user), stdout=subprocess.PIPE, text=True, errors="replace",
                           check=False, timeout=timeout, **kwargs)
        if check and p.returncode != 0:
            raise AssertionError(f"{self.name}: {shlex.join(map(str, args))}: {p.returncode}: {p.stdout[-2000:]}{p.stderr or ''}")
        return p

    def output(self, *args, **kwargs):
        return self.run(*args, stderr=subprocess.PIPE, **kwargs).stdout

    def shell(self, script, **kwargs):
        return self.run("bash", "-c", script, **kwargs)

    def start(self, *args, user=None, **kwargs):
        """A command that goes on beside the test."""
        return subprocess.Popen(self.argv(*args, user=user), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, **kwargs)

    def show(self, unit, prop):
        return self.run("systemctl", "show", "-P", prop, unit).stdout.strip()

    def up(self, unit):
        """Enables and starts a unit, and says why where that fails."""
        if self.run("systemctl", "enable", "-q", "--now", unit, check=False).returncode != 0:
            raise AssertionError(self.run("systemctl", "status", "-n", "0", unit, check=False).stdout + self.journal("-n", "20"))

    def journal(self, *matches):
        return self.run("journalctl", "--no-pager", "-q", "-o", "cat", *matches, check=False).stdout
