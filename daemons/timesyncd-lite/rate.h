/*
 * Rate — how often one client may ask.
 *
 * A token bucket for each address (IPv6: each /64, which is what one subscriber has), in a table of
 * fixed size: a set of four for each hash, in which the one silent for longest gives way. So a
 * flood costs no memory, and who is forgotten starts with a full bucket, which is harmless: it is
 * the cost of a new connection.
 *
 * No clock, no socket.
 */
#pragma once

#include "base/macro.h"

#define RATE_SETS 1024U
#define RATE_WAYS 4U
#define RATE_BURST_S 4 /* what a full bucket holds, in seconds of the rate */

typedef struct RateLimiter RateLimiter;

RateLimiter *rate_new(uint32_t per_second, uint64_t seed);
RateLimiter *rate_free(RateLimiter *r);
DEFINE_CLEANUP(RateLimiter, rate_free);

/* @peer: "127.0.0.1:41234", "[::1]:5", or anything else, which counts as one client by its text. */
bool rate_allows(RateLimiter *r, const char *peer, uint64_t now_usec);
