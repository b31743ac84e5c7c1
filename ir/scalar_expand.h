/* Scalar functions as bodies of native rows: the `expansion` column of scalar.def. dt: the type of
 * the operands. */
#ifndef CNNC_IR_SCALAR_EXPAND_H
#define CNNC_IR_SCALAR_EXPAND_H

#include "ir/nest.h"

int expand_sign(BodyBuilder *b, DType dt, const int *a);
int expand_rsqrt(BodyBuilder *b, DType dt, const int *a);
int expand_exp(BodyBuilder *b, DType dt, const int *a);
int expand_log(BodyBuilder *b, DType dt, const int *a);
int expand_log1p(BodyBuilder *b, DType dt, const int *a);
int expand_tanh(BodyBuilder *b, DType dt, const int *a);
int expand_sigmoid(BodyBuilder *b, DType dt, const int *a);
int expand_lgamma(BodyBuilder *b, DType dt, const int *a);
int expand_digamma(BodyBuilder *b, DType dt, const int *a);
int expand_trigamma(BodyBuilder *b, DType dt, const int *a);
int expand_zeta(BodyBuilder *b, DType dt, const int *a);

#endif
