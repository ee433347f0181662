/* lane_flow.h - how much one side has under way to the other, and who wakes whom.
 *
 * The producer adds bytes and asks lane_flow_open before more; when the answer is no, the consumer
 * finds out by lane_flow_taken that it must tell. Exactly one telling follows each no, and at most
 * one is under way, so it may be one message embedded in its owner. Two threads, no lock. */
#ifndef KVD_PLUGINS_HOST_LANE_FLOW_H
#define KVD_PLUGINS_HOST_LANE_FLOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/limits.h"

enum lane_flow_state { LANE_FLOW_OPEN, LANE_FLOW_BLOCKED, LANE_FLOW_TOLD };

struct lane_flow {
    atomic_size_t bytes;
    atomic_int state;
};

/* Producer: n more are under way. */
static inline void lane_flow_add(struct lane_flow *f, size_t n)
{
    atomic_fetch_add(&f->bytes, n);
}

/* Producer: may more be sent? false: the consumer will tell. */
static inline bool lane_flow_open(struct lane_flow *f)
{
    if (atomic_load(&f->bytes) < PLUGIN_FLOW_HIGH_BYTES) {
        return true;
    }
    int state = LANE_FLOW_OPEN;
    if (!atomic_compare_exchange_strong(&f->state, &state, LANE_FLOW_BLOCKED) &&
        state == LANE_FLOW_TOLD) {
        return false; /* on its way */
    }
    /* The consumer may have taken all of it before it could see the state: then nobody will tell.
     */
    state = LANE_FLOW_BLOCKED;
    return atomic_load(&f->bytes) <= PLUGIN_FLOW_LOW_BYTES &&
           atomic_compare_exchange_strong(&f->state, &state, LANE_FLOW_OPEN);
}

/* Consumer: n have been used up. true: tell the producer now. */
static inline bool lane_flow_taken(struct lane_flow *f, size_t n)
{
    size_t left = atomic_fetch_sub(&f->bytes, n) - n;
    int state = LANE_FLOW_BLOCKED;
    return left <= PLUGIN_FLOW_LOW_BYTES &&
           atomic_compare_exchange_strong(&f->state, &state, LANE_FLOW_TOLD);
}

/* Producer: has been told. */
static inline void lane_flow_told(struct lane_flow *f)
{
    atomic_store(&f->state, LANE_FLOW_OPEN);
}

#endif
