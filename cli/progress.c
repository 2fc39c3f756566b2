/*
 * Progress on stderr — see progress.h.
 */
#include <math.h>

#include "base/parse.h"
#include "base/text.h"
#include "cli/print.h"
#include "cli/progress.h"

#define TERMINAL_INTERVAL_USEC (100 * USEC_PER_MSEC)
#define TERMINAL_TICK_USEC USEC_PER_SEC /* the clock in the line goes on although nothing happens */
#define PLAIN_INTERVAL_USEC (5 * USEC_PER_SEC)
#define RATE_AFTER_SEC 1 /* sooner it would only jump */
#define ETA_FROM_PROGRESS 0.05
#define ETA_MAX_SEC (99.0 * 24 * 3600)

static uint64_t now_usec(void)
{
        return (uint64_t) g_get_monotonic_time();
}

/* Of the whole job, 0 to 1: weights that fit a job whose maps read everything and whose reduces
 * read less. */
static double whole_progress(const Job *j)
{
        return 0.7 * j->map_progress + 0.1 * j->shuffle_progress + 0.2 * j->reduce_progress;
}

/* Since it began to run, by the master's clock; 0 before, and where the clocks disagree. */
static uint64_t running_usec(const Job *j)
{
        uint64_t now = now_realtime_usec();

        return j->started_usec > 0 && now > j->started_usec ? now - j->started_usec : 0;
}

/* "12.3M/s, about 40s left": once there is something to go by. */
static void append_rate(GString *s, const Job *j)
{
        double progress = whole_progress(j), seconds = (double) running_usec(j) / USEC_PER_SEC;

        if (!g_str_equal(j->state, "running") || seconds < RATE_AFTER_SEC)
                return;
        if (j->map_progress > 0 && j->map_progress < 1) {
                g_autofree char *rate = format_size(
                        (uint64_t) ((double) j->input_bytes * j->map_progress / seconds));

                g_string_append_printf(s, ", %s/s", rate);
        }
        if (progress >= ETA_FROM_PROGRESS && progress < 1) {
                uint64_t left =
                        (uint64_t) ceil(MIN(seconds * (1 - progress) / progress, ETA_MAX_SEC));
                g_autofree char *span = left < 60 ? g_strdup_printf("%us", (unsigned) left)
                                                  : format_timespan(left * USEC_PER_SEC);

                g_string_append_printf(s, ", about %s left", span);
        }
}

static char *make_text(const Job *j)
{
        GString *s = g_string_new(NULL);

        g_string_append_printf(s, "job %s %s: maps %u/%u", j->id, j->state, j->maps_done, j->maps);
        if (j->shuffle_progress > 0 && j->shuffle_progress < 1)
                g_string_append_printf(s, ", shuffle %.0f%%", j->shuffle_progress * 100);
        g_string_append_printf(s, ", reduces %u/%u", j->reduces_done, j->reduces);
        if (j->maps_running + j->reduces_running > 0)
                g_string_append_printf(s, ", %u running", j->maps_running + j->reduces_running);
        append_rate(s, j);
        if (j->attempts_failed > 0)
                g_string_append_printf(s, ", %u attempts failed", j->attempts_failed);
        if (j->attempts_lost > 0)
                g_string_append_printf(s, ", %u lost", j->attempts_lost);
        if (*j->state_reason) {
                g_autofree char *reason = text_escape_sentence(j->state_reason, 500);

                g_string_append_printf(s, " (%s)", reason);
        }
        return g_string_free(s, FALSE);
}

static void draw_on_terminal(Progress *p, const char *text)
{
        g_autofree char *took = format_duration(p->job->submitted_usec, p->job->finished_usec);
        g_autofree char *line = g_strdup_printf("%s, %s", text, took);
        glong width = MAX((glong) terminal_width(STDERR_FILENO) - 1, 1);

        width = MIN(g_utf8_strlen(line, -1), width);
        *g_utf8_offset_to_pointer(line, width) = '\0';
        (void) fprintf(stderr, "\r\x1b[K%s", line);
        (void) fflush(stderr);
        p->shown = true;
}

static void draw(Progress *p)
{
        g_autofree char *text = make_text(p->job);

        p->drawn_usec = now_usec();
        p->dirty = false;
        if (p->terminal)
                draw_on_terminal(p, text);
        else if (g_strcmp0(text, p->last) != 0)
                (void) fprintf(stderr, "%s\n", text);
        g_free(p->last);
        p->last = TAKE_PTR(text);
}

static void arm(Progress *p, uint64_t at_usec)
{
        (void) sd_event_source_set_time(p->timer, at_usec);
        (void) sd_event_source_set_enabled(p->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
        Progress *p = userdata;

        if (p->paused || !p->job)
                return 0;
        if (p->dirty || p->terminal)
                draw(p);
        if (p->terminal)
                arm(p, p->drawn_usec + TERMINAL_TICK_USEC);
        return 0;
}

int progress_init(Progress *p, sd_event *event, bool quiet)
{
        const char *term = getenv("TERM");
        int r;

        *p = (Progress){.event = event, .quiet = quiet, .drawn_usec = now_usec()};
        p->terminal = isatty(STDERR_FILENO) && term && !g_str_equal(term, "dumb");
        if (quiet)
                return 0;
        r = sd_event_add_time(event, &p->timer, CLOCK_MONOTONIC, 0, 10 * USEC_PER_MSEC, on_timer,
                              p);
        if (r < 0)
                return r;
        return sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
}

void progress_done(Progress *p)
{
        progress_clear(p);
        p->timer = sd_event_source_disable_unref(p->timer);
        g_clear_pointer(&p->last, g_free);
}

void progress_update(Progress *p, const Job *job)
{
        uint64_t interval = p->terminal ? TERMINAL_INTERVAL_USEC : PLAIN_INTERVAL_USEC;

        if (p->quiet)
                return;
        p->job = job;
        p->dirty = true;
        if (p->paused)
                return;
        if (now_usec() < p->drawn_usec + interval) {
                arm(p, p->drawn_usec + interval);
                return;
        }
        draw(p);
        if (p->terminal)
                arm(p, p->drawn_usec + TERMINAL_TICK_USEC);
}

void progress_clear(Progress *p)
{
        if (!p->shown)
                return;
        (void) fprintf(stderr, "\r\x1b[K");
        (void) fflush(stderr);
        p->shown = false;
}

void progress_pause(Progress *p, bool paused)
{
        if (p->quiet)
                return;
        if (paused)
                progress_clear(p);
        p->paused = paused;
        if (!paused && p->job)
                draw(p);
}
