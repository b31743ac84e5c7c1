/* What tests of the graph IR share: tensors with data, functions run by the graph and by the loop
 * interpreter. */
#ifndef CNNC_TESTS_GRAPH_HELPER_H
#define CNNC_TESTS_GRAPH_HELPER_H

#include <math.h>
#include <string.h>

#include "base/diag.h"
#include "ir/build.h"
#include "ir/interp.h"
#include "passes/pass.h"

static inline const char *graph_text(Ctx *ctx, const Module *m) {
    StrBuf sb = sb_new(&ctx->perm);
    graph_print(&sb, m);
    return sb.text;
}

static inline Module *graph_parse(Ctx *ctx, const char *text) {
    return graph_read(ctx, &ctx->perm, ctx_add_file(ctx, "t.ir", text, strlen(text)));
}

static inline const char *graph_messages(Ctx *ctx) {
    StrBuf sb = sb_new(&ctx->perm);
    diag_render_all(ctx, false, false, &sb);
    return sb.text;
}

/* A tensor of a constant type filled with numbers that depend on seed: reals in -1.5 .. 1.5, ints
 * 0, 1, 2, .. */
static inline Tensor graph_tensor(Ctx *ctx, Type t, uint64_t seed) {
    int64_t shape[MAX_RANK] = {0};
    for (int k = 0; k < t.rank; k++)
        dim_is_const(t.shape[k], &shape[k]);
    Tensor r = tensor_new(&ctx->perm, t.dt, t.rank, shape);
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
    for (int64_t k = 0; k < r.count; k++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        double v = (double)(x >> 40) * 0x1p-24 * 3 - 1.5;
        if (r.f)
            r.f[k] = t.dt == DT_F32 ? (double)(float)v : v;
        else
            r.i[k] = t.dt == DT_BOOL ? (int64_t)(x >> 60 & 1) : (int64_t)(x >> 62);
    }
    return r;
}

/* Runs f, whose dims are all constant, on the graph interpreter. NULL or the status. */
static inline const char *graph_run(Ctx *ctx, const Module *m, const Func *f, Tensor *args,
                                    Tensor *out) {
    Interp in = {.ctx = ctx, .arena = &ctx->perm, .m = m};
    const Tensor **p = ARENA_ARRAY(&ctx->perm, const Tensor *, f->params.n + 1);
    for (int k = 0; k < f->params.n; k++)
        p[k] = &args[k];
    return interp_run(&in, f, NULL, 0, p, out) ? NULL : in.status;
}

/* ---- memory of C arguments */

static inline void *graph_to_memory(Ctx *ctx, const Tensor *t) {
    char *p = arena_alloc(&ctx->perm, (size_t)t->count * 8 + 64);
    for (int64_t k = 0; k < t->count; k++)
        switch (t->dt) {
        case DT_F32:
            ((float *)(void *)p)[k] = (float)t->f[k];
            break;
        case DT_F64:
            ((double *)(void *)p)[k] = t->f[k];
            break;
        case DT_I32:
            ((int32_t *)(void *)p)[k] = (int32_t)t->i[k];
            break;
        case DT_I64:
            ((int64_t *)(void *)p)[k] = t->i[k];
            break;
        default:
            p[k] = (char)t->i[k];
            break;
        }
    return p;
}

static inline void graph_from_memory(const void *p, Tensor *t) {
    for (int64_t k = 0; k < t->count; k++)
        switch (t->dt) {
        case DT_F32:
            t->f[k] = (double)((const float *)p)[k];
            break;
        case DT_F64:
            t->f[k] = ((const double *)p)[k];
            break;
        case DT_I32:
            t->i[k] = ((const int32_t *)p)[k];
            break;
        case DT_I64:
            t->i[k] = ((const int64_t *)p)[k];
            break;
        default:
            t->i[k] = ((const uint8_t *)p)[k];
            break;
        }
}

/* Makes f an entry of a def. */
static inline void graph_as_def(Module *m, Func *f) {
    AbiEntry *e = ARENA_NEW(m->arena, AbiEntry);
    e->kind = ENTRY_DEF;
    e->cname = e->decl = f->name;
    f->entry = e;
}

static inline Unit graph_unit(Ctx *ctx, Module *m) {
    return (Unit){.ctx = ctx,
                  .arena = &ctx->perm,
                  .graph = m,
                  .target = target_named("x86-64-v3"),
                  .groups = 8,
                  .rows = 16};
}

/* Arguments of a def without dims for tensors in and out (which must have their shapes). */
static inline LoopArg *graph_loop_args(Ctx *ctx, const LoopFunc *lf, const Tensor *in,
                                       const Tensor *out) {
    LoopArg *a = ARENA_ARRAY(&ctx->perm, LoopArg, lf->entry->args.n + 1);
    int64_t work = 0;
    for (int k = 0; k < lf->entry->args.n; k++) {
        const AbiArg *arg = &lf->entry->args.p[k];
        switch (arg->kind) {
        case ARG_INPUT:
            a[k].p = graph_to_memory(ctx, in++);
            break;
        case ARG_SCALAR:
            if (in->f)
                a[k].f = in->f[0];
            else
                a[k].i = in->i[0];
            in++;
            break;
        case ARG_OUT:
            a[k].p = graph_to_memory(ctx, out++);
            break;
        case ARG_WORK:
            dim_eval(lf->entry->work_bytes, NULL, 0, &work);
            a[k].p = arena_alloc(&ctx->perm, (size_t)work + 64);
            break;
        default:
            break;
        }
    }
    return a;
}

/* Runs function number 0 of a lowered module by the loop interpreter; out must have its shapes.
 * NULL or why not. */
static inline const char *graph_run_loops(Ctx *ctx, const LoopModule *lm, LoopRun *run,
                                          const Tensor *in, Tensor *out, int n_out) {
    const LoopFunc *lf = lm->funcs.p[0];
    LoopArg *a = graph_loop_args(ctx, lf, in, out);
    const char *why = NULL;
    int status = loop_run(ctx, lm, lf, a, run, &why);
    if (status)
        return why ? why : str_fmt(ctx, "status %d", status);
    for (int k = 0, o = 0; k < lf->entry->args.n && o < n_out; k++)
        if (lf->entry->args.p[k].kind == ARG_OUT)
            graph_from_memory(a[k].p, &out[o++]);
    return NULL;
}

/* Greatest |a - b| / max(1, |b|); NaN and infinities must agree. */
static inline double graph_error(const Tensor *a, const Tensor *b) {
    double worst = a->count == b->count ? 0 : INFINITY;
    for (int64_t k = 0; k < a->count && k < b->count; k++) {
        double x = a->f ? a->f[k] : (double)a->i[k], y = b->f ? b->f[k] : (double)b->i[k];
        double e = x == y || (isnan(x) && isnan(y)) ? 0 : fabs(x - y) / (fabs(y) > 1 ? fabs(y) : 1);
        worst = e > worst || isnan(e) ? (isnan(e) ? INFINITY : e) : worst;
    }
    return worst;
}

#endif
