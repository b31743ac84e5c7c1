/* What an op's `lower` builds on: the loop function being made, and the buffers of the graph's values. */
#ifndef CNNC_IR_LOWER_H
#define CNNC_IR_LOWER_H

#include "ir/loop.h"
#include "ir/op.h"

typedef struct LowerBuilder {
    LoopCursor c; /* where loops are appended */
    const Module *graph;
    const Func *func;
    const struct Target *target;
    BufId *buf_of; /* by value id: the buffer that holds it */
    bool in_job;   /* inside a parallel loop: new buffers are BUF_JOB */
    void *pass;    /* of to_loops */
} LowerBuilder;

BufId lower_buf(LowerBuilder *lb, Val v);                    /* buffer of an operand */
BufId lower_result(LowerBuilder *lb, const Inst *i, int k);  /* (makes) the buffer of a result: zero-filled memory is not promised */
int lower_status(LowerBuilder *lb, Span span, Str message);  /* status number: "file.cnn:LINE: message" */
/* Emits a body at the current point: env maps read/index; returns the value. Defined in to_loops' emitter, used by ops. */

#endif
