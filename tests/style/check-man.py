"""Holds the manual pages against the programs: every option of --help, every setting of the configuration files."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ET

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tap  # noqa: E402

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", "build")).resolve()
PROGRAMS = {
    "mrctl.1": "cli/mrctl",
    "mr-masterd.8": "daemons/mr-masterd/mr-masterd",
    "mr-workerd.8": "daemons/mr-workerd/mr-workerd",
    "timesyncd-lite.8": "daemons/timesyncd-lite/timesyncd-lite",
}
SETTINGS = {
    "masterd.conf.5": ("Master", "daemons/mr-masterd/master-conf.c"),
    "workerd.conf.5": ("Worker", "daemons/mr-workerd/worker-conf.c"),
    "timesyncd-lite.conf.5": ("(?:Time|Server|TLS)", "daemons/timesyncd-lite/conf.c"),
}


def page(name):
    return (SOURCE / "man" / f"{name}.scd").read_text().replace("\\_", "_")


def options_of_help(text):
    """Options stand at the beginning of a line, after blanks; prose that mentions one does not count."""
    found = set()
    for line in text.split("\n"):
        if m := re.match(r"\s+(-\w )?\s*(--[a-z][a-z-]*)", line):
            found.add(m.group(2))
    return found


def options_of_page(text):
    """Headings are lines that begin with a bold option."""
    found = set()
    for line in text.split("\n"):
        if line.startswith("*-"):
            found |= set(re.findall(r"\*(--[a-z][a-z-]*)", line))
    return found


def tokens(text):
    return " ".join(re.findall(r"\w+|[^\w\s]", text))


def declarations(text):
    """What C text declares: of each type its members in their order, of each macro, function and constant all of it."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    found = {name: tokens(value) for name, value in re.findall(r"(?m)^#define (\w+) (.+)$", text)}
    text = re.sub(r"(?m)^\s*#.*$", "", text)
    text = re.sub(r"(?m)^static inline (\w[^{;]*?)\n?\{.*?^\}", r"\1;", text, flags=re.S)
    for whole, kind, name, body in re.findall(r"((struct|enum) (\w+)\s*\{(.*?)\}(?: \w+)?;)", text, re.S):
        text = text.replace(whole, "")
        found[name] = [kind, *(tokens(m) for m in re.split("[;,]" if kind == "enum" else ";", body) if m.strip())]
    text = re.sub(r'(?m)^(?:typedef\s*|extern "C" \{|\})$', "", text)
    for rest in filter(None, map(tokens, text.split(";"))):
        found.setdefault(re.findall(r"\w+", rest.split("(")[0])[-1] + (" type" if rest.startswith("typedef") else ""), rest)
    return found


def names_within(declared):
    """Every name that somebody who writes a plugin can use, but for arguments and MrHost's, which has a function for each."""
    names = set()
    for name, what in declared.items():
        names.add(name.split()[0])
        for member in what[1:] if isinstance(what, list) and name not in ("MrHost", "MrTask") else []:
            pointer = re.search(r"\( \* (\w+) \)", member)
            names.add(pointer.group(1) if pointer else member.split()[-1])
    return names


class Man(unittest.TestCase):
    def test_options(self):
        """each page has the options of its program's --help, and no others"""
        for name, program in PROGRAMS.items():
            with self.subTest(page=name):
                p = subprocess.run([BUILD / program, "--help"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   check=True, timeout=60)
                wanted = options_of_help(p.stdout.decode())
                self.assertGreater(len(wanted), 8)
                self.assertEqual(options_of_page(page(name)), wanted)

    def test_settings(self):
        """each configuration page has the settings that its daemon reads, and no others"""
        for name, (section, source) in SETTINGS.items():
            with self.subTest(page=name):
                wanted = set(re.findall(r'\{"%s", "(\w+)",' % section, (SOURCE / source).read_text()))
                self.assertGreater(len(wanted), 5)
                self.assertEqual(set(re.findall(r"^\*(\w+)=\*", page(name), re.M)), wanted)

    def test_job_file(self):
        """the page of job files has the settings that mrctl reads, and no others"""
        wanted = set(re.findall(r'\{"\w+", "(\w+)",', (SOURCE / "cli/job-file.c").read_text()))
        self.assertGreater(len(wanted), 10)
        self.assertEqual(set(re.findall(r"\*(\w+)=\*", page("mapreduced.job.5"))), wanted)

    def test_bus_pages(self):
        """each bus interface has a page that names every method, signal and property of its XML, with its arguments"""
        for xml in sorted((SOURCE / "dbus").glob("*.xml")):
            with self.subTest(xml=xml.name):
                made = BUILD / "man" / xml.name.replace(".xml", ".5")
                if not made.exists():
                    self.skipTest("built without scdoc")
                text = subprocess.run(["man", "-l", made], env=dict(os.environ, MANWIDTH="1000"), check=True,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout.decode() \
                    if shutil.which("man") else made.read_text().replace("\\", "")
                for interface in ET.parse(xml).getroot().iter("interface"):
                    self.assertIn(interface.get("name"), text)
                    for member in interface:
                        if member.tag == "property":
                            self.assertRegex(text, rf"{member.get('name')}\W.*\({re.escape(member.get('type'))}")
                        elif member.tag in ("method", "signal"):
                            self.assertRegex(text, rf"{member.get('name')}\W")
                        for arg in member.findall("arg"):
                            self.assertIn(f"{arg.get('type')} {arg.get('name')}", text)

    def test_header(self):
        """the page of mapreduce.h declares what the header does, describes each name in words, and has no others"""
        blocks = re.findall(r"(?ms)^```\n(.*?)^```$", page("mapreduce.h.3"))
        declared = declarations((SOURCE / "include/mapreduce.h").read_text())
        names = names_within(declared)
        self.assertGreater(len(declared), 20)
        self.assertTrue({"MR_OP_SUM", "mr_emit", "map_end", "is_map", "MR_PLUGIN_HEADER", "mapreduce_plugin"} <= names, names)
        self.assertEqual(declarations("".join(b for b in blocks if "#include" not in b)), declared)
        words = re.sub(r"(?ms)^```\n.*?^```$", "", page("mapreduce.h.3"))
        bold = set(re.findall(r"\*([A-Za-z]\w*)\*(?!\(\d)", words))
        self.assertEqual(bold, names - {"MrHost"})

    def test_another_header_would_be_seen(self):
        """a member, a macro, a function, a constant or a type that is another is found"""
        header = (SOURCE / "include/mapreduce.h").read_text()
        for old, new in (("size_t size, uint64_t number)\n{", "size_t size, int64_t number)\n{"), ("MR_ABI 1u", "MR_ABI 2u"),
                         ("MR_OP_MIN,", "MR_OP_LEAST,"), ("int is_map;", "int is_map, is_last;"), ("const MrPlugin map", "MrPlugin map"),
                         ("int ordered; ", ""), ("static inline void mr_status", "static inline void mr_state"),
                         ("int (*map_end)(MrTask *t, void *state);", "int (*map_end)(MrTask *t);")):
            self.assertIn(old, header)
            self.assertNotEqual(declarations(header.replace(old, new)), declarations(header), old)

    def test_lint(self):
        """every page that was built is read by mandoc without an error and by groff without a warning"""
        pages = sorted((BUILD / "man").glob("*.[1-8]"))
        if not pages:
            self.skipTest("built without scdoc")
        for tool in (["mandoc", "-Tlint", "-Werror"], ["man", "--warnings", "-Tutf8", "-l"]):
            if not shutil.which(tool[0]):
                continue
            for made in pages:
                with self.subTest(page=made.name, tool=tool[0]):
                    p = subprocess.run([*tool, made], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, check=False,
                                       env=dict(os.environ, LC_ALL="C.UTF-8", MANROFFSEQ="", MANWIDTH="120"))
                    out = p.stdout if tool[0] == "mandoc" else p.stderr
                    self.assertEqual((p.returncode, out), (0, b""))

    def test_verbs(self):
        """the page of mrctl and its help have every verb of the program, and no others"""
        def output(*args):
            return subprocess.run([BUILD / "cli/mrctl", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  check=True, timeout=60).stdout.decode()
        verbs = set(output("__complete", "verbs").split())
        self.assertGreater(len(verbs), 18)
        self.assertEqual(set(re.findall(r"(?m)^  ([a-z]+)[ :]", output("--help").split("\nOptions:")[0])), verbs)
        section = page("mrctl.1").split("\n# VERBS\n")[1].split("\n# ")[0]
        self.assertEqual({v for v in re.findall(r"(?m)^\*([a-z]+)\*", section)}, verbs)

    def test_references(self):
        """each page, unit and verb that a message or a unit file names is there"""
        pages = {p.name.removesuffix(".scd") for p in (SOURCE / "man").glob("*.scd")}
        pages |= {f"{p.stem}.5" for p in (SOURCE / "dbus").glob("*.xml")}
        units = {p.name.removesuffix(".in") for p in (SOURCE / "units").iterdir()}
        verbs = set(re.findall(r"(?m)^\*([a-z]+)\*", page("mrctl.1").split("\n# VERBS\n")[1].split("\n# ")[0]))
        said, count = set(), 0
        for path in [*(SOURCE / "daemons").rglob("*.[ch]"), *(SOURCE / "cli").rglob("*.[ch]")]:
            text = re.sub(r'"\s*\n\s*"', "", path.read_text())  # a sentence over several lines
            said |= {(path.name, s) for s in re.findall(r'"((?:[^"\\\n]|\\.)*)"', text)}
        for path in (SOURCE / "units").iterdir():
            said |= {(path.name, line) for line in re.findall("(?m)^Documentation=(.*)$", path.read_text())}
        for name, text in said:
            for found, section in re.findall(r"\b([a-z][\w.-]*)\(([1-8])\)", text):
                if not found.startswith("systemd."):
                    self.assertIn(f"{found}.{section}", pages, f"{name}: {text}")
                count += 1
            for unit in re.findall(r"systemctl \w+ ([a-z][\w-]+)", text):
                self.assertTrue({f"{unit}.service", unit} & units, f"{name}: {text}")
                count += 1
            for verb in re.findall(r"'mrctl ([a-z]+)", text):
                self.assertIn(verb, verbs, f"{name}: {text}")
                count += 1
        self.assertGreater(count, 20)

    def test_a_missing_option_would_be_seen(self):
        """an option without its line is found"""
        self.assertEqual(options_of_help("  -h --help  x\n     --a-b=N  as --c\n") ^ options_of_page("*-h*, *--help*\n"),
                         {"--a-b"})


tap.main()
