/* to_loops: nests. Output loops outside in the order of the result's axes, reductions inside in the
 * order of the box; every guard has become an exact bound of a loop (nest_limits). */
#include <math.h>

#include "passes/to_loops.h"

typedef struct NestEmit {
    BodyEmit body;
    const Nest *n;
    Body expr, post;
    DType dt; /* of what is reduced */
    BufId out, init;
    const Dim *at;   /* subscripts of the cell in out */
    bool accumulate; /* cells start from what out holds */
    bool grouped;    /* which is the partial sum of a group */
    bool settled, is_term;
    int narrow; /* Nest.wide: the first level of the loops that add up in f32; -1: all add up in e->dt */
    NestLimit *limits;
    int n_limits, n_outputs;
    int when_level; /* level of the loop that runs only where `when` is true; -1: none */
    const BodyInst *when;
    Dim lin; /* ARGMAX: row-major number among the reduced indices */
    Str name;
} NestEmit;

static LoopCursor *cursor(const NestEmit *e) { return &e->body.lb->c; }

static ScalarValue neutral(NestOpKind op, DType dt) {
    bool real = dtype_is_real(dt);
    int64_t least = dt == DT_I32 ? INT32_MIN : INT64_MIN,
            most = dt == DT_I32 ? INT32_MAX : INT64_MAX;
    switch (op) {
    case NEST_MAX:
        return real ? (ScalarValue){.f = -INFINITY} : (ScalarValue){.i = least};
    case NEST_MIN:
        return real ? (ScalarValue){.f = INFINITY} : (ScalarValue){.i = most};
    case NEST_ARGMAX:
        return (ScalarValue){.i = -1};
    case NEST_STORE:
    case NEST_SUM:
        break;
    }
    return (ScalarValue){0};
}

/* ---- one point: the carried values become their next */

static LVal let(const NestEmit *e, ScalarOp op, LVal a, LVal b) {
    return loop_let(cursor(e), op, (LVal[]){a, b}, 2, DT_NONE);
}

/* carried: best value, its number. The first greatest point or the first NaN wins. */
static void combine_argmax(const NestEmit *e, const LVal *in, LVal *out) {
    LoopCursor *c = cursor(e);
    LVal v = lower_body(&e->body, &e->expr);
    LVal none = let(e, SC_lt, in[1], loop_int(c, (LType){DT_I32, 1}, 0));
    LVal better = let(e, SC_or, none, let(e, SC_lt, in[0], v));
    LVal first_nan = let(e, SC_and, let(e, SC_ne, v, v), let(e, SC_eq, in[0], in[0]));
    better = let(e, SC_or, better, first_nan);
    LVal at = loop_index(c, e->lin, 1, 0);
    at = loop_let(c, SC_cast, &at, 1, DT_I32);
    out[0] = loop_let(c, SC_select, (LVal[]){better, v, in[0]}, 3, DT_NONE);
    out[1] = loop_let(c, SC_select, (LVal[]){better, at, in[1]}, 3, DT_NONE);
}

static void combine(const NestEmit *e, const LVal *in, LVal *out) {
    LVal x, y;
    switch (e->n->op) {
    case NEST_ARGMAX:
        combine_argmax(e, in, out);
        return;
    case NEST_STORE:
        *out = lower_body(&e->body, &e->expr);
        return;
    case NEST_MAX:
    case NEST_MIN:
        *out = let(e, e->n->op == NEST_MAX ? SC_max : SC_min, *in, lower_body(&e->body, &e->expr));
        return;
    case NEST_SUM:
        break;
    }
    if (lower_body_product(&e->body, &e->expr, &x, &y))
        *out = loop_let(cursor(e), SC_fma, (LVal[]){x, y, *in}, 3, DT_NONE);
    else
        *out = let(e, SC_add, *in, lower_body(&e->body, &e->expr));
}

/* ---- loops */

static void reduce(const NestEmit *e, int level, const LVal *in, int n, LVal *out);

/* One run of terms in f32, to the sum in f64. */
static void add_run(const NestEmit *e, int level, LVal in, LVal *out) {
    LoopCursor *c = cursor(e);
    LVal run;
    if (level == e->n_limits) {
        run = lower_body(&e->body, &e->expr);
    } else {
        NestEmit terms = *e;
        LVal zero = loop_const(c, (LType){DT_F32, 1}, (ScalarValue){0});
        terms.narrow = -1;
        reduce(&terms, level, &zero, 1, &run);
    }
    *out = let(e, SC_add, in, loop_let(c, SC_cast, &run, 1, DT_F64));
}

static void reduce(const NestEmit *e, int level, const LVal *in, int n, LVal *out) {
    if (level == e->narrow) {
        add_run(e, level, *in, out);
        return;
    }
    if (level == e->n_limits) {
        combine(e, in, out);
        return;
    }
    LoopCursor *c = cursor(e);
    const NestLimit *l = &e->limits[level];
    LoopBody *outer = c->at;
    LVal when = {0};
    if (level == e->when_level)
        when = loop_load(c, e->body.operands[e->when->operand], e->when->map);
    LoopStmt *s = loop_for(c, l->index, l->lo, l->n_lo, l->hi, l->n_hi, 1, in, n);
    loop_when(c, s, when);
    LVal inner[2];
    reduce(e, level + 1, s->phi, n, inner);
    loop_end(c, s, outer, inner);
    for (int k = 0; k < n; k++)
        out[k] = s->out[k];
}

static DType body_result_type(const Body *b) { return b->insts[b->n - 1].dt; }

LVal lower_added(LowerBuilder *lb, BufId buf, const Dim *subs, Dim first, LVal v) {
    LoopCursor *c = &lb->c;
    LVal at = loop_index(c, first, 1, 0), none = loop_int(c, (LType){DT_I64, 1}, 0);
    LVal starts = loop_let(c, SC_eq, (LVal[]){at, none}, 2, DT_NONE);
    LVal sum = loop_let(c, SC_add, (LVal[]){loop_load(c, buf, subs), v}, 2, DT_NONE);
    return loop_let(c, SC_select, (LVal[]){starts, v, sum}, 3, DT_NONE);
}

static LVal cast(const NestEmit *e, LVal v, DType dt) {
    LoopCursor *c = cursor(e);
    return loop_type(c->f, v).dt == dt ? v : loop_let(c, SC_cast, &v, 1, dt);
}

/* A cell to add to; the sum of it. What a wide sum hands on is f32, that over a slice of rows is f64. */
static LVal begun(const NestEmit *e, LVal v) { return e->narrow >= 0 ? cast(e, v, DT_F64) : v; }
static LVal finished(const NestEmit *e, LVal v) {
    bool sum = e->narrow >= 0 && loop_bufp(cursor(e)->f, e->out)->dt == DT_F64 && !e->post.n;
    return e->narrow >= 0 ? cast(e, v, sum ? DT_F64 : DT_F32) : v;
}

static LVal start_of_cell(const NestEmit *e) {
    LoopCursor *c = cursor(e);
    if (e->accumulate && !e->grouped)
        return begun(e, loop_load(c, e->out, e->at));
    if (e->init.id)
        return begun(e, loop_load(c, e->init, e->n->map));
    DType dt = e->narrow >= 0 ? DT_F64 : body_result_type(&e->expr); /* post may give the cell another type */
    return loop_const(c, (LType){dt, 1}, neutral(e->n->op, dt));
}

static void cell(NestEmit *e) {
    LoopCursor *c = cursor(e);
    LVal in[2] = {{0}, {0}}, out[2];
    bool plain_store = (e->n->op == NEST_STORE && e->n_limits == e->n_outputs) || e->is_term;
    if (plain_store) {
        out[0] = lower_body(&e->body, &e->expr);
    } else if (e->n->op == NEST_ARGMAX) {
        DType dt = body_result_type(&e->expr);
        in[0] = loop_const(c, (LType){dt, 1}, neutral(NEST_MAX, dt));
        in[1] = loop_int(c, (LType){DT_I32, 1}, -1);
        reduce(e, e->n_outputs, in, 2, out);
        out[0] = out[1];
    } else {
        in[0] = start_of_cell(e);
        reduce(e, e->n_outputs, in, 1, out);
    }
    out[0] = finished(e, out[0]);
    if (e->post.n) {
        e->body.acc = out[0];
        e->body.after = true;
        out[0] = lower_body(&e->body, &e->post);
        e->body.after = false;
    }
    const ToLoops *t = e->body.lb->pass;
    if (e->grouped)
        out[0] = lower_added(e->body.lb, e->out, e->at, t->first, out[0]);
    loop_store(c, e->out, e->at, out[0]);
}

/* The bound of the innermost output index that the nest's `need` mentions, if that is one from above. */
static Dim needed_before(const NestEmit *e, int level) {
    Ctx *ctx = e->body.lb->c.m->ctx;
    Dim need = e->n->need, coef, rest;
    int64_t by;
    for (int k = level + 1; need && k < e->n_limits; k++)
        if (dim_mentions(need, e->limits[k].index))
            return NULL;
    if (!need || !dim_mentions(need, e->limits[level].index) ||
        !dim_linear_in(ctx, need, e->limits[level].index, &coef, &rest) ||
        !dim_is_const(coef, &by) || by != -1)
        return NULL;
    return dim_addk(ctx, rest, 1);
}

static void output_loops(NestEmit *e, int level) {
    if (level == e->n_outputs) {
        cell(e);
        return;
    }
    LoopCursor *c = cursor(e);
    const NestLimit *l = &e->limits[level];
    LoopBody *outer = c->at;
    LoopStmt *s = loop_for(c, l->index, l->lo, l->n_lo, l->hi, l->n_hi, 1, NULL, 0);
    s->need = needed_before(e, level);
    output_loops(e, level + 1);
    loop_end(c, s, outer, NULL);
}

/* ---- order of the loops */

/* Output indices in the order of the result's axes, the slower index of an axis first; then the
 * reductions. */
static int *loop_order(Ctx *ctx, const Nest *n, uint64_t outputs, int *n_outputs) {
    int *order = ARENA_ARRAY(&ctx->perm, int, n->n_box + 1), k = 0;
    uint64_t placed = 0;
    for (int a = 0; a < n->rank; a++) {
        for (;;) {
            int best = -1;
            int64_t most = 0;
            for (int j = 0; j < n->n_box; j++) {
                int64_t coef = aff_coef(ctx, n->map[a], n->box[j].sym);
                coef = coef < 0 ? -coef : coef;
                if ((outputs >> j & 1) && !(placed >> j & 1) && coef > most) {
                    best = j;
                    most = coef;
                }
            }
            if (best < 0)
                break;
            placed |= (uint64_t)1 << best;
            order[k++] = best;
        }
    }
    *n_outputs = k;
    for (int j = 0; j < n->n_box; j++)
        if (!(placed >> j & 1))
            order[k++] = j;
    return order;
}

static Dim row_major_number(Ctx *ctx, const Nest *n, const int *order, int from) {
    Dim lin = dim_const(ctx, 0);
    bool *reduced = ARENA_ARRAY(&ctx->perm, bool, n->n_box + 1);
    for (int k = from; k < n->n_box; k++)
        reduced[order[k]] = true;
    for (int j = 0; j < n->n_box; j++)
        if (reduced[j])
            lin = dim_add(ctx, dim_mul(ctx, lin, n->box[j].extent), dim_of(ctx, n->box[j].sym));
    return lin;
}

/* A scatter: every point adds to its cell, in the order of the box. */
static void scatter_loops(NestEmit *e, int level) {
    LoopCursor *c = cursor(e);
    if (level < e->n_limits) {
        const NestLimit *l = &e->limits[level];
        LoopBody *outer = c->at;
        LoopStmt *s = loop_for(c, l->index, l->lo, l->n_lo, l->hi, l->n_hi, 1, NULL, 0);
        scatter_loops(e, level + 1);
        loop_end(c, s, outer, NULL);
        return;
    }
    LVal in = begun(e, loop_load(c, e->out, e->at)), out;
    if (level == e->narrow)
        add_run(e, level, in, &out);
    else
        combine(e, &in, &out);
    loop_store(c, e->out, e->at, finished(e, out));
}

/* Cells that the loops may leave out hold their start beforehand; then cells start from out. */
static void start_cells(NestEmit *e, bool covered) {
    if (e->accumulate)
        return;
    if (!covered) {
        if (e->init.id)
            lower_copy(e->body.lb, e->out, e->init);
        else
            lower_fill(e->body.lb, e->out, neutral(e->n->op, e->dt));
        e->accumulate = e->n->op != NEST_ARGMAX;
    }
}

static const Dim *cell_subs(Ctx *ctx, const Nest *n, Dim group) {
    Dim *at = ARENA_ARRAY(&ctx->perm, Dim, n->rank + 1);
    int first = group ? 1 : 0;
    at[0] = group;
    for (int k = 0; k < n->rank; k++)
        at[first + k] = n->map[k];
    return at;
}

/* Terms select(mask[..], x, 0) of a sum: the loops inside those that the mask depends on run where
 * it is true. */
static void find_when(NestEmit *e) {
    const Body *b = &e->n->body;
    const BodyInst *last = &b->insts[b->n - 1];
    e->when_level = -1;
    if (e->n->op != NEST_SUM || !e->settled || last->kind != BODY_OP || last->op != SC_select)
        return;
    const BodyInst *zero = &b->insts[last->args[2]], *mask = &b->insts[last->args[0]];
    bool is_zero =
        zero->kind == BODY_CONST && (dtype_is_real(zero->dt) ? zero->k.f == 0 : zero->k.i == 0);
    if (!is_zero || mask->kind != BODY_READ || mask->has_fill)
        return;
    int level = e->n_outputs;
    for (int k = 0; k < e->n_limits; k++)
        for (int a = 0; a < mask->rank; a++)
            if (dim_mentions(mask->map[a], e->limits[k].index) && k >= level)
                level = k + 1;
    if (level >= e->n_limits)
        return;
    e->when_level = level;
    e->when = mask;
    Ctx *ctx = e->body.lb->c.m->ctx;
    BodyBuilder term = body_new(ctx);
    Body up_to = {last->args[1] + 1, b->insts};
    Body alone = body_done(&term, body_import(&term, &up_to, NULL, 0, NULL));
    e->expr = body_expand(ctx, &alone, e->body.lb->target->fma, true);
}

/* Where the runs of a wide sum begin: the innermost loops that make few terms together. */
static int runs_from(const NestEmit *e, const int *order) {
    enum { LONGEST = 64 }; /* terms; the error of a run is that of as many roundings */
    int64_t terms = 1, extent;
    int level = e->n_limits;
    if (!e->n->wide)
        return -1;
    while (e->settled && level > e->n_outputs && dim_is_const(e->n->box[order[level - 1]].extent, &extent) &&
           extent <= LONGEST / terms) {
        terms *= extent > 0 ? extent : 1;
        level--;
    }
    return level;
}

/* Without indices of one value (which no guard mentions): a loop of one iteration would hide from
 * later passes that the loops around it and in it are neighbours. */
static const Nest *without_single(Ctx *ctx, const Nest *n) {
    DimBinding *b = ARENA_ARRAY(&ctx->perm, DimBinding, n->n_box + 1);
    NestIndex *box = ARENA_ARRAY(&ctx->perm, NestIndex, n->n_box + 1);
    int kept = 0, gone = 0;
    for (int k = 0; k < n->n_box; k++) {
        bool guarded = n->box[k].extent != dim_const(ctx, 1);
        for (int g = 0; g < n->n_guards; g++)
            guarded = guarded || dim_mentions(n->guards[g].form, n->box[k].sym);
        if (guarded)
            box[kept++] = n->box[k];
        else
            b[gone++] = (DimBinding){n->box[k].sym, dim_const(ctx, 0)};
    }
    if (!gone)
        return n;
    Nest *to = ARENA_NEW(&ctx->perm, Nest);
    *to = nest_subst(ctx, n, b, gone);
    to->box = box;
    to->n_box = kept;
    return to;
}

void lower_nest(LowerBuilder *lb, const NestOp *op, const BufId *operands, BufId out, BufId init,
                Dim group) {
    Ctx *ctx = lb->c.m->ctx;
    const Nest *n = without_single(ctx, &op->nest);
    NestEmit e = {
        .body = {.lb = lb, .nest = n, .operands = operands}, .n = n, .out = out, .init = init};
    e.at = cell_subs(ctx, n, group);
    e.grouped = group != NULL;
    e.accumulate = group || (init.id && init.id == out.id);
    e.dt =
        n->op == NEST_ARGMAX ? DT_I32 : body_result_type(&n->body); /* post may have another type */
    e.name = op->name;
    e.is_term = nest_is_term(&op->nest);
    uint64_t outputs = 0;
    e.settled = nest_outputs(ctx, n, &outputs);
    int *order = loop_order(ctx, n, e.settled ? outputs : 0, &e.n_outputs);
    /* What no loop of the nest repeats stays a call: code that runs once is not worth its compile time. */
    e.expr = body_expand(ctx, &n->body, lb->target->fma, n->n_box > 0);
    e.post = body_expand(ctx, &n->post, lb->target->fma, e.n_outputs > 0);
    bool never = false;
    e.limits = nest_limits(ctx, n, order, &never);
    e.n_limits = n->n_box;
    find_when(&e);
    e.narrow = runs_from(&e, order);
    e.lin = n->op == NEST_ARGMAX ? row_major_number(ctx, n, order, e.n_outputs) : NULL;
    start_cells(&e, e.settled && !never && nest_covers(ctx, op));
    if (never)
        return;
    int first = lb->c.at->stmts.n;
    if (e.settled)
        output_loops(&e, 0);
    else
        scatter_loops(&e, 0);
    for (int k = first; k < lb->c.at->stmts.n; k++)
        if (lb->c.at->stmts.p[k]->kind == LOOP_FOR && !lb->c.at->stmts.p[k]->name)
            lb->c.at->stmts.p[k]->name = op->name;
}
