/* density: each log density is expanded by its distribution.
 *
 *   %l = density{Normal}(%x, %m, %s)
 *     ->   %l = nest = -0.5*((x[i] - m[i])/s[])^2 - log(s[]) - ... over i<N
 *
 * It knows no distribution: the stanza builds. */
#include "ir/dist.h"
#include "passes/rewrite.h"

static void expand(Rewrite *r, const Inst *i) {
    const DensityAttr *attr = i->attr;
    Val *params = ARENA_ARRAY(r->u->arena, Val, i->n_args + 1);
    for (int k = 1; k < i->n_args; k++)
        params[k - 1] = rewrite_val(r, i->args[k]);
    DistCall c = {.m = r->m,
                  .f = r->to,
                  .form = attr->form,
                  .x = rewrite_val(r, i->args[0]),
                  .params = params,
                  .type = attr->type,
                  .span = i->span,
                  .name = i->name};
    r->map.to[i->first.id] = dist_logpdf(attr->dist, &c);
}

static void density_func(Unit *u, Func *f) {
    Rewrite r = rewrite_begin(u, f);
    for (int k = 0; k < f->insts.n; k++) {
        if (f->insts.p[k]->op == &op_density)
            expand(&r, f->insts.p[k]);
        else
            rewrite_copy(&r, f->insts.p[k]);
    }
    rewrite_end(&r);
}

void pass_density(Unit *u) { each_func(u, density_func); }
