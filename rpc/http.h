/* http.h - plain HTTP requests on the same listener: HTTP/1.1, and HTTP/2 that is not gRPC over
 * TLS.
 *
 * /health /livez /readyz /version /metrics are routes like any other; later plugins own routes too.
 * A handler answers at once or keeps the pointer and answers later on the same loop thread;
 * `closed` (set with http_on_closed) tells when the peer left before the answer. */
#ifndef KVD_RPC_HTTP_H
#define KVD_RPC_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

struct http_request;

struct http_route {
    const char *path; /* exact, or a prefix when it ends in '/' and prefix is true */
    bool prefix;
    /* NULL-terminated list of allowed methods; others get 405 with an Allow header. */
    const char *methods[6];
    void (*handler)(struct http_request *req);
};

/* Parts of the request; valid until the answer was given or closed was called. */
struct slice http_method(const struct http_request *req);
struct slice http_path(const struct http_request *req);  /* without the query */
struct slice http_query(const struct http_request *req); /* after '?', raw */
struct slice http_header(const struct http_request *req, const char *lowercase_name);
struct slice http_body(const struct http_request *req);
void *http_server_data(const struct http_request *req);

/* Walks the query string: copies the next percent-decoded name and value into the caller's buffers
 * (cut at size - 1). *position starts at 0. Returns false at the end. */
bool http_query_next(const struct http_request *req, size_t *position, char *name, size_t name_size,
                     char *value, size_t value_size);

void http_set_data(struct http_request *req, void *data);
void *http_data(const struct http_request *req);
/* Called instead of nothing when the peer leaves before the answer; the request is gone after it.
 */
void http_on_closed(struct http_request *req, void (*closed)(struct http_request *req));

struct http_header_field {
    const char *name;
    const char *value;
};

/* The one answer. Body and headers are copied. headers ends with a NULL name, or is NULL.
 * The request is gone after it. */
void http_respond(struct http_request *req, int status, const char *content_type,
                  const struct http_header_field *headers, struct slice body);

#endif
