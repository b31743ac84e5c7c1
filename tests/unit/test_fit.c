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
    const FitWay ways[] = {FIT_WAY_CLOSED, FIT_WAY_NEWTON};
    for (int k = 0; k < 2; k++) {
        FitCase c = coin(1);
        c.way = ways[k];
        FitAnswer a = fit_all_ways(&c);
        assert_int_equal(a.code, 0);
        assert_int_equal(a.info.method, k ? 3 : 1);
        assert_int_equal(a.info.observations, 10);
        assert_int_equal(a.info.where, -1);
        fit_close("phi", a.params[0], 8.0 / 12, 1e-12);
        fit_close("its variance", a.cov[0], 8.0 / 12 * (4.0 / 12) / 12, 1e-10);
        fit_close("loglik", a.info.loglik, 7 * log(8.0 / 12) + 3 * log(4.0 / 12), 1e-12);
        c.prior = 0;
        a = fit_all_ways(&c);
        fit_close("phi", a.params[0], 0.7, 1e-12);
        fit_close("its variance", a.cov[0], 0.7 * 0.3 / 10, 1e-10);
    }
}

/* All heads: the mode stands on the boundary, exactly, without an error. */
static void a_boundary_mode(void **state) {
    (void)state;
    for (int way = FIT_WAY_CLOSED; way <= FIT_WAY_NEWTON; way += FIT_WAY_NEWTON - FIT_WAY_CLOSED)
        for (int heads = 0; heads < 2; heads++) {
            FitCase c = coin(0);
            FitAnswer loops, native;
            c.way = (FitWay)way;
            for (int k = 0; k < 10; k++)
                c.data[0][k] = heads;
            fit_try(&(FitTry){.c = &c, .loops = &loops, .native = &native});
            fit_same(&native, &loops, 0);
            assert_int_equal(native.code, 0);
            assert_true(native.params[0] == heads);
            assert_true(isnan(native.cov[0]));
        }
}

/* A start outside the kind is an error, and nothing is written. */
static void a_bad_start(void **state) {
    (void)state;
    FitCase c = coin(1);
    FitAnswer loops, native;
    c.way = FIT_WAY_NEWTON;
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

/* The terms of the log likelihood that do not depend on the rate are added outside of the passes.
 */
static void counts_with_their_factorials(void **state) {
    (void)state;
    static const double y[6] = {0, 3, 1, 4, 7, 2};
    double loglik = 0, sum = 0;
    for (int k = 0; k < 6; k++)
        sum += y[k];
    FitCase c = {
        .text =
            "estimator counts[N] {\n data y: int[N]\n param b: real\n y ~ Poisson(log = b)\n}\n",
        .name = "counts",
        .dims = {6},
        .data = {{0, 3, 1, 4, 7, 2}},
        .prior = 1,
        .way = FIT_WAY_NEWTON};
    FitAnswer a = fit_all_ways(&c);
    assert_int_equal(a.code, 0);
    fit_close("the log rate", a.params[0], log(sum / 6), 1e-12);
    for (int k = 0; k < 6; k++)
        loglik += y[k] * log(sum / 6) - sum / 6 - lgamma(y[k] + 1);
    fit_close("loglik", a.info.loglik, loglik, 1e-12);
    fit_close("its variance", a.cov[0], 1 / sum, 1e-10);
}

/* Least squares: the numbers of R's lm(dist ~ speed) on ten rows of `cars`, by hand here. */
static const char LINE[] = "estimator line[N](lambda: positive = 1) {\n"
                           "  data  x: [N]\n"
                           "  data  y: [N]\n"
                           "  data  u: [N]\n"
                           "  param sigma: positive\n"
                           "  param a: real\n"
                           "  param b: real\n"
                           "  b ~ Normal(1, 2 * sigma / sqrt(lambda))\n"
                           "  y ~ Normal(a + b * x, sigma / sqrt(u))\n"
                           "}\n";

static FitCase line(double prior) {
    return (FitCase){.text = LINE,
                     .name = "line",
                     .dims = {6},
                     .data = {{1, 2, 3, 4, 5, 6}, {2, 4, 5, 4, 7, 9}, {1, 2, 1, 2, 1, 2}},
                     .start = {1, 0, 0},
                     .prior = prior,
                     .formals = {4}};
}

/* Weighted normal equations in two unknowns; a prior on b adds (1 - b)^2, since 2 / sqrt(4) = 1. */
static void line_by_hand(const FitCase *c, double *a, double *b, double *rss) {
    double s[3] = {0}, t[2] = {0};
    for (int k = 0; k < 6; k++) {
        double x = c->data[0][k], y = c->data[1][k], u = c->data[2][k];
        s[0] += u, s[1] += u * x, s[2] += u * x * x;
        t[0] += u * y, t[1] += u * x * y;
    }
    s[2] += c->prior, t[1] += c->prior;
    double det = s[0] * s[2] - s[1] * s[1];
    *a = (t[0] * s[2] - t[1] * s[1]) / det;
    *b = (s[0] * t[1] - s[1] * t[0]) / det;
    *rss = c->prior * (1 - *b) * (1 - *b);
    for (int k = 0; k < 6; k++) {
        double e = c->data[1][k] - *a - *b * c->data[0][k];
        *rss += c->data[2][k] * e * e;
    }
}

static void a_line(void **state) {
    (void)state;
    for (int prior = 0; prior < 2; prior++) {
        FitCase c = line(prior);
        double a, b, rss, n = 6 + prior;
        line_by_hand(&c, &a, &b, &rss);
        FitAnswer r = fit_all_ways(&c);
        assert_int_equal(r.code, 0);
        assert_int_equal(r.info.method, 2);
        fit_close("a", r.params[1], a, 1e-12);
        fit_close("b", r.params[2], b, 1e-12);
        fit_close("sigma", r.params[0], sqrt(rss / n), 1e-12);
        fit_close("s2", r.info.s2, rss / (n - 2), 1e-12);
        fit_close("df", r.info.df, n - 2, 0);
        fit_close("var sigma", r.cov[0], rss / n / (2 * n), 1e-12);
        fit_close("cov sigma, a", r.cov[1], 0, 0);
    }
}

/* The scale is known: its own covariance, and no s2 in it. */
static void a_known_scale(void **state) {
    (void)state;
    FitCase c = {.text = "estimator mean[N] {\n data y: [N]\n param m: real\n m ~ Normal(0, 3)\n y "
                         "~ Normal(m, 2)\n}\n",
                 .name = "mean",
                 .dims = {4},
                 .data = {{1, 2, 3, 6}},
                 .prior = 1};
    FitAnswer r = fit_all_ways(&c);
    double w = 4 / 4.0 + 1 / 9.0;
    fit_close("m", r.params[0], 12 / 4.0 / w, 1e-12);
    fit_close("its variance", r.cov[0], 1 / w, 1e-12);
}

static void a_curve(void **state) {
    (void)state;
    FitCase c = {.text = "estimator curve[N] {\n data x: [N]\n data y: [N]\n param a: real\n param "
                         "k: positive\n param s: positive\n"
                         " y ~ Normal(a * (1 - exp(-k * x)), s)\n}\n",
                 .name = "curve",
                 .dims = {6},
                 .data = {{1, 2, 3, 4, 5, 6}, {3.9, 6.4, 7.8, 8.6, 9.2, 9.4}},
                 .start = {1, 1, 1},
                 .prior = 1};
    FitAnswer r = fit_all_ways(&c);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.info.method, 2);
    double grad[2] = {0};
    for (int n = 0; n < 6; n++) { /* the residual is orthogonal to both columns */
        double e = exp(-r.params[1] * c.data[0][n]), d = c.data[1][n] - r.params[0] * (1 - e);
        grad[0] += d * (1 - e);
        grad[1] += d * r.params[0] * c.data[0][n] * e;
    }
    fit_close("the first column", grad[0], 0, 1e-9);
    fit_close("the second column", grad[1], 0, 1e-8);
}

static void dependent_columns_are_named(void **state) {
    (void)state;
    FitCase c = line(0);
    FitAnswer loops, native;
    for (int k = 0; k < 6; k++)
        c.data[0][k] = 2;
    fit_try(&(FitTry){.c = &c, .loops = &loops, .native = &native});
    fit_same(&native, &loops, 0);
    assert_int_equal(native.code, 2);
    assert_int_equal(native.info.where, 2);
    assert_true(isnan(native.cov[2 * 3 + 2]));
}

static const char CURVE[] =
    "estimator logit[N] {\n data x: [N]\n data y: bool[N]\n param a: real\n "
    "param b: real\n y ~ Bernoulli(logit = a + b * x)\n}\n";

/* L-BFGS ends where Newton's method does, and is as sure of it. */
static void lbfgs_ends_where_newton_does(void **state) {
    (void)state;
    FitCase c = {.text = CURVE,
                 .name = "logit",
                 .dims = {8},
                 .data = {{-3, -2, -1, 0, 1, 2, 3, 4}, {0, 0, 1, 0, 1, 0, 1, 1}},
                 .way = FIT_WAY_NEWTON};
    FitAnswer newton = fit_all_ways(&c), lbfgs;
    c.way = FIT_WAY_LBFGS;
    lbfgs = fit_all_ways(&c);
    assert_int_equal(lbfgs.code, 0);
    assert_int_equal(lbfgs.info.method, 4);
    for (int k = 0; k < 4; k++) {
        fit_close("an estimate", lbfgs.params[k], newton.params[k], 1e-12);
        fit_close("a covariance", lbfgs.cov[k], newton.cov[k], 1e-10);
    }
}

static void lbfgs_tells_separation(void **state) {
    (void)state;
    FitCase c = {.text = CURVE,
                 .name = "logit",
                 .dims = {8},
                 .data = {{-30, -20, -10, 0, 0, 20, 30, 40}, {0, 0, 0, 0, 1, 1, 1, 1}},
                 .way = FIT_WAY_LBFGS};
    FitAnswer loops, native;
    fit_try(&(FitTry){.c = &c, .loops = &loops, .native = &native});
    fit_same(&native, &loops, 0);
    assert_int_equal(native.code, 3);
    assert_int_equal(native.info.where, 1);
}

static void lbfgs_at_a_boundary_and_without_a_mode(void **state) {
    (void)state;
    FitCase c = coin(0);
    FitAnswer loops, native;
    c.way = FIT_WAY_LBFGS;
    for (int k = 0; k < 10; k++)
        c.data[0][k] = 1;
    fit_try(&(FitTry){.c = &c, .loops = &loops, .native = &native});
    assert_int_equal(native.code, 0);
    assert_true(native.params[0] == 1 && isnan(native.cov[0]));
    c = (FitCase){.text = "estimator twice[N] {\n data y: [N]\n param a: real\n param b: real\n"
                          " y ~ StudentT(4, a + b, 1)\n}\n",
                  .name = "twice",
                  .dims = {4},
                  .data = {{1, 2, 3, 5}},
                  .way = FIT_WAY_LBFGS};
    fit_try(&(FitTry){.c = &c, .loops = &loops, .native = &native});
    assert_int_equal(native.code, 5);
    assert_int_equal(native.info.where, 1);
}

/* Asked to stop, X_fit returns a positive code with the best point so far: before the first job
 * that is the start, later something better. */
static void a_stopped_fit_returns_its_best_point(void **state) {
    (void)state;
    FitCase c = {.text = "estimator logit[N] {\n data x: [N]\n data y: bool[N]\n param a: real\n "
                         "param b: real\n y ~ Bernoulli(logit = a + b * x)\n}\n",
                 .name = "logit",
                 .dims = {64},
                 .way = FIT_WAY_NEWTON};
    for (int k = 0; k < 64; k++) {
        c.data[0][k] = k - 32;
        c.data[1][k] = (k * 7 + 3) % 64 < k;
    }
    FitAnswer whole, loops, stopped;
    c.stop_after = INT_MAX; /* counts the jobs */
    fit_try(&(FitTry){.c = &c, .loops = &loops, .native = &whole});
    assert_int_equal(whole.code, 0);
    for (int half = 0; half < 2; half++) {
        c.stop_after = half ? whole.jobs / 2 : 1;
        fit_try(&(FitTry){.c = &c, .loops = &loops, .native = &stopped});
        assert_int_equal(stopped.code, 6);
        assert_int_equal(stopped.info.observations, 64);
        assert_true(isfinite(stopped.cov[3]) && stopped.info.loglik < whole.info.loglik);
        bool at_start = fabs(stopped.info.loglik + 64 * log(2)) < 1e-12;
        assert_true(half ? stopped.info.loglik > -64 * log(2) + 1 : at_start);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_coin),
                                       cmocka_unit_test(a_boundary_mode),
                                       cmocka_unit_test(a_bad_start),
                                       cmocka_unit_test(every_kind),
                                       cmocka_unit_test(a_line),
                                       cmocka_unit_test(a_known_scale),
                                       cmocka_unit_test(a_curve),
                                       cmocka_unit_test(dependent_columns_are_named),
                                       cmocka_unit_test(counts_with_their_factorials),
                                       cmocka_unit_test(separation_names_the_parameter),
                                       cmocka_unit_test(lbfgs_ends_where_newton_does),
                                       cmocka_unit_test(lbfgs_tells_separation),
                                       cmocka_unit_test(lbfgs_at_a_boundary_and_without_a_mode),
                                       cmocka_unit_test(a_stopped_fit_returns_its_best_point)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
