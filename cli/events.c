/*
 * What happened to a job — see events.h.
 */
#include <time.h>

#include "base/text.h"
#include "cli/events.h"

#define LINE_MAX_BYTES 1000

static void event_clear(void *p)
{
        JobEvent *event = p;

        g_free(event->kind);
        g_free(event->text);
}

int events_read(Master *m, const Job *j, uint64_t first, GArray **ret, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        g_autoptr(GArray) events = g_array_new(FALSE, FALSE, sizeof(JobEvent));
        const char *kind, *text;
        uint64_t number, usec;
        int r;

        g_array_set_clear_func(events, event_clear);
        r = master_call(m, j->path, JOB_INTERFACE, "ListEventsSince", &reply, e, "t", first);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', "(ttss)");
        while (r > 0 &&
               (r = sd_bus_message_read(reply, "(ttss)", &number, &usec, &kind, &text)) > 0) {
                JobEvent event = {number, usec, g_strdup(kind), g_strdup(text)};

                g_array_append_val(events, event);
        }
        if (r < 0)
                return master_bad_reply(r, e);
        *ret = TAKE_PTR(events);
        return 0;
}

char *format_short_time(uint64_t usec)
{
        time_t seconds = (time_t) (usec / USEC_PER_SEC);
        char when[32];
        struct tm tm;

        if (usec == 0 || !localtime_r(&seconds, &tm) ||
            strftime(when, sizeof(when), "%b %d %H:%M:%S", &tm) == 0)
                return g_strdup("-");
        return g_strdup(when);
}

char *event_line(const JobEvent *event)
{
        g_autofree char *text = text_escape_sentence(event->text, LINE_MAX_BYTES);
        g_autofree char *when = format_short_time(event->usec);

        /* "done: 4 maps" says its kind itself */
        if (g_str_has_prefix(text, event->kind))
                return g_strdup_printf("%s %s", when, text);
        return g_strdup_printf("%s %s: %s", when, event->kind, text);
}

json_t *event_to_json(const JobEvent *event)
{
        return json_pack("{s:I, s:s, s:s}", "USec", (json_int_t) event->usec, "Kind", event->kind,
                         "Message", event->text);
}
