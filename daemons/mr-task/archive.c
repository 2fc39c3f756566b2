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

/* "FILE#DIRECTORY", or "FILE" where both have one name. */
typedef struct Archive {
        char *name;
        const char *directory;
        int fd; /* -EBADF: it is unpacked */
} Archive;

static int archive_open(Attempt *a, const char *s, Archive *ret)
{
        const char *mark = strrchr(s, '#');
        struct stat st;

        ret->name = mark ? g_strndup(s, (gsize) (mark - s)) : g_strdup(s);
        ret->directory = mark ? mark + 1 : ret->name;
        ret->fd = openat(a->cwd_fd, ret->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (ret->fd >= 0 ? fstat(ret->fd, &st) >= 0 && S_ISDIR(st.st_mode) : errno == ENOENT) {
                /* a reduce that runs again over another attempt's output: it is done */
                ret->fd = safe_close(ret->fd);
                return 0;
        }
        if (ret->fd < 0)
                return attempt_failf(a, errno, "cannot open the archive %s: %s", ret->name,
                                     error_text(errno));
        return 0;
}

static int archive_unlink(Attempt *a, const Archive *archive)
{
        if (archive->fd < 0 || unlinkat(a->cwd_fd, archive->name, 0) >= 0 || errno == ENOENT)
                return 0; /* ENOENT: another archive is of the same file */
        return attempt_failf(a, errno, "cannot remove %s, which is to be unpacked in %s: %s",
                             archive->name, archive->directory, error_text(errno));
}

static int archive_unpack_in_directory(Attempt *a, const Archive *archive)
{
        _cleanup_close_ int dir_fd = -EBADF, root_fd = -EBADF;
        int r;

        if (archive->fd < 0)
                return 0;
        if (mkdirat(a->cwd_fd, archive->directory, 0755) < 0)
                return attempt_failf(a, errno, "cannot unpack %s in %s: %s", archive->name,
                                     archive->directory, error_text(errno));
        dir_fd = openat(a->cwd_fd, archive->directory,
                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        root_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir_fd < 0 || root_fd < 0 || fchdir(dir_fd) < 0)
                return attempt_failf(a, errno, "cannot unpack %s in %s: %s", archive->name,
                                     archive->directory, error_text(errno));
        r = unpack_here(a, archive->name, archive->fd);
        return fchdir(root_fd) < 0 && r >= 0 ? -errno : r;
}

/* A directory may have a file's own name, as in Hadoop, and a file may be unpacked in several: so
 * all are opened, then all files go, and then there are directories. */
static int unpack_all(Attempt *a, Archive *archives, size_t count)
{
        int r = 0;

        for (size_t i = 0; i < count && r >= 0; i++)
                r = archive_open(a, a->start->program->archives[i], &archives[i]);
        for (size_t i = 0; i < count && r >= 0; i++)
                r = archive_unlink(a, &archives[i]);
        for (size_t i = 0; i < count && r >= 0; i++)
                r = archive_unpack_in_directory(a, &archives[i]);
        return r;
}

int archives_unpack(Attempt *a)
{
        size_t count = a->start->program->n_archives;
        g_autofree Archive *archives = g_new(Archive, count);
        int r;

        for (size_t i = 0; i < count; i++)
                archives[i] = (Archive){.fd = -EBADF};
        r = unpack_all(a, archives, count);
        for (size_t i = 0; i < count; i++) {
                safe_close(archives[i].fd);
                g_free(archives[i].name);
        }
        return r;
}
