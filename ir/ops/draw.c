/* random and pick: values drawn with counters, so that neither slices nor threads matter
 * (ir/random.h). */
#include "ir/ops/attr.h"
#include "ir/random.h"

/* ---- random */

static const char *random_type(Module *m, const Func *f, const Val *args, int n_args,
                               const void *attr, Type *out, int *n_out) {
    (void)n_args;
    const RandomAttr *a = attr;
    if (!is_scalar(f, args[0], DT_I64) || !is_scalar(f, args[1], DT_I64))
        return type_error(m, "the seed and the step are i64 scalars");
    if ((a->kind == RANDOM_INT) == dtype_is_real(a->type.dt) || a->type.dt == DT_BOOL)
        return type_error(m, "%s is drawn as %s", a->kind == RANDOM_INT ? "an integer" : "a real",
                          dtype_name(a->type.dt));
    if (a->row_axis != 0 && a->row_axis != a->type.rank - 1)
        return type_error(m, "the axis of rows is the first or the last");
    out[(*n_out)++] = a->type;
    return NULL;
}

static void random_vjp(Module *m, Func *f, const Inst *i, const Val *g, const Val *acc, Val *d) {
    (void)m, (void)f, (void)g;
    vjp_none(i, acc, d);
}

static bool random_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                        Tensor *out) {
    const RandomAttr *a = i->attr;
    if (!interp_tensor(in, graph_type(f, i->first), out))
        return false;
    RandomKey key = {(uint64_t)args[0]->i[0], (uint64_t)a->site, (uint64_t)args[1]->i[0]};
    int64_t row0 = interp_dim(in, a->row0), below = a->k ? interp_dim(in, a->k) : 0;
    int64_t rows = out->rank ? out->shape[a->row_axis] : 1, inner = rows ? out->count / rows : 0;
    bool last = out->rank > 1 && a->row_axis > 0;
    for (int64_t at = 0; at < out->count; at++) {
        int64_t row = last ? at % rows : at / inner, rest = last ? at / rows : at % inner;
        uint64_t index = (uint64_t)((row0 + row) * inner + rest);
        if (a->kind == RANDOM_INT)
            out->i[at] = random_int(key, index, below);
        else if (a->kind == RANDOM_NORMAL)
            out->f[at] = random_normal(key, index);
        else
            out->f[at] =
                a->type.dt == DT_F32 ? random_uniform32(key, index) : random_uniform(key, index);
    }
    return in->status == NULL;
}

static const char *const kinds[] = {"uniform", "normal", "int"};

/* The runtime draws `n` numbers with indices first, first + stride, .. into consecutive cells: one
 * call where rows come first, one for each of the other cells where they come last. */
static void random_lower(LowerBuilder *lb, const Inst *i) {
    const RandomAttr *a = i->attr;
    Ctx *ctx = lb->c.m->ctx;
    Type t = attr_type(ctx, a->type, lb->bindings, lb->n_bindings);
    Dim zero = dim_const(ctx, 0), one = dim_const(ctx, 1),
        row0 = attr_dim(ctx, a->row0, lb->bindings, lb->n_bindings);
    bool last = t.rank > 1 && a->row_axis > 0;
    Dim rows = t.rank ? t.shape[a->row_axis] : one, inner = one;
    Dim at[MAX_RANK], cell = zero;
    LoopBody *outer[MAX_RANK];
    LoopStmt *loops[MAX_RANK];
    BufId out = lower_result(lb, i, 0);
    int n_loops = last ? t.rank - 1 : 0;
    for (int k = 0; k < t.rank; k++) {
        at[k] = zero;
        if (k != a->row_axis)
            inner = dim_mul(ctx, inner, t.shape[k]);
    }
    LVal seed = loop_load(&lb->c, lower_buf(lb, i->args[0]), NULL),
         step = loop_load(&lb->c, lower_buf(lb, i->args[1]), NULL);
    for (int k = 0; k < n_loops; k++) {
        DimSym s = nest_index(ctx, str_fmt(ctx, "i%d", k));
        outer[k] = lb->c.at;
        loops[k] = loop_for(&lb->c, s, &zero, 1, &t.shape[k], 1, 1, NULL, 0);
        at[k] = dim_of(ctx, s);
        cell = dim_add(ctx, dim_mul(ctx, cell, t.shape[k]), at[k]);
    }
    Dim first = dim_add(ctx, dim_mul(ctx, row0, inner), cell);
    Dim stride = last ? inner : one, n = last ? rows : dim_mul(ctx, rows, inner);
    LVal args[7] = {seed, loop_int(&lb->c, (LType){DT_I64, 1}, a->site), step};
    args[3] = loop_index(&lb->c, first, 1, 0);
    args[4] = loop_index(&lb->c, stride, 1, 0);
    args[5] = loop_index(&lb->c, n, 1, 0);
    if (a->kind == RANDOM_INT)
        args[6] = loop_index(&lb->c, attr_dim(ctx, a->k, lb->bindings, lb->n_bindings), 1, 0);
    Str callee = str_fmt(ctx, "random_%s_%s", kinds[a->kind], dtype_name(t.dt));
    const Dim *subs = at;
    loop_bufp(lb->c.f, out)->written = true;
    loop_call(&lb->c, callee, &out, &subs, 1, args, a->kind == RANDOM_INT ? 7 : 6,
              (LType){DT_NONE, 0});
    for (int k = n_loops; k-- > 0;)
        loop_end(&lb->c, loops[k], outer[k], NULL);
}

static void random_print(StrBuf *sb, const Module *m, const Func *f, const Inst *i) {
    (void)m, (void)f;
    const RandomAttr *a = i->attr;
    sb_printf(sb, "{%s site %lld row0 ", kinds[a->kind], (long long)a->site);
    dim_print(sb, a->row0);
    sb_printf(sb, " axis %d", a->row_axis);
    if (a->kind == RANDOM_INT) {
        sb_put(sb, " below ");
        dim_print(sb, a->k);
    }
    sb_putc(sb, '}');
}

static const void *random_read(IrReader *r) {
    RandomAttr a = {.type = r->type};
    text_expect(&r->t, "{");
    Str kind = text_word(&r->t, "uniform, normal or int");
    a.kind = kind == str_of(r->t.ctx, "uniform")  ? RANDOM_UNIFORM
             : kind == str_of(r->t.ctx, "normal") ? RANDOM_NORMAL
                                                  : RANDOM_INT;
    if (kind != str_of(r->t.ctx, kinds[a.kind]))
        text_fail(&r->t, "`%s` is no kind of random numbers", kind);
    text_expect(&r->t, "site");
    a.site = text_int(&r->t, "the number of the site");
    text_expect(&r->t, "row0");
    a.row0 = text_dim(&r->t);
    text_expect(&r->t, "axis");
    a.row_axis = (int)text_int(&r->t, "an axis");
    if (a.kind == RANDOM_INT) {
        text_expect(&r->t, "below");
        a.k = text_dim(&r->t);
    }
    text_expect(&r->t, "}");
    return ATTR_COPY(r->t.ctx, &a);
}

static const void *random_subst(Ctx *ctx, const void *attr, const DimBinding *b, int n) {
    RandomAttr a = *(const RandomAttr *)attr;
    a.type = attr_type(ctx, a.type, b, n);
    a.row0 = attr_dim(ctx, a.row0, b, n);
    a.k = attr_dim(ctx, a.k, b, n);
    return ATTR_COPY(ctx, &a);
}

static Val sample_i64(Module *m, Func *f, int64_t v) {
    ConstAttr *a = ARENA_NEW(&m->ctx->perm, ConstAttr);
    ScalarValue *value = ARENA_NEW(&m->ctx->perm, ScalarValue);
    value->i = v;
    a->type = type_scalar(DT_I64);
    a->values = value;
    return graph_inst(m, f, &op_const, NULL, 0, a, (Span){0}, NULL)->first;
}

static Func *random_sample(Module *m, int n) {
    if (n > 4)
        return NULL;
    static const RandomKind kind[] = {RANDOM_UNIFORM, RANDOM_UNIFORM, RANDOM_NORMAL, RANDOM_INT,
                                      RANDOM_UNIFORM};
    DType dt = n == 0 ? DT_F32 : n == 3 ? DT_I32 : DT_F64;
    Func *f = sample_func(m, "random_sample", NULL, 0, NULL);
    RandomAttr a = {.site = n,
                    .row0 = dim_const(m->ctx, n == 4 ? 3 : 0),
                    .row_axis = n == 4,
                    .type = sample_type(m, dt, 2, (int64_t[]){3, 4})};
    a.kind = kind[n];
    a.k = a.kind == RANDOM_INT ? dim_const(m->ctx, 10) : NULL;
    Val args[2] = {sample_i64(m, f, 7), sample_i64(m, f, 2)};
    return sample_done(
        m, f, graph_inst(m, f, &op_random, args, 2, ATTR_COPY(m->ctx, &a), (Span){0}, NULL)->first);
}

const OpDef op_random = {
    .name = "random",
    .n_args = 2,
    .family = FAM_RANDOM,
    .flags = OPF_PURE,
    .doc = "numbers keyed by (seed, site, step) and counted by the global element index",
    .type = random_type,
    .vjp = random_vjp,
    .eval = random_eval,
    .lower = random_lower,
    .print = random_print,
    .read = random_read,
    .subst = random_subst,
    .sample = random_sample,
};

/* ---- pick */

static const char *pick_type(Module *m, const Func *f, const Val *args, int n_args,
                             const void *attr, Type *out, int *n_out) {
    (void)n_args;
    const PickAttr *a = attr;
    Type x = graph_type(f, args[0]);
    if (x.rank < 1 || !dtype_is_real(x.dt) || !is_scalar(f, args[1], DT_I64))
        return type_error(m, "needs real rows and an i64 seed");
    Dim shape[MAX_RANK];
    for (int k = 0; k < x.rank; k++)
        shape[k] = k ? x.shape[k] : a->k;
    out[(*n_out)++] = type_new(m->ctx, x.dt, x.rank, shape);
    return NULL;
}

/* k-means++: row j is drawn with probability proportional to the squared distance from the rows
 * before it, the first one and where all distances are 0 uniformly; the j-th draw has index j. */
static bool pick_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                      Tensor *out) {
    const PickAttr *a = i->attr;
    const Tensor *x = args[0];
    RandomKey key = {(uint64_t)args[1]->i[0], (uint64_t)a->site, 0};
    if (!interp_tensor(in, graph_type(f, i->first), out))
        return false;
    int64_t n = x->shape[0], k = out->shape[0], d = n ? x->count / n : 0;
    double *distance = ARENA_ARRAY(in->arena, double, n + 1);
    for (int64_t j = 0; j < k && n; j++) {
        double total = 0, u = random_uniform(key, (uint64_t)j);
        for (int64_t r = 0; r < n && j; r++)
            total += distance[r];
        int64_t row = (int64_t)(u * (double)n);
        if (total > 0) {
            double sum = distance[0];
            for (row = 0; row < n - 1 && !(sum > u * total);)
                sum += distance[++row];
        }
        for (int64_t c = 0; c < d; c++)
            out->f[j * d + c] = x->f[row * d + c];
        for (int64_t r = 0; r < n; r++) {
            double s = 0;
            for (int64_t c = 0; c < d; c++) {
                double t = x->f[r * d + c] - x->f[row * d + c];
                s += t * t;
            }
            distance[r] = j == 0 || s < distance[r] ? s : distance[r];
        }
    }
    return true;
}

/* pick_f32(out, x; n, d, k, seed, site). Distances are computed again for each row, since an init
 * has no work memory. */
static void pick_lower(LowerBuilder *lb, const Inst *i) {
    const PickAttr *a = i->attr;
    Ctx *ctx = lb->c.m->ctx;
    Type x = graph_type(lb->func, i->args[0]);
    Dim zeros[MAX_RANK], d = dim_const(ctx, 1),
                         k = attr_dim(ctx, a->k, lb->bindings, lb->n_bindings);
    for (int j = 0; j < x.rank; j++) {
        zeros[j] = dim_const(ctx, 0);
        d = j ? dim_mul(ctx, d, x.shape[j]) : d;
    }
    BufId bufs[2] = {lower_result(lb, i, 0), lower_buf(lb, i->args[0])};
    const Dim *subs[2] = {zeros, zeros};
    LVal args[5] = {loop_index(&lb->c, x.shape[0], 1, 0), loop_index(&lb->c, d, 1, 0),
                    loop_index(&lb->c, k, 1, 0), loop_load(&lb->c, lower_buf(lb, i->args[1]), NULL),
                    loop_int(&lb->c, (LType){DT_I64, 1}, a->site)};
    loop_bufp(lb->c.f, bufs[0])->written = true;
    loop_call(&lb->c, str_fmt(ctx, "pick_%s", dtype_name(x.dt)), bufs, subs, 2, args, 5,
              (LType){DT_NONE, 0});
}

static void pick_print(StrBuf *sb, const Module *m, const Func *f, const Inst *i) {
    (void)m, (void)f;
    const PickAttr *a = i->attr;
    sb_put(sb, "{");
    dim_print(sb, a->k);
    sb_printf(sb, " site %lld}", (long long)a->site);
}

static const void *pick_read(IrReader *r) {
    PickAttr a;
    text_expect(&r->t, "{");
    a.k = text_dim(&r->t);
    text_expect(&r->t, "site");
    a.site = text_int(&r->t, "the number of the site");
    text_expect(&r->t, "}");
    return ATTR_COPY(r->t.ctx, &a);
}

static const void *pick_subst(Ctx *ctx, const void *attr, const DimBinding *b, int n) {
    PickAttr a = *(const PickAttr *)attr;
    a.k = attr_dim(ctx, a.k, b, n);
    return ATTR_COPY(ctx, &a);
}

static Func *pick_sample(Module *m, int n) {
    if (n > 0)
        return NULL;
    Val x;
    Type t = sample_type(m, DT_F64, 2, (int64_t[]){6, 2});
    Func *f = sample_func(m, "pick_sample", &t, 1, &x);
    PickAttr a = {dim_const(m->ctx, 3), 4};
    return sample_done(m, f,
                       graph_inst(m, f, &op_pick, (Val[]){x, sample_i64(m, f, 11)}, 2,
                                  ATTR_COPY(m->ctx, &a), (Span){0}, NULL)
                           ->first);
}

const OpDef op_pick = {
    .name = "pick",
    .n_args = 2,
    .family = FAM_RANDOM,
    .flags = OPF_PURE,
    .doc = "rows to start a clustering from (k-means++)",
    .type = pick_type,
    .eval = pick_eval,
    .lower = pick_lower,
    .print = pick_print,
    .read = pick_read,
    .subst = pick_subst,
    .sample = pick_sample,
};
