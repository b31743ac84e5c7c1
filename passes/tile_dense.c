/* tile: neighbouring loops that walk over every other element of one tensor only.
 *
 *   for n, o, i in 0..28, j in 0..28 { sum over c of x[n, c, 2*i, 2*j] * w[o, c] }
 *
 * has rows of 28, and every step over c lands on another page. Where an element is used often, x is
 * copied into x.d[n, c, i, j] first; i and j are then one loop over 784 (passes/collapse.c), and
 * its elements lie next to each other. A result with such subscripts is computed densely and spread
 * afterwards, together with the constant that fills the cells in between. */
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

/* The dense copy: an axis for every index of the access. id 0: no copy, or not worth it. */
static BufId dense_buffer(Dense *d, const LoopStmt *s, const Dim **subs, const TileLoop **loops,
                          int *rank) {
    const Contraction *c = d->c;
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
                    return (BufId){0};
            continue;
        }
        const TileLoop *l = tile_loop_of(c, x);
        if (tile_axis(c, s, x, &coef) != a)
            return (BufId){0};
        loops[*rank] = l;
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
        return (BufId){0};
    LoopBuf b = {.name = str_fmt(c->ctx, "%s.d", from->name),
                 .kind = BUF_WORK,
                 .dt = from->dt,
                 .rank = *rank,
                 .shape = arena_dup(c->arena, shape, sizeof *shape * (size_t)*rank),
                 .arg = -1,
                 .span = c->root->span};
    *subs = to;
    return loop_buf(c->m, c->f, b);
}

typedef struct Walk {
    LoopStmt *loop[MAX_RANK];
    LoopBody *outer[MAX_RANK];
    int n;
} Walk;

static void open_loop(Dense *d, Walk *t, DimSym x, Dim lo, Dim hi) {
    t->outer[t->n] = d->cur.at;
    t->loop[t->n++] = loop_for(&d->cur, x, &lo, 1, &hi, 1, 1, NULL, 0);
}

static void close_loops(Dense *d, Walk *t, int to) {
    while (t->n > to) {
        t->n--;
        loop_end(&d->cur, t->loop[t->n], t->outer[t->n], NULL);
    }
}

static void use(LoopStmt *s, BufId buf, const Dim *subs, int rank) {
    s->buf = buf;
    s->subs = subs;
    s->rank = rank;
    s->lane_axis = rank - 1;
}

static bool dense_factor(Dense *d) {
    const Dim *subs;
    const TileLoop *loops[MAX_RANK];
    int rank;
    LoopStmt *s = d->load;
    BufId buf = dense_buffer(d, s, &subs, loops, &rank);
    Walk t = {.n = 0};
    if (!buf.id)
        return false;
    for (int a = 0; a < rank; a++)
        open_loop(d, &t, loops[a]->sym, loops[a]->lo, loops[a]->hi);
    loop_store(&d->cur, buf, subs, loop_load(&d->cur, s->buf, s->subs));
    close_loops(d, &t, 0);
    use(s, buf, subs, rank);
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

/* Sums go to a dense buffer; then, for each value of the outer indices, the constant and the sums.
 */
static bool dense_result(Dense *d) {
    const Contraction *c = d->c;
    const Dim *subs;
    const TileLoop *loops[MAX_RANK];
    ScalarValue value = {0};
    int rank, n = d->cur.at->stmts.n;
    LoopStmt *s = d->store;
    LType type = {c->dt, 1};
    const LoopBuf *b = loop_bufp(c->f, s->buf);
    for (int a = 0; a < d->axis; a++) /* what lies outside is whole */
        if (dim_as_symbol(s->subs[a]) == NULL || !tile_loop_of(c, dim_as_symbol(s->subs[a])))
            return false;
    if (d->axis + 2 != s->rank ||
        (d->init && (!n || !is_fill(d, d->cur.at->stmts.p[n - 1], s->buf, &value))))
        return false;
    BufId to = s->buf, buf = dense_buffer(d, s, &subs, loops, &rank);
    const Dim *cell = s->subs;
    if (!buf.id || rank != s->rank)
        return false;
    if (d->init) {
        d->cur.at->stmts.n = n - 1; /* the fill */
        d->init->kind = LOOP_CONST;
        d->init->k = value;
        d->init->subs = NULL;
        d->init->rank = 0;
        d->init->buf = (BufId){0};
    }
    use(s, buf, subs, rank);
    loop_bufp(c->f, buf)->written = true;
    vec_push(c->arena, &d->cur.at->stmts, c->root);
    Walk t = {.n = 0};
    for (int a = 0; a < d->axis; a++)
        open_loop(d, &t, loops[a]->sym, d->init ? dim_const(c->ctx, 0) : loops[a]->lo,
                  d->init ? b->shape[a] : loops[a]->hi);
    int outside = t.n;
    if (d->init) {
        Dim at[MAX_RANK];
        for (int a = 0; a < rank; a++)
            at[a] = dim_of(c->ctx, loops[a]->sym);
        for (int a = d->axis; a < rank; a++)
            open_loop(d, &t, loops[a]->sym, dim_const(c->ctx, 0), b->shape[a]);
        loop_store(&d->cur, to, at, loop_const(&d->cur, type, value));
        close_loops(d, &t, outside);
    }
    for (int a = d->axis; a < rank; a++)
        open_loop(d, &t, loops[a]->sym, loops[a]->lo, loops[a]->hi);
    loop_store(&d->cur, to, cell, loop_load(&d->cur, buf, subs));
    close_loops(d, &t, 0);
    return true;
}

static bool plain(const TileLoop *l) {
    return l->loop->n_lo == 1 && l->loop->n_hi == 1 && l->n > 1 && l->first == 0;
}

bool tile_dense(const Contraction *c, LoopBody *to) {
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
            return d.load ? dense_factor(&d) : dense_result(&d);
    }
    return false;
}
