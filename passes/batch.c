/* batch: work by rows runs in slices of 16 rows, rows innermost.
 *
 *   %y: f32[N, 4] = nest += %x[n, k] * %w[k, j] over n<N j<4 k<8
 *   %s: f64 = nest += %y[n, j] over n<N j<4
 * becomes
 *   %y, %s = batch{n = N, rows = 16} @body(cut %x, whole %w)  with, in the body,
 *   %y: f32[4, 16] = nest += %x[k, n] * %w[k, j] over n<16 j<4 k<8 then select(n < rows, acc, 0)
 *   %s: f64 = nest += %y[j, n] over n<16 j<4
 *
 * Rows past the end of the last slice add 0 to sums, or are left out of them by a guard
 * (batch_mask.c). The rows are the estimator's batch dim, else that symbolic first axis of an input
 * of rank 2 or more whose slices do most of the products. An instruction belongs to a region if its row index stands alone on the first
 * axis of everything with rows that it touches; a sum over rows that rows depend on again ends the
 * region. What does not fit stays outside, over all rows. Where contractions use each element of the rows
 * about once (X w alone), nothing is sliced: to turn rows would take longer than the products. */
#include "ir/build.h"
#include "passes/batch_priv.h"

static Ctx *ctx_of(const Batch *b) { return b->r.u->ctx; }

bool batch_has_rows(const Batch *b, Val v) {
    Type t = graph_type(b->f, v);
    return t.rank && t.shape[0] == b->n;
}

static bool mentions_rows(const Batch *b, Type t, int from) {
    for (int k = from; k < t.rank; k++)
        if (dim_mentions(t.shape[k], b->rows_of))
            return true;
    return false;
}

/* ---- which instructions */

/* Reads and index values of a body: the row index only alone on the first axis of operands with
 * rows. */
static bool body_fits(const Batch *b, const Inst *i, const Body *body, DimSym row) {
    for (int k = 0; k < body->n; k++) {
        const BodyInst *x = &body->insts[k];
        if (x->kind != BODY_READ)
            continue;
        bool rows = batch_has_rows(b, i->args[x->operand]);
        if (mentions_rows(b, graph_type(b->f, i->args[x->operand]), rows) ||
            (rows && dim_as_symbol(x->map[0]) != row))
            return false;
        for (int a = rows; a < x->rank; a++)
            if (dim_mentions(x->map[a], row))
                return false;
    }
    return true;
}

DimSym batch_row_index(const Batch *b, const Nest *n) {
    DimSym row = NULL;
    for (int k = 0; k < n->n_box; k++) {
        if (!dim_mentions(n->box[k].extent, b->rows_of))
            continue;
        if (row || n->box[k].extent != b->n)
            return NULL;
        row = n->box[k].sym;
    }
    return row;
}

static bool guards_fit(const Batch *b, const Nest *n, DimSym row) {
    for (int k = 0; k < n->n_guards; k++)
        if (dim_mentions(n->guards[k].form, row) || dim_mentions(n->guards[k].extent, b->rows_of))
            return false;
    return true;
}

static Place place_nest(const Batch *b, const Inst *i) {
    const Nest *n = i->attr;
    Type t = graph_type(b->f, i->first);
    DimSym row = batch_row_index(b, n);
    uint64_t out;
    if (!row || !guards_fit(b, n, row) || !body_fits(b, i, &n->body, row) ||
        !nest_outputs(ctx_of(b), n, &out))
        return OUTSIDE;
    bool by_row = batch_has_rows(b, i->first) && dim_as_symbol(n->map[0]) == row;
    for (int a = by_row; a < n->rank; a++)
        if (dim_mentions(n->map[a], row))
            return OUTSIDE;
    if (by_row)
        return body_fits(b, i, &n->post, row) && !mentions_rows(b, t, 1) ? BY_ROW : OUTSIDE;
    bool sum = n->op == NEST_SUM && !mentions_rows(b, t, 0) && (!n->post.n || nest_plain_map(n));
    return sum ? SUM_OF_ROWS : OUTSIDE;
}

static Place place_of(const Batch *b, const Inst *i) {
    if (i->op == &op_nest)
        return place_nest(b, i);
    bool rows = i->n_results == 1 && batch_has_rows(b, i->first) &&
                !mentions_rows(b, graph_type(b->f, i->first), 1);
    if (i->op == &op_random)
        return rows && ((const RandomAttr *)i->attr)->row_axis == 0 ? BY_ROW : OUTSIDE;
    if ((i->op->flags & OPF_VIEW) && rows && batch_has_rows(b, i->args[0]) &&
        !mentions_rows(b, graph_type(b->f, i->args[0]), 1))
        return BY_ROW;
    return OUTSIDE;
}

/* ---- regions */

static bool used_by(const Body *body, int operand) {
    for (int k = 0; k < body->n; k++)
        if (body->insts[k].kind == BODY_READ && body->insts[k].operand == operand)
            return true;
    return false;
}

bool batch_inside(const Batch *b, int inst, int k) {
    const Inst *i = b->f->insts.p[inst];
    return b->place[inst] != SUM_OF_ROWS || used_by(&((const Nest *)i->attr)->body, k);
}

static void assign_regions(Batch *b) {
    for (int k = 0; k < b->f->insts.n; k++) {
        const Inst *i = b->f->insts.p[k];
        b->place[k] = place_of(b, i);
        int region = 0, after = 0;
        for (int j = 0; j < i->n_args; j++) {
            const Inst *def = graph_def(b->f, i->args[j]);
            int stage = b->stage[i->args[j].id], whole = stage;
            if (def)
                for (int q = 0; q < k; q++)
                    if (b->f->insts.p[q] == def && b->place[q] == BY_ROW)
                        whole = b->region[q] + 1; /* all of its rows are there after its region */
            after = whole > after ? whole : after;
            if (batch_inside(b, k, j))
                region = stage > region ? stage : region;
        }
        b->region[k] = b->place[k] == OUTSIDE ? after : region;
        for (int j = 0; j < i->n_results; j++)
            b->stage[inst_result(i, j).id] = b->place[k] == SUM_OF_ROWS
                                                 ? (region + 1 > after ? region + 1 : after)
                                                 : b->region[k];
        if (b->place[k] != OUTSIDE && region + 1 > b->n_regions)
            b->n_regions = region + 1;
    }
}

/* ---- the body of one region */

typedef struct BodyMaker {
    Batch *b;
    int region;
    Func *body;
    DimSym row0, rows;
    bool repeats; /* it computes again what another region has computed */
    Val *to;    /* by value id of the function: in the body, rows on the last axis */
    Val *first; /* likewise: with rows on the first axis */
    VEC(Val) args;
    VEC(BatchArg) arg_kinds;
    VEC(Val) results; /* of the function */
    VEC(BatchRes) result_kinds;
} BodyMaker;

static Type sliced(const Batch *b, Type t, bool first) {
    Dim shape[MAX_RANK];
    for (int k = 1; k < t.rank; k++)
        shape[first ? k : k - 1] = t.shape[k];
    shape[first ? 0 : t.rank - 1] = dim_const(ctx_of(b), b->rows);
    return type_new(ctx_of(b), t.dt, t.rank, shape);
}

static void slice_nest(BodyMaker *m, const Inst *i, Place place);

static Val cut_operand(BodyMaker *m, Val v) {
    Batch *b = m->b;
    bool cut = batch_has_rows(b, v), first = cut && b->first[v.id];
    Type t = graph_type(b->f, v);
    Param p = {
        .name = b->f->vals.p[v.id].name, .role = ROLE_LOCAL, .tensor = -1, .span = b->f->span};
    if (!p.name)
        p.name = str_fmt(ctx_of(b), "a%d", m->args.n);
    vec_push(b->r.u->arena, &m->args, v);
    vec_push(b->r.u->arena, &m->arg_kinds, b->stacked[v.id] ? BATCH_SLICE : first ? BATCH_ROWS : cut ? BATCH_CUT : BATCH_WHOLE);
    return graph_param(b->r.m, m->body, p, cut ? sliced(b, t, first) : t);
}

/* A copy of x, which is v in the body, with its rows on the other end of its axes. */
static Val turned(BodyMaker *m, Val v, Val x, bool to_first) {
    Batch *b = m->b;
    Type t = graph_type(m->body, x);
    NestMaker n = nest_maker(b->r.m, m->body, NEST_STORE);
    Dim at[MAX_RANK], map[MAX_RANK], shape[MAX_RANK];
    for (int k = 0; k < t.rank; k++) {
        int from = to_first ? (k ? k - 1 : t.rank - 1) : (k + 1) % t.rank;
        shape[k] = t.shape[from];
        map[k] = at[from] = maker_index(&n, "i", shape[k]);
    }
    const Inst *def = graph_def(b->f, v);
    Span span = def ? def->span : b->f->span;
    int body = maker_read(&n, x, at);
    return maker_done(&n, body, t.rank, map, shape, span, b->f->vals.p[v.id].name);
}

static Val rows_first(BodyMaker *m, Val v);

/* The value in the body; operands from outside become params. */
static Val in_body(BodyMaker *m, Val v) {
    if (m->to[v.id].id)
        return m->to[v.id];
    if (m->b->again[v.id]) {
        m->repeats = true;
        slice_nest(m, graph_def(m->b->f, v), BY_ROW);
        return m->to[v.id];
    }
    if (batch_has_rows(m->b, v) && m->b->first[v.id])
        return m->to[v.id] = turned(m, v, rows_first(m, v), false);
    return m->to[v.id] = cut_operand(m, v);
}

/* The value with its rows on the first axis. */
static Val rows_first(BodyMaker *m, Val v) {
    if (m->first[v.id].id)
        return m->first[v.id];
    bool own = m->b->first[v.id];
    return m->first[v.id] = own ? cut_operand(m, v) : turned(m, v, in_body(m, v), true);
}

static const Dim *rotated(Arena *arena, const Dim *map, int rank) {
    Dim *r = ARENA_ARRAY(arena, Dim, rank + 1);
    for (int k = 1; k < rank; k++)
        r[k - 1] = map[k];
    r[rank - 1] = map[0];
    return r;
}

/* first: by operand, those that are read with their rows on the first axis. */
static Body slice_body(BodyMaker *m, const Inst *i, const Body *from, DimSym row, const bool *first) {
    Batch *b = m->b;
    if (!from->n)
        return *from;
    BodyInst *insts = arena_dup(b->r.u->arena, from->insts, sizeof *insts * (size_t)from->n);
    DimBinding global = {row,
                         dim_add(ctx_of(b), dim_of(ctx_of(b), row), dim_of(ctx_of(b), m->row0))};
    for (int k = 0; k < from->n; k++) {
        if (insts[k].kind == BODY_READ && !first[insts[k].operand] &&
            batch_has_rows(b, i->args[insts[k].operand]))
            insts[k].map = rotated(b->r.u->arena, insts[k].map, insts[k].rank);
        else if (insts[k].kind == BODY_INDEX)
            insts[k].dim = dim_subst(ctx_of(b), insts[k].dim, &global, 1);
    }
    return (Body){from->n, insts};
}

static void slice_nest(BodyMaker *m, const Inst *i, Place place) {
    Batch *b = m->b;
    Arena *arena = b->r.u->arena;
    NestOp n = nestop_of(b->f, i);
    DimSym row = batch_row_index(b, &n.nest);
    NestIndex *box = arena_dup(arena, n.nest.box, sizeof *box * (size_t)n.nest.n_box);
    for (int k = 0; k < n.nest.n_box; k++)
        if (box[k].sym == row)
            box[k].extent = dim_const(ctx_of(b), b->rows);
    n.nest.box = box;
    bool own = place == BY_ROW && b->first[i->first.id], *first = batch_reads_first(b, i, place);
    n.nest.body = slice_body(m, i, &n.nest.body, row, first);
    Val *args = ARENA_ARRAY(arena, Val, n.n_args + 1);
    if (place == BY_ROW) {
        n.nest.post = slice_body(m, i, &n.nest.post, row, first);
        n.nest.map = own ? n.nest.map : rotated(arena, n.nest.map, n.nest.rank);
        n.type = sliced(b, n.type, own);
        if (b->masked[i->first.id])
            batch_mask(ctx_of(b), &n, row, m->rows);
    } else { /* init and post are applied to the total, outside */
        if (!b->vanishes[i->first.id]) {
            NestGuard *guards = ARENA_ARRAY(arena, NestGuard, n.nest.n_guards + 1);
            for (int k = 0; k < n.nest.n_guards; k++)
                guards[k] = n.nest.guards[k];
            guards[n.nest.n_guards++] =
                (NestGuard){dim_of(ctx_of(b), row), dim_of(ctx_of(b), m->rows)};
            n.nest.guards = guards;
        }
        n.nest.post = (Body){0};
        n.nest.init = -1;
        n.type = type_with(n.type, n.nest.wide ? DT_F64 : n.nest.body.insts[n.nest.body.n - 1].dt);
    }
    for (int k = 0; k < n.n_args; k++)
        if (k == n.nest.init || used_by(&n.nest.body, k) || used_by(&n.nest.post, k))
            args[k] = first[k] ? rows_first(m, i->args[k]) : in_body(m, i->args[k]);
    n.args = args;
    n = nestop_compact(ctx_of(b), &n);
    (own ? m->first : m->to)[i->first.id] = nestop_emit(b->r.m, m->body, &n);
}

static void slice_random(BodyMaker *m, const Inst *i) {
    Batch *b = m->b;
    RandomAttr *attr = arena_dup(b->r.u->arena, i->attr, sizeof *attr);
    attr->type = sliced(b, attr->type, false);
    attr->row_axis = attr->type.rank - 1;
    attr->row0 = dim_add(ctx_of(b), attr->row0, dim_of(ctx_of(b), m->row0));
    Val args[2] = {in_body(m, i->args[0]), in_body(m, i->args[1])};
    m->to[i->first.id] = graph_inst(b->r.m, m->body, i->op, args, 2, attr, i->span, i->name)->first;
}

static void slice_view(BodyMaker *m, const Inst *i) {
    Batch *b = m->b;
    Val arg = in_body(m, i->args[0]);
    const void *attr = i->attr;
    if (i->op == &op_reshape) {
        ReshapeAttr *r = ARENA_NEW(b->r.u->arena, ReshapeAttr);
        r->type = sliced(b, graph_type(b->f, i->first), false);
        attr = r;
    }
    m->to[i->first.id] = graph_inst(b->r.m, m->body, i->op, &arg, 1, attr, i->span, i->name)->first;
}

bool batch_leaves(const Batch *b, int inst) {
    const Inst *i = b->f->insts.p[inst];
    int region = b->region[inst];
    if (b->place[inst] == SUM_OF_ROWS)
        return true;
    for (int k = 0; k < b->f->results.n; k++)
        if (b->f->results.p[k].val.id == i->first.id)
            return true;
    for (int k = inst + 1; k < b->f->insts.n; k++) {
        const Inst *user = b->f->insts.p[k];
        for (int j = 0; j < user->n_args; j++)
            if (user->args[j].id == i->first.id &&
                (b->place[k] == OUTSIDE || !batch_inside(b, k, j) || (b->region[k] != region && !b->again[i->first.id])))
                return true;
    }
    return false;
}

/* A sum's init and post, applied to the total: read by the elementwise nest that follows the batch.
 */
static Val finish_sum(Batch *b, const Inst *i, Val total) {
    Arena *arena = b->r.u->arena;
    NestOp n = nestop_of(b->f, i);
    if (n.nest.init < 0 && !n.nest.post.n && !n.nest.wide)
        return total;
    Type t = graph_type(b->r.to, total);
    NestIndex *box = ARENA_ARRAY(arena, NestIndex, t.rank + 1);
    Dim *map = ARENA_ARRAY(arena, Dim, t.rank + 1);
    DimBinding *bind = ARENA_ARRAY(arena, DimBinding, t.rank + 1);
    BodyBuilder bb = body_new(ctx_of(b));
    for (int k = 0; k < t.rank; k++) {
        box[k] = (NestIndex){nest_index(ctx_of(b), str_fmt(ctx_of(b), "i%d", k)), t.shape[k]};
        map[k] = dim_of(ctx_of(b), box[k].sym);
        bind[k] = (DimBinding){dim_as_symbol(n.nest.map[k]), map[k]};
    }
    Val *args = ARENA_ARRAY(arena, Val, n.n_args + 1);
    for (int k = 0; k < n.n_args; k++) /* what only the sum reads may exist in the slices alone */
        args[k] =
            k == n.nest.init || used_by(&n.nest.post, k) ? rewrite_val(&b->r, n.args[k]) : total;
    args[n.n_args] = total;
    DType dt = n.nest.body.insts[n.nest.body.n - 1].dt;
    int sum = body_cast(&bb, dt, body_read(&bb, t.dt, n.n_args, t.rank, map));
    if (n.nest.init >= 0)
        sum = body_op2(&bb, SC_add, body_read(&bb, dt, n.nest.init, t.rank, map), sum);
    if (n.nest.post.n) {
        BodyInst *insts =
            arena_dup(arena, n.nest.post.insts, sizeof *insts * (size_t)n.nest.post.n);
        Body post = {n.nest.post.n, insts};
        BodyBuilder whole = body_new(ctx_of(b));
        int acc = body_import(&whole, &(Body){sum + 1, bb.insts.p}, NULL, 0, NULL),
            *to = ARENA_ARRAY(arena, int, post.n);
        for (int k = 0; k < post.n; k++) {
            BodyInst one = insts[k];
            int arity = one.kind == BODY_OP ? scalar_def(one.op)->arity : 0;
            for (int j = 0; j < arity; j++)
                one.args[j] = to[one.args[j]];
            if (one.kind == BODY_ACC) {
                to[k] = acc;
            } else if (arity) {
                vec_push(arena, &whole.insts, one);
                to[k] = whole.insts.n - 1;
            } else {
                to[k] = body_import(&whole, &(Body){1, &one}, bind, t.rank, NULL);
            }
        }
        bb = whole;
        sum = to[post.n - 1];
    }
    NestOp r = {
        .n_args = n.n_args + 1, .args = args, .type = n.type, .span = n.span, .name = n.name};
    r.nest = (Nest){
        .op = NEST_STORE, .n_box = t.rank, .box = box, .rank = t.rank, .map = map, .init = -1};
    r.nest.body = body_done(&bb, sum);
    r = nestop_compact(ctx_of(b), &r);
    return nestop_emit(b->r.m, b->r.to, &r);
}

static void add_result(BodyMaker *m, int inst) {
    Batch *b = m->b;
    const Inst *i = b->f->insts.p[inst];
    Result r = {.val = m->to[i->first.id],
                .name = b->f->vals.p[i->first.id].name,
                .role = RES_LOCAL,
                .of = -1};
    if (!r.name)
        r.name = str_fmt(ctx_of(b), "r%d", m->results.n);
    graph_result(b->r.m, m->body, r);
    vec_push(b->r.u->arena, &m->results, i->first);
    BatchRes kind = b->place[inst] == SUM_OF_ROWS ? BATCH_SUM : b->stacked[i->first.id] ? BATCH_SLICES : BATCH_CAT;
    vec_push(b->r.u->arena, &m->result_kinds, kind);
}

/* A name for a dim of a body, which neither a dim nor an index of the function has. */
static Str fresh_dim(const Batch *b, const char *base) {
    Str name = str_of(ctx_of(b), base);
    bool taken = true;
    for (int n = 0; taken; n++) {
        if (n)
            name = str_fmt(ctx_of(b), "%s_%d", base, n);
        taken = false;
        for (int k = 0; k < b->f->dims.n; k++)
            taken |= b->f->dims.p[k]->name == name;
        for (int k = 0; k < b->f->insts.n; k++) {
            const Nest *nest = b->f->insts.p[k]->op == &op_nest ? b->f->insts.p[k]->attr : NULL;
            for (int j = 0; nest && j < nest->n_box; j++)
                taken |= nest->box[j].sym->name == name;
        }
    }
    return name;
}

static bool is_empty(const Batch *b, int region) {
    for (int k = 0; k < b->f->insts.n; k++)
        if (b->place[k] != OUTSIDE && b->region[k] == region)
            return false;
    return true;
}

/* Appends the batch op of a region; sums that still need their init or post are finished where
 * their turn comes. */
static void emit_region(Batch *b, int region) {
    Arena *arena = b->r.u->arena;
    Ctx *ctx = ctx_of(b);
    BodyMaker m = {.b = b, .region = region};
    m.body = graph_func_new(b->r.m, str_fmt(ctx, "%s.rows%d", b->f->name, region), b->f->span);
    m.body->real = b->f->real;
    m.body->block = b->f->block;
    for (int k = 0; k < b->f->dims.n; k++)
        vec_push(arena, &m.body->dims, b->f->dims.p[k]);
    m.row0 = dim_symbol_new(ctx, fresh_dim(b, "row0"), 0, false);
    m.rows = dim_symbol_new(ctx, fresh_dim(b, "rows"), 1, false);
    vec_push(arena, &m.body->dims, m.row0);
    vec_push(arena, &m.body->dims, m.rows);
    m.to = ARENA_ARRAY(arena, Val, b->f->vals.n + 1);
    m.first = ARENA_ARRAY(arena, Val, b->f->vals.n + 1);
    batch_choose_first(b, region);
    for (int k = 0; k < b->f->insts.n; k++) {
        const Inst *i = b->f->insts.p[k];
        if (b->place[k] == OUTSIDE || b->region[k] != region)
            continue;
        if (i->op == &op_nest)
            slice_nest(&m, i, b->place[k]);
        else if (i->op == &op_random)
            slice_random(&m, i);
        else
            slice_view(&m, i);
    }
    for (int k = 0; k < b->f->insts.n; k++)
        if (b->place[k] != OUTSIDE && b->region[k] == region && batch_leaves(b, k))
            add_result(&m, k);
    BatchAttr *attr = ARENA_NEW(arena, BatchAttr);
    *attr = (BatchAttr){.body = m.body->id,
                        .n = b->n,
                        .rows = b->rows,
                        .groups = b->groups,
                        .n_args = m.args.n,
                        .n_results = m.results.n,
                        .args = m.arg_kinds.p,
                        .results = m.result_kinds.p};
    if (!m.repeats)
        batch_one(b, region, attr, m.args.p, m.results.p);
    if (!m.repeats && b->reads)
        batch_all(b, region, attr, m.args.p, m.results.p);
    Val *args = ARENA_ARRAY(arena, Val, m.args.n + 1);
    for (int k = 0; k < m.args.n; k++)
        args[k] = rewrite_val(&b->r, m.args.p[k]);
    const Inst *batch =
        graph_inst(b->r.m, b->r.to, &op_batch, args, m.args.n, attr, b->f->span, b->f->name);
    for (int k = 0; k < m.results.n; k++)
        b->r.map.to[m.results.p[k].id] = inst_result(batch, k);
}

/* ---- the function */

static bool is_contraction(Ctx *ctx, const Func *f) {
    for (int k = 0; k < f->insts.n; k++)
        if (f->insts.p[k]->op == &op_nest && nest_is_contraction(ctx, f->insts.p[k]->attr))
            return true;
    return false;
}

/* Products of the contractions that slices of the rows can do; unknown extents count as 64. */
static double work_placed(Unit *u, const Func *f, DimSym rows) {
    Batch b = {.f = f, .rows_of = rows, .n = dim_of(u->ctx, rows), .r = {.u = u}};
    double work = 0;
    for (int k = 0; k < f->insts.n; k++) {
        const Nest *n = f->insts.p[k]->op == &op_nest ? f->insts.p[k]->attr : NULL;
        if (!n || !nest_is_contraction(u->ctx, n) || place_nest(&b, f->insts.p[k]) == OUTSIDE)
            continue;
        double points = 1;
        int64_t extent;
        for (int j = 0; j < n->n_box; j++)
            points *= dim_is_const(n->box[j].extent, &extent) ? (double)extent : 64;
        work += points;
    }
    return work;
}

/* The batch dim of the estimator; else, among the symbolic first axes of arguments, the one whose
 * slices do most of the products, the first of equals. Fits by least squares need no product: their
 * rows are folded slice by slice, whatever the mean. */
static DimSym rows_of(Unit *u, const Func *f, bool squares) {
    const AbiBlock *block = f->block >= 0 ? u->graph->blocks.p[f->block] : NULL;
    DimSym rows = block && block->using_.present ? block->using_.rows : NULL;
    for (int k = 0; rows && k < f->dims.n;
         k++) /* functions of one block may have dims of their own */
        if (f->dims.p[k]->name == rows->name)
            return f->dims.p[k];
    if (!squares && !is_contraction(u->ctx, f))
        return NULL;
    double most = -1;
    for (int k = 0; k < f->params.n; k++) {
        Type t = graph_type(f, f->params.p[k].val);
        Role role = f->params.p[k].role; /* of an entry, or of a row's body */
        DimSym s = t.rank >= (squares ? 1 : 2) ? dim_as_symbol(t.shape[0]) : NULL;
        double placed = s && (role == ROLE_INPUT || role == ROLE_LOCAL) ? work_placed(u, f, s) : -1;
        if (placed > most) {
            rows = s;
            most = placed;
        }
    }
    return rows;
}

/* Cells of a row of v with further axes, else 0; unknown extents count as 64. */
static double cells_of_row(const Func *f, Val v) {
    Type t = graph_type(f, v);
    double cells = t.rank > 1;
    int64_t extent;
    for (int k = 1; k < t.rank; k++)
        cells *= dim_is_const(t.shape[k], &extent) ? (double)extent : 64;
    return cells;
}

/* Do contractions use each element of the rows about once (W x, the norms of rows)? Slices turn rows, so that their
 * elements take the vectors of 16 rows; that pays where it is used more often. What has few elements is turned in
 * no time. */
static bool reads_rows_once(Unit *u, const Func *f, DimSym rows) {
    enum { FEW = 16, OFTEN = 2 };
    Batch b = {.f = f, .rows_of = rows, .n = dim_of(u->ctx, rows), .r = {.u = u}};
    bool *seen = ARENA_ARRAY(u->arena, bool, f->vals.n + 1);
    bool by_row = false, summed = false;
    double cells = 0;
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        Place place = place_of(&b, i);
        by_row |= place == BY_ROW;
        summed |= place == SUM_OF_ROWS;
        if (place == OUTSIDE || i->op != &op_nest || !nest_is_contraction(u->ctx, i->attr))
            continue;
        for (int j = 0; j < i->n_args; j++) {
            Val v = i->args[j];
            cells += batch_has_rows(&b, v) && !seen[v.id] ? cells_of_row(f, v) : 0;
            seen[v.id] = true;
        }
    }
    if (by_row && summed) /* slices add up as they go, and nothing of all rows exists */
        return false;
    return cells >= FEW && work_placed(u, f, rows) < OFTEN * 64 * cells;
}

bool batch_is_product(const Body *b) {
    return b->n == 3 && b->insts[0].kind == BODY_READ && b->insts[1].kind == BODY_READ &&
           b->insts[2].kind == BODY_OP && b->insts[2].op == SC_mul;
}

/* Are all contractions products, which tiles compute, and is a factor without rows of unknown extents? It may be so
 * large that slices would spend their time reading it. */
static bool has_open_weights(const Batch *b) {
    bool found = false;
    for (int k = 0; k < b->f->insts.n; k++) {
        const Inst *i = b->f->insts.p[k];
        if (i->op != &op_nest || !nest_is_contraction(ctx_of(b), i->attr) || place_nest(b, i) != BY_ROW)
            continue;
        if (!batch_is_product(&((const Nest *)i->attr)->body))
            return false;
        for (int j = 0; j < i->n_args; j++) {
            Type t = graph_type(b->f, i->args[j]);
            int open = 0;
            for (int a = 0; a < t.rank; a++)
                open += !dim_is_const(t.shape[a], NULL);
            found |= open >= 2 && !batch_has_rows(b, i->args[j]);
        }
    }
    return found;
}

/* Instructions outside that wait for regions before `region` only. */
static void emit_outside(Batch *b, int region, bool *done) {
    for (int k = 0; k < b->f->insts.n; k++) {
        const Inst *i = b->f->insts.p[k];
        if (b->place[k] == OUTSIDE && !done[k] && b->region[k] <= region) {
            rewrite_copy(&b->r, i);
            done[k] = true;
        } else if (b->place[k] == SUM_OF_ROWS && !done[k] && b->stage[i->first.id] <= region) {
            b->r.map.to[i->first.id] = finish_sum(b, i, rewrite_val(&b->r, i->first));
            done[k] = true;
        }
    }
}

/* Is f the body of a loop over single rows, which has rows of its own? (peel.c) */
static bool is_row_body(const Unit *u, const Func *f) {
    for (int k = 0; k < u->graph->funcs.n; k++) {
        const Func *g = u->graph->funcs.p[k];
        for (int j = 0; g && j < g->insts.n; j++) {
            const BatchAttr *a = g->insts.p[j]->op == &op_batch ? g->insts.p[j]->attr : NULL;
            if (a && a->rows == 1 && a->body.id == f->id.id)
                return true;
        }
    }
    return false;
}

/* Bodies of fits run as entries do; those of batches are slices already. */
static const FitAttr *fit_with(const Unit *u, const Func *f, bool body) {
    for (int k = 0; k < u->graph->funcs.n; k++) {
        const Func *g = u->graph->funcs.p[k];
        for (int j = 0; g && j < g->insts.n; j++) {
            const FitAttr *a = g->insts.p[j]->op == &op_fit ? g->insts.p[j]->attr : NULL;
            if (a && (body ? a->body.id == f->id.id : g == f))
                return a;
        }
    }
    return NULL;
}

/* Is something of two axes of unknown extent added up over the rows? */
static bool sums_matrices(const Batch *b) {
    for (int k = 0; k < b->f->insts.n; k++) {
        Type t = graph_type(b->f, b->f->insts.p[k]->first);
        int open = 0;
        for (int a = 0; a < t.rank; a++)
            open += !dim_is_const(t.shape[a], NULL);
        if (b->place[k] == SUM_OF_ROWS && open >= 2)
            return true;
    }
    return false;
}

/* Rows of a slice. Fits add up sums of all pairs of parameters, which slices load and store: those of
 * more rows do it less often, as long as what is computed by row stays in a part of the cache.
 * Unknown extents count as 64. */
static int slice_rows(const Batch *b, bool is_fit) {
    enum { OF_FIT = 64, PART = 4 };
    double bytes = 0;
    if (!is_fit || !sums_matrices(b))
        return b->r.u->rows;
    for (uint32_t v = 1; v < (uint32_t)b->f->vals.n; v++) {
        Type t = graph_type(b->f, (Val){v});
        double row = (double)dtype_size(t.dt);
        int64_t extent;
        for (int k = 1; k < t.rank; k++)
            row *= dim_is_const(t.shape[k], &extent) ? (double)extent : 64;
        bytes += batch_has_rows(b, (Val){v}) ? row : 0;
    }
    bool fits = bytes * OF_FIT * PART <= (double)b->r.u->target->l2_bytes;
    return fits ? OF_FIT : b->r.u->rows;
}

static void batch_func(Unit *u, Func *f) {
    if (f->entry && f->entry->kind == ENTRY_INIT) /* it gets no work memory for slices */
        return;
    bool row_body = is_row_body(u, f);
    const FitAttr *body = fit_with(u, f, true), *fit = body ? body : fit_with(u, f, false);
    bool squares = fit && fit_method(fit->method)->is_squares;
    DimSym rows = f->entry || row_body || body ? rows_of(u, f, squares) : NULL;
    if (!rows || batch_wants_channels(u, f) || batch_would_stream(u->ctx, f, u->target) ||
        (f->entry && !fit && reads_rows_once(u, f, rows)))
        return;
    Batch b = {.f = f, .rows_of = rows, .n = dim_of(u->ctx, rows)};
    b.groups = row_body ? 1 : u->groups; /* a job starts no jobs */
    b.r = rewrite_begin(u, f);
    b.reads = !row_body && (batch_would_read(u->ctx, f, u->target) || has_open_weights(&b));
    b.place = ARENA_ARRAY(u->arena, Place, f->insts.n + 1);
    b.region = ARENA_ARRAY(u->arena, int, f->insts.n + 1);
    b.stage = ARENA_ARRAY(u->arena, int, f->vals.n + 1);
    b.masked = ARENA_ARRAY(u->arena, bool, f->vals.n + 1);
    b.vanishes = ARENA_ARRAY(u->arena, bool, f->vals.n + 1);
    b.again = ARENA_ARRAY(u->arena, bool, f->vals.n + 1);
    b.stacked = ARENA_ARRAY(u->arena, bool, f->vals.n + 1);
    b.first = ARENA_ARRAY(u->arena, bool, f->vals.n + 1);
    assign_regions(&b);
    if (!b.n_regions)
        return;
    b.rows = slice_rows(&b, body != NULL);
    for (int k = 0; k < f->insts.n; k++)
        if (b.place[k] == SUM_OF_ROWS)
            batch_choose_masks(&b, k);
    batch_choose_stacks(&b);
    bool *done = ARENA_ARRAY(u->arena, bool, f->insts.n + 1);
    for (int region = 0; region < b.n_regions; region++) {
        emit_outside(&b, region, done);
        if (!is_empty(&b, region))
            emit_region(&b, region);
    }
    emit_outside(&b, b.n_regions, done);
    rewrite_end(&b.r);
}

void pass_batch(Unit *u) { each_func(u, batch_func); }
