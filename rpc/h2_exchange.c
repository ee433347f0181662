/* h2_exchange.c - see h2_exchange.h.
 *
 * Out: what the handler writes is queued in a flow and leaves when nghttp2 asks for it. In: DATA
 * goes straight to the handler and its window is given back; while the handler pauses, bytes are
 * held and the window is not given back, so no more than one window of them can come. */
#include "rpc/h2_exchange.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"
#include "rpc/conn.h"
#include "rpc/grpc.h"

#define H2_NO_ERROR       0u
#define H2_INTERNAL_ERROR 2u
#define H2_REFUSED_STREAM 7u

static struct h2_exchange *exchange_of(struct http_request *req)
{
    return LIST_ENTRY(req, struct h2_exchange, req);
}

/* ---- headers --------------------------------------------------------------------------------- */

void h2_head_begin(struct rpc_call *call, struct slice path)
{
    if (call->head != NULL) {
        return;
    }
    call->head = pool_zalloc(&call->server->pool, sizeof(*call->head));
    if (call->head == NULL) {
        call->headers_out_of_memory = true;
        return;
    }
    buf_init(&call->head->text);
    buf_append_slice(&call->head->text, path);
    call->head->path_len = path.len;
}

void h2_head_add(struct rpc_call *call, struct slice name, struct slice value)
{
    struct buf *text = &call->head->text;
    buf_append_slice(text, name);
    buf_append_byte(text, ':');
    buf_append_slice(text, value);
    buf_append_byte(text, '\n');
}

void h2_head_free(struct rpc_call *call)
{
    if (call->head != NULL) {
        buf_close(&call->head->text);
        pool_free(&call->server->pool, call->head);
        call->head = NULL;
    }
}

/* ---- the carrier ----------------------------------------------------------------------------- */

static void exchange_account(struct h2_exchange *x, size_t held_before)
{
    /* Unsigned arithmetic: the difference may be negative. */
    uint64_t delta = (uint64_t)(int64_t)(ptrdiff_t)(x->out.held - held_before);
    x->req.server->output_bytes += delta;
    x->req.conn->output_bytes += delta;
}

static void exchange_sweep_later(struct rpc_server *s)
{
    if (!rpc_timer_is_set(&s->untaken_timer)) {
        /* Without memory for the timer they wait until the next answer sets it. */
        (void)timers_set(&s->timers, &s->untaken_timer,
                         server_now_ms(s) + s->options.answer_idle_ms / 8 + 1);
    }
}

/* Bytes were queued, or taken. */
static void exchange_note_taken(struct h2_exchange *x, bool taken)
{
    struct rpc_server *s = x->req.server;
    if (x->out.queued == 0) {
        list_remove(&x->untaken);
    } else if (taken || list_empty(&x->untaken)) {
        x->taken_ms = server_now_ms(s);
        list_remove(&x->untaken);
        list_push_back(&s->untaken, &x->untaken);
        exchange_sweep_later(s);
    }
}

static void exchange_drop_output(struct h2_exchange *x)
{
    size_t held = x->out.held;
    list_remove(&x->untaken);
    flow_clear(&x->out, &x->req.server->pool);
    exchange_account(x, held);
}

static void exchange_begin(struct http_request *req, int status, struct slice lines,
                           uint64_t body_bytes, bool last)
{
    struct h2_exchange *x = exchange_of(req);
    struct buf head;
    buf_init(&head);
    buf_append_slice(&head, lines);
    if (body_bytes != HTTP_BYTES_UNKNOWN && status != 204 && status != 304) {
        buf_printf(&head, "content-length: %llu\r\n", (unsigned long long)body_bytes);
    }
    if (head.failed) {
        h2_reset(&x->stream, H2_INTERNAL_ERROR);
        x->reset = true;
    } else {
        (void)h2_submit_lines(&x->stream, status, buf_slice(&head), last);
    }
    buf_close(&head);
}

static bool exchange_write(struct http_request *req, const struct rpc_part *parts, size_t count,
                           size_t total)
{
    struct h2_exchange *x = exchange_of(req);
    (void)total;
    size_t held = x->out.held;
    enum flow_result result = flow_send(&x->out, &req->server->pool, parts, count);
    exchange_account(x, held);
    if (result != FLOW_OK) {
        return false;
    }
    exchange_note_taken(x, false);
    req->full = x->out.above_high;
    h2_resume(&x->stream);
    return true;
}

/* Nobody wants them any more. */
static void exchange_release_held(struct h2_exchange *x)
{
    size_t n = x->held.len;
    server_release_input(x->req.server, n);
    buf_close(&x->held);
    h2_consume(&x->stream, n);
}

static void exchange_finish(struct http_request *req)
{
    exchange_release_held(exchange_of(req));
    h2_resume(&exchange_of(req)->stream);
}

static void exchange_abort(struct http_request *req)
{
    struct h2_exchange *x = exchange_of(req);
    exchange_drop_output(x);
    exchange_release_held(x);
    if (!x->reset) {
        x->reset = true;
        h2_reset(&x->stream, H2_INTERNAL_ERROR);
    }
}

static void exchange_go_on(struct http_request *req)
{
    h2_submit_continue(&exchange_of(req)->stream);
}

/* Everything of the body that came is delivered; tells the end when it has come. */
static void exchange_maybe_end(struct h2_exchange *x)
{
    if (x->stream.half_closed && x->held.len == 0 && http_wants_body(&x->req)) {
        http_body_end(&x->req);
    }
}

static void exchange_resume(struct http_request *req)
{
    struct h2_exchange *x = exchange_of(req);
    if (x->held.len > 0) {
        struct buf bytes = x->held;
        buf_init(&x->held);
        http_body_data(req, buf_slice(&bytes));
        server_release_input(req->server, bytes.len);
        h2_consume(&x->stream, bytes.len);
        buf_close(&bytes);
    }
    exchange_maybe_end(x);
}

static const struct http_carrier exchange_carrier = {
    .begin = exchange_begin,
    .write = exchange_write,
    .finish = exchange_finish,
    .abort = exchange_abort,
    .go_on = exchange_go_on,
    .resume = exchange_resume,
};

/* ---- from the framing ------------------------------------------------------------------------ */

/* It need not send the rest. */
static void exchange_stop_sending(struct h2_exchange *x)
{
    if (!x->reset) {
        x->reset = true;
        h2_reset(&x->stream, H2_NO_ERROR);
    }
}

static void exchange_drain_over(struct rpc_timer *t)
{
    exchange_stop_sending(LIST_ENTRY(t, struct h2_exchange, drain));
}

static uint64_t exchange_declared(const struct http_request *req)
{
    struct slice text = http_header(req, "content-length");
    uint64_t n = 0;
    if (text.len == 0 || text.len > 18) {
        return HTTP_BYTES_UNKNOWN;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return HTTP_BYTES_UNKNOWN; /* nghttp2 refuses such a request before us */
        }
        n = n * 10 + (uint64_t)(text.data[i] - '0');
    }
    return n;
}

/* Takes the call's text; false when out of memory or over the input account. */
static bool exchange_take_head(struct h2_exchange *x, struct rpc_call *call)
{
    struct buf *text = &call->head->text;
    struct http_request *req = &x->req;
    size_t path_len = call->head->path_len;
    struct slice authority = grpc_kept_value(call, KEPT_AUTHORITY);
    struct slice method = grpc_kept_value(call, KEPT_METHOD);
    if (authority.data != NULL) {
        buf_append_str(text, "host:");
        buf_append_slice(text, authority);
        buf_append_byte(text, '\n');
    }
    size_t lines = text->len;
    buf_append_slice(text, method.data != NULL ? method : slice_of("POST", 4));
    if (text->failed || call->headers_out_of_memory ||
        !server_charge_input(req->server, text->cap)) {
        return false;
    }
    x->text = *text;
    x->text_charged = text->cap;
    buf_init(text);
    const uint8_t *base = x->text.data;
    const uint8_t *mark = path_len > 0 ? memchr(base, '?', path_len) : NULL;
    size_t only = mark != NULL ? (size_t)(mark - base) : path_len;
    req->path = slice_of(base, only);
    req->query = mark != NULL ? slice_of(mark + 1, path_len - only - 1) : slice_of(NULL, 0);
    req->lines = slice_of(base + path_len, lines - path_len);
    req->method = slice_of(base + lines, x->text.len - lines);
    return true;
}

void h2_exchange_start(struct rpc_call *call)
{
    struct rpc_server *s = call->server;
    struct h2_exchange *x = pool_zalloc(&s->pool, sizeof(*x));
    if (x == NULL) {
        h2_reset(&call->stream, H2_REFUSED_STREAM);
        return;
    }
    x->stream.is_exchange = true;
    x->drain.fire = exchange_drain_over;
    http_request_init(&x->req, call->conn, &exchange_carrier);
    x->req.version = 20;
    flow_init_raw(&x->out);
    list_init(&x->untaken);
    buf_init(&x->text);
    buf_init(&x->held);
    s->call_count++;
    bool too_large = call->headers_too_large;
    bool taken = !too_large && exchange_take_head(x, call);
    h2_replace(&call->stream, &x->stream);
    grpc_closed(call, 0);
    struct http_request *req = &x->req;
    req->body_ended = x->stream.half_closed;
    if (too_large) {
        http_fail(req, 431);
    } else if (!taken || s->output_bytes > RPC_OUTPUT_BYTES_MAX ||
               req->conn->output_bytes > RPC_CONN_OUTPUT_BYTES_MAX) {
        http_fail(req, 503);
    } else {
        req->declared = exchange_declared(req);
        http_dispatch(req);
    }
}

void h2_exchange_answered(struct h2_exchange *x)
{
    struct rpc_server *s = x->req.server;
    const struct http_request *req = &x->req;
    if (x->stream.half_closed) {
        return;
    }
    x->answered = true;
    /* Who waits for "100 Continue" has sent nothing. */
    bool small = req->declared == HTTP_BYTES_UNKNOWN || req->declared <= RPC_HTTP_DRAIN_BYTES_MAX;
    if (req->expects_continue || !small ||
        !timers_set(&s->timers, &x->drain, server_now_ms(s) + RPC_HTTP_DRAIN_MS)) {
        exchange_stop_sending(x);
    }
}

void h2_exchange_data(struct h2_exchange *x, struct slice bytes)
{
    struct http_request *req = &x->req;
    if (x->answered) {
        x->drained += bytes.len;
        if (x->drained > RPC_HTTP_DRAIN_BYTES_MAX) {
            exchange_stop_sending(x);
        }
    }
    if (x->held.len == 0 && http_wants_body(req)) {
        http_body_data(req, bytes);
        h2_consume(&x->stream, bytes.len);
        return;
    }
    if (!server_charge_input(req->server, bytes.len)) {
        http_fail(req, 503);
        return;
    }
    if (!buf_append_slice(&x->held, bytes)) {
        server_release_input(req->server, bytes.len);
        http_fail(req, 503);
    }
}

void h2_exchange_end(struct h2_exchange *x)
{
    exchange_maybe_end(x);
}

void h2_exchange_closed(struct h2_exchange *x)
{
    struct rpc_server *s = x->req.server;
    x->reset = true;
    timers_cancel(&s->timers, &x->drain);
    http_gone(&x->req);
    exchange_drop_output(x);
    server_release_input(s, x->held.len + x->text_charged);
    buf_close(&x->held);
    buf_close(&x->text);
    s->call_count--;
    pool_free(&s->pool, x);
}

/* Its peer takes nothing: told, when its handler has a say, and reset. */
static void exchange_break_off(struct h2_exchange *x)
{
    LOG(LOG_DEBUG, "an answer is broken off: the peer takes nothing of it",
        F_STR("remote-addr", conn_peer(x->req.conn)));
    if (x->req.finished) {
        exchange_abort(&x->req);
    } else {
        http_fail(&x->req, 408);
    }
}

void h2_exchange_sweep(struct rpc_server *s, uint64_t now_ms)
{
    uint64_t idle_ms = s->options.answer_idle_ms;
    while (!list_empty(&s->untaken)) {
        struct h2_exchange *x = LIST_ENTRY(s->untaken.next, struct h2_exchange, untaken);
        struct conn *c = x->req.conn;
        if (now_ms - x->taken_ms < idle_ms) {
            exchange_sweep_later(s);
            return;
        }
        list_remove(&x->untaken);
        exchange_break_off(x);
        /* Not even the reset can be written: nothing of the connection is taken. */
        if (c->write_pending && now_ms - c->pending_since_ms >= idle_ms) {
            conn_destroy(c);
        }
    }
}

size_t h2_exchange_output_ready(struct h2_exchange *x, size_t wanted, bool *end, bool *blocked)
{
    size_t n = flow_ready(&x->out, wanted);
    *end = x->req.finished && !x->reset && n == x->out.queued;
    *blocked = n == 0 && !*end;
    return n;
}

void h2_exchange_output_take(struct h2_exchange *x, uint8_t *out, size_t n)
{
    size_t held = x->out.held;
    bool low = flow_take(&x->out, &x->req.server->pool, out, n);
    exchange_account(x, held);
    exchange_note_taken(x, true);
    if (low) {
        http_room(&x->req);
    }
}
