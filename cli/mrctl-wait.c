/*
 * mrctl wait — until jobs are over; ends as run would have.
 */
#include "cli/print.h"
#include "cli/result.h"
#include "cli/verbs.h"
#include "cli/watch.h"

static int wait_for(const Arguments *a, Master *m, const char *id, json_t *jobs)
{
        _cleanup_(watch_done) Watch w = {};
        _cleanup_free_ char *path = NULL;
        _cleanup_error_ Error e = {};
        int r;

        r = watch_init(&w, m, NULL, INTERRUPT_LEAVE, a->quiet, &e);
        if (r >= 0)
                r = master_find(m, "GetJob", id, &path, &e);
        if (r >= 0)
                r = watch_follow(&w, path, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));

        switch (watch_run(&w, &e)) {
        case WATCH_OVER:
                (void) json_array_append_new(jobs, job_to_json(w.job));
                if (job_is_done(w.job))
                        return EXIT_SUCCESS;
                result_complain(w.job);
                return EXIT_JOB_FAILED;
        case WATCH_INTERRUPTED:
                return EXIT_SIGNAL(w.signal_number);
        default:
                return complain("%s", error_message(&e, -EIO));
        }
}

int verb_wait(const Arguments *a)
{
        json_t *jobs = json_array();
        int status = EXIT_SUCCESS;

        for (guint i = 0; i < a->operands->len && status <= EXIT_JOB_FAILED; i++) {
                _cleanup_(master_done) Master m = {};
                _cleanup_error_ Error e = {};
                int r = master_connect(&m, a, &e);

                if (r < 0) {
                        status = complain("%s", error_message(&e, r));
                        break;
                }
                r = wait_for(a, &m, a->operands->pdata[i], jobs);
                status = MAX(status, r);
        }
        if (a->json != JSON_OFF && status <= EXIT_JOB_FAILED) {
                int r = print_json(jobs, a->json);

                return status != EXIT_SUCCESS ? status : r;
        }
        json_decref(jobs);
        return status;
}
