/* Distributions of vectors: a draw is the last axis of x. */
#include <string.h>

#include "ir/build.h"
#include "ir/dists/dist_body.h"
#include "ir/op.h"

/* A nest over draws and the elements of a vector. */
typedef struct Vectors {
    const DistCall *c;
    NestMaker n;
    Dim at[MAX_RANK + 1], extent[MAX_RANK + 1];
    int rank; /* of the draws; at[rank] is the element */
} Vectors;

static Vectors vectors_of(const DistCall *c, NestOpKind op, Dim elements) {
    Vectors v = {.c = c, .n = nest_maker(c->m, c->f, op), .rank = c->type.rank};
    for (int k = 0; k <= v.rank; k++) {
        bool draw = k < v.rank;
        v.extent[k] = draw ? c->type.shape[k] : elements;
        v.at[k] = maker_index(&v.n, draw ? "i" : "k", v.extent[k]);
    }
    return v;
}

static Dim last_extent(const DistCall *c, Val v) {
    Type t = graph_type(c->f, v);
    return t.shape[t.rank - 1];
}

/* v at a draw (`tail` axes: at[rank] .. behind it), as a real; one for all draws has no others. */
static int read_tail(Vectors *v, Val x, int tail) {
    Type t = graph_type(v->n.f, x);
    const Dim *at = t.rank == tail ? v->at + v->rank : v->at;
    return body_cast(&v->n.b, v->c->type.dt, maker_read(&v->n, x, at));
}

/* Over the elements into the draws; `tail` 1 keeps the elements. */
static Val vectors_done(Vectors *v, int body, int tail) {
    return maker_done(&v->n, body, v->rank + tail, v->at, v->extent, v->c->span, v->c->name);
}

/* ---- Dirichlet: lgamma(sum a) + sum_k [(a_k - 1) log x_k - lgamma(a_k)] */

static Val dirichlet_logpdf(const DistCall *c) {
    Dim elements = last_extent(c, c->x);
    Vectors s = vectors_of(c, NEST_SUM, elements), t = vectors_of(c, NEST_SUM, elements);
    Val total = vectors_done(&s, read_tail(&s, c->params[0], 1), 0);
    BodyBuilder *b = &t.n.b;
    int x = read_tail(&t, c->x, 1), a = read_tail(&t, c->params[0], 1);
    Val terms = vectors_done(&t, SUB(xlogy(b, SUB(a, K(a, 1)), x), LGAMMA(a)), 0);
    Vectors r = vectors_of(c, NEST_STORE, elements);
    r.n.box.n--; /* one for each draw */
    b = &r.n.b;
    return vectors_done(&r, ADD(read_tail(&r, terms, 0), LGAMMA(read_tail(&r, total, 0))), 0);
}

/* a / sum a */
static Val dirichlet_mean(const DistCall *c) {
    Dim elements = last_extent(c, c->params[0]);
    Vectors s = vectors_of(c, NEST_SUM, elements), r = vectors_of(c, NEST_STORE, elements);
    Val total = vectors_done(&s, read_tail(&s, c->params[0], 1), 0);
    BodyBuilder *b = &r.n.b;
    return vectors_done(&r, DIV(read_tail(&r, c->params[0], 1), read_tail(&r, total, 0)), 1);
}

/* c0 log t_k: pseudocounts a_k - 1 */
static int dirichlet_natural(BodyBuilder *b, int k, int t) {
    (void)k;
    return LOG(t);
}

static int dirichlet_coef(BodyBuilder *b, int k, const int *p) { return SUB(p[k], K(p[k], 1)); }

static int dirichlet_param(BodyBuilder *b, int k, const int *c) { return ADD(c[k], K(c[k], 1)); }

static int dirichlet_state(BodyBuilder *b, const int *c) {
    int at_edge = SELECT(is_positive(b, c[1]), STATE(BOUNDARY), STATE(FLAT));
    int inside = SELECT(is_positive(b, c[1]), STATE(INTERIOR), STATE(NO_MODE));
    return SELECT(is_negative(b, c[0]), STATE(NO_MODE),
                  SELECT(is_positive(b, c[0]), inside, at_edge));
}

static int dirichlet_mode(BodyBuilder *b, const int *c) { return DIV(c[0], c[1]); }

static int dirichlet_edge(BodyBuilder *b, const int *c) { return K(c[0], 0); }

static const DistConjugate dirichlet_conjugate = {
    .kind = KIND_SIMPLEX,
    .n_stats = 1,
    .names = {"n"},
    .natural = dirichlet_natural,
    .coef = dirichlet_coef,
    .param = dirichlet_param,
    .state = dirichlet_state,
    .mode = dirichlet_mode,
    .edge = dirichlet_edge,
};

const DistDef dist_dirichlet = {
    .name = "Dirichlet",
    .doc = "probabilities, with pseudocounts a - 1",
    .n_forms = 1,
    .forms = {{1, {{"a", KIND_POSITIVE}}}},
    .vectors = {1},
    .vector_draws = true,
    .support = SUPPORT_SIMPLEX,
    .logpdf = dirichlet_logpdf,
    .mean = dirichlet_mean,
    .conjugate = &dirichlet_conjugate,
};

/* ---- Multinomial: lgamma(n + 1) + sum_k [x_k log p_k - lgamma(x_k + 1)], -inf unless sum x = n */

/* log p_k of the logits z: z_k - max z - log sum exp(z - max z); max without a derivative, since it
 * cancels out. As long as p, whose leading axes it has. */
static Val log_softmax(const DistCall *c, Val z) {
    Type t = graph_type(c->f, z);
    Dim at[3][MAX_RANK];
    int lead = t.rank - 1;
    NestMaker top = nest_maker(c->m, c->f, NEST_MAX), sum = nest_maker(c->m, c->f, NEST_SUM),
              out = nest_maker(c->m, c->f, NEST_STORE);
    maker_cells(&top, t, at[0]);
    maker_cells(&sum, t, at[1]);
    maker_cells(&out, t, at[2]);
    Val m = maker_done(&top, maker_read(&top, z, at[0]), lead, at[0], t.shape, c->span, c->name);
    m = graph_inst(c->m, c->f, &op_stop, &m, 1, NULL, c->span, c->name)->first;
    BodyBuilder *b = &sum.b;
    int e = EXP(SUB(maker_read(&sum, z, at[1]), maker_read(&sum, m, at[1])));
    Val s = maker_done(&sum, e, lead, at[1], t.shape, c->span, c->name);
    b = &out.b;
    int r = SUB(SUB(maker_read(&out, z, at[2]), maker_read(&out, m, at[2])),
                LOG(maker_read(&out, s, at[2])));
    return maker_done(&out, r, t.rank, at[2], t.shape, c->span, c->name);
}

static Val multinomial_logpdf(const DistCall *c) {
    Dim elements = last_extent(c, c->x);
    Val p = c->form == 1 ? log_softmax(c, c->params[1]) : c->params[1];
    Vectors s = vectors_of(c, NEST_SUM, elements), t = vectors_of(c, NEST_SUM, elements);
    Val drawn = vectors_done(&s, read_tail(&s, c->x, 1), 0);
    BodyBuilder *b = &t.n.b;
    int x = read_tail(&t, c->x, 1), q = read_tail(&t, p, 1);
    int gain = c->form == 1 ? SELECT(EQUAL(x, K(x, 0)), K(x, 0), MUL(x, q)) : xlogy(b, x, q);
    Val terms = vectors_done(&t, SUB(gain, LGAMMA(ADD(x, K(x, 1)))), 0);
    Vectors r = vectors_of(c, NEST_STORE, elements);
    r.n.box.n--;
    b = &r.n.b;
    int n = read_tail(&r, c->params[0], 0);
    int e = ADD(read_tail(&r, terms, 0), LGAMMA(ADD(n, K(n, 1))));
    return vectors_done(&r, SELECT(EQUAL(read_tail(&r, drawn, 0), n), e, K(n, -INFINITY)), 0);
}

/* n p */
static Val multinomial_mean(const DistCall *c) {
    Val p = c->form == 1 ? log_softmax(c, c->params[1]) : c->params[1];
    Vectors r = vectors_of(c, NEST_STORE, last_extent(c, p));
    BodyBuilder *b = &r.n.b;
    int q = read_tail(&r, p, 1);
    return vectors_done(&r, MUL(read_tail(&r, c->params[0], 0), c->form == 1 ? EXP(q) : q), 1);
}

static int multinomial_stat(BodyBuilder *b, int k, int x, const int *p, int element) {
    (void)b, (void)k, (void)p, (void)element;
    return x;
}

const DistDef dist_multinomial = {
    .name = "Multinomial",
    .doc = "counts of n draws with probabilities p = softmax(logit)",
    .n_forms = 2,
    .forms = {{2, {{"n", KIND_INT}, {"p", KIND_SIMPLEX}}},
              {2, {{"n", KIND_INT}, {"logit", KIND_REAL}}}},
    .vectors = {2, 2},
    .vector_draws = true,
    .support = SUPPORT_COUNT,
    .logpdf = multinomial_logpdf,
    .mean = multinomial_mean,
    .links = {{.rule = "dirichlet.multinomial",
               .doc = "Dirichlet prior on the probabilities of Multinomial data",
               .arg = 1,
               .prior = &dist_dirichlet,
               .stat = multinomial_stat}},
};

/* ---- MultivariateNormal: with W of W (x - mean) being standard normal (W the inverse of the lower
 * factor of the covariance, or the transposed factor of its inverse), the log density is
 * sum_k [log W_kk - (W (x - mean))_k^2 / 2 - log(2 pi)/2]. */

static Val eye_like(Module *m, Func *f, Val v, Span span, Str name) {
    Type t = graph_type(f, v);
    NestMaker n = nest_maker(m, f, NEST_STORE);
    Dim at[MAX_RANK];
    maker_cells(&n, t, at);
    int diagonal =
        body_op2(&n.b, SC_eq, body_index(&n.b, at[t.rank - 2]), body_index(&n.b, at[t.rank - 1]));
    int e = body_op3(&n.b, SC_select, diagonal, body_real(&n.b, t.dt, 1), body_real(&n.b, t.dt, 0));
    return maker_done(&n, e, t.rank, at, t.shape, span, name);
}

static Val transposed(Module *m, Func *f, Val v, Span span, Str name) {
    Type t = graph_type(f, v);
    NestMaker n = nest_maker(m, f, NEST_STORE);
    Dim at[MAX_RANK], from[MAX_RANK];
    maker_cells(&n, t, at);
    memcpy(from, at, sizeof from);
    from[t.rank - 2] = at[t.rank - 1];
    from[t.rank - 1] = at[t.rank - 2];
    return maker_done(&n, maker_read(&n, v, from), t.rank, at, t.shape, span, name);
}

/* W, once for each matrix that is given, however many draws there are. */
static Val whitening(const DistCall *c, int param, Val v) {
    static const TriAttr lower = {.transposed = false};
    if (param != 1)
        return v;
    if (c->form == 2)
        return transposed(c->m, c->f, v, c->span, c->name);
    if (c->form == 0)
        v = graph_inst(c->m, c->f, &op_cholesky, &v, 1, NULL, c->span, c->name)->first;
    Val args[2] = {v, eye_like(c->m, c->f, v, c->span, c->name)};
    return graph_inst(c->m, c->f, &op_trisolve, args, 2, &lower, c->span, c->name)->first;
}

/* W[.., k, j] for the element k, or its diagonal. */
static int read_matrix(Vectors *v, Val w, Dim j) {
    Type t = graph_type(v->n.f, w);
    Dim at[MAX_RANK];
    int lead = t.rank - 2;
    for (int k = 0; k < lead; k++)
        at[k] = v->at[k];
    at[lead] = v->at[v->rank];
    at[lead + 1] = j;
    return body_cast(&v->n.b, v->c->type.dt, maker_read(&v->n, w, at));
}

/* x - mean at another element j */
static int read_residual(Vectors *v, Dim j) {
    BodyBuilder *b = &v->n.b;
    Dim element = v->at[v->rank];
    v->at[v->rank] = j;
    int r = SUB(read_tail(v, v->c->x, 1), read_tail(v, v->c->params[0], 1));
    v->at[v->rank] = element;
    return r;
}

static Val normal_logpdf(const DistCall *c) {
    Dim elements = last_extent(c, c->x);
    Vectors s = vectors_of(c, NEST_SUM, elements), t = vectors_of(c, NEST_SUM, elements);
    Dim j = maker_index(&s.n, "j", elements);
    BodyBuilder *b = &s.n.b;
    Val z = vectors_done(&s, MUL(read_matrix(&s, c->params[1], j), read_residual(&s, j)), 1);
    b = &t.n.b;
    int y = read_tail(&t, z, 1), scale = read_matrix(&t, c->params[1], t.at[t.rank]);
    int term = SUB(SUB(LOG(scale), MUL(K(y, 0.5), MUL(y, y))), K(y, HALF_LOG_2PI));
    return vectors_done(&t, term, 0);
}

static Val normal_mean(const DistCall *c) {
    Vectors r = vectors_of(c, NEST_STORE, last_extent(c, c->params[0]));
    return vectors_done(&r, read_tail(&r, c->params[0], 1), 1);
}

const DistDef dist_multivariate_normal = {
    .name = "MultivariateNormal",
    .doc = "mean and covariance, its lower factor, or the lower factor of its inverse",
    .n_forms = 3,
    .forms = {{2, {{"mean", KIND_REAL}, {"covariance", KIND_REAL}}},
              {2, {{"mean", KIND_REAL}, {"cholesky", KIND_CHOLESKY}}},
              {2, {{"mean", KIND_REAL}, {"precision_cholesky", KIND_CHOLESKY}}}},
    .vectors = {1, 1, 1},
    .matrices = {2, 2, 2},
    .vector_draws = true,
    .support = SUPPORT_REAL,
    .prepare = whitening,
    .logpdf = normal_logpdf,
    .mean = normal_mean,
};
