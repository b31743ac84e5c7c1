/* tile: which nests are contractions. */
#include "passes/tile_priv.h"

bool tile_in(const LoopStmt *access, DimSym s) {
    for (int a = 0; a < access->rank; a++)
        if (dim_mentions(access->subs[a], s))
            return true;
    return false;
}

static bool is_index_of(const Contraction *c, DimSym s) {
    for (int k = 0; k < c->n_out; k++)
        if (c->out[k].sym == s)
            return true;
    for (int k = 0; k < c->n_red; k++)
        if (c->red[k].sym == s)
            return true;
    return false;
}

static bool free_of_indices(const Contraction *c, Dim d) {
    DimSym syms[32];
    int n = dim_symbols(d, syms, 32);
    for (int k = 0; k < n && k < 32; k++)
        if (syms[k]->is_index && is_index_of(c, syms[k]))
            return false;
    return n <= 32;
}

DimSym tile_single(const Contraction *c, Dim sub, int64_t *coef, Dim *rest) {
    DimSym syms[32], found = NULL;
    int n = dim_symbols(sub, syms, 32);
    for (int k = 0; k < n && k < 32; k++) {
        if (!is_index_of(c, syms[k]))
            continue;
        if (found)
            return NULL;
        found = syms[k];
    }
    Dim by;
    if (!found || n > 32 || !dim_linear_in(c->ctx, sub, found, &by, rest) ||
        !dim_is_const(by, coef))
        return NULL;
    return found;
}

int tile_axis(const Contraction *c, const LoopStmt *access, DimSym s, int64_t *coef) {
    int axis = -1;
    for (int a = 0; a < access->rank; a++) {
        Dim rest;
        if (!dim_mentions(access->subs[a], s))
            continue;
        if (axis >= 0 || tile_single(c, access->subs[a], coef, &rest) != s)
            return -1;
        axis = a;
    }
    return axis;
}

bool tile_inside(const Contraction *c, const LoopStmt *access, int axis, const TileLoop *l) {
    Ctx *ctx = c->ctx;
    DimFacts none = {0};
    Dim shape = loop_bufp(c->f, access->buf)->shape[axis], end = dim_addk(ctx, l->hi, -1);
    for (int k = 0; k < 2; k++) {
        DimBinding at = {l->sym, k ? end : l->lo};
        Dim sub = dim_subst(ctx, access->subs[axis], &at, 1);
        Dim above = sub ? dim_sub(ctx, dim_addk(ctx, shape, -1), sub) : NULL;
        if (!above || !dim_prove_nonneg(ctx, &none, sub) || !dim_prove_nonneg(ctx, &none, above))
            return false;
    }
    return true;
}

/* ---- loops */

static bool plain_loop(const LoopStmt *s, int carried) {
    return s->kind == LOOP_FOR && !s->parallel && s->step == 1 && s->n_carried == carried &&
           s->n_lo >= 1 && s->n_hi >= 1 && s->n_lo <= 3 && s->n_hi <= 3;
}

/* The range from those bounds that mention no other index; false: there are none. */
static bool range_of(Contraction *c, const LoopStmt *s, TileLoop *l) {
    *l = (TileLoop){.loop = s, .sym = s->index, .n = -1};
    int64_t v, best = 0;
    for (int k = 0; k < s->n_lo; k++)
        if (free_of_indices(c, s->lo[k]) && (!l->lo || (dim_is_const(s->lo[k], &v) && v > best))) {
            l->lo = s->lo[k];
            dim_is_const(l->lo, &best);
        }
    best = 0;
    for (int k = 0; k < s->n_hi; k++)
        if (free_of_indices(c, s->hi[k]) && (!l->hi || (dim_is_const(s->hi[k], &v) && v < best))) {
            l->hi = s->hi[k];
            if (!dim_is_const(l->hi, &best))
                best = INT64_MAX;
        }
    if (!l->lo || !l->hi)
        return false;
    l->extent = dim_sub(c->ctx, l->hi, l->lo);
    if (!l->extent || !dim_is_const(l->extent, &l->n) || !dim_is_const(l->lo, &l->first))
        l->n = -1;
    return l->extent && (l->n == -1 || l->n > 0);
}

static bool output_loops(Contraction *c, const LoopBody **cell) {
    LoopStmt *s = c->root;
    for (;;) {
        if (c->n_out == TILE_LOOPS || !plain_loop(s, 0) || s->n_lo != 1 || s->n_hi != 1)
            return false;
        /* registered first: its bounds may mention the loops around, which is not allowed */
        c->out[c->n_out++].sym = s->index;
        if (!range_of(c, s, &c->out[c->n_out - 1]))
            return false;
        if (s->body.stmts.n != 1)
            break;
        s = s->body.stmts.p[0];
    }
    *cell = &s->body;
    return true;
}

static bool plain_access(const LoopStmt *s, LoopKind kind) {
    return s->kind == kind && s->type.lanes == 1 && !s->sub_vals && !s->active && !s->checked &&
           s->status < 0;
}

/* load, load, fma (or mul, add), yield */
static bool innermost(Contraction *c, const LoopStmt *red) {
    const LoopBody *b = &red->body;
    int n = b->stmts.n;
    if (n != 4 && n != 5)
        return false;
    const LoopStmt *x = b->stmts.p[0], *y = b->stmts.p[1], *last = b->stmts.p[n - 2],
                   *yield = b->stmts.p[n - 1];
    if (!plain_access(x, LOOP_LOAD) || !plain_access(y, LOOP_LOAD) || last->kind != LOOP_LET ||
        yield->kind != LOOP_YIELD || yield->args[0].id != last->result.id)
        return false;
    LVal p = last->args[0], q = last->args[1], sum = red->phi[0];
    c->fma = last->op == SC_fma;
    if (c->fma ? n != 4 || last->args[2].id != sum.id : n != 5 || last->op != SC_add)
        return false;
    if (!c->fma) {
        const LoopStmt *mul = b->stmts.p[2];
        LVal other = p.id == mul->result.id ? q : p;
        if (mul->kind != LOOP_LET || mul->op != SC_mul || other.id != sum.id ||
            (p.id != mul->result.id && q.id != mul->result.id))
            return false;
        p = mul->args[0];
        q = mul->args[1];
    }
    bool straight = p.id == x->result.id && q.id == y->result.id;
    bool crossed = p.id == y->result.id && q.id == x->result.id;
    c->load[0] = crossed ? y : x;
    c->load[1] = crossed ? x : y;
    return straight || crossed;
}

static bool reduction_loops(Contraction *c, LoopStmt *s) {
    for (;;) {
        if (c->n_red == TILE_LOOPS || !plain_loop(s, 1))
            return false;
        c->red[c->n_red++].sym = s->index;
        if (!range_of(c, s, &c->red[c->n_red - 1]))
            return false;
        LoopStmt *in = s->body.stmts.n == 2 ? s->body.stmts.p[0] : NULL;
        if (!in || in->kind != LOOP_FOR)
            return innermost(c, s);
        if (in->n_carried != 1 || in->init[0].id != s->phi[0].id ||
            s->body.stmts.p[1]->args[0].id != in->out[0].id)
            return false;
        s = in;
    }
}

/* The epilogue: scalars, and loads of what the nest does not store. */
static bool epilogue_allowed(const Contraction *c) {
    const LoopBuf *out = loop_storage(c->f, c->store->buf);
    for (int k = 0; k < c->n_post; k++) {
        const LoopStmt *s = c->post[k];
        if (s->kind == LOOP_LOAD &&
            (!plain_access(s, LOOP_LOAD) || loop_storage(c->f, s->buf) == out))
            return false;
        if (s->kind != LOOP_LOAD && s->kind != LOOP_LET && s->kind != LOOP_CONST &&
            s->kind != LOOP_INDEX)
            return false;
    }
    return true;
}

static bool cell_of(Contraction *c, const LoopBody *b) {
    int n = b->stmts.n;
    if (n < 3 || !plain_access(b->stmts.p[n - 1], LOOP_STORE))
        return false;
    c->init = b->stmts.p[0];
    c->store = b->stmts.p[n - 1];
    LoopStmt *red = b->stmts.p[1];
    if ((c->init->kind != LOOP_CONST && !plain_access(c->init, LOOP_LOAD)) || !plain_loop(red, 1) ||
        red->init[0].id != c->init->result.id || !reduction_loops(c, red))
        return false;
    c->n_post = n - 3;
    c->post = ARENA_ARRAY(c->arena, const LoopStmt *, n);
    for (int k = 0; k < c->n_post; k++)
        c->post[k] = b->stmts.p[2 + k];
    c->sum = red->out[0];
    c->dt = red->carried[0].dt;
    if (!c->n_post && c->store->args[0].id != c->sum.id)
        return false;
    return epilogue_allowed(c);
}

/* Factors of the sum's type, apart from the result in memory; an initial value that is not from the
 * result's memory, or is the cell itself. */
static bool memory_allowed(const Contraction *c) {
    const LoopBuf *out = loop_storage(c->f, c->store->buf);
    if (!dtype_is_real(c->dt) || loop_bufp(c->f, c->store->buf)->dt != c->dt)
        return false;
    for (int k = 0; k < 2; k++)
        if (c->load[k]->type.dt != c->dt || loop_storage(c->f, c->load[k]->buf) == out)
            return false;
    if (c->init->kind == LOOP_CONST || loop_storage(c->f, c->init->buf) != out)
        return true;
    for (int a = 0; a < c->store->rank; a++)
        if (c->init->subs[a] != c->store->subs[a])
            return false;
    return c->init->buf.id == c->store->buf.id;
}

/* ---- axes of extent 1 are left out of the accesses */

static const LoopStmt *without_single(Contraction *c, const LoopStmt *s) {
    LoopBuf b = *loop_bufp(c->f, s->buf);
    Dim one = dim_const(c->ctx, 1);
    Dim *shape = ARENA_ARRAY(c->arena, Dim, b.rank + 1),
        *subs = ARENA_ARRAY(c->arena, Dim, b.rank + 1);
    int rank = 0;
    for (int a = 0; a < b.rank; a++) {
        if (b.shape[a] == one)
            continue;
        shape[rank] = b.shape[a];
        subs[rank++] = s->subs[a];
    }
    if (rank == b.rank || !rank)
        return s;
    b.kind = BUF_ALIAS;
    b.alias = s->buf;
    b.offset = NULL;
    b.data = NULL;
    b.written = false;
    b.rank = rank;
    b.shape = shape;
    LoopStmt *to = arena_dup(c->arena, s, sizeof *s);
    to->buf = loop_buf(c->m, c->f, b);
    to->rank = rank;
    to->subs = subs;
    return to;
}

static void leave_out_axes(Contraction *c) {
    bool cell = c->init->kind == LOOP_LOAD && c->init->buf.id == c->store->buf.id;
    for (int k = 0; k < 2; k++)
        c->load[k] = without_single(c, c->load[k]);
    c->store = without_single(c, c->store);
    if (!cell)
        c->init = c->init->kind == LOOP_LOAD ? without_single(c, c->init) : c->init;
    else if (c->init->rank != c->store->rank) {
        LoopStmt *to = arena_dup(c->arena, c->init, sizeof *to);
        to->buf = c->store->buf;
        to->rank = c->store->rank;
        to->subs = c->store->subs;
        c->init = to;
    }
}

bool tile_match(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, LoopStmt *s, Contraction *c) {
    *c = (Contraction){.ctx = ctx, .arena = arena, .m = m, .f = f, .root = s};
    const LoopBody *cell;
    if (!output_loops(c, &cell) || !cell_of(c, cell) || !memory_allowed(c))
        return false;
    leave_out_axes(c);
    return true;
}

const TileLoop *tile_loop_of(const Contraction *c, DimSym x) {
    for (int k = 0; k < c->n_out; k++)
        if (c->out[k].sym == x)
            return &c->out[k];
    for (int k = 0; k < c->n_red; k++)
        if (c->red[k].sym == x)
            return &c->red[k];
    return NULL;
}
