/* Closed forms: estimators whose likelihood and prior are conjugate, recognised by the rows of the
 * distributions (DistLink, DistConjugate), never by names.
 *
 * A conjugate family writes its log density at theta as sum_k c_k A_k(theta) + const; a likelihood
 * linked to it adds s_k(x) to c_k for every datum. So the posterior has the totals
 *
 *     C_k = sum over data of s_k(x) + prior * c_k(hyperparameters)
 *
 * (prior: 1 MAP, 0 MLE), and the mode is a formula in them. A likelihood may weight its draws, and
 * may name the parameter's elements by broadcasts, slices and gathers. */
#ifndef CNNC_PASSES_CLOSED_H
#define CNNC_PASSES_CLOSED_H

#include "ir/dist.h"
#include "passes/pass.h"

/* How a parameter is found. */
typedef struct ClosedParam {
    int tensor;           /* its number in the block's params */
    const DistLink *link; /* of its first likelihood statement */
    /* The conjugate family with what it is conjugate to; NULL: the estimate is the least or
     * greatest datum (link->extreme), and there is no prior. */
    const DistDef *family;
    bool has_prior;
    int estimate, state; /* numbers of results of the part */
    int posterior;       /* first of n_posterior results: the parameters of `family`, each of the
                            parameter's shape; only with a prior */
    int n_posterior;
    int stats; /* first of the family's n_stats coefficients of the data and, with a prior, those of
                  the prior (f64, of the parameter's shape): what derivations show */
} ClosedParam;

typedef struct Closed {
    Str rule; /* "beta.bernoulli": that of the first parameter */
    int n_params;
    const ClosedParam *params; /* every parameter of the block, in order */
    /* E.closed: params of role input, hyper, prior (params have no part in it). Results, all with
     * RES_LOCAL: for each parameter its estimate (its type), its state (i32, its shape, a
     * ClosedState for each element), its posterior's parameters, and its coefficients. It contains
     * op vjp, so it is spliced or lowered before `ad`. */
    Func *part;
} Closed;

/* What is E.loglik, E.logprior (NULL: none) after `inline`? Fills *out and adds the part to the
 * module; false: there is no closed form, and *why says what stands in its way ("no row says that
 * Normal is conjugate to ..", may be NULL). */
bool closed_form(Unit *u, int block, const Func *loglik, const Func *logprior, Closed *out,
                 Str *why);

/* Is the result of f a sum of its log densities (weighted by constants), and of nothing else that
 * depends on parameters? */
bool closed_is_sum(Unit *u, const Func *f);

#endif
