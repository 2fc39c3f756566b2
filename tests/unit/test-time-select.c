/*
 * Marzullo's intersection: the majority's interval, and nothing without a majority.
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
        return g_test_run();
}
