/*
 * Offload — file system work in threads, so that a disk that hangs stops one job and not the
 * master.
 *
 * The work function gets data of its own and touches nothing else; the done function runs in the
 * loop, where everything else lives, and owns the data from then on. At most OFFLOAD_THREADS_MAX
 * run at a time, of them OFFLOAD_USER_MAX for one user and OFFLOAD_JOB_MAX for one job; further
 * ones queue, each job's in order, jobs by turns. So who hangs holds up himself, and it takes three
 * users to stop the others.
 */
#pragma once

#include "platform/loop.h"

#define OFFLOAD_THREADS_MAX 64U
#define OFFLOAD_USER_MAX 24U
#define OFFLOAD_JOB_MAX 8U

typedef struct Offload Offload;

typedef void (*OffloadWork)(void *data);
/* @abandoned: the master is ending: only free @data. */
typedef void (*OffloadDone)(void *data, bool abandoned);

int offload_new(Loop *l, Offload **ret);

/* Waits two seconds at most for what runs; work that hangs longer is left to the end of the
 * process, and what did not begin is abandoned. */
Offload *offload_free(Offload *o);
DEFINE_CLEANUP(Offload, offload_free);

/* @job: its number; 0 for work of a user that belongs to none. */
void offload_run(Offload *o, uint64_t job, uint32_t uid, OffloadWork work, OffloadDone done,
                 void *data);
