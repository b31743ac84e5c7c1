/* Long rows that are read once and begin anywhere. */
#ifndef CNNC_PASSES_LINES_H
#define CNNC_PASSES_LINES_H

#include "ir/loop.h"
#include "ir/target.h"

/* Marks the sums' loops that read long rows of a caller's buffer (a dense layer's weights for one
 * input):
 *
 *   %1, %2 = for c in 0..400 step 16 lines w with .. { .. load f32x16 w[o, c]  .. load f32x16 w[o +
 * 1, c] .. }
 *
 * A vector that crosses a line of the cache takes two accesses, and parameters lie where they lie.
 * All these rows begin at the same place within a line, which code finds out: its vectors begin at
 * lines then, and of the first and the last some lanes are off (codegen/emit_lines.c). Where
 * vectors are as long as lines. */
void lines_mark(Ctx *ctx, LoopFunc *f, const Target *target);

#endif
