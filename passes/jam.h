/* Unroll-and-jam of the output loops around sums: register blocking. */
#ifndef CNNC_PASSES_JAM_H
#define CNNC_PASSES_JAM_H

#include "ir/loop.h"
#include "ir/target.h"

/* All nests of f. No bit of the results changes. */
void jam_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *target);

#endif
