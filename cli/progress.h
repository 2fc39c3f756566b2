/*
 * Progress on stderr — one line that is written over on a terminal, else a plain line now and then.
 */
#pragma once

#include <systemd/sd-event.h>

#include "cli/job.h"

typedef struct Progress {
        sd_event *event; /* not owned */
        sd_event_source *timer;
        const Job *job;
        bool quiet, terminal;
        bool shown;  /* a line stands on the terminal, without its newline */
        bool paused; /* the line is used for a question */
        bool dirty;
        uint64_t drawn_usec; /* CLOCK_MONOTONIC */
        char *last;          /* what was printed last */
} Progress;

/* Draws nothing if @quiet. */
int progress_init(Progress *p, sd_event *event, bool quiet);
void progress_done(Progress *p);

/* @job changed, and stays where it is; drawn now, or soon where that was a moment ago. */
void progress_update(Progress *p, const Job *job);

/* Takes the line away, so that something else can be printed; and puts it back with the next
 * change. */
void progress_clear(Progress *p);
void progress_pause(Progress *p, bool paused);
