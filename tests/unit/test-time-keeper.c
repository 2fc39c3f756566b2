/*
 * The keeper against a clock and servers made by hand: steps, slews, suspends, leap seconds, and
 * servers that lie.
 */
#include <math.h>

#include "timekeeping/keeper.h"

#define US NSEC_PER_USEC
#define MS (1000 * NSEC_PER_USEC)
#define S NSEC_PER_SEC
#define NOON (INT64_C(1781100000) * S)     /* 2026-06-10 */
#define LEAP_DAY (INT64_C(1782864000) * S) /* 2026-07-01 00:00:00 UTC */
#define WAY (500 * US)
#define SILENT INT64_MIN

/* A perfect oscillator: the free-running clock is true but for its base. */
typedef struct Bench {
        TimeKeeper *keeper;
        KeeperDecision last;
        int64_t true_ns; /* UTC */
        int64_t mono_ns;
        int64_t asleep_ns;
        int64_t real_ns;
        double rate_ppm;
        unsigned steps;
        KeeperEvent events;
        unsigned servers;
        int64_t lies_ns[KEEPER_SERVERS_MAX];
        TimeClaim claims[KEEPER_SERVERS_MAX];
        TimeReject verdicts[KEEPER_SERVERS_MAX];
} Bench;

static TimeReading reading(const Bench *b)
{
        return (TimeReading){b->real_ns, b->mono_ns, b->mono_ns + b->asleep_ns};
}

static void pass(Bench *b, int64_t ns)
{
        int64_t shown_ns = ns + (int64_t) ((double) ns * b->rate_ppm * 1e-6);

        b->true_ns += ns;
        b->mono_ns += shown_ns;
        b->real_ns += shown_ns;
}

static void tick(Bench *b)
{
        TimeReading now = reading(b);

        keeper_tick(b->keeper, &now, &b->last);
        b->rate_ppm = b->last.frequency_ppm;
        b->real_ns += b->last.step_ns;
        b->steps += b->last.step_ns != 0;
        b->events |= b->last.events;
}

static Bench *bench_new(unsigned servers, int64_t offset_ns, const KeeperConfig *c)
{
        Bench *b = g_new0(Bench, 1);
        TimeReading now;

        b->true_ns = NOON;
        b->real_ns = NOON + offset_ns;
        b->mono_ns = 100 * S;
        now = reading(b);
        b->keeper = keeper_new(c ? c : &keeper_defaults, &now, &(Drift){0, 1});
        b->servers = servers;
        for (unsigned i = 0; i < servers; i++) {
                b->claims[i] = (TimeClaim){.synchronised = true, .stratum = 1};
                g_assert_cmpint(keeper_add_server(b->keeper, &now), ==, (int) i);
        }
        tick(b);
        return b;
}

static Bench *bench_free(Bench *b)
{
        keeper_free(b->keeper);
        g_free(b);
        return NULL;
}
DEFINE_CLEANUP(Bench, bench_free);

static void exchange(Bench *b, unsigned server)
{
        int64_t t[4] = {b->real_ns};
        TimeReading now;

        pass(b, WAY);
        t[1] = t[2] = b->true_ns + b->lies_ns[server];
        pass(b, WAY);
        t[3] = b->real_ns;
        now = reading(b);
        if (b->lies_ns[server] == SILENT)
                b->verdicts[server] = keeper_no_reply(b->keeper, server, &now);
        else
                b->verdicts[server] = keeper_reply(b->keeper, server, t, b->claims + server, &now);
        tick(b);
}

/* Lives as the daemon does until @seconds of true time have passed. */
static void live(Bench *b, int64_t seconds)
{
        int64_t end_ns = b->true_ns + seconds * S;

        while (b->true_ns < end_ns) {
                int64_t wait_ns = keeper_wakeup_ns(b->keeper) - b->mono_ns;
                TimeReading now;
                unsigned server;

                pass(b, MIN(CLAMP(wait_ns, 1000, 600 * S), end_ns - b->true_ns));
                tick(b);
                now = reading(b);
                while (keeper_poll(b->keeper, &now, &server) > 0)
                        exchange(b, server);
        }
}

static int64_t error_ns(const Bench *b)
{
        return b->real_ns - b->true_ns;
}

static void test_a_large_offset_is_stepped_once_at_the_start(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(1, -3 * S, NULL);

        g_assert_cmpint(b->last.state, ==, KEEPER_STARTING);
        g_assert_cmpint(b->last.maxerror_ns, ==, INT64_MAX);
        live(b, 600);
        g_assert_cmpuint(b->steps, ==, 1);
        g_assert_cmpint(labs(error_ns(b)), <, 10 * US);
        g_assert_cmpint(b->last.state, ==, KEEPER_SYNCHRONISED);
        g_assert_cmpint(b->last.maxerror_ns, <, 2 * MS);
        g_assert_cmpint(b->last.maxerror_ns, >=, WAY);
}

/* 10 ms at no more than 500 ppm: at least 20 s, and no step. */
static void test_a_small_offset_is_slewed(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(1, 10 * MS, NULL);

        live(b, 15);
        g_assert_cmpint(error_ns(b), >, 2 * MS);
        g_assert_cmpfloat(fabs(b->rate_ppm), <=, 500);
        live(b, 600);
        g_assert_cmpuint(b->steps, ==, 0);
        g_assert_cmpint(labs(error_ns(b)), <, 10 * US);
        g_assert_cmpfloat_with_epsilon(b->last.frequency_ppm, 0, 0.05);
}

/* Somebody sets the clock back by 2 s: the way forward is 500 ppm, as stepping is off. */
static void test_a_strangers_step_is_noticed_and_slewed_away(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(1, 0, NULL);

        live(b, 600);
        b->real_ns -= 2 * S;
        tick(b);
        g_assert_cmpint(b->last.events & KEEPER_EVENT_STEPPED, !=, 0);
        g_assert_cmpint(labs(b->last.stepped_by_ns + 2 * S), <, MS);
        g_assert_cmpint(b->last.maxerror_ns, >=, 1999 * MS);
        live(b, 1000);
        g_assert_cmpint(labs(error_ns(b) + 1500 * MS), <, 10 * MS);
        live(b, 4000);
        g_assert_cmpuint(b->steps, ==, 0);
        g_assert_cmpint(labs(error_ns(b)), <, 20 * US);
}

static void test_a_strangers_step_is_slewed_away_without_a_server(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(1, 0, NULL);

        live(b, 600);
        b->lies_ns[0] = SILENT;
        live(b, 1000);
        g_assert_cmpint(b->last.state, ==, KEEPER_HOLDOVER);
        b->real_ns += 100 * MS;
        live(b, 1000);
        g_assert_cmpint(labs(error_ns(b)), <, MS);
        g_assert_cmpuint(b->steps, ==, 0);
}

static void test_running_steps_go_forwards_only(void)
{
        KeeperConfig c = keeper_defaults;
        c.limits.step_ns = 500 * MS;
        _cleanup_(bench_freep) Bench *b = bench_new(1, 0, &c);

        live(b, 600);
        b->real_ns -= 2 * S;
        live(b, 100);
        g_assert_cmpuint(b->steps, ==, 1);
        g_assert_cmpint(labs(error_ns(b)), <, MS);
        b->real_ns += 2 * S;
        live(b, 100);
        g_assert_cmpuint(b->steps, ==, 1);
        g_assert_cmpint(error_ns(b), >, 1900 * MS);
}

static void test_a_step_that_was_asked_for_goes_either_way(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(1, 0, NULL);
        TimeReading now;

        live(b, 600);
        b->real_ns += 2 * S;
        now = reading(b);
        keeper_step(b->keeper, &now, &b->last);
        b->real_ns += b->last.step_ns;
        g_assert_cmpint(labs(b->last.step_ns + 2 * S), <, MS);
        tick(b);
        g_assert_cmpint(labs(error_ns(b)), <, MS);
}

/* The liar answers first; the clock waits for all. */
static void test_the_first_answer_does_not_set_the_clock_alone(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(4, 0, NULL);

        b->lies_ns[0] = 100 * S;
        live(b, 600);
        g_assert_cmpuint(b->steps, ==, 0);
        g_assert_cmpint(labs(error_ns(b)), <, 10 * US);
        g_assert_cmpint(keeper_server(b->keeper, 0)->status, ==, TIME_REJECT_FALSETICKER);
        g_assert_cmpint(keeper_server(b->keeper, 1)->status, ==, TIME_ACCEPTED);
}

/* The network comes up after five minutes, and the liar is polled first. */
static void test_a_late_network_does_not_set_the_clock_by_one_answer(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(4, 0, NULL);

        for (unsigned i = 0; i < 4; i++)
                b->lies_ns[i] = SILENT;
        live(b, 300);
        g_assert_cmpint(b->last.state, ==, KEEPER_STARTING);
        b->lies_ns[0] = 100 * S;
        b->lies_ns[1] = b->lies_ns[2] = 0;
        live(b, 300);
        g_assert_cmpuint(b->steps, ==, 0);
        g_assert_cmpint(labs(error_ns(b)), <, 10 * US);
        g_assert_cmpint(keeper_server(b->keeper, 0)->status, ==, TIME_REJECT_FALSETICKER);
        g_assert_cmpint(b->last.state, ==, KEEPER_SYNCHRONISED);
}

/* Those who follow us learn our bound, and one stratum more than our server's. */
static void test_what_we_claim_is_our_bound(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(1, 0, NULL);
        TimeReading now = reading(b);
        TimeClaim claim;

        keeper_claim(b->keeper, &now, &claim);
        g_assert_false(claim.synchronised);
        b->claims[0].stratum = 3;
        b->claims[0].root_delay_ns = 4 * MS;
        b->claims[0].root_dispersion_ns = 7 * MS;
        live(b, 600);
        now = reading(b);
        keeper_claim(b->keeper, &now, &claim);
        g_assert_true(claim.synchronised);
        g_assert_cmpuint(claim.stratum, ==, 4);
        g_assert_cmpint(time_claim_distance_ns(&claim), ==, keeper_bound_ns(b->keeper, &now));
        g_assert_cmpint(time_claim_distance_ns(&claim), >=, 9 * MS + WAY);
        g_assert_cmpint(claim.root_delay_ns, ==, 4 * MS + 2 * WAY);
}

/* The others go silent: whom a majority found wrong is not followed for being alone. */
static void test_a_known_falseticker_is_not_followed_alone(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(3, 0, NULL);

        b->lies_ns[0] = 100 * S;
        live(b, 600);
        b->lies_ns[1] = b->lies_ns[2] = SILENT;
        live(b, 5000);
        g_assert_cmpint(keeper_selected(b->keeper), ==, -1);
        g_assert_cmpint(b->last.state, ==, KEEPER_HOLDOVER);
        g_assert_cmpint(labs(error_ns(b)), <, MS);
        g_assert_cmpint(keeper_server(b->keeper, 1)->status, ==, TIME_REJECT_UNREACHABLE);
}

static void test_no_majority_at_the_start_follows_nobody(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(2, 0, NULL);

        b->lies_ns[0] = 100 * S;
        live(b, 600);
        g_assert_cmpint(keeper_selected(b->keeper), ==, -1);
        g_assert_cmpint(keeper_server(b->keeper, 1)->status, ==, TIME_REJECT_NO_MAJORITY);
        g_assert_cmpint(b->last.state, ==, KEEPER_STARTING);
}

static void test_an_unsynchronised_server_is_not_followed(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(1, -S, NULL);

        b->claims[0].synchronised = false;
        live(b, 600);
        g_assert_cmpint(b->verdicts[0], ==, TIME_REJECT_UNSYNCHRONISED);
        g_assert_cmpint(keeper_server(b->keeper, 0)->status, ==, TIME_REJECT_UNSYNCHRONISED);
        g_assert_cmpint(error_ns(b), ==, -S);
}

/*
 * 1900, before the build date, T3 < T2 and a negative round trip, each with its reason; the clock
 * stays.
 */
static void test_impossible_times_are_refused_by_name(void)
{
        KeeperConfig c = keeper_defaults;
        c.earliest_real_ns = NOON - 86400 * S;
        _cleanup_(bench_freep) Bench *b = bench_new(1, 0, &c);
        TimeClaim honest = {.synchronised = true, .stratum = 1};
        int64_t t1 = b->real_ns;
        const struct {
                int64_t t[4];
                TimeReject why;
        } bad[] = {
                {{t1, INT64_C(-2208988800) * S, INT64_C(-2208988800) * S, t1 + MS},
                 TIME_REJECT_RANGE},
                {{t1, 0, 0, t1 + MS}, TIME_REJECT_RANGE},
                {{t1, INT64_MAX, INT64_MAX, t1 + MS}, TIME_REJECT_RANGE},
                {{t1, t1 + 2, t1 + 1, t1 + MS}, TIME_REJECT_BAD_TIMES},
                {{t1, t1, t1 + S, t1 + MS}, TIME_REJECT_BAD_TIMES},
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                TimeReading now = reading(b);
                unsigned server;

                while (keeper_poll(b->keeper, &now, &server) == 0) {
                        pass(b, S / 10);
                        now = reading(b);
                }
                g_assert_cmpint(keeper_reply(b->keeper, 0, bad[i].t, &honest, &now), ==,
                                bad[i].why);
                tick(b);
        }
        g_assert_cmpint(error_ns(b), ==, 0);
        g_assert_cmpint(b->last.state, ==, KEEPER_STARTING);
}

static void test_a_suspend_forgets_the_offset_and_keeps_the_frequency(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(1, 0, NULL);

        live(b, 600);
        b->asleep_ns += 8 * 3600 * S;
        b->true_ns += 8 * 3600 * S;
        b->real_ns += 8 * 3600 * S - 300 * MS; /* a coarse RTC */
        tick(b);
        g_assert_cmpint(b->last.events & KEEPER_EVENT_SUSPENDED, !=, 0);
        g_assert_cmpint(b->last.state, ==, KEEPER_UNSYNCHRONISED);
        g_assert_cmpint(b->last.maxerror_ns, ==, INT64_MAX);
        live(b, 60);
        g_assert_cmpint(b->last.state, ==, KEEPER_SYNCHRONISED);
        g_assert_cmpuint(b->steps, ==, 1); /* forwards, so at once */
        g_assert_cmpint(labs(error_ns(b)), <, MS);
}

static void test_an_exchange_across_a_step_is_refused(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(1, 0, NULL);
        TimeReading now;
        int64_t t[4];
        unsigned server;

        live(b, 600);
        now = reading(b);
        while (keeper_poll(b->keeper, &now, &server) == 0) {
                pass(b, S);
                now = reading(b);
        }
        t[0] = b->real_ns;
        t[1] = t[2] = b->true_ns;
        b->real_ns += 5 * S;
        pass(b, MS);
        t[3] = b->real_ns;
        now = reading(b);
        g_assert_cmpint(keeper_reply(b->keeper, server, t, b->claims, &now), ==,
                        TIME_REJECT_CLOCK_STEPPED);
}

/*
 * 23:59:60 UTC on 2026-06-30: the kernel and the servers go back by one second, and so does the
 * line.
 */
static void test_a_leap_second_is_announced_and_passes(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(1, 0, NULL);

        b->claims[0].leap = TIME_LEAP_INSERT;
        live(b, 60);
        g_assert_cmpint(b->last.leap, ==, TIME_LEAP_NONE); /* the tenth of June has none */

        keeper_free(b->keeper);
        b->true_ns = b->real_ns = LEAP_DAY - 1000 * S;
        b->keeper = keeper_new(&keeper_defaults, &(TimeReading){b->real_ns, b->mono_ns, b->mono_ns},
                               NULL);
        g_assert_cmpint(
                keeper_add_server(b->keeper, &(TimeReading){b->real_ns, b->mono_ns, b->mono_ns}),
                ==, 0);
        live(b, 1000);
        g_assert_cmpint(b->last.leap, ==, TIME_LEAP_INSERT);

        b->true_ns -= S;
        b->real_ns -= S;
        b->events = 0;
        b->claims[0].leap = TIME_LEAP_NONE;
        tick(b);
        g_assert_cmpint(b->events & KEEPER_EVENT_LEAPT, !=, 0);
        g_assert_cmpint(b->events & KEEPER_EVENT_STEPPED, ==, 0);
        live(b, 100);
        g_assert_cmpint(b->verdicts[0], ==, TIME_ACCEPTED);
        g_assert_cmpuint(keeper_server(b->keeper, 0)->line.count, >,
                         8); /* older samples still count */
        live(b, 500);
        g_assert_cmpuint(b->steps, ==, 0);
        g_assert_cmpint(b->last.leap, ==, TIME_LEAP_NONE);
        g_assert_cmpint(labs(error_ns(b)), <, 20 * US);
}

static void test_silence_widens_the_bound_until_the_clock_is_not_known(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(1, 0, NULL);
        int64_t after_ns;

        live(b, 3600);
        b->lies_ns[0] = SILENT;
        live(b, 1000);
        after_ns = b->last.maxerror_ns;
        g_assert_cmpint(b->last.state, ==, KEEPER_HOLDOVER);
        live(b, 10000);
        g_assert_cmpint(b->last.maxerror_ns, >=, after_ns + 10 * MS); /* 1 ppm for 10,000 s */
        live(b, 2000000);
        g_assert_cmpint(b->last.state, ==, KEEPER_UNSYNCHRONISED);
}

static void test_drift_is_learnt_and_used(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(1, 0, NULL);
        TimeReading now = reading(b);
        KeeperDecision d;
        Drift drift;

        g_assert_false(keeper_drift(b->keeper, &drift));
        live(b, 2000);
        g_assert_true(keeper_drift(b->keeper, &drift));
        g_assert_cmpfloat(drift.sd_ppm, <, 1);

        keeper_free(b->keeper);
        b->keeper = keeper_new(&keeper_defaults, &now, &(Drift){-42.5, 0.1});
        keeper_tick(b->keeper, &now, &d);
        g_assert_true(d.set_frequency);
        g_assert_cmpfloat_with_epsilon(d.frequency_ppm, -42.5, 1e-12);
        keeper_tick(b->keeper, &now, &d);
        g_assert_false(d.set_frequency);
}

static void test_servers_come_and_go(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(2, 0, NULL);
        TimeReading now;
        int selected;

        live(b, 600);
        selected = keeper_selected(b->keeper);
        g_assert_cmpint(selected, >=, 0);
        keeper_remove_server(b->keeper, (unsigned) selected);
        g_assert_null(keeper_server(b->keeper, (unsigned) selected));
        tick(b);
        g_assert_cmpint(keeper_selected(b->keeper), ==, 1 - selected);

        now = reading(b);
        for (unsigned i = 1; i < KEEPER_SERVERS_MAX; i++)
                g_assert_cmpint(keeper_add_server(b->keeper, &now), >=, 0);
        g_assert_cmpint(keeper_add_server(b->keeper, &now), ==, -ENOSPC);
}

/* At 500 ppm, 1000.5 s on the clock are 1000 s of the free-running one; then 1000 s at 0 ppm. */
static void test_the_free_running_clock_is_without_corrections(void)
{
        TimeEstimate flat = {.free_ns = 1000 * S, .ahead_ns = NOON + 500 * MS};
        TimeReading start = {NOON, 0, 0};
        TimeDiscipline d;

        discipline_init(&d, &keeper_defaults.limits, &start, 500, 1);
        g_assert_cmpint(labs(discipline_free_ns(&d, 1000 * S + 500 * MS) - 1000 * S), <=, 1);

        /* The line's frequency is 0, and true time is now what the clock shows. */
        g_assert_cmpint(discipline_update(&d, &flat, 1000 * S + 500 * MS, 1, DISCIPLINE_RUNNING),
                        ==, 0);
        g_assert_cmpint(labs(discipline_offset_ns(&d, 1000 * S + 500 * MS)), <=, 1);
        (void) discipline_tick(&d, 1002 * S);
        g_assert_cmpfloat_with_epsilon(discipline_rate_ppm(&d), 0, 0.01);
        g_assert_cmpint(labs(discipline_free_ns(&d, 2000 * S + 500 * MS) - 2000 * S), <=, 50);
}

/* 30 ms off, or 25 ms right: where the answer took 100 ms, nobody knows which, and a slew does no
 * harm. */
static void test_no_step_by_less_than_is_known(void)
{
        TimeEstimate line = {.ahead_ns = NOON + 30 * MS, .bound_ns = 50e6};
        TimeReading start = {NOON, 0, 0};
        TimeDiscipline d;

        discipline_init(&d, &keeper_defaults.limits, &start, 0, 1);
        g_assert_cmpint(discipline_update(&d, &line, 0, 1, DISCIPLINE_START), ==, 0);
        g_assert_cmpint(discipline_offset_ns(&d, 0), ==, 30 * MS);
        line.bound_ns = 5e6;
        g_assert_cmpint(discipline_update(&d, &line, 0, 1, DISCIPLINE_START), ==, 30 * MS);
}

/* Any four numbers, any claim: nothing aborts, and no frequency or step leaves its limits. */
static void test_no_answer_breaks_anything(void)
{
        _cleanup_(bench_freep) Bench *b = bench_new(3, 0, NULL);

        for (int i = 0; i < 20000; i++) {
                TimeReading now = reading(b);
                TimeClaim claim = {
                        .synchronised = g_test_rand_int_range(0, 8) > 0,
                        .stratum = (uint32_t) g_test_rand_int_range(0, 18),
                        .root_delay_ns = (int64_t) g_test_rand_int() *
                                         (INT64_C(1) << g_test_rand_int_range(0, 32)),
                        .leap = (TimeLeap) g_test_rand_int_range(0, _TIME_LEAP_MAX),
                };
                unsigned server;

                while (keeper_poll(b->keeper, &now, &server) > 0) {
                        int64_t t[4] = {now.real_ns, 0, 0,
                                        now.real_ns + g_test_rand_int_range(0, 1 << 20)};
                        int64_t wild = (int64_t) g_test_rand_int() *
                                       (INT64_C(1) << g_test_rand_int_range(0, 32));

                        if (g_test_rand_int_range(0, 4) == 0)
                                claim = (TimeClaim){.synchronised = true, .stratum = 1};
                        t[1] = g_test_rand_bit() ? wild : now.real_ns;
                        t[2] = g_test_rand_bit() ? t[1] : wild;
                        (void) keeper_reply(b->keeper, server, t, &claim, &now);
                }
                tick(b);
                g_assert_cmpfloat(fabs(b->last.frequency_ppm), <=, 500.2);
                g_assert_cmpint(b->real_ns, >=, 0);
                if (b->real_ns > INT64_MAX - 86400 * S)
                        break; /* stepped to the end of time at the start, by a majority's word */
                pass(b, g_test_rand_int_range(1, 1 << 30));
        }
        g_assert_cmpuint(b->steps, <=, 1);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
#define T(name, f) g_test_add_func("/timekeeping/keeper/" name, f)
        T("no-step-by-less-than-is-known", test_no_step_by_less_than_is_known);
        T("a-large-offset-is-stepped-once", test_a_large_offset_is_stepped_once_at_the_start);
        T("a-small-offset-is-slewed", test_a_small_offset_is_slewed);
        T("a-strangers-step-is-slewed-away", test_a_strangers_step_is_noticed_and_slewed_away);
        T("and-so-it-is-without-a-server", test_a_strangers_step_is_slewed_away_without_a_server);
        T("running-steps-go-forwards-only", test_running_steps_go_forwards_only);
        T("a-step-asked-for-goes-either-way", test_a_step_that_was_asked_for_goes_either_way);
        T("the-first-answer-does-not-decide", test_the_first_answer_does_not_set_the_clock_alone);
        T("a-late-network-does-not-decide",
          test_a_late_network_does_not_set_the_clock_by_one_answer);
        T("what-we-claim-is-our-bound", test_what_we_claim_is_our_bound);
        T("a-falseticker-is-not-followed-alone", test_a_known_falseticker_is_not_followed_alone);
        T("no-majority-follows-nobody", test_no_majority_at_the_start_follows_nobody);
        T("unsynchronised-is-not-followed", test_an_unsynchronised_server_is_not_followed);
        T("impossible-times-are-refused", test_impossible_times_are_refused_by_name);
        T("a-suspend-forgets-the-offset",
          test_a_suspend_forgets_the_offset_and_keeps_the_frequency);
        T("an-exchange-across-a-step-is-refused", test_an_exchange_across_a_step_is_refused);
        T("a-leap-second-passes", test_a_leap_second_is_announced_and_passes);
        T("silence-widens-the-bound", test_silence_widens_the_bound_until_the_clock_is_not_known);
        T("drift-is-learnt-and-used", test_drift_is_learnt_and_used);
        T("servers-come-and-go", test_servers_come_and_go);
        T("the-free-running-clock-is-bare", test_the_free_running_clock_is_without_corrections);
        T("no-answer-breaks-anything", test_no_answer_breaks_anything);
        return g_test_run();
}
