/* Loops over the same range that follow each other become one. */
#ifndef CNNC_PASSES_MERGE_H
#define CNNC_PASSES_MERGE_H

#include "ir/loop.h"

/* Of the loops at the top level of f:
 *
 *   for i in 0..48000 step 16 { store v[i] = f(v[i], g[i]) }
 *   for j in 0..48000 step 16 { store w[j] = h(w[j], v[j]) }
 * becomes
 *   for i in 0..48000 step 16 { store v[i] = f(v[i], g[i])  store w[i] = h(w[i], v[i]) }
 *
 * What one stores and the other touches, both touch at the same cells in each iteration. A loop
 * moves up past statements that neither touch what it stores nor store what it touches, but past
 * no status, call or condition. An optimizer's update reads and writes each tensor once. */
void merge_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f);

#endif
