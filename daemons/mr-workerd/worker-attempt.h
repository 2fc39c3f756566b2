/*
 * Attempt — one run of one task, from the master's call to its result.
 *
 *      FILES ──▶ (reduce: SHUFFLE) ──▶ WAITING ──▶ RUNNING ──▶ SYNCING ──▶ result
 *                     ▲                               │           (or STREAMING: the part
 *                     └───── a segment was bad ───────┘            goes back to the master)
 *
 * When the master cancels the call, the attempt is killed and every file of it removed; when the
 * attempt is over, the result is its last message. Only RUNNING holds a task process.
 *
 * When the master is lost, the attempt goes on without a call (it is *detached*) for RejoinGrace=,
 * and keeps its result when it comes to one. The next registration names it; the master then takes
 * it up with a call of its own, or does not want it, and it is killed.
 */
#pragma once

#include "cluster.pb-c.h"
#include "mr-workerd/worker-manager.h"

typedef struct Attempt Attempt;

/* Accepted at a time: enough that a slot never waits for the master, few enough to hold. */
static inline uint32_t attempts_max(const Manager *m)
{
        return 4 * m->conf.slots + 64;
}

/* Judges the request, and answers the call at once or in time. The call is the attempt's from
 * here. */
void attempt_start(Manager *m, EvgrpcServerCall *call, const Mapreduced__V1__TaskSpec *spec);

/* Ends it with this outcome; its task process is killed. */
void attempt_end(Attempt *a, Mapreduced__V1__TaskOutcome outcome, const char *sentence);

/* Names the detached attempts for a registration; they are owed an answer: attempts_answer(). */
GPtrArray *attempts_list_detached(Manager *m); /* of RunningAttempt *, owned by the array */
/* Ends those of the listed ones that the master does not keep. Return: whether others were detached
 * meanwhile. */
bool attempts_answer(Manager *m, Mapreduced__V1__RunningAttempt *const *keep, size_t count);

bool attempt_is_of_job(const Attempt *a, const char *job_id);

typedef struct AttemptInfo {
        const char *job_id, *kind; /* "map", "reduce" */
        uint32_t task, attempt;
        const char *phase; /* "waiting", "shuffle", "running" */
        double fraction;
} AttemptInfo;

AttemptInfo attempt_info(const Attempt *a);
