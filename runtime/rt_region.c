/* The step of a trust region by eigenvalues (More and Sorensen, SIAM J. Sci. Stat. Comput. 4, 1983;
 * Nocedal and Wright, 4.3): exact, the hard case included. */
#include <math.h>

#include "runtime/rt_fit.h"

/* |z| for the multiplier mu, z in the eigenvectors; flat directions without a slope are left out.
 * `slope` is d|z|/dmu. */
static double length_at(const Region *t, double mu, double *slope) {
    double s = 0, falls = 0;
    for (int64_t i = 0; i < t->p; i++) {
        double den = t->w[i] + mu, z = t->z[i] = t->c[i] == 0 ? 0 : t->c[i] / den;
        s += z * z;
        falls += z * z / den;
    }
    double norm = sqrt(s);
    *slope = norm > 0 ? -falls / norm : 0;
    return norm;
}

/* z for the multiplier with |z| = radius: Newton on 1/|z|, kept between bounds. */
static void multiplier(const Region *t) {
    double slope, low = fmax(0, -t->w[0]),
                  high = low + rt_fit_max(t->c, t->p) * sqrt((double)t->p) / t->radius;
    double mu = low + 1e-3 * (high - low);
    for (int k = 0; k < 100; k++) {
        double norm = length_at(t, mu, &slope);
        if (fabs(norm - t->radius) <= 1e-3 * t->radius || !(high - low > 1e-15 * high))
            break;
        if (norm > t->radius)
            low = mu;
        else
            high = mu;
        double next = mu - norm / slope * (norm - t->radius) / t->radius;
        bool inside = next > low && next < high;
        mu = inside ? next : k % 2 || low == 0 ? (low + high) / 2 : sqrt(low) * sqrt(high);
    }
}

/* The hard case: no slope along the least eigenvalue, which is negative; the rest of the step
 * leaves room for it. */
static bool is_hard(const Region *t, double top) {
    double lead = t->c[0], slope;
    if (!(t->w[0] < -REGION_FLAT * top &&
          fabs(lead) <= 1e-8 * fmax(rt_fit_max(t->c, t->p), 1e-3 * t->radius * top)))
        return false;
    t->c[0] = 0;
    double norm = length_at(t, -t->w[0], &slope);
    t->c[0] = lead;
    if (norm < t->radius)
        t->z[0] = copysign(sqrt(t->radius * t->radius - norm * norm), lead);
    return norm < t->radius;
}

void rt_fit_region(Region *t) {
    int64_t p = t->p;
    double slope, noise = 1e3 * REGION_FLAT * fmax(1, rt_fit_max(t->b, p));
    rt_eigen(t->a, t->w, t->v, p);
    double top = fmax(fabs(t->w[0]), fabs(t->w[p - 1])), least = REGION_FLAT * top;
    t->definite = true;
    t->n_flat = 0;
    t->decrement = 0;
    for (int64_t i = 0; i < p; i++) {
        double c = 0;
        for (int64_t k = 0; k < p; k++)
            c += t->v[k * p + i] * t->b[k];
        bool is_flat = fabs(t->w[i]) <= least && fabs(c) <= noise;
        t->n_flat += is_flat;
        t->definite = t->definite && (is_flat || t->w[i] > least);
        t->c[i] = is_flat ? 0 : c;
        t->decrement += is_flat ? 0 : c * c / fmax(fabs(t->w[i]), least);
    }
    t->at_edge = !t->definite || length_at(t, 0, &slope) > t->radius;
    if (t->at_edge && !is_hard(t, top))
        multiplier(t);
    for (int64_t i = 0; i < p; i++) { /* back from the eigenvectors */
        t->b[i] = 0;
        for (int64_t k = 0; k < p; k++)
            t->b[i] += t->v[i * p + k] * t->z[k];
    }
}
