/*
 * Archives — see archive.h.
 *
 * The module writes below the current directory, which is the archive's own while it does: mr-task
 * has one thread that cares.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "mr-task/archive-load.h"
#include "mr-task/archive.h"

/* Below the current directory. What is wrong with an archive is wrong on every worker; a full disk
 * is not. */
static int unpack_here(Attempt *a, const char *name, int fd)
{
        _cleanup_error_ Error e = {};
        const ArchiveModule *module;
        int r;

        r = archive_module_load(a, &module);
        if (r < 0)
                return r;
        r = module->unpack(fd, &a->ticker, &e);
        if (!e.message)
                return r;
        a->permanent = r != -ENOSPC && r != -EDQUOT;
        return attempt_failf(a, r, "the archive %s: %s", name, e.message);
}

/* The directory may have the file's own name, as in Hadoop: so the file goes first. */
static int unpack(Attempt *a, const char *name, const char *directory)
{
        _cleanup_close_ int fd = -EBADF, dir_fd = -EBADF, root_fd = -EBADF;
        struct stat st;
        int r;

        fd = openat(a->cwd_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 ? errno == ENOENT : fstat(fd, &st) >= 0 && S_ISDIR(st.st_mode))
                return 0; /* a reduce that runs again over another attempt's output: it is done */
        if (fd < 0)
                return attempt_failf(a, errno, "cannot open the archive %s: %s", name,
                                     error_text(errno));
        if (unlinkat(a->cwd_fd, name, 0) < 0 || mkdirat(a->cwd_fd, directory, 0755) < 0)
                return attempt_failf(a, errno, "cannot unpack %s in %s: %s", name, directory,
                                     error_text(errno));
        dir_fd = openat(a->cwd_fd, directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        root_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir_fd < 0 || root_fd < 0 || fchdir(dir_fd) < 0)
                return attempt_failf(a, errno, "cannot unpack %s in %s: %s", name, directory,
                                     error_text(errno));
        r = unpack_here(a, name, fd);
        return fchdir(root_fd) < 0 && r >= 0 ? -errno : r;
}

int archives_unpack(Attempt *a)
{
        const Mapreduced__V1__Program *p = a->start->program;
        int r = 0;

        for (size_t i = 0; i < p->n_archives && r >= 0; i++) {
                const char *mark = strrchr(p->archives[i], '#');
                g_autofree char *name =
                        mark ? g_strndup(p->archives[i], (gsize) (mark - p->archives[i]))
                             : g_strdup(p->archives[i]);

                r = unpack(a, name, mark ? mark + 1 : name);
        }
        return r;
}
