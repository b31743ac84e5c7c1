/* Fits a line in C. cnnc made ridge.so and ridge.h; neither needs cnnc again, only libc and libm.
 *
 *     cnnc examples/ridge.cnn -o ridge.so
 *     cc -std=c11 -O2 -I. examples/regress.c ./ridge.so -lm -Wl,-rpath,'$ORIGIN' -o regress
 *     ./regress
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ridge.h"

enum { N = 4, D = 2 };

/* Data y at the points x, with a column of ones. */
static const double X[N][D] = {{1, 0}, {1, 1}, {1, 2}, {1, 3}};
static const double y[N] = {1, 3, 4, 8};

static int fit(double prior, double lambda, void *work) {
    ridge_hyper h = RIDGE_HYPER_INIT;
    cnnc_fit_info info = {.size = sizeof info};
    double params[D + 1], cov[(D + 1) * (D + 1)];
    h.prior = prior; /* 1: the posterior's mode, 0: maximum likelihood */
    h.lambda = lambda;
    int status = ridge_init(&h, D, params); /* where the fit starts */
    if (status == 0)
        status = ridge_fit(NULL, &h, N, D, &X[0][0], y, params, cov, &info, work);
    if (status < 0) { /* nothing was written */
        fprintf(stderr, "%s\n", ridge_strerror(status));
        return 1;
    }
    if (status > 0) { /* it ended early: params hold the best point */
        fprintf(stderr, "no estimate: status %d, parameter %lld\n", status, (long long)info.where);
        return 1;
    }
    printf("%s: %lld observations, log likelihood %.6f\n", prior > 0 ? "MAP" : "MLE",
           (long long)info.observations, info.loglik);
    for (int d = 0; d < D; d++)
        printf("  w[%d] %9.6f  %9.6f\n", d, params[RIDGE_W + d], sqrt(cov[d * (D + 1) + d]));
    printf("  s^2  %9.6f on %g degrees of freedom\n", info.s2, info.df);
    return 0;
}

int main(void) {
    void *work = malloc(ridge_fit_work_bytes(N, D));
    int failed = !work || fit(0, 1, work) || fit(1, 3, work);
    free(work);
    return failed;
}
