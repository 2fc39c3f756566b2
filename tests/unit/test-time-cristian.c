/*
 * Cristian's exchange: signs, bounds, and that no four numbers can overflow it.
 *
 * Expected values are worked by hand from the formula, or by 128-bit arithmetic.
 */
#include "timekeeping/cristian.h"

#define MS (INT64_C(1000) * NSEC_PER_USEC)
#define NOON (INT64_C(1781100000) * NSEC_PER_SEC)

static CristianSample sample(int64_t t1, int64_t t2, int64_t t3, int64_t t4)
{
        CristianSample s;

        g_assert_cmpint(cristian_sample((int64_t[]){t1, t2, t3, t4}, &s), ==, 0);
        return s;
}

/* Server one second ahead, symmetric 200 ms path. */
static void test_offset_is_positive_when_server_is_ahead(void)
{
        CristianSample s = sample(NOON, NOON + 1100 * MS, NOON + 1100 * MS, NOON + 200 * MS);

        g_assert_cmpint(s.offset_ns, ==, 1000 * MS);
        g_assert_cmpint(s.rtt_ns, ==, 200 * MS);
        g_assert_cmpint(s.bound_ns, ==, 100 * MS);
}

static void test_offset_is_negative_when_server_is_behind(void)
{
        CristianSample s = sample(NOON, NOON - 900 * MS, NOON - 900 * MS, NOON + 200 * MS);

        g_assert_cmpint(s.offset_ns, ==, -1000 * MS);
}

static void test_time_at_the_server_is_not_time_on_the_wire(void)
{
        CristianSample s = sample(NOON, NOON + 5 * MS, NOON + 35 * MS, NOON + 40 * MS);

        g_assert_cmpint(s.offset_ns, ==, 0);
        g_assert_cmpint(s.rtt_ns, ==, 10 * MS);
}

/* All 80 ms were spent on the way there: the offset is wrong by 40 ms, and its bound says so. */
static void test_asymmetry_passes_into_the_offset_and_stays_in_the_bound(void)
{
        CristianSample s = sample(NOON, NOON + 80 * MS, NOON + 80 * MS, NOON + 80 * MS);

        g_assert_cmpint(s.offset_ns, ==, 40 * MS);
        g_assert_cmpint(s.bound_ns, ==, 40 * MS);
}

/* The lecture's rule: at T4 the clock is set to T3 + RTT/2, which is T4 + offset. */
static void test_time_to_set_is_t3_and_half_the_round_trip(void)
{
        int64_t t[] = {NOON, NOON + 1100 * MS, NOON + 1100 * MS, NOON + 200 * MS}, set_ns;

        g_assert_cmpint(cristian_time_to_set(t, &set_ns), ==, 0);
        g_assert_cmpint(set_ns, ==, NOON + 1200 * MS);
        g_assert_cmpint(set_ns, ==, t[3] + sample(t[0], t[1], t[2], t[3]).offset_ns);
}

static void test_contradicting_times_are_refused(void)
{
        static const int64_t bad[][4] = {
                {NOON, NOON + 1, NOON + 100,
                 NOON + 50}, /* the server took longer than it all did */
                {NOON, NOON + 100, NOON + 99, NOON + 200}, /* T3 < T2 */
                {NOON, NOON + 1, NOON + 2, NOON - 1},      /* T4 < T1: our clock was stepped */
        };
        CristianSample s = {.rtt_ns = 7};
        int64_t set_ns = 7;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                g_assert_cmpint(cristian_sample(bad[i], &s), ==, -EBADMSG);
                g_assert_cmpint(cristian_time_to_set(bad[i], &set_ns), ==, -EBADMSG);
        }
        g_assert_cmpint(s.rtt_ns, ==, 7);
        g_assert_cmpint(set_ns, ==, 7);
}

/* 1900, which is where NTP's era begins: a server that sends zeroes. */
static void test_times_before_1970_are_refused(void)
{
        int64_t year_1900 = INT64_C(-2208988800) * NSEC_PER_SEC, set_ns;
        CristianSample s;

        g_assert_cmpint(cristian_sample((int64_t[]){NOON, year_1900, year_1900, NOON + MS}, &s), ==,
                        -ERANGE);
        g_assert_cmpint(cristian_time_to_set((int64_t[]){-1, 5, 5, 5}, &set_ns), ==, -ERANGE);
        g_assert_cmpint(cristian_sample((int64_t[]){0, INT64_MIN, INT64_MAX, 1}, &s), ==, -ERANGE);
}

/* The last nanosecond of int64_t is 2262-04-11. */
static void test_nothing_overflows_up_to_the_year_2262(void)
{
        CristianSample s = sample(0, INT64_MAX, INT64_MAX, 0);
        int64_t set_ns;

        g_assert_cmpint(s.offset_ns, ==, INT64_MAX);
        g_assert_cmpint(s.rtt_ns, ==, 0);
        s = sample(INT64_MAX, 0, 0, INT64_MAX);
        g_assert_cmpint(s.offset_ns, ==, -INT64_MAX);
        s = sample(0, 0, 0, INT64_MAX);
        g_assert_cmpint(s.rtt_ns, ==, INT64_MAX);
        g_assert_cmpint(cristian_time_to_set((int64_t[]){0, INT64_MAX, INT64_MAX, 4}, &set_ns), ==,
                        -ERANGE);
}

/* For any true offset and any two delays, the bound holds; a 128-bit sum gives the same offset. */
static void test_the_bound_holds_for_any_delays(void)
{
        for (int i = 0; i < 20000; i++) {
                int64_t truth = g_test_rand_int_range(-2000000, 2000000) * INT64_C(1001);
                int64_t there = g_test_rand_int_range(0, 1 << 30),
                        back = g_test_rand_int_range(0, 1 << 30);
                int64_t busy = g_test_rand_int_range(0, 1 << 20);
                int64_t t2 = NOON + there + truth, t4 = NOON + there + busy + back;
                CristianSample s = sample(NOON, t2, t2 + busy, t4);
                __int128 sum = (__int128) (t2 - NOON) + (t2 + busy - t4);

                g_assert_cmpint(s.rtt_ns, ==, there + back);
                g_assert_cmpint(s.offset_ns, ==, (int64_t) (sum >> 1));
                g_assert_cmpint(truth, >=, s.offset_ns - s.bound_ns);
                g_assert_cmpint(truth, <=, s.offset_ns + s.bound_ns);
        }
}

/* Cristian's e = (RTT − 2 min) / 2. */
static void test_a_known_least_delay_tightens_the_bound(void)
{
        g_assert_cmpint(cristian_bound(10 * MS, 0), ==, 5 * MS);
        g_assert_cmpint(cristian_bound(10 * MS, 4 * MS), ==, 1 * MS);
        g_assert_cmpint(cristian_bound(11, 0), ==, 6);
        g_assert_cmpint(cristian_bound(10 * MS, 5 * MS), ==, 1);
        g_assert_cmpint(cristian_bound(10 * MS, INT64_MAX), ==, 1);
        g_assert_cmpint(cristian_bound(INT64_MAX, 0), ==, INT64_MAX / 2 + 1);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
#define T(name, f) g_test_add_func("/timekeeping/cristian/" name, f)
        T("offset-is-positive-when-server-is-ahead", test_offset_is_positive_when_server_is_ahead);
        T("offset-is-negative-when-server-is-behind",
          test_offset_is_negative_when_server_is_behind);
        T("time-at-the-server-is-not-on-the-wire", test_time_at_the_server_is_not_time_on_the_wire);
        T("asymmetry-stays-in-the-bound",
          test_asymmetry_passes_into_the_offset_and_stays_in_the_bound);
        T("time-to-set-is-t3-and-half-rtt", test_time_to_set_is_t3_and_half_the_round_trip);
        T("contradicting-times-are-refused", test_contradicting_times_are_refused);
        T("times-before-1970-are-refused", test_times_before_1970_are_refused);
        T("nothing-overflows-up-to-2262", test_nothing_overflows_up_to_the_year_2262);
        T("the-bound-holds-for-any-delays", test_the_bound_holds_for_any_delays);
        T("a-known-least-delay-tightens-the-bound", test_a_known_least_delay_tightens_the_bound);
        return g_test_run();
}
