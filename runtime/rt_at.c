/* A fit whose answer is known: one evaluation, no step. */
#include <math.h>

#include "runtime/rt.h"
#include "runtime/rt_fit.h"

/* u far out at an end of its kind stands at that end. */
#define END 500

void rt_at(double *u, const double *f, const double *g, const double *h, const int64_t *ends, double *state, int64_t *ctl, int64_t p) {
    double most = 0;
    (void)h;
    for (int64_t i = 0; i < p; i++) {
        bool at_end = (u[i] < -END && (ends[i] & 1)) || (u[i] > END && (ends[i] & 2));
        state[STATE_MARKS + i] = at_end;
        if (!at_end && !(fabs(g[i]) <= most))
            most = fabs(g[i]);
    }
    state[STATE_VALUE] = *f;
    state[STATE_GRADIENT] = most;
    rt_fit_done(ctl, FIT_OK, -1);
}
