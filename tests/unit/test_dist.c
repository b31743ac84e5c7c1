/* ir/dist.c, ir/dists: log densities against their formulas in C, their integrals, and their derivatives; the pass
 * density. */
#include "pass_helper.h"

#include "ir/dist.h"

/* The log density of one x under one form, run as a function of scalars. NaN: it did not run. */
static double logpdf(const DistDef *d, int form, double x, const double *p) {
    Ctx *ctx = ctx_new(0);
    Arena *arena = &ctx->perm;
    Module *m = graph_module_new(ctx, arena, str_of(ctx, "a.cnn"));
    Func *f = graph_func_new(m, str_of(ctx, "f"), (Span){0});
    f->real = DT_F64;
    f->block = -1;
    Val v[DIST_MOST_PARAMS + 1];
    Tensor t[DIST_MOST_PARAMS + 1];
    const Tensor *args[DIST_MOST_PARAMS + 1];
    int n = d->forms[form].n_params;
    for (int k = 0; k <= n; k++) {
        DType dt = k ? DT_F64 : d->support == SUPPORT_BOOL ? DT_BOOL : d->support == SUPPORT_COUNT ? DT_I32 : DT_F64;
        Param param = {.name = str_fmt(ctx, "p%d", k), .role = ROLE_INPUT, .tensor = -1};
        v[k] = graph_param(m, f, param, type_scalar(dt));
        t[k] = tensor_new(arena, dt, 0, NULL);
        if (t[k].f)
            t[k].f[0] = k ? p[k - 1] : x;
        else
            t[k].i[0] = (int64_t)x;
        args[k] = &t[k];
    }
    DensityAttr attr = {.dist = d, .form = form, .type = type_scalar(DT_F64)};
    Val y = graph_inst(m, f, &op_density, v, n + 1, &attr, (Span){0}, NULL)->first;
    graph_result(m, f, (Result){.val = y, .name = str_of(ctx, "y"), .role = RES_OUT, .of = -1});
    run_passes(ctx, m, "density");
    assert_null(strstr(graph_text(ctx, m), "density{"));
    f = m->funcs.p[0];
    Interp in = {.ctx = ctx, .arena = arena, .m = m};
    Tensor out;
    double r = interp_run(&in, f, NULL, 0, args, &out) ? out.f[0] : NAN;
    ctx_free(ctx);
    return r;
}

static const DistDef *named(const char *name) {
    int n;
    const DistDef *const *all = dist_all(&n);
    for (int k = 0; k < n; k++)
        if (strcmp(all[k]->name, name) == 0)
            return all[k];
    fail_msg("no distribution %s", name);
    return NULL;
}

typedef struct Point {
    const char *dist;
    int form;
    double p[3], x, want;
} Point;

/* Values of the textbook formulas, by Python's math. */
static const Point points[] = {
    {"Normal", 0, {1, 2}, 2.5, -1.8933357137646180},
    {"Bernoulli", 0, {0.25}, 1, -1.3862943611198906},
    {"Bernoulli", 0, {0.25}, 0, -0.28768207245178090},
    {"Bernoulli", 1, {3}, 1, -0.04858735157374206},
    {"Bernoulli", 1, {800}, 0, -800},
    {"Bernoulli", 1, {-800}, 0, 0},
    {"Beta", 0, {2, 3}, 0.3, 0.5675839575845989},
    {"Beta", 0, {1, 1}, 0, 0},
    {"Exponential", 0, {2}, 1.5, -2.3068528194400546},
    {"Gamma", 0, {2, 3}, 1.5, -1.8973103145556163},
    {"InverseGamma", 0, {2, 3}, 1.5, -1.0191707469882736},
    {"Poisson", 0, {2.5}, 3, -1.5428872736055896},
    {"Poisson", 1, {0}, 2, -1.6931471805599454},
    {"StudentT", 0, {5, 1, 2}, 2.5, -1.981595974789445},
    {"Laplace", 0, {1, 2}, -0.5, -2.1362943611198906},
};

static void test_points(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof points / sizeof *points; k++) {
        const Point *t = &points[k];
        double got = logpdf(named(t->dist), t->form, t->x, t->p);
        if (!(fabs(got - t->want) <= 1e-13 * fmax(1, fabs(t->want))))
            fail_msg("%s(%g, %g, %g) at %g: %.17g, expected %.17g", t->dist, t->p[0], t->p[1], t->p[2], t->x, got, t->want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_points)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
