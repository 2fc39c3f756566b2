/*
 * Records — a key and a value, both byte strings: empty, with NULs, or up to 1 GiB each.
 *
 * Keys compare by memcmp(), then by length: "a" < "a\0" < "b". Nothing here copies or owns bytes.
 */
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/macro.h"

#define RECORD_MAX_BYTES GIB(1)     /* of a key, of a value, and of a line or a word */
#define RECORD_MAX_PARTITIONS 65536 /* the index of a run file stays below 1 MiB */
#define VARINT_MAX_BYTES 10
#define CACHE_LINE_BYTES                                                                           \
        64 /* what one prefetch brings; where lines are longer, some bring nothing new */

typedef struct Record {
        const uint8_t *key;
        const uint8_t *value;
        size_t key_size;
        size_t value_size;
        uint32_t partition;
} Record;

/*
 * Records in some order. The pointers in @ret live until the next call. Return: 1, 0 at the end, or
 * an error. Where span is not NULL, it gives the same records many at once (span.h) to who calls it
 * instead of next.
 */
struct RecordSpan;
typedef struct RecordStream {
        int (*next)(struct RecordStream *stream, Record *ret);
        int (*span)(struct RecordStream *stream, struct RecordSpan *ret);
} RecordStream;

/* Called between blocks with the number of input bytes just read; a negative answer stops the
 * work. */
typedef struct Ticker {
        int (*tick)(void *userdata, uint64_t bytes);
        void *userdata;
} Ticker;

/* An unlinked file that spills and merge passes are appended to. The owner of the fd is the
 * caller. */
typedef struct Scratch {
        int fd;
        uint64_t end; /* where the next run begins */
} Scratch;

static inline int ticker_tick(const Ticker *t, uint64_t bytes)
{
        return t && t->tick ? t->tick(t->userdata, bytes) : 0;
}

static inline int key_compare(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
        size_t common = MIN(a_size, b_size);
        int r = common > 0 ? memcmp(a, b, common) : 0;

        return r != 0 ? r : (a_size > b_size) - (a_size < b_size);
}

static inline bool key_equal(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
        return a_size == b_size && (a_size == 0 || memcmp(a, b, a_size) == 0);
}

/* Eight bytes from @offset on as a number that sorts like them; bytes past the end count as 0. */
static inline uint64_t key_prefix(const uint8_t *key, size_t size, size_t offset)
{
        uint64_t word = 0;

        if (size >= offset + 8)
                memcpy(&word, key + offset, 8);
        else if (size > offset)
                memcpy(&word, key + offset, size - offset);
        return GUINT64_FROM_BE(word);
}

static inline uint64_t partition_hash(const uint8_t *key, size_t size)
{
        return XXH3_64bits(key, size);
}

static inline uint32_t hash_partition(uint64_t hash, uint32_t partitions)
{
        if ((partitions & (partitions - 1)) == 0)
                return (uint32_t) hash & (partitions - 1); /* the same, without the division */
        return (uint32_t) (hash % partitions);
}

/* Every map of a job must send a key to the same reduce: this is part of the run file's
 * contract. */
static inline uint32_t key_partition(const uint8_t *key, size_t size, uint32_t partitions)
{
        return partitions > 1 ? hash_partition(partition_hash(key, size), partitions) : 0;
}

/* memcpy() for what is mostly a word: two overlapping moves instead of a call. */
static inline void copy_small(uint8_t *to, const uint8_t *from, size_t size)
{
        uint64_t a, b;
        uint32_t c, d;

        if (size > 16)
                memcpy(to, from, size);
        else if (size >= 8) {
                memcpy(&a, from, 8);
                memcpy(&b, from + size - 8, 8);
                memcpy(to, &a, 8);
                memcpy(to + size - 8, &b, 8);
        } else if (size >= 4) {
                memcpy(&c, from, 4);
                memcpy(&d, from + size - 4, 4);
                memcpy(to, &c, 4);
                memcpy(to + size - 4, &d, 4);
        } else if (size > 0) {
                to[0] = from[0];
                to[size / 2] = from[size / 2];
                to[size - 1] = from[size - 1];
        }
}

/* LEB128, seven bits a byte, least first. Returns the bytes written, at most VARINT_MAX_BYTES. */
static inline size_t varint_put(uint8_t *to, uint64_t n)
{
        size_t size = 0;

        while (n >= 0x80) {
                to[size++] = (uint8_t) (n | 0x80);
                n >>= 7;
        }
        to[size++] = (uint8_t) n;
        return size;
}

/* Returns the bytes read, or 0 when @end comes first or the number has more than 64 bits. */
static inline size_t varint_get(const uint8_t *from, const uint8_t *end, uint64_t *ret)
{
        uint64_t n = 0;

        if (from < end && !(*from & 0x80)) {
                *ret = *from;
                return 1;
        }
        for (size_t i = 0; i < VARINT_MAX_BYTES && from + i < end; i++) {
                uint64_t bits = from[i] & 0x7f;

                if (i == VARINT_MAX_BYTES - 1 && bits > 1)
                        return 0;
                n |= bits << (7 * i);
                if (!(from[i] & 0x80)) {
                        *ret = n;
                        return i + 1;
                }
        }
        return 0;
}
