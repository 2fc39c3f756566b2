"""The commands in README.md, docs/ and the examples' pages, as blocks with a comment before each that says where it is run.

    <!-- run: NAME -->          on this machine, by tests/local/docs.py
    <!-- container: HOST -->    on a host that boots, by tests/cluster/hosts.py
    <!-- by hand: WHY -->       by nobody; tests/style/check-docs.py sees that what it names is there

A block is what a fence encloses. One that names a language is no command: `text` is a picture, others see LANGUAGES.
"""

import pathlib
import re

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PAGES = ("README.md", *(str(p.relative_to(SOURCE)) for folder in ("docs/*.md", "examples/*/*.md")
                        for p in sorted(SOURCE.glob(folder))))
WHERE = ("run", "container", "by hand")


def fences(page):
    """(language, line before it, [lines], line number) of each fenced block."""
    lines = (SOURCE / page).read_text().split("\n")
    start = None
    for i, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = i
            continue
        yield lines[start][3:], lines[start - 1], lines[start + 1:i], start + 1
        start = None
    if start is not None:
        raise AssertionError(f"{page}:{start + 1}: this block has no end")


def blocks(page):
    """(where, name, commands, line) of each block of commands."""
    found = []
    for language, before, lines, line in fences(page):
        if language:
            continue
        m = re.fullmatch(rf"<!-- ({'|'.join(WHERE)}): (\S.*) -->", before)
        found.append((m and m.group(1), m and m.group(2), "\n".join(lines) + "\n", line))
    return found


def prose(page):
    """The page without its blocks, lines kept."""
    lines = (SOURCE / page).read_text().split("\n")
    for _, _, inside, line in fences(page):
        for i in range(line - 1, line + len(inside) + 1):
            lines[i] = ""
    return "\n".join(lines)
