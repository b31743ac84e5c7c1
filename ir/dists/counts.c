/* Distributions of counts. */
#include "ir/dists/dist_body.h"

/* log (n choose x) + x log p + (n - x) log(1 - p) */
static int binomial_body(BodyBuilder *b, int form, int x, const int *p) {
    int one = K(x, 1), rest = SUB(p[0], x), odds;
    int ways = SUB(LGAMMA(ADD(p[0], one)), ADD(LGAMMA(ADD(x, one)), LGAMMA(ADD(rest, one))));
    if (form == 1)
        odds = ADD(MUL(x, log_sigmoid(b, p[1])), MUL(rest, log_sigmoid(b, NEG(p[1]))));
    else
        odds = ADD(xlogy(b, x, p[1]), xlog1m(b, rest, p[1]));
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

/* With m = mean or exp(log): log_rising + x log m - (x + 1/a) log(1 + a m) - log x!; log(1 + a m)/a
 * for small a m as m (1 + (log(1 + t)/t - 1)), t = a m. */
static int negative_binomial_body(BodyBuilder *b, int form, int x, const int *p) {
    int one = K(x, 1), a = p[1], m = p[0], log_odds, gain;
    if (form == 1) {
        m = EXP(p[0]);
        log_odds = NEG(log_sigmoid(b, NEG(ADD(p[0], LOG(a)))));
        gain = MUL(x, p[0]);
    } else {
        log_odds = log1p_product(b, a, m);
        gain = xlogy(b, x, m);
    }
    int t = MUL(a, m), near = MUL(m, ADD(one, log1p_rest(b, t)));
    int loss = ADD(MUL(x, log_odds), SELECT(LESS(t, K(x, 0.25)), near, DIV(log_odds, a)));
    return SUB(ADD(log_rising(b, x, a), SUB(gain, LGAMMA(ADD(x, one)))), loss);
}

/* lgamma(x + r) - lgamma(r) - log x! + x log(m/r) - (x + r) log(1 + m/r), r = 1/a */
static int negative_binomial_formula(BodyBuilder *b, int form, int x, const int *p) {
    int one = K(x, 1), r = DIV(one, p[1]), m = form == 1 ? EXP(p[0]) : p[0], odds = MUL(p[1], m);
    int ways = SUB(SUB(LGAMMA(ADD(x, r)), LGAMMA(r)), LGAMMA(ADD(x, one)));
    int log_m = form == 1 ? p[0] : LOG(m);
    return ADD(ways, SUB(MUL(x, ADD(LOG(p[1]), log_m)), MUL(ADD(x, r), LOG1P(odds))));
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
    .formula = negative_binomial_formula,
    .mean_body = negative_binomial_mean,
};

static int geometric_body(BodyBuilder *b, int form, int x, const int *p) {
    (void)form;
    return ADD(LOG(p[0]), xlog1m(b, x, p[0]));
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
