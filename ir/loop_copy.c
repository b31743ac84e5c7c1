/* A module's loops once more, for passes that may have to begin again: nothing that a pass changes is shared. */
#include "ir/loop.h"

#define COPY_ARRAY(arena, p, n) ((p) ? arena_dup(arena, p, sizeof *(p) * (size_t)(n)) : NULL)
#define COPY_VEC(arena, v) ((v)->p = COPY_ARRAY(arena, (v)->p, (v)->n), (v)->cap = (v)->n)

static void copy_body(Arena *arena, LoopBody *b);

static LoopStmt *copy_stmt(Arena *arena, const LoopStmt *from) {
    LoopStmt *s = arena_dup(arena, from, sizeof *from);
    s->args = COPY_ARRAY(arena, s->args, s->n_args);
    s->subs = COPY_ARRAY(arena, s->subs, s->kind == LOOP_INDEX ? 1 : s->rank);
    s->sub_vals = COPY_ARRAY(arena, s->sub_vals, s->rank);
    s->lo = COPY_ARRAY(arena, s->lo, s->n_lo);
    s->hi = COPY_ARRAY(arena, s->hi, s->n_hi);
    s->init = COPY_ARRAY(arena, s->init, s->n_carried);
    s->phi = COPY_ARRAY(arena, s->phi, s->n_carried);
    s->out = COPY_ARRAY(arena, s->out, s->n_carried);
    s->carried = COPY_ARRAY(arena, s->carried, s->n_carried);
    s->bufs = COPY_ARRAY(arena, s->bufs, s->n_bufs);
    s->buf_subs = COPY_ARRAY(arena, s->buf_subs, s->n_bufs);
    copy_body(arena, &s->body);
    copy_body(arena, &s->orelse);
    return s;
}

static void copy_body(Arena *arena, LoopBody *b) {
    COPY_VEC(arena, &b->stmts);
    for (int k = 0; k < b->stmts.n; k++)
        b->stmts.p[k] = copy_stmt(arena, b->stmts.p[k]);
}

static LoopFunc *copy_func(Arena *arena, const LoopFunc *from) {
    LoopFunc *f = arena_dup(arena, from, sizeof *from);
    f->entry = arena_dup(arena, f->entry, sizeof *f->entry);
    COPY_VEC(arena, &f->entry->args);
    COPY_VEC(arena, &f->dims);
    COPY_VEC(arena, &f->checks);
    COPY_VEC(arena, &f->bufs);
    for (int k = 0; k < f->bufs.n; k++)
        f->bufs.p[k] = arena_dup(arena, f->bufs.p[k], sizeof *f->bufs.p[k]);
    COPY_VEC(arena, &f->vals);
    copy_body(arena, &f->body);
    return f;
}

LoopModule *loop_module_copy(Arena *arena, const LoopModule *from) {
    LoopModule *m = arena_dup(arena, from, sizeof *from);
    m->arena = arena;
    COPY_VEC(arena, &m->funcs);
    for (int k = 0; k < m->funcs.n; k++)
        m->funcs.p[k] = copy_func(arena, m->funcs.p[k]);
    COPY_VEC(arena, &m->blocks);
    COPY_VEC(arena, &m->statuses);
    COPY_VEC(arena, &m->tiles);
    return m;
}
