/*
 * Reporter — see reporter.h.
 */
#include "base/parse.h"
#include "records/reporter.h"

static const char counter_mark[] = "reporter:counter:", status_mark[] = "reporter:status:";

void reporter_init(Reporter *r, const ReporterHandlers *handlers, void *userdata)
{
        *r = (Reporter){.handlers = handlers, .userdata = userdata, .line = g_string_new(NULL)};
}

void reporter_done(Reporter *r)
{
        if (r->line)
                g_string_free(r->line, TRUE);
        *r = (Reporter){};
}

/* "group,name,n" */
static bool take_counter(Reporter *r, const char *text)
{
        g_auto(GStrv) fields = g_strsplit(text, ",", 4);
        uint64_t n;

        if (g_strv_length(fields) != 3 || parse_u64(g_strstrip(fields[2]), &n) < 0)
                return false;
        r->handlers->counter(r->userdata, fields[0], fields[1], n);
        return true;
}

/* A NUL in a line makes it text: it ends no counter's name. */
static bool take_report(Reporter *r)
{
        const char *line = r->line->str;

        if (r->line_is_rest || memchr(line, '\0', r->line->len))
                return false;
        if (g_str_has_prefix(line, status_mark)) {
                size_t at = sizeof(status_mark) - 1;

                r->handlers->status(r->userdata, line + at, r->line->len - at);
                return true;
        }
        return g_str_has_prefix(line, counter_mark) &&
               take_counter(r, line + sizeof(counter_mark) - 1);
}

static void end_line(Reporter *r, bool ended)
{
        if (!ended || !take_report(r)) {
                if (ended)
                        g_string_append_c(r->line, '\n');
                r->handlers->text(r->userdata, r->line->str, r->line->len);
        }
        r->line_is_rest = !ended;
        g_string_truncate(r->line, 0);
}

/* A full line is cut when one more byte of it comes, not before: how the bytes came must not
 * matter. */
void reporter_take(Reporter *r, const uint8_t *data, size_t size)
{
        const uint8_t *end = data + size;

        while (data < end) {
                const uint8_t *newline = memchr(data, '\n', (size_t) (end - data));
                size_t n = (size_t) ((newline ? newline : end) - data);

                if (n == 0) {
                        end_line(r, true);
                        data++;
                        continue;
                }
                if (r->line->len == REPORTER_LINE_MAX)
                        end_line(r, false);
                n = MIN(n, REPORTER_LINE_MAX - r->line->len);
                g_string_append_len(r->line, (const char *) data, (gssize) n);
                data += n;
        }
}

void reporter_finish(Reporter *r)
{
        if (r->line->len > 0)
                end_line(r, true);
}
