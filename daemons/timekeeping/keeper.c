#include <math.h>
#include <time.h>

#include "timekeeping/keeper.h"
#include "timekeeping/select.h"

#define UNKNOWN_SD_PPM 100.0 /* what crystals are sold with; nothing is known at the first start */
#define SUSPEND_NS (100 * 1000 * NSEC_PER_USEC) /* boot − mono never moves otherwise */
#define JUMP_NS (1000 * NSEC_PER_USEC) /* beyond what reading two clocks in turn can err by */
#define LEAP_SLACK_NS (10 * 1000 * NSEC_PER_USEC)
/* 2261: a time believed must be able to pass. */
#define LATEST_NS (INT64_MAX - INT64_C(366) * DAY_S * NSEC_PER_SEC)

/* After midnight, in which a jump of 1 s is the leap. */
#define LEAP_WINDOW_NS (3600 * NSEC_PER_SEC)
#define LEAP_NEAR_NS (5 * NSEC_PER_SEC)
#define RTT_ERROR 2000 /* 1/500 ppm: our oscillator measures the RTT itself so badly at most */
#define DAY_S 86400
#define STICKY 2.0
#define SLEW_SHARE 4 /* of a poll interval is spent slewing: soon done, and no jolt */
#define SLEW_MOST_S 16.0

struct TimeKeeper {
        KeeperConfig config;
        TimeDiscipline discipline;
        TimeSource *sources[KEEPER_SERVERS_MAX];
        bool is_new_line[KEEPER_SERVERS_MAX];
        unsigned epochs[KEEPER_SERVERS_MAX]; /* the epoch in which the exchange under way began */
        unsigned epoch;      /* changes whenever the clock does not run on smoothly */
        int64_t boot_gap_ns; /* boot − mono */
        int selected;
        DisciplinePhase phase;
        /* CLOCK_MONOTONIC of the first candidate of this phase; 0: none yet */
        int64_t first_heard_ns;
        int64_t doubt_ns; /* more bound, while the only server contradicts itself */
        bool learnt;
        bool replan;        /* the offset changed though the line did not */
        KeeperEvent events; /* since the last decision */
        int64_t stepped_by_ns;
        double told_ppm; /* the frequency last decided; NAN: none yet */
        TimeLeap leap;
        int64_t leap_at_ns;  /* CLOCK_REALTIME at the end of the day; with leap */
        int64_t leapt_at_ns; /* when the last one passed; 0: none did */
};

const KeeperConfig keeper_defaults = {
        .source =
                {
                        .min_poll = 4,
                        .max_poll = 6,
                        .burst = 1,
                        .retries = 3,
                        .distance_limit_ns = 1500 * 1000 * NSEC_PER_USEC, /* RFC 5905: MAXDIST */
                        .wander_ppm = 1, /* chrony's maxclockerror */
                },
        .limits =
                {
                        .frequency_ppm = 500,
                        .slew_ppm = 500,
                        .wander_ppm = 1,
                        .step_at_start_ns = 20 * 1000 * NSEC_PER_USEC, /* slewed within a minute */
                },
};

const char *keeper_state_to_string(KeeperState s)
{
        static const char *const names[_KEEPER_STATE_MAX] = {"starting", "synchronised", "holdover",
                                                             "unsynchronised"};

        assert(s >= 0 && s < _KEEPER_STATE_MAX);
        return names[s];
}

TimeKeeper *keeper_new(const KeeperConfig *c, const TimeReading *now, const Drift *drift)
{
        TimeKeeper *k = g_new0(TimeKeeper, 1);
        Drift unknown = {.sd_ppm = UNKNOWN_SD_PPM};

        if (!drift)
                drift = &unknown;
        k->config = *c;
        k->selected = -1;
        k->boot_gap_ns = now->boot_ns - now->mono_ns;
        k->told_ppm = NAN;
        discipline_init(&k->discipline, &c->limits, now, drift->frequency_ppm, drift->sd_ppm);
        return k;
}

TimeKeeper *keeper_free(TimeKeeper *k)
{
        if (!k)
                return NULL;
        for (size_t i = 0; i < KEEPER_SERVERS_MAX; i++)
                g_free(k->sources[i]);
        g_free(k);
        return NULL;
}

void keeper_set_config(TimeKeeper *k, const KeeperConfig *c)
{
        k->config = *c;
        k->discipline.limits = c->limits;
        for (size_t i = 0; i < KEEPER_SERVERS_MAX; i++) {
                TimeSource *s = k->sources[i];

                if (!s)
                        continue;
                s->config = c->source;
                s->poll = CLAMP(s->poll, c->source.min_poll, c->source.max_poll);
        }
}

int keeper_add_server(TimeKeeper *k, const TimeReading *now)
{
        for (unsigned i = 0; i < KEEPER_SERVERS_MAX; i++) {
                if (k->sources[i])
                        continue;
                k->sources[i] = g_new0(TimeSource, 1);
                source_init(k->sources[i], &k->config.source, k->discipline.frequency_ppm,
                            k->discipline.frequency_sd_ppm, now->mono_ns);
                return (int) i;
        }
        return -ENOSPC;
}

void keeper_remove_server(TimeKeeper *k, unsigned server)
{
        assert(server < KEEPER_SERVERS_MAX);

        g_clear_pointer(&k->sources[server], g_free);
        if (k->selected == (int) server)
                k->selected = -1;
}

int keeper_poll(TimeKeeper *k, const TimeReading *now, unsigned *ret_server)
{
        for (unsigned i = 0; i < KEEPER_SERVERS_MAX; i++) {
                if (!k->sources[i] || k->sources[i]->next_ns > now->mono_ns)
                        continue;
                source_begin(k->sources[i], now->mono_ns);
                k->epochs[i] = k->epoch;
                *ret_server = i;
                return 1;
        }
        return 0;
}

void keeper_poll_now(TimeKeeper *k, const TimeReading *now)
{
        for (unsigned i = 0; i < KEEPER_SERVERS_MAX; i++) {
                TimeSource *s = k->sources[i];

                if (!s || s->next_ns == INT64_MAX)
                        continue;
                filter_begin(&s->filter, MAX(s->config.burst, SOURCE_START_BURST),
                             s->config.retries);
                s->next_ns = now->mono_ns;
        }
}

/* The exchange as seen by the free-running clock. */
static TimeReject make_sample(const TimeKeeper *k, const int64_t t[static 4],
                              const TimeClaim *claim, HistorySample *ret)
{
        const TimeDiscipline *d = &k->discipline;
        int64_t free_t[4] = {discipline_free_ns(d, t[0] - d->base_ns), t[1], t[2],
                             discipline_free_ns(d, t[3] - d->base_ns)};
        CristianSample c;
        int r;

        r = cristian_sample(free_t, &c);
        if (r < 0)
                return r == -ERANGE ? TIME_REJECT_RANGE : TIME_REJECT_BAD_TIMES;

        *ret = (HistorySample){
                .free_ns = free_t[0] + (free_t[3] - free_t[0]) / 2,
                .ahead_ns = c.offset_ns,
                .rtt_ns = c.rtt_ns,
                .half_ns = cristian_bound(c.rtt_ns, k->config.source.least_one_way_ns) +
                           c.rtt_ns / RTT_ERROR,
                .root_ns = time_claim_distance_ns(claim),
        };
        return TIME_ACCEPTED;
}

static bool is_near(int64_t a_ns, int64_t b_ns, int64_t slack_ns)
{
        return a_ns - slack_ns <= b_ns && b_ns <= a_ns + slack_ns;
}

static TimeReject check_reply(const TimeKeeper *k, unsigned server, const int64_t t[static 4],
                              const TimeClaim *claim, HistorySample *ret)
{
        CristianSample c;
        int r;

        if (k->epochs[server] != k->epoch)
                return TIME_REJECT_CLOCK_STEPPED;

        r = cristian_sample(t, &c);
        if (r < 0)
                return r == -ERANGE ? TIME_REJECT_RANGE : TIME_REJECT_BAD_TIMES;
        if (t[1] < k->config.earliest_real_ns || t[2] > LATEST_NS)
                return TIME_REJECT_RANGE;
        if (k->leap != TIME_LEAP_NONE && (is_near(k->leap_at_ns, t[1], LEAP_NEAR_NS) ||
                                          is_near(k->leap_at_ns, t[3], LEAP_NEAR_NS)))
                return TIME_REJECT_LEAP;

        k->sources[server]->last = c;
        k->sources[server]->claim = *claim;
        r = (int) time_claim_check(claim, k->config.source.distance_limit_ns);
        if (r != TIME_ACCEPTED)
                return (TimeReject) r;
        return make_sample(k, t, claim, ret);
}

/* Nothing that was under way, or is known of the present offset, outlives a suspend. */
static void on_suspend(TimeKeeper *k, const TimeReading *now)
{
        TimeDiscipline *d = &k->discipline;

        discipline_forget(d, now->mono_ns);
        discipline_set_base(d, now->real_ns - now->mono_ns);
        for (size_t i = 0; i < KEEPER_SERVERS_MAX; i++) {
                TimeSource *s = k->sources[i];
                bool under_way = s && s->next_ns == INT64_MAX;

                if (!s)
                        continue;
                source_reset(s, d->frequency_ppm, d->frequency_sd_ppm, now->mono_ns);
                if (under_way)
                        s->next_ns =
                                INT64_MAX; /* its end, refused for its epoch, begins the next */
        }
        k->selected = -1;
        k->first_heard_ns = 0;
        if (k->phase == DISCIPLINE_RUNNING)
                k->phase = DISCIPLINE_RESUMED;
        k->events |= KEEPER_EVENT_SUSPENDED;
}

static bool is_our_leap(const TimeKeeper *k, const TimeReading *now, int64_t moved_ns)
{
        int64_t expected_ns = k->leap == TIME_LEAP_INSERT ? -NSEC_PER_SEC : NSEC_PER_SEC;

        return k->leap != TIME_LEAP_NONE && is_near(moved_ns, expected_ns, LEAP_SLACK_NS) &&
               now->real_ns >= k->leap_at_ns - 2 * NSEC_PER_SEC &&
               now->real_ns <= k->leap_at_ns + LEAP_WINDOW_NS;
}

static void on_base_moved(TimeKeeper *k, const TimeReading *now, int64_t moved_ns)
{
        discipline_set_base(&k->discipline, now->real_ns - now->mono_ns);
        if (!is_our_leap(k, now, moved_ns)) {
                k->stepped_by_ns += moved_ns;
                k->phase = k->phase == DISCIPLINE_START ? DISCIPLINE_START : DISCIPLINE_RUNNING;
                k->replan = true;
                k->events |= KEEPER_EVENT_STEPPED;
                return;
        }

        /* UTC itself moved: so did all servers, and true time against our free-running clock. */
        discipline_shift(&k->discipline, moved_ns);
        for (size_t i = 0; i < KEEPER_SERVERS_MAX; i++)
                if (k->sources[i])
                        source_shift(k->sources[i], moved_ns);
        k->leapt_at_ns = k->leap_at_ns;
        k->leap = TIME_LEAP_NONE;
        k->events |= KEEPER_EVENT_LEAPT;
}

/* Notices what happened to the clocks since the last reading, other than time. */
static void look_at_clocks(TimeKeeper *k, const TimeReading *now)
{
        int64_t gap_ns = now->boot_ns - now->mono_ns;
        int64_t moved_ns = now->real_ns - now->mono_ns - k->discipline.base_ns;

        if (!is_near(gap_ns, k->boot_gap_ns, SUSPEND_NS)) {
                k->epoch++;
                on_suspend(k, now);
        } else if (!is_near(moved_ns, 0, JUMP_NS)) {
                k->epoch++;
                on_base_moved(k, now, moved_ns);
        }
        k->boot_gap_ns = gap_ns;
}

/* One that was silent for long is back: the network may be, and it should not be alone for long. */
static void ask_silent(TimeKeeper *k, const TimeReading *now)
{
        for (size_t i = 0; i < KEEPER_SERVERS_MAX; i++) {
                TimeSource *s = k->sources[i];

                if (s && s->polls > 0 && s->reach == 0 && s->next_ns != INT64_MAX)
                        s->next_ns = MIN(s->next_ns, now->mono_ns);
        }
}

TimeReject keeper_reply(TimeKeeper *k, unsigned server, const int64_t t[static 4],
                        const TimeClaim *claim, const TimeReading *now)
{
        TimeSource *s = k->sources[server];
        bool was_silent = s->polls > 0 && s->reach == 0, is_new;
        HistorySample sample;
        TimeReject why;

        look_at_clocks(k, now);
        why = check_reply(k, server, t, claim, &sample);
        why = source_offer(s, why == TIME_ACCEPTED ? &sample : NULL, why, now->mono_ns, &is_new);
        k->is_new_line[server] |= is_new;
        if (was_silent && s->reach != 0)
                ask_silent(k, now);
        return why;
}

TimeReject keeper_no_reply(TimeKeeper *k, unsigned server, const TimeReading *now)
{
        bool is_new;
        TimeReject why;

        look_at_clocks(k, now);
        why = source_offer(k->sources[server], NULL, TIME_REJECT_TIMEOUT, now->mono_ns, &is_new);
        k->is_new_line[server] |= is_new;
        return why;
}

typedef struct Candidate {
        TimeSource *source;
        int server;
        TimeEstimate line; /* all at the same moment of the free-running clock */
        SelectInterval interval;
} Candidate;

static SelectInterval interval_of(const TimeEstimate *line)
{
        SelectInterval v;
        int64_t bound_ns = (int64_t) line->bound_ns;

        if (__builtin_sub_overflow(line->ahead_ns, bound_ns, &v.low_ns))
                v.low_ns = INT64_MIN;
        if (__builtin_add_overflow(line->ahead_ns, bound_ns, &v.high_ns))
                v.high_ns = INT64_MAX;
        return v;
}

static size_t gather(TimeKeeper *k, int64_t free_ns, Candidate *ret)
{
        size_t n = 0;

        for (int i = 0; i < (int) KEEPER_SERVERS_MAX; i++) {
                TimeSource *s = k->sources[i];

                if (!s)
                        continue;
                s->status = source_candidate(s, free_ns, &ret[n].line);
                if (s->status != TIME_ACCEPTED)
                        continue;
                ret[n].source = s;
                ret[n].server = i;
                ret[n].interval = interval_of(&ret[n].line);
                n++;
        }
        return n;
}

/* Our own clock as a witness, while it knows the time: it followed these servers until now. */
static bool own_interval(const TimeKeeper *k, int64_t free_ns, SelectInterval *ret)
{
        TimeEstimate line = k->discipline.line;

        if (!k->discipline.has_line)
                return false;
        estimate_advance(&line, free_ns, k->config.limits.wander_ppm);
        if (line.bound_ns > (double) k->config.source.distance_limit_ns)
                return false;
        *ret = interval_of(&line);
        return true;
}

static size_t count_servers(const TimeKeeper *k)
{
        size_t n = 0;

        for (size_t i = 0; i < KEEPER_SERVERS_MAX; i++)
                n += k->sources[i] != NULL;
        return n;
}

/*
 * Where the truth is, if a majority agrees. A minority of all our servers may lie, and all of those
 * that lie may be among the candidates. Where candidates have no majority, our own clock decides,
 * if it is known; a majority of servers overrules it. Alone, servers that a majority never found
 * wrong are believed: there is no other authority; but where so few are left that all of them may
 * lie, what our own clock knows may be the truth, too.
 */
static bool find_common(const TimeKeeper *k, const Candidate *c, size_t n, int64_t free_ns,
                        SelectInterval *ret)
{
        bool are_suspect = true;
        SelectInterval v[KEEPER_SERVERS_MAX + 1], any;
        size_t faults = (count_servers(k) - 1) / 2;
        int agree = 0;

        for (size_t i = 0; i < n; i++) {
                v[i] = c[i].interval;
                are_suspect &= c[i].source->is_falseticker;
        }
        if (!are_suspect)
                agree = select_intersect(v, n, &any);
        if ((agree <= 0 || n <= faults) && own_interval(k, free_ns, v + n)) {
                n++;
                if (agree <= 0)
                        agree = select_intersect(v, n, &any);
        }
        return agree > 0 && select_tolerate(v, n, MAX(faults, n - (size_t) agree), ret) >= 0;
}

/* The truth is in @common, so a line is known no better than from its far end. */
static double reach_ns(const TimeEstimate *line, SelectInterval common)
{
        double low = (double) line->ahead_ns - (double) common.low_ns;
        double high = (double) common.high_ns - (double) line->ahead_ns;

        return fmax(line->bound_ns, fmax(low, high));
}

/* Marks who misses what the majority agrees on. Returns whether there is a majority. */
static bool intersect(TimeKeeper *k, Candidate *c, size_t n, int64_t free_ns)
{
        SelectInterval common;
        bool found = find_common(k, c, n, free_ns, &common);

        for (size_t i = 0; i < n; i++) {
                TimeSource *s = c[i].source;

                if (found) {
                        s->is_falseticker = !select_overlap(c[i].interval, common);
                        c[i].line.bound_ns = reach_ns(&c[i].line, common);
                }
                if (s->is_falseticker)
                        s->status = TIME_REJECT_FALSETICKER;
                else
                        s->status = found ? TIME_ACCEPTED : TIME_REJECT_NO_MAJORITY;
        }
        return found;
}

static const Candidate *choose(const TimeKeeper *k, const Candidate *c, size_t n)
{
        const Candidate *best = NULL, *present = NULL;

        for (size_t i = 0; i < n; i++) {
                if (c[i].source->status != TIME_ACCEPTED)
                        continue;
                if (!best || c[i].line.bound_ns < best->line.bound_ns)
                        best = c + i;
                if (c[i].server == k->selected)
                        present = c + i;
        }
        if (present && present->line.bound_ns < STICKY * best->line.bound_ns)
                return present;
        return best;
}

static bool is_last_day_of_month(int64_t real_ns)
{
        time_t tomorrow = (time_t) (real_ns / NSEC_PER_SEC) + DAY_S;
        struct tm tm;

        return gmtime_r(&tomorrow, &tm) && tm.tm_mday == 1;
}

/*
 * A leap second is believed when most of those that agree on the time announce it, on a day that
 * may have one.
 */
static void learn_leap(TimeKeeper *k, const Candidate *c, size_t n, const TimeReading *now)
{
        size_t votes[_TIME_LEAP_MAX] = {}, total = 0;
        TimeLeap leap = TIME_LEAP_NONE;

        for (size_t i = 0; i < n; i++) {
                if (c[i].source->status != TIME_ACCEPTED)
                        continue;
                votes[c[i].source->claim.leap]++;
                total++;
        }
        if (votes[TIME_LEAP_INSERT] * 2 > total)
                leap = TIME_LEAP_INSERT;
        else if (votes[TIME_LEAP_DELETE] * 2 > total)
                leap = TIME_LEAP_DELETE;

        if (total == 0 || (k->leap != TIME_LEAP_NONE && now->real_ns >= k->leap_at_ns))
                return; /* nobody to ask, or it is about to pass */
        if (k->leapt_at_ns != 0 && is_near(k->leapt_at_ns, now->real_ns, LEAP_WINDOW_NS))
                return; /* announcements of the one that passed */
        if (leap != TIME_LEAP_NONE && !is_last_day_of_month(now->real_ns))
                return;
        k->leap = leap;
        k->leap_at_ns = (now->real_ns / NSEC_PER_SEC / DAY_S + 1) * DAY_S * NSEC_PER_SEC;
}

/*
 * A clock that knows nothing yet must not be set by who happens to answer first, be it at boot or
 * when the network comes up minutes later. So with the first candidate all silent servers are
 * asked once more, and waited for.
 */
static bool is_waiting(TimeKeeper *k, const TimeReading *now)
{
        bool is_first = k->first_heard_ns == 0, waits = false;

        if (k->phase == DISCIPLINE_RUNNING)
                return false;
        if (is_first)
                k->first_heard_ns = now->mono_ns;

        for (size_t i = 0; i < KEEPER_SERVERS_MAX; i++) {
                TimeSource *s = k->sources[i];

                if (!s)
                        continue;
                if (is_first)
                        source_ask_again(s, now->mono_ns);
                waits |= source_is_pending(s);
        }
        return waits;
}

static void follow(TimeKeeper *k, const Candidate *c, const TimeReading *now, KeeperDecision *ret)
{
        double slew_s = CLAMP((double) (1U << c->source->poll) / SLEW_SHARE, 1, SLEW_MOST_S);

        ret->step_ns = discipline_update(&k->discipline, &c->line, now->mono_ns, slew_s, k->phase);
        if (ret->step_ns != 0)
                k->epoch++;
        k->phase = DISCIPLINE_RUNNING;
        k->is_new_line[c->server] = false;
        k->replan = false;
        k->learnt = true;
}

/* Somebody stepped the clock while no server is there: what we know of the time still holds. */
static void follow_memory(TimeKeeper *k, const TimeReading *now, KeeperDecision *ret)
{
        TimeEstimate line = k->discipline.line;

        ret->step_ns = discipline_update(&k->discipline, &line, now->mono_ns, SLEW_MOST_S,
                                         DISCIPLINE_RUNNING);
        if (ret->step_ns != 0)
                k->epoch++;
        k->replan = false;
}

static void update(TimeKeeper *k, const TimeReading *now, KeeperDecision *ret)
{
        int64_t free_ns = discipline_free_ns(&k->discipline, now->mono_ns);
        Candidate c[KEEPER_SERVERS_MAX];
        const Candidate *best = NULL;
        int selected = -1;
        size_t n;

        n = gather(k, free_ns, c);
        if (n > 0 && !is_waiting(k, now) && intersect(k, c, n, free_ns)) {
                learn_leap(k, c, n, now);
                best = choose(k, c, n);
        }
        if (best)
                selected = best->server;
        k->doubt_ns = best && n == 1 ? source_doubt_ns(best->source) : 0;

        if (best && (selected != k->selected || k->is_new_line[selected] || k->replan))
                follow(k, best, now, ret);
        else if (best)
                discipline_widen(&k->discipline, now->mono_ns, best->line.bound_ns);
        else if (!best && k->replan && k->discipline.has_line)
                follow_memory(k, now, ret);
        if (selected != k->selected)
                k->events |= KEEPER_EVENT_SELECTED;
        k->selected = selected;
}

static KeeperState state_of(const TimeKeeper *k, int64_t bound_ns)
{
        if (!k->discipline.has_line)
                return k->learnt ? KEEPER_UNSYNCHRONISED : KEEPER_STARTING;
        if (bound_ns > k->config.source.distance_limit_ns)
                return KEEPER_UNSYNCHRONISED;
        return k->selected >= 0 ? KEEPER_SYNCHRONISED : KEEPER_HOLDOVER;
}

static void conclude(TimeKeeper *k, const TimeReading *now, KeeperDecision *ret)
{
        TimeDiscipline *d = &k->discipline;

        ret->frequency_ppm = discipline_rate_ppm(d);
        ret->set_frequency = ret->frequency_ppm != k->told_ppm; /* NAN: always */
        k->told_ppm = ret->frequency_ppm;
        ret->maxerror_ns = keeper_bound_ns(k, now);
        ret->esterror_ns = discipline_esterror_ns(d, now->mono_ns);
        ret->state = state_of(k, ret->maxerror_ns);
        ret->leap = k->leap;
        ret->events = k->events;
        ret->stepped_by_ns = k->stepped_by_ns;
        k->events = 0;
        k->stepped_by_ns = 0;
}

static void decide(TimeKeeper *k, const TimeReading *now, KeeperDecision *ret)
{
        *ret = (KeeperDecision){};
        look_at_clocks(k, now);
        (void) discipline_tick(&k->discipline, now->mono_ns);
        update(k, now, ret);
}

void keeper_tick(TimeKeeper *k, const TimeReading *now, KeeperDecision *ret)
{
        decide(k, now, ret);
        conclude(k, now, ret);
}

void keeper_step(TimeKeeper *k, const TimeReading *now, KeeperDecision *ret)
{
        int64_t step_ns;

        decide(k, now, ret);
        step_ns = discipline_step(&k->discipline, now->mono_ns);
        if (step_ns != 0)
                k->epoch++;
        ret->step_ns += step_ns;
        conclude(k, now, ret);
}

int64_t keeper_wakeup_ns(const TimeKeeper *k)
{
        int64_t next_ns = k->discipline.slew_end_ns;

        for (size_t i = 0; i < KEEPER_SERVERS_MAX; i++)
                if (k->sources[i])
                        next_ns = MIN(next_ns, k->sources[i]->next_ns);
        return next_ns;
}

int64_t keeper_bound_ns(const TimeKeeper *k, const TimeReading *now)
{
        int64_t sum_ns;

        if (__builtin_add_overflow(discipline_bound_ns(&k->discipline, now->mono_ns), k->doubt_ns,
                                   &sum_ns))
                return INT64_MAX;
        return sum_ns;
}

int64_t keeper_offset_ns(const TimeKeeper *k, const TimeReading *now)
{
        return discipline_offset_ns(&k->discipline, now->mono_ns);
}

void keeper_claim(const TimeKeeper *k, const TimeReading *now, TimeClaim *ret)
{
        int64_t bound_ns = keeper_bound_ns(k, now);
        const TimeSource *s;

        *ret = (TimeClaim){.leap = k->leap};
        if (k->selected < 0 || bound_ns > k->config.source.distance_limit_ns)
                return;

        s = k->sources[k->selected];
        ret->synchronised = true;
        ret->stratum = s->claim.stratum + 1;
        /*
         * Delay and dispersion as NTP has them; what counts is that together they make our bound.
         */
        ret->root_delay_ns = MIN(s->claim.root_delay_ns + s->last.rtt_ns, 2 * bound_ns);
        ret->root_dispersion_ns = bound_ns - ret->root_delay_ns / 2;
}

bool keeper_drift(const TimeKeeper *k, Drift *ret)
{
        if (!k->learnt)
                return false;
        *ret = (Drift){k->discipline.frequency_ppm, k->discipline.frequency_sd_ppm};
        return true;
}

int keeper_selected(const TimeKeeper *k)
{
        return k->selected;
}

const TimeSource *keeper_server(const TimeKeeper *k, unsigned server)
{
        return server < KEEPER_SERVERS_MAX ? k->sources[server] : NULL;
}
