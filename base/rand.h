/* rand.h - a small seeded generator (xoshiro256**), and the system's randomness.
 * Simulation code draws only from a struct rand; ids that must be unguessable use rand_system. */
#ifndef KVD_BASE_RAND_H
#define KVD_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

struct rand {
    uint64_t state[4];
};

void rand_init(struct rand *r, uint64_t seed);
uint64_t rand_u64(struct rand *r);
/* Uniform in [0, bound); bound > 0. */
uint64_t rand_below(struct rand *r, uint64_t bound);
/* True with probability p (0..1). */
int rand_chance(struct rand *r, double p);
/* Fills with kernel randomness; never fails (aborts when the kernel has none). */
void rand_system(void *out, size_t len);

#endif
