/*
 * Verbs — see verbs.h.
 */
#include <stdarg.h>

#include "cli/verbs.h"

static const Verb verbs[] = {
        {"run", VERB_RUN, 0, 0, verb_run},
        {"submit", VERB_SUBMIT, 0, 0, verb_submit},
        {"wait", VERB_WAIT, 1, UINT_MAX, verb_wait},
        {"list", VERB_LIST, 0, 0, verb_list},
        {"status", VERB_STATUS, 1, UINT_MAX, verb_status},
        {"cancel", VERB_CANCEL, 1, UINT_MAX, verb_cancel},
        {"workers", VERB_WORKERS, 0, 0, verb_workers},
        {"tasks", VERB_TASKS, 1, 1, verb_tasks},
        {"cat", VERB_CAT, 1, 1, verb_cat},
        {"time", VERB_TIME, 0, UINT_MAX, verb_time},
        {"apps", VERB_APPS, 0, 0, verb_apps},
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
