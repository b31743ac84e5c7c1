/* tile: the choice of vectors and tile for a contraction.
 *
 * Every pair of outputs (v, u) is a candidate where v varies one factor alone and u the other one.
 * The tile is vectors x rows sums in registers; a step of it costs the most of its multiply-adds
 * and its loads, two of each in a cycle, and the latency of one; packing costs by element. */
#include "passes/tile_priv.h"

enum { LATENCY = 4, LEAST_WORK = 1 << 15 };

/* ---- bounds of reductions at rows of u */

static bool fold(const Contraction *c, const Dim *d, int n, const DimBinding *b, bool max, Dim *out,
                 int *n_out) {
    int64_t best = 0, v;
    bool any = false;
    *n_out = 0;
    for (int k = 0; k < n; k++) {
        Dim x = b ? dim_subst(c->ctx, d[k], b, 1) : d[k];
        if (!x)
            return false;
        if (!dim_is_const(x, &v)) {
            out[(*n_out)++] = x;
            continue;
        }
        best = !any || (max ? v > best : v < best) ? v : best;
        any = true;
    }
    if (any)
        out[(*n_out)++] = dim_const(c->ctx, best);
    return true;
}

bool tile_bounds(const Contraction *c, const TileLoop *red, DimSym u, int64_t at, TileBounds *out) {
    DimBinding b = {u, at >= 0 ? dim_const(c->ctx, at) : NULL};
    const DimBinding *bind = u && at >= 0 ? &b : NULL;
    const LoopStmt *s = red->loop;
    return fold(c, s->lo, s->n_lo, bind, true, out->lo, &out->n_lo) &&
           fold(c, s->hi, s->n_hi, bind, false, out->hi, &out->n_hi);
}

bool tile_same_bounds(const TileBounds *a, const TileBounds *b) {
    bool same = a->n_lo == b->n_lo && a->n_hi == b->n_hi;
    for (int k = 0; same && k < a->n_lo; k++)
        same = a->lo[k] == b->lo[k];
    for (int k = 0; same && k < a->n_hi; k++)
        same = a->hi[k] == b->hi[k];
    return same;
}

static bool reductions_mention(const Contraction *c, DimSym x) {
    for (int k = 0; k < c->n_red; k++)
        if (loop_bounds_mention(c->red[k].loop, x))
            return true;
    return false;
}

/* ---- pieces: blocks of rows whose inner bounds are the same */

static bool rows_alike(const Contraction *c, const Scheme *s, int64_t first, int rows,
                       int64_t other) {
    DimSym u = c->out[s->u].sym;
    for (int k = 0; k < s->n_inner; k++) {
        const TileLoop *red = &c->red[s->inner[k]];
        TileBounds want, got;
        if (!tile_bounds(c, red, u, other, &want))
            return false;
        for (int r = 0; r < rows; r++)
            if (!tile_bounds(c, red, u, first + r, &got) || !tile_same_bounds(&want, &got))
                return false;
    }
    return true;
}

/* Where rows of a block differ, their bounds must be constants. */
static bool rows_constant(const Contraction *c, const Scheme *s, int64_t first, int rows) {
    DimSym u = c->out[s->u].sym;
    for (int k = 0; k < s->n_inner; k++) {
        const TileLoop *red = &c->red[s->inner[k]];
        TileBounds a, b;
        if (!loop_bounds_mention(red->loop, u))
            continue;
        bool same = tile_bounds(c, red, u, first, &a);
        for (int r = 1; same && r < rows; r++)
            same = tile_bounds(c, red, u, first + r, &b) && tile_same_bounds(&a, &b);
        if (same)
            continue;
        for (int r = 0; r < rows; r++)
            if (!tile_bounds(c, red, u, first + r, &b) || b.n_lo != 1 || b.n_hi != 1 ||
                !dim_is_const(b.lo[0], NULL) || !dim_is_const(b.hi[0], NULL))
                return false;
    }
    return true;
}

static bool add_piece(const Contraction *c, Scheme *s, int64_t lo, int64_t hi, int rows,
                      bool fixed) {
    if (s->n_pieces == TILE_PIECES)
        return false;
    s->pieces[s->n_pieces++] = (TilePiece){.lo = dim_const(c->ctx, lo),
                                           .hi = dim_const(c->ctx, hi),
                                           .rows = rows,
                                           .fixed = fixed ? lo : -1};
    return true;
}

static bool constant_pieces(const Contraction *c, Scheme *s) {
    const TileLoop *u = &c->out[s->u];
    int64_t whole = u->n / s->rows, rest = u->n % s->rows;
    for (int64_t b = 0; b < whole; b++) {
        int64_t first = u->first + b * s->rows, end = b + 1;
        if (!rows_alike(c, s, first, s->rows, first)) {
            if (!rows_constant(c, s, first, s->rows) || !add_piece(c, s, b, b + 1, s->rows, true))
                return false;
            continue;
        }
        while (end < whole && rows_alike(c, s, u->first + end * s->rows, s->rows, first))
            end++;
        if (!add_piece(c, s, b, end, s->rows, end == b + 1))
            return false;
        b = end - 1;
    }
    return !rest || (rows_constant(c, s, u->first + whole * s->rows, (int)rest) &&
                     add_piece(c, s, whole, whole + 1, (int)rest, true));
}

static bool find_pieces(const Contraction *c, Scheme *s) {
    const TileLoop *u = &c->out[s->u];
    s->n_pieces = 0;
    if (u->n > 0)
        return constant_pieces(c, s);
    for (int k = 0; k < s->n_inner; k++)
        if (loop_bounds_mention(c->red[s->inner[k]].loop, u->sym))
            return false;
    const TileLoop *v = &c->out[s->v];
    Dim rows = dim_const(c->ctx, s->rows);
    /* stores are masked by row or by lane, not by both */
    bool padded = s->pack_a && s->direct_out && v->n > 0 && v->n % (s->vectors * s->lanes) == 0;
    Dim blocks =
        padded ? dim_ceildiv(c->ctx, u->extent, rows) : dim_floordiv(c->ctx, u->extent, rows);
    if (!blocks)
        return false;
    if (padded) {
        s->pieces[s->n_pieces++] = (TilePiece){
            .lo = dim_const(c->ctx, 0), .hi = blocks, .rows = s->rows, .fixed = -1, .padded = true};
        return true;
    }
    s->pieces[s->n_pieces++] =
        (TilePiece){.lo = dim_const(c->ctx, 0), .hi = blocks, .rows = s->rows, .fixed = -1};
    Dim left = dim_sub(c->ctx, u->extent, dim_scale(c->ctx, blocks, s->rows));
    s->pieces[s->n_pieces++] =
        (TilePiece){.lo = blocks, .hi = left, .rows = 1, .fixed = -1, .single = true};
    return true;
}

/* ---- candidates */

/* Can the other factor be packed in blocks of u? Every axis has an index of its own. */
static bool may_pack_a(const Contraction *c, const Scheme *s) {
    const LoopStmt *a = c->load[1 - s->b];
    int64_t coef;
    Dim rest;
    for (int k = 0; k < a->rank; k++) {
        bool any = false;
        for (int j = 0; j < c->n_out + c->n_red; j++)
            any = any ||
                  dim_mentions(a->subs[k], j < c->n_out ? c->out[j].sym : c->red[j - c->n_out].sym);
        if (any && !tile_single(c, a->subs[k], &coef, &rest))
            return false;
    }
    return tile_axis(c, a, c->out[s->u].sym, &coef) >= 0;
}

double tile_step_cost(const Contraction *c, int vectors, int rows) {
    double ops = vectors * rows * (c->fma ? 0.5 : 1.0), loads = (vectors + rows) / 2.0;
    double most = ops > loads ? ops : loads;
    return (most > LATENCY ? most : LATENCY) + 0.5;
}

int tile_last_vectors(const Contraction *c, const Scheme *s) {
    const TileLoop *v = &c->out[s->v];
    int64_t rest = v->n > 0 ? v->n % (s->vectors * s->lanes) : 0;
    return rest ? (int)((rest + s->lanes - 1) / s->lanes) : s->vectors;
}

/* Cycles of the tiles of a block of vectors for one step of the sum. */
static double column_cost(const Contraction *c, const Scheme *s, int vectors) {
    const TileLoop *u = &c->out[s->u];
    if (u->n <= 0)
        return tile_guess_long(u) / s->rows * tile_step_cost(c, vectors, s->rows) +
               LATENCY * s->rows / 4.0;
    double cost = (double)(u->n / s->rows) * tile_step_cost(c, vectors, s->rows);
    int left = (int)(u->n % s->rows);
    return left ? cost + tile_step_cost(c, vectors, left) : cost;
}

/* Cycles of all tiles for one step of the sum. */
static double tile_cost(const Contraction *c, const Scheme *s) {
    int w = s->vectors * s->lanes, last = tile_last_vectors(c, s);
    double blocks = (double)(((int64_t)tile_guess_long(&c->out[s->v]) + w - 1) / w);
    if (last == s->vectors)
        return blocks * column_cost(c, s, last);
    return (blocks - 1) * column_cost(c, s, s->vectors) + column_cost(c, s, last);
}

/* Sums, the operand that is held, one that streams, a product without fma; and one to spare,
 * because a tile that fills all registers spills now and then. */
bool tile_fits(const Contraction *c, const Target *t, int vectors, int rows) {
    int held = vectors < rows ? vectors : rows;
    if (c->most && vectors * rows > c->most)
        return false;
    return vectors * rows + held + (c->fma ? 1 : 3) < t->registers - 1;
}

/* Elements of a factor (or of the result) for each product. */
static double per_product(const Contraction *c, const Scheme *s, const LoopStmt *factor) {
    double n = 1;
    for (int k = 0; k < c->n_out; k++) {
        bool of_tile = k == s->v || k == s->u;
        if (!tile_in(factor, c->out[k].sym))
            n /= of_tile ? tile_guess_long(&c->out[k]) : tile_guess(c, &c->out[k]);
    }
    for (int k = 0; k < c->n_red; k++)
        n /= tile_in(factor, c->red[k].sym) ? 1 : tile_guess(c, &c->red[k]);
    return n;
}

static double packing_cost(const Contraction *c, const Target *t, const Scheme *s) {
    const LoopStmt *b = c->load[s->b];
    int64_t coef;
    bool contiguous = tile_axis(c, b, c->out[s->v].sym, &coef) == b->rank - 1 && coef == 1;
    double turned =
        tile_bytes_of(c, b) > (double)t->l2_bytes ? 1.0 : 0.5; /* cycles for an element */
    return per_product(c, s, b) * (contiguous ? 0.2 : turned) +
           (s->direct_out ? 0.0 : 0.5 * per_product(c, s, c->store));
}

/* Does the loop over the output stand outside the groups of vectors? */
static bool outside_of_groups(const Scheme *s, int out) {
    for (int k = 0; k < s->n_items && s->items[k].kind != TILE_V_GROUPS; k++)
        if (s->items[k].kind == TILE_OUT && s->items[k].at == out)
            return true;
    return false;
}

/* Rows of a dense copy are cut into the short pieces of blocks, or all of it lies in far memory
 * because a block has values of its first index. */
static bool copied_again(const Contraction *c, const LoopStmt *a, DimSym u) {
    int64_t coef;
    return dim_mentions(a->subs[a->rank - 1], u) || tile_axis(c, a, u, &coef) == 0;
}

/* Rows far apart, or steps far apart, take more lines and pages for a step, unless they are packed.
 */
static void consider_a(const Contraction *c, const Target *t, Scheme *s) {
    const double AGAIN = 1.0; /* cycles for an element */
    const LoopStmt *a = c->load[1 - s->b];
    Dim last = a->subs[a->rank - 1];
    double far = 1.1, packed = 0.5 * per_product(c, s, a);
    double by_columns = tile_by_columns(c, t, s);
    s->by_columns = by_columns > 0;
    if (s->by_columns) {
        s->pack_a = false;
        s->cost *= by_columns;
        return;
    }
    if (dim_mentions(last, c->out[s->u].sym)) {
        far = 1.06;
        for (int k = 0; k < c->n_red; k++)
            far = dim_mentions(last, c->red[k].sym) ? 1.0 : far;
    }
    bool known = true; /* packed at once, it is no larger than what a tile goes through */
    for (int k = 0; k < c->n_out; k++)
        known = known && (k == s->u || !tile_in(a, c->out[k].sym) || tile_others_in_both(c, s) ||
                          outside_of_groups(s, k));
    s->pack_a = known && may_pack_a(c, s) && packed < s->cost * (far - 0.97);
    s->cost = s->pack_a ? s->cost + packed : s->cost * far;
    if (c->copy[1 - s->b] && copied_again(c, a, c->out[s->u].sym))
        s->cost += AGAIN * per_product(c, s, a);
}

static void consider(const Contraction *c, const Target *t, Scheme s, Scheme *best) {
    for (s.vectors = 1; s.vectors <= 6; s.vectors++)
        for (s.rows = 1; s.rows < TILE_U; s.rows++) {
            if (!tile_fits(c, t, s.vectors, s.rows) ||
                (c->out[s.u].n > 0 && s.rows > c->out[s.u].n))
                continue;
            tile_order(c, t, &s);
            s.cost =
                tile_cost(c, &s) / (tile_guess_long(&c->out[s.u]) * tile_guess_long(&c->out[s.v]));
            s.cost += packing_cost(c, t, &s);
            if (c->out[s.v].n < 0)
                s.cost *= 2; /* it may be short */
            consider_a(c, t, &s);
            if (s.items[0].kind == TILE_V_GROUPS && s.n_items > 2 && tile_blocks_of_v(c, &s) == 1)
                s.cost *= 1.25; /* it cannot be divided into jobs */
            if (s.cost < best->cost * 0.999 && find_pieces(c, &s))
                *best = s;
        }
}

/* May vectors run along output v of factor b? */
static bool may_be_vector(const Contraction *c, int b, int v, bool *direct) {
    DimSym x = c->out[v].sym;
    int64_t coef;
    int axis = tile_axis(c, c->load[b], x, &coef);
    if (axis < 0 || tile_in(c->load[1 - b], x) || reductions_mention(c, x))
        return false;
    axis = tile_axis(c, c->store, x, &coef);
    *direct = axis == c->store->rank - 1 && coef == 1;
    if (c->init->kind == LOOP_LOAD) {
        int in = tile_axis(c, c->init, x, &coef);
        *direct = *direct && in == c->init->rank - 1 && coef == 1;
    }
    return axis >= 0;
}

/* Every output varies a factor, and no factor is read with two indices where only one is known. */
static bool factors_depend(const Contraction *c) {
    for (int k = 0; k < c->n_out; k++)
        if (!tile_in(c->load[0], c->out[k].sym) && !tile_in(c->load[1], c->out[k].sym))
            return false;
    return true;
}

bool tile_choose(const Contraction *c, const Target *t, Scheme *best) {
    double work = tile_product(c, c->red, c->n_red);
    for (int k = 0; k < c->n_out; k++)
        work *= tile_guess_long(&c->out[k]);
    *best = (Scheme){.cost = 1e30};
    if (work < LEAST_WORK || !factors_depend(c))
        return false;
    for (int b = 0; b < 2; b++)
        for (int v = 0; v < c->n_out; v++) {
            Scheme s = {.v = v, .b = b, .lanes = target_lanes(t, c->dt)};
            if (v == c->outside || !may_be_vector(c, b, v, &s.direct_out))
                continue;
            for (s.u = 0; s.u < c->n_out; s.u++)
                if (s.u != c->outside && tile_in(c->load[1 - b], c->out[s.u].sym) &&
                    !tile_in(c->load[b], c->out[s.u].sym))
                    consider(c, t, s, best);
        }
    /* worth more than the loops as they are, which vectors along one output or sum can have */
    double most = (c->fma ? 1.6 : 3.2) * (best->cost < 1e29 && c->out[best->v].n < 0 ? 2 : 1);
    if (best->cost * target_lanes(t, c->dt) > most)
        return false;
    tile_arrange(c, t, best, work);
    return true;
}
