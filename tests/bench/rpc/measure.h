/*
 * Measure — what the C programs of the benchmark share: the clock, percentiles, the arguments.
 *
 * A server prints "listening on ADDRESS" and serves until its standard input ends. A client
 * measures one thing and prints it as a line of JSON. So a driver that dies leaves nothing running.
 */
#pragma once

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_SEC UINT64_C(1000000000)
#define SAMPLES_MAX ((size_t) 4 * 1000 * 1000) /* of latency; 32 MB */

/* The lecture's sentence: a small request as people send them. */
#define PAYLOAD "hello I am good hello bye bye bye good night hello"

static inline uint64_t now_ns(void)
{
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * NS_PER_SEC + (uint64_t) ts.tv_nsec;
}

static inline int compare_u64(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return x < y ? -1 : x > y;
}

/* Sorts @ns. The nearest-rank percentile. */
static inline void print_latency(uint64_t *ns, size_t count)
{
        if (count == 0)
                return;
        qsort(ns, count, sizeof(*ns), compare_u64);
        printf("{\"calls\": %zu, \"p50_us\": %.2f, \"p99_us\": %.2f}\n", count,
               (double) ns[(count - 1) / 2] / 1e3, (double) ns[(count - 1) * 99 / 100] / 1e3);
}

/* Microseconds that both ends of ours spin: $BENCH_SPIN_USEC, else the default. */
static inline uint64_t spin_usec(void)
{
        const char *text = getenv("BENCH_SPIN_USEC");

        return !text ? 0 : text[0] == '0' ? UINT64_MAX : strtoull(text, NULL, 10);
}

static inline double argument_number(char *argv[], int at, double fallback)
{
        return argv[at] ? strtod(argv[at], NULL) : fallback;
}
