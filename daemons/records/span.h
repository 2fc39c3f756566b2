/*
 * Spans — records of one length and one partition, many at a time.
 *
 * A stream gives one record a call, through a pointer to a function at each layer, and for short
 * records that is more work than to copy them. Where records of one length lie in memory, in the
 * order of their items, a stream can give many at once, as a table to walk through: they are copied
 * from where they lie in one loop, which knows early enough which records will be next to have them
 * on their way into the cache.
 */
#pragma once

#include "records/item-sort.h"

typedef struct RecordSpan {
        const Item *items;   /* in order */
        const uint8_t *base; /* a record lies at base + ref * unit: its key, and its value right
                                behind it */
        size_t unit;
        size_t count;
        size_t key_size;
        size_t value_size;
        uint32_t partition;
} RecordSpan;

static inline const uint8_t *span_at(const RecordSpan *s, size_t i)
{
        return s->base + s->items[i].ref * s->unit;
}

static inline size_t span_record_bytes(const RecordSpan *s)
{
        return s->key_size + s->value_size;
}

static inline Record span_record(const RecordSpan *s, size_t i)
{
        return (Record){
                .key = span_at(s, i),
                .value = span_at(s, i) + s->key_size,
                .key_size = s->key_size,
                .value_size = s->value_size,
                .partition = s->partition,
        };
}

/* Copies @count records, the first of them the one at @from, each behind @head. */
void span_copy(const RecordSpan *s, size_t from, size_t count, const uint8_t *head,
               size_t head_size, uint8_t *to);

/* Of @count records from @from on, at least 1: how many have another key than the one before, the
 * first not counted. */
size_t span_changes(const RecordSpan *s, size_t from, size_t count);
