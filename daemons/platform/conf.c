/*
 * Configuration files — see conf.h.
 */
#include <fcntl.h>
#include <ini.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/parse.h"
#include "base/text.h"
#include "config.h"
#include "platform/conf.h"

#define CONF_MAX_BYTES (1024 * 1024)

static const char *const conf_dirs[] = {MR_SYSCONFDIR "/mapreduced", "/run/mapreduced",
                                        "/usr/lib/mapreduced"};

int conf_parse_string(const char *value, void *target, Error *e)
{
        char **s = target;

        g_free(*s);
        *s = g_strdup(value);
        return 0;
}

int conf_parse_strv(const char *value, void *target, Error *e)
{
        GPtrArray **a = target;

        if (!*a)
                *a = g_ptr_array_new_with_free_func(g_free);
        if (!*value)
                g_ptr_array_set_size(*a, 0);
        else
                g_ptr_array_add(*a, g_strdup(value));
        return 0;
}

int conf_parse_path(const char *value, void *target, Error *e)
{
        if (value[0] != '/')
                return error_setf(e, EINVAL, "not an absolute path: %s", value);
        return conf_parse_string(value, target, e);
}

int conf_parse_boolean(const char *value, void *target, Error *e)
{
        int r = parse_boolean(value);

        if (r < 0)
                return error_setf(e, EINVAL, "not yes or no: %s", value);
        *(bool *) target = r;
        return 0;
}

int conf_parse_sec(const char *value, void *target, Error *e)
{
        int r = parse_sec(value, target);

        return r < 0 ? error_setf(e, r, "not a time span such as 10s or 2min: %s", value) : 0;
}

int conf_parse_size(const char *value, void *target, Error *e)
{
        int r = parse_size(value, target);

        return r < 0 ? error_setf(e, r, "not a size such as 64M: %s", value) : 0;
}

int conf_parse_count(const char *value, void *target, Error *e)
{
        int r = parse_u32_range(value, 1, 1000000, target);

        return r < 0 ? error_setf(e, r, "not a number from 1 to 1000000: %s", value) : 0;
}

typedef struct Reader {
        const char *path;
        const char *next; /* what is left of the file's text */
        int line;         /* of what the parser was given last, from 1 */
        int last;         /* the line that was read last: a value may go on over several */
        GArray *lines;    /* of int: where each thing that the parser was given begins */
        GString *value;   /* behind the "=" of what the parser was given last */
        const ConfItem *items;
        GPtrArray *warnings;
        Error error; /* of the first bad value */
} Reader;

/* One line of the file, without its newline; NULL at the end. */
static char *take_line(Reader *reader)
{
        const char *end = strchr(reader->next, '\n');
        size_t n = end ? (size_t) (end - reader->next) : strlen(reader->next);
        char *line;

        if (!*reader->next)
                return NULL;
        line = g_strndup(reader->next, n);
        reader->next += n + (end ? 1 : 0);
        reader->last++;
        return g_strstrip(line);
}

static bool is_comment(const char *line)
{
        return line[0] == '#' || line[0] == ';';
}

/* A backslash at its end goes on with the next line, but for comments (systemd.syntax(7)). */
static GString *take_whole_line(Reader *reader)
{
        g_autofree char *first = take_line(reader);
        GString *whole;

        if (!first)
                return NULL;
        reader->line = reader->last;
        whole = g_string_new(first);
        while (whole->len > 0 && whole->str[whole->len - 1] == '\\' && !is_comment(first)) {
                g_autofree char *more = take_line(reader);

                whole->str[whole->len - 1] = ' ';
                if (!more)
                        break;
                if (is_comment(more))
                        whole->str[whole->len - 1] = '\\';
                else
                        g_string_append(whole, more);
        }
        return whole;
}

/*
 * libinih asks for a line, then reports what was on it: so we can count lines, which Debian's build
 * does not. It is shown no value: its own would end after 200 bytes or at " ;", which in a unit
 * file belong to the value; nor a ':', with which a unit file sets nothing.
 */
static char *next_line(char *ret, int size, void *userdata)
{
        Reader *reader = userdata;
        g_autoptr(GString) line = NULL;
        const char *equals;

        line = take_whole_line(reader);
        if (!line)
                return NULL;
        g_array_append_val(reader->lines, reader->line);
        equals = is_comment(line->str) || line->str[0] == '[' ? NULL : strchr(line->str, '=');
        if (equals) {
                g_string_assign(reader->value, equals + 1);
                g_strstrip(reader->value->str);
                g_string_truncate(line, (gsize) (equals - line->str));
        }
        if (line->str[0] != '[')
                g_strdelimit(line->str, ":", '_');
        g_string_append(line, equals ? "=1\n" : "\n");
        (void) g_strlcpy(ret, line->str, (gsize) size);
        return ret;
}

static int on_setting(void *userdata, const char *section, const char *key, const char *value)
{
        Reader *reader = userdata;
        _cleanup_error_ Error e = {};
        int r;

        for (const ConfItem *i = reader->items; i->key; i++) {
                if (!g_str_equal(i->section, section) || !g_str_equal(i->key, key))
                        continue;
                r = i->parse(reader->value->str, i->target, &e);
                if (r >= 0)
                        return 1;
                error_setf(&reader->error, r, "%s:%d: %s= is %s", reader->path, reader->line, key,
                           error_message(&e, r));
                return 0;
        }
        if (reader->warnings)
                g_ptr_array_add(
                        reader->warnings,
                        g_strdup_printf("%s:%d: unknown setting %s= in section [%s], ignoring",
                                        reader->path, reader->line, key, section));
        return 1;
}

int conf_read_file(const char *path, const ConfItem *items, GPtrArray *warnings, Error *e)
{
        Reader reader = {.path = path, .items = items, .warnings = warnings};
        g_autoptr(GArray) lines = g_array_new(FALSE, FALSE, sizeof(int));
        g_autoptr(GString) value = g_string_new(NULL);
        _cleanup_free_ char *text = NULL;
        int line, r;

        r = read_file(path, CONF_MAX_BYTES, &text, NULL);
        if (r < 0)
                return error_setf(e, r, "cannot read %s: %s", path, error_text(r));

        reader.next = text;
        reader.lines = lines;
        reader.value = value;
        line = ini_parse_stream(next_line, &reader, on_setting, &reader);
        if (reader.error.code) {
                r = error_setf(e, reader.error.code, "%s", reader.error.message);
                error_done(&reader.error);
                return r;
        }
        if (line > 0)
                return error_setf(e, EINVAL, "%s:%d: " CONF_NO_SETTING, path,
                                  g_array_index(lines, int, line - 1));
        return line < 0 ? error_setf(e, ENOMEM, "%s: out of memory", path) : 0;
}

/* Maps a drop-in's name to the path that wins. The first directory that has the name keeps it. */
static void collect_dropins(const char *name, GHashTable *ret)
{
        for (size_t i = 0; i < ELEMENTSOF(conf_dirs); i++) {
                g_autofree char *dir = g_strdup_printf("%s/%s.d", conf_dirs[i], name);
                g_autoptr(GDir) d = g_dir_open(dir, 0, NULL);
                const char *entry;

                while (d && (entry = g_dir_read_name(d)))
                        if (g_str_has_suffix(entry, ".conf") && !g_hash_table_contains(ret, entry))
                                g_hash_table_insert(ret, g_strdup(entry),
                                                    g_build_filename(dir, entry, NULL));
        }
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
        return strcmp(a, b);
}

int conf_read(const char *name, const char *override, const ConfItem *items, GPtrArray *warnings,
              Error *e)
{
        g_autoptr(GHashTable) dropins = NULL;
        GList *names;
        int r = 0;

        if (override)
                return conf_read_file(override, items, warnings, e);

        for (size_t i = 0; i < ELEMENTSOF(conf_dirs); i++) {
                g_autofree char *path = g_build_filename(conf_dirs[i], name, NULL);

                if (access(path, F_OK) < 0 && errno == ENOENT)
                        continue;
                r = conf_read_file(path, items, warnings, e);
                if (r < 0)
                        return r;
                break;
        }

        dropins = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        collect_dropins(name, dropins);
        names = g_list_sort(g_hash_table_get_keys(dropins), compare_names);
        for (GList *n = names; n && r >= 0; n = n->next)
                r = conf_read_file(g_hash_table_lookup(dropins, n->data), items, warnings, e);
        g_list_free(names);
        return r;
}
