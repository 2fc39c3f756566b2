/*
 * The one loop — libevent outside, sd-event inside.
 *
 * RPC and HTTP live on libevent; the bus, signals and the watchdog on sd-event. A process has one
 * of each and this file is the only place where they meet: sd-event's epoll descriptor is one
 * readable event of libevent's, and sd_event_prepare() is called before every wait, so that work
 * queued on either side by the other's callbacks is never slept upon.
 */
#pragma once

#include <event2/event.h>
#include <systemd/sd-event.h>

#include "base/macro.h"

typedef struct Loop Loop;

/* One per process. SIGPIPE is ignored from here on. */
int loop_new(Loop **ret);
Loop *loop_free(Loop *l);
DEFINE_CLEANUP(Loop, loop_free);

struct event_base *loop_base(Loop *l);
sd_event *loop_sd_event(Loop *l);

/* Microseconds of CLOCK_MONOTONIC and CLOCK_REALTIME, now. */
uint64_t loop_now_usec(Loop *l);
uint64_t loop_realtime_usec(Loop *l);

/* SIGTERM and SIGINT end loop_run() with 0; both are blocked in the process and given back to
 * children by spawn(). */
int loop_exit_on_signals(Loop *l);

/* Runs until loop_exit(); returns its code, or a negative errno when the loop itself failed. */
int loop_run(Loop *l);
void loop_exit(Loop *l, int code);

/* Timers: one call after @delay_usec from the loop, never from inside loop_timer_*(). */
typedef struct LoopTimer LoopTimer;
typedef void (*LoopTimerFn)(void *userdata);

int loop_timer_new(Loop *l, LoopTimerFn fn, void *userdata, LoopTimer **ret);
LoopTimer *loop_timer_free(LoopTimer *t);
DEFINE_CLEANUP(LoopTimer, loop_timer_free);
void loop_timer_start(LoopTimer *t, uint64_t delay_usec); /* replaces an earlier start */
void loop_timer_stop(LoopTimer *t);
