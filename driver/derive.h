/* `cnnc derive`: how the estimates of an estimator are found, as formulas in the user's names. */
#ifndef CNNC_DRIVER_DERIVE_H
#define CNNC_DRIVER_DERIVE_H

#include "driver/sym.h"
#include "passes/closed.h"

typedef enum DeriveFormat { DERIVE_TEXT, DERIVE_LATEX, DERIVE_MARKDOWN, DERIVE_JSON } DeriveFormat;

/* Appends the derivations of the estimator `only` of m, or of all where it is NULL. m is as
 * lowered, and of no use afterwards. False: there is none. */
bool derive_module(Ctx *ctx, Arena *arena, Module *m, const char *only, DeriveFormat format,
                   StrBuf *out);

/* ---- shared by derive*.c */

/* A line: `lhs = rhs` with a remark beside it, or words (lhs NULL). In the style of the output. */
typedef struct DeriveLine {
    Str lhs, rhs, note;
} DeriveLine;

/* What was asked for: label "MAP", "MLE", "posterior". */
typedef struct DeriveAnswer {
    Str label, text, formula; /* in the style of the output, and for machines */
} DeriveAnswer;

/* A name given to a statistic of the data; kids of `name` are its indices. */
typedef struct DeriveStat {
    Sym name, def;
} DeriveStat;

typedef struct Derive {
    Ctx *ctx;
    Module *m;
    const AbiBlock *block;
    const Func *loglik, *logprior; /* logprior NULL: no prior */
    Str where;                     /* "coin.cnn:5-6" */
    Str like_text, why;            /* "p(x, phi)"; why there is no closed form */
    /* Of least squares: mean and left side of the likelihood at the draw `row`; NULL where there
     * are several statements, or draws have several axes. */
    Sym mean, left, row;
    Sym density, like;   /* the log density, and the likelihood's part of it; NULL: too long */
    bool dropped;        /* constants are left out of the log density */
    bool closed, normal; /* normal: a sum of squares */
    bool affine;         /* in its parameters of kind real */
    Closed form;
    SymCtx c;
    SymPrint print, formula, plain; /* the output's style; for machines; text for `steps` */
    VEC(Str) taken;
    VEC(DeriveLine) lines;
    VEC(DeriveAnswer) answers;
    VEC(DeriveStat) stats;
    VEC(SymNote) notes; /* values of the log density that stand as names */
    Str rule, method;
} Derive;

void derive_equation(Derive *d, Str lhs, Str rhs, Str note);
void derive_words(Derive *d, Str text);
/* One of two texts, by the style. */
Str derive_pick(const Derive *d, Str text, Str latex);
void derive_answer(Derive *d, Str label, Sym lhs, Sym rhs);
Str derive_sym(const Derive *d, Sym e);
/* Element of the parameter `tensor` with free indices; *subs: their number. */
Sym derive_element(Derive *d, int tensor, Sym *subs);
Str derive_slope(Derive *d, Sym element); /* "d/dphi" */

void derive_closed(Derive *d);               /* derive_closed.c */
bool derive_lsq(Derive *d, Sym log_density); /* derive_lsq.c; false: it is not linear */
void derive_general(Derive *d, Sym log_density);

#endif
