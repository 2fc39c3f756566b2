/*
 * Spans — see span.h.
 */
#include "records/span.h"

#define FETCH_AHEAD 32 /* records on their way into the cache before they are copied */
#define FETCH_BYTES_MAX ((size_t) 256)

static inline void fetch(const uint8_t *record, size_t size)
{
        for (size_t at = 0; at < size; at += CACHE_LINE_BYTES)
                __builtin_prefetch(record + at);
        __builtin_prefetch(record + size - 1); /* it need not begin where a line does */
}

void span_copy(const RecordSpan *s, size_t from, size_t count, const uint8_t *head,
               size_t head_size, uint8_t *to)
{
        size_t size = span_record_bytes(s), fetched = MIN(size, FETCH_BYTES_MAX);

        for (size_t i = from; i < from + count; i++) {
                if (s->count - i > FETCH_AHEAD && fetched > 0)
                        fetch(span_at(s, i + FETCH_AHEAD), fetched);
                copy_small(to, head, head_size);
                copy_small(to + head_size, span_at(s, i), size);
                to += head_size + size;
        }
}

static inline bool same_key(const uint8_t *a, const uint8_t *b, size_t size)
{
        uint64_t x, y;

        if (size < sizeof(x))
                return memcmp(a, b, size) == 0;
        memcpy(&x, a, sizeof(x));
        memcpy(&y, b, sizeof(y));
        return x == y && memcmp(a, b, size) == 0;
}

size_t span_changes(const RecordSpan *s, size_t from, size_t count)
{
        size_t changes = 0;

        for (size_t i = from + 1; i < from + count; i++)
                changes += !same_key(span_at(s, i - 1), span_at(s, i), s->key_size);
        return changes;
}
