/*
 * A private master and worker — what `mrctl --local run` starts for one job and takes away again.
 *
 *      mrctl ── bus (a socket pair) ──────────────▶ mr-masterd
 *        │                                             ▲ unix:DIR/master/socket
 *        ├── lifelines (socket pairs) ─▶ both       mr-workerd ─▶ mr-task …
 *        └── a pipe ─▶ mr-sweep DIR
 *
 * DIR is a new directory of mode 0700 below $TMPDIR (or /var/tmp), so nobody else can reach the
 * sockets; no TCP port is opened. mrctl listens on the master's socket itself and hands it over, so
 * that the worker never finds nobody there and has to wait for a retry.
 *
 * Both are threads of mrctl that run as modules (platform/module.h), and end when their lifelines
 * are cut. Tasks are processes, and end when the worker does. If mrctl is killed, so are master and
 * worker; then mr-sweep removes DIR, and what the job has written so far; it is started when the
 * job has run for a twentieth of a second. A path that is too long for a socket address, or no
 * text, goes by way of /proc/self/fd.
 */
#pragma once

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "platform/module.h"

typedef enum LocalDaemon {
        LOCAL_MASTER,
        LOCAL_WORKER,
        LOCAL_DAEMONS,
} LocalDaemon;

/* @name: "mr-masterd"; @status: its exit status. */
typedef void (*LocalEnded)(const char *name, int status, void *userdata);

typedef struct Local {
        char *dir;
        int dir_fd;
        sd_event_source *sweeper_source;
        int sweeper_fd;
        char *written;    /* "TAG OUTPUT", what mr-sweep is told; NULL: nothing yet */
        TaskProcess task; /* until the worker has it */
        int lifelines[LOCAL_DAEMONS], ends[LOCAL_DAEMONS]; /* ours and theirs */
        Module *modules[LOCAL_DAEMONS];                    /* NULL: not running */
        GPtrArray *argvs[LOCAL_DAEMONS];
        sd_event_source *sources[LOCAL_DAEMONS];
        LocalEnded ended;
        void *userdata;
} Local;

#define LOCAL_NONE                                                                                 \
        ((Local){.dir_fd = -EBADF,                                                                 \
                 .sweeper_fd = -EBADF,                                                             \
                 .task = TASK_PROCESS_NONE,                                                        \
                 .lifelines = {-EBADF, -EBADF},                                                    \
                 .ends = {-EBADF, -EBADF}})

/**
 * local_start() - start both
 * @slots:      task processes at a time; 0: one for each CPU that we may use
 * @ret_bus_fd: the client's end of the master's bus; the caller's
 *
 * Blocks SIGHUP, SIGINT, SIGTERM and SIGCHLD in this process: from here on an event loop must take
 * them. Descriptors 0 to 2 are open from here on.
 *
 * Return: 0, or negative errno with a message and nothing left behind.
 */
int local_start(Local *l, uint32_t slots, int *ret_bus_fd, Error *e);

/* Calls @ended when one of them ends before local_stop(). */
int local_watch(Local *l, sd_event *event, LocalEnded ended, void *userdata);

/* Has mr-sweep started, if its time has not come: what follows may take long without the event
 * loop. */
void local_guard(Local *l);

/* Once the job is submitted: what is to be removed of @output, if anything, should this process be
 * killed. @tag: as base/output-names.h has it. */
void local_tell_output(Local *l, const char *output, const char *tag);

/* Ends one without waiting for it: the worker, when the job is over and its result still to be
 * read. */
void local_release(Local *l, LocalDaemon which);

/* Ends both, waits for them (a few seconds at most), and removes what they left. If they do not
 * end, this process is to end without them. */
void local_stop(Local *l);
