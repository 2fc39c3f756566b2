/*
 * mrctl retry — failed or cancelled jobs again, as new ones; prints their ids as submit does.
 */
#include "cli/job.h"
#include "cli/print.h"
#include "cli/verbs.h"

static int retry(Master *m, const char *id, json_t *submitted, JsonMode mode)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *found = NULL, *reply = NULL;
        _cleanup_error_ Error e = {};
        const char *path, *new_id, *new_path;
        int r;

        r = master_call(m, MASTER_PATH, MASTER_INTERFACE, "GetJob", &found, &e, "s", id);
        if (r >= 0 && sd_bus_message_read(found, "o", &path) < 0)
                r = master_bad_reply(-EBADMSG, &e);
        if (r >= 0)
                r = master_call(m, path, JOB_INTERFACE, "Retry", &reply, &e, NULL);
        if (r >= 0 && sd_bus_message_read(reply, "so", &new_id, &new_path) < 0)
                r = master_bad_reply(-EBADMSG, &e);
        if (r < 0) {
                (void) complain("%s", error_message(&e, r));
                return r;
        }
        (void) json_array_append_new(submitted,
                                     json_pack("{s:s, s:s}", "Id", new_id, "RetryOf", id));
        if (mode == JSON_OFF)
                (void) printf("%s\n", new_id);
        return 0;
}

int verb_retry(const Arguments *a)
{
        json_t *submitted = json_array();
        _cleanup_(master_done) Master m = {};
        _cleanup_error_ Error e = {};
        int status = EXIT_SUCCESS;
        int r;

        r = master_connect(&m, a, &e);
        if (r < 0) {
                json_decref(submitted);
                return complain("%s", error_message(&e, r));
        }
        for (guint i = 0; i < a->operands->len; i++)
                if (retry(&m, a->operands->pdata[i], submitted, a->json) < 0)
                        status = EXIT_JOB_FAILED;
        if (a->json == JSON_OFF) {
                json_decref(submitted);
                r = print_finish();
        } else {
                r = print_json(submitted, a->json);
        }
        return status != EXIT_SUCCESS ? status : r;
}
