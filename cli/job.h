/*
 * A job as its bus properties say — read at once, then kept up to date by PropertiesChanged.
 *
 * The table in job.c is the one list of properties here: reading, updating and printing as JSON go
 * by it.
 */
#pragma once

#include <jansson.h>

#include "cli/json-mode.h"
#include "cli/master.h"

typedef struct JobCounter {
        char *name;
        uint64_t value;
} JobCounter;

/* Named and measured as in org.mapreduced.Master1.xml; strings are never NULL once read. */
typedef struct Job {
        char *path;
        char *id, *name, *state, *state_reason, *cause, *cause_attempt, *output, *program,
                *result_order, *error_output;
        char **input;
        uint32_t uid;
        uint32_t maps, maps_running, maps_done;
        uint32_t reduces, reduces_running, reduces_done;
        double map_progress, shuffle_progress, reduce_progress; /* 0 to 1 */
        uint64_t event_count;
        uint32_t attempts_failed, attempts_lost, map_outputs_lost;
        uint64_t input_bytes;
        uint64_t submitted_usec, started_usec, finished_usec;
        GArray *counters; /* of JobCounter */
} Job;

/* Reads all properties of the job at @path. */
int job_read(Master *m, const char *path, Job **ret, Error *e);

/* The same for a job's id. */
int job_read_by_id(Master *m, const char *id, Job **ret, Error *e);

/* Reads them again into @j, which is unchanged on failure. */
int job_reread(Master *m, Job *j, Error *e);

/* Takes a PropertiesChanged signal: 1 when something must be read again, 0 when not, negative
 * errno. */
int job_update(Job *j, sd_bus_message *signal);

Job *job_free(Job *j);
DEFINE_CLEANUP(Job, job_free);

bool job_is_over(const Job *j); /* done, failed or cancelled */
bool job_is_done(const Job *j);

/* An object of all properties, by their names on the bus. */
json_t *job_to_json(const Job *j);

/* Prints that. Returns the exit status. */
int job_print_json(const Job *j, JsonMode mode);
