/* pool.h - numbers of which each belongs to one owner: picked at random, the lower ones last, so
 * that owners who ask for a certain one find those free. Pure. */
#ifndef KVD_APISERVER_POOL_H
#define KVD_APISERVER_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"

struct pool {
    uint32_t count; /* numbers 0 .. count-1 */
    uint32_t lower; /* numbers below are picked only when all others are taken */
    uint8_t *taken; /* a bit for each; NULL = not known: then picks are guesses */
};

/* Makes the bits, all free, in the arena. 0 or ERR_NOMEM. */
int pool_learn(struct pool *p, struct arena *a);
void pool_take(struct pool *p, uint32_t number); /* beyond count: harmless */
/* A number that is not known to be taken, and takes it; false: all are. */
bool pool_pick(struct pool *p, uint32_t random, uint32_t *out);

#endif
