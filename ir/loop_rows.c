/* Buffers of which every job of one parallel loop has a row for itself. */
#include "ir/loop.h"

typedef struct Rows {
    const LoopFunc *f;
    const LoopStmt **owner; /* by buffer id */
    bool *no;               /* likewise: some access does not fit */
    const LoopStmt *loop;   /* the parallel loop around */
} Rows;

/* All numbers of the loop's iterations are below rows. */
static bool stays_below(const LoopStmt *s, int64_t rows) {
    int64_t hi;
    for (int k = 0; k < s->n_hi; k++)
        if (dim_is_const(s->hi[k], &hi) && hi <= rows)
            return true;
    return false;
}

static bool is_row(const Rows *r, const LoopBuf *view, const Dim *subs) {
    const LoopBuf *b = loop_storage(r->f, view->id);
    int64_t lo, n, rows;
    const LoopStmt *s = r->loop;
    return s && s->orelse.stmts.n && s->step == 1 && s->n_lo == 1 && dim_is_const(s->lo[0], &lo) &&
           lo == 0 && b->kind == BUF_WORK && b->rank && view->rank &&
           dim_is_const(b->shape[0], &rows) && dim_is_const(view->shape[0], &n) && n == rows &&
           stays_below(s, rows) && dim_as_symbol(subs[0]) == s->index;
}

static void touch(Rows *r, BufId id, const Dim *subs, bool plain) {
    uint32_t at = loop_storage(r->f, id)->id.id;
    if (!plain || !is_row(r, loop_bufp(r->f, id), subs) ||
        (r->owner[at] && r->owner[at] != r->loop))
        r->no[at] = true;
    r->owner[at] = r->loop;
}

static void visit(Rows *r, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k], *around = r->loop;
        if (s->kind == LOOP_LOAD || s->kind == LOOP_STORE)
            touch(r, s->buf, s->subs,
                  (s->type.lanes == 1 || s->lane_axis > 0) &&
                      !(s->rank && s->sub_vals && s->sub_vals[0].id));
        for (int j = 0; j < s->n_bufs; j++)
            touch(r, s->bufs[j], s->buf_subs[j], true);
        r->loop = s->kind == LOOP_FOR && s->parallel ? s : around;
        visit(r, &s->body);
        visit(r, &s->orelse);
        r->loop = around;
    }
}

const LoopStmt **loop_rows_of_jobs(Arena *arena, const LoopFunc *f) {
    Rows r = {.f = f};
    r.owner = ARENA_ARRAY(arena, const LoopStmt *, f->bufs.n + 1);
    r.no = ARENA_ARRAY(arena, bool, f->bufs.n + 1);
    visit(&r, &f->body);
    for (int k = 0; k <= f->bufs.n; k++)
        if (r.no[k])
            r.owner[k] = NULL;
    return r.owner;
}

/* ---- where rows go */

typedef struct Totals {
    Ctx *ctx;
    const LoopFunc *f;
    const LoopStmt *loop, **rows_of;
    const LoopStmt **defs; /* by value id */
    BufId *of;             /* by buffer id */
    bool no;
} Totals;

/* The element among those of its buffer, in the first row where the buffer has rows. */
static Dim element(const Totals *t, const LoopStmt *s) {
    const LoopBuf *b = loop_bufp(t->f, s->buf);
    DimBinding first = {t->loop->index, dim_const(t->ctx, 0)};
    Dim at = dim_const(t->ctx, 0);
    for (int a = 0; a < s->rank && at; a++) {
        at = dim_mul(t->ctx, at, b->shape[a]);
        at = at ? dim_add(t->ctx, at, dim_subst(t->ctx, s->subs[a], &first, 1)) : NULL;
    }
    return at;
}

static bool is_load(const LoopStmt *s) { return s && s->kind == LOOP_LOAD && !s->sub_vals; }

static bool same_element(const Totals *t, const LoopStmt *a, const LoopStmt *b) {
    bool rows = a->rank && b->rank && a->type.lanes > 1;
    return (a->type.lanes == 1 ||
            (rows && a->lane_axis == a->rank - 1 && b->lane_axis == b->rank - 1)) &&
           a->lane_step == b->lane_step && a->type.lanes == b->type.lanes &&
           a->active == b->active && element(t, a) && element(t, a) == element(t, b);
}

/* total = row, or total = total + row. */
static void note_total(Totals *t, const LoopStmt *s) {
    const LoopStmt *v = t->defs[s->args[0].id], *row = v;
    if (v && v->kind == LOOP_LET && v->op == SC_add) {
        const LoopStmt *held = t->defs[v->args[0].id];
        row = t->defs[v->args[1].id];
        t->no |= !is_load(held) || loop_storage(t->f, held->buf) != loop_storage(t->f, s->buf) ||
                 !same_element(t, held, s);
    }
    uint32_t from = is_load(row) ? loop_storage(t->f, row->buf)->id.id : 0;
    BufId to = loop_storage(t->f, s->buf)->id;
    if (!from || s->sub_vals || t->rows_of[from] != t->loop ||
        (t->of[from].id && t->of[from].id != to.id) || !same_element(t, row, s))
        t->no = true;
    else
        t->of[from] = to;
}

static void visit_part(Totals *t, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        t->defs[s->result.id] = s;
        if (s->kind == LOOP_STORE)
            note_total(t, s);
        else
            t->no |= s->n_carried ||
                     (s->kind != LOOP_FOR && s->kind != LOOP_IF && s->kind != LOOP_LET &&
                      s->kind != LOOP_CONST && s->kind != LOOP_INDEX && s->kind != LOOP_LOAD);
        visit_part(t, &s->body);
        visit_part(t, &s->orelse);
    }
}

static bool is_total(const Totals *t, BufId id) {
    uint32_t b = loop_storage(t->f, id)->id.id;
    for (int k = 0; k <= t->f->bufs.n; k++)
        if (t->of[k].id == b)
            return true;
    return false;
}

static void visit_job(Totals *t, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        t->no |= (s->kind == LOOP_LOAD || s->kind == LOOP_STORE) && is_total(t, s->buf);
        for (int j = 0; j < s->n_bufs; j++)
            t->no |= is_total(t, s->bufs[j]);
        visit_job(t, &s->body);
        visit_job(t, &s->orelse);
    }
}

const BufId *loop_totals_of_rows(Arena *arena, Ctx *ctx, const LoopFunc *f, const LoopStmt *loop,
                                 const LoopStmt **rows_of) {
    Totals t = {.ctx = ctx, .f = f, .loop = loop, .rows_of = rows_of};
    t.defs = ARENA_ARRAY(arena, const LoopStmt *, f->vals.n + 1);
    t.of = ARENA_ARRAY(arena, BufId, f->bufs.n + 1);
    visit_part(&t, &loop->orelse);
    visit_job(&t, &loop->body);
    for (int k = 0; k <= f->bufs.n; k++)
        t.no |= rows_of[k] == loop && !t.of[k].id;
    return t.no ? NULL : t.of;
}
