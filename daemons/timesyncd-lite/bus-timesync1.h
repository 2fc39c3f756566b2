/*
 * org.freedesktop.timesync1 — what `timedatectl timesync-status` and `show-timesync` ask.
 *
 * Our exchange has the four times of NTP's, so they are shown where that interface has NTP's. The
 * reference id is the low half of the number of the clock that the server follows.
 * Source: systemd's org.freedesktop.timesync1(5).
 */
#pragma once

#include <systemd/sd-bus.h>

#include "timesyncd-lite/bus.h"

/* Return: 0, or negative errno. */
int bus_timesync1_add(sd_bus *bus, Manager *m);
void bus_timesync1_changed(sd_bus *bus);

#define TIMESYNC1_NAME "org.freedesktop.timesync1"
