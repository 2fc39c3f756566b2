#include <float.h>
#include <math.h>

#include "timekeeping/regression.h"

/*
 * One good fit in ten loses its oldest sample for nothing, which costs less than a bent line kept.
 */
#define RUNS_LEVEL 0.1
#define RUNS_LEAST 4U /* fewer residuals cannot fail at this level */
/* Residuals a hundred times smaller than the samples are good for are rounding, not news. */
#define RUNS_SILENT 1e-4

/* Times the lower quartile of variance, that is 3 standard deviations: beyond is not heard. */
#define RUNS_WORST 9.0

/* A contradiction by chance is as large once in some ten thousand times. */
#define CHANCE_SDS 4.0
#define WORSE_LEAST 1.5 /* so that it ends */
#define WORSE_MOST 1e12

typedef struct Sums {
        double w, x, y, xx, xy; /* weighted */
} Sums;

static void sum_up(const RegressionPoint *p, size_t n, RegressionPrior prior, double fade, Sums *s)
{
        double span = fmax(p[n - 1].x - p[0].x, DBL_MIN);

        *s = (Sums){};
        for (size_t i = 0; i < n; i++) {
                double w = exp(-fade * (p[n - 1].x - p[i].x) / span) / p[i].variance;

                s->w += w;
                s->x += w * p[i].x;
                s->y += w * p[i].y;
                s->xx += w * p[i].x * p[i].x;
                s->xy += w * p[i].x * p[i].y;
        }
        if (isfinite(prior.slope_sd)) {
                double w = 1 / (prior.slope_sd * prior.slope_sd);

                s->xx += w;
                s->xy += w * prior.slope;
        }
}

static double residual(const RegressionPoint *p, const Regression *fit)
{
        return p->y - fit->intercept - fit->slope * p->x;
}

static double squares_of(const RegressionPoint *p, size_t n, const Regression *fit)
{
        double sum = 0;

        for (size_t i = 0; i < n; i++)
                sum += residual(p + i, fit) * residual(p + i, fit) / p[i].variance;
        return sum;
}

/* With all variances @worse times what they are said to be. */
static void fit_worse(const RegressionPoint *p, size_t n, RegressionPrior prior, double fade,
                      double worse, Regression *ret)
{
        double determinant, spread, scale = 1;
        Sums s;

        prior.slope_sd /= sqrt(worse); /* the same, but for the errors that come out */
        sum_up(p, n, prior, fade, &s);
        determinant = s.w * s.xx - s.x * s.x;
        spread = determinant / s.w; /* weighted squares of x about their mean, and the prior */

        *ret = (Regression){.chi2 = 1};
        if (!(spread > 1e-9 * s.xx)) { /* one moment only: no slope to be had */
                ret->intercept = s.y / s.w;
                ret->intercept_sd = sqrt(worse / s.w);
                ret->slope_sd = INFINITY;
                return;
        }

        ret->slope = (s.w * s.xy - s.x * s.y) / determinant;
        ret->intercept = (s.y - ret->slope * s.x) / s.w;

        if (n > 2) {
                ret->chi2 = squares_of(p, n, ret) / (double) (n - 2);
                scale = fmax(ret->chi2 / worse, 1);
        }
        ret->intercept_sd = sqrt(worse * scale * s.xx / determinant);
        ret->slope_sd = sqrt(worse * scale * s.w / determinant);
}

/*
 * How many times more than chance would have it the points and the prior contradict each other; up
 * to 1: they do not. The mean of χ² with d degrees of freedom is d and its variance 2d.
 */
static double contradiction(const RegressionPoint *p, size_t n, RegressionPrior prior, double worse,
                            const Regression *fit)
{
        double off = (fit->slope - prior.slope) / prior.slope_sd, d = (double) n - 1;

        return (squares_of(p, n, fit) / worse + off * off) / (d + CHANCE_SDS * sqrt(2 * d));
}

void regression_fit(const RegressionPoint *p, size_t n, RegressionPrior prior, double fade,
                    Regression *ret)
{
        double worse = 1;

        assert(n > 0);
        assert(prior.slope_sd > 0);

        for (;;) {
                double c;

                fit_worse(p, n, prior, fade, worse, ret);
                if (n < 2 || !isfinite(prior.slope_sd))
                        return;
                c = contradiction(p, n, prior, worse, ret);
                if (!(c > 1) || worse > WORSE_MOST)
                        return;
                worse *= fmax(c, WORSE_LEAST);
        }
}

double binomial_tail(unsigned n, unsigned k)
{
        double term = pow(0.5, n), sum = 0;

        assert(n <= 1000);

        for (unsigned i = 0; i <= MIN(k, n); i++) {
                sum += term;
                term *= (double) (n - i) / (i + 1);
        }
        return sum;
}

static int compare_doubles(const void *a, const void *b)
{
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

double lower_quartile(const double *v, size_t n)
{
        double sorted[REGRESSION_MAX];

        assert(n > 0 && n <= REGRESSION_MAX);

        memcpy(sorted, v, n * sizeof(*v));
        qsort(sorted, n, sizeof(*sorted), compare_doubles);
        return sorted[(n - 1) / 4];
}

bool regression_runs_pass(const RegressionPoint *p, size_t n, const Regression *fit)
{
        double variances[REGRESSION_MAX], worst;
        unsigned heard = 0, changes = 0;
        bool last = false;

        assert(n <= REGRESSION_MAX);

        if (n < RUNS_LEAST || fit->chi2 < RUNS_SILENT)
                return true;

        for (size_t i = 0; i < n; i++)
                variances[i] = p[i].variance;
        worst = RUNS_WORST * lower_quartile(variances, n);

        for (size_t i = 0; i < n; i++) {
                bool sign = residual(p + i, fit) > 0;

                if (p[i].variance > worst)
                        continue;
                changes += heard > 0 && sign != last;
                last = sign;
                heard++;
        }
        return heard < RUNS_LEAST || binomial_tail(heard - 1, changes) > RUNS_LEVEL;
}
