/* How a value depends on some of a function's params, by the structure of what computes it: not at
 * all, linearly, affinely, or otherwise. What is not proved is DEG_OTHER. */
#ifndef CNNC_PASSES_DEGREE_H
#define CNNC_PASSES_DEGREE_H

#include "ir/op.h"

typedef enum Degree {
    DEG_FREE,   /* independent of them */
    DEG_LINEAR, /* f(a x) = a f(x) */
    DEG_AFFINE, /* linear + independent */
    DEG_OTHER
} Degree;

/* By value id. Both by number of f's param: is_var; held (or NULL): those of which `when` holds elements. A `stop` of
 * one is what these have, which is as linear as the others. */
Degree *degree_of(Arena *arena, const Func *f, const bool *is_var, const bool *held);

#endif
