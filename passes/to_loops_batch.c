/* to_loops: batches. A batch is one parallel loop over its groups; a group runs its consecutive
 * slices in order with one set of slice buffers, adding what is summed to its own partial result,
 * which its first slice starts from 0; then, group after group, the partial results are added to the
 * whole one, so that a thread that runs groups in turn adds what its cache holds. Where there are
 * fewer slices than groups, the last groups have none. Nothing depends on how many threads run the
 * jobs. */
#include "passes/to_loops.h"

/* What stands in for one slice of a stack while the body is lowered. */
typedef struct StackPart {
    BufId slice, stack;
} StackPart;

typedef struct BatchEmit {
    LowerBuilder *lb;
    ToLoops *t;
    const Inst *inst;
    const BatchAttr *attr;
    const Func *body;
    BufId *partial; /* by result: [groups, shape...] where summed */
    BufId *outer;   /* by result */
    VEC(StackPart) parts;
    DimSym group, slice;
    Dim part; /* the first subscript in a stack of what the body computes: slice, or row */
    DimSym onto; /* LoopStmt.onto of the groups' loop, or NULL */
    Dim row0, left; /* first row of the slice; rows from there to the end (may exceed the slice) */
    Dim first;      /* number of the slice within its group */
    Dim end;        /* of the group's slices */
    int fold;       /* the result whose rows are folded (to_loops_fold.c), or -1 */
    BufId block;    /* of these */
} BatchEmit;

static Ctx *ctx_of(const BatchEmit *e) { return e->lb->c.m->ctx; }

/* A loop over sym in 0 .. extent (capped by cap unless NULL). */
static LoopStmt *open_loop(LowerBuilder *lb, DimSym sym, Dim lo, Dim extent, Dim cap) {
    Dim hi[2] = {extent, cap};
    return loop_for(&lb->c, sym, &lo, 1, hi, cap ? 2 : 1, 1, NULL, 0);
}

typedef struct PackCell {
    const BatchEmit *e;
    BufId from, to;
    int rank;
    bool out; /* a CAT result: from [..., rows] to [n, ...] */
} PackCell;

/* All cells of [rest..., row]: moves a row's element between the slice's layout and the whole. */
static void pack_cell(LowerBuilder *lb, const Dim *rest, void *arg) {
    const PackCell *p = arg;
    const BatchEmit *e = p->e;
    Ctx *ctx = ctx_of(e);
    LoopCursor *c = &lb->c;
    DimSym row = nest_index(ctx, "row");
    Dim whole[MAX_RANK + 1], slice[MAX_RANK + 1], rows = dim_const(ctx, e->attr->rows),
                                                  zero = dim_const(ctx, 0);
    for (int k = 0; k < p->rank - 1; k++)
        whole[k + 1] = slice[k] = rest[k];
    whole[0] = dim_add(ctx, e->row0, dim_of(ctx, row));
    slice[p->rank - 1] = dim_of(ctx, row);
    LoopBody *outer = c->at;
    LoopStmt *s = open_loop(lb, row, zero, rows, e->left);
    loop_store(c, p->to, p->out ? whole : slice, loop_load(c, p->from, p->out ? slice : whole));
    loop_end(c, s, outer, NULL);
    if (p->out)
        return;
    DimSym past = nest_index(ctx, "past");
    slice[p->rank - 1] = dim_of(ctx, past);
    Dim from[2] = {e->left, zero};
    s = loop_for(c, past, from, 2, &rows, 1, 1, NULL, 0);
    const LoopBuf *b = loop_bufp(c->f, p->to);
    loop_store(c, p->to, slice, loop_const(c, (LType){b->dt, 1}, (ScalarValue){0}));
    loop_end(c, s, outer, NULL);
}

static void pack(BatchEmit *e, BufId from, BufId to, bool out) {
    const LoopBuf *slice = loop_bufp(e->lb->c.f, out ? from : to);
    PackCell p = {.e = e, .from = from, .to = to, .rank = slice->rank, .out = out};
    lower_cells(e->lb, slice->rank - 1, slice->shape, pack_cell, &p);
}

typedef struct RowCopy {
    BufId from, to;
    Dim from_row, to_row;
    Dim ahead; /* elements from a row to that of the next slice */
} RowCopy;

static void copy_row_cell(LowerBuilder *lb, const Dim *rest, void *arg) {
    const RowCopy *r = arg;
    const LoopBuf *b = loop_bufp(lb->c.f, r->to);
    Dim at[MAX_RANK];
    for (int k = 1; k < b->rank; k++)
        at[k] = rest[k - 1];
    at[0] = r->from_row;
    LVal v;
    if (r->from.id) {
        LoopStmt *load = loop_load_lanes(&lb->c, r->from, at, 1, NULL);
        load->ahead = r->ahead;
        v = load->result;
    } else {
        v = loop_const(&lb->c, (LType){b->dt, 1}, (ScalarValue){0});
    }
    at[0] = r->to_row;
    loop_store(&lb->c, r->to, at, v);
}

/* Row from_row of a whole into row to_row of a slice with the rows first; from id 0: zeros. */
static void copy_row(LowerBuilder *lb, BufId from, Dim from_row, BufId to, Dim to_row) {
    const LoopBuf *b = loop_bufp(lb->c.f, to);
    Ctx *ctx = lb->c.m->ctx;
    Dim slice = dim_const(ctx, 1); /* while one slice is computed, memory has time for the next */
    for (int k = 0; slice && from.id && k < b->rank; k++)
        slice = dim_mul(ctx, slice, b->shape[k]);
    RowCopy r = {from, to, from_row, to_row, slice};
    lower_cells(lb, b->rank - 1, b->shape + 1, copy_row_cell, &r);
}

/* Rows row0.. of the whole as they are, and 0 past the end. */
static void copy_rows(BatchEmit *e, BufId from, BufId to) {
    Ctx *ctx = ctx_of(e);
    LoopCursor *c = &e->lb->c;
    DimSym row = nest_index(ctx, "row"), past = nest_index(ctx, "past");
    Dim rows = dim_const(ctx, e->attr->rows), zero = dim_const(ctx, 0), lo[2] = {e->left, zero};
    LoopBody *outer = c->at;
    LoopStmt *s = open_loop(e->lb, row, zero, rows, e->left);
    copy_row(e->lb, from, dim_add(ctx, e->row0, dim_of(ctx, row)), to, dim_of(ctx, row));
    loop_end(c, s, outer, NULL);
    s = loop_for(c, past, lo, 2, &rows, 1, 1, NULL, 0);
    copy_row(e->lb, (BufId){0}, NULL, to, dim_of(ctx, past));
    loop_end(c, s, outer, NULL);
}

/* ---- sums */

typedef struct SumCell {
    BufId from, to;
    Dim group; /* of the partial that `to` is */
    Dim first; /* 0 where `to` starts; NULL: it starts here */
    int rank;
} SumCell;

static void with_group(Ctx *ctx, Dim group, const Dim *subs, int rank, Dim *out) {
    (void)ctx;
    out[0] = group;
    for (int k = 0; k < rank; k++)
        out[k + 1] = subs[k];
}

static void zero_cell(LowerBuilder *lb, const Dim *subs, void *arg) {
    const SumCell *s = arg;
    Dim at[MAX_RANK + 1];
    with_group(lb->c.m->ctx, s->group, subs, s->rank, at);
    LType t = {loop_bufp(lb->c.f, s->to)->dt, 1};
    loop_store(&lb->c, s->to, at, loop_const(&lb->c, t, (ScalarValue){0}));
}

/* A slice's sum to the partial one. */
static void add_cell(LowerBuilder *lb, const Dim *subs, void *arg) {
    const SumCell *s = arg;
    Dim at[MAX_RANK + 1];
    with_group(lb->c.m->ctx, s->group, subs, s->rank, at);
    loop_store(&lb->c, s->to, at, lower_added(lb, s->to, at, s->first, loop_load(&lb->c, s->from, subs)));
}

/* A partial sum to the whole one. */
static void total_cell(LowerBuilder *lb, const Dim *subs, void *arg) {
    const SumCell *s = arg;
    Dim at[MAX_RANK + 1];
    with_group(lb->c.m->ctx, s->group, subs, s->rank, at);
    LVal v = loop_load(&lb->c, s->from, at);
    if (s->first)
        v = loop_let(&lb->c, SC_add, (LVal[]){loop_load(&lb->c, s->to, subs), v}, 2, DT_NONE);
    loop_store(&lb->c, s->to, subs, v);
}

/* Is the value a plain sum whose loops can add it to the partial result? (no temporary) */
static bool adds_to_partial(Ctx *ctx, const Func *f, Val v, const int *uses) {
    const Inst *i = graph_def(f, v);
    if (!i || i->op != &op_nest || uses[v.id] != 1)
        return false;
    NestOp n = nestop_of(f, i);
    return n.nest.op == NEST_SUM && n.nest.init < 0 && !n.nest.post.n && nest_covers(ctx, &n);
}

/* ---- stacks: a slice of one is no buffer of its own, nor is a row that is computed alone. The body
 * is lowered as if it were; then its accesses get the number of the slice as their first subscript.
 */

static BufId part_of_stack(BatchEmit *e, LowerBuilder *inner, Type slice, BufId stack, Str name) {
    Type t = lower_type(inner, slice);
    LoopBuf b = *loop_bufp(e->lb->c.f, stack);
    b.kind = BUF_ALIAS;
    b.alias = stack;
    b.offset = NULL;
    b.name = name;
    b.rank = t.rank;
    b.shape = t.shape;
    StackPart p = {loop_buf(e->lb->c.m, e->lb->c.f, b), stack};
    vec_push(&ctx_of(e)->perm, &e->parts, p);
    return p.slice;
}

/* The stack under the shape of buf, if that is a part or a view of one. */
static BufId stack_behind(BatchEmit *e, BufId buf) {
    Ctx *ctx = ctx_of(e);
    LoopFunc *f = e->lb->c.f;
    const LoopBuf *b = loop_bufp(f, buf);
    for (int k = 0; k < e->parts.n; k++)
        if (e->parts.p[k].slice.id == buf.id)
            return e->parts.p[k].stack;
    BufId stack = b->kind == BUF_ALIAS ? stack_behind(e, b->alias) : (BufId){0};
    if (!stack.id)
        return stack;
    LoopBuf view = *b;
    Dim *shape = ARENA_ARRAY(&ctx->perm, Dim, b->rank + 1);
    with_group(ctx, loop_bufp(f, stack)->shape[0], b->shape, b->rank, shape);
    view.alias = stack;
    view.rank++;
    view.shape = shape;
    StackPart p = {buf, loop_buf(e->lb->c.m, f, view)};
    vec_push(&ctx->perm, &e->parts, p);
    return p.stack;
}

static const Dim *in_stack(BatchEmit *e, const Dim *subs, int rank) {
    Dim *all = ARENA_ARRAY(&ctx_of(e)->perm, Dim, rank + 1);
    with_group(ctx_of(e), e->part, subs, rank, all);
    return all;
}

static void access_stack(void *arg, LoopStmt *s) {
    BatchEmit *e = arg;
    Arena *arena = &ctx_of(e)->perm;
    const Dim **subs = s->n_bufs ? ARENA_ARRAY(arena, const Dim *, s->n_bufs) : NULL;
    for (int k = 0; k < s->n_bufs; k++) {
        BufId stack = stack_behind(e, s->bufs[k]);
        int rank = loop_bufp(e->lb->c.f, s->bufs[k])->rank;
        subs[k] = stack.id ? in_stack(e, s->buf_subs[k], rank) : s->buf_subs[k];
        s->bufs[k] = stack.id ? stack : s->bufs[k];
    }
    if (s->n_bufs)
        s->buf_subs = subs;
    BufId stack = s->kind == LOOP_LOAD || s->kind == LOOP_STORE ? stack_behind(e, s->buf) : (BufId){0};
    if (!stack.id)
        return;
    LVal *vals = s->sub_vals ? ARENA_ARRAY(arena, LVal, s->rank + 1) : NULL;
    for (int k = 0; vals && k < s->rank; k++)
        vals[k + 1] = s->sub_vals[k];
    s->subs = in_stack(e, s->subs, s->rank);
    s->sub_vals = vals;
    s->buf = stack;
    s->lane_axis++;
    s->rank++;
}

/* ---- the slice */

static void operands(BatchEmit *e, LowerBuilder *inner) {
    BufId *buf_of = inner->buf_of;
    for (int k = 0; k < e->attr->n_args; k++) {
        Param *p = &e->body->params.p[k];
        BufId whole = e->lb->buf_of[e->inst->args[k].id];
        if (e->attr->args[k] == BATCH_WHOLE) {
            buf_of[p->val.id] = whole;
            continue;
        }
        if (e->attr->args[k] == BATCH_SLICE) {
            buf_of[p->val.id] = part_of_stack(e, inner, graph_type(e->body, p->val), whole, p->name);
            continue;
        }
        Type t = lower_type(inner, graph_type(e->body, p->val));
        buf_of[p->val.id] = lower_new_buf(e->lb, t, p->name, p->span);
    }
}

static void pack_operands(BatchEmit *e, const BufId *buf_of) {
    for (int k = 0; k < e->attr->n_args; k++) {
        BufId whole = e->lb->buf_of[e->inst->args[k].id];
        BufId slice = buf_of[e->body->params.p[k].val.id];
        if (e->attr->args[k] == BATCH_CUT)
            pack(e, whole, slice, false);
        else if (e->attr->args[k] == BATCH_ROWS)
            copy_rows(e, whole, slice);
    }
}

/* Sums whose nests add to this group's partial result directly; slices that are computed in their stack. */
static const Dim *bind_results(BatchEmit *e, LowerBuilder *inner) {
    Ctx *ctx = ctx_of(e);
    Dim *group_of = ARENA_ARRAY(&ctx->perm, Dim, e->body->vals.n);
    int *uses = graph_uses(&ctx->perm, e->body);
    for (int k = 0; k < e->attr->n_results; k++) {
        Val v = e->body->results.p[k].val;
        if (e->attr->results[k] == BATCH_SLICES)
            inner->buf_of[v.id] = part_of_stack(e, inner, graph_type(e->body, v), e->outer[k], e->body->results.p[k].name);
        if (e->attr->results[k] != BATCH_SUM || !adds_to_partial(ctx, e->body, v, uses))
            continue;
        inner->buf_of[v.id] = e->partial[k];
        group_of[v.id] = dim_of(ctx, e->group);
    }
    return group_of;
}

static Dim slices_of(BatchEmit *e) {
    return dim_ceildiv(ctx_of(e), lower_dim(e->lb, e->attr->n),
                       dim_const(ctx_of(e), e->attr->rows));
}

static void slice_results(BatchEmit *e, const BufId *buf_of, const Dim *group_of) {
    Ctx *ctx = ctx_of(e);
    for (int k = 0; k < e->attr->n_results; k++) {
        Val v = e->body->results.p[k].val;
        BufId b = buf_of[v.id];
        if (k == e->fold) {
            FoldSlice s = {b, dim_of(ctx, e->group), e->first, e->row0, e->left, slices_of(e),
                           dim_of(ctx, e->slice), e->end, e->attr->rows};
            fold_slice(e->lb, e->t->fold, e->block, &s);
        } else if (e->attr->results[k] == BATCH_CAT) {
            pack(e, b, e->outer[k], true);
        } else if (e->attr->results[k] == BATCH_SUM && !group_of[v.id]) {
            const LoopBuf *lb = loop_bufp(e->lb->c.f, b);
            SumCell s = {.from = b,
                         .to = e->partial[k],
                         .group = dim_of(ctx, e->group),
                         .first = e->first,
                         .rank = lb->rank};
            lower_cells(e->lb, lb->rank, lb->shape, add_cell, &s);
        }
    }
}

/* The only partial result of one group is the whole one. */
static bool is_whole(const BatchEmit *e, int k) {
    const LoopBuf *b = loop_bufp(e->lb->c.f, e->outer[k]);
    return e->attr->groups == 1 && (b->kind == BUF_WORK || b->kind == BUF_JOB);
}

static void make_partials(BatchEmit *e) {
    Ctx *ctx = ctx_of(e);
    e->partial = ARENA_ARRAY(&ctx->perm, BufId, e->attr->n_results + 1);
    e->outer = ARENA_ARRAY(&ctx->perm, BufId, e->attr->n_results + 1);
    for (int k = 0; k < e->attr->n_results; k++) {
        if (k == e->fold)
            continue;
        e->outer[k] = lower_result(e->lb, e->inst, k);
        if (e->attr->results[k] != BATCH_SUM)
            continue;
        Type t = lower_type(e->lb, graph_type(e->lb->func, inst_result(e->inst, k)));
        Dim *shape = ARENA_ARRAY(&ctx->perm, Dim, t.rank + 1);
        with_group(ctx, dim_const(ctx, e->attr->groups), t.shape, t.rank, shape);
        Str name = e->body->results.p[k].name;
        LoopBuf b = *loop_bufp(e->lb->c.f, e->outer[k]);
        if (is_whole(e, k)) {
            b.kind = BUF_ALIAS;
            b.alias = e->outer[k];
            b.offset = NULL;
            b.rank = t.rank + 1;
            b.shape = shape;
            e->partial[k] = loop_buf(e->lb->c.m, e->lb->c.f, b);
            continue;
        }
        e->partial[k] = lower_new_buf(e->lb, (Type){t.dt, t.rank + 1, shape}, name, e->inst->span);
    }
}

static bool has_sums(const BatchEmit *e) {
    for (int k = 0; k < e->attr->n_results; k++)
        if (e->attr->results[k] == BATCH_SUM)
            return true;
    return false;
}

/* Does a group that starts with slice `lo` have one? */
static LVal has_slices(BatchEmit *e, Dim lo) {
    LoopCursor *c = &e->lb->c;
    return loop_let(c, SC_lt, (LVal[]){loop_index(c, lo, 1, 0), loop_index(c, slices_of(e), 1, 0)}, 2, DT_NONE);
}

static Dim slices_each(BatchEmit *e) {
    return dim_ceildiv(ctx_of(e), slices_of(e), dim_const(ctx_of(e), e->attr->groups));
}

/* Groups are 0 where there are no rows at all; else those without slices add nothing. */
static void zero_partials(BatchEmit *e) {
    Ctx *ctx = ctx_of(e);
    LoopCursor *c = &e->lb->c;
    LoopBody *outer = c->at;
    DimFacts none = {0};
    Dim n = lower_dim(e->lb, e->attr->n);
    if (e->attr->groups == 1 || !has_sums(e) || dim_prove_nonneg(ctx, &none, dim_addk(ctx, n, -1)))
        return;
    LVal some = has_slices(e, dim_const(ctx, 0));
    LoopStmt *s = loop_if(c, loop_let(c, SC_not, &some, 1, DT_NONE));
    for (int k = 0; k < e->attr->n_results; k++) {
        if (e->attr->results[k] != BATCH_SUM)
            continue;
        const LoopBuf *b = loop_bufp(c->f, e->partial[k]);
        SumCell cell = {.to = e->partial[k], .group = dim_of(ctx, e->group), .rank = b->rank - 1};
        lower_cells(e->lb, b->rank - 1, b->shape + 1, zero_cell, &cell);
    }
    loop_end(c, s, outer, NULL);
}

/* The partial sums of a group to the whole ones; those of the first one are copied there. */
static void add_partials(BatchEmit *e, Dim group, bool first) {
    for (int k = 0; k < e->attr->n_results; k++) {
        if (e->attr->results[k] != BATCH_SUM || is_whole(e, k))
            continue;
        const LoopBuf *b = loop_bufp(e->lb->c.f, e->partial[k]);
        SumCell cell = {
            .from = e->partial[k], .to = e->outer[k], .group = group, .first = first ? NULL : group, .rank = b->rank - 1};
        lower_cells(e->lb, b->rank - 1, b->shape + 1, total_cell, &cell);
    }
}

/* What a group does once its slices are done, group after group. */
static void add_group(BatchEmit *e) {
    Ctx *ctx = ctx_of(e);
    LoopCursor *c = &e->lb->c;
    LoopBody *outer = c->at;
    Dim group = dim_of(ctx, e->group);
    if (e->attr->groups == 1 || !has_sums(e))
        return;
    LVal first = loop_let(c, SC_eq, (LVal[]){loop_index(c, group, 1, 0), loop_int(c, (LType){DT_I64, 1}, 0)}, 2, DT_NONE);
    LoopStmt *s = loop_if(c, first);
    add_partials(e, group, true);
    LoopBody *other = c->at = &s->orelse;
    LoopStmt *more = loop_if(c, has_slices(e, dim_mul(ctx, group, slices_each(e))));
    add_partials(e, group, false);
    loop_end(c, more, other, NULL);
    loop_end(c, s, outer, NULL);
}

/* For a body of rows: its last two dims are the first row and how many there are. */
static LowerBuilder builder_of(const BatchEmit *e, const Func *body, ToLoops *pass, Dim row0, Dim rows) {
    Arena *arena = &ctx_of(e)->perm;
    LowerBuilder inner = *e->lb;
    int outside = e->lb->n_bindings; /* a batch inside a row of another one */
    DimBinding *bind = ARENA_ARRAY(arena, DimBinding, outside + 2);
    for (int k = 0; k < outside; k++)
        bind[k] = e->lb->bindings[k];
    bind[outside] = (DimBinding){body->dims.p[body->dims.n - 2], row0};
    bind[outside + 1] = (DimBinding){body->dims.p[body->dims.n - 1], rows};
    inner.bindings = bind;
    inner.n_bindings = outside + 2;
    inner.func = body;
    inner.pass = pass;
    inner.in_job = true;
    inner.buf_of = ARENA_ARRAY(arena, BufId, body->vals.n);
    return inner;
}

/* One job: the slices of a group, in order. */
static void group(BatchEmit *e) {
    Ctx *ctx = ctx_of(e);
    LoopCursor *c = &e->lb->c;
    Dim n = lower_dim(e->lb, e->attr->n), rows = dim_const(ctx, e->attr->rows),
        g = dim_of(ctx, e->group);
    Dim slices = slices_of(e), each = slices_each(e);
    Dim lo = dim_mul(ctx, g, each), some = e->t->part ? dim_ceildiv(ctx, each, dim_const(ctx, e->t->part)) : each;
    Dim hi[2] = {dim_add(ctx, lo, some), slices};
    e->first = dim_sub(ctx, dim_of(ctx, e->slice), lo);
    if (e->onto)
        e->first = dim_add(ctx, e->first, dim_of(ctx, e->onto));
    e->row0 = dim_mul(ctx, dim_of(ctx, e->slice), rows);
    e->left = dim_sub(ctx, n, e->row0);
    ToLoops t = *e->t;
    LowerBuilder inner = builder_of(e, e->body, &t, e->row0, e->left);
    e->t = &t;
    bool in_job = e->lb->in_job;
    e->lb->in_job = true;
    zero_partials(e);
    if (e->fold >= 0)
        e->block = fold_begin(e->lb, e->t->fold, g);
    e->end = hi[0];
    operands(e, &inner);
    t.group_of = bind_results(e, &inner);
    t.first = e->first;
    inner.same_as = lower_coalesce(&ctx->perm, e->body, inner.buf_of);
    LoopBody *outer = c->at;
    LoopStmt *s = loop_for(c, e->slice, &lo, 1, hi, 2, 1, NULL, 0);
    pack_operands(e, inner.buf_of);
    inner.c = e->lb->c;
    lower_insts(&inner, e->body);
    e->lb->c = inner.c;
    slice_results(e, inner.buf_of, t.group_of);
    loop_end(c, s, outer, NULL);
    e->part = dim_of(ctx, e->slice);
    loop_walk(&s->body, access_stack, e);
    e->lb->in_job = in_job;
}

/* ---- a few rows */

typedef struct RowCell {
    BufId row, whole;
    Dim at;
    int rank; /* of the row */
} RowCell;

static void row_cell(LowerBuilder *lb, const Dim *subs, void *arg) {
    const RowCell *r = arg;
    Dim whole[MAX_RANK + 1];
    with_group(lb->c.m->ctx, r->at, subs, r->rank, whole);
    loop_store(&lb->c, r->whole, whole, loop_load(&lb->c, r->row, subs));
}

static void move_row(LowerBuilder *lb, BufId row, BufId whole, Dim at) {
    const LoopBuf *b = loop_bufp(lb->c.f, row);
    RowCell r = {.row = row, .whole = whole, .at = at, .rank = b->rank};
    lower_cells(lb, b->rank, b->shape, row_cell, &r);
}

/* Results of nests are computed in the rows of the whole ones. */
static bool *row_results(BatchEmit *e, LowerBuilder *inner, const Func *one) {
    bool *in_place = ARENA_ARRAY(&ctx_of(e)->perm, bool, e->attr->n_results + 1);
    for (int k = 0; k < e->attr->n_results; k++) {
        const Result *r = &one->results.p[k];
        const Inst *def = graph_def(one, r->val);
        in_place[k] = def && def->op == &op_nest && !inner->buf_of[r->val.id].id;
        if (in_place[k])
            inner->buf_of[r->val.id] =
                part_of_stack(e, inner, graph_type(one, r->val), e->outer[k], r->name);
    }
    return in_place;
}

/* 1 where n >= below, else 0: n // below is 0 for fewer, and a bound of a loop is the least of several. */
static Dim enough(Ctx *ctx, Dim n, int64_t below) { return dim_floordiv(ctx, n, dim_const(ctx, below)); }

/* Opens `for row in 0..n where n < below`: each of `groups` jobs computes every so many rows. */
static LoopStmt *open_rows(BatchEmit *e, Dim *row) {
    LowerBuilder *lb = e->lb;
    Ctx *ctx = ctx_of(e);
    int64_t most = e->attr->below;
    DimSym job = nest_index(ctx, "row"), turn = nest_index(ctx, "turn");
    Dim n = lower_dim(lb, e->attr->n), at = dim_of(ctx, job), groups = dim_const(ctx, e->attr->groups), zero = dim_const(ctx, 0);
    Dim hi[3] = {n, most < e->attr->groups ? dim_const(ctx, most) : groups, NULL};
    if (most != BATCH_ALWAYS)
        hi[2] = dim_sub(ctx, dim_const(ctx, most), dim_mul(ctx, dim_const(ctx, most), enough(ctx, n, most)));
    LoopStmt *s = loop_for(&lb->c, job, &zero, 1, hi, hi[2] ? 3 : 2, 1, NULL, 0);
    s->parallel = !lb->in_job; /* jobs start no jobs */
    s->name = str_fmt(ctx, "%s.row", e->inst->name ? e->inst->name : lb->func->name);
    *row = at;
    if (most <= e->attr->groups) /* a job has one */
        return s;
    Dim turns = dim_ceildiv(ctx, dim_sub(ctx, n, at), groups);
    loop_for(&lb->c, turn, &zero, 1, &turns, 1, 1, NULL, 0);
    *row = dim_add(ctx, at, dim_mul(ctx, groups, dim_of(ctx, turn)));
    return s;
}

/* The body for one row, row after row. */
static void rows_alone(BatchEmit *e) {
    Ctx *ctx = ctx_of(e);
    LowerBuilder *lb = e->lb;
    const Func *one = graph_func(lb->graph, e->attr->one);
    LoopBody *outer = lb->c.at;
    Dim at;
    LoopStmt *s = open_rows(e, &at);
    ToLoops t = *e->t;
    t.group_of = NULL;
    LowerBuilder inner = builder_of(e, one, &t, at, dim_const(ctx, 1));
    bool in_job = lb->in_job;
    lb->in_job = true;
    for (int k = 0; k < e->attr->n_args; k++) {
        const Param *p = &one->params.p[k];
        BufId whole = lb->buf_of[e->inst->args[k].id];
        bool cut = e->attr->args[k] == BATCH_CUT;
        inner.buf_of[p->val.id] =
            cut ? part_of_stack(e, &inner, graph_type(one, p->val), whole, p->name) : whole;
    }
    bool *in_place = row_results(e, &inner, one);
    inner.same_as = lower_coalesce(&ctx->perm, one, inner.buf_of);
    inner.c = lb->c;
    lower_insts(&inner, one);
    lb->c = inner.c;
    for (int k = 0; k < e->attr->n_results; k++)
        if (!in_place[k])
            move_row(lb, inner.buf_of[one->results.p[k].val.id], e->outer[k], at);
    lb->in_job = in_job;
    loop_end(&lb->c, s, outer, NULL);
    e->part = at;
    loop_walk(&s->body, access_stack, e);
    e->parts.n = 0;
}

/* The slices' loop is empty where rows run alone. Groups without slices have nothing to do, unless there are none at all. */
static LoopStmt *open_groups(BatchEmit *e) {
    Ctx *ctx = ctx_of(e);
    DimFacts none = {0};
    Dim n = lower_dim(e->lb, e->attr->n), zero = dim_const(ctx, 0), hi[3] = {dim_const(ctx, e->attr->groups)};
    int bounds = 1;
    if (e->attr->one.id && e->fold < 0)
        hi[bounds++] = dim_mul(ctx, hi[0], enough(ctx, n, e->attr->below));
    if (e->attr->groups > 1 && e->fold < 0 && dim_prove_nonneg(ctx, &none, dim_addk(ctx, n, -1)))
        hi[bounds++] = dim_ceildiv(ctx, slices_of(e), slices_each(e));
    LoopStmt *s = loop_for(&e->lb->c, e->group, &zero, 1, hi, bounds, 1, NULL, 0);
    s->parallel = s->fetch = !e->lb->in_job; /* jobs start no jobs */
    return s;
}

static int fold_of(const BatchEmit *e) {
    const RowFold *f = e->t->fold;
    for (int k = 0; f && f->func == e->lb->func && k < e->attr->n_results; k++)
        if (inst_result(e->inst, k).id == f->rows.id)
            return k;
    return -1;
}

/* ---- many rows */

/* The body for all rows, on whole operands, into the results themselves. */
static void all_rows(BatchEmit *e) {
    LowerBuilder *lb = e->lb, inner = *lb;
    const Func *all = graph_func(lb->graph, e->attr->all);
    inner.func = all;
    inner.buf_of = ARENA_ARRAY(&ctx_of(e)->perm, BufId, all->vals.n);
    for (int k = 0; k < e->attr->n_args; k++)
        inner.buf_of[all->params.p[k].val.id] = lb->buf_of[e->inst->args[k].id];
    for (int k = 0; k < e->attr->n_results; k++)
        inner.buf_of[all->results.p[k].val.id] = e->outer[k];
    inner.same_as = lower_coalesce(&ctx_of(e)->perm, all, inner.buf_of);
    lower_insts(&inner, all);
    lb->c = inner.c;
}

/* Opens `if above <= n { all rows at once } else {`. NULL: there is no such body. */
static LoopStmt *open_all(BatchEmit *e) {
    LoopCursor *c = &e->lb->c;
    if (!e->attr->all.id || e->lb->in_job || e->fold >= 0)
        return NULL;
    LVal many = loop_let(c, SC_le, (LVal[]){loop_int(c, (LType){DT_I64, 1}, e->attr->above), loop_index(c, lower_dim(e->lb, e->attr->n), 1, 0)}, 2, DT_NONE);
    LoopStmt *s = loop_if(c, many);
    all_rows(e);
    c->at = &s->orelse;
    return s;
}

void lower_batch(LowerBuilder *lb, const Inst *i) {
    Ctx *ctx = lb->c.m->ctx;
    ToLoops *t = lb->pass;
    BatchEmit e = {.lb = lb,
                   .t = t,
                   .inst = i,
                   .attr = i->attr,
                   .group = nest_index(ctx, lb->in_job ? "part" : "group"),
                   .slice = nest_index(ctx, lb->in_job ? "piece" : "slice")};
    e.body = graph_func(lb->graph, e.attr->body);
    e.fold = fold_of(&e);
    make_partials(&e);
    LoopBody *around = lb->c.at;
    LoopStmt *few = open_all(&e);
    if (e.attr->one.id && e.fold < 0)
        rows_alone(&e);
    if (e.attr->one.id && e.fold < 0 && e.attr->below == BATCH_ALWAYS) { /* no slices */
        if (few)
            loop_end(&lb->c, few, around, NULL);
        return;
    }
    LoopBody *outer = lb->c.at;
    LoopStmt *s = open_groups(&e);
    if (s->parallel && e.attr->groups > 1 && e.fold < 0 && has_sums(&e)) {
        e.onto = s->onto = nest_index(ctx, "onto");
        s->onto_if = dim_addk(ctx, slices_each(&e), -1);
    }
    s->name = i->name ? i->name : lb->func->name;
    group(&e);
    e.t = t;
    if (s->parallel)
        lb->c.at = &s->orelse;
    add_group(&e);
    loop_end(&lb->c, s, outer, NULL);
    if (e.attr->groups == 1)
        add_partials(&e, dim_const(ctx, 0), true);
    if (few)
        loop_end(&lb->c, few, around, NULL);
    if (e.fold >= 0)
        fold_end(lb, t->fold);
}
