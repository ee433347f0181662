/* wake.c - an eventfd and a flag that saves needless writes to it. */
#include "base/wake.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"

static void wake_on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct wake *w = poll->data;
    uint64_t count;
    ssize_t got = read(w->fd, &count, sizeof(count));
    FATAL_IF(got < 0 && errno != EAGAIN && errno != EINTR, "an eventfd cannot be read");
    /* An exchange, not a store: it takes over what senders published that found the flag set. */
    atomic_exchange(&w->sent, false);
    w->cb(w);
}

int wake_init(struct wake *w, uv_loop_t *loop, void (*cb)(struct wake *w), void *data)
{
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->fd < 0) {
        return -errno;
    }
    atomic_init(&w->sent, false);
    w->cb = cb;
    w->data = data;
    w->closed = NULL;
    int rv = uv_poll_init(loop, &w->poll, w->fd);
    if (rv != 0) {
        close(w->fd);
        return rv;
    }
    w->poll.data = w;
    return uv_poll_start(&w->poll, UV_READABLE, wake_on_readable);
}

void wake_send(struct wake *w)
{
    static const uint64_t one = 1;
    if (atomic_exchange(&w->sent, true)) {
        return;
    }
    ssize_t put;
    do {
        put = write(w->fd, &one, sizeof(one));
    } while (put < 0 && errno == EINTR);
    FATAL_IF(put < 0 && errno != EAGAIN, "an eventfd cannot be written");
}

static void wake_on_closed(uv_handle_t *handle)
{
    struct wake *w = handle->data;
    close(w->fd);
    handle->data = w->data;
    if (w->closed != NULL) {
        w->closed(handle);
    }
}

void wake_close(struct wake *w, uv_close_cb closed)
{
    w->closed = closed;
    uv_close((uv_handle_t *)&w->poll, wake_on_closed);
}
