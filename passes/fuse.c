/* fuse: elementwise nests go into the nests that read them, and into the sums they follow.
 *
 *   %z += x[..] * w[..];  %y = sigmoid(%z[n, o] + b[o])
 *     ->   %y += x[..] * w[..] then sigmoid(acc + b[o])
 *   %e = exp(%x[i]);  %s += %e[i]
 *     ->   %s += exp(%x[i])
 *   %y[i] += f(%x[i]) over i<N from %z
 *     ->   %y[i] = %z[i] + f(%x[i]), which is elementwise
 *
 * A producer is substituted where nothing is computed more often than before (same number of
 * points, one reader or a cheap body of one tensor) or where it computes nothing (conversions).
 * What it reads is what its reader reads, so no sum changes its order; only x + scatter_add(0, ..)
 * does, which becomes scatter_add(x, ..). It does not join nests of different boxes. */
#include "passes/rewrite.h"

enum { CHEAP = 3, MOST_BODY = 160, MOST_ARGS = 24 };

typedef struct Fuse {
    Rewrite r;
    VEC(int) uses; /* by value id of the new function */
} Fuse;

static int uses_of(const Fuse *f, Val v) { return (int)v.id < f->uses.n ? f->uses.p[v.id] : 0; }

static void set_uses(Fuse *f, Val v, int n) {
    while (f->uses.n <= (int)v.id)
        vec_push(f->r.u->arena, &f->uses, 0);
    f->uses.p[v.id] = n;
}

/* Operations of a body that cost something; expanded and libm rows count much. */
static int cost(const Body *b) {
    int n = 0;
    for (int k = 0; k < b->n; k++)
        if (b->insts[k].kind == BODY_OP && b->insts[k].op != SC_cast)
            n += scalar_def(b->insts[k].op)->flags & SF_NATIVE ? 1 : 10;
    return n;
}

/* Operands with as many axes as the result: what each further reader of a substituted nest would
 * have to read. */
static int large_operands(const Func *f, const NestOp *p) {
    int n = 0;
    for (int k = 0; k < p->n_args; k++)
        n += graph_type(f, p->args[k]).rank >= p->type.rank;
    return n;
}

static bool worth_it(const Fuse *f, const NestOp *p, const NestOp *c, Val v) {
    Ctx *ctx = f->r.u->ctx;
    int work = cost(&p->nest.body);
    bool cheap = work <= CHEAP && large_operands(f->r.to, p) <= 1;
    if (c->nest.body.n + p->nest.body.n > MOST_BODY || c->n_args + p->n_args > MOST_ARGS)
        return false;
    if (work == 0)
        return true;
    return (uses_of(f, v) == 1 || cheap) &&
           nest_points(ctx, &c->nest) == nest_points(ctx, &p->nest);
}

/* Absorbs one producer of c; its operands get one reader more unless the producer dies with it. */
static bool absorb(Fuse *f, NestOp *c) {
    Rewrite *r = &f->r;
    for (int k = 0; k < c->n_args; k++) {
        Val v = c->args[k];
        const Inst *def = graph_def(r->to, v);
        if (!def || def->op != &op_nest)
            continue;
        NestOp p = nestop_of(r->to, def), fused;
        if (!worth_it(f, &p, c, v) || !nest_fuse_producer(r->u->ctx, &p, c, v, r->to, &fused))
            continue;
        for (int j = 0; j < p.n_args && uses_of(f, v) > 1; j++)
            set_uses(f, p.args[j], uses_of(f, p.args[j]) + 1);
        set_uses(f, v, uses_of(f, v) - 1);
        *c = fused;
        return true;
    }
    return false;
}

/* c becomes the epilogue of a sum that only it reads. */
static bool follow(Fuse *f, NestOp *c) {
    Rewrite *r = &f->r;
    for (int k = 0; k < c->n_args; k++) {
        Val v = c->args[k];
        const Inst *def = graph_def(r->to, v);
        if (!def || def->op != &op_nest || uses_of(f, v) != 1 || c->n_args > MOST_ARGS)
            continue;
        NestOp p = nestop_of(r->to, def), fused;
        if (nest_elementwise(r->u->ctx, &p) ||
            !nest_fuse_epilogue(r->u->ctx, &p, c, v, r->to, &fused))
            continue;
        *c = fused;
        return true;
    }
    return false;
}

/* ---- a sum with a scatter from zeros is a scatter from there */

static bool is_zero(const Func *f, Val v) {
    const Inst *i = graph_def(f, v);
    const Nest *n = i && i->op == &op_nest ? i->attr : NULL;
    const BodyInst *k = n ? n->body.insts : NULL;
    return n && n->body.n == 1 && !n->post.n && n->init < 0 && !n->n_guards &&
           k->kind == BODY_CONST && dtype_is_real(k->dt) && k->k.f == 0;
}

/* The scatter from zeros that the value shows, its only use; NULL: it is something else. */
static const Inst *scattered(const Func *f, const int *uses, Val v) {
    const Inst *i = graph_def(f, v);
    if (i && i->op == &op_reshape && uses[v.id] == 1) {
        v = i->args[0];
        i = graph_def(f, v);
    }
    bool is = i && i->op == &op_scatter_add && uses[v.id] == 1;
    return is && is_zero(f, i->args[0]) ? i : NULL;
}

/* The nest is x + scatter_add(0, at, y), cell by cell: the scatter, and which operand x is. */
static const Inst *scatter_in(Ctx *ctx, const Func *f, const int *uses, const Inst *i, int *x) {
    NestOp n = {.n_args = 0};
    if (i->op == &op_nest)
        n = nestop_of(f, i);
    const Body *b = &n.nest.body;
    if (n.n_args != 2 || b->n != 3 || !nest_elementwise(ctx, &n) ||
        b->insts[2].kind != BODY_OP || b->insts[2].op != SC_add)
        return NULL;
    for (int k = 0; k < 2; k++)
        for (int a = 0; a < n.nest.rank; a++)
            if (b->insts[k].kind != BODY_READ || b->insts[k].rank != n.nest.rank ||
                b->insts[k].map[a] != n.nest.map[a])
                return NULL;
    for (*x = 0; *x < 2; (*x)++) {
        const Inst *s = scattered(f, uses, n.args[1 - *x]);
        if (s && type_equal(graph_type(f, n.args[*x]), n.type))
            return s;
    }
    return NULL;
}

static Val reshaped(const Fuse *f, Val v, Type t, const Inst *at) {
    if (type_equal(graph_type(f->r.to, v), t))
        return v;
    ReshapeAttr *to = ARENA_NEW(f->r.m->arena, ReshapeAttr);
    to->type = t;
    return graph_inst(f->r.m, f->r.to, &op_reshape, &v, 1, to, at->span, at->name)->first;
}

static void start_scatter(Fuse *f, const Inst *i, const Inst *s, int x) {
    Rewrite *r = &f->r;
    Val from = reshaped(f, rewrite_val(r, i->args[x]), graph_type(r->from, s->first), s);
    Val args[3] = {from, rewrite_val(r, s->args[1]), rewrite_val(r, s->args[2])};
    Val v = graph_inst(r->m, r->to, &op_scatter_add, args, 3, s->attr, s->span, s->name)->first;
    r->map.to[i->first.id] = reshaped(f, v, graph_type(r->from, i->first), i);
}

/* By instruction: left out, because it is part of a scatter that starts elsewhere. */
static bool *left_out(Unit *u, const Func *f, const int *uses) {
    bool *out = ARENA_ARRAY(u->arena, bool, f->insts.n + 1);
    for (int k = 0; k < f->insts.n; k++) {
        int x;
        const Inst *s = scatter_in(u->ctx, f, uses, f->insts.p[k], &x);
        if (!s)
            continue;
        out[f->vals.p[s->first.id].inst] = true;
        const Inst *view = graph_def(f, f->insts.p[k]->args[1 - x]);
        if (view != s)
            out[f->vals.p[view->first.id].inst] = true;
    }
    return out;
}

static void fuse_func(Unit *u, Func *func) {
    Fuse f = {.r = rewrite_begin(u, func)};
    int *uses = graph_uses(u->arena, func), x = 0;
    bool *gone = left_out(u, func, uses);
    for (int k = 0; k < func->params.n; k++)
        set_uses(&f, f.r.map.to[func->params.p[k].val.id], uses[func->params.p[k].val.id]);
    for (int k = 0; k < func->insts.n; k++) {
        const Inst *i = func->insts.p[k], *s = scatter_in(u->ctx, func, uses, i, &x);
        if (gone[k])
            continue;
        if (s) {
            start_scatter(&f, i, s, x);
        } else if (i->op == &op_nest) {
            NestOp n = rewrite_nestop(&f.r, i), cells;
            n = nest_cellwise(u->ctx, &n, &cells) ? cells : n;
            while (absorb(&f, &n))
                continue;
            follow(&f, &n);
            f.r.map.to[i->first.id] = nestop_emit(f.r.m, f.r.to, &n);
        } else {
            rewrite_copy(&f.r, i);
        }
        for (int j = 0; j < i->n_results; j++)
            set_uses(&f, f.r.map.to[inst_result(i, j).id], uses[inst_result(i, j).id]);
    }
    rewrite_end(&f.r);
    drop_dead(u, graph_func(u->graph, func->id));
}

void pass_fuse(Unit *u) { each_func(u, fuse_func); }
