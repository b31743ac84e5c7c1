/* Rewriting one nest of loops into register blocks: what jam does once it has chosen. */
#ifndef CNNC_PASSES_BLOCK_H
#define CNNC_PASSES_BLOCK_H

#include "ir/loop.h"

enum { MOST_LEVELS = 16, MOST_COPIES = 32 };

/* The output loops of a nest, outermost first, each the only loop in the body of the one before;
 * then the loops of its sums, likewise; in the last one no loop stands. */
typedef struct BlockNest {
    LoopStmt *outs[MOST_LEVELS], *sums[MOST_LEVELS];
    int n_outs, n_sums;
} BlockNest;

typedef struct BlockPlan {
    int by[MOST_LEVELS]; /* iterations of an output loop in one block; 1: it stays as it is */
    int unrolled;        /* so many of the innermost sums' loops, which have constant bounds or
                            bounds that depend on a blocked loop alone, are unrolled */
    int unroll_by;       /* else: iterations of the innermost one in one step */
    int apart; /* from this output loop on, which stands in no blocked one, what follows the
                  sums is a nest of its own; -1: it is not */
} BlockPlan;

/* From `s` inwards as long as there is one loop; false: sums in a body without loops do not stand at
 * the end. */
bool block_find_nest(LoopStmt *s, BlockNest *nest);
/* May iterations of the output loop nest->outs[level] stand in one block? */
bool block_allowed(Ctx *ctx, Arena *scratch, const LoopFunc *f, const BlockNest *nest, int level);
/* Has that loop one lower and one upper bound, which no sum's loop depends on? Then they need not be
 * constant: the rest is a loop of its own. */
bool block_open(const BlockNest *nest, int level);
/* May what follows the sums be a nest of its own? */
bool block_apart_allowed(const LoopFunc *f, const BlockNest *nest);
/* First and last iteration (exclusive) of a loop; with `by` not NULL, where its index is `at`.
 * False: they are not constant. */
bool block_bounds(Ctx *ctx, const LoopStmt *s, DimSym by, int64_t at, int64_t *lo, int64_t *hi);
/* Replaces the nest, which stands in `parent`. The order of every sum stays: no bit changes. */
void block_nest(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, LoopBody *parent,
                const BlockNest *nest, const BlockPlan *plan);

#endif
