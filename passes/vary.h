/* How the statements of a loop depend on its index: what vectorize and unroll-and-jam ask before
 * they rewrite. */
#ifndef CNNC_PASSES_VARY_H
#define CNNC_PASSES_VARY_H

#include "ir/loop.h"

typedef struct Vary {
    Ctx *ctx;
    Arena *arena;
    const LoopFunc *f;
    const LoopStmt *loop;
    bool
        *varies; /* by value id: differs between iterations (phis and outs of the loop itself do) */
    VEC(DimSym) inner;        /* indices of the loops inside */
    VEC(LoopStmt *) accesses; /* loads and stores inside */
    bool opaque;              /* calls inside */
    bool nest;  /* only loops, values, loads and stores inside, and bounds and conditions inside do
                   not vary; else varies is not set */
    bool plain; /* a nest, all scalar, no status or mask at its accesses */
} Vary;

Vary vary_of(Ctx *ctx, Arena *arena, const LoopFunc *f, const LoopStmt *loop);
/* Constant coefficient of the loop's index in d (0: not in it); false: d is not linear in it. */
bool vary_coef(const Vary *v, Dim d, int64_t *coef);
/* The axis whose subscript mentions the index, -1: none; false where it is not linear or there are
 * several. */
bool vary_axis(const Vary *v, const LoopStmt *access, int *axis, int64_t *coef);
/* Do different iterations store to different cells, and load of what is stored only their own? */
bool vary_independent(const Vary *v);
/* What carried value k of the loop gathers: SC_add if it is only a sum (the phi is added to, by add
 * or as fma's third operand, possibly through sums of loops inside, and yielded, and is used for
 * nothing else), SC_max or SC_min likewise (of equals, -0 and 0 among them, any may be found), else
 * SC_NONE. links receives the adding statements. */
typedef struct VaryLink {
    LoopStmt *add;
    LVal sum; /* its operand that is the sum so far */
} VaryLink;
typedef VEC(VaryLink) VarySum;
ScalarOp vary_reduction(const Vary *v, int k, VarySum *links);
/* Uses of x inside the loop's body. */
int vary_uses(const LoopStmt *loop, LVal x);
/* Iterations where they are constant, else a guess. */
int64_t vary_trip(const LoopStmt *loop);

#endif
