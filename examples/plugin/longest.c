/*
 * longest — for each first word the longest line that begins with it.
 *
 *      cc -shared -fPIC -o longest.so longest.c
 *      mrctl --local run --app ./longest.so /usr/share/common-licenses -- min=60
 *
 * Values are bytes here, so there is a combine(): of many lines with the same first word a map
 * sends one.
 */
#include <stdlib.h>
#include <string.h>

#include <mapreduce.h>

typedef struct {
        size_t min;
        char *line;
        size_t size, capacity;
} Longest;

static int setup(MrTask *t, void **ret_state)
{
        const char *min = mr_parameter(t, "min");
        Longest *l = calloc(1, sizeof(*l));
        char *end;

        if (!l)
                return mr_fail(t, "out of memory");
        l->min = strtoul(min, &end, 10);
        if (end == min || *end) {
                free(l);
                return mr_fail(t, "min= takes a number of bytes");
        }
        *ret_state = l;
        return 0;
}

static void teardown(MrTask *t, void *state)
{
        Longest *l = state;

        free(l->line);
        free(l);
}

static int map(MrTask *t, void *state, const void *line, size_t size)
{
        const Longest *l = state;
        const char *blank = memchr(line, ' ', size);

        if (size < l->min) {
                mr_count(t, "lines", "short", 1);
                return 0;
        }
        return mr_emit(t, line, blank ? (size_t) (blank - (const char *) line) : size, line, size);
}

static int keep(MrTask *t, Longest *l, const void *line, size_t size)
{
        if (size > l->capacity) {
                char *grown = realloc(l->line, size);

                if (!grown)
                        return mr_fail(t, "out of memory");
                l->line = grown;
                l->capacity = size;
        }
        memcpy(l->line, line, size);
        l->size = size;
        return 0;
}

/* As combine() and as reduce(): of equally long lines the one that sorts first. */
static int longest(MrTask *t, void *state, const void *key, size_t key_size)
{
        Longest *l = state;
        const void *line;
        int any = 0, r;
        size_t size;

        while ((r = mr_next(t, &line, &size)) > 0) {
                if (any &&
                    (size < l->size || (size == l->size && memcmp(line, l->line, size) >= 0)))
                        continue;
                any = 1;
                r = keep(t, l, line, size);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : mr_emit(t, key, key_size, l->line, l->size);
}

static const MrParameter parameters[] = {
        {"min", "0", "shorter lines do not count"},
        {0},
};

const MrPlugin mapreduce_plugin = {
        MR_PLUGIN_HEADER,
        .name = "longest",
        .summary = "for each first word the longest line that begins with it",
        .parameters = parameters,
        .setup = setup,
        .teardown = teardown,
        .map = map,
        .combine = longest,
        .reduce = longest,
};
