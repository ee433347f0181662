/* times.h - how long callbacks took: counts in classes of a quarter of a power of two.
 *
 * One thread adds, any thread reads. A class's upper bound is at most a quarter above what was
 * added, so quantiles are as exact as an operator needs; sum and longest are exact. 1.3 KiB. */
#ifndef KVD_PLUGINS_HOST_TIMES_H
#define KVD_PLUGINS_HOST_TIMES_H

#include <stdatomic.h>
#include <stdint.h>

/* Four for each power of two up to 2^41 ns, 36 minutes; longer times share the last. */
#define TIMES_CLASSES 160u

struct times {
    atomic_uint_fast64_t counts[TIMES_CLASSES];
    atomic_uint_fast64_t longest_ns;
};

/* Zeroed memory is an empty struct times. */
void times_add(struct times *t, uint64_t ns);
/* The time that this share (0..1) of all did not exceed; 0 without any. */
uint64_t times_quantile(struct times *t, double share);

#endif
