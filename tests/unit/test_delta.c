/* passes/delta.c, passes/hoist.c: unit matrices leave sums, costly parts leave loops; values stay.
 */
#include "pass_helper.h"

#define HEAD "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N, D\n"

static const int64_t DIMS[] = {5, 3};

/* The passes keep the values; the text after them has `part`, and so many nests. */
static void check(const char *text, const char *passes, double tol, int nests, const char *part) {
    Ctx *ctx = ctx_new(0);
    const char *after = graph_text(ctx, check_same(ctx, text, passes, "f", DIMS, REALS, tol));
    if (count_of(after, "nest") != nests || !strstr(after, part))
        fail_msg("expected %d nests, one with `%s`:\n%s", nests, part, after);
    ctx_free(ctx);
}

#define UNIT "  %2: f64[D, D] = nest [i, j] = select({i} == {j}, 1.0, 0.0) over i<D, j<D @-\n"

static void a_sum_over_a_unit_matrix_is_a_read(void **state) {
    (void)state;
    check(HEAD "  %1: f64[N, D] = input \"x\" @-\n" UNIT
               "  %3: f64[N, D] = nest [n, j] += %2[r, j] * %1[n, r] over n<N, j<D, r<D @-\n"
               "  out \"y\" %3\n}\n",
          "delta", 0, 1, "[n, j] += %1[n, j] over n<N, j<D");
    check(HEAD
          "  %1: f64[N, D] = input \"x\" @-\n" UNIT
          "  %3: f64[D, N] = nest [j, n] += neg(%1[n, r] * %2[j, r]) * 2.0 over n<N, j<D, r<D @-\n"
          "  out \"y\" %3\n}\n",
          "delta", 0, 1, "[j, n] += neg(%1[n, j]) * 2.0 over n<N, j<D");
}

/* A block of a longer vector: what no index reaches is guarded; a row alone stays a choice. */
static void blocks_and_rows(void **state) {
    (void)state;
    check(HEAD "  %1: f64[N, D] = input \"x\" @-\n"
               "  %2: f64[D + 1, D + 1] = nest [i, j] = select({i} == {j}, 1.0, 0.0) over i<D + 1, "
               "j<D + 1 @-\n"
               "  %3: f64[D + 1] = nest [j] = %2[D, j] over j<D + 1 @-\n"
               "  %4: f64[N, D + 1] = nest [n, j] = %3[j] over n<N, j<D + 1 @-\n"
               "  %5: f64[N, D + 1] = nest [n, j] += %2[r, j] * %1[n, r] over n<N, j<D + 1, r<D "
               "from %4 @-\n"
               "  out \"y\" %5\n}\n",
          "delta", 0, 2, "+= %1[n, j] over n<N, j<D + 1 where 0 <= j < D from");
}

static void costly_parts_are_computed_once(void **state) {
    (void)state;
    check(HEAD "  %1: f64[N, D] = input \"x\" @-\n  %2: f64[N] = input \"e\" @-\n"
               "  %3: f64[D] = nest [j] += %1[n, j] * (exp(%2[n]) + 1.0) over n<N, j<D @-\n"
               "  out \"y\" %3\n}\n",
          "hoist", 0, 2, "[n] = exp(%2[n]) + 1.0 over n<N");
    /* of no index at all */
    check(HEAD "  %1: f64[N] = input \"x\" @-\n  %2: f64 = input \"s\" @-\n"
               "  %3: f64[N] = nest [n] = %1[n] - log(1.0 + %2[] * %2[]) over n<N @-\n"
               "  out \"y\" %3\n}\n",
          "hoist", 0, 2, "[] = log(1.0 + %2[] * %2[]) over");
    /* cheap: it stays */
    check(HEAD "  %1: f64[N, D] = input \"x\" @-\n  %2: f64[N] = input \"e\" @-\n"
               "  %3: f64[D] = nest [j] += %1[n, j] * (%2[n] + 1.0) over n<N, j<D @-\n"
               "  out \"y\" %3\n}\n",
          "hoist", 0, 1, "%1[n, j] * (%2[n] + 1.0)");
}

/* A read that only a condition keeps inside its operand does not move in front of it. */
static void guarded_reads_stay(void **state) {
    (void)state;
    check(HEAD "  %1: f64[N, D] = input \"x\" @-\n  %2: f64[N] = input \"e\" @-\n"
               "  %3: f64[N, D] = nest [n, j] = select({n} < {N} - 1, exp(%2[n + 1]), %1[n, j]) "
               "over n<N, j<D @-\n"
               "  out \"y\" %3\n}\n",
          "hoist", 0, 1, "exp(%2[n + 1])");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sum_over_a_unit_matrix_is_a_read), cmocka_unit_test(blocks_and_rows),
        cmocka_unit_test(costly_parts_are_computed_once), cmocka_unit_test(guarded_reads_stay)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
