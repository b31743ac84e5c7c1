/* passes/abreast.c: iterations side by side keep every bit; only long chains get them. */
#include "loop_pass_helper.h"

#include "passes/abreast.h"

static void abreast(Ctx *ctx, LoopModule *m) {
    abreast_loops(ctx, &ctx->perm, m, m->funcs.p[0], m->target);
    const char *why = loop_verify(m);
    if (why)
        fail_msg("%s\n%s", why, loops_text(ctx, m));
}

static const char *const bufs =
    "buf a f32[64, 16] = arg 2 at 0\nbuf out f32[64, 16] = arg 4 at 0 written";

/* A loop of n operations that wait for one another, which loads what `load` says. */
static const char *chain(Ctx *ctx, int trips, int n, const char *load) {
    StrBuf sb = sb_new(&ctx->perm);
    sb_printf(&sb, "%%1 = f32x16 0.5\n%%2 = f32x16 3.0\nfor i in 0..%d {\n %%3 = load f32x16 %s\n",
              trips, load);
    for (int k = 0; k < n; k++)
        sb_printf(&sb, " %%%d = fma(%%%d, %%1, %%2)\n", 4 + k, 3 + k);
    sb_printf(&sb, " store out[i, 0] = %%%d\n}", 3 + n);
    return sb.text;
}

static void long_chains_stand_side_by_side(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    check_pass(abreast, bufs, chain(ctx, 12, 16, "a[i, 0]"),
               PARTS("for i in 0..12 step 4", "load f32x16 a[i + 3, 0]", "store out[i + 3, 0]"),
               NULL);
    check_pass(abreast, bufs, chain(ctx, 15, 16, "a[i, 0]"), PARTS("for i in 0..15 step 3"), NULL);
    check_pass(abreast, bufs, chain(ctx, 14, 16, "out[i, 0]"), PARTS("for i in 0..14 step 2"),
               NULL); /* in place */
    ctx_free(ctx);
}

static void other_loops_stay(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    check_pass(abreast, bufs, chain(ctx, 12, 8, "a[i, 0]"), PARTS("for i in 0..12 {"),
               NULL); /* short */
    check_pass(abreast, bufs, chain(ctx, 13, 16, "a[i, 0]"), PARTS("for i in 0..13 {"),
               NULL); /* no divisor */
    check_pass(abreast, bufs, chain(ctx, 12, 16, "out[i + 1, 0]"), PARTS("for i in 0..12 {"),
               NULL); /* iterations depend on one another */
    check_pass(abreast, bufs, chain(ctx, 12, 16, "out[0, 0]"), PARTS("for i in 0..12 {"), NULL);
    ctx_free(ctx);
}

/* What no iteration changes is computed once, and a mask moves along. */
static void what_is_shared_is_computed_once(void **state) {
    (void)state;
    static const char *const text =
        "for i in 0..8 {\n %1 = f32x16 2.0\n %2 = load f32 a[0, 1]\n %3 = splat(%2) : f32x16\n"
        " %4 = index i64x16 i by 1\n %5 = load f32x16 a[i, 0] active 20 - 3*i\n"
        " %6 = fma(%5, %1, %3)\n %7 = fma(%6, %1, %3)\n %8 = fma(%7, %1, %3)\n %9 = fma(%8, %1, "
        "%3)\n %10 = fma(%9, %1, %3)\n"
        " %11 = sub(%10, %3)\n %12 = max(%11, %3)\n %13 = sub(%12, %5)\n %14 = mul(%13, %1)\n %15 "
        "= sub(%14, %5)\n"
        " %16 = fma(%15, %1, %3)\n %17 = fma(%16, %1, %3)\n %18 = cast(%4) : f32x16\n %19 = "
        "fma(%17, %1, %18)\n"
        " store out[i, 0] = %19 active 20 - 3*i\n}";
    check_pass(abreast, bufs, text,
               PARTS("for i in 0..8 step 4", "active 11 - 3*i", "index i64x16 i + 3 by 1"), NULL);
    Ctx *ctx = ctx_new(0);
    LoopModule *m = must_read_loops(ctx, program(ctx, bufs, text));
    abreast(ctx, m);
    int splats = 0;
    for (const char *p = loops_text(ctx, m); (p = strstr(p, "splat(")); p++)
        splats++;
    assert_int_equal(splats, 1);
    ctx_free(ctx);
}

/* Inside another loop, a few vectors of a row are written out, with masks where lanes are off. */
static void short_rows_are_written_out(void **state) {
    (void)state;
    const char *wide = "buf a f32[8, 40] = arg 2 at 0\nbuf out f32[8, 40] = arg 4 at 0 written";
    const char *row = "for i in 0..8 {\n for j in 0..%d step 16 {\n"
                      "  %%1 = load f32x16 %s[i, j] active %d - j\n  %%2 = add(%%1, %%1)\n"
                      "  %%3 = index i64x16 j by 1\n  %%4 = cast(%%3) : f32x16\n  %%5 = mul(%%2, %%4)\n"
                      "  store out[i, j] = %%5 active %d - j\n }\n}";
    Ctx *ctx = ctx_new(0);
    check_pass(abreast, wide, str_fmt(ctx, row, 40, "a", 40, 40),
               PARTS("load f32x16 a[i, 16]\n", "index i64x16 16 by 1", "a[i, 32] active 8"), "for j");
    check_pass(abreast, wide, str_fmt(ctx, row, 24, "out", 24, 24),
               PARTS("store out[i, 0] = %5\n", "out[i, 16] active 8"), "for j"); /* in place */
    check_pass(abreast, bufs, "for j in 0..24 step 16 {\n %1 = load f32x16 a[0, j] active 16 - j\n"
               " store out[0, j] = %1 active 16 - j\n}", PARTS("for j"), NULL); /* a kernel of its own */
    ctx_free(ctx);
}

/* Of unknown extent: whole vectors first, without masks, then the rest. */
static void whole_vectors_go_first(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *open = "buf a f32[M, N] = arg 2 at 0\nbuf b f32[N] = arg 3 at 0\nbuf out f32[M, N] = arg 4 at 0 written";
    const char *loop = "for i in 0..M {\n for j in 0..N step 16 {\n  %%1 = load f32x16 a[i, j] active N - j\n  %%2 = load f32x16 %s active %s\n"
                       "  %%3 = fma(%%1, %%2, %%1)\n  store out[i, j] = %%3 active N - j\n }\n}";
    check_pass(abreast, open, str_fmt(ctx, loop, "b[j]", "N - j"),
               PARTS("for j in 0..16*(N // 16) step 16", "load f32x16 b[j]\n", "store out[i, j] = %3\n", "for j in 16*(N // 16)..N step 16",
                     "load f32x16 b[j] active N - j"), NULL);
    check_pass(abreast, open, str_fmt(ctx, loop, "b[j]", "N - j - 1"), PARTS("load f32x16 b[j] active N - j - 1", "store out[i, j] = %3\n"),
               NULL); /* another mask stays */
    StrBuf sb = sb_new(&ctx->perm);
    sb_put(&sb, "%1 = f32x16 0.5\n%2 = f32x16 3.0\nfor j in 0..N step 16 {\n %3 = load f32x16 b[j] active N - j\n");
    for (int k = 0; k < 16; k++)
        sb_printf(&sb, " %%%d = fma(%%%d, %%1, %%2)\n", 4 + k, 3 + k);
    sb_put(&sb, " store out[0, j] = %19 active N - j\n}");
    check_pass(abreast, open, sb.text, PARTS("for j in 0..64*(N // 64) step 64", "load f32x16 b[j + 48]\n", "for j in 64*(N // 64)..N step 16"), NULL);
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_chains_stand_side_by_side),
        cmocka_unit_test(other_loops_stay),
        cmocka_unit_test(what_is_shared_is_computed_once),
        cmocka_unit_test(short_rows_are_written_out),
        cmocka_unit_test(whole_vectors_go_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
