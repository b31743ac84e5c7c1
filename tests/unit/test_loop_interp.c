/* ir/loop_interp.c, ir/loop_layout.c: programs with known results, and the arithmetic of the
 * processor. */
#include "loop_helper.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

/* A function `f` of (N, x[N] const, out[N], work) with the given buffers and body. */
static LoopModule *program(Ctx *ctx, const char *real, const char *body) {
    return must_read_loops(ctx, str_fmt(ctx,
                                        "loops \"a.cnn\"\nstatus 0 \"null\"\nstatus 1 "
                                        "\"dim\"\nstatus 2 \"no\"\nstatus 3 \"range\"\n"
                                        "func \"f\" %s groups 4 @- {\n dims N\n status null 0 dim "
                                        "1 stop 2 overflow 2\n check 100 - N else 2\n"
                                        " entry def \"f\" {\n  dim \"N\" is N\n  input \"x\" %s "
                                        "const bytes 8*N\n  out \"out\" %s bytes 8*N\n"
                                        "  scalar \"s\" f64\n  work \"work\" bytes 0\n }\n"
                                        " buf x %s[N] = arg 1 at 0\n buf out %s[N] = arg 2 at 0 "
                                        "written\n buf s %s = arg 3 at 0\n%s\n}\n",
                                        real, real, real, real, real, real, body));
}

static int run_f32(Ctx *ctx, const char *body, int64_t n, const float *x, float *out) {
    const LoopArg args[] = {
        {.i = n}, {.p = (void *)(uintptr_t)x}, {.p = out}, {.f = 0.1}, {.p = NULL}};
    return run_loops(ctx, program(ctx, "f32", body), 0, args);
}

static int run_f64(Ctx *ctx, const char *body, int64_t n, const double *x, double *out) {
    const LoopArg args[] = {
        {.i = n}, {.p = (void *)(uintptr_t)x}, {.p = out}, {.f = 0.1}, {.p = NULL}};
    return run_loops(ctx, program(ctx, "f64", body), 0, args);
}

static void sums_round_in_order(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    float x[37], out[37], want = 0;
    for (int k = 0; k < 37; k++)
        x[k] = 1.0f / (float)(k + 3);
    for (int k = 0; k < 37; k++)
        want = fmaf(x[k], x[k], want);
    assert_int_equal(run_f32(ctx,
                             "%1 = f32 0.0\n%2 = for i in 0..N with %3 = %1 {\n %4 = load f32 "
                             "x[i]\n %5 = fma(%4, %4, %3)\n yield %5\n}\n"
                             "store out[0] = %2\n%6 = load f32 s[]\nstore out[1] = %6",
                             37, x, out),
                     0);
    assert_memory_equal(&out[0], &want, sizeof want);
    want = (float)0.1;
    assert_memory_equal(&out[1], &want, sizeof want);
    ctx_free(ctx);
}

static void lanes_and_masks(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    float x[11], out[11] = {0}, lane[8] = {0};
    for (int k = 0; k < 11; k++)
        x[k] = 1.0f / (float)(k + 3);
    for (int k = 0; k < 11; k++)
        lane[k % 8] += x[k];
    for (int half = 4; half; half /= 2)
        for (int k = 0; k < half; k++)
            lane[k] += lane[k + half];
    assert_int_equal(
        run_f32(ctx,
                "%1 = f32x8 0.0\n%2 = for i in 0..N step 8 with %3 = %1 {\n %4 = load f32x8 x[i] "
                "active N - i\n"
                " %5 = add(%3, %4)\n yield %5\n}\n%6 = lane_sum(%2)\nstore out[0] = %6\n"
                "%7 = load f32x4 x[1] by 3\nstore out[1] = %7 active 3\n"
                "%8 = index i64x4 10 by -1\n%9 = load f32x4 x[0 + %8] by 0\nstore out[5] = %9",
                11, x, out),
        0);
    assert_memory_equal(&out[0], &lane[0], sizeof(float));
    assert_true(out[1] == x[1] && out[2] == x[4] && out[3] == x[7] && out[4] == 0);
    assert_true(out[5] == x[10] && out[6] == x[9] && out[7] == x[8] && out[8] == x[7]);
    ctx_free(ctx);
}

static void loops_run_between_their_bounds(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    double out[10] = {0};
    const double want[10] = {0, 0, 1, 0, 0, 1, 0, 0, 8, 0};
    assert_int_equal(
        run_f64(ctx,
                "%1 = f64 1.0\nfor i in max(2, 1 - N)..min(N, 8) step 3 {\n store out[i] = %1\n}\n"
                "for i in 5..5 {\n store out[0] = %1\n}\n"
                "%2 = while with %3 = %1 {\n %4 = add(%3, %3)\n %5 = f64 8.0\n %6 = lt(%4, %5)\n "
                "yield %6, %4\n}\n"
                "%7 = lt(%2, %1)\nif %7 {\n store out[0] = %2\n} else {\n store out[8] = %2\n}",
                10, out, out),
        0);
    assert_memory_equal(out, want, sizeof want);
    ctx_free(ctx);
}

static void jobs_have_memory_of_their_own(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    double x[4] = {1, 2, 3, 4}, out[4] = {0};
    const char *body =
        "buf p f64[4] = work written\nbuf j f64[2] = job written\nbuf flat f64[2, 1] = alias j\n"
        "buf c f64[2] = const [10.0, 20.0]\nfor g in 0..4 parallel {\n %1 = load f64 x[g]\n store "
        "j[0] = %1\n"
        " %2 = load f64 flat[0, 0]\n %3 = load f64 c[g - 2*(g // 2)]\n %4 = add(%2, %3)\n store "
        "p[g] = %4\n} ordered {\n %9 = load f64 p[g]\n %10 = load f64 p[0]\n %11 = add(%9, %10)\n "
        "store p[g] = %11\n}\n"
        "for i in 0..4 {\n %5 = load f64 p[i]\n store out[i] = %5\n}";
    for (int planned = 0; planned < 2; planned++) {
        LoopModule *m = program(ctx, "f64", body);
        if (planned) {
            loop_assign_offsets(m);
            int64_t bytes;
            assert_true(dim_is_const(m->funcs.p[0]->entry->work_bytes, &bytes));
            assert_int_equal(bytes, 64 + 4 * 64 + 63);
        }
        char *work = malloc(64 + 4 * 64 + 63);
        const LoopArg args[] = {{.i = 4}, {.p = x}, {.p = out}, {.f = 0}, {.p = work}};
        assert_int_equal(run_loops(ctx, m, 0, args), 0);
        free(work);
        const double want[4] = {22, 44, 35, 46};
        assert_memory_equal(out, want, sizeof want);
    }
    ctx_free(ctx);
}

static bool twice(void *self, Str callee, void *const *bufs, const ScalarValue *args,
                  ScalarValue *result) {
    *(int *)self += 1;
    ((double *)bufs[0])[1] = args[0].f;
    result->f = 2 * args[0].f;
    return strcmp(callee, "rt_twice") == 0;
}

static void calls_go_through_the_table(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    double x[4] = {0}, out[4] = {0};
    int calls = 0;
    LoopModule *m = program(
        ctx, "f64", "%1 = f64 4.0\n%2 = call rt_twice(out[1], %1) : f64\nstore out[0] = %2");
    const LoopArg args[] = {{.i = 4}, {.p = x}, {.p = out}, {.f = 0}, {.p = NULL}};
    LoopRun run = {.call = twice, .self = &calls};
    const char *why = NULL;
    assert_int_equal(loop_run(ctx, m, m->funcs.p[0], args, &run, &why), 0);
    assert_true(calls == 1 && out[0] == 8 && out[2] == 4);
    assert_int_equal(loop_run(ctx, m, m->funcs.p[0], args, NULL, &why), INT_MIN);
    assert_non_null(strstr(why, "rt_twice"));
    ctx_free(ctx);
}

static void calls_are_checked(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    double x[4] = {0}, out[4] = {0};
    const char *why = "";
    assert_int_equal(run_f64(ctx, "", 0, x, out), -2);
    assert_int_equal(run_f64(ctx, "", 101, x, out), -3);
    assert_int_equal(run_f64(ctx, "", 4, NULL, out), -1);
    assert_int_equal(
        run_f64(ctx, "%1 = load f64 x[0]\n%2 = lt(%1, %1)\nrequire %2 else 2", 4, x, out), -3);
    assert_int_equal(
        run_f64(ctx, "%1 = index i64 N\n%2 = load f64 x[0 + %1] checked else 3", 4, x, out), -4);
    const char *outside[] = {"%1 = load f64 x[N]", "%1 = load f64x4 x[1]",
                             "%1 = f64 0.0\nstore out[-1] = %1"};
    for (int k = 0; k < 3; k++) {
        LoopModule *m = program(ctx, "f64", outside[k]);
        const LoopArg args[] = {{.i = 4}, {.p = x}, {.p = out}, {.f = 0}, {.p = NULL}};
        assert_int_equal(loop_run(ctx, m, m->funcs.p[0], args, NULL, &why), INT_MIN);
        assert_non_null(strstr(why, "is outside 0..4"));
    }
    /* Where bounds do not tell before: code would divide -1 as a large number. */
    LoopModule *below = program(ctx, "f64", "for i in N - 5..3 {\n %1 = f64 0.0\n store out[i // 2 + 1] = %1\n}");
    const LoopArg five[] = {{.i = 4}, {.p = x}, {.p = out}, {.f = 0}, {.p = NULL}};
    assert_int_equal(loop_run(ctx, below, below->funcs.p[0], five, NULL, &why), INT_MIN);
    assert_non_null(strstr(why, "the index `i` begins at -1, below 0"));
    /* The first failure in the order of the jobs counts; the others have run. */
    out[3] = 0;
    assert_int_equal(run_f64(ctx,
                             "for g in 0..4 parallel {\n %1 = index i64 g\n %2 = i64 1\n %3 = "
                             "ne(%1, %2)\n require %3 else 3\n"
                             " %4 = f64 7.0\n store out[g] = %4\n}",
                             4, x, out),
                     -4);
    assert_true(out[1] == 0 && out[3] == 7);
    ctx_free(ctx);
}

#if defined(__SSE2__)
static float near_tiny(void) {
    uint32_t r = (uint32_t)rand() ^ (uint32_t)rand() << 16, bits;
    float f;
    switch (r % 5) {
    case 0:
        bits = 0x00800000u + (r >> 8) % 8 - 4;
        break; /* around the least normal number */
    case 1:
        bits = 0x3f800000u + (r >> 8) % 8 - 4;
        break; /* around 1 */
    case 2:
        bits = 0x1ff80000u + (r >> 8) % (1 << 20);
        break; /* about sqrt of the least */
    case 3:
        bits = (r >> 8) % 0x01800000u;
        break;
    default:
        bits = 0x3f000000u + (r >> 8) % (1 << 23);
        break;
    }
    bits |= r << 31;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* f32 and f64 arithmetic with FTZ and DAZ, against the processor. */
static void subnormals_are_flushed_as_by_the_processor(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    enum { N = 99 };
    LoopModule *m = program(
        ctx, "f32",
        "for i in 0..N // 11 {\n %1 = load f32 x[11*i]\n %2 = load f32 x[11*i + 1]\n"
        " %3 = mul(%1, %2)\n store out[11*i] = %3\n %4 = div(%1, %2)\n store out[11*i + 1] = %4\n"
        " %5 = add(%1, %2)\n store out[11*i + 2] = %5\n %6 = sub(%1, %2)\n store out[11*i + 3] = "
        "%6\n"
        " %7 = neg(%1)\n store out[11*i + 4] = %7\n %8 = lt(%1, %2)\n %9 = select(%8, %1, %2)\n "
        "store out[11*i + 5] = %9\n"
        " %10 = cast(%1) : f64\n %11 = f64 0.9999999999\n %12 = mul(%10, %11)\n %13 = cast(%12) : "
        "f32\n store out[11*i + 6] = %13\n"
        " %14 = abs(%1)\n %15 = sqrt(%14)\n store out[11*i + 7] = %15\n"
        " %16 = f64 1e-300\n %17 = mul(%16, %16)\n %18 = f64 1e10\n %19 = mul(%17, %18)\n %20 = "
        "cast(%19) : f32\n store out[11*i + 8] = %20\n"
        " %21 = max(%1, %2)\n store out[11*i + 9] = %21\n %22 = min(%1, %2)\n store out[11*i + 10] "
        "= %22\n}");
    for (int round = 0; round < 400; round++) {
        float x[N] = {0}, out[N] = {0}, want[N] = {0};
        for (int k = 0; k < N; k++)
            x[k] = near_tiny();
        const LoopArg args[] = {{.i = N}, {.p = x}, {.p = out}, {.f = 0.1}, {.p = NULL}};
        assert_int_equal(run_loops(ctx, m, 0, args), 0);
        unsigned csr = _mm_getcsr();
        for (int k = 0; k < N; k += 11) {
            _mm_setcsr(csr | 0x8040);
            __m128 a = _mm_load_ss(&x[k]), b = _mm_load_ss(&x[k + 1]);
            _mm_store_ss(&want[k], _mm_mul_ss(a, b));
            _mm_store_ss(&want[k + 1], _mm_div_ss(a, b));
            _mm_store_ss(&want[k + 2], _mm_add_ss(a, b));
            _mm_store_ss(&want[k + 3], _mm_sub_ss(a, b));
            _mm_store_ss(&want[k + 4], _mm_xor_ps(a, _mm_set_ss(-0.0f)));
            _mm_store_ss(&want[k + 5], _mm_comilt_ss(a, b) ? a : b);
            __m128d d = _mm_mul_sd(_mm_cvtss_sd(_mm_setzero_pd(), a), _mm_set_sd(0.9999999999));
            _mm_store_ss(&want[k + 6], _mm_cvtsd_ss(_mm_setzero_ps(), d));
            _mm_store_ss(&want[k + 7], _mm_sqrt_ss(_mm_andnot_ps(_mm_set_ss(-0.0f), a)));
            _mm_store_ss(&want[k + 9], _mm_comile_ss(b, a) ? a : b);
            _mm_store_ss(&want[k + 10], _mm_comile_ss(a, b) ? a : b);
            _mm_setcsr(csr);
        }
        for (int k = 0; k < N; k++)
            if (memcmp(&out[k], &want[k], sizeof(float)) != 0 &&
                !(out[k] != out[k] && want[k] != want[k]))
                fail_msg("result %d of %a, %a is %a, expected %a", k % 11, (double)x[k - k % 11],
                         (double)x[k - k % 11 + 1], (double)out[k], (double)want[k]);
    }
    ctx_free(ctx);
}
#endif

static void f64_functions_keep_subnormals(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    double x[1] = {DBL_MIN}, out[1];
    assert_int_equal(
        run_f64(ctx, "%1 = load f64 x[0]\n%2 = f64 0.5\n%3 = mul(%1, %2)\nstore out[0] = %3", 1, x,
                out),
        0);
    assert_true(out[0] == DBL_MIN / 2);
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_round_in_order),
        cmocka_unit_test(lanes_and_masks),
        cmocka_unit_test(loops_run_between_their_bounds),
        cmocka_unit_test(jobs_have_memory_of_their_own),
        cmocka_unit_test(calls_go_through_the_table),
        cmocka_unit_test(calls_are_checked),
#if defined(__SSE2__)
        cmocka_unit_test(subnormals_are_flushed_as_by_the_processor),
#endif
        cmocka_unit_test(f64_functions_keep_subnormals),
    };
    return cmocka_run_group_tests_name("loop_interp", tests, NULL, NULL);
}
