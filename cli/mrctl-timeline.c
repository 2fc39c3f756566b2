/*
 * mrctl timeline — when and where each attempt of a job ran, as bars over the time of the job.
 *
 *      ATTEMPT   WORKER  STATE      START   TIME   0 ──────────────── 2.4s
 *      map-0/0   w1      succeeded   10ms  1.2s    =========
 *      map-1/0   w2      lost        12ms  700ms   xxxxx
 *      map-1/1   w1      succeeded  1.3s   600ms            =====
 */
#include "base/parse.h"
#include "cli/job-query.h"
#include "cli/print.h"
#include "cli/table.h"
#include "cli/verbs.h"

#define OTHER_COLUMNS_WIDTH 52 /* what the columns before the bars usually take */
#define BAR_MIN 10U
#define BAR_MAX 100U

enum { ATTEMPT, KIND, TASK, NUMBER, WORKER, STATE, START, FINISHED, TIME, BAR, REASON, COLUMNS };

static const Column columns[COLUMNS] = {
        [ATTEMPT] = {"ATTEMPT", NULL},
        [KIND] = {NULL, "Kind"},
        [TASK] = {NULL, "Task"},
        [NUMBER] = {NULL, "Attempt"},
        [WORKER] = {"WORKER", "Worker", .truncate = true},
        [STATE] = {"STATE", "State"},
        [START] = {"START", "StartedUSec", .right = true},
        [FINISHED] = {NULL, "FinishedUSec"},
        [TIME] = {"TIME", NULL, .right = true},
        [BAR] = {"", NULL, .truncate = true},
        [REASON] = {NULL, "Reason"},
};

typedef struct Scale {
        uint64_t from_usec, to_usec;
        unsigned width;
} Scale;

/* The character at which a moment falls. */
static unsigned position(const Scale *s, uint64_t usec)
{
        uint64_t span = s->to_usec - s->from_usec;

        usec = CLAMP(usec, s->from_usec, s->to_usec);
        return span == 0 ? 0 : (unsigned) ((usec - s->from_usec) * (s->width - 1) / span);
}

static char mark_of(const AttemptRow *a)
{
        if (!attempt_is_over(a))
                return '>';
        if (g_str_equal(a->state, "succeeded"))
                return '=';
        return g_str_equal(a->state, "killed") ? '-' : 'x';
}

static char *make_bar(const Scale *s, const AttemptRow *a)
{
        unsigned from = position(s, a->started_usec);
        unsigned to = position(s, attempt_is_over(a) ? a->finished_usec : s->to_usec);
        char *bar = g_malloc(to + 2);

        memset(bar, ' ', from);
        memset(bar + from, mark_of(a), to - from + 1);
        bar[to + 1] = '\0';
        return bar;
}

static gint compare(gconstpointer x, gconstpointer y)
{
        const AttemptRow *a = x, *b = y;
        int kinds;

        if (a->started_usec != b->started_usec)
                return a->started_usec < b->started_usec ? -1 : 1;
        kinds = strcmp(a->kind, b->kind);
        if (kinds != 0)
                return kinds;
        return a->task != b->task ? (a->task < b->task ? -1 : 1) : 0;
}

static void add_row(Table *t, const Scale *s, const AttemptRow *a)
{
        table_add_row(t);
        table_set(t, ATTEMPT, attempt_name(a->kind, a->task, a->attempt), NULL);
        table_set_text(t, KIND, a->kind);
        table_set_number(t, TASK, a->task);
        table_set_number(t, NUMBER, a->attempt);
        table_set_text(t, WORKER, a->worker);
        table_set_state(t, STATE, a->state);
        table_set(t, START,
                  format_timespan(a->started_usec > s->from_usec ? a->started_usec - s->from_usec
                                                                 : 0),
                  json_integer((json_int_t) a->started_usec));
        table_set_number(t, FINISHED, a->finished_usec);
        table_set(t, TIME, format_duration(a->started_usec, a->finished_usec), NULL);
        table_set(t, BAR, make_bar(s, a), NULL);
        table_set_text(t, REASON, a->reason);
}

static Scale scale_of(const Job *j)
{
        unsigned width = terminal_width(STDOUT_FILENO);

        return (Scale){
                .from_usec = j->submitted_usec,
                .to_usec = j->finished_usec ? j->finished_usec : now_realtime_usec(),
                .width = width > OTHER_COLUMNS_WIDTH + BAR_MIN
                                 ? MIN(width - OTHER_COLUMNS_WIDTH, BAR_MAX)
                                 : BAR_MIN,
        };
}

int verb_timeline(const Arguments *a)
{
        static const char *const kinds[] = {"map", "reduce"};
        _cleanup_(table_freep) Table *t = table_new(columns, COLUMNS, "attempts", a);
        g_autoptr(GArray) rows = attempts_new();
        _cleanup_(job_query_done) JobQuery q = {};
        _cleanup_error_ Error e = {};
        Scale scale;
        int r;

        r = job_query_open(&q, a, QUERY_TASK);
        if (r != EXIT_SUCCESS)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(kinds) && r >= 0; i++)
                r = attempts_read(&q.master, q.job, kinds[i], &q.name, rows, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        g_array_sort(rows, compare);
        scale = scale_of(q.job);
        for (guint i = 0; i < rows->len; i++)
                add_row(t, &scale, &g_array_index(rows, AttemptRow, i));
        return table_print(t);
}
