/* The contract of the optimisers, and what they share. All reals are f64, on the unconstrained
 * scale u[p].
 *
 * Reverse communication: the caller owns the loop and every buffer, the optimiser keeps what it
 * knows in `state` and `ctl`.
 *
 *     ctl = 0 (16 words);  do { evaluate at u; rt_X(u, ..., state, ctl, ...); } while (ctl[0]);
 *
 * ctl[CTL_ACTION] says what comes next: 0 done; 1 evaluate at u; 2 (rt_lsq only) feed the blocks to
 * rt_lsq_rows instead of rt_qr_rows. When done, u is the best point and the caller's f, g, h or r
 * are those at u.
 *
 *     rt_newton, rt_lbfgs   maximise f; evaluate: f, its gradient g and (newton) its Hessian h at u
 *     rt_lm                 least squares; evaluate: r = 0, then rt_qr_rows(r, block) for each
 *                           block of rows at u
 *     rt_lsq                the same for an affine mean; blocks are always those of the start, u is
 *                           written when done
 *
 * Blocks may be fed by groups, at the same time: each group has a triangle of its own, which is
 * then a block for rt_qr_rows; or, in a pass of refinement, a part of 64 + 5 p doubles that
 * rt_lsq_part makes from the state, rt_lsq_rows adds to and rt_lsq_join puts back, in order.
 *
 * A row of a block has q = p + 1 columns: the derivative of the mean by each u, then observation -
 * mean, all over the row's relative scale. A prior on a parameter is one more row.
 *
 * ends[p]: bit 0, the declared parameter has a finite limit as u -> -inf; bit 1, as u -> +inf. A
 * mode there is a boundary mode, which is an answer; a mode at any other end is a coefficient that
 * diverges.
 *
 * state, in doubles: rt_lsq, rt_lm 4 q q + 24 q + 64; rt_newton 4 p p + 24 p + 64; rt_lbfgs 64 p +
 * 192. */
#ifndef CNNC_RUNTIME_RT_FIT_H
#define CNNC_RUNTIME_RT_FIT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CTL_ACTION,     /* FIT_DONE, FIT_EVALUATE, FIT_REFINE */
    CTL_RESULT,     /* FIT_OK.. once done */
    CTL_WHERE,      /* the parameter at fault, else -1 */
    CTL_ITERATIONS, /* accepted steps */
    CTL_PHASE,      /* 0: fresh */
    CTL_EVALUATIONS,
    CTL_PRIVATE, /* .. 12: the optimiser's own */
    CTL_MODE = 13, /* in: FIT_ROUGH, FIT_THRIFTY, FIT_RESUMED */
    CTL_STOP =
        14, /* in, at every call: not 0: end at the best point so far, if not there already */
    CTL_LIMIT = 15, /* in: most evaluations, 0: the default */
    CTL_WORDS
};

enum { FIT_DONE, FIT_EVALUATE, FIT_REFINE };

/* Fits of many rows begin on a part of them (rt_restart). */
enum {
    FIT_ROUGH = 1,   /* newton: within some tenths of a standard error is near enough */
    FIT_THRIFTY = 2, /* newton: a last step that changes f and h by less than 1e-6 (f absolutely, h
                        relative) is not evaluated: they are then those before it */
    FIT_RESUMED = 4  /* began elsewhere than at the start: only FIT_OK is an answer */
};

enum {
    FIT_NOT_FINITE = -1, /* at the start; u is as it was */
    FIT_OK = 0,          /* boundary modes with finite density included */
    FIT_NOT_CONVERGED = 1,
    FIT_DEPENDENT = 2, /* columns; where: the first that depends on those before it */
    FIT_DIVERGES =
        3, /* u goes to infinity: the mode lies there (separation), or f rises for ever */
    FIT_UNBOUNDED = 4, /* no mode: f rises without bound towards a finite value, a scale of 0 */
    FIT_NOT_IDENTIFIED = 5, /* the Hessian is singular at the optimum */
    FIT_STOPPED = 6         /* CTL_STOP */
};

/* state: the first words are the caller's to read; then MARKS.. MARKS + p: 1 where the mode is at
 * an end. */
enum {
    STATE_VALUE,     /* f, or the residual sum of squares, at u */
    STATE_GRADIENT,  /* max-norm of g, or of J'r, at u; a bound after a last step that was not evaluated */
    STATE_DECREMENT, /* g' (-h)^-1 g: twice what a Newton step would gain */
    STATE_PRIVATE,
    STATE_MARKS = 64
};

/* Symmetric a = v diag(w) v' (eigenvectors in the columns of v), w ascending; a is destroyed. */
void rt_eigen(double *a, double *w, double *v, int64_t n);

/* max b'z - z'a z/2 over |z| <= radius. In: a (destroyed), b, radius, p; out: the eigenvalues w and
 * vectors v of a, the step in place of b, and definite   a is positive definite, but for flat
 * directions: those without curvature or slope, which the step avoids n_flat     how many of these
 * there are decrement  b'a^-1 b, by |w| at_edge    the step is `radius` long c and z are for the
 * work. */
typedef struct Region {
    double *a, *b, *w, *v, *c, *z, radius, decrement;
    int64_t p, n_flat;
    bool definite, at_edge;
} Region;

/* An eigenvalue that is no curvature, relative to the largest. */
#define REGION_FLAT 1e-13

void rt_fit_region(Region *t);

/* l l' = a (lower triangles; in place). Returns the smallest pivot relative to the diagonal, or a
 * value <= 0 or NaN where a is not positive definite (l is then of no use). */
double rt_fit_cholesky(double *a, int64_t n);

/* (l l')^-1 in place of l, both triangles. */
void rt_fit_cholesky_invert(double *l, int64_t n);

/* x = (l l')^-1 x */
void rt_fit_cholesky_solve(const double *l, double *x, int64_t n);

/* Ends the run: result, where, and no further action. */
void rt_fit_done(int64_t *ctl, int64_t result, int64_t where);

/* FIT_UNBOUNDED or FIT_DIVERGES, by whether the declared parameter has a limit where f rises for
 * ever. */
int64_t rt_fit_without_bound(int64_t ends, double direction);

bool rt_fit_finite(const double *x, int64_t n);
double rt_fit_dot(const double *a, const double *b, int64_t n);
double rt_fit_max(const double *x, int64_t n); /* max |x| */

/* The length of n cells `stride` apart, whatever their magnitude. */
double rt_fit_norm(const double *x, int64_t n, int64_t stride);

/* The square of a length, and small shares of it, are doubles: sums of squares then mean something.
 */
bool rt_fit_squares(double length);

/* x = r^-1 x for the first p rows of r, upper triangular with rows of q. */
void rt_fit_back(const double *r, double *x, int64_t p, int64_t q);

/* Takes column j out of the n x n upper triangular a: rows j.. are rotated into one another, row
 * and column j become 0. */
void rt_fit_drop(double *a, int64_t n, int64_t j);

/* u of a parameter that is at an end: exp and the sigmoid are there in f64. */
#define FIT_END 800.0

/* A column of J depends on those before it where less than this share of its length is outside
 * their span. */
#define FIT_DEPENDS 1e-13

#endif
