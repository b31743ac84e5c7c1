#include "passes/closed_priv.h"

#include "ir/transform.h"

static bool refuse(Closing *c, Str why) {
    if (!c->why)
        c->why = why;
    return false;
}

/* ---- what depends on what */

static int body_degree(const Body *b, const Inst *i, const int *degree, bool *plain, Arena *arena) {
    int *d = ARENA_ARRAY(arena, int, b->n + 1);
    for (int k = 0; k < b->n; k++) {
        const BodyInst *x = &b->insts[k];
        if (x->kind == BODY_READ)
            d[k] = degree[i->args[x->operand].id];
        if (x->kind != BODY_OP)
            continue;
        int arity = scalar_def(x->op)->arity, most = 0, sum = 0;
        for (int a = 0; a < arity; a++) {
            sum += d[x->args[a]];
            most = d[x->args[a]] > most ? d[x->args[a]] : most;
        }
        bool adds = x->op == SC_add && x->args[0] != x->args[1];
        bool linear = x->op == SC_add || x->op == SC_sub || x->op == SC_neg || x->op == SC_cast ||
                      (x->op == SC_div && !d[x->args[1]]) || (x->op == SC_select && !d[x->args[0]]);
        d[k] = !sum ? 0 : linear ? most : x->op == SC_mul && sum == 1 ? 1 : 2;
        *plain &= !d[k] || adds || x->op == SC_cast;
    }
    return d[b->n - 1];
}

static void note_inst(Source *s, const Inst *i, const int *uses, Arena *arena) {
    Deps deps = 0;
    int degree = 0;
    bool plain = true;
    for (int k = 0; k < i->n_args; k++) {
        uint32_t id = i->args[k].id;
        deps |= s->deps[id];
        degree = s->degree[id] > degree ? s->degree[id] : degree;
        plain &= !s->degree[id] || (s->plain[id] && uses[id] == 1);
    }
    const Nest *n = i->op == &op_nest ? i->attr : NULL;
    if (i->op == &op_density) {
        degree = deps != 0;
        plain = true;
    } else if (n && degree == 1) {
        plain &= !n->n_guards && n->init < 0;
        degree = n->post.n || (n->op != NEST_STORE && n->op != NEST_SUM)
                     ? 2
                     : body_degree(&n->body, i, s->degree, &plain, arena);
    } else if (degree) {
        degree = 2;
    }
    for (int k = 0; k < i->n_results; k++) {
        uint32_t id = inst_result(i, k).id;
        s->deps[id] = deps;
        s->degree[id] = degree;
        s->plain[id] = plain;
    }
}

static Source source_of(Closing *c, const Func *f) {
    Arena *arena = c->u->arena;
    Source s = {.f = f};
    s.deps = ARENA_ARRAY(arena, Deps, f->vals.n + 1);
    s.degree = ARENA_ARRAY(arena, int, f->vals.n + 1);
    s.plain = ARENA_ARRAY(arena, bool, f->vals.n + 1);
    s.to = ARENA_ARRAY(arena, Val, f->vals.n + 1);
    for (int k = 0; k < f->params.n; k++)
        if (f->params.p[k].role == ROLE_PARAM) {
            s.deps[f->params.p[k].val.id] = (Deps)1 << f->params.p[k].tensor;
            s.degree[f->params.p[k].val.id] = 2;
        }
    const int *uses = graph_uses(arena, f);
    for (int k = 0; k < f->insts.n; k++)
        note_inst(&s, f->insts.p[k], uses, arena);
    return s;
}

bool closed_is_sum(Unit *u, const Func *f) {
    Closing c = {.u = u, .ctx = u->ctx, .m = u->graph};
    Source s = source_of(&c, f);
    return s.degree[f->results.p[0].val.id] <= 1;
}

int closed_single(Deps d) {
    if (!d || (d & (d - 1)))
        return -1;
    int k = 0;
    for (; !(d >> k & 1); k++)
        ;
    return k;
}

/* Is every element of v one of the parameter's? With `rows`, its last axis is the parameter's too.
 */
static bool moves(const Source *s, Val v, bool rows) {
    const Func *f = s->f;
    const Inst *i = graph_def(f, v);
    if (!i)
        return true;
    if (i->op == &op_nest) {
        const Nest *n = i->attr;
        return !rows && nest_is_view(n) && !n->body.insts[0].has_fill &&
               moves(s, i->args[0], false);
    }
    const GatherAttr *g = i->op == &op_gather ? i->attr : NULL;
    bool keeps = !rows || (g && g->at == 0 && graph_type(f, i->args[0]).rank > 1);
    for (int k = 1; k < i->n_args; k++)
        keeps &= !s->deps[i->args[k].id];
    return (i->op->flags & OPF_MOVES) && keeps && moves(s, i->args[0], rows);
}

/* ---- which rows apply */

static bool kind_fits(Closing *c, int tensor, const DistLink *l) {
    const AbiTensor *t = &c->block->params.p[tensor];
    if (!l->prior)
        return t->kind == KIND_REAL || t->kind == KIND_POSITIVE;
    return t->kind == l->prior->conjugate->kind;
}

static bool link_param(Closing *c, const Source *s, const Inst *d, int arg, bool plain) {
    const DensityAttr *a = d->attr;
    int tensor = closed_single(s->deps[d->args[arg].id]);
    const DistLink *l = dist_link(a->dist, a->form, arg - 1);
    Str name = a->dist->forms[a->form].params[arg - 1].name;
    if (tensor < 0)
        return refuse(
            c, str_fmt(c->ctx, "the %s of %s depends on several parameters", name, a->dist->name));
    if (!l)
        return refuse(
            c, str_fmt(c->ctx, "no family is conjugate to the %s of %s", name, a->dist->name));
    bool vector = dist_is_vector(a->dist, a->form, arg - 1);
    Val v = d->args[arg];
    bool own = l->prior ? moves(s, v, vector && graph_def(s->f, v))
                        : !graph_def(s->f, v) && !graph_type(s->f, v).rank;
    if (!own)
        return refuse(c, str_fmt(c->ctx, "the %s of %s is not `%s` itself, but a function of it",
                                 name, a->dist->name, path_of(c, tensor)));
    if (!kind_fits(c, tensor, l))
        return refuse(c, str_fmt(c->ctx, "`%s` has another kind than the family of its row `%s`",
                                 path_of(c, tensor), l->rule));
    if (!l->prior && !plain)
        return refuse(c, str_fmt(c->ctx, "the draws of %s are weighted", a->dist->name));
    ClosedParam *p = &c->params[tensor];
    if (p->link && (p->link->prior != l->prior || p->link->extreme != l->extreme))
        return refuse(c, str_fmt(c->ctx, "`%s` would need two families", path_of(c, tensor)));
    if (!p->link)
        *p = (ClosedParam){.tensor = tensor, .link = l, .family = l->prior};
    return true;
}

static bool link_likelihood(Closing *c, const Source *s, const Inst *d, bool plain) {
    const DensityAttr *a = d->attr;
    int found = 0;
    bool separable = true;
    if (s->deps[d->args[0].id])
        return refuse(c, "the left side of a likelihood depends on parameters");
    for (int k = 1; k < d->n_args; k++) {
        if (!s->deps[d->args[k].id])
            continue;
        const DistLink *l = dist_link(a->dist, a->form, k - 1);
        separable &= l && !l->prior;
        found++;
    }
    if (found > 1 && !separable)
        return refuse(
            c, str_fmt(c->ctx, "several parameters of %s are to be found at once", a->dist->name));
    for (int k = 1; k < d->n_args; k++)
        if (s->deps[d->args[k].id] && !link_param(c, s, d, k, plain))
            return false;
    return true;
}

static bool link_prior(Closing *c, const Source *s, const Inst *d, bool plain) {
    const DensityAttr *a = d->attr;
    (void)plain;
    int tensor = closed_single(s->deps[d->args[0].id]);
    if (tensor < 0)
        return refuse(c, "a prior speaks of several parameters");
    ClosedParam *p = &c->params[tensor];
    for (int k = 1; k < d->n_args; k++)
        if (s->deps[d->args[k].id])
            return refuse(
                c, str_fmt(c->ctx, "the prior of `%s` depends on parameters", path_of(c, tensor)));
    if (!p->link)
        return refuse(c, str_fmt(c->ctx, "`%s` stands in no likelihood", path_of(c, tensor)));
    if (p->family != a->dist)
        return refuse(c, p->family
                             ? str_fmt(c->ctx,
                                       "the prior %s of `%s` is not conjugate: that would be %s",
                                       a->dist->name, path_of(c, tensor), p->family->name)
                             : str_fmt(c->ctx, "`%s` has a prior", path_of(c, tensor)));
    if (!moves(s, d->args[0], a->dist->vector_draws && graph_def(s->f, d->args[0])))
        return refuse(
            c, str_fmt(c->ctx, "the prior of `%s` is one of a function of it", path_of(c, tensor)));
    p->has_prior = true;
    return true;
}

typedef bool (*LinkFn)(Closing *c, const Source *s, const Inst *d, bool plain);

static bool link_all(Closing *c, const Source *s, LinkFn link) {
    Val total = s->f->results.p[0].val;
    if (s->degree[total.id] > 1)
        return refuse(c, "the log density is not a sum of the statements' densities");
    for (int k = 0; k < s->f->insts.n; k++) {
        const Inst *i = s->f->insts.p[k];
        if (i->op == &op_density && s->deps[i->first.id] && !link(c, s, i, s->plain[total.id]))
            return false;
    }
    return true;
}

/* ---- all of it */

static bool all_found(Closing *c) {
    for (int k = 0; k < c->block->params.n; k++) {
        const AbiTensor *t = &c->block->params.p[k];
        if (!c->params[k].link)
            return refuse(c, str_fmt(c->ctx, "`%s` stands in no likelihood", t->path));
        Type free = transform_of(t->kind)->free_type(c->ctx, t->type);
        if (t->learned != type_count(c->ctx, free))
            return refuse(c, str_fmt(c->ctx, "some elements of `%s` are held fixed", t->path));
    }
    return true;
}

bool closed_form(Unit *u, int block, const Func *loglik, const Func *logprior, Closed *out,
                 Str *why) {
    Closing c = {.u = u, .ctx = u->ctx, .m = u->graph, .block = u->graph->blocks.p[block]};
    int n = c.block->params.n;
    Source like = source_of(&c, loglik), prior = {0};
    c.params = ARENA_ARRAY(u->graph->arena, ClosedParam, n + 1);
    bool ok = n > 0 && n <= MOST_PARAMS && link_all(&c, &like, link_likelihood);
    if (ok && logprior) {
        prior = source_of(&c, logprior);
        ok = link_all(&c, &prior, link_prior);
    }
    ok = ok && all_found(&c);
    *why = c.why;
    if (!ok)
        return false;
    *out =
        (Closed){.rule = str_of(u->ctx, c.params[0].link->rule), .n_params = n, .params = c.params};
    out->part = closed_part(&c, block, &like, &prior);
    return true;
}
