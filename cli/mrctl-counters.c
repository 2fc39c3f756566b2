/*
 * mrctl counters — what a job counted, or one of its tasks.
 */
#include "base/text.h"
#include "cli/job-query.h"
#include "cli/table.h"
#include "cli/verbs.h"

enum { TASK, NAME, VALUE, COLUMNS };

static const Column job_columns[COLUMNS] = {
        [TASK] = {NULL, NULL},
        [NAME] = {"COUNTER", "Name", .truncate = true},
        [VALUE] = {"VALUE", "Value", .right = true},
};

static const Column task_columns[COLUMNS] = {
        [TASK] = {"TASK", "Task"},
        [NAME] = {"COUNTER", "Name", .truncate = true},
        [VALUE] = {"VALUE", "Value", .right = true},
};

static void add(Table *t, const char *task, const char *name, uint64_t value)
{
        table_add_row(t);
        table_set_text(t, TASK, task);
        table_set(t, NAME, text_escape(name, strlen(name), 300), json_string(name));
        table_set_number(t, VALUE, value);
}

static int add_task(sd_bus_message *m, const char *kind, void *userdata)
{
        g_autofree char *task = NULL;
        const char *name;
        uint64_t value;
        uint32_t index;
        int r;

        r = sd_bus_message_enter_container(m, 'r', "ua{st}");
        if (r <= 0)
                return r;
        r = sd_bus_message_read(m, "u", &index);
        if (r < 0)
                return r;
        task = g_strdup_printf("%s-%u", kind, index);
        r = sd_bus_message_enter_container(m, 'a', "{st}");
        while (r > 0 && (r = sd_bus_message_read(m, "{st}", &name, &value)) > 0)
                add(userdata, task, name, value);
        for (int i = 0; i < 2 && r >= 0; i++)
                r = sd_bus_message_exit_container(m);
        return r < 0 ? r : 1;
}

static int add_tasks(Table *t, Master *m, const Job *j, const TaskName *name, Error *e)
{
        static const char *const kinds[] = {"map", "reduce"};
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(kinds) && r >= 0; i++)
                r = tasks_each(m, j, "ListTaskCounters", "(ua{st})", kinds[i], name, add_task, t,
                               e);
        return r;
}

int verb_counters(const Arguments *a)
{
        _cleanup_(job_query_done) JobQuery q = {};
        _cleanup_(table_freep) Table *t = NULL;
        _cleanup_error_ Error e = {};
        int r;

        r = job_query_open(&q, a, QUERY_TASK);
        if (r != EXIT_SUCCESS)
                return r;
        t = table_new(q.is_named ? task_columns : job_columns, COLUMNS, "counters", a);
        if (q.is_named)
                r = add_tasks(t, &q.master, q.job, &q.name, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        for (guint i = 0; !q.is_named && i < q.job->counters->len; i++) {
                const JobCounter *c = &g_array_index(q.job->counters, JobCounter, i);

                add(t, "", c->name, c->value);
        }
        return table_print(t);
}
