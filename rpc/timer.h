/* timer.h - many timers of one loop in one heap under one uv timer: deadlines of calls, handshake
 * and keepalive of connections. Milliseconds of uv_now. One thread. */
#ifndef KVD_RPC_TIMER_H
#define KVD_RPC_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/heap.h"

/* Embedded by its owner, zero-initialised; must not move or be freed while set. */
struct rpc_timer {
    struct heap_node node;
    void (*fire)(struct rpc_timer *t); /* the timer is no longer set when it runs */
};

struct timers {
    struct heap heap;
    uv_timer_t handle;
    uint64_t armed_at; /* when the uv timer will fire; UINT64_MAX = not armed */
};

/* Returns 0 or a libuv error. After it the handle must be closed by timers_close. */
int timers_init(struct timers *ts, uv_loop_t *loop);
/* Closes the uv handle (cb runs later, then timers_free may be called). */
void timers_close(struct timers *ts, uv_close_cb cb);
/* Frees the heap's array; timers still set are forgotten. */
void timers_free(struct timers *ts);
/* Sets or moves t to fire at `at_ms`. false when out of memory (t is as before). */
bool timers_set(struct timers *ts, struct rpc_timer *t, uint64_t at_ms);
/* Harmless when not set. */
void timers_cancel(struct timers *ts, struct rpc_timer *t);
static inline bool rpc_timer_is_set(const struct rpc_timer *t)
{
    return t->node.at != 0;
}

#endif
