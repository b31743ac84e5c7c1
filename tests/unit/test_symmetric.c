/* passes/symmetric.c: of sums that equal their transpose one triangle is asked for; values stay. */
#include "pass_helper.h"

#define HEAD "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N, D\n"
#define X "  %1: f64[N, D] = input \"x\" @-\n"
#define W "  %2: f64[N] = input \"w\" @-\n"

static const int64_t DIMS[] = {5, 7};

static void check(const char *text, const char *part) {
    Ctx *ctx = ctx_new(0);
    const char *after =
        graph_text(ctx, check_same(ctx, text, "symmetric", "f", DIMS, REALS, 1e-12));
    if (part ? !strstr(after, part) : strstr(after, "needs") != NULL)
        fail_msg("expected `%s`:\n%s", part ? part : "all cells", after);
    ctx_free(ctx);
}

static void products_are_halved(void **state) {
    (void)state;
    check(HEAD X "  %2: f64[D, D] = nest [a, b] += %1[n, a] * %1[n, b] over n<N, a<D, b<D @-\n"
                 "  out \"y\" %2\n}\n",
          "needs a - b");
    check(HEAD X W
          "  %3: f64[D, D] = nest [a, b] += %1[n, b] * %2[n] * %1[n, a] over n<N, a<D, b<D @-\n"
          "  out \"y\" %3\n}\n",
          "needs a - b");
}

/* The factor stands in nests of its own, element by element. */
static void factors_are_seen_through(void **state) {
    (void)state;
    check(HEAD X W "  %3: f64[N, D] = nest [i, j] = neg(%1[i, j] * exp(%2[i])) over i<N, j<D @-\n"
                   "  %4: f64[N, D] = nest [i, j] = select(0.0 < %2[i], %3[i, j], %1[i, j] / 2.0) "
                   "over i<N, j<D @-\n"
                   "  %5: f64[D, D] = nest [a, b] += %4[n, b] * %1[n, a] over n<N, a<D, b<D @-\n"
                   "  out \"y\" %5\n}\n",
          "needs a - b");
    check(HEAD X W "  %3: f64[N, D] = nest [i, j] = %1[i, j] * %2[i] + %1[i, j] over i<N, j<D @-\n"
                   "  %4: f64[D, D] = nest [a, b] += %3[n, b] * %3[n, a] over n<N, a<D, b<D @-\n"
                   "  out \"y\" %4\n}\n",
          "needs a - b");
}

static void other_sums_stay(void **state) {
    (void)state;
    check(HEAD X "  %2: f64[N, D] = input \"z\" @-\n"
                 "  %3: f64[D, D] = nest [a, b] += %1[n, a] * %2[n, b] over n<N, a<D, b<D @-\n"
                 "  out \"y\" %3\n}\n",
          NULL);
    check(HEAD X
          "  %2: f64[D] = input \"z\" @-\n" /* the weight depends on one of the two */
          "  %3: f64[D, D] = nest [a, b] += %1[n, a] * %1[n, b] * %2[a] over n<N, a<D, b<D @-\n"
          "  out \"y\" %3\n}\n",
          NULL);
    check(HEAD X "  %2: f64[D, D] = nest [a, b] += %1[n, a] - %1[n, b] over n<N, a<D, b<D @-\n"
                 "  out \"y\" %2\n}\n",
          NULL);
    check(HEAD X "  %2: f64[D, D] = nest [a, b] += exp(%1[n, a]) * %1[n, b] over n<N, a<D, b<D @-\n"
                 "  out \"y\" %2\n}\n",
          NULL);
    check(HEAD X W "  %3: f64[N, D] = nest [i, j] = select(%1[i, j] < 0.0, %1[i, j], %1[i, j] * "
                   "%2[i]) over i<N, j<D @-\n"
                   "  %4: f64[D, D] = nest [a, b] += %3[n, b] * %1[n, a] over n<N, a<D, b<D @-\n"
                   "  out \"y\" %4\n}\n",
          NULL);
    check(HEAD "  %1: f64[3, D] = input \"x\" @-\n" /* too few terms for the copy to pay */
               "  %2: f64[D, D] = nest [a, b] += %1[n, a] * %1[n, b] over n<3, a<D, b<D @-\n"
               "  out \"y\" %2\n}\n",
          NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_halved),
        cmocka_unit_test(factors_are_seen_through),
        cmocka_unit_test(other_sums_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
