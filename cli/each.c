#include "cli/each.h"

#include "cli/print.h"
#include "cli/verbs.h"

static int change_one(Master *m, const Arguments *a, const char *name, ChangeFn fn, json_t *changed)
{
        _cleanup_error_ Error e = {};
        int r = fn(m, a, name, changed, &e);

        return r < 0 ? complain("%s", error_message(&e, r)) : EXIT_SUCCESS;
}

int change_each(const Arguments *a, ChangeFn fn)
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
        for (guint i = 0; i < a->operands->len; i++)
                if (change_one(&m, a, a->operands->pdata[i], fn, changed) != EXIT_SUCCESS)
                        status = EXIT_JOB_FAILED;
        if (a->json == JSON_OFF) {
                json_decref(changed);
                r = print_finish();
        } else {
                r = print_json(changed, a->json);
        }
        return status != EXIT_SUCCESS ? status : r;
}
