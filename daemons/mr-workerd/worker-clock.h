/*
 * This host's clock — what the kernel says of it, and how far it is off the master's.
 *
 * Each heartbeat is one exchange of Cristian's algorithm. Of those since the last report the one
 * with the shortest round trip counts for a while, as what others took longer was spent waiting on
 * ways unknown.
 */
#pragma once

#include "cluster.pb-c.h"
#include "base/macro.h"

#define WORKER_CLOCK_EXCHANGES 8U /* among which the fastest counts */

typedef struct WorkerClock {
        int64_t offsets_ns[WORKER_CLOCK_EXCHANGES]; /* > 0: our clock is slow */
        int64_t bounds_ns[WORKER_CLOCK_EXCHANGES];
        uint64_t count;
        int64_t t1_ns; /* of the heartbeat on its way */
} WorkerClock;

/* Takes T1; call it as the request is about to be sent. */
void worker_clock_fill(WorkerClock *c, Mapreduced__V1__HeartbeatRequest *ret);

/* A reply came. One without times, from an older master, changes nothing. */
void worker_clock_learn(WorkerClock *c, const Mapreduced__V1__HeartbeatReply *reply);
