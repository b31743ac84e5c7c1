#include "passes/abreast.h"

#include "passes/vary.h"

enum {
    MOST_ABREAST = 4,
    WINDOW = 96, /* instructions among which a core looks for one that may start */
    LATENCY = 4  /* cycles until the next operation of a chain may start */
};

typedef struct Abreast {
    Ctx *ctx;
    Arena *arena;
    LoopModule *m;
    LoopFunc *f;
    const Target *target;
} Abreast;

/* ---- is it worth it? */

typedef struct Chain {
    int depth;  /* operations that wait for one another */
    int shared; /* values that all iterations use */
} Chain;

static int depth_of(const LoopStmt *s, const int *depth) {
    int most = 0;
    for (int k = 0; k < s->n_args; k++)
        most = depth[s->args[k].id] > most ? depth[s->args[k].id] : most;
    return most + (s->kind == LOOP_LET && s->op != SC_splat && s->op != SC_bitcast);
}

static Chain chain_of(const Abreast *z, Arena *scratch, const Vary *v) {
    Chain c = {0};
    int *depth = ARENA_ARRAY(scratch, int, z->f->vals.n + 1);
    const LoopBody *b = &v->loop->body;
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        if (s->result.id && !v->varies[s->result.id]) {
            c.shared += s->type.lanes > 1 && (s->kind == LOOP_CONST || s->kind == LOOP_LET);
            continue;
        }
        int d = depth_of(s, depth);
        depth[s->result.id] = d;
        c.depth = d > c.depth ? d : c.depth;
    }
    return c;
}

/* Iterations side by side; 1: the loop stays. Of ops operations, two start in a cycle, if those of
 * WINDOW / ops iterations do not wait: these are done after LATENCY * depth cycles. */
static int how_many(const Abreast *z, const LoopStmt *s, Chain c) {
    enum { LIVE = 3 }; /* values of one iteration that wait to be used */
    if (2 * LATENCY * c.depth <= WINDOW)
        return 1;
    int64_t trips = vary_trip(s);
    bool closed = s->n_lo == 1 && s->n_hi == 1 && dim_is_const(s->lo[0], NULL) &&
                  dim_is_const(s->hi[0], NULL);
    for (int by = MOST_ABREAST; by > 1; by--) {
        bool room = c.shared + LIVE * by < z->target->registers || by == 2;
        if (room && closed && trips % by == 0 && trips > by)
            return by;
    }
    return 1;
}

static bool straight(const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        bool access = s->kind == LOOP_LOAD || s->kind == LOOP_STORE;
        if (access ? s->status >= 0 || s->checked
                   : s->kind != LOOP_LET && s->kind != LOOP_CONST && s->kind != LOOP_INDEX)
            return false;
        if (s->kind == LOOP_LET && (scalar_def(s->op)->flags & SF_LIBM))
            return false;
    }
    return true;
}

/* ---- rewriting */

typedef struct Copy {
    LVal *to; /* by value id: the value in this iteration */
    DimBinding at;
} Copy;

static LVal *values_in(const Abreast *z, const Copy *c, const LVal *x, int n) {
    LVal *to = ARENA_ARRAY(z->arena, LVal, n + 1);
    for (int k = 0; k < n; k++)
        to[k] = c->to[x[k].id].id ? c->to[x[k].id] : x[k];
    return to;
}

static Dim *dims_in(const Abreast *z, const Copy *c, const Dim *d, int n) {
    Dim *to = ARENA_ARRAY(z->arena, Dim, n + 1);
    for (int k = 0; k < n; k++)
        to[k] = dim_subst(z->ctx, d[k], &c->at, 1);
    return to;
}

static void put(const Abreast *z, const LoopStmt *s, Copy *c, LoopBody *to) {
    LoopStmt *n = arena_dup(z->arena, s, sizeof *s);
    n->args = values_in(z, c, s->args, s->n_args);
    n->subs = s->subs ? dims_in(z, c, s->subs, s->kind == LOOP_INDEX ? 1 : s->rank) : NULL;
    n->sub_vals = s->sub_vals ? values_in(z, c, s->sub_vals, s->rank) : NULL;
    n->active = s->active ? dim_subst(z->ctx, s->active, &c->at, 1) : NULL;
    if (s->result.id)
        n->result = c->to[s->result.id] = loop_val(z->m, z->f, s->type);
    vec_push(z->arena, &to->stmts, n);
}

static void rewrite(const Abreast *z, Arena *scratch, const Vary *v, LoopStmt *s, int by) {
    Copy copies[MOST_ABREAST];
    LoopBody to = {0};
    for (int u = 1; u < by; u++)
        copies[u] = (Copy){ARENA_ARRAY(scratch, LVal, z->f->vals.n + 1),
                           {s->index, dim_addk(z->ctx, dim_of(z->ctx, s->index), u * s->step)}};
    int n_old = z->f->vals.n;
    for (int k = 0; k < s->body.stmts.n; k++) {
        LoopStmt *x = s->body.stmts.p[k];
        vec_push(z->arena, &to.stmts, x);
        CTX_ASSERT(z->ctx, (int)x->result.id < n_old);
        for (int u = 1; u < by && (!x->result.id || v->varies[x->result.id]); u++)
            put(z, x, &copies[u], &to);
    }
    s->body = to;
    s->step *= by;
}

static void visit(const Abreast *z, LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        visit(z, &s->body);
        visit(z, &s->orelse);
        if (s->kind != LOOP_FOR || s->parallel || s->n_carried || s->n_args || s->need ||
            !s->body.stmts.n || !straight(&s->body))
            continue;
        Arena scratch;
        arena_init(&scratch, z->ctx);
        Vary v = vary_of(z->ctx, &scratch, z->f, s);
        int by = v.nest && vary_independent(&v) ? how_many(z, s, chain_of(z, &scratch, &v)) : 1;
        if (by > 1)
            rewrite(z, &scratch, &v, s, by);
        arena_free(&scratch);
    }
}

void abreast_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *target) {
    Abreast z = {ctx, arena, m, f, target};
    visit(&z, &f->body);
}
