/* passes/ad.c: derivatives against the interpreter's differences and against what is known. */
#include "pass_helper.h"

#define HEAD "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N\n"

static const int64_t SMALL[] = {3};

/* The reverse sweep gives what central differences give. */
static void check_numeric(const char *text, Inputs kind) {
    Ctx *ctx = ctx_new(0);
    Module *m = check_same(ctx, text, "ad", "f", SMALL, kind, 1e-6);
    assert_null(strstr(graph_text(ctx, m), "vjp"));
    ctx_free(ctx);
}

/* A convolution with zero padding, a bias, sigmoid, max pooling and a sum of squares. */
static void test_layer(void **state) {
    (void)state;
    check_numeric(
        HEAD
        "  %1: f64[N, 6] = input \"x\" @-\n"
        "  %2: f64[2, 3] = param \"w\" tensor 0 @-\n"
        "  %3: f64[2] = param \"b\" tensor 1 @-\n"
        "  %4: f64[N, 2, 6] = nest [n, c, i] += %1?0.0[n, i + a - 1] * %2[c, a] over n<N, c<2, "
        "i<6, a<3 \"L.conv\" @1:1-1:2\n"
        "  %5: f64[N, 2, 6] = nest [n, c, i] = sigmoid(%4[n, c, i] + %3[c]) over n<N, c<2, i<6 @-\n"
        "  %6: f64[N, 2, 3] = nest [n, c, i] max= %5[n, c, 2*i + a] over n<N, c<2, i<3, a<2 @-\n"
        "  %7: f64 = nest [] += %6[n, c, i] * %6[n, c, i] over n<N, c<2, i<3 @-\n"
        "  %8: f64 = nest [] = 1.0 over @-\n"
        "  %9: f64[N, 6], %10: f64[2, 3], %11: f64[2] = vjp{3}(%7, %8, %1, %2, %3) @-\n"
        "  out \"x\" %9\n  out \"w\" %10\n  out \"b\" %11\n}\n",
        REALS);
}

/* One operand read twice through different maps, and used by two instructions: cotangents are
 * added. */
static void test_shared_operand(void **state) {
    (void)state;
    check_numeric(HEAD "  %1: f64[N] = input \"x\" @-\n"
                       "  %2: f64[N] = nest [i] = %1[i] * %1[N - 1 - i] over i<N @-\n"
                       "  %3: f64 = nest [] += exp(%2[i]) * %1[i] over i<N @-\n"
                       "  %4: f64 = nest [] = %3[] * 0.5 over @-\n"
                       "  %5: f64[N] = vjp{1}(%3, %4, %1) @-\n"
                       "  out \"d\" %5\n}\n",
                  REALS);
}

/* What an initial value was, what is selected, and what is cast, pass derivatives on; minima too.
 */
static void test_init_select_min(void **state) {
    (void)state;
    check_numeric(
        HEAD
        "  %1: f64[N] = input \"x\" @-\n"
        "  %2: f64 = input \"y\" @-\n"
        "  %3: f64 = nest [] += %1[i] * %2[] over i<N from %2 @-\n"
        "  %4: f64[N] = nest [i] = select(%1[i] < 0.25, %1[i] * %3[], log(%1[i])) over i<N @-\n"
        "  %5: f64 = nest [] min= %4[i] over i<N @-\n"
        "  %6: f64 = nest [] += %4[i] * %5[] over i<N @-\n"
        "  %7: f64 = nest [] = 2.0 over @-\n"
        "  %8: f64[N], %9: f64 = vjp{2}(%6, %7, %1, %2) @-\n"
        "  out \"x\" %8\n  out \"y\" %9\n}\n",
        POSITIVES);
}

/* Ties of a maximum: the first one takes the whole cotangent. */
static void test_ties(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    Module *m = must_read(ctx, HEAD "  %1: f64[N] = input \"x\" @-\n"
                                    "  %2: f64[N] = nest [i] = %1[i] * 0.0 over i<N @-\n"
                                    "  %3: f64 = nest [] max= %2[i] over i<N @-\n"
                                    "  %4: f64 = nest [] = 7.0 over @-\n"
                                    "  %5: f64[N] = vjp{1}(%3, %4, %2) @-\n"
                                    "  out \"d\" %5\n}\n");
    run_passes(ctx, m, "ad");
    Tensor *r = must_run(ctx, m, "f", SMALL, REALS);
    assert_true(r->f[0] == 7 && r->f[1] == 0 && r->f[2] == 0);
    ctx_free(ctx);
}

/* y = sum x^3: the derivative of sum (dy/dx) v with respect to x is 6 x v, exactly; v's own is 3
 * x^2. */
static void test_second_derivative(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    Module *m = must_read(ctx, HEAD "  %1: f64[N] = input \"x\" @-\n"
                                    "  %2: f64[N] = input \"v\" @-\n"
                                    "  %3: f64 = nest [] += %1[i] * %1[i] * %1[i] over i<N @-\n"
                                    "  %4: f64 = nest [] = 1.0 over @-\n"
                                    "  %5: f64[N] = vjp{1}(%3, %4, %1) @-\n"
                                    "  %6: f64 = nest [] += %5[i] * %2[i] over i<N @-\n"
                                    "  %7: f64[N], %8: f64[N] = vjp{2}(%6, %4, %1, %2) @-\n"
                                    "  out \"hv\" %7\n  out \"g\" %8\n}\n");
    run_passes(ctx, m, "ad");
    Tensor *r = must_run(ctx, m, "f", SMALL, WHOLE);
    for (int k = 0; k < 3; k++) {
        double x = input_at(WHOLE, 0, k), v = input_at(WHOLE, 1, k);
        assert_true(r[0].f[k] == 6 * x * v);
        assert_true(r[1].f[k] == 3 * x * x);
    }
    ctx_free(ctx);
}

/* stop hides its operand; a w that another w computes is free; what y does not depend on has
 * derivative 0. */
static void test_stop_and_free(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    Module *m =
        must_read(ctx, HEAD "  %1: f64[N] = input \"x\" @-\n"
                            "  %2: f64[N] = input \"u\" @-\n"
                            "  %3: f64[N] = nest [i] = %1[i] * 5.0 over i<N @-\n"
                            "  %4: f64[N] = stop(%1) @-\n"
                            "  %5: f64 = nest [] += %1[i] * %4[i] + %3[i] * 2.0 over i<N @-\n"
                            "  %6: f64 = nest [] = 1.0 over @-\n"
                            "  %7: f64[N], %8: f64[N], %9: f64[N] = vjp{3}(%5, %6, %1, %3, %2) @-\n"
                            "  out \"x\" %7\n  out \"z\" %8\n  out \"u\" %9\n}\n");
    run_passes(ctx, m, "ad");
    Tensor *r = must_run(ctx, m, "f", SMALL, WHOLE);
    for (int k = 0; k < 3; k++) {
        assert_true(r[0].f[k] == input_at(WHOLE, 0, k));
        assert_true(r[1].f[k] == 2);
        assert_true(r[2].f[k] == 0);
    }
    ctx_free(ctx);
}

/* No derivative multiplies in a branch that is not taken: log(0) in it leaves no NaN. */
static void test_branch_not_taken(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    Module *m = must_read(
        ctx,
        HEAD "  %1: f64[N] = input \"x\" @-\n"
             "  %2: f64[N] = nest [i] = %1[i] - %1[i] over i<N @-\n"
             "  %3: f64[N] = nest [i] = select(0.0 < %2[i], log(%2[i]), 3.0 * %2[i]) over i<N @-\n"
             "  %4: f64 = nest [] += %3[i] over i<N @-\n"
             "  %5: f64 = nest [] = 1.0 over @-\n"
             "  %6: f64[N] = vjp{1}(%4, %5, %2) @-\n"
             "  out \"d\" %6\n}\n");
    run_passes(ctx, m, "ad");
    Tensor *r = must_run(ctx, m, "f", SMALL, REALS);
    for (int k = 0; k < 3; k++)
        assert_true(r->f[k] == 3);
    ctx_free(ctx);
}

/* The backward nests of a named instruction carry its span and its name with the operand's. */
static void test_names(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    Module *m = must_read(
        ctx, HEAD "  %1: f64[N, 4] = input \"L.x\" @-\n"
                  "  %2: f64[4] = param \"L.w\" tensor 0 @-\n"
                  "  %3: f64[N] = nest [n] += %1[n, i] * %2[i] over n<N, i<4 \"L.y\" @3:4-3:9\n"
                  "  %4: f64[N], %5: f64[N, 4], %6: f64[4] = vjp{3}(%3, %3, %3, %1, %2) @-\n"
                  "  out \"y\" %4\n  out \"x\" %5\n  out \"w\" %6\n}\n");
    run_passes(ctx, m, "ad");
    const char *text = graph_text(ctx, m);
    assert_null(strstr(text, "bwd")); /* %3 is free: nothing to sweep */
    m = must_read(ctx, HEAD
                  "  %1: f64[N, 4] = input \"L.x\" @-\n"
                  "  %2: f64[4] = param \"L.w\" tensor 0 @-\n"
                  "  %3: f64[N] = nest [n] += %1[n, i] * %2[i] over n<N, i<4 \"L.y\" @3:4-3:9\n"
                  "  %4: f64[N, 4], %5: f64[4] = vjp{2}(%3, %3, %1, %2) @-\n"
                  "  out \"x\" %4\n  out \"w\" %5\n}\n");
    run_passes(ctx, m, "ad");
    text = graph_text(ctx, m);
    assert_non_null(strstr(text, "\"L.y.bwd.x\" @3:4-3:9"));
    assert_non_null(strstr(text, "\"L.y.bwd.w\" @3:4-3:9"));
    ctx_free(ctx);
}

/* Of a box extent that is a product, and of a scatter's kind: reshape is an op with a derivative of
 * its own. */
static void test_reshape(void **state) {
    (void)state;
    check_numeric(HEAD "  %1: f64[N, 4] = input \"x\" @-\n"
                       "  %2: f64[4*N] = reshape(%1) @-\n"
                       "  %3: f64 = nest [] += sin(%2[i]) * f64({i}) over i<4*N @-\n"
                       "  %4: f64 = nest [] = 1.0 over @-\n"
                       "  %5: f64[N, 4] = vjp{1}(%3, %4, %1) @-\n"
                       "  out \"d\" %5\n}\n",
                  REALS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layer),
        cmocka_unit_test(test_shared_operand),
        cmocka_unit_test(test_init_select_min),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_second_derivative),
        cmocka_unit_test(test_stop_and_free),
        cmocka_unit_test(test_branch_not_taken),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_reshape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
