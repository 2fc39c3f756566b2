#!/usr/bin/env python3
"""Holds the units against systemd's own tools: they are sound, and as closed as they claim to be.

What is installed is looked at, in a root of its own, beside the units that systemd ships.
"""

import fnmatch
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ET

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tap  # noqa: E402
import units  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", "build")).resolve()
SOURCE = pathlib.Path(__file__).resolve().parents[2]
SYSTEM_UNITS = pathlib.Path("/usr/lib/systemd/system")


def run(*args, **kwargs):
    return subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, timeout=120, **kwargs)


class Units(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="mr-units-"))
        cls.addClassCleanup(shutil.rmtree, cls.root, ignore_errors=True)
        p = run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", cls.root)
        if p.returncode != 0:
            raise AssertionError(p.stdout[-2000:])
        cls.ours = sorted(p for p in cls.root.rglob("*") if p.suffix in (".service", ".socket", ".slice")
                          and "dbus-1" not in p.parts)

    def setUp(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not installed")
        if not SYSTEM_UNITS.is_dir():
            self.skipTest("systemd's own units are not installed")

    def test_verify(self):
        """systemd-analyze verify has nothing to say"""
        shutil.copytree(SYSTEM_UNITS, self.root / "usr/lib/systemd/system", symlinks=True, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns(*[p.name for p in self.ours]))
        (self.root / "bin").mkdir(exist_ok=True)
        for name in ("kill", "sh"):
            shutil.copy(shutil.which(name), self.root / "bin" / name)
        self.assertGreaterEqual(len(self.ours), 5)
        p = run("systemd-analyze", "verify", "--man=no", f"--root={self.root}", *self.ours)
        ours = [line for line in p.stdout.splitlines() if any(u.stem.rstrip("@") in line for u in self.ours)]
        self.assertEqual(ours, [])

    def test_verify_sees_mistakes(self):
        """... and would say it"""
        bad = self.ours[0].with_name("bad-mapreduced.service")
        bad.write_text("[Service]\nExecStart=/nowhere/at-all\nNoSuchSetting=1\n")
        self.addCleanup(bad.unlink)
        self.assertIn("NoSuchSetting", run("systemd-analyze", "verify", "--man=no", f"--root={self.root}", bad).stdout)

    def test_exposure(self):
        """systemd-analyze security stays below the bars, and says what docs/services.md says"""
        page = (SOURCE / "docs/services.md").read_text()
        services = [p for p in self.ours if p.suffix == ".service"]
        for path in services:
            with self.subTest(path.name):
                self.assertIn(path.stem, units.EXPOSURE_MAX)
                p = run("systemd-analyze", "security", "--offline=true", f"--root={self.root}", path)
                self.assertLessEqual(units.exposure(p.stdout), units.EXPOSURE_MAX[path.stem])
                self.assertRegex(page, rf"(?m)^\| `{path.name}` \|.*\| {units.exposure(p.stdout)} \|$")

    def test_users(self):
        """systemd-sysusers makes every user and group that the units name"""
        (self.root / "etc").mkdir(exist_ok=True)
        conf = next(self.root.rglob("sysusers.d/mapreduced.conf"))
        p = run("systemd-sysusers", f"--root={self.root}", conf)
        self.assertEqual(p.returncode, 0, p.stdout)
        users = {line.split(":")[0] for line in (self.root / "etc/passwd").read_text().splitlines()}
        groups = {line.split(":")[0] for line in (self.root / "etc/group").read_text().splitlines()}
        for path in self.ours:
            text = path.read_text()
            self.assertLessEqual(set(re.findall(r"^(?:Socket)?User=(.+)$", text, re.M)), users, path)
            self.assertLessEqual(set(re.findall(r"^(?:Socket)?Group=(.+)$", text, re.M)), groups, path)
        self.assertIn("mapreduce", groups)  # who may submit

    def test_bus_files(self):
        """each bus name has its policy, its activation file and a unit of that alias"""
        for name in ("org.mapreduced.Master1", "org.mapreduced.Worker1", "org.mapreduced.TimeSync1"):
            policy = ET.parse(next(self.root.rglob(f"system.d/{name}.conf"))).getroot()
            owners = {p.get("user") for p in policy.iter("policy") for a in p.iter("allow") if a.get("own") == name}
            activation = next(self.root.rglob(f"system-services/{name}.service")).read_text()
            unit = re.search(r"^SystemdService=(.+)$", activation, re.M).group(1)
            texts = [u.read_text() for u in self.ours if f"Alias={unit}\n" in u.read_text()]
            self.assertEqual(len(texts), 1)
            self.assertIn(f"BusName={name}\n", texts[0])
            self.assertIn(re.search(r"^User=(.+)$", texts[0], re.M).group(1), owners)

    def test_packaged(self):
        """each file that is installed is in one Debian package"""
        patterns = [(path.name, line.strip()) for path in (SOURCE / "packaging/debian").glob("*.install")
                    for line in path.read_text().splitlines() if line.strip()]
        for path in self.root.rglob("*"):
            name = str(path.relative_to(self.root))
            if path.is_dir() or not name.startswith("usr/local/"):
                continue
            name = re.sub("^usr/(local/)", "usr/", name)
            name = re.sub("^usr/(etc/|lib/systemd/(?:system|system-preset|ntp-units\\.d)/)", r"\1", name)
            packages = {p for p, pattern in patterns
                        if fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(name, f"{pattern}/*")}
            self.assertEqual(len(packages), 1, f"{name}: {packages or 'in no packaging/debian/*.install'}")

    def test_catalog(self):
        """every message id of the header has its text in the catalog, which journalctl takes"""
        header = (SOURCE / "daemons/platform/message-ids.h").read_text()
        ids = re.findall(r'#define MESSAGE_\w+ "([0-9a-f]{32})"', header)
        path = next(self.root.rglob("catalog/mapreduced.catalog"))
        texts = re.findall(r"^-- ([0-9a-f]{32})\nSubject: \S.*\nDefined-By: mapreduced\n", path.read_text(), re.M)
        self.assertGreater(len(ids), 10)
        self.assertEqual(len(set(ids)), len(ids))
        self.assertEqual(sorted(texts), sorted(ids))
        there = self.root / "usr/lib/systemd/catalog"
        there.mkdir(parents=True, exist_ok=True)
        if path.parent != there:
            shutil.copy(path, there)
        (self.root / "var/lib/systemd/catalog").mkdir(parents=True, exist_ok=True)
        p = run("journalctl", f"--root={self.root}", "--update-catalog")
        self.assertEqual((p.returncode, p.stdout), (0, ""))
        listed = run("journalctl", f"--root={self.root}", "--list-catalog").stdout
        self.assertEqual(sorted(re.findall(r"^([0-9a-f]{32}) mapreduced:", listed, re.M)), sorted(ids))

    def test_polkit_actions(self):
        """the actions that the daemons ask for, and that the rules name, are there"""
        there = set()
        for path in self.root.rglob("polkit-1/actions/org.mapreduced.*.policy"):
            for action in ET.parse(path).getroot().iter("action"):
                there.add(action.get("id"))
                if "timesync" not in path.name:
                    self.assertRegex(action.find("annotate").text, "^unix-user:mr-(master|worker)$")
                for kind in ("allow_any", "allow_inactive", "allow_active"):
                    self.assertIn(action.find(f"defaults/{kind}").text, ("auth_admin", "auth_admin_keep"))
        rules = next(self.root.rglob("rules.d/mapreduced.rules")).read_text()
        name = r'"(org\.mapreduced\.[a-z0-9]+\.[a-z-]+)"'
        self.assertLessEqual(set(re.findall(name, rules)), there)
        asked = {a for f in (SOURCE / "daemons").rglob("*.[ch]") for a in re.findall(name, f.read_text())}
        time = (SOURCE / "daemons/timesyncd-lite/bus.c").read_text()
        asked |= {f"org.mapreduced.timesync1.{a}" for a in re.findall(r'ACTION\("([a-z-]+)"\)', time)}
        self.assertGreaterEqual(len(asked), 4)
        self.assertEqual(asked, there)  # and nobody is told of one that is never asked


if __name__ == "__main__":
    tap.main()
