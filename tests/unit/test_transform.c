/* ir/transform.c: each kind's map from free reals, its inverse, its derivative, and what is
 * recalled of a copy of the free reals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/op.h"
#include "ir/transform.h"
#include "tests/unit/graph_helper.h"

typedef struct KindCase {
    AbiKind kind;
    int rank;
    int64_t shape[3];
    int64_t n_free;
    double lo, hi;
} KindCase;

static const KindCase kinds[] = {
    {KIND_REAL, 2, {2, 3}, 6, 0, 0},     {KIND_PROB, 1, {4}, 4, 0, 0},
    {KIND_POSITIVE, 0, {0}, 1, 0, 0},    {KIND_INTERVAL, 2, {3, 2}, 6, -2, 5},
    {KIND_SIMPLEX, 1, {4}, 3, 0, 0},     {KIND_SIMPLEX, 3, {2, 3, 2}, 6, 0, 0},
    {KIND_SIMPLEX, 1, {1}, 0, 0, 0},     {KIND_ORDERED, 1, {3}, 3, 0, 0},
    {KIND_ORDERED, 2, {2, 4}, 8, 0, 0},  {KIND_CHOLESKY, 2, {3, 3}, 6, 0, 0},
    {KIND_CHOLESKY, 2, {1, 1}, 1, 0, 0}, {KIND_CHOLESKY, 3, {2, 3, 3}, 12, 0, 0},
};

typedef struct Given {
    Ctx *ctx;
    Module *m;
    Func *f;
    AbiTensor t;
    TransformCall c;
    const TransformDef *d;
    Type free;
} Given;

static Given given(const KindCase *k, DType dt) {
    Given g = {.ctx = ctx_new(0)};
    Dim shape[3];
    for (int a = 0; a < k->rank; a++)
        shape[a] = dim_const(g.ctx, k->shape[a]);
    g.m = graph_module_new(g.ctx, &g.ctx->perm, str_of(g.ctx, "t.cnn"));
    g.f = graph_func_new(g.m, str_of(g.ctx, "f"), (Span){0});
    g.t = (AbiTensor){.path = str_of(g.ctx, "p"), .kind = k->kind, .lo = k->lo, .hi = k->hi};
    g.t.type = type_new(g.ctx, dt, k->rank, shape);
    g.d = transform_of(k->kind);
    g.free = g.d->free_type(g.ctx, g.t.type);
    return g;
}

static Val input(Given *g, const char *name, Type t) {
    Param p = {.name = str_of(g->ctx, name), .role = ROLE_INPUT, .tensor = -1};
    g->c = (TransformCall){g->m, g->f, &g->t, g->t.type, {0}};
    return graph_param(g->m, g->f, p, t);
}

static void output(Given *g, Val v, const char *name) {
    graph_result(g->m, g->f,
                 (Result){.val = v, .name = str_of(g->ctx, name), .role = RES_OUT, .of = -1});
}

static void run(Given *g, Tensor *in, Tensor *out) {
    const char *why = graph_run(g->ctx, g->m, g->f, in, out);
    if (why)
        fail_msg("%s", why);
}

/* The laws of the kind, for each value of x. */
static void assert_kind(const KindCase *k, const Tensor *x) {
    int64_t last = k->rank ? k->shape[k->rank - 1] : 1;
    for (int64_t j = 0; j < x->count; j++) {
        double v = x->f[j], sum = 0;
        int64_t i = j / last % last;
        assert_true(k->kind != KIND_POSITIVE || v > 0);
        assert_true(k->kind != KIND_PROB || (v > 0 && v < 1));
        assert_true(k->kind != KIND_INTERVAL || (v > k->lo && v < k->hi));
        assert_true(k->kind != KIND_ORDERED || j % last == 0 || v > x->f[j - 1]);
        if (k->kind == KIND_CHOLESKY)
            assert_true(i == j % last ? v > 0 : i > j % last || v == 0);
        for (int64_t s = 0; k->kind == KIND_SIMPLEX && s < last; s++)
            sum += x->f[j / last * last + s];
        assert_true(k->kind != KIND_SIMPLEX || (v > 0 && fabs(sum - 1) < 1e-14));
    }
}

static void inverse_undoes_forward(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        Given g = given(&kinds[k], DT_F64);
        Val u = input(&g, "u", g.free), x = g.d->forward(&g.c, u);
        output(&g, x, "x");
        output(&g, g.d->inverse(&g.c, x), "again");
        Tensor in = graph_tensor(g.ctx, g.free, k + 1), out[2];
        assert_int_equal(in.count, kinds[k].n_free);
        run(&g, &in, out);
        assert_kind(&kinds[k], &out[0]);
        assert_true(graph_error(&out[1], &in) < 1e-13);
        ctx_free(g.ctx);
    }
}

static const double STEP = 0x1p-16;

/* vjp of forward against differences, for a cotangent of every element. */
static void the_derivative_of_forward(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        Given g = given(&kinds[k], DT_F64);
        Val u = input(&g, "u", g.free), w = input(&g, "w", g.t.type);
        Val x = g.d->forward(&g.c, u), args[3] = {x, w, u};
        VjpAttr *a = ARENA_NEW(g.m->arena, VjpAttr);
        a->n_wrt = 1;
        output(&g, x, "x");
        output(&g, graph_inst(g.m, g.f, &op_vjp, args, 3, a, (Span){0}, NULL)->first, "du");
        g.f->entry = NULL;
        Unit unit = graph_unit(g.ctx, g.m);
        const char *why = NULL;
        static const char *const only[] = {"inline", "density", "ad"};
        assert_true(pass_run(&unit, &(PassOptions){.only = only, .n_only = 3}, &why));
        g.f = g.m->funcs.p[0];
        Tensor in[2] = {graph_tensor(g.ctx, g.free, k + 1), graph_tensor(g.ctx, g.t.type, k + 50)};
        Tensor out[4];
        run(&g, in, out);
        for (int64_t j = 0; j < in[0].count; j++) {
            double old = in[0].f[j], slope = 0;
            for (int side = 1; side >= -1; side -= 2) {
                in[0].f[j] = old + side * STEP;
                run(&g, in, out + 2);
                for (int64_t i = 0; i < in[1].count; i++)
                    slope += in[1].f[i] * out[2].f[i] * side / (2 * STEP);
            }
            in[0].f[j] = old;
            if (!(fabs(slope - out[1].f[j]) < 1e-8 * fmax(1, fabs(slope))))
                fail_msg("kind %zu: du[%d] is %.9g, differences give %.9g", k, (int)j, out[1].f[j],
                         slope);
        }
        ctx_free(g.ctx);
    }
}

/* The copy where x is what it gives, else the inverse; a value of several elements as a whole. */
static void a_copy_is_recalled_while_it_is_one(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        Given g = given(&kinds[k], DT_F64);
        Val u = input(&g, "u", g.free), w = input(&g, "w", g.free), x = g.d->forward(&g.c, u);
        output(&g, transform_recall(g.d, &g.c, x, u), "same");
        output(&g, transform_recall(g.d, &g.c, x, w), "other");
        Tensor in[2] = {graph_tensor(g.ctx, g.free, k + 1), graph_tensor(g.ctx, g.free, k + 9)};
        Tensor out[2];
        run(&g, in, out);
        for (int64_t j = 0; j < in[0].count; j++)
            assert_true(out[0].f[j] == in[0].f[j]);
        assert_true(graph_error(&out[1], &in[0]) < 1e-13);
        ctx_free(g.ctx);
    }
}

/* exp(u) and sigmoid(u) have lost u at their ends; the copy has not. */
static void a_copy_keeps_what_rounding_loses(void **state) {
    (void)state;
    const KindCase one = {KIND_PROB, 1, {3}, 3, 0, 0};
    Given g = given(&one, DT_F64);
    Val u = input(&g, "u", g.free), x = g.d->forward(&g.c, u);
    output(&g, g.d->inverse(&g.c, x), "inverse");
    output(&g, transform_recall(g.d, &g.c, x, u), "recalled");
    Tensor in = graph_tensor(g.ctx, g.free, 1), out[2];
    in.f[0] = 50;
    run(&g, &in, out);
    assert_true(isinf(out[0].f[0]));
    assert_true(out[1].f[0] == 50);
    ctx_free(g.ctx);
}

/* In f32 all of it is f32. */
static void types_are_the_parameters(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        Given g = given(&kinds[k], DT_F32);
        Val u = input(&g, "u", g.free), x = g.d->forward(&g.c, u);
        Val again = transform_recall(g.d, &g.c, x, u);
        assert_true(type_equal(graph_type(g.f, x), g.t.type));
        assert_true(type_equal(graph_type(g.f, again), g.free));
        ctx_free(g.ctx);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inverse_undoes_forward),
        cmocka_unit_test(the_derivative_of_forward),
        cmocka_unit_test(a_copy_is_recalled_while_it_is_one),
        cmocka_unit_test(a_copy_keeps_what_rounding_loses),
        cmocka_unit_test(types_are_the_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
