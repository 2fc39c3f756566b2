"""Runs unittest cases and prints TAP, one line a case, so that meson counts and names each of them."""

import concurrent.futures
import subprocess
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
        self.skip = " ".join(reason.split()) # TAP's line is one
        super().addSkip(test, reason)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            print(f"# in {subtest}", file=self.out)
            self.explain(err)
        super().addSubTest(test, subtest, err)


def main(module="__main__", at_once=1):
    """Runs every case of the module, or those whose name contains an argument; "=NAME" is the whole name.

    @at_once: so many at a time, each in a process of its own, for cases that wait more than they work.
    """
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromModule(sys.modules[module])
    cases = list(flatten(suite))
    if len(sys.argv) > 1:
        cases = [c for c in cases if any(is_meant(c.id(), a) for a in sys.argv[1:])]
        if not cases:
            sys.exit(f"no case is named {' or '.join(sys.argv[1:])}")
    print(f"1..{len(cases)}", flush=True)
    if at_once > 1 and len(cases) > 1:
        sys.exit(0 if run_apart(cases, at_once) else 1)
    result = TapResult(sys.stdout)
    unittest.TestSuite(cases).run(result)
    sys.exit(0 if result.wasSuccessful() else 1)


def run_apart(cases, at_once):
    """Their lines in the order in which they end. A process that says nothing of its case has failed."""
    def run(case):
        p = subprocess.run([sys.executable, sys.argv[0], f"={case.id().split('.', 1)[-1]}"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        return case, p
    well = True
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for n, done in enumerate(concurrent.futures.as_completed([pool.submit(run, c) for c in cases]), 1):
            case, p = done.result()
            rows = [r for r in p.stdout.splitlines() if not r.startswith("1..")]
            verdict = next((r for r in rows if r.startswith(("ok 1", "not ok 1"))), None)
            for row in rows:
                if row != verdict:
                    print(row if row.startswith("#") else f"# {row}")
            if not verdict or (p.returncode != 0 and verdict.startswith("ok")):
                verdict = f"not ok 1 {case.id()}: ended with {p.returncode}"
            print(verdict.replace(" 1 ", f" {n} ", 1), flush=True)
            well = well and verdict.startswith("ok")
    return well


def is_meant(name, argument):
    if argument.startswith("="):
        return name.endswith(f".test_{argument[1:]}") or name.endswith(f".{argument[1:]}")
    return argument in name


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item
