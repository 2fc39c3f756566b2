/*
 * Stopping and reloading — what a service manager's signals mean to a worker.
 *
 *      SIGTERM, SIGINT    nothing new is taken; what runs may end within DrainSec=, all else is
 *                         given back
 *      ... once more      everything is given back at once
 *      SIGHUP             the configuration is read again; attempts are untouched
 */
#pragma once

#include "mr-workerd/worker-manager.h"

/* When of the manager only the loop and the configuration are there. A reload reads m->argc and
 * m->argv. */
int worker_stop_on_signals(Manager *m);
