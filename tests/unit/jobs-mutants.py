#!/usr/bin/env python3
"""Does the model test find a broken scheduler? Each mistake below is put into a copy of daemons/jobs, one at a time.

A mutant is caught when test-jobs-model fails on it, and what it says then is printed: the promise that was broken, and the seed of the
first history that shows it. A mistake whose line is no longer in the source is an error here, so that the list stays true.
Some minutes of compiling, so: MR_MUTANTS=1, or nothing is done. (DeMillo, Lipton & Sayward, Computer 11(4), 1978.)
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ.get("SOURCE_ROOT", pathlib.Path(__file__).resolve().parents[2]))
FILES = ("scheduler.c", "task-table.c", "worker-pool.c", "backup.c")

# what is wrong, file, what stands there, what stands there instead
MUTANTS = [
    ("backups are never counted as ended", "scheduler.c",
     "                s->backups += (uint32_t) sign;", "                s->backups += sign > 0;"),
    ("the cap on backups is not looked at", "scheduler.c", "s->backups < cap &&", "cap > 0 &&"),
    ("a backup on the worker of the first attempt", "scheduler.c", "if (view && (runs_on(task, w->number) ||", "if (view && ("),
    ("a backup while tasks are idle", "scheduler.c",
     "if (task_table_first_idle(job->table, kind) != TASK_NONE ||\n            task_table_first_running", "if (task_table_first_running"),
    ("backups=no is not looked at", "scheduler.c", "!job->options.backups ||", ""),
    ("a task that failed is not stepped over", "scheduler.c",
     "if (task_table_get(job->table, kind, index)->failed_on_count == 0)", "if (true)"),
    ("a task avoids its workers for ever", "scheduler.c", "if (avoid && now_usec >=", "if (false && now_usec >="),
    ("a drained worker gets tasks", "worker-pool.c", "if (w->drained || w->not_before_usec > now_usec)",
     "if (w->not_before_usec > now_usec)"),
    ("a worker that backs off gets tasks", "worker-pool.c", "if (w->drained || w->not_before_usec > now_usec)", "if (w->drained)"),
    ("a blacklisted worker gets tasks", "worker-pool.c", "return w->blacklisted_until_usec <= now_usec || p->usable[level] == 0;",
     "return true;"),
    ("a worker gets tasks that it does not understand", "worker-pool.c", "        if (w->level < level)\n                return false;\n", ""),
    ("backing off has no limit", "worker-pool.c", "CLAMP(w->backoff_usec * 2, SCHED_BACKOFF_MIN_USEC, SCHED_BACKOFF_MAX_USEC)",
     "MAX(w->backoff_usec * 2, SCHED_BACKOFF_MIN_USEC)"),
    ("more maps than slots", "scheduler.c", "w->used < trust :", "w->used <= trust :"),
    ("one slot stays idle", "scheduler.c", "w->used < trust :", "w->used + 1 < trust :"),
    ("no shuffle on half of the slots", "scheduler.c", ": shuffling_on(job, w->number) < trust",
     ": 2 * shuffling_on(job, w->number) < trust"),
    ("a user's limit of maps is off by one", "scheduler.c", "job->user->maps < s->limits", "job->user->maps <= s->limits"),
    ("a user's limit of reduces is not looked at", "scheduler.c", "job->user->reduces < s->limits.user_reduces_max", "true"),
    ("a user's limit of jobs is not looked at", "scheduler.c",
     "job->user->running_jobs >= s->limits.user_running_jobs_max)\n                return false;", "false)\n                return false;"),
    ("an ended job counts to its user's limit", "scheduler.c", "        user->running_jobs -= job->running;\n", ""),
    ("a low priority goes first", "scheduler.c", "place - 1])->options.priority >=", "place - 1])->options.priority <="),
    ("weights are the wrong way round", "scheduler.c", "(uint64_t) a->used * b->weight;", "(uint64_t) a->used * a->weight;"),
    ("one user always goes first", "scheduler.c", "        if (share_a != share_b)\n                return share_a < share_b;",
     "        if (a->uid != b->uid)\n                return a->uid < b->uid;"),
    ("a removed job's attempts stay its user's", "scheduler.c", "        leave_user(s, job);\n", ""),
    ("a committed task is committed again", "task-table.c", "        if (task && task->state == TASK_DONE)\n                return -EALREADY;",
     ""),
    ("two attempts of a reduce get the grant", "task-table.c", "if (&task->running[i] != a && task->running[i].phase", "if (false && task->running[i].phase"),
    ("a lost output is still read", "task-table.c", "task->state != TASK_DONE || task->output_lost ||\n            task_table_part_kind",
     "!task->committed ||\n            task_table_part_kind"),
    ("a lost map is never run again", "task-table.c", "        if (!reduces_need_maps(t))\n                return 0;\n        leave_done",
     "        if (true)\n                return 0;\n        leave_done"),
    ("what nobody needed stays lost when one needs it", "task-table.c",
     "if (t->done_without_output == 0 || !reduces_need_maps(t))", "if (true)"),
    ("an ended attempt's task stays running", "task-table.c", "task->state == TASK_RUNNING && task->running_count == 0", "false"),
]


def compiler(tree):
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "glib-2.0"], capture_output=True, text=True, check=True).stdout
    return ["cc", f"-I{tree}", f"-I{SOURCE}/daemons", f"-I{SOURCE}", "-std=gnu17", "-O1", "-D_GNU_SOURCE",
            "-include", f"{SOURCE}/daemons/base/banned.h", f"{SOURCE}/tests/unit/test-jobs-model.c",
            *(f"{tree}/jobs/{f}" for f in FILES), "-o", f"{tree}/model", *shlex.split(flags), "-lm"]


def not_there(file, old):
    """Why the mutant cannot be made any more; None if it can."""
    count = (SOURCE / "daemons/jobs" / file).read_text().count(old)
    return None if count == 1 else f"what it changes stands {count} times in {file}, not once"


def run_mutant(tree, file, old, new):
    """What the model test says of it; None if nothing."""
    stale = not_there(file, old)
    if stale:
        return stale
    text = (SOURCE / "daemons/jobs" / file).read_text()
    (tree / "jobs" / file).write_text(text.replace(old, new))
    try:
        p = subprocess.run(compiler(tree), capture_output=True, text=True, check=False)
        if p.returncode != 0:
            return "does not compile: " + p.stderr[:500]
        p = subprocess.run([f"{tree}/model"], capture_output=True, text=True, check=False, timeout=300,
                           env=dict(os.environ, MODEL_HISTORIES="0"))
        if p.returncode == 0:
            return None
        said = p.stdout + p.stderr
        found = re.search(r"MODEL_SEED=\d+ at \d+ us: not true: (.*)", said) or re.search(r"(assertion.*|Assertion.*)", said)
        return "caught: " + (found.group(1).strip() if found else f"ended with {p.returncode}")
    finally:
        shutil.copy(SOURCE / "daemons/jobs" / file, tree / "jobs" / file)


def main():
    if os.environ.get("MR_MUTANTS") != "1":
        stale = [f"# {what}: {why}" for what, file, old, _ in MUTANTS if (why := not_there(file, old))]
        print("1..2", *stale, f"{'not ok' if stale else 'ok'} 1 every mutant can be made of the source as it is",
              "ok 2 the model test catches each # SKIP some minutes of compiling: MR_MUTANTS=1", sep="\n")
        sys.exit(bool(stale))
    only = sys.argv[1:]
    mutants = [m for m in MUTANTS if not only or any(o in m[0] for o in only)]
    print(f"1..{len(mutants)}", flush=True)
    bad = 0
    with tempfile.TemporaryDirectory(prefix="mr-mutants-") as d:
        tree = pathlib.Path(d)
        shutil.copytree(SOURCE / "daemons/jobs", tree / "jobs")
        for i, (what, *mutant) in enumerate(mutants):
            said = run_mutant(tree, *mutant)
            caught = said is not None and said.startswith("caught")
            bad += not caught
            print(f"{'ok' if caught else 'not ok'} {i + 1} {what}\n#   {said or 'not caught'}", flush=True)
    sys.exit(bad > 0)


main()
