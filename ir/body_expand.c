/* Rows of scalar.def as the native rows of their expansions. */
#include "ir/nest.h"

static bool needs_expansion(const BodyInst *i, bool has_fma, bool rows) {
    if (i->kind != BODY_OP)
        return false;
    return (rows && scalar_def(i->op)->expand) || (i->op == SC_fma && !has_fma);
}

/* One round; expansions may use expandable rows themselves (sigmoid: exp). */
static Body expand_once(Ctx *ctx, const Body *b, bool has_fma, bool rows) {
    BodyBuilder out = body_new(ctx);
    int *to = ARENA_ARRAY(&ctx->perm, int, b->n);
    for (int k = 0; k < b->n; k++) {
        const BodyInst *i = &b->insts[k];
        int a[3] = {0, 0, 0};
        int arity = i->kind == BODY_OP ? scalar_def(i->op)->arity : 0;
        for (int j = 0; j < arity; j++)
            a[j] = to[i->args[j]];
        if (!needs_expansion(i, has_fma, rows)) {
            BodyInst copy = *i;
            for (int j = 0; j < arity; j++)
                copy.args[j] = a[j];
            vec_push(&ctx->perm, &out.insts, copy);
            to[k] = out.insts.n - 1;
        } else if (i->op == SC_fma) {
            to[k] = body_op2(&out, SC_add, body_op2(&out, SC_mul, a[0], a[1]), a[2]);
        } else {
            to[k] = scalar_def(i->op)->expand(&out, i->dt, a);
        }
    }
    return body_done(&out, to[b->n - 1]);
}

Body body_expand(Ctx *ctx, const Body *b, bool has_fma, bool rows) {
    Body r = *b;
    for (bool again = r.n > 0; again;) {
        again = false;
        for (int k = 0; k < r.n; k++)
            again |= needs_expansion(&r.insts[k], has_fma, rows);
        if (again)
            r = expand_once(ctx, &r, has_fma, rows);
    }
    return r;
}

Body body_of_row(Ctx *ctx, ScalarOp op, DType dt, bool has_fma) {
    BodyBuilder b = body_new(ctx);
    int a[3], n = scalar_def(op)->arity, v;
    for (int k = 0; k < n; k++)
        a[k] = body_read(&b, dt, k, 0, NULL);
    v = n == 1   ? body_op1(&b, op, a[0])
        : n == 2 ? body_op2(&b, op, a[0], a[1])
                 : body_op3(&b, op, a[0], a[1], a[2]);
    Body row = body_done(&b, v);
    return body_expand(ctx, &row, has_fma, true);
}
