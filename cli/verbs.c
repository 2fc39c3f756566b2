/*
 * Verbs — see verbs.h. What they do is called from verb-calls.c.
 */
#include <stdarg.h>

#include "apps/catalog.h"
#include "cli/verbs.h"

#define A_JOB "a job's id ('mrctl list' shows them)"
#define A_WORKER "a worker's name ('mrctl workers' shows them)"

static const Verb verbs[] = {
        {"run", VERB_RUN, 0, 0, NULL},
        {"submit", VERB_SUBMIT, 0, 0, NULL},
        {"wait", VERB_WAIT, 1, UINT_MAX, A_JOB},
        {"watch", VERB_WATCH, 1, 1, A_JOB},
        {"cat", VERB_CAT, 1, 1, A_JOB},
        {"cancel", VERB_CANCEL, 1, UINT_MAX, A_JOB},
        {"retry", VERB_RETRY, 1, UINT_MAX, A_JOB},
        {"list", VERB_LIST, 0, 0, NULL},
        {"history", VERB_HISTORY, 0, 0, NULL},
        {"status", VERB_STATUS, 1, UINT_MAX, A_JOB},
        {"why", VERB_WHY, 1, 1, A_JOB},
        {"logs", VERB_LOGS, 1, 2, A_JOB},
        {"tasks", VERB_TASKS, 1, 1, A_JOB},
        {"timeline", VERB_TIMELINE, 1, 2, A_JOB},
        {"explain", VERB_EXPLAIN, 1, 2, A_JOB},
        {"counters", VERB_COUNTERS, 1, 2, A_JOB},
        {"workers", VERB_WORKERS, 0, 0, NULL},
        {"drain", VERB_DRAIN, 1, UINT_MAX, A_WORKER},
        {"resume", VERB_RESUME, 1, UINT_MAX, A_WORKER},
        {"cluster", VERB_CLUSTER, 1, 2, NULL},
        {"time", VERB_TIME, 0, UINT_MAX, NULL},
        {"apps", VERB_APPS, 0, 0, NULL},
};

const Verb *verb_find(const char *name)
{
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                if (g_str_equal(verbs[i].name, name))
                        return &verbs[i];
        return NULL;
}

const char *const *verb_names(void)
{
        static const char *names[ELEMENTSOF(verbs) + 1];

        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                names[i] = verbs[i].name;
        return names;
}

int print_words(int argc, char **argv)
{
        const Verb *verb = argc > 3 ? verb_find(argv[3]) : NULL;

        if (argc < 3)
                return EXIT_USAGE;
        if (g_str_equal(argv[2], "options"))
                arguments_print_options(verb ? verb->bit : VERB_ANY);
        for (const CatalogApp *app = catalog; app->name; app++)
                if (g_str_equal(argv[2], "apps") ||
                    (g_str_equal(argv[2], "reducer-apps") && catalog_find_reducer(app->name)))
                        (void) printf("%s\n", app->name);
        for (size_t i = 0; i < ELEMENTSOF(verbs) && g_str_equal(argv[2], "verbs"); i++)
                (void) printf("%s\n", verbs[i].name);
        return EXIT_SUCCESS;
}

int complain(const char *format, ...)
{
        g_autofree char *text = NULL;
        va_list ap;

        va_start(ap, format);
        text = g_strdup_vprintf(format, ap);
        va_end(ap);
        (void) fprintf(stderr, "mrctl: %s\n", text);
        return EXIT_JOB_FAILED;
}
