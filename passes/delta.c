/* delta: sums over a unit matrix are solved.
 *
 *   %e = nest [i, j] = select({i} == {j}, 1, 0) over i<D, j<D
 *   %t = nest [n, j] += %e[r, j] * %x[n, r] over n<N, j<D, r<D
 *     ->   %t = nest [n, j] += %x[n, j] over n<N, j<D
 *
 * Cotangents of many lanes are unit matrices: their sums are reads, which fuse. Also for indices
 * with an offset (blocks of a vector of parameters); a part that no index reaches becomes a guard.
 * So are sums of a choice, as a transposed convolution is written. An index of the result that it
 * determines leaves a scatter, which `invert` divides into gathers:
 *
 *   nest [i] += select({i} == {2*h + p}, %x[h] * %w[p], 0) over i<2*H, h<H, p<2
 *     ->   nest [2*h + p] += %x[h] * %w[p] over h<H, p<2
 *
 * It is exact: what is left out is 0, or 0 times what is not finite. */
#include "passes/rewrite.h"

/* ---- what is a delta */

static bool is_real(const BodyInst *i, double v) {
    return i->kind == BODY_CONST && dtype_is_real(i->dt) && i->k.f == v;
}

/* select(affine == affine, e, 0) */
static bool is_choice(const Body *b, int k) {
    const BodyInst *s = &b->insts[k];
    if (s->kind != BODY_OP || s->op != SC_select || !is_real(&b->insts[s->args[2]], 0))
        return false;
    const BodyInst *c = &b->insts[s->args[0]];
    if (c->kind != BODY_OP || c->op != SC_eq)
        return false;
    for (int a = 0; a < 2; a++) {
        const BodyInst *x = &b->insts[c->args[a]];
        bool affine = x->kind == BODY_INDEX || x->kind == BODY_DIM || x->kind == BODY_CONST;
        if (!affine || dtype_is_real(x->dt))
            return false;
    }
    return true;
}

static bool is_delta(Ctx *ctx, const NestOp *n) {
    const Body *b = &n->nest.body;
    return nest_elementwise(ctx, n) && is_choice(b, b->n - 1) &&
           is_real(&b->insts[b->insts[b->n - 1].args[1]], 1);
}

static bool substitute(Rewrite *r, NestOp *n) {
    Ctx *ctx = r->u->ctx;
    for (int k = 0; k < n->n_args; k++) {
        const Inst *def = graph_def(r->to, n->args[k]);
        NestOp p, fused;
        if (!def || def->op != &op_nest)
            continue;
        p = nestop_of(r->to, def);
        if (is_delta(ctx, &p) && nest_fuse_producer(ctx, &p, n, n->args[k], r->to, &fused)) {
            *n = fused;
            return true;
        }
    }
    return false;
}

/* ---- select(c, e, 0) * x   ->   select(c, e * x, 0) */

/* The choice that `top` multiplies, so that it is 0 where the choice is; -1: none. */
static int choice_below(const Body *b, int top) {
    const BodyInst *i = &b->insts[top];
    if (is_choice(b, top))
        return top;
    if (i->kind != BODY_OP)
        return -1;
    int k = -1;
    if (i->op == SC_mul || i->op == SC_neg || i->op == SC_div || i->op == SC_cast)
        k = choice_below(b, i->args[0]);
    if (k < 0 && i->op == SC_mul)
        k = choice_below(b, i->args[1]);
    return k;
}

static bool raise(Ctx *ctx, NestOp *n) {
    const Body *b = &n->nest.body;
    int top = b->n - 1, k = choice_below(b, top);
    if (k < 0 || k == top || !dtype_is_real(b->insts[top].dt))
        return false;
    const BodyInst *choice = &b->insts[k];
    BodyBuilder to = body_new(ctx);
    int *at = ARENA_ARRAY(&ctx->perm, int, b->n);
    for (int j = 0; j < b->n; j++) {
        BodyInst i = b->insts[j];
        int arity = i.kind == BODY_OP ? scalar_def(i.op)->arity : 0;
        for (int a = 0; a < arity; a++)
            i.args[a] = at[i.args[a]];
        if (j == k) {
            at[j] = at[choice->args[1]];
        } else if (i.kind == BODY_OP && i.op == SC_mul && is_real(&to.insts.p[i.args[0]], 1)) {
            at[j] = i.args[1];
        } else if (i.kind == BODY_OP && i.op == SC_mul && is_real(&to.insts.p[i.args[1]], 1)) {
            at[j] = i.args[0];
        } else {
            vec_push(&ctx->perm, &to.insts, i);
            at[j] = to.insts.n - 1;
        }
    }
    int zero = body_real(&to, b->insts[top].dt, 0);
    n->nest.body = body_done(&to, body_op3(&to, SC_select, at[choice->args[0]], at[top], zero));
    return true;
}

/* ---- a guard 0 <= form < 1 determines an index */

static bool is_summed(const Nest *n, DimSym s) {
    for (int k = 0; k < n->rank; k++)
        if (dim_mentions(n->map[k], s))
            return false;
    return true;
}

static bool has_summed(const Nest *n, Dim form) {
    for (int k = 0; k < n->n_box; k++)
        if (dim_mentions(form, n->box[k].sym) && is_summed(n, n->box[k].sym))
            return true;
    return false;
}

/* Over s is summed, or (scatter) it is an axis of the result by itself. */
static bool may_go(const Nest *n, DimSym s, bool *scatter) {
    int axes = 0;
    *scatter = false;
    for (int k = 0; k < n->rank; k++) {
        axes += dim_mentions(n->map[k], s);
        *scatter = *scatter || dim_as_symbol(n->map[k]) == s;
    }
    return axes == 0 || (axes == 1 && *scatter && !n->post.n);
}

static void solve_by(Ctx *ctx, NestOp *n, int guard, int index) {
    Nest *x = &n->nest;
    DimSym s = x->box[index].sym;
    Dim form = x->guards[guard].form;
    int64_t coef = aff_coef(ctx, form, s);
    Dim rest = dim_sub(ctx, form, dim_scale(ctx, dim_of(ctx, s), coef));
    DimBinding bind = {s, coef == 1 ? dim_neg(ctx, rest) : rest};
    NestIndex *box = ARENA_ARRAY(&ctx->perm, NestIndex, x->n_box + 1);
    NestGuard *guards = ARENA_ARRAY(&ctx->perm, NestGuard, x->n_guards + 1);
    int n_box = 0;
    for (int k = 0; k < x->n_box; k++)
        if (k != index)
            box[n_box++] = x->box[k];
    for (int k = 0; k < x->n_guards; k++)
        guards[k] = k == guard ? (NestGuard){bind.value, x->box[index].extent}
                               : (NestGuard){dim_subst(ctx, x->guards[k].form, &bind, 1),
                                             x->guards[k].extent};
    Nest to = *x;
    to.box = box;
    to.n_box = n_box;
    to.guards = guards;
    to = nest_subst(ctx, &to, &bind, 1);
    n->nest = nest_tidy(ctx, &to);
}

/* The longest index that the guard determines: what is left are the shorter loops. -1: none. */
static int determined(Ctx *ctx, const Nest *n, int guard) {
    int best = -1;
    bool best_scatters = false, scatter, sums = has_summed(n, n->guards[guard].form);
    for (int k = 0; k < n->n_box; k++) {
        int64_t coef = aff_coef(ctx, n->guards[guard].form, n->box[k].sym);
        if ((coef != 1 && coef != -1) || !may_go(n, n->box[k].sym, &scatter) || (scatter && !sums))
            continue;
        bool longer = best >= 0 && nest_longer(n->box[k].extent, n->box[best].extent);
        bool shorter = best >= 0 && nest_longer(n->box[best].extent, n->box[k].extent);
        if (best < 0 || longer || (best_scatters && !scatter && !shorter)) {
            best = k;
            best_scatters = scatter;
        }
    }
    return best;
}

static bool solve(Ctx *ctx, NestOp *n) {
    int64_t extent;
    for (int g = 0; g < n->nest.n_guards; g++) {
        bool one = dim_is_const(n->nest.guards[g].extent, &extent) && extent == 1;
        int k = one ? determined(ctx, &n->nest, g) : -1;
        if (k >= 0) {
            solve_by(ctx, n, g, k);
            return true;
        }
    }
    return false;
}

static void delta_nest(Rewrite *r, const Inst *i) {
    Ctx *ctx = r->u->ctx;
    NestOp n = rewrite_nestop(r, i);
    bool any = false;
    while (substitute(r, &n))
        any = true;
    if (n.nest.op == NEST_SUM) {
        NestOp lifted = n;
        raise(ctx, &lifted);
        lifted = nest_lift(ctx, &lifted, r->to);
        bool solved = false;
        while (solve(ctx, &lifted))
            solved = true;
        if (any || solved)
            n = lifted;
    }
    r->map.to[i->first.id] = nestop_emit(r->m, r->to, &n);
}

static void delta_func(Unit *u, Func *f) {
    Rewrite r = rewrite_begin(u, f);
    for (int k = 0; k < f->insts.n; k++) {
        if (f->insts.p[k]->op == &op_nest)
            delta_nest(&r, f->insts.p[k]);
        else
            rewrite_copy(&r, f->insts.p[k]);
    }
    rewrite_end(&r);
    drop_dead(u, graph_func(u->graph, f->id));
}

void pass_delta(Unit *u) { each_func(u, delta_func); }
