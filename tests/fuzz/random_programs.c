/* Random programs through three evaluators: the f64 graph interpreter on the graph as lowered, the loop
 * interpreter after the whole pipeline, and native code.
 *
 *   random_programs [--count=200] [--seed=1] [--show] [--disable-pass=P]
 *
 * Native code equals the loop interpreter bit for bit. The graph interpreter agrees exactly on programs of integers,
 * to 1e-9 where reals occur and to 1e-5 where it differentiates numerically; there an element counts on which differences
 * by two steps agree (a kink of max or a jump may lie between them). A mismatch prints the program and its seed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"
#include "ir/interp.h"
#include "options.h"
#include "passes/pass.h"
#include "program.h"

typedef struct Run {
    Ctx *ctx;
    Arena arena;
    const RandomProgram *p;
    FuzzOptions o;
    const char *failure; /* what went wrong, or NULL */
    bool skipped;        /* the graph interpreter reports a status: nothing to compare */
} Run;

static int64_t coprime(int64_t n, uint64_t *rng) {
    for (;;) {
        int64_t step = 1 + random_below(rng, (int)n), a = n, b = step;
        while (b) {
            int64_t t = a % b;
            a = b;
            b = t;
        }
        if (a == 1)
            return step;
    }
}

/* Small integers, or reals spread over -3 .. 3 in a random order: no two are nearly equal, nor are sums of some, because
 * differences across the kink of a max are no derivative. */
static double *random_data(Run *r, const RandomProgram *p, int64_t count, uint64_t *rng) {
    double *d = ARENA_ARRAY(&r->arena, double, count + 1);
    int64_t step = count ? coprime(count, rng) : 1;
    for (int64_t k = 0; k < count; k++)
        d[k] = p->exact ? random_below(rng, 7) - 3 : ((double)(k * step % count) + 0.37 + fmod((double)k * 0.6180339887, 0.5)) * 6 / (double)count - 3;
    return d;
}

static bool close_enough(double a, double b, double tol) {
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    return a == b || fabs(a - b) <= tol * fmax(1, fabs(b));
}

static void compare(Run *r, const char *what, const double *got, const double *want, int64_t n, double tol) {
    for (int64_t k = 0; k < n && !r->failure; k++) {
        bool ok = tol > 0 ? close_enough(got[k], want[k], tol) : memcmp(&got[k], &want[k], 8) == 0 || got[k] == want[k] || (isnan(got[k]) && isnan(want[k]));
        if (!ok)
            r->failure = str_fmt(r->ctx, "%s: element %lld is %.17g, expected %.17g", what, (long long)k, got[k], want[k]);
    }
}

typedef struct Inputs {
    DimValue dims[4];
    int n_dims;
    Tensor args[16];
    const Tensor *argp[16];
} Inputs;

static void prepare(Run *r, const Func *f, Inputs *in) {
    uint64_t rng = 77;
    in->n_dims = f->dims.n;
    for (int k = 0; k < f->dims.n; k++)
        in->dims[k] = (DimValue){f->dims.p[k], r->p->n};
    for (int k = 0; k < f->params.n; k++) {
        Type t = graph_type(f, f->params.p[k].val);
        int64_t shape[MAX_RANK];
        for (int a = 0; a < t.rank; a++)
            dim_eval(t.shape[a], in->dims, in->n_dims, &shape[a]);
        in->args[k] = tensor_new(&r->arena, t.dt, t.rank, shape);
        in->args[k].f = random_data(r, r->p, in->args[k].count, &rng);
        in->argp[k] = &in->args[k];
    }
}

static Module *lowered(Run *r) {
    uint32_t file = ctx_add_file(r->ctx, "random.cnn", r->p->text, strlen(r->p->text));
    AstFile *ast = parse_file(r->ctx, file);
    LowerOptions o = {.real = DT_F64};
    return diag_any_error(r->ctx) ? NULL : frontend_lower(r->ctx, &r->arena, ast, &o);
}

/* By the graph interpreter, whose differences go by a step that is halved `finer` times; false: it reports a status. */
static bool expected(Run *r, const Module *m, int finer, Inputs *in, Tensor *want) {
    const Func *f = graph_func_named(m, str_of(r->ctx, "f"));
    prepare(r, f, in);
    Interp interp = {.ctx = r->ctx, .arena = &r->arena, .m = m, .finer = finer};
    return interp_run(&interp, f, in->dims, in->n_dims, in->argp, want);
}

static void compare_with_graph(Run *r, const double *got, const Tensor *want) {
    enum { FINER = 3 };
    double tol = r->p->exact ? 0 : r->p->gradient ? 1e-5 : 1e-9;
    compare(r, "loops against the graph interpreter", got, want->f, want->count, tol);
    Inputs in;
    Tensor fine;
    if (!r->failure || tol < 1e-5 || !expected(r, lowered(r), FINER, &in, &fine))
        return;
    r->failure = NULL;
    for (int64_t k = 0; k < fine.count && !r->failure; k++)
        if (close_enough(fine.f[k], want->f[k], tol))
            compare(r, "loops against differences", &got[k], &fine.f[k], 1, tol);
}

/* Both native code and the loop interpreter take the arguments of the C signature. */
static void run_compiled(Run *r, const LoopModule *m, const Inputs *in, const Tensor *want) {
    const LoopFunc *f = m->funcs.p[0];
    LoopArg a[24];
    CnncArg b[24];
    size_t work = codegen_work_bytes(f->entry, in->dims, in->n_dims);
    double *out[2] = {ARENA_ARRAY(&r->arena, double, want->count + 1), ARENA_ARRAY(&r->arena, double, want->count + 1)};
    int dim = 0, input = 0;
    for (int k = 0; k < f->entry->args.n; k++) {
        a[k] = (LoopArg){0};
        b[k] = (CnncArg){0};
        switch (f->entry->args.p[k].kind) {
        case ARG_DIM:
            a[k].i = b[k].i = in->dims[dim++].value;
            break;
        case ARG_INPUT:
            a[k].p = in->args[input].f;
            b[k].p = in->args[input++].f;
            break;
        case ARG_OUT:
            a[k].p = out[0];
            b[k].p = out[1];
            break;
        case ARG_WORK:
            a[k].p = arena_alloc(&r->arena, work + 64);
            b[k].p = arena_alloc(&r->arena, work + 64);
            break;
        default:
            break;
        }
    }
    const char *why = NULL;
    int status = loop_run(r->ctx, m, f, a, NULL, &why);
    if (status) {
        r->failure = str_fmt(r->ctx, "the loop interpreter returns %d: %s", status, why ? why : "");
        return;
    }
    CodegenOptions o = {.level = 2, .debug_lines = true};
    Jit *jit = jit_open(r->ctx, m, &o);
    if (!jit) {
        r->failure = "no native code";
        return;
    }
    status = jit_call(jit, f->entry->cname, b);
    if (status)
        r->failure = str_fmt(r->ctx, "native code returns %d", status);
    compare(r, "native code against the loop interpreter", out[1], out[0], want->count, 0);
    if (!r->failure)
        compare_with_graph(r, out[0], want);
    jit_close(jit);
}

static void run(void *arg) {
    Run *r = arg;
    Ctx *ctx = r->ctx;
    Module *m = lowered(r);
    Inputs in;
    Tensor want;
    if (!m) {
        r->failure = "it does not check";
        return;
    }
    if (!expected(r, m, 0, &in, &want)) {
        r->skipped = true;
        return;
    }
    const Target *target = fuzz_target(&r->o, codegen_host(ctx), ARENA_NEW(&r->arena, Target));
    Unit u = {.ctx = ctx, .arena = &r->arena, .graph = m, .target = target, .groups = 8, .rows = 16};
    StrBuf dumps = sb_new(&r->arena);
    PassOptions po = {.dumps = &dumps, .disabled = r->o.disabled, .n_disabled = r->o.n_disabled};
    const char *why = NULL;
    if (!pass_run(&u, &po, &why)) {
        r->failure = why;
        return;
    }
    loop_assign_offsets(u.loops); /* where the pass plan is left out */
    run_compiled(r, u.loops, &in, &want);
}

static const char *one(Run *r, const RandomProgram *p) {
    r->ctx = ctx_new(0);
    arena_init(&r->arena, r->ctx);
    r->p = p;
    r->failure = NULL;
    r->skipped = false;
    CtxStatus s = ctx_protect(r->ctx, run, r);
    static char text[4096];
    StrBuf diags = sb_new(&r->ctx->perm);
    diag_render_all(r->ctx, false, false, &diags);
    if (s != CTX_OK)
        snprintf(text, sizeof text, "internal error: %s", s == CTX_OOM ? "out of memory" : r->ctx->internal);
    else if (r->failure)
        snprintf(text, sizeof text, "%s\n%.3000s", r->failure, diags.text);
    bool failed = s != CTX_OK || r->failure;
    arena_free(&r->arena);
    ctx_free(r->ctx);
    return failed ? text : NULL;
}

int main(int argc, char **argv) {
    long failed = 0, skipped = 0;
    Run r = {0};
    int status = fuzz_options(argc, argv, &r.o);
    if (status)
        return status;
    long count = r.o.count, seed = r.o.seed;
    static RandomProgram p;
    for (long k = 0; k < count; k++) {
        random_program(&p, (uint64_t)(seed + k));
        if (r.o.show)
            printf("# seed %ld, N = %lld\n%s\n", seed + k, (long long)p.n, p.text);
        const char *why = one(&r, &p);
        skipped += r.skipped;
        if (!why)
            continue;
        printf("seed %ld (N = %lld%s%s): %s\n%s\n", seed + k, (long long)p.n, p.exact ? ", exact" : "", p.gradient ? ", gradient" : "", why, p.text);
        failed++;
    }
    printf("%ld random programs, %ld without a value; %ld passed, %ld failed\n", count, skipped, count - failed, failed);
    return failed != 0 || skipped > count / 2;
}
