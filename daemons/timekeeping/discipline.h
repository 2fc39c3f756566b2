/*
 * Discipline — what to do with our clock, given the line that the servers' answers are on.
 *
 *      real  = mono + base            base changes by a step, and by nothing else
 *      mono  = free + correction      the correction: all that frequencies and slews added since
 *                                     the start
 *      true  = free + ahead           the line, from history.h
 *
 * The frequency of the line is set as the clock's; what is left of the offset is worked off by a
 * second frequency added to it for a while, whose end is an event that the caller waits for. There
 * is no loop filter: all smoothing was done by the regression, and the clock follows the line at
 * once. A step is for the start only, or beyond a limit that is off by default, and after the
 * start never backwards, for programs that saw a later time.
 *
 * Source: setting a frequency and slewing beside it, with no phase-locked loop, is chrony's way.
 * Changed: the free-running clock instead of rewriting samples at each correction.
 *
 * No clock here: callers pass readings, and do what the decision says at once.
 */
#pragma once

#include "timekeeping/time-types.h"

typedef struct DisciplineLimits {
        /* the oscillator's error at most; the kernel takes 500 by ADJ_FREQUENCY */
        double frequency_ppm;
        double slew_ppm;          /* oscillator and slew together at most */
        double wander_ppm;        /* see History */
        int64_t step_at_start_ns; /* offsets beyond are stepped at the start; 0: never */
        int64_t step_ns;          /* and later, forwards only; 0: never */
} DisciplineLimits;

/* What an offset beyond its limit may do. */
typedef enum DisciplinePhase {
        DISCIPLINE_START,   /* step_at_start_ns counts, either way */
        DISCIPLINE_RESUMED, /* after a suspend: step_at_start_ns counts, forwards only */
        DISCIPLINE_RUNNING, /* step_ns counts, forwards only */
} DisciplinePhase;

/* One stretch of constant frequency. */
typedef struct DisciplineSegment {
        int64_t mono_ns;      /* where it began */
        double correction_ns; /* there */
        double rate_ppm;
} DisciplineSegment;

typedef struct TimeDiscipline {
        DisciplineLimits limits;
        int64_t base_ns;
        DisciplineSegment now, before;
        double frequency_ppm; /* learnt */
        double frequency_sd_ppm;
        double slew_ppm;     /* added to it until slew_end_ns */
        int64_t slew_end_ns; /* CLOCK_MONOTONIC; INT64_MAX: no slew under way */
        /* rms of how far new lines are off the old ones; over the last ten or so */
        double stray_ns;
        bool has_line;
        TimeEstimate line;
} TimeDiscipline;

/*
 * @frequency_ppm ± @sd_ppm: what is known, from a drift file or the kernel. The caller sets it at
 * once.
 */
void discipline_init(TimeDiscipline *d, const DisciplineLimits *limits, const TimeReading *now,
                     double frequency_ppm, double sd_ppm);

/*
 * Free-running time at CLOCK_MONOTONIC @mono_ns, which is not older than the last but one change of
 * frequency.
 */
int64_t discipline_free_ns(const TimeDiscipline *d, int64_t mono_ns);

/**
 * discipline_update() - follow a new line: set its frequency, and begin to slew what is left
 * @slew_s: how long that should take; it takes longer when slew_ppm would be exceeded
 *
 * Return: the step to make at once, > 0 forwards, or 0; the base is changed already.
 */
int64_t discipline_update(TimeDiscipline *d, const TimeEstimate *line, int64_t mono_ns,
                          double slew_s, DisciplinePhase phase);

/* The line that is followed is known no better than this now, though it was thought to be: other
 * servers spoke. */
void discipline_widen(TimeDiscipline *d, int64_t mono_ns, double bound_ns);

/* Steps what is left of the offset, either way: somebody asked for it. Returns the step, or 0. */
int64_t discipline_step(TimeDiscipline *d, int64_t mono_ns);

/* Ends a slew that is due. Returns true when the frequency changed. */
bool discipline_tick(TimeDiscipline *d, int64_t mono_ns);

/* What the kernel's frequency should be now. */
static inline double discipline_rate_ppm(const TimeDiscipline *d)
{
        return d->now.rate_ppm;
}

/* true − real as far as we know; 0 without a line. */
int64_t discipline_offset_ns(const TimeDiscipline *d, int64_t mono_ns);

/* |true − real| is at most this, if the servers are true; INT64_MAX without a line. */
int64_t discipline_bound_ns(const TimeDiscipline *d, int64_t mono_ns);

/*
 * Standard error of the offset: that of the line, what lines differ by from one to the next, and
 * what is still to be slewed. INT64_MAX without a line.
 */
int64_t discipline_esterror_ns(const TimeDiscipline *d, int64_t mono_ns);

/* Our clock's base became another: by a step of ours, a stranger's, or a leap second. */
void discipline_set_base(TimeDiscipline *d, int64_t base_ns);

/* The world's time jumped and the line with it: a leap second. */
void discipline_shift(TimeDiscipline *d, int64_t ahead_ns);

/* The line is void (the machine slept); the frequency stays, with its error widened. */
void discipline_forget(TimeDiscipline *d, int64_t mono_ns);
