/* For tests of passes on loops: a function of (M, N, a, b const, out, work), run before and after.
 */
#ifndef CNNC_TESTS_LOOP_PASS_HELPER_H
#define CNNC_TESTS_LOOP_PASS_HELPER_H

#include "loop_helper.h"

#include "passes/pass.h"

enum { MOST = 8192 };

/* A function of (M, N, a, b const, out, work): M and N symbolic, the shapes in `bufs`. */
static inline const char *program(Ctx *ctx, const char *bufs, const char *body) {
    return str_fmt(
        ctx,
        "loops \"a.cnn\" for \"x86-64-v4\"\nstatus 0 \"bad\"\nfunc \"f\" f32 groups 8 @- {\n dims "
        "M, N\n"
        " status null 0 dim 0 stop 0 overflow 0\n"
        " entry def \"f\" {\n  dim \"M\" is M\n  dim \"N\" is N\n  input \"a\" f32 const bytes 4\n"
        "  input \"b\" f32 const bytes 4\n  out \"out\" f32 bytes 4\n  work \"work\" bytes 0\n }\n"
        "%s\n%s\n}\n",
        bufs, body);
}

typedef void LoopPass(Ctx *ctx, LoopModule *m);

static inline void vectorize_loops(Ctx *ctx, LoopModule *m) {
    Unit u = {
        .ctx = ctx, .arena = &ctx->perm, .loops = m, .target = m->target, .groups = 8, .rows = 16};
    ctx->running_pass = "vectorize";
    pass_vectorize(&u);
    ctx->running_pass = NULL;
    const char *why = loop_verify(m);
    if (why)
        fail_msg("%s\n%s", why, loops_text(ctx, m));
}

static inline void run_on_numbers(Ctx *ctx, const LoopModule *m, int64_t rows, int64_t n,
                                  float *out) {
    static float a[MOST], b[MOST];
    for (int k = 0; k < MOST; k++) {
        a[k] = (float)(k * 7 % 11 - 5);
        b[k] = (float)(k * 5 % 13 - 6);
        out[k] = (float)(k % 3);
    }
    const LoopArg args[] = {{.i = rows}, {.i = n}, {.p = a}, {.p = b}, {.p = out}, {.p = NULL}};
    assert_int_equal(run_loops(ctx, m, 0, args), 0);
}

/* The pass keeps the results (integers: sums are exact in any order), and its text has every part
 * in `parts` and none in `absent`. */
static inline void check_pass(LoopPass *pass, const char *bufs, const char *body,
                              const char *const *parts, const char *absent) {
    Ctx *ctx = ctx_new(0);
    const char *text = program(ctx, bufs, body);
    LoopModule *before = must_read_loops(ctx, text), *after = must_read_loops(ctx, text);
    pass(ctx, after);
    const char *got = loops_text(ctx, after);
    for (int k = 0; parts && parts[k]; k++)
        if (!strstr(got, parts[k]))
            fail_msg("no `%s` in\n%s", parts[k], got);
    if (absent && strstr(got, absent))
        fail_msg("`%s` in\n%s", absent, got);
    assert_non_null(must_read_loops(ctx, got));
    static float x[MOST], y[MOST];
    static const int64_t sizes[][2] = {{1, 1}, {2, 5}, {3, 16}, {1, 17}, {5, 33}, {4, 64}};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        run_on_numbers(ctx, before, sizes[k][0], sizes[k][1], x);
        run_on_numbers(ctx, after, sizes[k][0], sizes[k][1], y);
        for (int j = 0; j < MOST; j++)
            if (memcmp(&x[j], &y[j], sizeof(float)) != 0)
                fail_msg("out[%d] is %g, was %g, with M = %d, N = %d\n%s", j, (double)y[j],
                         (double)x[j], (int)sizes[k][0], (int)sizes[k][1], got);
    }
    ctx_free(ctx);
}

#define PARTS(...) ((const char *const[]){__VA_ARGS__, NULL})

#endif
