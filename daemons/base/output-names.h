/*
 * Names in an output directory — what whoever looks into one goes by.
 *
 * The first two and the parts are Hadoop's FileOutputCommitter's.
 */
#pragma once

#include <inttypes.h>

#define OUTPUT_TEMPORARY "_temporary"
#define OUTPUT_SUCCESS "_SUCCESS"
#define OUTPUT_SKIPPED "_skipped-records"
#define OUTPUT_PART_PREFIX "part-"
#define OUTPUT_PART_FORMAT                                                                         \
        OUTPUT_PART_PREFIX "%05u%s" /* the number, and the ending of its compression or "" */

/* A file in _temporary that says whose it is: the job's id, and when it was submitted, in
 * microseconds. */
#define OUTPUT_TAG_FORMAT "job-%s-%" PRIu64
