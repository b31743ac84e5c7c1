/* passes/estimate.c: what the entries of estimators compute. */
#include "pass_helper.h"

/* Softmax regression with a Normal prior, trained by plain gradient steps of 0.5. */
static const char TRAINED[] =
    "graph \"a.cnn\"\n"
    "estimator \"E\" e f64 prior @1:1-9:2 {\n"
    "  dims N\n"
    "  param \"w\" W f64[4, 3] real learned 12 offset 0 @2:3-2:9\n"
    "  opt \"steps\" STEPS i64[2] int offset 0 @8:3-8:9\n"
    "  data \"x\" f64[N, 4] real @3:3-3:9\n"
    "  data \"y\" i32[N] index bound 3 @4:3-4:9\n"
    "  using \"sgd\" batch 16 epochs 2 rows N\n"
    "}\n"
    "func \"E.loglik\" f64 block 0 @1:1-9:2 {\n  dims N\n"
    "  %1: f64[N, 4] = input \"x\" @3:3-3:9\n"
    "  %2: i32[N] = input \"y\" bound 3 @4:3-4:9\n"
    "  %3: f64[4, 3] = param \"w\" tensor 0 @2:3-2:9\n"
    "  %4: i64 = step \"step\" @-\n"
    "  %5: f64[N, 3] = nest [n, k] += %1[n, i] * %3[i, k] over n<N, k<3, i<4 @5:3-5:9\n"
    "  %6: f64[N] = density{Categorical form 1}(%2, %5) @6:3-6:9\n"
    "  %7: f64 = nest [] += %6[n] over n<N @6:3-6:9\n"
    "  %8: f64 = nest [] = %7[] - f64(%4[]) over @6:3-6:9\n"
    "  value \"loglik\" %8\n}\n"
    "func \"E.logprior\" f64 block 0 @1:1-9:2 {\n  dims N\n"
    "  %1: f64[4, 3] = param \"w\" tensor 0 @2:3-2:9\n"
    "  %2: f64 = nest [] = 0.0 over @7:3-7:9\n"
    "  %3: f64 = nest [] = 2.0 over @7:3-7:9\n"
    "  %4: f64[4, 3] = density{Normal}(%1, %2, %3) @7:3-7:9\n"
    "  %5: f64 = nest [] += %4[i, k] over i<4, k<3 @7:3-7:9\n"
    "  value \"logprior\" %5\n}\n"
    "func \"E.update\" f64 block 0 @1:1-9:2 {\n  dims N\n"
    "  %1: f64[4, 3] = param \"w\" tensor 0 @2:3-2:9\n"
    "  %2: i64[2] = opt \"steps\" tensor 0 @8:3-8:9\n"
    "  %3: i64 = epoch \"epoch\" @-\n"
    "  %4: f64[4, 3] = grad \"w\" tensor 0 @2:3-2:9\n"
    "  %5: i64 = step \"step\" @-\n"
    "  %6: f64[4, 3] = nest [i, k] = %1[i, k] - 0.5 * %4[i, k] / f64(%5[]) over i<4, k<3 @8:3-8:9\n"
    "  new_param \"w\" %6 of 0\n}\n"
    "func \"E.predict\" f64 block 0 @1:1-9:2 {\n  dims N\n"
    "  entry predict \"e_predict\" of \"E\" @1:1-9:2 {\n  }\n"
    "  %1: i32[N] = input \"y\" bound 3 @4:3-4:9\n"
    "  out \"y\" %1\n}\n";

static Module *estimated(Ctx *ctx, const char *passes) {
    Module *m = must_read(ctx, TRAINED);
    run_passes(ctx, m, passes);
    return m;
}

enum { N = 5 };

typedef struct Problem {
    double x[N][4], w[4][3];
    int64_t y[N];
    double n_total, prior;
} Problem;

/* The same by hand: loss and its gradient at step `step`, on what make_input gives the entry's
 * params. */
static double by_hand(const Problem *p, double step, double grad[4][3]) {
    double loss = step, share = p->prior / p->n_total;
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 3; k++) {
            grad[i][k] = share * p->w[i][k] / 4;
            loss += N * share * (0.5 * p->w[i][k] * p->w[i][k] / 4 + log(2) + 0.5 * log(2 * M_PI));
        }
    for (int n = 0; n < N; n++) {
        double z[3] = {0}, sum = 0;
        for (int k = 0; k < 3; k++) {
            for (int i = 0; i < 4; i++)
                z[k] += p->x[n][i] * p->w[i][k];
            sum += exp(z[k]);
        }
        loss += log(sum) - z[p->y[n]];
        for (int i = 0; i < 4; i++)
            for (int k = 0; k < 3; k++)
                grad[i][k] += p->x[n][i] * (exp(z[k]) / sum - (k == p->y[n])) / N;
    }
    return loss / N;
}

static int param_number(const Func *f, const char *name) {
    for (int k = 0; k < f->params.n; k++)
        if (strcmp(f->params.p[k].name, name) == 0)
            return k;
    fail_msg("%s has no param %s", f->name, name);
    return -1;
}

/* Values of a param of f as make_input gives them. */
static Tensor input_named(Ctx *ctx, const Func *f, const char *name) {
    DimValue env[1] = {{f->dims.p[0], N}};
    Interp in = {.ctx = ctx, .arena = &ctx->perm, .dims = env, .n_dims = 1};
    return make_input(&in, f, param_number(f, name), REALS);
}

static Problem problem_of(Ctx *ctx, const Func *f) {
    Problem p;
    memcpy(p.x, input_named(ctx, f, "x").f, sizeof p.x);
    memcpy(p.w, input_named(ctx, f, "w").f, sizeof p.w);
    memcpy(p.y, input_named(ctx, f, "y").i, sizeof p.y);
    p.prior = input_named(ctx, f, "prior").f[0];
    int64_t n = input_named(ctx, f, "n_total").i[0];
    p.n_total = n ? (double)n : N;
    return p;
}

static void close_to(double want, double got) {
    if (!(fabs(want - got) <= 1e-12 * fmax(1, fabs(want))))
        fail_msg("%.17g, expected %.17g", got, want);
}

static const int64_t DIMS[] = {N};

static void test_loss_grad(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    Module *m = estimated(ctx, "inline estimate density ad");
    const Func *f = graph_func_named(m, str_of(ctx, "E.loss_grad"));
    assert_non_null(f);
    assert_int_equal(f->entry->kind, ENTRY_LOSS_GRAD);
    assert_string_equal(f->entry->cname, "e_loss_grad");
    assert_int_equal(f->results.n, 2);
    assert_int_equal(f->results.p[0].role, RES_LOSS);
    assert_int_equal(f->results.p[1].role, RES_GRAD);
    Problem p = problem_of(ctx, f);
    double grad[4][3], loss = by_hand(&p, 0, grad);
    Tensor *r = must_run(ctx, m, "E.loss_grad", DIMS, REALS);
    close_to(loss, r[0].f[0]);
    for (int k = 0; k < 12; k++)
        close_to(grad[k / 3][k % 3], r[1].f[k]);
    ctx_free(ctx);
}

static void test_step(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    Module *m = estimated(ctx, "inline estimate density ad");
    const Func *f = graph_func_named(m, str_of(ctx, "E.step"));
    assert_non_null(f);
    Problem p = problem_of(ctx, f);
    Tensor header = input_named(ctx, f, "steps"), *r = must_run(ctx, m, "E.step", DIMS, REALS);
    double step = (double)header.i[0] + 1, grad[4][3], loss = by_hand(&p, step, grad);
    for (int k = 0; k < f->results.n; k++) {
        const Result *x = &f->results.p[k];
        if (x->role == RES_LOSS)
            close_to(loss, r[k].f[0]);
        else if (x->role == RES_NEW_OPT)
            assert_true(r[k].i[0] == header.i[0] + 1 && r[k].i[1] == header.i[1]);
        else if (x->role == RES_NEW_PARAM)
            for (int j = 0; j < 12; j++)
                close_to(p.w[j / 3][j % 3] - 0.5 * grad[j / 3][j % 3] / step, r[k].f[j]);
        else
            fail_msg("a result %s", x->name);
    }
    assert_int_equal(f->results.n, 3);
    ctx_free(ctx);
}

/* The parts are gone, and every entry with labels requires them to lie in 0 .. 2, naming the line
 * of `y`. */
static void test_labels(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    Module *m = estimated(ctx, "inline estimate density ad");
    assert_null(graph_func_named(m, str_of(ctx, "E.loglik")));
    assert_null(graph_func_named(m, str_of(ctx, "E.logprior")));
    assert_null(graph_func_named(m, str_of(ctx, "E.update")));
    const char *text = graph_text(ctx, m);
    assert_int_equal(count_of(text, "require{\"y holds a value outside 0 .. 2\" @4:3-4:9}"), 3);
    for (int k = 0; k < m->funcs.n; k++)
        if (m->funcs.p[k]) /* the interpreter checks bounds itself: leave it to the requirement */
            for (int j = 0; j < m->funcs.p[k]->params.n; j++)
                if (m->funcs.p[k]->params.p[j].bound)
                    m->funcs.p[k]->params.p[j].bound = dim_const(ctx, 9);
    const char *status = NULL;
    int failed = 0;
    for (int n = 1; n <= 8; n++) {
        int64_t dims[] = {n};
        const Func *f = graph_func_named(m, str_of(ctx, "E.predict"));
        DimValue env[1] = {{f->dims.p[0], n}};
        Interp in = {.ctx = ctx, .arena = &ctx->perm, .dims = env, .n_dims = 1};
        Tensor y = make_input(&in, f, 0, WHOLE);
        bool bad = false;
        for (int k = 0; k < n; k++)
            bad |= y.i[k] > 2;
        assert_true((run_graph(ctx, m, f, dims, WHOLE, &status) == NULL) == bad);
        failed += bad;
    }
    assert_true(failed > 0 && strstr(status, "y holds a value outside 0 .. 2"));
    ctx_free(ctx);
}

/* A loss or gradient that is not finite ends the step before anything is updated. */
static void test_not_finite(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    StrBuf sb = sb_new(&ctx->perm);
    const char *at = strstr(TRAINED, "%7[] - f64(%4[])");
    sb_printf(&sb, "%.*slog(%%7[] - %%7[])%s", (int)(at - TRAINED), TRAINED,
              at + strlen("%7[] - f64(%4[])"));
    Module *m = must_read(ctx, sb.text);
    run_passes(ctx, m, "inline estimate density ad");
    const char *status = NULL;
    assert_null(
        run_graph(ctx, m, graph_func_named(m, str_of(ctx, "E.step")), DIMS, REALS, &status));
    assert_non_null(strstr(status, "finite"));
    ctx_free(ctx);
}

/* Without `using`: log density and its gradient; `minimize` counts as its negative. */
static void check_exact(const char *part, const char *body, double want, double want_grad) {
    Ctx *ctx = ctx_new(0);
    Module *m = must_read(ctx, str_fmt(ctx,
                                       "graph \"a.cnn\"\n"
                                       "estimator \"E\" e f64 @1:1-9:2 {\n"
                                       "  dims N\n"
                                       "  param \"m\" M f64 real learned 1 offset 0 @2:3-2:9\n"
                                       "}\n"
                                       "func \"E.%s\" f64 block 0 @1:1-9:2 {\n  dims N\n"
                                       "  %%1: f64[N] = input \"x\" @3:3-3:9\n"
                                       "  %%2: f64 = param \"m\" tensor 0 @2:3-2:9\n"
                                       "  %%3: f64 = nest [] += %s over n<N @6:3-6:9\n"
                                       "  value \"v\" %%3\n}\n",
                                       part, body));
    run_passes(ctx, m, "inline estimate density ad");
    Tensor *logp = must_run(ctx, m, "E.logp", DIMS, WHOLE),
           *grad = must_run(ctx, m, "E.grad", DIMS, WHOLE);
    assert_true(logp->f[0] == want);
    assert_true(grad[0].f[0] == want);
    assert_true(grad[1].f[0] == want_grad);
    ctx_free(ctx);
}

static void test_exact(void **state) {
    (void)state;
    double mean = input_at(WHOLE, 1, 0), sum = 0, slope = 0;
    for (int k = 0; k < N; k++) {
        double x = input_at(WHOLE, 0, k);
        sum -= (x - mean) * (x - mean);
        slope += 2 * (x - mean);
    }
    check_exact("loglik", "0.0 - (%1[n] - %2[]) * (%1[n] - %2[])", sum, slope);
    check_exact("objective", "(%1[n] - %2[]) * (%1[n] - %2[])", sum, slope);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_loss_grad),
                                       cmocka_unit_test(test_step), cmocka_unit_test(test_labels),
                                       cmocka_unit_test(test_not_finite),
                                       cmocka_unit_test(test_exact)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
