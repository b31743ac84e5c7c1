/* passes/bands.c: a large copy is made in bands where every reader goes through it by rows, and
 * stays as it is elsewhere. */
#include "loop_pass_helper.h"

#include "passes/bands.h"

static void bands(Ctx *ctx, LoopModule *m) {
    band_loops(ctx, m->arena, m, m->funcs.p[0], m->target);
    const char *why = loop_verify(m);
    if (why)
        fail_msg("%s\n%s", why, loops_text(ctx, m));
}

#define BUFS(planes)                                                                               \
    "buf a f32[56, 58] = arg 2 at 0\nbuf b f32[64] = arg 3 at 0\nbuf out f32[60, 60] = arg 4 at "  \
    "0 written\nbuf p f32[" planes ", 60, 62] = job written"

/* Zeros, a copy inside them, and two readers, the first of which sums 5 rows and continues from
 * what `start` holds. `between` stands before the readers, `end` behind them. */
static const char *readers(Ctx *ctx, const char *planes, const char *start, const char *between,
                           const char *end) {
    return str_fmt(
        ctx,
        "for r in 0..1 parallel {\n"
        " for o in 0..%s {\n  for y in 0..60 {\n   for z in 0..62 {\n    %%1 = f32 0.0\n"
        "    store p[o, y, z] = %%1\n   }\n  }\n }\n"
        " for o in 0..%s {\n  for y in 0..56 {\n   for z in 0..58 {\n"
        "    %%2 = load f32 a[y, z]\n    %%3 = load f32 b[o]\n    %%4 = mul(%%2, %%3)\n"
        "    store p[o, y + 2, z + 1] = %%4\n   }\n  }\n }\n%s"
        " for j in 0..60 {\n  for i in 0..28 {\n   %%5 = load f32 %s\n"
        "   %%6 = for o in 0..4 with %%7 = %%5 {\n"
        "    %%8 = for k in 0..5 with %%9 = %%7 {\n"
        "     %%10 = load f32 p[5*o, 2*i - k + 4, j + 1]\n     %%11 = add(%%9, %%10)\n"
        "     yield %%11\n    }\n    yield %%8\n   }\n   store out[2*i, j] = %%6\n  }\n }\n"
        " for i in 0..28 {\n  for j in 0..60 {\n   %%12 = load f32 p[7, 2*i + 1, j]\n"
        "   store out[2*i + 1, j] = %%12\n  }\n }\n%s}",
        planes, planes, between, start, end);
}

static void readers_share_a_band(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    check_pass(bands, BUFS("40"), readers(ctx, "40", "out[2*i, j]", "", ""),
               PARTS("p f32[40, 31, 62]", "for ib in 0..2 {",
                     "for y in max(0, 28*ib - 2)..min(56, 28*ib + 29)",
                     "store p[o, y - 28*ib + 2, z + 1]", "p[5*o, 2*i - k + 4, j + 1]",
                     "store out[2*i + 28*ib, j]", "store out[2*i + 28*ib + 1, j]"),
               "in 0..28");
    ctx_free(ctx);
}

static void others_keep_their_copy(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *later =
        " for z in 0..60 {\n  %13 = load f32 p[3, 4, z]\n  store out[57, z] = %13\n }\n";
    const char *between = " for z in 0..60 {\n  %13 = f32 1.0\n  store out[57, z] = %13\n }\n";
    check_pass(bands, BUFS("16"), readers(ctx, "16", "out[2*i, j]", "", ""), NULL, "ib");
    /* iterations that follow one another touch the same cells */
    check_pass(bands, BUFS("40"), readers(ctx, "40", "out[2*i + 2, j]", "", ""), NULL, "ib");
    /* someone reads it afterwards, with no index for the rows */
    check_pass(bands, BUFS("40"), readers(ctx, "40", "out[2*i, j]", "", later), NULL, "ib");
    check_pass(bands, BUFS("40"), readers(ctx, "40", "out[2*i, j]", between, ""),
               PARTS("ib in 0..2"), NULL);
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_share_a_band),
        cmocka_unit_test(others_keep_their_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
