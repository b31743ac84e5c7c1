/* estimate: the densities of an estimator become the entries that fit it.
 *
 *   E.loglik, E.logprior, E.update   ->   E.loss_grad, E.step       with `using`: mini-batches
 *   E.loglik, E.logprior             ->   E.logp, E.grad, E.fit     exact estimators
 *
 * A `minimize` has E.objective in the place of E.loglik, which counts as minus a log likelihood per
 * row. Training minimises -(1/b) log likelihood - (prior/n) log prior; b rows of this batch, n of
 * all. The step requires loss and gradients to be finite before it updates anything. Every entry
 * that takes labels requires them to lie in their kind first. The parts are removed; derivatives
 * are left to `ad`. */
#include <string.h>

#include "ir/dist.h"
#include "passes/degree.h"
#include "passes/estimate_priv.h"

/* ---- scalars */

typedef int (*ScalarFn)(BodyBuilder *b, const int *args, const Build *e);

/* A nest without axes over scalars (reads in the types they have). */
static Val scalar(Build *e, const Val *args, int n, DType dt, ScalarFn fn) {
    BodyBuilder b = body_new(e->u->ctx);
    int reads[8];
    for (int k = 0; k < n; k++)
        reads[k] = body_read(&b, graph_type(e->f, args[k]).dt, k, 0, NULL);
    Nest s = {.op = NEST_STORE, .init = -1};
    s.body = body_done(&b, body_cast(&b, dt, fn(&b, reads, e)));
    return graph_nest(e->m, e->f, &s, args, n, dt, NULL, e->span, NULL);
}

static int one_fn(BodyBuilder *b, const int *a, const Build *e) {
    (void)a, (void)e;
    return body_real(b, DT_F64, 1);
}

/* The rows of the batch: the estimator's first dim, or 1 where it has none. */
static int rows_fn(BodyBuilder *b, const Build *e) {
    DimSym rows = e->block->using_.rows;
    if (!rows && e->block->dims.n)
        rows = e->block->dims.p[0];
    return rows ? body_cast(b, DT_F64, body_dim(b, dim_of(e->u->ctx, rows)))
                : body_real(b, DT_F64, 1);
}

/* n_total, or the number of rows where it is 0. */
static int total_fn(BodyBuilder *b, int n_total, const Build *e) {
    int none = body_op2(b, SC_eq, n_total, body_int(b, DT_I64, 0));
    return body_op3(b, SC_select, none, rows_fn(b, e), body_cast(b, DT_F64, n_total));
}

/* -(1/b) loglik */
static int data_loss_fn(BodyBuilder *b, const int *a, const Build *e) {
    return body_op1(b, SC_neg, body_op2(b, SC_div, a[0], rows_fn(b, e)));
}

/* data loss - (prior/n) logprior; a: data loss, log prior, prior, n_total */
static int loss_fn(BodyBuilder *b, const int *a, const Build *e) {
    int weight = body_op2(b, SC_div, a[2], total_fn(b, a[3], e));
    return body_op2(b, SC_sub, a[0], body_op2(b, SC_mul, weight, a[1]));
}

/* -objective - that share of the prior: what an exact `minimize` makes greatest; a: objective, log
 * prior, prior */
static int minus_objective_fn(BodyBuilder *b, const int *a, const Build *e) {
    int weight = body_op2(b, SC_div, a[2], rows_fn(b, e));
    return body_op2(b, SC_sub, body_op2(b, SC_mul, weight, a[1]), a[0]);
}

static int negated_fn(BodyBuilder *b, const int *a, const Build *e) {
    (void)e;
    return body_op1(b, SC_neg, a[0]);
}

/* loglik + prior * logprior, which is left out where prior is 0: it may be -inf there */
static int logp_fn(BodyBuilder *b, const int *a, const Build *e) {
    (void)e;
    int none = body_op2(b, SC_eq, a[2], body_real(b, DT_F64, 0)),
        share = body_op2(b, SC_mul, a[2], a[1]);
    return body_op2(b, SC_add, a[0], body_op3(b, SC_select, none, body_real(b, DT_F64, 0), share));
}

static int is_none_fn(BodyBuilder *b, const int *a, const Build *e) {
    (void)e;
    return body_op2(b, SC_lt, a[0], body_int(b, DT_I32, 1));
}

/* ---- params */

static int find_param(const Func *f, Role role, Str name) {
    for (int k = 0; k < f->params.n; k++)
        if (f->params.p[k].role == role && (!name || f->params.p[k].name == name))
            return k;
    return -1;
}

/* Roles of which a function has one at most; the name does not matter. */
static bool is_single(Role r) {
    return r == ROLE_PRIOR || r == ROLE_NTOTAL || r == ROLE_EPOCH || r == ROLE_SEED ||
           r == ROLE_STEP;
}

Val est_need_param(Build *e, const Param *like, Type t) {
    int k = find_param(e->f, like->role, is_single(like->role) ? NULL : like->name);
    return k >= 0 ? e->f->params.p[k].val : graph_param(e->m, e->f, *like, t);
}

static Val hyper_param(Build *e, Role role, const char *name, DType dt) {
    Param p = {.name = str_of(e->u->ctx, name), .role = role, .span = e->span, .tensor = -1};
    return est_need_param(e, &p, type_scalar(dt));
}

static void need_params_of(Build *e, const Func *part) {
    for (int k = 0; part && k < part->params.n; k++) {
        const Param *p = &part->params.p[k];
        bool known = p->role == ROLE_PARAM && e->f->entry && e->f->entry->kind == ENTRY_POSTERIOR;
        if (p->role != ROLE_GRAD && p->role != ROLE_STEP && !known)
            est_need_param(e, p, graph_type(part, p->val));
    }
}

static int zero_fn(BodyBuilder *b, const int *a, const Build *e) {
    (void)a, (void)e;
    return body_int(b, DT_I64, 0);
}

static Val step_of(Build *e) {
    if (!e->step.id)
        e->step = scalar(e, NULL, 0, DT_I64, zero_fn);
    return e->step;
}

/* Splices a part whose params all exist by role and name; returns its results. */
Val *est_splice(Build *e, const Func *part) {
    Val *args = ARENA_ARRAY(e->u->arena, Val, part->params.n + 1),
        *outs = ARENA_ARRAY(e->u->arena, Val, part->results.n + 1);
    for (int k = 0; k < part->params.n; k++) {
        const Param *p = &part->params.p[k];
        args[k] = p->role == ROLE_STEP ? step_of(e)
                  : e->theta && p->role == ROLE_PARAM
                      ? e->theta[p->tensor]
                      : est_need_param(e, p, graph_type(part, p->val));
    }
    graph_splice(e->m, e->f, part, args, NULL, 0, NULL, outs);
    return outs;
}

/* ---- requirements */

/* A nest that is 1 where a cell is bad, and its maximum over the tensor. */
typedef int (*BadFn)(BodyBuilder *b, int x, Dim bound);

static int not_finite(BodyBuilder *b, int x, Dim bound) {
    (void)bound;
    int d = body_op2(b, SC_sub, x, x);
    return body_op2(b, SC_ne, d, body_real(b, body_type(b, x), 0));
}

static int outside_kind(BodyBuilder *b, int x, Dim bound) {
    int v = body_cast(b, DT_I64, x);
    return body_op2(b, SC_or, body_op2(b, SC_lt, v, body_int(b, DT_I64, 0)),
                    body_op2(b, SC_le, body_dim(b, bound), v));
}

void est_require(Build *e, Val ok, Str message, Span span) {
    RequireAttr *attr = ARENA_NEW(e->u->arena, RequireAttr);
    *attr = (RequireAttr){.message = message, .span = span};
    graph_inst(e->m, e->f, &op_require, &ok, 1, attr, span, NULL);
}

/* Whether no cell of v is bad. */
static Val none_bad(Build *e, Val v, BadFn bad, Dim bound, Span span) {
    Ctx *ctx = e->u->ctx;
    Type t = graph_type(e->f, v);
    NestIndex *box = ARENA_ARRAY(e->u->arena, NestIndex, t.rank + 1);
    Dim *map = ARENA_ARRAY(e->u->arena, Dim, t.rank + 1);
    for (int k = 0; k < t.rank; k++) {
        box[k] = (NestIndex){nest_index(ctx, str_fmt(ctx, "i%d", k)), t.shape[k]};
        map[k] = dim_of(ctx, box[k].sym);
    }
    BodyBuilder b = body_new(ctx);
    int found = body_cast(&b, DT_I32, bad(&b, body_read(&b, t.dt, 0, t.rank, map), bound));
    Nest n = {.op = NEST_MAX, .n_box = t.rank, .box = box, .rank = 0, .init = -1};
    n.body = body_done(&b, found);
    Val worst = graph_nest(e->m, e->f, &n, &v, 1, DT_I32, NULL, span, NULL);
    return scalar(e, &worst, 1, DT_BOOL, is_none_fn);
}

void est_require_labels(Build *e) {
    Ctx *ctx = e->u->ctx;
    for (int k = 0; k < e->f->params.n; k++) {
        const Param *p = &e->f->params.p[k];
        if (p->role != ROLE_INPUT || !p->bound)
            continue;
        Str message = str_fmt(ctx, "%s holds a value outside 0 .. %s", p->name,
                              dim_text(ctx, dim_addk(ctx, p->bound, -1)));
        est_require(e, none_bad(e, p->val, outside_kind, p->bound, p->span), message, p->span);
    }
}

/* Entries that exist already begin with the requirements on their labels. */
static void guard_entry(Unit *u, Func *f) {
    bool any = false;
    for (int k = 0; k < f->params.n; k++)
        any |= f->params.p[k].role == ROLE_INPUT && f->params.p[k].bound;
    if (!any || !f->entry)
        return;
    Rewrite r = rewrite_begin(u, f);
    Build e = {.u = u, .m = u->graph, .f = r.to, .span = f->span};
    est_require_labels(&e);
    for (int k = 0; k < f->insts.n; k++)
        rewrite_copy(&r, f->insts.p[k]);
    rewrite_end(&r);
}

/* ---- entries */

Build est_begin(Unit *u, int block, const Parts *p, const char *suffix, AbiEntryKind kind) {
    Build e = {.u = u, .m = u->graph, .block = u->graph->blocks.p[block]};
    const Func *like = p->loglik ? p->loglik : p->objective;
    e.span = like->span;
    e.f = graph_func_new(e.m, str_fmt(u->ctx, "%s.%s", e.block->name, suffix), like->span);
    e.f->real = like->real;
    e.f->block = block;
    for (int k = 0; k < e.block->dims.n; k++)
        vec_push(u->arena, &e.f->dims, e.block->dims.p[k]);
    const Func *parts[4] = {like, p->logprior, NULL, NULL};
    for (int k = 0; k < 2; k++)
        for (int j = 0; parts[k] && j < parts[k]->checks.n; j++)
            vec_push(u->arena, &e.f->checks, parts[k]->checks.p[j]);
    AbiEntry *entry = ARENA_NEW(u->arena, AbiEntry);
    *entry = (AbiEntry){.kind = kind,
                        .cname = str_fmt(u->ctx, "%s_%s", e.block->cname, suffix),
                        .decl = e.block->name,
                        .span = e.block->span};
    e.f->entry = entry;
    need_params_of(&e, like);
    need_params_of(&e, p->logprior);
    return e;
}

/* Every parameter of the block is an argument, in order, also one that nothing mentions. */
void est_all_params(Build *e) {
    for (int k = 0; k < e->block->params.n; k++) {
        const AbiTensor *t = &e->block->params.p[k];
        Param p = {.name = t->path, .role = ROLE_PARAM, .span = t->span, .tensor = k};
        est_need_param(e, &p, t->type);
    }
}

typedef struct Objective {
    Val value;
    Val *outs;          /* results of the likelihood part */
    const Func *source; /* of outs */
} Objective;

static Objective training_loss(Build *e, const Parts *p) {
    Objective o = {.source = p->loglik ? p->loglik : p->objective};
    o.outs = est_splice(e, o.source);
    Val data = p->loglik ? scalar(e, o.outs, 1, DT_F64, data_loss_fn) : o.outs[0];
    o.value = data;
    if (p->logprior) {
        Val args[4] = {data, est_splice(e, p->logprior)[0],
                       hyper_param(e, ROLE_PRIOR, "prior", DT_F64),
                       hyper_param(e, ROLE_NTOTAL, "n_total", DT_I64)};
        o.value = scalar(e, args, 4, DT_F64, loss_fn);
    }
    return o;
}

Density est_density(Build *e, const Parts *p) {
    Density d = {.value = est_splice(e, p->loglik ? p->loglik : p->objective)[0]};
    if (p->loglik)
        d.loglik = d.value;
    if (p->logprior) {
        d.logprior = est_splice(e, p->logprior)[0];
        Val args[3] = {d.value, d.logprior, hyper_param(e, ROLE_PRIOR, "prior", DT_F64)};
        d.value = scalar(e, args, 3, DT_F64, p->loglik ? logp_fn : minus_objective_fn);
    } else if (!p->loglik) {
        d.value = scalar(e, &d.value, 1, DT_F64, negated_fn);
    }
    return d;
}

const Inst *est_vjp(Build *e, Val y, Val g, const Val *w, int n, Dim lanes) {
    Val *args = ARENA_ARRAY(e->u->arena, Val, n + 2);
    args[0] = y;
    args[1] = g;
    for (int k = 0; k < n; k++)
        args[2 + k] = w[k];
    VjpAttr *attr = ARENA_NEW(e->u->arena, VjpAttr);
    *attr = (VjpAttr){n, lanes};
    return graph_inst(e->m, e->f, &op_vjp, args, n + 2, attr, e->span, NULL);
}

Val est_one(Build *e) { return scalar(e, NULL, 0, DT_F64, one_fn); }

/* Cotangents of all parameters, by number of the function's param (id 0 for others). */
static Val *gradients(Build *e, Val y) {
    Val *w = ARENA_ARRAY(e->u->arena, Val, e->f->params.n + 1),
        *grads = ARENA_ARRAY(e->u->arena, Val, e->f->params.n + 1);
    int n = 0;
    for (int k = 0; k < e->f->params.n; k++)
        if (e->f->params.p[k].role == ROLE_PARAM)
            w[n++] = e->f->params.p[k].val;
    Val one = est_one(e);
    if (n == 0)
        return grads;
    const Inst *i = est_vjp(e, y, one, w, n, NULL);
    for (int k = 0, j = 0; k < e->f->params.n; k++)
        if (e->f->params.p[k].role == ROLE_PARAM)
            grads[k] = inst_result(i, j++);
    return grads;
}

void est_result(Build *e, Val v, const char *name, ResRole role, int of) {
    graph_result(e->m, e->f,
                 (Result){.val = v, .name = str_of(e->u->ctx, name), .role = role, .of = of});
}

/* All is looked at before anything is required, so that jobs can share that. */
static void require_finite_all(Build *e, Val loss, const Val *grads) {
    Val *finite = ARENA_ARRAY(e->u->arena, Val, e->f->params.n + 1),
        ok = none_bad(e, loss, not_finite, NULL, e->span);
    for (int k = 0; k < e->f->params.n; k++)
        if (grads[k].id)
            finite[k] = none_bad(e, grads[k], not_finite, NULL, e->span);
    est_require(e, ok, str_of(e->u->ctx, "the loss is not finite"), e->span);
    for (int k = 0; k < e->f->params.n; k++)
        if (grads[k].id)
            est_require(
                e, finite[k],
                str_fmt(e->u->ctx, "the gradient of %s is not finite", e->f->params.p[k].name),
                e->span);
}

static void make_loss_grad(Unit *u, int block, const Parts *p) {
    Build e = est_begin(u, block, p, "loss_grad", ENTRY_LOSS_GRAD);
    est_all_params(&e);
    est_require_labels(&e);
    Objective o = training_loss(&e, p);
    Val *grads = gradients(&e, o.value);
    require_finite_all(&e, o.value, grads);
    est_result(&e, o.value, "loss", RES_LOSS, -1);
    for (int k = 0; k < e.f->params.n; k++)
        if (grads[k].id)
            est_result(&e, grads[k], e.f->params.p[k].name, RES_GRAD, k);
}

static int next_step_fn(BodyBuilder *b, const int *a, const Build *e) {
    (void)e;
    return body_op2(b, SC_add, a[0], body_int(b, DT_I64, 1));
}

/* The number of this step, from the header's count of steps done. */
static Val step_number(Build *e, Val header) {
    Ctx *ctx = e->u->ctx;
    Dim *zero = ARENA_ARRAY(e->u->arena, Dim, 1);
    zero[0] = dim_const(ctx, 0);
    BodyBuilder b = body_new(ctx);
    Nest n = {.op = NEST_STORE, .init = -1};
    int read = body_read(&b, DT_I64, 0, 1, zero);
    n.body = body_done(&b, next_step_fn(&b, &read, e));
    return graph_nest(e->m, e->f, &n, &header, 1, DT_I64, NULL, e->span, NULL);
}

static Val next_header(Build *e, Val header) {
    Ctx *ctx = e->u->ctx;
    NestIndex *box = ARENA_ARRAY(e->u->arena, NestIndex, 1);
    box[0] = (NestIndex){nest_index(ctx, "i"), dim_const(ctx, 2)};
    Dim *map = ARENA_ARRAY(e->u->arena, Dim, 1);
    map[0] = dim_of(ctx, box[0].sym);
    BodyBuilder b = body_new(ctx);
    int old = body_read(&b, DT_I64, 0, 1, map),
        first = body_op2(&b, SC_eq, body_index(&b, map[0]), body_int(&b, DT_I64, 0));
    int r = body_op3(&b, SC_select, first, body_op2(&b, SC_add, old, body_int(&b, DT_I64, 1)), old);
    Nest n = {.op = NEST_STORE, .n_box = 1, .box = box, .rank = 1, .map = map, .init = -1};
    n.body = body_done(&b, r);
    return graph_nest(e->m, e->f, &n, &header, 1, DT_I64, &box[0].extent, e->span, NULL);
}

/* The optimizer's step on every parameter. */
static void update(Build *e, const Func *up, const Val *grads) {
    Val *args = ARENA_ARRAY(e->u->arena, Val, up->params.n + 1),
        *outs = ARENA_ARRAY(e->u->arena, Val, up->results.n + 1);
    int *of = ARENA_ARRAY(e->u->arena, int, up->params.n + 1), header = -1;
    for (int k = 0; k < up->params.n; k++) {
        const Param *p = &up->params.p[k];
        if (p->role == ROLE_GRAD || p->role == ROLE_STEP)
            continue;
        args[k] = est_need_param(e, p, graph_type(up, p->val));
        of[k] = find_param(e->f, p->role, is_single(p->role) ? NULL : p->name);
        header = p->role == ROLE_OPT && header < 0 ? k : header;
    }
    CTX_ASSERT(e->u->ctx, header >= 0);
    for (int k = 0; k < up->params.n; k++) {
        if (up->params.p[k].role == ROLE_STEP)
            args[k] = step_of(e);
        if (up->params.p[k].role == ROLE_GRAD)
            args[k] = grads[find_param(e->f, ROLE_PARAM, up->params.p[k].name)];
    }
    graph_splice(e->m, e->f, up, args, NULL, 0, NULL, outs);
    est_result(e, next_header(e, args[header]), "steps", RES_NEW_OPT, of[header]);
    for (int k = 0; k < up->results.n; k++)
        if (up->results.p[k].of != header)
            est_result(e, outs[k], up->results.p[k].name, up->results.p[k].role,
                       of[up->results.p[k].of]);
}

static void make_step(Unit *u, int block, const Parts *p) {
    Build e = est_begin(u, block, p, "step", ENTRY_STEP);
    est_all_params(&e);
    need_params_of(&e, p->update);
    est_require_labels(&e);
    int header = find_param(e.f, ROLE_OPT, NULL);
    CTX_ASSERT(u->ctx, header >= 0);
    e.step = step_number(&e, e.f->params.p[header].val);
    Objective o = training_loss(&e, p);
    Val *grads = gradients(&e, o.value);
    require_finite_all(&e, o.value, grads);
    est_result(&e, o.value, "loss", RES_LOSS, -1);
    update(&e, p->update, grads);
    for (int k = 1; k < o.source->results.n; k++) {
        const Result *r = &o.source->results.p[k];
        if (r->role == RES_NEW_STATE)
            est_result(&e, o.outs[k], r->name, RES_NEW_STATE,
                       find_param(e.f, ROLE_STATE, o.source->params.p[r->of].name));
    }
}

static void make_exact(Unit *u, int block, const Parts *p) {
    Build e = est_begin(u, block, p, "logp", ENTRY_LOGP);
    est_all_params(&e);
    est_require_labels(&e);
    est_result(&e, est_density(&e, p).value, "logp", RES_VALUE, -1);
    Build g = est_begin(u, block, p, "grad", ENTRY_GRAD);
    est_all_params(&g);
    est_require_labels(&g);
    Val value = est_density(&g, p).value;
    Val *grads = gradients(&g, value);
    est_result(&g, value, "logp", RES_VALUE, -1);
    for (int k = 0; k < g.f->params.n; k++)
        if (grads[k].id)
            est_result(&g, grads[k], g.f->params.p[k].name, RES_GRAD, k);
}

static const Func *part(Unit *u, const AbiBlock *b, const char *name) {
    return graph_func_named(u->graph, str_fmt(u->ctx, "%s.%s", b->name, name));
}

static void remove_part(Unit *u, const Func *f) {
    if (f)
        graph_func_remove(u->graph, f->id);
}

/* One joint density of a whole vector of data (a series, a Gaussian process) has its elements as
 * observations, as BIC counts them: they are measured one by one. Several draws of a vector stay as
 * many observations. */
static void count_series(Unit *u, AbiBlock *b, const Func *loglik) {
    bool *var = ARENA_ARRAY(u->arena, bool, loglik->params.n + 1);
    for (int k = 0; k < loglik->params.n; k++)
        var[k] = loglik->params.p[k].role == ROLE_PARAM;
    const Degree *by = degree_of(u->arena, loglik, var, NULL);
    for (int k = 0; k < loglik->insts.n && b->observations; k++) {
        const Inst *i = loglik->insts.p[k];
        const DensityAttr *a = i->op == &op_density ? i->attr : NULL;
        if (!a || !a->dist->vector_draws || a->dist->support != SUPPORT_REAL || a->type.rank ||
            by[i->args[0].id] != DEG_FREE)
            continue;
        Dim n = dim_addk(u->ctx, type_count(u->ctx, graph_type(loglik, i->args[0])), -1);
        b->observations = dim_add(u->ctx, b->observations, n);
    }
}

static void estimate_block(Unit *u, int block) {
    AbiBlock *b = u->graph->blocks.p[block];
    Parts p = {part(u, b, "loglik"), part(u, b, "objective"), part(u, b, "logprior"),
               part(u, b, "update")};
    if (!b->is_estimator || (!p.loglik && !p.objective))
        return;
    if (p.update) {
        make_loss_grad(u, block, &p);
        make_step(u, block, &p);
    } else {
        if (p.loglik)
            count_series(u, b, p.loglik);
        make_exact(u, block, &p);
        if (b->params.n) /* without parameters there is nothing to fit */
            est_make_fit(u, block, &p);
    }
    remove_part(u, p.loglik);
    remove_part(u, p.objective);
    remove_part(u, p.logprior);
    remove_part(u, p.update);
}

void pass_estimate(Unit *u) {
    each_func(u, guard_entry);
    for (int k = 0; k < u->graph->blocks.n; k++)
        estimate_block(u, k);
}
