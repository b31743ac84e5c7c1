/* Targets: what passes ask about the machine. One row each in targets.def. */
#ifndef CNNC_IR_TARGET_H
#define CNNC_IR_TARGET_H

#include "ir/type.h"

typedef struct Target {
    const char *name;     /* "x86-64-v4" (avx512), "x86-64-v3" (avx2), "generic" */
    const char *triple;   /* LLVM triple; NULL: the host's */
    const char *cpu;      /* LLVM cpu */
    const char *features; /* LLVM features */
    int vector_bytes;     /* width of a vector register: 64, 32, 16 */
    int registers;        /* vector registers */
    bool fma;
    int64_t l1_bytes, l2_bytes;
    const char *doc;
} Target;

const Target *target_named(const char *name); /* NULL if there is none */
const Target *target_all(int *n);
/* The row of an LLVM cpu name or -march= value ("haswell", "skylake-avx512", "znver4"); NULL: unknown. */
const Target *target_for_cpu(const char *cpu);
int target_lanes(const Target *t, DType dt); /* lanes of a vector of dt */

#endif
