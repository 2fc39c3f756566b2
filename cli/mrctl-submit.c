/*
 * mrctl submit — hand a job over, print its id, and leave.
 */
#include "cli/job-file.h"
#include "cli/master.h"
#include "cli/print.h"
#include "cli/verbs.h"

static int submit(Master *m, const JobRequest *q, sd_bus_message **ret, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = job_request_message(q, m, &call, e);
        if (r < 0)
                return r;
        r = sd_bus_call(m->bus, call, USEC_INFINITY, &error, ret);
        return r < 0 ? master_explain(m, &error, r, e) : 0;
}

int verb_submit(const Arguments *a)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(job_file_freep) JobFile *file = NULL;
        _cleanup_(job_request_done) JobRequest q = {};
        JobArguments job = a->job;
        _cleanup_(master_done) Master m = {};
        _cleanup_error_ Error e = {};
        const char *id, *path;
        int r;

        r = job_file_take(&job, &file, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        r = job_arguments_check(&job, &e);
        if (r < 0) {
                (void) complain("%s", error_message(&e, r));
                return EXIT_USAGE;
        }
        r = job_request_init(&q, &job, &e);
        if (r >= 0 && a->print_job) {
                r = job_file_print(&q, &e);
                return r < 0 ? complain("%s", error_message(&e, r)) : print_finish();
        }
        if (r >= 0)
                r = master_connect(&m, a, &e);
        if (r >= 0)
                r = submit(&m, &q, &reply, &e);
        if (r >= 0 && sd_bus_message_read(reply, "so", &id, &path) < 0)
                r = master_bad_reply(-EBADMSG, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        if (a->json != JSON_OFF)
                return print_json(json_pack("{s:s}", "Id", id), a->json);
        (void) printf("%s\n", id);
        return print_finish();
}
