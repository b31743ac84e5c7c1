#include "passes/closed.h"

#include "ir/build.h"
#include "passes/rewrite.h"

enum { MOST_PARAMS = 64 }; /* bits of a Deps */
typedef uint64_t Deps;

/* E.loglik or E.logprior with what is known of its values. */
typedef struct Source {
    const Func *f;
    Deps *deps;  /* by value id: the parameters it depends on */
    int *degree; /* in the log densities: 0, 1, or 2 for anything else that parameters reach */
    bool *plain; /* a sum of log densities, each once */
    Val *to;     /* by value id: its copy in the part */
} Source;

/* A value for each coefficient of a family. */
typedef struct Stats {
    Val k[DIST_MOST_STATS];
} Stats;

typedef struct Closing {
    Unit *u;
    Ctx *ctx;
    Module *m;
    const AbiBlock *block;
    Str why;
    ClosedParam *params; /* by number in the block, as are the next */
    Val *theta;          /* what stands for the parameter in the part: no value, only a place */
    Stats *like, *coef;  /* f64; coef: id 0 without prior */
    Val *extreme;
    Func *f; /* the part */
    Val prior;
} Closing;

static bool refuse(Closing *c, Str why) {
    if (!c->why)
        c->why = why;
    return false;
}

static Str path_of(const Closing *c, int tensor) { return c->block->params.p[tensor].path; }

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

/* The one parameter of a set, or -1. */
static int single(Deps d) {
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
    int tensor = single(s->deps[d->args[arg].id]);
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
    int tensor = single(s->deps[d->args[0].id]);
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

/* ---- the part */

static void copy_source(Closing *c, Source *s) {
    ValMap map = {s->to};
    for (int k = 0; k < s->f->params.n; k++) {
        Param p = s->f->params.p[k];
        if (p.role == ROLE_PARAM) {
            map.to[p.val.id] = c->theta[p.tensor];
            continue;
        }
        Val have = {0};
        for (int j = 0; j < c->f->params.n; j++)
            if (c->f->params.p[j].role == p.role && c->f->params.p[j].name == p.name)
                have = c->f->params.p[j].val;
        map.to[p.val.id] = have.id ? have : graph_param(c->m, c->f, p, graph_type(s->f, p.val));
    }
    for (int k = 0; k < s->f->insts.n; k++)
        graph_copy_inst(c->m, c->f, s->f, s->f->insts.p[k], &map);
    for (int k = 0; k < s->f->checks.n; k++)
        vec_push(c->m->arena, &c->f->checks, s->f->checks.p[k]);
}

static Val one(Closing *c, Span span) {
    return graph_fill(c->m, c->f, type_scalar(DT_F64), 1, span, NULL);
}

/* Cotangent of w under the cotangent g of y. */
static Val pull(Closing *c, Val y, Val g, Val w, Span span) {
    if (y.id == w.id)
        return g;
    g = graph_cast(c->m, c->f, g, graph_type(c->f, y).dt, span, NULL);
    VjpAttr *attr = ARENA_NEW(c->m->arena, VjpAttr);
    attr->n_wrt = 1;
    return graph_inst(c->m, c->f, &op_vjp, (Val[]){y, g, w}, 3, attr, span, NULL)->first;
}

/* A density in the part, with an index for each axis of its draws and one for the elements of a
 * vector. */
typedef struct Draws {
    const DensityAttr *a;
    NestMaker n;
    Dim at[MAX_RANK + 1];
    Dim extent[MAX_RANK + 1];
    int rank;
    bool vector;
} Draws;

static Draws draws_of(Closing *c, const DensityAttr *a, NestOpKind op, Val vector) {
    Draws d = {.a = a, .n = nest_maker(c->m, c->f, op), .rank = a->type.rank, .vector = vector.id};
    maker_cells(&d.n, a->type, d.at);
    for (int k = 0; k < d.rank; k++)
        d.extent[k] = a->type.shape[k];
    if (d.vector) {
        Type t = graph_type(c->f, vector);
        d.extent[d.rank] = t.shape[t.rank - 1];
        d.at[d.rank] = maker_index(&d.n, "k", d.extent[d.rank]);
    }
    return d;
}

/* v at a draw: a scalar or, of vectors, one for all draws, or one for each. */
static int read_draw(Draws *d, Val v, bool vector) {
    Type t = graph_type(d->n.f, v);
    const Dim *at = vector && t.rank == 1 ? d->at + d->rank : d->at;
    return body_cast(&d->n.b, DT_F64, maker_read(&d->n, v, at));
}

static void read_params(Draws *d, const Val *args, int n, int *p) {
    for (int k = 0; k < n; k++)
        p[k] = read_draw(d, args[k + 1], dist_is_vector(d->a->dist, d->a->form, k));
}

static Val times(Closing *c, Val *total, Val add, Span span) {
    *total =
        graph_add(c->m, c->f, *total, graph_cast(c->m, c->f, add, DT_F64, span, NULL), span, NULL);
    return *total;
}

/* Adds the statistics of one likelihood, weighted by the cotangents of its log densities. */
static void add_stats(Closing *c, const Source *s, const Inst *i, int arg, Val weight) {
    const DensityAttr *a = i->attr;
    const DistLink *l = dist_link(a->dist, a->form, arg - 1);
    int tensor = single(s->deps[i->args[arg].id]);
    Val args[DIST_MOST_PARAMS + 1];
    for (int k = 0; k < i->n_args; k++)
        args[k] = s->to[i->args[k].id];
    bool vector = dist_is_vector(a->dist, a->form, arg - 1);
    Type own = graph_type(c->f, args[arg]);
    for (int k = 0; k < l->prior->conjugate->n_stats; k++) {
        Draws d = draws_of(c, a, NEST_SUM, vector ? args[arg] : (Val){0});
        BodyBuilder *b = &d.n.b;
        int p[DIST_MOST_PARAMS], x = read_draw(&d, args[0], a->dist->vector_draws);
        read_params(&d, args, i->n_args - 1, p);
        p[arg - 1] = -1;
        int stat = l->stat(b, k, x, p, vector ? body_index(b, d.at[d.rank]) : -1);
        stat = body_op2(b, SC_mul, stat, read_draw(&d, weight, false));
        /* Summed over all draws where the parameter is one for all. */
        int skip = own.rank == vector ? d.rank : 0;
        Val sum = maker_done(&d.n, stat, own.rank, d.at + skip, d.extent + skip, i->span, i->name);
        times(c, &c->like[tensor].k[k], pull(c, args[arg], sum, c->theta[tensor], i->span),
              i->span);
    }
}

static void add_extreme(Closing *c, const Source *s, const Inst *i, int arg) {
    const DensityAttr *a = i->attr;
    const DistLink *l = dist_link(a->dist, a->form, arg - 1);
    int tensor = single(s->deps[i->args[arg].id]);
    Draws d = draws_of(c, a, l->extreme, (Val){0});
    int x = read_draw(&d, s->to[i->args[0].id], false);
    Val v = maker_done(&d.n, x, 0, NULL, NULL, i->span, i->name), *e = &c->extreme[tensor];
    ScalarOp op = l->extreme == NEST_MIN ? SC_min : SC_max;
    *e = e->id ? graph_map(c->m, c->f, op, (Val[]){*e, v}, 2, i->span, i->name) : v;
}

static void add_likelihood(Closing *c, Source *s) {
    copy_source(c, s);
    Val total = s->to[s->f->results.p[0].val.id];
    for (int k = 0; k < s->f->insts.n; k++) {
        const Inst *i = s->f->insts.p[k];
        if (i->op != &op_density || !s->deps[i->first.id])
            continue;
        Val weight = {0};
        for (int arg = 1; arg < i->n_args; arg++) {
            int tensor = single(s->deps[i->args[arg].id]);
            if (tensor >= 0 && !c->params[tensor].family)
                add_extreme(c, s, i, arg);
            if (tensor < 0 || !c->params[tensor].family)
                continue;
            if (!weight.id)
                weight = pull(c, total, one(c, i->span), s->to[i->first.id], i->span);
            add_stats(c, s, i, arg, weight);
        }
    }
}

static void add_prior(Closing *c, Source *s) {
    copy_source(c, s);
    Val total = s->to[s->f->results.p[0].val.id];
    for (int j = 0; j < s->f->insts.n; j++) {
        const Inst *i = s->f->insts.p[j];
        if (i->op != &op_density)
            continue;
        const DensityAttr *a = i->attr;
        int tensor = single(s->deps[i->args[0].id]);
        Val weight = pull(c, total, one(c, i->span), s->to[i->first.id], i->span), args[8];
        for (int k = 0; k < i->n_args; k++)
            args[k] = s->to[i->args[k].id];
        Type t = graph_type(c->f, args[0]);
        for (int k = 0; k < a->dist->conjugate->n_stats; k++) {
            Draws d = draws_of(c, a, NEST_SUM, a->dist->vector_draws ? args[0] : (Val){0});
            int p[DIST_MOST_PARAMS];
            read_params(&d, args, i->n_args - 1, p);
            int coef = a->dist->conjugate->coef(&d.n.b, k, p);
            coef = body_op2(&d.n.b, SC_mul, coef, read_draw(&d, weight, false));
            Val v = maker_done(&d.n, coef, t.rank, d.at, d.extent, i->span, i->name);
            times(c, &c->coef[tensor].k[k], pull(c, args[0], v, c->theta[tensor], i->span),
                  i->span);
        }
    }
}

/* ---- from totals to estimates */

/* The nest over a parameter's elements that all results are made by. */
typedef struct Element {
    NestMaker n;
    Dim at[MAX_RANK];
    Type t;
} Element;

static Element element_of(Closing *c, int tensor) {
    Element e = {.n = nest_maker(c->m, c->f, NEST_STORE), .t = c->block->params.p[tensor].type};
    maker_cells(&e.n, e.t, e.at);
    return e;
}

static Val element_done(Closing *c, Element *e, int body, int tensor) {
    const AbiTensor *t = &c->block->params.p[tensor];
    return maker_done(&e->n, body, e->t.rank, e->at, e->t.shape, t->span, t->path);
}

/* c_k of the data and, `weighted` by hyper.prior, of the prior (which comes first where it counts
 * in full: the posterior). */
static Val total_of(Closing *c, int tensor, int k, bool weighted) {
    if (!c->coef[tensor].k[k].id)
        return c->like[tensor].k[k];
    Element e = element_of(c, tensor);
    BodyBuilder *b = &e.n.b;
    int like = maker_read(&e.n, c->like[tensor].k[k], e.at);
    int coef = maker_read(&e.n, c->coef[tensor].k[k], e.at);
    if (weighted) /* an infinite coefficient has no part in an MLE */
        coef = body_op3(
            b, SC_select,
            body_op2(b, SC_eq, maker_read(&e.n, c->prior, NULL), body_real(b, DT_F64, 0)),
            body_real(b, DT_F64, 0), body_op2(b, SC_mul, maker_read(&e.n, c->prior, NULL), coef));
    return element_done(c, &e, body_op2(b, SC_add, like, coef), tensor);
}

static Val sum_of_elements(Closing *c, int tensor, Val v) {
    const AbiTensor *t = &c->block->params.p[tensor];
    NestMaker n = nest_maker(c->m, c->f, NEST_SUM);
    Dim at[MAX_RANK];
    maker_cells(&n, t->type, at);
    return maker_done(&n, maker_read(&n, v, at), t->type.rank - 1, at, t->type.shape, t->span,
                      t->path);
}

static int add_result(Closing *c, Val v, Str name) {
    graph_result(c->m, c->f, (Result){.val = v, .name = name, .role = RES_LOCAL, .of = -1});
    return c->f->results.n - 1;
}

typedef struct Totals {
    const DistConjugate *family;
    Val v[2 * DIST_MOST_STATS];
    int n;
} Totals;

static Totals totals_of(Closing *c, int tensor, bool weighted) {
    Totals t = {.family = c->params[tensor].family->conjugate};
    t.n = t.family->n_stats;
    for (int k = 0; k < t.family->n_stats; k++)
        t.v[k] = total_of(c, tensor, k, weighted);
    if (c->params[tensor].family->vector_draws)
        for (int k = 0; k < t.family->n_stats; k++)
            t.v[t.n++] = sum_of_elements(c, tensor, t.v[k]);
    return t;
}

static void read_totals(Element *e, const Totals *t, int *out) {
    for (int k = 0; k < t->n; k++)
        out[k] = maker_read(&e->n, t->v[k], e->at);
}

static void family_results(Closing *c, int tensor) {
    ClosedParam *p = &c->params[tensor];
    Str path = path_of(c, tensor);
    Totals t = totals_of(c, tensor, true);
    int r[2 * DIST_MOST_STATS];
    Element e = element_of(c, tensor), s = element_of(c, tensor);
    BodyBuilder *b = &e.n.b;
    read_totals(&e, &t, r);
    int inside = body_op2(b, SC_eq, t.family->state(b, r), body_int(b, DT_I32, CLOSED_INTERIOR));
    int mode = body_op3(b, SC_select, inside, t.family->mode(b, r), t.family->edge(b, r));
    mode = body_cast(b, e.t.dt, mode);
    p->estimate = add_result(c, element_done(c, &e, mode, tensor), path);
    read_totals(&s, &t, r);
    p->state = add_result(c, element_done(c, &s, t.family->state(&s.n.b, r), tensor),
                          str_fmt(c->ctx, "%s.state", path));
    p->stats = c->f->results.n;
    for (int k = 0; k < t.family->n_stats; k++)
        add_result(c, c->like[tensor].k[k], str_fmt(c->ctx, "%s.data%d", path, k));
    if (!p->has_prior)
        return;
    for (int k = 0; k < t.family->n_stats; k++)
        add_result(c, c->coef[tensor].k[k], str_fmt(c->ctx, "%s.prior%d", path, k));
    Totals full = totals_of(c, tensor, false);
    const DistForm *form = &p->family->forms[0];
    p->posterior = c->f->results.n;
    p->n_posterior = form->n_params;
    for (int k = 0; k < form->n_params; k++) {
        Element q = element_of(c, tensor);
        read_totals(&q, &full, r);
        add_result(c, element_done(c, &q, t.family->param(&q.n.b, k, r), tensor),
                   str_fmt(c->ctx, "%s.%s", path, form->params[k].name));
    }
}

static void extreme_results(Closing *c, int tensor) {
    ClosedParam *p = &c->params[tensor];
    const AbiTensor *t = &c->block->params.p[tensor];
    Val v = graph_cast(c->m, c->f, c->extreme[tensor], t->type.dt, t->span, t->path);
    p->estimate = add_result(c, v, t->path);
    Element s = element_of(c, tensor);
    p->state = add_result(c, element_done(c, &s, body_int(&s.n.b, DT_I32, CLOSED_BOUNDARY), tensor),
                          str_fmt(c->ctx, "%s.state", t->path));
}

/* ---- all of it */

static void begin_part(Closing *c, int block, const Func *loglik) {
    int n = c->block->params.n;
    Arena *arena = c->u->arena;
    c->f = graph_func_new(c->m, str_fmt(c->ctx, "%s.closed", c->block->name), loglik->span);
    c->f->real = loglik->real;
    c->f->block = block;
    for (int k = 0; k < c->block->dims.n; k++)
        vec_push(c->m->arena, &c->f->dims, c->block->dims.p[k]);
    c->theta = ARENA_ARRAY(arena, Val, n + 1);
    c->extreme = ARENA_ARRAY(arena, Val, n + 1);
    c->like = ARENA_ARRAY(arena, Stats, n + 1);
    c->coef = ARENA_ARRAY(arena, Stats, n + 1);
    bool any = false;
    for (int k = 0; k < n; k++)
        any |= c->params[k].has_prior;
    if (any) {
        Param prior = {.name = str_of(c->ctx, "prior"),
                       .role = ROLE_PRIOR,
                       .span = loglik->span,
                       .tensor = -1};
        c->prior = graph_param(c->m, c->f, prior, type_scalar(DT_F64));
    }
    for (int k = 0; k < n; k++) {
        const AbiTensor *t = &c->block->params.p[k];
        c->theta[k] = graph_fill(c->m, c->f, t->type, 0, t->span, t->path);
    }
}

static bool all_found(Closing *c) {
    for (int k = 0; k < c->block->params.n; k++) {
        const AbiTensor *t = &c->block->params.p[k];
        if (!c->params[k].link)
            return refuse(c, str_fmt(c->ctx, "`%s` stands in no likelihood", t->path));
        if (t->learned != type_count(c->ctx, t->type))
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
    begin_part(&c, block, loglik);
    add_likelihood(&c, &like);
    if (logprior)
        add_prior(&c, &prior);
    for (int k = 0; k < n; k++)
        (c.params[k].family ? family_results : extreme_results)(&c, k);
    *out =
        (Closed){.rule = str_of(u->ctx, c.params[0].link->rule), .n_params = n, .params = c.params};
    FuncId id = c.f->id;
    drop_dead(u, c.f);
    out->part = graph_func(u->graph, id);
    return true;
}
