/*
 * Scheduler — which task goes to which worker now.
 *
 * Slots are shared by users first: the next one goes to the user with the fewest slots for his
 * weight who can use it, which is weighted max-min fairness by progressive filling (Bertsekas &
 * Gallager, Data Networks, §6.5.2; as in Hadoop's Fair Scheduler: Zaharia et al., EuroSys 2010; for
 * one resource it is DRF: Ghodsi et al., NSDI 2011). Of a user's jobs the one with the highest
 * priority comes first, then the oldest: a priority is a matter between a user and himself, and
 * moves nobody else's jobs. It is work-conserving: what one cannot use, the next one gets; nothing
 * that runs is taken away, so shares settle as tasks end.
 *
 * In a job, maps go first come first served, and a task that comes back goes to the front. A reduce
 * attempt in its shuffle takes no slot, for a slot that waits for maps is a slot that maps wait
 * for; but a worker fetches for at most `slots` reduces of a job at a time. A slot that no other
 * task can use may take a backup of a straggler: see backup.h.
 *
 * Preferences, never hard rules, so that nothing starves:
 *   - A task avoids workers on which it failed, until all others are such, too, or it has waited
 *     SCHED_ELSEWHERE_USEC (the idea of delay scheduling: Zaharia et al., EuroSys 2010).
 *   - A worker that fails much is trusted with less: see worker-pool.h.
 * Hard rules: a drained worker gets nothing; nor does one get a task whose program it does not
 * understand; a user's limits; a task's two attempts run on two workers.
 *
 * Every change of an attempt that matters for a slot goes through here; the table is the job's.
 * No I/O, no clock, no log: callers pass now_usec (CLOCK_MONOTONIC).
 */
#pragma once

#include "jobs/backup.h"
#include "jobs/task-table.h"
#include "jobs/worker-pool.h"

#define SCHED_ELSEWHERE_USEC (3 * USEC_PER_SEC)
/* Failed tasks that are stepped over in the search for one that has a worker. */
#define SCHED_STEP_OVER_MAX 64U
/* Between two looks for stragglers in one job. */
#define SCHED_BACKUP_CHECK_USEC (250 * USEC_PER_MSEC)

typedef struct Scheduler Scheduler;

typedef struct SchedLimits {
        uint32_t
                user_running_jobs_max; /* further ones wait; UINT32_MAX: no limit, likewise below */
        uint32_t user_maps_max;        /* map attempts of a user at a time */
        uint32_t user_reduces_max;     /* reduce attempts, in their shuffle, too */
        uint32_t backup_cap_percent;   /* of all slots; rounded up */
        uint64_t blacklist_usec;       /* the first time */
} SchedLimits;

#define SCHED_LIMITS_DEFAULT                                                                       \
        ((SchedLimits){UINT32_MAX, UINT32_MAX, UINT32_MAX, BACKUP_CAP_PERCENT,                     \
                       SCHED_BLACKLIST_USEC})

typedef struct SchedJobOptions {
        uint32_t uid;
        int priority; /* higher first, among the jobs of one user */
        bool backups;
        uint32_t program_level; /* that a worker must have; at most PROGRAM_LEVEL */
        void *userdata;         /* comes with each assignment */
} SchedJobOptions;

typedef struct Assignment {
        void *userdata; /* the job's */
        TaskTable *table;
        TaskKind kind;
        uint32_t task;
        uint32_t attempt;
        uint32_t worker;
        bool backup;
} Assignment;

Scheduler *scheduler_new(void);
Scheduler *scheduler_free(Scheduler *s);
DEFINE_CLEANUP(Scheduler, scheduler_free);

void scheduler_set_limits(Scheduler *s, const SchedLimits *limits);
/* A user's part of the slots is his weight among those who want some. 1 unless it is set. */
void scheduler_set_weight(Scheduler *s, uint32_t uid, uint32_t weight);

/* Adds a worker, or changes its slots. @worker > 0. */
void scheduler_set_worker(Scheduler *s, uint32_t worker, uint32_t slots);
bool scheduler_has_worker(const Scheduler *s, uint32_t worker);

/* A drained worker keeps what it has and gets nothing new. Forgotten with the worker. */
void scheduler_set_drained(Scheduler *s, uint32_t worker, bool drained);

/* What it understands: 0 unless it is set. Forgotten with the worker. */
void scheduler_set_level(Scheduler *s, uint32_t worker, uint32_t level);

/* Forgets a worker that has no running attempt any more: end those first. */
void scheduler_remove_worker(Scheduler *s, uint32_t worker);

/* No task for this worker for a while; each further call before a success waits twice as long. */
void scheduler_back_off(Scheduler *s, uint32_t worker, uint64_t now_usec);

typedef enum SchedWorkerState {
        SCHED_WORKER_NONE, /* no such worker */
        SCHED_WORKER_READY,
        SCHED_WORKER_DRAINED,
        SCHED_WORKER_BLACKLISTED,
        SCHED_WORKER_BACKED_OFF,
} SchedWorkerState;

/* @ret_until_usec: when that ends by itself; USEC_INFINITY if it does not. May be NULL. */
SchedWorkerState scheduler_worker_state(const Scheduler *s, uint32_t worker, uint64_t now_usec,
                                        uint64_t *ret_until_usec);
/* A worker whose being blacklisted has changed since the last call; 0: none. */
uint32_t scheduler_take_news(Scheduler *s);

uint32_t scheduler_slots(const Scheduler *s);      /* of all workers */
uint32_t scheduler_slots_used(const Scheduler *s); /* of all workers */
uint32_t scheduler_backups(const Scheduler *s);    /* that run */
uint32_t scheduler_worker_used(const Scheduler *s, uint32_t worker);
uint32_t scheduler_worker_attempts(const Scheduler *s, uint32_t worker); /* in any phase */
uint32_t scheduler_user_used(const Scheduler *s, uint32_t uid);          /* slots */

/* Jobs of one user and priority come in the order of their age. The table stays the caller's, who
 * removes the job before freeing it. */
void scheduler_add_job(Scheduler *s, TaskTable *t, const SchedJobOptions *o);
void scheduler_remove_job(Scheduler *s, TaskTable *t);

/**
 * scheduler_next() - decide on one task, and start its attempt in the table
 *
 * Return: 1 and the assignment: call again; 0 when there is nothing to do now. Then
 * scheduler_wakeup_usec() says when a preference ends that held something back.
 */
int scheduler_next(Scheduler *s, uint64_t now_usec, Assignment *ret);

/* A task that is worth more on one worker than on any other: starts it there, whatever slots there
 * are. As task_table_start(); -ENOENT: there is no such worker, or it does not understand the
 * program. */
int scheduler_start_on(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t worker,
                       uint64_t now_usec, uint32_t *ret_attempt);

/* As task_table_resume(), with its slot counted. A worker that is not there yet counts with no
 * slots. */
int scheduler_resume(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t attempt,
                     uint32_t worker, uint64_t now_usec);

/* CLOCK_MONOTONIC; USEC_INFINITY when only an event can change anything. */
uint64_t scheduler_wakeup_usec(const Scheduler *s);

typedef enum SchedWait {
        SCHED_WAIT_NO_WORKER,   /* there is none */
        SCHED_WAIT_ALL_DRAINED, /* all there are */
        SCHED_WAIT_LEVEL,       /* those with a free slot, or all, do not understand the program */
        SCHED_WAIT_USER_JOBS,   /* the user has as many running jobs as he may */
        SCHED_WAIT_USER_TASKS,  /* or tasks */
        SCHED_WAIT_SLOTS,       /* all are taken */
        SCHED_WAIT_WORKERS,     /* some are free, on workers that took nothing when last asked */
} SchedWait;

/* Why a job of which nothing runs does not. */
SchedWait scheduler_why_waiting(const Scheduler *s, const TaskTable *t);

/* As the functions of task-table.h of the same name, with the slots kept right. */
int scheduler_progress(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t attempt,
                       AttemptPhase phase, double fraction, uint64_t now_usec);
int scheduler_end(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t attempt,
                  AttemptEnd end, uint64_t now_usec);
int scheduler_grant(Scheduler *s, TaskTable *t, uint32_t index, uint32_t attempt);
int scheduler_commit(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t attempt,
                     uint64_t now_usec);
