/* Types of the graph IR: an element type and a shape of dims. */
#ifndef CNNC_IR_TYPE_H
#define CNNC_IR_TYPE_H

#include "ir/dim.h"

typedef enum DType { DT_NONE, DT_BOOL, DT_I32, DT_I64, DT_F32, DT_F64 } DType;

enum { MAX_RANK = 12 }; /* of the IR; the language allows 8, passes add a few */

typedef struct Type {
    DType dt;
    int rank;
    const Dim *shape; /* row-major, slowest first; in the symbols of the function's root */
} Type;

const char *dtype_name(DType dt); /* "bool" "i32" "i64" "f32" "f64" */
DType dtype_named(Str name);      /* DT_NONE if there is none */
size_t dtype_size(DType dt);      /* bytes in memory: 1 4 8 4 8 */
bool dtype_is_real(DType dt);

Type type_scalar(DType dt);
Type type_new(Ctx *ctx, DType dt, int rank, const Dim *shape); /* copies shape */
Type type_with(Type t, DType dt);
bool type_equal(Type a, Type b);
Dim type_count(Ctx *ctx, Type t); /* elements */
void type_print(StrBuf *sb, Type t); /* "f32[N, 10]", "f64" */

#endif
