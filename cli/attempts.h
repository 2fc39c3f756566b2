/*
 * A job's attempts, as the master remembers them; and tasks by the names that people and the
 * journal use.
 *
 *      TASK     map-3, reduce-0         ATTEMPT     map-3/1
 */
#pragma once

#include "cli/job.h"

typedef struct AttemptRow {
        char *kind; /* "map", "reduce" */
        uint32_t task, attempt;
        char *worker, *state, *reason, *cause;
        uint64_t started_usec, finished_usec; /* 0: it still runs */
        double fraction;
} AttemptRow;

/* What "map-3/1" names; -1: all of that level. */
typedef struct TaskName {
        const char *kind; /* static; NULL: the whole job */
        int64_t task, attempt;
} TaskName;

/* @word: NULL for the whole job. @attempt: whether "/1" may follow. -EINVAL with a message. */
int task_name_parse(const char *word, bool attempt, TaskName *ret, Error *e);
bool task_name_matches(const TaskName *name, const char *kind, uint32_t task, uint32_t attempt);

/* "map-3/1". Caller frees. */
char *attempt_name(const char *kind, uint32_t task, uint32_t attempt);

/* Appends those of one kind that @name lets through, by task and number; AttemptRow. */
int attempts_read(Master *m, const Job *j, const char *kind, const TaskName *name, GArray *rows,
                  Error *e);

/* Those that failed, were lost or rejected, the newest first. */
int attempts_read_failed(Master *m, const Job *j, uint32_t max, GArray *rows, Error *e);

GArray *attempts_new(void);
bool attempt_is_over(const AttemptRow *a);
json_t *attempt_to_json(const AttemptRow *a);

/**
 * tasks_each() - call a method of the job that takes KIND, FIRST and MAX, page by page
 * @contents: of the array it returns
 * @fn:       reads one element; returns 1, 0 at the end, negative errno
 *
 * Only the tasks that @name lets through are asked for.
 */
typedef int (*TaskReader)(sd_bus_message *m, const char *kind, void *userdata);
int tasks_each(Master *m, const Job *j, const char *method, const char *contents, const char *kind,
               const TaskName *name, TaskReader fn, void *userdata, Error *e);
