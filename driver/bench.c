/* cnnc bench FILE [ENTRY]: times the compiled entries on data that it draws, and the multiply-add
 * peak of one core beside them in the same run. Every kernel's share of that peak is measured by
 * ticks that the JIT's code adds up around its calls. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "driver/fit.h"
#include "driver/output.h"
#include "runtime/rt.h"

typedef struct Bench {
    Session *s;
    Program p;
    KernelInfo *kernels;
    int n_kernels;
    uint64_t *counters, draws;
    uint64_t *longest; /* ticks of each kernel in the entry that its share is of */
    double ticks_a_second;
    bool quiet; /* nothing is printed, and less often repeated */
    Program peak[2]; /* by DT_F32, DT_F64 */
} Bench;

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the peak: independent sums in registers */

static int peak_sums(const Target *t) { return t->registers >= 32 ? 24 : 12; }

static const char *peak_text(Session *s, const Target *t, DType dt) {
    StrBuf sb = sb_new(s->arena);
    const char *type = dtype_name(dt);
    int lanes = target_lanes(t, dt), sums = peak_sums(t);
    sb_printf(
        &sb,
        "loops \"peak\" for \"%s\"\nstatus 0 \"peak\"\nfunc \"peak\" %s groups 1 @- {\n  dims N\n"
        "  status null 0 dim 0 stop 0 overflow 0\n  plan fixed 0 job 0 jobs 0\n  entry def "
        "\"peak\" of \"peak\" work 0 @- {\n"
        "    exec \"ex\" const @-\n    dim \"N\" i64 is N @-\n    out \"out\" %s bytes %d @-\n    "
        "work \"work\" @-\n  }\n"
        "  buf out %s[%d] = arg 2 at 0 written\n  %%1 = %sx%d 0.999\n  %%2 = %sx%d 0.001\n  ",
        t->name, type, type, sums * lanes * (int)dtype_size(dt), type, sums * lanes, type, lanes,
        type, lanes);
    for (int k = 0; k < sums; k++)
        sb_printf(&sb, "%s%%%d", k ? ", " : "", 3 + k);
    sb_put(&sb, " = for i in 0..N with ");
    for (int k = 0; k < sums; k++)
        sb_printf(&sb, "%s%%%d = %%2", k ? ", " : "", 100 + k);
    sb_put(&sb, " \"peak\" {\n");
    for (int k = 0; k < sums; k++)
        if (t->fma)
            sb_printf(&sb, "    %%%d = fma(%%%d, %%1, %%2)\n", 200 + k, 100 + k);
        else
            sb_printf(&sb, "    %%%d = mul(%%%d, %%1)\n    %%%d = add(%%%d, %%2)\n", 300 + k,
                      100 + k, 200 + k, 300 + k);
    sb_put(&sb, "    yield ");
    for (int k = 0; k < sums; k++)
        sb_printf(&sb, "%s%%%d", k ? ", " : "", 200 + k);
    sb_put(&sb, "\n  }\n");
    for (int k = 0; k < sums; k++)
        sb_printf(&sb, "  store out[%d] = %%%d\n", k * lanes, 3 + k);
    sb_put(&sb, "}\n");
    return sb.text;
}

static bool peak_open(Bench *b, DType dt) {
    Session *s = b->s;
    const char *text = peak_text(s, b->p.m->target, dt);
    Program *p = &b->peak[dt == DT_F64];
    *p = (Program){
        .s = s,
        .m = loop_read(s->ctx, s->arena, ctx_add_file(s->ctx, "peak.ir", text, strlen(text)))};
    CodegenOptions o = {.level = 2};
    p->jit = p->m ? jit_open(s->ctx, p->m, &o) : NULL;
    p->pool = p->jit ? pool_new(1, NULL) : NULL;
    return p->jit != NULL;
}

/* Operations a second of one core, the best of a few short runs. */
static double peak_rate(Bench *b, DType dt) {
    enum { STEPS = 200000, RUNS = 5 };
    Program *p = &b->peak[dt == DT_F64];
    const LoopFunc *f = p->m->funcs.p[0];
    DimEnv env = {0};
    env_set(b->s, &env, f->dims.p[0], STEPS);
    Call c = call_new(p, f, &env);
    Array *out = call_out(&c, call_arg(f, ARG_OUT), "out");
    double best = 0, flops = 2.0 * STEPS * peak_sums(p->m->target) * target_lanes(p->m->target, dt);
    if (!out)
        return 0;
    call_set(&c, ARG_OUT, out->data);
    for (int k = 0; k < RUNS; k++) {
        double start = seconds();
        call_run(&c);
        best = fmax(best, flops / (seconds() - start));
    }
    return best;
}

/* ---- data */

static double uniform(Bench *b) {
    uint64_t counter[4] = {b->draws++, 0, 0, 0x62656e63}, key[2] = {(uint64_t)b->s->o.seed, 3},
             w[4];
    rt_philox(counter, key, w);
    return (double)(w[0] >> 11) * 0x1p-53;
}

/* Reals between 0.05 and 0.95 suit every kind; labels are 0 and 1. */
static void fill(Bench *b, void *p, DType dt, int64_t bytes) {
    int64_t n = bytes / (int64_t)dtype_size(dt);
    for (int64_t k = 0; k < n; k++) {
        double v = 0.05 + 0.9 * uniform(b);
        if (dt == DT_F32)
            ((float *)p)[k] = (float)v;
        else if (dt == DT_F64)
            ((double *)p)[k] = v;
        else if (dt == DT_I32)
            ((int32_t *)p)[k] = v < 0.5;
        else if (dt == DT_BOOL)
            ((uint8_t *)p)[k] = v < 0.5;
        else
            ((int64_t *)p)[k] = v < 0.5;
    }
}

static void free_dims(Bench *b, const LoopFunc *f, DimEnv *env) {
    enum { ROWS = 64, OTHER = 32 };
    for (int k = 0; k < f->dims.n; k++) {
        int64_t v;
        if (!env_get(env, f->dims.p[k], &v))
            env_set(b->s, env, f->dims.p[k], k ? OTHER : b->s->o.batch ? b->s->o.batch : ROWS);
    }
}

static bool bind(Bench *b, Call *c, Hyper *hyper) {
    const AbiEntry *e = c->f->entry;
    for (int k = 0; k < e->args.n; k++) {
        const AbiArg *a = &e->args.p[k];
        int64_t bytes = 0;
        if (a->kind == ARG_EXEC || a->kind == ARG_DIM || a->kind == ARG_WORK)
            continue;
        if (a->kind == ARG_SEED || (a->kind == ARG_SCALAR && !dtype_is_real(a->dt))) {
            c->args[k].i = 1;
            continue;
        }
        if (a->kind == ARG_SCALAR) {
            c->args[k].f = 0.5;
            continue;
        }
        if (a->kind == ARG_HYPER) {
            c->args[k].p = hyper;
            continue;
        }
        if (a->bytes && !env_eval(b->s, &c->env, a->bytes, a->name, &bytes))
            return false;
        void *p = arena_array(b->s->arena, (size_t)bytes + 64, 1);
        if (a->kind == ARG_INPUT || a->kind == ARG_PARAMS)
            fill(b, p, a->dt, bytes);
        c->args[k].p = p;
    }
    return true;
}

/* ---- one entry */

static void clear(Bench *b) {
    memset(b->counters, 0, 2 * (size_t)b->n_kernels * sizeof *b->counters);
}

/* Calls for a while; the counters are those of the fastest call then. */
static double best_of(Bench *b, Call *c, int *status) {
    uint64_t *fastest = ARENA_ARRAY(b->s->arena, uint64_t, 2 * b->n_kernels + 2);
    size_t size = 2 * (size_t)b->n_kernels * sizeof *fastest;
    double best = 1e30, until = seconds() + (b->quiet ? 0.05 : 0.3);
    for (int k = 0; (k < (b->quiet ? 2 : 5) || seconds() < until) && *status >= 0; k++) {
        clear(b);
        double start = seconds();
        *status = call_run(c);
        double time = seconds() - start;
        if (time < best) {
            best = time;
            memcpy(fastest, b->counters, size);
        }
    }
    memcpy(b->counters, fastest, size);
    return best;
}

/* What each kernel does in one call. */
static const KernelWork *work_of(Bench *b, const Call *c) {
    const LoopFunc *f = c->f;
    KernelWork *work = ARENA_ARRAY(b->s->arena, KernelWork, b->n_kernels + 1);
    DimValue *dims = ARENA_ARRAY(b->s->arena, DimValue, f->dims.n + 1);
    for (int k = 0; k < f->dims.n; k++) {
        dims[k].sym = f->dims.p[k];
        env_get(&c->env, f->dims.p[k], &dims[k].value);
    }
    codegen_count(b->s->ctx, b->p.m->target, f, dims, b->kernels, b->n_kernels, work);
    for (int k = 0; k < b->n_kernels; k++) { /* how often a `while` goes round is known now */
        double calls = (double)b->counters[2 * k];
        work[k].flops *= work[k].calls > 0 ? calls / work[k].calls : 0;
        work[k].cycles *= work[k].calls > 0 ? calls / work[k].calls : 0;
    }
    return work;
}

static void put_kernels(Bench *b, const Call *c, const KernelWork *work, double peak) {
    double all = 0;
    for (int k = 0; k < b->n_kernels; k++)
        all += (double)b->counters[2 * k + 1];
    for (int k = 0; k < b->n_kernels; k++) {
        double ticks = (double)b->counters[2 * k + 1];
        if (!b->counters[2 * k] || ticks < 0.002 * all)
            continue;
        double rate = work[k].flops / (ticks / b->ticks_a_second);
        const char *bound = work[k].at_most ? "<= " : "";
        sb_printf(&b->s->out,
                  "    %-40s %5.1f %% of the time %9.1f GF/s %6s %% of peak  (predicted %.0f %%)\n",
                  b->kernels[k].name, 100 * ticks / all, 1e-9 * rate,
                  str_fmt(b->s->ctx, "%s%.0f", bound, 100 * rate / peak),
                  100 * codegen_share(b->p.m->target, c->f->real, work[k].flops, work[k].cycles));
    }
}

/* Each kernel's share of the peak in the entry in which it takes longest. */
static void note_kernels(Bench *b, const Call *c, const KernelWork *work, double peak) {
    for (int k = 0; k < b->n_kernels; k++) {
        KernelInfo *i = &b->kernels[k];
        uint64_t ticks = b->counters[2 * k + 1];
        if (!b->counters[2 * k] || ticks <= b->longest[k])
            continue;
        b->longest[k] = ticks;
        i->measured = work[k].flops / ((double)ticks / b->ticks_a_second) / peak;
        i->predicted = codegen_share(b->p.m->target, c->f->real, work[k].flops, work[k].cycles);
    }
}

static void put_entry(Bench *b, Call *c) {
    Session *s = b->s;
    const AbiEntry *e = c->f->entry;
    int status = call_run(c);
    double flops = 0, peak = peak_rate(b, c->f->real), time = best_of(b, c, &status);
    peak = fmax(peak, peak_rate(b, c->f->real));
    const KernelWork *work = work_of(b, c);
    for (int k = 0; k < b->n_kernels; k++)
        flops += work[k].flops;
    if (b->quiet) {
        note_kernels(b, c, work, peak);
        return;
    }
    if (status < 0) {
        sb_printf(&s->out, "%s: %s\n", e->cname,
                  status == INT32_MIN ? "no entry" : call_status(&b->p, status));
        return;
    }
    StrBuf dims = sb_new(s->arena);
    for (int k = 0; k < c->f->dims.n; k++) {
        int64_t v = 0;
        env_get(&c->env, c->f->dims.p[k], &v);
        sb_printf(&dims, "%s%s = %lld", k ? ", " : "", c->f->dims.p[k]->name, (long long)v);
    }
    if (s->o.json) {
        sb_printf(&s->out, "{\"entry\":\"%s\",\"seconds\":%.9g,\"flops\":%.17g,\"peak\":%.17g}\n",
                  e->cname, time, flops, peak);
        return;
    }
    sb_printf(&s->out, "%s (%s): %.1f us, %.1f GF/s, %.0f %% of the peak of one core (%.1f GF/s)\n",
              e->cname, dims.text, 1e6 * time, 1e-9 * flops / time, 100 * flops / time / peak,
              1e-9 * peak);
    put_kernels(b, c, work, peak);
}

/* The time stamp counter's rate, over a few milliseconds of the peak loop. */
static double tick_rate(Bench *b) {
#if defined(__x86_64__)
    double start = seconds();
    uint64_t from = __builtin_ia32_rdtsc();
    for (int k = 0; k < 20; k++)
        peak_rate(b, DT_F64);
    uint64_t to = __builtin_ia32_rdtsc();
    return (double)(to - from) / (seconds() - start);
#else
    (void)b;
    return 1e9;
#endif
}

static bool wanted(const Bench *b, const AbiEntry *e) {
    const Session *s = b->s;
    if (s->args.n > 2 && !b->quiet)
        return strcmp(e->cname, s->args.p[2]) == 0 || strcmp(e->decl, s->args.p[2]) == 0;
    return e->kind != ENTRY_INIT;
}

static void bench_all(Bench *b) {
    Session *s = b->s;
    bool found = false;
    b->ticks_a_second = tick_rate(b);
    for (int k = 0; k < b->p.m->funcs.n && !s->status; k++) {
        const LoopFunc *f = b->p.m->funcs.p[k];
        if (!wanted(b, f->entry))
            continue;
        found = true;
        DimEnv env = {0};
        Hyper hyper = {.size = sizeof hyper};
        const AbiBlock *block = program_block(&b->p, f->entry->decl);
        free_dims(b, f, &env);
        if (block)
            fit_hyper(s, block, &hyper);
        Call c = call_new(&b->p, f, &env);
        if (bind(b, &c, &hyper))
            put_entry(b, &c);
    }
    if (!found && s->args.n > 2 && !b->quiet)
        session_usage(s, "there is no entry `%s`", s->args.p[2]);
}

/* Compiles the program with counters and runs its entries. */
static void bench_run(Bench *b, CodegenOptions o) {
    Session *s = b->s;
    b->counters = ARENA_ARRAY(s->arena, uint64_t, 2 * b->n_kernels + 2);
    b->longest = ARENA_ARRAY(s->arena, uint64_t, b->n_kernels + 1);
    o.counters = b->counters;
    b->p.jit = b->kernels ? jit_open(s->ctx, b->p.m, &o) : NULL;
    b->p.pool = b->p.jit ? pool_new(s->o.threads && !b->quiet ? (int)s->o.threads : 1, NULL) : NULL;
    if (b->p.jit && peak_open(b, DT_F32) && peak_open(b, DT_F64))
        bench_all(b);
    else
        session_fail(s, EXIT_PROGRAM);
    program_close(&b->p);
    program_close(&b->peak[0]);
    program_close(&b->peak[1]);
}

void bench_kernels(Session *s, LoopModule *m, KernelInfo *all, int n) {
    Bench b = {.s = s, .p = {.s = s, .m = m}, .kernels = all, .n_kernels = n, .quiet = true};
    bench_run(&b, session_codegen(s));
}

void command_bench(Session *s) {
    if (s->args.n < 2 || s->args.n > 3) {
        session_usage(s, "`cnnc bench` wants a file, and at most one entry");
        return;
    }
    Bench b = {.s = s, .p = {.s = s}};
    b.p.m = session_compile(s, s->args.p[1], NULL);
    if (!b.p.m)
        return;
    b.p.m = output_settled(s, b.p.m);
    CodegenOptions o = session_codegen(s);
    b.kernels = codegen_kernels(s->ctx, s->arena, b.p.m, &o, &b.n_kernels);
    bench_run(&b, o);
}
