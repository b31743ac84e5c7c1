/* runtime/rt_fit: what the optimisers share, against matrices whose factors, inverses and
 * eigenvalues are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "runtime/rt.h"
#include "runtime/rt_fit.h"

static bool near(double got, double want, double absolute) { return fabs(got - want) <= absolute; }

/* The second difference (2 on the diagonal, -1 beside it): eigenvalues 2 - 2 cos(k pi / (n + 1)),
 * eigenvectors sines. */
static void eigenvalues_of_the_second_difference(void **state) {
    (void)state;
    enum { MOST = 24 };
    const double pi = 3.14159265358979323846;
    double a[MOST * MOST], v[MOST * MOST], w[MOST];
    for (int n = 1; n <= MOST; n += 4) {
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++)
                a[i * n + j] = i == j ? 2 : i - j == 1 || j - i == 1 ? -1 : 0;
        rt_eigen(a, w, v, n);
        for (int k = 0; k < n; k++) {
            assert_true(near(w[k], 2 - 2 * cos((k + 1) * pi / (n + 1)), 1e-13));
            for (int i = 0; i < n; i++) { /* a v = w v */
                double av = 2 * v[i * n + k];
                av -= i > 0 ? v[(i - 1) * n + k] : 0;
                av -= i < n - 1 ? v[(i + 1) * n + k] : 0;
                assert_true(near(av, w[k] * v[i * n + k], 1e-13));
            }
        }
    }
}

/* Graded by 1e12 and of mixed signs: small eigenvalues keep their digits. */
static void eigenvalues_of_a_graded_matrix(void **state) {
    (void)state;
    double a[] = {1, 1e-6, 1e-6, -1e-8}, v[4], w[2];
    rt_eigen(a, w, v, 2);
    /* w0 w1 = -1e-8 - 1e-12, w0 + w1 = 1 - 1e-8 */
    double sum = 1 - 1e-8, product = -1e-8 - 1e-12,
           high = (sum + sqrt(sum * sum - 4 * product)) / 2;
    assert_true(near(w[1], high, 1e-15) && near(w[0], product / high, 1e-22));
    double zero[9] = {0}, vz[9], wz[3];
    rt_eigen(zero, wz, vz, 3);
    assert_true(wz[0] == 0 && wz[2] == 0 && vz[0] == 1 && vz[1] == 0);
}

/* Pascal's matrix of order 6: its factor is Pascal's triangle, its inverse is of integers. */
static void factor_and_inverse_of_pascals_matrix(void **state) {
    (void)state;
    enum { N = 6 };
    double triangle[N * N] = {0}, a[N * N], pascal[N * N];
    for (int i = 0; i < N; i++)
        for (int j = 0; j <= i; j++)
            triangle[i * N + j] =
                j == 0 ? 1
                       : triangle[(i - 1) * N + j - 1] + (j < i ? triangle[(i - 1) * N + j] : 0);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            pascal[i * N + j] = 0;
            for (int k = 0; k < N; k++)
                pascal[i * N + j] += triangle[i * N + k] * triangle[j * N + k];
            a[i * N + j] = pascal[i * N + j];
        }
    double least = rt_fit_cholesky(a, N);
    assert_true(near(least, 1.0 / 252, 1e-15)); /* the last pivot is 1, its diagonal C(10, 5) */
    for (int i = 0; i < N; i++)
        for (int j = 0; j <= i; j++)
            assert_true(near(a[i * N + j], triangle[i * N + j], 1e-12));
    double x[N];
    for (int i = 0; i < N; i++) {
        x[i] = 0;
        for (int j = 0; j < N; j++)
            x[i] += pascal[i * N + j] * (j - 2);
    }
    rt_fit_cholesky_solve(a, x, N);
    rt_fit_cholesky_invert(a, N);
    for (int i = 0; i < N; i++) {
        assert_true(near(x[i], i - 2, 1e-10));
        for (int j = 0; j < N; j++) {
            double unit = 0;
            for (int k = 0; k < N; k++)
                unit += a[i * N + k] * pascal[k * N + j];
            assert_true(near(unit, i == j, 1e-9) && a[i * N + j] == a[j * N + i]);
            assert_true(near(a[i * N + j], round(a[i * N + j]), 1e-8));
        }
    }
}

static void matrices_that_have_no_factor(void **state) {
    (void)state;
    double indefinite[] = {1, 2, 2, 1}, singular[] = {1, 1, 1, 1}, zero[] = {0}, bad[] = {NAN};
    assert_false(rt_fit_cholesky(indefinite, 2) > 0);
    assert_false(rt_fit_cholesky(singular, 2) > 0);
    assert_false(rt_fit_cholesky(zero, 1) > 0);
    assert_false(rt_fit_cholesky(bad, 1) > 0);
    assert_true(rt_fit_cholesky(zero, 0) > 0);
}

static void lengths_of_any_magnitude(void **state) {
    (void)state;
    for (int e = -1000; e <= 1000; e += 100) {
        double x[] = {ldexp(3, e), 99, ldexp(-4, e), 99, 0};
        assert_true(rt_fit_norm(x, 3, 2) == ldexp(5, e));
    }
    double tiny[] = {0x1p-1074, 0}, bad[] = {1, NAN}, far[] = {1, -INFINITY};
    assert_true(rt_fit_norm(tiny, 2, 1) == 0x1p-1074 && rt_fit_norm(tiny, 0, 1) == 0);
    assert_true(isnan(rt_fit_norm(bad, 2, 1)) && isinf(rt_fit_norm(far, 2, 1)));
    assert_true(!rt_fit_finite(bad, 2) && !rt_fit_finite(far, 2) && rt_fit_finite(tiny, 2));
}

/* Without column j, a'a is as before but for row and column j. */
static void a_column_is_taken_out(void **state) {
    (void)state;
    enum { N = 5 };
    for (int out = 0; out < N; out++) {
        double a[N * N] = {0}, b[N * N];
        for (int i = 0; i < N; i++)
            for (int j = i; j < N; j++)
                a[i * N + j] = (double)((i * 7 + j * 3) % 11 - 4);
        for (int i = 0; i < N * N; i++)
            b[i] = a[i];
        rt_fit_drop(b, N, out);
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                double was = 0, is = 0;
                for (int k = 0; k < N; k++) {
                    was += a[k * N + i] * a[k * N + j];
                    is += b[k * N + i] * b[k * N + j];
                }
                assert_true(near(is, i == out || j == out ? 0 : was, 1e-12));
                assert_true(j >= i || b[i * N + j] == 0);
                assert_true(i != out || b[i * N + j] == 0);
            }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eigenvalues_of_the_second_difference),
        cmocka_unit_test(eigenvalues_of_a_graded_matrix),
        cmocka_unit_test(factor_and_inverse_of_pascals_matrix),
        cmocka_unit_test(matrices_that_have_no_factor),
        cmocka_unit_test(lengths_of_any_magnitude),
        cmocka_unit_test(a_column_is_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
