/* Diagnostics: messages about the user's text, with places. They accumulate in the context.
 *
 *     Diag *d = diag_error(ctx, "E0312", span, "the two sides of `%s` have different shapes", op);
 *     diag_label(ctx, d, left, "a: %s", shape);        a place shown beside the main one
 *     diag_here(ctx, d, "left %s, right %s", l, r);    the text after the main carets
 *     diag_note(ctx, d, no_span, "...");  diag_help(ctx, d, "...");
 *
 * Messages are lower case, say what was found and what was expected, and end without a full stop.
 * A code is E or W and four digits; each has one place in the code, a page (`cnnc explain`) and a golden test. */
#ifndef CNNC_BASE_DIAG_H
#define CNNC_BASE_DIAG_H

#include <stdbool.h>

#include "base/ctx.h"
#include "base/str.h"

typedef enum Severity { SEV_ERROR, SEV_WARNING } Severity;

typedef struct DiagLabel {
    Span span; /* file 0: a note without a place */
    const char *text;
} DiagLabel;

typedef struct Diag {
    Severity severity;
    const char *code;    /* "E0312" */
    const char *warning; /* the NAME of -WNAME, NULL for errors */
    Span span;
    const char *message;
    const char *here; /* after the carets of span, or NULL */
    VEC(DiagLabel) labels;
    VEC(DiagLabel) notes;
    const char *help; /* or NULL */
} Diag;

typedef struct Diags {
    VEC(Diag *) all; /* in the order of their reports; errors beyond max_errors are counted, not kept */
    int n_errors, n_warnings;
    int max_errors;     /* 20 by default, 0: no limit */
    bool werror;        /* -Werror */
    bool no_warnings;   /* -w */
    VEC(Str) disabled;  /* names given as -Wno-NAME */
} Diags;

/* Set-up happens on the first use. */
Diags *diags_of(Ctx *ctx);
bool diag_any_error(Ctx *ctx);
/* Forgets all messages (the REPL's next line). */
void diag_clear(Ctx *ctx);

Diag *diag_error(Ctx *ctx, const char *code, Span span, const char *fmt, ...) CNNC_PRINTF(4, 5);
/* A warning; dropped where its name is disabled, an error under -Werror. Never NULL. */
Diag *diag_warning(Ctx *ctx, const char *code, const char *name, Span span, const char *fmt, ...) CNNC_PRINTF(5, 6);
void diag_here(Ctx *ctx, Diag *d, const char *fmt, ...) CNNC_PRINTF(3, 4);
void diag_label(Ctx *ctx, Diag *d, Span span, const char *fmt, ...) CNNC_PRINTF(4, 5);
void diag_note(Ctx *ctx, Diag *d, Span span, const char *fmt, ...) CNNC_PRINTF(4, 5);
/* Replaces the help that base/help.def has for the code. */
void diag_help(Ctx *ctx, Diag *d, const char *fmt, ...) CNNC_PRINTF(3, 4);

/* The row of base/help.def, or NULL. */
const char *diag_default_help(const char *code);

/* rustc's layout (docs: errors), with the source lines; control characters of the user's text are escaped. */
void diag_render_text(Ctx *ctx, const Diag *d, bool color, StrBuf *out);
/* One JSON object on one line, as documented for --diagnostics=json; what stands beside the marks becomes notes. */
void diag_render_json(Ctx *ctx, const Diag *d, StrBuf *out);
/* A JSON string; bytes that are not UTF-8 become U+FFFD. */
void diag_json_text(StrBuf *out, const char *s);
/* All of them in order, in text or JSON. */
void diag_render_all(Ctx *ctx, bool json, bool color, StrBuf *out);
/* The text of the nearest candidate by edit distance, or NULL if none is near (for "did you mean"). */
const char *diag_nearest(const char *name, const char *const *candidates, int n);

#endif
