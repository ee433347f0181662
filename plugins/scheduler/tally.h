/* tally.h - numbers by topology: how much of something is at (topology key, value). Private to
 * rules and their cycle. */
#ifndef KVD_SCHEDULER_TALLY_H
#define KVD_SCHEDULER_TALLY_H

#include "base/alloc.h"
#include "base/hashmap.h"

struct sched_tally {
    struct hashmap map;
    struct arena *arena;      /* of entries and their texts */
    size_t nonzero;           /* entries that are not 0 */
    struct sched_tally *next; /* of the cycle's, which closes them all */
};

struct sched_tally_entry {
    struct hash_node node;
    struct slice key, value;
    int64_t n;
};

void sched_tally_init(struct sched_tally *t, struct arena *arena);
void sched_tally_close(struct sched_tally *t); /* entries are the arena's */
/* Adds n, also 0: then there is an entry. Texts are copied. False when out of memory. */
bool sched_tally_add(struct sched_tally *t, struct slice key, struct slice value, int64_t n);
/* NULL: nothing was ever added there. */
struct sched_tally_entry *sched_tally_find(const struct sched_tally *t, struct slice key,
                                           struct slice value);
/* 0 where there is none. */
int64_t sched_tally_get(const struct sched_tally *t, struct slice key, struct slice value);
/* The lowest number of all entries; INT64_MAX when there are none. */
int64_t sched_tally_min(const struct sched_tally *t);

#endif
