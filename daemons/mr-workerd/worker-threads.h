/*
 * Threads — file system work of jobs, for a file system that hangs must not stop the worker.
 *
 * A worker that does not answer is taken for dead, with everything that it holds. So whatever is
 * done on a file system that is not the worker's own (inputs, output directories, a shared
 * directory for map outputs) is done here. A thread that hangs is left to hang: it comes back when
 * its file system does. At most THREADS_MAX run at a time, of them THREADS_JOB_MAX for one job;
 * further work waits, each job's in order, so who hangs holds up himself.
 *
 * A work function gets data of its own and touches nothing else; `done` comes from the loop.
 */
#pragma once

#include "platform/loop.h"

#define THREADS_MAX 64U
#define THREADS_JOB_MAX 8U

typedef struct Threads Threads;
typedef struct ThreadWork ThreadWork;

typedef struct ThreadWorkOps {
        void (*work)(void *data);
        void (*done)(void *data, void *userdata); /* may be NULL: nobody waits */
        void (*free)(void *data);                 /* after either */
} ThreadWorkOps;

int threads_new(Loop *l, Threads **ret);
/* Waits a second at most for what runs; what did not begin is freed. Takes NULL. */
Threads *threads_free(Threads *t);

/* @ops is kept, @data owned. The result is valid until done() was called. */
ThreadWork *threads_run(Threads *t, const char *job, const ThreadWorkOps *ops, void *data,
                        void *userdata);
ThreadWork *thread_work_forget(ThreadWork *w); /* done() will not come. Returns NULL, takes NULL */
