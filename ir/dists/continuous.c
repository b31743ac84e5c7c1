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

const DistDef dist_normal = {
    .name = "Normal",
    .doc = "mean and standard deviation",
    .n_forms = 1,
    .forms = {{2, {{"mean", KIND_REAL}, {"sd", KIND_POSITIVE}}}},
    .support = SUPPORT_REAL,
    .body = normal_body,
    .mean_body = first,
};

static int beta_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int one = K(x, 1), log_beta = SUB(ADD(LGAMMA(p[0]), LGAMMA(p[1])), LGAMMA(ADD(p[0], p[1])));
    return SUB(ADD(xlogy(b, SUB(p[0], one), x), xlogy(b, SUB(p[1], one), SUB(one, x))), log_beta);
}

static int beta_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)form, (void)real;
    return DIV(p[0], ADD(p[0], p[1]));
}

const DistDef dist_beta = {
    .name = "Beta",
    .doc = "on (0, 1), with pseudocounts a - 1 and b - 1",
    .n_forms = 1,
    .forms = {{2, {{"a", KIND_POSITIVE}, {"b", KIND_POSITIVE}}}},
    .support = SUPPORT_UNIT,
    .body = beta_body,
    .mean_body = beta_mean,
};

static int exponential_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    return if_not_negative(b, x, SUB(LOG(p[0]), MUL(p[0], x)));
}

static int exponential_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)form, (void)real;
    return DIV(K(p[0], 1), p[0]);
}

const DistDef dist_exponential = {
    .name = "Exponential",
    .doc = "waiting times with this rate",
    .n_forms = 1,
    .forms = {{1, {{"rate", KIND_POSITIVE}}}},
    .support = SUPPORT_POSITIVE,
    .body = exponential_body,
    .mean_body = exponential_mean,
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

const DistDef dist_gamma = {
    .name = "Gamma",
    .doc = "shape and rate",
    .n_forms = 1,
    .forms = {{2, {{"shape", KIND_POSITIVE}, {"rate", KIND_POSITIVE}}}},
    .support = SUPPORT_POSITIVE,
    .body = gamma_body,
    .mean_body = gamma_mean,
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

static int student_t_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int df = p[0], z = DIV(SUB(x, p[1]), p[2]), half = K(x, 0.5), top = MUL(half, ADD(df, K(x, 1)));
    int log_norm = SUB(SUB(LGAMMA(top), LGAMMA(MUL(half, df))),
                       ADD(MUL(half, LOG(MUL(df, K(x, PI)))), LOG(p[2])));
    return SUB(log_norm, MUL(top, LOG1P(DIV(MUL(z, z), df))));
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
