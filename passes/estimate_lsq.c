/* estimate: least squares.
 *
 *   y ~ Normal(mean(u), sigma r),  prior x(u) ~ Normal(m, sigma q)   ->
 *     E.fit.body(u): f64[n, p + 1], a row [d mean / du, left side - mean] / r of each residual,
 *       those of the first density apart from all others; prior rows times sqrt(prior)
 *     E.fit: u = fit{lsq} (an affine mean) or fit{lm};  s2 = RSS / (n - p),
 *       covariance s2 (J'J)^-1, sigma = sqrt(RSS / n) with variance sigma^2 / (2 n)
 *
 * n counts prior rows, p what is in u. A known scale is used as it is: covariance (J'J)^-1. */
#include <math.h>

#include "passes/estimate_fit.h"
#include "passes/estimate_squares.h"

typedef struct Lsq {
    Fit z;
    const Parts *p;
    const Squares *s;
} Lsq;

static Ctx *ctx_of(const Build *e) { return e->u->ctx; }

/* ---- rows */

/* -d e / d u: f64[shape of e.., p]. Linear in what e's cotangent is multiplied by, so at any. */
static Val jacobian(Build *e, Val x, Val u) {
    Dim p = graph_type(e->f, u).shape[0];
    Val c = graph_fill(e->m, e->f, graph_type(e->f, x), 1, e->span, NULL);
    Val z = est_vjp(e, x, c, &u, 1, NULL)->first;
    Val j = est_vjp(e, z, fit_unit(e, p), &c, 1, p)->first;
    return graph_map(e->m, e->f, SC_neg, &j, 1, e->span, NULL);
}

static Val prior_share(Build *e) {
    Param p = {
        .name = str_of(ctx_of(e), "prior"), .role = ROLE_PRIOR, .span = e->span, .tensor = -1};
    return est_need_param(e, &p, type_scalar(DT_F64));
}

/* x times the row's weight; x has the density's axes, and maybe one more. */
static Val weighted(Build *e, const SquareRows *r, Val x, bool prior) {
    Type t = graph_type(e->f, x);
    Dim at[MAX_RANK + 1];
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    maker_cells(&n, t, at);
    int v = body_op2(&n.b, SC_mul, maker_read(&n, x, at), maker_read(&n, r->weight, at));
    if (prior)
        v = body_op2(&n.b, SC_mul, v,
                     body_op1(&n.b, SC_sqrt, maker_read(&n, prior_share(e), NULL)));
    return maker_done(&n, v, t.rank, at, t.shape, e->span, NULL);
}

/* A copy of `into` with x, f64[count, columns], at row `at` and column `column`. */
static Val placed(Build *e, Val into, Val x, Dim at, Dim column) {
    Ctx *ctx = ctx_of(e);
    Type all = graph_type(e->f, into), t = graph_type(e->f, x);
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    Dim i[2], to[2];
    maker_cells(&n, t, i);
    to[0] = dim_add(ctx, at, i[0]);
    to[1] = dim_add(ctx, column, i[1]);
    int read = maker_read(&n, x, i);
    vec_push(&ctx->perm, &n.args, into);
    Nest nest = {.op = NEST_STORE,
                 .n_box = n.box.n,
                 .box = n.box.p,
                 .rank = 2,
                 .map = arena_dup(&ctx->perm, to, sizeof to),
                 .init = n.args.n - 1};
    nest.body = body_done(&n.b, read);
    return graph_nest(e->m, e->f, &nest, n.args.p, n.args.n, DT_F64, all.shape, e->span, NULL);
}

static Val as_matrix(Build *e, Val x, Dim count, Dim columns) {
    Type to = type_new(ctx_of(e), DT_F64, 2, (Dim[]){count, columns});
    ReshapeAttr *a = ARENA_NEW(e->u->arena, ReshapeAttr);
    if (type_equal(graph_type(e->f, x), to))
        return x;
    a->type = to;
    return graph_inst(e->m, e->f, &op_reshape, &x, 1, a, e->span, NULL)->first;
}

/* Those that count. */
static Dim row_count(const Lsq *l, bool prior) {
    Dim n = dim_const(ctx_of(l->z.e), 0);
    for (int k = 0; k < l->s->n_terms; k++)
        if (l->s->terms[k].prior == prior)
            n = dim_add(ctx_of(l->z.e), n, l->s->terms[k].counted);
    if (!n)
        ctx_internal(ctx_of(l->z.e), "the number of residuals overflows");
    return n;
}

/* The rows of terms from .. end-1, in the function of b. */
static Val matrix(const Lsq *l, Build *b, Val u, const SquareRows *rows, int from, int end) {
    Ctx *ctx = ctx_of(b);
    Dim p = l->z.n_free, n = dim_const(ctx, 0), at = n, one = dim_const(ctx, 1);
    for (int k = from; k < end; k++)
        n = dim_add(ctx, n, l->s->terms[k].count);
    Val all = graph_fill(b->m, b->f, type_new(ctx, DT_F64, 2, (Dim[]){n, dim_addk(ctx, p, 1)}), 0,
                         b->span, NULL);
    for (int k = from; k < end; k++) {
        const SquareTerm *t = &l->s->terms[k];
        Val j = weighted(b, &rows[k], jacobian(b, rows[k].e, u), t->prior),
            e = weighted(b, &rows[k], rows[k].e, t->prior);
        all = placed(b, all, as_matrix(b, j, t->count, p), at, dim_const(ctx, 0));
        all = placed(b, all, as_matrix(b, e, t->count, one), at, p);
        at = dim_add(ctx, at, t->count);
    }
    return all;
}

/* ---- figures */

typedef int (*ScalarFn)(BodyBuilder *b, const int *x);

static Val scalar(Build *e, const Val *args, int n, ScalarFn fn) {
    NestMaker m = nest_maker(e->m, e->f, NEST_STORE);
    int x[8];
    for (int k = 0; k < n; k++)
        x[k] = body_cast(&m.b, DT_F64, maker_read(&m, args[k], NULL));
    return maker_done(&m, fn(&m.b, x), 0, NULL, NULL, e->span, NULL);
}

static int add_fn(BodyBuilder *b, const int *x) { return body_op2(b, SC_add, x[0], x[1]); }
static int sub_fn(BodyBuilder *b, const int *x) { return body_op2(b, SC_sub, x[0], x[1]); }
static int mul_fn(BodyBuilder *b, const int *x) { return body_op2(b, SC_mul, x[0], x[1]); }
static int div_fn(BodyBuilder *b, const int *x) { return body_op2(b, SC_div, x[0], x[1]); }
static int root_fn(BodyBuilder *b, const int *x) { return body_op1(b, SC_sqrt, x[0]); }
static int half_fn(BodyBuilder *b, const int *x) {
    return body_op2(b, SC_div, x[0], body_op2(b, SC_add, x[1], x[1]));
}

/* x / y where y > 0, else NaN: too few rows */
static int ratio_fn(BodyBuilder *b, const int *x) {
    int enough = body_op2(b, SC_lt, body_real(b, DT_F64, 0), x[1]);
    return body_op3(b, SC_select, enough, body_op2(b, SC_div, x[0], x[1]),
                    body_real(b, DT_F64, NAN));
}

/* 1 - RSS / (constant ? centred : uncentred); x: RSS, constant, centred, uncentred */
static int r2_fn(BodyBuilder *b, const int *x) {
    int has = body_op2(b, SC_lt, body_real(b, DT_F64, 0), x[1]);
    int total = body_op3(b, SC_select, has, x[2], x[3]);
    return body_op2(b, SC_sub, body_real(b, DT_F64, 1), body_op2(b, SC_div, x[0], total));
}

typedef int (*CellFn)(BodyBuilder *b, const int *x);

static int squared_fn(BodyBuilder *b, const int *x) {
    int v = body_op2(b, SC_mul, x[0], x[1]);
    return body_op2(b, SC_mul, v, v);
}
static int weight_fn(BodyBuilder *b, const int *x) { return body_op2(b, SC_mul, x[1], x[1]); }
static int moment_fn(BodyBuilder *b, const int *x) {
    return body_op2(b, SC_mul, x[0], body_op2(b, SC_mul, x[1], x[1]));
}
static int centred_fn(BodyBuilder *b, const int *x) {
    int v = body_op2(b, SC_mul, body_op2(b, SC_sub, x[0], x[2]), x[1]);
    return body_op2(b, SC_mul, v, v);
}

/* The sum of fn(x, weight, extra) over all rows of the likelihood; x: its left side or residual. */
static Val total(const Lsq *l, const SquareRows *rows, bool left, Val extra, CellFn fn) {
    Build *e = l->z.e;
    Val sum = {0};
    for (int k = 0; k < l->s->n_like; k++) {
        Dim at[MAX_RANK];
        NestMaker n = nest_maker(e->m, e->f, NEST_SUM);
        maker_cells(&n, rows[k].type, at);
        int x[3] = {maker_read(&n, left ? rows[k].x : rows[k].e, at),
                    maker_read(&n, rows[k].weight, at), -1};
        x[2] = extra.id ? maker_read(&n, extra, NULL) : -1;
        Val part = maker_done(&n, fn(&n.b, x), 0, NULL, NULL, e->span, NULL);
        sum = sum.id ? scalar(e, (Val[]){sum, part}, 2, add_fn) : part;
    }
    return sum;
}

/* Per parameter: sum over rows of the derivative, or of its square, times weight^2. */
static Val column_sums(const Lsq *l, const SquareRows *rows, const Val *j, bool squares) {
    Build *e = l->z.e;
    Val sum = {0};
    for (int k = 0; k < l->s->n_like; k++) {
        Type t = graph_type(e->f, j[k]);
        Dim at[MAX_RANK + 1];
        NestMaker n = nest_maker(e->m, e->f, NEST_SUM);
        maker_cells(&n, t, at);
        int w = maker_read(&n, rows[k].weight, at), x = maker_read(&n, j[k], at);
        int v = body_op2(&n.b, SC_mul, squares ? body_op2(&n.b, SC_mul, x, x) : x,
                         body_op2(&n.b, SC_mul, w, w));
        Val part = maker_done(&n, v, 1, &at[t.rank - 1], &l->z.n_free, e->span, NULL);
        sum = graph_add(e->m, e->f, sum, part, e->span, NULL);
    }
    return sum;
}

/* f64, positive where a constant lies in the span of the columns: one of them is constant (Cauchy
 * and Schwarz: then the square of its sum is the sum of its squares times that of the weights), or
 * the constant's projection (c' (J'J)^-1 c, c = J' 1) is as long as it is. All are sums over rows,
 * which need no more memory than a slice. */
static Val has_constant(const Lsq *l, const SquareRows *rows, const Val *j, Val cov, Val weights) {
    Build *e = l->z.e;
    Val c = column_sums(l, rows, j, false), square = column_sums(l, rows, j, true);
    NestMaker n = nest_maker(e->m, e->f, NEST_SUM);
    Dim k = maker_index(&n, "k", l->z.n_free);
    int a = maker_read(&n, c, &k),
        b = body_op2(&n.b, SC_mul, maker_read(&n, square, &k), maker_read(&n, weights, NULL));
    int zero = body_op2(&n.b, SC_le, b, body_real(&n.b, DT_F64, 0));
    int most = body_op2(&n.b, SC_le, body_op2(&n.b, SC_mul, body_real(&n.b, DT_F64, 1 - 1e-10), b),
                        body_op2(&n.b, SC_mul, a, a));
    int same = body_op2(&n.b, SC_and, most, body_op1(&n.b, SC_not, zero));
    Val columns = maker_done(&n, body_cast(&n.b, DT_F64, same), 0, NULL, NULL, e->span, NULL);
    n = nest_maker(e->m, e->f, NEST_SUM);
    Dim i[2] = {maker_index(&n, "i", l->z.n_free), maker_index(&n, "j", l->z.n_free)};
    int v = body_op2(&n.b, SC_mul, maker_read(&n, cov, i),
                     body_op2(&n.b, SC_mul, maker_read(&n, c, &i[0]), maker_read(&n, c, &i[1])));
    Val length = maker_done(&n, v, 0, NULL, NULL, e->span, NULL);
    n = nest_maker(e->m, e->f, NEST_STORE);
    int w = maker_read(&n, weights, NULL),
        d = body_op2(&n.b, SC_sub, maker_read(&n, length, NULL), w);
    int near = body_op2(&n.b, SC_le, body_op1(&n.b, SC_abs, d),
                        body_op2(&n.b, SC_mul, body_real(&n.b, DT_F64, 1e-9), w));
    v = body_op2(&n.b, SC_add, maker_read(&n, columns, NULL), body_cast(&n.b, DT_F64, near));
    return maker_done(&n, v, 0, NULL, NULL, e->span, NULL);
}

/* R^2 of the likelihood's rows at the optimum. */
static Val r_squared(const Lsq *l, Build *at, Val u, Val cov) {
    Build *e = l->z.e;
    SquareRows *rows = est_square_rows(at, l->p, l->s);
    Val *j = ARENA_ARRAY(e->u->arena, Val, l->s->n_like + 1), none = {0};
    for (int k = 0; k < l->s->n_like; k++)
        j[k] = jacobian(e, rows[k].e, u);
    Val weights = total(l, rows, true, none, weight_fn);
    Val mean = scalar(e, (Val[]){total(l, rows, true, none, moment_fn), weights}, 2, div_fn);
    Val args[4] = {total(l, rows, false, none, squared_fn), has_constant(l, rows, j, cov, weights),
                   total(l, rows, true, mean, centred_fn), total(l, rows, true, none, squared_fn)};
    return scalar(e, args, 4, r2_fn);
}

/* ---- the scale's own row */

/* cov * s2, and the variance of the scale at its place. */
static Val with_scale(const Lsq *l, Val cov, Val s2, Val variance, Dim at) {
    Build *e = l->z.e;
    Dim n = l->z.n_params;
    NestMaker m = nest_maker(e->m, e->f, NEST_STORE);
    Dim i[2] = {maker_index(&m, "i", n), maker_index(&m, "j", n)};
    int v = body_op2(&m.b, SC_mul, maker_read(&m, cov, i), maker_read(&m, s2, NULL));
    int row = body_op2(&m.b, SC_eq, body_index(&m.b, i[0]), body_dim(&m.b, at)),
        column = body_op2(&m.b, SC_eq, body_index(&m.b, i[1]), body_dim(&m.b, at));
    int own = body_op3(&m.b, SC_select, column, maker_read(&m, variance, NULL),
                       body_real(&m.b, DT_F64, 0));
    int rest = body_op3(&m.b, SC_select, column, body_real(&m.b, DT_F64, 0), v);
    v = body_op3(&m.b, SC_select, row, own, rest);
    return maker_done(&m, v, 2, i, (Dim[]){n, n}, e->span, NULL);
}

static Dim place_of(const Fit *z, int tensor) {
    Dim at = dim_const(ctx_of(z->e), 0);
    for (int k = 0; k < tensor; k++)
        at = dim_add(ctx_of(z->e), at, type_count(ctx_of(z->e), z->e->block->params.p[k].type));
    return at;
}

/* n: rows of the likelihood, and those of the prior by its share. */
static Val counted(const Lsq *l) {
    Build *e = l->z.e;
    Val n = fit_dim(e, row_count(l, false));
    n = graph_cast(e->m, e->f, n, DT_F64, e->span, NULL);
    if (l->s->n_like == l->s->n_terms)
        return n;
    Val more = scalar(e, (Val[]){prior_share(e), fit_dim(e, row_count(l, true))}, 2, mul_fn);
    return scalar(e, (Val[]){n, more}, 2, add_fn);
}

void est_fit_squares(Build *e, const Parts *p, const Squares *s) {
    Lsq l = {.z = fit_of(e, s->scale), .p = p, .s = s};
    FitMethod method = s->affine ? FIT_LSQ : FIT_LM;
    Func *f = fit_body(&l.z, "body");
    Build b = fit_in_body(&l.z, f, 1);
    const SquareRows *rows = est_square_rows(&b, p, s);
    Val at_u = f->params.p[0].val; /* rows of one density can be folded as they come */
    fit_local(&b, matrix(&l, &b, at_u, rows, 0, 1), "rows");
    if (s->n_terms > 1)
        fit_local(&b, matrix(&l, &b, at_u, rows, 1, s->n_terms), "others");
    Dim n_rows = dim_add(ctx_of(e), row_count(&l, false), row_count(&l, true));
    Type u_type = graph_type(f, f->params.p[0].val);
    Val u0 = s->affine ? graph_fill(e->m, e->f, u_type, 0, e->span, NULL) : fit_start(&l.z);
    const Inst *i = fit_optimise(&l.z, f, method, n_rows, u0);
    Val u = inst_result(i, FIT_POINT), ctl = inst_result(i, FIT_CTL),
        stats = inst_result(i, FIT_STATS);
    Figures g = {
        .way = WAY_LSQ, .code = fit_element(e, ctl, 1), .iterations = fit_element(e, ctl, 3)};
    fit_require_start(&l.z, g.code);
    g.where = fit_where(&l.z, fit_element(e, ctl, 2));
    g.grad_norm = fit_element(e, stats, 1);
    Val rss = fit_element(e, stats, 0), n = counted(&l), n_free = fit_dim(e, l.z.n_free);
    g.df = scalar(e, (Val[]){n, n_free}, 2, sub_fn);
    g.s2 = scalar(e, (Val[]){rss, g.df}, 2, ratio_fn);
    Val *theta = fit_forward(&l.z, e, u), unit = inst_result(i, FIT_COV);
    Val cov = fit_covariance(&l.z, u, theta, unit);
    Build at = *e, unscaled = *e;
    at.theta = unscaled.theta = theta;
    if (s->scale >= 0) {
        Val mode2 = scalar(e, (Val[]){rss, n}, 2, div_fn);
        Val variance = scalar(e, (Val[]){mode2, n}, 2, half_fn);
        cov = with_scale(&l, cov, g.s2, variance, place_of(&l.z, s->scale));
        theta[s->scale] = graph_fill(e->m, e->f, type_scalar(DT_F64), 1, e->span, NULL);
        g.r2 = r_squared(&l, &unscaled, u, unit);
        theta[s->scale] = scalar(e, &mode2, 1, root_fn);
    } else {
        g.r2 = r_squared(&l, &unscaled, u, unit);
    }
    Density d = est_density(&at, p);
    g.loglik = d.loglik;
    g.logprior = d.logprior;
    fit_results(&l.z, theta, cov, &g);
}
