/* Elements that `when` holds are no unknowns of a fit: it is that of the model in which they are
 * numbers, by every way and for every kind, and they keep the values given. */
#include "tests/unit/fit_helper.h"

enum { N = 16, MOST_PAIRS = 9, MOST = 18 };

static const double X[3 * N] = {1, .31, -.7,  1, -1.2, .4,  1, .85, 1.3, 1, .1,  -.2,
                                1, -.6, -1.1, 1, 1,    .9,  1, 1.4, -.3, 1, -.4, .6,
                                1, .7,  -1.4, 1, -1.5, .2,  1, .25, .5,  1, -.9, -.8,
                                1, .55, 1.1,  1, -.1,  .05, 1, 1.2, -.6, 1, -.3, 1.5};
static const double Y[N] = {.9, -.3, .2, 1.3, 1.1, .8, 2.2, .1, 2.4, -.4, .6, .7, .5, .8, 2.1, -.7};
static const double B[N] = {1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0};
static const double G[N] = {0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0};

typedef struct HeldCase {
    const char *held, *plain; /* the same model, both named e */
    const double *first, *second;
    int n_first;
    double start[MOST], plain_start[MOST];
    int pairs[MOST_PAIRS][2], n_pairs; /* learned elements in both */
    int n, n_plain;                    /* elements in params */
    double prior;
    FitWay ways[3];
    int n_ways;
} HeldCase;

#define NUMERIC {FIT_WAY_NEWTON, FIT_WAY_LBFGS}, 2
#define SQUARES {FIT_WAY_LSQ, FIT_WAY_NEWTON, FIT_WAY_LBFGS}, 3
#define ON "const on = [true, false, true] "
#define LINEAR                                                                                     \
    "estimator e[N] { data x: [N, 3] data y: [N] param w: [3] = 0.5 when on param s: positive "
#define PLAIN                                                                                      \
    "estimator e[N] { data x: [N, 3] data y: [N] param a: real param b: real param s: positive "
#define MEAN "for n < N => x[n, 0] * a + 0.5 * x[n, 1] + x[n, 2] * b"

static const HeldCase cases[] = {
    /* an affine mean: QR */
    {ON LINEAR "y ~ Normal(x @ w, s) }",
     PLAIN "y ~ Normal(" MEAN ", s) }",
     X,
     Y,
     3 * N,
     {0, .5, 0, 1},
     {0, 0, 1},
     {{0, 0}, {2, 1}, {3, 2}},
     3,
     4,
     3,
     1,
     SQUARES},
    /* priors in units of the scale: those of held elements count neither as rows nor in the prior
     */
    {ON LINEAR "w ~ Normal(0, 2 * s) y ~ Normal(x @ w, s) }",
     PLAIN "a ~ Normal(0, 2 * s) b ~ Normal(0, 2 * s) y ~ Normal(" MEAN ", s) }",
     X,
     Y,
     3 * N,
     {0, .5, 0, 1},
     {0, 0, 1},
     {{0, 0}, {2, 1}, {3, 2}},
     3,
     4,
     3,
     1,
     SQUARES},
    /* a curved mean: Levenberg and Marquardt */
    {ON LINEAR "y ~ Normal(exp(0.3 * x @ w), s) }",
     PLAIN "y ~ Normal(for n < N => exp(0.3 * (x[n, 0] * a + 0.5 * x[n, 1] + x[n, 2] * b)), s) }",
     X,
     Y,
     3 * N,
     {0, .5, 0, 1},
     {0, 0, 1},
     {{0, 0}, {2, 1}, {3, 2}},
     3,
     4,
     3,
     1,
     SQUARES},
    {ON "estimator e[N] { data x: [N, 3] data y: bool[N] param w: [3] when on "
        "w ~ Normal(0, 2) y ~ Bernoulli(logit = x @ w) }",
     "estimator e[N] { data x: [N, 3] data y: bool[N] param a: real param b: real "
     "a ~ Normal(0, 2) b ~ Normal(0, 2) y ~ Bernoulli(logit = " MEAN ") }",
     X,
     B,
     3 * N,
     {0, .5, 0},
     {0, 0},
     {{0, 0}, {2, 1}},
     2,
     3,
     2,
     1,
     NUMERIC},
    /* kinds whose elements are free one by one */
    {ON "estimator e[N] { data g: index(3)[N] data y: [N] param m: interval(-1, 2)[3] when on "
        "param s: positive[3] when on y ~ Normal(m[g], s[g]) }",
     "estimator e[N] { data g: index(3)[N] data y: [N] param a: interval(-1, 2) "
     "param b: interval(-1, 2) param s: positive param t: positive "
     "y ~ Normal(for n < N => if g[n] == 0 then a else if g[n] == 2 then b else 0.25, "
     "for n < N => if g[n] == 0 then s else if g[n] == 2 then t else 0.7) }",
     G,
     Y,
     N,
     {.5, .25, .5, 1, .7, 1},
     {.5, .5, 1, 1},
     {{0, 0}, {2, 1}, {3, 2}, {5, 3}},
     4,
     6,
     4,
     1,
     NUMERIC},
    {ON "estimator e[N] { data g: index(3)[N] data y: bool[N] param p: prob[3] when on "
        "p ~ Beta(2, 2) y ~ Bernoulli(p[g]) }",
     "estimator e[N] { data g: index(3)[N] data y: bool[N] param a: prob param b: prob "
     "a ~ Beta(2, 2) b ~ Beta(2, 2) "
     "y ~ Bernoulli(for n < N => if g[n] == 0 then a else if g[n] == 2 then b else 0.3) }",
     G,
     B,
     N,
     {.5, .3, .5},
     {.5, .5},
     {{0, 0}, {2, 1}},
     2,
     3,
     2,
     1,
     NUMERIC},
    /* kinds of which whole values are held, along an axis that is not the last, and not the first
     */
    {"const on = [false, true] model f[N, A](x: [N, 3], on: bool[A]) -> [N] { "
     "param v: simplex[A, 3] when on param o: ordered[A, 3] when on param c: [3, A] when on "
     "return for n < N => sum(for a < A, k < 3 => (a + 1) * v[a, k] * x[n, k] + o[a, k] * "
     "(1 - k) * x[n, 1] + c[k, a] * cos((k + 1) * x[n, 2])) } "
     "estimator e[N] { data x: [N, 3] data y: [N] z = f(x, on) z.v ~ Dirichlet([2, 3, 2]) "
     "z.c ~ Normal(0, 1) z.o ~ Normal(0, 1) y ~ Normal(z, 1) }",
     "estimator e[N] { data x: [N, 3] data y: [N] param v: simplex[3] param o: ordered[3] "
     "param c: [3] v ~ Dirichlet([2, 3, 2]) c ~ Normal(0, 1) o ~ Normal(0, 1) "
     "y ~ Normal(for n < N => "
     "sum(for k < 3 => (2 * v[k] + (k + 1) / 6) * x[n, k] + (o[k] + 0.1 * k) * "
     "(1 - k) * x[n, 1] + (c[k] + 0.2) * cos((k + 1) * x[n, 2])), 1) }",
     X,
     Y,
     3 * N,
     {1 / 6., 2 / 6., 3 / 6., .2, .3, .5, 0, .1, .2, -1, 0, 1, .2, 0, .2, 0, .2, 0},
     {.2, .3, .5, -1, 0, 1},
     {{3, 0}, {4, 1}, {5, 2}, {9, 3}, {10, 4}, {11, 5}, {13, 6}, {15, 7}, {17, 8}},
     9,
     18,
     9,
     1,
     NUMERIC},
    {"const on = [true, false] model f[N, A](x: [N, 3], on: bool[A]) -> [N] { "
     "param l: cholesky[A, 2, 2] when on return for n < N => sum(for a < A => log(l[a, 0, 0]) + "
     "log(l[a, 1, 1]) + 0.5 * ((x[n, 1] / l[a, 0, 0]) ^ 2 + "
     "((x[n, 2] - l[a, 1, 0] * x[n, 1]) / l[a, 1, 1]) ^ 2)) } "
     "estimator e[N] { data x: [N, 3] data y: [N] z = f(x, on) minimize sum(z) + 0 * sum(y) }",
     "estimator e[N] { data x: [N, 3] data y: [N] param l: cholesky[2, 2] minimize "
     "sum(for n < N => log(l[0, 0]) + log(l[1, 1]) + 0.5 * ((x[n, 1] / l[0, 0]) ^ 2 + "
     "((x[n, 2] - l[1, 0] * x[n, 1]) / l[1, 1]) ^ 2)) + 0 * sum(y) }",
     X,
     Y,
     3 * N,
     {1, 0, 0, 1, 1, 0, 0.5, 2},
     {1, 0, 0, 1},
     {{0, 0}, {2, 2}, {3, 3}},
     3,
     8,
     4,
     1,
     NUMERIC},
    /* a parameter that is held as a whole */
    {"const off = [false, false, false] estimator e[N] { data x: [N, 3] data y: [N] "
     "param c: [3] when off param w: [3] param s: positive "
     "c ~ Normal(0, 1) y ~ Normal(x @ w + c[1], s) }",
     "estimator e[N] { data x: [N, 3] data y: [N] param w: [3] param s: positive "
     "y ~ Normal(x @ w + 0.25, s) }",
     X,
     Y,
     3 * N,
     {9, .25, 9, 0, 0, 0, 1},
     {0, 0, 0, 1},
     {{3, 0}, {4, 1}, {5, 2}, {6, 3}},
     4,
     7,
     4,
     1,
     SQUARES}};

static FitAnswer fit(const HeldCase *h, bool held, FitWay way) {
    FitCase c = {
        .text = held ? h->held : h->plain, .name = "e", .dims = {N}, .prior = h->prior, .way = way};
    memcpy(c.data[0], h->first, (size_t)h->n_first * sizeof(double));
    memcpy(c.data[1], h->second, N * sizeof(double));
    memcpy(c.start, held ? h->start : h->plain_start, sizeof h->start);
    return fit_all_ways(&c);
}

static bool is_learned(const HeldCase *h, int k, int *to) {
    for (int j = 0; j < h->n_pairs; j++)
        if (h->pairs[j][0] == k) {
            *to = h->pairs[j][1];
            return true;
        }
    return false;
}

static void compare(const HeldCase *h, const FitAnswer *a, const FitAnswer *b) {
    assert_int_equal(a->code, 0);
    assert_int_equal(b->code, 0);
    assert_int_equal(a->info.method, b->info.method);
    assert_int_equal(a->info.observations, b->info.observations);
    for (int k = 0, to = 0; k < h->n; k++) {
        if (!is_learned(h, k, &to)) {
            assert_true(a->params[k] == h->start[k]);
            for (int j = 0; j < h->n; j++)
                fit_close("the covariance of what is held", a->cov[k * h->n + j], 0, 0);
            continue;
        }
        fit_close("an estimate", a->params[k], b->params[to], 1e-10);
        for (int j = 0, other = 0; j < h->n; j++)
            if (is_learned(h, j, &other))
                fit_close("a covariance", a->cov[k * h->n + j], b->cov[to * h->n_plain + other],
                          1e-10);
    }
    fit_close("loglik", a->info.loglik, b->info.loglik, 1e-10);
    fit_close("logprior", isnan(a->info.logprior) ? 0 : a->info.logprior,
              isnan(b->info.logprior) ? 0 : b->info.logprior, 1e-10);
    fit_close("s2", a->info.s2, b->info.s2, 1e-10);
    fit_close("df", a->info.df, b->info.df, 0);
    fit_close("r2", a->info.r2, b->info.r2, 1e-10);
}

static void held_elements_are_no_unknowns(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int w = 0; w < cases[k].n_ways; w++) {
            FitAnswer a = fit(&cases[k], true, cases[k].ways[w]),
                      b = fit(&cases[k], false, cases[k].ways[w]);

            compare(&cases[k], &a, &b);
        }
}

/* What the fit calls is found by structure: a held element takes nothing from least squares. */
static void a_linear_mean_stays_linear(void **state) {
    (void)state;
    FitAnswer a = fit(&cases[0], true, FIT_WAY_AUTO);
    assert_int_equal(a.info.method, 2);
    assert_int_equal(a.info.iterations, 1);
}

static void nothing_is_learned(void **state) {
    (void)state;
    static const char text[] = "const off = [false, false, false] estimator e[N] { data x: [N, 3] "
                               "data y: [N] param w: [3] when off y ~ Normal(x @ w, 1) }";
    double sum = 0;
    for (int n = 0; n < N; n++) {
        double e = Y[n] - X[3 * n] * .5 - X[3 * n + 1] + X[3 * n + 2];
        sum += -e * e / 2 - log(2 * 3.14159265358979323846) / 2;
    }
    const FitWay ways[] = {FIT_WAY_AUTO, FIT_WAY_NEWTON, FIT_WAY_LBFGS};
    for (int k = 0; k < 3; k++) {
        FitCase c = {.text = text, .name = "e", .dims = {N}, .start = {.5, 1, -1}, .way = ways[k]};
        memcpy(c.data[0], X, sizeof X);
        memcpy(c.data[1], Y, sizeof Y);
        FitAnswer a = fit_all_ways(&c);
        assert_int_equal(a.code, 0);
        fit_close("loglik", a.info.loglik, sum, 1e-12);
        for (int j = 0; j < 3; j++)
            assert_true(a.params[j] == c.start[j]);
    }
}

/* The element at fault is named by its place in params, not in what is learned. */
static void the_fault_is_among_the_learned(void **state) {
    (void)state;
    static const char text[] =
        ON "estimator e[N] { data x: [N, 3] data y: [N] param c: [3] when on "
           "param w: [3] when on y ~ Normal(x @ w + x @ c, 1) }";
    for (int way = FIT_WAY_LSQ; way <= FIT_WAY_NEWTON; way++) {
        FitCase c = {.text = text, .name = "e", .dims = {N}, .way = (FitWay)way};
        memcpy(c.data[0], X, sizeof X);
        memcpy(c.data[1], Y, sizeof Y);
        FitAnswer a = fit_all_ways(&c);
        assert_true(a.code == 2 || a.code == 5);
        assert_true(a.info.where >= 0 && a.info.where != 1 && a.info.where != 4);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(held_elements_are_no_unknowns),
        cmocka_unit_test(a_linear_mean_stays_linear),
        cmocka_unit_test(nothing_is_learned),
        cmocka_unit_test(the_fault_is_among_the_learned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
