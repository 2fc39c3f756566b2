/*
 * The worker on the bus — org.mapreduced.Worker1.Manager, as dbus/org.mapreduced.Worker1.xml says.
 */
#pragma once

#include "mr-workerd/worker-manager.h"

/* Connects, shows the object, claims the name. With --bus=none there is nothing to do. Logs. */
int worker_bus_start(Manager *m, WorkerBus **ret);
WorkerBus *worker_bus_free(WorkerBus *b); /* takes NULL */

/* Announces the properties that may have changed, once for all changes of one moment. Takes
 * NULL. */
void worker_bus_changed(WorkerBus *b);
