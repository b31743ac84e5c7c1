#include "passes/bands.h"

enum { MOST_LOOPS = 12, MOST_READERS = 8, LEAST_ROWS = 4, MOST_STMTS = 8 };

/* Loops around each other with nothing else between, outermost first, and what stands inside. */
typedef struct Chain {
    LoopStmt *top, *loops[MOST_LOOPS];
    int n;
    const LoopBody *body;
} Chain;

/* A loop x of a chain along which axis `axis` of the copy is read: at step*x + (low .. high). */
typedef struct Reader {
    Chain c;
    LoopStmt *x;
    int64_t step, low, high;
} Reader;

typedef struct Band {
    Ctx *ctx;
    Arena *arena;
    LoopModule *m;
    LoopFunc *f;
    const Target *target;
    LoopBody *body;
    BufId buf;
    int axis;
    int first, n; /* the readers are statements first .. first + n - 1 of the body */
    Chain fill, copy;
    LoopStmt *y; /* of the copy, which stores to row y + shift */
    int64_t shift;
    Reader readers[MOST_READERS];
    int64_t extent, step, low, high; /* of all readers */
} Band;

static bool constant_range(const LoopStmt *s, int64_t *lo, int64_t *hi) {
    bool any[2] = {false, false};
    for (int k = 0; k < s->n_lo; k++) {
        int64_t v;
        if (dim_is_const(s->lo[k], &v)) {
            *lo = !any[0] || v > *lo ? v : *lo;
            any[0] = true;
        }
    }
    for (int k = 0; k < s->n_hi; k++) {
        int64_t v;
        if (dim_is_const(s->hi[k], &v)) {
            *hi = !any[1] || v < *hi ? v : *hi;
            any[1] = true;
        }
    }
    return any[0] && any[1] && *lo < *hi;
}

static bool plain(const LoopStmt *s) {
    return s->kind == LOOP_FOR && !s->parallel && !s->n_carried && !s->n_args && s->step == 1 &&
           !s->need;
}

static bool chain_of(LoopStmt *s, Chain *c) {
    *c = (Chain){.top = s};
    for (; plain(s); s = s->body.stmts.p[0]) {
        if (c->n == MOST_LOOPS)
            return false;
        c->loops[c->n++] = s;
        c->body = &s->body;
        if (s->body.stmts.n != 1)
            break;
    }
    return c->n > 0;
}

static LoopStmt *loop_in(const Chain *c, DimSym x) {
    for (int k = 0; k < c->n; k++)
        if (c->loops[k]->index == x)
            return c->loops[k];
    return NULL;
}

static const LoopBuf *storage(const Band *b, BufId buf) { return loop_storage(b->f, buf); }

/* ---- who touches the buffer? */

typedef struct Count {
    const Band *b;
    BufId buf;
    int n;
} Count;

static void count_stmt(void *arg, LoopStmt *s) {
    Count *c = arg;
    const LoopBuf *of = storage(c->b, c->buf);
    if (s->kind == LOOP_LOAD || s->kind == LOOP_STORE)
        c->n += storage(c->b, s->buf) == of;
    for (int k = 0; k < s->n_bufs; k++)
        c->n += storage(c->b, s->bufs[k]) == of;
}

static int touches(const Band *b, LoopBody *body, BufId buf) {
    Count c = {b, buf, 0};
    loop_walk(body, count_stmt, &c);
    return c.n;
}

static int touches_of(const Band *b, LoopStmt *s, BufId buf) {
    LoopBody one = {.stmts = {&s, 1, 1}};
    return touches(b, &one, buf);
}

/* The only store of a chain without sums; NULL. */
static LoopStmt *only_store(const Chain *c) {
    LoopStmt *store = NULL;
    if (!c->body || c->body->stmts.n > MOST_STMTS)
        return NULL;
    for (int k = 0; k < c->body->stmts.n; k++) {
        LoopStmt *s = c->body->stmts.p[k];
        if (s->kind == LOOP_FOR || (s->kind == LOOP_STORE && store))
            return NULL;
        store = s->kind == LOOP_STORE ? s : store;
    }
    return store;
}

/* Every cell of the buffer gets a constant, an index for each axis. */
static bool is_fill(const Band *b, const Chain *c) {
    const LoopStmt *store = only_store(c);
    const LoopBuf *buf = loop_bufp(b->f, b->buf);
    if (!store || store->buf.id != b->buf.id || c->body->stmts.n != 2 ||
        c->body->stmts.p[0]->kind != LOOP_CONST || store->active)
        return false;
    for (int a = 0; a < store->rank; a++) {
        DimSym x = dim_as_symbol(store->subs[a]);
        const LoopStmt *l = x ? loop_in(c, x) : NULL;
        if (!l || l->n_lo != 1 || l->n_hi != 1 || !dim_is_zero(l->lo[0]) ||
            l->hi[0] != buf->shape[a])
            return false;
        for (int k = 0; k < a; k++)
            if (store->subs[k] == store->subs[a])
                return false;
    }
    return true;
}

static bool is_copy(Band *b, const Chain *c) {
    const LoopStmt *store = only_store(c);
    LoopAccesses all = {0};
    Dim coef, rest;
    if (!store || store->buf.id != b->buf.id || store->active || !loop_accesses(b->arena, c->top, &all))
        return false;
    for (int k = 0; k < c->n; k++) {
        int64_t lo, hi;
        if (c->loops[k]->n_lo == 1 && c->loops[k]->n_hi == 1 &&
            constant_range(c->loops[k], &lo, &hi) &&
            dim_linear_in(b->ctx, store->subs[b->axis], c->loops[k]->index, &coef, &rest) &&
            dim_is_const(rest, &b->shift) && coef == dim_const(b->ctx, 1)) {
            b->y = c->loops[k];
            return true;
        }
    }
    return false;
}

/* ---- readers */

static const LoopStmt *find_loop(const LoopStmt *s, DimSym x) {
    if (s->kind == LOOP_FOR && s->index == x)
        return s;
    for (int k = 0; k < s->body.stmts.n; k++) {
        const LoopStmt *l = find_loop(s->body.stmts.p[k], x);
        if (l)
            return l;
    }
    return NULL;
}

/* The least and greatest value of a linear form of the indices of loops in s. */
static bool range_of(const LoopStmt *s, Dim d, int64_t *low, int64_t *high) {
    *low = *high = 0;
    for (int k = 0; k < dim_n_terms(d); k++) {
        DimTerm t = dim_term(d, k);
        int64_t lo = 1, hi = 2;
        if (t.n_atoms > 1 || (t.n_atoms && !t.atoms[0]->sym))
            return false;
        const LoopStmt *l = t.n_atoms ? find_loop(s, t.atoms[0]->sym) : NULL;
        if (t.n_atoms && (!l || !constant_range(l, &lo, &hi)))
            return false;
        *low += t.coef * (t.coef > 0 ? lo : hi - 1);
        *high += t.coef * (t.coef > 0 ? hi - 1 : lo);
    }
    return true;
}

/* The rows that a load reads, in terms of a loop of the chain. */
static bool rows_read(const Band *b, Reader *r, const LoopStmt *load) {
    for (int k = 0; k < r->c.n; k++) {
        Dim coef, rest;
        int64_t step, low, high, lo, hi;
        LoopStmt *x = r->c.loops[k];
        if (!dim_mentions(load->subs[b->axis], x->index))
            continue;
        if (!dim_linear_in(b->ctx, load->subs[b->axis], x->index, &coef, &rest) ||
            !dim_is_const(coef, &step) || step < 1 || x->n_lo != 1 || x->n_hi != 1 ||
            !constant_range(x, &lo, &hi) || lo != 0 || !range_of(r->c.top, rest, &low, &high) ||
            (r->x && (r->x != x || r->step != step)))
            return false;
        r->low = !r->x || low < r->low ? low : r->low;
        r->high = !r->x || high > r->high ? high : r->high;
        r->x = x;
        r->step = step;
        return true;
    }
    return false;
}

static bool is_reader(const Band *b, Reader *r) {
    LoopAccesses all = {0};
    if (!loop_accesses(b->arena, r->c.top, &all))
        return false;
    for (int k = 0; k < all.n; k++)
        if (storage(b, all.p[k]->buf) == storage(b, b->buf) &&
            (all.p[k]->kind != LOOP_LOAD || all.p[k]->buf.id != b->buf.id ||
             !rows_read(b, r, all.p[k])))
            return false;
    return r->x && !loop_bounds_inside_mention(r->c.top, r->x->index);
}

/* Is the access at `every`*x + (0 .. every - 1) of some axis, as all others of this storage? */
static bool apart(const Band *b, const Reader *r, const LoopStmt *s, int *axis, int64_t *every) {
    for (int a = *axis < 0 ? 0 : *axis; a < s->rank && (*axis < 0 || a == *axis); a++) {
        Dim coef, rest;
        int64_t step, at;
        if (dim_mentions(s->subs[a], r->x->index) &&
            dim_linear_in(b->ctx, s->subs[a], r->x->index, &coef, &rest) &&
            dim_is_const(coef, &step) && dim_is_const(rest, &at) && at >= 0 && at < step &&
            (*axis < 0 || step == *every)) {
            *axis = a;
            *every = step;
            return true;
        }
    }
    return false;
}

/* Do iterations of x touch cells of their own of what the readers store? */
static bool stores_apart(const Band *b, BufId stored) {
    int axis = -1;
    int64_t every = 0;
    for (int k = 0; k < b->n; k++) {
        LoopAccesses all = {0};
        loop_accesses(b->arena, b->readers[k].c.top, &all);
        for (int j = 0; j < all.n; j++)
            if (storage(b, all.p[j]->buf) == storage(b, stored) &&
                (all.p[j]->buf.id != stored.id ||
                 !apart(b, &b->readers[k], all.p[j], &axis, &every)))
                return false;
    }
    return true;
}

static bool may_be_banded(const Band *b) {
    LoopAccesses copied = {0}, all = {0};
    loop_accesses(b->arena, b->copy.top, &copied);
    for (int k = 0; k < b->n; k++)
        loop_accesses(b->arena, b->readers[k].c.top, &all);
    for (int k = 0; k < all.n; k++) {
        if (all.p[k]->kind != LOOP_STORE)
            continue;
        if (!stores_apart(b, all.p[k]->buf))
            return false;
        for (int j = 0; j < copied.n; j++)
            if (storage(b, all.p[k]->buf) == storage(b, copied.p[j]->buf))
                return false;
    }
    return true;
}

/* May the fill and the copy stand before the first reader? */
static bool may_move(const Band *b) {
    LoopAccesses copied = {0};
    loop_accesses(b->arena, b->copy.top, &copied);
    for (int k = loop_position(b->body, b->fill.top ? b->fill.top : b->copy.top); k < b->first;
         k++) {
        LoopStmt *s = b->body->stmts.p[k];
        LoopAccesses all = {0};
        if (s == b->fill.top || s == b->copy.top)
            continue;
        if (!loop_accesses(b->arena, s, &all))
            return false;
        for (int j = 0; j < all.n; j++)
            for (int i = 0; i < copied.n && all.p[j]->kind == LOOP_STORE; i++)
                if (storage(b, all.p[j]->buf) == storage(b, copied.p[i]->buf))
                    return false;
    }
    return true;
}

/* ---- the bands */

/* The accesses of s to the copy, which begins at row `base`. */
static void move_rows(const Band *b, LoopStmt *s, Dim base) {
    LoopAccesses all = {0};
    loop_accesses(b->arena, s, &all);
    for (int k = 0; k < all.n; k++) {
        LoopStmt *x = all.p[k];
        if (x->buf.id != b->buf.id)
            continue;
        Dim *subs = arena_dup(b->arena, x->subs, sizeof *subs * (size_t)x->rank);
        subs[b->axis] = dim_sub(b->ctx, subs[b->axis], base);
        x->subs = subs;
    }
}

static Dim *one_more(const Band *b, const Dim *list, int n, Dim last) {
    Dim *to = ARENA_ARRAY(b->arena, Dim, n + 1);
    for (int k = 0; k < n; k++)
        to[k] = list[k];
    to[n] = last;
    return to;
}

static void set_range(const Band *b, LoopStmt *s, int64_t n) {
    Dim hi = dim_const(b->ctx, n);
    s->hi = arena_dup(b->arena, &hi, sizeof hi);
    s->n_hi = 1;
}

static void band(const Band *b, DimSym number, int64_t rows, int64_t height) {
    Ctx *ctx = b->ctx;
    Dim from = dim_scale(ctx, dim_of(ctx, number), rows); /* first iteration of x */
    Dim base = dim_addk(ctx, dim_scale(ctx, from, b->step), b->low);
    if (b->fill.top) {
        const LoopStmt *store = only_store(&b->fill);
        set_range(b, loop_in(&b->fill, dim_as_symbol(store->subs[b->axis])), height);
    }
    move_rows(b, b->copy.top, base);
    Dim lo = dim_addk(ctx, base, -b->shift);
    b->y->lo = one_more(b, b->y->lo, b->y->n_lo++, lo);
    b->y->hi = one_more(b, b->y->hi, b->y->n_hi++, dim_addk(ctx, lo, height));
    for (int k = 0; k < b->n; k++) {
        const Reader *r = &b->readers[k];
        DimBinding to = {r->x->index, dim_add(ctx, from, dim_of(ctx, r->x->index))};
        loop_subst(ctx, b->arena, r->c.top, &to);
        move_rows(b, r->c.top, base);
        set_range(b, r->x, rows);
    }
    LoopBuf *buf = loop_bufp(b->f, b->buf);
    Dim *shape = arena_dup(b->arena, buf->shape, sizeof *shape * (size_t)buf->rank);
    shape[b->axis] = dim_const(ctx, height);
    buf->shape = shape;
}

/* Rows of a band: as many as fit, of bands of the same size; 0: it is not worth it. */
static int64_t rows_of_band(const Band *b, double bytes) {
    const LoopBuf *buf = loop_bufp(b->f, b->buf);
    int64_t all = 1, best = 0;
    dim_is_const(buf->shape[b->axis], &all);
    double row = bytes / (double)all, most = (double)b->target->l2_bytes / 2;
    for (int64_t rows = LEAST_ROWS; rows < b->extent; rows++)
        if (b->extent % rows == 0 &&
            row * (double)(b->step * (rows - 1) + b->high - b->low + 1) <= most)
            best = rows;
    return best;
}

static void make_bands(const Band *b, int64_t rows) {
    LoopBody *body = b->body, to = {0};
    Dim zero = dim_const(b->ctx, 0), n = dim_const(b->ctx, b->extent / rows);
    DimSym number = loop_fresh_index(b->ctx, b->f, str_fmt(b->ctx, "%sb", b->readers[0].x->index->name));
    LoopStmt *last = b->readers[b->n - 1].c.top;
    for (int k = 0; k < body->stmts.n; k++) {
        LoopStmt *s = body->stmts.p[k];
        bool inside = s == b->fill.top || s == b->copy.top;
        for (int j = 0; j < b->n; j++)
            inside = inside || s == b->readers[j].c.top;
        if (!inside)
            vec_push(b->arena, &to.stmts, s);
        if (s != last)
            continue;
        LoopCursor cur = {.m = b->m, .f = b->f, .at = &to, .span = b->copy.top->span};
        LoopStmt *loop = loop_for(&cur, number, &zero, 1, &n, 1, 1, NULL, 0);
        if (b->fill.top)
            vec_push(b->arena, &loop->body.stmts, b->fill.top);
        vec_push(b->arena, &loop->body.stmts, b->copy.top);
        for (int j = 0; j < b->n; j++)
            vec_push(b->arena, &loop->body.stmts, b->readers[j].c.top);
        loop_end(&cur, loop, &to, NULL);
    }
    band(b, number, rows, b->step * (rows - 1) + b->high - b->low + 1);
    *body = to;
}

/* ---- candidates */

/* The statements around the copy: a fill before it, readers behind it, no others anywhere. */
static bool find_parts(Band *b, int at) {
    int n = touches_of(b, b->copy.top, b->buf), k = at - 1;
    for (; k >= 0 && !b->fill.top; k--) {
        Chain c;
        if (touches_of(b, b->body->stmts.p[k], b->buf)) {
            if (!chain_of(b->body->stmts.p[k], &c) || !is_fill(b, &c))
                return false;
            b->fill = c;
            n++;
        }
    }
    for (b->first = at + 1; b->first < b->body->stmts.n; b->first++)
        if (touches_of(b, b->body->stmts.p[b->first], b->buf))
            break;
    for (b->n = 0; b->first + b->n < b->body->stmts.n && b->n < MOST_READERS; b->n++) {
        LoopStmt *s = b->body->stmts.p[b->first + b->n];
        Reader *r = &b->readers[b->n];
        int uses = touches_of(b, s, b->buf);
        if (!uses)
            break;
        *r = (Reader){0};
        if (!chain_of(s, &r->c) || !is_reader(b, r))
            return false;
        n += uses;
    }
    return b->n > 0 && n == touches(b, &b->f->body, b->buf);
}

static bool same_rows(Band *b) {
    for (int k = 0; k < b->n; k++) {
        const Reader *r = &b->readers[k];
        int64_t lo, hi;
        constant_range(r->x, &lo, &hi);
        if (k && (hi != b->extent || r->step != b->step))
            return false;
        b->extent = hi;
        b->step = r->step;
        b->low = !k || r->low < b->low ? r->low : b->low;
        b->high = !k || r->high > b->high ? r->high : b->high;
    }
    return true;
}

static bool try_copy(Band b, int at) {
    LoopStmt *s = b.body->stmts.p[at];
    if (!chain_of(s, &b.copy))
        return false;
    const LoopStmt *store = only_store(&b.copy);
    if (!store)
        return false;
    b.buf = store->buf;
    const LoopBuf *buf = loop_bufp(b.f, b.buf);
    double bytes = (double)dtype_size(buf->dt);
    for (int a = 0; a < buf->rank; a++) {
        int64_t n;
        if (!dim_is_const(buf->shape[a], &n))
            return false;
        bytes *= (double)n;
    }
    if (buf->kind != BUF_JOB || bytes * 2 <= (double)b.target->l2_bytes)
        return false;
    for (b.axis = 0; b.axis < buf->rank; b.axis++) {
        b.fill = (Chain){0};
        if (!is_copy(&b, &b.copy) || !find_parts(&b, at) || !same_rows(&b) || !may_be_banded(&b) ||
            !may_move(&b))
            continue;
        int64_t rows = rows_of_band(&b, bytes);
        if (!rows)
            continue;
        make_bands(&b, rows);
        return true;
    }
    return false;
}

static void visit(const Band *b, LoopBody *body) {
    for (int k = 0; k < body->stmts.n; k++) {
        LoopStmt *s = body->stmts.p[k];
        Band own = *b;
        own.body = body;
        if (s->kind == LOOP_FOR && !s->parallel && try_copy(own, k)) {
            k = -1; /* the body is another one */
            continue;
        }
        if (s->kind == LOOP_FOR || s->kind == LOOP_IF) {
            visit(b, &s->body);
            visit(b, &s->orelse);
        }
    }
}

void band_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *target) {
    Band b = {.ctx = ctx, .arena = arena, .m = m, .f = f, .target = target};
    visit(&b, &f->body);
}
