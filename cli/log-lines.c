/*
 * What was written about a job — see log-lines.h.
 */
#include <systemd/sd-journal.h>

#include "cli/events.h"
#include "cli/log-lines.h"

#define FIELD_MAX_BYTES 65536 /* of a journal entry's message */

static void line_clear(void *p)
{
        LogLine *line = p;

        g_free(line->source);
        g_free(line->host);
        g_free(line->text);
}

static void add_line(LogReader *x, uint64_t usec, char *source, const char *host, char *text)
{
        LogLine line = {.usec = usec,
                        .order = x->count++,
                        .source = source,
                        .host = g_strdup(host),
                        .text = text};

        g_array_append_val(x->lines, line);
}

/* ---- The journal ---- */

static int add_match(sd_journal *journal, const char *field, const char *value)
{
        g_autofree char *match = g_strdup_printf("%s=%s", field, value);

        return sd_journal_add_match(journal, match, 0);
}

static int match_job(LogReader *x)
{
        const TaskName *n = &x->name;
        int r = add_match(x->journal, "MR_JOB", x->job->id);

        if (r >= 0 && n->attempt >= 0) {
                g_autofree char *attempt =
                        attempt_name(n->kind, (uint32_t) n->task, (uint32_t) n->attempt);

                r = add_match(x->journal, "MR_ATTEMPT", attempt);
        } else if (r >= 0 && n->task >= 0) {
                g_autofree char *task = g_strdup_printf("%s-%" G_GINT64_FORMAT, n->kind, n->task);

                r = add_match(x->journal, "MR_TASK", task);
        }
        return r;
}

/* A job's number is used once by a master, but a master can be set up anew: older entries are not
 * ours. */
static int open_journal(LogReader *x)
{
        int r;

        r = x->directory ? sd_journal_open_directory(&x->journal, x->directory, 0)
                         : sd_journal_open(&x->journal, SD_JOURNAL_LOCAL_ONLY);
        if (r < 0)
                return r;
        (void) sd_journal_set_data_threshold(x->journal, FIELD_MAX_BYTES);
        r = match_job(x);
        return r < 0 ? r : sd_journal_seek_realtime_usec(x->journal, x->job->submitted_usec);
}

/* The value of a field of the current entry; NULL when it has none. */
static char *field_of(sd_journal *journal, const char *name)
{
        const char *data;
        size_t size, skip = strlen(name) + 1;

        if (sd_journal_get_data(journal, name, (const void **) &data, &size) < 0 || size < skip)
                return NULL;
        return g_strndup(data + skip, size - skip);
}

/* The master logs its events, too; they have been read over the bus. */
static bool is_event(const LogReader *x, const char *identifier, const char *message)
{
        g_autofree char *prefix = g_strdup_printf("Job %s: ", x->job->id);

        return !x->name.kind && g_strcmp0(identifier, "mr-masterd") == 0 &&
               g_str_has_prefix(message, prefix);
}

static void read_entry(LogReader *x)
{
        g_autofree char *message = field_of(x->journal, "MESSAGE");
        g_autofree char *identifier = field_of(x->journal, "SYSLOG_IDENTIFIER");
        g_autofree char *pid = field_of(x->journal, "_PID");
        g_autofree char *host = field_of(x->journal, "_HOSTNAME");
        g_autofree char *task = field_of(x->journal, "MR_TASK");
        uint64_t usec;

        if (!message || sd_journal_get_realtime_usec(x->journal, &usec) < 0 ||
            is_event(x, identifier, message))
                return;
        if (x->name.kind && x->name.task < 0 && (!task || !g_str_has_prefix(task, x->name.kind)))
                return;
        add_line(x, usec,
                 g_strdup_printf("%s%s%s%s", identifier ? identifier : "?", pid ? "[" : "",
                                 pid ? pid : "", pid ? "]" : ""),
                 host ? host : "", g_strdup(message));
}

static int read_journal(LogReader *x, Error *e)
{
        int r;

        if (!x->journal)
                return 0;
        (void) sd_journal_process(x->journal); /* new files */
        while ((r = sd_journal_next(x->journal)) > 0)
                read_entry(x);
        return r < 0 ? error_setf(e, r, "cannot read the journal: %s", error_text(r)) : 0;
}

/* ---- The master ---- */

static int read_events(LogReader *x, Error *e)
{
        g_autoptr(GArray) events = NULL;
        int r;

        if (x->name.kind)
                return 0;
        r = events_read(x->master, x->job, x->next_event, &events, e);
        if (r < 0)
                return r;
        for (guint i = 0; i < events->len; i++) {
                const JobEvent *event = &g_array_index(events, JobEvent, i);

                add_line(x, event->usec, g_strdup("mr-masterd"), "",
                         g_str_has_prefix(event->text, event->kind)
                                 ? g_strdup(event->text)
                                 : g_strdup_printf("%s: %s", event->kind, event->text));
                x->next_event = event->number + 1;
        }
        return 0;
}

static void add_tail(LogReader *x, uint64_t usec, const char *name, const char *worker,
                     const char *text)
{
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

        for (char **line = lines; *line; line++)
                if (**line || line[1]) /* not what follows the last newline */
                        add_line(x, usec, g_strdup(name), worker, g_strdup(*line));
}

static int read_tails(LogReader *x, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *kind, *worker, *text;
        uint32_t task, attempt;
        uint64_t usec;
        int r;

        r = master_call(x->master, x->job->path, JOB_INTERFACE, "ListErrorOutput", &reply, e, NULL);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', "(tsuuss)");
        while (r > 0 && (r = sd_bus_message_read(reply, "(tsuuss)", &usec, &kind, &task, &attempt,
                                                 &worker, &text)) > 0) {
                char *name = attempt_name(kind, task, attempt);

                if (task_name_matches(&x->name, kind, task, attempt) &&
                    !g_hash_table_contains(x->tails, name))
                        add_tail(x, usec, name, worker, text);
                g_hash_table_add(x->tails, name);
        }
        return r < 0 ? master_bad_reply(r, e) : 0;
}

/* ---- All of it ---- */

static gint compare(gconstpointer a, gconstpointer b)
{
        const LogLine *x = a, *y = b;

        if (x->usec != y->usec)
                return x->usec < y->usec ? -1 : 1;
        return x->order < y->order ? -1 : 1;
}

int log_reader_init(LogReader *x, Master *m, const Job *j, const TaskName *name,
                    const char *directory, int *ret_journal_error)
{
        *x = (LogReader){.master = m, .job = j, .name = *name, .directory = directory};
        x->tails = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        x->lines = g_array_new(FALSE, FALSE, sizeof(LogLine));
        g_array_set_clear_func(x->lines, line_clear);
        *ret_journal_error = m->host ? 0 : open_journal(x);
        return 0;
}

void log_reader_done(LogReader *x)
{
        if (x->journal)
                sd_journal_close(x->journal);
        g_clear_pointer(&x->tails, g_hash_table_unref);
        g_clear_pointer(&x->lines, g_array_unref);
}

int log_reader_read(LogReader *x, Error *e)
{
        int r;

        r = read_events(x, e);
        if (r >= 0)
                r = read_tails(x, e);
        if (r >= 0)
                r = read_journal(x, e);
        g_array_sort(x->lines, compare);
        return r;
}

void log_reader_clear(LogReader *x)
{
        g_array_set_size(x->lines, 0);
}
