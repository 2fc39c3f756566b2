/*
 * Merging: the same answer as a plain array and qsort(), whatever the memory and the runs; and the
 * bad run is named.
 */
#include <fcntl.h>

#include "base/fs.h"
#include "records/block.h"
#include "records/merge.h"
#include "records/resort.h"
#include "records-plain.h"

static uint64_t write_segment_in(int fd, uint64_t at, GArray *sorted, BlockCodec codec)
{
        BlockWriter w;

        g_assert_cmpint(block_writer_init(&w, fd, at), ==, 0);
        g_assert_cmpint(block_writer_set_codec(&w, codec, NULL), ==, 0);
        for (size_t i = 0; i < sorted->len; i++) {
                Record r = plain_record(&g_array_index(sorted, Plain, i));

                g_assert_cmpint(block_writer_add(&w, &r), ==, 0);
        }
        g_assert_cmpint(block_writer_flush(&w), ==, 0);
        at = w.offset;
        block_writer_done(&w);
        return at;
}

static uint64_t write_segment(int fd, uint64_t at, GArray *sorted)
{
        return write_segment_in(fd, at, sorted, BLOCK_PLAIN);
}

static size_t open_files(void)
{
        GDir *d = g_dir_open("/proc/self/fd", 0, NULL);
        size_t n = 0;

        while (g_dir_read_name(d))
                n++;
        g_dir_close(d);
        return n;
}

static void add_plain(GArray *to, GArray *from)
{
        for (size_t i = 0; i < from->len; i++) {
                Plain p = g_array_index(from, Plain, i);

                p.order = to->len;
                (void) g_bytes_ref(p.key);
                if (p.data)
                        (void) g_bytes_ref(p.data);
                g_array_append_val(to, p);
        }
}

/* Some runs of a random kind; @all gets their records in the order of adding. Return: the most
 * files it had open. */
static size_t add_runs(Merge *m, size_t runs, int spool, BlockCodec codec, GArray *all)
{
        size_t before = open_files(), most = 0;
        uint64_t at = 0;

        for (size_t i = 0; i < runs; i++) {
                GArray *a = random_plain((size_t) g_test_rand_int_range(0, 300),
                                         g_test_rand_int_range(0, FAMILIES), 1);
                Segment s = {.fd = fcntl(spool, F_DUPFD_CLOEXEC, 0),
                             .owns_fd = true,
                             .offset = at,
                             .tag = i};

                if (g_test_rand_bit())
                        give_values(a);
                plain_sort(a);
                at = write_segment_in(spool, at, a, codec);
                s.length = at - s.offset;
                add_plain(all, a);
                g_array_unref(a);
                g_assert_cmpint(merge_add(m, &s), ==, 0);
                most = MAX(most, open_files() - before);
        }
        return most;
}

static void check_merge(size_t runs, size_t memory, BlockCodec codec, bool *ret_in_memory)
{
        size_t before = open_files(), most;
        int spool = empty_file();
        Scratch scratch = {.fd = empty_file()};
        MergeOptions o = {.memory_bytes = memory, .scratch = &scratch, .want_partition = 0};
        GArray *all = plain_new();
        Merge m;

        g_assert_cmpint(merge_init(&m, &o), ==, 0);
        most = add_runs(&m, runs, spool, codec, all);
        g_assert_cmpint(merge_start(&m), ==, 0);
        *ret_in_memory = open_files() == before + 2;
        plain_sort(all);
        check_stream(&m.stream, all);
        g_assert_cmpuint(
                most, <=,
                CLAMP(memory / BLOCK_BYTES, (size_t) MERGE_FAN_IN_MIN, (size_t) MERGE_FAN_IN_MAX));
        g_assert_true(*ret_in_memory || scratch.end > 0 || runs <= MERGE_FAN_IN_MAX);
        merge_done(&m);
        g_array_unref(all);
        (void) close(spool);
        (void) close(scratch.fd);
        g_assert_cmpuint(open_files(), ==, before);
}

static void test_many_runs_merge_with_few_files_open(void)
{
        bool in_memory;

        for (int round = 0; round < 12; round++)
                check_merge((size_t) g_test_rand_int_range(0, round % 2 ? 300 : 10),
                            round % 3 ? random_memory(KIB(512), MIB(8)) : 0,
                            (BlockCodec) g_test_rand_int_range(BLOCK_PLAIN, BLOCK_ZSTD + 1),
                            &in_memory);
}

static void test_runs_that_fit_in_memory_are_sorted_again(void)
{
        bool in_memory;

        for (int round = 0; round < 2; round++) {
                check_merge((size_t) g_test_rand_int_range(20, 400), MIB(64), BLOCK_PLAIN,
                            &in_memory);
                g_assert_true(in_memory);
        }
        check_merge(40, MIB(64), BLOCK_LZ4, &in_memory);
        check_merge(40, MIB(2), BLOCK_LZ4, &in_memory);
        check_merge(40, MIB(64), BLOCK_ZSTD, &in_memory);
}

/* Around what decides whether runs are merged or sorted again: how many, and whether they just fit
 * with their items. */
static void test_the_answer_is_the_same_around_every_limit(void)
{
        bool in_memory;

        for (size_t runs = RESORT_RUNS_MIN - 1; runs <= RESORT_RUNS_MIN + 1; runs++)
                for (size_t i = 0; i < 12; i++)
                        check_merge(runs, KIB(4) << i, BLOCK_PLAIN, &in_memory);
        for (size_t runs = MERGE_FAN_IN_MAX - 1; runs <= MERGE_FAN_IN_MAX + 1; runs++)
                check_merge(runs, MIB(64), BLOCK_PLAIN, &in_memory);
}

/* Keys of no to nine NULs, so that many are equal or differ in length alone; a value in 30 of up to
 * 10 MB. */
static GArray *awkward_run(bool largest)
{
        static const uint8_t nuls[9];
        GArray *a = plain_new();

        for (size_t k = 0; k <= sizeof(nuls); k++) {
                plain_add(a, g_bytes_new_static(nuls, k), k, 1);
                g_array_index(a, Plain, a->len - 1).data =
                        g_test_rand_int_range(0, 30) == 0
                                ? noise((size_t) g_test_rand_int_range(0, (int) VALUE_BYTES_MAX))
                                : random_value();
        }
        if (largest) {
                Plain *p = &g_array_index(a, Plain, g_test_rand_int_range(0, (gint32) a->len));

                g_bytes_unref(p->data);
                p->data = noise(VALUE_BYTES_MAX);
        }
        return a;
}

static void check_awkward(size_t runs, size_t memory)
{
        int spool = empty_file();
        Scratch scratch = {.fd = empty_file()};
        MergeOptions o = {.memory_bytes = memory, .scratch = &scratch, .want_partition = 0};
        GArray *all = plain_new();
        uint64_t at = 0;
        Merge m;

        g_assert_cmpint(merge_init(&m, &o), ==, 0);
        for (size_t i = 0; i < runs; i++) {
                GArray *a = awkward_run(i == runs / 2);
                Segment s = {.fd = spool, .offset = at, .tag = i};

                at = write_segment(spool, at, a);
                s.length = at - s.offset;
                add_plain(all, a);
                g_array_unref(a);
                g_assert_cmpint(merge_add(&m, &s), ==, 0);
        }
        g_assert_cmpint(merge_start(&m), ==, 0);
        plain_sort(all);
        check_stream(&m.stream, all);
        merge_done(&m);
        g_array_unref(all);
        (void) close(spool);
        (void) close(scratch.fd);
}

static void test_short_keys_and_large_values_are_all_there(void)
{
        for (size_t runs = RESORT_RUNS_MIN - 1; runs <= RESORT_RUNS_MIN + 1; runs++) {
                check_awkward(runs, 0);
                check_awkward(runs, random_memory(MIB(1), MIB(64)));
                check_awkward(runs, MIB(64));
        }
}

static void flip_byte(int fd, off_t at)
{
        uint8_t b;

        g_assert_cmpint(pread(fd, &b, 1, at), ==, 1);
        b ^= 0xff;
        g_assert_cmpint(pwrite(fd, &b, 1, at), ==, 1);
}

static void check_bad_run(size_t memory)
{
        for (size_t bad = 0; bad < 20; bad++) {
                int spool = empty_file();
                Scratch scratch = {.fd = empty_file()};
                MergeOptions o = {.memory_bytes = memory, .scratch = &scratch, .want_partition = 0};
                uint64_t at = 0;
                Record record;
                Merge m;
                int r = 0;

                g_assert_cmpint(merge_init(&m, &o), ==, 0);
                for (size_t i = 0; i < 20 && r >= 0; i++) {
                        GArray *a = random_plain(50, 3, 1);
                        Segment s = {.fd = spool, .offset = at, .tag = 100 + i};

                        plain_sort(a);
                        at = write_segment(spool, at, a);
                        s.length = at - s.offset;
                        if (i == bad)
                                flip_byte(spool, (off_t) s.offset + 30);
                        g_array_unref(a);
                        r = merge_add(&m, &s);
                }
                if (r >= 0)
                        r = merge_start(&m);
                while (r >= 0 && (r = m.stream.next(&m.stream, &record)) > 0)
                        ;
                g_assert_cmpint(r, ==, -EBADMSG);
                g_assert_cmpuint(m.bad_tag, ==, 100 + bad);
                g_assert_nonnull(m.error.message);
                merge_done(&m);
                (void) close(spool);
                (void) close(scratch.fd);
        }
}

static void test_the_bad_run_is_named(void)
{
        check_bad_run(0);
        check_bad_run(MIB(4));
}

/* A run that ends before its length does, first when it is one of few and then one of many in
 * memory. */
static void test_a_run_that_was_cut_is_named(void)
{
        for (size_t runs = 2; runs <= 20; runs += 18) {
                int spool = empty_file();
                Scratch scratch = {.fd = empty_file()};
                MergeOptions o = {
                        .memory_bytes = MIB(16), .scratch = &scratch, .want_partition = 0};
                GArray *a = random_plain(50, 3, 1);
                uint64_t end;
                Record record;
                Merge m;
                int r = 0;

                plain_sort(a);
                end = write_segment(spool, 0, a);
                g_assert_cmpint(ftruncate(spool, (off_t) end - 1), ==, 0);
                g_assert_cmpint(merge_init(&m, &o), ==, 0);
                for (size_t i = 0; i < runs; i++) {
                        Segment s = {.fd = spool, .length = end, .tag = 7};

                        g_assert_cmpint(merge_add(&m, &s), ==, 0);
                }
                r = merge_start(&m);
                while (r >= 0 && (r = m.stream.next(&m.stream, &record)) > 0)
                        ;
                g_assert_cmpint(r, ==, -EBADMSG);
                g_assert_cmpuint(m.bad_tag, ==, 7);
                g_assert_nonnull(strstr(m.error.message, "truncated"));
                merge_done(&m);
                g_array_unref(a);
                (void) close(spool);
                (void) close(scratch.fd);
        }
}

#define ADD(claim, function) g_test_add_func("/records/" claim, function)

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        ADD("merge/many-runs-merge-with-few-files-open", test_many_runs_merge_with_few_files_open);
        ADD("merge/runs-that-fit-in-memory-are-sorted-again",
            test_runs_that_fit_in_memory_are_sorted_again);
        ADD("merge/the-answer-is-the-same-around-every-limit",
            test_the_answer_is_the_same_around_every_limit);
        ADD("merge/short-keys-and-large-values-are-all-there",
            test_short_keys_and_large_values_are_all_there);
        ADD("merge/the-bad-run-is-named", test_the_bad_run_is_named);
        ADD("merge/a-run-that-was-cut-is-named", test_a_run_that_was_cut_is_named);
        return g_test_run();
}
