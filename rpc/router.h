/* router.h - which handler a path and a method belong to; changed at run time by its loop thread.
 *
 * Of the routes that match a path the one with the longest pattern counts, an exact one before a
 * prefix of the same length. Several routes may have one pattern with different methods. Every
 * rpc_server has a router of its own: rpc_server_router. */
#ifndef KVD_RPC_ROUTER_H
#define KVD_RPC_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "rpc/http.h"

/* A route in the router. Exchanges hold references, so one that is removed stays until the last of
 * them has ended. */
struct router_entry {
    struct http_route route; /* path and methods are copies */
    size_t path_len;
    uint32_t refs;
    bool removed;
};

struct http_router {
    struct router_entry **entries; /* longest pattern first */
    size_t count;
    size_t cap;
};

void http_router_init(struct http_router *r);
/* Removes all. */
void http_router_close(struct http_router *r);
/* Adds a copy of *route, for requests that come from now on. *out (may be NULL) is what
 * http_router_remove takes. ERR_INVALID: the pattern does not begin with '/', there is no handler,
 * or another route has the pattern and one of the methods. ERR_NOMEM: out of memory or more than
 * RPC_ROUTES_MAX. e has the sentence. */
int http_router_add(struct http_router *r, const struct http_route *route,
                    struct router_entry **out, struct errmsg *e);
/* No request is given to its handler any more, also none whose body is still being collected (they
 * get 404). Exchanges the handler has already are its own to end. entry is invalid after it. */
void http_router_remove(struct http_router *r, struct router_entry *entry);

/* ---- for http_dispatch.c ---- */

/* The route for a request; NULL when there is none. When only the method does not fit, NULL and the
 * allowed ones appended to `allow` ("GET, PUT"). */
struct router_entry *http_router_find(const struct http_router *r, struct slice path,
                                      struct slice method, struct buf *allow);
struct router_entry *router_entry_ref(struct router_entry *entry);
void router_entry_unref(struct router_entry *entry); /* NULL is fine */

#endif
