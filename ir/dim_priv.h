/* Inside of dims, for dim.c and dim_prove.c. */
#ifndef CNNC_IR_DIM_PRIV_H
#define CNNC_IR_DIM_PRIV_H

#include "ir/dim.h"

struct DimPoly {
    int n;
    DimTerm *terms; /* by descending monomials */
    Str text;       /* made on first use */
};

typedef struct AtomNode {
    DimAtom atom; /* first: a DimAtom pointer is an AtomNode pointer */
    const char *text;
} AtomNode;

enum { FEW_TERMS = 12 };

/* A sum being built; not to be moved. Few terms lie in it: memory of the context would stay behind, for millions of sums. */
typedef struct Terms {
    VEC(DimTerm) v;
    bool overflow;
    DimTerm few[FEW_TERMS];
} Terms;

static inline const char *atom_text(const DimAtom *a) { return ((const AtomNode *)a)->text; }
int atom_compare(const DimAtom *a, const DimAtom *b);
void terms_add(Ctx *ctx, Terms *t, DimTerm term);
void terms_add_poly(Ctx *ctx, Terms *t, Dim a, int64_t k);
Dim poly_of(Ctx *ctx, Terms *t);
bool mono_div(Ctx *ctx, const DimTerm *m, int n, const DimAtom *const *by, DimTerm *out);
int64_t floor_div(int64_t a, int64_t b);

#endif
