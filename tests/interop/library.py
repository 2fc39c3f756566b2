#!/usr/bin/env python3
"""libevgrpc as others would use it: installed, found by pkg-config, linked, and with only its own symbols."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

HEADER = mr.SOURCE / "daemons/rpc/evgrpc.h"

PROGRAM = """
#include <evgrpc.h>
#include <stdio.h>

int main(void)
{
        struct event_base *base = event_base_new();
        EvgrpcChannel *channel = NULL;
        int r = evgrpc_channel_new(base, "no port", NULL, &channel);

        printf("%d %s\\n", r, evgrpc_code_to_string(EVGRPC_UNAVAILABLE));
        event_base_free(base);
        return 0;
}
"""


def declared():
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    return set(re.findall(r"\b(evgrpc_[a-z0-9_]+)\(", text))


@unittest.skipIf(mr.SANITIZED, "a sanitized library is not for others' programs")
class Library(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="mr-lib-"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def test_symbols(self):
        """exactly the functions of the header are exported, with the version of the map"""
        library = next(p for p in (mr.BUILD / "daemons/rpc").glob("libevgrpc.so.*.*") if p.is_file())
        out = subprocess.run(["nm", "-D", "--defined-only", "--with-symbol-versions", library], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
        exported = {row.split()[2] for row in out.splitlines() if row.split()[1] in "TDBR" and "EVGRPC" in row}
        exported -= {"EVGRPC_0.1"}
        self.assertEqual({e.split("@@")[0] for e in exported if not e.startswith("EVGRPC")}, declared())
        self.assertEqual({e.split("@@")[1] for e in exported if "@@" in e}, {"EVGRPC_0.1"})

    def test_a_stranger_builds_against_it(self):
        """a program of somebody else builds and runs with what was installed"""
        env = dict(os.environ, DESTDIR=str(self.dir))
        subprocess.run(["meson", "install", "-C", mr.BUILD, "--no-rebuild", "--quiet"], env=env, check=True,
                       stdout=subprocess.DEVNULL)
        pc = next(self.dir.rglob("libevgrpc.pc"))
        env = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), PKG_CONFIG_SYSROOT_DIR=str(self.dir))
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libevgrpc"], env=env, check=True,
                               stdout=subprocess.PIPE, text=True).stdout.split()
        # The dependencies live in the real root, not below DESTDIR.
        flags = [f.replace(f"-I{self.dir}/usr/include", "-I/usr/include") for f in flags]
        source = self.dir / "program.c"
        source.write_text(PROGRAM)
        subprocess.run(["cc", str(source), "-o", str(self.dir / "program"), *flags], check=True)
        libdir = next(self.dir.rglob("libevgrpc.so")).parent
        p = subprocess.run([str(self.dir / "program")], env=dict(os.environ, LD_LIBRARY_PATH=str(libdir)), check=True,
                           stdout=subprocess.PIPE, text=True)
        self.assertEqual(p.stdout, "-22 UNAVAILABLE\n")


tap.main()
