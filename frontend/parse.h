/* From text to syntax. Errors accumulate in the context's diagnostics, one for one mistake; the
 * parser goes on at the next statement or item. */
#ifndef CNNC_FRONTEND_PARSE_H
#define CNNC_FRONTEND_PARSE_H

#include "frontend/ast.h"

/* The file registered by ctx_add_file under this number; never NULL. What did not parse is left out
 * or EXPR_ERROR. */
AstFile *parse_file(Ctx *ctx, uint32_t file);

typedef enum ReplKind {
    REPL_EMPTY, /* blanks and comments only */
    REPL_ITEMS, /* one or more items */
    REPL_STMT,  /* a binding (STMT_BIND) */
    REPL_EXPR,
    REPL_INCOMPLETE, /* goes on in the next line: nothing was reported */
    REPL_ERROR       /* reported */
} ReplKind;

typedef struct ReplInput {
    ReplKind kind;
    AstFile *items;
    Stmt *stmt;
    Expr *expr;
} ReplInput;

/* One input of the REPL, registered as a file. With `final` no more text will come: what is
 * incomplete is an error. */
ReplInput parse_repl_line(Ctx *ctx, uint32_t file, bool final);
/* An expression alone (the argument of a colon command, -D, a default on the command line). */
Expr *parse_expr_text(Ctx *ctx, uint32_t file);

#endif
