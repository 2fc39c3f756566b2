/*
 * Source — one server: when to ask it, what its answers were worth, and the line they are on.
 *
 *      poll ─▶ exchanges ─▶ filter ─▶ does it agree with the line? ─▶ history ─▶ line
 *                             │                  │ no
 *                             ▼                  ▼
 *                           spike       jump: kept aside. SOURCE_JUMPS in a row that agree
 *                                       are the server's new time: the history begins anew
 *
 * The poll interval starts short, and doubles only when the line is so good that the error of the
 * frequency over the longer interval stays below that of the offset, and does not bend. It shrinks
 * when the line breaks, and stands still while the server does not answer.
 */
#pragma once

#include "timekeeping/cristian.h"
#include "timekeeping/filter.h"

#define SOURCE_JUMPS 4U
#define SOURCE_START_POLLS 4U /* polls in quick succession at the start, 2 s apart */
#define SOURCE_START_BURST 4U /* exchanges in the first of them: its sample may step the clock */
#define SOURCE_VAIN 2U        /* polls without use after which a server is not waited for */
#define SOURCE_POLL_LEAST 1   /* log2 s */
#define SOURCE_POLL_MOST 17   /* 36 hours; NTP's limit */

typedef struct SourceConfig {
        int min_poll; /* log2 s */
        int max_poll;
        uint32_t burst;           /* exchanges a poll */
        uint32_t retries;         /* more when RTT ≥ 2U */
        int64_t least_one_way_ns; /* known of the wire; 0 when nothing is */
        /* a server whose root distance with ours to it exceeds this is not followed */
        int64_t distance_limit_ns;
        double wander_ppm;
} SourceConfig;

typedef struct TimeSource {
        SourceConfig config;
        History history;
        SampleFilter filter;
        HistorySample jumps[SOURCE_JUMPS]; /* samples that the line contradicts, consecutive */
        size_t n_jumps;
        bool has_line;
        TimeEstimate line;

        TimeClaim claim;     /* of the last answer */
        CristianSample last; /* for show */
        uint8_t reach;       /* the last eight polls, newest lowest: 1 was answered */
        uint32_t vain;  /* polls since the start or source_ask_again(), while there is no line */
        uint32_t polls; /* ended, since the last reset */
        int poll;
        uint32_t calm;         /* good samples in a row at this poll */
        int64_t poll_began_ns; /* CLOCK_MONOTONIC */
        int64_t next_ns;       /* when the next exchange is due; INT64_MAX while one is under way */
        TimeReject last_sample; /* what became of the last poll */
        TimeReject status;   /* why the server is not followed; TIME_ACCEPTED: it is a candidate */
        bool is_falseticker; /* until it agrees with a majority again */
} TimeSource;

/* @frequency_ppm ± @sd_ppm as history_init(). The first exchange is due at once. */
void source_init(TimeSource *s, const SourceConfig *c, double frequency_ppm, double sd_ppm,
                 int64_t mono_ns);

/* As new, but reachability and falseticker mark stay: after a suspend. */
void source_reset(TimeSource *s, double frequency_ppm, double sd_ppm, int64_t mono_ns);

/* The caller begins the exchange that was due. */
void source_begin(TimeSource *s, int64_t mono_ns);

/**
 * source_offer() - the outcome of the exchange begun
 * @sample: NULL when it was no use
 * @why:    then: the reason
 *
 * Return: what became of it. The line is new if this ended the poll with TIME_ACCEPTED:
 * *ret_new_line.
 */
TimeReject source_offer(TimeSource *s, const HistorySample *sample, TimeReject why, int64_t mono_ns,
                        bool *ret_new_line);

/* Not heard yet, and not asked in vain SOURCE_VAIN times: an answer may still come. */
bool source_is_pending(const TimeSource *s);

/* Asks a server that was not heard yet once more, as if for the first time. */
void source_ask_again(TimeSource *s, int64_t mono_ns);

/*
 * The reason why the source is no candidate at free-running time @free_ns, or TIME_ACCEPTED and its
 * line there.
 */
TimeReject source_candidate(const TimeSource *s, int64_t free_ns, TimeEstimate *ret);

/*
 * How far the last sample contradicts the line, 0 when it does not: until more samples tell, either
 * may be right.
 */
int64_t source_doubt_ns(const TimeSource *s);

/* A leap second passed. */
void source_shift(TimeSource *s, int64_t ahead_ns);

static inline int64_t poll_ns(int poll)
{
        return NSEC_PER_SEC << poll;
}
