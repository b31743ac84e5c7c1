/* passes/inline.c: calls and views disappear, values stay. */
#include "pass_helper.h"

static const int64_t DIMS[] = {3};

static const char CALLS[] = "graph \"a.cnn\"\n"
                            "func \"twice\" f64 @- {\n  dims N\n"
                            "  %1: f64[N] = local \"x\" @-\n"
                            "  %2: f64[N] = nest [i] = %1[i] + %1[i] over i<N \"t\" @2:1-2:2\n"
                            "  local %2\n}\n"
                            "func \"four\" f64 @- {\n  dims N\n"
                            "  %1: f64[N] = local \"x\" @-\n"
                            "  %2: f64[N] = call{\"twice\"}(%1) \"a\" @-\n"
                            "  %3: f64[N] = call{\"twice\"}(%2) \"b\" @-\n"
                            "  local %3\n}\n"
                            "func \"f\" f64 @- {\n  dims N\n"
                            "  %1: f64[N] = input \"x\" @-\n"
                            "  %2: f64[N] = call{\"four\"}(%1) @-\n"
                            "  %3: f64[N] = call{\"twice\"}(%1) @-\n"
                            "  out \"y\" %2\n  out \"z\" %3\n}\n";

static void test_calls(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    Module *m = check_same(ctx, CALLS, "inline", "f", DIMS, WHOLE, 0);
    const char *text = graph_text(ctx, m);
    assert_int_equal(count_of(text, "call"), 0);
    assert_int_equal(count_of(text, "func "), 1); /* what only calls used is gone */
    assert_int_equal(count_of(text, "@2:1-2:2"), 3);
    ctx_free(ctx);
}

/* A convolution on a pad, a transpose and a slice is one nest. */
static void test_views(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    Module *m =
        check_same(ctx,
                   "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N\n"
                   "  %1: f64[5, N] = input \"x\" @-\n"
                   "  %2: f64[3] = input \"w\" @-\n"
                   "  %3: f64[N, 5] = nest [n, i] = %1[i, n] over n<N, i<5 @-\n"
                   "  %4: f64[N, 4] = nest [n, i] = %3[n, i + 1] over n<N, i<4 @-\n"
                   "  %5: f64[N, 6] = nest [n, i] = %4?0.0[n, i - 1] over n<N, i<6 @-\n"
                   "  %6: f64[N, 4] = nest [n, i] += %5[n, i + a] * %2[a] over n<N, i<4, a<3 @-\n"
                   "  out \"y\" %6\n}\n",
                   "inline", "f", DIMS, WHOLE, 0);
    const char *text = graph_text(ctx, m);
    /* the pad of a slice stays: outside the slice is not outside the tensor */
    assert_int_equal(count_of(text, "nest"), 2);
    /* the pad of a transpose goes with it */
    m = check_same(ctx,
                   "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N\n"
                   "  %1: f64[5, N] = input \"x\" @-\n"
                   "  %2: f64[3] = input \"w\" @-\n"
                   "  %3: f64[N, 5] = nest [n, i] = %1[i, n] over n<N, i<5 @-\n"
                   "  %4: f64[N, 7] = nest [n, i] = %3?0.0[n, i - 1] over n<N, i<7 @-\n"
                   "  %5: f64[N, 5] = nest [n, i] += %4[n, i + a] * %2[a] over n<N, i<5, a<3 @-\n"
                   "  out \"y\" %5\n}\n",
                   "inline", "f", DIMS, WHOLE, 0);
    text = graph_text(ctx, m);
    assert_int_equal(count_of(text, "nest"), 1);
    if (!strstr(text, "+= %1?0.0[a + i - 1, n] * %2[a]"))
        fail_msg("%s", text);
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_calls), cmocka_unit_test(test_views)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
