/* gather and scatter_add: subscripts that are values. */
#include <string.h>

#include "ir/ops/attr.h"

/* ---- types */

/* The result of gather: x's axes after the first, with those of the subscripts put in. */
static const char *gathered(Module *m, Type x, Type s, int at, Type *out) {
    Dim shape[2 * MAX_RANK];
    int rank = 0;
    if (x.rank < 1 || (s.dt != DT_I32 && s.dt != DT_I64))
        return type_error(m, "needs an operand with an axis and integer subscripts");
    if (at < 0 || at > x.rank - 1 || x.rank - 1 + s.rank > MAX_RANK)
        return type_error(m, "the subscripts' axes have no place %d in the result", at);
    for (int k = 1; k <= at; k++)
        shape[rank++] = x.shape[k];
    for (int k = 0; k < s.rank; k++)
        shape[rank++] = s.shape[k];
    for (int k = at + 1; k < x.rank; k++)
        shape[rank++] = x.shape[k];
    *out = type_new(m->ctx, x.dt, rank, shape);
    return NULL;
}

static const char *gather_type(Module *m, const Func *f, const Val *args, int n_args,
                               const void *attr, Type *out, int *n_out) {
    (void)n_args;
    const GatherAttr *a = attr;
    return gathered(m, graph_type(f, args[0]), graph_type(f, args[1]), a->at, &out[(*n_out)++]);
}

static const char *scatter_type(Module *m, const Func *f, const Val *args, int n_args,
                                const void *attr, Type *out, int *n_out) {
    (void)n_args;
    const GatherAttr *a = attr;
    Type x = graph_type(f, args[0]), u;
    const char *why = gathered(m, x, graph_type(f, args[1]), a->at, &u);
    if (why)
        return why;
    if (!type_equal(u, graph_type(f, args[2])))
        return type_error(m, "the values do not have the shape of the gathered cells");
    out[(*n_out)++] = x;
    return NULL;
}

/* ---- derivatives */

static void gather_vjp(Module *m, Func *f, const Inst *i, const Val *g, const Val *acc, Val *d) {
    vjp_none(i, acc, d);
    Type x = graph_type(f, i->args[0]);
    if (!g[0].id || !dtype_is_real(x.dt))
        return;
    Val into = acc[0].id ? acc[0] : graph_fill(m, f, x, 0, i->span, i->name);
    d[0] = graph_inst(m, f, &op_scatter_add, (Val[]){into, i->args[1], g[0]}, 3, i->attr, i->span,
                      i->name)
               ->first;
}

static void scatter_vjp(Module *m, Func *f, const Inst *i, const Val *g, const Val *acc, Val *d) {
    vjp_none(i, acc, d);
    if (!g[0].id)
        return;
    vjp_add(m, f, i, 0, g[0], acc, d);
    Inst *u = graph_inst(m, f, &op_gather, (Val[]){g[0], i->args[1]}, 2, i->attr, i->span, i->name);
    vjp_add(m, f, i, 2, u->first, acc, d);
}

/* ---- values */

typedef struct Walk { /* sizes of r.., s.., t.. */
    int64_t outer, subs, inner, first;
} Walk;

static Walk walk_of(const Tensor *x, const Tensor *s, int at) {
    Walk w = {1, s->count, 1, x->shape[0]};
    for (int k = 1; k < x->rank; k++)
        *(k <= at ? &w.outer : &w.inner) *= x->shape[k];
    return w;
}

static bool in_range(Interp *in, const Inst *i, int64_t v, int64_t n) {
    if (v >= 0 && v < n)
        return true;
    return interp_fail(in, "line %u: the subscript %lld is outside 0..%lld", i->span.line,
                       (long long)v, (long long)n - 1);
}

static bool gather_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                        Tensor *out) {
    const GatherAttr *a = i->attr;
    const Tensor *x = args[0], *s = args[1];
    Walk w = walk_of(x, s, a->at);
    if (!interp_tensor(in, graph_type(f, i->first), out))
        return false;
    for (int64_t k = 0; k < s->count; k++)
        if (!in_range(in, i, s->i[k], w.first))
            return false;
    for (int64_t r = 0; r < w.outer; r++)
        for (int64_t k = 0; k < w.subs; k++)
            for (int64_t t = 0; t < w.inner; t++) {
                int64_t from = (s->i[k] * w.outer + r) * w.inner + t,
                        to = (r * w.subs + k) * w.inner + t;
                if (out->f)
                    out->f[to] = x->f[from];
                else
                    out->i[to] = x->i[from];
            }
    return true;
}

static bool scatter_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                         Tensor *out) {
    const GatherAttr *a = i->attr;
    const Tensor *x = args[0], *s = args[1], *u = args[2];
    Walk w = walk_of(x, s, a->at);
    if (!interp_tensor(in, graph_type(f, i->first), out))
        return false;
    if (out->f)
        memcpy(out->f, x->f, (size_t)x->count * sizeof *x->f);
    else
        memcpy(out->i, x->i, (size_t)x->count * sizeof *x->i);
    for (int64_t k = 0; k < w.subs; k++) {
        if (!in_range(in, i, s->i[k], w.first))
            return false;
        for (int64_t r = 0; r < w.outer; r++)
            for (int64_t t = 0; t < w.inner; t++) {
                int64_t to = (s->i[k] * w.outer + r) * w.inner + t,
                        from = (r * w.subs + k) * w.inner + t;
                if (out->f)
                    out->f[to] += u->f[from];
                else
                    out->i[to] += u->i[from];
            }
    }
    return true;
}

/* ---- loops: over s, then r and t; the first subscript is a value */

typedef struct Nested {
    LoopBody *outer[2 * MAX_RANK];
    LoopStmt *loops[2 * MAX_RANK];
    int n;
} Nested;

static Dim open_axis(LowerBuilder *lb, Nested *l, Dim extent) {
    Ctx *ctx = lb->c.m->ctx;
    DimSym s = nest_index(ctx, str_fmt(ctx, "i%d", l->n));
    Dim zero = dim_const(ctx, 0),
        e = lb->n_bindings ? attr_dim(ctx, extent, lb->bindings, lb->n_bindings) : extent;
    l->outer[l->n] = lb->c.at;
    l->loops[l->n++] = loop_for(&lb->c, s, &zero, 1, &e, 1, 1, NULL, 0);
    return dim_of(ctx, s);
}

static void close_all(LowerBuilder *lb, Nested *l) {
    while (l->n > 0) {
        l->n--;
        loop_end(&lb->c, l->loops[l->n], l->outer[l->n], NULL);
    }
}

/* A load or store of x[i[s]..]: the subscript is checked and leaves the call with a status where it
 * is outside. */
static LoopStmt *checked(LowerBuilder *lb, const Inst *i, LoopStmt *s, LVal subscript) {
    Ctx *ctx = lb->c.m->ctx;
    LVal *subs = ARENA_ARRAY(lb->c.m->arena, LVal, s->rank);
    subs[0] = subscript;
    s->sub_vals = subs;
    s->checked = true;
    s->status = lower_status(lb, i->span, str_of(ctx, "a subscript is out of range"));
    return s;
}

/* Opens the loops; fills the subscripts of the gathered cell (axis 0 is zero) and of the dense one;
 * gives the value. */
static LVal open_cells(LowerBuilder *lb, const Inst *i, Nested *l, Dim *cell, Dim *dense) {
    const GatherAttr *a = i->attr;
    Type x = graph_type(lb->func, i->args[0]), s = graph_type(lb->func, i->args[1]);
    for (int k = 0; k < s.rank; k++)
        dense[a->at + k] = open_axis(lb, l, s.shape[k]);
    cell[0] = dim_const(lb->c.m->ctx, 0);
    LVal sub = loop_load(&lb->c, lower_buf(lb, i->args[1]), dense + a->at);
    if (s.dt == DT_I32)
        sub = loop_let(&lb->c, SC_cast, &sub, 1, DT_I64);
    for (int k = 1; k < x.rank; k++) {
        cell[k] = open_axis(lb, l, x.shape[k]);
        dense[k <= a->at ? k - 1 : k - 1 + s.rank] = cell[k];
    }
    return sub;
}

static void gather_lower(LowerBuilder *lb, const Inst *i) {
    Dim cell[MAX_RANK], dense[2 * MAX_RANK];
    Nested l = {.n = 0};
    BufId out = lower_result(lb, i, 0);
    LVal sub = open_cells(lb, i, &l, cell, dense);
    LoopStmt *load = loop_load_lanes(&lb->c, lower_buf(lb, i->args[0]), cell, 1, NULL);
    checked(lb, i, load, sub);
    loop_store(&lb->c, out, dense, load->result);
    close_all(lb, &l);
}

/* Does the value, made by an instruction or shown by a view of one, have no use but this one? Then
 * its memory may take the sum. */
static bool is_spare(LowerBuilder *lb, Val v) {
    int *uses = graph_uses(&lb->c.m->ctx->perm, lb->func);
    const Inst *def = graph_def(lb->func, v);
    while (def && (def->op->flags & OPF_VIEW) && uses[v.id] == 1) {
        v = def->args[0];
        def = graph_def(lb->func, v);
    }
    const LoopBuf *b = loop_bufp(lb->c.f, loop_storage(lb->c.f, lower_buf(lb, v))->id);
    return def && uses[v.id] == 1 && (b->kind == BUF_WORK || b->kind == BUF_JOB);
}

static void scatter_lower(LowerBuilder *lb, const Inst *i) {
    Dim cell[MAX_RANK], dense[2 * MAX_RANK];
    Nested l = {.n = 0};
    Type x = graph_type(lb->func, i->args[0]);
    bool bound = lb->buf_of[i->first.id].id || (lb->same_as && lb->same_as[i->first.id].id);
    if (!bound && is_spare(lb, i->args[0]))
        lb->buf_of[i->first.id] = lower_buf(lb, i->args[0]);
    BufId out = lower_result(lb, i, 0);
    for (int k = 0; k < x.rank && out.id != lower_buf(lb, i->args[0]).id; k++)
        cell[k] = open_axis(lb, &l, x.shape[k]);
    if (l.n)
        loop_store(&lb->c, out, cell, loop_load(&lb->c, lower_buf(lb, i->args[0]), cell));
    close_all(lb, &l);
    LVal sub = open_cells(lb, i, &l, cell, dense);
    LVal add[2];
    LoopStmt *load = checked(lb, i, loop_load_lanes(&lb->c, out, cell, 1, NULL), sub);
    add[0] = load->result;
    add[1] = loop_load(&lb->c, lower_buf(lb, i->args[2]), dense);
    checked(lb, i, loop_store(&lb->c, out, cell, loop_let(&lb->c, SC_add, add, 2, DT_NONE)), sub);
    close_all(lb, &l);
}

/* ---- text, samples */

static void gather_print(StrBuf *sb, const Module *m, const Func *f, const Inst *i) {
    (void)m, (void)f;
    sb_printf(sb, "{at %d}", ((const GatherAttr *)i->attr)->at);
}

static const void *gather_read(IrReader *r) {
    text_expect(&r->t, "{");
    text_expect(&r->t, "at");
    GatherAttr a = {(int)text_int(&r->t, "a place")};
    text_expect(&r->t, "}");
    return ATTR_COPY(r->t.ctx, &a);
}

/* Subscripts 1, 0, 2, 2 as constant. */
static Val sample_subscripts(Module *m, Func *f) {
    static const int64_t at[] = {1, 0, 2, 2};
    ConstAttr *a = ARENA_NEW(&m->ctx->perm, ConstAttr);
    ScalarValue *v = ARENA_ARRAY(&m->ctx->perm, ScalarValue, 4);
    for (int k = 0; k < 4; k++)
        v[k].i = at[k];
    a->type = sample_type(m, DT_I32, 1, (int64_t[]){4});
    a->values = v;
    return graph_inst(m, f, &op_const, NULL, 0, a, (Span){0}, NULL)->first;
}

static Func *gather_sample(Module *m, int n) {
    if (n > 1)
        return NULL;
    Val x;
    Type t = sample_type(m, DT_F64, 2, (int64_t[]){3, 2});
    Func *f = sample_func(m, "gather_sample", &t, 1, &x);
    GatherAttr a = {n};
    Val v = graph_inst(m, f, &op_gather, (Val[]){x, sample_subscripts(m, f)}, 2,
                       ATTR_COPY(m->ctx, &a), (Span){0}, NULL)
                ->first;
    return sample_done(m, f, v);
}

static Func *scatter_sample(Module *m, int n) {
    if (n > 1)
        return NULL;
    Val x[2];
    Type t[2] = {sample_type(m, DT_F64, 2, (int64_t[]){3, 2}),
                 sample_type(m, DT_F64, 2, n ? (int64_t[]){2, 4} : (int64_t[]){4, 2})};
    Func *f = sample_func(m, "scatter_sample", t, 2, x);
    GatherAttr a = {n};
    Val v = graph_inst(m, f, &op_scatter_add, (Val[]){x[0], sample_subscripts(m, f), x[1]}, 3,
                       ATTR_COPY(m->ctx, &a), (Span){0}, NULL)
                ->first;
    return sample_done(m, f, v);
}

const OpDef op_gather = {
    .name = "gather",
    .n_args = 2,
    .family = FAM_INDEX,
    .flags = OPF_PURE | OPF_EFFECT | OPF_MOVES,
    .doc = "cells of the first axis named by integer subscripts",
    .type = gather_type,
    .vjp = gather_vjp,
    .spread = gather_spread,
    .eval = gather_eval,
    .lower = gather_lower,
    .print = gather_print,
    .read = gather_read,
    .sample = gather_sample,
};

const OpDef op_scatter_add = {
    .name = "scatter_add",
    .n_args = 3,
    .family = FAM_INDEX,
    .flags = OPF_PURE | OPF_EFFECT,
    .doc = "values added to the cells that integer subscripts name, in row order",
    .type = scatter_type,
    .vjp = scatter_vjp,
    .spread = scatter_spread,
    .eval = scatter_eval,
    .lower = scatter_lower,
    .print = gather_print,
    .read = gather_read,
    .sample = scatter_sample,
};
