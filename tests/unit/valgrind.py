"""evgrpc under valgrind: its unit tests do nothing with memory that they should not, and lose none.

The short form leaves out the tests that move gigabytes or hundreds of thousands of calls, and those whose limits of time
valgrind is too slow for; VALGRIND_FULL=1 runs all, and wants a fast machine."""

import os
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

FULL = os.environ.get("VALGRIND_FULL") == "1"
VALGRIND = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=definite,indirect",
            "--errors-for-leak-kinds=definite,indirect", "--track-fds=no"]


def run(case, program, paths, least, *options):
    """Those of @program's tests under valgrind: they pass, there are so many at least, and it has nothing to say."""
    done = subprocess.run([*VALGRIND, *options, str(mr.BUILD / "tests/unit" / program), *paths], capture_output=True,
                          text=True, timeout=3000 if FULL else 250)
    case.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr[-6000:])
    ran = [row for row in done.stdout.splitlines() if row.startswith("ok ")]
    case.assertGreaterEqual(len(ran), least, done.stdout)
    case.assertNotIn("==", done.stderr)


# What each program does in a short time there; all of it, when VALGRIND_FULL is set.
PARTS = {
    "calls": ["unary-tcp", "list", "deadline", "cancel", "metadata"],
    "streams": ["collect", "chat", "early-end", "pause-each", "paused-ends"],
    "failures": ["server-freed", "channel-free", "channel-free-inside"],
    "faults": ["bad-messages", "stream-used-again", "not-grpc"],
    "files": ["client", "shrinks"],
    "hostile": ["garbage", "compressed", "half-messages"],
    "once": ["kept-reply"],
    "pieces": ["framing-cuts", "blocks-in-bytes", "read-to-its-place", "lend"],
    "tls-calls": ["unary-tcp"],
}
if FULL:
    PARTS |= dict.fromkeys(("once-model", "stamps", "timestamps", "tls", "tls-files", "tls-streams", "tls-trust"), [])
# These look at how much memory the process has, which is valgrind's then.
NOT_HERE = {"faults": ["slow-reader", "unfolding-headers"]}


@unittest.skipUnless(shutil.which("valgrind"), "valgrind is not installed")
@unittest.skipIf(mr.SANITIZED, "valgrind and the sanitizers are no company")
class Valgrind(unittest.TestCase):
    def run_program(self, name, parts):
        group = name.removeprefix("tls-")  # one that holds another's tests once more, over TLS
        paths = [] if FULL else [f"-p=/rpc/{group}/{p}" for p in parts]
        paths += [f"-s=/rpc/{group}/{p}" for p in NOT_HERE.get(name, []) if FULL]
        run(self, f"test-rpc-{name}", paths, 1 if FULL else len(parts))


for program, which in PARTS.items():
    setattr(Valgrind, f"test_{program}", lambda self, p=program, w=which: self.run_program(p, w))


if __name__ == "__main__":
    tap.main()
