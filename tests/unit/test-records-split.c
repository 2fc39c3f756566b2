/*
 * Splits: every byte of every file is in exactly one piece, in order, and no limit is passed.
 */
#include "records/split.h"

static void check_plan(const SplitFile *files, size_t n, uint64_t size, bool combine,
                       const SplitPlan *plan)
{
        g_autofree uint64_t *at = g_new0(uint64_t, n + 1); /* of each file: what is in a piece */
        size_t piece = 0;

        for (size_t i = 0; i < plan->split_count; i++) {
                const Split *s = &plan->splits[i];
                uint64_t sum = 0;
                size_t paths = 0;

                g_assert_cmpuint(s->first, ==, piece);
                g_assert_cmpuint(s->count, >=, 1);
                g_assert_cmpuint(s->count, <=, combine ? SPLIT_MAX_PIECES : 1);
                for (; piece < s->first + s->count; piece++) {
                        const SplitPiece *p = &plan->pieces[piece];

                        g_assert_cmpuint(p->file, <, n);
                        g_assert_cmpuint(p->offset, ==, at[p->file]);
                        g_assert_cmpuint(p->length, >, 0);
                        at[p->file] += p->length;
                        sum += p->length;
                        paths += strlen(files[p->file].path);
                        if (piece > s->first)
                                g_assert_cmpuint(p->file, >, p[-1].file);
                }
                g_assert_cmpuint(s->size_bytes, ==, sum);
                g_assert_cmpuint(sum, <=, size);
                if (s->count > 1)
                        g_assert_cmpuint(paths, <=, SPLIT_MAX_PATH_BYTES);
        }
        g_assert_cmpuint(piece, ==, plan->piece_count);
        for (size_t i = 0; i < n; i++)
                g_assert_cmpuint(at[i], ==, files[i].size_bytes);
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

/* A split by the paths in it. */
static GHashTable *splits_of(const SplitFile *files, size_t n, uint64_t size)
{
        GHashTable *set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        _cleanup_(split_plan_freep) SplitPlan *plan = NULL;

        g_assert_cmpint(split_plan_new(files, n, size, true, &plan), ==, 0);
        check_plan(files, n, size, true, plan);
        for (size_t i = 0; i < plan->split_count; i++) {
                const Split *s = &plan->splits[i];
                GString *text = g_string_new(NULL);

                for (size_t k = 0; k < s->count; k++) {
                        const SplitPiece *p = &plan->pieces[s->first + k];

                        g_string_append_printf(text, "%s+%" G_GUINT64_FORMAT " ",
                                               files[p->file].path, p->offset);
                }
                g_hash_table_add(set, g_string_free(text, FALSE));
        }
        return set;
}

/* Of any files, one more: whether large or small, first or last, one split that was there is gone
 * at most. */
static void test_another_file_changes_no_split_but_its_own(void)
{
        enum { N = 300 };

        for (int round = 0; round < 100; round++) {
                SplitFile files[N + 1], more[N + 1];
                size_t n = (size_t) g_test_rand_int_range(1, N);
                size_t place = (size_t) g_test_rand_int_range(0, (int) n + 1);
                GHashTable *before, *after;
                unsigned gone = 0, fresh = 0;
                GHashTableIter iter;
                gpointer split;

                for (size_t i = 0; i <= n; i++)
                        more[i] = (SplitFile){
                                .path = g_strdup_printf("/in/%d-%zu", g_test_rand_int(), i),
                                .size_bytes = (uint64_t) g_test_rand_int_range(
                                        0, g_test_rand_bit() ? 200 : 3000),
                        };
                memcpy(files, more, place * sizeof(*files));
                memcpy(files + place, more + place + 1, (n - place) * sizeof(*files));
                before = splits_of(files, n, 1000);
                after = splits_of(more, n + 1, 1000);

                g_hash_table_iter_init(&iter, before);
                while (g_hash_table_iter_next(&iter, &split, NULL))
                        gone += !g_hash_table_contains(after, split);
                g_hash_table_iter_init(&iter, after);
                while (g_hash_table_iter_next(&iter, &split, NULL))
                        fresh += !g_hash_table_contains(before, split);
                g_assert_cmpuint(gone, <=, 1);
                if (more[place].size_bytes > 500) {
                        g_assert_cmpuint(gone, ==, 0);
                        g_assert_cmpuint(fresh, <=, 3);
                }
                g_hash_table_unref(before);
                g_hash_table_unref(after);
                for (size_t i = 0; i <= n; i++)
                        g_free((char *) more[i].path);
        }
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

/* Half of what is left in equal shares, by the paper's rule; worked out by hand. */
static void test_half_of_what_is_left_is_dealt_out(void)
{
        static const struct {
                uint64_t files_mib[4];
                uint32_t slots;
                uint64_t lengths_mib[20]; /* up to a 0 */
        } cases[] = {
                {{1024}, 2, {256, 256, 128, 128, 64, 64, 64, 64}},
                {{2048}, 2, {256, 256, 256, 256, 256, 256, 128, 128, 64, 64, 64, 64}},
                {{512}, 1, {256, 128, 64, 64}},
                {{100}, 2, {50, 50}},
                {{72}, 2, {72}}, /* with a slop of an eighth */
                {{74}, 2, {37, 37}},
                {{10}, 8, {10}},
                {{256}, 0, {64, 64, 64, 64}},
                {{640, 40, 20, 8}, 1, {256, 192, 96, 48, 48, 40, 20, 8}},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(split_plan_freep) SplitPlan *plan = NULL;
                SplitFile files[4] = {};
                size_t n = 0, at = 0;

                for (; n < 4 && cases[i].files_mib[n] > 0; n++)
                        files[n] =
                                (SplitFile){.path = "a", .size_bytes = MIB(cases[i].files_mib[n])};
                g_assert_cmpint(split_plan_new_for_slots(files, n, cases[i].slots, &plan), ==, 0);
                for (; cases[i].lengths_mib[at] > 0; at++) {
                        g_assert_cmpuint(at, <, plan->split_count);
                        g_assert_cmpuint(plan->splits[at].size_bytes / MIB(1), ==,
                                         cases[i].lengths_mib[at]);
                }
                g_assert_cmpuint(at, ==, plan->split_count);
        }
}

static void test_a_digest_knows_every_cut(void)
{
        SplitFile files[] = {{.path = "a", .size_bytes = MIB(190)}, {.path = "b", .size_bytes = 1}};
        _cleanup_(split_plan_freep) SplitPlan *plan = NULL, *same = NULL, *other = NULL;
        uint64_t digest;

        g_assert_cmpint(split_plan_new_for_slots(files, 2, 1, &plan), ==, 0);
        g_assert_cmpint(split_plan_new_for_slots(files, 2, 1, &same), ==, 0);
        g_assert_cmpint(split_plan_new_for_slots(files, 2, 2, &other), ==, 0);
        g_assert_cmpuint(plan->split_count, ==, other->split_count);
        digest = split_plan_digest(plan);
        g_assert_cmpuint(split_plan_digest(same), ==, digest);
        g_assert_cmpuint(split_plan_digest(other), !=, digest);
        for (size_t i = 0; i < plan->piece_count; i++) {
                same->pieces[i].offset++;
                g_assert_cmpuint(split_plan_digest(same), !=, digest);
                same->pieces[i].offset--;
        }
        g_assert_cmpuint(split_plan_digest(same), ==, digest);
}

static void test_every_byte_is_some_slots(void)
{
        for (int round = 0; round < 500; round++) {
                SplitFile files[40];
                size_t n = (size_t) g_test_rand_int_range(0, 40);
                uint32_t slots = (uint32_t) g_test_rand_int() >> g_test_rand_int_range(0, 32);
                _cleanup_(split_plan_freep) SplitPlan *plan = NULL;
                size_t last = SIZE_MAX;

                for (size_t i = 0; i < n; i++)
                        files[i] = (SplitFile){
                                .path = "/some/file",
                                .size_bytes = (uint64_t) (uint32_t) g_test_rand_int() >>
                                              g_test_rand_int_range(0, 32),
                        };
                g_assert_cmpint(split_plan_new_for_slots(files, n, slots, &plan), ==, 0);
                check_plan(files, n, MIB(256) / 8 * 9, false, plan);
                for (size_t i = 0; i < plan->piece_count; i++) {
                        const SplitPiece *p = &plan->pieces[i];

                        if (p->file == last) /* cut, and so no sliver */
                                g_assert_cmpuint(p->length, >=, MIB(64) / 2);
                        last = p->file;
                }
        }
        SplitFile whole = {.path = "a", .size_bytes = GIB(3), .whole = true};
        _cleanup_(split_plan_freep) SplitPlan *plan = NULL;

        g_assert_cmpint(split_plan_new_for_slots(&whole, 1, 2, &plan), ==, 0);
        g_assert_cmpuint(plan->split_count, ==, 1);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/records/split/every-byte-is-in-exactly-one-piece",
                        test_every_byte_is_in_exactly_one_piece);
        g_test_add_func("/records/split/another-file-changes-no-split-but-its-own",
                        test_another_file_changes_no_split_but_its_own);
        g_test_add_func("/records/split/pieces-of-a-file-are-equally-long",
                        test_pieces_of_a_file_are_equally_long);
        g_test_add_func("/records/split/small-files-share-a-split-up-to-its-limits",
                        test_small_files_share_a_split_up_to_its_limits);
        g_test_add_func("/records/split/no-bytes-are-no-splits", test_no_bytes_are_no_splits);
        g_test_add_func("/records/split/impossible-sizes-are-refused",
                        test_impossible_sizes_are_refused);
        g_test_add_func("/records/split/half-of-what-is-left-is-dealt-out",
                        test_half_of_what_is_left_is_dealt_out);
        g_test_add_func("/records/split/a-digest-knows-every-cut", test_a_digest_knows_every_cut);
        g_test_add_func("/records/split/every-byte-is-some-slots", test_every_byte_is_some_slots);
        return g_test_run();
}
