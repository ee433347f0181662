/* http_dispatch.c - from a request's head to its handler: host and CORS checks, the route, the
 * body, due callbacks, and every way an exchange may end; see http.h and http_impl.h. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "base/log.h"
#include "rpc/conn.h"
#include "rpc/http_impl.h"

/* ---- checks and routes ----------------------------------------------------------------------- */

static bool list_has(const char *const *list, struct slice item)
{
    for (size_t i = 0; list[i] != NULL; i++) {
        if (slice_eq(slice_str(list[i]), item)) {
            return true;
        }
    }
    return false;
}

static bool list_allows_all(const char *const *list)
{
    return list == NULL || list[0] == NULL || list_has(list, slice_of("*", 1));
}

/* "name:port" -> name; "[::1]:port" -> ::1. */
static struct slice http_host_name(struct slice host)
{
    if (host.len > 0 && host.data[0] == '[') {
        const uint8_t *end = memchr(host.data, ']', host.len);
        return end != NULL ? slice_of(host.data + 1, (size_t)(end - host.data) - 1) : host;
    }
    const uint8_t *colon = host.len > 0 ? memrchr(host.data, ':', host.len) : NULL;
    return colon != NULL ? slice_of(host.data, (size_t)(colon - host.data)) : host;
}

/* A page of another site that had its name point here (DNS rebinding) is told by the Host header;
 * over TLS the certificate does not have that site's name. */
static bool http_check_host(struct http_request *req)
{
    struct slice host = http_header(req, "host");
    if (req->version == 11 && host.data == NULL) {
        http_respond_error(req, 400, "400 Bad Request: missing required Host header", NULL);
        return false;
    }
    const char *const *allowed = req->server->options.host_whitelist;
    if (req->conn->security != NULL || list_allows_all(allowed) ||
        list_has(allowed, http_host_name(host))) {
        return true;
    }
    if (server_refusal_due(req->server)) {
        LOG(LOG_WARN, "rejecting HTTP request to prevent DNS rebinding attacks",
            F_BYTES("host", host), F_STR("remote-addr", conn_peer(req->conn)));
    }
    http_respond_error(req, 421,
                       "This host name is not allowed here. If it should be, start the server with "
                       "it in --host-whitelist.",
                       NULL);
    return false;
}

static void http_set_cors(struct http_request *req)
{
    const char *const *allowed = req->server->options.cors;
    if (list_allows_all(allowed)) {
        req->cors = slice_of("*", 1);
        return;
    }
    struct slice origin = http_header(req, "origin");
    if (origin.data != NULL && list_has(allowed, origin)) {
        req->cors = origin;
    }
}

static void http_refuse_method(struct http_request *req, struct buf *allow)
{
    buf_append_byte(allow, '\0');
    const struct http_header_field headers[] = {
        {"Allow", allow->failed ? "" : (const char *)allow->data},
        {NULL, NULL},
    };
    http_respond_error(req, 405, "Method Not Allowed", headers);
}

/* NULL: there is none, and that was answered. */
static struct router_entry *http_find_route(struct http_request *req)
{
    struct buf allow;
    buf_init(&allow);
    struct router_entry *entry =
        http_router_find(&req->server->router, req->path, req->method, &allow);
    if (entry == NULL && allow.len > 0) {
        http_refuse_method(req, &allow);
    } else if (entry == NULL && req->server->stopping) {
        /* Its routes are going: what they lead to may well exist. */
        http_respond_error(req, 503, "the server is shutting down", NULL);
    } else if (entry == NULL) {
        http_respond_error(req, 404, "404 page not found", NULL);
    }
    buf_close(&allow);
    return entry;
}

/* false: the expectation cannot be met, and that was answered. */
static bool http_check_expect(struct http_request *req)
{
    struct slice expect = http_header(req, "expect");
    if (expect.data == NULL || req->version < 11) {
        return true;
    }
    if (expect.len != 12 || strncasecmp((const char *)expect.data, "100-continue", 12) != 0) {
        http_respond_error(req, 417, "417 Expectation Failed", NULL);
        return false;
    }
    req->expects_continue = !req->body_ended;
    return true;
}

static void http_arm(struct http_request *req, uint64_t in_ms)
{
    struct rpc_server *s = req->server;
    /* Without memory for the timer a slow body costs what its connection costs. */
    (void)timers_set(&s->timers, &req->timer, server_now_ms(s) + in_ms);
}

static void http_hand(struct http_request *req)
{
    req->whole = false;
    req->handed = true;
    req->route->route.handler(req);
}

static void http_go_on(struct http_request *req)
{
    if (req->expects_continue && !req->begun) {
        req->expects_continue = false;
        req->carrier->go_on(req);
    }
}

static void http_collect(struct http_request *req)
{
    const struct http_route *route = &req->route->route;
    req->body_max = route->body_bytes_max != 0 ? route->body_bytes_max : RPC_HTTP_BODY_BYTES_MAX;
    if (req->body_ended) {
        http_hand(req);
        return;
    }
    if (req->declared != HTTP_BYTES_UNKNOWN && req->declared > req->body_max) {
        http_fail(req, 413);
        return;
    }
    req->whole = true;
    http_arm(req, req->server->options.handshake_timeout_ms);
    http_go_on(req);
}

void http_dispatch(struct http_request *req)
{
    const struct rpc_server_options *o = &req->server->options;
    req->head_only = slice_eq(req->method, slice_str("HEAD"));
    if (!http_check_expect(req) || !http_check_host(req)) {
        return;
    }
    if (!o->no_cors) {
        http_set_cors(req);
        if (slice_eq(req->method, slice_str("OPTIONS"))) {
            http_respond(req, 200, NULL, NULL, slice_of(NULL, 0));
            return;
        }
    }
    struct router_entry *entry = http_find_route(req);
    if (entry == NULL) {
        return;
    }
    req->route = router_entry_ref(entry);
    if (entry->route.streams_body) {
        http_hand(req);
    } else {
        http_collect(req);
    }
}

/* ---- the body -------------------------------------------------------------------------------- */

bool http_wants_body(const struct http_request *req)
{
    return req->finished || req->whole || (req->reading && !req->paused);
}

static void http_tell_end(struct http_request *req)
{
    if (req->body_ended && req->reading && !req->paused && !req->end_told && !req->finished) {
        req->end_told = true;
        req->on_body(req, slice_of(NULL, 0), true);
    }
}

static void http_collect_part(struct http_request *req, struct slice bytes)
{
    if (!server_charge_input(req->server, bytes.len)) {
        http_fail(req, 503);
        return;
    }
    req->charged += bytes.len;
    if (!buf_append_slice(&req->body, bytes)) {
        http_fail(req, 503);
    }
}

void http_body_data(struct http_request *req, struct slice bytes)
{
    if (req->finished || bytes.len == 0) {
        return; /* answered already: nobody wants it */
    }
    if (bytes.len > req->body_max - req->received) {
        http_fail(req, 413);
        return;
    }
    req->received += bytes.len;
    if (req->whole) {
        http_collect_part(req, bytes);
        return;
    }
    http_arm(req, req->server->options.body_idle_ms);
    req->on_body(req, bytes, false);
}

void http_body_end(struct http_request *req)
{
    if (req->body_ended) {
        return;
    }
    req->body_ended = true;
    timers_cancel(&req->server->timers, &req->timer);
    if (req->finished) {
        return;
    }
    if (!req->whole) {
        http_tell_end(req);
    } else if (req->route->removed) {
        http_respond_error(req, 404, "404 page not found", NULL);
    } else {
        http_hand(req);
    }
}

void http_read_body(struct http_request *req, uint64_t bytes_max,
                    void (*body)(struct http_request *req, struct slice bytes, bool end))
{
    if (req->finished) {
        return;
    }
    req->on_body = body;
    /* A limit below what has come refuses what is still to come. */
    req->body_max = bytes_max > req->received ? bytes_max : req->received;
    if (req->declared != HTTP_BYTES_UNKNOWN && req->declared > req->body_max) {
        /* Told from the flush, as the peer's first byte too much would be. */
        req->too_large = true;
    }
    req->reading = true;
    http_resume_body(req);
}

void http_pause_body(struct http_request *req)
{
    req->paused = true;
    if (!req->whole) {
        timers_cancel(&req->server->timers, &req->timer);
    }
}

void http_resume_body(struct http_request *req)
{
    req->paused = false;
    if (req->finished || !req->reading) {
        return;
    }
    if (!req->too_large) {
        http_go_on(req);
    }
    if (!req->body_ended) {
        http_arm(req, req->server->options.body_idle_ms);
    }
    req->due_body = true;
    http_schedule(req);
}

/* ---- due callbacks and ends ------------------------------------------------------------------ */

void http_schedule(struct http_request *req)
{
    if (list_empty(&req->due)) {
        list_push_back(&req->server->http_due, &req->due);
    }
    conn_mark_dirty(req->conn);
}

void http_room(struct http_request *req)
{
    req->full = false;
    if (!req->finished && req->on_writable != NULL) {
        req->due_writable = true;
        http_schedule(req);
    }
}

void http_run_due(struct http_request *req)
{
    bool body = req->due_body;
    bool writable = req->due_writable;
    req->due_body = false;
    req->due_writable = false;
    if (req->too_large && !req->finished) {
        http_fail(req, 413);
        return;
    }
    if (writable && !req->finished && !req->full && !req->broken && req->on_writable != NULL) {
        req->on_writable(req);
    }
    if (!body || req->finished || req->paused || !req->reading) {
        return;
    }
    if (req->body_ended) {
        http_tell_end(req);
    } else {
        req->carrier->resume(req);
    }
}

static void http_timed_out(struct rpc_timer *t)
{
    http_fail(LIST_ENTRY(t, struct http_request, timer), 408);
}

void http_request_init(struct http_request *req, struct conn *c, const struct http_carrier *carrier)
{
    *req = (struct http_request){
        .server = c->server,
        .conn = c,
        .carrier = carrier,
        .declared = HTTP_BYTES_UNKNOWN,
    };
    req->timer.fire = http_timed_out;
    list_init(&req->due);
    buf_init(&req->body);
}

void http_end(struct http_request *req)
{
    req->finished = true;
    req->handed = false;
    timers_cancel(&req->server->timers, &req->timer);
    list_remove(&req->due);
    router_entry_unref(req->route);
    req->route = NULL;
    /* A body given to http_respond may be the request's own, so it stays until http_gone. */
}

/* The handler, if it was called, learns that it has no more say. */
static void http_tell_closed(struct http_request *req)
{
    bool tell = req->handed && !req->finished && req->on_closed != NULL;
    req->handed = false;
    if (tell) {
        /* Whatever it calls on the request now does nothing. */
        req->finished = true;
        req->on_closed(req);
        req->finished = false;
    }
}

void http_fail(struct http_request *req, int status)
{
    if (req->finished) {
        return;
    }
    http_tell_closed(req);
    req->must_close = true;
    if (req->begun) {
        http_abort(req);
        return;
    }
    char text[64];
    snprintf(text, sizeof(text), "%d %s", status, http_status_text(status));
    http_respond_error(req, status, text, NULL);
}

void http_gone(struct http_request *req)
{
    http_tell_closed(req);
    http_end(req);
    server_release_input(req->server, req->charged);
    req->charged = 0;
    buf_close(&req->body);
}
