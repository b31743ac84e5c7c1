/* tile: the loops around the tiles of a contraction: their order, which of them are divided into
 * jobs, at which of them a factor is packed and the sums are begun.
 *
 * A candidate gets an order by what it would read from memory (tile_order). What has been chosen
 * gets the rest (tile_arrange): chunks of a long sum, groups of blocks of vectors that a block of
 * rows meets in the first cache, jobs or partial sums of jobs, and the places. */
#include "passes/tile_priv.h"

enum {
    LONG = 256,
    LEAST_GROUPS = 4,
    LEAST_JOB_WORK = 1 << 18,
    PARTIAL_ITEMS = 3 /* the images, all blocks of vectors, the rows */
};

double tile_guess(const Contraction *c, const TileLoop *l) {
    return l->n > 0 ? (double)l->n : c->rows;
}

/* Of an output that takes the vectors or the rows of tiles: as in a product of large matrices. */
double tile_guess_long(const TileLoop *l) { return l->n > 0 ? (double)l->n : LONG; }

double tile_product(const Contraction *c, const TileLoop *l, int n) {
    double p = 1;
    for (int k = 0; k < n; k++)
        p *= tile_guess(c, &l[k]);
    return p;
}

/* ---- the order of a candidate */

/* Bytes of the memory that a factor is read from. */
double tile_bytes_of(const Contraction *c, const LoopStmt *factor) {
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
    if (tile_product(c, c->red + 1, c->n_red - 1) < ENOUGH)
        return false;
    double slab =
        (double)dtype_size(c->dt) * s->vectors * s->lanes * tile_product(c, c->red, c->n_red);
    return first->n < 0 || slab > (double)t->l2_bytes / 4;
}

bool tile_others_in_both(const Contraction *c, const Scheme *s) {
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
    double a = tile_bytes_of(c, c->load[1 - s->b]), b = tile_bytes_of(c, c->load[s->b]);
    double again_b = 1, least = 1e300;
    double w = s->vectors * s->lanes, blocks = tile_guess_long(&c->out[s->v]) / w,
           slab = b / blocks, part = a;
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
        double extent = tile_guess(c, &c->out[k]);
        again_b *= tile_in(c->load[s->b], c->out[k].sym) ? 1 : extent;
        part /= tile_in(c->load[1 - s->b], c->out[k].sym) ? extent : 1;
    }
    return best;
}

/* So many values of a reduction that stands outside are taken together that a tile is busy for
 * longer than its sums take from memory and back. */
static int64_t chunk_of(const Contraction *c) {
    enum { BUSY = 400 };
    double inside = tile_product(c, c->red + 1, c->n_red - 1);
    int64_t n = inside < BUSY ? (int64_t)(BUSY / inside) : 1, all = c->red[0].n;
    return all > 0 && n > all ? all : n < 1 ? 1 : n;
}

void tile_order(const Contraction *c, const Target *t, Scheme *s) {
    bool outside = hoists(c, t, s);
    s->n_items = s->n_inner = 0;
    int n = outside ? 0 : tile_others_in_both(c, s) ? TILE_LOOPS : outside_of_v(c, t, s);
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
    double bytes =
        (double)dtype_size(c->dt) * s->vectors * s->lanes * tile_guess_long(&c->out[s->u]);
    while (s->place_out > 0 && s->items[s->place_out - 1].kind == TILE_OUT) {
        const TileLoop *l = &c->out[s->items[s->place_out - 1].at];
        bytes *= tile_guess(c, l);
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

int64_t tile_blocks_of_v(const Contraction *c, const Scheme *s) {
    int64_t w = s->vectors * s->lanes;
    return c->out[s->v].n > 0 ? (c->out[s->v].n + w - 1) / w : -1;
}

static int64_t groups_of_v(const Contraction *c, const Scheme *s) {
    int64_t n = tile_blocks_of_v(c, s);
    return n < 0 ? n : (n + s->group - 1) / s->group;
}

/* A block of rows stays in the first cache while it meets several blocks of vectors, which then
 * come from the second one: the other factor is gone through so many times less often, and rows of
 * the result are written in longer runs. */
static void choose_group(const Contraction *c, const Target *t, Scheme *s, int64_t least) {
    int64_t blocks = tile_blocks_of_v(c, s), most = blocks / least;
    double bytes = (double)dtype_size(c->dt) * s->vectors * s->lanes;
    for (int k = 0; k < s->n_inner; k++)
        bytes *= k || s->chunk == 1 ? tile_guess(c, &c->red[s->inner[k]]) : (double)s->chunk;
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
    return d && dim_is_const(d, &v) ? (double)v : tile_guess(c, l);
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
    double step = (double)dtype_size(c->dt) * s->rows * tile_product(c, c->red + 1, c->n_red - 1);
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
    double cells = 1, terms = likely(c, &c->red[0]) * tile_product(c, c->red + 1, c->n_red - 1);
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
    double cycles = tile_product(c, c->red, c->n_red) * sums / CYCLES / (2.0 * s->lanes);
    double b = tile_bytes_of(c, c->load[s->b]) / tile_guess(c, images);
    if (sums * groups * LITTLE > cycles || b > 0.8 * (double)t->l2_bytes ||
        tile_blocks_of_v(c, s) < 2 || tile_bytes_of(c, c->load[1 - s->b]) < (double)t->l2_bytes)
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
    s->group = (int)tile_blocks_of_v(c, s);
    s->job = 0;
    s->jobs = c->f->groups;
}

/* Vectors that were packed long before and do not stay in the first cache come from behind the
 * second one: their order is known, so they are fetched before a step needs them. */
static int64_t ahead_of(const Contraction *c, const Target *t, const Scheme *s) {
    enum { AHEAD = 2048, NEAR = 1024 };
    if (s->by_columns) /* from the second cache to the first one */
        return NEAR / (int64_t)dtype_size(c->dt);
    double bytes = (double)dtype_size(c->dt) * s->vectors * s->lanes;
    for (int k = 0; k < s->n_inner; k++)
        bytes *= k || s->chunk == 1 ? tile_guess(c, &c->red[s->inner[k]]) : (double)s->chunk;
    return s->place_b == 0 && bytes > (double)t->l1_bytes / 2 ? AHEAD / (int64_t)dtype_size(c->dt)
                                                              : 0;
}

/* ---- what has been chosen */

void tile_arrange(const Contraction *c, const Target *t, Scheme *s, double work) {
    if (s->by_columns) {
        tile_columns(c, t, s);
        places(c, t, s);
        s->ahead = ahead_of(c, t, s);
        return;
    }
    split(c, t, s);
    choose_group(c, t, s, 1);
    divide(c, s, work);
    if (s->job >= 0 && s->items[s->job].kind == TILE_V_GROUPS) { /* they are the jobs */
        bool large = tile_bytes_of(c, c->load[1 - s->b]) > (double)t->l2_bytes;
        choose_group(c, t, s, large ? 2 : LEAST_GROUPS);
        divide(c, s, work);
    }
    divide_images(c, t, s);
    divide_sum(c, t, s);
    places(c, t, s);
    s->ahead = ahead_of(c, t, s);
}
