/*
 * Files — see files.h.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "timesyncd-lite/files.h"

#define DRIFT_MAX_BYTES 256

int files_load_drift(const char *state_dir, Drift *ret)
{
        g_autofree char *path = g_build_filename(state_dir, "drift", NULL);
        _cleanup_free_ char *text = NULL;
        int r;

        r = read_file(path, DRIFT_MAX_BYTES, &text, NULL);
        return r < 0 ? r : drift_parse(text, ret);
}

int files_save_drift(const char *state_dir, Drift d)
{
        g_autofree char *text = drift_format(d);
        g_autofree char *path = g_build_filename(state_dir, "drift", NULL);
        g_autofree char *fresh = g_strconcat(path, ".new", NULL);
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
                return -errno;
        r = write_full(fd, text, strlen(text));
        if (r >= 0 && fdatasync(fd) < 0)
                r = -errno;
        if (r >= 0 && rename(fresh, path) < 0)
                r = -errno;
        if (r < 0)
                (void) unlink(fresh);
        return r;
}

int files_load_clock(const char *state_dir, int64_t *ret_real_ns)
{
        g_autofree char *path = g_build_filename(state_dir, "clock", NULL);
        struct stat st;

        if (stat(path, &st) < 0)
                return -errno;
        *ret_real_ns = (int64_t) st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec;
        return 0;
}

static int touch(const char *path, int64_t real_ns)
{
        const struct timespec both[2] = {
                {.tv_sec = (time_t) (real_ns / NSEC_PER_SEC), .tv_nsec = real_ns % NSEC_PER_SEC},
                {.tv_sec = (time_t) (real_ns / NSEC_PER_SEC), .tv_nsec = real_ns % NSEC_PER_SEC},
        };
        _cleanup_close_ int fd = -EBADF;

        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0 || futimens(fd, both) < 0)
                return -errno;
        return 0;
}

int files_save_clock(const char *state_dir, int64_t real_ns)
{
        g_autofree char *path = g_build_filename(state_dir, "clock", NULL);

        return touch(path, real_ns);
}

int files_lock(const char *run_dir, int *ret_fd, Error *e)
{
        g_autofree char *dir = g_build_filename(run_dir, "timesyncd-lite", NULL);
        g_autofree char *path = g_build_filename(dir, "lock", NULL);
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = mkdir_parents(dir, 0755);
        if (r < 0)
                return error_setf(e, r, "cannot make %s: %s", dir, error_text(r));
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return error_setf(e, errno, "cannot open %s: %s", path, error_text(errno));
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return error_setf(
                        e, EBUSY,
                        "another timesyncd-lite disciplines the clock (it holds %s): stop "
                        "it first, or use --dry-run",
                        path);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int files_touch_synchronized(const char *run_dir)
{
        g_autofree char *dir = g_build_filename(run_dir, "systemd", "timesync", NULL);
        g_autofree char *path = g_build_filename(dir, "synchronized", NULL);
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = mkdir_parents(dir, 0755);
        if (r < 0)
                return r;
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0 || futimens(fd, NULL) < 0)
                return -errno;
        return 0;
}
