/* wake.h - one thread wakes another's event loop: an eventfd watched by libuv.
 *
 * uv_async_t does the same, but its receiver spins, and then yields, while the sender is still
 * inside uv_async_send: on a machine with few cores that cost a sixth of the CPU of a lone put. */
#ifndef KVD_BASE_WAKE_H
#define KVD_BASE_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>

#include <uv.h>

struct wake {
    uv_poll_t poll;
    int fd;
    _Atomic bool sent; /* and not yet seen */
    void (*cb)(struct wake *w);
    void *data;
    uv_close_cb closed;
};

/* Starts watching; cb runs on the loop's thread, once for any number of wake_send before it. 0 or a
 * libuv error. w must not move. */
int wake_init(struct wake *w, uv_loop_t *loop, void (*cb)(struct wake *w), void *data);
/* Any thread, between wake_init and wake_close. What the caller wrote before is visible to cb. */
void wake_send(struct wake *w);
/* Loop thread. closed (may be NULL) gets a handle whose data is w->data. */
void wake_close(struct wake *w, uv_close_cb closed);

#endif
