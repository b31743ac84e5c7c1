/* Distributions of bool, int and index. */
#include "ir/dists/dist_body.h"
#include "ir/op.h"

/* x log p + (1 - x) log(1 - p), each only where its x holds. */
static int bernoulli_body(BodyBuilder *b, int form, int x, const int *p) {
    if (form == 1)
        return SELECT(x, log_sigmoid(b, p[0]), log_sigmoid(b, NEG(p[0])));
    return SELECT(x, LOG(p[0]), LOG1P(NEG(p[0])));
}

static int bernoulli_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)real;
    return form == 1 ? body_op1(b, SC_sigmoid, p[0]) : p[0];
}

static int bernoulli_stat(BodyBuilder *b, int k, int x, const int *p, int element) {
    (void)p, (void)element;
    return k == 0 ? x : SUB(K(x, 1), x);
}

const DistDef dist_bernoulli = {
    .name = "Bernoulli",
    .doc = "true with probability p = sigmoid(logit)",
    .n_forms = 2,
    .forms = {{1, {{"p", KIND_PROB}}}, {1, {{"logit", KIND_REAL}}}},
    .support = SUPPORT_BOOL,
    .body = bernoulli_body,
    .mean_body = bernoulli_mean,
    .links = {{.rule = "beta.bernoulli",
               .doc = "Beta prior on the success probability of Bernoulli data",
               .arg = 0,
               .prior = &dist_beta,
               .stat = bernoulli_stat}},
};

/* k log(rate) - rate - log k!; in the form `log`, the parameter is log(rate). */
static int poisson_body(BodyBuilder *b, int form, int x, const int *p) {
    int rate = form == 1 ? body_op1(b, SC_exp, p[0]) : p[0];
    int term = form == 1 ? MUL(x, p[0]) : xlogy(b, x, p[0]);
    return SUB(SUB(term, rate), LGAMMA(ADD(x, K(x, 1))));
}

static int poisson_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)real;
    return form == 1 ? body_op1(b, SC_exp, p[0]) : p[0];
}

static int poisson_stat(BodyBuilder *b, int k, int x, const int *p, int element) {
    (void)p, (void)element;
    return k == 0 ? x : K(x, 1);
}

const DistDef dist_poisson = {
    .name = "Poisson",
    .doc = "counts with mean rate = exp(log)",
    .n_forms = 2,
    .forms = {{1, {{"rate", KIND_POSITIVE}}}, {1, {{"log", KIND_REAL}}}},
    .support = SUPPORT_COUNT,
    .body = poisson_body,
    .mean_body = poisson_mean,
    .links = {{.rule = "gamma.poisson",
               .doc = "Gamma prior on the rate of Poisson data",
               .arg = 0,
               .prior = &dist_gamma,
               .stat = poisson_stat}},
};

/* ---- Categorical: the last axis of the parameter holds the classes */

typedef struct Classes {
    const DistCall *c;
    Ctx *ctx;
    int rank;
    NestIndex box[MAX_RANK + 1];
    Dim map[MAX_RANK + 1];
} Classes;

static Classes classes_of(const DistCall *c) {
    Classes s = {.c = c, .ctx = c->m->ctx, .rank = c->type.rank};
    Type z = graph_type(c->f, c->params[0]);
    for (int k = 0; k <= s.rank; k++) {
        bool draw = k < s.rank;
        s.box[k].sym = nest_index(s.ctx, draw ? str_fmt(s.ctx, "i%d", k) : "k");
        s.box[k].extent = draw ? c->type.shape[k] : z.shape[z.rank - 1];
        s.map[k] = dim_of(s.ctx, s.box[k].sym);
    }
    return s;
}

/* A nest over all draws and classes (n_box = rank + 1) into a result of rank or rank + 1 axes. */
static Val over_classes(Classes *s, NestOpKind op, BodyBuilder *b, int body, const Val *args,
                        int n_args, int out_rank) {
    const DistCall *c = s->c;
    Dim shape[MAX_RANK + 1];
    NestIndex *box = arena_dup(&s->ctx->perm, s->box, sizeof *box * (size_t)(s->rank + 1));
    Dim *map = arena_dup(&s->ctx->perm, s->map, sizeof *map * (size_t)(s->rank + 1));
    for (int k = 0; k < out_rank; k++)
        shape[k] = s->box[k].extent;
    Nest n = {.op = op, .n_box = s->rank + 1, .box = box, .rank = out_rank, .map = map, .init = -1};
    n.body = body_done(b, body);
    return graph_nest(c->m, c->f, &n, args, n_args, c->type.dt, shape, c->span, c->name);
}

/* The parameter at [draw.., class]; a parameter of one axis is shared by all draws. */
static int read_class(Classes *s, BodyBuilder *b, int operand) {
    Type z = graph_type(s->c->f, s->c->params[0]);
    const Dim *map = z.rank == s->rank + 1 ? s->map : &s->map[s->rank];
    return body_cast(b, s->c->type.dt, body_read(b, z.dt, operand, z.rank, map));
}

static int is_class(Classes *s, BodyBuilder *b, int operand) {
    Type y = graph_type(s->c->f, s->c->x);
    int at = body_cast(b, DT_I64, body_read(b, y.dt, operand, y.rank, s->map));
    return body_op2(b, SC_eq, at, body_index(b, s->map[s->rank]));
}

/* max over the classes, without a derivative: it cancels out of z - m - log sum exp(z - m). */
static Val greatest(Classes *s) {
    BodyBuilder b = body_new(s->ctx);
    Val m = over_classes(s, NEST_MAX, &b, read_class(s, &b, 0), s->c->params, 1, s->rank);
    return graph_inst(s->c->m, s->c->f, &op_stop, &m, 1, NULL, s->c->span, s->c->name)->first;
}

static int shifted_exp(Classes *s, BodyBuilder *b, int z, int m) {
    int top = body_read(b, s->c->type.dt, m, s->rank, s->map);
    return body_op1(b, SC_exp, body_op2(b, SC_sub, read_class(s, b, z), top));
}

static Val sum_of_exp(Classes *s, Val m) {
    BodyBuilder b = body_new(s->ctx);
    Val args[2] = {s->c->params[0], m};
    return over_classes(s, NEST_SUM, &b, shifted_exp(s, &b, 0, 1), args, 2, s->rank);
}

/* The parameter (or its log) at the class drawn. */
static Val at_class(Classes *s, bool log) {
    BodyBuilder b = body_new(s->ctx);
    Val args[2] = {s->c->params[0], s->c->x};
    int z = read_class(s, &b, 0);
    z = log ? body_op1(&b, SC_log, z) : z;
    int picked = body_op3(&b, SC_select, is_class(s, &b, 1), z, body_real(&b, s->c->type.dt, 0));
    return over_classes(s, NEST_SUM, &b, picked, args, 2, s->rank);
}

static Val categorical_logpdf(const DistCall *c) {
    Classes s = classes_of(c);
    if (c->form == 0)
        return at_class(&s, true);
    Val m = greatest(&s), sum = sum_of_exp(&s, m), zy = at_class(&s, false), args[3] = {zy, m, sum};
    BodyBuilder bb = body_new(s.ctx), *b = &bb;
    int r[3];
    for (int k = 0; k < 3; k++)
        r[k] = body_read(b, c->type.dt, k, s.rank, s.map);
    NestIndex *box = arena_dup(&s.ctx->perm, s.box, sizeof *box * (size_t)(s.rank + 1));
    Dim *map = arena_dup(&s.ctx->perm, s.map, sizeof *map * (size_t)(s.rank + 1));
    Nest n = {
        .op = NEST_STORE, .n_box = s.rank, .box = box, .rank = s.rank, .map = map, .init = -1};
    n.body = body_done(b, SUB(SUB(r[0], r[1]), LOG(r[2])));
    return graph_nest(c->m, c->f, &n, args, 3, c->type.dt, c->type.shape, c->span, c->name);
}

/* The probabilities. */
static Val categorical_mean(const DistCall *c) {
    Classes s = classes_of(c);
    BodyBuilder b = body_new(s.ctx);
    if (c->form == 0)
        return over_classes(&s, NEST_STORE, &b, read_class(&s, &b, 0), c->params, 1, s.rank + 1);
    Val m = greatest(&s), sum = sum_of_exp(&s, m), args[3] = {c->params[0], m, sum};
    int p = body_op2(&b, SC_div, shifted_exp(&s, &b, 0, 1),
                     body_read(&b, c->type.dt, 2, s.rank, s.map));
    return over_classes(&s, NEST_STORE, &b, p, args, 3, s.rank + 1);
}

static int categorical_stat(BodyBuilder *b, int k, int x, const int *p, int element) {
    (void)k, (void)p;
    return SELECT(EQUAL(body_cast(b, DT_I64, x), element), K(x, 1), K(x, 0));
}

const DistDef dist_categorical = {
    .name = "Categorical",
    .doc = "a class with probabilities p = softmax(logit) along the last axis",
    .n_forms = 2,
    .forms = {{1, {{"p", KIND_SIMPLEX}}}, {1, {{"logit", KIND_REAL}}}},
    .vectors = {1, 1},
    .support = SUPPORT_INDEX,
    .logpdf = categorical_logpdf,
    .mean = categorical_mean,
    .links = {{.rule = "dirichlet.categorical",
               .doc = "Dirichlet prior on the probabilities of Categorical data",
               .arg = 0,
               .prior = &dist_dirichlet,
               .stat = categorical_stat}},
};
