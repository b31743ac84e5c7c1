#include "ir/build.h"

#include "ir/op.h"

NestMaker nest_maker(Module *m, Func *f, NestOpKind op) {
    return (NestMaker){.m = m, .f = f, .op = op, .b = body_new(m->ctx)};
}

static bool is_free(const NestMaker *n, Str name) {
    for (int k = 0; k < n->box.n; k++)
        if (n->box.p[k].sym->name == name)
            return false;
    for (int k = 0; k < n->f->dims.n; k++)
        if (n->f->dims.p[k]->name == name)
            return false;
    return true;
}

Dim maker_index(NestMaker *n, const char *base, Dim extent) {
    Ctx *ctx = n->m->ctx;
    Str name = str_of(ctx, base);
    for (int k = 1; !is_free(n, name); k++)
        name = str_fmt(ctx, "%s%d", base, k);
    DimSym s = nest_index(ctx, name);
    vec_push(&ctx->perm, &n->box, (NestIndex){s, extent});
    return dim_of(ctx, s);
}

void maker_cells(NestMaker *n, Type t, Dim *at) {
    for (int k = 0; k < t.rank; k++)
        at[k] = maker_index(n, "i", t.shape[k]);
}

static int operand(NestMaker *n, Val x) {
    for (int k = 0; k < n->args.n; k++)
        if (n->args.p[k].id == x.id)
            return k;
    vec_push(&n->m->ctx->perm, &n->args, x);
    return n->args.n - 1;
}

int maker_read(NestMaker *n, Val x, const Dim *map) {
    Type t = graph_type(n->f, x);
    return body_read(&n->b, t.dt, operand(n, x), t.rank, map);
}

int maker_read_fill(NestMaker *n, Val x, const Dim *map, double fill) {
    Type t = graph_type(n->f, x);
    ScalarValue v =
        dtype_is_real(t.dt) ? (ScalarValue){.f = fill} : (ScalarValue){.i = (int64_t)fill};
    return body_read_fill(&n->b, t.dt, operand(n, x), t.rank, map, v);
}

Val maker_done(NestMaker *n, int body, int rank, const Dim *map, const Dim *shape, Span span,
               Str name) {
    DType dt = n->op == NEST_ARGMAX ? DT_I32 : body_type(&n->b, body);
    const Dim *copy = rank ? arena_dup(n->m->arena, map, (size_t)rank * sizeof *map) : NULL;
    Nest nest = {
        .op = n->op, .n_box = n->box.n, .box = n->box.p, .rank = rank, .map = copy, .init = -1};
    nest.body = body_done(&n->b, body);
    return graph_nest(n->m, n->f, &nest, n->args.p, n->args.n, dt, shape, span, name);
}

Val graph_map(Module *m, Func *f, ScalarOp op, const Val *args, int n_args, Span span, Str name) {
    NestMaker n = nest_maker(m, f, NEST_STORE);
    Type t = graph_type(f, args[0]);
    for (int k = 1; k < n_args; k++)
        if (graph_type(f, args[k]).rank > t.rank)
            t = graph_type(f, args[k]);
    Dim at[MAX_RANK];
    int a[3];
    maker_cells(&n, t, at);
    for (int k = 0; k < n_args; k++)
        a[k] = maker_read(&n, args[k], at);
    int r = n_args == 1   ? body_op1(&n.b, op, a[0])
            : n_args == 2 ? body_op2(&n.b, op, a[0], a[1])
                          : body_op3(&n.b, op, a[0], a[1], a[2]);
    return maker_done(&n, r, t.rank, at, t.shape, span, name);
}

Val graph_fill(Module *m, Func *f, Type t, double v, Span span, Str name) {
    NestMaker n = nest_maker(m, f, NEST_STORE);
    Dim at[MAX_RANK];
    maker_cells(&n, t, at);
    int k = dtype_is_real(t.dt) ? body_real(&n.b, t.dt, v) : body_int(&n.b, t.dt, (int64_t)v);
    return maker_done(&n, k, t.rank, at, t.shape, span, name);
}

Val graph_cast(Module *m, Func *f, Val x, DType to, Span span, Str name) {
    Type t = graph_type(f, x);
    if (t.dt == to)
        return x;
    NestMaker n = nest_maker(m, f, NEST_STORE);
    Dim at[MAX_RANK];
    maker_cells(&n, t, at);
    return maker_done(&n, body_cast(&n.b, to, maker_read(&n, x, at)), t.rank, at, t.shape, span,
                      name);
}

Val graph_add(Module *m, Func *f, Val x, Val y, Span span, Str name) {
    if (!x.id || !y.id)
        return x.id ? x : y;
    return graph_map(m, f, SC_add, (Val[]){x, y}, 2, span, name);
}
