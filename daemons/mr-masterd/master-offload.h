/*
 * Offload — file system work in threads, so that a disk that hangs stops one job and not the master.
 *
 * The work function gets data of its own and touches nothing else; the done function runs in the loop,
 * where everything else lives, and owns the data from then on. At most OFFLOAD_THREADS_MAX run at a time,
 * further ones queue.
 */
#pragma once

#include "platform/loop.h"

#define OFFLOAD_THREADS_MAX 64

typedef struct Offload Offload;

typedef void (*OffloadWork)(void *data);
/* @abandoned: the master is ending: only free @data. */
typedef void (*OffloadDone)(void *data, bool abandoned);

int offload_new(Loop *l, Offload **ret);

/* Waits two seconds at most for what runs; work that hangs longer is left to the end of the process. */
Offload *offload_free(Offload *o);
DEFINE_CLEANUP(Offload, offload_free);

void offload_run(Offload *o, OffloadWork work, OffloadDone done, void *data);
