/* timer.c - the heap of timers; see timer.h.
 *
 * Deadlines mostly die unfired, so the uv timer is only moved when a new one is earlier; firing too
 * early finds nothing due and arms again. */
#include "rpc/timer.h"

#include <stddef.h>

#include "base/list.h"

static void timers_arm(struct timers *ts);

static void timers_fire(uv_timer_t *handle)
{
    struct timers *ts = handle->data;
    ts->armed_at = UINT64_MAX;
    /* At most as many as there were: callbacks that set timers for "now" cannot keep us here. */
    size_t left = ts->heap.len;
    uint64_t now = uv_now(handle->loop);
    struct heap_node *n;
    while (left-- > 0 && (n = heap_min(&ts->heap)) != NULL && (uint64_t)n->key <= now) {
        heap_remove(&ts->heap, n);
        struct rpc_timer *t = LIST_ENTRY(n, struct rpc_timer, node);
        t->fire(t);
    }
    timers_arm(ts);
}

static void timers_arm(struct timers *ts)
{
    struct heap_node *n = heap_min(&ts->heap);
    if (n == NULL || (uint64_t)n->key >= ts->armed_at ||
        uv_is_closing((uv_handle_t *)&ts->handle)) {
        return;
    }
    uint64_t now = uv_now(ts->handle.loop);
    uint64_t at = (uint64_t)n->key;
    ts->armed_at = at;
    /* Never 0: libuv runs a timer that is due again within the same turn, for ever if need be. */
    uv_timer_start(&ts->handle, timers_fire, at > now ? at - now : 1, 0);
}

int timers_init(struct timers *ts, uv_loop_t *loop)
{
    heap_init(&ts->heap);
    ts->armed_at = UINT64_MAX;
    int rv = uv_timer_init(loop, &ts->handle);
    ts->handle.data = ts;
    return rv;
}

void timers_close(struct timers *ts, uv_close_cb cb)
{
    uv_close((uv_handle_t *)&ts->handle, cb);
}

void timers_free(struct timers *ts)
{
    heap_close(&ts->heap);
}

bool timers_set(struct timers *ts, struct rpc_timer *t, uint64_t at_ms)
{
    int64_t key = at_ms > INT64_MAX ? INT64_MAX : (int64_t)at_ms;
    if (!heap_set(&ts->heap, &t->node, key)) {
        return false;
    }
    timers_arm(ts);
    return true;
}

void timers_cancel(struct timers *ts, struct rpc_timer *t)
{
    heap_remove(&ts->heap, &t->node);
}
