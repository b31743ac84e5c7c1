/* Distributions of reals. Densities as in Gelman et al., Bayesian Data Analysis, 3rd ed., appendix
 * A. */
#include "ir/dists/dist_body.h"

static int first(BodyBuilder *b, int form, DType real, const int *p) {
    (void)b, (void)form, (void)real;
    return p[0];
}

static int normal_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int z = DIV(SUB(x, p[0]), p[1]);
    return SUB(SUB(MUL(K(x, -0.5), MUL(z, z)), LOG(p[1])), K(x, HALF_LOG_2PI));
}

/* c0 t - c1 t^2/2: c0 = mean/sd^2, c1 = 1/sd^2 */
static int normal_natural(BodyBuilder *b, int k, int t) {
    return k == 0 ? t : MUL(K(t, -0.5), MUL(t, t));
}

static int precision(BodyBuilder *b, int sd) { return DIV(K(sd, 1), MUL(sd, sd)); }

static int normal_coef(BodyBuilder *b, int k, const int *p) {
    return k == 0 ? DIV(p[0], MUL(p[1], p[1])) : precision(b, p[1]);
}

static int normal_param(BodyBuilder *b, int k, const int *c) {
    return k == 0 ? DIV(c[0], c[1]) : DIV(K(c[1], 1), body_op1(b, SC_sqrt, c[1]));
}

static int normal_state(BodyBuilder *b, const int *c) {
    return SELECT(is_positive(b, c[1]), STATE(INTERIOR), STATE(FLAT));
}

static int ratio(BodyBuilder *b, const int *c) { return DIV(c[0], c[1]); }

static int normal_edge(BodyBuilder *b, const int *c) { return K(c[0], 0); }

static const DistConjugate normal_conjugate = {
    .kind = KIND_REAL,
    .n_stats = 2,
    .names = {"s", "m"},
    .natural = normal_natural,
    .coef = normal_coef,
    .param = normal_param,
    .state = normal_state,
    .mode = ratio,
    .edge = normal_edge,
};

static int normal_stat(BodyBuilder *b, int k, int x, const int *p, int element) {
    (void)element;
    return k == 0 ? DIV(x, MUL(p[1], p[1])) : precision(b, p[1]);
}

const DistDef dist_normal = {
    .name = "Normal",
    .is_square = true,
    .doc = "mean and standard deviation",
    .n_forms = 1,
    .forms = {{2, {{"mean", KIND_REAL}, {"sd", KIND_POSITIVE}}}},
    .support = SUPPORT_REAL,
    .body = normal_body,
    .mean_body = first,
    .conjugate = &normal_conjugate,
    .links = {{.rule = "normal.normal",
               .doc = "Normal prior on the mean of Normal data of known variance",
               .arg = 0,
               .prior = &dist_normal,
               .stat = normal_stat}},
};

static int beta_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int one = K(x, 1), log_beta = SUB(ADD(LGAMMA(p[0]), LGAMMA(p[1])), LGAMMA(ADD(p[0], p[1])));
    return SUB(ADD(xlogy(b, SUB(p[0], one), x), xlog1m(b, SUB(p[1], one), x)), log_beta);
}

static int beta_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)form, (void)real;
    return DIV(p[0], ADD(p[0], p[1]));
}

/* c0 log t + c1 log(1 - t): pseudocounts a - 1 and b - 1 */
static int beta_natural(BodyBuilder *b, int k, int t) { return LOG(k == 0 ? t : SUB(K(t, 1), t)); }

static int less_one(BodyBuilder *b, int k, const int *p) { return SUB(p[k], K(p[k], 1)); }

static int plus_one(BodyBuilder *b, int k, const int *c) { return ADD(c[k], K(c[k], 1)); }

static int beta_state(BodyBuilder *b, const int *c) {
    int up = is_positive(b, c[0]), down = is_positive(b, c[1]);
    int none = EITHER(is_negative(b, c[0]), is_negative(b, c[1]));
    int edge = SELECT(none, STATE(NO_MODE), SELECT(EITHER(up, down), STATE(BOUNDARY), STATE(FLAT)));
    return SELECT(BOTH(up, down), STATE(INTERIOR), edge);
}

static int beta_mode(BodyBuilder *b, const int *c) { return DIV(c[0], ADD(c[0], c[1])); }

static int beta_edge(BodyBuilder *b, const int *c) {
    int zero = K(c[0], 0), one = K(c[0], 1);
    return SELECT(LESS(c[0], c[1]), zero, SELECT(LESS(c[1], c[0]), one, K(c[0], 0.5)));
}

static const DistConjugate beta_conjugate = {
    .kind = KIND_PROB,
    .n_stats = 2,
    .names = {"h", "t"},
    .natural = beta_natural,
    .coef = less_one,
    .param = plus_one,
    .state = beta_state,
    .mode = beta_mode,
    .edge = beta_edge,
};

const DistDef dist_beta = {
    .name = "Beta",
    .doc = "on (0, 1), with pseudocounts a - 1 and b - 1",
    .n_forms = 1,
    .forms = {{2, {{"a", KIND_POSITIVE}, {"b", KIND_POSITIVE}}}},
    .support = SUPPORT_UNIT,
    .body = beta_body,
    .mean_body = beta_mean,
    .conjugate = &beta_conjugate,
};

static int exponential_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    return SUB(LOG(p[0]), MUL(p[0], x));
}

static int exponential_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)form, (void)real;
    return DIV(K(p[0], 1), p[0]);
}

static int exponential_stat(BodyBuilder *b, int k, int x, const int *p, int element) {
    (void)p, (void)element;
    return k == 0 ? K(x, 1) : x;
}

const DistDef dist_exponential = {
    .name = "Exponential",
    .doc = "waiting times with this rate",
    .n_forms = 1,
    .forms = {{1, {{"rate", KIND_POSITIVE}}}},
    .support = SUPPORT_POSITIVE,
    .body = exponential_body,
    .mean_body = exponential_mean,
    .links = {{.rule = "gamma.exponential",
               .doc = "Gamma prior on the rate of Exponential data",
               .arg = 0,
               .prior = &dist_gamma,
               .stat = exponential_stat}},
};

static int gamma_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int shape = SUB(p[0], K(x, 1));
    return SUB(SUB(ADD(MUL(p[0], LOG(p[1])), xlogy(b, shape, x)), MUL(p[1], x)), LGAMMA(p[0]));
}

static int gamma_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)form, (void)real;
    return DIV(p[0], p[1]);
}

/* c0 log t - c1 t: shape - 1 and rate */
static int gamma_natural(BodyBuilder *b, int k, int t) { return k == 0 ? LOG(t) : NEG(t); }

static int gamma_coef(BodyBuilder *b, int k, const int *p) {
    return k == 0 ? SUB(p[0], K(p[0], 1)) : p[1];
}

static int gamma_param(BodyBuilder *b, int k, const int *c) {
    return k == 0 ? ADD(c[0], K(c[0], 1)) : c[1];
}

/* c0 < 0: unbounded at 0; c0 = 0: greatest at 0; c1 <= 0 < c0: greatest at infinity. */
static int gamma_state(BodyBuilder *b, const int *c) {
    int up = is_positive(b, c[0]), down = is_positive(b, c[1]);
    int at_zero = SELECT(down, STATE(BOUNDARY), STATE(FLAT));
    int edge = SELECT(EITHER(is_negative(b, c[0]), up), STATE(NO_MODE), at_zero);
    return SELECT(BOTH(up, down), STATE(INTERIOR), edge);
}

static int gamma_edge(BodyBuilder *b, const int *c) {
    return SELECT(is_positive(b, c[0]), K(c[0], INFINITY), K(c[0], 0));
}

static const DistConjugate gamma_conjugate = {
    .kind = KIND_POSITIVE,
    .n_stats = 2,
    .names = {"s", "m"},
    .natural = gamma_natural,
    .coef = gamma_coef,
    .param = gamma_param,
    .state = gamma_state,
    .mode = ratio,
    .edge = gamma_edge,
};

/* In its rate, of known shape. */
static int gamma_stat(BodyBuilder *b, int k, int x, const int *p, int element) {
    (void)b, (void)element;
    return k == 0 ? p[0] : x;
}

const DistDef dist_gamma = {
    .name = "Gamma",
    .doc = "shape and rate",
    .n_forms = 1,
    .forms = {{2, {{"shape", KIND_POSITIVE}, {"rate", KIND_POSITIVE}}}},
    .support = SUPPORT_POSITIVE,
    .body = gamma_body,
    .mean_body = gamma_mean,
    .conjugate = &gamma_conjugate,
    .links = {{.rule = "gamma.gamma",
               .doc = "Gamma prior on the rate of Gamma data of known shape",
               .arg = 1,
               .prior = &dist_gamma,
               .stat = gamma_stat}},
};

static int inverse_gamma_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int power = MUL(ADD(p[0], K(x, 1)), LOG(x));
    return SUB(SUB(SUB(MUL(p[0], LOG(p[1])), power), DIV(p[1], x)), LGAMMA(p[0]));
}

/* scale / (shape - 1); infinite for shape <= 1 */
static int inverse_gamma_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)form, (void)real;
    int one = K(p[0], 1);
    return SELECT(LESS(one, p[0]), DIV(p[1], SUB(p[0], one)), K(p[0], INFINITY));
}

const DistDef dist_inverse_gamma = {
    .name = "InverseGamma",
    .doc = "shape and scale",
    .n_forms = 1,
    .forms = {{2, {{"shape", KIND_POSITIVE}, {"scale", KIND_POSITIVE}}}},
    .support = SUPPORT_POSITIVE,
    .body = inverse_gamma_body,
    .mean_body = inverse_gamma_mean,
};

/* -((df + 1)/2) log(1 + z^2/df), of which df log(1 + z^2/df) goes to z^2 for many degrees of
 * freedom: apart, as z^2 (1 + (log(1 + u)/u - 1)), u = z^2/df; likewise the quotient of gamma
 * functions. */
static int student_t_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int df = p[0], d = SUB(x, p[1]), half = K(x, 0.5), one = K(x, 1), z = DIV(d, p[2]);
    int square = MUL(z, z), u = DIV(square, df), tail = log1p_square(b, d, p[2], df);
    int many = SELECT(LESS(u, K(x, 0.25)), MUL(square, ADD(one, log1p_rest(b, u))), MUL(df, tail));
    int norm = SUB(log_rising(b, half, DIV(K(x, 2), df)), ADD(LOG(p[2]), K(x, HALF_LOG_2PI)));
    return SUB(norm, MUL(half, ADD(tail, many)));
}

static int student_t_formula(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int df = p[0], z = DIV(SUB(x, p[1]), p[2]), half = K(x, 0.5), top = MUL(half, ADD(df, K(x, 1)));
    int norm = SUB(SUB(LGAMMA(top), LGAMMA(MUL(half, df))),
                   ADD(MUL(half, LOG(MUL(df, K(x, PI)))), LOG(p[2])));
    return SUB(norm, MUL(top, LOG1P(DIV(MUL(z, z), df))));
}

static int student_t_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)b, (void)form, (void)real;
    return p[1];
}

const DistDef dist_student_t = {
    .name = "StudentT",
    .doc = "degrees of freedom, location and scale",
    .n_forms = 1,
    .forms = {{3, {{"df", KIND_POSITIVE}, {"loc", KIND_REAL}, {"scale", KIND_POSITIVE}}}},
    .support = SUPPORT_REAL,
    .body = student_t_body,
    .formula = student_t_formula,
    .mean_body = student_t_mean,
};

static int laplace_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int distance = DIV(body_op1(b, SC_abs, SUB(x, p[0])), p[1]);
    return SUB(NEG(distance), LOG(MUL(K(x, 2), p[1])));
}

const DistDef dist_laplace = {
    .name = "Laplace",
    .doc = "location and scale",
    .n_forms = 1,
    .forms = {{2, {{"loc", KIND_REAL}, {"scale", KIND_POSITIVE}}}},
    .support = SUPPORT_REAL,
    .body = laplace_body,
    .mean_body = first,
};
