/*
 * The cache of map outputs: in and out by links, bounded, and whole after a restart.
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "mr-workerd/worker-cache.h"

#define BOUND 10

typedef struct Fixture {
        char *path;
        Spool *spool;
        Cache *cache;
} Fixture;

static const char *key_of(char digit)
{
        static char keys[16][CACHE_KEY_SIZE];
        char *key = keys[g_ascii_xdigit_value(digit)];

        memset(key, digit, CACHE_KEY_SIZE - 1);
        return key;
}

static void open_all(Fixture *f)
{
        _cleanup_error_ Error e = {};

        g_assert_cmpint(spool_open(f->path, false, &f->spool, &e), ==, 0);
        g_assert_cmpint(cache_open(f->spool, BOUND, &f->cache, &e), ==, 0);
}

static void close_all(Fixture *f)
{
        f->cache = cache_free(f->cache);
        f->spool = spool_free(f->spool);
}

static void setup(Fixture *f, gconstpointer data)
{
        f->path = g_dir_make_tmp("test-worker-cache-XXXXXX", NULL);
        open_all(f);
}

static void teardown(Fixture *f, gconstpointer data)
{
        close_all(f);
        g_assert_cmpint(rm_rf_at(AT_FDCWD, f->path), ==, 0);
        g_free(f->path);
}

/* A map of @job makes @text, and it is kept under @digit's key. */
static void make(Fixture *f, const char *job, uint32_t map, char digit, const char *text)
{
        Mapreduced__V1__TaskResult result = MAPREDUCED__V1__TASK_RESULT__INIT;
        Mapreduced__V1__Counter counter = MAPREDUCED__V1__COUNTER__INIT, *counters = &counter;
        _cleanup_close_ int fd = -EBADF;

        g_assert_cmpint(spool_job_make(f->spool, job), ==, 0);
        g_assert_cmpint(spool_output_create(f->spool, job, map, 0, &fd), ==, 0);
        g_assert_cmpint(write_full(fd, text, strlen(text)), ==, 0);
        g_assert_cmpint(spool_output_commit(f->spool, job, map, 0, strlen(text)), ==, 0);
        counter.name = (char *) "map_input_records";
        counter.value = 42;
        result.outcome = MAPREDUCED__V1__TASK_OUTCOME__SUCCEEDED;
        result.output_bytes = strlen(text);
        result.n_counters = 1;
        result.counters = &counters;
        cache_add(f->cache, key_of(digit), job, map, 0, &result, "job 1, map 7, attempt 0");
}

static void forget(Fixture *f, const char *job)
{
        g_autofree char *trash = NULL;

        g_assert_cmpint(spool_job_forget(f->spool, job, &trash), ==, 0);
        g_assert_cmpint(rm_rf_at(spool_trash_fd(f->spool), trash), ==, 0);
}

static void assert_takes(Fixture *f, char digit, const char *job, uint32_t map, const char *text)
{
        Mapreduced__V1__TaskResult *result = NULL;
        _cleanup_close_ int fd = -EBADF;
        char buffer[16] = "";

        g_assert_cmpint(spool_job_make(f->spool, job), ==, 0);
        g_assert_cmpint(cache_take(f->cache, key_of(digit), job, map, 3, &result), ==, 0);
        g_assert_cmpstr(result->reused_from, ==, "job 1, map 7, attempt 0");
        g_assert_cmpuint(result->counters[0]->value, ==, 42);
        g_assert_cmpuint(result->output_bytes, ==, strlen(text));
        mapreduced__v1__task_result__free_unpacked(result, NULL);
        g_assert_cmpint(spool_output_open(f->spool, job, map, 3, &fd), ==, 0);
        g_assert_cmpint((int) read_full(fd, buffer, sizeof(buffer) - 1), ==, (int) strlen(text));
        g_assert_cmpstr(buffer, ==, text);
}

static void test_an_output_outlives_its_job_and_a_restart(Fixture *f, gconstpointer data)
{
        make(f, "job-1", 7, 'a', "seven");
        forget(f, "job-1");
        close_all(f);
        open_all(f);
        g_assert_true(cache_has(f->cache, key_of('a')));
        g_assert_cmpuint(cache_bytes(f->cache), ==, 5);
        assert_takes(f, 'a', "job-2", 1, "seven");
        forget(f, "job-2");
        assert_takes(f, 'a', "job-3", 2, "seven");
}

static void test_the_least_recently_used_goes_first(Fixture *f, gconstpointer data)
{
        make(f, "job-1", 1, 'a', "aaaa");
        make(f, "job-1", 2, 'b', "bbbb");
        assert_takes(f, 'a', "job-2", 1, "aaaa");
        make(f, "job-1", 3, 'c', "cccc");
        g_assert_true(cache_has(f->cache, key_of('a')));
        g_assert_false(cache_has(f->cache, key_of('b')));
        g_assert_true(cache_has(f->cache, key_of('c')));
        g_assert_cmpuint(cache_bytes(f->cache), ==, 8);
        cache_shrink(f->cache, 1);
        g_assert_false(cache_has(f->cache, key_of('a')));
        make(f, "job-1", 4, 'd', "longer than all of it");
        g_assert_false(cache_has(f->cache, key_of('d')));
        g_assert_true(cache_has(f->cache, key_of('c')));
}

/* What a power cut may leave: half a pair, or a file that says nothing. */
static void test_what_is_not_whole_is_not_there(Fixture *f, gconstpointer data)
{
        Mapreduced__V1__TaskResult *result = NULL;
        g_autofree char *run = NULL, *meta = NULL, *stray = NULL;

        make(f, "job-1", 1, 'a', "aaa");
        make(f, "job-1", 2, 'b', "bbb");
        run = g_strconcat(f->path, "/cache/", key_of('a'), ".run", NULL);
        meta = g_strconcat(f->path, "/cache/", key_of('b'), ".meta", NULL);
        stray = g_strconcat(f->path, "/cache/", "stray", NULL);
        g_assert_cmpint(g_unlink(run), ==, 0);
        g_assert_true(g_file_set_contents(meta, "\377\377", 2, NULL));
        g_assert_true(g_file_set_contents(stray, "x", 1, NULL));
        close_all(f);
        open_all(f);
        g_assert_false(cache_has(f->cache, key_of('a')));
        g_assert_false(g_file_test(stray, G_FILE_TEST_EXISTS));
        g_assert_true(cache_has(f->cache, key_of('b')));
        g_assert_cmpint(spool_job_make(f->spool, "job-2"), ==, 0);
        g_assert_cmpint(cache_take(f->cache, key_of('b'), "job-2", 1, 0, &result), <, 0);
        g_assert_false(cache_has(f->cache, key_of('b')));
        g_assert_false(spool_output_exists(f->spool, "job-2", 1, 0));
        g_assert_cmpuint(cache_bytes(f->cache), ==, 0);
}

static void test_keys_are_digests(Fixture *f, gconstpointer data)
{
        g_assert_true(cache_key_is_valid(key_of('f')));
        g_assert_false(cache_key_is_valid(""));
        g_assert_false(cache_key_is_valid("../../etc/passwd"));
        g_assert_false(cache_key_is_valid(
                "GGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGG"));
}

static void test_without_a_cache_nothing_is_kept(Fixture *f, gconstpointer data)
{
        g_autoptr(GPtrArray) keys = cache_list(NULL);

        g_assert_cmpuint(keys->len, ==, 0);
        g_assert_false(cache_has(NULL, key_of('a')));
        cache_drop(NULL, key_of('a'));
        cache_shrink(NULL, 1);
        g_assert_cmpuint(cache_bytes(NULL), ==, 0);
}

int main(int argc, char **argv)
{
        static const struct {
                const char *path;
                void (*fn)(Fixture *f, gconstpointer data);
        } tests[] = {
                {"an-output-outlives-its-job-and-a-restart",
                 test_an_output_outlives_its_job_and_a_restart},
                {"the-least-recently-used-goes-first", test_the_least_recently_used_goes_first},
                {"what-is-not-whole-is-not-there", test_what_is_not_whole_is_not_there},
                {"keys-are-digests", test_keys_are_digests},
                {"without-a-cache-nothing-is-kept", test_without_a_cache_nothing_is_kept},
        };

        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < ELEMENTSOF(tests); i++) {
                g_autofree char *path = g_strconcat("/worker/cache/", tests[i].path, NULL);

                g_test_add(path, Fixture, NULL, setup, tests[i].fn, teardown);
        }
        return g_test_run();
}
