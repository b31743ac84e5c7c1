/* Dividing loops into jobs (parallel_divide.c), for the pass that chooses them (parallel.c). */
#ifndef CNNC_PASSES_PARALLEL_H
#define CNNC_PASSES_PARALLEL_H

#include "passes/pass.h"
#include "passes/vary.h"

typedef struct Parallel {
    Ctx *ctx;
    Arena *arena;
    LoopModule *m;
    LoopFunc *f;
    LoopBody *at; /* the function's body, or that of a `while` or `if` in it */
} Parallel;

/* Loops of one body, in its order, that become one set of jobs. */
typedef struct Together {
    VEC(LoopStmt *) loops;
    bool first; /* the jobs stand where the first of them does, else where the last does */
} Together;

/* Can loop s of the body be divided, and its jobs stand at position `from`, which is not behind it?
 * They compute again what it takes from outside; `loads` receives the loads of that. */
bool parallel_possible(Parallel *z, LoopStmt *s, Arena *scratch, int from, LoopBody *loads);
/* Divides loops for which that was said. What a loop gathers over its iterations is gathered job by
 * job, then over the jobs, where the loop has been. */
LoopStmt *parallel_divide(Parallel *z, const Together *t); /* the jobs */
/* Are they the same memory? What an entry reads and what it returns may be one tensor of an
 * argument under two buffers. */
bool parallel_meet(const LoopFunc *f, BufId a, BufId b);
/* May a statement store to a buffer, or call something with it? */
bool parallel_stores(const LoopFunc *f, const LoopStmt *s, BufId buf);

#endif
