/* driver/sym*.c: normal forms, derivatives and printing of expressions. Rewrites keep values: every
 * expression is also evaluated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "driver/sym.h"

typedef struct T {
    Ctx *ctx;
    SymCtx c;
} T;

static T open_t(void) {
    Ctx *ctx = ctx_new(0);
    return (T){ctx, {ctx, 0, 100000}};
}

static Sym name(T *t, const char *s, unsigned flags) {
    return sym_name(&t->c, str_of(t->ctx, s), flags, NULL, 0);
}

static Sym param(T *t, const char *s) { return sym_param(&t->c, str_of(t->ctx, s), 0, 1, NULL, 0); }

static Sym elem(T *t, const char *s, Sym i) { return sym_name(&t->c, str_of(t->ctx, s), 0, &i, 1); }

static Sym num(T *t, double v) { return sym_num(&t->c, v); }

static Sym call(T *t, ScalarOp op, Sym a) { return sym_call(&t->c, op, &a, 1); }

static void check_text(T *t, Sym e, const char *want) {
    SymPrint p = {t->ctx, SYM_TEXT, NULL, 0};
    assert_non_null(e);
    assert_string_equal(sym_text(&p, e), want);
}

static void check_latex(T *t, Sym e, const char *want) {
    SymPrint p = {t->ctx, SYM_LATEX, NULL, 0};
    assert_string_equal(sym_text(&p, e), want);
}

/* ---- values: names by their first letter, sums over N = 3 */

typedef struct Env {
    double p; /* of the name "p" */
    Sym index[8];
    double at[8];
    int n;
} Env;

static double value(Env *v, Sym e) {
    double r;
    ScalarValue a[3] = {{0}};
    switch (e->kind) {
    case SYM_NUM:
        return e->num;
    case SYM_INDEX:
        for (int k = v->n - 1; k >= 0; k--)
            if (v->index[k] == e)
                return v->at[k];
        fail_msg("a free index");
        return 0;
    case SYM_NAME:
        if (e->name[0] == 'N')
            return 3;
        r = e->name[0] == 'p' ? v->p : 0.3 + 0.1 * (e->name[0] % 7);
        return e->n ? r + 0.7 * value(v, e->kids[0]) : r;
    case SYM_ADD:
        r = 0;
        for (int k = 0; k < e->n; k++)
            r += value(v, e->kids[k]);
        return r;
    case SYM_MUL:
        r = 1;
        for (int k = 0; k < e->n; k++)
            r *= value(v, e->kids[k]);
        return r;
    case SYM_POW:
        return pow(value(v, e->kids[0]), value(v, e->kids[1]));
    case SYM_CALL:
        for (int k = 0; k < e->n; k++)
            a[k].f = value(v, e->kids[k]);
        return scalar_eval(e->op, DT_F64, DT_F64, a).f;
    case SYM_SELECT:
        return value(v, e->kids[value(v, e->kids[0]) != 0 ? 1 : 2]);
    case SYM_DELTA:
        return value(v, e->kids[0]) == value(v, e->kids[1]);
    case SYM_STOP:
        return value(v, e->kids[0]);
    default:
        r = 0;
        v->index[v->n++] = e->kids[0];
        for (int k = 0; k < value(v, e->kids[1]); k++) {
            v->at[v->n - 1] = k;
            r += value(v, e->kids[2]);
        }
        v->n--;
        return r;
    }
}

static double value_at(Sym e, double p) {
    Env v = {.p = p};
    return value(&v, e);
}

static void check_value(Sym a, Sym b) {
    assert_non_null(b);
    double x = value_at(a, 0.6), y = value_at(b, 0.6);
    if (!(fabs(x - y) <= 1e-12 * fmax(1, fabs(x))))
        fail_msg("%.17g and %.17g", x, y);
}

/* ---- normal forms */

static void test_sums_and_products(void **state) {
    (void)state;
    T t = open_t();
    SymCtx *c = &t.c;
    Sym a = name(&t, "a", 0), b = name(&t, "b", 0), one = num(&t, 1);
    check_text(&t, sym_sub(c, sym_add(c, a, one), one), "a");
    check_text(&t, sym_add(c, sym_mul(c, num(&t, 2), a), a), "3 a");
    check_text(&t, sym_sub(c, a, sym_sub(c, b, num(&t, 2))), "a - b + 2");
    check_text(&t, sym_mul(c, a, sym_div(c, b, a)), "b");
    check_text(&t, sym_div(c, sym_sub(c, a, one), sym_add(c, a, b)), "(a - 1) / (a + b)");
    check_text(&t, sym_div(c, a, sym_mul(c, num(&t, 2), sym_mul(c, b, b))), "a / (2 b^2)");
    check_text(&t, sym_sub(c, one, a), "1 - a");
    check_text(&t, sym_expand(c, sym_pow(c, sym_add(c, a, b), num(&t, 2))), "a^2 + 2 a b + b^2");
    Sym more = name(&t, "c", 0);
    check_text(&t, sym_tidy(c, sym_add(c, sym_mul(c, a, b), sym_mul(c, more, a))), "a (b + c)");
    check_latex(&t, sym_div(c, name(&t, "phi", 0), sym_add(c, a, one)), "\\frac{\\phi}{a + 1}");
    check_text(&t, sym_pow(c, a, num(&t, 0.5)), "sqrt(a)");
    check_text(&t, sym_mul(c, num(&t, 1.0 / 18), a), "a / 18");
    check_text(&t, sym_mul(c, num(&t, 0.1), a), "0.1 a");
    ctx_free(t.ctx);
}

static void test_calls(void **state) {
    (void)state;
    T t = open_t();
    SymCtx *c = &t.c;
    Sym a = name(&t, "a", SYM_POSITIVE), b = name(&t, "b", 0);
    check_text(&t, call(&t, SC_log, call(&t, SC_exp, b)), "b");
    check_text(&t, call(&t, SC_log, sym_mul(c, a, a)), "2 log a");
    check_text(&t, call(&t, SC_log, sym_mul(c, b, b)), "log(b^2)");
    Sym zero = num(&t, 0), gain = sym_mul(c, b, call(&t, SC_log, a));
    Sym none = sym_call(c, SC_eq, (Sym[]){b, zero}, 2);
    check_text(&t, sym_select(c, none, zero, gain), "b log a");
    check_text(&t, sym_select(c, sym_call(c, SC_lt, (Sym[]){b, zero}, 2), num(&t, -INFINITY), a),
               "a");
    check_text(&t, sym_select(c, b, a, zero), "b a");
    check_text(&t, call(&t, SC_sigmoid, sym_neg(c, b)), "1 - sigmoid(b)");
    ctx_free(t.ctx);
}

static void test_sums_over_an_index(void **state) {
    (void)state;
    T t = open_t();
    SymCtx *c = &t.c;
    Sym i = sym_index(c, NULL), k = sym_index(c, NULL), n = name(&t, "N", SYM_DIM);
    Sym x = elem(&t, "x", i), a = name(&t, "a", 0), g = elem(&t, "g", k);
    check_text(&t, sym_over(c, SYM_SUM, i, n, a), "N a");
    check_text(&t, sym_over(c, SYM_SUM, i, n, sym_mul(c, x, sym_delta(c, i, g))), "x[g_?]");
    Sym s = sym_over(c, SYM_SUM, i, n, sym_sub(c, a, sym_mul(c, a, x)));
    check_text(&t, s, "sum_i [ a - a x_i ]");
    check_text(&t, sym_expand(c, s), "N a - a sum_i x_i");
    check_value(s, sym_expand(c, s));
    /* the number of draws of each class, over the classes: the number of draws */
    Sym drawn = sym_over(c, SYM_SUM, k, n, sym_delta(c, g, i));
    check_text(&t, drawn, "sum_i [g_i = ?]");
    check_text(&t, sym_over(c, SYM_SUM, i, name(&t, "K", SYM_DIM), drawn), "N");
    /* log sum exp, shifted */
    Sym m = sym_stop(c, a);
    Sym lse = call(&t, SC_log, sym_over(c, SYM_SUM, i, n, call(&t, SC_exp, sym_sub(c, x, m))));
    check_text(&t, sym_add(c, lse, m), "log(sum_i exp(x_i))");
    ctx_free(t.ctx);
}

static void test_equality_up_to_indices(void **state) {
    (void)state;
    T t = open_t();
    SymCtx *c = &t.c;
    Sym i = sym_index(c, NULL), k = sym_index(c, NULL), n = name(&t, "N", SYM_DIM);
    Sym a = sym_over(c, SYM_SUM, i, n, elem(&t, "x", i)),
        b = sym_over(c, SYM_SUM, k, n, elem(&t, "x", k));
    assert_true(sym_equal(a, b));
    assert_false(sym_equal(a, sym_over(c, SYM_SUM, k, n, elem(&t, "y", k))));
    check_text(&t, sym_sub(c, a, b), "0");
    ctx_free(t.ctx);
}

/* ---- derivatives: against differences */

static void test_derivatives(void **state) {
    (void)state;
    T t = open_t();
    SymCtx *c = &t.c;
    Sym p = param(&t, "p"), i = sym_index(c, NULL), n = name(&t, "N", SYM_DIM);
    Sym x = elem(&t, "x", i), one = num(&t, 1), z = sym_sub(c, x, sym_mul(c, p, p));
    const Sym es[] = {
        sym_over(c, SYM_SUM, i, n, sym_mul(c, z, z)),
        call(&t, SC_log, sym_sub(c, one, p)),
        call(&t, SC_lgamma, p),
        sym_over(c, SYM_SUM, i, n, call(&t, SC_sigmoid, sym_mul(c, x, p))),
        sym_div(c, call(&t, SC_exp, sym_neg(c, p)), sym_add(c, one, p)),
        sym_pow(c, p, sym_add(c, p, one)),
        sym_pow(c, p, num(&t, -1.5)),
        call(&t, SC_tanh, call(&t, SC_sin, p)),
        sym_select(c, sym_call(c, SC_lt, (Sym[]){p, one}, 2), sym_mul(c, p, p), one),
        call(&t, SC_digamma, p),
    };
    for (size_t k = 0; k < sizeof es / sizeof *es; k++) {
        Sym d = sym_diff(c, es[k], p);
        assert_non_null(d);
        double h = 1e-5, want = (value_at(es[k], 0.6 + h) - value_at(es[k], 0.6 - h)) / (2 * h);
        if (!(fabs(value_at(d, 0.6) - want) <= 1e-7 * fmax(1, fabs(want))))
            fail_msg("expression %zu: %.12g, differences %.12g", k, value_at(d, 0.6), want);
        check_value(d, sym_tidy(c, d));
        check_value(d, sym_expand(c, d));
    }
    check_text(&t, sym_diff(c, es[0], p), "sum_i [ -4 (x_i - p^2) p ]");
    ctx_free(t.ctx);
}

static void test_elements(void **state) {
    (void)state;
    T t = open_t();
    SymCtx *c = &t.c;
    Sym i = sym_index(c, NULL), j = sym_index(c, str_of(t.ctx, "j")), n = name(&t, "N", SYM_DIM);
    Str w = str_of(t.ctx, "w");
    Sym wi = sym_param(c, w, 0, 1, &i, 1), wj = sym_param(c, w, 0, 1, &j, 1);
    Sym e = sym_over(c, SYM_SUM, i, n, sym_mul(c, elem(&t, "x", i), sym_mul(c, wi, wi)));
    check_text(&t, sym_diff(c, e, wj), "2 w_j x_j");
    Sym opaque = sym_param(c, str_of(t.ctx, "u"), SYM_OPAQUE, 1, NULL, 0);
    assert_null(sym_diff(c, opaque, wj));
    ctx_free(t.ctx);
}

/* Past the limit there is no expression, not a wrong one. */
static void test_limit(void **state) {
    (void)state;
    T t = open_t();
    t.c.most = 40;
    Sym e = name(&t, "a", 0);
    for (int k = 0; k < 100; k++)
        e = sym_mul(&t.c, e, sym_add(&t.c, e, num(&t, 1)));
    assert_null(e);
    assert_null(sym_expand(&t.c, e));
    assert_null(sym_diff(&t.c, e, e));
    ctx_free(t.ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sums_and_products),
                                       cmocka_unit_test(test_calls),
                                       cmocka_unit_test(test_sums_over_an_index),
                                       cmocka_unit_test(test_equality_up_to_indices),
                                       cmocka_unit_test(test_derivatives),
                                       cmocka_unit_test(test_elements),
                                       cmocka_unit_test(test_limit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
