/* ir/random: Philox against NumPy and Random123, ranges, moments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "ir/random.h"

typedef struct Known {
    uint64_t counter[4], key[2], words[4];
} Known;

/* The first two from Random123's kat_vectors; the others are NumPy's Philox of seeds 0xdeadbeaf and
 * 0, whose keys are SeedSequence(seed).generate_state(2) and whose counter begins at 1. */
static const Known known[] = {
    {{0, 0, 0, 0},
     {0, 0},
     {0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b}},
    {{~0ull, ~0ull, ~0ull, ~0ull},
     {~0ull, ~0ull},
     {0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0}},
    {{1, 0, 0, 0},
     {0x50312a63d516e24a, 0x4063bc8bca44dc77},
     {0xedc95200e2bd66a5, 0x581d4e43b7682352, 0x4be7278f5e373eab, 0xee47f17991a9e7ea}},
    {{1, 0, 0, 0},
     {0xdb2cd7e7b0f478be, 0xabf4641a2c71ba49},
     {0x399e5b222b82fa9, 0x41fd08c1f00f3bc5, 0x78b8824162ee4d04, 0x176747919e02739d}},
    {{5, 3, 2, 0},
     {7, 0},
     {0xea086484b10bc1f8, 0x786940b008f33923, 0x95048609e924c164, 0xc6e2e128e0b62759}},
};

static void words_are_those_of_others(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        Known t = known[k];
        random_philox(t.counter, t.key);
        for (int j = 0; j < 4; j++)
            assert_true(t.counter[j] == known[k].words[j]);
    }
}

/* The last row of the table: element 4 * 5 + j has word j of block 5. */
static void elements_take_one_word_each(void **state) {
    (void)state;
    RandomKey key = {.seed = 7, .site = 3, .step = 2};
    for (uint64_t j = 0; j < 4; j++)
        assert_true(random_uniform(key, 20 + j) == (double)(known[4].words[j] >> 11) * 0x1p-53);
    for (uint64_t k = 0; k < 1000; k++) {
        double u = random_uniform(key, k), v = random_uniform32(key, k);
        assert_true(u >= 0 && u < 1 && v <= u && u - v < 0x1p-24 && (double)(float)v == v);
        int64_t i = random_int(key, k, 10);
        assert_true(i == (int64_t)(u * 10));
    }
}

static void normal_has_its_moments(void **state) {
    (void)state;
    RandomKey key = {.seed = 1, .site = 2, .step = 3};
    double sum = 0, square = 0;
    enum { N = 20000 };
    for (uint64_t k = 0; k < N; k++) {
        double x = random_normal(key, k);
        sum += x;
        square += x * x;
    }
    assert_true(fabs(sum / N) < 0.03 && fabs(square / N - 1) < 0.04);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_those_of_others),
        cmocka_unit_test(elements_take_one_word_each),
        cmocka_unit_test(normal_has_its_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
