/* Random layers of networks, of the extents at which passes begin to care for caches (with a small
 * `--cache=`). */
#ifndef CNNC_TESTS_FUZZ_LAYER_H
#define CNNC_TESTS_FUZZ_LAYER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct RandomLayer {
    char text[2000]; /* def f[N](...), of small integers: every sum is exact in f32 */
    bool single;
} RandomLayer;

void random_layer(RandomLayer *l, uint64_t seed);

#endif
