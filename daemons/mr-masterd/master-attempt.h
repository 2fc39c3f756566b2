/*
 * Attempts' calls — what master-dispatch.c, which starts and ends them, shares with
 * master-resume.c, where they go on.
 */
#pragma once

#include "mr-masterd/master-manager.h"

struct AttemptCall {
        MasterJob *job; /* NULL: detached */
        TaskKind kind;
        uint32_t task, attempt, worker;
        bool resumed;
        struct AttemptCall *other; /* of the same attempt; in its job's calls, too */
        bool newer;                /* than the other, and has no answer yet */
        bool left; /* so is the newer one's connection: it moves on as soon as it has an answer */
        EvgrpcCall *call; /* NULL: expected, its worker is not here again yet */
        int output_fd;    /* of a streamed result */
        uint64_t output_bytes;
        int output_error; /* the first one */
};

AttemptCall *attempt_call_new(MasterJob *j, TaskKind kind, uint32_t task, uint32_t attempt,
                              uint32_t worker);
/* The call that begins an attempt, or takes it up again. @c may have been freed then. */
void attempt_call(AttemptCall *c, bool resume);
/* A second call of the same attempt, over its worker's new connection. */
void attempt_move(AttemptCall *c);
void attempt_lose(AttemptCall *c, const char *why, const char *cause);

typedef void (*AttemptCallFn)(AttemptCall *c, void *userdata);
/* @fn may end them. */
void worker_each_call(const MasterWorker *w, AttemptCallFn fn, void *userdata);

const char *attempt_kind_name(TaskKind kind);
