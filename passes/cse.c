/* cse: equal pure instructions are computed once.
 *
 *   %3 = nest = exp(%x[i]) over i<N          %3 = nest = exp(%x[i]) over i<N
 *   %4 = nest = exp(%x[j]) over j<N    ->    (users of %4 read %3)
 *
 * Nests are equal up to the names of their indices. It does not reorder operands. */
#include <string.h>

#include "passes/rewrite.h"

static bool same_attr(Unit *u, const Func *f, const Inst *a, const Inst *b) {
    if (a->attr == b->attr)
        return true;
    if (a->op == &op_nest)
        return nest_equal(u->ctx, a->attr, b->attr);
    if (!a->op->print || !a->attr || !b->attr)
        return false;
    StrBuf x = sb_new(u->arena), y = sb_new(u->arena);
    a->op->print(&x, u->graph, f, a);
    b->op->print(&y, u->graph, f, b);
    return strcmp(x.text, y.text) == 0;
}

static bool same_inst(Unit *u, const Func *f, const Inst *a, const Inst *b) {
    if (a->op != b->op || a->n_args != b->n_args || a->n_results != b->n_results)
        return false;
    for (int k = 0; k < a->n_args; k++)
        if (a->args[k].id != b->args[k].id)
            return false;
    for (int k = 0; k < a->n_results; k++)
        if (!type_equal(graph_type(f, inst_result(a, k)), graph_type(f, inst_result(b, k))))
            return false;
    return same_attr(u, f, a, b);
}

void merge_equal(Unit *u, Func *f) {
    Rewrite r = rewrite_begin(u, f);
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        rewrite_copy(&r, i);
        Func *t = r.to;
        const Inst *mine = t->insts.p[t->insts.n - 1];
        for (int j = 0; (i->op->flags & OPF_PURE) && j < t->insts.n - 1; j++) {
            if (!same_inst(u, t, t->insts.p[j], mine))
                continue;
            for (int q = 0; q < i->n_results; q++) /* the copy is dead: dropped below */
                r.map.to[inst_result(i, q).id] = inst_result(t->insts.p[j], q);
            break;
        }
    }
    rewrite_end(&r);
    drop_dead(u, graph_func(u->graph, f->id));
}

void pass_cse(Unit *u) { each_func(u, merge_equal); }
