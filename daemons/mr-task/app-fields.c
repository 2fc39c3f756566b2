/*
 * count, distinct, sum, min, max — the keys and numbers of lines, combined on the way.
 */
#include "mr-task/app.h"
#include "mr-task/app-columns.h"

#define SKIPPED "lines", "skipped"

typedef struct Columns {
        Fields fields;
        uint64_t key, value;
} Columns;

static int columns_setup(MrTask *t, void **ret_state)
{
        Columns *c = g_new0(Columns, 1);
        int r;

        *ret_state = c;
        r = fields_setup(&c->fields, t);
        if (r >= 0)
                r = fields_parameter(t, "key", 0, &c->key);
        if (r >= 0 && mr_parameter(t, "value"))
                r = fields_parameter(t, "value", 1, &c->value);
        if (r < 0)
                g_free(c);
        return r;
}

static void columns_teardown(MrTask *t, void *state)
{
        g_free(state);
}

static int map_key(MrTask *t, const Columns *c, const void *line, size_t size, uint64_t number)
{
        const uint8_t *key;
        size_t key_size;

        if (!fields_find(&c->fields, line, size, c->key, &key, &key_size)) {
                mr_count(t, SKIPPED, 1);
                return 0;
        }
        return mr_emit_number(t, key, key_size, number);
}

static int map_count(MrTask *t, void *state, const void *line, size_t size)
{
        return map_key(t, state, line, size, 1);
}

static int map_distinct(MrTask *t, void *state, const void *line, size_t size)
{
        return map_key(t, state, line, size, 0);
}

static int reduce_distinct(MrTask *t, void *state, const void *key, size_t size)
{
        return mr_emit(t, key, size, NULL, 0);
}

static int map_value(MrTask *t, void *state, const void *line, size_t size)
{
        const Columns *c = state;
        const uint8_t *value;
        size_t value_size;
        uint64_t number;

        if (!fields_find(&c->fields, line, size, c->value, &value, &value_size) ||
            !fields_number(value, value_size, &number)) {
                mr_count(t, SKIPPED, 1);
                return 0;
        }
        return map_key(t, c, line, size, number);
}

#define COLUMNS_APP(app_name, operator, map_function, reduce_function)                             \
        {                                                                                          \
                .plugin = {                                                                        \
                        MR_PLUGIN_HEADER,                                                          \
                        .name = app_name,                                                          \
                        .op = operator,                                                            \
                        .setup = columns_setup,                                                    \
                        .teardown = columns_teardown,                                              \
                        .map = map_function,                                                       \
                        .reduce = reduce_function,                                                 \
                },                                                                                 \
        }

const App app_count = COLUMNS_APP("count", MR_OP_SUM, map_count, NULL);
const App app_distinct = COLUMNS_APP("distinct", MR_OP_MAX, map_distinct, reduce_distinct);
const App app_sum = COLUMNS_APP("sum", MR_OP_SUM, map_value, NULL);
const App app_min = COLUMNS_APP("min", MR_OP_MIN, map_value, NULL);
const App app_max = COLUMNS_APP("max", MR_OP_MAX, map_value, NULL);
