/* The runtime of compiled code: small C11 functions that need libc and libm and allocate nothing. The order of floating
 * point operations is explicit. */
#ifndef CNNC_RUNTIME_RT_H
#define CNNC_RUNTIME_RT_H

#include <stdint.h>

#define RT(name, args) void rt_##name args;
#include "runtime/rt.def"
#undef RT

/* Philox4x64-10 (Salmon et al., SC 2011): four words from a counter and a key. */
void rt_philox(const uint64_t counter[4], const uint64_t key[2], uint64_t out[4]);
double rt_random_at(int64_t seed, int64_t site, int64_t index); /* uniform in [0, 1), of step 0 */

#endif
