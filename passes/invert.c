/* invert: a nest that scatters becomes a chain of gathers over the same points, so that no cell has
 * two writers and its loops are parallel.
 *
 *   dx[2*i + a] += g[i] * w[a] over i<N a<3
 *     ->   dx_0[2*y]   += g[y - a] * w[2*a] ...
 *          dx[2*y + 1] += g[y - a] * w[2*a + 1] from dx_0 ...
 *
 * More than 64 parts: it stays a serial scatter. */
#include "passes/rewrite.h"

static void invert_nest(Rewrite *r, const Inst *i) {
    Ctx *ctx = r->u->ctx;
    NestOp n = rewrite_nestop(r, i);
    uint64_t out;
    int parts = 0;
    NestOp *gathers = NULL;
    bool sum = n.nest.op == NEST_SUM && !n.nest.post.n;
    if (sum && !nest_outputs(ctx, &n.nest, &out))
        gathers = nest_invert(ctx, &n, &parts);
    if (!gathers) {
        r->map.to[i->first.id] = nestop_emit(r->m, r->to, &n);
        return;
    }
    Val last = {0};
    for (int k = 0; k < parts; k++) {
        Val *args = ARENA_ARRAY(r->u->arena, Val, gathers[k].n_args + 1);
        for (int j = 0; j < gathers[k].n_args; j++)
            args[j] = gathers[k].args[j].id ? gathers[k].args[j] : last;
        gathers[k].args = args;
        last = nestop_emit(r->m, r->to, &gathers[k]);
    }
    r->map.to[i->first.id] = last;
}

static void invert_func(Unit *u, Func *f) {
    Rewrite r = rewrite_begin(u, f);
    for (int k = 0; k < f->insts.n; k++) {
        if (f->insts.p[k]->op == &op_nest)
            invert_nest(&r, f->insts.p[k]);
        else
            rewrite_copy(&r, f->insts.p[k]);
    }
    rewrite_end(&r);
}

void pass_invert(Unit *u) { each_func(u, invert_func); }
