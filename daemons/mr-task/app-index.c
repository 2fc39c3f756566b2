/*
 * index — for each word the files that have it: "word TAB file TAB file …", the files in order.
 *
 * A map says a word once for each piece of a file: a set of the words seen keeps the others back.
 * The file is what records of a word are ordered by, so a reduce sees equal ones side by side, and
 * holds one.
 */
#include "base/text.h"
#include "mr-task/app.h"
#include "mr-task/app-words.h"

#define SET_SIZE_MIN 4096
#define PATH_SHOWN_BYTES 4096

/* Open addressing; a word is its hash of 128 bits, as two of 2^64 words would have to meet. */
typedef struct Index {
        Words words;
        XXH128_hash_t *set;
        size_t size, used; /* size: a power of two */
        GByteArray *last;  /* reduce: the file written last */
} Index;

static void index_teardown(MrTask *t, void *state)
{
        Index *x = state;

        words_done(&x->words);
        g_free(x->set);
        g_byte_array_unref(x->last);
        g_free(x);
}

static int index_setup(MrTask *t, void **ret_state)
{
        Index *x = g_new0(Index, 1);
        int r;

        x->size = SET_SIZE_MIN;
        x->set = g_new0(XXH128_hash_t, x->size);
        x->last = g_byte_array_new();
        r = app_words_setup(t, &x->words);
        if (r < 0)
                index_teardown(t, x);
        else
                *ret_state = x;
        return r;
}

static XXH128_hash_t *set_place(const Index *x, XXH128_hash_t h)
{
        size_t i = (size_t) h.low64 & (x->size - 1);

        while ((x->set[i].low64 | x->set[i].high64) != 0 && !XXH128_isEqual(x->set[i], h))
                i = (i + 1) & (x->size - 1);
        return &x->set[i];
}

static void set_grow(Index *x)
{
        g_autofree XXH128_hash_t *old = x->set;
        size_t old_size = x->size;

        x->size *= 2;
        x->set = g_new0(XXH128_hash_t, x->size);
        for (size_t i = 0; i < old_size; i++)
                if ((old[i].low64 | old[i].high64) != 0)
                        *set_place(x, old[i]) = old[i];
}

/* True when it was not there. */
static bool set_add(Index *x, const uint8_t *word, size_t size)
{
        XXH128_hash_t h = XXH3_128bits(word, size), *place = set_place(x, h);

        if (XXH128_isEqual(*place, h))
                return false;
        *place = h;
        if (++x->used > x->size / 2)
                set_grow(x);
        return true;
}

static int index_map_piece(Plugin *p, PieceReader *piece)
{
        Index *x = p->state;
        size_t count, path_size = strlen(p->info.input);
        const Word *found;
        int r;

        memset(x->set, 0, x->size * sizeof(x->set[0]));
        x->used = 0;
        while ((r = app_words_next(p, piece, &x->words, &found, &count)) > 0)
                for (size_t i = 0; i < count; i++) {
                        const uint8_t *word = x->words.buffer + found[i].begin;
                        size_t size = found[i].end - found[i].begin;

                        if (!set_add(x, word, size))
                                continue;
                        r = mr_emit_ordered(&p->task, word, size, p->info.input, path_size, NULL,
                                            0);
                        if (r < 0)
                                return r;
                }
        return r;
}

static int write_path(MrTask *t, const void *path, size_t size)
{
        g_autofree char *shown = text_escape(path, size, PATH_SHOWN_BYTES);
        int r = mr_write(t, "\t", 1);

        return r < 0 ? r : mr_write(t, shown, strlen(shown));
}

static int index_reduce(MrTask *t, void *state, const void *key, size_t size)
{
        Index *x = state;
        const void *value, *path;
        size_t value_size, path_size;
        bool first = true;
        int r;

        r = mr_write(t, key, size);
        while (r >= 0 && (r = mr_next(t, &value, &value_size)) > 0) {
                r = mr_order(t, &path, &path_size);
                if (r < 0)
                        return r;
                if (!first && key_equal(path, path_size, x->last->data, x->last->len))
                        continue;
                first = false;
                g_byte_array_set_size(x->last, 0);
                g_byte_array_append(x->last, path, (guint) path_size);
                r = write_path(t, path, path_size);
        }
        return r < 0 ? r : mr_write(t, "\n", 1);
}

const App app_index = {
        .plugin =
                {
                        MR_PLUGIN_HEADER,
                        .name = "index",
                        .ordered = 1,
                        .setup = index_setup,
                        .teardown = index_teardown,
                        .reduce = index_reduce,
                },
        .map_piece = index_map_piece,
};
