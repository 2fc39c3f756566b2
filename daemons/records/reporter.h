/*
 * Reporter — what a command says on stderr: counters, a status, and text for people.
 *
 *      reporter:counter:GROUP,NAME,N           adds N to the counter GROUP:NAME
 *      reporter:status:TEXT                    what it is doing
 *
 * All else, and whatever only looks like these, is text. A line longer than REPORTER_LINE_MAX is
 * text in parts, so that nothing a command writes is held without bound.
 * Source: Hadoop Streaming.
 */
#pragma once

#include "base/macro.h"

#define REPORTER_LINE_MAX 4096

typedef struct ReporterHandlers {
        /* @group and @name: as they were written, NUL-terminated */
        void (*counter)(void *userdata, const char *group, const char *name, uint64_t n);
        void (*status)(void *userdata, const char *text, size_t size);
        /* A line with its newline, or a part of a long one. May hold NULs. */
        void (*text)(void *userdata, const char *text, size_t size);
} ReporterHandlers;

typedef struct Reporter {
        const ReporterHandlers *handlers;
        void *userdata;
        GString *line;     /* not yet ended */
        bool line_is_rest; /* what is before it was too long, and has been given */
} Reporter;

void reporter_init(Reporter *r, const ReporterHandlers *handlers, void *userdata);
void reporter_done(Reporter *r);

void reporter_take(Reporter *r, const uint8_t *data, size_t size);

/* There is no more: a last line without its newline counts as one. */
void reporter_finish(Reporter *r);
