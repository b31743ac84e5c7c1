/* Spreading: an instruction repeated for many values of some operands, the axis of lanes last. What
 * is linear in a cotangent is computed for all rows of a Jacobian in this way. */
#include "ir/ops/attr.h"

Type type_lanes(Ctx *ctx, Type t, Dim lanes) { return lanes ? type_last(ctx, t, 0, 1, &lanes) : t; }

Val spread_repeat(Module *m, Func *f, Val x, Dim lanes, Span span, Str name) {
    NestMaker n = nest_maker(m, f, NEST_STORE);
    Type t = graph_type(f, x), to = type_lanes(m->ctx, t, lanes);
    Dim at[MAX_RANK];
    maker_cells(&n, to, at);
    return maker_done(&n, maker_read(&n, x, at), to.rank, at, to.shape, span, name);
}

/* ---- nests: one more index, the last axis of the result and of every wide operand */

static DimSym lane_index(const SpreadCall *s, const Nest *n) {
    DimSym sym = nest_fresh_index(s->m->ctx, "lane", n->box, n->n_box);
    for (int k = 1;; k++) {
        bool taken = false;
        for (int j = 0; j < s->f->dims.n; j++)
            taken |= s->f->dims.p[j]->name == sym->name;
        if (!taken)
            return sym;
        sym = nest_fresh_index(s->m->ctx, str_fmt(s->m->ctx, "lane_%d", k), n->box, n->n_box);
    }
}

static const Dim *with_last(Ctx *ctx, const Dim *map, int rank, Dim last) {
    Dim *r = ARENA_ARRAY(&ctx->perm, Dim, rank + 1);
    for (int k = 0; k < rank; k++)
        r[k] = map[k];
    r[rank] = last;
    return r;
}

static Body spread_body(const SpreadCall *s, const Body *b, Dim lane) {
    Ctx *ctx = s->m->ctx;
    if (!b->n)
        return *b;
    BodyInst *insts = arena_dup(&ctx->perm, b->insts, sizeof *insts * (size_t)b->n);
    for (int k = 0; k < b->n; k++) {
        if (insts[k].kind != BODY_READ || !s->wide[insts[k].operand])
            continue;
        insts[k].map = with_last(ctx, insts[k].map, insts[k].rank, lane);
        insts[k].rank++;
    }
    return (Body){b->n, insts};
}

bool nest_spread(const SpreadCall *s, Val *out) {
    Ctx *ctx = s->m->ctx;
    Nest n = *(const Nest *)s->inst->attr;
    int n_args = s->inst->n_args;
    Val *args = arena_dup(&ctx->perm, s->args, sizeof *args * (size_t)(n_args + 1));
    DimSym sym = lane_index(s, &n);
    Dim lane = dim_of(ctx, sym);
    NestIndex *box = ARENA_ARRAY(&ctx->perm, NestIndex, n.n_box + 1);
    for (int k = 0; k < n.n_box; k++)
        box[k] = n.box[k];
    box[n.n_box++] = (NestIndex){sym, s->lanes};
    n.box = box;
    n.map = with_last(ctx, n.map, n.rank, lane);
    n.rank++;
    n.body = spread_body(s, &n.body, lane);
    n.post = spread_body(s, &n.post, lane);
    if (n.init >= 0 && !s->wide[n.init]) {
        Val x = s->args[n.init];
        args[n_args] = spread_repeat(s->m, s->f, x, s->lanes, s->inst->span, s->inst->name);
        n.init = n_args++;
    }
    Type t = type_lanes(ctx, graph_type(s->f, s->inst->first), s->lanes);
    out[0] = graph_nest(s->m, s->f, &n, args, n_args, t.dt, t.shape, s->inst->span, s->inst->name);
    return true;
}

/* ---- gather, scatter_add: the axis of lanes is one of those that are copied */

static Val repeated_arg(const SpreadCall *s, int k) {
    return s->wide[k] ? s->args[k]
                      : spread_repeat(s->m, s->f, s->args[k], s->lanes, s->inst->span, NULL);
}

static Val same_op(const SpreadCall *s, const Val *args) {
    const Inst *i = s->inst;
    return graph_inst(s->m, s->f, i->op, args, i->n_args, i->attr, i->span, i->name)->first;
}

bool gather_spread(const SpreadCall *s, Val *out) {
    if (s->wide[1])
        return false;
    out[0] = same_op(s, s->args);
    return true;
}

bool scatter_spread(const SpreadCall *s, Val *out) {
    if (s->wide[1])
        return false;
    out[0] = same_op(s, (Val[]){repeated_arg(s, 0), s->args[1], repeated_arg(s, 2)});
    return true;
}

/* ---- solve, trisolve: more right sides */

static Val reshaped(const SpreadCall *s, Val x, int rank, const Dim *shape) {
    Ctx *ctx = s->m->ctx;
    ReshapeAttr a = {type_new(ctx, graph_type(s->f, x).dt, rank, shape)};
    return graph_inst(s->m, s->f, &op_reshape, &x, 1, ATTR_COPY(ctx, &a), s->inst->span, NULL)
        ->first;
}

bool solve_spread(const SpreadCall *s, Val *out) {
    Type a = graph_type(s->f, s->inst->args[0]), b = graph_type(s->f, s->args[1]);
    if (s->wide[0])
        return false;
    if (b.rank == a.rank) { /* a vector before: its lanes are columns */
        out[0] = same_op(s, s->args);
        return true;
    }
    Dim shape[MAX_RANK];
    for (int k = 0; k < a.rank; k++)
        shape[k] = b.shape[k];
    shape[a.rank - 1] = dim_mul(s->m->ctx, b.shape[b.rank - 2], b.shape[b.rank - 1]);
    Val args[2] = {s->args[0], reshaped(s, s->args[1], a.rank, shape)};
    out[0] = reshaped(s, same_op(s, args), b.rank, b.shape);
    return true;
}
