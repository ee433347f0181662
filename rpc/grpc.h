/* grpc.h - calls from the framing's side: what h2.c tells about a stream. Private to rpc/.
 *
 *   grpc_new, grpc_header*, grpc_headers_end, grpc_data*, grpc_end, grpc_closed, (grpc_free)
 *
 * struct rpc_call is laid open for h2.c, intake.c and grpc.c only. */
#ifndef KVD_RPC_GRPC_H
#define KVD_RPC_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"
#include "rpc/call.h"
#include "rpc/flow.h"
#include "rpc/h2.h"
#include "rpc/intake.h"
#include "rpc/server_impl.h"
#include "rpc/timer.h"

struct h2_head;

/* Header values kept for the life of the call. Those from KEPT_PATH on only to word a refusal. */
enum grpc_kept {
    KEPT_TOKEN,
    KEPT_AUTHORIZATION,
    KEPT_HASLEADER,
    KEPT_CLIENT_API_VERSION,
    KEPT_GRPC_TIMEOUT,
    KEPT_USER_AGENT,
    KEPT_PATH,
    KEPT_METHOD,
    KEPT_CONTENT_TYPE,
    KEPT_GRPC_ENCODING,
    KEPT_AUTHORITY,
    KEPT_COUNT
};

/* Most calls' kept values fit here; others move to a block of their own. */
#define CALL_KEPT_INLINE_BYTES 96

struct rpc_call {
    struct h2_stream stream;
    struct rpc_server *server;
    struct conn *conn;
    const struct rpc_method *method;
    void *data;

    bool got_path, got_method, got_content_type; /* seen at all */
    bool is_grpc;                                /* content-type is application/grpc */
    bool headers_too_large;
    bool headers_out_of_memory;
    bool opened;        /* the service was told; it will be told closed */
    bool headers_sent;  /* submitted */
    bool finished;      /* status decided: the service may not send any more */
    bool trailers_sent; /* submitted */
    bool closed;        /* inside or after the last callback */
    bool has_deadline;
    bool producing;   /* inside a producer: the queue must stay as it is */
    bool drop_output; /* it is to be dropped when the producer returns */
    bool http;        /* it may turn out to be a plain HTTP request */

    struct h2_head *head; /* all headers, when it looks like one (h2_exchange.h); else NULL */

    uint32_t header_count;
    size_t header_bytes;
    uint64_t deadline_ns;
    struct rpc_timer deadline;
    struct list writable; /* server->writable */

    struct intake in;
    struct flow out;

    int status;
    char *status_text; /* percent-encoded, owned; NULL = none */

    struct {
        uint32_t offset;
        uint32_t len;
        bool present;
    } kept[KEPT_COUNT];
    uint8_t *kept_block; /* NULL: kept_inline */
    size_t kept_len;
    size_t kept_cap;
    uint8_t kept_inline[CALL_KEPT_INLINE_BYTES];
};

/* A stream opens. NULL when out of memory; counts in server->call_count. */
struct rpc_call *grpc_new(struct rpc_server *s, struct conn *c);
/* One request header field. */
void grpc_header(struct rpc_call *call, struct slice name, struct slice value);
/* All were seen; stream.half_closed tells whether the stream ends with them. */
void grpc_headers_end(struct rpc_call *call);
/* Part of the body; `last`: the stream ends with it (grpc_end still follows). */
void grpc_data(struct rpc_call *call, struct slice bytes, bool last);
void grpc_end(struct rpc_call *call);
/* The stream is gone, for whatever reason; h2_code 0 = orderly. Closes and frees the call. */
void grpc_closed(struct rpc_call *call, uint32_t h2_code);

/* The framing may send up to `wanted` bytes: how many there are. Sets *end when the call's data
 * ends with them; the trailers were then submitted. Sets *blocked when there is nothing now but
 * will be later (h2_resume tells). */
size_t grpc_output_ready(struct rpc_call *call, size_t wanted, bool *end, bool *blocked);
/* Takes what grpc_output_ready promised. */
void grpc_output_take(struct rpc_call *call, uint8_t *out, size_t n);
/* Runs the service's `writable` (from server_flush). */
void grpc_writable(struct rpc_call *call);

/* ---- between grpc.c, grpc_headers.c and intake.c ---- */

/* A kept value; data NULL when the request had none. */
struct slice grpc_kept_value(const struct rpc_call *call, enum grpc_kept which);
/* As rpc_call_finish; http_status is sent when nothing was sent before ("200" but for refusals of
 * requests that are not gRPC). */
void grpc_finish(struct rpc_call *call, int code, const char *text, const char *http_status);
/* Ends the call at once, dropping queued answers, with a text made by the caller. */
void grpc_fail(struct rpc_call *call, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* One whole message for the service. */
void grpc_message(struct rpc_call *call, struct slice bytes);

#endif
