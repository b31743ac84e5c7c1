/* runtime/rt_lbfgs: the modes that Newton's method finds, from gradients alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "tests/unit/modes_helper.h"

enum { MOST = 40, WORDS = 64 * MOST + 192 };

typedef struct Run {
    double u[MOST], f, g[MOST], state[WORDS];
    int64_t ctl[CTL_WORDS], ends[MOST];
} Run;

static double hessian[MOST * MOST];

static int64_t stop_at; /* the evaluation after which a run is asked to stop; 0: never */
static double best_seen;

static void run(Run *r, Evaluate *evaluate, int64_t p) {
    p_of = p;
    memset(r->ctl, 0, CTL_LIMIT * sizeof *r->ctl);
    memset(r->state, 0xff, sizeof r->state);
    do {
        evaluate(r->u, &r->f, r->g, hessian);
        best_seen = fmax(best_seen, r->f);
        r->ctl[CTL_STOP] = stop_at && r->ctl[CTL_EVALUATIONS] + 1 >= stop_at;
        rt_lbfgs(r->u, &r->f, r->g, r->ends, r->state, r->ctl, p);
    } while (r->ctl[CTL_ACTION]);
    double f, g[MOST];
    evaluate(r->u, &f, g, hessian);
    if (r->ctl[CTL_RESULT] >= 0) /* the caller's values are those of the point */
        assert_true((f == r->f || isinf(f)) && f == r->state[STATE_VALUE]);
}

static void expect(const Run *r, int64_t result, int64_t where) {
    if (r->ctl[CTL_RESULT] != result || r->ctl[CTL_WHERE] != where)
        print_error("result %d where %d after %d evaluations\n", (int)r->ctl[CTL_RESULT],
                    (int)r->ctl[CTL_WHERE], (int)r->ctl[CTL_EVALUATIONS]);
    assert_true(r->ctl[CTL_RESULT] == result && r->ctl[CTL_WHERE] == where);
}

static void assert_near(double got, double want, double relative) {
    if (!(fabs(got - want) <= relative * fabs(want)))
        print_error("got %.17g, expected %.17g\n", got, want);
    assert_true(fabs(got - want) <= relative * fabs(want));
}

static void quadratics(void **state) {
    (void)state;
    for (int64_t p = 1; p <= 4; p++) {
        Run r = {.u = {7, -3, 2, 11}};
        run(&r, hilbert, p);
        expect(&r, FIT_OK, -1);
        for (int i = 0; i < p; i++)
            assert_near(r.u[i], 1, 1e-6);
    }
    Run none = {.u = {0}};
    run(&none, no_parameters, 0);
    expect(&none, FIT_OK, -1);
}

static void valleys(void **state) {
    (void)state;
    Run r = {.u = {-1.2, 1e-6}};
    run(&r, rosenbrock, 2);
    expect(&r, FIT_OK, -1);
    assert_near(r.u[0], 1, 1e-8);
    assert_near(r.u[1], 1e-6, 1e-8);
    Run n = {.u = {1, 0}};
    run(&n, narrow, 2);
    expect(&n, FIT_OK, -1);
    assert_near(n.u[1], 1, 1e-6);
}

/* 40 parameters of scales from 1 to 1e3: -sum (c_i (u_i - i))^2 - quartic of their sum */
static void many(const double *u, double *f, double *g, double *h) {
    (void)h;
    double sum = 0;
    *f = 0;
    for (int64_t i = 0; i < p_of; i++)
        sum += u[i] - (double)i;
    for (int64_t i = 0; i < p_of; i++) {
        double c = pow(10, 3.0 * (double)i / 39), t = c * (u[i] - (double)i);
        *f -= t * t;
        g[i] = -2 * c * t - 4 * sum * sum * sum;
    }
    *f -= sum * sum * sum * sum;
}

static void many_parameters(void **state) {
    (void)state;
    Run r = {.u = {0}};
    run(&r, many, 40);
    expect(&r, FIT_OK, -1);
    for (int i = 1; i < 40; i++)
        assert_near(r.u[i], i, 1e-8);
}

static void logistic_regression(void **state) {
    (void)state;
    double x[64];
    for (int i = 0; i < 32; i++) {
        x[2 * i] = 1;
        x[2 * i + 1] = wt[i];
    }
    design = x, outcome = am, n_rows = 32;
    Run r = {.u = {0, 0}};
    run(&r, logistic, 2);
    expect(&r, FIT_OK, -1); /* the estimates of test_rt_newton, within 1e-8 standard errors */
    assert_true(fabs(r.u[0] - 12.040369728657321553) < 4.5e-8 &&
                fabs(r.u[1] + 4.0239699621732014498) < 1.4e-8);
}

static void separated_data_diverge(void **state) {
    (void)state;
    static const int y[] = {0, 0, 0, 1, 1, 1};
    static const double complete[] = {1, -3, 1, -2, 1, -1, 1, 1, 1, 2, 1, 4};
    design = complete, outcome = y, n_rows = 6;
    Run r = {.u = {0}};
    run(&r, logistic, 2);
    expect(&r, FIT_DIVERGES, 1);
    double large[12]; /* one step, and nothing is left of the gradient */
    for (int i = 0; i < 12; i++)
        large[i] = complete[i] * (i % 2 ? 1000 : 1);
    design = large;
    Run s = {.u = {0}};
    run(&s, logistic, 2);
    expect(&s, FIT_DIVERGES, 1);
    static const int z[] = {0, 1, 0, 1, 1, 0, 1, 1};
    static const double dummy[] = {1, 0, 0, 1, 1, 0, 1, 2, 0, 1, 3, 0,
                                   1, 1, 1, 1, 5, 0, 1, 2, 1, 1, 3, 1};
    design = dummy, outcome = z, n_rows = 8;
    Run q = {.u = {0}};
    run(&q, logistic, 3);
    expect(&q, FIT_DIVERGES, 2);
}

static void a_mode_at_a_finite_end_is_an_answer(void **state) {
    (void)state;
    for (successes = 0; successes <= 5; successes++) {
        Run r = {.u = {0.3, 1}, .ends = {3, 0}};
        run(&r, coin, 2);
        expect(&r, FIT_OK, -1);
        assert_true(fabs(1 / (1 + exp(-r.u[0])) - successes / 5) < 1e-9);
        assert_near(r.u[1], 3, 1e-8);
        assert_true((r.state[STATE_MARKS] != 0) == (successes == 0 || successes == 5));
    }
}

static void steps_into_the_void_are_rejected(void **state) {
    (void)state;
    for (double start = -30; start <= 300; start += 30) {
        Run r = {.u = {start}};
        run(&r, poisson, 1);
        expect(&r, FIT_OK, -1);
        assert_near(r.u[0], log(100), 1e-9);
    }
    double starts[] = {1e-8, 0.1, 2, 50, 1e7};
    for (int k = 0; k < 5; k++) {
        Run r = {.u = {starts[k]}};
        run(&r, walled, 1);
        expect(&r, FIT_OK, -1);
        assert_near(r.u[0], 2, 1e-8);
    }
    Run bad = {.u = {-1}};
    run(&bad, not_finite, 1);
    expect(&bad, FIT_NOT_FINITE, -1);
    assert_true(bad.u[0] == -1);
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

static void doubtful_cases_have_careful_answers(void **state) {
    (void)state;
    Run r = {.u = {1, 0}}, s = {.u = {0.3, 0.2}};
    run(&r, kink, 2);
    expect(&r, FIT_NOT_CONVERGED, -1);
    run(&s, saddle, 2);
    expect(&s, FIT_OK, -1);
    assert_near(fabs(s.u[0]), 1, 1e-8);
    Run f = {.u = {1, 0}};
    run(&f, flat, 2);
    assert_true(f.ctl[CTL_RESULT] != FIT_DIVERGES && f.ctl[CTL_RESULT] != FIT_UNBOUNDED);
    Run p = {.u = {3, -1, 0, 1}};
    run(&p, powell, 4);
    assert_true(p.ctl[CTL_RESULT] != FIT_DIVERGES && p.ctl[CTL_RESULT] != FIT_UNBOUNDED);
}

static void the_limit_of_evaluations_holds(void **state) {
    (void)state;
    Run r = {.u = {-1.2, 1e-6}};
    r.ctl[CTL_LIMIT] = 5;
    run(&r, rosenbrock, 2);
    expect(&r, FIT_NOT_CONVERGED, -1);
    assert_true(r.ctl[CTL_EVALUATIONS] <= 7);
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
        cmocka_unit_test(quadratics),
        cmocka_unit_test(valleys),
        cmocka_unit_test(many_parameters),
        cmocka_unit_test(logistic_regression),
        cmocka_unit_test(separated_data_diverge),
        cmocka_unit_test(a_mode_at_a_finite_end_is_an_answer),
        cmocka_unit_test(steps_into_the_void_are_rejected),
        cmocka_unit_test(a_density_without_a_bound_has_no_mode),
        cmocka_unit_test(doubtful_cases_have_careful_answers),
        cmocka_unit_test(the_limit_of_evaluations_holds),
        cmocka_unit_test(a_stopped_run_ends_at_its_best_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
