/* Elaboration: a definition is checked and lowered once a call, specialised to what the call knows.
 *
 * Expressions become Values. What is known when compiling stays outside the IR (dims, numbers,
 * bools, texts, lists); the rest is a Node, a tensor that is not computed yet: a tree of
 * elementwise operations, views, comprehensions and reductions over the function's values.
 * elab_gen.c turns a tree into as few nests as it can: one for everything elementwise, one more for
 * each reduction.
 *
 * An axis has two dims: `name` in the symbols of the definition (decides broadcasting) and `value`
 * in the symbols of the root (decides equality). An error yields V_ERROR, about which everybody
 * stays silent. */
#ifndef CNNC_FRONTEND_ELAB_H
#define CNNC_FRONTEND_ELAB_H

#include "base/diag.h"
#include "frontend/ast.h"
#include "frontend/frontend.h"
#include "ir/graph.h"
#include "ir/op.h"

enum { LANG_RANK = 8, NODE_KIDS = 5 }; /* axes of a tensor of the language */

typedef struct Axis {
    Dim name, value;
    const char *why; /* how the value came about, "(28 + 0 - 4) // 1 + 1"; NULL: nothing to add */
} Axis;

typedef enum NodeKind {
    N_LEAF,    /* val */
    N_DATA,    /* data: a constant tensor of the program */
    N_CONST,   /* k, in every cell */
    N_DIM,     /* dim, i64 */
    N_OP,      /* op of kids; axis a of kid j is axis map[j][a] of the node */
    N_CAST,    /* kid[0] as dt, same axes */
    N_VIEW,    /* kid[0] at forms of own axes at[]; fill k outside if has_fill */
    N_FOR,     /* axes of the indices at[], then those of kid[0] */
    N_REDUCE,  /* kid[0] without the axes in reduced */
    N_DENSITY, /* log density of kid[0] under dist with the other kids; maps as of N_OP */
    N_GATHER   /* kid[0] (a leaf): rows: row kid[1] of its first axis; else element kid[1] in
                  row-major order */
} NodeKind;

typedef struct Node Node;
typedef struct DistValue DistValue;
struct Node {
    NodeKind kind;
    DType dt;
    int rank;
    Axis *axes;
    Dim bound;     /* values lie in 0..bound-1, or NULL */
    uint64_t open; /* enclosing indices it depends on, by their place in Elab.loops */
    Span span;
    Val val; /* N_LEAF; else where it was computed already */
    ScalarValue k;
    const ScalarValue *data;
    Dim dim;
    ScalarOp op;
    int n_kids;
    Node *kid[NODE_KIDS];
    int map[NODE_KIDS][LANG_RANK];
    const DistValue *dist;
    DimSym *at;
    int n_at;
    Dim *form;
    bool has_fill;
    NestOpKind red;
    unsigned reduced;
    bool wide; /* Nest.wide */
    bool rows;
};

typedef enum ValueKind {
    V_ERROR,
    V_NODE,
    V_DIM, /* an int of the compiler: constant, dim, index, and formulas of them */
    V_REAL,
    V_BOOL,
    V_STRING,
    V_LIST, /* items, not all of which need have one kind */
    V_INIT, /* glorot, he or pick: an initial value */
    V_DIST  /* a distribution with its parameters */
} ValueKind;

typedef struct Value Value;
typedef struct InitValue InitValue;
struct Value {
    ValueKind kind;
    Span span;
    Node *node;
    Dim name, dim; /* V_DIM */
    Dim bound;     /* V_DIM: kind index(bound) */
    const char *why;
    double real;
    bool truth;
    Str text;
    Value *items;
    int n_items;
    const DistValue *dist;
    const InitValue *init;
};

struct InitValue {
    enum { INIT_GLOROT, INIT_HE, INIT_PICK } kind;
    Value fan_in, fan_out, gain; /* pick: x, K */
    Span span;
};

struct DistValue {
    const struct DistDef *def;
    Str name;
    int form; /* which of the alternative parameters */
    Value args[8];
    int n_args;
    const DistValue *inner; /* Weighted */
    Span span;
};

/* What a type expression says. */
typedef struct Declared {
    AbiKind kind;
    DType dt;
    bool has_shape;
    int rank;
    Axis axes[LANG_RANK];
    Dim bound; /* index(K) */
    double lo, hi;
    bool bad;
    Span span;
} Declared;

typedef enum BindKind {
    B_LOCAL,
    B_FORMAL,
    B_DIM,
    B_INDEX,
    B_PARAM,
    B_STATE,
    B_DATA,
    B_CONST
} BindKind;

typedef struct Binding {
    Str name;
    BindKind kind;
    Value v;
    Span span;
    Val leaf;       /* the tensor that grad( , name) means; id 0: none */
    bool from_data; /* computed from data alone */
    int param;      /* B_PARAM, B_STATE: number in the run's table; else -1 */
} Binding;

/* The items of one source text, what it imports, and its name if it is the library. */
typedef struct Lib Lib;
typedef struct ConstMemo {
    const Item *item;
    enum { CONST_NEW, CONST_BUSY, CONST_DONE } state;
    Value v;
    Func *func; /* whose nodes v may hold */
} ConstMemo;
typedef struct Import {
    Str as;   /* or NULL */
    Lib *lib; /* NULL: it could not be read, and its names are not reported as unknown */
} Import;
struct Lib {
    const AstFile *ast;
    bool is_prelude, lacks_import;
    VEC(Import) imports;
    VEC(ConstMemo *) consts;
};

/* One call of a definition that is being elaborated. */
typedef struct Frame Frame;
typedef struct BoundCall {
    Str name;
    Frame *frame;
} BoundCall;
struct Frame {
    Frame *caller;
    const Item *item;
    Lib *lib;
    Span call;   /* the callee's name at the call */
    Str path;    /* of parameters: "z.C1", or "" */
    Str label;   /* of instructions: "LeNet5.C3.conv" */
    Str binding; /* the binding being computed, or NULL */
    VEC(Binding) names;
    VEC(DimBinding) back; /* own symbol -> dim in the caller's symbols */
    bool shared;          /* uses the parameters of an earlier call: `share = z` */
    VEC(BoundCall) calls; /* of models, for share */
    int loops;            /* of Elab.loops when it was called */
    Value result;
    bool returned;
};

/* A learned parameter, state or optimizer state met so far. */
typedef struct Slot {
    Str path, cname;
    Type type;
    AbiKind kind;
    double lo, hi;
    Span span;
    Val val;           /* in the function being elaborated */
    Node *leaf, *node; /* the tensor, and what the name means: masked, or updated */
    Node *init;        /* initial value, masked */
    Node *next;        /* state after `:=`, or NULL */
    Node *mask;        /* const bools of `when`, by name; or NULL */
    Dim learned;
    const AbiMask *held; /* the same, by number of the axis; or NULL */
    const Frame *frame; /* the call that declared it */
    Str name;
} Slot;

typedef struct LoopIndex {
    DimSym sym;
    Dim extent; /* in the root's symbols */
} LoopIndex;

typedef struct SubMark { /* a bound call of a model, and the first of its params and states */
    Str path, model;
    int param, state;
} SubMark;

typedef struct Elab {
    Ctx *ctx;
    Arena *arena;
    const LowerOptions *o;
    Module *m;
    Func *f; /* being filled */
    DType real;
    bool training; /* the value of `training` */
    Lib *file, *prelude;
    VEC(Lib *) libs;
    VEC(const Item *) broken; /* calls of these stay silent */
    Frame *frame;
    VEC(LoopIndex) loops;
    VEC(Dim) when;  /* facts of enclosing conditions, each >= 0 */
    int conditions; /* enclosing conditions of the same definition tree */
    int depth;      /* of calls */
    VEC(Slot) params, states;
    VEC(SubMark) subs;
    const Node *step, *epoch; /* values of the names, or NULL where they have none */
    Val seed, rng_step;
    const Frame *wide; /* whose sums accumulate in f64: a report's or minimize's */
    int64_t sites;
    bool in_place; /* scalars are computed where they are used */
    int n_nodes;    /* of this declaration so far */
    bool overlong;  /* that was too many: nothing more is expanded */
    bool oversized; /* a tensor of too many elements was reported: what is made of it, is not */
    bool in_model; /* calls of models are allowed */
} Elab;

/* ---- elab.c: names and messages */
Elab *elab_new(Ctx *ctx, Arena *arena, const AstFile *file, const LowerOptions *o);
/* An error about the user's text. Inside the library the place is that of the user's call. A second
 * error of the same code at the same place is dropped. */
Diag *elab_error(Elab *e, const char *code, Span span, const char *fmt, ...) CNNC_PRINTF(4, 5);
const char *elab_count(Elab *e, int n, const char *one, const char *many); /* "2 axes" */
const char *elab_number(Elab *e, double x);                              /* "-0.1" */
Span elab_span(const Elab *e, Span span); /* the user's place for it */
Str elab_label(const Elab *e);
const Item *elab_function(Elab *e, const Lib *lib, const Path *path, Lib **where);
Binding *elab_lookup(Frame *fr, Str name);
/* A value of the file level or a predefined one; V_ERROR after its message where there is none. */
Value elab_global(Elab *e, const Expr *name);
Binding *elab_bind(Elab *e, Name name, BindKind kind, Value v);
int elab_kinds(const char **names, int max);
int elab_values(const char **names, int max);   /* predefined ones */
int elab_builtins(const char **names, int max); /* names of functions that are not of the prelude */

/* ---- elab_unknown.c: messages about names, with what may have been meant */
const char *elab_suggest_value(Elab *e, Str name);
const char *elab_suggest_function(Elab *e, Str name);
/* first_is_value: the path's first name is a value, as far as the caller knows. */
void elab_unknown_function(Elab *e, const Path *path, bool first_is_value);
void elab_unknown_value(Elab *e, const Path *path, Span at, const char *const *known, int n);
void elab_unknown_argument(Elab *e, const Name *name, const char *callee, const char *const *names);
/* It may come from an import that could not be read: nothing is said. */
bool elab_may_be_imported(const Elab *e, const Path *path);
const char *elab_path_text(Elab *e, const Path *path);
bool elab_is_builtin(Str name);
const char *elab_builtin_doc(const char *name); /* NULL if it is none */

/* ---- elab_node.c: values and nodes */
Value value_error(void);
Value value_node(Node *n);
Value value_dim(Dim name, Dim dim, Span span);
Value value_int(Elab *e, int64_t k, Span span);
Value value_real(double x, Span span);
Value value_bool(bool b, Span span);
bool value_const(const Value *v, double *out); /* a number known now */
bool value_int_const(const Value *v, int64_t *out);
Node *node_new(Elab *e, NodeKind kind, DType dt, int rank, const Axis *axes, Span span);
Node *node_leaf(Elab *e, Val v, const Axis *axes, Span span);
Node *node_const(Elab *e, DType dt, double x, Span span);
Node *node_fill(Elab *e, Node *scalar, int rank, const Axis *axes); /* a scalar in every cell */
Node *node_dim(Elab *e, Dim d, Span span);
Node *node_cast(Elab *e, DType to, Node *n);
Node *node_op1(Elab *e, ScalarOp op, Node *a, Span span);
/* Kids have been made one type and shape; the largest gives the axes (maps by node_align). */
Node *node_op(Elab *e, ScalarOp op, Node *const *kids, int n, DType dt, Span span);
Node *node_for(Elab *e, const LoopIndex *idx, const Axis *axes, int n, Node *body, Span span);
Node *node_reduce(Elab *e, NestOpKind red, Node *n, unsigned axes, Span span);
/* Number, dim, bool or list as a node; a real constant takes dt `want` (DT_NONE: the root's real).
 * NULL after an error. */
Node *node_of(Elab *e, const Value *v, DType want);
DType node_join(Elab *e, DType a, DType b); /* bool < int < real; f32 < f64 */
/* Rule 4: how the smaller of two shapes lies in the larger: map[axis of small] = axis of large;
 * false after a message at `op`. */
bool node_align(Elab *e, const Node *small, const Node *large, int *map, Span op, const char *what,
                bool swapped);
void node_sides(Elab *e, Diag *d, const Node *l, const Node *r); /* labels: where the shapes come from */
uint64_t node_dim_open(const Elab *e, Dim d);
const char *axes_text(Elab *e, const Axis *axes, int rank); /* "[N, 6, 24, 24]" */
const char *axes_names(Elab *e, const Axis *axes, int rank);
const char *value_what(Elab *e, const Value *v); /* "a real of shape [N]" */
void axes_copy(Axis *to, const Axis *from, int n);
Axis axis_dim(Dim name, Dim value);
Dim dim_or_error(Elab *e, Dim d, Span span); /* reports overflow */

/* ---- elab_gen.c: nodes become instructions */
Val gen_value(Elab *e, Node *n); /* computes it; the node remembers */
Node *
gen_settle(Elab *e,
           Node *n); /* computed unless it is cheap to repeat (a leaf, view, constant) or open */
Node *gen_leaf(Elab *e, Node *n); /* computed, as a leaf */

/* ---- elab_expr.c */
Value elab_expr(Elab *e, const Expr *x);
Value elab_binary(Elab *e, AstOp op, Value a, Value b, Span at, Span whole);
Value elab_scalar_call(Elab *e, ScalarOp op, Value *args, int n, Span span, Span at);
Value elab_select(Elab *e, Value c, Value a, Value b, Span at);
/* Converts to a declared type: widening, filling, shape equality. `at`: the place of a mismatch. */
Value elab_convert(Elab *e, Value v, const Declared *d, Span at, const char *what);
bool elab_dim_value(Elab *e, const Expr *x,
                    Value *out); /* an int known when compiling; false after a message */

/* ---- elab_type.c */
/* The user's text of a dim with the facts put in, if that says more than its value; else NULL. */
const char *elab_why(Elab *e, const Expr *x, Dim value);
Declared elab_type(Elab *e, const TypeExpr *t);
/* Of a declaration of v: `...` stands for the axes of v before the declared ones. */
Declared elab_type_of(Elab *e, const TypeExpr *t, const Value *v);
/* Dims of the definition that have no value yet and stand alone, or with a factor, in an axis of t
 * get theirs. */
bool elab_bind_axes(Elab *e, const TypeExpr *t, const Axis *actual, int rank, Span at,
                    const char *what);

/* ---- elab_index.c */
Value elab_index(Elab *e, const Expr *x);
void elab_check(Elab *e, Dim cond, Span span, const char *fmt, ...)
    CNNC_PRINTF(4, 5); /* cond >= 0, at the C entry */
DimFacts elab_facts(Elab *e);
bool elab_extent(Elab *e, Dim extent,
                 Span at); /* extent >= 0: proved, checked or (false) an error */
void elab_condition_facts(Elab *e, const Expr *c, bool holds);

/* ---- elab_call.c, elab_builtin.c, elab_linear.c */
Value elab_call(Elab *e, const Expr *x);
Frame *elab_frame(Elab *e, const Item *item, Lib *lib, Span call);
Value elab_run(Elab *e, Frame *fr); /* body of a def or model whose formals are bound */
bool elab_builtin(Elab *e, const Expr *x, Value *out);   /* false: no such builtin */
bool elab_reduction(Elab *e, const Expr *x, Value *out); /* elab_reduce.c */
void elab_no_axis(Elab *e, const Node *x, const Value *v, Span at); /* v: the number that was given */
Node *elab_op2(Elab *e, ScalarOp op, Node *a, Node *b, Span at);
Node *elab_truth(Elab *e, Node *x, unsigned axes, bool all, Span at);
bool elab_special(Elab *e, const Expr *x, Value *out); /* grad and others: elab_grad.c */
Val elab_vjp(Elab *e, Val y, Val g, Val w, Span at); /* of y with respect to w, for the cotangent g */
/* Matches arguments to names (NULL-terminated); required: how many must be there. False after a
 * message. */
bool elab_args(Elab *e, const Expr *x, const char *const *names, int required, const Expr **out);

/* ---- elab_block.c */
void elab_stmt(Elab *e, const Stmt *s);
void elab_rebind(Elab *e, const Stmt *s, Binding *b); /* computes a binding anew */
Val elab_seed(Elab *e);
Val elab_random(Elab *e, int kind, Dim k, Type t, Val step, Span at);
Val elab_rng_step(Elab *e); /* the step that keys random numbers */
Node *elab_pick(Elab *e, const InitValue *init);

/* ---- elab_dist.c */
bool elab_distribution(Elab *e, const Expr *x,
                       Value *out); /* false: no distribution of that name */
Slot *elab_slot(Elab *e, Str path);
Str elab_path(Elab *e, Str prefix, Str name);

#endif
