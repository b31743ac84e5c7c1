/* ir/interp: the meaning of nests and ops on small examples in text, and the statuses that end a
 * call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/graph_helper.h"

/* One function f over an f64 input x of 6 elements, and what follows. */
static const char head[] = "graph \"t.cnn\"\nfunc \"f\" f64 @- {\n  %1: f64[6] = input \"x\" @-\n";

typedef struct Example {
    const char *lines; /* instructions from %2 on and `out` */
    int n;
    double out[6]; /* or: */
    const char *status;
} Example;

static const double input[6] = {1, -2, 3, 3, -5, 0.5};

static const Example examples[] = {
    {"  %2: f64 = nest [] += %1[i] over i<6 @-\n  out %2\n", 1, {0.5}, NULL},
    {"  %2: f64[3] = nest [i] max= %1[2*i + j] over i<3, j<2 @-\n  out %2\n", 3, {1, 3, 0.5}, NULL},
    {"  %2: i32 = nest [] argmax= %1[i] over i<6 @-\n  out %2\n", 1, {2}, NULL},
    {"  %2: i32[2] = nest [i] argmax= %1[j] over i<2, j<6 where 0 <= j - 6*i < 6 @-\n  out %2\n",
     2,
     {2, -1},
     NULL},
    {"  %2: f64[6] = nest [i] = %1?9.0[i - 1] over i<6 @-\n  out %2\n",
     6,
     {9, 1, -2, 3, 3, -5},
     NULL},
    {"  %2: f64[3] = nest [i] = %1[i] over i<3 where 0 <= i - 1 < 2 @-\n  out %2\n",
     3,
     {0, -2, 3},
     NULL},
    {"  %2: f64[3] = nest [i] += %1[i + j] over i<3, j<2 then acc * {i} f64 @-\n  out %2\n",
     0,
     {0},
     "E"},
    {"  %2: f64[3] = nest [i] += %1[i + j] over i<3, j<2 then acc * f64({i}) @-\n  out %2\n",
     3,
     {0, 1, 12},
     NULL},
    {"  %2: f64[6] = nest [i] += %1[0] over i<6 where 0 <= i - 4 < 2 from %1 @-\n  out %2\n",
     6,
     {1, -2, 3, 3, -4, 1.5},
     NULL},
    {"  %2: f64[6] = nest [i] = select(0.0 < %1[i], log(%1[i]), 0.0) over i<6 @-\n  %3: f64[6] = "
     "nest [i] = %2[i] over i<6 from %1 @-\n"
     "  %4: f64[2, 3] = reshape(%1) @-\n  %5: f64[3, 2] = nest [i, j] = %4[j, i] over i<3, j<2 "
     "@-\n  out %5\n",
     6,
     {1, 3, -2, -5, 3, 0.5},
     NULL},
    {"  %2: i32[3] = const{5, 0, 0} @-\n  %3: f64[3] = gather{at 0}(%1, %2) @-\n  out %3\n",
     3,
     {0.5, 1, 1},
     NULL},
    {"  %2: i32[3] = const{5, 0, 0} @-\n  %3: f64[3] = const{1.0, 2.0, 4.0} @-\n  %4: f64[6] = "
     "scatter_add{at 0}(%1, %2, %3) @-\n  out %4\n",
     6,
     {7, -2, 3, 3, -5, 1.5},
     NULL},
    {"  %2: i32[1] = const{6} @2:1-2:2\n  %3: f64[1] = gather{at 0}(%1, %2) @7:1-7:2\n  out %3\n",
     0,
     {0},
     "line 7: the subscript 6 is outside 0..5"},
    {"  %2: bool = nest [] = %1[0] < 0.0 over @-\n  require{\"x is positive\" @3:1-3:2}(%2) @-\n  "
     "out %1\n",
     0,
     {0},
     "line 3: x is positive"},
    {"  %2: f64[6] = nest [i] = %1[i + 1] over i<6 @-\n  out %2\n",
     0,
     {0},
     "a subscript of operand 0 is 6, outside 0..5"},
    {"  %2: f64[6] = nest [i] = %1[i] * %1[i] over i<6 @-\n  %3: f64[6] = vjp{1}(%2, %1, %1) @-\n  "
     "out %3\n",
     6,
     {2, 8, 18, 18, 50, 0.5},
     NULL},
    {"  %2: f64[6] = stop(%1) @-\n  %3: f64[6] = nest [i] = %1[i] * %2[i] over i<6 @-\n  %4: "
     "f64[6] = vjp{1}(%3, %1, %1) @-\n  out %4\n",
     6,
     {1, 4, 9, 9, 25, 0.25},
     NULL},
    {"  %2: f64[2, 2] = const{4.0, 2.0, 2.0, 10.0} @-\n  %3: f64[2, 2] = cholesky(%2) @-\n  out "
     "%3\n",
     4,
     {2, 0, 1, 3},
     NULL},
    {"  %2: f64[2, 2] = const{0.0, 2.0, 1.0, 1.0} @-\n  %3: f64[2] = const{4.0, 5.0} @-\n  %4: "
     "f64[2] = solve(%2, %3) @-\n  out %4\n",
     2,
     {3, 2},
     NULL},
    {"  %2: f64[3, 2] = const{1.0, 0.0, 1.0, 1.0, 1.0, 2.0} @-\n  %3: f64[3] = const{1.0, 3.0, "
     "5.0} @-\n  %4: f64[2] = lstsq(%2, %3) @-\n  out %4\n",
     2,
     {1, 2},
     NULL},
};

static void check_examples(void *arg) {
    Ctx *ctx = arg;
    for (size_t k = 0; k < sizeof examples / sizeof *examples; k++) {
        const Example *e = &examples[k];
        diag_clear(ctx);
        Module *m = graph_parse(ctx, str_fmt(ctx, "%s%s}\n", head, e->lines));
        if (e->status && strcmp(e->status, "E") == 0) {
            assert_null(m);
            continue;
        }
        if (!m)
            fail_msg("%d: %s", (int)k, graph_messages(ctx));
        Tensor x = tensor_new(&ctx->perm, DT_F64, 1, (int64_t[]){6}), out;
        memcpy(x.f, input, sizeof input);
        const char *why = graph_run(ctx, m, m->funcs.p[0], &x, &out);
        if (e->status) {
            assert_non_null(why);
            assert_string_equal(why, e->status);
            continue;
        }
        if (why)
            fail_msg("%d: %s", (int)k, why);
        assert_int_equal(out.count, e->n);
        for (int j = 0; j < e->n; j++)
            if (fabs((out.f ? out.f[j] : (double)out.i[j]) - e->out[j]) > 1e-9)
                fail_msg("example %d, element %d: %g", (int)k, j,
                         out.f ? out.f[j] : (double)out.i[j]);
    }
}

static void examples_have_their_values(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    if (ctx_protect(ctx, check_examples, ctx) != CTX_OK)
        fail_msg("%s", ctx->internal);
    ctx_free(ctx);
}

static const char batch_text[] =
    "graph \"t.cnn\"\n"
    "func \"f\" f64 @- {\n"
    "  dims N\n"
    "  %1: f64[N, 3] = input \"x\" @-\n"
    "  %2: f64[3] = input \"w\" @-\n"
    "  %3: f64[N], %4: f64 = batch{\"body\" n N rows 4 groups 8 args cut whole results cat "
    "sum}(%1, %2) @-\n"
    "  out %3\n"
    "  out %4\n"
    "}\n"
    "func \"body\" f64 @- {\n"
    "  dims N, row0 >= 0, rows >= 0\n"
    "  %1: f64[3, 4] = local \"x\" @-\n"
    "  %2: f64[3] = local \"w\" @-\n"
    "  %3: f64[4] = nest [n] += %1[i, n] * %2[i] over n<4, i<3 @-\n"
    "  %4: f64 = nest [] += %3[n] + f64({row0 + n}) over n<4 where 0 <= n < rows @-\n"
    "  local %3\n"
    "  local %4\n"
    "}\n";

static void check_batch(void *arg) {
    Ctx *ctx = arg;
    Module *m = graph_parse(ctx, batch_text);
    if (!m)
        fail_msg("%s", graph_messages(ctx));
    const Func *f = m->funcs.p[0];
    Tensor x = tensor_new(&ctx->perm, DT_F64, 2, (int64_t[]){6, 3}),
           w = tensor_new(&ctx->perm, DT_F64, 1, (int64_t[]){3}), out[2];
    double sum = 0;
    for (int k = 0; k < 18; k++)
        x.f[k] = k;
    for (int k = 0; k < 3; k++)
        w.f[k] = k + 1;
    Interp in = {.ctx = ctx, .arena = &ctx->perm, .m = m};
    DimValue n = {f->dims.p[0], 6};
    assert_true(interp_run(&in, f, &n, 1, (const Tensor *[]){&x, &w}, out));
    for (int r = 0; r < 6; r++) {
        assert_true(out[0].f[r] == x.f[3 * r] + 2 * x.f[3 * r + 1] + 3 * x.f[3 * r + 2]);
        sum += out[0].f[r] + r;
    }
    assert_true(out[1].f[0] == sum);
}

static void slices_see_their_rows(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    if (ctx_protect(ctx, check_batch, ctx) != CTX_OK)
        fail_msg("%s", ctx->internal);
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_have_their_values),
        cmocka_unit_test(slices_see_their_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
