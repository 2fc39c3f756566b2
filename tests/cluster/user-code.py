"""What a job's own programs do wrong: fail on a record, crash, hang, eat memory, or are not wanted any more. One case each, by name.

They are made to happen to real processes; see tests/lib/fault.py.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import time
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fault  # noqa: E402
import mr  # noqa: E402
import tap  # noqa: E402
from fault import WORDS  # noqa: E402


class BadRecords(fault.FaultCase):
    """A mapper that dies on some records, wherever they stand in its input."""

    MAPPER = "awk '/poison/ {print \"at: \" $0 > \"/dev/stderr\"; exit 7} {for (i = 1; i <= NF; i++) print $i \"\\t1\"}'"

    def bad_input(self, bad):
        """Four files; @bad: {file: line numbers}. The wanted answer is that without those lines."""
        good = []
        self.lines = self.skipped = 0
        self.places = []
        for i in range(4):
            rows = fault.text(250 + i).splitlines(True)
            for n in bad.get(i, ()):
                rows.insert(n, b"some poison in line %d\n" % n)
            path = self.file(f"in/f{i}", b"".join(rows))
            offset = 0
            for row in rows:
                if b"poison" in row:
                    self.places.append((path, offset, len(row), row))
                offset += len(row)
            good.append(self.file(f"good/f{i}", b"".join(r for r in rows if b"poison" not in r)))
            self.lines += sum(b"poison" not in r for r in rows)
        self.want = mr.coreutils_wordcount(good)

    def test_bad_records_are_skipped(self):
        """records that kill the mapper are found by their offset, skipped, counted, and kept in a side file"""
        self.bad_input({1: [0, 100, 101], 3: [250]})
        job = self.count_job("--skip-bad-records", 3, "--split-size", "4K", mapper=self.MAPPER)
        self.breaks(job)
        self.notices(job, "attempt-failed")
        self.assertOk(self.ctl("wait", "-q", job))
        self.assertSkipped(job, 4)
        failed = self.job_get(job, "AttemptsFailed")
        self.assertIn(failed, (2, 3))  # of each map that has a bad one, the first attempt
        self.assertRight(job, maps=self.job_get(job, "Maps") + failed, reduces=2)
        self.assertRegex(self.events(job), f"f1 byte {self.places[0][1]} .*exited with status 7")

    def test_bad_record_fails_the_job(self):
        """without SkipBadRecords= the job fails and names task, input, offset and what the mapper said"""
        self.bad_input({2: [40]})
        job = self.count_job(mapper=self.MAPPER)
        self.breaks(job)
        self.notices(job, "attempt-failed")
        self.assertFails(self.ctl("wait", job), "map-2", "exited with status 7", f"{self.dir}/in/f2 bytes 0-",
                         "poison in line 40")
        self.assertEqual(self.job_get(job, "AttemptsFailed"), 4)
        self.assertOver(job, "failed", maps=3 + 4, reduces=(0, 2))

    def test_more_bad_records_than_allowed(self):
        """one bad record more than SkipBadRecords= allows fails the job, and says where it is"""
        self.bad_input({0: [10, 20, 30]})
        job = self.count_job("--skip-bad-records", 2, "--max-attempts", 2, mapper=self.MAPPER)
        self.breaks(job)
        self.notices(job, "attempt-failed")
        self.assertFails(self.ctl("wait", job), f"f0 byte {self.places[2][1]}", "SkipBadRecords=2")
        self.assertOver(job, "failed", maps=3 + 2, reduces=(0, 2))

    def test_broken_mapper_blames_no_record(self):
        """a mapper that fails without any input is broken: no record is blamed"""
        self.bad_input({})
        job = self.count_job("--skip-bad-records", 5, "--max-attempts", 2, mapper="exit 3")
        self.breaks(job)
        self.notices(job, "attempt-failed")
        self.assertFails(self.ctl("wait", job), "no input at all", "exited with status 3")
        # Four maps, each with two attempts; those that ran when the first had had both are not waited for.
        self.assertOver(job, "failed", maps=(2, 8), reduces=(0, 2))


class BadRecordsOfPlugins(fault.FaultCase):
    """A plugin that dies on some records: by a signal, by exit(), by an error of its own."""

    PLUGIN = """
#include <mapreduce.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int map(MrTask *t, void *state, const void *line, size_t size)
{
        const char *l = line;
        size_t begin = 0;

        for (size_t i = 0; i <= size; i++) {
                if (i < size && l[i] != ' ')
                        continue;
                if (i - begin == 6 && memcmp(l + begin, "poison", 6) == 0) {
                        fprintf(stderr, "at: %.*s\\n", (int) size, l);
                        *(volatile int *) 8 = 0;
                }
                if (i - begin == 4 && memcmp(l + begin, "exit", 4) == 0)
                        exit(3);
                if (i - begin == 4 && memcmp(l + begin, "fail", 4) == 0)
                        return mr_fail(t, "this is no word");
                if (i > begin) {
                        int r = mr_emit_number(t, l + begin, i - begin, 1);

                        if (r < 0)
                                return r;
                }
                begin = i + 1;
        }
        return 0;
}

const MrPlugin mapreduce_plugin = {MR_PLUGIN_HEADER, .name = "words", .op = MR_OP_SUM, .map = map};
"""

    def setUp(self):
        options = "detect_leaks=1:abort_on_error=0:exitcode=99:handle_segv=0"  # a crash is a crash in a sanitized build, too
        with unittest.mock.patch.dict(os.environ, ASAN_OPTIONS=options):
            super().setUp()

    def plugin_job(self, bad, *args):
        """@bad: {file: {line number: word}}. The wanted answer is that without those lines."""
        so = self.dir / "words.so"
        p = subprocess.run(["cc", "-O1", "-shared", "-fPIC", f"-I{mr.SOURCE}/include", "-o", so, self.file("words.c", self.PLUGIN)],
                           stderr=subprocess.PIPE, check=False)
        self.assertEqual(p.returncode, 0, p.stderr)
        good = []
        self.places = []
        self.lines = 0
        for i in range(3):
            rows = fault.text(700 + i).splitlines(True)
            for n, word in bad.get(i, {}).items():
                rows.insert(n, b"some %s in line %d\n" % (word.encode(), n))
            path = self.file(f"in/f{i}", b"".join(rows))
            marks = [b"some %s in" % w.encode() for w in bad.get(i, {}).values()]
            offset = 0
            for row in rows:
                if any(m in row for m in marks):
                    self.places.append((path, offset, len(row), row))
                offset += len(row)
            kept = [r for r in rows if not any(m in r for m in marks)]
            good.append(self.file(f"good/f{i}", b"".join(kept)))
            self.lines += len(kept)
        self.want = mr.coreutils_wordcount(good)
        self.out = self.dir / "out"
        return self.submit("--app", so, "--input", self.dir / "in", "--reduces", 2, "--output", self.out, *args)

    def test_plugin_bad_records_are_skipped(self):
        """records that kill a plugin are known by their offset, skipped, counted, and kept in a side file"""
        job = self.plugin_job({0: {0: "poison", 300: "exit", 699: "poison"}, 2: {20: "fail"}},
                              "--skip-bad-records", 3, "--split-size", "8K")
        self.breaks(job)
        self.notices(job, "attempt-failed")
        self.assertOk(self.ctl("wait", "-q", job))
        self.assertSkipped(job, 4)
        failed = self.job_get(job, "AttemptsFailed")
        self.assertIn(failed, (2, 3, 4))  # of each map that has a bad one, the first attempt
        self.assertRight(job, maps=self.job_get(job, "Maps") + failed, reduces=2)
        for how in ("killed by SIGSEGV", "exited with status 3", "this is no word"):
            self.assertRegex(self.events(job), f"byte [0-9]+ .*{how}")

    def test_plugin_crash_names_its_record(self):
        """without SkipBadRecords= a plugin that crashes fails the job, which names task, input, offset and what it said"""
        job = self.plugin_job({1: {350: "poison"}}, "--max-attempts", 2)
        self.breaks(job)
        self.notices(job, "attempt-failed")
        self.assertFails(self.ctl("wait", job), "killed by SIGSEGV", f"in map() on the record at {self.dir}/in/f1 byte {self.places[0][1]}",
                         "failed: map-", "at: some poison in line 350")
        self.assertEqual(self.job_get(job, "AttemptsFailed"), 2)
        self.assertOver(job, "failed", maps=self.job_get(job, "Maps") - 1 + 2, reduces=(0, 2))

    def test_plugin_more_bad_records_than_allowed(self):
        """one record more that kills a plugin than SkipBadRecords= allows fails the job, and says where it is"""
        job = self.plugin_job({0: {10: "poison", 20: "exit", 30: "fail"}}, "--skip-bad-records", 2, "--max-attempts", 2)
        self.breaks(job)
        self.notices(job, "attempt-failed")
        self.assertFails(self.ctl("wait", job), f"on the record at byte {self.places[2][1]}", "SkipBadRecords=2")
        self.assertOver(job, "failed", maps=self.job_get(job, "Maps") - 1 + 2, reduces=(0, 2))


class Limits(fault.FaultCase):
    def test_time_limit(self):
        """a mapper that hangs is ended after TaskTimeout=, runs elsewhere, and the job ends well"""
        self.job_input(6)
        flag = self.dir / "hung"
        job = self.count_job("--task-timeout", f"{3 * mr.SLOW}s", mapper=f"if mkdir {flag} 2>/dev/null; then sleep {fault.NAP}; fi; {WORDS}")
        self.breaks(job)
        self.notices(job, "attempt-failed")
        self.assertRight(job, maps=7, reduces=2)
        self.assertEqual(self.job_get(job, "AttemptsFailed"), 1)
        self.assertRegex(self.events(job), "time limit: .*TaskTimeout=")
        mr.wait_for("its command to end", lambda: not fault.sleepers())

    def test_signs_of_life(self):
        """a mapper that is slow but shows life by a status, seldom or all the time, is not ended, and that is what tasks shows"""
        self.job_input(2, lines=40)
        slow = f"for i in 1 2 3 4 5 6 7 8; do sleep {0.3 * mr.SLOW}; echo reporter:status:step $i of 8 >&2; done"
        talks = f"n=0; while [ $n -lt {125 * mr.SLOW} ]; do n=$((n + 1)); sleep 0.02; echo reporter:status:now $n >&2; done"
        job = self.count_job("--task-timeout", f"{2 * mr.SLOW}s", mapper=f"{slow}; {talks}; {WORDS}")
        self.breaks(job)
        mr.wait_for("a status", lambda: {t["Status"] for t in json.loads(self.ctl("tasks", "--json=short", job).stdout)} & {f"step {i} of 8" for i in range(1, 9)})
        self.assertRight(job, maps=2, reduces=2)

    def test_plugin_shows_life(self):
        """a plugin that is slow with a record is not ended while it says what it does, which mrctl tasks shows, or counts"""
        source = """
#include <mapreduce.h>
#include <stdio.h>
#include <unistd.h>

static int map(MrTask *t, void *state, const void *line, size_t size)
{
        char text[100];

        for (int i = 0; i < STEPS && size == 5; i++) {
                mr_count(t, "slow", "steps", 1);
                usleep(20000);
        }
        for (int i = 0; access("HOLD", F_OK) < 0; i++) {
                snprintf(text, sizeof(text), "line %.*s: step %d \\xc3\\xa9\\xff", (int) size, (const char *) line, i);
                mr_status(t, text);
                usleep(20000);
        }
        return mr_emit_number(t, line, size, 1);
}

const MrPlugin mapreduce_plugin = {MR_PLUGIN_HEADER, .name = "slow", .op = MR_OP_SUM, .map = map};
"""
        steps = 75 * mr.SLOW  # longer than TaskTimeout=
        source = source.replace("HOLD", str(self.dir / "hold")).replace("STEPS", str(steps))
        so = self.dir / "slow.so"
        p = subprocess.run(["cc", "-shared", "-fPIC", f"-I{mr.SOURCE}/include", "-o", so, self.file("slow.c", source)], stderr=subprocess.PIPE, check=False)
        self.assertEqual(p.returncode, 0, p.stderr)
        data = self.file("in", "one\nthree\n")
        self.want, self.lines = mr.coreutils_wordcount([data]), 2
        self.out = self.dir / "out"
        job = self.submit("--app", so, "--input", data, "--task-timeout", f"{mr.SLOW}s", "--output", self.out)
        self.breaks(job)
        seen = "line one: step [0-9]+ \u00e9\ufffd$"
        mr.wait_for("the status", lambda: re.search(f"(?m)^map .*{seen}", self.ctl("tasks", job).stdout.decode()))
        time.sleep(1.5 * mr.SLOW)
        (status,) = [row["Status"] for row in self.tasks(job, "map")]
        self.assertRegex(status, f"^{seen}")
        self.file("hold")
        self.assertRight(job, maps=1, reduces=1)
        self.assertRegex(self.ctl("counters", job).stdout.decode(), f"(?m)^slow:steps +{steps}$")

    def test_memory_limit(self):
        """a mapper that takes more than MemoryLimit= is ended with that word; the next attempt, content with less, counts"""
        self.job_input(4)
        flag = self.dir / "large"
        eat = "python3 -c 'import time; x = bytearray(200 << 20); time.sleep(60)'"
        job = self.count_job("--memory-limit", "64M", mapper=f"if mkdir {flag} 2>/dev/null; then {eat}; fi; {WORDS}")
        self.breaks(job)
        self.notices(job, "attempt-failed")
        self.assertRight(job, maps=5, reduces=2)
        self.assertRegex(self.events(job), "memory limit: its commands use .*MemoryLimit=64")

    def test_plugin_memory_limit(self):
        """a plugin that takes more than MemoryLimit= is ended with that word and names its record; on a cluster and with --local"""
        source = """
#include <mapreduce.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int map(MrTask *t, void *state, const void *line, size_t size)
{
        if (size > 3 && memcmp(line, "eat", 3) == 0)
                for (int i = 0; i < 1000; i++) {
                        memset(malloc(1 << 20), 1, 1 << 20);
                        usleep(2000);
                }
        return mr_emit_number(t, line, size, 1);
}

const MrPlugin mapreduce_plugin = {MR_PLUGIN_HEADER, .name = "eater", .op = MR_OP_SUM, .map = map};
"""
        so = self.dir / "eater.so"
        p = subprocess.run(["cc", "-shared", "-fPIC", f"-I{mr.SOURCE}/include", "-o", so, self.file("eater.c", source)],
                           stderr=subprocess.PIPE, check=False)
        self.assertEqual(p.returncode, 0, p.stderr)
        data = self.file("in/data", "little\n" * 100 + "eat much\n" + "little\n")
        args = ["--app", so, "--input", data, "--memory-limit", "32M", "--max-attempts", 1]
        self.breaks()
        job = self.submit(*args)
        on_cluster = self.ctl("wait", job)
        self.assertOver(job, "failed", maps=1, reduces=(0, 1))
        for p in (on_cluster, self.local("-q", *args)):
            self.assertFails(p, "memory limit: ", "MemoryLimit=32", f"on the record at {data} byte 700")
        with open(data, "w") as f:
            f.write("little\n" * 100)
        p = self.local("-q", *args)
        self.assertOk(p)
        self.assertEqual(p.stdout, b"little\t100\n")


class Cancelled(fault.FaultCase):
    def test_cancelled_job_leaves_nothing(self):
        """a cancelled job ends with its commands, and leaves neither output nor intermediate files"""
        self.job_input(8)
        job = self.count_job(mapper=self.holding("*f00[4-7]", f"{WORDS}; sleep {fault.NAP}"))
        mr.wait_for("the mappers", fault.sleepers)
        self.breaks()
        self.assertOk(self.ctl("cancel", job))
        mr.wait_for("the commands to end", lambda: not fault.sleepers())
        self.assertOver(job, "cancelled", maps=(4, 8), reduces=(0, 2))
        self.assertFails(self.ctl("wait", job), "cancelled")
        self.assertFails(self.ctl("cancel", job), "over")


tap.main()
