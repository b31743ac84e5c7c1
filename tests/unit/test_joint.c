/* passes/joint.c: nests that hand tensors on run together, a part of an axis at a time, and keep every bit. */
#include "loop_pass_helper.h"

#include "passes/joint.h"

static void joint(Ctx *ctx, LoopModule *m) {
    Target small = *m->target;
    small.l2_bytes = 2048;
    joint_loops(ctx, m->arena, m, m->funcs.p[0], &small);
    const char *why = loop_verify(m);
    if (why)
        fail_msg("%s\n%s", why, loops_text(ctx, m));
}

static void joint_in_a_large_cache(Ctx *ctx, LoopModule *m) {
    joint_loops(ctx, m->arena, m, m->funcs.p[0], m->target);
}

#define BUFS(h)                                                                                    \
    "buf a f32[16, 64] = arg 2 at 0\nbuf b f32[4, 64] = arg 3 at 0\n"                             \
    "buf w f32[4, 16] = arg 3 at 0\nbuf h f32[16, 64] = " h " written\n"                          \
    "buf dw f32[4, 16] = arg 4 at 0 written\nbuf dx f32[16, 64] = arg 4 at 1024 written\n"        \
    "buf s f32[16] = arg 4 at 8192 written\nbuf t f32[16] = arg 4 at 12288 written"

#define JOB "for r in 0..1 parallel {\n"
#define FILL                                                                                       \
    "for c in 0..16 {\n for p in 0..64 {\n  %1 = load f32 a[c, p]\n  %2 = f32 0.0\n"              \
    "  %3 = max(%2, %1)\n  store h[c, p] = %3\n }\n}\n"

/* sum over p of b[o, p] * h[..] */
#define WEIGHTS(at)                                                                                \
    "for o in 0..4 {\n for c in 0..16 {\n  %4 = f32 0.0\n  %5 = for p in 0..64 with %6 = %4 {\n"  \
    "   %7 = load f32 b[o, p]\n   %8 = load f32 h[" at "]\n   %9 = fma(%7, %8, %6)\n"             \
    "   yield %9\n  }\n  store dw[o, c] = %5\n }\n}\n"

#define DATA                                                                                       \
    "for c in 0..16 {\n for p in 0..64 {\n  %10 = f32 0.0\n"                                      \
    "  %11 = for o in 0..4 with %12 = %10 {\n   %13 = load f32 b[o, p]\n   %14 = load f32 w[o, c]\n" \
    "   %15 = fma(%13, %14, %12)\n   yield %15\n  }\n  %16 = load f32 h[c, p]\n"                  \
    "  %17 = le(%16, %10)\n  %18 = select(%17, %10, %11)\n  store dx[c, p] = %18\n }\n}\n"

#define SUM(at)                                                                                    \
    "for i in 0..16 {\n %19 = f32 0.0\n %20 = for p in 0..64 with %21 = %19 {\n"                  \
    "  %22 = load f32 dx[" at "]\n  %23 = load f32 a[i, p]\n  %24 = fma(%22, %23, %21)\n  yield %24\n }\n" \
    " store s[i] = %20\n}\n"

#define REVERSED "for q in 0..16 {\n %30 = load f32 h[15 - q, 3]\n store t[q] = %30\n}\n"

static void nests_that_hand_on_run_by_bands(void **state) {
    (void)state;
    check_pass(joint, BUFS("job"), JOB FILL WEIGHTS("c, p") DATA SUM("i, p") "}",
               PARTS("for cb in 0..4 {", "h f32[4, 64] = job", "store h[c, p]", "load f32 h[c, p]",
                     "store dw[o, c + 4*cb]", "store dx[c + 4*cb, p]", "load f32 dx[4*cb + i, p]",
                     "for i in 0..4 {"),
               "0..16");
}

static void what_stays_in_the_cache_is_left(void **state) {
    (void)state;
    check_pass(joint_in_a_large_cache, BUFS("job"), JOB FILL WEIGHTS("c, p") DATA SUM("i, p") "}", NULL, "cb");
    /* outside of jobs, the pass `parallel` makes jobs of each nest */
    check_pass(joint, BUFS("arg 4 at 16384"), FILL WEIGHTS("c, p") DATA SUM("i, p"), NULL, "cb");
    /* b would be read in each band, and only dx be found */
    check_pass(joint, BUFS("job"), JOB DATA "}", NULL, "cb");
}

/* What reads other bands than its own waits for all of them. */
static void a_reader_of_other_cells_stands_apart(void **state) {
    (void)state;
    check_pass(joint, BUFS("job"), JOB FILL WEIGHTS("15 - c, p") "}", NULL, "cb");
    check_pass(joint, BUFS("job"), JOB FILL WEIGHTS("4*o, p") "}", NULL, "cb");
    /* the run ends before it: h is whole */
    check_pass(joint, BUFS("job"), JOB FILL WEIGHTS("c, p") DATA REVERSED "}",
               PARTS("h f32[16, 64] = job", "for cb in 0..4 {", "for q in 0..16 {", "load f32 h[c + 4*cb, p]",
                     "load f32 h[15 - q, 3]"),
               NULL);
}

/* A later nest stores where an earlier one reads at other cells. */
static void a_store_waits_for_the_readers_before(void **state) {
    (void)state;
    check_pass(joint, BUFS("job"),
               JOB "for c in 0..16 {\n for p in 0..64 {\n  %1 = load f32 dx[15 - c, p]\n  store h[c, p] = %1\n }\n}\n" DATA
                   SUM("i, p") "}",
               PARTS("load f32 dx[15 - c, p]"), NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nests_that_hand_on_run_by_bands),
        cmocka_unit_test(what_stays_in_the_cache_is_left),
        cmocka_unit_test(a_reader_of_other_cells_stands_apart),
        cmocka_unit_test(a_store_waits_for_the_readers_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
