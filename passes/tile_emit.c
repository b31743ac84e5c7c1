/* tile: the loops around the tile. */
#include "passes/tile_emit.h"

static bool taken(const TileEmit *e, Str name) {
    const Contraction *c = e->c;
    for (int k = 0; k < c->f->dims.n; k++)
        if (c->f->dims.p[k]->name == name)
            return true;
    for (int k = 0; k < c->n_out; k++)
        if (c->out[k].sym->name == name)
            return true;
    for (int k = 0; k < c->n_red; k++)
        if (c->red[k].sym->name == name)
            return true;
    for (int k = 0; k < e->n_names; k++)
        if (e->names[k]->name == name)
            return true;
    return false;
}

DimSym tile_fresh(TileEmit *e, const char *base) {
    Ctx *ctx = e->c->ctx;
    Str name = str_of(ctx, base);
    for (int k = 1; taken(e, name); k++)
        name = str_fmt(ctx, "%s%d", base, k);
    DimSym s = dim_symbol_new(ctx, name, 0, true);
    CTX_ASSERT(ctx, e->n_names < 32);
    return e->names[e->n_names++] = s;
}

/* The loops that are functions of their own: packing, tiles, copies of sums. */
Str tile_name(const TileEmit *e) { return e->c->root->name ? e->c->root->name : e->c->f->name; }

LoopStmt *tile_loop(TileEmit *e, DimSym i, Dim lo, Dim hi, Dim hi2) {
    Dim his[2] = {hi, hi2};
    return loop_for(&e->cur, i, &lo, 1, his, hi2 ? 2 : 1, 1, NULL, 0);
}

/* Of the first axes, so many have room for all that few rows may be: fewer than `groups`. */
static BufId new_buffer(TileEmit *e, const char *name, int rank, const Dim *shape, bool in_job,
                        int roomy) {
    Dim to[MAX_RANK + 2];
    for (int a = 0; a < rank; a++) {
        bool few = a < roomy && e->c->few && shape[a] == e->c->few;
        to[a] = few ? dim_const(e->c->ctx, e->c->f->groups - 1) : shape[a];
    }
    LoopBuf b = {.name = str_of(e->c->ctx, name),
                 .kind = in_job && e->s->job >= 0 ? BUF_JOB : BUF_WORK,
                 .dt = e->c->dt,
                 .rank = rank,
                 .shape = to,
                 .arg = -1,
                 .span = e->c->root->span};
    return loop_buf(e->c->m, e->c->f, b);
}

BufId tile_buffer(TileEmit *e, const char *name, int rank, const Dim *shape, bool in_job) {
    return new_buffer(e, name, rank, shape, in_job, rank);
}

const Dim *tile_subs(const TileEmit *e, const LoopStmt *access, const DimBinding *b, int n) {
    Dim *to = ARENA_ARRAY(e->c->arena, Dim, access->rank + 1);
    for (int a = 0; a < access->rank; a++)
        to[a] = dim_subst(e->c->ctx, access->subs[a], b, n);
    return to;
}

bool tile_known(const TileEmit *e, DimSym x, int place) {
    const Contraction *c = e->c;
    for (int k = 0; k < place; k++) {
        TileItem i = e->s->items[k];
        if ((i.kind == TILE_OUT && c->out[i.at].sym == x) ||
            (i.kind == TILE_RED && !e->chunk && c->red[i.at].sym == x))
            return true;
    }
    return false;
}

static Dim blocks_of(const TileEmit *e, TileItem i) {
    const Contraction *c = e->c;
    if (i.kind == TILE_V_GROUPS)
        return dim_ceildiv(c->ctx, c->out[i.at].extent, dim_const(c->ctx, e->group_width));
    return dim_ceildiv(c->ctx, c->out[i.at].extent, dim_const(c->ctx, e->s->rows));
}

Dim tile_chunk(const TileEmit *e, const TileLoop *red) {
    Ctx *ctx = e->c->ctx;
    for (int k = 0; k < e->s->n_items; k++)
        if (e->chunk && e->s->items[k].kind == TILE_RED && &e->c->red[e->s->items[k].at] == red)
            return dim_add(ctx, red->lo, dim_scale(ctx, dim_of(ctx, e->chunk), e->s->chunk));
    return NULL;
}

Dim tile_chunks(const TileEmit *e) {
    Ctx *ctx = e->c->ctx;
    for (int k = 0; k < e->s->n_items; k++)
        if (e->s->items[k].kind == TILE_RED)
            return dim_ceildiv(ctx, e->c->red[e->s->items[k].at].extent,
                               dim_const(ctx, e->s->chunk));
    return dim_const(ctx, 1);
}

/* Of the item's loop: blocks from 0, or the index itself. */
void tile_item_range(const TileEmit *e, int k, Dim *lo, Dim *hi) {
    const Contraction *c = e->c;
    TileItem i = e->s->items[k];
    if (k == e->s->job && e->part_lo) {
        *lo = e->part_lo;
        *hi = e->part_hi;
    } else if (i.kind == TILE_V_GROUPS || i.kind == TILE_U_BLOCKS) {
        *lo = dim_const(c->ctx, 0);
        *hi = blocks_of(e, i);
    } else if (i.kind == TILE_RED && e->chunk) {
        *lo = dim_const(c->ctx, 0);
        *hi = tile_chunks(e);
    } else {
        const TileLoop *l = i.kind == TILE_RED ? &c->red[i.at] : &c->out[i.at];
        *lo = l->lo;
        *hi = l->hi;
    }
}

/* Tiles for blocks lo .. hi of the vectors: the least of the bounds that are not NULL. */
static void tiles_of(TileEmit *e, const TilePiece *p, int vectors, const Dim lo[2],
                     const Dim hi[2]) {
    LoopBody *outer = e->cur.at;
    LoopStmt *s = loop_for(&e->cur, e->vb, lo, lo[1] ? 2 : 1, hi, hi[1] ? 2 : 1, 1, NULL, 0);
    s->name = e->s->place_a == e->s->n_items ? tile_name(e) : NULL;
    tile_kernel(e, p, vectors);
    loop_end(&e->cur, s, outer, NULL);
}

/* The tiles of a block of rows: one for each block of vectors of the group. */
static void tiles(TileEmit *e, const TilePiece *p) {
    Ctx *ctx = e->c->ctx;
    if (e->vb == e->vg) {
        tile_kernel(e, p, e->s->vectors);
        return;
    }
    const TileLoop *v = &e->c->out[e->s->v];
    int last = tile_last_vectors(e->c, e->s);
    Dim lo = dim_scale(ctx, dim_of(ctx, e->vg), e->s->group), hi = dim_addk(ctx, lo, e->s->group);
    Dim all = dim_ceildiv(ctx, v->extent, dim_const(ctx, e->width));
    if (last < e->s->vectors) {
        Dim whole = dim_addk(ctx, all, -1);
        tiles_of(e, p, e->s->vectors, (Dim[2]){lo}, (Dim[2]){hi, whole});
        tiles_of(e, p, last, (Dim[2]){lo, whole}, (Dim[2]){hi, all});
        return;
    }
    bool whole = v->n > 0 && (v->n + e->width - 1) / e->width % e->s->group == 0;
    tiles_of(e, p, last, (Dim[2]){lo}, (Dim[2]){hi, whole ? NULL : all});
}

/* ---- dense copies */

BufId tile_dense_buffer(TileEmit *e, const DenseCopy *d, int n, bool in_job) {
    Dim shape[MAX_RANK];
    for (int a = n; a < d->rank; a++)
        shape[a - n] = d->loops[a].extent;
    /* views make one axis of several: all but the first lie as they are */
    return new_buffer(e, loop_bufp(e->c->f, d->dense)->name, d->rank - n, shape, in_job, n ? 0 : 1);
}

BufId tile_dense_view(TileEmit *e, BufId dense, const LoopStmt *access, int n) {
    const Contraction *c = e->c;
    const LoopBuf *like = loop_bufp(c->f, access->buf);
    LoopBuf b = *loop_bufp(c->f, dense);
    if (b.rank == like->rank - n)
        return dense;
    Dim *shape = arena_dup(c->arena, like->shape + n, sizeof *shape * (size_t)(like->rank - n));
    if (!n && c->few && shape[0] == c->few)
        shape[0] = b.shape[0];
    b.kind = BUF_ALIAS;
    b.alias = dense;
    b.written = false;
    b.rank = like->rank - n;
    b.shape = shape;
    return loop_buf(c->m, c->f, b);
}

/* The outermost items, as far as they are the first indices of a dense buffer: then each job copies
 * what it needs, and it stays in the cache. */
static int apart_place(const TileEmit *e, const DenseCopy *d, const LoopStmt *access) {
    const Contraction *c = e->c;
    int most = tile_dense_apart(c, d, access), n = 0;
    for (; n < most && n < e->s->n_items; n++) {
        DimSym x = dim_as_symbol(access->subs[n]);
        if (!x || !tile_known(e, x, n + 1) || tile_known(e, x, n))
            break;
    }
    return e->s->job < n ? n : 0;
}

/* The nest's access goes to a dense buffer for the values of the indices around `place`. */
static const LoopStmt *use_apart(TileEmit *e, Apart *to, const DenseCopy *d,
                                 const LoopStmt *access) {
    int n = apart_place(e, d, access);
    *to = (Apart){d, tile_dense_buffer(e, d, n, n > 0), n};
    LoopStmt *s = arena_dup(e->c->arena, access, sizeof *s);
    s->buf = tile_dense_view(e, to->dense, access, n);
    s->subs = access->subs + n;
    s->rank = access->rank - n;
    s->lane_axis = s->rank - 1;
    return s;
}

static void copy_apart(TileEmit *e, const Apart *y) {
    Dim known[MAX_RANK];
    int at = e->cur.at->stmts.n;
    for (int k = 0; k < y->place; k++) {
        TileItem i = e->s->items[k];
        known[k] =
            dim_of(e->c->ctx, i.kind == TILE_RED ? e->c->red[i.at].sym : e->c->out[i.at].sym);
    }
    tile_dense_copy(&e->cur, y->d, y->dense, known, y->place);
    for (; y->place && at < e->cur.at->stmts.n; at++)
        e->cur.at->stmts.p[at]->name = tile_name(e);
}

/* Is a factor packed before the jobs begin? Then it may be copied there, too. */
static bool packed_before(const Scheme *s, bool of_b) {
    return of_b ? s->place_b == 0 : s->pack_a && !s->a_in_job;
}

/* May the factor be copied on its way into packing, a value of index n of the access at a time?
 * That is not one which the packed blocks go along: a block needs several of its values. */
static bool copied_on_the_way(const TileEmit *e, const Contraction *c, int k, int n) {
    int64_t coef;
    DimSym along = c->out[k == e->s->b ? e->s->v : e->s->u].sym;
    return tile_dense_apart(c, c->copy[k], c->load[k]) > n &&
           tile_axis(c, c->load[k], along, &coef) > n;
}

/* A factor that jobs pack is copied on its way: as many of the outermost items know the first
 * indices. 0: it cannot be. */
static int packed_through(const TileEmit *e, const Contraction *c, int k) {
    if (k != e->s->b && (!e->s->pack_a || !e->s->a_in_job))
        return 0;
    int n = apart_place(e, c->copy[k], c->load[k]);
    return n && copied_on_the_way(e, c, k, n) ? n : 0;
}

static void use_dense(TileEmit *e, Contraction *c, Scheme *s) {
    if (e->behind.d) {
        int of = e->behind.blocks ? 1 - s->b : s->b;
        if (e->behind.d->result)
            c->store = tile_behind_use(e, c->store);
        else
            c->load[of] = tile_behind_use(e, c->load[of]);
        c->copy[of] = c->spread = NULL;
        return;
    }
    for (int k = 0; k < 2; k++) {
        bool of_b = k == s->b;
        if (!c->copy[k] || (packed_before(s, of_b) && copied_on_the_way(e, c, k, 0)))
            continue;
        int place = packed_through(e, c, k);
        if (place) {
            *(of_b ? &s->place_b : &s->place_a) = place;
            continue;
        }
        c->load[k] = use_apart(e, &e->copy, c->copy[k], c->load[k]);
        c->copy[k] = NULL;
    }
    if (c->spread)
        c->store = use_apart(e, &e->spread, c->spread, c->store);
}

/* Rows of the pieces, as far as they belong to this job. */
static void pieces(TileEmit *e) {
    Ctx *ctx = e->c->ctx;
    int last = e->s->n_items - 1;
    bool part = e->s->job == last;
    LoopBody *outer = e->cur.at;
    for (int k = 0; k < e->s->n_pieces; k++) {
        const TilePiece *p = &e->s->pieces[k];
        Dim lo[2] = {p->lo, e->part_lo}, hi[2] = {p->hi, e->part_hi};
        DimSym block = e->ub;
        if (p->single) { /* rows past the last whole block, in the part that holds that block */
            hi[0] = dim_addk(ctx, p->lo, 1);
        }
        LoopStmt *s = loop_for(&e->cur, block, lo, part ? 2 : 1, hi, part ? 2 : 1, 1, NULL, 0);
        bool packs = e->s->pack_a && e->s->place_a == e->s->n_items;
        s->name = packs ? NULL : tile_name(e);
        LoopBody *in = e->cur.at;
        e->u0 = dim_add(ctx, e->c->out[e->s->u].lo, dim_scale(ctx, dim_of(ctx, block), e->s->rows));
        if (p->single) {
            DimSym row = tile_fresh(e, "row");
            LoopStmt *r = tile_loop(e, row, dim_const(ctx, 0), p->hi, NULL);
            e->u0 = dim_add(ctx, e->u0, dim_of(ctx, row));
            tiles(e, p);
            loop_end(&e->cur, r, in, NULL);
        } else {
            if (packs)
                tile_pack(e, &e->a, e->s->n_items, false);
            tile_behind_pages(e);
            tiles(e, p);
        }
        loop_end(&e->cur, s, outer, NULL);
    }
}

static void level(TileEmit *e, int k) {
    const Contraction *c = e->c;
    const Scheme *s = e->s;
    LoopBody *outer = e->cur.at;
    if (k && k == e->copy.place)
        copy_apart(e, &e->copy);
    if (!k)
        tile_behind_around(e, true);
    if (k && k == s->place_b)
        tile_pack(e, &e->b, k, true);
    if (s->pack_a && s->a_in_job && k == s->place_a)
        tile_pack(e, &e->a, k, false);
    if (k == s->place_out)
        tile_begin_sums(e);
    if (k == s->n_items - 1) {
        pieces(e);
    } else {
        TileItem i = s->items[k];
        Dim lo, hi;
        tile_item_range(e, k, &lo, &hi);
        DimSym sym = i.kind == TILE_V_GROUPS ? e->vg
                     : i.kind == TILE_RED    ? (e->chunk ? e->chunk : c->red[i.at].sym)
                                             : c->out[i.at].sym;
        LoopStmt *loop = tile_loop(e, sym, lo, hi, NULL);
        level(e, k + 1);
        loop_end(&e->cur, loop, outer, NULL);
    }
    if (k == s->place_out)
        tile_finish_sums(e);
    if (k && k == e->spread.place)
        copy_apart(e, &e->spread);
    if (!k)
        tile_behind_around(e, false);
}

/* for all cells of the outputs: to = from, or to = to + from. */
static void cells(TileEmit *e, const LoopStmt *to, const LoopStmt *from, bool add) {
    const Contraction *c = e->c;
    LoopStmt *loops[TILE_LOOPS];
    LoopBody *bodies[TILE_LOOPS];
    for (int k = 0; k < c->n_out; k++) {
        bodies[k] = e->cur.at;
        loops[k] = tile_loop(e, c->out[k].sym, c->out[k].lo, c->out[k].hi, NULL);
    }
    LVal v = loop_load(&e->cur, from->buf, from->subs);
    if (add) {
        LVal so_far = loop_load(&e->cur, to->buf, to->subs);
        v = loop_let(&e->cur, SC_add, (LVal[]){so_far, v}, 2, DT_NONE);
    }
    loop_store(&e->cur, to->buf, to->subs, v);
    for (int k = c->n_out - 1; k >= 0; k--)
        loop_end(&e->cur, loops[k], bodies[k], NULL);
}

/* What a job does in its turn: its sums are those so far, or are added to them. */
static void add_partial(TileEmit *e) {
    LoopBody *outer = e->cur.at;
    LVal first[2] = {loop_index(&e->cur, dim_of(e->c->ctx, e->job), 1, 0),
                     loop_int(&e->cur, (LType){DT_I64, 1}, 0)};
    LoopStmt *s = loop_if(&e->cur, loop_let(&e->cur, SC_eq, first, 2, DT_NONE));
    cells(e, e->total, e->c->store, false);
    e->cur.at = &s->orelse;
    cells(e, e->total, e->c->store, true);
    loop_end(&e->cur, s, outer, NULL);
}

/* A cell of a new buffer where vectors are contiguous, with the job's number or without. */
static const LoopStmt *sums_by_vectors(TileEmit *e, const char *name, DimSym job) {
    const Contraction *c = e->c;
    const TileLoop *v = &c->out[e->s->v];
    Dim shape[TILE_LOOPS + 1], *subs = ARENA_ARRAY(c->arena, Dim, c->n_out + 1);
    int n = 0;
    if (job) {
        shape[n] = dim_const(c->ctx, e->s->jobs);
        subs[n++] = dim_of(c->ctx, job);
    }
    for (int k = 0; k < c->n_out; k++) {
        if (k == e->s->v)
            continue;
        shape[n] = c->out[k].extent;
        subs[n++] = dim_sub(c->ctx, dim_of(c->ctx, c->out[k].sym), c->out[k].lo);
    }
    shape[n] = v->extent;
    subs[n++] = dim_sub(c->ctx, dim_of(c->ctx, v->sym), v->lo);
    LoopStmt *s = arena_dup(c->arena, c->store, sizeof *s);
    s->buf = tile_buffer(e, name, n, shape, false);
    s->rank = n;
    s->subs = subs;
    s->lane_axis = n - 1;
    return s;
}

/* The nest's sums go to a row of the job's own. Their total is turned afterwards if vectors are not
 * contiguous in the result. */
static void use_partial(TileEmit *e, Contraction *c) {
    int64_t coef;
    bool direct = tile_axis(c, c->store, c->out[e->s->v].sym, &coef) == c->store->rank - 1;
    e->total = direct && coef == 1 ? c->store : sums_by_vectors(e, "total", NULL);
    c->store = sums_by_vectors(e, "part", e->job);
}

/* Job k has blocks (k*n) // jobs .. ((k + 1)*n) // jobs of its item. */
static void jobs(TileEmit *e) {
    Ctx *ctx = e->c->ctx;
    LoopBody *outer = e->cur.at;
    Dim lo, hi, n, jobs = dim_const(ctx, e->s->jobs);
    tile_item_range(e, e->s->job, &lo, &hi);
    n = dim_sub(ctx, hi, lo);
    LoopStmt *s = tile_loop(e, e->job, dim_const(ctx, 0), jobs, NULL);
    s->parallel = true;
    s->name = tile_name(e);
    Dim first = dim_of(ctx, e->job), next = dim_addk(ctx, first, 1);
    e->part_lo = dim_add(ctx, lo, dim_floordiv(ctx, dim_mul(ctx, first, n), jobs));
    e->part_hi = dim_add(ctx, lo, dim_floordiv(ctx, dim_mul(ctx, next, n), jobs));
    level(e, 0);
    if (e->s->partial) {
        e->cur.at = &s->orelse;
        add_partial(e);
    }
    loop_end(&e->cur, s, outer, NULL);
}

void tile_emit(const Contraction *contraction, const Target *t, const Scheme *scheme,
               LoopBody *to) {
    Contraction own = *contraction, *c = &own;
    Scheme own_scheme = *scheme, *s = &own_scheme;
    TileEmit e = {.c = c, .s = s, .width = s->vectors * s->lanes};
    tile_behind_choose(c, t, s, &e.behind);
    e.group_width = e.width * s->group;
    e.cur = (LoopCursor){.m = c->m, .f = c->f, .at = to, .span = c->root->span};
    e.vb = tile_fresh(&e, str_fmt(c->ctx, "%sb", c->out[s->v].sym->name));
    bool apart = s->group > 1 || tile_last_vectors(c, s) < s->vectors;
    e.vg = apart ? tile_fresh(&e, str_fmt(c->ctx, "%sg", c->out[s->v].sym->name)) : e.vb;
    e.ub = tile_fresh(&e, str_fmt(c->ctx, "%sb", c->out[s->u].sym->name));
    e.v0 = dim_add(c->ctx, c->out[s->v].lo, dim_scale(c->ctx, dim_of(c->ctx, e.vb), e.width));
    e.group_v =
        dim_add(c->ctx, c->out[s->v].lo, dim_scale(c->ctx, dim_of(c->ctx, e.vg), e.group_width));
    /* cells of partial sums are filled outside the loop over the only group */
    e.first_v = s->partial ? c->out[s->v].lo : e.group_v;
    for (int k = 0; k < s->n_items && s->chunk > 1; k++)
        if (s->items[k].kind == TILE_RED)
            e.chunk = tile_fresh(&e, str_fmt(c->ctx, "%sb", c->red[s->items[k].at].sym->name));
    e.from_sums = s->items[s->place_out].kind == TILE_RED;
    use_dense(&e, c, s);
    const LoopStmt *result = c->store;
    e.job = s->job >= 0 ? tile_fresh(&e, "job") : NULL;
    if (s->partial)
        use_partial(&e, c);
    if (e.copy.d && !e.copy.place)
        copy_apart(&e, &e.copy);
    if (s->place_b == 0)
        tile_pack(&e, &e.b, 0, true);
    if (s->pack_a && !s->a_in_job)
        tile_pack(&e, &e.a, 0, false);
    if (s->job >= 0)
        jobs(&e);
    else
        level(&e, 0);
    if (e.spread.d && !e.spread.place)
        copy_apart(&e, &e.spread);
    if (s->partial && e.total != result)
        cells(&e, result, e.total, false);
}
