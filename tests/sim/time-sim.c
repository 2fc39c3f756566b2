/*
 * time-sim — hours of a clock under discipline in a fraction of a second.
 *
 * Runs the very keeper that the daemon runs against a simulated clock and network, and measures
 * each second of true time how far the clock is off, and whether it is within the bound that the
 * keeper states. Prints one line:
 *
 *      rms_us= max_us=        the clock's error after --settle
 *      steps= polls=          steps made; exchanges begun, on average for each server
 *      bound_held=            share of the seconds, from the start, in which |error| ≤ stated bound
 *      samples_held=          share of the exchanges whose offset ± bound held the true offset
 *      expected=              the same after --settle with twice the estimated error
 *      unsync_s=              seconds without a bound to state, or with one beyond the limit
 *      bound_us=              the stated bound's median after --settle
 */
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "world.h"

typedef struct Sim {
        World world;
        TimeKeeper *keeper;
        KeeperConfig config;
        double duration_s, settle_s;
        bool verbose;
        WorldExchange exchanges[WORLD_SERVERS_MAX];
        double offsets_before_ns[WORLD_SERVERS_MAX]; /* true offset as the exchange began */
        bool is_suspended_once;

        uint64_t seconds, held, unsynchronised, expected, measured, samples, samples_held,
                exchanges_begun;
        unsigned steps;
        double squares, max_ns;
        KeeperDecision last;
        GArray *bounds_ns;
} Sim;

static void apply(Sim *s)
{
        TimeReading now = world_read(&s->world);
        KeeperDecision *d = &s->last;

        keeper_tick(s->keeper, &now, d);
        if (d->set_frequency)
                s->world.command_ppm = d->frequency_ppm;
        if (d->step_ns != 0) {
                s->world.base_ns += d->step_ns;
                s->steps++;
        }
        s->world.leap = d->leap;
        if (s->verbose && (d->events || d->step_ns))
                printf("# %.3f events=%x step_ns=%" PRId64 " state=%s\n", s->world.now_s, d->events,
                       d->step_ns, keeper_state_to_string(d->state));
}

static void begin_exchanges(Sim *s)
{
        TimeReading now = world_read(&s->world);
        unsigned server;

        while (keeper_poll(s->keeper, &now, &server) > 0) {
                world_send(&s->world, server, s->exchanges + server);
                s->offsets_before_ns[server] = world_offset_ns(&s->world, server);
                s->exchanges_begun++;
        }
}

/* Against the mean of the true offset at both ends: the clock may be slewed in between. */
static void judge_sample(Sim *s, unsigned server, const int64_t t[static 4])
{
        double truth_ns = (s->offsets_before_ns[server] + world_offset_ns(&s->world, server)) / 2;
        CristianSample c;

        if (cristian_sample(t, &c) < 0)
                return;
        s->samples++;
        s->samples_held += fabs((double) c.offset_ns - truth_ns) <= (double) c.bound_ns + 1;
}

static void end_exchange(Sim *s, unsigned server)
{
        WorldExchange *e = s->exchanges + server;
        TimeReading now = world_read(&s->world);
        TimeClaim claim = world_claim(&s->world, server);
        TimeReject why;

        e->is_under_way = false;
        e->t[3] = now.real_ns;
        if (e->is_lost)
                why = keeper_no_reply(s->keeper, server, &now);
        else {
                why = keeper_reply(s->keeper, server, e->t, &claim, &now);
                if (why != TIME_REJECT_CLOCK_STEPPED) /* its two ends are of two clocks */
                        judge_sample(s, server, e->t);
        }
        if (s->verbose) {
                const TimeSource *source = keeper_server(s->keeper, server);

                printf("# %.3f server=%u %s error_us=%.3f count=%u poll=%d "
                       "ppm=%.4f sd_ppm=%.4f sd_us=%.3f\n",
                       s->world.now_s, server, time_reject_to_string(why),
                       world_error_ns(&s->world) / 1e3, source->line.count, source->poll,
                       source->line.frequency_ppm, source->line.frequency_sd_ppm,
                       source->line.ahead_sd_ns / 1e3);
        }
        apply(s);
}

static void measure(Sim *s)
{
        double error_ns = fabs(world_error_ns(&s->world)), bound_ns;

        apply(s);
        bound_ns = (double) s->last.maxerror_ns;
        s->seconds++;
        s->held += error_ns <= bound_ns;
        s->unsynchronised += s->last.maxerror_ns > s->config.source.distance_limit_ns;
        if (s->verbose && error_ns > bound_ns)
                printf("# %.3f error_ns=%.0f beyond bound_ns=%.0f\n", s->world.now_s, error_ns,
                       bound_ns);
        if (s->world.now_s < s->settle_s)
                return;
        s->measured++;
        s->expected += error_ns <= 2 * (double) s->last.esterror_ns;
        s->squares += error_ns * error_ns;
        s->max_ns = fmax(s->max_ns, error_ns);
        g_array_append_val(s->bounds_ns, bound_ns);
}

static double next_event_s(const Sim *s, double second_s)
{
        double next_s = fmin(second_s, world_when_s(&s->world, keeper_wakeup_ns(s->keeper)));

        for (unsigned i = 0; i < s->world.options.servers; i++)
                if (s->exchanges[i].is_under_way)
                        next_s = fmin(next_s, s->exchanges[i].ends_s);
        return fmax(fmin(next_s, world_leap_s(&s->world)), s->world.now_s);
}

static void end_exchanges(Sim *s)
{
        for (unsigned i = 0; i < s->world.options.servers; i++)
                if (s->exchanges[i].is_under_way && s->exchanges[i].ends_s <= s->world.now_s)
                        end_exchange(s, i);
}

static bool is_time_to_sleep(const Sim *s)
{
        const Span *span = &s->world.options.suspend;

        return span->length_s > 0 && !s->is_suspended_once && s->world.now_s >= span->start_s;
}

static void run(Sim *s)
{
        double second_s = 1;

        for (unsigned i = 0; i < s->world.options.servers; i++) {
                TimeReading now = world_read(&s->world);

                (void) keeper_add_server(s->keeper, &now);
        }
        while (s->world.now_s < s->duration_s) {
                apply(s);
                begin_exchanges(s);
                world_advance(&s->world, next_event_s(s, second_s));
                if (world_leap_s(&s->world) <= s->world.now_s + 1e-8) {
                        world_leap(&s->world);
                        apply(s);
                }
                end_exchanges(s);
                if (is_time_to_sleep(s)) {
                        world_suspend(&s->world);
                        s->is_suspended_once = true;
                        second_s = floor(s->world.now_s) + 1;
                        apply(s);
                }
                if (s->world.now_s >= second_s) {
                        world_wander(&s->world);
                        measure(s);
                        second_s += 1;
                }
        }
}

static int compare_doubles(const void *a, const void *b)
{
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

static double median_bound_ns(Sim *s)
{
        g_array_sort(s->bounds_ns, compare_doubles);
        return s->bounds_ns->len > 0 ? g_array_index(s->bounds_ns, double, s->bounds_ns->len / 2)
                                     : NAN;
}

static double share(uint64_t part, uint64_t whole)
{
        return whole > 0 ? (double) part / (double) whole : 1;
}

static void report(Sim *s)
{
        printf("rms_us=%.3f max_us=%.3f steps=%u polls=%.0f bound_held=%.6f samples_held=%.6f "
               "expected=%.4f unsync_s=%" PRIu64 " bound_us=%.3f\n",
               sqrt(s->squares / (double) MAX(s->measured, 1)) / 1e3, s->max_ns / 1e3, s->steps,
               (double) s->exchanges_begun / s->world.options.servers, share(s->held, s->seconds),
               share(s->samples_held, s->samples), share(s->expected, s->measured),
               s->unsynchronised, median_bound_ns(s) / 1e3);
}

typedef enum OptionKind {
        OPTION_DOUBLE,
        OPTION_MSEC,
        OPTION_UINT,
        OPTION_INT,
        OPTION_SPAN,
        OPTION_SEED
} OptionKind;

typedef struct Option {
        const char *name;
        OptionKind kind;
        void *value;
} Option;

static bool parse_double(const char *text, double *ret)
{
        char *end;

        *ret = g_ascii_strtod(text, &end);
        return end != text && *end == '\0' && isfinite(*ret);
}

/* START:LENGTH in seconds. */
static bool parse_span(const char *text, Span *ret)
{
        g_auto(GStrv) parts = g_strsplit(text, ":", 2);

        return parts[0] && parts[1] && parse_double(parts[0], &ret->start_s) &&
               parse_double(parts[1], &ret->length_s);
}

static bool set_option(const Option *o, const char *text)
{
        double v;

        if (o->kind == OPTION_SPAN)
                return parse_span(text, o->value);
        if (!parse_double(text, &v))
                return false;
        switch (o->kind) {
        case OPTION_DOUBLE:
                *(double *) o->value = v;
                return true;
        case OPTION_MSEC:
                *(double *) o->value = v * 1e-3;
                return true;
        case OPTION_UINT:
                *(unsigned *) o->value = (unsigned) v;
                return v >= 0 && v < 1e9;
        case OPTION_INT:
                *(int *) o->value = (int) v;
                return fabs(v) < 1e9;
        case OPTION_SEED:
                *(uint64_t *) o->value = (uint64_t) v;
                return v >= 0 && v < 0x1p53;
        default:
                g_assert_not_reached();
        }
}

static int parse_options(Sim *s, int argc, char *argv[])
{
        WorldOptions *w = &s->world.options;
        SourceConfig *c = &s->config.source;
        const Option options[] = {
                {"duration", OPTION_DOUBLE, &s->duration_s},
                {"settle", OPTION_DOUBLE, &s->settle_s},
                {"freq-ppm", OPTION_DOUBLE, &w->freq_ppm},
                {"wander", OPTION_DOUBLE, &w->wander},
                {"offset", OPTION_DOUBLE, &w->offset_s},
                {"delay-ms", OPTION_MSEC, &w->delay_s},
                {"jitter-ms", OPTION_MSEC, &w->jitter_s},
                {"asymmetry", OPTION_MSEC, &w->asymmetry_s},
                {"queue-ms", OPTION_MSEC, &w->queue_s},
                {"spike-prob", OPTION_DOUBLE, &w->spike_prob},
                {"spike-ms", OPTION_MSEC, &w->spike_s},
                {"loss", OPTION_DOUBLE, &w->loss},
                {"servers", OPTION_UINT, &w->servers},
                {"liars", OPTION_UINT, &w->liars},
                {"liar", OPTION_DOUBLE, &w->liar_s},
                {"server-step", OPTION_DOUBLE, &w->server_step_s},
                {"outage", OPTION_SPAN, &w->outage},
                {"suspend", OPTION_SPAN, &w->suspend},
                {"suspend-error", OPTION_DOUBLE, &w->suspend_error_s},
                {"leap", OPTION_DOUBLE, &w->leap_s},
                {"min-poll", OPTION_INT, &c->min_poll},
                {"max-poll", OPTION_INT, &c->max_poll},
                {"burst", OPTION_UINT, &c->burst},
                {"retries", OPTION_UINT, &c->retries},
                {"seed", OPTION_SEED, &w->seed},
        };
        struct option table[ELEMENTSOF(options) + 2] = {};

        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                table[i] =
                        (struct option){options[i].name, required_argument, NULL, (int) i + 1000};
        table[ELEMENTSOF(options)] = (struct option){"verbose", no_argument, NULL, 'v'};

        for (int c_opt; (c_opt = getopt_long(argc, argv, "v", table, NULL)) >= 0;) {
                if (c_opt == 'v')
                        s->verbose = true;
                else if (c_opt < 1000)
                        return -EINVAL;
                else if (!set_option(options + c_opt - 1000, optarg)) {
                        fprintf(stderr, "time-sim: --%s: \"%s\" is no such value\n",
                                options[c_opt - 1000].name, optarg);
                        return -EINVAL;
                }
        }
        if (optind < argc || w->servers < 1 || w->servers > WORLD_SERVERS_MAX ||
            w->liars > w->servers || c->burst < 1 || c->min_poll < SOURCE_POLL_LEAST ||
            c->min_poll > c->max_poll || c->max_poll > SOURCE_POLL_MOST) {
                fprintf(stderr, "time-sim: the options do not fit together\n");
                return -EINVAL;
        }
        return 0;
}

int main(int argc, char *argv[])
{
        g_autoptr(GArray) bounds_ns = g_array_new(FALSE, FALSE, sizeof(double));
        Sim s = {
                .config = keeper_defaults,
                .duration_s = 40000,
                .settle_s = 4000,
                .bounds_ns = bounds_ns,
                .world.options =
                        {
                                .freq_ppm = 10,
                                .wander = 1e-9,
                                .offset_s = 0.1,
                                .delay_s = 1e-3,
                                .jitter_s = 1e-4,
                                .suspend_error_s = 0.5,
                                .servers = 1,
                                .liar_s = 0.5,
                                .seed = 1,
                        },
        };
        WorldOptions world;
        TimeReading now;

        if (parse_options(&s, argc, argv) < 0)
                return 2;

        world = s.world.options;
        world_init(&s.world, &world);
        now = world_read(&s.world);
        s.keeper = keeper_new(&s.config, &now, NULL);
        run(&s);
        report(&s);
        keeper_free(s.keeper);
        return 0;
}
