/* Random well-typed programs: one exported def `f` over arrays, as .cnn text. */
#ifndef CNNC_TESTS_FUZZ_PROGRAM_H
#define CNNC_TESTS_FUZZ_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

typedef struct RandomProgram {
    char text[16384];
    int n_inputs;
    bool exact;    /* integer arithmetic only: every evaluator gives the same numbers */
    bool gradient; /* the result is a vjp: the reference differentiates numerically */
    int64_t n;     /* value of the symbolic dim N */
} RandomProgram;

/* The same seed gives the same program. */
void random_program(RandomProgram *p, uint64_t seed);

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t random_next(uint64_t *state);
int random_below(uint64_t *state, int n);

#endif
