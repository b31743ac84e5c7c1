/* Functions with known modes, and without: f, gradient and Hessian at u. p_of is the number of
 * parameters. */
#ifndef CNNC_TESTS_MODES_HELPER_H
#define CNNC_TESTS_MODES_HELPER_H

#include <math.h>
#include <stdint.h>

#include "runtime/rt.h"
#include "runtime/rt_fit.h"

typedef void Evaluate(const double *u, double *f, double *g, double *h);

static int64_t p_of;

/* -(u - a)' M (u - a) / 2 with M = the Hilbert matrix of order p */
static void hilbert(const double *u, double *f, double *g, double *h) {
    *f = 0;
    for (int64_t i = 0; i < p_of; i++) {
        g[i] = 0;
        for (int64_t j = 0; j < p_of; j++) {
            h[i * p_of + j] = -1 / (double)(i + j + 1);
            g[i] += h[i * p_of + j] * (u[j] - 1);
        }
        *f += g[i] * (u[i] - 1) / 2;
    }
}

static void no_parameters(const double *u, double *f, double *g, double *h) {
    (void)u, (void)g, (void)h;
    *f = -3;
}

/* Rosenbrock's valley, upside down, in units of 1 and 1e6 */
static void rosenbrock(const double *u, double *f, double *g, double *h) {
    double x = u[0], y = u[1] * 1e6, t = y - x * x;
    *f = -(100 * t * t + (1 - x) * (1 - x));
    g[0] = 400 * x * t + 2 * (1 - x);
    g[1] = -200 * t * 1e6;
    h[0] = 400 * (y - 3 * x * x) - 2;
    h[1] = h[2] = 400 * x * 1e6;
    h[3] = -200 * 1e12;
}

/* Powell's singular function: the Hessian at the mode has rank 2 */
static void powell(const double *u, double *f, double *g, double *h) {
    double a = u[0] + 10 * u[1], b = u[2] - u[3], c = u[1] - 2 * u[2], d = u[0] - u[3];
    *f = -(a * a + 5 * b * b + c * c * c * c + 10 * d * d * d * d);
    double da = -2 * a, db = -10 * b, dc = -4 * c * c * c, dd = -40 * d * d * d;
    double ha = -2, hb = -10, hc = -12 * c * c, hd = -120 * d * d;
    double v[4][4] = {{1, 10, 0, 0}, {0, 0, 1, -1}, {0, 1, -2, 0}, {1, 0, 0, -1}},
           k[4] = {da, db, dc, dd};
    double q[4] = {ha, hb, hc, hd};
    for (int i = 0; i < 4; i++) {
        g[i] = 0;
        for (int t = 0; t < 4; t++)
            g[i] += k[t] * v[t][i];
        for (int j = 0; j < 4; j++) {
            h[i * 4 + j] = 0;
            for (int t = 0; t < 4; t++)
                h[i * 4 + j] += q[t] * v[t][i] * v[t][j];
        }
    }
}

/* A double well with a saddle at the start: f = -(x^2 - 1)^2 - (y - x)^2 */
static void saddle(const double *u, double *f, double *g, double *h) {
    double x = u[0], t = u[1] - x;
    *f = -(x * x - 1) * (x * x - 1) - t * t;
    g[0] = -4 * x * (x * x - 1) + 2 * t;
    g[1] = -2 * t;
    h[0] = -12 * x * x + 4 - 2;
    h[1] = h[2] = 2;
    h[3] = -2;
}

/* Logistic regression: rows of p columns, in `design`; responses in `outcome` */
static const double *design;
static const int *outcome;
static int n_rows;

static void logistic(const double *u, double *f, double *g, double *h) {
    int64_t p = p_of;
    *f = 0;
    for (int64_t i = 0; i < p; i++)
        g[i] = 0;
    for (int64_t i = 0; i < p * p; i++)
        h[i] = 0;
    for (int k = 0; k < n_rows; k++) {
        const double *x = design + k * p;
        double eta = rt_fit_dot(x, u, p), m = outcome[k] ? eta : -eta, e = exp(-fabs(m));
        double miss = m > 0 ? e / (1 + e) : 1 / (1 + e);
        *f -= log1p(e) + fmax(-m, 0);
        for (int64_t i = 0; i < p; i++) {
            g[i] += (outcome[k] ? miss : -miss) * x[i];
            for (int64_t j = 0; j < p; j++)
                h[i * p + j] -= miss * (1 - miss) * x[i] * x[j];
        }
    }
}

/* R's mtcars: am ~ wt; estimates by mpmath with 40 digits */
static const double wt[] = {2.62,  2.875, 2.32,  3.215, 3.44,  3.46, 3.57,  3.19,
                            3.15,  3.44,  3.44,  4.07,  3.73,  3.78, 5.25,  5.424,
                            5.345, 2.2,   1.615, 1.835, 2.465, 3.52, 3.435, 3.84,
                            3.845, 1.935, 2.14,  1.513, 3.17,  2.77, 3.57,  2.78};
static const int am[] = {1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                         0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1};

/* k successes of 5, phi = sigmoid(u); and an independent normal mean */
static double successes;
static void coin(const double *u, double *f, double *g, double *h) {
    double phi = 1 / (1 + exp(-u[0]));
    *f = -successes * log1p(exp(-u[0])) - (5 - successes) * log1p(exp(u[0])) -
         (u[1] - 3) * (u[1] - 3) / 2 - (u[1] - 3) * (u[1] - 3) * (u[1] - 3) * (u[1] - 3);
    double t = u[1] - 3;
    g[0] = successes - 5 * phi;
    g[1] = -t - 4 * t * t * t;
    h[0] = -5 * phi * (1 - phi);
    h[1] = h[2] = 0;
    h[3] = -1 - 12 * t * t;
}

/* Poisson counts with mean exp(u): a first step from 0 goes to exp(e^99) */
static void poisson(const double *u, double *f, double *g, double *h) {
    *f = 500 * u[0] - 5 * exp(u[0]);
    g[0] = 500 - 5 * exp(u[0]);
    h[0] = -5 * exp(u[0]);
}

/* An exact fit with a free scale: -10 log sigma, sigma = exp(u) */
static void collapse(const double *u, double *f, double *g, double *h) {
    double t = u[1] - 2;
    *f = -10 * u[0] - t * t;
    g[0] = -10;
    g[1] = -2 * t;
    h[0] = h[1] = h[2] = 0;
    h[3] = -2;
}

static void linear(const double *u, double *f, double *g, double *h) {
    *f = 3 * u[1] - u[0] * u[0];
    g[0] = -2 * u[0];
    g[1] = 3;
    h[0] = -2;
    h[1] = h[2] = h[3] = 0;
}

static void not_finite(const double *u, double *f, double *g, double *h) {
    *f = log(u[0]);
    g[0] = 1 / u[0];
    h[0] = -1 / (u[0] * u[0]);
}

/* Gamma(3, 1) in its own units: nothing below 0, where every trial is NaN */
static void walled(const double *u, double *f, double *g, double *h) {
    *f = 2 * log(u[0]) - u[0];
    g[0] = 2 / u[0] - 1;
    h[0] = -2 / (u[0] * u[0]);
}

/* A valley so narrow that f tells little of where its floor leads */
static void narrow(const double *u, double *f, double *g, double *h) {
    double x = u[0], t = u[1] - x * x;
    *f = -(1e8 * t * t + (1 - x) * (1 - x));
    g[0] = 4e8 * x * t + 2 * (1 - x);
    g[1] = -2e8 * t;
    h[0] = 4e8 * (u[1] - 3 * x * x) - 2;
    h[1] = h[2] = 4e8 * x;
    h[3] = -2e8;
}

/* y = 3 + e^u0 at -1, least squares; and a slow valley in u1: e^u0 goes to 0 while u1 is on its way
 */
static void hurried(const double *u, double *f, double *g, double *h) {
    double e = exp(u[0]), t = -4 - e, x = u[1], q = x * x * x * x;
    *f = -50 * t * t - q * q / 1e9 - 1e-3 * (x - 3) * (x - 3);
    g[0] = 100 * t * e;
    g[1] = -8 * q * x * x * x / 1e9 - 2e-3 * (x - 3);
    h[0] = 100 * t * e - 100 * e * e;
    h[1] = h[2] = 0;
    h[3] = -56 * q * x * x / 1e9 - 2e-3;
}

/* The first Newton step goes to the lowest point between two kinks, where f curves upward: -|u^2 -
 * 0.3| */
static void between(const double *u, double *f, double *g, double *h) {
    double t = u[0] * u[0] - 0.3;
    *f = -fabs(t);
    g[0] = t > 0 ? -2 * u[0] : 2 * u[0];
    h[0] = t > 0 ? -2 : 2;
}

/* A saddle of the fourth order: f = -(x - y)^2 + (x + y)^4 - (x + y)^6 / 4 */
static void quartic(const double *u, double *f, double *g, double *h) {
    double a = u[0] - u[1], b = u[0] + u[1], c = b * b;
    double d = b * (4 * c - 1.5 * c * c), e = 12 * c - 7.5 * c * c;
    *f = -a * a + c * c - c * c * c / 4;
    g[0] = -2 * a + d;
    g[1] = 2 * a + d;
    h[0] = h[3] = -2 + e;
    h[1] = h[2] = 2 + e;
}

/* The flattest of modes: -u0^20 - u1^2 */
static void flat(const double *u, double *f, double *g, double *h) {
    double t = pow(u[0], 18);
    *f = -t * u[0] * u[0] - u[1] * u[1];
    g[0] = -20 * t * u[0];
    g[1] = -2 * u[1];
    h[0] = -380 * t;
    h[1] = h[2] = 0;
    h[3] = -2;
}

/* A mode with a kink: -|u0 - 0.3| - |u1 - 0.7| - u1^2 */
static void kink(const double *u, double *f, double *g, double *h) {
    *f = -fabs(u[0] - 0.3) - fabs(u[1] - 0.7) - u[1] * u[1];
    g[0] = u[0] > 0.3 ? -1 : 1;
    g[1] = (u[1] > 0.7 ? -1 : 1) - 2 * u[1];
    h[0] = h[1] = h[2] = 0;
    h[3] = -2;
}

/* Every function once: the optimisers' tests use what they need of them. */
static Evaluate *const fit_functions[] = {
    hilbert, no_parameters, rosenbrock, powell, saddle, logistic, coin,    poisson, collapse,
    linear,  not_finite,    walled,     narrow, flat,   kink,     quartic, hurried, between};

#endif
