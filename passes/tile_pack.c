/* tile: operands and sums in the order in which the tile goes through them.
 *
 *   w[o, c, a, b]  with vectors along o becomes  w.p[o / 32, c, a, b, o % 32]
 *
 * An axis with a single index is packed by that index, over its range; one with several as it is;
 * one that is known where the packing stands is left out. Lanes past the end are 0. */
#include "passes/tile_emit.h"

static const TileLoop *loop_of(const Contraction *c, DimSym x) {
    for (int k = 0; k < c->n_out; k++)
        if (c->out[k].sym == x)
            return &c->out[k];
    for (int k = 0; k < c->n_red; k++)
        if (c->red[k].sym == x)
            return &c->red[k];
    return NULL;
}

/* Are all indices of a subscript known? */
static bool sub_known(const TileEmit *e, Dim sub, int place) {
    DimSym syms[32];
    int n = dim_symbols(sub, syms, 32);
    for (int k = 0; k < n && k < 32; k++)
        if (loop_of(e->c, syms[k]) && !tile_known(e, syms[k], place))
            return false;
    return n <= 32;
}

/* coef*i + rest stays inside the axis for all of i's range? */
static bool inside(const TileEmit *e, const LoopStmt *l, int axis, const TileLoop *i) {
    Ctx *ctx = e->c->ctx;
    DimFacts none = {0};
    DimBinding first = {i->sym, i->lo}, last = {i->sym, dim_addk(ctx, i->hi, -1)};
    Dim ends[2] = {dim_subst(ctx, l->subs[axis], &first, 1),
                   dim_subst(ctx, l->subs[axis], &last, 1)};
    for (int k = 0; k < 2; k++) {
        Dim above =
            ends[k]
                ? dim_sub(ctx, dim_addk(ctx, loop_bufp(e->c->f, l->buf)->shape[axis], -1), ends[k])
                : NULL;
        if (!above || !dim_prove_nonneg(ctx, &none, ends[k]) ||
            !dim_prove_nonneg(ctx, &none, above))
            return false;
    }
    return true;
}

static void layout(TileEmit *e, Packed *p, int place, bool of_b) {
    const Contraction *c = e->c;
    int64_t coef;
    Dim rest;
    p->load = c->load[of_b ? e->s->b : 1 - e->s->b];
    p->along = c->out[of_b ? e->s->v : e->s->u].sym;
    p->width = of_b ? e->width : e->s->rows;
    p->axis = tile_axis(c, p->load, p->along, &coef);
    p->by_block = true;
    for (int k = 0; of_b && k < place; k++)
        p->by_block = p->by_block && e->s->items[k].kind != TILE_V_BLOCKS;
    for (int a = 0; a < p->load->rank; a++) {
        DimSym x = tile_single(c, p->load->subs[a], &coef, &rest);
        const TileLoop *l = x ? loop_of(c, x) : NULL;
        if (a == p->axis)
            continue;
        if (sub_known(e, p->load->subs[a], place)) {
            p->mode[a] = PACK_DROP;
        } else if (l && inside(e, p->load, a, l)) {
            p->mode[a] = PACK_INDEX;
            p->of[a] = *l;
        } else {
            p->mode[a] = PACK_AXIS;
        }
    }
}

static Dim block_base(const TileEmit *e, const Packed *p) {
    bool part = p == &e->a && e->s->job == e->s->n_items - 1;
    return part ? e->part_lo : dim_const(e->c->ctx, 0);
}

/* How many blocks are there room for? */
static Dim block_room(const TileEmit *e, const Packed *p) {
    Ctx *ctx = e->c->ctx;
    const TileLoop *l = loop_of(e->c, p->along);
    Dim n = dim_ceildiv(ctx, l->extent, dim_const(ctx, p->width));
    bool part = p == &e->a && e->s->job == e->s->n_items - 1;
    return part ? dim_ceildiv(ctx, n, dim_const(ctx, e->s->jobs)) : n;
}

const Dim *tile_packed_subs(const TileEmit *e, const Packed *p, Dim block, int64_t at) {
    Ctx *ctx = e->c->ctx;
    Dim *subs = ARENA_ARRAY(e->c->arena, Dim, p->load->rank + 2);
    int n = 0;
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
    DimSym block; /* NULL: the block is known */
    Dim first;    /* element of the packed index at lane 0 */
    Dim to[MAX_RANK + 2], from[MAX_RANK];
    int n_to;
} Copy;

static void copy_lanes(Copy *y) {
    TileEmit *e = y->e;
    Ctx *ctx = e->c->ctx;
    const TileLoop *l = loop_of(e->c, y->p->along);
    LoopBody *outer = e->cur.at;
    DimSym lane = tile_fresh(e, "lane"), past;
    Dim width = dim_const(ctx, y->p->width), zero = dim_const(ctx, 0);
    Dim left = dim_sub(ctx, l->hi, y->first);
    bool whole = l->n > 0 && l->n % y->p->width == 0;
    DimBinding b = {y->p->along, dim_add(ctx, y->first, dim_of(ctx, lane))};
    y->from[y->p->axis] = dim_subst(ctx, y->p->load->subs[y->p->axis], &b, 1);
    y->to[y->n_to] = dim_of(ctx, lane);
    LoopStmt *s = tile_loop(e, lane, zero, width, whole ? NULL : left);
    loop_store(&e->cur, y->p->buf, y->to, loop_load(&e->cur, y->p->load->buf, y->from));
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

static void copy_axes(Copy *y, int axis) {
    TileEmit *e = y->e;
    Ctx *ctx = e->c->ctx;
    const LoopStmt *load = y->p->load;
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
    LoopBody *outer = e->cur.at;
    bool by_index = y->p->mode[axis] == PACK_INDEX;
    DimSym t = tile_fresh(e, by_index ? y->p->of[axis].sym->name : "at");
    Dim at = dim_of(ctx, t), extent = loop_bufp(e->c->f, y->p->buf)->shape[y->n_to];
    y->from[axis] = at;
    if (by_index) {
        DimBinding b = {y->p->of[axis].sym, dim_add(ctx, at, y->p->of[axis].lo)};
        y->from[axis] = dim_subst(ctx, load->subs[axis], &b, 1);
    }
    y->to[y->n_to++] = at;
    LoopStmt *s = tile_loop(e, t, dim_const(ctx, 0), extent, NULL);
    copy_axes(y, axis + 1);
    loop_end(&e->cur, s, outer, NULL);
    y->n_to--;
    e->n_names--;
}

static void make_buffer(TileEmit *e, Packed *p, int place) {
    Dim shape[MAX_RANK + 2];
    int n = 0;
    const LoopBuf *from = loop_bufp(e->c->f, p->load->buf);
    if (p->by_block)
        shape[n++] = block_room(e, p);
    for (int a = 0; a < p->load->rank; a++)
        if (a != p->axis && p->mode[a] != PACK_DROP)
            shape[n++] = p->mode[a] == PACK_INDEX ? p->of[a].extent : from->shape[a];
    shape[n++] = dim_const(e->c->ctx, p->width);
    p->buf =
        tile_buffer(e, str_fmt(e->c->ctx, "%s.p", from->name), n, shape, place > 0 || p == &e->a);
}

void tile_pack(TileEmit *e, Packed *p, int place, bool of_b) {
    Ctx *ctx = e->c->ctx;
    layout(e, p, place, of_b);
    make_buffer(e, p, place);
    Copy y = {.e = e, .p = p};
    const TileLoop *l = loop_of(e->c, p->along);
    if (!p->by_block) {
        y.first = e->v0;
        copy_axes(&y, 0);
        return;
    }
    LoopBody *outer = e->cur.at;
    DimSym block = tile_fresh(e, "block");
    Dim lo = block_base(e, p), hi = dim_ceildiv(ctx, l->extent, dim_const(ctx, p->width));
    if (p == &e->a && e->s->job == e->s->n_items - 1)
        hi = e->part_hi;
    LoopStmt *s = tile_loop(e, block, lo, hi, NULL);
    y.first = dim_add(ctx, l->lo, dim_scale(ctx, dim_of(ctx, block), p->width));
    y.to[y.n_to++] = dim_sub(ctx, dim_of(ctx, block), lo);
    copy_axes(&y, 0);
    loop_end(&e->cur, s, outer, NULL);
    e->n_names--;
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
    bool whole = v->n > 0 && v->n % e->width == 0;
    y->lane = dim_of(ctx, lane);
    y->v = dim_add(ctx, e->v0, y->lane);
    y->bodies[y->n] = e->cur.at;
    y->loops[y->n++] = tile_loop(e, lane, dim_const(ctx, 0), dim_const(ctx, e->width),
                                 whole ? NULL : dim_sub(ctx, v->hi, e->v0));
}

static void close_cells(TileEmit *e, Cells *y) {
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
    if (!e->from_sums || there)
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
    int n = c->post_to - c->post_from;
    if (!n)
        return sum;
    LVal *from = ARENA_ARRAY(c->arena, LVal, n + 2), *to = ARENA_ARRAY(c->arena, LVal, n + 2);
    int known = 0;
    DimBinding b = {c->out[e->s->v].sym, y->v};
    from[known] = c->sum;
    to[known++] = sum;
    for (int k = c->post_from; k < c->post_to; k++) {
        const LoopStmt *s = c->cell->stmts.p[k];
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

void tile_finish_sums(TileEmit *e) {
    const Contraction *c = e->c;
    if (!e->sums.id && c->post_from == c->post_to)
        return;
    Cells y;
    open_cells(e, &y);
    const Dim *cell = cell_of(e, c->store, &y);
    LVal sum = e->sums.id ? loop_load(&e->cur, e->sums, sum_cell(e, &y))
                          : loop_load(&e->cur, c->store->buf, cell);
    loop_store(&e->cur, c->store->buf, cell, epilogue(e, &y, sum));
    close_cells(e, &y);
}
