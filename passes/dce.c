/* dce: drops what no result needs.
 *
 *   %2 = nest ... (unused)      is gone; ops with effects (require) and what they need stay
 *
 * It does not drop params, results or functions. */
#include "passes/rewrite.h"

static bool *needed(Unit *u, const Func *f) {
    bool *val = ARENA_ARRAY(u->arena, bool, f->vals.n + 1),
         *inst = ARENA_ARRAY(u->arena, bool, f->insts.n + 1);
    for (int k = 0; k < f->results.n; k++)
        val[f->results.p[k].val.id] = true;
    for (int k = f->insts.n - 1; k >= 0; k--) {
        const Inst *i = f->insts.p[k];
        inst[k] = i->op->flags & OPF_EFFECT;
        for (int j = 0; j < i->n_results; j++)
            inst[k] |= val[inst_result(i, j).id];
        for (int j = 0; inst[k] && j < i->n_args; j++)
            val[i->args[j].id] = true;
    }
    return inst;
}

void drop_dead(Unit *u, Func *f) {
    bool *keep = needed(u, f);
    Rewrite r = rewrite_begin(u, f);
    for (int k = 0; k < f->insts.n; k++)
        if (keep[k])
            rewrite_copy(&r, f->insts.p[k]);
    rewrite_end(&r);
}

void pass_dce(Unit *u) { each_func(u, drop_dead); }
