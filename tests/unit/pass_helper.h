/* For tests of graph passes: functions from text, run by the reference interpreter before and
 * after. */
#ifndef CNNC_TESTS_PASS_HELPER_H
#define CNNC_TESTS_PASS_HELPER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/diag.h"
#include "ir/interp.h"
#include "ir/target.h"
#include "passes/pass.h"

/* What inputs a function is run on: whole numbers keep sums exact in any order. */
typedef enum Inputs { WHOLE, REALS, POSITIVES } Inputs;

static inline Module *must_read(Ctx *ctx, const char *text) {
    Module *m = graph_read(ctx, &ctx->perm, ctx_add_file(ctx, "test.ir", text, strlen(text)));
    if (!m) {
        StrBuf sb = sb_new(&ctx->perm);
        diag_render_all(ctx, false, false, &sb);
        fail_msg("%s\n%s", sb.text, text);
    }
    return m;
}

static inline const char *graph_text(Ctx *ctx, const Module *m) {
    StrBuf sb = sb_new(&ctx->perm);
    graph_print(&sb, m);
    return sb.text;
}

static inline Unit unit_of(Ctx *ctx, Module *m) {
    return (Unit){.ctx = ctx,
                  .arena = &ctx->perm,
                  .graph = m,
                  .target = target_named("x86-64-v3"),
                  .groups = 8,
                  .rows = 16};
}

/* Runs one pass, or several whose names blanks divide; what they leave must be valid and read back
 * as it prints. */
static inline void run_passes(Ctx *ctx, Module *m, const char *names) {
    Unit u = unit_of(ctx, m);
    char name[32];
    for (int used = 0; sscanf(names, " %31s%n", name, &used) == 1; names += used) {
        const PassDef *p = pass_named(name);
        assert_non_null(p);
        ctx->running_pass = p->name;
        p->run(&u);
        ctx->running_pass = NULL;
        const char *why = graph_verify(m);
        if (why)
            fail_msg("after %s: %s\n%s", name, why, graph_text(ctx, m));
    }
    const char *text = graph_text(ctx, m);
    assert_string_equal(graph_text(ctx, must_read(ctx, text)), text);
}

static inline double input_at(Inputs kind, int param, int64_t k) {
    uint64_t h = ((uint64_t)param * 1000003u + (uint64_t)k + 1) * 0x9e3779b97f4a7c15u;
    h = (h ^ (h >> 29)) * 0xbf58476d1ce4e5b9u;
    h ^= h >> 32;
    if (kind == WHOLE)
        return (double)(h % 7) - 3;
    double unit = (double)(h % 10007) / 10007;
    return kind == REALS ? 4 * unit - 2 : 0.1 + 0.8 * unit;
}

/* An argument for param k: integers lie in the param's bound, or in 0 .. 2. */
static inline Tensor make_input(Interp *in, const Func *f, int k, Inputs kind) {
    const Param *p = &f->params.p[k];
    Type t = graph_type(f, p->val);
    int64_t shape[MAX_RANK];
    for (int a = 0; a < t.rank; a++)
        shape[a] = interp_dim(in, t.shape[a]);
    Tensor x = tensor_new(in->arena, t.dt, t.rank, shape);
    int64_t below = t.dt == DT_BOOL ? 2 : p->bound ? interp_dim(in, p->bound) : 3;
    for (int64_t j = 0; j < x.count; j++) {
        double v = input_at(kind, k, j);
        if (x.f)
            x.f[j] = v;
        else
            x.i[j] = (int64_t)fabs(v * 97) % below;
    }
    return x;
}

/* All results of f at dims (one value each, in their order), on generated inputs. NULL: a status,
 * in *status. */
static inline Tensor *run_graph(Ctx *ctx, const Module *m, const Func *f, const int64_t *dims,
                                Inputs kind, const char **status) {
    DimValue *env = ARENA_ARRAY(&ctx->perm, DimValue, f->dims.n + 1);
    for (int k = 0; k < f->dims.n; k++)
        env[k] = (DimValue){f->dims.p[k], dims[k]};
    Interp in = {.ctx = ctx, .arena = &ctx->perm, .m = m, .dims = env, .n_dims = f->dims.n};
    const Tensor **args = ARENA_ARRAY(&ctx->perm, const Tensor *, f->params.n + 1);
    for (int k = 0; k < f->params.n; k++) {
        Tensor t = make_input(&in, f, k, kind);
        args[k] = arena_dup(&ctx->perm, &t, sizeof t);
    }
    Tensor *results = ARENA_ARRAY(&ctx->perm, Tensor, f->results.n + 1);
    bool ok = interp_run(&in, f, env, f->dims.n, args, results);
    *status = in.status;
    return ok ? results : NULL;
}

static inline Tensor *must_run(Ctx *ctx, const Module *m, const char *name, const int64_t *dims,
                               Inputs kind) {
    const Func *f = graph_func_named(m, str_of(ctx, name));
    assert_non_null(f);
    const char *status = NULL;
    Tensor *r = run_graph(ctx, m, f, dims, kind, &status);
    if (!r)
        fail_msg("%s: %s\n%s", name, status, graph_text(ctx, m));
    return r;
}

/* Equal up to a relative error of tol; 0: every bit, but for the sign of zero. */
static inline void check_tensor(const char *what, const Tensor *want, const Tensor *got,
                                double tol) {
    assert_int_equal(want->count, got->count);
    for (int64_t k = 0; k < want->count; k++) {
        double a = want->f ? want->f[k] : (double)want->i[k],
               b = got->f ? got->f[k] : (double)got->i[k];
        bool same = a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= tol * fmax(1, fabs(a));
        if (!same)
            fail_msg("%s, element %lld: %.17g before, %.17g after", what, (long long)k, a, b);
    }
}

/* The passes keep what function `name` computes at dims; returns the module after them. */
static inline Module *check_same(Ctx *ctx, const char *text, const char *passes, const char *name,
                                 const int64_t *dims, Inputs kind, double tol) {
    Module *before = must_read(ctx, text), *after = must_read(ctx, text);
    run_passes(ctx, after, passes);
    Tensor *want = must_run(ctx, before, name, dims, kind),
           *got = must_run(ctx, after, name, dims, kind);
    const Func *f = graph_func_named(after, str_of(ctx, name));
    for (int k = 0; k < f->results.n; k++)
        check_tensor(f->results.p[k].name, &want[k], &got[k], tol);
    return after;
}

static inline int count_of(const char *text, const char *what) {
    int n = 0;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

#endif
