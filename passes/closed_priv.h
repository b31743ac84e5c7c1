/* What closed.c (which rows apply) and closed_part.c (the function that finds the estimate) share.
 */
#ifndef CNNC_PASSES_CLOSED_PRIV_H
#define CNNC_PASSES_CLOSED_PRIV_H

#include "ir/build.h"
#include "passes/closed.h"
#include "passes/rewrite.h"

enum { MOST_PARAMS = 64 }; /* bits of a Deps */
typedef uint64_t Deps;

/* E.loglik or E.logprior with what is known of its values. */
typedef struct Source {
    const Func *f;
    Deps *deps;  /* by value id: the parameters it depends on */
    int *degree; /* in the log densities: 0, 1, or 2 for anything else that parameters reach */
    bool *plain; /* a sum of log densities, each once */
    Val *to;     /* by value id: its copy in the part */
} Source;

/* A value for each coefficient of a family. */
typedef struct Stats {
    Val k[DIST_MOST_STATS];
} Stats;

typedef struct Closing {
    Unit *u;
    Ctx *ctx;
    Module *m;
    const AbiBlock *block;
    Str why;
    ClosedParam *params; /* by number in the block, as are the next */
    Val *theta;          /* what stands for the parameter in the part: no value, only a place */
    Stats *like, *coef;  /* f64; coef: id 0 without prior */
    Val *extreme;
    Func *f; /* the part */
    Val prior;
} Closing;

static inline Str path_of(const Closing *c, int tensor) { return c->block->params.p[tensor].path; }

int closed_single(Deps d); /* the one parameter of a set, or -1 */
/* Adds E.closed to the module, with results numbered in c->params; prior->f NULL: there is none. */
Func *closed_part(Closing *c, int block, Source *like, Source *prior);

#endif
