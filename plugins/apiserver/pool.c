/* pool.c - picking numbers. */
#include "plugins/apiserver/pool.h"

#include "base/err.h"

int pool_learn(struct pool *p, struct arena *a)
{
    p->taken = arena_zalloc(a, (size_t)p->count / 8 + 1);
    return p->taken == NULL ? ERR_NOMEM : 0;
}

void pool_take(struct pool *p, uint32_t number)
{
    if (p->taken != NULL && number < p->count) {
        p->taken[number / 8] |= (uint8_t)(1u << number % 8);
    }
}

/* The first free one of [from, from + count), beginning somewhere inside. */
static bool pool_search(const struct pool *p, uint32_t from, uint32_t count, uint32_t random,
                        uint32_t *out)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t n = from + (uint32_t)(((uint64_t)random + i) % count);
        if (!(p->taken[n / 8] & 1u << n % 8)) {
            *out = n;
            return true;
        }
    }
    return false;
}

bool pool_pick(struct pool *p, uint32_t random, uint32_t *out)
{
    uint32_t upper = p->count - p->lower;
    if (p->taken == NULL) {
        *out = p->lower + random % upper;
        return true;
    }
    if (pool_search(p, p->lower, upper, random, out) || pool_search(p, 0, p->lower, random, out)) {
        pool_take(p, *out);
        return true;
    }
    return false;
}
