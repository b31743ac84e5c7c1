/* tile: neighbouring loops that walk over every other element of one tensor only.
 *
 *   for n, o, i in 0..28, j in 0..28 { sum over c of x[n, c, 2*i, 2*j] * w[o, c] }
 *
 * has rows of 28, and every step over c lands on another page. Where an element is used often, x is
 * copied into x.d[n, c, i, j] first; i and j are then one loop over 784 (passes/collapse.c), and
 * its elements lie next to each other. A result with such subscripts is computed densely and spread
 * afterwards, together with the constant that fills the cells in between.
 *
 * Where the loop over n stands outside the tiles, or a factor is packed, each n is copied by
 * itself: the dense buffer then stays in the cache (tile_emit.c, tile_pack.c). */
#include "passes/tile_priv.h"

enum { OFTEN = 32, MOST_ACCESSES = 16 };

typedef struct Dense {
    const Contraction *c;
    LoopCursor cur;
    const TileLoop *p, *q; /* the pair, outer and inner */
    LoopStmt *access[MOST_ACCESSES];
    int n;
    LoopStmt *load, *store, *init; /* the sparse accesses; init reads the cell */
    int axis;                      /* of p there; q has the next one */
} Dense;

static bool collect(Dense *d, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        if (s->kind == LOOP_LOAD || s->kind == LOOP_STORE) {
            if (d->n == MOST_ACCESSES)
                return false;
            d->access[d->n++] = s;
        }
        if (!collect(d, &s->body))
            return false;
    }
    return true;
}

static bool mentions(const LoopStmt *s, DimSym x, DimSym y) {
    return tile_in(s, x) || tile_in(s, y);
}

/* The axis of p where q has the next one, each with its own subscript; -1. */
static int pair_axis(const Dense *d, const LoopStmt *s, bool *dense) {
    int64_t at_p = 0, at_q = 0;
    Dim rest_p, rest_q;
    int64_t coef;
    int axis = tile_axis(d->c, s, d->p->sym, &coef);
    if (axis < 0 || axis + 1 >= s->rank || tile_axis(d->c, s, d->q->sym, &coef) != axis + 1)
        return -1;
    if (!tile_single(d->c, s->subs[axis], &at_p, &rest_p) ||
        !tile_single(d->c, s->subs[axis + 1], &at_q, &rest_q))
        return -1;
    *dense = at_p == 1 && at_q == 1 && dim_is_zero(rest_p) && dim_is_zero(rest_q) &&
             loop_bufp(d->c->f, s->buf)->shape[axis + 1] == d->q->extent;
    return axis;
}

static bool same_cell(const LoopStmt *a, const LoopStmt *b) {
    bool same = a->buf.id == b->buf.id && a->rank == b->rank;
    for (int k = 0; same && k < a->rank; k++)
        same = a->subs[k] == b->subs[k];
    return same;
}

/* Exactly one tensor is walked over sparsely. */
static bool find_sparse(Dense *d) {
    LoopStmt *sparse[MOST_ACCESSES];
    int n = 0;
    for (int k = 0; k < d->n; k++) {
        bool dense = false;
        if (!mentions(d->access[k], d->p->sym, d->q->sym))
            continue;
        int axis = pair_axis(d, d->access[k], &dense);
        if (axis < 0)
            return false;
        if (dense)
            continue;
        d->axis = axis;
        sparse[n++] = d->access[k];
    }
    d->load = d->store = d->init = NULL;
    if (n == 1 && sparse[0]->kind == LOOP_LOAD)
        d->load = sparse[0];
    else if (n == 1)
        d->store = sparse[0];
    else if (n == 2 && sparse[0]->kind == LOOP_LOAD && sparse[1]->kind == LOOP_STORE &&
             same_cell(sparse[0], sparse[1])) {
        d->init = sparse[0];
        d->store = sparse[1];
    }
    return d->load || d->store;
}

static double guess(const TileLoop *l) { return l->n > 0 ? (double)l->n : OFTEN; }

/* The dense copy: an axis for every index of the access. False: not possible, or not worth it. */
static bool dense_buffer(Dense *d, const LoopStmt *s, const Dim **subs, DenseCopy *copy) {
    const Contraction *c = d->c;
    int *rank = &copy->rank;
    const LoopBuf *from = loop_bufp(c->f, s->buf);
    Dim shape[MAX_RANK], all = dim_const(c->ctx, (int64_t)dtype_size(from->dt));
    Dim *to = ARENA_ARRAY(c->arena, Dim, s->rank);
    double uses = 1, cells = 1;
    *rank = 0;
    for (int a = 0; a < s->rank; a++) {
        int64_t coef;
        Dim rest;
        DimSym x = tile_single(c, s->subs[a], &coef, &rest);
        if (!x) {
            for (int k = 0; k < c->n_out + c->n_red; k++)
                if (dim_mentions(s->subs[a],
                                 k < c->n_out ? c->out[k].sym : c->red[k - c->n_out].sym))
                    return false;
            continue;
        }
        const TileLoop *l = tile_loop_of(c, x);
        bool all_visited = l->loop->n_lo == 1 && l->loop->n_hi == 1;
        if (tile_axis(c, s, x, &coef) != a || (!all_visited && !tile_inside(c, s, a, l)))
            return false;
        copy->loops[*rank] = *l;
        shape[*rank] = l->extent;
        to[(*rank)++] = dim_sub(c->ctx, dim_of(c->ctx, x), l->lo);
        all = all ? dim_mul(c->ctx, all, l->extent) : NULL;
        cells *= guess(l);
    }
    for (int k = 0; k < c->n_out; k++)
        uses *= guess(&c->out[k]);
    for (int k = 0; k < c->n_red; k++)
        uses *= guess(&c->red[k]);
    if (!all || uses < OFTEN * cells)
        return false;
    LoopBuf b = {.name = str_fmt(c->ctx, "%s.d", from->name),
                 .kind = BUF_WORK,
                 .dt = from->dt,
                 .rank = *rank,
                 .shape = arena_dup(c->arena, shape, sizeof *shape * (size_t)*rank),
                 .arg = -1,
                 .span = c->root->span};
    *subs = to;
    copy->sparse = s->buf;
    copy->subs = s->subs;
    copy->sparse_rank = s->rank;
    copy->dense = loop_buf(c->m, c->f, b);
    return true;
}

static void use(LoopStmt *s, BufId buf, const Dim *subs, int rank) {
    s->buf = buf;
    s->subs = subs;
    s->rank = rank;
    s->lane_axis = rank - 1;
}

static bool dense_factor(Dense *d, DenseCopy *copy) {
    const Dim *subs;
    if (!dense_buffer(d, d->load, &subs, copy))
        return false;
    use(d->load, copy->dense, subs, copy->rank);
    vec_push(d->c->arena, &d->cur.at->stmts, d->c->root);
    return true;
}

/* s gives every cell of the storage the same value. */
static bool is_fill(const Dense *d, const LoopStmt *s, BufId of, ScalarValue *value) {
    const LoopFunc *f = d->c->f;
    const LoopStmt *loops[MAX_RANK];
    int n = 0;
    while (s && s->kind == LOOP_FOR && n < MAX_RANK) {
        if (s->n_carried || s->parallel || s->n_args || s->step != 1 || s->n_lo != 1 ||
            s->n_hi != 1 || !dim_is_zero(s->lo[0]))
            return false;
        loops[n++] = s;
        if (s->body.stmts.n == 2)
            break;
        s = s->body.stmts.n == 1 ? s->body.stmts.p[0] : NULL;
    }
    if (!s || s->kind != LOOP_FOR || s->body.stmts.n != 2)
        return false;
    const LoopStmt *k = s->body.stmts.p[0], *store = s->body.stmts.p[1];
    if (k->kind != LOOP_CONST || k->type.lanes != 1 || store->kind != LOOP_STORE ||
        store->args[0].id != k->result.id || store->sub_vals || store->active || store->rank != n ||
        loop_storage(f, store->buf) != loop_storage(f, of))
        return false;
    for (int a = 0; a < n; a++)
        if (dim_as_symbol(store->subs[a]) != loops[a]->index ||
            loops[a]->hi[0] != loop_bufp(f, store->buf)->shape[a])
            return false;
    *value = k->k;
    return true;
}

/* Sums go to a dense buffer. */
static bool dense_result(Dense *d, DenseCopy *copy) {
    const Contraction *c = d->c;
    const Dim *subs;
    int n = d->cur.at->stmts.n;
    LoopStmt *s = d->store;
    for (int a = 0; a < d->axis; a++) /* what lies outside is whole */
        if (dim_as_symbol(s->subs[a]) == NULL || !tile_loop_of(c, dim_as_symbol(s->subs[a])))
            return false;
    if (d->axis + 2 != s->rank ||
        (d->init && (!n || !is_fill(d, d->cur.at->stmts.p[n - 1], s->buf, &copy->value))) ||
        !dense_buffer(d, s, &subs, copy) || copy->rank != s->rank)
        return false;
    copy->result = true;
    copy->filled = d->init;
    copy->axis = d->axis;
    if (d->init) {
        d->cur.at->stmts.n = n - 1; /* the fill */
        d->init->kind = LOOP_CONST;
        d->init->k = copy->value;
        d->init->subs = NULL;
        d->init->rank = 0;
        d->init->buf = (BufId){0};
    }
    use(s, copy->dense, subs, copy->rank);
    loop_bufp(c->f, copy->dense)->written = true;
    vec_push(c->arena, &d->cur.at->stmts, c->root);
    return true;
}

/* ---- copying */

typedef struct Walk {
    LoopCursor *cur;
    const DenseCopy *d;
    const Dim *known;
    int n_known;
    LoopStmt *loop[MAX_RANK];
    LoopBody *outer[MAX_RANK];
    int n;
} Walk;

static void open_loop(Walk *t, int axis, Dim lo, Dim hi) {
    t->outer[t->n] = t->cur->at;
    t->loop[t->n++] = loop_for(t->cur, t->d->loops[axis].sym, &lo, 1, &hi, 1, 1, NULL, 0);
}

static void close_loops(Walk *t, int to) {
    while (t->n > to) {
        t->n--;
        loop_end(t->cur, t->loop[t->n], t->outer[t->n], NULL);
    }
}

/* Subscripts of the cell in the sparse tensor (its own, or those of the dense index itself). */
static const Dim *sparse_cell(const Walk *t, const Dim *subs, int rank) {
    Ctx *ctx = t->cur->m->ctx;
    DimBinding b[MAX_RANK];
    Dim *to = ARENA_ARRAY(t->cur->m->arena, Dim, rank + 1);
    for (int a = 0; a < t->n_known; a++)
        b[a] = (DimBinding){t->d->loops[a].sym, dim_add(ctx, t->known[a], t->d->loops[a].lo)};
    for (int a = 0; a < rank; a++)
        to[a] = t->n_known ? dim_subst(ctx, subs[a], b, t->n_known) : subs[a];
    return to;
}

static const Dim *dense_cell(const Walk *t) {
    Ctx *ctx = t->cur->m->ctx;
    const DenseCopy *d = t->d;
    Dim *to = ARENA_ARRAY(t->cur->m->arena, Dim, d->rank + 1);
    for (int a = t->n_known; a < d->rank; a++)
        to[a - t->n_known] = dim_sub(ctx, dim_of(ctx, d->loops[a].sym), d->loops[a].lo);
    return to;
}

/* The last dense axis as a few vectors, if its length is a constant: their masks are constants. */
static int few_vectors(const DenseCopy *d) {
    enum { FEW = 8 };
    const TileLoop *l = &d->loops[d->rank - 1];
    int64_t n = l->n > 0 && d->lanes > 1 ? (l->n + d->lanes - 1) / d->lanes : 0;
    return n <= FEW ? (int)n : 0;
}

/* Elements of vector k; NULL: all lanes. */
static Dim lanes_left(const Walk *t, int k) {
    int64_t left = t->d->loops[t->d->rank - 1].n - (int64_t)k * t->d->lanes;
    return left < t->d->lanes ? dim_const(t->cur->m->ctx, left) : NULL;
}

/* Subscripts with the last dense index at the first lane of vector k. */
static const Dim *at_vector(const Walk *t, const Dim *subs, int rank, int k) {
    Ctx *ctx = t->cur->m->ctx;
    const TileLoop *l = &t->d->loops[t->d->rank - 1];
    DimBinding b = {l->sym, dim_addk(ctx, l->lo, (int64_t)k * t->d->lanes)};
    Dim *to = ARENA_ARRAY(t->cur->m->arena, Dim, rank + 1);
    for (int a = 0; a < rank; a++)
        to[a] = dim_subst(ctx, subs[a], &b, 1);
    return to;
}

/* How far apart neighbours lie on the last sparse axis; 0: elsewhere. */
static int64_t step_of_row(Ctx *ctx, const DenseCopy *d) {
    DimSym x = d->loops[d->rank - 1].sym;
    Dim coef, rest;
    int64_t step = 0;
    for (int a = 0; a < d->sparse_rank - 1; a++)
        if (dim_mentions(d->subs[a], x))
            return 0;
    if (!dim_linear_in(ctx, d->subs[d->sparse_rank - 1], x, &coef, &rest) ||
        !dim_is_const(coef, &step))
        return 0;
    return step > 0 ? step : 0;
}

int tile_dense_vectors(Ctx *ctx, const DenseCopy *d) {
    return step_of_row(ctx, d) ? few_vectors(d) : 0;
}

/* So many elements further lies the row `by` further along the index before the pair's; NULL: not
 * known. */
static Dim row_ahead(const Walk *t, int64_t by) {
    const DenseCopy *d = t->d;
    Ctx *ctx = t->cur->m->ctx;
    const LoopBuf *b = loop_bufp(t->cur->f, d->sparse);
    Dim coef, rest;
    int64_t n, k;
    for (int a = 0; d->rank > 2 && a < d->sparse_rank - 1; a++) {
        if (!dim_linear_in(ctx, d->subs[a], d->loops[d->rank - 3].sym, &coef, &rest) ||
            !dim_is_const(coef, &k) || !k)
            continue;
        for (int j = a + 1; j < d->sparse_rank; j++)
            k *= dim_is_const(b->shape[j], &n) ? n : 0;
        return k ? dim_const(ctx, k * by) : NULL;
    }
    return NULL;
}

/* A row as vectors, from and to what the subscripts say of its first element. */
static void copy_row(Walk *t, const Dim *from, BufId dense, const Dim *to, int rank, Dim ahead) {
    const DenseCopy *d = t->d;
    int vectors = few_vectors(d);
    for (int k = 0; k < vectors; k++) {
        LoopStmt *v = loop_load_lanes(t->cur, d->sparse, at_vector(t, from, d->sparse_rank, k),
                                      d->lanes, lanes_left(t, k));
        v->lane_step = step_of_row(t->cur->m->ctx, d);
        v->ahead = ahead;
        loop_store(t->cur, dense, at_vector(t, to, rank, k), v->result)->active = lanes_left(t, k);
    }
}

/* Memory answers while so many rows are copied. */
static Dim rows_ahead(const Walk *t) {
    enum { ROWS = 32 };
    int64_t rows = t->d->rank > 1 ? t->d->loops[t->d->rank - 2].n : -1;
    return rows > 0 ? row_ahead(t, (ROWS + rows - 1) / rows) : NULL;
}

static void copy_sparse(Walk *t, BufId dense) {
    const DenseCopy *d = t->d;
    int vectors = tile_dense_vectors(t->cur->m->ctx, d);
    for (int a = t->n_known; a < d->rank - (vectors > 0); a++)
        open_loop(t, a, d->loops[a].lo, d->loops[a].hi);
    const Dim *from = sparse_cell(t, d->subs, d->sparse_rank), *to = dense_cell(t);
    if (vectors)
        copy_row(t, from, dense, to, d->rank - t->n_known, rows_ahead(t));
    else
        loop_store(t->cur, dense, to, loop_load(t->cur, d->sparse, from));
    close_loops(t, 0);
}

void tile_dense_row(LoopCursor *cur, const DenseCopy *d, const Dim *known, BufId to,
                    const Dim *subs, int rank, int64_t ahead) {
    Ctx *ctx = cur->m->ctx;
    Walk t = {.cur = cur, .d = d, .known = known, .n_known = d->rank - 1};
    const TileLoop *l = &d->loops[d->rank - 1];
    Dim *row = arena_dup(cur->m->arena, subs, sizeof *row * (size_t)rank);
    row[rank - 1] = dim_add(ctx, row[rank - 1], dim_sub(ctx, dim_of(ctx, l->sym), l->lo));
    copy_row(&t, sparse_cell(&t, d->subs, d->sparse_rank), to, row, rank, row_ahead(&t, ahead));
}

/* Is every other element of a row a sum, and the rest the constant? */
static bool every_other(Ctx *ctx, const DenseCopy *d) {
    const TileLoop *l = &d->loops[d->rank - 1];
    Dim coef, rest;
    return d->filled && d->lanes > 1 && dim_is_zero(l->lo) &&
           dim_linear_in(ctx, d->subs[d->sparse_rank - 1], l->sym, &coef, &rest) &&
           coef == dim_const(ctx, 2) && dim_is_zero(rest);
}

/* One vector of sums becomes two of the result; active: sums that there are. */
static void zip_vector(Walk *t, BufId dense, const Dim *from, const Dim *to, Dim active,
                       Dim ahead) {
    const DenseCopy *d = t->d;
    LoopCursor *cur = t->cur;
    Ctx *ctx = cur->m->ctx;
    int last = d->sparse_rank - 1;
    const LoopBuf *b = loop_bufp(cur->f, d->sparse);
    LVal pair[2] = {loop_load_lanes(cur, dense, from, d->lanes, active)->result,
                    loop_const(cur, (LType){b->dt, d->lanes}, d->value)};
    for (int half = 0; half < 2; half++) {
        int64_t left;
        LVal v = loop_let(cur, half ? SC_zip_high : SC_zip_low, pair, 2, DT_NONE);
        Dim *at = arena_dup(cur->m->arena, to, sizeof *at * (size_t)d->sparse_rank);
        at[last] = dim_addk(ctx, at[last], half * d->lanes);
        Dim some = dim_sub(ctx, b->shape[last], at[last]);
        bool known = some && dim_is_const(some, &left);
        if (known && left <= 0)
            continue;
        LoopStmt *s = loop_store(cur, d->sparse, at, v);
        s->active = known && left >= d->lanes ? NULL : some;
        s->ahead = ahead;
    }
}

/* Vectors of sums are zipped with the constant: a store lane by lane takes ten times as long. */
static void interleave(Walk *t, BufId dense) {
    const DenseCopy *d = t->d;
    LoopCursor *cur = t->cur;
    Ctx *ctx = cur->m->ctx;
    const TileLoop *l = &d->loops[d->rank - 1];
    int vectors = few_vectors(d);
    for (int a = d->axis; a < d->rank - 1; a++)
        open_loop(t, a, d->loops[a].lo, d->loops[a].hi);
    const Dim *to = sparse_cell(t, d->subs, d->sparse_rank), *from = dense_cell(t);
    for (int k = 0; k < vectors; k++)
        zip_vector(t, dense, at_vector(t, from, d->rank - t->n_known, k),
                   at_vector(t, to, d->sparse_rank, k), lanes_left(t, k), NULL);
    if (!vectors) {
        t->outer[t->n] = cur->at;
        t->loop[t->n++] = loop_for(cur, l->sym, &l->lo, 1, &l->hi, 1, d->lanes, NULL, 0);
        zip_vector(t, dense, from, to, dim_sub(ctx, l->hi, dim_of(ctx, l->sym)), NULL);
    }
    close_loops(t, 0);
}

/* The distance of the rows of sums in the result; 0: it is not known, or rows lie elsewhere. */
static int64_t step_of_rows(Ctx *ctx, const DenseCopy *d) {
    const TileLoop *l = &d->loops[d->rank - 2];
    Dim coef, rest;
    int64_t step = 0;
    return dim_linear_in(ctx, d->subs[d->axis], l->sym, &coef, &rest) && dim_is_zero(rest) &&
                   dim_is_const(coef, &step) && step > 0
               ? step
               : 0;
}

bool tile_dense_by_rows(const Contraction *c, const DenseCopy *d) {
    const LoopBuf *to = loop_bufp(c->f, d->sparse);
    const TileLoop *rows = &d->loops[d->rank - 2], *row = rows + 1;
    int64_t h, w, step = step_of_rows(c->ctx, d);
    return step && d->sparse_rank == d->rank && d->axis == d->rank - 2 && every_other(c->ctx, d) &&
           few_vectors(d) && dim_is_zero(rows->lo) && dim_is_const(to->shape[d->axis], &h) &&
           dim_is_const(to->shape[d->axis + 1], &w) && h <= step * rows->n && w <= 2 * row->n;
}

void tile_dense_spread_row(LoopCursor *cur, const DenseCopy *d, const Dim *known, BufId from,
                           const Dim *subs, DimSym other, int64_t ahead) {
    Ctx *ctx = cur->m->ctx;
    Walk t = {.cur = cur, .d = d, .known = known, .n_known = d->rank - 1};
    const TileLoop *l = &d->loops[d->rank - 1];
    const LoopBuf *b = loop_bufp(cur->f, d->sparse);
    Dim *row = arena_dup(cur->m->arena, subs, sizeof *row * (size_t)(d->rank - 1)),
        *to = arena_dup(cur->m->arena, sparse_cell(&t, d->subs, d->sparse_rank),
                        sizeof *to * (size_t)d->sparse_rank),
        far = row_ahead(&t, ahead);
    row[d->rank - 2] = dim_add(ctx, row[d->rank - 2], dim_of(ctx, l->sym));
    for (int k = 0; k < few_vectors(d); k++)
        zip_vector(&t, from, at_vector(&t, row, d->rank - 1, k),
                   at_vector(&t, to, d->sparse_rank, k), lanes_left(&t, k), far);
    LoopBody *outer = cur->at;
    Dim lo = dim_addk(ctx, to[d->axis], 1),
        hi[2] = {dim_addk(ctx, to[d->axis], step_of_rows(ctx, d)), b->shape[d->axis]};
    LoopStmt *s = loop_for(cur, other, &lo, 1, hi, 2, 1, NULL, 0);
    LVal v = loop_const(cur, (LType){b->dt, d->lanes}, d->value);
    int64_t width = 0;
    dim_is_const(b->shape[d->axis + 1], &width);
    to[d->axis] = dim_of(ctx, other);
    for (int64_t at = 0; at < width; at += d->lanes) {
        Dim *cell = arena_dup(cur->m->arena, to, sizeof *to * (size_t)d->sparse_rank);
        cell[d->axis + 1] = dim_const(ctx, at);
        LoopStmt *store = loop_store(cur, d->sparse, cell, v);
        store->active = width - at < d->lanes ? dim_const(ctx, width - at) : NULL;
        store->ahead = far;
    }
    loop_end(cur, s, outer, NULL);
}

/* For each value of the outer indices, the constant and the sums. */
static void spread_dense(Walk *t, BufId dense) {
    const DenseCopy *d = t->d;
    LoopCursor *cur = t->cur;
    const LoopBuf *to = loop_bufp(cur->f, d->sparse);
    Dim zero = dim_const(cur->m->ctx, 0), at[MAX_RANK];
    for (int a = t->n_known; a < d->axis; a++)
        open_loop(t, a, d->filled ? zero : d->loops[a].lo,
                  d->filled ? to->shape[a] : d->loops[a].hi);
    int outside = t->n;
    if (d->filled) {
        for (int a = 0; a < d->rank; a++)
            at[a] = dim_of(cur->m->ctx, d->loops[a].sym);
        for (int a = d->axis; a < d->rank; a++)
            open_loop(t, a, zero, to->shape[a]);
        LVal v = loop_const(cur, (LType){to->dt, 1}, d->value);
        loop_store(cur, d->sparse, sparse_cell(t, at, d->rank), v);
        close_loops(t, outside);
    }
    if (every_other(cur->m->ctx, d)) {
        interleave(t, dense);
        return;
    }
    for (int a = d->axis; a < d->rank; a++)
        open_loop(t, a, d->loops[a].lo, d->loops[a].hi);
    LVal v = loop_load(cur, dense, dense_cell(t));
    loop_store(cur, d->sparse, sparse_cell(t, d->subs, d->sparse_rank), v);
    close_loops(t, 0);
}

void tile_dense_copy(LoopCursor *cur, const DenseCopy *d, BufId dense, const Dim *known, int n) {
    Walk t = {.cur = cur, .d = d, .known = known, .n_known = n};
    if (d->result)
        spread_dense(&t, dense);
    else
        copy_sparse(&t, dense);
}

int tile_dense_apart(const Contraction *c, const DenseCopy *d, const LoopStmt *access) {
    int n = 0, most = d->result ? d->axis : d->rank - 1;
    for (; n < most && n < access->rank; n++) {
        const TileLoop *l = &d->loops[n];
        bool whole = !d->filled || l->extent == loop_bufp(c->f, d->sparse)->shape[n];
        if (!whole || !dim_is_zero(l->lo) || !dim_as_symbol(access->subs[n]) ||
            loop_bufp(c->f, access->buf)->shape[n] != l->extent)
            break;
    }
    return n;
}

static bool plain(const TileLoop *l) {
    return l->loop->n_lo == 1 && l->loop->n_hi == 1 && l->n > 1 && l->first == 0;
}

bool tile_dense(const Contraction *c, LoopBody *to, DenseCopy *copy) {
    *copy = (DenseCopy){0};
    Dense d = {.c = c};
    d.cur = (LoopCursor){.m = c->m, .f = c->f, .at = to, .span = c->root->span};
    if (!collect(&d, &c->root->body))
        return false;
    for (int k = 0; k + 1 < c->n_out + c->n_red; k++) {
        const TileLoop *l = k < c->n_out ? &c->out[k] : &c->red[k - c->n_out];
        if (k == c->n_out - 1 || !plain(l) || !plain(l + 1))
            continue;
        d.p = l;
        d.q = l + 1;
        if (find_sparse(&d))
            return d.load ? dense_factor(&d, copy) : dense_result(&d, copy);
    }
    return false;
}
