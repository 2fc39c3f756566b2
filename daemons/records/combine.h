/*
 * Combiner — adds up values by key before anything is sorted or written.
 *
 *      add ─▶ front table ──evicted──▶ buckets by hash ──full──▶ each made unique, sorted, spilled
 *             4-way sets, in L2        32-byte entries          one bucket fits L2 again
 *
 * Most words of a text are a few words: they never leave the front table. What does leave costs one
 * 32-byte store; a bucket is small enough that making it unique misses no cache. Keys up to 16
 * bytes lie in the entry, longer ones in an arena. Nothing is allocated for a record, and nothing
 * is sorted but the distinct keys, once. Where no order is asked for (a map whose reduce hashes,
 * too), each partition has buckets of its own, and a bucket is given straight from the table that
 * made it unique.
 *
 * Source: the idea of partitioned hash aggregation in cache-sized pieces; e.g. Müller et al.,
 * "Cache-Efficient Aggregation: Hashing Is Sorting", SIGMOD 2015. Changed: set-associative front
 * table with eviction.
 */
#pragma once

#include "records/group.h"
#include "records/merge.h"
#include "records/words.h"

#define COMBINER_MEMORY_MIN (1024 * 1024)

typedef enum CombineOp {
        COMBINE_SUM, /* stops at UINT64_MAX; a count is a sum of ones */
        COMBINE_MIN,
        COMBINE_MAX,
        _COMBINE_OP_MAX,
} CombineOp;

static inline uint64_t combine_apply(CombineOp op, uint64_t a, uint64_t b)
{
        uint64_t sum;

        switch (op) {
        case COMBINE_MIN:
                return MIN(a, b);
        case COMBINE_MAX:
                return MAX(a, b);
        default:
                return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
        }
}

/* A value in a run file: one varint. Return: 0, or -EBADMSG. */
static inline int combine_decode(const uint8_t *value, size_t size, uint64_t *ret)
{
        size_t n = varint_get(value, value + size, ret);

        return n > 0 && n == size ? 0 : -EBADMSG;
}

/* All values of the open group in one. Return: 0, -EBADMSG for a value that is no varint, or an
 * error. */
int groups_combine(Groups *g, CombineOp op, uint64_t *ret);

typedef struct Combiner Combiner;

typedef struct CombinerOptions {
        CombineOp op;
        uint32_t partitions;
        bool unsorted; /* give what there is by partition, but in no order of keys, some perhaps
                          twice */
        /* Which partition a key is in; NULL: key_partition(). */
        uint32_t (*partition)(void *userdata, const uint8_t *key, size_t size);
        void *partition_userdata;
        size_t memory_bytes;  /* raised to COMBINER_MEMORY_MIN */
        Scratch *scratch;     /* not owned */
        const Ticker *ticker; /* may be NULL; not owned */
} CombinerOptions;

int combiner_new(const CombinerOptions *options, Combiner **ret);
Combiner *combiner_free(Combiner *c);
DEFINE_CLEANUP(Combiner, combiner_free);

/**
 * combiner_add() - combine @value into what @key has
 * @key: followed by WORDS_PADDING bytes that may be read
 *
 * Return: 0; -E2BIG above RECORD_MAX_BYTES; the errno of a spill (-ENOSPC, …).
 */
int combiner_add(Combiner *c, const uint8_t *key, size_t size, uint64_t value);

/* The same, for keys that seldom come again (each is from another map): past the front table. */
int combiner_add_rare(Combiner *c, const uint8_t *key, size_t size, uint64_t value);

/* Adds 1 for each word. */
int combiner_count_words(Combiner *c, const uint8_t *base, const Word *words, size_t count);

/* No more keys. @ret gives each once (but see unsorted), by partition, then key, its value one
 * varint; it lives as long as @c. */
int combiner_finish(Combiner *c, RecordStream **ret);
