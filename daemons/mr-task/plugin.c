/*
 * Plugin — see plugin.h.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>

#include "apps/catalog.h"
#include "mr-task/app.h"
#include "mr-task/plugin.h"
#include "records/pair.h"
#include "records/reserve.h"

#define RECORD_PARAMETER "record"
/* Of the first mapreduce.h of this version: what comes behind is looked at only where a plugin's
 * size has it. */
#define PLUGIN_SIZE_MIN (offsetof(MrPlugin, partition) + sizeof(((MrPlugin *) NULL)->partition))
#define COMBINED_MAX                                                                               \
        GIB(1) /* of all values of a key that a combine() emits: they are held in memory */

static Plugin *plugin_of(MrTask *t)
{
        return (Plugin *) t; /* its first member */
}

static int refuse(Plugin *p, int code)
{
        if (p->failed == 0)
                p->failed = code;
        return code;
}

/* The sentence without the attempt's name: whoever knows the input puts it before. */
static int refusef(Plugin *p, int code, const char *format, ...) _printf_(3, 4);

static int refusef(Plugin *p, int code, const char *format, ...)
{
        g_autofree char *text = NULL;
        va_list ap;

        va_start(ap, format);
        text = g_strdup_vprintf(format, ap);
        va_end(ap);
        return refuse(p, error_setf(&p->attempt->error, code, "%s", text));
}

static int write_result(Plugin *p, int r, const char *what)
{
        if (r >= 0)
                return 0;
        if (r == -E2BIG)
                return refusef(p, r, "%s emitted a key or a value larger than 1 GiB",
                               p->code->name);
        return refuse(p, attempt_fail_write(p->attempt, r, what));
}

/* ---- partitions ---- */

uint32_t plugin_partition(Plugin *p, const uint8_t *key, size_t size)
{
        uint32_t partitions = p->info.partitions, n;

        if (!p->code->partition)
                return key_partition(key, size, partitions);
        n = p->code->partition(&p->task, p->state, key, size, partitions);
        if (n < partitions)
                return n;
        (void) refusef(p, -ERANGE, "%s sent a key to reduce %u, but there are %u", p->code->name, n,
                       partitions);
        return 0;
}

/* ---- what the program calls ---- */

/* For the sorter. */
static int collect(Plugin *p, const Record *record)
{
        p->attempt->counters[COUNTER_MAP_OUTPUT_RECORDS]++;
        return write_result(p, sorter_add(p->sorter, record), "the scratch file");
}

static int combine_emit(Plugin *p, const void *key, size_t key_size, const void *value, size_t size)
{
        if (!key_equal(key, key_size, p->key, p->key_size))
                return refusef(p, -EINVAL, "combine() of %s emitted another key than its own",
                               p->code->name);
        if (p->combined->len + sizeof(size) + size > COMBINED_MAX)
                return refusef(p, -E2BIG, "combine() of %s emitted more than 1 GiB for one key",
                               p->code->name);
        g_byte_array_append(p->combined, (const guint8 *) &size, sizeof(size));
        if (size > 0)
                g_byte_array_append(p->combined, value, (guint) size);
        return 0;
}

static void count_output(Plugin *p)
{
        bool map = p->attempt->start->kind == MAPREDUCED__V1__TASK_KIND__MAP;

        p->attempt->counters[map ? COUNTER_MAP_OUTPUT_RECORDS : COUNTER_REDUCE_OUTPUT_RECORDS]++;
}

static int host_emit(MrTask *t, const void *key, size_t key_size, const void *value,
                     size_t value_size)
{
        Plugin *p = plugin_of(t);
        Record record = {
                .key = key, .key_size = key_size, .value = value, .value_size = value_size};

        if (p->out) {
                count_output(p);
                return write_result(p, output_line(p->out, key, key_size, value, value_size, true),
                                    "the part");
        }
        if (p->groups)
                return combine_emit(p, key, key_size, value, value_size);
        if (!p->sorter || p->code->ordered)
                return refusef(p, -EINVAL, "%s emitted bytes, but its records are %s",
                               p->code->name, p->sorter ? "ordered" : "numbers");
        record.partition = plugin_partition(p, key, key_size);
        return collect(p, &record);
}

static int emit_to_combiner(Plugin *p, const void *key, size_t size, uint64_t number)
{
        int r = reserve(&p->packed, &p->packed_capacity, size + WORDS_PADDING);

        if (r < 0)
                return refuse(p, r);
        copy_small(p->packed, key, size);
        p->attempt->counters[COUNTER_MAP_OUTPUT_RECORDS]++;
        return write_result(p, combiner_add(p->combiner, p->packed, size, number),
                            "the scratch file");
}

static int host_emit_number(MrTask *t, const void *key, size_t size, uint64_t number)
{
        uint8_t value[VARINT_MAX_BYTES];
        Plugin *p = plugin_of(t);

        if (p->out) {
                count_output(p);
                return write_result(p, output_number(p->out, key, size, number), "the part");
        }
        if (p->combiner)
                return emit_to_combiner(p, key, size, number);
        return host_emit(t, key, size, value, varint_put(value, number));
}

static int host_emit_ordered(MrTask *t, const void *key, size_t key_size, const void *order,
                             size_t order_size, const void *value, size_t value_size)
{
        Plugin *p = plugin_of(t);
        Record record = {.value = value, .value_size = value_size};
        int r;

        if (!p->code->ordered || !p->sorter)
                return refusef(p, -EINVAL, "%s emitted an ordered record %s", p->code->name,
                               p->sorter ? "without saying so" : "outside of map()");
        r = reserve(&p->packed, &p->packed_capacity, pair_size_max(key_size, order_size));
        if (r < 0)
                return refuse(p, r);
        record.key = p->packed;
        record.key_size = pair_put(p->packed, key, key_size, order, order_size);
        record.partition = plugin_partition(p, key, key_size);
        return collect(p, &record);
}

static int host_next(MrTask *t, const void **ret, size_t *ret_size)
{
        Plugin *p = plugin_of(t);
        const uint8_t *value;
        int r;

        if (!p->groups)
                return refusef(p, -EINVAL, "%s asked for values outside of a key", p->code->name);
        r = groups_value(p->groups, &value, ret_size);
        if (r > 0)
                *ret = value;
        return r < 0 ? refuse(p, r) : r;
}

static int host_next_number(MrTask *t, uint64_t *ret)
{
        Plugin *p = plugin_of(t);
        const void *value = NULL;
        size_t size;
        int r;

        if (p->groups && p->code->op != MR_OP_NONE) {
                if (p->number_is_given)
                        return 0;
                p->number_is_given = true;
                r = groups_combine(p->groups, plugin_op(p->code), ret);
                return r < 0 ? refuse(p, r) : 1;
        }
        r = host_next(t, &value, &size);
        if (r <= 0)
                return r;
        r = combine_decode(value, size, ret);
        return r < 0 ? refusef(p, r, "%s has a value that is no number", p->code->name) : 1;
}

static int host_order(MrTask *t, const void **ret, size_t *ret_size)
{
        Plugin *p = plugin_of(t);
        const Groups *g = p->groups;

        if (!g || !g->pairs)
                return refusef(p, -EINVAL, "%s asked for an order, but has none", p->code->name);
        *ret = g->head.key + g->key_size;
        *ret_size = g->head.key_size - g->key_size;
        return 0;
}

static int host_write(MrTask *t, const void *data, size_t size)
{
        Plugin *p = plugin_of(t);

        if (!p->out)
                return refusef(p, -EINVAL, "%s wrote to the result outside of a reduce",
                               p->code->name);
        return write_result(p, output_bytes(p->out, data, size), "the part");
}

static int host_fail(MrTask *t, const char *sentence)
{
        g_autofree char *valid =
                attempt_valid_text(sentence, strlen(sentence), ERROR_MAX_BYTES / 2);

        if (plugin_of(t)->failed == 0)
                plugin_of(t)->refused_by_program = true;
        return refusef(plugin_of(t), -ECANCELED, "%s", valid);
}

static const char *host_parameter(MrTask *t, const char *name)
{
        const Plugin *p = plugin_of(t);

        for (size_t i = 0; p->parameters && p->parameters[i].name; i++)
                if (g_str_equal(p->parameters[i].name, name))
                        return p->values[i];
        return NULL;
}

static const MrInfo *host_info(MrTask *t)
{
        return &plugin_of(t)->info;
}

/* During a record nothing else says that the attempt is alive. */
static void tell(Plugin *p)
{
        int r;

        r = attempt_tell(p->attempt);
        if (r < 0)
                (void) refuse(p, r);
}

static void host_count(MrTask *t, const char *group, const char *name, uint64_t n)
{
        attempt_count_named(plugin_of(t)->attempt, group, name, n);
        tell(plugin_of(t));
}

static void host_status(MrTask *t, const char *text)
{
        attempt_set_status(plugin_of(t)->attempt, text, strlen(text));
        tell(plugin_of(t));
}

static const MrHost host = {
        .abi = MR_ABI,
        .size = sizeof(MrHost),
        .emit = host_emit,
        .emit_number = host_emit_number,
        .emit_ordered = host_emit_ordered,
        .next = host_next,
        .next_number = host_next_number,
        .order = host_order,
        .write = host_write,
        .fail = host_fail,
        .parameter = host_parameter,
        .info = host_info,
        .count = host_count,
        .status = host_status,
};

/* ---- opening ---- */

static int check_code(Plugin *p, const char *name)
{
        const MrPlugin *code = p->code;

        if (code->abi != MR_ABI)
                return refusef(p, -ELIBBAD,
                               "%s is built for version %u of mapreduce.h, this is %u: build it "
                               "again",
                               name, code->abi, MR_ABI);
        if (code->size < PLUGIN_SIZE_MIN)
                return refusef(p, -ELIBBAD,
                               "%s has a table of %u bytes, MrPlugin has %zu: begin it with "
                               "MR_PLUGIN_HEADER",
                               name, code->size, sizeof(MrPlugin));
        if (!code->map || !code->name)
                return refusef(p, -ELIBBAD, "%s has no name, or no map()", name);
        if (code->op > MR_OP_MAX || (code->op != MR_OP_NONE && (code->combine || code->ordered)) ||
            (code->ordered && code->combine))
                return refusef(p, -ELIBBAD, "%s: op, ordered and combine() exclude each other",
                               name);
        return 0;
}

/* By the descriptor, so that the loader opens nothing by name. */
static int load_library(Plugin *p, const char *name)
{
        _cleanup_close_ int fd =
                openat(p->attempt->cwd_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);

        if (fd < 0)
                return refusef(p, -errno, "cannot open the plugin %s: %s", name, error_text(errno));
        p->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!p->library)
                return refusef(p, -ELIBACC, "cannot load the plugin %s: %s", name, dlerror());
        p->code = dlsym(p->library, MR_PLUGIN_SYMBOL);
        if (!p->code)
                return refusef(p, -ELIBBAD, "%s has no symbol " MR_PLUGIN_SYMBOL, name);
        p->parameters = p->code->parameters;
        return check_code(p, name);
}

static int find_code(Plugin *p, const char *name)
{
        if (catalog_is_plugin(name))
                return load_library(p, name);
        p->app = app_find(name);
        if (!p->app) {
                g_autofree char *names = catalog_names();

                return refusef(p, -ENOENT, "no app is named \"%s\"; there are: %s", name, names);
        }
        p->code = &p->app->plugin;
        p->parameters = catalog_find(name)->parameters;
        return 0;
}

static int read_parameters(Plugin *p)
{
        const Mapreduced__V1__Program *program = p->attempt->start->program;
        const char *record;
        int r;

        r = catalog_resolve(p->code->name, p->parameters, program->args, program->n_args,
                            &p->values, &p->attempt->error);
        if (r < 0)
                return r;
        record = host_parameter(&p->task, RECORD_PARAMETER);
        return record ? catalog_number(RECORD_PARAMETER, record, 0, CATALOG_RECORD_MAX,
                                       &p->record_bytes, &p->attempt->error)
                      : 0;
}

int plugin_result(Plugin *p, int r, const char *what)
{
        if (p->failed < 0)
                return p->failed;
        if (r >= 0)
                return 0;
        p->refused_by_program = true;
        return refusef(p, r, "%s of %s returned %d", what, p->code->name, r);
}

/* Whatever goes wrong here goes wrong again in the next attempt. */
static int plugin_begin(Plugin *p, const char *name)
{
        int r;

        r = find_code(p, name);
        if (r >= 0)
                r = read_parameters(p);
        if (r < 0 || !p->code->setup)
                return r;
        r = plugin_result(p, p->code->setup(&p->task, &p->state), "setup()");
        p->is_set_up = r >= 0;
        return r;
}

int plugin_init(Plugin *p, Attempt *a)
{
        const Mapreduced__Task__V1__AttemptStart *s = a->start;
        int r;

        *p = (Plugin){
                .task.host = &host,
                .attempt = a,
                .info =
                        {
                                .job_id = s->job_id,
                                .job_name = s->job_name,
                                .task = s->task,
                                .attempt = s->attempt,
                                .partitions = s->partitions,
                                .is_map = s->kind == MAPREDUCED__V1__TASK_KIND__MAP,
                        },
        };
        r = plugin_begin(p, s->program->app);
        if (r < 0)
                a->permanent = true;
        return r;
}

void plugin_done(Plugin *p)
{
        if (p->is_set_up && p->code->teardown)
                p->code->teardown(&p->task, p->state);
        combiner_free(p->combiner);
        sorter_free(p->sorter);
        lines_done(&p->lines);
        free(p->packed);
        free(p->unpacked);
        g_free(p->values);
        if (p->combined)
                g_byte_array_unref(p->combined);
        if (p->library)
                (void) dlclose(p->library);
        *p = (Plugin){};
}

/* ---- reducing ---- */

/* The open group's key as the program knows it. */
static int show_key(Plugin *p)
{
        Groups *g = p->groups;
        int r;

        p->number_is_given = false;
        p->key = g->key;
        p->key_size = g->key_size;
        if (!g->pairs)
                return 0;
        r = reserve(&p->unpacked, &p->unpacked_capacity, g->key_size);
        if (r < 0)
                return r;
        p->key_size = pair_get(p->unpacked, g->key, g->key_size);
        p->key = p->unpacked;
        return 0;
}

/* Without a reduce(): each value with its key. */
static int reduce_plainly(Plugin *p)
{
        const void *value = NULL;
        uint64_t number = 0;
        size_t size = 0;
        int r;

        if (p->code->op != MR_OP_NONE) {
                r = host_next_number(&p->task, &number);
                return r < 0 ? r : host_emit_number(&p->task, p->key, p->key_size, number);
        }
        while ((r = host_next(&p->task, &value, &size)) > 0) {
                r = host_emit(&p->task, p->key, p->key_size, value, size);
                if (r < 0)
                        return r;
        }
        return r;
}

int plugin_reduce(Plugin *p, RecordStream *stream, Output *out)
{
        const MrPlugin *code = p->code;
        _cleanup_(groups_done) Groups groups = {};
        int r;

        if (p->app && p->app->reduce_all)
                return p->app->reduce_all(p, stream, out);
        groups_init(&groups, stream);
        groups.pairs = code->ordered;
        p->groups = &groups;
        p->out = out;
        while ((r = groups_next(&groups)) > 0) {
                p->attempt->counters[COUNTER_REDUCE_INPUT_GROUPS]++;
                r = show_key(p);
                if (r < 0)
                        break;
                r = code->reduce ? code->reduce(&p->task, p->state, p->key, p->key_size)
                                 : reduce_plainly(p);
                r = plugin_result(p, r, "reduce()");
                if (r < 0)
                        break;
        }
        p->attempt->counters[COUNTER_REDUCE_INPUT_RECORDS] = groups.records;
        p->groups = NULL;
        if (r >= 0 && code->reduce_end)
                r = plugin_result(p, code->reduce_end(&p->task, p->state), "reduce_end()");
        p->out = NULL;
        return r;
}
