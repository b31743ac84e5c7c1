/* The front end as the driver sees it: from an AST to graph IR. */
#ifndef CNNC_FRONTEND_FRONTEND_H
#define CNNC_FRONTEND_FRONTEND_H

#include "frontend/ast.h"
#include "ir/graph.h"

typedef struct Define { /* -D NAME=V: a const, a dim (gmm.K), an estimator formal (coin.a) */
    Str name;
    double value;
    bool is_int;
    bool used; /* set by the front end; an unused one is a usage error */
} Define;

typedef struct LowerOptions {
    DType real; /* --real; DT_NONE: the root decides */
    Define *defines;
    int n_defines;
    bool mle;           /* the priors will be dropped: for warnings */
    const char *const *given; /* the formals of `only` that a call gives; the others are their defaults. NULL: an entry has all formals */
    int n_given;
    const char *only;   /* export this declaration alone (run, fit, gradcheck); NULL: all that can be exported */
    const char *(*load_import)(Ctx *ctx, void *self, const char *path, Span span, uint32_t *file); /* text of an import registered as file; an error text or NULL */
    void *load_self;
    const char *base;   /* of the file-level C symbols; NULL: nothing gets a C name (the REPL), so none is checked */
    const char *prefix; /* before every C name, "p_"; NULL: none */
} LowerOptions;

/* Checks all definitions and lowers what is exported; NULL after errors (in the context's diagnostics). The module
 * holds, for every exported
 *   def f        f
 *   model M      M.forward (inference), M.init
 *   estimator E  E.loglik (training mode; data, params, state, hyper, seed -> f64 scalar, new states) or E.objective
 *                (minimize), E.logprior (params, hyper -> f64), E.init, E.report, E.predict, and with `using` E.update
 *                (params, grads, opt, step, epoch -> new params, new opt)
 *   test "..."   in frontend_tests only
 * with block tables filled; instances of called definitions are functions that `call` names. */
Module *frontend_lower(Ctx *ctx, Arena *arena, const AstFile *file, const LowerOptions *o);

/* `test` blocks: one function a block without inputs, results: one bool scalar for each `expect`, named by its text
 * and place (Result.name "3:3"). */
Module *frontend_tests(Ctx *ctx, Arena *arena, const AstFile *file, const LowerOptions *o);

/* One REPL expression as function `_` over session values: names with types (inputs in this order). Items of the
 * session are in `file`. want_grad: by this value, or NULL. The result's printed type is in *type_text. */
typedef struct SessionValue {
    Str name;
    Type type;
} SessionValue;
Module *frontend_expr(Ctx *ctx, Arena *arena, const AstFile *file, const Expr *e, const SessionValue *values, int n_values,
                      const LowerOptions *o, const char **type_text);

/* Words that mean something without a declaration; how many. */
typedef enum FrontendWords { FRONTEND_KINDS, FRONTEND_VALUES, FRONTEND_FUNCTIONS } FrontendWords;
int frontend_words(FrontendWords which, const char **names, int max);

/* The library's text (prelude.cnn), embedded. */
extern const char frontend_prelude[];
extern const size_t frontend_prelude_len;
/* Names for "did you mean", completion and `?name`; doc of a definition or scalar op. */
const char *frontend_doc(Ctx *ctx, const AstFile *file, const char *name);

#endif
