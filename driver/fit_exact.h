/* An exact fit from its data to its result; what its files share. */
#ifndef CNNC_DRIVER_FIT_EXACT_H
#define CNNC_DRIVER_FIT_EXACT_H

#include "driver/fit.h"
#include "driver/fit_result.h"

typedef struct Exact {
    Session *s;
    Fit *f;
    FitData data;
    const FitElement *elements;
    int64_t n;    /* of elements */
    void *params; /* reals of the block: the start, then the estimate */
    void *cov;    /* n x n, or NULL: too many elements for standard errors */
    double *best; /* the estimate and its covariance, in f64 */
    double *best_cov;
    FitInfo info;
    int status;
    int64_t started; /* starts from which the fit came to an end */
    bool silent; /* failure is no error */
} Exact;

/* Data, hyper struct, start and elements; false after an error. */
bool exact_prepare(Exact *x, Session *s, Fit *f, const DataSet *given);
/* Runs the compiled entry with h->prior, from one start or several; false after an error (nothing
 * was found). */
bool exact_run(Exact *x, bool map);
FitResult exact_result(Exact *x, bool map);
/* There is a point worth a table: the estimate, or the best that was found. */
bool exact_has_table(const Exact *x);
/* Says why a fit that ended early did (a diagnostic, exit status 4). */
void exact_complain(Exact *x);

/* Of the parameters in x->params; NaN after an error. */
double exact_log_density(Exact *x);

/* ---- fit_kink.c */
/* The first element along which the log density has a kink at the best point; -1: none is found. */
int64_t exact_kink(Exact *x);

/* ---- fit_doubt.c */
/* Adds what in the data speaks against the fit that the message is about. */
void exact_doubts(Exact *x, Diag *d);
/* A likelihood of classes or counts: they can be separated. */
bool exact_is_discrete(const Exact *x);

/* ---- fit_ident.c */
/* -Wident: a parameter that the others nearly determine. */
void exact_warn_ident(Exact *x);

/* ---- fit_start.c */
/* Puts --start into params; false after a usage error. */
bool start_given(Exact *x);
/* Start number k >= 1 of --starts: drawn around the first, or the initial values of another seed.
 */
bool start_another(Exact *x, int64_t k);

double real_get(const AbiBlock *b, const void *p, int64_t k);
void real_set(const AbiBlock *b, void *p, int64_t k, double v);

/* ---- fit_prior.c */
/* The one prior of an estimator with its formals' values put in, "Beta(2, 2)"; NULL: none, or
 * several. */
const char *prior_text(Session *s, const Fit *f);

#endif
