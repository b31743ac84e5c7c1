/* Buffers of which every job of one parallel loop has a row for itself. */
#include "ir/loop.h"

typedef struct Rows {
    const LoopFunc *f;
    const LoopStmt **owner; /* by buffer id */
    bool *no;               /* likewise: some access does not fit */
    const LoopStmt *loop;   /* the parallel loop around */
} Rows;

static bool is_row(const Rows *r, const LoopBuf *view, const Dim *subs) {
    const LoopBuf *b = loop_storage(r->f, view->id);
    int64_t lo, hi, n, rows;
    const LoopStmt *s = r->loop;
    return s && s->orelse.stmts.n && s->step == 1 && s->n_lo == 1 && s->n_hi == 1 &&
           dim_is_const(s->lo[0], &lo) && lo == 0 && dim_is_const(s->hi[0], &hi) &&
           b->kind == BUF_WORK && b->rank && view->rank && dim_is_const(b->shape[0], &rows) &&
           dim_is_const(view->shape[0], &n) && n == rows && hi <= rows &&
           dim_as_symbol(subs[0]) == s->index;
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
