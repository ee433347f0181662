/* call.h - one gRPC call, as a service sees it.
 *
 * The engine (h2.c over nghttp2, behind this interface so that another framing can replace it)
 * turns streams into calls and calls' answers into frames. A service is a table of rpc_method rows;
 * its callbacks run on the loop thread of the call's connection, one at a time per call.
 *
 * Life of a call: open -> message* -> half_close -> (sends) -> rpc_call_finish -> closed.
 * `closed` comes exactly once, last, whatever happened (finish flushed, RST_STREAM, connection
 * lost, shutdown); after it the pointer is invalid. So a request still in raft keeps its own struct
 * and drops its `call` pointer in closed: a call is detached, never freed under a request.
 *
 * A call may be finished from inside any of its callbacks, or later from the loop. Sends after
 * finish, or after the peer reset the stream, are ignored. */
#ifndef KVD_RPC_CALL_H
#define KVD_RPC_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/buf.h"
#include "base/slice.h"
#include "base/tls.h"

struct rpc_call;

/* One method. Rows live for ever. */
struct rpc_method {
    const char *service; /* "etcdserverpb.KV" */
    const char *method;  /* "Put"; the path is /service/method */
    bool client_streams; /* more than one request message allowed */
    bool server_streams; /* more than one response message allowed */
    /* Request headers arrived. May refuse by rpc_call_finish. NULL = nothing to do. */
    void (*open)(struct rpc_call *call);
    /* One request message, decompressed of its framing. `bytes` are valid until the callback
     * returns. A unary call (client_streams false) gets exactly one; the engine answers others
     * itself. */
    void (*message)(struct rpc_call *call, struct slice bytes);
    /* The client will send no more. NULL = nothing to do (a unary call needs none). */
    void (*half_close)(struct rpc_call *call);
    /* Queued output fell below the low-water mark after having been above high water. */
    void (*writable)(struct rpc_call *call);
    /* Last callback, see above. NULL = nothing to do. */
    void (*closed)(struct rpc_call *call);
};

/* A piece of an outgoing message. With `blob` set the bytes are inside that blob and the engine
 * takes a reference (no copy); with blob NULL they are copied before the call returns. */
struct rpc_part {
    struct slice bytes;
    struct blob *blob;
};

/* Queues one message made of the parts, in order (the gRPC length prefix is added). Response
 * headers go out before the first one. Returns false when the call is over (nothing queued). Never
 * blocks; bounded by the caller through rpc_call_above_high_water. */
bool rpc_call_send(struct rpc_call *call, const struct rpc_part *parts, size_t count);

/* Queues one message of exactly `total` bytes that `produce` writes on demand, as flow control
 * allows: appends between 1 and `room` bytes to `out` per call (room >= 1024) and returns true, or
 * returns false to break the call off (it ends with INTERNAL). `done` is called once when all bytes
 * were produced or the call died; it releases what produce read from. For results larger than
 * 64 KiB: O(64 KiB) of memory per stream. Returns false when the call is over (done is then called
 * before the return). */
bool rpc_call_send_produced(struct rpc_call *call, uint64_t total,
                            bool (*produce)(void *data, struct buf *out, size_t room),
                            void (*done)(void *data), void *data);

/* Sends response headers now although no message is ready: Watch must (frontend-notes section 5).
 */
void rpc_call_send_headers(struct rpc_call *call);

/* Ends the call: trailers with this gRPC status code and message (percent-encoded by the engine),
 * after what is queued. grpc_code 0 with text NULL is success. */
void rpc_call_finish(struct rpc_call *call, int grpc_code, const char *text);
/* The same from a row of the error table; 0 is success. */
void rpc_call_finish_err(struct rpc_call *call, int err);
/* Abrupt end for services that lost the right to answer: RST_STREAM with this HTTP/2 code. */
void rpc_call_reset(struct rpc_call *call, uint32_t h2_code);

/* More than the high-water mark is queued: stop producing until `writable`. */
bool rpc_call_above_high_water(const struct rpc_call *call);
/* A request metadata value (lowercase name); empty slice with data NULL when absent. Valid for the
 * life of the call. Kept: token, authorization, hasleader, client-api-version, grpc-timeout,
 * user-agent. */
struct slice rpc_call_metadata(const struct rpc_call *call, const char *name);
/* Deadline from grpc-timeout on CLOCK_MONOTONIC, 0 = none. The engine enforces it: at expiry it
 * finishes the call with DEADLINE_EXCEEDED by itself and calls closed. */
uint64_t rpc_call_deadline_ns(const struct rpc_call *call);
const struct rpc_method *rpc_call_method(const struct rpc_call *call);
/* "127.0.0.1:51234" of the peer; valid for the life of the call. */
const char *rpc_call_peer(const struct rpc_call *call);
/* Who the peer is by its TLS certificate: NULL without TLS or certificate; look at `verified`.
 * Valid for the life of the call. */
const struct tls_peer *rpc_call_peer_identity(const struct rpc_call *call);
/* The service's own pointer. */
void rpc_call_set_data(struct rpc_call *call, void *data);
void *rpc_call_data(const struct rpc_call *call);
/* The rpc_server's user pointer (see server.h). */
void *rpc_call_server_data(const struct rpc_call *call);

#endif
