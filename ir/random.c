#include "ir/random.h"

#include <math.h>

/* The upper 64 bits of a product. */
static uint64_t mul_high(uint64_t a, uint64_t b) {
    uint64_t a0 = a & 0xffffffff, a1 = a >> 32, b0 = b & 0xffffffff, b1 = b >> 32;
    uint64_t mid = a1 * b0 + (a0 * b0 >> 32), low = (mid & 0xffffffff) + a0 * b1;
    return a1 * b1 + (mid >> 32) + (low >> 32);
}

void random_philox(uint64_t c[4], uint64_t k[2]) {
    const uint64_t m0 = 0xd2e7470ee14c6c93u, m1 = 0xca5a826395121157u;
    for (int round = 0; round < 10; round++) {
        uint64_t hi0 = mul_high(m0, c[0]), lo0 = m0 * c[0], hi1 = mul_high(m1, c[2]),
                 lo1 = m1 * c[2];
        c[0] = hi1 ^ c[1] ^ k[0];
        c[2] = hi0 ^ c[3] ^ k[1];
        c[1] = lo1;
        c[3] = lo0;
        k[0] += 0x9e3779b97f4a7c15u;
        k[1] += 0xbb67ae8584caa73bu;
    }
}

static double unit(uint64_t word) { return (double)(word >> 11) * 0x1p-53; }

/* Words first .. first + n - 1 of the stream, all of one block. */
static void draw(RandomKey k, uint64_t first, int n, uint64_t *words) {
    uint64_t block[4] = {first / 4, k.site, k.step, 0};
    random_philox(block, (uint64_t[2]){k.seed, 0});
    for (int j = 0; j < n; j++)
        words[j] = block[first % 4 + (uint64_t)j];
}

double random_uniform(RandomKey k, uint64_t index) {
    uint64_t w;
    draw(k, index, 1, &w);
    return unit(w);
}

double random_uniform32(RandomKey k, uint64_t index) {
    uint64_t w;
    draw(k, index, 1, &w);
    return (double)(w >> 40) * 0x1p-24;
}

double random_normal(RandomKey k, uint64_t index) {
    uint64_t w[2];
    draw(k, 2 * index, 2, w);
    return sqrt(-2 * log(1 - unit(w[0]))) * cos(6.283185307179586476925 * unit(w[1]));
}

int64_t random_int(RandomKey k, uint64_t index, int64_t below) {
    uint64_t w;
    draw(k, index, 1, &w);
    return (int64_t)mul_high(w, (uint64_t)below);
}
