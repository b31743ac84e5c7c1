/* runtime/rt_newton: modes of functions whose modes are known, and what is said where there is
 * none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "tests/unit/modes_helper.h"

enum { MOST = 8, WORDS = 4 * MOST * MOST + 24 * MOST + 64 };

typedef struct Run {
    double u[MOST], f, g[MOST], h[MOST * MOST], state[WORDS], cov[MOST * MOST];
    int64_t ctl[CTL_WORDS], ends[MOST];
} Run;

static int64_t stop_at; /* the evaluation after which a run is asked to stop; 0: never */
static double best_seen;

static void run(Run *r, Evaluate *evaluate, int64_t p) {
    p_of = p;
    memset(r->ctl, 0, sizeof r->ctl);
    memset(r->state, 0xff, sizeof r->state);
    do {
        evaluate(r->u, &r->f, r->g, r->h);
        best_seen = fmax(best_seen, r->f);
        r->ctl[CTL_STOP] = stop_at && r->ctl[CTL_EVALUATIONS] + 1 >= stop_at;
        rt_newton(r->u, &r->f, r->g, r->h, r->ends, r->state, r->ctl, p);
    } while (r->ctl[CTL_ACTION]);
    double f, g[MOST], h[MOST * MOST];
    evaluate(r->u, &f, g, h);
    if (r->ctl[CTL_RESULT] >= 0) /* the caller's values are those of the point */
        assert_true((f == r->f || isinf(f)) && f == r->state[STATE_VALUE]);
    rt_newton_cov(r->cov, r->h, r->state, p);
}

static void expect(const Run *r, int64_t result, int64_t where) {
    if (r->ctl[CTL_RESULT] != result || r->ctl[CTL_WHERE] != where)
        print_error("result %d where %d after %d steps\n", (int)r->ctl[CTL_RESULT],
                    (int)r->ctl[CTL_WHERE], (int)r->ctl[CTL_ITERATIONS]);
    assert_true(r->ctl[CTL_RESULT] == result && r->ctl[CTL_WHERE] == where);
}

static void assert_near(double got, double want, double relative) {
    if (!(fabs(got - want) <= relative * fabs(want)))
        print_error("got %.17g, expected %.17g\n", got, want);
    assert_true(fabs(got - want) <= relative * fabs(want));
}

static void a_quadratic_takes_one_step(void **state) {
    (void)state;
    for (int64_t p = 1; p <= 5; p++) {
        Run r = {.u = {7, -3, 2, 11, 5}};
        run(&r, hilbert, p);
        expect(&r, FIT_OK, -1);
        assert_true(r.ctl[CTL_ITERATIONS] <= 2);
        for (int i = 0; i < p; i++)
            assert_near(r.u[i], 1, 1e-10);
    }
    Run r = {.u = {0}};
    run(&r, hilbert, 3); /* the inverse of the Hilbert matrix is known */
    static const double inverse[] = {9, -36, 30, -36, 192, -180, 30, -180, 180};
    for (int i = 0; i < 9; i++)
        assert_near(r.cov[i], inverse[i], 1e-12);
}

static void no_parameters_are_an_answer(void **state) {
    (void)state;
    Run r = {.u = {0}};
    run(&r, no_parameters, 0);
    expect(&r, FIT_OK, -1);
    assert_true(r.state[STATE_VALUE] == -3);
}

static void rosenbrocks_valley(void **state) {
    (void)state;
    Run r = {.u = {-1.2, 1e-6}};
    run(&r, rosenbrock, 2);
    expect(&r, FIT_OK, -1);
    assert_near(r.u[0], 1, 1e-11); /* 1e-11 standard errors */
    assert_near(r.u[1], 1e-6, 1e-11);
    assert_true(r.ctl[CTL_EVALUATIONS] < 40);
}

static void a_singular_mode_is_not_identified(void **state) {
    (void)state;
    Run r = {.u = {3, -1, 0, 1}};
    run(&r, powell, 4);
    assert_true(r.ctl[CTL_RESULT] == FIT_NOT_IDENTIFIED && r.ctl[CTL_WHERE] >= 0);
    assert_true(rt_fit_max(r.u, 4) < 0.1);
}

static void a_saddle_is_left(void **state) {
    (void)state;
    Run r = {.u = {0, 0}};
    run(&r, saddle, 2);
    expect(&r, FIT_OK, -1);
    assert_near(fabs(r.u[0]), 1, 1e-14);
    assert_near(r.u[1], r.u[0], 1e-14);
}

static void a_saddle_without_curvature_is_left(void **state) {
    (void)state;
    Run r = {.u = {0, 0}};
    run(&r, quartic, 2);
    expect(&r, FIT_OK, -1);
    assert_near(fabs(r.u[0] + r.u[1]), sqrt(8.0 / 3), 1e-12);
    Run low = {.u = {1}}; /* a full step to a point of no slope: the way on has a finite length */
    run(&low, between, 1);
    assert_true(low.ctl[CTL_RESULT] != FIT_OK && fabs(fabs(low.u[0]) - sqrt(0.3)) < 1e-6);
    Run flat_one = {.u = {1, 1}}; /* without a rise it stays what it is */
    run(&flat_one, powell, 4);
    assert_true(flat_one.ctl[CTL_RESULT] == FIT_NOT_IDENTIFIED);
}

static void logistic_regression(void **state) {
    (void)state;
    for (int k = 0; k < 3; k++) { /* in three units of the column: the same model */
        double x[64], unit = (double[]){1, 1e-7, 1e9}[k];
        for (int i = 0; i < 32; i++) {
            x[2 * i] = 1;
            x[2 * i + 1] = wt[i] * unit;
        }
        design = x, outcome = am, n_rows = 32;
        Run r = {.u = {0, 0}};
        run(&r, logistic, 2);
        expect(&r, FIT_OK, -1);
        assert_near(r.u[0], 12.040369728657321553, 1e-13);
        assert_near(r.u[1] * unit, -4.0239699621732014498, 1e-13);
        assert_near(sqrt(r.cov[0]), 4.5100662389667597339, 1e-12);
        assert_near(sqrt(r.cov[3]) * unit, 1.4365277526235584443, 1e-12);
    }
}

static void separation(const double *x, const int *y, int n, int64_t p, int64_t where) {
    design = x, outcome = y, n_rows = n;
    Run r = {.u = {0}};
    run(&r, logistic, p);
    expect(&r, FIT_DIVERGES, where);
}

static void separated_data_diverge(void **state) {
    (void)state;
    static const int y[] = {0, 0, 0, 1, 1, 1};
    /* complete: x tells the outcomes apart */
    static const double complete[] = {1, -3, 1, -2, 1, -1, 1, 1, 1, 2, 1, 4};
    separation(complete, y, 6, 2, 1);
    /* quasi-complete: the dummy in the third column is 1 for successes alone; the others are
     * regular */
    static const int z[] = {0, 1, 0, 1, 1, 0, 1, 1};
    static const double dummy[] = {1, 0, 0, 1, 1, 0, 1, 2, 0, 1, 3, 0,
                                   1, 1, 1, 1, 5, 0, 1, 2, 1, 1, 3, 1};
    static const int zz[] = {0, 1, 0, 1, 1, 0, 1, 1};
    (void)z;
    separation(dummy, zz, 8, 3, 2);
    /* all outcomes equal: the intercept */
    static const int ones[] = {1, 1, 1, 1, 1, 1};
    static const double intercept[] = {1, 1, 1, 1, 1, 1};
    separation(intercept, ones, 6, 1, 0);
}

static void separation_is_found_in_any_unit(void **state) {
    (void)state;
    static const int y[] = {0, 1, 0, 1, 1, 0, 1, 1, 0, 1};
    for (int k = -9; k <= 9; k += 3) {
        double x[30];
        for (int i = 0; i < 10; i++) {
            x[3 * i] = 1;
            x[3 * i + 1] = (i % 5 * 7 + i) % 11;
            x[3 * i + 2] = (i == 1 || i == 4) * pow(10, k);
        }
        separation(x, y, 10, 3, 2);
    }
}

static void collinear_columns_are_not_identified(void **state) {
    (void)state;
    double x[96];
    for (int i = 0; i < 32; i++) {
        x[3 * i] = 1;
        x[3 * i + 1] = wt[i];
        x[3 * i + 2] = 3 * wt[i] - 7;
    }
    design = x, outcome = am, n_rows = 32;
    Run r = {.u = {0}};
    run(&r, logistic, 3);
    assert_true(r.ctl[CTL_RESULT] == FIT_NOT_IDENTIFIED && r.ctl[CTL_WHERE] >= 0);
    for (int i = 0; i < 9; i++)
        assert_true(isnan(r.cov[i]));
}

static void a_mode_at_a_finite_end_is_an_answer(void **state) {
    (void)state;
    for (successes = 0; successes <= 5; successes++) {
        Run r = {.u = {0.3, 1}, .ends = {3, 0}};
        run(&r, coin, 2);
        expect(&r, FIT_OK, -1);
        double phi = 1 / (1 + exp(-r.u[0]));
        assert_true(fabs(phi - successes / 5) < 1e-12);
        assert_near(r.u[1], 3, 1e-12);
        assert_near(r.cov[3], 1, 1e-12);
        bool edge = successes == 0 || successes == 5;
        assert_true(edge ? isnan(r.cov[0]) && isnan(r.cov[1])
                         : fabs(r.cov[0] * 5 * phi * (1 - phi) - 1) < 1e-12);
    }
    successes = 0; /* the same function, but the parameter itself goes to infinity */
    Run r = {.u = {0.3, 1}};
    run(&r, coin, 2);
    expect(&r, FIT_DIVERGES, 0);
}

static void steps_into_the_void_are_rejected(void **state) {
    (void)state;
    for (double start = -30; start <= 300; start += 30) {
        Run r = {.u = {start}};
        run(&r, poisson, 1);
        expect(&r, FIT_OK, -1);
        assert_near(r.u[0], log(100), 1e-12);
        assert_near(r.cov[0], 1.0 / 500, 1e-11);
    }
}

static void a_density_without_a_bound_has_no_mode(void **state) {
    (void)state;
    Run r = {.u = {0, 0}, .ends = {1, 0}};
    run(&r, collapse, 2);
    expect(&r, FIT_UNBOUNDED, 0);
    Run t = {.u = {1, 0}};
    run(&t, linear, 2);
    expect(&t, FIT_DIVERGES, 1);
}

static void a_start_that_is_not_finite_is_an_error(void **state) {
    (void)state;
    Run r = {.u = {-1}};
    run(&r, not_finite, 1);
    expect(&r, FIT_NOT_FINITE, -1);
    assert_true(r.u[0] == -1);
}

static void trials_outside_the_support_are_rejected(void **state) {
    (void)state;
    double starts[] = {1e-8, 0.1, 2, 50, 1e7};
    for (int k = 0; k < 5; k++) {
        Run r = {.u = {starts[k]}};
        run(&r, walled, 1);
        expect(&r, FIT_OK, -1);
        assert_near(r.u[0], 2, 1e-11);
        assert_near(r.cov[0], 2, 1e-11);
    }
}

/* Diverges and no mode are said only where that is certain. */
static void doubtful_cases_have_careful_answers(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof fit_functions / sizeof *fit_functions; k++) {
        Run r = {.u = {1, 0}};
        if (fit_functions[k] == narrow) {
            run(&r, narrow, 2);
            expect(&r, FIT_OK, -1);
            assert_near(r.u[1], 1, 1e-11);
        } else if (fit_functions[k] == flat) {
            run(&r, flat, 2);
            assert_true(r.ctl[CTL_RESULT] == FIT_NOT_IDENTIFIED && r.ctl[CTL_WHERE] == 0 &&
                        fabs(r.u[0]) < 0.5);
        } else if (fit_functions[k] == kink) {
            run(&r, kink, 2);
            expect(&r, FIT_NOT_CONVERGED, -1);
        }
    }
}

/* The gradient at the end itself is NaN, as that of x log(phi) is */
static void edged(const double *u, double *f, double *g, double *h) {
    coin(u, f, g, h);
    if (1 / (1 + exp(-u[0])) == 1)
        g[0] = h[0] = h[1] = h[2] = NAN;
}

static void an_end_is_reached_exactly(void **state) {
    (void)state;
    successes = 5;
    Run r = {.u = {0.3, 1}, .ends = {3, 0}};
    run(&r, edged, 2);
    expect(&r, FIT_OK, -1);
    assert_true(1 / (1 + exp(-r.u[0])) == 1 && r.state[STATE_GRADIENT] < 1e-10);
    assert_near(r.u[1], 3, 1e-12);
}

/* A parameter that is long at its end while others still gain: not an unbounded density, nor an
 * unidentified one. */
static void an_end_is_reached_before_the_others_arrive(void **state) {
    (void)state;
    for (double start = 100; start <= 1e6; start *= 10) {
        Run r = {.u = {2, start}, .ends = {1, 0}};
        run(&r, hurried, 2);
        expect(&r, FIT_OK, -1);
        assert_true(exp(r.u[0]) == 0 && isnan(r.cov[0]) && r.cov[3] > 0);
        assert_true(fabs(r.g[1]) < 1e-12);
    }
}

static void the_limit_of_evaluations_holds(void **state) {
    (void)state;
    Run r = {.u = {-1.2, 1e-6}};
    r.ctl[CTL_LIMIT] = 3;
    int count = 0;
    do {
        rosenbrock(r.u, &r.f, r.g, r.h);
        rt_newton(r.u, &r.f, r.g, r.h, r.ends, r.state, r.ctl, 2);
        count++;
    } while (r.ctl[CTL_ACTION]);
    expect(&r, FIT_NOT_CONVERGED, -1);
    assert_true(count <= 4);
}

/* log sigmoid(u0 + u1) - (u0 - u1)^2 / 2: no mode, u0 + u1 -> inf */
static void a_ramp(const double *u, double *f, double *g, double *h) {
    double s = u[0] + u[1], d = u[0] - u[1], q = 1 / (1 + exp(s)), c = q * (1 - q);
    *f = -log1p(exp(-s)) - d * d / 2;
    g[0] = q - d;
    g[1] = q + d;
    h[0] = h[3] = -c - 1;
    h[1] = h[2] = -c + 1;
}

/* log sigmoid(u0) - u1^2 / 2 */
static void a_lone_ramp(const double *u, double *f, double *g, double *h) {
    double q = 1 / (1 + exp(u[0]));
    *f = -log1p(exp(-u[0])) - u[1] * u[1] / 2;
    g[0] = q;
    g[1] = -u[1];
    h[0] = -q * (1 - q);
    h[1] = h[2] = 0;
    h[3] = -1;
}

/* A start so far out that f is flat there, as another optimiser may leave it. */
static void a_flat_start_is_no_mode(void **state) {
    (void)state;
    for (double far = 5; far < 700; far *= 1.3) {
        Run both = {.u = {far, far}}, alone = {.u = {far, 0.5}};
        run(&both, a_ramp, 2);
        assert_int_equal(both.ctl[CTL_RESULT], FIT_DIVERGES);
        run(&alone, a_lone_ramp, 2);
        expect(&alone, FIT_DIVERGES, 0);
    }
}

/* Asked to stop, it ends one evaluation later, at the best point that it saw. */
static void a_stopped_run_ends_at_its_best_point(void **state) {
    (void)state;
    for (stop_at = 1; stop_at <= 12; stop_at++) {
        Run r = {.u = {-1.2, 1e-6}};
        best_seen = -INFINITY;
        run(&r, rosenbrock, 2);
        expect(&r, FIT_STOPPED, -1);
        assert_true(r.state[STATE_VALUE] == best_seen);
        assert_true(r.ctl[CTL_EVALUATIONS] <= stop_at + 1);
    }
    stop_at = 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quadratic_takes_one_step),
        cmocka_unit_test(no_parameters_are_an_answer),
        cmocka_unit_test(rosenbrocks_valley),
        cmocka_unit_test(a_singular_mode_is_not_identified),
        cmocka_unit_test(a_saddle_is_left),
        cmocka_unit_test(a_saddle_without_curvature_is_left),
        cmocka_unit_test(logistic_regression),
        cmocka_unit_test(separated_data_diverge),
        cmocka_unit_test(separation_is_found_in_any_unit),
        cmocka_unit_test(collinear_columns_are_not_identified),
        cmocka_unit_test(a_mode_at_a_finite_end_is_an_answer),
        cmocka_unit_test(steps_into_the_void_are_rejected),
        cmocka_unit_test(a_density_without_a_bound_has_no_mode),
        cmocka_unit_test(a_start_that_is_not_finite_is_an_error),
        cmocka_unit_test(trials_outside_the_support_are_rejected),
        cmocka_unit_test(doubtful_cases_have_careful_answers),
        cmocka_unit_test(an_end_is_reached_exactly),
        cmocka_unit_test(an_end_is_reached_before_the_others_arrive),
        cmocka_unit_test(the_limit_of_evaluations_holds),
        cmocka_unit_test(a_flat_start_is_no_mode),
        cmocka_unit_test(a_stopped_run_ends_at_its_best_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
