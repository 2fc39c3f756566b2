/*
 * The master's store when the disk is full, and who may read it.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "mr-masterd/master-store.h"

static void count_job(const StoreJob *job, void *userdata)
{
        ++*(unsigned *) userdata;
}

static void count_event(uint64_t seq, uint64_t usec, const char *kind, const char *text,
                        void *userdata)
{
        ++*(unsigned *) userdata;
}

static void set_file_limit(rlim_t size_bytes)
{
        struct rlimit rl;

        g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &rl), ==, 0);
        rl.rlim_cur = MIN(size_bytes, rl.rlim_max);
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &rl), ==, 0);
}

/* More than SQLite's page cache of 2 MB: some of it must be written before the commit. */
static void write_until_the_disk_is_full(Store *s)
{
        g_autofree char *text = g_strnfill(100000, 'x');

        set_file_limit(1024 * 1024);
        for (uint64_t i = 0; i < 100; i++)
                store_add_event(s, 7, i, i, "kind", text, 1000);
        set_file_limit(RLIM_INFINITY);
}

/* The transaction is undone as soon as it fails; what follows must not be saved without what went
 * before. */
static void test_nothing_of_a_round_is_kept_when_a_part_of_it_fails(void)
{
        g_autofree char *dir = g_dir_make_tmp("mr-store-XXXXXX", NULL);
        _cleanup_(store_freep) Store *s = NULL;
        StoreJob job = {.number = 7, .description = "x", .description_size = 1};
        unsigned jobs = 0, events = 0;

        g_assert_cmpint(store_open(dir, &s, NULL), ==, 0);
        write_until_the_disk_is_full(s);
        store_put_job(s, &job);
        store_add_event(s, 7, 1000, 1, "kind", "small", 2000);
        g_assert_cmpint(store_commit(s, true), <, 0);
        g_assert_cmpstr(store_error(s), !=, "no error");
        s = store_free(s);

        g_assert_cmpint(store_open(dir, &s, NULL), ==, 0);
        g_assert_cmpint(store_each_job(s, count_job, &jobs), ==, 0);
        g_assert_cmpint(store_each_event(s, 7, count_event, &events), ==, 0);
        g_assert_cmpuint(jobs, ==, 0);
        g_assert_cmpuint(events, ==, 0);
        store_put_job(s, &job); /* there is room again */
        g_assert_cmpint(store_commit(s, true), ==, 0);
        g_assert_cmpint(store_each_job(s, count_job, &jobs), ==, 0);
        g_assert_cmpuint(jobs, ==, 1);
        s = store_free(s);
        g_assert_cmpint(rm_rf_at(AT_FDCWD, dir), ==, 0);
}

static unsigned mode_of(const char *dir, const char *name)
{
        g_autofree char *path = g_build_filename(dir, name, NULL);
        struct stat st;

        g_assert_cmpint(lstat(path, &st), ==, 0);
        return st.st_mode & 07777;
}

/* Env= of a job may hold a password, and a directory that was there before may be open to all. */
static void test_the_store_is_for_its_owner_alone(void)
{
        g_autofree char *dir = g_dir_make_tmp("mr-store-XXXXXX", NULL);
        _cleanup_(store_freep) Store *s = NULL;
        StoreJob job = {.number = 7, .description = "x", .description_size = 1};

        g_assert_cmpint(chmod(dir, 0755), ==, 0);
        (void) umask(022);
        g_assert_cmpint(store_open(dir, &s, NULL), ==, 0);
        store_put_job(s, &job);
        g_assert_cmpint(store_commit(s, false), ==, 0);
        g_assert_cmpuint(mode_of(dir, "state.db"), ==, 0600);
        g_assert_cmpuint(mode_of(dir, "state.db-wal"), ==, 0600);
        s = store_free(s);
        g_assert_cmpint(rm_rf_at(AT_FDCWD, dir), ==, 0);
}

static void test_a_store_that_is_a_link_is_not_followed(void)
{
        g_autofree char *dir = g_dir_make_tmp("mr-store-XXXXXX", NULL);
        g_autofree char *path = g_build_filename(dir, "state.db", NULL);
        g_autofree char *victim = g_build_filename(dir, "victim", NULL);
        _cleanup_(store_freep) Store *s = NULL;
        _cleanup_error_ Error e = {};

        g_assert_cmpint(symlink(victim, path), ==, 0);
        g_assert_cmpint(store_open(dir, &s, &e), <, 0);
        g_assert_nonnull(strstr(e.message, path));
        g_assert_cmpint(access(victim, F_OK), <, 0);
        g_assert_cmpint(rm_rf_at(AT_FDCWD, dir), ==, 0);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        (void) signal(SIGXFSZ, SIG_IGN);
#define T(name, function) g_test_add_func("/mr-masterd/store/" name, function)
        T("nothing-of-a-round-is-kept-when-a-part-of-it-fails",
          test_nothing_of_a_round_is_kept_when_a_part_of_it_fails);
        T("the-store-is-for-its-owner-alone", test_the_store_is_for_its_owner_alone);
        T("a-store-that-is-a-link-is-not-followed", test_a_store_that_is_a_link_is_not_followed);
#undef T
        return g_test_run();
}
