/* Dense linear algebra on small row-major matrices (Golub and Van Loan, Matrix Computations, 4th ed., 3.4 and 4.2). Sums
 * run in the order of the index. Singular or, for cholesky, not positive definite matrices give non-finite results. */
#include <math.h>

#include "runtime/rt.h"

/* l l' = (a + a')/2, l lower with zeros above. */
#define CHOLESKY(name, real, root)                                                                                     \
    void rt_##name(real *l, const real *a, int64_t n) {                                                                \
        for (int64_t i = 0; i < n; i++)                                                                                \
            for (int64_t j = 0; j < n; j++) {                                                                          \
                if (j > i) {                                                                                           \
                    l[i * n + j] = 0;                                                                                  \
                    continue;                                                                                          \
                }                                                                                                      \
                real s = (a[i * n + j] + a[j * n + i]) / 2;                                                            \
                for (int64_t k = 0; k < j; k++)                                                                        \
                    s -= l[i * n + k] * l[j * n + k];                                                                  \
                l[i * n + j] = i == j ? root(s) : s / l[j * n + j];                                                    \
            }                                                                                                          \
    }
CHOLESKY(cholesky_f32, float, sqrtf)
CHOLESKY(cholesky_f64, double, sqrt)

/* l x = b, or l' x = b; b has k columns. */
#define TRISOLVE(name, real)                                                                                           \
    void rt_##name(real *x, const real *l, const real *b, int64_t n, int64_t k, int64_t transposed) {                   \
        for (int64_t c = 0; c < k; c++)                                                                                \
            for (int64_t s = 0; s < n; s++) {                                                                          \
                int64_t i = transposed ? n - 1 - s : s;                                                                \
                real sum = b[i * k + c];                                                                               \
                for (int64_t t = 0; t < s; t++) {                                                                      \
                    int64_t j = transposed ? n - 1 - t : t;                                                            \
                    sum -= (transposed ? l[j * n + i] : l[i * n + j]) * x[j * k + c];                                  \
                }                                                                                                      \
                x[i * k + c] = sum / l[i * n + i];                                                                     \
            }                                                                                                          \
    }
TRISOLVE(trisolve_f32, float)
TRISOLVE(trisolve_f64, double)

/* a x = b by LU with partial pivoting; lu: n x n scratch, x: k columns. */
#define SOLVE(name, real, magnitude)                                                                                   \
    void rt_##name(real *x, const real *a, const real *b, real *lu, int64_t n, int64_t k) {                             \
        for (int64_t i = 0; i < n * n; i++)                                                                            \
            lu[i] = a[i];                                                                                              \
        for (int64_t i = 0; i < n * k; i++)                                                                            \
            x[i] = b[i];                                                                                               \
        for (int64_t p = 0; p < n; p++) {                                                                              \
            int64_t top = p;                                                                                           \
            for (int64_t i = p + 1; i < n; i++)                                                                        \
                top = magnitude(lu[i * n + p]) > magnitude(lu[top * n + p]) ? i : top;                                 \
            for (int64_t j = 0; j < n && top != p; j++) {                                                              \
                real t = lu[p * n + j];                                                                                \
                lu[p * n + j] = lu[top * n + j];                                                                       \
                lu[top * n + j] = t;                                                                                   \
            }                                                                                                          \
            for (int64_t j = 0; j < k && top != p; j++) {                                                              \
                real t = x[p * k + j];                                                                                 \
                x[p * k + j] = x[top * k + j];                                                                         \
                x[top * k + j] = t;                                                                                    \
            }                                                                                                          \
            for (int64_t i = p + 1; i < n; i++) {                                                                      \
                real f = lu[i * n + p] / lu[p * n + p];                                                                \
                for (int64_t j = p + 1; j < n; j++)                                                                    \
                    lu[i * n + j] -= f * lu[p * n + j];                                                                \
                for (int64_t j = 0; j < k; j++)                                                                        \
                    x[i * k + j] -= f * x[p * k + j];                                                                  \
            }                                                                                                          \
        }                                                                                                              \
        for (int64_t c = 0; c < k; c++)                                                                                \
            for (int64_t i = n - 1; i >= 0; i--) {                                                                     \
                real sum = x[i * k + c];                                                                               \
                for (int64_t j = i + 1; j < n; j++)                                                                    \
                    sum -= lu[i * n + j] * x[j * k + c];                                                               \
                x[i * k + c] = sum / lu[i * n + i];                                                                    \
            }                                                                                                          \
    }
SOLVE(solve_f32, float, fabsf)
SOLVE(solve_f64, double, fabs)
