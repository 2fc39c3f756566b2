/*
 * What happened to a job — its events as the master tells them, numbered from 0.
 */
#pragma once

#include "cli/job.h"

typedef struct JobEvent {
        uint64_t number, usec;
        char *kind, *text;
} JobEvent;

/* Those from @first on that are still kept, oldest first, as an array of JobEvent. */
int events_read(Master *m, const Job *j, uint64_t first, GArray **ret, Error *e);

/* "Nov 22 20:15:24"; "-" for 0. Caller frees. */
char *format_short_time(uint64_t realtime_usec);

/* "Nov 22 20:15:24 worker-lost: w2 is lost", safe for a terminal. Caller frees. */
char *event_line(const JobEvent *event);
json_t *event_to_json(const JobEvent *event);
