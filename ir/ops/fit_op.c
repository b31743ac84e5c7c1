/* fit: an optimiser around a body function. The optimisers are functions of the runtime that ask
 * for evaluations (reverse communication); to_loops writes the loop around them, and the
 * interpreter calls them through its hook. */
#include <string.h>

#include "ir/ops/attr.h"

static const FitMethodDef methods[] = {
    [FIT_NEWTON] = {"newton", "newton_cov", 3, true, false, 4, 24, 64},
    [FIT_LBFGS] = {"lbfgs", NULL, 2, true, false, 0, 64, 192},
    [FIT_LSQ] = {"lsq", "lsq_cov", 1, false, true, 4, 24, 64},
    [FIT_LM] = {"lm", "lsq_cov", 1, true, true, 4, 24, 64},
    [FIT_AT] = {"at", "newton_cov", 3, true, false, 4, 24, 64},
};
enum { N_METHODS = sizeof methods / sizeof *methods };

const FitMethodDef *fit_method(FitMethod m) { return &methods[m]; }

/* Least squares count the column of residuals. */
Dim fit_state_size(Ctx *ctx, FitMethod m, Dim p) {
    const FitMethodDef *d = fit_method(m);
    Dim w = d->is_squares ? dim_addk(ctx, p, 1) : p;
    Dim size = dim_scale(ctx, dim_mul(ctx, w, w), d->square);
    return dim_addk(ctx, dim_add(ctx, size, dim_scale(ctx, w, d->linear)), d->constant);
}

/* ---- type */

static bool has_type(const Func *f, Val v, DType dt, int rank, const Dim *shape) {
    return type_equal(graph_type(f, v), (Type){dt, rank, shape});
}

static const char *body_yields(Module *m, const Func *body, FitMethod method, Dim p) {
    const FitMethodDef *d = fit_method(method);
    Dim pp[2] = {p, p};
    if (body->results.n < d->n_results)
        return type_error(m, "%s has %d results, and %s takes %d", body->name, body->results.n,
                          d->name, d->n_results);
    if (d->is_squares) {
        bool ok = true;
        for (int k = 0; k < body->results.n; k++) {
            Type t = graph_type(body, body->results.p[k].val);
            ok = ok && t.dt == DT_F64 && t.rank == 2 && t.shape[1] == dim_addk(m->ctx, p, 1);
        }
        return ok ? NULL : type_error(m, "%s yields no rows of residuals", body->name);
    }
    bool ok = has_type(body, body->results.p[0].val, DT_F64, 0, NULL) &&
              has_type(body, body->results.p[1].val, DT_F64, 1, pp) &&
              (d->n_results < 3 || has_type(body, body->results.p[2].val, DT_F64, 2, pp));
    return ok ? NULL : type_error(m, "%s yields no value with its derivatives", body->name);
}

static const char *fit_type(Module *m, const Func *f, const Val *args, int n_args, const void *attr,
                            Type *out, int *n_out) {
    const FitAttr *a = attr;
    const Func *body = graph_func(m, a->body);
    if (!body)
        return type_error(m, "names no function");
    if (n_args < 2 || body->params.n != n_args - 1)
        return type_error(m, "%d operands for the %d of %s", n_args, body->params.n, body->name);
    Type u = graph_type(f, args[0]);
    if (u.dt != DT_F64 || u.rank != 1 || !has_type(f, args[1], DT_I64, 1, u.shape))
        return type_error(m, "needs a point f64[p] and its ends i64[p]");
    for (int k = 0; k < body->params.n; k++)
        if (!type_equal(graph_type(f, args[k ? k + 1 : 0]),
                        graph_type(body, body->params.p[k].val)))
            return type_error(m, "operand %d of %s has another type", k, body->name);
    const char *why = body_yields(m, body, a->method, u.shape[0]);
    if (why)
        return why;
    if (fit_method(a->method)->is_squares != (a->rows != NULL))
        return type_error(m, "rows belong to least squares");
    Ctx *ctx = m->ctx;
    Dim ctl = dim_const(ctx, FIT_CTL_SIZE), stats = dim_const(ctx, FIT_STATS_SIZE);
    out[(*n_out)++] = u;
    out[(*n_out)++] = type_new(ctx, DT_I64, 1, &ctl);
    out[(*n_out)++] = type_new(ctx, DT_F64, 1, &stats);
    if (fit_method(a->method)->cov)
        out[(*n_out)++] = type_lanes(ctx, u, u.shape[0]);
    for (int k = 0; k < body->results.n && *n_out < MAX_RESULTS; k++)
        out[(*n_out)++] = graph_type(body, body->results.p[k].val);
    return NULL;
}

/* ---- value */

typedef struct FitRun {
    Interp *in;
    const FitAttr *a;
    const FitMethodDef *d;
    const Func *body;
    int64_t p, rows;
    double *u, *state, *r; /* r: the triangle of least squares */
    int64_t *ctl;
    const Tensor *ends;
    const Tensor **args; /* of the body */
    Tensor *results;
} FitRun;

static bool call(FitRun *z, const char *callee, void *const *bufs, const int64_t *sizes, int n) {
    ScalarValue args[4] = {{0}}, none;
    Str name = str_of(z->in->ctx, callee);
    for (int k = 0; k < n; k++)
        args[k].i = sizes[k];
    if (!z->in->call || !z->in->call(z->in->self, name, bufs, args, &none))
        return interp_fail(z->in, "there is no runtime function `%s`", name);
    return true;
}

/* One evaluation and one step of the optimiser. */
static bool step_squares(FitRun *z) {
    int64_t q = z->p + 1;
    bool refine = z->ctl[0] == 2;
    if (!refine)
        memset(z->r, 0, (size_t)(q * q) * sizeof *z->r);
    for (int k = 0; k < z->body->results.n; k++) {
        const Tensor *b = &z->results[k];
        double *copy = arena_dup(z->in->arena, b->f, (size_t)(b->count + 1) * sizeof *copy);
        int64_t sizes[2] = {b->shape[0], refine ? z->p : q};
        if (!call(z, refine ? "lsq_rows" : "qr_rows", (void *[]){refine ? z->state : z->r, copy}, sizes, 2))
            return false;
    }
    void *bufs[5] = {z->u, z->r, z->state, z->ctl, NULL};
    if (z->d->has_ends) {
        bufs[2] = z->ends->i;
        bufs[3] = z->state;
        bufs[4] = z->ctl;
    }
    return call(z, z->d->name, bufs, (int64_t[]){z->p, z->rows}, 2);
}

static bool step_value(FitRun *z) {
    void *bufs[8] = {z->u};
    int n = 1;
    for (int k = 0; k < z->d->n_results; k++)
        bufs[n++] = z->results[k].f;
    bufs[n++] = z->ends->i;
    bufs[n++] = z->state;
    bufs[n++] = z->ctl;
    return call(z, z->d->name, bufs, &z->p, 1);
}

static bool covariance(FitRun *z, Tensor *cov) {
    double one = 1;
    if (z->d->is_squares)
        return call(z, z->d->cov, (void *[]){cov->f, z->r, z->state, &one}, &z->p, 1);
    return call(z, z->d->cov, (void *[]){cov->f, z->results[2].f, z->state}, &z->p, 1);
}

static bool optimise(FitRun *z) {
    do {
        if (!interp_run(z->in, z->body, z->in->dims, z->in->n_dims, z->args, z->results))
            return false;
        if (!(z->d->is_squares ? step_squares(z) : step_value(z)))
            return false;
    } while (z->ctl[0]);
    return true;
}

static bool fit_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                     Tensor *out) {
    const FitAttr *a = i->attr;
    FitRun z = {.in = in, .a = a, .d = fit_method(a->method), .body = graph_func(in->m, a->body)};
    int64_t size;
    for (int k = 0; k < fit_first(a->method); k++)
        if (!interp_tensor(in, graph_type(f, inst_result(i, k)), &out[k]))
            return false;
    z.p = args[0]->count;
    z.rows = a->rows ? interp_dim(in, a->rows) : 0;
    dim_is_const(fit_state_size(in->ctx, a->method, dim_const(in->ctx, z.p)), &size);
    z.state = ARENA_ARRAY(in->arena, double, size);
    z.r = ARENA_ARRAY(in->arena, double, (z.p + 1) * (z.p + 1));
    z.u = out[FIT_POINT].f;
    z.ctl = out[FIT_CTL].i;
    z.ctl[FIT_CTL_LIMIT] = a->limit;
    z.ends = args[1];
    memcpy(z.u, args[0]->f, (size_t)z.p * sizeof *z.u);
    z.args = ARENA_ARRAY(in->arena, const Tensor *, i->n_args);
    z.args[0] = &out[FIT_POINT];
    for (int k = 2; k < i->n_args; k++)
        z.args[k - 1] = args[k];
    z.results = out + fit_first(a->method);
    if (in->status || !optimise(&z) || (z.d->cov && !covariance(&z, &out[FIT_COV])))
        return false;
    memcpy(out[FIT_STATS].f, z.state, FIT_STATS_SIZE * sizeof *z.state);
    return true;
}

/* ---- text */

static void fit_print(StrBuf *sb, const Module *m, const Func *f, const Inst *i) {
    (void)f;
    const FitAttr *a = i->attr;
    sb_printf(sb, "{%s ", fit_method(a->method)->name);
    graph_print_func_name(sb, m, a->body);
    if (a->rows) {
        sb_put(sb, " rows ");
        dim_print(sb, a->rows);
    }
    if (a->limit)
        sb_printf(sb, " limit %lld", (long long)a->limit);
    sb_putc(sb, '}');
}

static const void *fit_read(IrReader *r) {
    FitAttr a = {.rows = NULL};
    int k = 0;
    text_expect(&r->t, "{");
    while (k < N_METHODS && !text_accept(&r->t, methods[k].name))
        k++;
    if (k == N_METHODS)
        text_fail(&r->t, "expected a method");
    a.method = (FitMethod)(k % N_METHODS);
    a.body = graph_read_func(r);
    if (text_accept(&r->t, "rows"))
        a.rows = text_dim(&r->t);
    if (text_accept(&r->t, "limit"))
        a.limit = text_int(&r->t, "a number of evaluations");
    text_expect(&r->t, "}");
    return ATTR_COPY(r->t.ctx, &a);
}

static const void *fit_subst(Ctx *ctx, const void *attr, const DimBinding *b, int n) {
    FitAttr a = *(const FitAttr *)attr;
    a.rows = attr_dim(ctx, a.rows, b, n);
    return ATTR_COPY(ctx, &a);
}

const OpDef op_fit = {
    .name = "fit",
    .n_args = -1,
    .family = FAM_CONTROL,
    .flags = OPF_PURE | OPF_FUNCS,
    .doc = "the point that is best for a body function, by an optimiser of the runtime",
    .type = fit_type,
    .eval = fit_eval,
    .print = fit_print,
    .read = fit_read,
    .subst = fit_subst,
};
