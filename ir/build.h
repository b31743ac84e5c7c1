/* Short ways to nests: a maker collects indices, operands and a body.
 *
 *     NestMaker n = nest_maker(m, f, NEST_SUM);
 *     Dim i = maker_index(&n, "i", rows), k = maker_index(&n, "k", depth);
 *     int a = maker_read(&n, x, (Dim[]){i, k}), b = maker_read(&n, y, (Dim[]){k});
 *     int product = body_op2(&n.b, SC_mul, a, b);
 *     Val v = maker_done(&n, product, 1, (Dim[]){i}, (Dim[]){rows}, span, name); */
#ifndef CNNC_IR_BUILD_H
#define CNNC_IR_BUILD_H

#include "ir/graph.h"

typedef struct NestMaker {
    Module *m;
    Func *f;
    NestOpKind op;
    VEC(NestIndex) box;
    VEC(Val) args;
    BodyBuilder b;
} NestMaker;

NestMaker nest_maker(Module *m, Func *f, NestOpKind op);
/* A fresh index (base, base1, ..) over 0 .. extent-1, as a dim. */
Dim maker_index(NestMaker *n, const char *base, Dim extent);
/* An index for each axis of t. */
void maker_cells(NestMaker *n, Type t, Dim *at);
int maker_read(NestMaker *n, Val x, const Dim *map);
int maker_read_fill(NestMaker *n, Val x, const Dim *map, double fill);
/* The nest: its element type is the body's. */
Val maker_done(NestMaker *n, int body, int rank, const Dim *map, const Dim *shape, Span span,
               Str name);

/* One row of scalar.def on every cell; operands of rank 0 count for all cells. */
Val graph_map(Module *m, Func *f, ScalarOp op, const Val *args, int n_args, Span span, Str name);
Val graph_fill(Module *m, Func *f, Type t, double v, Span span, Str name);
Val graph_cast(Module *m, Func *f, Val x, DType to, Span span, Str name);
/* x + y, where either may be none (id 0). */
Val graph_add(Module *m, Func *f, Val x, Val y, Span span, Str name);

#endif
