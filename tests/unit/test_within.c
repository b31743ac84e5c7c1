/* passes/within.c: squares about a mean of all rows are summed row by row; values stay. */
#include "pass_helper.h"

#define HEAD "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N, C\n"
#define X "  %1: f64[N, C, 3, 5] = input \"x\" @-\n"
#define MEAN                                                                                       \
    "  %2: f64[C] = nest [i] += %1[r, i, a, b] over i<C, r<N, a<3, b<5 then acc / f64({15*N}) "    \
    "@-\n"
#define SQUARES(e)                                                                                 \
    "  %3: f64[C] = nest [i] += let $0 = %1[r, i, a, b] - " e "; $0 * $0 over i<C, r<N, a<3, b<5 "
#define OUT "  out \"m\" %2\n  out \"v\" %3\n}\n"

static const int64_t DIMS[] = {7, 4};

/* part: stands in what the pass makes of it; NULL: it makes nothing of it. */
static void check(const char *text, Inputs kind, double tol, const char *part) {
    Ctx *ctx = ctx_new(0);
    const char *before = graph_text(ctx, must_read(ctx, text)),
               *after = graph_text(ctx, check_same(ctx, text, "within", "f", DIMS, kind, tol));
    if (part ? !strstr(after, part) : strcmp(before, after) != 0)
        fail_msg("expected `%s`:\n%s", part ? part : "no change", after);
    ctx_free(ctx);
}

static void squares_wait_for_no_mean(void **state) {
    (void)state;
    check(HEAD X MEAN SQUARES("%2[i]") "then acc / f64({15*N}) @-\n" OUT, REALS, 1e-13,
          "f64[N, C] = nest [i, i1] += let $0 = %1[i, i1, i2, i3] - ");
    check(HEAD X MEAN SQUARES("%2[i]") "@-\n" OUT, REALS, 1e-13, "15.0 * ($0 * $0) over i<C, r<N");
}

/* The mean adds up what the rows' sums are, in one pass over x. */
static void sums_share_those_of_rows(void **state) {
    (void)state;
    check(HEAD X MEAN SQUARES("%2[i]") "@-\n" OUT, REALS, 1e-13,
          "%3: f64[C] = nest [i] += %2[r, i] over i<C, r<N then acc / f64({15*N})");
}

/* It holds whatever is subtracted, as long as that is one number for all that is summed. */
static void about_anything_else_too(void **state) {
    (void)state;
    check(HEAD X MEAN SQUARES("(%2[i] * 2.0 + 0.25)") "@-\n" OUT, REALS, 1e-12, "f64[N, C]");
    check(HEAD X "  %2: f64[C] = nest [i] += %1[r, i, a, b] * %1[r, i, a, b] over i<C, r<N, a<3, "
                 "b<5 @-\n" SQUARES("%2[i]") "@-\n" OUT,
          REALS, 1e-12, "f64[N, C]");
}

/* A large mean costs no digits. */
static void deviations_stay_small(void **state) {
    (void)state;
    check(HEAD X "  %2: f64[N, C, 3, 5] = nest [r, i, a, b] = %1[r, i, a, b] + 1000000.0 over r<N, "
                 "i<C, a<3, b<5 @-\n"
                 "  %3: f64[C] = nest [i] += %2[r, i, a, b] over i<C, r<N, a<3, b<5 then acc / "
                 "f64({15*N}) @-\n"
                 "  %4: f64[C] = nest [i] += let $0 = %2[r, i, a, b] - %3[i]; $0 * $0 over i<C, "
                 "r<N, a<3, b<5 @-\n"
                 "  out \"v\" %4\n}\n",
          REALS, 1e-8, "f64[N, C] = nest");
}

static void other_sums_stay(void **state) {
    (void)state;
    check(HEAD X "  %2: f64[C] = input \"m\" @-\n" SQUARES("%2[i]") "@-\n" OUT, REALS, 0,
          NULL); /* nothing to wait for */
    check(HEAD X MEAN "  %3: f64[C] = nest [i] += let $0 = %1[r, i, a, b] - %2[i]; $0 * $0 * $0 "
                      "over i<C, r<N, a<3, b<5 @-\n" OUT,
          REALS, 0, NULL);
    check(HEAD X MEAN "  %3: f64[C] = nest [i] += let $0 = %1[r, i, a, b] - %2[i]; $0 * $0 over "
                      "i<C, r<N, a<3, b<5 where 0 <= a - 1 < 2 @-\n" OUT,
          REALS, 0, NULL);
    check(HEAD X MEAN SQUARES("(%2[i] * f64({a}))") "@-\n" OUT, REALS, 0,
          NULL); /* it varies along a row */
    check(HEAD
          "  %1: f64[N, C] = input \"x\" @-\n" /* rows of one number */
          "  %2: f64[C] = nest [i] += %1[r, i] over i<C, r<N then acc / f64({N}) @-\n"
          "  %3: f64[C] = nest [i] += let $0 = %1[r, i] - %2[i]; $0 * $0 over i<C, r<N @-\n" OUT,
          REALS, 0, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(squares_wait_for_no_mean), cmocka_unit_test(sums_share_those_of_rows),
        cmocka_unit_test(about_anything_else_too),  cmocka_unit_test(deviations_stay_small),
        cmocka_unit_test(other_sums_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
