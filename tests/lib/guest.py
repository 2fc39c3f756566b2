"""A machine with a clock of its own, and with a kernel to set it: QEMU without KVM, for tests.

    with guest.Guest(seconds_off=-3) as g:          # its RTC is 3 s behind
            g.boot()
            g.run("timedatectl")                    # a command in it, by bash
            g.offset()                              # how far its clock is ahead of ours, and the bound of that

What it is made of:

    image     Debian's systemd, dbus and libraries, unpacked by mmdebstrap and never configured; Debian's kernel and the
              modules for its disk, network and console. Made once, kept in BUILD_ROOT/guest.
    initrd    those modules, and this build's own programs, units and policies, which are copied over the image at each
              boot: a new build needs no new image.
    disk      a copy of the image; it lasts as long as the object, over boots.
    channel   a serial port of virtio, on whose other end bash runs what it is sent. It is how a command gets in, and
              how the truth about the clock gets out: neither goes by the network or the daemon under test.
    network   QEMU's own (slirp), of which only this host's loopback can be reached, as 10.0.2.2.
    clock     the HPET, which QEMU drives by this host's CLOCK_MONOTONIC: exact, so that an error of frequency is what
              the test made it. It is made by the kernel's tick (adjtimex), which timesyncd-lite never touches.

Nothing of the host is set or mounted. QEMU is ended by its pid, and all files are removed, at the end of the object.
"""

import base64
import hashlib
import inspect
import json
import lzma
import os
import pathlib
import select
import shutil
import socket
import subprocess
import tempfile
import time

from mr import Lock, call, why_not_there

BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", "build")).resolve()
CACHE = BUILD / "guest"

PACKAGES = sorted("""
    base-files base-passwd bash busybox-static coreutils dbus grep iproute2 kmod linux-image-amd64 mount sed systemd
    systemd-sysv systemd-timesyncd util-linux
    libevent-2.1-7 libevent-openssl-2.1-7 libglib2.0-0 libinih1 libjansson4 libnghttp2-14 libprotobuf-c1
    libsmartcols1 libsqlite3-0 libssl3 libxxhash0
""".split())
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "crc32c_generic", "ext4")
UNWANTED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/initramfs-tools",
            "usr/lib/modules", "boot", "var/cache", "var/lib/apt")
BOOT_SECONDS = 180  # a boot takes 7 s on an idle machine; many times that beside parallel builds
COMMAND_SECONDS = 120
DISK_MIB = 400

INIT = """#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
for m in $(busybox cat /modules/order); do busybox insmod /modules/$m; done
until [ -b /dev/vda ]; do busybox sleep 0.1; done
busybox ln -s rtc0 /dev/rtc
busybox mount -t ext4 /dev/vda /root || exec busybox sh
busybox cp -af /ours/. /root/
busybox umount /proc
exec busybox switch_root /root /lib/systemd/systemd
"""

# One line in, one line out. `now` is answered by bash itself: no program is started between question and clock.
AGENT = """#!/bin/bash
exec 3<>/dev/vport*p1
echo ready >&3
while IFS= read -r line <&3; do
        if [ "$line" = now ]; then
                echo "$EPOCHREALTIME" >&3
                continue
        fi
        out=$(base64 -d <<<"$line" | timeout -k 1 110 bash 2>&1; printf ' %d' "${PIPESTATUS[1]}")
        base64 -w 0 <<<"$out" >&3
        echo >&3
done
"""

UNITS = {
    "agent": """[Unit]
Description=The test's hand in this machine
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
[Service]
ExecStart=/bin/bash /agent
Environment=LC_ALL=C HOME=/root SYSTEMD_PAGER= NO_COLOR=1
StandardOutput=journal+console
""",
    "network": """[Unit]
Description=The test's network
DefaultDependencies=no
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/ip link set lo up
ExecStart=/bin/ip addr add 10.0.2.15/24 dev eth0
ExecStart=/bin/ip link set eth0 up
ExecStart=/bin/ip route add default via 10.0.2.2
""",
    # The error of the oscillator, before anything looks at the clock.
    "oscillator": """[Unit]
Description=The test's oscillator
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/busybox adjtimex -q -t {tick}
""",
}

# What a boot can do without. Emulated, each program that is started takes a third of a second.
GENERATORS = [f"systemd-{name}-generator" for name in (
    "bless-boot cryptsetup debug fstab getty gpt-auto hibernate-resume integritysetup rc-local run system-update sysv "
    "veritysetup").split()]
MASKED = """
    apt-daily-upgrade.timer apt-daily.timer dev-hugepages.mount dev-mqueue.mount dpkg-db-backup.timer e2scrub_all.timer
    e2scrub_reap.service fstrim.timer getty@tty1.service kmod-static-nodes.service modprobe@configfs.service
    modprobe@dm_mod.service modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service
    modprobe@loop.service proc-sys-fs-binfmt_misc.automount serial-getty@ttyS0.service sys-kernel-debug.mount
    sys-kernel-tracing.mount systemd-ask-password-console.path systemd-ask-password-wall.path systemd-binfmt.service
    systemd-boot-system-token.service systemd-journal-flush.service systemd-logind.service
    systemd-machine-id-commit.service systemd-modules-load.service systemd-network-generator.service
    systemd-pcrphase-sysinit.service systemd-pcrphase.service systemd-pstore.service systemd-random-seed.service
    systemd-remount-fs.service systemd-repart.service systemd-sysctl.service systemd-tmpfiles-clean.timer
    systemd-tmpfiles-setup-dev.service systemd-tmpfiles-setup.service systemd-udev-trigger.service
    systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udevd.service systemd-update-done.service
    systemd-update-utmp-runlevel.service systemd-update-utmp.service systemd-user-sessions.service
""".split()


def why_not():
    """Why a guest cannot run here, or None."""
    if os.environ.get("MR_QEMU") != "1":
        return "it boots an emulated machine twice and watches its clock, four minutes: MR_QEMU=1 runs it"
    if os.environ.get("MR_SANITIZED") == "1":
        return "the guest has no sanitizers' libraries"
    if os.uname().machine != "x86_64":
        return "the guest is for x86_64"
    return why_not_there("qemu-system-x86_64", "mmdebstrap", "mke2fs", "meson", "setpriv", "systemd-sysusers")


# ---- The image: kernel, modules, root.ext4 --------------------------------------------------------------------------


def image():
    """The directory of the image, made by the first who asks; another recipe is another image."""
    recipe = repr((PACKAGES, MODULES, UNWANTED, DISK_MIB)) + "".join(map(inspect.getsource, (make_image, keep_modules)))
    made = CACHE / f"image-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with Lock(CACHE, "image"):
        if not made.exists():
            for old in CACHE.glob("image-*"):
                shutil.rmtree(old)
            new = CACHE / "image-new"
            new.mkdir()
            make_image(new)
            os.rename(new, made)
    return made


def make_image(new):
    root = new / "root"
    # In a mount namespace of its own: interrupted, it leaves nothing mounted where rm -r goes. Packages are unpacked and
    # not configured, which takes a fifth of the time.
    call("unshare", "--mount", "--propagation=private", "--fork", "--kill-child",
         "mmdebstrap", "--variant=extract", "--include=" + ",".join(PACKAGES),
         "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "bookworm", root, timeout=900)
    (new / "vmlinux").write_bytes(unpack_kernel(next((root / "boot").glob("vmlinuz-*")).read_bytes()))
    keep_modules(root, new / "modules")
    shutil.copy(root / "usr/bin/busybox", new / "busybox")
    for path in UNWANTED:
        shutil.rmtree(root / path, ignore_errors=True)
    for name in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / f"etc/{name}")
    call("systemd-sysusers", f"--root={root}")
    for name in ("passwd", "group", "shadow", "gshadow"):
        shutil.copy(root / "etc" / name, new)
    call("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", root, new / "root.ext4", f"{DISK_MIB}M")
    shutil.rmtree(root)


def unpack_kernel(vmlinuz):
    """The ELF file in it, which QEMU starts by its PVH entry: emulated, unpacking would take longer than all of the boot."""
    return lzma.LZMADecompressor().decompress(vmlinuz[vmlinuz.index(b"\xfd7zXZ\0"):])


def keep_modules(root, out):
    """The modules for our devices, and `order`, in which each comes after what it needs."""
    paths = {p.name.removesuffix(".ko").replace("-", "_"): p for p in (root / "usr/lib/modules").rglob("*.ko")}
    order = []
    out.mkdir()

    def add(name):
        path = paths[name]
        depends = call("chroot", root, "modinfo", "-F", "depends", f"/{path.relative_to(root)}").strip()
        for needed in depends.split(",") if depends else []:
            add(needed.replace("-", "_"))
        if path.name not in order:
            order.append(path.name)
            shutil.copy(path, out)

    for name in MODULES:
        add(name)
    (out / "order").write_text("\n".join(order))


# ---- The initrd: modules, and what was built ------------------------------------------------------------------------


def write(root, path, text):
    path = root / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def link(root, path, target):
    path = root / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def write_cpio(tree, out):
    """The tree as an archive of the kind the kernel unpacks (newc), all of it root's. Source: cpio(5)."""
    number = 0

    def entry(name, mode, data):
        nonlocal number
        number += 1
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        for part in (b"070701" + b"".join(b"%08x" % f for f in fields) + name + b"\0", data):
            out.write(part + b"\0" * (-len(part) % 4))

    for path in sorted(tree.rglob("*")):
        name = bytes(path.relative_to(tree))
        if path.is_symlink():
            entry(name, 0o120777, os.fsencode(os.readlink(path)))
        elif path.is_dir():
            entry(name, 0o040755, b"")
        else:
            entry(name, 0o100000 | (path.stat().st_mode & 0o777), path.read_bytes())
    entry(b"TRAILER!!!", 0, b"")


def install_ours(ours):
    """What `meson install` would put on a machine, and where D-Bus looks for it; but for manuals, master and worker."""
    call("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", env=dict(os.environ, DESTDIR=str(ours)))
    local = ours / "usr/local"
    for unneeded in ("share/man", "share/doc", "include"):
        shutil.rmtree(local / unneeded, ignore_errors=True)
    for path in (local / "libexec/mapreduced").glob("mr-*"):
        path.unlink()
    # dbus-daemon has its policies below /usr and /etc only.
    shutil.copytree(local / "share/dbus-1/system.d", ours / "usr/share/dbus-1/system.d")


def settle(ours, tick):
    """What a boot needs and dpkg would have made, and the test's own units."""
    system = "etc/systemd/system"
    write(ours, "etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    write(ours, "etc/fstab", "")
    write(ours, "etc/hostname", "guest\n")
    write(ours, "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    write(ours, "etc/systemd/journald.conf", "[Journal]\nStorage=persistent\nRateLimitBurst=0\n")
    write(ours, "agent", AGENT)
    for name, text in UNITS.items():
        write(ours, f"{system}/guest-{name}.service", text.format(tick=tick))
        link(ours, f"{system}/sysinit.target.wants/guest-{name}.service", f"/{system}/guest-{name}.service")
    for name in MASKED:
        link(ours, f"{system}/{name}", "/dev/null")
    for name in GENERATORS:
        link(ours, f"etc/systemd/system-generators/{name}", "/dev/null")
    call("systemd-sysusers", f"--root={ours}")


# ---- A machine ------------------------------------------------------------------------------------------------------


class Guest:
    """@tick: microseconds its clock is moved on by 100 times a second; 10001 is 100 ppm fast."""

    def __init__(self, seconds_off=0, tick=10000, files=None, enable=None):
        self.image = image()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="mr-guest-"))
        self.qemu = self.channel = self.qmp = None
        self.seconds_off = seconds_off
        try:
            self.disk = self.dir / "disk"
            call("cp", "--sparse=always", self.image / "root.ext4", self.disk)
            self.make_initrd(tick, files or {}, enable or {})
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def make_initrd(self, tick, files, enable):
        """@files: path to text; @enable: units and the targets that want them."""
        tree = self.dir / "tree"
        ours = tree / "ours"
        for d in ("bin", "dev", "proc", "root", "ours/etc"):
            (tree / d).mkdir(parents=True)
        shutil.copytree(self.image / "modules", tree / "modules")
        shutil.copy(self.image / "busybox", tree / "bin")
        write(tree, "init", INIT)
        (tree / "init").chmod(0o755)
        for name in ("passwd", "group", "shadow", "gshadow"):
            shutil.copy(self.image / name, ours / "etc")
        install_ours(ours)
        settle(ours, tick)
        for path, text in files.items():
            write(ours, path.lstrip("/"), text)
        for name, target in enable.items():
            where = "/usr/local/lib/systemd/system" if (ours / "usr/local/lib/systemd/system" / name).exists() else "/lib/systemd/system"
            link(ours, f"etc/systemd/system/{target}.wants/{name}", f"{where}/{name}")
        with open(self.dir / "initrd", "wb") as out:
            write_cpio(tree, out)
        shutil.rmtree(tree)

    # ---- power ----

    def boot(self, seconds_off=None):
        """Returns when its bash answers, which is early: its services are still being started."""
        assert not self.qemu
        if seconds_off is not None:
            self.seconds_off = seconds_off
        rtc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + self.seconds_off))
        self.channel, port = socket.socketpair()
        self.qmp, monitor = socket.socketpair()
        command = [
            # QEMU has no business with this machine's clock, and no right to it.
            "setpriv", "--bounding-set=-sys_time", "--inh-caps=-sys_time", "--",
            "qemu-system-x86_64", "-accel", "tcg", "-cpu", "qemu64", "-machine", "pc,hpet=on", "-smp", "1", "-m", "384",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-rtc", f"base={rtc},clock=host",
            "-kernel", self.image / "vmlinux", "-initrd", self.dir / "initrd", "-append",
            "console=ttyS0 clocksource=hpet tsc=unstable mitigations=off nokaslr net.ifnames=0 "
            "systemd.log_level=notice quiet audit=0 systemd.condition-needs-update=no",
            "-drive", f"file={self.disk},format=raw,if=virtio,cache=unsafe",
            "-nic", "user,model=virtio-net-pci,ipv6=off",
            "-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,fd={port.fileno()}",
            "-device", "virtserialport,chardev=agent,name=agent,nr=1",
            "-chardev", f"socket,id=qmp,fd={monitor.fileno()}", "-mon", "chardev=qmp,mode=control",
            "-serial", f"file:{self.dir}/console",
        ]
        with open(self.dir / "qemu.log", "ab") as log:
            self.qemu = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         pass_fds=(port.fileno(), monitor.fileno()), start_new_session=True)
        port.close()
        monitor.close()
        self.pending = b""
        assert self.line(BOOT_SECONDS) == b"ready"
        self.hear_qmp("QMP")
        self.tell_qmp("qmp_capabilities")
        return self

    def off(self):
        """Power off, this instant; the disk stays."""
        if self.qemu:
            if self.qemu.poll() is None:
                self.qemu.kill()
            self.qemu.wait(30)
        for s in (self.channel, self.qmp):
            if s:
                s.close()
        self.qemu = self.channel = self.qmp = None

    def close(self):
        self.off()
        shutil.rmtree(self.dir, ignore_errors=True)

    def console(self):
        path = self.dir / "console"
        return (path.read_text(errors="replace") if path.exists() else "") + (self.dir / "qemu.log").read_text()

    # ---- QEMU's monitor ----

    def hear_qmp(self, key, seconds=30):
        """The next message that has @key."""
        self.qmp.settimeout(seconds)
        while True:
            text = b""
            while not text.endswith(b"\n"):
                text += self.qmp.recv(1)
            message = json.loads(text)
            if key in message or "error" in message:
                return message

    def tell_qmp(self, command, **arguments):
        self.qmp.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        answer = self.hear_qmp("return")
        assert "error" not in answer, answer
        return answer["return"]

    # ---- the channel ----

    def line(self, seconds):
        end = time.monotonic() + seconds
        while b"\n" not in self.pending:
            left = end - time.monotonic()
            if left <= 0 or self.qemu.poll() is not None:
                raise AssertionError(f"the guest does not answer: {self.console()[-3000:]}")
            if select.select([self.channel], [], [], min(left, 1))[0]:
                self.pending += self.channel.recv(65536)
        line, self.pending = self.pending.split(b"\n", 1)
        return line

    def run(self, script, check=True, seconds=COMMAND_SECONDS):
        """What the script printed, both outputs, and its exit status beside it where it is not checked."""
        self.channel.sendall(base64.b64encode(script.encode()) + b"\n")
        out, _, code = base64.b64decode(self.line(seconds)).decode(errors="replace").rstrip("\n").rpartition(" ")
        if not check:
            return out, int(code)
        if code != "0":
            raise AssertionError(f"in the guest, {script}: {code}: {out[-3000:]}")
        return out.rstrip("\n")

    def wait(self, what, predicate, seconds=60):
        end = time.monotonic() + seconds
        while True:
            value = predicate()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds} s for {what}; {self.run('journalctl --no-pager -n 40', check=False)[0]}")
            time.sleep(0.2)

    def offset(self, tries=20):
        """Seconds its clock is ahead of ours, and the bound of that: of some questions, the one answered soonest."""
        best = None
        for _ in range(tries):
            t1 = time.time()
            self.channel.sendall(b"now\n")
            theirs = float(self.line(COMMAND_SECONDS))
            t4 = time.time()
            sample = ((t4 - t1) / 2 + 2e-6, theirs - (t1 + t4) / 2)  # bash rounds to microseconds, a float to half of one
            if best is None or sample < best:
                best = sample
        return best[1], best[0]
