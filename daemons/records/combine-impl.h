/*
 * Combiner, from the inside — the tables that combine.c fills, combine-bucket.c makes unique and
 * combine-drain.c empties.
 *
 *      front table ── what it evicts ──▶ buckets by hash: chains of slabs
 *                                               └── one at a time ──▶ unique table ──▶ records
 *
 * An entry is a key, or its first 16 bytes, and a number. Only the files of combine.h see this.
 */
#pragma once

#include "records/combine.h"
#include "records/item-sort.h"

#define SLAB_ENTRIES 128
#define SLAB_BYTES (SLAB_ENTRIES * sizeof(Entry))
#define NO_SLAB UINT32_MAX
#define INLINE_KEY 16

typedef struct Entry {
        uint8_t head[INLINE_KEY]; /* the key, zero-padded; or the beginning of one that lies in the
                                     arena */
        uint64_t value;
        uint32_t size_plus_one; /* 0: an empty place */
        uint32_t arena_at;
} Entry;

_Static_assert(sizeof(Entry) == 32, "two entries a cache line");

typedef struct Bucket {
        uint32_t slab;  /* the last one, not full; NO_SLAB when there is none */
        uint32_t count; /* entries in that slab */
        uint64_t total;
} Bucket;

/* What is left of a bucket that is being made unique: slabs, the first with @count entries, the
 * others full. */
typedef struct Chain {
        uint32_t slab;
        uint32_t count;
} Chain;

typedef struct Draining {
        size_t next; /* bucket */
        uint32_t partition;
        Chain chain;       /* of the open bucket, not yet in the table */
        size_t table_size; /* for the open bucket */
        size_t at, size;   /* in the table: the next entry to give, and the end */
        size_t filled;
} Draining;

struct Combiner {
        RecordStream memory_stream;
        RecordStream merged_stream;
        CombinerOptions options;

        Entry *front;
        size_t front_size; /* entries, a power of two: those in use of */
        size_t front_full_size;

        Entry *pool; /* slab i is pool[i * SLAB_ENTRIES] and on */
        size_t slab_count;
        uint32_t *slab_next; /* chains of buckets, and of free slabs */
        uint32_t free_slab;
        size_t free_count;
        size_t reserve; /* free slabs kept back, so that the front table can always be emptied */
        Bucket *buckets;
        size_t bucket_count; /* a power of two, or a multiple of the partitions when these are apart
                              */
        unsigned bucket_shift;
        uint32_t partition_buckets; /* when each partition has buckets of its own: how many; else 0
                                     */

        Entry *unique;                    /* table that makes a bucket unique */
        size_t unique_size, unique_clean; /* the entries that it has, and those that were cleared */

        uint8_t *arena;
        size_t arena_size;
        size_t arena_used;

        Draining draining; /* where partitions have buckets of their own */

        Item *items; /* else: room for every entry of the pool, twice */
        size_t item_count;
        size_t next;

        Merge merge;
        Groups groups;
        bool spilled;
        uint8_t value[VARINT_MAX_BYTES];
};

/* ---- keys ---- */

/* Multiply and fold: the idea of wyhash (Wang Yi). Both tables use it; partitions use XXH3. */
static inline uint64_t fold(uint64_t a, uint64_t b)
{
        unsigned __int128 product = (unsigned __int128) a * b;

        return (uint64_t) product ^ (uint64_t) (product >> 64);
}

typedef struct Words128 {
        uint64_t low, high;
} Words128;

static inline Words128 load_head(const uint8_t head[static INLINE_KEY])
{
        Words128 w;

        memcpy(&w, head, sizeof(w));
        return w;
}

static inline uint64_t hash_key(Words128 head, const uint8_t *key, size_t size)
{
        uint64_t h = fold(head.low ^ UINT64_C(0xa0761d6478bd642f),
                          head.high ^ UINT64_C(0xe7037ed1a0b428db) ^ size);

        return size <= INLINE_KEY ? h : fold(h, XXH3_64bits(key, size) | 1);
}

/* The first 16 bytes, zeros where the key ends: two loads and two masks, no branch on the size. */
static inline Words128 key_head(const uint8_t *key, size_t size)
{
        static const uint8_t ones[2 * INLINE_KEY] = {
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        };
        Words128 mask = load_head(ones + INLINE_KEY - MIN(size, (size_t) INLINE_KEY));
        Words128 w = load_head(key);

        w.low &= mask.low;
        w.high &= mask.high;
        return w;
}

static inline const uint8_t *entry_key(const Combiner *c, const Entry *e, size_t *ret_size)
{
        *ret_size = e->size_plus_one - 1;
        return *ret_size <= INLINE_KEY ? e->head : c->arena + e->arena_at;
}

static inline uint64_t entry_hash(const Combiner *c, const Entry *e)
{
        size_t size;
        const uint8_t *key = entry_key(c, e, &size);

        return hash_key(load_head(e->head), key, size);
}

static inline bool entry_is(const Combiner *c, const Entry *e, Words128 head, const uint8_t *key,
                            size_t size)
{
        Words128 own = load_head(e->head);

        return own.low == head.low && own.high == head.high && e->size_plus_one == size + 1 &&
               (size <= INLINE_KEY || memcmp(c->arena + e->arena_at + INLINE_KEY, key + INLINE_KEY,
                                             size - INLINE_KEY) == 0);
}

/* ---- buckets ---- */

/*
 * The bucket of an entry. Where partitions are apart, the hash that chooses the partition chooses
 * among its buckets, too, by its upper bits: so buckets, one after another, are the records by
 * partition.
 */
static inline Bucket *bucket_of(const Combiner *c, const Entry *e)
{
        uint32_t partitions = c->options.partitions;
        const uint8_t *key;
        uint64_t hash;
        size_t size;

        key = entry_key(c, e, &size);
        if (c->partition_buckets == 0)
                return &c->buckets[hash_key(load_head(e->head), key, size) >> c->bucket_shift];
        hash = partition_hash(key, size);
        return &c->buckets[(size_t) hash_partition(hash, partitions) * c->partition_buckets +
                           ((hash >> 32) * c->partition_buckets >> 32)];
}

static inline void bucket_append(Combiner *c, Bucket *b, const Entry *e)
{
        if (b->slab == NO_SLAB || b->count == SLAB_ENTRIES) {
                uint32_t fresh = c->free_slab;

                assert(fresh != NO_SLAB);
                c->free_slab = c->slab_next[fresh];
                c->free_count--;
                c->slab_next[fresh] = b->slab;
                b->slab = fresh;
                b->count = 0;
        }
        c->pool[(size_t) b->slab * SLAB_ENTRIES + b->count++] = *e;
        b->total++;
}

static inline void slab_release(Combiner *c, uint32_t slab)
{
        c->slab_next[slab] = c->free_slab;
        c->free_slab = slab;
        c->free_count++;
}

/* ---- combine-bucket.c ---- */

/* Empties a bucket. @ret_size: of the table that makes it unique. */
Chain combiner_bucket_take(Combiner *c, Bucket *b, size_t *ret_size);

/* Has the table take slab after slab of @chain until the next one might not fit. @filled: its
 * entries in use. */
void combiner_unique_fill(Combiner *c, Chain *chain, size_t size, size_t *filled);

/**
 * combiner_bucket_unique() - combines equal keys of a bucket, in place
 *
 * A bucket too large for the table (only a hostile input makes one) keeps some duplicates: they
 * meet when sorted.
 */
void combiner_bucket_unique(Combiner *c, Bucket *b);

/* ---- combine-drain.c ---- */

/* Has c->memory_stream give all buckets by partition, in no order; the front table must be
 * empty. */
void combiner_drain(Combiner *c);
