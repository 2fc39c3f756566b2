/*
 * sort — records in one order over all parts: part after part is the sorted whole.
 *
 * A map makes each record's key bytes compare as was asked (records/sort-key.h); keys go to reduces by ranges,
 * whose bounds the master found in a sample and sends with the program. So there is nothing for a reduce to
 * do but to merge.
 */
#include "apps/catalog.h"
#include "mr-task/app.h"
#include "mr-task/app-columns.h"
#include "records/sort-key.h"

typedef struct Bound {
        uint64_t prefix;
        const uint8_t *key;
        size_t size;
} Bound;

typedef struct Sort {
        SortSpec spec;
        bool fixed; /* records of a fixed length */
        Bound *bounds;
        size_t bound_count;
        uint8_t *buffer;
        size_t capacity;
} Sort;

static void sort_teardown(MrTask *t, void *state)
{
        Sort *s = state;

        g_free(s->bounds);
        free(s->buffer);
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

/* How many bounds are not above the key. */
static uint32_t sort_partition(MrTask *t, void *state, const void *key, size_t size,
                               uint32_t partitions)
{
        uint64_t prefix = key_prefix(key, size, 0);
        const Sort *s = state;
        size_t low = 0, high = s->bound_count;

        while (low < high) {
                size_t middle = (low + high) / 2;

                if (is_below(&s->bounds[middle], prefix, key, size))
                        high = middle;
                else
                        low = middle + 1;
        }
        return MIN((uint32_t) low, partitions - 1);
}

static int reserve(MrTask *t, Sort *s, size_t size)
{
        uint8_t *grown;

        if (size <= s->capacity)
                return 0;
        grown = realloc(s->buffer, MAX(size, 2 * s->capacity));
        if (!grown)
                return mr_fail(t, "out of memory for a sort key");
        s->capacity = MAX(size, 2 * s->capacity);
        s->buffer = grown;
        return 0;
}

static int sort_map(MrTask *t, void *state, const void *record, size_t size)
{
        const uint8_t *bytes = record;
        Sort *s = state;
        size_t key_size;
        int r;

        if (s->fixed && s->spec.key_bytes > 0)
                return mr_emit(t, bytes, s->spec.key_bytes, bytes + s->spec.key_bytes,
                               size - s->spec.key_bytes);
        if (sort_is_plain(&s->spec))
                return mr_emit(t, bytes, size, NULL, 0);
        r = reserve(t, s, sort_key_size_max(size));
        if (r < 0)
                return r;
        key_size = sort_key_put(&s->spec, bytes, size, s->buffer);
        return mr_emit(t, s->buffer, key_size, NULL, 0);
}

/* One copy of a record for each value: equal records have equal keys. */
static int sort_reduce(MrTask *t, void *state, const void *key, size_t size)
{
        const uint8_t *record = key;
        const void *value;
        size_t value_size;
        Sort *s = state;
        int r;

        if (!sort_is_plain(&s->spec)) {
                r = reserve(t, s, size);
                if (r < 0)
                        return r;
                memcpy(s->buffer, key, size);
                if (sort_key_get(&s->spec, s->buffer, size, &record, &size) < 0)
                        return mr_fail(t, "a key is not as the maps should have made it");
        }
        while ((r = mr_next(t, &value, &value_size)) > 0) {
                r = mr_write(t, record, size);
                if (r >= 0 && value_size > 0)
                        r = mr_write(t, value, value_size);
                if (r >= 0 && !s->fixed)
                        r = mr_write(t, "\n", 1);
                if (r < 0)
                        return r;
                ((Plugin *) t)->attempt->counters[COUNTER_REDUCE_OUTPUT_RECORDS]++;
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
                        .reduce = sort_reduce,
                },
};
