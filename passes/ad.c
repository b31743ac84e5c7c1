/* ad: reverse-mode differentiation. Every
 *
 *   %g1, %g2 = vjp %y, %s, %w1, %w2
 *
 * becomes the reverse sweep over the instructions before it that depend on the w's and that y
 * depends on: x_adj is the cotangent of x, contributions to one cotangent chain by `from`. The w's
 * are free: what computes them is not looked into. Instructions are expanded in order, so a vjp of
 * a vjp differentiates what the first has become. Many cotangents (lanes) share one sweep.
 * Derivative rules stand with the ops (OpDef.vjp); this file knows none. */
#include <string.h>

#include "base/diag.h"
#include "ir/build.h"
#include "passes/centred.h"
#include "passes/rewrite.h"

typedef struct Sweep {
    Unit *u;
    Module *m;
    Func *f;
    int n_vals, n_insts; /* of the forward part */
    bool *free;          /* by value id: is a w */
    bool *live;          /* by value id: depends on a w */
    Val *adj;            /* by value id; id 0: none so far */
    Centred centred;
} Sweep;

static void mark_live(Sweep *s, const Val *w, int n_w) {
    for (int k = 0; k < n_w; k++)
        s->live[w[k].id] = s->free[w[k].id] = true;
    for (int k = 0; k < s->n_insts; k++) {
        const Inst *i = s->f->insts.p[k];
        bool any = false;
        for (int j = 0; j < i->n_args; j++)
            any |= s->live[i->args[j].id];
        for (int j = 0; any && j < i->n_results; j++)
            s->live[inst_result(i, j).id] |= dtype_is_real(graph_type(s->f, inst_result(i, j)).dt);
    }
}

/* The last part of a path: "w" of "C3.w"; "x" for what has no name. */
static const char *operand_name(const Sweep *s, Val v) {
    Str name = s->f->vals.p[v.id].name;
    const char *dot = name ? strrchr(name, '.') : NULL;
    return !name ? "x" : dot ? dot + 1 : name;
}

/* Names of what the derivative of i appended (insts from `begin`): a cotangent's whole chain takes
 * the operand's. */
static void name_backward(Sweep *s, const Inst *i, const Val *d, int begin) {
    if (!i->name)
        return;
    for (int j = 0; j < i->n_args; j++) {
        const char *operand = operand_name(s, i->args[j]);
        for (Val v = d[j]; v.id && s->f->vals.p[v.id].inst >= begin;) {
            Inst *def = graph_def(s->f, v);
            const Nest *n = def->op == &op_nest ? def->attr : NULL;
            if (def->name == i->name)
                def->name = str_fmt(s->u->ctx, "%s.bwd.%s", i->name, operand);
            v = n && n->init >= 0 ? def->args[n->init] : (Val){0};
        }
    }
    for (int k = begin; k < s->f->insts.n; k++)
        if (s->f->insts.p[k]->name == i->name)
            s->f->insts.p[k]->name = str_fmt(s->u->ctx, "%s.bwd", i->name);
}

/* Do all results of i count as free? */
static bool is_free(const Sweep *s, const Inst *i) {
    bool all = i->n_results > 0;
    for (int j = 0; j < i->n_results; j++)
        all &= s->free[inst_result(i, j).id];
    return all;
}

static void backward(Sweep *s, const Inst *i) {
    bool has_adj = false, any_live = false, real_live = false;
    for (int j = 0; j < i->n_results; j++) {
        has_adj |= s->adj[inst_result(i, j).id].id != 0;
        real_live |= s->live[inst_result(i, j).id];
    }
    for (int j = 0; j < i->n_args; j++)
        any_live |= s->live[i->args[j].id];
    if (!has_adj || !any_live || !real_live || is_free(s, i))
        return;
    if (!i->op->vjp) {
        diag_error(s->u->ctx, "E0590", i->span, "there is no derivative of `%s`", i->op->name);
        return;
    }
    Val *g = ARENA_ARRAY(s->u->arena, Val, i->n_results + 1),
        *acc = ARENA_ARRAY(s->u->arena, Val, i->n_args + 1),
        *d = ARENA_ARRAY(s->u->arena, Val, i->n_args + 1);
    for (int j = 0; j < i->n_results; j++)
        g[j] = s->adj[inst_result(i, j).id];
    for (int j = 0; j < i->n_args; j++)
        acc[j] = s->adj[i->args[j].id];
    int begin = s->f->insts.n;
    i->op->vjp(s->m, s->f, i, g, acc, d);
    for (int j = 0; j < i->n_args; j++)
        if (s->live[i->args[j].id])
            d[j] = centred_rest(&s->centred, d[j], acc[j], begin);
    name_backward(s, i, d, begin);
    for (int j = 0; j < i->n_args; j++)
        if (d[j].id && s->live[i->args[j].id])
            s->adj[i->args[j].id] = d[j];
}

/* ---- lanes: the sweep is linear in its cotangent. It is made for one cotangent that stands for
 * all; then what depends on it is computed for all lanes. */

typedef struct Spreading {
    Sweep *s;
    Val *to;    /* by value id */
    bool *wide; /* by value id: has the axis of lanes */
    Dim lanes;
} Spreading;

static void spread_inst(Spreading *z, const Inst *i) {
    Sweep *s = z->s;
    bool any = false, *wide = ARENA_ARRAY(s->u->arena, bool, i->n_args + 1);
    Val *args = ARENA_ARRAY(s->u->arena, Val, i->n_args + 1),
        *out = ARENA_ARRAY(s->u->arena, Val, i->n_results + 1);
    for (int j = 0; j < i->n_args; j++) {
        args[j] = z->to[i->args[j].id];
        any |= wide[j] = z->wide[i->args[j].id];
    }
    if (!any) {
        ValMap map = {z->to};
        graph_copy_inst(s->m, s->f, s->f, i, &map);
        return;
    }
    SpreadCall call = {s->m, s->f, i, args, wide, z->lanes};
    if (!i->op->spread || !i->op->spread(&call, out)) {
        diag_error(s->u->ctx, "E0590", i->span, "there is no second derivative of `%s`",
                   i->op->name);
        for (int j = 0; j < i->n_results; j++) {
            Type t = graph_type(s->f, inst_result(i, j));
            Dim shape[MAX_RANK + 1];
            for (int k = 0; k < t.rank; k++)
                shape[k] = t.shape[k];
            shape[t.rank] = z->lanes;
            out[j] = graph_fill(s->m, s->f, type_new(s->u->ctx, t.dt, t.rank + 1, shape), 0,
                                i->span, NULL);
        }
    }
    for (int j = 0; j < i->n_results; j++) {
        z->to[inst_result(i, j).id] = out[j];
        z->wide[inst_result(i, j).id] = true;
    }
}

/* The instructions from `begin` on, anew; `from` is the cotangent that stands for all, g they.
 * Adjoints are renamed. */
static void spread(Sweep *s, int begin, Val from, Val g, Dim lanes) {
    int n_vals = s->f->vals.n, n = s->f->insts.n - begin;
    Spreading z = {.s = s, .lanes = lanes};
    Inst **insts = ARENA_ARRAY(s->u->arena, Inst *, n + 1);
    memcpy(insts, s->f->insts.p + begin, (size_t)n * sizeof *insts);
    z.to = ARENA_ARRAY(s->u->arena, Val, n_vals + 1);
    z.wide = ARENA_ARRAY(s->u->arena, bool, n_vals + 1);
    for (int k = 0; k < n_vals; k++)
        z.to[k] = (Val){(uint32_t)k};
    z.to[from.id] = g;
    z.wide[from.id] = true;
    s->f->insts.n = begin;
    for (int k = 0; k < n; k++)
        spread_inst(&z, insts[k]);
    for (int k = 0; k < s->n_vals; k++) {
        Val a = s->adj[k];
        if (a.id && !z.wide[a.id])
            s->adj[k] = (Val){0}; /* it does not depend on the cotangent: it is zero */
        else if (a.id)
            s->adj[k] = z.to[a.id];
    }
}

/* By value id of r->to: some vjp of the function is by it. */
static const bool *differentiated_by(const Rewrite *r) {
    bool *held = ARENA_ARRAY(r->u->arena, bool, r->to->vals.n + 1);
    for (int k = 0; k < r->from->insts.n; k++) {
        const Inst *i = r->from->insts.p[k];
        for (int j = 2; i->op == &op_vjp && j < i->n_args; j++)
            held[r->map.to[i->args[j].id].id] = true; /* id 0: it comes later */
    }
    return held;
}

/* Results of one vjp instruction of r->from, computed in r->to. */
static void expand(Rewrite *r, const Inst *i) {
    const VjpAttr *attr = i->attr;
    Unit *u = r->u;
    Val *w = ARENA_ARRAY(u->arena, Val, attr->n_wrt + 1), y = rewrite_val(r, i->args[0]);
    for (int k = 0; k < attr->n_wrt; k++)
        w[k] = rewrite_val(r, i->args[2 + k]);
    Sweep s = {.u = u, .m = r->m, .f = r->to, .n_vals = r->to->vals.n, .n_insts = r->to->insts.n};
    s.free = ARENA_ARRAY(u->arena, bool, s.n_vals + 1);
    s.live = ARENA_ARRAY(u->arena, bool, s.n_vals + 1);
    s.adj = ARENA_ARRAY(u->arena, Val, s.n_vals + 1);
    s.centred = (Centred){r->m, r->to, u->arena, differentiated_by(r), s.n_vals};
    mark_live(&s, w, attr->n_wrt);
    Val g = rewrite_val(r, i->args[1]), one = g;
    if (attr->lanes)
        one = graph_fill(r->m, r->to, graph_type(r->to, y), 0, i->span, NULL);
    int begin = r->to->insts.n;
    s.adj[y.id] = one;
    for (int k = s.n_insts - 1; k >= 0; k--)
        backward(&s, r->to->insts.p[k]);
    if (attr->lanes)
        spread(&s, begin, one, g, attr->lanes);
    for (int k = 0; k < attr->n_wrt; k++) {
        Val d = s.adj[w[k].id];
        Type t = graph_type(r->from, inst_result(i, k));
        r->map.to[inst_result(i, k).id] = d.id ? d : graph_fill(r->m, r->to, t, 0, i->span, NULL);
    }
}

static void ad_func(Unit *u, Func *f) {
    bool any = false;
    for (int k = 0; k < f->insts.n; k++)
        any |= f->insts.p[k]->op == &op_vjp;
    if (!any)
        return;
    Rewrite r = rewrite_begin(u, f);
    for (int k = 0; k < f->insts.n; k++) {
        if (f->insts.p[k]->op == &op_vjp)
            expand(&r, f->insts.p[k]);
        else
            rewrite_copy(&r, f->insts.p[k]);
    }
    rewrite_end(&r);
    drop_dead(u, graph_func(u->graph, f->id)); /* cotangents of operands that are no w */
}

void pass_ad(Unit *u) { each_func(u, ad_func); }
