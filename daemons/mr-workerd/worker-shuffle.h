/*
 * Shuffle — a reduce attempt gathers its partition of every map's output.
 *
 *                  news                fetched whole
 *      UNKNOWN ──────────▶ FETCHING ─────────────────▶ HAVE
 *         ▲                  │    ▲                      │
 *         │ lost, reported   │    │ short backoff        │ dropped: its bytes were bad
 *         │                  ▼    │                      │
 *         ├─────────────── RETRY ─┘                      │
 *         └──────────────────────────────────────────────┘
 *
 * Outputs on this very worker are used in place, those of others are copied into one nameless file.
 * A segment is of one attempt of its map, whole: a newer attempt replaces it, never adds to it.
 * What cannot be had is tried three times, then reported, and the rest goes on meanwhile; while no
 * replacement comes it is tried, and reported, again and again, slowly: the worker may come back,
 * and the master may want to hear it more than once.
 *
 * It holds no task slot: however long it waits, maps go on.
 */
#pragma once

#include "mr-workerd/worker-job.h"

typedef struct Shuffle Shuffle;

typedef struct ShuffleHandlers {
        void (*on_progress)(void *userdata); /* one segment more */
        void (*on_complete)(void *userdata); /* all are there (again) */
        /* The attempt cannot go on here: the spool is full. */
        void (*on_failed)(const char *sentence, const char *cause, void *userdata);
} ShuffleHandlers;

typedef struct ShuffleSegment {
        int fd; /* the caller closes it */
        uint64_t offset, length;
        uint32_t attempt;
} ShuffleSegment;

/* Of all attempts of a worker together: 24 bytes each. */
#define SHUFFLE_SEGMENTS_MAX UINT64_C(16777216)

/**
 * shuffle_new() - begin
 * @partition:  0 to @partitions - 1
 * @stable_dir: where all outputs are, on a file system that every worker shares; "": on the
 *              workers' own disks
 *
 * Handlers come from the loop, not from in here; look at shuffle_is_complete() first.
 *
 * Return: 0; -E2BIG when SHUFFLE_SEGMENTS_MAX would be passed; the errno of making the file.
 */
int shuffle_new(Job *job, uint32_t maps, uint32_t partition, uint32_t partitions,
                const char *stable_dir, const ShuffleHandlers *handlers, void *userdata,
                Shuffle **ret);
Shuffle *shuffle_free(Shuffle *s);

bool shuffle_is_complete(const Shuffle *s);
uint32_t shuffle_have(const Shuffle *s);       /* segments */
uint64_t shuffle_have_bytes(const Shuffle *s); /* in them */

/* Where an attempt's output is in such a directory; @temporary: while it is written. Caller
 * frees. */
char *stable_output_path(const char *dir, uint32_t map, uint32_t attempt, bool temporary);

/* The segment of a map, to be read now. -ENOENT when it is not there any more: drop it.
 * ret->attempt is set in any case. */
int shuffle_segment_open(const Shuffle *s, uint32_t map, ShuffleSegment *ret);

/* Whether a segment is read in the spool itself; then where it is, but for ret->fd. */
bool shuffle_segment_in_spool(const Shuffle *s, uint32_t map, ShuffleSegment *ret);

/**
 * shuffle_drop() - a segment turned out to be bad: report it, and wait for another attempt's
 *
 * A segment that was replaced meanwhile is left alone. No handler is called from in here: look at
 * shuffle_is_complete().
 */
void shuffle_drop(Shuffle *s, uint32_t map, uint32_t attempt, const char *reason, bool corrupt);
