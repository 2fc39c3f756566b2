#!/usr/bin/env python3
"""What a distribution's build compiles the data path with: what the developers' builds do, not only what the distribution says.

Packages are built as build type plain, with the distribution's own flags (-g -O2); loops over bytes are several times as slow
with these alone. Who asks for no optimisation at all (DEB_BUILD_OPTIONS=noopt) gets none.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tap  # noqa: E402
import unittest  # noqa: E402

SOURCE = pathlib.Path(__file__).resolve().parents[2]
LOOPS = {"lines.c", "words-sse2.c", "words-portable.c", "block-sum-avx2.c", "item-sort.c"}


def last_levels(flags):
    """Source file -> the optimisation level that counts in each of its compilations."""
    with tempfile.TemporaryDirectory() as build:
        subprocess.run([shutil.which("meson") or "meson", "setup", build, str(SOURCE), "--buildtype=plain", "-Dtests=false"], check=True,
                       stdout=subprocess.DEVNULL, env=dict(os.environ, CFLAGS=flags))
        levels = {}
        for command in json.loads((pathlib.Path(build) / "compile_commands.json").read_text()):
            level = re.findall(r" (-O\w*)", command["command"])[-1]
            levels.setdefault(pathlib.Path(command["file"]).name, set()).add(level)
        return levels


class Flags(unittest.TestCase):
    def test_a_distributions_flags(self):
        """with -g -O2, loops over bytes are compiled with -O3, all else as said"""
        levels = last_levels("-g -O2")
        loops = LOOPS & set(levels)
        self.assertGreater(len(loops), 2)
        for name in loops:
            self.assertEqual(levels[name], {"-O3"}, name)
        self.assertEqual(levels["master-job.c"], {"-O2"})

    def test_none(self):
        """with -g -O0, nothing is optimised"""
        self.assertEqual(set().union(*last_levels("-g -O0").values()), {"-O0"})


if __name__ == "__main__":
    tap.main()
