/* E.closed: statistics of the data as cotangents, totals, estimates. */
#include "passes/closed_priv.h"

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
    int tensor = closed_single(s->deps[i->args[arg].id]);
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
    int tensor = closed_single(s->deps[i->args[arg].id]);
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
            int tensor = closed_single(s->deps[i->args[arg].id]);
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
        int tensor = closed_single(s->deps[i->args[0].id]);
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

Func *closed_part(Closing *c, int block, Source *like, Source *prior) {
    begin_part(c, block, like->f);
    add_likelihood(c, like);
    if (prior->f)
        add_prior(c, prior);
    for (int k = 0; k < c->block->params.n; k++)
        (c->params[k].family ? family_results : extreme_results)(c, k);
    FuncId id = c->f->id;
    drop_dead(c->u, c->f);
    return graph_func(c->m, id);
}
