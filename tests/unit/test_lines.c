/* passes/lines.c, codegen/emit_lines.c: sums over long rows of a caller's buffer may begin at lines
 * of the cache. Native code gives every bit of the same sums wherever the rows begin, and reads
 * nothing beside them. */
#include "jit_helper.h"
#include "loop_pass_helper.h"

#include "passes/lines.h"

static void lines(Ctx *ctx, LoopModule *m) {
    lines_mark(ctx, m->funcs.p[0], m->target);
    const char *why = loop_verify(m);
    if (why)
        fail_msg("%s\n%s", why, loops_text(ctx, m));
}

/* Two rows at once, from `from` to `to`; `load`: the loads of a row. */
static const char *rows(Ctx *ctx, int from, int to, const char *load, const char *start) {
    return str_fmt(ctx,
                   "%%1 = f32x16 0.0\nfor o in 0..64 step 2 {\n %%2 = %s\n"
                   " %%3, %%4 = for c in %d..%d step 16 with %%5 = %%2, %%6 = %%2 {\n"
                   "  %%7 = load f32x16 b[c]\n  %%8 = load f32x16 a[o, c]%s\n"
                   "  %%9 = load f32x16 a[o + 1, c]%s\n  %%10 = fma(%%7, %%8, %%5)\n"
                   "  %%11 = fma(%%7, %%9, %%6)\n  yield %%10, %%11\n }\n"
                   " %%12 = lane_sum(%%3)\n %%13 = lane_sum(%%4)\n store out[o] = %%12\n"
                   " store out[o + 1] = %%13\n}",
                   start, from, to, load, load);
}

static const char *const bufs = "buf a f32[64, 128] = arg 2 at 0\nbuf b f32[128] = arg 3 at 0\n"
                                "buf out f32[64] = arg 4 at 0 written";

static void long_rows_begin_at_lines(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    check_pass(lines, bufs, rows(ctx, 0, 128, "", "f32x16 0.0"), PARTS("step 16 lines a with"),
               NULL);
    ctx_free(ctx);
}

static void other_loops_stay(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    check_pass(lines, bufs, rows(ctx, 0, 96, "", "f32x16 0.0"), NULL, "lines"); /* few vectors */
    check_pass(lines, bufs, rows(ctx, 0, 128, " active 128 - c", "f32x16 0.0"), NULL, "lines");
    check_pass(lines, bufs, rows(ctx, 0, 128, "", "load f32x16 b[o]"), NULL,
               "lines"); /* lanes differ */
    check_pass(lines,
               "buf a f32[64, 120] = arg 2 at 0\nbuf b f32[128] = arg 3 at 0\nbuf out f32[64] = "
               "arg 4 at 0 written",
               rows(ctx, 0, 112, "", "f32x16 0.0"), NULL, "lines"); /* each row begins elsewhere */
    check_pass(
        lines,
        "buf a f32[63, 128] = arg 2 at 0\nbuf b f32[128] = arg 3 at 0\nbuf out f32[64] = arg 4 at "
        "0 written",
        "%1 = f32x16 0.0\nfor o in 0..62 step 2 {\n %3 = for c in 0..128 step 16 with %5 = %1 {\n"
        "  %8 = load f32x16 a[o, c]\n  %10 = add(%8, %5)\n  yield %10\n }\n"
        " %12 = lane_sum(%3)\n store out[o] = %12\n}",
        NULL, "lines"); /* stays in the first cache */
    ctx_free(ctx);
}

/* Compiled for `cpu`; every start of the weights within a line, between cells that must not be
 * read. */
static void check_starts(const char *text, const char *cpu, DType dt, int columns, int n_rows) {
    enum { CELLS = 8192 };
    static double memory[2][CELLS + 32], x[512], out[2][512], work[2][4096];
    Ctx *ctx = ctx_new(0);
    LoopModule *m = compile_text(ctx, text, dt, target_named(cpu), NULL);
    size_t size = dtype_size(dt);
    Jit *j = jit_open(ctx, m, &(CodegenOptions){.level = 2});
    assert_non_null(j);
    unsigned seed = 1;
    for (int k = 0; k < n_rows * columns + columns; k++) {
        seed = seed * 1664525u + 1013904223u;
        double v = (double)(int)(seed >> 8) / (1 << 23) - 1;
        void *to = k < columns ? (char *)x + size * (size_t)k
                               : (char *)memory[0] + size * (size_t)(k - columns);
        if (dt == DT_F32)
            *(float *)to = (float)v;
        else
            *(double *)to = v;
    }
    LoopArg want[] = {{.p = NULL}, {.p = x}, {.p = memory[0]}, {.p = out[0]}, {.p = work[0]}};
    assert_int_equal(run_loops(ctx, m, 0, want), 0);
    for (size_t at = 0; at < 64 / size; at++) {
        char *w = (char *)(((uintptr_t)memory[1] + 63) & ~(uintptr_t)63) + at * size;
        memset(memory[1], 0xff, sizeof memory[1]); /* NaN */
        memcpy(w, memory[0], size * (size_t)(n_rows * columns));
        memset(out[1], 0, sizeof out[1]);
        CnncArg args[] = {{.p = NULL}, {.p = x}, {.p = w}, {.p = out[1]}, {.p = work[1]}};
        assert_int_equal(jit_call(j, m->funcs.p[0]->entry->cname, args), 0);
        if (memcmp(out[0], out[1], size * (size_t)n_rows) != 0)
            fail_msg("%s: other bits where the rows begin %d behind a line", cpu, (int)at);
    }
    jit_close(j);
    ctx_free(ctx);
}

static void no_bit_depends_on_where_rows_begin(void **state) {
    (void)state;
    const char *narrow = "def f(x: [208], w: [40, 208]) -> [40] = for o < 40 => sum(for c < 208 => "
                         "x[c] * w[o, c])\n";
    const char *wide = "def f(x: [192], w: [40, 192]) -> [40] = for o < 40 => sum(for c < 192 => "
                       "x[c] * w[o, c])\n";
    Ctx *ctx = ctx_new(0);
    LoopModule *m = compile_text(ctx, narrow, DT_F32, target_named("x86-64-v4"), NULL);
    if (!strstr(loops_text(ctx, m), " lines w "))
        fail_msg("no loop by lines in\n%s", loops_text(ctx, m));
    ctx_free(ctx);
    check_starts(narrow, "x86-64", DT_F32, 208, 40);
    if (__builtin_cpu_supports("avx512vl")) {
        check_starts(narrow, "x86-64-v4", DT_F32, 208, 40);
        check_starts(wide, "x86-64-v4", DT_F64, 192, 40);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_rows_begin_at_lines),
        cmocka_unit_test(other_loops_stay),
        cmocka_unit_test(no_bit_depends_on_where_rows_begin),
    };
    return cmocka_run_group_tests_name("lines", tests, NULL, NULL);
}
