/*
 * Cristian's exchange — the offset of a clock from one question and its answer.
 *
 *      server    T2 ──▶ T3
 *               ╱          ╲             T1, T4 by our clock, T2, T3 by the server's
 *      client  T1           T4
 *
 * The answer was on its way for at least nothing and at most RTT. So at T4 the server's clock
 * shows between T3 and T3 + RTT, and setting ours to T3 + RTT/2 is wrong by at most RTT/2. Nobody
 * who sees only these four numbers can do better: what the two ways differ by passes into the
 * offset, and no client can see it.
 *
 * Source: Cristian, "Probabilistic clock synchronization", Distributed Computing 3 (1989), §3;
 * four times and the sign as RFC 5905 §8. Changed: the server's own time T3 − T2 is taken off the
 * RTT, and the result is in whole nanoseconds whose rounding the bound covers.
 */
#pragma once

#include "base/macro.h"

typedef struct CristianSample {
        int64_t offset_ns; /* > 0: the server is ahead, our clock is slow */
        int64_t rtt_ns;    /* time on the wire, both ways, ≥ 0 */
        int64_t bound_ns;  /* the true offset lies within offset_ns ± bound_ns */
} CristianSample;

/**
 * cristian_sample() - offset and round-trip time of one exchange
 * @t:    T1..T4 in nanoseconds since 1970: T1 and T4 by our clock, T2 and T3 by the server's
 * @ret:  offset_ns > 0 when the server is ahead, i.e. our clock is slow;
 *        bound_ns: the true offset lies within offset_ns ± bound_ns
 *
 *     offset = ((T2 - T1) + (T3 - T4)) / 2      rtt = (T4 - T1) - (T3 - T2)
 *
 * Source: Cristian, Distributed Computing 3 (1989), §3; same sign as RFC 5905 §8.
 *
 * Return: 0; -EBADMSG if rtt is negative, T3 < T2 or T4 < T1 (a lying server, or a step between T1
 * and T4: drop the sample); -ERANGE for a time before 1970. Any other four int64_t, that is up to
 * the year 2262, are fine: nothing overflows. @ret is untouched on failure.
 */
int cristian_sample(const int64_t t[static 4], CristianSample *ret);

/**
 * cristian_bound() - the bound when each way is known to take at least @least_one_way_ns
 *
 * Return: (rtt - 2 * least) / 2 rounded up, never below 1: RTT/2 − least one-way delay, Cristian
 * 1989.
 */
int64_t cristian_bound(int64_t rtt_ns, int64_t least_one_way_ns);

/**
 * cristian_time_to_set() - what our clock should show at T4: T3 + RTT/2
 *
 * Return: 0, or as cristian_sample(), and -ERANGE when that moment is beyond the year 2262.
 */
int cristian_time_to_set(const int64_t t[static 4], int64_t *ret_ns);
