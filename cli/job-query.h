/*
 * Verbs that ask about one job — connected, the job read, and the task or attempt named after it
 * understood.
 */
#pragma once

#include "cli/attempts.h"

typedef enum QueryWords {
        QUERY_JOB,     /* JOB */
        QUERY_TASK,    /* JOB [map-3] */
        QUERY_ATTEMPT, /* JOB [map-3/1] */
} QueryWords;

typedef struct JobQuery {
        Master master;
        Job *job;
        TaskName name; /* of the second operand; the whole job without one */
        bool is_named; /* there is a second operand */
} JobQuery;

/* Returns the exit status: has said what went wrong where it is not EXIT_SUCCESS. */
int job_query_open(JobQuery *q, const Arguments *a, QueryWords words);
void job_query_done(JobQuery *q);
