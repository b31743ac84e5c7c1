/* passes/merge.c: which loops become one, and that they compute what they did. */
#include "loop_pass_helper.h"

#include "passes/merge.h"

static void merge_all(Ctx *ctx, LoopModule *m) {
    merge_loops(ctx, &ctx->perm, m, m->funcs.p[0]);
    const char *why = loop_verify(m);
    if (why)
        fail_msg("%s\n%s", why, loops_text(ctx, m));
}

static const char *const bufs =
    "buf a f32[64] = arg 2 at 0\nbuf b f32[64] = arg 3 at 0\nbuf out f32[64] = arg 4 at 0 "
    "written\nbuf more f32[4, 64] = arg 4 at 256 written\nbuf flat f32[256] = alias more "
    "written\nbuf third f32[4, 64] = arg 4 at 1280 written\nbuf flip f32[64] = arg 4 at 2304 "
    "written";

#define FIRST                                                                                      \
    "for i in 0..64 step 16 {\n %1 = load f32x16 a[i]\n %2 = load f32x16 out[i]\n %3 = add(%1, "   \
    "%2)\n store out[i] = %3\n}\n"
#define SECOND(cell)                                                                               \
    "for j in 0..64 step 16 {\n %11 = load f32x16 out" cell                                        \
    "\n %12 = load f32x16 b[j]\n %13 = mul(%11, %12)\n store more[0, j] = %13\n}\n"

static void what_follows_joins(void **state) {
    (void)state;
    check_pass(merge_all, bufs, FIRST SECOND("[j]"), PARTS("store out[i] = %3", "store more[0, i]"),
               "for j in");
    /* past a loop that touches neither, and values; a third one likewise; with loops inside */
    check_pass(
        merge_all, bufs,
        FIRST
        "for k in 0..8 {\n %4 = load f32 b[k]\n store third[1, k] = %4\n}\n%5 = f32 2.0\n"
        "%6 = splat(%5) : f32x16\n" SECOND("[j]") "for l in 0..64 step 16 {\n %14 = load f32x16 "
                                                  "more[0, l]\n for q in 2..4 {\n %15 = "
                                                  "load f32 b[q]\n store flip[l] = %14\n }\n}",
        PARTS("store more[0, i]", "store flip[i]", "for q in", "for k in"), "for l in");
}

static void other_loops_stay(void **state) {
    (void)state;
    static const char *const bad[] = {
        FIRST "for j in 0..48 step 16 {\n %11 = load f32x16 out[j + 1]\n store more[0, j] = %11\n}",
        FIRST
        "for j in 0..64 step 16 {\n %11 = load f32x16 out[48 - j]\n store more[0, j] = %11\n}",
        FIRST "for j in 0..64 step 16 {\n %11 = load f32x16 b[j]\n store out[0] = %11\n}",
        /* what it reads is stored in between; a value from there; a status */
        FIRST "for k in 0..8 {\n %4 = load f32 a[k]\n store out[k] = %4\n}\n" SECOND("[j]"),
        FIRST
        "%4 = load f32 out[3]\n%5 = splat(%4) : f32x16\nfor j in 0..64 step 16 {\n store more[0, "
        "j] = %5\n}",
        FIRST "%4 = load f32 a[3]\n%5 = eq(%4, %4)\nrequire %5 else 0\n" SECOND("[j]"),
        /* the same cells under another shape */
        "for i in 0..64 {\n %1 = load f32 a[i]\n store more[1, i] = %1\n}\nfor j in 0..64 {\n %2 = "
        "load f32 flat[j + 1]\n store out[j] = %2\n}",
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        check_pass(merge_all, bufs, bad[k], PARTS("for j in"), NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_follows_joins),
        cmocka_unit_test(other_loops_stay),
    };
    return cmocka_run_group_tests_name("merge", tests, NULL, NULL);
}
