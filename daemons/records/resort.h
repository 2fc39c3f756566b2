/*
 * Resort — sorted runs that fit in memory together are sorted again instead of merged.
 *
 *      | segment | segment | segment | …     ← scratch for sorting | ← items |
 *
 * A merge of k runs compares log2(k) times for each record, and mispredicts half of that. Where all
 * records lie in memory a radix sort of their items (item-sort.h) is cheaper from some eight runs
 * on, and each segment is one read instead of many. Segments are read whole and checked like any
 * others; records are given from where they lie. An order of the runs is not made use of, but equal
 * keys keep the order in which their runs were added.
 *
 * Source: that re-sorting can beat merging is in Graefe, "Implementing Sorting in Database
 * Systems", ACM Computing Surveys 38 (2006); that branches on random keys are mispredicted half the
 * time: Sanders & Winkel, "Super Scalar Sample Sort", ESA 2004.
 */
#pragma once

#include "base/error.h"
#include "records/merge.h"

#define RESORT_RUNS_MIN 8 /* of fewer runs, merging is cheaper */

typedef struct Resort Resort;

typedef struct ResortMark {
        size_t used, count;
} ResortMark;

/**
 * resort_new() - room for runs
 * @memory_bytes:   for their bytes and items together
 * @want_partition: all blocks must be of it
 *
 * Return: 0 or -ENOMEM.
 */
int resort_new(size_t memory_bytes, uint64_t want_partition, const Ticker *ticker, Resort **ret);
Resort *resort_free(Resort *r);
DEFINE_CLEANUP(Resort, resort_free);

/* Will so many more bytes of runs fit? Judged by the records that are there; of none, yes when the
 * bytes do. */
bool resort_may_fit(const Resort *r, uint64_t bytes);

/**
 * resort_add() - reads and checks one more run; its descriptor stays the caller's
 *
 * Return: 1; 0 when it does not fit or is compressed, and all is as before; -EBADMSG and others as
 * block_cursor_next().
 */
int resort_add(Resort *r, const Segment *segment, Error *e);

/* What is there now, and back to that. */
ResortMark resort_mark(const Resort *r);
void resort_rewind(Resort *r, ResortMark mark);

/* Sorts what is there, and gives it; until then, and after resort_rewind() to nothing, more may be
 * added. */
RecordStream *resort_sorted(Resort *r);
