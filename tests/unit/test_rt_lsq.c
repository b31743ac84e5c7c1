/* runtime/rt_lsq: solutions that are known exactly, dependent columns, and hostile rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "runtime/rt.h"
#include "runtime/rt_fit.h"

enum { MOST = 12, Q = MOST + 1, WORDS = 4 * Q * Q + 24 * Q + 64, ROWS = 200 };

typedef struct Fit {
    double u[MOST], r[Q * Q], state[WORDS], cov[MOST * MOST];
    int64_t ctl[CTL_WORDS];
    int qr_passes, refinements;
} Fit;

/* rows: n x (p + 1), [J y]; fed in blocks */
static void fit(Fit *f, const double *rows, int64_t n, int64_t p, int64_t block_rows) {
    int64_t q = p + 1, action = FIT_EVALUATE;
    double block[ROWS * Q];
    memset(f->ctl, 0, sizeof f->ctl);
    memset(f->state, 0xff, sizeof f->state);
    f->qr_passes = f->refinements = 0;
    do {
        if (action == FIT_EVALUATE)
            memset(f->r, 0, sizeof f->r);
        f->qr_passes += action == FIT_EVALUATE;
        f->refinements += action == FIT_REFINE;
        for (int64_t at = 0; at < n; at += block_rows) {
            int64_t m = n - at < block_rows ? n - at : block_rows;
            memcpy(block, rows + at * q, (size_t)(m * q) * sizeof *block);
            if (action == FIT_EVALUATE)
                rt_qr_rows(f->r, block, m, q);
            else
                rt_lsq_rows(f->state, block, m, p);
        }
        rt_lsq(f->u, f->r, f->state, f->ctl, p, n);
        action = f->ctl[CTL_ACTION];
    } while (action);
    double s2 = f->state[STATE_VALUE] / (double)(n - p);
    rt_lsq_cov(f->cov, f->r, f->state, &s2, p);
}

/* The same, fed by three groups: triangles of their own, and parts in passes of refinement. */
static void fit_in_groups(Fit *f, const double *rows, int64_t n, int64_t p) {
    enum { GROUPS = 3 };
    int64_t q = p + 1, each = (n + GROUPS - 1) / GROUPS;
    double block[ROWS * Q], r[Q * Q], part[STATE_MARKS + 5 * MOST];
    memset(f->ctl, 0, sizeof f->ctl);
    memset(f->state, 0xff, sizeof f->state);
    f->qr_passes = f->refinements = 0;
    for (int64_t action = FIT_EVALUATE; action; action = f->ctl[CTL_ACTION]) {
        bool refine = action == FIT_REFINE;
        f->refinements += refine;
        if (!refine)
            memset(f->r, 0, sizeof f->r);
        for (int64_t at = 0; at < n; at += each) {
            int64_t m = n - at < each ? n - at : each;
            memcpy(block, rows + at * q, (size_t)(m * q) * sizeof *block);
            memset(r, 0, sizeof r);
            rt_lsq_part(part, f->state, p);
            if (refine) {
                rt_lsq_rows(part, block, m, p);
                rt_lsq_join(f->state, part, p);
            } else {
                rt_qr_rows(r, block, m, q);
                rt_qr_rows(f->r, r, q, q);
            }
        }
        rt_lsq(f->u, f->r, f->state, f->ctl, p, n);
    }
}

static void assert_near(double got, double want, double relative) {
    if (!(fabs(got - want) <= relative * fabs(want)))
        print_error("got %.17g, expected %.17g\n", got, want);
    assert_true(fabs(got - want) <= relative * fabs(want));
}

/* A polynomial of degree 5 with coefficients 1 on 0..20 (as NIST's Wampler sets), and a residual
 * that is orthogonal to all of them: the sixth difference (1, -6, 15, -20, 15, -6, 1), however
 * large. */
static void polynomial(double *rows, double residual) {
    static const double difference[] = {1, -6, 15, -20, 15, -6, 1};
    for (int i = 0; i < 21; i++) {
        double x = 1, y = 0;
        for (int j = 0; j < 6; j++, x *= i) {
            rows[i * 7 + j] = x;
            y += x;
        }
        rows[i * 7 + 6] = y + residual * difference[i % 7];
    }
}

static void large_residuals_do_not_cost_digits(void **state) {
    (void)state;
    double rows[21 * 7];
    for (double residual = 0; residual <= 1e8; residual = residual * 1e4 + 1)
        for (int64_t block_rows = 1; block_rows <= 21; block_rows += 5) {
            polynomial(rows, residual);
            Fit f = {.u = {0}};
            fit(&f, rows, 21, 6, block_rows);
            assert_true(f.ctl[CTL_RESULT] == FIT_OK && f.ctl[CTL_WHERE] == -1);
            for (int j = 0; j < 6; j++)
                assert_near(f.u[j], 1, 1e-14);
            assert_near(f.state[STATE_VALUE], 3 * 924 * residual * residual, 1e-14);
        }
}

static void solution_is_added_to_the_start(void **state) {
    (void)state;
    double rows[21 * 7];
    polynomial(rows, 3);
    Fit f = {.u = {1, 2, 3, 4, 5, 6}};
    fit(&f, rows, 21, 6, 8);
    for (int j = 0; j < 6; j++)
        assert_near(f.u[j], j + 2, 1e-14);
}

/* Columns 1, x^k of x = 100..120 have a condition of 1e9 and more, columns of length 1 or not; the
 * first pass alone gives 6 digits. */
static void ill_conditioned_columns(void **state) {
    (void)state;
    double rows[21 * 6];
    for (int i = 0; i < 21; i++) {
        double x = 1, y = 0;
        for (int j = 0; j < 5; j++, x *= 100 + i) {
            rows[i * 6 + j] = x;
            y += x * (j % 2 ? -1 : 3);
        }
        rows[i * 6 + 5] = y;
    }
    Fit f = {.u = {0}};
    fit(&f, rows, 21, 5, 4);
    assert_true(f.ctl[CTL_RESULT] == FIT_OK);
    for (int j = 0; j < 5; j++)
        assert_near(f.u[j], j % 2 ? -1 : 3, 1e-12);
    assert_true(f.qr_passes == 1 && f.refinements >= 2);
}

/* R's cars: dist ~ speed; estimates in rational arithmetic */
static void stopping_distances(void **state) {
    (void)state;
    static const int speed[] = {4,  4,  7,  7,  8,  9,  10, 10, 10, 11, 11, 12, 12, 12, 12, 13, 13,
                                13, 13, 14, 14, 14, 14, 15, 15, 15, 16, 16, 17, 17, 17, 18, 18, 18,
                                18, 19, 19, 19, 20, 20, 20, 20, 20, 22, 23, 24, 24, 24, 24, 25};
    static const int dist[] = {2,  10, 4,  22, 16, 10, 18, 26, 34, 17, 28, 14, 20, 24, 28,  26, 34,
                               34, 46, 26, 36, 60, 80, 20, 26, 54, 32, 40, 32, 40, 50, 42,  56, 76,
                               84, 36, 46, 68, 32, 48, 52, 56, 64, 66, 54, 70, 92, 93, 120, 85};
    double rows[150], sx = 0, sy = 0, sxx = 0, sxy = 0, syy = 0;
    for (int i = 0; i < 50; i++) {
        rows[3 * i] = 1;
        rows[3 * i + 1] = speed[i];
        rows[3 * i + 2] = dist[i];
        sx += speed[i], sy += dist[i], sxx += speed[i] * speed[i], sxy += speed[i] * dist[i],
            syy += dist[i] * dist[i];
    }
    Fit f = {.u = {0}};
    fit(&f, rows, 50, 2, 16);
    double det = 50 * sxx - sx * sx, slope = (50 * sxy - sx * sy) / det,
           intercept = (sy * sxx - sx * sxy) / det;
    double rss = (syy * det - 50 * sxy * sxy + 2 * sx * sy * sxy - sy * sy * sxx) /
                 det; /* integers: exact */
    assert_near(f.u[0], intercept, 1e-15);
    assert_near(f.u[1], slope, 1e-15);
    assert_near(f.state[STATE_VALUE], rss, 1e-14);
    assert_near(f.cov[3], rss / 48 * 50 / det, 1e-14);
    assert_near(f.cov[0], rss / 48 * sxx / det, 1e-14);
    assert_near(f.u[1], 3.9324087591240876, 1e-14); /* as R prints it: 3.9324 */
}

/* Rows of intercept, x, w and one more column */
static void dependent(const double *last, double unit, int64_t where) {
    double rows[5 * 30];
    for (int i = 0; i < 30; i++) {
        double x = i * 0.37 + 1, w = (i * 7) % 11;
        rows[5 * i] = 1;
        rows[5 * i + 1] = x * unit;
        rows[5 * i + 2] = w;
        rows[5 * i + 3] = last[0] + last[1] * x * unit + last[2] * w;
        rows[5 * i + 4] = 2 + x - w + (i % 3);
    }
    Fit f = {.u = {0}};
    fit(&f, rows, 30, 4, 7);
    assert_true(f.ctl[CTL_RESULT] == (where < 0 ? FIT_OK : FIT_DEPENDENT) &&
                f.ctl[CTL_WHERE] == where);
    if (where >= 0) { /* the others are as without it */
        Fit g = {.u = {0}};
        double three[4 * 30];
        for (int i = 0; i < 30; i++)
            for (int j = 0; j < 4; j++)
                three[4 * i + j] = rows[5 * i + (j == 3 ? 4 : j)];
        fit(&g, three, 30, 3, 30);
        for (int j = 0; j < 3; j++)
            assert_near(f.u[j], g.u[j], 1e-10);
        assert_true(f.u[3] == 0 && isnan(f.cov[15]) && isnan(f.cov[3]));
        assert_near(f.state[STATE_VALUE], g.state[STATE_VALUE], 1e-12);
    }
}

static void a_dependent_column_is_named(void **state) {
    (void)state;
    for (double unit = 1e-12; unit < 1e13; unit *= 1e4) {
        dependent((double[]){5, 0, 0}, unit, 3);           /* constant, beside an intercept */
        dependent((double[]){0, 0, 0}, unit, 3);           /* nothing but zeros */
        dependent((double[]){1, 2 / unit, 0}, unit, 3);    /* a multiple and a shift */
        dependent((double[]){-3, 1 / unit, 0.1}, unit, 3); /* a sum with rounding */
    }
}

static void columns_close_to_each_other_are_not_dependent(void **state) {
    (void)state;
    double rows[4 * 40];
    for (int i = 0; i < 40; i++) {
        rows[4 * i] = 1;
        rows[4 * i + 1] = 1000 + i;
        rows[4 * i + 2] = 1000 + i + 1e-7 * (i % 5);
        rows[4 * i + 3] = rows[4 * i + 1] - rows[4 * i + 2] + 7;
    }
    Fit f = {.u = {0}};
    fit(&f, rows, 40, 3, 40);
    assert_true(f.ctl[CTL_RESULT] == FIT_OK);
    assert_near(f.u[1], 1, 1e-6);
    assert_near(f.u[2], -1, 1e-6);
}

static void fewer_rows_than_columns(void **state) {
    (void)state;
    double rows[] = {1, 2, 3, 10, 1, 3, 1, 11};
    Fit f = {.u = {0}};
    fit(&f, rows, 2, 3, 2);
    assert_true(f.ctl[CTL_RESULT] == FIT_DEPENDENT && f.ctl[CTL_WHERE] == 2);
    fit(&f, rows, 0, 3, 2);
    assert_true(f.ctl[CTL_RESULT] == FIT_DEPENDENT && f.ctl[CTL_WHERE] == 0);
    double square[] = {1, 2, 5, 3, 4, 11}; /* as many: an exact fit */
    Fit g = {.u = {0}};
    fit(&g, square, 2, 2, 2);
    assert_true(g.ctl[CTL_RESULT] == FIT_OK && g.u[0] == 1 && g.u[1] == 2 &&
                g.state[STATE_VALUE] == 0);
}

static void the_rounding_of_the_response_is_no_residual(void **state) {
    (void)state;
    double rows[3 * 50];
    for (int i = 0; i < 50; i++) {
        rows[3 * i] = 1;
        rows[3 * i + 1] = sin(i);
        rows[3 * i + 2] = 0.1 + 0.7 * rows[3 * i + 1];
    }
    Fit f = {.u = {0}};
    fit(&f, rows, 50, 2, 16);
    assert_true(f.state[STATE_VALUE] == 0 && f.cov[0] == 0);
    for (int i = 0; i < 50; i++) /* a residual of 1e-13 is one */
        rows[3 * i + 2] += 1e-13 * (i % 3 - 1);
    Fit g = {.u = {0}};
    fit(&g, rows, 50, 2, 16);
    assert_true(g.state[STATE_VALUE] > 1e-25 && g.state[STATE_VALUE] < 1e-24);
}

static void no_columns(void **state) {
    (void)state;
    double rows[] = {3, 4};
    Fit f = {.u = {0}};
    fit(&f, rows, 2, 0, 2);
    assert_true(f.ctl[CTL_RESULT] == FIT_OK);
    assert_near(f.state[STATE_VALUE], 25, 1e-15);
}

static void rows_that_are_not_finite(void **state) {
    (void)state;
    double bad[] = {NAN, INFINITY};
    for (int k = 0; k < 2; k++)
        for (int cell = 0; cell < 6; cell++) {
            double rows[] = {1, 2, 3, 1, 5, 4, 1, 7, 9};
            rows[cell] = bad[k];
            Fit f = {.u = {4, 5}};
            fit(&f, rows, 3, 2, 2);
            assert_true(f.ctl[CTL_RESULT] == FIT_NOT_FINITE && f.u[0] == 4 && f.u[1] == 5);
        }
}

static void huge_and_tiny_units(void **state) {
    (void)state;
    double rows[3 * 10];
    for (int i = 0; i < 10; i++) {
        rows[3 * i] = 1e-200;
        rows[3 * i + 1] = i * 1e200;
        rows[3 * i + 2] = 2e100 + 3e100 * i;
    }
    Fit f = {.u = {0}};
    fit(&f, rows, 10, 2, 3);
    assert_true(f.ctl[CTL_RESULT] == FIT_OK);
    assert_near(f.u[0], 2e300, 1e-12);
    assert_near(f.u[1], 3e-100, 1e-12);
}

/* Wampler's polynomial with a large residual needs refinement: groups give the same digits. */
static void groups_are_put_together(void **state) {
    double rows[21 * 7];
    Fit one, many;
    (void)state;
    polynomial(rows, 1e4);
    memset(one.u, 0, sizeof one.u);
    memset(many.u, 0, sizeof many.u);
    fit(&one, rows, 21, 6, 21);
    fit_in_groups(&many, rows, 21, 6);
    assert_true(one.refinements > 0 && many.refinements > 0);
    for (int j = 0; j < 6; j++)
        assert_near(many.u[j], 1, 1e-12);
    assert_near(many.state[STATE_VALUE], one.state[STATE_VALUE], 1e-12);
    assert_near(fabs(many.r[0]), fabs(one.r[0]), 1e-14);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_residuals_do_not_cost_digits),
        cmocka_unit_test(solution_is_added_to_the_start),
        cmocka_unit_test(ill_conditioned_columns),
        cmocka_unit_test(stopping_distances),
        cmocka_unit_test(a_dependent_column_is_named),
        cmocka_unit_test(columns_close_to_each_other_are_not_dependent),
        cmocka_unit_test(fewer_rows_than_columns),
        cmocka_unit_test(the_rounding_of_the_response_is_no_residual),
        cmocka_unit_test(no_columns),
        cmocka_unit_test(rows_that_are_not_finite),
        cmocka_unit_test(groups_are_put_together),
        cmocka_unit_test(huge_and_tiny_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
