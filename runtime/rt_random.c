/* Counter-based random numbers: the number of an element depends on (seed, site, step) and its global index alone. */
#include <math.h>

#include "runtime/rt.h"

static uint64_t mul_high(uint64_t a, uint64_t b) {
    uint64_t a0 = a & 0xffffffff, a1 = a >> 32, b0 = b & 0xffffffff, b1 = b >> 32;
    uint64_t mid = a1 * b0 + (a0 * b0 >> 32), low = (mid & 0xffffffff) + a0 * b1;
    return a1 * b1 + (mid >> 32) + (low >> 32);
}

void rt_philox(const uint64_t counter[4], const uint64_t key[2], uint64_t out[4]) {
    uint64_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t h0 = mul_high(0xd2e7470ee14c6c93u, c0), l0 = 0xd2e7470ee14c6c93u * c0;
        uint64_t h1 = mul_high(0xca5a826395121157u, c2), l1 = 0xca5a826395121157u * c2;
        c0 = h1 ^ c1 ^ k0;
        c1 = l1;
        c2 = h0 ^ c3 ^ k1;
        c3 = l0;
        k0 += 0x9e3779b97f4a7c15u;
        k1 += 0xbb67ae8584caa73bu;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

static void draw(int64_t seed, int64_t site, int64_t step, int64_t index, uint64_t w[4]) {
    uint64_t counter[4] = {(uint64_t)index, (uint64_t)site, (uint64_t)step, 0}, key[2] = {(uint64_t)seed, 0};
    rt_philox(counter, key, w);
}

static double unit(uint64_t word) { return (double)(word >> 11) * 0x1p-53; }

/* Box and Muller (1958), of the first two words. */
static double normal(const uint64_t w[4]) { return sqrt(-2 * log(1 - unit(w[0]))) * cos(6.283185307179586476925 * unit(w[1])); }

#define FILL(name, type, value)                                                                                        \
    void rt_##name(type *out, int64_t seed, int64_t site, int64_t step, int64_t first, int64_t stride, int64_t n) {      \
        uint64_t w[4];                                                                                                 \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            draw(seed, site, step, first + i * stride, w);                                                             \
            out[i] = value;                                                                                            \
        }                                                                                                              \
    }
FILL(random_uniform_f64, double, unit(w[0]))
FILL(random_uniform_f32, float, (float)(w[0] >> 40) * 0x1p-24f)
FILL(random_normal_f64, double, normal(w))
FILL(random_normal_f32, float, (float)normal(w))

#define FILL_INT(name, type)                                                                                           \
    void rt_##name(type *out, int64_t seed, int64_t site, int64_t step, int64_t first, int64_t stride, int64_t n,        \
                   int64_t k) {                                                                                        \
        uint64_t w[4];                                                                                                 \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            draw(seed, site, step, first + i * stride, w);                                                             \
            out[i] = (type)mul_high(w[0], (uint64_t)k);                                                                \
        }                                                                                                              \
    }
FILL_INT(random_int_i32, int32_t)
FILL_INT(random_int_i64, int64_t)
