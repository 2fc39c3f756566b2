"""Runs the commands of README.md, of the pages below docs/ and of the examples' pages from the text itself.

They are those of the blocks that say `<!-- run: NAME -->`; blocks of one NAME are run in one shell, one after the other. What runs
the others, and that there are no others: tests/lib/pages.py. The shell has a /tmp, a /srv, a network and processes of its own, so
that the fixed names in the text meet nobody else's.
"""

import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import pages  # noqa: E402
import tap  # noqa: E402

DAEMONS = ":".join(f"{mr.BUILD}/daemons/{d}" for d in ("mr-masterd", "mr-workerd", "mr-task", "timesyncd-lite"))

# What the text takes for granted, by the name of the shell.
CLUSTER = """
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/tmp/bus
dbus-daemon --session --fork --address=$DBUS_SYSTEM_BUS_ADDRESS
mr-masterd --insecure-plain-tcp --bus=system --listen=127.0.0.1:7070 --state=/tmp/master --config=/dev/null &
mr-workerd --insecure-plain-tcp --bus=none --master=127.0.0.1:7070 --listen=127.0.0.1:0 --spool=/tmp/one --name=one --config=/dev/null &
until mrctl workers --no-legend 2>/dev/null | grep -q alive; do sleep 0.1; done
"""
BEFORE = {
    "cluster": CLUSTER,
    "failed": CLUSTER + "mrctl run -q --mapper 'exit 3' --max-attempts=1 --input logs && exit 1\n",
}
# What a block waits for, by what its comment says after "once": the number of workers, a time server, or a time daemon on its bus.
UNTIL = (
    (r"(\d+) workers", "[ $(mrctl --bus=unix:path=/tmp/mr-bus workers --no-legend 2>/dev/null | grep -c alive) = {} ]"),
    (r"([\d.]+:\d+)", "mrctl time query {} >/dev/null 2>&1"),
    (r"the (clock)", "mrctl --bus=unix:path=/tmp/time-bus time status 2>/dev/null | grep -q 'State: synchronised'"),
)


def until(condition):
    for pattern, command in UNTIL:
        m = re.fullmatch(pattern + " (?:is there|are there|follows)", condition)
        if m:
            return f"until {command.format(m.group(1))}; do sleep 0.1; done\n"
    raise AssertionError(f"nothing is known that waits until {condition}")


class Docs(mr.Scratch):
    def shells(self, page):
        """name → script"""
        scripts = {}
        for where, name, commands, line in pages.blocks(page):
            if where != "run":
                continue
            name, _, condition = name.partition(", once ")
            script = scripts.setdefault(name, BEFORE.get(name, ""))
            if condition:
                script += until(condition)
            scripts[name] = script + commands
        return scripts

    def run_script(self, script):
        home = self.dir / "home"
        (home / "logs").mkdir(parents=True)
        for name in ("m.py", "r.py"):
            (home / name).write_bytes((mr.SOURCE / "examples/streaming-python" / name).read_bytes())
            (home / name).chmod(0o755)
        (home / "logs/a.log").write_text("error one\nerror two\n")
        (self.dir / "text").mkdir()
        (self.dir / "text/licence").write_text("to be or not to be\n")
        (self.dir / "text/package").mkdir()
        (self.dir / "text/package/copyright").write_text("that is the question\n")
        (home / "build").symlink_to(mr.BUILD)
        (home / "tests").symlink_to(mr.SOURCE / "tests")
        whole = f"""set -eu
mount -t tmpfs tmpfs /var/tmp
mount --bind {self.dir}/text /usr/share/doc
cp -r {home} /var/tmp/home
ip link set lo up
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /srv
mkdir /srv/texts /srv/results
cd /var/tmp/home
cp logs/* /srv/texts
{script}"""
        return subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child",
                               "bash", "-c", whole], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120 * mr.SLOW, check=False,
                              env=dict(self.env, PATH=f"{mr.BUILD}/cli:{DAEMONS}:{os.environ['PATH']}", TMPDIR="/var/tmp",
                                       HOME="/var/tmp/home"))

    @unittest.skipUnless(os.geteuid() == 0, "only root can give a shell a network and a /tmp of its own")
    def test_commands(self):
        """every command that is run here succeeds, as it is written"""
        if str(mr.BUILD).startswith(("/tmp", "/var/tmp")):
            self.skipTest("the build folder is below /tmp, which is hidden from the commands")
        count = 0
        for page in pages.PAGES:
            for name, script in self.shells(page).items():
                with self.subTest(page=page, shell=name):
                    self.doCleanups()
                    self.setUp()
                    p = self.run_script(script)
                    self.assertEqual(p.returncode, 0, p.stdout.decode(errors="replace")[-3000:])
                    count += 1
        self.assertGreaterEqual(count, 11)

    @unittest.skipUnless(os.geteuid() == 0, "only root can give a shell a network and a /tmp of its own")
    def test_a_bad_command_would_be_seen(self):
        """a command that fails fails the test"""
        self.assertNotEqual(self.run_script("mrctl --no-such-option\ntrue\n").returncode, 0)


tap.main()
