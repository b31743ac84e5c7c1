/* Linear least squares from the triangle of [J y] (rt_qr.c), and its iterative refinement by one
 * more pass of the same rows: residuals and J'residual are summed in twice the precision, the
 * correction comes from the corrected seminormal equations (Bjorck, Linear Algebra Appl. 88/89,
 * 1987). With r from Householder's QR a pass multiplies the error, measured as J x, by about kappa
 * eps, kappa being the condition of J with columns of length 1. */
#include <math.h>
#include <stddef.h>

#include "runtime/rt.h"
#include "runtime/rt_fit.h"

/* kappa^2 eps below which a single pass is enough, whatever the direction; and below which many
 * rows are left with the QR's own digits, if there is a residual */
#define ONE_PASS 1e-4
#define CLEAN 1e-12
#define NOTHING 0x1p-104 /* share of y'y that is the rounding of y itself: an exact fit */

enum { PASSES = 6, MANY = 10000 }; /* rows from which a pass is not for nothing */
/* S_LEFT: kappa^2 eps; S_RSS: a pair */
enum { S_LEFT = STATE_PRIVATE, S_SIZE, S_RSS, S_RSS_LOW, S_LENGTH };
enum { C_PASS = CTL_PRIVATE };
enum { FRESH, REFINING };

/* An unevaluated sum (Dekker, Numer. Math. 18, 1971). */
typedef struct Twice {
    double hi, lo;
} Twice;

static Twice two_sum(double a, double b) {
    double s = a + b, t = s - a;
    return (Twice){s, (a - (s - t)) + (b - t)};
}

static Twice two_product(double a, double b) {
    double x = 0x1p27 * a + a, y = 0x1p27 * b + b, p = a * b;
    double ah = x - (x - a), bh = y - (y - b), al = a - ah, bl = b - bh;
    return (Twice){p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
}

static Twice add(Twice a, Twice b) {
    Twice s = two_sum(a.hi, b.hi);
    s.lo += a.lo + b.lo;
    return two_sum(s.hi, s.lo);
}

/* a + x y */
static Twice add_product(Twice a, Twice x, double y) {
    Twice p = two_product(x.hi, y);
    p.lo += x.lo * y;
    return add(a, p);
}

/* After the marks: the solution and J'residual as pairs, a correction, a vector to work in, the
 * triangle without dependent columns. */
typedef struct Lsq {
    double *x, *g, *step, *e, *t;
    int64_t p, n;
} Lsq;

static Lsq lsq_open(double *state, int64_t p, int64_t n) {
    double *at = state + STATE_MARKS + p;
    return (Lsq){at, at + 2 * p, at + 4 * p, at + 5 * p, at + 6 * p, p, n};
}

void rt_lsq_rows(double *state, const double *block, int64_t m, int64_t p) {
    Lsq s = lsq_open(state, p, 0);
    Twice rss = {state[S_RSS], state[S_RSS_LOW]};
    for (int64_t i = 0; i < m; i++) {
        const double *row = block + i * (p + 1);
        Twice residual = {row[p], 0};
        for (int64_t j = 0; j < p; j++)
            residual = add_product(residual, (Twice){-s.x[2 * j], -s.x[2 * j + 1]}, row[j]);
        for (int64_t j = 0; j < p; j++) {
            Twice g = add_product((Twice){s.g[2 * j], s.g[2 * j + 1]}, residual, row[j]);
            s.g[2 * j] = g.hi;
            s.g[2 * j + 1] = g.lo;
        }
        Twice square = add_product((Twice){0, 0}, residual, residual.hi);
        square.lo += residual.hi * residual.lo;
        rss = add(rss, square);
    }
    state[S_RSS] = rss.hi;
    state[S_RSS_LOW] = rss.lo;
}

void rt_lsq_part(double *part, const double *state, int64_t p) {
    Lsq s = lsq_open(part, p, 0);
    for (int64_t i = 0; i < STATE_MARKS + 3 * p; i++)
        part[i] = state[i];
    for (int64_t i = 0; i < 2 * p; i++)
        s.g[i] = 0;
    part[S_RSS] = part[S_RSS_LOW] = 0;
}

void rt_lsq_join(double *state, const double *part, int64_t p) {
    Lsq s = lsq_open(state, p, 0);
    const double *g = part + STATE_MARKS + 3 * p;
    for (int64_t j = 0; j < p; j++) {
        Twice t = add((Twice){s.g[2 * j], s.g[2 * j + 1]}, (Twice){g[2 * j], g[2 * j + 1]});
        s.g[2 * j] = t.hi;
        s.g[2 * j + 1] = t.lo;
    }
    Twice rss = add((Twice){state[S_RSS], state[S_RSS_LOW]}, (Twice){part[S_RSS], part[S_RSS_LOW]});
    state[S_RSS] = rss.hi;
    state[S_RSS_LOW] = rss.lo;
}

/* The correction; returns the length of J step. */
static double correct(const Lsq *s) {
    int64_t p = s->p, q = p + 1;
    double *x = s->step;
    for (int64_t i = 0; i < p; i++) {
        x[i] = s->g[2 * i];
        for (int64_t k = 0; k < i; k++)
            x[i] -= s->t[k * q + i] * x[k];
        x[i] /= s->t[i * q + i];
    }
    double length = rt_fit_norm(x, p, 1);
    rt_fit_back(s->t, x, p, q);
    return length;
}

/* The condition of t with columns of length 1: an upper bound within a factor p. */
static double condition(const Lsq *s) {
    int64_t p = s->p, q = p + 1;
    double sum = 0;
    for (int64_t j = 0; j < p; j++) {
        double *e = s->e;
        for (int64_t i = 0; i < p; i++)
            e[i] = i == j;
        rt_fit_back(s->t, e, p, q);
        for (int64_t i = 0; i <= j; i++) {
            double t = e[i] * rt_fit_norm(s->t + i, i + 1, q);
            sum += t * t;
        }
    }
    return sqrt(sum);
}

/* A column depends on those before it where its part outside their span is noise. Such a column is
 * left out: its coefficient is 0. Returns the first or -1. */
static int64_t solve(const Lsq *s, const double *r, double *marks) {
    int64_t p = s->p, q = p + 1, first = -1;
    for (int64_t i = 0; i < q * q; i++)
        s->t[i] = r[i];
    for (int64_t j = 0; j < p; j++) {
        marks[j] = !(fabs(s->t[j * q + j]) > FIT_DEPENDS * rt_fit_norm(r + j, j + 1, q));
        if (marks[j] != 0) {
            rt_fit_drop(s->t, q, j);
            s->t[j * q + j] = 1;
            first = first < 0 ? j : first;
        }
    }
    for (int64_t j = 0; j < p; j++)
        s->step[j] = marks[j] != 0 ? 0 : s->t[j * q + p];
    rt_fit_back(s->t, s->step, p, q);
    return first;
}

static void clear(const Lsq *s, double *state) {
    for (int64_t i = 0; i < 2 * s->p; i++)
        s->g[i] = 0;
    state[S_RSS] = state[S_RSS_LOW] = 0;
}

/* u, and r as it is there: nothing left of y in the span of J. */
static void finish(const Lsq *s, double *u, double *r, double *state) {
    int64_t p = s->p, q = p + 1;
    if (state[STATE_VALUE] <= NOTHING * state[S_LENGTH] * state[S_LENGTH])
        state[STATE_VALUE] = 0;
    for (int64_t j = 0; j < p; j++) {
        u[j] += s->x[2 * j];
        r[j * q + p] = 0;
    }
    state[STATE_GRADIENT] = 0;
    for (int64_t j = 0; j < p; j++)
        state[STATE_GRADIENT] = fmax(state[STATE_GRADIENT], fabs(s->g[2 * j]));
    r[q * q - 1] = sqrt(state[STATE_VALUE]);
}

static void begin(const Lsq *s, double *u, double *r, double *state, int64_t *ctl) {
    int64_t p = s->p, q = p + 1;
    for (int64_t i = 0; i < STATE_MARKS + 6 * p; i++)
        state[i] = 0;
    if (!rt_fit_finite(r, q * q) || !rt_fit_squares(rt_fit_norm(r + p, q, q))) {
        rt_fit_done(ctl, FIT_NOT_FINITE, -1);
        return;
    }
    int64_t first = solve(s, r, state + STATE_MARKS);
    for (int64_t j = 0; j < p; j++)
        s->x[2 * j] = s->step[j];
    state[STATE_VALUE] = s->t[q * q - 1] * s->t[q * q - 1];
    double kappa = first < 0 ? condition(s) : 0;
    state[S_LEFT] = kappa * kappa * 0x1p-53;
    state[S_LENGTH] = rt_fit_norm(r + p, q, q);
    ctl[CTL_ITERATIONS] = 1;
    rt_fit_done(ctl, first < 0 ? FIT_OK : FIT_DEPENDENT, first);
    bool clean = s->n >= MANY && state[S_LEFT] < CLEAN &&
                 state[STATE_VALUE] > CLEAN * state[S_LENGTH] * state[S_LENGTH];
    if (first < 0 && p > 0 && !clean && rt_fit_finite(s->step, p)) {
        ctl[CTL_ACTION] = FIT_REFINE;
        ctl[CTL_PHASE] = REFINING;
        clear(s, state);
    } else {
        finish(s, u, r, state);
    }
}

/* After a pass: g and the residual sum of squares belong to x. */
static void refine(const Lsq *s, double *u, double *r, double *state, int64_t *ctl) {
    double size = correct(s), before = state[S_SIZE], rss = state[S_RSS];
    bool small = true, contracts = ctl[C_PASS] == 0 || size <= 0.5 * before;
    if (!isfinite(size) || !isfinite(rss) || !contracts) {
        ctl[CTL_ACTION] = FIT_DONE;
        if (isfinite(rss))
            state[STATE_VALUE] = rss;
        finish(s, u, r, state);
        return;
    }
    for (int64_t j = 0; j < s->p; j++) {
        Twice x = add((Twice){s->x[2 * j], s->x[2 * j + 1]}, (Twice){s->step[j], 0});
        small = small && fabs(s->step[j]) <= 0x1p-56 * fabs(x.hi);
        s->x[2 * j] = x.hi;
        s->x[2 * j + 1] = x.lo;
    }
    state[STATE_VALUE] = fmax(0, rss - size * size);
    state[S_SIZE] = size;
    /* where the correction is most of the residual, the new one is not known yet */
    bool enough = state[S_LEFT] < ONE_PASS && size * size <= 0.5 * rss;
    if (small || enough || ++ctl[C_PASS] >= PASSES) {
        ctl[CTL_ACTION] = FIT_DONE;
        clear(s, state);
        finish(s, u, r, state);
        return;
    }
    clear(s, state);
}

void rt_lsq(double *u, double *r, double *state, int64_t *ctl, int64_t p, int64_t n) {
    Lsq s = lsq_open(state, p, n);
    ctl[CTL_EVALUATIONS]++;
    if (ctl[CTL_PHASE] == FRESH)
        begin(&s, u, r, state, ctl);
    else
        refine(&s, u, r, state, ctl);
}
