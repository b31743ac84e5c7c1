/* Elementwise loops of long chains of operations. */
#ifndef CNNC_PASSES_ABREAST_H
#define CNNC_PASSES_ABREAST_H

#include "ir/loop.h"
#include "ir/target.h"

/* Several iterations side by side, statement by statement:
 *
 *   for i in 0..784 { %1 = load x[i]  %2 = fma(%1, ..)  %3 = fma(%2, ..)  ...  store y[i] = %24 }
 * becomes
 *   for i in 0..784 step 2 {
 *     %1 = load x[i]  %5 = load x[i + 1]  %2 = fma(%1, ..)  %6 = fma(%5, ..)  ... }
 *
 * Each operation of a chain waits for the one before; a core looks for work that may start only
 * among the next hundred or so instructions, which are those of few iterations where these follow
 * one another. What all iterations share is computed once. Of loops of unknown extent, what such a step divides goes
 * first, without masks. No bit of the results changes. */
void abreast_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *target);

#endif
