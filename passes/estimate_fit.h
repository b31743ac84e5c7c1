/* What the ways of fitting share: the vector of free reals, and what becomes of its optimum. */
#ifndef CNNC_PASSES_ESTIMATE_FIT_H
#define CNNC_PASSES_ESTIMATE_FIT_H

#include "ir/transform.h"
#include "passes/estimate_mask.h"

/* A parameter of the block: where its free reals lie in u, and its elements in params. */
typedef struct Free {
    int tensor;
    TransformCall c;
    const TransformDef *d;
    const AbiMask *mask; /* NULL: all of it is learned */
    Type free;           /* of its free reals in u: `full`, or the mask's block of it */
    Type full;
    Dim at, count;     /* in u */
    Dim home, n_cells; /* in params */
} Free;

typedef struct Fit {
    Build *e;
    int n; /* parameters in u */
    Free *p;
    Dim n_free, n_params;
    int left_out; /* number of a parameter that is not in u, or -1; what is held as a whole is not
                     either */
} Fit;

Fit fit_of(Build *e, int left_out);
/* u of the parameters theta (by number of the block's params), f64. */
Val fit_inverse(const Fit *z, const Val *theta);
/* value, gradient, Hessian (or none), then log likelihood and log prior, if there are any. */
enum { BODY_VALUE, BODY_GRADIENT, BODY_HESSIAN };
typedef struct FitBody {
    Func *f;
    int loglik, logprior; /* numbers of results, or -1 */
} FitBody;
FitBody fit_value_body(const Fit *z, const Parts *p, const char *suffix, bool hessian);
/* A function that takes u (its first param) and whatever is needed of the entry's. */
Func *fit_body(const Fit *z, const char *suffix);
/* A Build in a body with the parameters at u in their places; that left out is given (or none). */
Build fit_in_body(const Fit *z, Func *f, double left_out);
int fit_local(Build *b, Val v, const char *name); /* number of the result; -1 for none */
/* By number of the block's params, in f64; that left out is id 0. */
Val *fit_forward(const Fit *z, Build *e, Val u);
/* The op fit from u on. */
const Inst *fit_optimise(const Fit *z, const Func *body, FitMethod method, Dim rows, Val u);
Val fit_start(const Fit *z); /* u of the parameters given */
/* Of all of params, for that of u; what is left out has 0. */
Val fit_covariance(const Fit *z, Val u, const Val *theta, Val cov);

/* Small pieces of graph. */
Val fit_unit(Build *e, Dim n);           /* f64[n, n], 1 on the diagonal */
Val fit_element(Build *e, Val v, int k); /* v[k] */
Val fit_dim(Build *e, Dim d);            /* i64 */
Val fit_joined(Build *e, const Val *blocks, const Dim *at, int n, Dim total);
Val fit_reshaped(Build *e, Val x, Type to);
/* x put at row `at` .. and column `col` .. of a matrix, which is a copy of `into`. */
Val fit_where(const Fit *z, Val at); /* element of params for one of u */
void fit_require_start(const Fit *z, Val code);

enum { WAY_CLOSED = 1, WAY_LSQ, WAY_NEWTON, WAY_LBFGS }; /* cnnc_fit_info.method */

typedef struct Figures {
    int way;
    Val code, iterations, where;                 /* i64 */
    Val loglik, logprior, grad_norm, s2, df, r2; /* f64; id 0: NaN */
} Figures;

/* The entry's results. theta: by number of the block's params. */
void fit_results(const Fit *z, const Val *theta, Val cov, const Figures *g);

#endif
