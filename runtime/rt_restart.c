/* Fits of many rows in two stages: a rough one of a part of the rows, then one of all of them from
 * there. A stage that fails counts for nothing: what is said of a fit, separation or a singular
 * Hessian, is always what all rows say from the caller's start. */
#include "runtime/rt.h"
#include "runtime/rt_fit.h"

/* Forgets a run, but for its limit. */
static void fresh(int64_t *ctl, int64_t mode) {
    for (int64_t k = 0; k < CTL_LIMIT; k++)
        ctl[k] = 0;
    ctl[CTL_MODE] = mode;
}

/* Called after the optimiser. At the end of the rough stage: prepares the next one. At the end of a
 * resumed one that has no answer: once more, from the start. */
void rt_restart(double *u, const double *start, int64_t *ctl, int64_t p) {
    int64_t mode = ctl[CTL_MODE];
    bool failed = ctl[CTL_RESULT] != FIT_OK && ctl[CTL_RESULT] != FIT_STOPPED;
    if (ctl[CTL_ACTION] != FIT_DONE || !(mode & FIT_ROUGH || (mode & FIT_RESUMED && failed)))
        return;
    for (int64_t i = 0; i < p && failed; i++)
        u[i] = start[i];
    fresh(ctl, failed ? FIT_THRIFTY : FIT_THRIFTY | FIT_RESUMED);
    ctl[CTL_ACTION] = mode & FIT_RESUMED ? FIT_EVALUATE : FIT_DONE;
}
