/* Sums that are zero because they are of deviations from a mean. */
#ifndef CNNC_PASSES_CENTRED_H
#define CNNC_PASSES_CENTRED_H

#include "ir/nest_alg.h"

typedef struct Centred {
    Module *m;
    Func *f;
    Arena *arena;
    const bool
        *held; /* by value id: something is differentiated by it, what computes it left aside */
    int n_held;
} Centred;

/* d is a cotangent that an instruction has just got, a chain of nests from the instruction `begin`
 * on behind `acc`, what was before (or id 0). The same without the links, and the parts of what
 * they sum, that are zero. */
Val centred_rest(const Centred *c, Val d, Val acc, int begin);

#endif
