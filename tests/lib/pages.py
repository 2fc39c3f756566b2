"""The commands in README.md and docs/, as blocks with a comment before each that says where it is run.

    <!-- run: NAME -->          on this machine, by tests/local/docs.py
    <!-- container: HOST -->    on a host that boots, by tests/cluster/hosts.py
"""

import pathlib
import re

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/administration.md", "docs/security.md")


def blocks(page):
    """(where, name, commands, line) of each fenced block."""
    lines = (SOURCE / page).read_text().split("\n")
    inside, found, start = False, [], 0
    for i, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        inside = not inside
        if inside:
            start = i
            continue
        if lines[start] != "```":  # not commands: a language is named
            continue
        m = re.fullmatch(r"<!-- (run|container): (.*) -->", lines[start - 1])
        found.append((m and m.group(1), m and m.group(2), "\n".join(lines[start + 1:i]) + "\n", start + 1))
    return found
