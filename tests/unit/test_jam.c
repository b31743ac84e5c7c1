/* passes/jam.c, block.c: register blocking keeps every bit. */
#include "loop_pass_helper.h"

#include "passes/block.h"
#include "passes/jam.h"

static LoopStmt *loop_called(LoopBody *b, const char *index) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k], *inner;
        if (s->kind == LOOP_FOR && strcmp(s->index->name, index) == 0)
            return s;
        if ((inner = loop_called(&s->body, index)))
            return inner;
    }
    return NULL;
}

static void must_verify(Ctx *ctx, const LoopModule *m) {
    const char *why = loop_verify(m);
    if (why)
        fail_msg("%s\n%s", why, loops_text(ctx, m));
}

static BlockNest nest_at(LoopModule *m, const char *index) {
    BlockNest n = {.n_outs = 0};
    for (LoopStmt *s = loop_called(&m->funcs.p[0]->body, index); s;) {
        if (s->n_carried)
            n.sums[n.n_sums++] = s;
        else
            n.outs[n.n_outs++] = s;
        LoopStmt *inner = NULL;
        for (int k = 0; k < s->body.stmts.n; k++)
            inner = s->body.stmts.p[k]->kind == LOOP_FOR ? s->body.stmts.p[k] : inner;
        s = inner;
    }
    return n;
}

/* The nest of the loop called `index`, blocked as planned. */
static bool block(Ctx *ctx, LoopModule *m, const char *index, BlockPlan plan) {
    LoopFunc *f = m->funcs.p[0];
    BlockNest n = nest_at(m, index);
    for (int k = 0; k < n.n_outs; k++)
        if (plan.by[k] > 1 && !block_allowed(ctx, &ctx->perm, f, &n, k))
            return false;
    if (plan.apart >= 0)
        assert_true(block_apart_allowed(f, &n));
    block_nest(ctx, &ctx->perm, m, f, &f->body, &n, &plan);
    must_verify(ctx, m);
    return true;
}

static void k_by_3(Ctx *ctx, LoopModule *m) {
    assert_true(block(ctx, m, "k", (BlockPlan){.by = {3, 1, 1}, .unroll_by = 1, .apart = -1}));
}

static void k_and_x(Ctx *ctx, LoopModule *m) {
    assert_true(block(ctx, m, "k", (BlockPlan){.by = {2, 1, 4}, .unroll_by = 1, .apart = -1}));
}

static void x_and_taps(Ctx *ctx, LoopModule *m) {
    assert_true(block(ctx, m, "k", (BlockPlan){.by = {1, 1, 4}, .unrolled = 2, .apart = 1}));
}

static void x_by_5(Ctx *ctx, LoopModule *m) {
    assert_true(block(ctx, m, "k", (BlockPlan){.by = {1, 1, 5}, .unroll_by = 2, .apart = -1}));
}

static void x_by_4(Ctx *ctx, LoopModule *m) {
    assert_true(block(ctx, m, "k", (BlockPlan){.by = {1, 4}, .unrolled = 1, .apart = -1}));
}

static void s_by_3(Ctx *ctx, LoopModule *m) {
    assert_true(block(ctx, m, "k", (BlockPlan){.by = {1, 3}, .unroll_by = 2, .apart = -1}));
}

static void jam_all(Ctx *ctx, LoopModule *m) {
    jam_loops(ctx, &ctx->perm, m, m->funcs.p[0], m->target);
    must_verify(ctx, m);
}

static const char *const conv_bufs =
    "buf in f32[2, 10, 10] = arg 2 at 0\nbuf w f32[6, 2, 3, 3] = arg 3 at 0\nbuf out f32[6, 8, 8] "
    "= arg 4 at 0 written\nbuf bias f32[6] = arg 3 at 0";
static const char *const conv =
    "for k in 0..6 {\n for y in 0..8 {\n  for x in 0..8 {\n   %1 = load f32 bias[k]\n   %2 = for c "
    "in 0..2 with %3 = %1 {\n    %4 = for r in 0..3 with %5 = %3 {\n"
    "     %6 = for s in 0..3 with %7 = %5 {\n      %8 = load f32 w[k, c, r, s]\n      %9 = load "
    "f32 in[c, y + r, x + s]\n      %10 = fma(%8, %9, %7)\n      yield %10\n     }\n"
    "     yield %6\n    }\n    yield %4\n   }\n   %11 = f32 0.0\n   %12 = max(%2, %11)\n   store "
    "out[k, y, x] = %12\n  }\n }\n}";

static void convolution(void **state) {
    (void)state;
    check_pass(k_by_3, conv_bufs, conv, PARTS("for k in 0..6 step 3", "store out[k + 2, y, x]"),
               NULL);
    check_pass(k_and_x, conv_bufs, conv,
               PARTS("for k in 0..6 step 2", "for x in 0..8 step 4", "store out[k + 1, y, x + 3]"),
               NULL);
    check_pass(jam_all, conv_bufs, conv, PARTS("step"), NULL);
}

/* Sums of elements that are read once go by few rows: those of neighbouring cells. */
static void pooling_reads_few_rows(void **state) {
    (void)state;
    check_pass(jam_all,
               "buf in f32[6, 28, 28] = arg 2 at 0\nbuf out f32[6, 14, 14] = arg 4 at 0 written",
               "for k in 0..6 {\n for y in 0..14 {\n  for x in 0..14 {\n   %1 = f32 0.0\n   %2 = for r in "
               "0..2 with %3 = %1 {\n    %4 = for s in 0..2 with %5 = %3 {\n     %6 = load f32 in[k, "
               "2*y + r, 2*x + s]\n     %7 = add(%5, %6)\n     yield %7\n    }\n    yield %4\n   }\n"
               "   store out[k, y, x] = %2\n  }\n }\n}",
               PARTS("store out[k, y, 13] = "), "store out[k + 1");
}

static void unrolled_taps_share_their_loads(void **state) {
    (void)state;
    check_pass(x_and_taps, conv_bufs, conv,
               PARTS("load f32 in[c, y + 2, x + 5]", "for x in 0..8 step 4", "for x in 0..8 {",
                     "load f32 out[k, y, x]"),
               "for s in");
}

static void remainders_are_pieces_of_their_own(void **state) {
    (void)state;
    check_pass(x_by_5, conv_bufs, conv,
               PARTS("for s in 0..2 step 2", "store out[k, y, 4]", "store out[k, y, 5]",
                     "store out[k, y, 7]"),
               "for x in");
}

/* Padding by 2: the taps of the first and last two cells are fewer. */
static void borders_are_clipped(void **state) {
    (void)state;
    static const char *const bufs = "buf in f32[12] = arg 2 at 0\nbuf w f32[6, 5] = arg 3 at "
                                    "0\nbuf out f32[6, 12] = arg 4 at 0 written";
    check_pass(x_by_4, bufs,
               "for k in 0..6 {\n for x in 0..12 {\n  %1 = f32 0.0\n  %2 = for s in max(2 - x, "
               "0)..min(14 - x, 5) with %3 = %1 {\n   %4 = load f32 w[k, s]\n"
               "   %5 = load f32 in[x + s - 2]\n   %6 = fma(%4, %5, %3)\n   yield %6\n  }\n  "
               "store out[k, x] = %2\n }\n}",
               PARTS("load f32 in[0]", "load f32 in[11]", "store out[k, 11]"), "for s in");
    check_pass(
        s_by_3, /* a weight's gradient: the sum's bounds depend on the tap */
        "buf in f32[12] = arg 2 at 0\nbuf dy f32[6, 12] = arg 3 at 0\nbuf out f32[6, 5] = "
        "arg 4 at 0 written",
        "for k in 0..6 {\n for s in 0..5 {\n  %1 = load f32 out[k, s]\n  %2 = for x in max(2 "
        "- s, 0)..min(14 - s, 12) with %3 = %1 {\n   %4 = load f32 dy[k, x]\n"
        "   %5 = load f32 in[x + s - 2]\n   %6 = fma(%4, %5, %3)\n   yield %6\n  }\n  "
        "store out[k, s] = %2\n }\n}",
        PARTS("for x in 2..12 step 2", "store out[k, 4]"), NULL);
}

static void jam_beyond_the_first_cache(Ctx *ctx, LoopModule *m) {
    Target small = *m->target;
    small.l1_bytes = 1024;
    jam_loops(ctx, &ctx->perm, m, m->funcs.p[0], &small);
    must_verify(ctx, m);
}

/* The gradient of a 3 x 3 filter on images that do not stay in the first cache: all nine taps of two filters go side by
 * side, so that each line is read once for 18 sums; the first and last row have six taps. */
static void taps_share_what_comes_from_afar(void **state) {
    (void)state;
    static const char *const bufs = "buf in f32[2, 8, 8, 16] = arg 2 at 0\nbuf dy f32[4, 8, 8, 16] = arg 3 at 0\n"
                                    "buf out f32[4, 2, 3, 3, 16] = arg 4 at 0 written";
    static const char *const text =
        "for o in 0..4 {\n for c in 0..2 {\n  for a in 0..3 {\n   for b in 0..3 {\n    %1 = f32x16 0.0\n"
        "    %2 = for i in max(1 - a, 0)..min(9 - a, 8) with %3 = %1 {\n"
        "     %4 = for j in max(1 - b, 0)..min(9 - b, 8) with %5 = %3 {\n"
        "      %6 = load f32x16 dy[o, i, j, 0]\n      %7 = load f32x16 in[c, a + i - 1, b + j - 1, 0]\n"
        "      %8 = fma(%6, %7, %5)\n      yield %8\n     }\n     yield %4\n    }\n"
        "    store out[o, c, a, b, 0] = %2\n   }\n  }\n }\n}";
    check_pass(jam_beyond_the_first_cache, bufs, text,
               PARTS("for o in 0..4 step 2", "for i in 1..7", "store out[o + 1, c, 2, 2, 0]"), "for a in");
}

static void three_open_loops(Ctx *ctx, LoopModule *m) {
    assert_true(block(ctx, m, "i", (BlockPlan){.by = {4, 2, 2}, .unroll_by = 1, .apart = -1}));
}

/* In the rest of a block of 4 x 2 x 2 of unknown extents, the inner loops take more iterations, but there are never more
 * sums than the 16 of the block. */
static void rests_of_three_open_loops_have_no_more_sums_than_a_block(void **state) {
    (void)state;
    static const char *const bufs = "buf x f32[3, M] = arg 2 at 0\nbuf y f32[3, N] = arg 3 at 0\n"
                                    "buf out f32[N, M, M] = arg 4 at 0 written";
    static const char *const text =
        "for i in 0..N {\n for j in 0..M {\n  for k in 0..M {\n   %1 = f32 0.0\n"
        "   %2 = for c in 0..3 with %3 = %1 {\n    %4 = load f32 y[c, i]\n    %5 = load f32 x[c, j]\n"
        "    %6 = load f32 x[c, k]\n    %7 = add(%5, %6)\n    %8 = fma(%4, %7, %3)\n    yield %8\n   }\n"
        "   store out[i, j, k] = %2\n  }\n }\n}";
    check_pass(three_open_loops, bufs, text,
               PARTS("step 4", "store out[i + 1, j + 3, k + 1]", "store out[i, j + 7, k + 1]"), "store out[i, j + 7, k + 3]");
}

/* A convolution with a table of connections: the copies run their loops together, so that what is
 * blocked does not change whether they run. */
static void conditions(void **state) {
    (void)state;
    check_pass(
        jam_all,
        "buf in f32[2, 10] = arg 2 at 0\nbuf w f32[6, 2, 3] = arg 3 at 0\nbuf out f32[6, 8] "
        "= arg 4 at 0 written\nbuf t bool[6, 2] = const [1, 0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0]",
        "for k in 0..6 {\n for x in 0..8 {\n  %1 = f32 0.0\n  %2 = for c in 0..2 with %3 = %1 "
        "{\n   %4 = load bool t[k, c]\n   %5 = for s in 0..3 when %4 with %6 = %3 {\n"
        "    %7 = load f32 w[k, c, s]\n    %8 = load f32 in[c, x + s]\n    %9 = fma(%7, %8, "
        "%6)\n    yield %9\n   }\n   yield %5\n  }\n  store out[k, x] = %2\n }\n}",
        PARTS("for s in 0..3 when", "for k in 0..6 {", "store out[k, 7]"), NULL);
}

/* As after vectorize: rows in lanes, the weights' loads are shared by none, the inputs' by all. */
static void rows_in_lanes(void **state) {
    (void)state;
    check_pass(jam_all,
               "buf w f32[12, 5] = arg 2 at 0\nbuf x f32[5, 16] = arg 3 at 0\nbuf out f32[12, 16] "
               "= arg 4 at 0 written",
               "%1 = f32x16 0.0\nfor k in 0..12 {\n %2 = for c in 0..5 with %3 = %1 {\n  %4 = load "
               "f32 w[k, c]\n  %5 = splat(%4) : f32x16\n"
               "  %6 = load f32x16 x[c, 0] active N\n  %7 = fma(%5, %6, %3)\n  yield %7\n }\n "
               "store out[k, 0] = %2 active N\n}",
               PARTS("for k in 0..12 step 12", "load f32 w[k + 11, 4]"), "for c in");
}

static void what_may_not_be_jammed(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    static const char *const bad[] = {
        "for k in 0..6 {\n %1 = load f32 out[k]\n store out[k + 1] = %1\n}",
        "for k in 0..min(N, 5) {\n %1 = load f32 x[k]\n store out[k] = %1\n}",
        "for k in 0..6 {\n for i in 0..k {\n %1 = load f32 x[k]\n store out[k] = %1\n }\n}",
        "for k in 0..6 {\n %1 = load f32 x[k]\n %2 = lt(%1, %1)\n require %2 else 0\n store "
        "out[k] = %1\n}",
        "for k in 0..6 {\n for i in 0..3 {\n %1 = load f32 x[k]\n store out[k + i] = %1\n }\n}",
        "for k in 0..2 {\n %1 = f32 0.0\n %2 = for a in max(2 - 3*k, 0)..3 step 8 with %3 = %1 {\n "
        "%4 = load f32x8 x[a + 3*k - 2] active 3 - a\n %5 = lane_sum(%4)\n %6 = add(%3, %5)\n "
        "yield %6\n }\n store out[k] = %2\n}", /* lanes start where their bounds start */
        "for k in 0..6 {\n for i in 0..3 {\n %1 = load f32 x[k]\n %2 = for s in max(k - 2, i)..4 "
        "with %3 = %1 { \n yield %3\n }\n store out[k, i] = %2\n }\n}",
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        LoopModule *m = must_read_loops(
            ctx, program(ctx,
                         k + 1 < sizeof bad / sizeof *bad
                             ? "buf x f32[N] = arg 2 at 0\nbuf out f32[N] = arg 4 at 0 written"
                             : "buf x f32[N] = arg 2 at 0\nbuf out f32[6, 3] = arg 4 at 0 written",
                         bad[k]));
        const char *text = loops_text(ctx, m);
        BlockNest n = nest_at(m, "k");
        assert_false(block_allowed(ctx, &ctx->perm, m->funcs.p[0], &n, 0));
        assert_string_equal(loops_text(ctx, m), text);
    }
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolution),
        cmocka_unit_test(taps_share_what_comes_from_afar),
        cmocka_unit_test(rests_of_three_open_loops_have_no_more_sums_than_a_block),
        cmocka_unit_test(pooling_reads_few_rows),
        cmocka_unit_test(unrolled_taps_share_their_loads),
        cmocka_unit_test(remainders_are_pieces_of_their_own),
        cmocka_unit_test(borders_are_clipped),
        cmocka_unit_test(conditions),
        cmocka_unit_test(rows_in_lanes),
        cmocka_unit_test(what_may_not_be_jammed),
    };
    return cmocka_run_group_tests_name("jam", tests, NULL, NULL);
}
