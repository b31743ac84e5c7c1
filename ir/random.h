/* Counter-based random numbers, as the interpreters and the runtime draw them: Philox4x64-10
 * (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). Word i of a stream is word i % 4
 * of the block with counter {i / 4, site, step, 0} and key {seed, 0}. */
#ifndef CNNC_IR_RANDOM_H
#define CNNC_IR_RANDOM_H

#include <stdint.h>

typedef struct RandomKey {
    uint64_t seed, site, step;
} RandomKey;

void random_philox(uint64_t counter[4], uint64_t key[2]); /* the four words replace the counter */
double random_uniform(RandomKey k, uint64_t index); /* (word >> 11) * 2^-53, of word `index` */
double random_uniform32(RandomKey k,
                        uint64_t index); /* (word >> 40) * 2^-24: the same rounded down to f32 */
double random_normal(RandomKey k, uint64_t index); /* Box and Muller, of words 2 index and 2 index + 1 */
int64_t random_int(RandomKey k, uint64_t index, int64_t below); /* upper half of word * below */

#endif
