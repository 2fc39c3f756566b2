/*
 * Sampling — the bounds between reduces whose parts are to be one order.
 *
 * Blocks of the input are read at places spread over all of it, each at random within its own
 * stretch, so that sorted input is met as well as shuffled; the keys of some records of each are
 * sorted, and every n-th is a bound, or the nearest place where the key changes, cut to as few
 * bytes as tell it from the one before.
 */
#pragma once

#include "jobs/job-desc.h"
#include "mr-masterd/master-plan.h"

#define SAMPLE_BOUNDS_BYTES KIB(24) /* of all bounds: they travel with every attempt */

/**
 * plan_sample() - bounds for a job of the app sort; blocks, so it is for a thread
 * @ret: GBytes, rising, fewer than @reduces; empty for any other job. Caller unrefs.
 *
 * Return: 0, or -errno with a sentence where an input cannot be read.
 */
int plan_sample(const PlanFiles *files, const char *app, char *const *args, size_t arg_count,
                uint32_t reduces, GPtrArray **ret, Error *e);
