/* rand.c - xoshiro256** (Blackman and Vigna), seeded through splitmix64. */
#include "base/rand.h"

#include <errno.h>
#include <sys/random.h>

#include "base/assert.h"

static uint64_t rand_splitmix(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void rand_init(struct rand *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        r->state[i] = rand_splitmix(&seed);
    }
}

static inline uint64_t rand_rotl(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

uint64_t rand_u64(struct rand *r)
{
    uint64_t *s = r->state;
    uint64_t result = rand_rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rand_rotl(s[3], 45);
    return result;
}

uint64_t rand_below(struct rand *r, uint64_t bound)
{
    ASSERT(bound > 0);
    /* The high half of a 64 x 64 bit product is uniform once the few low products that would give
     * some results one draw too many are thrown away (Lemire 2019). */
    unsigned __int128 product = (unsigned __int128)rand_u64(r) * bound;
    if ((uint64_t)product < bound) {
        uint64_t unfair = -bound % bound;
        while ((uint64_t)product < unfair) {
            product = (unsigned __int128)rand_u64(r) * bound;
        }
    }
    return (uint64_t)(product >> 64);
}

int rand_chance(struct rand *r, double p)
{
    return (double)(rand_u64(r) >> 11) * 0x1p-53 < p;
}

void rand_system(void *out, size_t len)
{
    uint8_t *p = out;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        FATAL_IF(n <= 0, "the kernel gives no randomness");
        p += n;
        len -= (size_t)n;
    }
}
