/* Sums "in f64" (Nest.wide): means and variances of f32 over any number of rows lose no digits to
 * their length. */
#include "graph_helper.h"
#include "jit_helper.h"

#include <stdlib.h>

enum { CHANNELS = 3, MOST = 4 * CHANNELS * 224 * 224 };

/* Around 1000, with deviations in -1 .. 1: a variance of about 1/3. */
static void fill(float *x, int64_t n) {
    uint64_t s = 7;
    for (int64_t k = 0; k < n; k++) {
        s = s * 6364136223846793005u + 1442695040888963407u;
        x[k] = 1000 + (float)((double)(s >> 40) * 0x1p-23 - 1);
    }
}

/* x[n, c, points]: mean and variance of every channel. */
static void reference(const float *x, int64_t n, int64_t points, double *mean, double *var) {
    for (int64_t c = 0; c < CHANNELS; c++) {
        double sum = 0, squares = 0;
        for (int64_t k = 0; k < n * points; k++)
            sum += (double)x[(k / points * CHANNELS + c) * points + k % points] - 1000;
        sum /= (double)(n * points);
        for (int64_t k = 0; k < n * points; k++) {
            double d = (double)x[(k / points * CHANNELS + c) * points + k % points] - 1000 - sum;
            squares += d * d;
        }
        mean[c] = 1000 + sum;
        var[c] = squares / (double)(n * points);
    }
}

static void close_to(const char *what, const char *text, double a, double b) {
    if (fabs(a - b) > 1.5e-7 * fabs(b))
        fail_msg("%s: %.9g for %.9g\n%s", what, a, b, text);
}

/* Rows of `points` pixels; with `product`, rows run in slices. */
static void check(int64_t n, int64_t height, int64_t width, bool product) {
    Ctx *ctx = ctx_new(0);
    const AbiEntry *e;
    const char *text =
        str_fmt(ctx,
                "def f[N](x: [N, 3, %d, %d]) -> [2, 3] {\n  m = mean(x, axis = [0, 2, 3])\n"
                "  return [m, %s(x, axis = [0, 2, 3])]\n}\n",
                (int)height, (int)width, product ? "var" : "mean");
    Jit *j = open_text(ctx, text, DT_F32, &e);
    float *x = malloc(MOST * sizeof *x), out[2 * CHANNELS];
    double mean[CHANNELS], var[CHANNELS];
    fill(x, n * CHANNELS * height * width);
    DimValue dims[1] = {{e->args.p[1].dim, n}};
    void *work = malloc(codegen_work_bytes(e, dims, 1) + 1);
    CnncArg args[] = {{.p = NULL}, {.i = n}, {.p = x}, {.p = out}, {.p = work}};
    assert_int_equal(e->args.n, 5);
    assert_int_equal(jit_call(j, e->cname, args), 0);
    reference(x, n, height * width, mean, var);
    for (int c = 0; c < CHANNELS; c++) {
        close_to("a mean", text, (double)out[c], mean[c]);
        close_to("the second", text, (double)out[CHANNELS + c], product ? var[c] : mean[c]);
    }
    free(work);
    free(x);
    jit_close(j);
    ctx_free(ctx);
}

static void statistics_of_many_terms(void **state) {
    (void)state;
    static const int64_t sizes[][3] = {{512, 1, 1},   {512, 8, 8}, {83, 32, 32},
                                       {4, 224, 224}, {3, 100, 7}, {1, 5, 1000}};
    for (int k = 0; k < 6; k++)
        for (int product = 0; product < 2; product++)
            check(sizes[k][0], sizes[k][1], sizes[k][2], product);
}

static const char *lowered(Ctx *ctx, const char *text, DType real) {
    AstFile *file = parse_file(ctx, ctx_add_file(ctx, "test.cnn", text, strlen(text)));
    LowerOptions lower = {.real = real};
    Module *m = frontend_lower(ctx, &ctx->perm, file, &lower);
    return graph_text(ctx, m);
}

/* Neither a mean of a known number of terms nor one that is f64 anyway. */
static void only_where_there_may_be_many(void **state) {
    (void)state;
    static const char rows[] = "def f[N](x: [N, 8]) -> [8] = mean(x, axis = 0)\n",
                      columns[] = "def f[N](x: [N, 8]) -> [N] = var(x, axis = 1)\n";
    Ctx *ctx = ctx_new(0);
    assert_non_null(strstr(lowered(ctx, rows, DT_F32), " in f64"));
    assert_null(strstr(lowered(ctx, rows, DT_F64), " in f64"));
    assert_null(strstr(lowered(ctx, columns, DT_F32), " in f64"));
    ctx_free(ctx);
}

static const char *module(Ctx *ctx, const char *sum, const char *type) {
    return str_fmt(
        ctx,
        "graph \"t.ir\"\nfunc \"f\" f32 @- {\n  dims N\n  %%1: f32[N, 4] = input \"x\" @-\n"
        "  %%2: %s[4] = nest [c] %s %%1[n, c] over c<4, n<N in f64 @-\n  out \"y\" %%2\n}\n",
        type, sum);
}

static void text_and_verifier(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    static const char *const types[] = {"f32", "f64"}; /* f64: the sum over a slice of rows */
    for (int k = 0; k < 2; k++) {
        const char *text = module(ctx, "+=", types[k]);
        Module *m = graph_parse(ctx, text);
        if (!m)
            fail_msg("%s", graph_messages(ctx));
        assert_string_equal(graph_text(ctx, m), text);
        assert_null(graph_verify(m));
    }
    Module *max = graph_parse(ctx, module(ctx, "max=", "f32"));
    assert_true(!max || graph_verify(max));
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statistics_of_many_terms),
        cmocka_unit_test(only_where_there_may_be_many),
        cmocka_unit_test(text_and_verifier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
