/* ir/scalar, ir/body: reference values at the edges, folding that is exact only, order and import
 * of bodies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "ir/nest.h"

static ScalarValue F(double v) { return (ScalarValue){.f = v}; }
static ScalarValue I(int64_t v) { return (ScalarValue){.i = v}; }

static ScalarValue eval2(ScalarOp op, DType dt, ScalarValue a, ScalarValue b) {
    ScalarValue v[3] = {a, b, a};
    return scalar_eval(op, dt, dt, v);
}

static ScalarValue convert(DType from, DType to, ScalarValue a) {
    return scalar_eval(SC_cast, from, to, &a);
}

static void integers_wrap_and_round_down(void **state) {
    (void)state;
    assert_int_equal(eval2(SC_add, DT_I32, I(INT32_MAX), I(1)).i, INT32_MIN);
    assert_int_equal(eval2(SC_mul, DT_I64, I(INT64_MAX), I(2)).i, -2);
    assert_int_equal(eval2(SC_floordiv, DT_I64, I(-7), I(2)).i, -4);
    assert_int_equal(eval2(SC_mod, DT_I64, I(-7), I(2)).i, 1);
    assert_int_equal(eval2(SC_mod, DT_I64, I(7), I(-2)).i, -1);
    assert_int_equal(eval2(SC_floordiv, DT_I32, I(INT32_MIN), I(-1)).i, INT32_MIN);
    assert_int_equal(eval2(SC_floordiv, DT_I64, I(INT64_MIN), I(-1)).i, INT64_MIN);
    assert_int_equal(eval2(SC_floordiv, DT_I64, I(5), I(0)).i, 0);
    assert_int_equal(eval2(SC_mod, DT_I64, I(5), I(0)).i, 5);
    assert_int_equal(eval2(SC_lshr, DT_I32, I(-1), I(28)).i, 15);
    assert_int_equal(eval2(SC_ashr, DT_I32, I(-16), I(2)).i, -4);
}

static void reals_round_to_their_type(void **state) {
    (void)state;
    assert_true(eval2(SC_add, DT_F32, F(1), F(0x1p-24)).f == 1);
    assert_true(eval2(SC_add, DT_F64, F(1), F(0x1p-24)).f == 1 + 0x1p-24);
    ScalarValue v[3] = {F(1 + 0x1p-23), F(1 + 0x1p-23), F(-1)};
    assert_true(scalar_eval(SC_fma, DT_F32, DT_F32, v).f ==
                (double)fmaf(1 + 0x1p-23f, 1 + 0x1p-23f, -1));
    assert_true(isnan(eval2(SC_max, DT_F64, F(NAN), F(1)).f) &&
                isnan(eval2(SC_max, DT_F64, F(1), F(NAN)).f));
    assert_true(isnan(eval2(SC_min, DT_F64, F(NAN), F(1)).f) &&
                isnan(eval2(SC_min, DT_F64, F(1), F(NAN)).f));
    assert_int_equal(eval2(SC_lt, DT_F64, F(NAN), F(1)).i, 0);
    assert_int_equal(eval2(SC_ne, DT_F64, F(NAN), F(NAN)).i, 1);
}

static void conversions_saturate(void **state) {
    (void)state;
    assert_int_equal(convert(DT_F64, DT_I32, F(-1.9)).i, -1);
    assert_int_equal(convert(DT_F64, DT_I32, F(1e300)).i, INT32_MAX);
    assert_int_equal(convert(DT_F64, DT_I64, F(-INFINITY)).i, INT64_MIN);
    assert_int_equal(convert(DT_F64, DT_I64, F(1e300)).i, INT64_MAX);
    assert_int_equal(convert(DT_F64, DT_I64, F(NAN)).i, 0);
    assert_int_equal(convert(DT_F64, DT_BOOL, F(0.5)).i, 1);
    assert_true(convert(DT_I64, DT_F32, I(16777217)).f == 16777216);
    ScalarValue one = F(1);
    assert_int_equal(scalar_eval(SC_bitcast, DT_F32, DT_I32, &one).i, 0x3f800000);
    assert_int_equal(scalar_eval(SC_bitcast, DT_F64, DT_I64, &one).i, 0x3ff0000000000000);
}

static void names_are_found(void **state) {
    (void)state;
    for (int k = 1; k < SC_COUNT; k++)
        assert_int_equal(scalar_named(scalar_def((ScalarOp)k)->name), k);
    assert_int_equal(scalar_named("nothing"), SC_NONE);
}

static bool is_real(BodyBuilder *b, int k, double v) {
    return b->insts.p[k].kind == BODY_CONST && b->insts.p[k].k.f == v;
}

static void folding_is_exact(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    BodyBuilder b = body_new(ctx);
    int x = body_read(&b, DT_F32, 0, 0, NULL), one = body_real(&b, DT_F32, 1),
        three = body_real(&b, DT_F32, 3);
    assert_true(is_real(&b, body_op2(&b, SC_add, one, three), 4));
    assert_int_equal(b.insts.p[body_op2(&b, SC_div, one, three)].kind, BODY_OP);
    assert_int_equal(b.insts.p[body_op2(&b, SC_add, body_real(&b, DT_F32, 0x1p30), one)].kind,
                     BODY_OP);
    assert_true(
        is_real(&b, body_op2(&b, SC_add, body_real(&b, DT_F64, 0x1p30), body_real(&b, DT_F64, 1)),
                0x1p30 + 1));
    assert_int_equal(
        b.insts.p[body_op2(&b, SC_add, body_real(&b, DT_F64, 0.1), body_real(&b, DT_F64, 0.2))]
            .kind,
        BODY_OP);
    assert_int_equal(body_op2(&b, SC_mul, x, one), x);
    assert_int_equal(body_op2(&b, SC_sub, x, body_real(&b, DT_F32, 0)), x);
    assert_int_not_equal(body_op2(&b, SC_add, x, body_real(&b, DT_F32, 0)), x); /* -0 + 0 is 0 */
    assert_int_equal(body_op1(&b, SC_neg, body_op1(&b, SC_neg, x)), x);
    assert_int_equal(body_op2(&b, SC_pow, x, body_real(&b, DT_F32, 2)), body_op2(&b, SC_mul, x, x));
    assert_int_equal(body_op2(&b, SC_mul, x, three), body_op2(&b, SC_mul, three, x));
    assert_int_not_equal(body_op2(&b, SC_sub, x, three), body_op2(&b, SC_sub, three, x));
    int c = body_op2(&b, SC_lt, one, three);
    assert_int_equal(b.insts.p[c].k.i, 1);
    assert_int_equal(body_op3(&b, SC_select, c, x, one), x);
    assert_int_equal(body_cast(&b, DT_F32, x), x);
    assert_int_not_equal(body_real(&b, DT_F32, 0), body_real(&b, DT_F32, -0.0));
    ctx_free(ctx);
}

static void the_order_is_that_of_the_expression(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    BodyBuilder b = body_new(ctx);
    int k = body_real(&b, DT_F64, 2), y = body_read(&b, DT_F64, 1, 0, NULL),
        x = body_read(&b, DT_F64, 0, 0, NULL);
    body_op1(&b, SC_exp, k); /* not needed */
    Body r = body_done(&b, body_op2(&b, SC_mul, body_op2(&b, SC_add, x, y), k));
    assert_int_equal(r.n, 5);
    assert_int_equal(r.insts[0].operand, 0);
    assert_int_equal(r.insts[1].operand, 1);
    assert_int_equal(r.insts[2].op, SC_add);
    assert_int_equal(r.insts[3].kind, BODY_CONST);
    assert_int_equal(r.insts[4].op, SC_mul);
    ctx_free(ctx);
}

static void import_substitutes(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    DimSym i = nest_index(ctx, "i"), j = nest_index(ctx, "j");
    Dim at = dim_addk(ctx, dim_scale(ctx, dim_of(ctx, i), 2), 1);
    BodyBuilder b = body_new(ctx);
    int v = body_cast(&b, DT_F64, body_index(&b, at));
    Body from = body_done(&b, body_op2(&b, SC_mul, body_read(&b, DT_F64, 0, 1, &at), v));
    BodyBuilder to = body_new(ctx);
    DimBinding bind = {i, dim_of(ctx, j)};
    Body r = body_done(&to, body_import(&to, &from, &bind, 1, (int[]){4}));
    assert_int_equal(r.insts[0].operand, 4);
    assert_ptr_equal(r.insts[0].map[0], dim_addk(ctx, dim_scale(ctx, dim_of(ctx, j), 2), 1));
    bind.value = dim_const(ctx, 3); /* the index becomes a constant, exactly */
    BodyBuilder fixed = body_new(ctx);
    r = body_done(&fixed, body_import(&fixed, &from, &bind, 1, NULL));
    assert_int_equal(r.n, 3);
    assert_true(r.insts[1].kind == BODY_CONST && r.insts[1].k.f == 7);
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_wrap_and_round_down),
        cmocka_unit_test(reals_round_to_their_type),
        cmocka_unit_test(conversions_saturate),
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(folding_is_exact),
        cmocka_unit_test(the_order_is_that_of_the_expression),
        cmocka_unit_test(import_substitutes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
