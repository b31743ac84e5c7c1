/* passes/vectorize.c, passes/vary.c: what becomes of loops, and that they compute what they did. */
#include "loop_pass_helper.h"

static void check(const char *bufs, const char *body, const char *const *parts,
                  const char *absent) {
    check_pass(vectorize_loops, bufs, body, parts, absent);
}

static void elementwise_loops(void **state) {
    (void)state;
    const char *bufs = "buf a f32[M, N] = arg 2 at 0\nbuf b f32[N] = arg 3 at 0\nbuf out f32[M, N] "
                       "= arg 4 at 0 written";
    check(bufs,
          "for i in 0..M {\n for j in 0..N {\n  %1 = load f32 a[i, j]\n  %2 = load f32 b[j]\n  %3 "
          "= f32 2.0\n"
          "  %4 = fma(%1, %3, %2)\n  store out[i, j] = %4\n }\n}",
          PARTS("for j in 0..16*(N // 16) step 16 {", "load f32x16 a[i, j]\n", "for j in 16*(N // 16)..N step 16 {",
                "load f32x16 a[i, j] active N - j", "f32x16 2.0"), NULL);
    /* in place, an index value, reversed reads */
    check(bufs,
          "for i in 0..M {\n for j in 0..N {\n  %1 = load f32 out[i, j]\n  %2 = load f32 b[N - j - "
          "1]\n  %3 = index i64 j + 2*i\n"
          "  %4 = cast(%3) : f32\n  %5 = add(%1, %4)\n  %6 = mul(%5, %2)\n  store out[i, j] = %6\n "
          "}\n}",
          PARTS("by -1", "index i64x16"), NULL);
    /* the outer loop is the contiguous one */
    check("buf a f32[N, M] = arg 2 at 0\nbuf b f32[N] = arg 3 at 0\nbuf out f32[M, N] = arg 4 at 0 "
          "written",
          "for j in 0..N {\n for i in 0..M {\n  %1 = load f32 b[j]\n  store out[i, j] = %1\n }\n}",
          PARTS("for j in 0..N step 16"), NULL);
    /* clamped subscripts are gathered */
    check(bufs,
          "for j in 0..N {\n %1 = index i64 j - 2\n %2 = i64 0\n %3 = max(%1, %2)\n %4 = load f32 "
          "b[0 + %3]\n %5 = add(%4, %4)\n"
          " %6 = mul(%5, %5)\n %7 = mul(%6, %5)\n store out[0, j] = %7\n}",
          NULL, NULL);
}

/* Lanes past the end read what lies in the row; where the row ends before, or sums would add it, they are off. */
static void loads_inside_their_buffer_need_no_mask(void **state) {
    (void)state;
    const char *bufs = "buf a f32[M, 36] = arg 2 at 0\nbuf out f32[M, 28] = arg 4 at 0 written";
    const char *window = "for i in 0..M {\n for j in 0..28 {\n  %1 = f32 0.0\n"
                         "  %2 = for k in 0..5 with %3 = %1 {\n   %4 = load f32 a[i, j + k]\n"
                         "   %5 = fma(%4, %4, %3)\n   yield %5\n  }\n  store out[i, j] = %2\n }\n}";
    check(bufs, window, PARTS("load f32x16 a[i, 20]\n", "active 12"), "] active 12\n    %");
    check("buf a f32[M, 35] = arg 2 at 0\nbuf out f32[M, 28] = arg 4 at 0 written", window,
          PARTS("load f32x16 a[i, 20] active 12"), NULL);
    check(bufs, "for i in 0..M {\n %1 = f32 0.0\n %2 = for j in 0..20 with %3 = %1 {\n  %4 = load f32 a[i, j]\n"
                "  %5 = add(%4, %3)\n  yield %5\n }\n store out[i, 0] = %2\n}",
          PARTS("active 20 - j"), NULL);
}

/* A loop that may be empty says nothing of how long a row is that is read behind it, and lanes of a loop that need not run
 * are off: both read beside their buffers. */
static void lanes_of_what_need_not_run_are_off(void **state) {
    (void)state;
    check("buf a f32[M, 30] = arg 2 at 0\nbuf b f32[M + 2] = arg 3 at 0\nbuf out f32[3] = arg 4 at 0 written",
          "for i in 0..3 {\n %1 = f32 0.0\n %2 = for k in 0..M - 13 with %3 = %1 {\n  %4 = load f32 a[k, i]\n"
          "  %5 = add(%4, %3)\n  yield %5\n }\n %6 = load f32 b[i]\n %7 = add(%6, %2)\n store out[i] = %7\n}",
          PARTS("load f32x16 a[k, 0]\n", "load f32x16 b[0] active 3"), NULL);
    check("buf a f32[M, 16] = arg 2 at 0\nbuf out f32[M] = arg 4 at 0 written",
          "for j in 0..M {\n %1 = f32 0.0\n %2 = for i in 0..min(16, j - 3) with %3 = %1 {\n  %4 = load f32 a[j - 4, i]\n"
          "  %5 = fma(%4, %4, %3)\n  yield %5\n }\n store out[j] = %2\n}",
          PARTS("load f32x16 a[j - 4, 0] active j - 3"), NULL);
}

static void dependent_loops_stay(void **state) {
    (void)state;
    const char *bufs = "buf a f32[M, N] = arg 2 at 0\nbuf b f32[N] = arg 3 at 0\nbuf out f32[2*N + "
                       "8] = arg 4 at 0 written\n"
                       "buf flat f32[N + 4, 2] = alias out";
    /* a recurrence, a scatter, cells named twice, another view of the same memory, a product */
    check(bufs, "for j in 0..N {\n %1 = load f32 out[j]\n store out[j + 1] = %1\n}", NULL, "x16");
    check(bufs,
          "for j in 0..N {\n for k in 0..3 {\n %1 = load f32 out[j + k]\n %2 = load f32 b[j]\n %3 "
          "= add(%1, %2)\n store out[j + k] = %3\n}\n}",
          NULL, "step 16");
    check(bufs, "for j in 0..N {\n %1 = load f32 flat[0, 0]\n store out[j] = %1\n}", NULL, "x16");
    check(bufs,
          "%1 = f32 1.0\n%2 = for j in 0..N with %3 = %1 {\n %4 = load f32 b[j]\n %5 = sub(%4, "
          "%3)\n yield %5\n}\nstore out[0] = %2",
          NULL, "x16");
    check(bufs, "for j in 0..N {\n %1 = load f32 b[j] checked else 0\n store out[j] = %1\n}", NULL,
          "x16");
}

static void sums_go_by_lanes(void **state) {
    (void)state;
    const char *bufs = "buf a f32[M, N] = arg 2 at 0\nbuf b f32[N] = arg 3 at 0\nbuf out f32[M, 4] "
                       "= arg 4 at 0 written\nbuf s f64 = work written";
    check(bufs,
          "for i in 0..M {\n %1 = load f32 out[i, 0]\n %2 = for j in 0..N with %3 = %1 {\n  %4 = "
          "load f32 a[i, j]\n  %5 = load f32 b[j]\n"
          "  %6 = fma(%4, %5, %3)\n  yield %6\n }\n store out[i, 0] = %2\n}",
          PARTS("a[i + 7, j] active N - j", "lane_sum", "add(%1, "), "select");
    /* a term that is not zero past the end, and a sum in f64 */
    check(bufs,
          "%1 = f64 0.5\n%2 = for j in 0..N with %3 = %1 {\n %4 = load f32 b[j]\n %5 = f32 3.0\n "
          "%6 = add(%4, %5)\n %7 = cast(%6) : f64\n"
          " %8 = add(%7, %3)\n yield %8\n}\n%9 = cast(%2) : f32\nstore out[0, 1] = %9",
          PARTS("select(", "f64x16", "lane_sum"), NULL);
    /* the outer loop passes the sum on: lanes are added once */
    check(bufs,
          "%1 = f32 0.0\n%2 = for i in 0..M with %3 = %1 {\n %4 = for j in 0..N with %5 = %3 {\n  "
          "%6 = load f32 a[M - i - 1, j]\n  %7 = add(%5, %6)\n"
          "  yield %7\n }\n yield %4\n}\nstore out[0, 2] = %2",
          PARTS("  }\n  %9 = lane_sum"), "    %8 = lane_sum");
}

static void vectorize_in_f64(Ctx *ctx, LoopModule *m) {
    m->funcs.p[0]->real = DT_F64;
    vectorize_loops(ctx, m);
}

static void greatest_by_lanes(void **state) {
    (void)state;
    const char *bufs = "buf a f32[M, N] = arg 2 at 0\nbuf b f32[N] = arg 3 at 0\n"
                       "buf out f32[M, 4] = arg 4 at 0 written";
    check(bufs,
          "%1 = i32 -2\n%2 = for j in 0..N with %3 = %1 {\n %4 = load f32 b[j]\n %5 = cast(%4) : "
          "i32\n"
          " %6 = max(%3, %5)\n yield %6\n}\n%7 = cast(%2) : f32\nstore out[0, 0] = %7",
          PARTS("splat(%1) : i32x16", "lane_max", "select("), NULL);
    check(
        bufs,
        "%1 = i32 2\n%2 = for j in 0..N with %3 = %1 {\n %4 = load f32 b[j]\n %5 = cast(%4) : i32\n"
        " %6 = min(%5, %3)\n yield %6\n}\n%7 = cast(%2) : f32\nstore out[0, 0] = %7",
        PARTS("lane_min"), NULL);
    /* of reals, which of two zeros is found is left open */
    check(bufs,
          "%1 = f32 0.0\n%2 = for j in 0..N with %3 = %1 {\n %4 = load f32 b[j]\n"
          " %5 = max(%3, %4)\n yield %5\n}\nstore out[0, 0] = %2",
          PARTS("splat(%1) : f32x16", "lane_max", "select("), NULL);
}

static void narrow_reals_fill_vectors(void **state) {
    (void)state;
    const char *bufs = "buf b f32[N] = arg 3 at 0\nbuf out f32[M, N] = arg 4 at 0 written";
    check_pass(vectorize_in_f64, bufs,
               "for j in 0..N {\n %1 = load f32 b[j]\n %2 = add(%1, %1)\n store out[0, j] = %2\n}", PARTS("f32x16 b[j]"),
               NULL);
    check_pass(vectorize_in_f64, bufs,
               "for j in 0..N {\n %1 = load f32 b[j]\n %2 = cast(%1) : f64\n %3 = add(%2, %2)\n %4 = cast(%3) : f32\n"
               " store out[0, j] = %4\n}",
               PARTS("f32x8 b[j]"), "x16");
}

/* Where the sum has the vectors, what follows it gets a loop of its own, if its cells are its own. */
static void long_epilogues_of_sums_stand_apart(void **state) {
    (void)state;
    const char *bufs = "buf a f32[M, N] = arg 2 at 0\nbuf b f32[N] = arg 3 at 0\nbuf out f32[M] = arg 4 at 0 written";
    const char *sum = "for i in 0..M {\n %%20 = f32 3.0\n %%1 = f32 0.0\n %%2 = for j in 0..N with %%3 = %%1 {\n"
                      "  %%4 = load f32 a[i, j]\n  %%5 = load f32 b[j]\n  %%6 = fma(%%4, %%5, %%3)\n  yield %%6\n }\n"
                      " %%7 = load f32 %s\n %%8 = add(%%2, %%7)\n %%9 = abs(%%8)\n %%10 = add(%%9, %%20)\n %%11 = sub(%%10, %%8)\n"
                      " %%12 = max(%%11, %%20)\n %%13 = neg(%%12)\n store out[%s] = %%13\n}";
    Ctx *ctx = ctx_new(0);
    check(bufs, str_fmt(ctx, sum, "a[i, 0]", "i"), PARTS("load f32x16 out[i] active M - i", "f32x16 a[i + 7, j] active N - j"), NULL);
    check(bufs, str_fmt(ctx, sum, "out[i]", "i"), NULL, "f32x16 out");
    check(bufs, str_fmt(ctx, sum, "b[0]", "0"), NULL, "f32x16 out");
    ctx_free(ctx);
}

/* As in a batch: rows last, 16 of them. */
static void rows_of_a_slice(void **state) {
    (void)state;
    /* forward: the row loop is gone, the reduction carries a vector */
    check("buf w f32[4, 8] = arg 2 at 0\nbuf x f32[8, 16] = arg 3 at 0\nbuf out f32[4, 16] = arg 4 "
          "at 0 written",
          "for j in 0..4 {\n for row in 0..16 {\n  %1 = f32 0.0\n  %2 = for k in 0..8 with %3 = %1 "
          "{\n   %4 = load f32 w[j, k]\n   %5 = load f32 x[k, row]\n"
          "   %6 = fma(%4, %5, %3)\n   yield %6\n  }\n  store out[j, row] = %2\n }\n}",
          PARTS("load f32x16 x[7, 0]", "store out[j, 0]"), "for row");
    /* weight gradient over positions and the rows that exist */
    check("buf d f32[4, 3, 16] = arg 2 at 0\nbuf x f32[8, 3, 16] = arg 3 at 0\nbuf out f32[4, 8] = "
          "arg 4 at 0 written",
          "for j in 0..4 {\n for k in 0..8 {\n  %1 = load f32 out[j, k]\n  %2 = for y in 0..3 with "
          "%3 = %1 {\n"
          "   %4 = for row in 0..min(16, N) with %5 = %3 {\n    %6 = load f32 d[j, y, row]\n    %7 "
          "= load f32 x[k, y, row]\n    %8 = fma(%6, %7, %5)\n    yield %8\n   }\n"
          "   yield %4\n  }\n  store out[j, k] = %2\n }\n}",
          PARTS("load f32x16 d[j, 1, 0]\n", "= select(", "lane_sum"), "for row");
    /* a loop with a condition keeps its head */
    check(
        "buf d f32[4, 16] = arg 2 at 0\nbuf x f32[16] = arg 3 at 0\nbuf out f32[4, 16] = arg 4 "
        "at 0 written\nbuf t bool[4] = const [1, 0, 1, 0]",
        "for j in 0..4 {\n %1 = f32 0.0\n %2 = load bool t[j]\n %3 = for row in 0..16 when %2 with "
        "%4 = %1 {\n  %5 = load f32 d[j, row]\n  %6 = load f32 x[row]\n  %7 = fma(%5, %6, %4)\n  "
        "yield %7\n }\n store out[j, 0] = %3\n}",
        PARTS("when", "lane_sum"), NULL);
    /* a loop that may not run at all keeps its head where it reads for itself */
    check("buf d f32[M, N] = arg 2 at 0\nbuf x f32[16] = arg 3 at 0\nbuf out f32[4, 16] = arg 4 at "
          "0 written",
          "for row in 0..min(16, N - 3) {\n %1 = load f32 d[0, N - 1]\n %2 = load f32 x[row]\n %3 "
          "= mul(%1, %2)\n store out[1, row] = %3\n}",
          PARTS("for row in 0..min(16, N - 3) step 16", "active N - row - 3"), NULL);
    check("buf d f32[4, 16] = arg 2 at 0\nbuf x f32[16] = arg 3 at 0\nbuf out f32[4, 16] = arg 4 "
          "at 0 written",
          "for j in 0..4 {\n for row in 0..10 {\n %1 = load f32 d[j, row]\n store out[j, row] = "
          "%1\n}\n}",
          PARTS("active 10"), "for row");
}

/* Copies between two orders of axes: squares in registers, the rest as it was. */
static void copies_turn_by_squares(void **state) {
    (void)state;
    const char *bufs = "buf x f32[N, 40] = arg 2 at 0\nbuf out f32[40, 16] = arg 4 at 0 written";
    check(bufs,
          "for i in 0..40 {\n for row in 0..min(16, N) {\n  %1 = load f32 x[row, i]\n  store "
          "out[i, row] = %1\n }\n for past in max(N, 0)..16 {\n  %2 = f32 0.0\n  store out[i, "
          "past] = %2\n }\n}",
          PARTS("for i in 0..32 step 16 {", "load f32x16 x[15, i] active 16*N - 240", "zip_high",
                "store out[i + 15, 0]", "for i in 32..40 {",
                "for past in max(N, 0)..16 step 16 {\n    for i in 0..40 {"),
          NULL);
    /* rows are loaded, columns stored apart */
    check("buf x f32[33, 16] = arg 2 at 0\nbuf out f32[16, 33] = arg 4 at 0 written",
          "for i in 0..33 {\n for k in 0..16 {\n  %1 = load f32 x[i, k]\n  store out[k, i] = "
          "%1\n }\n}",
          PARTS("step 16", "zip_low"), NULL);
    /* fewer than a square; in place; cells of a diagonal; another fill in every iteration */
    check("buf x f32[16, 10] = arg 2 at 0\nbuf out f32[10, 16] = arg 4 at 0 written",
          "for i in 0..10 {\n for k in 0..16 {\n  %1 = load f32 x[k, i]\n  store out[i, k] = "
          "%1\n }\n}",
          NULL, "zip");
    check("buf out f32[64, 16] = arg 4 at 0 written\nbuf t f32[16, 64] = alias out",
          "for i in 0..64 {\n for k in 0..16 {\n  %1 = load f32 t[k, i]\n  store out[i, k] = "
          "%1\n }\n}",
          NULL, "zip");
    check("buf x f32[48, 40] = arg 2 at 0\nbuf out f32[40, 16] = arg 4 at 0 written",
          "for i in 0..32 {\n for k in 0..16 {\n  %1 = load f32 x[i + k, i]\n  store out[i, k] = "
          "%1\n }\n}",
          NULL, "zip");
    check(bufs,
          "for i in 0..16 {\n for row in 0..min(16, N) {\n  %1 = load f32 x[row, i]\n  store "
          "out[i, row] = %1\n }\n for past in max(N - i, 0)..16 {\n  %2 = f32 0.0\n  store out[i, "
          "past] = %2\n }\n}",
          NULL, "zip");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elementwise_loops),          cmocka_unit_test(loads_inside_their_buffer_need_no_mask),
        cmocka_unit_test(lanes_of_what_need_not_run_are_off),
        cmocka_unit_test(dependent_loops_stay),
        cmocka_unit_test(sums_go_by_lanes),           cmocka_unit_test(greatest_by_lanes),
        cmocka_unit_test(narrow_reals_fill_vectors),
        cmocka_unit_test(long_epilogues_of_sums_stand_apart),
        cmocka_unit_test(rows_of_a_slice),
        cmocka_unit_test(copies_turn_by_squares),
    };
    return cmocka_run_group_tests_name("vectorize", tests, NULL, NULL);
}
