/* What the stanzas of ir/ops/ share. */
#ifndef CNNC_IR_OPS_ATTR_H
#define CNNC_IR_OPS_ATTR_H

#include "ir/build.h"
#include "ir/graph_text.h"
#include "ir/interp.h"
#include "ir/lower.h"

Dim attr_dim(Ctx *ctx, Dim d, const DimBinding *b, int n);
Type attr_type(Ctx *ctx, Type t, const DimBinding *b, int n);
/* A copy of an attribute in memory that lives as long as the context. */
#define ATTR_COPY(ctx, attr) arena_dup(&(ctx)->perm, (attr), sizeof *(attr))

/* A type column's error text. */
const char *type_error(Module *m, const char *fmt, ...) CNNC_PRINTF(2, 3);
/* The type of a matrix's leading axes with other last axes. */
Type type_last(Ctx *ctx, Type t, int drop, int n, const Dim *more);
/* The type with an axis of lanes, the last (t itself: lanes NULL). */
Type type_lanes(Ctx *ctx, Type t, Dim lanes);
/* x for every lane. */
Val spread_repeat(Module *m, Func *f, Val x, Dim lanes, Span span, Str name);
bool nest_spread(const SpreadCall *s, Val *out);
bool gather_spread(const SpreadCall *s, Val *out);
bool scatter_spread(const SpreadCall *s, Val *out);
bool solve_spread(const SpreadCall *s, Val *out);
/* Is v a scalar of dt? */
bool is_scalar(const Func *f, Val v, DType dt);
/* d[j] = acc[j] for all operands: no cotangent. */
void vjp_none(const Inst *i, const Val *acc, Val *d);
/* Adds to the total of operand j and wherever it stands again. */
void vjp_add(Module *m, Func *f, const Inst *i, int j, Val cotangent, const Val *acc, Val *d);

/* Samples: a function whose params are `types`, and its result. */
Func *sample_func(Module *m, const char *name, const Type *types, int n, Val *args);
Func *sample_done(Module *m, Func *f, Val result);
Type sample_type(Module *m, DType dt, int rank, const int64_t *shape);

#endif
