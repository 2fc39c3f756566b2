/*
 * The parts of a result as one text: what sort(1) -s says of the same lines, whatever the buffers
 * and the limit of open files.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "cli/merge.h"
#include "sanitized.h"

typedef struct Parts {
        GPtrArray *texts; /* of GString *, each sorted */
} Parts;

static int text_fd(const char *data, size_t size_bytes)
{
        int fd = memfd_create("part", MFD_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(write_full(fd, data, size_bytes), ==, 0);
        g_assert_cmpint(lseek(fd, 0, SEEK_SET), ==, 0);
        return fd;
}

static int open_text(void *userdata, uint32_t part, int *ret_fd, Error *e)
{
        Parts *p = userdata;
        GString *s = p->texts->pdata[part];

        *ret_fd = text_fd(s->str, s->len);
        return 0;
}

static void text_free(void *p)
{
        g_string_free(p, TRUE);
}

static void parts_init(Parts *p)
{
        *p = (Parts){.texts = g_ptr_array_new_with_free_func(text_free)};
}

static void parts_add(Parts *p, const char *data, size_t size_bytes)
{
        g_ptr_array_add(p->texts, g_string_new_len(data, (gssize) size_bytes));
}

static void parts_done(Parts *p)
{
        g_ptr_array_unref(p->texts);
}

/* A line of /proc/self/status: VmRSS, or VmHWM, the most it ever was. */
static uint64_t memory_bytes(const char *name)
{
        g_autofree char *text = NULL;
        const char *line;

        g_assert_true(g_file_get_contents("/proc/self/status", &text, NULL, NULL));
        line = strstr(text, name);
        g_assert_nonnull(line);
        return KIB(g_ascii_strtoull(line + strlen(name) + 1, NULL, 10));
}

/* From here on VmHWM is anew: proc(5), clear_refs, which not every kernel has. */
static bool forget_peak(void)
{
        _cleanup_close_ int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

        return fd >= 0 && write(fd, "5", 1) == 1;
}

/* What comes out, and its size. Merging takes little memory, but for a key that is long. */
static char *merge_in(Parts *p, const MergeOptions *o, uint64_t memory_max_bytes, size_t *ret_size)
{
        _cleanup_close_ int to = memfd_create("to", MFD_CLOEXEC);
        _cleanup_error_ Error e = {};
        bool measures = forget_peak() && !SANITIZED;
        uint64_t before = memory_bytes("VmRSS:");
        char *out;
        off_t size;

        g_assert_cmpint(merge_parts(open_text, p, p->texts->len, to, o, &e), ==, 0);
        g_assert_null(e.message);
        if (measures)
                g_assert_cmpuint(memory_bytes("VmHWM:"), <=, before + memory_max_bytes);
        size = lseek(to, 0, SEEK_END);
        out = g_malloc0((gsize) size + 1);
        g_assert_cmpint(pread_full(to, out, (size_t) size, 0), ==, size);
        *ret_size = (size_t) size;
        return out;
}

static char *merge(Parts *p, const MergeOptions *o, size_t *ret_size)
{
        return merge_in(p, o, MERGE_BUFFERS_BYTES + MIB(2), ret_size);
}

static void assert_merges_to(const char *const *texts, const char *expected)
{
        g_autofree char *out = NULL;
        Parts p;
        size_t size;

        parts_init(&p);
        for (; *texts; texts++)
                parts_add(&p, *texts, strlen(*texts));
        out = merge(&p, &(MergeOptions){}, &size);
        g_assert_cmpmem(out, size, expected, strlen(expected));
        parts_done(&p);
}

static void test_keys_compare_by_memcmp_then_length(void)
{
        /* "a" < "a\x01" < "aa" < "b"; 0xff is above all of ASCII; '-' (0x2d) is above TAB
         * (0x09). */
        assert_merges_to(
                (const char *[]){"a\t1\naa\t3\n", "a-b\t4\nb\t5\n\xff\t6\n", "a\x01\t2\n", NULL},
                "a\t1\na\x01\t2\na-b\t4\naa\t3\nb\t5\n\xff\t6\n");
}

static void test_the_value_takes_no_part_in_the_order(void)
{
        assert_merges_to((const char *[]){"k\tz\nl\t0\n", "k\ta\n", "k\n", NULL},
                         "k\tz\nk\ta\nk\nl\t0\n");
}

static void test_a_last_line_without_newline_gets_one(void)
{
        assert_merges_to((const char *[]){"b\t1", "a\t1\nc", NULL}, "a\t1\nb\t1\nc\n");
}

static void test_empty_parts_and_empty_lines_are_no_trouble(void)
{
        assert_merges_to((const char *[]){"", "\n\na\n", "", "\tv\n", "", NULL}, "\n\n\tv\na\n");
        assert_merges_to((const char *[]){"", "", NULL}, "");
        assert_merges_to((const char *[]){NULL}, "");
}

static void test_one_part_is_copied_as_it_is(void)
{
        assert_merges_to((const char *[]){"z\na\nno newline", NULL}, "z\na\nno newline");
}

static void test_nul_bytes_are_bytes(void)
{
        static const char expected[] = "a\0a\t1\na\0b\t2\n";
        g_autofree char *out = NULL;
        Parts p;
        size_t size;

        parts_init(&p);
        parts_add(&p, "a\0b\t2\n", 6);
        parts_add(&p, "a\0a\t1\n", 6);
        out = merge(&p, &(MergeOptions){}, &size);
        g_assert_cmpmem(out, size, expected, sizeof(expected) - 1);
        parts_done(&p);
}

static int compare_lines(const void *a, const void *b)
{
        return strcmp(*(char *const *) a, *(char *const *) b);
}

/* Random keys that are all different, so that qsort()'s order is the only one. */
static void make_random(Parts *p, uint32_t parts, uint32_t lines, GString *expected)
{
        g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(g_free);
        GRand *rand = g_rand_new_with_seed(parts * 31 + lines);

        for (uint32_t i = 0; i < lines; i++) {
                uint32_t fill = (uint32_t) g_rand_int_range(rand, 0, i % 50 == 0 ? 3000 : 12);
                g_autofree char *value = g_strnfill(fill, 'v');

                /* A fixed-width hexadecimal key, so that comparing whole lines compares keys. */
                g_ptr_array_add(all, g_strdup_printf("%08x%08x\t%s\n", g_rand_int(rand), i, value));
        }
        g_ptr_array_sort(all, compare_lines);
        for (uint32_t i = 0; i < parts; i++)
                parts_add(p, "", 0);
        for (uint32_t i = 0; i < lines; i++) {
                g_string_append(expected, all->pdata[i]);
                g_string_append(p->texts->pdata[g_rand_int_range(rand, 0, (gint32) parts)],
                                all->pdata[i]);
        }
        g_rand_free(rand);
}

static void test_any_buffers_and_any_number_of_open_files_give_the_same(void)
{
        static const uint32_t parts[] = {2, 3, 7, 64, 1000};
        static const MergeOptions options[] = {{},
                                               {.buffer_bytes = 1},
                                               {.buffer_bytes = 20, .max_open = 2},
                                               {.max_open = 3},
                                               {.max_open = 63}};

        for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
                g_autoptr(GString) expected = g_string_new(NULL);
                Parts p;

                parts_init(&p);
                make_random(&p, parts[i], 5000, expected);
                for (size_t k = 0; k < ELEMENTSOF(options); k++) {
                        g_autofree char *out = NULL;
                        size_t size;

                        out = merge(&p, &options[k], &size);
                        g_assert_cmpmem(out, size, expected->str, expected->len);
                }
                parts_done(&p);
        }
}

/* A value of 8 MiB streams through a buffer of 64 bytes and one of 256 KiB for what is written. */
static void test_a_value_need_not_fit_the_buffer(void)
{
        g_autofree char *value = g_strnfill(8 << 20, 'x'), *out = NULL;
        g_autofree char *line = g_strconcat("b\t", value, "\n", NULL);
        g_autofree char *expected = g_strconcat("a\t1\n", line, "b\t2\nc\t", value, "\n", NULL);
        g_autofree char *unfinished = g_strconcat("c\t", value, NULL);
        Parts p;
        size_t size;

        parts_init(&p);
        parts_add(&p, line, strlen(line));
        parts_add(&p, "a\t1\nb\t2\n", 8);
        parts_add(&p, unfinished, strlen(unfinished));
        out = merge_in(&p, &(MergeOptions){.buffer_bytes = 64}, MIB(2), &size);
        g_assert_cmpmem(out, size, expected, strlen(expected));
        parts_done(&p);
}

static void test_a_long_key_makes_its_buffer_grow(void)
{
        g_autofree char *key = g_strnfill(3 << 20, 'k'), *out = NULL;
        g_autofree char *first = g_strconcat(key, "a\t1\n", NULL);
        g_autofree char *second = g_strconcat(key, "b\n", NULL);
        g_autofree char *expected = g_strconcat(first, second, "z\n", NULL);
        Parts p;
        size_t size;

        parts_init(&p);
        parts_add(&p, second, strlen(second));
        g_string_append(p.texts->pdata[0], "z\n");
        parts_add(&p, first, strlen(first));
        out = merge(&p, &(MergeOptions){}, &size);
        g_assert_cmpmem(out, size, expected, strlen(expected));
        parts_done(&p);
}

static int merge_into(int to, const MergeOptions *o)
{
        _cleanup_error_ Error e = {};
        Parts p;
        int r;

        parts_init(&p);
        parts_add(&p, "a\n", 2);
        parts_add(&p, "b\n", 2);
        r = merge_parts(open_text, &p, p.texts->len, to, o, &e);
        parts_done(&p);
        return r;
}

static void test_a_full_disk_is_an_error(void)
{
        _cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

        g_assert_cmpint(merge_into(full, &(MergeOptions){}), ==, -ENOSPC);
}

static void test_a_reader_that_is_gone_is_epipe(void)
{
        int pipe_fds[2];

        (void) signal(SIGPIPE, SIG_IGN);
        g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
        (void) close(pipe_fds[0]);
        g_assert_cmpint(merge_into(pipe_fds[1], &(MergeOptions){}), ==, -EPIPE);
        (void) close(pipe_fds[1]);
}

static void test_an_interrupt_ends_it(void)
{
        _cleanup_close_ int to = memfd_create("to", MFD_CLOEXEC);
        volatile sig_atomic_t interrupted = SIGINT;

        g_assert_cmpint(merge_into(to, &(MergeOptions){.interrupted = &interrupted}), ==, -EINTR);
        g_assert_cmpint(lseek(to, 0, SEEK_END), ==, 0);
}

static int open_second_fails(void *userdata, uint32_t part, int *ret_fd, Error *e)
{
        if (part == 1)
                return error_setf(e, EIO, "part 1 is gone");
        *ret_fd = text_fd("a\n", 2);
        return 0;
}

static void test_a_part_that_cannot_be_opened_is_named_and_nothing_is_written(void)
{
        _cleanup_close_ int to = memfd_create("to", MFD_CLOEXEC);
        _cleanup_error_ Error e = {};

        g_assert_cmpint(merge_parts(open_second_fails, NULL, 3, to, &(MergeOptions){}, &e), ==,
                        -EIO);
        g_assert_cmpstr(e.message, ==, "part 1 is gone");
        g_assert_cmpint(lseek(to, 0, SEEK_END), ==, 0);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/cli/merge/keys-compare-by-memcmp-then-length",
                        test_keys_compare_by_memcmp_then_length);
        g_test_add_func("/cli/merge/the-value-takes-no-part-in-the-order",
                        test_the_value_takes_no_part_in_the_order);
        g_test_add_func("/cli/merge/a-last-line-without-newline-gets-one",
                        test_a_last_line_without_newline_gets_one);
        g_test_add_func("/cli/merge/empty-parts-and-empty-lines-are-no-trouble",
                        test_empty_parts_and_empty_lines_are_no_trouble);
        g_test_add_func("/cli/merge/one-part-is-copied-as-it-is", test_one_part_is_copied_as_it_is);
        g_test_add_func("/cli/merge/nul-bytes-are-bytes", test_nul_bytes_are_bytes);
        g_test_add_func("/cli/merge/any-buffers-and-any-number-of-open-files-give-the-same",
                        test_any_buffers_and_any_number_of_open_files_give_the_same);
        g_test_add_func("/cli/merge/a-value-need-not-fit-the-buffer",
                        test_a_value_need_not_fit_the_buffer);
        g_test_add_func("/cli/merge/a-long-key-makes-its-buffer-grow",
                        test_a_long_key_makes_its_buffer_grow);
        g_test_add_func("/cli/merge/a-full-disk-is-an-error", test_a_full_disk_is_an_error);
        g_test_add_func("/cli/merge/a-reader-that-is-gone-is-epipe",
                        test_a_reader_that_is_gone_is_epipe);
        g_test_add_func("/cli/merge/an-interrupt-ends-it", test_an_interrupt_ends_it);
        g_test_add_func("/cli/merge/a-part-that-cannot-be-opened-is-named-and-nothing-is-written",
                        test_a_part_that_cannot_be_opened_is_named_and_nothing_is_written);
        return g_test_run();
}
