/*
 * Output — see master-output.h.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fs.h"
#include "mr-masterd/master-output.h"

/* Attempts that were just told to stop may still make files while we remove them. */
#define REMOVE_TRIES 20

#define CLAIM_PREFIX OUTPUT_TEMPORARY "-"

/* 1 when there is nothing in @dir but what this job put there: _temporary with @tag in it, and what
 * begins with @claim. */
static int holds_only_ours(const char *dir, const char *tag, const char *claim)
{
        g_autofree char *mark = g_build_filename(dir, OUTPUT_TEMPORARY, tag, NULL);
        bool marked = access(mark, F_OK) >= 0;
        struct dirent *de;
        int r = 1;
        DIR *d;

        d = opendir(dir);
        if (!d)
                return -errno;
        for (;;) {
                errno = 0;
                de = readdir(d);
                if (!de) {
                        r = errno > 0 ? -errno : r;
                        break;
                }
                if (g_str_equal(de->d_name, ".") || g_str_equal(de->d_name, "..") ||
                    g_str_has_prefix(de->d_name, claim) ||
                    (marked && g_str_equal(de->d_name, OUTPUT_TEMPORARY)))
                        continue;
                r = 0;
                break;
        }
        (void) closedir(d);
        return r;
}

static int not_empty(const char *dir, Error *e)
{
        return error_setf(e, EEXIST,
                          "the output directory %s is not empty: remove it or name another one",
                          dir);
}

static int check(const char *dir, const char *tag, const char *claim, bool *ret_exists, Error *e)
{
        struct stat st;
        int r;

        if (stat(dir, &st) < 0) {
                if (errno != ENOENT)
                        return error_setf(e, errno, "cannot use the output directory %s: %s", dir,
                                          error_text(errno));
                *ret_exists = false;
                return 0;
        }
        *ret_exists = true;
        if (!S_ISDIR(st.st_mode))
                return error_setf(e, ENOTDIR, "the output %s exists and is not a directory", dir);
        r = holds_only_ours(dir, tag, claim);
        if (r == 0)
                return not_empty(dir, e);
        return r < 0 ? error_setf(e, r, "cannot read the output directory %s: %s", dir,
                                  error_text(r))
                     : 0;
}

/* A directory with the mark in it, under a name of our own. */
static int make_claim(const char *claim, const char *tag)
{
        g_autofree char *mark = g_build_filename(claim, tag, NULL);
        _cleanup_close_ int fd = -EBADF;
        int r;

        /* Less the umask: where workers are another user, they share our group. */
        r = mkdir_parents(claim, 0777);
        if (r < 0)
                return r;
        fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        return fd < 0 ? -errno : 0;
}

/* The mark comes with the name, for a directory is not renamed over one that is not empty: of two
 * jobs, even of two masters, that found the directory empty at the same moment, one has it. */
static int take_claim(const char *claim, const char *temporary, const char *tag)
{
        g_autofree char *mark = g_build_filename(temporary, tag, NULL);

        if (rename(claim, temporary) >= 0)
                return 0;
        if (errno != ENOTEMPTY && errno != EEXIST)
                return -errno;
        return access(mark, F_OK) >= 0 ? 0 : -EEXIST;
}

int output_prepare(const char *dir, const char *tag, bool *ret_created, Error *e)
{
        g_autofree char *temporary = g_build_filename(dir, OUTPUT_TEMPORARY, NULL);
        g_autofree char *name = g_strconcat(CLAIM_PREFIX, tag, NULL);
        g_autofree char *claim = g_build_filename(dir, name, NULL);
        bool exists;
        int r;

        r = check(dir, tag, name, &exists, e);
        if (r < 0)
                return r;
        r = make_claim(claim, tag);
        if (r >= 0)
                r = take_claim(claim, temporary, tag);
        (void) rm_rf_at(AT_FDCWD, claim); /* gone, unless that failed */
        if (r == -EEXIST)
                return not_empty(dir, e);
        if (r < 0) {
                if (!exists)
                        (void) rmdir(dir);
                return error_setf(e, r, "cannot write in the output directory %s: %s", dir,
                                  error_text(r));
        }
        /* Once more: another job may have come to its end in it since the first look. Claims that
         * came too late are on their way out. */
        if (holds_only_ours(dir, tag, CLAIM_PREFIX) <= 0) {
                (void) rm_rf_at(AT_FDCWD, temporary);
                return not_empty(dir, e);
        }
        *ret_created = !exists;
        return 0;
}

static int sync_file(const char *path)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        return fsync(fd) < 0 ? -errno : 0;
}

static char *written_path(const OutputPart *p, const char *ending)
{
        g_autofree char *name = g_strdup_printf(OUTPUT_PART_FORMAT, p->number, ending);

        return g_build_filename(p->attempt_dir, name, NULL);
}

static int note(OutputPart *p, const char *dir, const char *ending, int error)
{
        g_autofree char *from = written_path(p, ending);

        p->result = error;
        if (error == -ENOENT)
                return error_setf(
                        &p->error, error,
                        "the part %s that the worker wrote is not there: the output must be on "
                        "a file system that the master and all workers share",
                        from);
        return error_setf(&p->error, error, "cannot put part %u in place in %s: %s", p->number, dir,
                          error_text(error));
}

int output_sync_part(OutputPart *p, const char *ending)
{
        g_autofree char *path = written_path(p, ending);
        int r;

        r = sync_file(path);
        return r < 0 && r != -ENOENT ? note(p, p->attempt_dir, ending, r) : 0;
}

/* A master that ended between this rename and the row that says so hears of the same attempt again.
 * What is in place then was put there for one that was granted, and for no other: see
 * output_prepare(). */
static int place(OutputPart *p, const char *dir, const char *ending)
{
        g_autofree char *name = g_strdup_printf(OUTPUT_PART_FORMAT, p->number, ending);
        g_autofree char *from = g_build_filename(p->attempt_dir, name, NULL);
        g_autofree char *to = g_build_filename(dir, name, NULL);
        struct stat st;
        int r;

        if (rename(from, to) >= 0)
                return 0;
        r = -errno;
        if (r == -ENOENT && lstat(to, &st) >= 0 && S_ISREG(st.st_mode))
                return 0;
        return note(p, dir, ending, r);
}

void output_commit_parts(const char *dir, OutputPart *const *parts, size_t count,
                         const char *ending, OutputCare care)
{
        size_t placed = 0;
        int r = 0;

        for (size_t i = 0; i < count; i++)
                placed += place(parts[i], dir, ending) >= 0;
        /* Before the store says so: else a power cut could leave a reduce that is done, and no
         * part. */
        if (care == OUTPUT_SYNCED && placed > 0)
                r = fsync_dir(dir);
        for (size_t i = 0; i < count; i++) {
                if (parts[i]->result < 0)
                        continue;
                if (r < 0)
                        (void) note(parts[i], dir, ending, r);
                else if (care != OUTPUT_SHORT_LIVED)
                        (void) rm_rf_at(AT_FDCWD, parts[i]->attempt_dir);
        }
}

int output_remove_all(const char *path)
{
        static const struct timespec pause = {.tv_nsec = 20000000};
        int r = 0;

        for (int i = 0; i < REMOVE_TRIES; i++) {
                r = rm_rf_at(AT_FDCWD, path);
                if (r != -ENOTEMPTY && r != -EEXIST)
                        break;
                (void) nanosleep(&pause, NULL);
        }
        return r;
}

static int write_mark(const char *path, bool sync)
{
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

        if (fd < 0)
                return -errno;
        return sync && fsync(fd) < 0 ? -errno : 0;
}

static int check_parts(const char *dir, uint32_t parts, const char *ending, Error *e)
{
        for (uint32_t i = 0; i < parts; i++) {
                g_autofree char *name = g_strdup_printf(OUTPUT_PART_FORMAT, i, ending);
                g_autofree char *path = g_build_filename(dir, name, NULL);
                struct stat st;

                if (lstat(path, &st) >= 0)
                        continue;
                if (errno == ENOENT)
                        return error_setf(e, ENOENT,
                                          "the part %s was removed while the job ran: run it again",
                                          path);
                return error_setf(e, errno, "cannot look at the part %s: %s", path,
                                  error_text(errno));
        }
        return 0;
}

int output_write_skipped(const char *dir, const GByteArray *records, OutputCare care, Error *e)
{
        g_autofree char *path = g_build_filename(dir, OUTPUT_SKIPPED, NULL);
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
        r = fd < 0 ? -errno : write_full(fd, records->data, records->len);
        if (r >= 0 && care == OUTPUT_SYNCED && fsync(fd) < 0)
                r = -errno;
        return r < 0 ? error_setf(e, r, "cannot write the skipped records to %s: %s", path,
                                  error_text(r))
                     : 0;
}

int output_finish(const char *dir, uint32_t parts, const char *ending, bool mark, OutputCare care,
                  Error *e)
{
        bool sync = care == OUTPUT_SYNCED;
        g_autofree char *temporary = g_build_filename(dir, OUTPUT_TEMPORARY, NULL);
        g_autofree char *success = g_build_filename(dir, OUTPUT_SUCCESS, NULL);
        int r;

        r = check_parts(dir, parts, ending, e);
        if (r < 0)
                return r;
        if (care != OUTPUT_SHORT_LIVED)
                r = output_remove_all(temporary);
        if (r >= 0 && sync)
                r = fsync_dir(dir);
        if (r >= 0 && mark)
                r = write_mark(success, sync);
        if (r >= 0 && mark && sync)
                r = fsync_dir(dir);
        return r < 0 ? error_setf(e, r, "cannot complete the output directory %s: %s", dir,
                                  error_text(r))
                     : 0;
}

int output_discard(const char *dir, uint32_t parts, const char *ending, bool created, Error *e)
{
        g_autofree char *temporary = g_build_filename(dir, OUTPUT_TEMPORARY, NULL);
        g_autofree char *success = g_build_filename(dir, OUTPUT_SUCCESS, NULL);
        g_autofree char *skipped = g_build_filename(dir, OUTPUT_SKIPPED, NULL);
        int r;

        (void) unlink(success);
        (void) unlink(skipped);
        r = output_remove_all(temporary);
        for (uint32_t i = 0; i < parts; i++) {
                g_autofree char *name = g_strdup_printf(OUTPUT_PART_FORMAT, i, ending);
                g_autofree char *path = g_build_filename(dir, name, NULL);

                if (unlink(path) < 0 && errno != ENOENT && r >= 0)
                        r = -errno;
        }
        if (created && rmdir(dir) < 0 && errno != ENOENT && errno != ENOTEMPTY && r >= 0)
                r = -errno;
        return r < 0 ? error_setf(e, r, "cannot remove what was written in %s: %s", dir,
                                  error_text(r))
                     : 0;
}
