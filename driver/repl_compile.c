/* From an expression to its value: front end, passes, JIT, call. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "driver/repl_priv.h"
#include "passes/pass.h"

/* The exec of the C interface (docs/c-abi.md): one thread, and a flag that ends the call. */
typedef struct ReplExec {
    int threads;
    void *self;
    const volatile int *stop;
    void (*run)(void *self, int jobs, void (*job)(void *arg, int k), void *arg);
} ReplExec;

static const CodegenOptions codegen_options = {.level = 2, .debug_lines = true, .poll_stop = true};

bool repl_passes(Eval *e, Module *m, const char *stop, LoopModule **loops, Module **graph) {
    Unit u = {.ctx = e->ctx,
              .arena = &e->arena,
              .graph = m,
              .target = codegen_host(e->ctx),
              .groups = 8,
              .rows = 16};
    PassOptions po = {.stop_after = stop};
    const char *why = NULL;
    if (!pass_run(&u, &po, &why)) /* the pipeline itself, cut at a pass that exists */
        ctx_internal(e->ctx, "%s", why);
    *loops = u.loops;
    *graph = u.graph;
    return !diag_any_error(e->ctx);
}

const char *repl_type(Eval *e, const AstFile *items, const Expr *x, Type *type) {
    LowerOptions o = repl_lower_options(e->s);
    const char *text = NULL;
    Module *m = frontend_expr(e->ctx, &e->arena, items, x, repl_values(e->s, e->ctx),
                              e->s->values.n, &o, &text);
    if (!m || diag_any_error(e->ctx))
        return NULL;
    const Func *f = graph_func_named(m, str_of(e->ctx, "_"));
    CTX_ASSERT(e->ctx, f && f->results.n == 1);
    *type = graph_type(f, f->results.p[0].val);
    return text;
}

static const LoopFunc *loop_func_named(const LoopModule *m, const char *name) {
    for (int i = 0; i < m->funcs.n; i++)
        if (strcmp(m->funcs.p[i]->name, name) == 0)
            return m->funcs.p[i];
    return NULL;
}

bool repl_compile(Eval *e, const AstFile *items, const Expr *x, Compiled *c) {
    LowerOptions o = repl_lower_options(e->s);
    AstFile here = *items;
    here.file = x->span.file; /* named by what the call reports */
    Module *m = frontend_expr(e->ctx, &e->arena, &here, x, repl_values(e->s, e->ctx),
                              e->s->values.n, &o, &c->type_text);
    if (!m || diag_any_error(e->ctx))
        return false;
    const Func *f = graph_func_named(m, str_of(e->ctx, "_"));
    CTX_ASSERT(e->ctx, f && f->results.n == 1);
    c->type = graph_type(f, f->results.p[0].val);
    if (!repl_passes(e, m, NULL, &c->loops, &m))
        return false;
    c->func = loop_func_named(c->loops, "_");
    CTX_ASSERT(e->ctx, c->func && c->func->entry);
    return true;
}

static CnncArg scalar_of(const ReplValue *v) {
    CnncArg a = {.i = 0};
    switch (v->dt) {
    case DT_BOOL:
        a.i = *(const uint8_t *)v->data;
        break;
    case DT_I32:
        a.i = *(const int32_t *)v->data;
        break;
    case DT_I64:
        a.i = *(const int64_t *)v->data;
        break;
    case DT_F32:
        a.f = (double)*(const float *)v->data;
        break;
    default:
        a.f = *(const double *)v->data;
        break;
    }
    return a;
}

static bool too_large(Eval *e) {
    diag_error(e->ctx, "E1103", (Span){0}, "the value, or the memory to work it out, is too large");
    return false;
}

/* Memory for the result, its shape evaluated; false after a diagnostic. */
static bool make_result(Eval *e, const Compiled *c, DType storage, ReplValue *v) {
    int64_t *shape = ARENA_ARRAY(&e->arena, int64_t, MAX_RANK), count = 1;
    bool ok = true;
    for (int i = 0; i < c->type.rank && ok; i++)
        ok = dim_is_const(c->type.shape[i], &shape[i]) &&
             !__builtin_mul_overflow(count, shape[i], &count) && count <= (int64_t)1 << 32;
    if (!ok)
        return too_large(e);
    *v = (ReplValue){.dt = storage,
                     .rank = c->type.rank,
                     .shape = shape,
                     .count = (size_t)count,
                     .type_text = c->type_text};
    v->data = arena_array(&e->arena, (size_t)count, dtype_size(storage));
    return true;
}

static bool make_args(Eval *e, const Compiled *c, const ReplExec *exec, CnncArg *args,
                      ReplValue *v) {
    const AbiEntry *en = c->func->entry;
    for (int i = 0; i < en->args.n; i++) {
        const AbiArg *a = &en->args.p[i];
        const ReplValue *in = NULL;
        switch (a->kind) {
        case ARG_EXEC:
            args[i].p = exec;
            break;
        case ARG_SEED:
            args[i].u = e->s->seed;
            break;
        case ARG_SCALAR:
        case ARG_INPUT:
            in = repl_value(e->s, a->name);
            CTX_ASSERT(e->ctx, in);
            if (a->kind == ARG_SCALAR)
                args[i] = scalar_of(in);
            else
                args[i].p = in->data;
            break;
        case ARG_OUT:
            if (!make_result(e, c, a->dt, v))
                return false;
            args[i].p = v->data;
            break;
        case ARG_WORK: {
            size_t bytes = codegen_work_bytes(en, NULL, 0);
            if (bytes > (size_t)1 << 36)
                return too_large(e);
            args[i].p = arena_alloc(&e->arena, bytes);
            break;
        }
        default:
            ctx_internal(e->ctx, "an expression has an argument `%s`", a->name);
        }
    }
    return true;
}

/* What a status of a call means. */
static void report_status(Eval *e, const Compiled *c, int status) {
    int k = -status - 1;
    if (k == c->func->status_stop && *e->s->stop)
        sb_put(&e->out, "interrupted\n");
    else
        diag_error(e->ctx, "E1104", (Span){0}, "%s",
                   k >= 0 && k < c->loops->statuses.n ? c->loops->statuses.p[k].text
                                                      : "the call failed");
}

static bool open_jit(Eval *e, const Compiled *c) {
    if (!e->jit)
        e->jit = jit_open(e->ctx, c->loops, &codegen_options);
    return e->jit != NULL;
}

bool repl_call(Eval *e, const Compiled *c, ReplValue *v) {
    const AbiEntry *en = c->func->entry;
    ReplExec exec = {.threads = 1, .stop = e->s->stop};
    CnncArg *args = ARENA_ARRAY(&e->arena, CnncArg, en->args.n + 1);
    if (!make_args(e, c, &exec, args, v) || !open_jit(e, c))
        return false;
    int status = jit_call(e->jit, en->cname, args);
    if (status != 0)
        report_status(e, c, status);
    return status == 0;
}

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double repl_time(Eval *e, const Compiled *c, int *calls) {
    enum { MOST_CALLS = 100000 };
    const AbiEntry *en = c->func->entry;
    ReplExec exec = {.threads = 1, .stop = e->s->stop};
    CnncArg *args = ARENA_ARRAY(&e->arena, CnncArg, en->args.n + 1);
    ReplValue v;
    if (!make_args(e, c, &exec, args, &v) || !open_jit(e, c))
        return -1;
    double best = INFINITY, start = seconds_now(), at = start;
    for (*calls = 0; *calls < MOST_CALLS && (*calls < 3 || at - start < 0.5);) {
        int status = jit_call(e->jit, en->cname, args);
        if (status != 0) {
            report_status(e, c, status);
            return -1;
        }
        double then = at;
        at = seconds_now();
        best = at - then < best ? at - then : best;
        ++*calls;
    }
    return best;
}
