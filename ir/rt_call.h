/* How the interpreters call the runtime, which ir/ cannot see. */
#ifndef CNNC_IR_RT_CALL_H
#define CNNC_IR_RT_CALL_H

#include "ir/scalar.h"

/* Calls row `callee` of rt.def; bufs point to the first elements named, args are the scalar values
 * (ints and bools in i, reals in f). Returns the result in its type; false: no such row. */
typedef bool LoopCallFn(void *self, Str callee, void *const *bufs, const ScalarValue *args,
                        ScalarValue *result);

#endif
