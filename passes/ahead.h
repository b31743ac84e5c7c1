/* Memory that results go to is fetched while the sums before it are computed. */
#ifndef CNNC_PASSES_AHEAD_H
#define CNNC_PASSES_AHEAD_H

#include "ir/loop.h"

/* Sums whose results lie in several rows, as those of a gradient of weights by blocks:
 *
 *   for o in 0..120 step 4 { for c in 0..400 step 80 {
 *     %1, ... = for n ...
 *     store w[o, c] = %1 ... store w[o + 3, c + 64] = %20 } }
 *
 * Hardware sees one row come after another, but not that many walk on side by side, and a store to
 * memory outside the caches waits for it. Each store gets `ahead`: the cell that it is in in the
 * next iteration of the innermost loop around that stores some kilobytes. */
void ahead_of_stores(Ctx *ctx, LoopFunc *f);

#endif
