/* Distributions of positive reals. */
#include "ir/dists/dist_body.h"

static int first(BodyBuilder *b, int form, DType real, const int *p) {
    (void)b, (void)form, (void)real;
    return p[0];
}

static int log_normal_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int y = LOG(x), z = DIV(SUB(y, p[0]), p[1]);
    return SUB(SUB(SUB(MUL(K(x, -0.5), MUL(z, z)), LOG(p[1])), K(x, HALF_LOG_2PI)), y);
}

static int log_normal_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)form, (void)real;
    return EXP(ADD(p[0], MUL(K(p[0], 0.5), MUL(p[1], p[1]))));
}

static int log_normal_stat(BodyBuilder *b, int k, int x, const int *p, int element) {
    (void)element;
    return DIV(k == 0 ? LOG(x) : K(x, 1), MUL(p[1], p[1]));
}

const DistDef dist_log_normal = {
    .name = "LogNormal",
    .doc = "mean and standard deviation of the logarithm",
    .n_forms = 1,
    .forms = {{2, {{"mean", KIND_REAL}, {"sd", KIND_POSITIVE}}}},
    .support = SUPPORT_POSITIVE,
    .body = log_normal_body,
    .mean_body = log_normal_mean,
    .links = {{.rule = "normal.lognormal",
               .doc =
                   "Normal prior on the mean of the logarithm of LogNormal data of known variance",
               .arg = 0,
               .prior = &dist_normal,
               .stat = log_normal_stat}},
};

static int chi_squared_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int half = K(x, 0.5), k = MUL(half, p[0]);
    return SUB(
        SUB(SUB(xlogy(b, SUB(k, K(x, 1)), x), MUL(half, x)), MUL(k, K(x, 0.69314718055994530942))),
        LGAMMA(k));
}

const DistDef dist_chi_squared = {
    .name = "ChiSquared",
    .doc = "degrees of freedom",
    .n_forms = 1,
    .forms = {{1, {{"df", KIND_POSITIVE}}}},
    .support = SUPPORT_POSITIVE,
    .body = chi_squared_body,
    .mean_body = first,
};

static int weibull_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int shape = SUB(p[0], K(x, 1)), gain = SUB(LOG(x), LOG(p[1]));
    gain = SELECT(EQUAL(shape, K(x, 0)), K(x, 0), MUL(shape, gain));
    return SUB(ADD(LOG(DIV(p[0], p[1])), gain), body_op2(b, SC_pow, DIV(x, p[1]), p[0]));
}

/* scale * Gamma(1 + 1/shape) */
static int weibull_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)form, (void)real;
    int one = K(p[0], 1);
    return MUL(p[1], EXP(LGAMMA(ADD(one, DIV(one, p[0])))));
}

const DistDef dist_weibull = {
    .name = "Weibull",
    .doc = "shape and scale",
    .n_forms = 1,
    .forms = {{2, {{"shape", KIND_POSITIVE}, {"scale", KIND_POSITIVE}}}},
    .support = SUPPORT_POSITIVE,
    .body = weibull_body,
    .mean_body = weibull_mean,
};

static int pareto_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int e = SUB(SUB(LOG(p[1]), LOG(x)), MUL(p[1], SUB(LOG(x), LOG(p[0]))));
    return SELECT(LESS(x, p[0]), K(x, -INFINITY), e);
}

/* shape*min / (shape - 1); infinite for shape <= 1 */
static int pareto_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)form, (void)real;
    int one = K(p[1], 1);
    return SELECT(LESS(one, p[1]), DIV(MUL(p[1], p[0]), SUB(p[1], one)), K(p[1], INFINITY));
}

const DistDef dist_pareto = {
    .name = "Pareto",
    .doc = "least value and shape",
    .n_forms = 1,
    .forms = {{2, {{"min", KIND_POSITIVE}, {"shape", KIND_POSITIVE}}}},
    .support = SUPPORT_POSITIVE,
    .body = pareto_body,
    .mean_body = pareto_mean,
};

static int half_normal_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int z = DIV(x, p[0]), log_half = K(x, HALF_LOG_2PI - 0.69314718055994530942);
    return SUB(SUB(MUL(K(x, -0.5), MUL(z, z)), LOG(p[0])), log_half);
}

/* sd * sqrt(2/pi) */
static int half_normal_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)form, (void)real;
    return MUL(p[0], K(p[0], 0.79788456080286535588));
}

const DistDef dist_half_normal = {
    .name = "HalfNormal",
    .doc = "the magnitude of Normal(0, sd)",
    .n_forms = 1,
    .forms = {{1, {{"sd", KIND_POSITIVE}}}},
    .support = SUPPORT_POSITIVE,
    .body = half_normal_body,
    .mean_body = half_normal_mean,
};

static int half_cauchy_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    return NEG(ADD(log1p_square(b, x, p[0], -1), LOG(MUL(K(x, PI / 2), p[0]))));
}

static int half_cauchy_formula(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int z = DIV(x, p[0]);
    return NEG(ADD(LOG1P(MUL(z, z)), LOG(MUL(K(x, PI / 2), p[0]))));
}

static int infinite(BodyBuilder *b, int form, DType real, const int *p) {
    (void)form, (void)p;
    return body_real(b, real, INFINITY);
}

const DistDef dist_half_cauchy = {
    .name = "HalfCauchy",
    .doc = "the magnitude of Cauchy(0, scale)",
    .n_forms = 1,
    .forms = {{1, {{"scale", KIND_POSITIVE}}}},
    .support = SUPPORT_POSITIVE,
    .body = half_cauchy_body,
    .formula = half_cauchy_formula,
    .mean_body = infinite,
};

static int inverse_gaussian_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    /* (x - mean)^2 / (mean^2 x); far from the mean as x/mean^2 - 2/mean + 1/x, whose derivatives do
     * not cancel */
    int half = K(x, 0.5), one = K(x, 1), m = p[0], r = DIV(x, m), d = DIV(SUB(x, m), m);
    int near = DIV(MUL(d, d), x);
    int far = ADD(SUB(DIV(r, m), DIV(K(x, 2), m)), DIV(one, x));
    int is_near = BOTH(LESS(half, r), LESS(r, K(x, 2)));
    int norm = SUB(MUL(half, SUB(LOG(p[1]), MUL(K(x, 3), LOG(x)))), K(x, HALF_LOG_2PI));
    return SUB(norm, MUL(half, MUL(p[1], SELECT(is_near, near, far))));
}

static int inverse_gaussian_formula(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int d = DIV(SUB(x, p[0]), p[0]), half = K(x, 0.5);
    int norm = SUB(MUL(half, SUB(LOG(p[1]), MUL(K(x, 3), LOG(x)))), K(x, HALF_LOG_2PI));
    return SUB(norm, MUL(half, DIV(MUL(p[1], MUL(d, d)), x)));
}

const DistDef dist_inverse_gaussian = {
    .name = "InverseGaussian",
    .doc = "mean and shape",
    .n_forms = 1,
    .forms = {{2, {{"mean", KIND_POSITIVE}, {"shape", KIND_POSITIVE}}}},
    .support = SUPPORT_POSITIVE,
    .body = inverse_gaussian_body,
    .formula = inverse_gaussian_formula,
    .mean_body = first,
};
