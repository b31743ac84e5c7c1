/* to_loops: fits. The optimiser asks for evaluations (reverse communication, runtime/rt_fit.h):
 *
 *   u = start;  ctl = 0
 *   while { body(u, args..) -> f, g, h;  rt_newton(u, f, g, h, ends, state, ctl, p);  ctl[0] != 0 }
 *   rt_newton_cov(cov, h, state, p)
 *
 * Where a body is sums over many rows, a rough fit of a part of the rows goes before, and the other
 * one begins where that ended, if it came to an end (rt_restart.c): it then needs few passes over
 * all rows.
 *
 * Rows of residuals that one batch computes are folded as they come (to_loops_fold.c).
 *
 * The body's loops are those of any function: their parallel loops are jobs inside the while. */
#include "passes/to_loops.h"

enum {
    PART = 32,       /* one row of so many is in the part */
    EACH = 32 * PART /* rows, for each parameter: fewer in the part say too little */
};

typedef struct FitEmit {
    LowerBuilder *lb;
    const Inst *inst;
    const FitAttr *attr;
    const FitMethodDef *method;
    const Func *body;
    LowerBuilder inner;
    BufId *copy_to; /* by result of the body: id 0: computed there */
    BufId ends, state, triangle, start;
    RowFold fold;
    bool folds; /* rows go into the triangle as they are computed */
    Dim p;
} FitEmit;

static Ctx *ctx_of(const FitEmit *e) { return e->lb->c.m->ctx; }

static BufId out(const FitEmit *e, int k) { return lower_result(e->lb, e->inst, k); }

static BufId scratch(FitEmit *e, const char *name, int rank, const Dim *shape) {
    for (int k = 0; k < rank; k++)
        if (!shape[k])
            ctx_internal(ctx_of(e), "the memory of a fit overflows");
    Type t = type_new(ctx_of(e), DT_F64, rank, shape);
    return lower_new_buf(e->lb, t, str_of(ctx_of(e), name), e->inst->span);
}

/* Results of the body are computed where those of the fit belong, if they can be. */
static void bind_results(FitEmit *e) {
    Ctx *ctx = ctx_of(e);
    int first = fit_first(e->attr->method);
    e->copy_to = ARENA_ARRAY(&ctx->perm, BufId, e->body->results.n + 1);
    for (int k = 0; k < e->body->results.n; k++) {
        Val v = e->body->results.p[k].val;
        const Inst *def = graph_def(e->body, v);
        if (e->folds && v.id == e->fold.rows.id)
            continue;
        BufId to = out(e, first + k);
        if (def && !(def->op->flags & OPF_VIEW) && !e->inner.buf_of[v.id].id)
            e->inner.buf_of[v.id] = to;
        else
            e->copy_to[k] = to;
    }
}

static void evaluate(FitEmit *e) {
    e->inner.c = e->lb->c;
    lower_insts(&e->inner, e->body);
    e->lb->c = e->inner.c;
    e->lb->c.span = e->inst->span;
    for (int k = 0; k < e->body->results.n; k++)
        if (e->copy_to[k].id)
            lower_copy(e->lb, e->copy_to[k], e->inner.buf_of[e->body->results.p[k].val.id]);
}

/* ---- calls of the runtime: everything from its first element */

static void call(FitEmit *e, const char *name, const BufId *bufs, int n_bufs, const Dim *sizes,
                 int n) {
    enum { MOST = 8 };
    Ctx *ctx = ctx_of(e);
    Dim *zeros = ARENA_ARRAY(&ctx->perm, Dim, MAX_RANK);
    const Dim *subs[MOST];
    LVal args[MOST];
    for (int k = 0; k < MAX_RANK; k++)
        zeros[k] = dim_const(ctx, 0);
    for (int k = 0; k < n_bufs; k++) {
        subs[k] = zeros;
        loop_storage(e->lb->c.f, bufs[k])->written |=
            loop_storage(e->lb->c.f, bufs[k])->kind == BUF_WORK;
    }
    for (int k = 0; k < n; k++)
        args[k] = loop_index(&e->lb->c, sizes[k], 1, 0);
    loop_call(&e->lb->c, str_of(ctx, name), bufs, subs, n_bufs, args, n, (LType){DT_NONE, 0});
}

static LVal load_ctl(FitEmit *e, int k) {
    Dim at = dim_const(ctx_of(e), k);
    return loop_load(&e->lb->c, out(e, FIT_CTL), &at);
}

/* ctl says whether the caller asks to stop; the optimiser then ends at its best point. */
static void ask(FitEmit *e) {
    Dim at = dim_const(ctx_of(e), FIT_CTL_STOP);
    loop_store(&e->lb->c, out(e, FIT_CTL), &at, loop_poll(&e->lb->c));
}

static void step_value(FitEmit *e) {
    int first = fit_first(e->attr->method), n = 0;
    BufId bufs[8] = {out(e, FIT_POINT)};
    for (n = 1; n <= e->method->n_results; n++)
        bufs[n] = out(e, first + n - 1);
    bufs[n++] = e->ends;
    bufs[n++] = e->state;
    bufs[n++] = out(e, FIT_CTL);
    call(e, e->method->name, bufs, n, &e->p, 1);
}

/* The rows of residuals that were not folded go into the triangle, or into a pass of refinement
 * (ctl[0] == 2). */
static void feed_rows(FitEmit *e) {
    LoopCursor *c = &e->lb->c;
    LVal args[2] = {load_ctl(e, 0), loop_int(c, (LType){DT_I64, 1}, 2)};
    LVal refine = loop_let(c, SC_eq, args, 2, DT_NONE);
    LoopBody *outer = c->at;
    LoopStmt *s = loop_if(c, refine);
    int first = fit_first(e->attr->method), n = e->body->results.n;
    for (int k = e->folds; k < n && !e->method->has_ends; k++) {
        BufId rows = out(e, first + k);
        Dim sizes[2] = {loop_bufp(c->f, rows)->shape[0], e->p};
        call(e, "lsq_rows", (BufId[]){e->state, rows}, 2, sizes, 2);
    }
    c->at = &s->orelse;
    if (!e->folds)
        lower_fill(e->lb, e->triangle, (ScalarValue){0});
    for (int k = e->folds; k < n; k++) { /* destroyed: the next evaluation writes them anew */
        BufId rows = out(e, first + k);
        const Dim *shape = loop_bufp(c->f, rows)->shape;
        Dim sizes[2] = {shape[0], shape[1]};
        call(e, "qr_rows", (BufId[]){e->triangle, rows}, 2, sizes, 2);
    }
    loop_end(c, s, outer, NULL);
}

static void step_squares(FitEmit *e) {
    int n = 2;
    BufId bufs[5] = {out(e, FIT_POINT), e->triangle};
    Dim sizes[2] = {e->p, lower_dim(e->lb, e->attr->rows)};
    if (e->body->results.n > e->folds)
        feed_rows(e);
    if (e->method->has_ends)
        bufs[n++] = e->ends;
    bufs[n++] = e->state;
    bufs[n++] = out(e, FIT_CTL);
    call(e, e->method->name, bufs, n, sizes, 2);
}

static void covariance(FitEmit *e) {
    int first = fit_first(e->attr->method);
    if (e->method->is_squares) {
        BufId one = scratch(e, "unit", 0, NULL);
        loop_store(&e->lb->c, one, NULL, loop_real(&e->lb->c, (LType){DT_F64, 1}, 1));
        call(e, e->method->cov, (BufId[]){out(e, FIT_COV), e->triangle, e->state, one}, 4, &e->p,
             1);
        return;
    }
    call(e, e->method->cov,
         (BufId[]){out(e, FIT_COV), out(e, first + e->method->n_results - 1), e->state}, 3, &e->p,
         1);
}

static void figures(FitEmit *e) {
    Ctx *ctx = ctx_of(e);
    for (int k = 0; k < FIT_STATS_SIZE; k++) {
        Dim at = dim_const(ctx, k);
        loop_store(&e->lb->c, out(e, FIT_STATS), &at, loop_load(&e->lb->c, e->state, &at));
    }
}

static void prepare_fold(FitEmit *e, Dim q) {
    Ctx *ctx = ctx_of(e);
    Dim groups = dim_const(ctx, fold_groups_of(&e->fold)), part = dim_addk(ctx, dim_scale(ctx, e->p, 5), 64);
    RowFold *f = &e->fold;
    f->ctl = out(e, FIT_CTL);
    f->state = e->state;
    f->r = e->triangle;
    f->p = e->p;
    f->triangles = scratch(e, "triangles", 3, (Dim[]){groups, q, q});
    if (!e->method->has_ends)
        f->parts = scratch(e, "parts", 2, (Dim[]){groups, part});
}

static void prepare(FitEmit *e) {
    LowerBuilder *lb = e->lb;
    Ctx *ctx = ctx_of(e);
    Dim q = dim_addk(ctx, e->p, 1), size = fit_state_size(ctx, e->attr->method, e->p);
    e->ends = lower_buf(lb, e->inst->args[1]);
    e->state = scratch(e, "state", 1, &size);
    lower_copy(lb, out(e, FIT_POINT), lower_buf(lb, e->inst->args[0]));
    lower_fill(lb, out(e, FIT_CTL), (ScalarValue){0});
    if (e->attr->limit) {
        Dim at = dim_const(ctx, FIT_CTL_LIMIT);
        loop_store(&lb->c, out(e, FIT_CTL), &at,
                   loop_int(&lb->c, (LType){DT_I64, 1}, e->attr->limit));
    }
    e->inner = *lb;
    e->inner.func = e->body;
    e->folds = e->method->is_squares && fold_possible(e->body, &e->fold);
    e->inner.buf_of = ARENA_ARRAY(&ctx->perm, BufId, e->body->vals.n + 1);
    e->inner.buf_of[e->body->params.p[0].val.id] = out(e, FIT_POINT);
    for (int k = 1; k < e->body->params.n; k++)
        e->inner.buf_of[e->body->params.p[k].val.id] = lower_buf(lb, e->inst->args[k + 1]);
    bind_results(e);
    e->inner.same_as = lower_coalesce(&ctx->perm, e->body, e->inner.buf_of);
    if (e->method->is_squares)
        e->triangle = scratch(e, "r", 2, (Dim[]){q, q});
    if (e->folds)
        prepare_fold(e, q);
}

/* ---- stages */

/* The rows of a body that is nothing but sums over them, else NULL. */
static Dim rows_summed(const FitEmit *e) {
    Dim rows = NULL;
    for (int k = 0; k < e->body->insts.n; k++) {
        const Inst *i = e->body->insts.p[k];
        if (i->op != &op_batch)
            continue;
        const BatchAttr *a = i->attr;
        for (int j = 0; j < a->n_results; j++)
            if (a->results[j] != BATCH_SUM)
                return NULL;
        if (rows && rows != a->n)
            return NULL;
        rows = a->n;
    }
    return rows;
}

static void store_ctl(FitEmit *e, int k, int64_t v) {
    Dim at = dim_const(ctx_of(e), k);
    loop_store(&e->lb->c, out(e, FIT_CTL), &at, loop_int(&e->lb->c, (LType){DT_I64, 1}, v));
}

/* Evaluates and steps until there is an answer; part: of the rows (ToLoops). */
static void optimise(FitEmit *e, int64_t part) {
    LoopCursor *c = &e->lb->c;
    LoopBody *outer = c->at;
    Arena *arena = &ctx_of(e)->perm;
    LowerBuilder inner = e->inner;
    ToLoops t = *(const ToLoops *)e->lb->pass;
    t.part = part;
    t.fold = e->folds ? &e->fold : NULL;
    e->inner.pass = &t;
    e->inner.buf_of =
        arena_dup(arena, inner.buf_of, sizeof *inner.buf_of * (size_t)(e->body->vals.n + 1));
    LoopStmt *s = loop_while(c, NULL, 0);
    evaluate(e);
    ask(e);
    if (e->method->is_squares)
        step_squares(e);
    else
        step_value(e);
    if (e->start.id && !part)
        call(e, "restart", (BufId[]){out(e, FIT_POINT), e->start, out(e, FIT_CTL)}, 3, &e->p, 1);
    LVal args[2] = {load_ctl(e, 0), loop_int(c, (LType){DT_I64, 1}, 0)};
    LVal again = loop_let(c, SC_ne, args, 2, DT_NONE);
    loop_end(c, s, outer, &again);
    e->inner = inner;
}

/* The rough stage, where there are rows enough. */
static void begin_with_part(FitEmit *e, Dim rows) {
    enum { ROUGH = 1 }; /* FIT_ROUGH */
    LoopCursor *c = &e->lb->c;
    LoopBody *outer = c->at;
    Dim n = lower_dim(e->lb, rows), each = dim_scale(ctx_of(e), e->p, EACH);
    if (!each)
        return;
    e->start = lower_buf(e->lb, e->inst->args[0]);
    LVal count = loop_index(c, n, 1, 0);
    LVal many =
        loop_let(c, SC_le, (LVal[]){loop_int(c, (LType){DT_I64, 1}, FIT_MANY_ROWS), count}, 2, DT_NONE);
    LVal enough = loop_let(c, SC_le, (LVal[]){loop_index(c, each, 1, 0), count}, 2, DT_NONE);
    LoopStmt *s = loop_if(c, loop_let(c, SC_and, (LVal[]){many, enough}, 2, DT_NONE));
    store_ctl(e, 13, ROUGH);
    optimise(e, PART);
    call(e, "restart", (BufId[]){out(e, FIT_POINT), e->start, out(e, FIT_CTL)}, 3, &e->p, 1);
    loop_end(c, s, outer, NULL);
}

void lower_fit(LowerBuilder *lb, const Inst *i) {
    FitEmit e = {.lb = lb, .inst = i, .attr = i->attr};
    e.method = fit_method(e.attr->method);
    e.body = graph_func(lb->graph, e.attr->body);
    e.p = lower_dim(lb, graph_type(lb->func, i->args[0]).shape[0]);
    prepare(&e);
    Dim rows = rows_summed(&e);
    if (e.attr->method == FIT_NEWTON && !e.attr->limit && rows) /* else it begins near the mode */
        begin_with_part(&e, rows);
    optimise(&e, 0);
    if (e.method->cov)
        covariance(&e);
    figures(&e);
}
