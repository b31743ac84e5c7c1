/* Dims: normal form, text, division, range proofs, explanations. Random tests check every normal form against direct
 * evaluation, and every "proved" and "error" against concrete values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "ir/dim.h"
#include "ir/type.h"

static Ctx *ctx;
static DimSym H, W, s, k, p;
static Dim h, w, ds, dk, dp;

static int set_up(void **state) {
    (void)state;
    ctx = ctx_new(0);
    H = dim_symbol_new(ctx, str_of(ctx, "H"), 1, false);
    W = dim_symbol_new(ctx, str_of(ctx, "W"), 1, false);
    s = dim_symbol_new(ctx, str_of(ctx, "s"), 1, false);
    k = dim_symbol_new(ctx, str_of(ctx, "k"), 1, false);
    p = dim_symbol_new(ctx, str_of(ctx, "p"), 0, false);
    h = dim_of(ctx, H), w = dim_of(ctx, W), ds = dim_of(ctx, s), dk = dim_of(ctx, k), dp = dim_of(ctx, p);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    ctx_free(ctx);
    return 0;
}

static Dim c(int64_t v) { return dim_const(ctx, v); }
static Dim add(Dim a, Dim b) { return dim_add(ctx, a, b); }
static Dim sub(Dim a, Dim b) { return dim_sub(ctx, a, b); }
static Dim mul(Dim a, Dim b) { return dim_mul(ctx, a, b); }
static Dim quo(Dim a, Dim b) { return dim_floordiv(ctx, a, b); }
static Dim larger(Dim a, Dim b) { return dim_max(ctx, a, b); }

static void texts(void **state) {
    (void)state;
    assert_string_equal(dim_text(ctx, sub(add(mul(h, w), mul(c(2), ds)), c(1))), "H*W + 2*s - 1");
    assert_string_equal(dim_text(ctx, add(quo(add(h, sub(mul(c(2), dp), dk)), ds), c(1))), "(H + 2*p - k) // s + 1");
    assert_string_equal(dim_text(ctx, sub(c(3), h)), "3 - H");
    assert_string_equal(dim_text(ctx, mul(c(2), quo(h, c(2)))), "2*(H // 2)");
    assert_string_equal(dim_text(ctx, c(0)), "0");
    assert_string_equal(dim_text(ctx, dim_neg(ctx, h)), "-H");
    assert_string_equal(dim_text(ctx, add(mul(c(64), larger(mul(h, h), mul(c(6), w))), c(5))), "64*max(H*H, 6*W) + 5");
    assert_string_equal(dim_text(ctx, larger(quo(h, c(2)), add(w, c(1)))), "max(H // 2, W + 1)");
}

static void equal_forms_are_equal_pointers(void **state) {
    (void)state;
    assert_ptr_equal(mul(add(h, c(1)), sub(h, c(1))), sub(mul(h, h), c(1)));
    assert_ptr_equal(quo(add(mul(c(2), h), c(1)), c(4)), quo(h, c(2)));          /* (2*a + 1)//4 = a//2 */
    assert_ptr_equal(quo(mul(h, ds), mul(w, ds)), quo(h, w));                    /* (a*s)//(b*s) = a//b */
    assert_ptr_equal(quo(add(quo(h, c(3)), c(1)), c(2)), quo(add(h, c(3)), c(6))); /* (a//b + r)//c */
    assert_ptr_equal(quo(add(mul(ds, h), w), ds), add(h, quo(w, ds)));
    assert_ptr_equal(add(quo(add(mul(c(2), h), c(-1)), c(2)), c(1)), h);         /* (2H - 1)//2 + 1 */
    assert_ptr_equal(quo(h, c(1)), h);
    assert_ptr_equal(larger(h, add(h, c(3))), add(h, c(3)));
    assert_ptr_equal(larger(add(mul(c(4), h), w), add(mul(c(4), h), mul(c(2), ds))), add(mul(c(4), h), larger(mul(c(2), ds), w)));
    assert_ptr_equal(larger(mul(c(6), h), mul(c(4), w)), mul(c(2), larger(mul(c(2), w), mul(c(3), h))));
    assert_ptr_equal(larger(h, c(0)), larger(c(0), h));
    assert_null(larger(NULL, h));
    assert_null(quo(h, c(0)));
    assert_null(mul(mul(c(INT64_MAX), h), c(2)));
    assert_null(add(NULL, h));
}

static void linear_parts(void **state) {
    (void)state;
    Dim co, rest;
    assert_true(dim_linear_in(ctx, add(mul(add(c(2), w), h), c(5)), H, &co, &rest));
    assert_ptr_equal(co, add(c(2), w));
    assert_ptr_equal(rest, c(5));
    assert_false(dim_linear_in(ctx, quo(h, c(2)), H, &co, &rest));
    assert_false(dim_linear_in(ctx, mul(h, h), H, &co, &rest));
}

static uint64_t rng = 7;
static int below(int n) {
    rng ^= rng << 13, rng ^= rng >> 7, rng ^= rng << 17;
    return (int)(rng % (uint64_t)n);
}

enum { POINTS = 40 };

typedef struct Both { /* a dim and its direct values; ok: no divisor below 1 there */
    Dim d;
    int64_t v[POINTS];
    bool ok[POINTS];
} Both;

static int64_t point[POINTS][4];

static int64_t floordiv(int64_t a, int64_t b) {
    int64_t q = a / b;
    return q - (a % b != 0 && (a % b < 0) != (b < 0));
}

static Both random_form(int depth) {
    const Dim syms[4] = {h, w, ds, dk};
    Both r = {0};
    if (depth == 0 || below(7) == 0) {
        int which = below(6);
        int64_t value = below(5);
        r.d = which < 4 ? syms[which] : c(value);
        for (int i = 0; i < POINTS; i++)
            r.v[i] = which < 4 ? point[i][which] : value, r.ok[i] = true;
        return r;
    }
    Both a = random_form(depth - 1), b = random_form(depth - 1);
    int op = below(6);
    if (op == 3 || op == 4) { /* a divisor that may be a symbol */
        while (!b.d || dim_is_zero(b.d))
            b = random_form(0);
    }
    Dim d[6] = {add(a.d, b.d), sub(a.d, b.d), mul(a.d, b.d), quo(a.d, b.d), dim_mod(ctx, a.d, b.d), larger(a.d, b.d)};
    r.d = d[op];
    for (int i = 0; i < POINTS; i++) {
        int64_t x = a.v[i], y = b.v[i];
        r.ok[i] = a.ok[i] && b.ok[i] && (op < 3 || op == 5 || y >= 1);
        if (r.ok[i])
            r.v[i] = op == 0 ? x + y : op == 1 ? x - y : op == 2 ? x * y : op == 3 ? floordiv(x, y) : op == 4 ? x - y * floordiv(x, y) : x > y ? x : y;
    }
    return r;
}

static void random_normal_forms_keep_their_values(void **state) {
    (void)state;
    int checked = 0;
    for (int i = 0; i < POINTS; i++)
        for (int j = 0; j < 4; j++)
            point[i][j] = 1 + below(j < 2 ? 60 : 9);
    for (int n = 0; n < 1500; n++) {
        Both f = random_form(1 + below(4));
        for (int i = 0; f.d && i < POINTS; i++) {
            DimValue env[4] = {{H, point[i][0]}, {W, point[i][1]}, {s, point[i][2]}, {k, point[i][3]}};
            int64_t v;
            if (!f.ok[i] || !dim_eval(f.d, env, 4, &v))
                continue;
            assert_int_equal(v, f.v[i]);
            checked++;
        }
    }
    assert_true(checked > 20000);
}

static void window_reads_are_proved(void **state) {
    (void)state;
    DimSym i = dim_symbol_new(ctx, str_of(ctx, "i"), 0, true), a = dim_symbol_new(ctx, str_of(ctx, "a"), 0, true);
    Dim out = add(quo(sub(add(h, mul(c(2), dp)), dk), ds), c(1)); /* (H + 2p - k)//s + 1 */
    DimIndex box[2] = {{i, out}, {a, dk}};
    DimFacts f = {.index = box, .n_index = 2};
    Dim e = add(mul(dim_of(ctx, i), ds), dim_of(ctx, a));
    assert_int_equal(dim_subscript(ctx, &f, e, add(h, mul(c(2), dp))), DIM_PROVED);
    assert_int_equal(dim_subscript(ctx, &f, add(e, c(1)), add(h, mul(c(2), dp))), DIM_RUN_TIME);
    box[0].extent = h;
    box[1].extent = c(3);
    assert_int_equal(dim_subscript(ctx, &f, add(dim_of(ctx, i), dim_of(ctx, a)), h), DIM_ERROR);
    assert_int_equal(dim_subscript(ctx, &f, dim_of(ctx, i), h), DIM_PROVED);
    Dim when[1] = {sub(dim_of(ctx, i), c(1))}; /* if i > 0 then x[i - 1] */
    f.when = when;
    f.n_when = 1;
    assert_int_equal(dim_subscript(ctx, &f, sub(dim_of(ctx, i), c(1)), h), DIM_PROVED);
}

static void claims_about_maxima_are_split(void **state) {
    (void)state;
    Dim m = larger(mul(h, h), mul(c(6), w)), three = larger(m, mul(c(9), ds));
    assert_true(dim_prove_nonneg(ctx, NULL, sub(m, mul(c(6), w))));
    assert_true(dim_prove_nonneg(ctx, NULL, sub(three, mul(h, h))));
    assert_true(dim_prove_nonneg(ctx, NULL, sub(add(mul(h, h), mul(c(6), w)), m))); /* max(a, b) <= a + b */
    assert_false(dim_prove_nonneg(ctx, NULL, sub(mul(h, h), m)));
    assert_false(dim_prove_nonneg(ctx, NULL, sub(m, three)));
    Dim when[1] = {sub(mul(h, h), mul(c(6), w))};
    DimFacts f = {.when = when, .n_when = 1};
    assert_true(dim_prove_nonneg(ctx, &f, sub(mul(h, h), m)));
}

static void random_verdicts_are_sound(void **state) {
    (void)state;
    int proved = 0;
    DimSym i = dim_symbol_new(ctx, str_of(ctx, "i"), 0, true);
    for (int n = 0; n < 400; n++) {
        Both ext = random_form(1), form = random_form(below(3)), size = random_form(1 + below(2));
        if (!ext.d || !form.d || !size.d)
            continue;
        DimIndex box[1] = {{i, ext.d}};
        DimFacts f = {.index = box, .n_index = 1};
        Dim e = add(mul(c(1 + below(2)), dim_of(ctx, i)), below(2) ? c(0) : form.d), top = below(2) ? add(ext.d, size.d) : size.d;
        DimVerdict v = dim_subscript(ctx, &f, e, top);
        proved += v == DIM_PROVED;
        for (int t = 0; t < POINTS && v != DIM_RUN_TIME; t++) {
            DimValue env[5] = {{H, point[t][0]}, {W, point[t][1]}, {s, point[t][2]}, {k, point[t][3]}, {i, 0}};
            int64_t extent, value, bound;
            bool leaves = false, defined = true; /* no divisor below 1 */
            if (!ext.ok[t] || !form.ok[t] || !size.ok[t] || !dim_eval(ext.d, env, 5, &extent) || extent < 1)
                continue;
            for (env[4].value = 0; env[4].value < extent; env[4].value++) {
                defined &= dim_eval(e, env, 5, &value) && dim_eval(top, env, 5, &bound);
                leaves |= value < 0 || value >= bound;
            }
            if (defined)
                assert_true(v == DIM_PROVED ? !leaves : leaves);
        }
    }
    assert_true(proved > 20);
}

static void explanations(void **state) {
    (void)state;
    const char *help;
    assert_string_equal(dim_explain(ctx, mul(c(2), quo(h, c(2))), NULL, h, NULL, &help), "2*(H // 2) is H only if 2 divides H");
    assert_string_equal(help, "crop with [:2*(H // 2)], or declare the axis as 2*M");
    assert_string_equal(dim_explain(ctx, c(24), "28 - 5 + 1", c(28), NULL, NULL), "24 = 28 - 5 + 1 differs from 28");
    assert_string_equal(dim_explain(ctx, h, NULL, add(h, c(2)), NULL, NULL), "H differs from H + 2 by 2");
    assert_non_null(strstr(dim_explain(ctx, h, NULL, w, NULL, NULL), "for example at H = 2, W = 1: 2 and 1"));
}

static void types_print_and_compare(void **state) {
    (void)state;
    Dim shape[2] = {h, c(10)};
    Type t = type_new(ctx, DT_F32, 2, shape);
    StrBuf sb = sb_new(&ctx->perm);
    type_print(&sb, t);
    assert_string_equal(sb.text, "f32[H, 10]");
    assert_true(type_equal(t, type_new(ctx, DT_F32, 2, shape)));
    assert_false(type_equal(t, type_with(t, DT_F64)));
    assert_ptr_equal(type_count(ctx, t), mul(h, c(10)));
    assert_int_equal(dtype_named(str_of(ctx, "i32")), DT_I32);
    assert_int_equal(dtype_named(str_of(ctx, "real")), DT_NONE);
}

/* A compilation makes millions of sums whose results are known: they take no memory. */
static void known_sums_leave_nothing(void **state) {
    (void)state;
    Dim e = add(mul(c(3), h), add(w, c(1)));
    assert_ptr_equal(add(e, h), add(mul(c(4), h), add(w, c(1))));
    long before = ctx->allocs;
    for (int n = 0; n < 1000000; n++)
        add(e, h);
    assert_true(ctx->allocs - before <= 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_sums_leave_nothing),
        cmocka_unit_test(texts),
        cmocka_unit_test(equal_forms_are_equal_pointers),
        cmocka_unit_test(linear_parts),
        cmocka_unit_test(random_normal_forms_keep_their_values),
        cmocka_unit_test(window_reads_are_proved),
        cmocka_unit_test(claims_about_maxima_are_split),
        cmocka_unit_test(random_verdicts_are_sound),
        cmocka_unit_test(explanations),
        cmocka_unit_test(types_print_and_compare),
    };
    return cmocka_run_group_tests_name("dim", tests, set_up, tear_down);
}
