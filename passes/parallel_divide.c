/* parallel: jobs of loops. Each job runs a part of the iterations of every loop, the n-th loop
 * behind the n-1-th. */
#include "passes/parallel.h"

/* ---- values from outside */

typedef struct Outer {
    Parallel *z;
    const LoopStmt *loop;
    int from, at; /* where the jobs stand, and the loop */
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

static bool stored_in(const LoopFunc *f, const LoopBody *b, BufId buf) {
    for (int k = 0; k < b->stmts.n; k++)
        if (parallel_stores(f, b->stmts.p[k], buf))
            return true;
    return false;
}

bool parallel_meet(const LoopFunc *f, BufId a, BufId b) {
    const LoopBuf *x = loop_storage(f, a), *y = loop_storage(f, b);
    return x == y ||
           (x->kind == BUF_ARG && y->kind == BUF_ARG && x->arg == y->arg && x->offset == y->offset);
}

bool parallel_stores(const LoopFunc *f, const LoopStmt *s, BufId buf) {
    if (s->kind == LOOP_STORE)
        return parallel_meet(f, s->buf, buf);
    for (int k = 0; k < s->n_bufs; k++)
        if (parallel_meet(f, s->bufs[k], buf))
            return true;
    return stored_in(f, &s->body, buf) || stored_in(f, &s->orelse, buf);
}

/* The statement beside the loop, before it, that defines x and can be repeated inside. */
static const LoopStmt *repeatable(const Outer *o, LVal x) {
    const LoopBody *b = o->z->at;
    int k = 0;
    while (k < o->at && b->stmts.p[k]->result.id != x.id)
        k++;
    const LoopStmt *def = k < o->at ? b->stmts.p[k] : NULL;
    if (!def || (def->kind != LOOP_CONST && def->kind != LOOP_INDEX && def->kind != LOOP_LET &&
                 def->kind != LOOP_LOAD))
        return NULL;
    for (int j = k < o->from ? k : o->from; def->kind == LOOP_LOAD && j <= o->at; j++)
        if (parallel_stores(o->z->f, b->stmts.p[j], def->buf))
            return NULL; /* memory may have changed in between */
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

static void inner_list(Outer *o, LVal *v, int n, bool put) {
    for (int k = 0; k < n; k++) {
        LVal x = inner_of(o, v[k]);
        if (put)
            v[k] = x;
    }
}

/* First finds whether all values from outside can be had inside, then puts them in. */
static void inner_values(Outer *o, LoopBody *b, bool put) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        inner_list(o, s->args, s->n_args, put);
        inner_list(o, s->init, s->n_carried, put);
        LVal *subs = s->sub_vals
                         ? arena_dup(o->z->arena, s->sub_vals, (size_t)s->rank * sizeof *subs)
                         : NULL;
        inner_list(o, subs, subs ? s->rank : 0, put);
        if (put)
            s->sub_vals = subs;
        inner_values(o, &s->body, put);
        inner_values(o, &s->orelse, put);
    }
}

/* The values that s takes from outside. */
static Outer outer_of(Parallel *z, Arena *arena, LoopStmt *s, int from) {
    Outer o = {.z = z,
               .loop = s,
               .from = from,
               .at = loop_position(z->at, s),
               .n_old = z->f->vals.n,
               .possible = true};
    o.to = ARENA_ARRAY(arena, LVal, o.n_old);
    o.inside = ARENA_ARRAY(arena, bool, o.n_old);
    for (int k = 0; k < s->n_carried; k++)
        o.inside[s->phi[k].id] = true;
    note_inside(&o, &s->body);
    LVal *init = arena_dup(z->arena, s->init, (size_t)s->n_carried * sizeof *init);
    inner_list(&o, init, s->n_carried, false);
    inner_values(&o, &s->body, false);
    return o;
}

/* First index of job k's part: lo + step*((k*T) // jobs), T iterations. */
static Dim part_of(const Parallel *z, const LoopStmt *s, Dim k, Dim jobs) {
    Ctx *ctx = z->ctx;
    Dim n = dim_ceildiv(ctx, dim_sub(ctx, s->hi[0], s->lo[0]), dim_const(ctx, s->step));
    return dim_add(ctx, s->lo[0],
                   dim_scale(ctx, dim_floordiv(ctx, dim_mul(ctx, k, n), jobs), s->step));
}

bool parallel_possible(Parallel *z, LoopStmt *s, Arena *arena, int from, LoopBody *loads) {
    Outer o = outer_of(z, arena, s, from);
    Dim jobs = dim_const(z->ctx, z->f->groups);
    for (int k = 0; k < o.copies.stmts.n; k++)
        if (o.copies.stmts.p[k]->kind == LOOP_LOAD)
            vec_push(arena, &loads->stmts, o.copies.stmts.p[k]);
    return o.possible && part_of(z, s, jobs, jobs);
}

/* ---- dividing */

static bool has_index(const LoopStmt *s, Str name) {
    bool has = s->kind == LOOP_FOR && s->index->name == name;
    for (int k = 0; k < s->body.stmts.n && !has; k++)
        has = has_index(s->body.stmts.p[k], name);
    return has;
}

static bool name_used(const Parallel *z, const Together *t, Str name) {
    for (int k = 0; k < z->f->dims.n; k++)
        if (z->f->dims.p[k]->name == name)
            return true;
    for (int k = 0; k < t->loops.n; k++)
        if (has_index(t->loops.p[k], name))
            return true;
    return false;
}

static DimSym job_index(const Parallel *z, const Together *t) {
    Str name = str_of(z->ctx, "job");
    for (int k = 1; name_used(z, t, name); k++)
        name = str_fmt(z->ctx, "job%d", k);
    return dim_symbol_new(z->ctx, name, 0, true);
}

/* What a loop carries, by job: [jobs] or [jobs, lanes]. */
static BufId part_buffer(Parallel *z, const LoopStmt *s, LType t) {
    Dim *shape = ARENA_ARRAY(z->arena, Dim, 2);
    shape[0] = dim_const(z->ctx, z->f->groups);
    shape[1] = dim_const(z->ctx, t.lanes);
    LoopBuf b = {.name = str_of(z->ctx, "part"),
                 .kind = BUF_WORK,
                 .dt = t.dt,
                 .rank = t.lanes > 1 ? 2 : 1,
                 .shape = shape,
                 .written = true,
                 .span = s->span};
    return loop_buf(z->m, z->f, b);
}

/* Stores what s, now in a job, gathers, and returns the loop over jobs that gathers that; it has
 * the results of s, which gets new ones. Of max and min of whole numbers: a start that every job
 * has once more changes nothing. */
static LoopStmt *gather(Parallel *z, LoopStmt *s, const LVal *init, LoopCursor *in, DimSym job) {
    Arena scratch;
    arena_init(&scratch, z->ctx);
    Vary v = vary_of(z->ctx, &scratch, z->f, s);
    VarySum links = {0};
    LoopBody all = {0};
    LoopCursor c = {.m = z->m, .f = z->f, .at = &all, .span = s->span};
    DimSym each = dim_symbol_new(z->ctx, job->name, 0, true);
    Dim zero = dim_const(z->ctx, 0), jobs = dim_const(z->ctx, z->f->groups),
        here[2] = {dim_of(z->ctx, job), zero}, there[2] = {dim_of(z->ctx, each), zero};
    LoopStmt *g = loop_for(&c, each, &zero, 1, &jobs, 1, 1, init, s->n_carried);
    LVal *sum = ARENA_ARRAY(&scratch, LVal, s->n_carried),
         *out = arena_dup(z->arena, s->out, (size_t)s->n_carried * sizeof *out);
    for (int k = 0; k < s->n_carried; k++) {
        BufId part = part_buffer(z, s, s->carried[k]);
        s->out[k] = loop_val(z->m, z->f, s->carried[k]);
        loop_store(in, part, here, s->out[k]);
        LVal both[2] = {g->phi[k],
                        loop_load_lanes(&c, part, there, s->carried[k].lanes, NULL)->result};
        sum[k] = loop_let(&c, vary_reduction(&v, k, &links), both, 2, DT_NONE);
    }
    loop_end(&c, g, &all, sum);
    g->out = out;
    arena_free(&scratch);
    return g;
}

/* Puts the job's part of s at the cursor; returns what takes its place, or NULL. */
static LoopStmt *divide(Parallel *z, LoopStmt *s, int from, DimSym job, LoopCursor *in) {
    Arena scratch;
    arena_init(&scratch, z->ctx);
    Ctx *ctx = z->ctx;
    Dim jobs = dim_const(ctx, z->f->groups), first = part_of(z, s, dim_of(ctx, job), jobs),
        end = part_of(z, s, dim_addk(ctx, dim_of(ctx, job), 1), jobs);
    LVal *init = arena_dup(z->arena, s->init, (size_t)s->n_carried * sizeof *init);
    Outer o = outer_of(z, &scratch, s, from);
    inner_list(&o, s->init, s->n_carried, true);
    inner_values(&o, &s->body, true);
    for (int k = 0; k < o.copies.stmts.n; k++)
        vec_push(z->arena, &in->at->stmts, o.copies.stmts.p[k]);
    Dim *hi = arena_dup(z->arena, s->hi, (size_t)s->n_hi * sizeof *hi);
    hi[0] = end;
    s->hi = hi;
    s->lo = arena_dup(z->arena, &first, sizeof first);
    vec_push(z->arena, &in->at->stmts, s);
    arena_free(&scratch);
    return s->n_carried ? gather(z, s, init, in, job) : NULL;
}

LoopStmt *parallel_divide(Parallel *z, const Together *t) {
    Ctx *ctx = z->ctx;
    Dim jobs = dim_const(ctx, z->f->groups), zero = dim_const(ctx, 0);
    DimSym job = job_index(z, t);
    int n = t->loops.n, place = t->first ? 0 : n - 1, from = loop_position(z->at, t->loops.p[0]);
    LoopBody none = {0};
    LoopCursor c = {.m = z->m, .f = z->f, .at = &none, .span = t->loops.p[0]->span};
    LoopStmt *outer = loop_for(&c, job, &zero, 1, &jobs, 1, 1, NULL, 0),
             **after = ARENA_ARRAY(z->arena, LoopStmt *, n);
    outer->parallel = true;
    for (int k = 0; k < n && !outer->name; k++)
        outer->name = t->loops.p[k]->name;
    for (int k = 0; k < n; k++)
        after[k] = divide(z, t->loops.p[k], t->first ? from : loop_position(z->at, t->loops.p[k]),
                          job, &c);
    if (n == 1)
        t->loops.p[0]->name = NULL;
    for (int k = n - 1; k >= 0; k--) {
        LoopStmt *with[2] = {outer, after[k]};
        int at = loop_position(z->at, t->loops.p[k]), jobs_too = k == place;
        loop_replace(z->arena, z->at, at, with + !jobs_too, jobs_too + (after[k] != NULL));
    }
    return outer;
}
