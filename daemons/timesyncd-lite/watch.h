/*
 * Watching — what the rest of the machine does to the clock and the network, as descriptors that
 * become readable.
 */
#pragma once

#include "base/macro.h"

/*
 * Readable when CLOCK_REALTIME was stepped, by whomever, or the machine resumed from a suspend
 * (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET). Return: 0 or negative errno.
 */
int watch_clock_open(int *ret_fd);
/* Takes the news and waits for the next. */
void watch_clock_rearm(int fd);

/* Readable when an address or a route came or went: rtnetlink(7). */
int watch_network_open(int *ret_fd);
void watch_network_drain(int fd);
