/* Random .cnn text: every item, statement and expression of the grammar, laid out as nobody would.
 * Names mean nothing: it parses, it does not check. */
#ifndef CNNC_TESTS_FUZZ_SOURCE_H
#define CNNC_TESTS_FUZZ_SOURCE_H

#include "base/str.h"

/* The text depends on the seed alone. */
void random_source(uint64_t seed, StrBuf *out);

#endif
