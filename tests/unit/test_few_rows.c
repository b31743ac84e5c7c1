/* Calls with few rows take another way than calls with many (passes/batch_one.c): native code gives
 * the same on whole numbers, row for row, on either side of the bound. */
#include "jit_helper.h"

#include <stdlib.h>

enum { MOST = 20, IN = 2 * 9 * 11, OUT = 7 };

static const char net[] = "def net[N](x: [N, 2, 9, 11], w: [3, 2, 5, 5], v: [54, 7]) -> [N, 7] {\n"
                          "  a = max(conv2d(x, w, [2, 1], [2, 2, 2, 2], [1, 1]), 0)\n"
                          "  b = maxpool(a, 3, 2, 1)\n"
                          "  return flatten(b) @ v\n}\n";

static void fill(float *x, int n, unsigned seed) {
    for (int k = 0; k < n; k++) {
        seed = seed * 1664525u + 1013904223u;
        x[k] = (float)(int)(seed >> 28) - 7;
    }
}

static void call(Jit *j, const AbiEntry *e, int64_t n, const float *x, const float *w,
                 const float *v, float *out) {
    DimValue dims[1] = {{e->args.p[1].dim, n}};
    void *work = malloc(codegen_work_bytes(e, dims, 1) + 1);
    CnncArg args[] = {{.p = NULL}, {.i = n}, {.p = x}, {.p = w}, {.p = v}, {.p = out}, {.p = work}};
    assert_int_equal(e->args.n, 7);
    assert_int_equal(jit_call(j, e->cname, args), 0);
    free(work);
}

static void rows_are_the_same_by_any_way(void **state) {
    (void)state;
    static float x[MOST * IN], w[3 * 2 * 5 * 5], v[54 * OUT], all[MOST * OUT], few[MOST * OUT];
    Ctx *ctx = ctx_new(0);
    LoopModule *m = compile_text(ctx, net, DT_F32, codegen_host(ctx), NULL);
    CodegenOptions o = {.level = 2};
    Jit *j = jit_open(ctx, m, &o);
    const AbiEntry *e = m->funcs.p[0]->entry;
    StrBuf sb = sb_new(&ctx->perm);
    loop_print_func(&sb, m, m->funcs.p[0]);
    assert_non_null(strstr(sb.text, "net.row"));
    fill(x, MOST * IN, 1);
    fill(w, 3 * 2 * 5 * 5, 2);
    fill(v, 54 * OUT, 3);
    call(j, e, MOST, x, w, v, all);
    for (int n = 1; n <= MOST; n++) {
        memset(few, 0xff, sizeof few);
        call(j, e, n, x, w, v, few);
        assert_memory_equal(few, all, (size_t)(n * OUT) * sizeof *few);
    }
    jit_close(j);
    ctx_free(ctx);
}

/* Pixels a few apart are loaded as vectors and shuffled; every target that this machine runs. */
static void strides(void **state) {
    (void)state;
    static const char *const targets[] = {"x86-64-v4", "x86-64-v3", "x86-64"};
    static float x[MOST * 3 * 75], w[2 * 3 * 1 * 2], v[2 * 37 * OUT], all[MOST * OUT],
        few[MOST * OUT];
    fill(x, MOST * 3 * 75, 4);
    fill(w, 2 * 3 * 2, 5);
    fill(v, 2 * 37 * OUT, 6);
    for (int k = 0; k < 3; k++) {
        if ((k == 0 && !__builtin_cpu_supports("avx512vl")) ||
            (k == 1 && !__builtin_cpu_supports("avx2")))
            continue;
        for (int step = 2; step <= 5; step++) {
            Ctx *ctx = ctx_new(0);
            int extent = (75 - 2) / step + 1;
            LoopModule *m = compile_text(
                ctx,
                str_fmt(ctx,
                        "def f[N](x: [N, 3, 1, 75], w: [2, 3, 1, 2], v: [%d, 7]) -> [N, "
                        "7] = flatten(conv2d(x, w, [1, %d], [0, 0, 0, 0], [1, 1])) @ v\n",
                        2 * extent, step),
                DT_F32, target_named(targets[k]), NULL);
            CodegenOptions o = {.level = 2};
            Jit *j = jit_open(ctx, m, &o);
            const AbiEntry *e = m->funcs.p[0]->entry;
            call(j, e, MOST, x, w, v, all);
            call(j, e, 1, x, w, v, few);
            assert_memory_equal(few, all, OUT * sizeof *few);
            jit_close(j);
            ctx_free(ctx);
        }
    }
}

/* 16 channels of 7 x 9 pixels: the channels take the lanes, and what follows reads them so; the
 * last product needs the order of the source again. The mask is dropped, because the factor is 0
 * outside it. */
static void channels_take_the_lanes(void **state) {
    (void)state;
    static const char text[] =
        "const t: bool[2, 16] = mask(\"X.XX.XX.XXX..X.X\", \"XX.XX.X.X.X.XXXX\")\n"
        "def f[N](x: [N, 2, 9, 11], w: [16, 2, 3, 3], v: [192, 7]) -> [N, 7] {\n"
        "  m = for o < 16, c < 2, i < 3, j < 3 => w[o, c, i, j] * t[c, o]\n"
        "  a = max(conv2d(x, m, [1, 1], [0, 0, 0, 0], [1, 1]), 1)\n"
        "  b = maxpool(a, 2, 2)\n"
        "  return flatten(b) @ v\n}\n";
    static float x[MOST * IN], w[16 * 2 * 3 * 3], v[192 * OUT], all[MOST * OUT], few[MOST * OUT];
    Ctx *ctx = ctx_new(0);
    LoopModule *m = compile_text(ctx, text, DT_F32, codegen_host(ctx), NULL);
    CodegenOptions o = {.level = 2};
    Jit *j = jit_open(ctx, m, &o);
    const AbiEntry *e = m->funcs.p[0]->entry;
    fill(x, MOST * IN, 7);
    fill(w, 16 * 2 * 3 * 3, 8);
    fill(v, 192 * OUT, 9);
    call(j, e, MOST, x, w, v, all);
    for (int n = 1; n <= 3; n++) {
        memset(few, 0xff, sizeof few);
        call(j, e, n, x, w, v, few);
        assert_memory_equal(few, all, (size_t)(n * OUT) * sizeof *few);
    }
    jit_close(j);
    ctx_free(ctx);
}

/* Rows of which a slice lies far behind a target's second-level cache: no call has slices, and a
 * job computes several rows. */
static void rows_of_large_images_have_no_slices(void **state) {
    (void)state;
    enum { PIXELS = 3 * 4 * 80 };
    static const char text[] =
        "def f[N](x: [N, 3, 4, 80], w: [2, 3, 3, 3], v: [640, 7]) -> [N, 7] =\n"
        "  flatten(conv2d(x, w, [1, 1], [1, 1, 1, 1], [1, 1])) @ v\n";
    static float x[MOST * PIXELS], w[2 * 3 * 3 * 3], v[640 * OUT], all[MOST * OUT], one[MOST * OUT];
    Ctx *ctx = ctx_new(0);
    Target small = *codegen_host(ctx);
    small.l2_bytes = 64;
    LoopModule *m = compile_text(ctx, text, DT_F32, codegen_host(ctx), NULL),
               *far = compile_text(ctx, text, DT_F32, &small, NULL);
    CodegenOptions o = {.level = 2};
    Jit *j = jit_open(ctx, m, &o), *k = jit_open(ctx, far, &o);
    StrBuf sb = sb_new(&ctx->perm);
    loop_print_func(&sb, far, far->funcs.p[0]);
    assert_non_null(strstr(sb.text, "f.row"));
    assert_null(strstr(sb.text, "for slice"));
    fill(x, MOST * PIXELS, 1);
    fill(w, 2 * 3 * 3 * 3, 2);
    fill(v, 640 * OUT, 3);
    call(j, m->funcs.p[0]->entry, MOST, x, w, v, all);
    for (int n = 1; n <= MOST; n++) {
        memset(one, 0xff, sizeof one);
        call(k, far->funcs.p[0]->entry, n, x, w, v, one);
        assert_memory_equal(one, all, (size_t)(n * OUT) * sizeof *one);
    }
    jit_close(j);
    jit_close(k);
    ctx_free(ctx);
}

/* Weights that a target's second-level cache does not hold: many rows are computed without slices
 * (passes/batch_all.c). */
static void many_rows_are_the_same_without_slices(void **state) {
    (void)state;
    enum { MANY = 200, WIDE = 30, HIDDEN = 70 };
    static const char text[] =
        "def f[N](x: [N, 30], w: [30, 70], v: [70, 7]) -> [N, 7] = max(x @ w - 2, 0) @ v + 1\n";
    static float x[MANY * WIDE], w[WIDE * HIDDEN], v[HIDDEN * OUT], want[MANY * OUT],
        got[MANY * OUT];
    fill(x, MANY * WIDE, 10);
    fill(w, WIDE * HIDDEN, 11);
    fill(v, HIDDEN * OUT, 12);
    for (int n = 0; n < MANY; n++)
        for (int k = 0; k < OUT; k++) {
            want[n * OUT + k] = 1;
            for (int h = 0; h < HIDDEN; h++) {
                float a = -2;
                for (int i = 0; i < WIDE; i++)
                    a += x[n * WIDE + i] * w[i * HIDDEN + h];
                want[n * OUT + k] += (a > 0 ? a : 0) * v[h * OUT + k];
            }
        }
    Ctx *ctx = ctx_new(0);
    Target small = *codegen_host(ctx);
    small.l2_bytes = 4096;
    LoopModule *m = compile_text(ctx, text, DT_F32, &small, NULL);
    CodegenOptions o = {.level = 2};
    Jit *j = jit_open(ctx, m, &o);
    StrBuf sb = sb_new(&ctx->perm);
    loop_print_func(&sb, m, m->funcs.p[0]);
    assert_non_null(strstr(sb.text, "if "));
    static const int calls[] = {1, 7, 8, 17, 79, 80, 81, 96, MANY};
    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
        memset(got, 0xff, sizeof got);
        call(j, m->funcs.p[0]->entry, calls[c], x, w, v, got);
        assert_memory_equal(got, want, (size_t)(calls[c] * OUT) * sizeof *got);
    }
    jit_close(j);
    ctx_free(ctx);
}

/* Rows of one batch within the rows of another: no job starts jobs ("a parallel loop stands in no
 * other `for`"). */
static void rows_within_rows(void **state) {
    (void)state;
    enum { N = 9, D = 6, V = 7 };
    static const char text[] =
        "def f[N, D](p: [N, D + 1, 7], q: [D, 7], g: [N, D]) -> [N, D + 1, 7] {\n"
        "  y = for a < N, b < D => sum(for u < D, v < 7 => max(p[a, u + 1, v] * q[u, v], 0))\n"
        "  return grad(sum(y * g), p)\n}\n";
    static float p[N * (D + 1) * V], q[D * V], g[N * D], out[N * (D + 1) * V];
    Ctx *ctx = ctx_new(0);
    int n_targets;
    const Target *targets = target_all(&n_targets);
    for (int k = 0; k < n_targets; k++) /* not every one has rows of both kinds here */
        compile_text(ctx, text, DT_F32, &targets[k], NULL);
    const AbiEntry *e;
    Jit *j = open_text(ctx, text, DT_F32, &e);
    fill(p, N * (D + 1) * V, 1);
    fill(q, D * V, 2);
    fill(g, N * D, 3);
    for (int k = 0; k < N * (D + 1) * V; k++)
        p[k] += 0.5f; /* no product is 0 where the factor is not */
    for (int d = 1; d <= D; d += D - 1) {
        DimValue dims[2] = {{e->args.p[1].dim, N}, {e->args.p[2].dim, d}};
        void *work = malloc(codegen_work_bytes(e, dims, 2) + 1);
        CnncArg args[] = {{.p = NULL}, {.i = N}, {.i = d},   {.p = p},
                          {.p = q},    {.p = g}, {.p = out}, {.p = work}};
        assert_int_equal(jit_call(j, e->cname, args), 0);
        free(work);
        for (int a = 0; a < N; a++)
            for (int u = 0; u <= d; u++)
                for (int v = 0; v < V; v++) {
                    float sum = 0, *x = &p[(a * (d + 1) + u) * V + v];
                    for (int b = 0; b < d; b++)
                        sum += g[a * d + b];
                    float w = u ? q[(u - 1) * V + v] : 0;
                    assert_true(out[x - p] == (*x * w > 0 ? sum * w : 0));
                }
    }
    jit_close(j);
    ctx_free(ctx);
}

enum { TERMS = 500, COLUMNS = 512, MOST_X = 80 };

/* Weights that leave the second cache are read some rows at a time, for a number of rows that is
 * known and for any. */
static void weights_that_leave_the_cache(void **state) {
    (void)state;
    static const int rows[] = {2, 9, 16, 17, 79};
    static const char *const targets[] = {"x86-64-v4", "x86-64-v3", "x86-64"};
    static float x[MOST_X * TERMS], w[TERMS * COLUMNS], out[MOST_X * COLUMNS],
        want[MOST_X * COLUMNS];
    fill(x, MOST_X * TERMS, 10);
    fill(w, TERMS * COLUMNS, 11);
    for (int i = 0; i < MOST_X; i++)
        for (int j = 0; j < COLUMNS; j++) {
            float sum = 0;
            for (int k = 0; k < TERMS; k++)
                sum += x[i * TERMS + k] * w[k * COLUMNS + j];
            want[i * COLUMNS + j] = sum - 5 > 0 ? sum - 5 : 0;
        }
    for (int t = 0; t < 3; t++)
        for (size_t r = 0; r < 2 * sizeof rows / sizeof *rows; r++) {
            int n = rows[r / 2];
            bool known = r % 2 == 0;
            if ((t == 0 && !__builtin_cpu_supports("avx512vl")) ||
                (t == 1 && !__builtin_cpu_supports("avx2")))
                continue;
            Ctx *ctx = ctx_new(0);
            Target target = *target_named(targets[t]);
            target.l2_bytes = 8192;
            const char *dim = known ? str_fmt(ctx, "%d", n) : "N";
            const char *text = str_fmt(
                ctx, "def f%s(x: [%s, 500], w: [500, 512]) -> [%s, 512] = max(x @ w - 5, 0)\n",
                known ? "" : "[N]", dim, dim);
            LoopModule *m = compile_text(ctx, text, DT_F32, &target, NULL);
            StrBuf sb = sb_new(&ctx->perm);
            loop_print_func(&sb, m, m->funcs.p[0]);
            if (known && n > 7 && n < 17 && t == 0 && !strstr(sb.text, "in 32*rb.."))
                fail_msg("no rows of weights at a time:\n%s", text);
            Jit *j = jit_open(ctx, m, &(CodegenOptions){.level = 2});
            const AbiEntry *e = m->funcs.p[0]->entry;
            DimValue dims[1] = {{known ? NULL : e->args.p[1].dim, n}};
            void *work = malloc(codegen_work_bytes(e, dims, known ? 0 : 1) + 1);
            CnncArg args[] = {{.p = NULL}, {.i = n}, {.p = x}, {.p = w}, {.p = out}, {.p = work}};
            if (known)
                memmove(args + 1, args + 2, 4 * sizeof *args);
            memset(out, 0xff, sizeof out);
            assert_int_equal(jit_call(j, e->cname, args), 0);
            if (memcmp(out, want, (size_t)(n * COLUMNS) * sizeof *out) != 0)
                fail_msg("%s, %d rows: wrong\n%s", targets[t], n, text);
            free(work);
            jit_close(j);
            ctx_free(ctx);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(weights_that_leave_the_cache),
                                       cmocka_unit_test(rows_are_the_same_by_any_way),
                                       cmocka_unit_test(strides),
                                       cmocka_unit_test(channels_take_the_lanes),
                                       cmocka_unit_test(rows_of_large_images_have_no_slices),
                                       cmocka_unit_test(rows_within_rows),
                                       cmocka_unit_test(many_rows_are_the_same_without_slices)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
