/* Random contractions: one exported def `f[N, D]` whose result is a reduction over a product of
 * reads, its gradient by an operand, or two reductions over all of it, as .cnn text. */
#ifndef CNNC_TESTS_FUZZ_CONTRACTION_H
#define CNNC_TESTS_FUZZ_CONTRACTION_H

#include <stdbool.h>
#include <stdint.h>

typedef struct RandomContraction {
    char text[4096];
    bool single; /* with operands between -3 and 3 all sums are below 2^24: exact in f32 too */
} RandomContraction;

/* The same seed gives the same text. N and D may be anything from 1 on; `single` holds up to these.
 */
enum { CONTRACTION_MOST_N = 33, CONTRACTION_MOST_D = 6 };
void random_contraction(RandomContraction *c, uint64_t seed);

#endif
