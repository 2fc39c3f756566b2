/*
 * Loading the archive module — see archive-load.h.
 */
#include <dlfcn.h>

#include "mr-task/archive-load.h"

int archive_module_load(Attempt *a, const ArchiveModule **ret)
{
        static const ArchiveModule *loaded;
        g_autofree char *self = NULL, *dir = NULL, *path = NULL;
        void *module;

        if (!loaded) {
                self = g_file_read_link("/proc/self/exe", NULL);
                dir = g_path_get_dirname(self ? self : "");
                path = g_build_filename(dir, ARCHIVE_MODULE, NULL); /* beside the program */
                module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
                loaded = module ? dlsym(module, "archive_module") : NULL;
        }
        if (!loaded)
                return attempt_failf(a, ELIBACC, "cannot load what archives need: %s", dlerror());
        *ret = loaded;
        return 0;
}
