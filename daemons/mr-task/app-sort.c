/*
 * sort — records in one order over all parts: part after part is the sorted whole.
 *
 * A map makes each record's key bytes compare as was asked (records/sort-key.h); keys go to reduces
 * by ranges, whose bounds the master found in a sample and sends with the program. So there is
 * nothing for a reduce to do but to merge. Ranges are in the order of their keys: a map sorts by
 * keys alone, and compares with one bound after another when it writes. Records of a fixed length
 * are sorted where they were read to, and go to run file and part as spans (records/span.h).
 */
#include "apps/catalog.h"
#include "mr-task/app.h"
#include "mr-task/app-columns.h"
#include "mr-task/map-plugin.h"
#include "records/reserve.h"
#include "records/sort-key.h"

#define READ_BYTES (1024 * 1024)
#define SPAN_RECORDS 64 /* written together, and counted while the cache has them */

typedef struct Bound {
        uint64_t prefix;
        const uint8_t *key;
        size_t size;
} Bound;

typedef struct Sort {
        SortSpec spec;
        bool fixed; /* records of a fixed length */
        uint64_t record_bytes;
        RecordStream ranged; /* of what is in order, with the partition of each */
        RecordStream *sorted;
        RecordSpan span; /* of these, what is not given yet */
        uint32_t partition, partitions;
        Bound *bounds;
        size_t bound_count;
        uint8_t *buffer;
        size_t capacity;
        uint8_t *last; /* key of a reduce's last record */
        size_t last_size, last_capacity;
        uint64_t last_prefix;
} Sort;

static void sort_teardown(MrTask *t, void *state)
{
        Sort *s = state;

        g_free(s->bounds);
        free(s->buffer);
        free(s->last);
        g_free(s);
}

static int read_spec(MrTask *t, Sort *s)
{
        const char *values[] = {
                mr_parameter(t, "key"),     mr_parameter(t, "delimiter"),
                mr_parameter(t, "numeric"), mr_parameter(t, "reverse"),
                mr_parameter(t, "record"),  mr_parameter(t, "key-bytes"),
        };
        CatalogSort c;
        _cleanup_error_ Error e = {};

        if (catalog_read_sort(values, &c, &e) < 0)
                return mr_fail(t, e.message);
        s->spec = (SortSpec){
                .fields = {.delimited = c.delimiter != '\0', .delimiter = (uint8_t) c.delimiter},
                .key = c.key,
                .key_bytes = c.key_bytes,
                .numeric = c.numeric,
                .reverse = c.reverse,
        };
        s->fixed = c.record_bytes > 0;
        s->record_bytes = c.record_bytes;
        return 0;
}

static void read_bounds(Sort *s, const Mapreduced__V1__Program *program)
{
        s->bounds = g_new(Bound, program->n_bounds);
        for (size_t i = 0; i < program->n_bounds; i++) {
                const ProtobufCBinaryData *b = &program->bounds[i];

                s->bounds[s->bound_count++] = (Bound){
                        .prefix = key_prefix(b->data, b->len, 0),
                        .key = b->data,
                        .size = b->len,
                };
        }
}

static int sort_setup(MrTask *t, void **ret_state)
{
        const Plugin *p = (const Plugin *) t;
        Sort *s = g_new0(Sort, 1);
        int r;

        r = read_spec(t, s);
        read_bounds(s, p->attempt->start->program);
        if (r < 0)
                sort_teardown(t, s);
        else
                *ret_state = s;
        return r;
}

static bool is_below(const Bound *b, uint64_t prefix, const uint8_t *key, size_t size)
{
        return prefix != b->prefix ? prefix < b->prefix
                                   : key_compare(key, size, b->key, b->size) < 0;
}

/* Keys come in order, and so do bounds: a record's partition is how many bounds are not above its
 * key. */
static int ranged_next(RecordStream *stream, Record *ret)
{
        Sort *s = (Sort *) ((char *) stream - offsetof(Sort, ranged));
        int r;

        r = s->sorted->next(s->sorted, ret);
        if (r <= 0)
                return r;
        if (s->partition < s->partitions - 1) {
                uint64_t prefix = key_prefix(ret->key, ret->key_size, 0);

                while (s->partition < s->partitions - 1 &&
                       !is_below(&s->bounds[s->partition], prefix, ret->key, ret->key_size))
                        s->partition++;
        }
        ret->partition = s->partition;
        return 1;
}

static bool span_is_below(const RecordSpan *span, size_t i, const Bound *b)
{
        const uint8_t *key = span_at(span, i);

        return is_below(b, key_prefix(key, span->key_size, 0), key, span->key_size);
}

/* Of records in order: how many, from the first on. */
static size_t count_below(const RecordSpan *span, const Bound *b)
{
        size_t below = 0,
               above = span->count; /* all before the one are, all from the other on are not */

        while (below < above) {
                size_t middle = below + (above - below) / 2;

                if (span_is_below(span, middle, b))
                        below = middle + 1;
                else
                        above = middle;
        }
        return below;
}

/* The same for many: a search for each bound instead of a comparison for each record. */
static int ranged_span(RecordStream *stream, RecordSpan *ret)
{
        Sort *s = (Sort *) ((char *) stream - offsetof(Sort, ranged));
        size_t n = 0;
        int r;

        if (s->span.count == 0) {
                r = s->sorted->span(s->sorted, &s->span);
                if (r <= 0)
                        return r;
        }
        for (; s->partition < s->partitions - 1 && n == 0; s->partition += n == 0)
                n = count_below(&s->span, &s->bounds[s->partition]);
        if (n == 0)
                n = s->span.count;
        *ret = s->span;
        ret->count = n;
        ret->partition = s->partition;
        s->span.items += n;
        s->span.count -= n;
        return 1;
}

static RecordStream *sort_sorted(Plugin *p, RecordStream *stream)
{
        Sort *s = p->state;

        s->ranged.next = ranged_next;
        s->ranged.span = stream->span ? ranged_span : NULL;
        s->span = (RecordSpan){};
        s->sorted = stream;
        s->partition = 0;
        s->partitions = (uint32_t) MIN(s->bound_count + 1, (size_t) p->info.partitions);
        return &s->ranged;
}

/* Are records read to where they are sorted? */
static bool is_in_place(const Sort *s)
{
        return s->fixed && sort_is_plain(&s->spec) && s->record_bytes <= SORTER_RECORD_BYTES_MAX;
}

static void sort_sorter(Plugin *p, SorterOptions *options)
{
        const Sort *s = p->state;

        options->partitions = 1;
        if (!is_in_place(s))
                return;
        options->record_bytes = s->record_bytes;
        options->key_bytes = s->spec.key_bytes > 0 ? s->spec.key_bytes : s->record_bytes;
}

static int reserve_key(MrTask *t, uint8_t **buffer, size_t *capacity, size_t size)
{
        return reserve(buffer, capacity, size) < 0 ? mr_fail(t, "out of memory for a sort key") : 0;
}

static int sort_map_in_place(Plugin *p, PieceReader *piece)
{
        const Sort *s = p->state;
        uint64_t bytes = piece->bytes;
        uint8_t *space;
        size_t size;
        ssize_t n;
        int r;

        do {
                r = sorter_space(p->sorter, &space, &size);
                if (r < 0)
                        return attempt_fail_write(p->attempt, r, "the scratch file");
                n = piece_reader_read(piece, space, MIN(size, (size_t) READ_BYTES),
                                      &p->attempt->error);
                if (n < 0)
                        return (int) n;
                sorter_filled(p->sorter, (size_t) n);
        } while (n > 0);
        p->attempt->counters[COUNTER_MAP_OUTPUT_RECORDS] +=
                (piece->bytes - bytes) / s->record_bytes;
        return 0;
}

static int sort_map_piece(Plugin *p, PieceReader *piece)
{
        return is_in_place(p->state) ? sort_map_in_place(p, piece) : map_plugin_records(p, piece);
}

static int sort_map(MrTask *t, void *state, const void *record, size_t size)
{
        const uint8_t *bytes = record;
        Sort *s = state;
        size_t key_size;
        int r;

        if (s->fixed && s->spec.key_bytes > 0) /* too long to be sorted in place */
                return mr_emit(t, bytes, s->spec.key_bytes, bytes + s->spec.key_bytes,
                               size - s->spec.key_bytes);
        if (sort_is_plain(&s->spec))
                return mr_emit(t, bytes, size, NULL, 0);
        r = reserve_key(t, &s->buffer, &s->capacity, sort_key_size_max(size));
        if (r < 0)
                return r;
        key_size = sort_key_put(&s->spec, bytes, size, s->buffer);
        return mr_emit(t, s->buffer, key_size, NULL, 0);
}

/* While records are collected, all are of one partition: see ranged_next(). */
static uint32_t sort_partition(MrTask *t, void *state, const void *key, size_t size,
                               uint32_t partitions)
{
        return 0;
}

static int keep_key(Plugin *p, Sort *s, const Record *record)
{
        int r;

        r = reserve_key(&p->task, &s->last, &s->last_capacity, record->key_size);
        if (r < 0)
                return r;
        copy_small(s->last, record->key, record->key_size);
        s->last_size = record->key_size;
        s->last_prefix = key_prefix(record->key, record->key_size, 0);
        return 0;
}

/* Counts the key when it is another one than the last. */
static int count_key(Plugin *p, Sort *s, const Record *record)
{
        uint64_t *groups = &p->attempt->counters[COUNTER_REDUCE_INPUT_GROUPS];
        uint64_t prefix = key_prefix(record->key, record->key_size, 0);

        if (*groups > 0 && prefix == s->last_prefix &&
            key_equal(record->key, record->key_size, s->last, s->last_size))
                return 0;
        (*groups)++;
        return keep_key(p, s, record);
}

/* The record that was sorted by what is now its key. */
static int write_record(Plugin *p, Sort *s, const Record *record, Output *out)
{
        const uint8_t *at = record->key;
        size_t size = record->key_size;
        int r;

        if (!sort_is_plain(&s->spec)) {
                r = reserve_key(&p->task, &s->buffer, &s->capacity, size);
                if (r < 0)
                        return r;
                memcpy(s->buffer, record->key, size);
                if (sort_key_get(&s->spec, s->buffer, size, &at, &size) < 0)
                        return mr_fail(&p->task, "a key is not as the maps should have made it");
        }
        if (at + size == record->value) /* as in a block: one copy */
                r = output_bytes(out, at, size + record->value_size);
        else {
                r = output_bytes(out, at, size);
                if (r >= 0 && record->value_size > 0)
                        r = output_bytes(out, record->value, record->value_size);
        }
        if (r >= 0 && !s->fixed)
                r = output_bytes(out, "\n", 1);
        return r < 0 ? attempt_fail_write(p->attempt, r, "the part") : 0;
}

static int reduce_span(Plugin *p, Sort *s, const RecordSpan *span, Output *out)
{
        Record first = span_record(span, 0), last = span_record(span, span->count - 1);
        uint64_t *counters = p->attempt->counters;
        int r;

        r = count_key(p, s, &first);
        if (r < 0)
                return r;
        for (size_t at = 0, n; at < span->count; at += n) {
                size_t before = at > 0 ? 1 : 0; /* the record before was counted */

                n = MIN(span->count - at, (size_t) SPAN_RECORDS);
                r = output_span(out, span, at, n);
                if (r < 0)
                        return attempt_fail_write(p->attempt, r, "the part");
                counters[COUNTER_REDUCE_INPUT_GROUPS] +=
                        span_changes(span, at - before, n + before);
        }
        counters[COUNTER_REDUCE_INPUT_RECORDS] += span->count;
        counters[COUNTER_REDUCE_OUTPUT_RECORDS] += span->count;
        return keep_key(p, s, &last);
}

/* Records as they were, with nothing between them. */
static int reduce_spans(Plugin *p, Sort *s, RecordStream *stream, Output *out)
{
        RecordSpan span;
        int r;

        while ((r = stream->span(stream, &span)) > 0) {
                r = reduce_span(p, s, &span, out);
                if (r < 0)
                        return r;
        }
        return r;
}

static int sort_reduce_all(Plugin *p, RecordStream *stream, Output *out)
{
        uint64_t *counters = p->attempt->counters;
        Sort *s = p->state;
        Record record;
        int r;

        if (stream->span && s->fixed && sort_is_plain(&s->spec))
                return reduce_spans(p, s, stream, out);
        while ((r = stream->next(stream, &record)) > 0) {
                r = count_key(p, s, &record);
                if (r >= 0)
                        r = write_record(p, s, &record, out);
                if (r < 0)
                        return r;
                counters[COUNTER_REDUCE_INPUT_RECORDS]++;
                counters[COUNTER_REDUCE_OUTPUT_RECORDS]++;
        }
        return r;
}

const App app_sort = {
        .plugin =
                {
                        MR_PLUGIN_HEADER,
                        .name = "sort",
                        .setup = sort_setup,
                        .teardown = sort_teardown,
                        .map = sort_map,
                        .partition = sort_partition,
                },
        .map_piece = sort_map_piece,
        .sorter = sort_sorter,
        .sorted = sort_sorted,
        .reduce_all = sort_reduce_all,
};
