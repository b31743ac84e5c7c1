/* A copy that leaves the cache is made in bands of rows, each just before it is read. */
#ifndef CNNC_PASSES_BANDS_H
#define CNNC_PASSES_BANDS_H

#include "ir/loop.h"
#include "ir/target.h"

/* Before the first reader of a buffer that is larger than half of the second-level cache:
 *
 *   for o, y, z { p[o, y, z] = 0 }
 *   for o, y in 0..112, z { p[o, y + 1, z + 1] = g[o, y, z] }
 *   for c, i in 0..112, j { sum over o, a in 0..4, b of p[o, i - a + 3, j - b + 3] * .. }
 *   for c, i in 0..112, j { sum over o, a in 0..3, b of p[o, i - a + 2, j - b + 3] * .. }
 * becomes, p having 17 rows instead of 115,
 *   for ib in 0..8 {
 *     for o, y in 0..17, z { p[o, y, z] = 0 }
 *     for o, y in max(0, 14*ib - 1)..min(112, 14*ib + 16), z { p[o, y - 14*ib + 1, z + 1] = .. }
 *     for c, i in 0..14, j { sum over o, a, b of p[o, i - a + 3, j - b + 3] * .. }
 *     for c, i in 0..14, j { .. } }
 *
 * Iterations of i store different cells, and those of one i keep their order: no bit changes. What
 * bands have in common is copied once for each. */
void band_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *target);

#endif
