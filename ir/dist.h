/* Distributions: one stanza each in ir/dists/, listed in dists.def. A stanza gives the parameters
 * with their kinds, the support, the log density (constants included) and the mean, as graph
 * builders. */
#ifndef CNNC_IR_DIST_H
#define CNNC_IR_DIST_H

#include "ir/graph.h"

enum { DIST_MOST_PARAMS = 4, DIST_MOST_FORMS = 3 };

typedef enum DistSupport {
    SUPPORT_REAL,
    SUPPORT_POSITIVE,
    SUPPORT_UNIT,
    SUPPORT_SIMPLEX,
    SUPPORT_BOOL,
    SUPPORT_COUNT,
    SUPPORT_INDEX
} DistSupport;

typedef struct DistParam {
    const char *name;
    AbiKind kind;
} DistParam;

/* One way to parametrise: Bernoulli(p) or Bernoulli(logit). Arguments stand in this order or by
 * name. */
typedef struct DistForm {
    int n_params;
    DistParam params[DIST_MOST_PARAMS];
} DistForm;

/* What a builder gets: x (id 0 for the mean) and the parameters, each a scalar or of the density's
 * shape; a vector has the density's shape and one axis more, or that axis alone. */
typedef struct DistCall {
    Module *m;
    Func *f;
    int form;
    Val x;
    const Val *params;
    Type type; /* of the log density: real, one element for each draw */
    Span span;
    Str name;
} DistCall;

/* ---- conjugacy: how an estimate is found in closed form */

enum { DIST_MOST_STATS = 2 };

/* What stands at the mode of a density with given totals, for each element of the parameter. */
typedef enum ClosedState {
    CLOSED_INTERIOR = 0,
    CLOSED_BOUNDARY = 1, /* the density is finite and greatest on the boundary of the kind */
    CLOSED_NO_MODE = 4,  /* it is not bounded, or greatest at infinity */
    CLOSED_FLAT = 5      /* it does not depend on the element */
} ClosedState;

/* A family in its natural form: log density at t = sum_k c_k A_k(t) + const. Every function builds
 * real scalars; of a vector family (Dirichlet) for one element of the vector. */
typedef struct DistConjugate {
    AbiKind kind; /* of the parameter it is a prior for */
    int n_stats;
    const char *names[DIST_MOST_STATS]; /* of the data's share in the totals, for derivations */
    int (*natural)(BodyBuilder *b, int k, int t);      /* A_k(t) */
    int (*coef)(BodyBuilder *b, int k, const int *p);  /* c_k of the family's parameters p */
    int (*param)(BodyBuilder *b, int k, const int *c); /* its inverse: parameter k with c */
    /* Of totals c: the ClosedState (i32), the mode where that is interior, and what stands for the
     * estimate elsewhere. For a vector family c[n_stats + k] is the sum of c[k] over the elements.
     */
    int (*state)(BodyBuilder *b, const int *c);
    int (*mode)(BodyBuilder *b, const int *c);
    int (*edge)(BodyBuilder *b, const int *c);
} DistConjugate;

/* A likelihood's row: its parameter `arg` has the conjugate family `prior`. */
typedef struct DistLink {
    const char *rule; /* "beta.bernoulli"; NULL ends the rows */
    const char *doc;  /* "Beta prior on the success probability of Bernoulli data" */
    int form, arg;
    const struct DistDef *prior; /* NULL: extreme */
    /* What a datum x adds to c_k; p are the distribution's parameters without `arg`. The element of
     * a vector family is `element` (i64), else -1. */
    int (*stat)(BodyBuilder *b, int k, int x, const int *p, int element);
    NestOpKind extreme; /* NEST_MIN, NEST_MAX: the estimate is the least or greatest datum */
} DistLink;

enum { DIST_MOST_LINKS = 3 };

typedef struct DistDef {
    const char *name;
    const char *doc;
    int n_forms;
    DistForm forms[DIST_MOST_FORMS];
    unsigned vectors[DIST_MOST_FORMS]; /* by form: bit k: param k has one axis more than the density
                                          (Categorical: [.., K]) */
    unsigned matrices[DIST_MOST_FORMS]; /* the same with two axes more */
    bool is_square;    /* -((x - p0) / p1)^2 / 2 - log p1 + constant: a residual of least squares */
    bool vector_draws; /* a draw is a vector: the last axis of x, which the density lacks */
    DistSupport support;
    /* What stands for parameter `param`, of value v, in `density` and in the other columns: made
     * before v is repeated for draws that share it. c->x and c->params are not set. NULL: v. */
    Val (*prepare)(const DistCall *c, int param, Val v);
    /* The log density at one point of the support (of positive reals and of the unit interval; of
     * others it has to say -inf itself), all operands of the density's real type (bools as they
     * are); NULL: logpdf builds it. */
    int (*body)(BodyBuilder *b, int form, int x, const int *p);
    Val (*logpdf)(const DistCall *c);
    /* The body as a textbook has it, for derivations; NULL: body reads as it is. */
    int (*formula)(BodyBuilder *b, int form, int x, const int *p);
    /* E[x]: of the density's shape (of classes: their probabilities, one axis more); one of the
     * two. */
    int (*mean_body)(BodyBuilder *b, int form, DType real, const int *p);
    Val (*mean)(const DistCall *c);
    const DistConjugate *conjugate;      /* of a family that is a conjugate prior, or NULL */
    DistLink links[DIST_MOST_LINKS + 1]; /* of a likelihood with closed forms */
} DistDef;

/* Families that rows of other stanzas name. */
extern const DistDef dist_beta, dist_gamma, dist_dirichlet, dist_normal;

const DistDef *dist_named(Str name); /* NULL if there is none */
const DistDef *const *dist_all(int *n);
static inline bool dist_is_vector(const DistDef *d, int form, int param) {
    return d->vectors[form] >> param & 1;
}
/* Axes that a parameter has more than the density: 0, 1, or 2. */
static inline int dist_tail(const DistDef *d, int form, int param) {
    return d->matrices[form] >> param & 1 ? 2 : dist_is_vector(d, form, param);
}
/* The row for a parameter, or NULL. */
const DistLink *dist_link(const DistDef *d, int form, int arg);
/* The number of the form that has a parameter of this name, or -1. */
int dist_form_named(const DistDef *d, const char *param);

/* The log density at one point, -inf outside of the support; only of stanzas with a `body`. */
int dist_body(const DistDef *d, BodyBuilder *b, int form, int x, const int *p);
/* Expand a call: an elementwise nest of the body, or what the stanza builds. */
Val dist_logpdf(const DistDef *d, const DistCall *c);
/* The expansion of a `density` of f as a function of its own: its params are the operands, in their order. */
Func *dist_function(Module *m, const Func *f, const Inst *density);
Val dist_mean(const DistDef *d, const DistCall *c);

#endif
