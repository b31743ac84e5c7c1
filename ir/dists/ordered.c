/* OrderedLogit: P(y <= j) = sigmoid(cut_j - eta), classes 0 .. K - 1 for K - 1 increasing cuts. */
#include "ir/dists/dist_body.h"

typedef struct Ordered {
    const DistCall *c;
    Ctx *ctx;
    int rank; /* of the density */
    NestIndex box[MAX_RANK + 1];
    Dim map[MAX_RANK + 1];
    Dim last; /* number of the last class */
} Ordered;

/* Points are draws and classes. */
static Ordered ordered_of(const DistCall *c) {
    Ordered s = {.c = c, .ctx = c->m->ctx, .rank = c->type.rank};
    Type cut = graph_type(c->f, c->params[1]);
    s.last = cut.shape[cut.rank - 1];
    for (int k = 0; k <= s.rank; k++) {
        bool draw = k < s.rank;
        Dim extent = draw ? c->type.shape[k] : dim_addk(s.ctx, s.last, 1);
        s.box[k] = (NestIndex){nest_index(s.ctx, draw ? str_fmt(s.ctx, "i%d", k) : "j"), extent};
        s.map[k] = dim_of(s.ctx, s.box[k].sym);
    }
    return s;
}

/* cut[.., j + shift], 0 where there is none */
static int read_cut(Ordered *s, BodyBuilder *b, int operand, int shift) {
    Type t = graph_type(s->c->f, s->c->params[1]);
    Dim *at = ARENA_ARRAY(&s->ctx->perm, Dim, t.rank + 1);
    for (int k = 0; k + 1 < t.rank; k++)
        at[k] = s->map[k];
    at[t.rank - 1] = dim_addk(s->ctx, s->map[s->rank], shift);
    return body_read_fill(b, t.dt, operand, t.rank, at, (ScalarValue){0});
}

/* log P(y = j), eta and cut being operands 0 and 1. With a = cut_{j-1} - eta and b = cut_j - eta,
 * sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)); the first and last class have
 * one factor. */
static int log_class(Ordered *s, BodyBuilder *b) {
    Type t = graph_type(s->c->f, s->c->params[0]);
    Dim j = s->map[s->rank];
    int eta = body_read(b, t.dt, 0, t.rank, s->map), above = read_cut(s, b, 1, 0),
        below = read_cut(s, b, 1, -1);
    int zero = K(eta, 0), has_above = LESS(body_index(b, j), body_dim(b, s->last));
    int has_below = LESS(body_int(b, DT_I64, 0), body_index(b, j));
    int up = SELECT(has_above, log_sigmoid(b, SUB(above, eta)), zero);
    int down = SELECT(has_below, log_sigmoid(b, SUB(eta, below)), zero);
    int between = LOG1P(NEG(EXP(SUB(below, above))));
    return ADD(ADD(up, down), SELECT(body_op2(b, SC_and, has_above, has_below), between, zero));
}

static Val emit(Ordered *s, NestOpKind op, BodyBuilder *b, int body, const Val *args, int n_args,
                int rank) {
    const DistCall *c = s->c;
    NestIndex *box = arena_dup(&s->ctx->perm, s->box, sizeof *box * (size_t)(s->rank + 1));
    Dim *map = arena_dup(&s->ctx->perm, s->map, sizeof *map * (size_t)(s->rank + 1)),
        shape[MAX_RANK + 1];
    for (int k = 0; k < rank; k++)
        shape[k] = box[k].extent;
    Nest n = {.op = op, .n_box = s->rank + 1, .box = box, .rank = rank, .map = map, .init = -1};
    n.body = body_done(b, body);
    return graph_nest(c->m, c->f, &n, args, n_args, c->type.dt, shape, c->span, c->name);
}

static Val ordered_logpdf(const DistCall *c) {
    Ordered s = ordered_of(c);
    BodyBuilder bb = body_new(s.ctx), *b = &bb;
    Val args[3] = {c->params[0], c->params[1], c->x};
    Type y = graph_type(c->f, c->x);
    int at = body_cast(b, DT_I64, body_read(b, y.dt, 2, y.rank, s.map)), p = log_class(&s, b);
    int picked = SELECT(EQUAL(at, body_index(b, s.map[s.rank])), p, K(p, 0));
    return emit(&s, NEST_SUM, b, picked, args, 3, s.rank);
}

/* The probabilities of the classes. */
static Val ordered_mean(const DistCall *c) {
    Ordered s = ordered_of(c);
    BodyBuilder bb = body_new(s.ctx), *b = &bb;
    return emit(&s, NEST_STORE, b, EXP(log_class(&s, b)), c->params, 2, s.rank + 1);
}

const DistDef dist_ordered_logit = {
    .name = "OrderedLogit",
    .doc = "ordered classes: P(y <= j) = sigmoid(cut_j - eta)",
    .n_forms = 1,
    .forms = {{2, {{"eta", KIND_REAL}, {"cut", KIND_ORDERED}}}},
    .vectors = {2},
    .support = SUPPORT_INDEX,
    .logpdf = ordered_logpdf,
    .mean = ordered_mean,
};
