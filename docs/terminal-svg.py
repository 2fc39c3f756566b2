#!/usr/bin/env python3
"""Makes terminal.svg: a real session on a small cluster of this machine, as it looked on the terminal.

    BUILD_ROOT=build docs/terminal-svg.py > docs/terminal.svg

Starts a private bus, a master and three workers, types the commands below at a terminal of COLUMNS columns, and draws what
came back. Nothing in the picture is written by hand but the commands.
"""

import fcntl
import html
import os
import pathlib
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time

BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", "build")).resolve()
SOURCE = pathlib.Path(__file__).resolve().parents[1]
COLUMNS, ROWS = 112, 200
SESSION = (
    "mrctl run --mapper ./m.py --reducer ./r.py --reduces 2 --output counts 'text/*'",
    "mrctl run --name broken --mapper ./count.sh 'text/*' --max-attempts 2",
    "mrctl why 2",
    "mrctl timeline 1",
    "mrctl history",
)
COLOURS = {"1;32": "#8ae234", "1;31": "#ef2929", "1;33": "#fce94f", "38;5;245": "#8a8a8a"}


def start(home, name, *args):
    """A daemon of the cluster, with its output in a file."""
    with open(home / f"{name}.log", "wb") as log:
        return subprocess.Popen([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home)


def cluster(home, bus):
    yield start(home, "bus", "dbus-daemon", "--session", "--nofork", f"--address={bus}")
    wait(lambda: (home / "bus").exists())
    yield start(home, "master", BUILD / "daemons/mr-masterd/mr-masterd", f"--bus={bus}", "--config=/dev/null",
                f"--listen=unix:{home}/master.socket", f"--state={home}/master")
    for name in ("ada", "grace", "joan"):
        yield start(home, name, BUILD / "daemons/mr-workerd/mr-workerd", "--bus=none", "--config=/dev/null", "--slots=2",
                    f"--master=unix:{home}/master.socket", f"--listen=unix:{home}/{name}.socket",
                    f"--spool={home}/spool-{name}", f"--name={name}")


def wait(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    sys.exit("the cluster did not come up")


def type_command(command, env, cwd):
    """What the terminal shows for it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    p = subprocess.Popen(["sh", "-c", command], stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=cwd,
                         start_new_session=True)
    os.close(theirs)
    seen = b""
    while select.select([ours], [], [], 120)[0]:
        try:
            more = os.read(ours, 65536)
        except OSError:
            break
        seen += more
    os.close(ours)
    p.wait()
    return seen.decode(errors="replace")


def render(text):
    """Rows of (character, colour): as a terminal would show it that knows \\r, \\n, erase-line and colours.

    Of a line that was drawn again and again one moment is kept, from the middle, before what came last.
    """
    rows, row, column, colour, erased = [], [], 0, None, []
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|.|\n", text, re.S):
        if token == "\n":
            rows.append(row)
            row, column = [], 0
        elif token == "\r":
            column = 0
        elif token == "\x1b[K":
            if row and column == 0:
                erased.append(row[:])
            del row[column:]
        elif token.startswith("\x1b["):
            colour = COLOURS.get(re.sub(r"^0;", "", token[2:-1])) if token.endswith("m") else colour
        elif token >= " ":
            row[column:column + 1] = [(token, colour)]
            column += 1
    rows = ([erased[len(erased) // 2]] if erased else []) + rows + ([row] if row else [])
    return [part for r in rows for part in ([r[i:i + COLUMNS] for i in range(0, len(r), COLUMNS)] or [[]])]


def svg(rows):
    line, char, pad = 17, 7.83, 14
    width, height = int(COLUMNS * char + 2 * pad), (len(rows) + 1) * line + 2 * pad
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
           f'<rect width="{width}" height="{height}" rx="6" fill="#1e1e1e"/>',
           '<g font-family="ui-monospace, DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13" fill="#d3d7cf" xml:space="preserve">']
    for i, row in enumerate(rows):
        pieces, k = "", 0
        while k < len(row):
            colour = row[k][1]
            end = k
            while end < len(row) and row[end][1] == colour:
                end += 1
            piece = html.escape("".join(c for c, _ in row[k:end]))
            pieces += f'<tspan fill="{colour}">{piece}</tspan>' if colour else piece
            k = end
        out.append(f'<text x="{pad}" y="{pad + (i + 1) * line}">{pieces}</text>')
    return "\n".join(out + ["</g>", "</svg>"])


def main():
    with tempfile.TemporaryDirectory(prefix="mr-svg-") as scratch:
        home, bus = pathlib.Path(scratch), f"unix:path={scratch}/bus"
        (home / "text").mkdir()
        words = (SOURCE / "docs/ARCHITECTURE.md").read_text() * 40
        for i in range(12):
            (home / f"text/{i}.txt").write_text(words)
        for name in ("m.py", "r.py"):
            (home / name).write_bytes((SOURCE / "examples/streaming-python" / name).read_bytes())
            (home / name).chmod(0o755)
        (home / "count.sh").write_text("#!/bin/sh\nwordcounter --fast\n")
        (home / "count.sh").chmod(0o755)
        env = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=bus, PATH=f"{BUILD}/cli:{os.environ['PATH']}", TERM="xterm-256color",
                   SYSTEMD_PAGER="", LC_ALL="C.UTF-8", TZ="UTC")
        env.pop("NO_COLOR", None)
        daemons = []
        try:
            for daemon in cluster(home, bus):
                daemons.append(daemon)
            wait(lambda: subprocess.run([BUILD / "cli/mrctl", "workers", "--no-legend"], env=env, check=False,
                                        capture_output=True).stdout.count(b"alive") == 3)
            rows = []
            for command in SESSION:
                rows += [[("$", "#729fcf"), (" ", None)] + [(c, "#ffffff") for c in command]]
                rows += render(type_command(command, env, home).replace(scratch, "/srv")) + [[]]
            print(svg(rows[:-1]))
        finally:
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait(30)


main()
