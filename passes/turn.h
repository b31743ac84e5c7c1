/* Copies between the orders of two axes. */
#ifndef CNNC_PASSES_TURN_H
#define CNNC_PASSES_TURN_H

#include "ir/loop.h"

/* A loop that gathers along one axis and stores along another, or the other way round,
 *
 *   for i in 0..784 {
 *     %1 = load f32x16 x[r, i] axis 0
 *     store t[i, 0] = %1
 *
 * loads squares of 16 x 16 elements by rows instead, turns them in registers, and stores them by
 * columns. What is left of the loop stays as it was; so does a fill of other lanes of t, behind. */
void turn_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f);

#endif
