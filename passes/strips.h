/* Output loops inside one that reads an operand again and again go by strips that stay in the
 * cache. */
#ifndef CNNC_PASSES_STRIPS_H
#define CNNC_PASSES_STRIPS_H

#include "ir/loop.h"
#include "ir/target.h"

/* Where what the loops inside an output loop read, and it does not choose, is larger than half of
 * the second-level cache (2 MB of x here):
 *
 *   for o in 0..128 {
 *     for p in 0..256 {
 *       %1 = for c in 0..128 with .. { yield fma(w[o, c], f32x16 x[c, p, 0], ..) }
 *       store y[o, p, 0] = %1
 * becomes, an eighth of x being read in a strip,
 *   for pb in 0..8 {
 *     for o in 0..128 {
 *       for p in 0..32 {
 *         %1 = for c in 0..128 with .. { yield fma(w[o, c], f32x16 x[c, 32*pb + p, 0], ..) }
 *         store y[o, 32*pb + p, 0] = %1
 *
 * Iterations store different cells and each sum keeps its order: no bit changes. */
void strip_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *target);

#endif
