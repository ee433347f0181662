/* h1.c - HTTP/1.1 over http_parser; see h1.h.
 *
 * The parser stops at each event: the end of a head, a piece of a body, the end of a request; the
 * event is then handled outside of it, where handlers may answer, pause or give up. While one
 * request is being answered, what follows it waits in `pipeline`. Answers are collected in one
 * output buffer, so that those to pipelined requests leave together. Buffers are freed after each
 * request: an idle connection holds only this struct. Whatever is wrong with a request's form ends
 * the connection after the answer, because where the next request begins is then unknown. */
#include "rpc/h1.h"

#include <stdio.h>
#include <string.h>

#include <http_parser.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/limits.h"
#include "rpc/conn.h"
#include "rpc/h1_out.h"
#include "rpc/http_impl.h"

struct h1 {
    struct conn *conn;
    http_parser parser;
    struct http_request req;
    struct buf head; /* the URL, then the header lines as http_request.lines */
    struct h1_out out;
    size_t accounted;    /* of out, in the accounts of output */
    struct buf pipeline; /* input that waits for the answer before it */
    size_t url_len;
    size_t charged; /* of head, to the server's input account */
    size_t drained; /* bytes of a body that nobody wanted */
    uint64_t receive_until_ms;
    uint32_t header_count;
    int refusal;         /* status to answer when the parser is stopped by a callback */
    struct slice piece;  /* event: part of the body */
    bool event_head;     /* event: the head is whole, a body follows */
    bool event_complete; /* event: the request is whole */
    bool in_value;
    bool head_done; /* what looks like headers now is a trailer: of no use to anyone */
    bool receiving; /* the first byte of a request has come, its head is not whole */
    bool busy;      /* the request is not answered yet */
    bool body_done; /* the busy request has been received whole */
    bool draining;  /* answered, the rest of its body is thrown away */
    bool chunked;   /* the answer's form */
    bool head_only; /* the answer has no body */
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

static int h1_collect_head(struct h1 *h, const char *data, size_t len)
{
    struct rpc_server *s = h->conn->server;
    if (h->head.len + len > s->options.header_bytes_max) {
        return h1_stop(h, 431);
    }
    if (!server_charge_input(s, len)) {
        return h1_stop(h, 503);
    }
    h->charged += len;
    return buf_append(&h->head, data, len) ? 0 : h1_stop(h, 503);
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

static int h1_on_headers_complete(http_parser *p)
{
    struct h1 *h = p->data;
    if (h->in_value && h1_collect_head(h, "\n", 1) != 0) {
        return -1;
    }
    h->in_value = false;
    h->head_done = true;
    p->upgrade = 0; /* Upgrade (h2c or other) is not taken up: the request is an ordinary one */
    if ((p->flags & F_CHUNKED) != 0 || (p->content_length != UINT64_MAX && p->content_length > 0)) {
        h->event_head = true;
        http_parser_pause(p, 1);
    }
    /* Without a body the end follows at once, and the head is looked at then. */
    return 0;
}

static int h1_on_body(http_parser *p, const char *data, size_t len)
{
    struct h1 *h = p->data;
    h->piece = slice_of(data, len);
    http_parser_pause(p, 1);
    return 0;
}

static int h1_on_complete(http_parser *p)
{
    struct h1 *h = p->data;
    h->event_complete = true;
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

static const struct http_carrier h1_carrier;

/* Forgets the request that was answered or given up. */
static void h1_reset_request(struct h1 *h)
{
    http_gone(&h->req);
    http_request_init(&h->req, h->conn, &h1_carrier);
    server_release_input(h->conn->server, h->charged);
    h->charged = 0;
    buf_close(&h->head);
    h->url_len = 0;
    h->header_count = 0;
    h->in_value = false;
    h->receiving = false;
    h->busy = false;
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
    static const char root[] = "/";
    req->path = slice_of(root, 1);
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
    h->receiving = false;
    h->busy = true;
    h->req.must_close = true;
    http_respond_error(&h->req, status, text, NULL);
}

static void h1_dispatch(struct h1 *h, bool whole)
{
    struct http_request *req = &h->req;
    h->receiving = false;
    h->busy = true;
    h->body_done = whole;
    h->drained = 0;
    h->keep_alive = http_should_keep_alive(&h->parser) != 0;
    h->http10 = h->parser.http_major == 1 && h->parser.http_minor == 0;
    if (h->conn->server->stopping) {
        h->keep_alive = false;
    }
    req->method = slice_str(http_method_str((enum http_method)h->parser.method));
    req->version = h->http10 ? 10 : 11;
    req->body_ended = whole;
    if (!whole && (h->parser.flags & F_CHUNKED) == 0) {
        req->declared = h->parser.content_length;
    }
    req->lines = slice_of(h->head.data + h->url_len, h->head.len - h->url_len);
    h1_rearm(h);
    if (h->parser.http_major != 1) {
        h1_refuse(h, 505);
    } else if (!h1_split_url(h)) {
        h1_refuse(h, 400);
    } else {
        http_dispatch(req);
    }
}

/* ---- the carrier ----------------------------------------------------------------------------- */

static struct h1 *h1_of(struct http_request *req)
{
    return LIST_ENTRY(req, struct h1, req);
}

static void h1_account(struct h1 *h)
{
    /* Unsigned arithmetic: the difference may be negative. */
    uint64_t delta = (uint64_t)h1_out_queued(&h->out) - h->accounted;
    h->accounted = h1_out_queued(&h->out);
    h->conn->output_bytes += delta;
    h->conn->server->output_bytes += delta;
}

/* Is it worth to read the rest of a body nobody wants, to keep the connection? */
static bool h1_may_drain(const struct h1 *h)
{
    const struct http_request *req = &h->req;
    /* Who waits for "100 Continue" may or may not send the body now. */
    return !req->expects_continue &&
           (req->declared == HTTP_BYTES_UNKNOWN || req->declared <= RPC_HTTP_DRAIN_BYTES_MAX);
}

static void h1_begin(struct http_request *req, int status, struct slice lines, uint64_t body_bytes,
                     bool last)
{
    struct h1 *h = h1_of(req);
    struct buf *text = &h->out.text;
    (void)last;
    bool bodiless = status == 204 || status == 304;
    h->head_only = bodiless || req->head_only;
    h->chunked = !h->head_only && body_bytes == HTTP_BYTES_UNKNOWN && !h->http10;
    if (req->must_close || (!h->body_done && !h1_may_drain(h)) ||
        (h->http10 && !h->head_only && body_bytes == HTTP_BYTES_UNKNOWN)) {
        h->keep_alive = false;
    }
    buf_printf(text, "HTTP/1.%d %d %s\r\n", h->http10 ? 0 : 1, status, http_status_text(status));
    buf_append_slice(text, lines);
    if (!h->keep_alive) {
        buf_append_str(text, "Connection: close\r\n");
    } else if (h->http10) {
        buf_append_str(text, "Connection: keep-alive\r\n");
    }
    if (body_bytes != HTTP_BYTES_UNKNOWN && !bodiless) {
        buf_printf(text, "Content-Length: %llu\r\n", (unsigned long long)body_bytes);
    } else if (!bodiless && !h->http10) {
        buf_append_str(text, "Transfer-Encoding: chunked\r\n");
    }
    buf_append_str(text, "\r\n");
    h1_account(h);
    conn_mark_dirty(h->conn);
}

static bool h1_write(struct http_request *req, const struct rpc_part *parts, size_t count,
                     size_t total)
{
    struct h1 *h = h1_of(req);
    struct buf *text = &h->out.text;
    if (h->chunked) {
        buf_printf(text, "%zx\r\n", total);
    }
    for (size_t i = 0; i < count; i++) {
        h1_out_add(&h->out, &h->conn->server->pool, &parts[i]);
    }
    if (h->chunked) {
        buf_append_str(text, "\r\n");
    }
    req->full = h1_out_queued(&h->out) > RPC_CALL_HIGH_WATER_BYTES;
    h1_account(h);
    conn_mark_dirty(h->conn);
    return !text->failed;
}

static void h1_finish(struct http_request *req)
{
    struct h1 *h = h1_of(req);
    if (h->chunked) {
        buf_append_str(&h->out.text, "0\r\n\r\n");
    }
    h1_account(h);
    if (!h->keep_alive || h->out.text.failed) {
        conn_finish_after_flush(h->conn);
    }
    h->draining = !h->body_done;
    h->receive_until_ms =
        server_now_ms(h->conn->server) + h->conn->server->options.handshake_timeout_ms;
    h->chunked = false;
    h1_reset_request(h);
    h1_rearm(h);
    conn_mark_dirty(h->conn);
}

/* What is queued still goes out, but never the end of a body. */
static void h1_abort(struct http_request *req)
{
    conn_finish_after_flush(h1_of(req)->conn);
}

static void h1_go_on(struct http_request *req)
{
    struct h1 *h = h1_of(req);
    buf_append_str(&h->out.text, "HTTP/1.1 100 Continue\r\n\r\n");
    h1_account(h);
    conn_mark_dirty(h->conn);
}

/* The flush parses what waited (h1_advance), before this is called. */
static void h1_resume(struct http_request *req)
{
    conn_mark_dirty(req->conn);
}

static const struct http_carrier h1_carrier = {
    .begin = h1_begin,
    .write = h1_write,
    .finish = h1_finish,
    .abort = h1_abort,
    .go_on = h1_go_on,
    .resume = h1_resume,
};

/* ---- input ----------------------------------------------------------------------------------- */

static bool h1_out_full(const struct h1 *h)
{
    return h1_out_queued(&h->out) > RPC_CONN_PAUSE_BYTES ||
           h->conn->server->output_bytes > RPC_OUTPUT_BYTES_MAX;
}

static bool h1_may_parse(const struct h1 *h)
{
    if (h->conn->flushing_last || h1_out_full(h)) {
        return false;
    }
    return !h->busy || (!h->body_done && http_wants_body(&h->req));
}

static void h1_drain(struct h1 *h, size_t n)
{
    h->drained += n;
    if (h->drained > RPC_HTTP_DRAIN_BYTES_MAX) {
        conn_finish_after_flush(h->conn);
    }
}

/* Handles what made the parser stop. */
static void h1_event(struct h1 *h)
{
    struct slice piece = h->piece;
    bool head = h->event_head;
    bool complete = h->event_complete;
    h->piece = slice_of(NULL, 0);
    h->event_head = false;
    h->event_complete = false;
    if (head) {
        h1_dispatch(h, false);
    } else if (piece.len > 0 && h->draining) {
        h1_drain(h, piece.len);
    } else if (piece.len > 0) {
        http_body_data(&h->req, piece);
    }
    if (!complete) {
        return;
    }
    h->head_done = false;
    if (h->draining) {
        h->draining = false;
    } else if (h->busy) {
        h->body_done = true;
        http_body_end(&h->req);
    } else {
        h1_dispatch(h, true);
    }
}

/* The parser cannot go on. */
static void h1_broken(struct h1 *h, enum http_errno err)
{
    if (h->draining) {
        conn_finish_after_flush(h->conn);
    } else if (h->busy) {
        http_fail(&h->req, 400);
    } else {
        h1_refuse(h, h->refusal != 0 ? h->refusal : err == HPE_HEADER_OVERFLOW ? 431 : 400);
    }
}

/* Parses as far as one answer at a time allows; returns the bytes used. */
static size_t h1_execute(struct h1 *h, struct slice bytes)
{
    size_t used = 0;
    while (used < bytes.len && h1_may_parse(h)) {
        used += http_parser_execute(&h->parser, &h1_settings, (const char *)bytes.data + used,
                                    bytes.len - used);
        enum http_errno err = HTTP_PARSER_ERRNO(&h->parser);
        if (err == HPE_PAUSED) {
            http_parser_pause(&h->parser, 0);
            h1_event(h);
        } else if (err != HPE_OK) {
            h1_broken(h, err);
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
    buf_close(&h->pipeline);
    h1_reset_request(h);
}

bool h1_has_output(const struct h1 *h)
{
    return h1_out_queued(&h->out) > 0;
}

/* ---- output, time, life ---------------------------------------------------------------------- */

size_t h1_output(struct h1 *h, uint8_t *copy, size_t cap, struct slice *parts, size_t max,
                 size_t *count, bool *more)
{
    size_t n = h1_out_take(&h->out, copy, cap, parts, max, count);
    size_t left = h1_out_queued(&h->out);
    *more = left > 0;
    h1_account(h);
    if (h->req.full && left <= RPC_CALL_LOW_WATER_BYTES) {
        http_room(&h->req);
    }
    if (left == 0 && h->pipeline.len > 0 && h1_may_parse(h)) {
        conn_mark_dirty(h->conn);
    }
    return n;
}

void h1_given(struct h1 *h)
{
    h1_out_given(&h->out, &h->conn->server->pool);
}

void h1_rearm(struct h1 *h)
{
    struct conn *c = h->conn;
    uint64_t now = server_now_ms(c->server);
    if (c->write_pending) {
        conn_set_timer(c, c->server->options.answer_idle_ms);
    } else if (h->busy) {
        timers_cancel(&c->server->timers, &c->timer);
    } else if (h->receiving || h->draining) {
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
    return h->receiving || h->busy || h1_has_output(h);
}

struct h1 *h1_new(struct conn *c)
{
    struct h1 *h = pool_zalloc(&c->server->pool, sizeof(*h));
    if (h == NULL) {
        return NULL;
    }
    h->conn = c;
    h1_out_init(&h->out);
    http_parser_init(&h->parser, HTTP_REQUEST);
    h->parser.data = h;
    /* The first head's time began with accept. */
    h->receive_until_ms = (uint64_t)c->timer.node.key;
    http_request_init(&h->req, c, &h1_carrier);
    return h;
}

void h1_free(struct h1 *h)
{
    struct rpc_server *s = h->conn->server;
    h1_eof(h);
    h1_out_close(&h->out, &s->pool);
    h1_account(h);
    pool_free(&s->pool, h);
}
