/* passes/peel.c, passes/factor.c: contractions of a mixture run component by component; values
 * stay.
 */
#include "pass_helper.h"

#define HEAD "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N, D, K\n"
#define DATA                                                                                       \
    "  %1: f64[K, D, D] = input \"q\" @-\n  %2: f64[K, D] = input \"m\" @-\n"                      \
    "  %3: f64[N, D] = input \"x\" @-\n"
/* the forms of components at points, and what a derivative adds up */
#define FORMS                                                                                      \
    "  %4: f64[N, K, D] = nest [n, k, i] += %1[k, i, j] * (%3[n, j] - %2[k, j]) over n<N, k<K, "   \
    "i<D, j<D @-\n"                                                                                \
    "  %5: f64[N, K] = nest [n, k] += %4[n, k, i] * %4[n, k, i] over n<N, k<K, i<D @-\n"
#define SUMS                                                                                       \
    "  %8: f64[K, D, D] = nest [k, i, j] += %7[n, k] * %4[n, k, i] * (%3[n, j] - %2[k, j]) over "  \
    "n<N, k<K, i<D, j<D from %1 @-\n"

static const int64_t DIMS[] = {37, 5, 3};

/* The passes keep the values; the text after them has `part` so many times. */
static void check(const char *text, const char *passes, int times, const char *part) {
    Ctx *ctx = ctx_new(0);
    const char *after = graph_text(ctx, check_same(ctx, text, passes, "f", DIMS, WHOLE, 0));
    if (count_of(after, part) != times)
        fail_msg("expected %d times `%s`:\n%s", times, part, after);
    ctx_free(ctx);
}

static void contractions_run_component_by_component(void **state) {
    (void)state;
    const char *forms = HEAD DATA FORMS "  %6: f64[N] = nest [n] += %5[n, k] over n<N, k<K @-\n"
                                        "  out \"y\" %6\n}\n";
    check(forms, "peel", 1, "n K rows 1 ");
    check(forms, "peel", 0, "[N, K, D]");
    check(forms, "peel batch", 1, "n N rows 16 groups 1 ");
}

/* What lies between, and takes one sum a cell, is computed again; the weights are kept. */
static void a_region_computes_forms_again(void **state) {
    (void)state;
    const char *text = HEAD DATA FORMS
        "  %6: f64[N] = nest [n] += %5[n, k] over n<N, k<K @-\n"
        "  %7: f64[N, K] = nest [n, k] = %5[n, k] * %6[n] * f64({k}) over n<N, k<K @-\n" SUMS
        "  out \"y\" %8\n}\n";
    check(text, "peel", 2, "n K rows 1 ");
    check(text, "peel", 1,
          "= batch{\"f.by_K0\" n K rows 1 groups 8 args slice whole slice results slices}");
    check(text, "peel batch", 2, "n N rows 16 groups 1 ");
    check(text, "peel batch", 0, "[N, K, D]");
}

/* Slices of rows do: a row would read all parameters again for a product or two of each. */
static void rows_of_a_layer_stay(void **state) {
    (void)state;
    check(HEAD "  %1: f64[N, D] = input \"x\" @-\n  %2: f64[D, K] = input \"w\" @-\n"
               "  %3: f64[N, K] = nest [n, k] += %1[n, i] * %2[i, k] over n<N, k<K, i<D @-\n"
               "  out \"y\" %3\n}\n",
          "peel", 0, "batch{");
}

/* A sum over components cannot leave them apart. */
static void sums_over_the_axis_stay(void **state) {
    (void)state;
    check(HEAD DATA
          "  %4: f64[N, D] = nest [n, i] += %1[k, i, j] * (%3[n, j] - %2[k, j]) over n<N, i<D, "
          "k<K, j<D @-\n"
          "  out \"y\" %4\n}\n",
          "peel", 0, "batch{");
}

static void one_factors_index_is_summed_first(void **state) {
    (void)state;
    check(HEAD "  %1: f64[N, K, D] = input \"g\" @-\n  %2: f64[K, D, D] = input \"q\" @-\n"
               "  %3: f64[K, D] = input \"s\" @-\n"
               "  %4: f64[K, D] = nest [k, j] += %1[n, k, i] * neg(%2[k, i, j]) over n<N, k<K, "
               "i<D, j<D from %3 @-\n"
               "  out \"y\" %4\n}\n",
          "factor", 1, "over k<K, i<D, j<D from");
    /* every index of the sum is in both factors, or in all of a layer's: nothing to take apart */
    check(HEAD "  %1: f64[N, D] = input \"x\" @-\n  %2: f64[N, K] = input \"g\" @-\n"
               "  %3: f64[D, K] = nest [i, k] += %1[n, i] * %2[n, k] over n<N, k<K, i<D @-\n"
               "  out \"y\" %3\n}\n",
          "factor", 1, "nest");
    check(HEAD "  %1: f64[N, K, D] = input \"x\" @-\n  %2: f64[K] = input \"g\" @-\n"
               "  %3: f64[N, K] = nest [n, k] += %1[n, k, i] * %2[k] over n<N, k<K, i<D @-\n"
               "  out \"y\" %3\n}\n",
          "factor", 1, "nest");
}

/* x' S x: two factors first, if the third is as large as what their sum leaves. */
static void quadratic_forms_are_two_sums(void **state) {
    (void)state;
    const char *form = HEAD "  %1: f64[N, D] = input \"x\" @-\n  %2: f64[D, D] = input \"s\" @-\n  %3: f64[N] = input \"a\" @-\n";
    Ctx *ctx = ctx_new(0);
    check(str_fmt(ctx, "%s  %%4: f64[N] = nest [n] += %%1[n, i] * %%2[i, j] * %%1[n, j] over n<N, i<D, j<D from %%3 @-\n  out \"y\" %%4\n}\n", form),
          "factor", 1, "f64[N, D] = nest [n, j] += %1[n, i] * %2[i, j] over n<N, i<D, j<D");
    check(str_fmt(ctx, "%s  %%4: f64[N] = nest [n] += %%1[n, i] * (%%1[n, j] * %%2[j, i]) over n<N, i<D, j<D @-\n  out \"y\" %%4\n}\n", form),
          "factor", 2, "nest");
    check(str_fmt(ctx, "%s  %%4: f64[D] = nest [j] += %%1[n, i] * %%2[i, j] * %%3[n] over j<D, n<N, i<D @-\n  out \"y\" %%4\n}\n", form),
          "factor", 1, "f64[D] = nest [i] += %1[n, i] * %3[n] over n<N, i<D");
    /* nothing is left to be summed; few terms; the first sum would have indices that the third factor has not */
    check(str_fmt(ctx, "%s  %%4: f64[N, D] = nest [n, j] += %%1[n, i] * %%2[i, j] * %%1[n, j] over n<N, j<D, i<D @-\n  out \"y\" %%4\n}\n", form),
          "factor", 1, "nest");
    check(HEAD "  %1: f64[N, 3] = input \"x\" @-\n  %2: f64[3, 3] = input \"s\" @-\n"
               "  %3: f64[N] = nest [n] += %1[n, i] * %2[i, j] * %1[n, j] over n<N, i<3, j<3 @-\n  out \"y\" %3\n}\n",
          "factor", 1, "nest");
    check(str_fmt(ctx, "%s  %%4: f64[N, D] = nest [n, j] += %%1[n, i] * %%2[i, j] * %%3[n] over n<N, j<D, i<D @-\n  out \"y\" %%4\n}\n", form),
          "factor", 1, "nest");
    ctx_free(ctx);
}

static void a_sum_with_a_scatter_starts_there(void **state) {
    (void)state;
    const char *text =
        HEAD "  %1: f64[K, D] = input \"x\" @-\n  %2: i32[N] = input \"at\" bound K*D @-\n"
             "  %3: f64[N] = input \"y\" @-\n"
             "  %4: f64[K*D] = nest [i] = 0.0 over i<K*D @-\n"
             "  %5: f64[K*D] = scatter_add{at 0}(%4, %2, %3) @-\n"
             "  %6: f64[K, D] = reshape(%5) @-\n"
             "  %7: f64[K, D] = nest [k, i] = %1[k, i] + %6[k, i] over k<K, i<D @-\n"
             "  out \"y\" %7\n}\n";
    check(text, "fuse", 0, "nest");
    check(text, "fuse", 1, "scatter_add");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(contractions_run_component_by_component),
                                       cmocka_unit_test(a_region_computes_forms_again),
                                       cmocka_unit_test(rows_of_a_layer_stay),
                                       cmocka_unit_test(sums_over_the_axis_stay),
                                       cmocka_unit_test(one_factors_index_is_summed_first),
                                       cmocka_unit_test(quadratic_forms_are_two_sums),
                                       cmocka_unit_test(a_sum_with_a_scatter_starts_there)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
