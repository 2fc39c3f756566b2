"""The C of docs/rpc.md compiles as it stands, and its limits are those of the headers."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests/lib"))
import tap  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", "build")).resolve()
PAGE = (SOURCE / "docs/rpc.md").read_text()
RPC = SOURCE / "daemons/rpc"


class Page(unittest.TestCase):
    def test_examples(self):
        """every C example compiles, with warnings as errors"""
        cc = shutil.which("cc")
        if not cc:
            self.skipTest("no C compiler")
        blocks = re.findall(r"^```c\n(.*?)^```$", PAGE, re.M | re.S)
        self.assertGreaterEqual(len(blocks), 3)
        includes = '#include <errno.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include "rpc/evgrpc.h"\n#include "wordcount.pb-c.h"\n'
        p = subprocess.run([cc, "-x", "c", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter",
                            "-Wno-missing-field-initializers", "-fsyntax-only", f"-I{SOURCE}/daemons",
                            f"-I{BUILD}/examples/wordcount-rpc", "-"],
                           input=includes + "\n".join(blocks), stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(p.returncode, 0, p.stderr)

    def test_names(self):
        """every name of the library that the page says exists"""
        sources = "".join(f.read_text() for f in RPC.glob("*.[ch]"))
        names = set(re.findall(r"\b(?:evgrpc|EVGRPC|RPC)_\w+", PAGE)) | set(re.findall(r"`(\w+_(?:usec|bytes|calls|streams|connections))`", PAGE))
        self.assertGreater(len(names), 30)
        for name in names:
            self.assertRegex(sources, rf"\b{name}\b")

    def test_limits(self):
        """the defaults in the table are those of the header's comments"""
        header = (RPC / "evgrpc.h").read_text()
        wanted = {
            "max_message_bytes": "4 MiB", "window_bytes": "1 MiB", "max_outstanding_calls": "131072", "max_streams": "131072",
            "max_connections": "16384", "max_header_bytes": "16 KiB", "connect_timeout_usec": "10 s",
            "backoff_max_usec": "30 s", "keepalive_timeout_usec": "20 s", "handshake_timeout_usec": "10 s",
        }
        for name, value in wanted.items():
            comments = re.findall(rf"\b{name};\s*/\*.*?0: ([^*;]*?)\s*\*/", header, re.S)
            self.assertTrue(comments, name)
            self.assertEqual(set(comments), {value}, name)
            rows = [r for r in PAGE.split("\n") if r.startswith("|") and f"`{name}`" in r]
            self.assertTrue(any(f"| {value} |" in r for r in rows), name)


tap.main()
