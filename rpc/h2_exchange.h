/* h2_exchange.h - plain HTTP exchanges on HTTP/2 streams. Private to rpc/.
 *
 * Every stream begins as a struct rpc_call: what it is shows only with its headers. While the path
 * is no method's the headers are collected (struct h2_head); when they are complete and the content
 * type is not gRPC's, the exchange takes the call's place. A method's path without gRPC's content
 * type stays a call and is refused with 415. */
#ifndef KVD_RPC_H2_EXCHANGE_H
#define KVD_RPC_H2_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "rpc/flow.h"
#include "rpc/h2.h"
#include "rpc/http_impl.h"

struct rpc_call;

/* Collected headers of a call that may be an exchange. */
struct h2_head {
    struct buf text; /* the path, then "name:value\n" for each header */
    size_t path_len;
};

/* The path was seen. Without memory call->headers_out_of_memory is set. */
void h2_head_begin(struct rpc_call *call, struct slice path);
/* One more header, not a pseudo one. */
void h2_head_add(struct rpc_call *call, struct slice name, struct slice value);
/* Frees it; harmless when there is none. */
void h2_head_free(struct rpc_call *call);

struct h2_exchange {
    struct h2_stream stream;
    struct http_request req;
    struct flow out;
    struct list untaken; /* server->untaken while out is not empty */
    uint64_t taken_ms;   /* when bytes of it were taken last, or it began to fill */
    struct buf text;     /* what req's slices point into */
    size_t text_charged;
    struct buf held; /* body bytes the handler does not want yet: at most the stream's window */
    bool reset;      /* RST_STREAM was submitted */
    bool answered;   /* whole, while the body was still coming: the rest is thrown away */
    size_t drained;
    struct rpc_timer drain;
};

/* The call's headers are complete and it is no gRPC: puts an exchange in its place, frees it, and
 * dispatches. */
void h2_exchange_start(struct rpc_call *call);
/* As grpc_data, grpc_end, grpc_closed, grpc_output_ready, grpc_output_take. */
void h2_exchange_data(struct h2_exchange *x, struct slice bytes);
void h2_exchange_end(struct h2_exchange *x);
void h2_exchange_closed(struct h2_exchange *x);
size_t h2_exchange_output_ready(struct h2_exchange *x, size_t wanted, bool *end, bool *blocked);
void h2_exchange_output_take(struct h2_exchange *x, uint8_t *out, size_t n);
/* Breaks off exchanges of which the peer has taken nothing for options.answer_idle_ms, and the
 * connections that are not read at all; arranges for the next time. From a timer. */
void h2_exchange_sweep(struct rpc_server *s, uint64_t now_ms);
/* The last frame of the answer was sent. */
void h2_exchange_answered(struct h2_exchange *x);

#endif
