/* Dense linear algebra on small row-major matrices (Golub and Van Loan, Matrix Computations, 4th ed., 3.4 and 4.2). Sums
 * run in the order of the index. Singular or, for cholesky, not positive definite matrices give non-finite results. */
#include <math.h>

#include "runtime/rt.h"

/* l l' = (a + a')/2, l lower with zeros above. Row by row: the row that grows stays in the cache, and each finished
 * column lies in the triangle above as a row, so that the innermost loop runs along both. */
#define CHOLESKY(name, real, root)                                                                                     \
    void rt_##name(real *l, const real *a, int64_t n) {                                                                \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            real *restrict row = l + i * n;                                                                            \
            for (int64_t j = 0; j <= i; j++)                                                                           \
                row[j] = (a[i * n + j] + a[j * n + i]) / 2;                                                            \
            for (int64_t k = 0; k < i; k++) {                                                                          \
                const real *restrict column = l + k * n;                                                               \
                real f = row[k] / column[k];                                                                           \
                row[k] = f;                                                                                            \
                for (int64_t j = k + 1; j < i; j++)                                                                    \
                    row[j] -= f * column[j];                                                                           \
                row[i] -= f * f;                                                                                       \
            }                                                                                                          \
            row[i] = root(row[i]);                                                                                     \
            for (int64_t k = 0; k < i; k++)                                                                            \
                l[k * n + i] = row[k];                                                                                 \
        }                                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                                                \
            for (int64_t j = i + 1; j < n; j++)                                                                        \
                l[i * n + j] = 0;                                                                                      \
    }
CHOLESKY(cholesky_f32, float, sqrtf)
CHOLESKY(cholesky_f64, double, sqrt)

/* Columns of right sides that go through a triangle side by side: whole lines of the cache, sums in registers. */
enum { COLUMNS = 16 };

/* Columns c to c + w of l x = b, or of l' x = b; b has k columns, w is a constant. */
#define TRISOLVE_COLUMNS(real, w)                                                                                      \
    for (int64_t s = 0; s < n; s++) {                                                                                  \
        int64_t i = transposed ? n - 1 - s : s;                                                                        \
        real sum[w];                                                                                                   \
        for (int v = 0; v < w; v++)                                                                                    \
            sum[v] = b[i * k + c + v];                                                                                 \
        for (int64_t t = 0; t < s; t++) {                                                                              \
            int64_t j = transposed ? n - 1 - t : t;                                                                    \
            real f = l[i * along + j * down];                                                                          \
            for (int v = 0; v < w; v++)                                                                                \
                sum[v] -= f * x[j * k + c + v];                                                                        \
        }                                                                                                              \
        for (int v = 0; v < w; v++)                                                                                    \
            x[i * k + c + v] = sum[v] / l[i * n + i];                                                                  \
    }

/* l x = b, or l' x = b; b has k columns. */
#define TRISOLVE(name, real)                                                                                           \
    void rt_##name(real *x, const real *l, const real *b, int64_t n, int64_t k, int64_t transposed) {                   \
        int64_t down = transposed ? n : 1, along = transposed ? 1 : n, c = 0;                                          \
        for (; c + COLUMNS <= k; c += COLUMNS)                                                                         \
            TRISOLVE_COLUMNS(real, COLUMNS)                                                                            \
        for (; c < k; c++)                                                                                             \
            TRISOLVE_COLUMNS(real, 1)                                                                                  \
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
        for (int64_t i = n - 1; i >= 0; i--) {                                                                         \
            for (int64_t j = i + 1; j < n; j++)                                                                        \
                for (int64_t c = 0; c < k; c++)                                                                        \
                    x[i * k + c] -= lu[i * n + j] * x[j * k + c];                                                      \
            for (int64_t c = 0; c < k; c++)                                                                            \
                x[i * k + c] /= lu[i * n + i];                                                                         \
        }                                                                                                              \
    }
SOLVE(solve_f32, float, fabsf)
SOLVE(solve_f64, double, fabs)
