"""libFuzzer over the parsers of the data path, a few seconds each: nothing crashes, and it sees what it covers.

What the replay of the corpus cannot notice: that a target no longer builds as tests/fuzz/meson.build says, and new input.
MR_FUZZ_SECONDS=N is so long for each target, and of all of them. What crashed one stays in the build folder's meson-logs, and how to
see it again is printed.
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

CORPUS = mr.SOURCE / "tests/fuzz/corpus"
FOUND = mr.BUILD / "meson-logs"
LONG = os.environ.get("MR_FUZZ_SECONDS")
SECONDS = int(LONG or 5)
DATA_PATH = ("run-file", "lines", "pieces", "stream")
TARGETS = sorted(p.name for p in CORPUS.iterdir()) if LONG else DATA_PATH
OPTIONS = ("-Dfuzzing=true", "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dwerror=false",
           "-Dc_args=-fsanitize=fuzzer-no-link", "-Doptimization=1")
COVERED_MIN = 150  # edges that the corpus alone covers; a target that gives up at once has a dozen


def why_not():
    if mr.SANITIZED:
        return "it makes a sanitized build of its own"
    for tool in ("clang", "meson", "ninja"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    with tempfile.TemporaryDirectory(prefix="mr-fuzz-") as d:
        done = subprocess.run(["clang", "-fsanitize=fuzzer,address,undefined", "-x", "c", "-", "-o", f"{d}/try"],
                              input=b"int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return 0; }",
                              capture_output=True, check=False)
    return None if done.returncode == 0 else "clang has no libFuzzer here (libclang-rt-dev)"


WHY_NOT = why_not()


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="mr-fuzz-"))
        cls.addClassCleanup(shutil.rmtree, cls.dir, ignore_errors=True)
        cls.build = cls.dir / "build"
        env = {k: v for k, v in os.environ.items() if k not in ("CC", "CFLAGS", "LDFLAGS")}
        mr.call("meson", "setup", cls.build, mr.SOURCE, *OPTIONS, env=dict(env, CC="clang"))
        mr.call("ninja", "-C", cls.build, f"-j{os.cpu_count()}", *(f"tests/fuzz/fuzz-{name}" for name in TARGETS),
                timeout=1800, env=env)
        FOUND.mkdir(exist_ok=True)
        cls.running = {}
        cls.addClassCleanup(cls.end)
        for name in TARGETS:
            corpus = cls.dir / name
            corpus.mkdir()
            with open(cls.dir / f"{name}.log", "wb") as log:
                cls.running[name] = subprocess.Popen(
                    [cls.build / f"tests/fuzz/fuzz-{name}", f"-max_total_time={SECONDS}", "-timeout=20",
                     f"-artifact_prefix={FOUND}/fuzz-{name}-", corpus, CORPUS / name],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    @classmethod
    def end(cls):
        for p in cls.running.values():
            if p.poll() is None:
                p.kill()
            p.wait()

    @staticmethod
    def how_again(name, log):
        """The input that it ended on, and what replays it."""
        found = re.search(r"Test unit written to (.+)", log)
        if not found:
            return "\nno input was kept"
        target = f"tests/fuzz/fuzz-{name}"
        build = shlex.join(["meson", "setup", "build-fuzz", *OPTIONS])
        return (f"\nthe input is kept: {found.group(1)}\nsee it again, in the source folder: "
                f"CC=clang {build} && ninja -C build-fuzz {target} && build-fuzz/{target} {shlex.quote(found.group(1))}")

    def fuzz(self, name):
        status = self.running[name].wait(timeout=SECONDS + 120)
        log = (self.dir / f"{name}.log").read_text(errors="replace")
        self.assertEqual(status, 0, log[-6000:] + self.how_again(name, log))
        done = re.search(r"(?m)^Done (\d+) runs", log)
        self.assertTrue(done, log[-2000:])
        covered = int(re.search(r"INITED cov: (\d+)", log).group(1))
        print(f"# {name}: {done.group(1)} runs; the corpus covers {covered} edges")
        self.assertGreater(covered, COVERED_MIN)


for target in TARGETS:
    case = lambda self, t=target: self.fuzz(t)  # noqa: E731
    case.__doc__ = f"{target}, {SECONDS} s"
    setattr(Live, f"test_{target.replace('-', '_')}", case)


tap.main()
