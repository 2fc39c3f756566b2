/*
 * Regression — the straight line through samples of unequal worth, and whether a line is what they
 * lie on.
 *
 * Weighted least squares, with room for what was known of the slope before (a drift file, the time
 * before the server's clock jumped): that is one more observation, of the slope itself.
 *
 * A few samples may lie on a line by chance, or by a queue that they all met, and say a slope that
 * they are not good for. Where points and prior contradict each other by far, it is the points that
 * are taken to be worse than their variances say, by as much as it takes; so many points are needed
 * to overrule what was known. A prior that is wrong itself leaves residuals in a row on one side,
 * which the runs test sees.
 *
 * A clock's frequency wanders, so old samples lie off the line that the new ones make, and the
 * farther the older. Two things follow. Weights fade with age. And residuals that keep their sign
 * for long give it away: for n residuals without memory, the number of changes of sign is binomial
 * (n − 1, 1/2); too few means that the oldest sample must go. Only the better samples are heard
 * for that: one that may be wrong by far says nothing by being so.
 *
 * Source: the idea of regression with a runs test is that of chrony (its documentation,
 * "sourcestats"); the test is Wald & Wolfowitz, Annals of Mathematical Statistics 11 (1940).
 * The scaling of errors by χ² is Birge's (Physical Review 40, 1932).
 * Changed: weights, their fading, the prior for the slope, the exact binomial tail instead of a
 * table, and who takes part in the test.
 */
#pragma once

#include "base/macro.h"

#define REGRESSION_MAX 64U

typedef struct RegressionPoint {
        double x; /* ascending */
        double y;
        double variance; /* of y; > 0 */
} RegressionPoint;

/* What is known of the slope; sd = INFINITY: nothing. */
typedef struct RegressionPrior {
        double slope;
        double slope_sd; /* > 0 */
} RegressionPrior;

typedef struct Regression {
        double intercept; /* y at x = 0 */
        double slope;
        double intercept_sd;
        double slope_sd; /* INFINITY for one point and no prior */
        /* weighted squares of the residuals per degree of freedom; 1 if there is none */
        double chi2;
} Regression;

/**
 * regression_fit() - the line through @n ≥ 1 points
 * @fade: the first point weighs exp(−fade) of what its variance alone would give it, the last all;
 *         0: no fading
 *
 * The errors are those that the variances say, or larger if the residuals are, or for fading.
 */
void regression_fit(const RegressionPoint *p, size_t n, RegressionPrior prior, double fade,
                    Regression *ret);

/*
 * Whether residuals of @n ≤ REGRESSION_MAX points change their sign as often as chance would have
 * it.
 */
bool regression_runs_pass(const RegressionPoint *p, size_t n, const Regression *fit);

/* The @n ≤ REGRESSION_MAX values' lower quartile: what a quarter of them do not exceed. */
double lower_quartile(const double *v, size_t n);

/* P(X ≤ k) for X binomial (n, 1/2); n ≤ 1000. */
double binomial_tail(unsigned n, unsigned k);
