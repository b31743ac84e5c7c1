/* The C signature of an entry function, from the roles of its params and results. */
#ifndef CNNC_IR_SIGNATURE_H
#define CNNC_IR_SIGNATURE_H

#include "ir/graph.h"

/* Where a param or result of an entry lives in the C call. */
typedef struct AbiSlot {
    int arg;       /* number in entry->args */
    Dim offset;    /* bytes from the argument's pointer (or in the hyper struct); zero for by-value
                      arguments */
    DType storage; /* element type there: a hyper field and a by-value real are f64 or i64, whatever
                      the param's type */
} AbiSlot;

typedef struct AbiMap {
    AbiSlot *params;  /* one for each f->params */
    AbiSlot *results; /* one for each f->results; RES_NEW_*: the slot of the param `of` */
} AbiMap;

/* Fills f->entry->args in C order (docs/c-abi.md) and says where everything lives. */
AbiMap abi_signature(Module *m, Func *f);

#endif
