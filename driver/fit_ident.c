/* -Wident: a mode whose Hessian is nearly singular. How much wider the others make a parameter's
 * uncertainty is C_ii H_ii, with C the covariance and H its inverse (a variance inflation factor).
 * Where that is so large that most digits of the data cancel, the estimate is hardly identified. */
#include <math.h>

#include "base/diag.h"
#include "driver/fit_exact.h"

#define MOST_INFLATION 1e10 /* five digits of an error of the data's last ones are left */

/* Elements with a variance of their own: probabilities of a simplex add up to 1, zeros above a
 * diagonal are none. */
static int64_t counted(const Exact *x, int64_t *at) {
    int64_t n = 0;
    for (int64_t k = 0; k < x->n; k++) {
        const AbiTensor *t = &x->f->block->params.p[x->elements[k].tensor];
        double v = x->best_cov[k * x->n + k];
        if (!x->elements[k].structural && t->kind != KIND_SIMPLEX && isfinite(v) && v >= 0x1p-1000)
            at[n++] = k;
    }
    return n;
}

/* l l' = the correlations a (lower triangle, in place); the first element that those before it
 * determine in f64, or -1. */
static int64_t factor(double *a, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            double s = a[i * n + j];
            for (int64_t k = 0; k < j; k++)
                s -= a[i * n + k] * a[j * n + k];
            if (i == j && !(s > 0x1p-50))
                return i;
            a[i * n + j] = i == j ? sqrt(s) : s / a[j * n + j];
        }
    return -1;
}

/* (l l')^-1 at i, i: the squared length of column i of l^-1. */
static double inverse_at(const double *l, int64_t n, int64_t i, double *z) {
    double sum = 0;
    for (int64_t r = i; r < n; r++) {
        double s = r == i;
        for (int64_t k = i; k < r; k++)
            s -= l[r * n + k] * z[k];
        z[r] = s / l[r * n + r];
        sum += z[r] * z[r];
    }
    return sum;
}

void exact_warn_ident(Exact *x) {
    enum { MANY = 400 }; /* the work grows with the cube */
    if (!x->cov || x->status != FIT_CONVERGED || x->n > MANY || x->f->block->is_minimize)
        return;
    Arena *a = x->s->arena;
    int64_t *at = ARENA_ARRAY(a, int64_t, x->n + 1), n = counted(x, at), worst = -1;
    double *r = ARENA_ARRAY(a, double, n * n + 1), *z = ARENA_ARRAY(a, double, n + 1);
    double most = MOST_INFLATION;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            r[i * n + j] = x->best_cov[at[i] * x->n + at[j]] /
                           sqrt(x->best_cov[at[i] * x->n + at[i]]) /
                           sqrt(x->best_cov[at[j] * x->n + at[j]]);
    worst = factor(r, n);
    for (int64_t i = 0; worst < 0 && i < n; i++) {
        double inflation = inverse_at(r, n, i, z);
        if (inflation > most) {
            most = inflation;
            worst = i;
        }
    }
    if (worst < 0)
        return;
    const FitElement *e = &x->elements[at[worst]];
    Diag *d = diag_warning(x->s->ctx, "W0507", "ident", x->f->block->params.p[e->tensor].span,
                           "`%s` is hardly identified: the Hessian is nearly singular", e->name);
    diag_help(x->s->ctx, d,
              "centre and scale the columns, leave one out, or give the coefficients a prior");
}
