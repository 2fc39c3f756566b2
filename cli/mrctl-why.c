/*
 * mrctl why — the one cause that matters, from the attempt that matters, and the way out.
 *
 * For a job that failed the cause is the master's sentence, and the attempt the one that the master
 * blames. For one that does not get on it is what it waits for, or else what went wrong last, or
 * else the attempt that has been at work longest. The way out is looked up by the cause's word
 * (base/cause.h), never by the sentence.
 */
#include "base/cause.h"
#include "base/parse.h"
#include "base/text.h"
#include "cli/job-query.h"
#include "cli/print.h"
#include "cli/verbs.h"

#define FAILED_READ 100U
#define TEXT_MAX_BYTES 4000
#define LINES_MAX_SHOWN 20

typedef struct Cause {
        char *text, *word;
        AttemptRow *attempt; /* in the array it was read into; NULL: none in particular */
        uint32_t failures;   /* of its task, it included */
        char *error_output;
        char *remedy;
} Cause;

static void cause_done(Cause *c)
{
        g_free(c->text);
        g_free(c->word);
        g_free(c->error_output);
        g_free(c->remedy);
}

/* By the cause's word. %s in a remedy is the job's id. */
static const struct {
        const char *cause, *remedy;
} remedies[] = {
        {CAUSE_NO_WORKER,
         "start mr-workerd on a host ('systemctl start mr-workerd'); 'mrctl workers' shows those there are"},
        {CAUSE_ALL_DRAINED, "give a worker tasks again: 'mrctl resume WORKER'"},
        {CAUSE_NO_SLOT,
         "wait, cancel an older job ('mrctl list'), or add workers: jobs are served oldest first"},
        {CAUSE_USER_LIMIT,
         "wait, cancel an older job of yours ('mrctl list'), or have the limit raised: masterd.conf(5)"},
        {CAUSE_NO_WILLING_WORKER,
         "mend what the workers complain of ('mrctl workers' shows it), or add one"},
        {CAUSE_OLD_WORKERS,
         "upgrade these workers, or submit the job without that setting; other jobs run there"},
        {CAUSE_COMMAND_NOT_FOUND,
         "the command was not found on the worker: install it on every worker, or ship it (--file)"},
        {CAUSE_COMMAND_NOT_EXECUTABLE,
         "the command may not be executed there: chmod +x, or put its interpreter before it"},
        {CAUSE_COMMAND_KILLED,
         "was it out of memory? 'journalctl -k' on the worker's host says so"},
        {CAUSE_COMMAND_CRASHED, "the program crashed: run it on that input by hand"},
        {CAUSE_COMMAND_FAILED,
         "mend the command (its last words are above), then 'mrctl retry %s', or submit it again when its files changed"},
        {CAUSE_TASK_ENDED,
         "'journalctl -t mr-task' on the worker's host tells how the process ended: out of memory, or a crash?"},
        {CAUSE_MEMORY,
         "give the task more memory, or less input: a smaller --split-size, more --reduces"},
        {CAUSE_TIME_LIMIT,
         "raise the time limit, or give each task less input: a smaller --split-size, more --reduces"},
        {CAUSE_DISK_FULL,
         "make room on the worker's disk (SpoolDirectory= in workerd.conf), or drain it: 'mrctl drain WORKER'"},
        {CAUSE_NOT_PERMITTED,
         "the workers' user must be allowed to read the input and to write the output"},
        {CAUSE_INPUT_CHANGED,
         "the input was written to while the job ran: run it again when it is still ('mrctl retry %s')"},
        {CAUSE_FILE_MISSING,
         "every worker must see the input under the same path: is a file system not mounted?"},
        {CAUSE_OUTPUT_EXISTS, "name an output directory that is missing or empty"},
        {CAUSE_WORKER_SILENT,
         "look at the worker's host and its network; its tasks run elsewhere meanwhile"},
        {CAUSE_WORKER_UNREACHABLE,
         "look at 'journalctl -u mr-workerd' on the worker's host; its tasks run elsewhere meanwhile"},
        {CAUSE_WORKER_RESTARTED, "nothing: what ran there runs again"},
        {CAUSE_WORKER_REVOKED,
         "nothing, if that was meant: its tasks run elsewhere; else let it join again ('mrctl cluster token')"},
        {CAUSE_MASTER_RESTARTED, "nothing: what ran then runs again"},
};

static char *find_remedy(const Job *j, const char *cause)
{
        for (size_t i = 0; i < ELEMENTSOF(remedies); i++) {
                g_auto(GStrv) parts = NULL;

                if (!g_str_equal(cause, remedies[i].cause))
                        continue;
                parts = g_strsplit(remedies[i].remedy, "%s", -1);
                return g_strjoinv(j->id, parts);
        }
        return NULL;
}

/* The newest that failed; else the newest that was lost or rejected. */
static AttemptRow *newest(const GArray *failed)
{
        for (guint i = 0; i < failed->len; i++) {
                AttemptRow *a = &g_array_index(failed, AttemptRow, i);

                if (g_str_equal(a->state, "failed"))
                        return a;
        }
        return failed->len > 0 ? &g_array_index(failed, AttemptRow, 0) : NULL;
}

/* The one that the master blames, and those of its task beside it. */
static int find_blamed(Master *m, const Job *j, GArray *rows, AttemptRow **ret, Error *e)
{
        TaskName name;
        int r;

        if (!*j->cause_attempt)
                return 0;
        r = task_name_parse(j->cause_attempt, true, &name, e);
        if (r < 0)
                return r;
        for (unsigned asked = 0; asked < 2; asked++) {
                for (guint i = 0; i < rows->len; i++) {
                        AttemptRow *a = &g_array_index(rows, AttemptRow, i);

                        if (task_name_matches(&name, a->kind, a->task, a->attempt)) {
                                *ret = a;
                                return 0;
                        }
                }
                if (asked == 0) { /* more have failed since than were read */
                        r = attempts_read(m, j, name.kind, &name, rows, e);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static uint32_t count_failures(const GArray *failed, const AttemptRow *of)
{
        uint32_t n = 0;

        for (guint i = 0; i < failed->len; i++) {
                const AttemptRow *a = &g_array_index(failed, AttemptRow, i);

                n += a->task == of->task && g_str_equal(a->kind, of->kind) &&
                     g_str_equal(a->state, "failed");
        }
        return n;
}

/* What that attempt wrote last; NULL for nothing. */
static int read_error_output(Master *m, const Job *j, const AttemptRow *a, char **ret, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *kind, *worker, *text;
        uint32_t task, attempt;
        uint64_t usec;
        int r;

        r = master_call(m, j->path, JOB_INTERFACE, "ListErrorOutput", &reply, e, NULL);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', "(tsuuss)");
        while (r > 0 && (r = sd_bus_message_read(reply, "(tsuuss)", &usec, &kind, &task, &attempt,
                                                 &worker, &text)) > 0)
                if (g_str_equal(kind, a->kind) && task == a->task && attempt == a->attempt) {
                        g_free(*ret);
                        *ret = g_strdup(text);
                }
        return r < 0 ? master_bad_reply(r, e) : 0;
}

/* The attempt that has been at work longest, when nothing went wrong. */
static int find_longest(Master *m, const Job *j, GArray *rows, AttemptRow **ret, Error *e)
{
        static const char *const kinds[] = {"map", "reduce"};
        const TaskName all = {.task = -1, .attempt = -1};
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(kinds) && r >= 0; i++)
                r = attempts_read(m, j, kinds[i], &all, rows, e);
        for (guint i = 0; i < rows->len && r >= 0; i++) {
                AttemptRow *a = &g_array_index(rows, AttemptRow, i);

                /* A reduce in its shuffle waits for maps: it is not what holds up. */
                if (attempt_is_over(a) || g_str_equal(a->state, "shuffling"))
                        continue;
                if (!*ret || a->started_usec < (*ret)->started_usec)
                        *ret = a;
        }
        return r;
}

static int find_cause(Master *m, const Job *j, GArray *rows, Cause *c, Error *e)
{
        int r;

        r = attempts_read_failed(m, j, FAILED_READ, rows, e);
        if (r < 0)
                return r;
        if (g_str_equal(j->state, "failed")) {
                c->text = g_strdup(j->state_reason);
                c->word = g_strdup(j->cause);
                r = find_blamed(m, j, rows, &c->attempt, e);
        } else if (!job_is_over(j) && *j->state_reason) {
                c->text = g_strdup(j->state_reason);
                c->word = g_strdup(j->cause);
        } else if (!job_is_over(j) && rows->len > 0) {
                c->attempt = newest(rows);
                c->text = g_strdup(c->attempt->reason);
                c->word = g_strdup(c->attempt->cause);
        } else if (!job_is_over(j)) {
                r = find_longest(m, j, rows, &c->attempt, e);
        }
        if (r >= 0 && c->attempt) {
                c->failures = count_failures(rows, c->attempt);
                r = read_error_output(m, j, c->attempt, &c->error_output, e);
        }
        if (c->word)
                c->remedy = find_remedy(j, c->word);
        return r;
}

static json_t *to_json(const Job *j, const Cause *c)
{
        json_t *o = json_pack("{s:s, s:s, s:s}", "Id", j->id, "State", j->state, "Cause",
                              c->text ? c->text : "");

        (void) json_object_set_new(o, "CauseWord", json_string(c->word ? c->word : ""));
        (void) json_object_set_new(o, "Attempt",
                                   c->attempt ? attempt_to_json(c->attempt) : json_null());
        (void) json_object_set_new(o, "ErrorOutput",
                                   json_string(c->error_output ? c->error_output : ""));
        (void) json_object_set_new(o, "Remedy", json_string(c->remedy ? c->remedy : ""));
        return o;
}

static void print_headline(const Job *j, const Cause *c)
{
        g_autofree char *cause = text_escape_sentence(c->text ? c->text : "", TEXT_MAX_BYTES);
        const char *colour = wants_colour(STDOUT_FILENO) ? state_colour(j->state) : "";
        const char *off = *colour ? COLOUR_OFF : "";

        (void) printf("Job %s %s%s%s%s%s\n", j->id, job_is_over(j) ? "" : "is ", colour,
                      job_is_done(j)                       ? "is done: nothing is wrong with it"
                      : g_str_equal(j->state, "cancelled") ? "was cancelled"
                      : !job_is_over(j) && !c->text        ? "running, and nothing holds it up"
                                                           : j->state,
                      off, "");
        if (*cause)
                (void) printf("   Cause: %s\n", cause);
}

static void print_attempt(const Cause *c)
{
        const AttemptRow *a = c->attempt;
        g_autofree char *name = attempt_name(a->kind, a->task, a->attempt);
        g_autofree char *took = format_duration(a->started_usec, a->finished_usec);
        g_autofree char *when = format_time(a->finished_usec ? a->finished_usec : a->started_usec);

        (void) printf(" Attempt: %s on %s, %s %s %s", name, a->worker, a->state,
                      attempt_is_over(a) ? "after" : "for", took);
        if (attempt_is_over(a))
                (void) printf(" at %s", when);
        if (c->failures > 1)
                (void) printf("; %u attempts of this task failed", c->failures);
        (void) putchar('\n');
}

static void print_error_output(const char *text)
{
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        guint count = g_strv_length(lines), first;

        while (count > 0 && !*lines[count - 1])
                count--;
        first = count > LINES_MAX_SHOWN ? count - LINES_MAX_SHOWN : 0;
        for (guint i = first; i < count; i++) {
                g_autofree char *safe = text_escape(lines[i], strlen(lines[i]), TEXT_MAX_BYTES);

                (void) printf("%s%s\n", i == first ? "  Stderr: " : "          ", safe);
        }
}

static void print_cause(const Job *j, const Cause *c)
{
        print_headline(j, c);
        if (c->attempt)
                print_attempt(c);
        if (c->error_output)
                print_error_output(c->error_output);
        if (c->remedy)
                (void) printf("  Remedy: %s\n", c->remedy);
}

int verb_why(const Arguments *a)
{
        g_autoptr(GArray) rows = attempts_new();
        _cleanup_(job_query_done) JobQuery q = {};
        _cleanup_(cause_done) Cause c = {};
        _cleanup_error_ Error e = {};
        int r;

        r = job_query_open(&q, a, QUERY_JOB);
        if (r != EXIT_SUCCESS)
                return r;
        r = find_cause(&q.master, q.job, rows, &c, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        if (a->json != JSON_OFF)
                return print_json(to_json(q.job, &c), a->json);
        print_cause(q.job, &c);
        return print_finish();
}
