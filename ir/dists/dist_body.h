/* Short names for bodies of densities. */
#ifndef CNNC_IR_DISTS_DIST_BODY_H
#define CNNC_IR_DISTS_DIST_BODY_H

#include <math.h>

#include "ir/dist.h"

#define PI 3.14159265358979323846
#define HALF_LOG_2PI 0.91893853320467274178
#define ADD(a, c) body_op2(b, SC_add, a, c)
#define SUB(a, c) body_op2(b, SC_sub, a, c)
#define MUL(a, c) body_op2(b, SC_mul, a, c)
#define DIV(a, c) body_op2(b, SC_div, a, c)
#define NEG(a) body_op1(b, SC_neg, a)
#define LOG(a) body_op1(b, SC_log, a)
#define LGAMMA(a) body_op1(b, SC_lgamma, a)
#define EXP(a) body_op1(b, SC_exp, a)
#define LOG1P(a) body_op1(b, SC_log1p, a)
#define SELECT(c, x, y) body_op3(b, SC_select, c, x, y)
#define LESS(a, c) body_op2(b, SC_lt, a, c)
#define EQUAL(a, c) body_op2(b, SC_eq, a, c)
#define BOTH(a, c) body_op2(b, SC_and, a, c)
#define EITHER(a, c) body_op2(b, SC_or, a, c)
#define STATE(s) body_int(b, DT_I32, CLOSED_##s)
#define K(like, v) body_real(b, body_type(b, like), v)

/* a log x, 0 where a is 0 (at x = 0 too). */
static inline int xlogy(BodyBuilder *b, int a, int x) {
    return SELECT(EQUAL(a, K(a, 0)), K(a, 0), MUL(a, LOG(x)));
}

/* a log(1 - x), 0 where a is 0 (at x = 1 too); accurate for small x. */
static inline int xlog1m(BodyBuilder *b, int a, int x) {
    return SELECT(EQUAL(a, K(a, 0)), K(a, 0), MUL(a, LOG1P(NEG(x))));
}

/* log(1 + (d/s)^2 / n), s and n positive. Where d/s is large, as logarithms of the factors: the
 * second derivatives by d and s cancel in the first form. n: -1 for 1. */
static inline int log1p_square(BodyBuilder *b, int d, int s, int n) {
    int z = DIV(d, s), u = n < 0 ? MUL(z, z) : DIV(MUL(z, z), n), one = K(d, 1), two = K(d, 2);
    int far = MUL(two, SUB(LOG(body_op1(b, SC_abs, d)), LOG(s))), w = DIV(s, d);
    far = n < 0 ? far : SUB(far, LOG(n));
    far = ADD(far, LOG1P(n < 0 ? MUL(w, w) : MUL(MUL(w, w), n)));
    return SELECT(LESS(one, u), far, LOG1P(u));
}

/* log sigmoid(z) without overflow, with derivative 1/2 at 0: -log1p(exp(-z)) for z > 0, else z -
 * log1p(exp(z)). */
static inline int log_sigmoid(BodyBuilder *b, int z) {
    return SELECT(LESS(K(z, 0), z), NEG(LOG1P(EXP(NEG(z)))), SUB(z, LOG1P(EXP(z))));
}

static inline int is_positive(BodyBuilder *b, int c) { return LESS(K(c, 0), c); }
static inline int is_negative(BodyBuilder *b, int c) { return LESS(c, K(c, 0)); }

/* log(1 + a m); of a large product as logarithms of the factors, whose mixed derivatives do not
 * cancel. */
static inline int log1p_product(BodyBuilder *b, int a, int m) {
    int t = MUL(a, m), far = ADD(ADD(LOG(a), LOG(m)), LOG1P(DIV(K(t, 1), t)));
    return SELECT(LESS(K(t, 1), t), far, LOG1P(t));
}

/* log(1 + t)/t - 1 for 0 <= t <= 1/4, by log(1 + t) = 2 artanh s, s = t/(2 + t) <= 1/9. */
static inline int log1p_rest(BodyBuilder *b, int t) {
    int s = DIV(t, ADD(t, K(t, 2))), q = MUL(s, s), sum = K(t, 1.0 / 19);
    for (int k = 17; k >= 3; k -= 2)
        sum = ADD(MUL(sum, q), K(t, 1.0 / k));
    return SUB(MUL(SUB(K(t, 1), s), MUL(sum, q)), s);
}

/* Stirling's correction of lgamma(1/y), y <= 1/16. */
static inline int stirling(BodyBuilder *b, int y) {
    static const double c[] = {-691.0 / 360360, 1.0 / 1188, -1.0 / 1680,
                               1.0 / 1260,      -1.0 / 360, 1.0 / 12};
    int q = MUL(y, y), sum = K(y, c[0]);
    for (int k = 1; k < 6; k++)
        sum = ADD(MUL(sum, q), K(y, c[k]));
    return MUL(sum, y);
}

/* lgamma(x + 1/a) - lgamma(1/a) + x log a. For small a by Stirling's series in a, since it goes to
 * 0 while the lgammas grow without bound: with t = a x, x (log(1 + t)/t - 1) + (x - 1/2) log(1 + t)
 * + c(1/(x + 1/a)) - c(a). */
static inline int log_rising(BodyBuilder *b, int x, int a) {
    int one = K(x, 1), r = DIV(one, a), t = MUL(a, x), log1p_t = LOG1P(t);
    int rest = SELECT(LESS(t, K(x, 0.25)), log1p_rest(b, t), SUB(DIV(log1p_t, t), one));
    int small = ADD(MUL(x, rest), MUL(SUB(x, K(x, 0.5)), log1p_t));
    small = ADD(small, SUB(stirling(b, DIV(a, ADD(one, t))), stirling(b, a)));
    int large = ADD(SUB(LGAMMA(ADD(x, r)), LGAMMA(r)), MUL(x, LOG(a)));
    int e = SELECT(LESS(a, K(x, 1.0 / 16)), small, large);
    return SELECT(EQUAL(x, K(x, 0)), K(x, 0), e);
}

#endif
