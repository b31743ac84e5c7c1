/* What the files of the pass estimate share: a function being built from the parts of an estimator.
 */
#ifndef CNNC_PASSES_ESTIMATE_PRIV_H
#define CNNC_PASSES_ESTIMATE_PRIV_H

#include "ir/build.h"
#include "passes/rewrite.h"

typedef struct Build {
    Unit *u;
    Module *m;
    Func *f;
    const AbiBlock *block;
    Span span;
    Val step; /* number of the step, which random numbers are keyed by; id 0: none */
    const Val
        *theta; /* by number of the block's params: in their place; NULL: the function's params */
} Build;

typedef struct Parts {
    const Func *loglik, *objective, *logprior, *update;
} Parts;

/* An entry with the params, dims and checks of the parts. */
Build est_begin(Unit *u, int block, const Parts *p, const char *suffix, AbiEntryKind kind);
void est_all_params(Build *e);
void est_require_labels(Build *e);
/* The function's param of this role and name, made if it is not there. */
Val est_need_param(Build *e, const Param *like, Type t);

typedef struct Density {
    Val value;            /* what is maximised: loglik + prior * logprior, f64 */
    Val loglik, logprior; /* id 0: there is none */
} Density;
Density est_density(Build *e, const Parts *p);
/* Instructions vjp: cotangents of the w's under that of y, which is 1 (y a scalar). */
const Inst *est_vjp(Build *e, Val y, Val g, const Val *w, int n, Dim lanes);
Val est_one(Build *e);
void est_result(Build *e, Val v, const char *name, ResRole role, int of);
void est_require(Build *e, Val ok, Str message, Span span);

/* The results of a part, whose params exist by role and name. */
Val *est_splice(Build *e, const Func *part);

/* estimate_fit.c: the entry that fits. */
void est_make_fit(Unit *u, int block, const Parts *p);

#endif
