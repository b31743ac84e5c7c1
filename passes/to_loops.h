/* The parts of to_loops: bodies, nests, batches. Internal to the pass. */
#ifndef CNNC_PASSES_TO_LOOPS_H
#define CNNC_PASSES_TO_LOOPS_H

#include "ir/lower.h"
#include "ir/nest_alg.h"
#include "passes/pass.h"

/* State of the lowering of one function; LowerBuilder.pass points to it. */
typedef struct ToLoops {
    Unit *u;
    LoopFunc *lf;
    LoopModule *lm;
    /* Inside a batch, by value id: the group whose partial sum the value's nest adds to (its buffer
     * has a leading axis of groups), else NULL. */
    const Dim *group_of;
    Dim first; /* 0 in the slice that starts such a sum */
    int64_t part; /* batches run this part of each group's slices alone (32: the first of 32 parts); 0: all */
    const struct RowFold *fold; /* of a fit's body whose rows are not kept, or NULL */
} ToLoops;

/* Emits a body at a point of the loops; acc: value of BODY_ACC. Reads below a select are clamped
 * into their operand where the facts do not prove them inside, because both arms are computed. */
typedef struct BodyEmit {
    LowerBuilder *lb;
    const Nest *nest;
    const BufId *operands; /* by argument number */
    LVal acc;
    bool after; /* behind the loops that sum: these may have had no iteration */
} BodyEmit;
LVal lower_body(const BodyEmit *e, const Body *b);
/* The factors of the body's last product if it is one of reals: they make an fma with the sum. */
bool lower_body_product(const BodyEmit *e, const Body *b, LVal *x, LVal *y);

/* What a partial sum holds once v is added to it: v alone where `first` is 0. */
LVal lower_added(LowerBuilder *lb, BufId buf, const Dim *subs, Dim first, LVal v);
/* Loops of one nest into out. group: out has a leading axis, subscripted by it, and the nest's sums
 * are added to what out holds (lower_added); NULL: none. */
void lower_nest(LowerBuilder *lb, const NestOp *op, const BufId *operands, BufId out, BufId init,
                Dim group);
void lower_batch(LowerBuilder *lb, const Inst *i);
/* Rows of residuals that a batch gives and nothing keeps (to_loops_fold.c): slices fill blocks,
 * blocks go into the triangle of their group, or into its part of a pass of refinement where `ctl`
 * asks for one; then groups are put together in order. Buffers: r f64[q, q], triangles f64[groups,
 * q, q], parts f64[groups, ..] (id 0: there are no such passes). */
typedef struct RowFold {
    const Func *func;
    Val rows; /* of func, f64[n, q] */
    BufId ctl, state, r, triangles, parts;
    Dim p;
} RowFold;
typedef struct FoldSlice {
    BufId from;       /* f64[q, rows] */
    Dim group, first; /* number of the slice in its group */
    Dim row0, left;   /* first row; rows from there on */
    Dim slices, number; /* of all; of this one */
    Dim end;            /* of the group's slices, which may be more than there are */
    int64_t rows;
} FoldSlice;
/* The fold of the function's rows if its body is one that can do it: fills f->func and f->rows. */
bool fold_possible(const Func *body, RowFold *f);
int64_t fold_groups_of(const RowFold *f);
/* In a job before its slices, in each slice, and after all jobs. */
BufId fold_begin(LowerBuilder *lb, const RowFold *f, Dim group);
void fold_slice(LowerBuilder *lb, const RowFold *f, BufId block, const FoldSlice *s);
void fold_end(LowerBuilder *lb, const RowFold *f);
void lower_fit(LowerBuilder *lb, const Inst *i);

/* Shared pieces. */
/* Lowers the instructions of func in order with lb->buf_of prepared. */
void lower_insts(LowerBuilder *lb, const Func *func);
/* Values whose memory a later value of the same chain takes over; buffers given by `bound` are
 * kept. */
const Val *lower_coalesce(Arena *arena, const Func *f, const BufId *bound);

/* A loop nest over all cells of a shape: opens rank loops, runs `cell`, closes them. */
typedef void (*CellFn)(LowerBuilder *lb, const Dim *subs, void *arg);
void lower_cells(LowerBuilder *lb, int rank, const Dim *shape, CellFn cell, void *arg);
void lower_copy(LowerBuilder *lb, BufId to, BufId from); /* same shape, converting types */
void lower_fill(LowerBuilder *lb, BufId to, ScalarValue k);

#endif
