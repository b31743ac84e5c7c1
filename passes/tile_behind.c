/* tile: what is walked over sparsely is copied behind the tiles.
 *
 * A copy waits for memory, and the tiles that follow it wait for nothing but the multiply-adds. So
 * the tiles of one part of the factor copy the next part: there are two dense buffers, read and
 * written in turn,
 *
 *   for n { for vg { for ub, vb {
 *     for cc { for c in 8*cc .. 8*cc + 8 { a step, from x.d[q % 2] }
 *              a row of the part behind this one: to x.d[(q + 1) % 2] } } } }     q = n*parts + vg
 *
 * and each row is fetched a while before. A part is an image, or so many of its rows as are whole
 * vectors; the tiles read the rows where they are copied to. Only the first part of a job is copied
 * before its tiles. Those of its last part copy what the next job begins with, which is thereby
 * fetched. */
#include "passes/tile_emit.h"

enum { ITEMS = 3, FEWEST_STEPS = 8, MOST_ROWS = 4, AHEAD = 16 };

static bool is_index(const TileLoop *l, Dim sub, DimSym sym) {
    return l && l->n > 0 && l->first == 0 && dim_as_symbol(sub) == sym;
}

/* x.d[n, other axes..., v] with v = the last two axes of the copy. */
static bool shape_fits(const Contraction *c, const DenseCopy *d, const LoopStmt *l, DimSym v) {
    const TileLoop *rows = &d->loops[d->rank - 2], *row = rows + 1, *of = tile_loop_of(c, v);
    if (l->rank < 3 || d->rank != l->rank + 1 || !dim_as_symbol(l->subs[0]) ||
        !is_index(of, l->subs[l->rank - 1], v) || rows->n <= 0 || row->n <= 0 || rows->first ||
        row->first || of->n != rows->n * row->n)
        return false;
    for (int a = 1; a < l->rank - 1; a++) {
        DimSym x = dim_as_symbol(l->subs[a]);
        const TileLoop *other = x ? tile_loop_of(c, x) : NULL;
        if (!other || !is_index(other, l->subs[a], x) || d->loops[a].n != other->n ||
            d->loops[a].first)
            return false;
    }
    if (d->result)
        return tile_dense_apart(c, d, l) == d->axis && tile_dense_by_rows(c, d);
    return tile_dense_apart(c, d, l) >= 1 && tile_dense_vectors(c->ctx, d) > 0;
}

/* Images outside, then blocks of vectors and of rows, and one sum of a constant range inside. */
static bool order_fits(const Contraction *c, const Scheme *s, const LoopStmt *l) {
    const TileLoop *u = &c->out[s->u], *v = &c->out[s->v];
    if (s->n_items != ITEMS || s->items[0].kind != TILE_OUT || s->items[1].kind != TILE_V_GROUPS ||
        s->items[2].kind != TILE_U_BLOCKS || s->job > 0 || s->split || s->chunk > 1 || s->partial ||
        s->in_place || !s->direct_out || s->n_inner != 1 || c->few || c->n_post || u->n <= 0 ||
        v->n <= 0)
        return false;
    const TileLoop *red = &c->red[s->inner[0]];
    const LoopStmt *loop = red->loop;
    return red->n > 0 && red->n % FEWEST_STEPS == 0 && loop->n_lo == 1 && loop->n_hi == 1 &&
           red->first == 0 && dim_as_symbol(l->subs[0]) == c->out[s->items[0].at].sym &&
           dim_is_zero(c->out[s->items[0].at].lo);
}

static int64_t gcd(int64_t a, int64_t b) { return b ? gcd(b, a % b) : a; }

static int64_t blocks_of(const Contraction *c, const Scheme *s) {
    int64_t width = (int64_t)s->vectors * s->lanes;
    return (c->out[s->v].n + width - 1) / width;
}

static int64_t blocks_of_u(const Contraction *c, const Scheme *s) {
    return (c->out[s->u].n + s->rows - 1) / s->rows;
}

/* Parts of whole rows and whole blocks of vectors, two of which take a part of the cache. False:
 * there are none. */
static bool divide(const Contraction *c, const Target *t, const DenseCopy *d, Scheme *s,
                   Behind *y) {
    int64_t row = d->loops[d->rank - 1].n, width = (int64_t)s->vectors * s->lanes, others = 1,
            blocks = blocks_of(c, s), least = row / gcd(row, width),
            group = s->group < least ? least : s->group / least * least;
    for (int a = 1; a < d->rank - 2; a++)
        others *= d->loops[a].n;
    int64_t cell = 2 * others * (int64_t)dtype_size(c->dt), most = t->l2_bytes / 2 / cell;
    while (group > least && group * width > most)
        group -= least;
    y->parts = group < blocks ? (blocks + group - 1) / group : 1;
    y->rows = group < blocks ? group * width / row : d->loops[d->rank - 2].n;
    y->pitch = (y->rows * row + s->lanes - 1) / s->lanes * s->lanes;
    s->group = (int)(group < blocks ? group : blocks);
    y->n_rows = y->rows * others;
    return y->pitch <= most;
}

/* How many steps are made between two copies, and how many rows are copied then? */
static bool set_pace(const Contraction *c, const Scheme *s, Behind *y) {
    int64_t steps = c->red[s->inner[0]].n, of_u = blocks_of_u(c, s), tiles = s->group * of_u,
            last = (blocks_of(c, s) - (y->parts - 1) * s->group) * of_u;
    y->steps = FEWEST_STEPS;
    while (steps % (2 * y->steps) == 0 && tiles * (steps / (2 * y->steps)) >= y->n_rows)
        y->steps *= 2;
    int64_t times = steps / y->steps;
    y->each = (y->n_rows + tiles * times - 1) / (tiles * times);
    y->each_last = (y->n_rows + last * times - 1) / (last * times);
    return y->each <= MOST_ROWS && y->each_last <= MOST_ROWS;
}

/* x.d[n, u, v] with v = the last two axes of the copy, all of which is summed. */
static bool blocks_fit(const Contraction *c, const Scheme *s, const DenseCopy *d) {
    const TileLoop *u = &c->out[s->u], *images = &c->red[s->items[0].at];
    const LoopStmt *l = c->load[1 - s->b];
    if (!d || c->copy[s->b] || c->spread || c->few || !s->partial || s->split || s->chunk > 1 ||
        s->n_items != ITEMS || s->place_a != ITEMS || s->items[0].kind != TILE_RED ||
        s->group < blocks_of(c, s) || s->n_inner != 1 || d->result || d->rank != 4 ||
        l->rank != 3 || u->n <= 0 || c->out[s->v].n <= 0)
        return false;
    const TileLoop *red = &c->red[s->inner[0]];
    return dim_as_symbol(l->subs[0]) == images->sym && dim_is_zero(images->lo) &&
           is_index(u, l->subs[1], u->sym) && d->loops[1].n == u->n &&
           is_index(red, l->subs[2], red->sym) && tile_plain_range(red) &&
           red->n % FEWEST_STEPS == 0 && red->n == d->loops[2].n * d->loops[3].n &&
           tile_dense_apart(c, d, l) >= 2 && tile_dense_vectors(c->ctx, d) > 0;
}

static bool choose_blocks(const Contraction *c, const Scheme *s, Behind *y) {
    const DenseCopy *d = c->copy[1 - s->b];
    if (!blocks_fit(c, s, d))
        return false;
    int64_t steps = c->red[s->inner[0]].n, tiles = blocks_of(c, s);
    *y = (Behind){.blocks = true, .steps = FEWEST_STEPS, .pitch = steps};
    y->parts = blocks_of_u(c, s);
    y->rows = d->loops[2].n;
    y->n_rows = s->rows * y->rows;
    while (steps % (2 * y->steps) == 0 && tiles * (steps / (2 * y->steps)) >= y->n_rows)
        y->steps *= 2;
    int64_t times = tiles * (steps / y->steps);
    y->each = y->each_last = (y->n_rows + times - 1) / times;
    y->d = y->each <= MOST_ROWS ? d : NULL;
    return y->d != NULL;
}

bool tile_behind_choose(const Contraction *c, const Target *t, Scheme *s, Behind *y) {
    const DenseCopy *d = c->spread ? c->spread : c->copy[s->b];
    const LoopStmt *l = c->spread ? c->store : c->load[s->b];
    Scheme to = *s;
    if (choose_blocks(c, s, y))
        return true;
    *y = (Behind){0};
    if (!d || c->copy[1 - s->b] || (c->spread && c->copy[s->b]) || !order_fits(c, s, l) ||
        !shape_fits(c, d, l, c->out[s->v].sym) || !divide(c, t, d, &to, y) || !set_pace(c, &to, y))
        return false;
    y->d = d;
    *s = to;
    if (!d->result) {
        s->in_place = true;
        s->place_b = -1;
    }
    return true;
}

/* Parts are counted on from image to image. */
static Dim number(const TileEmit *e, Dim n, Dim part) {
    return dim_add(e->c->ctx, dim_scale(e->c->ctx, n, e->behind.parts), part);
}

static Dim part_of(const TileEmit *e) {
    return e->behind.parts > 1 ? dim_of(e->c->ctx, e->vg) : dim_const(e->c->ctx, 0);
}

/* 1 in the last part of an image, else 0. */
static Dim is_last(const TileEmit *e) {
    Ctx *ctx = e->c->ctx;
    return dim_floordiv(ctx, dim_addk(ctx, part_of(e), 1), dim_const(ctx, e->behind.parts));
}

/* The nest's access to the other factor, where its block is copied to. */
static const LoopStmt *use_block(TileEmit *e, const LoopStmt *l) {
    Behind *y = &e->behind;
    Ctx *ctx = e->c->ctx;
    Dim shape[2] = {dim_const(ctx, e->s->rows), dim_const(ctx, y->pitch)},
        *subs = ARENA_ARRAY(e->c->arena, Dim, 2);
    subs[0] = dim_sub(ctx, l->subs[1], dim_scale(ctx, dim_of(ctx, e->ub), e->s->rows));
    subs[1] = l->subs[2];
    y->ring = tile_buffer(e, loop_bufp(e->c->f, y->d->dense)->name, 2, shape, true);
    LoopStmt *s = arena_dup(e->c->arena, l, sizeof *s);
    s->buf = y->ring;
    s->subs = subs;
    s->rank = 2;
    s->lane_axis = 1;
    return s;
}

/* The nest's access, where the tiles read the factor or write the sums. */
const LoopStmt *tile_behind_use(TileEmit *e, const LoopStmt *l) {
    Behind *y = &e->behind;
    if (y->blocks)
        return use_block(e, l);
    const Contraction *c = e->c;
    Ctx *ctx = c->ctx;
    Dim shape[MAX_RANK + 1], *subs = ARENA_ARRAY(c->arena, Dim, l->rank);
    shape[0] = dim_const(ctx, 2);
    subs[0] = dim_mod(ctx, number(e, l->subs[0], part_of(e)), dim_const(ctx, 2));
    for (int a = 1; a < l->rank - 1; a++) {
        shape[a] = y->d->loops[a].extent;
        subs[a] = l->subs[a];
    }
    int64_t cells = y->parts > 1 ? y->pitch : 0;
    shape[l->rank - 1] = dim_const(ctx, y->pitch);
    subs[l->rank - 1] = dim_sub(ctx, l->subs[l->rank - 1], dim_scale(ctx, part_of(e), cells));
    y->ring = tile_buffer(e, loop_bufp(c->f, y->d->dense)->name, l->rank, shape, true);
    LoopStmt *s = arena_dup(c->arena, l, sizeof *s);
    s->buf = y->ring;
    s->subs = subs;
    s->lane_axis = s->rank - 1;
    return s;
}

/* The row of a block: row % rows of its value row // rows. */
static void copy_block_row(TileEmit *e, DimSym image, Dim block, DimSym row) {
    const Behind *y = &e->behind;
    Ctx *ctx = e->c->ctx;
    Dim rows = dim_const(ctx, y->rows), value = dim_floordiv(ctx, dim_of(ctx, row), rows),
        in = dim_mod(ctx, dim_of(ctx, row), rows);
    Dim known[3] = {dim_of(ctx, image), dim_add(ctx, dim_scale(ctx, block, e->s->rows), value), in};
    Dim place[2] = {value, dim_scale(ctx, in, y->d->loops[3].n)};
    tile_dense_row(&e->cur, y->d, known, y->ring, place, 2, (AHEAD + y->rows - 1) / y->rows);
}

/* The row `at` of a part, at an image and values of the other axes: row % rows, row // rows. */
static void copy_row(TileEmit *e, DimSym image, Dim part, DimSym row, DimSym in) {
    const Behind *y = &e->behind;
    const DenseCopy *d = y->d;
    Ctx *ctx = e->c->ctx;
    Dim known[MAX_RANK], place[MAX_RANK], rows = dim_const(ctx, y->rows),
                                          others = dim_floordiv(ctx, dim_of(ctx, row), rows);
    int64_t ahead = (AHEAD + y->rows - 1) / y->rows;
    known[0] = dim_of(ctx, image);
    place[0] = dim_mod(ctx, number(e, known[0], part), dim_const(ctx, 2));
    for (int a = d->rank - 3; a > 0; a--) {
        place[a] = known[a] = a > 1 ? dim_mod(ctx, others, d->loops[a].extent) : others;
        others = dim_floordiv(ctx, others, d->loops[a].extent);
    }
    known[d->rank - 2] = dim_of(ctx, in);
    place[d->rank - 2] =
        dim_scale(ctx, dim_mod(ctx, dim_of(ctx, row), rows), d->loops[d->rank - 1].n);
    if (d->result) {
        DimSym other = tile_fresh(e, d->loops[d->rank - 2].sym->name);
        tile_dense_spread_row(&e->cur, d, known, y->ring, place, other, ahead);
        e->n_names--;
    } else {
        tile_dense_row(&e->cur, d, known, y->ring, place, d->rank - 1, ahead);
    }
}

/* Images and rows lo .. hi of a part: at most one image. */
typedef struct Rows {
    Dim n_lo[2], n_hi[2], part, lo, hi[3];
} Rows;

static void copy_rows(TileEmit *e, const Rows *r) {
    const Behind *y = &e->behind;
    const DenseCopy *d = y->d;
    Ctx *ctx = e->c->ctx;
    LoopBody *outer = e->cur.at;
    DimSym image = tile_fresh(e, d->loops[0].sym->name), row = tile_fresh(e, "row"),
           in = tile_fresh(e, d->loops[d->rank - 2].sym->name);
    LoopStmt *over_n = loop_for(&e->cur, image, r->n_lo, r->n_lo[1] ? 2 : 1, r->n_hi,
                                r->n_hi[1] ? 2 : 1, 1, NULL, 0);
    LoopBody *in_n = e->cur.at;
    int n_hi = r->hi[1] ? r->hi[2] ? 3 : 2 : 1;
    LoopStmt *over_rows = loop_for(&e->cur, row, &r->lo, 1, r->hi, n_hi, 1, NULL, 0);
    LoopBody *in_rows = e->cur.at;
    if (y->blocks) {
        copy_block_row(e, image, r->part, row);
        loop_end(&e->cur, over_rows, in_n, NULL);
        loop_end(&e->cur, over_n, outer, NULL);
        e->n_names -= 3;
        return;
    }
    Dim at = dim_mod(ctx, dim_of(ctx, row), dim_const(ctx, y->rows)),
        first = dim_add(ctx, dim_scale(ctx, r->part, y->rows), at);
    Dim past[2] = {dim_addk(ctx, first, 1), d->loops[d->rank - 2].extent};
    bool all = d->loops[d->rank - 2].n % y->rows == 0;
    LoopStmt *over = loop_for(&e->cur, in, &first, 1, past, all ? 1 : 2, 1, NULL, 0);
    copy_row(e, image, r->part, row, in);
    loop_end(&e->cur, over, in_rows, NULL);
    loop_end(&e->cur, over_rows, in_n, NULL);
    loop_end(&e->cur, over_n, outer, NULL);
    e->n_names -= 3;
}

void tile_behind_around(TileEmit *e, bool before) {
    const Behind *y = &e->behind;
    Ctx *ctx = e->c->ctx;
    Dim lo, end, zero = dim_const(ctx, 0);
    int at = e->cur.at->stmts.n;
    if (!y->d || before == y->d->result)
        return;
    tile_item_range(e, 0, &lo, &end);
    Rows r = {.part = zero, .lo = zero, .hi = {dim_const(ctx, y->n_rows)}};
    if (before) {
        r.n_lo[0] = lo;
        r.n_hi[0] = dim_addk(ctx, lo, 1);
        r.n_hi[1] = end;
    } else {
        r.n_lo[0] = dim_addk(ctx, end, -1);
        r.n_lo[1] = lo;
        r.n_hi[0] = end;
        r.part = dim_const(ctx, y->parts - 1);
    }
    copy_rows(e, &r);
    e->cur.at->stmts.p[at]->name = tile_name(e);
}

/* What is x in all parts but the last, and y there. */
static Dim by_part(const TileEmit *e, int64_t x, int64_t y) {
    Ctx *ctx = e->c->ctx;
    return e->behind.parts > 1 ? dim_addk(ctx, dim_scale(ctx, is_last(e), y - x), x)
                               : dim_const(ctx, y);
}

/* The part behind this one, of an image if there is one; of a result the part before, of the job's
 * images. */
static void neighbour(const TileEmit *e, Rows *r) {
    const Behind *y = &e->behind;
    Ctx *ctx = e->c->ctx;
    const TileLoop *images = &e->c->out[e->s->items[0].at];
    Dim n = dim_of(ctx, images->sym), parts = dim_const(ctx, y->parts);
    if (y->d->result) {
        Dim end, later = dim_floordiv(ctx, dim_addk(ctx, part_of(e), y->parts - 1), parts);
        tile_item_range(e, 0, &r->n_lo[1], &end);
        r->n_hi[0] = dim_add(ctx, n, later);
        r->n_lo[0] = dim_addk(ctx, r->n_hi[0], -1);
        r->part = dim_addk(ctx, part_of(e), y->parts - 1);
        r->part = dim_sub(ctx, r->part, dim_scale(ctx, later, y->parts));
    } else {
        Dim last = is_last(e);
        r->n_lo[0] = dim_add(ctx, n, last);
        r->n_hi[0] = dim_addk(ctx, r->n_lo[0], 1);
        r->n_hi[1] = images->hi;
        r->part = dim_sub(ctx, dim_addk(ctx, part_of(e), 1), dim_scale(ctx, last, y->parts));
    }
}

/* The block behind this one, of the next image behind the last one. */
static void next_block(const TileEmit *e, Rows *r) {
    const Behind *y = &e->behind;
    Ctx *ctx = e->c->ctx;
    const TileLoop *images = &e->c->red[e->s->items[0].at];
    Dim next = dim_addk(ctx, dim_of(ctx, e->ub), 1),
        last = dim_floordiv(ctx, next, dim_const(ctx, y->parts));
    *r = (Rows){.part = dim_sub(ctx, next, dim_scale(ctx, last, y->parts))};
    r->n_lo[0] = dim_add(ctx, dim_of(ctx, images->sym), last);
    r->n_hi[0] = dim_addk(ctx, r->n_lo[0], 1);
    r->n_hi[1] = images->hi;
}

static void block_rows(TileEmit *e, Dim time) {
    const Behind *y = &e->behind;
    const Scheme *s = e->s;
    Ctx *ctx = e->c->ctx;
    int64_t times = e->c->red[s->inner[0]].n / y->steps, values = e->c->out[s->u].n;
    Rows r;
    next_block(e, &r);
    Dim at = dim_add(ctx, dim_scale(ctx, dim_of(ctx, e->vb), times), time);
    r.lo = dim_scale(ctx, at, y->each);
    r.hi[0] = dim_addk(ctx, r.lo, y->each);
    r.hi[1] = dim_const(ctx, y->n_rows);
    if (values % s->rows)
        r.hi[2] = dim_scale(ctx, dim_addk(ctx, dim_scale(ctx, r.part, -s->rows), values), y->rows);
    copy_rows(e, &r);
}

/* The tiles go on while a line is fetched, but not while a page is looked up, and what is copied
 * behind them begins one now and then. Those of the next block are looked up beside each other. */
void tile_behind_pages(TileEmit *e) {
    enum { PAGE = 4096 };
    const DenseCopy *d = e->behind.d;
    Ctx *ctx = e->c->ctx;
    int64_t all, page = PAGE / (int64_t)dtype_size(e->c->dt), value = 1, size;
    if (!d || !e->behind.blocks || dim_as_symbol(d->subs[0]) != d->loops[0].sym ||
        dim_as_symbol(d->subs[1]) != d->loops[1].sym)
        return;
    BufId values = tile_merged(e, d->sparse, 1, d->sparse_rank - 1);
    if (!values.id || !dim_is_const(loop_bufp(e->c->f, values)->shape[1], &all))
        return;
    for (int a = 2; a < d->sparse_rank; a++)
        value *= dim_is_const(loop_bufp(e->c->f, d->sparse)->shape[a], &size) ? size : 0;
    Rows r;
    next_block(e, &r);
    LoopBody *outer = e->cur.at;
    DimSym image = tile_fresh(e, d->loops[0].sym->name), at = tile_fresh(e, "page");
    LoopStmt *over = tile_loop(e, image, r.n_lo[0], r.n_hi[0], r.n_hi[1]);
    LoopBody *in = e->cur.at;
    int64_t block = e->s->rows * value;
    Dim first = dim_scale(ctx, r.part, block),
        left = dim_addk(ctx, dim_scale(ctx, first, -1), all + page - 1);
    LoopStmt *pages = tile_loop(e, at, dim_const(ctx, 0), dim_const(ctx, (block + page - 1) / page),
                                dim_floordiv(ctx, left, dim_const(ctx, page)));
    Dim subs[2] = {dim_of(ctx, image), dim_add(ctx, first, dim_scale(ctx, dim_of(ctx, at), page))};
    loop_load(&e->cur, values, subs);
    e->cur.at->stmts.p[e->cur.at->stmts.n - 1]->ahead = dim_const(ctx, 0);
    loop_end(&e->cur, pages, in, NULL);
    loop_end(&e->cur, over, outer, NULL);
    over->name = tile_name(e);
    e->n_names -= 2;
}

void tile_behind_rows(TileEmit *e, Dim time) {
    const Behind *y = &e->behind;
    if (y->blocks) {
        block_rows(e, time);
        return;
    }
    const Scheme *s = e->s;
    Ctx *ctx = e->c->ctx;
    int64_t times = e->c->red[s->inner[0]].n / y->steps,
            left = blocks_of(e->c, s) - (y->parts - 1) * s->group;
    Dim in = dim_sub(ctx, dim_of(ctx, e->vb), dim_scale(ctx, part_of(e), s->group));
    Dim each = by_part(e, y->each, y->each_last),
        of_ub = by_part(e, times * s->group * y->each, times * left * y->each_last);
    Rows r = {.hi = {NULL, dim_const(ctx, y->n_rows)}};
    r.lo = dim_add(ctx, dim_mul(ctx, dim_of(ctx, e->ub), of_ub),
                   dim_mul(ctx, dim_add(ctx, dim_scale(ctx, in, times), time), each));
    r.hi[0] = dim_add(ctx, r.lo, each);
    neighbour(e, &r);
    copy_rows(e, &r);
}
