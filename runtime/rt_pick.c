/* k-means++ starts (Arthur and Vassilvitskii, SODA 2007): row j is drawn with probability proportional to the squared
 * distance from the rows before it; the first, and where all distances are 0, uniformly. Distances are computed again for
 * each row: an init has no work memory. */
#include "runtime/rt.h"

#define PICK(name, real)                                                                                               \
    static double nearest_##name(const real *out, int64_t k, const real *row, int64_t d) {                             \
        double best = 0;                                                                                               \
        for (int64_t j = 0; j < k; j++) {                                                                              \
            double s = 0;                                                                                              \
            for (int64_t c = 0; c < d; c++) {                                                                          \
                double t = (double)row[c] - (double)out[j * d + c];                                                    \
                s += t * t;                                                                                            \
            }                                                                                                          \
            best = j == 0 || s < best ? s : best;                                                                      \
        }                                                                                                              \
        return best;                                                                                                   \
    }                                                                                                                  \
    void rt_##name(real *out, const real *x, int64_t n, int64_t d, int64_t k, int64_t seed, int64_t site) {             \
        for (int64_t j = 0; j < k && n; j++) {                                                                         \
            double total = 0, u = rt_random_at(seed, site, j);                                                              \
            for (int64_t r = 0; r < n && j; r++)                                                                       \
                total += nearest_##name(out, j, x + r * d, d);                                                         \
            int64_t row = (int64_t)(u * (double)n);                                                                    \
            if (total > 0) {                                                                                           \
                row = 0;                                                                                               \
                double sum = nearest_##name(out, j, x, d);                                                             \
                while (row < n - 1 && !(sum > u * total)) {                                                            \
                    row++;                                                                                             \
                    sum += nearest_##name(out, j, x + row * d, d);                                                     \
                }                                                                                                      \
            }                                                                                                          \
            for (int64_t c = 0; c < d; c++)                                                                            \
                out[j * d + c] = x[row * d + c];                                                                       \
        }                                                                                                              \
    }
PICK(pick_f32, float)
PICK(pick_f64, double)
