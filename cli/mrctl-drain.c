/*
 * mrctl drain, mrctl resume — take workers out of service and back; goes on with the next one where one fails.
 */
#include "cli/master.h"
#include "cli/print.h"
#include "cli/verbs.h"

static int change(Master *m, const char *name, const char *method)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_error_ Error e = {};
        const char *path;
        int r;

        r = master_call(m, MASTER_PATH, MASTER_INTERFACE, "GetWorker", &reply, &e, "s", name);
        if (r >= 0 && sd_bus_message_read(reply, "o", &path) < 0)
                r = master_bad_reply(-EBADMSG, &e);
        if (r >= 0)
                r = master_call(m, path, WORKER_INTERFACE, method, NULL, &e, NULL);
        if (r < 0)
                (void) complain("%s", error_message(&e, r));
        return r;
}

static int change_all(const Arguments *a, const char *method)
{
        json_t *changed = json_array();
        _cleanup_(master_done) Master m = {};
        _cleanup_error_ Error e = {};
        int status = EXIT_SUCCESS;
        int r;

        r = master_connect(&m, a, &e);
        if (r < 0) {
                json_decref(changed);
                return complain("%s", error_message(&e, r));
        }
        for (guint i = 0; i < a->operands->len; i++) {
                const char *name = a->operands->pdata[i];

                if (change(&m, name, method) < 0)
                        status = EXIT_JOB_FAILED;
                else
                        (void) json_array_append_new(changed, json_pack("{s:s}", "Worker", name));
        }
        if (a->json == JSON_OFF) {
                json_decref(changed);
                return status;
        }
        r = print_json(changed, a->json);
        return status != EXIT_SUCCESS ? status : r;
}

int verb_drain(const Arguments *a)
{
        return change_all(a, "Drain");
}

int verb_resume(const Arguments *a)
{
        return change_all(a, "Resume");
}
