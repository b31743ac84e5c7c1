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

/* log sigmoid(z) without overflow, with derivative 1/2 at 0: -log1p(exp(-z)) for z > 0, else z -
 * log1p(exp(z)). */
static inline int log_sigmoid(BodyBuilder *b, int z) {
    return SELECT(LESS(K(z, 0), z), NEG(LOG1P(EXP(NEG(z)))), SUB(z, LOG1P(EXP(z))));
}

static inline int is_positive(BodyBuilder *b, int c) { return LESS(K(c, 0), c); }
static inline int is_negative(BodyBuilder *b, int c) { return LESS(c, K(c, 0)); }

/* e where x >= 0, else -inf: outside of the support. */
static inline int if_not_negative(BodyBuilder *b, int x, int e) {
    return SELECT(LESS(x, K(x, 0)), K(x, -INFINITY), e);
}

#endif
