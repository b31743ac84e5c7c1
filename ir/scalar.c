/* The table of scalar operations, generated from scalar.def: reference values and derivatives. */
#include "ir/scalar.h"

#include <math.h>
#include <string.h>

#include "ir/nest.h"
#include "ir/scalar_expand.h"

/* ---- reference values */

static ScalarValue real_value(DType dt, double v) {
    return (ScalarValue){.f = dt == DT_F32 ? (double)(float)v : v};
}

/* v modulo the width of dt. */
static ScalarValue int_value(DType dt, uint64_t v) {
    return (ScalarValue){.i = dt == DT_I32    ? (int32_t)(uint32_t)v
                              : dt == DT_BOOL ? (int64_t)(v & 1)
                                              : (int64_t)v};
}

static uint64_t floor_div(int64_t a, int64_t b) {
    if (b == 0)
        return 0;
    if (b == -1)
        return 0 - (uint64_t)a;
    return (uint64_t)(a / b - (a % b != 0 && (a < 0) != (b < 0)));
}

static int64_t to_int(double v, double lo, double hi) {
    if (v != v)
        return 0;
    if (v <= lo)
        return (int64_t)lo;
    if (v < hi)
        return (int64_t)v;
    return hi == 0x1p63 ? INT64_MAX : (int64_t)hi - 1;
}

static ScalarValue convert(DType from, DType to, ScalarValue v) {
    bool real = dtype_is_real(from);
    switch (to) {
    case DT_F32:
        return (ScalarValue){.f = real ? (double)(float)v.f : (double)(float)v.i};
    case DT_F64:
        return (ScalarValue){.f = real ? v.f : (double)v.i};
    case DT_BOOL:
        return (ScalarValue){.i = real ? v.f != 0 : v.i != 0};
    case DT_I32:
        return real ? (ScalarValue){.i = to_int(v.f, -0x1p31, 0x1p31)}
                    : int_value(to, (uint64_t)v.i);
    default:
        return (ScalarValue){.i = real ? to_int(v.f, -0x1p63, 0x1p63) : v.i};
    }
}

static ScalarValue same_bits(DType from, DType to, ScalarValue v) {
    ScalarValue r = {0};
    float f = (float)v.f;
    int32_t i = (int32_t)v.i;
    if (from == DT_F32 && to == DT_I32) {
        memcpy(&i, &f, sizeof i);
        r.i = i;
    } else if (from == DT_I32 && to == DT_F32) {
        memcpy(&f, &i, sizeof f);
        r.f = (double)f;
    } else if (from == DT_F64 && to == DT_I64) {
        memcpy(&r.i, &v.f, sizeof r.i);
    } else if (from == DT_I64 && to == DT_F64) {
        memcpy(&r.f, &v.i, sizeof r.f);
    } else {
        r = v;
    }
    return r;
}

static double log_gamma(double x) {
    int sign;
    return lgamma_r(x, &sign);
}

/* The polygamma function of order 0 or 1: reflection, recurrence up to 16, then the asymptotic
 * series (Abramowitz and Stegun 6.3.18, 6.4.12). */
static double polygamma(int n, double x) {
    static const long double bernoulli[] = {1.0L / 6,  -1.0L / 30,     1.0L / 42, -1.0L / 30,
                                            5.0L / 66, -691.0L / 2730, 7.0L / 6};
    const long double pi = 3.14159265358979323846264338327950288L;
    long double t = x, sum = 0, reflected = 0, sign = 1;
    if (x <= 0) {
        if (x == floor(x))
            return n == 0 ? NAN : INFINITY;
        long double s = sinl(pi * (t - roundl(t))), c = cosl(pi * (t - roundl(t)));
        reflected = n == 0 ? -pi * c / s : pi * pi / (s * s);
        sign = n == 0 ? 1 : -1;
        t = 1 - t;
    }
    if (x != x || isinf(x))
        return x > 0 && n == 1 ? 0 : x;
    for (; t < 16; t++)
        sum += n == 0 ? -1 / t : 1 / (t * t);
    long double z = 1 / (t * t), p = 1;
    sum += n == 0 ? logl(t) - 1 / (2 * t) : 1 / t + z / 2;
    for (int k = 1; k <= 7; k++) {
        p *= z;
        sum += n == 0 ? -bernoulli[k - 1] * p / (2 * k) : bernoulli[k - 1] * p / t;
    }
    return (double)(reflected + sign * sum);
}

/* zeta(s, x), the sum of (x + k)^-s, of whole s from 2 to 15: terms up to 40, then Euler and
 * Maclaurin's series. */
static double hurwitz(double s, double x) {
    static const long double bernoulli[] = {1.0L / 6,  -1.0L / 30,     1.0L / 42, -1.0L / 30,
                                            5.0L / 66, -691.0L / 2730, 7.0L / 6};
    long double t = x, sum = 0, term;
    if (!(s >= 2 && s <= 15 && s == floor(s)))
        return NAN;
    if (x != x || (x <= 0 && x == floor(x)) || isinf(x))
        return x != x ? x : x > 0 ? 0 : INFINITY;
    enum { FAR = 40, FARTHEST = 1000000 };
    if (x < -FARTHEST)
        return NAN;
    for (; t < FAR; t++)
        sum += powl(t, -(long double)s);
    sum += powl(t, -(long double)s) * (t / ((long double)s - 1) + 0.5L);
    term = powl(t, -(long double)s - 1) * (long double)s / 2;
    for (int m = 1; m <= 7; m++) {
        sum += bernoulli[m - 1] * term;
        term *= ((long double)s + 2 * m - 1) * ((long double)s + 2 * m) / (t * t);
        term /= (2 * m + 1) * (2 * m + 2);
    }
    return (double)sum;
}

/* The words of scalar.def's `value` column. */
#define X (v[0].f)
#define Y (v[1].f)
#define Z (v[2].f)
#define SI (v[0].i)
#define SJ (v[1].i)
#define I ((uint64_t)v[0].i)
#define J ((uint64_t)v[1].i)
#define SHIFT (v[1].i & (dt == DT_I32 ? 31 : 63))
#define WIDTH(u) (dt == DT_I32 ? (uint32_t)(u) : (u))
#define ROUND(e) (dt == DT_F32 ? (double)(float)(e) : (e))
#define REAL(e) real_value(dt, e)
#define INT(e) int_value(dt, e)
#define BOTH(r, i) (dtype_is_real(dt) ? real_value(dt, r) : int_value(dt, i))
#define COMPARE(op) ((ScalarValue){.i = dtype_is_real(dt) ? X op Y : SI op SJ})
#define LIBM1(fn) ((ScalarValue){.f = dt == DT_F32 ? (double)fn##f((float)X) : fn(X)})
#define LIBM2(fn) ((ScalarValue){.f = dt == DT_F32 ? (double)fn##f((float)X, (float)Y) : fn(X, Y)})
#define FUSED(a, b, c)                                                                             \
    ((ScalarValue){.f = dt == DT_F32 ? (double)fmaf((float)(a), (float)(b), (float)(c))            \
                                     : fma(a, b, c)})

#define SCALAR(name, arity, result, flags, infix, level, value, ...)                               \
    static ScalarValue eval_##name(DType dt, DType to, const ScalarValue *v) {                     \
        (void)dt, (void)to;                                                                        \
        return value;                                                                              \
    }
#include "ir/scalar.def"
#undef SCALAR
#undef X
#undef Y
#undef Z
#undef I
#undef J

/* ---- derivatives: the words of the `derivative` column */

#define A (a[0])
#define B (a[1])
#define R r
#define G g
#define K(v) body_real(b, body_type(b, g), v)
#define OP1(op, p) body_op1(b, SC_##op, p)
#define OP2(op, p, q) body_op2(b, SC_##op, p, q)
#define ADD(p, q) OP2(add, p, q)
#define SUB(p, q) OP2(sub, p, q)
#define MUL(p, q) OP2(mul, p, q)
#define DIV(p, q) OP2(div, p, q)
#define POW(p, q) OP2(pow, p, q)
#define LT(p, q) OP2(lt, p, q)
#define LE(p, q) OP2(le, p, q)
#define EQ(p, q) OP2(eq, p, q)
#define NEG(p) OP1(neg, p)
#define EXP(p) OP1(exp, p)
#define LOG(p) OP1(log, p)
#define SQRT(p) OP1(sqrt, p)
#define SELECT(c, p, q) body_op3(b, SC_select, c, p, q)
#define FLAT -1
#define D1(p) p
#define D2(p, q) k == 0 ? p : q
#define D3(p, q, s) k == 0 ? p : k == 1 ? q : s

#define SCALAR(name, arity, result, flags, infix, level, value, derivative, ...)                   \
    static int vjp_##name(BodyBuilder *b, int k, int g, int r, const int *a) {                     \
        (void)b, (void)k, (void)g, (void)r, (void)a;                                               \
        return derivative;                                                                         \
    }
#include "ir/scalar.def"
#undef SCALAR

/* ---- the table */

#define NATIVE NULL
static const ScalarDef table[SC_COUNT] = {
#define SCALAR(name, arity, result, flags, infix, level, value, derivative, expansion, doc)        \
    [SC_##name] = {#name, arity, result, flags, infix, level, vjp_##name, expansion, doc},
#include "ir/scalar.def"
#undef SCALAR
};

typedef ScalarValue EvalFn(DType dt, DType to, const ScalarValue *v);
static EvalFn *const evals[SC_COUNT] = {
#define SCALAR(name, ...) [SC_##name] = eval_##name,
#include "ir/scalar.def"
#undef SCALAR
};

const ScalarDef *scalar_def(ScalarOp op) { return &table[op]; }

ScalarOp scalar_named(Str name) {
    for (int k = 1; k < SC_COUNT; k++)
        if (strcmp(table[k].name, name) == 0)
            return (ScalarOp)k;
    return SC_NONE;
}

ScalarValue scalar_eval(ScalarOp op, DType dt, DType to, const ScalarValue *args) {
    return evals[op](dt, to, args);
}
