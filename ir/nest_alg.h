/* The algebra of nests: analysis, derivative, inversion of scatters, loop limits, rewrites. Pure functions on a
 * nest with its operands; passes put the results back into functions. After nest.py of the design. */
#ifndef CNNC_IR_NEST_ALG_H
#define CNNC_IR_NEST_ALG_H

#include "ir/graph.h"

/* A nest with what it stands on: an instruction that is not in a function yet. */
typedef struct NestOp {
    Nest nest;
    int n_args;
    const Val *args;
    Type type; /* of the result */
    Span span;
    Str name;
} NestOp;

NestOp nestop_of(const Func *f, const Inst *i);
Val nestop_emit(Module *m, Func *f, const NestOp *n);
/* With operands renumbered: each value once, none that is unused (placeholders of id 0 stay apart). */
NestOp nestop_compact(Ctx *ctx, const NestOp *n);

/* How an axis of M0 settles: bit k of out_indices is set if box index k is an output index (parallel), the rest
 * are reductions; returns false if some axis does not settle (a scatter: `+` in serial order). */
bool nest_outputs(Ctx *ctx, const Nest *n, uint64_t *out_indices);
/* Constant coefficient of an index in an affine form, and the form without it. */
int64_t aff_coef(Ctx *ctx, Dim form, DimSym index);
Dim aff_rest(Ctx *ctx, const Nest *n, Dim form); /* without all of n's indices: the constant part */
/* Least and greatest value over the box (extents >= 1 assumed). */
void nest_span(Ctx *ctx, const Nest *n, Dim form, Dim *lo, Dim *hi);
/* Drops guards that the box proves and duplicates. */
Nest nest_tidy(Ctx *ctx, const Nest *n);
/* Substitutes indices (and dims) everywhere; box and guards of the result are given by the caller in `n`. */
Nest nest_subst(Ctx *ctx, const Nest *n, const DimBinding *b, int n_b);
/* Every axis a plain index, all cells reached once, no guards, init or post; a store or a sum without reductions. */
bool nest_elementwise(Ctx *ctx, const NestOp *n);
/* A sum without summed indices: a cell is its one term, not 0 + the term, which would turn -0 into 0. */
bool nest_is_term(const Nest *n);
bool nest_covers(Ctx *ctx, const NestOp *n);
/* A sum without summed indices that begins at a tensor (init) or has a post: the elementwise store of the same. False:
 * it is something else. */
bool nest_cellwise(Ctx *ctx, const NestOp *n, NestOp *out);
int nest_box_of(const Nest *n, DimSym s); /* number in the box; -1: not there, as is NULL */
/* M0 is distinct single indices of coefficient 1. */
bool nest_plain_map(const Nest *n);
/* The body is a plain read (a view: slice, transpose, pad, broadcast). */
bool nest_is_view(const Nest *n);
/* Does the body multiply operands and reduce them? (predicate `contract`) */
bool nest_is_contraction(Ctx *ctx, const Nest *n);

/* The derivative of n, to be asked for its operands one by one. g: cotangent of n's result y; arg: result of
 * nest_argmax for max/min (id 0 otherwise). n must have no post. */
typedef struct NestVjp NestVjp;
NestVjp *nest_vjp_new(Module *m, Func *f, const NestOp *n, Val y, Val g, Val arg);
/* Cotangent of an operand (all its distinct reads, chained by init), appended to f; init: existing cotangent or id 0.
 * id 0: it is zero. */
Val nest_vjp(NestVjp *v, int operand, Val init);
/* The sibling nest that computes the argmax of a max or min nest. */
NestOp nest_argmax(Ctx *ctx, const NestOp *n);

/* Is extent a longer than b? Symbolic beats constant. */
bool nest_longer(Dim a, Dim b);
/* A scatter as a chain of gathers (each has init = the one before; *n_out of them), or NULL: more than 64 parts.
 * The args of part k > 0 end with a placeholder for the part before: index init, Val id 0. */
NestOp *nest_invert(Ctx *ctx, const NestOp *n, int *n_out);
/* select(affine < affine, e, 0) and factors x?0[..] under a sum become guards. */
NestOp nest_lift(Ctx *ctx, const NestOp *n, const Func *f);
/* Hoists f(x[..]) out of the window: true, then *producer computes f(x) and *consumer reads it as its last arg
 * (Val id 0 as placeholder). */
bool nest_canon(Ctx *ctx, const NestOp *n, const Func *f, NestOp *producer, NestOp *consumer);
/* Substitutes the elementwise producer p (whose result is arg k of c) into c, fills taken over where p maps the
 * fill to itself; false where the rules do not allow it. */
bool nest_fuse_producer(Ctx *ctx, const NestOp *p, const NestOp *c, Val p_val, const Func *f, NestOp *out);
/* Makes the elementwise consumer c the epilogue (post) of p, after one that p has; c must be p's only user. */
bool nest_fuse_epilogue(Ctx *ctx, const NestOp *p, const NestOp *c, Val p_val, const Func *f, NestOp *out);
/* Equality up to the names of indices. */
bool nest_equal(Ctx *ctx, const Nest *a, const Nest *b);

/* Exact loop bounds: for every index, outputs outside and reductions inside,
 * lo = max of lows, hi = min of highs (exclusive), each a dim in outer indices. */
typedef struct NestLimit {
    DimSym index;
    int n_lo, n_hi;
    const Dim *lo, *hi;
    bool is_output;
} NestLimit;
/* n_box limits in loop order; *never: some constant guard fails always (no point is visited). order: a permutation of
 * box numbers (outputs first is not forced), or NULL for outputs then reductions in box order. */
NestLimit *nest_limits(Ctx *ctx, const Nest *n, const int *order, bool *never);

#endif
