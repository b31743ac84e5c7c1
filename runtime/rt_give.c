/* Results that a caller may not want. */
#include <stddef.h>
#include <string.h>

#include "runtime/rt.h"

/* Copies unless the caller gave NULL. */
void rt_give(char *to, const char *from, int64_t bytes) {
    if (to && bytes > 0)
        memcpy(to, from, (size_t)bytes);
}

/* cnnc_fit_info of the generated header. */
typedef struct FitInfo {
    size_t size; /* the caller's: fields beyond it are not there */
    int method, iterations;
    int64_t observations, where;
    double loglik, logprior, grad_norm, s2, df, r2;
} FitInfo;

/* counts: method, iterations, observations, where; figures: the reals in their order. */
void rt_fit_info(int64_t *info, const int64_t *counts, const double *figures) {
    FitInfo now = {.method = (int)counts[0], .iterations = (int)counts[1], .observations = counts[2], .where = counts[3]};
    if (!info)
        return;
    memcpy(&now.size, info, sizeof now.size);
    memcpy(&now.loglik, figures, 6 * sizeof *figures);
    size_t n = now.size < sizeof now ? now.size : sizeof now;
    if (n > sizeof now.size)
        memcpy((char *)info + sizeof now.size, (char *)&now + sizeof now.size, n - sizeof now.size);
}
