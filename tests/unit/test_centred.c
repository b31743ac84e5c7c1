/* passes/centred.c: what a variance owes to its mean is zero, and is not computed; what resembles
 * it is. */
#include <stdlib.h>

#include "pass_helper.h"

#define HEAD "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N\n"
#define X "  %1: f64[N, 3, 4] = input \"x\" @-\n  %2: f64[3] = input \"w\" @-\n"
#define WHOLE_BOX " over n<N, c<3, i<4 @-\n"
/* The mean of x over its first and last axis, x without it, and a sum of weighted squares. */
#define SUM "  %3: f64[3] = nest [c] += %1[n, c, i] over c<3, n<N, i<4 @-\n"
#define MEAN SUM "  %4: f64[3] = nest [c] = %3[c] / f64({4*N}) over c<3 @-\n"
#define CENTRED "  %5: f64[N, 3, 4] = nest [n, c, i] = %1[n, c, i] - %4[c]" WHOLE_BOX
#define SQUARES "  %6: f64[3] = nest [c] += %5[n, c, i] * %5[n, c, i] over c<3, n<N, i<4 @-\n"
#define TOTAL "  %7: f64 = nest [] += %6[c] * %2[c] over c<3 @-\n"
#define GRAD                                                                                       \
    "  %8: f64 = nest [] = 1.0 over @-\n  %9: f64[N, 3, 4] = vjp{1}(%7, %8, %1) @-\n"              \
    "  out \"L\" %7\n  out \"d\" %9\n}\n"

static const int64_t SMALL[] = {3};

static int count(const char *text, const char *what) {
    int n = 0;
    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

static int sums_in(const char *text) { return count(text, "[c] +=") + count(text, "[] +="); }

/* The sweep agrees with differences, and has so many sums to cells of c or to one cell. */
static void check_sums(const char *text, int sums) {
    Ctx *ctx = ctx_new(0);
    Module *m = check_same(ctx, text, "ad", "f", SMALL, REALS, 1e-6);
    assert_int_equal(sums_in(graph_text(ctx, m)) - sums_in(text), sums);
    ctx_free(ctx);
}

/* The cotangent of %6 goes to the squares only. */
static void a_variance_does_not_go_through_its_mean(void **state) {
    (void)state;
    check_sums(HEAD X MEAN CENTRED SQUARES TOTAL GRAD, 1);
    /* squares of differences that are no value of their own */
    check_sums(HEAD X MEAN
               "  %5: f64[3] = nest [c] += (%1[n, c, i] - %4[c]) * (%1[n, c, i] - %4[c])"
               " over c<3, n<N, i<4 @-\n"
               "  %6: f64[3] = nest [c] = %5[c] over c<3 @-\n" TOTAL GRAD,
               2);
    /* the mean in the nest of the deviations, over one axis, with a sign */
    check_sums(
        HEAD X
        "  %3: f64[3, 4] = nest [c, i] += %1[n, c, i] over c<3, i<4, n<N @-\n"
        "  %4: f64[3, 4] = nest [c, i] = neg(%3[c, i]) over c<3, i<4 @-\n"
        "  %5: f64[N, 3, 4] = nest [n, c, i] = neg(%1[n, c, i] - %3[c, i] / f64({N}))" WHOLE_BOX
            SQUARES TOTAL GRAD,
        1);
}

/* What deviations owe to something else still goes through the mean, alone: before the squares'
 * part is added to it. */
static void other_uses_of_deviations_go_on(void **state) {
    (void)state;
    static const char text[] = HEAD X MEAN CENTRED SQUARES
        "  %7: f64[N, 3, 4] = nest [n, c, i] = %5[n, c, i] / sqrt(%6[c] + 1.0)" WHOLE_BOX
        "  %8: f64 = nest [] += sin(%7[n, c, i]) * %2[c]" WHOLE_BOX
        "  %9: f64 = nest [] = 1.0 over @-\n  %10: f64[N, 3, 4] = vjp{1}(%8, %9, %1) @-\n"
        "  out \"L\" %8\n  out \"d\" %10\n}\n";
    Ctx *ctx = ctx_new(0);
    Module *m = check_same(ctx, text, "ad", "f", SMALL, REALS, 1e-6);
    const char *after = graph_text(ctx, m), *chain = strstr(after, " from %");
    assert_non_null(chain);
    char part[40];
    snprintf(part, sizeof part, "neg(%%%ld[", strtol(chain + 7, NULL, 10));
    assert_non_null(strstr(after, part));
    ctx_free(ctx);
}

static void what_is_no_mean_is_summed(void **state) {
    (void)state;
    /* another count */
    check_sums(
        HEAD X SUM
        "  %4: f64[3] = nest [c] = %3[c] / f64({4*N - 1}) over c<3 @-\n" CENTRED SQUARES TOTAL GRAD,
        3);
    /* of a part */
    check_sums(
        HEAD X
        "  %3: f64[3] = nest [c] += %1[n, c, i] over c<3, n<N, i<2 @-\n"
        "  %4: f64[3] = nest [c] = %3[c] / f64({2*N}) over c<3 @-\n" CENTRED SQUARES TOTAL GRAD,
        3);
    /* of squares */
    check_sums(
        HEAD X
        "  %3: f64[3] = nest [c] += %1[n, c, i] * %1[n, c, i] over c<3, n<N, i<4 @-\n"
        "  %4: f64[3] = nest [c] = %3[c] / f64({4*N}) over c<3 @-\n" CENTRED SQUARES TOTAL GRAD,
        3);
    /* of another channel */
    check_sums(HEAD X MEAN
               "  %5: f64[N, 3, 4] = nest [n, c, i] = %1[n, c, i] - %4[2 - c]" WHOLE_BOX SQUARES
                   TOTAL GRAD,
               2);
    /* weighted by what varies */
    check_sums(HEAD X MEAN CENTRED "  %6: f64[3] = nest [c] += %5[n, c, i] * %5[n, c, i] * "
                                   "f64({i}) over c<3, n<N, i<4 @-\n" TOTAL GRAD,
               3);
}

/* Twice: the Hessian of a variance is (I - 11'/n) 2/n, whose second part comes from the mean. */
static void second_derivatives_of_a_variance(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    Module *m = must_read(
        ctx, HEAD
        "  %1: f64[N] = input \"x\" @-\n  %2: f64[N] = input \"v\" @-\n"
        "  %3: f64 = nest [] += %1[n] over n<N @-\n  %4: f64 = nest [] = %3[] / f64({N}) over @-\n"
        "  %5: f64 = nest [] += (%1[n] - %4[]) * (%1[n] - %4[]) over n<N @-\n"
        "  %6: f64 = nest [] = 1.0 over @-\n  %7: f64[N] = vjp{1}(%5, %6, %1) @-\n"
        "  %8: f64 = nest [] += %7[n] * %2[n] over n<N @-\n  %9: f64[N] = vjp{1}(%8, %6, %1) @-\n"
        "  out \"hv\" %9\n}\n");
    run_passes(ctx, m, "ad");
    Tensor *r = must_run(ctx, m, "f", SMALL, REALS);
    double mean = 0;
    for (int k = 0; k < 3; k++)
        mean += input_at(REALS, 1, k) / 3;
    for (int k = 0; k < 3; k++)
        assert_true(fabs(r->f[k] - 2 * (input_at(REALS, 1, k) - mean)) < 1e-12);
    ctx_free(ctx);
}

/* By the mean itself: as a function of it alone the first derivative is 0 at that point only, and
 * the second is 2 n. */
static void derivatives_by_the_mean(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    Module *m = must_read(
        ctx, HEAD "  %1: f64[N] = input \"x\" @-\n  %2: f64 = nest [] += %1[n] over n<N @-\n"
                  "  %3: f64 = nest [] = %2[] / f64({N}) over @-\n"
                  "  %4: f64 = nest [] += (%1[n] - %3[]) * (%1[n] - %3[]) over n<N @-\n"
                  "  %5: f64 = nest [] = 1.0 over @-\n  %6: f64 = vjp{1}(%4, %5, %3) @-\n"
                  "  %7: f64 = vjp{1}(%6, %5, %3) @-\n  out \"h\" %7\n}\n");
    run_passes(ctx, m, "ad");
    Tensor *r = must_run(ctx, m, "f", SMALL, REALS);
    assert_true(fabs(r->f[0] - 6) < 1e-12);
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_variance_does_not_go_through_its_mean),
        cmocka_unit_test(other_uses_of_deviations_go_on),
        cmocka_unit_test(what_is_no_mean_is_summed),
        cmocka_unit_test(second_derivatives_of_a_variance),
        cmocka_unit_test(derivatives_by_the_mean),
    };
    return cmocka_run_group_tests_name("centred", tests, NULL, NULL);
}
