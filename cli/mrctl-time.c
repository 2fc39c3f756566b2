/*
 * mrctl time — see mrctl-time.h.
 */
#include <inttypes.h>
#include <math.h>
#include <time.h>

#include "base/text.h"
#include "cli/mrctl-time.h"

char *format_clock_ns(int64_t real_ns)
{
        int64_t seconds = real_ns / NSEC_PER_SEC, rest_ns = real_ns % NSEC_PER_SEC;
        char text[64];
        struct tm tm;
        time_t t;

        if (rest_ns < 0) { /* before 1970 */
                rest_ns += NSEC_PER_SEC;
                seconds--;
        }
        t = (time_t) seconds;
        if (!gmtime_r(&t, &tm) || strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm) == 0)
                return g_strdup_printf("%" PRId64 "ns", real_ns);
        return g_strdup_printf("%s.%09" PRId64 " UTC", text, rest_ns);
}

char *format_span_ns(int64_t ns)
{
        double us = (double) ns / 1e3;

        if (ns == INT64_MAX)
                return g_strdup("unknown");
        if (ns == 0)
                return g_strdup("0");
        if (fabs(us) < 1e3)
                return g_strdup_printf("%.3fus", us);
        if (fabs(us) < 1e6)
                return g_strdup_printf("%.6fms", us / 1e3);
        return g_strdup_printf("%.9fs", us / 1e6);
}

static const struct {
        const char *name;
        unsigned least, most; /* operands behind the word */
        const char *wants;
        int (*run)(const Arguments *a);
} actions[] = {
        {"status", 0, 0, "nothing more", time_status},
        {"servers", 0, 0, "nothing more", time_servers},
        {"samples", 0, 1, "one server at most", time_samples},
        {"sync", 0, 0, "nothing more", time_sync},
        {"step", 0, 0, "nothing more", time_step},
        {"set-servers", 0, UINT_MAX, "servers", time_set_servers},
        {"query", 1, 1, "one server: HOST or HOST:PORT", time_query},
};

int verb_time(const Arguments *a)
{
        const char *names[ELEMENTSOF(actions) + 1] = {};
        const char *word = a->operands->len > 0 ? a->operands->pdata[0] : "status", *near;
        guint behind = a->operands->len > 0 ? a->operands->len - 1 : 0;

        for (size_t i = 0; i < ELEMENTSOF(actions); i++) {
                names[i] = actions[i].name;
                if (!g_str_equal(actions[i].name, word))
                        continue;
                if (behind >= actions[i].least && behind <= actions[i].most)
                        return actions[i].run(a);
                (void) complain("'time %s' takes %s", word, actions[i].wants);
                return EXIT_USAGE;
        }
        near = text_nearest_word(word, names);
        if (near)
                (void) complain("unknown: time %s (did you mean 'time %s'?)", word, near);
        else
                (void) complain("unknown: time %s; 'mrctl --help' lists what there is", word);
        return EXIT_USAGE;
}
