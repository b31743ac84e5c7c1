/* What sym.c and sym_rewrite.c share. */
#ifndef CNNC_DRIVER_SYM_PRIV_H
#define CNNC_DRIVER_SYM_PRIV_H

#include "driver/sym.h"

typedef struct SymList {
    SymCtx *c;
    VEC(Sym) e;
    bool bad; /* one of them is NULL */
} SymList;

void symlist_put(SymList *l, Sym e);
void symlist_factors(SymList *l, Sym e);
Sym sym_node(SymCtx *c, SymNode n, const Sym *kids); /* as it is; NULL past the limit */
Sym sym_sum_of(SymCtx *c, const Sym *terms, int n);  /* in normal form */
double sym_coefficient(Sym e); /* the number before it, 1 where there is none */
bool sym_is_call(Sym e, ScalarOp op);

#endif
