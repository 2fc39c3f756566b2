#!/usr/bin/env python3
"""Holds the direction of includes between the rooms: arrows point down and never return.

A room may include its own headers and those of the rooms listed for it here, which is the text of
docs/ARCHITECTURE.md as a table. A room that is not listed is an error, so that a new one is thought about.
"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tap  # noqa: E402
import unittest  # noqa: E402

SOURCE = pathlib.Path(__file__).resolve().parents[2]

ALLOWED = {
    "daemons/base": set(),
    "daemons/rpc": set(),  # a library of its own
    "daemons/pki": {"base"},
    "daemons/records": {"base"},
    "daemons/apps": {"base"},
    "daemons/jobs": {"base", "apps"},
    "daemons/timekeeping": {"base"},
    "daemons/platform": {"base"},
    "daemons/mr-task": {"base", "apps", "records", "proto", "platform"},
    "daemons/mr-workerd": {"base", "platform", "rpc", "records", "timekeeping", "pki", "proto"},
    "daemons/mr-masterd": {"base", "platform", "rpc", "records", "apps", "jobs", "pki", "proto"},
    "daemons/timesyncd-lite": {"base", "platform", "rpc", "timekeeping", "proto"},
    "cli": {"base", "apps", "platform"},
}
# mr-task starts in a millisecond: of platform it takes what needs neither the loop nor the bus.
TASK_PLATFORM = {"platform/packet.h", "platform/quick.h", "platform/spawn.h"}
# Libraries that belong to one room only.
LIBRARIES = {
    r"event2/": {"platform", "rpc", "mr-masterd", "mr-workerd", "timesyncd-lite"},
    r"nghttp2/": {"rpc"},
    r"openssl/": {"rpc", "pki"},
    r"systemd/": {"platform", "mr-masterd", "mr-workerd", "timesyncd-lite", "cli"},
    r"sqlite3\.h": {"mr-masterd"},
    r"libsmartcols": {"cli"},
    r"jansson\.h": {"cli"},
    r"xxhash\.h": {"records"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def room_of_header(name):
    if name.endswith(".pb-c.h"):
        return "proto"
    return name.split("/")[0] if "/" in name else None


def violations(room, path, text):
    short = room.split("/")[-1]
    for quote, name in INCLUDE.findall(text):
        if quote == '"':
            target = room_of_header(name)
            if target in (None, short) or name == "config.h":
                continue
            if target not in ALLOWED[room]:
                yield f"{path} includes {name}: {room} may not use {target}"
            elif short == "mr-task" and target == "platform" and name not in TASK_PLATFORM:
                yield f"{path} includes {name}: mr-task may use only {sorted(TASK_PLATFORM)}"
        for pattern, rooms in LIBRARIES.items():
            if re.match(pattern, name) and short not in rooms:
                yield f"{path} includes <{name}>, which belongs to {sorted(rooms)}"


class Includes(unittest.TestCase):
    def rooms(self):
        yield from (p for p in (SOURCE / "daemons").iterdir() if p.is_dir() and p.name != "proto")
        yield SOURCE / "cli"

    def test_every_room_has_its_arrows(self):
        """every room is listed with what it may include"""
        for room in self.rooms():
            self.assertIn(str(room.relative_to(SOURCE)), ALLOWED)

    def test_arrows_point_down(self):
        """no room includes one above or beside it"""
        found, files = [], 0
        for room in self.rooms():
            for path in sorted(room.rglob("*.[ch]")):
                files += 1
                found += violations(str(room.relative_to(SOURCE)), path.relative_to(SOURCE), path.read_text())
        self.assertGreater(files, 15)
        self.assertEqual(found, [])

    def test_a_wrong_arrow_would_be_seen(self):
        """a wrong include is found"""
        self.assertTrue(list(violations("daemons/jobs", "x.c", '#include "rpc/evgrpc.h"\n')))
        self.assertTrue(list(violations("daemons/rpc", "x.c", '#include "base/macro.h"\n')))
        self.assertTrue(list(violations("daemons/mr-task", "x.c", '#include "platform/loop.h"\n')))
        self.assertTrue(list(violations("daemons/jobs", "x.c", "#include <sqlite3.h>\n")))
        self.assertFalse(list(violations("daemons/jobs", "x.c", '#include "base/error.h"\n')))


tap.main()
