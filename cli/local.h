/*
 * A private master and worker — what `mrctl --local run` starts for one job and takes away again.
 *
 *      mrctl ── bus (a socket pair) ──────────────▶ mr-masterd
 *        │                                             ▲ unix:DIR/master/socket
 *        └── lifelines (socket pairs) ─▶ both       mr-workerd ─▶ mr-task …
 *
 * DIR is a new directory of mode 0700 below $TMPDIR (or /var/tmp), so nobody else can reach the sockets;
 * no TCP port is opened. mrctl listens on the master's socket itself and hands it over, so that the worker
 * never finds nobody there and has to wait for a retry.
 *
 * Both are forks of mrctl that run as modules (platform/module.h). One ends when its lifeline is cut, be it by us or
 * by the death of mrctl, and deletes its own directory below DIR; the last one DIR. A path too long for a socket
 * address goes by way of /proc/self/fd of the daemons.
 */
#pragma once

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/error.h"

typedef enum LocalDaemon {
        LOCAL_MASTER,
        LOCAL_WORKER,
        LOCAL_DAEMONS,
} LocalDaemon;

/* @name: "mr-masterd"; @status: as waitpid() has it. */
typedef void (*LocalEnded)(const char *name, int status, void *userdata);

typedef struct Local {
        char *dir;
        int dir_fd;
        int lifelines[LOCAL_DAEMONS];
        pid_t pids[LOCAL_DAEMONS]; /* 0: not running */
        sd_event_source *sources[LOCAL_DAEMONS];
        LocalEnded ended;
        void *userdata;
} Local;

#define LOCAL_NONE ((Local){.dir_fd = -EBADF, .lifelines = {-EBADF, -EBADF}})

/**
 * local_start() - start both
 * @slots:      task processes at a time; 0: one for each CPU that we may use
 * @ret_bus_fd: the client's end of the master's bus; the caller's
 *
 * Blocks SIGINT, SIGTERM and SIGCHLD in this process: from here on an event loop must take them.
 *
 * Return: 0, or negative errno with a message and nothing left behind.
 */
int local_start(Local *l, uint32_t slots, int *ret_bus_fd, Error *e);

/* Calls @ended when one of them ends before local_stop(). */
int local_watch(Local *l, sd_event *event, LocalEnded ended, void *userdata);

/* Ends one without waiting for it: the worker, when the job is over and its result still to be read. */
void local_release(Local *l, LocalDaemon which);

/* Ends both, waits for them (a few seconds at most, then by force), and removes what they left. */
void local_stop(Local *l);

/* "ended with status 1", "was killed by signal 9 (Killed)". Caller frees. */
char *local_describe_end(int status);
