#!/usr/bin/env python3
"""The data path beside programs that do one job each, and beside peers, in one run: makes the data, shuffles the order.

    data.py [--scratch DIR] [--data DIR] [--size MIB] [--rounds N] [--text FILE] [--yardsticks DIR] [--only JOB,…]
            [--programs PROGRAM,…] [--svg FILE] [--check yes|no|only] [--install-peers] [--big [GIB,…]]

Every round runs all programs of all jobs once, in an order that is shuffled anew: a run after one with a large heap is
slower. Printed are medians, the least, and the ratio to the job's yardstick (else its first peer) of the same run.
Answers are compared with those of an independent program before anything is timed, all of them at full size; a sort's by
valsort.c. Nothing passes or fails by time.

--text        default: the kernel's source, where Debian's linux-source package is installed (all 1.2 GB of it from 1024 MiB on);
              else words by Zipf's law
--yardsticks  a folder of C programs to build: wcpart.c sortshuf.c logmax.c mapper.c; default: ../shared/limit beside the repo
--data         where the data is made, and kept for the next run; default: in the scratch folder, and removed
--check        no: only measure; only: only compare answers
--install-peers  fetches the packages of ClickHouse embedded (chdb) and DuckDB for Node into the data folder, with npm, once;
                 else their rows are not there
--big          instead of the table: sorts of 1, 4 and 24 GiB (or of what is said), each made, sorted --rounds times (1), checked and
               removed in the scratch folder, beside the yardstick; a size that the disk has no room for three times is left
               out, and said to be. Of up to 4 GiB also with tasks whose data is four times their memory. Printed are time
               by size, peak memory and what of the disk was used

Peers are used where they are installed: coreutils, mawk, ripgrep, GNU parallel, ClickHouse embedded, DuckDB, MR-MPI (Debian's libmrmpi-dev,
openmpi-bin and libopenmpi-dev; its program is built from the yardsticks' peers/mrmpi_wc.cpp). What is not there is said before the table.
The peak memory of a sort is that of all its processes together (PSS), looked at 50 times a second. It is measured in a run
that is not timed.
"""

import argparse
import os
import pathlib
import random
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))
import mr  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
LETTERS_TR = "tr -cs A-Za-z '\\n'"
# name, source, compiler and libraries
YARDSTICKS = (("wcpart", "wcpart.c", ["gcc"]), ("sortshuf", "sortshuf.c", ["gcc"]), ("logmax", "logmax.c", ["gcc", "-lpcre2-8"]),
              ("mapper", "mapper.c", ["gcc"]), ("MR-MPI", "peers/mrmpi_wc.cpp", ["mpicxx", "-lMapReduceMPI"]))
DATABASES = (("ClickHouse", "chdb", "clickhouse.mjs"), ("DuckDB", "@duckdb/node-api", "duckdb.mjs"))
KERNEL_BYTES = 1 << 30  # about what its source has; of larger sizes, and of this one, all is taken
BIG_COPIES = 3.1  # of the input: itself, the run files, the output; and indices
# The yardstick has room for parts of 84 MiB, and bounds from 8192 records: with fewer parts one of 24 GiB's would not fit.
BIG_PARTS_PER_GIB = 40
BIG_DISK_LEFT_BYTES = 4 << 30  # for everybody else
COMMANDS = {"command output": "tr a-z A-Z", "cat": "cat", "grep": "grep -F '\" 50'", "mawk": "mawk '{print $1 \"\\t\" 1}'"}
COUNT_WORDS = "{for (i = 1; i <= NF; i++) n[$i]++} END {for (w in n) print w, n[w]}"
REDUCER = "cut -f1 | uniq -c"
SWAP = "sed -E 's/^ *([0-9]+) (.*)$/\\2\\t\\1/'"  # of what uniq -c says


def sh(command, env, out=subprocess.DEVNULL):
    p = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, env=env, check=False)
    if p.returncode:
        sys.exit(f"failed: {command}\n{p.stderr.decode(errors='replace')[-2000:]}")
    return p.stdout


class Bench:
    def __init__(self, args, scratch):
        self.args, self.scratch = args, scratch
        self.data = pathlib.Path(args.data) if args.data else scratch / "data"
        (scratch / "tmp").mkdir()
        self.data.mkdir(exist_ok=True, parents=True)
        self.env = dict(os.environ, LC_ALL="C", TMPDIR=str(scratch / "tmp"))
        self.env.pop("MALLOC_PERTURB_", None)  # meson's: it would fill all the gigabytes that sort allots
        self.absent = set()
        self.jobs = {}  # job -> list of (program, command); the first is ours, the second what ratios are to
        self.yardsticks = self.build()
        if not args.big:
            self.make_data()

    def build(self):
        cc = ["cc", "-O2", "-o", str(self.scratch / "gen"), str(HERE / "gen.c"), "-lm"]
        subprocess.run(cc, check=True)
        for name in ("bare", "valsort"):
            subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", str(self.scratch / name), str(HERE / f"{name}.c")], check=True)
        return {name: to for name, source, compiler in YARDSTICKS if (to := self.build_yardstick(name, source, compiler))}

    def build_yardstick(self, name, source, compiler):
        """Return: the program's path; None if it is not for this machine, which is said before the table."""
        path, to = pathlib.Path(self.args.yardsticks) / source, self.scratch / name
        if not path.exists():
            self.absent.add(f"{name}: not here, for there is no {path} (--yardsticks)")
        elif not shutil.which(compiler[0]):
            self.absent.add(f"{name}: not here, for there is no {compiler[0]}")
        else:
            p = subprocess.run([*compiler[:1], "-O3", "-march=native", "-w", "-pthread", str(path), "-o", str(to), *compiler[1:]],
                               stderr=subprocess.PIPE, text=True, check=False)
            if p.returncode == 0:
                return str(to)
            # Some use instructions that this processor may not have.
            reasons = [line for line in p.stderr.splitlines() if "error:" in line] or ["no reason"]
            self.absent.add(f"{name}: not here, for it does not compile: {reasons[0]}")
        return None

    def make_data(self):
        size = self.args.size << 20
        for kind in ("records", "log"):
            self.generate(kind, size)
        self.text = self.args.text or self.kernel_text(size) or str(self.generate("text", size))
        self.make_files(size)
        self.make_tables(size)
        self.line = str(self.scratch / "line")
        pathlib.Path(self.line).write_text("hello I am good hello bye bye bye good night hello\n")

    def generate(self, kind, size, to=None):
        to = to or self.data / kind
        if not to.exists():
            with open(to, "wb") as out:
                subprocess.run([str(self.scratch / "gen"), kind, str(size)], stdout=out, check=True)
        return to

    def make_files(self, size):
        """A quarter of the text as 64 files, for the index."""
        folder = self.data / "files"
        if folder.exists():
            return
        folder.mkdir()
        sh(f"head -c {size // 4} '{self.text}' | LC_ALL=C tr -cs '[:alnum:]\n' ' ' | split -C {size // 256} -a 2 - {folder}/f", self.env)

    def make_tables(self, size):
        """Two tables that join: ids by Zipf's law in one, each once in the other."""
        folder = self.data / "tables"
        if folder.exists():
            return
        folder.mkdir()
        rows = size // 100
        rng = random.Random(3)
        with open(folder / "left.tsv", "w") as left, open(folder / "right.tsv", "w") as right:
            for i in range(rows // 4):
                left.write(f"{int(rows ** rng.random())}\tl{i}\t{i % 97}\n")
            for i in range(rows // 8):
                right.write(f"{i * 3}\tr{i}\n")

    def kernel_text(self, size):
        tars = sorted(pathlib.Path("/usr/src").glob("linux-source-*.tar.xz"))
        if not tars or self.args.short:
            return None
        to = self.data / "kernel"
        if not to.exists():
            some = f"head -c {size}" if size < KERNEL_BYTES else "cat"
            sh(f"tar -xOJf {tars[-1]} --wildcards '*.c' '*.h' '*.rst' | {some} > {to}", self.env)
        return str(to)

    def ours(self, app, data, *args, reduces=2, options=""):
        out = self.scratch / "out"
        quoted = " ".join(f"'{a}'" for a in args)
        return (f"rm -rf {out}; '{mr.MRCTL}' --local run -q {app} --reduces {reduces} {options} --input '{data}' --output {out}"
                + (f" -- {quoted}" if quoted else ""))

    def yard(self, name, arguments):
        return [(name, f"rm -rf {self.scratch}/y; mkdir {self.scratch}/y; {self.yardsticks[name]} {arguments}")] \
            if name in self.yardsticks else []

    def mr_mpi(self, text):
        """With its combiner, in pages of 512 MiB, and 64 maps."""
        return [("MR-MPI", f"OUT={self.scratch} mpirun --allow-run-as-root --oversubscribe -np {os.cpu_count()} {self.yardsticks['MR-MPI']} "
                           f"'{text}' {self.scratch}/mpi 64 512 1")] if "MR-MPI" in self.yardsticks else []

    def peer(self, program, command):
        return [(program, command)] if shutil.which(program.split()[0]) else []

    def plan(self):
        s, text, log, records = self.scratch, self.text, self.data / "log", self.data / "records"
        sort_u = f"sort -S 25% --parallel=2 | uniq -c > {s}/c"
        self.jobs["word count"] = [("mrctl", self.ours("--app wordcount", text, reduces=64)),
                                   *self.yard("wcpart", f"-s -o {s}/y '{text}'"),
                                   *self.databases("word count"),
                                   ("coreutils", f"tr -s '[:space:]' '\\n' < '{text}' | {sort_u}"),
                                   *self.mr_mpi(text),
                                   *self.peer("parallel", f"parallel -q --pipepart --block 64M -j {os.cpu_count()} -a '{text}' mawk '{COUNT_WORDS}' | mawk '{{n[$1] += $2}} END {{for (w in n) print w, n[w]}}' > {s}/c"),
                                   *self.peer("mawk", f"mawk '{COUNT_WORDS}' '{text}' > {s}/c")]
        self.jobs["letters only"] = [("mrctl", self.ours("--app wordcount", text, "letters")),
                                            *self.yard("wcpart", f"-l -s -o {s}/y '{text}'"),
                                            ("coreutils", f"{LETTERS_TR} < '{text}' | {sort_u}")]
        self.jobs["sort"] = [("mrctl", self.sort_command(records, 32)),
                             *self.yard("sortshuf", f"{records} {s}/y 16 64"),
                             *self.databases("sort"),
                             ("coreutils", f"sort -S 25% --parallel=2 -T {s} -o {s}/c {records}")]
        for job, key, options in (("sort of lines", (), ""), ("sort by a field", ("key=7",), "-k 7,7")):
            self.jobs[job] = [("mrctl", self.ours("--app sort", log, *key, reduces=32)),
                              ("coreutils", f"sort -S 25% --parallel=2 -T {s} {options} -o {s}/c {log}")]
        self.jobs["regex count"] = [("mrctl", self.ours("--app grep", log, '" 50[0-9] ', "output=count", reduces=1)),
                                    *self.peer("rg", f"rg -c '\" 50[0-9] ' {log} > {s}/c"),
                                    *self.yard("logmax", f"re '\" 50[0-9] ' {log}"),
                                    *self.databases("regex count"),
                                    ("grep", f"grep -c '\" 50[0-9] ' {log} > {s}/c")]
        self.jobs["bytes per client"] = [("mrctl", self.ours("--app sum", log, "value=10", "key=1")),
                                         *self.yard("logmax", f"agg {log}"),
                                         *self.databases("bytes per client"),
                                         *self.peer("mawk", f"mawk '{{b[$1] += $10}} END {{for (k in b) print k, b[k]}}' {log} > {s}/c")]
        if "mapper" in self.yardsticks:
            mapper = self.yardsticks["mapper"]
            self.jobs["C streaming mapper"] = self.streaming(f"{mapper} -n", 1, self.text)
        for job, command in COMMANDS.items():
            if shutil.which(command.split()[0]):
                self.jobs[job] = self.streaming(command, 0, self.input_of(job))
        left = self.data / "tables" / "left.tsv"
        self.jobs["command reducer"] = [("mrctl", self.ours(f"--reducer {shlex.quote(REDUCER)}", left)),
                                        ("sort | reducer", f"sort -S 25% --parallel=2 -t $'\t' -k1,1 {left} | {REDUCER} > {s}/c")]
        files, tables = self.data / "files", self.data / "tables"
        self.jobs["inverted index"] = [("mrctl", self.ours("--app index", files)),
                                       *self.databases("inverted index"),
                                       ("mawk, sort", f"cd {files}; mawk '{{for (i = 1; i <= NF; i++) print $i \"\\t\" FILENAME}}' * | sort -u -S 25% --parallel=2 > {s}/c")]
        self.jobs["join"] = [("mrctl", self.ours("--app join", tables, "right.*", "delimiter=\\t")),
                             *self.databases("join"),
                             ("sort, join", f"join -t $'\\t' <(sort -S 12% -t $'\\t' -k1,1 {tables}/left.tsv) <(sort -S 12% -t $'\\t' -k1,1 {tables}/right.tsv) > {s}/c")]
        self.jobs["one line"] = [("mrctl", f"'{mr.MRCTL}' --local run -q --app wordcount --input {self.line}"),
                                 ("coreutils", f"tr -s '[:space:]' '\\n' < {self.line} | sort | uniq -c")]
        if self.args.only:
            wanted = [w.strip() for w in self.args.only.split(",")]
            self.jobs = {k: v for k, v in self.jobs.items() if k in wanted}
        if self.args.programs:
            wanted = [w.strip() for w in self.args.programs.split(",")]
            self.jobs = {k: [p for p in v if p[0] in wanted] for k, v in self.jobs.items()}

    def input_of(self, job):
        return self.data / "log" if job == "grep" else self.text # a filter that finds nothing in a split has failed there

    def streaming(self, command, reduces, data):
        """A mapper in a job, and two of it at once on pipes alone."""
        quoted, bares = shlex.quote(command), self.scratch / "bares"
        return [("mrctl", self.ours(f"--mapper {quoted}", data, reduces=reduces)),
                ("bare on pipes", f"rm -rf {bares}; mkdir {bares}; {self.scratch}/bare {quoted} '{data}' {bares}")]

    def sort_command(self, records, reduces, options=""):
        return self.ours("--app sort", records, "record=100", "key-bytes=10", reduces=reduces, options=options)

    def run_big(self):
        """Growth beyond memory: time by size should stay what it is, and memory should not grow."""
        rng = random.Random(2)
        for gib in (int(x) for x in self.args.big.split(",")):
            need, free = BIG_COPIES * (gib << 30) + BIG_DISK_LEFT_BYTES, shutil.disk_usage(self.scratch).free
            if free < need:
                print(f"sort of {gib} GiB: left out, for input, runs and output, and {BIG_DISK_LEFT_BYTES >> 30} GiB that stay free, "
                      f"need {need / (1 << 30):.0f} GiB of disk; {free / (1 << 30):.0f} are free", flush=True)
                continue
            records = self.generate("records", gib << 30, self.scratch / "big")
            self.want = sh(f"{self.scratch}/valsort {records} | sed 's/, not sorted.*/, sorted/'", self.env, subprocess.PIPE)
            programs = [("mrctl", self.sort_command(records, BIG_PARTS_PER_GIB * gib)),
                        *self.yard("sortshuf", f"{records} {self.scratch}/y 64 {BIG_PARTS_PER_GIB * gib}")]
            if gib <= 4:  # a task has 64 MiB
                programs.append(("mrctl, 256 MiB a task", self.sort_command(records, 4 * gib, "--split-size 256M")))
            taken = {name: [] for name, _ in programs}
            for _ in range(self.args.rounds):
                rng.shuffle(programs)
                for name, command in programs:
                    taken[name].append(self.run_one_big(gib, name, command))
            records.unlink()
            self.remove_answers()
            for name in sorted(taken):
                median = statistics.median(taken[name])
                print(f"sort of {gib} GiB, {name}: median of {len(taken[name])} {median:.1f} s, {median / gib:.2f} s/GiB; "
                      f"{median / statistics.median(taken.get('sortshuf', taken['mrctl'])):.2f} x the yardstick", flush=True)

    def remove_answers(self):
        for folder in ("out", "y"):
            shutil.rmtree(self.scratch / folder, ignore_errors=True)

    def run_one_big(self, gib, name, command):
        """Return: seconds, of an answer that is right in bounded memory."""
        limit = 512
        self.remove_answers()
        free = shutil.disk_usage(self.scratch).free
        start = time.perf_counter()
        peak, least_free = peak_memory(command, self.env, self.scratch)
        taken = time.perf_counter() - start
        parts = f"{self.scratch}/{'y' if name == 'sortshuf' else 'out'}/part-*"
        if sh(f"{self.scratch}/valsort {parts}", self.env, subprocess.PIPE) != self.want:
            sys.exit(f"sort of {gib} GiB, {name}: the answer is wrong")
        print(f"sort of {gib} GiB, {name}: {taken:.1f} s, {taken / gib:.2f} s/GiB; peak memory of all processes {peak / (1 << 20):.0f} MiB"
              + (f" (at most {limit})" if name != "sortshuf" else "")
              + f"; disk beside the input {(free - least_free) / (gib << 30):.1f} times its size; the answer is right", flush=True)
        if name != "sortshuf" and peak > limit << 20:
            sys.exit(f"sort of {gib} GiB: memory is not bounded")
        return taken

    def check_sort(self, title, records):
        """The parts, one after another, are in order, and have the input's records: as many, and with their checksum."""
        valsort = self.scratch / "valsort"
        self.check(title, f"{valsort} {self.scratch}/out/part-*", f"{valsort} {records} | sed 's/, not sorted.*/, sorted/'")

    def databases(self, job):
        """DuckDB, and ClickHouse embedded, by their packages for Node: where somebody has put these."""
        peers, found = self.data / "peers", []
        for name, package, script in DATABASES:
            there = peers / "node_modules" / package
            if self.args.install_peers and not there.exists():
                peers.mkdir(exist_ok=True)
                sh(f"cd {peers}; test -e package.json || npm init -y; npm install --no-audit --no-fund {package}", self.env)
            if not there.exists() or not shutil.which("node"):
                self.absent.add(f"{name}: not here, for {package} is not in {peers} (--install-peers fetches it)")
                continue
            shutil.copy(HERE / script, peers)
            found.append((name, f"node {peers}/{script} '{job}' {self.data} '{self.text}' {self.scratch}/{package.split('/')[-1]}"))
        return found

    def check_databases(self):
        """What a database says, put into our form; of the rows where that is one command."""
        s, digest = self.scratch, "sort -S 25% --parallel=2 | cksum"
        ours = f"cat {s}/out/part-*"
        for job in ("regex count", "bytes per client", "join"):
            programs = dict(self.jobs.get(job, []))
            for name, package, _ in DATABASES:
                if name not in programs:
                    continue
                sh(programs["mrctl"], self.env)
                sh(programs[name], self.env)
                got = {"regex count": f"{ours} | cut -f2"}.get(job, f"{ours} | {digest}")
                want = f"cat {s}/{package.split('/')[-1]}" + ("" if job == "regex count" else f" | {digest}")
                self.check(f"{job}, {name}", got, want)
                print(f"{job}: {name}'s answer is the same", flush=True)

    def check(self, title, ours, other):
        got, want = sh(ours, self.env, subprocess.PIPE), sh(other, self.env, subprocess.PIPE)
        if got != want:
            sys.exit(f"{title}: the answer differs: {got[:300]!r} and {want[:300]!r}")

    def check_word_count(self):
        """The text with its wide white space (Unicode's) made blanks, for programs that know ASCII's only."""
        s, out, digest = self.scratch, self.scratch / "out", "sort -S 25% --parallel=2 | cksum"
        wide = r"s/\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80/ /g"
        sh(f"head -c 64M '{self.text}' > {s}/some; sed -E '{wide}' {s}/some > {s}/plain", self.env)
        sh(self.ours("--app wordcount", f"{s}/some", reduces=16), self.env)
        self.check("word count", f"cat {out}/part-* | {digest}",
                   f"tr -s '[:space:]' '\\n' < {s}/plain | grep . | sort -S 25% --parallel=2 | uniq -c | {SWAP} | {digest}")
        print("word count: the first 64 MiB's answer is coreutils'", flush=True)
        if "wcpart" in self.yardsticks:
            sh(f"sed -E '{wide}' '{self.text}' > {s}/plain", self.env)
            sh(self.ours("--app wordcount", self.text, reduces=64), self.env)
            sh(self.yard("wcpart", f"-o {s}/y {s}/plain")[0][1], self.env)
            self.check("word count", f"cat {out}/part-* | {digest}", f"cat {s}/y/* | {digest}")
            print("word count: the whole text's answer is wcpart's", flush=True)
        (s / "plain").unlink()

    def check_answers(self):
        """By digests of what both sides say, in one order."""
        s, digest = self.scratch, "sort -S 25% --parallel=2 | cksum"
        parts = f"cat {s}/out/part-*"
        letters = f"{LETTERS_TR} < '{self.text}' | grep . | sort -S 25% --parallel=2 | uniq -c | {SWAP} | {digest}"
        if "wcpart" in self.yardsticks and self.args.size > 64: # coreutils need minutes for more
            letters = f"rm -rf {s}/y; mkdir {s}/y; {self.yardsticks['wcpart']} -l -s -o {s}/y '{self.text}' 2> /dev/null; cat {s}/y/* | {digest}"
        checks = {
            "letters only": (f"{parts} | {digest}", letters),
            "C streaming mapper": (f"{parts} | awk '{{n += $1}} END {{print n}}'", f"tr -s '[:space:]' '\\n' < '{self.text}' | wc -l"),
            "sort of lines": (f"{parts} | cksum", f"cksum < {s}/c"),
            "sort by a field": (f"{parts} | cksum", f"cksum < {s}/c"),
            **{job: (f"{parts} | cksum", f"{command} < '{self.input_of(job)}' | sed '$a\\' | cksum") for job, command in COMMANDS.items()},
            "command reducer": (f"{parts} | {digest}", f"sort -S 25% --parallel=2 {s}/c | cksum"),
            "regex count": (f"{parts} | cut -f2", f"{'rg' if shutil.which('rg') else 'grep'} -c '\" 50[0-9] ' {self.data}/log"),
            "inverted index": (f"{parts} | awk -F '\\t' '{{for (i = 2; i <= NF; i++) {{n = split($i, p, \"/\"); print $1 \"\\t\" p[n]}}}}' | {digest}", f"sort {s}/c | cksum"),
            "join": (f"{parts} | {digest}", f"sort {s}/c | cksum"),
            "bytes per client": (f"{parts} | {digest}", f"awk '{{b[$1] += $10}} END {{for (k in b) printf \"%s\\t%d\\n\", k, b[k]}}' {self.data}/log | {digest}"),
        }
        if "word count" in self.jobs:
            self.check_word_count()
        if "sort" in self.jobs:
            sh(dict(self.jobs["sort"])["mrctl"], self.env)
            self.check_sort("sort", self.data / "records")
            print("sort: the records are all there, and in order", flush=True)
        for job, (got, want) in checks.items():
            programs = dict(self.jobs.get(job, []))
            if not programs:
                continue
            sh(programs["mrctl"].replace(" -n'", " -n 2>&1'"), self.env) # the C mapper says its answer on stderr
            for other in ("mawk, sort", "sort, join", "sort | reducer", "coreutils"): # whose output the check reads
                if other in programs and f"{s}/c" in want:
                    sh(programs[other], self.env)
            self.check(job, got, want)
            print(f"{job}: the answers are the same", flush=True)
        programs = dict(self.jobs.get("one line", []))
        if programs:
            self.check("one line", f"{programs['mrctl']} | sort", f"{programs['coreutils']} | {SWAP} | sort")
            print("one line: the answers are the same", flush=True)

    def run(self):
        taken = {(job, name): [] for job, programs in self.jobs.items() for name, _ in programs}
        rng = random.Random(1)
        todo = [(job, name, command) for job, programs in self.jobs.items() for name, command in programs]
        for path in {self.text, str(self.data / "log"), str(self.data / "records")}:
            sh(f"cat '{path}' > /dev/null", self.env)
        try:
            for _ in range(self.args.rounds):
                rng.shuffle(todo)
                for job, name, command in todo:
                    times = 5 if job == "one line" else 1
                    for _ in range(times):
                        start = time.perf_counter()
                        sh(command, self.env)
                        taken[job, name].append(time.perf_counter() - start)
        except Ended:
            print("ended before the last round: the table is of what was taken by then")
        return taken

    def rows(self, taken):
        for job, all_programs in self.jobs.items():
            programs = [p for p in all_programs if taken[job, p[0]]]
            if not programs:
                continue
            base = statistics.median(taken[job, programs[min(1, len(programs) - 1)][0]])
            for i, (name, _) in enumerate(programs):
                times = taken[job, name]
                yield job, name, statistics.median(times), min(times), statistics.median(times) / base, i == 0


class Ended(Exception):
    """A time limit's SIGTERM."""


def end(*_):
    raise Ended


def pss_bytes(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            return 1024 * int(next(line for line in f if line.startswith("Pss:")).split()[1])
    except (OSError, StopIteration):
        return 0 # it has ended


def tree(pid):
    """A process and all below it."""
    found = [pid]
    for p in found:
        try:
            for task in os.listdir(f"/proc/{p}/task"):
                with open(f"/proc/{p}/task/{task}/children", encoding="ascii") as f:
                    found += [int(x) for x in f.read().split()]
        except OSError:
            continue
    return found


def peak_memory(command, env, disk):
    """Return: the most bytes that all processes held together, and the least that were free on the disk."""
    with tempfile.TemporaryFile() as said:
        p = subprocess.Popen(["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, env=env)
        peak, free = 0, shutil.disk_usage(disk).free
        while p.poll() is None:
            peak = max(peak, sum(pss_bytes(x) for x in tree(p.pid)))
            free = min(free, shutil.disk_usage(disk).free)
            time.sleep(0.02)
        if p.returncode:
            said.seek(0)
            sys.exit(f"failed with status {p.returncode}, and at least {free >> 20} MiB free on the disk: {command}\n{said.read(1000).decode(errors='replace')}")
    return peak, free


def report_memory(bench, limit_mib):
    """Bounded is bounded: this one does fail."""
    for job, programs in bench.jobs.items():
        if job != "sort" or programs[0][0] != "mrctl":
            continue
        peak = peak_memory(programs[0][1], bench.env, bench.scratch)[0] / (1 << 20)
        print(f"{job}: peak memory of all processes {peak:.0f} MiB (at most {limit_mib})")
        if peak > limit_mib:
            sys.exit(1)


def machine(args):
    with open("/proc/meminfo", encoding="ascii") as f:
        kib = int(f.readline().split()[1])
    return f"{os.cpu_count()} processors, {kib / (1 << 20):.0f} GiB of memory; {args.size} MiB of each kind of data, in the page cache"


def table(rows, rounds):
    print(f"{'job':22s} {'program':16s} {'median':>10s} {'least':>10s} {'ratio':>8s}   ({rounds} rounds, shuffled)")
    for job, name, median, least, ratio, first in rows:
        print(f"{job if first else '':22s} {name:16s} {median:8.3f} s {least:8.3f} s {ratio:7.2f} x")


def svg(rows, path):
    """Bars of ratios on a logarithmic scale."""
    import math
    height, left, width = 18, 300, 420
    most = max(2.0, max(r[4] for r in rows))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 80}" height="{height * len(rows) + 30}" '
           'font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>']
    scale = width / math.log10(most / 0.25)
    for i, (job, name, _, _, ratio, first) in enumerate(rows):
        y = 10 + i * height
        bar = max(1.0, scale * math.log10(max(ratio, 0.26) / 0.25))
        if first:
            out.append(f'<text x="8" y="{y + 12}" font-weight="bold">{job}</text>')
        out.append(f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{name}</text>')
        out.append(f'<rect x="{left}" y="{y + 2}" width="{bar:.1f}" height="{height - 5}" fill="{"#2a7" if first else "#aaa"}"/>')
        out.append(f'<text x="{left + bar + 4:.1f}" y="{y + 12}">{ratio:.2f}</text>')
    x = left + scale * math.log10(1 / 0.25)
    out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{10 + height * len(rows)}" stroke="black" stroke-dasharray="3"/></svg>')
    pathlib.Path(path).write_text("\n".join(out) + "\n")
    check_svg(rows, path)


def check_svg(rows, path):
    """It is XML, and has a bar and a ratio for each row."""
    drawn = [e.text for e in xml.etree.ElementTree.parse(path).iter() if e.tag.endswith("}text")]
    wanted = [text for job, name, _, _, ratio, first in rows for text in ([job] if first else []) + [name, f"{ratio:.2f}"]]
    if drawn != wanted:
        sys.exit(f"{path} does not show the table: {drawn} instead of {wanted}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", default=tempfile.gettempdir())
    parser.add_argument("--size", type=int, default=1024, help="MiB of each kind of data")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--text")
    parser.add_argument("--yardsticks", default=str(mr.SOURCE.parent / "shared" / "limit"))
    parser.add_argument("--only")
    parser.add_argument("--programs")
    parser.add_argument("--svg")
    parser.add_argument("--data")
    parser.add_argument("--check", choices=("yes", "no", "only"), default="yes")
    parser.add_argument("--install-peers", action="store_true")
    parser.add_argument("--big", nargs="?", const="1,4,24", metavar="GIB,…")
    parser.add_argument("--short", action="store_true", help="as in CI: 4 MiB, one round")
    args = parser.parse_args()
    args.rounds = args.rounds or (1 if args.big else 5)
    if args.short:
        args.size, args.rounds = min(args.size, 4), 1
    signal.signal(signal.SIGTERM, end)
    os.makedirs(args.scratch, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="mr-bench-", dir=args.scratch))
    try:
        bench = Bench(args, scratch)
        if not args.big:
            bench.plan()
        print("".join(f"{line}\n" for line in sorted(bench.absent)), end="")
        if args.big:
            bench.run_big()
            return
        if args.check != "no":
            bench.check_answers()
            bench.check_databases()
        report_memory(bench, 512)
        if args.check == "only":
            return
        rows = list(bench.rows(bench.run()))
        print(machine(args))
        table(rows, args.rounds)
        if args.svg:
            svg(rows, args.svg)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


main()
