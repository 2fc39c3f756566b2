/*
 * Jobs on the bus: /org/mapreduced/Master1/job/ID.
 */
#include <fcntl.h>

#include "apps/catalog.h"
#include "mr-masterd/master-manager.h"
#include "mr-masterd/master-output.h"
#include "platform/bus.h"

#define JOB_INTERFACE "org.mapreduced.Master1.Job"
#define JOB_PREFIX MASTER_PATH "/job"
#define LIST_TASKS_MAX 1000U

/* ---- Properties ---- */

static const char *state_reason(const MasterJob *j)
{
        if (*j->reason && job_is_over(j))
                return j->reason;
        return j->waiting_for ? j->waiting_for : "";
}

static const char *state_cause(const MasterJob *j)
{
        if (job_is_over(j))
                return j->cause;
        return j->waiting_for ? j->waiting_cause : "";
}

/* Is each part of reduces in the order of its keys? A program of the user's may write other keys
 * than those it is given: what comes back to the caller is sorted, what lies in an output directory
 * is as it was written. */
static bool parts_are_sorted(const JobDesc *d)
{
        const CatalogApp *app = catalog_find(d->app);

        if (app)
                return !app->ordered;
        return !*d->sort_key_fields && (!*d->output || (!*d->app && !*d->reducer));
}

static const char *result_order(const MasterJob *j)
{
        return j->reduces > 0 && parts_are_sorted(j->desc) ? "key" : "parts";
}

static int property_text(sd_bus *bus, const char *path, const char *interface, const char *property,
                         sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
        const MasterJob *j = userdata;
        const char *s;

        if (g_str_equal(property, "Name"))
                s = j->desc->name;
        else if (g_str_equal(property, "State"))
                s = job_state_to_string(j->state);
        else if (g_str_equal(property, "StateReason"))
                s = state_reason(j);
        else if (g_str_equal(property, "Cause"))
                s = state_cause(j);
        else if (g_str_equal(property, "CauseAttempt"))
                s = job_is_over(j) ? j->cause_attempt : "";
        else if (g_str_equal(property, "Output"))
                s = j->desc->output;
        else if (g_str_equal(property, "ResultOrder"))
                s = result_order(j);
        else
                s = job_is_over(j) ? j->error_output : "";
        return sd_bus_message_append(reply, "s", s);
}

static int property_input(sd_bus *bus, const char *path, const char *interface,
                          const char *property, sd_bus_message *reply, void *userdata,
                          sd_bus_error *error)
{
        const MasterJob *j = userdata;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "s");
        for (guint i = 0; r >= 0 && i < j->desc->inputs->len; i++)
                r = sd_bus_message_append(reply, "s", j->desc->inputs->pdata[i]);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static uint32_t count_of(const MasterJob *j, const char *property)
{
        const TaskTable *t = j->table;

        if (g_str_equal(property, "MapsRunning"))
                return t ? task_table_count_in(t, TASK_MAP, TASK_RUNNING) : 0;
        if (g_str_equal(property, "MapsDone"))
                return t ? task_table_count_in(t, TASK_MAP, TASK_DONE) : j->maps_done;
        if (g_str_equal(property, "ReducesRunning"))
                return t ? task_table_count_in(t, TASK_REDUCE, TASK_RUNNING) : 0;
        if (g_str_equal(property, "ReducesDone"))
                return t ? task_table_count_in(t, TASK_REDUCE, TASK_DONE) : j->reduces_done;
        if (g_str_equal(property, "AttemptsFailed"))
                return t ? task_table_failed(t) : j->attempts_failed;
        if (g_str_equal(property, "AttemptsLost"))
                return t ? task_table_lost(t) : j->attempts_lost;
        return t ? task_table_outputs_lost(t) : j->outputs_lost;
}

static int property_count(sd_bus *bus, const char *path, const char *interface,
                          const char *property, sd_bus_message *reply, void *userdata,
                          sd_bus_error *error)
{
        return sd_bus_message_append(reply, "u", count_of(userdata, property));
}

/* Of all tasks of a kind, the parts that are done of running ones counted: 0 to 1. */
static double progress_of(const MasterJob *j, const char *property)
{
        bool maps = g_str_equal(property, "MapProgress");
        uint32_t all = maps ? j->maps : j->reduces;
        double sum;

        if (!j->table)
                return j->state == JOB_DONE || j->state == JOB_COMMITTING ? 1
                       : all == 0                                         ? 0
                       : maps ? (double) j->maps_done / all
                              : (double) j->reduces_done / all;
        sum = task_table_count_in(j->table, maps ? TASK_MAP : TASK_REDUCE, TASK_DONE);
        return all == 0 ? 1 : MIN((sum + job_fractions(j, property[0])) / all, 1);
}

static int property_progress(sd_bus *bus, const char *path, const char *interface,
                             const char *property, sd_bus_message *reply, void *userdata,
                             sd_bus_error *error)
{
        return sd_bus_message_append(reply, "d", progress_of(userdata, property));
}

typedef struct CounterReply {
        sd_bus_message *reply;
        int result;
} CounterReply;

static void append_counter(const char *name, uint64_t value, void *userdata)
{
        CounterReply *c = userdata;

        if (c->result >= 0)
                c->result = sd_bus_message_append(c->reply, "{st}", name, value);
}

static int property_counters(sd_bus *bus, const char *path, const char *interface,
                             const char *property, sd_bus_message *reply, void *userdata,
                             sd_bus_error *error)
{
        const MasterJob *j = userdata;
        CounterReply c = {.reply = reply};

        c.result = sd_bus_message_open_container(reply, 'a', "{st}");
        if (c.result >= 0 && j->counters)
                counters_foreach(j->counters, append_counter, &c);
        return c.result < 0 ? c.result : sd_bus_message_close_container(reply);
}

/* ---- Methods ---- */

static int method_cancel(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        MasterJob *j = userdata;
        int r;

        r = bus_authorise(j->manager, message, ACTION_CANCEL, j, ret_error);
        if (r < 0)
                return r;
        if (r == 0)
                return 1;
        if (job_is_over(j))
                return bus_error_setf(ret_error, BUS_ERROR_WRONG_STATE, "Job %s is over: it is %s",
                                      j->id, job_state_to_string(j->state));
        job_end(j, JOB_CANCELLED, "", "", NULL, NULL);
        return sd_bus_reply_method_return(message, "");
}

static int method_open_part(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        const MasterJob *j = userdata;
        g_autofree char *name = NULL, *path = NULL;
        _cleanup_close_ int fd = -EBADF;
        uint32_t part;
        int r;

        r = bus_authorise(j->manager, message, ACTION_READ_RESULTS, j, ret_error);
        if (r <= 0)
                return r < 0 ? r : 1;
        r = sd_bus_message_read(message, "u", &part);
        if (r < 0)
                return r;
        if (j->state != JOB_DONE)
                return bus_error_setf(ret_error, BUS_ERROR_WRONG_STATE,
                                      "Job %s is %s: it has no result%s", j->id,
                                      job_state_to_string(j->state), job_is_over(j) ? "" : " yet");
        if (*j->desc->output)
                return bus_error_setf(ret_error, BUS_ERROR_NO_SUCH_PART,
                                      "The result of job %s is in %s", j->id, j->output_dir);
        if (part >= job_part_count(j))
                return bus_error_setf(ret_error, BUS_ERROR_NO_SUCH_PART,
                                      "Job %s has %u parts, from 0 on, and no part %u", j->id,
                                      job_part_count(j), part);
        name = g_strdup_printf(OUTPUT_PART_FORMAT, part, "");
        path = g_build_filename(j->output_dir, name, NULL);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return bus_error_setf(ret_error, BUS_ERROR_IO, "Cannot open %s: %s", path,
                                      error_text(errno));
        return sd_bus_reply_method_return(message, "h", fd);
}

typedef struct TaskReply {
        sd_bus_message *reply;
        int result;
        uint32_t next, end;  /* tasks that have no row were never started */
        uint32_t left, stop; /* how many more; the first task that was not looked at any more */
        unsigned states;     /* a bit for each of task_states; 0: any */
} TaskReply;

static const char *const task_states[] = {
        [TASK_IDLE] = "idle", [TASK_RUNNING] = "running", [TASK_DONE] = "done"};

static bool is_wanted(const TaskReply *x, const char *state)
{
        for (size_t i = 0; i < ELEMENTSOF(task_states); i++)
                if (g_str_equal(task_states[i], state))
                        return x->states == 0 || (x->states & 1U << i);
        return false;
}

static int append_task(TaskReply *x, uint32_t index, const char *state, uint32_t started,
                       uint32_t failed, uint32_t lost, const char *worker, double fraction,
                       const char *status)
{
        if (x->result < 0)
                return x->result;
        if (x->left == 0) {
                x->stop = MIN(x->stop, index);
                return 0;
        }
        if (!is_wanted(x, state))
                return 0;
        x->left--;
        x->result = sd_bus_message_append(x->reply, "(usuuusds)", index, state, started, failed,
                                          lost, worker, fraction, status);
        return x->result;
}

static void append_idle_until(TaskReply *x, uint32_t end)
{
        for (; x->next < end; x->next++)
                (void) append_task(x, x->next, "idle", 0, 0, 0, "", 0, "");
}

static void append_row(const StoreTask *row, void *userdata)
{
        TaskReply *x = userdata;

        append_idle_until(x, row->task);
        (void) append_task(x, row->task, row->done ? "done" : "idle", row->started, row->failed,
                           row->lost, row->worker_name, row->done, row->status);
        x->next = row->task + 1;
}

static void append_living(TaskReply *x, const MasterJob *j, TaskKind kind)
{
        for (; x->next < x->end; x->next++) {
                const Task *task = task_table_get(j->table, kind, x->next);
                double fraction = task->state == TASK_DONE ? 1 : 0;

                if (task->state == TASK_RUNNING)
                        fraction = task->running[task->running_count - 1].fraction;
                (void) append_task(x, x->next, task_states[task->state], task->started,
                                   task->failed, task->lost,
                                   manager_worker_name(j->manager, task->newest_worker), fraction,
                                   task->status ? task->status : "");
        }
}

static int read_kind(sd_bus_message *message, TaskKind *ret, sd_bus_error *ret_error)
{
        const char *name;
        int r;

        r = sd_bus_message_read(message, "s", &name);
        if (r < 0)
                return r;
        if (!g_str_equal(name, "map") && !g_str_equal(name, "reduce"))
                return sd_bus_error_setf(ret_error, SD_BUS_ERROR_INVALID_ARGS,
                                         "KIND is \"map\" or \"reduce\", not \"%.40s\"", name);
        *ret = g_str_equal(name, "map") ? TASK_MAP : TASK_REDUCE;
        return 0;
}

/* As a mask. */
static int read_states(sd_bus_message *message, unsigned *ret, sd_bus_error *ret_error)
{
        const char *state;
        int r;

        r = sd_bus_message_enter_container(message, 'a', "s");
        while (r > 0 && (r = sd_bus_message_read(message, "s", &state)) > 0) {
                size_t i = 0;

                while (i < ELEMENTSOF(task_states) && !g_str_equal(task_states[i], state))
                        i++;
                if (i == ELEMENTSOF(task_states))
                        return sd_bus_error_setf(ret_error, SD_BUS_ERROR_INVALID_ARGS,
                                                 "a task is idle, running or done, not \"%.40s\"",
                                                 state);
                *ret |= 1U << i;
        }
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

/* Appends the array of those from x->next to x->end. */
static int append_tasks(TaskReply *x, const MasterJob *j, TaskKind kind)
{
        int r;

        r = sd_bus_message_open_container(x->reply, 'a', "(usuuusds)");
        if (r < 0)
                return r;
        if (j->table) {
                append_living(x, j, kind);
        } else {
                r = store_each_task(j->manager->store, j->number, (int) kind, x->next,
                                    x->end - x->next, append_row, x);
                append_idle_until(x, x->end);
        }
        if (r >= 0)
                r = x->result;
        return r < 0 ? r : sd_bus_message_close_container(x->reply);
}

static uint32_t task_limit(uint32_t max)
{
        return max == 0 || max > LIST_TASKS_MAX ? LIST_TASKS_MAX : max;
}

/* @in_states: only those in the states that the call names, with where to go on. */
static int list_tasks(sd_bus_message *message, const MasterJob *j, bool in_states,
                      sd_bus_error *ret_error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        uint32_t first, max, count;
        TaskReply x = {};
        TaskKind kind = TASK_MAP;
        int r;

        r = read_kind(message, &kind, ret_error);
        if (r >= 0 && in_states)
                r = read_states(message, &x.states, ret_error);
        if (r >= 0)
                r = sd_bus_message_read(message, "uu", &first, &max);
        if (r >= 0)
                r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        count = kind == TASK_MAP ? j->maps : j->reduces;
        x.reply = reply;
        x.left = task_limit(max);
        x.next = MIN(first, count);
        x.end = in_states ? count : x.next + MIN(x.left, count - x.next);
        x.stop = x.end;
        r = append_tasks(&x, j, kind);
        if (r >= 0 && in_states)
                r = sd_bus_message_append(reply, "u", x.stop);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int method_list_tasks(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        return list_tasks(message, userdata, false, ret_error);
}

static int method_list_tasks_in_state(sd_bus_message *message, void *userdata,
                                      sd_bus_error *ret_error)
{
        return list_tasks(message, userdata, true, ret_error);
}

static void append_event(uint64_t seq, uint64_t usec, const char *kind, const char *text,
                         void *userdata)
{
        TaskReply *x = userdata;

        if (x->result >= 0)
                x->result = sd_bus_message_append(x->reply, "(tss)", usec, kind, text);
}

static int method_list_events(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const MasterJob *j = userdata;
        TaskReply x = {};
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(tss)");
        x.reply = reply;
        if (r >= 0)
                r = store_each_event(j->manager->store, j->number, append_event, &x);
        if (r >= 0)
                r = x.result;
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

typedef struct EventReply {
        sd_bus_message *reply;
        uint64_t first;
        int result;
} EventReply;

static void append_event_since(uint64_t seq, uint64_t usec, const char *kind, const char *text,
                               void *userdata)
{
        EventReply *x = userdata;

        if (x->result >= 0 && seq >= x->first)
                x->result = sd_bus_message_append(x->reply, "(ttss)", seq, usec, kind, text);
}

static int method_list_events_since(sd_bus_message *message, void *userdata,
                                    sd_bus_error *ret_error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const MasterJob *j = userdata;
        EventReply x = {};
        int r;

        r = sd_bus_message_read(message, "t", &x.first);
        if (r >= 0)
                r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(ttss)");
        x.reply = reply;
        if (r >= 0)
                r = store_each_event(j->manager->store, j->number, append_event_since, &x);
        if (r >= 0)
                r = x.result;
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE
#define CONST SD_BUS_VTABLE_PROPERTY_CONST

static const sd_bus_vtable job_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Cancel", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_cancel,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Retry", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", id, "o", job),
                                bus_method_retry, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("OpenPart", SD_BUS_ARGS("u", part), SD_BUS_RESULT("h", file),
                                method_open_part, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListTasks", SD_BUS_ARGS("s", kind, "u", first, "u", max),
                                SD_BUS_RESULT("a(usuuusds)", tasks), method_list_tasks,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListTasksInState",
                                SD_BUS_ARGS("s", kind, "as", states, "u", first, "u", max),
                                SD_BUS_RESULT("a(usuuusds)", tasks, "u", next),
                                method_list_tasks_in_state, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListEvents", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(tss)", events),
                                method_list_events, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListEventsSince", SD_BUS_ARGS("t", first),
                                SD_BUS_RESULT("a(ttss)", events), method_list_events_since,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListAttempts", SD_BUS_ARGS("s", kind, "u", first, "u", max),
                                SD_BUS_RESULT("a(suusttsdss)", attempts), bus_method_list_attempts,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListFailedAttempts", SD_BUS_ARGS("u", max),
                                SD_BUS_RESULT("a(suusttsdss)", attempts),
                                bus_method_list_failed_attempts, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListErrorOutput", SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("a(tsuuss)", tails), bus_method_list_error_output,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListTaskCounters", SD_BUS_ARGS("s", kind, "u", first, "u", max),
                                SD_BUS_RESULT("a(ua{st})", counters), bus_method_list_task_counters,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ExplainTasks", SD_BUS_ARGS("s", kind, "u", first, "u", max),
                                SD_BUS_RESULT("aa{sv}", tasks), bus_method_explain_tasks,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Id", "s", NULL, offsetof(MasterJob, id), CONST),
        SD_BUS_PROPERTY("Name", "s", property_text, 0, CONST),
        SD_BUS_PROPERTY("State", "s", property_text, 0, CHANGES),
        SD_BUS_PROPERTY("StateReason", "s", property_text, 0, CHANGES),
        SD_BUS_PROPERTY("Cause", "s", property_text, 0, CHANGES),
        SD_BUS_PROPERTY("CauseAttempt", "s", property_text, 0, CHANGES),
        SD_BUS_PROPERTY("UID", "u", NULL, offsetof(MasterJob, uid), CONST),
        SD_BUS_PROPERTY("Input", "as", property_input, 0, CONST),
        SD_BUS_PROPERTY("Output", "s", property_text, 0, CONST),
        SD_BUS_PROPERTY("Program", "s", NULL, offsetof(MasterJob, program), CONST),
        SD_BUS_PROPERTY("ResultOrder", "s", property_text, 0, CONST),
        SD_BUS_PROPERTY("Maps", "u", NULL, offsetof(MasterJob, maps), CHANGES),
        SD_BUS_PROPERTY("MapsRunning", "u", property_count, 0, CHANGES),
        SD_BUS_PROPERTY("MapsDone", "u", property_count, 0, CHANGES),
        SD_BUS_PROPERTY("Reduces", "u", NULL, offsetof(MasterJob, reduces), CHANGES),
        SD_BUS_PROPERTY("ReducesRunning", "u", property_count, 0, CHANGES),
        SD_BUS_PROPERTY("ReducesDone", "u", property_count, 0, CHANGES),
        SD_BUS_PROPERTY("MapProgress", "d", property_progress, 0, CHANGES),
        SD_BUS_PROPERTY("ShuffleProgress", "d", property_progress, 0, CHANGES),
        SD_BUS_PROPERTY("ReduceProgress", "d", property_progress, 0, CHANGES),
        SD_BUS_PROPERTY("EventCount", "t", NULL, offsetof(MasterJob, next_event), CHANGES),
        SD_BUS_PROPERTY("AttemptsFailed", "u", property_count, 0, CHANGES),
        SD_BUS_PROPERTY("AttemptsLost", "u", property_count, 0, CHANGES),
        SD_BUS_PROPERTY("MapOutputsLost", "u", property_count, 0, CHANGES),
        SD_BUS_PROPERTY("InputBytes", "t", NULL, offsetof(MasterJob, input_bytes), CHANGES),
        SD_BUS_PROPERTY("Counters", "a{st}", property_counters, 0, CHANGES),
        SD_BUS_PROPERTY("ErrorOutput", "s", property_text, 0, CHANGES),
        SD_BUS_PROPERTY("SubmittedUSec", "t", NULL, offsetof(MasterJob, submitted_usec), CONST),
        SD_BUS_PROPERTY("StartedUSec", "t", NULL, offsetof(MasterJob, started_usec), CHANGES),
        SD_BUS_PROPERTY("FinishedUSec", "t", NULL, offsetof(MasterJob, finished_usec), CHANGES),
        SD_BUS_VTABLE_END,
};

static int find_job(sd_bus *bus, const char *path, const char *interface, void *userdata,
                    void **ret_found, sd_bus_error *ret_error)
{
        MasterJob *j;

        if (!g_str_has_prefix(path, JOB_PREFIX "/"))
                return 0;
        j = manager_find_job(userdata, path + strlen(JOB_PREFIX "/"));
        if (!j)
                return 0;
        *ret_found = j;
        return 1;
}

static int enumerate_jobs(sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes,
                          sd_bus_error *ret_error)
{
        const Manager *m = userdata;
        char **nodes = calloc(m->by_age->len + 1, sizeof(char *));
        size_t n = 0;

        if (!nodes)
                return -ENOMEM;
        for (guint i = 0; i < m->by_age->len; i++) {
                nodes[n] = strdup(((const MasterJob *) m->by_age->pdata[i])->path);
                if (nodes[n])
                        n++;
        }
        *ret_nodes = nodes;
        return 0;
}

int bus_add_job_objects(Manager *m)
{
        int r;

        r = sd_bus_add_fallback_vtable(m->bus, NULL, JOB_PREFIX, JOB_INTERFACE, job_vtable,
                                       find_job, m);
        return r < 0 ? r : sd_bus_add_node_enumerator(m->bus, NULL, JOB_PREFIX, enumerate_jobs, m);
}

void bus_job_added(MasterJob *j)
{
        if (j->manager->bus)
                (void) sd_bus_emit_object_added(j->manager->bus, j->path);
}

void bus_job_removed(MasterJob *j)
{
        if (j->manager->bus)
                (void) sd_bus_emit_object_removed(j->manager->bus, j->path);
}

void bus_announce_job(MasterJob *j)
{
        if (!j->manager->bus)
                return;
        if (j->changed & CHANGED_STATE)
                (void) sd_bus_emit_properties_changed(
                        j->manager->bus, j->path, JOB_INTERFACE, "State", "StateReason", "Cause",
                        "CauseAttempt", "Maps", "Reduces", "InputBytes", "ErrorOutput",
                        "StartedUSec", "FinishedUSec", "MapsRunning", "MapsDone", "ReducesRunning",
                        "ReducesDone", "AttemptsFailed", "AttemptsLost", "MapOutputsLost",
                        "Counters", "MapProgress", "ShuffleProgress", "ReduceProgress",
                        "EventCount", NULL);
        else
                (void) sd_bus_emit_properties_changed(
                        j->manager->bus, j->path, JOB_INTERFACE, "StateReason", "Cause",
                        "MapsRunning", "MapsDone", "ReducesRunning", "ReducesDone",
                        "AttemptsFailed", "AttemptsLost", "MapOutputsLost", "Counters",
                        "MapProgress", "ShuffleProgress", "ReduceProgress", "EventCount", NULL);
}
