/*
 * mrctl explain — from what each task was made, and which attempt on which worker made it.
 */
#include "base/parse.h"
#include "base/text.h"
#include "cli/bus-json.h"
#include "cli/job-query.h"
#include "cli/table.h"
#include "cli/verbs.h"

#define SHOWN_MAX 3 /* pieces of one task; --json has up to 100 */

enum { TASK, HOW, ATTEMPT, WORKER, MADE_FROM, WHY, ALL, COLUMNS };

static const Column columns[COLUMNS] = {
        [TASK] = {"TASK", "Task"},
        [HOW] = {"HOW", NULL},
        [ATTEMPT] = {"ATTEMPT", NULL},
        [WORKER] = {"WORKER", NULL, .truncate = true},
        [MADE_FROM] = {"MADE FROM", NULL, .truncate = true},
        [WHY] = {"WHY", NULL, .truncate = true},
        [ALL] = {NULL, "Lineage"},
};

static uint64_t number_of(const json_t *o, const char *key)
{
        return (uint64_t) json_integer_value(json_object_get(o, key));
}

static const char *text_of(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));

        return s ? s : "";
}

/* "/in/a 0-1048576, /in/b, and 7 more" */
static char *describe_pieces(const json_t *pieces, uint64_t count)
{
        GString *s = g_string_new(NULL);
        json_t *piece;
        size_t i;

        json_array_foreach((json_t *) pieces, i, piece)
        {
                const char *path = json_string_value(json_array_get(piece, 0));
                json_int_t offset = json_integer_value(json_array_get(piece, 1));
                json_int_t length = json_integer_value(json_array_get(piece, 2));
                g_autofree char *safe = text_escape(path, strlen(path), 4000);

                if (i >= SHOWN_MAX)
                        break;
                g_string_append_printf(s, "%s%s %" JSON_INTEGER_FORMAT "+%" JSON_INTEGER_FORMAT,
                                       i > 0 ? ", " : "", safe, offset, length);
        }
        if (count > i)
                g_string_append_printf(s, " and %" G_GUINT64_FORMAT " more", count - i);
        return g_string_free(s, FALSE);
}

static char *describe(const json_t *o)
{
        const json_t *pieces = json_object_get(o, "Input");

        if (pieces)
                return describe_pieces(pieces, number_of(o, "Pieces"));
        if (json_object_get(o, "Partition"))
                return g_strdup_printf("partition %" G_GUINT64_FORMAT " of the outputs of "
                                       "%" G_GUINT64_FORMAT " maps",
                                       number_of(o, "Partition"), number_of(o, "Maps"));
        return g_strdup("not known any more");
}

static int add_task(sd_bus_message *m, const char *kind, void *userdata)
{
        g_autofree char *name = NULL;
        Table *t = userdata;
        json_t *o;
        bool done;
        int r;

        r = bus_read_dict_as_json(m, &o);
        if (r <= 0)
                return r;
        name = g_strdup_printf("%s-%" G_GUINT64_FORMAT, kind, number_of(o, "Index"));
        done = json_is_true(json_object_get(o, "Done"));
        table_add_row(t);
        table_set_text(t, TASK, name);
        table_set_text(t, HOW, *text_of(o, "How") ? text_of(o, "How") : done ? "run" : "");
        table_set(t, ATTEMPT,
                  done ? g_strdup_printf("%" G_GUINT64_FORMAT, number_of(o, "Attempt"))
                       : g_strdup("-"),
                  NULL);
        table_set_text(t, WORKER, text_of(o, "Worker"));
        table_set(t, MADE_FROM, describe(o), NULL);
        table_set_text(t, WHY, text_of(o, "Why"));
        table_set(t, ALL, NULL, o);
        return 1;
}

int verb_explain(const Arguments *a)
{
        static const char *const kinds[] = {"map", "reduce"};
        _cleanup_(table_freep) Table *t = table_new(columns, COLUMNS, "tasks", a);
        _cleanup_(job_query_done) JobQuery q = {};
        _cleanup_error_ Error e = {};
        int r;

        r = job_query_open(&q, a, QUERY_TASK);
        if (r != EXIT_SUCCESS)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(kinds) && r >= 0; i++)
                r = tasks_each(&q.master, q.job, "ExplainTasks", "a{sv}", kinds[i], &q.name,
                               add_task, t, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        return table_print(t);
}
