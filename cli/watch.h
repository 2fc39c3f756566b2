/*
 * Watching a job until it is over — by its signals, never by asking again and again.
 *
 *      watch_submit() ── reply ──▶ following ── State ──▶ over
 *      watch_follow() ──────────▶     │  ^C
 *                                     ├──▶ (asked) ──▶ detached
 *                                     └──▶ cancelling ──▶ over | interrupted
 *
 * A master that goes away and comes back on a bus costs nothing but a line: the job is read again.
 */
#pragma once

#include "cli/job-request.h"
#include "cli/local.h"
#include "cli/progress.h"

/* What SIGINT and SIGTERM mean, and SIGHUP with a local master. */
typedef enum WatchInterrupt {
        INTERRUPT_LEAVE,  /* end watching; the job is not ours to touch */
        INTERRUPT_CANCEL, /* cancel it; a second one ends at once */
        INTERRUPT_ASK,    /* SIGINT asks on the terminal; a second one cancels */
} WatchInterrupt;

typedef enum WatchEnd {
        WATCH_OVER,        /* see the job's state */
        WATCH_DETACHED,    /* the job goes on */
        WATCH_INTERRUPTED, /* by ->signal_number, after cancelling unless INTERRUPT_LEAVE */
        WATCH_FAILED,      /* see the error */
} WatchEnd;

typedef struct Watch {
        Master *master;
        Local *local; /* NULL: the daemons are not ours */
        sd_event *event;
        sd_event_source *stdin_source, *cancel_timer;
        Job *job; /* NULL until its reply is here */
        Progress progress;
        WatchInterrupt policy;
        bool cancelling;
        bool ended;
        WatchEnd how;      /* once ended */
        int signal_number; /* the first one that was taken; 0: none */
        Error error;
        /* Called with each change of the job, before its progress is drawn, and once more when it
         * is over; may be NULL. */
        void (*changed)(struct Watch *w);
        void *userdata;
} Watch;

/* @l: NULL, or the daemons to watch, too. Takes SIGINT and SIGTERM from here on,
 * and SIGHUP with a local master, unless it is ignored. */
int watch_init(Watch *w, Master *m, Local *l, WatchInterrupt policy, bool quiet, Error *e);
void watch_done(Watch *w);

/* Sends the job, and follows it as soon as the master answers. */
int watch_submit(Watch *w, const JobRequest *q, Error *e);

/* Follows a job that is there. */
int watch_follow(Watch *w, const char *path, Error *e);

/* Ends watch_run() with WATCH_DETACHED: nobody wants to know any more. */
void watch_leave(Watch *w);

/* Returns when there is nothing more to wait for. */
WatchEnd watch_run(Watch *w, Error *e);
