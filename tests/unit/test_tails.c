/* The tails against 50-digit values (mpmath: betainc regularized; findroot for quantiles). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>

#include "driver/tails.h"

typedef struct Row {
    double x, df, want;
} Row;

static void close_to(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance * fabs(want)))
        fail_msg("got %.17g, expected %.17g", got, want);
}

static const Row tails[] = {
#include "tests/unit/tails_two_sided.inc"
};
static const Row quantiles[] = {
#include "tests/unit/tails_quantiles.inc"
};

static void test_tails(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof tails / sizeof *tails; k++) {
        bool large = tails[k].df > 1e5 && !isinf(tails[k].df); /* df / (df + t^2) loses digits */
        double tolerance = large ? 1e-10 : 1e-12;
        close_to(tail_two_sided(tails[k].x, tails[k].df), tails[k].want, tolerance);
        close_to(tail_two_sided(-tails[k].x, tails[k].df), tails[k].want, tolerance);
    }
}

static void test_quantiles(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof quantiles / sizeof *quantiles; k++)
        close_to(quantile_two_sided(quantiles[k].x, quantiles[k].df), quantiles[k].want, 1e-13);
}

static void test_borders(void **state) {
    (void)state;
    assert_true(tail_two_sided(0, 5) == 1 && tail_two_sided(0, INFINITY) == 1);
    assert_true(tail_two_sided(INFINITY, 5) == 0 && tail_two_sided(-INFINITY, NAN) == 0);
    assert_true(isnan(tail_two_sided(NAN, 5)) && isnan(tail_two_sided(NAN, INFINITY)));
    assert_true(tail_two_sided(1e200, 3) >= 0 && tail_two_sided(1e200, 3) < 1e-290);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tails),
                                       cmocka_unit_test(test_quantiles),
                                       cmocka_unit_test(test_borders)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
