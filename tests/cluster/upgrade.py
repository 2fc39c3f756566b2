#!/usr/bin/env python3
"""State of an older mr-masterd: every schema there has been is upgraded at start, with its jobs, those that run, too.

state/*.sql are the schemas as they were. The current one is there as well: who changes it without a new version is told.
"""

import json
import pathlib
import signal
import sqlite3
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

SCHEMAS = pathlib.Path(__file__).parent / "state"
WORDS = "tr -s '[:space:]' '\\n' | grep -av '^$' | sed 's/$/\\t1/'"
SUM = "awk -F '\\t' '{n[$1] += $2} END {for (w in n) printf \"%s\\t%d\\n\", w, n[w]}'"


def columns(db, table):
    return [row[0] for row in db.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def tables(db):
    return [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]


def shape(db):
    """What there is, without regard to its lay-out and order."""
    return sorted("".join(row[0].split()) for row in db.execute("SELECT sql FROM sqlite_schema WHERE sql NOT NULL AND name NOT LIKE 'sqlite_%'"))


def fresh(schema):
    db = sqlite3.connect(":memory:")
    db.executescript((SCHEMAS / schema).read_text())
    return db


class Upgrade(mr.ClusterCase):
    workers_wanted = 2

    def database(self):
        return self.dir / "master/state.db"

    def start_master(self, *extra):
        """Its workers are expected back within their lease, long here: they ask for it ever more seldom."""
        return super().start_master("--lease=60", *extra)

    def stop(self):
        self.assertEqual(self.master.kill(signal.SIGTERM), 0)

    def make_old(self, schema):
        """The database with what that schema has of it."""
        now, path = sqlite3.connect(self.database()), self.dir / "old.db"
        path.unlink(missing_ok=True)
        old = sqlite3.connect(path)
        old.executescript((SCHEMAS / schema).read_text())
        for table in tables(old):
            both = ",".join(c for c in columns(old, table) if c in columns(now, table))
            rows = now.execute(f"SELECT {both} FROM {table}").fetchall()
            if rows:
                old.executemany(f"INSERT INTO {table}({both}) VALUES({','.join('?' * len(rows[0]))})", rows)
        old.commit()
        old.close()
        now.close()
        for file in self.database().parent.glob("state.db*"):
            file.unlink()
        path.rename(self.database())

    def seen(self, job):
        """What people see of a job that is over."""
        p = self.ctl("status", "--json=short", job)
        self.assertOk(p)
        status = json.loads(p.stdout)
        cat = self.ctl("cat", job)
        self.assertOk(cat)
        return {k: status[k] for k in ("Id", "Name", "State", "MapsDone", "ReducesDone", "Counters", "FinishedUSec")}, cat.stdout

    def test_every_version(self):
        """a job that is over, in the state of every version there has been"""
        job = self.submit("--app", "wordcount", "--input", self.file("in", "a b a\n"), "--name", "kept", "--output", self.dir / "out")
        self.assertOk(self.ctl("wait", "-q", job))
        before = self.seen(job)
        self.assertIn("done", str(before[0]))
        self.stop()
        with sqlite3.connect(self.database()) as db:
            version, want = db.execute("PRAGMA user_version").fetchone()[0], shape(db)
        old = sorted(p.name for p in SCHEMAS.glob("*.sql") if int(p.name.split("-")[0].split(".")[0]) < version)
        self.assertGreaterEqual(len(old), 6)
        for schema in old:
            with self.subTest(schema):
                self.make_old(schema)
                self.start_master()
                self.assertEqual(self.seen(job), before)
                self.assertIn(f"Upgraded the state database from version {schema[0]} to {version}", self.master.text())
                self.wait_for_workers(2)
                fresh_job = self.submit("--app", "wordcount", "--input", self.dir / "in")
                self.assertGreater(int(fresh_job), int(job))
                self.assertOk(self.ctl("wait", "-q", fresh_job))
                self.stop()
                with sqlite3.connect(self.database()) as db:
                    self.assertEqual(shape(db), want)
                    self.assertEqual(db.execute("PRAGMA user_version").fetchone()[0], version)
                    self.assertEqual(db.execute("PRAGMA integrity_check").fetchone()[0], "ok")

    def test_running_jobs(self):
        """a job in the middle of its maps goes on after the upgrade, with the maps that are done"""
        # Before 1-running, states had no name, by which workers know their jobs again: all maps run anew.
        for schema, attempts in (("1-first.sql", 2), ("1-running.sql", 1), ("1-seen.sql", 1)):
            with self.subTest(schema):
                self.run_over_upgrade(schema, attempts)

    def run_over_upgrade(self, schema, attempts):
        for i in range(8):
            self.file(f"words/f{i}", f"word{i} and a word\n" * 50)
        hold, out = self.dir / f"hold-{schema}", self.dir / f"out-{schema}"
        mapper = f"case $mapreduce_map_input_file in *[4-7]) while [ ! -e {hold} ]; do sleep 0.02; done;; esac; {WORDS}"
        job = self.submit("--backups=no", "--mapper", mapper, "--reducer", SUM, "--input", self.dir / "words", "--reduces", "2", "--output", out)
        mr.wait_for("four maps", lambda: self.job_get(job, "MapsDone") == 4 and self.job_get(job, "MapsRunning") == 4)
        self.stop()
        self.make_old(schema)
        self.start_master()
        self.wait_for_workers(2)
        hold.touch()
        self.assertOk(self.ctl("wait", "-q", job))
        rows = b"".join(sorted(b"".join((out / f"part-0000{i}").read_bytes() for i in range(2)).splitlines(True)))
        self.assertSameLines(rows, mr.coreutils_wordcount(mr.text_files([str(self.dir / "words")])))
        tasks = json.loads(self.ctl("tasks", "--json=short", job).stdout)
        self.assertEqual([t["AttemptsStarted"] for t in tasks if t["Kind"] == "map"][:4], [attempts] * 4)

    def test_newer_state(self):
        """the state of a newer mr-masterd is refused, in words that help, and is not touched"""
        self.stop()
        db = sqlite3.connect(self.database())
        db.execute("PRAGMA user_version = 99")
        db.close()
        before = self.database().read_bytes()
        p = subprocess.run([mr.MASTERD, "--bus=none", "--listen=127.0.0.1:0", "--insecure-plain-tcp", f"--state={self.dir}/master"],
                           stderr=subprocess.PIPE, timeout=30 * mr.SLOW, check=False, env=self.env)
        self.assertEqual(p.returncode, 1)
        for words in (b"state.db", b"made by a newer mr-masterd", b"version is 99", b"restore a backup"):
            self.assertIn(words, p.stderr)
        self.assertEqual(self.database().read_bytes(), before)

    def test_schema_is_known(self):
        """the schema is the one that is written down for its version"""
        self.stop()
        with sqlite3.connect(self.database()) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            self.assertEqual(shape(db), shape(fresh(f"{version}.sql")),
                             f"it has changed: raise SCHEMA_VERSION, and write {SCHEMAS}/{version + 1}.sql beside the others")


if __name__ == "__main__":
    tap.main()
