/* passes/sparse.c: terms that a constant mask makes zero are left out; values stay. */
#include "pass_helper.h"

#define HEAD "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N\n"
#define MASK "  %3: bool[4, 3] = const{1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1} @-\n"

static const int64_t DIMS[] = {5};

static void check(const char *text, const char *part, const char *absent) {
    Ctx *ctx = ctx_new(0);
    const char *after = graph_text(ctx, check_same(ctx, text, "sparse", "f", DIMS, WHOLE, 0));
    if ((part && !strstr(after, part)) || (absent && strstr(after, absent)))
        fail_msg("expected `%s`, not `%s`:\n%s", part, absent, after);
    ctx_free(ctx);
}

/* The operand is a nest that multiplies by the mask; its subscripts are those of the read. */
static void operand_is_masked(void **state) {
    (void)state;
    check(HEAD "  %1: f64[N, 4] = input \"x\" @-\n  %2: f64[3, 4] = input \"w\" @-\n" MASK
               "  %4: f64[3, 4] = nest [o, c] = %2[o, c] * f64(%3[c, o]) over o<3, c<4 @-\n"
               "  %5: f64[N, 3] = nest [n, k] += %1[n, r] * %4[k, r] over n<N, k<3, r<4 @-\n"
               "  out \"y\" %5\n}\n",
          "+= select(%3[r, k], %1[n, r] * %4[k, r], 0.0)", NULL);
    check(HEAD "  %1: f64[N, 4] = input \"x\" @-\n  %2: f64[3, 4] = input \"w\" @-\n" MASK
               "  %4: f64[3, 4] = nest [o, c] = select(%3[c, o], neg(%2[o, c]), 0.0) over o<3, c<4 "
               "@-\n"
               "  %5: f64[N, 3] = nest [n, k] += %1[n, r] * %4[k, r] over n<N, k<3, r<4 @-\n"
               "  out \"y\" %5\n}\n",
          "+= select(%3[r, k], %1[n, r] * %4[k, r], 0.0)", NULL);
}

static void result_is_masked(void **state) {
    (void)state;
    check(HEAD "  %1: f64[N, 4] = input \"x\" @-\n  %2: f64[N, 3] = input \"d\" @-\n" MASK
               "  %4: f64[3, 4] = nest [o, c] += %2[n, o] * %1[n, c] over o<3, c<4, n<N then acc * "
               "f64(%3[c, o]) @-\n"
               "  out \"y\" %4\n}\n",
          "+= select(%3[c, o], %2[n, o] * %1[n, c], 0.0)", NULL);
}

/* The mask stands where the sum is used: also beside other terms, with indices of its own. */
static void use_is_masked(void **state) {
    (void)state;
    check(HEAD
          "  %1: f64[N, 4] = input \"x\" @-\n  %2: f64[N, 3] = input \"d\" @-\n" MASK
          "  %4: f64[3, 4] = nest [o, c] += %2[n, o] * %1[n, c] over o<3, c<4, n<N then neg(acc) * "
          "f64(%3[c, o]) + 2.0 @-\n"
          "  out \"y\" %4\n}\n",
          "+= select(%3[c, o], %2[n, o] * %1[n, c], 0.0)", NULL);
    check(
        HEAD
        "  %1: f64[N, 4] = input \"x\" @-\n  %2: f64[N, 3] = input \"d\" @-\n" MASK
        "  %4: f64[3, 4] = nest [o, c] += %2[n, o] * %1[n, c] over o<3, c<4, n<N @-\n"
        "  %5: f64[3, 4] = nest [i, j] = 3.0 - %4[i, j] * (f64(%3[j, i]) * 0.5) over i<3, j<4 @-\n"
        "  out \"y\" %5\n}\n",
        "+= select(%3[c, o], %2[n, o] * %1[n, c], 0.0)", NULL);
}

static void other_uses_are_not(void **state) {
    (void)state;
    check(HEAD
          "  %1: f64[N, 4] = input \"x\" @-\n  %2: f64[N, 3] = input \"d\" @-\n" MASK
          "  %4: f64[3, 4] = nest [o, c] += %2[n, o] * %1[n, c] over o<3, c<4, n<N @-\n"
          "  %5: f64[3, 4] = nest [i, j] = %4[i, j] - %4[i, j] * f64(%3[j, i]) over i<3, j<4 @-\n"
          "  out \"y\" %5\n}\n",
          NULL, "select(");
    check(HEAD "  %1: f64[N, 4] = input \"x\" @-\n  %2: f64[N, 3] = input \"d\" @-\n" MASK
               "  %4: f64[3, 4] = nest [o, c] += %2[n, o] * %1[n, c] over o<3, c<4, n<N @-\n"
               "  %5: f64[3, 4] = nest [i, j] = %4[i, j] * f64(%3[j, i]) over i<3, j<4 @-\n"
               "  out \"y\" %5\n  out \"z\" %4\n}\n",
          NULL, "select(");
    check(HEAD "  %1: f64[N, 4] = input \"x\" @-\n  %2: f64[N, 3] = input \"d\" @-\n" MASK
               "  %4: f64[3, 4] = nest [o, c] += %2[n, o] * %1[n, c] over o<3, c<4, n<N @-\n"
               "  %5: f64[3] = nest [i] += %4[i, j] * f64(%3[k, i]) over i<3, j<4, k<4 @-\n"
               "  out \"y\" %5\n}\n",
          NULL, "%1[n, c], 0.0)");
}

/* Masks that are computed, that are full, or that do not make the term zero. */
static void other_terms_stay(void **state) {
    (void)state;
    check(HEAD "  %1: f64[N, 4] = input \"x\" @-\n  %2: f64[3, 4] = input \"w\" @-\n"
               "  %3: bool[4, 3] = const{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0} @-\n"
               "  %4: f64[3, 4] = nest [o, c] = %2[o, c] * f64(%3[c, o]) over o<3, c<4 @-\n"
               "  %5: f64[N, 3] = nest [n, k] += %1[n, r] * %4[k, r] over n<N, k<3, r<4 @-\n"
               "  out \"y\" %5\n}\n",
          NULL, "select(");
    check(HEAD "  %1: f64[N, 4] = input \"x\" @-\n  %2: f64[3, 4] = input \"w\" @-\n" MASK
               "  %4: f64[3, 4] = nest [o, c] = %2[o, c] + f64(%3[c, o]) over o<3, c<4 @-\n"
               "  %5: f64[N, 3] = nest [n, k] += %1[n, r] * %4[k, r] over n<N, k<3, r<4 @-\n"
               "  out \"y\" %5\n}\n",
          NULL, "select(");
    check(HEAD "  %1: f64[N, 4] = input \"x\" @-\n  %2: f64[N, 3] = input \"d\" @-\n" MASK
               "  %4: f64[3, 4] = nest [o, c] += %2[n, o] * %1[n, c] over o<3, c<4, n<N then acc + "
               "f64(%3[c, o]) @-\n"
               "  out \"y\" %4\n}\n",
          NULL, "select(");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operand_is_masked), cmocka_unit_test(result_is_masked),
        cmocka_unit_test(use_is_masked),     cmocka_unit_test(other_uses_are_not),
        cmocka_unit_test(other_terms_stay),
    };
    return cmocka_run_group_tests_name("sparse", tests, NULL, NULL);
}
