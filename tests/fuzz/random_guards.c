/* Random contractions, layers and programs in memory beside pages that may not be touched, native code
 * against the f64 graph interpreter.
 *
 *   random_guards [--count=200] [--seed=1] [--show] [--target=T] [--cache=BYTES] [--disable-pass=P]
 *
 * Every program is called with several values of its dims, and with each of them six times: without
 * an `exec`, with its jobs backwards, the odd ones first, and on 2, 3 and 8 threads. Each argument
 * ends where such a page begins, in every other call begins where one ends, and inputs may only be
 * read; the work memory is full of NaN. Results are what the interpreter says (exactly for
 * integers) and the same bits in all calls. A mismatch prints the program, its seed and dims. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "codegen/codegen.h"
#include "contraction.h"
#include "driver/pool.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"
#include "guard.h"
#include "ir/interp.h"
#include "layer.h"
#include "options.h"
#include "passes/pass.h"
#include "program.h"
#include "tests/execs.h"

enum { MOST_ARGS = 24, MOST_DIMS = 4, CALLS = 6 };

typedef struct Case {
    const char *text;
    DType real;
    double tolerance;   /* 0: exact, on integers */
    int64_t dims[4][2]; /* values of N and D */
    int n_dims;
} Case;

typedef struct Run {
    Ctx *ctx;
    Arena arena; /* of a program */
    const Case *c;
    FuzzOptions o;
    const char *failure; /* what went wrong, or NULL */
    long cases;
} Run;

/* ---- who runs the jobs */

static int threads_of[] = {2, 3, 8};
static const Exec execs[CALLS] = {{1, NULL, NULL, NULL},
                                  {1, NULL, NULL, jobs_backwards},
                                  {8, NULL, NULL, jobs_odd_first},
                                  {2, &threads_of[0], NULL, jobs_at_once},
                                  {3, &threads_of[1], NULL, jobs_at_once},
                                  {8, &threads_of[2], NULL, jobs_at_once}};

/* ---- data */

typedef struct Inputs {
    DimValue dims[MOST_DIMS];
    int n_dims;
    Tensor args[MOST_ARGS];
    const Tensor *argp[MOST_ARGS];
} Inputs;

/* Small integers that every type holds; where reals are compared, some between them. */
static void prepare(Run *r, Arena *arena, const Func *f, const int64_t *sizes, Inputs *in) {
    uint64_t rng = 77;
    in->n_dims = f->dims.n;
    for (int k = 0; k < f->dims.n; k++)
        in->dims[k] = (DimValue){f->dims.p[k], sizes[strcmp(f->dims.p[k]->name, "D") == 0]};
    for (int k = 0; k < f->params.n; k++) {
        Type t = graph_type(f, f->params.p[k].val);
        int64_t shape[MAX_RANK];
        for (int a = 0; a < t.rank; a++)
            dim_eval(t.shape[a], in->dims, in->n_dims, &shape[a]);
        in->args[k] = tensor_new(arena, t.dt, t.rank, shape);
        for (int64_t j = 0; j < in->args[k].count; j++)
            in->args[k].f[j] = random_below(&rng, 7) - 3 +
                               (r->c->tolerance > 0 ? random_below(&rng, 8) / 16.0 : 0);
        in->argp[k] = &in->args[k];
    }
}

static void store(char *p, DType dt, const Tensor *t) {
    for (int64_t j = 0; j < t->count; j++)
        if (dt == DT_F32)
            ((float *)(void *)p)[j] = (float)t->f[j];
        else
            ((double *)(void *)p)[j] = t->f[j];
}

static double element(const char *p, DType dt, int64_t j) {
    return dt == DT_F32 ? (double)((const float *)(const void *)p)[j]
                        : ((const double *)(const void *)p)[j];
}

/* ---- calls */

typedef struct Call {
    const AbiEntry *entry;
    DType real;
    Jit *jit;
    const Inputs *in;
    const Tensor *want;
    Guard blocks[MOST_ARGS], *out;
} Call;

static void lay_out(Call *c, int number, CnncArg *args) {
    int n_dims = 0, input = 0;
    DimValue dims[MOST_DIMS]; /* in the symbols of the compiled module */
    GuardSide side = number % 2 ? GUARD_BEFORE : GUARD_BEHIND;
    for (int k = 0; k < c->entry->args.n; k++) {
        Guard *g = &c->blocks[k];
        switch (c->entry->args.p[k].kind) {
        case ARG_EXEC:
            args[k].p = number == 0 ? NULL : &execs[number];
            break;
        case ARG_DIM:
            args[k].i = c->in->dims[n_dims].value;
            dims[n_dims++] = (DimValue){c->entry->args.p[k].dim, args[k].i};
            break;
        case ARG_INPUT: {
            const Tensor *t = &c->in->args[input++];
            *g = guard_new((size_t)t->count * dtype_size(c->real), side, 0);
            store(g->p, c->real, t);
            guard_read_only(g);
            break;
        }
        case ARG_OUT:
            *g = guard_new((size_t)c->want->count * dtype_size(c->real), side, 0xFF);
            c->out = g;
            break;
        case ARG_WORK:
            *g = guard_new(codegen_work_bytes(c->entry, dims, n_dims), side, 0xFF);
            break;
        default:
            break;
        }
        if (g->pages)
            args[k].p = g->p;
    }
}

static void compare(Run *r, const Call *c) {
    double scale = 1;
    for (int64_t j = 0; j < c->want->count; j++)
        if (isfinite(c->want->f[j]))
            scale = fmax(scale, fabs(c->want->f[j]));
    for (int64_t j = 0; j < c->want->count && !r->failure; j++) {
        double got = element(c->out->p, c->real, j), want = c->want->f[j];
        if (got == want || (isnan(got) && isnan(want)) ||
            fabs(got - want) <= r->c->tolerance * scale)
            continue;
        r->failure = str_fmt(r->ctx, "element %lld of %lld is %.17g, expected %.17g", (long long)j,
                             (long long)c->want->count, got, want);
    }
}

static void one_call(Run *r, Call *c, int number, char **first) {
    CnncArg args[MOST_ARGS] = {0};
    lay_out(c, number, args);
    int status = jit_call(c->jit, c->entry->cname, args);
    if (status)
        r->failure = str_fmt(r->ctx, "native code returns %d", status);
    for (int k = 0; k < c->entry->args.n; k++)
        if (c->blocks[k].pages && !guard_is_kept(&c->blocks[k]))
            r->failure = str_fmt(r->ctx, "call %d wrote beside argument %s", number,
                                 c->entry->args.p[k].name);
    if (number == 0) {
        compare(r, c);
        memcpy(*first = malloc(c->out->n + 1), c->out->p, c->out->n);
    } else if (memcmp(*first, c->out->p, c->out->n) != 0) {
        r->failure = str_fmt(r->ctx, "call %d gives other bits than call 0", number);
    }
    for (int k = 0; k < c->entry->args.n; k++)
        guard_free(&c->blocks[k]);
}

static void note_case(const Run *r, const int64_t *sizes) {
    static char words[20000];
    snprintf(words, sizeof words, "touched a page beside an argument, N = %lld, D = %lld:\n%s\n",
             (long long)sizes[0], (long long)sizes[1], r->c->text);
    guard_on_fault(words);
}

static void at_sizes(Run *r, const Module *reference, const LoopModule *m, Jit *jit,
                     const int64_t *sizes) {
    Arena arena;
    arena_init(&arena, r->ctx);
    const Func *f = graph_func_named(reference, str_of(r->ctx, "f"));
    Inputs in;
    prepare(r, &arena, f, sizes, &in);
    Interp interp = {.ctx = r->ctx, .arena = &arena, .m = reference};
    Tensor want;
    if (interp_run(&interp, f, in.dims, in.n_dims, in.argp, &want)) {
        Call c = {.entry = m->funcs.p[0]->entry,
                  .real = r->c->real,
                  .jit = jit,
                  .in = &in,
                  .want = &want};
        char *first = NULL;
        note_case(r, sizes);
        for (int n = 0; n < CALLS && !r->failure; n++)
            one_call(r, &c, n, &first);
        free(first);
        if (r->failure)
            r->failure = str_fmt(r->ctx, "N = %lld, D = %lld: %s", (long long)sizes[0],
                                 (long long)sizes[1], r->failure);
        r->cases++;
    }
    arena_free(&arena);
}

/* The text through the passes, up to `last` (NULL: all). NULL: r->failure. */
static bool compiled(Run *r, const char *last, Unit *u) {
    Ctx *ctx = r->ctx;
    AstFile *ast = parse_file(ctx, ctx_add_file(ctx, "random.cnn", r->c->text, strlen(r->c->text)));
    LowerOptions o = {.real = r->c->real};
    Module *m = diag_any_error(ctx) ? NULL : frontend_lower(ctx, &r->arena, ast, &o);
    if (!m) {
        r->failure = "it does not check";
        return false;
    }
    *u = (Unit){.ctx = ctx,
                .arena = &r->arena,
                .graph = m,
                .target = fuzz_target(&r->o, codegen_host(ctx), ARENA_NEW(&r->arena, Target)),
                .groups = 8,
                .rows = 16};
    StrBuf dumps = sb_new(&r->arena);
    PassOptions po = {
        .dumps = &dumps, .disabled = r->o.disabled, .n_disabled = r->o.n_disabled, .stop_after = last};
    return pass_run(u, &po, &r->failure);
}

static void run(void *arg) {
    Run *r = arg;
    Unit reference, u;
    if (!compiled(r, "ad", &reference) || !compiled(r, NULL, &u))
        return;
    loop_assign_offsets(u.loops); /* where the pass plan is left out */
    CodegenOptions o = {.level = 2, .trampolines = true};
    Jit *jit = jit_open(r->ctx, u.loops, &o);
    if (!jit) {
        r->failure = "no native code";
        return;
    }
    for (int k = 0; k < r->c->n_dims && !r->failure; k++)
        at_sizes(r, reference.graph, u.loops, jit, r->c->dims[k]);
    jit_close(jit);
}

/* What is wrong with a program, or NULL. */
static const char *one(Run *r, const Case *c) {
    static char text[4096];
    r->ctx = ctx_new(0);
    arena_init(&r->arena, r->ctx);
    r->c = c;
    r->failure = NULL;
    CtxStatus s = ctx_protect(r->ctx, run, r);
    StrBuf diags = sb_new(&r->ctx->perm);
    diag_render_all(r->ctx, false, false, &diags);
    bool failed = s != CTX_OK || r->failure;
    if (s != CTX_OK)
        snprintf(text, sizeof text, "internal error: %s",
                 s == CTX_OOM ? "out of memory" : r->ctx->internal);
    else if (failed)
        snprintf(text, sizeof text, "%s\n%.3000s", r->failure, diags.text);
    arena_free(&r->arena);
    ctx_free(r->ctx);
    return failed ? text : NULL;
}

/* Of five seeds the last one's is a layer; of the others two contractions, then a program. */
static Case draw(uint64_t seed) {
    static RandomContraction contraction;
    static RandomProgram program;
    static RandomLayer layer;
    if (seed % 5 == 4) {
        random_layer(&layer, seed);
        return (Case){.text = layer.text,
                      .real = layer.single ? DT_F32 : DT_F64,
                      .dims = {{1}, {2}, {9}, {17}},
                      .n_dims = 4};
    }
    if (seed % 3 == 0) {
        random_program(&program, seed);
        return (Case){.text = program.text,
                      .real = DT_F64,
                      .tolerance = program.exact ? 0 : 1e-9,
                      .dims = {{program.n}},
                      .n_dims = 1};
    }
    random_contraction(&contraction, seed);
    return (Case){.text = contraction.text,
                  .real = contraction.single && seed % 4 ? DT_F32 : DT_F64,
                  .dims = {{2, 1}, {9, 6}, {17, 3}, {CONTRACTION_MOST_N, 4}},
                  .n_dims = 4};
}

int main(int argc, char **argv) {
    long failed = 0;
    Run r = {0};
    int status = fuzz_options(argc, argv, &r.o);
    if (status)
        return status;
    long count = r.o.count, seed = r.o.seed;
    codegen_for_one_run();
    for (long k = 0; k < count; k++) {
        Case c = draw((uint64_t)(seed + k));
        if (r.o.show)
            printf("# seed %ld, %s\n%s\n", seed + k, c.real == DT_F32 ? "f32" : "f64", c.text),
                fflush(stdout);
        const char *why = one(&r, &c);
        if (!why)
            continue;
        printf("seed %ld (%s): %s\n%s\n", seed + k, c.real == DT_F32 ? "f32" : "f64", why, c.text);
        failed++;
    }
    printf("%ld random programs, %ld cases; %ld passed, %ld failed\n", count, r.cases,
           count - failed, failed);
    return failed != 0 || r.cases < count / 2;
}
