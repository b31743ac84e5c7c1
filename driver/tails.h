/* Tails of the normal distribution and of Student's t, for p-values and intervals. */
#ifndef CNNC_DRIVER_TAILS_H
#define CNNC_DRIVER_TAILS_H

/* P(|T| > |t|) on df > 0 degrees of freedom; df infinite (or not a number): the normal tail. */
double tail_two_sided(double t, double df);
/* The t > 0 with that tail p, 0 < p < 1. */
double quantile_two_sided(double p, double df);

#endif
