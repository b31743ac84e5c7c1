#include "passes/ahead.h"

#include "passes/vary.h"

enum {
    MOST_DEPTH = 32,
    ROW = 128,    /* bytes from one row to the next, at least */
    LEAST = 2048, /* bytes that an iteration stores: long enough for memory to answer */
    FARTHEST = 1 << 16
};

typedef struct Ahead {
    Ctx *ctx;
    LoopFunc *f;
    const LoopStmt *around[MOST_DEPTH]; /* loops of the nest, outermost first */
    int depth;
} Ahead;

/* The number of the element among those of its buffer. */
static Dim flat(const Ahead *z, const LoopStmt *s) {
    const LoopBuf *b = loop_bufp(z->f, s->buf);
    Dim at = dim_const(z->ctx, 0);
    for (int a = 0; a < s->rank && at; a++) {
        at = dim_mul(z->ctx, at, b->shape[a]);
        at = at ? dim_add(z->ctx, at, s->subs[a]) : NULL;
    }
    return at;
}

static bool is_wide(const LoopStmt *s) {
    return s->kind == LOOP_STORE && s->type.lanes > 1 && s->lane_axis == s->rank - 1 &&
           s->lane_step == 1 && !s->sub_vals;
}

static int64_t bytes_of(const LoopStmt *s) {
    return s->type.lanes * (int64_t)dtype_size(s->type.dt);
}

/* Do the body's stores to that buffer lie in several rows? *bytes: of all of them. */
static bool in_rows(const Ahead *z, const LoopBody *b, BufId buf, int64_t *bytes) {
    bool rows = false;
    Dim last = NULL;
    *bytes = 0;
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        int64_t by;
        if (!is_wide(s) || s->buf.id != buf.id)
            continue;
        Dim at = flat(z, s), step = last && at ? dim_sub(z->ctx, at, last) : NULL;
        if (!at || (last && (!step || !dim_is_const(step, &by))))
            return false;
        by = last ? by * (int64_t)dtype_size(s->type.dt) : bytes_of(s);
        rows |= by >= bytes_of(s) + ROW || by < 0;
        last = at;
        *bytes += bytes_of(s);
    }
    return rows;
}

/* Elements from a cell to that of the next iteration of the innermost loop that stores enough; 0:
 * there is none. */
static int64_t lead(const Ahead *z, const LoopStmt *s, int64_t bytes) {
    Dim at = flat(z, s), coef, rest;
    int64_t by;
    for (int k = z->depth - 1; k >= 0; k--) {
        const LoopStmt *l = z->around[k];
        if (bytes >= LEAST && vary_trip(l) > 1 && dim_mentions(at, l->index)) {
            if (!dim_linear_in(z->ctx, at, l->index, &coef, &rest) || !dim_is_const(coef, &by))
                return 0;
            by *= l->step;
            return by > 0 && by * (int64_t)dtype_size(s->type.dt) <= FARTHEST ? by : 0;
        }
        bytes *= vary_trip(l);
    }
    return 0;
}

static void note_stores(const Ahead *z, LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        int64_t bytes, by;
        if (!is_wide(s) || s->ahead || !in_rows(z, b, s->buf, &bytes) || !(by = lead(z, s, bytes)))
            continue;
        for (int j = k; j < b->stmts.n; j++)
            if (is_wide(b->stmts.p[j]) && b->stmts.p[j]->buf.id == s->buf.id)
                b->stmts.p[j]->ahead = dim_const(z->ctx, by);
    }
}

static bool has_sums(const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++)
        if (b->stmts.p[k]->kind == LOOP_FOR && b->stmts.p[k]->n_carried &&
            vary_trip(b->stmts.p[k]) > 1)
            return true;
    return false;
}

static void visit(Ahead *z, LoopBody *b) {
    if (z->depth && has_sums(b))
        note_stores(z, b);
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        bool nested = s->kind == LOOP_FOR && !s->n_carried && z->depth < MOST_DEPTH;
        int depth = z->depth;
        z->depth = s->kind == LOOP_FOR && s->parallel ? 0 : depth;
        if (nested && !s->parallel)
            z->around[z->depth++] = s;
        if (s->kind != LOOP_FOR || !s->n_carried) {
            visit(z, &s->body);
            visit(z, &s->orelse);
        }
        z->depth = depth;
    }
}

void ahead_of_stores(Ctx *ctx, LoopFunc *f) {
    Ahead z = {.ctx = ctx, .f = f};
    visit(&z, &f->body);
}
