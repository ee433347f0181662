/* handlers.h - a controller's handlers on the informers, taken off together at its end. */
#ifndef KVD_CONTROLLERS_HANDLERS_H
#define KVD_CONTROLLERS_HANDLERS_H

#include "plugins/client/informer.h"

#define HANDLERS_MAX 6u

struct handlers {
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

#endif
