/*
 * Loading the archive module — see archive-load.h.
 */
#include <dlfcn.h>

#include "mr-task/archive-load.h"

/* Of the program, or of the module that this is part of. */
static char *own_directory(void)
{
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
        Dl_info info;

        if (dladdr((const void *) own_directory, &info) != 0 && g_path_is_absolute(info.dli_fname))
                return g_path_get_dirname(info.dli_fname);
        return g_path_get_dirname(self ? self : "");
}

int archive_module_load(Attempt *a, const ArchiveModule **ret)
{
        static const ArchiveModule *loaded;
        g_autofree char *dir = NULL, *path = NULL;
        void *module;

        if (!loaded) {
                dir = own_directory();
                path = g_build_filename(dir, ARCHIVE_MODULE, NULL);
                module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
                loaded = module ? dlsym(module, "archive_module") : NULL;
        }
        if (!loaded)
                return attempt_failf(a, ELIBACC, "cannot load what archives need: %s", dlerror());
        *ret = loaded;
        return 0;
}
