/* An exact fit as numbers: from the estimates, their covariance and the info of the compiled entry
 * to rows with standard errors, tests and intervals; and these as a table, as JSON and as CSV.
 * Nothing here calls compiled code. */
#ifndef CNNC_DRIVER_FIT_RESULT_H
#define CNNC_DRIVER_FIT_RESULT_H

#include "driver/bind.h"
#include "frontend/ast.h"

/* cnnc_fit_info of the generated header. */
typedef struct FitInfo {
    size_t size;
    int method, iterations;
    int64_t observations, where;
    double loglik, logprior, grad_norm, s2, df, r2;
} FitInfo;

typedef enum FitBy { BY_NONE, BY_CLOSED, BY_LSQ, BY_NEWTON, BY_LBFGS } FitBy; /* info.method */

/* What X_fit returns; below 0: a status of the library. */
typedef enum FitStatus {
    FIT_CONVERGED,
    FIT_NOT_CONVERGED,
    FIT_DEPENDENT,
    FIT_SEPARATED,
    FIT_NO_MODE,
    FIT_NOT_IDENTIFIED,
    FIT_STOPPED
} FitStatus;

/* One real of `params`. */
typedef struct FitElement {
    const char *name; /* "w[age]" */
    int tensor;       /* number in the block */
    AbiKind kind;    /* of this element alone: KIND_PROB of a simplex, KIND_POSITIVE or KIND_REAL of
                        a Cholesky factor */
    double lo, hi;   /* KIND_INTERVAL */
    bool structural; /* the zero above the diagonal of a Cholesky factor: no row */
    bool held;       /* by `when`, at its initial value: it has no error */
} FitElement;

/* The n elements in the order of `params`; NULL after an error. source: the estimator, or NULL. */
FitElement *fit_elements(Session *s, const Item *source, const AbiBlock *b, const DimEnv *env, const LabelList *labels,
                         int64_t *n);

typedef struct FitRow {
    const char *name;
    double estimate, std_error, statistic, p, low, high; /* NaN: does not exist */
    bool held;
} FitRow;

typedef struct FitResult {
    const char *estimator;
    bool map; /* else MLE */
    int status;
    FitInfo info;
    const FitRow *rows;
    int64_t n_rows;
    int64_t counted;         /* free reals: what AIC and BIC count */
    int64_t features;        /* columns of data but those of ones; -1: no such data */
    bool by_t;               /* statistics are t on info.df degrees, else z */
    double aic, bic;         /* NaN where there is no log likelihood */
    const char *closed;      /* "Beta-Bernoulli": which closed form; or NULL */
    const char *prior;       /* "Beta(2, 2)", or NULL */
    const char *posterior;   /* "Beta(9, 5)", or NULL */
    double posterior_mean;   /* of a scalar, else NaN */
    VEC(const char *) notes; /* below the table */
} FitResult;

/* Rows, AIC and BIC from params and cov (n x n, NULL: no standard errors), r->by_t, r->counted and
 * r->info. */
void fit_rows(Arena *a, FitResult *r, const FitElement *e, int64_t n, const double *params,
              const double *cov);
/* A constrained element at an end of its kind: it has no standard error. */
bool fit_at_border(const FitElement *e, double x);
/* Free reals of a block: a simplex has one less than elements, a Cholesky factor no upper triangle.
 */
int64_t fit_counted(Session *s, const AbiBlock *b, const DimEnv *env);

/* What is known of a parameter in closed form: densities of one family. */
typedef struct FitPosterior {
    const char *family;   /* "Beta" */
    int n_values;         /* parameters of the family */
    const double *values; /* of the first parameter, then of the next; `count` each */
    int64_t count, width; /* elements of the parameter; of them in one density: more than 1 for a
                             Dirichlet */
    const char *path;
    const FitElement *elements; /* of the parameter */
    bool alone;                 /* the only density of the estimator: it needs no name */
} FitPosterior;
void fit_posterior_text(StrBuf *sb, const FitPosterior *p);
/* E[x] of a family of scalars; NaN where it has none. */
double fit_posterior_mean(Ctx *ctx, Arena *arena, const char *family, const double *values, int n);

void fit_table(StrBuf *sb, const FitResult *r);
/* The MLE and the MAP below each other, with the posterior; mle may be NULL. */
void fit_table_both(StrBuf *sb, const FitResult *mle, const FitResult *map);
void fit_json(StrBuf *sb, const FitResult *r);
void fit_csv(StrBuf *sb, const FitResult *r);

#endif
