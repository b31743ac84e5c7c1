/* passes/jam.c: register blocking keeps every bit. */
#include "loop_pass_helper.h"

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

static void jam_k_by_3(Ctx *ctx, LoopModule *m) {
    LoopFunc *f = m->funcs.p[0];
    assert_true(jam_loop(ctx, &ctx->perm, m, f, loop_called(&f->body, "k"), 3));
    must_verify(ctx, m);
}

static void jam_k_and_x(Ctx *ctx, LoopModule *m) {
    LoopFunc *f = m->funcs.p[0];
    assert_true(jam_loop(ctx, &ctx->perm, m, f, loop_called(&f->body, "x"), 4));
    assert_true(jam_loop(ctx, &ctx->perm, m, f, loop_called(&f->body, "k"), 2));
    must_verify(ctx, m);
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
    check_pass(jam_k_by_3, conv_bufs, conv, PARTS("for k in 0..6 step 3", "store out[k + 2, y, x]"),
               NULL);
    check_pass(jam_k_and_x, conv_bufs, conv,
               PARTS("for k in 0..6 step 2", "for x in 0..8 step 4", "store out[k + 1, y, x + 3]"),
               NULL);
    check_pass(jam_all, conv_bufs, conv, PARTS("step"), NULL);
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
               PARTS("for k in 0..12 step 6", "%14 = load f32 w[k, c]"), NULL);
}

static void what_may_not_be_jammed(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    static const struct {
        const char *body;
        int by;
    } bad[] = {
        {"for k in 0..6 {\n %1 = load f32 out[k]\n store out[k + 1] = %1\n}", 2},
        {"for k in 0..N {\n %1 = load f32 x[k]\n store out[k] = %1\n}", 2},
        {"for k in 0..6 {\n %1 = load f32 x[k]\n store out[k] = %1\n}", 4},
        {"for k in 0..6 {\n for i in 0..k {\n %1 = load f32 x[k]\n store out[k] = %1\n }\n}", 2},
        {"for k in 0..6 {\n %1 = load f32 x[k]\n %2 = lt(%1, %1)\n require %2 else 0\n store "
         "out[k] = %1\n}",
         2},
        {"for k in 0..6 {\n for i in 0..3 {\n %1 = load f32 x[k]\n store out[k + i] = %1\n }\n}",
         2},
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        LoopModule *m = must_read_loops(
            ctx, program(ctx, "buf x f32[N] = arg 2 at 0\nbuf out f32[N] = arg 4 at 0 written",
                         bad[k].body));
        const char *text = loops_text(ctx, m);
        assert_false(jam_loop(ctx, &ctx->perm, m, m->funcs.p[0],
                              loop_called(&m->funcs.p[0]->body, "k"), bad[k].by));
        assert_string_equal(loops_text(ctx, m), text);
    }
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolution),
        cmocka_unit_test(rows_in_lanes),
        cmocka_unit_test(what_may_not_be_jammed),
    };
    return cmocka_run_group_tests_name("jam", tests, NULL, NULL);
}
