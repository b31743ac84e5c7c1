/* require, stop, call, vjp: checks, constants for the derivative, functions, and requests to
 * differentiate. */
#include <math.h>
#include <string.h>

#include "ir/ops/attr.h"

/* ---- require */

static const char *require_type(Module *m, const Func *f, const Val *args, int n_args,
                                const void *attr, Type *out, int *n_out) {
    (void)n_args, (void)attr, (void)out, (void)n_out;
    return is_scalar(f, args[0], DT_BOOL) ? NULL : type_error(m, "needs a bool scalar");
}

static void require_vjp(Module *m, Func *f, const Inst *i, const Val *g, const Val *acc, Val *d) {
    (void)m, (void)f, (void)g;
    vjp_none(i, acc, d);
}

static bool require_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                         Tensor *out) {
    (void)f, (void)out;
    const RequireAttr *a = i->attr;
    return args[0]->i[0] || interp_fail(in, "line %u: %s", a->span.line, a->message);
}

static void require_lower(LowerBuilder *lb, const Inst *i) {
    const RequireAttr *a = i->attr;
    loop_require(&lb->c, loop_load(&lb->c, lower_buf(lb, i->args[0]), NULL),
                 lower_status(lb, a->span, a->message));
}

static void require_print(StrBuf *sb, const Module *m, const Func *f, const Inst *i) {
    (void)f;
    const RequireAttr *a = i->attr;
    sb_putc(sb, '{');
    text_print_string(sb, a->message);
    sb_putc(sb, ' ');
    text_print_span(sb, m->ctx, m->source, a->span);
    sb_putc(sb, '}');
}

static const void *require_read(IrReader *r) {
    RequireAttr a;
    text_expect(&r->t, "{");
    a.message = text_string(&r->t, "a message");
    a.span = text_span(&r->t);
    text_expect(&r->t, "}");
    return ATTR_COPY(r->t.ctx, &a);
}

const OpDef op_require = {
    .name = "require",
    .n_args = 1,
    .family = FAM_CONTROL,
    .flags = OPF_EFFECT,
    .doc = "ends the call with a status unless its operand holds",
    .type = require_type,
    .vjp = require_vjp,
    .eval = require_eval,
    .lower = require_lower,
    .print = require_print,
    .read = require_read,
};

/* ---- stop */

static const char *stop_type(Module *m, const Func *f, const Val *args, int n_args,
                             const void *attr, Type *out, int *n_out) {
    (void)m, (void)n_args, (void)attr;
    out[(*n_out)++] = graph_type(f, args[0]);
    return NULL;
}

static bool stop_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                      Tensor *out) {
    (void)in, (void)f, (void)i;
    *out = *args[0];
    return true;
}

static bool stop_spread(const SpreadCall *s, Val *out) {
    out[0] = graph_inst(s->m, s->f, &op_stop, s->args, 1, NULL, s->inst->span, s->inst->name)->first;
    return true;
}

const OpDef op_stop = {
    .name = "stop",
    .n_args = 1,
    .family = FAM_CONTROL,
    .flags = OPF_PURE | OPF_VIEW,
    .doc = "its operand, as a constant for derivatives",
    .type = stop_type,
    .vjp = require_vjp,
    .spread = stop_spread,
    .eval = stop_eval,
};

/* ---- call, fused: the results of another function */

static const char *results_of(Module *m, const Func *f, FuncId id, const Val *args, int n_args,
                              Type *out, int *n_out) {
    const Func *c = graph_func(m, id);
    if (!c)
        return type_error(m, "names no function");
    if (c->params.n != n_args)
        return type_error(m, "%s takes %d operands, not %d", c->name, c->params.n, n_args);
    for (int k = 0; k < n_args; k++)
        if (!type_equal(graph_type(f, args[k]), graph_type(c, c->params.p[k].val)))
            return type_error(m, "operand %d of %s has another type", k, c->name);
    if (c->results.n > MAX_RESULTS)
        return type_error(m, "%s has more than %d results", c->name, MAX_RESULTS);
    for (int k = 0; k < c->results.n; k++)
        out[(*n_out)++] = graph_type(c, c->results.p[k].val);
    return NULL;
}

static const char *call_type(Module *m, const Func *f, const Val *args, int n_args,
                             const void *attr, Type *out, int *n_out) {
    return results_of(m, f, ((const CallAttr *)attr)->func, args, n_args, out, n_out);
}

static bool run_in_place(Interp *in, FuncId id, const Tensor *const *args, Tensor *out) {
    return interp_run(in, graph_func(in->m, id), in->dims, in->n_dims, args, out);
}

static bool call_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                      Tensor *out) {
    (void)f;
    return run_in_place(in, ((const CallAttr *)i->attr)->func, args, out);
}

static void call_print(StrBuf *sb, const Module *m, const Func *f, const Inst *i) {
    (void)f;
    sb_putc(sb, '{');
    graph_print_func_name(sb, m, ((const CallAttr *)i->attr)->func);
    sb_putc(sb, '}');
}

static const void *call_read(IrReader *r) {
    text_expect(&r->t, "{");
    CallAttr a = {graph_read_func(r)};
    text_expect(&r->t, "}");
    return ATTR_COPY(r->t.ctx, &a);
}

const OpDef op_call = {
    .name = "call",
    .n_args = -1,
    .family = FAM_CONTROL,
    .flags = OPF_PURE | OPF_FUNCS,
    .doc = "the results of a function of the module",
    .type = call_type,
    .eval = call_eval,
    .print = call_print,
    .read = call_read,
};

static const char *fused_type(Module *m, const Func *f, const Val *args, int n_args,
                              const void *attr, Type *out, int *n_out) {
    return results_of(m, f, ((const FusedAttr *)attr)->body, args, n_args, out, n_out);
}

static bool fused_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                       Tensor *out) {
    (void)f;
    return run_in_place(in, ((const FusedAttr *)i->attr)->body, args, out);
}

static void fused_print(StrBuf *sb, const Module *m, const Func *f, const Inst *i) {
    (void)f;
    sb_putc(sb, '{');
    graph_print_func_name(sb, m, ((const FusedAttr *)i->attr)->body);
    sb_putc(sb, '}');
}

static const void *fused_read(IrReader *r) {
    text_expect(&r->t, "{");
    FusedAttr a = {graph_read_func(r)};
    text_expect(&r->t, "}");
    return ATTR_COPY(r->t.ctx, &a);
}

const OpDef op_fused = {
    .name = "fused",
    .n_args = -1,
    .family = FAM_CONTROL,
    .flags = OPF_PURE | OPF_FUNCS,
    .doc = "the results of a body function in one structure of loops",
    .type = fused_type,
    .eval = fused_eval,
    .print = fused_print,
    .read = fused_read,
};

/* ---- vjp */

static const char *vjp_type(Module *m, const Func *f, const Val *args, int n_args, const void *attr,
                            Type *out, int *n_out) {
    const VjpAttr *a = attr;
    if (a->n_wrt < 1 || n_args != 2 + a->n_wrt || a->n_wrt > MAX_RESULTS)
        return type_error(m, "%d operands for %d values", n_args, a->n_wrt);
    if (!type_equal(type_lanes(m->ctx, graph_type(f, args[0]), a->lanes), graph_type(f, args[1])) ||
        !dtype_is_real(graph_type(f, args[0]).dt))
        return type_error(m, "the cotangent does not have the real type of the value");
    for (int k = 2; k < n_args; k++) {
        if (!dtype_is_real(graph_type(f, args[k]).dt))
            return type_error(m, "a derivative by %s", dtype_name(graph_type(f, args[k]).dt));
        out[(*n_out)++] = type_lanes(m->ctx, graph_type(f, args[k]), a->lanes);
    }
    return NULL;
}

/* sums[l] = g_l . y, for every lane l of the cotangent, where w[at] is moved by step. */
static bool moved(Interp *in, const Func *f, const Inst *i, int w, int64_t at, double step,
                  double *sums) {
    Tensor *vals = ARENA_ARRAY(in->arena, Tensor, f->vals.n);
    bool *given = ARENA_ARRAY(in->arena, bool, f->vals.n);
    memcpy(vals, in->vals, (size_t)f->vals.n * sizeof *vals);
    Val x = i->args[2 + w], y = i->args[0];
    Tensor t = vals[x.id], g = in->vals[i->args[1].id]; /* the cotangent stays what it was */
    t.f = arena_dup(in->arena, t.f, (size_t)t.count * sizeof *t.f);
    t.f[at] += step;
    vals[x.id] = t;
    given[x.id] = true;
    if (!interp_replay(in, f, given, y, vals))
        return false;
    int64_t count = vals[y.id].count, lanes = count ? g.count / count : 0;
    for (int64_t l = 0; l < lanes; l++) {
        sums[l] = 0;
        for (int64_t k = 0; k < count; k++)
            sums[l] += g.f[k * lanes + l] * vals[y.id].f[k];
    }
    return true;
}

static bool central(Interp *in, const Func *f, const Inst *i, int w, int64_t at, double step,
                    double *slopes, int64_t lanes) {
    double *up = ARENA_ARRAY(in->arena, double, lanes + 1),
           *down = ARENA_ARRAY(in->arena, double, lanes + 1);
    bool ok = moved(in, f, i, w, at, step, up) && moved(in, f, i, w, at, -step, down);
    for (int64_t l = 0; l < lanes; l++)
        slopes[l] = ok ? (up[l] - down[l]) / (2 * step) : 0;
    return ok;
}

/* Central differences with one Richardson step; the cotangent is held fixed. */
static bool vjp_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                     Tensor *out) {
    const VjpAttr *attr = i->attr;
    int64_t lanes = attr->lanes ? interp_dim(in, attr->lanes) : 1;
    if (in->status)
        return false;
    double *wide = ARENA_ARRAY(in->arena, double, lanes + 1),
           *narrow = ARENA_ARRAY(in->arena, double, lanes + 1);
    for (int w = 0; w < i->n_results; w++) {
        const Tensor *x = args[2 + w];
        if (!interp_tensor(in, graph_type(f, inst_result(i, w)), &out[w]))
            return false;
        for (int64_t at = 0; at < x->count; at++) {
            double step = ldexp(fabs(x->f[at]) > 1 ? fabs(x->f[at]) : 1, -9 - in->finer);
            if (!central(in, f, i, w, at, step, wide, lanes) ||
                !central(in, f, i, w, at, step / 2, narrow, lanes))
                return false;
            for (int64_t l = 0; l < lanes; l++)
                out[w].f[at * lanes + l] = (4 * narrow[l] - wide[l]) / 3;
        }
    }
    return true;
}

static void vjp_print(StrBuf *sb, const Module *m, const Func *f, const Inst *i) {
    (void)m, (void)f;
    const VjpAttr *a = i->attr;
    sb_printf(sb, "{%d", a->n_wrt);
    if (a->lanes) {
        sb_put(sb, " lanes ");
        dim_print(sb, a->lanes);
    }
    sb_putc(sb, '}');
}

static const void *vjp_read(IrReader *r) {
    text_expect(&r->t, "{");
    VjpAttr a = {(int)text_int(&r->t, "a number of values"), NULL};
    if (text_accept(&r->t, "lanes"))
        a.lanes = text_dim(&r->t);
    text_expect(&r->t, "}");
    return ATTR_COPY(r->t.ctx, &a);
}

static const void *vjp_subst(Ctx *ctx, const void *attr, const DimBinding *b, int n) {
    VjpAttr a = *(const VjpAttr *)attr;
    a.lanes = a.lanes ? attr_dim(ctx, a.lanes, b, n) : NULL;
    return ATTR_COPY(ctx, &a);
}

const OpDef op_vjp = {
    .name = "vjp",
    .n_args = -1,
    .family = FAM_CONTROL,
    .flags = OPF_PURE,
    .doc = "cotangents of w.. under the cotangent g of y: vjp(y, g, w..)",
    .type = vjp_type,
    .eval = vjp_eval,
    .print = vjp_print,
    .read = vjp_read,
    .subst = vjp_subst,
};
