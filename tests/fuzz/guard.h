/* Blocks of memory beside a page that may not be touched: a read or write past their end (or before
 * their start) is a fault, and one within the rest of their own pages is seen afterwards. */
#ifndef CNNC_TESTS_FUZZ_GUARD_H
#define CNNC_TESTS_FUZZ_GUARD_H

#include <stdbool.h>
#include <stddef.h>

typedef enum GuardSide { GUARD_BEHIND, GUARD_BEFORE } GuardSide;

typedef struct Guard {
    char *p; /* n bytes */
    size_t n;
    char *pages; /* all that is mapped */
    size_t mapped;
} Guard;

/* n bytes of value `fill` that end where (GUARD_BEFORE: begin where) a page may not be touched. */
Guard guard_new(size_t n, GuardSide side, int fill);
/* From now on a write is a fault too. */
void guard_read_only(const Guard *g);
/* Nothing was written beside the block. */
bool guard_is_kept(const Guard *g);
void guard_free(Guard *g);
/* A fault prints this text (one line, then the program) and ends the process with status 3. */
void guard_on_fault(const char *text);

#endif
