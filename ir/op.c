#include "ir/op.h"

#include <string.h>

static const OpDef *const ops[] = {
#define OP(name) &op_##name,
#include "ir/ops.def"
#undef OP
};

const OpDef *const *op_all(int *n) {
    *n = (int)(sizeof ops / sizeof *ops);
    return ops;
}

const OpDef *op_named(Str name) {
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++)
        if (strcmp(ops[k]->name, name) == 0)
            return ops[k];
    return NULL;
}
