#include "ir/ops/attr.h"

#include <string.h>

Dim attr_dim(Ctx *ctx, Dim d, const DimBinding *b, int n) {
    Dim r = d ? dim_subst(ctx, d, b, n) : NULL;
    if (d && !r)
        ctx_internal(ctx, "a dim of an attribute overflows when dims are substituted");
    return r;
}

Type attr_type(Ctx *ctx, Type t, const DimBinding *b, int n) {
    Dim shape[MAX_RANK];
    for (int k = 0; k < t.rank; k++)
        shape[k] = attr_dim(ctx, t.shape[k], b, n);
    return type_new(ctx, t.dt, t.rank, shape);
}

const char *type_error(Module *m, const char *fmt, ...) {
    StrBuf sb = sb_new(&m->ctx->perm);
    va_list ap;
    va_start(ap, fmt);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    return sb.text;
}

Type type_last(Ctx *ctx, Type t, int drop, int n, const Dim *more) {
    Dim shape[2 * MAX_RANK];
    int rank = 0;
    for (int k = 0; k < t.rank - drop; k++)
        shape[rank++] = t.shape[k];
    for (int k = 0; k < n; k++)
        shape[rank++] = more[k];
    return type_new(ctx, t.dt, rank, shape);
}

bool is_scalar(const Func *f, Val v, DType dt) {
    Type t = graph_type(f, v);
    return t.rank == 0 && t.dt == dt;
}

void vjp_none(const Inst *i, const Val *acc, Val *d) {
    for (int j = 0; j < i->n_args; j++)
        d[j] = acc[j];
}

void vjp_add(Module *m, Func *f, const Inst *i, int j, Val cotangent, const Val *acc, Val *d) {
    (void)acc;
    Val total = graph_add(m, f, d[j], cotangent, i->span, i->name);
    for (int k = 0; k < i->n_args; k++)
        if (i->args[k].id == i->args[j].id)
            d[k] = total;
}

Func *sample_func(Module *m, const char *name, const Type *types, int n, Val *args) {
    Span span = {0};
    Func *f = graph_func_new(m, str_of(m->ctx, name), span);
    for (int k = 0; k < n; k++) {
        Param p = {.name = str_fmt(m->ctx, "x%d", k), .role = ROLE_INPUT, .tensor = -1};
        args[k] = graph_param(m, f, p, types[k]);
    }
    return f;
}

Func *sample_done(Module *m, Func *f, Val result) {
    graph_result(m, f,
                 (Result){.val = result, .name = str_of(m->ctx, "out"), .role = RES_OUT, .of = -1});
    return f;
}

Type sample_type(Module *m, DType dt, int rank, const int64_t *shape) {
    Dim d[MAX_RANK];
    for (int k = 0; k < rank; k++)
        d[k] = dim_const(m->ctx, shape[k]);
    return type_new(m->ctx, dt, rank, d);
}
