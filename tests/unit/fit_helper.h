/* Fits of small estimators, computed in four ways: by the graph interpreter before and after the
 * graph passes, by the loop interpreter and by native code. */
#ifndef CNNC_TESTS_FIT_HELPER_H
#define CNNC_TESTS_FIT_HELPER_H

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/diag.h"
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"
#include "ir/interp.h"
#include "passes/pass.h"
#include "runtime/rt.h"

enum { FIT_MOST_PARAMS = 32, FIT_MOST_DIMS = 4 };

typedef struct FitCase {
    const char *text;
    const char *name; /* of the estimator; C names are lower case */
    int64_t dims[FIT_MOST_DIMS];
    int n_data;
    double data[4][64]; /* row-major */
    const double *many[4]; /* instead, where n_many > 0 */
    int64_t n_many[4];
    double start[FIT_MOST_PARAMS];
    double prior;
    double formals[4];
    FitWay way;
    int stop_after; /* native code is asked to stop after so many jobs less 1; 0: never */
} FitCase;

typedef struct FitInfo {
    size_t size;
    int method, iterations;
    int64_t observations, where;
    double loglik, logprior, grad_norm, s2, df, r2;
} FitInfo;

typedef struct FitAnswer {
    int code;
    double params[FIT_MOST_PARAMS], cov[FIT_MOST_PARAMS * FIT_MOST_PARAMS];
    FitInfo info;
    int jobs; /* of native code, where FitCase.stop_after is set */
} FitAnswer;

/* The optimisers of the runtime, for the interpreters. */
static bool fit_runtime(void *self, Str callee, void *const *b, const ScalarValue *a,
                        ScalarValue *result) {
    (void)self, (void)result;
#define IS(name) (strcmp(callee, name) == 0)
    if (IS("newton"))
        rt_newton(b[0], b[1], b[2], b[3], b[4], b[5], b[6], a[0].i);
    else if (IS("lbfgs"))
        rt_lbfgs(b[0], b[1], b[2], b[3], b[4], b[5], a[0].i);
    else if (IS("at"))
        rt_at(b[0], b[1], b[2], b[3], b[4], b[5], b[6], a[0].i);
    else if (IS("restart"))
        rt_restart(b[0], b[1], b[2], a[0].i);
    else if (IS("newton_cov"))
        rt_newton_cov(b[0], b[1], b[2], a[0].i);
    else if (IS("give"))
        rt_give(b[0], b[1], a[0].i);
    else if (IS("fit_info"))
        rt_fit_info(b[0], b[1], b[2]);
    else if (IS("qr_rows"))
        rt_qr_rows(b[0], b[1], a[0].i, a[1].i);
    else if (IS("lsq_rows"))
        rt_lsq_rows(b[0], b[1], a[0].i, a[1].i);
    else if (IS("lsq_part"))
        rt_lsq_part(b[0], b[1], a[0].i);
    else if (IS("lsq_join"))
        rt_lsq_join(b[0], b[1], a[0].i);
    else if (IS("lsq"))
        rt_lsq(b[0], b[1], b[2], b[3], a[0].i, a[1].i);
    else if (IS("lm"))
        rt_lm(b[0], b[1], b[2], b[3], b[4], a[0].i, a[1].i);
    else if (IS("lsq_cov"))
        rt_lsq_cov(b[0], b[1], b[2], b[3], a[0].i);
    else
        return false;
#undef IS
    return true;
}

typedef struct FitTry {
    const FitCase *c;
    const char *stop_after; /* of the graph interpreter */
    FitAnswer *graph, *loops, *native;
} FitTry;

static inline Module *fit_module(Ctx *ctx, const FitCase *c) {
    uint32_t file = ctx_add_file(ctx, "fit.cnn", c->text, strlen(c->text));
    AstFile *ast = parse_file(ctx, file);
    LowerOptions o = {.only = c->name};
    Module *m = diag_any_error(ctx) ? NULL : frontend_lower(ctx, &ctx->perm, ast, &o);
    if (!m) {
        StrBuf sb = sb_new(&ctx->perm);
        diag_render_all(ctx, false, false, &sb);
        fail_msg("%s", sb.text);
    }
    return m;
}

static inline Unit fit_passes(Ctx *ctx, const FitCase *c, const char *stop_after) {
    Unit u = {.ctx = ctx,
              .arena = &ctx->perm,
              .graph = fit_module(ctx, c),
              .target = codegen_host(ctx),
              .groups = 8,
              .rows = 16,
              .fit_way = c->way};
    StrBuf dumps = sb_new(&ctx->perm);
    PassOptions po = {.dumps = &dumps, .stop_after = stop_after};
    const char *why = NULL;
    if (!pass_run(&u, &po, &why))
        fail_msg("%s", why);
    return u;
}

/* ---- the graph interpreter */

static inline Tensor fit_input(Interp *in, const FitCase *c, const Param *p, Type t, int *data,
                               int *param) {
    int64_t shape[MAX_RANK];
    for (int a = 0; a < t.rank; a++)
        shape[a] = interp_dim(in, t.shape[a]);
    Tensor x = tensor_new(in->arena, t.dt, t.rank, shape);
    const double *from = p->role == ROLE_INPUT ? c->data[(*data)++] : &c->prior;
    if (p->role == ROLE_PARAM) {
        from = c->start + *param;
        *param += (int)x.count;
    } else if (p->role == ROLE_HYPER) {
        from = &c->formals[p->tensor];
    }
    for (int64_t k = 0; k < x.count; k++) {
        if (x.f)
            x.f[k] = from[k];
        else
            x.i[k] = (int64_t)from[k];
    }
    return x;
}

static inline void fit_by_graph(Ctx *ctx, const FitTry *z) {
    Unit u = fit_passes(ctx, z->c, z->stop_after);
    const Func *f = graph_func_named(u.graph, str_fmt(ctx, "%s.fit", z->c->name));
    assert_non_null(f);
    DimValue dims[FIT_MOST_DIMS];
    for (int k = 0; k < f->dims.n; k++)
        dims[k] = (DimValue){f->dims.p[k], z->c->dims[k]};
    Interp in = {.ctx = ctx,
                 .arena = &ctx->perm,
                 .m = u.graph,
                 .dims = dims,
                 .n_dims = f->dims.n,
                 .call = fit_runtime};
    const Tensor **args = ARENA_ARRAY(&ctx->perm, const Tensor *, f->params.n + 1);
    int data = 0, param = 0;
    for (int k = 0; k < f->params.n; k++) {
        Tensor t =
            fit_input(&in, z->c, &f->params.p[k], graph_type(f, f->params.p[k].val), &data, &param);
        args[k] = arena_dup(&ctx->perm, &t, sizeof t);
    }
    Tensor *r = ARENA_ARRAY(&ctx->perm, Tensor, f->results.n + 1);
    if (!interp_run(&in, f, dims, f->dims.n, args, r))
        fail_msg("%s", in.status);
    FitAnswer *to = z->graph;
    param = 0;
    for (int k = 0, info = 0; k < f->results.n; k++) {
        switch (f->results.p[k].role) {
        case RES_NEW_PARAM:
            memcpy(to->params + param, r[k].f, (size_t)r[k].count * sizeof(double));
            param += (int)r[k].count;
            break;
        case RES_COV:
            memcpy(to->cov, r[k].f, (size_t)r[k].count * sizeof(double));
            break;
        case RES_INFO:
            if (info++ == 0)
                to->info = (FitInfo){.method = (int)r[k].i[0],
                                     .iterations = (int)r[k].i[1],
                                     .observations = r[k].i[2],
                                     .where = r[k].i[3]};
            else
                memcpy(&to->info.loglik, r[k].f, 6 * sizeof(double));
            break;
        default:
            to->code = (int)r[k].i[0];
        }
    }
}

/* ---- loops and native code */

static inline void *fit_memory(Ctx *ctx, DType dt, const double *from, int64_t n) {
    char *p = arena_alloc(&ctx->perm, (size_t)n * 8 + 8);
    for (int64_t k = 0; k < n; k++) {
        if (dt == DT_F64)
            ((double *)(void *)p)[k] = from[k];
        else if (dt == DT_I32)
            ((int32_t *)(void *)p)[k] = (int32_t)from[k];
        else
            p[k] = (char)from[k];
    }
    return p;
}

/* cnnc_exec of the generated header: jobs on the calling thread, counted. */
typedef struct FitExec {
    int threads;
    void *self;
    const volatile int *stop;
    void (*run)(void *self, int jobs, void (*job)(void *arg, int k), void *arg);
    volatile int asked;
    int jobs, stop_after;
} FitExec;

static inline void fit_jobs(void *self, int jobs, void (*job)(void *arg, int k), void *arg) {
    FitExec *x = self;
    for (int k = 0; k < jobs; k++) {
        job(arg, k);
        x->asked = ++x->jobs >= x->stop_after - 1;
    }
}

typedef struct FitArgs {
    LoopArg a[24];
    double hyper[16];
    FitExec exec;
} FitArgs;

static inline void fit_args(Ctx *ctx, const FitCase *c, const LoopFunc *f, FitArgs *to,
                            FitAnswer *out) {
    DimValue dims[FIT_MOST_DIMS];
    int64_t size = sizeof to->hyper;
    memcpy(&to->hyper[0], &size, 8);
    to->hyper[1] = c->prior;
    memset(&to->hyper[2], 0, 3 * 8);
    memcpy(&to->hyper[5], c->formals, sizeof c->formals);
    *out = (FitAnswer){.info.size = sizeof(FitInfo)};
    to->exec = (FitExec){.threads = 1,
                         .self = &to->exec,
                         .stop = &to->exec.asked,
                         .run = fit_jobs,
                         .asked = c->stop_after == 1,
                         .stop_after = c->stop_after};
    memcpy(out->params, c->start, sizeof out->params);
    for (int k = 0; k < f->dims.n; k++)
        dims[k] = (DimValue){f->dims.p[k], c->dims[k]};
    int dim = 0, data = 0;
    for (int k = 0; k < f->entry->args.n; k++) {
        const AbiArg *a = &f->entry->args.p[k];
        LoopArg *v = &to->a[k];
        switch (a->kind) {
        case ARG_HYPER:
            v->p = to->hyper;
            break;
        case ARG_EXEC:
            v->p = c->stop_after ? &to->exec : NULL;
            break;
        case ARG_DIM:
            v->i = c->dims[dim++];
            break;
        case ARG_INPUT:
            v->p = c->n_many[data] ? fit_memory(ctx, a->dt, c->many[data], c->n_many[data])
                                   : fit_memory(ctx, a->dt, c->data[data], 64);
            data++;
            break;
        case ARG_PARAMS:
            v->p = out->params;
            break;
        case ARG_COV:
            v->p = out->cov;
            break;
        case ARG_INFO:
            v->p = &out->info;
            break;
        case ARG_WORK: {
            size_t n = codegen_work_bytes(f->entry, dims, f->dims.n);
            v->p = arena_alloc(&ctx->perm, n + 64);
            memset(v->p, 0xff, n);
            break;
        }
        default:
            v->p = NULL;
        }
    }
}

static inline void fit_compiled(Ctx *ctx, const FitTry *z) {
    Unit u = fit_passes(ctx, z->c, NULL);
    const LoopFunc *f = NULL;
    for (int k = 0; k < u.loops->funcs.n; k++)
        if (u.loops->funcs.p[k]->entry->kind == ENTRY_FIT)
            f = u.loops->funcs.p[k];
    assert_non_null(f);
    const char *why = "";
    FitArgs args = {0};
    LoopRun run = {.call = fit_runtime};
    if (z->loops) {
        fit_args(ctx, z->c, f, &args, z->loops);
        z->loops->code = loop_run(ctx, u.loops, f, args.a, &run, &why);
        if (z->loops->code == INT32_MIN)
            fail_msg("%s", why);
    }
    fit_args(ctx, z->c, f, &args, z->native);
    Jit *j = jit_open(ctx, u.loops,
                      &(CodegenOptions){.level = 2, .trampolines = true, .poll_stop = true});
    assert_non_null(j);
    CnncArg native[24];
    for (int k = 0; k < f->entry->args.n; k++)
        memcpy(&native[k], &args.a[k], sizeof native[k]);
    z->native->code = jit_call(j, f->entry->cname, native);
    z->native->jobs = args.exec.jobs;
    jit_close(j);
}

static inline void fit_run(void *arg) {
    void **p = arg;
    Ctx *ctx = p[0];
    const FitTry *z = p[1];
    if (z->graph)
        fit_by_graph(ctx, z);
    if (z->native)
        fit_compiled(ctx, z);
}

static inline void fit_try(const FitTry *z) {
    Ctx *ctx = ctx_new(0);
    void *arg[2] = {ctx, (void *)(uintptr_t)z};
    if (ctx_protect(ctx, fit_run, arg) != CTX_OK)
        fail_msg("%s", ctx->internal);
    ctx_free(ctx);
}

/* ---- comparing */

static inline void fit_close(const char *what, double got, double want, double tol) {
    bool same = got == want || (isnan(got) && isnan(want));
    if (!same && !(fabs(got - want) <= tol * (1 + fabs(want))))
        fail_msg("%s is %.17g, expected %.17g", what, got, want);
}

static inline void fit_same(const FitAnswer *got, const FitAnswer *want, double tol) {
    assert_int_equal(got->code, want->code);
    assert_int_equal(got->info.method, want->info.method);
    assert_int_equal(got->info.observations, want->info.observations);
    assert_int_equal(got->info.where, want->info.where);
    for (int k = 0; k < FIT_MOST_PARAMS; k++)
        fit_close("a parameter", got->params[k], want->params[k], tol);
    for (int k = 0; k < FIT_MOST_PARAMS * FIT_MOST_PARAMS; k++)
        fit_close("a covariance", got->cov[k], want->cov[k], tol);
    fit_close("loglik", got->info.loglik, want->info.loglik, tol);
    fit_close("logprior", got->info.logprior, want->info.logprior, tol);
    fit_close("s2", got->info.s2, want->info.s2, tol);
    fit_close("df", got->info.df, want->info.df, tol);
    fit_close("r2", got->info.r2, want->info.r2, tol);
}

/* The answer of native code, after it is found equal to the bit to that of the loop interpreter and
 * close to that of the graph interpreter after the graph passes. */
static inline FitAnswer fit_all_ways(const FitCase *c) {
    FitAnswer batched = {0}, derived = {0}, loops, native;
    fit_try(&(FitTry){.c = c, .stop_after = "ad", .graph = &derived});
    fit_try(&(FitTry){.c = c, .stop_after = "batch", .graph = &batched});
    fit_try(&(FitTry){.c = c, .loops = &loops, .native = &native});
    fit_same(&native, &loops, 0);
    fit_same(&batched, &derived, 1e-9);
    fit_same(&native, &batched, 1e-8);
    return native;
}

#endif
