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
    int64_t part; /* batches run this part of each group's slices alone (16: the first sixteenth); 0: all */
} ToLoops;

/* Emits a body at a point of the loops; acc: value of BODY_ACC. Reads below a select are clamped
 * into their operand where the facts do not prove them inside, because both arms are computed. */
typedef struct BodyEmit {
    LowerBuilder *lb;
    const Nest *nest;
    const BufId *operands; /* by argument number */
    LVal acc;
} BodyEmit;
LVal lower_body(const BodyEmit *e, const Body *b);
/* The factors of the body's last product if it is one of reals: they make an fma with the sum. */
bool lower_body_product(const BodyEmit *e, const Body *b, LVal *x, LVal *y);

/* The start of a sum: what buf holds there, or 0 where `first` is 0. */
LVal lower_start(LowerBuilder *lb, BufId buf, const Dim *subs, Dim first);
/* Loops of one nest into out. group: out has a leading axis, subscripted by it, and cells start
 * from what out holds (lower_start); NULL: none. */
void lower_nest(LowerBuilder *lb, const NestOp *op, const BufId *operands, BufId out, BufId init,
                Dim group);
void lower_batch(LowerBuilder *lb, const Inst *i);
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
