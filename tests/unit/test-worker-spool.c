/*
 * The spool: one owner, outputs by rename, and what a restart finds.
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/text.h"
#include "mr-workerd/worker-spool.h"

typedef struct Fixture {
        char *dir; /* the spool is DIR/spool */
        char *path;
} Fixture;

static void setup(Fixture *f, gconstpointer data)
{
        f->dir = g_dir_make_tmp("test-worker-spool-XXXXXX", NULL);
        g_assert_nonnull(f->dir);
        f->path = g_build_filename(f->dir, "spool", NULL);
}

static void teardown(Fixture *f, gconstpointer data)
{
        g_assert_cmpint(rm_rf_at(-100 /* AT_FDCWD */, f->dir), ==, 0);
        g_free(f->dir);
        g_free(f->path);
}

static Spool *open_spool(Fixture *f, bool ephemeral)
{
        _cleanup_error_ Error e = {};
        Spool *s = NULL;

        g_assert_cmpint(spool_open(f->path, ephemeral, &s, &e), ==, 0);
        return s;
}

static void put_output(Spool *s, const char *job, uint32_t map, uint32_t attempt, const char *text)
{
        _cleanup_close_ int fd = -EBADF;

        g_assert_cmpint(spool_job_make(s, job), ==, 0);
        g_assert_cmpint(spool_output_create(s, job, map, attempt, &fd), ==, 0);
        g_assert_cmpint(write_full(fd, text, strlen(text)), ==, 0);
        g_assert_cmpint(spool_output_commit(s, job, map, attempt, strlen(text)), ==, 0);
}

static bool is_there(Fixture *f, const char *name)
{
        g_autofree char *path = g_build_filename(f->path, name, NULL);

        return g_file_test(path, G_FILE_TEST_EXISTS);
}

static void test_a_second_owner_is_refused_by_name(Fixture *f, gconstpointer data)
{
        _cleanup_(spool_freep) Spool *s = open_spool(f, false);
        g_autofree char *pid = g_strdup_printf("(pid %d)", (int) getpid());
        _cleanup_error_ Error e = {};
        Spool *second = NULL;

        g_assert_cmpint(spool_open(f->path, false, &second, &e), ==, -EBUSY);
        g_assert_null(second);
        g_assert_nonnull(strstr(e.message, f->path));
        g_assert_nonnull(strstr(e.message, pid));
}

static void test_the_worker_id_outlives_a_restart(Fixture *f, gconstpointer data)
{
        Spool *s = open_spool(f, false);
        g_autofree char *id = g_strdup(spool_worker_id(s));

        g_assert_true(id128_is_valid(id));
        spool_free(s);
        s = open_spool(f, false);
        g_assert_cmpstr(spool_worker_id(s), ==, id);
        spool_free(s);
}

static void test_finished_outputs_are_found_again(Fixture *f, gconstpointer data)
{
        g_autoptr(GArray) all = NULL;
        char buffer[8] = "";
        Spool *s = open_spool(f, false);
        SpoolOutput *o;
        int fd;

        put_output(s, "job-1", 7, 2, "seven");
        spool_free(s);

        s = open_spool(f, false);
        all = spool_list_outputs(s);
        g_assert_cmpuint(all->len, ==, 1);
        o = &g_array_index(all, SpoolOutput, 0);
        g_assert_cmpstr(o->job_id, ==, "job-1");
        g_assert_cmpuint(o->map, ==, 7);
        g_assert_cmpuint(o->attempt, ==, 2);
        g_assert_cmpuint(o->size_bytes, ==, 5);
        g_assert_cmpuint(spool_output_bytes(s), ==, 5);

        g_assert_cmpint(spool_output_open(s, "job-1", 7, 2, &fd), ==, 0);
        g_assert_cmpint((int) read_full(fd, buffer, 7), ==, 5);
        g_assert_cmpstr(buffer, ==, "seven");
        safe_close(fd);
        g_assert_cmpint(spool_output_open(s, "job-1", 7, 1, &fd), ==, -ENOENT);
        spool_free(s);
}

static void test_leftovers_are_removed_at_start(Fixture *f, gconstpointer data)
{
        _cleanup_close_ int fd = -EBADF, job_fd = -EBADF;
        Spool *s = open_spool(f, false);
        g_autofree char *strange = NULL, *odd = NULL;

        put_output(s, "job-1", 1, 0, "whole");
        g_assert_cmpint(spool_output_create(s, "job-1", 2, 0, &fd), ==, 0);
        g_assert_cmpint(spool_job_open(s, "job-1", &job_fd), ==, 0);
        g_assert_cmpint(spool_job_make_inside(job_fd), ==, 0);
        strange = g_build_filename(f->path, "jobs/job-1/files/script.py", NULL);
        odd = g_build_filename(f->path, "jobs/job-1/map-1.0.run", NULL); /* not our spelling */
        g_assert_true(g_file_set_contents(strange, "x", 1, NULL));
        g_assert_true(g_file_set_contents(odd, "x", 1, NULL));
        spool_free(s); /* as a crash would leave it: nothing is tidied up on the way out */

        s = open_spool(f, false);
        g_assert_cmpuint(spool_outputs_held(s), ==, 1);
        g_assert_true(is_there(f, "jobs/job-1/map-00001.0.run"));
        g_assert_false(is_there(f, "jobs/job-1/files/script.py"));
        g_assert_false(is_there(f, "jobs/job-1/map-1.0.run"));
        g_assert_false(is_there(f, "tmp/map-2.0-job-1"));
        spool_free(s);
}

static void test_an_output_is_not_there_before_its_commit(Fixture *f, gconstpointer data)
{
        _cleanup_(spool_freep) Spool *s = open_spool(f, false);
        int fd, again;

        g_assert_cmpint(spool_job_make(s, "j"), ==, 0);
        g_assert_cmpint(spool_output_create(s, "j", 0, 0, &fd), ==, 0);
        g_assert_false(spool_output_exists(s, "j", 0, 0));
        g_assert_cmpint(spool_output_open(s, "j", 0, 0, &again), ==, -ENOENT);
        spool_output_discard(s, "j", 0, 0);
        g_assert_cmpint(spool_output_commit(s, "j", 0, 0, 0), ==, -ENOENT);
        safe_close(fd);
}

static void test_a_forgotten_job_is_gone_at_once(Fixture *f, gconstpointer data)
{
        _cleanup_(spool_freep) Spool *s = open_spool(f, false);
        g_autoptr(GPtrArray) jobs = NULL;
        g_autofree char *trash = NULL;
        int fd;

        put_output(s, "a", 0, 0, "123");
        put_output(s, "b", 0, 0, "4567");
        g_assert_cmpint(spool_job_forget(s, "a", &trash), ==, 0);
        g_assert_false(is_there(f, "jobs/a"));
        g_assert_cmpuint(spool_outputs_held(s), ==, 1);
        g_assert_cmpuint(spool_output_bytes(s), ==, 4);
        g_assert_cmpint(spool_output_open(s, "a", 0, 0, &fd), ==, -ENOENT);
        g_assert_cmpint(spool_output_commit(s, "a", 0, 1, 0), ==, -ENOENT);
        jobs = spool_list_jobs(s);
        g_assert_cmpuint(jobs->len, ==, 1);
        g_assert_cmpstr(jobs->pdata[0], ==, "b");
        g_assert_cmpint(rm_rf_at(spool_trash_fd(s), trash), ==, 0);
        g_assert_cmpint(spool_job_forget(s, "a", &trash), ==, -ENOENT);
}

static void test_an_ephemeral_spool_leaves_nothing(Fixture *f, gconstpointer data)
{
        Spool *s = open_spool(f, true);

        put_output(s, "j", 0, 0, "x");
        spool_free(s);
        g_assert_false(g_file_test(f->path, G_FILE_TEST_EXISTS));
}

static void test_an_ephemeral_spool_spares_what_is_not_its_own(Fixture *f, gconstpointer data)
{
        g_autofree char *other = g_build_filename(f->path, "precious", NULL);
        Spool *s = open_spool(f, true);

        g_assert_true(g_file_set_contents(other, "x", 1, NULL));
        spool_free(s);
        g_assert_true(is_there(f, "precious"));
        g_assert_false(is_there(f, "worker-id"));
}

static void fill_disk(Fixture *f)
{
        g_autofree char *lock = g_build_filename(f->path, "lock", NULL);
        g_autofree char *path = g_build_filename(f->path, "filler", NULL);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        char page[4096] = {1};

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(truncate(lock, 0), ==, 0); /* no block of its own to write to */
        while (write(fd, page, sizeof(page)) > 0)
                ;
        g_assert_cmpint(errno, ==, ENOSPC);
}

/* Only a worker that runs is told which jobs it may forget, and makes room. */
static void test_a_full_disk_does_not_keep_its_owner_out(Fixture *f, gconstpointer data)
{
        g_autofree char *trash = NULL;
        Spool *s;

        g_assert_cmpint(g_mkdir(f->path, 0700), ==, 0);
        if (mount("tmpfs", f->path, "tmpfs", 0, "size=256k") < 0) {
                g_test_skip("may not mount a small disk");
                return;
        }
        s = open_spool(f, false);
        put_output(s, "job-1", 3, 0, "an output");
        spool_free(s);
        fill_disk(f);

        s = open_spool(f, false);
        g_assert_true(spool_output_exists(s, "job-1", 3, 0));
        g_assert_cmpint(spool_job_forget(s, "job-1", &trash), ==, 0);
        g_assert_cmpint(rm_rf_at(spool_trash_fd(s), trash), ==, 0);
        g_assert_cmpuint(spool_free_bytes(s), >, 0);
        spool_free(s);
        g_assert_cmpint(umount2(f->path, MNT_DETACH), ==, 0);
}

static void test_a_scratch_file_has_no_name(Fixture *f, gconstpointer data)
{
        _cleanup_(spool_freep) Spool *s = open_spool(f, false);
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        g_assert_cmpint(spool_scratch_make(s, &fd), ==, 0);
        g_assert_cmpint(write_full(fd, "abc", 3), ==, 0);
        g_assert_cmpint(fstat(fd, &st), ==, 0);
        g_assert_cmpuint(st.st_nlink, ==, 0);
}

static void test_job_ids_are_plain_names(Fixture *f, gconstpointer data)
{
        g_autofree char *long_one = g_strnfill(65, 'a');

        g_assert_true(spool_job_id_is_valid("20250101-abc.1_x"));
        g_assert_false(spool_job_id_is_valid(""));
        g_assert_false(spool_job_id_is_valid(".."));
        g_assert_false(spool_job_id_is_valid(".hidden"));
        g_assert_false(spool_job_id_is_valid("a/b"));
        g_assert_false(spool_job_id_is_valid("a b"));
        g_assert_false(spool_job_id_is_valid(long_one));
}

int main(int argc, char *argv[])
{
        static const struct {
                const char *path;
                void (*fn)(Fixture *, gconstpointer);
        } tests[] = {
                {"a-second-owner-is-refused-by-name", test_a_second_owner_is_refused_by_name},
                {"the-worker-id-outlives-a-restart", test_the_worker_id_outlives_a_restart},
                {"finished-outputs-are-found-again", test_finished_outputs_are_found_again},
                {"leftovers-are-removed-at-start", test_leftovers_are_removed_at_start},
                {"an-output-is-not-there-before-its-commit",
                 test_an_output_is_not_there_before_its_commit},
                {"a-forgotten-job-is-gone-at-once", test_a_forgotten_job_is_gone_at_once},
                {"an-ephemeral-spool-leaves-nothing", test_an_ephemeral_spool_leaves_nothing},
                {"an-ephemeral-spool-spares-what-is-not-its-own",
                 test_an_ephemeral_spool_spares_what_is_not_its_own},
                {"a-full-disk-does-not-keep-its-owner-out",
                 test_a_full_disk_does_not_keep_its_owner_out},
                {"a-scratch-file-has-no-name", test_a_scratch_file_has_no_name},
                {"job-ids-are-plain-names", test_job_ids_are_plain_names},
        };

        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < ELEMENTSOF(tests); i++) {
                g_autofree char *path = g_strconcat("/worker/spool/", tests[i].path, NULL);

                g_test_add(path, Fixture, NULL, setup, tests[i].fn, teardown);
        }
        return g_test_run();
}
