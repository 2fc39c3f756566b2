/*
 * Planning, output directories and the store of mr-masterd, on a real file system.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "mr-masterd/master-output.h"
#include "mr-masterd/master-plan.h"
#include "mr-masterd/master-store.h"

typedef struct Place {
        char *dir;
} Place;

static void place_init(Place *p)
{
        p->dir = g_dir_make_tmp("plan-XXXXXX", NULL);
        g_assert_nonnull(p->dir);
}

static void place_done(Place *p)
{
        g_assert_cmpint(rm_rf_at(AT_FDCWD, p->dir), ==, 0);
        g_free(p->dir);
}

static char *in(const Place *p, const char *name)
{
        return g_build_filename(p->dir, name, NULL);
}

static void put(const Place *p, const char *name, const char *text)
{
        g_autofree char *path = in(p, name), *parent = g_path_get_dirname(path);

        g_assert_cmpint(mkdir_parents(parent, 0755), ==, 0);
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

/* The plan as "name name …", relative to the place. */
static char *listed(const Place *p, const char *name)
{
        _cleanup_(plan_files_freep) PlanFiles *files = plan_files_new();
        g_autofree char *path = in(p, name);
        _cleanup_error_ Error e = {};
        GString *s = g_string_new(NULL);

        if (plan_list_input(files, path, &e) < 0)
                g_error("%s", e.message);
        for (guint i = 0; i < files->files->len; i++)
                g_string_append_printf(s, "%s%s", i > 0 ? " " : "",
                                       g_array_index(files->files, PlanFile, i).path +
                                               strlen(p->dir) + 1);
        return g_string_free(s, FALSE);
}

static void test_a_directory_is_every_file_below_it_in_order(void)
{
        g_autofree char *all = NULL;
        Place p;

        place_init(&p);
        put(&p, "d/b", "22");
        put(&p, "d/a", "1");
        put(&p, "d/c/z", "4444");
        put(&p, "d/c/.hidden", "x");
        put(&p, "d/_temporary/x", "x");
        put(&p, "d/_SUCCESS", "");
        put(&p, "d/empty", "");
        all = listed(&p, "d");
        g_assert_cmpstr(all, ==, "d/a d/b d/c/z d/empty");
        place_done(&p);
}

static void test_what_is_named_is_read_even_if_its_name_is_hidden(void)
{
        g_autofree char *one = NULL, *two = NULL;
        Place p;

        place_init(&p);
        put(&p, ".hidden", "x");
        put(&p, "_dir/x", "x");
        one = listed(&p, ".hidden");
        two = listed(&p, "_dir");
        g_assert_cmpstr(one, ==, ".hidden");
        g_assert_cmpstr(two, ==, "_dir/x");
        place_done(&p);
}

static void test_links_to_files_are_followed_and_loops_are_not(void)
{
        g_autofree char *file = NULL, *loop = NULL, *link = NULL, *up = NULL, *all = NULL;
        Place p;

        place_init(&p);
        put(&p, "outside", "x");
        put(&p, "d/a", "x");
        file = in(&p, "outside");
        link = in(&p, "d/link");
        loop = in(&p, "d/loop");
        up = in(&p, "d");
        g_assert_cmpint(symlink(file, link), ==, 0);
        g_assert_cmpint(symlink(up, loop), ==, 0);
        all = listed(&p, "d");
        g_assert_cmpstr(all, ==, "d/a d/link");
        place_done(&p);
}

static void test_a_glob_is_what_the_shell_makes_of_it(void)
{
        g_autofree char *star = NULL, *set = NULL, *literal = NULL;
        Place p;

        place_init(&p);
        put(&p, "a1.log", "x");
        put(&p, "a2.log", "x");
        put(&p, "b1.log", "x");
        put(&p, "dir.log/x", "x");
        put(&p, "[ab].txt", "x");
        put(&p, "a.txt", "x");
        star = listed(&p, "*.log");
        set = listed(&p, "[a]?.log");
        literal = listed(&p, "[ab].txt"); /* there is a file of that very name */
        g_assert_cmpstr(star, ==, "a1.log a2.log b1.log dir.log/x");
        g_assert_cmpstr(set, ==, "a1.log a2.log");
        g_assert_cmpstr(literal, ==, "[ab].txt");
        place_done(&p);
}

static void test_an_unreadable_file_is_named_with_the_remedy(void)
{
        _cleanup_(plan_files_freep) PlanFiles *files = plan_files_new();
        _cleanup_error_ Error e = {};
        g_autofree char *path = NULL;
        Place p;

        if (geteuid() == 0) {
                g_test_skip("root may read everything");
                return;
        }
        place_init(&p);
        put(&p, "secret", "x");
        path = in(&p, "secret");
        g_assert_cmpint(chmod(path, 0), ==, 0);
        g_assert_cmpint(plan_list_input(files, path, &e), ==, -EACCES);
        g_assert_nonnull(strstr(e.message, "secret: permission denied; give the user"));
        place_done(&p);
}

static void test_a_short_lived_output_is_not_tidied(void)
{
        g_autofree char *out = NULL, *left = NULL, *place = NULL, *success = NULL;
        OutputPart part = {};
        bool created = false;
        Place p;

        place_init(&p);
        out = in(&p, "out");
        left = part.attempt_dir = in(&p, "out/_temporary/attempt-1");
        place = in(&p, "out/part-00000");
        success = in(&p, "out/_SUCCESS");
        g_assert_cmpint(output_prepare(out, "job-1", &created, NULL), ==, 0);
        put(&p, "out/_temporary/attempt-1/part-00000", "the part");
        output_commit_parts(out, (OutputPart *const[]){&part}, 1, "", OUTPUT_SHORT_LIVED);
        g_assert_cmpint(part.result, ==, 0);
        g_assert_cmpint(access(place, F_OK), ==, 0);
        g_assert_cmpint(access(left, F_OK), ==, 0);
        g_assert_cmpint(output_finish(out, 1, "", false, OUTPUT_SHORT_LIVED, NULL), ==, 0);
        g_assert_cmpint(access(left, F_OK), ==, 0);
        g_assert_cmpint(access(success, F_OK), <, 0);
        g_assert_cmpint(output_discard(out, 1, "", true, NULL), ==, 0);
        g_assert_cmpint(access(out, F_OK), <, 0);
        place_done(&p);
}

static void test_an_output_is_prepared_once_committed_twice_and_finished(void)
{
        g_autofree char *out = NULL, *attempt = NULL, *success = NULL, *temporary = NULL,
                        *place = NULL, *text = NULL;
        _cleanup_error_ Error e = {}, missing = {};
        OutputPart part = {.number = 7}, gone = {.number = 3};
        bool created = false;
        Place p;

        place_init(&p);
        out = in(&p, "x/out");
        attempt = part.attempt_dir = in(&p, "x/out/_temporary/attempt-1");
        gone.attempt_dir = in(&p, "x/out/_temporary/attempt-0");
        g_assert_cmpint(output_prepare(out, "job-1", &created, NULL), ==, 0);
        g_assert_true(created);
        /* A master that comes back knows its own traces; another job is refused. */
        g_assert_cmpint(output_prepare(out, "job-1", &created, NULL), ==, 0);
        g_assert_cmpint(output_prepare(out, "job-2", &created, &e), ==, -EEXIST);
        g_assert_nonnull(strstr(e.message, "not empty: remove it or name another one"));

        put(&p, "x/out/_temporary/attempt-1/part-00007", "the part");
        output_commit_parts(out, (OutputPart *const[]){&gone, &part}, 2, "", OUTPUT_SYNCED);
        g_assert_cmpint(part.result, ==, 0);
        g_assert_cmpint(gone.result, ==, -ENOENT);
        g_assert_nonnull(strstr(gone.error.message, "attempt-0/part-00003 that the worker wrote"));
        g_assert_cmpint(access(attempt, F_OK), <, 0);
        /* As a master does that was killed before it wrote down that it had. */
        output_commit_parts(out, (OutputPart *const[]){&gone, &part}, 2, "", OUTPUT_SYNCED);
        g_assert_cmpint(part.result, ==, 0);
        g_assert_cmpint(gone.result, ==, -ENOENT);
        place = in(&p, "x/out/part-00007");
        g_assert_true(g_file_get_contents(place, &text, NULL, NULL));
        g_assert_cmpstr(text, ==, "the part");
        g_assert_cmpint(output_finish(out, 8, "", true, OUTPUT_SYNCED, &missing), ==, -ENOENT);
        g_assert_nonnull(strstr(missing.message, "out/part-00000 was removed while the job ran"));
        success = in(&p, "x/out/_SUCCESS");
        g_assert_cmpint(access(success, F_OK), <, 0);
        for (unsigned i = 0; i < 7; i++) {
                g_autofree char *name = g_strdup_printf("x/out/part-%05u", i);

                put(&p, name, "another part");
        }
        g_assert_cmpint(output_finish(out, 8, "", true, OUTPUT_SYNCED, NULL), ==, 0);
        temporary = in(&p, "x/out/_temporary");
        g_assert_cmpint(access(success, F_OK), ==, 0);
        g_assert_cmpint(access(temporary, F_OK), <, 0);
        g_assert_cmpint(output_discard(out, 8, "", true, NULL), ==, 0);
        g_assert_cmpint(access(out, F_OK), <, 0);
        error_done(&part.error);
        error_done(&gone.error);
        g_free(gone.attempt_dir);
        place_done(&p);
}

typedef struct Contender {
        const char *dir;
        char tag[16];
        int result;
} Contender;

static gpointer contend(gpointer p)
{
        Contender *c = p;
        bool created;

        c->result = output_prepare(c->dir, c->tag, &created, NULL);
        return NULL;
}

/* Each round: eight jobs that name the same output at the same moment. */
static void test_of_jobs_with_the_same_output_one_has_it(void)
{
        Place p;

        place_init(&p);
        for (unsigned round = 0; round < 50; round++) {
                g_autofree char *name = g_strdup_printf("out-%u", round);
                g_autofree char *out = in(&p, name);
                Contender contenders[8] = {};
                GThread *threads[8];
                unsigned winners = 0;

                for (unsigned i = 0; i < 8; i++) {
                        contenders[i].dir = out;
                        g_snprintf(contenders[i].tag, sizeof(contenders[i].tag), "job-%u", i);
                        threads[i] = g_thread_new(NULL, contend, &contenders[i]);
                }
                for (unsigned i = 0; i < 8; i++) {
                        (void) g_thread_join(threads[i]);
                        winners += contenders[i].result >= 0;
                        if (contenders[i].result < 0)
                                g_assert_cmpint(contenders[i].result, ==, -EEXIST);
                }
                g_assert_cmpuint(winners, ==, 1);
        }
        place_done(&p);
}

static void test_discarding_keeps_what_is_not_ours(void)
{
        g_autofree char *out = NULL, *other = NULL;
        bool created = true;
        Place p;

        place_init(&p);
        out = in(&p, "out");
        g_assert_cmpint(mkdir(out, 0755), ==, 0);
        g_assert_cmpint(output_prepare(out, "job-1", &created, NULL), ==, 0);
        g_assert_false(created);
        put(&p, "out/part-00000", "ours");
        put(&p, "out/somebody-else's", "x");
        g_assert_cmpint(output_discard(out, 1, "", created, NULL), ==, 0);
        other = in(&p, "out/somebody-else's");
        g_assert_cmpint(access(other, F_OK), ==, 0);
        place_done(&p);
}

static void count_row(uint64_t seq, uint64_t usec, const char *kind, const char *text,
                      void *userdata)
{
        uint64_t *last = userdata;

        last[0]++;
        last[1] = seq;
}

static void count_job(const StoreJob *job, void *userdata)
{
        *(uint64_t *) userdata += job->number;
}

static void test_the_store_keeps_what_was_committed_and_nothing_else(void)
{
        _cleanup_(store_freep) Store *s = NULL;
        StoreJob job = {.number = 3, .description = "x", .description_size = 1};
        uint64_t sum = 0, events[2] = {};
        Place p;

        place_init(&p);
        g_assert_cmpint(store_open(p.dir, &s, NULL), ==, 0);
        store_put_job(s, &job);
        for (uint64_t i = 0; i < 500; i++)
                store_add_event(s, 3, i, i, "kind", "text", 200);
        g_assert_cmpint(store_commit(s, true), ==, 0);
        job.number = 4;
        store_put_job(s, &job);
        s = store_free(s); /* without a commit: as if killed */

        g_assert_cmpint(store_open(p.dir, &s, NULL), ==, 0);
        g_assert_cmpint(store_each_job(s, count_job, &sum), ==, 0);
        g_assert_cmpuint(sum, ==, 3);
        g_assert_cmpint(store_each_event(s, 3, count_row, events), ==, 0);
        g_assert_cmpuint(events[0], ==, 200);
        g_assert_cmpuint(events[1], ==, 499);
        store_remove_job(s, 3);
        g_assert_cmpint(store_commit(s, false), ==, 0);
        events[0] = 0;
        g_assert_cmpint(store_each_event(s, 3, count_row, events), ==, 0);
        g_assert_cmpuint(events[0], ==, 0);
        place_done(&p);
}

static void test_a_file_that_is_no_database_is_refused_by_name(void)
{
        _cleanup_(store_freep) Store *s = NULL;
        _cleanup_error_ Error e = {};
        Place p;

        place_init(&p);
        put(&p, "state.db", "this is certainly not a database, and long enough to be looked at");
        g_assert_cmpint(store_open(p.dir, &s, &e), <, 0);
        g_assert_nonnull(strstr(e.message, "state.db"));
        g_assert_null(s);
        place_done(&p);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
#define T(name, function) g_test_add_func("/masterd/" name, function)
        T("plan/a-directory-is-every-file-below-it-in-order",
          test_a_directory_is_every_file_below_it_in_order);
        T("plan/what-is-named-is-read-even-if-its-name-is-hidden",
          test_what_is_named_is_read_even_if_its_name_is_hidden);
        T("plan/links-to-files-are-followed-and-loops-are-not",
          test_links_to_files_are_followed_and_loops_are_not);
        T("plan/a-glob-is-what-the-shell-makes-of-it", test_a_glob_is_what_the_shell_makes_of_it);
        T("plan/an-unreadable-file-is-named-with-the-remedy",
          test_an_unreadable_file_is_named_with_the_remedy);
        T("output/is-prepared-once-committed-twice-and-finished",
          test_an_output_is_prepared_once_committed_twice_and_finished);
        T("output/short-lived-is-not-tidied", test_a_short_lived_output_is_not_tidied);
        T("output/discarding-keeps-what-is-not-ours", test_discarding_keeps_what_is_not_ours);
        T("store/keeps-what-was-committed-and-nothing-else",
          test_the_store_keeps_what_was_committed_and_nothing_else);
        T("store/a-file-that-is-no-database-is-refused-by-name",
          test_a_file_that_is_no_database_is_refused_by_name);
        T("of-jobs-with-the-same-output-one-has-it", test_of_jobs_with_the_same_output_one_has_it);
#undef T
        return g_test_run();
}
