/* passes/canon.c, passes/fuse.c: guards out of selects, work out of windows, nothing computed
 * twice; values stay. */
#include "pass_helper.h"

#define HEAD "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N\n"

static const int64_t DIMS[] = {5};

/* The passes keep the values; the text after them has `part`, and so many nests. */
static void check(const char *text, const char *passes, Inputs kind, double tol, int nests,
                  const char *part) {
    Ctx *ctx = ctx_new(0);
    const char *after = graph_text(ctx, check_same(ctx, text, passes, "f", DIMS, kind, tol));
    if (count_of(after, "nest") != nests || !strstr(after, part))
        fail_msg("expected %d nests, one with `%s`:\n%s", nests, part, after);
    ctx_free(ctx);
}

static void test_guards(void **state) {
    (void)state;
    check(HEAD "  %1: f64[N, 4] = input \"m\" @-\n"
               "  %2: f64[N] = nest [i] += select({j} < {i}, %1[i, j], 0.0) over i<N, j<4 @-\n  "
               "out \"y\" %2\n}\n",
          "canon", WHOLE, 0, 1, "+= %1[i, j] over i<N, j<4 where 0 <= i - j - 1");
    check(HEAD "  %1: f64[N] = input \"x\" @-\n  %2: f64[3] = input \"w\" @-\n"
               "  %3: f64[N] = nest [i] += %1?0.0[i + a - 1] * %2[a] over i<N, a<3 @-\n  out \"y\" "
               "%3\n}\n",
          "canon", WHOLE, 0, 1, "where 0 <= a + i - 1 < N");
}

static void test_window(void **state) {
    (void)state;
    check(HEAD "  %1: f64[2*N] = input \"x\" @-\n"
               "  %2: f64[N] = nest [i] max= tanh(%1?-inf[2*i + a - 1]) over i<N, a<3 @-\n  out "
               "\"y\" %2\n}\n",
          "canon", REALS, 0, 2, "= tanh(%1[i0])");
}

/* A sum of what an elementwise nest has computed reads that nest; other bodies and other operands
 * do not. */
static void test_share(void **state) {
    (void)state;
    check(HEAD "  %1: f64[N, 4] = input \"g\" @-\n  %2: f64[N, 4] = input \"y\" @-\n"
               "  %3: f64[N, 4] = nest [i, j] = %1[i, j] * (1.0 - %2[i, j]) over i<N, j<4 @-\n"
               "  %4: f64[4] = nest [b] += %1[a, b] * (1.0 - %2[a, b]) over a<N, b<4 where 0 <= a "
               "- b < 3 @-\n"
               "  out \"x\" %3\n  out \"y\" %4\n}\n",
          "canon", WHOLE, 0, 2, "[b] += %3[a, b] over a<N, b<4 where 0 <= a - b < 3");
    check(HEAD "  %1: f64[N, 4] = input \"g\" @-\n  %2: f64[N, 4] = input \"y\" @-\n"
               "  %3: f64[N, 4] = nest [i, j] = %1[i, j] * (1.0 - %2[i, j]) over i<N, j<4 @-\n"
               "  %4: f64[4] = nest [b] += %2[a, b] * (1.0 - %1[a, b]) over a<N, b<4 @-\n"
               "  out \"x\" %3\n  out \"y\" %4\n}\n",
          "canon", WHOLE, 0, 2, "[b] += %2[a, b] * (1.0 - %1[a, b])");
}

/* What derivatives held is the value itself once they are taken: a factor that a mask holds is read once. */
static void test_stop(void **state) {
    (void)state;
    check(HEAD "  %1: f64[N] = input \"w\" @-\n  %2: f64[N] = stop(%1) @-\n"
               "  %3: f64[N] = nest [i] = select(%1[i] < 2.0, %1[i], %2[i]) * 2.0 over i<N @-\n"
               "  out \"y\" %3\n}\n",
          "canon", WHOLE, 0, 1, "= %1[i] * 2.0 over i<N");
}

/* Indices of one value leave what is read; an axis of the result keeps its own. */
static void test_single(void **state) {
    (void)state;
    check(
        HEAD
        "  %1: f64[3, N] = input \"x\" @-\n  %2: f64[3, N] = input \"w\" @-\n"
        "  %3: f64[3, 1] = nest [c, i] += %1[c, a + i + j] * %2[c, a] over i<1, c<3, a<N, j<1 @-\n"
        "  out \"y\" %3\n}\n",
        "canon", WHOLE, 0, 1, "[c, i] += %1[c, a] * %2[c, a] over i<1, c<3, a<N @-");
}

/* Sum, bias, activation: one nest; a producer of two tensors with two readers stays stored. */
static void test_fuse(void **state) {
    (void)state;
    check(HEAD
          "  %1: f64[N, 4] = input \"x\" @-\n  %2: f64[4, 3] = input \"w\" @-\n  %3: f64[3] = "
          "input \"b\" @-\n"
          "  %4: f64[N, 3] = nest [n, o] += %1[n, i] * %2[i, o] over n<N, o<3, i<4 @-\n"
          "  %5: f64[N, 3] = nest [n, o] = %4[n, o] + %3[o] over n<N, o<3 @-\n"
          "  %6: f64[N, 3] = nest [n, o] = sigmoid(%5[n, o]) over n<N, o<3 @-\n  out \"y\" %6\n}\n",
          "fuse", REALS, 0, 1, "then sigmoid(acc + %3[o])");
    check(
        HEAD
        "  %1: f64[N, 4] = input \"x\" @-\n  %2: f64[N, 4] = input \"y\" @-\n"
        "  %3: f64[N, 4] = nest [i, j] = %1[i, j] * %2[i, j] over i<N, j<4 @-\n"
        "  %4: f64[N] = nest [i] += %3[i, j] over i<N, j<4 @-\n"
        "  %5: f64[4] = nest [j] += %3[i, j] over i<N, j<4 @-\n  out \"r\" %4\n  out \"c\" %5\n}\n",
        "fuse", WHOLE, 0, 3, "[i] += %3[i, j]");
}

/* The first cells of a sum are no epilogue of it: the result would have the shape of the sum. */
static void test_slice(void **state) {
    (void)state;
    check(HEAD
          "  %1: f64[N, 4] = input \"x\" @-\n  %2: f64[4, 3] = input \"w\" @-\n"
          "  %3: f64[N, 3] = nest [n, o] += %1[n, i] * %2[i, o] over n<N, o<3, i<4 @-\n"
          "  %4: f64[N, 2] = nest [n, o] = neg(%3[n, o]) over n<N, o<2 @-\n  out \"y\" %4\n}\n",
          "fuse", WHOLE, 0, 2, "%4: f64[N, 2] = nest");
}

/* One exp for a value and its derivative. */
static void test_derivative_reads_value(void **state) {
    (void)state;
    const char *text =
        HEAD "  %1: f64[N] = input \"x\" @-\n"
             "  %2: f64[N] = nest [i] = exp(2.0 * %1[i]) over i<N @-\n"
             "  %3: f64 = nest [] += %2[i] over i<N @-\n"
             "  %4: f64 = nest [] = 1.0 over @-\n"
             "  %5: f64[N] = vjp{1}(%3, %4, %1) @-\n  out \"y\" %2\n  out \"d\" %5\n}\n";
    Ctx *ctx = ctx_new(0);
    const char *after = graph_text(
        ctx, check_same(ctx, text, "ad canon invert cse dce fuse", "f", DIMS, REALS, 1e-6));
    assert_int_equal(count_of(after, "exp("), 1);
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_guards),
                                       cmocka_unit_test(test_window),
                                       cmocka_unit_test(test_share),
                                       cmocka_unit_test(test_single),
        cmocka_unit_test(test_stop),
                                       cmocka_unit_test(test_fuse),
                                       cmocka_unit_test(test_slice),
                                       cmocka_unit_test(test_derivative_reads_value)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
