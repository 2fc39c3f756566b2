/*
 * The daemon on the bus — org.mapreduced.TimeSync1.Manager, as dbus/org.mapreduced.TimeSync1.xml
 * says; and, in the role of a client, org.freedesktop.timesync1, which timedatectl asks.
 */
#pragma once

#include "timesyncd-lite/manager.h"

typedef struct TimeBus TimeBus;

/* Connects, shows the objects, claims the names. With --bus=none there is nothing to do. Logs. */
int time_bus_start(Manager *m, TimeBus **ret);
TimeBus *time_bus_free(TimeBus *b); /* takes NULL */

/* Announces the properties that may have changed. Takes NULL. */
void time_bus_changed(TimeBus *b);
