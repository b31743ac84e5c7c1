/* Helpers of graph passes that rebuild functions. */
#ifndef CNNC_PASSES_REWRITE_H
#define CNNC_PASSES_REWRITE_H

#include "ir/nest_alg.h"
#include "ir/op.h"
#include "passes/pass.h"

/* A function being rebuilt: insts of `from` are copied, replaced or left out in order. */
typedef struct Rewrite {
    Unit *u;
    Module *m;
    const Func *from;
    Func *to;
    ValMap map;
} Rewrite;

/* Params are copied. */
Rewrite rewrite_begin(Unit *u, const Func *f);
Val rewrite_val(const Rewrite *r, Val old);
/* A nest of `from` with its operands in `to`. */
NestOp rewrite_nestop(const Rewrite *r, const Inst *i);
void rewrite_copy(Rewrite *r, const Inst *i);
/* Copies the results and puts the function in the old one's place. */
void rewrite_end(Rewrite *r);

/* Calls fn for every function of the graph module (bodies included). */
void each_func(Unit *u, void (*fn)(Unit *u, Func *f));

/* Rebuilds f with every nest as fn leaves it; fn may put values before it (factor, hoist). An init is left alone: it has no
 * memory for more values. False: nothing was done. */
bool rewrite_nests(Unit *u, Func *f, void (*fn)(Rewrite *r, NestOp *n));

/* Drops instructions that no result and no effect needs (dce.c). */
void drop_dead(Unit *u, Func *f);
/* Computes equal pure instructions once (cse.c). */
void merge_equal(Unit *u, Func *f);
/* Points of a nest's box. */
Dim nest_points(Ctx *ctx, const Nest *n);

#endif
