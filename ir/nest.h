/* `nest`: the central operation of the graph IR.
 *
 *     out[M0(i)] (+)= body(in1[M1(i)], in2?c[M2(i)], {aff(i)}, ...)  then post  from init  over i<5 j<N  where 0 <= aff < e  needs aff
 *
 * A nest visits the points of a box, skips those that fail a guard, and reduces a scalar body into its result.
 * The maps are dims linear in the nest's index symbols with constant integer coefficients; their constant part
 * may be any dim. `?c` yields the constant c outside the operand. Reducers: store (no cell twice), + max min
 * argmax (row-major number of the first greatest point, or of the first NaN, among the reduced indices, as i32;
 * -1 without points). A cell that no point reaches keeps `init`, else the neutral element. `post` (which reads
 * its own cell with SC acc) is applied to every finished cell that the output indices name. A body evaluates
 * only the taken arm of a select. */
#ifndef CNNC_IR_NEST_H
#define CNNC_IR_NEST_H

#include "ir/scalar.h"

typedef enum BodyKind {
    BODY_OP,    /* a row of scalar.def on args */
    BODY_READ,  /* operand[map], or fill outside it */
    BODY_INDEX, /* the value of an affine form of the indices, i64 */
    BODY_CONST, /* real or integer constant of type dt */
    BODY_DIM,   /* the value of a dim without indices, i64 */
    BODY_ACC    /* in a post body: the finished sum of the cell */
} BodyKind;

typedef struct BodyInst {
    BodyKind kind;
    ScalarOp op; /* BODY_OP */
    DType dt;    /* of the result */
    int args[3]; /* earlier instructions of the same body */
    /* BODY_READ */
    int operand;    /* number of the nest instruction's argument */
    int rank;       /* of the operand */
    const Dim *map; /* one affine form an axis */
    bool has_fill;
    ScalarValue k; /* BODY_CONST: the value; BODY_READ: the fill */
    Dim dim;       /* BODY_INDEX, BODY_DIM */
} BodyInst;

/* An SSA list: instruction k may use those before it; the last one is the result. n == 0: no body. */
typedef struct Body {
    int n;
    const BodyInst *insts;
} Body;

typedef enum NestOpKind { NEST_STORE, NEST_SUM, NEST_MAX, NEST_MIN, NEST_ARGMAX } NestOpKind;

typedef struct NestIndex {
    DimSym sym; /* its name differs from those of the nest's other indices and of the function's dims */
    Dim extent;
} NestIndex;

typedef struct NestGuard { /* 0 <= form < extent */
    Dim form, extent;
} NestGuard;

typedef struct Nest {
    NestOpKind op;
    int n_box;
    const NestIndex *box;
    int rank; /* of the result; its shape is the type of the instruction's result */
    const Dim *map;
    Body body, post;
    int n_guards;
    const NestGuard *guards;
    int init; /* argument that holds the initial value, or -1 */
    bool wide; /* a sum of f32 over any number of terms: added up in f64 (short runs of terms in f32 before) */
    Dim need; /* no one reads the cells of points where this is negative, so they may be left out; NULL: all are read */
} Nest;

/* Builds a body; equal instructions are shared, constants are folded where the value is exact. */
typedef struct BodyBuilder {
    Ctx *ctx;
    VEC(BodyInst) insts;
    int *slots; /* of a long body: instructions by their hash, -1: free; the first n_hashed of them */
    int n_slots, n_hashed;
} BodyBuilder;

BodyBuilder body_new(Ctx *ctx);
int body_op1(BodyBuilder *b, ScalarOp op, int a);
int body_op2(BodyBuilder *b, ScalarOp op, int a, int c);
int body_op3(BodyBuilder *b, ScalarOp op, int a, int c, int d);
int body_cast(BodyBuilder *b, DType to, int a); /* none if a has that type */
int body_bitcast(BodyBuilder *b, DType to, int a);
int body_real(BodyBuilder *b, DType dt, double v);
int body_int(BodyBuilder *b, DType dt, int64_t v); /* i32 i64 bool */
int body_index(BodyBuilder *b, Dim affine);
int body_dim(BodyBuilder *b, Dim d);
int body_acc(BodyBuilder *b, DType dt);
int body_read(BodyBuilder *b, DType dt, int operand, int rank, const Dim *map);
int body_read_fill(BodyBuilder *b, DType dt, int operand, int rank, const Dim *map, ScalarValue fill);
DType body_type(const BodyBuilder *b, int a);
/* Copies the instructions that `result` needs of another body (old index -> new index kept in a side array),
 * with indices substituted (bindings may be empty) and operands renumbered (operand_map, or NULL). */
int body_import(BodyBuilder *b, const Body *from, const DimBinding *bindings, int n_bindings, const int *operand_map);
void body_import_all(BodyBuilder *b, const Body *from, int *to); /* to[k]: where instruction k went */
/* The finished body: the instructions that `result` needs, `result` last. */
Body body_done(BodyBuilder *b, int result);
/* With what the machine lacks expanded: fma becomes mul and add where it has none; with `rows` also the rows that have an
 * expansion, down to native ones (exp becomes a polynomial). */
Body body_expand(Ctx *ctx, const Body *b, bool has_fma, bool rows);
/* A row that has an expansion as a body: its operands are reads of rank 0. */
Body body_of_row(Ctx *ctx, ScalarOp op, DType dt, bool has_fma);

DimSym nest_index(Ctx *ctx, const char *name);
/* A fresh name for an index beside those of box (base, base1, base2, ...). */
DimSym nest_fresh_index(Ctx *ctx, const char *base, const NestIndex *box, int n_box);
/* Facts for the prover: the box's index ranges. */
DimFacts nest_facts(Ctx *ctx, const Nest *n);

#endif
