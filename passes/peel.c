/* peel: an axis that all large contractions share becomes a loop of jobs around them.
 *
 *   %z: f64[N, K, D] = nest [n, k, i] += %q[k, i, j] * %x[n, j] over n<N k<K i<D j<D
 *   %t: f64[N, K] = nest [n, k] += %z[n, k, i] * %z[n, k, i] over n<N k<K i<D
 * becomes
 *   %t: f64[K, N] = batch{n = K, rows = 1} @by_K0(slice %q, whole %x)  with, in the body, for one k
 *   %z: f64[N, D] = nest [n, i] += %q[i, j] * %x[n, j] over n<N i<D j<D
 *   %t: f64[N] = nest [n] += %z[n, i] * %z[n, i] over n<N i<D
 *
 * so that `batch` can run the body in slices of N, and %z lives for one slice of one k only. What
 * is computed along the axis in between goes with it, in regions as those of batches; a value
 * between two regions is computed again where that takes no sum, or one sum a cell and no argument
 * is as large (z, for the derivative). Axes are chosen in peel_choose.c. What has no large
 * contraction stays outside. */
#include "passes/peel_priv.h"

typedef struct Regions {
    Peel p;
    Rewrite r;
    int *region; /* by instruction: where it is computed, or for those outside the first region that
                    may follow */
    int *stage;  /* by value: first region that may use it */
    int *made_by; /* by value: the region that makes it, or -1 */
    int *depth;   /* by value: sums of sums that making it takes, from values that are kept */
    bool *again;  /* by value: computed again in later regions */
    bool *kept;   /* by instruction: result of its region */
    bool *done;   /* by instruction, of those outside */
    int n_regions;
} Regions;

static Ctx *ctx_of(const Regions *g) { return g->p.u->ctx; }

/* ---- regions */

static void assign(Regions *g) {
    const Func *f = g->p.f;
    g->n_regions = 0;
    for (int v = 0; v < f->vals.n; v++) {
        g->stage[v] = 0;
        g->made_by[v] = -1;
    }
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        int region = 0, after = 0;
        for (int j = 0; j < i->n_args; j++) {
            int stage = g->stage[i->args[j].id], made = g->made_by[i->args[j].id];
            region = stage > region ? stage : region;
            after = stage > after ? stage : after;
            after = made + 1 > after ? made + 1 : after;
        }
        bool mine = g->p.by_row[k];
        g->region[k] = mine ? region : after;
        for (int j = 0; j < i->n_results; j++) {
            g->stage[inst_result(i, j).id] = g->region[k];
            g->made_by[inst_result(i, j).id] = mine ? region : -1;
        }
        if (mine && region + 1 > g->n_regions)
            g->n_regions = region + 1;
    }
}

static bool is_light(const Regions *g, int region) {
    for (int k = 0; k < g->p.f->insts.n; k++)
        if (g->p.by_row[k] && g->region[k] == region && g->p.large[k])
            return false;
    return true;
}

/* Regions without a large contraction are dissolved. */
static void dissolve(Regions *g) {
    for (bool again = true; again;) {
        again = false;
        assign(g);
        for (int region = 0; region < g->n_regions; region++) {
            if (!is_light(g, region))
                continue;
            for (int k = 0; k < g->p.f->insts.n; k++) {
                bool mine = g->p.by_row[k] && g->region[k] == region;
                again |= mine;
                g->p.by_row[k] &= !mine;
            }
        }
    }
}

/* ---- what is computed again */

static int times(Dim d, DimSym s);

static int degree_of_atom(const DimAtom *a, DimSym s) {
    int num = a->sym ? a->sym == s : times(a->num, s), other = a->kind == DIM_MAX ? times(a->den, s) : 0;
    return num > other ? num : other;
}

static int times(Dim d, DimSym s) {
    int most = 0;
    for (int k = 0; k < dim_n_terms(d); k++) {
        DimTerm t = dim_term(d, k);
        int n = 0;
        for (int a = 0; a < t.n_atoms; a++)
            n += degree_of_atom(t.atoms[a], s);
        most = n > most ? n : most;
    }
    return most;
}

static int degree(Type t, DimSym s) {
    int n = 0;
    for (int a = 0; a < t.rank; a++)
        n += times(t.shape[a], s);
    return n;
}

static bool at_least(const Func *f, Type big, Type t) {
    for (int k = 0; k < f->dims.n; k++)
        if (degree(t, f->dims.p[k]) > degree(big, f->dims.p[k]))
            return false;
    return true;
}

/* Is some argument or result as large as t, whatever the extents? */
static bool has_peer(const Func *f, Type t) {
    for (int k = 0; k < f->params.n; k++)
        if (at_least(f, graph_type(f, f->params.p[k].val), t))
            return true;
    for (int k = 0; k < f->results.n; k++)
        if (at_least(f, graph_type(f, f->results.p[k].val), t))
            return true;
    return false;
}

static bool is_reduction(const Nest *n) { return n->n_box > n->rank; }

static bool used_elsewhere(const Regions *g, int inst) {
    const Func *f = g->p.f;
    Val v = f->insts.p[inst]->first;
    for (int k = 0; k < f->results.n; k++)
        if (f->results.p[k].val.id == v.id)
            return true;
    for (int k = inst + 1; k < f->insts.n; k++)
        for (int j = 0; j < f->insts.p[k]->n_args; j++)
            if (f->insts.p[k]->args[j].id == v.id && !g->p.by_row[k])
                return true;
    return false;
}

static void choose_again(Regions *g) {
    const Func *f = g->p.f;
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        if (!g->p.by_row[k])
            continue;
        int depth = 0;
        for (int j = 0; j < i->n_args; j++) {
            int d = g->depth[i->args[j].id];
            depth = d > depth ? d : depth;
        }
        depth += is_reduction(i->attr);
        uint32_t v = i->first.id;
        bool worth = !depth || (depth == 1 && !has_peer(f, graph_type(f, i->first)));
        g->again[v] = worth && !used_elsewhere(g, k);
        g->depth[v] = g->again[v] ? depth : 0;
    }
}

/* ---- results of regions: used outside, or kept for a later region, also for what that computes
 * again */

static void keep(Regions *g, Val v, int user_region) {
    const Func *f = g->p.f;
    int made = g->made_by[v.id];
    const Inst *def = graph_def(f, v);
    if (made < 0 || made == user_region)
        return;
    if (g->again[v.id]) {
        for (int j = 0; j < def->n_args; j++)
            keep(g, def->args[j], user_region);
        return;
    }
    for (int k = 0; k < f->insts.n; k++)
        g->kept[k] |= f->insts.p[k] == def;
}

static void choose_kept(Regions *g) {
    const Func *f = g->p.f;
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        g->kept[k] |= g->p.by_row[k] && used_elsewhere(g, k);
        for (int j = 0; g->p.by_row[k] && j < i->n_args; j++)
            keep(g, i->args[j], g->region[k]);
    }
}

/* ---- the body of a region */

typedef struct Body1 {
    Regions *g;
    int region;
    Func *f;
    DimSym at; /* the row */
    Val *to;   /* by value of the function */
    VEC(Val) args;
    VEC(BatchArg) kinds;
} Body1;

static Dim *without(Arena *arena, const Dim *map, int rank, int axis) {
    Dim *r = ARENA_ARRAY(arena, Dim, rank + 1);
    int n = 0;
    for (int a = 0; a < rank; a++)
        if (a != axis)
            r[n++] = map[a];
    return r;
}

static Type row_type(const Regions *g, Type t, int axis) {
    return axis < 0 ? t
                    : type_new(ctx_of(g), t.dt, t.rank - 1,
                               without(g->p.u->arena, t.shape, t.rank, axis));
}

static Body row_body(const Body1 *b, const Inst *i, const Body *from, DimSym row) {
    Regions *g = b->g;
    if (!from->n)
        return *from;
    BodyInst *insts = arena_dup(g->p.u->arena, from->insts, sizeof *insts * (size_t)from->n);
    DimBinding at = {row, dim_of(ctx_of(g), b->at)};
    for (int k = 0; k < from->n; k++) {
        BodyInst *x = &insts[k];
        int axis = x->kind == BODY_READ ? g->p.axis[i->args[x->operand].id] : NO_AXIS;
        if (axis >= 0) {
            x->map = without(g->p.u->arena, x->map, x->rank, axis);
            x->rank--;
        } else if (x->kind == BODY_INDEX) {
            x->dim = dim_subst(ctx_of(g), x->dim, &at, 1);
        }
    }
    return (Body){from->n, insts};
}

static Val in_row(Body1 *b, Val v);

static void row_nest(Body1 *b, const Inst *i) {
    Regions *g = b->g;
    Arena *arena = g->p.u->arena;
    NestOp n = nestop_of(g->p.f, i);
    DimSym row = peel_index(&g->p, &n.nest);
    NestIndex *box = ARENA_ARRAY(arena, NestIndex, n.nest.n_box);
    Val *args = ARENA_ARRAY(arena, Val, n.n_args + 1);
    int n_box = 0, axis = g->p.axis[i->first.id];
    for (int k = 0; k < n.nest.n_box; k++)
        if (n.nest.box[k].sym != row)
            box[n_box++] = n.nest.box[k];
    n.nest.body = row_body(b, i, &n.nest.body, row);
    n.nest.post = row_body(b, i, &n.nest.post, row);
    n.nest.box = box;
    n.nest.n_box = n_box;
    n.nest.map = without(arena, n.nest.map, n.nest.rank, axis);
    n.nest.rank--;
    n.type = row_type(g, n.type, axis);
    for (int k = 0; k < n.n_args; k++)
        args[k] = in_row(b, n.args[k]);
    n.args = args;
    n = nestop_compact(ctx_of(g), &n);
    Rewrite r = {.u = g->p.u, .m = g->r.m, .from = g->p.f, .to = b->f};
    hoist_factors(&r, &n);
    b->to[i->first.id] = nestop_emit(g->r.m, b->f, &n);
}

/* The value in the body: made there, made there again, or a param. */
static Val in_row(Body1 *b, Val v) {
    Regions *g = b->g;
    const Func *f = g->p.f;
    if (b->to[v.id].id)
        return b->to[v.id];
    if (g->made_by[v.id] >= 0 && g->again[v.id]) {
        row_nest(b, graph_def(f, v));
        return b->to[v.id];
    }
    Param p = {.name = f->vals.p[v.id].name, .role = ROLE_LOCAL, .tensor = -1, .span = f->span};
    if (!p.name)
        p.name = str_fmt(ctx_of(g), "a%d", b->args.n);
    int axis = g->p.axis[v.id];
    vec_push(g->p.u->arena, &b->args, v);
    vec_push(g->p.u->arena, &b->kinds, axis >= 0 ? BATCH_SLICE : BATCH_WHOLE);
    return b->to[v.id] = graph_param(g->r.m, b->f, p, row_type(g, graph_type(f, v), axis));
}

/* A name for a dim that the function does not have. */
static Str fresh_dim(const Regions *g, const char *base) {
    Str name = str_of(ctx_of(g), base);
    const Func *f = g->p.f;
    bool taken = true;
    for (int n = 0; taken; n++) {
        if (n)
            name = str_fmt(ctx_of(g), "%s_%d", base, n);
        taken = false;
        for (int k = 0; k < f->dims.n; k++)
            taken |= f->dims.p[k]->name == name;
        for (int k = 0; k < f->insts.n; k++) {
            const Nest *nest = f->insts.p[k]->op == &op_nest ? f->insts.p[k]->attr : NULL;
            for (int j = 0; nest && j < nest->n_box; j++)
                taken |= nest->box[j].sym->name == name;
        }
    }
    return name;
}

static Func *body_new_func(Body1 *b) {
    Regions *g = b->g;
    const Func *f = g->p.f;
    Func *to = graph_func_new(
        g->r.m, str_fmt(ctx_of(g), "%s.by_%s%d", f->name, g->p.sym->name, b->region), f->span);
    to->real = f->real;
    to->block = f->block;
    for (int k = 0; k < f->dims.n; k++)
        vec_push(g->p.u->arena, &to->dims, f->dims.p[k]);
    b->at = dim_symbol_new(ctx_of(g), fresh_dim(g, "peel0"), 0, false);
    vec_push(g->p.u->arena, &to->dims, b->at);
    vec_push(g->p.u->arena, &to->dims, dim_symbol_new(ctx_of(g), fresh_dim(g, "peels"), 1, false));
    return to;
}

static void need(Regions *g, Val v);

static void emit_region(Regions *g, int region) {
    const Func *f = g->p.f;
    Arena *arena = g->p.u->arena;
    Body1 b = {.g = g, .region = region, .to = ARENA_ARRAY(arena, Val, f->vals.n + 1)};
    VEC(Val) results = {0};
    VEC(BatchRes) kinds = {0};
    b.f = body_new_func(&b);
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        if (!g->p.by_row[k] || g->region[k] != region)
            continue;
        row_nest(&b, i);
        if (!g->kept[k])
            continue;
        Result r = {.val = b.to[i->first.id],
                    .name = f->vals.p[i->first.id].name,
                    .role = RES_LOCAL,
                    .of = -1};
        if (!r.name)
            r.name = str_fmt(ctx_of(g), "r%d", results.n);
        graph_result(g->r.m, b.f, r);
        vec_push(arena, &results, i->first);
        vec_push(arena, &kinds, BATCH_SLICES);
    }
    BatchAttr *attr = ARENA_NEW(arena, BatchAttr);
    *attr = (BatchAttr){.body = b.f->id,
                        .n = g->p.n,
                        .rows = 1,
                        .groups = g->p.u->groups,
                        .n_args = b.args.n,
                        .n_results = results.n,
                        .args = b.kinds.p,
                        .results = kinds.p};
    Val *args = ARENA_ARRAY(arena, Val, b.args.n + 1);
    for (int k = 0; k < b.args.n; k++) {
        need(g, b.args.p[k]);
        args[k] = rewrite_val(&g->r, b.args.p[k]);
    }
    const Inst *batch =
        graph_inst(g->r.m, g->r.to, &op_batch, args, b.args.n, attr, f->span, b.f->name);
    for (int k = 0; k < results.n; k++)
        g->r.map.to[results.p[k].id] = inst_result(batch, k);
    merge_equal(g->p.u, b.f);
}

/* ---- what stays outside */

static Dim *to_front(Arena *arena, const Dim *map, int rank, int axis) {
    Dim *r = ARENA_ARRAY(arena, Dim, rank + 1);
    r[0] = map[axis];
    for (int a = 0, n = 1; a < rank; a++)
        if (a != axis)
            r[n++] = map[a];
    return r;
}

static Body turned_body(Regions *g, const Inst *i, const Body *from) {
    if (!from->n)
        return *from;
    BodyInst *insts = arena_dup(g->p.u->arena, from->insts, sizeof *insts * (size_t)from->n);
    for (int k = 0; k < from->n; k++) {
        BodyInst *x = &insts[k];
        if (x->kind == BODY_READ && g->p.front[i->args[x->operand].id])
            x->map = to_front(g->p.u->arena, x->map, x->rank, g->p.axis[i->args[x->operand].id]);
    }
    return (Body){from->n, insts};
}

static void copy_outside(Regions *g, int inst) {
    const Inst *i = g->p.f->insts.p[inst];
    if (i->op != &op_nest) {
        rewrite_copy(&g->r, i);
        return;
    }
    NestOp n = rewrite_nestop(&g->r, i);
    n.nest.body = turned_body(g, i, &n.nest.body);
    n.nest.post = turned_body(g, i, &n.nest.post);
    if (g->p.front[i->first.id]) {
        int axis = g->p.axis[i->first.id];
        n.nest.map = to_front(g->p.u->arena, n.nest.map, n.nest.rank, axis);
        n.type = type_new(ctx_of(g), n.type.dt, n.type.rank,
                          to_front(g->p.u->arena, n.type.shape, n.type.rank, axis));
    }
    g->r.map.to[i->first.id] = nestop_emit(g->r.m, g->r.to, &n);
}

/* Everything outside is computed as late as may be, so that little is alive during the regions. */
static void need_inst(Regions *g, int inst) {
    const Inst *i = g->p.f->insts.p[inst];
    if (g->p.by_row[inst] || g->done[inst])
        return;
    g->done[inst] = true;
    for (int j = 0; j < i->n_args; j++)
        need(g, i->args[j]);
    copy_outside(g, inst);
}

static void need(Regions *g, Val v) {
    int inst = g->p.f->vals.p[v.id].inst;
    if (inst >= 0)
        need_inst(g, inst);
}

static bool is_cheap(const Nest *n) {
    for (int k = 0; k < n->body.n; k++)
        if (n->body.insts[k].kind == BODY_OP &&
            !(scalar_def(n->body.insts[k].op)->flags & SF_NATIVE))
            return false;
    return n->op == NEST_STORE && n->init < 0 && !n->post.n;
}

/* What takes a few operations on arguments is computed again after a region, not kept over it. */
static void forget_cheap(Regions *g) {
    const Func *f = g->p.f;
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        bool cheap = i->op == &op_nest && is_cheap(i->attr);
        for (int j = 0; j < i->n_args; j++)
            cheap = cheap && !graph_def(f, i->args[j]);
        if (cheap && !g->p.by_row[k])
            g->done[k] = false;
    }
}

static void peel_func(Unit *u, Func *f) {
    Regions g = {.n_regions = 0};
    const AbiBlock *block = f->block >= 0 ? u->graph->blocks.p[f->block] : NULL;
    bool init = f->entry && f->entry->kind == ENTRY_INIT;
    if (init || (block && block->using_.present) || !peel_choose(u, f, &g.p))
        return;
    int n_vals = f->vals.n + 1, n_insts = f->insts.n + 1;
    g.region = ARENA_ARRAY(u->arena, int, n_insts);
    g.kept = ARENA_ARRAY(u->arena, bool, n_insts);
    g.stage = ARENA_ARRAY(u->arena, int, n_vals);
    g.made_by = ARENA_ARRAY(u->arena, int, n_vals);
    g.depth = ARENA_ARRAY(u->arena, int, n_vals);
    g.again = ARENA_ARRAY(u->arena, bool, n_vals);
    dissolve(&g);
    choose_again(&g);
    choose_kept(&g);
    g.r = rewrite_begin(u, f);
    g.done = ARENA_ARRAY(u->arena, bool, n_insts);
    for (int region = 0; region <= g.n_regions; region++) {
        for (int k = 0; k < f->insts.n; k++)
            if ((f->insts.p[k]->op->flags & OPF_EFFECT) && g.region[k] <= region)
                need_inst(&g, k);
        if (region == g.n_regions || is_light(&g, region))
            continue;
        emit_region(&g, region);
        forget_cheap(&g);
    }
    for (int k = 0; k < f->results.n; k++)
        need(&g, f->results.p[k].val);
    rewrite_end(&g.r);
}

void pass_peel(Unit *u) {
    int n = u->graph->funcs.n; /* bodies that are made here are not peeled again */
    for (int k = 0; k < n; k++)
        if (u->graph->funcs.p[k])
            peel_func(u, u->graph->funcs.p[k]);
}
