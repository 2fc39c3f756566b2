/*
 * mrctl counters — what a job counted, or one of its tasks.
 */
#include "base/text.h"
#include "cli/attempts.h"
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
        const char *word = a->operands->len > 1 ? a->operands->pdata[1] : NULL;
        _cleanup_(table_freep) Table *t =
                table_new(word ? task_columns : job_columns, COLUMNS, "counters", a);
        _cleanup_(job_freep) Job *j = NULL;
        _cleanup_(master_done) Master m = {};
        _cleanup_error_ Error e = {};
        TaskName name;
        int r;

        if (task_name_parse(word, false, &name, &e) < 0) {
                (void) complain("%s", e.message);
                return EXIT_USAGE;
        }
        r = master_connect(&m, a, &e);
        if (r >= 0)
                r = job_read_by_id(&m, a->operands->pdata[0], &j, &e);
        if (r >= 0 && word)
                r = add_tasks(t, &m, j, &name, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        for (guint i = 0; !word && i < j->counters->len; i++) {
                const JobCounter *c = &g_array_index(j->counters, JobCounter, i);

                add(t, "", c->name, c->value);
        }
        return table_print(t);
}
