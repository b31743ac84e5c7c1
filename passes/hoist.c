/* hoist: what is costly and does not depend on all indices of a nest is computed once for those it
 * depends on.
 *
 *   %h = nest [n, j] = %t[n, j] * (exp(%e[n]) * ..) over n<N, j<D
 * becomes
 *   %w = nest [n] = exp(%e[n]) * .. over n<N;  %h = nest [n, j] = %t[n, j] * %w[n] over n<N, j<D
 *
 * Costly is what machines have no instruction for. All points of the smaller box are computed, so
 * its reads must lie inside whatever the conditions around them say. */
#include "passes/peel_priv.h"

enum { MOST_INDICES = 64 };

typedef struct Hoist {
    Ctx *ctx;
    const NestOp *n;
    const Func *f;
    uint64_t *mask; /* by body instruction: the indices it depends on */
    bool *costly;   /* contains a row that is not native */
    bool *inside;   /* its reads lie inside their operands */
    bool *factor;   /* a factor of the product that the nest sums, computed by some operation */
} Hoist;

static uint64_t indices_in(const Nest *n, Dim d) {
    uint64_t m = 0;
    for (int k = 0; k < n->n_box; k++)
        if (dim_mentions(d, n->box[k].sym))
            m |= (uint64_t)1 << k;
    return m;
}

static bool read_inside(const Hoist *h, const BodyInst *i) {
    Type t = graph_type(h->f, h->n->args[i->operand]);
    for (int a = 0; a < i->rank && !i->has_fill; a++) {
        bool whole = false;
        for (int k = 0; k < h->n->nest.n_box; k++)
            whole |= dim_as_symbol(i->map[a]) == h->n->nest.box[k].sym &&
                     h->n->nest.box[k].extent == t.shape[a];
        if (!whole)
            return false;
    }
    return true;
}

static void note(Hoist *h, const Body *b) {
    for (int k = 0; k < b->n; k++) {
        const BodyInst *i = &b->insts[k];
        h->inside[k] = true;
        if (i->kind == BODY_READ) {
            h->inside[k] = read_inside(h, i);
            for (int a = 0; a < i->rank; a++)
                h->mask[k] |= indices_in(&h->n->nest, i->map[a]);
        } else if (i->kind == BODY_INDEX) {
            h->mask[k] = indices_in(&h->n->nest, i->dim);
        } else if (i->kind == BODY_OP) {
            h->costly[k] = !(scalar_def(i->op)->flags & SF_NATIVE);
            for (int a = 0; a < scalar_def(i->op)->arity; a++) {
                h->mask[k] |= h->mask[i->args[a]];
                h->costly[k] |= h->costly[i->args[a]];
                h->inside[k] &= h->inside[i->args[a]];
            }
        }
    }
}

/* Is there an index of more than one value that instruction k does not depend on? */
static bool repeats(const Hoist *h, int k) {
    const Nest *n = &h->n->nest;
    for (int j = 0; j < n->n_box; j++) {
        int64_t extent;
        bool single = dim_is_const(n->box[j].extent, &extent) && extent <= 1;
        if (!single && !(h->mask[k] >> j & 1))
            return true;
    }
    return false;
}

static bool movable(const Hoist *h, const Body *b, int k) {
    return b->insts[k].kind == BODY_OP && (h->costly[k] || h->factor[k]) && h->inside[k] &&
           repeats(h, k);
}

/* Movable, and used by something that is not. */
static bool moves(const Hoist *h, const Body *b, int k) {
    if (!movable(h, b, k) || k == b->n - 1)
        return movable(h, b, k);
    for (int j = k + 1; j < b->n; j++)
        for (int a = 0; b->insts[j].kind == BODY_OP && a < scalar_def(b->insts[j].op)->arity; a++)
            if (b->insts[j].args[a] == k && !movable(h, b, j))
                return true;
    return false;
}

static Val produce(Rewrite *r, const Hoist *h, int k, Dim *map, int *rank) {
    Ctx *ctx = h->ctx;
    const Nest *n = &h->n->nest;
    NestOp p = {.n_args = h->n->n_args, .args = h->n->args, .span = h->n->span, .name = h->n->name};
    NestIndex *box = ARENA_ARRAY(&ctx->perm, NestIndex, n->n_box + 1);
    Dim *shape = ARENA_ARRAY(&ctx->perm, Dim, n->n_box + 1);
    *rank = 0;
    for (int j = 0; j < n->n_box; j++) {
        if (!(h->mask[k] >> j & 1))
            continue;
        box[*rank] = n->box[j];
        map[*rank] = dim_of(ctx, n->box[j].sym);
        shape[(*rank)++] = n->box[j].extent;
    }
    BodyBuilder b = body_new(ctx);
    Body part = {k + 1, n->body.insts};
    p.nest = (Nest){.op = NEST_STORE, .n_box = *rank, .box = box, .rank = *rank, .init = -1};
    p.nest.map = arena_dup(&ctx->perm, map, sizeof *map * (size_t)(*rank + 1));
    p.nest.body = body_done(&b, body_import(&b, &part, NULL, 0, NULL));
    p.type = type_new(ctx, n->body.insts[k].dt, *rank, shape);
    p = nestop_compact(ctx, &p);
    return nestop_emit(r->m, r->to, &p);
}

static void note_factors(Hoist *h, const Body *b) {
    const BodyInst *last = &b->insts[b->n - 1];
    for (int a = 0; last->kind == BODY_OP && last->op == SC_mul && a < 2; a++)
        h->factor[last->args[a]] = true;
}

static bool hoist_parts(Rewrite *r, NestOp *n, bool factors) {
    Ctx *ctx = r->u->ctx;
    const Body *b = &n->nest.body;
    Hoist h = {ctx,
               n,
               r->to,
               ARENA_ARRAY(r->u->arena, uint64_t, b->n + 1),
               ARENA_ARRAY(r->u->arena, bool, b->n + 1),
               ARENA_ARRAY(r->u->arena, bool, b->n + 1),
               ARENA_ARRAY(r->u->arena, bool, b->n + 1)};
    bool *move = ARENA_ARRAY(r->u->arena, bool, b->n + 1), any = false;
    if (n->nest.n_box > MOST_INDICES)
        return false;
    note(&h, b);
    if (factors)
        note_factors(&h, b);
    for (int k = 0; k < b->n; k++)
        any |= move[k] = moves(&h, b, k);
    if (!any)
        return false;
    Val *args = ARENA_ARRAY(r->u->arena, Val, n->n_args + b->n + 1);
    int n_args = n->n_args, *at = ARENA_ARRAY(r->u->arena, int, b->n + 1);
    for (int k = 0; k < n_args; k++)
        args[k] = n->args[k];
    BodyBuilder to = body_new(ctx);
    for (int k = 0; k < b->n; k++) {
        BodyInst i = b->insts[k];
        if (move[k]) {
            int rank;
            Dim *map = ARENA_ARRAY(&ctx->perm, Dim, n->nest.n_box + 1);
            args[n_args] = produce(r, &h, k, map, &rank);
            at[k] = body_read(&to, i.dt, n_args++, rank, map);
            continue;
        }
        for (int a = 0; i.kind == BODY_OP && a < scalar_def(i.op)->arity; a++)
            i.args[a] = at[i.args[a]];
        vec_push(&ctx->perm, &to.insts, i);
        at[k] = to.insts.n - 1;
    }
    n->nest.body = body_done(&to, at[b->n - 1]);
    n->args = args;
    n->n_args = n_args;
    *n = nestop_compact(ctx, n);
    return true;
}

bool hoist_factors(Rewrite *r, NestOp *n) {
    return nest_is_contraction(r->u->ctx, &n->nest) && hoist_parts(r, n, true);
}

static void hoist_one(Rewrite *r, NestOp *n) { hoist_parts(r, n, false); }

static void hoist_func(Unit *u, Func *f) {
    if (rewrite_nests(u, f, hoist_one))
        drop_dead(u, graph_func(u->graph, f->id));
}

void pass_hoist(Unit *u) { each_func(u, hoist_func); }
