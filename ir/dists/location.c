/* Distributions with a location and a scale, and the uniform one. */
#include "ir/dists/dist_body.h"

static int first(BodyBuilder *b, int form, DType real, const int *p) {
    (void)b, (void)form, (void)real;
    return p[0];
}

static int none(BodyBuilder *b, int form, DType real, const int *p) {
    (void)form, (void)p;
    return body_real(b, real, NAN);
}

static int standard(BodyBuilder *b, int x, const int *p) { return DIV(SUB(x, p[0]), p[1]); }

static int cauchy_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    return NEG(ADD(log1p_square(b, SUB(x, p[0]), p[1], -1), LOG(MUL(K(x, PI), p[1]))));
}

static int cauchy_formula(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int z = standard(b, x, p);
    return NEG(ADD(LOG1P(MUL(z, z)), LOG(MUL(K(x, PI), p[1]))));
}

const DistDef dist_cauchy = {
    .name = "Cauchy",
    .doc = "location and scale; it has no mean",
    .n_forms = 1,
    .forms = {{2, {{"loc", KIND_REAL}, {"scale", KIND_POSITIVE}}}},
    .support = SUPPORT_REAL,
    .body = cauchy_body,
    .formula = cauchy_formula,
    .mean_body = none,
};

static int logistic_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int z = standard(b, x, p);
    return SUB(ADD(log_sigmoid(b, z), log_sigmoid(b, NEG(z))), LOG(p[1]));
}

const DistDef dist_logistic = {
    .name = "Logistic",
    .doc = "location and scale",
    .n_forms = 1,
    .forms = {{2, {{"loc", KIND_REAL}, {"scale", KIND_POSITIVE}}}},
    .support = SUPPORT_REAL,
    .body = logistic_body,
    .mean_body = first,
};

static int gumbel_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int z = standard(b, x, p);
    return NEG(ADD(ADD(z, EXP(NEG(z))), LOG(p[1])));
}

/* loc + scale * (Euler's constant) */
static int gumbel_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)form, (void)real;
    return ADD(p[0], MUL(K(p[0], 0.57721566490153286061), p[1]));
}

const DistDef dist_gumbel = {
    .name = "Gumbel",
    .doc = "location and scale, of maxima",
    .n_forms = 1,
    .forms = {{2, {{"loc", KIND_REAL}, {"scale", KIND_POSITIVE}}}},
    .support = SUPPORT_REAL,
    .body = gumbel_body,
    .mean_body = gumbel_mean,
};

static int uniform_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    int outside = body_op2(b, SC_or, LESS(x, p[0]), LESS(p[1], x));
    return SELECT(outside, K(x, -INFINITY), NEG(LOG(SUB(p[1], p[0]))));
}

static int uniform_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)form, (void)real;
    return MUL(K(p[0], 0.5), ADD(p[0], p[1]));
}

const DistDef dist_uniform = {
    .name = "Uniform",
    .doc = "between lo and hi",
    .n_forms = 1,
    .forms = {{2, {{"lo", KIND_REAL}, {"hi", KIND_REAL}}}},
    .support = SUPPORT_REAL,
    .body = uniform_body,
    .mean_body = uniform_mean,
    .links = {{.rule = "uniform.lo",
               .doc = "least value of Uniform data",
               .arg = 0,
               .extreme = NEST_MIN},
              {.rule = "uniform.hi",
               .doc = "greatest value of Uniform data",
               .arg = 1,
               .extreme = NEST_MAX}},
};
