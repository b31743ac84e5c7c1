/* canon: guards out of selects (lift), and work out of windows.
 *
 *   += select({j} < {i}, m[i, j], 0) over i<N j<M          ->  += m[i, j] over i<N j<M where 0 <= i - j - 1 < N
 *   += x?0[i + a - 1] * w[a]                               ->  += x[i + a - 1] * w[a] where 0 <= i + a - 1 < N
 *   max= tanh(x[2*i + a]) over i<N a<3                     ->  t = tanh(x[i]);  max= t[2*i + a]
 *
 * Sums stay exact: what is left out adds 0. A body f(x[..]) of one read is hoisted only if the box has more points than x. */
#include "passes/rewrite.h"

static void canon_nest(Rewrite *r, const Inst *i) {
    Ctx *ctx = r->u->ctx;
    NestOp n = rewrite_nestop(r, i), producer, consumer;
    n = nest_lift(ctx, &n, r->to);
    if (!nest_canon(ctx, &n, r->to, &producer, &consumer)) {
        r->map.to[i->first.id] = nestop_emit(r->m, r->to, &n);
        return;
    }
    Val t = nestop_emit(r->m, r->to, &producer), *args = ARENA_ARRAY(r->u->arena, Val, consumer.n_args + 1);
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
        else
            rewrite_copy(&r, f->insts.p[k]);
    }
    rewrite_end(&r);
}

void pass_canon(Unit *u) { each_func(u, canon_func); }
