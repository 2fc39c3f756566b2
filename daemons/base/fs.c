/*
 * Files — see fs.h.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"

int write_full(int fd, const void *data, size_t size_bytes)
{
        const uint8_t *p = data;

        while (size_bytes > 0) {
                ssize_t n = write(fd, p, size_bytes);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                p += n;
                size_bytes -= (size_t) n;
        }
        return 0;
}

ssize_t read_full(int fd, void *data, size_t size_bytes)
{
        uint8_t *p = data;
        size_t got = 0;

        while (got < size_bytes) {
                ssize_t n = read(fd, p + got, size_bytes - got);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        break;
                got += (size_t) n;
        }
        return (ssize_t) got;
}

ssize_t pread_full(int fd, void *data, size_t size_bytes, uint64_t offset)
{
        uint8_t *p = data;
        size_t got = 0;

        while (got < size_bytes) {
                ssize_t n = pread(fd, p + got, size_bytes - got, (off_t) (offset + got));

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        break;
                got += (size_t) n;
        }
        return (ssize_t) got;
}

int mkdir_parents(const char *path, mode_t mode)
{
        _cleanup_free_ char *copy = NULL;
        struct stat st;

        copy = strdup(path);
        if (!copy)
                return -ENOMEM;

        for (char *p = copy + 1; *p; p++) {
                if (*p != '/')
                        continue;
                *p = '\0';
                if (mkdir(copy, mode) < 0 && errno != EEXIST)
                        return -errno;
                *p = '/';
        }
        if (mkdir(copy, mode) < 0) {
                if (errno != EEXIST)
                        return -errno;
                if (stat(path, &st) < 0)
                        return -errno;
                if (!S_ISDIR(st.st_mode))
                        return -ENOTDIR;
        }
        return 0;
}

int fsync_dir(const char *path)
{
        _cleanup_close_ int fd = -EBADF;

        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        /* Some file systems cannot sync a directory and say EINVAL; there is nothing more to do. */
        if (fsync(fd) < 0 && errno != EINVAL)
                return -errno;
        return 0;
}

static int one_is_enough(int fd, const char *name, void *userdata)
{
        return 1;
}

int dir_is_populated(const char *path)
{
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? -errno : dir_each(fd, one_is_enough, NULL);
}

int read_file(const char *path, size_t max_bytes, char **ret, size_t *ret_size_bytes)
{
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *buffer = NULL;
        size_t size = 4096, used = 0;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return -errno;
        for (;;) {
                char *grown;
                ssize_t n;

                size = MIN(size, max_bytes + 1);
                grown = realloc(buffer, size + 1);
                if (!grown)
                        return -ENOMEM;
                buffer = grown;
                n = read_full(fd, buffer + used, size - used);
                if (n < 0)
                        return (int) n;
                used += (size_t) n;
                if (used > max_bytes)
                        return -EFBIG;
                if (used < size)
                        break;
                size *= 2;
        }
        buffer[used] = '\0';
        if (ret_size_bytes)
                *ret_size_bytes = used;
        *ret = TAKE_PTR(buffer);
        return 0;
}

int copy_bytes(int from, int to)
{
        _cleanup_free_ uint8_t *buffer = NULL;
        bool try_kernel = true;

        for (;;) {
                ssize_t n;
                int r;

                if (try_kernel) {
                        n = copy_file_range(from, NULL, to, NULL, (size_t) GIB(1), 0);
                        if (n > 0)
                                continue;
                        /* procfs and friends answer 0 to copy_file_range: let read() decide the
                         * end. */
                        try_kernel = false;
                        buffer = malloc(KIB(256));
                        if (!buffer)
                                return -ENOMEM;
                }
                n = read_full(from, buffer, KIB(256));
                if (n < 0)
                        return (int) n;
                if (n == 0)
                        return 0;
                r = write_full(to, buffer, (size_t) n);
                if (r < 0)
                        return r;
        }
}
