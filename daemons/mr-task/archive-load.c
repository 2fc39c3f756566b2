/*
 * Loading the archive module — see archive-load.h.
 */
#include "base/beside.h"
#include "mr-task/archive-load.h"

int archive_module_load(Attempt *a, const ArchiveModule **ret)
{
        static const void *loaded;
        _cleanup_error_ Error e = {};
        int r;

        if (!loaded) {
                r = load_beside(ARCHIVE_MODULE, "mr-task", "archive_module", &loaded, &e);
                if (r < 0)
                        return attempt_failf(a, r, "%s", e.message);
        }
        *ret = loaded;
        return 0;
}
