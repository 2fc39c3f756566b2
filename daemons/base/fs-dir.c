/*
 * Directories, name by name, and their removal — see fs.h. Of libc alone, so that a program as
 * small as mr-sweep has it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"

int dir_each(int fd, int (*fn)(int fd, const char *name, void *userdata), void *userdata)
{
        struct dirent *de;
        int r = 0;
        DIR *d;

        d = fdopendir(fd);
        if (!d) {
                r = -errno;
                safe_close(fd);
                return r;
        }
        while (r == 0) {
                errno = 0;
                de = readdir(d);
                if (!de) {
                        r = -errno;
                        break;
                }
                if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
                        r = fn(fd, de->d_name, userdata);
        }
        (void) closedir(d);
        return r;
}

static int remove_child(int fd, const char *name, void *userdata)
{
        int *first = userdata;
        int r = rm_rf_at(fd, name);

        if (r < 0 && *first == 0)
                *first = r;
        return 0;
}

/* Deep trees cost recursion and one fd a level; ours are a few levels deep. */
static int rm_rf_children(int fd)
{
        int first = 0;
        int r = dir_each(fd, remove_child, &first);

        return first < 0 ? first : r;
}

/* A directory of ours may deny us to look or to remove (mode 0555 of a module cache): allow it
 * first. */
static int open_to_empty(int dir_fd, const char *name)
{
        const int flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        _cleanup_close_ int path_fd = -EBADF;
        char proc[32];
        struct stat st;
        int fd;

        fd = openat(dir_fd, name, O_RDONLY | flags);
        if (fd >= 0) {
                if (fstat(fd, &st) >= 0 && (st.st_mode & 0700) != 0700)
                        (void) fchmod(fd, 0700); /* if it is not ours, removing says so */
                return fd;
        }
        if (errno != EACCES)
                return -errno;
        path_fd = openat(dir_fd, name, O_PATH | flags);
        if (path_fd < 0)
                return -errno;
        (void) snprintf(proc, sizeof(proc), "/proc/self/fd/%d", path_fd);
        if (chmod(proc, 0700) < 0)
                return -EACCES;
        fd = openat(dir_fd, name, O_RDONLY | flags);
        return fd < 0 ? -errno : fd;
}

int rm_rf_at(int dir_fd, const char *name)
{
        int fd, r;

        if (unlinkat(dir_fd, name, 0) >= 0 || errno == ENOENT)
                return 0;
        if (errno != EISDIR && errno != EPERM)
                return -errno;

        fd = open_to_empty(dir_fd, name);
        if (fd < 0)
                return fd == -ENOENT ? 0 : fd;
        r = rm_rf_children(fd);
        if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT && r >= 0)
                r = -errno;
        return r;
}
