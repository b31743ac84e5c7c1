/* Nests behind one another that hand tensors on run together, a part of an output axis at a time. */
#ifndef CNNC_PASSES_JOINT_H
#define CNNC_PASSES_JOINT_H

#include "ir/loop.h"
#include "ir/target.h"

/* In a job, where what the nests share is larger than half of the second-level cache:
 *
 *   for c in 0..16, p { h[c, p] = max(0, x[slice, c, p]) }
 *   for o, c in 0..16, a { dw[o, c, a] = sum over p of dy[o, p] * h[c, p + a] }
 *   for c in 0..16, p { dx[c, p] = sum over o, a of dy[o, p - a] * w[o, c, a], 0 where h[c, p] is }
 *   for c in 0..16 { s[c] = sum over p of dx[c, p] * x[slice, c, p] }
 * becomes, h having 4 channels instead of 16,
 *   for cb in 0..4 {
 *     for c in 0..4, p { h[c, p] = max(0, x[slice, 4*cb + c, p]) }
 *     for o, c in 0..4, a { dw[o, 4*cb + c, a] = .. }
 *     for c in 0..4, p { dx[4*cb + c, p] = .. }
 *     for c in 0..4 { s[4*cb + c] = .. } }
 *
 * All cells that one of the nests stores and another touches lie at the same c in both, so iterations of c do not
 * meet; those of one c keep their order: no bit changes. */
void joint_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *target);

#endif
