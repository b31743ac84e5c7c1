/* Distributions of counts. */
#include "ir/dists/dist_body.h"

/* log (n choose x) + x log p + (n - x) log(1 - p) */
static int binomial_body(BodyBuilder *b, int form, int x, const int *p) {
    int one = K(x, 1), rest = SUB(p[0], x), odds;
    int ways = SUB(LGAMMA(ADD(p[0], one)), ADD(LGAMMA(ADD(x, one)), LGAMMA(ADD(rest, one))));
    if (form == 1)
        odds = ADD(MUL(x, log_sigmoid(b, p[1])), MUL(rest, log_sigmoid(b, NEG(p[1]))));
    else
        odds = ADD(xlogy(b, x, p[1]), xlogy(b, rest, SUB(one, p[1])));
    return ADD(ways, odds);
}

static int binomial_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)real;
    return MUL(p[0], form == 1 ? body_op1(b, SC_sigmoid, p[1]) : p[1]);
}

static int binomial_stat(BodyBuilder *b, int k, int x, const int *p, int element) {
    (void)element;
    return k == 0 ? x : SUB(p[0], x);
}

const DistDef dist_binomial = {
    .name = "Binomial",
    .doc = "successes of n trials with probability p = sigmoid(logit)",
    .n_forms = 2,
    .forms = {{2, {{"n", KIND_INT}, {"p", KIND_PROB}}},
              {2, {{"n", KIND_INT}, {"logit", KIND_REAL}}}},
    .support = SUPPORT_COUNT,
    .body = binomial_body,
    .mean_body = binomial_mean,
    .links = {{.rule = "beta.binomial",
               .doc = "Beta prior on the success probability of Binomial data",
               .arg = 1,
               .prior = &dist_beta,
               .stat = binomial_stat}},
};

/* lgamma(x + r) - lgamma(r) - log x! + x log(m/r) - (x + r) log(1 + m/r), r = 1/alpha; m = mean or
 * exp(log) */
static int negative_binomial_body(BodyBuilder *b, int form, int x, const int *p) {
    int one = K(x, 1), r = DIV(one, p[1]), power = ADD(x, r), log_ratio, log1p_ratio;
    if (form == 1) {
        log_ratio = ADD(p[0], LOG(p[1]));
        log1p_ratio = NEG(log_sigmoid(b, NEG(log_ratio)));
    } else {
        log_ratio = LOG(MUL(p[0], p[1]));
        log1p_ratio = LOG1P(MUL(p[0], p[1]));
    }
    int ways = SUB(SUB(LGAMMA(power), LGAMMA(r)), LGAMMA(ADD(x, one)));
    int gain = SELECT(EQUAL(x, K(x, 0)), K(x, 0), MUL(x, log_ratio));
    return ADD(ways, SUB(gain, MUL(power, log1p_ratio)));
}

static int negative_binomial_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)real;
    return form == 1 ? EXP(p[0]) : p[0];
}

const DistDef dist_negative_binomial = {
    .name = "NegativeBinomial",
    .doc = "mean = exp(log), and variance mean + alpha mean^2",
    .n_forms = 2,
    .forms = {{2, {{"mean", KIND_POSITIVE}, {"alpha", KIND_POSITIVE}}},
              {2, {{"log", KIND_REAL}, {"alpha", KIND_POSITIVE}}}},
    .support = SUPPORT_COUNT,
    .body = negative_binomial_body,
    .mean_body = negative_binomial_mean,
};

static int geometric_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    return ADD(LOG(p[0]), xlogy(b, x, SUB(K(x, 1), p[0])));
}

static int geometric_mean(BodyBuilder *b, int form, DType real, const int *p) {
    (void)form, (void)real;
    return DIV(SUB(K(p[0], 1), p[0]), p[0]);
}

static int geometric_stat(BodyBuilder *b, int k, int x, const int *p, int element) {
    (void)p, (void)element;
    return k == 0 ? K(x, 1) : x;
}

const DistDef dist_geometric = {
    .name = "Geometric",
    .doc = "failures before the first success of probability p",
    .n_forms = 1,
    .forms = {{1, {{"p", KIND_PROB}}}},
    .support = SUPPORT_COUNT,
    .body = geometric_body,
    .mean_body = geometric_mean,
    .links = {{.rule = "beta.geometric",
               .doc = "Beta prior on the success probability of Geometric data",
               .arg = 0,
               .prior = &dist_beta,
               .stat = geometric_stat}},
};
