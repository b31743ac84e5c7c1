/* A fit that has not converged, and a reason that can be seen in values alone: at a kink the second
 * difference of a function falls as the step, elsewhere as its square. */
#include <float.h>
#include <math.h>

#include "driver/fit_exact.h"

enum { HALVINGS = 26, IN_A_ROW = 5 };

/* f(x + t) - 2 f(x) + f(x - t) along element k; `centre` is f(x). NaN where f is not finite. */
static double second_difference(Exact *x, int64_t k, double t, double centre) {
    double sum = -2 * centre;
    for (int side = -1; side <= 1; side += 2) {
        real_set(x->f->block, x->params, k, x->best[k] + side * t);
        sum += exact_log_density(x);
    }
    real_set(x->f->block, x->params, k, x->best[k]);
    return isfinite(sum) ? sum : NAN;
}

/* Steps from where the function seems smooth, many kinks being one curve, down to where rounding
 * begins: somewhere between, halves of a step halve the difference. */
static bool has_kink(Exact *x, int64_t k, double centre) {
    double t = 1e-2 * fmax(1e-2, fabs(x->best[k])), noise = 1e5 * DBL_EPSILON * fabs(centre);
    double last = NAN;
    int in_a_row = 0;
    for (int j = 0; j < HALVINGS && in_a_row < IN_A_ROW; j++, t /= 2) {
        double d = second_difference(x, k, t, centre);
        bool halved = fabs(d) > noise && last / d > 1.95 && last / d < 2.05;
        in_a_row = halved ? in_a_row + 1 : 0;
        last = d;
    }
    return in_a_row >= IN_A_ROW;
}

int64_t exact_kink(Exact *x) {
    enum { MANY = 64 }; /* elements; each costs two evaluations for each step */
    int64_t found = -1;
    if (x->f->block->real != DT_F64)
        return -1;
    for (int64_t k = 0; k < x->n; k++)
        real_set(x->f->block, x->params, k, x->best[k]);
    double centre = exact_log_density(x);
    for (int64_t k = 0; found < 0 && isfinite(centre) && k < x->n && k < MANY; k++) {
        const FitElement *e = &x->elements[k];
        bool alone =
            !e->structural && !e->held && x->f->block->params.p[e->tensor].kind != KIND_SIMPLEX;
        if (alone && has_kink(x, k, centre))
            found = k;
    }
    return found;
}
