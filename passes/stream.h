/* The order of straight-line code that multiplies two sets of operands. */
#ifndef CNNC_PASSES_STREAM_H
#define CNNC_PASSES_STREAM_H

#include "ir/loop.h"

/* Where the statements of a body without loops combine operands of two buffers, those of the
 * smaller set come first and stay in registers; each of the others comes right before its uses, of
 * which there are then few at a time. No statement changes, only their order. */
void stream_order(Arena *arena, Arena *scratch, const LoopFunc *f, LoopBody *b);

#endif
