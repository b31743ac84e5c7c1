#include "ir/transform.h"

#include "ir/op.h"

enum { END_LOW = 1, END_HIGH = 2 };

static Ctx *ctx_of(const TransformCall *c) { return c->m->ctx; }

/* A constant of the type of v. */
static int like(NestMaker *n, int v, double x) { return body_real(&n->b, body_type(&n->b, v), x); }

static Val done(const TransformCall *c, NestMaker *n, int body, Type t, const Dim *at) {
    return maker_done(n, body, t.rank, at, t.shape, c->span, c->t->path);
}

/* A nest over all cells of t. */
static NestMaker cells(const TransformCall *c, Type t, Dim *at) {
    NestMaker n = nest_maker(c->m, c->f, NEST_STORE);
    maker_cells(&n, t, at);
    return n;
}

static Type with_last(Ctx *ctx, Type t, int drop, Dim last) {
    Dim shape[MAX_RANK];
    int rank = t.rank - drop;
    for (int k = 0; k < rank; k++)
        shape[k] = t.shape[k];
    shape[rank] = last;
    return type_new(ctx, t.dt, rank + 1, shape);
}

static Type same_type(Ctx *ctx, Type t) {
    (void)ctx;
    return t;
}

static Val constant_ends(const TransformCall *c, Type t, int64_t bits) {
    return graph_fill(c->m, c->f, type_with(t, DT_I64), (double)bits, c->span, NULL);
}

/* The same in a body: extents may be symbolic, and forms are linear with constant coefficients. */
static int number_value(NestMaker *n, Type t, const Dim *at) {
    int k = body_int(&n->b, DT_I64, 0);
    for (int a = 0; a < t.rank; a++)
        k = body_op2(&n->b, SC_add, body_op2(&n->b, SC_mul, k, body_dim(&n->b, t.shape[a])),
                     body_index(&n->b, at[a]));
    return k;
}

static Val own_home(const TransformCall *c) {
    Dim at[MAX_RANK];
    NestMaker n = cells(c, c->type, at);
    return done(c, &n, number_value(&n, c->type, at), c->type, at);
}

/* ---- elementwise kinds */

static Val identity(const TransformCall *c, Val u) {
    (void)c;
    return u;
}

static Val no_ends(const TransformCall *c) { return constant_ends(c, c->type, 0); }

/* f(u), and 0 from where exp(u) is: a mode at that end is exact. */
static int or_zero(NestMaker *n, int u, int f) {
    enum { LEAST = -746 };
    int gone = body_op2(&n->b, SC_lt, u, like(n, u, LEAST));
    return body_op3(&n->b, SC_select, gone, like(n, u, 0), f);
}

static Val positive_forward(const TransformCall *c, Val u) {
    Dim at[MAX_RANK];
    NestMaker n = cells(c, c->type, at);
    int v = maker_read(&n, u, at);
    return done(c, &n, or_zero(&n, v, body_op1(&n.b, SC_exp, v)), c->type, at);
}

static Val positive_inverse(const TransformCall *c, Val x) {
    return graph_map(c->m, c->f, SC_log, &x, 1, c->span, c->t->path);
}

static Val positive_ends(const TransformCall *c) { return constant_ends(c, c->type, END_LOW); }

static void bounds(const TransformCall *c, double *lo, double *hi) {
    bool interval = c->t->kind == KIND_INTERVAL;
    *lo = interval ? c->t->lo : 0;
    *hi = interval ? c->t->hi : 1;
}

/* lo + (hi - lo) sigmoid(u) */
static Val bounded_forward(const TransformCall *c, Val u) {
    double lo, hi;
    bounds(c, &lo, &hi);
    Dim at[MAX_RANK];
    NestMaker n = cells(c, c->type, at);
    int v = maker_read(&n, u, at), s = or_zero(&n, v, body_op1(&n.b, SC_sigmoid, v));
    if (lo != 0 || hi != 1)
        s = body_op2(&n.b, SC_add, like(&n, v, lo),
                     body_op2(&n.b, SC_mul, like(&n, v, hi - lo), s));
    return done(c, &n, s, c->type, at);
}

/* log((x - lo) / (hi - x)) */
static Val bounded_inverse(const TransformCall *c, Val x) {
    double lo, hi;
    bounds(c, &lo, &hi);
    Dim at[MAX_RANK];
    NestMaker n = cells(c, c->type, at);
    int v = maker_read(&n, x, at);
    int low = body_op2(&n.b, SC_sub, v, like(&n, v, lo)),
        high = body_op2(&n.b, SC_sub, like(&n, v, hi), v);
    return done(c, &n, body_op1(&n.b, SC_log, body_op2(&n.b, SC_div, low, high)), c->type, at);
}

static Val bounded_ends(const TransformCall *c) {
    return constant_ends(c, c->type, END_LOW | END_HIGH);
}

/* ---- simplex: softmax of K - 1 free reals and a 0 */

static Dim last_of(Type t) { return t.shape[t.rank - 1]; }

static Type simplex_free(Ctx *ctx, Type t) {
    return with_last(ctx, t, 1, dim_addk(ctx, last_of(t), -1));
}

static Type leading(Ctx *ctx, Type t) { return type_new(ctx, t.dt, t.rank - 1, t.shape); }

/* op over the last axis of x */
static Val over_last(const TransformCall *c, NestOpKind op, Val x) {
    Type t = graph_type(c->f, x), to = leading(ctx_of(c), t);
    NestMaker n = nest_maker(c->m, c->f, op);
    Dim at[MAX_RANK];
    maker_cells(&n, t, at);
    return done(c, &n, maker_read(&n, x, at), to, at);
}

/* u with a 0 at the end of the last axis */
static Val with_zero(const TransformCall *c, Val u) {
    Dim at[MAX_RANK];
    NestMaker n = cells(c, c->type, at);
    return done(c, &n, maker_read_fill(&n, u, at, 0), c->type, at);
}

static Val simplex_forward(const TransformCall *c, Val u) {
    Dim at[MAX_RANK];
    Val v = with_zero(c, u), most = over_last(c, NEST_MAX, v);
    most = graph_inst(c->m, c->f, &op_stop, &most, 1, NULL, c->span, NULL)->first;
    NestMaker n = cells(c, c->type, at);
    int d = body_op2(&n.b, SC_sub, maker_read(&n, v, at), maker_read(&n, most, at));
    Val e = done(c, &n, body_op1(&n.b, SC_exp, d), c->type, at), sum = over_last(c, NEST_SUM, e);
    n = cells(c, c->type, at);
    int q = body_op2(&n.b, SC_div, maker_read(&n, e, at), maker_read(&n, sum, at));
    return done(c, &n, q, c->type, at);
}

/* log(x_k / x_last) */
static Val simplex_inverse(const TransformCall *c, Val x) {
    Type free = simplex_free(ctx_of(c), c->type);
    Dim at[MAX_RANK], last[MAX_RANK];
    NestMaker n = cells(c, free, at);
    for (int k = 0; k < free.rank; k++)
        last[k] = at[k];
    last[free.rank - 1] = last_of(free);
    int q = body_op2(&n.b, SC_div, maker_read(&n, x, at), maker_read(&n, x, last));
    return done(c, &n, body_op1(&n.b, SC_log, q), free, at);
}

static Val simplex_ends(const TransformCall *c) {
    return constant_ends(c, simplex_free(ctx_of(c), c->type), END_LOW | END_HIGH);
}

static Val simplex_home(const TransformCall *c) {
    Type free = simplex_free(ctx_of(c), c->type);
    Dim at[MAX_RANK];
    NestMaker n = cells(c, free, at);
    return done(c, &n, number_value(&n, c->type, at), free, at);
}

/* ---- ordered: the first, then exp of the differences */

static Val ordered_forward(const TransformCall *c, Val u) {
    Dim at[MAX_RANK], from[MAX_RANK];
    int last = c->type.rank - 1;
    NestMaker n = nest_maker(c->m, c->f, NEST_SUM);
    maker_cells(&n, c->type, at);
    for (int k = 0; k < last; k++)
        from[k] = at[k];
    from[last] = maker_index(&n, "j", last_of(c->type));
    int j = body_index(&n.b, from[last]), v = maker_read(&n, u, from);
    int first = body_op2(&n.b, SC_eq, j, body_int(&n.b, DT_I64, 0));
    int part = body_op3(&n.b, SC_select, first, v, body_op1(&n.b, SC_exp, v));
    int take = body_op2(&n.b, SC_le, j, body_index(&n.b, at[last]));
    return done(c, &n, body_op3(&n.b, SC_select, take, part, like(&n, v, 0)), c->type, at);
}

static Val ordered_inverse(const TransformCall *c, Val x) {
    Dim at[MAX_RANK], before[MAX_RANK];
    int last = c->type.rank - 1;
    NestMaker n = cells(c, c->type, at);
    for (int k = 0; k <= last; k++)
        before[k] = at[k];
    before[last] = dim_addk(ctx_of(c), at[last], -1);
    int v = maker_read(&n, x, at), d = body_op2(&n.b, SC_sub, v, maker_read_fill(&n, x, before, 0));
    int first = body_op2(&n.b, SC_eq, body_index(&n.b, at[last]), body_int(&n.b, DT_I64, 0));
    return done(c, &n, body_op3(&n.b, SC_select, first, v, body_op1(&n.b, SC_log, d)), c->type, at);
}

static Val ordered_ends(const TransformCall *c) {
    Dim at[MAX_RANK];
    NestMaker n = cells(c, c->type, at);
    int first =
        body_op2(&n.b, SC_eq, body_index(&n.b, at[c->type.rank - 1]), body_int(&n.b, DT_I64, 0));
    int bits = body_op3(&n.b, SC_select, first, body_int(&n.b, DT_I64, 0),
                        body_int(&n.b, DT_I64, END_LOW));
    return done(c, &n, bits, c->type, at);
}

/* ---- cholesky: a lower triangle row by row, its diagonal through exp */

static Dim triangle(Ctx *ctx, Dim d) {
    return dim_floordiv(ctx, dim_mul(ctx, d, dim_addk(ctx, d, 1)), dim_const(ctx, 2));
}

static Type cholesky_free(Ctx *ctx, Type t) {
    return with_last(ctx, t, 2, triangle(ctx, last_of(t)));
}

/* i64[D, D]: i*(i + 1)/2 + j, 0 above the diagonal */
static Val triangle_numbers(const TransformCall *c) {
    Type t = type_new(ctx_of(c), DT_I64, 2, c->type.shape + c->type.rank - 2);
    Dim at[2];
    NestMaker n = cells(c, t, at);
    int i = body_index(&n.b, at[0]), j = body_index(&n.b, at[1]), two = body_int(&n.b, DT_I64, 2);
    int up = body_op2(&n.b, SC_mul, i, body_op2(&n.b, SC_add, i, body_int(&n.b, DT_I64, 1)));
    int k = body_op2(&n.b, SC_add, body_op2(&n.b, SC_floordiv, up, two), j);
    int below = body_op2(&n.b, SC_le, j, i);
    return done(c, &n, body_op3(&n.b, SC_select, below, k, body_int(&n.b, DT_I64, 0)), t, at);
}

/* x with its last axis first (to_first), or its first n axes last */
static Val turned(const TransformCall *c, Val x, int n_first) {
    Type t = graph_type(c->f, x);
    Dim shape[MAX_RANK], at[MAX_RANK], from[MAX_RANK];
    for (int k = 0; k < t.rank; k++)
        shape[k] = t.shape[(k + n_first) % t.rank];
    Type to = type_new(ctx_of(c), t.dt, t.rank, shape);
    NestMaker n = cells(c, to, at);
    for (int k = 0; k < t.rank; k++)
        from[(k + n_first) % t.rank] = at[k];
    return done(c, &n, maker_read(&n, x, from), to, at);
}

/* lower(v, i, j): what the cell of the triangle becomes */
typedef int (*CellFn)(NestMaker *n, int v, int diagonal);

static int exp_diagonal(NestMaker *n, int v, int diagonal) {
    return body_op3(&n->b, SC_select, diagonal, body_op1(&n->b, SC_exp, v), v);
}

static int log_diagonal(NestMaker *n, int v, int diagonal) {
    return body_op3(&n->b, SC_select, diagonal, body_op1(&n->b, SC_log, v), v);
}

/* Cells of x [.., D, D] below and on the diagonal through fn, else 0. */
static Val lower_cells(const TransformCall *c, Val x, CellFn fn) {
    Type t = graph_type(c->f, x);
    Dim at[MAX_RANK];
    NestMaker n = cells(c, t, at);
    int i = body_index(&n.b, at[t.rank - 2]), j = body_index(&n.b, at[t.rank - 1]);
    int v = fn(&n, maker_read(&n, x, at), body_op2(&n.b, SC_eq, i, j));
    int below = body_op2(&n.b, SC_le, j, i);
    return done(c, &n, body_op3(&n.b, SC_select, below, v, like(&n, v, 0)), t, at);
}

static const void *gather_first(const TransformCall *c) {
    GatherAttr *a = ARENA_NEW(c->m->arena, GatherAttr);
    a->at = 0;
    return a;
}

/* u [.., T] -> [T, ..] -> gathered [D, D, ..] -> [.., D, D] */
static Val cholesky_forward(const TransformCall *c, Val u) {
    int lead = c->type.rank - 2;
    Val args[2] = {lead ? turned(c, u, lead) : u, triangle_numbers(c)};
    Val x = graph_inst(c->m, c->f, &op_gather, args, 2, gather_first(c), c->span, NULL)->first;
    return lower_cells(c, lead ? turned(c, x, 2) : x, exp_diagonal);
}

/* The cells [.., D, D] of the triangle, in their places of [.., T]; others must be 0. */
static Val into_triangle(const TransformCall *c, Val x, DType dt) {
    int lead = c->type.rank - 2;
    Type free = type_with(cholesky_free(ctx_of(c), c->type), dt);
    Dim shape[MAX_RANK];
    for (int k = 0; k < free.rank; k++)
        shape[k] = free.shape[(k + lead) % free.rank];
    Val zero = graph_fill(c->m, c->f, type_new(ctx_of(c), dt, free.rank, shape), 0, c->span, NULL);
    Val args[3] = {zero, triangle_numbers(c), lead ? turned(c, x, lead) : x};
    Val v = graph_inst(c->m, c->f, &op_scatter_add, args, 3, gather_first(c), c->span, NULL)->first;
    return lead ? turned(c, v, 1) : v;
}

static Val cholesky_inverse(const TransformCall *c, Val x) {
    return into_triangle(c, lower_cells(c, x, log_diagonal), c->type.dt);
}

static Val cholesky_ends(const TransformCall *c) {
    Dim at[MAX_RANK];
    NestMaker n = cells(c, c->type, at);
    int rank = c->type.rank;
    int on = body_op2(&n.b, SC_eq, body_index(&n.b, at[rank - 2]), body_index(&n.b, at[rank - 1]));
    int bits =
        body_op3(&n.b, SC_select, on, body_int(&n.b, DT_I64, END_LOW), body_int(&n.b, DT_I64, 0));
    return into_triangle(c, done(c, &n, bits, c->type, at), DT_I64);
}

static Val cholesky_home(const TransformCall *c) {
    Dim at[MAX_RANK];
    NestMaker n = cells(c, c->type, at);
    int rank = c->type.rank;
    int below =
        body_op2(&n.b, SC_le, body_index(&n.b, at[rank - 1]), body_index(&n.b, at[rank - 2]));
    int k =
        body_op3(&n.b, SC_select, below, number_value(&n, c->type, at), body_int(&n.b, DT_I64, 0));
    return into_triangle(c, done(c, &n, k, c->type, at), DT_I64);
}

/* ---- the table */

static const TransformDef rows[] = {
    [KIND_REAL] = {"identity", 0, same_type, identity, identity, no_ends, own_home},
    [KIND_PROB] = {"logit", 0, same_type, bounded_forward, bounded_inverse, bounded_ends, own_home},
    [KIND_POSITIVE] = {"log", 0, same_type, positive_forward, positive_inverse, positive_ends,
                       own_home},
    [KIND_INTERVAL] = {"logit", 0, same_type, bounded_forward, bounded_inverse, bounded_ends,
                       own_home},
    [KIND_SIMPLEX] = {"softmax", 1, simplex_free, simplex_forward, simplex_inverse, simplex_ends,
                      simplex_home},
    [KIND_ORDERED] = {"differences", 1, same_type, ordered_forward, ordered_inverse, ordered_ends,
                      own_home},
    [KIND_CHOLESKY] = {"triangle", 2, cholesky_free, cholesky_forward, cholesky_inverse,
                       cholesky_ends, cholesky_home},
};

const TransformDef *transform_of(AbiKind kind) {
    bool known = kind < sizeof rows / sizeof *rows && rows[kind].name;
    return &rows[known ? kind : KIND_REAL];
}

/* 1 where a constrained value of x is not that of y, for each of them. */
static Val different(const TransformDef *d, const TransformCall *c, Val x, Val y) {
    Dim at[MAX_RANK];
    NestMaker n = nest_maker(c->m, c->f, d->axes ? NEST_MAX : NEST_STORE);
    maker_cells(&n, c->type, at);
    int ne = body_op2(&n.b, SC_ne, maker_read(&n, x, at), maker_read(&n, y, at));
    return maker_done(&n, body_cast(&n.b, DT_I32, ne), c->type.rank - d->axes, at, c->type.shape,
                      c->span, c->t->path);
}

Val transform_recall(const TransformDef *d, const TransformCall *c, Val x, Val copy) {
    Val lost = different(d, c, x, d->forward(c, copy)), anew = d->inverse(c, x);
    Type free = d->free_type(ctx_of(c), c->type);
    Dim at[MAX_RANK];
    NestMaker n = cells(c, free, at);
    int keep = body_op2(&n.b, SC_eq, maker_read(&n, lost, at), body_int(&n.b, DT_I32, 0));
    int v = body_op3(&n.b, SC_select, keep, maker_read(&n, copy, at), maker_read(&n, anew, at));
    return done(c, &n, v, free, at);
}
