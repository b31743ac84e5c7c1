/* parallel: large loops outside batches are divided into at most `groups` jobs.
 *
 *   for i in 0..N { B }
 * becomes
 *   for job in 0..8 parallel { for i in (job*N) // 8..((job + 1)*N) // 8 { B } }
 *
 * A loop at the top level, or in a `while` or `if` there, is taken if it carries nothing, its
 * iterations store to different cells, and there is enough work; no bit of the results changes.
 * Scalars from outside are computed again in every job. Sums over the outermost loop stay serial.
 */
#include "passes/pass.h"
#include "passes/vary.h"

/* To wake a thread and to wait for it takes as long as about LEAST_WORK statements on vectors.
 * Loops whose extents are known when called get jobs sooner: they may be long. */
enum { LEAST_WORK = 1 << 18, LEAST_OPEN = 1 << 15, MANY = 4096 };

typedef struct Parallel {
    Ctx *ctx;
    Arena *arena;
    LoopModule *m;
    LoopFunc *f;
    LoopBody *at; /* the function's body, or that of a `while` or `if` in it */
} Parallel;

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

/* ---- values from outside */

typedef struct Outer {
    Parallel *z;
    const LoopStmt *loop;
    LoopBody copies;
    LVal *to;     /* by value id: its copy */
    bool *inside; /* by value id: defined in the loop */
    int n_old;
    bool possible;
} Outer;

static void note_inside(Outer *o, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        o->inside[s->result.id] = true;
        for (int j = 0; j < s->n_carried; j++)
            o->inside[s->phi[j].id] = o->inside[s->out[j].id] = true;
        note_inside(o, &s->body);
        note_inside(o, &s->orelse);
    }
}

static bool stored_in(const Outer *o, const LoopBody *b, BufId buf) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        if (s->kind == LOOP_STORE && loop_storage(o->z->f, s->buf) == loop_storage(o->z->f, buf))
            return true;
        if (stored_in(o, &s->body, buf) || stored_in(o, &s->orelse, buf))
            return true;
    }
    return false;
}

/* The statement beside the loop, before it, that defines x and can be repeated inside. */
static const LoopStmt *repeatable(const Outer *o, LVal x) {
    const LoopBody *b = o->z->at;
    const LoopStmt *def = NULL;
    for (int k = 0; k < b->stmts.n && b->stmts.p[k] != o->loop; k++) {
        const LoopStmt *s = b->stmts.p[k];
        if (s->result.id == x.id && (s->kind == LOOP_CONST || s->kind == LOOP_INDEX ||
                                     s->kind == LOOP_LET || s->kind == LOOP_LOAD))
            def = s;
        else if (def && def->kind == LOOP_LOAD && s->kind != LOOP_LOAD && s->kind != LOOP_LET &&
                 s->kind != LOOP_CONST && s->kind != LOOP_INDEX)
            return NULL; /* memory may have changed in between */
    }
    if (def && def->kind == LOOP_LOAD && stored_in(o, &o->loop->body, def->buf))
        return NULL;
    return def;
}

static LVal inner_of(Outer *o, LVal x) {
    if (!x.id || x.id >= (uint32_t)o->n_old || o->inside[x.id] || !o->possible)
        return x;
    if (o->to[x.id].id)
        return o->to[x.id];
    const LoopStmt *def = repeatable(o, x);
    if (!def) {
        o->possible = false;
        return x;
    }
    LoopStmt *copy = arena_dup(o->z->arena, def, sizeof *def);
    copy->args = arena_dup(o->z->arena, def->args, (size_t)def->n_args * sizeof *def->args);
    for (int k = 0; k < copy->n_args; k++)
        copy->args[k] = inner_of(o, copy->args[k]);
    if (def->sub_vals) {
        LVal *subs = arena_dup(o->z->arena, def->sub_vals, (size_t)def->rank * sizeof *subs);
        for (int k = 0; k < def->rank; k++)
            subs[k] = inner_of(o, subs[k]);
        copy->sub_vals = subs;
    }
    copy->result = loop_val(o->z->m, o->z->f, def->type);
    vec_push(o->z->arena, &o->copies.stmts, copy);
    return o->to[x.id] = copy->result;
}

/* First finds whether all values from outside can be had inside, then puts them in. */
static void inner_values(Outer *o, LoopBody *b, bool put) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        for (int j = 0; j < s->n_args; j++) {
            LVal v = inner_of(o, s->args[j]);
            if (put)
                s->args[j] = v;
        }
        for (int j = 0; j < s->n_carried; j++) {
            LVal v = inner_of(o, s->init[j]);
            if (put)
                s->init[j] = v;
        }
        for (int j = 0; s->sub_vals && j < s->rank; j++) {
            LVal v = inner_of(o, s->sub_vals[j]);
            if (put && v.id != s->sub_vals[j].id) {
                LVal *subs = arena_dup(o->z->arena, s->sub_vals, (size_t)s->rank * sizeof *subs);
                subs[j] = v;
                s->sub_vals = subs;
            }
        }
        inner_values(o, &s->body, put);
        inner_values(o, &s->orelse, put);
    }
}

/* ---- dividing */

static bool name_used(const Parallel *z, const Vary *v, Str name) {
    for (int k = 0; k < z->f->dims.n; k++)
        if (z->f->dims.p[k]->name == name)
            return true;
    for (int k = 0; k < v->inner.n; k++)
        if (v->inner.p[k]->name == name)
            return true;
    return v->loop->index->name == name;
}

static DimSym job_index(const Parallel *z, const Vary *v) {
    Str name = str_of(z->ctx, "job");
    for (int k = 1; name_used(z, v, name); k++)
        name = str_fmt(z->ctx, "job%d", k);
    return dim_symbol_new(z->ctx, name, 0, true);
}

/* First index of job k's part: lo + step*((k*T) // jobs), T iterations. */
static Dim part_of(const Parallel *z, const LoopStmt *s, Dim k, Dim jobs) {
    Ctx *ctx = z->ctx;
    Dim n = dim_ceildiv(ctx, dim_sub(ctx, s->hi[0], s->lo[0]), dim_const(ctx, s->step));
    return dim_add(ctx, s->lo[0],
                   dim_scale(ctx, dim_floordiv(ctx, dim_mul(ctx, k, n), jobs), s->step));
}

static bool divide(Parallel *z, LoopStmt *s, const Vary *v, LoopStmt **out) {
    Ctx *ctx = z->ctx;
    Dim jobs = dim_const(ctx, z->f->groups), zero = dim_const(ctx, 0);
    DimSym job = job_index(z, v);
    Dim first = part_of(z, s, dim_of(ctx, job), jobs);
    Dim end = part_of(z, s, dim_addk(ctx, dim_of(ctx, job), 1), jobs);
    Outer o = {.z = z, .loop = s, .n_old = z->f->vals.n, .possible = true};
    o.to = ARENA_ARRAY(v->arena, LVal, o.n_old);
    o.inside = ARENA_ARRAY(v->arena, bool, o.n_old);
    note_inside(&o, &s->body);
    inner_values(&o, &s->body, false);
    if (!o.possible || !first || !end)
        return false;
    inner_values(&o, &s->body, true);
    LoopBody none = {0};
    LoopCursor c = {.m = z->m, .f = z->f, .at = &none, .span = s->span};
    LoopStmt *outer = loop_for(&c, job, &zero, 1, &jobs, 1, 1, NULL, 0);
    outer->parallel = true;
    outer->name = s->name;
    s->name = NULL;
    outer->body = o.copies;
    Dim *hi = arena_dup(z->arena, s->hi, (size_t)s->n_hi * sizeof *hi);
    hi[0] = end;
    s->hi = hi;
    s->lo = arena_dup(z->arena, &first, sizeof first);
    vec_push(z->arena, &outer->body.stmts, s);
    *out = outer;
    return true;
}

/* An extent of at least two iterations, bounds that jobs can divide, independent iterations, enough
 * work. */
static bool worth_it(const LoopStmt *s) {
    if (s->kind != LOOP_FOR || s->parallel || s->n_carried || s->n_lo != 1 || vary_trip(s) < 2)
        return false;
    bool open = !is_constant(s);
    double work = (open ? MANY : (double)vary_trip(s)) * work_of(&s->body, &open);
    return work >= (open ? LEAST_OPEN : LEAST_WORK);
}

static void visit(Parallel *z, LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        if (s->kind == LOOP_WHILE || s->kind == LOOP_IF) {
            visit(z, &s->body);
            visit(z, &s->orelse);
        }
        if (!worth_it(s))
            continue;
        Arena scratch;
        arena_init(&scratch, z->ctx);
        Vary v = vary_of(z->ctx, &scratch, z->f, s);
        z->at = b;
        if (!v.opaque && v.accesses.n && vary_independent(&v))
            divide(z, s, &v, &b->stmts.p[k]);
        arena_free(&scratch);
    }
}

void pass_parallel(Unit *u) {
    for (int n = 0; n < u->loops->funcs.n; n++) {
        LoopFunc *f = u->loops->funcs.p[n];
        Parallel z = {.ctx = u->ctx, .arena = u->arena, .m = u->loops, .f = f};
        if (f->groups > 1)
            visit(&z, &f->body);
    }
}
