/*
 * Task table — which tasks of a job may run, and whose result counts.
 *
 * A task is not run once; it is *attempted*, as often as needed. The first attempt committed wins,
 * later ones are discarded. So a dead worker, a slow worker and a repeated answer are one case, not
 * three.
 *
 *              start              commit
 *      IDLE ──────────▶ RUNNING ──────────▶ DONE
 *       ▲  all ended       │                 │
 *       ├──────────────────┘                 │
 *       └──────── map only: output lost ─────┘
 *
 * Only map tasks leave DONE: their output sits on the worker's own disk, a reduce task's is in the
 * output directory and is never made again. And they leave it only while some reduce still needs
 * them: a reduce that has all its input in hand (from ATTEMPT_WAITING on) needs no map any more.
 *
 * The table is also the lineage of the job: task_table_output() says which attempt's output of a
 * map is the current one, and nobody reads another.
 *
 * Source: Dean & Ghemawat, OSDI 2004, §3.2-3.3 (failure), §3.6 (backup).
 * Changed: a reduce attempt tells its phase, so that one which is past the shuffle costs no map a
 * rerun.
 *
 * No I/O, no clock, no log here: callers pass now_usec (CLOCK_MONOTONIC). A task costs less than
 * 256 bytes plus its status text of at most TASK_STATUS_MAX_BYTES.
 */
#pragma once

#include "base/macro.h"

#define TASK_NONE UINT32_MAX
#define TASK_ATTEMPTS_AT_ONCE 2U   /* an attempt and its backup */
#define TASK_FAILED_ON_MAX 8U      /* workers remembered for each task */
#define TASK_STATUS_MAX_BYTES 512U /* longer text is cut at a character */

/* After so many reports about one output it is believed to be lost, even if one worker made them
 * all. */
#define LOST_OUTPUT_REPORTS_MAX 3U

typedef enum TaskKind {
        TASK_MAP,
        TASK_REDUCE,
        _TASK_KIND_MAX,
        _TASK_KIND_INVALID = -EINVAL,
} TaskKind;

typedef enum TaskState {
        TASK_IDLE,
        TASK_RUNNING,
        TASK_DONE,
} TaskState;

typedef enum AttemptPhase {
        ATTEMPT_STARTED,    /* sent to its worker; a reduce: in its shuffle */
        ATTEMPT_WAITING,    /* a reduce: has all its input, needs a slot */
        ATTEMPT_RUNNING,    /* in a task process */
        ATTEMPT_COMMITTING, /* its work is done, its part is being put in place */
} AttemptPhase;

typedef enum AttemptEnd {
        ATTEMPT_FAILED,   /* counts to MaxAttempts */
        ATTEMPT_LOST,     /* with its worker, or its call */
        ATTEMPT_KILLED,   /* by us */
        ATTEMPT_REJECTED, /* the worker would not take it */
} AttemptEnd;

/* Workers are small numbers given by the caller; 0 is none. */
typedef struct Attempt {
        uint32_t number; /* counts from 0 for each task, never used twice */
        uint32_t worker;
        AttemptPhase phase;
        float fraction;
        uint64_t since_usec; /* when it was started; a reduce past its shuffle: when that ended */
        bool backup;         /* it was started while another one ran */
} Attempt;

typedef struct Task {
        TaskState state;
        uint32_t started, failed, lost; /* attempts, ever */
        uint32_t running_count;
        Attempt running[TASK_ATTEMPTS_AT_ONCE];

        /* Of the attempt that was committed last; meaningful while `committed`, also after a map
         * left DONE. */
        bool committed;
        bool output_lost; /* a map that stays DONE only because nobody needs it now */
        uint32_t done_attempt;
        uint32_t done_worker;

        uint32_t newest_worker; /* of the attempt started last */
        uint32_t failed_on[TASK_FAILED_ON_MAX];
        uint32_t failed_on_count;

        float size;      /* of its input, by that of the job's mean task; 0: unknown */
        uint8_t reports; /* of the current output being lost */
        uint32_t first_reporter;

        uint64_t idle_since_usec;
        uint32_t prev,
                next; /* among the tasks of its state; of those that are DONE nobody keeps a list */
        char *status; /* owned: user code's status, or the last error; may be NULL */
} Task;

typedef struct TaskTable TaskTable;

/**
 * task_table_new() - a job's tasks, all idle
 * @max_attempts: failed ones of a task before the job has failed, at least 1
 */
TaskTable *task_table_new(uint32_t maps, uint32_t reduces, uint32_t max_attempts,
                          uint64_t now_usec);
TaskTable *task_table_free(TaskTable *t);
DEFINE_CLEANUP(TaskTable, task_table_free);

/* @size: of its input, by that of the mean task of its kind. */
void task_table_set_size(TaskTable *t, TaskKind kind, uint32_t task, double size);

uint32_t task_table_count(const TaskTable *t, TaskKind kind);
uint32_t task_table_count_in(const TaskTable *t, TaskKind kind, TaskState state);
/* Attempts of all tasks, ever; and maps that left DONE or lost their output. */
uint32_t task_table_failed(const TaskTable *t);
uint32_t task_table_lost(const TaskTable *t);
uint32_t task_table_outputs_lost(const TaskTable *t);

/* NULL for an index beyond the end. */
const Task *task_table_get(const TaskTable *t, TaskKind kind, uint32_t index);
const Attempt *task_table_attempt(const TaskTable *t, TaskKind kind, uint32_t index,
                                  uint32_t attempt);

/* The queue of idle tasks: the first one, and the one after @index; TASK_NONE at the end. */
uint32_t task_table_first_idle(const TaskTable *t, TaskKind kind);
uint32_t task_table_next_idle(const TaskTable *t, TaskKind kind, uint32_t index);

/* The running tasks, in no order that means anything; TASK_NONE at the end. */
uint32_t task_table_first_running(const TaskTable *t, TaskKind kind);
uint32_t task_table_next_running(const TaskTable *t, TaskKind kind, uint32_t index);

/* Whether a reduce may begin its shuffle: no map is idle, or 5 % of them are done. */
bool task_table_may_shuffle(const TaskTable *t);

/* Of which kind the tasks are whose results are the job's parts: reduces, or, of a job without any,
 * maps. */
TaskKind task_table_part_kind(const TaskTable *t);

bool task_table_is_complete(const TaskTable *t); /* all parts are there */

/**
 * task_table_start() - a new attempt of an idle task, or the backup of a running one
 * @ret_attempt: its number
 *
 * Return: 0; -EBUSY when the task is done, committing or has TASK_ATTEMPTS_AT_ONCE running.
 */
int task_table_start(TaskTable *t, TaskKind kind, uint32_t index, uint32_t worker,
                     uint64_t now_usec, uint32_t *ret_attempt);

/* Progress. A phase never goes back, but for a reduce that is in its shuffle again because an input
 * in its hands turned out to be bad: then it needs maps again, see task_table_rerun_lost(). -ENOENT
 * for an attempt that is not running. */
int task_table_progress(TaskTable *t, TaskKind kind, uint32_t index, uint32_t attempt,
                        AttemptPhase phase, double fraction, uint64_t now_usec);
void task_table_set_status(TaskTable *t, TaskKind kind, uint32_t index, const char *text);

/**
 * task_table_end() - an attempt is over without a result that counts
 *
 * Return: 1 when the task has now failed max_attempts times: the job cannot succeed; 0; -ENOENT for
 * an attempt that is not running (it was ended already: nothing happened).
 */
int task_table_end(TaskTable *t, TaskKind kind, uint32_t index, uint32_t attempt, AttemptEnd end,
                   uint64_t now_usec);

/**
 * task_table_grant() - let one attempt of a task of the parts' kind put its part in place
 *
 * Return: 0: from now on no other attempt of the task may; -EALREADY when another one has the grant
 * or the task is DONE; -ENOENT for an attempt that is not running. task_table_end() gives a grant
 * back.
 */
int task_table_grant(TaskTable *t, uint32_t index, uint32_t attempt);

/**
 * task_table_commit() - this attempt's result is the task's
 *
 * The task is DONE. Other attempts of it still run; the caller kills them with
 * task_table_end(…KILLED).
 * Return: 0; -EALREADY when the task is DONE or another attempt has the grant; -ENOENT as above.
 */
int task_table_commit(TaskTable *t, TaskKind kind, uint32_t index, uint32_t attempt);

/**
 * task_table_output() - whose output of a map counts
 * Return: 1 and the attempt and worker; 0 when there is none now.
 */
int task_table_output(const TaskTable *t, uint32_t map, uint32_t *ret_attempt,
                      uint32_t *ret_worker);

/**
 * task_table_lose_output() - the output of a DONE map is gone
 *
 * The map runs again if a reduce needs it, else as soon as one does.
 * Return: 1 when it left DONE, 0 when it did not; -ESTALE when @attempt is not the current one.
 */
int task_table_lose_output(TaskTable *t, uint32_t map, uint32_t attempt, uint64_t now_usec);

/**
 * task_table_report_lost() - a reducer says that it cannot read a map's output
 * @reporter:  its worker
 * @certain:   the checksum is wrong, or the worker that holds it has lost its lease or says so
 *             itself
 *
 * Believed at once when certain, after two reporters, or after LOST_OUTPUT_REPORTS_MAX reports: a
 * network that is broken between two hosts must not cost the maps of a healthy one at the first
 * hiccup.
 *
 * Return: 1: believed, the output is lost as by task_table_lose_output(); 0: noted; -ESTALE when
 * @attempt is not the current output of that map (an old story: ignored).
 */
int task_table_report_lost(TaskTable *t, uint32_t map, uint32_t attempt, uint32_t reporter,
                           bool certain, uint64_t now_usec);

/* A map that left DONE and was not started again is DONE again: its worker came back with the
 * output of that very attempt. Return: 1; 0 when it is too late or another attempt's. */
int task_table_recover_output(TaskTable *t, uint32_t map, uint32_t attempt, uint32_t worker);

/* Maps that stayed DONE without their output go back to IDLE if a reduce needs them now. Returns
 * how many. To be called after reduce attempts ended or went back to their shuffle. */
uint32_t task_table_rerun_lost(TaskTable *t, uint64_t now_usec);

/* All reduces are DONE, so whatever a map left DONE for, its records are in the result: the maps
 * are DONE, too, with or without an output. Attempts that still run are for nobody. */
void task_table_settle(TaskTable *t);

/* Restores what a database knows of a task, before anything was started. */
void task_table_restore(TaskTable *t, TaskKind kind, uint32_t index, uint32_t started,
                        uint32_t failed, uint32_t lost, bool done, uint32_t attempt,
                        uint32_t worker);
/* Then: the output of this map, which was DONE, is lost. Whether a reduce needs it,
 * task_table_rerun_lost() says once it is known how far the reduces are. */
void task_table_restore_lost(TaskTable *t, uint32_t map);
/* An attempt that may still run on a worker that outlived us; after task_table_restore() of its
 * task. -EBUSY when the task is DONE or has no room for it, -EINVAL for a number that was never
 * given. */
int task_table_resume(TaskTable *t, TaskKind kind, uint32_t index, uint32_t attempt,
                      uint32_t worker, uint64_t now_usec);
void task_table_restore_outputs_lost(TaskTable *t, uint32_t count);
