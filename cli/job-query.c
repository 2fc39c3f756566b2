#include "cli/job-query.h"

#include "cli/verbs.h"

int job_query_open(JobQuery *q, const Arguments *a, QueryWords words)
{
        const char *word = words > QUERY_JOB && a->operands->len > 1 ? a->operands->pdata[1] : NULL;
        _cleanup_error_ Error e = {};
        int r;

        q->is_named = word;
        if (task_name_parse(word, words == QUERY_ATTEMPT, &q->name, &e) < 0) {
                (void) complain("%s", e.message);
                return EXIT_USAGE;
        }
        r = master_connect(&q->master, a, &e);
        if (r >= 0)
                r = job_read_by_id(&q->master, a->operands->pdata[0], &q->job, &e);
        return r < 0 ? complain("%s", error_message(&e, r)) : EXIT_SUCCESS;
}

void job_query_done(JobQuery *q)
{
        job_free(q->job);
        master_done(&q->master);
}
