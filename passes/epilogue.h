/* A long epilogue of a sum becomes a loop of its own. */
#ifndef CNNC_PASSES_EPILOGUE_H
#define CNNC_PASSES_EPILOGUE_H

#include "ir/loop.h"

/* The loop of the sum in an output loop whose epilogue is long and may stand apart; NULL: there is none. */
LoopStmt *epilogue_sum(Ctx *ctx, const LoopFunc *f, const LoopStmt *output);
/* Statement `at` of the body, an output loop with that sum, becomes two loops. */
void epilogue_split(Arena *arena, LoopModule *m, LoopFunc *f, LoopBody *b, int at, LoopStmt *sum);

#endif
