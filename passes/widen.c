/* Rewriting one loop for vectors. What varies with the index gets lanes in place; a scalar that
 * vectors need is splat where it is defined; sums add up by lanes. Contract of the choice:
 * vectorize.c. */
#include "passes/widen.h"

/* ---- rewriting: types, accesses and operands in place; splats where scalars are defined */

typedef struct Rewrite {
    Vectorize *z;
    const Vary *v;
    WidenPlan plan;
    int n_old;          /* values before the rewrite: what varies has its number below */
    ScalarOp *gathered; /* by carried value: vary_reduction */
    LVal *splat;        /* by value id: the same in every lane */
    LVal lane_on; /* bool by lane, where sums must be kept from inactive lanes; id 0: not needed yet
                   */
    bool *inside; /* by value id: defined in the loop, its splat stands there */
    bool *open;   /* by value id, of loads: lanes past the end are read, and need no mask */
} Rewrite;

static bool varies(const Rewrite *r, LVal x) {
    return x.id < (uint32_t)r->n_old && r->v->varies[x.id];
}

static LVal vector_of(Rewrite *r, LVal x) {
    if (varies(r, x))
        return x;
    if (!r->splat[x.id].id)
        r->splat[x.id] = loop_val(r->z->m, r->z->f, (LType){loop_type(r->z->f, x).dt, r->z->lanes});
    return r->splat[x.id];
}

static void widen(Rewrite *r, LVal x) { r->z->f->vals.p[x.id].lanes = r->z->lanes; }

typedef VEC(Dim) Dims;

static void know_range(Vectorize *z, const LoopStmt *s, Dims *when) {
    Dim i = dim_of(z->ctx, s->index);
    for (int k = 0; k < s->n_lo + s->n_hi; k++) {
        Dim past = k < s->n_lo ? dim_sub(z->ctx, i, s->lo[k])
                               : dim_sub(z->ctx, dim_addk(z->ctx, s->hi[k - s->n_lo], -1), i);
        if (past)
            vec_push(z->arena, when, past);
    }
}

static Dims facts_around(Vectorize *z, const Around *around) {
    Dims when = {0};
    for (int n = 0; n < around->n; n++)
        know_range(z, around->loops[n], &when);
    return when;
}

static bool is_at_least_0(Ctx *ctx, const Dims *when, Dim d) {
    DimFacts facts = {.when = when->p, .n_when = when->n};
    return d && dim_prove_nonneg(ctx, &facts, d);
}

/* Does the load stay inside its buffer in all lanes? Along the axis of the lanes alone: where the
 * loop runs, its first iteration reads what is there. */
static bool stays_inside(const Rewrite *r, const LoopStmt *s, const Dims *when) {
    Ctx *ctx = r->z->ctx;
    const LoopBuf *b = loop_bufp(r->z->f, s->buf);
    int axis;
    int64_t coef;
    if (!r->plan.closed || !vary_axis(r->v, s, &axis, &coef) || axis < 0 ||
        (s->sub_vals && s->sub_vals[axis].id))
        return false;
    DimBinding at = {r->v->loop->index, dim_const(ctx, r->plan.lo)};
    Dim start = dim_subst(ctx, s->subs[axis], &at, 1);
    int64_t reach = coef * (r->plan.hi - 1 - r->plan.lo);
    Dim first = start ? dim_addk(ctx, start, reach < 0 ? reach : 0) : NULL;
    Dim last = start ? dim_addk(ctx, start, reach > 0 ? reach : 0) : NULL;
    Dim room = last ? dim_sub(ctx, dim_addk(ctx, b->shape[axis], -1), last) : NULL;
    return is_at_least_0(ctx, when, first) && is_at_least_0(ctx, when, room);
}

/* Facts about the loops around a load: those behind it may be empty. */
static void find_open_loads(Rewrite *r, const LoopBody *b, Dims *when) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        int n = when->n;
        if (s->kind == LOOP_LOAD && varies(r, s->result))
            r->open[s->result.id] = stays_inside(r, s, when);
        if (s->kind == LOOP_FOR)
            know_range(r->z, s, when);
        find_open_loads(r, &s->body, when);
        when->n = n;
    }
}

/* A load that stays inside its buffer in all lanes needs no mask: the sums leave out what it reads
 * there, and nothing else is stored. */
static bool load_is_masked(const Rewrite *r, const LoopStmt *s) {
    return r->plan.mask && !(varies(r, s->result) && r->open[s->result.id]);
}

static void rewrite_access(Rewrite *r, LoopStmt *s) {
    int axis;
    int64_t coef;
    bool masked = s->kind == LOOP_STORE || load_is_masked(r, s);
    vary_axis(r->v, s, &axis, &coef);
    s->type.lanes = r->z->lanes;
    s->lane_axis = axis >= 0 ? axis : s->rank - 1;
    s->lane_step = axis >= 0 ? coef : 0;
    s->active = masked ? r->plan.mask : NULL;
    if (s->kind == LOOP_STORE)
        s->args[0] = vector_of(r, s->args[0]);
    else
        widen(r, s->result);
}

static void rewrite_body(Rewrite *r, LoopBody *b);

static void rewrite_loop(Rewrite *r, LoopStmt *s) {
    LoopStmt *yield = s->n_carried ? s->body.stmts.p[s->body.stmts.n - 1] : NULL;
    if (s->need && dim_mentions(s->need, r->v->loop->index))
        s->need = NULL; /* not the same in all lanes */
    for (int k = 0; k < s->n_carried; k++) {
        if (!varies(r, s->phi[k]))
            continue;
        s->init[k] = vector_of(r, s->init[k]);
        yield->args[k] = vector_of(r, yield->args[k]);
        s->carried[k].lanes = r->z->lanes;
        widen(r, s->phi[k]);
        widen(r, s->out[k]);
    }
    rewrite_body(r, &s->body);
}

static void rewrite_body(Rewrite *r, LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        int64_t coef;
        if (s->kind == LOOP_FOR) {
            rewrite_loop(r, s);
        } else if (s->kind == LOOP_STORE) {
            rewrite_access(r, s);
        } else if (s->result.id && varies(r, s->result)) {
            if (s->kind == LOOP_LOAD) {
                rewrite_access(r, s);
                continue;
            }
            s->type.lanes = r->z->lanes;
            widen(r, s->result);
            if (s->kind == LOOP_INDEX && vary_coef(r->v, s->subs[0], &coef))
                s->lane_step = coef;
            for (int j = 0; j < s->n_args; j++)
                s->args[j] = vector_of(r, s->args[j]);
        }
    }
}

/* def: the statement that defines x if it is known; a constant is written with its lanes. */
static LoopStmt *splat_stmt(Rewrite *r, LVal x, const LoopStmt *def, Span span) {
    LoopBody none = {0};
    LoopCursor c = {.m = r->z->m, .f = r->z->f, .at = &none, .span = span};
    bool constant = def && def->kind == LOOP_CONST;
    LoopStmt *s = loop_stmt(&c, constant ? LOOP_CONST : LOOP_LET);
    if (constant) {
        s->k = def->k;
    } else {
        s->op = SC_splat;
        s->n_args = 1;
        s->args = arena_dup(r->z->arena, &x, sizeof x);
    }
    s->result = r->splat[x.id];
    s->type = loop_type(r->z->f, s->result);
    return s;
}

static bool wants_splat(const Rewrite *r, LVal x) {
    return x.id && x.id < (uint32_t)r->n_old && r->splat[x.id].id;
}

static void place_splat(Rewrite *r, LoopBody *to, LVal x, const LoopStmt *def) {
    if (wants_splat(r, x)) {
        vec_push(r->z->arena, &to->stmts, splat_stmt(r, x, def, def->span));
        r->inside[x.id] = true;
    }
}

/* Every splat right after the definition of its scalar; those of scalars from outside remain
 * marked. */
static void place_splats(Rewrite *r, LoopBody *b) {
    LoopBody to = {0};
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        vec_push(r->z->arena, &to.stmts, s);
        if (s->kind == LOOP_FOR) {
            place_splats(r, &s->body);
            LoopBody phis = {0};
            for (int j = 0; j < s->n_carried; j++)
                place_splat(r, &phis, s->phi[j], s);
            for (int j = 0; phis.stmts.n && j < s->body.stmts.n; j++)
                vec_push(r->z->arena, &phis.stmts, s->body.stmts.p[j]);
            if (phis.stmts.n)
                s->body = phis;
        }
        place_splat(r, &to, s->result, s);
        for (int j = 0; j < s->n_carried; j++)
            place_splat(r, &to, s->out[j], s);
    }
    *b = to;
}

/* ---- sums */

static const LoopStmt *defining(const LoopBody *b, LVal x) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k], *inner;
        if (s->result.id == x.id)
            return s;
        if ((inner = defining(&s->body, x)))
            return inner;
    }
    return NULL;
}

/* Is x zero in the lanes that are off? Masked loads give 0 there. */
static bool zero_when_off(const Rewrite *r, LVal x) {
    const LoopStmt *s = varies(r, x) ? defining(&r->v->loop->body, x) : NULL;
    if (s && s->kind == LOOP_LOAD)
        return load_is_masked(r, s);
    if (!s || s->kind != LOOP_LET)
        return false;
    if (s->op == SC_cast || s->op == SC_neg)
        return zero_when_off(r, s->args[0]);
    return (s->op == SC_mul || s->op == SC_add) && zero_when_off(r, s->args[0]) &&
           zero_when_off(r, s->args[1]);
}

static bool adds_zero_when_off(const Rewrite *r, VaryLink l) {
    const LVal *a = l.add->args;
    if (l.add->op == SC_fma)
        return zero_when_off(r, a[0]) && zero_when_off(r, a[1]);
    return zero_when_off(r, a[0].id == l.sum.id ? a[1] : a[0]);
}

/* Puts `next = select(on, sum + x, sum)` after the link. */
static bool guard_in(Rewrite *r, LoopBody *b, LoopStmt *link, LVal old) {
    for (int k = 0; k < b->stmts.n; k++) {
        if (b->stmts.p[k] != link) {
            if (guard_in(r, &b->stmts.p[k]->body, link, old))
                return true;
            continue;
        }
        LoopBody to = {0};
        LoopCursor c = {.m = r->z->m, .f = r->z->f, .at = &to, .span = link->span};
        for (int j = 0; j <= k; j++)
            vec_push(r->z->arena, &to.stmts, b->stmts.p[j]);
        LVal result = link->result, sum = loop_val(r->z->m, r->z->f, loop_type(r->z->f, result));
        link->result = sum;
        loop_let(&c, SC_select, (LVal[]){r->lane_on, sum, old}, 3, DT_NONE);
        to.stmts.p[to.stmts.n - 1]->result = result;
        for (int j = k + 1; j < b->stmts.n; j++)
            vec_push(r->z->arena, &to.stmts, b->stmts.p[j]);
        *b = to;
        return true;
    }
    return false;
}

/* The lanes that are on, for a loop that starts at `first` (NULL: at its index). */
static void compute_lane_on(Rewrite *r, LoopBody *at, Dim first, Span span) {
    Vectorize *z = r->z;
    LoopCursor c = {.m = z->m, .f = z->f, .at = at, .span = span};
    DimBinding b = {r->v->loop->index, first};
    Dim mask = first ? dim_subst(z->ctx, r->plan.mask, &b, 1) : r->plan.mask;
    LVal lane = loop_index(&c, dim_const(z->ctx, 0), z->lanes, 1), end = loop_index(&c, mask, 1, 0);
    LVal args[2] = {lane, loop_splat(&c, end, z->lanes)};
    r->lane_on = loop_let(&c, SC_lt, args, 2, DT_NONE);
}

/* The links whose terms are not zero by themselves in lanes that are off. Called before the
 * rewrite. */
static VarySum unsafe_links(Rewrite *r) {
    VarySum unsafe = {0};
    for (int k = 0; r->plan.mask && k < r->v->loop->n_carried; k++) {
        VarySum links = {0};
        ScalarOp op = vary_reduction(r->v, k, &links);
        for (int j = 0; j < links.n; j++)
            if (op != SC_add || !adds_zero_when_off(r, links.p[j]))
                vec_push(r->v->arena, &unsafe, links.p[j]);
    }
    return unsafe;
}

/* ---- one loop */

static const LVal *yields_of(const LoopStmt *s) {
    return s->body.stmts.p[s->body.stmts.n - 1]->args;
}

/* Does `up` only pass the sums of the loop inside it on? */
static bool passes_on(const LoopStmt *up, const LoopStmt *loop) {
    if (up->kind != LOOP_FOR || up->parallel || up->n_carried != loop->n_carried)
        return false;
    for (int k = 0; k < loop->n_carried; k++)
        if (up->phi[k].id != loop->init[k].id || yields_of(up)[k].id != loop->out[k].id ||
            vary_uses(up, up->phi[k]) != 1 || vary_uses(up, loop->out[k]) != 1)
            return false;
    return true;
}

/* The sums become sums of lanes in `loop` and the loops around it up to `top`; before and after
 * receive what stands before and after top. */
static void widen_sums(Rewrite *r, LoopStmt *loop, const Around *around, int n_up, LoopBody *before,
                       LoopBody *after) {
    Vectorize *z = r->z;
    LoopStmt *top = n_up ? around->loops[around->n - n_up] : loop;
    LoopCursor c = {.m = z->m, .f = z->f, .at = before, .span = top->span};
    for (int k = 0; k < loop->n_carried; k++) {
        LType scalar = top->carried[k], wide = {scalar.dt, z->lanes};
        LVal start = top->init[k], sum = top->out[k], lanes = loop_val(z->m, z->f, wide);
        c.at = before;
        bool adds =
            r->gathered[k] == SC_add; /* else max or min: what is there at the start counts */
        top->init[k] =
            adds ? loop_const(&c, wide, (ScalarValue){0}) : loop_splat(&c, start, z->lanes);
        for (int u = 0; u <= n_up; u++) {
            LoopStmt *s = u ? around->loops[around->n - u] : loop;
            s->carried[k] = wide;
            widen(r, s->phi[k]);
            if (s != top)
                widen(r, s->out[k]);
        }
        top->out[k] = lanes;
        c.at = after;
        ScalarOp row = adds ? SC_lane_sum : r->gathered[k] == SC_max ? SC_lane_max : SC_lane_min;
        LVal total = loop_let(&c, row, &lanes, 1, DT_NONE);
        if (adds)
            loop_let(&c, SC_add, (LVal[]){start, total}, 2, DT_NONE);
        after->stmts.p[after->stmts.n - 1]->result = sum;
    }
}

static void put_all(Vectorize *z, LoopBody *to, const LoopBody *from) {
    for (int k = 0; k < from->stmts.n; k++)
        vec_push(z->arena, &to->stmts, from->stmts.p[k]);
}

/* Replaces statement s of b by before, with, after. */
static void replace(Vectorize *z, LoopBody *b, const LoopStmt *s, const LoopBody *before,
                    const LoopBody *with, const LoopBody *after) {
    LoopBody to = {0};
    put_all(z, &to, before);
    put_all(z, &to, with);
    put_all(z, &to, after);
    loop_replace(z->arena, b, loop_position(b, s), to.stmts.p, to.stmts.n);
}

/* May a loop of at most one iteration run its body always? If it surely runs, */
static bool runs_always(const Rewrite *r, const Dims *around) {
    const LoopStmt *s = r->v->loop;
    DimFacts facts = {.when = around->p, .n_when = around->n};
    bool runs = !s->n_args;
    for (int k = 0; k < s->n_hi && runs; k++) {
        Dim span = dim_sub(r->z->ctx, s->hi[k], s->lo[0]);
        runs = span && dim_prove_positive(r->z->ctx, &facts, span);
    }
    return runs;
}

/* or nothing inside touches memory of its own accord: what varies has a mask then. */
static bool all_masked(const Rewrite *r) {
    bool masked = r->plan.mask && !r->v->loop->n_args;
    for (int k = 0; k < r->v->accesses.n; k++)
        masked = masked && (r->v->accesses.p[k]->kind == LOOP_STORE ||
                            varies(r, r->v->accesses.p[k]->result));
    return masked;
}

static const Dim *subst_all(Vectorize *z, const Dim *d, int n, const DimBinding *b) {
    Dim *to = ARENA_ARRAY(z->arena, Dim, n + 1);
    for (int k = 0; k < n; k++)
        to[k] = dim_subst(z->ctx, d[k], b, 1);
    return to;
}

static void subst_body(Vectorize *z, LoopBody *b, const DimBinding *binding) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        s->subs = s->subs ? subst_all(z, s->subs, s->rank, binding) : NULL;
        s->active = s->active ? dim_subst(z->ctx, s->active, binding, 1) : NULL;
        s->lo = s->lo ? subst_all(z, s->lo, s->n_lo, binding) : NULL;
        s->hi = s->hi ? subst_all(z, s->hi, s->n_hi, binding) : NULL;
        s->need = s->need ? dim_subst(z->ctx, s->need, binding, 1) : NULL;
        subst_body(z, &s->body, binding);
    }
}

static void rename_in(LVal *v, int n, LVal from, LVal to) {
    for (int k = 0; k < n; k++)
        if (v[k].id == from.id)
            v[k] = to;
}

static void rename_body(LoopBody *b, LVal from, LVal to) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        rename_in(s->args, s->n_args, from, to);
        rename_in(s->init, s->n_carried, from, to);
        rename_body(&s->body, from, to);
        rename_body(&s->orelse, from, to);
    }
}

/* The loop's body in the place of the loop. */
static LoopBody unwrap(Rewrite *r, LoopStmt *loop, LoopBody *around) {
    DimBinding first = {loop->index, loop->lo[0]};
    LoopBody body = loop->body;
    subst_body(r->z, &body, &first);
    for (int k = 0; k < loop->n_carried; k++) {
        rename_body(&body, loop->phi[k], loop->init[k]);
        rename_body(around, loop->out[k], yields_of(loop)[k]);
    }
    if (loop->n_carried)
        body.stmts.n--;
    return body;
}

/* Does the mask of a loop's only iteration mention none of the loops that pass its sums on? */
static bool mask_is_known_before(const Rewrite *r, const Around *around, int n_up) {
    for (int u = 1; u <= n_up; u++)
        if (dim_mentions(r->plan.mask, around->loops[around->n - u]->index))
            return false;
    return true;
}

void widen_loop(Vectorize *z, const Vary *v, WidenPlan plan, LoopBody *parent,
                const Around *around) {
    LoopStmt *loop = (LoopStmt *)(uintptr_t)v->loop;
    Rewrite r = {.z = z, .v = v, .plan = plan, .n_old = z->f->vals.n};
    Dims when = facts_around(z, around);
    r.open = ARENA_ARRAY(v->arena, bool, r.n_old);
    r.splat = ARENA_ARRAY(v->arena, LVal, r.n_old);
    r.gathered = ARENA_ARRAY(v->arena, ScalarOp, loop->n_carried + 1);
    for (int k = 0; k < loop->n_carried; k++) {
        VarySum links = {0};
        r.gathered[k] = vary_reduction(v, k, &links);
    }
    bool runs = runs_always(&r, &when), unwraps = plan.single && (runs || all_masked(&r));
    if (runs || !unwraps)
        find_open_loads(&r, &loop->body, &when);
    VarySum unsafe = unsafe_links(&r);
    int n_up = 0;
    while (loop->n_carried && n_up < around->n &&
           passes_on(around->loops[around->n - 1 - n_up],
                     n_up ? around->loops[around->n - n_up] : loop))
        n_up++;
    LoopBody before = {0}, after = {0}, splats = {0}, with = {0}, none = {0};
    rewrite_body(&r, &loop->body);
    widen_sums(&r, loop, around, n_up, &before, &after);
    if (unsafe.n && unwraps && mask_is_known_before(&r, around, n_up)) {
        compute_lane_on(&r, &before, loop->lo[0], loop->span);
    } else if (unsafe.n) {
        LoopBody first = {0};
        compute_lane_on(&r, &first, NULL, loop->span);
        put_all(z, &first, &loop->body);
        loop->body = first;
    }
    for (int k = 0; k < unsafe.n; k++)
        guard_in(&r, &loop->body, unsafe.p[k].add, unsafe.p[k].sum);
    r.inside = ARENA_ARRAY(v->arena, bool, r.n_old);
    place_splats(&r, &loop->body);
    for (uint32_t id = 1; id < (uint32_t)r.n_old; id++)
        if (r.splat[id].id && !r.inside[id])
            vec_push(z->arena, &splats.stmts, splat_stmt(&r, (LVal){id}, NULL, loop->span));
    LoopBody *top_body = n_up ? around->bodies[around->n - n_up] : parent;
    LoopStmt *top = n_up ? around->loops[around->n - n_up] : loop;
    LoopBody self = {0};
    vec_push(z->arena, &self.stmts, top);
    if (n_up)
        replace(z, top_body, top, &before, &self, &after);
    else
        put_all(z, &splats, &before);
    if (unwraps) {
        LoopBody rest = after;
        with = unwrap(&r, loop, n_up ? parent : &rest);
        after = rest;
    } else {
        loop->step = z->lanes;
        vec_push(z->arena, &with.stmts, loop);
    }
    replace(z, parent, loop, &splats, &with, n_up ? &none : &after);
}
