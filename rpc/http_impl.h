/* http_impl.h - the inside of a plain HTTP exchange, for http.c and http_dispatch.c (meaning) and
 * for h1.c and h2_exchange.c (bytes). Private to rpc/. */
#ifndef KVD_RPC_HTTP_IMPL_H
#define KVD_RPC_HTTP_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/slice.h"
#include "rpc/http.h"
#include "rpc/router.h"
#include "rpc/server_impl.h"
#include "rpc/timer.h"

/* What moves the bytes of an exchange: HTTP/1 or an HTTP/2 stream. */
struct http_carrier {
    /* The head: `lines` is "Name: value\r\n" for each header but those about length and connection.
     * `last`: no byte of a body follows. */
    void (*begin)(struct http_request *req, int status, struct slice lines, uint64_t body_bytes,
                  bool last);
    /* Queues `total` bytes > 0; sets req->full. false: out of memory, the carrier ends it. */
    bool (*write)(struct http_request *req, const struct rpc_part *parts, size_t count,
                  size_t total);
    /* No more will be written. The request may be gone after it. */
    void (*finish)(struct http_request *req);
    /* Breaks the answer off. The request may be gone after it. */
    void (*abort)(struct http_request *req);
    /* "100 Continue". */
    void (*go_on)(struct http_request *req);
    /* From the flush: the body is wanted (again). */
    void (*resume)(struct http_request *req);
};

struct http_request {
    struct rpc_server *server;
    struct conn *conn;
    const struct http_carrier *carrier;
    struct slice method;
    struct slice path;
    struct slice query;
    struct slice lines; /* "name:value\n" for each header, names in lower case */
    int version;
    uint64_t declared; /* Content-Length; HTTP_BYTES_UNKNOWN = chunked or none */

    struct slice cors;     /* value of Access-Control-Allow-Origin; NULL = none */
    bool head_only;        /* HEAD: headers as for GET, no body */
    bool expects_continue; /* "Expect: 100-continue" was not answered yet */
    bool body_ended;       /* all of it has been delivered, or there is none */
    bool must_close;       /* what follows on an HTTP/1 connection cannot be trusted */

    struct router_entry *route; /* referenced */
    bool whole;                 /* the body is being collected for the handler */
    bool handed;                /* the handler was called: it ends the exchange or is told closed */
    bool reading;               /* http_read_body was called */
    bool paused;
    bool end_told;
    bool too_large; /* declared more than its handler takes */
    bool due_body;  /* in server->http_due for its body, its writable callback */
    bool due_writable;
    uint64_t body_max;
    uint64_t received;
    size_t charged;  /* of `body`, to the server's input account */
    struct buf body; /* collected */
    struct rpc_timer timer;
    struct list due;

    bool begun;
    bool bodiless; /* this answer has no body: HEAD, 204, 304 */
    bool finished; /* the handler has no more say */
    bool full;     /* set by the carrier's write, cleared by http_room */
    bool broken;   /* the carrier could not queue: closed follows */
    uint64_t promised;
    uint64_t sent;

    void *data;
    void (*on_body)(struct http_request *req, struct slice bytes, bool end);
    void (*on_writable)(struct http_request *req);
    void (*on_closed)(struct http_request *req);
};

/* ---- for carriers ---- */

/* Zeroes and fills in. */
void http_request_init(struct http_request *req, struct conn *c,
                       const struct http_carrier *carrier);
/* The head has arrived: parts, version, declared and body_ended are set. Finds the route and calls
 * the handler, collects the body, or answers itself. The request may be gone after it. */
void http_dispatch(struct http_request *req);
/* May body bytes be delivered now? Not while the handler does not want them. */
bool http_wants_body(const struct http_request *req);
/* Part of the body; not when http_wants_body says no. The request may be gone after it. */
void http_body_data(struct http_request *req, struct slice bytes);
/* The body is complete, all of it was delivered. The request may be gone after it. */
void http_body_end(struct http_request *req);
/* The queue fell to the low-water mark. */
void http_room(struct http_request *req);
/* The request cannot go on for a reason of the peer's: the handler is told closed; the peer gets
 * this status, or sees its answer broken off. The request may be gone after it. */
void http_fail(struct http_request *req, int status);
/* The carrier is done with it, or the peer is gone: tells closed when that is due, frees what is
 * held. Harmless a second time. */
void http_gone(struct http_request *req);

/* ---- between http.c, http_dispatch.c and server.c ---- */

/* Runs due callbacks (from server_flush). */
void http_run_due(struct http_request *req);
/* Puts the request into server->http_due. */
void http_schedule(struct http_request *req);
/* Ends the handler's say; the rest is freed by http_gone. */
void http_end(struct http_request *req);
/* "Not Found" for 404; "" for codes nobody uses here. */
const char *http_status_text(int status);

#endif
