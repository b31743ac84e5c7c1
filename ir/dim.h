/* Dims: integer polynomials over symbols, with atoms `(p // q)` and `max(p, q)`, in a normal form.
 *
 * Dims are interned in their context: equal normal forms are equal pointers, so `a == b` is the equality of
 * shapes. Every function that can overflow int64 unwinds nothing: it returns NULL, and DIM_NULL inputs give
 * NULL; callers report "shape arithmetic overflows" once. Executable model and tests: the rules 2 to 6 of
 * docs/language.md; the prover is described in docs/internals.md. */
#ifndef CNNC_IR_DIM_H
#define CNNC_IR_DIM_H

#include <stdbool.h>

#include "base/ctx.h"
#include "base/str.h"

typedef const struct DimPoly *Dim;
typedef const struct DimSymbol *DimSym;

/* A symbol: a dim of the root (N, H), or an index of a loop. Two symbols may share a name; identity is the
 * pointer. `least` is the smallest value it may take (1 for dims, 0 for indices and some ints). */
struct DimSymbol {
    Str name;
    uint32_t id; /* order of creation; ties in the printed order */
    int64_t least;
    bool is_index;
};

DimSym dim_symbol_new(Ctx *ctx, Str name, int64_t least, bool is_index);

Dim dim_const(Ctx *ctx, int64_t k);
Dim dim_of(Ctx *ctx, DimSym s);
Dim dim_add(Ctx *ctx, Dim a, Dim b);
Dim dim_sub(Ctx *ctx, Dim a, Dim b);
Dim dim_neg(Ctx *ctx, Dim a);
Dim dim_mul(Ctx *ctx, Dim a, Dim b);
Dim dim_scale(Ctx *ctx, Dim a, int64_t k);
Dim dim_addk(Ctx *ctx, Dim a, int64_t k);
/* floor(a / b), b >= 1, in normal form; NULL also where b is a constant below 1. */
Dim dim_floordiv(Ctx *ctx, Dim a, Dim b);
/* ceil(a / b) = floor((a + b - 1) / b) and a - b*floor(a/b). */
Dim dim_ceildiv(Ctx *ctx, Dim a, Dim b);
Dim dim_mod(Ctx *ctx, Dim a, Dim b);
/* The larger of a and b at every point; programs cannot write it: sizes of memory that several buffers share have it.
 * Equal maxima may be different pointers where they were made of others. */
Dim dim_max(Ctx *ctx, Dim a, Dim b);
/* a == q*d + r by polynomial division (constant coefficients reduced to 0..lc-1). */
Dim dim_divide(Ctx *ctx, Dim a, Dim d, Dim *remainder);

bool dim_is_const(Dim a, int64_t *value); /* value may be NULL */
bool dim_is_zero(Dim a);
/* The symbol if a is exactly one, else NULL. */
DimSym dim_as_symbol(Dim a);
bool dim_mentions(Dim a, DimSym s);
/* The symbols of a in a fixed order (also inside other atoms); returns their number, fills at most max. */
int dim_symbols(Dim a, DimSym *out, int max);
/* a = c*s + rest with c free of atoms that mention s; false if a is not of that form (s in a floor or max). */
bool dim_linear_in(Ctx *ctx, Dim a, DimSym s, Dim *c, Dim *rest);

/* Substitution of symbols; other atoms are built anew. */
typedef struct DimBinding {
    DimSym sym;
    Dim value;
} DimBinding;
Dim dim_subst(Ctx *ctx, Dim a, const DimBinding *bindings, int n);

/* Value at a point; false on overflow, a divisor below 1, or a symbol without value. Used by the
 * interpreters and by the driver. */
typedef struct DimValue {
    DimSym sym;
    int64_t value;
} DimValue;
bool dim_eval(Dim a, const DimValue *env, int n, int64_t *out);

/* The canonical text: "H*W + 2*s - 1", "(H + 2*p - k) // s + 1". */
void dim_print(StrBuf *sb, Dim a);
const char *dim_text(Ctx *ctx, Dim a);
/* A total order by canonical text (for deterministic output). */
int dim_compare(Dim a, Dim b);

/* What a code generator or printer walks: terms of coefficient and atoms. */
typedef enum DimAtomKind { DIM_SYMBOL, DIM_FLOOR, DIM_MAX } DimAtomKind;
typedef struct DimAtom {
    DimAtomKind kind;
    DimSym sym;   /* of DIM_SYMBOL, else NULL */
    Dim num, den; /* num // den, or the larger of the two */
} DimAtom;
typedef struct DimTerm {
    int64_t coef;
    int n_atoms;
    const DimAtom *const *atoms; /* with repetition: H*H has two */
} DimTerm;
int dim_n_terms(Dim a);
DimTerm dim_term(Dim a, int k);
Dim dim_of_atom(Ctx *ctx, const DimAtom *a);

/* Facts under which a claim is proved: symbols >= their `least`; the extra facts g >= 0 (conditions first);
 * index symbols lie in 0 .. extent-1. All are conjunctions. */
typedef struct DimIndex {
    DimSym sym;
    Dim extent;
} DimIndex;
typedef struct DimFacts {
    const Dim *when; /* each >= 0 */
    int n_when;
    const DimIndex *index;
    int n_index;
} DimFacts;
/* p >= 0 wherever facts hold? true is certain, false means "not proved" (bounded search; see dim_prove.c). */
bool dim_prove_nonneg(Ctx *ctx, const DimFacts *facts, Dim p);
bool dim_prove_positive(Ctx *ctx, const DimFacts *facts, Dim p);

/* 0 <= e < n at a read: proved, certainly wrong at a corner of a loop that runs, or to be checked at run time. */
typedef enum DimVerdict { DIM_PROVED, DIM_ERROR, DIM_RUN_TIME } DimVerdict;
DimVerdict dim_subscript(Ctx *ctx, const DimFacts *facts, Dim e, Dim n);

/* One line that says why two dims differ; why_a and why_b are the user's texts with facts put in (or NULL).
 * A "; help: ..." tail is split off into *help (may be NULL). */
const char *dim_explain(Ctx *ctx, Dim a, const char *why_a, Dim b, const char *why_b, const char **help);

#endif
