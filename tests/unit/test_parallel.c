/* passes/parallel.c: which loops are divided, and that no bit changes. */
#include "loop_helper.h"

#include "passes/pass.h"

enum { MOST = 60000 };

static const char *program(Ctx *ctx, const char *body) {
    return str_fmt(ctx,
                   "loops \"a.cnn\" for \"x86-64-v4\"\nstatus 0 \"bad\"\nfunc \"f\" f64 groups 8 "
                   "@- {\n dims N\n"
                   " status null 0 dim 0 stop 0 overflow 0\n entry def \"f\" {\n  dim \"N\" is N\n "
                   " input \"a\" f64 const bytes 8\n"
                   "  out \"out\" f64 bytes 8\n  work \"work\" bytes 0\n }\n"
                   " buf a f64[N, 50] = arg 1 at 0\n buf out f64[N, 50] = arg 2 at 0 written\n buf "
                   "s f64[50] = work written\n%s\n}\n",
                   body);
}

static void run(Ctx *ctx, const LoopModule *m, int64_t n, double *out) {
    static double a[MOST];
    for (int k = 0; k < MOST; k++) {
        a[k] = 1.0 / (k + 1);
        out[k] = k;
    }
    const LoopArg args[] = {{.i = n}, {.p = a}, {.p = out}, {.p = NULL}};
    assert_int_equal(run_loops(ctx, m, 0, args), 0);
}

static void check(const char *body, const char *part, const char *absent) {
    Ctx *ctx = ctx_new(0);
    LoopModule *before = must_read_loops(ctx, program(ctx, body)),
               *after = must_read_loops(ctx, program(ctx, body));
    Unit u = {.ctx = ctx,
              .arena = &ctx->perm,
              .loops = after,
              .target = after->target,
              .groups = 8,
              .rows = 16};
    pass_parallel(&u);
    const char *got = loops_text(ctx, after);
    if (loop_verify(after))
        fail_msg("%s\n%s", loop_verify(after), got);
    if ((part && !strstr(got, part)) || (absent && strstr(got, absent)))
        fail_msg("`%s` expected, `%s` not, in\n%s", part ? part : "", absent ? absent : "", got);
    static double x[MOST], y[MOST];
    for (int64_t n = 1; n < 40; n += 6) {
        run(ctx, before, n, x);
        run(ctx, after, n, y);
        assert_memory_equal(x, y, sizeof x);
    }
    ctx_free(ctx);
}

static void large_loops_are_divided(void **state) {
    (void)state;
    check("%1 = f64 3.0\n%2 = load f64 a[0, 1]\n%3 = mul(%1, %2)\nfor i in 0..N \"k\" {\n for j in "
          "0..50 {\n  %4 = load f64 a[i, j]\n  %5 = add(%4, %3)\n"
          "  store out[i, j] = %5\n }\n}",
          "for job in 0..8 parallel \"k\" {\n    %4 = f64 3.0", NULL);
    /* steps and lanes; an index called like the jobs' */
    check("for job in 0..N step 2 {\n for j in 0..48 step 8 {\n  %4 = load f64x8 a[job, j]\n  %5 = "
          "mul(%4, %4)\n  store out[job, j] = %5\n }\n}",
          "for job1 in 0..8 parallel {\n    for job in 2*((job1*((N + 1) // 2)) // 8)", NULL);
}

static void others_stay(void **state) {
    (void)state;
    /* little work; a sum; a recurrence; overlapping lanes; a value that cannot be had inside; what
     * it reads is changed by it */
    check("for i in 0..50 {\n %1 = load f64 a[0, i]\n store out[0, i] = %1\n}", NULL, "parallel");
    check("%1 = f64 0.0\n%2 = for i in 0..N with %3 = %1 {\n %4 = for j in 0..50 with %5 = %3 {\n "
          "%6 = load f64 a[i, j]\n %7 = add(%5, %6)\n yield %7\n }\n yield %4\n}\n"
          "store out[0, 0] = %2",
          NULL, "parallel");
    check("for i in 0..N - 1 {\n for j in 0..50 {\n %1 = load f64 out[i, j]\n store out[i + 1, j] "
          "= %1\n }\n}",
          NULL, "parallel");
    check("for i in 0..N - 1 {\n for j in 0..50 {\n %1 = load f64x2 a[i, j] axis 0\n store out[i, "
          "j] = %1 axis 0\n }\n}",
          NULL, "parallel");
    check("%1 = f64 0.0\n%2 = for i in 0..50 with %3 = %1 {\n %4 = load f64 a[0, i]\n %5 = add(%4, "
          "%3)\n yield %5\n}\n"
          "for i in 0..N {\n for j in 0..50 {\n store out[i, j] = %2\n }\n}",
          NULL, "parallel");
    check(
        "%1 = load f64 out[0, 0]\nfor i in 0..N {\n for j in 0..50 {\n store out[i, j] = %1\n }\n}",
        NULL, "parallel");
    check("%1 = load f64 s[0]\n%2 = f64 1.0\nstore s[0] = %2\nfor i in 0..N {\n for j in 0..50 {\n "
          "%3 = add(%1, %1)\n store out[i, j] = %3\n }\n}",
          NULL, "parallel");
}

/* Threads are not woken for what one has done before they are awake: known extents need more work.
 */
static void short_loops_of_known_extent_stay(void **state) {
    (void)state;
    for (int many = 0; many < 2; many++) {
        Ctx *ctx = ctx_new(0);
        StrBuf sb = sb_new(&ctx->perm);
        sb_put(&sb, "for i in 0..30 {\n for j in 0..50 {\n  %1 = load f64 a[i, j]\n");
        for (int k = 0; k < (many ? 200 : 40); k++)
            sb_printf(&sb, "  %%%d = mul(%%%d, %%1)\n", k + 2, k + 1);
        sb_printf(&sb, "  store out[i, j] = %%%d\n }\n}", (many ? 200 : 40) + 1);
        LoopModule *m = must_read_loops(ctx, program(ctx, sb.text));
        Unit u = {.ctx = ctx,
                  .arena = &ctx->perm,
                  .loops = m,
                  .target = m->target,
                  .groups = 8,
                  .rows = 16};
        pass_parallel(&u);
        assert_int_equal(strstr(loops_text(ctx, m), "parallel") != NULL, many);
        ctx_free(ctx);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_loops_are_divided),
        cmocka_unit_test(others_stay),
        cmocka_unit_test(short_loops_of_known_extent_stay),
    };
    return cmocka_run_group_tests_name("parallel", tests, NULL, NULL);
}
