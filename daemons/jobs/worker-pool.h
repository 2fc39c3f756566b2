/*
 * Worker pool — who could take a task now, as far as the scheduler knows its workers.
 *
 *      READY ─── 3 failures in a row ──▶ on probation: one task at a time, while others do better
 *        ▲                                   │ and 3 tasks that failed here succeeded elsewhere
 *        │◀── a success ─────────────────────┤
 *        │                                   ▼
 *        └── its time is over, on probation ── BLACKLISTED: none at all, 1 min, doubling to 16
 *
 * Beside that a worker may be DRAINED (by order, until it is resumed) or BACKED OFF (it rejected a
 * task or could not be reached: 0.1 s, doubling to 30 s, until a success).
 *
 * A failure alone says little: a job whose program is broken fails everywhere. A worker is *blamed*
 * for one only when the same task has succeeded on another. The rule of Hadoop (a worker is
 * blacklisted that fails often, mapred.max.tracker.failures) counts failures and so blames the
 * hosts of a bad job.
 *
 * No preference is a hard rule but draining: where every worker that understands a program is
 * blacklisted, they are used.
 */
#pragma once

#include "base/macro.h"
#include "base/program-level.h"

#define SCHED_PROBATION_FAILURES 3U
#define SCHED_BLACKLIST_BLAMES 3U
#define SCHED_BLACKLIST_USEC                                                                       \
        (60 * USEC_PER_SEC)          /* the first time, unless the caller says otherwise */
#define SCHED_BLACKLIST_DOUBLINGS 4U /* so at most sixteen times that */
#define SCHED_BACKOFF_MIN_USEC (100 * USEC_PER_MSEC)
#define SCHED_BACKOFF_MAX_USEC (30 * USEC_PER_SEC)

typedef struct PoolWorker {
        uint32_t number;
        uint32_t slots;
        uint32_t level;     /* of programs that it understands: base/program-level.h */
        uint32_t used;      /* attempts that hold a slot, or stand in the worker's queue for one */
        uint32_t reduces;   /* attempts of reduces in any phase, to spread them */
        uint32_t shuffling; /* of these, those that hold no slot */
        uint32_t failures;  /* in a row */
        uint32_t blames; /* tasks that failed here and succeeded elsewhere, since the last success
                            here */
        uint64_t backoff_usec; /* the last wait; 0 after a success */
        uint64_t not_before_usec;
        uint32_t blacklisted; /* how often in a row */
        uint64_t blacklisted_until_usec;
        bool on_blacklist; /* as told by worker_pool_take_news() */
        bool drained;
} PoolWorker;

typedef struct WorkerPool {
        GHashTable *by_number; /* number → PoolWorker *, owned */
        GPtrArray *all;
        uint32_t slots, used, open; /* of all; open: not used */
        uint64_t blacklist_usec;
        GQueue news; /* numbers of workers whose place on the blacklist changed */

        /* What worker_pool_update() found out, of those of each level or above. */
        uint32_t usable[PROGRAM_LEVEL + 1];  /* neither drained nor blacklisted */
        uint32_t healthy[PROGRAM_LEVEL + 1]; /* of these, not on probation */
        uint64_t next_change_usec;
        bool dirty;
} WorkerPool;

void worker_pool_init(WorkerPool *p);
void worker_pool_done(WorkerPool *p);

PoolWorker *worker_pool_find(const WorkerPool *p, uint32_t number);
PoolWorker *worker_pool_set(WorkerPool *p, uint32_t number, uint32_t slots);
void worker_pool_remove(WorkerPool *p, PoolWorker *w);
void worker_pool_set_drained(WorkerPool *p, PoolWorker *w, bool drained);
void worker_pool_set_level(WorkerPool *p, PoolWorker *w, uint32_t level); /* above ours: as ours */

/* An attempt comes (1) or goes (-1): of a slot, of the worker's reduces. */
void worker_pool_hold(WorkerPool *p, PoolWorker *w, int slots, int reduces);

void worker_pool_back_off(WorkerPool *p, PoolWorker *w, uint64_t now_usec);
void worker_pool_failed(WorkerPool *p, PoolWorker *w);
void worker_pool_succeeded(WorkerPool *p, PoolWorker *w);
/* A task that failed on @w has succeeded elsewhere. */
void worker_pool_blame(WorkerPool *p, PoolWorker *w, uint64_t now_usec);

/* To be called before the following two: what time has changed. */
void worker_pool_update(WorkerPool *p, uint64_t now_usec);
/* @level: what the program needs. Others than those who understand it are no alternative to a
 * worker. */
bool worker_pool_is_open(const WorkerPool *p, const PoolWorker *w, uint32_t level,
                         uint64_t now_usec);
/* Tasks at a time that it is trusted with. */
uint32_t worker_pool_trust(const WorkerPool *p, const PoolWorker *w, uint32_t level);

/* Healthy before on probation, then lower load, then fewer failures, then the lower number, so that
 * the order is total. */
bool worker_pool_is_better(const PoolWorker *a, const PoolWorker *b, bool for_reduce);

/* A worker that went on the blacklist or came off it since the last call; 0 for none. */
uint32_t worker_pool_take_news(WorkerPool *p);
