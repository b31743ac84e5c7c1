/* Tokens of .cnn text. Blanks and newlines carry no meaning; comments are kept beside the tokens.
 */
#ifndef CNNC_FRONTEND_LEX_H
#define CNNC_FRONTEND_LEX_H

#include <stdbool.h>

#include "base/ctx.h"
#include "base/str.h"

typedef enum TokKind {
    TOK_EOF,
    TOK_BAD, /* its message is given already */
    TOK_NAME,
    TOK_INT,
    TOK_REAL,
    TOK_STRING,
    /* reserved words, in this order */
    TOK_IF,
    TOK_THEN,
    TOK_ELSE,
    TOK_FOR,
    TOK_AND,
    TOK_OR,
    TOK_NOT,
    TOK_TRUE,
    TOK_FALSE,
    TOK_WHEN,
    TOK_RETURN,
    TOK_MINIMIZE,
    TOK_EXPECT,
    /* punctuation */
    TOK_LPAREN,
    TOK_RPAREN,
    TOK_LBRACKET,
    TOK_RBRACKET,
    TOK_LBRACE,
    TOK_RBRACE,
    TOK_COMMA,
    TOK_COLON,
    TOK_DOT,
    TOK_DOTS,
    TOK_QUOTE,
    TOK_TILDE,
    TOK_ASSIGN,
    TOK_UPDATE,
    TOK_ARROW,
    TOK_FATARROW,
    TOK_PIPE,
    TOK_EQ,
    TOK_NE,
    TOK_LT,
    TOK_LE,
    TOK_GT,
    TOK_GE,
    TOK_PLUS,
    TOK_MINUS,
    TOK_STAR,
    TOK_SLASH,
    TOK_SLASH2,
    TOK_PERCENT,
    TOK_AT,
    TOK_CARET,
    N_TOK_KINDS
} TokKind;

enum { MAX_SOURCE = 16 << 20, MAX_NAME = 255 };

typedef struct Token {
    uint32_t from, to; /* bytes */
    uint32_t line, col, end_col;
    uint8_t kind;
    bool first; /* on its line */
} Token;

typedef struct Comment {
    uint32_t from, to; /* bytes, without the newline */
    uint32_t line, col;
    uint32_t next; /* number of the token that follows */
    bool first;    /* nothing but blanks before it on its line */
} Comment;

typedef struct Tokens {
    uint32_t file;
    const char *text;
    Token *tok; /* the last one is TOK_EOF */
    uint32_t n_tok;
    Comment *com;
    uint32_t n_com;
    bool cut; /* the text is not text (NUL, not UTF-8) or too long: reading stopped, an error is
                 given */
} Tokens;

/* All tokens of a registered file; errors go to the context's diagnostics. */
Tokens *lex_file(Ctx *ctx, uint32_t file);

Span tok_span(const Tokens *t, uint32_t i);
/* The word or name, interned; of a string what its quotes hold. */
Str tok_text(Ctx *ctx, const Tokens *t, uint32_t i);
/* "`=`", "the name `x`", "the end of the file": for messages. */
const char *tok_describe(Ctx *ctx, const Tokens *t, uint32_t i);
const char *tok_kind_text(TokKind kind); /* "=>" */
bool tok_is_reserved(TokKind kind);
/* The `##` lines that stand directly above token i, joined by newlines, without the marks; NULL if
 * there are none. *from is set to the byte where they begin, else left alone. */
Str tok_doc(Ctx *ctx, const Tokens *t, uint32_t i, size_t *from);

#endif
