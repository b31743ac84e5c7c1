/* The graph IR: functions of SSA instructions over tensors, in order, without a CFG.
 *
 * Values are ids into their function; a pass keeps its facts in side arrays indexed by id. There is
 * no mutation: updates of parameters and states are extra results. Every instruction has a span. A
 * Func that the outside can call says so by `entry`; the roles of its params and results give the C
 * signature (ir/abi.h). */
#ifndef CNNC_IR_GRAPH_H
#define CNNC_IR_GRAPH_H

#include "ir/abi.h"
#include "ir/nest.h"
#include "ir/type.h"

typedef struct Val {
    uint32_t id; /* 0: none */
} Val;
typedef struct FuncId {
    uint32_t id; /* 0: none */
} FuncId;

struct OpDef;

typedef struct Inst {
    const struct OpDef *op;
    Span span; /* mandatory; survives every rewrite */
    Str name;  /* path of the binding it computes, "LeNet5.C3.conv.bwd.w"; NULL: anonymous */
    int n_args;
    const Val *args;
    int n_results;
    Val first;        /* results are first.id .. first.id + n_results - 1 */
    const void *attr; /* of op's attribute type (Nest for `nest`), immutable; NULL if it has none */
} Inst;

typedef struct ValInfo {
    Type type;
    int inst; /* index of the defining instruction; -1: a param */
    Str name; /* for printing, may be NULL */
} ValInfo;

/* What a function's parameter is, seen from the C entry. Graph passes treat all alike. */
typedef enum Role {
    ROLE_INPUT, /* a formal of a def or model, a `data` of an estimator */
    ROLE_PARAM, /* a learned parameter: a slice of `params` */
    ROLE_STATE, /* a slice of `state` */
    ROLE_OPT,   /* a slice of `opt`; the first is the header i64[2]: element 0 counts steps done */
    ROLE_HYPER,  /* an estimator formal: a field of the hyper struct */
    ROLE_PRIOR,  /* hyper.prior, f64 */
    ROLE_NTOTAL, /* hyper.n_total, i64 as given (0: the number of rows) */
    ROLE_EPOCH,  /* hyper.epoch, i64 */
    ROLE_SEED,   /* hyper.seed, or the seed argument of an init, i64 */
    ROLE_GRAD,   /* only in E.update: gradient of a parameter */
    ROLE_STEP,   /* only in E.update: i64, from 1 */
    ROLE_LOCAL   /* of a function that is not an entry (bodies of batch and fused) */
} Role;

typedef enum ResRole {
    RES_OUT,       /* a def's or model's result, the prediction of one likelihood */
    RES_VALUE,     /* loglik, logprior, objective: f64 scalar */
    RES_LOSS,      /* f64 scalar */
    RES_GRAD,      /* cotangent of the ROLE_PARAM `of` */
    RES_NEW_PARAM, /* updated ROLE_PARAM `of` */
    RES_NEW_STATE,
    RES_NEW_OPT,
    RES_REPORT, /* f64, any shape */
    RES_COV,    /* covariance of all reals of params, of the root's real; only written if asked for */
    RES_INFO,   /* cnnc_fit_info: the first i64[4] method, iterations, observations, where; the second
                   f64[6] loglik, logprior, grad_norm, s2, df, r2 */
    RES_CODE,   /* i32 scalar: what the call returns, 0 or more */
    RES_LOCAL
} ResRole;

typedef struct Param {
    Val val;
    Str name; /* path relative to the entry's block: "x", "z.C1.w" */
    Role role;
    Span span;
    Dim bound;  /* index(K): values lie in 0..K-1; else NULL */
    int tensor; /* ROLE_PARAM STATE OPT: number in the block's tables; ROLE_HYPER: number of the
                   field; else -1 */
} Param;

typedef struct Result {
    Val val;
    Str name;
    ResRole role;
    int of; /* RES_GRAD, RES_NEW_*: index into params of the function (of an init: number in the
               block's table); else -1 */
} Result;

/* A condition on dims that is checked when an entry is called: cond >= 0. */
typedef struct EntryCheck {
    Dim cond;
    Span span;
    Str message; /* "the extent H - 2 is negative" */
} EntryCheck;

typedef struct Func {
    FuncId id;
    Str name; /* "LeNet5.forward", "mnist.loglik", "filter" */
    Span span;
    DType real;      /* of the root: f32 or f64 */
    AbiEntry *entry; /* NULL: not callable from C */
    int block;       /* of the model or estimator (Module.blocks), -1 for defs */
    VEC(DimSym) dims; /* symbolic, in C order; bodies of `batch` have row0 and rows as the last */
    VEC(Param) params;
    VEC(Result) results;
    VEC(EntryCheck) checks;
    VEC(Inst *) insts;
    VEC(ValInfo) vals; /* vals.p[0] is unused */
} Func;

typedef struct Module {
    Ctx *ctx;
    Arena *arena;      /* of all that the module owns */
    Str source;        /* base name of the .cnn file, "lenet5.cnn" */
    VEC(Func *) funcs; /* NULL where removed; funcs.p[id - 1] */
    VEC(AbiBlock *) blocks;
} Module;

Module *graph_module_new(Ctx *ctx, Arena *arena, Str source);
Func *graph_func_new(Module *m, Str name, Span span);
Func *graph_func(const Module *m, FuncId id);
Func *graph_func_named(const Module *m, Str name); /* NULL if there is none */
void graph_func_remove(Module *m, FuncId id);
/* An empty function with the same id-independent facts (name, dims, entry, block, checks, real):
 * what a pass that rebuilds a function starts from. graph_func_replace puts it in the old one's
 * place (same id). */
Func *graph_func_like(Module *m, const Func *f);
void graph_func_replace(Module *m, FuncId id, Func *with);

Val graph_param(Module *m, Func *f, Param p, Type t); /* p.val is set */
void graph_result(Module *m, Func *f, Result r);
/* Appends an instruction; its result types come from the op's type rule (attr and args given). */
Inst *graph_inst(Module *m, Func *f, const struct OpDef *op, const Val *args, int n_args,
                 const void *attr, Span span, Str name);
/* The same with the result types given. */
Inst *graph_inst_typed(Module *m, Func *f, const struct OpDef *op, const Val *args, int n_args,
                       const void *attr, Span span, Str name, const Type *types, int n_results);
static inline Val inst_result(const Inst *i, int k) { return (Val){i->first.id + (uint32_t)k}; }
Type graph_type(const Func *f, Val v);
/* The instruction that defines v, or NULL for a param. */
Inst *graph_def(const Func *f, Val v);
/* How often each value is used by instructions and results; an array indexed by id, in arena. */
int *graph_uses(Arena *arena, const Func *f);

/* Appends a nest: type dt and shape of the result are given, operands are args. */
Val graph_nest(Module *m, Func *f, const Nest *n, const Val *args, int n_args, DType dt,
               const Dim *shape, Span span, Str name);

/* Copying with renamed values: map[old id] = new value; unmapped args are an internal error. */
typedef struct ValMap {
    Val *to; /* indexed by old id */
} ValMap;
ValMap valmap_new(Arena *arena, const Func *from);
Inst *graph_copy_inst(Module *m, Func *dst, const Func *src, const Inst *i, ValMap *map);
/* Copies params, with their values mapped. */
void graph_copy_params(Module *m, Func *dst, const Func *src, ValMap *map);
void graph_copy_results(Module *m, Func *dst, const Func *src, const ValMap *map);
/* Copies the body of src into dst with src's params bound to args (n == src->params.n, dims of src
 * substituted by bindings); outs receives src's results in order. Names are prefixed by `prefix`
 * and a dot unless NULL. */
void graph_splice(Module *m, Func *dst, const Func *src, const Val *args,
                  const DimBinding *bindings, int n_bindings, Str prefix, Val *outs);

/* graph_print.c, graph_read.c: the complete text; reading what was printed and printing again gives
 * the same text. Values are renumbered in order when printing. Errors are diagnostics E07xx with
 * line and column; NULL then. */
void graph_print(StrBuf *sb, const Module *m);
void graph_print_func(StrBuf *sb, const Module *m, const Func *f);
void graph_dot(StrBuf *sb, const Module *m); /* a drawing, for Graphviz */
Module *graph_read(Ctx *ctx, Arena *arena, uint32_t file);

/* graph_verify.c: the first broken invariant as text, or NULL. */
const char *graph_verify(const Module *m);

#endif
