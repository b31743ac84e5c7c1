/* passes/ahead.c: sums whose results lie in several rows fetch where they go, and nothing else
 * does. */
#include "loop_pass_helper.h"

#include "passes/ahead.h"

static void ahead(Ctx *ctx, LoopModule *m) {
    ahead_of_stores(ctx, m->funcs.p[0]);
    const char *why = loop_verify(m);
    if (why)
        fail_msg("%s\n%s", why, loops_text(ctx, m));
}

static const char *const bufs = "buf a f32[16, 64] = arg 2 at 0\nbuf b f32[16, 16] = arg 3 at "
                                "0\nbuf out f32[32, 64] = arg 4 at 0 written";

/* Blocks of `rows` rows and as many vectors, each cell a sum. */
static const char *blocks(Ctx *ctx, int rows, int vectors, int sums) {
    StrBuf sb = sb_new(&ctx->perm);
    sb_printf(&sb, "%%1 = f32x16 0.0\nfor o in 0..%d step %d {\n for c in 0..64 step %d {\n",
              32 / rows * rows, rows, 16 * vectors);
    sb_printf(&sb,
              "  %%2 = for n in 0..%d with %%3 = %%1 {\n   %%4 = load f32x16 a[n, c] active 64 - "
              "c\n   %%5 = add(%%3, %%4)\n   yield %%5\n  }\n",
              sums);
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            sb_printf(&sb, "  store out[o + %d, c + %d] = %%2\n", r, 16 * v);
    sb_put(&sb, " }\n}");
    return sb.text;
}

static void several_rows_are_fetched(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    check_pass(ahead, bufs, blocks(ctx, 16, 2, 5),
               PARTS("store out[o, c] = %2 ahead 32", "store out[o + 15, c + 16] = %2 ahead 32"),
               NULL);
    check_pass(ahead, bufs, blocks(ctx, 8, 2, 5), PARTS("store out[o, c] = %2 ahead 512"), NULL);
    ctx_free(ctx);
}

static void other_stores_are_not(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    check_pass(ahead, bufs, blocks(ctx, 1, 4, 5), NULL, "ahead"); /* one row */
    check_pass(ahead, bufs, blocks(ctx, 8, 4, 5), NULL, "ahead"); /* rows that follow one another */
    check_pass(ahead, bufs, blocks(ctx, 8, 2, 1), NULL, "ahead"); /* no sum to wait for */
    check_pass(ahead, bufs, blocks(ctx, 2, 1, 5), NULL,
               "ahead"); /* little is stored before the cells are needed */
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_rows_are_fetched),
        cmocka_unit_test(other_stores_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
