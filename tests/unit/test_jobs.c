/* Sums over rows are the same bits whoever runs the jobs and in whatever order they end. */
#include "jit_helper.h"

#include <stdlib.h>

#include "tests/execs.h"

static int most_jobs;

static void counted(void *self, int jobs, Job *job, void *arg) {
    most_jobs = jobs > most_jobs ? jobs : most_jobs;
    jobs_backwards(self, jobs, job, arg);
}

enum { X = 20, Y = 9, MOST_ROWS = 1200 };

static const char text[] = "def f[N](x: [N, 20], y: [N, 9]) -> [20, 9] =\n"
                           "  for i < 20, j < 9 => sum(for n < N => x[n, i] * y[n, j])\n";

/* The bytes of the work memory that were written. */
static size_t call(Jit *j, const AbiEntry *e, const Exec *exec, int rows, float *out) {
    static float x[MOST_ROWS * X], y[MOST_ROWS * Y];
    srand(1);
    for (int k = 0; k < MOST_ROWS * X; k++)
        x[k] = (float)rand() / (float)RAND_MAX - 0.4f;
    for (int k = 0; k < MOST_ROWS * Y; k++)
        y[k] = (float)rand() / (float)RAND_MAX - 0.4f;
    DimValue dims[1] = {{e->args.p[1].dim, rows}};
    size_t bytes = (size_t)codegen_work_bytes(e, dims, 1) + 1, written = 0;
    unsigned char *work = malloc(bytes);
    memset(work, 0xff, bytes); /* NaN: what is read was written */
    CnncArg args[] = {{.p = exec}, {.i = rows}, {.p = x}, {.p = y}, {.p = out}, {.p = work}};
    assert_int_equal(jit_call(j, e->cname, args), 0);
    for (size_t k = 0; k < bytes; k++)
        written += work[k] != 0xff;
    free(work);
    return written;
}

static void sums_do_not_depend_on_who_ends_first(void **state) {
    (void)state;
    static const int rows[] = {1, 16, 17, 40, 64, 128, 129, 200, 400};
    Ctx *ctx = ctx_new(0);
    const AbiEntry *e;
    Jit *j = open_text(ctx, text, DT_F32, &e);
    int threads = 4;
    const Exec execs[] = {{1, NULL, NULL, counted},
                          {1, NULL, NULL, jobs_odd_first},
                          {4, &threads, NULL, jobs_at_once},
                          {4, &threads, NULL, jobs_at_once_backwards}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        float want[X * Y], got[X * Y];
        call(j, e, NULL, rows[k], want);
        for (int c = 0; c < X * Y; c++)
            assert_true(want[c] == want[c]);
        for (size_t n = 0; n < sizeof execs / sizeof *execs; n++) {
            call(j, e, &execs[n], rows[k], got);
            assert_memory_equal(got, want, sizeof want);
        }
    }
    assert_int_equal(most_jobs, 8);
    jit_close(j);
    ctx_free(ctx);
}

/* One thread takes job after job as their sums are due, whatever the order in which the caller counts them, and adds each to
 * the whole sums. */
static void one_thread_needs_no_partial_sums(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const AbiEntry *e;
    Jit *j = open_text(ctx, text, DT_F32, &e);
    const Exec orders[] = {{1, NULL, NULL, jobs_backwards}, {1, NULL, NULL, jobs_odd_first}};
    float out[X * Y];
    size_t sums = sizeof out * 3 / 4, all = call(j, e, NULL, 128, out), pairs = call(j, e, NULL, 144, out);
    for (size_t k = 0; k < 2; k++)
        assert_int_equal(call(j, e, &orders[k], 128, out), all);
    assert_true(pairs >= all + sums); /* groups of two slices */
    jit_close(j);
    ctx_free(ctx);
}

/* No job is left out where there are more of them than a word has bits: each slice is a group. */
static void more_than_64_groups_are_all_added(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const AbiEntry *e, *of_one;
    Jit *j = open_in_groups(ctx, text, DT_F32, &e, 100), *one = open_in_groups(ctx, text, DT_F32, &of_one, 1);
    float want[X * Y], got[X * Y];
    call(one, of_one, NULL, MOST_ROWS, want);
    call(j, e, NULL, MOST_ROWS, got);
    for (int c = 0; c < X * Y; c++)
        assert_true(got[c] - want[c] < 1e-3f && want[c] - got[c] < 1e-3f);
    jit_close(one);
    jit_close(j);
    ctx_free(ctx);
}

/* Prefetches for writing in the definition of a function, which is at hand. */
static int fetches_to_write(const char *ll, const char *name) {
    const char *at = ll, *end;
    int n = 0;
    for (; (at = strstr(at, "\ndefine ")) && strncmp(strchr(at, '@'), name, strlen(name)) != 0; at++)
        continue;
    assert_non_null(at);
    end = strstr(at, "\n}");
    for (; (at = strstr(at, "@llvm.prefetch")) && at < end; at++) {
        const char *args = strchr(at, ',');
        n += strncmp(args, ", i32 1,", 8) == 0;
    }
    return n;
}

/* The jobs of slices, and not those of single rows, which use a part of their arena. */
static void jobs_of_slices_fetch_the_pages_of_their_arena(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    LoopModule *m = compile_text(ctx, "model f[N](x: [N, 1, 9, 9]) -> [N, 4, 7, 7] { return x |> conv(4, 3) |> sigmoid }", DT_F32,
                                 target_named("x86-64-v3"), NULL);
    StrBuf sb = sb_new(&ctx->perm);
    loop_print(&sb, m);
    const char *slices = strstr(sb.text, " parallel fetch \"f.forward\""), *rows = strstr(sb.text, " parallel \"f.forward.row\"");
    if (!slices || !rows)
        fail_msg("%.2000s", sb.text);
    assert_non_null(strstr(slices, "for slice in"));
    CodegenOptions o = {.level = 2};
    size_t len;
    const char *ll = codegen_emit(ctx, &ctx->perm, m, &o, EMIT_LLVM, &len);
    assert_true(fetches_to_write(ll, "@f.forward.job(") > 0);
    assert_int_equal(fetches_to_write(ll, "@f.forward.row.job("), 0);
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sums_do_not_depend_on_who_ends_first),
                                       cmocka_unit_test(one_thread_needs_no_partial_sums),
                                       cmocka_unit_test(more_than_64_groups_are_all_added),
                                       cmocka_unit_test(jobs_of_slices_fetch_the_pages_of_their_arena)};
    return cmocka_run_group_tests_name("jobs", tests, NULL, NULL);
}
