/* carrier.h - how an answer gets to whoever waits for it: an HTTP client, or another plugin that
 * asked by the objects group of kvplugin.h. The verbs know exchange.h only. */
#ifndef KVD_APISERVER_CARRIER_H
#define KVD_APISERVER_CARRIER_H

#include "plugins/apiserver/exchange.h"

struct carrier {
    bool speaks_http; /* else errors are Status objects, whatever HTTP would say */
    /* The head of the answer. False: it cannot be given. */
    bool (*respond)(struct exchange *ex, int code, const char *content_type);
    /* Hands on what lies in out behind sent; true when all of it was taken. */
    bool (*hand_on)(struct exchange *ex);
    /* Nothing follows out, all of which was handed on. */
    void (*finish)(struct exchange *ex);
    /* A stream that cannot go on. */
    void (*break_off)(struct exchange *ex);
    /* Around the bytes of one event's object in out. */
    void (*event_begin)(struct exchange *ex, const char *type, int64_t revision);
    void (*event_end)(struct exchange *ex);
};

/* Exchanges for one and for the other; NULL = out of memory. Parts of r that are needed later are
 * copied. */
struct exchange *carrier_http_begin(struct apiserver *api, struct kvp_http *x,
                                    const struct kvp_http_request *r);
struct exchange *carrier_call_begin(struct apiserver *api, struct kvp_call *c,
                                    const struct kvp_object_request *r);

/* The exchange of a call that has not been answered; NULL = none. */
struct exchange *carrier_call_find(struct apiserver *api, struct kvp_call *c);
/* Its asker is gone: as exchange_closed. */
void carrier_call_canceled(struct exchange *ex);
/* Before the plugin ends: frees what was answered and not freed yet. */
void carrier_call_close(struct apiserver *api);

#endif
