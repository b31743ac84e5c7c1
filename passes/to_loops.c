/* to_loops: graph IR -> loop IR. Every value gets a buffer, every op its loops.
 *
 *   %y: f32[N, 4] = nest += %x[n, k] * %w[k, j] over n<N j<4 k<8
 * becomes
 *   for n in 0..N { for j in 0..4 { %a = for k in 0..8 carry 0 { fma(x[n, k], w[k, j], acc) }  y[n, j] = %a } }
 *
 * Results are computed in the caller's memory where that is safe; an updated parameter is computed in place if
 * nothing reads the old one afterwards, else copied at the end, so that a call that fails leaves it untouched.
 * It does not tile, vectorise or share memory: those are passes on the loop IR. */
#include "passes/to_loops.h"

#include "ir/signature.h"
#include "passes/bands.h"
#include "passes/joint.h"

/* ---- loops over cells */

static void cells_from(LowerBuilder *lb, int level, int rank, const Dim *shape, Dim *subs, CellFn cell, void *arg) {
    if (level == rank) {
        cell(lb, subs, arg);
        return;
    }
    Ctx *ctx = lb->c.m->ctx;
    LoopBody *outer = lb->c.at;
    DimSym i = nest_index(ctx, str_fmt(ctx, "i%d", level));
    Dim zero = dim_const(ctx, 0);
    LoopStmt *s = loop_for(&lb->c, i, &zero, 1, &shape[level], 1, 1, NULL, 0);
    subs[level] = dim_of(ctx, i);
    cells_from(lb, level + 1, rank, shape, subs, cell, arg);
    loop_end(&lb->c, s, outer, NULL);
}

void lower_cells(LowerBuilder *lb, int rank, const Dim *shape, CellFn cell, void *arg) {
    Dim subs[MAX_RANK + 1];
    cells_from(lb, 0, rank, shape, subs, cell, arg);
}

typedef struct CopyCell {
    BufId to, from;
    ScalarValue k;
} CopyCell;

static void copy_cell(LowerBuilder *lb, const Dim *subs, void *arg) {
    const CopyCell *p = arg;
    DType to = loop_bufp(lb->c.f, p->to)->dt;
    LVal v = loop_load(&lb->c, p->from, subs);
    if (loop_bufp(lb->c.f, p->from)->dt != to)
        v = loop_let(&lb->c, SC_cast, &v, 1, to);
    loop_store(&lb->c, p->to, subs, v);
}

static void fill_cell(LowerBuilder *lb, const Dim *subs, void *arg) {
    const CopyCell *p = arg;
    LType t = {loop_bufp(lb->c.f, p->to)->dt, 1};
    loop_store(&lb->c, p->to, subs, loop_const(&lb->c, t, p->k));
}

void lower_copy(LowerBuilder *lb, BufId to, BufId from) {
    CopyCell p = {.to = to, .from = from};
    const LoopBuf *b = loop_bufp(lb->c.f, to);
    lower_cells(lb, b->rank, b->shape, copy_cell, &p);
}

void lower_fill(LowerBuilder *lb, BufId to, ScalarValue k) {
    CopyCell p = {.to = to, .k = k};
    const LoopBuf *b = loop_bufp(lb->c.f, to);
    lower_cells(lb, b->rank, b->shape, fill_cell, &p);
}

/* ---- instructions */

static BufId alias_of(LowerBuilder *lb, const Inst *i) {
    LoopBuf b = *loop_bufp(lb->c.f, lb->buf_of[i->args[0].id]);
    Type t = lower_type(lb, graph_type(lb->func, i->first));
    b.kind = BUF_ALIAS;
    b.alias = lb->buf_of[i->args[0].id];
    b.offset = NULL;
    b.name = i->name ? i->name : b.name;
    b.rank = t.rank;
    b.shape = t.shape;
    return loop_buf(lb->c.m, lb->c.f, b);
}

/* `nest [] = 2.0` is read-only data, unless it is computed into memory of its own. */
static bool lower_scalar_const(LowerBuilder *lb, const Inst *i, const Nest *n) {
    const BodyInst *k = n->body.insts;
    bool is_const = n->op == NEST_STORE && !n->rank && !n->n_box && !n->n_guards && n->body.n == 1 && k->kind == BODY_CONST;
    if (!is_const || n->post.n || n->init >= 0 || lb->buf_of[i->first.id].id || lb->same_as[i->first.id].id)
        return false;
    LoopBuf b = {.name = i->name, .kind = BUF_CONST, .dt = k->dt, .arg = -1, .data = &k->k, .span = i->span};
    lb->buf_of[i->first.id] = loop_buf(lb->c.m, lb->c.f, b);
    return true;
}

static void lower_nest_inst(LowerBuilder *lb, const Inst *i) {
    ToLoops *t = lb->pass;
    Ctx *ctx = lb->c.m->ctx;
    NestOp n = nestop_of(lb->func, i);
    if (lower_scalar_const(lb, i, &n.nest))
        return;
    if (lb->n_bindings) {
        n.nest = *(const Nest *)op_nest.subst(ctx, i->attr, lb->bindings, lb->n_bindings);
        n.type = lower_type(lb, n.type);
    }
    BufId *operands = ARENA_ARRAY(&ctx->perm, BufId, i->n_args + 1);
    for (int k = 0; k < i->n_args; k++)
        operands[k] = lb->buf_of[i->args[k].id];
    BufId init = n.nest.init < 0 ? (BufId){0} : operands[n.nest.init];
    Dim group = t->group_of ? t->group_of[i->first.id] : NULL;
    BufId out = lower_result(lb, i, 0);
    lower_nest(lb, &n, operands, out, init, group);
}

static void lower_inst(LowerBuilder *lb, const Inst *i) {
    Ctx *ctx = lb->c.m->ctx;
    lb->c.span = i->span;
    if (i->op == &op_nest)
        lower_nest_inst(lb, i);
    else if (i->op == &op_batch)
        lower_batch(lb, i);
    else if (i->op == &op_fit)
        lower_fit(lb, i);
    else if (i->op->flags & OPF_VIEW)
        lb->buf_of[i->first.id] = lb->buf_of[i->first.id].id ? lb->buf_of[i->first.id] : alias_of(lb, i);
    else if (i->op->lower)
        i->op->lower(lb, i);
    else
        ctx_internal(ctx, "no loops for op %s", i->op->name);
}

void lower_insts(LowerBuilder *lb, const Func *func) {
    for (int k = 0; k < func->insts.n; k++)
        lower_inst(lb, func->insts.p[k]);
}

/* ---- whose memory a value takes */

static bool at_own_cell(const NestOp *n, const Body *b, Val v) {
    for (int k = 0; k < b->n; k++) {
        if (b->insts[k].kind != BODY_READ || n->args[b->insts[k].operand].id != v.id)
            continue;
        for (int a = 0; a < b->insts[k].rank; a++)
            if (b->insts[k].map[a] != n->nest.map[a])
                return false;
    }
    return true;
}

/* Does the nest read operand v at its own cell only? */
static bool reads_own_cell(const NestOp *n, Val v) { return at_own_cell(n, &n->nest.body, v) && at_own_cell(n, &n->nest.post, v); }

/* An init has no work memory: what it draws or computes first stands where an elementwise nest, its only user, puts
 * its result. */
static void coalesce_init(Arena *arena, const Func *f, const int *uses, Val *same) {
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        NestOp n = {.n_args = 0};
        if (i->op == &op_nest)
            n = nestop_of(f, i);
        if (i->op != &op_nest || n.nest.init >= 0 || !nest_elementwise(arena->ctx, &n))
            continue;
        for (int a = 0; a < i->n_args; a++) {
            Val v = i->args[a];
            const Inst *def = graph_def(f, v);
            if (!def || (def->op->flags & OPF_VIEW) || def->op == &op_const || uses[v.id] != 1 || same[v.id].id)
                continue;
            if (type_equal(graph_type(f, v), n.type) && reads_own_cell(&n, v)) {
                same[v.id] = i->first;
                break;
            }
        }
    }
}

/* Does the body read the initial value too? Then cells that are finished already would be read. */
static bool reads_init(const Nest *n) {
    const Body *bodies[2] = {&n->body, &n->post};
    for (int j = 0; j < 2; j++)
        for (int k = 0; k < bodies[j]->n; k++)
            if (bodies[j]->insts[k].kind == BODY_READ && bodies[j]->insts[k].operand == n->init)
                return true;
    return false;
}

/* Is instruction `at` the last that needs v? Views keep what they show. */
static bool is_last_use(const Func *f, int at, Val v) {
    for (int k = 0; k < f->results.n; k++)
        if (f->results.p[k].val.id == v.id)
            return false;
    for (int k = 0; k < f->insts.n; k++)
        for (int a = 0; a < f->insts.p[k]->n_args; a++)
            if (f->insts.p[k]->args[a].id == v.id && (k > at || (f->insts.p[k]->op->flags & OPF_VIEW)))
                return false;
    return true;
}

/* In the body of a batch, whose memory should stay in the cache: a nest that reads at its own cell a value that nothing
 * needs afterwards puts its result there. */
static void coalesce_last(Arena *arena, const Func *f, const BufId *bound, Val *same) {
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        if (i->op != &op_nest || bound[i->first.id].id)
            continue;
        NestOp n = nestop_of(f, i);
        bool done = n.nest.init >= 0 || n.nest.op == NEST_ARGMAX || !nest_covers(arena->ctx, &n);
        for (int a = 0; a < i->n_args && !done; a++) {
            Val v = i->args[a];
            const Inst *def = graph_def(f, v);
            if (!def || def->op != &op_nest || bound[v.id].id || same[v.id].id || !is_last_use(f, k, v))
                continue;
            if (type_equal(graph_type(f, v), n.type) && reads_own_cell(&n, v)) {
                same[v.id] = i->first;
                done = true;
            }
        }
    }
}

/* `%b = nest ... from %a`, %a used nowhere else: one buffer, the cells start from what is there. */
const Val *lower_coalesce(Arena *arena, const Func *f, const BufId *bound) {
    Val *same = ARENA_ARRAY(arena, Val, f->vals.n);
    int *uses = graph_uses(arena, f);
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        if (i->op != &op_nest || ((const Nest *)i->attr)->init < 0 || reads_init(i->attr))
            continue;
        Val from = i->args[((const Nest *)i->attr)->init];
        const Inst *def = graph_def(f, from);
        bool alike = type_equal(graph_type(f, from), graph_type(f, i->first)); /* a post body may have widened it */
        if (def && def->op == &op_nest && uses[from.id] == 1 && !bound[from.id].id && alike)
            same[from.id] = i->first;
    }
    if (f->entry && f->entry->kind == ENTRY_INIT)
        coalesce_init(arena, f, uses, same);
    if (!f->entry)
        coalesce_last(arena, f, bound, same);
    return same;
}

/* ---- functions */

typedef struct FuncEmit {
    LowerBuilder lb;
    ToLoops t;
    const Func *f;
    AbiMap map;
    BufId *copy_to; /* by result: copied there at the end; id 0: computed there */
} FuncEmit;

static BufId arg_buf(FuncEmit *e, AbiSlot s, Type type, Str name, Span span, bool written) {
    LoopBuf b = {.name = name, .kind = BUF_ARG, .dt = s.storage, .rank = type.rank, .shape = type.shape, .arg = s.arg};
    b.offset = s.offset;
    b.written = written;
    b.span = span;
    return loop_buf(e->t.lm, e->t.lf, b);
}

static void bind_params(FuncEmit *e) {
    for (int k = 0; k < e->f->params.n; k++) {
        Param *p = &e->f->params.p[k];
        Type type = graph_type(e->f, p->val);
        bool updated = false;
        for (int r = 0; r < e->f->results.n; r++)
            updated |= e->f->results.p[r].of == k && e->f->results.p[r].role != RES_GRAD && e->f->entry->kind != ENTRY_INIT;
        BufId b = arg_buf(e, e->map.params[k], type, p->name, p->span, updated);
        if (e->map.params[k].storage != type.dt) {
            BufId local = lower_new_buf(&e->lb, type, p->name, p->span);
            lower_copy(&e->lb, local, b);
            b = local;
        }
        e->lb.buf_of[p->val.id] = b;
    }
}

/* Is the update of param `of` by result v safe in the parameter's own memory? Its nest reads the old value at
 * its own cell only, and nothing reads it or can fail afterwards. */
static bool in_place(FuncEmit *e, Val v, Val old) {
    Ctx *ctx = e->t.lm->ctx;
    const Inst *def = graph_def(e->f, v);
    if (!def || def->op != &op_nest)
        return false;
    NestOp n = nestop_of(e->f, def);
    if (!nest_elementwise(ctx, &n))
        return false;
    if (!reads_own_cell(&n, old))
        return false;
    bool after = false;
    for (int k = 0; k < e->f->insts.n; k++) {
        const Inst *i = e->f->insts.p[k];
        for (int a = 0; after && a < i->n_args; a++)
            if (i->args[a].id == old.id)
                return false;
        if (after && (i->op->flags & OPF_EFFECT))
            return false;
        after |= i == def;
    }
    for (int r = 0; r < e->f->results.n; r++)
        if (e->f->results.p[r].val.id == old.id)
            return false;
    return true;
}

static bool is_update(ResRole r) { return r == RES_NEW_PARAM || r == RES_NEW_STATE || r == RES_NEW_OPT; }

/* Results that can be computed where they belong are bound to that memory, the others are copied at the end. */
static void bind_results(FuncEmit *e) {
    Ctx *ctx = e->t.lm->ctx;
    e->copy_to = ARENA_ARRAY(&ctx->perm, BufId, e->f->results.n + 1);
    for (int r = 0; r < e->f->results.n; r++) {
        const Result *res = &e->f->results.p[r];
        AbiSlot s = e->map.results[r];
        Type type = graph_type(e->f, res->val);
        if (res->role == RES_COV || res->role == RES_INFO || res->role == RES_CODE)
            continue;
        const Inst *def = graph_def(e->f, res->val);
        bool direct = def && !(def->op->flags & OPF_VIEW) && s.storage == type.dt && !e->lb.buf_of[res->val.id].id;
        BufId to;
        if (is_update(res->role) && e->f->entry->kind != ENTRY_INIT) {
            Val old = e->f->params.p[res->of].val;
            to = e->lb.buf_of[old.id];
            if (res->val.id == old.id)
                continue;
            direct = direct && in_place(e, res->val, old);
        } else {
            to = arg_buf(e, s, type, res->name, e->f->span, true);
        }
        if (direct)
            e->lb.buf_of[res->val.id] = to;
        else
            e->copy_to[r] = to;
    }
}

/* What the caller may not want goes through the runtime, which knows NULL. */
static void fit_results(FuncEmit *e) {
    Ctx *ctx = e->t.lm->ctx;
    LoopCursor *c = &e->lb.c;
    BufId info[3] = {{0}};
    int n_info = 1;
    LVal code = {0};
    Dim zeros[MAX_RANK];
    for (int k = 0; k < MAX_RANK; k++)
        zeros[k] = dim_const(ctx, 0);
    const Dim *subs[3] = {zeros, zeros, zeros};
    for (int r = 0; r < e->f->results.n; r++) {
        const Result *res = &e->f->results.p[r];
        Type type = graph_type(e->f, res->val);
        BufId from = e->lb.buf_of[res->val.id];
        if (res->role == RES_COV) {
            BufId bufs[2] = {arg_buf(e, e->map.results[r], type, res->name, e->f->span, true), from};
            Dim bytes = dim_scale(ctx, type_count(ctx, type), (int64_t)dtype_size(type.dt));
            if (!bytes)
                ctx_internal(ctx, "the size of a covariance overflows");
            LVal n = loop_index(c, bytes, 1, 0);
            loop_call(c, str_of(ctx, "give"), bufs, subs, 2, &n, 1, (LType){DT_NONE, 0});
        } else if (res->role == RES_INFO && n_info < 3) {
            Dim words = dim_const(ctx, 10);
            if (!info[0].id)
                info[0] = arg_buf(e, e->map.results[r], type_new(ctx, DT_I64, 1, &words),
                                  str_of(ctx, "info"), e->f->span, true);
            info[n_info++] = from;
        } else if (res->role == RES_CODE) {
            code = loop_load(c, from, NULL);
        }
    }
    if (n_info == 3)
        loop_call(c, str_of(ctx, "fit_info"), info, subs, 3, NULL, 0, (LType){DT_NONE, 0});
    if (code.id)
        loop_return(c, code);
}

static void copy_results(FuncEmit *e) {
    for (int r = 0; r < e->f->results.n; r++)
        if (e->copy_to[r].id)
            lower_copy(&e->lb, e->copy_to[r], e->lb.buf_of[e->f->results.p[r].val.id]);
    if (e->f->entry->kind == ENTRY_FIT)
        fit_results(e);
}

static void entry_statuses(FuncEmit *e) {
    LoopFunc *lf = e->t.lf;
    Ctx *ctx = e->t.lm->ctx;
    Span at = e->f->entry->span.file ? e->f->entry->span : e->f->span;
    Str name = e->f->entry->cname;
    lf->status_null = lower_status(&e->lb, at, str_fmt(ctx, "%s: an argument is NULL", name));
    lf->status_dim = lower_status(&e->lb, at, str_fmt(ctx, "%s: a dimension is below 1", name));
    lf->status_overflow = lower_status(&e->lb, at, str_fmt(ctx, "%s: the dimensions are too large", name));
    lf->status_stop = lower_status(&e->lb, at, str_fmt(ctx, "%s: stopped", name));
    for (int k = 0; k < e->f->checks.n; k++) {
        const EntryCheck *c = &e->f->checks.p[k];
        vec_push(&ctx->perm, &lf->checks, (LoopCheck){c->cond, lower_status(&e->lb, c->span, c->message)});
    }
}

static void lower_func(Unit *u, Func *f) {
    Ctx *ctx = u->ctx;
    FuncEmit e = {.f = f};
    LoopFunc *lf = loop_func_new(u->loops, f->name, f->span);
    lf->entry = f->entry;
    lf->real = f->real;
    lf->groups = u->groups;
    e.map = abi_signature(u->graph, f);
    for (int k = 0; k < f->entry->args.n; k++) /* an init takes only the dims that it needs */
        if (f->entry->args.p[k].kind == ARG_DIM)
            vec_push(u->arena, &lf->dims, f->entry->args.p[k].dim);
    BufId *buf_of = ARENA_ARRAY(&ctx->perm, BufId, f->vals.n + 1);
    e.t = (ToLoops){.u = u, .lf = lf, .lm = u->loops};
    e.lb = (LowerBuilder){.c = {.m = u->loops, .f = lf, .at = &lf->body, .span = f->span}, .graph = u->graph, .func = f};
    e.lb.target = u->target;
    e.lb.buf_of = buf_of;
    e.lb.pass = &e.t;
    entry_statuses(&e);
    bind_params(&e);
    bind_results(&e);
    e.lb.same_as = lower_coalesce(&ctx->perm, f, buf_of);
    lower_insts(&e.lb, f);
    copy_results(&e);
    band_loops(ctx, u->arena, u->loops, lf, u->target);
    joint_loops(ctx, u->arena, u->loops, lf, u->target);
}

void pass_to_loops(Unit *u) {
    u->loops = loop_module_new(u->ctx, u->arena, u->graph->source);
    u->loops->target = u->target;
    for (int k = 0; k < u->graph->blocks.n; k++)
        vec_push(u->arena, &u->loops->blocks, u->graph->blocks.p[k]);
    for (int k = 0; k < u->graph->funcs.n; k++)
        if (u->graph->funcs.p[k] && u->graph->funcs.p[k]->entry && !(u->skip_entries >> u->graph->funcs.p[k]->entry->kind & 1))
            lower_func(u, u->graph->funcs.p[k]);
}
