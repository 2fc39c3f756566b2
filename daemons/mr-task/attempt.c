/*
 * Attempt — see attempt.h.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cause.h"
#include "base/fs.h"
#include "mr-task/archive.h"
#include "mr-task/attempt.h"
#include "mr-task/command.h"
#include "mr-task/map.h"
#include "mr-task/memory.h"
#include "mr-task/reduce.h"
#include "platform/packet.h"
#include "platform/quick.h"

static const char *const counter_names[_COUNTER_ID_MAX] = {
        [COUNTER_MAP_INPUT_RECORDS] = "map_input_records",
        [COUNTER_MAP_INPUT_BYTES] = "map_input_bytes",
        [COUNTER_MAP_OUTPUT_RECORDS] = "map_output_records",
        [COUNTER_MAP_OUTPUT_BYTES] = "map_output_bytes",
        [COUNTER_COMBINE_OUTPUT_RECORDS] = "combine_output_records",
        [COUNTER_REDUCE_INPUT_RECORDS] = "reduce_input_records",
        [COUNTER_REDUCE_INPUT_GROUPS] = "reduce_input_groups",
        [COUNTER_REDUCE_OUTPUT_RECORDS] = "reduce_output_records",
        [COUNTER_REDUCE_OUTPUT_BYTES] = "reduce_output_bytes",
        [COUNTER_MAP_SKIPPED_RECORDS] = "map_skipped_records",
};

uint64_t attempt_now_usec(void)
{
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * USEC_PER_SEC + (uint64_t) (t.tv_nsec / NSEC_PER_USEC);
}

static uint64_t usage_usec(int who)
{
        struct rusage u;

        if (getrusage(who, &u) < 0)
                return 0;
        return (uint64_t) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * USEC_PER_SEC +
               (uint64_t) (u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static uint64_t cpu_usec(void)
{
        return usage_usec(RUSAGE_SELF) + usage_usec(RUSAGE_CHILDREN);
}

int attempt_failf(Attempt *a, int code, const char *format, ...)
{
        g_autofree char *text = NULL;
        va_list ap;

        va_start(ap, format);
        text = g_strdup_vprintf(format, ap);
        va_end(ap);
        if (!a->error.message)
                a->error_is_named = true;
        return error_setf(&a->error, code, "%s: %s", a->name, text);
}

int attempt_name_error(Attempt *a, int code, const char *where)
{
        g_autofree char *sentence = NULL;

        if (code >= 0 || code == LINK_ENDED || !a->error.message || a->error_is_named)
                return code;
        sentence = g_strdup(a->error.message);
        error_done(&a->error);
        return where ? attempt_failf(a, code, "%s: %s", where, sentence)
                     : attempt_failf(a, code, "%s", sentence);
}

int attempt_fail_write(Attempt *a, int code, const char *what)
{
        if (code == LINK_ENDED)
                return code;
        if (code == -ENOSPC || code == -EDQUOT)
                return attempt_failf(a, code, "disk full: cannot write %s", what);
        if (code == -EFBIG)
                return attempt_failf(a, code,
                                     "cannot write %s: it is larger than the limit on files "
                                     "(LimitFSIZE= of mr-workerd's unit, or ulimit -f)",
                                     what);
        return attempt_failf(a, code, "cannot write %s: %s", what, error_text(code));
}

void attempt_count_user(Attempt *a, const char *name, uint64_t n)
{
        uint64_t *value = g_hash_table_lookup(a->user_counters, name);

        a->activity++;
        if (!value) {
                if (g_hash_table_size(a->user_counters) >= USER_COUNTERS_MAX)
                        return;
                value = g_new0(uint64_t, 1);
                g_hash_table_insert(a->user_counters, g_strdup(name), value);
        }
        if (__builtin_add_overflow(*value, n, value))
                *value = UINT64_MAX;
}

void attempt_count_named(Attempt *a, const char *group, const char *name, uint64_t n)
{
        g_autofree char *full = g_strdup_printf("%s:%s", group, name);
        g_autofree char *valid = attempt_valid_text(full, strlen(full), COUNTER_NAME_MAX);

        attempt_count_user(a, valid, n);
}

char *attempt_valid_text(const char *text, size_t size, size_t max_bytes)
{
        char *valid = g_utf8_make_valid(text, (gssize) MIN(size, max_bytes));
        size_t end = strlen(valid);

        if (end > max_bytes) {
                for (end = max_bytes; (valid[end] & 0xc0) == 0x80;)
                        end--;
                valid[end] = '\0';
        }
        return valid;
}

void attempt_set_status(Attempt *a, const char *text, size_t size)
{
        g_free(a->status);
        a->status = attempt_valid_text(text, size, STATUS_MAX_BYTES);
        a->activity++;
}

static int send_progress(Attempt *a)
{
        Mapreduced__Task__V1__Progress progress = MAPREDUCED__TASK__V1__PROGRESS__INIT;
        Mapreduced__Task__V1__FromTask m = MAPREDUCED__TASK__V1__FROM_TASK__INIT;

        progress.bytes_read = a->bytes_read;
        progress.activity = a->activity;
        if (a->status)
                progress.status = a->status;
        m.kind_case = MAPREDUCED__TASK__V1__FROM_TASK__KIND_PROGRESS;
        m.progress = &progress;
        return link_send(a->link, &m, true);
}

static bool progress_is_due(Attempt *a)
{
        uint64_t now = attempt_now_usec();

        if (now < a->progress_usec + PROGRESS_INTERVAL_USEC)
                return false;
        a->progress_usec = now;
        return true;
}

int attempt_tell(Attempt *a)
{
        return progress_is_due(a) ? send_progress(a) : 0;
}

/* Between blocks: is the worker still there, and is it time to tell it how far we are? */
int attempt_idle(Attempt *a)
{
        return progress_is_due(a) ? send_progress(a) : link_check(a->link);
}

static int attempt_tick(void *userdata, uint64_t bytes)
{
        Attempt *a = userdata;

        a->bytes_read += bytes;
        a->activity++;
        return attempt_idle(a);
}

int attempt_skip_record(Attempt *a, Mapreduced__V1__SkippedRecord *record)
{
        Mapreduced__Task__V1__FromTask m = MAPREDUCED__TASK__V1__FROM_TASK__INIT;

        m.kind_case = MAPREDUCED__TASK__V1__FROM_TASK__KIND_SKIPPED;
        m.skipped = record;
        a->counters[COUNTER_MAP_SKIPPED_RECORDS]++;
        return link_send(a->link, &m, false);
}

int attempt_next_input(Attempt *a, Message *ret)
{
        Mapreduced__Task__V1__NeedInput need = MAPREDUCED__TASK__V1__NEED_INPUT__INIT;
        Mapreduced__Task__V1__FromTask m = MAPREDUCED__TASK__V1__FROM_TASK__INIT;
        int r;

        m.kind_case = MAPREDUCED__TASK__V1__FROM_TASK__KIND_NEED_INPUT;
        m.need_input = &need;
        r = link_send(a->link, &m, false);
        if (r < 0)
                return r;
        r = link_receive(a->link, ret);
        if (r < 0)
                return r;
        if (ret->body->kind_case != MAPREDUCED__TASK__V1__TO_TASK__KIND_INPUT) {
                message_done(ret);
                return attempt_failf(a, EPROTO, "the worker sent something else than input");
        }
        return 0;
}

static void fill_counters(Attempt *a, Mapreduced__Task__V1__Done *done)
{
        Mapreduced__V1__Counter *all =
                g_new(Mapreduced__V1__Counter, _COUNTER_ID_MAX + USER_COUNTERS_MAX);
        GHashTableIter iter;
        gpointer key, value;

        done->counters = g_new(Mapreduced__V1__Counter *, _COUNTER_ID_MAX + USER_COUNTERS_MAX);
        for (size_t i = 0; i < _COUNTER_ID_MAX; i++) {
                Mapreduced__V1__Counter *c = &all[done->n_counters];

                if (a->counters[i] == 0)
                        continue;
                mapreduced__v1__counter__init(c);
                c->name = (char *) counter_names[i];
                c->value = a->counters[i];
                done->counters[done->n_counters++] = c;
        }
        g_hash_table_iter_init(&iter, a->user_counters);
        while (g_hash_table_iter_next(&iter, &key, &value)) {
                Mapreduced__V1__Counter *c = &all[done->n_counters];

                mapreduced__v1__counter__init(c);
                c->name = key;
                c->value = *(uint64_t *) value;
                done->counters[done->n_counters++] = c;
        }
        if (done->n_counters == 0)
                g_free(all);
}

static void free_counters(Mapreduced__Task__V1__Done *done)
{
        if (done->n_counters > 0)
                g_free(done->counters[0]);
        g_free(done->counters);
}

/* What user code wrote may be anything; what leaves here is UTF-8 without NULs, no longer than it
 * was. */
static char *clean_tail(GString *tail)
{
        g_autofree char *valid = NULL;
        const char *begin;
        size_t size;

        for (size_t i = 0; i < tail->len; i++)
                if (tail->str[i] == '\0')
                        tail->str[i] = '?';
        valid = g_utf8_make_valid(tail->str, (gssize) tail->len);
        size = strlen(valid);
        for (begin = valid + size - MIN(size, (size_t) STDERR_TAIL_BYTES);
             ((uint8_t) *begin & 0xc0) == 0x80;)
                begin++;
        return g_strdup(begin);
}

static int send_done(Attempt *a, int result)
{
        Mapreduced__Task__V1__Done done = MAPREDUCED__TASK__V1__DONE__INIT;
        Mapreduced__Task__V1__FromTask m = MAPREDUCED__TASK__V1__FROM_TASK__INIT;
        g_autofree char *tail = clean_tail(a->stderr_tail), *error = NULL;
        int r;

        done.outcome = result >= 0 ? MAPREDUCED__V1__TASK_OUTCOME__SUCCEEDED
                                   : MAPREDUCED__V1__TASK_OUTCOME__FAILED;
        if (result < 0) {
                (void) attempt_failf(a, result, "%s", error_text(result)); /* if none is there */
                error = attempt_valid_text(a->error.message, strlen(a->error.message),
                                           ERROR_MAX_BYTES);
                done.error = error;
                done.cause = (char *) (a->error.code == -ECHILD && a->cause
                                               ? a->cause
                                               : cause_of_errno(a->error.code));
        }
        done.stderr_tail = tail;
        done.permanent = a->permanent;
        done.bad_record = a->bad_record;
        done.bad_segment = a->bad_segment;
        done.bad_map = a->bad_map;
        done.bad_attempt = a->bad_attempt;
        done.cpu_usec = cpu_usec() - a->cpu_usec;
        fill_counters(a, &done);
        m.kind_case = MAPREDUCED__TASK__V1__FROM_TASK__KIND_DONE;
        m.done = &done;
        r = link_send(a->link, &m, false);
        free_counters(&done);
        return r;
}

static int attempt_set_fields(Attempt *a, const Mapreduced__V1__Program *p)
{
        int r;

        r = key_fields_init(&a->fields, p->map_separator.data, p->map_separator.len,
                            p->map_key_fields, p->partition_key_fields);
        if (r >= 0)
                r = key_fields_init(&a->reduce_separator, p->reduce_separator.data,
                                    p->reduce_separator.len, 1, 0);
        return r < 0 ? attempt_failf(a, r, "a separator of fields is longer than %d bytes",
                                     KEY_SEPARATOR_MAX_BYTES)
                     : 0;
}

static int attempt_add_order(Attempt *a, const Mapreduced__V1__SortField *f)
{
        int r;

        r = key_order_add(&a->order, (KeyOrderField){f->number, f->numeric, f->reverse});
        if (r == -E2BIG)
                return attempt_failf(a, r, "there are more than %d fields to sort keys by",
                                     KEY_ORDER_FIELDS_MAX);
        if (r == -EEXIST)
                return attempt_failf(a, r, "field %u is twice among those to sort keys by",
                                     f->number);
        return r < 0 ? attempt_failf(a, r,
                                     "field 0 is among those to sort keys by: they count "
                                     "from 1")
                     : 0;
}

/* Who combines keys in a table knows nothing of an order in front of them. */
static int attempt_set_order(Attempt *a, const Mapreduced__V1__Program *p)
{
        int r = 0;

        if (p->n_sort_fields > 0 && (p->app[0] != '\0' || p->reducer_app[0] != '\0'))
                return attempt_failf(a, EINVAL, "%s does not take keys in an order of their fields",
                                     p->app[0] != '\0' ? p->app : p->reducer_app);
        a->order.fields = &a->fields;
        for (size_t i = 0; i < p->n_sort_fields && r >= 0; i++)
                r = attempt_add_order(a, p->sort_fields[i]);
        return r;
}

static int attempt_check_start(Attempt *a)
{
        const Mapreduced__Task__V1__AttemptStart *s = a->start;
        int r;

        if (a->message.fd_count != 3 && a->message.fd_count != 5)
                return attempt_failf(a, EPROTO, "the worker sent %zu descriptors, not 3 or 5",
                                     a->message.fd_count);
        if (!s->program)
                return attempt_failf(a, EPROTO, "the worker named no program");
        if (s->kind == MAPREDUCED__V1__TASK_KIND__MAP && s->partitions > RECORD_MAX_PARTITIONS)
                return attempt_failf(a, EINVAL, "%u reduces are not possible: %d at most are",
                                     s->partitions, RECORD_MAX_PARTITIONS);
        r = attempt_set_fields(a, s->program);
        return r < 0 ? r : attempt_set_order(a, s->program);
}

/* The page and the stderr of a plugin, which the worker sees also when it crashes. */
static int open_plugin_fds(Attempt *a, int *ret_stderr)
{
        void *page;

        if (a->message.fd_count < 5)
                return 0;
        page = mmap(NULL, sizeof(RecordPage), PROT_READ | PROT_WRITE, MAP_SHARED, a->message.fds[3],
                    0);
        if (page == MAP_FAILED)
                return attempt_failf(a, errno, "cannot map the record page: %s", error_text(errno));
        a->page = page;
        *ret_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        if (*ret_stderr < 0 || dup2(a->message.fds[4], STDERR_FILENO) < 0)
                return attempt_failf(a, errno, "cannot give it a stderr: %s", error_text(errno));
        return 0;
}

/* Beside MemoryLimit= it may have what our own buffers may, for they cannot be told apart. */
static int watch_memory(Attempt *a, MemoryWatch **ret)
{
        uint64_t limit = a->start->memory_limit_bytes;
        int r;

        if (a->message.fd_count < 5 || limit == 0)
                return 0;
        r = memory_watch_new(memory_of_self() + limit + a->memory_bytes, &a->page->over_limit_bytes,
                             ret);
        return r < 0 ? attempt_failf(a, r, "cannot watch its memory: %s", error_text(r)) : 0;
}

static void close_plugin_fds(Attempt *a, int saved_stderr)
{
        if (a->page != &a->own_page)
                (void) munmap((void *) a->page, sizeof(RecordPage));
        if (saved_stderr < 0)
                return;
        (void) fflush(stderr);
        (void) dup2(saved_stderr, STDERR_FILENO);
        safe_close(saved_stderr);
}

static int attempt_work(Attempt *a)
{
        int r;

        r = attempt_check_start(a);
        if (r < 0) {
                a->permanent = true;
                return r;
        }
        a->output_fd = a->message.fds[0];
        a->scratch.fd = a->message.fds[1];
        a->cwd_fd = a->message.fds[2];
        r = archives_unpack(a);
        if (r < 0)
                return r;
        switch (a->start->kind) {
        case MAPREDUCED__V1__TASK_KIND__MAP:
                return map_run(a);
        case MAPREDUCED__V1__TASK_KIND__REDUCE:
                return reduce_run(a);
        default:
                return attempt_failf(a, EPROTO, "a task of unknown kind %d", (int) a->start->kind);
        }
}

static void attempt_done(Attempt *a)
{
        message_done(&a->message);
        error_done(&a->error);
        g_free(a->name);
        g_free(a->status);
        g_string_free(a->stderr_tail, TRUE);
        g_hash_table_unref(a->user_counters);
        key_order_done(&a->order);
}

/*
 * Directories that user code made in a working directory which is another user's, the worker's:
 * their content is ours, and the worker could not remove it. Files it can.
 */
static void remove_our_directories(int cwd_fd)
{
        struct dirent *de;
        struct stat st;
        DIR *d;
        int fd;

        if (fstat(cwd_fd, &st) < 0 || st.st_uid == geteuid())
                return;
        command_kill_all();
        fd = openat(cwd_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        d = fd < 0 ? NULL : fdopendir(fd);
        if (!d) {
                safe_close(fd);
                return;
        }
        while ((de = readdir(d)))
                if (de->d_type == DT_DIR && !g_str_equal(de->d_name, ".") &&
                    !g_str_equal(de->d_name, ".."))
                        (void) rm_rf_at(cwd_fd, de->d_name);
        (void) closedir(d);
}

/* Maps and reduces need other buffers: of what the one kind has kept, regions alone are of use to
 * the other. */
static void forget_other_kind(Mapreduced__V1__TaskKind kind)
{
        static Mapreduced__V1__TaskKind last;

        if (kind != last)
                heap_forget();
        last = kind;
}

int attempt_run(int link, Message *m)
{
        const Mapreduced__Task__V1__AttemptStart *start = m->body->start;
        Attempt a = {
                .link = link,
                .message = *m,
                .start = start,
                .name = g_strdup_printf("%s-%u",
                                        start->kind == MAPREDUCED__V1__TASK_KIND__REDUCE ? "reduce"
                                                                                         : "map",
                                        start->task),
                .memory_bytes = (size_t) MAX(start->memory_bytes ? start->memory_bytes
                                                                 : ATTEMPT_MEMORY_DEFAULT,
                                             ATTEMPT_MEMORY_MIN),
                .user_counters = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
                .stderr_tail = g_string_new(NULL),
                .progress_usec = attempt_now_usec(),
                .cpu_usec = cpu_usec(),
        };
        MemoryWatch *memory = NULL;
        int saved_stderr = -EBADF, r;

        *m = (Message){};
        forget_other_kind(start->kind);
        a.ticker = (Ticker){.tick = attempt_tick, .userdata = &a};
        a.page = &a.own_page;
        r = open_plugin_fds(&a, &saved_stderr);
        if (r >= 0)
                r = watch_memory(&a, &memory);
        if (r >= 0)
                r = attempt_work(&a);
        memory = memory_watch_free(memory);
        close_plugin_fds(&a, saved_stderr);
        if (a.message.fd_count >= 3)
                remove_our_directories(a.message.fds[2]);
        if (r != LINK_ENDED)
                r = send_done(&a, r);
        attempt_done(&a);
        return r;
}
