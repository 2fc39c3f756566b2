/*
 * Resort — see resort.h.
 */
#include <inttypes.h>

#include "base/fs.h"
#include "records/block.h"
#include "records/item-sort.h"
#include "records/region.h"
#include "records/resort.h"
#include "records/span.h"

#define READ_BYTES ((uint64_t) 1024 * 1024) /* between two ticks */
#define FETCH_AHEAD 16
#define SIZE_MAX_BYTES ((size_t) UINT32_MAX & ~(size_t) 4095) /* a ref is 32 bits */

struct Resort {
        RecordStream stream;
        uint8_t *region;
        size_t size;
        size_t used;  /* bytes of segments, at the front */
        size_t count; /* of items, at the back, the last one first */
        size_t next;  /* item to give, once sorted */
        size_t lines; /* of the cache that a record lies in, beside the first */
        /* Where all are alike: what each has. */
        bool alike;
        size_t lengths_size, key_size, value_size;
        uint64_t partition;
        const Ticker *ticker;
};

static Item *resort_items(const Resort *r)
{
        return (Item *) (void *) (r->region + r->size) - r->count;
}

/* A record of the region: its lengths, which were checked when it was added. */
static const uint8_t *read_lengths(const Resort *r, uint32_t ref, size_t *ret_key_size,
                                   size_t *ret_value_size)
{
        const uint8_t *at = r->region + ref, *end = at + 2 * VARINT_MAX_BYTES;
        uint64_t key_size = 0, value_size = 0;

        at += varint_get(at, end, &key_size);
        at += varint_get(at, end, &value_size);
        *ret_key_size = key_size;
        *ret_value_size = value_size;
        return at;
}

static const uint8_t *resort_key(const void *userdata, uint32_t ref, size_t *ret_size)
{
        size_t value_size;

        return read_lengths(userdata, ref, ret_size, &value_size);
}

static int resort_next(RecordStream *stream, Record *ret)
{
        Resort *r = (Resort *) (void *) stream;
        const Item *items = resort_items(r);

        if (r->next == r->count)
                return 0;
        if (r->next + FETCH_AHEAD < r->count) {
                const uint8_t *ahead = r->region + items[r->next + FETCH_AHEAD].ref;

                for (size_t i = 0; i <= r->lines; i++)
                        __builtin_prefetch(ahead + i * CACHE_LINE_BYTES);
        }
        ret->key = read_lengths(r, items[r->next++].ref, &ret->key_size, &ret->value_size);
        ret->value = ret->key + ret->key_size;
        ret->partition = (uint32_t) r->partition;
        return 1;
}

static int resort_span(RecordStream *stream, RecordSpan *ret)
{
        Resort *r = (Resort *) (void *) stream;

        if (r->next == r->count)
                return 0;
        *ret = (RecordSpan){
                .items = resort_items(r) + r->next,
                .base = r->region + r->lengths_size,
                .unit = 1,
                .count = r->count - r->next,
                .key_size = r->key_size,
                .value_size = r->value_size,
                .partition = (uint32_t) r->partition,
        };
        r->next = r->count;
        return 1;
}

int resort_new(size_t memory_bytes, uint64_t want_partition, const Ticker *ticker, Resort **ret)
{
        Resort *r = calloc(1, sizeof(*r));

        if (!r)
                return -ENOMEM;
        *r = (Resort){
                .stream.next = resort_next,
                .size = MIN(memory_bytes & ~(size_t) 4095, SIZE_MAX_BYTES),
                .partition = want_partition,
                .ticker = ticker,
        };
        r->region = r->size > 0 ? region_take(r->size) : NULL;
        if (!r->region) {
                free(r);
                return -ENOMEM;
        }
        *ret = r;
        return 0;
}

Resort *resort_free(Resort *r)
{
        if (!r)
                return NULL;
        r->region = region_keep(r->region, r->size);
        free(r);
        return NULL;
}

/* An item needs its double: the sort's scratch lies below the items. */
static bool has_room(const Resort *r, size_t bytes, size_t count)
{
        return bytes <= r->size && count <= (r->size - bytes) / (2 * sizeof(Item));
}

bool resort_may_fit(const Resort *r, uint64_t bytes)
{
        uint64_t all = r->used + bytes;

        if (bytes > r->size || all > r->size - BLOCK_PADDING)
                return false;
        return r->used == 0 ||
               has_room(r, (size_t) all,
                        (size_t) ((double) r->count / (double) r->used * (double) all));
}

ResortMark resort_mark(const Resort *r)
{
        return (ResortMark){.used = r->used, .count = r->count};
}

void resort_rewind(Resort *r, ResortMark mark)
{
        r->used = mark.used;
        r->count = mark.count;
}

static int read_segment(const Resort *r, const Segment *s, Error *e)
{
        int k;

        for (uint64_t at = 0, n; at < s->length; at += n) {
                ssize_t got;

                n = MIN(READ_BYTES, s->length - at);
                got = pread_full(s->fd, r->region + r->used + at, (size_t) n, s->offset + at);
                if (got < 0)
                        return error_setf(e, (int) got, "cannot read at offset %" PRIu64 ": %s",
                                          s->offset + at, error_text((int) got));
                if ((uint64_t) got < n)
                        return error_setf(e, EBADMSG,
                                          "the file ends at offset %" PRIu64
                                          ", in a segment that goes to %" PRIu64 ": truncated",
                                          s->offset + at + (uint64_t) got, s->offset + s->length);
                k = ticker_tick(r->ticker, n);
                if (k < 0)
                        return k;
        }
        return 0;
}

/* The first record that is there says what all are like. */
static void note_lengths(Resort *r, const BlockCursor *cursor, const Record *record)
{
        if (r->count == 0) {
                r->alike = true;
                r->lengths_size = cursor->lengths_size;
                r->key_size = record->key_size;
                r->value_size = record->value_size;
        }
        r->alike = r->alike && cursor->lengths_size == r->lengths_size &&
                   record->key_size == r->key_size && record->value_size == r->value_size;
}

/* @first, and @more behind it that are of its lengths. */
static void add_alike(Resort *r, const BlockCursor *cursor, const Record *first, size_t more,
                      size_t stride)
{
        Item *items = resort_items(r) - 1;

        for (size_t i = 0; i <= more; i++)
                *items-- = (Item){
                        .prefix = key_prefix(first->key + i * stride, first->key_size, 0),
                        .ref = (uint32_t) (cursor->record + i * stride - r->region),
                };
        r->count += more + 1;
}

/* Return: 1; 0 when there is no room for all items, or records are not where they were read. */
static int add_items(Resort *r, const Segment *s, Error *e)
{
        size_t used = r->used + (size_t) s->length;
        uint64_t block = s->offset;
        BlockCursor cursor;
        Record record;
        int k;

        block_cursor_init_memory(&cursor, r->region + r->used, s->offset, (size_t) s->length,
                                 r->partition);
        while ((k = block_cursor_next(&cursor, &record, e)) > 0) {
                size_t more = 0, stride = 0;

                if (cursor.offset != block) /* the first one of a block */
                        more = block_cursor_take_alike(&cursor, &stride);
                block = cursor.offset;
                if (cursor.unpacker || !has_room(r, used + BLOCK_PADDING, r->count + 1 + more))
                        break;
                note_lengths(r, &cursor, &record);
                add_alike(r, &cursor, &record, more, stride);
        }
        block_cursor_done(&cursor);
        return k == 0 ? 1 : MIN(k, 0);
}

int resort_add(Resort *r, const Segment *segment, Error *e)
{
        ResortMark before = resort_mark(r);
        int k;

        if (!resort_may_fit(r, segment->length))
                return 0;
        k = read_segment(r, segment, e);
        if (k < 0)
                return k;
        k = add_items(r, segment, e);
        if (k <= 0) {
                resort_rewind(r, before);
                return k;
        }
        r->used += (size_t) segment->length;
        return 1;
}

RecordStream *resort_sorted(Resort *r)
{
        ItemKeys keys = {.key = resort_key, .userdata = r, .base = r->region, .unit = 1};
        Item *items = resort_items(r);

        items_reverse(items, r->count);
        (void) items_sort(items, items - r->count, r->count, 1, &keys);
        r->next = 0;
        r->stream.span = r->alike ? resort_span : NULL;
        r->lines = r->count > 0 ? MIN(r->used / r->count / CACHE_LINE_BYTES + 1, (size_t) 3) : 0;
        return &r->stream;
}
