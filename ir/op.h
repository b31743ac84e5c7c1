/* Operations of the graph IR: one stanza each in ir/ops/, listed in ops.def. */
#ifndef CNNC_IR_OP_H
#define CNNC_IR_OP_H

#include "ir/graph.h"

typedef enum OpFamily {
    FAM_NEST,
    FAM_SHAPE,
    FAM_INDEX,
    FAM_RANDOM,
    FAM_LINALG,
    FAM_CONTROL,
    FAM_DENSITY
} OpFamily;

enum {
    OPF_PURE = 1,   /* same operands, same value: cse may share it, dce may drop it */
    OPF_EFFECT = 2, /* may end the call with a status: never dropped, order kept */
    OPF_FUNCS = 4,  /* attr names functions of the module */
    OPF_VIEW = 8,   /* the result is the operand's memory under another shape */
    OPF_TEXT = 16,  /* the text of the attribute names the operands too */
    OPF_MOVES = 32  /* every element of the result is one of operand 0's */
};

enum { MAX_RESULTS = 1024 }; /* of one instruction */

/* A tensor of the reference interpreter: reals in f, ints and bools in i (one of them is NULL). */
typedef struct Tensor {
    DType dt;
    int rank;
    int64_t shape[MAX_RANK];
    int64_t count;
    double *f;
    int64_t *i;
} Tensor;

struct Interp;
struct LowerBuilder;
struct OpDef;

/* An instruction of f to be repeated for `lanes` values of some operands: args are its operands,
 * those marked in wide with one more axis, the last, of that extent. */
typedef struct SpreadCall {
    Module *m;
    Func *f;
    const Inst *inst;
    const Val *args;
    const bool *wide;
    Dim lanes;
} SpreadCall;
struct IrReader;

typedef struct OpDef {
    const char *name;
    int n_args; /* -1: any number */
    OpFamily family;
    unsigned flags;
    const char *doc;
    /* Result types from operands and attribute; returns an error text or NULL. out has room for
     * MAX_RESULTS. A NULL rule: the types are given where the instruction is made (graph_nest,
     * graph_inst_typed). */
    const char *(*type)(Module *m, const Func *f, const Val *args, int n_args, const void *attr,
                        Type *out, int *n_out);
    /* Appends what computes the cotangents: g[k] of result k (id 0: zero). acc[j] is the cotangent
     * that operand j has already (id 0: none; the same for operands that are the same value); d[j]
     * receives the new total, which includes acc[j]. An operand that stands twice has one total in
     * both places. NULL: no derivative. */
    void (*vjp)(Module *m, Func *f, const Inst *i, const Val *g, const Val *acc, Val *d);
    /* Appends what computes the results for all lanes at once: out[k] is result k with the axis of
     * lanes last. False: not where these operands are wide. NULL: never. */
    bool (*spread)(const SpreadCall *s, Val *out);
    /* The reference meaning, f64; false: a run-time status with a message in the interpreter. */
    bool (*eval)(struct Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                 Tensor *out);
    /* Appends loops (ir/lower.h); NULL for ops that an earlier pass removes. */
    void (*lower)(struct LowerBuilder *lb, const Inst *i);
    /* The attribute, "{...}", and what reads it; NULL: none. */
    void (*print)(StrBuf *sb, const Module *m, const Func *f, const Inst *i);
    const void *(*read)(struct IrReader *r);
    /* Substitutes dims in the attribute (splice, batch); NULL: it holds none. */
    const void *(*subst)(Ctx *ctx, const void *attr, const DimBinding *b, int n);
    /* What the type rule does not say: the first broken invariant or NULL. May be NULL. */
    const char *(*verify)(const Module *m, const Func *f, const Inst *i);
    /* Appends to m a function without params that are not its samples' inputs: generated tests. n:
     * sample number; returns NULL when there are no more. */
    Func *(*sample)(Module *m, int n);
} OpDef;

#define OP(name) extern const OpDef op_##name;
#include "ir/ops.def"
#undef OP

const OpDef *op_named(Str name);
const OpDef *const *op_all(int *n);

/* ---- attributes */

typedef struct ConstAttr { /* const: a tensor of the program text */
    Type type;             /* constant shape */
    const ScalarValue *values;
} ConstAttr;

/* reshape(x): same count, row-major */
typedef struct ReshapeAttr {
    Type type;
} ReshapeAttr;

/* gather(x, i): out[r.., s.., t..] = x[i[s..], r.., t..], i an int tensor of shape s.., r.. the
 * `at` axes after the first of x. A subscript out of range ends the call with a status.
 * scatter_add(x, i, u): x with u[r.., s.., t..] added to x[i[s..], r.., t..], in row-major order of
 * s. */
typedef struct GatherAttr {
    int at;
} GatherAttr;

/* pick(x, seed): k rows of x [n, ..] to start a clustering from, [k, ..] (k-means++, Arthur and
 * Vassilvitskii 2007) */
typedef struct PickAttr {
    Dim k;
    int64_t site;
} PickAttr;

/* cholesky(a): lower factor of the symmetric part (a + a')/2. trisolve(l, b), l lower: x of l x =
 * b, or of l' x = b; b of rank one less than l is a vector. solve(a, b) likewise. lstsq(a, b): x of
 * least |a x - b|. Leading axes are a batch. */
typedef struct TriAttr {
    bool transposed;
} TriAttr;

typedef struct CallAttr { /* call(args...) */
    FuncId func;
} CallAttr;

/* vjp(y, g, w1..wn) -> cotangents of w1..wn: y must depend on values before it. With lanes, g holds
 * that many cotangents along its last axis, and so do the results: rows of a Jacobian. */
typedef struct VjpAttr {
    int n_wrt;
    Dim lanes; /* or NULL */
} VjpAttr;

/* fit(u, ends, args...): the point that is best for what the body makes of (u, args...). u: f64[p];
 * ends: i64[p], bit 0 (1): u -> -inf (+inf) is an end of a bounded kind. Results: the point, i64[16]
 * ctl, f64[2] of the method's state (runtime/rt_fit.h), the covariance f64[p, p] where the method
 * has one, and the body's results at the point. The body yields
 *     newton: f64 f, f64[p] gradient, f64[p, p] Hessian;  lbfgs: f, gradient    (f is maximised)
 *     point: as newton, at a point that is known to be best: no step is made
 *     lsq, lm: f64[n, p + 1], a row [d mean / d u, observation - mean] of each residual; lsq: the
 *     mean is affine in u; the covariance is then that of unit scale
 * and after these whatever else is wanted at the point. */
typedef enum FitMethod { FIT_NEWTON, FIT_LBFGS, FIT_LSQ, FIT_LM, FIT_AT } FitMethod;

/* Rows from which a fit by Newton begins with a part of them, and leaves out the evaluation after its
 * last step (passes/to_loops_fit.c): |grad| is a bound then. */
enum { FIT_MANY_ROWS = 1 << 15 };

typedef struct FitAttr {
    FuncId body;
    FitMethod method;
    Dim rows; /* lsq, lm: residuals that count (n of n - p); else NULL */
    int64_t limit; /* most evaluations; 0: the optimiser's own */
} FitAttr;

enum { FIT_CTL_SIZE = 16, FIT_CTL_STOP = 14, FIT_CTL_LIMIT = 15, FIT_STATS_SIZE = 2 };
enum { FIT_POINT, FIT_CTL, FIT_STATS, FIT_COV }; /* numbers of results */

typedef struct FitMethodDef {
    const char *name; /* of the runtime function too */
    const char *cov;  /* what computes the covariance; NULL: nothing does */
    int n_results;    /* of the body that the runtime functions take */
    bool has_ends, is_squares;
    int64_t square, linear, constant; /* doubles of state: square*w*w + linear*w + constant */
} FitMethodDef;

const FitMethodDef *fit_method(FitMethod m);
Dim fit_state_size(Ctx *ctx, FitMethod m, Dim p); /* of p parameters; NULL: overflow */
static inline int fit_first(FitMethod m) { return FIT_COV + (fit_method(m)->cov != NULL); } /* of the body */

typedef enum RandomKind { /* [0, 1), N(0, 1), 0..k-1 */
                          RANDOM_UNIFORM,
                          RANDOM_NORMAL,
                          RANDOM_INT
} RandomKind;

typedef struct RandomAttr { /* random(seed, step): i64 scalars -> shape */
    RandomKind kind;
    int64_t site; /* number of the call site: part of the key */
    Dim k;        /* RANDOM_INT */
    Dim row0;     /* added to the first index when counting (0 outside batch) */
    int row_axis; /* axis that counts rows, 0; last in batch bodies */
    Type type;
} RandomAttr;

typedef struct RequireAttr { /* require(bool scalar): else the call ends with a status */
    Str message;
    Span span; /* whose line the status text names */
} RequireAttr;

/* density(x, p1, ..) -> log density, real, of type; form: which of the alternative parameters */
typedef struct DensityAttr {
    const struct DistDef *dist;
    int form;
    Type type;
} DensityAttr;

typedef enum BatchArg { BATCH_CUT, BATCH_WHOLE, BATCH_SLICE, BATCH_ROWS } BatchArg;
typedef enum BatchRes { BATCH_CAT, BATCH_SUM, BATCH_SLICES } BatchRes;

/* batch(args...): calls body once a slice of `rows` rows of dim `n`. A CUT operand [n, ...] arrives
 * as [..., rows] (row axis last, rows past the end are 0), a ROWS operand as [rows, ...], CAT results [..., rows] leave as [n,
 * ...], SUM results are added in slice order within each of `groups` groups of consecutive slices,
 * then over groups in their order (see docs/internals.md). What only batches read stays in slices:
 * SLICES results [..., rows], which are 0 in rows past the end, are stacked to [ceil(n / rows), ...,
 * rows], and a SLICE operand is one of that stack. The body's last two dims are row0
 * (first row) and rows (valid rows of this slice). Where there is a body `one` for a single row, in which the axis of
 * rows is missing, calls with n < below run that, row by row (BATCH_ALWAYS: all calls do); all its results are CAT. Where there
 * is a body `all`, calls with
 * above <= n run that, once, on whole operands. */
#define BATCH_ALWAYS INT64_MAX

typedef struct BatchAttr {
    FuncId body, one, all;
    int64_t below, above;
    Dim n;
    int64_t rows, groups;
    int n_args, n_results;
    const BatchArg *args;
    const BatchRes *results;
} BatchAttr;

typedef struct FusedAttr { /* fused(args...): one loop structure for several nests */
    FuncId body;
} FusedAttr;

#endif
