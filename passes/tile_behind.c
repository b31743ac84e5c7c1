/* tile: a factor that is walked over sparsely is copied behind the tiles.
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
static bool shape_fits(const Contraction *c, const DenseCopy *d, const LoopStmt *l, DimSym along) {
    const TileLoop *rows = &d->loops[d->rank - 2], *row = rows + 1;
    const TileLoop *of = tile_loop_of(c, along);
    if (d->result || l->rank < 3 || d->rank != l->rank + 1 || !dim_as_symbol(l->subs[0]) ||
        tile_dense_apart(c, d, l) < 1 || !is_index(of, l->subs[l->rank - 1], along) ||
        rows->n <= 0 || row->n <= 0 || rows->first || row->first || of->n != rows->n * row->n)
        return false;
    for (int a = 1; a < l->rank - 1; a++) {
        DimSym x = dim_as_symbol(l->subs[a]);
        const TileLoop *red = x ? tile_loop_of(c, x) : NULL;
        if (!red || !is_index(red, l->subs[a], x) || d->loops[a].n != red->n || d->loops[a].first)
            return false;
    }
    return tile_dense_vectors(c->ctx, d) > 0;
}

/* Images outside, then blocks of vectors and of rows, and one sum of a constant range inside. */
static bool order_fits(const Contraction *c, const Scheme *s, const LoopStmt *l) {
    const TileLoop *u = &c->out[s->u], *v = &c->out[s->v];
    if (s->n_items != ITEMS || s->items[0].kind != TILE_OUT || s->items[1].kind != TILE_V_GROUPS ||
        s->items[2].kind != TILE_U_BLOCKS || s->job > 0 || s->split || s->chunk > 1 || s->partial ||
        s->in_place || !s->direct_out || s->n_inner != 1 || c->few || c->spread || u->n <= 0 ||
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

/* Parts of whole rows and whole blocks of vectors. */
static void divide(const Contraction *c, const DenseCopy *d, Scheme *s, Behind *y) {
    int64_t row = d->loops[d->rank - 1].n, width = (int64_t)s->vectors * s->lanes,
            blocks = blocks_of(c, s), least = row / gcd(row, width),
            group = s->group < least ? least : s->group / least * least;
    y->parts = group < blocks ? (blocks + group - 1) / group : 1;
    y->rows = group < blocks ? group * width / row : d->loops[d->rank - 2].n;
    y->pitch = (y->rows * row + s->lanes - 1) / s->lanes * s->lanes;
    s->group = (int)(group < blocks ? group : blocks);
    y->n_rows = y->rows;
    for (int a = 1; a < d->rank - 2; a++)
        y->n_rows *= d->loops[a].n;
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

bool tile_behind_choose(const Contraction *c, const Target *t, Scheme *s, Behind *y) {
    const DenseCopy *d = c->copy[s->b];
    const LoopStmt *l = c->load[s->b];
    Scheme to = *s;
    *y = (Behind){0};
    if (!d || c->copy[1 - s->b] || !shape_fits(c, d, l, c->out[s->v].sym) || !order_fits(c, s, l))
        return false;
    divide(c, d, &to, y);
    double bytes = 2.0 * (double)(y->n_rows / y->rows * y->pitch) * (double)dtype_size(c->dt);
    if (bytes > (double)t->l2_bytes / 2 || !set_pace(c, &to, y))
        return false;
    y->d = d;
    *s = to;
    s->in_place = true;
    s->place_b = -1;
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

/* The nest's access to the factor, where the tiles read it. */
const LoopStmt *tile_behind_use(TileEmit *e) {
    Behind *y = &e->behind;
    const Contraction *c = e->c;
    Ctx *ctx = c->ctx;
    const LoopStmt *l = c->load[e->s->b];
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

/* Copies rows lo .. hi of a part of n, where n is below `end`: row r is row r % rows of the part,
 * of the other axes' value r // rows. */
static void copy_rows(TileEmit *e, Dim n, Dim end, Dim part, const Dim lo, const Dim hi[2]) {
    const Behind *y = &e->behind;
    const DenseCopy *d = y->d;
    Ctx *ctx = e->c->ctx;
    LoopBody *outer = e->cur.at;
    DimSym each = tile_fresh(e, d->loops[0].sym->name), row = tile_fresh(e, "row"),
           in = tile_fresh(e, d->loops[d->rank - 2].sym->name);
    Dim to_n[2] = {dim_addk(ctx, n, 1), end}, rows = dim_const(ctx, y->rows);
    LoopStmt *over_n = loop_for(&e->cur, each, &n, 1, to_n, 2, 1, NULL, 0);
    LoopBody *in_n = e->cur.at;
    LoopStmt *over_rows = loop_for(&e->cur, row, &lo, 1, hi, hi[1] ? 2 : 1, 1, NULL, 0);
    LoopBody *in_rows = e->cur.at;
    Dim at = dim_mod(ctx, dim_of(ctx, row), rows),
        others = dim_floordiv(ctx, dim_of(ctx, row), rows);
    Dim first = dim_add(ctx, dim_scale(ctx, part, y->rows), at);
    Dim past[2] = {dim_addk(ctx, first, 1), d->loops[d->rank - 2].extent};
    bool all = d->loops[d->rank - 2].n % y->rows == 0;
    LoopStmt *over = loop_for(&e->cur, in, &first, 1, past, all ? 1 : 2, 1, NULL, 0);
    Dim known[MAX_RANK], to[MAX_RANK];
    known[0] = dim_of(ctx, each);
    to[0] = dim_mod(ctx, number(e, known[0], part), dim_const(ctx, 2));
    for (int a = d->rank - 3; a > 0; a--) {
        to[a] = known[a] = a > 1 ? dim_mod(ctx, others, d->loops[a].extent) : others;
        others = dim_floordiv(ctx, others, d->loops[a].extent);
    }
    known[d->rank - 2] = dim_of(ctx, in);
    to[d->rank - 2] = dim_scale(ctx, at, d->loops[d->rank - 1].n);
    tile_dense_row(&e->cur, d, known, y->ring, to, d->rank - 1, (AHEAD + y->rows - 1) / y->rows);
    loop_end(&e->cur, over, in_rows, NULL);
    loop_end(&e->cur, over_rows, in_n, NULL);
    loop_end(&e->cur, over_n, outer, NULL);
    e->n_names -= 3;
}

void tile_behind_first(TileEmit *e) {
    Ctx *ctx = e->c->ctx;
    Dim lo, end, zero = dim_const(ctx, 0);
    int at = e->cur.at->stmts.n;
    tile_item_range(e, 0, &lo, &end);
    copy_rows(e, lo, end, zero, zero, (Dim[2]){dim_const(ctx, e->behind.n_rows)});
    e->cur.at->stmts.p[at]->name = tile_name(e);
}

/* What is x in all parts but the last, and y there. */
static Dim by_part(const TileEmit *e, int64_t x, int64_t y) {
    Ctx *ctx = e->c->ctx;
    return e->behind.parts > 1 ? dim_addk(ctx, dim_scale(ctx, is_last(e), y - x), x)
                               : dim_const(ctx, y);
}

void tile_behind_rows(TileEmit *e, Dim time) {
    const Behind *y = &e->behind;
    const Scheme *s = e->s;
    Ctx *ctx = e->c->ctx;
    const TileLoop *images = &e->c->out[s->items[0].at];
    int64_t times = e->c->red[s->inner[0]].n / y->steps,
            left = blocks_of(e->c, s) - (y->parts - 1) * s->group;
    Dim last = is_last(e), next = dim_add(ctx, dim_of(ctx, images->sym), last);
    Dim part = dim_sub(ctx, dim_addk(ctx, part_of(e), 1), dim_scale(ctx, last, y->parts));
    Dim in = dim_sub(ctx, dim_of(ctx, e->vb), dim_scale(ctx, part_of(e), s->group));
    Dim each = by_part(e, y->each, y->each_last),
        of_ub = by_part(e, times * s->group * y->each, times * left * y->each_last);
    Dim from = dim_add(ctx, dim_mul(ctx, dim_of(ctx, e->ub), of_ub),
                       dim_mul(ctx, dim_add(ctx, dim_scale(ctx, in, times), time), each));
    copy_rows(e, next, images->hi, part, from,
              (Dim[2]){dim_add(ctx, from, each), dim_const(ctx, y->n_rows)});
}
