/*
 * Sample filter — one good sample out of each poll.
 *
 * A poll is one exchange, or a burst, of which the fastest is kept. Its round trip decides whether
 * it is good: when RTT ≥ 2U it is asked again, up to a limit. U follows the round trips that were
 * seen, of which the least is the wire itself; so many exchanges succeed that retries are rare,
 * and what fails is a queue, a lost and repeated segment, a machine that slept: a spike. When
 * spikes are all that comes for FILTER_PATIENCE polls, the way has changed, and what was known of
 * it is forgotten.
 *
 * Source: Cristian 1989: the reader chooses U, a smaller one for precision, a larger one for
 * success. Changed: U is not given but found.
 */
#pragma once

#include "timekeeping/history.h"

#define FILTER_MAX 64U
#define FILTER_LEAST 4U    /* round trips that must be known before one is called long */
#define FILTER_PATIENCE 8U /* polls */
#define FILTER_SILENT 3U   /* unanswered exchanges after which a poll is given up */
#define FILTER_FACTOR 4.0  /* times the mean excess: exponential queues exceed it 3 times in 1000 */
/* What a busy scheduler adds; on an idle wire the mean is less. */
#define FILTER_FLOOR_NS INT64_C(20000)

typedef struct SampleFilter {
        int64_t rtts_ns[FILTER_MAX]; /* of accepted samples, a ring */
        size_t count;
        size_t next;
        uint32_t spikes; /* polls in a row that ended in one */

        uint32_t burst; /* this poll: exchanges wanted */
        uint32_t retries;
        uint32_t asked;
        bool has_best;
        HistorySample best;
} SampleFilter;

void filter_init(SampleFilter *f);

/* 2U, from which on an exchange is asked again; INT64_MAX while too little is known. */
int64_t filter_limit_ns(const SampleFilter *f);

/* Begins a poll of @burst ≥ 1 exchanges and at most @retries more. */
void filter_begin(SampleFilter *f, uint32_t burst, uint32_t retries);

/* Whether the poll needs another exchange. */
bool filter_wants_more(const SampleFilter *f);

/**
 * filter_offer() - the outcome of one exchange
 * @s: NULL when no usable answer came
 *
 * Return: TIME_ACCEPTED: the best so far; TIME_REJECT_RETRY; TIME_REJECT_BURST;
 * TIME_REJECT_TIMEOUT for NULL.
 */
TimeReject filter_offer(SampleFilter *f, const HistorySample *s);

/**
 * filter_end() - the poll's result, once filter_wants_more() is false
 *
 * Return: TIME_ACCEPTED and the sample; TIME_REJECT_SPIKE, TIME_REJECT_TIMEOUT: none.
 */
TimeReject filter_end(SampleFilter *f, HistorySample *ret);
