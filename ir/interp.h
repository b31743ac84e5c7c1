/* The reference interpreter of the graph IR: every real in f64, whatever the type says. It defines
 * the meaning of functions; native code, the loop interpreter and all passes are checked against
 * it. */
#ifndef CNNC_IR_INTERP_H
#define CNNC_IR_INTERP_H

#include "ir/op.h"
#include "ir/rt_call.h"

typedef struct Interp {
    Ctx *ctx;
    Arena *arena; /* of all tensors */
    const Module *m;
    const DimValue *dims; /* values of the running function's dims */
    int n_dims;
    const char *status; /* text of the status that ended the call, or NULL */
    int64_t points;     /* points visited by nests so far */
    LoopCallFn *call;   /* the optimisers of `fit`; NULL: it is an error */
    void *self;
    const Tensor *vals; /* of the running function, by value id: for ops that run it again (vjp) */
    int finer;          /* how often the step of differences (vjp) is halved */
} Interp;

/* Runs f on args (n == f->params.n; shapes must be what the dims say). True and results, or false
 * and in->status (a failed require, a subscript out of range, a dim check). Instructions `vjp` are
 * differentiated numerically (central differences with one Richardson step), so that functions
 * before `ad` have a meaning. */
bool interp_run(Interp *in, const Func *f, const DimValue *dims, int n_dims,
                const Tensor *const *args, Tensor *results);
/* Runs the instructions of f that depend on the values marked in `given` (by id) and define what
 * `until` needs, with vals (by id) holding all values before; vals is updated. */
bool interp_replay(Interp *in, const Func *f, const bool *given, Val until, Tensor *vals);
/* False with a status. */
bool interp_fail(Interp *in, const char *fmt, ...) CNNC_PRINTF(2, 3);
Tensor tensor_new(Arena *arena, DType dt, int rank, const int64_t *shape);
/* A tensor of this type at the running function's dims; false: a status. */
bool interp_tensor(Interp *in, Type t, Tensor *out);
int64_t interp_dim(const Interp *in, Dim d); /* status on failure */

#endif
