/* parallel: large loops outside batches are divided into at most `groups` jobs.
 *
 *   for i in 0..N { B }
 * becomes
 *   for job in 0..8 parallel { for i in (job*N) // 8..((job + 1)*N) // 8 { B } }
 *
 * A loop at the top level, or in a `while` or `if` there, is taken if it carries nothing, its
 * iterations store to different cells, and there is enough work; no bit of the results changes.
 * Scalars from outside are computed again in every job. Sums over the outermost loop stay serial.
 *
 * Behind other jobs the threads are still awake, so that less work pays. There, loops of known
 * extent that touch nothing of one another become one set of jobs (an optimizer's step on all
 * parameters). Of whole numbers, a maximum or minimum is found job by job, then over the jobs (is a
 * gradient finite?):
 *
 *   %2 = for i in 0..4096 with %3 = %1 { .. }
 * becomes
 *   for job in 0..8 parallel {
 *     %4 = for i in 512*job..512*(job + 1) with %3 = %1 { .. }
 *     store part[job] = %4
 *   }
 *   %2 = for job in 0..8 with %5 = %1 { max(%5, part[job]) }
 */
#include "passes/parallel.h"

/* To wake a thread and to wait for it takes as long as about LEAST_WORK statements on vectors.
 * Loops whose extents are known when called get jobs sooner: they may be long. Threads that are
 * awake are worth LEAST_AWAKE, of loops of at least LEAST_PART each. */
enum {
    LEAST_WORK = 1 << 18,
    LEAST_OPEN = 1 << 15,
    LEAST_AWAKE = 1 << 13,
    LEAST_PART = 1 << 9,
    MANY = 4096
};

static bool is_constant(const LoopStmt *s) {
    bool lo = false, hi = false;
    for (int k = 0; k < s->n_lo; k++)
        lo |= dim_is_const(s->lo[k], NULL);
    for (int k = 0; k < s->n_hi; k++)
        hi |= dim_is_const(s->hi[k], NULL);
    return lo && hi;
}

/* Operations of a body; extents known at run time only count as many, and make it open. */
static double work_of(const LoopBody *b, bool *open) {
    double work = 0;
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        bool known = s->kind != LOOP_FOR || is_constant(s);
        double trip = known ? (double)vary_trip(s) : MANY;
        *open |= !known || s->kind == LOOP_WHILE;
        work +=
            1 + (s->body.stmts.n ? trip * work_of(&s->body, open) : 0) + work_of(&s->orelse, open);
    }
    return work;
}

/* The rest of a loop whose whole blocks have gone before: fewer iterations than groups, however long that was. */
static bool is_rest(Ctx *ctx, const LoopFunc *f, const LoopStmt *s) {
    DimFacts none = {0};
    Dim span = s->n_hi == 1 ? dim_sub(ctx, s->hi[0], s->lo[0]) : NULL;
    return span && dim_prove_nonneg(ctx, &none, dim_sub(ctx, dim_const(ctx, f->groups * s->step), span));
}

/* An extent of at least two iterations, bounds that jobs can divide, independent iterations, enough
 * work. */
static bool worth_it(Ctx *ctx, const LoopFunc *f, const LoopStmt *s) {
    if (s->kind != LOOP_FOR || s->parallel || s->n_carried || s->n_lo != 1 || vary_trip(s) < 2)
        return false;
    bool open = !is_constant(s);
    if (open && is_rest(ctx, f, s))
        return false;
    double work = (open ? MANY : (double)vary_trip(s)) * work_of(&s->body, &open);
    return work >= (open ? LEAST_OPEN : LEAST_WORK);
}

/* ---- loops together */

typedef struct Found {
    LoopBody *at;
    Together loops;
} Found;

/* Loops of one body that may become jobs together, so far. Those that gather stand at the place of
 * the first, since what follows may need that, all others at the place of the last, so that little
 * is left to do when the threads have ended. */
typedef struct Gang {
    Parallel z;
    bool awake; /* jobs have run before */
    Together loops;
    double work;
    int from, turn;        /* position of the first; number of the gang */
    const int *memory;     /* memory_of */
    int *touched, *stored; /* by memory: the last gang of which a loop does, or a statement that
                              loops are to pass */
    VEC(Found) found;
} Gang;

/* By buffer: the first one of those that are the same memory. */
static int *memory_of(Arena *arena, const LoopFunc *f) {
    int *memory = ARENA_ARRAY(arena, int, f->bufs.n + 1);
    VEC(BufId) args = {0};
    for (int k = 0; k < f->bufs.n; k++) {
        const LoopBuf *b = loop_storage(f, f->bufs.p[k]->id);
        int j = 0;
        if (b->kind == BUF_ARG) {
            while (j < args.n && !parallel_meet(f, args.p[j], b->id))
                j++;
            if (j == args.n)
                vec_push(arena, &args, b->id);
            b = loop_bufp(f, args.p[j]);
        }
        memory[k + 1] = (int)b->id.id;
    }
    return memory;
}

static bool gathers(const Gang *g) {
    return g->loops.loops.n && g->loops.loops.p[0]->n_carried > 0;
}

/* May not be passed: what may end the call, and what holds more than loops and values. */
static bool stays(const LoopStmt *s) {
    bool access = s->kind == LOOP_LOAD || s->kind == LOOP_STORE;
    return s->kind == LOOP_WHILE || s->kind == LOOP_IF || s->kind == LOOP_CALL ||
           s->kind == LOOP_STATUS || s->kind == LOOP_POLL || s->kind == LOOP_RETURN ||
           s->parallel || s->checked || (access && s->status >= 0);
}

static bool collect(const LoopStmt *s, Arena *arena, LoopBody *accesses) {
    bool good = !stays(s);
    if (s->kind == LOOP_LOAD || s->kind == LOOP_STORE)
        vec_push(arena, &accesses->stmts, (LoopStmt *)(uintptr_t)s);
    for (int k = 0; k < s->body.stmts.n && good; k++)
        good = collect(s->body.stmts.p[k], arena, accesses);
    return good;
}

static void note(Gang *g, const LoopBody *accesses) {
    for (int k = 0; k < accesses->stmts.n; k++) {
        const LoopStmt *s = accesses->stmts.p[k];
        g->touched[g->memory[s->buf.id]] = g->turn;
        if (s->kind == LOOP_STORE)
            g->stored[g->memory[s->buf.id]] = g->turn;
    }
}

/* Does nothing that has been noted as stored meet these accesses, and the other way round? */
static bool apart(const Gang *g, const LoopBody *accesses) {
    for (int k = 0; k < accesses->stmts.n; k++) {
        const LoopStmt *s = accesses->stmts.p[k];
        int b = g->memory[s->buf.id];
        if (g->stored[b] == g->turn || (s->kind == LOOP_STORE && g->touched[b] == g->turn))
            return false;
    }
    return true;
}

static void finish(Gang *g) {
    if (g->work >= LEAST_AWAKE)
        vec_push(g->z.arena, &g->found, ((Found){g->z.at, g->loops}));
    g->loops = (Together){.first = false};
    g->work = 0;
    g->turn++;
}

/* A statement between the loops: those that gather will pass it, the others are to be passed by it.
 */
static void between(Gang *g, const LoopStmt *s, Arena *scratch) {
    LoopBody accesses = {0};
    if (!collect(s, scratch, &accesses) || (!gathers(g) && !apart(g, &accesses)))
        finish(g);
    else if (gathers(g))
        note(g, &accesses);
}

static bool gathers_exactly(const Vary *v) {
    VarySum links = {0};
    bool good = v->nest || !v->loop->n_carried;
    for (int k = 0; k < v->loop->n_carried && good; k++) {
        ScalarOp op = vary_reduction(v, k, &links);
        good = (op == SC_max || op == SC_min) && !dtype_is_real(v->loop->carried[k].dt);
    }
    return good;
}

/* Loops with few iterations give some threads much more than others. */
static bool may_join(const Gang *g, const LoopStmt *s, double *work) {
    bool open = false;
    if (s->kind != LOOP_FOR || s->parallel || s->n_args || s->need || s->n_lo != 1 ||
        !is_constant(s) || vary_trip(s) < 4 * g->z.f->groups)
        return false;
    *work = (double)vary_trip(s) * work_of(&s->body, &open);
    return !open && *work >= LEAST_PART;
}

/* Takes loop s into the gang; false: it cannot be. */
static bool join(Gang *g, LoopStmt *s, int at, Arena *scratch) {
    LoopBody accesses = {0};
    int from = gathers(g) ? g->from : at;
    if (!parallel_possible(&g->z, s, scratch, from, &accesses) || !collect(s, scratch, &accesses) ||
        !apart(g, &accesses))
        return false;
    note(g, &accesses);
    g->from = g->loops.loops.n ? g->from : at;
    g->loops.first = s->n_carried > 0;
    vec_push(g->z.arena, &g->loops.loops, s);
    return true;
}

static void take(Gang *g, LoopStmt *s, int at) {
    double work = 0;
    Arena scratch;
    arena_init(&scratch, g->z.ctx);
    bool joins = may_join(g, s, &work);
    if (joins) {
        Vary v = vary_of(g->z.ctx, &scratch, g->z.f, s);
        joins = !v.opaque && v.accesses.n && vary_independent(&v) && gathers_exactly(&v);
    }
    if (joins && g->loops.loops.n &&
        (gathers(g) != (s->n_carried > 0) || !join(g, s, at, &scratch))) {
        finish(g);
        joins = join(g, s, at, &scratch);
    } else if (joins && !g->loops.loops.n) {
        joins = join(g, s, at, &scratch);
    }
    if (joins)
        g->work += work;
    else if (g->loops.loops.n)
        between(g, s, &scratch);
    arena_free(&scratch);
}

/* ---- */

static bool alone(Parallel *z, LoopStmt *s) {
    if (!worth_it(z->ctx, z->f, s))
        return false;
    Arena scratch;
    arena_init(&scratch, z->ctx);
    Vary v = vary_of(z->ctx, &scratch, z->f, s);
    LoopBody loads = {0};
    bool can = !v.opaque && v.accesses.n && vary_independent(&v) &&
               parallel_possible(z, s, &scratch, loop_position(z->at, s), &loads);
    arena_free(&scratch);
    Together t = {0};
    vec_push(z->arena, &t.loops, s);
    if (can)
        parallel_divide(z, &t);
    return can;
}

static void visit(Gang *g, LoopBody *b) {
    Parallel *z = &g->z;
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        if (s->kind == LOOP_WHILE || s->kind == LOOP_IF) {
            finish(g);
            visit(g, &s->body);
            visit(g, &s->orelse);
        }
        z->at = b;
        if (s->parallel || alone(z, s))
            g->awake = true;
        if (g->awake)
            take(g, b->stmts.p[k], k);
    }
    finish(g);
}

void pass_parallel(Unit *u) {
    for (int n = 0; n < u->loops->funcs.n; n++) {
        LoopFunc *f = u->loops->funcs.p[n];
        Gang g = {.z = {.ctx = u->ctx, .arena = u->arena, .m = u->loops, .f = f, .at = &f->body},
                  .turn = 1};
        g.memory = memory_of(u->arena, f);
        g.touched = ARENA_ARRAY(u->arena, int, f->bufs.n + 1);
        g.stored = ARENA_ARRAY(u->arena, int, f->bufs.n + 1);
        if (f->groups > 1)
            visit(&g, &f->body);
        for (int k = g.found.n - 1; k >= 0; k--) {
            g.z.at = g.found.p[k].at;
            parallel_divide(&g.z, &g.found.p[k].loops)->awake = true;
        }
    }
}
