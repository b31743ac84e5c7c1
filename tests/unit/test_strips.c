/* passes/strips.c: an operand that every iteration of an outer loop reads anew is read in strips,
 * with equal sums. */
#include "loop_pass_helper.h"

#include "passes/strips.h"

static void strips(Ctx *ctx, LoopModule *m) {
    Target small = *m->target;
    small.l2_bytes = 4096;
    strip_loops(ctx, m->arena, m, m->funcs.p[0], &small);
    const char *why = loop_verify(m);
    if (why)
        fail_msg("%s\n%s", why, loops_text(ctx, m));
}

#define BUFS                                                                                       \
    "buf a f32[16, 160] = arg 2 at 0\nbuf b f32[32, 16] = arg 3 at 0\n"                            \
    "buf out f32[32, 160] = arg 4 at 0 written"

/* Rows of b by columns of a; `range` of p, subscripts of a and of what is stored. */
static const char *product(Ctx *ctx, int rows, const char *range, const char *of, const char *to) {
    return str_fmt(
        ctx,
        "for r in 0..1 parallel {\n for o in 0..%d {\n  %%1 = load f32 b[o, 3]\n  for p in %s {\n"
        "   %%2 = for c in 0..16 with %%3 = %%1 {\n"
        "    %%4 = load f32 a[%s]\n    %%5 = load f32 b[o, c]\n    %%6 = fma(%%4, %%5, %%3)\n"
        "    yield %%6\n   }\n   store out[%s] = %%2\n  }\n }\n}",
        rows, range, of, to);
}

static void an_operand_larger_than_the_cache_goes_by_strips(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    check_pass(
        strips, BUFS, product(ctx, 16, "0..128", "c, p", "o, p"),
        PARTS("for pb in 0..8 {", "for p in 0..16 {", "a[c, p + 16*pb]", "out[o, p + 16*pb]"),
        "p in 0..128");
    check_pass(strips, BUFS, product(ctx, 16, "0..64", "c, 2*p", "o, o + p"),
               PARTS("for pb in 0..4 {", "a[c, 2*p + 32*pb]", "out[o, o + p + 16*pb]"), NULL);
    ctx_free(ctx);
}

static void what_stays_in_the_cache_is_left(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    check_pass(strips, BUFS, product(ctx, 16, "0..16", "c, p", "o, p"), NULL, "pb");
    check_pass(strips, BUFS, product(ctx, 4, "0..128", "c, p", "o, p"), NULL, "pb");
    /* each row of the product reads other columns */
    check_pass(strips, BUFS, product(ctx, 16, "0..128", "c, o + p", "o, p"), NULL, "pb");
    /* no strip of a prime number of columns */
    check_pass(strips, BUFS, product(ctx, 16, "0..127", "c, p", "o, p"), NULL, "pb");
    ctx_free(ctx);
}

/* What is needed of a triangle inside goes by the whole index, too. */
static void a_triangle_inside_keeps_what_it_needs(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *text =
        "for r in 0..1 parallel {\n for o in 0..16 {\n  for p in 0..64 {\n   for q in 0..2 needs p "
        "- 30 {\n"
        "    %1 = f32 0.0\n    %2 = for c in 0..16 with %3 = %1 {\n     %4 = load f32 a[c, p + q]\n"
        "     %5 = load f32 b[o, c]\n     %6 = fma(%4, %5, %3)\n     yield %6\n    }\n"
        "    store out[o, q, p] = %2\n   }\n  }\n }\n}";
    const char *bufs = "buf a f32[16, 160] = arg 2 at 0\nbuf b f32[32, 16] = arg 3 at 0\n"
                       "buf out f32[16, 2, 160] = arg 4 at 0 written";
    check_pass(strips, bufs, text,
               PARTS("for pb in 0..8 {", "needs p + 8*pb - 30", "out[o, q, p + 8*pb]"), NULL);
    ctx_free(ctx);
}

static void iterations_that_need_their_order_keep_it(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    check_pass(strips, BUFS, product(ctx, 16, "0..128", "c, p", "0, p"), NULL, "pb");
    check_pass(strips, BUFS, product(ctx, 16, "0..128", "c, p", "0, o + p"), NULL, "pb");
    check_pass(strips, BUFS, product(ctx, 16, "o..128", "c, p", "o, p"), NULL, "pb");
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_operand_larger_than_the_cache_goes_by_strips),
        cmocka_unit_test(what_stays_in_the_cache_is_left),
        cmocka_unit_test(a_triangle_inside_keeps_what_it_needs),
        cmocka_unit_test(iterations_that_need_their_order_keep_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
