/* Other axes for the vectors of one row.
 *
 *   %y: f32[16, 10, 10] = nest [o, i, j] += %x[c, i + a, j + b] * %w[o, c, a, b]
 * has vectors of 10 pixels, unaligned. With the axis o last, in the result and in a copy of the
 * factor, they are full:
 *   %t = nest [c, a, b, o] = %w[o, c, a, b]
 *   %y: f32[10, 10, 16] = nest [i, j, o] += %x[c, i + a, j + b] * %t[c, a, b, o]
 *
 * What follows reads %y in this order; where the order matters, it is put back.
 *
 *   %y: f32[4, 64, 64] = nest [h, i, j] += %q[i, h, d] * %k[j, h, d]
 * has its vectors along j, where the elements of %k lie apart; %k alone is copied, with j last. */
#include "ir/build.h"
#include "passes/batch_priv.h"

const Dim *turn_dims(Arena *arena, const Dim *d, int rank, int axis) {
    Dim *to = ARENA_ARRAY(arena, Dim, rank + 1);
    int n = 0;
    for (int k = 0; k < rank; k++)
        if (k != axis)
            to[n++] = d[k];
    to[n] = d[axis];
    return to;
}

Val turn_back(Module *m, Func *f, Val v, int axis, const Inst *of) {
    NestMaker n = nest_maker(m, f, NEST_STORE);
    Type t = graph_type(f, v);
    Dim at[MAX_RANK], map[MAX_RANK], shape[MAX_RANK];
    for (int k = 0; k < t.rank; k++) { /* axis k of v is axis `to` of the result */
        int to = k == t.rank - 1 ? axis : k < axis ? k : k + 1;
        shape[to] = t.shape[k];
        map[to] = at[k] = maker_index(&n, "i", t.shape[k]);
    }
    return maker_done(&n, maker_read(&n, v, at), t.rank, map, shape, of->span, of->name);
}

/* ---- is it worth it? */

/* The share of the lanes that an extent fills; 0: unknown. */
static double filled(Dim extent, int lanes) {
    int64_t e;
    if (!dim_is_const(extent, &e) || e < 1)
        return 0;
    return (double)e / (double)((e + lanes - 1) / lanes * lanes);
}

static Dim extent_of(const Nest *n, Dim index) {
    int k = nest_box_of(n, dim_as_symbol(index));
    return k >= 0 ? n->box[k].extent : NULL;
}

/* Does the read have the index, alone on one axis? 0: nowhere, 1: so, -1: otherwise. */
static int has_index(const BodyInst *x, DimSym s) {
    int found = 0;
    for (int a = 0; a < x->rank; a++)
        if (dim_mentions(x->map[a], s))
            found = found || dim_as_symbol(x->map[a]) != s ? -1 : 1;
    return found;
}

static bool guarded(const Nest *n, DimSym s) {
    for (int k = 0; k < n->n_guards; k++)
        if (dim_mentions(n->guards[k].form, s))
            return true;
    return false;
}

/* Is each element of the factor used so often that a copy of it costs nothing beside? */
static bool used_often(const Batch *b, const NestOp *n, const BodyInst *factor) {
    enum { OFTEN = 32 };
    double points = 1, elements = 1;
    Type t = graph_type(b->f, n->args[factor->operand]);
    int64_t e;
    for (int k = 0; k < n->nest.n_box; k++)
        points *= dim_is_const(n->nest.box[k].extent, &e) ? (double)e : 0;
    for (int a = t.rank - factor->rank; a < t.rank;
         a++) /* the axis of rows is gone from the read */
        elements *= dim_is_const(t.shape[a], &e) ? (double)e : 1e30;
    return points >= OFTEN * elements;
}

/* Does an element of the factor that is read along the result's last axis lie apart from the next
 * one, and would it not in a copy? */
static bool lies_apart(const Batch *b, const NestOp *n, int factor) {
    const Nest *x = &n->nest;
    const BodyInst *r = &x->body.insts[factor], *other = &x->body.insts[1 - factor];
    DimSym s = dim_as_symbol(x->map[x->rank - 1]);
    return has_index(r, s) == 1 && has_index(other, s) == 0 &&
           dim_as_symbol(r->map[r->rank - 1]) != s && !r->has_fill && !guarded(x, s) &&
           used_often(b, n, r);
}

int turn_axis(const Batch *b, const NestOp *n, int *factor) {
    const Nest *x = &n->nest;
    const Body *body = &x->body;
    int lanes = target_lanes(b->r.u->target, b->f->real), best = -1;
    if (x->op != NEST_SUM || x->init >= 0 || x->rank < 2 || !nest_plain_map(x) || !batch_is_product(body))
        return -1;
    double most = 1.25 * filled(extent_of(x, x->map[x->rank - 1]), lanes);
    for (int a = 0; a + 1 < x->rank; a++) {
        DimSym s = dim_as_symbol(x->map[a]);
        double full = filled(extent_of(x, x->map[a]), lanes);
        int in[2] = {has_index(&body->insts[0], s), has_index(&body->insts[1], s)};
        int with = in[0] == 1 && in[1] == 0 ? 0 : in[0] == 0 && in[1] == 1 ? 1 : -1;
        if (with < 0 || most <= 0 || full < most || guarded(x, s))
            continue;
        const BodyInst *r = &body->insts[with];
        if (r->has_fill || batch_has_rows(b, n->args[r->operand]) || !used_often(b, n, r))
            continue;
        best = a;
        *factor = with;
        most = full * 1.01;
    }
    for (int k = 0; k < 2 && best < 0 && !x->n_guards; k++)
        if (lies_apart(b, n, k)) {
            best = x->rank - 1;
            *factor = k;
        }
    return best;
}

/* ---- turned nests */

void turn_factor(Module *m, Func *f, NestOp *n, int factor, Dim index) {
    Arena *arena = &m->ctx->perm;
    BodyInst *insts = arena_dup(arena, n->nest.body.insts, sizeof *insts * (size_t)n->nest.body.n),
             *x = &insts[factor];
    Val *args = ARENA_ARRAY(arena, Val, n->n_args + 1);
    Type t = graph_type(f, n->args[x->operand]);
    NestMaker copy = nest_maker(m, f, NEST_STORE);
    Dim at[MAX_RANK];
    int axis = 0;
    for (int a = 0; a < t.rank; a++) {
        axis = x->map[a] == index ? a : axis;
        at[a] = maker_index(&copy, "i", t.shape[a]);
    }
    Val with = maker_done(&copy, maker_read(&copy, n->args[x->operand], at), t.rank,
                          turn_dims(arena, at, t.rank, axis),
                          turn_dims(arena, t.shape, t.rank, axis), n->span, n->name);
    for (int k = 0; k < n->n_args; k++)
        args[k] = n->args[k];
    args[n->n_args] = with;
    x->operand = n->n_args++;
    x->map = turn_dims(arena, x->map, x->rank, axis);
    n->nest.body.insts = insts;
    n->args = args;
}

void turn_result(Ctx *ctx, NestOp *n, int axis) {
    n->nest.map = turn_dims(&ctx->perm, n->nest.map, n->nest.rank, axis);
    n->type = type_new(ctx, n->type.dt, n->type.rank,
                       turn_dims(&ctx->perm, n->type.shape, n->type.rank, axis));
}

/* ---- masks of a factor that is 0 outside them already */

/* Is the read of v multiplied, in the nest that computes v, by the mask that `m` reads, at the same
 * place? */
static bool holds_mask(const Batch *b, const Inst *i, const BodyInst *v, const BodyInst *m) {
    const Inst *def = graph_def(b->f, i->args[v->operand]);
    if (!def || def->op != &op_nest)
        return false;
    NestOp d = nestop_of(b->f, def);
    const Body *body = &d.nest.body;
    const BodyInst *last = &body->insts[body->n - 1], *cast = &body->insts[last->args[1]],
                   *read = &body->insts[cast->args[0]];
    if (!nest_elementwise(b->r.u->ctx, &d) || last->kind != BODY_OP || last->op != SC_mul ||
        cast->kind != BODY_OP || cast->op != SC_cast)
        return false;
    if (read->kind != BODY_READ || read->has_fill || v->has_fill || m->has_fill ||
        d.args[read->operand].id != i->args[m->operand].id)
        return false;
    for (int a = 0; a < m->rank; a++) {
        bool same = false;
        for (int k = 0; k < d.nest.rank; k++)
            same |= d.nest.map[k] == read->map[a] && v->map[k] == m->map[a];
        if (!same)
            return false;
    }
    return true;
}

void batch_drop_mask(const Batch *b, const Inst *i, NestOp *n) {
    const Body *body = &n->nest.body;
    const BodyInst *last = &body->insts[body->n - 1];
    if (n->nest.op != NEST_SUM || last->kind != BODY_OP || last->op != SC_select)
        return;
    const BodyInst *mask = &body->insts[last->args[0]], *term = &body->insts[last->args[1]],
                   *zero = &body->insts[last->args[2]];
    if (mask->kind != BODY_READ || term->kind != BODY_OP || term->op != SC_mul ||
        zero->kind != BODY_CONST || zero->k.f != 0)
        return;
    for (int k = 0; k < 2; k++) {
        const BodyInst *x = &body->insts[term->args[k]];
        if (x->kind != BODY_READ || !holds_mask(b, i, x, mask))
            continue;
        BodyBuilder to = body_new(b->r.u->ctx);
        Body up_to = {last->args[1] + 1, body->insts};
        n->nest.body = body_done(&to, body_import(&to, &up_to, NULL, 0, NULL));
        return;
    }
}
