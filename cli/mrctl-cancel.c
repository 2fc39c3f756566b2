/*
 * mrctl cancel — stop jobs; goes on with the next one where one fails.
 */
#include "cli/each.h"
#include "cli/verbs.h"

static int cancel(Master *m, const Arguments *a _unused_, const char *id, json_t *cancelled,
                  Error *e)
{
        _cleanup_free_ char *path = NULL;
        int r;

        r = master_find(m, "GetJob", id, &path, e);
        if (r >= 0)
                r = master_call(m, path, JOB_INTERFACE, "Cancel", NULL, e, NULL);
        if (r >= 0)
                (void) json_array_append_new(cancelled, json_pack("{s:s}", "Id", id));
        return r;
}

int verb_cancel(const Arguments *a)
{
        return change_each(a, cancel);
}
