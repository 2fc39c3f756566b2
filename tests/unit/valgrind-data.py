"""The data path under valgrind: records' unit tests, and mr-task itself in its own.

No commands: valgrind 3.19 does not know pidfd_open(). No words: they are scanned 16 bytes at a time,
into padding that decides nothing, and that it takes for use of what was never written. The short form leaves out what goes over every bit or through megabytes; VALGRIND_FULL=1 runs all."""

import shutil
import unittest

import valgrind
import tap

# What each program does in a short time there.
PARTS = {
    "test-records-split": ["/records/split"],
    "test-records-run": ["/records/run-file/partitions-may-be-empty", "/records/run-file/the-bytes-are-those-of-the-specification",
                         "/records/run-file/numbers-over-64-bits-are-refused"],
    "test-records-text": ["/records/piece/a-piece-without-a-line-costs-no-more-than-its-length", "/records/piece/a-file-that-shrank-is-an-error-that-says-so",
                          "/records/piece/the-ticker-stops-the-reading"],
    "test-records-span": ["/records/span/only-equal-lengths-are-alike", "/records/span/large-records-are-in-spans-too"],
    "test-records-sort": ["/records/sorter/a-full-disk-ends-a-spill-with-its-errno"],
    "test-records-merge": ["/records/merge/the-bad-run-is-named"],
    "test-records-combine": ["/records/combine/a-sum-stops-at-its-greatest-number"],
    "test-task": ["/task/a-changed-file-is-a-permanent-failure"],
}
# These look at how much memory the process has, which is valgrind's then.
NOT_HERE = {"test-task": ["/task/a-long-word-costs-its-own-memory-alone", "/task/a-process-serves-many-attempts-in-steady-memory",
                          "/task/a-count-of-many-times-its-memory-stays-within-it", "/task/a-sort-of-many-times-its-memory-stays-within-it",
                          "/task/commands-over-many-times-their-memory-stay-within-it"]}


@unittest.skipUnless(shutil.which("valgrind"), "valgrind is not installed")
@unittest.skipIf(valgrind.mr.SANITIZED, "valgrind and the sanitizers are no company")
class Data(unittest.TestCase):
    def run_program(self, name, parts):
        paths = [f"-s={p}" for p in NOT_HERE.get(name, [])] if valgrind.FULL else [f"-p={p}" for p in parts]
        valgrind.run(self, name, paths, len(parts), "--trace-children=yes")


for program, which in PARTS.items():
    setattr(Data, f"test_{program.removeprefix('test-').replace('-', '_')}", lambda self, p=program, w=which: self.run_program(p, w))


if __name__ == "__main__":
    tap.main()
