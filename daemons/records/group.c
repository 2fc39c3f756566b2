/*
 * Groups — see group.h.
 */
#include "records/group.h"
#include "records/pair.h"
#include "records/reserve.h"

#define KEY_CAPACITY_MIN 256

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

/* Is the record read ahead one of the open group? */
static bool in_group(const Groups *g)
{
        if (g->head.partition != g->partition)
                return false;
        if (g->pairs)
                return g->head.key_size >= g->key_size &&
                       memcmp(g->head.key, g->key, g->key_size) == 0;
        return key_equal(g->head.key, g->head.key_size, g->key, g->key_size);
}

int groups_value(Groups *g, const uint8_t **ret, size_t *ret_size)
{
        int r;

        if (!g->has_head) {
                r = read_head(g);
                if (r <= 0)
                        return r;
        }
        if (!g->first_value && !in_group(g))
                return 0;
        g->first_value = false;
        g->has_head = false; /* its pointers live until the stream is read again */
        *ret = g->head.value;
        *ret_size = g->head.value_size;
        return 1;
}

static int keep_key(Groups *g)
{
        size_t size = g->pairs ? pair_head_size(g->head.key, g->head.key_size) : g->head.key_size;
        int r;

        if (g->pairs && size == 0)
                return -EBADMSG;
        r = reserve(&g->key, &g->key_capacity, MAX(size, (size_t) KEY_CAPACITY_MIN));
        if (r < 0)
                return r;
        copy_small(g->key, g->head.key, size);
        g->key_size = size;
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
