/* Nonlinear least squares: Levenberg and Marquardt on the triangle of [J residual] (More, The
 * Levenberg-Marquardt algorithm, LNM 630, 1978; Nielsen, Damping parameter in Marquardt's method,
 * IMM-REP-1999-05; Nocedal and Wright, 10.3). A step solves [R; sqrt(mu) D] s = [Q'r; 0] by QR, D
 * being the lengths of the columns of J, so that units do not matter.
 *
 * Convergence is judged by the share of the residual that lies in the span of J (Bates and Watts'
 * relative offset), which is a distance in standard errors. Once it is small, sums of squares
 * cannot tell steps apart any more: Gauss-Newton steps are then taken as long as the offset
 * shrinks, to the last digits. Where the residual is noise of f64, that ends when the step is.
 *
 * A run that loses a parameter (its column vanishes: a local minimum at infinity), finds no
 * minimum, or one that is hardly below the start, is followed by others from the same start, damped
 * in other ways; the lowest minimum counts, and only when all attempts fail, that is what is said.
 */
#include <math.h>
#include <stddef.h>

#include "runtime/rt.h"
#include "runtime/rt_fit.h"

#define POLISH 1e-5  /* offset below which full steps are taken by the offset alone */
#define SHRINKS 0.97 /* and go on while it shrinks by this */
#define OFFSET 1e-4  /* the most a minimum may have, in standard errors */
#define SMALL 1e-7   /* or the Gauss-Newton step, relative to its parameter */
#define SAME 1e-8    /* two minima whose sums of squares differ by this share are one */
#define LOST 1e-8    /* a column this small against the longest it had */

enum { EVALUATIONS = 1000 }; /* an attempt */
enum { M_MU = STATE_PRIVATE, M_NU, M_PRED, M_LENGTH, M_OFFSET, M_KEPT, M_START };
enum { C_ATTEMPT = CTL_PRIVATE, C_POLISH, C_USED, C_KEPT, C_KEPT_WHERE, C_HAS_KEPT, C_PUSHED };
enum { FRESH, TRIAL, PUSH, AGAIN, LAST };

/* How an attempt begins: damping, and what D is: the columns' lengths now, or the longest seen, or
 * as if each parameter by its own size moved all of the residual (steps are then small relative to
 * the parameters). */
enum { D_NOW, D_LONGEST, D_RELATIVE };
static const struct {
    double mu;
    int d;
} attempts[] = {{1e-4, D_NOW}, {1, D_RELATIVE}, {1e3, D_NOW}, {1, D_LONGEST}};
enum { ATTEMPTS = sizeof attempts / sizeof *attempts };

/* After the marks, p each; then the best point's triangle and two to work in. */
typedef struct Lm {
    double *u, *r, *s, *marks;
    const int64_t *ends;
    int64_t *ctl, p, q, n;
    double *start, *best, *step, *d, *most, *kept, *kept_marks, *e, *row;
    double *at_best, *t;
} Lm;

static Lm lm_open(double *u, double *r, const int64_t *ends, double *state, int64_t *ctl, int64_t p,
                  int64_t n) {
    Lm l = {.u = u,
            .r = r,
            .s = state,
            .marks = state + STATE_MARKS,
            .ends = ends,
            .ctl = ctl,
            .p = p,
            .q = p + 1,
            .n = n};
    double *at = state + STATE_MARKS + p;
    double **vectors[] = {&l.start, &l.best, &l.step, &l.d, &l.most, &l.kept, &l.kept_marks, &l.e};
    for (size_t k = 0; k < sizeof vectors / sizeof *vectors; k++, at += p)
        *vectors[k] = at;
    l.row = at;
    l.at_best = at + l.q;
    l.t = l.at_best + l.q * l.q;
    return l;
}

/* The share of the residual in the span of J. */
static double offset_of(const double *r, int64_t p) {
    int64_t q = p + 1;
    double all = rt_fit_norm(r + p, q, q);
    return all > 0 ? rt_fit_norm(r + p, p, q) / all : 0;
}

/* D for parameter j, whose column is `length` long. */
static double scale(const Lm *l, int64_t j, double length) {
    int d = attempts[l->ctl[C_ATTEMPT]].d;
    double size = fabs(l->u[j]), most = l->most[j] > 0 ? l->most[j] : 1;
    if (d == D_RELATIVE && size > 0)
        return l->s[M_LENGTH] / size;
    return d == D_NOW ? fmax(length, 1e-10 * most) : most;
}

/* The best point is the one just evaluated. */
static void keep(Lm *l) {
    int64_t p = l->p, q = l->q;
    for (int64_t j = 0; j < p; j++)
        l->best[j] = l->u[j];
    for (int64_t i = 0; i < q * q; i++)
        l->at_best[i] = l->r[i];
    l->s[M_LENGTH] = rt_fit_norm(l->r + p, q, q);
    l->s[STATE_VALUE] = l->s[M_LENGTH] * l->s[M_LENGTH];
    l->s[M_OFFSET] = offset_of(l->r, p);
    l->s[STATE_GRADIENT] = 0;
    for (int64_t j = 0; j < p; j++) {
        double g = 0;
        for (int64_t i = 0; i <= j; i++)
            g += l->r[i * q + j] * l->r[i * q + p];
        l->s[STATE_GRADIENT] = fmax(l->s[STATE_GRADIENT], fabs(g));
        double length = rt_fit_norm(l->r + j, j + 1, q);
        l->most[j] = fmax(l->most[j], length);
        l->d[j] = scale(l, j, length);
    }
}

/* The step for damping mu, from the best point; what it promises of the sum of squares. */
static double find_step(Lm *l, double mu) {
    int64_t p = l->p, q = l->q;
    double root = sqrt(mu), damped = 0;
    for (int64_t i = 0; i < q * q; i++)
        l->t[i] = l->at_best[i];
    for (int64_t j = 0; j < p; j++)
        if (l->marks[j] != 0) {
            rt_fit_drop(l->t, q, j);
            l->t[j * q + j] = 1;
        }
    for (int64_t j = 0; j < p && mu > 0; j++) {
        for (int64_t k = 0; k < q; k++)
            l->row[k] = 0;
        l->row[j] = root * l->d[j];
        rt_qr_rows(l->t, l->row, 1, q);
    }
    for (int64_t j = 0; j < p; j++)
        l->step[j] = l->t[j * q + p];
    rt_fit_back(l->t, l->step, p, q);
    for (int64_t i = 0; i < p; i++) {
        l->e[i] = 0;
        for (int64_t j = i; j < p; j++)
            l->e[i] += l->at_best[i * q + j] * l->step[j];
        double t = root * l->d[i] * l->step[i];
        damped += t * t;
    }
    double length = rt_fit_norm(l->e, p, 1);
    return length * length + 2 * damped;
}

/* Whether the step from the best point is below `share` of every parameter. */
static bool is_below(const Lm *l, double share) {
    for (int64_t j = 0; j < l->p; j++)
        if (!(fabs(l->step[j]) <= share * fabs(l->best[j])))
            return false;
    return true;
}

/* A parameter whose column has vanished: it went where it has no effect. At a finite end that is an
 * answer and the parameter is marked; returns the first at another end or -1. */
static int64_t lost(const Lm *l) {
    int64_t first = -1;
    double noise = 1e-4 * l->s[M_LENGTH];
    for (int64_t j = 0; j < l->p; j++) /* what a parameter as a whole moves */
        noise = fmax(noise, LOST * rt_fit_norm(l->at_best + j, j + 1, l->q) * fabs(l->best[j]));
    for (int64_t j = 0; j < l->p; j++) {
        double length = rt_fit_norm(l->at_best + j, j + 1, l->q),
               size = fmax(fabs(l->best[j]), fabs(l->start[j]));
        bool is_lost = l->most[j] > 0 && length <= LOST * l->most[j] && length * size <= noise;
        bool finite_end = (l->ends[j] & (l->best[j] < l->start[j] ? 1 : 2)) != 0;
        l->marks[j] = is_lost && finite_end;
        first = first < 0 && is_lost && !finite_end ? j : first;
    }
    return first;
}

/* The first column that depends on those before it; -1: none. */
static int64_t dependent(const Lm *l) {
    for (int64_t j = 0; j < l->p; j++)
        if (l->marks[j] == 0 && !(fabs(l->at_best[j * l->q + j]) >
                                  FIT_DEPENDS * rt_fit_norm(l->at_best + j, j + 1, l->q)))
            return j;
    return -1;
}

/* Keeps what the attempt came to, if it is better than those before. Returns whether it is the same
 * minimum once more. */
static bool compare(Lm *l, int64_t result, int64_t where) {
    int64_t *ctl = l->ctl;
    double now = l->s[STATE_VALUE], before = l->s[M_KEPT];
    bool first = !ctl[C_HAS_KEPT], both = (result == FIT_OK) == (ctl[C_KEPT] == FIT_OK);
    if (first || (both ? now < before : result == FIT_OK)) {
        ctl[C_HAS_KEPT] = 1;
        l->s[M_KEPT] = now;
        ctl[C_KEPT] = result;
        ctl[C_KEPT_WHERE] = where;
        for (int64_t j = 0; j < l->p; j++) {
            l->kept[j] = l->best[j];
            l->kept_marks[j] = l->marks[j];
        }
    }
    return !first && both && result == FIT_OK && fabs(now - before) <= SAME * before;
}

/* Ends at the best of the attempts. */
static void finish(Lm *l, bool is_there) {
    for (int64_t j = 0; j < l->p; j++) {
        is_there = is_there && l->u[j] == l->kept[j];
        l->u[j] = l->kept[j];
        l->marks[j] = l->kept_marks[j];
    }
    rt_fit_done(l->ctl, l->ctl[C_KEPT], l->ctl[C_KEPT_WHERE]);
    l->ctl[CTL_PHASE] = LAST;
    if (!is_there)
        l->ctl[CTL_ACTION] = FIT_EVALUATE;
}

/* An attempt is over. A minimum well below the start is the answer; else the next attempt, if there
 * is one, or the best of them. */
static void attempt_ends(Lm *l, int64_t result, int64_t where, bool is_there) {
    int64_t *ctl = l->ctl, p = l->p;
    bool good = result == FIT_OK && l->s[STATE_VALUE] <= 0.5 * l->s[M_START],
         same = compare(l, result, where);
    if (!good && !same && p > 0 && ctl[C_ATTEMPT] + 1 < ATTEMPTS && ctl[CTL_LIMIT] == 0) {
        ctl[C_ATTEMPT]++;
        for (int64_t j = 0; j < p; j++)
            l->u[j] = l->start[j];
        ctl[CTL_PHASE] = AGAIN;
        ctl[CTL_ACTION] = FIT_EVALUATE;
        return;
    }
    finish(l, is_there);
}

/* Puts the marked parameters to their very ends, once an attempt, so that the others can be
 * polished without them. Returns whether there are any. */
static bool push(Lm *l) {
    bool any = false;
    for (int64_t j = 0; j < l->p; j++) {
        any = any || l->marks[j] != 0;
        l->u[j] = l->marks[j] != 0 ? copysign(FIT_END, l->best[j] - l->start[j]) : l->best[j];
    }
    if (!any || l->ctl[C_PUSHED])
        return false;
    l->ctl[C_PUSHED] = 1;
    l->ctl[CTL_PHASE] = PUSH;
    l->ctl[CTL_ACTION] = FIT_EVALUATE;
    return true;
}

/* No further decrease is possible: is the best point a minimum? */
static void conclude(Lm *l, bool is_there) {
    int64_t p = l->p, result = FIT_OK, where = lost(l);
    if (where < 0 && push(l))
        return;
    if (where >= 0) {
        result = FIT_DIVERGES;
    } else if ((where = dependent(l)) >= 0) {
        result = FIT_NOT_IDENTIFIED;
    } else {
        find_step(l, 0);
        double offset = l->s[M_OFFSET] * sqrt(fmax(1, (double)(l->n - p)));
        result = offset <= OFFSET || is_below(l, SMALL) ? FIT_OK : FIT_NOT_CONVERGED;
    }
    attempt_ends(l, result, where, is_there);
}

static void try_step(Lm *l) {
    for (int64_t j = 0; j < l->p; j++)
        l->u[j] = l->best[j] + l->step[j];
    l->ctl[CTL_PHASE] = TRIAL;
    l->ctl[CTL_ACTION] = FIT_EVALUATE;
    if (++l->ctl[C_USED] > (l->ctl[CTL_LIMIT] > 0 ? l->ctl[CTL_LIMIT] : EVALUATIONS))
        attempt_ends(l, FIT_NOT_CONVERGED, -1, false);
}

static void reject(Lm *l);

/* The next step from the best point; `is_there`: the last evaluation was there. */
static void next(Lm *l, bool is_there) {
    bool polish = l->s[M_OFFSET] <= POLISH && l->ctl[C_POLISH] >= 0;
    if (l->s[M_LENGTH] == 0) {
        conclude(l, is_there);
        return;
    }
    l->s[M_PRED] = find_step(l, polish ? 0 : l->s[M_MU]);
    if (polish && !rt_fit_finite(l->step, l->p)) {
        conclude(l, is_there);
        return;
    }
    l->ctl[C_POLISH] = polish ? 1 : l->ctl[C_POLISH];
    if (!polish && !rt_fit_finite(l->step, l->p) && l->s[M_MU] < 0x1p500) {
        reject(l);
        return;
    }
    if (is_below(l, 0x1p-53) || !(l->s[M_PRED] > 0) || l->s[M_MU] > 0x1p500)
        conclude(l, is_there);
    else
        try_step(l);
}

static void reject(Lm *l) {
    l->s[M_MU] = fmax(l->s[M_MU], 1e-16) * l->s[M_NU];
    l->s[M_NU] *= 2;
    next(l, false);
}

static void judge(Lm *l) {
    int64_t p = l->p, q = l->q;
    double length = rt_fit_norm(l->r + p, q, q), before = l->s[M_LENGTH];
    bool finite = rt_fit_finite(l->r, q * q) && isfinite(length);
    if (l->ctl[C_POLISH] > 0) { /* by the offset */
        double offset = finite ? offset_of(l->r, p) : 1, was = l->s[M_OFFSET];
        if (offset < was && length <= before * (1 + 1e-6)) {
            keep(l);
            l->ctl[CTL_ITERATIONS]++;
            if (offset > SHRINKS * was)
                conclude(l, true);
            else
                next(l, true);
        } else if (l->ctl[C_POLISH] == 1 && was > 1e-3 * POLISH) { /* too far yet */
            l->ctl[C_POLISH] = -1;
            next(l, false);
        } else {
            conclude(l, false);
        }
        return;
    }
    double ratio = finite ? (before - length) * (before + length) / l->s[M_PRED] : -1;
    if (!(ratio > 1e-4)) {
        reject(l);
        return;
    }
    double t = 2 * ratio - 1;
    l->s[M_MU] = fmax(l->s[M_MU] * fmax(1.0 / 3, 1 - t * t * t), 1e-30);
    l->s[M_NU] = 2;
    keep(l);
    l->ctl[CTL_ITERATIONS]++;
    next(l, true);
}

/* Parameters are at their ends: they stay there if the sum of squares is no larger. */
static void pushed(Lm *l) {
    double length = rt_fit_norm(l->r + l->p, l->q, l->q);
    bool good = rt_fit_finite(l->r, l->q * l->q) && length <= l->s[M_LENGTH] * (1 + 1e-9);
    if (!good) {
        conclude(l, false);
        return;
    }
    l->ctl[C_POLISH] = 0;
    keep(l);
    next(l, true);
}

/* At the start, for the first time or again. */
static void begin(Lm *l) {
    int64_t p = l->p;
    for (int64_t j = 0; j < p; j++)
        l->most[j] = l->marks[j] = 0;
    l->ctl[C_POLISH] = l->ctl[C_USED] = l->ctl[C_PUSHED] = 0;
    l->s[M_MU] = attempts[l->ctl[C_ATTEMPT]].mu;
    l->s[M_NU] = 2;
    keep(l);
    l->s[M_START] = l->s[STATE_VALUE];
    next(l, true);
}

void rt_lm(double *u, double *r, const int64_t *ends, double *state, int64_t *ctl, int64_t p,
           int64_t n) {
    Lm l = lm_open(u, r, ends, state, ctl, p, n);
    ctl[CTL_EVALUATIONS]++;
    if (ctl[CTL_PHASE] == FRESH) {
        for (int64_t i = 0; i < STATE_MARKS + p; i++)
            state[i] = 0;
        if (!rt_fit_finite(r, l.q * l.q) || !rt_fit_squares(rt_fit_norm(r + p, l.q, l.q))) {
            rt_fit_done(ctl, FIT_NOT_FINITE, -1);
            return;
        }
        for (int64_t j = 0; j < p; j++)
            l.start[j] = u[j];
    }
    if (ctl[CTL_PHASE] == FRESH || ctl[CTL_PHASE] == AGAIN)
        begin(&l);
    else if (ctl[CTL_PHASE] == TRIAL)
        judge(&l);
    else if (ctl[CTL_PHASE] == PUSH)
        pushed(&l);
    else {
        keep(&l);
        ctl[CTL_ACTION] = FIT_DONE;
    }
    if (ctl[CTL_STOP] && ctl[CTL_ACTION] != FIT_DONE && ctl[CTL_PHASE] != LAST) {
        compare(&l, FIT_STOPPED, -1);
        if (ctl[C_KEPT] != FIT_OK) {
            ctl[C_KEPT] = FIT_STOPPED;
            ctl[C_KEPT_WHERE] = -1;
        }
        finish(&l, false);
    }
}
