/*
 * Clock — the one that is read and corrected: the machine's, or one that only we see.
 *
 * The virtual clock runs on the machine's monotonic clock, and takes every correction as the
 * kernel would, but in our own memory. So the whole daemon can be run, and measured against the
 * machine's clock to the nanosecond, where nobody wants a clock changed: for a trial before the
 * real thing, and for tests. It may start wrong and be given an oscillator's error.
 *
 * Receive timestamps are of the machine's clock; clock_from_realtime() says what this one showed.
 */
#pragma once

#include "base/error.h"
#include "timekeeping/time-types.h"

typedef struct Clock Clock;

typedef struct ClockStatus {
        bool synchronised;   /* not STA_UNSYNC; the kernel then keeps the RTC as well */
        int64_t maxerror_ns; /* INT64_MAX: unknown */
        int64_t esterror_ns;
        TimeLeap leap;        /* at the end of this UTC day */
        double frequency_ppm; /* only told, never set by clock_set_status() */
} ClockStatus;

/* The machine's clock. @may_adjust: checks that we are allowed to; else only to be read. */
int clock_new_system(bool may_adjust, Clock **ret, Error *e);

/* @offset_ns ahead of the machine's clock, its oscillator @oscillator_ppm fast. */
Clock *clock_new_virtual(int64_t offset_ns, double oscillator_ppm);
Clock *clock_free(Clock *c);
DEFINE_CLEANUP(Clock, clock_free);

bool clock_is_virtual(const Clock *c);

/* How far a virtual clock is ahead of the machine's; 0 for the machine's own. */
int64_t clock_ahead_ns(Clock *c);

/* The three clocks at one moment. */
void clock_read(Clock *c, TimeReading *ret);
int64_t clock_real_ns(Clock *c);

/* What this clock showed when the machine's CLOCK_REALTIME showed @realtime_ns, a moment ago. */
int64_t clock_from_realtime(Clock *c, int64_t realtime_ns);

/* How long to wait, in microseconds of the machine, until CLOCK_MONOTONIC of this clock is
 * @mono_ns. */
uint64_t clock_wait_usec(Clock *c, int64_t mono_ns);

/* ADJ_FREQUENCY: within ± 500 ppm; > 0 makes the clock faster. */
int clock_set_frequency(Clock *c, double ppm);

/* Adds @ns to CLOCK_REALTIME at once. */
int clock_step(Clock *c, int64_t ns);

/* ADJ_STATUS, ADJ_MAXERROR, ADJ_ESTERROR. */
int clock_set_status(Clock *c, const ClockStatus *s);

/* What the kernel says of the clock, whoever told it. */
int clock_get_status(Clock *c, ClockStatus *ret);
