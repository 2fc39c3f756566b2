/*
 * mrctl cancel — stop jobs; goes on with the next one where one fails.
 */
#include "cli/job.h"
#include "cli/print.h"
#include "cli/verbs.h"

static int cancel(Master *m, const char *id)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_error_ Error e = {};
        const char *path;
        int r;

        r = master_call(m, MASTER_PATH, MASTER_INTERFACE, "GetJob", &reply, &e, "s", id);
        if (r >= 0 && sd_bus_message_read(reply, "o", &path) < 0)
                r = master_bad_reply(-EBADMSG, &e);
        if (r >= 0)
                r = master_call(m, path, JOB_INTERFACE, "Cancel", NULL, &e, NULL);
        if (r < 0)
                (void) complain("%s", error_message(&e, r));
        return r;
}

int verb_cancel(const Arguments *a)
{
        json_t *cancelled = json_array();
        _cleanup_(master_done) Master m = {};
        _cleanup_error_ Error e = {};
        int status = EXIT_SUCCESS;
        int r;

        r = master_connect(&m, a, &e);
        if (r < 0) {
                json_decref(cancelled);
                return complain("%s", error_message(&e, r));
        }
        for (guint i = 0; i < a->operands->len; i++) {
                const char *id = a->operands->pdata[i];

                if (cancel(&m, id) < 0)
                        status = EXIT_JOB_FAILED;
                else
                        (void) json_array_append_new(cancelled, json_pack("{s:s}", "Id", id));
        }
        if (a->json == JSON_OFF) {
                json_decref(cancelled);
                return status;
        }
        r = print_json(cancelled, a->json);
        return status != EXIT_SUCCESS ? status : r;
}
