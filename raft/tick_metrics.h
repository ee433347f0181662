/* tick_metrics.h - how late the raft loop's tick comes: what becomes of heartbeats when the loop
 * is held up. Two gauges for all loops of the process, each the most since it was last read (or
 * since the start), so that one scraper sees every peak once:
 *
 *   kvd_raft_tick_late_seconds_max   the whole delay, as another member would notice it
 *   kvd_raft_tick_held_seconds_max   without the time in which the thread was ready to run and
 *                                    other threads of the machine had the processors: what the
 *                                    loop itself held up, by work, a lock, a disk, a page fault
 *
 * Where the kernel does not tell how long a thread waited for a processor both are the same. */
#ifndef KVD_RAFT_TICK_METRICS_H
#define KVD_RAFT_TICK_METRICS_H

#include <stdint.h>

struct tick_watch {
    uint64_t every_ns;
    uint64_t last_ns;   /* when the last tick came */
    uint64_t waited_ns; /* for a processor, ever, by then */
    int fd;             /* the thread's schedstat; -1 = none */
};

/* Start-up, once; without it nothing is shown. */
void tick_metrics_register(void);
/* On the loop's own thread, before its first tick. */
void tick_watch_open(struct tick_watch *w, uint64_t every_ms, uint64_t now_ns);
/* At the begin of each tick. */
void tick_watch_tick(struct tick_watch *w, uint64_t now_ns);
void tick_watch_close(struct tick_watch *w);

/* The arithmetic of one tick, for tick_watch_tick and tests: into both gauges. */
void tick_metrics_came(uint64_t gap_ns, uint64_t every_ns, uint64_t waited_ns);

#endif
