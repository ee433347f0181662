/* http.h - plain HTTP exchanges: HTTP/1.0 and 1.1, and HTTP/2 requests that are not gRPC.
 *
 * An exchange is one struct http_request: a request and its answer. The router finds its route; the
 * route's handler answers at once, or keeps the pointer and answers later on the same loop thread.
 *
 *   whole      the body was collected (bounded); http_respond gives the one answer.
 *   streamed   a route with streams_body gets the head at once and takes the body in chunks by
 *              http_read_body, at its own pace. Any handler may answer in pieces: http_begin,
 *              http_write as long as there is room, `writable` when there is again, http_finish.
 *
 * Life: from the handler's call on the exchange is the handler's. It ends in exactly one of
 *   - http_respond, http_finish or http_abort, called by the handler: the pointer is invalid after
 *     it and no callback follows; what was written still goes out.
 *   - `closed`, called by the engine once: the peer left, the body was too long or too slow, the
 *     server ends. It is never called from inside a function of this file. The pointer is invalid
 *     after it, so whoever streams sets it with http_on_closed.
 *
 * Hop-by-hop fields, lengths and Date are the engine's: a handler's own Connection, Keep-Alive,
 * Transfer-Encoding, Upgrade, Content-Length and Date are left out. "Connection: Upgrade" is not
 * taken up: such a request is an ordinary one, whose Upgrade header the handler sees and may
 * refuse. All functions are called on the loop thread of the connection. */
#ifndef KVD_RPC_HTTP_H
#define KVD_RPC_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/tls.h"
#include "rpc/call.h"

struct http_request;

/* The last entry of the list of methods stays NULL. */
#define HTTP_ROUTE_METHODS 8

struct http_route {
    const char *path; /* exact; with `prefix` everything that begins with it ("/api/") */
    bool prefix;
    bool streams_body;     /* see above */
    size_t body_bytes_max; /* of a body given whole; 0 = RPC_HTTP_BODY_BYTES_MAX; beyond: 413 */
    /* NULL-terminated list of allowed methods; others get 405 with an Allow header. GET allows
     * HEAD. An empty list allows all. */
    const char *methods[HTTP_ROUTE_METHODS];
    void (*handler)(struct http_request *req);
    void *data; /* http_route_data */
};

/* ---- the request: valid as long as the exchange ---- */

struct slice http_method(const struct http_request *req);
struct slice http_path(const struct http_request *req);  /* without the query, as sent */
struct slice http_query(const struct http_request *req); /* after '?', raw */
/* The first header of that name; data NULL when there is none. HTTP/2's :authority is "host". */
struct slice http_header(const struct http_request *req, const char *lowercase_name);
/* Walks all headers, names in lower case. *position starts at 0. Returns false at the end. */
bool http_header_next(const struct http_request *req, size_t *position, struct slice *name,
                      struct slice *value);
/* All of them as they are kept: "name:value\n" for each, names in lower case. */
struct slice http_header_lines(const struct http_request *req);
/* false: no byte of a body follows. */
bool http_has_body(const struct http_request *req);
/* The whole body, for routes without streams_body. */
struct slice http_body(const struct http_request *req);
/* 10, 11 or 20: HTTP/1.0, 1.1 or 2. */
int http_protocol(const struct http_request *req);
/* "127.0.0.1:51234" of the peer, "@" for a unix socket. */
const char *http_peer(struct http_request *req);
/* Did the request come over TLS? And who is the peer by its certificate: NULL without one; look at
 * `verified`. Valid as long as the exchange. */
bool http_is_tls(const struct http_request *req);
const struct tls_peer *http_peer_identity(const struct http_request *req);
void *http_server_data(const struct http_request *req); /* rpc_server_options.data */
void *http_route_data(const struct http_request *req);

/* Walks the query string: copies the next percent-decoded name and value into the caller's buffers
 * (cut at size - 1). *position starts at 0. Returns false at the end. */
bool http_query_next(const struct http_request *req, size_t *position, char *name, size_t name_size,
                     char *value, size_t value_size);

/* The handler's own pointer. */
void http_set_data(struct http_request *req, void *data);
void *http_data(const struct http_request *req);
void http_on_closed(struct http_request *req, void (*closed)(struct http_request *req));

/* ---- the body in chunks, for routes with streams_body ---- */

/* Asks for the body ("100 Continue" is sent when the peer waits for it). Nothing of it is delivered
 * before, and never from inside this call. `body` gets each piece, valid during the call, in order;
 * then one call with `end` and no bytes, at once for a request without body. More than bytes_max is
 * answered with 413 (or cuts off an answer that began) and `closed`. May be called again to change
 * the limit or the callback. */
void http_read_body(struct http_request *req, uint64_t bytes_max,
                    void (*body)(struct http_request *req, struct slice bytes, bool end));
/* No more `body` calls until resumed: the peer is held back by flow control or by TCP. A handler
 * that answers without the rest of the body need not resume: the rest is thrown away. */
void http_pause_body(struct http_request *req);
void http_resume_body(struct http_request *req);

/* ---- the answer ---- */

struct http_header_field {
    const char *name;
    const char *value;
};

/* The one answer. Body and headers are copied. content_type may be NULL; headers ends with a NULL
 * name, or is NULL. Ends the exchange. */
void http_respond(struct http_request *req, int status, const char *content_type,
                  const struct http_header_field *headers, struct slice body);
/* http_respond in Go's http.Error form: the text, a newline, text/plain. At most two headers. */
void http_respond_error(struct http_request *req, int status, const char *text,
                        const struct http_header_field *headers);

#define HTTP_BYTES_UNKNOWN UINT64_MAX

/* Begins an answer in pieces: status line and headers go out with this loop turn. body_bytes is
 * sent as Content-Length and then must be kept to; HTTP_BYTES_UNKNOWN makes chunks (HTTP/1.0: the
 * end of the connection tells the end). Once per exchange. */
void http_begin(struct http_request *req, int status, const char *content_type,
                const struct http_header_field *headers, uint64_t body_bytes);

enum http_write_result {
    HTTP_WRITTEN, /* taken whole (copied, or a reference to the blob) */
    HTTP_FULL,    /* nothing was taken: more than RPC_CALL_HIGH_WATER_BYTES wait already;
                     `writable` follows */
    HTTP_GONE,    /* nothing was taken and nothing will be: `closed` follows */
};

/* Queues bytes of the body. Writes to a HEAD request are accepted and dropped. One write may be of
 * any size; it should not be much larger than the high-water mark. */
enum http_write_result http_write(struct http_request *req, struct slice bytes);
/* The same from pieces, which may be parts of blobs: shared by all exchanges that send them, on
 * HTTP/2 without a copy. */
enum http_write_result http_write_parts(struct http_request *req, const struct rpc_part *parts,
                                        size_t count);
/* `writable` comes after HTTP_FULL, or after a write that filled the queue, once it has fallen to
 * the low-water mark. */
void http_on_writable(struct http_request *req, void (*writable)(struct http_request *req));
/* Would http_write say HTTP_FULL? */
bool http_is_full(const struct http_request *req);
/* The body is complete. Ends the exchange; what is queued is still sent. */
void http_finish(struct http_request *req);
/* Ends the exchange without completing the answer, in a way the peer notices: RST_STREAM, or the
 * connection closed inside the body. */
void http_abort(struct http_request *req);

#endif
