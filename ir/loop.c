/* The loop IR's data structures and its builder. */
#include <string.h>

#include "ir/loop.h"

LoopModule *loop_module_new(Ctx *ctx, Arena *arena, Str source) {
    LoopModule *m = ARENA_NEW(arena, LoopModule);
    m->ctx = ctx;
    m->arena = arena;
    m->source = source;
    return m;
}

LoopFunc *loop_func_new(LoopModule *m, Str name, Span span) {
    LoopFunc *f = ARENA_NEW(m->arena, LoopFunc);
    f->name = name;
    f->span = span;
    f->real = DT_F64;
    f->groups = 1;
    vec_push(m->arena, &f->vals, (LType){DT_NONE, 0});
    vec_push(m->arena, &m->funcs, f);
    return f;
}

int loop_status(LoopModule *m, Str text) {
    for (int k = 0; k < m->statuses.n; k++)
        if (m->statuses.p[k].text == text)
            return k;
    vec_push(m->arena, &m->statuses, (LoopStatus){text});
    return m->statuses.n - 1;
}

static bool name_taken(const LoopFunc *f, Str name) {
    for (int k = 0; k < f->bufs.n; k++)
        if (f->bufs.p[k]->name == name)
            return true;
    return false;
}

BufId loop_buf(LoopModule *m, LoopFunc *f, LoopBuf b) {
    LoopBuf *p = ARENA_NEW(m->arena, LoopBuf);
    *p = b;
    Str base = b.name ? b.name : str_of(m->ctx, "t");
    p->name = base;
    for (int k = f->bufs.n; name_taken(f, p->name); k++)
        p->name = str_fmt(m->ctx, "%s.%d", base, k);
    p->id = (BufId){(uint32_t)f->bufs.n + 1};
    p->shape = arena_dup(m->arena, b.shape, (size_t)b.rank * sizeof *b.shape);
    vec_push(m->arena, &f->bufs, p);
    return p->id;
}

LoopBuf *loop_bufp(const LoopFunc *f, BufId id) {
    return id.id >= 1 && id.id <= (uint32_t)f->bufs.n ? f->bufs.p[id.id - 1] : NULL;
}

bool loop_range(const LoopStmt *s, LoopDimValue *value, void *self, int64_t *lo, int64_t *hi) {
    int64_t v;
    for (int k = 0; k < s->n_lo; k++) {
        if (!value(self, s->lo[k], &v))
            return false;
        *lo = k == 0 || v > *lo ? v : *lo;
    }
    for (int k = 0; k < s->n_hi; k++) {
        if (!value(self, s->hi[k], &v))
            return false;
        *hi = k == 0 || v < *hi ? v : *hi;
    }
    return true;
}

bool loop_bounds_mention(const LoopStmt *loop, DimSym x) {
    for (int k = 0; k < loop->n_lo; k++)
        if (dim_mentions(loop->lo[k], x))
            return true;
    for (int k = 0; k < loop->n_hi; k++)
        if (dim_mentions(loop->hi[k], x))
            return true;
    return false;
}

bool loop_bounds_inside_mention(const LoopStmt *loop, DimSym x) {
    if (loop->kind == LOOP_FOR && loop->index != x && loop_bounds_mention(loop, x))
        return true;
    for (int k = 0; k < loop->body.stmts.n; k++)
        if (loop_bounds_inside_mention(loop->body.stmts.p[k], x))
            return true;
    return false;
}

void loop_subst(Ctx *ctx, Arena *arena, LoopStmt *s, const DimBinding *to) {
    const Dim **lists[3] = {&s->subs, &s->lo, &s->hi};
    const int n[3] = {s->subs ? s->rank : 0, s->n_lo, s->n_hi};
    for (int l = 0; l < 3; l++) {
        Dim *list = n[l] ? arena_dup(arena, *lists[l], sizeof *list * (size_t)n[l]) : NULL;
        for (int j = 0; j < n[l]; j++)
            list[j] = dim_subst(ctx, list[j], to, 1);
        *lists[l] = n[l] ? list : *lists[l];
    }
    Dim *const others[3] = {&s->active, &s->need, &s->ahead};
    for (int k = 0; k < 3; k++)
        *others[k] = *others[k] ? dim_subst(ctx, *others[k], to, 1) : NULL;
    for (int k = 0; k < s->body.stmts.n; k++)
        loop_subst(ctx, arena, s->body.stmts.p[k], to);
    for (int k = 0; k < s->orelse.stmts.n; k++)
        loop_subst(ctx, arena, s->orelse.stmts.p[k], to);
}

bool loop_accesses(Arena *arena, LoopStmt *s, LoopAccesses *to) {
    switch (s->kind) {
    case LOOP_LOAD:
    case LOOP_STORE:
        if (s->status >= 0 || s->checked || s->sub_vals)
            return false;
        vec_push(arena, to, s);
        return true;
    case LOOP_FOR:
        for (int k = 0; k < s->body.stmts.n; k++)
            if (!loop_accesses(arena, s->body.stmts.p[k], to))
                return false;
        return !s->parallel && !s->n_args && !s->need;
    case LOOP_LET:
    case LOOP_CONST:
    case LOOP_INDEX:
    case LOOP_YIELD:
        return true;
    default:
        return false;
    }
}

static bool is_index_of(const LoopBody *body, Str name) {
    for (int k = 0; k < body->stmts.n; k++) {
        const LoopStmt *s = body->stmts.p[k];
        if ((s->kind == LOOP_FOR && s->index->name == name) || is_index_of(&s->body, name) ||
            is_index_of(&s->orelse, name))
            return true;
    }
    return false;
}

DimSym loop_fresh_index(Ctx *ctx, const LoopFunc *f, Str base) {
    Str name = base;
    for (int k = 1; is_index_of(&f->body, name); k++)
        name = str_fmt(ctx, "%s%d", base, k);
    return dim_symbol_new(ctx, name, 0, true);
}

static LVal *copied_values(Arena *arena, const LVal *x, int n, const LVal *now) {
    LVal *to = x ? ARENA_ARRAY(arena, LVal, n + 1) : NULL;
    for (int k = 0; k < n && x; k++)
        to[k] = now[x[k].id].id ? now[x[k].id] : x[k];
    return to;
}

LoopStmt *loop_copy_stmt(Arena *arena, LoopModule *m, LoopFunc *f, const LoopStmt *s, LVal *now, DimBinding at) {
    LoopStmt *n = arena_dup(arena, s, sizeof *s);
    n->args = copied_values(arena, s->args, s->n_args, now);
    n->sub_vals = copied_values(arena, s->sub_vals, s->rank, now);
    if (s->result.id)
        now[s->result.id] = n->result = loop_val(m, f, s->type);
    if (at.sym)
        loop_subst(m->ctx, arena, n, &at);
    return n;
}

int loop_position(const LoopBody *b, const LoopStmt *s) {
    for (int k = 0; k < b->stmts.n; k++)
        if (b->stmts.p[k] == s)
            return k;
    return -1;
}

void loop_replace(Arena *arena, LoopBody *b, int at, LoopStmt *const *with, int n) {
    if (at < 0)
        return;
    int had = b->stmts.n, rest = had - at - 1;
    for (int k = 1; k < n; k++)
        vec_push(arena, &b->stmts, NULL);
    LoopStmt **p = b->stmts.p + at;
    memmove(p + n, p + 1, sizeof *p * (size_t)rest);
    if (n)
        memcpy(p, with, sizeof *p * (size_t)n);
    b->stmts.n = had - 1 + n;
}

LoopBuf *loop_storage(const LoopFunc *f, BufId id) {
    LoopBuf *b = loop_bufp(f, id);
    for (int n = 0; b && b->kind == BUF_ALIAS && n <= f->bufs.n; n++)
        b = loop_bufp(f, b->alias);
    return b;
}

LVal loop_val(LoopModule *m, LoopFunc *f, LType t) {
    vec_push(m->arena, &f->vals, t);
    return (LVal){(uint32_t)f->vals.n - 1};
}

LType loop_type(const LoopFunc *f, LVal v) {
    return v.id < (uint32_t)f->vals.n ? f->vals.p[v.id] : (LType){DT_NONE, 0};
}

/* ---- building */

LoopStmt *loop_stmt(LoopCursor *c, LoopKind kind) {
    LoopStmt *s = ARENA_NEW(c->m->arena, LoopStmt);
    s->kind = kind;
    s->span = c->span;
    vec_push(c->m->arena, &c->at->stmts, s);
    return s;
}

static LVal *copy_vals(LoopCursor *c, const LVal *v, int n) {
    return n ? arena_dup(c->m->arena, v, (size_t)n * sizeof *v) : NULL;
}

static const Dim *copy_dims(LoopCursor *c, const Dim *d, int n) {
    return n ? arena_dup(c->m->arena, d, (size_t)n * sizeof *d) : NULL;
}

static LVal define(LoopCursor *c, LoopStmt *s, LType t) {
    s->type = t;
    return s->result = loop_val(c->m, c->f, t);
}

LVal loop_const(LoopCursor *c, LType t, ScalarValue k) {
    LoopStmt *s = loop_stmt(c, LOOP_CONST);
    s->k = k;
    return define(c, s, t);
}

LVal loop_real(LoopCursor *c, LType t, double v) {
    return loop_const(c, t, (ScalarValue){.f = t.dt == DT_F32 ? (double)(float)v : v});
}

LVal loop_int(LoopCursor *c, LType t, int64_t v) { return loop_const(c, t, (ScalarValue){.i = v}); }

LVal loop_index(LoopCursor *c, Dim d, int lanes, int64_t lane_step) {
    LoopStmt *s = loop_stmt(c, LOOP_INDEX);
    s->rank = 1;
    s->subs = copy_dims(c, &d, 1);
    s->lane_step = lanes > 1 ? lane_step : 0;
    return define(c, s, (LType){DT_I64, lanes});
}

LType loop_let_type(const LoopFunc *f, ScalarOp op, const LVal *args, int n, DType to) {
    const ScalarDef *d = scalar_def(op);
    LType t = loop_type(f, args[n - 1]); /* select: of its arms */
    if (d->result == SR_BOOL)
        t.dt = DT_BOOL;
    else if (d->result == SR_ATTR)
        t.dt = to;
    if ((d->flags & SF_LANES) && d->arity == 1 && op != SC_splat)
        t.lanes = 1;
    return t;
}

LVal loop_let(LoopCursor *c, ScalarOp op, const LVal *args, int n, DType to) {
    LType t = loop_let_type(c->f, op, args, n, to);
    LoopStmt *s = loop_stmt(c, LOOP_LET);
    s->op = op;
    s->n_args = n;
    s->args = copy_vals(c, args, n);
    return define(c, s, t);
}

LVal loop_splat(LoopCursor *c, LVal v, int lanes) {
    LType t = loop_type(c->f, v);
    if (t.lanes == lanes)
        return v;
    LoopStmt *s = loop_stmt(c, LOOP_LET);
    s->op = SC_splat;
    s->n_args = 1;
    s->args = copy_vals(c, &v, 1);
    return define(c, s, (LType){t.dt, lanes});
}

static LoopStmt *access(LoopCursor *c, LoopKind kind, BufId b, const Dim *subs, LType t) {
    const LoopBuf *p = loop_bufp(c->f, b);
    LoopStmt *s = loop_stmt(c, kind);
    s->buf = b;
    s->rank = p->rank;
    s->subs = copy_dims(c, subs, p->rank);
    s->type = t;
    s->lane_axis = t.lanes > 1 ? p->rank - 1 : 0;
    s->lane_step = t.lanes > 1 ? 1 : 0;
    s->status = -1;
    return s;
}

LVal loop_load(LoopCursor *c, BufId b, const Dim *subs) {
    return loop_load_lanes(c, b, subs, 1, NULL)->result;
}

LoopStmt *loop_load_lanes(LoopCursor *c, BufId b, const Dim *subs, int lanes, Dim active) {
    LType t = {loop_bufp(c->f, b)->dt, lanes};
    LoopStmt *s = access(c, LOOP_LOAD, b, subs, t);
    s->active = active;
    define(c, s, t);
    return s;
}

LoopStmt *loop_store(LoopCursor *c, BufId b, const Dim *subs, LVal v) {
    LoopStmt *s = access(c, LOOP_STORE, b, subs, loop_type(c->f, v));
    s->n_args = 1;
    s->args = copy_vals(c, &v, 1);
    loop_storage(c->f, b)->written = true;
    return s;
}

LoopStmt *loop_require(LoopCursor *c, LVal cond, int status) {
    LoopStmt *s = loop_stmt(c, LOOP_STATUS);
    s->n_args = 1;
    s->args = copy_vals(c, &cond, 1);
    s->status = status;
    return s;
}

LVal loop_poll(LoopCursor *c) { return define(c, loop_stmt(c, LOOP_POLL), (LType){DT_I64, 1}); }

LoopStmt *loop_return(LoopCursor *c, LVal code) {
    LoopStmt *s = loop_stmt(c, LOOP_RETURN);
    s->n_args = 1;
    s->args = copy_vals(c, &code, 1);
    return s;
}

LoopStmt *loop_call(LoopCursor *c, Str callee, const BufId *bufs, const Dim *const *buf_subs,
                    int n_bufs, const LVal *args, int n, LType result) {
    LoopStmt *s = loop_stmt(c, LOOP_CALL);
    s->callee = callee;
    s->n_bufs = n_bufs;
    s->bufs = arena_dup(c->m->arena, bufs, (size_t)n_bufs * sizeof *bufs);
    const Dim **subs = ARENA_ARRAY(c->m->arena, const Dim *, n_bufs);
    for (int k = 0; k < n_bufs; k++)
        subs[k] = copy_dims(c, buf_subs[k], loop_bufp(c->f, bufs[k])->rank);
    s->buf_subs = subs;
    s->n_args = n;
    s->args = copy_vals(c, args, n);
    if (result.dt != DT_NONE)
        define(c, s, result);
    return s;
}

static void open_carried(LoopCursor *c, LoopStmt *s, const LVal *init, int n) {
    s->n_carried = n;
    s->init = copy_vals(c, init, n);
    s->phi = ARENA_ARRAY(c->m->arena, LVal, n);
    s->out = ARENA_ARRAY(c->m->arena, LVal, n);
    s->carried = ARENA_ARRAY(c->m->arena, LType, n);
    for (int k = 0; k < n; k++) {
        s->carried[k] = loop_type(c->f, init[k]);
        s->phi[k] = loop_val(c->m, c->f, s->carried[k]);
    }
    c->at = &s->body;
}

LoopStmt *loop_for(LoopCursor *c, DimSym index, const Dim *lo, int n_lo, const Dim *hi, int n_hi,
                   int64_t step, const LVal *init, int n) {
    LoopStmt *s = loop_stmt(c, LOOP_FOR);
    s->index = index;
    s->n_lo = n_lo;
    s->n_hi = n_hi;
    s->lo = copy_dims(c, lo, n_lo);
    s->hi = copy_dims(c, hi, n_hi);
    s->step = step;
    open_carried(c, s, init, n);
    return s;
}

void loop_when(LoopCursor *c, LoopStmt *loop, LVal when) {
    loop->n_args = when.id ? 1 : 0;
    loop->args = copy_vals(c, &when, loop->n_args);
}

LoopStmt *loop_while(LoopCursor *c, const LVal *init, int n) {
    LoopStmt *s = loop_stmt(c, LOOP_WHILE);
    open_carried(c, s, init, n);
    return s;
}

LoopStmt *loop_if(LoopCursor *c, LVal cond) {
    LoopStmt *s = loop_stmt(c, LOOP_IF);
    s->n_args = 1;
    s->args = copy_vals(c, &cond, 1);
    c->at = &s->body;
    return s;
}

void loop_end(LoopCursor *c, LoopStmt *s, LoopBody *outer, const LVal *yield) {
    int n = s->n_carried + (s->kind == LOOP_WHILE);
    if (n) {
        LoopStmt *y = loop_stmt(c, LOOP_YIELD);
        y->n_args = n;
        y->args = copy_vals(c, yield, n);
    }
    for (int k = 0; k < s->n_carried; k++)
        s->out[k] = loop_val(c->m, c->f, s->carried[k]);
    c->at = outer;
}

void loop_walk(LoopBody *b, void (*visit)(void *arg, LoopStmt *s), void *arg) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        visit(arg, s);
        loop_walk(&s->body, visit, arg);
        loop_walk(&s->orelse, visit, arg);
    }
}

void loop_count_uses(const LoopBody *b, int *uses) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        for (int j = 0; j < s->n_args; j++)
            uses[s->args[j].id]++;
        for (int j = 0; j < s->n_carried; j++)
            uses[s->init[j].id]++;
        for (int j = 0; s->sub_vals && j < s->rank; j++)
            uses[s->sub_vals[j].id]++;
        loop_count_uses(&s->body, uses);
        loop_count_uses(&s->orelse, uses);
    }
}
