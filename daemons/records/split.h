/*
 * Splits — which bytes of which files make one map task.
 *
 * A plan knows sizes, not contents: it cuts files at byte positions, and line-reader.h says which
 * lines belong to a piece that was cut like this. So planning costs one stat() a file and reads
 * nothing.
 *
 *      files      |------ a ------|-- b --|-c-|------------- d -------------|
 *      pieces     |   a   |   a   |    d    |    d    |    d    |   b   | c |
 *      splits     |   0   |   1   |    2    |    3    |    4    |     5     |     (combined)
 *
 * A file is cut into equal pieces no longer than the split size, so that no split is a sliver; for
 * slots, into falling ones.
 *
 * Small files (of half a split at most) share splits, behind all others. Which ones share one is
 * said by the hashes of their paths: they are all together, and as long as some are too many for
 * one split, parted by the next bit of their hashes. So another small file among them changes the
 * split that it comes into, which may become two, and no other; one that goes away, its own, which
 * may become one with its neighbour. Outputs of maps are known again by this (master-lineage.h).
 * Packing them in order of their names would move every file behind a new one.
 * Source: the buckets of extendible hashing (Fagin, Nievergelt, Pippenger & Strong, ACM TODS 4(3),
 * 1979), which are about 70 % full.
 */
#pragma once

#include "base/macro.h"

#define SPLIT_MAX_PIECES 4096 /* in one split: opening files must not outweigh reading */
#define SPLIT_MAX_PATH_BYTES (1024 * 1024) /* in one split: it travels in one message */
#define SPLIT_MAX_COUNT (1024 * 1024)      /* in one plan: each is a task the master keeps */

/* Of split_plan_new_for_slots(). A plan is made again from what is stored of a job: with other
 * numbers, or another rule, jobs that run while the master is upgraded fail, for they would lose
 * records, or have them twice. */
#define SPLIT_DEAR_MIN_BYTES MIB(64)
#define SPLIT_DEAR_MAX_BYTES MIB(256)

typedef struct SplitFile {
        const char *path;
        uint64_t size_bytes;
        int64_t mtime_ns;
        bool whole; /* it cannot be cut: one piece, however large */
} SplitFile;

/* [offset, offset + length) of a file; length is never 0. */
typedef struct SplitPiece {
        size_t file; /* index into the files given */
        uint64_t offset;
        uint64_t length;
} SplitPiece;

/* Its pieces are plan->pieces[first] to plan->pieces[first + count - 1]. */
typedef struct Split {
        size_t first;
        size_t count;
        uint64_t size_bytes; /* sum of its pieces */
} Split;

typedef struct SplitPlan {
        SplitPiece *pieces; /* in the order of the files, then of offsets; in splits that are
                               shared, likewise */
        size_t piece_count;
        Split *splits;
        size_t split_count;
} SplitPlan;

/**
 * split_plan_new() - cut files into splits
 * @files:            in the order wanted; the plan refers to them by index and keeps no pointer
 * @split_size_bytes: the most bytes in one split, at least 1
 * @combine:          true: small files share splits, up to the limits above (built-in programs);
 *                    false: each piece is a split of its own (commands, which are told the name of
 *                    their input file)
 *
 * Empty files make no piece; a plan without any byte has no split, and that is no error.
 *
 * Return: 0; -EINVAL for a split size of 0; -E2BIG when more than SPLIT_MAX_COUNT splits would be
 * needed (a larger split size is the remedy). @ret is untouched on failure.
 */
int split_plan_new(const SplitFile *files, size_t file_count, uint64_t split_size_bytes,
                   bool combine, SplitPlan **ret);

/**
 * split_plan_new_for_slots() - cut files into splits for maps whose start is dear, as a command's
 * is
 * @slots: how many maps run at a time; 0: unknown
 *
 * Large splits first, for few starts, and small ones last, so that no slot works for long while the
 * others are done: for each slot one of an equal share of half of what is left, and so on, from
 * SPLIT_DEAR_MAX_BYTES down to SPLIT_DEAR_MIN_BYTES (what is left of a file may make it half as
 * long, or longer by an eighth). Each piece is a split. With 0 slots all are of
 * SPLIT_DEAR_MIN_BYTES at most.
 * Source: factoring (Hummel, Schonberg & Flynn, CACM 35(8), 1992).
 *
 * Return: as split_plan_new().
 */
int split_plan_new_for_slots(const SplitFile *files, size_t file_count, uint32_t slots,
                             SplitPlan **ret);

/* Of all cuts, in this order; never 0. Not for other hosts: the order of bytes is in it. */
uint64_t split_plan_digest(const SplitPlan *plan);

SplitPlan *split_plan_free(SplitPlan *plan);
DEFINE_CLEANUP(SplitPlan, split_plan_free);
