/* canon: guards out of selects (lift), and work out of windows.
 *
 *   += select({j} < {i}, m[i, j], 0) over i<N j<M
 *     ->   += m[i, j] over i<N j<M where 0 <= i - j - 1 < N
 *   += x?0[i + a - 1] * w[a]
 *     ->   += x[i + a - 1] * w[a] where 0 <= i + a - 1 < N
 *   max= tanh(x[2*i + a]) over i<N a<3
 *     ->   t = tanh(x[i]);  max= t[2*i + a]
 *   t[i, j] = g[i, j] * f(y[i, j]);  += g[i, j] * f(y[i, j]) over i<N j<M
 *     ->   t[i, j] = ..;  += t[i, j]
 *   += x[c, a + i] * w[c, a] over i<1 c<C a<A
 *     ->   += x[c, a] * w[c, a] over c<C a<A
 *   stop(x)   ->   x (derivatives are taken)
 *
 * Sums stay exact: what is left out adds 0. A body f(x[..]) of one read is hoisted only if the box
 * has more points than x. */
#include "passes/rewrite.h"

static bool computes(const Body *b) {
    for (int k = 0; k < b->n; k++)
        if (b->insts[k].kind == BODY_OP)
            return true;
    return false;
}

/* Do the nests compute the same at the same point of equal boxes? */
static bool same_points(Ctx *ctx, const NestOp *a, const NestOp *b) {
    if (a->nest.n_box != b->nest.n_box || a->nest.body.n != b->nest.body.n)
        return false;
    for (int k = 0; k < a->nest.body.n; k++) {
        const BodyInst *x = &a->nest.body.insts[k], *y = &b->nest.body.insts[k];
        if (x->kind == BODY_READ && y->kind == BODY_READ &&
            a->args[x->operand].id != b->args[y->operand].id)
            return false;
    }
    Nest x = {.op = NEST_STORE,
              .n_box = a->nest.n_box,
              .box = a->nest.box,
              .body = a->nest.body,
              .init = -1},
         y = x;
    y.box = b->nest.box;
    y.body = b->nest.body;
    return nest_equal(ctx, &x, &y);
}

/* A body that an earlier elementwise nest has computed and stored is read from there. */
static NestOp share(const Rewrite *r, const NestOp *n) {
    Ctx *ctx = r->u->ctx;
    if (!computes(&n->nest.body) || nest_elementwise(ctx, n))
        return *n;
    for (int k = 0; k < r->to->insts.n; k++) {
        if (r->to->insts.p[k]->op != &op_nest)
            continue;
        NestOp p = nestop_of(r->to, r->to->insts.p[k]), c = *n;
        if (p.type.dt != n->nest.body.insts[n->nest.body.n - 1].dt || !same_points(ctx, &p, n) ||
            !nest_elementwise(ctx, &p))
            continue;
        DimBinding *bind = ARENA_ARRAY(r->u->arena, DimBinding, n->nest.n_box + 1);
        Dim *map = ARENA_ARRAY(r->u->arena, Dim, p.nest.rank + 1);
        for (int j = 0; j < n->nest.n_box; j++)
            bind[j] = (DimBinding){p.nest.box[j].sym, dim_of(ctx, n->nest.box[j].sym)};
        for (int j = 0; j < p.nest.rank; j++)
            map[j] = dim_subst(ctx, p.nest.map[j], bind, n->nest.n_box);
        Val *args = ARENA_ARRAY(r->u->arena, Val, n->n_args + 1);
        for (int j = 0; j < n->n_args; j++)
            args[j] = n->args[j];
        args[n->n_args] = r->to->insts.p[k]->first;
        BodyBuilder b = body_new(ctx);
        c.nest.body = body_done(&b, body_read(&b, p.type.dt, n->n_args, p.nest.rank, map));
        c.args = args;
        c.n_args++;
        return nestop_compact(ctx, &c);
    }
    return *n;
}

/* What a reducing nest reads does not mention indices of one value; those that no axis of the
 * result has are dropped. */
static void drop_single(Ctx *ctx, NestOp *n) {
    Nest *x = &n->nest;
    DimBinding *zero = ARENA_ARRAY(&ctx->perm, DimBinding, x->n_box + 1);
    NestIndex *box = ARENA_ARRAY(&ctx->perm, NestIndex, x->n_box + 1);
    int n_zero = 0, n_box = 0;
    for (int k = 0; k < x->n_box; k++) {
        int64_t extent;
        bool single = dim_is_const(x->box[k].extent, &extent) && extent == 1, in_map = false;
        for (int a = 0; a < x->rank; a++)
            in_map |= dim_mentions(x->map[a], x->box[k].sym);
        if (single)
            zero[n_zero++] = (DimBinding){x->box[k].sym, dim_const(ctx, 0)};
        if (!single || in_map)
            box[n_box++] = x->box[k];
    }
    if (!n_zero || nest_elementwise(ctx, n))
        return;
    NestGuard *guards = ARENA_ARRAY(&ctx->perm, NestGuard, x->n_guards + 1);
    for (int k = 0; k < x->n_guards; k++)
        guards[k] =
            (NestGuard){dim_subst(ctx, x->guards[k].form, zero, n_zero), x->guards[k].extent};
    BodyBuilder b = body_new(ctx);
    x->body = body_done(&b, body_import(&b, &x->body, zero, n_zero, NULL));
    x->guards = guards;
    x->box = box;
    x->n_box = n_box;
    *x = nest_tidy(ctx, x);
    *n = nestop_compact(ctx, n);
}

static void canon_nest(Rewrite *r, const Inst *i) {
    Ctx *ctx = r->u->ctx;
    NestOp n = rewrite_nestop(r, i), producer, consumer;
    n = nestop_compact(ctx, &n); /* operands that are one now */
    n = nest_lift(ctx, &n, r->to);
    n = share(r, &n);
    drop_single(ctx, &n);
    if (!nest_canon(ctx, &n, r->to, &producer, &consumer)) {
        r->map.to[i->first.id] = nestop_emit(r->m, r->to, &n);
        return;
    }
    Val t = nestop_emit(r->m, r->to, &producer),
        *args = ARENA_ARRAY(r->u->arena, Val, consumer.n_args + 1);
    for (int k = 0; k < consumer.n_args; k++)
        args[k] = consumer.args[k].id ? consumer.args[k] : t;
    consumer.args = args;
    r->map.to[i->first.id] = nestop_emit(r->m, r->to, &consumer);
}

static void canon_func(Unit *u, Func *f) {
    Rewrite r = rewrite_begin(u, f);
    for (int k = 0; k < f->insts.n; k++) {
        if (f->insts.p[k]->op == &op_nest)
            canon_nest(&r, f->insts.p[k]);
        else if (f->insts.p[k]->op == &op_stop)
            r.map.to[f->insts.p[k]->first.id] = rewrite_val(&r, f->insts.p[k]->args[0]);
        else
            rewrite_copy(&r, f->insts.p[k]);
    }
    rewrite_end(&r);
}

void pass_canon(Unit *u) { each_func(u, canon_func); }
