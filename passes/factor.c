/* factor: a sum over an index that one factor alone has is taken before the product.
 *
 *   %m = nest [k, j] += %g[n, k, i] * %q[k, i, j] over n<N k<K i<D j<D
 * becomes
 *   %s = nest [k, i] += %g[n, k, i] over n<N k<K i<D
 *   %m = nest [k, j] += %s[k, i] * %q[k, i, j] over k<K i<D j<D
 *
 * so that N*K*D*D products become N*K*D sums and K*D*D products. Taken where the product is still a
 * sum of its own and the first sum has fewer indices than the nest had.
 *
 * Of three factors, two are multiplied first where the third has all indices that their sum leaves (x' S x):
 *
 *   %q = nest [n] += %x[n, i] * %s[i, j] * %x[n, j] over n<N i<D j<D
 * becomes
 *   %t = nest [n, j] += %x[n, i] * %s[i, j] over n<N i<D j<D
 *   %q = nest [n] += %t[n, j] * %x[n, j] over n<N j<D
 *
 * which has half the multiplications, in a product that tiles compute, and a sum as large as the third factor. It
 * leaves guarded nests and sums of anything but a product alone. */
#include "passes/rewrite.h"

enum { MOST_INDICES = 64 };

/* By body instruction: the indices it depends on. */
static uint64_t *indices_of(Arena *arena, const Nest *n) {
    uint64_t *mask = ARENA_ARRAY(arena, uint64_t, n->body.n + 1);
    for (int k = 0; k < n->body.n; k++) {
        const BodyInst *i = &n->body.insts[k];
        for (int j = 0; j < n->n_box; j++) {
            uint64_t bit = (uint64_t)1 << j;
            for (int a = 0; i->kind == BODY_READ && a < i->rank; a++)
                mask[k] |= dim_mentions(i->map[a], n->box[j].sym) ? bit : 0;
            if (i->kind == BODY_INDEX && dim_mentions(i->dim, n->box[j].sym))
                mask[k] |= bit;
        }
        for (int a = 0; i->kind == BODY_OP && a < scalar_def(i->op)->arity; a++)
            mask[k] |= mask[i->args[a]];
    }
    return mask;
}

static int count(uint64_t m) {
    int n = 0;
    for (; m; m &= m - 1)
        n++;
    return n;
}

/* The sum of a factor over the indices `gone`, with the indices of `kept` as its axes. */
static Val first_sum(Rewrite *r, const NestOp *n, Body factor, uint64_t gone, uint64_t kept, Dim *map) {
    Ctx *ctx = r->u->ctx;
    int n_box = 0, rank = 0;
    NestOp s = {.n_args = n->n_args, .args = n->args, .span = n->span, .name = n->name};
    NestIndex *box = ARENA_ARRAY(&ctx->perm, NestIndex, n->nest.n_box);
    Dim *shape = ARENA_ARRAY(&ctx->perm, Dim, n->nest.n_box + 1);
    for (int j = 0; j < n->nest.n_box; j++) {
        if (!((gone | kept) >> j & 1))
            continue;
        box[n_box++] = n->nest.box[j];
        if (!(kept >> j & 1))
            continue;
        map[rank] = dim_of(ctx, n->nest.box[j].sym);
        shape[rank++] = n->nest.box[j].extent;
    }
    BodyBuilder b = body_new(ctx);
    DType dt = factor.insts[factor.n - 1].dt;
    s.nest = (Nest){.op = NEST_SUM, .n_box = n_box, .box = box, .rank = rank, .init = -1};
    s.nest.map = arena_dup(&ctx->perm, map, sizeof *map * (size_t)(rank + 1));
    s.nest.body = body_done(&b, body_import(&b, &factor, NULL, 0, NULL));
    s.type = type_new(ctx, dt, rank, shape);
    s = nestop_compact(ctx, &s);
    return nestop_emit(r->m, r->to, &s);
}

/* Which factor (0 or 1) has indices to sum alone; -1: none. */
static int split_of(Ctx *ctx, const NestOp *n, const uint64_t *mask, uint64_t *gone) {
    const Body *b = &n->nest.body;
    const BodyInst *last = &b->insts[b->n - 1];
    uint64_t out;
    if (n->nest.op != NEST_SUM || n->nest.n_guards || n->nest.n_box > MOST_INDICES ||
        last->kind != BODY_OP || last->op != SC_mul || !nest_outputs(ctx, &n->nest, &out))
        return -1;
    for (int f = 0; f < 2; f++) {
        uint64_t mine = mask[last->args[f]], other = mask[last->args[1 - f]];
        *gone = mine & ~other & ~out;
        bool product = (mine & other & ~out) != 0 && (other & ~mine) != 0;
        if (*gone && product && count(mine) < n->nest.n_box)
            return f;
    }
    return -1;
}

/* The nest as the sum of the first factor's sum over `gone` times the other factor. */
static void split_sum(Rewrite *r, NestOp *n, Body factor, Body other, uint64_t gone, uint64_t kept) {
    Ctx *ctx = r->u->ctx;
    Dim *map = ARENA_ARRAY(&ctx->perm, Dim, n->nest.n_box + 1);
    Val *args = ARENA_ARRAY(r->u->arena, Val, n->n_args + 1);
    for (int k = 0; k < n->n_args; k++)
        args[k] = n->args[k];
    args[n->n_args] = first_sum(r, n, factor, gone, kept, map);
    BodyBuilder to = body_new(ctx);
    int x = body_read(&to, factor.insts[factor.n - 1].dt, n->n_args, count(kept), map),
        y = body_import(&to, &other, NULL, 0, NULL);
    n->nest.body = body_done(&to, body_op2(&to, SC_mul, x, y));
    NestIndex *box = ARENA_ARRAY(&ctx->perm, NestIndex, n->nest.n_box);
    int n_box = 0;
    for (int j = 0; j < n->nest.n_box; j++)
        if (!(gone >> j & 1))
            box[n_box++] = n->nest.box[j];
    n->nest.box = box;
    n->nest.n_box = n_box;
    n->args = args;
    n->n_args++;
    *n = nestop_compact(ctx, n);
}

/* Is the body the product of three values that it reads? f: where. */
static bool three_factors(const Body *b, int f[3]) {
    const BodyInst *last = &b->insts[b->n - 1];
    int n = 0;
    for (int k = 0; k < b->n; k++) {
        const BodyInst *i = &b->insts[k];
        if (i->kind == BODY_READ && n < 3)
            f[n++] = k;
        else if (i->kind != BODY_OP || i->op != SC_mul)
            return false;
    }
    return b->n == 5 && n == 3 && last->kind == BODY_OP &&
           (b->insts[last->args[0]].kind == BODY_OP) != (b->insts[last->args[1]].kind == BODY_OP);
}

/* Has the sum over these indices so many terms that it is worth a nest of its own? Unknown extents count as 64. */
static bool is_long(const Nest *n, uint64_t mask) {
    enum { LONG = 8 };
    int64_t extent, points = 1;
    for (int j = 0; j < n->n_box; j++)
        if (mask >> j & 1 && !__builtin_mul_overflow(points, dim_is_const(n->box[j].extent, &extent) ? extent : 64, &points) && points >= LONG)
            return true;
    return false;
}

/* Of three factors, takes the sum over two first where the third has what it leaves. (Two with the same indices are no
 * contraction: their product has nothing that one of them has not.) */
static void split_form(Rewrite *r, NestOp *n, const uint64_t *mask) {
    const Body *b = &n->nest.body;
    int f[3];
    uint64_t out;
    if (n->nest.op != NEST_SUM || n->nest.n_guards || n->nest.n_box > MOST_INDICES ||
        !nest_outputs(r->u->ctx, &n->nest, &out) || !three_factors(b, f))
        return;
    for (int k = 2; k >= 0; k--) {
        int x = f[k == 0], y = f[k == 2 ? 1 : 2];
        uint64_t mine = mask[x] | mask[y], other = mask[f[k]], gone = mine & ~other & ~out, kept = mine & ~gone;
        if (!is_long(&n->nest, gone) || kept & ~other || !(kept & ~out) || mask[x] == mask[y])
            continue;
        BodyBuilder two = body_new(r->u->ctx);
        int one = body_import(&two, &(Body){x + 1, b->insts}, NULL, 0, NULL),
            other_one = body_import(&two, &(Body){y + 1, b->insts}, NULL, 0, NULL);
        Body first = body_done(&two, body_op2(&two, SC_mul, one, other_one)), third = {f[k] + 1, b->insts};
        split_sum(r, n, first, third, gone, kept);
        return;
    }
}

static void factor_sum(Rewrite *r, NestOp *n) {
    const Body *b = &n->nest.body;
    const uint64_t *mask = indices_of(r->u->arena, &n->nest);
    uint64_t gone;
    int f = split_of(r->u->ctx, n, mask, &gone);
    if (f < 0) {
        split_form(r, n, mask);
        return;
    }
    int part = b->insts[b->n - 1].args[f], other = b->insts[b->n - 1].args[1 - f];
    split_sum(r, n, (Body){part + 1, b->insts}, (Body){other + 1, b->insts}, gone, mask[part] & ~gone);
}

static void factor_func(Unit *u, Func *f) { rewrite_nests(u, f, factor_sum); }

void pass_factor(Unit *u) { each_func(u, factor_func); }
