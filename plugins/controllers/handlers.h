/* handlers.h - a controller's handlers on the informers, and how they add keys to its queues. */
#ifndef KVD_CONTROLLERS_HANDLERS_H
#define KVD_CONTROLLERS_HANDLERS_H

#include "plugins/client/work.h"

#define HANDLERS_MAX 6u

struct handlers {
    struct client term; /* set it first */
    struct informer_handler *items[HANDLERS_MAX];
    size_t count;
};

/* Adds one, at most HANDLERS_MAX. 0 or a reason of kvplugin.h. */
static inline int handlers_add(struct handlers *h, struct informer *i, informer_changed_fn *changed,
                               void *data)
{
    int rc = h->count == HANDLERS_MAX ? KVP_INVALID
                                      : informer_on(i, changed, NULL, data, &h->items[h->count]);
    h->count += rc == 0;
    return rc;
}

static inline void handlers_off(struct handlers *h)
{
    while (h->count > 0) {
        informer_off(h->items[--h->count]);
    }
}

/* A change that cannot be remembered would be missed for ever, so the term ends: the next one is
 * told everything. reason: what works_add returned. */
static inline void handlers_check(const struct handlers *h, int reason)
{
    if (reason != 0 && reason != KVP_STOPPED) {
        /* In parentheses: test frameworks have a macro fail. */
        (h->term.host->fail)(h->term.ctx, "a change could not be remembered: out of memory");
    }
}

/* works_add and works_add_object for handlers: nothing is missed. delay_ms 0 = now. */
static inline void handlers_queue(const struct handlers *h, struct works *q, struct slice key,
                                  uint64_t delay_ms)
{
    handlers_check(h, delay_ms == 0 ? works_add(q, key) : works_add_after(q, key, delay_ms));
}

static inline void handlers_queue_object(const struct handlers *h, struct works *q,
                                         const struct object *o)
{
    handlers_check(h, works_add_object(q, o));
}

#endif
