/*
 * mrctl tasks — every task of a job, how often it was attempted, and where it is.
 */
#include "base/text.h"
#include "cli/job-query.h"
#include "cli/table.h"
#include "cli/verbs.h"

#define PAGE 1000 /* tasks in one reply: the most that ListTasks gives */

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

static int add_task(Table *t, const Arguments *a, const char *kind, sd_bus_message *m)
{
        const char *state, *worker, *status;
        uint32_t index, started, failed, lost;
        double fraction;
        int r;

        r = sd_bus_message_read(m, "(usuuusds)", &index, &state, &started, &failed, &lost, &worker,
                                &fraction, &status);
        if (r <= 0)
                return r;
        if (!arguments_want_state(a, state))
                return 1;
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

/* Returns how many tasks the page had, or negative errno with a message. */
static int add_page(Table *t, const Arguments *a, Master *m, const char *path, const char *kind,
                    uint32_t first, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r, n = 0;

        r = master_call(m, path, JOB_INTERFACE, "ListTasks", &reply, e, "suu", kind, first,
                        (uint32_t) PAGE);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', "(usuuusds)");
        while (r > 0 && (r = add_task(t, a, kind, reply)) > 0)
                n++;
        return r < 0 ? master_bad_reply(r, e) : n;
}

static int add_tasks(Table *t, const Arguments *a, Master *m, const char *path, const char *kind,
                     Error *e)
{
        uint32_t first = 0;
        int n;

        do {
                n = add_page(t, a, m, path, kind, first, e);
                if (n < 0)
                        return n;
                first += (uint32_t) n;
        } while (n == PAGE);
        return 0;
}

int verb_tasks(const Arguments *a)
{
        _cleanup_(table_freep) Table *t = table_new(columns, COLUMNS, "tasks", a);
        _cleanup_(job_query_done) JobQuery q = {};
        _cleanup_error_ Error e = {};
        int r;

        r = job_query_open(&q, a, QUERY_JOB);
        if (r != EXIT_SUCCESS)
                return r;
        r = add_tasks(t, a, &q.master, q.job->path, "map", &e);
        if (r >= 0)
                r = add_tasks(t, a, &q.master, q.job->path, "reduce", &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        return table_print(t);
}
