/*
 * Selection — which servers tell the truth, when not all do.
 *
 * Each server's answer is an interval that holds the true time, if it is honest and its bound is.
 * Honest intervals have the true time in common, so they all overlap there. The intersection of
 * the largest number of intervals is taken; if that is a majority, whoever misses it is a
 * falseticker, and one liar cannot move the clock however small it says its error is.
 *
 * Source: Marzullo & Owicki, "Maintaining the time in a distributed system", PODC 1983. RFC 5905
 * §11.2.1 demands also that midpoints lie inside; left out, as a bound says where the truth is,
 * not that it is in the middle.
 */
#pragma once

#include "base/macro.h"

#define SELECT_MAX 64U

typedef struct SelectInterval {
        int64_t low_ns;
        int64_t high_ns; /* ≥ low */
} SelectInterval;

/**
 * select_intersect() - the interval that most of @n ≤ SELECT_MAX intervals share
 * @ret: on success; of several intersections equally popular, the narrowest
 *
 * Intervals that touch in one point overlap.
 *
 * Return: how many share it, if that is more than half of @n; else -EDOM. 0 for @n == 0.
 */
int select_intersect(const SelectInterval *v, size_t n, SelectInterval *ret);

/**
 * select_tolerate() - where the truth is, if at most @faults of the @n intervals miss it
 * @ret: from the first to the last point that n − faults intervals share
 *
 * The most popular intersection says who is wrong, not where the truth is: a liar whose interval
 * overlaps that of all others makes it smaller, and may cut the truth off. The n − faults honest
 * ones all hold it; so it is where so many meet, and of several such places nobody can tell which.
 *
 * Source: Marzullo, "Tolerating failures of continuous-valued sensors", ACM TOCS 8 (1990), 4.
 *
 * Return: 0; -EDOM when no point is shared by so many; @faults ≥ @n counts as n − 1.
 */
int select_tolerate(const SelectInterval *v, size_t n, size_t faults, SelectInterval *ret);

static inline bool select_overlap(SelectInterval a, SelectInterval b)
{
        return a.low_ns <= b.high_ns && b.low_ns <= a.high_ns;
}
