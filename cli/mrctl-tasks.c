/*
 * mrctl tasks — every task of a job, how often it was attempted, and where it is.
 */
#include "base/text.h"
#include "cli/job-query.h"
#include "cli/table.h"
#include "cli/verbs.h"

#define PAGE 1000U /* tasks in one reply: the most that the master gives */

enum { KIND, INDEX, STATE, STARTED, FAILED, LOST, WORKER, FRACTION, STATUS, COLUMNS };

static const Column columns[COLUMNS] = {
        [KIND] = {"KIND", "Kind"},
        [INDEX] = {"TASK", "Index", .right = true},
        [STATE] = {"STATE", "State"},
        [STARTED] = {"ATTEMPTS", "AttemptsStarted", .right = true},
        [FAILED] = {"FAILED", "AttemptsFailed", .right = true},
        [LOST] = {"LOST", "AttemptsLost", .right = true},
        [WORKER] = {"WORKER", "Worker", .truncate = true},
        [FRACTION] = {"DONE", "Fraction", .right = true},
        [STATUS] = {"STATUS", "Status", .truncate = true},
};

static int add_task(Table *t, const char *kind, sd_bus_message *m)
{
        const char *state, *worker, *status;
        uint32_t index, started, failed, lost;
        double fraction;
        int r;

        r = sd_bus_message_read(m, "(usuuusds)", &index, &state, &started, &failed, &lost, &worker,
                                &fraction, &status);
        if (r <= 0)
                return r;
        table_add_row(t);
        table_set_text(t, KIND, kind);
        table_set_number(t, INDEX, index);
        table_set_state(t, STATE, state);
        table_set_number(t, STARTED, started);
        table_set_number(t, FAILED, failed);
        table_set_number(t, LOST, lost);
        table_set_text(t, WORKER, worker);
        table_set(t, FRACTION, g_strdup_printf("%.0f%%", fraction * 100), json_real(fraction));
        table_set(t, STATUS, text_escape(status, strlen(status), 300), json_string(status));
        return 1;
}

/* The states are the master's to look at: of a hundred thousand tasks it sends those few that
 * run. */
static int call_page(Master *m, const Arguments *a, const char *path, const char *kind,
                     uint32_t first, uint32_t max, sd_bus_message **ret, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int r;

        r = sd_bus_message_new_method_call(m->bus, &call, m->name, path, JOB_INTERFACE,
                                           "ListTasksInState");
        if (r >= 0)
                r = sd_bus_message_append(call, "s", kind);
        if (r >= 0)
                r = sd_bus_message_open_container(call, 'a', "s");
        for (guint i = 0; r >= 0 && i < a->states->len; i++)
                r = sd_bus_message_append(call, "s", (const char *) a->states->pdata[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(call);
        if (r >= 0)
                r = sd_bus_message_append(call, "uu", first, max);
        return r < 0 ? master_explain(m, NULL, r, e) : master_send(m, call, ret, e);
}

/* Returns how many tasks the page had, or negative errno with a message; @first: where the next one
 * begins. */
static int add_page(Table *t, const Arguments *a, Master *m, const char *path, const char *kind,
                    uint32_t *first, uint32_t max, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r, n = 0;

        r = call_page(m, a, path, kind, *first, max, &reply, e);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', "(usuuusds)");
        while (r > 0 && (r = add_task(t, kind, reply)) > 0)
                n++;
        if (r >= 0)
                r = sd_bus_message_exit_container(reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "u", first);
        return r < 0 ? master_bad_reply(r, e) : n;
}

/* @left: how many rows may still come, counted down. */
static int add_tasks(Table *t, const Arguments *a, Master *m, const char *path, const char *kind,
                     uint32_t *left, Error *e)
{
        uint32_t first = 0, max;
        int n;

        do {
                max = MIN(*left, PAGE);
                if (max == 0)
                        return 0;
                n = add_page(t, a, m, path, kind, &first, max, e);
                if (n < 0)
                        return n;
                *left -= MIN((uint32_t) n, *left);
        } while ((uint32_t) n >= max);
        return 0;
}

int verb_tasks(const Arguments *a)
{
        _cleanup_(table_freep) Table *t = table_new(columns, COLUMNS, "tasks", a);
        _cleanup_(job_query_done) JobQuery q = {};
        uint32_t left = a->lines ? a->lines : UINT32_MAX;
        _cleanup_error_ Error e = {};
        int r;

        r = job_query_open(&q, a, QUERY_JOB);
        if (r != EXIT_SUCCESS)
                return r;
        r = add_tasks(t, a, &q.master, q.job->path, "map", &left, &e);
        if (r >= 0)
                r = add_tasks(t, a, &q.master, q.job->path, "reduce", &left, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        return table_print(t);
}
