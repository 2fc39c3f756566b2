/*
 * A job's history on the bus: its attempts, what they wrote to stderr, what each task counted, and
 * from what it was made. Everything here only reads.
 */
#include "mr-masterd/master-lineage.h"
#include "mr-masterd/master-manager.h"
#include "platform/bus.h"

#define PAGE_MAX 1000U   /* tasks in one reply */
#define FAILED_MAX 1000U /* attempts in one reply */
#define PIECES_MAX 100U  /* of one task */

typedef struct Reply {
        MasterJob *job;
        sd_bus_message *message;
        int result;
} Reply;

static const char *kind_name(int kind)
{
        return kind == TASK_MAP ? "map" : "reduce";
}

static int begin(sd_bus_message *message, MasterJob *j, const char *contents, Reply *ret)
{
        int r;

        *ret = (Reply){.job = j};
        r = sd_bus_message_new_method_return(message, &ret->message);
        return r < 0 ? r : sd_bus_message_open_container(ret->message, 'a', contents);
}

static int finish(Reply *x, int r)
{
        if (r >= 0)
                r = x->result;
        if (r >= 0)
                r = sd_bus_message_close_container(x->message);
        return r < 0 ? r : sd_bus_send(NULL, x->message, NULL);
}

static void reply_done(Reply *x)
{
        x->message = sd_bus_message_unref(x->message);
}

/* KIND, FIRST and MAX, cut to the tasks that there are. */
static int read_range(sd_bus_message *message, const MasterJob *j, TaskKind *ret_kind,
                      uint32_t *ret_first, uint32_t *ret_count, sd_bus_error *ret_error)
{
        uint32_t first, max, all;
        const char *name;
        int r;

        r = sd_bus_message_read(message, "suu", &name, &first, &max);
        if (r < 0)
                return r;
        if (!g_str_equal(name, "map") && !g_str_equal(name, "reduce"))
                return sd_bus_error_setf(ret_error, SD_BUS_ERROR_INVALID_ARGS,
                                         "KIND is \"map\" or \"reduce\", not \"%.40s\"", name);
        *ret_kind = g_str_equal(name, "map") ? TASK_MAP : TASK_REDUCE;
        all = *ret_kind == TASK_MAP ? j->maps : j->reduces;
        if (max == 0 || max > PAGE_MAX)
                max = PAGE_MAX;
        *ret_first = MIN(first, all);
        *ret_count = MIN(max, all - *ret_first);
        return 0;
}

/* ---- Attempts ---- */

static const char *attempt_state(const MasterJob *j, const StoreAttempt *row, double *ret_fraction)
{
        static const char *const phases[_TASK_KIND_MAX][ATTEMPT_COMMITTING + 1] = {
                [TASK_MAP] = {"starting", "starting", "running", "committing"},
                [TASK_REDUCE] = {"shuffling", "waiting", "running", "committing"},
        };
        const Attempt *a = NULL;

        *ret_fraction = g_str_equal(row->end, "succeeded");
        if (*row->end)
                return row->end;
        if (j->table)
                a = task_table_attempt(j->table, (TaskKind) row->kind, row->task, row->attempt);
        if (!a)
                return "killed"; /* and its end is not in the store yet */
        *ret_fraction = a->fraction;
        return phases[row->kind][a->phase];
}

static void append_attempt(const StoreAttempt *row, void *userdata)
{
        Reply *x = userdata;
        double fraction;
        const char *state = attempt_state(x->job, row, &fraction);

        if (x->result >= 0)
                x->result = sd_bus_message_append(x->message, "(suusttsdss)", kind_name(row->kind),
                                                  row->task, row->attempt, row->worker_name,
                                                  row->started_usec, row->finished_usec, state,
                                                  fraction, row->reason, row->cause);
}

int bus_method_list_attempts(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        _cleanup_(reply_done) Reply x = {};
        uint32_t first = 0, count = 0;
        TaskKind kind = TASK_MAP;
        MasterJob *j = userdata;
        int r;

        r = read_range(message, j, &kind, &first, &count, ret_error);
        if (r >= 0)
                r = begin(message, j, "(suusttsdss)", &x);
        if (r >= 0)
                r = store_each_attempt(j->manager->store, j->number, (int) kind, first, count,
                                       append_attempt, &x);
        return finish(&x, r);
}

int bus_method_list_failed_attempts(sd_bus_message *message, void *userdata,
                                    sd_bus_error *ret_error)
{
        _cleanup_(reply_done) Reply x = {};
        MasterJob *j = userdata;
        uint32_t max;
        int r;

        r = sd_bus_message_read(message, "u", &max);
        if (r >= 0)
                r = begin(message, j, "(suusttsdss)", &x);
        if (r >= 0)
                r = store_each_failed_attempt(j->manager->store, j->number,
                                              max == 0 ? FAILED_MAX : MIN(max, FAILED_MAX),
                                              append_attempt, &x);
        return finish(&x, r);
}

static void append_tail(uint64_t seq, const StoreTail *tail, void *userdata)
{
        Reply *x = userdata;

        if (x->result >= 0)
                x->result = sd_bus_message_append(x->message, "(tsuuss)", tail->usec,
                                                  kind_name(tail->kind), tail->task, tail->attempt,
                                                  tail->worker_name, tail->text);
}

int bus_method_list_error_output(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        _cleanup_(reply_done) Reply x = {};
        MasterJob *j = userdata;
        int r;

        r = begin(message, j, "(tsuuss)", &x);
        if (r >= 0)
                r = store_each_tail(j->manager->store, j->number, append_tail, &x);
        return finish(&x, r);
}

/* ---- Counters ---- */

static void append_counter(const char *name, uint64_t value, void *userdata)
{
        Reply *x = userdata;

        if (x->result >= 0)
                x->result = sd_bus_message_append(x->message, "{st}", name, value);
}

static void append_counters(Reply *x, uint32_t task, const CounterSet *set)
{
        _cleanup_(counters_freep) Counters *sum = NULL;

        if (!set || x->result < 0)
                return;
        sum = counters_new();
        counters_add(sum, set);
        x->result = sd_bus_message_open_container(x->message, 'r', "ua{st}");
        if (x->result >= 0)
                x->result = sd_bus_message_append(x->message, "u", task);
        if (x->result >= 0)
                x->result = sd_bus_message_open_container(x->message, 'a', "{st}");
        counters_foreach(sum, append_counter, x);
        for (int i = 0; i < 2 && x->result >= 0; i++)
                x->result = sd_bus_message_close_container(x->message);
}

static void append_counters_row(const StoreTask *row, void *userdata)
{
        _cleanup_(counter_set_freep) CounterSet *set = counter_set_from_text(row->counters);

        append_counters(userdata, row->task, set);
}

int bus_method_list_task_counters(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        _cleanup_(reply_done) Reply x = {};
        MasterJob *j = userdata;
        uint32_t first, count;
        TaskKind kind;
        int r;

        r = read_range(message, j, &kind, &first, &count, ret_error);
        if (r >= 0)
                r = begin(message, j, "(ua{st})", &x);
        if (r >= 0 && j->table) {
                for (uint32_t i = first; i < first + count; i++)
                        append_counters(&x, i, j->task_counters[kind][i]);
        } else if (r >= 0) {
                r = store_each_task(j->manager->store, j->number, (int) kind, first, count,
                                    append_counters_row, &x);
        }
        return finish(&x, r);
}

/* ---- Lineage ---- */

typedef struct Lineage {
        Reply reply;
        const PlanFiles *files; /* NULL: not known any more, or a reduce */
        const SplitPlan *splits;
        TaskKind kind;
        uint32_t next, end; /* tasks without a row were never started */
} Lineage;

static int append_pieces(const Lineage *x, sd_bus_message *m, uint32_t map)
{
        const Split *split = &x->splits->splits[map];
        int r;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", "Input");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "a(stt)");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(stt)");
        for (size_t i = 0; i < MIN(split->count, PIECES_MAX) && r >= 0; i++) {
                const SplitPiece *piece = &x->splits->pieces[split->first + i];
                const PlanFile *file = &g_array_index(x->files->files, PlanFile, piece->file);
                g_autofree char *path = g_utf8_make_valid(file->path, -1);

                r = sd_bus_message_append(m, "(stt)", path, piece->offset, piece->length);
        }
        for (int i = 0; i < 3 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}{sv}", "InputBytes", "t", split->size_bytes,
                                          "Pieces", "u", (uint32_t) split->count);
        return r;
}

/* Why a map was run, or whose output was as good. */
static int append_how(const Lineage *x, sd_bus_message *m, uint32_t task, const char *origin,
                      LineageWhy why)
{
        const MasterJob *j = x->reply.job;
        const char *key = j->lineage ? job_lineage_key(j->lineage, task) : NULL;
        int r;

        r = sd_bus_message_append(m, "{sv}{sv}", "How", "s", *origin ? "reused" : "run", "Why", "s",
                                  *origin ? origin : lineage_why_to_string(why));
        return r < 0 || !key ? r : sd_bus_message_append(m, "{sv}", "Lineage", "s", key);
}

/* @attempt, @worker, @origin and @why: of the attempt whose output counts; meaningless unless
 * @done. */
static void append_lineage(Lineage *x, uint32_t task, bool done, uint32_t attempt,
                           const char *worker, const char *origin, LineageWhy why)
{
        sd_bus_message *m = x->reply.message;
        int r = x->reply.result;

        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}{sv}", "Index", "u", task, "Done", "b",
                                          (int) done);
        if (r >= 0 && done)
                r = sd_bus_message_append(m, "{sv}{sv}", "Attempt", "u", attempt, "Worker", "s",
                                          worker);
        if (r >= 0 && done && x->kind == TASK_MAP)
                r = append_how(x, m, task, origin, why);
        if (r >= 0 && x->kind == TASK_REDUCE)
                r = sd_bus_message_append(m, "{sv}{sv}", "Partition", "u", task, "Maps", "u",
                                          x->reply.job->maps);
        if (r >= 0 && x->files)
                r = append_pieces(x, m, task);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        x->reply.result = r;
}

static void append_unstarted(Lineage *x, uint32_t end)
{
        for (; x->next < end; x->next++)
                append_lineage(x, x->next, false, 0, "", "", WHY_UNKNOWN);
}

static void append_lineage_row(const StoreTask *row, void *userdata)
{
        Lineage *x = userdata;
        const Manager *m = x->reply.job->manager;

        append_unstarted(x, row->task);
        append_lineage(x, row->task, row->done, row->attempt, manager_worker_name(m, row->worker),
                       row->origin, (LineageWhy) row->why);
        x->next = row->task + 1;
}

int bus_method_explain_tasks(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        MasterJob *j = userdata;
        uint32_t first, count;
        Lineage x = {};
        int r;

        r = read_range(message, j, &x.kind, &first, &count, ret_error);
        if (r >= 0)
                r = begin(message, j, "a{sv}", &x.reply);
        if (r >= 0 && x.kind == TASK_MAP && count > 0 && job_get_plan(j, &x.files, &x.splits) < 0)
                x.files = NULL;
        x.next = first;
        x.end = first + count;
        for (; r >= 0 && j->table && x.next < x.end; x.next++) {
                const Task *task = task_table_get(j->table, x.kind, x.next);
                const char *origin = x.kind == TASK_MAP ? j->origins[x.next] : NULL;

                append_lineage(&x, x.next, task->committed && !task->output_lost,
                               task->done_attempt,
                               manager_worker_name(j->manager, task->done_worker),
                               origin ? origin : "", job_lineage_why(j->lineage, x.next));
        }
        if (r >= 0 && !j->table) {
                r = store_each_task(j->manager->store, j->number, (int) x.kind, first, count,
                                    append_lineage_row, &x);
                append_unstarted(&x, x.end);
        }
        r = finish(&x.reply, r);
        reply_done(&x.reply);
        return r;
}
