/* Student's tail is an incomplete beta function, P(|T| > t) = I_x(df/2, 1/2) with
 * x = df / (df + t^2) (Abramowitz and Stegun 26.7.1, 26.5.8); its continued fraction is summed as
 * Lentz does. For many degrees of freedom, where
 * df / (df + t^2) loses digits, it is the normal tail of Fisher's expansion of t. */
#include "driver/tails.h"

#include <math.h>

static const double PI = 3.14159265358979323846;
static const double NORMAL_FROM = 1e5;

/* log(gamma(a + 1/2) / gamma(a)), without the cancellation of two large log gammas. */
static double log_gamma_half_step(double a) {
    if (a < 30)
        return lgamma(a + 0.5) - lgamma(a);
    double q = 1 / (a * a);
    return 0.5 * log(a) - (1.0 / 8 - q * (1.0 / 192 - q * (1.0 / 640 - q * 17.0 / 14336))) / a;
}

/* The continued fraction of I_x(a, b), without its factor; converges fast for
 * x < (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x) {
    enum { MOST_TERMS = 100000 };
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double f = d;
    for (int m = 1; m < MOST_TERMS; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        for (int k = 0; k < 2; k++) {
            double n = k ? odd : even;
            d = 1 + n * d;
            c = 1 + n / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = fabs(c) < tiny ? tiny : c;
            f *= c * d;
        }
        if (fabs(c * d - 1) < 1e-16)
            break;
    }
    return f;
}

static double normal_tail(double z) { return erfc(fabs(z) * sqrt(0.5)); }

/* The normal deviate with the tail of t (Goldberg and Levine 1946, inverted: in powers of 1/df). */
static double as_normal(double t, double df) {
    double q = t * t, n = 4 * df;
    double first = q + 1, second = ((13 * q + 8) * q + 3) / 6,
           third = (((35 * q + 19) * q + 1) * q - 15) / 6;
    return t * (1 - (first - (second - third / n) / n) / n);
}

double tail_two_sided(double t, double df) {
    if (isinf(t))
        return 0;
    if (!(df < INFINITY))
        return normal_tail(t);
    if (df >= NORMAL_FROM && t * t < 1e-3 * df)
        return normal_tail(as_normal(t, df));
    double a = df / 2, r = t * t / df, x = 1 / (1 + r), y = 1 / (1 + 1 / r);
    if (r == 0)
        return 1;
    /* x^a y^(1/2) / B(a, 1/2) */
    double front = exp(-a * log1p(r) + log_gamma_half_step(a) + 0.5 * log(y / PI));
    if (x < (a + 1) / (a + 2.5))
        return front * beta_fraction(a, 0.5, x) / a;
    return 1 - 2 * front * beta_fraction(0.5, a, y);
}

static double density(double t, double df) {
    if (!(df < INFINITY))
        return exp(-0.5 * t * t) / sqrt(2 * PI);
    double tail = (df + 1) / 2 * log1p(t * t / df);
    return exp(log_gamma_half_step(df / 2) - 0.5 * log(df * PI) - tail);
}

double quantile_two_sided(double p, double df) {
    /* The tail is convex and falls, so Newton's steps from the left never pass the root. */
    double t = 0;
    for (int k = 0; k < 500; k++) {
        double step = (tail_two_sided(t, df) - p) / (2 * density(t, df));
        t += step;
        if (fabs(step) <= 1e-15 * fabs(t))
            break;
    }
    return t;
}
