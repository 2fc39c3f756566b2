/*
 * The maths, held to what must be true of any numbers: thousands of exchanges at random, honest and
 * absurd, up to the ends of what 64 bits hold (the year 2262), each judged by 128-bit arithmetic or
 * by a theorem.
 *
 * The seed is GLib's: a failure prints it, and --seed repeats it.
 */
#include <math.h>

#include "timekeeping/cristian.h"
#include "timekeeping/discipline.h"
#include "timekeeping/history.h"

#define ROUNDS 20000

typedef __int128 Wide; /* in which nothing here overflows */

static uint64_t random_bits(void)
{
        return (uint64_t) g_test_rand_int() << 32 | (uint32_t) g_test_rand_int();
}

/* In [low, high]. */
static int64_t between(int64_t low, int64_t high)
{
        uint64_t width = (uint64_t) high - (uint64_t) low;

        if (width == UINT64_MAX)
                return (int64_t) random_bits();
        return (int64_t) ((uint64_t) low + random_bits() % (width + 1));
}

/* Small ones as often as large ones. */
static int64_t any_length(int64_t most)
{
        return between(0, most) >> g_test_rand_int_range(0, 63);
}

static int64_t any_time(void)
{
        switch (g_test_rand_int_range(0, 6)) {
        case 0:
                return any_length(INT64_MAX);
        case 1:
                return INT64_MAX - any_length(INT64_MAX);
        case 2:
                return INT64_MIN + any_length(INT64_MAX);
        case 3:
                return -any_length(INT64_MAX);
        case 4:
                return INT64_C(1795691595057862904) + any_length(NSEC_PER_SEC);
        default:
                return between(INT64_MIN, INT64_MAX);
        }
}

static bool is_within(Wide v, Wide limit)
{
        return v <= limit && v >= -limit;
}

/* Whatever the four numbers: the answer is the exact one, or the refusal that the definition
 * demands. */
static void test_any_four_times(void)
{
        unsigned accepted = 0;

        for (int i = 0; i < ROUNDS; i++) {
                const int64_t t[4] = {any_time(), any_time(), any_time(), any_time()};
                int64_t u[4] = {t[0], t[1], t[2], t[3]};
                CristianSample s = {1, 2, 3};
                Wide rtt, sum;
                int64_t set;
                int r;

                if (i % 2) { /* half of them in order, or nearly none would be */
                        u[0] = any_length(INT64_MAX);
                        u[3] = u[0] + any_length(INT64_MAX - u[0]);
                        u[1] = any_length(INT64_MAX);
                        u[2] = u[1] + any_length(MIN(u[3] - u[0], INT64_MAX - u[1]));
                }
                rtt = ((Wide) u[3] - u[0]) - ((Wide) u[2] - u[1]);
                sum = ((Wide) u[1] - u[0]) + ((Wide) u[2] - u[3]);
                r = cristian_sample(u, &s);
                if (u[0] < 0 || u[1] < 0 || u[2] < 0 || u[3] < 0)
                        g_assert_cmpint(r, ==, -ERANGE);
                else if (u[3] < u[0] || u[2] < u[1] || rtt < 0)
                        g_assert_cmpint(r, ==, -EBADMSG);
                else
                        g_assert_cmpint(r, ==, 0);
                if (r < 0) {
                        g_assert_true(s.offset_ns == 1 && s.rtt_ns == 2 && s.bound_ns == 3);
                        g_assert_cmpint(cristian_time_to_set(u, &set), ==, r);
                        continue;
                }
                accepted++;
                g_assert_true(s.rtt_ns == rtt);
                g_assert_true(is_within(2 * (Wide) s.offset_ns - sum, 1));
                g_assert_true(2 * (Wide) s.bound_ns >= rtt && 2 * (Wide) s.bound_ns <= rtt + 2);
                r = cristian_time_to_set(u, &set);
                if ((Wide) u[2] + s.rtt_ns / 2 > INT64_MAX)
                        g_assert_cmpint(r, ==, -ERANGE);
                else
                        g_assert_true(r == 0 && is_within(2 * ((Wide) set - u[2]) - rtt, 1));
        }
        g_assert_cmpuint(accepted, >, ROUNDS / 4);
}

typedef struct Honest {
        int64_t offset, there, stay, back; /* the truth: server − client, and what each part took */
        int64_t t[4];
} Honest;

/* An exchange as it could be: any offset, any delay each way, up to 2262. */
static Honest any_honest(void)
{
        for (;;) {
                Honest h = {
                        .offset = (g_test_rand_bit() ? 1 : -1) * any_length(INT64_MAX),
                        .there = any_length(10 * NSEC_PER_SEC),
                        .stay = any_length(10 * NSEC_PER_SEC),
                        .back = any_length(10 * NSEC_PER_SEC),
                };
                Wide t1 = any_length(INT64_MAX), t2 = t1 + h.offset + h.there, t3 = t2 + h.stay;
                Wide t4 = t1 + h.there + h.stay + h.back;

                if (t2 < 0 || t3 > INT64_MAX || t4 > INT64_MAX)
                        continue;
                h.t[0] = (int64_t) t1;
                h.t[1] = (int64_t) t2;
                h.t[2] = (int64_t) t3;
                h.t[3] = (int64_t) t4;
                return h;
        }
}

/* Cristian 1989: however the round trip is divided, the truth is within its half, less what each
 * way takes at least. */
static void test_the_bound_holds_the_truth_whatever_the_asymmetry(void)
{
        for (int i = 0; i < ROUNDS; i++) {
                Honest h = any_honest();
                int64_t least = any_length(MIN(h.there, h.back)), set;
                CristianSample s;

                g_assert_cmpint(cristian_sample(h.t, &s), ==, 0);
                g_assert_true(s.rtt_ns == h.there + h.back);
                g_assert_true(is_within((Wide) s.offset_ns - h.offset, s.bound_ns));
                g_assert_true(
                        is_within((Wide) s.offset_ns - h.offset, cristian_bound(s.rtt_ns, least)));
                if (cristian_time_to_set(h.t, &set) >= 0)
                        g_assert_true(
                                is_within((Wide) set - ((Wide) h.t[3] + h.offset), s.bound_ns));
        }
}

/* All of it on one way: the bound is reached, so no smaller one would do. */
static void test_the_bound_is_tight(void)
{
        for (int i = 0; i < ROUNDS; i++) {
                int64_t delay = any_length(10 * NSEC_PER_SEC), t1 = any_length(INT64_MAX / 2);
                const int64_t t[4] = {t1, t1 + delay, t1 + delay, t1 + delay};
                CristianSample s;

                g_assert_cmpint(cristian_sample(t, &s), ==, 0);
                g_assert_true(is_within(2 * (Wide) s.offset_ns - delay, 1));
                g_assert_cmpint(s.bound_ns, <=, s.offset_ns + 2);
        }
}

static void test_signs(void)
{
        for (int i = 0; i < ROUNDS; i++) {
                Honest h = any_honest();
                const Wide end = (Wide) MAX(h.t[2], h.t[3]);
                const int64_t mirrored[4] = {(int64_t) (end - h.t[3]), (int64_t) (end - h.t[2]),
                                             (int64_t) (end - h.t[1]), (int64_t) (end - h.t[0])};
                int64_t ahead = any_length(INT64_MAX - MAX(h.t[2], h.t[3]));
                const int64_t server_ahead[4] = {h.t[0], h.t[1] + ahead, h.t[2] + ahead, h.t[3]};
                const int64_t both_ahead[4] = {h.t[0] + ahead, h.t[1] + ahead, h.t[2] + ahead,
                                               h.t[3] + ahead};
                CristianSample s, other;

                g_assert_cmpint(cristian_sample(h.t, &s), ==, 0);
                /* Time run backwards swaps the ends' parts: the sign changes and nothing else. */
                g_assert_cmpint(cristian_sample(mirrored, &other), ==, 0);
                g_assert_true(is_within((Wide) s.offset_ns + other.offset_ns, 1));
                g_assert_cmpint(other.rtt_ns, ==, s.rtt_ns);
                g_assert_cmpint(other.bound_ns, ==, s.bound_ns);
                /* A server that is ahead by more has an offset that is more by that: > 0 is
                 * ahead. */
                g_assert_cmpint(cristian_sample(server_ahead, &other), ==, 0);
                g_assert_true((Wide) other.offset_ns - s.offset_ns == ahead);
                g_assert_cmpint(other.rtt_ns, ==, s.rtt_ns);
                /* Which year it is makes no difference. */
                g_assert_cmpint(cristian_sample(both_ahead, &other), ==, 0);
                g_assert_cmpint(other.offset_ns, ==, s.offset_ns);
                g_assert_cmpint(other.rtt_ns, ==, s.rtt_ns);
        }
}

/* A reply that came before it was sent, by any clock's reckoning, is refused, however little is
 * wrong. */
static void test_negative_delays_are_refused(void)
{
        for (int i = 0; i < ROUNDS; i++) {
                Honest h = any_honest();
                int64_t early = 1 + any_length(NSEC_PER_SEC);
                int64_t no_time[4] = {h.t[0], h.t[1], h.t[2], h.t[0]};
                CristianSample s;

                no_time[2] = h.t[1] + MIN(early, INT64_MAX - h.t[1]);
                if (no_time[2] > h.t[1]) /* a stay at the server within no time at all */
                        g_assert_cmpint(cristian_sample(no_time, &s), ==, -EBADMSG);
                if (h.t[1] >= early) {
                        const int64_t t[4] = {h.t[0], h.t[1], h.t[1] - early, h.t[3]};

                        g_assert_cmpint(cristian_sample(t, &s), ==, -EBADMSG);
                }
                if (h.t[0] >= early) {
                        const int64_t t[4] = {h.t[0], h.t[1], h.t[2], h.t[0] - early};

                        g_assert_cmpint(cristian_sample(t, &s), ==, -EBADMSG);
                }
        }
}

/* RFC 5905 §11.2: delay/2 + dispersion; what a server claims beyond all reason is only infinitely
 * far. */
static void test_root_distances(void)
{
        for (int i = 0; i < ROUNDS; i++) {
                TimeClaim c = {
                        .synchronised = true,
                        .stratum = 1,
                        .root_delay_ns = any_time(),
                        .root_dispersion_ns = any_time(),
                };
                int64_t limit = any_length(INT64_MAX), distance = time_claim_distance_ns(&c);
                Wide exact = (Wide) c.root_delay_ns / 2 + c.root_dispersion_ns;

                if (c.root_delay_ns < 0 || c.root_dispersion_ns < 0) {
                        g_assert_cmpint(distance, ==, INT64_MAX);
                        g_assert_cmpint(time_claim_check(&c, limit), ==, TIME_REJECT_ROOT_DISTANCE);
                        continue;
                }
                g_assert_true(distance == INT64_MAX ? exact >= INT64_MAX - 1
                                                    : is_within(distance - exact, 1));
                if (exact > (Wide) limit + 1)
                        g_assert_cmpint(time_claim_check(&c, limit), ==, TIME_REJECT_ROOT_DISTANCE);
                if (exact < (Wide) limit - 1)
                        g_assert_cmpint(time_claim_check(&c, limit), ==, TIME_ACCEPTED);
        }
}

/*
 * An oscillator of constant error, honest servers, delays of any distribution, queues on one way
 * only: where the server's clock is stays within the line's bound, now and an hour later, after
 * every sample.
 */
static void test_the_lines_bound_holds_the_truth(void)
{
        for (int round = 0; round < 150; round++) {
                double ppm = g_test_rand_double_range(-300, 300);
                double there = pow(10, g_test_rand_double_range(4, 8));
                double back = pow(10, g_test_rand_double_range(4, 8));
                int64_t free_ns = any_length(INT64_C(1000000) * NSEC_PER_SEC);
                int64_t start = free_ns;
                int64_t ahead = (g_test_rand_bit() ? 1 : -1) * any_length(INT64_MAX / 4);
                History h;

                history_init(&h, 0, 100, 1);
                h.prior.slope_sd = INFINITY; /* nothing is known beforehand */
                for (int i = 0; i < 100; i++) {
                        int64_t d1 = (int64_t) (-there * log(g_test_rand_double_range(1e-9, 1)));
                        int64_t d2 = (int64_t) (-back * log(g_test_rand_double_range(1e-9, 1)));
                        double passed = (double) (free_ns - start);
                        double truth = passed * ppm * 1e-6; /* beyond @ahead */
                        HistorySample s = {
                                .free_ns = free_ns,
                                .ahead_ns = ahead + (int64_t) llround(truth) + (d1 - d2) / 2,
                                .rtt_ns = d1 + d2,
                                .half_ns = cristian_bound(d1 + d2, 0) + 1,
                        };
                        TimeEstimate e;

                        history_add(&h, &s);
                        g_assert_cmpint(history_fit(&h, &e), ==, 0);
                        g_assert_cmpfloat(fabs((double) (e.ahead_ns - ahead) - truth), <=,
                                          e.bound_ns + 2);
                        estimate_advance(&e, free_ns + 3600 * NSEC_PER_SEC, 1);
                        truth += 3600e9 * ppm * 1e-6;
                        g_assert_cmpfloat(fabs((double) (e.ahead_ns - ahead) - truth), <=,
                                          e.bound_ns + 2);
                        free_ns += NSEC_PER_SEC + any_length(100 * NSEC_PER_SEC);
                }
        }
}

/* Whatever is decided in turn: the clock reaches the line, never runs backwards, and never leaves
 * the kernel's limits. */
static void test_the_clock_reaches_the_line(void)
{
        static const DisciplineLimits limits = {
                .frequency_ppm = 500, .slew_ppm = 500, .wander_ppm = 1};

        for (int round = 0; round < 300; round++) {
                TimeReading now = {.real_ns = any_length(INT64_MAX / 2),
                                   .mono_ns = any_length(INT64_C(1000000) * NSEC_PER_SEC)};
                double ppm = g_test_rand_double_range(-400, 400);
                TimeDiscipline d;

                discipline_init(&d, &limits, &now, 0, 100);
                for (int i = 0; i < 20; i++) {
                        int64_t before = discipline_free_ns(&d, now.mono_ns), wait;
                        int64_t off = (g_test_rand_bit() ? 1 : -1) * any_length(NSEC_PER_SEC / 10);
                        TimeEstimate line = {
                                .free_ns = before,
                                .ahead_ns = now.mono_ns + d.base_ns + off - before,
                                .frequency_ppm = ppm,
                                .count = 4,
                        };

                        g_assert_cmpint(
                                discipline_update(&d, &line, now.mono_ns, 4, DISCIPLINE_RUNNING),
                                ==, 0);
                        g_assert_true(is_within(discipline_offset_ns(&d, now.mono_ns) - off, 2));
                        g_assert_cmpfloat(fabs(discipline_rate_ppm(&d)), <=, 500.001);
                        wait = d.slew_end_ns == INT64_MAX ? NSEC_PER_SEC
                                                          : d.slew_end_ns - now.mono_ns;
                        g_assert_cmpint(wait, >, 0);
                        now.mono_ns += wait;
                        (void) discipline_tick(&d, now.mono_ns);
                        g_assert_cmpint(discipline_free_ns(&d, now.mono_ns), >, before);
                        /* The product of two rates, 500 ppm each, is left out: so much of a slew
                         * stays. */
                        g_assert_true(is_within(discipline_offset_ns(&d, now.mono_ns),
                                                llabs(off) / 1000 + 2));
                }
        }
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
#define T(name, f) g_test_add_func("/timekeeping/properties/" name, f)
        T("any-four-times", test_any_four_times);
        T("the-bound-holds-the-truth-whatever-the-asymmetry",
          test_the_bound_holds_the_truth_whatever_the_asymmetry);
        T("the-bound-is-tight", test_the_bound_is_tight);
        T("signs", test_signs);
        T("negative-delays-are-refused", test_negative_delays_are_refused);
        T("root-distances", test_root_distances);
        T("the-lines-bound-holds-the-truth", test_the_lines_bound_holds_the_truth);
        T("the-clock-reaches-the-line", test_the_clock_reaches_the_line);
        return g_test_run();
}
