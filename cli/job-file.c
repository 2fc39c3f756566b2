/*
 * Job files — see job-file.h.
 */
#include <inttypes.h>

#include "apps/catalog.h"
#include "base/parse.h"
#include "cli/job-file.h"
#include "platform/conf.h"

struct JobFile {
        char *directory; /* of the file */
        char *name, *output, *app, *mapper, *combiner, *reducer, *reducer_app, *reuse,
                *intermediate;
        char *backups, *ignore_exit_status, *priority;
        char *map_separator, *reduce_separator, *sort_key_fields;
        char *intermediate_compression, *output_compression, *input_format;
        GPtrArray *inputs, *args, *env, *ship, *archives; /* of char *; NULL: none was given */
        uint32_t reduces, max_attempts;
        uint32_t skip_bad_records, task_timeout_sec;
        uint32_t map_key_fields, partition_key_fields;
        uint64_t split_size_bytes, memory_limit_bytes;
        bool has_task_timeout, has_reduces, has_skip_bad_records;
};

JobFile *job_file_free(JobFile *f)
{
        if (!f)
                return NULL;
        g_free(f->directory);
        g_free(f->name);
        g_free(f->output);
        g_free(f->app);
        g_free(f->mapper);
        g_free(f->combiner);
        g_free(f->reducer);
        g_free(f->reducer_app);
        g_free(f->reuse);
        g_free(f->intermediate);
        g_free(f->backups);
        g_free(f->ignore_exit_status);
        g_free(f->priority);
        g_free(f->map_separator);
        g_free(f->intermediate_compression);
        g_free(f->output_compression);
        g_free(f->input_format);
        g_free(f->reduce_separator);
        g_free(f->sort_key_fields);
        g_clear_pointer(&f->inputs, g_ptr_array_unref);
        g_clear_pointer(&f->args, g_ptr_array_unref);
        g_clear_pointer(&f->env, g_ptr_array_unref);
        g_clear_pointer(&f->ship, g_ptr_array_unref);
        g_clear_pointer(&f->archives, g_ptr_array_unref);
        g_free(f);
        return NULL;
}

static int parse_range(const char *value, uint32_t min, uint32_t max, void *target, Error *e)
{
        if (parse_u32_range(value, min, max, target) < 0)
                return error_setf(e, EINVAL, "not a number from %u to %u: %s", min, max, value);
        return 0;
}

static int parse_yes_or_no(const char *value, void *target, Error *e)
{
        if (parse_boolean(value) < 0)
                return error_setf(e, EINVAL, "not yes or no: %s", value);
        return conf_parse_string(value, target, e);
}

/* The records of a built-in's map are for its own reduce: they are no lines. */
static int parse_map_app(const char *value, void *target, Error *e)
{
        return error_setf(e, EINVAL,
                          "for a whole job, in [Job]: a built-in's map makes records for its own "
                          "reduce, which are no lines for a command");
}

static int parse_combine_app(const char *value, void *target, Error *e)
{
        return error_setf(e, EINVAL,
                          "not needed: App= in [Reduce] combines in the maps already, and a "
                          "command's reduce has a command's combiner");
}

static int parse_reduce_app(const char *value, void *target, Error *e)
{
        if (*value && !catalog_find_reducer(value)) {
                g_autofree char *names = catalog_reducer_names();

                return error_setf(e, EINVAL,
                                  "none of %s, which reduce what a command's map writes: %s", names,
                                  value);
        }
        return conf_parse_string(value, target, e);
}

static int parse_tasks(const char *value, void *target, Error *e)
{
        JobFile *f = target;

        f->has_reduces = true;
        return parse_range(value, REDUCES_MIN, REDUCES_MAX, &f->reduces, e);
}

static int parse_key_fields(const char *value, void *target, Error *e)
{
        return parse_range(value, 1, KEY_FIELDS_MAX, target, e);
}

static int parse_attempts(const char *value, void *target, Error *e)
{
        return parse_range(value, ATTEMPTS_MIN, ATTEMPTS_MAX, target, e);
}

static int parse_split_size(const char *value, void *target, Error *e)
{
        if (job_parse_split_size(value, target) < 0)
                return error_setf(e, EINVAL, "not a size from 4K to 1T, such as 32M: %s", value);
        return 0;
}

static int parse_skip(const char *value, void *target, Error *e)
{
        JobFile *f = target;

        f->has_skip_bad_records = true;
        return parse_range(value, 0, SKIP_RECORDS_MAX, &f->skip_bad_records, e);
}

static int parse_timeout(const char *value, void *target, Error *e)
{
        JobFile *f = target;

        if (job_parse_task_timeout(value, &f->task_timeout_sec) < 0)
                return error_setf(e, EINVAL, "not a time span up to 30d, such as 10min: %s", value);
        f->has_task_timeout = true;
        return 0;
}

static int parse_memory_limit(const char *value, void *target, Error *e)
{
        if (job_parse_memory_limit(value, target) < 0)
                return error_setf(e, EINVAL, "not a size from 1M to 1T, such as 512M: %s", value);
        return 0;
}

static int parse_reuse(const char *value, void *target, Error *e)
{
        if (!g_str_equal(value, "auto") && !g_str_equal(value, "yes") && !g_str_equal(value, "no"))
                return error_setf(e, EINVAL, "neither yes nor no, nor auto: %s", value);
        return conf_parse_string(value, target, e);
}

static int parse_intermediate(const char *value, void *target, Error *e)
{
        if (!g_str_equal(value, "local") && !g_str_has_prefix(value, "stable:/"))
                return error_setf(e, EINVAL,
                                  "neither local, nor stable: and the absolute path of a directory "
                                  "that all hosts share: %s",
                                  value);
        return conf_parse_string(value, target, e);
}

static int parse_variable(const char *value, void *target, Error *e)
{
        const char *equals = strchr(value, '=');

        if (*value && (!equals || equals == value))
                return error_setf(e, EINVAL, "not NAME=VALUE: %s", value);
        return conf_parse_strv(value, target, e);
}

/* "a/b" below @directory; an absolute path as it is. */
static char *resolve(const char *directory, const char *path)
{
        if (path[0] == '/' || g_str_equal(directory, "."))
                return g_strdup(path);
        return g_strconcat(directory, "/", path, NULL);
}

/* The same for an input or output, which may begin with file:; one with another scheme as it is. */
static char *resolve_uri(const char *directory, const char *path)
{
        g_autofree char *resolved = NULL;

        if (!g_str_has_prefix(path, "file:"))
                return path_is_uri(path) ? g_strdup(path) : resolve(directory, path);
        resolved = resolve(directory, path + strlen("file:"));
        return g_strconcat("file:", resolved, NULL);
}

typedef char *Resolve(const char *directory, const char *path);

static void resolve_one(const JobFile *f, char **path, Resolve *as)
{
        char *resolved = *path && **path ? as(f->directory, *path) : NULL;

        if (!resolved)
                return;
        g_free(*path);
        *path = resolved;
}

static void resolve_list(const JobFile *f, GPtrArray *paths, Resolve *as)
{
        for (guint i = 0; paths && i < paths->len; i++)
                resolve_one(f, (char **) &paths->pdata[i], as);
}

/* But for commands: of these a word may be no path. */
static void resolve_paths(JobFile *f)
{
        resolve_list(f, f->inputs, resolve_uri);
        resolve_one(f, &f->output, resolve_uri);
        resolve_list(f, f->ship, resolve);
        resolve_list(f, f->archives, resolve);
        if (f->app && app_is_file(f->app))
                resolve_one(f, &f->app, resolve);
}

static void add_all(GPtrArray *to, GPtrArray *from)
{
        for (guint i = 0; from && i < from->len; i++)
                g_ptr_array_insert(to, (gint) i, from->pdata[i]); /* before those given here */
}

/* A command of the file, with the directory from which its path is meant. */
static void fill_command(const char **command, const char **directory, const char *in_file,
                         const JobFile *f)
{
        if (*command || !in_file || !*in_file)
                return;
        *command = in_file;
        *directory = f->directory;
}

/* Was it said here that there is no reduce? */
static bool is_map_only(const JobArguments *a)
{
        return (a->has_reduces && a->reduces == 0) ||
               (a->reducer && g_ascii_strcasecmp(a->reducer, "none") == 0);
}

/* What an app given here replaces, too: it reduces by itself, and in no order. */
static void fill_reduce(JobArguments *a, const JobFile *f)
{
        fill_command(&a->combiner, &a->combiner_directory, f->combiner, f);
        if (!a->reducer) {
                fill_command(&a->reducer, &a->reducer_directory, f->reducer, f);
                a->reducer_app = f->reducer_app;
        }
        a->reduce_separator = a->reduce_separator ? a->reduce_separator : f->reduce_separator;
        a->sort_key_fields = a->sort_key_fields ? a->sort_key_fields : f->sort_key_fields;
}

static void fill_program(JobArguments *a, JobFile *f)
{
        a->app = f->app && *f->app ? f->app : NULL;
        fill_command(&a->mapper, &a->mapper_directory, f->mapper, f);
        if (!a->reducer_app && !is_map_only(a))
                fill_reduce(a, f);
        a->map_separator = a->map_separator ? a->map_separator : f->map_separator;
        a->map_key_fields = a->map_key_fields ? a->map_key_fields : f->map_key_fields;
        a->partition_key_fields =
                a->partition_key_fields ? a->partition_key_fields : f->partition_key_fields;
        if (f->args && !(a->app_args && a->app_args[0])) {
                g_ptr_array_add(f->args, NULL);
                a->app_args = (char **) f->args->pdata;
        }
}

static void fill(JobArguments *a, JobFile *f)
{
        a->name = a->name ? a->name : f->name;
        if (!a->output && f->output && *f->output)
                a->output = f->output;
        if (!a->ignore_exit_status && !a->app) /* of commands */
                a->ignore_exit_status = f->ignore_exit_status;
        if (!a->app && !a->mapper) /* another program replaces the file's whole one */
                fill_program(a, f);
        if (!a->has_reduces) {
                a->has_reduces = f->has_reduces;
                a->reduces = f->reduces;
        }
        a->max_attempts = a->max_attempts ? a->max_attempts : f->max_attempts;
        a->split_size_bytes = a->split_size_bytes ? a->split_size_bytes : f->split_size_bytes;
        if (!a->has_skip_bad_records) {
                a->has_skip_bad_records = f->has_skip_bad_records;
                a->skip_bad_records = f->skip_bad_records;
        }
        if (!a->has_task_timeout) {
                a->has_task_timeout = f->has_task_timeout;
                a->task_timeout_sec = f->task_timeout_sec;
        }
        a->reuse = a->reuse ? a->reuse : f->reuse;
        a->intermediate = a->intermediate ? a->intermediate : f->intermediate;
        a->backups = a->backups ? a->backups : f->backups;
        a->priority = a->priority ? a->priority : f->priority;
        a->intermediate_compression = a->intermediate_compression ? a->intermediate_compression
                                                                  : f->intermediate_compression;
        a->output_compression =
                a->output_compression ? a->output_compression : f->output_compression;
        a->input_format = a->input_format ? a->input_format : f->input_format;
        if (a->memory_limit_bytes == 0)
                a->memory_limit_bytes = f->memory_limit_bytes;
        add_all(a->inputs, f->inputs);
        add_all(a->files, f->ship);
        add_all(a->archives, f->archives);
        add_all(a->env, f->env);
}

int job_file_read(const char *path, JobArguments *a, JobFile **ret, Error *e)
{
        _cleanup_(job_file_freep) JobFile *f = g_new0(JobFile, 1);
        g_autoptr(GPtrArray) unknown = g_ptr_array_new_with_free_func(g_free);
        const ConfItem items[] = {
                {"Job", "Name", conf_parse_string, &f->name},
                {"Job", "Input", conf_parse_strv, &f->inputs},
                {"Job", "Output", conf_parse_string, &f->output},
                {"Job", "App", conf_parse_string, &f->app},
                {"Job", "Args", conf_parse_strv, &f->args},
                {"Job", "Environment", parse_variable, &f->env},
                {"Job", "Ship", conf_parse_strv, &f->ship},
                {"Job", "Archive", conf_parse_strv, &f->archives},
                {"Job", "SplitSize", parse_split_size, &f->split_size_bytes},
                {"Job", "MaxAttempts", parse_attempts, &f->max_attempts},
                {"Job", "SkipBadRecords", parse_skip, f},
                {"Job", "TaskTimeout", parse_timeout, f},
                {"Job", "MemoryLimit", parse_memory_limit, &f->memory_limit_bytes},
                {"Job", "Reuse", parse_reuse, &f->reuse},
                {"Job", "Intermediate", parse_intermediate, &f->intermediate},
                {"Job", "IntermediateCompression", conf_parse_string, &f->intermediate_compression},
                {"Job", "OutputCompression", conf_parse_string, &f->output_compression},
                {"Job", "InputFormat", conf_parse_string, &f->input_format},
                {"Job", "IgnoreExitStatus", parse_yes_or_no, &f->ignore_exit_status},
                {"Job", "Backups", parse_yes_or_no, &f->backups},
                {"Job", "Priority", conf_parse_string, &f->priority},
                {"Map", "Exec", conf_parse_string, &f->mapper},
                {"Map", "App", parse_map_app, f},
                {"Map", "FieldSeparator", conf_parse_string, &f->map_separator},
                {"Map", "KeyFields", parse_key_fields, &f->map_key_fields},
                {"Map", "PartitionKeyFields", parse_key_fields, &f->partition_key_fields},
                {"Map", "SortKeyFields", conf_parse_string, &f->sort_key_fields},
                {"Map", "Ship", conf_parse_strv, &f->ship},
                {"Combine", "Exec", conf_parse_string, &f->combiner},
                {"Combine", "App", parse_combine_app, f},
                {"Combine", "Ship", conf_parse_strv, &f->ship},
                {"Reduce", "Exec", conf_parse_string, &f->reducer},
                {"Reduce", "App", parse_reduce_app, &f->reducer_app},
                {"Reduce", "Ship", conf_parse_strv, &f->ship},
                {"Reduce", "FieldSeparator", conf_parse_string, &f->reduce_separator},
                {"Reduce", "Tasks", parse_tasks, f},
                {},
        };
        int r;

        r = conf_read_file(path, items, unknown, e);
        if (r < 0)
                return r;
        if (unknown->len > 0) {
                char *text = unknown->pdata[0];

                if (g_str_has_suffix(text, ", ignoring"))
                        text[strlen(text) - strlen(", ignoring")] = '\0';
                return error_setf(e, EINVAL, "%s (see mapreduced.job(5))", text);
        }
        f->directory = g_path_get_dirname(path);
        resolve_paths(f);
        fill(a, f);
        *ret = TAKE_PTR(f);
        return 0;
}

/* Of a name that only looks like a job file's. */
static int read_operand(const char *path, JobArguments *a, JobFile **ret, Error *e)
{
        _cleanup_error_ Error own = {};
        int r;

        r = job_file_read(path, a, ret, &own);
        if (r < 0 && own.message && g_str_has_suffix(own.message, CONF_NO_SETTING))
                return error_setf(e, r, "%s; if it is data, say --input %s", own.message, path);
        return r < 0 ? error_setf(e, r, "%s", error_message(&own, r)) : 0;
}

int job_file_take(JobArguments *a, JobFile **ret, Error *e)
{
        g_autofree char *path = NULL;

        for (guint i = a->input_options; i < a->inputs->len;) {
                const char *input = a->inputs->pdata[i];

                if (!g_str_has_suffix(input, JOB_FILE_SUFFIX)) {
                        i++;
                        continue;
                }
                if (path)
                        return error_setf(e, EINVAL,
                                          "two job files, %s and %s: run one after the "
                                          "other",
                                          path, input);
                path = g_strdup(input);
                g_ptr_array_remove_index(a->inputs, i);
        }
        return path ? read_operand(path, a, ret, e) : 0;
}

/* ---- Writing ---- */

typedef struct Writer {
        GString *text;
        Error *error;
        int result;
} Writer;

static bool loses_an_end(const char *value, size_t n)
{
        return g_ascii_isspace(value[0]) || g_ascii_isspace(value[n - 1]) || value[n - 1] == '\\';
}

/* A line of the file can hold anything but what would end it or vanish at its ends. */
static void put(Writer *w, const char *key, const char *value)
{
        size_t n = value ? strlen(value) : 0;

        if (n == 0 || w->result < 0)
                return;
        if (strchr(value, '\n'))
                w->result =
                        error_setf(w->error, EINVAL,
                                   "%s= holds a newline, which a job file cannot: put it into a "
                                   "script and ship that",
                                   key);
        else if (loses_an_end(value, n))
                w->result = error_setf(w->error, EINVAL,
                                       "%s= begins or ends with a blank, or ends with a backslash, "
                                       "which a job file cannot say",
                                       key);
        else
                g_string_append_printf(w->text, "%s=%s\n", key, value);
}

/* A separator may be said with escapes, and so with any bytes at its ends. */
static void put_separator(Writer *w, const char *value)
{
        size_t n = value ? strlen(value) : 0, size;
        g_autofree uint8_t *bytes = g_malloc(n + 1);
        g_autoptr(GString) text = g_string_new(NULL);

        if (n == 0 || !loses_an_end(value, n) || text_unescape(value, bytes, n, &size) < 0) {
                put(w, "FieldSeparator", value);
                return;
        }
        for (size_t i = 0; i < size; i++)
                g_string_append_printf(text, "\\x%02x", bytes[i]);
        put(w, "FieldSeparator", text->str);
}

static void put_number(Writer *w, const char *key, uint64_t value)
{
        g_autofree char *text = g_strdup_printf("%" PRIu64, value);

        if (value > 0)
                put(w, key, text);
}

static void put_shipped(Writer *w, const ShippedFile *f)
{
        g_autofree char *path = path_make_absolute(f->path), *name = g_path_get_basename(path);
        g_autofree char *renamed = g_strconcat(path, "#", f->name, NULL);

        put(w, "Ship", g_str_equal(name, f->name) ? path : renamed);
}

/* A built-in's name, or the path of a plugin. */
static void put_app(Writer *w, const char *app)
{
        g_autofree char *path = app && app_is_file(app) ? path_make_absolute(app) : NULL;

        put(w, "App", path ? path : app);
}

static void put_job(Writer *w, const JobRequest *q)
{
        const JobArguments *a = q->arguments;

        g_string_append(w->text, "[Job]\n");
        put(w, "Name", a->name);
        for (guint i = 0; i < q->inputs->len; i++)
                put(w, "Input", q->inputs->pdata[i]);
        put(w, "Output", q->output);
        put_app(w, a->app);
        for (char **arg = a->app_args; arg && *arg; arg++)
                put(w, "Args", *arg);
        for (guint i = 0; i < a->env->len; i++)
                put(w, "Environment", a->env->pdata[i]);
        for (guint i = 0; i < q->files->len; i++)
                put_shipped(w, &g_array_index(q->files, ShippedFile, i));
        for (guint i = 0; i < a->archives->len; i++) {
                g_autofree char *path = path_make_absolute(a->archives->pdata[i]);

                put(w, "Archive", path);
        }
        put_number(w, "SplitSize", a->split_size_bytes);
        put_number(w, "MaxAttempts", a->max_attempts);
        put_number(w, "SkipBadRecords", a->skip_bad_records);
        if (a->has_task_timeout) {
                g_autofree char *text = g_strdup_printf("%u", a->task_timeout_sec);

                put(w, "TaskTimeout", text);
        }
        put_number(w, "MemoryLimit", a->memory_limit_bytes);
        put(w, "Reuse", a->reuse);
        put(w, "Intermediate", a->intermediate);
        put(w, "IntermediateCompression", a->intermediate_compression);
        put(w, "OutputCompression", a->output_compression);
        put(w, "InputFormat", a->input_format);
        put(w, "IgnoreExitStatus", a->ignore_exit_status);
        put(w, "Backups", a->backups);
        put(w, "Priority", a->priority);
}

static bool put_header(Writer *w, const char *name, bool wanted)
{
        if (wanted)
                g_string_append_printf(w->text, "\n[%s]\n", name);
        return wanted;
}

static void put_commands(Writer *w, const JobRequest *q)
{
        const JobArguments *a = q->arguments;

        if (put_header(w, "Map",
                       q->mapper || a->map_separator || a->map_key_fields > 0 ||
                               a->partition_key_fields > 0 || a->sort_key_fields)) {
                put(w, "Exec", q->mapper);
                put_separator(w, a->map_separator);
                put_number(w, "KeyFields", a->map_key_fields);
                put_number(w, "PartitionKeyFields", a->partition_key_fields);
                put(w, "SortKeyFields", a->sort_key_fields);
        }
        if (put_header(w, "Combine", q->combiner))
                put(w, "Exec", q->combiner);
        if (put_header(w, "Reduce",
                       q->reducer || a->reducer_app || a->has_reduces || a->reduce_separator)) {
                put(w, "Exec", q->reducer);
                put(w, "App", a->reducer_app);
                put_separator(w, a->reduce_separator);
                if (a->has_reduces)
                        g_string_append_printf(w->text, "Tasks=%u\n", a->reduces);
        }
}

int job_file_print(const JobRequest *q, Error *e)
{
        g_autoptr(GString) text = g_string_new(NULL);
        Writer w = {.text = text, .error = e};

        put_job(&w, q);
        put_commands(&w, q);
        if (w.result < 0)
                return w.result;
        (void) fputs(text->str, stdout);
        return 0;
}
