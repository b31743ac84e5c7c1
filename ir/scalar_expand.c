/* Scalar functions as bodies of native rows, so that the interpreters and native code run the same
 * polynomials.
 *
 * Only operations that vectorise; whole numbers are rounded by adding 1.5 * 2^(mantissa bits),
 * which leaves them in the low bits of the sum. Compares are ordered so that a NaN operand gives a
 * NaN. The coefficients are minimax fits (Remez, 60 digits; f32: weighted Lawson fits);
 * tests/unit/test_expand.c holds the bounds on the errors. */
#include "ir/scalar_expand.h"

#include <math.h>

typedef struct Expand {
    BodyBuilder *b;
    DType dt, bits; /* f32 and i32, or f64 and i64 */
} Expand;

static Expand expand(BodyBuilder *b, DType dt) {
    return (Expand){b, dt, dt == DT_F32 ? DT_I32 : DT_I64};
}
static int num(Expand e, double v) { return body_real(e.b, e.dt, v); }
static int whole(Expand e, int64_t v) { return body_int(e.b, e.bits, v); }
static int add(Expand e, int a, int c) { return body_op2(e.b, SC_add, a, c); }
static int sub(Expand e, int a, int c) { return body_op2(e.b, SC_sub, a, c); }
static int mul(Expand e, int a, int c) { return body_op2(e.b, SC_mul, a, c); }
static int over(Expand e, int a, int c) { return body_op2(e.b, SC_div, a, c); }
static int fused(Expand e, int a, int c, int d) { return body_op3(e.b, SC_fma, a, c, d); }
static int neg(Expand e, int a) { return body_op1(e.b, SC_neg, a); }
static int lt(Expand e, int a, int c) { return body_op2(e.b, SC_lt, a, c); }
static int eq(Expand e, int a, int c) { return body_op2(e.b, SC_eq, a, c); }
static int pick(Expand e, int c, int a, int d) { return body_op3(e.b, SC_select, c, a, d); }

static int horner(Expand e, int x, const double *c, int n) {
    int r = num(e, c[n - 1]);
    for (int k = n - 2; k >= 0; k--)
        r = fused(e, r, x, num(e, c[k]));
    return r;
}
#define HORNER(e, x, c) horner(e, x, c, (int)(sizeof(c) / sizeof *(c)))

/* lo <= x <= hi, a NaN as it is. */
static int clamp(Expand e, int x, double lo, double hi) {
    x = pick(e, lt(e, num(e, hi), x), num(e, hi), x);
    return pick(e, lt(e, x, num(e, lo)), num(e, lo), x);
}

/* Sign of s on the magnitude m >= 0. */
static int with_sign(Expand e, int m, int s) {
    int sign = whole(e, e.dt == DT_F32 ? INT32_MIN : INT64_MIN);
    int bit = body_op2(e.b, SC_iand, body_bitcast(e.b, e.bits, s), sign);
    return body_bitcast(e.b, e.dt, body_op2(e.b, SC_ior, body_bitcast(e.b, e.bits, m), bit));
}

int expand_sign(BodyBuilder *b, DType dt, const int *a) {
    bool real = dtype_is_real(dt);
    int zero = real ? body_real(b, dt, 0) : body_int(b, dt, 0);
    int one = real ? body_real(b, dt, 1) : body_int(b, dt, 1),
        minus = real ? body_real(b, dt, -1) : body_int(b, dt, -1);
    int r = body_op3(b, SC_select, body_op2(b, SC_lt, a[0], zero), minus, zero);
    r = body_op3(b, SC_select, body_op2(b, SC_lt, zero, a[0]), one, r);
    return real ? body_op3(b, SC_select, body_op2(b, SC_ne, a[0], a[0]), a[0], r) : r;
}

int expand_rsqrt(BodyBuilder *b, DType dt, const int *a) {
    Expand e = expand(b, dt);
    return over(e, num(e, 1), body_op1(b, SC_sqrt, a[0]));
}

/* ---- exp: x = n*log 2 + r, exp(x) = 2^n * (1 + p), p = exp(r) - 1 */

typedef struct ExpParts {
    int p;       /* real */
    int n;       /* integer */
    int shifted; /* real: n in its low bits, above them those of 1.5 * 2^(mantissa bits) */
} ExpParts;

/* Of sign*x, sign being 1 or -1. */
static ExpParts exp_parts_of(Expand e, double sign, int x) {
    static const double q32[] = {0.50000001, 0.166665186, 0.0416662051, 0.00836891799,
                                 0.00139505384};
    static const double q64[] = {0.500000000000001,      0.16666666666666416,
                                 0.041666666666535075,   0.008333333333493646,
                                 0.0013888888942531947,  0.00019841269505841322,
                                 2.4801494091447703e-05, 2.7557588553237168e-06,
                                 2.7629934343326297e-07, 2.4999034784981546e-08};
    bool f32 = e.dt == DT_F32;
    int magic = num(e, f32 ? 0x1.8p23 : 0x1.8p52), t = fused(e, x, num(e, sign * M_LOG2E), magic),
        n = sub(e, t, magic);
    /* log 2 in two parts; n times the first is exact. r is that of x, so sign*r that of sign*x */
    int r = fused(e, n, num(e, sign * (f32 ? -0.693145751953125 : -0x1.62e42fee00000p-1)), x);
    r = fused(e, n, num(e, sign * (f32 ? -1.42860682030941723e-6 : -0x1.a39ef35793c76p-33)), r);
    double q[10];
    int terms = f32 ? 5 : 10;
    for (int k = 0; k < terms; k++)
        q[k] = (k % 2 ? sign : 1) * (f32 ? q32[k] : q64[k]);
    int p = fused(e, horner(e, r, q, terms), mul(e, r, r), sign < 0 ? neg(e, r) : r);
    int bits = body_bitcast(e.b, e.bits, t), zero = body_bitcast(e.b, e.bits, magic);
    return (ExpParts){p, sub(e, bits, zero), t};
}

static ExpParts exp_parts(Expand e, int x) { return exp_parts_of(e, 1, x); }

/* 2^n for a normal result. */
static int power_of_two(Expand e, int n) {
    bool f32 = e.dt == DT_F32;
    int biased = add(e, n, whole(e, f32 ? 127 : 1023));
    return body_bitcast(e.b, e.dt, body_op2(e.b, SC_shl, biased, whole(e, f32 ? 23 : 52)));
}

/* The same of x.n: it stands in the low bits of x.shifted, of which the others are shifted out. */
static int power_of_parts(Expand e, ExpParts x) {
    bool f32 = e.dt == DT_F32;
    int high = body_op2(e.b, SC_shl, body_bitcast(e.b, e.bits, x.shifted), whole(e, f32 ? 23 : 52));
    int one = whole(e, f32 ? (int64_t)127 << 23 : (int64_t)1023 << 52);
    return body_bitcast(e.b, e.dt, add(e, high, one));
}

int expand_exp(BodyBuilder *b, DType dt, const int *a) {
    Expand e = expand(b, dt);
    bool f32 = dt == DT_F32;
    ExpParts x = exp_parts(e, clamp(e, a[0], f32 ? -104 : -746, f32 ? 88.8 : 709.8));
    int half = body_op2(b, SC_ashr, x.n,
                        whole(e, 1)); /* in two steps: 2^n alone may overflow or be subnormal */
    int y = mul(e, add(e, x.p, num(e, 1)), power_of_two(e, half));
    return mul(e, y, power_of_two(e, sub(e, x.n, half)));
}

/* 1 / d for 1 <= d < 2^126, to 1.1 ulp in f32: a division takes as long as 30 products there. Bits as
 * a whole number are about the exponent, so the magic number minus d's gives 1/d to 5 %; one step of
 * the third order and one of Newton follow. */
static int inverse(Expand e, int d) {
    if (e.dt != DT_F32)
        return over(e, num(e, 1), d);
    int bits = sub(e, whole(e, 0x7ef31000), body_bitcast(e.b, e.bits, d));
    int t = body_bitcast(e.b, e.dt, bits), minus = neg(e, d);
    int off = fused(e, minus, t, num(e, 1));
    t = fused(e, t, fused(e, off, off, off), t);
    return fused(e, t, fused(e, minus, t, num(e, 1)), t);
}

/* 1 / (1 + exp(-x)); beyond the clamp the sum is 1, or the result is below the normal numbers. */
int expand_sigmoid(BodyBuilder *b, DType dt, const int *a) {
    Expand e = expand(b, dt);
    double most = dt == DT_F32 ? 87.3 : 708.3;
    ExpParts x = exp_parts_of(e, -1, clamp(e, a[0], -most, most));
    int s = power_of_parts(e, x), y = fused(e, x.p, s, s);
    return inverse(e, add(e, y, num(e, 1)));
}

/* With m = exp(2|x|) - 1: m / (m + 2). */
int expand_tanh(BodyBuilder *b, DType dt, const int *a) {
    Expand e = expand(b, dt);
    int m = body_op1(b, SC_abs, a[0]);
    m = clamp(e, m, 0, dt == DT_F32 ? 10 : 20);
    ExpParts x = exp_parts(e, add(e, m, m));
    int s = power_of_parts(e, x), y = fused(e, x.p, s, sub(e, s, num(e, 1)));
    return with_sign(e, over(e, y, add(e, y, num(e, 2))), a[0]);
}

/* ---- log: x = 2^k * m, sqrt(1/2) <= m < sqrt(2) */

/* log(m) + k*log 2 as f - (f^2/2 - ...), f = m - 1; hi + lo is log 2, k*hi exact. */
static int log_sum(Expand e, int f, int k, double hi, double lo) {
    int h = mul(e, mul(e, f, f), num(e, 0.5));
    if (e.dt == DT_F32) {
        static const double q[] = {0.333333106,  -0.249999866, 0.200022193,
                                   -0.166692453, 0.142187804,  -0.123844943,
                                   0.118723092,  -0.117887994, 0.0691557828};
        int p = mul(e, mul(e, HORNER(e, f, q), f), mul(e, f, f));
        p = sub(e, fused(e, k, num(e, lo), p), h);
        return fused(e, k, num(e, hi), add(e, f, p));
    }
    static const double q[] = {0.66666666666667307, 0.39999999999433472, 0.28571428739015164,
                               0.22222198862078268, 0.18183551541072038, 0.15314332436063885,
                               0.14793502409330356};
    int s = over(e, f, add(e, f, num(e, 2))), z = mul(e, s, s),
        r = mul(e, z, HORNER(e, z, q)); /* 2 atanh(s) = s (2 + r) */
    int p = fused(e, s, add(e, h, r), mul(e, k, num(e, lo)));
    return fused(e, k, num(e, hi), sub(e, f, sub(e, h, p)));
}

int expand_log(BodyBuilder *b, DType dt, const int *a) {
    Expand e = expand(b, dt);
    bool f32 = dt == DT_F32;
    int x = a[0], small = lt(e, x, num(e, f32 ? 0x1p-126 : 0x1p-1022)),
        shift = whole(e, f32 ? 23 : 52);
    int bits = body_bitcast(b, e.bits, pick(e, small, mul(e, x, num(e, f32 ? 0x1p23 : 0x1p54)), x));
    int t =
        sub(e, bits, whole(e, f32 ? 0x3f3504f3 : 0x3fe6a09e667f3bcd)); /* the bits of sqrt(1/2) */
    int k = body_op2(b, SC_ashr, t, shift);
    int f = sub(e, body_bitcast(b, dt, sub(e, bits, body_op2(b, SC_shl, k, shift))), num(e, 1));
    int kr = body_cast(b, dt, k);
    kr = pick(e, small, sub(e, kr, num(e, f32 ? 23 : 54)), kr);
    int r = f32 ? log_sum(e, f, kr, 0.693145751953125, 1.42860682030941723e-6)
                : log_sum(e, f, kr, 0x1.62e42fee00000p-1, 0x1.a39ef35793c76p-33);
    r = pick(e, eq(e, x, num(e, INFINITY)), x, r);
    r = pick(e, eq(e, x, num(e, 0)), num(e, -INFINITY), r);
    r = pick(e, lt(e, x, num(e, 0)), num(e, NAN), r);
    return pick(e, eq(e, x, x), r, x);
}

/* log(u) + (x - (u - 1))/u with u = 1 + x rounded: the quotient is what rounding left out. */
int expand_log1p(BodyBuilder *b, DType dt, const int *a) {
    Expand e = expand(b, dt);
    int x = a[0], u = add(e, x, num(e, 1)), log_u = expand_log(b, dt, &u);
    int left = over(e, sub(e, x, sub(e, u, num(e, 1))), u);
    int none = body_op2(b, SC_or, eq(e, u, num(e, 0)), lt(e, num(e, 0x1p100), x));
    return add(e, log_u, pick(e, none, num(e, 0), left));
}

/* ---- the gamma family: in f64, whatever the type */

/* sin and cos of pi*x, from the Taylor series at |r| <= 1/2; the sign of (-1)^round(x) is left out.
 */
static void sincos_pi(Expand e, int x, int *sine, int *cosine) {
    double s[11], c[11], p = M_PI, q = 1;
    for (int k = 0; k < 11; k++) {
        s[k] = p;
        c[k] = q;
        p *= -M_PI * M_PI / ((2 * k + 2) * (2 * k + 3));
        q *= -M_PI * M_PI / ((2 * k + 1) * (2 * k + 2));
    }
    int r = sub(e, x, body_op1(e.b, SC_round, x)), z = mul(e, r, r);
    *sine = mul(e, r, HORNER(e, z, s));
    *cosine = HORNER(e, z, c);
}

static const double bernoulli[] = {1.0 / 6,       -1.0 / 30, 1.0 / 42,      -1.0 / 30,    5.0 / 66,
                                   -691.0 / 2730, 7.0 / 6,   -3617.0 / 510, 43867.0 / 798};

/* lgamma(x) of x > 0: the Stirling series from 8 on; below, x is moved into 1 <= t < 2 by lgamma(x)
 * = lgamma(t) + log of the factors, and lgamma(t) = (t - 1)(t - 2) S(t - 3/2). */
static int lgamma_positive(Expand e, int x) {
    static const double q[] = {
        0.48312895054098087,     -0.14595989591430594,    0.062911401074564346,
        -0.031308487501054263,   0.016797098631279598,    -0.0094256224447601487,
        0.0054464578388477378,   -0.0032120742228306776,  0.0019229163200421406,
        -0.0011644113386624722,  0.00071151895889558388,  -0.00043803555426982945,
        0.0002713147294353693,   -0.00016856937351680319, 0.00010534953059113945,
        -6.7946196023444983e-05, 4.3046767345170065e-05,  -2.1469945860816951e-05,
        1.314997435681205e-05,   -1.8542778672746192e-05, 1.2168933628227755e-05};
    double stirling[9];
    for (int k = 0; k < 9; k++)
        stirling[k] = bernoulli[k] / ((2 * k + 2) * (2 * k + 1));
    int one = num(e, 1), large = body_op2(e.b, SC_le, num(e, 8), x), below = lt(e, x, one);
    int t = x, p = one;
    for (int k = 0; k < 6; k++) {
        int go = body_op2(e.b, SC_le, num(e, 2), t), less = sub(e, t, one);
        t = pick(e, go, less, t);
        p = pick(e, go, mul(e, p, t), p);
    }
    int t1 = pick(e, below, x, sub(e, t, one)); /* t - 1, exact also where t = x + 1 */
    int of = pick(e, large, x, pick(e, below, x, p));
    int l = expand_log(e.b, e.dt, &of);
    int near = mul(e, mul(e, t1, sub(e, t1, one)), HORNER(e, sub(e, t1, num(e, 0.5)), q));
    near = add(e, near, pick(e, below, neg(e, l), l));
    int w = over(e, one, x), series = mul(e, w, horner(e, mul(e, w, w), stirling, 9));
    int far = add(e, sub(e, mul(e, sub(e, x, num(e, 0.5)), l), x),
                  add(e, series, num(e, 0.91893853320467274178)));
    return pick(e, large, far, near);
}

typedef int GammaFn(Expand e, int x);

/* f in f64; the result in the operand's type. */
static int in_f64(BodyBuilder *b, DType dt, int a, GammaFn *f) {
    return body_cast(b, dt, f(expand(b, DT_F64), body_cast(b, DT_F64, a)));
}

static int lgamma_any(Expand e, int x) {
    int sine, cosine, up = sub(e, num(e, 1), x);
    sincos_pi(e, x, &sine, &cosine);
    int positive = lt(e, num(e, 0), x), y = pick(e, positive, x, up);
    int r = lgamma_positive(e, y), s = over(e, num(e, M_PI), body_op1(e.b, SC_abs, sine));
    int other = sub(e, expand_log(e.b, e.dt, &s), r);
    r = pick(e, positive, r, other);
    r = pick(e, eq(e, body_op1(e.b, SC_abs, x), num(e, INFINITY)), num(e, INFINITY), r);
    return pick(e, eq(e, x, x), r, x);
}

int expand_lgamma(BodyBuilder *b, DType dt, const int *a) {
    return in_f64(b, dt, a[0], lgamma_any);
}

/* psi(y) for y > 0: sum of -1/(y + k) as one fraction up to 10, then the asymptotic series. */
static int digamma_positive(Expand e, int y) {
    double c[8];
    for (int k = 0; k < 8; k++)
        c[k] = -bernoulli[k] / (2 * k + 2);
    int one = num(e, 1), n = num(e, 0), d = one, t = y;
    for (int k = 0; k < 10; k++) {
        int go = lt(e, t, num(e, 10));
        n = pick(e, go, fused(e, n, t, d), n);
        d = pick(e, go, mul(e, d, t), d);
        t = pick(e, go, add(e, t, one), t);
    }
    int w = over(e, one, t), z = mul(e, w, w);
    int r = fused(e, z, horner(e, z, c, 8), mul(e, w, num(e, -0.5)));
    return sub(e, add(e, expand_log(e.b, e.dt, &t), r), over(e, n, d));
}

static int is_pole(Expand e, int x) {
    int at = eq(e, x, body_op1(e.b, SC_floor, x));
    return body_op2(e.b, SC_and, body_op2(e.b, SC_le, x, num(e, 0)), at);
}

static int digamma_any(Expand e, int x) {
    int sine, cosine, positive = lt(e, num(e, 0), x);
    sincos_pi(e, x, &sine, &cosine);
    int r = digamma_positive(e, pick(e, positive, x, sub(e, num(e, 1), x)));
    int other = sub(e, r, over(e, mul(e, num(e, M_PI), cosine), sine));
    r = pick(e, is_pole(e, x), num(e, NAN), pick(e, positive, r, other));
    return pick(e, eq(e, x, x), r, x);
}

int expand_digamma(BodyBuilder *b, DType dt, const int *a) {
    return in_f64(b, dt, a[0], digamma_any);
}

static int trigamma_positive(Expand e, int y) {
    double c[8];
    for (int k = 0; k < 8; k++)
        c[k] = bernoulli[k];
    int one = num(e, 1), sum = num(e, 0), t = y;
    for (int k = 0; k < 10; k++) {
        int go = lt(e, t, num(e, 10));
        sum = pick(e, go, add(e, sum, over(e, one, mul(e, t, t))), sum);
        t = pick(e, go, add(e, t, one), t);
    }
    int w = over(e, one, t), z = mul(e, w, w);
    int r = fused(e, mul(e, z, w), horner(e, z, c, 8), fused(e, z, num(e, 0.5), w));
    return add(e, r, sum);
}

static int trigamma_any(Expand e, int x) {
    int sine, cosine, positive = lt(e, num(e, 0), x);
    sincos_pi(e, x, &sine, &cosine);
    int r = trigamma_positive(e, pick(e, positive, x, sub(e, num(e, 1), x)));
    int other = sub(e, over(e, num(e, M_PI * M_PI), mul(e, sine, sine)), r);
    r = pick(e, is_pole(e, x), num(e, INFINITY), pick(e, positive, r, other));
    return pick(e, eq(e, x, x), r, x);
}

int expand_trigamma(BodyBuilder *b, DType dt, const int *a) {
    return in_f64(b, dt, a[0], trigamma_any);
}

/* ---- zeta(s, x), the sum of (x + k)^-s: 16 terms, then the series of Euler and Maclaurin */

enum { POWER_BITS = 4 };

typedef struct Power { /* a whole exponent below 2^POWER_BITS: its bits, as bools */
    int s, bit[POWER_BITS];
} Power;

static Power power_of(Expand e, int s) {
    Power p = {.s = s};
    for (int k = 0, rest = s; k < POWER_BITS; k++) {
        int half = body_op1(e.b, SC_floor, mul(e, rest, num(e, 0.5)));
        p.bit[k] = lt(e, add(e, half, half), rest);
        rest = half;
    }
    return p;
}

static int raised(Expand e, int x, const Power *p) {
    int r = pick(e, p->bit[0], x, num(e, 1));
    for (int k = 1; k < POWER_BITS; k++) {
        x = mul(e, x, x);
        r = pick(e, p->bit[k], mul(e, r, x), r);
    }
    return r;
}

static int zeta_positive(Expand e, const Power *p, int y) {
    enum { STEPS = 16, TERMS = 9 };
    int sum = num(e, 0), one = num(e, 1), t = add(e, y, num(e, STEPS)), w = over(e, one, t);
    int z = mul(e, w, w), r = num(e, 0);
    for (int k = STEPS - 1; k >= 0; k--)
        sum = add(e, sum, raised(e, over(e, one, add(e, y, num(e, k))), p));
    double factorial[TERMS + 1] = {1};
    for (int m = 1; m <= TERMS; m++)
        factorial[m] = factorial[m - 1] * (2 * m) * (2 * m - 1);
    for (int m = TERMS; m >= 1; m--) { /* B_2m/(2m)! s (s + 1) .. (s + 2m - 2) w^(2m - 1) */
        int last = add(e, p->s, num(e, 2 * m - 2)), ratio = num(e, bernoulli[m - 1] / factorial[m]);
        r = mul(e, last, fused(e, mul(e, r, z), add(e, last, one), ratio));
    }
    int tail = fused(e, r, w, fused(e, t, over(e, one, sub(e, p->s, one)), num(e, 0.5)));
    return fused(e, raised(e, w, p), tail, sum);
}

/* Of negative x the sum over all whole k, which repeats, less that over k below 0. */
static int zeta_any(Expand e, int s, int x) {
    Power p = power_of(e, s);
    int one = num(e, 1), positive = lt(e, num(e, 0), x);
    int r = sub(e, x, body_op1(e.b, SC_round, x)), back = pick(e, p.bit[0], num(e, -1), one);
    int up = zeta_positive(e, &p, pick(e, positive, x, add(e, one, r)));
    int all = add(e, raised(e, over(e, one, r), &p), up);
    int down = sub(e, zeta_positive(e, &p, sub(e, one, r)),
                   zeta_positive(e, &p, pick(e, positive, one, sub(e, one, x))));
    int far = pick(e, eq(e, x, num(e, INFINITY)), num(e, 0), up);
    int other = pick(e, is_pole(e, x), num(e, INFINITY), fused(e, back, down, all));
    int v = pick(e, positive, far, other);
    int known = body_op2(e.b, SC_and, lt(e, num(e, 1), s), lt(e, s, num(e, 1 << POWER_BITS)));
    known = body_op2(e.b, SC_and, known, eq(e, s, body_op1(e.b, SC_floor, s)));
    return pick(e, known, pick(e, eq(e, x, x), v, x), num(e, NAN));
}

int expand_zeta(BodyBuilder *b, DType dt, const int *a) {
    int s = body_cast(b, DT_F64, a[0]), x = body_cast(b, DT_F64, a[1]);
    return body_cast(b, dt, zeta_any(expand(b, DT_F64), s, x));
}
