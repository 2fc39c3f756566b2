/*
 * mrctl drain, mrctl resume — take workers out of service and back; goes on with the next one where
 * one fails.
 */
#include "cli/each.h"
#include "cli/verbs.h"

static int change(Master *m, const char *name, const char *method, json_t *changed, Error *e)
{
        _cleanup_free_ char *path = NULL;
        int r;

        r = master_find(m, "GetWorker", name, &path, e);
        if (r >= 0)
                r = master_call(m, path, WORKER_INTERFACE, method, NULL, e, NULL);
        if (r >= 0)
                (void) json_array_append_new(changed, json_pack("{s:s}", "Worker", name));
        return r;
}

static int drain(Master *m, const Arguments *a _unused_, const char *name, json_t *changed,
                 Error *e)
{
        return change(m, name, "Drain", changed, e);
}

static int resume(Master *m, const Arguments *a _unused_, const char *name, json_t *changed,
                  Error *e)
{
        return change(m, name, "Resume", changed, e);
}

int verb_drain(const Arguments *a)
{
        return change_each(a, drain);
}

int verb_resume(const Arguments *a)
{
        return change_each(a, resume);
}
