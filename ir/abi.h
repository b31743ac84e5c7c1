/* What the outside sees of a compiled module: blocks of parameters, C entries and their arguments. Made by the
 * front end, carried through both IRs, read by the code generator (header, manifest, entry code) and the driver. */
#ifndef CNNC_IR_ABI_H
#define CNNC_IR_ABI_H

#include "ir/type.h"

typedef enum AbiKind { /* kinds of the language; the storage type stands in the tensor's Type */
    KIND_REAL, KIND_INT, KIND_BOOL, KIND_INDEX, KIND_PROB, KIND_POSITIVE, KIND_INTERVAL, KIND_SIMPLEX, KIND_ORDERED, KIND_CHOLESKY
} AbiKind;

/* `when` with a table of bools: which elements of a parameter are learned, the others are held. The table speaks
 * of some of its axes and holds for all elements of the others. */
typedef struct AbiMask {
    int rank;
    const int *axis;       /* of the parameter, for each axis of the table; distinct */
    const int64_t *extent; /* of them */
    int64_t n, n_learned;
    const bool *learned; /* n, row-major */
} AbiMask;

/* One tensor of `params`, `state` or `opt`, in declaration order. */
typedef struct AbiTensor {
    Str path;    /* relative to the block: "C1.w" in LeNet5, "z.C1.w" in mnist */
    Str cname;   /* macro suffix: "C1_W" */
    Type type;   /* dims in the symbols of the block */
    AbiKind kind;
    double lo, hi; /* KIND_INTERVAL */
    Span span;
    Dim learned; /* free reals that are learned (a const mask leaves some out) */
    const AbiMask *mask; /* NULL: all elements are learned */
    Dim offset;  /* elements before it in its array (opt: bytes) */
} AbiTensor;

typedef struct AbiFormal { /* a field of the hyper struct */
    Str name;
    bool is_int;
    double value; /* default */
    AbiKind kind;
    Span span;
} AbiFormal;

typedef struct AbiData { /* an input of an estimator or model, for the driver */
    Str name;
    Type type;
    AbiKind kind;
    Dim bound; /* index(K) */
    Span span;
} AbiData;

typedef struct AbiSub { /* the call of a model inside a block */
    Str path, cname;   /* "z", "Z" */
    Str model;         /* "LeNet5" */
    Dim offset, state_offset;
} AbiSub;

typedef struct AbiUsing { /* training: `using adam(batch = 64, epochs = 20)` */
    bool present;
    Str optimizer;
    int64_t batch, epochs;
    DimSym rows; /* the batch dim */
} AbiUsing;

/* The posterior of a parameter under a closed form: values of the entry that gives them. */
typedef struct AbiPosterior {
    int tensor; /* number in params */
    Str family; /* "Beta" */
    int n_values;
} AbiPosterior;

typedef struct AbiFit { /* of an exact estimator, set by `estimate` */
    bool present;
    Str rule;  /* "beta.bernoulli"; NULL: no closed form is used */
    int scale; /* number in params of the free scale of least squares; -1: none, or it is known */
    VEC(AbiPosterior) posteriors;
} AbiFit;

typedef struct AbiBlock {
    Str name;  /* "LeNet5" */
    Str cname; /* "lenet5" */
    Str doc;   /* or NULL */
    bool is_estimator;
    bool has_prior, is_minimize;
    Span span;
    DType real;
    VEC(DimSym) dims;
    VEC(AbiTensor) params, states, opts;
    VEC(AbiFormal) formals;
    VEC(AbiData) data;
    VEC(Str) reports;
    /* A called model's parameters are contiguous in its caller's: macro MNIST_Z. */
    VEC(AbiSub) subs;
    AbiUsing using_;
    Dim observations; /* elements of the log likelihood; NULL: not known */
    AbiFit fit;
} AbiBlock;

typedef enum AbiEntryKind {
    ENTRY_DEF, ENTRY_FORWARD, ENTRY_INIT, ENTRY_LOSS_GRAD, ENTRY_STEP, ENTRY_REPORT, ENTRY_PREDICT, ENTRY_LOGP, ENTRY_GRAD, ENTRY_FIT, ENTRY_POSTERIOR
} AbiEntryKind;

typedef enum AbiArgKind {
    ARG_EXEC, ARG_HYPER, ARG_DIM, ARG_SEED, ARG_SCALAR, ARG_INPUT, ARG_PARAMS, ARG_STATE, ARG_OPT, ARG_OUT, ARG_LOSS, ARG_GRAD, ARG_VALUES, ARG_LOGP, ARG_COV, ARG_INFO, ARG_WORK
} AbiArgKind;

/* One C argument. ARG_PARAMS, ARG_STATE, ARG_OPT, ARG_GRAD, ARG_VALUES stand for several tensors one after the other. */
typedef struct AbiArg {
    AbiArgKind kind;
    Str name;
    DType dt;      /* element type (ARG_SCALAR: bool i32 -> int64_t by value, reals -> double; ARG_OPT: none) */
    bool is_const; /* pointer to const */
    Dim bytes;     /* of the object it points to, for the NULL and overflow checks; NULL for scalars */
    DimSym dim;    /* ARG_DIM */
    Span span;
} AbiArg;

typedef struct AbiEntry {
    AbiEntryKind kind;
    Str cname; /* "lenet5_forward" */
    Str decl;  /* "LeNet5", "mnist", "filter": the declaration in the source */
    Str doc;
    Span span;
    VEC(AbiArg) args; /* in C order; made by abi_signature */
    Dim work_bytes;   /* exact, set by `plan`; alignment slack included */
} AbiEntry;

bool abi_is_held(const AbiTensor *t, const int64_t *at); /* at: subscripts of an element */
const char *abi_arg_ctype(const AbiArg *a); /* "const float *", "int64_t" */
Str abi_lower(Ctx *ctx, Str name);          /* lower case */
Str abi_upper(Ctx *ctx, Str path);          /* "C1.w" -> "C1_W" */

/* ---- abi_names.c */
/* What a C function may not be called: "a keyword of C", "a name of C's library"; NULL: the name is free. */
const char *abi_taken(Ctx *ctx, const char *name);
/* As a dim or argument, and as a field of a hyper struct: `_` is added to what C or cnnc itself calls so. */
const char *abi_ident(Ctx *ctx, const char *name);
const char *abi_field(Ctx *ctx, const char *name);

/* A size or offset that a header has for a block: a macro where it is constant, else a function of the dims. */
typedef struct AbiSize {
    Str name; /* "LENET5_C1_W"; "ridge_sigma_offset" */
    Dim value;
    bool is_macro;
    const AbiTensor *tensor; /* whose offset it is, or NULL */
    const char *suffix, *comment;
} AbiSize;
typedef VEC(AbiSize) AbiSizes;
AbiSizes abi_sizes(Ctx *ctx, Arena *arena, const AbiBlock *b);

#endif
