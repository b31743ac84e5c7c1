/* estimate: the entry that fits, E.fit.
 *
 *   E.loglik, E.logprior   ->
 *     E.fit: u0 = inverse(start);  u = fit{newton E.fit.body}(u0, ends, data..)
 *            params = forward(u), covariance J C J', figures, code
 *     E.fit.body(u, data..) -> log density, gradient, Hessian at forward(u)
 *
 * u is the vector of all free reals, block after block (ir/transform.h). What is maximised is
 * the density of the parameters as declared: no Jacobian is added. */
#include "passes/estimate_fit.h"

#include <math.h>

#include "base/diag.h"
#include "passes/closed.h"
#include "passes/estimate_closed.h"
#include "passes/estimate_squares.h"

static Ctx *ctx_of(const Fit *z) { return z->e->u->ctx; }

static Dim need(const Fit *z, Dim d) {
    if (!d)
        ctx_internal(ctx_of(z), "the number of parameters of %s overflows", z->e->block->name);
    return d;
}

Fit fit_of(Build *e, int left_out) {
    Ctx *ctx = e->u->ctx;
    Fit z = {.e = e, .left_out = left_out};
    z.p = ARENA_ARRAY(e->u->arena, Free, e->block->params.n + 1);
    z.n_free = z.n_params = dim_const(ctx, 0);
    for (int k = 0; k < e->block->params.n; k++) {
        const AbiTensor *t = &e->block->params.p[k];
        Free *p = &z.p[z.n];
        Dim n_cells = need(&z, type_count(ctx, t->type)), home = z.n_params;
        const AbiMask *mask = mask_of(t);
        z.n_params = need(&z, dim_add(ctx, z.n_params, n_cells));
        if (k == left_out || (mask && !mask->n_learned))
            continue;
        z.n++;
        p->tensor = k;
        p->d = transform_of(t->kind);
        p->c = (TransformCall){e->m, e->f, t, type_with(t->type, DT_F64), t->span};
        p->mask = mask;
        p->full = p->d->free_type(ctx, p->c.type);
        p->free = mask ? mask_block(ctx, mask, p->full) : p->full;
        p->at = z.n_free;
        p->home = home;
        p->count = need(&z, type_count(ctx, p->free));
        p->n_cells = n_cells;
        z.n_free = need(&z, dim_add(ctx, z.n_free, p->count));
    }
    return z;
}

/* ---- vectors of blocks */

Val fit_reshaped(Build *e, Val x, Type to) {
    if (graph_type(e->f, x).rank == to.rank)
        return x;
    ReshapeAttr *a = ARENA_NEW(e->u->arena, ReshapeAttr);
    a->type = type_with(to, graph_type(e->f, x).dt);
    return graph_inst(e->m, e->f, &op_reshape, &x, 1, a, e->span, NULL)->first;
}

/* v[at ..], in the shape of `to`. */
static Val cut(Build *e, Val v, Dim at, Dim count, Type to, Str name) {
    Ctx *ctx = e->u->ctx;
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    Dim k = to.rank ? maker_index(&n, "k", count) : dim_const(ctx, 0), from = dim_add(ctx, at, k);
    int read = maker_read(&n, v, &from);
    return fit_reshaped(e, maker_done(&n, read, to.rank ? 1 : 0, &k, &count, e->span, name), to);
}

/* The blocks one after the other. */
Val fit_joined(Build *e, const Val *blocks, const Dim *at, int n, Dim total) {
    Ctx *ctx = e->u->ctx;
    DType dt = n ? graph_type(e->f, blocks[0]).dt : DT_F64;
    Type all = type_new(ctx, dt, 1, &total);
    Val v = {0};
    if (n != 1 || graph_type(e->f, blocks[0]).rank != 1 ||
        graph_type(e->f, blocks[0]).shape[0] != total)
        v = graph_fill(e->m, e->f, all, 0, e->span, NULL);
    for (int k = 0; k < n; k++) {
        Type t = graph_type(e->f, blocks[k]);
        Dim count = type_count(ctx, t);
        if (!v.id)
            return blocks[0];
        Val flat =
            t.rank > 1 ? fit_reshaped(e, blocks[k], type_new(ctx, dt, 1, &count)) : blocks[k];
        NestMaker m = nest_maker(e->m, e->f, NEST_STORE);
        Dim i = t.rank ? maker_index(&m, "k", count) : dim_const(ctx, 0),
            to = dim_add(ctx, at[k], i);
        int read = maker_read(&m, flat, &i);
        vec_push(&ctx->perm, &m.args, v);
        Nest nest = {.op = NEST_STORE,
                     .n_box = m.box.n,
                     .box = m.box.p,
                     .rank = 1,
                     .map = arena_dup(&ctx->perm, &to, sizeof to),
                     .init = m.args.n - 1};
        nest.body = body_done(&m.b, read);
        v = graph_nest(e->m, e->f, &nest, m.args.p, m.args.n, dt, all.shape, e->span, NULL);
    }
    return v;
}

/* Of values for all free reals of a parameter, those in u. */
static Val learned(const Fit *z, const Free *p, Val full) {
    return p->mask ? mask_take(z->e, p->mask, full) : full;
}

typedef Val (*BlockFn)(const TransformCall *c);

/* A table of the transforms, for all of u. */
static Val table(const Fit *z, BlockFn (*column)(const TransformDef *d)) {
    Build *e = z->e;
    Val *v = ARENA_ARRAY(e->u->arena, Val, z->n + 1);
    Dim *at = ARENA_ARRAY(e->u->arena, Dim, z->n + 1);
    for (int k = 0; k < z->n; k++) {
        v[k] = learned(z, &z->p[k], column(z->p[k].d)(&z->p[k].c));
        at[k] = z->p[k].at;
    }
    if (!z->n)
        return graph_fill(e->m, e->f, type_new(ctx_of(z), DT_I64, 1, &z->n_free), 0, e->span, NULL);
    return fit_joined(e, v, at, z->n, z->n_free);
}

static BlockFn ends_column(const TransformDef *d) { return d->ends; }

/* The parameter as it is given, f64. */
static Val given(Build *e, int tensor) {
    const AbiTensor *t = &e->block->params.p[tensor];
    Param p = {.name = t->path, .role = ROLE_PARAM, .span = t->span, .tensor = tensor};
    return graph_cast(e->m, e->f, est_need_param(e, &p, t->type), DT_F64, e->span, NULL);
}

/* Elements that are held are those given, whatever the transform would make of them. */
static Val forward_one(Build *e, const Free *p, Val block) {
    TransformCall c = p->c;
    c.f = e->f;
    if (!p->mask)
        return p->d->forward(&c, block);
    Val x = p->d->forward(&c, mask_put(e, p->mask, block, p->full));
    return mask_select(e, p->mask, x, given(e, p->tensor));
}

/* cuts: the blocks of u, by number of the free parameter. */
static Val *forward(const Fit *z, Build *e, Val u, Val *cuts) {
    Val *theta = ARENA_ARRAY(e->u->arena, Val, e->block->params.n + 1);
    for (int k = 0; k < z->n; k++) {
        const Free *p = &z->p[k];
        cuts[k] = cut(e, u, p->at, p->count, p->free, p->c.t->path);
        theta[p->tensor] = forward_one(e, p, cuts[k]);
    }
    for (int k = 0; k < e->block->params.n; k++)
        if (!theta[k].id && k != z->left_out)
            theta[k] = given(e, k);
    return theta;
}

Val *fit_forward(const Fit *z, Build *e, Val u) {
    return forward(z, e, u, ARENA_ARRAY(e->u->arena, Val, z->n + 1));
}

Val fit_inverse(const Fit *z, const Val *theta) {
    Build *e = z->e;
    Val *v = ARENA_ARRAY(e->u->arena, Val, z->n + 1);
    Dim *at = ARENA_ARRAY(e->u->arena, Dim, z->n + 1);
    for (int k = 0; k < z->n; k++) {
        v[k] = learned(z, &z->p[k], z->p[k].d->inverse(&z->p[k].c, theta[z->p[k].tensor]));
        at[k] = z->p[k].at;
    }
    return fit_joined(e, v, at, z->n, z->n_free);
}

Val fit_start(const Fit *z) {
    Build *e = z->e;
    Val *theta = ARENA_ARRAY(e->u->arena, Val, e->block->params.n + 1);
    for (int k = 0; k < z->n; k++)
        theta[z->p[k].tensor] = given(e, z->p[k].tensor);
    return fit_inverse(z, theta);
}

Val fit_unit(Build *e, Dim n) {
    NestMaker m = nest_maker(e->m, e->f, NEST_STORE);
    Dim at[2] = {maker_index(&m, "i", n), maker_index(&m, "j", n)};
    int same = body_op2(&m.b, SC_eq, body_index(&m.b, at[0]), body_index(&m.b, at[1]));
    int v = body_op3(&m.b, SC_select, same, body_real(&m.b, DT_F64, 1), body_real(&m.b, DT_F64, 0));
    return maker_done(&m, v, 2, at, (Dim[]){n, n}, e->span, NULL);
}

/* ---- the body */

Func *fit_body(const Fit *z, const char *suffix) {
    Build *e = z->e;
    Func *f = graph_func_new(e->m, str_fmt(ctx_of(z), "%s.%s", e->f->name, suffix), e->span);
    f->real = e->f->real;
    f->block = e->f->block;
    for (int k = 0; k < e->f->dims.n; k++)
        vec_push(e->m->arena, &f->dims, e->f->dims.p[k]);
    Param u = {.name = str_of(ctx_of(z), "u"), .role = ROLE_LOCAL, .span = e->span, .tensor = -1};
    graph_param(e->m, f, u, type_new(ctx_of(z), DT_F64, 1, &z->n_free));
    return f;
}

static Build in_body(const Fit *z, Func *f, double left_out, Val *cuts) {
    Build b = *z->e;
    b.f = f;
    Val *theta = forward(z, &b, f->params.p[0].val, cuts);
    if (z->left_out >= 0)
        theta[z->left_out] = graph_fill(b.m, f, type_scalar(DT_F64), left_out, b.span, NULL);
    for (int k = 0; k < b.block->params.n; k++)
        theta[k] = graph_cast(b.m, f, theta[k], b.block->params.p[k].type.dt, b.span, NULL);
    b.theta = theta;
    return b;
}

Build fit_in_body(const Fit *z, Func *f, double left_out) {
    return in_body(z, f, left_out, ARENA_ARRAY(z->e->u->arena, Val, z->n + 1));
}

int fit_local(Build *b, Val v, const char *name) {
    if (!v.id)
        return -1;
    est_result(b, v, name, RES_LOCAL, -1);
    return b->f->results.n - 1;
}

/* Blocks of the Hessian's columns that are computed in one sweep: a large one alone, so that its
 * sums are not mixed with those of others, and small ones in a row together. */
static bool is_large(const Free *p) {
    enum { SMALL = 8 };
    int64_t n;
    return !dim_is_const(p->count, &n) || n > SMALL;
}

static int run_end(const Fit *z, int from) {
    int end = from + 1;
    while (!is_large(&z->p[from]) && end < z->n && !is_large(&z->p[end]))
        end++;
    return end;
}

/* part[i, j] in the columns from `at` on of a matrix, which is else `into`. */
static Val put_columns(Build *e, Val into, Val part, Dim at) {
    Type t = graph_type(e->f, part), all = graph_type(e->f, into);
    NestMaker m = nest_maker(e->m, e->f, NEST_STORE);
    Dim i[2] = {maker_index(&m, "i", t.shape[0]), maker_index(&m, "j", t.shape[1])};
    int read = maker_read(&m, part, i);
    Dim to[2] = {i[0], dim_add(e->u->ctx, at, i[1])};
    vec_push(&e->u->ctx->perm, &m.args, into);
    Nest nest = {.op = NEST_STORE,
                 .n_box = m.box.n,
                 .box = m.box.p,
                 .rank = 2,
                 .map = arena_dup(&e->u->ctx->perm, to, sizeof to),
                 .init = m.args.n - 1};
    nest.body = body_done(&m.b, read);
    return graph_nest(e->m, e->f, &nest, m.args.p, m.args.n, t.dt, all.shape, e->span, NULL);
}

/* The derivative by u of the gradient, whose blocks are given. */
static Val hessian_of(const Fit *z, Build *b, Val u, const Val *blocks) {
    Dim pp[2] = {z->n_free, z->n_free};
    Dim *at = ARENA_ARRAY(b->u->arena, Dim, z->n + 1);
    Val h = {0};
    if (!z->n) /* all is held */
        return graph_fill(b->m, b->f, type_new(ctx_of(z), DT_F64, 2, pp), 0, b->span, NULL);
    for (int k = 0, end; k < z->n; k = end) {
        Dim n = dim_const(ctx_of(z), 0);
        end = run_end(z, k);
        for (int j = k; j < end; j++) {
            at[j] = n;
            n = need(z, dim_add(ctx_of(z), n, z->p[j].count));
        }
        Val y = fit_joined(b, blocks + k, at + k, end - k, n);
        Val part = est_vjp(b, y, fit_unit(b, n), &u, 1, n)->first;
        if (k == 0 && end == z->n)
            return part;
        if (!h.id)
            h = graph_fill(b->m, b->f, type_new(ctx_of(z), DT_F64, 2, pp), 0, b->span, NULL);
        h = put_columns(b, h, part, z->p[k].at);
    }
    return h;
}

FitBody fit_value_body(const Fit *z, const Parts *p, const char *suffix, bool hessian) {
    FitBody r = {.f = fit_body(z, suffix)};
    Val u = r.f->params.p[0].val;
    Val *cuts = ARENA_ARRAY(z->e->u->arena, Val, z->n + 1);
    Build b = in_body(z, r.f, 0, cuts);
    Density d = est_density(&b, p);
    const Inst *by_block = z->n ? est_vjp(&b, d.value, est_one(&b), cuts, z->n, NULL) : NULL;
    Val *blocks = ARENA_ARRAY(b.u->arena, Val, z->n + 1);
    Dim *at = ARENA_ARRAY(b.u->arena, Dim, z->n + 1);
    for (int k = 0; k < z->n; k++) {
        blocks[k] = inst_result(by_block, k);
        at[k] = z->p[k].at;
    }
    fit_local(&b, d.value, "value");
    fit_local(&b, fit_joined(&b, blocks, at, z->n, z->n_free), "gradient");
    if (hessian)
        fit_local(&b, hessian_of(z, &b, u, blocks), "hessian");
    r.loglik = fit_local(&b, d.loglik, "loglik");
    r.logprior = fit_local(&b, d.logprior, "logprior");
    return r;
}

static const Inst *optimise_within(const Fit *z, const Func *f, FitMethod method, Dim rows, Val u,
                                   int64_t limit) {
    Build *e = z->e;
    Val *args = ARENA_ARRAY(e->u->arena, Val, f->params.n + 2);
    args[0] = u;
    args[1] = table(z, ends_column);
    for (int k = 1; k < f->params.n; k++)
        args[k + 1] = est_need_param(e, &f->params.p[k], graph_type(f, f->params.p[k].val));
    FitAttr *attr = ARENA_NEW(e->u->arena, FitAttr);
    *attr = (FitAttr){.body = f->id, .method = method, .rows = rows, .limit = limit};
    return graph_inst(e->m, e->f, &op_fit, args, f->params.n + 1, attr, e->span, NULL);
}

const Inst *fit_optimise(const Fit *z, const Func *f, FitMethod method, Dim rows, Val u) {
    return optimise_within(z, f, method, rows, u, 0);
}

/* ---- the covariance on the declared scale: J C J' */

/* f64 scalars 1 where cov[k, k] is NaN, for every element of u. */
static Val missing(const Fit *z, Val cov) {
    NestMaker n = nest_maker(z->e->m, z->e->f, NEST_STORE);
    Dim k = maker_index(&n, "k", z->n_free);
    int c = maker_read(&n, cov, (Dim[]){k, k}), nan = body_op2(&n.b, SC_ne, c, c);
    return maker_done(&n, body_cast(&n.b, DT_F64, nan), 1, &k, &z->n_free, z->e->span, NULL);
}

/* What is marked for a free real is marked for every element of its value. */
static Val missing_cells(const Fit *z, Val marks) {
    Build *e = z->e;
    Val *v = ARENA_ARRAY(e->u->arena, Val, z->n + 1);
    Dim *at = ARENA_ARRAY(e->u->arena, Dim, z->n + 1);
    for (int k = 0; k < z->n; k++) {
        const Free *p = &z->p[k];
        at[k] = p->home;
        v[k] = cut(e, marks, p->at, p->count, p->free, NULL);
        if (p->mask)
            v[k] = mask_put(e, p->mask, v[k], p->full);
        if (!p->d->axes)
            continue;
        int lead = p->c.type.rank - p->d->axes;
        NestMaker any = nest_maker(e->m, e->f, NEST_MAX);
        Dim i[MAX_RANK];
        maker_cells(&any, p->full, i);
        Val one =
            maker_done(&any, maker_read(&any, v[k], i), lead, i, p->full.shape, e->span, NULL);
        NestMaker all = nest_maker(e->m, e->f, NEST_STORE);
        maker_cells(&all, p->c.type, i);
        v[k] = maker_done(&all, maker_read(&all, one, i), p->c.type.rank, i, p->c.type.shape,
                          e->span, NULL);
    }
    return fit_joined(e, v, at, z->n, z->n_params);
}

/* sum_b x[a, b] * y[b, j], where x that are NaN count as 0 */
static Val product(const Fit *z, Val x, Val y, bool turned) {
    Build *e = z->e;
    NestMaker n = nest_maker(e->m, e->f, NEST_SUM);
    Type tx = graph_type(e->f, x), ty = graph_type(e->f, y);
    Dim shape[2] = {tx.shape[turned ? 1 : 0], ty.shape[1]};
    Dim a = maker_index(&n, "a", shape[0]), j = maker_index(&n, "j", shape[1]),
        b = maker_index(&n, "b", ty.shape[0]);
    int v = maker_read(&n, x, turned ? (Dim[]){b, a} : (Dim[]){a, b});
    if (!turned)
        v = body_op3(&n.b, SC_select, body_op2(&n.b, SC_ne, v, v), body_real(&n.b, DT_F64, 0), v);
    int body = body_op2(&n.b, SC_mul, v, maker_read(&n, y, (Dim[]){b, j}));
    return maker_done(&n, body, 2, (Dim[]){a, j}, shape, e->span, NULL);
}

Val fit_covariance(const Fit *z, Val u, const Val *theta, Val cov) {
    Build *e = z->e;
    Dim *at = ARENA_ARRAY(e->u->arena, Dim, z->n + 1);
    Val *blocks = ARENA_ARRAY(e->u->arena, Val, z->n + 1);
    for (int k = 0; k < z->n; k++) {
        at[k] = z->p[k].home;
        blocks[k] = theta[z->p[k].tensor];
    }
    Val all = fit_joined(e, blocks, at, z->n, z->n_params);
    Val jt = est_vjp(e, all, fit_unit(e, z->n_params), &u, 1, z->n_params)->first;
    Val full = product(z, jt, product(z, cov, jt, false), true);
    Val bad = missing_cells(z, missing(z, cov));
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    Dim i[2] = {maker_index(&n, "i", z->n_params), maker_index(&n, "j", z->n_params)};
    int marks = body_op2(&n.b, SC_add, maker_read(&n, bad, &i[0]), maker_read(&n, bad, &i[1]));
    int none = body_op2(&n.b, SC_eq, marks, body_real(&n.b, DT_F64, 0));
    int body =
        body_op3(&n.b, SC_select, none, maker_read(&n, full, i), body_real(&n.b, DT_F64, NAN));
    return maker_done(&n, body, 2, i, (Dim[]){z->n_params, z->n_params}, e->span, NULL);
}

/* ---- figures */

/* Scalars of one type as a vector; id 0: NaN. */
static Val listed(const Fit *z, const Val *v, int n, DType dt) {
    Build *e = z->e;
    Ctx *ctx = ctx_of(z);
    NestMaker m = nest_maker(e->m, e->f, NEST_STORE);
    Dim count = dim_const(ctx, n), i = maker_index(&m, "i", count);
    int r = -1;
    for (int k = n; k-- > 0;) {
        int x = v[k].id ? maker_read(&m, v[k], NULL) : body_real(&m.b, DT_F64, NAN);
        int here = body_op2(&m.b, SC_eq, body_index(&m.b, i), body_int(&m.b, DT_I64, k));
        r = r < 0 ? x : body_op3(&m.b, SC_select, here, x, r);
    }
    (void)dt;
    return maker_done(&m, r, 1, &i, &count, e->span, NULL);
}

Val fit_element(Build *e, Val v, int k) {
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    Dim at = dim_const(e->u->ctx, k);
    return maker_done(&n, maker_read(&n, v, &at), 0, NULL, NULL, e->span, NULL);
}

Val fit_dim(Build *e, Dim d) {
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    return maker_done(&n, body_dim(&n.b, d), 0, NULL, NULL, e->span, NULL);
}

/* -1 stays. */
Val fit_where(const Fit *z, Val at) {
    Build *e = z->e;
    bool same = true;
    if (dim_is_zero(z->n_free))
        return at;
    Val *v = ARENA_ARRAY(e->u->arena, Val, z->n + 1);
    Dim *starts = ARENA_ARRAY(e->u->arena, Dim, z->n + 1);
    for (int k = 0; k < z->n; k++)
        same &= z->p[k].at == z->p[k].home && !z->p[k].d->axes && !z->p[k].mask;
    if (same)
        return at;
    for (int k = 0; k < z->n; k++) {
        Val home = learned(z, &z->p[k], z->p[k].d->home(&z->p[k].c));
        v[k] = graph_map(e->m, e->f, SC_add, (Val[]){home, fit_dim(e, z->p[k].home)}, 2, e->span,
                         NULL);
        starts[k] = z->p[k].at;
    }
    Val home = fit_joined(e, v, starts, z->n, z->n_free);
    Val zero = fit_dim(e, dim_const(ctx_of(z), 0));
    GatherAttr *attr = ARENA_NEW(e->u->arena, GatherAttr);
    attr->at = 0;
    Val args[2] = {home, graph_map(e->m, e->f, SC_max, (Val[]){at, zero}, 2, e->span, NULL)};
    Val found = graph_inst(e->m, e->f, &op_gather, args, 2, attr, e->span, NULL)->first;
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    int k = maker_read(&n, at, NULL), fault = body_op2(&n.b, SC_le, body_int(&n.b, DT_I64, 0), k);
    int r = body_op3(&n.b, SC_select, fault, maker_read(&n, found, NULL), k);
    return maker_done(&n, r, 0, NULL, NULL, e->span, NULL);
}

void fit_require_start(const Fit *z, Val code) {
    Build *e = z->e;
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    int ok = body_op2(&n.b, SC_le, body_int(&n.b, DT_I64, 0), maker_read(&n, code, NULL));
    Val v = maker_done(&n, ok, 0, NULL, NULL, e->span, NULL);
    est_require(e, v,
                str_fmt(ctx_of(z), "%s: the log density or its gradient is not finite at the start",
                        e->block->name),
                e->span);
}

void fit_results(const Fit *z, const Val *theta, Val cov, const Figures *g) {
    Build *e = z->e;
    Dim n = e->block->observations ? e->block->observations : dim_const(ctx_of(z), 0);
    for (int k = 0; k < e->f->params.n; k++) {
        const Param *p = &e->f->params.p[k];
        if (p->role != ROLE_PARAM)
            continue;
        DType dt = graph_type(e->f, p->val).dt;
        Val v = graph_cast(e->m, e->f, theta[p->tensor], dt, e->span, NULL);
        est_result(e, v, p->name, RES_NEW_PARAM, k);
    }
    cov = graph_cast(e->m, e->f, cov, e->block->real, e->span, NULL);
    est_result(e, cov, "cov", RES_COV, -1);
    Val ints[4] = {fit_dim(e, dim_const(ctx_of(z), g->way)), g->iterations, fit_dim(e, n),
                   g->where};
    Val reals[6] = {g->loglik, g->logprior, g->grad_norm, g->s2, g->df, g->r2};
    est_result(e, listed(z, ints, 4, DT_I64), "counts", RES_INFO, -1);
    est_result(e, listed(z, reals, 6, DT_F64), "figures", RES_INFO, -1);
    est_result(e, graph_cast(e->m, e->f, g->code, DT_I32, e->span, NULL), "code", RES_CODE, -1);
}

/* ---- Newton, L-BFGS */

/* u with what the covariance leaves out, at a mode on the boundary, moved to that end. */
static Val at_ends(const Fit *z, Val u, Val cov, Val code) {
    enum { FAR = 800 }; /* exp and sigmoid are exactly 0 or 1 there */
    Build *e = z->e;
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    Dim k = maker_index(&n, "k", z->n_free);
    int c = maker_read(&n, cov, (Dim[]){k, k}), v = maker_read(&n, u, &k);
    int end = maker_read(&n, table(z, ends_column), &k), zero = body_int(&n.b, DT_I64, 0);
    int moved = body_op2(&n.b, SC_and, body_op2(&n.b, SC_ne, c, c),
                         body_op2(&n.b, SC_eq, maker_read(&n, code, NULL), zero));
    moved = body_op2(&n.b, SC_and, moved, body_op2(&n.b, SC_ne, end, zero));
    int low = body_op2(&n.b, SC_lt, v, body_real(&n.b, DT_F64, 0));
    int to =
        body_op3(&n.b, SC_select, low, body_real(&n.b, DT_F64, -FAR), body_real(&n.b, DT_F64, FAR));
    return maker_done(&n, body_op3(&n.b, SC_select, moved, to, v), 1, &k, &z->n_free, e->span,
                      NULL);
}

enum { MOST_AT_MODE = 30 }; /* evaluations of the Hessian after L-BFGS */

/* x where L-BFGS ended for good (at infinity, without bound), else y: what Newton's
 * method says at its point. */
static Val unless_final(const Fit *z, Val code, Val x, Val y) {
    enum { DIVERGES = 3, UNBOUNDED = 4 };
    static const int64_t final[] = {DIVERGES, UNBOUNDED};
    NestMaker n = nest_maker(z->e->m, z->e->f, NEST_STORE);
    int c = maker_read(&n, code, NULL), r = maker_read(&n, y, NULL);
    for (size_t k = 0; k < sizeof final / sizeof *final; k++)
        r = body_op3(&n.b, SC_select, body_op2(&n.b, SC_eq, c, body_int(&n.b, DT_I64, final[k])),
                     maker_read(&n, x, NULL), r);
    return maker_done(&n, r, 0, NULL, NULL, z->e->span, NULL);
}

/* The figures of L-BFGS, corrected by Newton's method from its point. */
static void judge_mode(const Fit *z, Figures *g, const Inst *newton) {
    Build *e = z->e;
    Val ctl = inst_result(newton, FIT_CTL), code = g->code;
    g->where = unless_final(z, code, g->where, fit_where(z, fit_element(e, ctl, 2)));
    Val result = fit_element(e, ctl, 1); /* -1, no finite Hessian: 1, not converged */
    result = graph_map(e->m, e->f, SC_abs, &result, 1, e->span, NULL);
    g->code = unless_final(z, code, code, result);
    g->grad_norm = fit_element(e, inst_result(newton, FIT_STATS), 1);
    g->iterations = graph_map(e->m, e->f, SC_add, (Val[]){g->iterations, fit_element(e, ctl, 3)}, 2,
                              e->span, NULL);
}

static void fit_value(Fit *z, const Parts *p, bool newton) {
    Build *e = z->e;
    FitMethod method = newton ? FIT_NEWTON : FIT_LBFGS;
    FitBody body = fit_value_body(z, p, "body", newton);
    const Inst *i = fit_optimise(z, body.f, method, NULL, fit_start(z)), *best = i;
    Val u = inst_result(i, FIT_POINT), ctl = inst_result(i, FIT_CTL);
    Figures g = {.way = newton ? WAY_NEWTON : WAY_LBFGS,
                 .code = fit_element(e, ctl, 1),
                 .iterations = fit_element(e, ctl, 3)};
    fit_require_start(z, g.code);
    g.where = fit_where(z, fit_element(e, ctl, 2));
    g.grad_norm = fit_element(e, inst_result(i, FIT_STATS), 1);
    if (!newton) { /* a few steps with the Hessian, which the covariance needs anyway */
        body = fit_value_body(z, p, "hessian", true);
        best = optimise_within(z, body.f, FIT_NEWTON, NULL, u, MOST_AT_MODE);
        u = inst_result(best, FIT_POINT);
        judge_mode(z, &g, best);
    }
    int first = fit_first(FIT_NEWTON);
    if (body.loglik >= 0)
        g.loglik = inst_result(best, first + body.loglik);
    if (body.logprior >= 0)
        g.logprior = inst_result(best, first + body.logprior);
    Val cov = inst_result(best, FIT_COV);
    u = at_ends(z, u, cov, g.code);
    Val *theta = fit_forward(z, e, u);
    fit_results(z, theta, fit_covariance(z, u, theta, cov), &g);
}

/* Newton's work grows with the square of the number of parameters, and its memory. */
static bool suits_newton(const Fit *z) {
    enum { MANY = 200 };
    int64_t n;
    return !dim_is_const(z->n_free, &n) || n <= MANY;
}

void est_make_fit(Unit *u, int block, const Parts *p) {
    AbiBlock *b = u->graph->blocks.p[block];
    Build e = est_begin(u, block, p, "fit", ENTRY_FIT);
    Squares squares;
    Closed closed;
    Str no_squares = NULL, no_closed = NULL;
    FitWay way = u->fit_way;
    est_all_params(&e);
    est_require_labels(&e);
    b->fit = (AbiFit){.present = true, .scale = -1};
    bool is_closed = (way == FIT_WAY_AUTO || way == FIT_WAY_CLOSED) && p->loglik &&
                     closed_form(u, block, p->loglik, p->logprior, &closed, &no_closed);
    bool is_squares = est_squares(u, block, p, &squares, &no_squares);
    if (way == FIT_WAY_LSQ && !is_squares)
        diag_error(u->ctx, "E1250", b->span, "%s is no least squares: %s", b->name, no_squares);
    if (way == FIT_WAY_CLOSED && !is_closed)
        diag_error(u->ctx, "E1250", b->span, "%s has no closed form%s%s", b->name,
                   no_closed ? ": " : "", no_closed ? no_closed : "");
    if (is_closed) {
        est_fit_closed(&e, p, &closed);
    } else if (is_squares && (way == FIT_WAY_AUTO || way == FIT_WAY_LSQ)) {
        b->fit.scale = squares.scale;
        est_fit_squares(&e, p, &squares);
    } else {
        Fit z = fit_of(&e, -1);
        fit_value(&z, p, way == FIT_WAY_NEWTON || (way != FIT_WAY_LBFGS && suits_newton(&z)));
    }
    if (is_closed)
        est_make_posterior(u, block, p, &closed);
    if (is_closed)
        graph_func_remove(u->graph, closed.part->id);
}
