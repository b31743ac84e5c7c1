/* const and reshape: tensors of the program text, and the same elements under another shape. */
#include <string.h>

#include "ir/ops/attr.h"

/* ---- const */

static const char *const_type(Module *m, const Func *f, const Val *args, int n_args,
                              const void *attr, Type *out, int *n_out) {
    (void)f, (void)args, (void)n_args;
    const ConstAttr *a = attr;
    for (int k = 0; k < a->type.rank; k++)
        if (!dim_is_const(a->type.shape[k], NULL))
            return type_error(m, "a constant of symbolic shape");
    out[(*n_out)++] = a->type;
    return NULL;
}

static int64_t const_count(Type t) {
    int64_t n = 1, d = 0;
    for (int k = 0; k < t.rank; k++) {
        dim_is_const(t.shape[k], &d);
        n *= d;
    }
    return n;
}

static bool const_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                       Tensor *out) {
    (void)args;
    const ConstAttr *a = i->attr;
    if (!interp_tensor(in, graph_type(f, i->first), out))
        return false;
    for (int64_t k = 0; k < out->count; k++) {
        if (out->f)
            out->f[k] = a->values[k].f;
        else
            out->i[k] = a->values[k].i;
    }
    return true;
}

/* Copies a constant to the buffer that the result has already. */
static void const_copy(LowerBuilder *lb, BufId to, BufId from, Type t) {
    LoopBody *outer[MAX_RANK];
    LoopStmt *loops[MAX_RANK];
    Dim at[MAX_RANK], zero = dim_const(lb->c.m->ctx, 0);
    for (int k = 0; k < t.rank; k++) {
        DimSym s = nest_index(lb->c.m->ctx, str_fmt(lb->c.m->ctx, "i%d", k));
        outer[k] = lb->c.at;
        loops[k] = loop_for(&lb->c, s, &zero, 1, &t.shape[k], 1, 1, NULL, 0);
        at[k] = dim_of(lb->c.m->ctx, s);
    }
    loop_store(&lb->c, to, at, loop_load(&lb->c, from, at));
    for (int k = t.rank; k-- > 0;)
        loop_end(&lb->c, loops[k], outer[k], NULL);
}

static void const_lower(LowerBuilder *lb, const Inst *i) {
    const ConstAttr *a = i->attr;
    LoopBuf b = {.name = i->name,
                 .kind = BUF_CONST,
                 .dt = a->type.dt,
                 .rank = a->type.rank,
                 .shape = a->type.shape,
                 .arg = -1};
    b.data = a->values;
    b.span = i->span;
    BufId id = loop_buf(lb->c.m, lb->c.f, b);
    if (lb->buf_of[i->first.id].id)
        const_copy(lb, lb->buf_of[i->first.id], id, a->type);
    else
        lb->buf_of[i->first.id] = id;
}

static void const_print(StrBuf *sb, const Module *m, const Func *f, const Inst *i) {
    (void)m, (void)f;
    const ConstAttr *a = i->attr;
    int64_t n = const_count(a->type);
    sb_putc(sb, '{');
    for (int64_t k = 0; k < n; k++) {
        sb_put(sb, k ? ", " : "");
        if (dtype_is_real(a->type.dt))
            sb_real(sb, a->values[k].f);
        else
            sb_printf(sb, "%lld", (long long)a->values[k].i);
    }
    sb_putc(sb, '}');
}

static const void *const_read(IrReader *r) {
    ConstAttr *a = ARENA_NEW(&r->t.ctx->perm, ConstAttr);
    VEC(ScalarValue) v = {0};
    a->type = r->type;
    text_expect(&r->t, "{");
    while (!text_is(&r->t, "}") && !r->t.failed) {
        ScalarValue x = {.f = 0};
        if (dtype_is_real(a->type.dt))
            x.f = text_real(&r->t);
        else
            x.i = text_int(&r->t, "an integer");
        vec_push(&r->t.ctx->perm, &v, x);
        if (!text_accept(&r->t, ","))
            break;
    }
    text_expect(&r->t, "}");
    Dim count = type_count(r->t.ctx, a->type);
    int64_t n = -1;
    if (!r->t.failed && (!count || !dim_is_const(count, &n) || n != v.n))
        text_fail(&r->t, "%d values for a constant of this shape", v.n);
    a->values = v.p;
    return a;
}

static Func *const_sample(Module *m, int n) {
    if (n > 0)
        return NULL;
    ConstAttr *a = ARENA_NEW(&m->ctx->perm, ConstAttr);
    ScalarValue *v = ARENA_ARRAY(&m->ctx->perm, ScalarValue, 6);
    for (int k = 0; k < 6; k++)
        v[k].f = k - 2.5;
    a->type = sample_type(m, DT_F64, 2, (int64_t[]){2, 3});
    a->values = v;
    Span span = {0};
    Func *f = sample_func(m, "const_sample", NULL, 0, NULL);
    return sample_done(m, f, graph_inst(m, f, &op_const, NULL, 0, a, span, NULL)->first);
}

const OpDef op_const = {
    .name = "const",
    .n_args = 0,
    .family = FAM_SHAPE,
    .flags = OPF_PURE,
    .doc = "a tensor of the program text",
    .type = const_type,
    .vjp = NULL,
    .eval = const_eval,
    .lower = const_lower,
    .print = const_print,
    .read = const_read,
    .sample = const_sample,
};

/* ---- reshape */

static const char *reshape_type(Module *m, const Func *f, const Val *args, int n_args,
                                const void *attr, Type *out, int *n_out) {
    (void)n_args;
    const ReshapeAttr *a = attr;
    Type from = graph_type(f, args[0]);
    if (from.dt != a->type.dt)
        return type_error(m, "%s becomes %s", dtype_name(from.dt), dtype_name(a->type.dt));
    Dim x = type_count(m->ctx, from), y = type_count(m->ctx, a->type);
    if (!x || x != y)
        return type_error(m, "%s elements become %s", x ? dim_text(m->ctx, x) : "?",
                          y ? dim_text(m->ctx, y) : "?");
    out[(*n_out)++] = a->type;
    return NULL;
}

static void reshape_vjp(Module *m, Func *f, const Inst *i, const Val *g, const Val *acc, Val *d) {
    vjp_none(i, acc, d);
    if (!g[0].id)
        return;
    ReshapeAttr back = {graph_type(f, i->args[0])};
    Inst *r = graph_inst(m, f, &op_reshape, g, 1, ATTR_COPY(m->ctx, &back), i->span, i->name);
    vjp_add(m, f, i, 0, r->first, acc, d);
}

static bool reshape_spread(const SpreadCall *s, Val *out) {
    ReshapeAttr a = *(const ReshapeAttr *)s->inst->attr;
    a.type = type_lanes(s->m->ctx, a.type, s->lanes);
    out[0] = graph_inst(s->m, s->f, &op_reshape, s->args, 1, ATTR_COPY(s->m->ctx, &a),
                        s->inst->span, s->inst->name)
                 ->first;
    return true;
}

static bool reshape_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                         Tensor *out) {
    if (!interp_tensor(in, graph_type(f, i->first), out))
        return false;
    if (out->count != args[0]->count)
        return interp_fail(in, "a reshape of %lld elements to %lld", (long long)args[0]->count,
                           (long long)out->count);
    out->f = args[0]->f;
    out->i = args[0]->i;
    return true;
}

static const void *reshape_subst(Ctx *ctx, const void *attr, const DimBinding *b, int n) {
    ReshapeAttr a = {attr_type(ctx, ((const ReshapeAttr *)attr)->type, b, n)};
    return ATTR_COPY(ctx, &a);
}

static const void *reshape_read(IrReader *r) {
    ReshapeAttr a = {r->type};
    return ATTR_COPY(r->t.ctx, &a);
}

static Func *reshape_sample(Module *m, int n) {
    if (n > 0)
        return NULL;
    Val a[1];
    Type t = sample_type(m, DT_F64, 2, (int64_t[]){4, 3}),
         to = sample_type(m, DT_F64, 3, (int64_t[]){2, 3, 2});
    Func *f = sample_func(m, "reshape_sample", &t, 1, a);
    ReshapeAttr attr = {to};
    Span span = {0};
    return sample_done(
        m, f, graph_inst(m, f, &op_reshape, a, 1, ATTR_COPY(m->ctx, &attr), span, NULL)->first);
}

const OpDef op_reshape = {
    .name = "reshape",
    .n_args = 1,
    .family = FAM_SHAPE,
    .flags = OPF_PURE | OPF_VIEW | OPF_MOVES,
    .doc = "the same elements in row-major order under another shape",
    .type = reshape_type,
    .vjp = reshape_vjp,
    .spread = reshape_spread,
    .eval = reshape_eval,
    .read = reshape_read,
    .subst = reshape_subst,
    .sample = reshape_sample,
};
