/* tile: operands and sums in the order in which the tile goes through them.
 *
 *   w[o, c, a, b]  with vectors along o becomes  w.p[o / 32, c, a, b, o % 32]
 *
 * An axis with a single index is packed by that index, over its range; one with several as it is;
 * one that is known where the packing stands is left out. Lanes past the end are 0. */
#include "passes/tile_emit.h"

#include <string.h>

/* Are all indices of a subscript known? */
static bool sub_known(const TileEmit *e, Dim sub, int place) {
    DimSym syms[32];
    int n = dim_symbols(sub, syms, 32);
    for (int k = 0; k < n && k < 32; k++)
        if (tile_loop_of(e->c, syms[k]) && !tile_known(e, syms[k], place))
            return false;
    return n <= 32;
}

/* Inside the loop over the chunks of a reduction there are only its values. Where they stand
 * outside the groups, all of them are packed chunk by chunk, as they are read. */
static void by_chunk(const TileEmit *e, Packed *p, int axis, const TileLoop *l, int place) {
    Dim first = tile_chunk(e, l);
    bool inside = false;
    for (int k = 0; k < place; k++)
        inside = inside || e->s->items[k].kind == TILE_RED;
    if (!first || (!inside && !e->s->split))
        return;
    p->by_chunk = !inside;
    p->of[axis].lo = first;
    p->of[axis].extent = dim_const(e->c->ctx, e->s->chunk);
    bool whole = l->n > 0 && l->n % e->s->chunk == 0;
    p->left[axis] = whole ? NULL : dim_sub(e->c->ctx, l->hi, first);
}

static void layout(TileEmit *e, Packed *p, int place, bool of_b) {
    const Contraction *c = e->c;
    int64_t coef;
    Dim rest;
    p->load = c->load[of_b ? e->s->b : 1 - e->s->b];
    p->from = p->load->buf;
    p->along = c->out[of_b ? e->s->v : e->s->u].sym;
    p->width = of_b ? e->width : e->s->rows;
    p->axis = tile_axis(c, p->load, p->along, &coef);
    bool outside = true; /* of the loop over the blocks */
    for (int k = 0; k < place; k++)
        outside = outside && e->s->items[k].kind != (of_b ? TILE_V_GROUPS : TILE_U_BLOCKS);
    p->by_group = of_b && !outside && e->s->group > 1;
    p->by_block = outside || p->by_group;
    for (int a = 0; a < p->load->rank; a++) {
        DimSym x = tile_single(c, p->load->subs[a], &coef, &rest);
        const TileLoop *l = x ? tile_loop_of(c, x) : NULL;
        if (a == p->axis)
            continue;
        if (sub_known(e, p->load->subs[a], place)) {
            p->mode[a] = PACK_DROP;
        } else if (l && tile_inside(e->c, p->load, a, l)) {
            p->mode[a] = PACK_INDEX;
            p->of[a] = *l;
            by_chunk(e, p, a, l, place);
        } else {
            p->mode[a] = PACK_AXIS;
        }
    }
}

static Dim block_base(const TileEmit *e, const Packed *p) {
    bool part = p == &e->a && e->s->job == e->s->n_items - 1;
    if (p->by_group)
        return dim_scale(e->c->ctx, dim_of(e->c->ctx, e->vg), e->s->group);
    return part ? e->part_lo : dim_const(e->c->ctx, 0);
}

/* How many blocks are there room for? */
static Dim block_room(const TileEmit *e, const Packed *p) {
    Ctx *ctx = e->c->ctx;
    const TileLoop *l = tile_loop_of(e->c, p->along);
    Dim n = dim_ceildiv(ctx, l->extent, dim_const(ctx, p->width));
    if (p->by_group)
        return dim_const(ctx, e->s->group);
    bool part = p == &e->a && e->s->job == e->s->n_items - 1;
    return part ? dim_ceildiv(ctx, n, dim_const(ctx, e->s->jobs)) : n;
}

const Dim *tile_packed_subs(const TileEmit *e, const Packed *p, Dim block, int64_t at) {
    Ctx *ctx = e->c->ctx;
    Dim *subs = ARENA_ARRAY(e->c->arena, Dim, p->load->rank + 3);
    int n = 0;
    if (p->by_chunk)
        subs[n++] = dim_of(ctx, e->chunk);
    if (p->by_block) {
        Dim b = block;
        if (!b) { /* a piece of one block */
            b = dim_sub(ctx, e->u0, e->c->out[e->s->u].lo);
            b = dim_floordiv(ctx, b, dim_const(ctx, p->width));
        }
        subs[n++] = dim_sub(ctx, b, block_base(e, p));
    }
    for (int a = 0; a < p->load->rank; a++) {
        if (a == p->axis || p->mode[a] == PACK_DROP)
            continue;
        subs[n++] = p->mode[a] == PACK_INDEX ? dim_sub(ctx, dim_of(ctx, p->of[a].sym), p->of[a].lo)
                                             : p->load->subs[a];
    }
    subs[n] = dim_const(ctx, at);
    return subs;
}

/* ---- copying */

typedef struct Copy {
    TileEmit *e;
    Packed *p;
    DimSym block;                      /* NULL: the block is known */
    Dim block_lo, block_hi, block_end; /* its range: the least of the last two, or NULL */
    bool rows; /* the packed index is the last axis of what is read: vectors, blocks inside */
    Dim first; /* element of the packed index at lane 0 */
    Dim to[MAX_RANK + 3], from[MAX_RANK];
    int n_to;
    bool turned; /* whole squares of lanes are there already */
    Dim done;    /* and so much of the chunk, or NULL */
} Copy;

/* So much of the chunk along the last axis is there that squares of lanes can be made of it; NULL:
 * the last axis is not that of the chunks. */
static Dim chunk_squares(const Copy *y) {
    const TileEmit *e = y->e;
    Ctx *ctx = e->c->ctx;
    const LoopStmt *l = y->p->load;
    const TileLoop *of = &y->p->of[l->rank - 1],
                   *red = of->sym ? tile_loop_of(e->c, of->sym) : NULL;
    if (y->p->axis == l->rank - 1 || y->p->mode[l->rank - 1] != PACK_INDEX || !e->s->split ||
        !tile_chunk(e, red) || red->n <= 0 || dim_as_symbol(l->subs[l->rank - 1]) != of->sym)
        return NULL;
    int64_t chunk = e->s->chunk, n = (red->n + chunk - 1) / chunk, excess = n * chunk - red->n;
    Dim last = dim_floordiv(ctx, dim_addk(ctx, dim_of(ctx, e->chunk), 1), dim_const(ctx, n));
    Dim have = dim_addk(ctx, dim_scale(ctx, last, -excess), chunk);
    return dim_scale(ctx, dim_floordiv(ctx, have, dim_const(ctx, e->s->lanes)), e->s->lanes);
}

/* The last axes that are packed whole and in their order: how many, and their extent in all. */
static int whole_tail(const Copy *y, Dim *extent) {
    const Contraction *c = y->e->c;
    const LoopStmt *l = y->p->load;
    int n = 0;
    *extent = chunk_squares(y);
    if (*extent)
        return 1;
    *extent = dim_const(c->ctx, 1);
    for (int a = l->rank - 1; a > y->p->axis; a--, n++) {
        Dim shape = loop_bufp(c->f, l->buf)->shape[a];
        const TileLoop *of = &y->p->of[a];
        if (y->p->mode[a] != PACK_INDEX || dim_as_symbol(l->subs[a]) != of->sym ||
            !dim_is_zero(of->lo) || of->extent != shape)
            break;
        *extent = dim_mul(c->ctx, *extent, shape);
    }
    return *extent ? n : 0;
}

/* Squares along the last axes, which are contiguous; `rows` elements of the packed index from
 * `lane` on are one side of them. */
static void turn_row(Copy *y, int tail, Dim extent, Dim lane, int rows) {
    TileEmit *e = y->e;
    Ctx *ctx = e->c->ctx;
    const LoopStmt *load = y->p->load;
    int64_t step = 1;
    tile_axis(e->c, load, y->p->along, &step);
    DimSym at = tile_fresh(e, "at");
    DimBinding b = {y->p->along, dim_add(ctx, y->first, lane)};
    y->from[y->p->axis] = dim_subst(ctx, load->subs[y->p->axis], &b, 1);
    y->from[load->rank - tail] = dim_add(ctx, dim_of(ctx, at), y->p->of[load->rank - tail].lo);
    y->to[y->n_to] = dim_of(ctx, at);
    y->to[y->n_to + 1] = lane;
    int apart = y->p->apart;
    Turn t = {.from = tile_merged(e, y->p->from, load->rank - apart - tail, tail),
              .to = tile_merged(e, y->p->buf, y->n_to, tail),
              .from_subs = y->from + apart,
              .to_subs = y->to,
              .from_axis = y->p->axis - apart,
              .to_axis = y->n_to,
              .from_step = step,
              .to_step = 1,
              .n_from = rows};
    tile_turn(e, &t, at, dim_const(ctx, 0), extent);
    e->n_names--;
}

/* All squares that lie inside the operand. */
static void turn_squares(Copy *y, int tail, Dim extent) {
    TileEmit *e = y->e;
    Ctx *ctx = e->c->ctx;
    const TileLoop *l = tile_loop_of(e->c, y->p->along);
    int lanes = e->s->lanes, width = y->p->width;
    bool whole = l->n > 0 && l->n % width == 0;
    Dim zero = dim_const(ctx, 0), left = dim_sub(ctx, l->hi, y->first);
    LoopBody *outer = e->cur.at;
    DimSym part = tile_fresh(e, "part");
    if (width % lanes == 0) {
        Dim enough = whole ? NULL : dim_floordiv(ctx, left, dim_const(ctx, lanes));
        LoopStmt *s = tile_loop(e, part, zero, dim_const(ctx, width / lanes), enough);
        turn_row(y, tail, extent, dim_scale(ctx, dim_of(ctx, part), lanes), lanes);
        loop_end(&e->cur, s, outer, NULL);
    } else {
        for (int from = 0; from < width; from += lanes) {
            int rows = width - from < lanes ? width - from : lanes;
            Dim enough = dim_floordiv(ctx, left, dim_const(ctx, from + rows));
            LoopStmt *s = tile_loop(e, part, zero, dim_const(ctx, 1), whole ? NULL : enough);
            turn_row(y, tail, extent, dim_const(ctx, from), rows);
            loop_end(&e->cur, s, outer, NULL);
        }
    }
    e->n_names--;
}

static void copy_lanes(Copy *y) {
    TileEmit *e = y->e;
    Ctx *ctx = e->c->ctx;
    const TileLoop *l = tile_loop_of(e->c, y->p->along);
    LoopBody *outer = e->cur.at;
    DimSym lane = tile_fresh(e, "lane"), past;
    Dim width = dim_const(ctx, y->p->width), zero = dim_const(ctx, 0);
    Dim left = dim_sub(ctx, l->hi, y->first);
    bool whole = l->n > 0 && l->n % y->p->width == 0;
    DimBinding b = {y->p->along, dim_add(ctx, y->first, dim_of(ctx, lane))};
    y->from[y->p->axis] = dim_subst(ctx, y->p->load->subs[y->p->axis], &b, 1);
    y->to[y->n_to] = dim_of(ctx, lane);
    Dim done = y->turned ? dim_scale(ctx, dim_floordiv(ctx, left, dim_const(ctx, e->s->lanes)),
                                     e->s->lanes)
                         : NULL;
    Dim los[2] = {zero, done}, his[2] = {width, left};
    LoopStmt *s = loop_for(&e->cur, lane, los, done ? 2 : 1, his, whole ? 1 : 2, 1, NULL, 0);
    loop_store(&e->cur, y->p->buf, y->to, loop_load(&e->cur, y->p->from, y->from + y->p->apart));
    loop_end(&e->cur, s, outer, NULL);
    if (whole)
        return;
    past = tile_fresh(e, "past");
    y->to[y->n_to] = dim_of(ctx, past);
    Dim lo[2] = {zero, left};
    s = loop_for(&e->cur, past, lo, 2, &width, 1, 1, NULL, 0);
    loop_store(&e->cur, y->p->buf, y->to,
               loop_const(&e->cur, (LType){e->c->dt, 1}, (ScalarValue){0}));
    loop_end(&e->cur, s, outer, NULL);
    e->n_names--;
}

static LoopStmt *open_blocks(Copy *y) {
    return tile_loop(y->e, y->block, y->block_lo, y->block_hi, y->block_end);
}

/* A row as vectors: memory is read in its order, and goes to one block after the other. Lanes past
 * the end are loaded as 0. */
static void copy_vectors(Copy *y) {
    TileEmit *e = y->e;
    Ctx *ctx = e->c->ctx;
    const TileLoop *l = tile_loop_of(e->c, y->p->along);
    const LoopStmt *load = y->p->load;
    int lanes = e->s->lanes, width = y->p->width;
    bool whole = l->n > 0 && l->n % width == 0;
    LoopBody *outer = e->cur.at;
    LoopStmt *s = y->block ? open_blocks(y) : NULL;
    for (int at = 0; at < width; at += lanes) {
        int n = width - at < lanes ? width - at : lanes;
        Dim some = n < lanes ? dim_const(ctx, n) : NULL;
        DimBinding b = {y->p->along, dim_addk(ctx, y->first, at)};
        y->from[y->p->axis] = dim_subst(ctx, load->subs[y->p->axis], &b, 1);
        y->to[y->n_to] = dim_const(ctx, at);
        Dim left = whole ? some : dim_addk(ctx, dim_sub(ctx, l->hi, y->first), -at);
        const Dim *from = y->from + y->p->apart;
        LVal v = loop_load_lanes(&e->cur, y->p->from, from, lanes, left)->result;
        loop_store(&e->cur, y->p->buf, y->to, v)->active = some;
    }
    if (s)
        loop_end(&e->cur, s, outer, NULL);
}

/* Are squares worth it, and are parts of one masked in one direction only? */
static bool squares_fit(const Copy *y, Dim extent) {
    int lanes = y->e->s->lanes;
    int64_t n;
    bool known = dim_is_const(extent, &n) || chunk_squares(y);
    if (!dim_is_const(extent, &n))
        n = y->e->s->chunk;
    return 3 * y->p->width >= lanes && (!known || n >= 4) && (y->p->width % lanes == 0 || known);
}

static void copy_axes(Copy *y, int axis) {
    TileEmit *e = y->e;
    Ctx *ctx = e->c->ctx;
    const LoopStmt *load = y->p->load;
    Dim tail_extent;
    int tail = y->turned || y->done ? 0 : whole_tail(y, &tail_extent);
    if (tail && axis == load->rank - tail && squares_fit(y, tail_extent)) {
        const TileLoop *l = tile_loop_of(e->c, y->p->along);
        turn_squares(y, tail, tail_extent);
        if (l->n <= 0 || l->n % y->p->width != 0) {
            y->turned = true;
            copy_axes(y, axis);
            y->turned = false;
        }
        if (chunk_squares(y) && tile_loop_of(e->c, y->p->of[axis].sym)->n % e->s->lanes != 0) {
            y->done = tail_extent;
            copy_axes(y, axis);
            y->done = NULL;
        }
        return;
    }
    if (axis == load->rank && y->rows) {
        copy_vectors(y);
        return;
    }
    if (axis == load->rank) {
        copy_lanes(y);
        e->n_names--;
        return;
    }
    if (axis == y->p->axis || y->p->mode[axis] == PACK_DROP) {
        y->from[axis] = load->subs[axis];
        copy_axes(y, axis + 1);
        return;
    }
    if (axis < y->p->apart) { /* its loop stands around all of this */
        y->to[y->n_to++] = y->from[axis];
        copy_axes(y, axis + 1);
        y->n_to--;
        return;
    }
    LoopBody *outer = e->cur.at;
    bool by_index = y->p->mode[axis] == PACK_INDEX;
    DimSym t = tile_fresh(e, by_index ? y->p->of[axis].sym->name : "at");
    Dim at = dim_of(ctx, t);
    /* what there is to read; the packed axis may be longer */
    Dim extent = by_index ? y->p->of[axis].extent : loop_bufp(e->c->f, load->buf)->shape[axis];
    y->from[axis] = at;
    if (by_index) {
        DimBinding b = {y->p->of[axis].sym, dim_add(ctx, at, y->p->of[axis].lo)};
        y->from[axis] = dim_subst(ctx, load->subs[axis], &b, 1);
    }
    y->to[y->n_to++] = at;
    Dim first = y->done ? y->done : dim_const(ctx, 0);
    LoopStmt *s = tile_loop(e, t, first, extent, y->p->left[axis]);
    copy_axes(y, axis + 1);
    loop_end(&e->cur, s, outer, NULL);
    y->n_to--;
    e->n_names--;
}

/* Blocks that lie a multiple of 4 KB apart share a few sets of the caches: where a row is copied to
 * all of them, each would throw out the others. */
static void spread_blocks(const TileEmit *e, const Packed *p, Dim *shape, int n) {
    enum { SETS = 4096 };
    int64_t bytes = (int64_t)dtype_size(e->c->dt), size;
    if (!p->by_block || n < 3)
        return;
    for (int a = 1; a < n; a++) {
        if (!dim_is_const(shape[a], &size))
            return;
        bytes *= size;
    }
    if (bytes % SETS == 0)
        shape[1] = dim_addk(e->c->ctx, shape[1], 1);
}

static void make_buffer(TileEmit *e, Packed *p, int place) {
    Dim shape[MAX_RANK + 3];
    int n = 0;
    const LoopBuf *from = loop_bufp(e->c->f, p->load->buf);
    if (p->by_chunk)
        shape[n++] = tile_chunks(e);
    if (p->by_block)
        shape[n++] = block_room(e, p);
    for (int a = 0; a < p->load->rank; a++)
        if (a != p->axis && p->mode[a] != PACK_DROP)
            shape[n++] = p->mode[a] == PACK_INDEX ? p->of[a].extent : from->shape[a];
    shape[n++] = dim_const(e->c->ctx, p->width);
    spread_blocks(e, p, shape, n);
    p->buf = tile_buffer(e, str_fmt(e->c->ctx, "%s.p", from->name), n, shape,
                         p == &e->a ? e->s->a_in_job : place > 0);
}

static void name_from(const TileEmit *e, int first) {
    for (int k = first; k < e->cur.at->stmts.n; k++)
        if (e->cur.at->stmts.p[k]->kind == LOOP_FOR)
            e->cur.at->stmts.p[k]->name = tile_name(e);
}

static void pack_blocks(Copy *y) {
    TileEmit *e = y->e;
    Packed *p = y->p;
    Ctx *ctx = e->c->ctx;
    const TileLoop *l = tile_loop_of(e->c, p->along);
    if (!p->by_block) {
        copy_axes(y, 0);
        return;
    }
    LoopBody *outer = e->cur.at;
    y->block = tile_fresh(e, "block");
    y->block_lo = block_base(e, p);
    y->block_hi = dim_ceildiv(ctx, l->extent, dim_const(ctx, p->width));
    if (p == &e->a && e->s->job == e->s->n_items - 1)
        y->block_hi = e->part_hi;
    y->block_end = p->by_group ? dim_addk(ctx, y->block_lo, e->s->group) : NULL;
    y->first = dim_add(ctx, l->lo, dim_scale(ctx, dim_of(ctx, y->block), p->width));
    y->to[y->n_to++] = dim_sub(ctx, dim_of(ctx, y->block), y->block_lo);
    LoopStmt *s = y->rows ? NULL : open_blocks(y);
    copy_axes(y, 0);
    if (s)
        loop_end(&e->cur, s, outer, NULL);
    e->n_names--;
}

/* Opens jobs over the first index before the nest's own begin; its part of the range is in lo, hi.
 */
static LoopStmt *open_jobs(TileEmit *e, DimSym job, Dim *lo, Dim *hi) {
    Ctx *ctx = e->c->ctx;
    int groups = e->c->f->groups;
    Dim extent = *hi, n = dim_const(ctx, groups), first = dim_of(ctx, job);
    LoopStmt *s = tile_loop(e, job, *lo, n, NULL);
    s->parallel = true;
    s->name = tile_name(e);
    *lo = dim_floordiv(ctx, dim_mul(ctx, first, extent), n);
    *hi = dim_floordiv(ctx, dim_mul(ctx, dim_addk(ctx, first, 1), extent), n);
    return s;
}

/* What is walked over sparsely is copied and packed for one value of its first index that is not
 * known after the other: the dense copy stays in the cache. */
static void pack_apart(Copy *y, const DenseCopy *d, int place) {
    TileEmit *e = y->e;
    Packed *p = y->p;
    Ctx *ctx = e->c->ctx;
    LoopBody *outer = e->cur.at;
    Dim lo = dim_const(ctx, 0), hi = d->loops[place].extent, known[MAX_RANK];
    DimSym job = tile_fresh(e, "job"), each = tile_fresh(e, d->loops[place].sym->name);
    LoopStmt *jobs = !place && e->c->f->groups > 1 ? open_jobs(e, job, &lo, &hi) : NULL;
    LoopBody *in_job = e->cur.at;
    LoopStmt *s = tile_loop(e, each, lo, hi, NULL);
    BufId dense = tile_dense_buffer(e, d, place + 1, jobs || place);
    for (int k = 0; k < place; k++)
        known[k] = p->load->subs[k];
    known[place] = dim_of(ctx, each);
    p->apart = place + 1;
    p->from = tile_dense_view(e, dense, p->load, place + 1);
    y->from[place] = known[place];
    tile_dense_copy(&e->cur, d, dense, known, place + 1);
    pack_blocks(y);
    name_from(e, 0);
    loop_end(&e->cur, s, in_job, NULL);
    if (jobs)
        loop_end(&e->cur, jobs, outer, NULL);
    e->n_names -= 2;
}

void tile_pack(TileEmit *e, Packed *p, int place, bool of_b) {
    int at = e->cur.at->stmts.n;
    const DenseCopy *d = e->c->copy[of_b ? e->s->b : 1 - e->s->b];
    layout(e, p, place, of_b);
    make_buffer(e, p, place);
    Copy y = {.e = e, .p = p, .first = of_b ? e->group_v : e->u0};
    int64_t coef = 0;
    y.rows = tile_axis(e->c, p->load, p->along, &coef) == p->load->rank - 1 && coef == 1;
    if (d) {
        pack_apart(&y, d, place);
        return;
    }
    LoopBody *outer = e->cur.at;
    LoopStmt *chunks = NULL;
    if (p->by_chunk) {
        chunks = tile_loop(e, e->chunk, dim_const(e->c->ctx, 0), tile_chunks(e), NULL);
        y.to[y.n_to++] = dim_of(e->c->ctx, e->chunk);
    }
    pack_blocks(&y);
    if (chunks)
        loop_end(&e->cur, chunks, outer, NULL);
    name_from(e, at);
}

/* ---- sums */

/* Outputs whose loops stand inside place_out, u among them. */
static bool open_output(const TileEmit *e, int k) {
    return k != e->s->v && !tile_known(e, e->c->out[k].sym, e->s->place_out);
}

const Dim *tile_sum_subs(const TileEmit *e, Dim u, int64_t at) {
    Ctx *ctx = e->c->ctx;
    Dim *subs = ARENA_ARRAY(e->c->arena, Dim, e->c->n_out + 1);
    int n = 0;
    for (int k = 0; k < e->c->n_out; k++)
        if (open_output(e, k))
            subs[n++] =
                dim_sub(ctx, k == e->s->u ? u : dim_of(ctx, e->c->out[k].sym), e->c->out[k].lo);
    subs[n] = dim_const(ctx, at);
    return subs;
}

/* The cells that the loops inside place_out compute: opens their loops, and one over lanes. */
typedef struct Cells {
    LoopStmt *loops[TILE_LOOPS + 1];
    LoopBody *bodies[TILE_LOOPS + 1];
    int n;
    Dim v, lane;
} Cells;

static void open_cells(TileEmit *e, Cells *y) {
    Ctx *ctx = e->c->ctx;
    y->n = 0;
    for (int k = 0; k < e->c->n_out; k++) {
        const TileLoop *l = &e->c->out[k];
        if (!open_output(e, k))
            continue;
        Dim lo = l->lo, hi = l->hi, hi2 = NULL;
        if (k == e->s->u && e->s->job == e->s->n_items - 1) {
            lo = dim_add(ctx, l->lo, dim_scale(ctx, e->part_lo, e->s->rows));
            hi2 = dim_add(ctx, l->lo, dim_scale(ctx, e->part_hi, e->s->rows));
        }
        y->bodies[y->n] = e->cur.at;
        y->loops[y->n++] = tile_loop(e, l->sym, lo, hi, hi2);
    }
    const TileLoop *v = &e->c->out[e->s->v];
    DimSym lane = tile_fresh(e, "lane");
    y->lane = dim_of(ctx, lane);
    y->bodies[y->n] = e->cur.at;
    if (e->s->split) { /* all groups, or those of the job */
        bool part = e->s->job >= 0 && e->s->items[e->s->job].kind == TILE_V_GROUPS;
        Dim from = part ? dim_scale(ctx, e->part_lo, e->group_width) : dim_const(ctx, 0);
        Dim end = part ? dim_scale(ctx, e->part_hi, e->group_width) : v->extent;
        y->v = dim_add(ctx, v->lo, y->lane);
        y->loops[y->n++] = tile_loop(e, lane, from, end, part ? v->extent : NULL);
        return;
    }
    bool whole = v->n > 0 && v->n % e->group_width == 0;
    y->v = dim_add(ctx, e->first_v, y->lane);
    y->loops[y->n++] = tile_loop(e, lane, dim_const(ctx, 0), dim_const(ctx, e->group_width),
                                 whole ? NULL : dim_sub(ctx, v->hi, e->first_v));
}

static void close_cells(TileEmit *e, Cells *y) {
    y->loops[0]->name = tile_name(e);
    while (y->n-- > 0)
        loop_end(&e->cur, y->loops[y->n], y->bodies[y->n], NULL);
    e->n_names--;
}

static const Dim *cell_of(const TileEmit *e, const LoopStmt *access, const Cells *y) {
    DimBinding b = {e->c->out[e->s->v].sym, y->v};
    return tile_subs(e, access, &b, 1);
}

static const Dim *sum_cell(const TileEmit *e, const Cells *y) {
    Dim *subs = (Dim *)(uintptr_t)tile_sum_subs(e, dim_of(e->c->ctx, e->c->out[e->s->u].sym), 0);
    int rank = loop_bufp(e->c->f, e->sums)->rank;
    subs[rank - 1] = y->lane;
    return subs;
}

/* Chunks of a constant number, and sums that start from 0: those of the first chunk are loaded
 * with all lanes off. */
Dim tile_first_chunk(const TileEmit *e) {
    static const ScalarValue zero;
    const Contraction *c = e->c;
    if (!e->s->split || e->s->partial || c->red[0].n <= 0 || c->init->kind != LOOP_CONST ||
        memcmp(&c->init->k, &zero, sizeof zero) != 0)
        return NULL;
    Dim n = tile_chunks(e);
    return dim_floordiv(c->ctx, dim_addk(c->ctx, dim_add(c->ctx, dim_of(c->ctx, e->chunk), n), -1),
                        n);
}

void tile_begin_sums(TileEmit *e) {
    const Contraction *c = e->c;
    if (!e->s->direct_out) {
        Dim shape[TILE_LOOPS + 1];
        int n = 0;
        for (int k = 0; k < c->n_out; k++)
            if (open_output(e, k))
                shape[n++] = c->out[k].extent;
        shape[n++] = dim_const(c->ctx, e->width);
        e->sums = tile_buffer(e, "sums", n, shape, true);
    }
    bool there = c->init->kind == LOOP_LOAD && !e->sums.id &&
                 loop_storage(c->f, c->init->buf) == loop_storage(c->f, c->store->buf);
    if (!e->from_sums || there || tile_first_chunk(e))
        return;
    Cells y;
    open_cells(e, &y);
    LVal v = c->init->kind == LOOP_CONST
                 ? loop_const(&e->cur, (LType){c->dt, 1}, c->init->k)
                 : loop_load(&e->cur, c->init->buf, cell_of(e, c->init, &y));
    if (e->sums.id)
        loop_store(&e->cur, e->sums, sum_cell(e, &y), v);
    else
        loop_store(&e->cur, c->store->buf, cell_of(e, c->store, &y), v);
    close_cells(e, &y);
}

static LVal mapped(const LVal *from, const LVal *to, int n, LVal x) {
    for (int k = 0; k < n; k++)
        if (from[k].id == x.id)
            return to[k];
    return x;
}

/* The statements of the epilogue at a cell, with the finished sum put in. */
static LVal epilogue(TileEmit *e, const Cells *y, LVal sum) {
    const Contraction *c = e->c;
    int n = c->n_post;
    if (!n)
        return sum;
    LVal *from = ARENA_ARRAY(c->arena, LVal, n + 2), *to = ARENA_ARRAY(c->arena, LVal, n + 2);
    int known = 0;
    DimBinding b = {c->out[e->s->v].sym, y->v};
    from[known] = c->sum;
    to[known++] = sum;
    for (int k = 0; k < n; k++) {
        const LoopStmt *s = c->post[k];
        LoopStmt *copy = arena_dup(c->arena, s, sizeof *s);
        copy->args = arena_dup(c->arena, s->args, sizeof *s->args * (size_t)s->n_args);
        for (int j = 0; j < s->n_args; j++)
            copy->args[j] = mapped(from, to, known, s->args[j]);
        if (s->subs) {
            Dim *subs = arena_dup(c->arena, s->subs, sizeof *subs * (size_t)s->rank);
            for (int a = 0; a < s->rank; a++)
                subs[a] = dim_subst(c->ctx, s->subs[a], &b, 1);
            copy->subs = subs;
        }
        copy->result = loop_val(c->m, c->f, s->type);
        vec_push(c->arena, &e->cur.at->stmts, copy);
        from[known] = s->result;
        to[known++] = copy->result;
    }
    return mapped(from, to, known, c->store->args[0]);
}

/* Are the last axes of the result the last open outputs, whole? How many, and their extent. */
static int whole_outputs(const TileEmit *e, Dim *extent) {
    const Contraction *c = e->c;
    int64_t coef;
    int n = 0, v_axis = tile_axis(c, c->store, c->out[e->s->v].sym, &coef);
    *extent = dim_const(c->ctx, 1);
    if (coef != 1)
        return 0;
    for (int k = c->n_out - 1; k >= 0; k--) {
        int axis = c->store->rank - 1 - n;
        if (!open_output(e, k))
            continue;
        if (axis <= v_axis || dim_as_symbol(c->store->subs[axis]) != c->out[k].sym ||
            !dim_is_zero(c->out[k].lo) ||
            c->out[k].extent != loop_bufp(c->f, c->store->buf)->shape[axis])
            break;
        *extent = dim_mul(c->ctx, *extent, c->out[k].extent);
        n++;
    }
    if (e->s->job == e->s->n_items - 1) { /* a part of whole blocks of rows */
        const TileLoop *u = &c->out[e->s->u];
        return n == 1 && u->n > 0 && u->n % e->s->rows == 0 && u->first == 0;
    }
    return *extent ? n : 0;
}

/* Squares of the sums' lanes against the last axes of the result, for the whole squares; the lanes
 * that are left go one by one. */
static bool turn_sums(TileEmit *e) {
    const Contraction *c = e->c;
    Ctx *ctx = c->ctx;
    Dim extent, zero = dim_const(ctx, 0), subs[TILE_LOOPS + 2];
    int tail = whole_outputs(e, &extent), lanes = e->s->lanes, n = 0, opened = 0;
    const TileLoop *v = &c->out[e->s->v];
    int64_t size, coef;
    if (!tail || v->n <= 0 || v->n % lanes || (dim_is_const(extent, &size) && size < 4))
        return false;
    LoopStmt *loops[TILE_LOOPS + 2];
    LoopBody *bodies[TILE_LOOPS + 2];
    int rank = loop_bufp(c->f, e->sums)->rank;
    for (int k = 0; k < c->n_out && n < rank - 1 - tail; k++) {
        if (!open_output(e, k))
            continue;
        bodies[opened] = e->cur.at;
        loops[opened++] = tile_loop(e, c->out[k].sym, c->out[k].lo, c->out[k].hi, NULL);
        subs[n++] = dim_sub(ctx, dim_of(ctx, c->out[k].sym), c->out[k].lo);
    }
    DimSym part = tile_fresh(e, "part"), at = tile_fresh(e, "at");
    Dim left = v->n % e->width
                   ? dim_floordiv(ctx, dim_sub(ctx, v->hi, e->group_v), dim_const(ctx, lanes))
                   : NULL;
    bodies[opened] = e->cur.at;
    loops[opened++] = tile_loop(e, part, zero, dim_const(ctx, e->s->vectors), left);
    Dim from = zero, end = extent;
    if (e->s->job == e->s->n_items - 1) {
        from = dim_scale(ctx, e->part_lo, e->s->rows);
        end = dim_scale(ctx, e->part_hi, e->s->rows);
    }
    Dim lane = dim_scale(ctx, dim_of(ctx, part), lanes);
    subs[n] = dim_of(ctx, at);
    subs[n + 1] = lane;
    DimBinding b = {v->sym, dim_add(ctx, e->group_v, lane)};
    Dim *to =
        arena_dup(c->arena, tile_subs(e, c->store, &b, 1), sizeof *to * (size_t)c->store->rank);
    to[c->store->rank - tail] = dim_of(ctx, at);
    Turn t = {.from = tile_merged(e, e->sums, n, tail),
              .to = tile_merged(e, c->store->buf, c->store->rank - tail, tail),
              .from_subs = subs,
              .to_subs = to,
              .from_axis = n,
              .to_axis = tile_axis(c, c->store, v->sym, &coef),
              .from_step = 1,
              .to_step = 1,
              .n_from = lanes,
              .by_rows = true};
    tile_turn(e, &t, at, from, end);
    loops[0]->name = tile_name(e);
    while (opened-- > 0)
        loop_end(&e->cur, loops[opened], bodies[opened], NULL);
    e->n_names -= 2;
    return true;
}

void tile_finish_sums(TileEmit *e) {
    const Contraction *c = e->c;
    if (e->sums.id && turn_sums(e))
        e->sums.id = 0; /* the epilogue reads the result */
    if (!e->sums.id && !c->n_post)
        return;
    Cells y;
    open_cells(e, &y);
    const Dim *cell = cell_of(e, c->store, &y);
    LVal sum = e->sums.id ? loop_load(&e->cur, e->sums, sum_cell(e, &y))
                          : loop_load(&e->cur, c->store->buf, cell);
    loop_store(&e->cur, c->store->buf, cell, epilogue(e, &y, sum));
    close_cells(e, &y);
}
