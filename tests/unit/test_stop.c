/* A step that is asked to stop is done as a whole or not at all: params, state and opt are new with
 * status 0, or as they were. The flag is set between any two of the call's jobs. */
#include "jit_helper.h"

#include <limits.h>
#include <stdlib.h>

enum { N = 16, K = 64, WIDE = 2048, MOST_ARGS = 16 };

/* Jobs in order on this thread; stop is set behind job number `after` of the call. */
typedef struct Stopper {
    Exec exec;
    volatile int stop;
    int jobs, after;
} Stopper;

static void run_jobs(void *self, int jobs, void (*job)(void *arg, int k), void *arg) {
    Stopper *s = self;
    for (int k = 0; k < jobs; k++) {
        job(arg, k);
        s->stop |= ++s->jobs == s->after;
    }
}

/* What a call gets, and the three blocks that it changes. */
typedef struct Step {
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

static Step step_of(Ctx *ctx, const char *text, bool poll_stop) {
    static double hyper[8] = {[1] = 1};
    static float x[N * K], y[N * WIDE], loss;
    LoopModule *m = compile_text(ctx, text, DT_F32, codegen_host(ctx), NULL);
    Step s = {.jit = jit_open(ctx, m, &(CodegenOptions){.level = 1, .poll_stop = poll_stop})};
    assert_non_null(s.jit);
    for (int k = 0; k < m->funcs.n; k++)
        if (m->funcs.p[k]->entry->kind == ENTRY_STEP)
            s.e = m->funcs.p[k]->entry;
    assert_true(s.e && s.e->args.n <= MOST_ARGS);
    int64_t size = sizeof hyper;
    memcpy(hyper, &size, sizeof size);
    for (int k = 0; k < N * K; k++)
        x[k] = (float)rand() / (float)RAND_MAX;
    DimValue dim = {NULL, N};
    for (int k = 0, data = 0; k < s.e->args.n; k++) {
        const AbiArg *a = &s.e->args.p[k];
        if (a->kind == ARG_EXEC)
            s.exec = k;
        else if (a->kind == ARG_HYPER)
            s.args[k].p = hyper;
        else if (a->kind == ARG_DIM)
            s.args[k].i = (dim = (DimValue){a->dim, N}).value;
        else if (a->kind == ARG_INPUT)
            s.args[k].p = data++ ? y : x;
        else if (a->kind == ARG_LOSS)
            s.args[k].p = &loss;
        else if (a->kind == ARG_WORK)
            s.args[k].p = malloc(codegen_work_bytes(s.e, &dim, 1));
        else
            add_kept(&s, a, k);
    }
    return s;
}

static int call(Step *s, Stopper *stopper, int after) {
    stopper->jobs = 0;
    stopper->after = after;
    stopper->stop = after == 0;
    for (int k = 0; k < s->n_kept; k++)
        memcpy(s->kept[k], s->start[k], s->bytes[k]);
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
    Step s = step_of(ctx, text, poll_stop);
    Stopper stopper = {.exec = {.threads = 1, .run = run_jobs}};
    stopper.exec.self = &stopper;
    stopper.exec.stop = &stopper.stop;
    assert_int_equal(s.n_kept, 3);
    assert_int_equal(call(&s, &stopper, INT_MAX), 0);
    assert_false(all_equal(&s, s.start));
    for (int k = 0; k < s.n_kept; k++)
        memcpy(s.done[k], s.kept[k], s.bytes[k]);
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(stopped_steps_leave_all_as_it_was)};
    return cmocka_run_group_tests_name("stop", tests, NULL, NULL);
}
