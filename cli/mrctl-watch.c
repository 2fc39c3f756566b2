/*
 * mrctl watch — what happens to a job, line by line as it happens; ends as wait does.
 */
#include "cli/events.h"
#include "cli/print.h"
#include "cli/result.h"
#include "cli/verbs.h"
#include "cli/watch.h"

typedef struct Story {
        const Arguments *arguments;
        uint64_t next; /* the first event that was not told */
} Story;

static void print_event(const JobEvent *event, JsonMode mode)
{
        if (mode == JSON_OFF) {
                g_autofree char *line = event_line(event);

                (void) printf("%s\n", line);
        } else {
                (void) print_json_line(event_to_json(event), mode);
        }
}

static void tell(Watch *w)
{
        g_autoptr(GArray) events = NULL;
        _cleanup_error_ Error e = {};
        Story *story = w->userdata;

        if (w->job->event_count <= story->next && !job_is_over(w->job))
                return;
        if (events_read(w->master, w->job, story->next, &events, &e) < 0)
                return; /* a master on its way out; the job is read again when it is back */
        progress_clear(&w->progress);
        for (guint i = 0; i < events->len; i++) {
                const JobEvent *event = &g_array_index(events, JobEvent, i);

                if (event->number > story->next && !story->arguments->quiet)
                        (void) fprintf(stderr, "… %" G_GUINT64_FORMAT " events passed unseen\n",
                                       event->number - story->next);
                print_event(event, story->arguments->json);
                story->next = event->number + 1;
        }
        (void) fflush(stdout);
        if (ferror(stdout)) /* nobody reads any more */
                watch_leave(w);
}

static int conclude(Watch *w, WatchEnd how, Error *e)
{
        switch (how) {
        case WATCH_OVER:
                if (job_is_done(w->job))
                        return print_finish();
                (void) print_finish();
                result_complain(w->job);
                return EXIT_JOB_FAILED;
        case WATCH_INTERRUPTED:
                return EXIT_SIGNAL(w->signal_number);
        case WATCH_DETACHED:
                return print_finish();
        default:
                return complain("%s", error_message(e, -EIO));
        }
}

int verb_watch(const Arguments *a)
{
        _cleanup_free_ char *path = NULL;
        Story story = {.arguments = a};
        _cleanup_(master_done) Master m = {};
        _cleanup_(watch_done) Watch w = {};
        _cleanup_error_ Error e = {};
        int r;

        r = master_connect(&m, a, &e);
        if (r >= 0)
                r = watch_init(&w, &m, NULL, INTERRUPT_LEAVE, a->quiet || !isatty(STDERR_FILENO),
                               &e);
        w.changed = tell;
        w.userdata = &story;
        if (r >= 0)
                r = master_find(&m, "GetJob", a->operands->pdata[0], &path, &e);
        if (r >= 0)
                r = watch_follow(&w, path, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        return conclude(&w, watch_run(&w, &e), &e);
}
