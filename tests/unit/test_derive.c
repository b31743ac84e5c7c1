/* driver/derive, driver/sym_graph: slopes that derivations show have the values that the compiled
 * gradient has. */
#include "pass_helper.h"

#include "driver/derive.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"

typedef struct Env {
    Ctx *ctx;
    const Func *f; /* whose params have the values of args */
    const Tensor *const *args;
    const int64_t *dims;
    Sym index[16];
    double at[16];
    int n;
} Env;

static double value(Env *v, Sym e);

static double named_value(Env *v, Sym e) {
    for (int k = 0; k < v->f->dims.n; k++)
        if (v->f->dims.p[k]->name == e->name)
            return (double)v->dims[k];
    for (int k = 0; k < v->f->params.n; k++) {
        if (v->f->params.p[k].name != e->name)
            continue;
        const Tensor *t = v->args[k];
        int64_t flat = 0;
        assert_int_equal(t->rank, e->n);
        for (int j = 0; j < e->n; j++)
            flat = flat * t->shape[j] + (int64_t)value(v, e->kids[j]);
        if (flat < 0 || flat >= t->count)
            return NAN; /* a condition that is 0 stands before it */
        return t->f ? t->f[flat] : (double)t->i[flat];
    }
    fail_msg("no value `%s`", e->name);
    return 0;
}

static double call_value(Env *v, Sym e) {
    ScalarValue a[3] = {{0}};
    for (int k = 0; k < e->n; k++) {
        a[k].f = value(v, e->kids[k]);
        a[k].i = (int64_t)a[k].f;
    }
    bool logical = e->op == SC_and || e->op == SC_or;
    ScalarValue r = scalar_eval(e->op, logical ? DT_BOOL : DT_F64, DT_F64, a);
    return scalar_def(e->op)->result == SR_BOOL || logical ? (double)r.i : r.f;
}

static double sum_value(Env *v, Sym e) {
    double r = 0;
    v->index[v->n++] = e->kids[0];
    for (int k = 0; k < value(v, e->kids[1]); k++) {
        v->at[v->n - 1] = k;
        r += value(v, e->kids[2]);
    }
    v->n--;
    return r;
}

/* 0 times anything is 0: Iverson's brackets. */
static double times(double a, double b) { return a == 0 || b == 0 ? 0 : a * b; }

static double value(Env *v, Sym e) {
    double r = e->kind == SYM_MUL;
    switch (e->kind) {
    case SYM_NUM:
        return e->num;
    case SYM_INDEX:
        for (int k = v->n - 1; k >= 0; k--)
            if (v->index[k] == e)
                return v->at[k];
        fail_msg("a free index");
        return 0;
    case SYM_NAME:
        return named_value(v, e);
    case SYM_ADD:
    case SYM_MUL:
        for (int k = 0; k < e->n; k++)
            r = e->kind == SYM_ADD ? r + value(v, e->kids[k]) : times(r, value(v, e->kids[k]));
        return r;
    case SYM_POW:
        return pow(value(v, e->kids[0]), value(v, e->kids[1]));
    case SYM_CALL:
        return call_value(v, e);
    case SYM_SELECT:
        return value(v, e->kids[value(v, e->kids[0]) != 0 ? 1 : 2]);
    case SYM_DELTA:
        return value(v, e->kids[0]) == value(v, e->kids[1]);
    case SYM_SUM:
        return sum_value(v, e);
    default:
        fail_msg("no value for a maximum or a stop");
        return 0;
    }
}

static Module *lowered(Ctx *ctx, const char *body) {
    const char *text = str_fmt(ctx, "estimator E[N, D = 2, K = 3] { %s }", body);
    AstFile *ast = parse_file(ctx, ctx_add_file(ctx, "t.cnn", text, strlen(text)));
    LowerOptions o = {0};
    Module *m = frontend_lower(ctx, &ctx->perm, ast, &o);
    StrBuf sb = sb_new(&ctx->perm);
    diag_render_all(ctx, false, false, &sb);
    if (!m)
        fail_msg("%s", sb.text);
    return m;
}

static Sym log_density(SymCtx *c, const Module *m) {
    Sym e = sym_num(c, 0);
    const char *const parts[] = {"E.loglik", "E.logprior"};
    for (int k = 0; k < 2; k++) {
        const Func *f = graph_func_named(m, str_of(c->ctx, parts[k]));
        SymGraph g = {.c = c, .m = m, .f = f, .block = m->blocks.p[0]};
        if (f)
            e = sym_add(c, e, sym_of_val(&g, f->results.p[0].val, NULL));
        assert_int_equal(g.notes.n, 0);
    }
    assert_non_null(e);
    return e;
}

static const char *const estimators[] = {
    "data y: [N] param m: real param s: positive m ~ Normal(0, 2) s ~ Gamma(2, 3) y ~ Normal(m, s)",
    "data X: [N, D] data y: [N] param w: [D] param c: real param s: positive\n"
    "w ~ Normal(0, s) y ~ Normal(X @ w + c, s)",
    "data X: [N, D] data y: bool[N] param w: [D] w ~ Laplace(0, 1) y ~ Bernoulli(logit = X @ w)",
    "data X: [N, D] data y: int[N] param w: [D] y ~ Poisson(log = X @ w)",
    "data X: [N, D] data y: index(K)[N] param w: [D, K] y ~ Categorical(logit = X @ w)",
    "data g: index(K)[N] data y: int[N] param r: positive[K] r ~ Gamma(2, 1) y ~ Poisson(r[g])",
    "data y: [N] param mix: simplex[K] param m: [K] param s: positive[K]\n"
    "y ~ Mixture(mix, Normal(m, s))",
    "data X: [N, D] data y: int[N] param w: [D] param a: positive\n"
    "y ~ NegativeBinomial(log = X @ w, alpha = a)",
    "data y: index(K)[N] data z: [N] param b: real param c: ordered[K - 1]\n"
    "y ~ OrderedLogit(b * z, c)",
    "data y: [N, D] param a: positive[D] y ~ Dirichlet(a)",
    "data y: [N] param m: real param s: positive y[1:] ~ StudentT(4, m * y[:N - 1], s)",
    "data y: [N] param k: positive param s: positive y ~ Weibull(k, s)",
    "data y: [N] param k: positive param s: positive y ~ Beta(k, s)",
    "data y: [N] param k: positive param s: positive y ~ InverseGaussian(k, s)",
    "data x: [N] data y: [N] param a: real param b: real y ~ Normal(a * (1 - exp(-b * x)), 2)",
};

/* Tensors for the params of f; the prior counts. */
static const Tensor **inputs(Interp *in, const Func *f) {
    const Tensor **args = ARENA_ARRAY(in->arena, const Tensor *, f->params.n + 1);
    for (int k = 0; k < f->params.n; k++) {
        Tensor t = make_input(in, f, k, POSITIVES);
        if (f->params.p[k].role == ROLE_PRIOR)
            t.f[0] = 1;
        for (int64_t j = 1; j < t.count && f->params.p[k].name[0] == 'c' && t.rank == 1; j++)
            t.f[j] += t.f[j - 1]; /* cuts in order */
        args[k] = arena_dup(in->arena, &t, sizeof t);
    }
    return args;
}

static void check_param(SymCtx *c, Env *env, const Module *m, Sym density, const Tensor *grad,
                        int tensor) {
    const AbiTensor *t = &m->blocks.p[0]->params.p[tensor];
    for (int64_t j = 0; j < grad->count; j++) {
        Sym subs[MAX_RANK];
        int64_t rest = j;
        for (int a = grad->rank - 1; a >= 0; a--, rest /= grad->shape[a + 1])
            subs[a] = sym_num(c, (double)(rest % grad->shape[a]));
        Sym at = sym_param(c, t->path, 0, (uint64_t)1 << tensor, subs, grad->rank);
        Sym d = sym_diff(c, density, at);
        assert_non_null(d);
        double plain = value(env, d), tidy = value(env, sym_tidy(c, d)), want = grad->f[j];
        if (!(fabs(plain - want) <= 1e-11 * fmax(1, fabs(want))) ||
            !(fabs(tidy - want) <= 1e-11 * fmax(1, fabs(want))))
            fail_msg("%s, element %lld: %.15g, %.15g, compiled %.15g", t->path, (long long)j, plain,
                     tidy, want);
    }
}

static void check_estimator(const char *text) {
    Ctx *ctx = ctx_new(0);
    Module *m = lowered(ctx, text), *shown = lowered(ctx, text);
    run_passes(ctx, shown, "inline");
    run_passes(ctx, m, "inline estimate density ad");
    const Func *f = graph_func_named(m, str_of(ctx, "E.grad"));
    assert_non_null(f);
    assert_int_equal(f->dims.n, 1);
    int64_t rows = 4;
    DimValue env[1] = {{f->dims.p[0], rows}};
    Interp in = {.ctx = ctx, .arena = &ctx->perm, .m = m, .dims = env, .n_dims = f->dims.n};
    const Tensor **args = inputs(&in, f);
    Tensor *r = ARENA_ARRAY(&ctx->perm, Tensor, f->results.n + 1);
    if (!interp_run(&in, f, env, f->dims.n, args, r))
        fail_msg("%s", in.status);
    SymCtx c = {.ctx = ctx, .most = 1000000};
    Sym density = log_density(&c, shown);
    Env v = {.ctx = ctx, .f = f, .args = args, .dims = &rows};
    for (int k = 0; k < f->results.n; k++)
        if (f->results.p[k].role == RES_GRAD)
            check_param(&c, &v, m, density, &r[k], f->params.p[f->results.p[k].of].tensor);
    ctx_free(ctx);
}

static void test_slopes_are_those_compiled(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof estimators / sizeof *estimators; k++)
        check_estimator(estimators[k]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_slopes_are_those_compiled)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
