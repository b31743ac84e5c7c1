/* Loads of what is taken only under a condition. */
#ifndef CNNC_PASSES_HELD_H
#define CNNC_PASSES_HELD_H

#include "ir/loop.h"

/* Loads that only `select(c, 0, load)` use, with one scalar c, are made where c is false:
 *
 *   %1 = load f32x16 p[k]  ...  %5 = select(%4, %z, %1)
 * becomes
 *   %n = not(%c)  %5 = for held in 0..1 when %n with %p = %z { %1 = load f32x16 p[k]  yield %1 }
 *
 * The first slice of a group starts its sums from 0; what memory holds there is not even read. */
void held_loads(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f);

#endif
