/*
 * top — the k most frequent keys, in one reduce that keeps k of them.
 *
 * All counts go to reduce 0: after combining they are few, and only there the k most of all can be
 * known. A heap of k has the least one at its root, which is all that a new key must beat. Of equal
 * counts the smaller key comes first.
 */
#include "apps/catalog.h"
#include "mr-task/app.h"
#include "mr-task/app-columns.h"

#define TOP_MAX 1000000

typedef struct Counted {
        uint64_t count;
        uint64_t rank; /* of its key among all keys: they come in order */
        size_t size;
        uint8_t *key;
} Counted;

typedef struct Top {
        Fields fields;
        uint64_t key;
        uint64_t k;
        uint64_t seen;
        GArray *heap; /* of Counted */
} Top;

static void counted_clear(gpointer data)
{
        g_free(((Counted *) data)->key);
}

static void top_teardown(MrTask *t, void *state)
{
        Top *top = state;

        g_array_unref(top->heap);
        g_free(top);
}

static int top_setup(MrTask *t, void **ret_state)
{
        Top *top = g_new0(Top, 1);
        _cleanup_error_ Error e = {};
        int r;

        top->heap = g_array_new(FALSE, FALSE, sizeof(Counted));
        g_array_set_clear_func(top->heap, counted_clear);
        r = fields_setup(&top->fields, t);
        if (r >= 0)
                r = fields_parameter(t, "key", 0, &top->key);
        if (r >= 0) {
                r = catalog_number("k", mr_parameter(t, "k"), 1, TOP_MAX, &top->k, &e);
                if (r < 0)
                        r = mr_fail(t, e.message);
        }
        if (r < 0)
                top_teardown(t, top);
        else
                *ret_state = top;
        return r;
}

static int top_map(MrTask *t, void *state, const void *line, size_t size)
{
        const Top *top = state;
        const uint8_t *key;
        size_t key_size;

        if (!fields_find(&top->fields, line, size, top->key, &key, &key_size)) {
                mr_count(t, "lines", "skipped", 1);
                return 0;
        }
        return mr_emit_number(t, key, key_size, 1);
}

static uint32_t top_partition(MrTask *t, void *state, const void *key, size_t size,
                              uint32_t partitions)
{
        return 0;
}

/* Does @a come after @b in the result? */
static bool is_less(const Counted *a, const Counted *b)
{
        return a->count != b->count ? a->count < b->count : a->rank > b->rank;
}

static Counted *at(const Top *top, guint i)
{
        return &g_array_index(top->heap, Counted, i);
}

static void swap(const Top *top, guint i, guint j)
{
        Counted c = *at(top, i);

        *at(top, i) = *at(top, j);
        *at(top, j) = c;
}

static void sift_up(const Top *top, guint i)
{
        for (; i > 0 && is_less(at(top, i), at(top, (i - 1) / 2)); i = (i - 1) / 2)
                swap(top, i, (i - 1) / 2);
}

static void sift_down(const Top *top)
{
        guint i = 0, n = top->heap->len;

        for (;;) {
                guint least = i;

                for (guint child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
                        if (is_less(at(top, child), at(top, least)))
                                least = child;
                if (least == i)
                        return;
                swap(top, i, least);
                i = least;
        }
}

static int top_reduce(MrTask *t, void *state, const void *key, size_t size)
{
        Top *top = state;
        Counted c = {.rank = top->seen++, .size = size};
        int r;

        r = mr_next_number(t, &c.count);
        if (r < 0)
                return r;
        if (top->heap->len == top->k && !is_less(at(top, 0), &c))
                return 0;
        c.key = g_memdup2(key, size);
        if (top->heap->len < top->k) {
                g_array_append_val(top->heap, c);
                sift_up(top, top->heap->len - 1);
                return 0;
        }
        g_free(at(top, 0)->key);
        *at(top, 0) = c;
        sift_down(top);
        return 0;
}

static gint most_first(gconstpointer a, gconstpointer b)
{
        return is_less(a, b) ? 1 : -1;
}

static int top_reduce_end(MrTask *t, void *state)
{
        const Top *top = state;
        int r = 0;

        g_array_sort(top->heap, most_first);
        for (guint i = 0; i < top->heap->len && r >= 0; i++)
                r = mr_emit_number(t, at(top, i)->key, at(top, i)->size, at(top, i)->count);
        return r;
}

const App app_top = {
        .plugin =
                {
                        MR_PLUGIN_HEADER,
                        .name = "top",
                        .op = MR_OP_SUM,
                        .setup = top_setup,
                        .teardown = top_teardown,
                        .map = top_map,
                        .partition = top_partition,
                        .reduce = top_reduce,
                        .reduce_end = top_reduce_end,
                },
};
