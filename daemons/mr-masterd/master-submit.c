/*
 * Submission — from a bus message to a job that is on disk, and only then to its answer.
 *
 * Shipped files are copied first, in a thread, into the state directory; the job's row follows. So
 * a submission that is answered is whole, and one that is not leaves at most files that the next
 * start removes. A request that is repeated with its RequestId, because its answer was lost, is
 * answered with the same job.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "mr-masterd/master-manager.h"
#include "platform/bus.h"
#include "platform/log.h"

/* ---- Reading the message ---- */

static int wrong_type(const char *key, const char *expected, Error *e)
{
        return error_setf(e, EINVAL, "%s takes %s", key, expected);
}

static int read_strings(sd_bus_message *m, JobDesc *d, const char *key, Error *e)
{
        const char *s;
        int r;

        r = sd_bus_message_enter_container(m, 'v', "as");
        if (r < 0)
                return wrong_type(key, "a list of strings (as)", e);
        r = sd_bus_message_enter_container(m, 'a', "s");
        while (r > 0 && (r = sd_bus_message_read_basic(m, 's', &s)) > 0) {
                r = job_desc_add_string(d, key, s, e);
                if (r < 0)
                        return r;
                r = 1;
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_string(sd_bus_message *m, JobDesc *d, const char *key, Error *e)
{
        const char *s;

        if (sd_bus_message_read(m, "v", "s", &s) < 0)
                return wrong_type(key, "a string (s)", e);
        return job_desc_set_string(d, key, s, e);
}

/* Either width is welcome: who types a call by hand need not know which one it is. */
static int read_number(sd_bus_message *m, JobDesc *d, const char *key, Error *e)
{
        const char *contents = NULL;
        uint64_t wide;
        uint32_t narrow;
        char type;

        if (sd_bus_message_peek_type(m, &type, &contents) <= 0)
                return -EBADMSG;
        if (g_strcmp0(contents, "t") == 0 && sd_bus_message_read(m, "v", "t", &wide) >= 0)
                return job_desc_set_number(d, key, wide, e);
        if (g_strcmp0(contents, "u") == 0 && sd_bus_message_read(m, "v", "u", &narrow) >= 0)
                return job_desc_set_number(d, key, narrow, e);
        return wrong_type(key, "a number (u or t)", e);
}

static int read_boolean(sd_bus_message *m, JobDesc *d, const char *key, Error *e)
{
        int value;

        if (sd_bus_message_read(m, "v", "b", &value) < 0)
                return wrong_type(key, "yes or no (b)", e);
        return job_desc_set_boolean(d, key, value, e);
}

static int read_setting(sd_bus_message *m, void *userdata, Error *e)
{
        JobDesc *d = userdata;
        const char *key;
        char type;
        int r;

        r = sd_bus_message_read_basic(m, 's', &key);
        if (r < 0)
                return r;
        r = job_desc_type(key, &type, e);
        if (r < 0)
                return r;
        if (type == 'a')
                return read_strings(m, d, key, e);
        if (type == 'b')
                return read_boolean(m, d, key, e);
        return type == 's' ? read_string(m, d, key, e) : read_number(m, d, key, e);
}

/* What @fn reads is within one element: a dict entry ('e') or a struct ('r'). */
typedef int (*ReadElement)(sd_bus_message *m, void *userdata, Error *e);

static int read_each(sd_bus_message *m, char type, const char *contents, ReadElement fn,
                     void *userdata, Error *e)
{
        g_autofree char *element =
                g_strdup_printf(type == 'e' ? "{%s}" : "(%s)", contents); /* as the array has it */
        int r;

        r = sd_bus_message_enter_container(m, 'a', element);
        while (r > 0 && (r = sd_bus_message_enter_container(m, type, contents)) > 0) {
                r = fn(m, userdata, e);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
                r = 1;
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* Files that come with a job. Their descriptors are ours, in the order of the description's
 * files. */
typedef struct Shipped {
        JobDesc *desc;
        GArray *fds;
        uint64_t left_bytes; /* that may come as bytes */
} Shipped;

/* The descriptor is the message's: a copy of it is kept. */
static int read_descriptor(sd_bus_message *m, void *userdata, Error *e)
{
        Shipped *shipped = userdata;
        const char *name;
        int fd, r;

        r = sd_bus_message_read(m, "sh", &name, &fd);
        if (r >= 0)
                r = job_desc_add_file(shipped->desc, name, e);
        if (r < 0)
                return r;
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                return -errno;
        g_array_append_val(shipped->fds, fd);
        return 0;
}

/* A file that came as bytes, as a descriptor like the others: from there on they are alike. */
static int contents_to_fd(const char *name, bool executable, const void *data, size_t size,
                          Error *e)
{
        _cleanup_close_ int fd = memfd_create("shipped", MFD_CLOEXEC);
        int r;

        r = fd < 0 ? -errno : write_full(fd, data, size);
        if (r >= 0 && fchmod(fd, executable ? 0700 : 0600) < 0)
                r = -errno;
        if (r < 0)
                return error_setf(e, r, "cannot keep the shipped file %s: %s", name, error_text(r));
        return TAKE_FD(fd);
}

static int read_contents(sd_bus_message *m, void *userdata, Error *e)
{
        Shipped *shipped = userdata;
        const char *name;
        const void *data;
        size_t size = 0;
        int executable, fd, r;

        r = sd_bus_message_read(m, "sb", &name, &executable);
        if (r >= 0)
                r = sd_bus_message_read_array(m, 'y', &data, &size);
        if (r >= 0)
                r = job_desc_add_file(shipped->desc, name, e);
        if (r < 0)
                return r;
        if (size > shipped->left_bytes)
                return error_setf(e, EFBIG,
                                  "the shipped files are more than %u MiB together, which is the "
                                  "most that is taken as bytes: put %s where all workers see it",
                                  (unsigned) (JOB_CONTENTS_MAX_BYTES / MIB(1)), name);
        shipped->left_bytes -= size;
        fd = contents_to_fd(name, executable, data, size, e);
        if (fd < 0)
                return fd;
        g_array_append_val(shipped->fds, fd);
        return 0;
}

static int read_shipped(sd_bus_message *m, JobDesc *d, GArray *fds, Error *e)
{
        Shipped shipped = {.desc = d, .fds = fds, .left_bytes = JOB_CONTENTS_MAX_BYTES};

        if (sd_bus_message_has_signature(m, "a{sv}a(sbay)"))
                return read_each(m, 'r', "sbay", read_contents, &shipped, e);
        return read_each(m, 'e', "sh", read_descriptor, &shipped, e);
}

/* ---- Copying, in a thread ---- */

typedef struct Submission {
        Manager *manager;
        MasterJob *job; /* owned until it is added */
        sd_bus_message *message;
        GArray *fds;
        char *dir;
        bool sync;
        int result;
        Error error;
} Submission;

static void clear_fd(gpointer p)
{
        (void) safe_close(*(int *) p);
}

static void submission_free(Submission *s)
{
        job_free(s->job);
        sd_bus_message_unref(s->message);
        g_array_unref(s->fds);
        g_free(s->dir);
        error_done(&s->error);
        g_free(s);
}

static int copy_limited(int from, int to, uint64_t size_bytes, GChecksum *sum)
{
        g_autofree uint8_t *buffer = g_malloc(KIB(256));
        uint64_t offset = 0;

        while (offset < size_bytes) {
                ssize_t n = pread_full(from, buffer, MIN(KIB(256), size_bytes - offset), offset);
                int r;

                if (n <= 0)
                        return n < 0 ? (int) n : -EIO;
                g_checksum_update(sum, buffer, n);
                r = write_full(to, buffer, (size_t) n);
                if (r < 0)
                        return r;
                offset += (uint64_t) n;
        }
        return 0;
}

static int copy_file(Submission *s, JobShippedFile *f, int from)
{
        g_autofree char *path = g_build_filename(s->dir, "files", f->name, NULL);
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
        _cleanup_close_ int to = -EBADF;
        struct stat st;
        int r;

        if (fstat(from, &st) < 0)
                return error_setf(&s->error, errno, "cannot read the file %s: %s", f->name,
                                  error_text(errno));
        if (!S_ISREG(st.st_mode))
                return error_setf(&s->error, EINVAL, "the shipped file %s is not a regular file",
                                  f->name);
        if ((uint64_t) st.st_size > JOB_FILE_MAX_BYTES)
                return error_setf(
                        &s->error, EFBIG,
                        "the shipped file %s is larger than %u MiB: put it where all workers see it",
                        f->name, (unsigned) (JOB_FILE_MAX_BYTES / MIB(1)));
        f->size_bytes = (uint64_t) st.st_size;
        f->executable = st.st_mode & 0111;
        to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                  f->executable ? 0700 : 0600);
        r = to < 0 ? -errno : copy_limited(from, to, f->size_bytes, sum);
        g_free(f->digest);
        f->digest = g_strdup(g_checksum_get_string(sum));
        if (r >= 0 && s->sync && fsync(to) < 0)
                r = -errno;
        return r < 0 ? error_setf(&s->error, r, "cannot keep the shipped file %s: %s", f->name,
                                  error_text(r))
                     : 0;
}

static void copy_work(void *data)
{
        Submission *s = data;
        g_autofree char *files = g_build_filename(s->dir, "files", NULL);

        s->result = mkdir_parents(files, 0700);
        if (s->result < 0)
                error_setf(&s->error, s->result, "cannot make %s: %s", files,
                           error_text(s->result));
        for (guint i = 0; i < s->fds->len && s->result >= 0; i++)
                s->result =
                        copy_file(s, s->job->desc->files->pdata[i], g_array_index(s->fds, int, i));
        if (s->result >= 0 && s->sync)
                s->result = fsync_dir(files);
        if (s->result < 0)
                (void) rm_rf_at(AT_FDCWD, s->dir);
}

/* ---- Answering ---- */

static const char *error_name(int error)
{
        switch (-error) {
        case EINVAL:
        case ERANGE:
        case EFBIG:
        case E2BIG:
                return BUS_ERROR_INVALID_JOB;
        case EBUSY:
                return BUS_ERROR_LIMIT;
        default:
                return BUS_ERROR_IO;
        }
}

static int answer_error(sd_bus_message *message, int error, const Error *e)
{
        return sd_bus_reply_method_errorf(message, error_name(error), "%s",
                                          error_message(e, error));
}

static int answer_job(sd_bus_message *message, const MasterJob *j)
{
        return sd_bus_reply_method_return(message, "so", j->id, j->path);
}

static uint32_t count_active_of(const Manager *m, uint32_t uid)
{
        uint32_t count = 0;

        for (guint i = 0; i < m->by_age->len; i++) {
                const MasterJob *j = m->by_age->pdata[i];

                count += j->uid == uid && !job_is_over(j);
        }
        return count;
}

static int check_user_room(const Manager *m, uint32_t uid, Error *e)
{
        if (count_active_of(m, uid) < m->conf->user_jobs_max)
                return 0;
        return error_setf(e, EBUSY,
                          "%u jobs of user %u are not over yet: wait for some, or raise "
                          "UserJobsMax= in masterd.conf",
                          m->conf->user_jobs_max, uid);
}

/* From here on the job exists, or the submitter is told why not. */
static void submit(Submission *s)
{
        Manager *m = s->manager;
        MasterJob *j = s->job, *same = NULL;
        int r;

        if (*j->desc->request_id)
                same = g_hash_table_lookup(m->requests, j->desc->request_id);
        if (same) {
                (void) rm_rf_at(AT_FDCWD, s->dir);
                (void) answer_job(s->message, same);
                return;
        }
        r = check_user_room(m, j->uid, &s->error); /* again: copying its files took a while */
        if (r < 0) {
                (void) rm_rf_at(AT_FDCWD, s->dir);
                (void) answer_error(s->message, r, &s->error);
                return;
        }
        r = job_submit(j);
        if (r < 0) {
                error_setf(&s->error, r, "cannot save the job: %s", store_error(m->store));
                log_error("Refused a job: %s", s->error.message);
                (void) rm_rf_at(AT_FDCWD, s->dir);
                (void) answer_error(s->message, -EIO, &s->error);
                return;
        }
        s->job = NULL;
        job_add(j);
        bus_job_added(j);
        (void) answer_job(s->message, j);
        job_plan(j);
        manager_kick(m);
}

static void copy_done(void *data, bool abandoned)
{
        Submission *s = data;

        s->manager->submitting--;
        if (!abandoned && s->result < 0)
                (void) answer_error(s->message, s->result, &s->error);
        else if (!abandoned)
                submit(s);
        submission_free(s);
}

/* A submission that passed every check but those that need the disk. */
static int accept_job(Manager *m, sd_bus_message *message, JobDesc *desc, GArray *fds, uint32_t uid)
{
        Submission *s = g_new0(Submission, 1);

        s->manager = m;
        s->job = job_new(m, m->next_job++, desc, uid);
        s->message = sd_bus_message_ref(message);
        s->fds = g_array_ref(fds);
        s->dir = manager_state_path(m, "jobs", s->job);
        s->sync = !m->conf->ephemeral;
        if (fds->len > 0) {
                m->submitting++;
                offload_run(m->offload, 0, uid, copy_work, copy_done, s);
                return 1;
        }
        submit(s);
        submission_free(s);
        return 1;
}

static int check_room(const Manager *m, uint32_t uid, sd_bus_error *ret_error)
{
        _cleanup_error_ Error e = {};

        if (check_user_room(m, uid, &e) < 0)
                return bus_error_setf(ret_error, BUS_ERROR_LIMIT, "%s", e.message);
        if (manager_count_active(m) < m->conf->jobs_max)
                return 0;
        return bus_error_setf(ret_error, BUS_ERROR_LIMIT,
                              "%u jobs are not over yet: wait for some, or raise JobsMax= in "
                              "masterd.conf",
                              m->conf->jobs_max);
}

/* SubmitJob, and SubmitJobWithContents, which differ in how the files come. */
int bus_method_submit_job(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        _cleanup_(job_desc_freep) JobDesc *d = job_desc_new();
        g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
        _cleanup_error_ Error e = {};
        const MasterJob *same = NULL;
        Manager *m = userdata;
        uint32_t uid = 0;
        int r;

        r = bus_authorise(m, message, ACTION_SUBMIT, NULL, ret_error);
        if (r <= 0)
                return r < 0 ? r : 1;
        g_array_set_clear_func(fds, clear_fd);
        r = read_each(message, 'e', "sv", read_setting, d, &e);
        if (r >= 0)
                r = read_shipped(message, d, fds, &e);
        if (r >= 0)
                r = job_desc_check(d, &e);
        if (r >= 0)
                r = bus_sender_uid(message, &uid);
        if (r < 0)
                return bus_error_setf(ret_error, error_name(r), "%s", error_message(&e, r));
        if (*d->request_id)
                same = g_hash_table_lookup(m->requests, d->request_id);
        if (same && same->uid != uid)
                return bus_error_setf(ret_error, BUS_ERROR_INVALID_JOB,
                                      "RequestId: another user's job has it; make one of your own");
        if (same)
                return answer_job(message, same);
        r = check_room(m, uid, ret_error);
        return r < 0 ? r : accept_job(m, message, TAKE_PTR(d), fds, uid);
}

/* ---- The same again ---- */

static int open_files(const MasterJob *j, GArray *fds, Error *e)
{
        g_autofree char *dir = manager_state_path(j->manager, "jobs", j);

        for (guint i = 0; i < j->desc->files->len; i++) {
                const JobShippedFile *f = j->desc->files->pdata[i];
                g_autofree char *path = g_build_filename(dir, "files", f->name, NULL);
                int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

                if (fd < 0)
                        return error_setf(e, errno, "cannot read the shipped file %s: %s", path,
                                          error_text(errno));
                g_array_append_val(fds, fd);
        }
        return 0;
}

/* Its description without its RequestId: that one means the old job. */
static int copy_description(const JobDesc *from, JobDesc **ret, Error *e)
{
        g_autoptr(GByteArray) blob = job_desc_serialize(from);
        _cleanup_(job_desc_freep) JobDesc *d = NULL;
        int r;

        r = job_desc_deserialize(blob->data, blob->len, &d);
        if (r >= 0)
                r = job_desc_set_string(d, "RequestId", "", e);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(d);
        return 0;
}

int bus_method_retry(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
        _cleanup_(job_desc_freep) JobDesc *d = NULL;
        _cleanup_error_ Error e = {};
        MasterJob *j = userdata;
        uint32_t uid = 0;
        int r;

        g_array_set_clear_func(fds, clear_fd);
        /* Another's job has settings and files that are not for everybody: as its results. */
        r = bus_sender_uid(message, &uid);
        if (r >= 0)
                r = bus_authorise(j->manager, message,
                                  uid == j->uid ? ACTION_SUBMIT : ACTION_READ_RESULTS, NULL,
                                  ret_error);
        if (r <= 0)
                return r < 0 ? r : 1;
        if (j->state != JOB_FAILED && j->state != JOB_CANCELLED)
                return bus_error_setf(ret_error, BUS_ERROR_WRONG_STATE,
                                      "Job %s is %s: only a job that failed or was cancelled is "
                                      "run again",
                                      j->id, job_state_to_string(j->state));
        r = open_files(j, fds, &e);
        if (r >= 0)
                r = copy_description(j->desc, &d, &e);
        if (r < 0)
                return bus_error_setf(ret_error, error_name(r), "%s", error_message(&e, r));
        r = check_room(j->manager, uid, ret_error);
        return r < 0 ? r : accept_job(j->manager, message, TAKE_PTR(d), fds, uid);
}
