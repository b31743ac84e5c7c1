/* passes/closed.c: estimators whose estimates are formulas, against those formulas; and those that
 * are not. */
#include "pass_helper.h"

#include "frontend/frontend.h"
#include "frontend/parse.h"
#include "passes/closed.h"

typedef struct Case {
    Ctx *ctx;
    Module *m;
    bool found;
    Closed closed;
    Str why;
} Case;

/* The estimator E of a program, through `inline`. */
static Case recognise(const char *text) {
    Case c = {.ctx = ctx_new(0)};
    AstFile *ast = parse_file(c.ctx, ctx_add_file(c.ctx, "t.cnn", text, strlen(text)));
    LowerOptions o = {0};
    c.m = frontend_lower(c.ctx, &c.ctx->perm, ast, &o);
    StrBuf sb = sb_new(&c.ctx->perm);
    diag_render_all(c.ctx, false, false, &sb);
    if (!c.m)
        fail_msg("%s", sb.text);
    run_passes(c.ctx, c.m, "inline");
    Unit u = unit_of(c.ctx, c.m);
    const Func *like = graph_func_named(c.m, str_of(c.ctx, "E.loglik")),
               *prior = graph_func_named(c.m, str_of(c.ctx, "E.logprior"));
    c.found = closed_form(&u, 0, like, prior, &c.closed, &c.why);
    return c;
}

/* Inputs by name, in the order given; hyper formals too. */
typedef struct Given {
    const char *name;
    double v[8];
} Given;

/* Results of f at given inputs; of the parameters: `params`. NULL: none are expected. */
static Tensor *call(Case *c, const Func *f, const int64_t *dims, const Given *given, double prior,
                    const Tensor *params) {
    DimValue env[4];
    for (int k = 0; k < f->dims.n; k++)
        env[k] = (DimValue){f->dims.p[k], dims[k]};
    Interp in = {
        .ctx = c->ctx, .arena = &c->ctx->perm, .m = c->m, .dims = env, .n_dims = f->dims.n};
    const Tensor **args = ARENA_ARRAY(&c->ctx->perm, const Tensor *, f->params.n + 1);
    for (int k = 0; k < f->params.n; k++) {
        const Param *p = &f->params.p[k];
        Tensor t = make_input(&in, f, k, WHOLE);
        if (p->role == ROLE_PRIOR)
            t.f[0] = prior;
        if (p->role == ROLE_PARAM)
            t = *params++;
        for (const Given *g = given; g->name; g++)
            for (int64_t j = 0; j < t.count && !strcmp(g->name, p->name); j++) {
                if (t.f)
                    t.f[j] = g->v[j];
                else
                    t.i[j] = (int64_t)g->v[j];
            }
        args[k] = arena_dup(&c->ctx->perm, &t, sizeof t);
    }
    Tensor *out = ARENA_ARRAY(&c->ctx->perm, Tensor, f->results.n + 1);
    if (!interp_run(&in, f, env, f->dims.n, args, out))
        fail_msg("%s", in.status);
    return out;
}

static Tensor *solve(Case *c, const int64_t *dims, const Given *given, double prior) {
    if (!c->found)
        fail_msg("no closed form: %s", c->why ? c->why : "");
    run_passes(c->ctx, c->m, "density ad canon invert cse dce fuse");
    return call(c, graph_func_named(c->m, str_of(c->ctx, "E.closed")), dims, given, prior, NULL);
}

/* At an estimate inside, the slope is 0 (of a simplex: the same for all elements). */
static void check_slope(const char *text, const int64_t *dims, const Given *given, double prior,
                        const Tensor *estimate, bool simplex) {
    Case c = recognise(text);
    graph_func_remove(c.m, graph_func_named(c.m, str_of(c.ctx, "E.closed"))->id);
    run_passes(c.ctx, c.m, "estimate density ad");
    const Func *f = graph_func_named(c.m, str_of(c.ctx, "E.grad"));
    Tensor *r = call(&c, f, dims, given, prior, estimate);
    for (int k = 0; k < f->results.n; k++)
        for (int64_t j = 0; f->results.p[k].role == RES_GRAD && j < r[k].count; j++)
            if (!(fabs(r[k].f[j] - (simplex ? r[k].f[0] : 0)) < 1e-12))
                fail_msg("%s: slope %g", text, r[k].f[j]);
    ctx_free(c.ctx);
}

static void check_values(const char *what, const Tensor *got, int n, const double *want) {
    assert_int_equal(got->count, n);
    for (int k = 0; k < n; k++) {
        double v = got->f ? got->f[k] : (double)got->i[k];
        if (!(fabs(v - want[k]) <= 1e-15 * fmax(1, fabs(want[k]))))
            fail_msg("%s, element %d: %.17g instead of %.17g", what, k, v, want[k]);
    }
}

/* One program with one parameter: rule, estimates with and without prior, posterior, state. */
typedef struct Row {
    const char *text, *rule;
    int64_t dims[2];
    Given given[4];
    int n; /* elements of the parameter */
    double map[4], mle[4], post[2][4];
    int state[4]; /* of the MLE */
} Row;

static const Row rows[] = {
    {"estimator E[N](a: positive = 2, b: positive = 2) { data x: bool[N] param phi: prob\n"
     "phi ~ Beta(a, b) x ~ Bernoulli(phi) }",
     "beta.bernoulli",
     {5},
     {{"x", {1, 1, 0, 1, 0}}, {"a", {4}}, {"b", {3}}},
     1,
     {6.0 / 10},
     {3.0 / 5},
     {{7}, {5}},
     {0}},
    {"estimator E[N] { data x: bool[N] param phi: prob phi ~ Beta(2, 2) x ~ Bernoulli(phi) }",
     "beta.bernoulli",
     {3},
     {{"x", {0, 0, 0}}},
     1,
     {1.0 / 5},
     {0},
     {{2}, {5}},
     {CLOSED_BOUNDARY}},
    {"estimator E[N] { data y: int[N] data n: int[N] param p: prob p ~ Beta(3, 2)\n"
     "y ~ Weighted(2, Binomial(n, p)) }",
     "beta.binomial",
     {3},
     {{"y", {1, 4, 0}}, {"n", {5, 6, 2}}},
     1,
     {12.0 / 29},
     {5.0 / 13},
     {{13}, {18}},
     {0}},
    {"estimator E[N] { data y: int[N] param p: prob p ~ Beta(3, 2) y ~ Geometric(p) }",
     "beta.geometric",
     {4},
     {{"y", {1, 0, 3, 2}}},
     1,
     {6.0 / 13},
     {4.0 / 10},
     {{7}, {8}},
     {0}},
    {"estimator E[N, J] { data g: index(J)[N] data y: int[N] param lam: positive[J]\n"
     "lam ~ Gamma(3, 2) y ~ Poisson(lam[g]) }",
     "gamma.poisson",
     {5, 3},
     {{"g", {0, 2, 0, 0, 2}}, {"y", {1, 0, 4, 2, 0}}},
     3,
     {9.0 / 5, 2.0 / 2, 2.0 / 4},
     {7.0 / 3, 0, 0},
     {{10, 3, 3}, {5, 2, 4}},
     {0, CLOSED_FLAT, CLOSED_BOUNDARY}},
    {"estimator E[N] { data y: [N] param r: positive r ~ Gamma(2, 1) y[1:] ~ Exponential(r) }",
     "gamma.exponential",
     {4},
     {{"y", {9, 0.5, 1.5, 2}}},
     1,
     {4.0 / 5},
     {3.0 / 4},
     {{5}, {5}},
     {0}},
    {"estimator E[N] { data y: [N] param r: positive r ~ Gamma(2, 1) y ~ Gamma(3, r) }",
     "gamma.gamma",
     {2},
     {{"y", {0.5, 3.5}}},
     1,
     {7.0 / 5},
     {6.0 / 4},
     {{8}, {5}},
     {0}},
    {"estimator E[N, D] { data y: [N, D] data s: positive[D] param m: [D] m ~ Normal(1, 2)\n"
     "y ~ Normal(m, s) }",
     "normal.normal",
     {2, 2},
     {{"y", {1, 10, 4, 20}}, {"s", {0.5, 4}}},
     2,
     {(0.25 + 20) / 8.25, (0.25 + 30.0 / 16) / 0.375},
     {2.5, 15},
     {{20.25 / 8.25, 2.125 / 0.375}, {0.34815531191139570, 1.6329931618554521}},
     {0, 0}},
    {"estimator E[N, K = 3] { data y: index(K)[N] param p: simplex[K] p ~ Dirichlet([2, 1, 3])\n"
     "y ~ Categorical(p) }",
     "dirichlet.categorical",
     {5},
     {{"y", {0, 2, 0, 0, 2}}},
     3,
     {4.0 / 8, 0, 4.0 / 8},
     {3.0 / 5, 0, 2.0 / 5},
     {{5, 1, 5}},
     {0, CLOSED_BOUNDARY, 0}},
    {"estimator E[N] { data y: int[N, 3] data n: int[N] param p: simplex[3] p ~ Dirichlet(2)\n"
     "y ~ Multinomial(n, p) }",
     "dirichlet.multinomial",
     {2},
     {{"y", {1, 2, 0, 3, 1, 5}}, {"n", {3, 9}}},
     3,
     {5.0 / 15, 4.0 / 15, 6.0 / 15},
     {4.0 / 12, 3.0 / 12, 5.0 / 12},
     {{6, 5, 7}},
     {0}},
    {"estimator E[N] { data y: [N] param hi: real y ~ Uniform(-1, hi) }",
     "uniform.hi",
     {3},
     {{"y", {0.5, 2.5, -0.75}}},
     1,
     {2.5},
     {2.5},
     {{0}},
     {CLOSED_BOUNDARY}},
};

static void test_rows(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        const Row *r = &rows[k];
        for (int mle = 0; mle < 2; mle++) {
            Case c = recognise(r->text);
            Tensor *out = solve(&c, r->dims, r->given, mle ? 0 : 1);
            const ClosedParam *p = &c.closed.params[0];
            assert_string_equal(c.closed.rule, r->rule);
            check_values(r->rule, &out[p->estimate], r->n, mle ? r->mle : r->map);
            bool inside = true;
            for (int j = 0; j < r->n; j++)
                inside &= out[p->state].i[j] == CLOSED_INTERIOR;
            for (int j = 0; mle && j < r->n; j++)
                assert_int_equal(out[p->state].i[j], r->state[j]);
            if (inside)
                check_slope(r->text, r->dims, r->given, !mle, &out[p->estimate],
                            p->family->vector_draws);
            for (int j = 0; j < p->n_posterior; j++)
                check_values("posterior", &out[p->posterior + j], r->n, r->post[j]);
            assert_int_equal(p->has_prior, p->n_posterior > 0);
            ctx_free(c.ctx);
        }
    }
}

static void test_two_parameters_at_once(void **state) {
    (void)state;
    Case c = recognise("estimator E[N] { data y: [N] param lo: real param hi: real\n"
                       "y ~ Uniform(lo, hi) }");
    Tensor *out = solve(&c, (int64_t[]){3}, (Given[]){{"y", {4, -2, 1}}, {NULL}}, 1);
    check_values("lo", &out[c.closed.params[0].estimate], 1, (double[]){-2});
    check_values("hi", &out[c.closed.params[1].estimate], 1, (double[]){4});
    ctx_free(c.ctx);
}

/* What is refused, and the word that says why. */
static void test_no_closed_form(void **state) {
    (void)state;
    static const char *const texts[][2] = {
        {"data y: [N] param m: real param s: positive y ~ Normal(m, s)", "several parameters"},
        {"data y: [N] param m: real y ~ Normal(2 * m, 1)", "function of it"},
        {"data y: [N] param m: real m ~ Laplace(0, 1) y ~ Normal(m, 1)", "not conjugate"},
        {"data y: bool[N] param p: interval(0, 1) y ~ Bernoulli(p)", "another kind"},
        {"data y: bool[N] param p: real y ~ Bernoulli(logit = p)", "no family"},
        {"data y: [N] param m: real param s: positive m ~ Normal(0, s) y ~ Normal(m, 1)\n"
         "s ~ Gamma(2, 1)",
         "depends on parameters"},
        {"data y: bool[N] param p: prob param q: prob q ~ Beta(2, 2) y ~ Bernoulli(p)",
         "stands in no likelihood"},
        {"data y: [N] param h: real y ~ Weighted(2, Uniform(0, h))", "weighted"},
        {"data y: [N] param m: real y ~ LogDensity(-(y - m)^2)", "not a sum"},
        {"data y: [N] param w: simplex[K] param m: [K] y ~ Mixture(w, Normal(m, 1))", "not a sum"},
    };
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        char text[400];
        snprintf(text, sizeof text, "estimator E[N, K = 2] { %s }", texts[k][0]);
        Case c = recognise(text);
        if (c.found || !c.why || !strstr(c.why, texts[k][1]))
            fail_msg("%s: %s", text, c.found ? "a closed form" : c.why ? c.why : "no reason");
        assert_null(graph_func_named(c.m, str_of(c.ctx, "E.closed")));
        ctx_free(c.ctx);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows),
                                       cmocka_unit_test(test_two_parameters_at_once),
                                       cmocka_unit_test(test_no_closed_form)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
