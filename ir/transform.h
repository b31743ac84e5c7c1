/* The unconstrained scale: a row for each constrained kind, with the map from free reals u to the
 * parameter, its inverse, and what is known of its ends. Exact fits and training both move there. */
#ifndef CNNC_IR_TRANSFORM_H
#define CNNC_IR_TRANSFORM_H

#include "ir/build.h"

/* A parameter and where nests go. */
typedef struct TransformCall {
    Module *m;
    Func *f;
    const AbiTensor *t; /* kind, bounds */
    Type type;          /* of the parameter, in the symbols of f; its real type is that of u too */
    Span span;
} TransformCall;

/* Blocks of free reals have the shape that `free_type` says. */
typedef struct TransformDef {
    const char *name;
    int axes; /* of one constrained value: 0 elementwise, 1 a vector, 2 a matrix */
    Type (*free_type)(Ctx *ctx, Type t);
    Val (*forward)(const TransformCall *c, Val u);
    Val (*inverse)(const TransformCall *c, Val x);
    /* i64 of the free type: bit 0: u -> -inf is an end of the kind, bit 1: u -> +inf is. */
    Val (*ends)(const TransformCall *c);
    /* i64 of the free type: the element of the parameter (row-major) that belongs to it. */
    Val (*home)(const TransformCall *c);
} TransformDef;

const TransformDef *transform_of(AbiKind kind);
/* inverse(x), or `copy` where x is forward(copy): the copy keeps what x, rounded, has lost (a
 * probability of 1 - 1e-30). So nothing need be known of a copy: one of other parameters is not used. */
Val transform_recall(const TransformDef *d, const TransformCall *c, Val x, Val copy);

#endif
