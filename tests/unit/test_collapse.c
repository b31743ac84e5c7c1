/* passes/collapse.c: which loops become one, and that they compute what they did. */
#include "loop_pass_helper.h"

#include "passes/collapse.h"

static void collapse_all(Ctx *ctx, LoopModule *m) {
    collapse_loops(ctx, &ctx->perm, m, m->funcs.p[0]);
    const char *why = loop_verify(m);
    if (why)
        fail_msg("%s\n%s", why, loops_text(ctx, m));
}

static const char *const bufs =
    "buf a f32[3, 4, 5] = arg 2 at 0\nbuf b f32[M, 4, 5] = arg 3 at 0\n"
    "buf out f32[2, 3, 4, 5] = arg 4 at 0 written\nbuf c f32[4] = arg 3 at 0\n"
    "buf flat f32[M, 20] = arg 3 at 0";

static void neighbouring_axes_become_one(void **state) {
    (void)state;
    check_pass(collapse_all, bufs,
               "for i in 0..3 \"k\" {\n for j in 0..4 {\n  for l in 0..5 {\n"
               "   %1 = load f32 a[i, j, l]\n   store out[1, i, j, l] = %1\n  }\n }\n}",
               PARTS("for i in 0..60 \"k\" {\n    %1 = load f32 a", "[1, i] = %1"), "for j");
    /* only as far as all accesses go; symbolic outer extents; what mentions neither index */
    check_pass(collapse_all, bufs,
               "for i in 0..min(M, 3) {\n for j in 0..4 {\n  for l in 0..5 {\n"
               "   %1 = load f32 b[i, j, l]\n   %2 = load f32 c[1]\n   %3 = mul(%1, %2)\n"
               "   store out[0, i, j, l] = %3\n  }\n }\n}",
               PARTS("for i in 0..min(M, 3) {", "for j in 0..20 {"), "for l");
    check_pass(
        collapse_all, bufs,
        "for j in 0..4 {\n for l in 0..5 {\n  %1 = load f32 a[0, j, l]\n  %2 = load f32 c[j]\n"
        "  %3 = add(%1, %2)\n  store out[0, 0, j, l] = %3\n }\n}",
        PARTS("for l in 0..5"), NULL);
    /* lanes along another axis */
    check_pass(
        collapse_all,
        "buf v f32[3, 4, 16] = arg 2 at 0\nbuf out f32[3, 4, 16] = arg 4 at 0 written",
        "for i in 0..3 {\n for j in 0..4 {\n  %1 = load f32x16 v[i, j, 0]\n  store out[i, j, 0] = "
        "%1\n }\n}",
        PARTS("for i in 0..12 {"), "for j");
    /* a sum that the outer loop passes on */
    check_pass(
        collapse_all, bufs,
        "%1 = f32 0.5\n%2 = for i in 0..M with %3 = %1 {\n %4 = for j in 0..20 with %5 = %3 {\n"
        "  %6 = load f32 flat[i, j]\n  %7 = add(%5, %6)\n  yield %7\n }\n yield %4\n}\n"
        "store out[0, 0, 0, 0] = %2",
        PARTS("for i in 0..20*M with"), "for j");
    /* an index as a value, a short cut through an axis, the axes the other way round, bounds that
     * differ */
    static const char *const apart[] = {
        "for j in 0..4 {\n for l in 0..5 {\n  %1 = index i64 j\n  %2 = cast(%1) : f32\n"
        "  store out[0, 0, j, l] = %2\n }\n}",
        "for j in 0..4 {\n for l in 0..3 {\n  %1 = load f32 a[0, j, l]\n"
        "  store out[0, 0, j, l] = %1\n }\n}",
        "for l in 0..5 {\n for j in 0..4 {\n  %1 = load f32 a[0, j, l]\n"
        "  store out[0, 0, j, l] = %1\n }\n}",
        "for j in 0..3 {\n for l in 0..5 {\n  %1 = load f32 a[0, j + 1, l]\n"
        "  store out[0, 0, j, l] = %1\n }\n}",
        "for j in 0..4 {\n for l in j..5 {\n  %1 = load f32 a[0, j, l]\n"
        "  store out[0, 0, j, l] = %1\n }\n}",
    };
    for (size_t k = 0; k < sizeof apart / sizeof *apart; k++)
        check_pass(collapse_all, bufs, apart[k], PARTS("for j", "for l"), NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(neighbouring_axes_become_one)};
    return cmocka_run_group_tests_name("collapse", tests, NULL, NULL);
}
