/* Fits of many rows begin on a part of them: the answer, and what is said where there is none, are
 * those of all rows. */
#include "tests/unit/fit_helper.h"

enum { N = 40000, PER_GROUP = N / 8 };

static double xs[2 * N], ys[N];

static const char logit[] = "estimator e[N, D] { data x: [N, D] data y: bool[N] param w: [D] param "
                            "c: real  y ~ Bernoulli(logit = x @ w + c) }";

static double uniform(uint64_t *s) {
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (double)(*s >> 11) * 0x1p-53;
}

static void draw(void) {
    uint64_t s = 7;
    for (int n = 0; n < N; n++) {
        double z = -0.4;
        for (int k = 0; k < 2; k++) {
            xs[2 * n + k] = uniform(&s) * 4 - 2;
            z += (k ? -0.9 : 0.7) * xs[2 * n + k];
        }
        ys[n] = uniform(&s) < 1 / (1 + exp(-z));
    }
}

static FitAnswer fit(int64_t rows) {
    FitAnswer r = {0};
    FitCase c = {.text = logit,
                 .name = "e",
                 .dims = {rows, 2},
                 .many = {xs, ys},
                 .n_many = {2 * rows, rows},
                 .prior = 1};
    fit_try(&(FitTry){.c = &c, .native = &r});
    return r;
}

/* The gradient at the estimate, in units of the standard errors' inverse. */
static void assert_mode(const FitAnswer *r, int64_t rows) {
    double g[3] = {0};
    for (int n = 0; n < rows; n++) {
        const double *x = xs + 2 * n, *w = r->params;
        double e = ys[n] - 1 / (1 + exp(-(w[0] * x[0] + w[1] * x[1] + w[2])));
        g[0] += e * x[0];
        g[1] += e * x[1];
        g[2] += e;
    }
    for (int k = 0; k < 3; k++)
        fit_close("the score", g[k] * sqrt(r->cov[k * 3 + k]), 0, 1e-9);
}

static void a_part_of_the_rows_goes_before(void **state) {
    (void)state;
    draw();
    FitAnswer r = fit(N), fewer = fit(N / 2);
    assert_int_equal(r.code, 0);
    assert_mode(&r, N);
    assert_mode(&fewer, N / 2);
    assert_true(r.info.iterations < fewer.info.iterations); /* the part's steps do not count */
    double inverse[9] = {0};                                /* of the covariance: sum of w x x' */
    for (int n = 0; n < N; n++) {
        const double x[3] = {xs[2 * n], xs[2 * n + 1], 1}, *w = r.params;
        double p = 1 / (1 + exp(-(w[0] * x[0] + w[1] * x[1] + w[2])));
        for (int k = 0; k < 9; k++)
            inverse[k] += p * (1 - p) * x[k / 3] * x[k % 3];
    }
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            double s = 0;
            for (int k = 0; k < 3; k++)
                s += inverse[i * 3 + k] * r.cov[k * 3 + j];
            fit_close("the covariance by its inverse", s, i == j, 1e-6);
        }
}

/* All of the part has y = 0, so its intercept diverges. */
static void a_part_without_an_answer(void **state) {
    (void)state;
    draw();
    for (int n = 0; n < N; n++)
        if (n % PER_GROUP < PER_GROUP / 8)
            ys[n] = 0;
    FitAnswer r = fit(N);
    assert_int_equal(r.code, 0);
    assert_mode(&r, N);
}

/* All rows are separated; then the part alone is. */
static void separation_is_that_of_all_rows(void **state) {
    (void)state;
    draw();
    for (int n = 0; n < N; n++)
        ys[n] = xs[2 * n] > 0.1;
    FitAnswer r = fit(N), fewer = fit(N / 2);
    assert_int_equal(r.code, 3);
    assert_int_equal(fewer.code, 3);
    assert_int_equal(r.info.where, fewer.info.where);
    for (int n = 0; n < N; n++)
        if (n % PER_GROUP >= PER_GROUP / 8)
            ys[n] = n % 3 == 0;
    r = fit(N);
    assert_int_equal(r.code, 0);
    assert_mode(&r, N);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_part_of_the_rows_goes_before),
                                       cmocka_unit_test(a_part_without_an_answer),
                                       cmocka_unit_test(separation_is_that_of_all_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
