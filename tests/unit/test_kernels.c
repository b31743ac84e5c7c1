/* codegen/kernel.c, object.c: loops that are equal up to buffers and dims are compiled once;
 * objects are the same bytes whatever the number of threads. */
#include "jit_helper.h"

#include <sched.h>

static int count(const char *text, const char *part) {
    int n = 0;
    for (const char *p = text; (p = strstr(p, part)); p++)
        n++;
    return n;
}

/* Kernels and further names of them in the LLVM module of a program. A job is an internal i32 and
 * an internal void function. */
static void expect(const char *text, bool apart, int kernels, int aliases) {
    Ctx *ctx = ctx_new(0);
    LoopModule *m = compile_text(ctx, text, DT_F32, target_named("x86-64-v3"), NULL);
    CodegenOptions o = {.level = 2, .debug_lines = true, .lines_apart = apart};
    size_t len;
    const char *ll = codegen_emit(ctx, &ctx->perm, m, &o, EMIT_LLVM, &len);
    assert_non_null(ll);
    assert_int_equal(count(ll, "define internal i32") - count(ll, "define internal void"), kernels);
    assert_int_equal(count(ll, "internal alias"), aliases);
    ctx_free(ctx);
}

static const char two_equal[] = "def f[N](x: [N, 8]) -> [N, 8] = exp(x)*2 + x\n"
                                "def g[M](z: [M, 8]) -> [M, 8] = exp(z)*2 + z\n";

static void equal_loops_are_one_kernel(void **state) {
    (void)state;
    expect(two_equal, false, 2, 2); /* whole vectors and the rest; g's names are symbols of the same code */
    expect("def f[N](x: [N, 8]) -> [N, 8] = exp(x)*2 + x\n", false, 2, 0);
}

/* What runs once calls the expansion of lgamma and exp, which is a function; a loop has it inside.
 */
static void expansions_outside_loops_are_functions(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    LoopModule *m = compile_text(
        ctx,
        "def f(a: real, b: real) -> real = lgamma(a) + lgamma(b) - lgamma(a + b) + exp(a)\n"
        "def g(a: real) -> real = lgamma(a) * 2\n"
        "def h[N](x: [N]) -> [N] = exp(x)\n",
        DT_F32, target_named("x86-64-v3"), NULL);
    CodegenOptions o = {.level = 2};
    size_t len;
    const char *ll = codegen_emit(ctx, &ctx->perm, m, &o, EMIT_LLVM, &len);
    assert_int_equal(count(ll, "define internal float @cnnc.lgamma.f32"), 1);
    assert_int_equal(count(ll, "define internal float @cnnc.exp.f32"), 1);
    assert_int_equal(count(ll, "call float @cnnc.lgamma.f32"), 4);
    assert_int_equal(count(ll, "call float @cnnc.exp.f32"), 1);
    ctx_free(ctx);
}

static void other_loops_are_not(void **state) {
    (void)state;
    /* a constant, an extent, an operation, an operand */
    expect("def f[N](x: [N, 8]) -> [N, 8] = exp(x)*2 + x\ndef g[M](z: [M, 8]) -> [M, 8] = exp(z)*3 "
           "+ z\n",
           false, 4, 0);
    expect("def f[N](x: [N, 8]) -> [N, 8] = exp(x)*2 + x\ndef g[M](z: [M, 9]) -> [M, 9] = exp(z)*2 "
           "+ z\n",
           false, 4, 0);
    expect("def f[N](x: [N, 8]) -> [N, 8] = exp(x)*2 + x\ndef g[M](z: [M, 8]) -> [M, 8] = exp(z)*2 "
           "- z\n",
           false, 4, 0);
    expect("def f[N](x: [N, 8]) -> [N, 8] = exp(x)*2 + x\ndef g[M](z: [M, 8], y: [M, 8]) -> [M, 8] "
           "= exp(z)*2 + y\n",
           false, 4, 0);
}

static void lines_keep_kernels_apart(void **state) {
    (void)state;
    expect(two_equal, true, 4, 0);
}

/* ---- what is known of them */

static void operations_are_counted(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    /* 2 * 4 * 8 * 16 of the product; 3 of an element; borders that a window does not reach do no
     * work */
    LoopModule *m = compile_text(ctx,
                                 "def f(a: [4, 8], b: [8, 16]) -> [4, 16] = a @ b\n"
                                 "def g[N](x: [N]) -> [N] = x*x*2 + 1\n",
                                 DT_F32, target_named("x86-64-v3"), NULL);
    CodegenOptions o = {.level = 2};
    int n;
    const KernelInfo *k = codegen_kernels(ctx, &ctx->perm, m, &o, &n);
    assert_non_null(k);
    assert_int_equal(n, 3);
    assert_string_equal(k[0].entry, "f");
    assert_true(k[0].flops == 1024 && k[0].sums >= 2 && k[0].lanes == 8 && k[0].dt == DT_F32);
    assert_int_equal(k[0].spills, 0);
    assert_true(k[0].predicted > 0.2 && k[0].predicted <= 1);
    assert_true(k[1].sums == 0 && k[1].spills == 0);
    assert_string_equal(dim_text(ctx, k[1].formula), "24*(N // 8)");
    assert_string_equal(dim_text(ctx, k[2].formula), "24*((N + 7) // 8) - 24*(N // 8)");
    ctx_free(ctx);
}

/* Rows of a matrix that leaves the first cache are few at a time: many streams are slow. */
static void large_matrices_are_read_few_rows_at_a_time(void **state) {
    (void)state;
    static const char *const text[] = {"def f(a: [48, 64], x: [64]) -> [48] = a @ x\n", "def f(a: [480, 2048], x: [2048]) -> [480] = a @ x\n"};
    for (int large = 0; large < 2; large++) {
        Ctx *ctx = ctx_new(0);
        LoopModule *m = compile_text(ctx, text[large], DT_F32, target_named("x86-64-v4"), NULL);
        CodegenOptions o = {.level = 2};
        int n;
        const KernelInfo *k = codegen_kernels(ctx, &ctx->perm, m, &o, &n);
        assert_non_null(k);
        assert_true(large ? k[0].sums >= 4 && k[0].sums <= 8 : k[0].sums > 8);
        ctx_free(ctx);
    }
}

/* Rows of 56 numbers of which every other one is read: the last part is 8 numbers, since a vector of 16 would reach into a
 * line of the cache that nothing else reads, where the caller's array does not begin at one. */
static void ends_of_strided_rows_are_short_loads(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    LoopModule *m = compile_text(ctx,
                                 "def f[N](x: [N, 256, 56, 56], w: [128, 256, 1, 1]) -> [N, 128, 28, 28] = conv2d(x, w, [2, 2], [0, 0, 0, 0])\n",
                                 DT_F32, target_named("x86-64-v4"), NULL);
    CodegenOptions o = {.level = 2};
    size_t len;
    const char *ll = codegen_emit(ctx, &ctx->perm, m, &o, EMIT_LLVM, &len);
    assert_non_null(ll);
    assert_true(count(ll, "@llvm.masked.load.v8f32") > 1);
    ctx_free(ctx);
}

/* Operations of all kernels in one call of the first entry, at `rows`. */
static double work_at(Ctx *ctx, const LoopModule *m, int64_t rows, bool *at_most) {
    CodegenOptions o = {.level = 2};
    const LoopFunc *f = m->funcs.p[0];
    int n;
    const KernelInfo *k = codegen_kernels(ctx, &ctx->perm, m, &o, &n);
    assert_non_null(k);
    KernelWork *work = ARENA_ARRAY(&ctx->perm, KernelWork, n + 1);
    DimValue dims = {f->dims.p[0], rows};
    codegen_count(ctx, m->target, f, &dims, k, n, work);
    double flops = 0;
    *at_most = false;
    for (int j = 0; j < n; j++) {
        flops += work[j].flops;
        *at_most |= work[j].at_most;
    }
    return flops;
}

/* A sum over rows whose jobs, slices and their ends are decided when called, counts whole slices
 * of 16; each of the 8 groups of them then adds its 24 * 40 partial sums, the first but moves them.
 */
static void operations_of_sums_over_rows_are_counted(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    LoopModule *m = compile_text(
        ctx,
        "estimator e[N] {\n  data x: [N, 24]\n  data y: [N, 40]\n  param w: [24, 40] = 0\n"
        "  y ~ Normal(x @ w, 1)\n  using sgd(lr = 0.1, batch = 64, epochs = 1)\n}\n",
        DT_F32, target_named("x86-64-v3"), NULL);
    const LoopFunc *step = NULL;
    for (int k = 0; k < m->funcs.n; k++)
        step = strcmp(m->funcs.p[k]->name, "e.step") == 0 ? m->funcs.p[k] : step;
    assert_non_null(step);
    CodegenOptions o = {.level = 2};
    int n;
    const KernelInfo *k = codegen_kernels(ctx, &ctx->perm, m, &o, &n);
    assert_non_null(k);
    for (int64_t rows = 16; rows <= 1600; rows += 528) {
        KernelWork *work = ARENA_ARRAY(&ctx->perm, KernelWork, n + 1);
        DimValue dims = {step->dims.p[0], rows};
        codegen_count(ctx, m->target, step, &dims, k, n, work);
        double least = 2 * 2.0 * 24 * 40 * (double)rows, flops = 0; /* forward, and for w */
        for (int j = 0; j < n; j++)
            flops += work[j].flops;
        assert_true(flops >= least);
        assert_true(flops <= 1.25 * least + 40 * 24 * 40);
    }
    ctx_free(ctx);
}

/* Arms of a branch on a dim, on a table, and on data; lanes 1, so one operation a round. */
static const char branches[] =
    "loops \"t\" for \"x86-64-v3\"\nstatus 0 \"t\"\nfunc \"t\" f32 groups 8 @- {\n  dims N\n"
    "  status null 0 dim 0 stop 0 overflow 0\n  plan fixed 0 job 0 jobs 0\n"
    "  entry def \"t\" of \"t\" work 0 @- {\n    exec \"ex\" const @-\n    dim \"N\" i64 is N @-\n"
    "    input \"x\" f32 const bytes 4*N @-\n    out \"out\" f32 bytes 4*N @-\n    work \"work\" "
    "@-\n  }\n"
    "  buf x f32[N] = arg 2 at 0\n  buf out f32[N] = arg 3 at 0 written\n"
    "  buf table bool[4] = const [1, 0, 1, 1]\n"
    "  for i in 0..N \"t\" {\n"
    "    %1 = index i64 i\n    %2 = i64 10\n    %3 = lt(%1, %2)\n    %4 = load f32 x[i]\n"
    "    if %3 {\n      %5 = add(%4, %4)\n      %6 = add(%5, %4)\n      %7 = add(%6, %4)\n      "
    "store out[i] = %7\n"
    "    } else {\n      %8 = add(%4, %4)\n      store out[i] = %8\n    }\n"
    "    for j in 0..4 {\n      %9 = load bool table[j]\n      for k in 0..7 when %9 {\n        "
    "%10 = load f32 out[i]\n"
    "        %11 = mul(%10, %10)\n        store out[i] = %11\n      }\n    }\n"
    "    %12 = lt(%4, %4)\n"
    "    if %12 {\n      %13 = mul(%4, %4)\n      store out[i] = %13\n    } else {\n      %14 = "
    "mul(%4, %4)\n"
    "      %15 = mul(%14, %4)\n      store out[i] = %15\n    }\n"
    "  }\n}\n";

static void the_arm_that_is_taken_counts(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    LoopModule *m =
        loop_read(ctx, &ctx->perm, ctx_add_file(ctx, "t.ir", branches, strlen(branches)));
    assert_non_null(m);
    bool at_most;
    assert_true(work_at(ctx, m, 100, &at_most) == 10 * 3 + 90 * 1 + 100 * 3 * 7 + 100 * 2);
    assert_true(at_most); /* the data decide the last one */
    ctx_free(ctx);
}

/* ---- objects */

typedef struct Bytes {
    const CodeObject *objects;
    int n;
} Bytes;

static Bytes objects_of(Ctx *ctx, const char *text) {
    LoopModule *m = compile_text(ctx, text, DT_F32, target_named("x86-64-v3"), NULL);
    CodegenOptions o = {.level = 2, .debug_lines = true};
    Bytes b;
    b.objects = codegen_objects(ctx, &ctx->perm, m, &o, &b.n);
    assert_non_null(b.objects);
    return b;
}

static const char *many_kernels(Ctx *ctx) {
    StrBuf sb = sb_new(&ctx->perm);
    for (int k = 1; k <= 60; k++)
        sb_printf(
            &sb, "def f%d[N](x: [N, %d], w: [%d, 7]) -> [N, 7] = tanh(x @ w) + sigmoid(x @ w)*%d\n",
            k, k, k, k);
    return sb.text;
}

static void objects_do_not_depend_on_threads(void **state) {
    (void)state;
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (size_t k = 0; k < CPU_SETSIZE && !CPU_COUNT(&one); k++)
        if (CPU_ISSET(k, &all))
            CPU_SET(k, &one);
    Ctx *ctx = ctx_new(0), *other = ctx_new(0);
    Bytes a = objects_of(ctx, many_kernels(ctx));
    assert_true(a.n > 1);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    Bytes b = objects_of(other, many_kernels(other));
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    assert_int_equal(a.n, b.n);
    for (int k = 0; k < a.n; k++) {
        assert_int_equal(a.objects[k].len, b.objects[k].len);
        assert_memory_equal(a.objects[k].bytes, b.objects[k].bytes, a.objects[k].len);
    }
    ctx_free(other);
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_loops_are_one_kernel),
        cmocka_unit_test(expansions_outside_loops_are_functions),
        cmocka_unit_test(other_loops_are_not),
        cmocka_unit_test(lines_keep_kernels_apart),
        cmocka_unit_test(operations_are_counted),
        cmocka_unit_test(large_matrices_are_read_few_rows_at_a_time),
        cmocka_unit_test(ends_of_strided_rows_are_short_loads),
        cmocka_unit_test(operations_of_sums_over_rows_are_counted),
        cmocka_unit_test(the_arm_that_is_taken_counts),
        cmocka_unit_test(objects_do_not_depend_on_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
