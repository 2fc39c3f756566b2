"""Jobs in files: the syntax of unit files, from any directory, there and back."""

import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

LONG = "; ".join(f"true {i}" for i in range(100))
JOB = f"""# counts what the mapper prints
[Job]
Name=count ; not a comment
Input=in/a
Input=in/b*
Environment=MARK=x=y

[Map]
Exec=./m.sh ; {LONG}
Ship=words

[Reduce]
Exec=cut -f1 \\
# a comment in between
        | uniq -c | awk '{{print $2 "\\t" $1}}'
Tasks=2
"""


class JobFiles(mr.Scratch):
    def setUp(self):
        super().setUp()
        self.script("job/m.sh", "#!/bin/sh\nsed \"s/^/$MARK-/\" | cat - words\n")
        self.file("job/words", "extra\n")
        self.file("job/in/a", "one\none\n")
        self.file("job/in/b1", "two\n")
        self.job = self.file("job/count.job", JOB)
        self.want = b"extra\t2\nx=y-one\t2\nx=y-two\t1\n"

    def test_run(self):
        """a job file runs from any directory; long lines, ; and continued lines are what they are in unit files"""
        for directory, name in ((self.dir, self.job), (self.dir / "job", "count.job"), (self.dir, "job/count.job")):
            p = self.local("-q", name, cwd=directory)
            self.assertOk(p)
            self.assertSameLines(p.stdout, self.want)

    def test_options_win(self):
        """an option replaces a value and adds to a list; another program replaces the whole one"""
        self.file("more", "three\n")
        p = self.local("-q", self.job, "--reduces=1", "--input", "more", "--output", "out", "--env", "MARK=z")
        self.assertOk(p)
        self.assertEqual(sorted(os.listdir(self.dir / "out")), ["_SUCCESS", "part-00000"])
        self.assertIn(b"z-three\t1\n", (self.dir / "out/part-00000").read_bytes())
        p = self.local("-q", self.job, "--mapper", "cat", "--reducer", "cat")
        self.assertEqual(p.stdout, b"one\t\none\t\ntwo\t\n")

    def test_plugin_beside_a_file(self):
        """a plugin is of the file's directory, and --print-job says where it is"""
        so = self.file("job/lines.so", "not an object")
        job = self.file("job/plugin.job", "[Job]\nInput=in/a\nApp=./lines.so\nMaxAttempts=1\n")
        for directory, name in ((self.dir, job), (self.dir / "job", "plugin.job"), (self.dir, "job/plugin.job")):
            p = self.mrctl("run", "--print-job", name, cwd=directory)
            self.assertOk(p)
            self.assertIn(f"\nApp={so}\nShip={so}\n", p.stdout.decode())
        copy = self.file("elsewhere/copy.job", p.stdout)
        self.assertEqual(self.mrctl("run", "--print-job", copy, cwd="/").stdout, p.stdout)
        self.assertFails(self.local("-q", "job/plugin.job"), "lines.so")

    def test_another_program(self):
        """with another program the file's fields go, too, and with an app to reduce all that the file's reduce has"""
        self.file("in", "b 1\na 2\nb 3\n")
        fields = "FieldSeparator=\\x20\nKeyFields=2\nPartitionKeyFields=1\nSortKeyFields=2nr\n"
        job = self.file("fields.job", f"[Job]\nInput=in\nIgnoreExitStatus=yes\n[Map]\nExec=cat\n{fields}"
                        "[Combine]\nExec=cat\n[Reduce]\nExec=cat\nFieldSeparator=,\n")
        p = self.local("-q", job, "--app", "wordcount")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"1\t1\n2\t1\n3\t1\na\t1\nb\t2\n")
        p = self.mrctl("run", "--print-job", job, "--mapper", "tr ' ' '\t'", "--map-key-fields=1")
        self.assertEqual(p.stdout.decode().split("\n", 2)[2], "IgnoreExitStatus=yes\n\n[Map]\nExec=tr ' ' '\t'\nKeyFields=1\n")
        p = self.local("-q", self.file("sum.job", "[Job]\nInput=in\n[Map]\nExec=tr ' ' '\\t'\nSortKeyFields=1r\n[Combine]\nExec=false\n"
                                       "[Reduce]\nExec=false\nFieldSeparator=,\n"), "--reducer-app=sum")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"a\t2\nb\t4\n")

    def test_maps_alone(self):
        """--reduces=0 and --reducer=none leave the file's reduce out"""
        self.file("in", "b\na\n")
        job = self.file("sorted.job", "[Job]\nInput=in\n[Map]\nExec=cat\nSortKeyFields=1r\n[Combine]\nExec=false\n[Reduce]\nExec=false\nTasks=2\n")
        for option in ("--reduces=0", "--reducer=none", "--reducer=NONE"):
            p = self.local("-q", job, option)
            self.assertOk(p)
            self.assertEqual(p.stdout, b"b\na\n")

    def test_every_value_of_an_option(self):
        """a job file takes what the options take, refuses what they refuse, and --print-job writes what it takes"""
        self.file("in", "b\na\n")
        (self.dir / "st").mkdir()
        for options, lines in ((("--reuse=auto",), "Reuse=auto"), ((f"--intermediate=stable:{self.dir}/st",), f"Intermediate=stable:{self.dir}/st"),
                               (("--task-timeout=500ms",), "TaskTimeout=1"), (("--memory-limit=1T",), "MemoryLimit=1099511627776")):
            with self.subTest(options=options):
                p = self.mrctl("run", "--print-job", "--mapper", "cat", *options, "in")
                self.assertOk(p)
                self.assertIn(f"\n{lines}\n", p.stdout.decode())
                copy = self.file("copy.job", p.stdout)
                self.assertEqual(self.mrctl("run", "--print-job", copy).stdout, p.stdout)
                p = self.local("-q", copy)
                self.assertOk(p)
                self.assertEqual(p.stdout, b"a\nb\n")
        text = "[Job]\nInput=in\nTaskTimeout=500ms\nSkipBadRecords=5\n[Map]\nExec=cat\n"
        self.assertIn(b"\nSkipBadRecords=5\nTaskTimeout=1\n", self.mrctl("run", "--print-job", self.file("a.job", text)).stdout)
        self.assertNotIn(b"SkipBadRecords", self.mrctl("run", "--print-job", "a.job", "--skip-bad-records=0").stdout)
        for line, needle in (("MemoryLimit=1K", "MemoryLimit= is not a size from 1M to 1T"), ("MemoryLimit=0", "MemoryLimit= is not a size from 1M to 1T"),
                             ("Intermediate=stable", "Intermediate= is neither local, nor stable:"),
                             ("Intermediate=stable:st", "Intermediate= is neither local, nor stable:")):
            with self.subTest(line=line):
                self.assertFails(self.local(self.file("bad.job", f"[Job]\n{line}\n")), f"bad.job:2: {needle}", code=1)

    def test_blank_separators(self):
        """--print-job says a separator that begins or ends with a blank by escapes"""
        self.file("in", "b 2\na 1\n")
        for separator, written in ((" ", "\\x20"), ("\t", "\\x09"), (", ", "\\x2c\\x20"), ("\\\\", "\\x5c"), (",", ","), (r"\t|", r"\t|")):
            with self.subTest(separator=separator):
                p = self.mrctl("run", "--print-job", "--mapper", "cat", "--map-field-separator", separator, "--reduce-field-separator", separator, "in")
                self.assertOk(p)
                self.assertEqual(p.stdout.decode().count(f"\nFieldSeparator={written}\n"), 2, p.stdout)
        p = self.mrctl("run", "--print-job", "--mapper", "cat", "--reducer", "cut -f2", "--map-field-separator", " ", "in")
        p = self.local("-q", self.file("blank.job", p.stdout))
        self.assertOk(p)
        self.assertEqual(p.stdout, b"1\n2\n")

    def test_empty_program(self):
        """a program with an empty name is none, of which no option is named that nobody gave"""
        for text in ("App=\n", "[Map]\nExec=\n"):
            p = self.local(self.file("empty.job", f"[Job]\nInput=x\n{text}"))
            self.assertFails(p, "what shall run?", code=2)

    def test_names_like_times(self):
        """an input with a colon that is no scheme's lies beside the file; an empty Output= is none"""
        self.file("job/10:30.log", "one\n")
        self.file("job/time.job", "[Job]\nInput=10:30.log\nOutput=\n[Map]\nExec=cat\n")
        p = self.local("-q", "job/time.job", cwd=self.dir)
        self.assertOk(p)
        self.assertEqual(p.stdout, b"one\n")
        self.file("job/out.job", "[Job]\nInput=10:30.log\nOutput=2026:01\n[Map]\nExec=cat\n")
        self.assertOk(self.local("-q", "job/out.job", cwd=self.dir))
        self.assertEqual((self.dir / "job/2026:01/part-00000").read_bytes(), b"one\n")

    def test_data_called_so(self):
        """data whose name ends with .job is read with --input, and who gives it as an operand is told"""
        self.file("data.job", "b\na\n")
        self.assertFails(self.local("--app", "sort", "data.job"), "data.job:1: neither a [Section] nor Key=value; if it is data, say --input data.job")
        p = self.local("-q", "--app", "sort", "--input", "data.job")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"a\nb\n")

    def test_commands_beside_a_file(self):
        """a command given beside a file is a path of the working directory, one of the file of its directory"""
        for name, text in (("r.sh", "RIGHT"), ("job/r.sh", "WRONG"), ("job/in/r.sh", "FILE")):
            self.script(name, f"#!/bin/sh\necho {text}\n")
        job = self.file("job/l.job", "[Job]\nInput=in/a\n[Map]\nExec=./m.sh\nShip=words\n[Combine]\nExec=in/r.sh\n")
        for option, want in (("--reducer=./r.sh", b"RIGHT\n"), ("--combiner=./r.sh", b"RIGHT\t\n")):
            p = self.local("-q", job, option, *(["--reducer=cat"] if "combiner" in option else ["--combiner=cat"]))
            self.assertOk(p)
            self.assertEqual(p.stdout, want)
        p = self.local("-q", job)
        self.assertOk(p)
        self.assertEqual(p.stdout, b"FILE\n")
        os.unlink(self.dir / "job/r.sh")
        p = self.local("-q", job, "--combiner=cat", "--reducer=./r.sh")
        self.assertOk(p)
        self.assertEqual(p.stdout, b"RIGHT\n")

    def test_there_and_back(self):
        """--print-job writes a file that means the same, from any directory"""
        first = self.mrctl("run", "--print-job", self.job)
        self.assertOk(first)
        again = self.file("elsewhere/copy.job", first.stdout)
        second = self.mrctl("submit", "--print-job", again, cwd="/")
        self.assertOk(second)
        self.assertEqual(first.stdout, second.stdout)
        p = self.local("-q", again, cwd="/")
        self.assertOk(p)
        self.assertSameLines(p.stdout, self.want)
        options = ["--app", "top", "--reduces=3", "--name=n", "--split-size=1M", "--max-attempts=2", "--task-timeout=1min",
                   "--skip-bad-records=1", "--memory-limit=1G", "--reuse=no", "--intermediate=local", "--output=out", "--input", "job/in", "--", "n=3"]
        p = self.mrctl("run", "--print-job", *options)
        self.assertOk(p)
        self.assertEqual(p.stdout.decode(), f"""[Job]
Name=n
Input={self.dir}/job/in
Output={self.dir}/out
App=top
Args=n=3
SplitSize=1048576
MaxAttempts=2
SkipBadRecords=1
TaskTimeout=60
MemoryLimit=1073741824
Reuse=no
Intermediate=local

[Reduce]
Tasks=3
""")
        self.assertEqual(self.mrctl("run", "--print-job", self.file("b.job", p.stdout)).stdout, p.stdout)
        self.file("a.zip")
        p = self.mrctl("run", "--print-job", "--mapper", "cat", "--map-field-separator", r"\t", "--map-key-fields=3", "--partition-key-fields=2",
                       "--ignore-exit-status=yes", "--sort-key-fields=2nr,1", "--reduce-field-separator=,", "--reduces=0", "--archive", "a.zip#d", "--input=in")
        self.assertOk(p)
        self.assertEqual(p.stdout.decode(), f"""[Job]
Input={self.dir}/in
Ship={self.dir}/a.zip
Archive={self.dir}/a.zip#d
IgnoreExitStatus=yes

[Map]
Exec=cat
FieldSeparator=\\t
KeyFields=3
PartitionKeyFields=2
SortKeyFields=2nr,1

[Reduce]
FieldSeparator=,
Tasks=0
""")
        self.assertEqual(self.mrctl("run", "--print-job", self.file("c.job", p.stdout)).stdout, p.stdout)
        self.assertFails(self.mrctl("run", "--print-job", "--mapper", "a\nb", "--input=x"), "holds a newline", code=1)

    def test_sorted_keys(self):
        """SortKeyFields= is the order of the reducer's lines, and --sort-key-fields= wins over it"""
        self.file("in", "".join(f"{n} {n % 3}\n" for n in (7, 30, 200, 4, 11)))
        job = self.file("sorted.job", "[Job]\nInput=in\n[Map]\nExec=cat\nFieldSeparator=\\x20\nKeyFields=2\nSortKeyFields=2,1nr\n"
                        "[Reduce]\nExec=cut -f1\n")
        for more, keys in (((), ("-k2,2", "-k1,1nr")), (("--sort-key-fields=1n",), ("-k1,1n",))):
            p = self.local("-q", job, *more)
            self.assertOk(p)
            self.assertEqual(p.stdout, subprocess.run(["sort", *keys, self.dir / "in"], env={"LC_ALL": "C"}, stdout=subprocess.PIPE, check=True).stdout)

    def test_exit_status(self):
        """IgnoreExitStatus= counts, and an option wins over it"""
        self.file("in", "x\n")
        job = self.file("unlucky.job", "[Job]\nInput=in\nIgnoreExitStatus=yes\n[Map]\nExec=grep nothing\n[Reduce]\nTasks=0\n")
        self.assertOk(self.local("-q", job))
        self.assertFails(self.local("-q", job, "--ignore-exit-status=no"), "exited with status 1")

    def test_errors(self):
        """what is wrong in a file is named with its line"""
        for text, needle in (("[Job]\nInput=x\n\n[Map]\nExce=cat\n", "bad.job:5: unknown setting Exce= in section [Map]"),
                             ("[Job]\nInput=\\\n x\nApp=wordcount\n[Reduce]\nTasks=x\n",
                              "bad.job:6: Tasks= is not a number from 0 to 10000: x"),
                             ("[Job]\n\nInput: x\n", "bad.job:3: neither a [Section] nor Key=value"),
                             ("[Job]\nTaskTimeout=soon\n", "bad.job:2: TaskTimeout= is not a time span"),
                             ("[Job]\nReuse=maybe\n", "bad.job:2: Reuse= is neither yes nor no"),
                             ("[Job]\nMemoryLimit=lots\n", "bad.job:2: MemoryLimit= is not a size"),
                             ("[Job]\nIgnoreExitStatus=maybe\n", "bad.job:2: IgnoreExitStatus= is not yes or no: maybe"),
                             ("[Job]\nEnvironment=x\n", "bad.job:2: Environment= is not NAME=VALUE")):
            with self.subTest(text=text):
                self.assertFails(self.local(self.file("bad.job", text)), needle, code=1)
        self.assertFails(self.local(self.file("bad.job", "[Map]\nExec=cat\n")), "no input", code=2)

    def test_half_an_app(self):
        """a command's map with a built-in reduce, in a file and by options, and there and back"""
        self.file("job/pairs", "a\t2\nb\t1\na\t3\n")
        self.script("job/m.py", "#!/bin/sh\nexec cat\n")
        job = self.file("job/half.job", "[Job]\nInput=pairs\n[Map]\nExec=./m.py\n[Reduce]\nApp=sum\nTasks=4\n")
        p = self.local("-q", job)
        self.assertOk(p)
        self.assertEqual(p.stdout, b"a\t5\nb\t1\n")
        p = self.mrctl("run", "--print-job", job)
        self.assertIn(b"[Map]\nExec=./m.py\n\n[Reduce]\nApp=sum\nTasks=4\n", p.stdout)
        copy = self.file("copy.job", p.stdout)
        self.assertEqual(self.mrctl("run", "--print-job", copy).stdout, p.stdout)
        self.assertEqual(self.local("-q", copy).stdout, b"a\t5\nb\t1\n")
        self.assertEqual(self.local("-q", copy, "--reducer-app=max").stdout, b"a\t3\nb\t1\n")
        self.assertEqual(self.local("-q", copy, "--reducer=cut -f1 | uniq").stdout, b"a\nb\n")

    def test_halves_that_do_not_fit(self):
        """mixes without a meaning are refused with the reason"""
        self.file("pairs", "a\t2\n")
        for text, *needles in (("[Map]\nApp=wordcount\n[Reduce]\nExec=cat\n", "bad.job:4: App= is for a whole job, in [Job]"),
                               ("[Map]\nExec=cat\n[Combine]\nApp=sum\n", "bad.job:6: App= is not needed"),
                               ("[Map]\nExec=cat\n[Reduce]\nApp=sort\n", "bad.job:6: App= is none of count, distinct, max, min, sum,", "sort")):
            with self.subTest(text=text):
                self.assertFails(self.local(self.file("bad.job", f"[Job]\nInput=pairs\n{text}")), *needles, code=1)
        for more in ("--mapper=cat", "--reducer=cat", "--reducer-app=sum"):
            self.assertFails(self.local("--app", "wordcount", "--input", "pairs", more), "--app cannot be combined", code=2)
        for more in ("--combiner=cat", "--reducer=cat"):
            self.assertFails(self.local("--mapper=cat", "--reducer-app=sum", "--input", "pairs", more), "--reducer-app cannot be combined", code=2)
        self.assertFails(self.local("--mapper=cat", "--reducer-app=grep", "--input", "pairs"), "count, distinct, max, min, sum", code=2)
        for more in ("--reduces=0", "--reduce-field-separator=,"):
            self.assertFails(self.local("--mapper=cat", "--reducer-app=sum", "--input", "pairs", more), "ReducerApp", code=1)

    def test_more_errors(self):
        """what is no job file is said to be none"""
        self.assertFails(self.local("a.job", "b.job"), "two job files", code=1)
        self.assertFails(self.local("none.job"), "cannot read none.job: No such file", code=1)


tap.main()
