/* E.fit: the pass estimate, the op fit, its loops, its C entry. */
#include "tests/unit/fit_helper.h"

static const char COIN[] = "estimator coin[N](a: positive = 2, b: positive = 2) {\n"
                           "  data  x: bool[N]\n"
                           "  param phi: prob\n"
                           "  phi ~ Beta(a, b)\n"
                           "  x   ~ Bernoulli(phi)\n"
                           "}\n";

static FitCase coin(double prior) {
    return (FitCase){.text = COIN,
                     .name = "coin",
                     .dims = {10},
                     .data = {{1, 1, 0, 1, 1, 0, 1, 1, 0, 1}},
                     .start = {0.5},
                     .prior = prior,
                     .formals = {2, 2}};
}

static void a_coin(void **state) {
    (void)state;
    FitCase c = coin(1);
    FitAnswer a = fit_all_ways(&c);
    assert_int_equal(a.code, 0);
    assert_int_equal(a.info.observations, 10);
    assert_int_equal(a.info.where, -1);
    fit_close("phi", a.params[0], 8.0 / 12, 1e-12);
    fit_close("its variance", a.cov[0], 8.0 / 12 * (4.0 / 12) / 12, 1e-10);
    fit_close("loglik", a.info.loglik, 7 * log(8.0 / 12) + 3 * log(4.0 / 12), 1e-12);
    c = coin(0);
    a = fit_all_ways(&c);
    fit_close("phi", a.params[0], 0.7, 1e-12);
    fit_close("its variance", a.cov[0], 0.7 * 0.3 / 10, 1e-10);
}

/* A start outside the kind is an error, and nothing is written. */
static void a_bad_start(void **state) {
    (void)state;
    FitCase c = coin(1);
    FitAnswer loops, native;
    c.start[0] = 1.5;
    fit_try(&(FitTry){.c = &c, .loops = &loops, .native = &native});
    fit_same(&native, &loops, 0);
    assert_true(native.code < 0);
    assert_true(native.params[0] == 1.5 && native.cov[0] == 0 && native.info.method == 0);
}

/* Every kind at once: the modes are known in closed form. */
static const char KINDS[] =
    "estimator kinds[N] {\n"
    "  data  x: [N]\n"
    "  param r: real\n"
    "  param s: positive\n"
    "  param p: prob\n"
    "  param i: interval(-1, 3)\n"
    "  param w: simplex[2, 3]\n"
    "  param o: ordered[3]\n"
    "  x ~ Normal(r, 1)\n"
    "  s ~ Gamma(3, 2)\n"
    "  p ~ Beta(3, 2)\n"
    "  i ~ Normal(2, 1)\n"
    "  w ~ LogDensity(for k < 2 => 2 * log(w[k, 0]) + 3 * log(w[k, 1]) + 5 * log(w[k, 2]))\n"
    "  o ~ Normal(for k < 3 => 2.0 * k, 1)\n"
    "}\n";

static void every_kind(void **state) {
    (void)state;
    FitCase c = {.text = KINDS, .name = "kinds", .dims = {4}, .data = {{1, 2, 4, 5}}, .prior = 1};
    double start[] = {0, 1, 0.5, 1, 1 / 3., 1 / 3., 1 / 3., 1 / 3., 1 / 3., 1 / 3., -1, 0, 1},
           want[] = {3, 1, 2 / 3., 2, .2, .3, .5, .2, .3, .5, 0, 2, 4};
    memcpy(c.start, start, sizeof start);
    FitAnswer a = fit_all_ways(&c);
    assert_int_equal(a.code, 0);
    for (int k = 0; k < 13; k++)
        fit_close("the mode", a.params[k], want[k], 1e-9);
    const double *v = a.cov;
    int n = 13;
    fit_close("r", v[0], 0.25, 1e-9);
    fit_close("s", v[1 * n + 1], 0.5, 1e-9); /* mode^2 / (shape - 1) */
    fit_close("i", v[3 * n + 3], 1, 1e-9);
    fit_close("w", v[4 * n + 4], .2 * .8 / 10, 1e-9);
    fit_close("w, w", v[4 * n + 5], -.2 * .3 / 10, 1e-9);
    fit_close("w, other w", v[4 * n + 8], 0, 1e-9);
    fit_close("o", v[11 * n + 11], 1, 1e-9);
    fit_close("o, o", v[11 * n + 10], 0, 1e-9);
}

/* Separation: the second coefficient diverges. */
static const char LOGIT[] = "estimator logit[N, D] {\n"
                            "  data  X: [N, D]\n"
                            "  data  y: bool[N]\n"
                            "  param s: simplex[2]\n"
                            "  param w: [D]\n"
                            "  s ~ LogDensity(log(s[0]) + log(s[1]))\n"
                            "  w ~ Normal(0, 100)\n"
                            "  y ~ Bernoulli(logit = X @ w)\n"
                            "}\n";

static void separation_names_the_parameter(void **state) {
    (void)state;
    FitCase c = {.text = LOGIT,
                 .name = "logit",
                 .dims = {6, 2},
                 .data = {{1, -2, 1, -1, 1, -3, 1, 2, 1, 1, 1, 3}, {0, 0, 0, 1, 1, 1}},
                 .start = {.5, .5},
                 .prior = 1};
    FitAnswer a = fit_all_ways(&c);
    assert_int_equal(a.code, 0);
    assert_true(a.cov[2 * 4 + 2] > 0);
    c.text = "estimator logit[N, D] {\n data X: [N, D]\n data y: bool[N]\n param s: simplex[2]\n "
             "param w: [D]\n"
             " y ~ Bernoulli(logit = X @ w)\n X[:1, 0] ~ LogDensity(log(s[0]) + log(s[1]))\n}\n";
    FitAnswer loops, native;
    fit_try(&(FitTry){.c = &c, .loops = &loops, .native = &native});
    assert_int_equal(native.code, 3);
    assert_int_equal(native.info.where, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_coin), cmocka_unit_test(a_bad_start),
                                       cmocka_unit_test(every_kind),
                                       cmocka_unit_test(separation_names_the_parameter)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
