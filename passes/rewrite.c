#include "passes/rewrite.h"

Rewrite rewrite_begin(Unit *u, const Func *f) {
    Rewrite r = {.u = u, .m = u->graph, .from = f};
    r.to = graph_func_like(u->graph, f);
    r.map = valmap_new(u->arena, f);
    graph_copy_params(u->graph, r.to, f, &r.map);
    return r;
}

Val rewrite_val(const Rewrite *r, Val old) {
    Val v = r->map.to[old.id];
    CTX_ASSERT(r->u->ctx, v.id != 0);
    return v;
}

NestOp rewrite_nestop(const Rewrite *r, const Inst *i) {
    NestOp n = nestop_of(r->from, i);
    Val *args = ARENA_ARRAY(r->u->arena, Val, n.n_args + 1);
    for (int k = 0; k < n.n_args; k++)
        args[k] = rewrite_val(r, n.args[k]);
    n.args = args;
    return n;
}

void rewrite_copy(Rewrite *r, const Inst *i) { graph_copy_inst(r->m, r->to, r->from, i, &r->map); }

void rewrite_end(Rewrite *r) {
    graph_copy_results(r->m, r->to, r->from, &r->map);
    graph_func_replace(r->m, r->from->id, r->to);
}

void each_func(Unit *u, void (*fn)(Unit *u, Func *f)) {
    for (int k = 0; k < u->graph->funcs.n; k++)
        if (u->graph->funcs.p[k])
            fn(u, u->graph->funcs.p[k]);
}

bool rewrite_nests(Unit *u, Func *f, void (*fn)(Rewrite *r, NestOp *n)) {
    if (f->entry && f->entry->kind == ENTRY_INIT)
        return false;
    Rewrite r = rewrite_begin(u, f);
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        if (i->op != &op_nest) {
            rewrite_copy(&r, i);
            continue;
        }
        NestOp n = rewrite_nestop(&r, i);
        fn(&r, &n);
        r.map.to[i->first.id] = nestop_emit(r.m, r.to, &n);
    }
    rewrite_end(&r);
    return true;
}

Dim nest_points(Ctx *ctx, const Nest *n) {
    Dim p = dim_const(ctx, 1);
    for (int k = 0; k < n->n_box; k++)
        p = dim_mul(ctx, p, n->box[k].extent);
    return p;
}
