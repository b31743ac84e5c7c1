/* Rewriting one loop for vectors: what vectorize does once it has chosen. */
#ifndef CNNC_PASSES_WIDEN_H
#define CNNC_PASSES_WIDEN_H

#include "ir/target.h"
#include "passes/vary.h"

typedef struct Vectorize {
    Ctx *ctx;
    Arena *arena; /* of the module */
    LoopModule *m;
    LoopFunc *f;
    const Target *target;
    int lanes; /* of the loop at hand */
} Vectorize;

/* One candidate. */
typedef struct WidenPlan {
    Dim mask;    /* lanes from here on lie past the end; NULL: none do */
    bool single; /* at most one iteration */
    bool closed; /* all vectors lie between the constants lo, hi; the mask may end the loop earlier */
    int64_t lo, hi;
} WidenPlan;

/* The loops around, outermost first. */
typedef struct Around {
    LoopStmt *loops[64];
    LoopBody *bodies[64]; /* that hold them */
    int n;
} Around;

/* The loop v.loop, which stands in parent, runs on vectors: types, accesses and operands change in
 * place. */
void widen_loop(Vectorize *z, const Vary *v, WidenPlan plan, LoopBody *parent,
                const Around *around);

#endif
