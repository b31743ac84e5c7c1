/* sparse: terms that a constant mask makes zero are left out of sums.
 *
 *   %m: bool[6, 16] = const{...}
 *   %w = nest [o, c] = %p[o, c] * f32(%m[c, o])
 *   %y = nest [o, n] += %x[c, n] * %w[o, c]
 * becomes
 *   %y = nest [o, n] += select(%m[c, o], %x[c, n] * %w[o, c], 0.0)
 *
 * and likewise where the finished sum is multiplied by a mask: its cells outside are not summed at
 * all. to_loops makes of the select a loop that runs only where the mask is true. A term 0 * x
 * counts as 0, also where x is infinite or NaN. Masks of which at least an eighth is false are
 * worth it. */
#include "passes/rewrite.h"

typedef struct Mask {
    Val of; /* the constant; id 0: none */
    int rank;
    const Dim *map;
} Mask;

enum { MOST_DEPTH = 8 };

static bool worth_it(const ConstAttr *c) {
    int64_t n = 1, zeros = 0, d;
    for (int k = 0; k < c->type.rank; k++)
        n *= dim_is_const(c->type.shape[k], &d) ? d : 1;
    for (int64_t k = 0; k < n; k++)
        zeros += c->values[k].i == 0;
    return 8 * zeros >= n;
}

/* A read of a constant mask. */
static Mask mask_read(const Rewrite *r, const NestOp *n, const BodyInst *i) {
    Mask none = {{0}, 0, NULL};
    if (i->kind != BODY_READ || i->dt != DT_BOOL || i->has_fill)
        return none;
    Val v = n->args[i->operand];
    const Inst *def = graph_def(r->to, v);
    if (!def || def->op != &op_const || !worth_it(def->attr))
        return none;
    return (Mask){v, i->rank, i->map};
}

static Mask zero_mask(const Rewrite *r, const NestOp *n, const Body *b, int k, int depth);

/* The mask of what an elementwise nest computed, at the subscripts of the read. */
static Mask mask_of_read(const Rewrite *r, const NestOp *n, const BodyInst *i, int depth) {
    Ctx *ctx = r->u->ctx;
    const Inst *def = graph_def(r->to, n->args[i->operand]);
    Mask none = {{0}, 0, NULL};
    if (!def || def->op != &op_nest || i->has_fill || depth == MOST_DEPTH)
        return none;
    NestOp p = nestop_of(r->to, def);
    if (!nest_elementwise(ctx, &p))
        return none;
    Mask m = zero_mask(r, &p, &p.nest.body, p.nest.body.n - 1, depth + 1);
    if (!m.of.id)
        return none;
    DimBinding *bind = ARENA_ARRAY(r->u->arena, DimBinding, i->rank + 1);
    for (int a = 0; a < i->rank; a++)
        bind[a] = (DimBinding){dim_as_symbol(p.nest.map[a]), i->map[a]};
    Dim *map = ARENA_ARRAY(r->u->arena, Dim, m.rank + 1);
    for (int a = 0; a < m.rank; a++)
        map[a] = dim_subst(ctx, m.map[a], bind, i->rank);
    m.map = map;
    return m;
}

static bool is_zero(const BodyInst *i) {
    return i->kind == BODY_CONST && (dtype_is_real(i->dt) ? i->k.f == 0 : i->k.i == 0);
}

/* A mask outside of which instruction k of the body is 0. */
static Mask zero_mask(const Rewrite *r, const NestOp *n, const Body *b, int k, int depth) {
    const BodyInst *i = &b->insts[k];
    Mask none = {{0}, 0, NULL}, m;
    if (i->kind == BODY_READ)
        return mask_of_read(r, n, i, depth);
    if (i->kind != BODY_OP)
        return none;
    switch (i->op) {
    case SC_mul:
        m = zero_mask(r, n, b, i->args[0], depth);
        return m.of.id ? m : zero_mask(r, n, b, i->args[1], depth);
    case SC_cast:
        m = mask_read(r, n, &b->insts[i->args[0]]);
        return m.of.id ? m : zero_mask(r, n, b, i->args[0], depth);
    case SC_neg:
    case SC_div:
        return zero_mask(r, n, b, i->args[0], depth);
    case SC_select:
        return is_zero(&b->insts[i->args[2]]) ? mask_read(r, n, &b->insts[i->args[0]]) : none;
    default:
        return none;
    }
}

static NestOp with_mask(const Rewrite *r, const NestOp *n, Mask m) {
    NestOp to = *n;
    Val *args = ARENA_ARRAY(r->u->arena, Val, n->n_args + 1);
    for (int k = 0; k < n->n_args; k++)
        args[k] = n->args[k];
    args[to.n_args++] = m.of;
    to.args = args;
    BodyBuilder b = body_new(r->u->ctx);
    int inside = body_read(&b, DT_BOOL, n->n_args, m.rank, m.map);
    int term = body_import(&b, &n->nest.body, NULL, 0, NULL);
    DType dt = body_type(&b, term);
    int zero = dtype_is_real(dt) ? body_real(&b, dt, 0) : body_int(&b, dt, 0);
    to.nest.body = body_done(&b, body_op3(&b, SC_select, inside, term, zero));
    return nestop_compact(r->u->ctx, &to);
}

static bool has_select(const NestOp *n) {
    const BodyInst *last = &n->nest.body.insts[n->nest.body.n - 1];
    return last->kind == BODY_OP && last->op == SC_select;
}

static void sparse_nest(Rewrite *r, const Inst *i) {
    NestOp n = rewrite_nestop(r, i);
    Ctx *ctx = r->u->ctx;
    if (n.nest.op == NEST_SUM && nest_is_contraction(ctx, &n.nest) && !has_select(&n)) {
        Mask m = zero_mask(r, &n, &n.nest.body, n.nest.body.n - 1, 0);
        if (!m.of.id && n.nest.post.n && n.nest.init < 0)
            m = zero_mask(r, &n, &n.nest.post, n.nest.post.n - 1, 0);
        if (m.of.id)
            n = with_mask(r, &n, m);
    }
    r->map.to[i->first.id] = nestop_emit(r->m, r->to, &n);
}

static void sparse_func(Unit *u, Func *f) {
    Rewrite r = rewrite_begin(u, f);
    for (int k = 0; k < f->insts.n; k++) {
        if (f->insts.p[k]->op == &op_nest)
            sparse_nest(&r, f->insts.p[k]);
        else
            rewrite_copy(&r, f->insts.p[k]);
    }
    rewrite_end(&r);
}

void pass_sparse(Unit *u) { each_func(u, sparse_func); }
