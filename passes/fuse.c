/* fuse: elementwise nests go into the nests that read them, and into the sums they follow.
 *
 *   %z += x[..] * w[..];  %y = sigmoid(%z[n, o] + b[o])     ->   %y += x[..] * w[..] then
 * sigmoid(acc + b[o]) %e = exp(%x[i]);      %s += %e[i]                       ->   %s += exp(%x[i])
 *
 * A producer is substituted where nothing is computed more often than before (same number of
 * points, one reader or a cheap body of one tensor) or where it computes nothing (conversions).
 * What it reads is what its reader reads, so no sum changes its order. It does not join nests of
 * different boxes. */
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

static void fuse_func(Unit *u, Func *func) {
    Fuse f = {.r = rewrite_begin(u, func)};
    int *uses = graph_uses(u->arena, func);
    for (int k = 0; k < func->params.n; k++)
        set_uses(&f, f.r.map.to[func->params.p[k].val.id], uses[func->params.p[k].val.id]);
    for (int k = 0; k < func->insts.n; k++) {
        const Inst *i = func->insts.p[k];
        if (i->op == &op_nest) {
            NestOp n = rewrite_nestop(&f.r, i);
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
