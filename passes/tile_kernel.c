/* tile: the tile itself: sums in registers, carried through the reductions. */
#include "passes/tile_emit.h"

/* A short reduction is written out: of so many products and rounds, at most. Its loop would end so
 * often that the jumps out of it cost a third of the time of a 3 x 3 convolution. */
enum { UNROLLED = 256, SHORT = 16 };

typedef struct Kernel {
    TileEmit *e;
    const TilePiece *p;
    int vectors;   /* of the block: the last one may have fewer */
    DimBinding at; /* the innermost reduction where it is written out, else sym is NULL */
    LVal acc[TILE_U][TILE_V];
} Kernel;

typedef uint64_t Rows; /* a set of rows */

static LType vector_type(const TileEmit *e) { return (LType){e->c->dt, e->s->lanes}; }

static Dim row_value(const Kernel *k, int r) { return dim_addk(k->e->c->ctx, k->e->u0, r); }

/* Bindings of v (first lane of vector x), u (row r), and a reduction that is written out. */
static int bind(const Kernel *k, int r, int x, DimBinding *b) {
    const TileEmit *e = k->e;
    b[0] =
        (DimBinding){e->c->out[e->s->v].sym, dim_addk(e->c->ctx, e->v0, (int64_t)x * e->s->lanes)};
    b[1] = (DimBinding){e->c->out[e->s->u].sym, row_value(k, r)};
    b[2] = k->at;
    return k->at.sym ? 3 : 2;
}

/* Subscripts of a packed operand at the current point. */
static const Dim *packed_subs(const Kernel *k, const Packed *p, Dim block, int64_t at) {
    const TileEmit *e = k->e;
    const Dim *subs = tile_packed_subs(e, p, block, at);
    if (!k->at.sym)
        return subs;
    int rank = loop_bufp(e->c->f, p->buf)->rank;
    Dim *to = arena_dup(e->c->arena, subs, sizeof *to * (size_t)rank);
    for (int a = 0; a < rank; a++)
        to[a] = dim_subst(e->c->ctx, to[a], &k->at, 1);
    return to;
}

/* Lanes of vector x that exist; NULL: all. */
static Dim active(const TileEmit *e, int x) {
    const TileLoop *v = &e->c->out[e->s->v];
    if (v->n > 0 && v->n % e->width == 0)
        return NULL;
    return dim_sub(e->c->ctx, v->hi, dim_addk(e->c->ctx, e->v0, (int64_t)x * e->s->lanes));
}

/* Lanes of vector x of row r of the result that exist; NULL: all. */
static Dim active_cells(const Kernel *k, int r, int x) {
    const TileEmit *e = k->e;
    if (!k->p->padded)
        return active(e, x);
    return dim_scale(e->c->ctx, dim_sub(e->c->ctx, e->c->out[e->s->u].hi, row_value(k, r)),
                     e->s->lanes);
}

/* Lanes of vector x of row r. */
static LoopStmt *load_vector(const Kernel *k, const LoopStmt *l, int r, int x) {
    DimBinding b[3];
    TileEmit *e = k->e;
    const Dim *subs = tile_subs(e, l, b, bind(k, r, x, b));
    int64_t coef = 1;
    int axis = tile_axis(e->c, l, e->c->out[e->s->v].sym, &coef);
    LoopStmt *s = loop_load_lanes(&e->cur, l->buf, subs, e->s->lanes, active_cells(k, r, x));
    s->lane_axis = axis < 0 ? l->rank - 1 : axis;
    s->lane_step = axis < 0 ? 0 : coef;
    return s;
}

/* So many elements further a factor is read some steps later, if each step reads a row of memory of
 * its own; else NULL. */
static Dim steps_ahead(const TileEmit *e, const LoopStmt *l) {
    const Contraction *c = e->c;
    int64_t by = 16, coef, n;
    int axis = tile_axis(c, l, c->red[e->s->inner[e->s->n_inner - 1]].sym, &coef);
    if (axis < 0 || axis == l->rank - 1)
        return NULL;
    for (int a = axis + 1; a < l->rank; a++)
        by *= dim_is_const(loop_bufp(c->f, l->buf)->shape[a], &n) ? n : 0;
    return by ? dim_const(c->ctx, by * coef) : NULL;
}

/* The element of row r. Where a long factor is read where it is, the first and the last one of a
 * step to come are fetched. */
static LVal load_row(const Kernel *k, const LoopStmt *l, int r) {
    TileEmit *e = k->e;
    DimBinding b[3];
    const Dim *subs = tile_subs(e, l, b, bind(k, r, 0, b));
    LVal v = loop_load(&e->cur, l->buf, subs);
    if (e->s->split && (r == 0 || r == k->p->rows - 1))
        e->cur.at->stmts.p[e->cur.at->stmts.n - 1]->ahead = steps_ahead(e, l);
    return v;
}

/* Vector x of the vectors' factor. */
static LVal load_b(const Kernel *k, int x) {
    TileEmit *e = k->e;
    Dim vb = dim_of(e->c->ctx, e->vb);
    int64_t at = (int64_t)x * e->s->lanes;
    if (e->s->in_place) {
        const LoopStmt *l = e->c->load[e->s->b];
        DimBinding b[3];
        const Dim *subs = tile_subs(e, l, b, bind(k, 0, x, b));
        LoopStmt *s = loop_load_lanes(&e->cur, l->buf, subs, e->s->lanes, NULL);
        s->ahead = e->behind.d ? NULL : steps_ahead(e, l);
        return s->result;
    }
    LoopStmt *s =
        loop_load_lanes(&e->cur, e->b.buf, packed_subs(k, &e->b, vb, at), e->s->lanes, NULL);
    s->ahead = e->s->ahead ? dim_const(e->c->ctx, e->s->ahead) : NULL;
    s->again = x == 0 && k->at.sym; /* neighbouring rounds read the same elements */
    return s->result;
}

static void step(Kernel *k, Rows rows) {
    TileEmit *e = k->e;
    const LoopStmt *la = e->c->load[1 - e->s->b];
    LVal b[TILE_V];
    for (int x = 0; x < k->vectors; x++)
        b[x] = load_b(k, x);
    for (int r = 0; r < k->p->rows; r++) {
        if (!(rows >> r & 1))
            continue;
        LVal a;
        if (e->a.buf.id) {
            Dim block = e->ub ? dim_of(e->c->ctx, e->ub) : NULL;
            const Dim *subs = packed_subs(k, &e->a, block, r);
            if (k->p->single) { /* the row within its block */
                Dim in = dim_sub(e->c->ctx, e->u0,
                                 dim_add(e->c->ctx, e->c->out[e->s->u].lo,
                                         dim_scale(e->c->ctx, block, e->s->rows)));
                Dim *at = arena_dup(e->c->arena, subs,
                                    sizeof *at * (size_t)loop_bufp(e->c->f, e->a.buf)->rank);
                at[loop_bufp(e->c->f, e->a.buf)->rank - 1] = in;
                subs = at;
            }
            a = loop_load(&e->cur, e->a.buf, subs);
        } else {
            a = load_row(k, la, r);
        }
        a = loop_splat(&e->cur, a, e->s->lanes);
        for (int x = 0; x < k->vectors; x++) {
            LVal *acc = &k->acc[r][x];
            bool a_first = e->s->b == 1; /* operands keep their order */
            LVal args[3] = {a_first ? a : b[x], a_first ? b[x] : a, *acc};
            if (e->c->fma) {
                *acc = loop_let(&e->cur, SC_fma, args, 3, DT_NONE);
            } else {
                LVal sum[2] = {*acc, loop_let(&e->cur, SC_mul, args, 2, DT_NONE)};
                *acc = loop_let(&e->cur, SC_add, sum, 2, DT_NONE);
            }
        }
    }
}

static void reduce(Kernel *k, int level, Rows rows);

/* The innermost reduction, if it is short. Not where products wait for their sums: LLVM would move
 * those of several rounds together, and spill. */
static bool written_out(Kernel *k, int level, const TileBounds *b, Rows rows) {
    const TileEmit *e = k->e;
    int64_t lo, hi, products = 0;
    if (!e->c->fma || level != e->s->n_inner - 1 || b->n_lo != 1 || b->n_hi != 1 ||
        !dim_is_const(b->lo[0], &lo) || !dim_is_const(b->hi[0], &hi))
        return false;
    for (Rows r = rows; r; r &= r - 1)
        products += k->vectors;
    if (hi - lo > SHORT || (hi - lo) * products > UNROLLED)
        return false;
    for (int64_t at = lo; at < hi; at++) {
        k->at = (DimBinding){e->c->red[e->s->inner[level]].sym, dim_const(e->c->ctx, at)};
        step(k, rows);
    }
    k->at = (DimBinding){0};
    return true;
}

/* Opens a loop that carries the sums of these rows. */
static LoopStmt *open_sums(Kernel *k, DimSym index, const TileBounds *b, Rows rows) {
    LVal carried[TILE_U * TILE_V];
    int n = 0;
    for (int r = 0; r < k->p->rows; r++)
        for (int x = 0; x < k->vectors; x++)
            if (rows >> r & 1)
                carried[n++] = k->acc[r][x];
    LoopStmt *s = loop_for(&k->e->cur, index, b->lo, b->n_lo, b->hi, b->n_hi, 1, carried, n);
    n = 0;
    for (int r = 0; r < k->p->rows; r++)
        for (int x = 0; x < k->vectors; x++)
            if (rows >> r & 1)
                k->acc[r][x] = s->phi[n++];
    return s;
}

static void close_sums(Kernel *k, LoopStmt *s, LoopBody *outer, Rows rows) {
    LVal carried[TILE_U * TILE_V];
    int n = 0;
    for (int r = 0; r < k->p->rows; r++)
        for (int x = 0; x < k->vectors; x++)
            if (rows >> r & 1)
                carried[n++] = k->acc[r][x];
    loop_end(&k->e->cur, s, outer, carried);
    n = 0;
    for (int r = 0; r < k->p->rows; r++)
        for (int x = 0; x < k->vectors; x++)
            if (rows >> r & 1)
                k->acc[r][x] = s->out[n++];
}

/* One loop of a reduction in which these rows take part. */
static void loop_over(Kernel *k, int level, const TileBounds *b, Rows rows) {
    TileEmit *e = k->e;
    Ctx *ctx = e->c->ctx;
    const TileLoop *red = &e->c->red[e->s->inner[level]];
    int64_t steps = e->behind.d ? e->behind.steps : 0;
    TileBounds all = {.n_lo = 1, .n_hi = 1, .lo = {dim_const(ctx, 0)}}, part = all;
    if (!steps && written_out(k, level, b, rows))
        return;
    LoopBody *outer = e->cur.at, *inside = NULL;
    LoopStmt *times = NULL;
    DimSym time = NULL;
    if (steps) {
        time = tile_fresh(e, "time");
        all.hi[0] = dim_const(ctx, red->n / steps);
        part.lo[0] = dim_scale(ctx, dim_of(ctx, time), steps);
        part.hi[0] = dim_addk(ctx, part.lo[0], steps);
        times = open_sums(k, time, &all, rows);
        inside = e->cur.at;
    }
    LoopStmt *s = open_sums(k, red->sym, steps ? &part : b, rows);
    reduce(k, level + 1, rows);
    close_sums(k, s, steps ? inside : outer, rows);
    if (!steps)
        return;
    tile_behind_rows(e, dim_of(ctx, time));
    close_sums(k, times, outer, rows);
    e->n_names--;
}

/* Rows with different constant bounds: a loop for every stretch in which the same rows take part.
 */
static void segments(Kernel *k, int level, const TileBounds *of, Rows rows) {
    Ctx *ctx = k->e->c->ctx;
    int64_t lo[TILE_U], hi[TILE_U], at = INT64_MAX;
    for (int r = 0; r < k->p->rows; r++) {
        lo[r] = hi[r] = 0;
        if (!(rows >> r & 1))
            continue;
        dim_is_const(of[r].lo[0], &lo[r]);
        dim_is_const(of[r].hi[0], &hi[r]);
        at = lo[r] < at ? lo[r] : at;
    }
    for (;;) {
        Rows in = 0;
        int64_t next = INT64_MAX;
        for (int r = 0; r < k->p->rows; r++) {
            if (!(rows >> r & 1))
                continue;
            if (lo[r] <= at && at < hi[r])
                in |= (Rows)1 << r;
            next = lo[r] > at && lo[r] < next ? lo[r] : next;
            next = hi[r] > at && hi[r] < next ? hi[r] : next;
        }
        if (next == INT64_MAX)
            return;
        TileBounds b = {
            .n_lo = 1, .n_hi = 1, .lo = {dim_const(ctx, at)}, .hi = {dim_const(ctx, next)}};
        if (in)
            loop_over(k, level, &b, in);
        at = next;
    }
}

/* The bounds of a reduction at value `at` of u; of a chunk, they are the chunk's. */
static void bounds_at(const Kernel *k, const TileLoop *red, int64_t at, TileBounds *b) {
    const TileEmit *e = k->e;
    Dim first = tile_chunk(e, red);
    if (!first) {
        tile_bounds(e->c, red, e->c->out[e->s->u].sym, at, b);
        return;
    }
    bool whole = red->n > 0 && red->n % e->s->chunk == 0;
    *b = (TileBounds){.n_lo = 1, .n_hi = whole ? 1 : 2, .lo = {first}};
    b->hi[0] = dim_addk(e->c->ctx, first, e->s->chunk);
    b->hi[1] = red->hi;
}

static void reduce(Kernel *k, int level, Rows rows) {
    TileEmit *e = k->e;
    const Contraction *c = e->c;
    if (level == e->s->n_inner) {
        step(k, rows);
        return;
    }
    const TileLoop *u = &c->out[e->s->u], *red = &c->red[e->s->inner[level]];
    int64_t first = u->n <= 0 ? -1 : u->first + e->s->rows * (k->p->fixed >= 0 ? k->p->fixed : 0);
    TileBounds of[TILE_U];
    bool same = true;
    if (k->p->fixed < 0 && u->n > 0) { /* all blocks of the piece have the bounds of its first */
        int64_t block = 0;
        dim_is_const(k->p->lo, &block);
        first = u->first + e->s->rows * block;
    }
    int known = -1;
    for (int r = 0; r < k->p->rows; r++) {
        if (!(rows >> r & 1))
            continue;
        bounds_at(k, red, first < 0 ? -1 : first + r, &of[r]);
        same = same && (known < 0 || tile_same_bounds(&of[known], &of[r]));
        known = r;
    }
    if (same)
        loop_over(k, level, &of[known], rows);
    else
        segments(k, level, of, rows);
}

/* ---- before and after */

static LVal start(Kernel *k, int r, int x) {
    TileEmit *e = k->e;
    const Contraction *c = e->c;
    if (e->from_sums) {
        if (e->sums.id)
            return loop_load_lanes(&e->cur, e->sums,
                                   tile_sum_subs(e, row_value(k, r), (int64_t)x * e->s->lanes),
                                   e->s->lanes, NULL)
                ->result;
        LoopStmt *s = load_vector(k, c->store, r, x);
        Dim begun = tile_first_chunk(e);
        if (e->s->split && e->s->group > 1) /* those of the next tile, from further away */
            s->ahead = dim_const(c->ctx, e->width);
        if (begun)
            s->active = s->active ? dim_mul(c->ctx, s->active, begun)
                                  : dim_scale(c->ctx, begun, e->s->lanes);
        return s->result;
    }
    if (c->init->kind == LOOP_CONST)
        return loop_const(&e->cur, vector_type(e), c->init->k);
    return load_vector(k, c->init, r, x)->result;
}

static void finish(Kernel *k, int r, int x) {
    TileEmit *e = k->e;
    DimBinding b[3];
    if (e->sums.id) {
        loop_store(&e->cur, e->sums, tile_sum_subs(e, row_value(k, r), (int64_t)x * e->s->lanes),
                   k->acc[r][x]);
        return;
    }
    int n = bind(k, r, x, b);
    LoopStmt *s =
        loop_store(&e->cur, e->c->store->buf, tile_subs(e, e->c->store, b, n), k->acc[r][x]);
    s->active = active_cells(k, r, x);
}

void tile_kernel(TileEmit *e, const TilePiece *p, int vectors) {
    Kernel k = {.e = e, .p = p, .vectors = vectors};
    for (int r = 0; r < p->rows; r++)
        for (int x = 0; x < vectors; x++)
            k.acc[r][x] = start(&k, r, x);
    reduce(&k, 0, ((Rows)1 << p->rows) - 1);
    for (int r = 0; r < p->rows; r++)
        for (int x = 0; x < vectors; x++)
            finish(&k, r, x);
}
