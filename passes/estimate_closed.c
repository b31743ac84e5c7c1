/* estimate: closed forms (passes/closed.h). The estimate is what E.closed yields; log density,
 * gradient and observed Hessian at it come from the same body as in a numeric fit, which is run
 * once (fit{at}). The entry E.posterior gives the parameters of the posteriors. */
#include "passes/estimate_closed.h"

#include <math.h>

#include "passes/estimate_fit.h"

/* u of an estimate at an end of its kind is far out instead of infinite. */
static Val bounded(const Fit *z, Val u) {
    enum { FAR = 800 };
    Build *e = z->e;
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    Dim k = maker_index(&n, "k", z->n_free);
    int v = maker_read(&n, u, &k);
    int low = body_op2(&n.b, SC_eq, v, body_real(&n.b, DT_F64, -INFINITY)),
        high = body_op2(&n.b, SC_eq, v, body_real(&n.b, DT_F64, INFINITY));
    v = body_op3(&n.b, SC_select, high, body_real(&n.b, DT_F64, FAR), v);
    v = body_op3(&n.b, SC_select, low, body_real(&n.b, DT_F64, -FAR), v);
    return maker_done(&n, v, 1, &k, &z->n_free, e->span, NULL);
}

/* The states of all elements of params, as f64. */
static Val states(const Fit *z, const Closed *c, const Val *outs) {
    Build *e = z->e;
    Val *v = ARENA_ARRAY(e->u->arena, Val, c->n_params + 1);
    Dim *at = ARENA_ARRAY(e->u->arena, Dim, c->n_params + 1);
    for (int k = 0; k < c->n_params; k++) {
        v[k] = graph_cast(e->m, e->f, outs[c->params[k].state], DT_F64, e->span, NULL);
        at[k] = z->p[k].home;
    }
    return fit_joined(e, v, at, z->n, z->n_params);
}

/* op over all elements of select(state >= 4, state, 0). */
static Val worst(const Fit *z, Val state, NestOpKind op) {
    Build *e = z->e;
    NestMaker n = nest_maker(e->m, e->f, op);
    Dim k = maker_index(&n, "k", z->n_params);
    int s = maker_read(&n, state, &k), zero = body_real(&n.b, DT_F64, 0);
    int fault = body_op2(&n.b, SC_le, body_real(&n.b, DT_F64, CLOSED_NO_MODE), s);
    Val v = maker_done(&n, body_op3(&n.b, SC_select, fault, s, zero), 0, NULL, NULL, e->span, NULL);
    return graph_cast(e->m, e->f, v, DT_I64, e->span, NULL);
}

static Val where_of(const Fit *z, Val state, Val code) {
    Build *e = z->e;
    Val first = worst(z, state, NEST_ARGMAX);
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    int none = body_op2(&n.b, SC_eq, maker_read(&n, code, NULL), body_int(&n.b, DT_I64, 0));
    int v =
        body_op3(&n.b, SC_select, none, body_int(&n.b, DT_I64, -1), maker_read(&n, first, NULL));
    return maker_done(&n, v, 0, NULL, NULL, e->span, NULL);
}

/* NaN in the rows and columns of elements that are not interior. */
static Val known_cov(const Fit *z, Val cov, Val state) {
    Build *e = z->e;
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    Dim i[2] = {maker_index(&n, "i", z->n_params), maker_index(&n, "j", z->n_params)};
    int s = body_op2(&n.b, SC_add, maker_read(&n, state, &i[0]), maker_read(&n, state, &i[1]));
    int interior = body_op2(&n.b, SC_eq, s, body_real(&n.b, DT_F64, CLOSED_INTERIOR));
    int v =
        body_op3(&n.b, SC_select, interior, maker_read(&n, cov, i), body_real(&n.b, DT_F64, NAN));
    return maker_done(&n, v, 2, i, (Dim[]){z->n_params, z->n_params}, e->span, NULL);
}

/* Statistics do not know the support: data outside of it have no estimate. */
static void require_support(Build *e, Val loglik, Val code) {
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    int none = body_op2(&n.b, SC_ne, maker_read(&n, code, NULL), body_int(&n.b, DT_I64, 0));
    int possible =
        body_op2(&n.b, SC_lt, body_real(&n.b, DT_F64, -INFINITY), maker_read(&n, loglik, NULL));
    Val ok = maker_done(&n, body_op2(&n.b, SC_or, none, possible), 0, NULL, NULL, e->span, NULL);
    est_require(
        e, ok,
        str_fmt(e->u->ctx, "%s: the likelihood is 0: data outside of its support", e->block->name),
        e->span);
}

void est_fit_closed(Build *e, const Parts *p, const Closed *c) {
    Fit z = fit_of(e, -1);
    FitBody body = fit_value_body(&z, p, "body", true);
    const Val *outs = est_splice(e, c->part);
    Val *theta = ARENA_ARRAY(e->u->arena, Val, e->block->params.n + 1);
    for (int k = 0; k < c->n_params; k++)
        theta[c->params[k].tensor] =
            graph_cast(e->m, e->f, outs[c->params[k].estimate], DT_F64, e->span, NULL);
    const Inst *i = fit_optimise(&z, body.f, FIT_AT, NULL, bounded(&z, fit_inverse(&z, theta)));
    Val u = inst_result(i, FIT_POINT), state = states(&z, c, outs);
    Val cov = fit_covariance(&z, u, fit_forward(&z, e, u), inst_result(i, FIT_COV));
    Figures g = {.way = WAY_CLOSED,
                 .code = worst(&z, state, NEST_MAX),
                 .iterations = fit_dim(e, dim_const(e->u->ctx, 0))};
    g.where = where_of(&z, state, g.code);
    g.grad_norm = fit_element(e, inst_result(i, FIT_STATS), 1);
    Build at = *e;
    Val *own = ARENA_ARRAY(e->u->arena, Val, e->block->params.n + 1);
    for (int k = 0; k < e->block->params.n; k++)
        own[k] = graph_cast(e->m, e->f, theta[k], e->block->params.p[k].type.dt, e->span, NULL);
    at.theta = own;
    Density d = est_density(&at, p);
    g.loglik = d.loglik;
    g.logprior = d.logprior;
    require_support(e, g.loglik, g.code);
    fit_results(&z, theta, known_cov(&z, cov, state), &g);
    AbiFit *fit = &e->u->graph->blocks.p[e->f->block]->fit;
    fit->rule = c->rule;
}

void est_make_posterior(Unit *u, int block, const Parts *p, const Closed *c) {
    AbiFit *fit = &u->graph->blocks.p[block]->fit;
    bool any = false;
    for (int k = 0; k < c->n_params; k++)
        any |= c->params[k].has_prior && c->params[k].n_posterior > 0;
    if (!any)
        return;
    Build e = est_begin(u, block, p, "posterior", ENTRY_POSTERIOR);
    est_require_labels(&e);
    const Val *outs = est_splice(&e, c->part);
    for (int k = 0; k < c->n_params; k++) {
        const ClosedParam *q = &c->params[k];
        if (!q->has_prior || !q->n_posterior)
            continue;
        AbiPosterior row = {q->tensor, str_of(u->ctx, q->family->name), q->n_posterior};
        vec_push(u->graph->arena, &fit->posteriors, row);
        for (int j = 0; j < q->n_posterior; j++) {
            Val v = graph_cast(e.m, e.f, outs[q->posterior + j], DT_F64, e.span, NULL);
            est_result(&e, v, str_fmt(u->ctx, "%s.%d", e.block->params.p[q->tensor].path, j),
                       RES_REPORT, -1);
        }
    }
}
