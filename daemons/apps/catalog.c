/*
 * Catalog — see catalog.h.
 */
#include <inttypes.h>

#include "apps/catalog.h"
#include "base/parse.h"
#include "base/text.h"

#define KEY_PARAMETERS(what)                                                                       \
        {"key", "0", what},                                                                        \
        {                                                                                          \
                "delimiter", "", "the byte between fields; empty: white space"                     \
        }

#define NUMBER_PARAMETERS                                                                          \
        (const MrParameter[])                                                                      \
        {                                                                                          \
                {"value", NULL, "field with the number, from 1; others are counted as skipped"},   \
                        KEY_PARAMETERS("field to group by, from 1; 0: the whole line"),            \
                {                                                                                  \
                }                                                                                  \
        }

const CatalogApp catalog[] = {
        {
                "count",
                "how often each field or line comes",
                (const MrParameter[]){KEY_PARAMETERS("field to count, from 1; 0: the whole line"),
                                      {}},
                .fold = CATALOG_FOLD_LINE,
                .op = MR_OP_SUM,
        },
        {
                "distinct",
                "each field or line once",
                (const MrParameter[]){KEY_PARAMETERS("field, from 1; 0: the whole line"), {}},
                .fold = CATALOG_FOLD_KEY,
                .op = MR_OP_MAX,
        },
        {
                "grep",
                "lines that a regular expression matches",
                (const MrParameter[]){
                        {"pattern", NULL, "regular expression (PCRE2)"},
                        {"output", "lines", "lines; count: how many; matches: each match, counted"},
                        {"ignore-case", "no", "yes: letters match in both cases"},
                        {"invert", "no", "yes: lines that do not match"},
                        {}},
        },
        {
                "index",
                "for each word the files that have it",
                (const MrParameter[]){
                        {"words", "all", "all: between white space; letters: runs of A-Z and a-z"},
                        {}},
        },
        {
                "join",
                "lines of two inputs that have the same key",
                (const MrParameter[]){
                        {"right", NULL,
                         "glob of paths, or of how they end: such inputs are the right side"},
                        {"key", "1", "field of the left side, from 1"},
                        {"right-key", "1", "field of the right side, from 1"},
                        {"delimiter", "", "the byte between fields; empty: white space"},
                        {"outer", "no", "left: lines of the left side without a partner, too"},
                        {}},
        },
        {"max", "the largest number of each key", NUMBER_PARAMETERS, .fold = CATALOG_FOLD_NUMBER,
         .op = MR_OP_MAX},
        {"min", "the least number of each key", NUMBER_PARAMETERS, .fold = CATALOG_FOLD_NUMBER,
         .op = MR_OP_MIN},
        {
                .name = "sort",
                .summary = "lines or records in order; part after part is the whole",
                .parameters =
                        (const MrParameter[]){
                                {"key", "0", "field to sort by, from 1; 0: the whole line"},
                                {"delimiter", "", "the byte between fields; empty: white space"},
                                {"numeric", "no", "yes: by number, as sort -n"},
                                {"reverse", "no", "yes: the largest first"},
                                {"record", "0", "bytes of a record of fixed length; 0: lines"},
                                {"key-bytes", "0", "of such a record, how many to sort by; 0: all"},
                                {}},
                .ordered = true,
        },
        {"sum", "the sum of numbers of each key", NUMBER_PARAMETERS, .fold = CATALOG_FOLD_NUMBER,
         .op = MR_OP_SUM},
        {
                .name = "top",
                .summary = "the most frequent fields or lines, most frequent first",
                .parameters =
                        (const MrParameter[]){{"k", "10", "how many: 1 to 1000000"},
                                              KEY_PARAMETERS("field, from 1; 0: the whole line"),
                                              {}},
                .ordered = true,
        },
        {
                "wordcount",
                "how often each word comes",
                (const MrParameter[]){
                        {"words", "all", "all: between white space; letters: runs of A-Z and a-z"},
                        {}},
        },
        {},
};

const CatalogApp *catalog_find(const char *name)
{
        for (const CatalogApp *app = catalog; app->name; app++)
                if (g_str_equal(app->name, name))
                        return app;
        return NULL;
}

static char *names(bool reducers)
{
        GString *s = g_string_new(NULL);

        for (const CatalogApp *app = catalog; app->name; app++)
                if (!reducers || app->fold != CATALOG_FOLD_NONE)
                        g_string_append_printf(s, "%s%s", s->len > 0 ? ", " : "", app->name);
        return g_string_free(s, FALSE);
}

char *catalog_names(void)
{
        return names(false);
}

const CatalogApp *catalog_find_reducer(const char *name)
{
        const CatalogApp *app = catalog_find(name);

        return app && app->fold != CATALOG_FOLD_NONE ? app : NULL;
}

char *catalog_reducer_names(void)
{
        return names(true);
}

bool catalog_is_plugin(const char *app)
{
        return g_str_has_suffix(app, ".so") && !strchr(app, '/');
}

/* Of the word that @arg begins with. */
static size_t word_size(const char *arg)
{
        return g_ascii_islower(arg[0]) ? strspn(arg, G_CSET_a_2_z G_CSET_DIGITS "-_") : 0;
}

/* "NAME=…", whether there is such a parameter or not. */
static bool names_one(const char *arg)
{
        size_t size = word_size(arg);

        return size > 0 && arg[size] == '=';
}

/* A bare word that looks like an option, or like a parameter, is none of the values that a default
 * stands for. */
static bool takes_bare(const MrParameter *p, const char *arg)
{
        return p[0].name && (!p[0].value || (arg[0] != '-' && !names_one(arg)));
}

/* The parameter that @arg names, and its value; or the first one for a bare first argument. */
static ssize_t find_parameter(const MrParameter *p, const char *arg, bool first, const char **ret)
{
        const char *equals = strchr(arg, '=');

        if (!p)
                return -1;
        for (size_t i = 0; equals && p[i].name; i++)
                if (strlen(p[i].name) == (size_t) (equals - arg) &&
                    strncmp(p[i].name, arg, (size_t) (equals - arg)) == 0) {
                        *ret = equals + 1;
                        return (ssize_t) i;
                }
        *ret = arg;
        return first && takes_bare(p, arg) ? 0 : -1;
}

static int unknown_parameter(const char *app, const MrParameter *p, const char *arg, Error *e)
{
        g_autoptr(GString) known = g_string_new(NULL);

        for (; p && p->name; p++)
                g_string_append_printf(known, "%s%s=", known->len > 0 ? ", " : "", p->name);
        if (known->len == 0)
                return error_setf(e, EINVAL, "%s takes no arguments, not \"%.64s\"", app, arg);
        return error_setf(e, EINVAL, "%s has no parameter \"%.64s\" (known: %s)", app, arg,
                          known->str);
}

/* "patern=a", for a parameter that may have any text as its value: is that one, or a misspelt
 * name? */
static int check_bare(const char *app, const MrParameter *p, const char *arg, Error *e)
{
        g_autoptr(GPtrArray) names = g_ptr_array_new();
        g_autofree char *word = g_strndup(arg, word_size(arg));
        const char *near;

        for (const MrParameter *i = p; i->name; i++)
                g_ptr_array_add(names, (char *) i->name);
        g_ptr_array_add(names, NULL);
        near = names_one(arg) ? text_nearest_word(word, (const char *const *) names->pdata) : NULL;
        if (!near)
                return 0;
        return error_setf(e, EINVAL,
                          "%s has no parameter \"%s=\": did you mean %s=? (%s=%.64s has that as "
                          "its value)",
                          app, word, near, p->name, arg);
}

int catalog_resolve(const char *app, const MrParameter *parameters, char *const *args, size_t count,
                    const char ***ret, Error *e)
{
        g_autofree const char **values = NULL;
        size_t known = 0;
        int r;

        while (parameters && parameters[known].name)
                known++;
        values = g_new0(const char *, known + 1);
        for (size_t i = 0; i < count; i++) {
                const char *value;
                ssize_t at = find_parameter(parameters, args[i], i == 0, &value);

                if (at < 0)
                        return unknown_parameter(app, parameters, args[i], e);
                r = value == args[i] ? check_bare(app, parameters, args[i], e) : 0;
                if (r < 0)
                        return r;
                if (values[at])
                        return error_setf(e, EINVAL, "%s: %s is given twice", app,
                                          parameters[at].name);
                values[at] = value;
        }
        for (size_t i = 0; i < known; i++) {
                if (!values[i])
                        values[i] = parameters[i].value;
                if (!values[i])
                        return error_setf(e, EINVAL, "%s needs %s=… (%s)", app, parameters[i].name,
                                          parameters[i].help);
        }
        *ret = TAKE_PTR(values);
        return 0;
}

int catalog_number(const char *name, const char *value, uint64_t min, uint64_t max, uint64_t *ret,
                   Error *e)
{
        uint64_t n;

        if (parse_u64(value, &n) < 0 || n < min || n > max)
                return error_setf(e, EINVAL, "%s=%.32s is no number from %" PRIu64 " to %" PRIu64,
                                  name, value, min, max);
        *ret = n;
        return 0;
}

int catalog_switch(const char *name, const char *value, bool *ret, Error *e)
{
        *ret = g_str_equal(value, "yes");
        if (*ret || g_str_equal(value, "no"))
                return 0;
        return error_setf(e, EINVAL, "%s= takes yes or no, not \"%.32s\"", name, value);
}

int catalog_delimiter(const char *value, char *ret, Error *e)
{
        const char *d = g_str_equal(value, "\\t") ? "\t" : value;

        if (strlen(d) > 1 || *d == '\n')
                return error_setf(e, EINVAL, "delimiter= takes one byte, or \\t");
        *ret = *d;
        return 0;
}

int catalog_read_sort(const char *const *values, CatalogSort *ret, Error *e)
{
        CatalogSort c = {};
        int r;

        r = catalog_number("key", values[0], 0, CATALOG_FIELD_MAX, &c.key, e);
        if (r >= 0)
                r = catalog_delimiter(values[1], &c.delimiter, e);
        if (r >= 0)
                r = catalog_switch("numeric", values[2], &c.numeric, e);
        if (r >= 0)
                r = catalog_switch("reverse", values[3], &c.reverse, e);
        if (r >= 0)
                r = catalog_number("record", values[4], 0, CATALOG_RECORD_MAX, &c.record_bytes, e);
        if (r >= 0)
                r = catalog_number("key-bytes", values[5], 0, CATALOG_RECORD_MAX, &c.key_bytes, e);
        if (r < 0)
                return r;
        if (c.record_bytes > 0 && (c.key > 0 || c.numeric || c.reverse))
                return error_setf(e, EINVAL,
                                  "sort: record= goes with key-bytes=, not with key=, numeric= and "
                                  "reverse=");
        if (c.key_bytes > c.record_bytes)
                return error_setf(e, EINVAL, "sort: key-bytes= is more than record= has");
        *ret = c;
        return 0;
}
