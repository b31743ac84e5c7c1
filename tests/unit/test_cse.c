/* passes/cse.c, passes/dce.c: equal work is done once, work for nothing not at all. */
#include "pass_helper.h"

static const int64_t DIMS[] = {3};

static const char TWINS[] =
    "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N\n"
    "  %1: f64[N] = input \"x\" @-\n"
    "  %2: i64 = seed \"seed\" @-\n"
    "  %3: f64[N] = nest [i] = exp(%1[i]) * 2.0 over i<N @-\n"
    "  %4: f64[N] = nest [j] = exp(%1[j]) * 2.0 over j<N @-\n"
    "  %5: f64[N] = nest [j] = exp(%1[j]) * 3.0 over j<N @-\n"
    "  %6: f64 = nest [] += %3[i] over i<N @-\n"
    "  %7: f64 = nest [] += %4[k] over k<N @-\n"
    "  %8: f64[N] = random{uniform site 1 row0 0 axis 0}(%2, %2) @-\n"
    "  %9: f64[N] = random{uniform site 1 row0 0 axis 0}(%2, %2) @-\n"
    "  %10: f64[N] = random{uniform site 2 row0 0 axis 0}(%2, %2) @-\n"
    "  %11: f64 = nest [] += %5[i] + %8[i] + 2.0 * %9[i] + 4.0 * %10[i] over i<N @-\n"
    "  out \"a\" %6\n  out \"b\" %7\n  out \"c\" %11\n}\n";

static void test_twins(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *text = graph_text(ctx, check_same(ctx, TWINS, "cse", "f", DIMS, WHOLE, 0));
    assert_int_equal(count_of(text, "nest"), 4);   /* exp 2, exp 3, one sum, the last */
    assert_int_equal(count_of(text, "random"), 2); /* another site is another draw */
    ctx_free(ctx);
}

static void test_dead(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *text =
        graph_text(ctx, check_same(ctx,
                                   "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N\n"
                                   "  %1: f64[N] = input \"x\" @-\n"
                                   "  %2: f64[N] = nest [i] = exp(%1[i]) over i<N @-\n"
                                   "  %3: f64[N] = nest [i] = log(%2[i]) over i<N @-\n"
                                   "  %4: f64 = nest [] max= %1[i] over i<N @-\n"
                                   "  %5: bool = nest [] = %4[] < 100.0 over @-\n"
                                   "  require{\"x is large\" @1:1-1:2}(%5) @-\n"
                                   "  %6: f64[N] = nest [i] = %1[i] + 1.0 over i<N @-\n"
                                   "  out \"y\" %6\n}\n",
                                   "dce", "f", DIMS, WHOLE, 0));
    assert_int_equal(count_of(text, "nest"), 3);
    assert_int_equal(count_of(text, "require"), 1);
    assert_null(strstr(text, "exp"));
    ctx_free(ctx);
}

/* A requirement that fails still ends the call after both passes. */
static void test_effects_stay(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    Module *m = must_read(ctx, "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N\n"
                               "  %1: f64[N] = input \"x\" @-\n"
                               "  %2: bool = nest [] = {N} < 3 over @-\n"
                               "  require{\"N is too large\" @4:1-4:2}(%2) @-\n"
                               "  out \"y\" %1\n}\n");
    run_passes(ctx, m, "cse dce");
    const char *status = NULL;
    assert_null(run_graph(ctx, m, graph_func_named(m, str_of(ctx, "f")), DIMS, WHOLE, &status));
    assert_non_null(strstr(status, "N is too large"));
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_twins), cmocka_unit_test(test_dead),
                                       cmocka_unit_test(test_effects_stay)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
