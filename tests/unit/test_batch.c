/* passes/batch.c: slices of rows compute what all rows did, at every number of rows. */
#include "pass_helper.h"

static const int64_t ROWS[] = {1, 7, 16, 17, 64};

/* The whole graph pipeline on text, then equal results; exact: bit for bit on whole numbers.
 * Returns the text. */
static const char *check_rows(Ctx *ctx, const char *text, const char *name, Inputs kind,
                              double tol) {
    const char *passes = "inline estimate density ad canon invert cse dce fuse", *result = "";
    for (size_t k = 0; k < sizeof ROWS / sizeof *ROWS; k++) {
        Module *before = must_read(ctx, text);
        run_passes(ctx, before, passes);
        Module *m = check_same(ctx, graph_text(ctx, before), "batch", name, &ROWS[k], kind, tol);
        result = graph_text(ctx, m);
    }
    return result;
}

#define HEAD(block)                                                                                \
    "graph \"a.cnn\"\n" block "func \"f\" f64 block 0 @1:1-9:2 {\n  dims N\n"                      \
    "  entry loss_grad \"f\" of \"E\" @1:1-9:2 {\n  }\n"
#define ESTIMATOR(params)                                                                          \
    "estimator \"E\" e f64 @1:1-9:2 {\n  dims N\n" params                                          \
    "  using \"sgd\" batch 16 epochs 2 rows N\n}\n"

/* Convolution, bias, squared activation, mean pooling, dense layer, sum: forward and backward are
 * one region. */
#define NET                                                                                        \
    HEAD(ESTIMATOR("  param \"w\" W f64[2, 3] real @-\n  param \"b\" B f64[2] real @-\n  param "   \
                   "\"v\" V f64[3, 2, 3] real @-\n"))                                              \
    "  %1: f64[N, 6] = input \"x\" @-\n"                                                           \
    "  %2: i32[N] = input \"y\" bound 3 @-\n"                                                      \
    "  %3: f64[2, 3] = param \"w\" tensor 0 @-\n"                                                  \
    "  %4: f64[2] = param \"b\" tensor 1 @-\n"                                                     \
    "  %5: f64[3, 2, 3] = param \"v\" tensor 2 @-\n"                                               \
    "  %6: f64[N, 2, 6] = nest [n, c, i] += %1?0.0[n, i + a - 1] * %3[c, a] over n<N, c<2, i<6, "  \
    "a<3 \"C1\" @2:1-2:2\n"                                                                        \
    "  %7: f64[N, 2, 6] = nest [n, c, i] = ACT over n<N, c<2, i<6 \"A1\" @3:1-3:2\n"               \
    "  %8: f64[N, 2, 3] = nest [n, c, i] += %7[n, c, 2*i + a] over n<N, c<2, i<3, a<2 \"P1\" "     \
    "@4:1-4:2\n"

static const char WHOLE_NET[] = NET
    "  %9: f64[N, 3] = nest [n, k] += %8[n, c, i] * %5[k, c, i] over n<N, k<3, c<2, i<3 \"F1\" "
    "@5:1-5:2\n"
    "  %10: f64[N] = nest [n] += select({k} == i64(%2[n]), %9[n, k], 0.0) over n<N, k<3 @6:1-6:2\n"
    "  %11: f64 = nest [] += %10[n] over n<N @6:1-6:2\n"
    "  %12: f64 = nest [] = 2.0 over @-\n"
    "  %13: f64[2, 3], %14: f64[2], %15: f64[3, 2, 3] = vjp{3}(%11, %12, %3, %4, %5) @-\n"
    "  loss \"loss\" %11\n  grad \"w\" %13 of 2\n  grad \"b\" %14 of 3\n  grad \"v\" %15 of 4\n}\n";

static const char SOFTMAX_NET[] = NET
    "  %9: f64[N, 3] = nest [n, k] += %8[n, c, i] * %5[k, c, i] over n<N, k<3, c<2, i<3 \"F1\" "
    "@5:1-5:2\n"
    "  %10: f64[N] = density{Categorical form 1}(%2, %9) @6:1-6:2\n"
    "  %11: f64 = nest [] += %10[n] over n<N @6:1-6:2\n"
    "  %12: f64 = nest [] = -1.0 / f64({N}) over @-\n"
    "  %13: f64[2, 3], %14: f64[2], %15: f64[3, 2, 3] = vjp{3}(%11, %12, %3, %4, %5) @-\n"
    "  loss \"loss\" %11\n  grad \"w\" %13 of 2\n  grad \"b\" %14 of 3\n  grad \"v\" %15 of 4\n}\n";

static const char *replaced(Ctx *ctx, const char *text, const char *what, const char *with) {
    const char *at = strstr(text, what);
    assert_non_null(at);
    return str_fmt(ctx, "%.*s%s%s", (int)(at - text), text, with, at + strlen(what));
}

/* The nests of the entry itself, before the functions of its regions. */
static int outside(Ctx *ctx, const char *text) {
    const char *end = strstr(text, "\n}\nfunc");
    assert_non_null(end);
    return count_of(str_fmt(ctx, "%.*s", (int)(end - text), text), "nest");
}

static void test_net(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *square =
        replaced(ctx, WHOLE_NET, "ACT", "(%6[n, c, i] + %4[c]) * (%6[n, c, i] + %4[c])");
    const char *text = check_rows(ctx, square, "f", WHOLE, 0);
    assert_int_equal(count_of(text, "batch{"), 1);
    const char *soft = replaced(ctx, SOFTMAX_NET, "ACT", "sigmoid(%6[n, c, i] + %4[c])");
    text = check_rows(ctx, soft, "f", REALS, 1e-13);
    assert_int_equal(count_of(text, "batch{"), 1);
    assert_null(strstr(text, "where 0 <= n < rows")); /* rows past the end are 0 in all sums */
    assert_null(strstr(text, "f64[N, 2"));            /* no activation of all rows is left */
    assert_true(outside(ctx, text) <= 1);             /* the scale of the cotangent */
    ctx_free(ctx);
}

/* Centring by the mean over rows: the mean ends the first region, its derivative another. */
static void test_mean_over_rows(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *text = check_rows(
        ctx,
        HEAD(ESTIMATOR(
            "  param \"w\" W f64[4, 3] real @-\n")) "  %1: f64[N, 4] = input \"x\" @-\n"
                                                    "  %2: f64[4, 3] = param \"w\" tensor 0 @-\n"
                                                    "  %3: f64[N, 3] = nest [n, k] += %1[n, i] * "
                                                    "%2[i, k] over n<N, k<3, i<4 @-\n"
                                                    "  %4: f64[3] = nest [k] += %3[n, k] over n<N, "
                                                    "k<3 @-\n"
                                                    "  %5: f64[N, 3] = nest [n, k] = %3[n, k] * "
                                                    "f64({N}) - %4[k] over n<N, k<3 @-\n"
                                                    "  %6: f64 = nest [] += %5[n, k] * %5[n, k] "
                                                    "over n<N, k<3 @-\n"
                                                    "  %7: f64 = nest [] = 1.0 over @-\n"
                                                    "  %8: f64[4, 3] = vjp{1}(%6, %7, %2) @-\n"
                                                    "  loss \"loss\" %6\n  grad \"w\" %8 of 1\n}\n",
        "f", WHOLE, 0);
    assert_true(count_of(text, "batch{") >= 2 && count_of(text, "batch{") <= 3);
    ctx_free(ctx);
}

/* What regions hand on stays in slices, and what is cheap to compute from it is computed again: of the
 * product (%3) and of what is computed from it, only the product leaves its region. */
static void test_stacks(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *head = HEAD(ESTIMATOR("  param \"w\" W f64[4, 3] real @-\n"));
    const char *body = "  %1: f64[N, 4] = input \"x\" @-\n"
                       "  %2: f64[4, 3] = param \"w\" tensor 0 @-\n"
                       "  %3: f64[N, 3] = nest [n, k] += %1[n, i] * %2[i, k] over n<N, k<3, i<4 @-\n"
                       "  %4: f64[3] = nest [k] += %3[n, k] over n<N, k<3 @-\n"
                       "  %5: f64[N, 3] = nest [n, k] = max(%3[n, k] - %4[k] OP, 1.0) over n<N, k<3 @-\n"
                       "  %6: f64[3] = nest [k] += %5[n, k] * %5[n, 2 - k] over n<N, k<3 @-\n"
                       "  %7: f64[N, 3] = nest [n, k] = max(%5[n, k], %6[k]) over n<N, k<3 @-\n"
                       "  %8: f64 = nest [] += %7[n, k] * %5[n, k] over n<N, k<3 @-\n"
                       "  loss \"loss\" %8\n  RESULT\n}\n";
    const char *text = str_fmt(ctx, "%s%s", head, replaced(ctx, replaced(ctx, body, "OP", ""), "  RESULT\n", ""));
    const char *got = check_rows(ctx, text, "f", WHOLE, 0);
    assert_int_equal(count_of(got, "batch{"), 3);
    assert_int_equal(count_of(got, "slices"), 1);
    assert_int_equal(count_of(got, "args slice"), 2);
    assert_non_null(strstr(got, "f64[(N + 15) // 16, 3, 16], "));
    /* costly: a stack of its own, which is 0 past the end, though exp is not */
    text = str_fmt(ctx, "%s%s", head, replaced(ctx, replaced(ctx, body, "OP", "+ exp(%1[n, 0] * 0.0)"), "RESULT", "out \"y\" %6"));
    got = check_rows(ctx, text, "f", WHOLE, 0);
    assert_int_equal(count_of(got, "slices"), 2);
    /* a result of the function leaves in rows */
    text = str_fmt(ctx, "%s%s", head, replaced(ctx, replaced(ctx, body, "OP", ""), "RESULT", "out \"y\" %3"));
    got = check_rows(ctx, text, "f", WHOLE, 0);
    assert_int_equal(count_of(got, "slices"), 0);
    assert_int_equal(count_of(got, " cat"), 1);
    ctx_free(ctx);
}

/* Random numbers and values of the row index are those of the whole; a value of all rows leaves the
 * region. */
static void test_row_numbers(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *text = check_rows(
        ctx,
        HEAD(ESTIMATOR(
            "  param \"w\" W f64[4, 3] real @-\n")) "  %1: f64[N, 4] = input \"x\" @-\n"
                                                    "  %2: f64[4, 3] = param \"w\" tensor 0 @-\n"
                                                    "  %3: i64 = seed \"seed\" @-\n"
                                                    "  %4: f64[N, 4] = random{uniform site 7 row0 "
                                                    "0 axis 0}(%3, %3) @-\n"
                                                    "  %5: f64[N, 4] = nest [n, i] = select(%4[n, "
                                                    "i] < 0.5, %1[n, i], 0.0) over n<N, i<4 @-\n"
                                                    "  %6: f64[N, 3] = nest [n, k] += %5[n, i] * "
                                                    "%2[i, k] over n<N, k<3, i<4 @-\n"
                                                    "  %7: f64[N, 3] = nest [n, k] = select({n} < "
                                                    "5, %6[n, k], f64({2*n + k})) over n<N, k<3 "
                                                    "@-\n"
                                                    "  %8: f64[3*N] = reshape(%7) @-\n"
                                                    "  %9: f64 = nest [] += %8[j] * f64({j}) over "
                                                    "j<3*N @-\n"
                                                    "  out \"all\" %7\n  loss \"loss\" %9\n}\n",
        "f", WHOLE, 0);
    assert_int_equal(count_of(text, "batch{"), 1);
    assert_non_null(strstr(text, "results cat"));
    assert_non_null(strstr(text, "random{uniform site 7 row0 row0 axis 1}"));
    assert_non_null(strstr(text, "reshape")); /* mixes rows: stays outside */
    ctx_free(ctx);
}

/* A sum over rows that is added to something and has an epilogue: both are applied once, to the
 * total. */
static void test_init_and_post(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    check_rows(
        ctx,
        HEAD(ESTIMATOR(
            "  param \"w\" W f64[4, 3] real @-\n")) "  %1: f64[N, 4] = input \"x\" @-\n"
                                                    "  %2: f64[4, 3] = param \"w\" tensor 0 @-\n"
                                                    "  %3: f64[N, 3] = nest [n, k] += %1[n, i] * "
                                                    "%2[i, k] over n<N, k<3, i<4 @-\n"
                                                    "  %4: f64[4, 3] = nest [i, k] += %1[n, i] * "
                                                    "%3[n, k] over n<N, i<4, k<3 then acc * 2.0 + "
                                                    "%2[i, k] from %2 @-\n"
                                                    "  %5: f64[3] = nest [k] max= %3[n, k] over "
                                                    "n<N, k<3 @-\n"
                                                    "  %6: f64[3] = nest [k] += %3[n, 2 - k] over "
                                                    "n<N, k<3 then acc * %5[k] @-\n"
                                                    "  out \"a\" %4\n  out \"b\" %5\n  out \"c\" "
                                                    "%6\n}\n",
        "f", WHOLE, 0);
    ctx_free(ctx);
}

/* Names that a body's dims would take are avoided; a def without a product of tensors has no batch.
 */
static void test_names_and_defs(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *def = "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N, rows\n"
                      "  entry def \"f\" @- {\n  }\n"
                      "  %1: f64[N, 4] = input \"x\" @-\n"
                      "  %2: f64[4, rows] = input \"w\" @-\n"
                      "  %3: f64[N, rows] = nest [row0, k] += %1[row0, i] OP %2[i, k] over row0<N, "
                      "k<rows, i<4 @-\n"
                      "  out \"y\" %3\n}\n";
    int64_t dims[] = {17, 5};
    Module *m = check_same(ctx, replaced(ctx, def, "OP", "*"), "batch", "f", dims, WHOLE, 0);
    assert_int_equal(count_of(graph_text(ctx, m), "batch{"), 1);
    m = check_same(ctx, replaced(ctx, def, "OP", "-"), "batch", "f", dims, WHOLE, 0);
    assert_int_equal(count_of(graph_text(ctx, m), "batch{"), 0);
    ctx_free(ctx);
}

/* A sum that rows of zeros would add to, or whose rows cannot be made 0, leaves them out by a
 * guard. */
static void test_rows_past_the_end(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *text = check_rows(
        ctx,
        HEAD(ESTIMATOR(
            "  param \"w\" W f64[4, 3] real @-\n")) "  %1: f64[N, 4] = input \"x\" @-\n"
                                                    "  %2: f64[4, 3] = param \"w\" tensor 0 @-\n"
                                                    "  %3: i64 = seed \"seed\" @-\n"
                                                    "  %4: f64[N, 4] = random{uniform site 7 row0 "
                                                    "0 axis 0}(%3, %3) @-\n"
                                                    "  %5: f64[N, 3] = nest [n, k] += %1[n, i] * "
                                                    "%2[i, k] over n<N, k<3, i<4 @-\n"
                                                    "  %6: f64 = nest [] += %5[n, k] + 1.0 over "
                                                    "n<N, k<3 @-\n"
                                                    "  %7: f64 = nest [] += %1[n, i] * f64({n}) "
                                                    "over n<N, i<4 @-\n"
                                                    "  %8: f64 = nest [] += %1[n, i] * "
                                                    "select(%4[n, i] < 2.0, 1.0, 0.0) over n<N, "
                                                    "i<4 @-\n"
                                                    "  %9: f64 = nest [] += log(%1[n, i] - 4.0 + "
                                                    "8.0) * 0.0 over n<N, i<4 @-\n"
                                                    "  out \"a\" %6\n  out \"b\" %7\n  out \"c\" "
                                                    "%8\n  out \"d\" %9\n}\n",
        "f", WHOLE, 0);
    assert_int_equal(count_of(text, "< rows"), 2 + 1); /* a, d and the random one */
    ctx_free(ctx);
}

/* For one row, an axis that fills the vectors better than the last goes last, in the result and in a copy of the factor. */
static void test_other_axis_takes_the_lanes(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *conv = "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N\n  entry def \"f\" @- {\n  }\n"
                       "  %1: f64[N, 2, 10, 11] = input \"x\" @-\n  %2: f64[16, 2, 3] = input \"w\" @-\n"
                       "  %3: f64[N, 16, 10, 9] = nest [n, o, i, j] += %1[n, c, i, j + a] * %2[o, c, a] over n<N, o<16, i<10, j<9, c<2, a<3 @-\n"
                       "  %4: f64[N, 16, 10, 9] = nest [n, o, i, j] = max(%3[n, o, i, j], 0.0) over n<N, o<16, i<10, j<9 @-\n"
                       "  %5: f64[N, 2, 10] = nest [n, k, i] += %4[n, o, i, 2 * k] * %2[o, k, 1] over n<N, k<2, o<16, i<10 @-\n"
                       "  out \"y\" %4\n  out \"z\" %5\n}\n";
    const char *text = check_rows(ctx, conv, "f", WHOLE, 0);
    assert_int_equal(count_of(text, "f64[2, 3, 16] = nest [i1, i2, i] = %2[i, i1, i2]"), 1);
    assert_int_equal(count_of(text, "f64[10, 9, 16] = nest [i, j, o] += %1[c, i, a + j] * %3[c, a, o]"), 1);
    assert_int_equal(count_of(text, "f64[16, 10, 9] = nest [i2, i, i1] = "), 1); /* put back once for both */
    ctx_free(ctx);
}

/* Where the last axis of the result takes the lanes, but its elements lie apart in a factor, that is copied with this axis
 * last: scores of words by words. Not where each element would be used a few times only. */
static void test_lanes_of_a_factor_lie_side_by_side(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *head = "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N\n  entry def \"f\" @- {\n  }\n";
    for (int rows = 2; rows <= 6; rows += 4) {
        const char *scores = str_fmt(ctx,
                                     "%s  %%1: f64[N, 6, %d, 4] = input \"q\" @-\n  %%2: f64[N, 24, 4] = input \"k\" @-\n"
                                     "  %%3: f64[N, 6, %d, 24] = nest [n, h, i, j] += %%1[n, h, i, d] * %%2[n, j, d] over n<N, h<6, i<%d, j<24, d<4 @-\n"
                                     "  out \"y\" %%3\n}\n",
                                     head, rows, rows, rows);
        const char *text = check_rows(ctx, scores, "f", WHOLE, 0);
        bool often = 6 * rows >= 32;
        assert_int_equal(count_of(text, "f64[4, 24] = nest [i1, i] = %2[i, i1]"), often);
        assert_int_equal(count_of(text, "nest [h, i, j] += %1[h, i, d] * %3[d, j]"), often);
    }
    ctx_free(ctx);
}

/* A region that only writes rows has a body for one row, without the axis of rows and with its borders copied; the reference
 * runs it for few rows. One that sums rows has none, nor one whose row has nothing for the lanes. */
static void test_few_rows_run_alone(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *net = NET "  %9: f64[N, 3] = nest [n, k] += %8[n, c, i] * %5[k, c, i] over n<N, k<3, c<2, i<3 \"F1\" @5:1-5:2\n";
    const char *act = replaced(ctx, net, "ACT", "%6[n, c, i] + %4[c]");
    const char *text = check_rows(ctx, str_fmt(ctx, "%s  out \"y\" %%9\n}\n", act), "f", WHOLE, 0);
    assert_int_equal(count_of(text, " below "), 1);
    assert_int_equal(count_of(text, "f64[10] = nest [i + 1] = "), 1);
    assert_int_equal(count_of(text, "f64[3] = nest [k] += "), 1);
    const char *sum = "  %10: f64 = nest [] += %9[n, k] over n<N, k<3 @6:1-6:2\n";
    text = check_rows(ctx, str_fmt(ctx, "%s%s  out \"y\" %%10\n}\n", act, sum), "f", WHOLE, 0);
    assert_int_equal(count_of(text, " below "), 0);
    ctx_free(ctx);
}

/* A copy with zeros around serves all nests that need no more of them. */
static void test_one_border_for_several_readers(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *two = "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N\n  entry def \"f\" @- {\n  }\n"
                      "  %1: f64[N, 2, 20] = input \"x\" @-\n  %2: f64[2, 5] = input \"w\" @-\n"
                      "  %3: f64[N, 20] = nest [n, i] += %1[n, c, i + a - 2] * %2[c, a] over n<N, i<20, c<2, a<5 where 0 <= i + a - 2 < 20 @-\n"
                      "  %4: f64[N, 20] = nest [n, i] += %1[n, c, i + a - 1] * %2[c, a + 1] over n<N, i<20, c<2, a<3 where 0 <= i + a - 1 < 20 from %3 @-\n"
                      "  out \"y\" %4\n}\n";
    const char *text = check_rows(ctx, two, "f", WHOLE, 0);
    assert_int_equal(count_of(text, "f64[2, 24] = nest [i, i1 + 2] = "), 1);
    assert_int_equal(count_of(text, "[c, a + i + 1] * "), 1); /* of that copy */
    assert_int_equal(count_of(text, " = nest [i, i1 + "), 1);
    ctx_free(ctx);
}

/* A dense layer whose weights' gradient does not stay in the cache: every slice would read and write all of it. */
static int slices_of_dense(Ctx *ctx, int in, int out) {
    const char *text = str_fmt(
        ctx,
        HEAD(ESTIMATOR("  param \"w\" W f64[%d, %d] real @-\n")) "  %%1: f64[N, %d] = input \"x\" @-\n"
        "  %%2: f64[%d, %d] = param \"w\" tensor 0 @-\n"
        "  %%3: f64[N, %d] = nest [n, k] += %%1[n, i] * %%2[i, k] over n<N, k<%d, i<%d @-\n"
        "  %%4: f64[%d, %d] = nest [i, k] += %%1[n, i] * %%3[n, k] over n<N, i<%d, k<%d @-\n"
        "  grad \"w\" %%4 of 1\n}\n",
        in, out, in, in, out, out, out, in, in, out, in, out);
    Module *m = must_read(ctx, text);
    run_passes(ctx, m, "batch");
    return count_of(graph_text(ctx, m), "batch{");
}

static void weights_past_the_cache_are_not_sliced(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    assert_int_equal(slices_of_dense(ctx, 64, 32), 1);
    assert_int_equal(slices_of_dense(ctx, 784, 512), 0);
    ctx_free(ctx);
}

/* A convolution of 1 x 1 whose channels fill vectors: alone in whole tensors; where nests write for others more than
 * memory passes in the time of the products, in slices. */
static int slices_of_pointwise(Ctx *ctx, int out, int readers) {
    const char *text = str_fmt(
        ctx,
        "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N\n  entry def \"f\" @- {\n  }\n"
        "  %%1: f64[N, 32, 64] = input \"x\" @-\n  %%2: f64[%d, 32] = input \"w\" @-\n"
        "  %%3: f64[N, %d, 64] = nest [n, k, i] += %%1[n, c, i] * %%2[k, c] over n<N, k<%d, i<64, c<32 @-\n",
        out, out, out);
    for (int k = 0; k < readers; k++)
        text = str_fmt(ctx, "%s  %%%d: f64[N, %d, 64] = nest [n, k, i] = %%%d[n, k, i] * 0.5 over n<N, k<%d, i<64 @-\n", text, 4 + k, out, 3 + k, out);
    Module *m = must_read(ctx, str_fmt(ctx, "%s  out \"y\" %%%d\n}\n", text, 3 + readers));
    run_passes(ctx, m, "batch");
    return count_of(graph_text(ctx, m), "batch{");
}

static void tensors_that_stream_through_memory_are_sliced(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    assert_int_equal(slices_of_pointwise(ctx, 32, 0), 0);
    assert_int_equal(slices_of_pointwise(ctx, 512, 0), 0);
    assert_int_equal(slices_of_pointwise(ctx, 32, 4), 1);
    ctx_free(ctx);
}

/* A function of x [N, D] and what follows; the text after `batch`. */
static const char *sliced(Ctx *ctx, const char *rest) {
    Module *m = must_read(ctx, str_fmt(ctx, "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N, D, K\n  entry def \"f\" @- {\n  }\n"
                                            "  %%1: f64[N, D] = input \"x\" @-\n%s}\n", rest));
    run_passes(ctx, m, "batch");
    return graph_text(ctx, m);
}

/* Slices turn rows so that 16 of them fill vectors, which is no gain where each element is used once. */
static void rows_that_are_read_once_are_not_sliced(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *product = "  %2: f64[D] = input \"w\" @-\n  %3: f64[N] = nest [n] += %1[n, d] * %2[d] over n<N, d<D @-\n",
               *back = "  %4: f64[D] = nest [d] += %3[n] * %1[n, d] over d<D, n<N @-\n",
               *norms = "  %2: f64[N] = nest [n] += %1[n, d] * %1[n, d] over n<N, d<D @-\n  out \"z\" %2\n";
    assert_int_equal(count_of(sliced(ctx, str_fmt(ctx, "%s  out \"z\" %%3\n", product)), "batch{"), 0);
    assert_int_equal(count_of(sliced(ctx, norms), "batch{"), 0);
    assert_int_equal(count_of(sliced(ctx, str_fmt(ctx, "%s%s  out \"g\" %%4\n", product, back)), "batch{"), 1);
    ctx_free(ctx);
}

/* Matrices of unknown size may be large: from a slice on, all rows at once, in tiles. */
static void weights_of_unknown_size_have_a_body_for_all_rows(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *dense = "  %2: f64[D, K] = input \"w\" @-\n  %3: f64[N, K] = nest [n, k] += %1[n, d] * %2[d, k] over n<N, k<K, d<D @-\n  out \"z\" %3\n";
    assert_non_null(strstr(sliced(ctx, dense), "above 16"));
    const char *known = "  %2: f64[D, 3] = input \"w\" @-\n  %3: f64[N, 3] = nest [n, k] += %1[n, d] * %2[d, k] over n<N, k<3, d<D @-\n  out \"z\" %3\n";
    assert_null(strstr(sliced(ctx, known), "above"));
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_net),
                                       cmocka_unit_test(test_mean_over_rows),
                                       cmocka_unit_test(test_stacks),
                                       cmocka_unit_test(test_row_numbers),
                                       cmocka_unit_test(test_init_and_post),
                                       cmocka_unit_test(test_names_and_defs),
                                       cmocka_unit_test(test_lanes_of_a_factor_lie_side_by_side), cmocka_unit_test(test_few_rows_run_alone),
                                       cmocka_unit_test(test_other_axis_takes_the_lanes),
                                       cmocka_unit_test(test_one_border_for_several_readers),
                                       cmocka_unit_test(test_rows_past_the_end),
                                       cmocka_unit_test(weights_past_the_cache_are_not_sliced),
                                       cmocka_unit_test(rows_that_are_read_once_are_not_sliced),
                                       cmocka_unit_test(weights_of_unknown_size_have_a_body_for_all_rows),
                                       cmocka_unit_test(tensors_that_stream_through_memory_are_sliced)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
