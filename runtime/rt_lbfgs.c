/* Limited-memory BFGS for a maximum (Nocedal and Wright, Numerical Optimization, 2nd ed., 7.2),
 * with a line search for the strong Wolfe conditions by cubic interpolation (3.5, algorithms 3.5
 * and 3.6), and near the mode, where values are noise, for the approximate ones by slopes alone
 * (Hager and Zhang, SIAM J. Optim. 16, 2005).
 *
 * g'Hg, with H the estimated inverse of -h, plays the part of Newton's decrement. Before a point is
 * called a mode, one evaluation further along the way of the last steps tells whether the slope
 * turns there: it does not where the mode is at infinity. */
#include <math.h>
#include <stddef.h>

#include "runtime/rt.h"
#include "runtime/rt_fit.h"

#define EXACT 1e-20 /* g'Hg: nothing left to gain */
#define NEAR 1e-10  /* g'Hg of a mode where no step gets any further */
#define NOISE 1e-12 /* of f, relative: slopes decide */
#define FAR 60      /* a scale that went down by e^-60 and still gains: the density is unbounded */
#define AHEAD 10    /* how far to look ahead along the last steps */

enum { MEMORY = 20, EVALUATIONS = 20000, LINE = 40, WAY = 2, TAKE = 2 };
enum {
    B_STEP = STATE_PRIVATE, /* the trial's length along d; then the ends of the bracket: length,
                               value, slope */
    B_LOW,
    B_LOW_F,
    B_LOW_G,
    B_HIGH,
    B_HIGH_F,
    B_HIGH_G,
    B_SLOPE, /* at the best point */
    B_GAIN,
    B_RHO,
    B_ALPHA = B_RHO + MEMORY
};
enum { C_PAIRS = CTL_PRIVATE, C_NEWEST, C_TRIALS, C_BRACKET, C_PROBED };
enum { FRESH, TRIAL, PROBE, PUSH, LAST };

/* After the marks, p each; then the pairs. */
typedef struct Lbfgs {
    double *u, *s, *marks;
    const int64_t *ends;
    int64_t *ctl, p;
    double *start, *best, *grad, *d, *ds, *dg;
} Lbfgs;

static Lbfgs lbfgs_open(double *u, const int64_t *ends, double *state, int64_t *ctl, int64_t p) {
    double *at = state + STATE_MARKS + p;
    return (Lbfgs){u,  state,  state + STATE_MARKS, ends,       ctl,        p,
                   at, at + p, at + 2 * p,          at + 3 * p, at + 4 * p, at + (4 + MEMORY) * p};
}

static void finish(Lbfgs *b, int64_t result, int64_t where, bool is_there) {
    for (int64_t i = 0; i < b->p; i++)
        b->u[i] = b->best[i];
    rt_fit_done(b->ctl, result, where);
    b->ctl[CTL_PHASE] = LAST;
    if (!is_there)
        b->ctl[CTL_ACTION] = FIT_EVALUATE;
}

static void keep(Lbfgs *b, double f, const double *g) {
    b->s[STATE_VALUE] = f;
    b->s[STATE_GRADIENT] = 0;
    for (int64_t i = 0; i < b->p; i++) {
        b->best[i] = b->u[i];
        b->grad[i] = b->marks[i] != 0 ? 0 : g[i];
        b->s[STATE_GRADIENT] = fmax(b->s[STATE_GRADIENT], fabs(b->grad[i]));
    }
}

static void evaluate_at(Lbfgs *b, double step, int64_t phase) {
    b->s[B_STEP] = step;
    for (int64_t i = 0; i < b->p; i++)
        b->u[i] = b->best[i] + step * b->d[i];
    b->ctl[CTL_PHASE] = phase;
    b->ctl[CTL_ACTION] = FIT_EVALUATE;
}

/* The k-th newest pair. */
static int64_t pair(const Lbfgs *b, int64_t k) { return (b->ctl[C_NEWEST] + MEMORY - k) % MEMORY; }

/* d = H g by the two loops. */
static void direction(Lbfgs *b) {
    int64_t p = b->p, pairs = b->ctl[C_PAIRS];
    double *d = b->d;
    for (int64_t i = 0; i < p; i++)
        d[i] = b->grad[i];
    for (int64_t k = 0; k < pairs; k++) {
        int64_t at = pair(b, k);
        double alpha = b->s[B_ALPHA + at] = b->s[B_RHO + at] * rt_fit_dot(b->ds + at * p, d, p);
        for (int64_t i = 0; i < p; i++)
            d[i] -= alpha * b->dg[at * p + i];
    }
    if (pairs > 0) {
        const double *y = b->dg + pair(b, 0) * p;
        double scale = 1 / (b->s[B_RHO + pair(b, 0)] * rt_fit_dot(y, y, p));
        for (int64_t i = 0; i < p; i++)
            d[i] *= scale;
    }
    for (int64_t k = pairs - 1; k >= 0; k--) {
        int64_t at = pair(b, k);
        double beta = b->s[B_ALPHA + at] - b->s[B_RHO + at] * rt_fit_dot(b->dg + at * p, d, p);
        for (int64_t i = 0; i < p; i++)
            d[i] += beta * b->ds[at * p + i];
    }
}

/* The accepted step and the change of the slope become a pair. */
static void remember(Lbfgs *b, const double *g) {
    int64_t p = b->p, at = (b->ctl[C_NEWEST] + 1) % MEMORY;
    double *s = b->ds + at * p, *y = b->dg + at * p;
    for (int64_t i = 0; i < p; i++) {
        s[i] = b->u[i] - b->best[i];
        y[i] = b->marks[i] != 0 ? 0 : b->grad[i] - g[i];
    }
    double sy = rt_fit_dot(s, y, p);
    if (!(sy > 0x1p-52 * rt_fit_norm(s, p, 1) * rt_fit_norm(y, p, 1)))
        return;
    b->s[B_RHO + at] = 1 / sy;
    b->ctl[C_NEWEST] = at;
    b->ctl[C_PAIRS] += b->ctl[C_PAIRS] < MEMORY;
}

static void arrive(Lbfgs *b, bool is_there);

/* A line from the best point along d, unless it is the mode. */
static void line(Lbfgs *b, bool is_there) {
    int64_t p = b->p;
    direction(b);
    double slope = rt_fit_dot(b->d, b->grad, p), first = 1;
    if (b->ctl[C_PAIRS] > 0) {
        b->s[STATE_DECREMENT] = fmax(slope, 0);
        int64_t wanted = slope <= EXACT ? 2 : slope <= NEAR; /* looks ahead: near, and at the end */
        if (b->ctl[C_PROBED] < wanted) {
            b->ctl[C_PROBED] = wanted;
            arrive(b, is_there);
            return;
        }
        if (slope <= EXACT) {
            finish(b, FIT_OK, -1, is_there);
            return;
        }
    }
    if (!(slope > 0) || !rt_fit_finite(b->d, p)) { /* forget, and climb */
        b->ctl[C_PAIRS] = 0;
        direction(b);
        slope = rt_fit_dot(b->d, b->grad, p);
    }
    if (b->ctl[C_PAIRS] == 0)
        first = fmin(1, 1 / rt_fit_norm(b->grad, p, 1));
    b->s[B_SLOPE] = slope;
    b->s[B_LOW] = 0;
    b->s[B_LOW_F] = b->s[STATE_VALUE];
    b->s[B_LOW_G] = slope;
    b->ctl[C_BRACKET] = b->ctl[C_TRIALS] = 0;
    if (!(slope > 0))
        finish(b, slope == 0 ? FIT_OK : FIT_NOT_CONVERGED, -1, is_there);
    else
        evaluate_at(b, first, TRIAL);
}

/* The largest share of x'g, those at finite ends aside where `open`; -1: none has a tenth of all.
 */
static int64_t largest(const Lbfgs *b, const double *x, const double *g, bool open) {
    int64_t at = -1;
    double most = 0, all = 0;
    for (int64_t i = 0; i < b->p; i++) {
        double share = fabs(x[i] * g[i]);
        bool finite_end = (b->ends[i] & (x[i] < 0 ? 1 : 2)) != 0;
        all = fmax(all, share);
        if (share > most && !(open && finite_end)) {
            most = share;
            at = i;
        }
    }
    return most >= 0.1 * all ? at : -1;
}

/* Little is left to gain: looks further along the way of the last steps, if there is any. */
static void arrive(Lbfgs *b, bool is_there) {
    int64_t p = b->p, pairs = b->ctl[C_PAIRS] < WAY ? b->ctl[C_PAIRS] : WAY;
    for (int64_t i = 0; i < p; i++) {
        b->d[i] = 0;
        for (int64_t k = 0; k < pairs; k++)
            b->d[i] += b->ds[pair(b, k) * p + i];
    }
    if (pairs < 1)
        line(b, is_there);
    else
        evaluate_at(b, AHEAD, PROBE);
}

/* The slope further on, against that where the last steps began: at a mode it has turned. */
static void probed(Lbfgs *b, const double *f, const double *g) {
    int64_t p = b->p, pairs = b->ctl[C_PAIRS] < WAY ? b->ctl[C_PAIRS] : WAY;
    double before = 0, after = rt_fit_dot(g, b->d, p);
    for (int64_t k = 0; k < pairs; k++)
        before += rt_fit_dot(b->dg + pair(b, k) * p, b->d, p);
    bool far = false; /* the last steps are no end of a sequence that converges */
    for (int64_t i = 0; i < p; i++)
        far = far || fabs(b->d[i]) > 1e-3 * fabs(b->best[i] - b->start[i]);
    double rise = *f - b->s[STATE_VALUE], room = 1e-6 + NOISE * fabs(*f);
    if (!isfinite(*f) || !isfinite(after) || after < -0.05 * before || !far || rise < -1 ||
        rise > room) {
        line(b, false);
        return;
    }
    double *was = b->dg; /* the slope before the way: no pair is needed any more */
    for (int64_t i = 0; i < p; i++) {
        double sum = 0;
        for (int64_t k = 0; k < pairs; k++)
            sum += b->dg[pair(b, k) * p + i];
        was[i] = sum;
    }
    int64_t where = largest(b, b->d, was, true);
    if (where >= 0) {
        finish(b, FIT_DIVERGES, where, false);
        return;
    }
    double all = 0;
    for (int64_t i = 0; i < p; i++)
        all = fmax(all, fabs(b->d[i] * was[i]));
    for (int64_t i = 0; i < p; i++) {
        bool goes = fabs(b->d[i] * was[i]) >= 0.1 * all;
        b->marks[i] = goes ? 1 : b->marks[i];
        b->d[i] = goes ? copysign(FIT_END, b->d[i]) - b->best[i] : 0;
    }
    evaluate_at(b, 1, PUSH);
}

/* The end itself, where f is what it was close to it. */
static void pushed(Lbfgs *b, const double *f, const double *g) {
    bool good =
        isfinite(*f) && fabs(*f - b->s[STATE_VALUE]) <= 1e-9 * fmax(1, fabs(b->s[STATE_VALUE]));
    for (int64_t i = 0; i < b->p; i++)
        good = good && (b->marks[i] != 0 || isfinite(g[i]));
    if (good)
        keep(b, *f, g);
    finish(b, FIT_OK, -1, good);
}

static int64_t unbounded(Lbfgs *b) {
    for (int64_t i = 0; i < b->p; i++)
        if (b->ends[i] && fabs(b->best[i] - b->start[i]) > FAR && b->s[B_GAIN] > 1e-3)
            return i;
    return -1;
}

static void next(Lbfgs *b) {
    int64_t where = unbounded(b);
    if (where >= 0) {
        finish(b, rt_fit_without_bound(b->ends[where], b->best[where] - b->start[where]), where,
               true);
        return;
    }
    line(b, true);
}

static void accept(Lbfgs *b, double f, const double *g) {
    remember(b, g);
    b->s[B_GAIN] = f - b->s[STATE_VALUE];
    b->ctl[CTL_ITERATIONS]++;
    keep(b, f, g);
    next(b);
}

/* Where the cubic through both ends of the bracket is highest, kept off the ends. */
static double inside(const Lbfgs *b) {
    double a = b->s[B_LOW], c = b->s[B_HIGH], fa = -b->s[B_LOW_F], fc = -b->s[B_HIGH_F],
           ga = -b->s[B_LOW_G];
    double gc = -b->s[B_HIGH_G], t = (a + c) / 2;
    if (!isfinite(fc) || !isfinite(gc))
        return a + (a > 0 ? 0.5 : 0.1) * (c - a);
    double e = ga + gc - 3 * (fa - fc) / (a - c), root = e * e - ga * gc;
    if (root >= 0) {
        double r = copysign(sqrt(root), c - a),
               at = c - (c - a) * ((gc + r - e) / (gc - ga + 2 * r));
        t = isfinite(at) ? at : t;
    }
    double low = fmin(a, c), high = fmax(a, c), margin = 0.1 * (high - low);
    return fmin(fmax(t, low + margin), high - margin);
}

/* f is infinite, or rose as far as a line goes. */
static void rises_for_ever(Lbfgs *b, bool is_there) {
    int64_t where = largest(b, b->d, b->grad, false);
    finish(b, rt_fit_without_bound(b->ends[where], b->d[where]), where, is_there);
}

/* A trial along the line is judged: taken, or the bracket gets smaller, or longer. */
static void judge(Lbfgs *b, const double *fs, const double *g) {
    int64_t p = b->p;
    double f = *fs, step = b->s[B_STEP], f0 = b->s[STATE_VALUE], slope0 = b->s[B_SLOPE];
    bool finite = isfinite(f) && rt_fit_finite(g, p);
    double slope = finite ? rt_fit_dot(g, b->d, p) : NAN;
    bool noise = finite && fabs(f - f0) <= NOISE * fabs(f0) && step * slope0 <= NOISE * fabs(f0);
    bool rises = noise ? slope >= -0.9998 * slope0 : f >= f0 + 1e-4 * step * slope0;
    if (finite && ((rises && fabs(slope) <= 0.9 * slope0) || b->ctl[C_BRACKET] == TAKE)) {
        accept(b, f, g);
        return;
    }
    if (f > 0 && isinf(f)) {
        for (int64_t i = 0; i < p; i++)
            b->best[i] = b->u[i];
        rises_for_ever(b, true);
        return;
    }
    b->ctl[C_TRIALS]++;
    bool tired =
        b->ctl[C_TRIALS] >= LINE ||
        b->ctl[CTL_EVALUATIONS] >= (b->ctl[CTL_LIMIT] > 0 ? b->ctl[CTL_LIMIT] : EVALUATIONS);
    if (tired) {
        if (finite && rises && f > f0 && b->ctl[CTL_LIMIT] == 0 &&
            !b->ctl[C_BRACKET]) /* it only ever rose */
            rises_for_ever(b, false);
        else if (b->s[B_LOW] > 0 &&
                 b->ctl[C_TRIALS] == LINE) { /* the best of the line, though not flat */
            b->ctl[C_BRACKET] = TAKE;
            evaluate_at(b, b->s[B_LOW], TRIAL);
        } else if (b->ctl[C_PAIRS] > 0 && b->s[STATE_DECREMENT] <= NEAR)
            finish(b, FIT_OK, -1, false);
        else
            finish(b, FIT_NOT_CONVERGED, -1, false);
        return;
    }
    if (!finite || !rises || (!noise && b->ctl[C_BRACKET] && f <= b->s[B_LOW_F]) ||
        (noise && slope < 0)) {
        b->s[B_HIGH] = step;
        b->s[B_HIGH_F] = finite ? f : NAN;
        b->s[B_HIGH_G] = slope;
        b->ctl[C_BRACKET] = 1;
    } else {
        if (b->ctl[C_BRACKET] ? slope * (b->s[B_HIGH] - b->s[B_LOW]) <= 0 : slope <= 0) {
            b->s[B_HIGH] = b->s[B_LOW];
            b->s[B_HIGH_F] = b->s[B_LOW_F];
            b->s[B_HIGH_G] = b->s[B_LOW_G];
            b->ctl[C_BRACKET] = 1;
        }
        b->s[B_LOW] = step;
        b->s[B_LOW_F] = f;
        b->s[B_LOW_G] = slope;
    }
    evaluate_at(b, b->ctl[C_BRACKET] ? inside(b) : 4 * step, TRIAL);
}

static void begin(Lbfgs *b, const double *f, const double *g) {
    int64_t p = b->p;
    for (int64_t i = 0; i < STATE_MARKS + p; i++)
        b->s[i] = 0;
    b->s[STATE_VALUE] = *f;
    if (!isfinite(*f) || !rt_fit_finite(g, p)) {
        rt_fit_done(b->ctl, FIT_NOT_FINITE, -1);
        return;
    }
    b->ctl[C_NEWEST] = MEMORY - 1;
    for (int64_t i = 0; i < p; i++)
        b->start[i] = b->u[i];
    keep(b, *f, g);
    next(b);
}

/* The best point is that of the line, where there is one above its beginning. */
static void stop(Lbfgs *b) {
    bool on_line = b->ctl[CTL_PHASE] == TRIAL && b->s[B_LOW_F] > b->s[STATE_VALUE];
    for (int64_t i = 0; i < b->p && on_line; i++)
        b->best[i] += b->s[B_LOW] * b->d[i];
    finish(b, FIT_STOPPED, -1, false);
}

void rt_lbfgs(double *u, const double *f, const double *g, const int64_t *ends, double *state,
              int64_t *ctl, int64_t p) {
    Lbfgs b = lbfgs_open(u, ends, state, ctl, p);
    ctl[CTL_EVALUATIONS]++;
    switch (ctl[CTL_PHASE]) {
    case FRESH:
        begin(&b, f, g);
        break;
    case TRIAL:
        judge(&b, f, g);
        break;
    case PROBE:
        probed(&b, f, g);
        break;
    case PUSH:
        pushed(&b, f, g);
        break;
    default:
        keep(&b, *f, g);
        ctl[CTL_ACTION] = FIT_DONE;
    }
    if (ctl[CTL_STOP] && ctl[CTL_ACTION] != FIT_DONE && ctl[CTL_PHASE] != LAST)
        stop(&b);
}
