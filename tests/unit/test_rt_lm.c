/* runtime/rt_lm: classic problems of nonlinear least squares from their usual starts, and those
 * without an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "runtime/rt.h"
#include "runtime/rt_fit.h"

enum { MOST = 6, Q = MOST + 1, WORDS = 4 * Q * Q + 24 * Q + 64, ROWS = 64 };

/* The mean at row i and its derivatives */
typedef double Model(const double *u, int64_t i, double *d);

typedef struct Fit {
    double u[MOST], r[Q * Q], state[WORDS], cov[MOST * MOST];
    int64_t ctl[CTL_WORDS], ends[MOST];
    int evaluations;
} Fit;

static double residuals(const double *u, Model *model, const double *y, int64_t n, int64_t p,
                        double *rows) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double *row = rows + i * (p + 1), t = y[i] - model(u, i, row);
        row[p] = t;
        sum += t * t;
    }
    return sum;
}

static int stop_at; /* the evaluation after which a run is asked to stop; 0: never */
static double least_seen;

static void fit(Fit *f, Model *model, const double *y, int64_t n, int64_t p) {
    double rows[ROWS * Q];
    memset(f->ctl, 0, (sizeof *f->ctl) * CTL_LIMIT);
    memset(f->state, 0xff, sizeof f->state);
    f->evaluations = 0;
    do {
        double seen = residuals(f->u, model, y, n, p, rows);
        least_seen = fmin(least_seen, isfinite(seen) ? seen : INFINITY);
        f->ctl[CTL_STOP] = stop_at && f->evaluations + 1 >= stop_at;
        memset(f->r, 0, sizeof f->r);
        rt_qr_rows(f->r, rows, n / 2, p + 1);
        rt_qr_rows(f->r, rows + n / 2 * (p + 1), n - n / 2, p + 1);
        rt_lm(f->u, f->r, f->ends, f->state, f->ctl, p, n);
        f->evaluations++;
    } while (f->ctl[CTL_ACTION]);
    double rss = residuals(f->u, model, y, n, p, rows),
           s2 = f->state[STATE_VALUE] / (double)(n - p);
    if (f->ctl[CTL_RESULT] >= 0) /* r is that of the point */
        assert_true(fabs(f->state[STATE_VALUE] - rss) <= 1e-10 * rss + 1e-300);
    rt_lsq_cov(f->cov, f->r, f->state, &s2, p);
}

static void expect(const Fit *f, int64_t result, int64_t where) {
    if (f->ctl[CTL_RESULT] != result || f->ctl[CTL_WHERE] != where)
        print_error("result %d where %d after %d evaluations\n", (int)f->ctl[CTL_RESULT],
                    (int)f->ctl[CTL_WHERE], f->evaluations);
    assert_true(f->ctl[CTL_RESULT] == result && f->ctl[CTL_WHERE] == where);
}

static void assert_near(double got, double want, double relative) {
    if (!(fabs(got - want) <= relative * fabs(want)))
        print_error("got %.17g, expected %.17g\n", got, want);
    assert_true(fabs(got - want) <= relative * fabs(want));
}

static const double zeros[ROWS];

/* Rosenbrock: residuals 10 (y - x^2), 1 - x, in units of 1 and 1e-4 */
static double rosenbrock(const double *u, int64_t i, double *d) {
    double x = u[0], y = u[1] * 1e-4;
    d[0] = i ? -1 : -20 * x;
    d[1] = i ? 0 : 10 * 1e-4;
    return i ? 1 - x : 10 * (y - x * x);
}

static void rosenbrocks_valley(void **state) {
    (void)state;
    Fit f = {.u = {-1.2, 1e4}};
    fit(&f, rosenbrock, zeros, 2, 2);
    expect(&f, FIT_OK, -1);
    assert_near(f.u[0], 1, 1e-14);
    assert_near(f.u[1], 1e4, 1e-14);
}

/* Meyer's function: a long curved valley (Meyer 1970; More, Garbow and Hillstrom 1981, problem 10;
 * NIST's MGH10) */
static const double meyer_y[] = {34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744,
                                 8261,  7030,  6005,  5147,  4427,  3820,  3307,  2872};
static double meyer(const double *u, int64_t i, double *d) {
    double t = 50 + 5 * (double)i, e = exp(u[1] / (t + u[2]));
    d[0] = e;
    d[1] = u[0] * e / (t + u[2]);
    d[2] = -u[0] * e * u[1] / (t + u[2]) / (t + u[2]);
    return u[0] * e;
}

static void meyers_valley(void **state) {
    (void)state;
    static const double starts[2][3] = {{2, 400000, 25000}, {0.02, 4000, 250}};
    for (int k = 0; k < 2; k++) {
        Fit f = {.u = {starts[k][0], starts[k][1], starts[k][2]}};
        fit(&f, meyer, meyer_y, 16, 3);
        expect(&f, FIT_OK, -1);
        assert_near(f.u[0], 5.6096364710e-3, 1e-10);
        assert_near(f.u[1], 6.1813463463e3, 1e-10);
        assert_near(f.u[2], 3.4522363462e2, 1e-10);
        assert_near(sqrt(f.cov[0]), 1.5687892471e-4, 1e-9);
        assert_near(f.state[STATE_VALUE], 87.945855171, 1e-10);
    }
}

/* a (1 - exp(-b x)): a straight way to b = infinity begins at (1, 1) */
static double saturation(const double *u, int64_t i, double *d) {
    static const double x[] = {1, 2, 3, 5, 7, 10};
    double e = exp(-u[1] * x[i]);
    d[0] = 1 - e;
    d[1] = u[0] * x[i] * e;
    return u[0] * (1 - e);
}

static void a_minimum_at_infinity_is_not_taken_for_one(void **state) {
    (void)state;
    static const double y[] = {81, 130, 146, 190, 196, 198};
    Fit far = {.u = {1, 1}}, close = {.u = {190, 0.5}};
    fit(&far, saturation, y, 6, 2);
    fit(&close, saturation, y, 6, 2);
    expect(&far, FIT_OK, -1);
    expect(&close, FIT_OK, -1);
    assert_near(far.u[0], close.u[0], 1e-12);
    assert_near(far.u[1], close.u[1], 1e-12);
    assert_true(close.u[1] > 0.4 && close.u[1] < 0.6);
}

static void a_parameter_without_a_minimum_diverges(void **state) {
    (void)state;
    static const double y[] = {3, 3, 3, 3, 3, 3}; /* b = infinity fits exactly */
    Fit f = {.u = {1, 1}};
    fit(&f, saturation, y, 6, 2);
    expect(&f, FIT_DIVERGES, 1);
    Fit g = {.u = {1, 1},
             .ends = {0, 2}}; /* the same, where that is a value the parameter can have */
    fit(&g, saturation, y, 6, 2);
    expect(&g, FIT_OK, -1);
    assert_near(g.u[0], 3, 1e-6);
    assert_true(isnan(g.cov[3]) && isnan(g.cov[1]) && isfinite(g.cov[0]));
}

/* a exp(-b x) + exp(u2): data that lie below their asymptote take exp(u2) to 0 */
static double raised(const double *u, int64_t i, double *d) {
    double x = 0.3 * (double)i, e = exp(-u[1] * x), c = exp(u[2]);
    d[0] = e;
    d[1] = -u[0] * x * e;
    d[2] = c;
    return u[0] * e + c;
}

static double decay(const double *u, int64_t i, double *d) {
    double x = 0.3 * (double)i, e = exp(-u[1] * x);
    d[0] = e;
    d[1] = -u[0] * x * e;
    return u[0] * e;
}

static void a_parameter_at_its_end_is_out_of_the_way(void **state) {
    (void)state;
    double y[20];
    for (int i = 0; i < 20; i++)
        y[i] = 3 * exp(-0.7 * 0.3 * i) - 0.05 + 0.01 * (i * 7 % 5 - 2);
    Fit f = {.u = {1, 1, 0}, .ends = {0, 0, 1}}, g = {.u = {1, 1}};
    fit(&f, raised, y, 20, 3);
    fit(&g, decay, y, 20, 2);
    expect(&f, FIT_OK, -1);
    expect(&g, FIT_OK, -1);
    assert_true(exp(f.u[2]) == 0 && isnan(f.cov[8]) && isnan(f.cov[2]));
    for (int j = 0; j < 2; j++) {
        assert_near(f.u[j], g.u[j], 1e-12);
        assert_near(f.cov[j * 3 + j] * 17, g.cov[j * 2 + j] * 18, 1e-10);
    }
}

/* Three exponentials (Lanczos, Applied Analysis, 1956), exact to the digits of f64 */
static double exponentials(const double *u, int64_t i, double *d) {
    double x = 0.05 * (double)i, sum = 0;
    for (int k = 0; k < 3; k++) {
        d[2 * k] = exp(-u[2 * k + 1] * x);
        d[2 * k + 1] = -u[2 * k] * x * d[2 * k];
        sum += u[2 * k] * d[2 * k];
    }
    return sum;
}

static void an_exact_fit_is_followed_to_the_end(void **state) {
    (void)state;
    static const double truth[] = {0.0951, 1, 0.8607, 3, 1.5576, 5};
    double y[24], d[6];
    for (int i = 0; i < 24; i++)
        y[i] = exponentials(truth, i, d);
    Fit f = {.u = {1.2, 0.3, 5.6, 5.5, 6.5, 7.6}};
    fit(&f, exponentials, y, 24, 6);
    expect(&f, FIT_OK, -1);
    for (int k = 0; k < 6; k++)
        assert_near(f.u[k], truth[k], 1e-9);
    assert_true(f.state[STATE_VALUE] < 1e-28);
}

/* Large residuals: Gauss-Newton converges at a constant rate. The mode by Newton's method in 40
 * digits (mpmath) */
static double growth(const double *u, int64_t i, double *d) {
    double x = (double)i, e = exp(u[1] * x);
    d[0] = e;
    d[1] = u[0] * x * e;
    return u[0] * e;
}

static void large_residuals(void **state) {
    (void)state;
    static const double y[] = {5, -3, 9, 2, 14, -6, 25, 30};
    Fit f = {.u = {1, 0.1}};
    fit(&f, growth, y, 8, 2);
    expect(&f, FIT_OK, -1);
    assert_near(f.u[0], 0.57748402259851260105, 1e-11);
    assert_near(f.u[1], 0.56860025892339942407, 1e-11);
    assert_near(f.state[STATE_VALUE], 469.50218895977773163, 1e-13);
}

/* sqrt(u0 - x), NaN past the data; log(u1) */
static double walled(const double *u, int64_t i, double *d) {
    double x = (double)i;
    d[0] = 0.5 / sqrt(u[0] - x);
    d[1] = 1 / u[1];
    return sqrt(u[0] - x) + log(u[1]);
}

static void trials_that_are_not_finite_are_rejected(void **state) {
    (void)state;
    double y[8], d[2];
    static const double truth[] = {7.25, 3};
    for (int i = 0; i < 8; i++)
        y[i] = walled(truth, i, d) + 0.01 * (i % 3 - 1);
    Fit f = {.u = {300, 0.001}}, g = {.u = {7.3, 3}};
    fit(&f, walled, y, 8, 2);
    fit(&g, walled, y, 8, 2);
    expect(&f, FIT_OK, -1);
    expect(&g, FIT_OK, -1);
    assert_near(f.u[0], g.u[0], 1e-12);
    assert_near(f.u[1], g.u[1], 1e-12);
    Fit bad = {.u = {1, 3}}; /* and a start that is not finite is said to be one */
    fit(&bad, walled, y, 8, 2);
    expect(&bad, FIT_NOT_FINITE, -1);
    assert_true(bad.u[0] == 1 && bad.u[1] == 3);
}

/* Only the product of u0 and u1 has an effect */
static double product(const double *u, int64_t i, double *d) {
    double x = (double)i;
    d[0] = u[1] * x;
    d[1] = u[0] * x;
    d[2] = 1;
    return u[0] * u[1] * x + u[2];
}

static void a_product_is_not_identified(void **state) {
    (void)state;
    static const double y[] = {1, 3, 4, 8, 9};
    Fit f = {.u = {1, 2, 0}};
    fit(&f, product, y, 5, 3);
    expect(&f, FIT_NOT_IDENTIFIED, 1);
    assert_true(isnan(f.cov[0]) || f.cov[0] > 1e10);
}

/* A straight line is a special case: the answer of rt_lsq */
static double line(const double *u, int64_t i, double *d) {
    d[0] = 1;
    d[1] = (double)i;
    return u[0] + u[1] * (double)i;
}

static void a_straight_line(void **state) {
    (void)state;
    static const double y[] = {2, 1, 5, 4, 8};
    for (double start = -1e6; start <= 1e6; start += 2.5e5) {
        Fit f = {.u = {start, -start}};
        fit(&f, line, y, 5, 2);
        expect(&f, FIT_OK, -1);
        assert_near(f.u[0], 1, 1e-13);
        assert_near(f.u[1], 1.5, 1e-13);
        assert_near(f.state[STATE_VALUE], 7.5, 1e-14);
        assert_near(f.cov[3], 7.5 / 3 / 10, 1e-13);
    }
    Fit two = {.u = {0, 0}}; /* as many rows as parameters; then fewer */
    fit(&two, line, y, 2, 2);
    expect(&two, FIT_OK, -1);
    assert_near(two.u[1], -1, 1e-14);
    Fit one = {.u = {0, 0}};
    fit(&one, line, y, 1, 2);
    expect(&one, FIT_NOT_IDENTIFIED, 1);
}

static double constant(const double *u, int64_t i, double *d) {
    (void)u, (void)i, (void)d;
    return 2;
}

static void no_parameters(void **state) {
    (void)state;
    static const double y[] = {2, 3, 5};
    Fit f = {.u = {0}};
    fit(&f, constant, y, 3, 0);
    expect(&f, FIT_OK, -1);
    assert_near(f.state[STATE_VALUE], 10, 1e-15);
}

static void the_limit_of_evaluations_holds(void **state) {
    (void)state;
    Fit f = {.u = {2, 400000, 25000}};
    f.ctl[CTL_LIMIT] = 20;
    fit(&f, meyer, meyer_y, 16, 3);
    expect(&f, FIT_NOT_CONVERGED, -1);
    assert_true(f.evaluations <= 22);
}

/* Asked to stop, it ends one evaluation later, at the best point that it saw. */
static void a_stopped_run_ends_at_its_best_point(void **state) {
    (void)state;
    for (stop_at = 1; stop_at <= 20; stop_at++) {
        Fit f = {.u = {2, 400000, 25000}};
        least_seen = INFINITY;
        fit(&f, meyer, meyer_y, 16, 3);
        expect(&f, FIT_STOPPED, -1);
        assert_true(f.state[STATE_VALUE] <= least_seen * (1 + 1e-10));
        assert_true(f.evaluations <= stop_at + 1);
    }
    stop_at = 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rosenbrocks_valley),
        cmocka_unit_test(meyers_valley),
        cmocka_unit_test(a_minimum_at_infinity_is_not_taken_for_one),
        cmocka_unit_test(a_parameter_without_a_minimum_diverges),
        cmocka_unit_test(a_parameter_at_its_end_is_out_of_the_way),
        cmocka_unit_test(an_exact_fit_is_followed_to_the_end),
        cmocka_unit_test(large_residuals),
        cmocka_unit_test(trials_that_are_not_finite_are_rejected),
        cmocka_unit_test(a_product_is_not_identified),
        cmocka_unit_test(a_straight_line),
        cmocka_unit_test(no_parameters),
        cmocka_unit_test(the_limit_of_evaluations_holds),
        cmocka_unit_test(a_stopped_run_ends_at_its_best_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
