/*
 * Words of timekeeping — readings of our clocks, what a server says of itself, and why something
 * was refused.
 *
 * Three clocks are read together, as closely as the caller can (real between two reads of mono, the
 * tightest of a few): their differences never change but for a step of the clock (real − mono) or a
 * suspend of the machine (boot − mono), and that is how both are noticed.
 */
#pragma once

#include "base/macro.h"

typedef struct TimeReading {
        int64_t real_ns; /* CLOCK_REALTIME, nanoseconds since 1970 */
        /* CLOCK_MONOTONIC: slewed with the former, never stepped, stands still in a suspend */
        int64_t mono_ns;
        int64_t boot_ns; /* CLOCK_BOOTTIME: as mono, but runs on in a suspend */
} TimeReading;

typedef enum TimeLeap {
        TIME_LEAP_NONE,
        TIME_LEAP_INSERT, /* the last minute of this UTC day has 61 seconds */
        TIME_LEAP_DELETE, /* 59 */
        _TIME_LEAP_MAX,
        _TIME_LEAP_INVALID = -EINVAL,
} TimeLeap;

/* What a server says of its own clock; unbelieved until it is intersected with the others. */
typedef struct TimeClaim {
        bool synchronised;
        bool is_loop;     /* the caller found that the server takes its time from us */
        uint32_t stratum; /* 1 beside a reference, 15 at most */
        int64_t root_delay_ns;
        int64_t root_dispersion_ns;
        TimeLeap leap;
} TimeClaim;

/* Why a sample or a server is not used. The names go to the log and the bus. */
typedef enum TimeReject {
        TIME_ACCEPTED,
        /* samples */
        TIME_REJECT_TIMEOUT,       /* no answer */
        TIME_REJECT_BAD_TIMES,     /* negative RTT, or T3 before T2 */
        TIME_REJECT_RANGE,         /* before 1970 or a time known to have passed, or after 2261 */
        TIME_REJECT_CLOCK_STEPPED, /* our clock was stepped, or slept, between T1 and T4 */
        TIME_REJECT_LEAP,  /* too close to a leap second to know which side each clock is on */
        TIME_REJECT_RETRY, /* RTT ≥ 2U: asked again */
        TIME_REJECT_BURST, /* another of the burst had the smaller RTT */
        TIME_REJECT_SPIKE, /* RTT ≥ 2U even after the last retry */
        TIME_REJECT_JUMP,  /* contradicts this server's earlier answers */
        /* servers */
        TIME_REJECT_UNSYNCHRONISED, /* it says so itself */
        TIME_REJECT_STRATUM,        /* none, or beyond 15 */
        TIME_REJECT_ROOT_DISTANCE,  /* its bound, and ours to it, exceeds the limit */
        TIME_REJECT_LOOP,           /* it follows us */
        TIME_REJECT_UNREACHABLE,    /* the last eight polls were not answered */
        TIME_REJECT_NO_SAMPLES,     /* not heard yet */
        TIME_REJECT_FALSETICKER,    /* its interval misses the one that most agree on */
        TIME_REJECT_NO_MAJORITY,    /* no majority agrees: nobody is followed */
        _TIME_REJECT_MAX,
        _TIME_REJECT_INVALID = -EINVAL,
} TimeReject;

/* "falseticker", "root-distance", …; static. */
const char *time_reject_to_string(TimeReject r);

/* A sentence for the log, without a full stop; static. */
const char *time_reject_explain(TimeReject r);

const char *time_leap_to_string(TimeLeap leap);

/* Why a server with this claim is not followed at all, or TIME_ACCEPTED. */
TimeReject time_claim_check(const TimeClaim *c, int64_t distance_limit_ns);

/*
 * Root distance without our own leg: delay/2 + dispersion. Absurd claims saturate. Source: RFC 5905
 * §11.2.
 */
int64_t time_claim_distance_ns(const TimeClaim *c);

/* How a line over time is kept: value at one moment, slope, and both their standard errors. */
typedef struct TimeEstimate {
        int64_t free_ns;      /* the free-running clock's time this holds at */
        int64_t ahead_ns;     /* server − free-running clock */
        double frequency_ppm; /* the server's rate over ours: > 0 when our oscillator is slow */
        double ahead_sd_ns;
        double frequency_sd_ppm;
        double frequency_bound_ppm; /* as bound_ns, of the frequency */
        /* the true time lies within ahead_ns ± bound_ns, if the servers are true */
        double bound_ns;
        uint32_t count; /* samples it rests on */
} TimeEstimate;
