/* QR by blocks of rows (Golub and Van Loan, Matrix Computations, 4th ed., 5.2; the sequential TSQR
 * of Demmel, Grigori, Hoemmen and Langou, SIAM J. Sci. Comput. 34, 2012): [r; next rows] is
 * factored in place, so that a pass over the rows needs the memory of one block. Squares neither
 * overflow nor underflow. */
#include <math.h>

#include "runtime/rt.h"
#include "runtime/rt_fit.h"

enum { ROWS = 256 /* of a block that is factored at once */ };

typedef double Pair __attribute__((vector_size(16), aligned(8), may_alias)); /* every target has vectors of two */

#define EACH(c, n) _Pragma("GCC unroll 8") for (int c = 0; c < (n); c++)

/* sqrt(top^2 + sum of the squares of x), whatever the magnitudes. *empty: x is 0. */
static double norm(double top, const double *x, int64_t m, bool *empty) {
    Pair part[4] = {{0}};
    double s = 0;
    int64_t i = 0;
    for (; i + 8 <= m; i += 8)
        EACH(k, 4)
            part[k] += ((const Pair *)(x + i))[k] * ((const Pair *)(x + i))[k];
    for (; i < m; i++)
        s += x[i] * x[i];
    part[0] = (part[0] + part[1]) + (part[2] + part[3]);
    s += part[0][0] + part[0][1];
    *empty = s == 0;
    for (i = 0; i < m && *empty; i++) /* squares may vanish */
        *empty = x[i] == 0;
    s += top * top;
    if ((s > 0x1p-900 && s < 0x1p900) || isnan(s))
        return sqrt(s);
    double most = fabs(top);
    for (i = 0; i < m; i++)
        most = fmax(most, fabs(x[i]));
    if (most == 0 || isinf(most))
        return most;
    int e = ilogb(most);
    double t = ldexp(top, -e);
    s = t * t;
    for (i = 0; i < m; i++) {
        t = ldexp(x[i], -e);
        s += t * t;
    }
    return ldexp(sqrt(s), e);
}

/* I - tau w w' with w = (1, m cells); rows of the block are q apart. */
typedef struct Reflection {
    const double *w;
    double tau;
    int64_t m, q;
} Reflection;

/* Applies it to 2 n columns: `row` on top of `block`. Inlined, so that the sums, which wait for one another row by row,
 * are so many that none waits, and stay in registers. */
static inline __attribute__((always_inline)) void reflect_pairs(const Reflection *h, double *row, double *block, int n) {
    Pair s[8];
    EACH(c, n)
        s[c] = ((const Pair *)row)[c];
    for (int64_t i = 0; i < h->m; i++) {
        const Pair *b = (const Pair *)(block + i * h->q), w = {h->w[i], h->w[i]};
        EACH(c, n)
            s[c] += w * b[c];
    }
    EACH(c, n) {
        s[c] *= h->tau;
        ((Pair *)row)[c] -= s[c];
    }
    for (int64_t i = 0; i < h->m; i++) {
        Pair *b = (Pair *)(block + i * h->q), w = {h->w[i], h->w[i]};
        EACH(c, n)
            b[c] -= w * s[c];
    }
}

static void reflect_last(const Reflection *h, double *row, double *block) {
    double s = *row;
    for (int64_t i = 0; i < h->m; i++)
        s += h->w[i] * block[i * h->q];
    s *= h->tau;
    *row -= s;
    for (int64_t i = 0; i < h->m; i++)
        block[i * h->q] -= h->w[i] * s;
}

static void reflect(const Reflection *h, double *row, double *block, int64_t n) {
    int64_t k = 0;
    for (; k + 16 <= n; k += 16)
        reflect_pairs(h, row + k, block + k, 8);
    switch ((n - k) / 2) {
#define CASE(pairs)                                                                                                    \
    case pairs:                                                                                                        \
        reflect_pairs(h, row + k, block + k, pairs);                                                                   \
        break;
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7)
#undef CASE
    }
    if (n % 2)
        reflect_last(h, row + n - 1, block + n - 1);
}

/* [r; block] for rows that stay in the cache. */
static void fold(double *r, double *block, int64_t m, int64_t q) {
    double w[ROWS];
    for (int64_t j = 0; j < q; j++) {
        double *row = r + j * q, top = row[j];
        for (int64_t i = 0; i < m; i++)
            w[i] = block[i * q + j];
        bool empty;
        double beta = -copysign(norm(top, w, m, &empty), top), v = top - beta;
        if (empty)
            continue;
        for (int64_t i = 0; i + 2 <= m; i += 2)
            *(Pair *)(w + i) /= v;
        if (m % 2)
            w[m - 1] /= v;
        Reflection h = {w, -v / beta, m, q};
        reflect(&h, row + j + 1, block + j + 1, q - j - 1);
        row[j] = beta;
    }
}

void rt_qr_rows(double *r, double *block, int64_t m, int64_t q) {
    for (int64_t i = 0; i < m; i += ROWS)
        fold(r, block + i * q, m - i < ROWS ? m - i : ROWS, q);
}

static bool is_marked(const double *state, int64_t j) { return state[STATE_MARKS + j] != 0; }

/* x = x^-1, upper triangular with zeros below, in place; marked rows and columns are left out. */
static void invert_upper(double *x, const double *state, int64_t p) {
    for (int64_t i = p - 1; i >= 0; i--) {
        if (is_marked(state, i))
            continue;
        for (int64_t j = p - 1; j > i; j--) {
            double t = 0;
            for (int64_t k = i + 1; k <= j; k++)
                t += x[i * p + k] * x[k * p + j];
            x[i * p + j] = -t / x[i * p + i];
        }
        x[i * p + i] = 1 / x[i * p + i];
    }
}

void rt_lsq_cov(double *cov, const double *r, const double *state, const double *s2, int64_t p) {
    for (int64_t i = 0; i < p; i++)
        for (int64_t j = 0; j < p; j++)
            cov[i * p + j] = j < i ? 0 : r[i * (p + 1) + j];
    for (int64_t j = 0; j < p; j++)
        if (is_marked(state, j))
            rt_fit_drop(cov, p, j);
    bool full = true;
    for (int64_t j = 0; j < p; j++)
        full = full && (is_marked(state, j) || fabs(cov[j * p + j]) > 0);
    if (full)
        invert_upper(cov, state, p);
    for (int64_t i = 0; i < p; i++)
        for (int64_t j = i; j < p; j++) {
            double s = 0;
            for (int64_t k = j; k < p; k++)
                s += cov[i * p + k] * cov[j * p + k];
            cov[i * p + j] = full && !is_marked(state, i) && !is_marked(state, j) ? s * *s2 : NAN;
        }
    for (int64_t i = 0; i < p; i++)
        for (int64_t j = 0; j < i; j++)
            cov[i * p + j] = cov[j * p + i];
}
