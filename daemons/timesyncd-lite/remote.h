/*
 * Remote — a server as people know it: its name, its last exchanges, and why it is not followed.
 *
 * The judgement is the keeper's; this keeps what happened, for the log and the bus. A reason is
 * logged when it changes, not with every poll.
 */
#pragma once

#include "timekeeping/cristian.h"
#include "timesyncd-lite/exchange.h"

#define REMOTE_SAMPLES_MAX 64U

typedef struct RemoteSample {
        int64_t t[4];
        bool from_kernel[4];
        CristianSample cristian; /* zero if the times contradict each other */
        TimeReject outcome;
} RemoteSample;

typedef struct Remote {
        char *address;
        unsigned number; /* in the keeper */
        Exchange *exchange;
        RemoteSample samples[REMOTE_SAMPLES_MAX]; /* a ring */
        size_t sample_count, sample_next;
        uint64_t exchanges, answers;
        ClockPath path;  /* of the last answer */
        char *failure;   /* why the last exchange had no answer; NULL: it had */
        TimeReject told; /* what was logged last */
        int64_t last_answer_real_ns;
        void *manager;
} Remote;

Remote *remote_free(Remote *r);
void remote_keep_sample(Remote *r, const RemoteSample *s);
/* @index: 0 is the oldest. */
const RemoteSample *remote_sample(const Remote *r, size_t index);
/* A sentence on @why, with what the network said where that is the reason. */
const char *remote_explain(const Remote *r, TimeReject why);
