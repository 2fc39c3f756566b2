/*
 * Counters — see counters.h.
 *
 * A set is kept as the text that the database stores, too: a task has about ten counters, so some
 * 250 bytes, and they are looked at twice in its life.
 */
#include <inttypes.h>

#include "jobs/counters.h"

struct Counters {
        GTree *values; /* char * → uint64_t *; sorted, because people read it */
};

struct CounterSet {
        GString *text; /* "VALUE NAME\n" … */
        uint32_t count;
};

static gint compare_names(gconstpointer a, gconstpointer b, gpointer userdata)
{
        return strcmp(a, b);
}

Counters *counters_new(void)
{
        Counters *c = g_new0(Counters, 1);

        c->values = g_tree_new_full(compare_names, NULL, g_free, g_free);
        return c;
}

Counters *counters_free(Counters *c)
{
        if (!c)
                return NULL;
        g_tree_unref(c->values);
        g_free(c);
        return NULL;
}

CounterSet *counter_set_add(CounterSet *set, const char *name, uint64_t value)
{
        if (!set) {
                set = g_new0(CounterSet, 1);
                set->text = g_string_new(NULL);
        }
        if (set->count >= COUNTERS_MAX || !*name || strlen(name) > COUNTER_NAME_MAX_BYTES ||
            strchr(name, '\n') || !g_utf8_validate(name, -1, NULL))
                return set;
        g_string_append_printf(set->text, "%" PRIu64 " %s\n", value, name);
        set->count++;
        return set;
}

CounterSet *counter_set_free(CounterSet *set)
{
        if (!set)
                return NULL;
        (void) g_string_free(set->text, TRUE);
        g_free(set);
        return NULL;
}

char *counter_set_to_text(const CounterSet *set)
{
        return set && set->count > 0 ? g_strdup(set->text->str) : NULL;
}

typedef void (*LineFn)(void *userdata, const char *name, uint64_t value);

/* Calls @fn for each line that has the form of one. */
static void for_each_line(const char *text, LineFn fn, void *userdata)
{
        while (*text) {
                const char *end = strchrnul(text, '\n');
                g_autofree char *line = g_strndup(text, (gsize) (end - text));
                char *name = NULL;
                uint64_t value = g_ascii_strtoull(line, &name, 10);

                if (name > line && *name == ' ')
                        fn(userdata, name + 1, value);
                text = *end ? end + 1 : end;
        }
}

static void add_to_set(void *userdata, const char *name, uint64_t value)
{
        CounterSet **set = userdata;

        *set = counter_set_add(*set, name, value);
}

CounterSet *counter_set_from_text(const char *text)
{
        CounterSet *set = NULL;

        if (text)
                for_each_line(text, add_to_set, &set);
        return set;
}

static void add_line(void *userdata, const char *name, uint64_t value)
{
        Counters *c = userdata;
        uint64_t *v = g_tree_lookup(c->values, name);

        if (!v) {
                if (g_tree_nnodes(c->values) >= (gint) COUNTERS_MAX)
                        return;
                v = g_new0(uint64_t, 1);
                g_tree_insert(c->values, g_strdup(name), v);
        }
        if (__builtin_add_overflow(*v, value, v))
                *v = UINT64_MAX; /* a program counts what it likes, but never less than nothing */
}

/* Never below zero: a name that was dropped when it was added is not there to be taken from. */
static void subtract_line(void *userdata, const char *name, uint64_t value)
{
        Counters *c = userdata;
        uint64_t *v = g_tree_lookup(c->values, name);

        if (v)
                *v -= MIN(*v, value);
}

void counters_add(Counters *c, const CounterSet *set)
{
        if (set)
                for_each_line(set->text->str, add_line, c);
}

void counters_subtract(Counters *c, const CounterSet *set)
{
        if (set)
                for_each_line(set->text->str, subtract_line, c);
}

typedef struct Visit {
        CounterFn fn;
        void *userdata;
} Visit;

static gboolean visit(gpointer key, gpointer value, gpointer userdata)
{
        const Visit *v = userdata;

        v->fn(key, *(uint64_t *) value, v->userdata);
        return FALSE;
}

void counters_foreach(const Counters *c, CounterFn fn, void *userdata)
{
        Visit v = {.fn = fn, .userdata = userdata};

        g_tree_foreach(c->values, visit, &v);
}

uint64_t counters_get(const Counters *c, const char *name)
{
        const uint64_t *v = g_tree_lookup(c->values, name);

        return v ? *v : 0;
}
