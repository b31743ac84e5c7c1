/* Newton's method for a maximum, with an exact trust region (More and Sorensen, SIAM J. Sci. Stat.
 * Comput. 4, 1983; Nocedal and Wright, Numerical Optimization, 2nd ed., 4.3). The region is
 * measured in D = sqrt(|diag h|), so that steps do not depend on units, and |D s|^2 is twice a
 * change of f. Negative curvature is followed: a saddle is no answer.
 *
 * Convergence is judged by the decrement g'(-h)^-1 g, the squared distance from the mode in
 * standard errors. Below NEAR the differences of f are noise; full steps are then taken as long as
 * they make the decrement smaller. At a regular mode that takes one or two. A mode at infinity
 * shows in full steps that keep their length and direction while the decrement vanishes, a
 * degenerate one in steps that shrink by a constant factor. */
#include <math.h>
#include <stddef.h>

#include "runtime/rt.h"
#include "runtime/rt_fit.h"

#define NEAR 1e-12   /* decrement: estimates within 1e-6 standard errors, before the last steps */
#define EXACT 1e-22  /* decrement: nothing left to gain */
#define ROUGH 0.1    /* decrement: near enough for a start */
#define SETTLED 1e-6 /* decrement, and its share of that before: then the last step (is_last) */
#define LOW 1        /* decrement below which slow convergence counts */
#define PIVOT 1e-8   /* -h is taken as positive definite without looking at its eigenvalues */
#define AHEAD 64     /* steps to look ahead where the mode seems to be at infinity */
#define FAR 60       /* a scale that went down by e^-60 and still gains: the density is unbounded */

/* Where the end itself is out of reach, this much closer, if f is not noise there: e^-40 and so on.
 */
static const double pushes[] = {FIT_END, 40, 20, 10};
#define GONE 36    /* u of a parameter that is within e^-36 of its end */
#define BACKWARD 1 /* how far back towards 0 a flat direction is followed: all of the way */
#define VISIBLE                                                                                    \
    1e-3          /* standard errors that a parameter is off 0, below which its place is doubted */
#define LOSS 1e-3 /* of f, on the way back to 0: far more than VISIBLE allows a parabola */
#define GOING 0.5 /* the mark of a parameter whose end is tried */
enum { PUSHES = sizeof pushes / sizeof *pushes };

#define UNLIMITED 0x1p900 /* the radius before a step was too long */

enum { SLOW_STEPS = 5, POLISH_STEPS = 4, LOOKS = 8, EVALUATIONS = 2000, ROUGH_EVALUATIONS = 20 };

enum { N_RADIUS = STATE_PRIVATE, N_PRED, N_NORM, N_LENGTH, N_EDGE, N_GAIN, N_BEFORE };
enum { C_SLOW = CTL_PRIVATE, C_FAST, C_POLISH, C_RISING, C_WHERE, C_PUSH, C_LOOK };
enum { FRESH, TRIAL, PROBE, PUSH, LOOK, BACK, FORTH, DOUBT, LAST };

/* The state by name. D, best, gradient, step, last: p each; the best point's -h, and two matrices
 * to work in. */
typedef struct Newton {
    double *u, *s, *marks;
    int64_t *ctl, p;
    const int64_t *ends;
    double *d, *most, *start, *best, *grad, *step, *last, *w, *b, *z; /* p each */
    double *h, *a, *v;                                                /* p x p each */
} Newton;

static Newton newton_open(double *u, const int64_t *ends, double *state, int64_t *ctl, int64_t p) {
    double *at = state + STATE_MARKS + p;
    Newton n = {.u = u, .s = state, .marks = state + STATE_MARKS, .ctl = ctl, .p = p, .ends = ends};
    double **vectors[] = {&n.d,    &n.most, &n.start, &n.best, &n.grad,
                          &n.step, &n.last, &n.w,     &n.b,    &n.z};
    for (size_t k = 0; k < sizeof vectors / sizeof *vectors; k++, at += p)
        *vectors[k] = at;
    n.h = at;
    n.a = at + p * p;
    n.v = at + 2 * p * p;
    return n;
}

/* Whether f and its derivatives are finite; parameters at an end have none. */
static bool is_finite(const Newton *n, const double *f, const double *g, const double *h) {
    bool finite = isfinite(*f);
    for (int64_t i = 0; i < n->p; i++) {
        finite = finite && (n->marks[i] != 0 || isfinite(g[i]));
        for (int64_t j = 0; j < n->p; j++)
            finite = finite && (n->marks[i] != 0 || n->marks[j] != 0 || isfinite(h[i * n->p + j]));
    }
    return finite;
}

/* The best point is the one just evaluated. */
static void keep(Newton *n, double f, const double *g, const double *h) {
    int64_t p = n->p;
    n->s[STATE_VALUE] = f;
    for (int64_t i = 0; i < p; i++) {
        n->best[i] = n->u[i];
        n->grad[i] = n->marks[i] != 0 ? 0 : g[i];
    }
    for (int64_t i = 0; i < p; i++)
        for (int64_t j = 0; j < p; j++)
            n->h[i * p + j] =
                n->marks[i] != 0 || n->marks[j] != 0 ? 0 : -(h[i * p + j] + h[j * p + i]) / 2;
    n->s[STATE_GRADIENT] = rt_fit_max(n->grad, p);
}

/* D: the root of the curvature; where there is none, it falls by steps, or is that of a gradient
 * over its parameter. */
static void scale(Newton *n) {
    for (int64_t i = 0; i < n->p; i++) {
        double curvature = fabs(n->h[i * n->p + i]), before = n->d[i] * n->d[i];
        curvature = fmax(curvature, fmax(0.01 * before, 1e-16 * n->most[i] * n->most[i]));
        if (curvature == 0)
            curvature = fabs(n->grad[i]) / fmax(fabs(n->best[i]), 1);
        n->d[i] = curvature > 0x1p-1000 && isfinite(curvature) ? sqrt(curvature) : 1;
        n->most[i] = fmax(n->most[i], n->d[i]);
    }
}

/* a = D^-1 (-h) D^-1, b = D^-1 g; parameters at an end are left out. */
static void assemble(Newton *n) {
    int64_t p = n->p;
    for (int64_t i = 0; i < p; i++) {
        n->b[i] = n->marks[i] != 0 ? 0 : n->grad[i] / n->d[i];
        for (int64_t j = 0; j < p; j++) {
            double t = n->h[i * p + j] / n->d[i] / n->d[j];
            n->a[i * p + j] = n->marks[i] != 0 || n->marks[j] != 0 ? i == j : t;
        }
    }
}

/* The scaled step within the radius into n->step, with what it promises. Returns whether -h is
 * positive definite, but for *n_flat directions without curvature or slope; w and v are then its
 * eigenvalues and vectors. */
static bool find_step(Newton *n, int64_t *n_flat) {
    int64_t p = n->p;
    double gain = 0, norm = 0;
    Region t = {.a = n->a,
                .b = n->b,
                .w = n->w,
                .v = n->v,
                .c = n->z,
                .z = n->step,
                .radius = n->s[N_RADIUS],
                .p = p};
    assemble(n);
    t.definite = rt_fit_cholesky(n->a, p) > PIVOT;
    if (t.definite) {
        for (int64_t i = 0; i < p; i++)
            n->z[i] = n->b[i];
        rt_fit_cholesky_solve(n->a, n->z, p);
        t.decrement = rt_fit_dot(n->b, n->z, p);
    }
    if (t.definite && rt_fit_norm(n->z, p, 1) <= t.radius) {
        for (int64_t i = 0; i < p; i++)
            n->b[i] = n->z[i];
    } else {
        assemble(n);
        if (t.radius >= UNLIMITED) /* no step was too long so far, but now there is a choice */
            t.radius = n->s[N_RADIUS] = fmax(rt_fit_norm(n->b, p, 1), 1);
        rt_fit_region(&t);
    }
    for (int64_t i = 0; i < p; i++) {
        norm += n->b[i] * n->b[i];
        n->step[i] = n->marks[i] != 0 ? 0 : n->b[i] / n->d[i];
    }
    for (int64_t i = 0; i < p; i++)
        gain += n->step[i] * (n->grad[i] - rt_fit_dot(n->h + i * p, n->step, p) / 2);
    n->s[STATE_DECREMENT] = t.decrement;
    n->s[N_EDGE] = t.at_edge;
    n->s[N_PRED] = gain;
    n->s[N_NORM] = sqrt(norm);
    *n_flat = t.n_flat;
    return t.definite;
}

static void try_step(Newton *n) {
    for (int64_t i = 0; i < n->p; i++)
        n->u[i] = n->best[i] + n->step[i];
    n->ctl[CTL_PHASE] = TRIAL;
    n->ctl[CTL_ACTION] = FIT_EVALUATE;
}

/* Ends at the best point; where the last evaluation was of another one, asks for it once more. */
static void finish(Newton *n, int64_t result, int64_t where, bool is_there) {
    for (int64_t i = 0; i < n->p; i++)
        n->u[i] = n->best[i];
    rt_fit_done(n->ctl, result, where);
    n->ctl[CTL_PHASE] = LAST;
    if (!is_there)
        n->ctl[CTL_ACTION] = FIT_EVALUATE;
}

/* The parameter with the largest share of direction x, measured in the most curvature seen; those
 * at finite ends do not count where `open`. Of equal ones the last: the column that depends on
 * those before it. -1: none has a tenth of the largest share. */
static int64_t largest(const Newton *n, const double *x, bool open) {
    int64_t at = -1;
    double most = 0, all = 0;
    for (int64_t i = 0; i < n->p; i++) {
        double share = fabs(x[i]) * n->most[i];
        bool finite_end = (n->ends[i] & (x[i] < 0 ? 1 : 2)) != 0;
        all = fmax(all, share);
        if (share > 0 && share >= (1 - 1e-6) * most && !(open && finite_end)) {
            most = fmax(share, most);
            at = i;
        }
    }
    return most >= 0.1 * all ? at : -1;
}

/* The last parameter with half of the largest share of direction x: of columns that depend on each
 * other the last is the one to leave out. */
static int64_t last_of(const Newton *n, const double *x) {
    int64_t at = -1;
    double most = 0;
    for (int64_t i = 0; i < n->p; i++)
        most = fmax(most, fabs(x[i]) * n->most[i]);
    for (int64_t i = 0; i < n->p; i++)
        at = most > 0 && fabs(x[i]) * n->most[i] >= 0.5 * most ? i : at;
    return at;
}

/* Counts full steps that do not get shorter as those to a regular mode do. */
static void watch(Newton *n, bool definite) {
    double length = 0, before = 0, along = 0;
    for (int64_t i = 0; i < n->p; i++) {
        double x = n->step[i] * n->most[i], y = n->last[i] * n->most[i];
        length += x * x;
        before += y * y;
        along += x * y;
    }
    length = sqrt(length);
    before = sqrt(before);
    bool low = definite && n->s[N_EDGE] == 0 && n->s[STATE_DECREMENT] < LOW;
    bool slow = low && before > 0 && length >= 0.5 * before && along >= 0.9 * length * before;
    bool vanishes =
        slow && length >= 0.85 * before && n->s[STATE_DECREMENT] <= 0.9 * n->s[N_BEFORE];
    n->s[N_BEFORE] = n->s[STATE_DECREMENT];
    n->ctl[C_SLOW] = slow ? n->ctl[C_SLOW] + 1 : 0;
    n->ctl[C_FAST] = vanishes ? n->ctl[C_FAST] + 1 : n->ctl[C_FAST] < 0 ? n->ctl[C_FAST] : 0;
}

/* Tries the ends of those that are GOING, the way their step points. */
static void push(Newton *n) {
    double by = pushes[n->ctl[C_PUSH]];
    for (int64_t i = 0; i < n->p; i++) {
        double from = n->ctl[C_PUSH] ? n->best[i] : 0;
        n->u[i] = n->marks[i] == GOING ? from + copysign(by, n->step[i]) : n->best[i];
    }
    n->ctl[CTL_PHASE] = PUSH;
    n->ctl[CTL_ACTION] = FIT_EVALUATE;
}

/* The mode may be at infinity: looks ahead, or, where only parameters with ends there take part,
 * goes to these ends. */
static void suspect(Newton *n) {
    int64_t open = largest(n, n->step, true);
    double all = 0;
    for (int64_t i = 0; i < n->p; i++)
        all = fmax(all, fabs(n->step[i]) * n->most[i]);
    for (int64_t i = 0; i < n->p; i++) {
        if (open < 0 && fabs(n->step[i]) * n->most[i] >= 0.1 * all)
            n->marks[i] = GOING;
        n->u[i] = n->best[i] + AHEAD * n->step[i];
    }
    n->ctl[C_WHERE] = open;
    n->ctl[CTL_PHASE] = PROBE;
    n->ctl[CTL_ACTION] = FIT_EVALUATE;
    if (open < 0)
        push(n);
}

/* Parameters whose declared value is at its limit in f64, and f indifferent: GOING. Returns whether
 * there are any. */
static bool are_gone(Newton *n) {
    bool any = false;
    for (int64_t i = 0; i < n->p; i++) {
        bool at_limit = fabs(n->best[i]) > GONE && (n->ends[i] & (n->best[i] < 0 ? 1 : 2)) != 0;
        double rest = fabs(n->grad[i]) + fabs(n->h[i * n->p + i]);
        if (n->marks[i] == 0 && at_limit && rest <= 1e-8) {
            n->marks[i] = GOING;
            n->step[i] = n->best[i];
            any = true;
        }
    }
    return any;
}

/* A log scale that runs away and gains at a constant rate, or f that rises without end where there
 * is no curvature. */
static int64_t unbounded(const Newton *n) {
    for (int64_t i = 0; i < n->p; i++)
        if (n->ends[i] && fabs(n->best[i] - n->start[i]) > FAR && n->s[N_GAIN] > 1e-3 &&
            n->grad[i] * copysign(1, n->best[i] - n->start[i]) > 1e-3)
            return i;
    for (int64_t i = 0; i < n->p; i++)
        if (n->ctl[C_RISING] > 40 && fabs(n->best[i]) > 1e20 * fmax(1, fabs(n->start[i])))
            return largest(n, n->last, false);
    return -1;
}

/* What of the best point lies along the flat directions, times `way`, from there: evaluated next.
 * Where there is nothing, the flat directions are not identified. */
static void along_flats(Newton *n, double way, int64_t phase, bool is_there) {
    int64_t p = n->p;
    double top = fmax(fabs(n->w[0]), fabs(n->w[p - 1]));
    for (int64_t k = 0; k < p; k++)
        n->step[k] = 0;
    for (int64_t i = 0; i < p; i++) {
        double part = 0;
        if (fabs(n->w[i]) > REGION_FLAT * top)
            continue;
        for (int64_t k = 0; k < p; k++)
            part += n->v[k * p + i] * n->d[k] * n->best[k];
        for (int64_t k = 0; k < p; k++)
            n->step[k] += way * part * n->v[k * p + i] / n->d[k];
    }
    if (!(rt_fit_max(n->step, p) > 0) || !rt_fit_finite(n->step, p)) {
        finish(n, FIT_NOT_IDENTIFIED, n->ctl[C_WHERE], is_there);
        return;
    }
    try_step(n);
    n->ctl[CTL_PHASE] = phase;
}

/* A flat direction along which f falls towards 0 and not the other way leads to a mode at infinity;
 * where f is the same on both sides, the data do not determine it. */
static void went_along(Newton *n, const double *f) {
    double off = *f - n->s[STATE_VALUE], room = 1e-10 * fmax(1, fabs(n->s[STATE_VALUE]));
    int64_t where = largest(n, n->step, true);
    bool falls = isfinite(*f) && off < -room;
    if (n->ctl[CTL_PHASE] == BACK && falls && where >= 0)
        along_flats(n, BACKWARD, FORTH, false);
    else if (n->ctl[CTL_PHASE] == FORTH && isfinite(*f) && !falls)
        finish(n, FIT_DIVERGES, where, false);
    else
        finish(n, FIT_NOT_IDENTIFIED, n->ctl[C_WHERE], false);
}

/* The mode but for flat directions: where f rises along one of them, either way, it was no mode (a
 * degenerate saddle: the components of a mixture that are equal). w and v are those of find_step.
 */
static void look(Newton *n, bool is_there) {
    int64_t p = n->p, at = n->ctl[C_LOOK] / 4, flats = 0;
    double way = (n->ctl[C_LOOK] % 2 ? -1 : 1) * (n->ctl[C_LOOK] % 4 < 2 ? 1 : 0.1);
    double top = fmax(fabs(n->w[0]), fabs(n->w[p - 1]));
    for (int64_t i = 0; i < p; i++)
        if (fabs(n->w[i]) <= REGION_FLAT * top && flats++ == at) {
            for (int64_t k = 0; k < p; k++)
                n->step[k] = way * n->v[k * p + i] / n->d[k];
            if (at == 0)
                n->ctl[C_WHERE] = last_of(n, n->step);
        }
    if (at >= flats || at >= LOOKS) {
        along_flats(n, -BACKWARD, BACK, is_there);
        return;
    }
    n->ctl[C_LOOK]++;
    try_step(n);
    n->ctl[CTL_PHASE] = LOOK;
}

/* A parameter many of its own sizes wide, as its curvature has it: what f loses on the way back to
 * 0 would be nothing. It is far out where f is flat, or in truth 0; f tells which. */
static void conclude(Newton *n, bool is_there) {
    bool any = false, resumed = n->ctl[CTL_MODE] & FIT_RESUMED; /* the start is no caller's */
    n->ctl[C_WHERE] = -1;
    for (int64_t i = 0; i < n->p; i++) {
        double size = fabs(n->best[i]), z = size * sqrt(fabs(n->h[i * n->p + i]));
        bool far = fabs(n->start[i]) > 0.5 * size && !resumed;
        bool moved = size * n->most[i] > VISIBLE || far;
        bool open = (n->ends[i] & (n->best[i] < 0 ? 1 : 2)) == 0;
        bool doubtful = n->marks[i] == 0 && open && z < VISIBLE && moved && size > 0;
        n->step[i] = doubtful ? -n->best[i] : 0;
        n->ctl[C_WHERE] = doubtful && !any ? i : n->ctl[C_WHERE];
        any = any || doubtful;
    }
    if (!any) {
        finish(n, FIT_OK, -1, is_there);
        return;
    }
    try_step(n);
    n->ctl[CTL_PHASE] = DOUBT;
}

/* The mode is where the step in n->step leads, too close to show in f or h. What is left of the
 * gradient there is what h changes by times the step: at most that share of it. */
static void conclude_after(Newton *n) {
    for (int64_t i = 0; i < n->p; i++)
        n->best[i] += n->step[i];
    n->s[STATE_GRADIENT] *= SETTLED;
    n->ctl[CTL_ITERATIONS]++;
    conclude(n, true);
}

static void doubted(Newton *n, const double *f) {
    bool falls = isfinite(*f) && *f - n->s[STATE_VALUE] < -LOSS;
    finish(n, falls ? FIT_DIVERGES : FIT_OK, falls ? n->ctl[C_WHERE] : -1, false);
}

/* Steps to a regular mode get shorter by c times their length, and h changes by about that. From
 * that before, c times the next one's is decrement / before: where this is small, the step leads to
 * the mode, and h there is h here, both but for a millionth. */
static bool is_last(const Newton *n, double before) {
    return n->ctl[CTL_MODE] & FIT_THRIFTY && n->s[N_EDGE] == 0 &&
           n->s[STATE_DECREMENT] <= SETTLED && n->s[STATE_DECREMENT] <= SETTLED * before;
}

/* What to do at a new best point; `is_there`: the last evaluation was there. */
static void next(Newton *n, bool is_there) {
    int64_t n_flat, where = unbounded(n);
    if (where >= 0) {
        finish(n, rt_fit_without_bound(n->ends[where], n->best[where] - n->start[where]), where,
               is_there);
        return;
    }
    if (are_gone(n)) {
        push(n);
        return;
    }
    scale(n);
    bool definite = find_step(n, &n_flat);
    double before = n->s[N_BEFORE];
    watch(n, definite);
    if (n->ctl[C_FAST] >= SLOW_STEPS) {
        suspect(n);
        return;
    }
    double decrement = n->s[STATE_DECREMENT];
    bool near = definite && decrement <= NEAR;
    bool rough = n->ctl[CTL_MODE] & FIT_ROUGH && decrement <= ROUGH;
    if (definite && n_flat == 0 && is_there && (rough || is_last(n, before))) {
        conclude_after(n);
    } else if (near && n_flat > 0) {
        look(n, is_there);
    } else if (near && n->ctl[C_SLOW] >= SLOW_STEPS) {
        finish(n, FIT_NOT_IDENTIFIED, largest(n, n->step, false), is_there);
    } else if (near && (decrement <= EXACT || n->ctl[C_POLISH] >= POLISH_STEPS)) {
        conclude(n, is_there);
    } else if (!rt_fit_finite(n->step, n->p)) {
        finish(n, FIT_NOT_CONVERGED, -1, is_there);
    } else {
        n->ctl[C_POLISH] += near;
        try_step(n);
    }
}

/* The trial is no better: a smaller region, by the parabola through both values and the slope. */
static void reject(Newton *n, double gain, bool finite) {
    double slope = rt_fit_dot(n->grad, n->step, n->p), t = 0.1;
    int64_t n_flat;
    if (finite && slope > 0)
        t = fmin(fmax(slope / (2 * (slope - gain)), 0.1), 0.5);
    n->s[N_RADIUS] = t * n->s[N_NORM];
    find_step(n, &n_flat);
    bool stuck = true;
    for (int64_t i = 0; i < n->p; i++)
        stuck = stuck && fabs(n->step[i]) <= 0x1p-52 * fabs(n->best[i]);
    if (stuck || !(n->s[N_PRED] > 0))
        finish(n, FIT_NOT_CONVERGED, -1, false);
    else
        try_step(n);
}

static void accept(Newton *n, double gain, double ratio, const double *const at[3]) {
    if (ratio < 0.25)
        n->s[N_RADIUS] = 0.5 * n->s[N_NORM];
    else if (n->s[N_EDGE] != 0 && ratio > 0.75)
        n->s[N_RADIUS] = 3 * n->s[N_NORM];
    n->ctl[C_RISING] = n->s[N_EDGE] != 0 && gain >= n->s[N_GAIN] ? n->ctl[C_RISING] + 1 : 0;
    n->s[N_GAIN] = gain;
    for (int64_t i = 0; i < n->p; i++)
        n->last[i] = n->step[i];
    n->ctl[CTL_ITERATIONS]++;
    keep(n, *at[0], at[1], at[2]);
    next(n, true);
}

/* The decrement at the trial, with the best point's -h: enough to see whether the last step still
 * helped. */
static double decrement_at(Newton *n, const double *g) {
    assemble(n);
    if (!(rt_fit_cholesky(n->a, n->p) > 0))
        return INFINITY;
    for (int64_t i = 0; i < n->p; i++)
        n->z[i] = n->b[i] = n->marks[i] != 0 ? 0 : g[i] / n->d[i];
    rt_fit_cholesky_solve(n->a, n->z, n->p);
    return rt_fit_dot(n->b, n->z, n->p);
}

/* The slope along the step at the trial. */
static double slope_at(const Newton *n, const double *g) {
    double s = 0;
    for (int64_t i = 0; i < n->p; i++)
        s += n->marks[i] != 0 ? 0 : g[i] * n->step[i];
    return s;
}

static void judge(Newton *n, const double *f, const double *g, const double *h) {
    const double *const at[3] = {f, g, h};
    int64_t p = n->p;
    double gain = *f - n->s[STATE_VALUE];
    bool finite = is_finite(n, f, g, h);
    if (*f > 0 && isinf(*f)) {
        for (int64_t i = 0; i < p; i++)
            n->best[i] = n->u[i];
        int64_t where = largest(n, n->step, false);
        finish(n, rt_fit_without_bound(n->ends[where], n->step[where]), where, true);
    } else if (n->ctl[C_POLISH] > 0 && n->s[STATE_DECREMENT] <= NEAR) {
        double before = n->s[STATE_DECREMENT], after = finite ? decrement_at(n, g) : INFINITY;
        if (!(after <= before))
            finish(n, FIT_OK, -1, false);
        else {
            n->ctl[C_POLISH] += after > 0.25 * before ? POLISH_STEPS : 0;
            accept(n, gain, 1, at);
        }
    } else if (!finite) {
        reject(n, 0, false);
    } else {
        /* where f cannot tell, the mean of both slopes can */
        if (n->s[N_PRED] < 1e-9 * fabs(*f) && fabs(gain) < 1e-9 * fabs(*f))
            gain = (rt_fit_dot(n->grad, n->step, p) + slope_at(n, g)) / 2;
        double ratio = gain / n->s[N_PRED];
        if (ratio > 1e-4)
            accept(n, gain, ratio, at);
        else
            reject(n, gain, true);
    }
    int64_t most = n->ctl[CTL_MODE] & FIT_ROUGH ? ROUGH_EVALUATIONS : EVALUATIONS;
    if (n->ctl[CTL_ACTION] == FIT_EVALUATE && n->ctl[CTL_PHASE] == TRIAL &&
        n->ctl[CTL_EVALUATIONS] >= (n->ctl[CTL_LIMIT] > 0 ? n->ctl[CTL_LIMIT] : most))
        finish(n, FIT_NOT_CONVERGED, -1, false);
}

/* Far ahead of a mode that seemed to be at infinity: it is if f rose by no more than it promised
 * long before, and is not about to fall. */
static void probed(Newton *n, const double *f, const double *g) {
    double before = rt_fit_dot(n->grad, n->step, n->p), after = slope_at(n, g);
    double rise = *f - n->s[STATE_VALUE], most = 4 * n->s[STATE_DECREMENT] + 0x1p-40 * fabs(*f);
    if (rise >= 0 && rise <= most && after >= -1e-6 * before) {
        finish(n, FIT_DIVERGES, n->ctl[C_WHERE], false);
        return;
    }
    n->ctl[C_FAST] = -2 * SLOW_STEPS;
    try_step(n);
}

/* Parameters were pushed to their ends: they stay there if f agrees, or close to them. */
static void pushed(Newton *n, const double *f, const double *g, const double *h) {
    double off = *f - n->s[STATE_VALUE],
           room = 4 * n->s[STATE_DECREMENT] + 0x1p-40 * fabs(n->s[STATE_VALUE]);
    bool agrees = is_finite(n, f, g, h) && fabs(off) <= room;
    if (!agrees && n->ctl[C_PUSH] + 1 < PUSHES) {
        n->ctl[C_PUSH]++;
        push(n);
        return;
    }
    n->ctl[C_PUSH] = n->ctl[C_SLOW] = 0;
    n->ctl[C_FAST] = agrees ? 0 : -2 * SLOW_STEPS;
    for (int64_t i = 0; i < n->p; i++)
        if (n->marks[i] == GOING)
            n->marks[i] = agrees || fabs(n->best[i]) > GONE;
    if (agrees)
        keep(n, *f, g, h);
    next(n, agrees);
}

/* A step along a flat direction: taken if f is higher there. */
static void looked(Newton *n, const double *f, const double *g, const double *h) {
    double gain = *f - n->s[STATE_VALUE];
    if (!is_finite(n, f, g, h) || !(gain > 1e-10 * fmax(1, fabs(n->s[STATE_VALUE])))) {
        look(n, false);
        return;
    }
    n->ctl[C_LOOK] = n->ctl[C_POLISH] = 0;
    n->s[N_RADIUS] = fmax(n->s[N_RADIUS], 1);
    n->ctl[CTL_ITERATIONS]++;
    keep(n, *f, g, h);
    next(n, true);
}

static void begin(Newton *n, const double *f, const double *g, const double *h) {
    int64_t p = n->p;
    for (int64_t i = 0; i < STATE_MARKS + 11 * p; i++)
        n->s[i] = 0;
    n->s[STATE_VALUE] = *f;
    for (int64_t i = 0; i < p; i++) /* another optimiser may have left it there */
        n->marks[i] = fabs(n->u[i]) == FIT_END && (n->ends[i] & (n->u[i] < 0 ? 1 : 2)) != 0;
    if (!is_finite(n, f, g, h)) {
        rt_fit_done(n->ctl, FIT_NOT_FINITE, -1);
        return;
    }
    keep(n, *f, g, h);
    for (int64_t i = 0; i < p; i++)
        n->start[i] = n->u[i];
    if (p == 0) {
        rt_fit_done(n->ctl, FIT_OK, -1);
        return;
    }
    n->s[N_RADIUS] = UNLIMITED; /* a full step, where there is one */
    next(n, true);
}

void rt_newton(double *u, const double *f, const double *g, const double *h, const int64_t *ends,
               double *state, int64_t *ctl, int64_t p) {
    Newton n = newton_open(u, ends, state, ctl, p);
    ctl[CTL_EVALUATIONS]++;
    if (ctl[CTL_PHASE] == FRESH)
        begin(&n, f, g, h);
    else if (ctl[CTL_PHASE] == TRIAL)
        judge(&n, f, g, h);
    else if (ctl[CTL_PHASE] == PROBE)
        probed(&n, f, g);
    else if (ctl[CTL_PHASE] == PUSH)
        pushed(&n, f, g, h);
    else if (ctl[CTL_PHASE] == LOOK)
        looked(&n, f, g, h);
    else if (ctl[CTL_PHASE] == BACK || ctl[CTL_PHASE] == FORTH)
        went_along(&n, f);
    else if (ctl[CTL_PHASE] == DOUBT)
        doubted(&n, f);
    else
        ctl[CTL_ACTION] = FIT_DONE;
    if (ctl[CTL_STOP] && ctl[CTL_ACTION] != FIT_DONE && ctl[CTL_PHASE] != LAST)
        finish(&n, FIT_STOPPED, -1, false);
}

void rt_newton_cov(double *cov, const double *h, const double *state, int64_t p) {
    const double *marks = state + STATE_MARKS;
    bool good = true;
    for (int64_t i = 0; i < p; i++)
        good = good && (marks[i] != 0 || h[i * p + i] < 0);
    for (int64_t i = 0; i < p && good; i++)
        for (int64_t j = 0; j < p; j++) {
            bool out = marks[i] != 0 || marks[j] != 0;
            double t = -(h[i * p + j] + h[j * p + i]) / 2;
            cov[i * p + j] = out ? i == j : t / sqrt(-h[i * p + i]) / sqrt(-h[j * p + j]);
        }
    good = good && rt_fit_cholesky(cov, p) > REGION_FLAT;
    if (good)
        rt_fit_cholesky_invert(cov, p);
    for (int64_t i = 0; i < p; i++)
        for (int64_t j = 0; j < p; j++)
            if (good && marks[i] == 0 && marks[j] == 0)
                cov[i * p + j] /= sqrt(-h[i * p + i]) * sqrt(-h[j * p + j]);
            else
                cov[i * p + j] = NAN;
}
