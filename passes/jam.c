/* Unroll-and-jam: several iterations of an output loop share the loops inside.
 *
 *   for k in 0..6 {
 *     for x in 0..28 {
 *       %1 = for c in 0..3 with %2 = 0 { yield fma(w[k, c], in[c, x], %2) }
 *       store out[k, x] = %1
 *
 * becomes, by 2 in k,
 *
 *   for k in 0..6 step 2 {
 *     for x in 0..28 {
 *       %1, %3 = for c in 0..3 with %2 = 0, %4 = 0 {
 *         yield fma(w[k, c], in[c, x], %2), fma(w[k + 1, c], in[c, x], %4)
 *       }
 *       store out[k, x] = %1
 *       store out[k + 1, x] = %3
 *
 * What does not depend on k is computed once for all of them, and the sums of one step do not wait
 * for each other. At most two loops of a nest are taken, by factors of at most 8 that divide their
 * extents, so that the estimated cycles of the innermost body for each sum are fewest and the sums
 * stay in registers. */
#include "passes/jam.h"

#include "passes/vary.h"

enum { MOST_BY = 8, MOST_CHAIN = 16, MOST_STMTS = 600, MOST_OPS = 4 };

typedef struct Jam {
    Ctx *ctx;
    Arena *arena; /* of the module */
    LoopModule *m;
    LoopFunc *f;
    const Vary *v;
    int by;
    LVal *to[MOST_BY]; /* by value id: its copy for iteration k + u; id 0: the same for all */
} Jam;

/* ---- rewriting */

static LVal copy_of(const Jam *j, int u, LVal x) {
    return x.id && j->to[u][x.id].id ? j->to[u][x.id] : x;
}

static LVal new_copy(Jam *j, int u, LVal x) {
    return j->to[u][x.id] = loop_val(j->m, j->f, loop_type(j->f, x));
}

static const Dim *shifted(const Jam *j, const Dim *d, int n, int u) {
    const LoopStmt *loop = j->v->loop;
    DimBinding b = {loop->index, dim_addk(j->ctx, dim_of(j->ctx, loop->index), u * loop->step)};
    Dim *to = ARENA_ARRAY(j->arena, Dim, n + 1);
    for (int k = 0; k < n; k++)
        to[k] = dim_subst(j->ctx, d[k], &b, 1);
    return to;
}

static LVal *copies(const Jam *j, const LVal *v, int n, int u) {
    LVal *to = ARENA_ARRAY(j->arena, LVal, n + 1);
    for (int k = 0; k < n; k++)
        to[k] = copy_of(j, u, v[k]);
    return to;
}

static LoopStmt *copy_stmt(Jam *j, const LoopStmt *s, int u) {
    LoopStmt *c = arena_dup(j->arena, s, sizeof *s);
    c->args = copies(j, s->args, s->n_args, u);
    c->subs = s->subs ? shifted(j, s->subs, s->rank, u) : NULL;
    c->active = s->active ? *shifted(j, &s->active, 1, u) : NULL;
    c->sub_vals = s->sub_vals ? copies(j, s->sub_vals, s->rank, u) : NULL;
    if (s->result.id)
        c->result = new_copy(j, u, s->result);
    return c;
}

static bool body_varies(const Jam *j, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        if (s->kind == LOOP_STORE || (s->result.id && j->v->varies[s->result.id]) ||
            body_varies(j, &s->body))
            return true;
    }
    return false;
}

static LoopBody jam_body(Jam *j, const LoopBody *b);

/* Carried values that vary are carried once for every iteration. */
static LoopStmt *jam_inner(Jam *j, const LoopStmt *s) {
    LoopStmt *c = arena_dup(j->arena, s, sizeof *s);
    int most = s->n_carried * j->by, n = 0;
    c->init = ARENA_ARRAY(j->arena, LVal, most + 1);
    c->phi = ARENA_ARRAY(j->arena, LVal, most + 1);
    c->out = ARENA_ARRAY(j->arena, LVal, most + 1);
    c->carried = ARENA_ARRAY(j->arena, LType, most + 1);
    for (int k = 0; k < s->n_carried; k++) {
        bool many = j->v->varies[s->phi[k].id];
        for (int u = 0; u < (many ? j->by : 1); u++, n++) {
            c->carried[n] = s->carried[k];
            c->init[n] = copy_of(j, u, s->init[k]);
            c->phi[n] = many ? new_copy(j, u, s->phi[k]) : s->phi[k];
        }
    }
    c->body = jam_body(j, &s->body);
    c->n_carried = n;
    if (!n)
        return c;
    const LoopStmt *old = s->body.stmts.p[s->body.stmts.n - 1];
    LoopStmt *yield = arena_dup(j->arena, old, sizeof *old);
    yield->args = ARENA_ARRAY(j->arena, LVal, n);
    yield->n_args = n;
    n = 0;
    for (int k = 0; k < s->n_carried; k++) {
        bool many = j->v->varies[s->phi[k].id];
        for (int u = 0; u < (many ? j->by : 1); u++, n++) {
            yield->args[n] = copy_of(j, u, old->args[k]);
            c->out[n] = many ? new_copy(j, u, s->out[k]) : s->out[k];
        }
    }
    vec_push(j->arena, &c->body.stmts, yield);
    return c;
}

static LoopBody jam_body(Jam *j, const LoopBody *b) {
    LoopBody to = {0};
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        if (s->kind == LOOP_YIELD)
            continue;
        if (s->kind == LOOP_FOR) {
            vec_push(j->arena, &to.stmts, body_varies(j, &s->body) ? jam_inner(j, s) : s);
        } else if (s->kind == LOOP_STORE || j->v->varies[s->result.id]) {
            for (int u = 0; u < j->by; u++)
                vec_push(j->arena, &to.stmts, copy_stmt(j, s, u));
        } else {
            vec_push(j->arena, &to.stmts, s);
        }
    }
    return to;
}

static bool constant_trip(const LoopStmt *s, int64_t *trip) {
    int64_t lo, hi;
    if (s->n_lo != 1 || s->n_hi != 1 || !dim_is_const(s->lo[0], &lo) ||
        !dim_is_const(s->hi[0], &hi))
        return false;
    *trip = (hi - lo) / s->step;
    return *trip > 0 && (hi - lo) % s->step == 0;
}

/* Subscripts and lanes can be shifted: indices need no more than dims do. */
static bool may_jam(const Vary *v, int by) {
    int64_t trip;
    const LoopStmt *s = v->loop;
    return s->kind == LOOP_FOR && !s->parallel && !s->n_carried && v->nest &&
           constant_trip(s, &trip) && trip % by == 0 && vary_independent(v);
}

bool jam_loop(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, LoopStmt *loop, int by) {
    Arena scratch;
    arena_init(&scratch, ctx);
    Vary v = vary_of(ctx, &scratch, f, loop);
    bool may = by >= 2 && by <= MOST_BY && may_jam(&v, by);
    if (may) {
        Jam j = {.ctx = ctx, .arena = arena, .m = m, .f = f, .v = &v, .by = by};
        for (int u = 0; u < by; u++)
            j.to[u] = ARENA_ARRAY(&scratch, LVal, f->vals.n);
        loop->body = jam_body(&j, &loop->body);
        loop->step *= by;
    }
    arena_free(&scratch);
    return may;
}

/* ---- choosing */

/* The output loops around one reduction, and what its innermost body does. */
typedef struct Kernel {
    LoopStmt *loops[MOST_CHAIN];
    bool may[MOST_CHAIN][MOST_BY + 1];
    bool *varies[MOST_CHAIN]; /* by value id */
    int n;
    const LoopBody *inner; /* of the innermost reduction */
    int n_sums, n_ops;     /* carried there; operations other than splats */
    int n_stmts;           /* statements of the outermost loop */
} Kernel;

static LoopStmt *only_loop(const LoopBody *b) {
    LoopStmt *found = NULL;
    for (int k = 0; k < b->stmts.n; k++) {
        if (b->stmts.p[k]->kind != LOOP_FOR)
            continue;
        if (found)
            return NULL;
        found = b->stmts.p[k];
    }
    return found;
}

static int count_stmts(const LoopBody *b) {
    int n = b->stmts.n;
    for (int k = 0; k < b->stmts.n; k++)
        n += count_stmts(&b->stmts.p[k]->body);
    return n;
}

/* From `s` inwards as long as there is one loop; false: no reduction stands at the end. */
static bool find_nest(LoopStmt *s, Kernel *n) {
    n->n = 0;
    for (; s && !s->n_carried && n->n < MOST_CHAIN; s = only_loop(&s->body))
        n->loops[n->n++] = s;
    if (!s || !s->n_carried || !n->n)
        return false;
    for (LoopStmt *inner = s; inner; inner = only_loop(&inner->body)) {
        n->inner = &inner->body;
        n->n_sums = inner->n_carried;
    }
    n->n_ops = 0;
    for (int k = 0; k < n->inner->stmts.n; k++)
        n->n_ops += n->inner->stmts.p[k]->kind == LOOP_LET && n->inner->stmts.p[k]->op != SC_splat;
    n->n_stmts = count_stmts(&n->loops[0]->body);
    return true;
}

/* Cycles of the innermost body for each of its sums, when loops a and b are jammed: two operations
 * start in a cycle, and two scalar loads or one of a vector (which often comes from L2); a sum is
 * ready for its next term after LATENCY. */
static double cycles(const Kernel *n, const Target *t, int a, int by_a, int b, int by_b) {
    enum { LATENCY = 5 };
    double loads = 0, ops = 0;
    for (int k = 0; k < n->inner->stmts.n; k++) {
        const LoopStmt *s = n->inner->stmts.p[k];
        if (!s->result.id)
            continue;
        double times = (n->varies[a][s->result.id] ? by_a : 1) *
                       (b >= 0 && n->varies[b][s->result.id] ? by_b : 1);
        if (s->kind == LOOP_LOAD)
            loads += s->type.lanes > 1 ? times : times / 2;
        else if (s->kind == LOOP_LET && s->op != SC_splat &&
                 (s->op != SC_select || t->vector_bytes < 64)) /* else: masked sums */
            ops += times / 2;
    }
    double best = loads > ops ? loads : ops;
    return (best > LATENCY ? best : LATENCY) / ((double)n->n_sums * by_a * by_b);
}

static bool allowed(const Kernel *n, const Target *t, int a, int by_a, int b, int by_b) {
    int sums = n->n_sums * by_a * by_b, most = t->registers >= 32 ? 24 : t->registers * 3 / 4;
    bool heavy =
        n->n_ops >
        MOST_OPS * n->n_sums; /* its temporaries need the registers, and hide the latency */
    if (sums > most || n->n_stmts * by_a * by_b > MOST_STMTS || (heavy && by_a * by_b > 2))
        return false;
    return n->may[a][by_a] && (b < 0 ? by_b == 1 : n->may[b][by_b]);
}

static void choose(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *t, Kernel *n) {
    int best_a = -1, best_b = -1, best_by_a = 1, best_by_b = 1;
    double best = 1e30;
    for (int a = 0; a < n->n; a++)
        for (int by_a = 2; by_a <= MOST_BY; by_a++)
            for (int b = -1; b < a; b++)
                for (int by_b = b < 0 ? 1 : 2; by_b <= (b < 0 ? 1 : MOST_BY); by_b++) {
                    if (!allowed(n, t, a, by_a, b, by_b))
                        continue;
                    double cost = cycles(n, t, a, by_a, b, by_b) +
                                  0.001 * by_a * by_b; /* the fewer the better */
                    if (cost >= best)
                        continue;
                    best = cost;
                    best_a = a;
                    best_b = b;
                    best_by_a = by_a;
                    best_by_b = by_b;
                }
    LoopStmt *inner = best_a >= 0 ? n->loops[best_a] : NULL,
             *outer = best_b >= 0 ? n->loops[best_b] : NULL;
    if (inner)
        jam_loop(ctx, arena, m, f, inner, best_by_a);
    if (outer)
        jam_loop(ctx, arena, m, f, outer, best_by_b);
}

static bool jam_nest(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *t,
                     LoopStmt *s) {
    Kernel n;
    if (!find_nest(s, &n))
        return false;
    Arena scratch;
    arena_init(&scratch, ctx);
    for (int k = 0; k < n.n; k++) {
        Vary v = vary_of(ctx, &scratch, f, n.loops[k]);
        n.varies[k] = v.varies;
        for (int by = 2; by <= MOST_BY; by++)
            n.may[k][by] = may_jam(&v, by);
    }
    choose(ctx, arena, m, f, t, &n);
    arena_free(&scratch);
    return true;
}

static void visit(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *t,
                  LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        bool output = s->kind == LOOP_FOR && !s->parallel && !s->n_carried;
        if (output && jam_nest(ctx, arena, m, f, t, s))
            continue;
        visit(ctx, arena, m, f, t, &s->body);
        visit(ctx, arena, m, f, t, &s->orelse);
    }
}

void jam_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *t) {
    visit(ctx, arena, m, f, t, &f->body);
}
