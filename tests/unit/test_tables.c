/* Walks scalar.def and ops.def: every row gets its tests, by name, when it is added. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "codegen/codegen.h"
#include "tests/unit/graph_helper.h"

typedef struct Case {
    Ctx *ctx;
    ScalarOp row;    /* or SC_NONE */
    const OpDef *op; /* and its sample */
    int sample;
    DType dt, to; /* to: of casts */
    void (*run)(struct Case *c);
} Case;

/* ---- functions under test */

/* Values in the domain of every row that has one inside: pairs are taken in order, so that the
 * operands differ. */
static const double points[] = {-2.3, -0.75, -0.35, 0.4, 0.8, 1.3, 2.6, 0.62, 4.25, 5.6};
enum { N_POINTS = sizeof points / sizeof *points, ZETA = 3 /* the exponent of zeta */ };

static double value_of(Case *c, const double *x) {
    ScalarValue v[3];
    for (int k = 0; k < 3; k++)
        v[k] = (ScalarValue){.f = c->row == SC_zeta && k == 0 ? ZETA : x[k]};
    return scalar_eval(c->row, DT_F64, DT_F64, v).f;
}

/* Operands at point k. */
static void operands_at(int k, double *x) {
    for (int j = 0; j < 3; j++)
        x[j] = points[(k + 3 * j * (j + 1) / 2) % N_POINTS];
}

/* Is the row finite around point k (so that differences make sense)? */
static bool is_inside(Case *c, int k) {
    double x[3];
    operands_at(k, x);
    for (int j = 0; j < scalar_def(c->row)->arity; j++)
        for (int s = -1; s <= 1; s++) {
            double y[3] = {x[0], x[1], x[2]};
            y[j] += s * 0.02;
            if (!isfinite(value_of(c, y)))
                return false;
        }
    return isfinite(value_of(c, x));
}

static int points_inside(Case *c, int *at) {
    int n = 0;
    for (int k = 0; k < N_POINTS; k++)
        if (is_inside(c, k))
            at[n++] = k;
    return n;
}

/* out[i] = row(x0[i], ..); a select takes its condition from x0 < 0, the exponent of zeta is 3. */
static Func *row_func(Case *c, Module *m, int n, Val *args) {
    Dim extent = dim_const(c->ctx, n);
    Type t = type_new(c->ctx, c->dt, 1, &extent);
    const ScalarDef *d = scalar_def(c->row);
    Func *f = graph_func_new(m, str_of(c->ctx, "row"), (Span){0});
    f->real = c->dt;
    NestMaker nm = nest_maker(m, f, NEST_STORE);
    Dim i;
    int a[3];
    for (int k = 0; k < d->arity; k++) {
        Param p = {.name = str_fmt(c->ctx, "x%d", k), .role = ROLE_INPUT, .tensor = -1};
        args[k] = graph_param(m, f, p, t);
    }
    maker_cells(&nm, t, &i);
    for (int k = 0; k < d->arity; k++)
        a[k] = maker_read(&nm, args[k], &i);
    if (c->row == SC_select)
        a[0] = body_op2(&nm.b, SC_lt, a[0], body_real(&nm.b, c->dt, 0));
    if (c->row == SC_zeta)
        a[0] = body_real(&nm.b, c->dt, ZETA);
    int r = d->arity == 1   ? body_op1(&nm.b, c->row, a[0])
            : d->arity == 2 ? body_op2(&nm.b, c->row, a[0], a[1])
                            : body_op3(&nm.b, c->row, a[0], a[1], a[2]);
    Val v = maker_done(&nm, r, 1, &i, t.shape, (Span){0}, NULL);
    graph_result(m, f,
                 (Result){.val = v, .name = str_of(c->ctx, "out"), .role = RES_OUT, .of = -1});
    return f;
}

static Func *func_of(Case *c, Module *m, Tensor *in) {
    Func *f;
    if (c->op) {
        f = c->op->sample(m, c->sample);
        for (int k = 0; k < f->params.n; k++)
            in[k] = graph_tensor(c->ctx, graph_type(f, f->params.p[k].val), (uint64_t)k + 7);
        return f;
    }
    int at[N_POINTS], n = points_inside(c, at);
    Val args[3];
    assert_true(n > 0);
    f = row_func(c, m, n, args);
    for (int k = 0; k < f->params.n; k++) {
        in[k] = graph_tensor(c->ctx, graph_type(f, args[k]), 1);
        for (int j = 0; j < n; j++) {
            double x[3];
            operands_at(at[j], x);
            in[k].f[j] = c->dt == DT_F32 ? (double)(float)x[k] : x[k];
        }
    }
    return f;
}

static Module *module_of(Case *c) {
    return graph_module_new(c->ctx, &c->ctx->perm, str_of(c->ctx, "t.cnn"));
}

static Tensor *run_graph(Case *c, const Module *m, const Func *f, Tensor *in) {
    Tensor *out = ARENA_ARRAY(&c->ctx->perm, Tensor, f->results.n + 1);
    const char *why = graph_run(c->ctx, m, f, in, out);
    if (why)
        fail_msg("%s", why);
    return out;
}

/* ---- the tests of a row */

static void check_text(Case *c) {
    Module *m = module_of(c);
    Tensor in[8];
    func_of(c, m, in);
    const char *once = graph_text(c->ctx, m);
    Module *again = graph_parse(c->ctx, once);
    if (!again)
        fail_msg("%s\n%s", graph_messages(c->ctx), once);
    assert_string_equal(once, graph_text(c->ctx, again));
}

/* Adds the cotangents of all real params under a cotangent that is a param of its own. */
static int add_derivative(Case *c, Module *m, Func *f) {
    Val args[16];
    int n = 2, n_params = f->params.n;
    Type t = graph_type(f, f->results.p[0].val);
    for (int k = 0; k < n_params; k++)
        if (dtype_is_real(graph_type(f, f->params.p[k].val).dt))
            args[n++] = f->params.p[k].val;
    Param p = {.name = str_of(c->ctx, "g"), .role = ROLE_INPUT, .tensor = -1};
    args[0] = f->results.p[0].val;
    args[1] = graph_param(m, f, p, t);
    VjpAttr *a = ARENA_NEW(m->arena, VjpAttr);
    a->n_wrt = n - 2;
    Inst *i = graph_inst(m, f, &op_vjp, args, n, a, (Span){0}, NULL);
    f->results.n = 0;
    for (int k = 0; k < n - 2; k++)
        graph_result(m, f, (Result){.val = inst_result(i, k), .role = RES_OUT, .of = -1});
    return n - 2;
}

static void check_gradient(Case *c) {
    Module *m = module_of(c);
    Tensor in[8];
    Func *f = func_of(c, m, in);
    Type t = graph_type(f, f->results.p[0].val);
    int n_in = f->params.n, n = 0;
    for (int k = 0; k < n_in; k++)
        n += dtype_is_real(graph_type(f, f->params.p[k].val).dt);
    if (!n || !dtype_is_real(t.dt) || (c->op && !c->op->vjp))
        return; /* nothing to differentiate, or said to have no derivative */
    n = add_derivative(c, m, f);
    in[n_in] = graph_tensor(c->ctx, t, 99);
    Tensor *numeric = run_graph(c, m, f, in);
    Unit u = graph_unit(c->ctx, m);
    FuncId id = f->id;
    pass_ad(&u);
    f = graph_func(m, id);
    const char *why = graph_verify(m);
    if (why)
        fail_msg("%s", why);
    Tensor *exact = run_graph(c, m, f, in);
    for (int k = 0; k < n; k++) {
        double e = graph_error(&exact[k], &numeric[k]);
        if (!(e <= 1e-7))
            fail_msg("cotangent %d: error %g\n%s", k, e, graph_text(c->ctx, m));
    }
    pass_invert(&u);
    Tensor *gathered = run_graph(c, m, graph_func(m, id), in);
    for (int k = 0; k < n; k++)
        assert_true(graph_error(&gathered[k], &exact[k]) <= 1e-12);
}

static void find_call(void *arg, LoopStmt *s) {
    if (s->kind == LOOP_CALL)
        *(bool *)arg = true;
}

/* The loop interpreter computes what the graph interpreter does, up to rounding. */
static void check_loops(Case *c) {
    Module *m = module_of(c);
    Tensor in[8];
    Func *f = func_of(c, m, in);
    if (c->op && !c->op->lower && c->op != &op_nest && !(c->op->flags & OPF_VIEW))
        return; /* removed before loops are made */
    Tensor *want = run_graph(c, m, f, in);
    graph_as_def(m, f);
    Unit u = graph_unit(c->ctx, m);
    pass_to_loops(&u);
    loop_assign_offsets(u.loops);
    const char *why = loop_verify(u.loops);
    if (why)
        fail_msg("%s", why);
    bool calls = false;
    loop_walk(&u.loops->funcs.p[0]->body, find_call, &calls);
    if (calls)
        return; /* a function of the runtime: compared in native code */
    Tensor *out = ARENA_ARRAY(&c->ctx->perm, Tensor, f->results.n + 1);
    for (int k = 0; k < f->results.n; k++)
        out[k] = graph_tensor(c->ctx, graph_type(f, f->results.p[k].val), 3);
    why = graph_run_loops(c->ctx, u.loops, NULL, in, out, f->results.n);
    if (why)
        fail_msg("%s", why);
    double most = c->dt == DT_F32 ? 2e-6 : 1e-13;
    for (int k = 0; k < f->results.n; k++)
        if (!(graph_error(&out[k], &want[k]) <= most))
            fail_msg("result %d: error %g", k, graph_error(&out[k], &want[k]));
}

/* Native code, vectors and all, computes the bits of the loop interpreter; where functions of the
 * runtime are called, what the graph interpreter does. */
static void check_native(Case *c) {
    Module *m = module_of(c);
    Tensor in[8];
    Func *f = func_of(c, m, in);
    if (c->op && !c->op->lower && c->op != &op_nest && !(c->op->flags & OPF_VIEW))
        return;
    Tensor *want = run_graph(c, m, f, in);
    graph_as_def(m, f);
    Unit u = graph_unit(c->ctx, m);
    u.target = codegen_host(c->ctx);
    pass_to_loops(&u);
    pass_vectorize(&u);
    pass_plan(&u);
    const char *why = loop_verify(u.loops);
    if (why)
        fail_msg("%s", why);
    bool calls = false;
    loop_walk(&u.loops->funcs.p[0]->body, find_call, &calls);
    Tensor *out = ARENA_ARRAY(&c->ctx->perm, Tensor, 2 * f->results.n + 2);
    for (int k = 0; k < 2 * f->results.n; k++)
        out[k] = graph_tensor(c->ctx, graph_type(f, f->results.p[k / 2].val), 3);
    Jit *j = jit_open(c->ctx, u.loops, &(CodegenOptions){.level = 2, .trampolines = true});
    if (!j)
        fail_msg("%s", graph_messages(c->ctx));
    const LoopFunc *lf = u.loops->funcs.p[0];
    LoopArg *args = graph_loop_args(c->ctx, lf, in, out);
    CnncArg *native = ARENA_ARRAY(&c->ctx->perm, CnncArg, lf->entry->args.n + 1);
    for (int k = 0; k < lf->entry->args.n; k++)
        native[k].p = args[k].p;
    int status = jit_call(j, lf->entry->cname, native);
    jit_close(j);
    assert_int_equal(status, 0);
    for (int k = 0, o = 0; k < lf->entry->args.n; k++)
        if (lf->entry->args.p[k].kind == ARG_OUT)
            graph_from_memory(args[k].p, &out[o++]);
    double most = c->dt == DT_F32 ? 2e-6 : 1e-12;
    for (int k = 0; k < f->results.n; k++)
        if (!(graph_error(&out[k], &want[k]) <= most))
            fail_msg("result %d: error %g", k, graph_error(&out[k], &want[k]));
    if (calls)
        return;
    Tensor *same = out + f->results.n;
    why = graph_run_loops(c->ctx, u.loops, NULL, in, same, f->results.n);
    if (why)
        fail_msg("%s", why);
    for (int k = 0; k < f->results.n; k++)
        assert_true(graph_error(&out[k], &same[k]) == 0);
}

/* ---- edges: every pair of awkward values, in every type that the row is defined on */

static const double awkward[] = {0,    -0.0,     1,         -1,   0.5,    -2.5,      3,
                                 1e-3, INFINITY, -INFINITY, NAN,  0x1p31, -0x1p40,   0x1p70,
                                 700,  -750,     0x1p-130,  88.9, 2.5,    0x1p-1060, 1e308};
static const int64_t awkward_ints[] = {0,  1,         -1,        2,         5,        -7,
                                       31, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
enum {
    N_REALS = sizeof awkward / sizeof *awkward,
    N_INTS = sizeof awkward_ints / sizeof *awkward_ints
};

static int n_awkward(DType dt) { return dt == DT_BOOL ? 2 : dtype_is_real(dt) ? N_REALS : N_INTS; }

static void put_awkward(Tensor *t, int64_t at, int k) {
    if (t->dt == DT_BOOL)
        t->i[at] = k;
    else if (t->i)
        t->i[at] = t->dt == DT_I32 ? (int32_t)awkward_ints[k] : awkward_ints[k];
    else
        t->f[at] = t->dt == DT_F32 ? (double)(float)awkward[k] : awkward[k];
}

/* Operand j of the row at point k of the cross product; shifts stay below the width. */
static void edge_operands(Case *c, Tensor *in, int arity) {
    bool shift = c->row == SC_shl || c->row == SC_ashr || c->row == SC_lshr;
    for (int64_t k = 0; k < in[0].count; k++) {
        int64_t rest = k;
        for (int j = 0; j < arity; j++) {
            int n = n_awkward(in[j].dt);
            put_awkward(&in[j], k, (int)(rest % n));
            if (shift && j == 1)
                in[j].i[k] = (int64_t)((uint64_t)in[j].i[k] % 32);
            rest /= n;
        }
    }
}

static Func *edge_func(Case *c, Module *m, Tensor *in) {
    const ScalarDef *d = scalar_def(c->row);
    Func *f = graph_func_new(m, str_of(c->ctx, "edges"), (Span){0});
    NestMaker nm = nest_maker(m, f, NEST_STORE);
    int64_t count = 1;
    Dim i = NULL;
    int a[3];
    Type t[3];
    for (int k = 0; k < d->arity; k++)
        count *= n_awkward(c->row == SC_select && k == 0 ? DT_BOOL : c->dt);
    Dim extent = dim_const(c->ctx, count);
    i = maker_index(&nm, "i", extent);
    for (int k = 0; k < d->arity; k++) {
        t[k] = type_new(c->ctx, c->row == SC_select && k == 0 ? DT_BOOL : c->dt, 1, &extent);
        Param p = {.name = str_fmt(c->ctx, "x%d", k), .role = ROLE_INPUT, .tensor = -1};
        a[k] = maker_read(&nm, graph_param(m, f, p, t[k]), &i);
        in[k] = graph_tensor(c->ctx, t[k], 1);
    }
    edge_operands(c, in, d->arity);
    int r = c->row == SC_cast      ? body_cast(&nm.b, c->to, a[0])
            : c->row == SC_bitcast ? body_bitcast(&nm.b, c->to, a[0])
            : d->arity == 1        ? body_op1(&nm.b, c->row, a[0])
            : d->arity == 2        ? body_op2(&nm.b, c->row, a[0], a[1])
                                   : body_op3(&nm.b, c->row, a[0], a[1], a[2]);
    Val v = maker_done(&nm, r, 1, &i, &extent, (Span){0}, NULL);
    graph_result(m, f, (Result){.val = v, .name = f->name, .role = RES_OUT, .of = -1});
    return f;
}

static bool same_bits_at(const Tensor *a, const Tensor *b, int64_t k) {
    if (a->i)
        return a->i[k] == b->i[k];
    return memcmp(&a->f[k], &b->f[k], sizeof a->f[k]) == 0 || (isnan(a->f[k]) && isnan(b->f[k]));
}

static void check_edges(Case *c) {
    Module *m = module_of(c);
    Tensor in[3], out[2];
    Func *f = edge_func(c, m, in);
    Type t = graph_type(f, f->results.p[0].val);
    graph_as_def(m, f);
    Unit u = graph_unit(c->ctx, m);
    u.target = codegen_host(c->ctx);
    pass_to_loops(&u);
    pass_vectorize(&u);
    pass_plan(&u);
    out[0] = graph_tensor(c->ctx, t, 3);
    out[1] = graph_tensor(c->ctx, t, 3);
    const char *why = graph_run_loops(c->ctx, u.loops, NULL, in, &out[0], 1);
    if (why)
        fail_msg("%s", why);
    const LoopFunc *lf = u.loops->funcs.p[0];
    LoopArg *args = graph_loop_args(c->ctx, lf, in, &out[1]);
    CnncArg *native = ARENA_ARRAY(&c->ctx->perm, CnncArg, lf->entry->args.n + 1);
    for (int k = 0; k < lf->entry->args.n; k++) {
        native[k].p = args[k].p;
    }
    Jit *j = jit_open(c->ctx, u.loops, &(CodegenOptions){.level = 2, .trampolines = true});
    assert_non_null(j);
    assert_int_equal(jit_call(j, lf->entry->cname, native), 0);
    jit_close(j);
    for (int k = 0; k < lf->entry->args.n; k++)
        if (lf->entry->args.p[k].kind == ARG_OUT)
            graph_from_memory(args[k].p, &out[1]);
    bool exact = !scalar_def(c->row)->expand;
    for (int64_t k = 0; k < out[0].count; k++) {
        ScalarValue v[3] = {{0}};
        for (int x = 0; x < scalar_def(c->row)->arity; x++)
            v[x] = in[x].f ? (ScalarValue){.f = in[x].f[k]} : (ScalarValue){.i = in[x].i[k]};
        ScalarValue w = scalar_eval(c->row, c->dt, t.dt, v);
        Tensor want = out[0];
        want.f = want.f ? &w.f : NULL;
        want.i = want.i ? &w.i : NULL;
        Tensor got = out[0];
        got.f = got.f ? got.f + k : NULL;
        got.i = got.i ? got.i + k : NULL;
        if (!same_bits_at(&out[0], &out[1], k) || (exact && !same_bits_at(&got, &want, 0)))
            fail_msg("%s %s of %g %g (%lld %lld): loops %.17g %lld, native %.17g %lld, reference "
                     "%.17g %lld",
                     scalar_def(c->row)->name, dtype_name(c->dt), v[0].f, v[1].f, (long long)v[0].i,
                     (long long)v[1].i, got.f ? got.f[0] : 0, got.i ? (long long)got.i[0] : 0,
                     out[1].f ? out[1].f[k] : 0, out[1].i ? (long long)out[1].i[k] : 0, w.f,
                     (long long)w.i);
    }
}

/* ---- the list */

static void run_case(void *arg) {
    Case *c = arg;
    c->run(c);
}

static void test_case(void **state) {
    Case *c = *state;
    c->ctx = ctx_new(0);
    CtxStatus s = ctx_protect(c->ctx, run_case, c);
    if (s != CTX_OK)
        fail_msg("%s", c->ctx->internal);
    ctx_free(c->ctx);
}

typedef struct List {
    struct CMUnitTest tests[1000];
    Case cases[1000];
    char names[1000][64];
    size_t n;
} List;

static void add_test(List *l, const char *name, const char *what, Case c) {
    assert_true(l->n < 1000);
    snprintf(l->names[l->n], sizeof l->names[l->n], "%s: %s", name, what);
    l->cases[l->n] = c;
    l->tests[l->n] = (struct CMUnitTest){l->names[l->n], test_case, NULL, NULL, &l->cases[l->n]};
    l->n++;
}

static void add_rows(List *l) {
    for (int k = 1; k < SC_COUNT; k++) {
        const ScalarDef *d = scalar_def((ScalarOp)k);
        if (!(d->flags & SF_REAL) || (d->flags & SF_LANES) || d->result == SR_ATTR)
            continue;
        add_test(l, d->name, "gradient",
                 (Case){.row = (ScalarOp)k, .dt = DT_F64, .run = check_gradient});
        add_test(l, d->name, "text", (Case){.row = (ScalarOp)k, .dt = DT_F64, .run = check_text});
        add_test(l, d->name, "loops f64",
                 (Case){.row = (ScalarOp)k, .dt = DT_F64, .run = check_loops});
        add_test(l, d->name, "loops f32",
                 (Case){.row = (ScalarOp)k, .dt = DT_F32, .run = check_loops});
        add_test(l, d->name, "native f64",
                 (Case){.row = (ScalarOp)k, .dt = DT_F64, .run = check_native});
        add_test(l, d->name, "native f32",
                 (Case){.row = (ScalarOp)k, .dt = DT_F32, .run = check_native});
    }
}

static bool is_defined_on(const ScalarDef *d, DType dt) {
    return (d->flags & (dt == DT_BOOL ? SF_BOOL : dtype_is_real(dt) ? SF_REAL : SF_INT)) != 0;
}

static void add_edges(List *l, Ctx *ctx) {
    for (int k = 1; k < SC_COUNT; k++) {
        const ScalarDef *d = scalar_def((ScalarOp)k);
        for (DType dt = DT_BOOL; dt <= DT_F64; dt++)
            for (DType to = DT_BOOL; to <= DT_F64; to++) {
                bool fits = k == SC_bitcast ? dtype_size(dt) == dtype_size(to) && to != dt
                            : k == SC_cast  ? to != dt
                                            : to == dt;
                if (!is_defined_on(d, dt) || (d->flags & SF_LANES) || !fits)
                    continue;
                const char *what = str_fmt(ctx, "edges %s %s", dtype_name(dt), dtype_name(to));
                add_test(l, d->name, what,
                         (Case){.row = (ScalarOp)k, .dt = dt, .to = to, .run = check_edges});
            }
    }
}

static void add_ops(List *l, Ctx *ctx) {
    int n;
    const OpDef *const *ops = op_all(&n);
    for (int k = 0; k < n; k++)
        for (int s = 0; ops[k]->sample; s++) {
            Module *m = graph_module_new(ctx, &ctx->perm, str_of(ctx, "t.cnn"));
            if (!ops[k]->sample(m, s))
                break;
            Case c = {.op = ops[k], .sample = s, .dt = DT_F64};
            const char *name = str_fmt(ctx, "%s %d", ops[k]->name, s);
            c.run = check_gradient;
            add_test(l, name, "gradient", c);
            c.run = check_text;
            add_test(l, name, "text", c);
            c.run = check_loops;
            add_test(l, name, "loops", c);
            c.run = check_native;
            add_test(l, name, "native", c);
        }
}

int main(void) {
    static List l;
    Ctx *ctx = ctx_new(0);
    add_rows(&l);
    add_edges(&l, ctx);
    add_ops(&l, ctx);
    int failed = _cmocka_run_group_tests("tables", l.tests, l.n, NULL, NULL);
    ctx_free(ctx);
    return failed;
}
