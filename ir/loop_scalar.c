/* Arithmetic of the loop IR, as native code does it.
 *
 * Reals of both widths are held in f64; an f32 operation rounds as float arithmetic does. Where the
 * function's real type is f32, native code runs with FTZ and DAZ, which flush subnormal operands
 * and results of f32 and f64 arithmetic to zeros of their sign; moves (loads, stores, select, neg,
 * abs, bitcast, the operand that max and min take) keep them. x86 decides "subnormal" after
 * rounding with an unbounded exponent, so a result that rounds up to the least normal number may be
 * flushed too: see is_tiny. Operands of libm functions are flushed before the call. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "ir/loop.h"

static bool subnormal(DType dt, double x) {
    return x != 0 && fabs(x) < (dt == DT_F32 ? (double)FLT_MIN : DBL_MIN);
}

static double flushed(DType dt, double x) {
    return dtype_is_real(dt) && subnormal(dt, x) ? copysign(0, x) : x;
}

/* Does r = +-(least normal) come from an exact result that is below it after rounding to its
 * precision? The operation is repeated with its result scaled up; other rows cannot get there. */
static bool is_tiny(ScalarOp op, DType dt, DType to, const ScalarValue *v, double r) {
    DType result = op == SC_cast ? to : dt;
    double least = result == DT_F32 ? (double)FLT_MIN : DBL_MIN;
    if (fabs(r) != least)
        return false;
    double scale = 0x1p64;
    ScalarValue s[3] = {v[0], v[1], v[2]};
    if (op == SC_cast)
        return dt == DT_F64 && fabs((double)(float)(v[0].f * scale)) < least * scale;
    if (op != SC_mul && op != SC_div && op != SC_fma)
        return false;
    int small = op == SC_div || fabs(s[0].f) < fabs(s[1].f) ? 0 : 1;
    s[small].f *= scale;
    s[2].f *= op == SC_fma ? scale : 1;
    return fabs(scalar_eval(op, dt, to, s).f) < least * scale;
}

static bool is_move(ScalarOp op) {
    return op == SC_select || op == SC_neg || op == SC_abs || op == SC_bitcast || op == SC_splat;
}

ScalarValue loop_eval_row(bool f32_mode, ScalarOp op, DType dt, DType to, const ScalarValue *args,
                          int n) {
    ScalarValue v[3] = {{0, 0}, {0, 0}, {0, 0}};
    memcpy(v, args, (size_t)n * sizeof *v);
    bool flush = f32_mode && dtype_is_real(dt) && !is_move(op);
    for (int k = 0; flush && k < n; k++)
        v[k].f = flushed(dt, v[k].f);
    if (flush && (op == SC_max || op == SC_min)) { /* a comparison of the flushed, a move of one */
        ScalarValue pair[2] = {op == SC_max ? v[1] : v[0], op == SC_max ? v[0] : v[1]};
        bool first = scalar_eval(SC_le, dt, dt, pair).i || v[0].f != v[0].f;
        return args[first ? 0 : 1];
    }
    ScalarValue r = scalar_eval(op, dt, to, v);
    DType result = scalar_def(op)->result == SR_BOOL   ? DT_BOOL
                   : scalar_def(op)->result == SR_ATTR ? to
                                                       : dt;
    if (flush && dtype_is_real(result))
        r.f = is_tiny(op, dt, to, v, r.f) ? copysign(0, r.f) : flushed(result, r.f);
    return r;
}
