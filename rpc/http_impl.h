/* http_impl.h - the inside of a plain HTTP request, for http.c (meaning) and h1.c (bytes). */
#ifndef KVD_RPC_HTTP_IMPL_H
#define KVD_RPC_HTTP_IMPL_H

#include <stdbool.h>

#include "base/slice.h"
#include "rpc/http.h"
#include "rpc/server_impl.h"

struct http_request {
    struct rpc_server *server;
    struct conn *conn;
    struct h1 *h1;
    struct slice method;
    struct slice path;
    struct slice query;
    struct slice lines; /* "name:value\n" for each header, names in lower case */
    struct slice body;
    struct slice cors; /* value of Access-Control-Allow-Origin; NULL = none */
    bool head_only;    /* HEAD: headers as for GET, no body */
    bool needs_host;   /* HTTP/1.1 */
    void *data;
    void (*closed)(struct http_request *req);
};

/* A whole request has arrived: finds its route and calls the handler, or answers itself. */
void http_dispatch(struct http_request *req);
/* An answer in Go's http.Error form: the text, a newline, text/plain. */
void http_respond_error(struct http_request *req, int status, const char *text,
                        const struct http_header_field *headers);
/* "Not Found" for 404; "" for codes nobody uses here. */
const char *http_status_text(int status);

#endif
