/* Programs are lowered, verified, and run in the reference interpreter; wrong ones give their code
 * at their place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/diag.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"
#include "ir/interp.h"

typedef struct Run {
    Ctx *ctx;
    Arena arena;
    Module *m;
} Run;

static void open_run(Run *r, const char *text, bool tests) {
    r->ctx = ctx_new(0);
    arena_init(&r->arena, r->ctx);
    uint32_t file = ctx_add_file(r->ctx, "t.cnn", text, strlen(text));
    AstFile *ast = parse_file(r->ctx, file);
    assert_false(diag_any_error(r->ctx));
    LowerOptions o = {0};
    r->m = tests ? frontend_tests(r->ctx, &r->arena, ast, &o)
                 : frontend_lower(r->ctx, &r->arena, ast, &o);
}

static void close_run(Run *r) {
    arena_free(&r->arena);
    ctx_free(r->ctx);
}

static void open_good(Run *r, const char *text) {
    open_run(r, text, false);
    StrBuf sb = sb_new(&r->arena);
    diag_render_all(r->ctx, false, false, &sb);
    if (!r->m)
        print_message("%s\n", sb.text);
    assert_non_null(r->m);
    const char *why = graph_verify(r->m);
    if (why)
        print_message("%s\n", why);
    assert_null(why);
}

/* Inputs are 1, 2, 3, ... scaled; the dims in order of the function. */
static Tensor call(Run *r, const char *name, const int64_t *dims, const double *inputs) {
    Func *f = graph_func_named(r->m, str_of(r->ctx, name));
    assert_non_null(f);
    DimValue env[8];
    for (int k = 0; k < f->dims.n; k++)
        env[k] = (DimValue){f->dims.p[k], dims[k]};
    const Tensor **args = ARENA_ARRAY(&r->arena, const Tensor *, f->params.n + 1);
    for (int k = 0; k < f->params.n; k++) {
        Type t = graph_type(f, f->params.p[k].val);
        int64_t shape[MAX_RANK];
        for (int i = 0; i < t.rank; i++)
            assert_true(dim_eval(t.shape[i], env, f->dims.n, &shape[i]));
        Tensor *x = ARENA_NEW(&r->arena, Tensor);
        *x = tensor_new(&r->arena, t.dt, t.rank, shape);
        for (int64_t i = 0; i < x->count; i++, inputs++) {
            if (x->f)
                x->f[i] = *inputs;
            else
                x->i[i] = (int64_t)*inputs;
        }
        args[k] = x;
    }
    Tensor *out = ARENA_ARRAY(&r->arena, Tensor, f->results.n + 1);
    Interp in = {.ctx = r->ctx, .arena = &r->arena, .m = r->m};
    if (!interp_run(&in, f, env, f->dims.n, args, out))
        print_message("%s: %s\n", name, in.status);
    assert_null(in.status);
    return out[0];
}

static void expect_near(const Tensor *t, const double *want, int n, double tol) {
    assert_int_equal(t->count, n);
    for (int k = 0; k < n; k++)
        assert_true(fabs(t->f[k] - want[k]) <= tol * (1 + fabs(want[k])));
}

static void expect_values(const Tensor *t, const double *want, int n) {
    assert_int_equal(t->count, n);
    for (int k = 0; k < n; k++) {
        double got = t->f ? t->f[k] : (double)t->i[k];
        if (!(fabs(got - want[k]) <= 1e-9 * (1 + fabs(want[k]))))
            print_message("element %d: %.17g, not %.17g\n", k, got, want[k]);
        assert_true(fabs(got - want[k]) <= 1e-9 * (1 + fabs(want[k])));
    }
}

static int instructions(Run *r, const char *name) {
    return graph_func_named(r->m, str_of(r->ctx, name))->insts.n;
}

/* ---- comprehensions */

static void filters(void **state) {
    (void)state;
    Run r;
    open_good(&r, "def filter[H, W, K](img: [H, W], k: [K, K]) -> [H - K + 1, W - K + 1] =\n"
                  "  for i < H - K + 1, j < W - K + 1 => sum(for a < K, b < K => img[i + a, j + b] "
                  "* k[a, b])\n"
                  "def blur[H, W](img: [H, W]) -> [H - 2, W - 2] =\n"
                  "  for i < H - 2, j < W - 2 => mean(for a < 3, b < 3 => img[i + a, j + b])\n");
    Tensor t = call(&r, "filter", (int64_t[]){3, 3, 2},
                    (double[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 0, 0, -1});
    expect_values(&t, (double[]){-4, -4, -4, -4}, 4);
    assert_int_equal(instructions(&r, "filter"), 1);
    t = call(&r, "blur", (int64_t[]){3, 4}, (double[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
    expect_values(&t, (double[]){6, 7}, 2);
    close_run(&r);
}

static void nested_sums(void **state) {
    (void)state;
    Run r;
    open_good(&r, "def f[N](x: [N, 2], b: [2]) -> [N] = for n < N => sum(for c < 2 => b[c] + "
                  "sum(for u < 2 => x[n, u] * x[n, c]))\n"
                  "def g[N](x: [N]) -> [N] = for i < N => if i > 0 then sum(for k < 2 => x[i - 1] "
                  "* k) else 7\n");
    Tensor t = call(&r, "f", (int64_t[]){2}, (double[]){1, 2, 3, 4, 10, 20});
    expect_values(&t, (double[]){30 + 9, 30 + 49}, 2);
    t = call(&r, "g", (int64_t[]){3}, (double[]){5, 6, 9});
    expect_values(&t, (double[]){7, 5, 6}, 3);
    close_run(&r);
}

/* ---- shapes and subscripts */

static void views(void **state) {
    (void)state;
    Run r;
    open_good(&r, "def t[N, M](x: [N, M]) -> [M, N] = x'\n"
                  "def s[N](x: [N]) -> [N - 1] = x[1:] - x[:N - 1]\n"
                  "def p[N](x: [N]) -> [N + 3] = pad(x, [1], [2], fill = 9)\n"
                  "def c[N, M](x: [N], y: [M]) -> [N + M] = concat(x, y)\n"
                  "def m[N, K](x: [N, K], y: [K]) -> [N] = x @ y\n"
                  "def g[N, K](x: [K], i: index(K)[N]) -> [N] = x[i]\n"
                  "def q[D](x: [D*(D + 1) // 2, D]) -> [D, D] = for i < D, j < D => if j <= i then "
                  "x[i*(i + 1) // 2 + j, 0] else 0\n");
    Tensor t = call(&r, "t", (int64_t[]){2, 3}, (double[]){1, 2, 3, 4, 5, 6});
    expect_values(&t, (double[]){1, 4, 2, 5, 3, 6}, 6);
    t = call(&r, "s", (int64_t[]){3}, (double[]){1, 4, 9});
    expect_values(&t, (double[]){3, 5}, 2);
    t = call(&r, "p", (int64_t[]){2}, (double[]){1, 2});
    expect_values(&t, (double[]){9, 1, 2, 9, 9}, 5);
    t = call(&r, "c", (int64_t[]){2, 1}, (double[]){1, 2, 3});
    expect_values(&t, (double[]){1, 2, 3}, 3);
    t = call(&r, "m", (int64_t[]){2, 2}, (double[]){1, 2, 3, 4, 10, 100});
    expect_values(&t, (double[]){210, 430}, 2);
    t = call(&r, "g", (int64_t[]){3, 2}, (double[]){7, 8, 1, 0, 1});
    expect_values(&t, (double[]){8, 7, 8}, 3);
    t = call(&r, "q", (int64_t[]){2}, (double[]){1, -1, 2, -1, 3, -1});
    expect_values(&t, (double[]){1, 0, 2, 3}, 4);
    close_run(&r);
}

static void reductions(void **state) {
    (void)state;
    Run r;
    open_good(&r, "def v[N, M](x: [N, M]) -> [M] = var(x, over = N)\n"
                  "def a[N, M](x: [N, M]) -> [N] = sum(x * x, axis = 1)\n"
                  "def n[N](x: [N]) -> int = argmax(x, axis = 0)\n"
                  "def b[N](x: [N]) -> bool = any(x > 3) and all(x > 0)\n"
                  "def w[N](x: [N, 3]) -> [N] = prod(x, axis = 1)\n"
                  "def e[N](x: [N]) -> real = mean(x == 2)\n");
    Tensor t = call(&r, "v", (int64_t[]){2, 2}, (double[]){1, 2, 5, 10});
    expect_values(&t, (double[]){4, 16}, 2);
    t = call(&r, "a", (int64_t[]){2, 2}, (double[]){1, 2, 5, 10});
    expect_values(&t, (double[]){5, 125}, 2);
    t = call(&r, "n", (int64_t[]){3}, (double[]){1, 8, 8});
    expect_values(&t, (double[]){1}, 1);
    t = call(&r, "b", (int64_t[]){2}, (double[]){1, 4});
    expect_values(&t, (double[]){1}, 1);
    t = call(&r, "w", (int64_t[]){1}, (double[]){2, 3, 4});
    expect_values(&t, (double[]){24}, 1);
    t = call(&r, "e", (int64_t[]){4}, (double[]){2, 3, 4, 2});
    expect_values(&t, (double[]){0.5}, 1);
    close_run(&r);
}

static void library(void **state) {
    (void)state;
    Run r;
    open_good(&r, "def c(x: [1, 2, 3, 3], w: [2, 1, 2, 2]) -> [1, 2, 2, 2] = groupconv2d(x, w, 2)\n"
                  "def s(x: [1, 1, 3, 3], w: [1, 1, 2, 2]) -> [1, 1, 2, 2] = conv2d(x, w, stride = "
                  "2, pad = [1, 1, 0, 0])\n"
                  "def m(x: [1, 1, 2, 4]) -> [1, 1, 1, 2] = maxpool(x, 2)\n"
                  "def g(x: [2, 2], w: [2, 2]) -> [2, 2] = vjp(relu(x @ w), w, x)\n"
                  "def h(x: [2]) -> [2, 2] {\n  y = x[0]^2 * x[1]\n  return hessian(y, x)\n}\n");
    double x[26];
    for (int k = 0; k < 26; k++)
        x[k] = k < 18 ? k : 1;
    Tensor t = call(&r, "c", NULL, x);
    expect_values(&t, (double[]){8, 12, 20, 24, 44, 48, 56, 60}, 8);
    t = call(&r, "s", NULL, (double[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 10, 100, 1000});
    expect_values(&t, (double[]){1000, 3200, 7040, 9865}, 4);
    t = call(&r, "m", NULL, (double[]){1, 2, 3, 4, 8, 7, 6, 5});
    expect_values(&t, (double[]){8, 6}, 2);
    t = call(&r, "g", NULL, (double[]){1, 2, 3, 4, 1, 0, 0, 1});
    expect_values(&t, (double[]){10, 14, 14, 20}, 4);
    close_run(&r);
}

static void normalised(void **state) {
    (void)state;
    Run r;
    open_good(&r, "def s[N, K](x: [N, K]) -> [K, N] = softmax(x, over = K)'\n"
                  "def l[N, K](x: [N, K]) -> [N] = for n < N => logsumexp(x[n])\n"
                  "model u(x: [1, 1, 2, 2]) -> [1, 1, 4, 4] {\n"
                  "  y = convtranspose(x, 1, 2, stride = 2)\n  return y\n}\n");
    Tensor t = call(&r, "s", (int64_t[]){2, 2}, (double[]){0, log(3), 5, 5});
    expect_near(&t, (double[]){0.25, 0.5, 0.75, 0.5}, 4, 1e-12);
    t = call(&r, "l", (int64_t[]){1, 2}, (double[]){1000, 1000});
    expect_near(&t, (double[]){1000 + log(2)}, 1, 1e-12);
    t = call(&r, "u.forward", NULL, (double[]){1, 2, 3, 4, 1, 10, 100, 1000, 0});
    expect_near(&t,
                (double[]){1, 10, 2, 20, 100, 1000, 200, 2000, 3, 30, 4, 40, 300, 3000, 400, 4000},
                16, 1e-12);
    close_run(&r);
}

static void hessians(void **state) {
    (void)state;
    Run r;
    open_good(&r, "def h[D](x: [D]) -> [D, D] {\n  u = x * x\n  s = sum(u)\n"
                  "  return hessian(s * s, x)\n}\n"
                  "def n[N, D](w: [D], X: [N, D], y: bool[N]) -> [D, D] {\n"
                  "  L = sum(logpdf(Bernoulli(logit = X @ w), y))\n  return hessian(L, w)\n}\n");
    Tensor t = call(&r, "h", (int64_t[]){2}, (double[]){1, 2});
    expect_near(&t, (double[]){8 * 1 + 20, 8 * 2, 8 * 2, 8 * 4 + 20}, 4, 1e-5);
    t = call(&r, "n", (int64_t[]){1, 2}, (double[]){0, 0, 1, 2, 1});
    expect_near(&t, (double[]){-0.25, -0.5, -0.5, -1}, 4, 1e-5);
    close_run(&r);
}

static void mixtures(void **state) {
    (void)state;
    Run r;
    open_good(&r, "estimator e[N, K = 2] {\n  data y: [N]\n  param w: simplex[K]\n  param m: [K]\n"
                  "  y ~ Mixture(w, Normal(m, 1))\n}\n");
    Tensor t = call(&r, "e.loglik", (int64_t[]){2}, (double[]){0, 1, 0.25, 0.75, 0, 2});
    double c = log(1 / sqrt(2 * acos(-1)));
    double want = log(0.25 + 0.75 * exp(-2)) + log(exp(-0.5)) + 2 * c;
    expect_near(&t, &want, 1, 1e-12);
    close_run(&r);
}

/* ---- models and estimators */

static const char *const coin =
    "estimator coin[N](a: positive = 2, b: positive = 3) {\n  data x: bool[N]\n  param phi: prob\n"
    "  phi ~ Beta(a, b)\n  x ~ Bernoulli(phi)\n}\n";

static void terms(void **state) {
    (void)state;
    Run r;
    open_good(&r, coin);
    Func *f = graph_func_named(r.m, str_of(r.ctx, "coin.loglik"));
    assert_int_equal(f->params.n, 4); /* x, phi, a, b */
    Tensor t = call(&r, "coin.loglik", (int64_t[]){3}, (double[]){1, 0, 1, 0.25, 2, 3});
    expect_values(&t, (double[]){2 * log(0.25) + log(0.75)}, 1);
    t = call(&r, "coin.logprior", (int64_t[]){3}, (double[]){0.25, 2, 3});
    expect_values(&t, (double[]){log(12) + log(0.25) + 2 * log(0.75)}, 1);
    assert_int_equal(r.m->blocks.n, 1);
    assert_int_equal(r.m->blocks.p[0]->formals.n, 2);
    close_run(&r);
}

static const char *const net =
    "const t: bool[1, 2] = mask(\"X.\")\n"
    "model net[N](x: [N, 1, 3, 3]) -> [N, 2] {\n"
    "  c = x |> conv(2, 2, connect = t, gain = 4) |> sigmoid\n"
    "  return c |> meanpool(2) |> flatten |> dense(2)\n}\n"
    "estimator e[N] {\n  data x: [N, 1, 3, 3]\n  data y: index(2)[N]\n  z = net(x / 2)\n"
    "  y ~ Categorical(logit = z)\n  z.* ~ Normal(0, 1)\n"
    "  report error = mean(argmax(z, axis = 1) != y)\n"
    "  using adam(lr = 0.1 * (1 + epoch), batch = 4, epochs = 2)\n}\n";

static void training(void **state) {
    (void)state;
    Run r;
    open_good(&r, net);
    const char *const parts[] = {"net.forward", "net.init", "e.loglik",  "e.logprior",
                                 "e.init",      "e.report", "e.predict", "e.update"};
    for (int k = 0; k < 8; k++)
        assert_non_null(graph_func_named(r.m, str_of(r.ctx, parts[k])));
    const AbiBlock *b = r.m->blocks.p[1];
    assert_int_equal(b->params.n, 4);
    assert_string_equal(b->params.p[0].path, "z.c.w");
    int64_t learned;
    assert_true(dim_is_const(b->params.p[0].learned, &learned));
    assert_int_equal(learned, 4);
    const AbiMask *mask = b->params.p[0].mask;
    assert_true(mask && mask->rank == 2 && mask->n_learned == 1 && !b->params.p[1].mask);
    assert_true(mask->axis[0] == 1 && mask->axis[1] == 0 && mask->extent[1] == 2);
    assert_int_equal(b->opts.n, 9); /* the header, and two for each parameter */
    assert_true(b->using_.present && b->using_.batch == 4 && b->using_.epochs == 2);
    assert_string_equal(b->using_.rows->name, "N");
    close_run(&r);
}

/* A state that no new parameter reads, be it by way of other states, takes no part in `opt`. */
static void states_that_nothing_reads(void **state) {
    (void)state;
    static const struct {
        const char *body, *formals, *call;
        int opts; /* with the header */
        const char *last;
    } rows[] = {
        {"", "", "sgd(lr = 0.1)", 2, "q"},
        {"", "", "sgd(momentum = 0, decay = 0.1)", 2, "q"},
        {"", "", "sgd(momentum = 0.9)", 4, "q.v"},
        {"", "(m: real = 0)", "sgd(momentum = m)", 4, "q.v"},
        {"", "", "sgd(momentum = 0.1 * epoch)", 4, "q.v"},
        {"  state a: real = 0\n  a := a + g\n  p := p - g\n", "", "o()", 2, "q"},
        {"  state a: real = 0\n  state b: real = 0\n  a := a + b\n  b := b + g\n  p := p - g\n", "",
         "o()", 2, "q"},
        {"  state a: real = 0\n  state b: real = 0\n  a := a + g\n  b := b + a\n  p := p - b\n", "",
         "o()", 6, "q.b"},
        {"  state a: real = 0\n  state b: real = 0\n  a := g\n  b := b + g\n  p := p - b * a\n", "",
         "o()", 4, "q.b"},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        Run r;
        Ctx *scratch = ctx_new(0);
        open_good(
            &r,
            str_fmt(
                scratch,
                "optimizer o(p, g) {\n%s}\nestimator e[N]%s {\n  data x: [N, 3]\n  data y: [N]\n  param w: [3]\n"
                "  param q: positive\n  y ~ Normal(x @ w, q)\n  using %s\n}\n",
                *rows[k].body ? rows[k].body : "  p := p - g\n", rows[k].formals, rows[k].call));
        const AbiBlock *b = r.m->blocks.p[0];
        const Func *f = graph_func_named(r.m, str_of(r.ctx, "e.update"));
        assert_int_equal(b->opts.n, rows[k].opts);
        assert_string_equal(b->opts.p[b->opts.n - 1].path, rows[k].last);
        assert_int_equal(f->results.n, 2 + b->opts.n - 1);
        int64_t at = 0, offset;
        for (int i = 0; i < b->opts.n; i++) { /* they stand side by side */
            assert_true(dim_is_const(b->opts.p[i].offset, &offset));
            assert_int_equal(offset, at);
            at += i == 0 ? 16 : 4 * (b->opts.p[i].type.rank ? 3 : 1);
        }
        for (int i = 0; i < f->results.n; i++)
            if (f->results.p[i].role == RES_NEW_OPT)
                assert_string_equal(f->results.p[i].name, f->params.p[f->results.p[i].of].name);
        close_run(&r);
        ctx_free(scratch);
    }
}

static void prior_paths(void **state) {
    (void)state;
    static const struct {
        const char *path;
        int densities; /* of z.w, z.a.w, z.a.b, z.c.w, z.c.b */
    } rows[] = {{"z.*", 5}, {"z.*.w", 3}, {"z.a.b", 1}, {"z.*.b", 2}, {"z.c.*", 2}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        Run r;
        Ctx *scratch = ctx_new(0);
        open_good(&r, str_fmt(scratch,
                              "model m[N, D](x: [N, D]) -> [N, 2] {\n  param w: [D]\n"
                              "  a = dense(x * w, 4)\n  c = dense(a, 2)\n  return c\n}\n"
                              "estimator e[N] {\n  data x: [N, 3]\n  data y: [N, 2]\n  z = m(x)\n"
                              "  y ~ Normal(z, 1)\n  %s ~ Normal(0, 1)\n}\n",
                              rows[k].path));
        const Func *f = graph_func_named(r.m, str_of(r.ctx, "e.logprior"));
        int n = 0;
        for (int i = 0; i < f->insts.n; i++)
            n += f->insts.p[i]->op == &op_density;
        assert_int_equal(n, rows[k].densities);
        close_run(&r);
        ctx_free(scratch);
    }
}

/* An init gets no work memory: beside the results there are only the step's zero and the draws. */
static void initial_values(void **state) {
    (void)state;
    Run r;
    open_good(&r, "estimator e[N, D] {\n  data X: [N, D]\n  data y: [N]\n"
                  "  state m: [D] = 2 * X[0]\n  param w: [D] = he(D)\n  param p: prob\n"
                  "  y ~ Normal((X - m) @ w + p, 1)\n  using sgd()\n}\n");
    const Func *f = graph_func_named(r.m, str_of(r.ctx, "e.init"));
    assert_int_equal(f->params.n, 2); /* X and the seed */
    assert_int_equal(f->results.n, 3);
    assert_int_equal(f->insts.n, 5);
    Tensor t = call(&r, "e.init", (int64_t[]){1, 2}, (double[]){1, 2, 7});
    assert_int_equal(t.count, 2);
    close_run(&r);
}

static void tests_of_files(void **state) {
    (void)state;
    Run r;
    open_run(&r,
             "def twice(x) = 2 * x\ntest \"a\" {\n  y = twice(fill([2], 3))\n  expect close(y, [6, "
             "6])\n  expect y[0] == 7\n}\n",
             true);
    assert_non_null(r.m);
    Func *f = graph_func_named(r.m, str_of(r.ctx, "a"));
    assert_int_equal(f->results.n, 2);
    assert_string_equal(f->results.p[1].name, "5:3");
    Interp in = {.ctx = r.ctx, .arena = &r.arena, .m = r.m};
    Tensor out[2];
    assert_true(interp_run(&in, f, NULL, 0, NULL, out));
    assert_true(out[0].i[0] == 1 && out[1].i[0] == 0);
    close_run(&r);
}

/* ---- errors */

static void wrong_programs(void **state) {
    (void)state;
    static const struct {
        const char *text, *code;
        uint32_t line, col;
    } rows[] = {
        {"def f[N, M](a: [N], b: [M]) -> [N] = a + b\n", "E0312", 1, 40},
        {"def f[D](a: [D, D], b: [D]) -> [D, D] = a + b\n", "E0312", 1, 43},
        {"def f(x: [3]) -> real = x[3]\n", "E0314", 1, 27},
        {"def f[N](x: [N]) -> [N] = for i < N => x[i + 1]\n", "E0314", 1, 42},
        {"def f[N](x: [N]) -> real = sum(vlaue)\n", "E0401", 1, 32},
        {"def f[N](x: [N]) -> [N] = sigmod(x)\n", "E0406", 1, 27},
        {"def f[N](x: real) -> [N] = fill([N], x)\n", "E0433", 1, 7},
        {"def f(x: real) -> real = f(x - 1)\n", "E0414", 1, 26},
        {"def f[N](x: [N, 4]) -> [N, 2] = dense(x, 2)\n", "E0504", 1, 33},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        Run r;
        open_run(&r, rows[k].text, false);
        assert_null(r.m);
        const Diags *d = diags_of(r.ctx);
        assert_int_equal(d->n_errors, 1);
        assert_string_equal(d->all.p[0]->code, rows[k].code);
        assert_int_equal(d->all.p[0]->span.line, rows[k].line);
        assert_int_equal(d->all.p[0]->span.col, rows[k].col);
        close_run(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters),
        cmocka_unit_test(nested_sums),
        cmocka_unit_test(views),
        cmocka_unit_test(reductions),
        cmocka_unit_test(library),
        cmocka_unit_test(normalised),
        cmocka_unit_test(hessians),
        cmocka_unit_test(mixtures),
        cmocka_unit_test(prior_paths),
        cmocka_unit_test(initial_values),
        cmocka_unit_test(terms),
        cmocka_unit_test(training),
        cmocka_unit_test(states_that_nothing_reads),
        cmocka_unit_test(tests_of_files),
        cmocka_unit_test(wrong_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
