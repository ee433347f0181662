/* h2.h - HTTP/2 framing of one connection, over nghttp2. Private to rpc/.
 *
 * The boundary between framing and meaning: grpc.c and h2_exchange.c know nothing of nghttp2 and
 * call only what is declared here; h2.c tells them about headers, data and ends through grpc.h and
 * h2_exchange.h. Another framing can replace h2.c behind these functions. */
#ifndef KVD_RPC_H2_H
#define KVD_RPC_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"
#include "rpc/server_impl.h"

struct conn;
struct h2;

/* What the framing knows of a stream; first member of struct rpc_call, which every stream is until
 * its headers are complete, and of struct h2_exchange. */
struct h2_stream {
    struct list in_conn; /* h2's streams */
    struct h2 *h2;
    int32_t id;
    bool is_exchange; /* a struct h2_exchange, else a struct rpc_call */
    bool half_closed; /* the peer sends no more */
    bool deferred;    /* nothing to send at the last try */
};

/* Once per server: callbacks, options and allocator of its sessions. false when out of memory. */
bool h2_server_init(struct rpc_server *s);
void h2_server_close(struct rpc_server *s);

/* NULL when out of memory. SETTINGS are queued. */
struct h2 *h2_new(struct conn *c);
/* Closes every call (reason: connection lost), then frees the session. */
void h2_free(struct h2 *h);
/* Returns false when the connection must end (after what is queued was written). */
bool h2_input(struct h2 *h, struct slice bytes);
/* Serialises frames into out, at most cap bytes. Returns the bytes written; *more tells whether the
 * buffer was too small for all. -1: the session failed. */
ssize_t h2_output(struct h2 *h, uint8_t *out, size_t cap, bool *more);
/* Something to send? */
bool h2_wants_output(const struct h2 *h);
/* The session is over: nothing more to send or to expect. */
bool h2_done(const struct h2 *h);
/* Frames that wait in the engine, for bounding a peer that does not read. */
size_t h2_frames_queued(const struct h2 *h);
void h2_timer(struct h2 *h);
/* The server stops. Returns false when the connection is idle and may end after the flush. */
bool h2_shutdown(struct h2 *h);

/* ---- for grpc.c and h2_exchange.c ---- */

struct h2_field {
    const char *name; /* static */
    struct slice value;
    bool is_static; /* value lives for ever: not copied */
};
#define H2_FIELDS_MAX 4

/* All false on out-of-memory; the stream was then reset. */
/* Response headers; `end`: and nothing else, else data follows through grpc_output_*. */
bool h2_submit_headers(struct h2_stream *stream, const struct h2_field *fields, size_t count,
                       bool end);
/* The same from HTTP/1.1's form: a status and lines "Name: value\r\n". */
bool h2_submit_lines(struct h2_stream *stream, int status, struct slice lines, bool end);
/* "100 Continue": the peer may send the body. */
void h2_submit_continue(struct h2_stream *stream);
/* The last headers. What was not sent of the data is forgotten. */
bool h2_submit_trailers(struct h2_stream *stream, const struct h2_field *fields, size_t count);
/* Queued data became available again. */
void h2_resume(struct h2_stream *stream);
/* RST_STREAM with an HTTP/2 error code. */
void h2_reset(struct h2_stream *stream, uint32_t code);
/* n bytes of this stream were used: the peer may send as many again. */
void h2_consume(struct h2_stream *stream, size_t n);
/* The stream is `to` from now on: an exchange takes the place of the call it was taken for. */
void h2_replace(struct h2_stream *from, struct h2_stream *to);

#endif
