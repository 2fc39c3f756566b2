/*
 * The sample filter and one server's history: which samples count, and what is believed of a
 * server whose time jumps.
 */
#include <math.h>

#include "timekeeping/source.h"

#define US NSEC_PER_USEC
#define MS (1000 * NSEC_PER_USEC)
#define S NSEC_PER_SEC

static HistorySample sample(int64_t at_ns, int64_t ahead_ns, int64_t rtt_ns)
{
        return (HistorySample){
                .free_ns = at_ns, .ahead_ns = ahead_ns, .rtt_ns = rtt_ns, .half_ns = rtt_ns / 2};
}

static TimeReject poll_once(SampleFilter *f, int64_t rtt_ns)
{
        HistorySample s = sample(0, 0, rtt_ns), best;

        filter_begin(f, 1, 0);
        (void) filter_offer(f, &s);
        g_assert_false(filter_wants_more(f));
        return filter_end(f, &best);
}

/*
 * Four polls of 1.0, 1.1, 1.2, 1.3 ms: least 1.0, mean excess 0.15 ms, four times that is 0.6 ms.
 */
static void learn(SampleFilter *f)
{
        filter_init(f);
        for (int64_t i = 0; i < 4; i++)
                g_assert_cmpint(poll_once(f, MS + i * 100 * US), ==, TIME_ACCEPTED);
}

static void test_the_limit_follows_the_round_trips_seen(void)
{
        SampleFilter f;

        filter_init(&f);
        g_assert_cmpint(filter_limit_ns(&f), ==, INT64_MAX);
        learn(&f);
        g_assert_cmpint(filter_limit_ns(&f), ==, 1600 * US);
}

/* Cristian 1989: an exchange with RTT ≥ 2U is no reading; the attempt is repeated. */
static void test_a_slow_exchange_is_asked_again(void)
{
        HistorySample slow = sample(0, 0, 200 * MS), fast = sample(0, 5, 1200 * US), best;
        SampleFilter f;

        learn(&f);
        filter_begin(&f, 1, 3);
        g_assert_cmpint(filter_offer(&f, &slow), ==, TIME_REJECT_RETRY);
        g_assert_true(filter_wants_more(&f));
        g_assert_cmpint(filter_offer(&f, NULL), ==, TIME_REJECT_TIMEOUT);
        g_assert_true(filter_wants_more(&f));
        g_assert_cmpint(filter_offer(&f, &fast), ==, TIME_ACCEPTED);
        g_assert_false(filter_wants_more(&f));
        g_assert_cmpint(filter_end(&f, &best), ==, TIME_ACCEPTED);
        g_assert_cmpint(best.ahead_ns, ==, 5);
}

static void test_retries_end(void)
{
        HistorySample slow = sample(0, 0, 200 * MS), best;
        unsigned asked = 0;
        SampleFilter f;

        learn(&f);
        filter_begin(&f, 2, 3);
        for (; filter_wants_more(&f); asked++)
                (void) filter_offer(&f, &slow);
        g_assert_cmpuint(asked, ==, 5);
        g_assert_cmpint(filter_end(&f, &best), ==, TIME_REJECT_SPIKE);
}

static void test_the_fastest_of_a_burst_is_kept(void)
{
        static const int64_t rtts[] = {1300 * US, 1010 * US, 1200 * US, 1050 * US};
        HistorySample best;
        SampleFilter f;

        learn(&f);
        filter_begin(&f, 4, 3);
        for (int i = 0; i < 4; i++) {
                HistorySample s = sample(i, i, rtts[i]);

                g_assert_cmpint(filter_offer(&f, &s), ==,
                                i < 2 ? TIME_ACCEPTED : TIME_REJECT_BURST);
        }
        g_assert_cmpint(filter_end(&f, &best), ==, TIME_ACCEPTED);
        g_assert_cmpint(best.ahead_ns, ==, 1);
}

static void test_a_longer_way_is_learnt_after_patience(void)
{
        SampleFilter f;

        learn(&f);
        for (unsigned i = 1; i < FILTER_PATIENCE; i++)
                g_assert_cmpint(poll_once(&f, 30 * MS), ==, TIME_REJECT_SPIKE);
        g_assert_cmpint(poll_once(&f, 30 * MS), ==, TIME_ACCEPTED);
        g_assert_cmpint(poll_once(&f, 30 * MS), ==, TIME_ACCEPTED);
}

static void test_no_answer_is_no_sample(void)
{
        HistorySample best = {.ahead_ns = 7};
        SampleFilter f;

        filter_init(&f);
        filter_begin(&f, 1, 0);
        (void) filter_offer(&f, NULL);
        g_assert_cmpint(filter_end(&f, &best), ==, TIME_REJECT_TIMEOUT);
        g_assert_cmpint(best.ahead_ns, ==, 7);
}

/* A clock 25 ppm slow, samples without queueing: 25 µs a second. */
static void test_history_finds_the_frequency(void)
{
        TimeEstimate e;
        History h;

        history_init(&h, 0, 100, 1);
        g_assert_cmpint(history_fit(&h, &e), ==, -ENODATA);
        for (int64_t i = 0; i < 100; i++) {
                HistorySample s = sample(i * 16 * S, i * 16 * 25 * US + (i % 2 ? 500 : -500), MS);

                history_add(&h, &s);
                g_assert_cmpint(history_fit(&h, &e), ==, 0);
        }
        g_assert_cmpfloat_with_epsilon(e.frequency_ppm, 25, 0.01);
        g_assert_cmpint(labs(e.ahead_ns - 99 * 16 * 25 * US), <, 1 * US);
        g_assert_cmpuint(e.count, <=, HISTORY_MAX);

        estimate_advance(&e, e.free_ns + 100 * S, 1);
        g_assert_cmpint(labs(e.ahead_ns - (99 * 16 + 100) * 25 * US), <, 3 * US);
        g_assert_cmpfloat(e.bound_ns, >, 500e3 + 100e3); /* half the RTT, and 1 ppm for 100 s */
}

/* Half of the samples are late on the way there by 10 ms, which shifts their offset by 5 ms. */
static void test_fast_samples_decide(void)
{
        TimeEstimate e;
        History h;

        history_init(&h, 0, 100, 1);
        for (int64_t i = 0; i < 40; i++) {
                bool is_late = i % 2 == 1;
                HistorySample s = sample(i * 16 * S, is_late ? 5 * MS : 0, is_late ? 11 * MS : MS);

                history_add(&h, &s);
                g_assert_cmpint(history_fit(&h, &e), ==, 0);
        }
        g_assert_cmpint(labs(e.ahead_ns), <, 10 * US);
        g_assert_cmpfloat(e.bound_ns, <, 700e3);
}

static void test_a_bend_makes_old_samples_go(void)
{
        TimeEstimate e = {};
        History h;

        history_init(&h, 0, 100, 1);
        for (int64_t i = 0; i < 40; i++) {
                int64_t bent = i > 20 ? (i - 20) * 16 * 5 * US : 0;
                HistorySample s = sample(i * 16 * S, bent + (i % 2 ? 1000 : -1000), MS);

                history_add(&h, &s);
                g_assert_cmpint(history_fit(&h, &e), ==, 0);
        }
        g_assert_cmpuint(e.count, <, 24);
        g_assert_cmpfloat_with_epsilon(e.frequency_ppm, 5, 0.2);
}

static const SourceConfig config = {
        .min_poll = 4,
        .max_poll = 6,
        .burst = 1,
        .distance_limit_ns = 1500 * MS,
        .wander_ppm = 1,
};

/* One poll, answered with @ahead_ns, or not at all when it is INT64_MIN. */
static TimeReject ask(TimeSource *s, int64_t ahead_ns)
{
        int64_t now_ns = s->next_ns;
        HistorySample one = sample(now_ns, ahead_ns, MS);
        TimeReject r;
        bool is_new;

        do {
                source_begin(s, now_ns);
                r = source_offer(s, ahead_ns == INT64_MIN ? NULL : &one, TIME_REJECT_TIMEOUT,
                                 now_ns, &is_new);
                one.free_ns = now_ns = s->next_ns;
        } while (s->filter.asked > 0);
        return r;
}

static void start(TimeSource *s)
{
        source_init(s, &config, 0, 100, S);
        s->claim = (TimeClaim){.synchronised = true, .stratum = 1};
        for (int i = 0; i < 12; i++)
                g_assert_cmpint(ask(s, i % 2 ? 1000 : -1000), ==, TIME_ACCEPTED);
}

static void test_one_wild_answer_moves_nothing(void)
{
        TimeSource s;
        int64_t before_ns;

        start(&s);
        before_ns = s.line.ahead_ns;
        g_assert_cmpint(ask(&s, 3600 * S), ==, TIME_REJECT_JUMP);
        g_assert_cmpint(s.line.ahead_ns, ==, before_ns);
        g_assert_cmpint(source_doubt_ns(&s), >=, 3599 * S);
        g_assert_cmpint(ask(&s, 0), ==, TIME_ACCEPTED);
        g_assert_cmpint(source_doubt_ns(&s), ==, 0);
}

static void test_a_lasting_jump_is_the_servers_new_time(void)
{
        TimeSource s;

        start(&s);
        for (unsigned i = 1; i < SOURCE_JUMPS; i++)
                g_assert_cmpint(ask(&s, S), ==, TIME_REJECT_JUMP);
        g_assert_cmpint(ask(&s, S), ==, TIME_ACCEPTED);
        g_assert_cmpint(labs(s.line.ahead_ns - S), <, MS);
        g_assert_cmpint(s.poll, ==, config.min_poll);
}

/* A server whose every answer is another time is never believed again. */
static void test_changing_lies_are_never_believed(void)
{
        TimeSource s;

        start(&s);
        for (int64_t i = 1; i < 50; i++)
                g_assert_cmpint(ask(&s, i * i * S), ==, TIME_REJECT_JUMP);
}

static void test_the_poll_widens_once_settled_and_not_in_silence(void)
{
        TimeSource s;
        int silent;

        start(&s);
        for (int i = 0; i < 6; i++)
                (void) ask(&s, i % 2 ? 1000 : -1000);
        silent = s.poll;
        g_assert_cmpint(silent, >, config.min_poll);
        g_assert_cmpint(silent, <=, config.max_poll);
        for (int i = 0; i < 50; i++)
                g_assert_cmpint(ask(&s, INT64_MIN), ==, TIME_REJECT_TIMEOUT);
        g_assert_cmpint(s.poll, <=, silent);
        for (int i = 0; i < 50; i++)
                (void) ask(&s, i % 2 ? 1000 : -1000);
        g_assert_cmpint(s.poll, ==, config.max_poll);
}

/* The oscillator's frequency moves by 2.5 ppm in 16 s: the offset is a parabola, through which a
 * short line fits well. */
static void test_the_poll_stays_while_the_frequency_moves(void)
{
        TimeSource s;

        source_init(&s, &config, 0, 100, S);
        s.claim = (TimeClaim){.synchronised = true, .stratum = 1};
        for (int i = 0; i < 60; i++) {
                double t = (double) (s.next_ns - S) / (double) S;

                (void) ask(&s, (int64_t) (2500.0 / 16 / 2 * t * t) + (i % 2 ? 1000 : -1000));
                g_assert_cmpint(s.poll, ==, config.min_poll);
        }
}

static void test_a_server_is_no_candidate_for_a_named_reason(void)
{
        TimeSource s;
        TimeEstimate e;

        source_init(&s, &config, 0, 100, S);
        g_assert_cmpint(source_candidate(&s, S, &e), ==, TIME_REJECT_NO_SAMPLES);
        g_assert_true(source_is_pending(&s));
        start(&s);
        g_assert_cmpint(source_candidate(&s, s.next_ns, &e), ==, TIME_ACCEPTED);
        g_assert_false(source_is_pending(&s));

        s.claim.root_dispersion_ns = 2 * S;
        g_assert_cmpint(source_candidate(&s, s.next_ns, &e), ==, TIME_REJECT_ROOT_DISTANCE);
        s.claim = (TimeClaim){.synchronised = true, .stratum = 16};
        g_assert_cmpint(source_candidate(&s, s.next_ns, &e), ==, TIME_REJECT_STRATUM);
        s.claim = (TimeClaim){.synchronised = false, .stratum = 1};
        g_assert_cmpint(source_candidate(&s, s.next_ns, &e), ==, TIME_REJECT_UNSYNCHRONISED);
        s.claim = (TimeClaim){.synchronised = true, .stratum = 2, .is_loop = true};
        g_assert_cmpint(source_candidate(&s, s.next_ns, &e), ==, TIME_REJECT_LOOP);
        s.claim = (TimeClaim){.synchronised = true, .stratum = 2, .root_delay_ns = -1};
        g_assert_cmpint(source_candidate(&s, s.next_ns, &e), ==, TIME_REJECT_ROOT_DISTANCE);
        for (int i = 0; i < 8; i++)
                (void) ask(&s, INT64_MIN);
        g_assert_cmpint(source_candidate(&s, s.next_ns, &e), ==, TIME_REJECT_UNREACHABLE);
}

static void test_every_reason_has_a_name_and_a_sentence(void)
{
        g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);

        for (int i = 0; i < _TIME_REJECT_MAX; i++) {
                g_assert_nonnull(time_reject_to_string((TimeReject) i));
                g_assert_nonnull(time_reject_explain((TimeReject) i));
                g_assert_true(
                        g_hash_table_add(names, (char *) time_reject_to_string((TimeReject) i)));
        }
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
#define T(name, f) g_test_add_func("/timekeeping/" name, f)
        T("filter/the-limit-follows-the-round-trips", test_the_limit_follows_the_round_trips_seen);
        T("filter/a-slow-exchange-is-asked-again", test_a_slow_exchange_is_asked_again);
        T("filter/retries-end", test_retries_end);
        T("filter/the-fastest-of-a-burst-is-kept", test_the_fastest_of_a_burst_is_kept);
        T("filter/a-longer-way-is-learnt", test_a_longer_way_is_learnt_after_patience);
        T("filter/no-answer-is-no-sample", test_no_answer_is_no_sample);
        T("history/finds-the-frequency", test_history_finds_the_frequency);
        T("history/fast-samples-decide", test_fast_samples_decide);
        T("history/a-bend-makes-old-samples-go", test_a_bend_makes_old_samples_go);
        T("source/one-wild-answer-moves-nothing", test_one_wild_answer_moves_nothing);
        T("source/a-lasting-jump-is-believed", test_a_lasting_jump_is_the_servers_new_time);
        T("source/changing-lies-are-never-believed", test_changing_lies_are_never_believed);
        T("source/the-poll-widens-once-settled",
          test_the_poll_widens_once_settled_and_not_in_silence);
        T("source/the-poll-stays-while-the-frequency-moves",
          test_the_poll_stays_while_the_frequency_moves);
        T("source/no-candidate-for-a-named-reason",
          test_a_server_is_no_candidate_for_a_named_reason);
        T("source/every-reason-has-a-name", test_every_reason_has_a_name_and_a_sentence);
        return g_test_run();
}
