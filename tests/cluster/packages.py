#!/usr/bin/env python3
"""The Debian packages: lintian has nothing against them, and whoever builds them gets the same bytes."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import container  # noqa: E402
import mr  # noqa: E402
import tap  # noqa: E402


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        reason = "sanitized programs are not packaged" if mr.SANITIZED else container.why_not(packages=True)
        if reason:
            raise unittest.SkipTest(reason)
        cls.debs = container.build_debs()

    def test_names(self):
        """each package of the control file is built"""
        control = (container.SOURCE / "packaging/debian/control").read_text()
        self.assertEqual(sorted(d.name.split("_")[0] for d in self.debs), sorted(re.findall("^Package: (.*)$", control, re.M)))

    @unittest.skipUnless(shutil.which("lintian"), "lintian is not installed")
    def test_lintian(self):
        """lintian finds neither an error nor a warning, and what is overridden is overridden on purpose"""
        # Its exit status with --fail-on counts what is overridden, too, where that is shown: the lines say more.
        p = subprocess.run(["lintian", "--allow-root", "--show-overrides", *map(str, self.debs)],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                           timeout=300)
        self.assertEqual(p.returncode, 0, p.stdout)
        found = [line for line in p.stdout.splitlines() if line[:2] in ("E:", "W:", "O:")]
        overridden = [line for line in found if re.match(r"O: \S+: initial-upload-closes-no-bugs ", line)]
        self.assertEqual(found, overridden)
        self.assertEqual(len(overridden), len(self.debs))

    def test_reproducible(self):
        """two builds, in places, times, locales and umasks that differ, have the same bytes"""
        p = subprocess.run([str(container.SOURCE / "packaging/check-reproducible")], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=1500)
        self.assertEqual(p.returncode, 0, p.stdout[-4000:])
        self.assertIn(f"{len(self.debs)} packages compared, all are the same", p.stdout)

    def test_foreign(self):
        """the spec file and the PKGBUILD build, and their packages have the files that Debian's have"""
        if os.environ.get("MR_PACKAGES") != "1":
            self.skipTest("builds everything twice more: set MR_PACKAGES=1")
        with tempfile.TemporaryDirectory(prefix="mr-foreign-") as out:
            p = subprocess.run([str(container.SOURCE / "packaging/check-foreign"), out, str(container.DEBS)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=1500)
        self.assertEqual(p.returncode, 0, p.stdout[-4000:])
        if "skipped" in p.stdout:
            self.skipTest(p.stdout.strip())


if __name__ == "__main__":
    tap.main()
