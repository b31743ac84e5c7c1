/* What formatting has to keep, checked: used by the fuzzer and by the random programs. */
#ifndef CNNC_TESTS_FUZZ_LAYOUT_H
#define CNNC_TESTS_FUZZ_LAYOUT_H

#include "frontend/ast.h"

/* The syntax tree as text, without places: equal texts mean the same. */
const char *layout_tree(Ctx *ctx, const AstFile *f);

/* Formats the registered file. *formatted is NULL if it does not parse; else the answer is what is
 * wrong with the result: it parses as something else, has other tokens or comments, or changes when
 * formatted again. NULL: nothing. */
const char *layout_fault(Ctx *ctx, uint32_t file, const char **formatted);

#endif
