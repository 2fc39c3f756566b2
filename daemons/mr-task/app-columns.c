/*
 * Columns — see app-columns.h.
 */
#include "apps/catalog.h"
#include "mr-task/app-columns.h"

int fields_setup(Fields *f, MrTask *t)
{
        _cleanup_error_ Error e = {};
        char d;

        if (catalog_delimiter(mr_parameter(t, "delimiter"), &d, &e) < 0)
                return mr_fail(t, e.message);
        *f = (Fields){.delimited = d != '\0', .delimiter = (uint8_t) d};
        return 0;
}

int fields_parameter(MrTask *t, const char *name, uint64_t min, uint64_t *ret)
{
        _cleanup_error_ Error e = {};
        int r;

        r = catalog_number(name, mr_parameter(t, name), min, CATALOG_FIELD_MAX, ret, &e);
        return r < 0 ? mr_fail(t, e.message) : 0;
}
