/* A sum over images whose factors leave the cache: each job has sums of its own, which are added in
 * order. Native code gives what the definition says, on whole numbers, for few images and many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"
#include "passes/pass.h"

enum { IMAGES = 17, O = 96, C = 131, SIDE = 23, WIDE = 2 * SIDE };

typedef struct Case {
    const char *name, *text;
    int step;    /* between the pixels of x that are read */
    bool turned; /* the result is [o, c]: not as the vectors run */
} Case;

#define SUM(x_at) " => sum(for n < N, i < 23, j < 23 => g[n, o, i, j] * " x_at ")\n"
static const Case cases[] = {
    {"direct",
     "def f[N](g: [N, 96, 23, 23], x: [N, 131, 23, 23]) -> [131, 96] = for c < 131, o < 96" SUM(
         "x[n, c, i, j]"),
     1, false},
    {"turned",
     "def f[N](g: [N, 96, 23, 23], x: [N, 131, 23, 23]) -> [96, 131] = for o < 96, c < 131" SUM(
         "x[n, c, i, j]"),
     1, true},
    {"strided",
     "def f[N](g: [N, 96, 23, 23], x: [N, 131, 46, 46]) -> [96, 131] = for o < 96, c < 131" SUM(
         "x[n, c, 2*i, 2*j]"),
     2, true},
};

static float g[IMAGES * O * SIDE * SIDE], x[IMAGES * C * WIDE * WIDE], got[O * C], want[3][O * C];

static void fill(float *to, size_t n, unsigned seed) {
    for (size_t k = 0; k < n; k++) {
        seed = seed * 1664525u + 1013904223u;
        to[k] = (float)(int)(seed >> 28) - 7;
    }
}

/* The sum over the first `to` images, from that over the first `from`. */
static void reference(const Case *y, int from, int to, const float *before, float *sums) {
    int side = SIDE * y->step;
    for (int o = 0; o < O; o++)
        for (int c = 0; c < C; c++) {
            int cell = y->turned ? o * C + c : c * O + o;
            float sum = from ? before[cell] : 0;
            for (int n = from; n < to; n++)
                for (int i = 0; i < SIDE; i++) {
                    const float *p = g + ((n * O + o) * SIDE + i) * SIDE,
                                *q = x + ((n * C + c) * side + y->step * i) * side;
                    for (int j = 0; j < SIDE; j++)
                        sum += p[j] * q[y->step * j];
                }
            sums[cell] = sum;
        }
}

static LoopModule *loops_of(Ctx *ctx, const char *text, const Target *target) {
    AstFile *file = parse_file(ctx, ctx_add_file(ctx, "test.cnn", text, strlen(text)));
    LowerOptions lower = {.real = DT_F32};
    Module *m = frontend_lower(ctx, &ctx->perm, file, &lower);
    assert_false(diag_any_error(ctx));
    Unit u = {
        .ctx = ctx, .arena = &ctx->perm, .graph = m, .target = target, .groups = 8, .rows = 16};
    PassOptions o = {.stop_after = NULL};
    const char *why = NULL;
    assert_true(pass_run(&u, &o, &why));
    return u.loops;
}

enum { CALLS = 3 };
static const int calls[CALLS] = {7, 8, IMAGES};

static void check(const Case *y, const char *cpu) {
    Ctx *ctx = ctx_new(0);
    Target target = *target_named(cpu);
    target.l2_bytes = 360000;
    LoopModule *m = loops_of(ctx, y->text, &target);
    StrBuf sb = sb_new(&ctx->perm);
    loop_print_func(&sb, m, m->funcs.p[0]);
    if (!strstr(sb.text, "part f32[8, ") || !strstr(sb.text, "ordered {"))
        fail_msg("%s, %s: jobs have no sums of their own", y->name, cpu);
    assert_true(y->turned == (strstr(sb.text, "buf total f32[") != NULL));
    CodegenOptions o = {.level = 2};
    Jit *j = jit_open(ctx, m, &o);
    const AbiEntry *e = m->funcs.p[0]->entry;
    for (int k = 0; k < CALLS; k++) {
        DimValue dims[1] = {{e->args.p[1].dim, calls[k]}};
        void *work = malloc(codegen_work_bytes(e, dims, 1) + 1);
        CnncArg args[] = {{.p = NULL}, {.i = calls[k]}, {.p = g},
                          {.p = x},    {.p = got},      {.p = work}};
        memset(got, 0xff, sizeof got);
        assert_int_equal(jit_call(j, e->cname, args), 0);
        free(work);
        if (memcmp(got, want[k], sizeof got) != 0)
            fail_msg("%s, %s: wrong with %d images", y->name, cpu, calls[k]);
    }
    jit_close(j);
    ctx_free(ctx);
}

static void jobs_have_sums_of_their_own(void **state) {
    (void)state;
    fill(g, sizeof g / sizeof *g, 1);
    fill(x, sizeof x / sizeof *x, 2);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        for (int n = 0; n < CALLS; n++)
            reference(&cases[k], n ? calls[n - 1] : 0, calls[n], want[n ? n - 1 : 0], want[n]);
        check(&cases[k], "x86-64");
        if (__builtin_cpu_supports("avx2"))
            check(&cases[k], "x86-64-v3");
        if (__builtin_cpu_supports("avx512vl"))
            check(&cases[k], "x86-64-v4");
    }
}

/* A packed axis has room for the most that few images are. It was filled to its end: that reads
 * past the end of an operand which has fewer. */
static void packing_reads_what_there_is(void **state) {
    (void)state;
    static const char text[] =
        "def f[N, D](p: [3, N + 1, 2*N], q: [N, 2*D, N - 1, N]) -> [3, N, D, N - 1] =\n"
        "  for a < 3, b < N, c < D, d < N - 1 => sum(for u < N => if u < D - 1 then p[a, b + 1, "
        "2*u] "
        "* q[b, 2*c, d, u] else 0)\n";
    Ctx *ctx = ctx_new(0);
    LoopModule *m = loops_of(ctx, text, target_named("x86-64"));
    StrBuf sb = sb_new(&ctx->perm);
    loop_print_func(&sb, m, m->funcs.p[0]);
    assert_non_null(strstr(sb.text, "buf q.p f32[16, 7, 8] = job"));
    assert_non_null(strstr(sb.text, "for at in 0..N "));
    assert_null(strstr(sb.text, "in 0..7 "));
    ctx_free(ctx);
}

/* A dense copy of few rows had room for the most that they are along every axis of that extent;
 * what reads several axes as one then found its cells elsewhere. */
static void a_dense_copy_of_few_rows_is_read_as_it_lies(void **state) {
    (void)state;
    enum { U = 70, V = 9, MOST = 9 };
    static const char text[] =
        "def f[D](p: [D, 70, 3, 3, D], q: [D, 70, 3, 3]) -> [D, D, D] = for a < D, b < D, c < D => "
        "sum(for u < 70, v < 3, w < 3 => p[c, 69 - u, v, w, a] * q[b, u, v, w])\n";
    Ctx *ctx = ctx_new(0);
    LoopModule *m = loops_of(ctx, text, target_named("x86-64"));
    CodegenOptions o = {.level = 2};
    Jit *j = jit_open(ctx, m, &o);
    const AbiEntry *e = m->funcs.p[0]->entry;
    fill(g, MOST * U * V * MOST, 3);
    fill(x, MOST * U * V, 4);
    for (int d = 1; d <= MOST; d++) {
        DimValue dims[1] = {{e->args.p[1].dim, d}};
        void *work = malloc(codegen_work_bytes(e, dims, 1) + 1);
        CnncArg args[] = {{.p = NULL}, {.i = d}, {.p = g}, {.p = x}, {.p = got}, {.p = work}};
        memset(got, 0xff, sizeof got);
        assert_int_equal(jit_call(j, e->cname, args), 0);
        free(work);
        for (int k = 0; k < d * d * d; k++) {
            int a = k / (d * d), b = k / d % d, c = k % d;
            float sum = 0;
            for (int u = 0; u < U; u++)
                for (int v = 0; v < V; v++)
                    sum += g[((c * U + U - 1 - u) * V + v) * d + a] * x[(b * U + u) * V + v];
            assert_true(got[k] == sum);
        }
    }
    jit_close(j);
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_have_sums_of_their_own),
        cmocka_unit_test(packing_reads_what_there_is),
        cmocka_unit_test(a_dense_copy_of_few_rows_is_read_as_it_lies)};
    return cmocka_run_group_tests_name("tile_images", tests, NULL, NULL);
}
