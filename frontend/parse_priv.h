/* Shared by parse.c (items, statements, recovery) and parse_expr.c (expressions, types). */
#ifndef CNNC_FRONTEND_PARSE_PRIV_H
#define CNNC_FRONTEND_PARSE_PRIV_H

#include "base/diag.h"
#include "frontend/lex.h"
#include "frontend/parse.h"

enum {
    MAX_NESTING = 256, /* of expressions in the text */
    MAX_DEPTH = 1000   /* of the tree: a sum of n terms is n deep without being nested */
};

typedef enum Around {
    AROUND_NOTHING,
    AROUND_PARENS,
    AROUND_LIST
} Around; /* the innermost bracket */

/* Recursive descent. A mistake is reported once and unwinds to the statement or item around it,
 * which skips to the next one; nothing is repaired by guessing. */
typedef struct Parser {
    Ctx *ctx;
    const Tokens *t;
    uint32_t at;      /* the current token */
    jmp_buf *recover; /* innermost attempt() */
    int nesting;
    Around around;
    bool goes_on;    /* a statement or item has just ended: a token on its line belongs to it */
    bool declares;   /* inside the formals of an item */
    bool ask_more;   /* running into the end is no error: more text may come */
    bool incomplete; /* it happened */
} Parser;

static inline TokKind kind_at(const Parser *p, uint32_t k) {
    return p->at + k < p->t->n_tok ? (TokKind)p->t->tok[p->at + k].kind : TOK_EOF;
}
static inline TokKind kind(const Parser *p) { return (TokKind)p->t->tok[p->at].kind; }
static inline Span here(const Parser *p) { return tok_span(p->t, p->at); }
static inline Span last_span(const Parser *p) { return tok_span(p->t, p->at ? p->at - 1 : 0); }
static inline bool is_kind(const Parser *p, TokKind k) { return kind(p) == k; }

void parse_skip(Parser *p);              /* one token */
bool parse_accept(Parser *p, TokKind k); /* skips it if it is there */
/* The token or an error: "expected `=` after the name, found ...": context is the part after the
 * token. */
void parse_expect(Parser *p, TokKind k, const char *context);
/* A closing bracket, or an error with a label at the opening one, token `open`. */
void parse_close(Parser *p, TokKind k, uint32_t open);
Name parse_name(Parser *p, const char *what); /* what: "the name of a formal" */

/* Silent where the current token is an error of its own or more text may come; then unwinds. */
CNNC_NORETURN void parse_unwind(Parser *p);
bool parse_is_silent(const Parser *p);

Span parse_join(Span a, Span b);
Expr *parse_expr(Parser *p);
TypeExpr *parse_type(Parser *p);
Path parse_path(Parser *p, const char *what);
Expr *parse_call(Parser *p, Path path, Expr *piped); /* at `(`; piped: stood before `|>`, or NULL */
void parse_subs(Parser *p, Sub **subs, int *n);      /* at `[` */

/* Calls fn; false if a mistake unwound it. */
bool parse_attempt(Parser *p, void (*fn)(Parser *p, void *arg), void *arg);
/* "expected WHAT, found ...", then unwinds. help: or NULL. */
CNNC_NORETURN void parse_expected(Parser *p, const char *what, const char *help);

/* parse_hint.c: the help for token i as the beginning of a statement or item, after an expression, or
 * elsewhere in place of what is needed; NULL: none. */
const char *parse_hint_statement(const Parser *p, uint32_t i);
const char *parse_hint_item(const Parser *p, uint32_t i);
const char *parse_hint_rest(const Parser *p, uint32_t i);
const char *parse_hint_found(const Parser *p, uint32_t i);
/* Gives d the help unless it is NULL. */
static inline void parse_help(const Parser *p, Diag *d, const char *help) {
    if (help)
        diag_help(p->ctx, d, "%s", help);
}
/* Token `at` goes on in the line of a complete statement or item: an error, which does not unwind.
 * what: "statement". */
bool parse_goes_on(Parser *p, uint32_t at, const char *what);

enum { N_ITEM_WORDS = 7 };
extern const char *const parse_item_words[N_ITEM_WORDS];                           /* by ItemKind */
bool parse_is_word(const Parser *p, uint32_t i, const char *word);                 /* token i */
int parse_find_word(const Parser *p, uint32_t i, const char *const *words, int n); /* or -1 */
/* Token i begins an item: its word, then a name, string or a reserved word by mistake. */
bool parse_begins_item(const Parser *p, uint32_t i);
/* After a mistake in the item that began at token start. */
void parse_skip_to_item(Parser *p, uint32_t start);
void parse_stmt(Parser *p, void *arg); /* arg: Stmt ** that receives it */
void parse_block(Parser *p, Item *it); /* at `{` */

#endif
