"""Runs unittest cases and prints TAP, one line a case, so that meson counts and names each of them."""

import sys
import traceback
import unittest


class TapResult(unittest.TestResult):
    def __init__(self, out):
        super().__init__()
        self.out = out
        self.number = 0

    def startTest(self, test):
        super().startTest(test)
        self.bad, self.skip = False, None

    def stopTest(self, test):
        """One line a case, whatever its body, its clean-up and its sub-tests did."""
        super().stopTest(test)
        self.number += 1
        name = test.shortDescription() or test.id().split(".", 1)[-1]
        note = f" # SKIP {self.skip}" if self.skip and not self.bad else ""
        print(f"{'not ok' if self.bad else 'ok'} {self.number} {name}{note}", file=self.out, flush=True)

    def explain(self, err):
        self.bad = True
        for text in traceback.format_exception(*err):
            for row in text.rstrip("\n").split("\n"):
                print(f"# {row}", file=self.out, flush=True)

    def addFailure(self, test, err):
        self.explain(err)
        super().addFailure(test, err)

    def addError(self, test, err):
        self.explain(err)
        super().addError(test, err)

    def addSkip(self, test, reason):
        self.skip = reason
        super().addSkip(test, reason)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            print(f"# in {subtest}", file=self.out)
            self.explain(err)
        super().addSubTest(test, subtest, err)


def main(module="__main__"):
    """Runs every case of the module, or those whose name contains an argument; "=NAME" is the whole name."""
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromModule(sys.modules[module])
    cases = list(flatten(suite))
    if len(sys.argv) > 1:
        cases = [c for c in cases if any(is_meant(c.id(), a) for a in sys.argv[1:])]
        if not cases:
            sys.exit(f"no case is named {' or '.join(sys.argv[1:])}")
    print(f"1..{len(cases)}", flush=True)
    result = TapResult(sys.stdout)
    unittest.TestSuite(cases).run(result)
    sys.exit(0 if result.wasSuccessful() else 1)


def is_meant(name, argument):
    if argument.startswith("="):
        return name.endswith(f".test_{argument[1:]}")
    return argument in name


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item
