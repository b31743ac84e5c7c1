/* cholesky, trisolve, solve, lstsq: on the last two axes, leading axes are a batch. */
#include <math.h>
#include <string.h>

#include "ir/ops/attr.h"

/* ---- types */

static Dim last(Type t, int k) { return t.shape[t.rank - k]; }

static const char *square_type(Module *m, Type t) {
    if (t.rank < 2 || !dtype_is_real(t.dt) || last(t, 1) != last(t, 2))
        return type_error(m, "needs square real matrices");
    return NULL;
}

static const char *cholesky_type(Module *m, const Func *f, const Val *args, int n_args,
                                 const void *attr, Type *out, int *n_out) {
    (void)n_args, (void)attr;
    Type t = graph_type(f, args[0]);
    out[(*n_out)++] = t;
    return square_type(m, t);
}

/* b: a matrix of as many axes as a, or a vector of one less. */
static const char *right_side(Module *m, Type a, Type b) {
    bool ok = a.dt == b.dt && (b.rank == a.rank || b.rank == a.rank - 1);
    for (int k = 0; ok && k < a.rank - 1; k++)
        ok = a.shape[k] == b.shape[k];
    return ok ? NULL : type_error(m, "the right side does not fit the matrix");
}

static const char *solve_type(Module *m, const Func *f, const Val *args, int n_args,
                              const void *attr, Type *out, int *n_out) {
    (void)n_args, (void)attr;
    Type a = graph_type(f, args[0]), b = graph_type(f, args[1]);
    const char *why = square_type(m, a);
    out[(*n_out)++] = b;
    return why ? why : right_side(m, a, b);
}

static const char *lstsq_type(Module *m, const Func *f, const Val *args, int n_args,
                              const void *attr, Type *out, int *n_out) {
    (void)n_args, (void)attr;
    Type a = graph_type(f, args[0]), b = graph_type(f, args[1]);
    if (a.rank < 2 || !dtype_is_real(a.dt))
        return type_error(m, "needs real matrices");
    const char *why = right_side(m, a, b);
    if (why)
        return why;
    Dim tail[2] = {last(a, 1), b.rank == a.rank ? last(b, 1) : NULL};
    out[(*n_out)++] =
        type_last(m->ctx, b, b.rank == a.rank ? 2 : 1, b.rank == a.rank ? 2 : 1, tail);
    return NULL;
}

/* ---- derivatives */

/* One matrix product over the last axes of equal batches: at[r, c] += x[r or k] * y[..], as nest.
 */
typedef struct Product {
    Val x, y;
    bool x_transposed, y_transposed, x_vector, y_vector;
    int triangle; /* 0: all; -1: lower with half the diagonal; -2: lower */
    double factor;
} Product;

static Val product(Module *m, Func *f, const Product *p, Type out, const Inst *i) {
    NestMaker n = nest_maker(m, f, NEST_SUM);
    Dim at[MAX_RANK], xm[MAX_RANK], ym[MAX_RANK];
    Type x = graph_type(f, p->x);
    maker_cells(&n, out, at);
    int lead = out.rank - 2;
    Dim r = at[lead], c = at[lead + 1];
    Dim k = p->x_vector ? NULL
                        : maker_index(&n, "k", p->x_transposed ? x.shape[lead] : x.shape[lead + 1]);
    for (int a = 0; a < lead; a++)
        xm[a] = ym[a] = at[a];
    xm[lead] = p->x_transposed && k ? k : r;
    if (k)
        xm[lead + 1] = p->x_transposed ? r : k;
    ym[lead] = k && !p->y_transposed ? k : c;
    if (k)
        ym[lead + 1] = p->y_transposed ? k : c;
    DType dt = out.dt;
    int body = body_op2(&n.b, SC_mul, maker_read(&n, p->x, xm), maker_read(&n, p->y, ym));
    if (p->factor != 1)
        body = body_op2(&n.b, SC_mul, body, body_real(&n.b, dt, p->factor));
    if (p->triangle) {
        int ri = body_index(&n.b, r), ci = body_index(&n.b, c), zero = body_real(&n.b, dt, 0);
        int diagonal =
            p->triangle == -1 ? body_op2(&n.b, SC_mul, body, body_real(&n.b, dt, 0.5)) : body;
        body = body_op3(&n.b, SC_select, body_op2(&n.b, SC_eq, ri, ci), diagonal, body);
        body = body_op3(&n.b, SC_select, body_op2(&n.b, SC_le, ci, ri), body, zero);
    }
    return maker_done(&n, body, out.rank, at, out.shape, i->span, i->name);
}

static Val transposed(Module *m, Func *f, Val x, const Inst *i) {
    NestMaker n = nest_maker(m, f, NEST_STORE);
    Type t = graph_type(f, x);
    Dim at[MAX_RANK], from[MAX_RANK], shape[MAX_RANK];
    for (int k = 0; k < t.rank; k++)
        shape[k] = t.shape[k >= t.rank - 2 ? 2 * t.rank - 3 - k : k];
    maker_cells(&n, type_new(m->ctx, t.dt, t.rank, shape), at);
    for (int k = 0; k < t.rank; k++)
        from[k] = at[k >= t.rank - 2 ? 2 * t.rank - 3 - k : k];
    return maker_done(&n, maker_read(&n, x, from), t.rank, at, shape, i->span, i->name);
}

static Val triangular(Module *m, Func *f, Val l, Val b, bool t, const Inst *i) {
    TriAttr a = {t};
    return graph_inst(m, f, &op_trisolve, (Val[]){l, b}, 2, ATTR_COPY(m->ctx, &a), i->span, i->name)
        ->first;
}

/* The sum of x and its transpose, halved. */
static Val symmetric(Module *m, Func *f, Val x, const Inst *i) {
    NestMaker n = nest_maker(m, f, NEST_STORE);
    Type t = graph_type(f, x);
    Dim at[MAX_RANK], turned[MAX_RANK];
    maker_cells(&n, t, at);
    for (int k = 0; k < t.rank; k++)
        turned[k] = at[k >= t.rank - 2 ? 2 * t.rank - 3 - k : k];
    int sum = body_op2(&n.b, SC_add, maker_read(&n, x, at), maker_read(&n, x, turned));
    return maker_done(&n, body_op2(&n.b, SC_mul, sum, body_real(&n.b, t.dt, 0.5)), t.rank, at,
                      t.shape, i->span, i->name);
}

/* With P = lower(L' G), half the diagonal: L'^-1 P L^-1, symmetric part (Murray, arXiv:1602.07527).
 */
static void cholesky_vjp(Module *m, Func *f, const Inst *i, const Val *g, const Val *acc, Val *d) {
    vjp_none(i, acc, d);
    if (!g[0].id)
        return;
    Type t = graph_type(f, i->first);
    Product p = {.x = i->first, .y = g[0], .x_transposed = true, .triangle = -1, .factor = 1};
    Val s = triangular(m, f, i->first, product(m, f, &p, t, i), true, i);
    s = transposed(m, f, triangular(m, f, i->first, transposed(m, f, s, i), true, i), i);
    vjp_add(m, f, i, 0, symmetric(m, f, s, i), acc, d);
}

/* -u v', or of vectors; triangle: see Product. */
static Val outer(Module *m, Func *f, Val u, Val v, Type out, int triangle, const Inst *i) {
    bool vector = graph_type(f, u).rank < out.rank;
    Product p = {.x = u,
                 .y = v,
                 .y_transposed = true,
                 .x_vector = vector,
                 .y_vector = vector,
                 .triangle = triangle,
                 .factor = -1};
    return product(m, f, &p, out, i);
}

static void trisolve_vjp(Module *m, Func *f, const Inst *i, const Val *g, const Val *acc, Val *d) {
    bool t = ((const TriAttr *)i->attr)->transposed;
    vjp_none(i, acc, d);
    if (!g[0].id)
        return;
    Val b = triangular(m, f, i->args[0], g[0], !t, i), x = i->first;
    Type l = graph_type(f, i->args[0]);
    vjp_add(m, f, i, 0, outer(m, f, t ? x : b, t ? b : x, l, -2, i), acc, d);
    vjp_add(m, f, i, 1, b, acc, d);
}

static void solve_vjp(Module *m, Func *f, const Inst *i, const Val *g, const Val *acc, Val *d) {
    vjp_none(i, acc, d);
    if (!g[0].id)
        return;
    Val at = transposed(m, f, i->args[0], i);
    Val b = graph_inst(m, f, &op_solve, (Val[]){at, g[0]}, 2, NULL, i->span, i->name)->first;
    vjp_add(m, f, i, 0, outer(m, f, b, i->first, graph_type(f, i->args[0]), 0, i), acc, d);
    vjp_add(m, f, i, 1, b, acc, d);
}

/* ---- values: one matrix of n x n, right sides of n x k */

static void cholesky_one(const double *a, double *l, int64_t n) {
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < n; i++) {
            double s = (a[i * n + j] + a[j * n + i]) / 2;
            for (int64_t k = 0; k < j && i >= j; k++)
                s -= l[i * n + k] * l[j * n + k];
            l[i * n + j] = i < j ? 0 : i == j ? sqrt(s) : s / l[j * n + j];
        }
}

static void trisolve_one(const double *l, double *x, int64_t n, int64_t k, bool t) {
    for (int64_t c = 0; c < k; c++)
        for (int64_t step = 0; step < n; step++) {
            int64_t i = t ? n - 1 - step : step;
            double s = x[i * k + c];
            for (int64_t j = t ? i + 1 : 0; j < (t ? n : i); j++)
                s -= (t ? l[j * n + i] : l[i * n + j]) * x[j * k + c];
            x[i * k + c] = s / l[i * n + i];
        }
}

static void swap_rows(double *a, int64_t n, int64_t i, int64_t j) {
    for (int64_t k = 0; k < n && i != j; k++) {
        double t = a[i * n + k];
        a[i * n + k] = a[j * n + k];
        a[j * n + k] = t;
    }
}

/* Gaussian elimination with partial pivoting; a is overwritten. */
static void solve_one(double *a, double *x, int64_t n, int64_t k) {
    for (int64_t j = 0; j < n; j++) {
        int64_t pivot = j;
        for (int64_t i = j + 1; i < n; i++)
            if (fabs(a[i * n + j]) > fabs(a[pivot * n + j]))
                pivot = i;
        swap_rows(a, n, j, pivot);
        swap_rows(x, k, j, pivot);
        for (int64_t i = j + 1; i < n; i++) {
            double q = a[i * n + j] / a[j * n + j];
            for (int64_t c = j; c < n; c++)
                a[i * n + c] -= q * a[j * n + c];
            for (int64_t c = 0; c < k; c++)
                x[i * k + c] -= q * x[j * k + c];
        }
    }
    for (int64_t c = 0; c < k; c++)
        for (int64_t i = n - 1; i >= 0; i--) {
            double s = x[i * k + c];
            for (int64_t j = i + 1; j < n; j++)
                s -= a[i * n + j] * x[j * k + c];
            x[i * k + c] = s / a[i * n + i];
        }
}

/* Householder QR of a (m x n, m >= n), applied to b (m x k); the solution stands in b's first n
 * rows. */
static void lstsq_one(double *a, double *b, int64_t m, int64_t n, int64_t k) {
    for (int64_t j = 0; j < n; j++) {
        double norm = 0;
        for (int64_t i = j; i < m; i++)
            norm += a[i * n + j] * a[i * n + j];
        norm = sqrt(norm);
        double alpha = a[j * n + j] > 0 ? -norm : norm, v0 = a[j * n + j] - alpha,
               scale = -alpha * v0;
        for (int64_t c = j + 1; c < n + k; c++) {
            double *col = c < n ? a + c : b + (c - n), s;
            int64_t w = c < n ? n : k;
            s = v0 * col[j * w];
            for (int64_t i = j + 1; i < m; i++)
                s += a[i * n + j] * col[i * w];
            s = scale != 0 ? s / scale : 0;
            col[j * w] -= s * v0;
            for (int64_t i = j + 1; i < m; i++)
                col[i * w] -= s * a[i * n + j];
        }
        a[j * n + j] = alpha;
    }
    for (int64_t c = 0; c < k; c++)
        for (int64_t i = n - 1; i >= 0; i--) {
            for (int64_t j = i + 1; j < n; j++)
                b[i * k + c] -= a[i * n + j] * b[j * k + c];
            b[i * k + c] /= a[i * n + i];
        }
}

typedef struct Sizes {
    int64_t batch, rows, cols, sides; /* of a, and columns of b */
} Sizes;

static Sizes sizes_of(const Tensor *a, const Tensor *b) {
    Sizes s = {1, a->shape[a->rank - 2], a->shape[a->rank - 1], 1};
    for (int k = 0; k < a->rank - 2; k++)
        s.batch *= a->shape[k];
    if (b && b->rank == a->rank)
        s.sides = b->shape[b->rank - 1];
    return s;
}

static bool cholesky_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                          Tensor *out) {
    if (!interp_tensor(in, graph_type(f, i->first), out))
        return false;
    Sizes s = sizes_of(args[0], NULL);
    for (int64_t k = 0; k < s.batch; k++)
        cholesky_one(args[0]->f + k * s.rows * s.rows, out->f + k * s.rows * s.rows, s.rows);
    return true;
}

static bool trisolve_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                          Tensor *out) {
    if (!interp_tensor(in, graph_type(f, i->first), out))
        return false;
    Sizes s = sizes_of(args[0], args[1]);
    memcpy(out->f, args[1]->f, (size_t)out->count * sizeof *out->f);
    for (int64_t k = 0; k < s.batch; k++)
        trisolve_one(args[0]->f + k * s.rows * s.rows, out->f + k * s.rows * s.sides, s.rows,
                     s.sides, ((const TriAttr *)i->attr)->transposed);
    return true;
}

static bool solve_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                       Tensor *out) {
    if (!interp_tensor(in, graph_type(f, i->first), out))
        return false;
    Sizes s = sizes_of(args[0], args[1]);
    double *a = arena_dup(in->arena, args[0]->f, (size_t)args[0]->count * sizeof *a);
    memcpy(out->f, args[1]->f, (size_t)out->count * sizeof *out->f);
    for (int64_t k = 0; k < s.batch; k++)
        solve_one(a + k * s.rows * s.rows, out->f + k * s.rows * s.sides, s.rows, s.sides);
    return true;
}

static bool lstsq_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                       Tensor *out) {
    if (!interp_tensor(in, graph_type(f, i->first), out))
        return false;
    Sizes s = sizes_of(args[0], args[1]);
    if (s.rows < s.cols)
        return interp_fail(in, "least squares with %lld rows and %lld columns", (long long)s.rows,
                           (long long)s.cols);
    double *a = arena_dup(in->arena, args[0]->f, (size_t)args[0]->count * sizeof *a);
    double *b = arena_dup(in->arena, args[1]->f, (size_t)args[1]->count * sizeof *b);
    for (int64_t k = 0; k < s.batch; k++) {
        lstsq_one(a + k * s.rows * s.cols, b + k * s.rows * s.sides, s.rows, s.cols, s.sides);
        memcpy(out->f + k * s.cols * s.sides, b + k * s.rows * s.sides,
               (size_t)(s.cols * s.sides) * sizeof *b);
    }
    return true;
}

/* ---- loops: a runtime call for each matrix of the batch */

typedef struct Calls {
    LoopBody *outer[MAX_RANK];
    LoopStmt *loops[MAX_RANK];
    Dim at[MAX_RANK];
    int n;
} Calls;

static Calls open_batch(LowerBuilder *lb, Type a) {
    Calls c = {.n = a.rank - 2};
    Ctx *ctx = lb->c.m->ctx;
    Dim zero = dim_const(ctx, 0);
    for (int k = 0; k < MAX_RANK; k++)
        c.at[k] = zero;
    for (int k = 0; k < c.n; k++) {
        DimSym s = nest_index(ctx, str_fmt(ctx, "i%d", k));
        c.outer[k] = lb->c.at;
        c.loops[k] = loop_for(&lb->c, s, &zero, 1, &a.shape[k], 1, 1, NULL, 0);
        c.at[k] = dim_of(ctx, s);
    }
    return c;
}

static void close_batch(LowerBuilder *lb, Calls *c) {
    for (int k = c->n; k-- > 0;)
        loop_end(&lb->c, c->loops[k], c->outer[k], NULL);
}

static LVal extent(LowerBuilder *lb, Type t, int from_last, bool present) {
    Dim d = present ? attr_dim(lb->c.m->ctx, last(t, from_last), lb->bindings, lb->n_bindings)
                    : dim_const(lb->c.m->ctx, 1);
    return loop_index(&lb->c, d, 1, 0);
}

/* cholesky_f32(l, a; n) */
static void cholesky_lower(LowerBuilder *lb, const Inst *i) {
    Type a = graph_type(lb->func, i->args[0]);
    BufId bufs[2] = {lower_result(lb, i, 0), lower_buf(lb, i->args[0])};
    loop_bufp(lb->c.f, bufs[0])->written = true;
    Calls c = open_batch(lb, a);
    const Dim *subs[2] = {c.at, c.at};
    LVal n = extent(lb, a, 1, true);
    loop_call(&lb->c, str_fmt(lb->c.m->ctx, "cholesky_%s", dtype_name(a.dt)), bufs, subs, 2, &n, 1,
              (LType){DT_NONE, 0});
    close_batch(lb, &c);
}

/* trisolve_f32(x, l, b; n, k, transposed) */
static void trisolve_lower(LowerBuilder *lb, const Inst *i) {
    Type a = graph_type(lb->func, i->args[0]), b = graph_type(lb->func, i->args[1]);
    BufId bufs[3] = {lower_result(lb, i, 0), lower_buf(lb, i->args[0]), lower_buf(lb, i->args[1])};
    loop_bufp(lb->c.f, bufs[0])->written = true;
    Calls c = open_batch(lb, a);
    const Dim *subs[3] = {c.at, c.at, c.at};
    LVal args[3] = {extent(lb, a, 1, true), extent(lb, b, 1, b.rank == a.rank)};
    args[2] = loop_int(&lb->c, (LType){DT_I64, 1}, ((const TriAttr *)i->attr)->transposed);
    loop_call(&lb->c, str_fmt(lb->c.m->ctx, "trisolve_%s", dtype_name(a.dt)), bufs, subs, 3, args,
              3, (LType){DT_NONE, 0});
    close_batch(lb, &c);
}

/* solve_f32(x, a, b, lu; n, k), lu n x n scratch */
static void solve_lower(LowerBuilder *lb, const Inst *i) {
    Type a = graph_type(lb->func, i->args[0]), b = graph_type(lb->func, i->args[1]);
    LoopBuf scratch = {.name = i->name,
                       .kind = lb->in_job ? BUF_JOB : BUF_WORK,
                       .dt = a.dt,
                       .rank = 2,
                       .shape = a.shape + a.rank - 2,
                       .arg = -1,
                       .span = i->span};
    scratch.written = true;
    BufId bufs[4] = {lower_result(lb, i, 0), lower_buf(lb, i->args[0]), lower_buf(lb, i->args[1]),
                     loop_buf(lb->c.m, lb->c.f, scratch)};
    loop_bufp(lb->c.f, bufs[0])->written = true;
    Calls c = open_batch(lb, a);
    Dim zeros[2] = {dim_const(lb->c.m->ctx, 0), dim_const(lb->c.m->ctx, 0)};
    const Dim *subs[4] = {c.at, c.at, c.at, zeros};
    LVal args[2] = {extent(lb, a, 1, true), extent(lb, b, 1, b.rank == a.rank)};
    loop_call(&lb->c, str_fmt(lb->c.m->ctx, "solve_%s", dtype_name(a.dt)), bufs, subs, 4, args, 2,
              (LType){DT_NONE, 0});
    close_batch(lb, &c);
}

/* ---- text, samples */

static void tri_print(StrBuf *sb, const Module *m, const Func *f, const Inst *i) {
    (void)m, (void)f;
    sb_put(sb, ((const TriAttr *)i->attr)->transposed ? "{transposed}" : "{}");
}

static const void *tri_read(IrReader *r) {
    text_expect(&r->t, "{");
    TriAttr a = {text_accept(&r->t, "transposed")};
    text_expect(&r->t, "}");
    return ATTR_COPY(r->t.ctx, &a);
}

/* x x' + 3 I of the param, so that every matrix near it is positive definite. */
static Val sample_definite(Module *m, Func *f, Val x) {
    NestMaker n = nest_maker(m, f, NEST_SUM);
    Type t = graph_type(f, x);
    Dim i = maker_index(&n, "i", t.shape[0]), j = maker_index(&n, "j", t.shape[0]),
        k = maker_index(&n, "k", t.shape[1]);
    int p =
        body_op2(&n.b, SC_mul, maker_read(&n, x, (Dim[]){i, k}), maker_read(&n, x, (Dim[]){j, k}));
    int d =
        body_op3(&n.b, SC_select, body_op2(&n.b, SC_eq, body_index(&n.b, i), body_index(&n.b, j)),
                 body_real(&n.b, t.dt, 1), body_real(&n.b, t.dt, 0));
    return maker_done(&n, body_op2(&n.b, SC_add, p, d), 2, (Dim[]){i, j},
                      (Dim[]){t.shape[0], t.shape[0]}, (Span){0}, NULL);
}

static Func *cholesky_sample(Module *m, int n) {
    if (n > 0)
        return NULL;
    Val x;
    Type t = sample_type(m, DT_F64, 2, (int64_t[]){3, 3});
    Func *f = sample_func(m, "cholesky_sample", &t, 1, &x);
    Val a = sample_definite(m, f, x);
    return sample_done(m, f, graph_inst(m, f, &op_cholesky, &a, 1, NULL, (Span){0}, NULL)->first);
}

static Func *right_sample(Module *m, int n, const OpDef *op, const void *attr) {
    Val x[2];
    Type t[2] = {sample_type(m, DT_F64, 2, (int64_t[]){3, 3}),
                 sample_type(m, DT_F64, n % 2 ? 1 : 2, (int64_t[]){3, 2})};
    Func *f = sample_func(m, str_fmt(m->ctx, "%s_sample", op->name), t, 2, x);
    Val a[2] = {sample_definite(m, f, x[0]), x[1]};
    return sample_done(m, f, graph_inst(m, f, op, a, 2, attr, (Span){0}, NULL)->first);
}

static Func *trisolve_sample(Module *m, int n) {
    TriAttr a = {n >= 2};
    return n > 3 ? NULL : right_sample(m, n, &op_trisolve, ATTR_COPY(m->ctx, &a));
}

static Func *solve_sample(Module *m, int n) {
    return n > 1 ? NULL : right_sample(m, n, &op_solve, NULL);
}

const OpDef op_cholesky = {
    .name = "cholesky",
    .n_args = 1,
    .family = FAM_LINALG,
    .flags = OPF_PURE,
    .doc = "the lower factor l of the symmetric part, l l' = a",
    .type = cholesky_type,
    .vjp = cholesky_vjp,
    .eval = cholesky_eval,
    .lower = cholesky_lower,
    .sample = cholesky_sample,
};

const OpDef op_trisolve = {
    .name = "trisolve",
    .n_args = 2,
    .family = FAM_LINALG,
    .flags = OPF_PURE,
    .doc = "x of l x = b or l' x = b, l lower",
    .type = solve_type,
    .vjp = trisolve_vjp,
    .spread = solve_spread,
    .eval = trisolve_eval,
    .lower = trisolve_lower,
    .print = tri_print,
    .read = tri_read,
    .sample = trisolve_sample,
};

const OpDef op_solve = {
    .name = "solve",
    .n_args = 2,
    .family = FAM_LINALG,
    .flags = OPF_PURE,
    .doc = "x of a x = b, by elimination with partial pivoting",
    .type = solve_type,
    .vjp = solve_vjp,
    .spread = solve_spread,
    .eval = solve_eval,
    .lower = solve_lower,
    .sample = solve_sample,
};

const OpDef op_lstsq = {
    .name = "lstsq",
    .n_args = 2,
    .family = FAM_LINALG,
    .flags = OPF_PURE,
    .doc = "x of least |a x - b|, by Householder QR",
    .type = lstsq_type,
    .eval = lstsq_eval,
};
