/* Entries whose reals are f32 flush denormals to zero, in every job, and leave the caller's mode as
 * it was; f64 keeps them. */
#include "jit_helper.h"

#include <float.h>
#include <stdlib.h>

#if defined(__x86_64__)
#include <xmmintrin.h>

static unsigned mode_of_jobs; /* every job must leave it */
static int jobs_run;

static void run_jobs(void *self, int jobs, void (*job)(void *arg, int k), void *arg) {
    (void)self;
    unsigned old = _mm_getcsr();
    for (int k = 0; k < jobs; k++) {
        _mm_setcsr(mode_of_jobs); /* a thread of the caller, with a mode of its own */
        job(arg, k);
        assert_int_equal(_mm_getcsr() & 0xffc0, mode_of_jobs & 0xffc0);
        jobs_run++;
    }
    _mm_setcsr(old);
}

enum { ROWS = 40, IN = 3, OUT = 2 };

static const char text[] = "def f[N](x: [N, 3], w: [3, 2]) -> [N, 2] = x @ w\n";

static int call(Jit *j, const AbiEntry *e, const Exec *exec, const void *x, const void *w,
                void *out) {
    DimValue dims[1] = {{e->args.p[1].dim, ROWS}};
    void *work = malloc(codegen_work_bytes(e, dims, 1) + 1);
    CnncArg args[] = {{.p = exec}, {.i = ROWS}, {.p = x}, {.p = w}, {.p = out}, {.p = work}};
    int status = jit_call(j, e->cname, args);
    free(work);
    return status;
}

static void single_precision_flushes(void **state) {
    (void)state;
    float x[ROWS * IN], w[IN * OUT], out[ROWS * OUT];
    for (int k = 0; k < ROWS * IN; k++)
        x[k] = k % 2 ? FLT_MIN / 4 : 1e-30f; /* a denormal operand; a denormal product */
    for (int k = 0; k < IN * OUT; k++)
        w[k] = 1e-12f;
    Ctx *ctx = ctx_new(0);
    const AbiEntry *e;
    Jit *j = open_text(ctx, text, DT_F32, &e);
    static const unsigned modes[] = {0x1f80, 0x9f80, 0x3f80,
                                     0x1fc0}; /* default, FTZ, rounding down, DAZ */
    for (size_t k = 0; k < sizeof modes / sizeof *modes; k++) {
        Exec exec = {2, NULL, NULL, run_jobs};
        unsigned old = _mm_getcsr();
        for (int with = 0; with < 2; with++) {
            memset(out, 0xff, sizeof out);
            jobs_run = 0;
            mode_of_jobs = modes[k];
            _mm_setcsr(modes[k]);
            int status = call(j, e, with ? &exec : NULL, x, w, out);
            unsigned after = _mm_getcsr();
            _mm_setcsr(old);
            assert_int_equal(status, 0);
            assert_int_equal(after & 0xffc0, modes[k] & 0xffc0);
            assert_true(with ? jobs_run > 1 : !jobs_run);
            for (int i = 0; i < ROWS * OUT; i++)
                assert_true(out[i] == 0);
        }
        _mm_setcsr(modes[k]); /* a call that fails leaves the mode as well */
        int status = call(j, e, NULL, NULL, w, out);
        unsigned after = _mm_getcsr();
        _mm_setcsr(old);
        assert_true(status < 0);
        assert_int_equal(after & 0xffc0, modes[k] & 0xffc0);
    }
    jit_close(j);
    ctx_free(ctx);
}

static void double_precision_does_not(void **state) {
    (void)state;
    double x[ROWS * IN], w[IN * OUT], out[ROWS * OUT];
    for (int k = 0; k < ROWS * IN; k++)
        x[k] = DBL_MIN / 4;
    for (int k = 0; k < IN * OUT; k++)
        w[k] = 1;
    Ctx *ctx = ctx_new(0);
    const AbiEntry *e;
    Jit *j = open_text(ctx, text, DT_F64, &e);
    assert_int_equal(call(j, e, NULL, x, w, out), 0);
    for (int i = 0; i < ROWS * OUT; i++)
        assert_true(out[i] == IN * (DBL_MIN / 4));
    jit_close(j);
    ctx_free(ctx);
}
#endif

int main(void) {
#if defined(__x86_64__)
    const struct CMUnitTest tests[] = {cmocka_unit_test(single_precision_flushes),
                                       cmocka_unit_test(double_precision_does_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
#else
    return 0;
#endif
}
