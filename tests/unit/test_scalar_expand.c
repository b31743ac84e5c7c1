/* ir/scalar_expand: errors in units of the last place against long double references, and special
 * values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ir/nest.h"

/* The value of a body of one operand, row by row. */
static double run(const Body *b, double x) {
    static ScalarValue v[2000];
    for (int k = 0; k < b->n; k++) {
        const BodyInst *i = &b->insts[k];
        ScalarValue a[3] = {{.f = 0}, {.f = 0}, {.f = 0}};
        if (i->kind == BODY_READ)
            v[k].f = x;
        else if (i->kind == BODY_CONST)
            v[k] = dtype_is_real(i->dt)
                       ? (ScalarValue){.f = i->dt == DT_F32 ? (double)(float)i->k.f : i->k.f}
                       : i->k;
        else {
            for (int j = 0; j < scalar_def(i->op)->arity; j++)
                a[j] = v[i->args[j]];
            v[k] = scalar_eval(i->op, b->insts[i->args[i->op == SC_select]].dt, i->dt, a);
        }
    }
    return v[b->n - 1].f;
}

static Body expansion(Ctx *ctx, ScalarOp op, DType dt) {
    BodyBuilder b = body_new(ctx);
    int x = body_read(&b, dt, 0, 0, NULL), two[2] = {body_real(&b, dt, 3), x};
    bool of_two = scalar_def(op)->arity == 2; /* zeta(3, x) */
    Body body = body_done(&b, scalar_def(op)->expand(&b, dt, of_two ? two : &x));
    for (int k = 0; k < body.n; k++)
        if (body.insts[k].kind == BODY_OP)
            assert_true(scalar_def(body.insts[k].op)->flags & SF_NATIVE);
    return body;
}

static double ulps(DType dt, double got, long double want) {
    if (isnan(got) || isnan((double)want))
        return isnan(got) && isnan((double)want) ? 0 : INFINITY;
    if ((long double)got == want ||
        (isinf(got) && fabsl(want) > (dt == DT_F32 ? 0x1.ffffffp127L : 0x1.fffffffffffff8p1023L) &&
         (got > 0) == (want > 0)))
        return 0;
    int e;
    frexpl(want, &e);
    int least = dt == DT_F32 ? -125 : -1021;
    return (double)(fabsl((long double)got - want) /
                    ldexpl(1, (e > least ? e : least) - (dt == DT_F32 ? 24 : 53)));
}

typedef struct Case {
    ScalarOp op;
    long double (*want)(long double x);
    double lo, hi;
    bool scale; /* points spread over exponents */
    double most32, most64;
} Case;

static long double sigmoid_want(long double x) { return 1 / (1 + expl(-x)); }
static long double rsqrt_want(long double x) { return 1 / sqrtl(x); }
static long double lgamma_want(long double x) {
    int s;
    return lgammal_r(x, &s);
}

static const Case cases[] = {
    {SC_exp, expl, -103, 88.7, false, 1, 1},
    {SC_exp, expl, -740, 709.7, false, 1, 1},
    {SC_exp, expl, 1e-20, 1, true, 1, 1},
    {SC_log, logl, 1e-44, 3e38, true, 1.5, 1},
    {SC_log, logl, 5e-324, 1e308, true, 1.5, 1},
    {SC_log, logl, 0.5, 2, false, 1.5, 1},
    {SC_log1p, log1pl, 1e-30, 1e30, true, 2, 2},
    {SC_log1p, log1pl, -0.999999, 3, false, 2, 2},
    {SC_log1p, log1pl, -1e-5, 1e-5, false, 2, 2},
    {SC_tanh, tanhl, -25, 25, false, 3, 3},
    {SC_tanh, tanhl, 1e-30, 20, true, 3, 3},
    {SC_tanh, tanhl, -1, 1, false, 3, 3},
    {SC_sigmoid, sigmoid_want, -87, 40, false, 3, 3},
    {SC_sigmoid, sigmoid_want, -700, 40, false, INFINITY, 3},
    {SC_rsqrt, rsqrt_want, 1e-30, 1e30, true, 1.5, 1.5},
    {SC_lgamma, lgamma_want, 1e-10, 1e10, true, 1, 8},
    {SC_lgamma, lgamma_want, 0.5, 9, false, 1, 8},
};

static void errors_are_bounded(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const Case *k = &cases[c];
        for (DType dt = DT_F32; dt <= DT_F64; dt++) {
            Body b = expansion(ctx, k->op, dt);
            double worst = 0, at = 0, most = dt == DT_F32 ? k->most32 : k->most64;
            for (int n = 0; n <= 4000; n++) {
                double u = n / 4000.0, x = k->scale ? k->lo * exp2(u * (log2(k->hi) - log2(k->lo)))
                                                    : k->lo + u * (k->hi - k->lo);
                x = dt == DT_F32 ? (double)(float)x : x;
                double e = isinf(x) ? 0 : ulps(dt, run(&b, x), k->want((long double)x));
                if (e > worst)
                    worst = e, at = x;
            }
            if (worst > most)
                fail_msg("%s %s: %g ulp at %.17g", scalar_def(k->op)->name, dtype_name(dt), worst,
                         at);
        }
    }
    ctx_free(ctx);
}

static void gamma_derivatives_match(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const ScalarOp ops[] = {SC_lgamma, SC_digamma, SC_trigamma, SC_zeta};
    for (int o = 0; o < 4; o++) {
        Body b = expansion(ctx, ops[o], DT_F64);
        for (double x = -7.45; x < 30; x += 0.1) {
            ScalarValue v[2] = {{.f = ops[o] == SC_zeta ? 3 : x}, {.f = x}};
            double want = scalar_eval(ops[o], DT_F64, DT_F64, v).f, got = run(&b, x);
            if (fabs(got - want) > 1e-13 * (1 + fabs(want)))
                fail_msg("%s(%.17g) = %.17g, not %.17g", scalar_def(ops[o])->name, x, got, want);
        }
    }
    ctx_free(ctx);
}

static void special_values(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const double inf = INFINITY;
    const struct {
        ScalarOp op;
        double x, y;
    } t[] = {{SC_exp, -inf, 0},
             {SC_exp, inf, inf},
             {SC_exp, 0, 1},
             {SC_exp, 1000, inf},
             {SC_exp, -1000, 0},
             {SC_log, 0, -inf},
             {SC_log, inf, inf},
             {SC_log, 1, 0},
             {SC_log, -1, NAN},
             {SC_tanh, inf, 1},
             {SC_tanh, -inf, -1},
             {SC_tanh, 0, 0},
             {SC_sigmoid, inf, 1},
             {SC_sigmoid, 0, 0.5},
             {SC_lgamma, 1, 0},
             {SC_lgamma, 2, 0},
             {SC_lgamma, inf, inf},
             {SC_lgamma, -3, inf},
             {SC_lgamma, 0, inf},
             {SC_digamma, inf, inf},
             {SC_digamma, -2, NAN},
             {SC_trigamma, -2, inf},
             {SC_trigamma, inf, 0},
             {SC_sign, -3, -1},
             {SC_sign, 0, 0},
             {SC_rsqrt, 4, 0.5},
             {SC_log1p, -1, -inf},
             {SC_log1p, inf, inf},
             {SC_log1p, -2, NAN},
             {SC_log1p, 0, 0},
             {SC_log1p, 0x1p-60, 0x1p-60}};
    for (size_t k = 0; k < sizeof t / sizeof *t; k++)
        for (DType dt = DT_F32; dt <= DT_F64; dt++) {
            Body b = expansion(ctx, t[k].op, dt);
            double got = run(&b, t[k].x);
            if (!(got == t[k].y || (isnan(got) && isnan(t[k].y))))
                fail_msg("%s(%g) = %g, not %g", scalar_def(t[k].op)->name, t[k].x, got, t[k].y);
        }
    ctx_free(ctx);
}

static void nan_stays_nan(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    for (int op = 1; op < SC_COUNT; op++)
        for (DType dt = DT_F32; dt <= DT_F64; dt++)
            if (scalar_def((ScalarOp)op)->expand) {
                Body b = expansion(ctx, (ScalarOp)op, dt);
                assert_true(isnan(run(&b, NAN)));
            }
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_bounded),
        cmocka_unit_test(gamma_derivatives_match),
        cmocka_unit_test(special_values),
        cmocka_unit_test(nan_stays_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
