/*
 * mrctl retry — failed or cancelled jobs again, as new ones; prints their ids as submit does.
 */
#include "cli/each.h"
#include "cli/verbs.h"

static int retry(Master *m, const Arguments *a, const char *id, json_t *submitted, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_free_ char *path = NULL;
        const char *new_id, *new_path;
        int r;

        r = master_find(m, "GetJob", id, &path, e);
        if (r >= 0)
                r = master_call(m, path, JOB_INTERFACE, "Retry", &reply, e, NULL);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "so", &new_id, &new_path);
        if (r < 0)
                return master_bad_reply(r, e);
        (void) json_array_append_new(submitted,
                                     json_pack("{s:s, s:s}", "Id", new_id, "RetryOf", id));
        if (a->json == JSON_OFF)
                (void) printf("%s\n", new_id);
        return 0;
}

int verb_retry(const Arguments *a)
{
        return change_each(a, retry);
}
