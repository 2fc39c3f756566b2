/*
 * What was written about a job — lines from three sources, put in the order of their time:
 *
 *      the master's events          whole jobs only
 *      stderr of the commands       the last lines of each attempt, as the master keeps them
 *      the journal                  what daemons on this host logged with MR_JOB= and, for one
 *                                   task, MR_TASK= or MR_ATTEMPT=
 */
#pragma once

#include "cli/attempts.h"

typedef struct LogLine {
        uint64_t usec, order; /* order: as it came, for lines of one moment */
        char *source;         /* "mr-masterd", "map-3/0", the journal's identifier and pid */
        char *host;           /* a worker's or a host's name; "" where there is none */
        char *text;           /* one line */
} LogLine;

typedef struct LogReader {
        Master *master;
        const Job *job;
        TaskName name;
        const char *directory; /* of journal files; NULL: this host's journal, if there is one */
        struct sd_journal *journal;
        uint64_t next_event, count;
        GHashTable *tails; /* attempts whose stderr was read */
        GArray *lines;     /* of LogLine, since the last log_reader_take() */
} LogReader;

/* A journal that cannot be read is no error: *ret_journal_error says why, or is 0. */
int log_reader_init(LogReader *x, Master *m, const Job *j, const TaskName *name,
                    const char *directory, int *ret_journal_error);
void log_reader_done(LogReader *x);

/* Reads what is new of all three into ->lines, sorted. */
int log_reader_read(LogReader *x, Error *e);
void log_reader_clear(LogReader *x);
