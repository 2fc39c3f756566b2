/*
 * Planning — see master-plan.h.
 */
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "mr-masterd/master-plan.h"

#define DIRECTORY_DEPTH_MAX 200U /* each level costs a descriptor while it is listed */

static void plan_file_clear(gpointer p)
{
        g_free(((PlanFile *) p)->path);
}

PlanFiles *plan_files_new(void)
{
        PlanFiles *p = g_new0(PlanFiles, 1);

        p->files = g_array_new(FALSE, FALSE, sizeof(PlanFile));
        g_array_set_clear_func(p->files, plan_file_clear);
        return p;
}

PlanFiles *plan_files_free(PlanFiles *p)
{
        if (!p)
                return NULL;
        g_array_unref(p->files);
        g_free(p);
        return NULL;
}

int plan_files_add(PlanFiles *p, const PlanFile *file, Error *e)
{
        p->path_bytes += strlen(file->path) + 1;
        p->size_bytes += file->size_bytes;
        g_array_append_vals(p->files, file, 1);
        if (p->files->len > PLAN_FILES_MAX || p->path_bytes > PLAN_PATHS_MAX_BYTES)
                return error_setf(
                        e, E2BIG,
                        "more than %u input files: name fewer, or pack them into larger ones",
                        PLAN_FILES_MAX);
        return 0;
}

static const char *kind_of(const struct stat *st)
{
        switch (st->st_mode & S_IFMT) {
        case S_IFIFO:
                return "a fifo";
        case S_IFSOCK:
                return "a socket";
        case S_IFCHR:
        case S_IFBLK:
                return "a device";
        default:
                return "not a regular file";
        }
}

static int cannot_read(const char *path, int error, Error *e)
{
        if (error == EACCES || error == EPERM)
                return error_setf(e, error,
                                  "cannot read the input %s: permission denied; give the user that "
                                  "mapreduced runs as leave to read it",
                                  path);
        if (error == ENOENT)
                return error_setf(e, error, "the input %s does not exist: check its spelling",
                                  path);
        return error_setf(e, error, "cannot read the input %s: %s", path, error_text(error));
}

/* Takes the name relative to @dir_fd; @path is how it is called in messages and in the plan. */
static int add_file(PlanFiles *p, int dir_fd, const char *name, const char *path, Error *e)
{
        _cleanup_close_ int fd = -EBADF;
        PlanFile file;
        struct stat st;

        /* Not blocking: should it have become a fifo since it was looked at. */
        fd = openat(dir_fd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return cannot_read(path, errno, e);
        if (fstat(fd, &st) < 0)
                return cannot_read(path, errno, e);
        if (!S_ISREG(st.st_mode))
                return error_setf(
                        e, EINVAL,
                        "the input %s is %s: inputs are regular files, directories or globs", path,
                        kind_of(&st));
        file = (PlanFile){
                .path = g_strdup(path),
                .size_bytes = (uint64_t) st.st_size,
                .mtime_ns = (int64_t) st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec,
                .ctime_ns = (int64_t) st.st_ctim.tv_sec * NSEC_PER_SEC + st.st_ctim.tv_nsec,
                .inode = (uint64_t) st.st_ino,
                .device = (uint64_t) st.st_dev,
        };
        return plan_files_add(p, &file, e);
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static int add_name(int fd, const char *name, void *userdata)
{
        GPtrArray *names = userdata;

        if (names->len > PLAN_FILES_MAX)
                return -E2BIG;
        if (name[0] != '.' && name[0] != '_')
                g_ptr_array_add(names, g_strdup(name));
        return 0;
}

/* Takes @fd. Names that do not begin with '.' or '_', sorted. */
static int list_names(int fd, GPtrArray *names)
{
        int r = dir_each(fd, add_name, names);

        g_ptr_array_sort(names, compare_names);
        return r;
}

static int add_directory(PlanFiles *p, int dir_fd, const char *name, const char *path,
                         unsigned depth, Error *e);

static int add_entry(PlanFiles *p, int dir_fd, const char *name, const char *path, unsigned depth,
                     Error *e)
{
        struct stat st, target;

        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return cannot_read(path, errno, e);
        if (S_ISDIR(st.st_mode))
                return add_directory(p, dir_fd, name, path, depth + 1, e);
        if (S_ISREG(st.st_mode))
                return add_file(p, dir_fd, name, path, e);
        if (!S_ISLNK(st.st_mode))
                return 0;
        if (fstatat(dir_fd, name, &target, 0) < 0) {
                if (errno == ENOENT || errno == ELOOP)
                        return error_setf(
                                e, ENOENT,
                                "the input %s is a symbolic link to nothing: remove it, or "
                                "mount what it points to",
                                path);
                return cannot_read(path, errno, e);
        }
        return S_ISREG(target.st_mode) ? add_file(p, dir_fd, name, path, e) : 0;
}

/* Depth is bounded and the recursion follows no link: it ends. */
static int add_directory(PlanFiles *p, int dir_fd, const char *name, const char *path,
                         unsigned depth, Error *e)
{
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        _cleanup_close_ int fd = -EBADF;
        int copy, r;

        if (depth > DIRECTORY_DEPTH_MAX)
                return error_setf(e, ELOOP, "the input directory %s is nested deeper than %u", path,
                                  DIRECTORY_DEPTH_MAX);
        fd = openat(dir_fd, name,
                    O_RDONLY | O_DIRECTORY | O_CLOEXEC | (depth > 0 ? O_NOFOLLOW : 0));
        if (fd < 0)
                return cannot_read(path, errno, e);
        copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
                return cannot_read(path, errno, e);
        r = list_names(copy, names);
        if (r < 0)
                return cannot_read(path, -r, e);
        for (guint i = 0; i < names->len; i++) {
                g_autofree char *below = NULL;

                below = g_strconcat(path, g_str_has_suffix(path, "/") ? "" : "/",
                                    (const char *) names->pdata[i], NULL);
                r = add_entry(p, fd, names->pdata[i], below, depth, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int add_path(PlanFiles *p, const char *path, Error *e)
{
        struct stat st;

        if (stat(path, &st) < 0)
                return cannot_read(path, errno, e);
        if (S_ISDIR(st.st_mode))
                return add_directory(p, AT_FDCWD, path, path, 0, e);
        if (!S_ISREG(st.st_mode))
                return error_setf(
                        e, EINVAL,
                        "the input %s is %s: inputs are regular files, directories or globs", path,
                        kind_of(&st));
        return add_file(p, AT_FDCWD, path, path, e);
}

/* glob() has no room for an argument here, and planning runs in several threads. */
static _Thread_local int glob_errno;
static _Thread_local char glob_path[PATH_MAX];

static int on_glob_error(const char *path, int error)
{
        if (error == ENOENT || error == ENOTDIR)
                return 0;
        glob_errno = error;
        (void) g_strlcpy(glob_path, path, sizeof(glob_path));
        return 1;
}

static int add_glob(PlanFiles *p, const char *pattern, Error *e)
{
        glob_t g = {};
        int code, r = 0;

        glob_errno = 0;
        code = glob(pattern, 0, on_glob_error, &g);
        if (code == GLOB_NOMATCH)
                r = error_setf(e, ENOENT, "the input %s matches no file: check the pattern",
                               pattern);
        else if (code == GLOB_ABORTED)
                r = cannot_read(glob_path, glob_errno ? glob_errno : EIO, e);
        else if (code != 0)
                r = error_setf(e, ENOMEM, "the input %s matches too many files", pattern);
        for (size_t i = 0; r >= 0 && i < g.gl_pathc; i++)
                r = add_path(p, g.gl_pathv[i], e);
        globfree(&g);
        return r;
}

int plan_list_input(PlanFiles *p, const char *input, Error *e)
{
        const char *path = g_str_has_prefix(input, "file:") ? input + strlen("file:") : input;
        struct stat st;

        /* A name that is there is meant as it is, whatever signs are in it. */
        if (strpbrk(path, "*?[") && lstat(path, &st) < 0)
                return add_glob(p, path, e);
        return add_path(p, path, e);
}
