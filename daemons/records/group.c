/*
 * Groups — see group.h.
 */
#include "records/group.h"

void groups_init(Groups *g, RecordStream *stream)
{
        *g = (Groups){.stream = stream};
}

void groups_done(Groups *g)
{
        free(g->key);
        *g = (Groups){};
}

static int read_head(Groups *g)
{
        int r;

        if (g->ended)
                return 0;
        r = g->stream->next(g->stream, &g->head);
        g->has_head = r > 0;
        g->records += r > 0;
        g->ended = r == 0;
        return r;
}

int groups_value(Groups *g, const uint8_t **ret, size_t *ret_size)
{
        int r;

        if (!g->has_head) {
                r = read_head(g);
                if (r <= 0)
                        return r;
        }
        if (!g->first_value && (g->head.partition != g->partition ||
                                !key_equal(g->head.key, g->head.key_size, g->key, g->key_size)))
                return 0;
        g->first_value = false;
        g->has_head = false; /* its pointers live until the stream is read again */
        *ret = g->head.value;
        *ret_size = g->head.value_size;
        return 1;
}

static int keep_key(Groups *g)
{
        if (g->head.key_size > g->key_capacity) {
                size_t capacity = MAX(g->head.key_size, (size_t) 256);
                uint8_t *grown = realloc(g->key, capacity);

                if (!grown)
                        return -ENOMEM;
                g->key = grown;
                g->key_capacity = capacity;
        }
        copy_small(g->key, g->head.key, g->head.key_size);
        g->key_size = g->head.key_size;
        g->partition = g->head.partition;
        return 0;
}

static int skip_values(Groups *g)
{
        const uint8_t *value;
        size_t size;
        int r;

        do
                r = groups_value(g, &value, &size);
        while (r > 0);
        return r;
}

int groups_next(Groups *g)
{
        int r;

        if (g->open) {
                r = skip_values(g);
                if (r < 0)
                        return r;
        }
        if (!g->has_head) {
                r = read_head(g);
                if (r <= 0)
                        return r;
        }
        r = keep_key(g);
        if (r < 0)
                return r;
        g->first_value = true;
        g->open = true;
        return 1;
}
