#include <math.h>

#include "timekeeping/history.h"

#define NS_PER_S 1e9
#define NS_PER_S_PER_PPM 1e3
#define WANDER_S 3600.0
#define TOLERANCE_PPM 15.0 /* RFC 5905: PHI */
#define UNKNOWN_PPM 500.0  /* a frequency of which nothing is known is still within this */
#define PRIOR_SDS 3.0 /* what is known beforehand is believed within this many standard errors */
#define KEEP_LEAST 4U /* shorter lines than this are noise */
#define UNSEEN 2.6    /* see make_points() */

/* What a time stamp is good for at best: kernel stamps between hosts under load err by 1 µs rms. */
#define STAMP_SD_NS 1000.0

/*
 * The oldest sample weighs a twentieth: of 0 to 4 the least error where the frequency walks at
 * random.
 */
#define FADE 3.0

static_assert(HISTORY_MAX <= REGRESSION_MAX, "a history fits a regression");

void history_init(History *h, double frequency_ppm, double sd_ppm, double wander_ppm)
{
        h->count = 0;
        h->prior = (RegressionPrior){frequency_ppm * 1e3, sd_ppm * 1e3};
        h->wander_ppm = wander_ppm;
}

static void forget_oldest(History *h)
{
        h->count--;
        memmove(h->samples, h->samples + 1, h->count * sizeof(*h->samples));
        h->prior.slope_sd = INFINITY; /* what was known before the oldest sample is older still */
}

void history_add(History *h, const HistorySample *s)
{
        assert(h->count == 0 || h->samples[h->count - 1].free_ns <= s->free_ns);

        if (h->count == HISTORY_MAX)
                forget_oldest(h);
        h->samples[h->count++] = *s;
}

void history_shift(History *h, int64_t ahead_ns)
{
        for (size_t i = 0; i < h->count; i++)
                h->samples[i].ahead_ns += ahead_ns;
}

/*
 * Variances from the excess of the round trips over the least. That one has none, yet is not
 * perfect: with n exchanges of two exponential ways each, the true excess of the least is expected
 * to be 0.63 / √n of the mean excess, or 1.3 / √n of the lower quartile (gamma distribution of
 * shape 2), and its spread is as large; twice that is added to all. The quartile, not the mean,
 * because a queue that fills for half an hour must not make the samples before it look bad.
 */
static void make_points(const History *h, RegressionPoint *ret)
{
        const HistorySample *last = h->samples + h->count - 1;
        double excess[HISTORY_MAX], unseen;
        int64_t least_ns = INT64_MAX;

        for (size_t i = 0; i < h->count; i++)
                least_ns = MIN(least_ns, h->samples[i].rtt_ns);
        for (size_t i = 0; i < h->count; i++)
                excess[i] = (double) (h->samples[i].rtt_ns - least_ns);
        unseen = UNSEEN * lower_quartile(excess, h->count) / sqrt((double) h->count);

        for (size_t i = 0; i < h->count; i++) {
                const HistorySample *s = h->samples + i;
                double spread = excess[i] + unseen;

                ret[i] = (RegressionPoint){
                        .x = (double) (s->free_ns - last->free_ns) / NS_PER_S,
                        .y = (double) (s->ahead_ns - last->ahead_ns),
                        .variance = STAMP_SD_NS * STAMP_SD_NS + spread * spread / 12,
                };
        }
}

/* How far a clock may be off after @s seconds on a line, for the reasons in history.h; in ns. */
static double growth_ns(double wander_ppm, double frequency_bound_ppm, double s)
{
        double strays_ppm = fmin(wander_ppm * (1 + s / WANDER_S), fmax(wander_ppm, TOLERANCE_PPM));

        return (strays_ppm + frequency_bound_ppm) * NS_PER_S_PER_PPM * s;
}

/*
 * The server's rate against the line's is known from any two samples: the line passes each within
 * @off of where the server's clock was. The error that the regression states would not do: a queue
 * that grows while one watches is the same mistake in every sample, not a new one each time.
 */
static double frequency_bound_of(const History *h, const double *off, const RegressionPoint *p,
                                 const Regression *fit)
{
        double bend =
                h->wander_ppm * NS_PER_S_PER_PPM / WANDER_S; /* what held then holds less now */
        /* The oscillator's error is within this of none; the line's slope may be far from both. */
        double best = UNKNOWN_PPM * NS_PER_S_PER_PPM + fabs(fit->slope);

        best = fmin(best, fabs(fit->slope - h->prior.slope) + PRIOR_SDS * h->prior.slope_sd);
        for (size_t i = 0; i < h->count; i++)
                for (size_t k = i + 1; k < h->count; k++)
                        if (p[k].x > p[i].x)
                                best = fmin(best,
                                            (off[i] + off[k]) / (p[k].x - p[i].x) + bend * -p[i].x);
        return best / NS_PER_S_PER_PPM;
}

/*
 * The tightest of what each sample allows: the line is off it by so much, it is off the truth by
 * its bound.
 */
static double bound_of(const History *h, const double *off, const RegressionPoint *p,
                       double frequency_bound_ppm)
{
        double best = INFINITY;

        for (size_t i = 0; i < h->count; i++) {
                double grown = growth_ns(h->wander_ppm, frequency_bound_ppm, -p[i].x);

                best = fmin(best, off[i] + grown + (double) h->samples[i].root_ns);
        }
        return best;
}

int history_fit(History *h, TimeEstimate *ret)
{
        double off[HISTORY_MAX], frequency_bound_ppm;
        RegressionPoint p[HISTORY_MAX];
        const HistorySample *last;
        Regression fit;

        if (h->count == 0)
                return -ENODATA;

        for (;;) {
                make_points(h, p);
                regression_fit(p, h->count, h->prior, FADE, &fit);
                if (h->count <= KEEP_LEAST || regression_runs_pass(p, h->count, &fit))
                        break;
                forget_oldest(h);
        }

        for (size_t i = 0; i < h->count; i++)
                off[i] = fabs(p[i].y - fit.intercept - fit.slope * p[i].x) +
                         (double) h->samples[i].half_ns;
        frequency_bound_ppm = frequency_bound_of(h, off, p, &fit);

        last = h->samples + h->count - 1;
        *ret = (TimeEstimate){
                .free_ns = last->free_ns,
                .ahead_ns = last->ahead_ns + (int64_t) fit.intercept,
                .frequency_ppm = fit.slope / 1e3,
                .ahead_sd_ns = fit.intercept_sd,
                .frequency_sd_ppm = fit.slope_sd / 1e3,
                .frequency_bound_ppm = frequency_bound_ppm,
                .bound_ns = bound_of(h, off, p, frequency_bound_ppm),
                .count = (uint32_t) h->count,
        };
        return 0;
}

void estimate_advance(TimeEstimate *e, int64_t free_ns, double wander_ppm)
{
        double s = (double) (free_ns - e->free_ns) / NS_PER_S;

        e->free_ns = free_ns;
        e->ahead_ns += (int64_t) (e->frequency_ppm * 1e3 * s);
        e->ahead_sd_ns = hypot(e->ahead_sd_ns, e->frequency_sd_ppm * 1e3 * s);
        e->bound_ns += growth_ns(wander_ppm, e->frequency_bound_ppm, fabs(s));
}

bool estimate_agrees(const TimeEstimate *e, const HistorySample *s, double wander_ppm)
{
        TimeEstimate there = *e;

        estimate_advance(&there, s->free_ns, wander_ppm);
        return fabs((double) (s->ahead_ns - there.ahead_ns)) <=
               there.bound_ns + (double) s->half_ns;
}
