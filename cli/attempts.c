/*
 * A job's attempts — see attempts.h.
 */
#include "base/parse.h"
#include "cli/attempts.h"

#define PAGE 1000U /* tasks in one reply: the most that the master gives */
#define ATTEMPT_CONTENTS "(suusttsdss)"

int task_name_parse(const char *word, bool attempt, TaskName *ret, Error *e)
{
        static const char *const kinds[] = {"map", "reduce"};

        *ret = (TaskName){.task = -1, .attempt = -1};
        if (!word)
                return 0;
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
                g_auto(GStrv) parts = NULL;
                uint32_t task, number;

                if (!g_str_has_prefix(word, kinds[i]))
                        continue;
                ret->kind = kinds[i];
                word += strlen(kinds[i]);
                if (!*word) /* all maps */
                        return 0;
                if (*word != '-')
                        break;
                parts = g_strsplit(word + 1, "/", 2);
                if (!parts[0] || parse_u32_range(parts[0], 0, UINT32_MAX - 1, &task) < 0)
                        break;
                ret->task = task;
                if (!parts[1])
                        return 0;
                if (!attempt)
                        return error_setf(e, EINVAL, "a task is meant here, not one attempt of it");
                if (parse_u32_range(parts[1], 0, UINT32_MAX - 1, &number) < 0)
                        break;
                ret->attempt = number;
                return 0;
        }
        return error_setf(e, EINVAL, "a task is called map-0 or reduce-0%s",
                          attempt ? ", and its first attempt map-0/0" : "");
}

bool task_name_matches(const TaskName *name, const char *kind, uint32_t task, uint32_t attempt)
{
        return (!name->kind || g_str_equal(name->kind, kind)) &&
               (name->task < 0 || name->task == task) &&
               (name->attempt < 0 || name->attempt == attempt);
}

char *attempt_name(const char *kind, uint32_t task, uint32_t attempt)
{
        return g_strdup_printf("%s-%u/%u", kind, task, attempt);
}

static void row_clear(void *p)
{
        AttemptRow *a = p;

        g_free(a->kind);
        g_free(a->worker);
        g_free(a->state);
        g_free(a->reason);
        g_free(a->cause);
}

GArray *attempts_new(void)
{
        GArray *rows = g_array_new(FALSE, FALSE, sizeof(AttemptRow));

        g_array_set_clear_func(rows, row_clear);
        return rows;
}

static int read_row(sd_bus_message *m, const char *kind, void *userdata)
{
        const char *worker, *state, *reason, *cause;
        GArray *rows = userdata;
        AttemptRow a;
        int r;

        r = sd_bus_message_read(m, ATTEMPT_CONTENTS, &kind, &a.task, &a.attempt, &worker,
                                &a.started_usec, &a.finished_usec, &state, &a.fraction, &reason,
                                &cause);
        if (r <= 0)
                return r;
        a.kind = g_strdup(kind);
        a.worker = g_strdup(worker);
        a.state = g_strdup(state);
        a.reason = g_strdup(reason);
        a.cause = g_strdup(cause);
        g_array_append_val(rows, a);
        return 1;
}

static int read_page(Master *m, const Job *j, const char *method, const char *contents,
                     const char *kind, uint32_t first, uint32_t max, TaskReader fn, void *userdata,
                     Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = master_call(m, j->path, JOB_INTERFACE, method, &reply, e, "suu", kind, first, max);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', contents);
        while (r > 0)
                r = fn(reply, kind, userdata);
        return r < 0 ? master_bad_reply(r, e) : 0;
}

int tasks_each(Master *m, const Job *j, const char *method, const char *contents, const char *kind,
               const TaskName *name, TaskReader fn, void *userdata, Error *e)
{
        uint32_t all = g_str_equal(kind, "map") ? j->maps : j->reduces;
        int r = 0;

        if (name->kind && !g_str_equal(name->kind, kind))
                return 0;
        if (name->task >= 0) {
                if (name->task >= all)
                        return error_setf(e, ENOENT, "job %s has no task %s-%" G_GINT64_FORMAT,
                                          j->id, kind, name->task);
                return read_page(m, j, method, contents, kind, (uint32_t) name->task, 1, fn,
                                 userdata, e);
        }
        for (uint32_t first = 0; first < all && r >= 0; first += PAGE)
                r = read_page(m, j, method, contents, kind, first, PAGE, fn, userdata, e);
        return r;
}

int attempts_read(Master *m, const Job *j, const char *kind, const TaskName *name, GArray *rows,
                  Error *e)
{
        return tasks_each(m, j, "ListAttempts", ATTEMPT_CONTENTS, kind, name, read_row, rows, e);
}

int attempts_read_failed(Master *m, const Job *j, uint32_t max, GArray *rows, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = master_call(m, j->path, JOB_INTERFACE, "ListFailedAttempts", &reply, e, "u", max);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', ATTEMPT_CONTENTS);
        while (r > 0)
                r = read_row(reply, NULL, rows);
        return r < 0 ? master_bad_reply(r, e) : 0;
}

bool attempt_is_over(const AttemptRow *a)
{
        return a->finished_usec > 0;
}

json_t *attempt_to_json(const AttemptRow *a)
{
        return json_pack("{s:s, s:I, s:I, s:s, s:I, s:I, s:s, s:f, s:s, s:s}", "Kind", a->kind,
                         "Task", (json_int_t) a->task, "Attempt", (json_int_t) a->attempt, "Worker",
                         a->worker, "StartedUSec", (json_int_t) a->started_usec, "FinishedUSec",
                         (json_int_t) a->finished_usec, "State", a->state, "Fraction", a->fraction,
                         "Reason", a->reason, "Cause", a->cause);
}
