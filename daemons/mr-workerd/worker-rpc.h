/*
 * What a worker serves: RunTask to the master, ReadMapOutput to other workers.
 */
#pragma once

#include "mr-workerd/worker-manager.h"

/* Listens as configured; sets the manager's server and address. Logs. */
int worker_rpc_start(Manager *m);
