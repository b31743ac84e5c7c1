/* What the optimisers share: dense symmetric algebra on small matrices, in place. */
#include <math.h>

#include "runtime/rt.h"
#include "runtime/rt_fit.h"

void rt_fit_done(int64_t *ctl, int64_t result, int64_t where) {
    ctl[CTL_ACTION] = FIT_DONE;
    ctl[CTL_RESULT] = result;
    ctl[CTL_WHERE] = where;
}

int64_t rt_fit_without_bound(int64_t ends, double direction) {
    return ends & (direction < 0 ? 1 : 2) ? FIT_UNBOUNDED : FIT_DIVERGES;
}

bool rt_fit_finite(const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

double rt_fit_dot(const double *a, const double *b, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += a[i] * b[i];
    return s;
}

double rt_fit_max(const double *x, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(x[i]));
    return most;
}

double rt_fit_norm(const double *x, int64_t n, int64_t stride) {
    double s = 0, most = 0;
    for (int64_t i = 0; i < n; i++) {
        double t = x[i * stride];
        s += t * t;
        most = fmax(most, fabs(t));
    }
    if ((s > 0x1p-900 && s < 0x1p900) || isnan(s) || most == 0 || isinf(most))
        return sqrt(s);
    int e = ilogb(most);
    s = 0;
    for (int64_t i = 0; i < n; i++) {
        double t = ldexp(x[i * stride], -e);
        s += t * t;
    }
    return ldexp(sqrt(s), e);
}

bool rt_fit_squares(double length) {
    return length == 0 || (length > 0x1p-450 && length < 0x1p500);
}

void rt_fit_back(const double *r, double *x, int64_t p, int64_t q) {
    for (int64_t i = p - 1; i >= 0; i--) {
        for (int64_t k = i + 1; k < p; k++)
            x[i] -= r[i * q + k] * x[k];
        x[i] /= r[i * q + i];
    }
}

void rt_fit_drop(double *a, int64_t n, int64_t j) {
    for (int64_t i = 0; i <= j; i++)
        a[i * n + j] = 0;
    for (int64_t k = j + 1; k < n; k++) {
        double *low = a + k * n, *out = a + j * n, h = hypot(low[k], out[k]);
        if (h == 0)
            continue;
        double c = low[k] / h, s = out[k] / h;
        for (int64_t l = k; l < n; l++) {
            double t = c * low[l] + s * out[l];
            out[l] = c * out[l] - s * low[l];
            low[l] = t;
        }
        out[k] = 0;
    }
}

double rt_fit_cholesky(double *a, int64_t n) {
    double least = 1;
    for (int64_t j = 0; j < n; j++) {
        double s = a[j * n + j], diagonal = s;
        for (int64_t k = 0; k < j; k++)
            s -= a[j * n + k] * a[j * n + k];
        if (!(s > 0))
            return isnan(s) ? s : 0;
        least = fmin(least, s / diagonal);
        double root = a[j * n + j] = sqrt(s);
        for (int64_t i = j + 1; i < n; i++) {
            s = a[i * n + j];
            for (int64_t k = 0; k < j; k++)
                s -= a[i * n + k] * a[j * n + k];
            a[i * n + j] = s / root;
        }
    }
    return least;
}

void rt_fit_cholesky_solve(const double *l, double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < i; k++)
            x[i] -= l[i * n + k] * x[k];
        x[i] /= l[i * n + i];
    }
    for (int64_t i = n - 1; i >= 0; i--) {
        for (int64_t k = i + 1; k < n; k++)
            x[i] -= l[k * n + i] * x[k];
        x[i] /= l[i * n + i];
    }
}

void rt_fit_cholesky_invert(double *l, int64_t n) {
    for (int64_t j = 0; j < n; j++) {
        l[j * n + j] = 1 / l[j * n + j];
        for (int64_t i = j + 1; i < n; i++) {
            double s = 0;
            for (int64_t k = j; k < i; k++)
                s -= l[i * n + k] * l[k * n + j];
            l[i * n + j] = s / l[i * n + i];
        }
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            double s = 0;
            for (int64_t k = i; k < n; k++)
                s += l[k * n + i] * l[k * n + j];
            l[i * n + j] = l[j * n + i] = s;
        }
}

/* One rotation of Jacobi's method in the plane (i, j): a_ij becomes 0. */
static void rotate(double *a, double *v, int64_t n, int64_t i, int64_t j) {
    double theta = (a[j * n + j] - a[i * n + i]) / (2 * a[i * n + j]);
    double t = copysign(1 / (fabs(theta) + hypot(1, theta)), theta), c = 1 / hypot(1, t), s = t * c;
    for (int64_t k = 0; k < n; k++) {
        double x = a[i * n + k], y = a[j * n + k];
        a[i * n + k] = c * x - s * y;
        a[j * n + k] = s * x + c * y;
    }
    for (int64_t k = 0; k < n; k++) {
        double x = a[k * n + i], y = a[k * n + j];
        a[k * n + i] = c * x - s * y;
        a[k * n + j] = s * x + c * y;
    }
    for (int64_t k = 0; k < n; k++) {
        double x = v[k * n + i], y = v[k * n + j];
        v[k * n + i] = c * x - s * y;
        v[k * n + j] = s * x + c * y;
    }
    a[i * n + j] = a[j * n + i] = 0;
}

/* Cyclic Jacobi (Golub and Van Loan, 8.5): slower than tridiagonalisation, but accurate for small
 * eigenvalues of scaled matrices, and only called where Cholesky's way does not do. */
void rt_eigen(double *a, double *w, double *v, int64_t n) {
    for (int64_t i = 0; i < n * n; i++)
        v[i] = i % (n + 1) == 0;
    bool rotated = true;
    for (int sweep = 0; sweep < 40 && rotated; sweep++) {
        rotated = false;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = i + 1; j < n; j++)
                if (fabs(a[i * n + j]) >
                    0x1p-53 * sqrt(fabs(a[i * n + i])) * sqrt(fabs(a[j * n + j]))) {
                    rotate(a, v, n, i, j);
                    rotated = true;
                }
    }
    for (int64_t i = 0; i < n; i++)
        w[i] = a[i * n + i];
    for (int64_t i = 0; i < n; i++) { /* ascending */
        int64_t least = i;
        for (int64_t j = i + 1; j < n; j++)
            least = w[j] < w[least] ? j : least;
        double t = w[i];
        w[i] = w[least];
        w[least] = t;
        for (int64_t k = 0; k < n && least != i; k++) {
            t = v[k * n + i];
            v[k * n + i] = v[k * n + least];
            v[k * n + least] = t;
        }
    }
}
