/* zone.h - how fast pods may be evicted from the nodes of a zone. Pure: the clock is the caller's.
 *
 * When much of a zone is not ready the cause is more likely the network than the nodes, and
 * evicting everything would make it worse. So nodes are tainted NoExecute one at a time, at a rate
 * that depends on the state of the zone; when all zones are down, not at all. */
#ifndef KVD_CONTROLLERS_ZONE_H
#define KVD_CONTROLLERS_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum zone_state {
    ZONE_INITIAL, /* not looked at yet */
    ZONE_NORMAL,
    ZONE_PARTIAL, /* more than two nodes are not ready, and too large a part of all */
    ZONE_FULL     /* no node is ready */
};

struct zone_conf {
    double rate;           /* nodes a second */
    double secondary_rate; /* in a large zone that is partially disrupted */
    double threshold;      /* part of the nodes that makes a disruption */
    int64_t large;         /* zones with more nodes are large */
};

enum zone_state zone_state(size_t ready, size_t not_ready, const struct zone_conf *conf);
/* Nodes a second in a zone of so many nodes in this state, while not all zones are down. */
double zone_rate(enum zone_state state, size_t nodes, const struct zone_conf *conf);

/* One node every 1/rate seconds. */
struct zone_limiter {
    double rate;      /* 0 = never */
    uint64_t next_ms; /* not before */
};
/* The rate from now on. A wait that is on is begun anew at the new rate. */
void zone_limiter_set(struct zone_limiter *l, double rate, uint64_t now_ms);
/* True: one node may be taken now; the next one later. */
bool zone_limiter_take(struct zone_limiter *l, uint64_t now_ms);

#endif
