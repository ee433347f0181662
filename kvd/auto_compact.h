/* auto_compact.h - when and to which revision history is compacted by itself (contract C-07, C-08).
 *
 * periodic: keeps the history of a period. A sample of the revision is taken every interval / 10,
 * interval being the shorter of period and one hour; the first compaction comes after a whole
 * period, then once per interval, to the revision seen one period ago; a failed one is repeated
 * after interval / 10. revision: every five minutes to the current revision minus what is kept. */
#ifndef KVD_KVD_AUTO_COMPACT_H
#define KVD_KVD_AUTO_COMPACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvd/config.h"

struct auto_compact {
    enum kvd_compaction_mode mode;
    uint64_t period_ms; /* 0 = off */
    int64_t keep;       /* 0 = off */
    uint64_t tick_ms;   /* between calls of auto_compact_tick; 0 = off */
    int64_t *samples;   /* a circle, oldest at `first`, one per tick */
    size_t sample_cap;
    size_t sample_count;
    size_t first;
    uint64_t since_ms; /* of the last success, or start */
    uint64_t wait_ms;  /* after it */
    int64_t last;      /* revision of the last success */
};

/* Off when the settings say so. false = out of memory. */
bool auto_compact_set(struct auto_compact *a, enum kvd_compaction_mode mode, uint64_t period_ms,
                      int64_t keep);
/* Starts to count: a new leader knows one sample, the present revision. */
void auto_compact_restart(struct auto_compact *a, uint64_t now_ms, int64_t revision);
void auto_compact_free(struct auto_compact *a);
/* To be called every tick_ms on the leader: the revision to compact to now, 0 = none. */
int64_t auto_compact_tick(struct auto_compact *a, uint64_t now_ms, int64_t revision);
/* The compaction worked, or was done already. */
void auto_compact_done(struct auto_compact *a, uint64_t now_ms, int64_t revision);

#endif
