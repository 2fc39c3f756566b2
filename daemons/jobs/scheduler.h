/*
 * Scheduler — which task goes to which worker now.
 *
 * Jobs are served oldest first, but work-conserving: what an old job cannot use, the next one gets. In a
 * job, maps go first come first served, and a task that comes back goes to the front. A reduce
 * attempt in its shuffle takes no slot, for a slot that waits for maps is a slot that maps wait for; but
 * a worker fetches for at most `slots` reduces of a job at a time.
 *
 * Preferences, never hard rules, so that nothing starves:
 *   - A task avoids workers on which it failed, until all others are such, too, or it has waited
 *     SCHED_ELSEWHERE_USEC (the idea of delay scheduling: Zaharia et al., EuroSys 2010).
 *   - A worker on which SCHED_PROBATION_FAILURES attempts in a row failed, while others do better, gets one
 *     task at a time: a broken host fails fast and would otherwise draw all the work.
 *   - A worker that rejected a task, or could not be reached, gets none for a while: 0.1 s, doubling to 30 s.
 *
 * Every change of an attempt that matters for a slot goes through here; the table is the job's.
 * No I/O, no clock, no log: callers pass now_usec (CLOCK_MONOTONIC).
 */
#pragma once

#include "jobs/task-table.h"

#define SCHED_ELSEWHERE_USEC (3 * USEC_PER_SEC)
#define SCHED_PROBATION_FAILURES 3U
#define SCHED_BACKOFF_MIN_USEC (100 * USEC_PER_MSEC)
#define SCHED_BACKOFF_MAX_USEC (30 * USEC_PER_SEC)

typedef struct Scheduler Scheduler;

typedef struct Assignment {
        TaskTable *table;
        TaskKind kind;
        uint32_t task;
        uint32_t attempt;
        uint32_t worker;
} Assignment;

Scheduler *scheduler_new(void);
Scheduler *scheduler_free(Scheduler *s);
DEFINE_CLEANUP(Scheduler, scheduler_free);

/* Adds a worker, or changes its slots. @worker > 0. */
void scheduler_set_worker(Scheduler *s, uint32_t worker, uint32_t slots);
bool scheduler_has_worker(const Scheduler *s, uint32_t worker);

/* Forgets a worker that has no running attempt any more: end those first. */
void scheduler_remove_worker(Scheduler *s, uint32_t worker);

/* No task for this worker for a while; each further call before a success waits twice as long. */
void scheduler_back_off(Scheduler *s, uint32_t worker, uint64_t now_usec);

uint32_t scheduler_slots(const Scheduler *s);      /* of all workers */
uint32_t scheduler_slots_used(const Scheduler *s); /* of all workers */
uint32_t scheduler_worker_used(const Scheduler *s, uint32_t worker);

/* The jobs come in the order of their age. The table stays the caller's, who removes it before freeing it. */
void scheduler_add_job(Scheduler *s, TaskTable *t);
void scheduler_remove_job(Scheduler *s, TaskTable *t);

/**
 * scheduler_next() - decide on one task, and start its attempt in the table
 *
 * Return: 1 and the assignment: call again; 0 when there is nothing to do now. Then
 * scheduler_wakeup_usec() says when a preference ends that held something back.
 */
int scheduler_next(Scheduler *s, uint64_t now_usec, Assignment *ret);

/* CLOCK_MONOTONIC; USEC_INFINITY when only an event can change anything. */
uint64_t scheduler_wakeup_usec(const Scheduler *s);

/* As the functions of task-table.h of the same name, with the slots kept right. */
int scheduler_progress(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t attempt,
                       AttemptPhase phase, double fraction);
int scheduler_end(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t attempt,
                  AttemptEnd end, uint64_t now_usec);
int scheduler_grant(Scheduler *s, TaskTable *t, uint32_t reduce, uint32_t attempt);
int scheduler_commit(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t attempt);
