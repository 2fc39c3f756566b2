/*
 * mrctl cat — the result of a job that is done.
 */
#include "cli/result.h"
#include "cli/verbs.h"

int verb_cat(const Arguments *a)
{
        _cleanup_(master_done) Master m = {};
        _cleanup_(job_freep) Job *j = NULL;
        _cleanup_error_ Error e = {};
        int r;

        r = master_connect(&m, a, &e);
        if (r >= 0)
                r = job_read_by_id(&m, a->operands->pdata[0], &j, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        if (!job_is_done(j))
                return complain("job %s is %s: there is no result", j->id, j->state);
        return result_print(&m, j, NULL);
}
