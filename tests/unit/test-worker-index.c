/*
 * The cache of run files' indices: each file is read once, and again when it is another; memory has
 * a bound.
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "mr-workerd/worker-index.h"
#include "records/run-file.h"

#define REDUCES 1000U

/* A run file with one record in each partition; the value of partition p is p bytes long. */
static void write_run(int fd, uint32_t partitions)
{
        _cleanup_(run_writer_freep) RunWriter *w = NULL;
        static const uint8_t value[REDUCES];
        uint64_t size;

        g_assert_cmpint(run_writer_new(fd, partitions, &w), ==, 0);
        for (uint32_t p = 0; p < partitions; p++) {
                Record r = {.partition = p,
                            .key = value,
                            .key_size = 1,
                            .value = value,
                            .value_size = p};

                g_assert_cmpint(run_writer_add(w, &r), ==, 0);
        }
        g_assert_cmpint(run_writer_finish(w, &size), ==, 0);
}

static int run_file(uint32_t partitions)
{
        g_autofree char *path = g_build_filename(g_get_tmp_dir(), "mr-index-XXXXXX", NULL);
        int fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);

        g_assert_cmpint(fd, >=, 0);
        (void) unlink(path);
        write_run(fd, partitions);
        return fd;
}

static void assert_segment(IndexCache *c, int fd, uint32_t partitions, uint32_t partition)
{
        uint64_t offset, length, want_offset, want_length;
        _cleanup_error_ Error e = {};

        g_assert_cmpint(index_cache_segment(c, fd, partitions, partition, &offset, &length, &e), ==,
                        0);
        g_assert_cmpint(run_file_segment(fd, partitions, partition, &want_offset, &want_length, &e),
                        ==, 0);
        g_assert_cmpuint(offset, ==, want_offset);
        g_assert_cmpuint(length, ==, want_length);
}

static void test_an_index_is_read_once_for_all_reduces(void)
{
        IndexCache *c = index_cache_new(INDEX_CACHE_BYTES);
        int fd = run_file(REDUCES);

        for (uint32_t p = 0; p < REDUCES; p++)
                assert_segment(c, fd, REDUCES, p);
        g_assert_cmpuint(index_cache_reads(c), ==, 1);
        safe_close(fd);
        index_cache_free(c);
}

static void test_a_file_that_changed_is_read_again_and_a_bad_one_refused(void)
{
        IndexCache *c = index_cache_new(INDEX_CACHE_BYTES);
        uint64_t offset, length;
        _cleanup_error_ Error e = {};
        int fd = run_file(10);
        uint8_t byte;

        assert_segment(c, fd, 10, 3);
        g_assert_cmpint(futimens(fd, (struct timespec[]){{.tv_sec = 1}, {.tv_sec = 1}}), ==, 0);
        assert_segment(c, fd, 10, 3);
        g_assert_cmpuint(index_cache_reads(c), ==, 2);

        g_assert_cmpint(pread(fd, &byte, 1, 50), ==, 1);
        byte ^= 4;
        g_assert_cmpint(pwrite(fd, &byte, 1, 50), ==, 1);
        g_assert_cmpint(futimens(fd, (struct timespec[]){{.tv_sec = 2}, {.tv_sec = 2}}), ==, 0);
        g_assert_cmpint(index_cache_segment(c, fd, 10, 3, &offset, &length, &e), ==, -EBADMSG);
        g_assert_cmpuint(index_cache_bytes(c), ==, 0);
        safe_close(fd);
        index_cache_free(c);
}

static void test_another_number_of_reduces_or_one_beyond_is_refused(void)
{
        IndexCache *c = index_cache_new(INDEX_CACHE_BYTES);
        uint64_t offset, length;
        int fd = run_file(10);

        for (int i = 0; i < 2; i++) { /* with nothing in the cache, and with the file's index */
                _cleanup_error_ Error e = {}, f = {};

                g_assert_cmpint(index_cache_segment(c, fd, 11, 3, &offset, &length, &e), ==,
                                -EBADMSG);
                g_assert_cmpint(index_cache_segment(c, fd, 10, 10, &offset, &length, &f), ==,
                                -EINVAL);
                assert_segment(c, fd, 10, 9);
        }
        safe_close(fd);
        index_cache_free(c);
}

static void test_memory_is_bounded_and_the_least_recently_used_goes(void)
{
        IndexCache *c = index_cache_new(5 * (REDUCES + 1) * sizeof(uint64_t));
        int fds[6];

        for (int i = 0; i < 6; i++)
                fds[i] = run_file(REDUCES);
        for (int i = 0; i < 6; i++) {
                assert_segment(c, fds[i], REDUCES, 0);
                assert_segment(c, fds[0], REDUCES, 0); /* stays */
                g_assert_cmpuint(index_cache_bytes(c), <=, 5 * (REDUCES + 1) * sizeof(uint64_t));
        }
        g_assert_cmpuint(index_cache_reads(c), ==, 6);
        assert_segment(c, fds[1], REDUCES, 0);
        g_assert_cmpuint(index_cache_reads(c), ==, 7);
        for (int i = 0; i < 6; i++)
                safe_close(fds[i]);
        index_cache_free(c);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/worker/index/is-read-once-for-all-reduces",
                        test_an_index_is_read_once_for_all_reduces);
        g_test_add_func("/worker/index/a-file-that-changed-is-read-again-and-a-bad-one-refused",
                        test_a_file_that_changed_is_read_again_and_a_bad_one_refused);
        g_test_add_func("/worker/index/another-number-of-reduces-or-one-beyond-is-refused",
                        test_another_number_of_reduces_or_one_beyond_is_refused);
        g_test_add_func("/worker/index/memory-is-bounded-and-the-least-recently-used-goes",
                        test_memory_is_bounded_and_the_least_recently_used_goes);
        return g_test_run();
}
