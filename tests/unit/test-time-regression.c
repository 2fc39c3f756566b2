/*
 * The regression, its errors and the runs test, against values of textbooks and a calculator; the
 * drift file.
 */
#include <math.h>

#include "timekeeping/drift.h"
#include "timekeeping/regression.h"

static const RegressionPrior nothing = {0, INFINITY};

#define assert_near(a, b, eps) g_assert_cmpfloat_with_epsilon(a, b, eps)

static void test_points_on_a_line_give_the_line(void)
{
        RegressionPoint p[5];
        Regression fit;

        for (int i = 0; i < 5; i++)
                p[i] = (RegressionPoint){i - 4, 7 + 3 * (i - 4), 1 + i};
        regression_fit(p, 5, nothing, 0, &fit);
        assert_near(fit.slope, 3, 1e-12);
        assert_near(fit.intercept, 7, 1e-12);
        assert_near(fit.chi2, 0, 1e-12);
}

/*
 * Anscombe's first set, The American Statistician 27 (1973): y = 3.00 + 0.500 x, standard error of
 * the slope 0.118, of the intercept 1.125, residual sum of squares 13.763 with 9 degrees of
 * freedom.
 */
static void test_a_published_regression_is_reproduced(void)
{
        static const double x[] = {10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5};
        static const double y[] = {8.04, 6.95, 7.58,  8.81, 8.33, 9.96,
                                   7.24, 4.26, 10.84, 4.82, 5.68};
        RegressionPoint p[11];
        Regression fit;

        for (size_t i = 0; i < 11; i++)
                p[i] = (RegressionPoint){x[i], y[i], 1};
        regression_fit(p, 11, nothing, 0, &fit);
        assert_near(fit.slope, 0.500, 5e-4);
        assert_near(fit.intercept, 3.00, 5e-3);
        assert_near(fit.slope_sd, 0.118, 5e-4);
        assert_near(fit.intercept_sd, 1.125, 5e-4);
        assert_near(fit.chi2 * 9, 13.763, 5e-3);
}

static void test_worse_points_count_less(void)
{
        static const RegressionPoint p[] = {{0, 0, 1}, {1, 1, 1}, {2, 2, 1}, {3, 300, 1e12}};
        Regression fit;

        regression_fit(p, 4, nothing, 0, &fit);
        assert_near(fit.slope, 1, 1e-6);
}

static void test_one_point_has_no_slope(void)
{
        static const RegressionPoint p[] = {{0, 5, 4}};
        Regression fit;

        regression_fit(p, 1, nothing, 0, &fit);
        assert_near(fit.intercept, 5, 1e-12);
        assert_near(fit.intercept_sd, 2, 1e-12);
        g_assert_true(isinf(fit.slope_sd));

        regression_fit(p, 1, (RegressionPrior){3, 0.5}, 0, &fit);
        assert_near(fit.slope, 3, 1e-12);
        assert_near(fit.slope_sd, 0.5, 1e-12);
}

/* Slope 1 ± 1 by the points, 3 ± 1 by the prior: 2 ± 1/√2, as two equal measurements average. */
static void test_a_prior_is_one_more_measurement(void)
{
        static const RegressionPoint p[] = {{-1, -1, 2}, {1, 1, 2}};
        Regression fit;

        regression_fit(p, 2, nothing, 0, &fit);
        assert_near(fit.slope_sd, 1, 1e-12);
        regression_fit(p, 2, (RegressionPrior){3, 1}, 0, &fit);
        assert_near(fit.slope, 2, 1e-12);
        assert_near(fit.slope_sd, M_SQRT1_2, 1e-12);
}

/* The points are said to be good to 1 and lie 200 off the slope that was known to 14: they are
 * worse than they say. */
static void test_few_points_do_not_overrule_a_prior(void)
{
        static const RegressionPrior known = {-192, 14};
        RegressionPoint p[40];
        Regression fit;

        for (size_t n = 2; n <= 4; n++) {
                for (size_t i = 0; i < n; i++)
                        p[i] = (RegressionPoint){2 * (double) i, 20 * (double) i, 1};
                regression_fit(p, n, known, 0, &fit);
                g_assert_cmpfloat(fabs(fit.slope - known.slope), <, known.slope_sd);
                g_assert_cmpfloat(fit.slope_sd, >, 0.8 * known.slope_sd); /* they add little */
        }

        /* Many that agree within what they say do: a difference of three errors is believed at
         * once. */
        for (size_t i = 0; i < 40; i++)
                p[i] = (RegressionPoint){2 * (double) i, -150 * 2 * (double) i + (i % 2 ? 1 : -1),
                                         1};
        regression_fit(p, 40, known, 0, &fit);
        assert_near(fit.slope, -150, 0.1);
        g_assert_cmpfloat(fit.slope_sd, <, 0.1);
}

/* Weights exp(−fade) and 1 for two points at one place: the mean lies there. */
static void test_old_points_fade(void)
{
        static const RegressionPoint p[] = {{-2, 0, 1}, {0, 12, 1}};
        static const RegressionPrior flat = {0, 1e-9};
        Regression fit;

        regression_fit(p, 2, flat, log(3), &fit);
        assert_near(fit.intercept, 9, 1e-6);
        regression_fit(p, 2, flat, 0, &fit);
        assert_near(fit.intercept, 6, 1e-6);
}

/*
 * A parabola again, but each of its points may be wrong by more than it is off; what is left lies
 * on a line.
 */
static void test_bad_points_are_not_heard_in_the_runs_test(void)
{
        RegressionPoint p[20];
        Regression fit;

        for (int i = 0; i < 20; i++)
                p[i] = (RegressionPoint){i, i < 10 ? i % 2 : i * i, i < 10 ? 1 : 1e9};
        regression_fit(p, 20, nothing, 0, &fit);
        g_assert_true(regression_runs_pass(p, 20, &fit));
        for (int i = 10; i < 20; i++)
                p[i].variance = 1;
        regression_fit(p, 20, nothing, 0, &fit);
        g_assert_false(regression_runs_pass(p, 20, &fit));
}

/* P(X ≤ 3), n = 10: 176/1024; P(X ≤ 0), n = 5: 1/32. */
static void test_binomial_tail_is_exact(void)
{
        assert_near(binomial_tail(10, 3), 176.0 / 1024, 1e-15);
        assert_near(binomial_tail(5, 0), 1.0 / 32, 1e-15);
        assert_near(binomial_tail(5, 5), 1, 1e-15);
        assert_near(binomial_tail(0, 0), 1, 1e-15);
}

static void test_a_parabola_fails_the_runs_test(void)
{
        RegressionPoint p[20];
        Regression fit;

        for (int i = 0; i < 20; i++)
                p[i] = (RegressionPoint){i, i * i, 1};
        regression_fit(p, 20, nothing, 0, &fit);
        g_assert_false(regression_runs_pass(p, 20, &fit));
}

static void test_alternating_residuals_pass_the_runs_test(void)
{
        RegressionPoint p[20];
        Regression fit;

        for (int i = 0; i < 20; i++)
                p[i] = (RegressionPoint){i, 2 * i + i % 2, 1};
        regression_fit(p, 20, nothing, 0, &fit);
        g_assert_true(regression_runs_pass(p, 20, &fit));
        g_assert_true(regression_runs_pass(p, 3, &fit));
}

static void test_drift_survives_a_restart(void)
{
        g_autofree char *text = drift_format((Drift){-12.345678, 0.0123});
        Drift d;

        g_assert_cmpstr(text, ==, "-12.345678 0.012300\n");
        g_assert_cmpint(drift_parse(text, &d), ==, 0);
        assert_near(d.frequency_ppm, -12.345678, 1e-9);
        assert_near(d.sd_ppm, 0.0123, 1e-9);
}

/* chrony writes "          -10.123456             0.045678\n", ntpd "-10.123\n". */
static void test_drift_files_of_others_are_read(void)
{
        Drift d;

        g_assert_cmpint(drift_parse("          -10.123456             0.045678\n", &d), ==, 0);
        assert_near(d.sd_ppm, 0.045678, 1e-9);
        g_assert_cmpint(drift_parse("-10.123\n", &d), ==, 0);
        assert_near(d.frequency_ppm, -10.123, 1e-9);
        assert_near(d.sd_ppm, DRIFT_UNKNOWN_SD_PPM, 1e-12);
}

static void test_damaged_drift_files_are_refused(void)
{
        static const char *const bad[] = {"",      "\n",    "x",   "1,5",   "1.5 x",
                                          "1 2 3", "nan 1", "inf", "1 nan", "1.5x"};
        Drift d = {7, 7};

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                g_assert_cmpint(drift_parse(bad[i], &d), ==, -EINVAL);
        g_assert_cmpint(drift_parse("501 1", &d), ==, -ERANGE);
        g_assert_cmpint(drift_parse("1 -1", &d), ==, -ERANGE);
        assert_near(d.frequency_ppm, 7, 1e-12);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
#define T(name, f) g_test_add_func("/timekeeping/" name, f)
        T("regression/points-on-a-line-give-the-line", test_points_on_a_line_give_the_line);
        T("regression/a-published-one-is-reproduced", test_a_published_regression_is_reproduced);
        T("regression/worse-points-count-less", test_worse_points_count_less);
        T("regression/one-point-has-no-slope", test_one_point_has_no_slope);
        T("regression/a-prior-is-one-more-measurement", test_a_prior_is_one_more_measurement);
        T("regression/few-points-do-not-overrule-a-prior", test_few_points_do_not_overrule_a_prior);
        T("regression/old-points-fade", test_old_points_fade);
        T("regression/bad-points-are-not-heard", test_bad_points_are_not_heard_in_the_runs_test);
        T("regression/binomial-tail-is-exact", test_binomial_tail_is_exact);
        T("regression/a-parabola-fails-the-runs-test", test_a_parabola_fails_the_runs_test);
        T("regression/alternating-residuals-pass", test_alternating_residuals_pass_the_runs_test);
        T("drift/survives-a-restart", test_drift_survives_a_restart);
        T("drift/files-of-others-are-read", test_drift_files_of_others_are_read);
        T("drift/damaged-files-are-refused", test_damaged_drift_files_are_refused);
        return g_test_run();
}
