#include <math.h>

#include "world.h"

#define LEAP_DAY_NS (INT64_C(1782864000) * NSEC_PER_SEC) /* 2026-07-01 00:00:00 UTC */
#define START_NS (INT64_C(1781100000) * NSEC_PER_SEC)    /* a June day before it */
#define SERVER_TAKES_S 20e-6                             /* T3 − T2 */
#define TIMEOUT_S 1.0
#define QUEUE_PERIOD_S 3600.0
#define SERVER_STEP_NS NSEC_PER_SEC

/* splitmix64: Steele, Lea & Flood, OOPSLA 2014. */
static uint64_t random_bits(World *w)
{
        uint64_t z = w->random += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}

/* In (0, 1]. */
static double uniform(World *w)
{
        return (double) ((random_bits(w) >> 11) + 1) * 0x1p-53;
}

static double exponential(World *w, double mean)
{
        return -mean * log(uniform(w));
}

/* Box & Muller 1958. */
static double normal(World *w)
{
        double radius = sqrt(-2 * log(uniform(w)));

        return radius * cos(2 * G_PI * uniform(w));
}

static int64_t to_ns(double s)
{
        return llround(s * 1e9);
}

static int64_t start_ns(const World *w)
{
        return w->options.leap_s > 0 ? LEAP_DAY_NS - to_ns(w->options.leap_s) : START_NS;
}

/* UTC as true clocks show it, on either side of the leap second. */
static int64_t utc_ns(const World *w, double at_s)
{
        bool is_after = w->options.leap_s > 0 && at_s >= w->options.leap_s;

        return start_ns(w) + to_ns(at_s) - (is_after ? NSEC_PER_SEC : 0);
}

static int64_t server_error_ns(const World *w, unsigned server, double at_s)
{
        const WorldOptions *o = &w->options;
        int64_t error_ns = 0;

        if (server >= o->servers - o->liars)
                error_ns += to_ns(o->liar_s);
        if (server == 0 && o->server_step_s > 0 && at_s >= o->server_step_s)
                error_ns += SERVER_STEP_NS;
        return error_ns;
}

void world_init(World *w, const WorldOptions *o)
{
        *w = (World){
                .options = *o,
                .random = o->seed * UINT64_C(0x2545f4914f6cdd1d) + 1,
                .mono_s = 100,
                .freq = o->freq_ppm * 1e-6,
        };
        w->base_ns = start_ns(w) + to_ns(o->offset_s) - to_ns(w->mono_s);
        w->leap_real_ns = LEAP_DAY_NS;
}

static double rate(const World *w)
{
        return (1 + w->freq) * (1 + w->command_ppm * 1e-6);
}

void world_advance(World *w, double to_s)
{
        assert(to_s >= w->now_s);

        w->mono_s += (to_s - w->now_s) * rate(w);
        w->now_s = to_s;
}

void world_wander(World *w)
{
        w->freq += w->options.wander * normal(w);
}

double world_when_s(const World *w, int64_t mono_ns)
{
        double wait_s = (double) mono_ns * 1e-9 - w->mono_s;

        return w->now_s + fmax(wait_s, 0) / rate(w) + 1e-9;
}

double world_leap_s(const World *w)
{
        if (w->leap != TIME_LEAP_INSERT || w->leapt)
                return INFINITY;
        return world_when_s(w, w->leap_real_ns - w->base_ns);
}

void world_leap(World *w)
{
        w->base_ns -= NSEC_PER_SEC;
        w->leapt = true;
}

void world_suspend(World *w)
{
        double length_s = w->options.suspend.length_s;

        w->now_s += length_s;
        w->asleep_s += length_s;
        w->base_ns += to_ns(length_s + w->options.suspend_error_s * (2 * uniform(w) - 1));
}

TimeReading world_read(const World *w)
{
        int64_t mono_ns = to_ns(w->mono_s);

        return (TimeReading){
                .real_ns = mono_ns + w->base_ns,
                .mono_ns = mono_ns,
                .boot_ns = mono_ns + to_ns(w->asleep_s),
        };
}

double world_error_ns(const World *w)
{
        int64_t reference_ns = utc_ns(w, w->now_s);

        if (w->options.servers == 1)
                reference_ns += server_error_ns(w, 0, w->now_s);
        return (double) (world_read(w).real_ns - reference_ns);
}

double world_offset_ns(const World *w, unsigned server)
{
        return (double) (utc_ns(w, w->now_s) + server_error_ns(w, server, w->now_s) -
                         world_read(w).real_ns);
}

static double packet_s(World *w, bool is_there)
{
        const WorldOptions *o = &w->options;
        double s = o->delay_s + exponential(w, o->jitter_s);

        if (is_there) {
                s += o->asymmetry_s;
                s += o->queue_s * fmax(0, sin(2 * G_PI * w->now_s / QUEUE_PERIOD_S));
        }
        if (uniform(w) < o->spike_prob)
                s += o->spike_s;
        return s;
}

static bool is_out(const World *w)
{
        const Span *o = &w->options.outage;

        return w->now_s >= o->start_s && w->now_s < o->start_s + o->length_s;
}

void world_send(World *w, unsigned server, WorldExchange *ret)
{
        double there_s = w->now_s + packet_s(w, true);
        double back_s = there_s + SERVER_TAKES_S;
        bool lost_there = uniform(w) < w->options.loss, lost_back = uniform(w) < w->options.loss;

        *ret = (WorldExchange){
                .is_under_way = true,
                .t = {world_read(w).real_ns,
                      utc_ns(w, there_s) + server_error_ns(w, server, there_s),
                      utc_ns(w, back_s) + server_error_ns(w, server, back_s)},
                .ends_s = back_s + packet_s(w, false),
                .is_lost = lost_there || lost_back || is_out(w),
        };
        if (ret->is_lost || ret->ends_s > w->now_s + TIMEOUT_S) {
                ret->is_lost = true;
                ret->ends_s = w->now_s + TIMEOUT_S;
        }
}

TimeClaim world_claim(const World *w, unsigned server)
{
        bool is_leap_day = w->options.leap_s > 0 && w->now_s < w->options.leap_s &&
                           w->now_s >= w->options.leap_s - 86400;

        return (TimeClaim){
                .synchronised = true,
                .stratum = 1,
                .leap = is_leap_day ? TIME_LEAP_INSERT : TIME_LEAP_NONE,
        };
}
