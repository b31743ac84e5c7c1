/* driver/fit_result.h on results that are filled by hand: names, tests, intervals, table, JSON,
 * CSV. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "driver/fit_exact.h"

typedef struct World {
    Ctx *ctx;
    Session s;
    AbiBlock block;
    DimEnv env;
    LabelList labels;
} World;

static void set_up(World *w) {
    memset(w, 0, sizeof *w);
    w->ctx = ctx_new(0);
    assert_non_null(w->ctx);
    w->s.ctx = w->ctx;
    w->s.arena = &w->ctx->perm;
}

static DimSym new_dim(World *w, const char *name, int64_t value) {
    DimSym d = dim_symbol_new(w->ctx, str_of(w->ctx, name), 1, false);
    env_set(&w->s, &w->env, d, value);
    return d;
}

static void add_param(World *w, const char *path, AbiKind kind, int rank, const Dim *shape) {
    AbiTensor t = {.path = str_of(w->ctx, path), .kind = kind, .lo = -1, .hi = 3};
    t.type = type_new(w->ctx, DT_F64, rank, shape);
    vec_push(w->s.arena, &w->block.params, t);
}

static void close_to(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance * fmax(1, fabs(want))))
        fail_msg("got %.17g, expected %.17g", got, want);
}

static void elements_are_named_after_columns_and_texts(void **state) {
    static const char *const columns[] = {"1", "age, in years"}, *const texts[] = {"blue", "red"};
    World w;
    (void)state;
    set_up(&w);
    DimSym d = new_dim(&w, "D", 2), j = new_dim(&w, "J", 2), k = new_dim(&w, "K", 3);
    Dim dk[2] = {dim_of(w.ctx, d), dim_of(w.ctx, k)}, jj[1] = {dim_of(w.ctx, j)};
    vec_push(w.s.arena, &w.labels, (AxisLabels){d, "X", columns, 2});
    vec_push(w.s.arena, &w.labels, (AxisLabels){j, "g", texts, 2});
    add_param(&w, "w", KIND_REAL, 2, dk);
    add_param(&w, "theta", KIND_REAL, 1, jj);
    add_param(&w, "v", KIND_REAL, 1, dk + 1);
    add_param(&w, "c", KIND_REAL, 0, NULL);
    int64_t n;
    FitElement *e = fit_elements(&w.s, NULL, &w.block, &w.env, &w.labels, &n);
    static const char *const want[] = {"w[1,0]",
                                       "w[1,1]",
                                       "w[1,2]",
                                       "w[age, in years,0]",
                                       "w[age, in years,1]",
                                       "w[age, in years,2]",
                                       "theta[blue]",
                                       "theta[red]",
                                       "v[0]",
                                       "v[1]",
                                       "v[2]",
                                       "c"};
    assert_int_equal(n, 12);
    for (int i = 0; i < 12; i++)
        assert_string_equal(e[i].name, want[i]);
    assert_int_equal(e[11].tensor, 3);
    ctx_free(w.ctx);
}

static void constrained_elements_count_and_stand_as_they_are_free(void **state) {
    World w;
    (void)state;
    set_up(&w);
    Dim two[3] = {dim_const(w.ctx, 2), dim_const(w.ctx, 3), dim_const(w.ctx, 3)};
    add_param(&w, "mix", KIND_SIMPLEX, 2, two);
    add_param(&w, "L", KIND_CHOLESKY, 3, two);
    add_param(&w, "cut", KIND_ORDERED, 1, two);
    assert_int_equal(fit_counted(&w.s, &w.block, &w.env), 2 * 2 + 2 * 6 + 2);
    int64_t n, upper = 0, positive = 0;
    FitElement *e = fit_elements(&w.s, NULL, &w.block, &w.env, &w.labels, &n);
    assert_int_equal(n, 6 + 18 + 2);
    for (int k = 0; k < n; k++) {
        upper += e[k].structural;
        positive += e[k].kind == KIND_POSITIVE;
    }
    assert_int_equal(upper, 6);
    assert_int_equal(positive, 6);
    double params[26] = {0}, cov[26 * 26] = {0};
    FitResult r = {.info = {.observations = 10}};
    fit_rows(w.s.arena, &r, e, n, params, cov);
    assert_int_equal(r.n_rows, 20);
    ctx_free(w.ctx);
}

/* Intervals of every kind, from the formulas. */
static void intervals_stay_inside_the_kind(void **state) {
    World w;
    (void)state;
    set_up(&w);
    const FitElement e[] = {{.name = "r", .kind = KIND_REAL},
                            {.name = "s", .kind = KIND_POSITIVE},
                            {.name = "p", .kind = KIND_PROB},
                            {.name = "i", .kind = KIND_INTERVAL, .lo = -1, .hi = 3},
                            {.name = "j", .kind = KIND_INTERVAL, .lo = 0, .hi = 3},
                            {.name = "b", .kind = KIND_PROB}};
    const double x[] = {1.5, 0.2, 0.7, 2, 1, 0};
    double cov[36] = {0};
    for (int k = 0; k < 5; k++)
        cov[7 * k] = 0.01;
    cov[35] = NAN;
    FitResult r = {.info = {.loglik = -12, .observations = 50}, .counted = 6};
    fit_rows(w.s.arena, &r, e, 6, x, cov);
    const double q = 1.9599639845400543;
    const FitRow *s = r.rows;
    close_to(s[0].std_error, 0.1, 1e-15);
    close_to(s[0].low, 1.5 - 0.1 * q, 1e-15);
    close_to(s[0].high, 1.5 + 0.1 * q, 1e-15);
    close_to(s[0].statistic, 15, 1e-14);
    close_to(s[1].low, 0.2 * exp(-q / 2), 1e-15);
    close_to(s[1].high, 0.2 * exp(q / 2), 1e-15);
    close_to(s[2].low, 1 / (1 + 3.0 / 7 * exp(q * 0.1 / 0.21)), 1e-15);
    close_to(s[2].high, 1 / (1 + 3.0 / 7 * exp(-q * 0.1 / 0.21)), 1e-15);
    close_to(s[3].high, -1 + 4 / (1 + 1.0 / 3 * exp(-q * 0.1 / 0.75)), 1e-15);
    assert_true(isfinite(s[3].statistic) && isfinite(s[3].p));
    assert_true(isnan(s[1].p) && isnan(s[2].p) && isnan(s[4].p)); /* 0 is a border, or outside */
    assert_true(isnan(s[5].std_error) && isnan(s[5].low) && isnan(s[5].p) && s[5].estimate == 0);
    close_to(r.aic, 36, 1e-15);
    close_to(r.bic, 24 + 6 * log(50), 1e-15);
    ctx_free(w.ctx);
}

/* 20 rows of y on x by statsmodels 0.15.0: OLS(y, [1, x]).fit() */
static FitResult ols(World *w) {
    static const FitElement e[] = {{.name = "w[1]", .kind = KIND_REAL},
                                   {.name = "w[x]", .kind = KIND_REAL},
                                   {.name = "sigma", .kind = KIND_POSITIVE}};
    static const double x[] = {0.25, -2.5, 0.5}, cov[] = {0.04, 0, 0, 0, 2.25, 0, 0, 0, 0.00625};
    FitResult r = {.estimator = "ols", .by_t = true, .counted = 3, .features = 1};
    r.info = (FitInfo){.method = BY_LSQ,
                       .iterations = 1,
                       .observations = 20,
                       .loglik = -14.5,
                       .grad_norm = 3e-15,
                       .s2 = 0.2777777777777778,
                       .df = 18,
                       .r2 = 0.875,
                       .logprior = NAN};
    fit_rows(w->s.arena, &r, e, 3, x, cov);
    return r;
}

static void least_squares_are_tested_by_t(void **state) {
    World w;
    (void)state;
    set_up(&w);
    FitResult r = ols(&w);
    close_to(r.rows[0].p, 0.22730772384442233, 1e-12); /* scipy: 2 * t.sf(1.25, 18) */
    close_to(r.rows[1].low, -2.5 - 1.5 * 2.1009220402410378, 1e-13);
    StrBuf sb = sb_new(w.s.arena);
    fit_table(&sb, &r);
    assert_string_equal(
        sb.text, "ols: 20 observations, 1 feature                   least squares, 1 iteration, "
                 "|grad| 3e-15\n"
                 "log likelihood -14.5000    AIC 35.00    BIC 37.99            standard errors: "
                 "s^2 (J'J)^-1, t on 18 degrees\n"
                 "residual standard error 0.527046 on 18 degrees of freedom    R^2 0.875000\n"
                 "            estimate  std.err.       t    P>|t|     [0.025     0.975]\n"
                 "  w[1]        0.2500    0.2000    1.25   0.2273    -0.1702     0.6702\n"
                 "  w[x]       -2.5000    1.5000   -1.67   0.1129    -5.6514     0.6514\n"
                 "  sigma       0.5000    0.0791                      0.3587     0.6970\n");
    ctx_free(w.ctx);
}

static void a_stopped_fit_says_so(void **state) {
    World w;
    (void)state;
    set_up(&w);
    FitResult r = ols(&w);
    r.status = FIT_STOPPED;
    StrBuf sb = sb_new(w.s.arena);
    fit_table(&sb, &r);
    assert_non_null(strstr(sb.text, "1 iteration, |grad| 3e-15, STOPPED\n"));
    sb = sb_new(w.s.arena);
    fit_json(&sb, &r);
    assert_non_null(strstr(sb.text, "\"converged\":false"));
    ctx_free(w.ctx);
}

static void json_has_nulls_and_17_digits(void **state) {
    World w;
    (void)state;
    set_up(&w);
    FitResult r = ols(&w);
    r.n_rows = 1;
    r.status = FIT_NOT_CONVERGED;
    r.info.loglik = INFINITY;
    r.aic = r.bic = NAN;
    StrBuf sb = sb_new(w.s.arena);
    fit_json(&sb, &r);
    assert_non_null(strstr(sb.text,
                           "{\"estimator\":\"ols\",\"mode\":\"mle\",\"method\":\"least "
                           "squares\",\"observations\":20,\"iterations\":1,"
                           "\"converged\":false,\"loglik\":null,\"logprior\":null,\"aic\":null,"
                           "\"bic\":null,\"grad_norm\":2.9999999999999998e-15,"
                           "\"s2\":0.27777777777777779,\"df\":18,\"r2\":0.875,\"posterior\":null,"
                           "\"estimates\":[{\"name\":\"w[1]\",\"estimate\":0.25,"));
    assert_string_equal(sb.text + sb.len - 4, "}]}\n");
    ctx_free(w.ctx);
}

static void csv_quotes_names_and_leaves_out_what_does_not_exist(void **state) {
    World w;
    (void)state;
    set_up(&w);
    static const FitElement e[] = {{.name = "w[a,0]", .kind = KIND_REAL},
                                   {.name = "s\"q", .kind = KIND_POSITIVE}};
    static const double x[] = {1, 2};
    FitResult r = {.info = {.observations = 3}};
    fit_rows(w.s.arena, &r, e, 2, x, NULL);
    StrBuf sb = sb_new(w.s.arena);
    fit_csv(&sb, &r);
    assert_string_equal(
        sb.text,
        "name,estimate,std_error,statistic,p,low,high\n\"w[a,0]\",1,,,,,\n\"s\"\"q\",2,,,,,\n");
    ctx_free(w.ctx);
}

/* One form for a row, whatever its size; columns grow with what they hold, empty ones are left out.
 */
static void tables_hold_large_small_and_missing_numbers(void **state) {
    World w;
    (void)state;
    set_up(&w);
    static const FitElement e[] = {{.name = "a_long_name", .kind = KIND_REAL},
                                   {.name = "tiny", .kind = KIND_REAL},
                                   {.name = "edge", .kind = KIND_PROB}};
    static const double x[] = {-123456789.25, 5.5015643e-4, 0};
    const double cov[] = {4e6, 0, 0, 0, 5.2807e-11, 0, 0, 0, NAN};
    FitResult r = {
        .estimator = "m", .features = -1, .map = true, .prior = "Beta(2, 2)", .counted = 3};
    r.info = (FitInfo){.method = BY_NEWTON,
                       .iterations = 6,
                       .observations = 1,
                       .loglik = -1,
                       .logprior = -2,
                       .grad_norm = 2.6e-11};
    vec_push(w.s.arena, &r.notes, "edge is at the border of its kind: no standard error");
    fit_rows(w.s.arena, &r, e, 3, x, cov);
    StrBuf sb = sb_new(w.s.arena);
    fit_table(&sb, &r);
    assert_string_equal(
        sb.text,
        "m: 1 observation, prior Beta(2, 2)                Newton, 6 iterations, |grad| 3e-11\n"
        "log likelihood -1.0000    log prior -2.0000    AIC 8.00    BIC 2.00    standard errors: "
        "observed Hessian, positive definite\n"
        "                  estimate    std.err.          z    P>|z|       [0.025       0.975]\n"
        "  a_long_name  -1.2346e+08  2.0000e+03  -61728.39  <0.0001  -1.2346e+08  -1.2345e+08\n"
        "  tiny          5.5016e-04  7.2668e-06      75.71  <0.0001   5.3591e-04   5.6440e-04\n"
        "  edge              0.0000\n"
        "note: edge is at the border of its kind: no standard error\n");
    ctx_free(w.ctx);
}

/* The gradient after a step that was not evaluated is a bound: it is said to be one, rounded up. */
static void a_bound_of_the_gradient_is_no_gradient(void **state) {
    World w;
    (void)state;
    set_up(&w);
    static const double grad[] = {2.1e-11, 9.7e-11, 3e-10};
    static const char *const want[] = {"|grad| < 3e-11\n", "|grad| < 1e-10\n", "|grad| < 4e-10\n"};
    for (int k = 0; k < 3; k++) {
        FitResult r = {.estimator = "m", .features = -1};
        r.info = (FitInfo){.method = BY_NEWTON, .observations = 1 << 15, .grad_norm = grad[k]};
        r.info.loglik = NAN;
        StrBuf sb = sb_new(w.s.arena);
        fit_table(&sb, &r);
        assert_non_null(strstr(sb.text, want[k]));
        r.info.observations--;
        sb = sb_new(w.s.arena);
        fit_table(&sb, &r);
        assert_null(strchr(sb.text, '<'));
    }
    ctx_free(w.ctx);
}

/* interfaces.md's coin: 7 of 10 heads under Beta(2, 2). */
static void both_modes_stand_below_each_other(void **state) {
    World w;
    (void)state;
    set_up(&w);
    static const FitElement e[] = {{.name = "phi", .kind = KIND_PROB}};
    const double mle_x[] = {0.7}, mle_cov[] = {0.021}, map_x[] = {2.0 / 3},
                 map_cov[] = {2.0 / 9 / 12};
    FitResult mle = {.estimator = "coin",
                     .features = -1,
                     .info = {.method = BY_CLOSED, .observations = 10},
                     .closed = "Beta-Bernoulli"},
              map = mle;
    map.map = true;
    map.prior = "Beta(2, 2)";
    map.posterior = "Beta(9, 5)";
    map.posterior_mean = 9.0 / 14;
    fit_rows(w.s.arena, &mle, e, 1, mle_x, mle_cov);
    fit_rows(w.s.arena, &map, e, 1, map_x, map_cov);
    StrBuf sb = sb_new(w.s.arena);
    fit_table_both(&sb, &mle, &map);
    assert_string_equal(
        sb.text, "coin: 10 observations, prior Beta(2, 2)           closed form (Beta-Bernoulli), "
                 "0 iterations\n"
                 "            estimate   std.err.\n"
                 "  phi  MLE    0.7000     0.1449        posterior: Beta(9, 5), mean 0.6429\n"
                 "  phi  MAP    0.6667     0.1361\n");
    ctx_free(w.ctx);
}

static void posteriors_are_named_where_there_are_several(void **state) {
    World w;
    (void)state;
    set_up(&w);
    static const FitElement e[] = {{.name = "p[a]"}, {.name = "p[b]"}, {.name = "p[c]"}};
    static const double beta[] = {9, 5}, two[] = {9, 2.5, 5, 4}, three[] = {3, 1.25, 7};
    FitPosterior p = {"Beta", 2, beta, 1, 1, "phi", e, true};
    StrBuf sb = sb_new(w.s.arena);
    fit_posterior_text(&sb, &p);
    assert_string_equal(sb.text, "Beta(9, 5)");
    sb.len = 0;
    p = (FitPosterior){"Beta", 2, two, 2, 1, "p", e, false};
    fit_posterior_text(&sb, &p);
    assert_string_equal(sb.text, "p[a] ~ Beta(9, 5); p[b] ~ Beta(2.5, 4)");
    sb.len = 0;
    p = (FitPosterior){"Dirichlet", 1, three, 3, 3, "p", e, true};
    fit_posterior_text(&sb, &p);
    assert_string_equal(sb.text, "Dirichlet([3, 1.25, 7])");
    p.alone = false;
    fit_posterior_text(&sb, &p);
    assert_string_equal(sb.text, "Dirichlet([3, 1.25, 7]); p ~ Dirichlet([3, 1.25, 7])");
    close_to(fit_posterior_mean(w.ctx, w.s.arena, "Beta", beta, 2), 9.0 / 14, 1e-15);
    close_to(fit_posterior_mean(w.ctx, w.s.arena, "Gamma", beta, 2), 9.0 / 5, 1e-15);
    close_to(fit_posterior_mean(w.ctx, w.s.arena, "Normal", beta, 2), 9, 1e-15);
    assert_true(isnan(fit_posterior_mean(w.ctx, w.s.arena, "Dirichlet", three, 1)));
    ctx_free(w.ctx);
}

/* Statuses that golden files reach show their whole messages; here, who is blamed. */
static void why_a_fit_ended_early(void **state) {
    World w;
    (void)state;
    set_up(&w);
    static const FitElement e[] = {{.name = "w[age]"}, {.name = "w[months]"}};
    add_param(&w, "w", KIND_REAL, 0, NULL);
    w.block.name = "line";
    Fit f = {.block = &w.block};
    Exact x = {.s = &w.s, .f = &f, .elements = e, .n = 2, .best = (double[]){1, 2}};
    static const struct {
        int status;
        int64_t where, observations;
        const char *code, *message, *note;
    } cases[] = {
        {FIT_NOT_CONVERGED, -1, 9, "E1202",
         "`line` has not converged after 7 iterations: |grad| is 2.5e-01", NULL},
        {FIT_DEPENDENT, 1, 9, "E1203",
         "`w[months]` is not determined: its column is a combination of the others", NULL},
        {FIT_DEPENDENT, 1, 1, "E1203",
         "`w[months]` is not determined: its column is a combination of the others",
         "there is 1 observation for 2 coefficients"},
        {FIT_SEPARATED, 0, 9, "E1204", "`w[age]` grows without bound", NULL},
        {FIT_NO_MODE, -1, 9, "E1205",
         "the density has no mode: it grows without bound as `line` goes to the border of its kind",
         NULL},
        {FIT_NOT_IDENTIFIED, 99, 9, "E1206",
         "`line` is not identified: the density does not curve there, so the data do not determine "
         "it",
         NULL},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        w.s.status = 0;
        x.status = cases[k].status;
        x.info = (FitInfo){.where = cases[k].where,
                           .iterations = 7,
                           .grad_norm = 0.25,
                           .observations = cases[k].observations};
        exact_complain(&x);
        assert_int_equal(w.s.status, EXIT_CHECK);
        const Diag *d = diags_of(w.ctx)->all.p[0];
        assert_string_equal(d->code, cases[k].code);
        assert_string_equal(d->message, cases[k].message);
        assert_non_null(d->help);
        if (cases[k].note)
            assert_string_equal(d->notes.p[0].text, cases[k].note);
        diag_clear(w.ctx);
    }
    w.s.status = x.status = 0;
    exact_complain(&x);
    assert_true(w.s.status == 0 && !diag_any_error(w.ctx));
    ctx_free(w.ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_are_named_after_columns_and_texts),
        cmocka_unit_test(constrained_elements_count_and_stand_as_they_are_free),
        cmocka_unit_test(intervals_stay_inside_the_kind),
        cmocka_unit_test(least_squares_are_tested_by_t),
        cmocka_unit_test(a_stopped_fit_says_so),
        cmocka_unit_test(json_has_nulls_and_17_digits),
        cmocka_unit_test(csv_quotes_names_and_leaves_out_what_does_not_exist),
        cmocka_unit_test(tables_hold_large_small_and_missing_numbers),
        cmocka_unit_test(a_bound_of_the_gradient_is_no_gradient),
        cmocka_unit_test(both_modes_stand_below_each_other),
        cmocka_unit_test(why_a_fit_ended_early),
        cmocka_unit_test(posteriors_are_named_where_there_are_several),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
