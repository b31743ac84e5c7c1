#include "passes/estimate_mask.h"

#include "ir/op.h"

const AbiMask *mask_of(const AbiTensor *t) {
    return t->mask && t->mask->n_learned < t->mask->n ? t->mask : NULL;
}

static bool has_axis(const AbiMask *m, int axis) {
    for (int k = 0; k < m->rank; k++)
        if (m->axis[k] == axis)
            return true;
    return false;
}

/* The axes of t in the order of the mask's, then the others: to[k] is the axis that comes k-th. */
static void order_of(const AbiMask *m, int rank, int *to) {
    int n = 0;
    for (int k = 0; k < m->rank; k++)
        to[n++] = m->axis[k];
    for (int k = 0; k < rank; k++)
        if (!has_axis(m, k))
            to[n++] = k;
}

/* [cells, rest..], where `full` has those axes that the mask lacks after its own. */
static Type with_cells(Ctx *ctx, const AbiMask *m, Type full, int64_t cells) {
    int order[MAX_RANK], rank = 0;
    Dim shape[MAX_RANK];
    order_of(m, full.rank, order);
    shape[rank++] = dim_const(ctx, cells);
    for (int k = m->rank; k < full.rank; k++)
        shape[rank++] = full.shape[order[k]];
    return type_new(ctx, full.dt, rank, shape);
}

Type mask_block(Ctx *ctx, const AbiMask *m, Type full) {
    return with_cells(ctx, m, full, m->n_learned);
}

/* ---- constants */

typedef ScalarValue (*CellFn)(const AbiMask *m, int64_t k, int64_t before);

static ScalarValue learned_cell(const AbiMask *m, int64_t k, int64_t before) {
    (void)before;
    return (ScalarValue){.i = m->learned[k]};
}

/* Its place in the block; held cells read the first one. */
static ScalarValue place_cell(const AbiMask *m, int64_t k, int64_t before) {
    return (ScalarValue){.i = m->learned[k] ? before : 0};
}

static Val constant(Build *e, Type t, const ScalarValue *v) {
    ConstAttr *a = ARENA_NEW(&e->u->ctx->perm, ConstAttr);
    a->type = t;
    a->values = v;
    return graph_inst(e->m, e->f, &op_const, NULL, 0, a, e->span, NULL)->first;
}

/* A value for each cell of the mask; before: learned ones before it. */
static ScalarValue *cells_of(Build *e, const AbiMask *m, CellFn fn) {
    ScalarValue *v = ARENA_ARRAY(&e->u->ctx->perm, ScalarValue, m->n + 1);
    for (int64_t k = 0, before = 0; k < m->n; before += m->learned[k++])
        v[k] = fn(m, k, before);
    return v;
}

static Val table(Build *e, const AbiMask *m) {
    Dim shape[MAX_RANK];
    for (int k = 0; k < m->rank; k++)
        shape[k] = dim_const(e->u->ctx, m->extent[k]);
    return constant(e, type_new(e->u->ctx, DT_BOOL, m->rank, shape), cells_of(e, m, learned_cell));
}

/* The numbers of the learned cells. */
static Val learned_numbers(Build *e, const AbiMask *m) {
    Dim n = dim_const(e->u->ctx, m->n_learned);
    ScalarValue *v = ARENA_ARRAY(&e->u->ctx->perm, ScalarValue, m->n_learned + 1);
    for (int64_t k = 0, j = 0; k < m->n; k++)
        if (m->learned[k])
            v[j++].i = k;
    return constant(e, type_new(e->u->ctx, DT_I64, 1, &n), v);
}

/* ---- moves */

static Val reshaped(Build *e, Val x, Type to) {
    ReshapeAttr *a = ARENA_NEW(e->u->arena, ReshapeAttr);
    a->type = to;
    if (type_equal(graph_type(e->f, x), to))
        return x;
    return graph_inst(e->m, e->f, &op_reshape, &x, 1, a, e->span, NULL)->first;
}

static Val gathered(Build *e, Val x, Val at) {
    GatherAttr *a = ARENA_NEW(e->u->arena, GatherAttr);
    a->at = 0;
    return graph_inst(e->m, e->f, &op_gather, (Val[]){x, at}, 2, a, e->span, NULL)->first;
}

Val mask_take(Build *e, const AbiMask *m, Val x) {
    Type t = graph_type(e->f, x);
    int order[MAX_RANK];
    Dim at[MAX_RANK], to[MAX_RANK], shape[MAX_RANK];
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    bool plain = true;
    order_of(m, t.rank, order);
    maker_cells(&n, t, at);
    for (int k = 0; k < t.rank; k++) {
        plain &= order[k] == k;
        to[k] = at[order[k]];
        shape[k] = t.shape[order[k]];
    }
    if (!plain)
        x = maker_done(&n, maker_read(&n, x, at), t.rank, to, shape, e->span, NULL);
    return gathered(e, reshaped(e, x, with_cells(e->u->ctx, m, t, m->n)), learned_numbers(e, m));
}

static int read_mask(NestMaker *n, const AbiMask *m, Val mask, const Dim *at) {
    Dim from[MAX_RANK];
    for (int k = 0; k < m->rank; k++)
        from[k] = at[m->axis[k]];
    return maker_read(n, mask, from);
}

Val mask_put(Build *e, const AbiMask *m, Val block, Type full) {
    Ctx *ctx = e->u->ctx;
    Dim n_cells = dim_const(ctx, m->n), at[MAX_RANK], from[MAX_RANK], shape[MAX_RANK];
    full = type_with(full, graph_type(e->f, block).dt);
    Val numbers = constant(e, type_new(ctx, DT_I64, 1, &n_cells), cells_of(e, m, place_cell));
    Val all = gathered(e, block, numbers);
    int order[MAX_RANK];
    order_of(m, full.rank, order);
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    maker_cells(&n, full, at);
    for (int k = 0; k < full.rank; k++) {
        from[k] = at[order[k]];
        shape[k] = full.shape[order[k]];
    }
    all = reshaped(e, all, type_new(ctx, full.dt, full.rank, shape));
    int v = maker_read(&n, all, from);
    int zero = dtype_is_real(full.dt) ? body_real(&n.b, full.dt, 0) : body_int(&n.b, full.dt, 0);
    v = body_op3(&n.b, SC_select, read_mask(&n, m, table(e, m), at), v, zero);
    return maker_done(&n, v, full.rank, at, full.shape, e->span, NULL);
}

Val mask_select(Build *e, const AbiMask *m, Val x, Val y) {
    Type t = graph_type(e->f, x);
    Dim at[MAX_RANK];
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    maker_cells(&n, t, at);
    int c = read_mask(&n, m, table(e, m), at), a = maker_read(&n, x, at), b = maker_read(&n, y, at);
    return maker_done(&n, body_op3(&n.b, SC_select, c, a, b), t.rank, at, t.shape, e->span, NULL);
}
