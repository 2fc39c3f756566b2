/*
 * What each verb does — see verbs.h. Apart from the table of their names, which `mrctl --local run`
 * reads without all this.
 */
#include "cli/job.h"
#include "cli/verbs.h"

static int run(const Arguments *a)
{
        return verb_run(a, job_print_json);
}

static const struct {
        unsigned bit;
        int (*call)(const Arguments *a);
} calls[] = {
        {VERB_RUN, run},
        {VERB_SUBMIT, verb_submit},
        {VERB_WAIT, verb_wait},
        {VERB_WATCH, verb_watch},
        {VERB_CAT, verb_cat},
        {VERB_CANCEL, verb_cancel},
        {VERB_RETRY, verb_retry},
        {VERB_LIST, verb_list},
        {VERB_HISTORY, verb_history},
        {VERB_STATUS, verb_status},
        {VERB_WHY, verb_why},
        {VERB_LOGS, verb_logs},
        {VERB_TASKS, verb_tasks},
        {VERB_TIMELINE, verb_timeline},
        {VERB_EXPLAIN, verb_explain},
        {VERB_COUNTERS, verb_counters},
        {VERB_WORKERS, verb_workers},
        {VERB_DRAIN, verb_drain},
        {VERB_RESUME, verb_resume},
        {VERB_CLUSTER, verb_cluster},
        {VERB_TIME, verb_time},
        {VERB_APPS, verb_apps},
};

int verb_call(const Verb *verb, const Arguments *a)
{
        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                if (calls[i].bit == verb->bit)
                        return calls[i].call(a);
        g_assert_not_reached();
}
