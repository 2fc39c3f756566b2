/*
 * What is sent for run and submit — see job-request.h.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "apps/catalog.h"
#include "base/fs.h"
#include "base/parse.h"
#include "cli/job-request.h"

int job_arguments_check(const JobArguments *a, Error *e)
{
        bool app_args = a->app_args && a->app_args[0];

        if (a->inputs->len == 0)
                return error_setf(e, EINVAL, "no input: name a file, a directory or a glob");
        for (guint i = 0; i < a->inputs->len; i++) {
                const char *input = a->inputs->pdata[i];

                if (!*input)
                        return error_setf(e, EINVAL,
                                          "an input is empty: is a variable not set? ('.' is the "
                                          "working directory)");
                if (g_str_equal(input, "-"))
                        return error_setf(e, EINVAL,
                                          "standard input cannot be an input: put it into a file "
                                          "(one whose name is - is ./-)");
        }
        if ((a->app && !*a->app) || (a->mapper && !*a->mapper))
                return error_setf(e, EINVAL, "%s must not be empty", a->app ? "--app" : "--mapper");
        if (!a->app && !a->mapper && !a->combiner && !a->reducer && !a->reducer_app)
                return error_setf(e, EINVAL, "what shall run? Give --app or --mapper");
        if (a->app && (a->mapper || a->combiner || a->reducer || a->reducer_app))
                return error_setf(e, EINVAL,
                                  "--app cannot be combined with --mapper, --combiner, --reducer "
                                  "or --reducer-app");
        if (a->reducer_app && (a->combiner || a->reducer))
                return error_setf(e, EINVAL,
                                  "--reducer-app cannot be combined with --combiner or --reducer");
        if (a->reducer_app && !catalog_find_reducer(a->reducer_app)) {
                g_autofree char *names = catalog_reducer_names();

                return error_setf(e, EINVAL,
                                  "--reducer-app=%s: apps that reduce what a command's map writes "
                                  "are %s",
                                  a->reducer_app, names);
        }
        if (a->skip_bad_records > 0 && a->max_attempts == 1)
                return error_setf(e, EINVAL,
                                  "--skip-bad-records needs --max-attempts of 2 or more: a task "
                                  "looks for such records when it has failed once");
        if (app_args && !a->app)
                return error_setf(e, EINVAL,
                                  "arguments behind -- are for --app; a command's own "
                                  "belong into its quotes");
        if (a->output && !*a->output)
                return error_setf(e, EINVAL, "--output must be a directory, not ''");
        return 0;
}

/* $PWD if it is where we are: it keeps the links by which the user came here. */
static char *working_directory(void)
{
        const char *pwd = getenv("PWD");
        struct stat a, b;

        if (pwd && pwd[0] == '/' && stat(pwd, &a) >= 0 && stat(".", &b) >= 0 &&
            a.st_dev == b.st_dev && a.st_ino == b.st_ino)
                return g_strdup(pwd);
        return g_get_current_dir();
}

/* "a/.." as the kernel has it, where a link's parent is its target's; what is not there loses its
 * name. */
static void go_up(GString *path)
{
        _cleanup_free_ char *real = realpath(path->len > 0 ? path->str : "/", NULL);
        const char *slash;

        if (real)
                g_string_assign(path, real);
        slash = strrchr(path->str, '/');
        g_string_truncate(path, slash ? (gsize) (slash - path->str) : 0);
}

char *path_make_absolute(const char *path)
{
        g_autofree char *here = path[0] == '/' ? NULL : working_directory();
        g_autofree char *whole = here ? g_build_path("/", here, path, NULL) : g_strdup(path);
        g_auto(GStrv) names = g_strsplit(whole, "/", -1);
        GString *result = g_string_new(NULL);

        for (char **name = names; *name; name++) {
                if (g_str_equal(*name, ".."))
                        go_up(result);
                else if (**name && !g_str_equal(*name, "."))
                        g_string_append_printf(result, "/%s", *name);
        }
        if (result->len == 0)
                g_string_append_c(result, '/');
        return g_string_free(result, FALSE);
}

bool path_is_uri(const char *s)
{
        size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789+.-");

        return n >= 2 && g_ascii_islower(s[0]) && s[n] == ':';
}

static int add_input(JobRequest *q, const char *input, Error *e)
{
        g_autofree char *path = NULL;

        if (g_str_has_prefix(input, "file:")) {
                path = path_make_absolute(input + strlen("file:"));
                g_ptr_array_add(q->inputs, g_strconcat("file:", path, NULL));
                return 0;
        }
        if (path_is_uri(input) && access(input, F_OK) >= 0)
                return error_setf(e, EINVAL, "%s looks like a URI: the file here is ./%s", input,
                                  input);
        g_ptr_array_add(q->inputs,
                        path_is_uri(input) ? g_strdup(input) : path_make_absolute(input));
        return 0;
}

static int output_make_absolute(const char *output, char **ret, Error *e)
{
        if (g_str_has_prefix(output, "file:"))
                output += strlen("file:");
        else if (path_is_uri(output))
                return error_setf(e, EINVAL,
                                  "cannot write to %s: an output is PATH or file:PATH, and a "
                                  "directory of that name is ./%s",
                                  output, output);
        *ret = path_make_absolute(output);
        return 0;
}

static void shipped_clear(void *p)
{
        ShippedFile *f = p;

        g_free(f->name);
        g_free(f->path);
        safe_close(f->fd);
}

static bool same_file(int a, int b)
{
        struct stat x, y;

        return fstat(a, &x) >= 0 && fstat(b, &y) >= 0 && x.st_dev == y.st_dev &&
               x.st_ino == y.st_ino;
}

/* @as: its name there; NULL: the one it has. */
static int ship(JobRequest *q, const char *path, const char *as, Error *e)
{
        g_autofree char *name = as ? g_strdup(as) : g_path_get_basename(path);
        _cleanup_close_ int fd = -EBADF;
        ShippedFile new;
        struct stat st;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_setf(e, errno, "cannot ship %s: %s", path, error_text(errno));
        if (!S_ISREG(st.st_mode))
                return error_setf(e, EINVAL, "cannot ship %s: not a regular file", path);
        for (guint i = 0; i < q->files->len; i++) {
                const ShippedFile *f = &g_array_index(q->files, ShippedFile, i);

                if (!g_str_equal(f->name, name))
                        continue;
                if (same_file(f->fd, fd))
                        return 0;
                return error_setf(e, EEXIST, "cannot ship both %s and %s: both would be called %s",
                                  f->path, path, name);
        }
        if (q->files->len >= SHIPPED_MAX)
                return error_setf(e, E2BIG,
                                  "a job ships at most %d files; pack them into an archive",
                                  SHIPPED_MAX);
        new = (ShippedFile){.name = TAKE_PTR(name), .path = g_strdup(path), .fd = TAKE_FD(fd)};
        g_array_append_val(q->files, new);
        return 0;
}

/* "dir/FILE#NAME": the file is called so there. A file whose own name is all of that is meant
 * itself. */
static int ship_file(JobRequest *q, const char *file, Error *e)
{
        const char *mark = strrchr(file, '#');
        g_autofree char *path = NULL;

        if (!mark || access(file, F_OK) >= 0)
                return ship(q, file, NULL, e);
        if (!mark[1] || strchr(mark, '/') || g_str_equal(mark + 1, ".") ||
            g_str_equal(mark + 1, ".."))
                return error_setf(e, EINVAL,
                                  "cannot ship %s: not a plain name behind the #, and there is no "
                                  "file of that name",
                                  file);
        path = g_strndup(file, (gsize) (mark - file));
        return ship(q, path, mark + 1, e);
}

/* "dir/FILE#DIRECTORY": the file is shipped, and unpacked there. A name with a # needs another one
 * behind it, for what is behind the last is a directory to the master, too. */
static int ship_archive(JobRequest *q, const char *archive, Error *e)
{
        const char *mark = strrchr(archive, '#');
        g_autofree char *path =
                mark ? g_strndup(archive, (gsize) (mark - archive)) : g_strdup(archive);
        g_autofree char *name = g_path_get_basename(path);
        int r;

        if (mark && access(path, F_OK) < 0 && access(archive, F_OK) >= 0)
                return error_setf(e, EINVAL,
                                  "cannot ship %s: what is behind the last # is the directory it "
                                  "is unpacked in; add one, %s#DIRECTORY",
                                  archive, archive);
        r = ship(q, path, NULL, e);
        if (r >= 0)
                g_ptr_array_add(q->archives, g_strconcat(name, mark, NULL));
        return r;
}

/* Is it a program that is installed, rather than one of the user's files? */
static bool is_system_program(const char *path)
{
        static const char *const trees[] = {"/usr/", "/bin/", "/sbin/", "/lib/", "/opt/"};

        for (size_t i = 0; i < ELEMENTSOF(trees); i++)
                if (g_str_has_prefix(path, trees[i]))
                        return !g_str_has_prefix(path, "/usr/local/");
        return false;
}

/*
 * @directory: from where its path is meant; NULL: from here
 * @ret: the command as it is sent; NULL for NULL
 */
static int ship_command(JobRequest *q, const char *command, const char *directory, char **ret,
                        Error *e)
{
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                    "./_-+,:@%=";
        g_autofree char *word = NULL, *name = NULL, *path = NULL;
        const char *start, *rest;
        struct stat st;
        int r;

        if (!command)
                return 0;
        start = command + strspn(command, " \t");
        rest = start + strspn(start, plain);
        word = g_strndup(start, (gsize) (rest - start));
        path = word[0] == '/' || !directory || g_str_equal(directory, ".")
                       ? g_strdup(word)
                       : g_build_filename(directory, word, NULL);
        /* A word with quotes, $ or the like is the shell's to read. */
        if ((*rest && !strchr(" \t\n;|&<>", *rest)) || !strchr(word, '/') ||
            is_system_program(word) || stat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
                *ret = g_strdup(command);
                return 0;
        }
        r = ship(q, path, NULL, e);
        if (r < 0)
                return r;
        if (access(path, X_OK) < 0)
                return error_setf(e, EACCES,
                                  "%s is not executable (chmod +x, or put its "
                                  "interpreter before it and add --file)",
                                  word);
        name = g_path_get_basename(word);
        *ret = g_strconcat("./", name, rest, NULL);
        return 0;
}

bool app_is_file(const char *app)
{
        return g_str_has_suffix(app, ".so");
}

static int ship_plugin(JobRequest *q, const char *app, Error *e)
{
        int r;

        if (!app_is_file(app)) {
                q->app = g_strdup(app);
                return 0;
        }
        r = ship(q, app, NULL, e);
        if (r >= 0)
                q->app = g_path_get_basename(app);
        return r;
}

static int check_text(const char *what, const char *s, Error *e)
{
        g_autofree char *shown = NULL;

        if (!s || g_utf8_validate(s, -1, NULL))
                return 0;
        shown = text_escape(s, strlen(s), 200);
        return error_setf(e, EILSEQ, "%s is not UTF-8 and cannot be sent over the bus: %s", what,
                          shown);
}

/* A separator may be any bytes, but some have to be written as the master reads them. */
static int check_separator(const char *what, const char *s, Error *e)
{
        g_autofree char *escaped = NULL;

        if (!s || g_utf8_validate(s, -1, NULL))
                return 0;
        escaped = text_escape(s, strlen(s), 200);
        return error_setf(e, EILSEQ,
                          "%s is not UTF-8 and cannot be sent over the bus as it is: write such a "
                          "byte as \\xNN, here '%s'",
                          what, escaped);
}

static int check_texts(const JobRequest *q, Error *e)
{
        const JobArguments *a = q->arguments;
        const struct {
                const char *what, *text;
        } single[] = {{"--output", q->output},
                      {"--mapper", q->mapper},
                      {"--reducer", q->reducer},
                      {"--combiner", q->combiner},
                      {"--name", a->name},
                      {"--app", a->app},
                      {"--reducer-app", a->reducer_app},
                      {"--reuse", a->reuse},
                      {"--intermediate", a->intermediate},
                      {"--priority", a->priority},
                      {"--intermediate-compression", a->intermediate_compression},
                      {"--output-compression", a->output_compression},
                      {"--input-format", a->input_format},
                      {"--sort-key-fields", a->sort_key_fields}};
        int r;

        r = check_separator("--map-field-separator", a->map_separator, e);
        if (r >= 0)
                r = check_separator("--reduce-field-separator", a->reduce_separator, e);
        for (size_t i = 0; i < ELEMENTSOF(single) && r >= 0; i++)
                r = check_text(single[i].what, single[i].text, e);
        for (guint i = 0; i < q->inputs->len && r >= 0; i++)
                r = check_text("the input", q->inputs->pdata[i], e);
        for (guint i = 0; i < a->env->len && r >= 0; i++)
                r = check_text("--env", a->env->pdata[i], e);
        for (guint i = 0; i < q->archives->len && r >= 0; i++)
                r = check_text("--archive", q->archives->pdata[i], e);
        for (guint i = 0; i < q->files->len && r >= 0; i++)
                r = check_text("--file", g_array_index(q->files, ShippedFile, i).name, e);
        for (char **s = a->app_args; s && *s && r >= 0; s++)
                r = check_text("an argument", *s, e);
        return r;
}

/* Relative paths mean nothing in a directory that was deleted, least of all paths below "/". */
static int check_working_directory(const JobArguments *a, Error *e)
{
        _cleanup_free_ char *here = realpath(".", NULL);
        bool relative = a->output && a->output[0] != '/';
        int code = errno;

        for (guint i = 0; i < a->inputs->len; i++)
                relative = relative || *(const char *) a->inputs->pdata[i] != '/';
        if (here || !relative)
                return 0;
        return error_setf(e, code, "cannot tell the working directory: %s; use absolute paths",
                          error_text(code));
}

int job_request_init(JobRequest *q, const JobArguments *a, Error *e)
{
        int r;

        *q = (JobRequest){.arguments = a};
        id128_make(q->request_id);
        q->inputs = g_ptr_array_new_with_free_func(g_free);
        q->archives = g_ptr_array_new_with_free_func(g_free);
        q->files = g_array_new(FALSE, FALSE, sizeof(ShippedFile));
        g_array_set_clear_func(q->files, shipped_clear);

        r = check_working_directory(a, e);
        if (r < 0)
                return r;
        for (guint i = 0; i < a->inputs->len && r >= 0; i++)
                r = add_input(q, a->inputs->pdata[i], e);
        if (r >= 0 && a->output)
                r = output_make_absolute(a->output, &q->output, e);
        for (guint i = 0; i < a->files->len && r >= 0; i++)
                r = ship_file(q, a->files->pdata[i], e);
        for (guint i = 0; i < a->archives->len && r >= 0; i++)
                r = ship_archive(q, a->archives->pdata[i], e);
        if (r >= 0 && a->app)
                r = ship_plugin(q, a->app, e);
        if (r >= 0)
                r = ship_command(q, a->mapper, a->mapper_directory, &q->mapper, e);
        if (r >= 0)
                r = ship_command(q, a->combiner, a->combiner_directory, &q->combiner, e);
        if (r >= 0)
                r = ship_command(q, a->reducer, a->reducer_directory, &q->reducer, e);
        return r < 0 ? r : check_texts(q, e);
}

/* As the command says it: a shipped file lies in its directory, whatever path it has here. */
static bool is_shipped(const JobRequest *q, const char *word)
{
        if (g_str_has_prefix(word, "./"))
                word += 2;
        for (guint i = 0; i < q->files->len; i++)
                if (g_str_equal(g_array_index(q->files, ShippedFile, i).name, word))
                        return true;
        return false;
}

/* A pattern is seldom a name with a dot or a slash, a script or a table is. */
static char *find_unshipped(const JobRequest *q, const char *command)
{
        g_auto(GStrv) words = g_strsplit_set(command ? command : "", " \t\n;|&<>'\"", -1);
        struct stat st;

        for (char **word = words; *word; word++)
                if (word > words && **word != '/' && **word != '-' && strpbrk(*word, "./") &&
                    stat(*word, &st) >= 0 && S_ISREG(st.st_mode) && !is_shipped(q, *word))
                        return g_strdup(*word);
        return NULL;
}

char *job_request_find_unshipped(const JobRequest *q)
{
        const char *const commands[] = {q->mapper, q->combiner, q->reducer};
        char *found = NULL;

        for (size_t i = 0; i < ELEMENTSOF(commands) && !found; i++)
                found = find_unshipped(q, commands[i]);
        return found;
}

void job_request_done(JobRequest *q)
{
        g_clear_pointer(&q->inputs, g_ptr_array_unref);
        g_clear_pointer(&q->archives, g_ptr_array_unref);
        g_clear_pointer(&q->files, g_array_unref);
        g_free(q->output);
        g_free(q->app);
        g_free(q->mapper);
        g_free(q->combiner);
        g_free(q->reducer);
        *q = (JobRequest){};
}

static int append_string(sd_bus_message *m, const char *key, const char *value)
{
        return value ? sd_bus_message_append(m, "{sv}", key, "s", value) : 0;
}

static int append_strings(sd_bus_message *m, const char *key, char *const *values, size_t count)
{
        int r;

        if (count == 0)
                return 0;
        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", key);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "s");
        for (size_t i = 0; i < count && r >= 0; i++)
                r = sd_bus_message_append(m, "s", values[i]);
        for (int i = 0; i < 3 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

static int append_description(const JobRequest *q, sd_bus_message *m)
{
        const JobArguments *a = q->arguments;
        const struct {
                const char *key, *value;
        } texts[] = {{"RequestId", q->request_id},
                     {"Name", a->name},
                     {"Output", q->output},
                     {"App", q->app},
                     {"Mapper", q->mapper},
                     {"Combiner", q->combiner},
                     {"Reducer", q->reducer},
                     {"ReducerApp", a->reducer_app},
                     {"Reuse", a->reuse},
                     {"Intermediate", a->intermediate},
                     {"Priority", a->priority},
                     {"IntermediateCompression", a->intermediate_compression},
                     {"OutputCompression", a->output_compression},
                     {"InputFormat", a->input_format},
                     {"MapFieldSeparator", a->map_separator},
                     {"SortKeyFields", a->sort_key_fields},
                     {"ReduceFieldSeparator", a->reduce_separator}};
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(texts) && r >= 0; i++)
                r = append_string(m, texts[i].key, texts[i].value);
        if (r >= 0)
                r = append_strings(m, "Input", (char **) q->inputs->pdata, q->inputs->len);
        if (r >= 0 && a->app_args)
                r = append_strings(m, "Args", a->app_args, g_strv_length(a->app_args));
        if (r >= 0)
                r = append_strings(m, "Env", (char **) a->env->pdata, a->env->len);
        if (r >= 0)
                r = append_strings(m, "Archives", (char **) q->archives->pdata, q->archives->len);
        if (r >= 0 && a->has_reduces)
                r = sd_bus_message_append(m, "{sv}", "Reduces", "u", a->reduces);
        if (r >= 0 && a->map_key_fields > 0)
                r = sd_bus_message_append(m, "{sv}", "MapKeyFields", "u", a->map_key_fields);
        if (r >= 0 && a->partition_key_fields > 0)
                r = sd_bus_message_append(m, "{sv}", "PartitionKeyFields", "u",
                                          a->partition_key_fields);
        if (r >= 0 && a->max_attempts > 0)
                r = sd_bus_message_append(m, "{sv}", "MaxAttempts", "u", a->max_attempts);
        if (r >= 0 && a->skip_bad_records > 0)
                r = sd_bus_message_append(m, "{sv}", "SkipBadRecords", "u", a->skip_bad_records);
        if (r >= 0 && a->has_task_timeout)
                r = sd_bus_message_append(m, "{sv}", "TaskTimeout", "u", a->task_timeout_sec);
        if (r >= 0 && a->memory_limit_bytes > 0)
                r = sd_bus_message_append(m, "{sv}", "MemoryLimit", "t", a->memory_limit_bytes);
        if (r >= 0 && a->ignore_exit_status)
                r = sd_bus_message_append(m, "{sv}", "IgnoreExitStatus", "b",
                                          parse_boolean(a->ignore_exit_status));
        if (r >= 0 && a->backups)
                r = sd_bus_message_append(m, "{sv}", "Backups", "b", parse_boolean(a->backups));
        if (r >= 0 && a->split_size_bytes > 0)
                r = sd_bus_message_append(m, "{sv}", "SplitSize", "t", a->split_size_bytes);
        return r;
}

/* One after the other, so that a file that grows meanwhile is noticed and not sent in part. */
static int append_contents(const JobRequest *q, sd_bus_message *m, Error *e)
{
        uint64_t left_bytes = CONTENTS_MAX_BYTES;
        int r = 0;

        for (guint i = 0; i < q->files->len && r >= 0; i++) {
                const ShippedFile *f = &g_array_index(q->files, ShippedFile, i);
                struct stat st;
                void *space;

                if (fstat(f->fd, &st) < 0)
                        return error_setf(e, errno, "cannot read %s: %s", f->path,
                                          error_text(errno));
                if ((uint64_t) st.st_size > left_bytes)
                        return error_setf(e, EFBIG,
                                          "%s cannot be shipped over ssh: the files are more than "
                                          "%u MiB together; copy them there",
                                          f->path, (unsigned) (CONTENTS_MAX_BYTES / MIB(1)));
                left_bytes -= (uint64_t) st.st_size;
                r = sd_bus_message_open_container(m, 'r', "sbay");
                if (r >= 0)
                        r = sd_bus_message_append(m, "sb", f->name, (st.st_mode & 0111) != 0);
                if (r >= 0)
                        r = sd_bus_message_append_array_space(m, 'y', (size_t) st.st_size, &space);
                if (r >= 0 && pread_full(f->fd, space, (size_t) st.st_size, 0) != st.st_size)
                        return error_setf(e, EIO, "cannot read %s: it became shorter meanwhile",
                                          f->path);
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
        }
        return r;
}

static int append_descriptors(const JobRequest *q, sd_bus_message *m)
{
        int r = 0;

        for (guint i = 0; i < q->files->len && r >= 0; i++) {
                const ShippedFile *f = &g_array_index(q->files, ShippedFile, i);

                r = sd_bus_message_append(m, "{sh}", f->name, f->fd);
        }
        return r;
}

int job_request_message(const JobRequest *q, Master *m, sd_bus_message **ret, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        bool by_contents = m->host && q->files->len > 0;
        int r;

        r = sd_bus_message_new_method_call(m->bus, &call, m->name, MASTER_PATH, MASTER_INTERFACE,
                                           by_contents ? "SubmitJobWithContents" : "SubmitJob");
        if (r >= 0)
                r = sd_bus_message_open_container(call, 'a', "{sv}");
        if (r >= 0)
                r = append_description(q, call);
        if (r >= 0)
                r = sd_bus_message_close_container(call);
        if (r >= 0)
                r = sd_bus_message_open_container(call, 'a', by_contents ? "(sbay)" : "{sh}");
        if (r >= 0)
                r = by_contents ? append_contents(q, call, e) : append_descriptors(q, call);
        if (r >= 0)
                r = sd_bus_message_close_container(call);
        if (r < 0)
                return e->message ? r : error_setf(e, r, "cannot send the job: %s", error_text(r));
        *ret = TAKE_PTR(call);
        return 0;
}
