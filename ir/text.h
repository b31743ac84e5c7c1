/* What the texts of both IRs share: a reader of words, numbers, quoted strings and dims, with
 * sticky failure.
 *
 * The first error is reported as a diagnostic with its place; after it every token is the end, so
 * parsers need no checks of their own but must stop at TEXT_END. Comments run from `;;` to the end
 * of the line. */
#ifndef CNNC_IR_TEXT_H
#define CNNC_IR_TEXT_H

#include "base/diag.h"
#include "ir/type.h"

typedef enum TextKind {
    TEXT_END,
    TEXT_WORD,   /* letter or _, then letters, digits, _ and inner dots: "LeNet5.C3", "row0" */
    TEXT_INT,    /* digits; i (wraps modulo 2^64) */
    TEXT_REAL,   /* digits with a dot or an exponent; f */
    TEXT_STRING, /* "..." with \" \\ \n \t \xHH; str */
    TEXT_MARK /* punctuation: one of the longest of  // .. -> == >= <= != or one character; str */
} TextKind;

typedef struct TextSym {
    Str name;
    DimSym sym;
} TextSym;

typedef struct TextReader {
    Ctx *ctx;
    Arena *arena;
    const char *code; /* of its errors, "E0801" */
    uint32_t file;    /* of the text */
    const char *p;    /* after the token */
    uint32_t line, col;
    bool failed;
    int depth; /* of parentheses */
    /* the token */
    TextKind kind;
    Span at;
    Str str;
    int64_t i;
    double f;
    /* symbols: [0, n_dims) are the module's dims, which funcs and blocks share by name; above are
     * indices */
    VEC(TextSym) syms;
    uint32_t source_file; /* number of the source that plain spans name, 0 before text_source */
} TextReader;

TextReader text_open(Ctx *ctx, Arena *arena, uint32_t file, const char *code);
void text_next(TextReader *r);
void text_fail(TextReader *r, const char *fmt, ...) CNNC_PRINTF(2, 3); /* at the token */
bool text_is(const TextReader *r, const char *word_or_mark);
bool text_accept(TextReader *r, const char *word_or_mark);
void text_expect(TextReader *r, const char *word_or_mark);
Str text_word(TextReader *r, const char *what);    /* "" after a failure */
Str text_string(TextReader *r, const char *what);  /* likewise */
int64_t text_int(TextReader *r, const char *what); /* with an optional - */
double text_real(TextReader *r);                   /* also whole numbers, -, inf, nan */
DType text_dtype(TextReader *r);

/* Dims: sums and products, `//`, parentheses, and symbols in scope (see syms). */
Dim text_dim(TextReader *r);
/* f32[N, 3], f64 */
Type text_type(TextReader *r);
/* A dim of the module: made at its first mention with this `least`, later the same symbol. */
DimSym text_dim_symbol(TextReader *r, Str name, int64_t least);
/* An index in scope until the symbols are cut back: `int n = r->syms.n; ... r->syms.n = n;`. */
DimSym text_index_symbol(TextReader *r, Str name, int64_t least);

/* Spans: `@9:3-9:20` in the module's source, `@"prelude.cnn":9:3-9:20` elsewhere, `@-` none. */
void text_source(TextReader *r, Str source); /* names the module's source */
Span text_span(TextReader *r);               /* none if the token is not @ */
void text_print_span(StrBuf *sb, Ctx *ctx, Str source, Span s);
bool text_same_span(Span a, Span b);
void text_print_string(StrBuf *sb, const char *s); /* quoted, escaped */
/* Dims and other lists: "a, b". */
void text_print_dims(StrBuf *sb, const Dim *d, int n);

#endif
