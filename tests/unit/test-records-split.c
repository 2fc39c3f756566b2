/*
 * Splits: every byte of every file is in exactly one piece, in order, and no limit is passed.
 */
#include "records/split.h"

static void check_plan(const SplitFile *files, size_t n, uint64_t size, bool combine,
                       const SplitPlan *plan)
{
        size_t file = 0, piece = 0;
        uint64_t at = 0;

        for (size_t i = 0; i < plan->split_count; i++) {
                const Split *s = &plan->splits[i];
                uint64_t sum = 0;
                size_t paths = 0;

                g_assert_cmpuint(s->first, ==, piece);
                g_assert_cmpuint(s->count, >=, 1);
                g_assert_cmpuint(s->count, <=, combine ? SPLIT_MAX_PIECES : 1);
                for (; piece < s->first + s->count; piece++) {
                        const SplitPiece *p = &plan->pieces[piece];

                        while (at == files[file].size_bytes) {
                                file++;
                                at = 0;
                        }
                        g_assert_cmpuint(p->file, ==, file);
                        g_assert_cmpuint(p->offset, ==, at);
                        g_assert_cmpuint(p->length, >, 0);
                        at += p->length;
                        sum += p->length;
                        paths += strlen(files[file].path);
                        g_assert_cmpuint(at, <=, files[file].size_bytes);
                }
                g_assert_cmpuint(s->size_bytes, ==, sum);
                g_assert_cmpuint(sum, <=, size);
                if (s->count > 1)
                        g_assert_cmpuint(paths, <=, SPLIT_MAX_PATH_BYTES);
        }
        g_assert_cmpuint(piece, ==, plan->piece_count);
        for (; file < n; file++, at = 0)
                g_assert_cmpuint(at, ==, files[file].size_bytes);
}

static void test_every_byte_is_in_exactly_one_piece(void)
{
        for (int round = 0; round < 500; round++) {
                SplitFile files[40];
                size_t n = (size_t) g_test_rand_int_range(0, 40);
                uint64_t size = (uint64_t) g_test_rand_int_range(1, 5000);
                bool combine = g_test_rand_bit();
                SplitPlan *plan = NULL;

                for (size_t i = 0; i < n; i++)
                        files[i] = (SplitFile){
                                .path = "/some/file",
                                .size_bytes = (uint64_t) g_test_rand_int_range(
                                        0, g_test_rand_bit() ? 100 : 50000),
                        };
                g_assert_cmpint(split_plan_new(files, n, size, combine, &plan), ==, 0);
                check_plan(files, n, size, combine, plan);
                split_plan_free(plan);
        }
}

static void test_pieces_of_a_file_are_equally_long(void)
{
        SplitFile f = {.path = "a", .size_bytes = 1001};
        _cleanup_(split_plan_freep) SplitPlan *plan = NULL;

        g_assert_cmpint(split_plan_new(&f, 1, 1000, true, &plan), ==, 0);
        g_assert_cmpuint(plan->split_count, ==, 2);
        g_assert_cmpuint(plan->pieces[0].length, ==, 501);
        g_assert_cmpuint(plan->pieces[1].length, ==, 500);
}

static void test_small_files_share_a_split_up_to_its_limits(void)
{
        enum { N = 3 * SPLIT_MAX_PIECES + 1 };
        g_autofree SplitFile *files = g_new0(SplitFile, N);
        g_autofree char *path = g_strnfill(4000, 'x');
        _cleanup_(split_plan_freep) SplitPlan *few = NULL, *paths = NULL, *apart = NULL;

        for (size_t i = 0; i < N; i++)
                files[i] = (SplitFile){.path = "f", .size_bytes = 1};
        g_assert_cmpint(split_plan_new(files, N, MIB(64), true, &few), ==, 0);
        g_assert_cmpuint(few->split_count, ==, 4);
        check_plan(files, N, MIB(64), true, few);
        g_assert_cmpint(split_plan_new(files, N, MIB(64), false, &apart), ==, 0);
        g_assert_cmpuint(apart->split_count, ==, N);

        for (size_t i = 0; i < N; i++)
                files[i].path = path;
        g_assert_cmpint(split_plan_new(files, N, MIB(64), true, &paths), ==, 0);
        g_assert_cmpuint(paths->split_count, ==, N / (SPLIT_MAX_PATH_BYTES / 4000) + 1);
        check_plan(files, N, MIB(64), true, paths);
}

static void test_no_bytes_are_no_splits(void)
{
        SplitFile f = {.path = "a", .size_bytes = 0};
        _cleanup_(split_plan_freep) SplitPlan *plan = NULL;

        g_assert_cmpint(split_plan_new(&f, 1, 1, true, &plan), ==, 0);
        g_assert_cmpuint(plan->split_count, ==, 0);
        g_assert_cmpuint(plan->piece_count, ==, 0);
}

static void test_impossible_sizes_are_refused(void)
{
        SplitFile f = {.path = "a", .size_bytes = INT64_MAX};
        SplitFile two[] = {{.path = "a", .size_bytes = SPLIT_MAX_COUNT},
                           {.path = "b", .size_bytes = 1}};
        SplitPlan *plan = NULL;

        g_assert_cmpint(split_plan_new(&f, 1, 0, true, &plan), ==, -EINVAL);
        g_assert_cmpint(split_plan_new(&f, 1, 1, true, &plan), ==, -E2BIG);
        g_assert_cmpint(split_plan_new(two, 2, 1, false, &plan), ==, -E2BIG);
        g_assert_null(plan);
        g_assert_cmpint(split_plan_new(&f, 1, INT64_MAX, true, &plan), ==, 0);
        g_assert_cmpuint(plan->split_count, ==, 1);
        split_plan_free(plan);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/records/split/every-byte-is-in-exactly-one-piece",
                        test_every_byte_is_in_exactly_one_piece);
        g_test_add_func("/records/split/pieces-of-a-file-are-equally-long",
                        test_pieces_of_a_file_are_equally_long);
        g_test_add_func("/records/split/small-files-share-a-split-up-to-its-limits",
                        test_small_files_share_a_split_up_to_its_limits);
        g_test_add_func("/records/split/no-bytes-are-no-splits", test_no_bytes_are_no_splits);
        g_test_add_func("/records/split/impossible-sizes-are-refused",
                        test_impossible_sizes_are_refused);
        return g_test_run();
}
