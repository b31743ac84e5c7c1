/* Rows past the end of a slice, in sums over rows.
 *
 * A guard 0 <= n < rows would give the innermost loop of every weight gradient an extent that is
 * known only at run time. Where a sum's body is 0 for rows of zeros (a product of activations and
 * cotangents), the nests that compute those rows write 0 past the end instead, once, and the sum
 * runs over all 16 rows. Operands that are cut from the whole are 0 there already. */
#include <math.h>

#include "passes/batch_priv.h"

/* ---- bodies on rows of zeros */

typedef struct AtZero {
    bool zero;   /* the value is 0 */
    bool finite; /* it is finite, whatever the other operands hold */
} AtZero;

static AtZero at_zero_op(const BodyInst *i, const AtZero *v) {
    AtZero a = v[i->args[0]], b = scalar_def(i->op)->arity > 1 ? v[i->args[1]] : a;
    switch (i->op) {
    case SC_neg:
    case SC_cast:
        return a;
    case SC_add:
    case SC_sub:
        return (AtZero){a.zero && b.zero, a.finite && b.finite};
    case SC_mul:
        return (AtZero){(a.zero && b.finite) || (b.zero && a.finite), a.finite && b.finite};
    case SC_select: {
        AtZero c = v[i->args[2]];
        return (AtZero){b.zero && c.zero, b.finite && c.finite};
    }
    default:
        return (AtZero){false, false};
    }
}

static bool vanishes_at_zero(const Batch *b, const Inst *i) {
    const Body *body = &((const Nest *)i->attr)->body;
    AtZero *v = ARENA_ARRAY(b->r.u->arena, AtZero, body->n);
    for (int k = 0; k < body->n; k++) {
        const BodyInst *x = &body->insts[k];
        bool number = x->k.f == 0 && x->k.i == 0;
        switch (x->kind) {
        case BODY_READ:
            v[k].zero = batch_has_rows(b, i->args[x->operand]) && (!x->has_fill || number);
            v[k].finite = v[k].zero;
            break;
        case BODY_CONST:
            v[k] = (AtZero){number, isfinite(x->k.f)};
            break;
        case BODY_INDEX:
        case BODY_DIM:
            v[k] = (AtZero){false, true};
            break;
        case BODY_OP:
            v[k] = at_zero_op(x, v);
            break;
        case BODY_ACC:
            break;
        }
    }
    return v[body->n - 1].zero;
}

/* ---- which values */

bool batch_mask_value(Batch *b, Val v, int region, bool mark) {
    int at = b->f->vals.p[v.id].inst;
    const Inst *def = at < 0 ? NULL : b->f->insts.p[at];
    if (!def || b->place[at] != BY_ROW || b->region[at] != region)
        return true; /* cut from the whole, or of a stack */
    if (def->op->flags & OPF_VIEW)
        return batch_mask_value(b, def->args[0], region, mark);
    if (def->op != &op_nest)
        return false;
    NestOp n = nestop_of(b->f, def);
    bool sum = n.nest.op == NEST_SUM || n.nest.op == NEST_STORE;
    if (!nest_covers(b->r.u->ctx, &n)) /* other cells are those of init, else the neutral element */
        if (!sum || (n.nest.init >= 0 && !batch_mask_value(b, n.args[n.nest.init], region, mark)))
            return false;
    b->masked[v.id] |= mark;
    return true;
}

void batch_choose_masks(Batch *b, int inst) {
    const Inst *i = b->f->insts.p[inst];
    const Body *body = &((const Nest *)i->attr)->body;
    bool good = vanishes_at_zero(b, i);
    for (int mark = 0; mark < 2 && good; mark++)
        for (int k = 0; k < body->n && good; k++) {
            const BodyInst *x = &body->insts[k];
            if (x->kind == BODY_READ && batch_has_rows(b, i->args[x->operand]))
                good = batch_mask_value(b, i->args[x->operand], b->region[inst], mark);
        }
    b->vanishes[i->first.id] = good;
}

/* ---- the mask */

void batch_mask(Ctx *ctx, NestOp *n, DimSym row, DimSym rows) {
    bool store = n->nest.op == NEST_STORE && !n->nest.post.n;
    Body *body = store ? &n->nest.body : &n->nest.post;
    BodyBuilder b = body_new(ctx);
    DType acc = n->nest.op == NEST_ARGMAX ? DT_I32 : n->nest.body.insts[n->nest.body.n - 1].dt;
    int v = body->n ? body_import(&b, body, NULL, 0, NULL) : body_acc(&b, acc);
    DType dt = body_type(&b, v);
    int inside =
        body_op2(&b, SC_lt, body_index(&b, dim_of(ctx, row)), body_dim(&b, dim_of(ctx, rows)));
    int zero = dtype_is_real(dt) ? body_real(&b, dt, 0) : body_int(&b, dt, 0);
    *body = body_done(&b, body_op3(&b, SC_select, inside, v, zero));
}
