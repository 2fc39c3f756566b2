/*
 * Marzullo's intersection: the majority's interval, and nothing without a majority; and the
 * interval that holds the truth in spite of liars.
 */
#include "timekeeping/select.h"

/* The example of the paper's idea as Wikipedia and RFC 5905 show it: 10 ± 2, 12 ± 1, 11 ± 1. */
static void test_three_overlapping_intervals_give_their_intersection(void)
{
        static const SelectInterval v[] = {{8, 12}, {11, 13}, {10, 12}};
        SelectInterval common;

        g_assert_cmpint(select_intersect(v, 3, &common), ==, 3);
        g_assert_cmpint(common.low_ns, ==, 11);
        g_assert_cmpint(common.high_ns, ==, 12);
}

/* 8–12, 11–13, 14–15: two of three. */
static void test_one_outside_is_outvoted(void)
{
        static const SelectInterval v[] = {{8, 12}, {11, 13}, {14, 15}};
        SelectInterval common;

        g_assert_cmpint(select_intersect(v, 3, &common), ==, 2);
        g_assert_cmpint(common.low_ns, ==, 11);
        g_assert_cmpint(common.high_ns, ==, 12);
        g_assert_true(select_overlap(v[0], common));
        g_assert_false(select_overlap(v[2], common));
}

/* However exact the liar says it is. */
static void test_a_precise_liar_is_outvoted(void)
{
        static const SelectInterval v[] = {
                {-100, 100}, {-90, 110}, {500000000, 500000000}, {-95, 105}};
        SelectInterval common;

        g_assert_cmpint(select_intersect(v, 4, &common), ==, 3);
        g_assert_cmpint(common.low_ns, ==, -90);
        g_assert_cmpint(common.high_ns, ==, 100);
}

static void test_half_is_no_majority(void)
{
        static const SelectInterval v[] = {{0, 1}, {0, 1}, {5, 6}, {5, 6}};
        SelectInterval common = {3, 3};

        g_assert_cmpint(select_intersect(v, 4, &common), ==, -EDOM);
        g_assert_cmpint(select_intersect(v + 1, 2, &common), ==, -EDOM);
        g_assert_cmpint(common.low_ns, ==, 3);
        g_assert_cmpint(select_intersect(v, 0, &common), ==, 0);
}

static void test_touching_intervals_overlap(void)
{
        static const SelectInterval v[] = {{0, 5}, {5, 9}};
        SelectInterval common;

        g_assert_cmpint(select_intersect(v, 2, &common), ==, 2);
        g_assert_cmpint(common.low_ns, ==, 5);
        g_assert_cmpint(common.high_ns, ==, 5);
}

static void test_extremes_do_not_overflow(void)
{
        static const SelectInterval v[] = {{INT64_MIN, INT64_MAX}, {INT64_MIN, INT64_MAX}, {0, 0}};
        SelectInterval common;

        g_assert_cmpint(select_intersect(v, 2, &common), ==, 2);
        g_assert_cmpint(common.low_ns, ==, INT64_MIN);
        g_assert_cmpint(select_intersect(v, 3, &common), ==, 3);
        g_assert_cmpint(common.high_ns, ==, 0);
}

/* Against a search over every point: as many share the result as share any point at all. */
static void test_no_point_is_shared_by_more(void)
{
        for (int round = 0; round < 3000; round++) {
                size_t n = (size_t) g_test_rand_int_range(1, 12), most = 0, inside = 0;
                SelectInterval v[12], common = {};
                int r;

                for (size_t i = 0; i < n; i++) {
                        v[i].low_ns = g_test_rand_int_range(0, 30);
                        v[i].high_ns = v[i].low_ns + g_test_rand_int_range(0, 12);
                }
                for (int64_t at = 0; at < 50; at++) {
                        size_t here = 0;

                        for (size_t i = 0; i < n; i++)
                                here += v[i].low_ns <= at && at <= v[i].high_ns;
                        most = MAX(most, here);
                }
                r = select_intersect(v, n, &common);
                if (most * 2 <= n) {
                        g_assert_cmpint(r, ==, -EDOM);
                        continue;
                }
                g_assert_cmpint(r, ==, (int) most);
                for (size_t i = 0; i < n; i++)
                        inside += v[i].low_ns <= common.low_ns && common.high_ns <= v[i].high_ns;
                g_assert_cmpuint(inside, ==, most);
        }
}

/* Three honest clocks that are right to ± 10, and a liar that overlaps them all: the most popular
 * place misses the truth. */
static void test_a_liar_that_overlaps_all_does_not_cut_the_truth_off(void)
{
        static const SelectInterval v[] = {{-10, 10}, {-9, 11}, {-11, 9}, {8, 20}};
        SelectInterval common, truth;

        g_assert_cmpint(select_intersect(v, 4, &common), ==, 4);
        g_assert_cmpint(common.low_ns, ==, 8);
        g_assert_cmpint(select_tolerate(v, 4, 1, &truth), ==, 0);
        g_assert_cmpint(truth.low_ns, ==, -9);
        g_assert_cmpint(truth.high_ns, ==, 10);
        g_assert_cmpint(select_tolerate(v, 4, 0, &truth), ==, 0);
        g_assert_cmpint(truth.low_ns, ==, 8);
        g_assert_cmpint(truth.high_ns, ==, 9);
}

static void test_too_few_agree(void)
{
        static const SelectInterval v[] = {{0, 1}, {5, 6}, {8, 9}};
        SelectInterval truth = {3, 3};

        g_assert_cmpint(select_tolerate(v, 3, 1, &truth), ==, -EDOM);
        g_assert_cmpint(truth.low_ns, ==, 3);
        g_assert_cmpint(select_tolerate(v, 3, 2, &truth), ==, 0);
        g_assert_cmpint(truth.high_ns, ==, 9);
        g_assert_cmpint(select_tolerate(v, 3, 9, &truth), ==, 0);
        g_assert_cmpint(truth.low_ns, ==, 0);
        g_assert_cmpint(select_tolerate(v, 0, 0, &truth), ==, -EDOM);
}

/* Marzullo 1990, theorem 1: with at most f liars of n the result holds the truth; and no point of
 * it is there without a reason: its ends are shared by n − f, and nothing outside is. */
static void test_the_truth_is_inside_whatever_a_minority_says(void)
{
        for (int round = 0; round < 5000; round++) {
                size_t n = (size_t) g_test_rand_int_range(1, 12), faults = (n - 1) / 2;
                int64_t truth = g_test_rand_int_range(-20, 20);
                SelectInterval v[12], ret = {};

                for (size_t i = 0; i < n; i++) {
                        bool honest = i >= faults;

                        v[i].low_ns = honest ? truth - g_test_rand_int_range(0, 15)
                                             : g_test_rand_int_range(-40, 40);
                        v[i].high_ns =
                                (honest ? truth : v[i].low_ns) + g_test_rand_int_range(0, 15);
                }
                g_assert_cmpint(select_tolerate(v, n, faults, &ret), ==, 0);
                g_assert_cmpint(ret.low_ns, <=, truth);
                g_assert_cmpint(truth, <=, ret.high_ns);
                for (int64_t at = -80; at < 80; at++) {
                        size_t here = 0;

                        for (size_t i = 0; i < n; i++)
                                here += v[i].low_ns <= at && at <= v[i].high_ns;
                        if (at == ret.low_ns || at == ret.high_ns)
                                g_assert_cmpuint(here, >=, n - faults);
                        if (at < ret.low_ns || at > ret.high_ns)
                                g_assert_cmpuint(here, <, n - faults);
                }
        }
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
#define T(name, f) g_test_add_func("/timekeeping/select/" name, f)
        T("three-overlapping-give-their-intersection",
          test_three_overlapping_intervals_give_their_intersection);
        T("one-outside-is-outvoted", test_one_outside_is_outvoted);
        T("a-precise-liar-is-outvoted", test_a_precise_liar_is_outvoted);
        T("half-is-no-majority", test_half_is_no_majority);
        T("touching-intervals-overlap", test_touching_intervals_overlap);
        T("extremes-do-not-overflow", test_extremes_do_not_overflow);
        T("no-point-is-shared-by-more", test_no_point_is_shared_by_more);
        T("a-liar-that-overlaps-all-does-not-cut-the-truth-off",
          test_a_liar_that_overlaps_all_does_not_cut_the_truth_off);
        T("too-few-agree", test_too_few_agree);
        T("the-truth-is-inside-whatever-a-minority-says",
          test_the_truth_is_inside_whatever_a_minority_says);
        return g_test_run();
}
