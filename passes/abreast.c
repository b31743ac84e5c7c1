#include "passes/abreast.h"

#include "passes/vary.h"

enum {
    MOST_ABREAST = 4,
    WINDOW = 96, /* instructions among which a core looks for one that may start */
    LATENCY = 4, /* cycles until the next operation of a chain may start */
    MOST_OPEN = 256 /* statements of a loop whose rest has a loop of its own */
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
    bool one = s->n_lo == 1 && s->n_hi == 1, closed = one && dim_is_const(s->lo[0], NULL) && dim_is_const(s->hi[0], NULL);
    for (int by = MOST_ABREAST; by > 1; by--) {
        bool room = c.shared + LIVE * by < z->target->registers || by == 2;
        if (room && (closed ? trips % by == 0 && trips > by : one && by * s->body.stmts.n <= MOST_OPEN))
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

static void put(const Abreast *z, const LoopStmt *s, Copy *c, LoopBody *to) {
    vec_push(z->arena, &to->stmts, loop_copy_stmt(z->arena, z->m, z->f, s, c->to, c->at));
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

/* ---- whole vectors first */

/* The lanes before the access, of an iteration, if those from the loop's end on are off; -1: they are not. */
static int64_t lanes_before(const Abreast *z, const LoopStmt *loop, const LoopStmt *s) {
    Dim left = s->active ? dim_sub(z->ctx, dim_sub(z->ctx, loop->hi[0], dim_of(z->ctx, loop->index)), s->active) : NULL;
    int64_t n;
    return left && dim_is_const(left, &n) && n >= 0 ? n : -1;
}

static bool has_masks(const Abreast *z, const LoopStmt *loop) {
    for (int k = 0; k < loop->body.stmts.n; k++)
        if (lanes_before(z, loop, loop->body.stmts.p[k]) >= 0)
            return true;
    return false;
}

static bool is_open(const LoopStmt *s) {
    return s->n_lo == 1 && s->n_hi == 1 && (!dim_is_const(s->lo[0], NULL) || !dim_is_const(s->hi[0], NULL));
}

/* Of a loop of unknown extent, the iterations that by * step divides stay, several abreast, and need no masks; a copy
 * behind it has the rest. Memory takes whole vectors up to twice as fast as masked ones. False: the bound overflows. */
static bool split(const Abreast *z, Arena *scratch, const Vary *v, LoopBody *b, int at, int by) {
    LoopStmt *s = b->stmts.p[at], *rest = arena_dup(z->arena, s, sizeof *s);
    Ctx *ctx = z->ctx;
    DimFacts none = {0};
    Dim step = dim_const(ctx, by * s->step), span = dim_sub(ctx, s->hi[0], s->lo[0]),
        *end = ARENA_ARRAY(z->arena, Dim, 2);
    end[0] = dim_add(ctx, s->lo[0], dim_mul(ctx, dim_floordiv(ctx, span, step), step));
    if (!end[0])
        return false;
    Copy same = {.to = ARENA_ARRAY(scratch, LVal, z->f->vals.n + 1)};
    rest->body = (LoopBody){0};
    for (int k = 0; k < s->body.stmts.n; k++)
        put(z, s->body.stmts.p[k], &same, &rest->body);
    end[1] = s->lo[0];
    rest->lo = end;
    rest->n_lo = dim_prove_nonneg(ctx, &none, span) ? 1 : 2; /* where it may be negative, the floor lies before lo */
    rewrite(z, scratch, v, s, by);
    for (int k = 0; k < s->body.stmts.n; k++) {
        LoopStmt *x = s->body.stmts.p[k];
        int64_t before = lanes_before(z, s, x);
        if (before >= 0 && before + x->type.lanes <= s->step)
            x->active = NULL;
    }
    s->hi = end;
    loop_replace(z->arena, b, at, (LoopStmt *const[]){s, rest}, 2);
    return true;
}

/* ---- short loops */

/* Inside another loop, a few vectors of a row: written out, the masks of the last are constants. */
static bool is_short(const LoopStmt *s) {
    enum { MOST_TRIPS = 4, MOST_STMTS = 32 };
    int64_t trips = vary_trip(s);
    return s->n_lo == 1 && s->n_hi == 1 && dim_is_const(s->lo[0], NULL) &&
           dim_is_const(s->hi[0], NULL) && s->step > 1 && trips > 0 && trips <= MOST_TRIPS &&
           trips * s->body.stmts.n <= MOST_STMTS;
}

/* All lanes that are on for certain: no mask. */
static void drop_mask(LoopStmt *s) {
    int64_t active;
    if (s->active && dim_is_const(s->active, &active) && active >= s->type.lanes)
        s->active = NULL;
}

/* The iterations of statement `at` one after another in its place. */
static void write_out(const Abreast *z, LoopBody *b, int at) {
    const LoopStmt *s = b->stmts.p[at];
    int64_t lo = 0, hi = 0;
    LoopBody to = {0};
    Arena scratch;
    arena_init(&scratch, z->ctx);
    dim_is_const(s->lo[0], &lo);
    dim_is_const(s->hi[0], &hi);
    int n_old = z->f->vals.n;
    for (; lo < hi; lo += s->step) {
        Copy c = {ARENA_ARRAY(&scratch, LVal, n_old), {s->index, dim_const(z->ctx, lo)}};
        for (int k = 0; k < s->body.stmts.n; k++) {
            put(z, s->body.stmts.p[k], &c, &to);
            drop_mask(to.stmts.p[to.stmts.n - 1]);
        }
    }
    arena_free(&scratch);
    loop_replace(z->arena, b, at, to.stmts.p, to.stmts.n);
}

/* ---- the function */

/* inside: a loop stands around b in its kernel. */
static void visit(const Abreast *z, LoopBody *b, bool inside) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        visit(z, &s->body, s->kind == LOOP_FOR ? !s->parallel : inside);
        visit(z, &s->orelse, inside);
        if (s->kind != LOOP_FOR || s->parallel || s->n_carried || s->n_args || s->need ||
            !s->body.stmts.n || !straight(&s->body))
            continue;
        if (inside && !s->name && is_short(s)) {
            int n = b->stmts.n;
            write_out(z, b, k);
            k += b->stmts.n - n;
            continue;
        }
        Arena scratch;
        arena_init(&scratch, z->ctx);
        Vary v = vary_of(z->ctx, &scratch, z->f, s);
        int by = v.nest && vary_independent(&v) ? how_many(z, s, chain_of(z, &scratch, &v)) : 1;
        if (v.nest && is_open(s) && s->step > 1 && (by > 1 || has_masks(z, s))) {
            k += split(z, &scratch, &v, b, k, by); /* the rest stays */
        } else if (by > 1 && !is_open(s)) {
            rewrite(z, &scratch, &v, s, by);
        }
        arena_free(&scratch);
    }
}

void abreast_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *target) {
    Abreast z = {ctx, arena, m, f, target};
    visit(&z, &f->body, false);
}
