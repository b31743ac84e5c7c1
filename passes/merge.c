#include "passes/merge.h"

enum { MOST_STMTS = 160 };

typedef struct Merge {
    Ctx *ctx;
    Arena *arena;
    LoopModule *m;
    LoopFunc *f;
} Merge;

typedef VEC(LoopStmt *) Accesses;

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

/* Does a store of one of the lists touch what the other one touches? */
static bool conflict(const Merge *g, const Accesses *a, const Accesses *b) {
    for (int k = 0; k < a->n; k++)
        for (int j = 0; j < b->n; j++)
            if ((a->p[k]->kind == LOOP_STORE || b->p[j]->kind == LOOP_STORE) &&
                storage(g, a->p[k]) == storage(g, b->p[j]))
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

static bool may_join(const Merge *g, const Accesses *a, const Accesses *b, const LoopStmt *s,
                     const LoopStmt *t) {
    for (int k = 0; k < a->n; k++)
        for (int j = 0; j < b->n; j++) {
            const LoopStmt *x = a->p[k], *y = b->p[j];
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

/* May loop t, which touches b, stand before statement s? */
static bool may_pass(Merge *g, const LoopStmt *s, const LoopStmt *t, const Accesses *b) {
    Accesses a = {0};
    LoopStmt *one = (LoopStmt *)(uintptr_t)s;
    LoopBody alone = {.stmts = {&one, 1, 1}};
    if (!collect(g->arena, &alone, &a) || conflict(g, &a, b))
        return false;
    if (s->result.id && uses(&t->body, s->result))
        return false;
    for (int k = 0; k < s->n_carried; k++)
        if (uses(&t->body, s->out[k]))
            return false;
    return true;
}

static void rename_index(Merge *g, LoopBody *b, const DimBinding *to) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        const Dim **lists[3] = {&s->subs, &s->lo, &s->hi};
        int n[3] = {s->subs ? s->rank : 0, s->n_lo, s->n_hi};
        for (int l = 0; l < 3; l++) {
            Dim *list = ARENA_ARRAY(g->arena, Dim, n[l] + 1);
            for (int j = 0; j < n[l]; j++)
                list[j] = dim_subst(g->ctx, (*lists[l])[j], to, 1);
            *lists[l] = n[l] ? list : *lists[l];
        }
        s->active = s->active ? dim_subst(g->ctx, s->active, to, 1) : NULL;
        rename_index(g, &s->body, to);
    }
}

static bool has_index(const LoopBody *b, Str name) {
    for (int k = 0; k < b->stmts.n; k++)
        if (b->stmts.p[k]->kind == LOOP_FOR &&
            (b->stmts.p[k]->index->name == name || has_index(&b->stmts.p[k]->body, name)))
            return true;
    return false;
}

static int count(const LoopBody *b) {
    int n = b->stmts.n;
    for (int k = 0; k < b->stmts.n; k++)
        n += count(&b->stmts.p[k]->body);
    return n;
}

static bool is_plain(const LoopStmt *s) {
    return s->kind == LOOP_FOR && !s->parallel && !s->n_carried && !s->n_args && s->n_lo == 1 &&
           s->n_hi == 1;
}

static bool same_range(const LoopStmt *s, const LoopStmt *t) {
    return s->lo[0] == t->lo[0] && s->hi[0] == t->hi[0] && s->step == t->step;
}

/* Loop t joins loop s; false: it may not. between: the statements from s to t. */
static bool join(Merge *g, LoopBody *b, int at_s, int at_t) {
    LoopStmt *s = b->stmts.p[at_s], *t = b->stmts.p[at_t];
    Accesses in_s = {0}, in_t = {0};
    if (!is_plain(t) || !same_range(s, t) || has_index(&t->body, s->index->name) ||
        count(&s->body) + count(&t->body) > MOST_STMTS || !collect(g->arena, &s->body, &in_s) ||
        !collect(g->arena, &t->body, &in_t) || !may_join(g, &in_s, &in_t, s, t))
        return false;
    for (int k = at_s + 1; k < at_t; k++)
        if (!may_pass(g, b->stmts.p[k], t, &in_t))
            return false;
    DimBinding to = {t->index, dim_of(g->ctx, s->index)};
    rename_index(g, &t->body, &to);
    for (int k = 0; k < t->body.stmts.n; k++)
        vec_push(g->arena, &s->body.stmts, t->body.stmts.p[k]);
    for (int k = at_t; k + 1 < b->stmts.n; k++)
        b->stmts.p[k] = b->stmts.p[k + 1];
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
    for (int at = 0; at < b->stmts.n; at++) {
        if (!is_plain(b->stmts.p[at]))
            continue;
        for (int k = at + 1; k < b->stmts.n && !is_barrier(b->stmts.p[k]); k++)
            if (join(&g, b, at, k))
                k--;
    }
}
