/* h1.c - HTTP/1.1 over http_parser; see h1.h.
 *
 * A request is collected whole (bounded), given to http.c, answered into one output buffer; then
 * the next one is looked at. Buffers are freed after each request: an idle connection holds only
 * this struct. Whatever is wrong with a request's form ends the connection after the answer,
 * because where the next request begins is then unknown. */
#include "rpc/h1.h"

#include <stdio.h>
#include <string.h>

#include <http_parser.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/limits.h"
#include "rpc/conn.h"
#include "rpc/http_impl.h"

struct h1 {
    struct conn *conn;
    http_parser parser;
    struct http_request req;
    struct buf head; /* the URL, then the header lines as http_request.lines */
    struct buf body;
    struct buf out;
    size_t out_at;       /* bytes of out already given away */
    struct buf pipeline; /* input that waits for the answer before it */
    size_t url_len;
    size_t charged; /* of head and body, to the server's input account */
    uint64_t receive_until_ms;
    uint32_t header_count;
    int refusal; /* status to answer when the parser is stopped by a callback */
    bool in_value;
    bool head_done; /* what looks like headers now is a trailer: of no use to anyone */
    bool receiving; /* the first byte of a request has come */
    bool complete;  /* inside execute: the request is whole */
    bool busy;      /* a handler owes the answer */
    bool keep_alive;
    bool http10;
    bool had_request; /* the first head's time runs from accept */
};

/* ---- parser callbacks ------------------------------------------------------------------------ */

static int h1_stop(struct h1 *h, int status)
{
    h->refusal = status;
    return -1;
}

static bool h1_collect(struct h1 *h, struct buf *to, const char *data, size_t len)
{
    if (!server_charge_input(h->conn->server, len)) {
        return false;
    }
    h->charged += len;
    return buf_append(to, data, len);
}

static int h1_collect_head(struct h1 *h, const char *data, size_t len)
{
    if (h->head.len + len > h->conn->server->options.header_bytes_max) {
        return h1_stop(h, 431);
    }
    return h1_collect(h, &h->head, data, len) ? 0 : h1_stop(h, 503);
}

static int h1_on_begin(http_parser *p)
{
    struct h1 *h = p->data;
    struct conn *c = h->conn;
    h->receiving = true;
    if (h->had_request || h->receive_until_ms == 0) {
        h->receive_until_ms = server_now_ms(c->server) + c->server->options.handshake_timeout_ms;
    }
    h->had_request = true;
    h1_rearm(h);
    return 0;
}

static int h1_on_url(http_parser *p, const char *data, size_t len)
{
    struct h1 *h = p->data;
    h->url_len += len;
    return h1_collect_head(h, data, len);
}

static int h1_on_field(http_parser *p, const char *data, size_t len)
{
    struct h1 *h = p->data;
    if (h->head_done) {
        return 0;
    }
    if (h->in_value) {
        h->in_value = false;
        if (h1_collect_head(h, "\n", 1) != 0) {
            return -1;
        }
        if (++h->header_count > RPC_HEADERS_MAX) {
            return h1_stop(h, 431);
        }
    }
    size_t at = h->head.len;
    if (h1_collect_head(h, data, len) != 0) {
        return -1;
    }
    for (size_t i = at; i < h->head.len; i++) {
        uint8_t c = h->head.data[i];
        h->head.data[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
    }
    return 0;
}

static int h1_on_value(http_parser *p, const char *data, size_t len)
{
    struct h1 *h = p->data;
    if (h->head_done) {
        return 0;
    }
    if (!h->in_value) {
        h->in_value = true;
        if (h1_collect_head(h, ":", 1) != 0) {
            return -1;
        }
    }
    return h1_collect_head(h, data, len);
}

static void h1_point_at_lines(struct h1 *h)
{
    h->req.lines = slice_of(h->head.data + h->url_len, h->head.len - h->url_len);
}

static int h1_on_headers_complete(http_parser *p)
{
    struct h1 *h = p->data;
    if (h->in_value && h1_collect_head(h, "\n", 1) != 0) {
        return -1;
    }
    h->in_value = false;
    h->head_done = true;
    p->upgrade = 0; /* Upgrade (h2c or other) is not answered: the request is an ordinary one */
    if (p->content_length != UINT64_MAX && p->content_length > RPC_HTTP1_BODY_BYTES_MAX) {
        return h1_stop(h, 413);
    }
    bool body =
        (p->flags & F_CHUNKED) != 0 || (p->content_length != UINT64_MAX && p->content_length > 0);
    h1_point_at_lines(h);
    struct slice expect = http_header(&h->req, "expect");
    if (body && p->http_minor > 0 && expect.len == 12 &&
        strncasecmp((const char *)expect.data, "100-continue", 12) == 0) {
        buf_append_str(&h->out, "HTTP/1.1 100 Continue\r\n\r\n");
        conn_mark_dirty(h->conn);
    }
    return 0;
}

static int h1_on_body(http_parser *p, const char *data, size_t len)
{
    struct h1 *h = p->data;
    if (h->body.len + len > RPC_HTTP1_BODY_BYTES_MAX) {
        return h1_stop(h, 413);
    }
    return h1_collect(h, &h->body, data, len) ? 0 : h1_stop(h, 503);
}

static int h1_on_complete(http_parser *p)
{
    struct h1 *h = p->data;
    h->complete = true;
    http_parser_pause(p, 1);
    return 0;
}

static const http_parser_settings h1_settings = {
    .on_message_begin = h1_on_begin,
    .on_url = h1_on_url,
    .on_header_field = h1_on_field,
    .on_header_value = h1_on_value,
    .on_headers_complete = h1_on_headers_complete,
    .on_body = h1_on_body,
    .on_message_complete = h1_on_complete,
};

/* ---- one request ----------------------------------------------------------------------------- */

/* Forgets the request that was answered or given up. */
static void h1_reset_request(struct h1 *h)
{
    server_release_input(h->conn->server, h->charged);
    h->charged = 0;
    buf_close(&h->head);
    buf_close(&h->body);
    h->url_len = 0;
    h->header_count = 0;
    h->in_value = false;
    h->head_done = false;
    h->receiving = false;
    h->busy = false;
    h->req = (struct http_request){
        .server = h->conn->server,
        .conn = h->conn,
        .h1 = h,
    };
}

/* "/path?query", "http://host/path?query" or "*". */
static bool h1_split_url(struct h1 *h)
{
    struct http_request *req = &h->req;
    const char *url = (const char *)h->head.data;
    if (h->url_len == 1 && url[0] == '*') {
        req->path = slice_of(url, 1);
        return true;
    }
    struct http_parser_url parts;
    http_parser_url_init(&parts);
    if (http_parser_parse_url(url, h->url_len, h->parser.method == HTTP_CONNECT, &parts) != 0) {
        return false;
    }
    req->path = slice_of("/", 1);
    if ((parts.field_set & (1u << UF_PATH)) != 0) {
        req->path = slice_of(url + parts.field_data[UF_PATH].off, parts.field_data[UF_PATH].len);
    }
    if ((parts.field_set & (1u << UF_QUERY)) != 0) {
        req->query = slice_of(url + parts.field_data[UF_QUERY].off, parts.field_data[UF_QUERY].len);
    }
    return true;
}

/* The parser cannot go on: says why and ends the connection. */
static void h1_refuse(struct h1 *h, int status)
{
    char text[64];
    snprintf(text, sizeof(text), "%d %s", status, http_status_text(status));
    h->busy = true;
    h->keep_alive = false;
    h->req.head_only = false;
    http_respond_error(&h->req, status, text, NULL);
}

static void h1_dispatch(struct h1 *h)
{
    struct http_request *req = &h->req;
    h->complete = false;
    h->receiving = false;
    h->busy = true;
    h->keep_alive = http_should_keep_alive(&h->parser) != 0;
    h->http10 = h->parser.http_major == 1 && h->parser.http_minor == 0;
    if (h->conn->server->stopping) {
        h->keep_alive = false;
    }
    req->method = slice_str(http_method_str((enum http_method)h->parser.method));
    req->body = buf_slice(&h->body);
    req->needs_host = h->parser.http_major == 1 && h->parser.http_minor >= 1;
    h1_point_at_lines(h);
    h1_rearm(h);
    if (h->parser.http_major != 1) {
        h1_refuse(h, 505);
    } else if (!h1_split_url(h)) {
        h1_refuse(h, 400);
    } else {
        http_dispatch(req);
    }
}

void h1_respond(struct http_request *req, int status, struct slice head, struct slice body)
{
    struct h1 *h = req->h1;
    struct conn *c = h->conn;
    if (WARN_IF(!h->busy, "an HTTP request was answered twice")) {
        return;
    }
    size_t before = h->out.len;
    buf_printf(&h->out, "HTTP/1.%d %d %s\r\n", h->http10 ? 0 : 1, status, http_status_text(status));
    buf_append_slice(&h->out, head);
    if (!h->keep_alive) {
        buf_append_str(&h->out, "Connection: close\r\n");
    } else if (h->http10) {
        buf_append_str(&h->out, "Connection: keep-alive\r\n");
    }
    if (status != 204 && status != 304) {
        buf_printf(&h->out, "Content-Length: %zu\r\n", body.len);
    }
    buf_append_str(&h->out, "\r\n");
    if (!req->head_only && status != 204 && status != 304) {
        buf_append_slice(&h->out, body);
    }
    bool ends = !h->keep_alive || h->out.failed;
    c->output_bytes += h->out.len - before;
    c->server->output_bytes += h->out.len - before;
    h1_reset_request(h);
    if (ends) {
        conn_finish_after_flush(c);
    }
    conn_mark_dirty(c);
}

/* ---- input ----------------------------------------------------------------------------------- */

static bool h1_out_full(const struct h1 *h)
{
    return h->out.len - h->out_at > RPC_CONN_PAUSE_BYTES ||
           h->conn->server->output_bytes > RPC_OUTPUT_BYTES_MAX;
}

static bool h1_may_parse(const struct h1 *h)
{
    return !h->busy && !h->conn->flushing_last && !h1_out_full(h);
}

/* Parses as far as one answer at a time allows; returns the bytes used. */
static size_t h1_execute(struct h1 *h, struct slice bytes)
{
    size_t used = 0;
    while (used < bytes.len && h1_may_parse(h)) {
        used += http_parser_execute(&h->parser, &h1_settings, (const char *)bytes.data + used,
                                    bytes.len - used);
        enum http_errno err = HTTP_PARSER_ERRNO(&h->parser);
        if (err == HPE_PAUSED && h->complete) {
            http_parser_pause(&h->parser, 0);
            h1_dispatch(h);
        } else if (err != HPE_OK) {
            int status = h->refusal != 0 ? h->refusal : err == HPE_HEADER_OVERFLOW ? 431 : 400;
            h1_refuse(h, status);
            return bytes.len;
        }
    }
    return used;
}

void h1_input(struct h1 *h, struct slice bytes)
{
    if (h->pipeline.len == 0) {
        size_t used = h1_execute(h, bytes);
        bytes = slice_of(bytes.data + used, bytes.len - used);
    }
    if (bytes.len > 0 && !h->conn->flushing_last && !buf_append_slice(&h->pipeline, bytes)) {
        conn_finish_after_flush(h->conn);
    }
}

void h1_advance(struct h1 *h)
{
    if (h->pipeline.len == 0 || !h1_may_parse(h)) {
        return;
    }
    struct buf bytes = h->pipeline;
    buf_init(&h->pipeline);
    size_t used = h1_execute(h, buf_slice(&bytes));
    if (used < bytes.len && !h->conn->flushing_last) {
        buf_consume(&bytes, used);
        h->pipeline = bytes;
    } else {
        buf_close(&bytes);
    }
}

bool h1_wants_pause(const struct h1 *h)
{
    return h->pipeline.len > RPC_HTTP1_PIPELINE_BYTES_MAX;
}

void h1_eof(struct h1 *h)
{
    struct http_request *req = &h->req;
    buf_close(&h->pipeline);
    if (h->busy) {
        h->busy = false;
        if (req->closed != NULL) {
            req->closed(req);
        }
    }
    h1_reset_request(h);
}

/* ---- output, time, life ---------------------------------------------------------------------- */

size_t h1_output(struct h1 *h, uint8_t *out, size_t cap, bool *more)
{
    size_t left = h->out.len - h->out_at;
    size_t n = left < cap ? left : cap;
    if (n > 0) {
        memcpy(out, h->out.data + h->out_at, n);
        h->out_at += n;
    }
    *more = n < left;
    if (n == left) {
        h->conn->server->output_bytes -= h->conn->output_bytes;
        h->conn->output_bytes = 0;
        buf_close(&h->out);
        h->out_at = 0;
        if (h->pipeline.len > 0 && h1_may_parse(h)) {
            conn_mark_dirty(h->conn);
        }
    }
    return n;
}

void h1_rearm(struct h1 *h)
{
    struct conn *c = h->conn;
    uint64_t now = server_now_ms(c->server);
    if (c->write_pending) {
        conn_set_timer(c, RPC_HTTP1_WRITE_MS);
    } else if (h->busy) {
        timers_cancel(&c->server->timers, &c->timer);
    } else if (h->receiving) {
        conn_set_timer(c, h->receive_until_ms > now ? h->receive_until_ms - now : 0);
    } else {
        conn_set_timer(c, RPC_HTTP1_IDLE_MS);
    }
}

void h1_timer(struct h1 *h)
{
    struct conn *c = h->conn;
    if (c->write_pending) {
        conn_destroy(c);
    } else if (h->receiving) {
        h1_refuse(h, 408);
    } else if (!h->busy) {
        conn_finish_after_flush(c);
    }
}

bool h1_shutdown(struct h1 *h)
{
    h->keep_alive = false;
    return h->receiving || h->busy || h->out.len > h->out_at;
}

struct h1 *h1_new(struct conn *c)
{
    struct h1 *h = pool_zalloc(&c->server->pool, sizeof(*h));
    if (h == NULL) {
        return NULL;
    }
    h->conn = c;
    http_parser_init(&h->parser, HTTP_REQUEST);
    h->parser.data = h;
    /* The first head's time began with accept. */
    h->receive_until_ms = (uint64_t)c->timer.node.key;
    h1_reset_request(h);
    return h;
}

void h1_free(struct h1 *h)
{
    struct rpc_server *s = h->conn->server;
    h1_eof(h);
    s->output_bytes -= h->conn->output_bytes;
    h->conn->output_bytes = 0;
    buf_close(&h->out);
    pool_free(&s->pool, h);
}
