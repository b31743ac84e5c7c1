/* Short names for bodies of densities. */
#ifndef CNNC_IR_DISTS_DIST_BODY_H
#define CNNC_IR_DISTS_DIST_BODY_H

#include "ir/dist.h"

#define ADD(a, c) body_op2(b, SC_add, a, c)
#define SUB(a, c) body_op2(b, SC_sub, a, c)
#define MUL(a, c) body_op2(b, SC_mul, a, c)
#define DIV(a, c) body_op2(b, SC_div, a, c)
#define NEG(a) body_op1(b, SC_neg, a)
#define LOG(a) body_op1(b, SC_log, a)
#define LGAMMA(a) body_op1(b, SC_lgamma, a)
#define SELECT(c, x, y) body_op3(b, SC_select, c, x, y)
#define LESS(a, c) body_op2(b, SC_lt, a, c)
#define EQUAL(a, c) body_op2(b, SC_eq, a, c)
#define K(like, v) body_real(b, body_type(b, like), v)

/* a log x, 0 where a is 0 (at x = 0 too). */
static inline int xlogy(BodyBuilder *b, int a, int x) { return SELECT(EQUAL(a, K(a, 0)), K(a, 0), MUL(a, LOG(x))); }

#endif
