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

/* A transposed convolution as it is written, and its gradients. */
static void a_choice_determines_an_index(void **state) {
    (void)state;
    const char *x = HEAD "  %1: f64[N, D] = input \"x\" @-\n  %2: f64[3] = input \"w\" @-\n  %3: f64[N, 2*D + 1] = input \"g\" @-\n";
    char text[1200];
    snprintf(text, sizeof text, "%s%s", x,
             "  %4: f64[N, 2*D + 1] = nest [n, i] += select({i} == {2*h + p}, %1[n, h] * %2[p], 0.0) over n<N, i<2*D + 1, h<D, p<3 @-\n"
             "  out \"y\" %4\n}\n");
    check(text, "delta", 0, 1, "[n, 2*h + p] += %1[n, h] * %2[p] over n<N, h<D, p<3");
    snprintf(text, sizeof text, "%s%s", x,
             "  %4: f64[N, D] = nest [n, h] += select({i} == {2*h + p}, %3[n, i] * %2[p], 0.0) over n<N, i<2*D + 1, h<D, p<3 @-\n"
             "  out \"y\" %4\n}\n");
    check(text, "delta", 0, 1, "[n, h] += %3[n, 2*h + p] * %2[p] over n<N, h<D, p<3");
    /* cropped by one at both ends */
    snprintf(text, sizeof text, "%s%s", x,
             "  %4: f64[N, 2*D - 1] = nest [n, i] += select({i + 1} == {2*h + p}, %1[n, h] * %2[p], 0.0) over n<N, i<2*D - 1, h<D, p<3 @-\n"
             "  out \"y\" %4\n}\n");
    check(text, "delta", 0, 1, "[n, 2*h + p - 1] += %1[n, h] * %2[p] over n<N, h<D, p<3 where 0 <= 2*h + p - 1 < 2*D - 1");
    /* a diagonal is no scatter: its index stands in two axes */
    snprintf(text, sizeof text, "%s%s", x,
             "  %4: f64[D, D] = nest [i, j] += select({i} == {j}, %1[n, i], 0.0) over n<N, i<D, j<D @-\n"
             "  out \"y\" %4\n}\n");
    check(text, "delta", 0, 1, "[i, j] += select({i} == {j}");
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
        cmocka_unit_test(a_choice_determines_an_index),
        cmocka_unit_test(costly_parts_are_computed_once), cmocka_unit_test(guarded_reads_stay)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
