/* What an op's `lower` builds on: the loop function being made, and the buffers of the graph's
 * values. */
#ifndef CNNC_IR_LOWER_H
#define CNNC_IR_LOWER_H

#include "ir/loop.h"
#include "ir/op.h"

typedef struct LowerBuilder {
    LoopCursor c; /* where loops are appended */
    const Module *graph;
    const Func *func;
    const struct Target *target;
    BufId *buf_of;              /* by value id: the buffer that holds it */
    bool in_job;                /* inside a parallel loop: new buffers are BUF_JOB */
    const DimBinding *bindings; /* inside a batch: row0 and rows in terms of the slice's loop; apply
                                   to dims of attributes */
    int n_bindings;
    const Val *same_as; /* by value id: the value whose memory this one takes (coalesced chains), or
                           id 0 */
    void *pass;         /* of to_loops */
} LowerBuilder;

BufId lower_buf(LowerBuilder *lb, Val v); /* buffer of an operand */
BufId lower_result(LowerBuilder *lb, const Inst *i,
                   int k); /* (makes) the buffer of a result: zero-filled memory is not promised */
int lower_status(LowerBuilder *lb, Span span,
                 Str message);                /* status number: "file.cnn:LINE: message" */
Dim lower_dim(const LowerBuilder *lb, Dim d); /* with the batch's bindings */
Type lower_type(const LowerBuilder *lb, Type type);
BufId lower_new_buf(LowerBuilder *lb, Type type, Str name,
                    Span span); /* WORK, or JOB inside a job */

#endif
