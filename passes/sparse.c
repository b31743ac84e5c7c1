/* sparse: terms that a constant mask makes zero are left out of sums.
 *
 *   %m: bool[6, 16] = const{...}
 *   %w = nest [o, c] = %p[o, c] * f32(%m[c, o])
 *   %y = nest [o, n] += %x[c, n] * %w[o, c]
 * becomes
 *   %y = nest [o, n] += select(%m[c, o], %x[c, n] * %w[o, c], 0.0)
 *
 * and likewise where the finished sum, or its only user, multiplies it by a mask: its cells outside
 * are not summed at all. to_loops makes of the select a loop that runs only where the mask is true.
 * A term 0 * x counts as 0, also where x is infinite or NaN. Masks of which at least an eighth is
 * false are worth it. */
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
static Mask mask_read(const Func *f, const NestOp *n, const BodyInst *i) {
    Mask none = {{0}, 0, NULL};
    if (i->kind != BODY_READ || i->dt != DT_BOOL || i->has_fill)
        return none;
    Val v = n->args[i->operand];
    const Inst *def = graph_def(f, v);
    if (!def || def->op != &op_const || !worth_it(def->attr))
        return none;
    return (Mask){v, i->rank, i->map};
}

static Mask zero_mask(Arena *arena, const Func *f, const NestOp *n, const Body *b, int k,
                      int depth);

static Mask with_indices(Arena *arena, Mask m, const DimBinding *bind, int n) {
    Dim *map = ARENA_ARRAY(arena, Dim, m.rank + 1);
    for (int a = 0; a < m.rank; a++)
        map[a] = dim_subst(arena->ctx, m.map[a], bind, n);
    m.map = map;
    return m;
}

/* The mask of what an elementwise nest computed, at the subscripts of the read. */
static Mask mask_of_read(Arena *arena, const Func *f, const NestOp *n, const BodyInst *i,
                         int depth) {
    Ctx *ctx = arena->ctx;
    const Inst *def = graph_def(f, n->args[i->operand]);
    Mask none = {{0}, 0, NULL};
    if (!def || def->op != &op_nest || i->has_fill || depth == MOST_DEPTH)
        return none;
    NestOp p = nestop_of(f, def);
    if (!nest_elementwise(ctx, &p))
        return none;
    Mask m = zero_mask(arena, f, &p, &p.nest.body, p.nest.body.n - 1, depth + 1);
    if (!m.of.id)
        return none;
    DimBinding *bind = ARENA_ARRAY(arena, DimBinding, i->rank + 1);
    for (int a = 0; a < i->rank; a++)
        bind[a] = (DimBinding){dim_as_symbol(p.nest.map[a]), i->map[a]};
    return with_indices(arena, m, bind, i->rank);
}

static bool is_zero(const BodyInst *i) {
    return i->kind == BODY_CONST && (dtype_is_real(i->dt) ? i->k.f == 0 : i->k.i == 0);
}

/* A mask outside of which instruction k of the body is 0. */
static Mask zero_mask(Arena *arena, const Func *f, const NestOp *n, const Body *b, int k,
                      int depth) {
    const BodyInst *i = &b->insts[k];
    Mask none = {{0}, 0, NULL}, m;
    if (i->kind == BODY_READ)
        return mask_of_read(arena, f, n, i, depth);
    if (i->kind != BODY_OP)
        return none;
    switch (i->op) {
    case SC_mul:
        m = zero_mask(arena, f, n, b, i->args[0], depth);
        return m.of.id ? m : zero_mask(arena, f, n, b, i->args[1], depth);
    case SC_cast:
        m = mask_read(f, n, &b->insts[i->args[0]]);
        return m.of.id ? m : zero_mask(arena, f, n, b, i->args[0], depth);
    case SC_neg:
    case SC_div:
        return zero_mask(arena, f, n, b, i->args[0], depth);
    case SC_select:
        return is_zero(&b->insts[i->args[2]]) ? mask_read(f, n, &b->insts[i->args[0]]) : none;
    default:
        return none;
    }
}

/* ---- what becomes of a sum: it is read by its only user, or it is the acc of a post body */

static bool is_source(const NestOp *n, const BodyInst *i, Val v) {
    return v.id ? i->kind == BODY_READ && n->args[i->operand].id == v.id : i->kind == BODY_ACC;
}

static bool depends(const NestOp *n, const Body *b, int k, Val v) {
    const BodyInst *i = &b->insts[k];
    for (int j = 0; i->kind == BODY_OP && j < scalar_def(i->op)->arity; j++)
        if (depends(n, b, i->args[j], v))
            return true;
    return is_source(n, i, v);
}

static bool same_mask(Mask a, Mask b) {
    bool same = a.of.id == b.of.id && a.rank == b.rank;
    for (int k = 0; same && k < a.rank; k++)
        same = a.map[k] == b.map[k];
    return same;
}

/* A mask outside of which instruction k, which depends on v (id 0: acc), does not. */
static Mask use_mask(Arena *arena, const Func *f, const NestOp *n, const Body *b, int k, Val v) {
    const BodyInst *i = &b->insts[k];
    Mask none = {{0}, 0, NULL}, all = none;
    if (i->kind != BODY_OP)
        return none;
    if (i->op == SC_mul)
        for (int j = 0; j < 2; j++) {
            Mask m = depends(n, b, i->args[j], v) ? none : zero_mask(arena, f, n, b, i->args[j], 0);
            if (m.of.id)
                return m;
        }
    for (int j = 0; j < scalar_def(i->op)->arity; j++) {
        if (!depends(n, b, i->args[j], v))
            continue;
        Mask m = use_mask(arena, f, n, b, i->args[j], v);
        if (!m.of.id || (all.of.id && !same_mask(all, m)))
            return none;
        all = m;
    }
    return all;
}

/* The only instruction that uses v; NULL: there are several, or v is a result. */
static const Inst *only_user(const Func *f, Val v) {
    const Inst *user = NULL;
    for (int k = 0; k < f->results.n; k++)
        if (f->results.p[k].val.id == v.id)
            return NULL;
    for (int k = 0; k < f->insts.n; k++)
        for (int a = 0; a < f->insts.p[k]->n_args; a++) {
            if (f->insts.p[k]->args[a].id != v.id)
                continue;
            if (user)
                return NULL;
            user = f->insts.p[k];
        }
    return user;
}

static bool names_only(Dim d, const DimBinding *b, int n) {
    enum { MOST = 8 };
    DimSym syms[MOST];
    int found = dim_symbols(d, syms, MOST);
    bool all = found <= MOST;
    for (int k = 0; k < found && all; k++) {
        bool named = false;
        for (int j = 0; j < n; j++)
            named = named || b[j].sym == syms[k];
        all = named;
    }
    return all;
}

/* The mask by which the only user of nest i's result multiplies it, in the indices of the nest. */
static Mask mask_of_user(const Rewrite *r, const Inst *i) {
    Arena *arena = r->u->arena;
    const Inst *user = only_user(r->from, i->first);
    const Nest *n = i->attr;
    Mask none = {{0}, 0, NULL};
    if (!user || user->op != &op_nest || !nest_plain_map(n))
        return none;
    NestOp u = nestop_of(r->from, user);
    const Body *b = &u.nest.body;
    const BodyInst *read = NULL;
    for (int k = 0; k < u.nest.post.n; k++)
        if (is_source(&u, &u.nest.post.insts[k], i->first))
            return none;
    for (int k = 0; k < b->n; k++) {
        if (!is_source(&u, &b->insts[k], i->first))
            continue;
        if (read || b->insts[k].has_fill)
            return none;
        read = &b->insts[k];
    }
    if (!read || !depends(&u, b, b->n - 1, i->first))
        return none;
    Mask m = use_mask(arena, r->from, &u, b, b->n - 1, i->first);
    DimBinding *bind = ARENA_ARRAY(arena, DimBinding, read->rank + 1);
    for (int a = 0; a < read->rank && m.of.id; a++) {
        bind[a] = (DimBinding){dim_as_symbol(read->map[a]), n->map[a]};
        if (!bind[a].sym)
            return none;
    }
    if (!m.of.id || !r->map.to[m.of.id].id)
        return none;
    for (int a = 0; a < m.rank; a++)
        if (!names_only(m.map[a], bind, read->rank))
            return none;
    m = with_indices(arena, m, bind, read->rank);
    m.of = r->map.to[m.of.id];
    return m;
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
        Arena *arena = r->u->arena;
        Mask m = zero_mask(arena, r->to, &n, &n.nest.body, n.nest.body.n - 1, 0);
        if (!m.of.id && n.nest.post.n && n.nest.init < 0)
            m = use_mask(arena, r->to, &n, &n.nest.post, n.nest.post.n - 1, (Val){0});
        else if (!m.of.id && n.nest.init < 0)
            m = mask_of_user(r, i);
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
