/*
 * join — lines of two inputs that have the same key: "key TAB rest of the left line TAB rest of the
 * right one".
 *
 * The right side comes first among the records of a key, and is held in memory; each line of the
 * left side is then written with all of it. So the side with fewer lines a key belongs right.
 * Source: the repartition join of Blanas et al., "A Comparison of Join Algorithms for Log
 * Processing in MapReduce", SIGMOD 2010 (§3.1, improved).
 */
#include <fnmatch.h>

#include "mr-task/app.h"
#include "mr-task/app-columns.h"

#define RIGHT_MAX_BYTES GIB(1)

enum { RIGHT = 0, LEFT = 1 }; /* in the order in which they are to come */

typedef struct Join {
        Fields fields;
        uint64_t key[2]; /* of each side */
        bool outer;
        char *right;       /* glob, without "./" in front */
        const char *input; /* of which the side is known */
        uint8_t side;
        GByteArray *lines; /* of the right side: each behind its size */
        GByteArray *out;
} Join;

static void join_teardown(MrTask *t, void *state)
{
        Join *j = state;

        g_byte_array_unref(j->lines);
        g_byte_array_unref(j->out);
        g_free(j->right);
        g_free(j);
}

static int read_outer(MrTask *t, Join *j)
{
        const char *outer = mr_parameter(t, "outer");

        j->outer = g_str_equal(outer, "left");
        return j->outer || g_str_equal(outer, "no") ? 0 : mr_fail(t, "outer= takes no or left");
}

/* "./dir//FILE" is "dir/FILE". */
static char *clean_glob(const char *glob)
{
        GString *s = g_string_new(NULL);
        const char *p = glob;

        while (p[0] == '.' && p[1] == '/')
                for (p++; *p == '/';)
                        p++;
        for (; *p; p++)
                if (*p != '/' || p[1] != '/')
                        g_string_append_c(s, *p);
        return g_string_free(s, FALSE);
}

static int join_setup(MrTask *t, void **ret_state)
{
        Join *j = g_new0(Join, 1);
        int r;

        j->lines = g_byte_array_new();
        j->out = g_byte_array_new();
        j->right = clean_glob(mr_parameter(t, "right"));
        r = *j->right ? fields_setup(&j->fields, t) : mr_fail(t, "right= must not be empty");
        if (r >= 0)
                r = fields_parameter(t, "key", 1, &j->key[LEFT]);
        if (r >= 0)
                r = fields_parameter(t, "right-key", 1, &j->key[RIGHT]);
        if (r >= 0)
                r = read_outer(t, j);
        if (r < 0)
                join_teardown(t, j);
        else
                *ret_state = j;
        return r;
}

/* The last names of @input, as many as @glob has; "" when there are fewer. */
static const char *last_names(const char *input, const char *glob)
{
        const char *p = input + strlen(input);

        for (const char *slash = glob; slash; slash = strchr(slash + 1, '/')) {
                do
                        if (p-- == input)
                                return "";
                while (*p != '/');
        }
        return p + 1;
}

/* Inputs are absolute; a glob may be of the whole path, or of what it ends with. */
static uint8_t side_of(const Join *j, const char *input)
{
        if (strchr(j->right, '/') && fnmatch(j->right, input, 0) == 0)
                return RIGHT;
        if (j->right[0] == '/')
                return LEFT;
        return fnmatch(j->right, last_names(input, j->right), 0) == 0 ? RIGHT : LEFT;
}

static bool is_between(const Fields *f, uint8_t c)
{
        return f->delimited ? c == f->delimiter : c == ' ' || (c >= '\t' && c <= '\r');
}

/* The line without its key and what parts it from the rest. */
static void take_rest(Join *j, const uint8_t *line, size_t size, const uint8_t *key,
                      size_t key_size)
{
        size_t before = (size_t) (key - line), after = before + key_size;

        if (after < size)
                do
                        after++;
                while (!j->fields.delimited && after < size && is_between(&j->fields, line[after]));
        else if (before > 0)
                do
                        before--;
                while (!j->fields.delimited && before > 0 &&
                       is_between(&j->fields, line[before - 1]));
        g_byte_array_set_size(j->out, 0);
        g_byte_array_append(j->out, line, (guint) before);
        g_byte_array_append(j->out, line + after, (guint) (size - after));
}

static int join_map(MrTask *t, void *state, const void *line, size_t size)
{
        const char *input = mr_info(t)->input;
        const uint8_t *key;
        size_t key_size;
        Join *j = state;

        if (j->input != input) {
                j->input = input;
                j->side = side_of(j, input);
        }
        if (!fields_find(&j->fields, line, size, j->key[j->side], &key, &key_size)) {
                mr_count(t, "lines", "skipped", 1);
                return 0;
        }
        take_rest(j, line, size, key, key_size);
        return mr_emit_ordered(t, key, key_size, &j->side, 1, j->out->data, j->out->len);
}

/* The path may be at the same place in memory for the next file. */
static int join_map_end(MrTask *t, void *state)
{
        ((Join *) state)->input = NULL;
        return 0;
}

static int keep_right(MrTask *t, Join *j, const void *line, size_t size)
{
        if (j->lines->len + sizeof(size) + size > RIGHT_MAX_BYTES)
                return mr_fail(t, "a key has more than 1 GiB of lines on the right side: make the "
                                  "other side the right one");
        g_byte_array_append(j->lines, (const guint8 *) &size, sizeof(size));
        g_byte_array_append(j->lines, line, (guint) size);
        return 0;
}

static void append_field(GByteArray *out, const void *data, size_t size)
{
        if (out->len > 0 && size > 0)
                g_byte_array_append(out, (const guint8 *) "\t", 1);
        g_byte_array_append(out, data, (guint) size);
}

static int emit_pair(MrTask *t, Join *j, const void *key, size_t key_size, const void *left,
                     size_t left_size, const void *right, size_t right_size)
{
        g_byte_array_set_size(j->out, 0);
        append_field(j->out, left, left_size);
        append_field(j->out, right, right_size);
        return mr_emit(t, key, key_size, j->out->data, j->out->len);
}

static int emit_left(MrTask *t, Join *j, const void *key, size_t key_size, const void *line,
                     size_t size)
{
        int r = 0;

        if (j->lines->len == 0)
                return j->outer ? emit_pair(t, j, key, key_size, line, size, "", 0) : 0;
        for (size_t at = 0; at < j->lines->len && r >= 0;) {
                size_t right_size;

                memcpy(&right_size, j->lines->data + at, sizeof(right_size));
                at += sizeof(right_size);
                r = emit_pair(t, j, key, key_size, line, size, j->lines->data + at, right_size);
                at += right_size;
        }
        return r;
}

static int join_reduce(MrTask *t, void *state, const void *key, size_t key_size)
{
        const void *line, *side;
        size_t size, side_size;
        Join *j = state;
        int r;

        g_byte_array_set_size(j->lines, 0);
        while ((r = mr_next(t, &line, &size)) > 0) {
                r = mr_order(t, &side, &side_size);
                if (r >= 0)
                        r = *(const uint8_t *) side == RIGHT
                                    ? keep_right(t, j, line, size)
                                    : emit_left(t, j, key, key_size, line, size);
                if (r < 0)
                        return r;
        }
        return r;
}

const App app_join = {
        .plugin =
                {
                        MR_PLUGIN_HEADER,
                        .name = "join",
                        .ordered = 1,
                        .setup = join_setup,
                        .teardown = join_teardown,
                        .map = join_map,
                        .map_end = join_map_end,
                        .reduce = join_reduce,
                },
};
