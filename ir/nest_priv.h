/* Shared by the files of the nest algebra. */
#ifndef CNNC_IR_NEST_PRIV_H
#define CNNC_IR_NEST_PRIV_H

#include "ir/nest_alg.h"
#include "ir/op.h"

/* 0 <= form < extent for every axis that the box does not imply, appended to guards; returns the new number. */
int nest_within(Ctx *ctx, const Nest *n, int rank, const Dim *forms, const Dim *extents, NestGuard *guards, int n_guards);
bool nest_mentions(const Nest *n, Dim form); /* any index of n? */

#endif
