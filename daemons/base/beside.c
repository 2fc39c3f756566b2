/*
 * What lies beside us — see beside.h.
 */
#include <dlfcn.h>

#include "base/beside.h"

/* Of the program, or of the module that this is part of: a program's name may be a relative one. */
static char *own_directory(void)
{
        g_autofree char *self = NULL;
        Dl_info info;

        if (dladdr((const void *) own_directory, &info) != 0 && g_path_is_absolute(info.dli_fname))
                return g_path_get_dirname(info.dli_fname);
        self = g_file_read_link("/proc/self/exe", NULL);
        return g_path_get_dirname(self ? self : "");
}

int load_beside(const char *file, const char *room, const char *symbol, const void **ret, Error *e)
{
        g_autofree char *dir = own_directory();
        g_autofree char *rooms = g_path_get_dirname(dir);
        g_autofree char *installed = g_build_filename(dir, file, NULL);
        g_autofree char *built = g_build_filename(rooms, room, file, NULL);
        bool in_build_tree = access(installed, F_OK) < 0 && access(built, F_OK) >= 0;
        void *module = dlopen(in_build_tree ? built : installed, RTLD_NOW | RTLD_LOCAL);
        const void *found = module ? dlsym(module, symbol) : NULL;

        if (!found)
                return error_setf(e, ELIBACC,
                                  "cannot load a part of mapreduced (%s): install it again",
                                  dlerror());
        *ret = found;
        return 0;
}
