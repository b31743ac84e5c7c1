/* QR by blocks of rows (Golub and Van Loan, Matrix Computations, 4th ed., 5.2; the sequential TSQR
 * of Demmel, Grigori, Hoemmen and Langou, SIAM J. Sci. Comput. 34, 2012): [r; next rows] is
 * factored in place, so that a pass over the rows needs the memory of one block. Squares neither
 * overflow nor underflow. */
#include <math.h>

#include "runtime/rt.h"
#include "runtime/rt_fit.h"

enum {
    STRIP = 8, /* columns updated together */
    ROWS = 256 /* of a block that is factored at once */
};

/* sqrt(top^2 + sum of the squares of column j), whatever the magnitudes. */
static double column_norm(double top, const double *block, int64_t m, int64_t q, int64_t j) {
    double s = top * top;
    for (int64_t i = 0; i < m; i++)
        s += block[i * q + j] * block[i * q + j];
    if ((s > 0x1p-900 && s < 0x1p900) || isnan(s))
        return sqrt(s);
    double most = fabs(top);
    for (int64_t i = 0; i < m; i++)
        most = fmax(most, fabs(block[i * q + j]));
    if (most == 0 || isinf(most))
        return most;
    int e = ilogb(most);
    double t = ldexp(top, -e);
    s = t * t;
    for (int64_t i = 0; i < m; i++) {
        t = ldexp(block[i * q + j], -e);
        s += t * t;
    }
    return ldexp(sqrt(s), e);
}

/* I - tau w w' with w = (1, m cells q apart). */
typedef struct Reflection {
    const double *w;
    double tau;
    int64_t m, q;
} Reflection;

/* Applies it to n <= STRIP columns: `row` on top of `block`. Inlined, so that full strips have
 * constant loops. */
static inline void reflect(const Reflection *h, double *row, double *block, int64_t n) {
    double s[STRIP];
    for (int64_t c = 0; c < n; c++)
        s[c] = row[c];
    for (int64_t i = 0; i < h->m; i++) {
        const double *b = block + i * h->q;
        double w = h->w[i * h->q];
        for (int64_t c = 0; c < n; c++)
            s[c] += w * b[c];
    }
    for (int64_t c = 0; c < n; c++) {
        s[c] *= h->tau;
        row[c] -= s[c];
    }
    for (int64_t i = 0; i < h->m; i++) {
        double *b = block + i * h->q, w = h->w[i * h->q];
        for (int64_t c = 0; c < n; c++)
            b[c] -= w * s[c];
    }
}

/* [r; block] for rows that stay in the cache. */
static void fold(double *r, double *block, int64_t m, int64_t q) {
    for (int64_t j = 0; j < q; j++) {
        double *row = r + j * q, top = row[j];
        bool empty = true;
        for (int64_t i = 0; i < m && empty; i++)
            empty = block[i * q + j] == 0;
        if (empty)
            continue;
        double beta = -copysign(column_norm(top, block, m, q, j), top), v = top - beta;
        for (int64_t i = 0; i < m; i++)
            block[i * q + j] /= v;
        Reflection h = {block + j, -v / beta, m, q};
        int64_t k = j + 1;
        for (; k + STRIP <= q; k += STRIP)
            reflect(&h, row + k, block + k, STRIP);
        if (k < q)
            reflect(&h, row + k, block + k, q - k);
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
