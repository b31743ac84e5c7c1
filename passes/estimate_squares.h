/* Sums of squares: estimators whose every density is Normal. */
#ifndef CNNC_PASSES_ESTIMATE_SQUARES_H
#define CNNC_PASSES_ESTIMATE_SQUARES_H

#include "passes/estimate_priv.h"

/* One statement `x ~ Normal(mean, scale)`. */
typedef struct SquareTerm {
    const Inst *density;
    Dim count;   /* of residuals */
    Dim counted; /* of them, those that count: a prior says nothing of what is held */
    bool prior;
    const Inst *mask; /* a const: bools of those that count; NULL: all do */
    const int *axes;  /* of the density, for each axis of the mask */
} SquareTerm;

typedef struct Squares {
    int n_terms, n_like; /* those of the likelihood stand first */
    const SquareTerm *terms;
    int scale; /* number of the parameter that is the free scale of all, or -1: scales are known */
    bool affine; /* in the others, which are then all of kind real */
} Squares;

/* Are the log densities sums of squares, of scales that are known or multiples of one positive
 * parameter which nothing else mentions? *why says what stands in the way. */
bool est_squares(Unit *u, int block, const Parts *p, Squares *out, Str *why);

/* Residuals of a term at a point, in the function of a Build. */
typedef struct SquareRows {
    Type type;  /* of the density, f64 */
    Val x;      /* the left side */
    Val e;      /* left side - mean */
    Val weight; /* 1 / scale, where the free scale is 1 */
} SquareRows;

/* By term. e->theta is in place; that of the free scale is 1. */
SquareRows *est_square_rows(Build *e, const Parts *p, const Squares *s);

/* E.fit by least squares. */
void est_fit_squares(Build *e, const Parts *p, const Squares *s);

#endif
