/*
 * mrctl status — one job in a few lines, with what happened to it at the end.
 */
#include <pwd.h>

#include "base/parse.h"
#include "base/text.h"
#include "cli/events.h"
#include "cli/print.h"
#include "cli/verbs.h"

#define EVENTS_SHOWN 10 /* as systemctl shows log lines; --json has all of them */

static json_t *status_to_json(const Job *j, const GArray *events)
{
        json_t *object = job_to_json(j), *list = json_array();

        for (guint i = 0; i < events->len; i++) {
                const JobEvent *event = &g_array_index(events, JobEvent, i);

                (void) json_array_append_new(list, event_to_json(event));
        }
        (void) json_object_set_new(object, "Events", list);
        return object;
}

static void print_state(const Job *j)
{
        const char *colour = wants_colour(STDOUT_FILENO) ? state_colour(j->state) : "";
        const char *off = *colour ? COLOUR_OFF : "";
        uint64_t since = j->finished_usec  ? j->finished_usec
                         : j->started_usec ? j->started_usec
                                           : j->submitted_usec;
        g_autofree char *when = format_time(since), *ago = format_ago(since);
        g_autofree char *took = format_duration(j->submitted_usec, j->finished_usec);

        (void) printf("%s●%s %s - %s\n", colour, off, j->id, j->name);
        (void) printf("     State: %s%s%s since %s; %s\n", colour, j->state, off, when, ago);
        if (*j->state_reason)
                (void) printf("    Reason: %s\n", j->state_reason);
        (void) printf("   Program: %s\n", j->program);
        (void) printf("      Time: %s%s\n", took, j->finished_usec ? "" : " so far");
}

static void print_places(const Job *j)
{
        g_autofree char *size = format_size(j->input_bytes);
        guint inputs = g_strv_length(j->input);
        struct passwd *user = getpwuid(j->uid);

        (void) printf("     Input: %s", inputs > 0 ? j->input[0] : "-");
        if (inputs > 1)
                (void) printf(" and %u more", inputs - 1);
        (void) printf(" (%s)\n", size);
        if (*j->output)
                (void) printf("    Output: %s\n", j->output);
        (void) printf("      User: %s\n", user ? user->pw_name : "unknown");
}

static void print_tasks(const char *label, uint32_t all, uint32_t done, uint32_t running)
{
        (void) printf("%10s: %u of %u done", label, done, all);
        if (running > 0)
                (void) printf(", %u running", running);
        (void) putchar('\n');
}

static void print_trouble(const Job *j)
{
        if (j->attempts_failed + j->attempts_lost + j->map_outputs_lost == 0)
                return;
        (void) printf("   Trouble: %u attempts failed, %u lost; %u map outputs lost\n",
                      j->attempts_failed, j->attempts_lost, j->map_outputs_lost);
}

static void print_counters(const Job *j)
{
        for (guint i = 0; i < j->counters->len; i++) {
                const JobCounter *c = &g_array_index(j->counters, JobCounter, i);
                g_autofree char *name = text_escape(c->name, strlen(c->name), 80);

                (void) printf("%10s  %s=%" G_GUINT64_FORMAT "\n", i == 0 ? "Counters:" : "", name,
                              c->value);
        }
}

/* Each line of @text behind an indent, made safe for the terminal. */
static void print_lines(const char *text)
{
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

        for (char **line = lines; *line; line++) {
                g_autofree char *safe = text_escape(*line, strlen(*line), 1000);

                if (**line || line[1])
                        (void) printf("            %s\n", safe);
        }
}

static void print_events(const GArray *events)
{
        guint first = events->len > EVENTS_SHOWN ? events->len - EVENTS_SHOWN : 0;

        if (events->len > 0)
                (void) putchar('\n');
        if (first > 0)
                (void) printf("… and %u earlier ones (--json=pretty shows them)\n", first);
        for (guint i = first; i < events->len; i++) {
                const JobEvent *event = &g_array_index(events, JobEvent, i);
                g_autofree char *line = event_line(event);

                (void) printf("%s\n", line);
        }
}

static void print_status(const Job *j, const GArray *events)
{
        print_state(j);
        print_places(j);
        print_tasks("Maps", j->maps, j->maps_done, j->maps_running);
        print_tasks("Reduces", j->reduces, j->reduces_done, j->reduces_running);
        print_trouble(j);
        print_counters(j);
        if (*j->error_output) {
                (void) printf("    Stderr: the last lines of the attempt that failed the job\n");
                print_lines(j->error_output);
        }
        print_events(events);
}

int verb_status(const Arguments *a)
{
        _cleanup_(master_done) Master m = {};
        _cleanup_error_ Error e = {};
        json_t *list = NULL;
        int r;

        r = master_connect(&m, a, &e);
        if (r >= 0 && a->json != JSON_OFF && a->operands->len > 1)
                list = json_array();
        if (r >= 0)
                pager_open(a);
        for (guint i = 0; i < a->operands->len && r >= 0; i++) {
                _cleanup_(job_freep) Job *j = NULL;
                g_autoptr(GArray) events = NULL;

                r = job_read_by_id(&m, a->operands->pdata[i], &j, &e);
                if (r >= 0)
                        r = events_read(&m, j, 0, &events, &e);
                if (r < 0)
                        break;
                if (list)
                        (void) json_array_append_new(list, status_to_json(j, events));
                else if (a->json != JSON_OFF)
                        return print_json(status_to_json(j, events), a->json);
                else {
                        if (i > 0)
                                (void) putchar('\n');
                        print_status(j, events);
                }
        }
        if (r < 0) {
                if (list)
                        json_decref(list);
                (void) print_finish();
                return complain("%s", error_message(&e, r));
        }
        return list ? print_json(list, a->json) : print_finish();
}
