#include "ir/type.h"

#include <string.h>

static const struct {
    const char *name;
    size_t size;
} DTYPES[] = {[DT_NONE] = {"none", 0}, [DT_BOOL] = {"bool", 1}, [DT_I32] = {"i32", 4},
              [DT_I64] = {"i64", 8},   [DT_F32] = {"f32", 4},   [DT_F64] = {"f64", 8}};

const char *dtype_name(DType dt) { return DTYPES[dt].name; }
size_t dtype_size(DType dt) { return DTYPES[dt].size; }
bool dtype_is_real(DType dt) { return dt == DT_F32 || dt == DT_F64; }

DType dtype_named(Str name) {
    for (int dt = DT_BOOL; dt <= DT_F64; dt++)
        if (strcmp(name, DTYPES[dt].name) == 0)
            return (DType)dt;
    return DT_NONE;
}

Type type_scalar(DType dt) { return (Type){.dt = dt}; }

Type type_new(Ctx *ctx, DType dt, int rank, const Dim *shape) {
    return (Type){dt, rank, arena_dup(&ctx->perm, shape, sizeof *shape * (size_t)rank)};
}

Type type_with(Type t, DType dt) {
    t.dt = dt;
    return t;
}

bool type_equal(Type a, Type b) {
    if (a.dt != b.dt || a.rank != b.rank)
        return false;
    for (int k = 0; k < a.rank; k++)
        if (a.shape[k] != b.shape[k])
            return false;
    return true;
}

Dim type_count(Ctx *ctx, Type t) {
    Dim n = dim_const(ctx, 1);
    for (int k = 0; k < t.rank; k++)
        n = dim_mul(ctx, n, t.shape[k]);
    return n;
}

void type_print(StrBuf *sb, Type t) {
    sb_put(sb, dtype_name(t.dt));
    for (int k = 0; k < t.rank; k++) {
        sb_put(sb, k ? ", " : "[");
        dim_print(sb, t.shape[k]);
    }
    sb_put(sb, t.rank ? "]" : "");
}
