/*
 * Output files — see worker-output.h.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "mr-workerd/worker-output.h"

typedef struct OutputWork {
        OutputFile *file;
        int fd;
        bool sync;
        int error;
        uint64_t size_bytes;
        OutputOpened opened;
        OutputFinished finished;
} OutputWork;

OutputFile *output_file_new(const char *dir, const char *path, const char *name)
{
        OutputFile *f = g_new(OutputFile, 1);

        *f = (OutputFile){.dir = g_strdup(dir), .path = g_strdup(path), .name = g_strdup(name)};
        return f;
}

OutputFile *output_file_free(OutputFile *f)
{
        if (!f)
                return NULL;
        g_free(f->dir);
        g_free(f->path);
        g_free(f->name);
        g_free(f);
        return NULL;
}

static OutputWork *work_new(const OutputFile *f, int fd)
{
        OutputWork *w = g_new0(OutputWork, 1);

        w->file = output_file_new(f->dir, f->path, f->name);
        w->fd = fd;
        return w;
}

static void work_free(void *data)
{
        OutputWork *w = data;

        output_file_free(w->file);
        g_free(w);
}

static void remove_file(OutputWork *w)
{
        w->fd = safe_close(w->fd);
        (void) unlink(w->file->path);
        if (w->file->dir)
                (void) rmdir(w->file->dir); /* left if something else is in it */
}

/* ---- open ---- */

static void work_open(void *data)
{
        OutputWork *w = data;

        w->fd = safe_close(w->fd);
        /* The master made what is above it. If that is gone, so is the job, and must not come
         * back. */
        if (w->file->dir && mkdir(w->file->dir, 0777) < 0 && errno != EEXIST) {
                w->error = -errno;
                return;
        }
        (void) unlink(w->file->path);
        w->fd = open(w->file->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                     w->file->dir ? 0666 : 0660);
        if (w->fd < 0)
                w->error = -errno;
}

static void done_open(void *data, void *userdata)
{
        OutputWork *w = data;

        w->opened(w->error < 0 ? w->error : TAKE_FD(w->fd), userdata);
}

/* Where nobody waited for it any more, the file is there all the same; and its file system answers
 * again. */
static void free_opened(void *data)
{
        OutputWork *w = data;

        if (w->fd >= 0)
                remove_file(w);
        work_free(w);
}

ThreadWork *output_file_open(Threads *t, const char *job, const OutputFile *f, int old_fd,
                             OutputOpened done, void *userdata)
{
        static const ThreadWorkOps ops = {
                .work = work_open, .done = done_open, .free = free_opened};
        OutputWork *w = work_new(f, old_fd);

        w->opened = done;
        return threads_run(t, job, &ops, w, userdata);
}

/* ---- finish ---- */

static void work_finish(void *data)
{
        OutputWork *w = data;
        struct stat st;

        if (fstat(w->fd, &st) < 0 || (w->sync && fsync(w->fd) < 0)) {
                w->error = -errno;
                w->fd = safe_close(w->fd);
                return;
        }
        w->size_bytes = (uint64_t) st.st_size;
        if (close(TAKE_FD(w->fd)) < 0 && errno != EINTR)
                w->error = -errno;
        if (w->error >= 0 && w->file->name && rename(w->file->path, w->file->name) < 0)
                w->error = -errno;
}

static void done_finish(void *data, void *userdata)
{
        OutputWork *w = data;

        w->finished(w->error, w->size_bytes, userdata);
}

ThreadWork *output_file_finish(Threads *t, const char *job, const OutputFile *f, int fd, bool sync,
                               OutputFinished done, void *userdata)
{
        static const ThreadWorkOps ops = {
                .work = work_finish, .done = done_finish, .free = work_free};
        OutputWork *w = work_new(f, fd);

        w->sync = sync;
        w->finished = done;
        return threads_run(t, job, &ops, w, userdata);
}

static void work_discard(void *data)
{
        remove_file(data);
}

void output_file_discard(Threads *t, const char *job, const OutputFile *f, int fd)
{
        static const ThreadWorkOps ops = {.work = work_discard, .free = work_free};

        (void) threads_run(t, job, &ops, work_new(f, fd), NULL);
}
