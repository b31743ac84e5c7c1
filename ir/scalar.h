/* Scalar operations: the rows of scalar.def. One table serves the bodies of nests (graph IR), the
 * values of the loop IR, both interpreters, the derivative rules and code generation. */
#ifndef CNNC_IR_SCALAR_H
#define CNNC_IR_SCALAR_H

#include "ir/type.h"

typedef enum ScalarOp {
    SC_NONE,
#define SCALAR(name, ...) SC_##name,
#include "ir/scalar.def"
#undef SCALAR
    SC_COUNT
} ScalarOp;

/* How the type of the result follows from the operands. */
typedef enum ScalarResult {
    SR_SAME, /* that of the operands, which agree (select: of the last two) */
    SR_BOOL, /* bool; the operands agree */
    SR_ATTR  /* stands in the instruction (cast, bitcast) */
} ScalarResult;

enum {
    SF_COMMUTES = 1,
    SF_INT = 2,     /* defined on integers (i32 i64) */
    SF_REAL = 4,    /* defined on f32 f64 */
    SF_BOOL = 8,    /* defined on bool */
    SF_NATIVE = 16, /* a machine instruction or LLVM intrinsic that vectorises; others have `expand`
                       or call libm */
    SF_LIBM = 32,   /* native code calls the libm function of the row's name (name + "f" for f32),
                       lane by lane */
    SF_LANES = 64,  /* loop IR only: works across the lanes of one vector */
    SF_INTERNAL = 128, /* not a name of the language */
    SF_SLOW = 256     /* a native row that takes many cycles */
};

struct Body;
struct BodyBuilder;

typedef struct ScalarDef {
    const char *name;
    int arity;
    ScalarResult result;
    unsigned flags;
    const char *infix; /* "+", or NULL */
    int level;         /* of the infix form: 0 comparisons, 1 sums, 2 products */
    /* Cotangent of operand k as body instructions: g cotangent of the result r, a the operands
     * (body indices). NULL vjp: every derivative is 0. -1: this operand's is 0. */
    int (*vjp)(struct BodyBuilder *b, int k, int g, int r, const int *a);
    /* The same value built from native rows (polynomials); NULL: native, libm, or a select form.
     * dt: f32 or f64. */
    int (*expand)(struct BodyBuilder *b, DType dt, const int *a);
    const char *doc;
} ScalarDef;

const ScalarDef *scalar_def(ScalarOp op);
ScalarOp scalar_named(Str name); /* SC_NONE if there is none */

/* A value of one lane, as both interpreters hold it: reals in f64 (an f32 value is exact in it),
 * ints and bools in i. */
typedef struct ScalarValue {
    double f;
    int64_t i;
} ScalarValue;

/* The reference meaning of a row. dt is the operands' type: f32 rounds as float arithmetic does.
 * `to` is the result's type for SR_ATTR rows. Integer overflow wraps at the width of dt; i32
 * results are sign-extended. */
ScalarValue scalar_eval(ScalarOp op, DType dt, DType to, const ScalarValue *args);

#endif
