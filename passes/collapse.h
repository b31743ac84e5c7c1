/* Loops over neighbouring axes become one. */
#ifndef CNNC_PASSES_COLLAPSE_H
#define CNNC_PASSES_COLLAPSE_H

#include "ir/loop.h"

void collapse_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f);

#endif
