/* nest: the stanza; its meaning is evaluated in interp_nest.c, its text is in graph_body.c, its
 * derivative in nest_vjp. */
#include "ir/interp_nest.h"
#include "ir/nest_alg.h"
#include "ir/ops/attr.h"

/* ---- substitution of dims */

static const Dim *subst_list(Ctx *ctx, const Dim *d, int n, const DimBinding *b, int n_b) {
    Dim *r = ARENA_ARRAY(&ctx->perm, Dim, n + 1);
    for (int k = 0; k < n; k++)
        r[k] = attr_dim(ctx, d[k], b, n_b);
    return r;
}

static Body subst_body(Ctx *ctx, const Body *body, const DimBinding *b, int n) {
    if (!body->n)
        return *body;
    BodyBuilder to = body_new(ctx);
    int r = body_import(&to, body, b, n, NULL);
    return body_done(&to, r);
}

static const void *nest_subst_dims(Ctx *ctx, const void *attr, const DimBinding *b, int n) {
    Nest *r = ATTR_COPY(ctx, (const Nest *)attr);
    NestIndex *box = ARENA_ARRAY(&ctx->perm, NestIndex, r->n_box + 1);
    for (int k = 0; k < r->n_box; k++)
        box[k] = (NestIndex){r->box[k].sym, attr_dim(ctx, r->box[k].extent, b, n)};
    NestGuard *guards = ARENA_ARRAY(&ctx->perm, NestGuard, r->n_guards + 1);
    for (int k = 0; k < r->n_guards; k++)
        guards[k] = (NestGuard){attr_dim(ctx, r->guards[k].form, b, n),
                                attr_dim(ctx, r->guards[k].extent, b, n)};
    r->box = box;
    r->guards = guards;
    r->need = r->need ? attr_dim(ctx, r->need, b, n) : NULL;
    r->map = subst_list(ctx, r->map, r->rank, b, n);
    r->body = subst_body(ctx, &r->body, b, n);
    r->post = subst_body(ctx, &r->post, b, n);
    return r;
}

/* ---- invariants */

static bool box_has(const Nest *n, DimSym s) {
    for (int k = 0; k < n->n_box; k++)
        if (n->box[k].sym == s)
            return true;
    return false;
}

/* Every index in d is one of the box's. */
static bool closed(const Nest *n, Dim d) {
    DimSym s[64];
    int count = d ? dim_symbols(d, s, 64) : 65;
    for (int k = 0; k < count && count <= 64; k++)
        if (s[k]->is_index && !box_has(n, s[k]))
            return false;
    return count <= 64;
}

static const char *body_types(const Module *m, const BodyInst *insts, const BodyInst *i) {
    const ScalarDef *d = scalar_def(i->op);
    bool select = i->op == SC_select;
    if (select && insts[i->args[0]].dt != DT_BOOL)
        return "the condition of a select is not bool";
    DType dt = insts[i->args[select]].dt;
    for (int k = select; k < d->arity; k++)
        if (insts[i->args[k]].dt != dt)
            return str_fmt(m->ctx, "the operands of %s differ in type", d->name);
    unsigned need = dt == DT_BOOL ? SF_BOOL : dtype_is_real(dt) ? SF_REAL : SF_INT;
    if (!(d->flags & need))
        return str_fmt(m->ctx, "%s is not defined on %s", d->name, dtype_name(dt));
    if (d->result != SR_ATTR && i->dt != (d->result == SR_BOOL ? DT_BOOL : dt))
        return str_fmt(m->ctx, "the type of %s is wrong", d->name);
    return NULL;
}

static const char *verify_body_inst(const Module *m, const Func *f, const Inst *inst, const Body *b,
                                    int k, bool post) {
    const Nest *n = inst->attr;
    const BodyInst *i = &b->insts[k];
    switch (i->kind) {
    case BODY_OP:
        for (int a = 0; a < scalar_def(i->op)->arity; a++)
            if (i->args[a] < 0 || i->args[a] >= k)
                return "a body instruction uses a later one";
        return body_types(m, b->insts, i);
    case BODY_READ: {
        if (i->operand < 0 || i->operand >= inst->n_args)
            return "a body reads an operand that is not there";
        Type t = graph_type(f, inst->args[i->operand]);
        if (t.dt != i->dt || t.rank != i->rank)
            return str_fmt(m->ctx, "a read of operand %d has another type or rank", i->operand);
        for (int a = 0; a < i->rank; a++)
            if (!closed(n, i->map[a]))
                return "a subscript uses an index that is not in the box";
        return NULL;
    }
    case BODY_INDEX:
    case BODY_DIM:
        return closed(n, i->dim) && i->dt == DT_I64
                   ? NULL
                   : "an index value uses an index that is not in the box";
    case BODY_ACC:
        return post ? NULL : "acc stands outside of post";
    default:
        return NULL;
    }
}

static const char *verify_bodies(const Module *m, const Func *f, const Inst *inst) {
    const Nest *n = inst->attr;
    for (int k = 0; k < n->body.n; k++) {
        const char *why = verify_body_inst(m, f, inst, &n->body, k, false);
        if (why)
            return why;
    }
    for (int k = 0; k < n->post.n; k++) {
        const char *why = verify_body_inst(m, f, inst, &n->post, k, true);
        if (why)
            return why;
    }
    DType dt = n->op == NEST_ARGMAX ? DT_I32 : n->body.insts[n->body.n - 1].dt;
    for (int k = 0; k < n->post.n; k++)
        if (n->post.insts[k].kind == BODY_ACC && n->post.insts[k].dt != dt)
            return "acc has another type than the body";
    return NULL;
}

static const char *nest_verify(const Module *m, const Func *f, const Inst *inst) {
    const Nest *n = inst->attr;
    Type t = graph_type(f, inst->first);
    if (!n->body.n)
        return "a nest has no body";
    if (n->rank != t.rank)
        return "the rank of the map is not that of the result";
    for (int k = 0; k < n->n_box; k++) {
        DimSym s[64];
        int count = dim_symbols(n->box[k].extent, s, 64);
        for (int a = 0; a < count && a < 64; a++)
            if (s[a]->is_index)
                return "an extent uses an index";
        for (int a = 0; a < k; a++)
            if (n->box[a].sym->name == n->box[k].sym->name)
                return "two indices have one name";
        for (int a = 0; a < f->dims.n; a++)
            if (f->dims.p[a]->name == n->box[k].sym->name)
                return "an index has the name of a dim";
        if (!n->box[k].sym->is_index)
            return "a dim stands as index";
    }
    for (int k = 0; k < n->rank; k++)
        if (!closed(n, n->map[k]))
            return "the map uses an index that is not in the box";
    for (int k = 0; k < n->n_guards; k++)
        if (!closed(n, n->guards[k].form) || !closed(n, n->guards[k].extent))
            return "a guard uses an index that is not in the box";
    if (n->need && !closed(n, n->need))
        return "what is needed depends on an index that is not in the box";
    const char *why = verify_bodies(m, f, inst);
    if (why)
        return why;
    DType acc = n->op == NEST_ARGMAX ? DT_I32 : n->body.insts[n->body.n - 1].dt;
    if (n->wide && (n->op != NEST_SUM || acc != DT_F32))
        return "only sums of f32 are added up in f64";
    bool total = n->wide && !n->post.n && t.dt == DT_F64;
    if (!total && t.dt != (n->post.n ? n->post.insts[n->post.n - 1].dt : acc))
        return "the element type of the result is not that of the body";
    if (n->init >= inst->n_args ||
        (n->init >= 0 && (graph_type(f, inst->args[n->init]).rank != t.rank ||
                          graph_type(f, inst->args[n->init]).dt != acc)))
        return "the initial value has another type";
    return NULL;
}

/* ---- derivative */

/* The initial value: its cells count where a sum adds to them and where a store leaves them. */
static Val init_cotangent(Module *m, Func *f, const NestOp *n, Val g) {
    if (n->nest.op == NEST_SUM)
        return g;
    if (n->nest.op != NEST_STORE)
        ctx_internal(m->ctx, "a derivative of the initial value of a max or min nest is asked for");
    BodyBuilder b = body_new(m->ctx);
    int zero = body_real(&b, graph_type(f, g).dt, 0);
    Nest clear = n->nest;
    clear.body = body_done(&b, zero);
    clear.init = 0;
    return graph_nest(m, f, &clear, &g, 1, n->type.dt, n->type.shape, n->span, n->name);
}

static void nest_vjp_op(Module *m, Func *f, const Inst *i, const Val *g, const Val *acc, Val *d) {
    vjp_none(i, acc, d);
    if (!g[0].id || !dtype_is_real(graph_type(f, g[0]).dt))
        return;
    NestOp n = nestop_of(f, i);
    Val arg = {0};
    if (n.nest.op == NEST_MAX || n.nest.op == NEST_MIN) {
        NestOp which = nest_argmax(m->ctx, &n);
        arg = nestop_emit(m, f, &which);
    }
    int init = n.nest.init;
    if (init >= 0)
        vjp_add(m, f, i, init, init_cotangent(m, f, &n, g[0]), acc, d);
    NestVjp *v = nest_vjp_new(m, f, &n, i->first, g[0], arg);
    for (int j = 0; j < i->n_args; j++) {
        Type t = graph_type(f, i->args[j]);
        if (!dtype_is_real(t.dt))
            continue;
        Val total = nest_vjp(v, j, d[j]);
        for (int k = 0; k < i->n_args && total.id; k++)
            if (i->args[k].id == i->args[j].id)
                d[k] = total;
    }
}

/* ---- text */

static void nest_print(StrBuf *sb, const Module *m, const Func *f, const Inst *i) {
    (void)m;
    graph_print_nest(sb, i, f->real);
}

static const void *nest_read(IrReader *r) { return graph_read_nest(r); }

/* ---- samples */

static Val sample_conv(Module *m, Func *f, const Val *a) {
    Span span = {0};
    Type x = graph_type(f, a[0]), w = graph_type(f, a[1]);
    NestMaker n = nest_maker(m, f, NEST_SUM);
    Dim shape[2] = {dim_addk(m->ctx, x.shape[0], 1), x.shape[1]};
    Dim i = maker_index(&n, "i", shape[0]), j = maker_index(&n, "j", shape[1]);
    Dim p = maker_index(&n, "p", w.shape[0]), q = maker_index(&n, "q", w.shape[1]);
    Dim row = dim_addk(m->ctx, dim_add(m->ctx, i, p), -1),
        col = dim_addk(m->ctx, dim_add(m->ctx, j, q), -1);
    int body = body_op2(&n.b, SC_mul, maker_read_fill(&n, a[0], (Dim[]){row, col}, 0),
                        maker_read(&n, a[1], (Dim[]){p, q}));
    return maker_done(&n, body, 2, (Dim[]){i, j}, shape, span, NULL);
}

static Val sample_max(Module *m, Func *f, const Val *a) {
    Span span = {0};
    Type x = graph_type(f, a[0]);
    NestMaker n = nest_maker(m, f, NEST_MAX);
    Dim half = dim_floordiv(m->ctx, x.shape[0], dim_const(m->ctx, 2));
    Dim i = maker_index(&n, "i", half), p = maker_index(&n, "p", dim_const(m->ctx, 2)),
        j = maker_index(&n, "j", x.shape[1]);
    Dim row = dim_add(m->ctx, dim_scale(m->ctx, i, 2), p);
    return maker_done(&n, maker_read(&n, a[0], (Dim[]){row, j}), 1, &i, &half, span, NULL);
}

static Val sample_square(Module *m, Func *f, const Val *a) {
    Span span = {0};
    Type x = graph_type(f, a[0]);
    NestMaker n = nest_maker(m, f, NEST_STORE);
    Dim i = maker_index(&n, "i", x.shape[1]), j = maker_index(&n, "j", x.shape[0]);
    int r = maker_read(&n, a[0], (Dim[]){j, i});
    int other = body_op1(&n.b, SC_sigmoid,
                         maker_read(&n, a[1], (Dim[]){dim_const(m->ctx, 0), dim_const(m->ctx, 1)}));
    return maker_done(&n, body_op2(&n.b, SC_mul, r, body_op2(&n.b, SC_mul, r, other)), 2,
                      (Dim[]){i, j}, (Dim[]){x.shape[1], x.shape[0]}, span, NULL);
}

static Func *nest_sample(Module *m, int n) {
    static Val (*const make[])(Module *, Func *, const Val *) = {sample_conv, sample_max,
                                                                 sample_square};
    if (n >= 3)
        return NULL;
    Val a[2];
    Type t[2] = {sample_type(m, DT_F64, 2, (int64_t[]){5, 4}),
                 sample_type(m, DT_F64, 2, (int64_t[]){2, 3})};
    Func *f = sample_func(m, "nest_sample", t, 2, a);
    return sample_done(m, f, make[n](m, f, a));
}

const OpDef op_nest = {
    .name = "nest",
    .n_args = -1,
    .family = FAM_NEST,
    .flags = OPF_PURE | OPF_TEXT,
    .doc = "a scalar body on every point of a box, stored or reduced",
    .vjp = nest_vjp_op,
    .spread = nest_spread,
    .eval = interp_nest,
    .print = nest_print,
    .read = nest_read,
    .subst = nest_subst_dims,
    .verify = nest_verify,
    .sample = nest_sample,
};
