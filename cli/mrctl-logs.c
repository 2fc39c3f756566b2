/*
 * mrctl logs — what a job, its tasks and the daemons about it wrote, in the order of time.
 */
#include <systemd/sd-journal.h>

#include "base/text.h"
#include "cli/events.h"
#include "cli/job-query.h"
#include "cli/log-lines.h"
#include "cli/print.h"
#include "cli/remote.h"
#include "cli/verbs.h"
#include "cli/watch.h"

#define LINE_SHOWN_MAX_BYTES 4000

typedef struct Printer {
        const Arguments *arguments;
        LogReader *reader;
        int result;
        Error error;
} Printer;

static json_t *line_to_json(const LogLine *line)
{
        json_t *o = json_object();
        g_autofree char *text = g_utf8_make_valid(line->text, -1);

        (void) json_object_set_new(o, "USec", json_integer((json_int_t) line->usec));
        (void) json_object_set_new(o, "Source", json_string(line->source));
        (void) json_object_set_new(o, "Host", json_string(line->host));
        (void) json_object_set_new(o, "Message", json_string(text));
        return o;
}

static void print_line(const LogLine *line, JsonMode mode)
{
        g_autofree char *text = NULL, *when = NULL;

        if (mode != JSON_OFF) {
                (void) print_json_line(line_to_json(line), mode);
                return;
        }
        text = text_escape(line->text, strlen(line->text), LINE_SHOWN_MAX_BYTES);
        when = format_short_time(line->usec);
        (void) printf("%s%s%s %s: %s\n", when, *line->host ? " " : "", line->host, line->source,
                      text);
}

static bool is_wanted(const Arguments *a, const LogLine *line)
{
        return line->usec >= a->since_usec && (a->until_usec == 0 || line->usec <= a->until_usec);
}

/* @max: the newest so many; 0: all. */
static void print_lines(Printer *p, uint32_t max)
{
        const GArray *lines = p->reader->lines;
        guint wanted = 0, skip;

        for (guint i = 0; i < lines->len; i++)
                wanted += is_wanted(p->arguments, &g_array_index(lines, LogLine, i));
        skip = max > 0 && wanted > max ? wanted - max : 0;
        for (guint i = 0; i < lines->len; i++) {
                const LogLine *line = &g_array_index(lines, LogLine, i);

                if (!is_wanted(p->arguments, line))
                        continue;
                if (skip > 0)
                        skip--;
                else
                        print_line(line, p->arguments->json);
        }
        log_reader_clear(p->reader);
}

static void on_change(Watch *w)
{
        Printer *p = w->userdata;

        p->reader->job = w->job;
        if (log_reader_read(p->reader, NULL) < 0)
                return; /* a master on its way out; the job is read again when it is back */
        print_lines(p, 0);
        (void) fflush(stdout);
        if (ferror(stdout))
                watch_leave(w);
}

static int on_journal(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        on_change(userdata);
        return 0;
}

static int follow(const Arguments *a, Master *m, const Job *j, Printer *p)
{
        _cleanup_(watch_done) Watch w = {};
        _cleanup_error_ Error e = {};
        WatchEnd how;
        int r;

        r = watch_init(&w, m, NULL, INTERRUPT_LEAVE, true, &e);
        w.changed = on_change;
        w.userdata = p;
        if (r >= 0)
                r = watch_follow(&w, j->path, &e);
        if (r >= 0 && p->reader->journal && !job_is_over(w.job)) {
                int fd = sd_journal_get_fd(p->reader->journal);

                if (fd >= 0)
                        (void) sd_event_add_io(w.event, NULL, fd, EPOLLIN, on_journal, &w);
        }
        if (r < 0)
                return complain("%s", error_message(&e, r));
        how = watch_run(&w, &e);
        p->reader->job = j; /* the watch's goes with it */
        switch (how) {
        case WATCH_INTERRUPTED:
                (void) print_finish();
                return EXIT_SIGNAL(w.signal_number);
        case WATCH_FAILED:
                (void) print_finish();
                return complain("%s", error_message(&e, -EIO));
        default:
                return print_finish();
        }
}

static void remark(const Arguments *a, int journal_error)
{
        if (a->quiet)
                return;
        if (journal_error < 0)
                (void) fprintf(stderr, "mrctl: without the journal: %s\n",
                               error_text(journal_error));
}

static int print_all(const Arguments *a, Master *m, const Job *j, LogReader *x)
{
        Printer p = {.arguments = a, .reader = x};
        _cleanup_error_ Error e = {};
        int r;

        r = log_reader_read(x, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        if (!a->follow)
                pager_open(a);
        print_lines(&p, a->lines);
        if (a->follow && !job_is_over(j)) {
                (void) fflush(stdout);
                return follow(a, m, j, &p);
        }
        return print_finish();
}

static void add_time(GPtrArray *words, const char *option, uint64_t usec)
{
        if (usec > 0)
                g_ptr_array_add(words,
                                g_strdup_printf("%s=@%" PRIu64, option, usec / USEC_PER_SEC));
}

/* The journal is where its host is, and so is the mrctl that reads it: the same question, asked
 * there. */
static int ask_there(const Arguments *a)
{
        g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
        _cleanup_error_ Error e = {};
        int r;

        g_ptr_array_add(words, g_strdup("logs"));
        if (a->json != JSON_OFF)
                g_ptr_array_add(words,
                                g_strdup(a->json == JSON_SHORT ? "--json=short" : "--json=pretty"));
        if (a->quiet)
                g_ptr_array_add(words, g_strdup("-q"));
        if (a->follow)
                g_ptr_array_add(words, g_strdup("--follow"));
        if (a->lines > 0)
                g_ptr_array_add(words, g_strdup_printf("-n%u", a->lines));
        add_time(words, "--since", a->since_usec);
        add_time(words, "--until", a->until_usec);
        for (guint i = 0; i < a->operands->len; i++)
                g_ptr_array_add(words, g_strdup(a->operands->pdata[i]));
        g_ptr_array_add(words, NULL);
        r = remote_mrctl(a->host, (const char *const *) words->pdata, &e);
        return r < 0 ? complain("%s", error_message(&e, r)) : r;
}

int verb_logs(const Arguments *a)
{
        _cleanup_(job_query_done) JobQuery q = {};
        _cleanup_(log_reader_done) LogReader x = {};
        _cleanup_error_ Error e = {};
        int journal_error, r;

        if (a->host && !a->directory)
                return ask_there(a);
        r = job_query_open(&q, a, QUERY_ATTEMPT);
        if (r != EXIT_SUCCESS)
                return r;
        r = log_reader_init(&x, &q.master, q.job, &q.name, a->directory, &journal_error);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        if (journal_error < 0 && a->directory)
                return complain("cannot read the journal files in %s: %s", a->directory,
                                error_text(journal_error));
        remark(a, journal_error);
        return print_all(a, &q.master, q.job, &x);
}
