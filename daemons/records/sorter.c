/*
 * Sorter — see sorter.h.
 */
#include "records/block.h"
#include "records/item-sort.h"
#include "records/region.h"
#include "records/sorter.h"
#include "records/span.h"

/* Items refer to records in units of this, so 32 bits reach 32 GiB. */
#define RECORD_ALIGN 8
#define MEMORY_MAX (GIB(4) * RECORD_ALIGN)
#define FETCH_AHEAD 16 /* records on their way into the cache before they are given */
#define LINES_AHEAD_MAX ((size_t) 3)

/* Followed by key and value. */
typedef struct Packed {
        uint32_t key_size;
        uint32_t value_size;
        uint8_t bytes[];
} Packed;

struct Sorter {
        RecordStream stream; /* of the records in memory */
        SorterOptions options;
        uint8_t *region;
        size_t region_bytes; /* as many as a reduce's Resort takes of the same memory, so that both
                                touch the same pages */
        size_t size;  /* of it, what records, items and the sort's scratch may need together */
        size_t used;  /* bytes of records, at the front */
        size_t count; /* of items, at the back */
        size_t next;  /* item to give, once sorted */
        size_t lines; /* of the cache that a record lies in, beside the first */
        size_t fixed_capacity; /* of records of a fixed length: so many bytes, with their items and
                                  the scratch */
        Merge merge;
        bool spilled;
};

static Item *sorter_items(const Sorter *s)
{
        return (Item *) (void *) (s->region + s->region_bytes) - s->count;
}

static const Packed *sorter_packed(const Sorter *s, uint32_t ref)
{
        return (const Packed *) (const void *) (s->region + (size_t) ref * RECORD_ALIGN);
}

static const uint8_t *fixed_key(const void *userdata, uint32_t ref, size_t *ret_size)
{
        const Sorter *s = userdata;

        *ret_size = s->options.key_bytes;
        return s->region + ref * s->options.record_bytes;
}

static const uint8_t *sorter_key(const void *userdata, uint32_t ref, size_t *ret_size)
{
        const Packed *p = sorter_packed(userdata, ref);

        *ret_size = p->key_size;
        return p->bytes;
}

static void sorter_unpack(const Sorter *s, const Item *item, Record *ret)
{
        const Packed *p = sorter_packed(s, item->ref);

        *ret = (Record){
                .key = p->bytes,
                .key_size = p->key_size,
                .value = p->bytes + p->key_size,
                .value_size = p->value_size,
                .partition = item->partition,
        };
}

static int fixed_next(RecordStream *stream, Record *ret)
{
        Sorter *s = (Sorter *) ((char *) stream - offsetof(Sorter, stream));
        const Item *items = sorter_items(s);
        const SorterOptions *o = &s->options;
        const uint8_t *at;

        if (s->next == s->count)
                return 0;
        at = s->region + items[s->next++].ref * o->record_bytes;
        *ret = (Record){
                .key = at,
                .key_size = o->key_bytes,
                .value = at + o->key_bytes,
                .value_size = o->record_bytes - o->key_bytes,
        };
        return 1;
}

static int fixed_span(RecordStream *stream, RecordSpan *ret)
{
        Sorter *s = (Sorter *) ((char *) stream - offsetof(Sorter, stream));
        const SorterOptions *o = &s->options;

        if (s->next == s->count)
                return 0;
        *ret = (RecordSpan){
                .items = sorter_items(s) + s->next,
                .base = s->region,
                .unit = o->record_bytes,
                .count = s->count - s->next,
                .key_size = o->key_bytes,
                .value_size = o->record_bytes - o->key_bytes,
        };
        s->next = s->count;
        return 1;
}

static int sorter_next(RecordStream *stream, Record *ret)
{
        Sorter *s = (Sorter *) ((char *) stream - offsetof(Sorter, stream));
        const Item *items = sorter_items(s);

        if (s->next == s->count)
                return 0;
        if (s->next + FETCH_AHEAD < s->count) {
                const Packed *ahead = sorter_packed(s, items[s->next + FETCH_AHEAD].ref);

                for (size_t i = 0; i <= s->lines; i++)
                        __builtin_prefetch((const uint8_t *) ahead + i * CACHE_LINE_BYTES);
        }
        sorter_unpack(s, &items[s->next++], ret);
        return 1;
}

int sorter_new(const SorterOptions *options, Sorter **ret)
{
        _cleanup_(sorter_freep) Sorter *s = NULL;
        MergeOptions merge = {
                .memory_bytes = options->memory_bytes / 4,
                .scratch = options->scratch,
                .ticker = options->ticker,
                .want_partition = BLOCK_ANY_PARTITION,
        };
        int r;

        assert(options->partitions > 0);
        s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        assert(options->record_bytes <= SORTER_RECORD_BYTES_MAX &&
               options->key_bytes <= options->record_bytes);
        s->stream.next = options->record_bytes > 0 ? fixed_next : sorter_next;
        s->stream.span = options->record_bytes > 0 ? fixed_span : NULL;
        s->options = *options;
        s->region_bytes =
                CLAMP(options->memory_bytes, SORTER_MEMORY_MIN, MEMORY_MAX) & ~(size_t) 4095;
        s->size = s->region_bytes / 4 * 3;
        s->fixed_capacity =
                s->size / (options->record_bytes + 2 * sizeof(Item)) * options->record_bytes;
        s->region = region_take(s->region_bytes);
        if (!s->region)
                return -ENOMEM;
        r = merge_init(&s->merge, &merge);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

Sorter *sorter_free(Sorter *s)
{
        if (!s)
                return NULL;
        merge_done(&s->merge);
        s->region = region_keep(s->region, s->region_bytes);
        free(s);
        return NULL;
}

static int sorter_sort(Sorter *s)
{
        bool fixed = s->options.record_bytes > 0;
        ItemKeys keys = {
                .key = fixed ? fixed_key : sorter_key,
                .userdata = s,
                .base = s->region,
                .unit = fixed ? s->options.record_bytes : RECORD_ALIGN,
        };
        Item *items = sorter_items(s);

        s->next = 0;
        s->lines = s->count > 0 ? MIN(s->used / s->count / CACHE_LINE_BYTES, LINES_AHEAD_MAX) : 0;
        items_reverse(items, s->count); /* they are filled downwards, and the sort is stable */
        return items_sort(items, items - s->count, s->count, s->options.partitions, &keys);
}

static int sorter_spill(Sorter *s)
{
        int r;

        if (s->count == 0)
                return 0;
        r = sorter_sort(s);
        if (r < 0)
                return r;
        s->spilled = true;
        r = merge_spill(&s->merge, &s->stream);
        if (r < 0)
                return r;
        s->used = 0;
        s->count = 0;
        return ticker_tick(s->options.ticker, 0);
}

static size_t packed_size(const Record *record)
{
        size_t size = sizeof(Packed) + record->key_size + record->value_size;

        return (size + RECORD_ALIGN - 1) & ~(size_t) (RECORD_ALIGN - 1);
}

int sorter_add(Sorter *s, const Record *record)
{
        size_t size;
        Packed *p;
        int r;

        if (record->key_size > RECORD_MAX_BYTES || record->value_size > RECORD_MAX_BYTES)
                return -E2BIG;
        size = packed_size(record);
        /* An item needs its double: the sort's scratch lies below the items. */
        if (size + 2 * sizeof(Item) * (s->count + 1) > s->size - s->used) {
                r = sorter_spill(s);
                if (r < 0)
                        return r;
                if (size + 2 * sizeof(Item) > s->size) {
                        s->spilled = true;
                        return merge_spill_single(&s->merge, record);
                }
        }
        p = (Packed *) (void *) (s->region + s->used);
        p->key_size = (uint32_t) record->key_size;
        p->value_size = (uint32_t) record->value_size;
        if (record->key_size > 0)
                memcpy(p->bytes, record->key, record->key_size);
        if (record->value_size > 0)
                memcpy(p->bytes + record->key_size, record->value, record->value_size);
        s->count++;
        *sorter_items(s) = (Item){
                .prefix = key_prefix(record->key, record->key_size, 0),
                .partition = record->partition,
                .ref = (uint32_t) (s->used / RECORD_ALIGN),
        };
        s->used += size;
        return 0;
}

int sorter_space(Sorter *s, uint8_t **ret, size_t *ret_size)
{
        int r;

        assert(s->options.record_bytes > 0);
        if (s->used == s->fixed_capacity) {
                r = sorter_spill(s);
                if (r < 0)
                        return r;
        }
        *ret = s->region + s->used;
        *ret_size = s->fixed_capacity - s->used;
        return 0;
}

void sorter_filled(Sorter *s, size_t bytes)
{
        size_t record_bytes = s->options.record_bytes;

        s->used += bytes;
        assert(s->used <= s->fixed_capacity);
        for (Item *items = sorter_items(s); (s->count + 1) * record_bytes <= s->used; s->count++)
                *--items = (Item){
                        .prefix = key_prefix(s->region + s->count * record_bytes,
                                             s->options.key_bytes, 0),
                        .ref = (uint32_t) s->count,
                };
}

int sorter_finish(Sorter *s, RecordStream **ret)
{
        int r;

        if (!s->spilled) {
                r = sorter_sort(s);
                if (r < 0)
                        return r;
                *ret = &s->stream;
                return 0;
        }
        r = sorter_spill(s);
        if (r < 0)
                return r;
        s->region = region_keep(s->region, s->region_bytes);
        region_forget_all(); /* the merge's buffers take its place */
        r = merge_start(&s->merge);
        if (r < 0)
                return r;
        *ret = &s->merge.stream;
        return 0;
}
