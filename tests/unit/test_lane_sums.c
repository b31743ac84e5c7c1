/* passes/lane_sums.c: sums of lanes for neighbouring cells are one vector, with every bit as
 * before. */
#include "loop_pass_helper.h"

#include <math.h>

#include "passes/lane_sums.h"

static void together(Ctx *ctx, LoopModule *m) {
    lane_sums(ctx, &ctx->perm, m, m->funcs.p[0], m->target);
    const char *why = loop_verify(m);
    if (why)
        fail_msg("%s\n%s", why, loops_text(ctx, m));
}

static const char *const bufs =
    "buf a f32[32, 16] = arg 2 at 0\nbuf out f32[4, 5, 5] = arg 4 at 0 written";

/* Cells 0..n - 1 of out[k] (`skip` > 0: of which that one is left out) start from 0 where M is 2,
 * else from what is there. */
static const char *cells(Ctx *ctx, int n, int skip, const char *between) {
    StrBuf sb = sb_new(&ctx->perm);
    sb_put(&sb,
           "for k in 0..4 {\n %1 = index i64 M\n %2 = i64 2\n %3 = eq(%1, %2)\n %4 = f32 0.0\n");
    for (int j = 0; j < n; j++)
        sb_printf(&sb, " %%%d = load f32 out[k, %d, %d]\n %%%d = select(%%3, %%4, %%%d)\n",
                  10 + 2 * j, j / 5, j % 5, 11 + 2 * j, 10 + 2 * j);
    sb_put(&sb, between);
    for (int j = 0; j < n; j++)
        sb_printf(&sb, " %%%d = load f32x16 a[%d, 0]\n", 100 + j, j);
    for (int j = 0; j < n; j++)
        sb_printf(&sb, " %%%d = lane_sum(%%%d)\n %%%d = add(%%%d, %%%d)\n", 200 + 2 * j, 100 + j,
                  201 + 2 * j, 11 + 2 * j, 200 + 2 * j);
    for (int j = 0; j < n; j++)
        if (!skip || j != skip)
            sb_printf(&sb, " store out[k, %d, %d] = %%%d\n", j / 5, j % 5, 201 + 2 * j);
    sb_put(&sb, "}");
    return sb.text;
}

static void neighbours_are_one_vector(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    for (int n = 5; n <= 25; n++)
        check_pass(together, bufs, cells(ctx, n, 0, ""),
                   PARTS("zip_low(", n < 16 ? str_fmt(ctx, "active %d", n) : "store out"),
                   "lane_sum(");
    check_pass(together, bufs, cells(ctx, 25, 0, ""), PARTS("[k, 16] = ", "active 9"), "lane_sum(");
    ctx_free(ctx);
}

/* n cells of a layer: a sum, scaled, and a bias; that of the last cell is b[k, last]. */
static const char *layer(Ctx *ctx, int n, const char *bias, int last) {
    StrBuf sb = sb_new(&ctx->perm);
    sb_put(&sb, "for k in 0..4 {\n %1 = f32 0.0\n %2 = f32 2.5\n");
    for (int j = 0; j < n; j++)
        sb_printf(&sb, " %%%d = load f32x16 a[%d, 0]\n %%%d = load f32 %s[k, %d]\n", 100 + j, j,
                  10 + j, bias, j + 1 < n ? j : last);
    for (int j = 0; j < n; j++)
        sb_printf(&sb,
                  " %%%d = lane_sum(%%%d)\n %%%d = add(%%1, %%%d)\n %%%d = fma(%%%d, %%2, %%%d)\n",
                  200 + 3 * j, 100 + j, 201 + 3 * j, 200 + 3 * j, 202 + 3 * j, 201 + 3 * j, 10 + j);
    for (int j = 0; j < n; j++)
        sb_printf(&sb, " store out[k, %d] = %%%d\n", j, 202 + 3 * j);
    sb_put(&sb, "}");
    return sb.text;
}

static void what_follows_the_sums_goes_with_them(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *dense = "buf a f32[32, 16] = arg 2 at 0\nbuf b f32[4, 24] = arg 3 at 0\n"
                        "buf out f32[4, 24] = arg 4 at 0 written\nbuf again f32[4, 24] = alias out";
    check_pass(together, dense, layer(ctx, 20, "b", 19),
               PARTS("zip_low(", "load f32x16 b[k, 16] active 4", "fma("), "lane_sum(");
    check_pass(together, dense, layer(ctx, 12, "b", 14), /* the last one's bias lies elsewhere */
               PARTS("load f32x16 b[k, 0] active 11", "lane_sum("), NULL);
    check_pass(together, dense, layer(ctx, 20, "again", 19), PARTS("lane_sum("),
               "zip_low("); /* is stored to */
    ctx_free(ctx);
}

static void a_gap_parts_them(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    check_pass(together, bufs, cells(ctx, 12, 6, ""), PARTS("active 6", "active 5", "zip_low("),
               NULL);
    ctx_free(ctx);
}

static void other_sums_stay(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    check_pass(together, bufs, cells(ctx, 4, 0, ""), PARTS("lane_sum("), "zip_low("); /* few */
    check_pass(together, bufs, cells(ctx, 8, 0, " %5 = f32 1.0\n store out[k, 0, 3] = %5\n"),
               PARTS("lane_sum("), "zip_low("); /* what was loaded is stored to */
    ctx_free(ctx);
}

/* The same additions, also where they round: lanes of very different size. */
static void additions_are_the_same(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *text = program(ctx, bufs, cells(ctx, 25, 0, ""));
    LoopModule *before = must_read_loops(ctx, text), *after = must_read_loops(ctx, text);
    together(ctx, after);
    static float a[512], x[100], y[100];
    for (int k = 0; k < 512; k++)
        a[k] = ldexpf((float)(k * 37 % 101 - 50) / 7, k * 13 % 40 - 20);
    for (int64_t rows = 1; rows <= 2; rows++) {
        for (int k = 0; k < 100; k++)
            x[k] = y[k] = (float)k / 3;
        const LoopArg to_x[] = {{.i = rows}, {.i = 1}, {.p = a}, {.p = a}, {.p = x}, {.p = NULL}},
                      to_y[] = {{.i = rows}, {.i = 1}, {.p = a}, {.p = a}, {.p = y}, {.p = NULL}};
        assert_int_equal(run_loops(ctx, before, 0, to_x), 0);
        assert_int_equal(run_loops(ctx, after, 0, to_y), 0);
        assert_memory_equal(x, y, sizeof x);
    }
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_are_one_vector),
        cmocka_unit_test(what_follows_the_sums_goes_with_them),
        cmocka_unit_test(a_gap_parts_them),
        cmocka_unit_test(other_sums_stay),
        cmocka_unit_test(additions_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
