/* times.c - classes of times; see times.h. */
#include "plugins/host/times.h"

/* The highest bit and the two below it: 8..9 is class 8, 10..11 class 9, 16..19 class 12. */
static unsigned times_class(uint64_t ns)
{
    if (ns < 4) {
        return (unsigned)ns;
    }
    unsigned top = 63u - (unsigned)__builtin_clzll(ns);
    unsigned at = top * 4 + (unsigned)(ns >> (top - 2) & 3) - 4;
    return at < TIMES_CLASSES ? at : TIMES_CLASSES - 1;
}

/* The largest time of a class. */
static uint64_t times_upper(unsigned at)
{
    if (at < 4) {
        return at;
    }
    unsigned top = at / 4 + 1;
    return ((uint64_t)(at % 4 + 5) << (top - 2)) - 1;
}

void times_add(struct times *t, uint64_t ns)
{
    atomic_fetch_add_explicit(&t->counts[times_class(ns)], 1, memory_order_relaxed);
    if (ns > atomic_load_explicit(&t->longest_ns, memory_order_relaxed)) {
        atomic_store_explicit(&t->longest_ns, ns, memory_order_relaxed);
    }
}

uint64_t times_quantile(struct times *t, double share)
{
    uint64_t longest = atomic_load_explicit(&t->longest_ns, memory_order_relaxed);
    uint64_t total = 0;
    uint64_t seen = 0;
    for (unsigned i = 0; i < TIMES_CLASSES; i++) {
        total += atomic_load_explicit(&t->counts[i], memory_order_relaxed);
    }
    for (unsigned i = 0; i + 1 < TIMES_CLASSES && total > 0; i++) {
        seen += atomic_load_explicit(&t->counts[i], memory_order_relaxed);
        if ((double)seen >= share * (double)total && seen > 0) {
            return times_upper(i) < longest ? times_upper(i) : longest;
        }
    }
    return longest;
}
