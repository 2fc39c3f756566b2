/*
 * History — what one server's answers say of our oscillator, over the last 64 samples.
 *
 * Samples are kept against the *free-running clock*: our clock without any correction made since
 * the start (discipline.h knows the difference). So a sample stays true whatever is done to the
 * clock after it, and slews and steps never have to be taken out of old samples.
 *
 * What a sample is worth shows in its round trip: what it took longer than the fastest is
 * queueing, spent on ways unknown, and shifts the offset by anything between minus and plus half
 * of it. Its variance is that of an even spread, excess² / 12. So fast samples decide, and slow
 * ones hardly count.
 */
#pragma once

#include "timekeeping/regression.h"
#include "timekeeping/time-types.h"

/* At a poll of 64 s more than an hour: no crystal keeps a line for longer. */
#define HISTORY_MAX 64U

typedef struct HistorySample {
        int64_t free_ns;  /* free-running clock, in the middle of the exchange */
        int64_t ahead_ns; /* server − free-running clock */
        int64_t rtt_ns;
        int64_t half_ns; /* the server's clock lies within ahead_ns ± half_ns */
        int64_t root_ns; /* and the true time within root_ns of the server's clock, as it says */
} HistorySample;

typedef struct History {
        HistorySample samples[HISTORY_MAX]; /* oldest first */
        size_t count;
        RegressionPrior prior; /* in ns/s; holds until the first sample has to go */
        double wander_ppm;     /* how far the frequency may stray from any estimate */
} History;

/* @frequency_ppm ± @sd_ppm: what is known of the oscillator before the first sample. */
void history_init(History *h, double frequency_ppm, double sd_ppm, double wander_ppm);

/* Appends; of more than HISTORY_MAX the oldest goes. Samples come in order of free_ns. */
void history_add(History *h, const HistorySample *s);

/* All clocks of the world but our free-running one jumped: a leap second. */
void history_shift(History *h, int64_t ahead_ns);

/**
 * history_fit() - the line that the samples are on, at the time of the last one
 *
 * Forgets the oldest samples as long as the residuals fail the runs test, but never keeps fewer
 * than four. Call it once after each history_add().
 *
 * Return: 0; -ENODATA without a sample.
 */
int history_fit(History *h, TimeEstimate *ret);

/**
 * estimate_advance() - follow the line to @free_ns, with its errors
 *
 * The bound grows by the frequency's, and for what the frequency may have strayed since: by
 * wander_ppm at once and as much more each hour, as the error of a random walk grows faster than
 * time; at most by the 15 ppm that RFC 5905 takes for any oscillator.
 */
void estimate_advance(TimeEstimate *e, int64_t free_ns, double wander_ppm);

/* Whether a sample and a line can both be right. */
bool estimate_agrees(const TimeEstimate *e, const HistorySample *s, double wander_ppm);
