/* Scatters become chains of gathers, and guards become loop bounds.
 *
 * invert settles one axis s*i + sum d*j + c at a time, i its longest unsettled index: every other j of it is split by
 * m = s/gcd(s, d), j = m*j' + r; the axis is then s*(i + rest) + r, the new index y = i + rest replaces i, and i's range
 * becomes the guard 0 <= y - rest < extent(i). All points are the old ones, renamed. */
#include "ir/nest_priv.h"

enum { MOST_PARTS = 64 }; /* beyond it a nest stays a serial scatter */

typedef struct Parts {
    Ctx *ctx;
    VEC(NestOp) v;
    bool failed;
} Parts;

static int64_t gcd(int64_t a, int64_t b) {
    while (b) {
        int64_t t = a % b;
        a = b;
        b = t;
    }
    return a < 0 ? -a : a;
}

/* n with one index substituted and a box of its own. */
static NestOp remap(Ctx *ctx, const NestOp *n, DimSym index, Dim by, DimSym now, Dim extent) {
    NestOp r = *n;
    DimBinding b = {index, by};
    NestIndex *box = ARENA_ARRAY(&ctx->perm, NestIndex, n->nest.n_box + 1);
    for (int k = 0; k < n->nest.n_box; k++)
        box[k] = n->nest.box[k].sym == index ? (NestIndex){now, extent} : n->nest.box[k];
    r.nest.box = box; /* facts of the substituted forms are those of the new box */
    r.nest = nest_subst(ctx, &r.nest, &b, 1);
    return r;
}

static NestOp with_guard(Ctx *ctx, const NestOp *n, Dim form, Dim extent) {
    NestOp r = *n;
    NestGuard *g = ARENA_ARRAY(&ctx->perm, NestGuard, n->nest.n_guards + 1);
    for (int k = 0; k < n->nest.n_guards; k++)
        g[k] = n->nest.guards[k];
    g[r.nest.n_guards++] = (NestGuard){form, extent};
    r.nest.guards = g;
    return r;
}

bool nest_longer(Dim a, Dim b) {
    int64_t x, y;
    bool ca = dim_is_const(a, &x), cb = dim_is_const(b, &y);
    if (ca && cb)
        return x > y;
    return !ca && cb;
}

/* The unsettled axis and index to begin with: the longest index, then the smaller coefficient. */
static void choose(Ctx *ctx, const Nest *n, uint64_t out, int *axis, int *index) {
    *axis = *index = -1;
    int64_t best = 0;
    for (int a = 0; a < n->rank; a++) {
        uint64_t fresh = 0;
        for (int k = 0; k < n->n_box; k++)
            fresh |= (uint64_t)(!(out >> k & 1) && dim_mentions(n->map[a], n->box[k].sym)) << k;
        for (int k = 0; k < n->n_box; k++) {
            if (!(fresh >> k & 1))
                continue;
            int64_t s = aff_coef(ctx, n->map[a], n->box[k].sym);
            s = s < 0 ? -s : s;
            Dim e = n->box[k].extent;
            bool first = *index < 0;
            if (first || nest_longer(e, n->box[*index].extent) || (!nest_longer(n->box[*index].extent, e) && s < best)) {
                *axis = a;
                *index = k;
                best = s;
            }
        }
    }
}

/* Splits every other index of the axis so that s divides its coefficient. */
static bool split(Ctx *ctx, Parts *parts, int axis, DimSym i, int64_t s) {
    const Nest first = parts->v.p[0].nest;
    for (int k = 0; k < first.n_box; k++) {
        DimSym j = first.box[k].sym;
        int64_t d = aff_coef(ctx, first.map[axis], j), m = d ? s / gcd(s, d) : 1, e;
        if (j == i || m == 1)
            continue;
        int64_t classes = dim_is_const(first.box[k].extent, &e) && e < m ? e : m;
        Parts next = {.ctx = ctx};
        for (int p = 0; p < parts->v.n; p++)
            for (int64_t r = 0; r < classes; r++) {
                Dim by = dim_addk(ctx, dim_scale(ctx, dim_of(ctx, j), m), r);
                Dim extent = dim_ceildiv(ctx, dim_addk(ctx, first.box[k].extent, -r), dim_const(ctx, m));
                vec_push(&ctx->perm, &next.v, remap(ctx, &parts->v.p[p], j, by, j, extent));
                if (next.v.n > MOST_PARTS)
                    return false;
            }
        *parts = next;
    }
    return true;
}

static void solve(Parts *done, const NestOp *n);

/* Replaces i by y where the axis is s*(i + rest) + r. */
static void settle(Parts *done, const NestOp *p, int axis, DimSym i, int64_t s) {
    Ctx *ctx = done->ctx;
    Dim form = p->nest.map[axis], rest, coef, r, size = dim_const(ctx, s);
    int64_t residue, extent;
    dim_linear_in(ctx, form, i, &coef, &rest);
    Dim k = aff_rest(ctx, &p->nest, rest);
    r = dim_mod(ctx, k, size);
    if (!dim_is_const(r, &residue)) {
        done->failed = true;
        return;
    }
    Dim shift = dim_floordiv(ctx, k, size); /* of the constant part; the indices' coefficients are multiples of s */
    for (int b = 0; b < p->nest.n_box; b++) {
        int64_t d = aff_coef(ctx, rest, p->nest.box[b].sym);
        shift = dim_add(ctx, shift, dim_scale(ctx, dim_of(ctx, p->nest.box[b].sym), d / s));
    }
    DimSym y = nest_fresh_index(ctx, i->name, p->nest.box, p->nest.n_box);
    Dim cells = dim_ceildiv(ctx, dim_addk(ctx, p->type.shape[axis], -residue), size);
    if (dim_is_const(cells, &extent) && extent <= 0)
        return;
    NestOp q = with_guard(ctx, p, dim_of(ctx, i), p->nest.box[nest_box_of(&p->nest, i)].extent);
    q = remap(ctx, &q, i, dim_sub(ctx, dim_of(ctx, y), shift), y, cells);
    q.nest = nest_tidy(ctx, &q.nest);
    solve(done, &q);
}

static void solve(Parts *done, const NestOp *n) {
    Ctx *ctx = done->ctx;
    uint64_t out;
    if (done->failed)
        return;
    if (nest_outputs(ctx, &n->nest, &out)) {
        vec_push(&ctx->perm, &done->v, *n);
        done->failed |= done->v.n > MOST_PARTS;
        return;
    }
    int axis, index;
    choose(ctx, &n->nest, out, &axis, &index);
    CTX_ASSERT(ctx, index >= 0);
    DimSym i = n->nest.box[index].sym;
    Parts parts = {.ctx = ctx};
    int64_t s = aff_coef(ctx, n->nest.map[axis], i);
    if (s < 0) { /* count backwards */
        Dim extent = n->nest.box[index].extent;
        Dim by = dim_sub(ctx, dim_addk(ctx, extent, -1), dim_of(ctx, i));
        vec_push(&ctx->perm, &parts.v, remap(ctx, n, i, by, i, extent));
        s = -s;
    } else {
        vec_push(&ctx->perm, &parts.v, *n);
    }
    if (!split(ctx, &parts, axis, i, s)) {
        done->failed = true;
        return;
    }
    for (int p = 0; p < parts.v.n; p++)
        settle(done, &parts.v.p[p], axis, i, s);
}

/* Part k > 0 starts from the part before it. */
static void chain(Ctx *ctx, NestOp *part, bool first) {
    part->nest.op = NEST_SUM;
    if (first)
        return;
    Val *args = ARENA_ARRAY(&ctx->perm, Val, part->n_args + 1);
    for (int k = 0; k < part->n_args; k++)
        args[k] = part->args[k];
    args[part->n_args] = (Val){0};
    part->nest.init = part->n_args++;
    part->args = args;
}

NestOp *nest_invert(Ctx *ctx, const NestOp *n, int *n_out) {
    Parts done = {.ctx = ctx};
    *n_out = 0;
    solve(&done, n);
    if (done.failed)
        return NULL;
    if (done.v.n == 0) { /* no cell is ever reached */
        NestOp none = *n;
        NestIndex *box = ARENA_ARRAY(&ctx->perm, NestIndex, n->nest.n_box + 1);
        for (int k = 0; k < n->nest.n_box; k++)
            box[k] = (NestIndex){n->nest.box[k].sym, dim_const(ctx, 0)};
        none.nest.box = box;
        vec_push(&ctx->perm, &done.v, none);
    }
    for (int k = 0; k < done.v.n; k++)
        chain(ctx, &done.v.p[k], k == 0);
    *n_out = done.v.n;
    return done.v.p;
}

/* ---- limits */

typedef struct LimitSet {
    VEC(Dim) lo, hi;
} LimitSet;

/* A guard 0 <= a < e bounds the innermost of its indices, where the others are fixed: exactly, by ceil and floor. */
static void bound_by_guard(Ctx *ctx, const Nest *n, const NestGuard *g, DimSym j, Dim extent, LimitSet *set) {
    Dim coef, rest, lo, hi;
    DimFacts facts = nest_facts(ctx, n);
    int64_t c = aff_coef(ctx, g->form, j);
    dim_linear_in(ctx, g->form, j, &coef, &rest);
    Dim top = dim_addk(ctx, dim_sub(ctx, g->extent, rest), -1); /* c*j <= top, c*j >= -rest */
    if (c > 0) {
        lo = dim_ceildiv(ctx, dim_neg(ctx, rest), dim_const(ctx, c));
        hi = dim_addk(ctx, dim_floordiv(ctx, top, dim_const(ctx, c)), 1);
    } else {
        lo = dim_ceildiv(ctx, dim_neg(ctx, top), dim_const(ctx, -c));
        hi = dim_addk(ctx, dim_floordiv(ctx, rest, dim_const(ctx, -c)), 1);
    }
    if (!dim_prove_nonneg(ctx, &facts, dim_neg(ctx, lo)))
        vec_push(&ctx->perm, &set->lo, lo);
    if (!dim_prove_nonneg(ctx, &facts, dim_sub(ctx, hi, extent)))
        vec_push(&ctx->perm, &set->hi, hi);
}

/* A guard without indices that is not decided here: form >= 0 and form < e turn the first loop off where they fail. */
static void bound_by_constant(Ctx *ctx, const NestGuard *g, Dim extent, LimitSet *first) {
    vec_push(&ctx->perm, &first->hi, dim_mul(ctx, dim_addk(ctx, g->form, 1), extent));
    vec_push(&ctx->perm, &first->hi, dim_mul(ctx, dim_sub(ctx, g->extent, g->form), extent));
}

static bool certainly_false(Ctx *ctx, const NestGuard *g) {
    return dim_prove_positive(ctx, NULL, dim_neg(ctx, g->form)) || dim_prove_nonneg(ctx, NULL, dim_sub(ctx, g->form, g->extent));
}

static bool certainly_true(Ctx *ctx, const NestGuard *g) {
    return dim_prove_nonneg(ctx, NULL, g->form) && dim_prove_positive(ctx, NULL, dim_sub(ctx, g->extent, g->form));
}

NestLimit *nest_limits(Ctx *ctx, const Nest *n, const int *order, bool *never) {
    uint64_t out = 0;
    bool settled = nest_outputs(ctx, n, &out);
    int *at = ARENA_ARRAY(&ctx->perm, int, n->n_box + 1), k = 0; /* box number by loop */
    for (int pass = 0; pass < 2 && !order; pass++)
        for (int j = 0; j < n->n_box; j++)
            if ((int)(out >> j & 1) != pass)
                at[k++] = j;
    LimitSet *sets = ARENA_ARRAY(&ctx->perm, LimitSet, n->n_box + 1);
    NestLimit *limits = ARENA_ARRAY(&ctx->perm, NestLimit, n->n_box + 1);
    *never = false;
    for (int g = 0; g < n->n_guards; g++) {
        int inner = -1;
        for (int l = 0; l < n->n_box; l++)
            if (dim_mentions(n->guards[g].form, n->box[order ? order[l] : at[l]].sym))
                inner = l;
        const NestIndex *box = n->n_box ? &n->box[order ? order[inner < 0 ? 0 : inner] : at[inner < 0 ? 0 : inner]] : NULL;
        if (inner >= 0)
            bound_by_guard(ctx, n, &n->guards[g], box->sym, box->extent, &sets[inner]);
        else if (certainly_false(ctx, &n->guards[g]))
            *never = true;
        else if (!certainly_true(ctx, &n->guards[g]) && box)
            bound_by_constant(ctx, &n->guards[g], box->extent, &sets[0]);
    }
    for (int l = 0; l < n->n_box; l++) {
        int b = order ? order[l] : at[l];
        LimitSet *s = &sets[l];
        vec_push(&ctx->perm, &s->hi, n->box[b].extent);
        vec_push(&ctx->perm, &s->lo, dim_const(ctx, 0));
        limits[l] = (NestLimit){.index = n->box[b].sym, .n_lo = s->lo.n, .n_hi = s->hi.n, .lo = s->lo.p, .hi = s->hi.p};
        limits[l].is_output = settled && (out >> b & 1);
    }
    return limits;
}
