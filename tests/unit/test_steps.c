/* Steps of training: what they leave in params, state and opt is the same bits whoever runs their
 * jobs, and the interpreter's; one that is asked to stop is done as a whole or not at all. */
#include "jit_helper.h"

#include <limits.h>
#include <stdlib.h>

#include "tests/execs.h"

enum { N = 16, MOST_N = 40, MOST = 2048, MOST_ARGS = 16 };

/* Jobs in order on this thread; stop is set behind job number `after` of the call. */
typedef struct Stopper {
    Exec exec;
    volatile int stop;
    int sets, jobs, after;
} Stopper;

static void run_jobs(void *self, int jobs, void (*job)(void *arg, int k), void *arg) {
    Stopper *s = self;
    s->sets++;
    for (int k = 0; k < jobs; k++) {
        job(arg, k);
        s->stop |= ++s->jobs == s->after;
    }
}

/* What a call gets, and the three blocks that it changes. */
typedef struct Step {
    const LoopModule *m;
    Jit *jit;
    const AbiEntry *e;
    CnncArg args[MOST_ARGS];
    char *kept[3], *start[3], *done[3];
    size_t bytes[3];
    int n_kept, exec;
} Step;

static void *random_reals(size_t bytes) {
    float *p = malloc(bytes);
    assert_non_null(p);
    for (size_t k = 0; k < bytes / sizeof *p; k++)
        p[k] = (float)rand() / (float)RAND_MAX - 0.5f;
    return p;
}

/* The optimizer's memory begins with zeros. */
static void add_kept(Step *s, const AbiArg *a, int arg) {
    int64_t bytes = 0;
    assert_true(dim_is_const(a->bytes, &bytes) && s->n_kept < 3);
    size_t n = s->bytes[s->n_kept] = (size_t)bytes;
    s->args[arg].p = s->kept[s->n_kept] = random_reals(n);
    s->start[s->n_kept] = calloc(1, n);
    s->done[s->n_kept] = malloc(n);
    assert_true(s->start[s->n_kept] && s->done[s->n_kept]);
    if (a->kind != ARG_OPT)
        memcpy(s->start[s->n_kept], s->kept[s->n_kept], n);
    s->n_kept++;
}

/* On n rows, at most MOST_N. */
static Step step_of(Ctx *ctx, const char *text, bool poll_stop, int n) {
    static double hyper[8] = {[1] = 1};
    static float x[MOST_N * MOST], y[MOST_N * MOST], loss;
    static int32_t labels[MOST_N];
    LoopModule *m = compile_text(ctx, text, DT_F32, codegen_host(ctx), NULL);
    Step s = {.m = m,
              .jit = jit_open(ctx, m, &(CodegenOptions){.level = 1, .poll_stop = poll_stop})};
    assert_non_null(s.jit);
    for (int k = 0; k < m->funcs.n; k++)
        if (m->funcs.p[k]->entry->kind == ENTRY_STEP)
            s.e = m->funcs.p[k]->entry;
    assert_true(s.e && s.e->args.n <= MOST_ARGS);
    int64_t size = sizeof hyper;
    memcpy(hyper, &size, sizeof size);
    for (int k = 0; k < MOST_N * MOST; k++)
        x[k] = (float)rand() / (float)RAND_MAX;
    DimValue dim = {NULL, n};
    for (int k = 0, data = 0; k < s.e->args.n; k++) {
        const AbiArg *a = &s.e->args.p[k];
        if (a->kind == ARG_EXEC)
            s.exec = k;
        else if (a->kind == ARG_HYPER)
            s.args[k].p = hyper;
        else if (a->kind == ARG_DIM)
            s.args[k].i = (dim = (DimValue){a->dim, n}).value;
        else if (a->kind == ARG_INPUT)
            s.args[k].p = a->dt == DT_I32 ? (void *)labels : data++ ? y : x;
        else if (a->kind == ARG_LOSS)
            s.args[k].p = &loss;
        else if (a->kind == ARG_WORK)
            s.args[k].p = malloc(codegen_work_bytes(s.e, &dim, 1));
        else
            add_kept(&s, a, k);
    }
    return s;
}

static void reset(Step *s) {
    for (int k = 0; k < s->n_kept; k++)
        memcpy(s->kept[k], s->start[k], s->bytes[k]);
}

static void keep(Step *s) {
    for (int k = 0; k < s->n_kept; k++)
        memcpy(s->done[k], s->kept[k], s->bytes[k]);
}

static void stopper_init(Stopper *s) { *s = (Stopper){.exec = {1, s, &s->stop, run_jobs}}; }

static int call(Step *s, Stopper *stopper, int after) {
    stopper->sets = stopper->jobs = 0;
    stopper->after = after;
    stopper->stop = after == 0;
    reset(s);
    s->args[s->exec].p = &stopper->exec;
    return jit_call(s->jit, s->e->cname, s->args);
}

static bool all_equal(const Step *s, char *const *to) {
    bool equal = true;
    for (int k = 0; k < s->n_kept; k++)
        equal &= memcmp(s->kept[k], to[k], s->bytes[k]) == 0;
    return equal;
}

static void step_free(Step *s) {
    for (int k = 0; k < s->n_kept; k++) {
        free(s->kept[k]);
        free(s->start[k]);
        free(s->done[k]);
    }
    for (int k = 0; k < s->e->args.n; k++)
        if (s->e->args.p[k].kind == ARG_WORK)
            free((void *)(uintptr_t)s->args[k].p);
    jit_close(s->jit);
}

/* Stopped before the first job and behind every one. */
static void stop_anywhere(const char *text, bool poll_stop) {
    Ctx *ctx = ctx_new(0);
    Step s = step_of(ctx, text, poll_stop, N);
    Stopper stopper;
    stopper_init(&stopper);
    assert_int_equal(s.n_kept, 3);
    assert_int_equal(call(&s, &stopper, INT_MAX), 0);
    assert_false(all_equal(&s, s.start));
    keep(&s);
    int jobs = stopper.jobs, stopped = 0;
    for (int after = 0; after <= jobs; after++) {
        int status = call(&s, &stopper, after);
        stopped += status != 0;
        if (!all_equal(&s, status ? s.start : s.done))
            fail_msg("status %d, stopped behind job %d of %d: neither old nor new", status, after,
                     jobs);
    }
    assert_true(stopped >= 8 && jobs + 1 - stopped >= 8); /* the update alone has 8 jobs */
    step_free(&s);
    ctx_free(ctx);
}

/* The dense layer is large enough for an update in jobs; the others and the state are not. */
static const char *program(Ctx *ctx, const char *optimizer) {
    return str_fmt(ctx,
                   "model Net[N](x: [N, 1, 8, 8]) -> [N, 2048] {\n"
                   "  h = x |> conv(8, 3, pad = 1, bias = false) |> batchnorm |> relu\n"
                   "  return h |> flatten |> dense(2048)\n}\n"
                   "estimator e[N] {\n"
                   "  data x: [N, 1, 8, 8]\n  data y: [N, 2048]\n"
                   "  y ~ Normal(Net(x), 1)\n"
                   "  using %s(lr = 0.001, batch = 16, epochs = 1)\n}\n",
                   optimizer);
}

static void stopped_steps_leave_all_as_it_was(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    for (int poll_stop = 0; poll_stop < 2; poll_stop++) {
        stop_anywhere(program(ctx, "adam"), poll_stop);
        stop_anywhere(program(ctx, "sgd"), poll_stop);
    }
    ctx_free(ctx);
}

enum { STEPS = 3 };

static void steps(Step *s, const Exec *exec) {
    reset(s);
    s->args[s->exec].p = exec;
    for (int k = 0; k < STEPS; k++)
        assert_int_equal(jit_call(s->jit, s->e->cname, s->args), 0);
}

static void interpreted(Ctx *ctx, Step *s) {
    LoopArg args[MOST_ARGS];
    const LoopFunc *f = NULL;
    const char *why = "";
    for (int k = 0; k < s->m->funcs.n; k++)
        if (s->m->funcs.p[k]->entry == s->e)
            f = s->m->funcs.p[k];
    reset(s);
    memcpy(args, s->args, sizeof args);
    for (int k = 0; k < STEPS; k++)
        if (loop_run(ctx, s->m, f, args, NULL, &why) != 0)
            fail_msg("%s", why);
}

/* A step on n rows has at least so many sets of jobs, or exactly none: who has a single job wakes no thread for it, nor for the little
 * work behind it. */
static void same_bits(const char *text, int n, int sets) {
    int many = 4;
    const Exec orders[] = {{1, NULL, NULL, jobs_backwards},
                           {1, NULL, NULL, jobs_odd_first},
                           {4, &many, NULL, jobs_at_once},
                           {4, &many, NULL, jobs_at_once_backwards}};
    Ctx *ctx = ctx_new(0);
    Step s = step_of(ctx, text, false, n);
    Stopper counts;
    stopper_init(&counts);
    assert_int_equal(call(&s, &counts, INT_MAX), 0);
    assert_true(sets ? counts.sets >= sets : !counts.sets);
    steps(&s, NULL);
    assert_false(all_equal(&s, s.start));
    keep(&s);
    for (size_t k = 0; k < sizeof orders / sizeof *orders; k++) {
        steps(&s, &orders[k]);
        assert_true(all_equal(&s, s.done));
    }
    for (int threads = 1; threads <= 3; threads++) {
        Pool *p = pool_new(threads, NULL);
        assert_non_null(p);
        steps(&s, pool_exec(p));
        assert_true(all_equal(&s, s.done));
        pool_free(p);
    }
    interpreted(ctx, &s);
    assert_true(all_equal(&s, s.done));
    step_free(&s);
    ctx_free(ctx);
}

/* The batch, the checks of the gradients and the optimizer's step are a set of jobs each. */
static void steps_do_not_depend_on_who_runs_their_jobs(void **state) {
    (void)state;
    static const char dense[] = "model Net[N](x: [N, 64]) -> [N, 96] {\n"
                                "  h = x |> dense(400) |> relu\n  g = h |> dense(96)\n  return g\n}\n"
                                "estimator e[N] {\n  data x: [N, 64]\n  data y: [N, 96]\n"
                                "  y ~ Normal(Net(x), 1)\n  using adam(lr = 0.001, batch = 16, epochs = 1)\n}\n",
                      convs[] = "model Net[N](x: [N, 1, 12, 12]) -> [N, 10] {\n"
                                "  A = x |> conv(6, 5, pad = 2, gain = 4) |> sigmoid\n  B = A |> meanpool(2)\n"
                                "  C = B |> conv(8, 3, gain = 4) |> sigmoid\n  D = C |> meanpool(2)\n"
                                "  E = D |> flatten |> dense(300) |> sigmoid\n  F = E |> dense(200) |> relu\n"
                                "  G = F |> dense(10)\n  return G\n}\n"
                                "estimator e[N] {\n  data x: [N, 1, 12, 12]\n  data y: index(10)[N]\n"
                                "  z = Net(x)\n  y ~ Categorical(logit = z)\n  z.* ~ Normal(0, 1)\n"
                                "  using sgd(lr = 0.01, batch = 16, epochs = 1)\n}\n";
    same_bits(dense, MOST_N, 3);
    same_bits(dense, N, 0);
    same_bits(convs, MOST_N, 3);
    same_bits(convs, N, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stopped_steps_leave_all_as_it_was),
        cmocka_unit_test(steps_do_not_depend_on_who_runs_their_jobs)};
    return cmocka_run_group_tests_name("steps", tests, NULL, NULL);
}
