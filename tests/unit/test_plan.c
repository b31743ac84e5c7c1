/* passes/plan.c: who shares memory, the formula of the arena, and that nothing is overwritten too
 * early. */
#include "loop_helper.h"

#include <stdlib.h>

#include "passes/pass.h"
#include "passes/plan.h"

static const char *program(Ctx *ctx, const char *rest) {
    return str_fmt(
        ctx,
        "loops \"a.cnn\" for \"x86-64-v4\"\nstatus 0 \"bad\"\nfunc \"f\" f64 groups 8 @- {\n dims "
        "N\n"
        " status null 0 dim 0 stop 0 overflow 0\n entry def \"f\" {\n  dim \"N\" is N\n  input "
        "\"a\" f64 const bytes 8\n"
        "  out \"out\" f64 bytes 8\n  work \"work\" bytes 0\n }\n"
        " buf a f64[N, 8] = arg 1 at 0\n buf out f64[N, 8] = arg 2 at 0 written\n%s\n}\n",
        rest);
}

/* to[i] = from[i] + 1 over n cells of the last axis. */
static const char *step(Ctx *ctx, const char *to, const char *from, const char *n, int v) {
    return str_fmt(ctx,
                   "for i in 0..%s {\n %%%d = load f64 %s[%si]\n %%%d = f64 1.0\n %%%d = add(%%%d, "
                   "%%%d)\n store %s[%si] = %%%d\n}\n",
                   n, v, from, from[0] == 'a' ? "0, " : "", v + 1, v + 2, v, v + 1, to,
                   to[0] == 'o' ? "0, " : "", v + 2);
}

static LoopModule *planned(Ctx *ctx, const char *text) {
    LoopModule *m = must_read_loops(ctx, text);
    Unit u = {
        .ctx = ctx, .arena = &ctx->perm, .loops = m, .target = m->target, .groups = 8, .rows = 16};
    pass_plan(&u);
    assert_null(loop_verify(m));
    must_read_loops(ctx, loops_text(ctx, m));
    return m;
}

static int64_t offset(const LoopModule *m, const char *name) {
    const LoopFunc *f = m->funcs.p[0];
    int64_t v = -1;
    for (int k = 0; k < f->bufs.n; k++)
        if (strcmp(f->bufs.p[k]->name, name) == 0)
            dim_is_const(f->bufs.p[k]->offset, &v);
    return v;
}

static int64_t constant(Dim d) {
    int64_t v = -1;
    assert_true(dim_is_const(d, &v));
    return v;
}

/* The planned function, in dirty memory of exactly its size, computes what the unplanned one does.
 */
static void same_results(Ctx *ctx, const char *text, const LoopModule *m, int64_t n) {
    LoopModule *plain = must_read_loops(ctx, text);
    double a[256], x[256] = {0}, y[256] = {0};
    for (int k = 0; k < 256; k++)
        a[k] = k;
    DimValue dims = {m->funcs.p[0]->dims.p[0], n};
    int64_t bytes = 0;
    assert_true(dim_eval(m->funcs.p[0]->entry->work_bytes, &dims, 1, &bytes));
    char *work = malloc((size_t)bytes + 1);
    memset(work, 0xee, (size_t)bytes);
    const LoopArg one[] = {{.i = n}, {.p = a}, {.p = x}, {.p = NULL}},
                  two[] = {{.i = n}, {.p = a}, {.p = y}, {.p = work}};
    assert_int_equal(run_loops(ctx, plain, 0, one), 0);
    assert_int_equal(run_loops(ctx, m, 0, two), 0);
    assert_memory_equal(x, y, sizeof x);
    free(work);
}

static void a_chain_takes_two_places(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *text =
        program(ctx, str_fmt(ctx, "%s%s%s%s%s%s",
                             "buf p f64[8] = work written\nbuf q f64[8] = work written\nbuf r "
                             "f64[8] = work written\n"
                             "buf s f64[8] = work written\nbuf flat f64[8, 1] = alias r\n",
                             step(ctx, "p", "a", "8", 1), step(ctx, "q", "p", "8", 4),
                             step(ctx, "r", "q", "8", 7), step(ctx, "s", "r", "8", 10),
                             step(ctx, "out", "s", "8", 13)));
    LoopModule *m = planned(ctx, text);
    assert_int_equal(constant(m->funcs.p[0]->work_fixed), 128);
    assert_int_equal(constant(m->funcs.p[0]->entry->work_bytes), 128 + 63);
    assert_true(offset(m, "p") == offset(m, "r") && offset(m, "q") == offset(m, "s") &&
                offset(m, "p") != offset(m, "q"));
    same_results(ctx, text, m, 3);
    ctx_free(ctx);
}

/* An alias read late keeps its buffer alive. */
static void aliases_keep_memory_alive(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *text =
        program(ctx, str_fmt(ctx, "%s%s%s%s%s",
                             "buf p f64[8] = work written\nbuf q f64[8] = work written\nbuf r "
                             "f64[8] = work written\n"
                             "buf view f64[8] = alias p\n",
                             step(ctx, "p", "a", "8", 1), step(ctx, "q", "p", "8", 4),
                             step(ctx, "r", "q", "8", 7), step(ctx, "out", "view", "8", 10)));
    LoopModule *m = planned(ctx, text);
    assert_int_equal(constant(m->funcs.p[0]->work_fixed), 192);
    same_results(ctx, text, m, 3);
    ctx_free(ctx);
}

static void symbolic_sizes_share_slots(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *text =
        program(ctx, str_fmt(ctx, "%s%s%s%s%s",
                             "buf p f64[16*N] = work written\nbuf q f64[8*N] = work written\nbuf r "
                             "f64[8*N + 8] = work written\n",
                             step(ctx, "p", "a", "N", 1), step(ctx, "q", "p", "N", 4),
                             step(ctx, "r", "q", "N", 7), step(ctx, "out", "r", "N", 10)));
    LoopModule *m = planned(ctx, text);
    assert_string_equal(dim_text(ctx, m->funcs.p[0]->work_fixed), "192*N");
    same_results(ctx, text, m, 5);
    DimValue dims = {m->funcs.p[0]->dims.p[0], 10};
    PlanBytes b;
    assert_true(plan_bytes(m, m->funcs.p[0], &dims, 1, &b));
    assert_int_equal(b.fixed, 1920);
    assert_int_equal(b.live_fixed, 1920);
    assert_int_equal(b.apart_fixed, 1280 + 640 + 704);
    StrBuf sb = sb_new(&ctx->perm);
    plan_print(&sb, m, 10);
    assert_non_null(strstr(sb.text, "f: work = 192*N + 63 bytes"));
    ctx_free(ctx);
}

/* Neither N*N nor 8*N is the larger for all N. */
static void lives_of_any_size_take_turns(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *text =
        program(ctx, str_fmt(ctx, "%s%s%s%s%s",
                             "buf p f64[8*N, N] = work written\nbuf q f64[64*N] = work written\n"
                             "buf p.flat f64[8*N*N] = alias p\n",
                             step(ctx, "p.flat", "a", "8", 1), step(ctx, "out", "p.flat", "8", 4),
                             step(ctx, "q", "a", "8", 7), step(ctx, "out", "q", "8", 10)));
    LoopModule *m = planned(ctx, text);
    assert_string_equal(dim_text(ctx, m->funcs.p[0]->work_fixed), "64*max(N*N, 8*N)");
    same_results(ctx, text, m, 3);
    same_results(ctx, text, m, 12);
    ctx_free(ctx);
}

/* Slices of a job: temporaries of one iteration share, what is carried through memory lives as long
 * as the loop. */
static void jobs_share_inside_an_iteration(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *text = program(
        ctx,
        "buf sum f64[8] = job written\nbuf p f64[8] = job written\nbuf q f64[8] = job written\nbuf "
        "r f64[8] = job written\nbuf total f64[4, 8] = work written\n"
        "for g in 0..4 parallel {\n for i in 0..8 {\n  %1 = f64 0.0\n  store sum[i] = %1\n }\n"
        " for slice in 0..N {\n"
        "  for i in 0..8 {\n   %2 = load f64 a[slice, i]\n   store p[i] = %2\n  }\n"
        "  for i in 0..8 {\n   %3 = load f64 p[i]\n   %4 = add(%3, %3)\n   store q[i] = %4\n  }\n"
        "  for i in 0..8 {\n   %5 = load f64 q[7 - i]\n   store r[i] = %5\n  }\n"
        "  for i in 0..8 {\n   %6 = load f64 r[i]\n   %7 = load f64 sum[i]\n   %8 = add(%6, %7)\n  "
        " store sum[i] = %8\n  }\n }\n"
        " for i in 0..8 {\n  %9 = load f64 sum[i]\n  store total[g, i] = %9\n }\n}\n"
        "for i in 0..8 {\n %10 = load f64 total[3, i]\n store out[0, i] = %10\n}");
    LoopModule *m = planned(ctx, text);
    assert_int_equal(constant(m->funcs.p[0]->work_job), 192);
    assert_int_equal(constant(m->funcs.p[0]->jobs), 4);
    assert_int_equal(constant(m->funcs.p[0]->entry->work_bytes), 256 + 4 * 192 + 63);
    assert_true(offset(m, "p") == offset(m, "r") && offset(m, "p") != offset(m, "q") &&
                offset(m, "sum") != offset(m, "p"));
    same_results(ctx, text, m, 3);
    ctx_free(ctx);
}

static void what_an_iteration_leaves_is_kept(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    /* p's cells are stored in one iteration and read in the next; q is a temporary of one; s is
     * stored under a condition */
    const char *text =
        program(ctx, "buf p f64[N + 1] = work written\nbuf q f64[N + 1] = work written\nbuf s "
                     "f64[8] = work written\n"
                     "for i in 0..N {\n %1 = load f64 a[i, 0]\n store p[i + 1] = %1\n}\n%2 = f64 "
                     "5.0\nstore p[0] = %2\n"
                     "for i in 0..N {\n %3 = load f64 p[i]\n store q[0] = %3\n %4 = load f64 q[0]\n"
                     " %5 = index i64 i\n %6 = i64 1\n %7 = lt(%5, %6)\n if %7 {\n  store s[0] = "
                     "%4\n } else {\n }\n"
                     " %8 = load f64 s[0]\n %9 = add(%8, %4)\n store out[i, 0] = %9\n}");
    LoopModule *m = planned(ctx, text);
    same_results(ctx, text, m, 6);
    DimValue dims = {m->funcs.p[0]->dims.p[0], 6};
    PlanBytes b;
    assert_true(plan_bytes(m, m->funcs.p[0], &dims, 1, &b));
    assert_int_equal(b.fixed, b.apart_fixed);
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_takes_two_places),
        cmocka_unit_test(aliases_keep_memory_alive),
        cmocka_unit_test(symbolic_sizes_share_slots),
        cmocka_unit_test(lives_of_any_size_take_turns),
        cmocka_unit_test(jobs_share_inside_an_iteration),
        cmocka_unit_test(what_an_iteration_leaves_is_kept),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
