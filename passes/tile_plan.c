/* tile: the choice of vectors, tile and loop order for a contraction.
 *
 * Every pair of outputs (v, u) is a candidate where v varies one factor alone and u the other one.
 * The tile is vectors x rows sums in registers; a step of it costs the most of its multiply-adds
 * and its loads, two of each in a cycle, and the latency of one; packing costs by element. */
#include "passes/tile_priv.h"

enum {
    LATENCY = 4,
    LONG = 256,
    FEW = 16,
    LEAST_GROUPS = 4,
    LEAST_WORK = 1 << 15,
    LEAST_JOB_WORK = 1 << 18,
    PARTIAL_ITEMS = 3 /* the images, all blocks of vectors, the rows */
};

static double guess(const Contraction *c, const TileLoop *l) {
    return l->n > 0 ? (double)l->n : c->rows;
}

/* Of an output that takes the vectors or the rows of tiles: as in a product of large matrices. */
static double guess_long(const TileLoop *l) { return l->n > 0 ? (double)l->n : LONG; }

static double product(const Contraction *c, const TileLoop *l, int n) {
    double p = 1;
    for (int k = 0; k < n; k++)
        p *= guess(c, &l[k]);
    return p;
}

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

/* ---- the order of the loops around the tile */

/* Bytes of the memory that a factor is read from. */
static double bytes_of(const Contraction *c, const LoopStmt *factor) {
    const LoopBuf *b = loop_bufp(c->f, factor->buf);
    double bytes = (double)dtype_size(b->dt);
    int64_t n;
    for (int a = 0; a < b->rank; a++)
        bytes *= dim_is_const(b->shape[a], &n) ? (double)n : c->rows;
    return bytes;
}

static void add_item(Scheme *s, TileKind kind, int at) {
    s->items[s->n_items++] = (TileItem){kind, at};
}

static void add_others(const Contraction *c, Scheme *s, int from, int to) {
    int n = 0;
    for (int k = 0; k < c->n_out; k++)
        if (k != s->v && k != s->u && n++ >= from && n <= to)
            add_item(s, TILE_OUT, k);
}

/* A first reduction is taken out of the tile if the rest keeps it busy and the packed factor would
 * not stay in the cache; the sums then go through memory. */
static bool hoists(const Contraction *c, const Target *t, const Scheme *s) {
    enum { ENOUGH = 48 };
    const TileLoop *first = &c->red[0];
    const LoopStmt *l = first->loop;
    if (c->n_red < 2 || !tile_in(c->load[s->b], first->sym) || l->n_lo != 1 || l->n_hi != 1 ||
        l->lo[0] != first->lo || l->hi[0] != first->hi)
        return false;
    for (int k = 1; k < c->n_red; k++)
        if (c->red[k].n < 0)
            return false;
    if (product(c, c->red + 1, c->n_red - 1) < ENOUGH)
        return false;
    double slab = (double)dtype_size(c->dt) * s->vectors * s->lanes * product(c, c->red, c->n_red);
    return first->n < 0 || slab > (double)t->l2_bytes / 4;
}

static bool all_others_in_both(const Contraction *c, const Scheme *s) {
    for (int k = 0; k < c->n_out; k++)
        if (k != s->v && k != s->u &&
            !(tile_in(c->load[0], c->out[k].sym) && tile_in(c->load[1], c->out[k].sym)))
            return false;
    return true;
}

/* How often is something read that `times` loops go through, where so much is in use meanwhile? */
static double reads(const Target *t, double in_use, double times) {
    double over = in_use / (0.9 * (double)t->l2_bytes) - 1;
    return 1 + (times - 1) * (over < 0 ? 0 : over > 1 ? 1 : over);
}

/* How many of the other outputs stand outside the blocks of vectors? Those inside, and what is left
 * of a factor under those outside, either stay in the cache together or are read again; a packed
 * factor lies in the order in which it is read. Where it makes little difference the first one
 * stands outside if not all fits in the cache: that is the order of memory. */
static int outside_of_v(const Contraction *c, const Target *t, const Scheme *s) {
    enum { FAR_APART = 2 };
    double a = bytes_of(c, c->load[1 - s->b]), b = bytes_of(c, c->load[s->b]);
    double again_b = 1, least = 1e300;
    double w = s->vectors * s->lanes, blocks = guess_long(&c->out[s->v]) / w, slab = b / blocks,
           part = a;
    int best = 0, n = 0;
    for (int k = 0; k <= c->n_out; k++) {
        if (k == s->v || k == s->u)
            continue;
        double traffic =
            b * reads(t, b + part, again_b) + FAR_APART * a * reads(t, part + slab, blocks);
        bool in_order = n == 1 && c->rows > 1 && a + b > (double)t->l2_bytes;
        if (traffic < (in_order ? 1.2 : 0.8) * least) {
            least = traffic < least ? traffic : least;
            best = n;
        }
        n++;
        if (k == c->n_out)
            break;
        double extent = guess(c, &c->out[k]);
        again_b *= tile_in(c->load[s->b], c->out[k].sym) ? 1 : extent;
        part /= tile_in(c->load[1 - s->b], c->out[k].sym) ? extent : 1;
    }
    return best;
}

/* So many values of a reduction that stands outside are taken together that a tile is busy for
 * longer than its sums take from memory and back. */
static int64_t chunk_of(const Contraction *c) {
    enum { BUSY = 400 };
    double inside = product(c, c->red + 1, c->n_red - 1);
    int64_t n = inside < BUSY ? (int64_t)(BUSY / inside) : 1, all = c->red[0].n;
    return all > 0 && n > all ? all : n < 1 ? 1 : n;
}

static void order(const Contraction *c, const Target *t, Scheme *s) {
    bool outside = hoists(c, t, s);
    s->n_items = s->n_inner = 0;
    int n = outside ? 0 : all_others_in_both(c, s) ? TILE_LOOPS : outside_of_v(c, t, s);
    add_others(c, s, 0, n);
    add_item(s, TILE_V_GROUPS, s->v);
    if (outside)
        add_item(s, TILE_RED, 0);
    add_others(c, s, n, TILE_LOOPS);
    add_item(s, TILE_U_BLOCKS, s->u);
    s->chunk = outside ? chunk_of(c) : 1;
    for (int k = outside && s->chunk == 1; k < c->n_red; k++)
        s->inner[s->n_inner++] = k;
}

static bool b_has(const Contraction *c, const Scheme *s, TileItem i) {
    if (i.kind == TILE_V_GROUPS)
        return true;
    if (i.kind == TILE_U_BLOCKS)
        return false;
    return tile_in(c->load[s->b], i.kind == TILE_RED ? c->red[i.at].sym : c->out[i.at].sym);
}

static bool a_has(const Contraction *c, const Scheme *s, TileItem i) {
    if (i.kind == TILE_V_GROUPS || i.kind == TILE_U_BLOCKS)
        return i.kind == TILE_U_BLOCKS;
    return tile_in(c->load[1 - s->b], i.kind == TILE_RED ? c->red[i.at].sym : c->out[i.at].sym);
}

static int item_of(const Scheme *s, TileKind kind) {
    for (int k = 0; k < s->n_items; k++)
        if (s->items[k].kind == kind)
            return k;
    return -1;
}

/* The sums of several rows of tiles go to the result together, as far as they stay in the cache. */
static void widen_sums(const Contraction *c, const Target *t, Scheme *s) {
    double bytes = (double)dtype_size(c->dt) * s->vectors * s->lanes * guess_long(&c->out[s->u]);
    while (s->place_out > 0 && s->items[s->place_out - 1].kind == TILE_OUT) {
        const TileLoop *l = &c->out[s->items[s->place_out - 1].at];
        bytes *= guess(c, l);
        if (l->n < 0 || bytes > 0.75 * (double)t->l1_bytes || s->job == s->place_out - 1)
            return;
        s->place_out--;
    }
}

static void places(const Contraction *c, const Target *t, Scheme *s) {
    s->place_b = 0;
    while (s->place_b < s->n_items && b_has(c, s, s->items[s->place_b]))
        s->place_b++;
    if (s->job >= s->place_b) /* every job would pack all of it */
        s->place_b = 0;
    int red = item_of(s, TILE_RED);
    int last = s->n_items - 1;
    s->place_a = 0;
    while (s->place_a < last && a_has(c, s, s->items[s->place_a]))
        s->place_a++;
    s->a_in_job = s->job == last || (s->place_a > 0 && s->job < s->place_a);
    if (!s->a_in_job)
        s->place_a = 0;
    if (s->partial && !s->split &&
        s->n_items == PARTIAL_ITEMS) /* a block meets all of the other factor */
        s->place_a = s->n_items;
    s->place_out = red >= 0 ? red : s->n_items - 1;
    if (red < 0 && !s->direct_out)
        widen_sums(c, t, s);
}

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

static int64_t blocks_of_v(const Contraction *c, const Scheme *s) {
    int64_t w = s->vectors * s->lanes;
    return c->out[s->v].n > 0 ? (c->out[s->v].n + w - 1) / w : -1;
}

static int64_t groups_of_v(const Contraction *c, const Scheme *s) {
    int64_t n = blocks_of_v(c, s);
    return n < 0 ? n : (n + s->group - 1) / s->group;
}

/* A block of rows stays in the first cache while it meets several blocks of vectors, which then
 * come from the second one: the other factor is gone through so many times less often, and rows of
 * the result are written in longer runs. */
static void choose_group(const Contraction *c, const Target *t, Scheme *s, int64_t least) {
    int64_t blocks = blocks_of_v(c, s), most = blocks / least;
    double bytes = (double)dtype_size(c->dt) * s->vectors * s->lanes;
    for (int k = 0; k < s->n_inner; k++)
        bytes *= k || s->chunk == 1 ? guess(c, &c->red[s->inner[k]]) : (double)s->chunk;
    s->group = 1;
    if (!s->direct_out)
        return;
    while ((blocks < 0 || s->group * 2 <= most) && s->group < 16 &&
           2 * s->group * bytes <= (double)t->l2_bytes / 4)
        s->group *= 2;
}

/* So many values a reduction has likely. */
static double likely(const Contraction *c, const TileLoop *l) {
    DimSym syms[32];
    DimBinding b[32];
    int n = dim_symbols(l->extent, syms, 32);
    int64_t v;
    for (int k = 0; k < n && k < 32; k++)
        b[k] = (DimBinding){syms[k], dim_const(c->ctx, (int64_t)c->rows)};
    Dim d = n <= 32 ? dim_subst(c->ctx, l->extent, b, n) : NULL;
    return d && dim_is_const(d, &v) ? (double)v : guess(c, l);
}

bool tile_plain_range(const TileLoop *l) {
    const LoopStmt *s = l->loop;
    return s->n_lo == 1 && s->n_hi == 1 && s->lo[0] == l->lo && s->hi[0] == l->hi;
}

/* A tile goes through its block of the other factor once for each block of vectors: what it sums at
 * a time fits into the first cache together with what streams past it. The result is read and
 * written once more for each further part. */
static void split(const Contraction *c, const Target *t, Scheme *s) {
    enum { SOME = 256 }; /* values of an extent that is not known: there are chunks for all jobs */
    const TileLoop *first = &c->red[0];
    if (!s->direct_out || item_of(s, TILE_RED) >= 0 || s->n_items < 2 ||
        s->items[s->n_items - 2].kind != TILE_V_GROUPS || !tile_plain_range(first) ||
        (first->n > 0 && !s->pack_a))
        return;
    double step = (double)dtype_size(c->dt) * s->rows * product(c, c->red + 1, c->n_red - 1);
    int64_t most = (int64_t)(0.85 * (double)t->l1_bytes / step),
            chunk = most < 2 * SOME ? most / 2 : SOME;
    if (most < 2 * s->lanes || likely(c, first) <= (double)(first->n > 0 ? 2 * most : most))
        return;
    if (first->n > 0) { /* parts of the same size */
        int64_t parts = (first->n + most - 1) / most;
        chunk = (first->n + parts - 1) / parts;
    }
    s->chunk = (chunk + s->lanes - 1) / s->lanes * s->lanes;
    s->split = true;
    s->items[s->n_items] = s->items[s->n_items - 1];
    s->items[s->n_items - 1] = s->items[s->n_items - 2];
    s->items[s->n_items - 2] = (TileItem){TILE_RED, 0};
    s->n_items++;
}

/* Number of blocks of an item; -1: not a constant. */
static int64_t item_blocks(const Contraction *c, const Scheme *s, int k) {
    const TileLoop *l = &c->out[s->items[k].at];
    if (s->items[k].kind == TILE_V_GROUPS)
        return groups_of_v(c, s);
    if (s->items[k].kind == TILE_U_BLOCKS)
        return l->n > 0 ? (l->n + s->rows - 1) / s->rows : -1;
    return l->n;
}

Dim tile_rows(const Contraction *c, const Scheme *s) {
    const TileLoop *l = s->partial ? &c->red[s->items[0].at] : &c->out[s->items[0].at];
    bool rows = s->partial ? !s->split : s->items[0].kind == TILE_OUT;
    return rows && l->n < 0 && c->f->groups > 1 ? l->extent : NULL;
}

static void divide(const Contraction *c, Scheme *s, double work) {
    int groups = c->f->groups;
    s->job = -1;
    s->jobs = 1;
    if (groups < 2 || work < LEAST_JOB_WORK)
        return;
    int64_t best = 1;
    int64_t n_v = item_blocks(c, s, 0);
    if (s->items[0].kind == TILE_V_GROUPS && s->n_items > 2 && (n_v >= 2 || n_v < 0)) {
        s->job = 0;
        best = n_v;
    } else if (item_of(s, TILE_RED) < 0 || s->split) {
        for (int k = 0; k < s->n_items; k++) {
            bool even = s->direct_out || (c->out[s->u].n > 0 && c->out[s->u].n % s->rows == 0);
            if (s->items[k].kind == TILE_RED ||
                (s->items[k].kind == TILE_V_GROUPS && k == (s->split ? 1 : 0)) ||
                (s->items[k].kind == TILE_U_BLOCKS && s->job >= 0 && !even))
                continue;
            int64_t n = item_blocks(c, s, k);
            if (s->job < 0 ? n != 1
                           : (best > 0 && best < LEAST_GROUPS && n > best) ||
                                 (best < 0 && n >= LEAST_GROUPS)) {
                s->job = k;
                best = n;
            }
        }
    }
    s->jobs = s->job < 0 ? 1 : best > 0 && best < groups ? (int)best : groups;
    if (c->rows > 1 &&
        tile_rows(c, s)) { /* else each job would go through all of the other factor */
        s->job = 0;
        s->jobs = groups;
    }
}

static bool may_have_partial_sums(const Contraction *c) {
    return c->f->groups >= 2 && c->rows > 1 && !c->n_post && !c->spread &&
           c->init->kind == LOOP_CONST && c->init->k.f == 0 && c->n_out + 1 <= MAX_RANK;
}

/* A sum of many terms that goes by chunks, to few cells: jobs take some chunks each. Neither factor
 * is then read by two of them. A cell of each job's sums is filled, added and read once more. */
static void divide_sum(const Contraction *c, const Target *t, Scheme *s) {
    enum { PART = 4, TERMS = 48 }; /* of the second cache; terms of a sum for each job, at least */
    double cells = 1, terms = likely(c, &c->red[0]) * product(c, c->red + 1, c->n_red - 1);
    if (s->partial || !s->split || s->items[0].kind != TILE_RED || !may_have_partial_sums(c))
        return;
    for (int k = 0; k < c->n_out; k++)
        cells *= c->out[k].n > 0 ? (double)c->out[k].n : 1e30;
    if (cells * (double)dtype_size(c->dt) * PART > (double)t->l2_bytes ||
        terms < TERMS * (double)c->f->groups)
        return;
    s->partial = true;
    s->job = 0;
    s->jobs = c->f->groups;
}

/* A sum over images, both factors of which leave the cache: jobs take some images each, and have
 * sums of their own that are added in order. Each image is then read once, and what is packed of it
 * stays in the cache. Worth it where the sums are few beside the products of an image. */
static void divide_images(const Contraction *c, const Target *t, Scheme *s) {
    enum { CYCLES = 2, LITTLE = 16 }; /* for a sum of a job, and a share of its products */
    const TileLoop *images = &c->red[0];
    double sums = CYCLES, groups = c->f->groups;
    if (!may_have_partial_sums(c) || item_of(s, TILE_RED) < 0 || s->split || !s->pack_a ||
        (images->n > 0 && images->n < groups))
        return;
    for (int k = 0; k < c->n_out; k++) {
        if (c->out[k].n < 0)
            return;
        sums *= (double)c->out[k].n;
    }
    double cycles = product(c, c->red, c->n_red) * sums / CYCLES / (2.0 * s->lanes);
    double b = bytes_of(c, c->load[s->b]) / guess(c, images);
    if (sums * groups * LITTLE > cycles || b > 0.8 * (double)t->l2_bytes || blocks_of_v(c, s) < 2 ||
        bytes_of(c, c->load[1 - s->b]) < (double)t->l2_bytes)
        return;
    s->partial = s->direct_out = true;
    s->n_items = s->n_inner = 0;
    add_item(s, TILE_RED, 0);
    add_item(s, TILE_V_GROUPS, s->v);
    add_others(c, s, 0, TILE_LOOPS);
    add_item(s, TILE_U_BLOCKS, s->u);
    for (int k = 1; k < c->n_red; k++)
        s->inner[s->n_inner++] = k;
    s->chunk = 1;
    s->group = (int)blocks_of_v(c, s);
    s->job = 0;
    s->jobs = c->f->groups;
}

/* ---- candidates */

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
        return guess_long(u) / s->rows * tile_step_cost(c, vectors, s->rows) +
               LATENCY * s->rows / 4.0;
    double cost = (double)(u->n / s->rows) * tile_step_cost(c, vectors, s->rows);
    int left = (int)(u->n % s->rows);
    return left ? cost + tile_step_cost(c, vectors, left) : cost;
}

/* Cycles of all tiles for one step of the sum. */
static double tile_cost(const Contraction *c, const Scheme *s) {
    int w = s->vectors * s->lanes, last = tile_last_vectors(c, s);
    double blocks = (double)(((int64_t)guess_long(&c->out[s->v]) + w - 1) / w);
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
            n /= of_tile ? guess_long(&c->out[k]) : guess(c, &c->out[k]);
    }
    for (int k = 0; k < c->n_red; k++)
        n /= tile_in(factor, c->red[k].sym) ? 1 : guess(c, &c->red[k]);
    return n;
}

static double packing_cost(const Contraction *c, const Target *t, const Scheme *s) {
    const LoopStmt *b = c->load[s->b];
    int64_t coef;
    bool contiguous = tile_axis(c, b, c->out[s->v].sym, &coef) == b->rank - 1 && coef == 1;
    double turned = bytes_of(c, b) > (double)t->l2_bytes ? 1.0 : 0.5; /* cycles for an element */
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
        known = known && (k == s->u || !tile_in(a, c->out[k].sym) || all_others_in_both(c, s) ||
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
            order(c, t, &s);
            s.cost = tile_cost(c, &s) / (guess_long(&c->out[s.u]) * guess_long(&c->out[s.v]));
            s.cost += packing_cost(c, t, &s);
            if (c->out[s.v].n < 0)
                s.cost *= 2; /* it may be short */
            consider_a(c, t, &s);
            if (s.items[0].kind == TILE_V_GROUPS && s.n_items > 2 && blocks_of_v(c, &s) == 1)
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

/* Vectors that were packed long before and do not stay in the first cache come from behind the
 * second one: their order is known, so they are fetched before a step needs them. */
static int64_t ahead_of(const Contraction *c, const Target *t, const Scheme *s) {
    enum { AHEAD = 2048, NEAR = 1024 };
    if (s->by_columns) /* from the second cache to the first one */
        return NEAR / (int64_t)dtype_size(c->dt);
    double bytes = (double)dtype_size(c->dt) * s->vectors * s->lanes;
    for (int k = 0; k < s->n_inner; k++)
        bytes *= k || s->chunk == 1 ? guess(c, &c->red[s->inner[k]]) : (double)s->chunk;
    return s->place_b == 0 && bytes > (double)t->l1_bytes / 2 ? AHEAD / (int64_t)dtype_size(c->dt)
                                                              : 0;
}

bool tile_choose(const Contraction *c, const Target *t, Scheme *best) {
    double work = product(c, c->red, c->n_red);
    for (int k = 0; k < c->n_out; k++)
        work *= guess_long(&c->out[k]);
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
    if (best->by_columns) {
        tile_columns(c, t, best);
        places(c, t, best);
        best->ahead = ahead_of(c, t, best);
        return true;
    }
    split(c, t, best);
    choose_group(c, t, best, 1);
    divide(c, best, work);
    if (best->job >= 0 && best->items[best->job].kind == TILE_V_GROUPS) { /* they are the jobs */
        bool large = bytes_of(c, c->load[1 - best->b]) > (double)t->l2_bytes;
        choose_group(c, t, best, large ? 2 : LEAST_GROUPS);
        divide(c, best, work);
    }
    divide_images(c, t, best);
    divide_sum(c, t, best);
    places(c, t, best);
    best->ahead = ahead_of(c, t, best);
    return true;
}
