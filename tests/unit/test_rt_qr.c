/* runtime/rt_qr: the triangle of a stack of blocks, and covariances from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "runtime/rt.h"
#include "runtime/rt_fit.h"

/* A matrix of small integers, so that a'a is exact. */
static void integers(double *a, int64_t m, int64_t q, double unit) {
    for (int64_t i = 0; i < m * q; i++)
        a[i] = (double)((i * i * 7 + i * 13 + i / q * 5) % 19 - 9) * unit;
}

/* r'r = a'a to `tol` for r in units, and r is upper triangular. */
static void check_products(const double *r, const double *a, int64_t m, int64_t q, double unit, double tol) {
    for (int64_t i = 0; i < q; i++)
        for (int64_t j = 0; j < q; j++) {
            double want = 0, got = 0;
            for (int64_t k = 0; k < m; k++)
                want += a[k * q + i] * a[k * q + j];
            for (int64_t k = 0; k < q; k++)
                got += (r[k * q + i] / unit) * (r[k * q + j] / unit);
            assert_true(fabs(got - want) < tol && (j >= i || r[i * q + j] == 0));
        }
}

/* Whatever the blocks and the magnitude. */
static void factors(double unit) {
    enum { M = 23, Q = 5 };
    double a[M * Q], block[M * Q];
    integers(a, M, Q, 1);
    for (int64_t rows = 1; rows <= M; rows += 3) {
        double r[Q * Q] = {0};
        for (int64_t at = 0; at < M; at += rows) {
            int64_t m = M - at < rows ? M - at : rows;
            for (int64_t i = 0; i < m * Q; i++)
                block[i] = a[at * Q + i] * unit;
            rt_qr_rows(r, block, m, Q);
        }
        check_products(r, a, M, Q, unit, 1e-12 * 800);
    }
}

static void triangle_has_the_products_of_its_rows(void **state) {
    (void)state;
    factors(1);
}

static void squares_neither_overflow_nor_underflow(void **state) {
    (void)state;
    factors(0x1p600);
    factors(0x1p-600);
}

/* As many columns as go side by side and other numbers, blocks of rows that are factored in parts. */
static void any_number_of_columns(void **state) {
    (void)state;
    enum { MOST = 40, ROWS = 300 };
    static double a[ROWS * MOST], block[ROWS * MOST], r[MOST * MOST];
    for (int64_t q = 1; q <= MOST; q++)
        for (int64_t m = 1; m <= ROWS; m += m < 10 ? 4 : 97) {
            integers(a, m, q, 1);
            for (int64_t i = 0; i < m * q; i++)
                block[i] = a[i];
            for (int64_t i = 0; i < q * q; i++)
                r[i] = 0;
            rt_qr_rows(r, block, m, q);
            check_products(r, a, m, q, 1, 1e-13 * 81 * (double)m);
        }
}

static void nothing_to_add_changes_nothing(void **state) {
    (void)state;
    double r[4] = {3, 4, 0, 5}, zeros[6] = {0};
    rt_qr_rows(r, zeros, 0, 2);
    rt_qr_rows(r, zeros, 3, 2);
    assert_true(r[0] == 3 && r[1] == 4 && r[2] == 0 && r[3] == 5);
    rt_qr_rows(r, zeros, 3, 0);
}

static void a_nan_cell_is_seen_in_the_triangle(void **state) {
    (void)state;
    double bad[] = {NAN, INFINITY, -INFINITY};
    for (int k = 0; k < 3; k++) {
        double r[9] = {0}, block[] = {1, 2, 3, 4, bad[k], 6, 7, 8, 10};
        rt_qr_rows(r, block, 3, 3);
        assert_false(rt_fit_finite(r, 9));
    }
}

/* A straight line through x = 0..9: (X'X)^-1 by hand. */
static void covariance_of_a_straight_line(void **state) {
    (void)state;
    double r[9] = {0}, block[30], cov[4], state_[STATE_MARKS + 3] = {0}, s2 = 2.5;
    for (int i = 0; i < 10; i++) {
        block[3 * i] = 1;
        block[3 * i + 1] = i;
        block[3 * i + 2] = i % 3;
    }
    rt_qr_rows(r, block, 10, 3);
    rt_lsq_cov(cov, r, state_, &s2, 2);
    double det = 10 * 285 - 45 * 45;
    assert_true(fabs(cov[0] - s2 * 285 / det) < 1e-14 && fabs(cov[3] - s2 * 10 / det) < 1e-15);
    assert_true(fabs(cov[1] + s2 * 45 / det) < 1e-15 && cov[1] == cov[2]);
}

/* The Hilbert matrix of order 5 as r'r: its inverse is known and integer. */
static void covariance_of_an_ill_conditioned_design(void **state) {
    (void)state;
    static const double inverse[25] = {25,     -300,  1050,   -1400,   630,    -300,   4800,
                                       -18900, 26880, -12600, 1050,    -18900, 79380,  -117600,
                                       56700,  -1400, 26880,  -117600, 179200, -88200, 630,
                                       -12600, 56700, -88200, 44100};
    /* Choi's factors: H = L D L', here as rows sqrt(D) L' */
    double r[36] = {0}, block[36] = {0}, cov[25], state_[STATE_MARKS + 5] = {0}, s2 = 1;
    for (int k = 0; k < 5; k++)
        for (int i = k; i < 5; i++) {
            double l = 1; /* i! (i)! (2k+1)! ... as a product: C(i,k) binomials */
            for (int t = 0; t < k; t++)
                l *= (double)(i - t) / (double)(i + 1 + t);
            l /= i + k + 1;
            block[k * 6 + i] = l * sqrt(2 * k + 1);
        }
    rt_qr_rows(r, block, 5, 6);
    rt_lsq_cov(cov, r, state_, &s2, 5);
    for (int i = 0; i < 25; i++)
        assert_true(fabs(cov[i] / inverse[i] - 1) < 1e-10);
}

static void covariance_without_a_marked_column(void **state) {
    (void)state;
    double block[40], r[16] = {0}, cov[9], state_[STATE_MARKS + 3] = {0}, s2 = 1;
    double block2[30], r2[9] = {0}, cov2[4], none[STATE_MARKS + 3] = {0};
    integers(block, 10, 4, 1);
    for (int i = 0; i < 10; i++)
        for (int j = 0; j < 3; j++)
            block2[3 * i + j] = block[4 * i + (j ? j + 1 : 0)];
    state_[STATE_MARKS + 1] = 1;
    rt_qr_rows(r, block, 10, 4);
    rt_qr_rows(r2, block2, 10, 3);
    rt_lsq_cov(cov, r, state_, &s2, 3);
    rt_lsq_cov(cov2, r2, none, &s2, 2);
    for (int i = 0; i < 9; i++) {
        bool out = i % 3 == 1 || i / 3 == 1;
        assert_true(out ? isnan(cov[i])
                        : fabs(cov[i] - cov2[(i / 3 ? 2 : 0) + (i % 3 ? 1 : 0)]) < 1e-15);
    }
}

static void no_covariance_of_a_singular_design(void **state) {
    (void)state;
    double r[9] = {1, 2, 3, 0, 0, 4, 0, 0, 5}, cov[4], state_[STATE_MARKS + 2] = {0}, s2 = 1;
    rt_lsq_cov(cov, r, state_, &s2, 2);
    for (int i = 0; i < 4; i++)
        assert_true(isnan(cov[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(triangle_has_the_products_of_its_rows),
        cmocka_unit_test(squares_neither_overflow_nor_underflow),
        cmocka_unit_test(any_number_of_columns),
        cmocka_unit_test(nothing_to_add_changes_nothing),
        cmocka_unit_test(a_nan_cell_is_seen_in_the_triangle),
        cmocka_unit_test(covariance_of_a_straight_line),
        cmocka_unit_test(covariance_of_an_ill_conditioned_design),
        cmocka_unit_test(covariance_without_a_marked_column),
        cmocka_unit_test(no_covariance_of_a_singular_design),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
