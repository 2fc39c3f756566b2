/*
 * Attempt, from the inside — shared by the files that carry one through its phases, and by no
 * other.
 *
 *      worker-attempt.c   it comes, it ends, it tells how far it is
 *      worker-run.c       shipped files, shuffle, mr-task
 *      worker-commit.c    sync, commit by rename, or the way back of a result
 *
 * A function that ends the attempt frees it: nothing of it may be touched afterwards.
 */
#pragma once

#include "mr-workerd/worker-attempt.h"
#include "mr-workerd/worker-job.h"
#include "mr-workerd/worker-output.h"
#include "mr-workerd/worker-shuffle.h"

typedef Mapreduced__V1__TaskSpec TaskSpec;
typedef Mapreduced__V1__TaskUpdate TaskUpdate;
typedef Mapreduced__V1__TaskResult TaskResult;
typedef Mapreduced__V1__TaskOutcome TaskOutcome;
typedef Mapreduced__Task__V1__Done TaskDone;

#define OUTCOME(x) MAPREDUCED__V1__TASK_OUTCOME__##x

typedef struct Gasp Gasp;

typedef enum Phase {
        PHASE_FILES,
        PHASE_SHUFFLE,
        PHASE_WAITING,
        PHASE_RUNNING,
        PHASE_SYNCING,
        PHASE_STREAMING,
} Phase;

struct Attempt {
        Manager *manager;
        EvgrpcServerCall *call; /* NULL once it is over, or while it is detached */
        LoopTimer *grace;       /* of a detached one */
        bool asked;             /* detached: the registration on its way names it */
        TaskResult *kept;       /* a detached one's result */
        TaskSpec *spec;
        const char *
                cause; /* of base/cause.h, when the worker itself is about to fail it; NULL: none */
        Job *job;
        char *key;                   /* in the manager's table */
        char *task_name, *work_name; /* "map-3", "map-3.0" */
        Phase phase;

        JobFilesWait *files_wait;
        Shuffle *shuffle;
        TaskSlot *slot;
        ThreadWork *opening;     /* the next pieces of a map */
        ThreadWork *output_work; /* open or finish, of: */
        OutputFile *output;      /* NULL: the output is in the spool */

        int out_fd, scratch_fd, work_fd;
        uint32_t next; /* piece or segment to hand out */
        bool last_is_sent;
        uint32_t bad_segments;
        TaskDone *done;        /* what mr-task said at the end */
        uint64_t output_bytes; /* of the run file or the part */
        uint64_t streamed_bytes;
        bool committed;

        LoopTimer *patience;  /* while RUNNING, with TaskTimeout= */
        uint64_t activity;    /* as mr-task says */
        uint64_t alive_usec;  /* when it was something new */
        GPtrArray *skipped;   /* Mapreduced__V1__SkippedRecord *; NULL: none */
        size_t skipped_bytes; /* of data in them */
        Gasp *gasp;           /* of a plugin; NULL: none */

        uint64_t total_bytes, read_bytes;
        char *status;
        uint64_t told_usec; /* when progress was sent last */
        bool congested;     /* the call's queue is full: progress can wait */
};

static inline bool attempt_is_map(const Attempt *a)
{
        return a->spec->kind == MAPREDUCED__V1__TASK_KIND__MAP;
}

/* Of a job without reduces maps write the parts of the result. */
static inline bool attempt_makes_part(const Attempt *a)
{
        return !attempt_is_map(a) || a->spec->partitions == 0;
}

/* worker-detached.c: the connection to the master is lost: goes on without it, or not. */
bool attempt_detach(Attempt *a);
void attempt_keep(Attempt *a, const TaskResult *result);
/* Sends the result, as attempt_send_result(), and keeps it until the master surely has it. */
void attempt_tell(Attempt *a, TaskResult *result);
/* Of one that is over and whose result is kept; false: there is none. */
bool attempt_tell_again(Manager *m, const TaskSpec *spec, EvgrpcServerCall *call);
/* The master calls again, with `resume`. */
void attempt_attach(Attempt *a, EvgrpcServerCall *call);
/* worker-attempt.c */
bool attempt_can_reuse(const Manager *m, const TaskSpec *spec);
void attempt_listen(Attempt *a, EvgrpcServerCall *call);
void attempt_free(Attempt *a);
/* The call's last message, and its end. */
void attempt_send_result(EvgrpcServerCall *call, TaskResult *result);
/* Tells it and ends the attempt, or keeps it for later. */
void attempt_finish(Attempt *a, TaskResult *result);

/* Tells the master of a phase that is progress; the last two are the worker's own affair. */
void attempt_set_phase(Attempt *a, Phase phase);
/* Not more often than is of use; @at_once: whenever the call has room. */
void attempt_tell_progress(Attempt *a, bool at_once);

/* Each ends the attempt: FAILED with "map-3: …"; */
void attempt_fail(Attempt *a, bool permanent, const char *format, ...) _printf_(3, 4);
/* FAILED, or REJECTED when our own disk is full, which is no fault of the task; */
void attempt_fail_disk(Attempt *a, int error, const char *what);
/* with what mr-task said, as the master hears it. */
void attempt_finish_done(Attempt *a, TaskOutcome outcome);

/* worker-run.c: from the shipped files on. */
void attempt_begin(Attempt *a);

/* worker-commit.c: mr-task succeeded, its slot is given back. */
void attempt_commit(Attempt *a);
/* The call's queue has room again. */
void attempt_stream_on(Attempt *a);
