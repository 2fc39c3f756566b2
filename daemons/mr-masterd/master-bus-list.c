/*
 * Lists of jobs on the bus — the newest, or those that a filter lets through.
 */
#include <fnmatch.h>

#include "mr-masterd/master-manager.h"

#define LIST_JOBS_MAX 1000U
#define FILTER_STATES_MAX 16U

static uint32_t done_of(const MasterJob *j, TaskKind kind)
{
        if (j->table)
                return task_table_count_in(j->table, kind, TASK_DONE);
        return kind == TASK_MAP ? j->maps_done : j->reduces_done;
}

static int append_job(sd_bus_message *reply, const MasterJob *j)
{
        return sd_bus_message_append(reply, "(sossuuuutt)", j->id, j->path, j->desc->name,
                                     job_state_to_string(j->state), j->maps, done_of(j, TASK_MAP),
                                     j->reduces, done_of(j, TASK_REDUCE), j->submitted_usec,
                                     j->finished_usec);
}

int bus_method_list_jobs(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const Manager *m = userdata;
        uint32_t max;
        int r;

        r = sd_bus_message_read(message, "u", &max);
        if (r >= 0)
                r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(sossuuuutt)");
        if (max == 0 || max > LIST_JOBS_MAX)
                max = LIST_JOBS_MAX;
        for (guint i = m->by_age->len; r >= 0 && i-- > 0 && max-- > 0;)
                r = append_job(reply, m->by_age->pdata[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* Strings are the message's. What was not asked for lets everything through. */
typedef struct Filter {
        const char *states[FILTER_STATES_MAX];
        guint state_count;
        const char *name; /* a glob */
        uint32_t uid;
        bool has_uid;
        uint64_t since_usec, until_usec; /* of submission */
        uint64_t before;                 /* a job's number */
} Filter;

static int read_states(sd_bus_message *m, Filter *f)
{
        const char *state;
        int r;

        r = sd_bus_message_enter_container(m, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'a', "s");
        while (r > 0 && (r = sd_bus_message_read(m, "s", &state)) > 0)
                if (f->state_count < FILTER_STATES_MAX)
                        f->states[f->state_count++] = state;
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_criterion(sd_bus_message *m, Filter *f, sd_bus_error *ret_error)
{
        const char *key, *text;
        int r;

        r = sd_bus_message_read(m, "s", &key);
        if (r < 0)
                return r;
        if (g_str_equal(key, "State"))
                return read_states(m, f);
        if (g_str_equal(key, "Name"))
                return sd_bus_message_read(m, "v", "s", &f->name);
        if (g_str_equal(key, "UID")) {
                f->has_uid = true;
                return sd_bus_message_read(m, "v", "u", &f->uid);
        }
        if (g_str_equal(key, "Since"))
                return sd_bus_message_read(m, "v", "t", &f->since_usec);
        if (g_str_equal(key, "Until"))
                return sd_bus_message_read(m, "v", "t", &f->until_usec);
        if (g_str_equal(key, "Before")) {
                r = sd_bus_message_read(m, "v", "s", &text);
                f->before = r < 0 ? 0 : g_ascii_strtoull(text, NULL, 10);
                return r;
        }
        return sd_bus_error_setf(ret_error, SD_BUS_ERROR_INVALID_ARGS,
                                 "unknown criterion %.64s (known: State, Name, UID, Since, Until, "
                                 "Before)",
                                 key);
}

static int read_filter(sd_bus_message *m, Filter *f, sd_bus_error *ret_error)
{
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (r > 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = read_criterion(m, f, ret_error);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
                r = 1;
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static bool is_wanted(const Filter *f, const MasterJob *j)
{
        bool state = f->state_count == 0;

        for (guint i = 0; i < f->state_count; i++)
                state = state || g_str_equal(f->states[i], job_state_to_string(j->state));
        return state && (!f->name || fnmatch(f->name, j->desc->name, 0) == 0) &&
               (!f->has_uid || f->uid == j->uid) && j->submitted_usec >= f->since_usec &&
               (f->until_usec == 0 || j->submitted_usec <= f->until_usec) &&
               (f->before == 0 || j->number < f->before);
}

static int append_detailed(sd_bus_message *reply, const MasterJob *j)
{
        const TaskTable *t = j->table;

        return sd_bus_message_append(
                reply, "(sossuuuuttuuuts)", j->id, j->path, j->desc->name,
                job_state_to_string(j->state), j->maps, done_of(j, TASK_MAP), j->reduces,
                done_of(j, TASK_REDUCE), j->submitted_usec, j->finished_usec, j->uid,
                t ? task_table_failed(t) : j->attempts_failed,
                t ? task_table_lost(t) : j->attempts_lost, j->input_bytes, j->program);
}

int bus_method_list_jobs_filtered(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const Manager *m = userdata;
        Filter f = {};
        uint32_t max;
        int r;

        r = read_filter(message, &f, ret_error);
        if (r >= 0)
                r = sd_bus_message_read(message, "u", &max);
        if (r >= 0)
                r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(sossuuuuttuuuts)");
        if (r < 0)
                return r;
        if (max == 0 || max > LIST_JOBS_MAX)
                max = LIST_JOBS_MAX;
        for (guint i = m->by_age->len; r >= 0 && i-- > 0 && max > 0;) {
                if (!is_wanted(&f, m->by_age->pdata[i]))
                        continue;
                r = append_detailed(reply, m->by_age->pdata[i]);
                max--;
        }
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}
