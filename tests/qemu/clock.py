"""timesyncd-lite with a real clock to keep: a guest in QEMU, whose kernel it sets, and a server on this host.

The guest starts 3 s wrong and with an oscillator 200 ppm fast, by its kernel's tick. So what the daemon must find is known:
-200 ppm, and this host's time. The truth about the guest's clock comes over a serial line, with a bound of its own.

The cases are one story and run in their order; the guest is booted twice. This host's clock is nobody's to set: the
server is in the role of a server, and neither it nor QEMU has CAP_SYS_TIME. The last case looks.
"""

import calendar
import ctypes
import functools
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "time"))
import guest  # noqa: E402
import mr  # noqa: E402
import tap  # noqa: E402
import timed  # noqa: E402

WHY_NOT = guest.why_not()
SECONDS_OFF = -3
TICK = 10002                            # microseconds, 100 times a second
OSCILLATOR_PPM = (TICK - 10000) * 100
FREQUENCY_BOUND_PPM = 20                # of what half a minute of exchanges through an emulated network card tells
OFFSET_BOUND = 0.005                    # seconds; the same network's jitter is one
RATE_MAX_PPM = 1000                     # oscillator and slew, each with the other's sign, stay below it; a step does not
STEP_AT_START = 0.02
UNSYNC, INS = 0x40, 0x10                # STA_ of <linux/timex.h>
CAP_SYS_TIME = 1 << 25

CONF = """[Time]
Server=10.0.2.2:{port}
AllowPlaintext=yes
PollIntervalMin=2s
PollIntervalMax=2s
SaveInterval=10s
"""


class Timex(ctypes.Structure):
    """struct timex, as far as we read it: adjtimex(2)."""
    _fields_ = [("modes", ctypes.c_uint), *[(n, ctypes.c_long) for n in ("offset", "freq", "maxerror", "esterror")],
                ("status", ctypes.c_int), *[(n, ctypes.c_long) for n in ("constant", "precision", "tolerance", "sec", "usec",
                                                                         "tick")], ("rest", ctypes.c_char * 256)]


def host_clock():
    """What setting this host's clock would change: kernel's offset, frequency, tick; and real time less monotonic, in s."""
    tx = Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(tx)) < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")
    gap = min((time.monotonic_ns() - m, r - m) for m, r in ((time.monotonic_ns(), time.time_ns()) for _ in range(50)))
    return (tx.offset, tx.freq, tx.tick), gap[1] / 1e9


class Scene:
    """The guest, the server and what they have in common, made when the first case asks."""

    def __init__(self):
        self.host = host_clock()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="mr-clock-"))
        self.port = mr.free_port()
        self.server = self.fake = None
        self.guest = guest.Guest(SECONDS_OFF, TICK,
                                 files={"/usr/local/etc/mapreduced/timesyncd-lite.conf": CONF.format(port=self.port)},
                                 enable={"timesyncd-lite.service": "multi-user.target",
                                         "systemd-time-wait-sync.service": "sysinit.target"})

    def start_server(self):
        conf = self.dir / "server.conf"
        conf.write_text("[Server]\nLocalStratum=1\n")
        self.server = mr.Daemon(
            ["setpriv", "--bounding-set=-sys_time", "--inh-caps=-sys_time", "--", timed.DAEMON, "--role=server",
             f"--config={conf}", f"--listen=127.0.0.1:{self.port}", f"--state-dir={self.dir}/state", "--bus=none"],
            str(self.dir / "server.log"), dict(os.environ))
        mr.wait_for("the server", lambda: "Telling the time on " in self.server.text())

    def stop_server(self):
        if self.server:
            self.server.kill()
        self.server = None

    def close(self):
        self.guest.close()
        self.stop_server()
        if self.fake:
            self.fake.stop(None)
        shutil.rmtree(self.dir, ignore_errors=True)


@functools.cache
def scene():
    return Scene()


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Clock(unittest.TestCase):
    def setUp(self):
        self.scene = scene()
        self.guest = self.scene.guest
        if not self.guest.qemu:
            self.guest.boot()

    # ---- what the guest says ----

    def kernel(self):
        """Its kernel's view: frequency in ppm, maximum and estimated error in s, status bits."""
        text = self.guest.run("busybox adjtimex")

        def number(name):
            return int(re.search(rf"{name}:\s+(-?\d+)", text).group(1))
        return {"ppm": number("freq.adjust") / 65536, "maxerror": number("maxerror") / 1e6,
                "esterror": number("esterror") / 1e6, "status": number("status"), "tick": number("tick")}

    def is_synchronised(self):
        return self.guest.run("timedatectl show -p NTPSynchronized --value", check=False)[0].strip() == "yes"

    def wait_synchronised(self):
        self.guest.wait("it to be synchronised", self.is_synchronised, 90)

    def journal(self, since=""):
        return self.guest.run(f"journalctl --no-pager -q -o cat -b -u timesyncd-lite {since}")

    def steps(self):
        """By how many seconds the daemon stepped the clock, one for each time, since this boot."""
        units = {"us": 1e-6, "ms": 1e-3, "s": 1}
        return [float(n) * units[u] for n, u in re.findall(r"Stepped the clock by (-?[\d.]+)(us|ms|s)\b", self.journal())]

    def learnt(self):
        """The drift file: ppm, and the error of that."""
        return tuple(map(float, self.guest.run("cat /var/lib/timesyncd-lite/drift").split()[:2]))

    def frequency(self):
        """What the daemon has learnt by now, in ppm; what it slews by comes on top."""
        return json.loads(self.guest.run("mrctl --json=short time status"))["Frequency"]

    def restart(self):
        """Also after many another: that is what is tested, not the limit of the service manager."""
        self.guest.run("systemctl reset-failed timesyncd-lite; systemctl restart timesyncd-lite")

    def assertNear(self, bound=OFFSET_BOUND):
        offset, unsure = self.guest.offset()
        self.assertLess(abs(offset), bound + unsure)

    def watch(self, seconds):
        """The clock moves on as a clock that is slewed does, and the error that the kernel claims holds the true one."""
        last, end, most = None, time.monotonic() + seconds, 0
        while time.monotonic() < end:
            before = self.kernel()["maxerror"]
            at = time.monotonic()
            offset, unsure = self.guest.offset()
            after = self.kernel()["maxerror"]
            self.assertLessEqual(abs(offset), max(before, after) + unsure)
            if last:
                self.assertLess(abs(offset - last[1]), RATE_MAX_PPM * 1e-6 * (at - last[0] + 1) + unsure + last[2])
            last, most = (at, offset, unsure), max(most, abs(offset))
        return most

    # ---- the story ----

    def test_01_without_a_server(self):
        """3 s off and no server: said to be unsynchronised, and time-sync.target is waited for"""
        g = self.guest
        g.wait("the daemon", lambda: g.run("systemctl is-active timesyncd-lite", check=False)[0].strip() == "active")
        offset, _ = g.offset()
        self.assertTrue(-6 < offset < -2, offset)  # the RTC has whole seconds, and QEMU took some to start
        kernel = self.kernel()
        self.assertTrue(kernel["status"] & UNSYNC)
        self.assertEqual(kernel["tick"], TICK)
        shown = g.run("timedatectl")
        self.assertIn("System clock synchronized: no", shown)
        self.assertIn("NTP service: active", shown)
        self.assertEqual(g.run("systemctl is-active systemd-time-wait-sync", check=False)[0].strip(), "activating")
        self.assertEqual(g.run("systemctl is-active time-sync.target", check=False)[0].strip(), "inactive")

    def test_02_steps_once_then_slews(self):
        """the server appears: stepped once, slewed after, within 5 ms; the stated bound holds all the while"""
        before, _ = self.guest.offset()
        self.scene.start_server()
        self.wait_synchronised()
        self.watch(25)
        self.assertNear()
        steps = self.steps()
        self.assertEqual(len(steps), 1, steps)
        self.assertAlmostEqual(steps[0], -before, delta=STEP_AT_START)

    def test_03_time_sync_target(self):
        """systemd-time-wait-sync is content, and time-sync.target reached"""
        g = self.guest
        g.wait("time-sync.target", lambda: g.run("systemctl is-active time-sync.target", check=False)[0].strip() == "active")
        self.assertEqual(g.run("systemctl show -P Result systemd-time-wait-sync"), "success")
        g.wait("the end of the boot", lambda: g.run("systemctl is-system-running", check=False)[0].strip() == "running")

    def test_04_timedatectl(self):
        """timedatectl, timesync-status and show-timesync tell of it"""
        g = self.guest
        shown = g.run("timedatectl")
        self.assertIn("System clock synchronized: yes", shown)
        self.assertIn("NTP service: active", shown)
        status = g.run("timedatectl timesync-status")
        for pattern in (rf"Server: 10\.0\.2\.2 \(10\.0\.2\.2:{self.scene.port}\)", r"Poll interval: 2s", r"Leap: normal",
                        r"Stratum: 1\b", r"Offset: [+-][\d.]+(us|ms)", r"Delay: [\d.]+(us|ms)", r"Frequency: [+-]\d+\.\d+ppm"):
            self.assertRegex(status, pattern)
        self.assertIn(f"ServerName=10.0.2.2:{self.scene.port}", g.run("timedatectl show-timesync"))

    def test_05_the_kernel_knows(self):
        """the kernel: synchronised, errors set, the oscillator's -200 ppm found; it takes the RTC along"""
        kernel = self.kernel()
        self.assertFalse(kernel["status"] & UNSYNC)
        self.assertTrue(0 < kernel["esterror"] < kernel["maxerror"] < 1, kernel)
        self.guest.wait("the frequency to be learnt and saved",  # every 10 s
                        lambda: abs(self.learnt()[0] + OSCILLATOR_PPM) < FREQUENCY_BOUND_PPM > self.learnt()[1])

        # The 11-minute mode writes the RTC, 3 s wrong until then, soon after STA_UNSYNC goes. It has whole seconds.
        def rtc_off():
            return int(self.guest.run("cat /sys/class/rtc/rtc0/since_epoch")) - time.time()
        self.guest.wait("the RTC to be set", lambda: -1.5 < rtc_off() < 0.5)

    def test_06_restart_keeps_the_drift(self):
        """a restart: the drift is read, the frequency does not jump, and nothing is stepped"""
        self.guest.run("systemctl stop timesyncd-lite")
        ppm, error_ppm = self.learnt()
        self.assertAlmostEqual(self.kernel()["ppm"], ppm, delta=0.01)  # what is learnt stays, without the slew
        self.assertAlmostEqual(ppm, -OSCILLATOR_PPM, delta=FREQUENCY_BOUND_PPM)
        steps = self.steps()
        self.restart()
        self.assertRegex(self.journal("| grep 'frequency was' | tail -n 1"),
                         rf"The clock's frequency was {ppm:+.3f} ± {error_ppm:.3f} ppm".replace("+", r"\+"))
        self.wait_synchronised()
        most = max(abs(self.frequency() - ppm) for _ in range(5))
        self.assertLess(most, FREQUENCY_BOUND_PPM)
        self.watch(6)
        self.assertEqual(self.steps(), steps)
        self.assertNear()

    def test_07_server_dies(self):
        """the server dies: the clock goes on at the learnt frequency, and its error is said to grow"""
        g = self.guest
        self.scene.stop_server()
        # What was slewed is done within a quarter of a poll.
        g.wait("it to be said", lambda: "No server to follow" in g.run("systemctl show -P StatusText timesyncd-lite"), 90)
        first, offset = self.kernel(), g.offset()
        started = time.monotonic()
        time.sleep(10)
        after = time.monotonic() - started
        second, later = self.kernel(), g.offset()
        self.assertAlmostEqual(second["ppm"], -OSCILLATOR_PPM, delta=FREQUENCY_BOUND_PPM)
        self.assertAlmostEqual(second["ppm"], first["ppm"], delta=0.01)
        self.assertGreater(second["maxerror"], first["maxerror"])
        self.assertFalse(second["status"] & UNSYNC)
        self.assertLess(abs(later[0] - offset[0]), FREQUENCY_BOUND_PPM * 1e-6 * after + later[1] + offset[1])
        g.run("systemctl kill -s KILL timesyncd-lite")  # not even the daemon's death changes it
        self.assertAlmostEqual(self.kernel()["ppm"], -OSCILLATOR_PPM, delta=FREQUENCY_BOUND_PPM)
        self.assertNear(0.02)

    def test_08_set_ntp(self):
        """timedatectl set-ntp stops, disables, enables and starts our unit"""
        g, steps = self.guest, self.steps()
        self.scene.start_server()
        g.run("timedatectl set-ntp false")
        g.wait("it to stop", lambda: g.run("systemctl is-active timesyncd-lite", check=False)[0].strip() == "inactive")
        self.assertIn("NTP service: inactive", g.run("timedatectl"))
        self.assertEqual(g.run("systemctl is-enabled timesyncd-lite", check=False)[0].strip(), "disabled")
        g.run("timedatectl set-ntp true")
        g.wait("it to start", lambda: g.run("systemctl is-active timesyncd-lite", check=False)[0].strip() == "active")
        self.assertIn("NTP service: active", g.run("timedatectl"))
        self.assertEqual(g.run("systemctl is-enabled timesyncd-lite"), "enabled")
        self.wait_synchronised()
        self.assertEqual(self.steps(), steps)

    def test_09_suspend(self):
        """a suspend: unsynchronised until a server answers, right after, the frequency kept

        By the kernel's own test of suspending (pm_test=core): it stops its clocks for 5 s, and resumes by the RTC, which
        has whole seconds. QEMU cannot wake this guest from S3: its reset would load the kernel again.
        """
        g = self.guest
        g.run("echo core >/sys/power/pm_test; echo mem >/sys/power/state; echo none >/sys/power/pm_test")
        g.wait("the daemon to notice", lambda: "The machine slept" in self.journal())
        self.wait_synchronised()
        g.wait("its clock to be right again", lambda: abs(g.offset()[0]) < OFFSET_BOUND, 90)
        self.assertAlmostEqual(self.frequency(), -OSCILLATOR_PPM, delta=FREQUENCY_BOUND_PPM)
        self.guest.run("systemctl stop timesyncd-lite")
        self.assertAlmostEqual(self.learnt()[0], -OSCILLATOR_PPM, delta=FREQUENCY_BOUND_PPM)

    def test_10_boot_with_a_dead_rtc(self):
        """booted with the RTC in 2020 and no server: not before the saved time, and at the learnt frequency"""
        g = self.guest
        ppm = self.learnt()[0]
        saved = int(g.run("stat -c %Y /var/lib/timesyncd-lite/clock; sync").split()[0])
        self.scene.stop_server()
        g.off()
        g.boot(seconds_off=calendar.timegm((2020, 1, 1, 0, 0, 0)) - time.time())
        g.wait("the daemon", lambda: g.run("systemctl is-active timesyncd-lite", check=False)[0].strip() == "active")
        now = g.offset()[0] + time.time()
        self.assertTrue(saved <= now < saved + guest.BOOT_SECONDS, (saved, now))
        self.assertIn("The clock is before the time of the last run", self.journal())
        kernel = self.kernel()
        self.assertAlmostEqual(kernel["ppm"], ppm, delta=0.01)
        self.assertTrue(kernel["status"] & UNSYNC)
        self.assertEqual(self.steps(), [])
        self.scene.start_server()
        self.wait_synchronised()
        self.watch(5)
        self.assertEqual(len(self.steps()), 1)

    @unittest.skipUnless(timed.grpc, "python3-grpcio is not installed")
    def test_11_leap_second(self):
        """a leap second announced at the end of a month: the kernel inserts it, nobody steps"""
        g = self.guest
        self.scene.stop_server()
        g.run("systemctl stop timesyncd-lite")
        # Half a minute before the end of 2026, for a server that knows of a leap second then, and makes it.
        midnight = calendar.timegm((2027, 1, 1, 0, 0, 0)) * timed.SECOND
        shift = midnight - 40 * timed.SECOND - time.time_ns()

        def answer(request, now):
            then = now + shift
            if then >= midnight:
                then = max(then - timed.SECOND, midnight)
            return timed.honest(request, then, leap=1 if now + shift < midnight else 0)
        self.scene.fake, _ = timed.serve_fake(answer, self.scene.port)
        self.restart()
        self.wait_synchronised()
        self.assertTrue(self.kernel()["status"] & INS)
        self.assertIn("Leap: last minute of the day has 61 seconds", g.run("timedatectl timesync-status"))
        steps = self.steps()
        g.wait("the leap second", lambda: "The leap second has passed" in self.journal(), 90)
        offset, unsure = g.offset()
        self.assertLess(abs(offset - (shift / timed.SECOND - 1)), 2 * OFFSET_BOUND + unsure)
        self.assertEqual(self.steps(), steps)
        self.assertFalse(self.kernel()["status"] & INS)

    def test_12_the_host_is_untouched(self):
        """nobody set this host's clock, or could have"""
        for pid in (self.guest.qemu.pid, self.scene.server.pid if self.scene.server else None):
            if pid:
                caps = re.search(r"CapPrm:\s+(\w+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)
                self.assertFalse(int(caps, 16) & CAP_SYS_TIME)
        (kernel, gap), (kernel_before, gap_before) = host_clock(), self.scene.host
        self.assertEqual(kernel, kernel_before)
        self.assertAlmostEqual(gap, gap_before, delta=0.0005)


if __name__ == "__main__":
    try:
        tap.main()
    finally:
        if scene.cache_info().currsize:
            scene().close()
