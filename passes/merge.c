#include "passes/merge.h"

enum { MOST_STMTS = 160 };

typedef VEC(LoopStmt *) Accesses;

/* What a statement of the function's body touches, found out once. */
typedef struct Touch {
    bool known, simple; /* simple: only loops and values stand there */
    Accesses list;
    uint64_t any, stored; /* sets of storages, 64 classes: no common class, no common storage */
    int n_stmts;
} Touch;

typedef struct Merge {
    Ctx *ctx;
    Arena *arena;
    LoopModule *m;
    LoopFunc *f;
    Touch *touch; /* beside the statements of the body */
} Merge;

/* The loads and stores of a body; false: something else than loops and values stands there. */
static bool collect(Arena *arena, const LoopBody *b, Accesses *to) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        switch (s->kind) {
        case LOOP_LOAD:
        case LOOP_STORE:
            if (s->status >= 0 || s->checked)
                return false;
            vec_push(arena, to, s);
            break;
        case LOOP_FOR:
            if (s->parallel || !collect(arena, &s->body, to))
                return false;
            break;
        case LOOP_LET:
        case LOOP_CONST:
        case LOOP_INDEX:
        case LOOP_YIELD:
            break;
        default:
            return false;
        }
    }
    return true;
}

static uint32_t storage(const Merge *g, const LoopStmt *access) {
    return loop_storage(g->f, access->buf)->id.id;
}

static int count(const LoopBody *b) {
    int n = b->stmts.n;
    for (int k = 0; k < b->stmts.n; k++)
        n += count(&b->stmts.p[k]->body);
    return n;
}

static const Touch *touch_of(Merge *g, int at) {
    Touch *t = &g->touch[at];
    if (t->known)
        return t;
    *t = (Touch){.known = true, .n_stmts = count(&g->f->body.stmts.p[at]->body)};
    t->simple = collect(g->arena, &(LoopBody){.stmts = {&g->f->body.stmts.p[at], 1, 1}}, &t->list);
    for (int k = 0; k < t->list.n; k++) {
        uint64_t class = UINT64_C(1) << (storage(g, t->list.p[k]) & 63);
        t->any |= class;
        t->stored |= t->list.p[k]->kind == LOOP_STORE ? class : 0;
    }
    return t;
}

/* Does a store of one touch what the other one touches? */
static bool conflict(const Merge *g, const Touch *a, const Touch *b) {
    if (!((a->stored & b->any) | (a->any & b->stored)))
        return false;
    for (int k = 0; k < a->list.n; k++)
        for (int j = 0; j < b->list.n; j++)
            if ((a->list.p[k]->kind == LOOP_STORE || b->list.p[j]->kind == LOOP_STORE) &&
                storage(g, a->list.p[k]) == storage(g, b->list.p[j]))
                return true;
    return false;
}

/* The same cells of the same buffer when index `from` is `to`, and different ones in each
 * iteration? */
static bool same_cells(const Merge *g, const LoopStmt *x, const LoopStmt *y, const LoopStmt *s,
                       const LoopStmt *t) {
    DimBinding b = {t->index, dim_of(g->ctx, s->index)};
    bool apart = false;
    if (x->buf.id != y->buf.id || x->type.lanes != y->type.lanes || x->sub_vals || y->sub_vals ||
        x->lane_axis != y->lane_axis || x->lane_step != y->lane_step)
        return false;
    for (int a = 0; a < x->rank; a++) {
        DimSym in[2];
        if (x->subs[a] != dim_subst(g->ctx, y->subs[a], &b, 1))
            return false;
        int64_t reach = x->type.lanes > 1 && x->lane_axis == a ? x->type.lanes * x->lane_step : 1;
        bool alone = dim_as_symbol(x->subs[a]) == s->index && reach <= s->step;
        if (!alone && dim_symbols(x->subs[a], in, 2) > 0)
            return false;
        apart = apart || alone;
    }
    return apart;
}

static bool may_join(const Merge *g, const Touch *a, const Touch *b, const LoopStmt *s,
                     const LoopStmt *t) {
    if (!((a->stored & b->any) | (a->any & b->stored)))
        return true;
    for (int k = 0; k < a->list.n; k++)
        for (int j = 0; j < b->list.n; j++) {
            const LoopStmt *x = a->list.p[k], *y = b->list.p[j];
            bool stores = x->kind == LOOP_STORE || y->kind == LOOP_STORE;
            if (stores && storage(g, x) == storage(g, y) && !same_cells(g, x, y, s, t))
                return false;
        }
    return true;
}

static bool uses(const LoopBody *b, LVal x) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        for (int j = 0; j < s->n_args; j++)
            if (s->args[j].id == x.id)
                return true;
        for (int j = 0; j < s->n_carried; j++)
            if (s->init[j].id == x.id)
                return true;
        for (int j = 0; s->sub_vals && j < s->rank; j++)
            if (s->sub_vals[j].id == x.id)
                return true;
        if (uses(&s->body, x))
            return true;
    }
    return false;
}

/* May loop t, which touches b, stand before the statement `at`? */
static bool may_pass(Merge *g, int at, const LoopStmt *t, const Touch *b) {
    const LoopStmt *s = g->f->body.stmts.p[at];
    const Touch *a = touch_of(g, at);
    if (!a->simple || conflict(g, a, b))
        return false;
    if (s->result.id && uses(&t->body, s->result))
        return false;
    for (int k = 0; k < s->n_carried; k++)
        if (uses(&t->body, s->out[k]))
            return false;
    return true;
}

static bool has_index(const LoopBody *b, Str name) {
    for (int k = 0; k < b->stmts.n; k++)
        if (b->stmts.p[k]->kind == LOOP_FOR &&
            (b->stmts.p[k]->index->name == name || has_index(&b->stmts.p[k]->body, name)))
            return true;
    return false;
}

static bool is_plain(const LoopStmt *s) {
    return s->kind == LOOP_FOR && !s->parallel && !s->n_carried && !s->n_args && s->n_lo == 1 &&
           s->n_hi == 1 && !s->need;
}

static bool same_range(const LoopStmt *s, const LoopStmt *t) {
    return s->lo[0] == t->lo[0] && s->hi[0] == t->hi[0] && s->step == t->step;
}

/* Loop t joins loop s; false: it may not. */
static bool join(Merge *g, LoopBody *b, int at_s, int at_t) {
    LoopStmt *s = b->stmts.p[at_s], *t = b->stmts.p[at_t];
    if (!is_plain(t) || !same_range(s, t))
        return false;
    const Touch *in_s = touch_of(g, at_s), *in_t = touch_of(g, at_t);
    if (in_s->n_stmts + in_t->n_stmts > MOST_STMTS || !in_s->simple || !in_t->simple ||
        has_index(&t->body, s->index->name) || !may_join(g, in_s, in_t, s, t))
        return false;
    for (int k = at_s + 1; k < at_t; k++)
        if (!may_pass(g, k, t, in_t))
            return false;
    DimBinding to = {t->index, dim_of(g->ctx, s->index)};
    loop_subst(g->ctx, g->arena, t, &to);
    for (int k = 0; k < t->body.stmts.n; k++)
        vec_push(g->arena, &s->body.stmts, t->body.stmts.p[k]);
    g->touch[at_s].known = false;
    for (int k = at_t; k + 1 < b->stmts.n; k++) {
        b->stmts.p[k] = b->stmts.p[k + 1];
        g->touch[k] = g->touch[k + 1];
    }
    b->stmts.n--;
    return true;
}

static bool is_barrier(const LoopStmt *s) {
    return s->kind != LOOP_FOR && s->kind != LOOP_LET && s->kind != LOOP_CONST &&
           s->kind != LOOP_INDEX && s->kind != LOOP_LOAD && s->kind != LOOP_STORE;
}

void merge_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f) {
    Merge g = {.ctx = ctx, .arena = arena, .m = m, .f = f};
    LoopBody *b = &f->body;
    g.touch = ARENA_ARRAY(arena, Touch, b->stmts.n + 1);
    for (int at = 0; at < b->stmts.n; at++) {
        if (!is_plain(b->stmts.p[at]))
            continue;
        for (int k = at + 1; k < b->stmts.n && !is_barrier(b->stmts.p[k]); k++)
            if (join(&g, b, at, k))
                k--;
    }
}
