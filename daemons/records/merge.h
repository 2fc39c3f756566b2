/*
 * Merge — many sorted runs become one, in bounded memory and with a bounded number of open files.
 *
 * A loser tree holds the head of every run: each record given costs one comparison a level. Runs
 * beyond the fan-in are merged into longer ones in the scratch file first, as they are added, so
 * that their descriptors can be closed: a reduce of ten thousand maps holds a few hundred open.
 * Many runs that fit in memory together are not merged, but sorted again (resort.h).
 *
 * Source: Knuth, The Art of Computer Programming 3, §5.4.1 (loser tree). Changed: a node carries
 * its run's key prefix, so most comparisons touch no key.
 */
#pragma once

#include "base/error.h"
#include "records/record.h"

#define MERGE_FAN_IN_MIN 4
#define MERGE_FAN_IN_MAX 256

typedef struct Segment {
        int fd;
        bool owns_fd; /* closed when the segment has been read or the merge is freed */
        uint64_t offset;
        uint64_t length;
        uint64_t tag; /* the caller's name for it, told when it is bad */
} Segment;

#define MERGE_TAG_NONE UINT64_MAX /* a run of our own in the scratch file */

typedef struct MergeOptions {
        size_t memory_bytes;  /* for the buffers of the runs that are open together, or for all of
                                them */
        Scratch *scratch;     /* for passes; not owned */
        const Ticker *ticker; /* may be NULL; not owned */
        uint64_t want_partition; /* BLOCK_ANY_PARTITION for runs of several, ordered by partition */
} MergeOptions;

typedef struct Merge {
        RecordStream stream; /* after merge_start() */
        struct MergeState *state;
        uint64_t bad_tag; /* of the segment an error came from, else MERGE_TAG_NONE */
        Error error;      /* what was wrong with it */
} Merge;

int merge_init(Merge *m, const MergeOptions *options);
void merge_done(Merge *m);

/**
 * merge_add() - one more sorted run
 * @segment: empty ones are fine; its fd is taken over in every case when owns_fd
 *
 * Return: 0, or the error of a pass: see merge_start().
 */
int merge_add(Merge *m, const Segment *segment);

/**
 * merge_spill() - the same of a run that is written to the scratch file first
 * @stream: sorted; read to its end
 *
 * Return: as above, and the errors of @stream and of writing (-ENOSPC, …).
 */
int merge_spill(Merge *m, RecordStream *stream);

/* The same of one record, which is written from where it lies when it is large. */
int merge_spill_single(Merge *m, const Record *record);

/**
 * merge_start() - no more runs; m->stream gives the records, by partition, then key, then order of
 * adding
 *
 * Return: 0; -EBADMSG with m->bad_tag for a bad segment (also from the stream); -ENOSPC and others
 * from the scratch file; the ticker's answer.
 */
int merge_start(Merge *m);
