/* What the fuzzers share: each target file defines the one function that libFuzzer and bits.c call.
 * A finding ends the process: a sanitizer's report, or abort() where an invariant does not hold. */
#ifndef CNNC_TESTS_FUZZ_TARGET_H
#define CNNC_TESTS_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
