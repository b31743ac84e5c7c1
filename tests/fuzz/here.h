/* Whether this machine runs the code of a row of targets.def; programs that cannot end with ctest's
 * word for a skipped test. */
#ifndef CNNC_TESTS_FUZZ_HERE_H
#define CNNC_TESTS_FUZZ_HERE_H

#include <stdbool.h>
#include <string.h>

#include "ir/target.h"

enum { SKIPPED = 77 }; /* as in CMakeLists.txt */

static inline bool runs_here(const Target *t) {
#if defined(__x86_64__)
    if (strcmp(t->name, "x86-64-v4") == 0)
        return __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw");
    if (strcmp(t->name, "x86-64-v3") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return strcmp(t->name, "x86-64") == 0;
#else
    return strcmp(t->name, "aarch64") == 0;
#endif
}

#endif
