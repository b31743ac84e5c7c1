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

typedef struct DistDef {
    const char *name;
    const char *doc;
    int n_forms;
    DistForm forms[DIST_MOST_FORMS];
    unsigned vectors[DIST_MOST_FORMS]; /* by form: bit k: param k has one axis more than the density
                                          (Categorical: [.., K]) */
    DistSupport support;
    /* The log density at one point, all operands of the density's real type (x as it is); NULL:
     * logpdf builds it. */
    int (*body)(BodyBuilder *b, int form, int x, const int *p);
    Val (*logpdf)(const DistCall *c);
    /* E[x]: of the density's shape (of classes: their probabilities, one axis more); one of the
     * two. */
    int (*mean_body)(BodyBuilder *b, int form, DType real, const int *p);
    Val (*mean)(const DistCall *c);
} DistDef;

const DistDef *dist_named(Str name); /* NULL if there is none */
const DistDef *const *dist_all(int *n);
static inline bool dist_is_vector(const DistDef *d, int form, int param) {
    return d->vectors[form] >> param & 1;
}
/* The number of the form that has a parameter of this name, or -1. */
int dist_form_named(const DistDef *d, const char *param);

/* Expand a call: an elementwise nest of the body, or what the stanza builds. */
Val dist_logpdf(const DistDef *d, const DistCall *c);
Val dist_mean(const DistDef *d, const DistCall *c);

#endif
