/* The pages of `cnnc explain E0312`: one for every code of a message. */
#ifndef CNNC_DRIVER_EXPLAIN_H
#define CNNC_DRIVER_EXPLAIN_H

#include "base/str.h"

typedef struct ExplainPage {
    const char *code;  /* "E0203" */
    const char *title; /* in a few words, without a full stop */
    const char *text;  /* what it means and what to do */
    const char *wrong; /* a whole program that gives the message, or NULL if no short one does */
    const char *right; /* the same without the mistake, or NULL */
} ExplainPage;

/* All pages, ordered by code. */
const ExplainPage *explain_pages(int *n);
/* The page of a code, in either case of its letter; NULL if there is none. */
const ExplainPage *explain_find(const char *code);
void explain_print(const ExplainPage *page, StrBuf *out);

#endif
