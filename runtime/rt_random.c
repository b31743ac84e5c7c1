/* Counter-based random numbers, as in ir/random.h: the number of an element depends on (seed, site, step) and its global index
 * alone. */
#include <math.h>

#include "runtime/rt.h"

__extension__ typedef unsigned __int128 Wide;

static uint64_t mul_high(uint64_t a, uint64_t b) { return (uint64_t)((Wide)a * b >> 64); }

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

/* The block with word `word`, if it is not the one that is there. */
typedef struct Block {
    uint64_t number, w[4];
} Block;

static inline void draw(Block *b, int64_t seed, int64_t site, int64_t step, uint64_t word) {
    if (b->number == word / 4)
        return;
    uint64_t counter[4] = {word / 4, (uint64_t)site, (uint64_t)step, 0}, key[2] = {(uint64_t)seed, 0};
    rt_philox(counter, key, b->w);
    b->number = word / 4;
}

static double unit(uint64_t word) { return (double)(word >> 11) * 0x1p-53; }

double rt_random_at(int64_t seed, int64_t site, int64_t index) {
    Block b = {.number = UINT64_MAX};
    draw(&b, seed, site, 0, (uint64_t)index);
    return unit(b.w[(uint64_t)index % 4]);
}

/* Box and Muller (1958), of two words. */
static double normal(const uint64_t *w) { return sqrt(-2 * log(1 - unit(w[0]))) * cos(6.283185307179586476925 * unit(w[1])); }

/* w: the words of an element, of which each takes `words`. */
#define FILL(name, type, words, value)                                                                                 \
    void rt_##name(type *out, int64_t seed, int64_t site, int64_t step, int64_t first, int64_t stride, int64_t n) {      \
        Block b = {.number = UINT64_MAX};                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            uint64_t at = (uint64_t)(first + i * stride) * (words);                                                    \
            draw(&b, seed, site, step, at);                                                                            \
            const uint64_t *w = b.w + at % 4;                                                                          \
            out[i] = value;                                                                                            \
        }                                                                                                              \
    }
FILL(random_uniform_f64, double, 1, unit(*w))
FILL(random_uniform_f32, float, 1, (float)(*w >> 40) * 0x1p-24f)
FILL(random_normal_f64, double, 2, normal(w))
FILL(random_normal_f32, float, 2, (float)normal(w))

#define FILL_INT(name, type)                                                                                           \
    void rt_##name(type *out, int64_t seed, int64_t site, int64_t step, int64_t first, int64_t stride, int64_t n,        \
                   int64_t k) {                                                                                        \
        Block b = {.number = UINT64_MAX};                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            uint64_t at = (uint64_t)(first + i * stride);                                                              \
            draw(&b, seed, site, step, at);                                                                            \
            out[i] = (type)mul_high(b.w[at % 4], (uint64_t)k);                                                         \
        }                                                                                                              \
    }
FILL_INT(random_int_i32, int32_t)
FILL_INT(random_int_i64, int64_t)
