/*
 * The spool — see worker-spool.h.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "base/parse.h"
#include "base/text.h"
#include "mr-workerd/worker-spool.h"

#define REMOVE_TOGETHER_BYTES MIB(64)

typedef struct SpoolJob {
        char *id;
        GHashTable *outputs; /* uint64_t key of (map, attempt) -> uint64_t size; both owned */
} SpoolJob;

struct Spool {
        char *path;
        bool ephemeral; /* ours to remove: not before it is locked */
        bool sync;
        int dir_fd, lock_fd, jobs_fd, tmp_fd;
        char worker_id[ID128_HEX_SIZE];
        GHashTable *jobs; /* id -> SpoolJob */
        uint32_t outputs_held;
        uint64_t output_bytes;
        uint64_t trash_count; /* names under tmp/ are never used twice */
};

static void spool_job_free(gpointer p)
{
        SpoolJob *j = p;

        g_hash_table_unref(j->outputs);
        g_free(j->id);
        g_free(j);
}

static SpoolJob *add_job(Spool *s, const char *id)
{
        SpoolJob *j = g_new0(SpoolJob, 1);

        j->id = g_strdup(id);
        j->outputs = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
        g_hash_table_insert(s->jobs, j->id, j);
        return j;
}

static uint64_t output_key(uint32_t map, uint32_t attempt)
{
        return ((uint64_t) map << 32) | attempt;
}

static void add_output(Spool *s, SpoolJob *j, uint32_t map, uint32_t attempt, uint64_t size)
{
        uint64_t key = output_key(map, attempt);
        const uint64_t *old = g_hash_table_lookup(j->outputs, &key);

        if (old)
                s->output_bytes -= *old;
        else
                s->outputs_held++;
        s->output_bytes += size;
        g_hash_table_insert(j->outputs, g_memdup2(&key, sizeof(key)),
                            g_memdup2(&size, sizeof(size)));
}

void spool_output_name(uint32_t map, uint32_t attempt, char ret[static SPOOL_OUTPUT_NAME_SIZE])
{
        g_snprintf(ret, SPOOL_OUTPUT_NAME_SIZE, "map-%05u.%u.run", map, attempt);
}

/* The inverse: whatever is not spelled exactly as we would is none of ours. */
static bool parse_output_name(const char *name, uint32_t *ret_map, uint32_t *ret_attempt)
{
        char again[SPOOL_OUTPUT_NAME_SIZE];
        unsigned map, attempt;

        if (sscanf(name, "map-%u.%u.run", &map, &attempt) != 2)
                return false;
        spool_output_name(map, attempt, again);
        if (!g_str_equal(again, name))
                return false;
        *ret_map = map;
        *ret_attempt = attempt;
        return true;
}

bool spool_job_id_is_valid(const char *s)
{
        size_t n = strlen(s);

        return n >= 1 && n <= 64 && s[0] != '.' &&
               strspn(s, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-") == n;
}

static int open_dir_at(int dir_fd, const char *name, bool make, int *ret_fd)
{
        int fd;

        if (make && mkdirat(dir_fd, name, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

/* Learns a job's outputs, and removes everything else in its directory. */
static int scan_job(Spool *s, const char *id)
{
        SpoolJob *j = add_job(s, id);
        struct dirent *de;
        int fd = -EBADF, r;
        DIR *d;

        r = open_dir_at(s->jobs_fd, id, false, &fd);
        if (r < 0)
                return r;
        d = fdopendir(fd);
        if (!d) {
                r = -errno;
                safe_close(fd);
                return r;
        }
        while ((de = readdir(d))) {
                uint32_t map, attempt;
                struct stat st;

                if (g_str_equal(de->d_name, ".") || g_str_equal(de->d_name, ".."))
                        continue;
                if (parse_output_name(de->d_name, &map, &attempt) &&
                    fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) >= 0 && S_ISREG(st.st_mode))
                        add_output(s, j, map, attempt, (uint64_t) st.st_size);
                else
                        (void) rm_rf_at(fd, de->d_name);
        }
        (void) closedir(d);
        return spool_job_make(s, id);
}

static int scan_jobs(Spool *s)
{
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        struct dirent *de;
        int fd = -EBADF, r;
        DIR *d;

        r = open_dir_at(s->dir_fd, "jobs", false, &fd);
        if (r < 0)
                return r;
        d = fdopendir(fd);
        if (!d) {
                r = -errno;
                safe_close(fd);
                return r;
        }
        while ((de = readdir(d)))
                if (!g_str_equal(de->d_name, ".") && !g_str_equal(de->d_name, ".."))
                        g_ptr_array_add(names, g_strdup(de->d_name));
        (void) closedir(d);

        for (guint i = 0; i < names->len; i++) {
                const char *name = names->pdata[i];

                if (!spool_job_id_is_valid(name))
                        r = rm_rf_at(s->jobs_fd, name);
                else
                        r = scan_job(s, name);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int lock(Spool *s, Error *e)
{
        char pid[24] = "";
        ssize_t n;

        s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (s->lock_fd < 0)
                return error_setf(e, errno, "cannot open %s/lock: %s", s->path, error_text(errno));
        if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EWOULDBLOCK)
                        return error_setf(e, errno, "cannot lock %s/lock: %s", s->path,
                                          error_text(errno));
                n = pread_full(s->lock_fd, pid, sizeof(pid) - 1, 0);
                pid[MAX(n, 0)] = '\0';
                g_strstrip(pid);
                return error_setf(e, EBUSY,
                                  "the spool directory %s is in use by another mr-workerd (pid %s)",
                                  s->path, *pid ? pid : "unknown");
        }
        /* The pid is for the message above alone: a disk that is full must not keep out who can
         * empty it. */
        g_snprintf(pid, sizeof(pid), "%d\n", (int) getpid());
        if (ftruncate(s->lock_fd, 0) >= 0)
                (void) !pwrite(s->lock_fd, pid, strlen(pid), 0);
        return 0;
}

static int make_worker_id(Spool *s)
{
        _cleanup_close_ int fd = -EBADF;
        char line[ID128_HEX_SIZE + 1];
        int r;

        id128_make(s->worker_id);
        if (!s->sync) /* nobody will be this worker again */
                return 0;
        g_snprintf(line, sizeof(line), "%s\n", s->worker_id);
        fd = openat(s->tmp_fd, "worker-id", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        r = write_full(fd, line, strlen(line));
        if (r < 0)
                return r;
        if (fsync(fd) < 0)
                return -errno;
        if (renameat(s->tmp_fd, "worker-id", s->dir_fd, "worker-id") < 0)
                return -errno;
        return fsync_dir(s->path);
}

static int load_worker_id(Spool *s)
{
        _cleanup_close_ int fd = -EBADF;
        char line[ID128_HEX_SIZE] = "";

        fd = openat(s->dir_fd, "worker-id", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? make_worker_id(s) : -errno;
        if (read_full(fd, line, sizeof(line) - 1) < 0 || !id128_is_valid(line))
                return make_worker_id(
                        s); /* a torn file: a new worker, whose outputs are still good */
        memcpy(s->worker_id, line, sizeof(line));
        return 0;
}

static int open_all(Spool *s, Error *e)
{
        int r;

        r = mkdir_parents(s->path, 0700);
        if (r >= 0) {
                s->dir_fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = s->dir_fd < 0 ? -errno : 0;
        }
        if (r < 0)
                return error_setf(e, r, "cannot use the spool directory %s: %s", s->path,
                                  error_text(r));
        r = lock(s, e);
        if (r < 0)
                return r;
        r = rm_rf_at(s->dir_fd, "tmp");
        if (r >= 0)
                r = open_dir_at(s->dir_fd, "tmp", true, &s->tmp_fd);
        if (r >= 0)
                r = open_dir_at(s->dir_fd, "jobs", true, &s->jobs_fd);
        if (r >= 0)
                r = load_worker_id(s);
        if (r >= 0)
                r = scan_jobs(s);
        if (r < 0)
                return error_setf(e, r, "cannot prepare the spool directory %s: %s", s->path,
                                  error_text(r));
        return 0;
}

int spool_open(const char *path, bool ephemeral, Spool **ret, Error *e)
{
        Spool *s = g_new0(Spool, 1);
        int r;

        *s = (Spool){
                .path = g_strdup(path),
                .sync = !ephemeral,
                .dir_fd = -EBADF,
                .lock_fd = -EBADF,
                .jobs_fd = -EBADF,
                .tmp_fd = -EBADF,
                .jobs = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, spool_job_free),
        };
        r = open_all(s, e);
        if (r < 0) {
                spool_free(s);
                return r;
        }
        s->ephemeral = ephemeral;
        *ret = s;
        return 0;
}

static void *remove_jobs(void *userdata)
{
        const Spool *s = userdata;

        (void) rm_rf_at(s->dir_fd, "jobs");
        return NULL;
}

/* Two at once, where there is much: what takes time is giving back the pages. Either finds gone
 * what the other removed. */
static void remove_jobs_together(Spool *s)
{
        GThread *other = NULL;

        if (s->output_bytes >= REMOVE_TOGETHER_BYTES)
                other = g_thread_try_new("remove", remove_jobs, s, NULL);
        (void) remove_jobs(s);
        if (other)
                (void) g_thread_join(other);
}

Spool *spool_free(Spool *s)
{
        static const char *const ours[] = {"tmp", "cache", "worker-id", "lock"};
        g_autofree char *parent = NULL;

        if (!s)
                return NULL;
        if (s->ephemeral) {
                remove_jobs_together(s);
                for (size_t i = 0; i < ELEMENTSOF(ours); i++)
                        (void) rm_rf_at(s->dir_fd, ours[i]);
                (void) rmdir(s->path);
                /* The directory around it is left by the last daemon in it (mrctl --local). */
                parent = g_path_get_dirname(s->path);
                (void) rmdir(parent);
        }
        safe_close(s->jobs_fd);
        safe_close(s->tmp_fd);
        safe_close(s->dir_fd);
        safe_close(s->lock_fd);
        g_hash_table_unref(s->jobs);
        g_free(s->path);
        g_free(s);
        return NULL;
}

const char *spool_worker_id(const Spool *s)
{
        return s->worker_id;
}

bool spool_is_ephemeral(const Spool *s)
{
        return s->ephemeral;
}

uint64_t spool_free_bytes(const Spool *s)
{
        struct statvfs v;

        if (fstatvfs(s->dir_fd, &v) < 0)
                return UINT64_MAX;
        return (uint64_t) v.f_bavail * v.f_frsize;
}

int spool_job_make(Spool *s, const char *job_id)
{
        assert(spool_job_id_is_valid(job_id));

        if (mkdirat(s->jobs_fd, job_id, 0700) < 0 && errno != EEXIST)
                return -errno;
        if (!g_hash_table_contains(s->jobs, job_id))
                add_job(s, job_id);
        return 0;
}

int spool_job_make_inside(int job_fd)
{
        static const char *const inside[] = {"files", "work"};

        for (size_t i = 0; i < ELEMENTSOF(inside); i++)
                if (mkdirat(job_fd, inside[i], 0700) < 0 && errno != EEXIST)
                        return -errno;
        return 0;
}

int spool_job_open(const Spool *s, const char *job_id, int *ret_fd)
{
        if (!g_hash_table_contains(s->jobs, job_id))
                return -ENOENT;
        return open_dir_at(s->jobs_fd, job_id, false, ret_fd);
}

GPtrArray *spool_list_jobs(const Spool *s)
{
        GPtrArray *a = g_ptr_array_new();
        GHashTableIter it;
        gpointer id;

        g_hash_table_iter_init(&it, s->jobs);
        while (g_hash_table_iter_next(&it, &id, NULL))
                g_ptr_array_add(a, id);
        return a;
}

int spool_trash(Spool *s, int dir_fd, const char *name, char **ret_trash)
{
        g_autofree char *trash = g_strdup_printf("trash-%" PRIu64, s->trash_count++);

        if (renameat(dir_fd, name, s->tmp_fd, trash) < 0)
                return -errno;
        *ret_trash = TAKE_PTR(trash);
        return 0;
}

int spool_job_forget(Spool *s, const char *job_id, char **ret_trash)
{
        SpoolJob *j = g_hash_table_lookup(s->jobs, job_id);
        GHashTableIter it;
        gpointer size;
        int r;

        if (!j)
                return -ENOENT;
        r = spool_trash(s, s->jobs_fd, job_id, ret_trash);
        if (r < 0)
                return r;
        g_hash_table_iter_init(&it, j->outputs);
        while (g_hash_table_iter_next(&it, NULL, &size)) {
                s->outputs_held--;
                s->output_bytes -= *(uint64_t *) size;
        }
        g_hash_table_remove(s->jobs, job_id);
        return 0;
}

int spool_trash_fd(const Spool *s)
{
        return s->tmp_fd;
}

GArray *spool_list_outputs(const Spool *s)
{
        GArray *a = g_array_new(false, false, sizeof(SpoolOutput));
        GHashTableIter jobs;
        gpointer job;

        g_hash_table_iter_init(&jobs, s->jobs);
        while (g_hash_table_iter_next(&jobs, NULL, &job)) {
                GHashTableIter outputs;
                gpointer key, size;

                g_hash_table_iter_init(&outputs, ((SpoolJob *) job)->outputs);
                while (g_hash_table_iter_next(&outputs, &key, &size)) {
                        SpoolOutput o = {
                                .job_id = ((SpoolJob *) job)->id,
                                .map = (uint32_t) (*(uint64_t *) key >> 32),
                                .attempt = (uint32_t) * (uint64_t *) key,
                                .size_bytes = *(uint64_t *) size,
                        };
                        g_array_append_val(a, o);
                }
        }
        return a;
}

uint32_t spool_outputs_held(const Spool *s)
{
        return s->outputs_held;
}

uint64_t spool_output_bytes(const Spool *s)
{
        return s->output_bytes;
}

bool spool_output_exists(const Spool *s, const char *job_id, uint32_t map, uint32_t attempt)
{
        const SpoolJob *j = g_hash_table_lookup(s->jobs, job_id);
        uint64_t key = output_key(map, attempt);

        return j && g_hash_table_contains(j->outputs, &key);
}

static char *temporary_name(const char *job_id, uint32_t map, uint32_t attempt)
{
        return g_strdup_printf("map-%u.%u-%s", map, attempt, job_id);
}

int spool_output_create(Spool *s, const char *job_id, uint32_t map, uint32_t attempt, int *ret_fd)
{
        g_autofree char *name = temporary_name(job_id, map, attempt);
        int fd;

        fd = openat(s->tmp_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

int spool_output_commit(Spool *s, const char *job_id, uint32_t map, uint32_t attempt,
                        uint64_t size_bytes)
{
        g_autofree char *from = temporary_name(job_id, map, attempt);
        SpoolJob *j = g_hash_table_lookup(s->jobs, job_id);
        _cleanup_close_ int fd = -EBADF;
        char name[SPOOL_OUTPUT_NAME_SIZE];
        int r;

        if (!j)
                return -ENOENT;
        r = open_dir_at(s->jobs_fd, job_id, false, &fd);
        if (r < 0)
                return r;
        spool_output_name(map, attempt, name);
        if (renameat(s->tmp_fd, from, fd, name) < 0)
                return -errno;
        add_output(s, j, map, attempt, size_bytes);
        return 0;
}

void spool_output_discard(Spool *s, const char *job_id, uint32_t map, uint32_t attempt)
{
        g_autofree char *name = temporary_name(job_id, map, attempt);

        (void) unlinkat(s->tmp_fd, name, 0);
}

int spool_output_open(const Spool *s, const char *job_id, uint32_t map, uint32_t attempt,
                      int *ret_fd)
{
        g_autofree char *path = NULL;
        char name[SPOOL_OUTPUT_NAME_SIZE];
        int fd;

        if (!spool_output_exists(s, job_id, map, attempt))
                return -ENOENT;
        spool_output_name(map, attempt, name);
        path = g_build_filename(job_id, name, NULL);
        fd = openat(s->jobs_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

int spool_cache_make(Spool *s, int *ret_fd)
{
        return open_dir_at(s->dir_fd, "cache", true, ret_fd);
}

int spool_output_link(const Spool *s, const char *job_id, uint32_t map, uint32_t attempt,
                      int dir_fd, const char *name, uint64_t *ret_size_bytes)
{
        const SpoolJob *j = g_hash_table_lookup(s->jobs, job_id);
        _cleanup_close_ int fd = -EBADF;
        uint64_t key = output_key(map, attempt);
        char ours[SPOOL_OUTPUT_NAME_SIZE];
        const uint64_t *size;
        int r;

        size = j ? g_hash_table_lookup(j->outputs, &key) : NULL;
        if (!size)
                return -ENOENT;
        r = open_dir_at(s->jobs_fd, job_id, false, &fd);
        if (r < 0)
                return r;
        spool_output_name(map, attempt, ours);
        if (linkat(fd, ours, dir_fd, name, 0) < 0)
                return -errno;
        *ret_size_bytes = *size;
        return 0;
}

int spool_output_adopt(Spool *s, const char *job_id, uint32_t map, uint32_t attempt, int dir_fd,
                       const char *name, uint64_t size_bytes)
{
        SpoolJob *j = g_hash_table_lookup(s->jobs, job_id);
        _cleanup_close_ int fd = -EBADF;
        char ours[SPOOL_OUTPUT_NAME_SIZE];
        int r;

        if (!j)
                return -ENOENT;
        r = open_dir_at(s->jobs_fd, job_id, false, &fd);
        if (r < 0)
                return r;
        spool_output_name(map, attempt, ours);
        if (linkat(dir_fd, name, fd, ours, 0) < 0)
                return -errno;
        add_output(s, j, map, attempt, size_bytes);
        return 0;
}

int spool_scratch_make(const Spool *s, int *ret_fd)
{
        char name[ID128_HEX_SIZE];
        int fd;

        fd = openat(s->tmp_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0) { /* not every file system has nameless files */
                id128_make(name);
                fd = openat(s->tmp_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                if (fd < 0)
                        return -errno;
                (void) unlinkat(s->tmp_fd, name, 0);
        }
        *ret_fd = fd;
        return 0;
}
