/* Sums of the lanes of many vectors, together. */
#ifndef CNNC_PASSES_LANE_SUMS_H
#define CNNC_PASSES_LANE_SUMS_H

#include "ir/loop.h"
#include "ir/target.h"

/* Sums of lanes that go to neighbouring cells:
 *
 *   %9 = add(%p, lane_sum(%1))  %10 = add(%q, lane_sum(%2)) ..
 *   store w[k, 0] = %9  store w[k, 1] = %10 ..
 *
 * become one vector, and what is computed from each of them alone (with neighbouring cells of a
 * bias, say) is computed from all and stored whole. zip(a, b) has lanes of a and b in turn, so
 * zip_low + zip_high adds the upper half of each to its lower one, as lane_sum does: after
 * log2(lanes) rounds, each with half as many vectors, lane k is the sum of vector k, from the same
 * additions. No bit changes. */
void lane_sums(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *target);

#endif
