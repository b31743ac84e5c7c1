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

/* What the pass makes of a text. */
static LoopModule *divided(Ctx *ctx, const char *text) {
    LoopModule *m = must_read_loops(ctx, text);
    Unit u = {
        .ctx = ctx, .arena = &ctx->perm, .loops = m, .target = m->target, .groups = 8, .rows = 16};
    pass_parallel(&u);
    if (loop_verify(m))
        fail_msg("%s\n%s", loop_verify(m), loops_text(ctx, m));
    return m;
}

static void check(const char *body, const char *part, const char *absent) {
    Ctx *ctx = ctx_new(0);
    const char *text = program(ctx, body);
    LoopModule *before = must_read_loops(ctx, text), *after = divided(ctx, text);
    const char *got = loops_text(ctx, after);
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

/* What loops of unknown extent become: several vectors in an iteration, at places a constant apart; the last store has
 * lanes that are off. Their rests have fewer iterations than there are jobs. */
static void blocks_of_open_loops_are_divided(void **state) {
    (void)state;
    const char *block = "for i in %s step 4 {\n for j in 0..48 step 24 {\n"
                        "  %%1 = load f64x8 a[i, j]\n  %%2 = load f64x8 a[i + 1, j + 8]\n  %%3 = mul(%%1, %%2)\n"
                        "  store out[i, 0] = %%1 axis 0 active 4\n  store out[i, j + 1] = %%3\n  store out[i + 3, j + 1] = %%3\n }\n}";
    Ctx *ctx = ctx_new(0);
    check(str_fmt(ctx, block, "0..4*((N - 1) // 4)"), "parallel", NULL);
    const char *rows = "for i in %s {\n for j in 0..50 {\n  %%1 = load f64 a[i, j]\n  %%2 = mul(%%1, %%1)\n  store out[i, j] = %%2\n }\n}";
    check(str_fmt(ctx, rows, "0..8*(N // 8)"), "parallel", NULL);
    check(str_fmt(ctx, rows, "8*(N // 8)..N"), NULL, "parallel");
    /* one store reaches into the next iteration's cells */
    check("for i in 0..4*((N - 1) // 4) step 4 {\n for j in 0..48 {\n  %1 = load f64 a[i, j]\n  store out[i, j] = %1\n  store out[i + 4, j] = %1\n }\n}",
          NULL, "parallel");
    ctx_free(ctx);
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
        LoopModule *m = divided(ctx, program(ctx, sb.text));
        assert_int_equal(strstr(loops_text(ctx, m), "parallel") != NULL, many);
        ctx_free(ctx);
    }
}

/* ---- loops behind other jobs */

/* Arguments x, y, z and the input a, a scratch w; x2 is x's memory under another buffer, as a
 * returned tensor is a given one's, and xf is x flat. */
static const char *behind(Ctx *ctx, bool awake, const char *body) {
    return str_fmt(
        ctx,
        "loops \"a.cnn\" for \"x86-64-v4\"\nstatus 0 \"bad\"\nfunc \"f\" f64 groups 8 @- {\n"
        " status null 0 dim 0 stop 0 overflow 0\n entry def \"f\" {\n"
        "  input \"a\" f64 const bytes 8\n  out \"x\" f64 bytes 8\n  out \"y\" f64 bytes 8\n"
        "  out \"z\" f64 bytes 8\n  work \"work\" bytes 0\n }\n"
        " buf a f64[64, 64] = arg 0 at 0\n buf x f64[64, 64] = arg 1 at 0 written\n"
        " buf y f64[64, 64] = arg 2 at 0 written\n buf z f64[64, 64] = arg 3 at 0 written\n"
        " buf x2 f64[64, 64] = arg 1 at 0 written\n buf xf f64[4096] = alias x written\n"
        " buf w f64[64, 64] = work written\n buf n i32[64, 64] = work written\n"
        "%s%s\n}\n",
        awake ? "for job in 0..8 parallel {\n for i in 8*job..8*job + 8 {\n  for j in 0..64 {\n"
                "   %9001 = load f64 a[i, j]\n   %9002 = i32 3\n   store n[i, j] = %9002\n"
                "   store w[i, j] = %9001\n  }\n }\n}\n"
              : "",
        body);
}

static void run_behind(Ctx *ctx, const LoopModule *m, double *out) {
    static double a[64 * 64], work[8 * 64 * 64];
    for (int k = 0; k < 64 * 64; k++)
        a[k] = k % 37 ? 1.0 / (k + 1) : 0.0;
    for (int k = 0; k < 3 * 64 * 64; k++)
        out[k] = k;
    const LoopArg args[] = {
        {.p = a}, {.p = out}, {.p = out + 64 * 64}, {.p = out + 2 * 64 * 64}, {.p = work}};
    run_loops(ctx, m, 0, args);
}

/* The results stay, there are so many sets of jobs, and the parts stand in this order. */
static void check_sets(bool awake, const char *body, int sets, const char *const *parts) {
    Ctx *ctx = ctx_new(0);
    const char *text = behind(ctx, awake, body);
    LoopModule *before = must_read_loops(ctx, text), *after = divided(ctx, text);
    const char *got = loops_text(ctx, after), *at = got;
    int n = 0;
    for (const char *p = got; (p = strstr(p, " parallel ")); p++)
        n++;
    if (n != sets)
        fail_msg("%d sets of jobs, not %d, in\n%s", n, sets, got);
    for (int k = 0; parts && parts[k]; k++) {
        at = strstr(at, parts[k]);
        if (!at)
            fail_msg("`%s` expected, behind the parts before it, in\n%s", parts[k], got);
        at += strlen(parts[k]);
    }
    loop_assign_offsets(before);
    loop_assign_offsets(after);
    static double x[3 * 64 * 64], y[3 * 64 * 64];
    run_behind(ctx, before, x);
    run_behind(ctx, after, y);
    assert_memory_equal(x, y, sizeof x);
    ctx_free(ctx);
}

/* to = from * from + %more, with values from number v on. */
static const char *square(Ctx *ctx, const char *to, const char *from, int v, int more) {
    return str_fmt(ctx,
                   "for i in 0..64 {\n for j in 0..64 {\n  %%%d = load f64 %s[i, j]\n"
                   "  %%%d = mul(%%%d, %%%d)\n  %%%d = add(%%%d, %%%d)\n  store %s[i, j] = %%%d\n"
                   " }\n}\n",
                   v, from, v + 1, v, v, v + 2, v + 1, more ? more : v, to, v + 2);
}

#define PARTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void loops_behind_jobs_are_one_set_at_the_last(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *x = square(ctx, "x", "a", 10, 0), *y = square(ctx, "y", "a", 20, 0),
               *apart = "%1 = f64 3.0\nstore z[0, 0] = %1\n";
    check_sets(
        true, str_fmt(ctx, "%s%s%s", x, apart, y), 2,
        PARTS(" parallel ", "store z[0, 0]", " parallel ", "store x[i, j]", "store y[i, j]"));
    /* threads that sleep are not woken for so little; nor are they given less than that */
    check_sets(false, str_fmt(ctx, "%s%s", x, y), 0, NULL);
    check_sets(true, "for i in 0..64 {\n %1 = load f64 a[i, 0]\n store x[i, 0] = %1\n}\n", 1, NULL);
    /* what the moved loop takes from outside is computed in the job, before and between */
    check_sets(true,
               str_fmt(ctx, "%%1 = load f64 w[2, 2]\n%s%s%%2 = load f64 w[3, 3]\n%s",
                       square(ctx, "x", "a", 10, 1), "%3 = f64 3.0\nstore z[0, 0] = %3\n",
                       square(ctx, "y", "a", 20, 2)),
               2, PARTS("store z", " parallel ", "w[2, 2]", "store x", "w[3, 3]", "store y"));
    ctx_free(ctx);
}

static void loops_stay_behind_what_they_need(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    static const char *const between[] = {
        "%1 = load f64 x[3, 3]\nstore z[0, 0] = %1\n",  /* reads what the first stores */
        "%1 = load f64 x2[3, 3]\nstore z[0, 0] = %1\n", /* .. as another buffer */
        "%1 = load f64 xf[77]\nstore z[0, 0] = %1\n",   /* .. as another shape */
        "%1 = f64 3.0\nstore x[3, 3] = %1\n",           /* stores there, too */
        "%1 = f64 3.0\nstore w[3, 3] = %1\n",           /* stores what the first reads */
        "%1 = bool 1\nrequire %1 else 0\n",             /* may end the call */
        "%1 = bool 1\nif %1 {\n %2 = f64 1.0\n store z[0, 0] = %2\n}\n"};
    for (size_t k = 0; k < sizeof between / sizeof *between; k++)
        check_sets(true,
                   str_fmt(ctx, "%s%s%s", square(ctx, "x", "w", 10, 0), between[k],
                           square(ctx, "y", "a", 20, 0)),
                   3, PARTS(" parallel ", " parallel ", "store x[i, j]", " parallel ", "store y"));
    /* a scalar that is loaded for the first changes before the second */
    check_sets(true,
               str_fmt(ctx, "%%1 = load f64 w[2, 2]\n%s%s%s", square(ctx, "x", "a", 10, 1),
                       "%2 = f64 3.0\nstore w[2, 2] = %2\n", square(ctx, "y", "a", 20, 0)),
               3, PARTS(" parallel ", "store x", "store w[2, 2]", " parallel ", "store y"));
    ctx_free(ctx);
}

static void loops_of_one_set_touch_nothing_of_one_another(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    static const char *const pairs[][4] = {{"x", "a", "y", "x"},  {"x", "y", "y", "a"},
                                           {"x", "a", "x", "w"},  {"x", "a", "y", "x2"},
                                           {"x", "y", "x2", "a"}, {"x2", "a", "y", "x"}};
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++)
        check_sets(true,
                   str_fmt(ctx, "%s%s", square(ctx, pairs[k][0], pairs[k][1], 10, 0),
                           square(ctx, pairs[k][2], pairs[k][3], 20, 0)),
                   3, NULL);
    /* under another shape; by a scalar that one loads and the other stores */
    check_sets(true,
               str_fmt(ctx,
                       "%sfor i in 0..4096 {\n %%1 = load f64 xf[i]\n %%2 = mul(%%1, %%1)\n "
                       "store y[i // 64, i - 64*(i // 64)] = %%2\n}\n",
                       square(ctx, "x", "a", 10, 0)),
               2, NULL);
    check_sets(true,
               str_fmt(ctx, "%%1 = load f64 y[2, 2]\n%s%s", square(ctx, "x", "a", 10, 1),
                       square(ctx, "y", "a", 20, 0)),
               3, NULL);
    check_sets(true,
               str_fmt(ctx, "%s%%1 = load f64 x[2, 2]\n%s", square(ctx, "x", "a", 10, 0),
                       square(ctx, "y", "a", 20, 1)),
               3, NULL);
    ctx_free(ctx);
}

/* z[at, 0] = what `op` gathers of the cells of `from` that are 0, with values from number v on. */
static const char *gather(Ctx *ctx, const char *op, const char *from, int v, int at) {
    return str_fmt(ctx,
                   "%%%d = i32 -5\n%%%d = for i in 0..64 with %%%d = %%%d {\n"
                   " %%%d = for j in 0..64 with %%%d = %%%d {\n  %%%d = load f64 %s[i, j]\n"
                   "  %%%d = sub(%%%d, %%%d)\n  %%%d = ne(%%%d, %%%d)\n  %%%d = cast(%%%d) : i32\n"
                   "  %%%d = %s(%%%d, %%%d)\n  yield %%%d\n }\n yield %%%d\n}\n"
                   "%%%d = cast(%%%d) : f64\nstore z[%d, 0] = %%%d\n",
                   v, v + 1, v + 2, v, v + 3, v + 4, v + 2, v + 5, from, v + 6, v + 5, v + 5, v + 7,
                   v + 5, v + 6, v + 8, v + 7, v + 9, op, v + 4, v + 8, v + 9, v + 3, v + 10, v + 1,
                   at, v + 10);
}

static void whole_numbers_are_gathered_by_job_at_the_first(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    check_sets(true,
               str_fmt(ctx, "%s%s%s", gather(ctx, "max", "a", 10, 0),
                       gather(ctx, "min", "w", 30, 1), gather(ctx, "max", "w", 50, 2)),
               2,
               PARTS(" parallel ", " parallel ", "store part[job]", "store part.", "store part.",
                     "in 0..8 with", "store z[0, 0]", "in 0..8 with", "store z[1, 0]",
                     "in 0..8 with", "store z[2, 0]"));
    /* sums stay, as do loops behind what they need or what may end the call */
    check_sets(true, gather(ctx, "add", "a", 10, 0), 1, NULL);
    check_sets(true,
               str_fmt(ctx, "%s%s%s", gather(ctx, "max", "a", 10, 0),
                       "%1 = f64 3.0\nstore w[3, 3] = %1\n", gather(ctx, "max", "w", 30, 1)),
               3, PARTS("store z[0, 0]", "store w[3, 3]", " parallel ", "store part"));
    check_sets(true,
               str_fmt(ctx, "%s%s%s", gather(ctx, "max", "a", 10, 0),
                       "%1 = bool 1\nrequire %1 else 0\n", gather(ctx, "max", "w", 30, 1)),
               3, PARTS("require", " parallel "));
    check_sets(true,
               str_fmt(ctx, "%s%s", gather(ctx, "max", "a", 10, 0), gather(ctx, "max", "z", 30, 1)),
               3, PARTS("store z[0, 0]", " parallel "));
    /* loops that store and loops that gather are no set */
    check_sets(true,
               str_fmt(ctx, "%s%s", square(ctx, "x", "a", 10, 0), gather(ctx, "max", "w", 30, 0)),
               3, NULL);
    ctx_free(ctx);
}

/* A maximum of reals may depend on the order (NaN, the sign of 0). */
static void reals_are_not_gathered_by_job(void **state) {
    (void)state;
    check_sets(true,
               "%1 = f64 0.0\n%2 = for i in 0..64 with %3 = %1 {\n %4 = for j in 0..64 with %5 = "
               "%3 {\n  %6 = load f64 a[i, j]\n  %7 = sub(%6, %6)\n  %8 = add(%7, %6)\n  %9 = "
               "max(%5, %8)\n  yield %9\n }\n yield %4\n}\nstore z[0, 0] = %2\n",
               1, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_loops_are_divided),
        cmocka_unit_test(blocks_of_open_loops_are_divided),
        cmocka_unit_test(others_stay),
        cmocka_unit_test(short_loops_of_known_extent_stay),
        cmocka_unit_test(loops_behind_jobs_are_one_set_at_the_last),
        cmocka_unit_test(loops_stay_behind_what_they_need),
        cmocka_unit_test(loops_of_one_set_touch_nothing_of_one_another),
        cmocka_unit_test(whole_numbers_are_gathered_by_job_at_the_first),
        cmocka_unit_test(reals_are_not_gathered_by_job),
    };
    return cmocka_run_group_tests_name("parallel", tests, NULL, NULL);
}
