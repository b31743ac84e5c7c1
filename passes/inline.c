/* inline: calls are replaced by the bodies they call, and views (pads, slices, transposes,
 * broadcasts: nests whose body is a plain read) are substituted into their readers, before anything
 * is differentiated.
 *
 *   %p = nest = %x?0[i - 1] over i<N + 2;  %y = nest += %p[i + a] * %w[a] over i<N a<3
 *     ->   %y = nest += %x?0[i + a - 1] * %w[a] over i<N a<3
 *
 * A read with a fill keeps its view unless the view takes the fill over. A view by which something is
 * differentiated stays: its readers must go on depending on it. Functions that nothing calls any
 * more are removed. It does not look into what ops other than nest read. */
#include "passes/rewrite.h"

/* ---- calls */

static bool has_call(const Func *f) {
    for (int k = 0; k < f->insts.n; k++)
        if (f->insts.p[k]->op == &op_call)
            return true;
    return false;
}

static void splice_call(Rewrite *r, const Inst *i) {
    const CallAttr *attr = i->attr;
    const Func *callee = graph_func(r->m, attr->func);
    Val *args = ARENA_ARRAY(r->u->arena, Val, i->n_args + 1),
        *outs = ARENA_ARRAY(r->u->arena, Val, i->n_results + 1);
    for (int k = 0; k < i->n_args; k++)
        args[k] = rewrite_val(r, i->args[k]);
    graph_splice(r->m, r->to, callee, args, NULL, 0, i->name, outs);
    for (int k = 0; k < i->n_results; k++)
        r->map.to[inst_result(i, k).id] = outs[k];
}

static void inline_calls(Unit *u, Func *f) {
    while (has_call(f)) {
        Rewrite r = rewrite_begin(u, f);
        for (int k = 0; k < f->insts.n; k++) {
            if (f->insts.p[k]->op == &op_call)
                splice_call(&r, f->insts.p[k]);
            else
                rewrite_copy(&r, f->insts.p[k]);
        }
        rewrite_end(&r);
        f = graph_func(u->graph, f->id);
    }
}

/* Functions that only calls used. Entries, parts of estimators and bodies of ops stay. */
static void note_called(Unit *u, bool *called) {
    for (int k = 0; k < u->graph->funcs.n; k++) {
        const Func *f = u->graph->funcs.p[k];
        for (int j = 0; f && j < f->insts.n; j++)
            if (f->insts.p[j]->op == &op_call)
                called[((const CallAttr *)f->insts.p[j]->attr)->func.id - 1] = true;
    }
}

/* ---- views */

/* By value of the function: does a derivative with respect to it exist? */
static bool *differentiated_by(Unit *u, const Func *f) {
    bool *by = ARENA_ARRAY(u->arena, bool, f->vals.n + 1);
    for (int k = 0; k < f->insts.n; k++)
        if (f->insts.p[k]->op == &op_vjp)
            for (int j = 2; j < f->insts.p[k]->n_args; j++)
                by[f->insts.p[k]->args[j].id] = true;
    return by;
}

static bool substitute_view(Rewrite *r, NestOp *n, const bool *stays) {
    for (int k = 0; k < n->n_args; k++) {
        const Inst *def = graph_def(r->to, n->args[k]);
        if (!def || def->op != &op_nest || !nest_is_view(def->attr) || stays[n->args[k].id])
            continue;
        NestOp view = nestop_of(r->to, def), fused;
        if (nest_fuse_producer(r->u->ctx, &view, n, n->args[k], r->to, &fused)) {
            *n = fused;
            return true;
        }
    }
    return false;
}

static void inline_views(Unit *u, Func *f) {
    Rewrite r = rewrite_begin(u, f);
    const bool *by = differentiated_by(u, f);
    /* every instruction is copied as one, so that the values keep their number */
    bool *stays = ARENA_ARRAY(u->arena, bool, f->vals.n + 1);
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        if (i->op != &op_nest) {
            rewrite_copy(&r, i);
            continue;
        }
        NestOp n = rewrite_nestop(&r, i);
        while (substitute_view(&r, &n, stays))
            continue;
        Val v = nestop_emit(r.m, r.to, &n);
        r.map.to[i->first.id] = v;
        stays[v.id] = by[i->first.id];
    }
    rewrite_end(&r);
    drop_dead(u, graph_func(u->graph, f->id));
}

void pass_inline(Unit *u) {
    bool *called = ARENA_ARRAY(u->arena, bool, u->graph->funcs.n + 1);
    note_called(u, called);
    each_func(u, inline_calls);
    for (int k = 0; k < u->graph->funcs.n; k++)
        if (u->graph->funcs.p[k] && called[k] && !u->graph->funcs.p[k]->entry)
            graph_func_remove(u->graph, u->graph->funcs.p[k]->id);
    each_func(u, inline_views);
}
