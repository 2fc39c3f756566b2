/*
 * Shipped files — see worker-job.h.
 *
 * They come one after the other: each is read to a temporary name, counted, and renamed. Whoever
 * waits is told as soon as the last file it needs is there; a file that cannot be had fails those
 * who need it now, and is asked for again by the next attempt.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "mr-workerd/worker-job.h"
#include "mr-workerd/worker-master.h"

#define FETCH_NAME "fetch.tmp" /* in the job's directory, beside files/ */

struct JobFilesWait {
        JobFiles *files;
        const Mapreduced__V1__Program *program;
        JobFilesDone done;
        void *userdata;
        GList link;
};

struct JobFiles {
        Job *job;
        GHashTable *have; /* names of files on this disk */
        GQueue waits;     /* of JobFilesWait */

        /* The file that is being read. */
        EvgrpcCall *call; /* NULL: none */
        char *name;
        uint64_t size_bytes, got_bytes;
        bool executable;
        int fd;
        int error; /* the first one of our own */
        char *sentence;
};

static void step(JobFiles *f);

JobFiles *job_files_new(Job *job)
{
        JobFiles *f = g_new0(JobFiles, 1);

        *f = (JobFiles){
                .job = job,
                .have = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                .fd = -EBADF,
        };
        g_queue_init(&f->waits);
        return f;
}

static void fetch_clear(JobFiles *f)
{
        f->call = evgrpc_call_unref(f->call);
        f->fd = safe_close(f->fd);
        g_clear_pointer(&f->name, g_free);
        g_clear_pointer(&f->sentence, g_free);
        f->error = 0;
}

static void files_destroy(JobFiles *f)
{
        fetch_clear(f);
        g_hash_table_unref(f->have);
        g_free(f);
}

JobFiles *job_files_free(JobFiles *f)
{
        assert(!f->waits.head);

        f->job = NULL;
        if (f->call)
                evgrpc_call_cancel(f->call); /* the rest happens when the call is over */
        else
                files_destroy(f);
        return NULL;
}

static const Mapreduced__V1__JobFile *first_missing(const JobFiles *f,
                                                    const Mapreduced__V1__Program *p)
{
        for (size_t i = 0; i < p->n_files; i++)
                if (!g_hash_table_contains(f->have, p->files[i]->name))
                        return p->files[i];
        return NULL;
}

static bool needs(const JobFilesWait *w, const char *name)
{
        for (size_t i = 0; i < w->program->n_files; i++)
                if (g_str_equal(w->program->files[i]->name, name))
                        return true;
        return false;
}

static int _printf_(3, 4) fail(JobFiles *f, int error, const char *format, ...)
{
        va_list ap;

        if (f->error < 0)
                return f->error;
        va_start(ap, format);
        f->sentence = g_strdup_vprintf(format, ap);
        va_end(ap);
        f->error = error;
        return error;
}

static void on_chunk(EvgrpcCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Mapreduced__V1__Chunk *c = (const Mapreduced__V1__Chunk *) message;
        JobFiles *f = userdata;
        int r = 0;

        if (!f->job || f->error < 0)
                return;
        if ((c->total_bytes != 0 && c->total_bytes != f->size_bytes) ||
            c->data.len > f->size_bytes - f->got_bytes)
                r = fail(f, -EBADMSG, "the shipped file %s is not of the size that was announced",
                         f->name);
        else
                r = write_full(f->fd, c->data.data, c->data.len);
        if (r < 0) {
                (void) fail(f, r, "cannot write the shipped file %s: %s", f->name, g_strerror(-r));
                evgrpc_call_cancel(call);
                return;
        }
        f->got_bytes += c->data.len;
}

/* Gives the file its name. */
static int fetch_commit(JobFiles *f)
{
        g_autofree char *to = g_build_filename("files", f->name, NULL);
        _cleanup_close_ int dir_fd = -EBADF;
        int r;

        /* Attempts share it by links: one that wrote to it would change the answer of others. */
        if (fchmod(f->fd, f->executable ? 0555 : 0444) < 0)
                return -errno;
        r = spool_job_open(f->job->manager->spool, f->job->id, &dir_fd);
        if (r < 0)
                return r;
        if (renameat(dir_fd, FETCH_NAME, dir_fd, to) < 0)
                return -errno;
        g_hash_table_add(f->have, g_strdup(f->name));
        return 0;
}

static void judge(JobFiles *f, const EvgrpcStatus *status)
{
        int r;

        if (f->error < 0)
                return;
        if (status->code != EVGRPC_OK)
                (void) fail(f, status->code == EVGRPC_NOT_FOUND ? -ENOENT : -EIO,
                            "cannot fetch the shipped file %s from the master: %s: %s", f->name,
                            evgrpc_code_to_string(status->code), status->message);
        else if (f->got_bytes != f->size_bytes)
                (void) fail(f, -EIO,
                            "the shipped file %s ended after %" PRIu64 " of %" PRIu64 " bytes",
                            f->name, f->got_bytes, f->size_bytes);
        else {
                r = fetch_commit(f);
                if (r < 0)
                        (void) fail(f, r, "cannot keep the shipped file %s: %s", f->name,
                                    g_strerror(-r));
        }
}

/* What came of a file that will not be had: it may be what filled the disk. */
static void drop_partial(const JobFiles *f)
{
        _cleanup_close_ int dir_fd = -EBADF;

        if (spool_job_open(f->job->manager->spool, f->job->id, &dir_fd) >= 0)
                (void) unlinkat(dir_fd, FETCH_NAME, 0);
}

/* Tells those whose wait is over because of @name. Each may come back with a new request. */
static void tell(JobFiles *f, const char *name, int error, const char *sentence)
{
        GList *next;

        for (GList *l = f->waits.head; l; l = next) {
                JobFilesWait *w = l->data;

                next = l->next;
                if (error < 0 ? !needs(w, name) : first_missing(f, w->program) != NULL)
                        continue;
                g_queue_unlink(&f->waits, &w->link);
                w->files = NULL;
                w->done(error, sentence, w->userdata);
        }
}

static void on_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        g_autofree char *name = NULL, *sentence = NULL;
        JobFiles *f = userdata;
        int error;

        if (!f->job) {
                files_destroy(f);
                return;
        }
        judge(f, status);
        name = TAKE_PTR(f->name);
        sentence = TAKE_PTR(f->sentence);
        error = f->error;
        if (error < 0)
                drop_partial(f);
        fetch_clear(f);
        tell(f, name, error, sentence);
        step(f);
}

static int fetch_start(JobFiles *f, const Mapreduced__V1__JobFile *file)
{
        static const EvgrpcCallHandlers handlers = {.on_message = on_chunk, .on_done = on_done};
        Mapreduced__V1__ReadJobFileRequest request = MAPREDUCED__V1__READ_JOB_FILE_REQUEST__INIT;
        EvgrpcChannel *channel = master_link_channel(f->job->manager->master);
        _cleanup_close_ int dir_fd = -EBADF;
        int r;

        f->name = g_strdup(file->name);
        f->size_bytes = file->size_bytes;
        f->got_bytes = 0;
        f->executable = file->executable;

        if (!channel)
                return fail(f, -ENOTCONN, "no master to fetch the shipped file %s from", f->name);
        r = spool_job_open(f->job->manager->spool, f->job->id, &dir_fd);
        if (r >= 0)
                r = spool_job_make_inside(dir_fd);
        if (r >= 0) {
                f->fd = openat(dir_fd, FETCH_NAME,
                               O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
                r = f->fd < 0 ? -errno : 0;
        }
        if (r < 0)
                return fail(f, r, "cannot write the shipped file %s: %s", f->name, g_strerror(-r));

        request.job_id = f->job->id;
        request.name = f->name;
        r = evgrpc_call_start(channel, &mapreduced__v1__master__descriptor, "ReadJobFile",
                              &request.base, NULL, &handlers, f, &f->call);
        if (r < 0)
                return fail(f, r, "cannot ask for the shipped file %s: %s", f->name,
                            g_strerror(-r));
        return 0;
}

/* Reads the next file that somebody waits for. */
static void step(JobFiles *f)
{
        while (!f->call && f->waits.head) {
                JobFilesWait *w = f->waits.head->data;
                g_autofree char *name = NULL, *sentence = NULL;
                int r;

                r = fetch_start(f, first_missing(f, w->program));
                if (r >= 0)
                        return;
                name = TAKE_PTR(f->name);
                sentence = TAKE_PTR(f->sentence);
                drop_partial(f);
                fetch_clear(f);
                tell(f, name, r, sentence);
        }
}

int job_files_request(JobFiles *f, const Mapreduced__V1__Program *program, JobFilesDone done,
                      void *userdata, JobFilesWait **ret)
{
        JobFilesWait *w;

        if (!first_missing(f, program))
                return 1;
        w = g_new0(JobFilesWait, 1);
        *w = (JobFilesWait){.files = f, .program = program, .done = done, .userdata = userdata};
        w->link.data = w;
        *ret = w;
        g_queue_push_tail_link(&f->waits, &w->link);
        step(f);
        return 0;
}

JobFilesWait *job_files_wait_free(JobFilesWait *w)
{
        if (!w)
                return NULL;
        if (w->files)
                g_queue_unlink(&w->files->waits, &w->link);
        g_free(w);
        return NULL;
}

static int copy_at(int from_dir, int to_dir, const char *name)
{
        _cleanup_close_ int from = -EBADF, to = -EBADF;
        struct stat st;

        from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (from < 0 || fstat(from, &st) < 0)
                return -errno;
        to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st.st_mode & 0777);
        if (to < 0)
                return -errno;
        return copy_bytes(from, to);
}

static int link_files(int files_fd, int work_fd, const Mapreduced__V1__Program *program)
{
        int r;

        for (size_t i = 0; i < program->n_files; i++) {
                const char *file = program->files[i]->name;

                if (linkat(files_fd, file, work_fd, file, 0) >= 0)
                        continue;
                r = copy_at(files_fd, work_fd, file);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* A built-in program opens no file in its working directory, so it is given one in which there is
 * nothing to do. */
static bool needs_directory(const Mapreduced__V1__Program *program)
{
        return !*program->app || *program->mapper || *program->combiner || *program->reducer ||
               g_str_has_suffix(program->app, ".so") || program->n_files > 0 ||
               program->n_archives > 0;
}

int job_work_make(Job *job, const char *name, const Mapreduced__V1__Program *program, int *ret_fd)
{
        _cleanup_close_ int dir_fd = -EBADF, files_fd = -EBADF, fd = -EBADF;
        g_autofree char *path = g_build_filename("work", name, NULL);
        int r;

        r = spool_job_open(job->manager->spool, job->id, &dir_fd);
        if (r < 0)
                return r;
        if (!needs_directory(program)) {
                *ret_fd = openat(dir_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
                return *ret_fd < 0 ? -errno : 0;
        }
        r = spool_job_make_inside(dir_fd);
        if (r < 0)
                return r;
        files_fd = openat(dir_fd, "files", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (files_fd < 0 || mkdirat(dir_fd, path, 0700) < 0)
                return -errno;
        fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        /* A task process may be another user. Nobody else comes so far: the spool itself is
         * closed. */
        if (fd < 0 || fchmod(fd, 0777) < 0)
                r = -errno;
        else
                r = link_files(files_fd, fd, program);
        if (r < 0) {
                job_work_remove(job, name);
                return r;
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}

void job_work_remove(Job *job, const char *name)
{
        g_autofree char *path = g_build_filename("work", name, NULL), *trash = NULL;
        _cleanup_close_ int dir_fd = -EBADF;
        Manager *m = job->manager;

        /* Out of its place at once, so that the name is free; gone when the disk has time. */
        if (spool_job_open(m->spool, job->id, &dir_fd) >= 0 &&
            spool_trash(m->spool, dir_fd, path, &trash) >= 0)
                disk_remove(m->disk, spool_trash_fd(m->spool), trash);
}
