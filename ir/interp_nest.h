/* The reference meaning of nests. */
#ifndef CNNC_IR_INTERP_NEST_H
#define CNNC_IR_INTERP_NEST_H

#include "ir/interp.h"

bool interp_nest(Interp *in, const Func *f, const Inst *i, const Tensor *const *args, Tensor *out);

#endif
