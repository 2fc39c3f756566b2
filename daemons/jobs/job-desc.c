/*
 * Job description — see job-desc.h.
 *
 * One table says for each key what it is, where it goes and how long it may be; parsing, checking,
 * storing and the hint for a misspelt key all read that table.
 */
#include <ctype.h>
#include <inttypes.h>

#include "apps/catalog.h"
#include "base/parse.h"
#include "base/program-level.h"
#include "base/text.h"
#include "jobs/job-desc.h"
#include "jobs/sort-fields.h"

/* Hadoop's words (mapreduce.job.priority), from low to high; the middle is the default. */
static const char *const priorities[] = {"very-low", "low", "normal", "high", "very-high"};

typedef struct Key {
        const char *name;
        char type;
        size_t offset;
        uint64_t min, max; /* of a number; max: bytes of a string */
        bool later;        /* than the database's version: an older master does not know it */
} Key;

static const Key keys[] = {
        {"Name", 's', offsetof(JobDesc, name), 0, JOB_NAME_MAX_BYTES},
        {"Input", 'a', offsetof(JobDesc, inputs), 1, JOB_PATH_MAX_BYTES},
        {"Output", 's', offsetof(JobDesc, output), 0, JOB_PATH_MAX_BYTES},
        {"App", 's', offsetof(JobDesc, app), 0, JOB_NAME_MAX_BYTES},
        {"Args", 'a', offsetof(JobDesc, args), 0, JOB_COMMAND_MAX_BYTES},
        {"Mapper", 's', offsetof(JobDesc, mapper), 0, JOB_COMMAND_MAX_BYTES},
        {"Combiner", 's', offsetof(JobDesc, combiner), 0, JOB_COMMAND_MAX_BYTES},
        {"Reducer", 's', offsetof(JobDesc, reducer), 0, JOB_COMMAND_MAX_BYTES},
        {"ReducerApp", 's', offsetof(JobDesc, reducer_app), 0, JOB_NAME_MAX_BYTES},
        {"Reduces", 'n', offsetof(JobDesc, reduces), 0, JOB_REDUCES_MAX},
        {"MapFieldSeparator", 's', offsetof(JobDesc, map_separator), 0, JOB_SEPARATOR_MAX_BYTES},
        {"MapKeyFields", 'n', offsetof(JobDesc, map_key_fields), 1, JOB_KEY_FIELDS_MAX},
        {"PartitionKeyFields", 'n', offsetof(JobDesc, partition_key_fields), 0, JOB_KEY_FIELDS_MAX},
        {"SortKeyFields", 's', offsetof(JobDesc, sort_key_fields), 0, JOB_NAME_MAX_BYTES, true},
        {"ReduceFieldSeparator", 's', offsetof(JobDesc, reduce_separator), 0,
         JOB_SEPARATOR_MAX_BYTES},
        {"SplitSize", 'n', offsetof(JobDesc, split_size_bytes), JOB_SPLIT_SIZE_MIN,
         JOB_SPLIT_SIZE_MAX},
        {"Env", 'a', offsetof(JobDesc, env), 1, JOB_COMMAND_MAX_BYTES},
        {"Archives", 'a', offsetof(JobDesc, archives), 1, 2 * JOB_NAME_MAX_BYTES + 1},
        {"MaxAttempts", 'n', offsetof(JobDesc, max_attempts), 1, JOB_MAX_ATTEMPTS_MAX},
        {"SkipBadRecords", 'n', offsetof(JobDesc, skip_bad_records), 0, JOB_SKIP_RECORDS_MAX},
        {"TaskTimeout", 'n', offsetof(JobDesc, task_timeout_sec), 0, JOB_TASK_TIMEOUT_MAX_SEC},
        {"MemoryLimit", 'n', offsetof(JobDesc, memory_limit_bytes), 0, JOB_SPLIT_SIZE_MAX},
        {"Reuse", 's', offsetof(JobDesc, reuse), 0, JOB_NAME_MAX_BYTES},
        {"Intermediate", 's', offsetof(JobDesc, intermediate), 0, JOB_PATH_MAX_BYTES},
        {"IntermediateCompression", 's', offsetof(JobDesc, intermediate_compression), 0,
         JOB_NAME_MAX_BYTES},
        {"OutputCompression", 's', offsetof(JobDesc, output_compression), 0, JOB_NAME_MAX_BYTES},
        {"InputFormat", 's', offsetof(JobDesc, input_format), 0, JOB_NAME_MAX_BYTES},
        {"IgnoreExitStatus", 'b', offsetof(JobDesc, ignore_exit_status), 0, 1, true},
        {"Backups", 'b', offsetof(JobDesc, backups), 0, 1},
        {"Priority", 's', offsetof(JobDesc, priority), 0, JOB_NAME_MAX_BYTES},
        {"RequestId", 's', offsetof(JobDesc, request_id), 0, JOB_REQUEST_ID_MAX_BYTES},
};

static void *field(const JobDesc *d, const Key *k)
{
        return (uint8_t *) d + k->offset;
}

static void shipped_file_free(gpointer p)
{
        JobShippedFile *f = p;

        g_free(f->name);
        g_free(f->digest);
        g_free(f);
}

JobDesc *job_desc_new(void)
{
        JobDesc *d = g_new0(JobDesc, 1);

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                if (keys[i].type == 's')
                        *(char **) field(d, &keys[i]) = g_strdup("");
                else if (keys[i].type == 'a')
                        *(GPtrArray **) field(d, &keys[i]) = g_ptr_array_new_with_free_func(g_free);
        }
        d->files = g_ptr_array_new_with_free_func(shipped_file_free);
        d->bounds = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
        d->reduces = 1;
        d->map_key_fields = 1;
        d->max_attempts = JOB_MAX_ATTEMPTS_DEFAULT;
        d->task_timeout_sec = JOB_TASK_TIMEOUT_DEFAULT_SEC;
        d->backups = true;
        return d;
}

JobDesc *job_desc_free(JobDesc *d)
{
        if (!d)
                return NULL;
        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                if (keys[i].type == 's')
                        g_free(*(char **) field(d, &keys[i]));
                else if (keys[i].type == 'a')
                        g_ptr_array_unref(*(GPtrArray **) field(d, &keys[i]));
        }
        g_ptr_array_unref(d->files);
        g_ptr_array_unref(d->bounds);
        g_free(d);
        return NULL;
}

static int unknown_key(const char *key, Error *e)
{
        g_autoptr(GString) closest = g_string_new(NULL);
        g_autofree char *word = g_ascii_strdown(key, -1);
        unsigned best = 3; /* farther ones are no misspelling */

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                g_autofree char *name = g_ascii_strdown(keys[i].name, -1);
                unsigned distance = text_edit_distance(word, name);

                if (distance > best)
                        continue;
                if (distance < best)
                        g_string_truncate(closest, 0);
                best = distance;
                g_string_append_printf(closest, "%s%s", closest->len > 0 ? " or " : "",
                                       keys[i].name);
        }
        if (closest->len > 0)
                return error_setf(e, EINVAL, "unknown setting %.64s: did you mean %s?", key,
                                  closest->str);
        return error_setf(
                e, EINVAL,
                "unknown setting %.64s (known: Name, Input, Output, App, Args, Mapper, "
                "Combiner, Reducer, ReducerApp, Reduces, MapFieldSeparator, MapKeyFields, PartitionKeyFields, "
                "SortKeyFields, ReduceFieldSeparator, SplitSize, Env, Archives, MaxAttempts, SkipBadRecords, "
                "TaskTimeout, MemoryLimit, Reuse, Intermediate, IntermediateCompression, OutputCompression, InputFormat, IgnoreExitStatus, Backups, Priority, RequestId)",
                key);
}

static const Key *find_key(const char *key)
{
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (g_str_equal(keys[i].name, key))
                        return &keys[i];
        return NULL;
}

int job_desc_type(const char *key, char *ret, Error *e)
{
        const Key *k = find_key(key);

        if (!k)
                return unknown_key(key, e);
        *ret = k->type;
        return 0;
}

/* Every string passes here: its own limit, and that of all of them together. */
static int check_string(JobDesc *d, const Key *k, const char *value, Error *e)
{
        size_t n = strlen(value);

        if (n > k->max)
                return error_setf(e, E2BIG, "%s is too long: %zu bytes, at most %" PRIu64, k->name,
                                  n, k->max);
        if (n < k->min)
                return error_setf(e, EINVAL, "%s must not be empty", k->name);
        if (d->strings_bytes + n + 1 > JOB_DESC_MAX_BYTES)
                return error_setf(e, E2BIG, "the description is larger than %u KiB in all",
                                  JOB_DESC_MAX_BYTES / 1024);
        d->strings_bytes += n + 1;
        return 0;
}

int job_desc_set_string(JobDesc *d, const char *key, const char *value, Error *e)
{
        const Key *k = find_key(key);
        char **target;
        int r;

        if (!k)
                return unknown_key(key, e);
        if (k->type != 's')
                return error_setf(e, EINVAL, "%s is not a single string", key);
        r = check_string(d, k, value, e);
        if (r < 0)
                return r;
        target = field(d, k);
        g_free(*target);
        *target = g_strdup(value);
        return 0;
}

int job_desc_add_string(JobDesc *d, const char *key, const char *value, Error *e)
{
        const Key *k = find_key(key);
        GPtrArray *target;
        int r;

        if (!k)
                return unknown_key(key, e);
        if (k->type != 'a')
                return error_setf(e, EINVAL, "%s is not a list of strings", key);
        r = check_string(d, k, value, e);
        if (r < 0)
                return r;
        target = *(GPtrArray **) field(d, k);
        if (target->len >= JOB_STRINGS_MAX)
                return error_setf(e, E2BIG, "%s has more than %u entries", key, JOB_STRINGS_MAX);
        g_ptr_array_add(target, g_strdup(value));
        return 0;
}

static int out_of_range(const Key *k, uint64_t value, Error *e)
{
        if (k->max > UINT32_MAX) {
                g_autofree char *given = format_size(value);

                return error_setf(e, ERANGE, "%s=%" PRIu64 " (%s) is out of range: %s to 1T",
                                  k->name, value, given, k->min > 0 ? "4K" : "0");
        }
        return error_setf(e, ERANGE, "%s=%" PRIu64 " is out of range: %" PRIu64 " to %" PRIu64,
                          k->name, value, k->min, k->max);
}

int job_desc_set_number(JobDesc *d, const char *key, uint64_t value, Error *e)
{
        const Key *k = find_key(key);

        if (!k)
                return unknown_key(key, e);
        if (k->type != 'n')
                return error_setf(e, EINVAL, "%s is not a number", key);
        if (value < k->min || value > k->max)
                return out_of_range(k, value, e);
        if (k->max > UINT32_MAX)
                *(uint64_t *) field(d, k) = value;
        else
                *(uint32_t *) field(d, k) = (uint32_t) value;
        return 0;
}

int job_desc_set_boolean(JobDesc *d, const char *key, bool value, Error *e)
{
        const Key *k = find_key(key);

        if (!k)
                return unknown_key(key, e);
        if (k->type != 'b')
                return error_setf(e, EINVAL, "%s is not a yes or no", key);
        *(bool *) field(d, k) = value;
        return 0;
}

static bool is_plain_name(const char *s)
{
        return *s && strlen(s) <= JOB_NAME_MAX_BYTES && !strchr(s, '/') && !g_str_equal(s, ".") &&
               !g_str_equal(s, "..");
}

int job_desc_add_file(JobDesc *d, const char *name, Error *e)
{
        JobShippedFile *f;

        if (!is_plain_name(name))
                return error_setf(e, EINVAL, "not a plain file name for a shipped file: %.80s",
                                  name);
        if (d->files->len >= JOB_FILES_MAX)
                return error_setf(e, E2BIG, "more than %u shipped files", JOB_FILES_MAX);
        for (guint i = 0; i < d->files->len; i++)
                if (g_str_equal(((JobShippedFile *) d->files->pdata[i])->name, name))
                        return error_setf(e, EINVAL, "the file %s is shipped twice", name);
        f = g_new(JobShippedFile, 1);
        *f = (JobShippedFile){.name = g_strdup(name)};
        g_ptr_array_add(d->files, f);
        return 0;
}

static bool is_shipped(const JobDesc *d, const char *name)
{
        for (guint i = 0; i < d->files->len; i++)
                if (g_str_equal(((const JobShippedFile *) d->files->pdata[i])->name, name))
                        return true;
        return false;
}

/* A plugin's parameters are known to mr-task alone: it has the code. */
static int check_app(const JobDesc *d, Error *e)
{
        const CatalogApp *app = catalog_find(d->app);
        g_autofree const char **values = NULL;
        g_autofree char *names = NULL;

        if (app)
                return catalog_resolve(d->app, app->parameters, (char **) d->args->pdata,
                                       d->args->len, &values, e);
        if (catalog_is_plugin(d->app))
                return is_shipped(d, d->app)
                               ? 0
                               : error_setf(e, EINVAL,
                                            "the plugin %.64s is not shipped with the job", d->app);
        names = catalog_names();
        return error_setf(e, EINVAL, "unknown app %.64s (known: %s, or a plugin NAME.so)", d->app,
                          names);
}

/* It adds up in the maps already, so a combiner before it has nothing to do. */
static int check_reducer_app(const JobDesc *d, Error *e)
{
        g_autofree char *names = NULL;

        if (!*d->reducer_app)
                return 0;
        if (*d->combiner || *d->reducer)
                return error_setf(e, EINVAL,
                                  "ReducerApp=%s combines and reduces: give no %s beside it",
                                  d->reducer_app, *d->reducer ? "Reducer" : "Combiner");
        if (*d->reduce_separator)
                return error_setf(e, EINVAL,
                                  "ReduceFieldSeparator is for what a Reducer reads, not for "
                                  "ReducerApp=%s",
                                  d->reducer_app);
        if (*d->sort_key_fields)
                return error_setf(e, EINVAL,
                                  "SortKeyFields=%s is the order in which a Reducer reads lines: "
                                  "ReducerApp=%s adds up without any order",
                                  d->sort_key_fields, d->reducer_app);
        if (catalog_find_reducer(d->reducer_app))
                return 0;
        names = catalog_reducer_names();
        return error_setf(e, EINVAL,
                          "ReducerApp=%.64s: apps that reduce what a command's map writes are %s",
                          d->reducer_app, names);
}

static int check_program(const JobDesc *d, Error *e)
{
        if (*d->app && d->ignore_exit_status)
                return error_setf(e, EINVAL,
                                  "IgnoreExitStatus is of commands: it goes with Mapper, not with "
                                  "App=%s",
                                  d->app);
        if (*d->app && *d->mapper)
                return error_setf(e, EINVAL,
                                  "both App=%s and a Mapper are given: a job has one program",
                                  d->app);
        if (!*d->app && !*d->mapper)
                return error_setf(e, EINVAL,
                                  "no program is given: set App (wordcount) or Mapper (a command)");
        if (*d->mapper && d->args->len > 0)
                return error_setf(e, EINVAL, "Args go with App; write a command's into Mapper");
        if (*d->mapper)
                return check_reducer_app(d, e);
        if (*d->combiner || *d->reducer || *d->reducer_app)
                return error_setf(e, EINVAL,
                                  "Combiner, Reducer and ReducerApp go with Mapper; App=%s has "
                                  "its own",
                                  d->app);
        return check_app(d, e);
}

static void set_text(char **text, const char *value)
{
        g_free(*text);
        *text = g_strdup(value);
}

/* A reducer without a mapper reads the input's own lines; "NONE" is Hadoop's way to ask for maps
 * alone. */
static void settle_commands(JobDesc *d)
{
        if (!*d->app && !*d->mapper && (*d->reducer || *d->combiner || *d->reducer_app))
                set_text(&d->mapper, JOB_COMMAND_IDENTITY);
        if (g_ascii_strcasecmp(d->reducer, JOB_REDUCER_NONE) == 0) {
                set_text(&d->reducer, "");
                d->reduces = 0;
        }
        if (g_str_equal(d->reducer, JOB_COMMAND_IDENTITY))
                set_text(&d->reducer, "");
        if (d->split_size_bytes == 0 && *d->app)
                d->split_size_bytes = JOB_SPLIT_SIZE_APP;
        else if (d->split_size_bytes == 0 && g_str_equal(d->reuse, "yes"))
                d->split_size_bytes = JOB_SPLIT_SIZE_REUSED_COMMAND;
}

static int check_map_only(const JobDesc *d, Error *e)
{
        if (d->reduces > 0)
                return 0;
        if (*d->app && !catalog_is_plugin(d->app))
                return error_setf(e, EINVAL,
                                  "Reduces=0: App=%s has a reduce; a job of maps alone runs a "
                                  "Mapper or a plugin",
                                  d->app);
        if (*d->reducer || *d->combiner || *d->reducer_app)
                return error_setf(e, EINVAL, "Reduces=0 leaves nothing to do for the %s: give none",
                                  *d->reducer    ? "Reducer"
                                  : *d->combiner ? "Combiner"
                                                 : "ReducerApp");
        if (*d->sort_key_fields)
                return error_setf(
                        e, EINVAL,
                        "SortKeyFields=%s: Reduces=0 sorts nothing; with Reducer=identity "
                        "lines come out sorted",
                        d->sort_key_fields);
        return 0;
}

static int check_separator(const char *key, const char *value, Error *e)
{
        uint8_t separator[JOB_SEPARATOR_MAX_BYTES];
        size_t size;

        if (!*value)
                return 0;
        if (text_unescape(value, separator, sizeof(separator), &size) < 0 || size == 0)
                return error_setf(e, EINVAL,
                                  "%s=%.40s: a backslash there begins \\t, \\0, \\\\ or \\xNN", key,
                                  value);
        if (memchr(separator, '\n', size))
                return error_setf(e, EINVAL, "%s holds a newline, which ends records", key);
        return 0;
}

/* How lines are cut is for commands: apps have parameters for that. */
static int check_fields(const JobDesc *d, Error *e)
{
        SortField sort[SORT_FIELDS_MAX];
        int r;

        r = check_separator("MapFieldSeparator", d->map_separator, e);
        if (r >= 0)
                r = check_separator("ReduceFieldSeparator", d->reduce_separator, e);
        if (r < 0)
                return r;
        if (*d->app && (*d->map_separator || *d->reduce_separator || d->map_key_fields != 1 ||
                        d->partition_key_fields != 0 || *d->sort_key_fields))
                return error_setf(e, EINVAL,
                                  "MapFieldSeparator, MapKeyFields, PartitionKeyFields, "
                                  "SortKeyFields and ReduceFieldSeparator go with Mapper, not with "
                                  "App=%s",
                                  d->app);
        if (d->partition_key_fields > d->map_key_fields)
                return error_setf(e, EINVAL,
                                  "PartitionKeyFields=%u: the key has MapKeyFields=%u only",
                                  d->partition_key_fields, d->map_key_fields);
        r = sort_fields_parse(d->sort_key_fields, d->map_key_fields, sort, e);
        return MIN(r, 0);
}

static int check_inputs(const JobDesc *d, Error *e)
{
        if (d->inputs->len == 0)
                return error_setf(e, EINVAL, "no Input is given");
        for (guint i = 0; i < d->inputs->len; i++) {
                const char *input = d->inputs->pdata[i];
                const char *path = g_str_has_prefix(input, "file:") ? input + 5 : input;

                if (path[0] == '/')
                        continue;
                if (path == input && strchr(input, ':') &&
                    strcspn(input, ":") < strcspn(input, "/*?["))
                        return error_setf(e, EINVAL,
                                          "cannot read %.256s: inputs are PATH or file:PATH",
                                          input);
                return error_setf(e, EINVAL, "not an absolute path: Input=%.256s", input);
        }
        return 0;
}

const char *job_desc_stable_dir(const JobDesc *d)
{
        return g_str_has_prefix(d->intermediate, "stable:") ? d->intermediate + strlen("stable:")
                                                            : NULL;
}

static bool is_one_of(const char *value, const char *words)
{
        g_auto(GStrv) all = g_strsplit(words, ", ", -1);

        return !*value || g_strv_contains((const char *const *) all, value);
}

static int check_choice(const char *key, const char *value, const char *words, Error *e)
{
        return is_one_of(value, words)
                       ? 0
                       : error_setf(e, EINVAL, "%s=%.40s: it is one of %s", key, value, words);
}

static int check_formats(const JobDesc *d, Error *e)
{
        bool packed = *d->output_compression && !g_str_equal(d->output_compression, "none");
        int r;

        r = check_choice("IntermediateCompression", d->intermediate_compression, "none, lz4, zstd",
                         e);
        if (r >= 0)
                r = check_choice("OutputCompression", d->output_compression,
                                 "none, gzip, bzip2, zstd, lz4, xz", e);
        if (r >= 0)
                r = check_choice("InputFormat", d->input_format, "lines, whole", e);
        if (r < 0)
                return r;
        if (packed && !*d->output)
                return error_setf(e, EINVAL,
                                  "OutputCompression=%s needs an Output: a result that is printed "
                                  "is text",
                                  d->output_compression);
        if (g_str_equal(d->input_format, "whole") && *d->app && !catalog_is_plugin(d->app))
                return error_setf(e, EINVAL,
                                  "InputFormat=whole goes with Mapper and plugins: App=%s reads "
                                  "lines",
                                  d->app);
        return 0;
}

static int check_choices(const JobDesc *d, Error *e)
{
        const char *stable = job_desc_stable_dir(d);

        if (*d->reuse && !g_str_equal(d->reuse, "auto") && !g_str_equal(d->reuse, "yes") &&
            !g_str_equal(d->reuse, "no"))
                return error_setf(e, EINVAL, "Reuse=%.40s: it is auto, yes or no", d->reuse);
        if (stable ? stable[0] != '/' : *d->intermediate && !g_str_equal(d->intermediate, "local"))
                return error_setf(e, EINVAL,
                                  "Intermediate=%.256s: it is local, or stable: and the absolute "
                                  "path of a directory that all hosts share",
                                  d->intermediate);
        return 0;
}

static int check_env(const JobDesc *d, Error *e)
{
        for (guint i = 0; i < d->env->len; i++) {
                const char *s = d->env->pdata[i];
                size_t n = strspn(s, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_");

                if (n == 0 || s[n] != '=' || isdigit((unsigned char) s[0]))
                        return error_setf(e, EINVAL, "not NAME=VALUE: Env=%.80s", s);
        }
        return 0;
}

/* Each is shipped, and its directory is nobody else's name. */
static int check_archives(const JobDesc *d, Error *e)
{
        g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

        for (guint i = 0; i < d->files->len; i++)
                g_hash_table_add(names, g_strdup(((JobShippedFile *) d->files->pdata[i])->name));
        for (guint i = 0; i < d->archives->len; i++) {
                const char *s = d->archives->pdata[i], *mark = strrchr(s, '#');
                g_autofree char *name = mark ? g_strndup(s, (gsize) (mark - s)) : g_strdup(s);
                const char *directory = mark ? mark + 1 : name;

                if (!is_shipped(d, name))
                        return error_setf(e, EINVAL, "Archives=%.80s: no such file is shipped", s);
                if (!is_plain_name(directory))
                        return error_setf(e, EINVAL,
                                          "Archives=%.80s: not a plain name behind the #", s);
                g_hash_table_remove(names, name); /* it goes */
                if (!g_hash_table_add(names, g_strdup(directory)))
                        return error_setf(e, EINVAL,
                                          "Archives=%.80s: another file has the name %.80s", s,
                                          directory);
        }
        return 0;
}

static int check_text(const char *what, const char *s, Error *e)
{
        for (const char *p = s; *p; p++)
                if (g_ascii_iscntrl(*p))
                        return error_setf(e, EINVAL, "%s holds a control character", what);
        return 0;
}

static int find_priority(const char *name)
{
        for (size_t i = 0; i < ELEMENTSOF(priorities); i++)
                if (g_str_equal(priorities[i], name))
                        return (int) i;
        return -EINVAL;
}

int job_desc_priority(const JobDesc *d)
{
        int i = find_priority(*d->priority ? d->priority : "normal");

        return i < 0 ? 0 : i - (int) ELEMENTSOF(priorities) / 2;
}

uint32_t job_desc_program_level(const JobDesc *d, const char **ret_setting)
{
        const char *setting = *d->sort_key_fields     ? "SortKeyFields"
                              : d->ignore_exit_status ? "IgnoreExitStatus"
                                                      : "";

        if (ret_setting)
                *ret_setting = setting;
        return *setting ? 1 : 0;
}

static int check_priority(const JobDesc *d, Error *e)
{
        if (!*d->priority || find_priority(d->priority) >= 0)
                return 0;
        return error_setf(e, EINVAL,
                          "unknown Priority=%.64s (known: very-low, low, normal, high, very-high)",
                          d->priority);
}

int job_desc_check(JobDesc *d, Error *e)
{
        int r;

        settle_commands(d);
        r = check_program(d, e);
        if (r >= 0)
                r = check_map_only(d, e);
        if (r >= 0)
                r = check_fields(d, e);
        if (r >= 0)
                r = check_inputs(d, e);
        if (r >= 0)
                r = check_env(d, e);
        if (r >= 0)
                r = check_choices(d, e);
        if (r >= 0)
                r = check_archives(d, e);
        if (r >= 0)
                r = check_formats(d, e);
        if (r >= 0)
                r = check_priority(d, e);
        if (r >= 0)
                r = check_text("Name", d->name, e);
        if (r >= 0)
                r = check_text("RequestId", d->request_id, e);
        if (r < 0)
                return r;
        if (*d->output && d->output[0] != '/')
                return error_setf(e, EINVAL, "not an absolute path: Output=%.256s", d->output);
        if (*d->output && strspn(d->output, "/") == strlen(d->output))
                return error_setf(e, EINVAL, "Output=%.16s cannot be a job's output directory",
                                  d->output);
        if (!*d->name) {
                const char *program = *d->app ? d->app : d->mapper;

                g_free(d->name);
                d->name = g_strdup_printf("%.60s", program);
                g_strdelimit(d->name, "\t\n\r\v\f", ' ');
                if (check_text("Name", d->name, NULL) < 0 || !g_utf8_validate(d->name, -1, NULL)) {
                        g_free(d->name);
                        d->name = g_strdup("job");
                }
        }
        return 0;
}

char *job_desc_program(const JobDesc *d)
{
        GString *s = g_string_new(*d->app ? d->app : d->mapper);

        for (guint i = 0; i < d->args->len; i++)
                g_string_append_printf(s, " %s", (const char *) d->args->pdata[i]);
        if (*d->combiner)
                g_string_append_printf(s, " | %s", d->combiner);
        if (*d->reducer)
                g_string_append_printf(s, " | %s", d->reducer);
        if (*d->reducer_app)
                g_string_append_printf(s, " | %s", d->reducer_app);
        return g_string_free(s, FALSE);
}

/* "Key=value" and a NUL for each value: no string of ours can hold a NUL. */
static void put(GByteArray *out, const char *key, const char *value)
{
        g_byte_array_append(out, (const guint8 *) key, (guint) strlen(key));
        g_byte_array_append(out, (const guint8 *) "=", 1);
        g_byte_array_append(out, (const guint8 *) value, (guint) strlen(value) + 1);
}

static void put_u64(GByteArray *out, const char *key, uint64_t v)
{
        g_autofree char *text = g_strdup_printf("%" PRIu64, v);

        put(out, key, text);
}

static void put_number(GByteArray *out, const Key *k, const JobDesc *d)
{
        uint64_t v;

        v = k->max > UINT32_MAX ? *(uint64_t *) field(d, k) : *(uint32_t *) field(d, k);
        if (v >= k->min) /* else nobody has said it yet, nor has job_desc_check() */
                put_u64(out, k->name, v);
}

static void put_bound(GByteArray *out, GBytes *bound)
{
        size_t size;
        const uint8_t *data = g_bytes_get_data(bound, &size);
        g_autofree char *hex = g_malloc(2 * size + 1);

        text_hex(data, size, hex);
        put(out, "Bound", hex);
}

/* So that the row of a job without the setting is one that an older master reads. */
static bool is_left_out(const Key *k, const JobDesc *d)
{
        if (!k->later)
                return false;
        return k->type == 's' ? !**(char **) field(d, k) : !*(bool *) field(d, k);
}

GByteArray *job_desc_serialize(const JobDesc *d)
{
        GByteArray *out = g_byte_array_new();

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                const Key *k = &keys[i];

                if (is_left_out(k, d))
                        continue;
                if (k->type == 's') {
                        put(out, k->name, *(char **) field(d, k));
                } else if (k->type == 'n') {
                        put_number(out, k, d);
                } else if (k->type == 'b') {
                        put(out, k->name, *(bool *) field(d, k) ? "yes" : "no");
                } else {
                        const GPtrArray *a = *(GPtrArray **) field(d, k);

                        for (guint j = 0; j < a->len; j++)
                                put(out, k->name, a->pdata[j]);
                }
        }
        for (guint i = 0; i < d->files->len; i++) {
                const JobShippedFile *f = d->files->pdata[i];
                g_autofree char *text = g_strdup_printf("%" PRIu64 "%c%s/%s", f->size_bytes,
                                                        f->executable ? 'x' : '-', f->name,
                                                        f->digest ? f->digest : "");

                put(out, "File", text);
        }
        for (guint i = 0; i < d->bounds->len; i++)
                put_bound(out, d->bounds->pdata[i]);
        if (d->planned_slots > 0)
                put_u64(out, "PlannedSlots", d->planned_slots);
        if (d->cuts > 0)
                put_u64(out, "Cuts", d->cuts);
        return out;
}

static int get_file(JobDesc *d, const char *value)
{
        g_autofree char *name = NULL;
        JobShippedFile *f;
        char *end = NULL;
        const char *slash;
        uint64_t size;
        int r;

        size = g_ascii_strtoull(value, &end, 10);
        if (end == value || (*end != 'x' && *end != '-'))
                return -EBADMSG;
        slash = strchr(end, '/'); /* no name has one */
        if (!slash)
                return -EBADMSG;
        name = g_strndup(end + 1, (gsize) (slash - end - 1));
        r = job_desc_add_file(d, name, NULL);
        if (r < 0)
                return -EBADMSG;
        f = d->files->pdata[d->files->len - 1];
        f->size_bytes = size;
        f->executable = *end == 'x';
        f->digest = g_strdup(slash + 1);
        return 0;
}

static int get_bound(JobDesc *d, const char *hex)
{
        size_t size = strlen(hex) / 2;
        g_autofree uint8_t *data = g_malloc(size + 1);

        for (size_t i = 0; i < size; i++) {
                int high = g_ascii_xdigit_value(hex[2 * i]),
                    low = g_ascii_xdigit_value(hex[2 * i + 1]);

                if (high < 0 || low < 0)
                        return -EBADMSG;
                data[i] = (uint8_t) (high << 4 | low);
        }
        g_ptr_array_add(d->bounds, g_bytes_new(data, size));
        return 0;
}

static int get(JobDesc *d, const char *key, const char *value)
{
        uint64_t number;
        char type;
        int r;

        if (g_str_equal(key, "File"))
                return get_file(d, value);
        if (g_str_equal(key, "Bound"))
                return get_bound(d, value);
        if (g_str_equal(key, "PlannedSlots"))
                return parse_u32_range(value, 1, UINT32_MAX, &d->planned_slots);
        if (g_str_equal(key, "Cuts"))
                return parse_u64(value, &d->cuts);
        r = job_desc_type(key, &type, NULL);
        if (r < 0)
                return r;
        if (type == 's')
                return job_desc_set_string(d, key, value, NULL);
        if (type == 'a')
                return job_desc_add_string(d, key, value, NULL);
        if (type == 'b')
                return job_desc_set_boolean(d, key, parse_boolean(value) > 0, NULL);
        r = parse_u64(value, &number);
        return r < 0 ? r : job_desc_set_number(d, key, number, NULL);
}

int job_desc_deserialize(const void *data, size_t size_bytes, JobDesc **ret)
{
        _cleanup_(job_desc_freep) JobDesc *d = job_desc_new();
        const char *p = data, *end = p + size_bytes;
        SortField sort[SORT_FIELDS_MAX];

        if (size_bytes == 0 || end[-1] != '\0')
                return -EBADMSG;
        while (p < end) {
                const char *equals = strchr(p, '=');
                g_autofree char *key = NULL;

                if (!equals)
                        return -EBADMSG;
                key = g_strndup(p, (gsize) (equals - p));
                if (get(d, key, equals + 1) < 0)
                        return -EBADMSG;
                p += strlen(p) + 1;
        }
        if (sort_fields_parse(d->sort_key_fields, UINT32_MAX, sort, NULL) < 0)
                return -EBADMSG;
        *ret = TAKE_PTR(d);
        return 0;
}
