/* ir/dist.c, ir/dists: log densities against their formulas in C, their integrals, and their
 * derivatives; the pass density. */
#include "pass_helper.h"

#include "ir/dist.h"

typedef struct Scalars {
    Module *m;
    Val v[DIST_MOST_PARAMS + 2]; /* x, then the parameters */
    Tensor t[DIST_MOST_PARAMS + 2];
    const Tensor *args[DIST_MOST_PARAMS + 2];
    int n; /* of the parameters */
    Val y;
} Scalars;

/* A function of scalars whose value y is the log density of x. */
static Scalars scalars_of(Ctx *ctx, const DistDef *d, int form, double x, const double *p) {
    Arena *arena = &ctx->perm;
    Scalars s = {.m = graph_module_new(ctx, arena, str_of(ctx, "a.cnn")),
                 .n = d->forms[form].n_params};
    Func *f = graph_func_new(s.m, str_of(ctx, "f"), (Span){0});
    f->real = DT_F64;
    f->block = -1;
    for (int k = 0; k <= s.n; k++) {
        DType dt = k                             ? DT_F64
                   : d->support == SUPPORT_BOOL  ? DT_BOOL
                   : d->support == SUPPORT_COUNT ? DT_I32
                                                 : DT_F64;
        Param param = {.name = str_fmt(ctx, "p%d", k), .role = ROLE_INPUT, .tensor = -1};
        s.v[k] = graph_param(s.m, f, param, type_scalar(dt));
        s.t[k] = tensor_new(arena, dt, 0, NULL);
        if (s.t[k].f)
            s.t[k].f[0] = k ? p[k - 1] : x;
        else
            s.t[k].i[0] = (int64_t)x;
    }
    DensityAttr attr = {.dist = d, .form = form, .type = type_scalar(DT_F64)};
    const void *kept = arena_dup(arena, &attr, sizeof attr);
    s.y = graph_inst(s.m, f, &op_density, s.v, s.n + 1, kept, (Span){0}, NULL)->first;
    graph_result(s.m, f, (Result){.val = s.y, .name = str_of(ctx, "y"), .role = RES_OUT, .of = -1});
    return s;
}

static void run_scalars(Ctx *ctx, Scalars *s, Tensor *out) {
    for (int k = 0; k <= s->n; k++)
        s->args[k] = &s->t[k];
    Interp in = {.ctx = ctx, .arena = &ctx->perm, .m = s->m};
    if (!interp_run(&in, s->m->funcs.p[0], NULL, 0, s->args, out))
        fail_msg("%s", in.status);
}

static double logpdf(const DistDef *d, int form, double x, const double *p) {
    Ctx *ctx = ctx_new(0);
    Scalars s = scalars_of(ctx, d, form, x, p);
    run_passes(ctx, s.m, "density");
    assert_null(strstr(graph_text(ctx, s.m), "density{"));
    Tensor out;
    run_scalars(ctx, &s, &out);
    double r = out.f[0];
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

/* At an edge of the support, where differences leave it. */
static bool at_edge(const Point *t) { return t->x == 0; }

/* Values of the textbook formulas, by Python's math and SciPy 1.17. */
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
    {"LogNormal", 0, {0.5, 1.5}, 2.5, -2.2792050339523966},
    {"Cauchy", 0, {1, 2}, 2.5, -2.284164169037765},
    {"Logistic", 0, {1, 2}, 2.5, -2.216889192789745},
    {"Logistic", 0, {0, 1}, -900, -900.0},
    {"Gumbel", 0, {1, 2}, 2.5, -1.9155137333009602},
    {"Uniform", 0, {-1, 3}, 2.5, -1.3862943611198906},
    {"Uniform", 0, {-1, 3}, 3.5, -INFINITY},
    {"ChiSquared", 0, {3}, 2.5, -1.7107931672675951},
    {"Weibull", 0, {1.5, 2}, 2.5, -1.5736527827320446},
    {"Weibull", 0, {1, 2}, 0, -0.6931471805599453},
    {"Pareto", 0, {1.5, 3}, 2.5, -1.3501553145040175},
    {"Pareto", 0, {1.5, 3}, 1, -INFINITY},
    {"HalfNormal", 0, {2}, 2.5, -1.7001885332046727},
    {"HalfNormal", 0, {2}, -2.5, -INFINITY},
    {"HalfCauchy", 0, {2}, 2.5, -2.0857132303139267},
    {"InverseGaussian", 0, {2, 3}, 2.5, -1.7815684866818506},
    {"Binomial", 0, {7, 0.25}, 3, -1.7542633116773811},
    {"Binomial", 1, {7, -1.5}, 3, -2.3545448843898535},
    {"Binomial", 0, {7, 0}, 0, 0.0},
    {"NegativeBinomial", 0, {2.5, 0.5}, 3, -1.9989260660191235},
    {"NegativeBinomial", 1, {0.9162907318741551, 0.5}, 3, -1.9989260660191235},
    {"Geometric", 0, {0.25}, 3, -2.249340578475233},
    {"Gamma", 0, {2, 3}, -1, -INFINITY},
    {"LogNormal", 0, {0, 1}, -1, -INFINITY},
    {"Beta", 0, {2, 3}, 1.5, -INFINITY},
    {"Beta", 0, {1, 1}, -0.5, -INFINITY},
};

static void test_points(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof points / sizeof *points; k++) {
        const Point *t = &points[k];
        double got = logpdf(named(t->dist), t->form, t->x, t->p);
        if (got != t->want && !(fabs(got - t->want) <= 1e-13 * fmax(1, fabs(t->want))))
            fail_msg("%s(%g, %g, %g) at %g: %.17g, expected %.17g", t->dist, t->p[0], t->p[1],
                     t->p[2], t->x, got, t->want);
    }
}

/* Derivatives with respect to all parameters, and to x where it is real, are those of differences.
 */
static void check_derivatives(const Point *t) {
    Ctx *ctx = ctx_new(0);
    Arena *arena = &ctx->perm;
    const DistDef *d = named(t->dist);
    Scalars s = scalars_of(ctx, d, t->form, t->x, t->p);
    Func *f = s.m->funcs.p[0];
    int first = d->support < SUPPORT_BOOL ? 0 : 1, n = s.n + 1 - first;
    Val args[DIST_MOST_PARAMS + 3];
    Val one =
        graph_param(s.m, f, (Param){.name = str_of(ctx, "one"), .role = ROLE_INPUT, .tensor = -1},
                    type_scalar(DT_F64));
    s.t[s.n + 1] = tensor_new(arena, DT_F64, 0, NULL);
    s.t[s.n + 1].f[0] = 1;
    args[0] = s.y;
    args[1] = one;
    for (int k = 0; k < n; k++)
        args[2 + k] = s.v[first + k];
    VjpAttr *attr = ARENA_NEW(arena, VjpAttr);
    attr->n_wrt = n;
    const Inst *vjp = graph_inst(s.m, f, &op_vjp, args, n + 2, attr, (Span){0}, NULL);
    for (int k = 0; k < n; k++)
        graph_result(s.m, f,
                     (Result){.val = inst_result(vjp, k),
                              .name = str_fmt(ctx, "d%d", k),
                              .role = RES_OUT,
                              .of = -1});
    s.n++;
    Tensor want[DIST_MOST_PARAMS + 2], got[DIST_MOST_PARAMS + 2];
    run_scalars(ctx, &s, want);
    run_passes(ctx, s.m, "density ad");
    run_scalars(ctx, &s, got);
    for (int k = 0; k <= n; k++)
        check_tensor(str_fmt(ctx, "%s, result %d", t->dist, k), &want[k], &got[k], 1e-7);
    ctx_free(ctx);
}

static void test_derivatives(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof points / sizeof *points; k++)
        if (isfinite(points[k].want) && !at_edge(&points[k]))
            check_derivatives(&points[k]);
}

/* Every distribution of one number has a point in the table. */
static void test_all_have_points(void **state) {
    (void)state;
    int n;
    const DistDef *const *all = dist_all(&n);
    for (int k = 0; k < n; k++)
        for (int form = 0; form < all[k]->n_forms; form++) {
            bool found = all[k]->vectors[form] != 0;
            for (size_t j = 0; j < sizeof points / sizeof *points; j++)
                found |= strcmp(points[j].dist, all[k]->name) == 0 && points[j].form == form;
            if (!found)
                fail_msg("no point of %s, form %d", all[k]->name, form);
        }
}

/* Densities of classes: 4 draws of 4 classes, by the formulas; probabilities sum to 1. */
static void check_classes(const char *dist, const char *params, const double *want) {
    Ctx *ctx = ctx_new(0);
    const char *text = str_fmt(ctx,
                               "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n"
                               "  %%1: i32[4] = const{0, 1, 2, 3} @-\n%s"
                               "  %%4: f64[4] = density{%s}(%%1, %s) @-\n  out \"y\" %%4\n}\n",
                               params, dist, strchr(dist, 'O') == dist ? "%2, %3" : "%3");
    Module *m = must_read(ctx, text);
    run_passes(ctx, m, "density");
    Tensor *r = must_run(ctx, m, "f", NULL, WHOLE);
    for (int k = 0; k < 4; k++)
        if (!(fabs(r->f[k] - want[k]) <= 1e-14 * fabs(want[k])))
            fail_msg("%s, class %d: %.17g, expected %.17g", dist, k, r->f[k], want[k]);
    ctx_free(ctx);
}

static void test_classes(void **state) {
    (void)state;
    static const double ordered[] = {-1.5410084538329922, -1.091629782140038, -1.218407357693312,
                                     -1.8677860293862656};
    check_classes("OrderedLogit",
                  "  %2: f64 = const{0.3} @-\n  %3: f64[3] = const{-1.0, 0.5, 2.0} @-\n", ordered);
    double z[] = {1000, 1001, -2000, 999.5}, sum = 0, want[4];
    for (int k = 0; k < 4; k++)
        sum += exp(z[k] - 1001);
    for (int k = 0; k < 4; k++)
        want[k] = z[k] - 1001 - log(sum);
    check_classes(
        "Categorical form 1",
        "  %2: f64 = const{0.0} @-\n  %3: f64[4] = const{1000.0, 1001.0, -2000.0, 999.5} @-\n",
        want);
    static const double p[] = {0.5, 0.25, 0.125, 0.125};
    for (int k = 0; k < 4; k++)
        want[k] = log(p[k]);
    check_classes("Categorical",
                  "  %2: f64 = const{0.0} @-\n  %3: f64[4] = const{0.5, 0.25, 0.125, 0.125} @-\n",
                  want);
}

/* ---- conjugate rows: every row of the table against the densities that it is about */

static double body_value(const BodyBuilder *b, int k, const double *reads) {
    const BodyInst *i = &b->insts.p[k];
    if (i->kind == BODY_READ)
        return reads[i->operand];
    if (i->kind == BODY_CONST)
        return dtype_is_real(i->dt) ? i->k.f : (double)i->k.i;
    ScalarValue v[3] = {{0}};
    bool real = dtype_is_real(b->insts.p[i->args[i->op == SC_select ? 1 : 0]].dt);
    for (int a = 0; a < scalar_def(i->op)->arity; a++) {
        v[a].f = body_value(b, i->args[a], reads);
        v[a].i = (int64_t)v[a].f;
    }
    ScalarValue r = scalar_eval(i->op, real ? DT_F64 : DT_I32, i->dt, v);
    return dtype_is_real(i->dt) ? r.f : (double)r.i;
}

typedef struct Reads {
    Ctx *ctx;
    BodyBuilder b;
    int at[8];
} Reads;

static Reads reads_new(void) {
    Reads r = {.ctx = ctx_new(0)};
    r.b = body_new(r.ctx);
    for (int k = 0; k < 8; k++)
        r.at[k] = body_read(&r.b, DT_F64, k, 0, NULL);
    return r;
}

static double natural_at(const DistConjugate *f, int k, double t) {
    Reads r = reads_new();
    double v = body_value(&r.b, f->natural(&r.b, k, r.at[0]), &t);
    ctx_free(r.ctx);
    return v;
}

static double of_values(const DistConjugate *f, int what, int k, const double *values) {
    Reads r = reads_new();
    int e = what == 0   ? f->coef(&r.b, k, r.at)
            : what == 1 ? f->param(&r.b, k, r.at)
            : what == 2 ? f->mode(&r.b, r.at)
                        : f->state(&r.b, r.at);
    double v = body_value(&r.b, e, values);
    ctx_free(r.ctx);
    return v;
}

/* Values of a kind: k 0 and 1. */
static double of_kind(AbiKind kind, int k) {
    static const double probs[] = {0.3, 0.6}, positives[] = {0.7, 2.3}, reals[] = {-0.4, 1.1};
    return kind == KIND_PROB       ? probs[k]
           : kind == KIND_POSITIVE ? positives[k]
           : kind == KIND_INT      ? 7
                                   : reals[k];
}

static double of_support(DistSupport s, int k) {
    return s == SUPPORT_BOOL    ? k
           : s == SUPPORT_COUNT ? 3 * k
           : s == SUPPORT_REAL  ? 2.5 * k - 0.5
                                : 0.4 + 2 * k;
}

static void check_close(const char *what, double got, double want) {
    if (!(fabs(got - want) <= 1e-12 * fmax(1, fabs(want))))
        fail_msg("%s: %.17g, expected %.17g", what, got, want);
}

/* log p(x | t1) - log p(x | t2) is what the statistics make of the natural functions. */
static void check_link(const DistDef *d, const DistLink *l) {
    const DistConjugate *f = l->prior->conjugate;
    const DistForm *form = &d->forms[l->form];
    double p[DIST_MOST_PARAMS], t[2] = {of_kind(f->kind, 0), of_kind(f->kind, 1)}, dens[2];
    assert_int_equal(f->kind, form->params[l->arg].kind);
    for (int xk = 0; xk < 2; xk++) {
        double x = of_support(d->support, xk), want = 0, reads[8] = {x};
        for (int j = 0; j < 2; j++) {
            for (int k = 0; k < form->n_params; k++)
                reads[1 + k] = p[k] = k == l->arg ? t[j] : of_kind(form->params[k].kind, 1);
            dens[j] = logpdf(d, l->form, x, p);
        }
        for (int k = 0; k < f->n_stats; k++) {
            Reads r = reads_new();
            double s = body_value(&r.b, l->stat(&r.b, k, r.at[0], r.at + 1, -1), reads);
            want += s * (natural_at(f, k, t[0]) - natural_at(f, k, t[1]));
            ctx_free(r.ctx);
        }
        check_close(l->rule, dens[0] - dens[1], want);
    }
}

/* The same of the family's own coefficients; its parameters come back from them; the mode is one.
 */
static void check_family(const DistDef *d) {
    const DistConjugate *f = d->conjugate;
    double t[2] = {of_kind(f->kind, 0), of_kind(f->kind, 1)}, p[DIST_MOST_PARAMS], c[8] = {0},
           want = 0;
    for (int k = 0; k < d->forms[0].n_params; k++)
        p[k] = of_kind(d->forms[0].params[k].kind, k) + 1.5;
    for (int k = 0; k < f->n_stats; k++) {
        c[k] = of_values(f, 0, k, p);
        want += c[k] * (natural_at(f, k, t[0]) - natural_at(f, k, t[1]));
    }
    check_close(d->name, logpdf(d, 0, t[0], p) - logpdf(d, 0, t[1], p), want);
    for (int k = 0; k < d->forms[0].n_params; k++)
        check_close(d->name, of_values(f, 1, k, c), p[k]);
    double mode = of_values(f, 2, 0, c), h = 1e-4 * mode;
    assert_int_equal(of_values(f, 3, 0, c), CLOSED_INTERIOR);
    assert_true(logpdf(d, 0, mode, p) > logpdf(d, 0, mode + h, p));
    assert_true(logpdf(d, 0, mode, p) > logpdf(d, 0, mode - h, p));
}

static void test_conjugate_rows(void **state) {
    (void)state;
    int n, rows = 0;
    const DistDef *const *all = dist_all(&n);
    for (int k = 0; k < n; k++) {
        if (all[k]->conjugate && !all[k]->vector_draws)
            check_family(all[k]);
        for (const DistLink *l = all[k]->links; l->rule; l++, rows++)
            if (l->prior && !l->prior->vector_draws)
                check_link(all[k], l);
    }
    assert_true(rows > 8);
}

/* What derivations show is what is computed. */
static void test_formulas(void **state) {
    (void)state;
    int checked = 0;
    for (size_t k = 0; k < sizeof points / sizeof *points; k++) {
        const Point *t = &points[k];
        const DistDef *d = named(t->dist);
        if (!d->formula || !isfinite(t->want))
            continue;
        double reads[8] = {t->x, t->p[0], t->p[1], t->p[2]};
        Reads r = reads_new();
        check_close(t->dist, body_value(&r.b, d->formula(&r.b, t->form, r.at[0], r.at + 1), reads),
                    t->want);
        ctx_free(r.ctx);
        checked++;
    }
    assert_true(checked > 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points),          cmocka_unit_test(test_derivatives),
        cmocka_unit_test(test_all_have_points), cmocka_unit_test(test_classes),
        cmocka_unit_test(test_conjugate_rows),  cmocka_unit_test(test_formulas)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
