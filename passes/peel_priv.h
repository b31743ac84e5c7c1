/* What the files of the pass peel share. */
#ifndef CNNC_PASSES_PEEL_PRIV_H
#define CNNC_PASSES_PEEL_PRIV_H

#include "passes/rewrite.h"

/* One axis that may become the loop around a function's contractions. */
typedef struct Peel {
    Unit *u;
    const Func *f;
    DimSym sym;
    Dim n;
    int *axis;    /* by value: the axis of extent n, NO_AXIS, or MIXED */
    bool *front;  /* by value: that axis moves to the front */
    bool *by_row; /* by instruction: computes one row from rows of its operands */
    bool *large;  /* by instruction: a contraction that counts */
} Peel;

enum { NO_AXIS = -1, MIXED = -2 };

/* Fills in the facts (peel_choose.c). */
void peel_facts(Peel *p);
/* The index of a nest that runs over the axis, or NULL. */
DimSym peel_index(const Peel *p, const Nest *n);
/* The axis that the function is better computed along, with facts; false: none. */
bool peel_choose(Unit *u, const Func *f, Peel *out);

/* In contractions, a factor that is computed from operands and lacks one of the nest's indices
 * becomes a value of its own (hoist.c). */
bool hoist_factors(Rewrite *r, NestOp *n);

#endif
